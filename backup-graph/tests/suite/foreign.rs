//! What foreign clients found the simulator to do unlike the real service; `tests/foreign` runs those clients.

use backup_core::Timestamp;
use backup_graph::http::{Request, Response};
use backup_graph::sim::{Rules, Tenant, handle};
use bytes::Bytes;
use serde_json::{Value, json};

/// A tenant with one drive, and a token for it.
struct Service {
    tenant: Tenant,
    drive: String,
    token: String,
}

impl Service {
    fn new() -> Self {
        let mut tenant = Tenant::new(9);
        let drive = tenant.add_drive("ada@contoso.example");
        tenant.write_file(&drive, "Reports/May & June #1.txt", "both months").unwrap();
        let token = tenant.issue_token(Rules::default().token_life);
        Self { tenant, drive, token }
    }

    /// Calls an address below the drive.
    fn call(&mut self, method: &str, below: &str, body: Option<&Value>) -> Response<Bytes> {
        let url = format!("{}/v1.0/drives/{}{below}", self.tenant.hosts().graph, self.drive);
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .body(body.map_or_else(Bytes::new, |body| body.to_string().into()))
            .unwrap();
        self.send(&request)
    }

    fn send(&mut self, request: &Request<Bytes>) -> Response<Bytes> {
        let now = self.tenant.now();
        handle(&mut self.tenant, request, now)
    }

    fn item(&self, path: &str) -> String {
        self.tenant.item_id(&self.drive, path).unwrap()
    }

    /// What the service says of a copy that it was asked for.
    fn watch(&mut self, accepted: &Response<Bytes>) -> Value {
        let place = accepted.headers()["location"].to_str().unwrap();
        body(&self.send(&Request::get(place).body(Bytes::new()).unwrap()))
    }
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// Bug: Microsoft's Python SDK could address nothing by path. Mechanism: generated clients put `root:/path:` where an id
/// goes and encode all of it, and the whole was taken for an id. Fix: what an id decodes to is taken apart.
#[test]
fn paths_may_stand_encoded_where_an_id_goes() {
    let mut service = Service::new();
    let below = "/items/root%3A%2FReports%2FMay%20%26%20June%20%231.txt%3A";
    let found = body(&service.call("GET", below, None));
    assert_eq!(found["id"], service.item("Reports/May & June #1.txt"));
    let children = body(&service.call("GET", "/items/root%3A%2FReports%3A/children", None));
    assert_eq!(children["value"].as_array().unwrap().len(), 1);
    let session = service.call("POST", "/items/root%3A%2FReports%2Fnew.txt%3A/createUploadSession", None);
    assert_eq!(session.status(), 200);
}

/// Bug: Microsoft's Python SDK found nothing at all. Mechanism: its base address ends in a slash and what it appends
/// begins with one. Fix: further slashes after the version do not count.
#[test]
fn two_slashes_after_the_version_are_one() {
    let mut service = Service::new();
    let url = format!("{}/v1.0//drives/{}/root", service.tenant.hosts().graph, service.drive);
    let request = Request::get(url).header("authorization", format!("Bearer {}", service.token));
    assert_eq!(service.send(&request.body(Bytes::new()).unwrap()).status(), 200);
}

/// Microsoft's Python SDK brings its token to upload addresses, against the documentation: a rule forgives it, and it is
/// counted all the same.
#[test]
fn tokens_at_upload_addresses_are_refused_unless_a_rule_forgives_them() {
    for (refuse, status) in [(true, 401), (false, 201)] {
        let mut service = Service::new();
        service.tenant.rules_mut().refuse_tokens_at_uploads = refuse;
        let session = body(&service.call("POST", "/root:/new.txt:/createUploadSession", None));
        let request = Request::put(session["uploadUrl"].as_str().unwrap())
            .header("authorization", format!("Bearer {}", service.token))
            .header("content-range", "bytes 0-2/3");
        assert_eq!(service.send(&request.body("new".into()).unwrap()).status(), status);
    }
}

/// Microsoft's Python SDK sends ranges that are one byte too long, against the documentation: a rule lets them pass.
#[test]
fn uneven_ranges_are_refused_unless_a_rule_lets_them_pass() {
    for (refuse, status) in [(true, 400), (false, 202)] {
        let mut service = Service::new();
        service.tenant.rules_mut().refuse_uneven_ranges = refuse;
        let session = body(&service.call("POST", "/root:/new.txt:/createUploadSession", None));
        let request = Request::put(session["uploadUrl"].as_str().unwrap());
        let request = request.header("content-range", "bytes 0-2/4").body("new".into()).unwrap();
        assert_eq!(service.send(&request).status(), status);
    }
}

/// Bug: times that rclone had set came back with fractions, and clients that count in whole seconds saw changes.
/// Mechanism: they were kept as they were sent. Fix: whole seconds are kept, as of files that are there already.
#[test]
fn times_are_kept_in_whole_seconds() {
    let mut service = Service::new();
    let below = format!("/items/{}", service.item("Reports"));
    let times = json!({ "fileSystemInfo": { "lastModifiedDateTime": "2026-11-25T10:01:39.379Z" } });
    let answer = body(&service.call("PATCH", &below, Some(&times)));
    assert_eq!(answer["fileSystemInfo"]["lastModifiedDateTime"], "2026-11-25T10:01:39Z");
    let now = service.tenant.now();
    service.tenant.advance_to(Timestamp::new(now.seconds() + 5, 123_456_789));
    assert_eq!(service.tenant.now(), Timestamp::new(now.seconds() + 5, 0));
}

/// Bug: rclone could not copy within a drive. Mechanism: the action was unknown. Fix: copies are made, and watched at an
/// address that needs no token.
#[test]
fn the_service_copies_folders_and_tells_how_it_went() {
    let mut service = Service::new();
    let (folder, drive) = (service.item("Reports"), service.drive.clone());
    let root = service.item("");
    let wanted = json!({ "name": "Copies", "parentReference": { "driveId": drive, "id": root } });
    let accepted = service.call("POST", &format!("/items/{folder}/copy"), Some(&wanted));
    assert_eq!(accepted.status(), 202);
    let status = service.watch(&accepted);
    assert_eq!(
        (&status["status"], &status["resourceId"]),
        (&json!("completed"), &json!(service.item("Copies")))
    );
    let content = service.tenant.read_file(&drive, "Copies/May & June #1.txt").unwrap();
    assert_eq!(content, "both months");

    let again = service.call("POST", &format!("/items/{folder}/copy"), Some(&wanted));
    let status = service.watch(&again);
    assert_eq!(
        (&status["status"], &status["error"]["code"]),
        (&json!("failed"), &json!("nameAlreadyExists"))
    );
}

/// Bug: rclone could not sign in. Mechanism: it asks for the scope `.default` and names no resource. Fix: without a
/// resource, Microsoft Graph is meant.
#[test]
fn a_scope_without_a_resource_means_graph() {
    let mut service = Service::new();
    service.tenant.add_application("rclone", "secret");
    let url = format!("{}/{}/oauth2/v2.0/token", service.tenant.hosts().login, service.tenant.id());
    for (scope, status) in
        [(".default", 200), ("https%3A%2F%2Fgraph.example%2F.default", 200), ("Files.Read", 401)]
    {
        let form =
            format!("grant_type=client_credentials&client_id=rclone&client_secret=secret&scope={scope}");
        let answer = service.send(&Request::post(&url).body(form.into()).unwrap());
        assert_eq!(answer.status(), status, "{scope}");
    }
}
