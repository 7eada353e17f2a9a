//! The promises of [`Sink`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Failure, check, painted, succeed};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, ItemId, ItemKind, Stream};
use crate::sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};
use crate::source::Content;

const CREATES: &str = "an item that is put where nothing is becomes what it was, and is Created";
const BYTES: &str = "a stream arrives to the byte, also an empty one and one in many pieces";
const NAMES: &str = "an item gets its name";
const CONFINED: &str = "no name leads out of the containing item";
const WHOLE: &str = "an item whose content fails is an error and leaves nothing under its name";
const SKIP: &str = "with Skip what is there stays as it is, and the item is Skipped";
const BLOCKING: &str = "an item that can be put by calls that block arrives that way";
const REPLACE: &str = "with Replace the item takes the place of what is there, and is Replaced";
const KEEP_BOTH: &str = "with KeepBoth both are there afterwards, and the item is Renamed";
const ENTER: &str = "a container that is there already is entered, whatever the policy";
const TREE: &str = "a folder that holds something is not replaced by a file";
const LINK: &str = "a further hard link reads like the first";
const CLOSE: &str = "a container that was put can be closed, and the restore finished";
const READ_BACK: &str = "what the sink holds can be read back";

/// Lets the suite see what a sink has made.
#[async_trait]
pub trait ReadBack: Send + Sync {
    /// Everything that is there, by path: names joined by `/`.
    ///
    /// # Errors
    /// If it cannot be looked at; the suite fails then.
    async fn tree(&self) -> Result<BTreeMap<String, Found>>;
}

/// Something that a sink has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Whether it is a container.
    pub is_container: bool,
    /// Its bytes; empty for a container.
    pub content: Bytes,
}

impl Found {
    /// A container.
    #[must_use]
    pub const fn container() -> Self {
        Self { is_container: true, content: Bytes::new() }
    }

    /// Something with these bytes.
    pub fn file(content: impl Into<Bytes>) -> Self {
        Self { is_container: false, content: content.into() }
    }
}

/// What the suite puts everything below.
const TOP: &str = "conformance";

/// Runs the suite on an empty sink that takes folders and files.
///
/// # Errors
/// The first promise that is broken.
pub async fn conformance(sink: &dyn Sink, back: &dyn ReadBack) -> Result<(), Failure> {
    let suite = Suite { sink, back };
    let top = suite.put(CREATES, &folder(TOP), None, Conflict::Skip, &Given::nothing()).await?;
    suite.expect_action(CREATES, &top, Action::Created)?;
    suite.contents(&top.placed).await?;
    suite.names(&top.placed).await?;
    suite.broken(&top.placed).await?;
    suite.conflicts(&top.placed).await?;
    suite.containers(&top.placed).await?;
    suite.links(&top.placed).await?;
    succeed(CLOSE, sink.close(&folder(TOP), &top.placed).await)?;
    succeed(CLOSE, sink.finish().await)?;
    // Finishing loses nothing.
    suite.expect(CLOSE, "pieces", Some(&painted(11, 3_000_000))).await
}

struct Suite<'a> {
    sink: &'a dyn Sink,
    back: &'a dyn ReadBack,
}

/// The content of one stream, in pieces, perhaps with an error at the end.
struct Given {
    bytes: Bytes,
    piece: usize,
    failure: Option<ErrorKind>,
}

impl Given {
    fn nothing() -> Self {
        Self::bytes(Bytes::new())
    }

    const fn bytes(bytes: Bytes) -> Self {
        Self { bytes, piece: 1 << 20, failure: None }
    }
}

impl Contents for Given {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        if stream != Stream::CONTENT {
            return Err(Error::new(ErrorKind::NotFound, "no such stream").with_item(stream));
        }
        let mut rest = self.bytes.clone();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(Ok(rest.split_to(self.piece.min(rest.len()))));
        }
        pieces.extend(self.failure.map(|kind| Err(Error::new(kind, "injected fault"))));
        Ok(Content::new(u64::try_from(self.bytes.len()).ok(), Box::pin(futures_util::stream::iter(pieces))))
    }
}

fn item(name: &str, kind: ItemKind) -> Item {
    // Not the top of its collection, so that it is put by its name.
    Item::new(format!("id of {name}"), Some(ItemId::from("elsewhere")), name, kind)
}

fn folder(name: &str) -> Item {
    item(name, ItemKind::FOLDER)
}

fn file(name: &str, bytes: &Bytes) -> Item {
    let mut file = item(name, ItemKind::FILE);
    file.streams.push(Stream::new(Stream::CONTENT, u64::try_from(bytes.len()).ok()));
    file
}

impl Suite<'_> {
    async fn put(
        &self,
        promise: &'static str,
        item: &Item,
        parent: Option<&Placed>,
        conflict: Conflict,
        given: &Given,
    ) -> Result<Placement, Failure> {
        succeed(promise, self.sink.put(item, Place::new(parent, conflict, None), given).await)
    }

    async fn put_file(
        &self,
        promise: &'static str,
        parent: &Placed,
        name: &str,
        conflict: Conflict,
        bytes: &Bytes,
    ) -> Result<Placement, Failure> {
        self.put(promise, &file(name, bytes), Some(parent), conflict, &Given::bytes(bytes.clone())).await
    }

    fn expect_action(
        &self,
        promise: &'static str,
        placement: &Placement,
        action: Action,
    ) -> Result<(), Failure> {
        check(promise, placement.action == action, || format!("{:?} instead of {action:?}", placement.action))
    }

    /// Checks what is at a path below the top: bytes, or nothing.
    async fn expect(&self, promise: &'static str, path: &str, bytes: Option<&Bytes>) -> Result<(), Failure> {
        let tree = succeed(READ_BACK, self.back.tree().await)?;
        let found = tree.get(&format!("{TOP}/{path}"));
        let good = match bytes {
            Some(bytes) => found.is_some_and(|found| !found.is_container && found.content == *bytes),
            None => found.is_none(),
        };
        check(promise, good, || match found {
            Some(found) => {
                format!("{} bytes at {path}, container: {}", found.content.len(), found.is_container)
            }
            None => format!("nothing at {path}"),
        })
    }

    async fn count(&self, below: &str) -> Result<usize, Failure> {
        let prefix = format!("{TOP}/{below}");
        Ok(succeed(READ_BACK, self.back.tree().await)?
            .keys()
            .filter(|path| path.starts_with(&prefix))
            .count())
    }

    async fn contents(&self, top: &Placed) -> Result<(), Failure> {
        let one = painted(10, 1_000);
        let placement = self.put_file(CREATES, top, "one", Conflict::Skip, &one).await?;
        self.expect_action(CREATES, &placement, Action::Created)?;
        self.expect(BYTES, "one", Some(&one)).await?;
        self.put_file(CREATES, top, "empty", Conflict::Skip, &Bytes::new()).await?;
        self.expect(BYTES, "empty", Some(&Bytes::new())).await?;
        let long = painted(11, 3_000_000);
        let pieces = Given { bytes: long.clone(), piece: 4_097, failure: None };
        self.put(CREATES, &file("pieces", &long), Some(top), Conflict::Skip, &pieces).await?;
        self.expect(BYTES, "pieces", Some(&long)).await?;
        self.blocking(top).await
    }

    /// What a sink puts by calls that block arrives as well, in one piece or in several.
    async fn blocking(&self, top: &Placed) -> Result<(), Failure> {
        for (name, len) in [("blocking", 5_000), ("blocking empty", 0)] {
            let bytes = painted(19, len);
            let item = file(name, &bytes);
            let Some(put) = self.sink.put_blocking(&item, Place::new(Some(top), Conflict::Skip, None)) else {
                continue;
            };
            let pieces: Vec<Bytes> = bytes.chunks(1_234).map(Bytes::copy_from_slice).collect();
            let placement = succeed(BLOCKING, put.put(&pieces))?;
            self.expect_action(BLOCKING, &placement, Action::Created)?;
            self.expect(BLOCKING, name, Some(&bytes)).await?;
        }
        Ok(())
    }

    async fn names(&self, top: &Placed) -> Result<(), Failure> {
        let long = "n".repeat(200);
        for name in ["with spaces", "\u{fc}n\u{ef}c\u{f6}de \u{1f5c4}", "a.b.c", ".hidden", "-dash", &long] {
            let bytes = painted(12, name.len());
            self.put_file(NAMES, top, name, Conflict::Skip, &bytes).await?;
            self.expect(NAMES, name, Some(&bytes)).await?;
        }
        // A sink may refuse such names or keep them as they are; it may not follow them.
        let before = succeed(READ_BACK, self.back.tree().await)?;
        for name in ["..", ".", "../escaped", "/escaped"] {
            let bytes = painted(13, 10);
            let given = Given::bytes(bytes.clone());
            let place = Place::new(Some(top), Conflict::Replace, None);
            let _ = self.sink.put(&file(name, &bytes), place, &given).await;
        }
        let after = succeed(READ_BACK, self.back.tree().await)?;
        let outside = |path: &&String| !path.starts_with(&format!("{TOP}/"));
        let escaped = after.keys().filter(outside).find(|path| !before.contains_key(*path));
        check(CONFINED, escaped.is_none(), || format!("{escaped:?}"))?;
        let lost = before.iter().find(|(path, found)| after.get(*path) != Some(*found));
        check(CONFINED, lost.is_none(), || {
            format!("{:?} is no longer what it was", lost.map(|(path, _)| path))
        })
    }

    async fn broken(&self, top: &Placed) -> Result<(), Failure> {
        let bytes = painted(14, 100_000);
        let given = Given { bytes: bytes.clone(), piece: 1_000, failure: Some(ErrorKind::Corrupt) };
        for conflict in [Conflict::Skip, Conflict::Replace, Conflict::KeepBoth] {
            let place = Place::new(Some(top), conflict, None);
            let result = self.sink.put(&file("broken", &bytes), place, &given).await;
            check(WHOLE, result.is_err(), || format!("{result:?}"))?;
            self.expect(WHOLE, "broken", None).await?;
        }
        // Nor does it cost what was there before.
        let place = Place::new(Some(top), Conflict::Replace, None);
        let result = self.sink.put(&file("one", &bytes), place, &given).await;
        check(WHOLE, result.is_err(), || format!("{result:?}"))?;
        self.expect(WHOLE, "one", Some(&painted(10, 1_000))).await
    }

    async fn conflicts(&self, top: &Placed) -> Result<(), Failure> {
        let dir = self
            .put(CREATES, &folder("conflicts"), Some(top), Conflict::Skip, &Given::nothing())
            .await?
            .placed;
        let (old, new, third) = (painted(20, 500), painted(21, 700), painted(22, 600));
        self.put_file(CREATES, &dir, "report.txt", Conflict::Skip, &old).await?;
        let skipped = self.put_file(SKIP, &dir, "report.txt", Conflict::Skip, &new).await?;
        self.expect_action(SKIP, &skipped, Action::Skipped)?;
        self.expect(SKIP, "conflicts/report.txt", Some(&old)).await?;
        let replaced = self.put_file(REPLACE, &dir, "report.txt", Conflict::Replace, &new).await?;
        self.expect_action(REPLACE, &replaced, Action::Replaced)?;
        self.expect(REPLACE, "conflicts/report.txt", Some(&new)).await?;
        for count in 2..=3 {
            let renamed = self.put_file(KEEP_BOTH, &dir, "report.txt", Conflict::KeepBoth, &third).await?;
            self.expect_action(KEEP_BOTH, &renamed, Action::Renamed)?;
            self.expect(KEEP_BOTH, "conflicts/report.txt", Some(&new)).await?;
            let there = self.count("conflicts/").await?;
            check(KEEP_BOTH, there == count, || format!("{there} items instead of {count}"))?;
        }
        for conflict in [Conflict::Replace, Conflict::KeepBoth] {
            let name = format!("free {conflict:?}");
            let created = self.put_file(CREATES, &dir, &name, conflict, &old).await?;
            self.expect_action(CREATES, &created, Action::Created)?;
        }
        Ok(())
    }

    async fn containers(&self, top: &Placed) -> Result<(), Failure> {
        let bytes = painted(30, 10);
        for (number, conflict) in
            [Conflict::Skip, Conflict::Skip, Conflict::Replace, Conflict::KeepBoth].iter().enumerate()
        {
            let entered = self.put(ENTER, &folder("merged"), Some(top), *conflict, &Given::nothing()).await?;
            self.put_file(ENTER, &entered.placed, &format!("{number}"), Conflict::Skip, &bytes).await?;
            self.expect(ENTER, &format!("merged/{number}"), Some(&bytes)).await?;
            succeed(CLOSE, self.sink.close(&folder("merged"), &entered.placed).await)?;
        }
        for number in 0..4 {
            self.expect(ENTER, &format!("merged/{number}"), Some(&bytes)).await?;
        }
        let place = Place::new(Some(top), Conflict::Replace, None);
        let result = self.sink.put(&file("merged", &bytes), place, &Given::bytes(bytes.clone())).await;
        check(TREE, result.is_err(), || format!("{result:?}"))?;
        self.expect(TREE, "merged/0", Some(&bytes)).await
    }

    async fn links(&self, top: &Placed) -> Result<(), Failure> {
        let bytes = painted(40, 5_000);
        let first = self.put_file(CREATES, top, "link 1", Conflict::Skip, &bytes).await?;
        let mut second = item("link 2", ItemKind::FILE);
        second.hard_link = Some("id of link 1".into());
        let place = Place::new(Some(top), Conflict::Skip, Some(&first.placed));
        succeed(LINK, self.sink.put(&second, place, &Given::bytes(bytes.clone())).await)?;
        self.expect(LINK, "link 2", Some(&bytes)).await?;
        self.expect(LINK, "link 1", Some(&bytes)).await
    }
}
