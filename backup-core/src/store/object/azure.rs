//! Version-level immutability of Azure Blob Storage. <https://learn.microsoft.com/azure/storage/blobs/immutable-policy-configure-version-scope>

use std::sync::OnceLock;

use ::object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use ::object_store::client::HttpRequest;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

use super::locks::{Asker, Found, Marker, Page, Service, parse};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Protection;
use crate::time::Timestamp;

const MODE: &str = "x-ms-immutability-policy-mode";
const UNTIL: &str = "x-ms-immutability-policy-until-date";
/// No parameter of a request: the name at the end of a page no current version of which was seen yet.
const CARRIED: &str = "";
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Immutability policies of single versions, locked.
#[derive(Debug)]
pub(super) struct Azure {
    pub(super) account: String,
    /// Known once the client is built, which is built with us.
    pub(super) credentials: OnceLock<AzureCredentialProvider>,
}

#[async_trait]
impl Service for Azure {
    fn lock(&self, until: Timestamp) -> Vec<(&'static str, String)> {
        vec![(MODE, "locked".to_owned()), (UNTIL, to_http(until))]
    }

    async fn sign(&self, request: &mut HttpRequest) -> ::object_store::Result<()> {
        let Some(credentials) = self.credentials.get() else {
            let source = "the client is not built yet".into();
            return Err(::object_store::Error::Generic { store: "MicrosoftAzure", source });
        };
        let credential = credentials.get_credential().await?;
        // The signature covers it, and the client would add it only later.
        let length = request.body().content_length();
        let headers = request.headers_mut();
        if length > 0 {
            headers.insert("content-length", length.into());
        }
        headers.remove("authorization");
        AzureAuthorizer::new(&credential, &self.account).try_authorize(request)
    }

    async fn protection(&self, asker: &Asker<'_>) -> Result<Protection> {
        let what = "cannot find out whether the container locks objects";
        let query = vec![("restype", "container".to_owned())];
        let answer = asker.ask("GET", query).await?.success(what, asker)?;
        // A container has this only where versions are kept. Its default is not shown to who may only use it.
        let enabled = answer.header("x-ms-immutable-storage-with-versioning-enabled") == Some("true");
        Ok(Protection::new(enabled, enabled))
    }

    async fn extend(&self, asker: &Asker<'_>, version: Option<&str>, until: Timestamp) -> Result<()> {
        let query = [("comp", "immutabilityPolicies".to_owned())].into_iter().chain(of_version(version));
        let answer = asker.ask_with("PUT", query.collect(), self.lock(until), Bytes::new()).await?;
        answer.success("cannot lock the object", asker).map(drop)
    }

    async fn locked_until(&self, asker: &Asker<'_>, version: Option<&str>) -> Result<Option<Timestamp>> {
        let query = of_version(version).into_iter().collect();
        let answer = asker.ask("HEAD", query).await?.success("cannot look at the object", asker)?;
        if !answer.header(MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("locked")) {
            return Ok(None);
        }
        Ok(answer.header(UNTIL).and_then(parse_http))
    }

    async fn versions(&self, asker: &Asker<'_>, prefix: &str, from: Option<Marker>) -> Result<Page> {
        let fixed = [("restype", "container"), ("comp", "list"), ("include", "versions"), ("prefix", prefix)];
        let mut query: Marker = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let (carried, from): (Marker, Marker) =
            from.unwrap_or_default().into_iter().partition(|(name, _)| *name == CARRIED);
        query.extend(from);
        let answer = asker.ask("GET", query).await?.success("cannot list versions", asker)?;
        let listed: Enumeration = parse(&answer)?;
        let next = listed.next.filter(|next| !next.is_empty());
        let mut versions = Vec::new();
        // There are no markers: what has no current version has been deleted. Names are in order, and a page may end amid the versions of one.
        let mut without: Option<String> = carried.into_iter().next().map(|(_, name)| name);
        let mut last: Option<String> = without.clone();
        let marker = |name: String| {
            (name, Found { id: String::new(), size: 0, created: Timestamp::default(), hides: true })
        };
        for blob in listed.blobs.blobs {
            if last.as_ref() != Some(&blob.name) {
                versions.extend(without.take().map(marker));
                without = Some(blob.name.clone());
                last = Some(blob.name.clone());
            }
            if blob.current == Some(true) {
                without = None;
            }
            // The service names versions by their time.
            let Some((id, created)) =
                blob.version.and_then(|id| Timestamp::parse_rfc3339(&id).map(|created| (id, created)))
            else {
                let message = "the store lists an object without a version";
                return Err(Error::new(ErrorKind::UnsafeStore, message).with_item(blob.name));
            };
            let size = blob.properties.length.unwrap_or(0);
            versions.push((blob.name, Found { id, size, created, hides: false }));
        }
        let Some(next) = next else {
            versions.extend(without.map(marker));
            return Ok(Page { versions, next: None });
        };
        let carried = without.map(|name| (CARRIED, name));
        Ok(Page { versions, next: Some([("marker", next)].into_iter().chain(carried).collect()) })
    }

    async fn delete_version(&self, asker: &Asker<'_>, version: &str) -> Result<()> {
        // The marker that `versions` has made up.
        if version.is_empty() {
            return Ok(());
        }
        let what = "cannot delete the version";
        let query = || of_version(Some(version)).into_iter().collect();
        let answer = asker.ask("DELETE", query()).await?;
        let is_current = String::from_utf8_lossy(&answer.body).contains("OperationNotAllowedOnRootBlob")
            || answer.header("x-ms-error-code") == Some("OperationNotAllowedOnRootBlob");
        if !is_current {
            return answer.success(what, asker).map(drop);
        }
        // The current version has to become an earlier one first, which hides it. What is locked must not be hidden.
        let head = asker.ask("HEAD", query()).await?.success(what, asker)?;
        let locked = head.header(UNTIL).and_then(parse_http);
        let now = head.header("date").and_then(parse_http);
        if locked.is_some() && (now.is_none() || locked > now) {
            let message = "the version is locked";
            return Err(Error::new(ErrorKind::PermissionDenied, message).with_item(asker.key()));
        }
        asker.ask("DELETE", Vec::new()).await?.success(what, asker)?;
        asker.ask("DELETE", query()).await?.success(what, asker).map(drop)
    }
}

fn of_version(version: Option<&str>) -> Option<(&'static str, String)> {
    version.map(|version| ("versionid", version.to_owned()))
}

/// `Thu, 26 Nov 2026 16:07:55 GMT`
fn to_http(time: Timestamp) -> String {
    let text = Timestamp::new(time.seconds(), 0).to_string();
    let (date, clock) = text.split_once('T').unwrap_or_default();
    let mut parts = date.rsplitn(3, '-');
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()?.checked_sub(1));
    let weekday = usize::try_from(time.seconds().div_euclid(24 * 60 * 60).rem_euclid(7)).ok();
    format!(
        "{}, {} {} {} {} GMT",
        weekday.and_then(|day| WEEKDAYS.get(day)).unwrap_or(&""),
        day.unwrap_or_default(),
        month.and_then(|month| MONTHS.get(month)).unwrap_or(&""),
        year.unwrap_or_default(),
        clock.trim_end_matches('Z')
    )
}

fn parse_http(text: &str) -> Option<Timestamp> {
    let mut parts = text.strip_suffix(" GMT")?.split(' ').skip(1);
    let (day, month, year, clock) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

#[derive(Deserialize)]
struct Enumeration {
    #[serde(rename = "Blobs")]
    blobs: Blobs,
    #[serde(rename = "NextMarker")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "VersionId")]
    version: Option<String>,
    #[serde(rename = "IsCurrentVersion")]
    current: Option<bool>,
    #[serde(rename = "Properties")]
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    length: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_709_275, "Thu, 26 Nov 2026 16:07:55 GMT"),
        ] {
            let time = Timestamp::new(seconds, 0);
            assert_eq!(to_http(time), text);
            assert_eq!(parse_http(text), Some(time));
        }
        assert_eq!(parse_http("Thu, 26 Now 2026 16:07:55 GMT"), None);
    }
}
