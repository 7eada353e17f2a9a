//! Sources that never come to an end: whoever cancels is heard all the same.

use async_trait::async_trait;
use backup_core::{CancelToken, ErrorKind, ItemId, ItemKind};
use futures_util::StreamExt;

use super::*;

/// Names the same change again and again, and asks to be stopped after a thousand times.
#[derive(Debug)]
struct Endless {
    change: fn() -> Change,
    token: CancelToken,
}

#[async_trait]
impl Source for Endless {
    fn collection(&self) -> Collection {
        Collection::new("endless", "test")
    }

    fn changes<'a>(&'a self, _since: Option<&'a Cursor>) -> BoxStream<'a, backup_core::Result<Change>> {
        let mut named = 0_u64;
        futures_util::stream::repeat_with(move || {
            named += 1;
            if named == 1_000 {
                self.token.cancel();
            }
            assert!(named < 1_000_000, "nobody listens");
            Ok((self.change)())
        })
        .boxed()
    }

    async fn open<'a>(&'a self, _item: &'a Item, _stream: &'a str) -> backup_core::Result<Content<'a>> {
        Err(backup_core::Error::new(ErrorKind::NotFound, "it has no items"))
    }
}

#[test]
fn a_source_that_never_ends_is_canceled() {
    let changes: [fn() -> Change; 4] = [
        || Change::Remove(ItemId::from("gone")),
        || Change::Cursor(Cursor::new("here")),
        || Change::Reset,
        || Change::Upsert(Item::new("folder", None, "folder", ItemKind::FOLDER)),
    ];
    for change in changes {
        let (repo, token) = (init(&MemoryStore::new()), CancelToken::new());
        let source = Endless { change, token: token.clone() };
        let error = block_on(repo.backup(&source).cancel_token(&token).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled, "{:?}", change());
        assert!(repo.snapshots().is_empty());
    }
}
