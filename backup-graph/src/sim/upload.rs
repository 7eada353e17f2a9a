//! Upload sessions, with the rules of the real ones: ranges in order, multiples of 320 KiB but for the last, one total.

use std::time::Duration;

use backup_core::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, Shape, bytes, drive_item, json};
use super::budget;
use super::drive::Behavior;
use super::items::{changeable, room, stamp_of};
use super::route::Route;
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
    /// Who began it.
    pub(super) application: String,
    /// The size that was named at the beginning.
    pub(super) announced: Option<u64>,
    /// Whether the file appears only once it is asked for.
    pub(super) defer_commit: bool,
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
            application: String::new(),
            announced: None,
            defer_commit: false,
            total: None,
            received: Vec::new(),
            expires: later(now, SESSION_LIFE),
        }
    }

    pub(super) fn status(&self) -> Value {
        let next = self.received.len() as u64;
        let expected = match self.total {
            Some(total) if next == total => json!([]),
            Some(total) => json!([format!("{next}-{}", total.saturating_sub(1))]),
            None => json!([format!("{next}-")]),
        };
        json!({ "expirationDateTime": self.expires.to_string(), "nextExpectedRanges": expected })
    }

    /// Takes one range. True once the file is complete.
    fn take(
        &mut self,
        (first, last, total): (u64, u64, u64),
        body: &Bytes,
        even: bool,
    ) -> Result<bool, Refusal> {
        let have = self.received.len() as u64;
        if last < first || last >= total || last - first + 1 != body.len() as u64 {
            return Err(Refusal::invalid("The Content-Range header does not match the length of the body."));
        }
        if self.total.or(self.announced).is_some_and(|known| known != total) {
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
        if even && !is_last && !(body.len() as u64).is_multiple_of(UNIT_BYTES) {
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
    let upload = tenant.uploads.get(id).filter(|upload| now <= upload.expires).ok_or_else(gone)?;
    if *request.method() == Method::PUT {
        let application = upload.application.clone();
        tenant.charge(&application, budget::cost(Route::UploadRange, false, false), now)?;
    }
    let even = tenant.rules.refuse_uneven_ranges;
    let upload = tenant.uploads.get_mut(id).ok_or_else(gone)?;
    match *request.method() {
        Method::GET => Ok(json(200, &upload.status())),
        Method::DELETE => {
            tenant.uploads.remove(id);
            Ok(bytes(204, Bytes::new(), "text/plain"))
        }
        Method::PUT => {
            let range = content_range(request.headers())
                .ok_or_else(|| Refusal::invalid("The Content-Range header is missing or malformed."))?;
            let complete = upload.take(range, request.body(), even)?;
            if !complete || upload.defer_commit {
                upload.expires = later(now, SESSION_LIFE);
                return Ok(json(202, &upload.status()));
            }
            commit(tenant, id, now)
        }
        Method::POST if request.body().is_empty() => {
            if upload.total != Some(upload.received.len() as u64) {
                return Err(Refusal::invalid("Not all of the file has been received."));
            }
            commit(tenant, id, now)
        }
        _ => Err(Refusal::new(405, "invalidRequest", "The method is not allowed here.")),
    }
}

fn commit(tenant: &mut Tenant, id: &str, now: Timestamp) -> Answered {
    let upload = tenant.uploads.remove(id).ok_or_else(Refusal::not_found)?;
    room(tenant, &upload.drive, upload.received.len() as u64)?;
    let content = Some(tenant.stored(&upload.name, upload.received.into()));
    let drive = tenant.drives.get_mut(&upload.drive).ok_or_else(Refusal::not_found)?;
    if let Some(node) =
        drive.child(&upload.parent, &upload.name).filter(|_| upload.behavior == Behavior::Replace)
    {
        changeable(node)?;
    }
    let stamp = stamp_of(&upload.application, now);
    let made = drive.create(&upload.parent, &upload.name, content, upload.behavior, stamp.clone());
    let (item, new) = made.map_err(|_| Refusal::name_taken())?;
    drive.set_times(&item, upload.created, upload.modified, stamp);
    let drive = tenant.drives.get(&upload.drive).ok_or_else(Refusal::not_found)?;
    let node = drive.node(&item).ok_or_else(Refusal::not_found)?;
    let shape = Shape::all(&upload.application);
    Ok(json(if new { 201 } else { 200 }, &drive_item(tenant, drive, node, &shape)))
}

/// `bytes 0-327679/1000000`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let (range, total) =
        headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}
