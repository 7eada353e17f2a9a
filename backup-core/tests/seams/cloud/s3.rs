//! S3 Object Lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backup_core::store::{Immutable, LockMode, Protection, Version, from_url};
use backup_core::testkit::LockingStore;
use backup_core::{Clock, Created, Entry, Key, Store, Timestamp};
use base64::Engine as _;
use futures_executor::block_on;
use futures_util::TryStreamExt;

use super::http::{Request, Response, range, serve};
use super::keeps_every_promise;

/// Against a server that somebody else has written: `BACKUP_LOCKED_BUCKET` is the address of a bucket with Object Lock and without a default
/// (`s3://bucket/prefix`); `AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` and `AWS_ALLOW_HTTP` are options. What it writes stays locked for eleven days.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a server: set BACKUP_LOCKED_BUCKET and AWS_..."]
async fn a_real_server_keeps_every_promise() {
    let address =
        std::env::var("BACKUP_LOCKED_BUCKET").expect("BACKUP_LOCKED_BUCKET is the address of a bucket");
    let known =
        ["AWS_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP"];
    let options: Vec<_> = known.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect();
    keeps_every_promise(|place| from_url(&format!("{address}/{place}"), options.clone()).unwrap()).await;
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        super::now()
    }
}

fn options(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("aws_endpoint", format!("http://127.0.0.1:{port}")),
        ("aws_allow_http", "true".to_owned()),
        ("aws_access_key_id", "id".to_owned()),
        ("aws_secret_access_key", "secret".to_owned()),
        ("aws_region", "eu-central-1".to_owned()),
        ("aws_disable_bulk_delete", "true".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_are_those_that_the_documentation_asks_for() {
    let store = LockingStore::new(Arc::new(SystemClock));
    let port = serve(move |request| answer(&store, &request));
    keeps_every_promise(|place| from_url(&format!("s3://bucket/{place}"), options(port)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_busy_is_asked_again() {
    let store = LockingStore::new(Arc::new(SystemClock));
    let asked = AtomicUsize::new(0);
    let port = serve(move |request| {
        if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return Response::text(503, "<Error><Code>SlowDown</Code></Error>");
        }
        answer(&store, &request)
    });
    let store = from_url("s3://bucket/busy", options(port)).unwrap();
    backup_core::testkit::immutable::conformance(&*store, super::now(), "busy").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_is_set_up_to_do_is_seen() {
    let store = LockingStore::new(Arc::new(SystemClock));
    let behind = store.clone();
    let port = serve(move |request| answer(&behind, &request));
    let bucket = from_url("s3://bucket/any", options(port)).unwrap();
    for protection in [
        Protection::new(true, true),
        Protection::new(true, false),
        Protection::new(false, false),
        Protection::new(true, true).with_default(LockMode::Governance, Duration::from_secs(86_400)),
        Protection::new(true, true).with_default(LockMode::Compliance, Duration::from_secs(40 * 86_400)),
    ] {
        store.set_protection(protection.clone());
        assert_eq!(bucket.immutable().unwrap().protection().await.unwrap(), protection);
    }
    let unsigned: Vec<_> =
        options(port).into_iter().chain([("aws_skip_signature", "true".to_owned())]).collect();
    assert!(from_url("s3://bucket", unsigned).unwrap().immutable().is_none());
}

/// The service as its documentation describes it, strict about what a request must have.
fn answer(store: &LockingStore, request: &Request) -> Response {
    let refuse = |status, code: &str| Response::text(status, format!("<Error><Code>{code}</Code></Error>"));
    let Some(signed) = request.header("authorization").and_then(|authorization| {
        let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=id/")?;
        assert!(rest.contains("/eu-central-1/s3/aws4_request"), "{rest}");
        rest.split("SignedHeaders=").nth(1)?.split(',').next()
    }) else {
        return refuse(403, "AccessDenied");
    };
    let signed: Vec<&str> = signed.split(';').collect();
    for name in request.headers.keys().filter(|name| name.starts_with("x-amz-") || *name == "host") {
        assert!(signed.contains(&name.as_str()), "{name} is not signed");
    }
    let Some(name) = request.path.strip_prefix("bucket") else { return refuse(404, "NoSuchBucket") };
    let name = name.trim_start_matches('/');
    if name.is_empty() {
        return about_bucket(store, request);
    }
    let key = Key::new(name).unwrap();
    let version = request.asks("versionId");
    let locked = |version| block_on(store.locked_until(&key, version));
    let found = |version: Option<&str>| -> Option<Version> {
        let all: Vec<Version> = block_on(store.versions(&key).try_collect()).unwrap();
        let mut all = all.into_iter().filter(|one| one.key == key);
        match version {
            Some(id) => all.find(|one| one.id == id),
            None => all.next(),
        }
    };
    match request.method.as_str() {
        "PUT" if request.asks("retention").is_some() => {
            assert!(has_checksum(request), "a lock without a checksum");
            let body = std::str::from_utf8(&request.body).unwrap();
            let part = |name: &str| {
                let inner = body.split(&format!("<{name}>")).nth(1).unwrap();
                inner.split(&format!("</{name}>")).next().unwrap()
            };
            assert_eq!(part("Mode"), "COMPLIANCE");
            let until = Timestamp::parse_rfc3339(part("RetainUntilDate")).unwrap();
            match found(version) {
                None => refuse(404, "NoSuchKey"),
                Some(one) if one.hides => refuse(405, "MethodNotAllowed"),
                Some(_) if locked(version).unwrap() > Some(until) => refuse(403, "AccessDenied"),
                Some(_) => {
                    block_on(store.extend(&key, version, until)).unwrap();
                    Response::new(200)
                }
            }
        }
        "PUT" => {
            assert_eq!(request.header("if-none-match"), Some("*"));
            let data = request.body.clone().into();
            let mode = request.header("x-amz-object-lock-mode");
            let until = request.header("x-amz-object-lock-retain-until-date");
            let created = match (mode, until) {
                (None, None) => block_on(store.create(&key, data)),
                (Some("COMPLIANCE"), Some(until)) if has_checksum(request) => {
                    block_on(store.create_locked(&key, data, Timestamp::parse_rfc3339(until).unwrap()))
                }
                other => panic!("a lock is asked for by {other:?}"),
            };
            match created.unwrap() {
                Created::New => Response::new(200).with("etag", "\"tag\""),
                _ => refuse(412, "PreconditionFailed"),
            }
        }
        "GET" | "HEAD" => {
            let Some(one) = found(version).filter(|one| !one.hides) else { return refuse(404, "NoSuchKey") };
            let data = block_on(store.read_version(&key, &one.id, None)).unwrap();
            let total = data.len();
            let (status, part) = match range(request.header("range")) {
                Some((start, _)) if start >= total => return refuse(416, "InvalidRange"),
                Some((start, end)) => (206, data.slice(start..end.min(total))),
                None => (200, data),
            };
            let mut response = Response { body: part.to_vec(), ..Response::new(status) }
                .with("etag", "\"tag\"")
                .with("last-modified", "Thu, 26 Nov 2026 16:07:55 GMT");
            if let Some((start, end)) = range(request.header("range")) {
                let end = end.min(total) - 1;
                response = response.with("content-range", format!("bytes {start}-{end}/{total}"));
            }
            if let Some(until) = locked(Some(&one.id)).unwrap() {
                response = response
                    .with("x-amz-object-lock-mode", "COMPLIANCE")
                    .with("x-amz-object-lock-retain-until-date", until);
            }
            if request.method == "HEAD" {
                response = response.with("content-length", part.len());
            }
            response
        }
        "DELETE" => match version {
            None => block_on(store.delete(&key))
                .map_or_else(|_| refuse(403, "AccessDenied"), |()| Response::new(204)),
            Some(id) => match block_on(store.delete_version(&key, id)) {
                Ok(()) => Response::new(204),
                Err(_) => refuse(403, "AccessDenied"),
            },
        },
        other => panic!("no such request: {other} {name} {:?}", request.query),
    }
}

fn has_checksum(request: &Request) -> bool {
    let checksum = request.header("x-amz-checksum-sha256").unwrap_or_default();
    let digest = base64::engine::general_purpose::STANDARD.decode(checksum).unwrap();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    digest.len() == 32 && request.header("x-amz-content-sha256") == Some(&hex)
}

fn about_bucket(store: &LockingStore, request: &Request) -> Response {
    assert_eq!(request.method, "GET");
    let protection = block_on(store.protection()).unwrap();
    if request.asks("versioning").is_some() {
        let status = if protection.versioning { "<Status>Enabled</Status>" } else { "" };
        return Response::text(200, format!("<VersioningConfiguration>{status}</VersioningConfiguration>"));
    }
    if request.asks("object-lock").is_some() {
        if !protection.locking {
            return Response::text(404, "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>");
        }
        let rule = protection.default.map_or_else(String::new, |default| {
            let mode = if default.mode == LockMode::Compliance { "COMPLIANCE" } else { "GOVERNANCE" };
            let days = default.period.as_secs() / 86_400;
            format!(
                "<Rule><DefaultRetention><Mode>{mode}</Mode><Days>{days}</Days></DefaultRetention></Rule>"
            )
        });
        return Response::text(
            200,
            format!(
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
            ),
        );
    }
    let prefix = request.asks("prefix").unwrap_or_default();
    // Names of the service are strings, and prefixes too.
    let everything = |names: Vec<Key>| names.into_iter().filter(|key| key.as_str().starts_with(prefix));
    if request.asks("list-type") == Some("2") {
        let names: Vec<Key> = store.locks().into_keys().collect();
        let mut body = String::from("<ListBucketResult><IsTruncated>false</IsTruncated>");
        for key in everything(names) {
            let entries: Vec<Entry> = block_on(store.list(&key).try_collect()).unwrap();
            let entry = entries.into_iter().find(|entry| entry.key == key).unwrap();
            let (size, time) = (entry.size, entry.modified.unwrap());
            body += &format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{time}</LastModified><ETag>tag</ETag></Contents>"
            );
        }
        return Response::text(200, body + "</ListBucketResult>");
    }
    assert!(request.asks("versions").is_some(), "{:?}", request.query);
    // Pages of two, so that there are several.
    let top = Key::new(prefix.split('/').next().unwrap()).unwrap();
    let all: Vec<Version> = block_on(store.versions(&top).try_collect()).unwrap();
    let mut all: Vec<_> = all.into_iter().filter(|one| one.key.as_str().starts_with(prefix)).collect();
    if let Some(from) = request.asks("key-marker") {
        let id = request.asks("version-id-marker").unwrap();
        let at = all.iter().position(|one| one.key.as_str() == from && one.id == id).unwrap();
        all.drain(..=at);
    }
    let more = all.len() > 2;
    all.truncate(2);
    let mut body = format!("<ListVersionsResult><Name>bucket</Name><IsTruncated>{more}</IsTruncated>");
    if let Some(last) = all.last().filter(|_| more) {
        body += &format!("<NextKeyMarker>{}</NextKeyMarker>", last.key);
        body += &format!("<NextVersionIdMarker>{}</NextVersionIdMarker>", last.id);
    }
    for Version { key, id, size, created, hides, .. } in all {
        let rest =
            format!("<Key>{key}</Key><VersionId>{id}</VersionId><LastModified>{created}</LastModified>");
        body += &if hides {
            format!("<DeleteMarker>{rest}<IsLatest>true</IsLatest><Owner><ID>o</ID></Owner></DeleteMarker>")
        } else {
            format!("<Version>{rest}<Size>{size}</Size><Owner><ID>o</ID></Owner></Version>")
        };
    }
    Response::text(200, body + "</ListVersionsResult>")
}
