//! From a source straight into a sink, without an engine between them.

use std::collections::HashMap;

use backup_core::{
    Change, Conflict, Content, Contents, Error, Item, ItemId, Place, Placed, Result, Sink, Source, Stream,
};
use futures_executor::block_on;
use futures_util::{StreamExt, TryStreamExt};

/// The content of one item, opened when it is first read.
pub(crate) struct FromSource<'s> {
    pub(crate) source: &'s dyn Source,
    pub(crate) item: &'s Item,
}

impl Contents for FromSource<'_> {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        let name = stream.to_owned();
        let opened = futures_util::stream::once(async move {
            let content = self.source.open(self.item, &name).await?;
            // The stream borrows the name, so it cannot leave this block unread.
            let pieces: Vec<_> = content.bytes.collect().await;
            Ok::<_, Error>(futures_util::stream::iter(pieces))
        });
        let size = self.item.stream(stream).and_then(|stream| stream.size);
        Ok(Content::new(size, Box::pin(opened.try_flatten())))
    }
}

/// Every change of a full enumeration, split into items and what could not be looked at.
pub(crate) fn enumerate(source: &dyn Source) -> Result<(Vec<Item>, Vec<String>)> {
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    for change in block_on(source.changes(None).collect::<Vec<_>>()) {
        match change? {
            Change::Upsert(item) => items.push(item),
            Change::Unreadable(problem) => problems.push(problem.to_string()),
            other => panic!("{other:?} in a full enumeration"),
        }
    }
    Ok((items, problems))
}

/// Copies everything; returns what went wrong with single items.
pub(crate) fn copy(source: &dyn Source, sink: &dyn Sink, conflict: Conflict) -> Vec<String> {
    let (items, mut problems) = enumerate(source).unwrap();
    let by_id: HashMap<&ItemId, &Item> = items.iter().map(|item| (&item.id, item)).collect();
    let mut placed: HashMap<&ItemId, Placed> = HashMap::new();
    let mut containers = Vec::new();
    for item in &items {
        if item.parent.as_ref().is_some_and(|parent| !placed.contains_key(parent)) {
            continue;
        }
        let parent = item.parent.as_ref().and_then(|parent| placed.get(parent));
        let link = item.hard_link.as_ref().and_then(|first| placed.get(first));
        let place = Place::new(parent, conflict, link);
        let first = item.hard_link.as_ref().and_then(|first| by_id.get(first)).unwrap_or(&item);
        match block_on(sink.put(item, place, &FromSource { source, item: first })) {
            Ok(placement) => {
                if item.kind.is_container() {
                    containers.push((item, placement.placed.clone()));
                }
                placed.insert(&item.id, placement.placed);
            }
            Err(error) => problems.push(format!("{}: {error}", item.id)),
        }
    }
    for (item, placed) in containers.iter().rev() {
        if let Err(error) = block_on(sink.close(item, placed)) {
            problems.push(format!("{}: {error}", item.id));
        }
    }
    block_on(sink.finish()).unwrap();
    problems
}

/// The content of one file of a source.
pub(crate) fn read(source: &dyn Source, item: &Item) -> Result<Vec<u8>> {
    block_on(async { source.open(item, Stream::CONTENT).await?.collect().await })
}
