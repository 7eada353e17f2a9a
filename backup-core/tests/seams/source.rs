//! The source suite: passed by every source here, failed by sources that lie.

use async_trait::async_trait;
use backup_core::testkit::source::conformance;
use backup_core::{
    Change, Collection, Content, Cursor, Item, ItemId, ItemKind, MemorySource, ReadFault, Result, Source,
};
use futures_core::stream::BoxStream;
use futures_executor::block_on;
use futures_util::{FutureExt, StreamExt};

fn scripted() -> MemorySource {
    let source = MemorySource::new("memory:suite").with_piece_bytes(100);
    source.put_folder("top", None, "top");
    source.put_folder("folder", Some("top"), "folder");
    source.put_file("a", Some("folder"), "a.txt", "content of a");
    source.put_file("empty", Some("folder"), "empty", "");
    source.put_file("long", Some("top"), "long", vec![7; 1_000]);
    let mut link = Item::new("link", Some("top".into()), "link", ItemKind::FILE);
    link.hard_link = Some("long".into());
    source.put(link, [("", ""); 0]);
    source.put_file("gone", Some("top"), "gone", "gone");
    source.remove("gone");
    // Touched last: comes after its own children.
    source.edit("top", |item| item.name = "renamed".into());
    source
}

#[test]
fn memory_keeps_every_promise_with_and_without_delta() {
    block_on(conformance(&scripted())).unwrap();
    block_on(conformance(&scripted().without_delta())).unwrap();
    let boxed: Box<dyn Source> = Box::new(scripted());
    block_on(conformance(&*boxed)).unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    LeavesOutParents,
    CutsStreams,
    ForgetsSilently,
    ResetsAndLosesItems,
    ResetsLate,
    AltersInEveryDelta,
    ChangesItsCollection,
    EmptyNames,
    OpensWhatIsNotThere,
    GoesRoundInCircles,
}

#[derive(Debug)]
struct Liar {
    inner: MemorySource,
    lie: Lie,
    calls: std::sync::atomic::AtomicU64,
}

#[async_trait]
impl Source for Liar {
    fn collection(&self) -> Collection {
        let call = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match self.lie {
            Lie::ChangesItsCollection => Collection::new(format!("memory:{call}"), "memory"),
            _ => self.inner.collection(),
        }
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        let known =
            since.is_none_or(|cursor| cursor.as_bytes().iter().all(u8::is_ascii_digit) && !cursor.is_empty());
        let (lie, number) = (self.lie, self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let all = self.inner.changes(since);
        match lie {
            Lie::ForgetsSilently if !known => Box::pin(futures_util::stream::iter([])),
            Lie::ResetsAndLosesItems if !known => Box::pin(all.take(3)),
            Lie::ResetsLate if !known => {
                let mut first: Vec<_> = all.collect().now_or_never().unwrap();
                let rest = first.split_off(2);
                Box::pin(futures_util::stream::iter(first.into_iter().rev().chain(rest)))
            }
            Lie::AltersInEveryDelta if since.is_some() && known => {
                let mut item = Item::new("a", Some("folder".into()), "a.txt", ItemKind::FILE);
                item.tag = format!("{number}").into();
                Box::pin(futures_util::stream::iter([Ok(Change::Upsert(item))]).chain(all))
            }
            Lie::LeavesOutParents => Box::pin(all.filter(|change| {
                let left_out =
                    matches!(change, Ok(Change::Upsert(item)) if item.id == ItemId::from("folder"));
                std::future::ready(!left_out)
            })),
            Lie::EmptyNames => Box::pin(all.map(|change| {
                change.map(|change| match change {
                    Change::Upsert(mut item) if item.id == ItemId::from("a") => {
                        item.name = "".into();
                        Change::Upsert(item)
                    }
                    other => other,
                })
            })),
            Lie::GoesRoundInCircles => Box::pin(all.map(|change| {
                change.map(|change| match change {
                    Change::Upsert(mut item) if item.id == ItemId::from("top") => {
                        item.parent = Some("folder".into());
                        Change::Upsert(item)
                    }
                    other => other,
                })
            })),
            _ => all,
        }
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        match self.lie {
            Lie::OpensWhatIsNotThere if item.stream(stream).is_none() => Ok(Content::from_bytes("")),
            _ => self.inner.open(item, stream).await,
        }
    }
}

#[test]
fn every_lie_of_a_source_is_named() {
    for (lie, word) in [
        (Lie::LeavesOutParents, "parent is in the enumeration"),
        (Lie::CutsStreams, "as long as announced"),
        (Lie::ForgetsSilently, "leads to Reset"),
        (Lie::ResetsAndLosesItems, "leads to Reset"),
        (Lie::ResetsLate, "comes first"),
        (Lie::AltersInEveryDelta, "changes nothing"),
        (Lie::ChangesItsCollection, "same well-formed id"),
        (Lie::EmptyNames, "bounds"),
        (Lie::OpensWhatIsNotThere, "does not have is NotFound"),
        (Lie::GoesRoundInCircles, "contains itself"),
    ] {
        let inner = scripted();
        if lie == Lie::CutsStreams {
            inner.inject("long", "content", ReadFault::Short(999), usize::MAX);
        }
        let liar = Liar { inner, lie, calls: std::sync::atomic::AtomicU64::new(0) };
        let failure = block_on(conformance(&liar)).expect_err(&format!("{lie:?}"));
        assert!(failure.promise.contains(word), "{lie:?}: {failure}");
    }
}
