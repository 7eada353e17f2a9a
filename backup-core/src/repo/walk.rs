//! The walk of a restore through a snapshot, parents first.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::browse::kind_of;
use super::restore::{Filter, RestoreReport};
use super::under_way::{Closed, Ended, File, Planned, Put, Stored, UnderWay};
use super::{Browser, content};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Record, name_key, streams_of};
use crate::item::{Item, ItemId, ItemKind, Value};
use crate::limits;
use crate::logging::LogLevel;
use crate::progress::Reporter;
use crate::sink::{Action, Conflict, Placed, Placement, Sink};
use crate::source::Problem;
use crate::time::Timestamp;
use crate::tree::scan::Scan;
use crate::tree::{Entry, Finder, TreeKind};

/// So many items are walked before what is under way is looked after.
const GLANCE_ITEMS: u64 = 32;

/// An item as the names tree has it.
struct Named {
    id: ItemId,
    key: Bytes,
    kind: Option<ItemKind>,
}

impl Named {
    fn of(entry: &Entry, prefix: &[u8]) -> Result<Self> {
        let id = name_key::item_id(&entry.key, prefix)?;
        Ok(Self { id, key: entry.key.clone(), kind: kind_of(&entry.value) })
    }

    /// What is known of it if its record is lost.
    fn to_record(&self, parent: Option<ItemId>) -> Result<Record> {
        let name = name_key::name(&self.key, &name_key::below(parent.as_ref()))?;
        let item = Item::new(self.id.clone(), parent, name, self.kind.unwrap_or(ItemKind::OTHER));
        Ok(Record::bare(item))
    }
}

/// Whether something is damaged or gone, rather than out of reach for the moment.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Missing)
}

/// A folder that is being walked.
struct Open<'a> {
    /// Its number in [`Walk::folders`].
    number: u64,
    file: File,
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

pub(super) struct Walk<'a, 'r> {
    browser: &'a Browser,
    records: Finder<'a>,
    sink: &'a dyn Sink,
    conflict: Conflict,
    filter: Filter,
    root: Option<ItemId>,
    pub(super) reporter: Reporter<'r>,
    last: Option<Timestamp>,
    /// Where items that hard links point to were placed.
    links: HashMap<ItemId, Placed>,
    /// How many of the items under way will be in `links`, by what they will be there.
    linking: HashMap<ItemId, usize>,
    under_way: UnderWay<'a>,
    /// Folders by number, until they are closed.
    folders: HashMap<u64, Folder>,
    /// Items that the walk came to.
    entered: u64,
    pub(super) report: RestoreReport,
}

impl<'a, 'r> Walk<'a, 'r> {
    pub(super) async fn new(
        browser: &'a Browser,
        sink: &'a dyn Sink,
        conflict: Conflict,
        filter: Filter,
        reporter: Reporter<'r>,
    ) -> Result<Self> {
        if filter.is_everything() {
            browser.inner.read_trees(&browser.snapshot).await;
        }
        Ok(Self {
            root: match browser.root().await {
                // It shows again on the way.
                Err(error) if is_damage(&error) => None,
                root => root?,
            },
            records: Finder::new(&*browser.inner, TreeKind::Items, browser.snapshot.items),
            under_way: UnderWay::new(Arc::clone(&browser.inner), sink, conflict),
            browser,
            sink,
            conflict,
            filter,
            reporter,
            last: None,
            links: HashMap::new(),
            linking: HashMap::new(),
            folders: HashMap::new(),
            entered: 0,
            report: RestoreReport::default(),
        })
    }

    /// Walks everything, and waits until all of it is in place.
    pub(super) async fn run(&mut self) -> Result<()> {
        let top = name_key::below(None);
        let browser = self.browser;
        let mut scan = self.under_way.alongside(browser.scan_names(&top)).await?;
        loop {
            match self.under_way.alongside(scan.next_below(&top)).await {
                Ok(Some(entry)) => {
                    let named = Named::of(entry, &top)?;
                    self.walk_from(named).await?;
                }
                Ok(None) => break,
                Err(error) => self.unlisted(None, String::new(), error)?,
            }
        }
        while !self.under_way.is_empty() {
            self.settle(true).await?;
        }
        self.note_pathless()
    }

    /// Walks one top item and all below it.
    async fn walk_from(&mut self, top: Named) -> Result<()> {
        let mut stack: Vec<Open<'a>> = Vec::new();
        if let Some(open) = self.enter(top, &mut stack).await? {
            stack.push(open);
        }
        while let Some(open) = stack.last_mut() {
            let next = match self.under_way.alongside(open.scan.next_below(&open.prefix)).await {
                Err(error) => {
                    let (id, path) = (open.file.item.id.clone(), open.file.path.clone());
                    self.unlisted(Some(id), path, error)?;
                    continue;
                }
                next => next?,
            };
            if let Some(entry) = next {
                let named = Named::of(entry, &open.prefix)?;
                if stack.len() > limits::PATH_DEPTH_MAX {
                    let id = named.id.to_string();
                    return Err(Error::corrupt("folders are nested without end").with_item(id));
                }
                if let Some(open) = self.enter(named, &mut stack).await? {
                    stack.push(open);
                }
            } else if let Some(Open { number, file, placed, .. }) = stack.pop() {
                if let Some(folder) = self.folders.get_mut(&number) {
                    folder.close = placed.map(|placed| (file.item, file.path, placed));
                }
                self.release(Some(number));
            }
        }
        Ok(())
    }

    /// One thing less that a folder waits for. The last one closes it, which the folder above waits for.
    fn release(&mut self, number: Option<u64>) {
        let mut next = number;
        while let Some(number) = next.take() {
            let Some(folder) = self.folders.get_mut(&number) else { break };
            folder.left = folder.left.saturating_sub(1);
            if folder.left > 0 {
                break;
            }
            let Some(Folder { parent, close, .. }) = self.folders.remove(&number) else { break };
            match close {
                Some((item, path, placed)) => self.under_way.close(item, path, placed, parent),
                None => next = parent,
            }
        }
    }

    /// Waits for something that is under way, and takes note of what became of it. With `all`, of everything that is planned.
    async fn settle(&mut self, all: bool) -> Result<()> {
        self.note_ended()?;
        match self.under_way.failed.pop_front() {
            Some(planned) => self.put_after_all(planned).await,
            None if self.under_way.is_empty() => Ok(()),
            None => {
                self.under_way.wait(all).await;
                self.note_ended()
            }
        }
    }

    /// Takes note of all that has ended.
    fn note_ended(&mut self) -> Result<()> {
        while let Some(ended) = self.under_way.take_ended() {
            match ended {
                Ended::Put(put) => {
                    let folder = put.folder;
                    self.take(put)?;
                    self.release(folder);
                }
                Ended::Closed(Closed { id, path, parent, outcome }) => {
                    if let Err(error) = outcome {
                        self.problem(&id, path, error)?;
                    }
                    self.release(parent);
                }
            }
        }
        Ok(())
    }

    /// Handles one item; a container is given back to be walked.
    async fn enter(&mut self, named: Named, stack: &mut [Open<'a>]) -> Result<Option<Open<'a>>> {
        self.entered += 1;
        if self.entered.is_multiple_of(GLANCE_ITEMS) {
            self.under_way.glance().await;
            self.note_ended()?;
        }
        let found = self.under_way.alongside(self.records.find(named.id.as_bytes())).await;
        let found = found.and_then(|found| match found {
            Some(found) => Record::decode(found.value),
            None => Err(Error::corrupt("a name leads to no item").with_item(named.id.to_string())),
        });
        let above = stack.last();
        let (record, damage) = match found {
            Err(error) if is_damage(&error) => {
                // Its name and kind are known, and what lies below it may be whole.
                let parent = above.map(|open| open.file.item.id.clone());
                (named.to_record(parent)?, Some(error))
            }
            found => (found?, None),
        };
        let id = named.id;
        let is_root = self.root.as_ref() == Some(&id);
        let path = match above {
            _ if is_root => String::new(),
            Some(above) if !above.file.path.is_empty() => {
                [&above.file.path, "/", &record.name.to_string()].concat()
            }
            _ => record.name.to_string(),
        };
        if !is_root && self.filter.excludes(&path) {
            return Ok(None);
        }
        let selected = above.is_some_and(|above| above.selected)
            || if is_root { self.filter.selects_all() } else { self.filter.selects(&path) };
        let lost_above = above.is_some_and(|above| above.lost);
        let undo = self.filter.undo.as_ref();
        let lost = lost_above || undo.is_none_or(|undo| undo.wants_all_below(&id));
        let wanted = selected && (lost || undo.is_some_and(|undo| undo.wants(&id)));
        let container = record.kind.is_container();
        if !wanted && !container {
            return Ok(None);
        }
        if let Some(error) = damage {
            self.problem(&id, path.clone(), error)?;
            if !container {
                return Ok(None);
            }
        }
        let folder = above.map(|open| open.number);
        let Some(file) = self.prepare(id, record, path, folder).await? else { return Ok(None) };
        if !container {
            self.place_file(stack, file).await?;
            return Ok(None);
        }
        self.open(stack, file, wanted, selected, lost).await
    }

    /// The item of a record, with what its details and its hard link say. None if they cannot be had, which is noted.
    async fn prepare(
        &mut self,
        id: ItemId,
        mut record: Record,
        path: String,
        folder: Option<u64>,
    ) -> Result<Option<File>> {
        let browser = self.browser;
        let details = match record.details.take() {
            None => Ok(crate::item::Attributes::new()),
            Some(found) => self.under_way.alongside(content::details(&browser.inner, Some(&found))).await,
        };
        let details = match details {
            Ok(details) => details,
            // What lies below it need not be lost with them.
            Err(error) if record.kind.is_container() && is_damage(&error) => {
                self.problem(&id, path.clone(), error)?;
                crate::item::Attributes::new()
            }
            Err(error) => {
                self.problem(&id, path, error)?;
                return Ok(None);
            }
        };
        let (mut item, mut streams) = record.into_item(id, details);
        if let Some(holder) = &item.hard_link {
            match self.under_way.alongside(browser.record(holder)).await {
                Ok(target) => streams = target.streams,
                Err(error) => {
                    self.problem(&item.id, path, error)?;
                    return Ok(None);
                }
            }
            item.streams = streams_of(&streams);
        }
        // The first of several links that is restored takes the part of the item that holds the content.
        let holder = match &item.hard_link {
            Some(holder) => Some(holder.clone()),
            None => may_have_links(&item).then(|| item.id.clone()),
        };
        let contents = Stored { inner: Arc::clone(&browser.inner), streams };
        Ok(Some(File { item, contents, path, folder, parent: None, link: None, holder }))
    }

    /// Opens a container to be walked; puts it first, if it is wanted for itself.
    async fn open(
        &mut self,
        stack: &mut [Open<'a>],
        mut file: File,
        wanted: bool,
        selected: bool,
        lost: bool,
    ) -> Result<Option<Open<'a>>> {
        let mut placed = None;
        if wanted {
            let Some(parent) = self.place_above(stack).await? else { return Ok(None) };
            placed = self.place_container(&mut file, parent).await?;
            if placed.is_none() {
                return Ok(None);
            }
        }
        let number = self.entered;
        self.folders.insert(number, Folder { parent: file.folder, left: 1, close: None });
        self.hold(file.folder);
        let prefix = name_key::below(Some(&file.item.id));
        let browser = self.browser;
        let scan = self.under_way.alongside(browser.scan_names(&prefix)).await?;
        Ok(Some(Open { number, file, selected, lost, placed, prefix, scan }))
    }

    /// A folder waits for one thing more.
    fn hold(&mut self, folder: Option<u64>) {
        if let Some(folder) = folder.and_then(|folder| self.folders.get_mut(&folder)) {
            folder.left += 1;
        }
    }

    /// Begins to put an item that is no container, or plans to.
    async fn place_file(&mut self, stack: &mut [Open<'a>], mut file: File) -> Result<()> {
        let Some(parent) = self.place_above(stack).await? else { return Ok(()) };
        file.parent = parent;
        if let Some(holder) = &file.item.hard_link {
            while !self.links.contains_key(holder) && self.linking.contains_key(holder) {
                self.settle(true).await?;
            }
            file.link = self.links.get(holder).cloned();
        }
        self.note_holder(&file);
        self.hold(file.folder);
        if let Some(file) = self.under_way.plan(file) {
            self.put_alone(file).await?;
        }
        while self.under_way.is_planned_out() {
            self.settle(false).await?;
        }
        Ok(())
    }

    /// Begins to put an item whose content could not be had as planned. It is looked up again.
    async fn put_after_all(&mut self, planned: Planned) -> Result<()> {
        let Planned { id, path, folder, parent, holder, .. } = planned;
        let browser = self.browser;
        let file = match self.under_way.alongside(browser.record(&id)).await {
            Ok(record) => self.prepare(id, record, path, folder).await?,
            Err(error) => {
                self.problem(&id, path, error)?;
                None
            }
        };
        match file {
            Some(file) => self.put_alone(File { parent, ..file }).await,
            None => {
                self.forget_holder(holder.as_ref());
                self.release(folder);
                Ok(())
            }
        }
    }

    /// Begins to put an item, as soon as fewer than the sink wants are under way.
    async fn put_alone(&mut self, file: File) -> Result<()> {
        self.under_way.room_for(&file).await;
        self.under_way.put(file);
        self.note_ended()
    }

    /// Puts those containers that nothing has been put into yet. `None` if one of them cannot be put, else where the
    /// innermost one is.
    async fn place_above(&mut self, stack: &mut [Open<'a>]) -> Result<Option<Option<Placed>>> {
        // What lies above something placed is placed.
        let first = stack.iter().rposition(|open| open.placed.is_some()).map_or(0, |at| at + 1);
        let mut parent = first.checked_sub(1).and_then(|at| stack.get(at)?.placed.clone());
        for open in stack.iter_mut().skip(first) {
            open.placed = self.place_container(&mut open.file, parent).await?;
            if open.placed.is_none() {
                return Ok(None);
            }
            parent = open.placed.clone();
        }
        Ok(Some(parent))
    }

    /// Puts a container; where it is, if it could be put.
    async fn place_container(&mut self, file: &mut File, parent: Option<Placed>) -> Result<Option<Placed>> {
        file.parent = parent;
        file.link = file.item.hard_link.as_ref().and_then(|holder| self.links.get(holder)).cloned();
        self.note_holder(file);
        let put = self.sink.put(&file.item, file.place(self.conflict), &file.contents);
        let outcome = self.under_way.alongside(put).await;
        let (id, path, holder) = (file.item.id.clone(), file.path.clone(), file.holder.clone());
        let bytes = outcome.as_ref().map_or(0, |placement| file.bytes(placement));
        self.take(Put { id, path, folder: None, bytes, memory: 0, holder, outcome })
    }

    /// Takes note that others may soon be linked to an item.
    fn note_holder(&mut self, file: &File) {
        if let Some(holder) = &file.holder {
            *self.linking.entry(holder.clone()).or_default() += 1;
        }
    }

    /// Takes note that one of these has ended.
    fn forget_holder(&mut self, holder: Option<&ItemId>) {
        if let Some(holder) = holder
            && let Some(left) = self.linking.get_mut(holder)
        {
            *left -= 1;
            if *left == 0 {
                self.linking.remove(holder);
            }
        }
    }

    /// Takes note of what became of an item; where it is.
    fn take(&mut self, put: Put) -> Result<Option<Placed>> {
        let Put { id, path, bytes, holder, outcome, .. } = put;
        self.forget_holder(holder.as_ref());
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
        self.note_problem(&path, &error);
        self.report.problems.push(Problem::new(Some(id.clone()), path, error));
        self.reporter.totals.problems += 1;
        self.reporter.check()
    }

    fn note_problem(&self, path: &str, error: &Error) {
        self.browser.inner.env.log(LogLevel::Warning, || format!("{path}: {error}"));
    }

    /// Takes note that a part of what a folder holds is not known. Anything but damage ends the restore.
    fn unlisted(&mut self, id: Option<ItemId>, path: String, error: Error) -> Result<()> {
        if !is_damage(&error) {
            return Err(error);
        }
        let what = "a part of what the folder holds is not known, because its tree is damaged";
        let error = Error::new(error.kind(), what).with_source(error);
        self.note_problem(&path, &error);
        self.report.problems.push(Problem::new(id, path, error));
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

    pub(super) fn note_fetched(&mut self, before: u64) {
        let now = self.browser.inner.bytes_read.load(std::sync::atomic::Ordering::Relaxed);
        self.report.bytes_fetched = now.saturating_sub(before);
        self.reporter.totals.bytes_stored = self.report.bytes_fetched;
    }
}

/// Whether the source said that the file has more names than this one.
fn may_have_links(item: &Item) -> bool {
    !item.kind.is_container() && item.attributes.get("links").and_then(Value::as_int) > Some(1)
}
