//! A store that can only be read.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, Entry, Key, Store};

/// Passes reads on and refuses the rest, so that no oversight elsewhere can write into what is being salvaged.
#[derive(Debug)]
pub(super) struct ReadOnly(pub(super) Arc<dyn Store>);

pub(in crate::repo) fn refusal() -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        "a salvaged repository is only read; copy its snapshots to a new one and go on there",
    )
}

#[async_trait]
impl Store for ReadOnly {
    async fn create(&self, _: &Key, _: Bytes) -> Result<Created> {
        Err(refusal())
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.0.read(key, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.0.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.0.list(prefix)
    }

    async fn delete(&self, _: &Key) -> Result<()> {
        Err(refusal())
    }
}
