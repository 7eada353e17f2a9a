//! Upload sessions, with the rules of the real ones: ranges in order, multiples of 320 KiB but for the last, one total.

use std::time::Duration;

use backup_core::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, Shape, bytes, drive_item, json};
use super::drive::Behavior;
use super::tenant::Tenant;
use crate::transport::later;

/// How long a session waits for its next range.
const SESSION_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);
const UNIT_BYTES: u64 = 320 << 10;
const RANGE_BYTES_MAX: u64 = 60 << 20;

/// A file on its way in.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) drive: String,
    pub(super) parent: String,
    pub(super) name: String,
    pub(super) behavior: Behavior,
    pub(super) created: Option<Timestamp>,
    pub(super) modified: Option<Timestamp>,
    total: Option<u64>,
    received: Vec<u8>,
    expires: Timestamp,
}

impl Upload {
    pub(super) fn new(drive: &str, parent: &str, name: &str, behavior: Behavior, now: Timestamp) -> Self {
        Self {
            drive: drive.to_owned(),
            parent: parent.to_owned(),
            name: name.to_owned(),
            behavior,
            created: None,
            modified: None,
            total: None,
            received: Vec::new(),
            expires: later(now, SESSION_LIFE),
        }
    }

    pub(super) fn status(&self) -> Value {
        let next = self.received.len();
        let expected = match self.total {
            Some(total) => format!("{next}-{}", total.saturating_sub(1)),
            None => format!("{next}-"),
        };
        json!({ "expirationDateTime": self.expires.to_string(), "nextExpectedRanges": [expected] })
    }

    /// Takes one range. True once the file is complete.
    fn take(&mut self, (first, last, total): (u64, u64, u64), body: &Bytes) -> Result<bool, Refusal> {
        let have = self.received.len() as u64;
        if last < first || last >= total || last - first + 1 != body.len() as u64 {
            return Err(Refusal::invalid("The Content-Range header does not match the length of the body."));
        }
        if self.total.is_some_and(|known| known != total) {
            return Err(Refusal::invalid("The total size must be the same in every range."));
        }
        if body.len() as u64 >= RANGE_BYTES_MAX {
            return Err(Refusal::new(413, "requestEntityTooLarge", "The range exceeds 60 MiB."));
        }
        if first != have {
            return Err(Refusal::new(
                416,
                "invalidRange",
                "The range was received already, or leaves a gap.",
            ));
        }
        let is_last = last + 1 == total;
        if !is_last && !(body.len() as u64).is_multiple_of(UNIT_BYTES) {
            return Err(Refusal::invalid("The range is not a multiple of 320 KiB."));
        }
        self.total = Some(total);
        self.received.extend_from_slice(body);
        Ok(is_last)
    }
}

/// A request to an upload address.
pub(super) fn serve(tenant: &mut Tenant, id: &str, request: &Request<Bytes>, now: Timestamp) -> Answered {
    let gone = || Refusal::new(404, "itemNotFound", "The upload session was not found");
    let upload = tenant.uploads.get_mut(id).filter(|upload| now <= upload.expires).ok_or_else(gone)?;
    match *request.method() {
        Method::GET => Ok(json(200, &upload.status())),
        Method::DELETE => {
            tenant.uploads.remove(id);
            Ok(bytes(204, Bytes::new(), "text/plain"))
        }
        Method::PUT => {
            let range = content_range(request.headers())
                .ok_or_else(|| Refusal::invalid("The Content-Range header is missing or malformed."))?;
            if !upload.take(range, request.body())? {
                upload.expires = later(now, SESSION_LIFE);
                return Ok(json(202, &upload.status()));
            }
            let upload = tenant.uploads.remove(id).ok_or_else(gone)?;
            finish(tenant, upload, now)
        }
        _ => Err(Refusal::new(405, "invalidRequest", "The method is not allowed here.")),
    }
}

fn finish(tenant: &mut Tenant, upload: Upload, now: Timestamp) -> Answered {
    let content = Some(tenant.stored(&upload.name, upload.received.into()));
    let drive = tenant.drives.get_mut(&upload.drive).ok_or_else(Refusal::not_found)?;
    let made = drive.create(&upload.parent, &upload.name, content, upload.behavior, now);
    let (item, new) = made.map_err(|_| Refusal::name_taken())?;
    drive.set_times(&item, upload.created, upload.modified, now);
    let drive = tenant.drives.get(&upload.drive).ok_or_else(Refusal::not_found)?;
    let node = drive.node(&item).ok_or_else(Refusal::not_found)?;
    let shape = Shape { select: None, delta: false };
    Ok(json(if new { 201 } else { 200 }, &drive_item(tenant, drive, node, shape)))
}

/// `bytes 0-327679/1000000`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let (range, total) =
        headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}
