//! The promises of [`Source`].

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt;

use super::{Failure, check, fail_with, succeed};
use crate::error::ErrorKind;
use crate::item::{Cursor, Item, ItemId};
use crate::limits;
use crate::source::{Change, Source};

const COLLECTION: &str = "the collection has the same well-formed id every time";
const ENUMERATES: &str = "a resource that can be reached is enumerated to the end";
const VALID: &str = "every item is within the bounds of Item::validate";
const PARENTS: &str = "every item's parent is in the enumeration, and no folder contains itself";
const LINKS: &str = "a hard link names an item that has streams";
const REPEATS: &str = "two full enumerations of the same state are the same";
const RESET_FIRST: &str = "Reset comes first, or not at all";
const UNKNOWN_CURSOR: &str = "a cursor that the source does not know leads to Reset and a full enumeration";
const FRESH_CURSOR: &str = "a delta from the last cursor, with nothing changed, changes nothing";
const OPENS: &str = "every announced stream opens and reads to its end";
const SIZES: &str = "a stream is as long as announced";
const SAME_BYTES: &str = "an item whose tag is the same reads the same bytes again";
const BLOCKING: &str = "a stream that can be read by calls that block reads the same bytes that way";
const GIVEN: &str = "bytes that come with an item are those that its stream opens with";
const NO_STREAM: &str = "a stream that the item does not have is NotFound";
const CONCURRENCY: &str = "at least one item may be read at once";

/// How many items are read again, to bound the time on large resources.
const REREAD_MAX: usize = 100;

/// What an enumeration amounts to.
#[derive(Default)]
struct State {
    items: BTreeMap<ItemId, Item>,
    /// Bytes that came with items.
    given: BTreeMap<(ItemId, String), Bytes>,
    unreadable: Vec<Option<ItemId>>,
    cursor: Option<Cursor>,
    reset: bool,
    /// Items that were mentioned in another state than before, or removed.
    altered: Vec<ItemId>,
}

/// Runs the suite on a resource that does not change meanwhile. It is enumerated four times and read once.
///
/// # Errors
/// The first promise that is broken.
pub async fn conformance(source: &dyn Source) -> Result<(), Failure> {
    collection(source)?;
    let first = enumerate(source, None, State::default(), ENUMERATES).await?;
    shape(&first)?;
    let again = enumerate(source, None, State::default(), ENUMERATES).await?;
    same(REPEATS, &first, &again)?;
    streams(source, &again).await?;
    if let Some(cursor) = again.cursor.clone() {
        let known = State { items: again.items.clone(), ..State::default() };
        let delta = enumerate(source, Some(&cursor), known, FRESH_CURSOR).await?;
        check(FRESH_CURSOR, !delta.reset, || "a reset".to_owned())?;
        check(FRESH_CURSOR, delta.altered.is_empty(), || format!("changes of {:?}", delta.altered))?;
    }
    // What was there before must not survive only because nobody said that it is gone.
    let stale = Item::new("conformance: gone", None, "gone", crate::item::ItemKind::FILE);
    for cursor in ["", "conformance: no such cursor"] {
        let mut known = State { items: again.items.clone(), ..State::default() };
        known.items.insert(stale.id.clone(), stale.clone());
        let answer = enumerate(source, Some(&cursor.into()), known, UNKNOWN_CURSOR).await?;
        check(UNKNOWN_CURSOR, answer.reset, || format!("no reset for the cursor {cursor:?}"))?;
        same(UNKNOWN_CURSOR, &again, &answer)?;
    }
    collection(source)
}

fn collection(source: &dyn Source) -> Result<(), Failure> {
    let (one, two) = (source.collection(), source.collection());
    check(COLLECTION, one == two, || format!("{one:?}, then {two:?}"))?;
    let bounded = (1..=limits::COLLECTION_ID_BYTES_MAX).contains(&one.id.len())
        && (1..=limits::COLLECTION_KIND_BYTES_MAX).contains(&one.kind.len());
    check(COLLECTION, bounded, || {
        format!("an id of {} and a kind of {} bytes", one.id.len(), one.kind.len())
    })?;
    let readers = source.concurrency();
    check(CONCURRENCY, readers > 0, || format!("{readers}"))
}

async fn enumerate(
    source: &dyn Source,
    since: Option<&Cursor>,
    mut state: State,
    promise: &'static str,
) -> Result<State, Failure> {
    let mut changes = source.changes(since);
    let mut first = true;
    while let Some(change) = changes.next().await {
        match succeed(promise, change)? {
            Change::Reset => {
                check(RESET_FIRST, first, || "a reset among other changes".to_owned())?;
                state.reset = true;
                state.items.clear();
            }
            Change::Upsert(item) => upsert(&mut state, item, Vec::new())?,
            Change::UpsertWith(item, given) => upsert(&mut state, item, given)?,
            Change::Remove(id) => {
                if state.items.remove(&id).is_some() {
                    state.altered.push(id);
                }
            }
            Change::Unreadable(problem) => state.unreadable.push(problem.id),
            Change::Cursor(cursor) => {
                let fits = !cursor.is_empty() && cursor.as_bytes().len() <= Cursor::LEN_MAX;
                check(VALID, fits, || format!("a cursor of {} bytes", cursor.as_bytes().len()))?;
                state.cursor = Some(cursor);
            }
        }
        first = false;
    }
    Ok(state)
}

fn upsert(state: &mut State, item: Item, given: Vec<(String, Bytes)>) -> Result<(), Failure> {
    succeed(VALID, item.validate())?;
    for (stream, bytes) in given {
        check(GIVEN, item.stream(&stream).is_some(), || format!("{} has no stream {stream:?}", item.id))?;
        state.given.insert((item.id.clone(), stream), bytes);
    }
    let before = state.items.insert(item.id.clone(), item.clone());
    if before.as_ref() != Some(&item) {
        state.altered.push(item.id);
    }
    Ok(())
}

fn shape(state: &State) -> Result<(), Failure> {
    for item in state.items.values() {
        let mut above = item.parent.as_ref();
        let mut steps = 0;
        while let Some(parent) = above {
            let found = state.items.get(parent);
            let excused = state.unreadable.iter().any(|id| id.as_ref().is_none_or(|id| id == parent));
            check(PARENTS, found.is_some() || excused, || {
                format!("{} without its parent {parent}", item.id)
            })?;
            steps += 1;
            check(PARENTS, steps <= limits::PATH_DEPTH_MAX, || format!("a cycle above {}", item.id))?;
            above = found.and_then(|parent| parent.parent.as_ref());
        }
        if let Some(first) = &item.hard_link {
            let good = state
                .items
                .get(first)
                .is_some_and(|first| first.hard_link.is_none() && !first.streams.is_empty());
            check(LINKS, good, || format!("{} is a link to {first}", item.id))?;
        }
    }
    Ok(())
}

/// Tags may differ: a source may give out one that is good for one run only.
fn same(promise: &'static str, one: &State, two: &State) -> Result<(), Failure> {
    let missing = one.items.keys().find(|id| !two.items.contains_key(*id));
    check(promise, missing.is_none(), || format!("{missing:?} is missing"))?;
    for (id, item) in &two.items {
        let mut before = one.items.get(id).cloned();
        if let Some(before) = &mut before {
            before.tag = item.tag.clone();
        }
        check(promise, before.as_ref() == Some(item), || format!("{before:?}, then {item:?}"))?;
    }
    Ok(())
}

async fn streams(source: &dyn Source, state: &State) -> Result<(), Failure> {
    for (number, item) in state.items.values().enumerate() {
        for stream in &item.streams {
            let read = || async {
                let content = source.open(item, &stream.name).await?;
                let announced = content.size;
                Ok((announced, content.collect().await?))
            };
            let (announced, bytes) = succeed(OPENS, read().await)?;
            for size in [announced, stream.size].into_iter().flatten() {
                let length = bytes.len() as u64;
                check(SIZES, size == length, || format!("{length} bytes of {}, {size} announced", item.id))?;
            }
            if let Some(content) = source.open_blocking(item, &stream.name) {
                let pieces = succeed(OPENS, content.open().and_then(Iterator::collect::<Result<Vec<_>, _>>))?;
                check(BLOCKING, pieces.concat() == bytes, || format!("other bytes of {}", item.id))?;
            }
            if let Some(given) = state.given.get(&(item.id.clone(), stream.name.clone())) {
                check(GIVEN, *given == bytes, || format!("other bytes of {}", item.id))?;
            }
            if number < REREAD_MAX && !item.tag.is_empty() {
                let (_, again) = succeed(OPENS, read().await)?;
                check(SAME_BYTES, bytes == again, || format!("other bytes of {}", item.id))?;
            }
        }
        if number == 0 {
            let absent = source.open(item, "conformance: no such stream").await;
            fail_with(NO_STREAM, ErrorKind::NotFound, absent)?;
        }
    }
    Ok(())
}
