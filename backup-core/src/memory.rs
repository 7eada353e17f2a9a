//! A source and a sink in memory: for tests of the engine and of the programs that embed it.
//!
//! [`MemorySource`] is a scripted resource with versions, a delta cursor and faults on demand. [`MemorySink`] keeps
//! what is put into it and shows it by path. Both are shared by cloning, so a test keeps one handle and lends the other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::item::{Collection, Cursor, Item, ItemId, ItemKind, Name, Stream};
use crate::sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};
use crate::source::{Change, Content, Problem, Source};

/// Length of the pieces that a memory source delivers unless told otherwise, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A resource that a test makes up as it goes.
///
/// Every alteration gets the next revision number. A full enumeration and a delta are both emitted in the order of
/// revisions, so an item that was touched last comes last, even after its own children. The cursor is the revision.
///
/// ```
/// use backup_core::{ItemKind, MemorySource};
///
/// let source = MemorySource::new("folder:example");
/// source.put_folder("top", None, "documents");
/// source.put_file("a", Some("top"), "a.txt", "first version");
/// source.put_file("a", Some("top"), "a.txt", "second version");
/// source.remove("a");
/// assert_eq!(source.len(), 1);
/// ```
#[derive(Clone)]
pub struct MemorySource(Arc<Mutex<State>>);

struct State {
    collection: Collection,
    delta: bool,
    concurrency: usize,
    piece_bytes: usize,
    /// Items with at most so many bytes come with them.
    along_bytes: Option<usize>,
    revision: u64,
    /// Cursors older than this are answered by a reset.
    expired_before: u64,
    items: BTreeMap<ItemId, Held>,
    removed: BTreeMap<ItemId, u64>,
    faults: Vec<Fault>,
    end_after: Option<(usize, ErrorKind)>,
    opened: Vec<(ItemId, String)>,
}

struct Held {
    item: Item,
    revision: u64,
    streams: BTreeMap<String, Bytes>,
    unreadable: Option<ErrorKind>,
}

struct Fault {
    id: ItemId,
    stream: String,
    what: ReadFault,
    times: usize,
}

/// What goes wrong when a stream of a [`MemorySource`] is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFault {
    /// Opening fails.
    Open(ErrorKind),
    /// The stream fails after so many bytes.
    After(usize, ErrorKind),
    /// All bytes are delivered, then the stream fails: `ChangedWhileReading` and `SourceMismatch` look like this.
    End(ErrorKind),
    /// The stream ends well, but after so many bytes only.
    Short(usize),
}

impl MemorySource {
    /// An empty resource with a delta cursor; `id` names its collection.
    pub fn new(id: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(State {
            collection: Collection::new(id, "memory"),
            delta: true,
            concurrency: 4,
            piece_bytes: PIECE_BYTES,
            along_bytes: None,
            revision: 0,
            expired_before: 0,
            items: BTreeMap::new(),
            removed: BTreeMap::new(),
            faults: Vec::new(),
            end_after: None,
            opened: Vec::new(),
        })))
    }

    /// From now on without delta: no cursor is given out, and one that comes in is answered by a reset.
    #[must_use]
    pub fn without_delta(self) -> Self {
        self.lock().delta = false;
        self
    }

    /// From now on streams come in pieces of `bytes` (at least 1).
    #[must_use]
    pub fn with_piece_bytes(self, bytes: usize) -> Self {
        self.lock().piece_bytes = bytes.max(1);
        self
    }

    /// From now on so many items may be read at once.
    #[must_use]
    pub fn with_concurrency(self, items: usize) -> Self {
        self.lock().concurrency = items.max(1);
        self
    }

    /// From now on streams of items that have at most `bytes` in all come along with the item, as [`Change::UpsertWith`].
    #[must_use]
    pub fn with_contents_up_to(self, bytes: usize) -> Self {
        self.lock().along_bytes = Some(bytes);
        self
    }

    /// Sets an item and the bytes of its streams; the item's own stream list is replaced by what is given. An item
    /// with streams but without a tag gets a tag of its own for this version.
    pub fn put<N, B>(&self, mut item: Item, streams: impl IntoIterator<Item = (N, B)>)
    where
        N: Into<String>,
        B: Into<Bytes>,
    {
        let mut held = BTreeMap::new();
        item.streams.clear();
        for (name, bytes) in streams {
            let (name, bytes): (String, Bytes) = (name.into(), bytes.into());
            item.streams.push(Stream::new(name.clone(), u64::try_from(bytes.len()).ok()));
            held.insert(name, bytes);
        }
        let mut state = self.lock();
        let revision = state.next();
        if item.tag.is_empty() && !item.streams.is_empty() {
            item.tag = format!("v{revision}").into();
        }
        state.removed.remove(&item.id);
        state.items.insert(item.id.clone(), Held { item, revision, streams: held, unreadable: None });
    }

    /// Sets a folder.
    pub fn put_folder(&self, id: &str, parent: Option<&str>, name: impl Into<Name>) {
        let item = Item::new(id, parent.map(ItemId::from), name, ItemKind::FOLDER);
        self.put(item, std::iter::empty::<(String, Bytes)>());
    }

    /// Sets a file with one stream `content`.
    pub fn put_file(&self, id: &str, parent: Option<&str>, name: impl Into<Name>, content: impl Into<Bytes>) {
        let item = Item::new(id, parent.map(ItemId::from), name, ItemKind::FILE);
        self.put(item, [(Stream::CONTENT, content.into())]);
    }

    /// Changes an item's metadata through `edit`; its streams, and its tag unless edited, stay as they are. Returns
    /// whether there is such an item.
    pub fn edit(&self, id: &str, edit: impl FnOnce(&mut Item)) -> bool {
        let mut state = self.lock();
        let revision = state.next();
        let Some(held) = state.items.get_mut(&ItemId::from(id)) else { return false };
        edit(&mut held.item);
        held.revision = revision;
        true
    }

    /// Removes an item and everything below it; a delta names only the item itself. Returns whether it was there.
    pub fn remove(&self, id: &str) -> bool {
        let id = ItemId::from(id);
        let mut state = self.lock();
        if !state.items.contains_key(&id) {
            return false;
        }
        let revision = state.next();
        let mut doomed = vec![id.clone()];
        while let Some(next) = doomed.pop() {
            state.items.remove(&next);
            doomed.extend(state.children(&next));
        }
        state.removed.insert(id, revision);
        true
    }

    /// The item is there but cannot be looked at: enumerations report it as unreadable. `None` makes it readable.
    pub fn set_unreadable(&self, id: &str, kind: Option<ErrorKind>) {
        let mut state = self.lock();
        let revision = state.next();
        if let Some(held) = state.items.get_mut(&ItemId::from(id)) {
            held.unreadable = kind;
            held.revision = revision;
        }
    }

    /// The next `times` reads of this stream go wrong.
    pub fn inject(&self, id: &str, stream: &str, what: ReadFault, times: usize) {
        let fault = Fault { id: id.into(), stream: stream.to_owned(), what, times };
        self.lock().faults.push(fault);
    }

    /// Enumerations fail after so many changes; `None` lets them complete.
    pub fn end_enumeration(&self, after: Option<(usize, ErrorKind)>) {
        self.lock().end_after = after;
    }

    /// Forgets every cursor given out so far: the next run that brings one is answered by a reset.
    pub fn expire_cursors(&self) {
        let mut state = self.lock();
        state.expired_before = state.next();
    }

    /// The streams opened since the last call, in order: shows what an incremental run has read.
    pub fn take_opened(&self) -> Vec<(ItemId, String)> {
        std::mem::take(&mut self.lock().opened)
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn children(&self, parent: &ItemId) -> Vec<ItemId> {
        let below = self.items.values().filter(|held| held.item.parent.as_ref() == Some(parent));
        below.map(|held| held.item.id.clone()).collect()
    }

    /// The first revision that a holder of `cursor` has not seen; none if it must start over.
    fn resume(&self, cursor: &Cursor) -> Option<u64> {
        let seen: u64 = std::str::from_utf8(cursor.as_bytes()).ok()?.parse().ok()?;
        (self.delta && seen >= self.expired_before && seen <= self.revision).then_some(seen)
    }

    fn changes(&self, since: Option<&Cursor>) -> Vec<Result<Change>> {
        let resumed = since.and_then(|cursor| self.resume(cursor));
        let seen = resumed.unwrap_or(0);
        let mut numbered: Vec<(u64, Change)> = Vec::new();
        for held in self.items.values().filter(|held| held.revision > seen) {
            let change = match held.unreadable {
                None => self.upsert(held),
                Some(kind) => {
                    let (id, name) = (held.item.id.clone(), held.item.name.to_string());
                    Change::Unreadable(Problem::new(Some(id), name, Error::new(kind, "injected fault")))
                }
            };
            numbered.push((held.revision, change));
        }
        if resumed.is_some() {
            let gone = self.removed.iter().filter(|(_, revision)| **revision > seen);
            numbered.extend(gone.map(|(id, revision)| (*revision, Change::Remove(id.clone()))));
        }
        numbered.sort_by_key(|(revision, _)| *revision);
        let mut changes = Vec::with_capacity(numbered.len() + 2);
        if since.is_some() && resumed.is_none() {
            changes.push(Ok(Change::Reset));
        }
        changes.extend(numbered.into_iter().map(|(_, change)| Ok(change)));
        if self.delta {
            changes.push(Ok(Change::Cursor(self.revision.to_string().into())));
        }
        if let Some((after, kind)) = self.end_after {
            changes.truncate(after);
            changes.push(Err(Error::new(kind, "injected fault")));
        }
        changes
    }

    fn upsert(&self, held: &Held) -> Change {
        let bytes: usize = held.streams.values().map(Bytes::len).sum();
        if held.streams.is_empty() || self.along_bytes.is_none_or(|most| bytes > most) {
            return Change::Upsert(held.item.clone());
        }
        let contents = held.streams.iter().map(|(name, bytes)| (name.clone(), bytes.clone()));
        Change::UpsertWith(held.item.clone(), contents.collect())
    }

    fn open(&mut self, id: &ItemId, stream: &str) -> Result<Content<'static>> {
        let absent = || Error::new(ErrorKind::NotFound, "no such stream").with_item(id.to_string());
        self.opened.push((id.clone(), stream.to_owned()));
        let bytes =
            self.items.get(id).and_then(|held| held.streams.get(stream)).cloned().ok_or_else(absent)?;
        let due = |fault: &&mut Fault| fault.times > 0 && fault.id == *id && fault.stream == stream;
        let fault = self.faults.iter_mut().find(due).map(|fault| {
            fault.times -= 1;
            fault.what
        });
        let failure = |kind| Error::new(kind, "injected fault").with_item(id.to_string());
        let (until, end) = match fault {
            None => (bytes.len(), None),
            Some(ReadFault::Open(kind)) => return Err(failure(kind)),
            Some(ReadFault::After(until, kind)) => (until, Some(failure(kind))),
            Some(ReadFault::End(kind)) => (bytes.len(), Some(failure(kind))),
            Some(ReadFault::Short(until)) => (until, None),
        };
        let size = u64::try_from(bytes.len()).ok();
        let mut rest = bytes.slice(..until.min(bytes.len()));
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(Ok(rest.split_to(self.piece_bytes.min(rest.len()))));
        }
        pieces.extend(end.map(Err));
        Ok(Content::new(size, Box::pin(futures_util::stream::iter(pieces))))
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "MemorySource({}, {} items)", state.collection.id, state.items.len())
    }
}

#[async_trait]
impl Source for MemorySource {
    fn collection(&self) -> Collection {
        self.lock().collection.clone()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        let changes = self.lock().changes(since);
        Box::pin(futures_util::stream::iter(changes))
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        self.lock().open(&item.id, stream)
    }

    fn concurrency(&self) -> usize {
        self.lock().concurrency
    }
}

/// A place that takes everything and shows it by path.
///
/// Names are taken as they are, whatever they contain; in the paths that it shows they are joined by `/` and escaped
/// as [`Name`] escapes them.
#[derive(Clone, Default)]
pub struct MemorySink(Arc<Mutex<Nodes>>);

#[derive(Default)]
struct Nodes {
    nodes: Vec<Node>,
    names: BTreeMap<(Option<usize>, Name), usize>,
    faults: Vec<(Name, ErrorKind, usize)>,
    finished: bool,
}

struct Node {
    parent: Option<usize>,
    name: Name,
    restored: Restored,
}

/// One item as a [`MemorySink`] holds it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Restored {
    /// The item as it was put (its name may differ from the one in the path where both were kept).
    pub item: Item,
    /// The bytes of its streams.
    pub streams: BTreeMap<String, Bytes>,
    /// Path of the item that it was put as a further hard link of.
    pub link: Option<String>,
    /// How often it was closed: once for a container, never for anything else.
    pub closed: u32,
}

impl MemorySink {
    /// An empty place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is there, by path.
    #[must_use]
    pub fn tree(&self) -> BTreeMap<String, Restored> {
        let all = self.lock();
        (0..all.nodes.len())
            .filter_map(|index| all.nodes.get(index).map(|node| (all.path(index), node.restored.clone())))
            .collect()
    }

    /// The bytes of the stream `content` at this path.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<Bytes> {
        self.tree().remove(path)?.streams.remove(Stream::CONTENT)
    }

    /// The next `times` attempts to put an item of this name fail.
    pub fn inject(&self, name: impl Into<Name>, kind: ErrorKind, times: usize) {
        self.lock().faults.push((name.into(), kind, times));
    }

    /// Whether the restore was finished.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    fn find(&self, placed: &Placed) -> Result<usize> {
        let index = std::str::from_utf8(placed.as_bytes()).ok().and_then(|text| text.parse().ok());
        let index = index.filter(|index| *index < self.nodes.len());
        index.ok_or_else(|| Error::invalid("handle was not given out by this sink"))
    }

    fn path(&self, index: usize) -> String {
        let mut names = Vec::new();
        let mut next = Some(index);
        while let Some(node) = next.and_then(|index| self.nodes.get(index)) {
            names.push(node.name.to_string());
            next = node.parent;
        }
        names.reverse();
        names.join("/")
    }

    fn is_empty(&self, index: usize) -> bool {
        !self.nodes.iter().any(|node| node.parent == Some(index))
    }

    fn injected(&mut self, name: &Name) -> Option<Error> {
        let fault = self.faults.iter_mut().find(|(faulty, _, times)| *times > 0 && faulty == name)?;
        fault.2 -= 1;
        Some(Error::new(fault.1, "injected fault").with_item(name.to_string()))
    }

    fn insert(&mut self, parent: Option<usize>, name: Name, restored: Restored) -> usize {
        let index = self.nodes.len();
        self.names.insert((parent, name.clone()), index);
        self.nodes.push(Node { parent, name, restored });
        index
    }

    fn put(&mut self, place: Place<'_>, restored: Restored) -> Result<Placement> {
        let name = restored.item.name.clone();
        let parent = place.parent.map(|placed| self.find(placed)).transpose()?;
        let is_container =
            |index: usize| self.nodes.get(index).is_some_and(|node| node.restored.item.kind.is_container());
        if parent.is_some_and(|parent| !is_container(parent)) {
            return Err(Error::invalid("parent is not a container").with_item(name.to_string()));
        }
        let Some(&there) = self.names.get(&(parent, name.clone())) else {
            let index = self.insert(parent, name, restored);
            return Ok(Placement::new(index.to_string(), Action::Created));
        };
        let both_contain = is_container(there) && restored.item.kind.is_container();
        let either_contains = is_container(there) || restored.item.kind.is_container();
        let action = match place.conflict {
            Conflict::Replace if either_contains && !both_contain && !self.is_empty(there) => {
                let refusal = "folder that is not empty is in the place of the item";
                return Err(Error::new(ErrorKind::AlreadyExists, refusal).with_item(name.to_string()));
            }
            Conflict::Replace => {
                if let Some(node) = self.nodes.get_mut(there) {
                    node.restored = restored;
                }
                Action::Replaced
            }
            Conflict::KeepBoth if !both_contain => {
                let free = (1..)
                    .map(|attempt| Name::new(restored_name(name.as_bytes(), attempt)))
                    .find(|name| !self.names.contains_key(&(parent, name.clone())));
                let free = free.ok_or_else(|| Error::bug("no free name"))?;
                let index = self.insert(parent, free, restored);
                return Ok(Placement::new(index.to_string(), Action::Renamed));
            }
            Conflict::Skip if restored.item.kind.is_container() && !both_contain => {
                let refusal = "something else is in the place of the folder";
                return Err(Error::new(ErrorKind::AlreadyExists, refusal).with_item(name.to_string()));
            }
            Conflict::Skip | Conflict::KeepBoth => Action::Skipped,
        };
        Ok(Placement::new(there.to_string(), action))
    }
}

/// The name under which a restored item is put beside what is there: `report (restored).docx`, then
/// `report (restored 2).docx`. A leading dot belongs to the stem, so `.profile` becomes `.profile (restored)`.
pub(crate) fn restored_name(name: &[u8], attempt: u32) -> Vec<u8> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mark = if attempt <= 1 { " (restored)".to_owned() } else { format!(" (restored {attempt})") };
    [stem, mark.as_bytes(), extension].concat()
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySink({} items)", self.lock().nodes.len())
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        let link = {
            let mut all = self.lock();
            if let Some(error) = all.injected(&item.name) {
                return Err(error);
            }
            let link = place.link.map(|placed| all.find(placed)).transpose()?;
            link.and_then(|index| Some((all.path(index), all.nodes.get(index)?.restored.streams.clone())))
        };
        let (link, mut streams) =
            link.map_or_else(|| (None, BTreeMap::new()), |(path, held)| (Some(path), held));
        for stream in &item.streams {
            let mut content = contents.open(&stream.name)?;
            let mut bytes = Vec::new();
            while let Some(piece) = content.bytes.next().await {
                bytes.extend_from_slice(&piece?);
            }
            streams.insert(stream.name.clone(), bytes.into());
        }
        self.lock().put(place, Restored { item: item.clone(), streams, link, closed: 0 })
    }

    async fn close(&self, _item: &Item, placed: &Placed) -> Result<()> {
        let mut all = self.lock();
        let index = all.find(placed)?;
        if let Some(node) = all.nodes.get_mut(index) {
            node.restored.closed += 1;
        }
        Ok(())
    }

    async fn finish(&self) -> Result<()> {
        self.lock().finished = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;

    fn drain(source: &MemorySource, since: Option<&Cursor>) -> (Vec<String>, Option<Cursor>) {
        let (mut seen, mut cursor) = (Vec::new(), None);
        for change in block_on(source.changes(since).collect::<Vec<_>>()) {
            match change {
                Ok(Change::Upsert(item) | Change::UpsertWith(item, _)) => seen.push(format!("+{}", item.id)),
                Ok(Change::Remove(id)) => seen.push(format!("-{id}")),
                Ok(Change::Reset) => seen.push("reset".to_owned()),
                Ok(Change::Unreadable(problem)) => seen.push(format!("?{}", problem.place)),
                Ok(Change::Cursor(next)) => cursor = Some(next),
                Err(error) => seen.push(format!("!{}", error.kind().code())),
            }
        }
        (seen, cursor)
    }

    #[test]
    fn a_delta_names_what_changed_and_a_forgotten_cursor_resets() {
        let source = MemorySource::new("m");
        source.put_folder("top", None, "top");
        source.put_file("a", Some("top"), "a", "1");
        let (seen, cursor) = drain(&source, None);
        assert_eq!(seen, ["+top", "+a"]);
        assert!(drain(&source, cursor.as_ref()).0.is_empty());
        source.put_file("b", Some("top"), "b", "2");
        source.remove("a");
        assert_eq!(drain(&source, cursor.as_ref()).0, ["+b", "-a"]);
        source.set_unreadable("b", Some(ErrorKind::PermissionDenied));
        assert_eq!(drain(&source, cursor.as_ref()).0, ["-a", "?b"]);
        source.expire_cursors();
        assert_eq!(drain(&source, cursor.as_ref()).0, ["reset", "+top", "?b"]);
        assert_eq!(drain(&source, Some(&"nonsense".into())).0, ["reset", "+top", "?b"]);
        source.end_enumeration(Some((1, ErrorKind::Unavailable)));
        assert_eq!(drain(&source, None).0, ["+top", "!14"]);
    }

    #[test]
    fn reads_go_wrong_as_often_as_asked() {
        let source = MemorySource::new("m").with_piece_bytes(2);
        source.put_file("a", None, "a", "12345");
        source.inject("a", "content", ReadFault::Open(ErrorKind::Throttled), 1);
        source.inject("a", "content", ReadFault::End(ErrorKind::ChangedWhileReading), 1);
        source.inject("a", "content", ReadFault::Short(3), 1);
        let item = Item::new("a", None, "a", ItemKind::FILE);
        let read = || block_on(async { source.open(&item, "content").await?.collect().await });
        assert_eq!(read().unwrap_err().kind(), ErrorKind::Throttled);
        assert_eq!(read().unwrap_err().kind(), ErrorKind::ChangedWhileReading);
        assert_eq!(read().unwrap(), b"123");
        assert_eq!(read().unwrap(), b"12345");
        assert_eq!(source.take_opened().len(), 4);
    }

    #[test]
    fn restored_names_keep_their_extension() {
        assert_eq!(restored_name(b"report.docx", 1), b"report (restored).docx");
        assert_eq!(restored_name(b"report.docx", 2), b"report (restored 2).docx");
        assert_eq!(restored_name(b".profile", 1), b".profile (restored)");
        assert_eq!(restored_name(b"plain", 3), b"plain (restored 3)");
    }
}
