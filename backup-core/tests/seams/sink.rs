//! The sink suite: passed by every sink here, failed by sinks that lie.

use std::collections::BTreeMap;

use async_trait::async_trait;
use backup_core::testkit::sink::{Found, ReadBack, conformance};
use backup_core::{
    Action, Conflict, Content, Contents, Error, Item, MemorySink, Name, Place, Placed, Placement, Result,
    Sink, Stream,
};
use bytes::Bytes;
use futures_executor::block_on;
use futures_util::StreamExt;

/// Shows a memory sink to the suite.
struct Memory(MemorySink);

#[async_trait]
impl ReadBack for Memory {
    async fn tree(&self) -> Result<BTreeMap<String, Found>> {
        let found = |restored: backup_core::Restored| match restored.item.kind.is_container() {
            true => Found::container(),
            false => Found::file(restored.streams.get(Stream::CONTENT).cloned().unwrap_or_default()),
        };
        Ok(self.0.tree().into_iter().map(|(path, restored)| (path, found(restored))).collect())
    }
}

#[test]
fn memory_keeps_every_promise() {
    let sink = MemorySink::new();
    block_on(conformance(&sink, &Memory(sink.clone()))).unwrap();
    assert!(sink.is_finished());
    let sink = MemorySink::new();
    let shared: Box<dyn Sink> = Box::new(sink.clone());
    block_on(conformance(&*shared, &Memory(sink))).unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    OverwritesOnSkip,
    ReplacesOnKeepBoth,
    LeavesHalfFiles,
    LosesEmptyFiles,
    FollowsNames,
    ClaimsToHaveReplaced,
    ForgetsLinks,
}

#[derive(Debug)]
struct Liar {
    inner: MemorySink,
    lie: Lie,
}

/// What arrived before an error, as if it were all.
struct Half(Bytes);

impl Contents for Half {
    fn open<'a>(&'a self, _stream: &str) -> Result<Content<'a>> {
        Ok(Content::from_bytes(self.0.clone()))
    }
}

#[async_trait]
impl Sink for Liar {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        let with = |conflict| Place::new(place.parent, conflict, place.link);
        match (self.lie, place.conflict) {
            (Lie::OverwritesOnSkip, Conflict::Skip) if !item.kind.is_container() => {
                let mut placement = self.inner.put(item, with(Conflict::Replace), contents).await?;
                if placement.action == Action::Replaced {
                    placement.action = Action::Skipped;
                }
                Ok(placement)
            }
            (Lie::ReplacesOnKeepBoth, Conflict::KeepBoth) => {
                let mut placement = self.inner.put(item, with(Conflict::Replace), contents).await?;
                if placement.action == Action::Replaced && !item.kind.is_container() {
                    placement.action = Action::Renamed;
                }
                Ok(placement)
            }
            (Lie::LeavesHalfFiles, _) if !item.streams.is_empty() => {
                let mut content = contents.open(Stream::CONTENT)?;
                let (mut arrived, mut failure) = (Vec::new(), None::<Error>);
                while let Some(piece) = content.bytes.next().await {
                    match piece {
                        Ok(piece) => arrived.extend_from_slice(&piece),
                        Err(error) => failure = Some(error),
                    }
                }
                let placement = self.inner.put(item, place, &Half(arrived.into())).await?;
                failure.map_or(Ok(placement), Err)
            }
            (Lie::LosesEmptyFiles, _)
                if item.stream(Stream::CONTENT).is_some_and(|stream| stream.size == Some(0)) =>
            {
                Ok(Placement::new("0", Action::Created))
            }
            (Lie::FollowsNames, _) => match item.name.as_bytes().strip_prefix(b"../") {
                Some(name) => {
                    let mut outside = item.clone();
                    outside.name = Name::from(name);
                    self.inner.put(&outside, Place::new(None, place.conflict, None), contents).await
                }
                None => self.inner.put(item, place, contents).await,
            },
            (Lie::ClaimsToHaveReplaced, Conflict::Replace) => {
                let mut placement = self.inner.put(item, with(Conflict::Skip), contents).await?;
                if placement.action == Action::Skipped {
                    placement.action = Action::Replaced;
                }
                Ok(placement)
            }
            (Lie::ForgetsLinks, _) => {
                self.inner.put(item, Place::new(place.parent, place.conflict, None), contents).await
            }
            _ => self.inner.put(item, place, contents).await,
        }
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        self.inner.close(item, placed).await
    }
}

#[test]
fn every_lie_of_a_sink_is_named() {
    for (lie, word) in [
        (Lie::OverwritesOnSkip, "with Skip"),
        (Lie::ReplacesOnKeepBoth, "with KeepBoth"),
        (Lie::LeavesHalfFiles, "leaves nothing"),
        (Lie::LosesEmptyFiles, "to the byte"),
        (Lie::FollowsNames, "leads out"),
        (Lie::ClaimsToHaveReplaced, "with Replace"),
        (Lie::ForgetsLinks, "hard link"),
    ] {
        let inner = MemorySink::new();
        let liar = Liar { inner: inner.clone(), lie };
        let failure = block_on(conformance(&liar, &Memory(inner))).expect_err(&format!("{lie:?}"));
        assert!(failure.promise.contains(word), "{lie:?}: {failure}");
    }
}
