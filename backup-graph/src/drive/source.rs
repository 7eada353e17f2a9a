//! A drive as a source: delta listings in, changes out.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::{
    Attributes, Change, Collection, Content, Cursor, Error, ErrorKind, Item, ItemId, Result, Source, Stream,
    Timestamp,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method};

use super::download::Download;
use super::extras::{Policy, Versions};
use super::item_address;
use super::wire::{SELECT, parse};
use crate::client::{Call, GraphClient, Listing};
use crate::limits::{DOWNLOAD_URL_SECONDS_MAX, DOWNLOAD_URLS_MAX, PAGES_MAX, RESETS_MAX};
use crate::wire::Page;

/// Deleted items as such, also those lost from sight; sharing changes; permissions only where they differ; no parents
/// that did not change.
const PREFER: &str = "deltashowremovedasdeleted, deltatraversepermissiongaps, deltashowsharingchanges, \
                      hierarchicalsharing, deltaExcludeParent";

/// One drive of a user, group or site.
pub struct DriveSource {
    client: GraphClient,
    drive: String,
    concurrency: usize,
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
        let expand = if self.policy.fields { "&$expand=listItem($expand=fields)" } else { "" };
        format!("{}/delta?$select={SELECT}{expand}{top}", item_address(&self.drive, "root"))
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

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        let Some(announced) = item.stream(stream) else {
            return Err(Error::new(ErrorKind::NotFound, "the file has no such stream").with_item(stream));
        };
        if announced.size == Some(0) {
            // Nothing to fetch: a request saved for each of the many empty files there are.
            return Ok(Content::from_bytes(Bytes::new()));
        }
        let address = match stream {
            Stream::CONTENT => self.addresses().take(&item.id, self.client.now()),
            _ => None,
        };
        let download = Download::new(&self.client, &self.drive, item, announced, address);
        download.open().await.map_err(|error| error.with_item(item.name.to_string()))
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn metrics(&self) -> Attributes {
        self.client.metrics().to_attributes()
    }
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
}

impl<'a> Round<'a> {
    fn new(source: &'a DriveSource, since: Option<&Cursor>) -> Self {
        // Old addresses will have expired by the time they would be used.
        *source.addresses() = Addresses::default();
        let mut round = Self { source, next: None, ready: VecDeque::new(), resets: 0, pages: 0 };
        round.next = Some(match since {
            None => source.start(),
            Some(cursor) => {
                match std::str::from_utf8(cursor.as_bytes()).ok().filter(|link| source.client.is_own(link)) {
                    Some(link) => link.to_owned(),
                    // A position of another endpoint, which this one cannot know.
                    None => {
                        round.ready.push_back(Change::Reset);
                        source.start()
                    }
                }
            }
        });
        round
    }

    async fn next(&mut self) -> Result<Option<Change>> {
        while self.ready.is_empty() {
            let Some(url) = self.next.take() else { return Ok(None) };
            self.page(url).await?;
        }
        Ok(self.ready.pop_front())
    }

    async fn page(&mut self, url: String) -> Result<()> {
        self.pages += 1;
        if self.pages > PAGES_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "the listing does not end"));
        }
        let client = &self.source.client;
        let call = Call::new(Method::GET, url);
        let call = call.header(HeaderName::from_static("prefer"), HeaderValue::from_static(PREFER));
        let page = match client.listing::<Page<serde_json::Value>>(call).await? {
            Listing::Value(page) => page,
            Listing::Forgotten(error, location) => return self.start_over(error, location),
        };
        let now = client.now();
        let mut items = Vec::with_capacity(page.value.len());
        for entry in page.value {
            match parse(entry) {
                Ok(mut item) => {
                    if let Some(address) = item.download_url.take() {
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
        match (page.next_link, page.delta_link) {
            (Some(next), _) => self.next = Some(next),
            (None, Some(delta)) => self.ready.push_back(Change::Cursor(delta.into())),
            // Without either the listing would count as complete although nothing says so.
            (None, None) => {
                return Err(Error::new(ErrorKind::Unavailable, "the service's listing breaks off"));
            }
        }
        Ok(())
    }

    fn start_over(&mut self, error: Error, location: Option<String>) -> Result<()> {
        self.resets += 1;
        if self.resets > RESETS_MAX {
            return Err(error);
        }
        self.ready.push_back(Change::Reset);
        let link = location.filter(|link| self.source.client.is_own(link));
        self.next = Some(link.unwrap_or_else(|| self.source.start()));
        Ok(())
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
            if !used && !is_stale(*since, now) {
                break;
            }
            if !used {
                self.by_id.remove(id);
            }
            self.oldest_first.pop_front();
        }
        // When full, the older ones stay: they are the next to be read.
        if self.oldest_first.len() < DOWNLOAD_URLS_MAX {
            self.oldest_first.push_back((now, id.clone()));
            self.by_id.insert(id, (now, address));
        }
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
        assert!(addresses.take(&"7".into(), at(60)).is_some());
        assert!(addresses.take(&"7".into(), at(60)).is_none(), "used");
        assert!(addresses.take(&"8".into(), at(1_801)).is_none(), "stale");
        addresses.remember("new".into(), "address".to_owned(), at(4_000));
        assert_eq!((addresses.by_id.len(), addresses.oldest_first.len()), (1, 1), "stale ones made room");
    }
}
