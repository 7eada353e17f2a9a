//! A snapshot as a source: what another repository backs up to have a copy of it, under its own keys.
//!
//! Only the items tree is read, and it is read past what is damaged: what is lost is named as far as the names tree still knows it, and the
//! rest is given. So a copy of a salvaged repository is whole again, as far as anything is left to make it of.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, try_unfold};

use super::browse::{kind_of, stream_of};
use super::walk::is_damage;
use super::{Browser, Repository, content};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Record, name_key};
use crate::format::snapshot::{Root, SnapshotState};
use crate::format::wire::{Reader, Write};
use crate::id::{RepoId, SnapshotId};
use crate::item::{Attributes, Collection, Cursor, Item, ItemId, ItemKind};
use crate::limits;
use crate::source::{Change, Content, Problem, Source};
use crate::tree::diff::{Diff, Difference};
use crate::tree::scan::Scan;
use crate::tree::{self, Entry, TreeKind};

/// What a cursor of such a source begins with.
const CURSOR_MAGIC: &[u8; 8] = b"snapshot";
/// Items that may be read at once.
const CONCURRENCY: usize = 8;
/// What the labels of a copy begin with that tell where it is from.
const ORIGIN: &str = "origin.";

/// One snapshot as a [`Source`]; see [`Repository::as_source`].
#[derive(Clone)]
pub struct SnapshotSource {
    browser: Browser,
}

impl Repository {
    /// A snapshot as a source, for a copy of it in another repository: `other.backup(&source)` stores it there under the other's keys and
    /// chunking, with all attributes, details, streams and hard links.
    ///
    /// The copy's cursor names the snapshot. If the next one is copied into the same repository, only what differs is enumerated, and only
    /// streams whose tag has changed are read. Labels of the snapshot are kept; others tell the origin: `origin.repository`, `origin.snapshot`,
    /// `origin.created`, and where they apply `origin.state` (`incomplete`, `checkpoint`) and `origin.confirmed` (`false`). A copy of a
    /// copy keeps those of the first. Content that was in doubt stays so, and is reported.
    ///
    /// What is damaged is reported as unreadable, and the rest is given: also past nodes of the items tree that are lost. Of items lost with
    /// them folders are given by name where the names tree has it, so that what is below them keeps its path.
    ///
    /// One request. Streams are read as a restore reads them, with bounded memory.
    ///
    /// # Errors
    /// `NotFound` if there is no such snapshot, or damage of the snapshot itself.
    pub async fn as_source(&self, snapshot: SnapshotId) -> Result<SnapshotSource> {
        Ok(SnapshotSource { browser: self.browse(snapshot).await? })
    }
}

/// Where a copy stands.
struct Position {
    repository: RepoId,
    snapshot: SnapshotId,
    /// Items that the copy has missed.
    missed: Vec<ItemId>,
}

impl Position {
    fn encode(&self) -> Cursor {
        let mut bytes = Vec::with_capacity(48);
        bytes.raw(CURSOR_MAGIC);
        bytes.raw(self.repository.as_bytes());
        bytes.raw(self.snapshot.as_bytes());
        self.missed.iter().for_each(|id| bytes.bytes16(id.as_bytes()));
        Cursor::new(bytes)
    }

    /// None for a cursor of another source.
    fn decode(cursor: &Cursor) -> Option<Self> {
        let mut reader = Reader::new(cursor.as_bytes(), "cursor");
        if reader.array::<8>().ok()? != *CURSOR_MAGIC {
            return None;
        }
        let repository = RepoId::from_bytes(reader.array().ok()?);
        let snapshot = SnapshotId::from_bytes(reader.array().ok()?);
        let mut missed = Vec::new();
        while reader.remaining() > 0 {
            missed.push(ItemId::from(reader.bytes16(ItemId::LEN_MAX).ok()?));
        }
        Some(Self { repository, snapshot, missed })
    }
}

impl SnapshotSource {
    fn position(&self, missed: Vec<ItemId>) -> Position {
        Position { repository: self.browser.inner.id, snapshot: self.browser.snapshot.id, missed }
    }

    /// The items of the snapshot that a cursor names, if it is one of this repository and collection.
    async fn earlier(&self, cursor: &Cursor) -> Result<Option<(Root, Vec<ItemId>)>> {
        let inner = &self.browser.inner;
        let Some(Position { repository, snapshot, missed }) = Position::decode(cursor) else {
            return Ok(None);
        };
        if repository != inner.id {
            return Ok(None);
        }
        match inner.read_snapshot(snapshot).await {
            Ok(found) if found.collection == self.browser.snapshot.collection => {
                Ok(Some((found.items, missed)))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound || is_damage(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SnapshotSource").field(&self.browser.snapshot.id).finish()
    }
}

#[async_trait]
impl Source for SnapshotSource {
    fn collection(&self) -> Collection {
        self.browser.snapshot.collection.clone()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        let walk = Walk { source: self, queue: VecDeque::new(), stage: Stage::Begin(since) };
        let next = |mut walk: Walk<'a>| -> BoxFuture<'a, Result<Option<(Change, Walk<'a>)>>> {
            Box::pin(async move { Ok(walk.next().await?.map(|change| (change, walk))) })
        };
        try_unfold(walk, next).boxed()
    }

    fn cursor_without(&self, cursor: &Cursor, missed: &[ItemId]) -> Option<Cursor> {
        let Position { repository, snapshot, .. } = Position::decode(cursor)?;
        let cursor = Position { repository, snapshot, missed: missed.to_vec() }.encode();
        (cursor.as_bytes().len() <= limits::CURSOR_BYTES_MAX).then_some(cursor)
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        let record = self.browser.record(&item.id).await?;
        let stored = stream_of(&record, stream)?;
        let len = stored.len;
        let content = content::read(Arc::clone(&self.browser.inner), stored, 0..len)?;
        if !record.inconsistent {
            return Ok(content);
        }
        let doubt = Error::new(ErrorKind::SourceMismatch, "the content was in doubt when it was backed up")
            .with_item(record.name.to_string());
        let doubt = stream::once(std::future::ready(Err(doubt)));
        Ok(Content::new(Some(len), content.bytes.chain(doubt).boxed()))
    }

    fn labels(&self) -> Vec<(String, String)> {
        let snapshot = &self.browser.snapshot;
        let mut labels = snapshot.labels.clone();
        if labels.iter().any(|(name, _)| name.starts_with(ORIGIN)) {
            return labels;
        }
        let mut tell = |name: &str, value: String| labels.push((format!("{ORIGIN}{name}"), value));
        tell("repository", self.browser.inner.id.to_string());
        tell("snapshot", snapshot.id.to_string());
        tell("created", snapshot.created.to_string());
        match snapshot.state {
            SnapshotState::Complete => {}
            SnapshotState::Incomplete => tell("state", "incomplete".to_owned()),
            SnapshotState::Checkpoint => tell("state", "checkpoint".to_owned()),
        }
        if !self.browser.inner.is_confirmed(snapshot.id) {
            tell("confirmed", "false".to_owned());
        }
        labels
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

/// An enumeration on its way.
struct Walk<'a> {
    source: &'a SnapshotSource,
    /// What is to be said next.
    queue: VecDeque<Change>,
    stage: Stage<'a>,
}

enum Stage<'a> {
    Begin(Option<&'a Cursor>),
    /// Only what differs from an earlier snapshot. Then children of removed folders that are still there, and items that were missed.
    Delta(Diff, Vec<ItemId>),
    /// Every item.
    All(Scan<'a>, Gaps),
    /// The names of what is lost.
    LostNames(Scan<'a>, LostNames),
    /// Folders that not even a name is left of: those that items say they are in.
    LostFolders(Scan<'a>, LostNames),
    Cursor,
    Ended,
}

/// Between which ids items are lost.
#[derive(Default)]
struct Gaps {
    last: Vec<u8>,
    is_open: bool,
    gaps: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Gaps {
    fn note(&mut self, key: &[u8]) {
        if std::mem::take(&mut self.is_open)
            && let Some((_, end)) = self.gaps.last_mut()
        {
            *end = Some(key.to_vec());
        }
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.is_open, true) {
            self.gaps.push((self.last.clone(), None));
        }
    }

    fn hides(&self, id: &ItemId) -> bool {
        let id = id.as_bytes();
        let at = self.gaps.partition_point(|(start, _)| start.as_slice() < id);
        let gap = at.checked_sub(1).and_then(|at| self.gaps.get(at));
        gap.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| id < end.as_slice()))
    }
}

/// What is known of lost items.
struct LostNames {
    gaps: Gaps,
    /// Folders that have been given.
    folders: HashSet<ItemId>,
    /// Some names are lost too.
    is_damaged: bool,
}

impl<'a> Walk<'a> {
    async fn next(&mut self) -> Result<Option<Change>> {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return Ok(Some(change));
            }
            if matches!(self.stage, Stage::Ended) {
                return Ok(None);
            }
            self.step().await?;
        }
    }

    async fn step(&mut self) -> Result<()> {
        let source = self.source;
        let (inner, snapshot) = (&*source.browser.inner, &*source.browser.snapshot);
        match &mut self.stage {
            Stage::Begin(since) => {
                let since = since.take();
                let earlier = match since {
                    Some(cursor) => source.earlier(cursor).await?,
                    None => None,
                };
                match earlier {
                    Some((items, missed)) => {
                        self.stage = Stage::Delta(Diff::new(TreeKind::Items, items, snapshot.items), missed);
                    }
                    None => self.begin_all(since.is_some()).await?,
                }
            }
            Stage::Delta(diff, missed) => match diff.next(inner).await {
                Ok(Some(difference)) => self.differs(difference).await?,
                Ok(None) => {
                    let missed = std::mem::take(missed);
                    for id in missed {
                        self.again(id).await?;
                    }
                    self.stage = Stage::Cursor;
                }
                // Only an enumeration can go past it.
                Err(error) if is_damage(&error) => self.begin_all(true).await?,
                Err(error) => return Err(error),
            },
            Stage::All(scan, gaps) => match scan.next().await {
                Ok(Some(entry)) => {
                    gaps.note(&entry.key);
                    self.upsert(ItemId::from(&*entry.key), &entry.value).await?;
                }
                Ok(None) if gaps.gaps.is_empty() => self.stage = Stage::Cursor,
                Ok(None) => {
                    let gaps = std::mem::take(gaps);
                    let lost = LostNames { gaps, folders: HashSet::new(), is_damaged: false };
                    let scan = Scan::from(inner, TreeKind::Names, snapshot.names, &[]).await?;
                    self.stage = Stage::LostNames(scan, lost);
                }
                Err(error) if is_damage(&error) => {
                    gaps.begin();
                    self.unknown("some items", error);
                }
                Err(error) => return Err(error),
            },
            Stage::LostNames(scan, lost) => match scan.next().await {
                Ok(Some(entry)) => {
                    let changes = lost.named(&entry)?;
                    self.queue.extend(changes);
                }
                Ok(None) => {
                    let Stage::LostNames(_, lost) = std::mem::replace(&mut self.stage, Stage::Cursor) else {
                        return Ok(());
                    };
                    if lost.is_damaged {
                        let scan = Scan::from(inner, TreeKind::Items, snapshot.items, &[]).await?;
                        self.stage = Stage::LostFolders(scan, lost);
                    }
                }
                Err(error) if is_damage(&error) => lost.is_damaged = true,
                Err(error) => return Err(error),
            },
            Stage::LostFolders(scan, lost) => match scan.next().await {
                Ok(Some(entry)) => {
                    let parent = Record::decode(&entry.value).ok().and_then(|record| record.parent);
                    let changes = parent.map(|parent| lost.unnamed(parent)).unwrap_or_default();
                    self.queue.extend(changes);
                }
                Ok(None) => self.stage = Stage::Cursor,
                // It has been said already.
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            },
            Stage::Cursor => {
                self.queue.push_back(Change::Cursor(source.position(Vec::new()).encode()));
                self.stage = Stage::Ended;
            }
            Stage::Ended => {}
        }
        Ok(())
    }

    async fn begin_all(&mut self, reset: bool) -> Result<()> {
        if reset {
            self.queue.push_back(Change::Reset);
        }
        let browser = &self.source.browser;
        let scan = Scan::from(&*browser.inner, TreeKind::Items, browser.snapshot.items, &[]).await?;
        self.stage = Stage::All(scan, Gaps::default());
        Ok(())
    }

    /// Says that something is not known. Without an id, so that the copy does not count as covering it.
    fn unknown(&mut self, place: &str, error: Error) {
        self.queue.push_back(Change::Unreadable(Problem::new(None, place, error)));
    }

    async fn upsert(&mut self, id: ItemId, value: &[u8]) -> Result<()> {
        let record = match Record::decode(value) {
            Ok(record) => record,
            Err(error) => {
                let problem = Problem::new(Some(id.clone()), id.to_string(), error);
                self.queue.push_back(Change::Unreadable(problem));
                return Ok(());
            }
        };
        let details = match content::details(&self.source.browser.inner, record.details.as_ref()).await {
            Ok(details) => details,
            // What lies below it need not be lost with them.
            Err(error) if record.kind.is_container() && is_damage(&error) => {
                self.unknown(&record.name.to_string(), error);
                Attributes::new()
            }
            Err(error) if is_damage(&error) => {
                let problem = Problem::new(Some(id), record.name.to_string(), error);
                self.queue.push_back(Change::Unreadable(problem));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.queue.push_back(Change::Upsert(record.to_item(id, details)));
        Ok(())
    }

    async fn differs(&mut self, difference: Difference) -> Result<()> {
        match difference {
            Difference { after: Some(entry), .. } => {
                self.upsert(ItemId::from(&*entry.key), &entry.value).await
            }
            Difference { before: Some(entry), after: None } => {
                let id = ItemId::from(&*entry.key);
                self.queue.push_back(Change::Remove(id.clone()));
                self.left_below(id).await
            }
            Difference { before: None, after: None } => Ok(()),
        }
    }

    /// Names what lies below a removed folder all the same: whoever hears that it is gone takes all that for gone too.
    async fn left_below(&mut self, removed: ItemId) -> Result<()> {
        let (source, mut open) = (self.source, vec![removed]);
        while let Some(folder) = open.pop() {
            let prefix = name_key::below(Some(&folder));
            let mut scan = source.browser.scan_names(&prefix).await?;
            while let Some(entry) = scan.next_below(&prefix).await? {
                let id = name_key::item_id(&entry.key, &prefix)?;
                if kind_of(&entry.value).is_some_and(ItemKind::is_container) {
                    open.push(id.clone());
                }
                self.again(id).await?;
            }
        }
        Ok(())
    }

    /// Names an item as it is now, or as gone.
    async fn again(&mut self, id: ItemId) -> Result<()> {
        let browser = &self.source.browser;
        let found = tree::find(&*browser.inner, TreeKind::Items, browser.snapshot.items, id.as_bytes()).await;
        match found {
            Ok(Some(value)) => self.upsert(id, &value).await,
            Ok(None) => {
                self.queue.push_back(Change::Remove(id));
                Ok(())
            }
            Err(error) if is_damage(&error) => {
                let problem = Problem::new(Some(id.clone()), id.to_string(), error);
                self.queue.push_back(Change::Unreadable(problem));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl LostNames {
    /// What is to be said of an item of which only the name may be left.
    fn named(&mut self, entry: &Entry) -> Result<Vec<Change>> {
        let (prefix, parent) = name_key::parent(&entry.key)?;
        let id = name_key::item_id(&entry.key, prefix)?;
        if !self.gaps.hides(&id) {
            return Ok(Vec::new());
        }
        let name = name_key::name(&entry.key, prefix)?;
        let place = name.to_string();
        let kind = kind_of(&entry.value).unwrap_or(ItemKind::OTHER);
        if !kind.is_container() {
            let error = Error::new(ErrorKind::Missing, "the item is lost; only its name is left");
            return Ok(vec![Change::Unreadable(Problem::new(Some(id), place, error))]);
        }
        self.folders.insert(id.clone());
        let error = Error::new(ErrorKind::Missing, "the folder's attributes are lost; only its name is left");
        let item = Item::new(id, parent, name, kind);
        Ok(vec![Change::Upsert(item), Change::Unreadable(Problem::new(None, place, error))])
    }

    /// A folder in the place of one that nothing is left of, once.
    fn unnamed(&mut self, id: ItemId) -> Vec<Change> {
        if !self.gaps.hides(&id) || !self.folders.insert(id.clone()) {
            return Vec::new();
        }
        let hash = blake3::hash(id.as_bytes()).to_hex();
        let name = format!("lost-{}", hash.get(..16).unwrap_or_default());
        let error =
            Error::new(ErrorKind::Missing, "the folder is lost; what was in it is kept under a new name");
        let item = Item::new(id, None, name.clone(), ItemKind::FOLDER);
        vec![Change::Upsert(item), Change::Unreadable(Problem::new(None, name, error))]
    }
}
