//! Delta listings: full enumerations and what the change log holds since a position.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, Shape, deleted_item, drive_item, json};
use super::drive::Drive;
use super::route::query;
use super::tenant::Tenant;
use super::token;
use crate::client::encode_segment;

/// Most entries of one page, whatever a client asks for.
const PAGE_ENTRIES_MAX: usize = 5_000;

/// A position that a token stands for. Links are opaque: what the first request asked for travels inside.
#[derive(Clone, Debug)]
struct Position {
    epoch: u32,
    /// Within a full enumeration: the ordinal after which it goes on.
    full: Option<u64>,
    /// Within the change log; in a full enumeration where the log ended when it began.
    log: usize,
    top: usize,
    select: String,
    /// Whether an empty page has been given already.
    begun: bool,
}

impl Position {
    fn seal(&self, key: &[u8; 32], drive: &str) -> String {
        let full = self.full.map_or_else(|| "-".to_owned(), |ordinal| ordinal.to_string());
        let (epoch, log, top, begun, select) =
            (self.epoch, self.log, self.top, u8::from(self.begun), &self.select);
        token::seal(key, &format!("delta|{drive}|{epoch}|{full}|{log}|{top}|{begun}|{select}"))
    }

    fn open(key: &[u8; 32], drive: &str, text: &str) -> Option<Self> {
        let payload = token::open(key, text)?;
        let mut fields = payload.splitn(8, '|');
        if fields.next()? != "delta" || fields.next()? != drive {
            return None;
        }
        let epoch = fields.next()?.parse().ok()?;
        let full = fields.next().map(|full| full.parse().ok())?;
        let (log, top) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { epoch, full, log, top, begun: fields.next()? == "1", select: fields.next()?.to_owned() })
    }
}

/// One page of a drive's delta listing.
pub(super) fn page(tenant: &Tenant, drive_id: &str, request: &Request<Bytes>) -> Answered {
    let drive = tenant.drives.get(drive_id).ok_or_else(Refusal::not_found)?;
    let link = format!("{}/v1.0/drives/{}/root/delta?token=", tenant.hosts.graph, encode_segment(drive_id));
    let top = query(request, "$top").and_then(|top| top.parse().ok()).unwrap_or(tenant.rules.page_entries);
    let fresh = Position {
        epoch: drive.epoch,
        full: Some(0),
        log: drive.log_end(),
        top: top.clamp(1, PAGE_ENTRIES_MAX),
        select: query(request, "$select").unwrap_or_default(),
        begun: !tenant.rules.empty_first_page,
    };
    let position = match query(request, "token").as_deref() {
        None => fresh,
        Some("latest") => Position { full: None, begun: true, ..fresh },
        Some(text) => {
            match Position::open(&tenant.key, drive_id, text).filter(|at| at.epoch == drive.epoch) {
                Some(position) => position,
                None => return Err(forgotten(tenant, drive_id, &link, &fresh)),
            }
        }
    };
    let shape =
        Shape { select: Some(position.select.as_str()).filter(|select| !select.is_empty()), delta: true };
    let (entries, next) = match position.full {
        _ if !position.begun => (Vec::new(), Some(Position { begun: true, ..position.clone() })),
        Some(after) => full_page(tenant, drive, after, &position, shape),
        None => log_page(tenant, drive, &position, shape, request),
    };
    let mut body = json!({
        "@odata.context": format!("{}/v1.0/$metadata#Collection(driveItem)", tenant.hosts.graph),
        "value": entries,
    });
    match next {
        Some(next) => body["@odata.nextLink"] = json!(format!("{link}{}", next.seal(&tenant.key, drive_id))),
        None => {
            // What changed while a full enumeration ran is told again next time: replays are legal, gaps are not.
            let log = if position.full.is_some() { position.log } else { drive.log_end() };
            let end = Position { full: None, log, ..position };
            body["@odata.deltaLink"] = json!(format!("{link}{}", end.seal(&tenant.key, drive_id)));
        }
    }
    Ok(json(200, &body))
}

fn full_page(
    tenant: &Tenant,
    drive: &Drive,
    after: u64,
    position: &Position,
    shape: Shape<'_>,
) -> (Vec<Value>, Option<Position>) {
    let mut nodes = drive.enumerate_after(after);
    let mut last = after;
    let entries = nodes.by_ref().take(position.top).map(|(ordinal, node)| {
        last = ordinal;
        drive_item(tenant, drive, node, shape)
    });
    let entries = entries.collect();
    let next = nodes.next().map(|_| Position { full: Some(last), ..position.clone() });
    (entries, next)
}

fn log_page(
    tenant: &Tenant,
    drive: &Drive,
    position: &Position,
    shape: Shape<'_>,
    request: &Request<Bytes>,
) -> (Vec<Value>, Option<Position>) {
    let prefer = request.headers().get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let without_parents = prefer.into_iter().any(|value| value.to_lowercase().contains("deltaexcludeparent"));
    let changed = drive.log_from(position.log);
    let mut entries = Vec::new();
    for id in changed.iter().take(position.top) {
        let Some(node) = drive.node(id) else {
            entries.push(deleted_item(drive, id));
            continue;
        };
        let mut above =
            node.parent.as_deref().filter(|_| !without_parents).and_then(|parent| drive.node(parent));
        while let Some(parent) = above {
            entries.push(drive_item(tenant, drive, parent, shape));
            above = parent.parent.as_deref().and_then(|parent| drive.node(parent));
        }
        entries.push(drive_item(tenant, drive, node, shape));
    }
    let more = changed.len() > position.top;
    (entries, more.then(|| Position { log: position.log + position.top, ..position.clone() }))
}

fn forgotten(tenant: &Tenant, drive: &str, link: &str, fresh: &Position) -> Refusal {
    let message = "Resync required. Replace any local items with the server's version.";
    let refusal = Refusal::new(410, "resyncChangesApplyDifferences", message);
    if !tenant.rules.resync_location {
        return Refusal::new(410, "ResyncRequired", message);
    }
    refusal.with_header(header::LOCATION, &format!("{link}{}", fresh.seal(&tenant.key, drive)))
}
