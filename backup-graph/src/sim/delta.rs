//! Delta listings: full enumerations and what the change log holds since a position.

use backup_core::Timestamp;
use bytes::Bytes;
use http::{Request, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, Shape, deleted_item, drive_item, json};
use super::drive::Drive;
use super::items::Call;
use super::node::Node;
use super::odata::{PAGE_ENTRIES_MAX, expansions};
use super::route::{prefers, query};
use super::rules::Resync;
use super::tenant::Tenant;
use super::token;
use crate::client::encode_segment;

/// A position that a token stands for. Links are opaque: what the first request asked for travels inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Position {
    drive: String,
    epoch: u32,
    /// Within a full enumeration: the ordinal after which it goes on.
    full: Option<u64>,
    /// Within the change log; in a full enumeration where the log ended when it began.
    log: usize,
    top: usize,
    select: Option<String>,
    expand: Option<String>,
    /// Whether an empty page has been given already.
    begun: bool,
}

impl Position {
    fn seal(&self, key: &[u8; 32]) -> String {
        token::seal(key, &serde_json::to_string(self).unwrap_or_default())
    }

    fn open(key: &[u8; 32], drive: &str, text: &str) -> Option<Self> {
        let position: Self = serde_json::from_str(&token::open(key, text)?).ok()?;
        (position.drive == drive).then_some(position)
    }
}

/// What a listing of changes was asked to do, besides its position.
#[derive(Clone, Copy, Debug)]
struct Manner {
    without_parents: bool,
    removed_as_deleted: bool,
    across_gaps: bool,
    sharing_changes: bool,
}

impl Manner {
    fn of(request: &Request<Bytes>) -> Self {
        let (removed_as_deleted, across_gaps) =
            (prefers(request, "deltashowremovedasdeleted"), prefers(request, "deltatraversepermissiongaps"));
        Self {
            without_parents: prefers(request, "deltaexcludeparent"),
            removed_as_deleted,
            across_gaps,
            // This one works only together with the two others.
            sharing_changes: prefers(request, "deltashowsharingchanges") && removed_as_deleted && across_gaps,
        }
    }

    fn sees(self, drive: &Drive, node: &Node) -> bool {
        !node.facets.hidden && (self.across_gaps || !drive.is_below_hidden(node))
    }
}

/// One page of a drive's delta listing.
pub(super) fn page(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let (request, drive) = (call.request, call.drive(tenant)?);
    let link = format!("{}/v1.0/drives/{}/root/delta?token=", tenant.hosts.graph, encode_segment(&drive.id));
    let top = query(request, "$top").and_then(|top| top.parse().ok()).unwrap_or(tenant.rules.page_entries);
    let fresh = Position {
        drive: drive.id.clone(),
        epoch: drive.epoch,
        full: Some(0),
        log: drive.log_end(),
        top: top.clamp(1, PAGE_ENTRIES_MAX),
        select: query(request, "$select").filter(|select| !select.is_empty()),
        expand: query(request, "$expand").filter(|expand| !expand.is_empty()),
        begun: !tenant.rules.empty_first_page,
    };
    let given = call.address.token.clone().or_else(|| query(request, "token"));
    let position = match given.as_deref().map(|text| (text, Timestamp::parse_rfc3339(text))) {
        None => fresh,
        Some(("latest", _)) => Position { full: None, begun: true, ..fresh },
        Some((_, Some(time))) => Position { full: None, log: drive.log_since(time), begun: true, ..fresh },
        Some((text, None)) => {
            match Position::open(&tenant.key, &drive.id, text).filter(|at| at.epoch == drive.epoch) {
                Some(position) => position,
                None => return Err(forgotten(tenant, &link, &fresh)),
            }
        }
    };
    let shape = Shape {
        select: position.select.clone(),
        expand: position.expand.as_deref().map(expansions).unwrap_or_default(),
        delta: true,
        hierarchical: prefers(request, "hierarchicalsharing"),
        application: call.application.clone(),
    };
    let manner = Manner::of(request);
    let (entries, next) = match position.full {
        _ if !position.begun => (Vec::new(), Some(Position { begun: true, ..position.clone() })),
        Some(after) => full_page(tenant, drive, after, &position, &shape, manner),
        None => log_page(tenant, drive, &position, &shape, manner),
    };
    let mut body = json!({
        "@odata.context": format!("{}/v1.0/$metadata#Collection(driveItem)", tenant.hosts.graph),
        "value": entries,
    });
    match next {
        Some(next) => body["@odata.nextLink"] = json!(format!("{link}{}", next.seal(&tenant.key))),
        None => {
            // What changed while a full enumeration ran is told again next time: replays are legal, gaps are not.
            let log = if position.full.is_some() { position.log } else { drive.log_end() };
            let begun = !tenant.rules.empty_change_pages;
            let end = Position { full: None, log, begun, ..position };
            body["@odata.deltaLink"] = json!(format!("{link}{}", end.seal(&tenant.key)));
        }
    }
    Ok(json(200, &body))
}

fn full_page(
    tenant: &Tenant,
    drive: &Drive,
    after: u64,
    position: &Position,
    shape: &Shape,
    manner: Manner,
) -> (Vec<Value>, Option<Position>) {
    let mut nodes = drive.enumerate_after(after).filter(|(_, node)| manner.sees(drive, node)).peekable();
    let (mut last, mut before) = (after, after);
    let mut entries = Vec::new();
    while let Some((ordinal, node)) = nodes.next_if(|_| entries.len() < position.top) {
        before = last;
        last = ordinal;
        entries.push(drive_item(tenant, drive, node, shape));
    }
    // The next page begins with the last entry of this one, as long as it gets on.
    let repeats = tenant.rules.repeat_entries && before > after;
    let next = nodes
        .next()
        .map(|_| Position { full: Some(if repeats { before } else { last }), ..position.clone() });
    (entries, next)
}

fn log_page(
    tenant: &Tenant,
    drive: &Drive,
    position: &Position,
    shape: &Shape,
    manner: Manner,
) -> (Vec<Value>, Option<Position>) {
    let changed = drive.log_from(position.log);
    let mut entries = Vec::new();
    for entry in changed.iter().take(position.top) {
        let Some(node) = drive.node(&entry.id) else {
            entries.push(deleted_item(drive, &entry.id));
            continue;
        };
        if !manner.sees(drive, node) {
            if manner.removed_as_deleted {
                entries.push(deleted_item(drive, &entry.id));
            }
            continue;
        }
        let mut above =
            node.parent.as_deref().filter(|_| !manner.without_parents).and_then(|parent| drive.node(parent));
        while let Some(parent) = above {
            if manner.sees(drive, parent) {
                entries.push(drive_item(tenant, drive, parent, shape));
            }
            above = parent.parent.as_deref().and_then(|parent| drive.node(parent));
        }
        let mut item = drive_item(tenant, drive, node, shape);
        if entry.sharing && manner.sharing_changes {
            item["@microsoft.graph.sharedChanged"] = json!("True");
        }
        entries.push(item);
    }
    let more = changed.len() > position.top;
    (entries, more.then(|| Position { log: position.log + position.top, ..position.clone() }))
}

fn forgotten(tenant: &Tenant, link: &str, fresh: &Position) -> Refusal {
    let message = "Resync required. Replace any local items with the server's version.";
    let code = match tenant.rules.resync {
        Resync::ApplyDifferences => "resyncChangesApplyDifferences",
        Resync::UploadDifferences => "resyncChangesUploadDifferences",
    };
    if !tenant.rules.resync_location {
        return Refusal::new(410, "ResyncRequired", message);
    }
    let refusal = Refusal::new(410, code, message);
    refusal.with_header(header::LOCATION, &format!("{link}{}", fresh.seal(&tenant.key)))
}
