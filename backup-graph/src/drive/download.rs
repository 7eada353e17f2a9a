//! One stream of a file on its way in, and the check at the end. How bytes come is `transfer`'s business.

use backup_core::{Content, Error, ErrorKind, Item, Result, Stream, Value};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;

use super::extras::version_address;
use super::item_address;
use super::transfer::{Origin, Transfer};
use super::wire::{DriveItem, MALWARE, QUICK_XOR_HASH};
use crate::client::GraphClient;
use crate::hash::QuickXorHash;
use crate::limits::{RANGED_FILE_RANGES_MIN, RANGES_AT_ONCE};

pub(super) struct Download<'a> {
    client: &'a GraphClient,
    origin: Origin,
    name: String,
    range_bytes: u64,
    expected_size: Option<u64>,
    expected_hash: Option<&'a str>,
}

impl<'a> Download<'a> {
    /// A stream of an item; a large one in ranges of `range_bytes`. `address` is where its content was to be had when it was
    /// listed.
    pub(super) fn new(
        client: &'a GraphClient,
        drive: &str,
        item: &'a Item,
        stream: &Stream,
        range_bytes: u64,
        address: Option<String>,
    ) -> Self {
        let id = String::from_utf8_lossy(item.id.as_bytes());
        let version = version_address(drive, &id, &stream.name);
        let current = version.is_none();
        let infected = item.attributes.contains_key(MALWARE);
        Self {
            client,
            origin: Origin::new(item_address(drive, &id), version, infected, address),
            name: item.name.to_string(),
            range_bytes,
            expected_size: stream.size,
            // Only the current content has a hash.
            expected_hash: item.attributes.get(QUICK_XOR_HASH).and_then(Value::as_text).filter(|_| current),
        }
    }

    /// Asks for the bytes; large files in several ranges at once.
    pub(super) async fn open(self) -> Result<Content<'a>> {
        let size = self.expected_size;
        let bytes = match size.filter(|size| *size > self.range_bytes.saturating_mul(RANGED_FILE_RANGES_MIN))
        {
            Some(size) => self.ranges(size).await?,
            None => {
                let mut transfer = Transfer::new(self.client, self.origin.clone(), 0, None);
                transfer.connect().await?;
                transfer.into_stream()
            }
        };
        Ok(Content::new(size, self.checked(bytes)))
    }

    /// The bytes in order, with a few ranges on their way at once. The last one has no end: labelled files are longer than
    /// announced, and what they have is kept.
    async fn ranges(&self, size: u64) -> Result<BoxStream<'a, Result<Bytes>>> {
        // One address serves all ranges: get it before they all ask for it.
        self.origin.address(self.client).await?;
        let (client, origin, length) = (self.client, self.origin.clone(), self.range_bytes);
        let (step, rest) = (usize::try_from(length).unwrap_or(usize::MAX), (size - 1) / length * length);
        let last = Transfer::new(client, origin.clone(), rest, None);
        let parts = (0..rest).step_by(step).map(move |start| {
            let mut transfer =
                Transfer::new(client, origin.clone(), start, Some(start.saturating_add(length)));
            async move { transfer.collect().await }
        });
        let parts = futures_util::stream::iter(parts).buffered(RANGES_AT_ONCE);
        Ok(parts.chain(last.into_stream()).boxed())
    }

    fn checked(self, bytes: BoxStream<'a, Result<Bytes>>) -> BoxStream<'a, Result<Bytes>> {
        let state = (self, bytes, QuickXorHash::new());
        futures_util::stream::try_unfold(state, |(download, mut bytes, mut hash)| async move {
            let named = |error: Error| error.with_item(download.name.clone());
            match bytes.next().await {
                Some(piece) => {
                    let piece = piece.map_err(named)?;
                    hash.update(&piece);
                    Ok(Some((piece, (download, bytes, hash))))
                }
                None => download.check(&hash).await.map_err(named).map(|()| None),
            }
        })
        .boxed()
    }

    /// Everything has arrived: is it what was announced?
    async fn check(&self, received: &QuickXorHash) -> Result<()> {
        let (size, hash) = (received.length(), received.to_base64());
        let same_size = self.expected_size.is_none_or(|expected| expected == size);
        if same_size && self.expected_hash.is_none_or(|expected| expected == hash) {
            return Ok(());
        }
        if self.origin.is_current() {
            // The listing may be older than the content: ask again before the transfer is blamed.
            let url = format!("{}?$select=id,size,file", self.origin.item());
            let now: Result<DriveItem> = self.client.get(&url).await;
            let changed = match &now {
                Ok(item) => item.size != self.expected_size || item.hash() != self.expected_hash,
                Err(error) => error.kind() == ErrorKind::NotFound,
            };
            if changed {
                return Err(Error::new(ErrorKind::ChangedWhileReading, "the file changed while it was read"));
            }
        }
        let what = match self.expected_size {
            Some(expected) if expected != size => {
                format!("received {size} bytes where {expected} were announced")
            }
            _ => "the bytes received do not have the announced hash".to_owned(),
        };
        Err(Error::new(ErrorKind::SourceMismatch, what))
    }
}
