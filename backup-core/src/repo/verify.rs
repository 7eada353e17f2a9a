//! Checks: is everything there that snapshots need, and is it what was written?

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};

use super::early::Early;
use super::{Inner, Repository, content};
use crate::crypto::{Class, ObjectName, OpenedObject, chunk_id, object_hash};
use crate::dedup::{Index, Location};
use crate::error::{Error, ErrorKind, Finding, Result};
use crate::format::pack::{open_frame, read_directory};
use crate::format::record::{Record, name_key};
use crate::format::segment::PackInfo;
use crate::format::snapshot::{Root, Snapshot};
use crate::id::ChunkId;
use crate::item::ItemId;
use crate::logging::LogLevel;
use crate::progress::{Callback, CancelToken, Phase, Progress, Reporter, watched};
use crate::tree::scan::Scan;
use crate::tree::{self, Entries, TreeKind};

/// Objects looked at the same time.
const CONCURRENCY: usize = 4;

/// How thorough a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum VerifyLevel {
    /// The whole log, all checkpoints, segments, snapshots and tree nodes are read; every chunk that a snapshot needs is in the index, and
    /// its pack is there in full length. Costs the trees and one request a pack.
    Structure,
    /// Also every pack is read whole: its hash, every frame, every chunk against its id. Costs the whole repository.
    EveryByte,
}

/// A check that is about to run; made by [`Repository::verify`].
#[must_use = "nothing happens before `run`"]
pub struct VerifyRun<'a> {
    repository: &'a Repository,
    level: VerifyLevel,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a check found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Snapshots whose trees were walked.
    pub snapshots: u64,
    /// Items in all snapshots together; items that snapshots share count once per snapshot.
    pub items: u64,
    /// Chunks that the index names.
    pub chunks: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Bytes read from packs.
    pub bytes_read: u64,
    /// All that is wrong. Empty: the repository is sound.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

watched! {
    VerifyRun,
    /// Calls back with running totals; `items` are packs here.
    on_progress,
    /// Lets `token` stop the check.
    cancel_token
}

impl<'a> VerifyRun<'a> {
    pub(super) fn new(repository: &'a Repository, level: VerifyLevel) -> Self {
        Self { repository, level, callback: None, token: CancelToken::new() }
    }

    /// Runs the check. Damage is not an error: it is in the report.
    ///
    /// # Errors
    /// `Canceled`, a log that does not read, or a store that cannot be reached.
    pub async fn run(self) -> Result<VerifyReport> {
        let inner = &self.repository.inner;
        let mut reporter = Reporter::new(self.callback, self.token);
        loop {
            // From the first byte on: what is in memory may be older than the damage.
            let state = inner.load(None, true, Early::default()).await?;
            let withdrawn = state.withdrawn;
            inner.set_state(state);
            inner.caches.clear();
            reporter.totals = Progress::default();
            reporter.totals.items_total = inner.state().index.packs().count() as u64;
            reporter.phase(Phase::Transferring)?;
            let mut check = Check {
                inner,
                report: VerifyReport::default(),
                visited: HashSet::new(),
                reporter: &mut reporter,
            };
            check.all(self.level).await?;
            let report = check.report;
            // What a prune has deleted under the check is no damage.
            if report.is_sound() || !inner.has_withdrawn_since(withdrawn).await? {
                reporter.phase(Phase::Done)?;
                return Ok(report);
            }
        }
    }
}

impl Check<'_, '_, '_> {
    async fn all(&mut self, level: VerifyLevel) -> Result<()> {
        let (inner, check) = (self.inner, self);
        match inner.check_log().await {
            Ok(wrong) => {
                wrong.into_iter().try_for_each(|(name, error)| check.finding(name.to_string(), error))?;
            }
            Err(error) => check.finding("log", error)?,
        }
        check.packs(level).await?;
        check.snapshots().await?;
        check.report.chunks = inner.state().index.chunks();
        Ok(())
    }
}

impl fmt::Debug for VerifyRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyRun").field("level", &self.level).finish_non_exhaustive()
    }
}

struct Check<'a, 'r, 'c> {
    inner: &'a Arc<Inner>,
    report: VerifyReport,
    /// Subtrees that have been walked: snapshots share most of theirs.
    visited: HashSet<(TreeKind, ChunkId)>,
    reporter: &'r mut Reporter<'c>,
}

impl Check<'_, '_, '_> {
    fn finding(&mut self, place: impl Into<String>, error: Error) -> Result<()> {
        // A store that cannot be reached says nothing about the objects in it.
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::Unauthenticated)
        {
            return Err(error);
        }
        let place = place.into();
        self.inner.env.log(LogLevel::Error, || format!("{place}: {error}"));
        self.report.findings.push(Finding { place, error });
        Ok(())
    }

    async fn packs(&mut self, level: VerifyLevel) -> Result<()> {
        let (inner, state) = (self.inner, self.inner.state());
        let packs = state.index.packs().map(|pack| Ok(pack?.to_info())).collect::<Result<Vec<_>>>()?;
        let chunks = state.index.chunks_by_pack()?;
        let check = |info: PackInfo| {
            let (inner, index) = (Arc::clone(inner), state.index.clone());
            let chunks = chunks.get(&info.id).copied().unwrap_or_default();
            // Boxed, so that the whole check can move between threads.
            let check = async move {
                let check = || check_pack(&inner, &index, info.clone(), chunks, level);
                (info.id, inner.again_if_damaged(check).await)
            };
            check.boxed()
        };
        let mut checks = stream::iter(packs.into_iter().map(check)).buffer_unordered(CONCURRENCY);
        while let Some((id, result)) = checks.next().await {
            self.report.packs += 1;
            self.reporter.totals.items_done += 1;
            match result {
                Ok(read) => {
                    self.report.bytes_read += read;
                    self.reporter.totals.bytes_stored += read;
                }
                Err(error) => self.finding(ObjectName::Pack(id).to_string(), error)?,
            }
            self.reporter.report()?;
        }
        Ok(())
    }

    async fn snapshots(&mut self) -> Result<()> {
        let state = self.inner.state();
        for named in &state.snapshots {
            self.reporter.report()?;
            match self.inner.read_snapshot(named.id()).await {
                Ok(snapshot) => self.snapshot(&snapshot).await?,
                Err(error) => self.finding(ObjectName::Snapshot(named.object.id).to_string(), error)?,
            }
        }
        Ok(())
    }

    async fn snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.report.snapshots += 1;
        self.report.items += snapshot.items.count();
        let place = format!("snapshot {}", snapshot.id);
        for (tree, root) in [(TreeKind::Items, snapshot.items), (TreeKind::Names, snapshot.names)] {
            if let Err(error) = self.tree(tree, root).await {
                self.finding(place.clone(), error)?;
            }
        }
        if snapshot.items.count() != snapshot.names.count() {
            self.finding(place.clone(), Error::corrupt("its two trees have different numbers of items"))?;
        }
        // Names must lead to items and back. Only looked at where both trees are whole.
        if self.report.is_sound()
            && let Err(error) = names_match_items(self.inner, snapshot).await
        {
            self.finding(place, error)?;
        }
        Ok(())
    }

    /// Walks what has not been walked yet; keys must rise and counts add up throughout.
    async fn tree(&mut self, tree: TreeKind, root: Root) -> Result<()> {
        let Some(top) = root.0 else { return Ok(()) };
        let mut open = vec![(top.level, top.id, Some(top.count), None::<Bytes>)];
        while let Some((level, id, count, last_key)) = open.pop() {
            if !self.visited.insert((tree, id)) {
                continue;
            }
            let node = match self.inner.node_uncached(tree, level, id).await {
                Ok(node) => node,
                Err(error) => {
                    self.finding(format!("tree node {id}"), error)?;
                    continue;
                }
            };
            let (found, last) = match &node.entries {
                Entries::Leaf(entries) => (entries.len() as u64, entries.last().map(|entry| &entry.key)),
                Entries::Inner(children) => {
                    let below = level.saturating_sub(1);
                    open.extend(
                        children.iter().map(|c| (below, c.id, Some(c.count), Some(c.last_key.clone()))),
                    );
                    (
                        children.iter().map(|child| child.count).sum(),
                        children.last().map(|child| &child.last_key),
                    )
                }
            };
            if count.is_some_and(|count| count != found)
                || last_key.as_ref().is_some_and(|key| Some(key) != last)
            {
                self.finding(
                    format!("tree node {id}"),
                    Error::corrupt("node is not what the one above it says"),
                )?;
            }
            if let (Entries::Leaf(entries), TreeKind::Items) = (&node.entries, tree) {
                for entry in entries {
                    if let Err(error) = self.item(&entry.value).await {
                        self.finding(format!("item {}", ItemId::from(&*entry.key)), error)?;
                    }
                }
                self.reporter.check()?;
            }
        }
        Ok(())
    }

    /// Every chunk of an item must be in the index, with the length that the item says.
    async fn item(&mut self, value: &[u8]) -> Result<()> {
        let record = Record::decode(value)?;
        let state = self.inner.state();
        let missing = Mutex::new(None);
        let contents = record.streams.iter().map(|(_, content)| content).chain(&record.details);
        for content in contents {
            content::chunks(self.inner, &state.index, content, |class, chunk| {
                let mut places = state.index.locate(&chunk.id);
                let found = places.any(|place| class == Class::Tree || u64::from(place.len) == chunk.len);
                if !found {
                    *missing.lock().unwrap_or_else(PoisonError::into_inner) = Some(chunk.id);
                }
                Ok(true)
            })
            .await?;
        }
        match missing.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(id) => {
                Err(Error::new(ErrorKind::Missing, "a chunk is in no segment").with_item(id.to_string()))
            }
            None => Ok(()),
        }
    }
}

async fn names_match_items(inner: &Inner, snapshot: &Snapshot) -> Result<()> {
    let mut scan = Scan::from(inner, TreeKind::Items, snapshot.items, &[]).await?;
    while let Some(entry) = scan.next().await? {
        let record = Record::decode(&entry.value)?;
        let id = ItemId::from(&*entry.key);
        let key = name_key::of(record.parent.as_ref(), &record.name, &id);
        if tree::find(inner, TreeKind::Names, snapshot.names, &key).await?.is_none() {
            return Err(Error::corrupt("an item has no name in the names tree").with_item(id.to_string()));
        }
        if let Some(holder) = &record.hard_link {
            let found = tree::find(inner, TreeKind::Items, snapshot.items, holder.as_bytes()).await?;
            let holder = found.as_deref().map(Record::decode).transpose()?;
            if holder.is_none_or(|holder| holder.hard_link.is_some()) {
                return Err(Error::new(ErrorKind::Missing, "a hard link's file is not in its snapshot")
                    .with_item(id.to_string()));
            }
        }
    }
    Ok(())
}

/// Checks one pack, into which the index has so many entries; bytes read.
pub(super) async fn check_pack(
    inner: &Arc<Inner>,
    index: &Index,
    info: PackInfo,
    chunks: u64,
    level: VerifyLevel,
) -> Result<u64> {
    let name = ObjectName::Pack(info.id);
    let gone = |error: Error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Missing, "a pack is gone"),
        _ => error,
    };
    if level == VerifyLevel::Structure {
        return match inner.store.size(&name.key()).await.map_err(gone)? {
            len if len == info.len => Ok(0),
            len => Err(Error::corrupt(format!("a pack has {len} bytes instead of {}", info.len))),
        };
    }
    let bytes = inner.store.read(&name.key(), None).await.map_err(gone)?;
    let (shell, index) = (Arc::clone(inner), index.clone());
    let len = bytes.len() as u64;
    inner
        .env
        .run(move || {
            // A salvaged index does not know the hash: the parts are checked all the same.
            let is_known = shell.salvaged.is_none() || info.hash != PackInfo::HASH_UNKNOWN;
            if bytes.len() as u64 != info.len || is_known && object_hash(&bytes) != info.hash {
                return Err(Error::corrupt("a pack is not the one that the index names"));
            }
            let (pack, class) = OpenedObject::open(shell.id, &shell.ring, name, &bytes)?;
            if bytes.get(..info.header.0.len()) != Some(info.header.0.as_slice()) {
                return Err(Error::corrupt("a pack's header is not the one that the index repeats"));
            }
            let directory = read_directory(&pack, &bytes)?;
            for (number, span) in (0u32..).zip(&directory.frames) {
                let range = usize::try_from(span.offset).ok().zip(usize::try_from(span.end()).ok());
                let sealed = range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default();
                let frame = open_frame(&pack, span, sealed)?;
                for chunk in directory.chunks.iter().filter(|chunk| chunk.frame == number) {
                    let (start, end) = (chunk.offset as usize, chunk.offset as usize + chunk.len as usize);
                    let plain = frame.get(start..end).unwrap_or_default();
                    if chunk_id(shell.ring.id_key(class)?, plain) != chunk.id {
                        return Err(Error::corrupt("a chunk's content does not match its id")
                            .with_item(chunk.id.to_string()));
                    }
                    let is_here = |place: Location<'_>| {
                        place.pack.id == info.id
                            && (place.frame, place.offset, place.len) == (*span, chunk.offset, chunk.len)
                    };
                    if !index.locate(&chunk.id).any(is_here) {
                        return Err(Error::corrupt("the index has a chunk at another place than its pack")
                            .with_item(chunk.id.to_string()));
                    }
                }
            }
            if chunks != directory.chunks.len() as u64 {
                return Err(Error::corrupt("the index names chunks that the pack has not"));
            }
            Ok(())
        })
        .await?;
    Ok(len)
}
