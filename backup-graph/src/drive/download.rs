//! One file on its way in: address, ranges, resumption, and the check at the end.

use backup_core::{Error, ErrorKind, Item, Result, Stream, Value};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, StatusCode, header};

use super::item_address;
use super::wire::{DriveItem, QUICK_XOR_HASH};
use crate::client::{Call, GraphClient, Reply};
use crate::hash::QuickXorHash;
use crate::limits::RESUMES_MAX;
use crate::transport::Body;

/// How often an address is renewed in a row: one that is refused when it is new is refused for another reason.
const RENEWALS_MAX: u32 = 2;

pub(super) struct Download<'a> {
    client: &'a GraphClient,
    place: String,
    name: String,
    expected_size: Option<u64>,
    expected_hash: Option<&'a str>,
    address: Option<String>,
    body: Option<Body>,
    /// Bytes to drop: the server answered with everything although only the rest was asked for.
    skip: u64,
    hash: QuickXorHash,
    resumes: u32,
}

/// Where bytes are to be had.
enum Way {
    Address(String),
    Body(Reply),
}

impl<'a> Download<'a> {
    pub(super) fn new(client: &'a GraphClient, drive: &str, item: &'a Item, address: Option<String>) -> Self {
        Self {
            client,
            place: item_address(drive, &String::from_utf8_lossy(item.id.as_bytes())),
            name: item.name.to_string(),
            expected_size: item.stream(Stream::CONTENT).and_then(|stream| stream.size),
            expected_hash: item.attributes.get(QUICK_XOR_HASH).and_then(Value::as_text),
            address,
            body: None,
            skip: 0,
            hash: QuickXorHash::new(),
            resumes: 0,
        }
    }

    /// Asks for what is still missing.
    pub(super) async fn connect(&mut self) -> Result<()> {
        let mut renewals = 0;
        let mut hops = 0;
        loop {
            let address = match self.address.take() {
                Some(address) => address,
                None => match self.way().await? {
                    Way::Address(address) => address,
                    Way::Body(reply) => return self.accept(reply),
                },
            };
            let mut call = Call::new(Method::GET, address.clone());
            if self.hash.length() > 0 {
                let range = HeaderValue::from_str(&format!("bytes={}-", self.hash.length()));
                call = call.header(header::RANGE, range.map_err(|_| bug("a range is no header"))?);
            }
            let reply = self.client.call_elsewhere(call).await?;
            match reply.status().as_u16() {
                200 | 206 | 416 => {
                    self.address = Some(address);
                    return self.accept(reply);
                }
                301 | 302 | 303 | 307 | 308 if hops < 3 => {
                    hops += 1;
                    self.address = reply.location().filter(|location| location.contains("://"));
                }
                401 | 403 | 404 | 410 if renewals < RENEWALS_MAX => renewals += 1,
                _ => return Err(reply.into_error().await),
            }
        }
    }

    /// A new address; the service's redirect where items carry none.
    async fn way(&mut self) -> Result<Way> {
        let select = "id,size,file,content.downloadUrl";
        let item: DriveItem = self.client.get(&format!("{}?$select={select}", self.place)).await?;
        if let Some(address) = item.download_url {
            return Ok(Way::Address(address));
        }
        // The redirect is not followed by the transport: the token must not go where it leads.
        let reply = self.client.call(Call::new(Method::GET, format!("{}/content", self.place))).await?;
        let reply = reply.success().await?;
        if reply.status() == StatusCode::OK {
            return Ok(Way::Body(reply));
        }
        let address = reply.location().filter(|location| location.contains("://"));
        address
            .map(Way::Address)
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the service gives no address"))
    }

    fn accept(&mut self, reply: Reply) -> Result<()> {
        let received = self.hash.length();
        self.skip = match reply.status().as_u16() {
            206 => {
                let first =
                    reply.response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let first = first
                    .and_then(|text| text.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
                if first != Some(received) {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "the service sent another range than asked for",
                    ));
                }
                0
            }
            // Nothing is left from here on: the check at the end judges whether that is right.
            416 => {
                self.body = None;
                return Ok(());
            }
            _ => received,
        };
        self.body = Some(reply.response.into_body());
        Ok(())
    }

    pub(super) fn into_stream(self) -> BoxStream<'a, Result<Bytes>> {
        futures_util::stream::try_unfold(self, |mut download| async move {
            let piece = download.next().await.map_err(|error| error.with_item(download.name.clone()))?;
            Ok(piece.map(|piece| (piece, download)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let piece = match &mut self.body {
                Some(body) => body.next().await,
                None => None,
            };
            match piece {
                Some(Ok(mut piece)) => {
                    let skip = self.skip.min(piece.len() as u64);
                    self.skip -= skip;
                    piece = piece.slice(usize::try_from(skip).unwrap_or(piece.len())..);
                    if piece.is_empty() {
                        continue;
                    }
                    self.hash.update(&piece);
                    return Ok(Some(piece));
                }
                Some(Err(error)) => {
                    self.resumes += 1;
                    if self.resumes > RESUMES_MAX {
                        return Err(error);
                    }
                    self.client.pause(self.resumes, error).await?;
                    self.connect().await?;
                }
                None => return self.check().await.map(|()| None),
            }
        }
    }

    /// Everything has arrived: is it what was announced?
    async fn check(&mut self) -> Result<()> {
        let (size, hash) = (self.hash.length(), self.hash.to_base64());
        let matches = |expected_size: Option<u64>, expected_hash: Option<&str>| {
            expected_size.is_none_or(|expected| expected == size)
                && expected_hash.is_none_or(|expected| expected == hash)
        };
        if matches(self.expected_size, self.expected_hash) {
            return Ok(());
        }
        // The listing may be older than the content: ask again before the transfer is blamed.
        let now: Result<DriveItem> = self.client.get(&format!("{}?$select=id,size,file", self.place)).await;
        let changed = match &now {
            Ok(item) => item.size != self.expected_size || item.hash() != self.expected_hash,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if changed {
            return Err(Error::new(ErrorKind::ChangedWhileReading, "the file changed while it was read"));
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

fn bug(message: &str) -> Error {
    Error::new(ErrorKind::Bug, message)
}
