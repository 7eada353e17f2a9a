//! A restore: a walk through a snapshot, parents first, into a sink.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::browse::stream_of;
use super::undo::Undo;
use super::{Browser, Inner, Repository, content};
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
    /// Items that the walk came to.
    entered: u64,
    report: RestoreReport,
}

impl<'a> Walk<'a, '_> {
    async fn run(&mut self) -> Result<()> {
        let top = name_key::below(None);
        let mut scan = self.browser.scan_names(&top).await?;
        while let Some(entry) = scan.next_below(&top).await? {
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
            match open.scan.next_below(&open.prefix).await? {
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
                    let done = stack.pop();
                    if let Some(Open { item, path, placed: Some(placed), .. }) = done
                        && let Err(error) = self.sink.close(&item, &placed).await
                    {
                        self.problem(&item.id, path, error)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Handles one item; a container is given back to be walked.
    async fn enter(&mut self, id: ItemId, stack: &mut [Open<'a>]) -> Result<Option<Open<'a>>> {
        self.entered += 1;
        let record = self.browser.record(&id).await?;
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
        let item = match self.browser.to_item(id.clone(), &record).await {
            Ok(item) => item,
            Err(error) => {
                self.problem(&id, path, error)?;
                return Ok(None);
            }
        };
        let placed = if wanted {
            match self.place_chain(stack, &item, &record, &path).await? {
                Some(placed) => Some(placed),
                None => return Ok(None),
            }
        } else {
            None
        };
        if !container {
            return Ok(None);
        }
        let prefix = name_key::below(Some(&id));
        let scan = self.browser.scan_names(&prefix).await?;
        Ok(Some(Open { item, record, path, selected, lost, placed, prefix, scan }))
    }

    /// Puts an item, and before it those containers above it that nothing has been put into yet.
    async fn place_chain(
        &mut self,
        stack: &mut [Open<'a>],
        item: &Item,
        record: &Record,
        path: &str,
    ) -> Result<Option<Placed>> {
        let mut parent: Option<Placed> = None;
        for open in stack.iter_mut() {
            if open.placed.is_none() {
                match self.place(&open.item, &open.record, &open.path, parent.as_ref()).await? {
                    Some(placed) => open.placed = Some(placed),
                    None => return Ok(None),
                }
            }
            parent = open.placed.clone();
        }
        self.place(item, record, path, parent.as_ref()).await
    }

    async fn place(
        &mut self,
        item: &Item,
        record: &Record,
        path: &str,
        parent: Option<&Placed>,
    ) -> Result<Option<Placed>> {
        let linked = match &record.hard_link {
            Some(target) => match self.browser.record(target).await {
                Ok(target) => Some(target),
                Err(error) => {
                    self.problem(&item.id, path.to_owned(), error)?;
                    return Ok(None);
                }
            },
            None => None,
        };
        let link = record.hard_link.as_ref().and_then(|target| self.links.get(target)).cloned();
        let mut item = item.clone();
        if let Some(target) = &linked {
            item.streams = target.to_item(item.id.clone(), crate::item::Attributes::new()).streams;
        }
        let contents =
            Stored { inner: Arc::clone(&self.browser.inner), record: linked.as_ref().unwrap_or(record) };
        let place = Place::new(parent, self.conflict, link.as_ref());
        match self.sink.put(&item, place, &contents).await {
            Ok(Placement { placed, action, problems }) => {
                for error in problems {
                    self.problem(&item.id, path.to_owned(), error)?;
                }
                let bytes =
                    if action == Action::Skipped || link.is_some() { 0 } else { contents.record.size() };
                match action {
                    Action::Created => self.report.created += 1,
                    Action::Replaced => self.report.replaced += 1,
                    Action::Skipped => self.report.skipped += 1,
                    Action::Renamed => self.report.renamed += 1,
                }
                self.report.bytes += bytes;
                if !record.kind.is_container() {
                    // The first of several links that is restored takes the part of the item that holds the content.
                    let holder = record.hard_link.clone().unwrap_or_else(|| item.id.clone());
                    self.note_link(holder, &placed, record);
                }
                self.advance(bytes)?;
                Ok(Some(placed))
            }
            Err(error) => {
                self.problem(&item.id, path.to_owned(), error)?;
                Ok(None)
            }
        }
    }

    /// Remembers where a file with several links was put. `links` is the number of names, where the source says it.
    fn note_link(&mut self, holder: ItemId, placed: &Placed, record: &Record) {
        let linked = record.hard_link.is_some()
            || record.attributes.get("links").and_then(crate::item::Value::as_int) > Some(1);
        if linked {
            self.links.entry(holder).or_insert_with(|| placed.clone());
        }
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

/// The streams of a record, for a sink.
struct Stored<'a> {
    inner: Arc<Inner>,
    record: &'a Record,
}

impl Contents for Stored<'_> {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        let found = stream_of(self.record, stream)?;
        let all = 0..found.len;
        content::read(Arc::clone(&self.inner), found, all)
    }
}
