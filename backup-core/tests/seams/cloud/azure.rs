//! Version-level immutability of Azure Blob Storage. No emulator has it, so this is all that it was tried against.

use std::sync::Arc;

use backup_core::store::{Immutable, Version, from_url};
use backup_core::testkit::LockingStore;
use backup_core::{Clock, Created, Entry, Key, Store, Timestamp};
use futures_executor::block_on;
use futures_util::TryStreamExt;

use super::http::{Request, Response, range, serve};
use super::keeps_every_promise;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        super::now()
    }
}

fn options(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("azure_storage_endpoint", format!("http://127.0.0.1:{port}")),
        ("allow_http", "true".to_owned()),
        ("azure_storage_account_name", "account".to_owned()),
        ("azure_storage_account_key", "c2VjcmV0".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_are_those_that_the_documentation_asks_for() {
    let store = LockingStore::new(Arc::new(SystemClock));
    let port = serve(move |request| answer(&store, &request));
    keeps_every_promise(|place| from_url(&format!("az://container/{place}"), options(port)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_immutability_is_seen_to_have_none() {
    let store = LockingStore::new(Arc::new(SystemClock));
    store.set_protection(backup_core::store::Protection::new(false, false));
    let port = serve(move |request| answer(&store, &request));
    let container = from_url("az://container/any", options(port)).unwrap();
    let protection = container.immutable().unwrap().protection().await.unwrap();
    assert!(!protection.versioning && !protection.locking);
}

fn refuse(status: u16, code: &str) -> Response {
    Response::text(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>"))
        .with("x-ms-error-code", code)
}

/// The service names versions by times of seven digits.
fn id_of(version: &Version) -> String {
    let whole = Timestamp::new(version.created.seconds(), 0).to_string();
    format!("{}.{:07}Z", whole.trim_end_matches('Z'), version.id.parse::<u64>().unwrap())
}

const UNTIL: &str = "x-ms-immutability-policy-until-date";

/// `Thu, 26 Nov 2026 16:07:55 GMT`, by another way than the code that is tested.
fn http_date(time: Timestamp) -> String {
    let seconds = time.seconds();
    let (date, clock) = (seconds / 86_400, seconds % 86_400);
    let text = time.to_string();
    let month: usize = text[5..7].parse().unwrap();
    let name = &"JanFebMarAprMayJunJulAugSepOctNovDec"[month * 3 - 3..month * 3];
    let weekday = &"ThuFriSatSunMonTueWed"[usize::try_from(date % 7 * 3).unwrap()..][..3];
    let (hours, minutes) = (clock / 3_600, clock / 60 % 60);
    format!("{weekday}, {} {name} {} {hours:02}:{minutes:02}:{:02} GMT", &text[8..10], &text[..4], clock % 60)
}

fn read_date(text: &str) -> Timestamp {
    let mut parts = text.split(' ');
    let (_, day, month) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month).unwrap() / 3 + 1;
    let (year, clock) = (parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(parts.next(), Some("GMT"));
    let time = Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z")).unwrap();
    assert_eq!(http_date(time), text, "the weekday too");
    time
}

/// The service as its documentation describes it, strict about what a request must have.
fn answer(store: &LockingStore, request: &Request) -> Response {
    let signed = request.header("authorization").is_some_and(|value| value.starts_with("SharedKey account:"));
    if !signed || request.header("x-ms-date").or(request.header("date")).is_none() {
        return refuse(403, "AuthenticationFailed");
    }
    assert!(request.header("x-ms-version") >= Some("2020-06-12"), "immutability came with that version");
    if matches!(request.method.as_str(), "PUT" | "POST") && request.header("content-length").is_none() {
        return refuse(411, "MissingContentLengthHeader");
    }
    let Some(name) = request.path.strip_prefix("container") else { return refuse(404, "ContainerNotFound") };
    let name = name.trim_start_matches('/');
    if name.is_empty() {
        return about_container(store, request);
    }
    let key = Key::new(name).unwrap();
    let all: Vec<Version> = block_on(store.versions(&key).try_collect()).unwrap();
    let all: Vec<Version> = all.into_iter().filter(|one| one.key == key).collect();
    let current = all.first().filter(|one| !one.hides);
    let version = request.asks("versionid");
    let one = match version {
        Some(id) => all.iter().find(|one| !one.hides && id_of(one) == id),
        None => current,
    };
    let locked = |one: &Version| block_on(store.locked_until(&key, Some(&one.id))).unwrap();
    match request.method.as_str() {
        "PUT" if request.asks("comp") == Some("immutabilityPolicies") => {
            assert_eq!(request.header("x-ms-immutability-policy-mode"), Some("locked"));
            let until = read_date(request.header(UNTIL).unwrap());
            let Some(one) = one else { return refuse(404, "BlobNotFound") };
            if locked(one) > Some(until) {
                return refuse(409, "BlobImmutableDueToPolicy");
            }
            block_on(store.extend(&key, Some(&one.id), until)).unwrap();
            Response::new(200)
        }
        "PUT" => {
            assert_eq!(request.header("if-none-match"), Some("*"));
            assert_eq!(request.header("x-ms-blob-type"), Some("BlockBlob"));
            let data = request.body.clone().into();
            let created = match (request.header("x-ms-immutability-policy-mode"), request.header(UNTIL)) {
                (None, None) => block_on(store.create(&key, data)),
                (Some("locked"), Some(until)) => block_on(store.create_locked(&key, data, read_date(until))),
                other => panic!("a lock is asked for by {other:?}"),
            };
            match created.unwrap() {
                Created::New => Response::new(201).with("etag", "\"tag\""),
                _ => refuse(409, "BlobAlreadyExists"),
            }
        }
        "GET" | "HEAD" => {
            let Some(one) = one else { return refuse(404, "BlobNotFound") };
            let data = block_on(store.read_version(&key, &one.id, None)).unwrap();
            let total = data.len();
            let asked = range(request.header("range").or(request.header("x-ms-range")));
            let (status, part) = match asked {
                Some((start, _)) if start >= total => return refuse(416, "InvalidRange"),
                Some((start, end)) => (206, data.slice(start..end.min(total))),
                None => (200, data),
            };
            let mut response = Response { body: part.to_vec(), ..Response::new(status) }
                .with("etag", "\"tag\"")
                .with("date", http_date(super::now()))
                .with("last-modified", http_date(one.created))
                .with("x-ms-version-id", id_of(one));
            if let Some((start, end)) = asked {
                let end = end.min(total) - 1;
                response = response.with("content-range", format!("bytes {start}-{end}/{total}"));
            }
            if let Some(until) = locked(one) {
                let until = http_date(until);
                response = response.with("x-ms-immutability-policy-mode", "locked").with(UNTIL, until);
            }
            if request.method == "HEAD" {
                response = response.with("content-length", part.len());
            }
            response
        }
        "DELETE" if version.is_none() => match current {
            None => refuse(404, "BlobNotFound"),
            Some(_) => {
                block_on(store.delete(&key)).unwrap();
                Response::new(202)
            }
        },
        "DELETE" => {
            let Some(one) = one else { return refuse(404, "BlobNotFound") };
            if Some(one) == current {
                return refuse(403, "OperationNotAllowedOnRootBlob");
            }
            if block_on(store.delete_version(&key, &one.id)).is_err() {
                return refuse(409, "BlobImmutableDueToPolicy");
            }
            // The service has no markers: with the last version nothing is left.
            let left: Vec<Version> = block_on(store.versions(&key).try_collect()).unwrap();
            let left: Vec<_> = left.into_iter().filter(|one| one.key == key).collect();
            if left.iter().all(|one| one.hides) {
                left.iter().for_each(|one| block_on(store.delete_version(&key, &one.id)).unwrap());
            }
            Response::new(202)
        }
        other => panic!("no such request: {other} {name} {:?}", request.query),
    }
}

fn about_container(store: &LockingStore, request: &Request) -> Response {
    assert_eq!(request.asks("restype"), Some("container"));
    match (request.method.as_str(), request.asks("comp")) {
        ("GET", None) => {
            let enabled = block_on(store.protection()).unwrap().versioning;
            Response::new(200).with("x-ms-immutable-storage-with-versioning-enabled", enabled)
        }
        // Deletes of several, as HTTP in HTTP.
        ("POST", Some("batch")) => {
            let text = String::from_utf8(request.body.clone()).unwrap();
            let mut body = String::new();
            for (number, line) in text.lines().filter(|line| line.starts_with("DELETE ")).enumerate() {
                let path = line.split(' ').nth(1).unwrap().split('?').next().unwrap();
                let key = Key::new(path.trim_start_matches("/container/")).unwrap();
                let there = block_on(store.size(&key)).is_ok();
                block_on(store.delete(&key)).unwrap();
                let status = if there { "202 Accepted" } else { "404 The specified blob does not exist." };
                body += &format!(
                    "--batchresponse_1\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n\
                     HTTP/1.1 {status}\r\nx-ms-version: 2023-11-03\r\n\r\n"
                );
            }
            Response::text(202, body + "--batchresponse_1--\r\n")
                .with("content-type", "multipart/mixed; boundary=batchresponse_1")
        }
        ("GET", Some("list")) => list(store, request),
        other => panic!("no such request: {other:?} {:?}", request.query),
    }
}

fn list(store: &LockingStore, request: &Request) -> Response {
    let prefix = request.asks("prefix").unwrap_or_default();
    let top = Key::new(prefix.split('/').next().unwrap()).unwrap();
    let head = "<?xml version=\"1.0\"?><EnumerationResults><Blobs>";
    if request.asks("include") != Some("versions") {
        let all: Vec<Entry> = block_on(store.list(&top).try_collect()).unwrap();
        let mut body = head.to_owned();
        for Entry { key, size, modified, .. } in
            all.into_iter().filter(|one| one.key.as_str().starts_with(prefix))
        {
            let time = http_date(modified.unwrap());
            body += &format!(
                "<Blob><Name>{key}</Name><Properties><Last-Modified>{time}</Last-Modified><Content-Length>{size}\
                 </Content-Length><Content-Type>none</Content-Type><Etag>tag</Etag></Properties></Blob>"
            );
        }
        return Response::text(200, body + "</Blobs><NextMarker/></EnumerationResults>");
    }
    let all: Vec<Version> = block_on(store.versions(&top).try_collect()).unwrap();
    let mut all: Vec<_> = all.into_iter().filter(|one| one.key.as_str().starts_with(prefix)).collect();
    // By name, and the oldest version first.
    all.sort_by_key(|one| (one.key.clone(), one.id.parse::<u64>().unwrap()));
    let newest = |key: &Key| all.iter().rfind(|one| one.key == *key).map(|one| one.id.clone());
    let shown: Vec<(String, String, bool, u64)> = all
        .iter()
        .filter(|one| !one.hides)
        .map(|one| (one.key.to_string(), id_of(one), newest(&one.key).as_ref() == Some(&one.id), one.size))
        .collect();
    // Pages of one, so that the versions of a name are on several.
    let from: usize = request.asks("marker").map_or(0, |marker| marker.parse().unwrap());
    let mut body = head.to_owned();
    if let Some((name, id, current, size)) = shown.get(from) {
        let current = if *current { "<IsCurrentVersion>true</IsCurrentVersion>" } else { "" };
        body += &format!(
            "<Blob><Name>{name}</Name><VersionId>{id}</VersionId>{current}<Properties><Content-Length>{size}\
             </Content-Length></Properties><OrMetadata/></Blob>"
        );
    }
    let next = if from + 1 < shown.len() { (from + 1).to_string() } else { String::new() };
    Response::text(200, format!("{body}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"))
}
