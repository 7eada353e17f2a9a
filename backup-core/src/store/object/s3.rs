//! S3 Object Lock. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>

use std::sync::OnceLock;
use std::time::Duration;

use ::object_store::HeaderValue;
use ::object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use ::object_store::client::HttpRequest;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::locks::{Asker, Found, Marker, Page, Service, parse};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{LockMode, Protection};
use crate::time::Timestamp;

const DAY: u64 = 24 * 60 * 60;
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const DIGEST: &str = "x-amz-content-sha256";
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Object Lock in compliance mode.
#[derive(Debug)]
pub(super) struct S3 {
    pub(super) region: String,
    pub(super) request_payer: bool,
    /// Known once the client is built, which is built with us.
    pub(super) credentials: OnceLock<AwsCredentialProvider>,
}

#[async_trait]
impl Service for S3 {
    fn lock(&self, until: Timestamp) -> Vec<(&'static str, String)> {
        vec![(MODE, "COMPLIANCE".to_owned()), (UNTIL, until.to_string())]
    }

    async fn sign(&self, request: &mut HttpRequest) -> ::object_store::Result<()> {
        let Some(credentials) = self.credentials.get() else {
            return Err(generic("the client is not built yet"));
        };
        let credential = credentials.get_credential().await?;
        let headers = request.headers_mut();
        headers.remove("authorization");
        // Of a body that the crate has hashed, or was told not to.
        let known = headers.get(DIGEST).map(HeaderValue::as_bytes).map(unhex);
        let (digest, signed) = match known {
            Some(Some(digest)) => (Some(digest), true),
            Some(None) => (None, false),
            None => (None, true),
        };
        let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_request_payer(self.request_payer)
            .with_sign_payload(signed);
        authorizer.try_authorize(request, digest.as_deref())?;
        // S3 asks for a checksum with every lock. It is the digest that the signature has, written in another way.
        let headers = request.headers();
        let is_put = request.method().as_str() == "PUT" && !headers.contains_key(CHECKSUM);
        if is_put && let Some(digest) = headers.get(DIGEST).and_then(|digest| unhex(digest.as_bytes())) {
            let checksum = HeaderValue::try_from(BASE64.encode(&digest)).map_err(generic)?;
            request.headers_mut().insert(CHECKSUM, checksum);
            request.headers_mut().remove("authorization");
            authorizer.try_authorize(request, Some(&digest))?;
        }
        Ok(())
    }

    async fn protection(&self, asker: &Asker<'_>) -> Result<Protection> {
        let what = "cannot find out whether the bucket locks objects";
        let answer = asker.ask("GET", vec![("versioning", String::new())]).await?.success(what, asker)?;
        let versioning: Versioning = parse(&answer)?;
        let versioning = versioning.status.as_deref() == Some("Enabled");
        let answer = asker.ask("GET", vec![("object-lock", String::new())]).await?;
        // So it is said that there is none.
        if answer.status == 404 {
            return Ok(Protection::new(versioning, false));
        }
        let configuration: Configuration = parse(&answer.success(what, asker)?)?;
        let protection = Protection::new(versioning, configuration.enabled.as_deref() == Some("Enabled"));
        let Some(default) = configuration.rule.and_then(|rule| rule.default) else { return Ok(protection) };
        let days = default.days.unwrap_or(0).saturating_add(default.years.unwrap_or(0).saturating_mul(365));
        let mode = if default.mode == "COMPLIANCE" { LockMode::Compliance } else { LockMode::Governance };
        Ok(protection.with_default(mode, Duration::from_secs(days.saturating_mul(DAY))))
    }

    async fn extend(&self, asker: &Asker<'_>, version: Option<&str>, until: Timestamp) -> Result<()> {
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode>\
             <RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let query = [("retention", String::new())].into_iter().chain(of_version(version)).collect();
        let answer = asker.ask_with("PUT", query, Vec::new(), body.into()).await?;
        match answer.success("cannot lock the object", asker) {
            // What it says of a marker.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                Err(Error::new(ErrorKind::NotFound, "the object is hidden").with_source(error))
            }
            done => done.map(drop),
        }
    }

    async fn locked_until(&self, asker: &Asker<'_>, version: Option<&str>) -> Result<Option<Timestamp>> {
        let query = of_version(version).into_iter().collect();
        let answer = asker.ask("HEAD", query).await?.success("cannot look at the object", asker)?;
        if answer.header(MODE) != Some("COMPLIANCE") {
            return Ok(None);
        }
        Ok(answer.header(UNTIL).and_then(Timestamp::parse_rfc3339))
    }

    async fn versions(&self, asker: &Asker<'_>, prefix: &str, from: Option<Marker>) -> Result<Page> {
        let mut query = vec![("versions", String::new()), ("prefix", prefix.to_owned())];
        query.extend(from.unwrap_or_default());
        let answer = asker.ask("GET", query).await?.success("cannot list versions", asker)?;
        let listed: ListVersions = parse(&answer)?;
        let (mut versions, mut next, mut more) = (Vec::new(), Vec::new(), false);
        for element in listed.elements {
            let (version, hides) = match element {
                Element::Version(version) => (version, false),
                Element::DeleteMarker(version) => (version, true),
                Element::IsTruncated(truncated) => {
                    more = truncated;
                    continue;
                }
                Element::NextKeyMarker(key) => {
                    next.push(("key-marker", key));
                    continue;
                }
                Element::NextVersionIdMarker(id) => {
                    next.push(("version-id-marker", id));
                    continue;
                }
                Element::Other => continue,
            };
            let created = Timestamp::parse_rfc3339(&version.last_modified).unwrap_or_default();
            let found = Found { id: version.id, size: version.size.unwrap_or(0), created, hides };
            versions.push((version.key, found));
        }
        if more && next.is_empty() {
            let message = "the store says that there are more versions, and not where";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(Page { versions, next: more.then_some(next) })
    }

    async fn delete_version(&self, asker: &Asker<'_>, version: &str) -> Result<()> {
        let query = of_version(Some(version)).into_iter().collect();
        asker.ask("DELETE", query).await?.success("cannot delete the version", asker).map(drop)
    }
}

fn of_version(version: Option<&str>) -> Option<(&'static str, String)> {
    version.map(|version| ("versionId", version.to_owned()))
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.len() == 64)?;
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ::object_store::Error {
    ::object_store::Error::Generic { store: "S3", source: source.into() }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versioning {
    status: Option<String>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "ObjectLockEnabled")]
    enabled: Option<String>,
    #[serde(rename = "Rule")]
    rule: Option<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "DefaultRetention")]
    default: Option<DefaultRetention>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DefaultRetention {
    mode: String,
    days: Option<u64>,
    years: Option<u64>,
}

/// Versions and markers are mixed.
#[derive(Deserialize)]
struct ListVersions {
    #[serde(rename = "$value", default)]
    elements: Vec<Element>,
}

#[derive(Deserialize)]
enum Element {
    Version(Listed),
    DeleteMarker(Listed),
    IsTruncated(bool),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    #[serde(rename = "VersionId")]
    id: String,
    size: Option<u64>,
    last_modified: String,
}
