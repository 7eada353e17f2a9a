//! The index of an open repository: loaded from its segments and from what an earlier opening left in a cache, and kept to few runs.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Inner;
use super::log::described;
use crate::cache::IndexCache;
use crate::crypto::{Class, Keyring, ObjectName, derive};
use crate::dedup::{Index, Run, covered_by};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::SegmentRef;
use crate::format::open_object;
use crate::format::segment::Segment;
use crate::id::{ObjectId, RepoId};
use crate::logging::LogLevel;
use crate::secret::Secret;

/// Segments read at the same time: at least so many, and more where they are short, as those of small revisions are.
const SEGMENT_READS_MIN: usize = 8;
const SEGMENT_READS_MAX: usize = 64;
/// Bytes of them that are meant to be in memory as they are stored.
const SEGMENT_READ_BYTES: u64 = 4 << 20;
/// Entries, 47 bytes each, that runs in memory have together before they are moved into the cache, if there is one; and most that are merged
/// in memory, where the old and the new run are held at once.
const MEMORY_ENTRIES_MAX: u64 = 4 << 20;
/// What is smaller and made of fewer segments is not worth a file: reading it again costs a request or two.
const CACHED_ENTRIES_MIN: u64 = 16 << 10;
const CACHED_SEGMENTS_MIN: usize = 8;

/// An [`IndexCache`] as one repository sees it.
#[derive(Clone)]
pub(super) struct Cache {
    entries: Arc<dyn IndexCache>,
    key: Secret,
    prefix: String,
}

impl Cache {
    pub(super) fn new(entries: Arc<dyn IndexCache>, repo: RepoId, ring: &Keyring) -> Result<Self> {
        let tree = ring.id_key(Class::Tree)?.expose();
        let key = derive("backup-engine v1 index cache", &[repo.as_bytes(), tree]);
        Ok(Self { entries, key, prefix: format!("{repo}-") })
    }

    /// Named by what it covers: who makes the same run again replaces it by the same bytes.
    fn name(&self, covers: &[ObjectId]) -> String {
        let mut hasher = blake3::Hasher::new();
        for id in covers {
            hasher.update(id.as_bytes());
        }
        let hash = hasher.finalize().to_hex();
        format!("{}{}", self.prefix, hash.get(..32).unwrap_or_default())
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.entries.names().unwrap_or_default();
        names.retain(|name| name.starts_with(&self.prefix));
        names
    }

    fn remove(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            // What stays is looked at again, and in nobody's way.
            let _ = self.entries.remove(&name);
        }
    }

    /// Runs that may stand for these segments, none of them twice. All others are removed.
    fn load(&self, segments: &HashMap<ObjectId, u64>) -> Vec<Run> {
        let mut found: Vec<(String, Option<Run>)> = Vec::new();
        for name in self.names() {
            let run =
                self.entries.load(&name).ok().flatten().and_then(|bytes| Run::open(bytes, &self.key).ok());
            found.push((name, run));
        }
        found.sort_by_key(|(_, run)| std::cmp::Reverse(run.as_ref().map_or(0, Run::entries)));
        let (mut left, mut runs, mut stale) = (segments.clone(), Vec::new(), Vec::new());
        for (name, run) in found {
            let usable = run.filter(|run| {
                let entries: Option<u64> = run.covers().iter().map(|id| left.get(id)).sum();
                entries == Some(run.entries())
            });
            match usable {
                Some(run) => {
                    left.retain(|id, _| run.covers().binary_search(id).is_err());
                    runs.push(run);
                }
                None => stale.push(name),
            }
        }
        self.remove(stale);
        runs
    }

    fn merge(&self, runs: &[Arc<Run>]) -> Result<Run> {
        let mut entry = self.entries.create(&self.name(&covered_by(runs)))?;
        Run::merge_to(runs, &mut *entry, &self.key)?;
        Run::open(entry.finish()?, &self.key)
    }
}

impl Inner {
    /// The index of these segments. With `anew`, every one of them is read from the store, and what was cached of them is replaced.
    pub(super) async fn load_index(&self, segments: &[SegmentRef], anew: bool) -> Result<Index> {
        let loaded = self.load_index_with(segments, anew).await;
        match loaded {
            // Perhaps the cache is damaged.
            Err(error) if error.kind() == ErrorKind::Corrupt && self.cache.is_some() && !anew => {
                self.env.log(LogLevel::Warning, || {
                    format!("{}: the cached index is made anew", described(&error))
                });
                self.load_index_with(segments, true).await
            }
            loaded => loaded,
        }
    }

    async fn load_index_with(&self, segments: &[SegmentRef], anew: bool) -> Result<Index> {
        let mut index = Index::default();
        if let Some(cache) = self.cache.clone() {
            let wanted: HashMap<ObjectId, u64> =
                segments.iter().map(|segment| (segment.object.id, segment.entries.into())).collect();
            let cached = self.env.run(move || {
                if anew {
                    cache.remove(cache.names());
                    return Ok(Vec::new());
                }
                Ok(cache.load(&wanted))
            });
            cached.await?.into_iter().for_each(|run| index.add(Arc::new(run)));
        }
        let covered = covered_by(index.runs());
        let is_missing = |segment: &&SegmentRef| covered.binary_search(&segment.object.id).is_err();
        let missing: Vec<SegmentRef> = segments.iter().filter(is_missing).copied().collect();
        self.add_segments(&mut index, &missing).await?;
        Ok(index)
    }

    /// Reads segments and adds them.
    pub(super) async fn add_segments(&self, index: &mut Index, segments: &[SegmentRef]) -> Result<()> {
        let read = |segment: &SegmentRef| -> BoxFuture<'_, Result<Run>> { Box::pin(self.read_run(*segment)) };
        let reads: Vec<_> = segments.iter().map(read).collect();
        let longest = segments.iter().map(|segment| segment.object.len).max().unwrap_or_default().max(1);
        let fitting = usize::try_from(SEGMENT_READ_BYTES / longest).unwrap_or(SEGMENT_READS_MAX);
        let at_once = fitting.clamp(SEGMENT_READS_MIN, SEGMENT_READS_MAX);
        let mut runs = stream::iter(reads).buffered(at_once);
        let mut in_memory = entries_of(index.runs().iter().filter(|run| !run.is_cached()));
        while let Some(run) = runs.next().await {
            let run = run?;
            in_memory += run.entries();
            index.add(Arc::new(run));
            if self.cache.is_some() && in_memory >= MEMORY_ENTRIES_MAX {
                let runs: Vec<_> = index.runs().iter().filter(|run| !run.is_cached()).cloned().collect();
                if runs.len() > 1 {
                    // Reading goes on afterwards: what is under way holds nothing that this waits for.
                    self.merge_runs(index, runs).await?;
                    in_memory = 0;
                }
            }
        }
        self.settle(index).await
    }

    /// Merges what is due.
    pub(super) async fn settle(&self, index: &mut Index) -> Result<()> {
        let most = if self.cache.is_some() { u64::from(u32::MAX) } else { MEMORY_ENTRIES_MAX };
        while let Some(due) = index.due(most) {
            if !self.merge_runs(index, due).await? {
                break;
            }
        }
        Ok(())
    }

    /// Makes one run of several. False if they have to stay: there is no room for the new one, or nobody can hold it.
    async fn merge_runs(&self, index: &mut Index, runs: Vec<Arc<Run>>) -> Result<bool> {
        let (cache, merging) = (self.cache.clone(), runs.clone());
        let merged = self.env.run(move || {
            let entries = entries_of(&merging);
            let segments: usize = merging.iter().map(|run| run.covers().len()).sum();
            match cache {
                Some(cache) if entries >= CACHED_ENTRIES_MIN || segments >= CACHED_SEGMENTS_MIN => {
                    let run = cache.merge(&merging)?;
                    let old = merging.iter().filter(|run| run.is_cached());
                    cache.remove(old.map(|run| cache.name(run.covers())));
                    Ok(run)
                }
                _ => Run::merge(&merging),
            }
        });
        match merged.await {
            Ok(run) => Ok(index.replace(&runs, Arc::new(run))),
            // Damage must not be carried on.
            Err(error) if error.kind() == ErrorKind::Corrupt => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Merges what a commit has made due. Best effort: the index serves as it is.
    pub(super) async fn settle_state(&self) {
        let before = self.state();
        let mut index = before.index.clone();
        if self.settle(&mut index).await.is_ok() {
            self.replace_index(&before, index);
        }
    }

    /// Reads the index anew from the store, if a part of it that came from the cache is damaged. False if none is.
    pub(super) async fn mend_index(&self) -> Result<bool> {
        let before = self.state();
        if !before.index.is_damaged() {
            return Ok(false);
        }
        let index = self.load_index(&before.segments, true).await?;
        self.replace_index(&before, index);
        Ok(true)
    }

    pub(super) async fn read_run(&self, segment: SegmentRef) -> Result<Run> {
        let id = segment.object.id;
        let read = self.read_segment(segment).await?;
        self.env.run(move || Run::of_segment(id, &read)).await
    }

    /// A segment, as the log names it.
    pub(super) async fn read_segment(&self, segment: SegmentRef) -> Result<Segment> {
        let name = ObjectName::Segment(segment.object.id);
        let bytes = self.read_named(name, segment.object).await?;
        let raw = open_object(self.id, &self.ring, name, &bytes)?;
        drop(bytes);
        let decode = move || {
            let read = Segment::decode(&raw).map_err(|error| error.with_item(name.to_string()))?;
            if read.chunks.len() as u64 != u64::from(segment.entries) {
                return Err(Error::corrupt("segment has another number of entries than the log says")
                    .with_item(name.to_string()));
            }
            Ok(read)
        };
        self.env.run(decode).await
    }
}

fn entries_of<'a>(runs: impl IntoIterator<Item = &'a Arc<Run>>) -> u64 {
    runs.into_iter().map(|run| run.entries()).sum()
}
