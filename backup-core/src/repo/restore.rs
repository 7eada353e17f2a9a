//! A restore: a walk through a snapshot, parents first, into a sink.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::batcher::Batcher;
use super::browse::stream_of;
use super::undo::Undo;
use super::{Browser, Inner, Repository, content};
use crate::crypto::Class;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Record, name_key};
use crate::id::SnapshotId;
use crate::item::{Item, ItemId};
use crate::limits;
use crate::progress::{Callback, CancelToken, Control, Phase, Progress, Reporter};
use crate::sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};
use crate::source::{Content, Problem};
use crate::time::Timestamp;
use crate::tree::scan::Scan;

/// Longest stream that is fetched before its item is put, in bytes.
const SMALL_BYTES: u64 = 1 << 20;
/// Bytes of the items that are put at once, at most, unless there is only one. An item counts for no more than is read ahead of it.
const PUTTING_BYTES_MAX: u64 = 16 << 20;
const PUTTING_BYTES_OF_ITEM: u64 = 8 << 20;

/// A restore that is about to run; made by [`Repository::restore`].
#[must_use = "nothing happens before `run`"]
pub struct RestoreRun<'a> {
    repository: &'a Repository,
    snapshot: SnapshotId,
    sink: &'a dyn Sink,
    only: Vec<String>,
    except: Vec<String>,
    undo: Option<SnapshotId>,
    conflict: Conflict,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a restore did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Items created where nothing was.
    pub created: u64,
    /// Items put in the place of others.
    pub replaced: u64,
    /// Items left alone because something was there.
    pub skipped: u64,
    /// Items created under another name.
    pub renamed: u64,
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Bytes read from the store.
    pub bytes_fetched: u64,
    /// Items that could not be restored.
    pub problems: Vec<Problem>,
}

impl<'a> RestoreRun<'a> {
    pub(super) fn new(repository: &'a Repository, snapshot: SnapshotId, sink: &'a dyn Sink) -> Self {
        Self {
            repository,
            snapshot,
            sink,
            only: Vec::new(),
            except: Vec::new(),
            undo: None,
            conflict: Conflict::default(),
            callback: None,
            token: CancelToken::new(),
        }
    }

    /// Restores only what matches one of the patterns given this way, and what lies below it.
    ///
    /// A pattern is a glob over the whole path as [`Browser`] defines it: `*` and `?` stop at `/`, `**` does not,
    /// `{a,b}` and `[a-z]` choose. `inbox/2026` and `inbox/2026/**` mean the same folder.
    pub fn only(mut self, pattern: impl Into<String>) -> Self {
        self.only.push(pattern.into());
        self
    }

    /// Leaves out what matches, and what lies below it; wins over [`only`](Self::only).
    pub fn except(mut self, pattern: impl Into<String>) -> Self {
        self.except.push(pattern.into());
        self
    }

    /// Restores only what `later`, a snapshot of the same collection, has lost: items that were changed, renamed, moved or
    /// deleted since. What was added since stays; so does what was renamed or moved, beside what is brought back.
    ///
    /// This is how an attack is undone: restore the last good snapshot with the first bad one as `later` and
    /// [`Conflict::Replace`]. Memory grows with the number of changes, about 100 bytes each.
    pub fn undo(mut self, later: SnapshotId) -> Self {
        self.undo = Some(later);
        self
    }

    /// What to do where a name is taken. The default is to leave what is there.
    pub fn conflict(mut self, conflict: Conflict) -> Self {
        self.conflict = conflict;
        self
    }

    /// Calls back with running totals, at most ten times a second and when the phase changes.
    pub fn on_progress(mut self, callback: impl FnMut(&Progress) -> Control + Send + 'a) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Lets `token` stop the restore between two pieces of content.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.token = token.clone();
        self
    }

    /// Runs the restore. Items that fail are in the report, and what lies below them is left out.
    ///
    /// # Errors
    /// `InvalidArgument` for a pattern that does not parse or a later snapshot of another collection, `NotFound` for the snapshot, `Canceled`, and what ends a
    /// restore as a whole: no space, no rights, damage of the trees.
    pub async fn run(self) -> Result<RestoreReport> {
        let browser = self.repository.browse(self.snapshot).await?;
        let mut filter = Filter::new(&self.only, &self.except)?;
        if let Some(later) = self.undo {
            let later = self.repository.browse(later).await?;
            if later.snapshot.collection != browser.snapshot.collection {
                return Err(Error::invalid("the later snapshot is of another collection"));
            }
            filter.undo = Some(Undo::between(&browser, &later).await?);
        }
        let mut reporter = Reporter::new(self.callback, self.token);
        let stats = browser.snapshot.stats;
        reporter.totals.items_total = if filter.is_everything() { stats.items } else { 0 };
        reporter.totals.bytes_total = if filter.is_everything() { stats.bytes } else { 0 };
        reporter.phase(Phase::Transferring)?;
        let fetched = browser.inner.bytes_read.load(std::sync::atomic::Ordering::Relaxed);
        let mut walk = Walk {
            sink: self.sink,
            conflict: self.conflict,
            filter,
            root: browser.root().await?,
            browser: &browser,
            reporter,
            last: None,
            links: HashMap::new(),
            small: Arc::new(Batcher::new(browser.inner.env.clone())),
            putting: FuturesUnordered::new(),
            put: VecDeque::new(),
            putting_bytes: 0,
            folders: HashMap::new(),
            entered: 0,
            report: RestoreReport::default(),
        };
        walk.run().await?;
        walk.note_pathless()?;
        walk.reporter.phase(Phase::Committing)?;
        self.sink.finish().await?;
        walk.note_fetched(fetched);
        // Everything is in place: whoever cancels now is too late.
        let _ = walk.reporter.phase(Phase::Done);
        Ok(walk.report)
    }
}

impl fmt::Debug for RestoreRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreRun")
            .field("snapshot", &self.snapshot)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// Which paths are wanted.
struct Filter {
    only: Option<GlobSet>,
    except: GlobSet,
    undo: Option<Undo>,
}

impl Filter {
    fn new(only: &[String], except: &[String]) -> Result<Self> {
        let set = |patterns: &[String]| -> Result<GlobSet> {
            let wrong = |pattern: &str, error: globset::Error| {
                Error::invalid("path pattern does not parse").with_item(pattern).with_source(error)
            };
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                let trimmed = pattern.trim_matches('/');
                let glob = GlobBuilder::new(trimmed).literal_separator(true).backslash_escape(true).build();
                set.add(glob.map_err(|error| wrong(pattern, error))?);
            }
            set.build().map_err(|error| wrong("", error))
        };
        let only = if only.is_empty() { None } else { Some(set(only)?) };
        Ok(Self { only, except: set(except)?, undo: None })
    }

    fn is_everything(&self) -> bool {
        self.only.is_none() && self.except.is_empty() && self.undo.is_none()
    }

    fn excludes(&self, path: &str) -> bool {
        self.except.is_match(path)
    }

    /// Whether the item at this path is wanted for itself, its parents not being so.
    fn selects(&self, path: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(path) || only.is_match(format!("{path}/")))
    }
}

/// A folder that is being walked.
struct Open<'a> {
    /// Its number in [`Walk::folders`].
    number: u64,
    item: Item,
    record: Record,
    path: String,
    /// Everything below is wanted as far as paths go.
    selected: bool,
    /// Everything below was lost.
    lost: bool,
    /// Where the sink has it, once something below was wanted.
    placed: Option<Placed>,
    prefix: Vec<u8>,
    scan: Scan<'a>,
}

/// A folder that is not closed yet.
struct Folder {
    parent: Option<u64>,
    /// What it waits for: items being put, folders not closed, and the walk itself.
    left: usize,
    /// What closes it, once the walk has left it.
    close: Option<(Item, String, Placed)>,
}

/// An item that has been put, or not.
struct Put {
    id: ItemId,
    path: String,
    folder: Option<u64>,
    /// Size of what was written, if it was.
    bytes: u64,
    /// Memory that it was counted with.
    memory: u64,
    /// The item that its content belongs to, where there may be links to it.
    holder: Option<ItemId>,
    outcome: Result<Placement>,
}

struct Walk<'a, 'r> {
    browser: &'a Browser,
    sink: &'a dyn Sink,
    conflict: Conflict,
    filter: Filter,
    root: Option<ItemId>,
    reporter: Reporter<'r>,
    last: Option<Timestamp>,
    /// Where items that hard links point to were placed.
    links: HashMap<ItemId, Placed>,
    /// Small items that wait for company.
    small: Arc<Batcher>,
    putting: FuturesUnordered<BoxFuture<'a, Put>>,
    /// Items that have been put while the walk waited for something else.
    put: VecDeque<Put>,
    /// Memory that the items may need that are being put.
    putting_bytes: u64,
    /// Folders by number, until they are closed.
    folders: HashMap<u64, Folder>,
    /// Items that the walk came to.
    entered: u64,
    report: RestoreReport,
}

impl<'a> Walk<'a, '_> {
    async fn run(&mut self) -> Result<()> {
        let top = name_key::below(None);
        let browser = self.browser;
        let mut scan = self.alongside(browser.scan_names(&top)).await?;
        while let Some(entry) = self.alongside(scan.next_below(&top)).await? {
            let id = name_key::item_id(&entry.key, &top)?;
            self.walk_from(id).await?;
        }
        Ok(())
    }

    /// Walks one top item and all below it.
    async fn walk_from(&mut self, top: ItemId) -> Result<()> {
        let mut stack: Vec<Open<'a>> = Vec::new();
        if let Some(open) = self.enter(top, &mut stack).await? {
            stack.push(open);
        }
        while let Some(open) = stack.last_mut() {
            match self.alongside(open.scan.next_below(&open.prefix)).await? {
                Some(entry) => {
                    let id = name_key::item_id(&entry.key, &open.prefix)?;
                    if stack.len() > limits::PATH_DEPTH_MAX {
                        return Err(
                            Error::corrupt("folders are nested without end").with_item(id.to_string())
                        );
                    }
                    if let Some(open) = self.enter(id, &mut stack).await? {
                        stack.push(open);
                    }
                }
                None => {
                    if let Some(Open { number, item, path, placed, .. }) = stack.pop() {
                        if let Some(folder) = self.folders.get_mut(&number) {
                            folder.close = placed.map(|placed| (item, path, placed));
                        }
                        self.release(number).await?;
                    }
                }
            }
        }
        while !self.putting.is_empty() || !self.put.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for something while items are being put. The walk waits for nothing in any other way: an item that is being put may hold
    /// what it waits for, a frame that is on its way or a place in a queue of the service, and holds it until it is polled.
    async fn alongside<T>(&mut self, work: impl Future<Output = T> + Send) -> T {
        let mut work = std::pin::pin!(work.fuse());
        loop {
            futures_util::select_biased! {
                done = work => return done,
                put = self.putting.select_next_some() => self.put.push_back(put),
                () = self.small.idle() => {}
            }
        }
    }

    /// One thing less that a folder waits for. The last one closes it, and releases the folder above.
    async fn release(&mut self, number: u64) -> Result<()> {
        let mut next = Some(number);
        while let Some(number) = next.take() {
            let Some(folder) = self.folders.get_mut(&number) else { break };
            folder.left = folder.left.saturating_sub(1);
            if folder.left > 0 {
                break;
            }
            let Some(Folder { parent, close, .. }) = self.folders.remove(&number) else { break };
            if let Some((item, path, placed)) = close {
                let sink = self.sink;
                if let Err(error) = self.alongside(sink.close(&item, &placed)).await {
                    self.problem(&item.id, path, error)?;
                }
            }
            next = parent;
        }
        Ok(())
    }

    /// Waits for one of the items that are being put, and takes note of what became of it.
    async fn settle(&mut self) -> Result<()> {
        let put = match self.put.pop_front() {
            Some(put) => put,
            None => futures_util::select_biased! {
                put = self.putting.select_next_some() => put,
                () = self.small.idle() => return Ok(()),
            },
        };
        self.putting_bytes -= put.memory;
        let folder = put.folder;
        self.take(put)?;
        match folder {
            Some(folder) => self.release(folder).await,
            None => Ok(()),
        }
    }

    /// Handles one item; a container is given back to be walked.
    async fn enter(&mut self, id: ItemId, stack: &mut [Open<'a>]) -> Result<Option<Open<'a>>> {
        self.entered += 1;
        let browser = self.browser;
        let record = self.alongside(browser.record(&id)).await?;
        let is_root = self.root.as_ref() == Some(&id);
        let above = stack.last();
        let path = match above {
            _ if is_root => String::new(),
            Some(above) if !above.path.is_empty() => format!("{}/{}", above.path, record.name),
            _ => record.name.to_string(),
        };
        if !is_root && self.filter.excludes(&path) {
            return Ok(None);
        }
        let selected = above.is_some_and(|above| above.selected)
            || if is_root { self.filter.only.is_none() } else { self.filter.selects(&path) };
        let lost_above = above.is_some_and(|above| above.lost);
        let undo = self.filter.undo.as_ref();
        let lost = lost_above || undo.is_none_or(|undo| undo.wants_all_below(&id));
        let wanted = selected && (lost || undo.is_some_and(|undo| undo.wants(&id)));
        let container = record.kind.is_container();
        if !wanted && !container {
            return Ok(None);
        }
        let item = match self.alongside(browser.to_item(id.clone(), &record)).await {
            Ok(item) => item,
            Err(error) => {
                self.problem(&id, path, error)?;
                return Ok(None);
            }
        };
        let folder = stack.last().map(|open| open.number);
        if !container {
            self.place_file(stack, item, record, path).await?;
            return Ok(None);
        }
        let placed = if wanted {
            let Some(parent) = self.place_above(stack).await? else { return Ok(None) };
            let put = self.put(item.clone(), record.clone(), path.clone(), folder, parent).await?;
            let put = self.alongside(put).await;
            match self.take(put)? {
                Some(placed) => Some(placed),
                None => return Ok(None),
            }
        } else {
            None
        };
        let number = self.entered;
        self.folders.insert(number, Folder { parent: folder, left: 1, close: None });
        if let Some(above) = folder.and_then(|folder| self.folders.get_mut(&folder)) {
            above.left += 1;
        }
        let prefix = name_key::below(Some(&id));
        let scan = self.alongside(browser.scan_names(&prefix)).await?;
        Ok(Some(Open { number, item, record, path, selected, lost, placed, prefix, scan }))
    }

    /// Begins to put an item that is no container, as soon as fewer than the sink wants are under way.
    async fn place_file(
        &mut self,
        stack: &mut [Open<'a>],
        item: Item,
        record: Record,
        path: String,
    ) -> Result<()> {
        let Some(parent) = self.place_above(stack).await? else { return Ok(()) };
        let waits_for_link = record.hard_link.as_ref().is_some_and(|holder| !self.links.contains_key(holder));
        let most = if waits_for_link { 0 } else { self.sink.concurrency().max(1) - 1 };
        let memory = record.size().min(PUTTING_BYTES_OF_ITEM);
        while self.putting.len() + self.put.len() > most
            || self.putting_bytes > 0 && self.putting_bytes + memory > PUTTING_BYTES_MAX
        {
            self.settle().await?;
        }
        self.putting_bytes += memory;
        let folder = stack.last().map(|open| open.number);
        if let Some(folder) = folder.and_then(|folder| self.folders.get_mut(&folder)) {
            folder.left += 1;
        }
        let put = self.put(item, record, path, folder, parent).await?;
        self.putting.push(put.map(move |put| Put { memory, ..put }).boxed());
        Ok(())
    }

    /// Puts those containers that nothing has been put into yet. `None` if one of them cannot be put, else where the
    /// innermost one is.
    async fn place_above(&mut self, stack: &mut [Open<'a>]) -> Result<Option<Option<Placed>>> {
        let mut parent: Option<Placed> = None;
        for open in stack.iter_mut() {
            if open.placed.is_none() {
                let (item, record) = (open.item.clone(), open.record.clone());
                let put = self.put(item, record, open.path.clone(), None, parent).await?;
                let put = self.alongside(put).await;
                match self.take(put)? {
                    Some(placed) => open.placed = Some(placed),
                    None => return Ok(None),
                }
            }
            parent = open.placed.clone();
        }
        Ok(Some(parent))
    }

    /// An item on its way into the sink.
    async fn put(
        &mut self,
        mut item: Item,
        record: Record,
        path: String,
        folder: Option<u64>,
        parent: Option<Placed>,
    ) -> Result<BoxFuture<'a, Put>> {
        let id = item.id.clone();
        let linked = match &record.hard_link {
            Some(target) => match self.alongside(self.browser.record(target)).await {
                Ok(target) => Some(target),
                Err(error) => {
                    let put =
                        Put { id, path, folder, bytes: 0, memory: 0, holder: None, outcome: Err(error) };
                    return Ok(std::future::ready(put).boxed());
                }
            },
            None => None,
        };
        let link = record.hard_link.as_ref().and_then(|target| self.links.get(target)).cloned();
        if let Some(target) = &linked {
            item.streams = target.to_item(id.clone(), crate::item::Attributes::new()).streams;
        }
        // The first of several links that is restored takes the part of the item that holds the content.
        let holder = match &record.hard_link {
            Some(holder) => Some(holder.clone()),
            None => may_have_links(&record).then(|| id.clone()),
        };
        let contents = Stored { inner: Arc::clone(&self.browser.inner), record: linked.unwrap_or(record) };
        let (sink, conflict, small) = (self.sink, self.conflict, Arc::clone(&self.small));
        Ok(async move {
            let place = Place::new(parent.as_ref(), conflict, link.as_ref());
            let outcome = match put_small(sink, &item, place, &contents, &small).await {
                Some(outcome) => outcome,
                None => sink.put(&item, place, &contents).await,
            };
            let skipped = outcome.as_ref().is_ok_and(|placement| placement.action == Action::Skipped);
            let bytes = if skipped || link.is_some() { 0 } else { contents.record.size() };
            Put { id, path, folder, bytes, memory: 0, holder, outcome }
        }
        .boxed())
    }

    /// Takes note of what became of an item; where it is.
    fn take(&mut self, put: Put) -> Result<Option<Placed>> {
        let Put { id, path, bytes, holder, outcome, .. } = put;
        let Placement { placed, action, problems } = match outcome {
            Ok(placement) => placement,
            Err(error) => {
                self.problem(&id, path, error)?;
                return Ok(None);
            }
        };
        for error in problems {
            self.problem(&id, path.clone(), error)?;
        }
        match action {
            Action::Created => self.report.created += 1,
            Action::Replaced => self.report.replaced += 1,
            Action::Skipped => self.report.skipped += 1,
            Action::Renamed => self.report.renamed += 1,
        }
        self.report.bytes += bytes;
        if let Some(holder) = holder {
            self.links.entry(holder).or_insert_with(|| placed.clone());
        }
        self.advance(bytes)?;
        Ok(Some(placed))
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.reporter.totals.items_done += 1;
        self.reporter.totals.bytes_done += bytes;
        let now = self.browser.inner.env.now();
        let due = self.last.is_none_or(|last| now < last || now.millis() - last.millis() >= 100);
        if due {
            self.last = Some(now);
            self.reporter.report()
        } else {
            self.reporter.check()
        }
    }

    fn problem(&mut self, id: &ItemId, path: String, error: Error) -> Result<()> {
        if matches!(error.kind(), ErrorKind::Canceled | ErrorKind::OutOfSpace | ErrorKind::Unauthenticated) {
            return Err(error.with_item(path));
        }
        self.report.problems.push(Problem::new(Some(id.clone()), path, error));
        self.reporter.totals.problems += 1;
        self.reporter.check()
    }

    /// Says how many items were not come to because what should contain them is not in the snapshot. Known only where
    /// everything was wanted and nothing went wrong on the way.
    fn note_pathless(&mut self) -> Result<()> {
        let items = self.browser.snapshot.items.count();
        if !self.filter.is_everything() || !self.report.problems.is_empty() || self.entered >= items {
            return Ok(());
        }
        let what = format!(
            "{} items have no path: what contained them is not in the snapshot",
            items - self.entered
        );
        self.report.problems.push(Problem::new(
            None,
            "items without a path",
            Error::new(ErrorKind::NotFound, what),
        ));
        self.reporter.totals.problems += 1;
        self.reporter.check()
    }

    fn note_fetched(&mut self, before: u64) {
        let now = self.browser.inner.bytes_read.load(std::sync::atomic::Ordering::Relaxed);
        self.report.bytes_fetched = now.saturating_sub(before);
        self.reporter.totals.bytes_stored = self.report.bytes_fetched;
    }
}

/// Puts an item with one short stream together with others, if the sink can. None if it cannot, or if the content was not what it should be:
/// reading it the long way then looks for other copies and says what is wrong.
async fn put_small(
    sink: &dyn Sink,
    item: &Item,
    place: Place<'_>,
    contents: &Stored,
    small: &Batcher,
) -> Option<Result<Placement>> {
    let [(_, content)] = contents.record.streams.as_slice() else { return None };
    if content.depth > 0 || content.len > SMALL_BYTES {
        return None;
    }
    let put = sink.put_blocking(item, place)?;
    let (mut chunks, mut len) = (Vec::with_capacity(content.refs.len()), 0);
    for chunk in &content.refs {
        let bytes = contents.inner.unproven_chunk(chunk.id).await.ok()?;
        len += bytes.len() as u64;
        chunks.push(bytes);
    }
    if len != content.len {
        return None;
    }
    let (inner, ids) = (Arc::clone(&contents.inner), content.refs.clone());
    let job = move || {
        let mut proven = ids.iter().zip(&chunks).map(|(chunk, bytes)| {
            bytes.len() as u64 == chunk.len && inner.is_chunk(Class::Data, chunk.id, bytes).unwrap_or(false)
        });
        proven.all(|proven| proven).then(|| put.put(&chunks))
    };
    small.run(len, job).await.unwrap_or_else(|error| Some(Err(error)))
}

/// Whether the source said that the file has more names than this one.
fn may_have_links(record: &Record) -> bool {
    !record.kind.is_container()
        && record.attributes.get("links").and_then(crate::item::Value::as_int) > Some(1)
}

/// The streams of a record, for a sink.
struct Stored {
    inner: Arc<Inner>,
    record: Record,
}

impl Contents for Stored {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        let found = stream_of(&self.record, stream)?;
        let all = 0..found.len;
        content::read(Arc::clone(&self.inner), found, all)
    }
}
