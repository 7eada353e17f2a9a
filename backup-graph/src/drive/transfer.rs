//! Bytes from a pre-authenticated address: getting one, asking for a range, going on after a fault.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_core::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::wire::DriveItem;
use crate::client::{Call, GraphClient, Reply};
use crate::limits::RESUMES_MAX;
use crate::transport::Body;

/// How often an address is renewed in a row: one that is refused when it is new is refused for another reason.
const RENEWALS_MAX: u32 = 2;

/// Which bytes are meant, and the address that they are to be had from at the moment. Clones share the address.
#[derive(Clone)]
pub(super) struct Origin {
    item: String,
    version: Option<String>,
    infected: bool,
    address: Arc<Mutex<Option<String>>>,
}

/// Where bytes are to be had.
enum Way {
    Address(String),
    Body(Box<Reply>),
}

impl Origin {
    /// The content of the item at the Graph address `item`, or that of its `version`. `infected`: the service has found
    /// malware in it and gives it out only to who insists.
    pub(super) fn new(
        item: String,
        version: Option<String>,
        infected: bool,
        address: Option<String>,
    ) -> Self {
        let address = address.filter(|_| version.is_none() && !infected);
        Self { item, version, infected, address: Arc::new(Mutex::new(address)) }
    }

    pub(super) fn item(&self) -> &str {
        &self.item
    }

    /// Whether the item's present content is meant.
    pub(super) const fn is_current(&self) -> bool {
        self.version.is_none()
    }

    /// Makes sure that there is an address, where there can be one.
    pub(super) async fn address(&self, client: &GraphClient) -> Result<()> {
        if self.known().is_none()
            && let Way::Address(address) = self.way(client).await?
        {
            *self.known() = Some(address);
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Option<String>> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This address does not work any more. Another transfer may have found a new one meanwhile.
    fn forget(&self, address: &str) {
        let mut known = self.known();
        if known.as_deref() == Some(address) {
            *known = None;
        }
    }

    /// A new address: from the item's properties where they have one, else from the service's redirect.
    async fn way(&self, client: &GraphClient) -> Result<Way> {
        if self.is_current() && !self.infected {
            let select = "id,size,file,content.downloadUrl";
            let item: DriveItem = client.get(&format!("{}?$select={select}", self.item)).await?;
            if let Some(address) = item.download_url {
                return Ok(Way::Address(address));
            }
        }
        // The redirect is not followed by the transport: the token must not go where it leads.
        let place = self.version.as_ref().unwrap_or(&self.item);
        let mut call = Call::new(Method::GET, format!("{place}/content"));
        if self.infected {
            let insist = HeaderValue::from_static("forceInfectedDownload");
            call = call.header(HeaderName::from_static("prefer"), insist);
        }
        let reply = client.call(call).await?.success().await?;
        if reply.status() == StatusCode::OK {
            return Ok(Way::Body(Box::new(reply)));
        }
        let address = reply.location().filter(|location| location.contains("://"));
        address
            .map(Way::Address)
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the service gives no address"))
    }
}

/// The bytes from `start` to `end` (to the end of the file without one).
pub(super) struct Transfer<'a> {
    client: &'a GraphClient,
    origin: Origin,
    /// Offset of the byte that is to come next.
    at: u64,
    end: Option<u64>,
    body: Option<Body>,
    /// Bytes to drop: the server answered with everything although only a part was asked for.
    skip: u64,
    resumes: u32,
    asked: bool,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(client: &'a GraphClient, origin: Origin, start: u64, end: Option<u64>) -> Self {
        Self { client, origin, at: start, end, body: None, skip: 0, resumes: 0, asked: false }
    }

    /// Asks for what is still missing.
    pub(super) async fn connect(&mut self) -> Result<()> {
        self.asked = true;
        let (mut renewals, mut hops, mut redirect) = (0, 0, None);
        loop {
            let known = redirect.take().or_else(|| self.origin.known().clone());
            let address = match known {
                Some(address) => address,
                None => match self.origin.way(self.client).await? {
                    Way::Address(address) => {
                        *self.origin.known() = Some(address.clone());
                        address
                    }
                    Way::Body(reply) => return self.accept(*reply),
                },
            };
            let mut call = Call::new(Method::GET, address.clone());
            if let Some(range) = self.range()? {
                call = call.header(header::RANGE, range);
            }
            let reply = self.client.call_elsewhere(call).await?;
            match reply.status().as_u16() {
                200 | 206 | 416 => return self.accept(reply),
                301 | 302 | 303 | 307 | 308 if hops < 3 => {
                    hops += 1;
                    redirect = reply.location().filter(|location| location.contains("://"));
                    if redirect.is_none() {
                        self.origin.forget(&address);
                    }
                }
                401 | 403 | 404 | 410 if renewals < RENEWALS_MAX => {
                    renewals += 1;
                    self.origin.forget(&address);
                }
                // The service itself has just given the address: neither is the file gone, nor the application shut out.
                401 | 404 | 410 => {
                    let error = reply.into_error().await;
                    let what = "the address that the service gives leads nowhere";
                    return Err(Error::new(ErrorKind::Unavailable, what).with_source(error));
                }
                _ => return Err(reply.into_error().await),
            }
        }
    }

    fn range(&self) -> Result<Option<HeaderValue>> {
        let text = match self.end {
            Some(end) => format!("bytes={}-{}", self.at, end.saturating_sub(1)),
            None if self.at > 0 => format!("bytes={}-", self.at),
            None => return Ok(None),
        };
        let bug = |_| Error::new(ErrorKind::Bug, "a range is no header");
        HeaderValue::from_str(&text).map(Some).map_err(bug)
    }

    fn accept(&mut self, reply: Reply) -> Result<()> {
        self.skip = match reply.status().as_u16() {
            206 => {
                let range =
                    reply.response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let first = range
                    .and_then(|text| text.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
                if first != Some(self.at) {
                    let what = "the service sent another range than asked for";
                    return Err(Error::new(ErrorKind::Unavailable, what));
                }
                0
            }
            // Nothing is left from here on: the check at the end judges whether that is right.
            416 => {
                self.body = None;
                return Ok(());
            }
            _ => self.at,
        };
        self.body = Some(reply.response.into_body());
        Ok(())
    }

    pub(super) fn into_stream(self) -> BoxStream<'a, Result<Bytes>> {
        futures_util::stream::try_unfold(self, |mut transfer| async move {
            Ok(transfer.next().await?.map(|piece| (piece, transfer)))
        })
        .boxed()
    }

    /// All bytes in one buffer; for a range.
    pub(super) async fn collect(&mut self) -> Result<Bytes> {
        let expected = self.end.map_or(0, |end| end.saturating_sub(self.at));
        let mut all = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.end.is_some_and(|end| self.at >= end) {
                return Ok(None);
            }
            if !self.asked {
                self.connect().await?;
            }
            let piece = match &mut self.body {
                Some(body) => body.next().await,
                None => None,
            };
            match piece {
                Some(Ok(mut piece)) => {
                    let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
                    self.skip -= skip as u64;
                    piece = piece.slice(skip..);
                    if let Some(end) = self.end {
                        let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
                        piece.truncate(left);
                    }
                    if piece.is_empty() {
                        continue;
                    }
                    self.at += piece.len() as u64;
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
                None => return Ok(None),
            }
        }
    }
}
