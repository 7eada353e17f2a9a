//! A drive as a source: delta listings in, changes out.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::{
    Attributes, Change, Collection, Content, Cursor, Error, ErrorKind, Item, ItemId, Problem, Result, Source,
    Stream, Timestamp, Value,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method};

use super::download::Download;
use super::extras::{Policy, Versions};
use super::item_address;
use super::wire::{QUICK_XOR_HASH, SELECT, parse};
use crate::batch::BatchRequest;
use crate::client::{Call, GraphClient, Listing, with_permission};
use crate::hash::QuickXorHash;
use crate::limits::{
    DOWNLOAD_URL_SECONDS_MAX, DOWNLOAD_URLS_MAX, MISSED_ITEMS_MAX, PAGES_MAX, PAGES_STANDING_MAX,
    RANGE_BYTES, RANGE_BYTES_MIN, RESETS_MAX,
};
use crate::wire::Page;

/// Deleted items as such, also those lost from sight; sharing changes; permissions only where they differ; no parents
/// that did not change.
const PREFER: &str = "deltashowremovedasdeleted, deltatraversepermissiongaps, deltashowsharingchanges, \
                      hierarchicalsharing, deltaExcludeParent";

/// The application permission with the fewest rights that shows a drive.
const PERMISSION: &str = "Files.Read.All";

/// One drive of a user, group or site.
pub struct DriveSource {
    client: GraphClient,
    drive: String,
    concurrency: usize,
    range_bytes: u64,
    page_entries: Option<u32>,
    policy: Policy,
    addresses: Mutex<Addresses>,
}

impl DriveSource {
    /// The drive with this id, such as `b!-RIj2…`.
    pub fn new(client: GraphClient, drive_id: impl Into<String>) -> Self {
        let drive = drive_id.into();
        Self {
            client,
            drive,
            concurrency: 4,
            range_bytes: RANGE_BYTES,
            page_entries: None,
            policy: Policy::default(),
            addresses: Mutex::default(),
        }
    }

    /// How many files are read at once. The default is 4; more is faster until the service asks to slow down.
    #[must_use]
    pub fn with_concurrency(mut self, files: usize) -> Self {
        self.concurrency = files.max(1);
        self
    }

    /// Length of the ranges in which large files are read; the default is 8 MiB, the least 64 KiB. A file longer than four of
    /// them is read in ranges, three at once: longer ranges cost fewer requests and more memory, three of them for each file
    /// that is read.
    #[must_use]
    pub fn with_range_bytes(mut self, bytes: u64) -> Self {
        self.range_bytes = bytes.max(RANGE_BYTES_MIN);
        self
    }

    /// How many entries a page is asked to have. By default the service decides.
    #[must_use]
    pub fn with_page_entries(mut self, entries: u32) -> Self {
        self.page_entries = Some(entries);
        self
    }

    /// Which earlier versions of files are backed up. The default is none.
    #[must_use]
    pub fn with_versions(mut self, versions: Versions) -> Self {
        self.policy.versions = versions;
        self
    }

    /// Whether permissions and sharing links are backed up, where items have their own. The default is no: it takes a
    /// request for each such item (twenty of them in one HTTP request, five resource units each), and the right to see them
    /// (`Sites.FullControl.All` for all of them).
    #[must_use]
    pub fn with_permissions(mut self, wanted: bool) -> Self {
        self.policy.permissions = wanted;
        self
    }

    /// Whether the columns of the library are backed up with each item. The default is no. Costs no request.
    #[must_use]
    pub fn with_fields(mut self, wanted: bool) -> Self {
        self.policy.fields = wanted;
        self
    }

    /// Where a full enumeration begins.
    fn start(&self) -> String {
        let top = self.page_entries.map_or_else(String::new, |entries| format!("&$top={entries}"));
        format!("{}/delta?$select={SELECT}{}{top}", item_address(&self.drive, "root"), self.expand())
    }

    const fn expand(&self) -> &'static str {
        if self.policy.fields { "&$expand=listItem($expand=fields)" } else { "" }
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for DriveSource {
    fn collection(&self) -> Collection {
        Collection::new(format!("drive:{}", self.drive), "drive")
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        let round = Round::new(self, since);
        futures_util::stream::try_unfold(round, |mut round| async move {
            Ok(round.next().await?.map(|change| (change, round)))
        })
        .boxed()
    }

    fn cursor_without(&self, cursor: &Cursor, missed: &[ItemId]) -> Option<Cursor> {
        Position::parse(cursor)?.without(missed)
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        let Some(announced) = item.stream(stream) else {
            return Err(Error::new(ErrorKind::NotFound, "the file has no such stream").with_item(stream));
        };
        if announced.size == Some(0) && !has_hash_of_something(item) {
            // Nothing to fetch: a request saved for each of the many empty files there are.
            return Ok(Content::from_bytes(Bytes::new()));
        }
        let address = match stream {
            Stream::CONTENT => self.addresses().take(&item.id, self.client.now()),
            _ => None,
        };
        let download = Download::new(&self.client, &self.drive, item, announced, self.range_bytes, address);
        download.open().await.map_err(|error| error.with_item(item.name.to_string()))
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn metrics(&self) -> Attributes {
        self.client.metrics().to_attributes()
    }
}

/// Whether the announced hash is of some bytes, whatever the announced length says: of labelled files the service announces lengths that
/// are not theirs.
fn has_hash_of_something(item: &Item) -> bool {
    let hash = item.attributes.get(QUICK_XOR_HASH).and_then(Value::as_text);
    hash.is_some_and(|hash| hash != QuickXorHash::of(b""))
}

impl fmt::Debug for DriveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveSource")
            .field("drive", &self.drive)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// One enumeration on its way.
struct Round<'a> {
    source: &'a DriveSource,
    next: Option<String>,
    ready: VecDeque<Change>,
    resets: u32,
    pages: u64,
    /// Pages in a row that led to where they were read.
    standing: u32,
    /// Items that earlier rounds missed and this one has not named yet; the cursor comes after them.
    missed: BTreeSet<String>,
    end: Option<String>,
    /// It goes on where an earlier one ended.
    follows: bool,
}

impl<'a> Round<'a> {
    fn new(source: &'a DriveSource, since: Option<&Cursor>) -> Self {
        // Old addresses will have expired by the time they would be used.
        *source.addresses() = Addresses::default();
        let mut round = Self {
            source,
            next: None,
            ready: VecDeque::new(),
            resets: 0,
            pages: 0,
            standing: 0,
            missed: BTreeSet::new(),
            end: None,
            follows: since.is_some(),
        };
        let position = since.map(Position::parse);
        round.next = Some(match position {
            None => source.start(),
            Some(Some(position)) if source.client.is_own(&position.link) => {
                round.missed = position.missed;
                position.link
            }
            // A position of another endpoint, which this one cannot know.
            Some(_) => {
                round.ready.push_back(Change::Reset);
                source.start()
            }
        });
        round
    }

    async fn next(&mut self) -> Result<Option<Change>> {
        while self.ready.is_empty() {
            match (self.next.take(), self.end.take()) {
                (Some(url), _) => self.page(url).await?,
                (None, Some(end)) => self.look_again(end).await?,
                (None, None) => return Ok(None),
            }
        }
        Ok(self.ready.pop_front())
    }

    async fn page(&mut self, url: String) -> Result<()> {
        self.pages += 1;
        if self.pages > PAGES_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "the listing does not end"));
        }
        let client = &self.source.client;
        let call = Call::new(Method::GET, &url);
        let call = call.header(HeaderName::from_static("prefer"), HeaderValue::from_static(PREFER));
        let page = match client.listing::<Page<serde_json::Value>>(call).await {
            Ok(Listing::Value(page)) => page,
            Ok(Listing::Forgotten(error, location)) => return self.start_over(error, location),
            // A position that the service cannot even read is as good as forgotten.
            Err(error) if error.kind() == ErrorKind::InvalidArgument && self.pages == 1 && self.follows => {
                return self.start_over(error, None);
            }
            Err(error) => return Err(with_permission(error, PERMISSION)),
        };
        self.take(page.value).await?;
        match (page.next_link, page.delta_link) {
            (Some(next), _) => {
                self.standing = if next == url { self.standing + 1 } else { 0 };
                if self.standing > PAGES_STANDING_MAX {
                    return Err(Error::new(ErrorKind::Unavailable, "the service's listing does not get on"));
                }
                self.next = Some(next);
            }
            (None, Some(delta)) => self.end = Some(delta),
            // Without either the listing would count as complete although nothing says so.
            (None, None) => {
                return Err(Error::new(ErrorKind::Unavailable, "the service's listing breaks off"));
            }
        }
        Ok(())
    }

    /// Makes changes of the entries of a listing.
    async fn take(&mut self, entries: Vec<serde_json::Value>) -> Result<()> {
        let client = &self.source.client;
        let now = client.now();
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            match parse(entry) {
                Ok(mut item) => {
                    self.missed.remove(&item.id);
                    // Empty files are not asked for.
                    if let Some(address) = item.download_url.take().filter(|_| item.size != Some(0)) {
                        self.source.addresses().remember(ItemId::from(item.id.as_str()), address, now);
                    }
                    items.push(item);
                }
                Err(problem) => self.ready.push_back(Change::Unreadable(problem)),
            }
        }
        let extras = self.source.policy.extras(client, &self.source.drive, &items).await?;
        for (item, extra) in items.into_iter().zip(extras) {
            let mut change = item.into_change();
            let problems = match &mut change {
                Change::Upsert(item) => extra.apply(item),
                _ => Vec::new(),
            };
            self.ready.push_back(change);
            self.ready.extend(problems.into_iter().map(Change::Unreadable));
        }
        Ok(())
    }

    /// Names what earlier rounds missed and this one did not come to, then the cursor `end`.
    async fn look_again(&mut self, end: String) -> Result<()> {
        let ids: Vec<String> = std::mem::take(&mut self.missed).into_iter().collect();
        let address = |id: &String| {
            BatchRequest::get(format!(
                "{}?$select={SELECT}{}",
                item_address(&self.source.drive, id),
                self.source.expand()
            ))
        };
        let mut found = Vec::with_capacity(ids.len());
        if !ids.is_empty() {
            let replies = self.source.client.batch(ids.iter().map(address).collect()).await?;
            for (id, reply) in ids.into_iter().zip(replies) {
                match reply.json::<serde_json::Value>() {
                    Ok(item) => found.push(item),
                    // Not even named as deleted: what is known of it stays, and it stays missed.
                    Err(error) => {
                        let problem = Problem::new(Some(id.as_str().into()), id, error);
                        self.ready.push_back(Change::Unreadable(problem));
                    }
                }
            }
        }
        self.take(found).await?;
        self.ready.push_back(Change::Cursor(end.into()));
        Ok(())
    }

    fn start_over(&mut self, error: Error, location: Option<String>) -> Result<()> {
        self.resets += 1;
        if self.resets > RESETS_MAX {
            return Err(error);
        }
        self.ready.push_back(Change::Reset);
        self.missed.clear();
        let link = location.filter(|link| self.source.client.is_own(link));
        self.next = Some(link.unwrap_or_else(|| self.source.start()));
        Ok(())
    }
}

/// What a cursor says: where the listing goes on, and which items before that have to be looked at again.
#[derive(Debug, Default)]
struct Position {
    link: String,
    missed: BTreeSet<String>,
}

impl Position {
    /// A link on the first line, then an id on each.
    fn parse(cursor: &Cursor) -> Option<Self> {
        let mut lines = std::str::from_utf8(cursor.as_bytes()).ok()?.lines();
        let link = lines.next()?.to_owned();
        Some(Self { link, missed: lines.map(str::to_owned).collect() })
    }

    fn without(mut self, missed: &[ItemId]) -> Option<Cursor> {
        for id in missed {
            let id = std::str::from_utf8(id.as_bytes()).ok().filter(|id| !id.contains(char::is_control))?;
            self.missed.insert(id.to_owned());
        }
        let mut text = self.link;
        self.missed.iter().for_each(|id| {
            text.push('\n');
            text.push_str(id);
        });
        (self.missed.len() <= MISSED_ITEMS_MAX).then(|| text.into())
    }
}

/// Download addresses that came with the listing: each saves a request, but only while it is fresh.
#[derive(Default)]
struct Addresses {
    by_id: HashMap<ItemId, (Timestamp, String)>,
    oldest_first: VecDeque<(Timestamp, ItemId)>,
}

impl Addresses {
    fn remember(&mut self, id: ItemId, address: String, now: Timestamp) {
        while let Some((since, id)) = self.oldest_first.front() {
            let used = self.by_id.get(id).is_none_or(|(known, _)| known != since);
            // The listing runs little ahead of the reading: what has waited longest was not to be read.
            if !used && !is_stale(*since, now) && self.oldest_first.len() < DOWNLOAD_URLS_MAX {
                break;
            }
            if !used {
                self.by_id.remove(id);
            }
            self.oldest_first.pop_front();
        }
        self.oldest_first.push_back((now, id.clone()));
        self.by_id.insert(id, (now, address));
    }

    fn take(&mut self, id: &ItemId, now: Timestamp) -> Option<String> {
        let (since, address) = self.by_id.remove(id)?;
        (!is_stale(since, now)).then_some(address)
    }
}

fn is_stale(since: Timestamp, now: Timestamp) -> bool {
    now.seconds() - since.seconds() > DOWNLOAD_URL_SECONDS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_used_once_while_fresh_and_stay_bounded() {
        let mut addresses = Addresses::default();
        let at = |seconds| Timestamp::new(seconds, 0);
        for number in 0..DOWNLOAD_URLS_MAX + 5 {
            addresses.remember(number.to_string().into(), "address".to_owned(), at(0));
        }
        assert_eq!(addresses.by_id.len(), DOWNLOAD_URLS_MAX);
        assert!(addresses.take(&"4".into(), at(60)).is_none(), "made room");
        assert!(addresses.take(&"7".into(), at(60)).is_some());
        assert!(addresses.take(&"7".into(), at(60)).is_none(), "used");
        assert!(addresses.take(&"8".into(), at(1_801)).is_none(), "stale");
        addresses.remember("new".into(), "address".to_owned(), at(4_000));
        assert_eq!((addresses.by_id.len(), addresses.oldest_first.len()), (1, 1), "stale ones made room");
    }
}
