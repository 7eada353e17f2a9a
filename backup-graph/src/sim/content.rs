//! The host of pre-authenticated addresses: downloads and uploads. The address is the permission, and a token does not
//! belong here.

use backup_core::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, header};

use super::answer::{Answered, Refusal, bytes, download_address, put_header};
use super::budget;
use super::items::Call;
use super::node::Node;
use super::route::{Route, prefers, query};
use super::tenant::Tenant;
use super::{copies, token, upload};

/// The header of what a scanner found.
const VIRUS: HeaderName = HeaderName::from_static("x-virus-infected");

/// Sends to the address of the content.
pub(super) fn redirect(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let node = call.node(tenant)?;
    if node.is_folder() {
        return Err(Refusal::invalid("A folder has no content."));
    }
    let forced = prefers(call.request, "forceInfectedDownload");
    healthy(node, forced)?;
    let mut address = download_address(tenant, call.drive(tenant)?, node, None, &call.application);
    if forced {
        address.push_str("&infected=1");
    }
    let mut response = bytes(302, Bytes::new(), "text/plain");
    put_header(&mut response, header::LOCATION, &address);
    Ok(response)
}

fn healthy(node: &Node, forced: bool) -> Result<(), Refusal> {
    if let Some((_, status)) = node.facets.refusal {
        return Err(Refusal::lasting(status));
    }
    match &node.facets.malware {
        Some(text) if !forced => {
            let refusal = Refusal::new(403, "malwareDetected", "Malware detected");
            Err(refusal.with_header(VIRUS, text))
        }
        _ => Ok(()),
    }
}

pub(super) fn serve(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Answered {
    let upload = request.uri().path().strip_prefix("/_api/upload/");
    let rules = &tenant.rules;
    let strict = match upload {
        Some(_) => rules.refuse_tokens_at_uploads,
        None => rules.refuse_tokens_at_content_host,
    };
    if strict && request.headers().contains_key(header::AUTHORIZATION) {
        return Err(Refusal::new(401, "unauthenticated", "Pre-authenticated addresses take no token."));
    }
    if let Some(id) = upload {
        return upload::serve(tenant, id, request, now);
    }
    if let Some(copy) = copies::watched(request) {
        return copies::status(tenant, copy);
    }
    let expired = || Refusal::new(401, "unauthenticated", "The address has expired.");
    let payload =
        query(request, "tempauth").and_then(|text| token::open(&tenant.key, &text)).ok_or_else(expired)?;
    let mut fields = payload.split('|').skip(1);
    let mut field = || fields.next().unwrap_or_default();
    let (drive, id, version) = (field(), field(), field().parse::<u32>().ok());
    let (until, application) = (field().parse::<i64>().unwrap_or(0), field());
    if now.seconds() >= until {
        return Err(expired());
    }
    tenant.charge(application, budget::cost(Route::Download, false, false), now)?;
    let node = tenant.drives.get(drive).and_then(|drive| drive.node(id)).ok_or_else(Refusal::not_found)?;
    healthy(node, query(request, "infected").is_some())?;
    let content = match version {
        None => node.content.clone(),
        Some(number) if number == node.content_version => node.content.clone(),
        Some(number) => {
            let version = node.history.iter().find(|version| version.number == number);
            version.map(|version| version.content.clone())
        }
    };
    let content = content.ok_or_else(Refusal::not_found)?;
    let length = content.len();
    let range = if tenant.rules.ignore_range { None } else { range_of(request.headers()) };
    match range {
        None => Ok(bytes(200, content, "application/octet-stream")),
        Some((first, _)) if first >= length => {
            let refusal = Refusal::new(416, "invalidRange", "The range is outside the content.");
            Err(refusal.with_header(header::CONTENT_RANGE, &format!("bytes */{length}")))
        }
        Some((first, last)) => {
            let end = last.map_or(length, |last| (last + 1).clamp(first, length));
            let mut response = bytes(206, content.slice(first..end), "application/octet-stream");
            if let Ok(value) = format!("bytes {first}-{}/{length}", end.saturating_sub(1)).parse() {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            Ok(response)
        }
    }
}

fn range_of(headers: &HeaderMap) -> Option<(usize, Option<usize>)> {
    let (first, last) = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}
