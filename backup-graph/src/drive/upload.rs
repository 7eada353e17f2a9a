//! One large file on its way out: an upload session, its ranges, and going on after a fault.

use backup_core::{Content, Contents, Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::sink::{DriveSink, Outcome, Target, Written, behavior, is_same};
use super::wire::{DriveItem, FileSystemInfo};
use crate::client::Call;
use crate::hash::QuickXorHash;
use crate::limits::{UPLOAD_ATTEMPTS_MAX, UPLOAD_RESTARTS_MAX};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    upload_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    next_expected_ranges: Vec<String>,
}

/// How a session went.
enum End {
    Complete(Box<DriveItem>, bool, QuickXorHash),
    Taken(QuickXorHash),
    /// The session is gone, perhaps because it completed and the answer was lost.
    Lost(QuickXorHash),
}

/// What became of one range.
enum Range {
    /// The service expects this byte next.
    Next(u64),
    Complete(Box<DriveItem>, bool),
    Taken,
    Lost,
}

impl DriveSink {
    pub(super) async fn write_large(
        &self,
        target: Target<'_>,
        contents: &dyn Contents,
        total: u64,
    ) -> Result<Outcome> {
        let mut restarts = 0;
        loop {
            let session = self.begin(target, total).await?;
            let end = self.send(&session.upload_url, target.stream, contents, total).await;
            match end {
                Ok(End::Complete(item, new, sent)) => {
                    return Ok(Outcome::Written(Box::new(Written { item, new, sent })));
                }
                Ok(End::Taken(sent)) => return Ok(Outcome::Taken((restarts > 0).then_some(sent))),
                Ok(End::Lost(sent)) => {
                    if sent.length() == total
                        && let Some(item) = self.look_up(target.parent, target.name).await?
                        && is_same(&item, &sent)
                    {
                        return Ok(Outcome::Written(Box::new(Written {
                            item: Box::new(item),
                            new: true,
                            sent,
                        })));
                    }
                    restarts += 1;
                    if restarts > UPLOAD_RESTARTS_MAX {
                        return Err(Error::new(
                            ErrorKind::Unavailable,
                            "the service lost the upload several times",
                        ));
                    }
                }
                Err(error) => {
                    // Leaves nothing half done behind; a session that cannot be ended expires by itself.
                    let _ = self
                        .client
                        .call_elsewhere(Call::new(Method::DELETE, session.upload_url).once())
                        .await;
                    return Err(error);
                }
            }
        }
    }

    async fn begin(&self, target: Target<'_>, total: u64) -> Result<Session> {
        let mut item = json!({
            "@microsoft.graph.conflictBehavior": behavior(target.conflict),
            "name": target.name,
            "fileSize": total,
        });
        if let Some(info) = FileSystemInfo::of(target.item.times) {
            item["fileSystemInfo"] = json!(info);
        }
        let address = target.address(&self.drive);
        let call = Call::new(Method::POST, format!("{address}/createUploadSession"));
        self.client.json(call.json(&json!({ "item": item }))?.present()).await
    }

    async fn send(&self, url: &str, stream: &str, contents: &dyn Contents, total: u64) -> Result<End> {
        let mut content = contents.open(stream)?;
        let mut sent = QuickXorHash::new();
        let mut buffer: Vec<u8> = Vec::with_capacity(self.range_bytes);
        let mut rest = Bytes::new();
        loop {
            while buffer.len() < self.range_bytes {
                if rest.is_empty() {
                    match content.bytes.next().await {
                        Some(piece) => rest = piece?,
                        None => break,
                    }
                }
                let piece = rest.split_to(rest.len().min(self.range_bytes - buffer.len()));
                buffer.extend_from_slice(&piece);
            }
            let start = sent.length();
            sent.update(&buffer);
            let at_end = buffer.len() < self.range_bytes || sent.length() >= total;
            // The last range completes the file: before it is sent, nothing more may come.
            let more = at_end && (!rest.is_empty() || has_more(&mut content).await?);
            if buffer.is_empty() || more || (at_end && sent.length() != total) {
                return Err(Error::new(ErrorKind::SourceMismatch, "the content is not as long as announced"));
            }
            let range = Bytes::from(std::mem::replace(&mut buffer, Vec::with_capacity(self.range_bytes)));
            match self.send_range(url, start, range, total).await? {
                Range::Next(_) => {}
                Range::Complete(item, new) => return Ok(End::Complete(item, new, sent)),
                Range::Taken => return Ok(End::Taken(sent)),
                Range::Lost => return Ok(End::Lost(sent)),
            }
        }
    }

    /// Sends one range until the service has all of it.
    async fn send_range(&self, url: &str, start: u64, range: Bytes, total: u64) -> Result<Range> {
        let end = start + range.len() as u64;
        let mut from = start;
        let mut attempt = 1;
        loop {
            let skip = usize::try_from(from - start).unwrap_or(range.len());
            let next = match self.put(url, from, range.slice(skip..), total).await {
                Ok(next) => next,
                Err(error) => {
                    // Whether it arrived is not known: the session knows.
                    if attempt >= UPLOAD_ATTEMPTS_MAX {
                        return Err(error);
                    }
                    self.client.pause(attempt, error).await?;
                    self.status(url).await?
                }
            };
            attempt += 1;
            match next {
                // Everything there but no file: the session will not complete any more.
                Range::Next(next) if next >= total => return Ok(Range::Lost),
                Range::Next(next) if next == end => return Ok(Range::Next(next)),
                Range::Next(next) if (start..end).contains(&next) && attempt <= UPLOAD_ATTEMPTS_MAX => {
                    from = next
                }
                // It wants bytes that are not here any more, or makes no progress.
                Range::Next(_) => return Ok(Range::Lost),
                other => return Ok(other),
            }
        }
    }

    async fn put(&self, url: &str, from: u64, bytes: Bytes, total: u64) -> Result<Range> {
        let last = from + bytes.len() as u64 - 1;
        let range = HeaderValue::from_str(&format!("bytes {from}-{last}/{total}"))
            .map_err(|error| Error::new(ErrorKind::Bug, "a range is no header").with_source(error))?;
        // Length and range are all that a session wants; a token would make it refuse.
        let call =
            Call::new(Method::PUT, url).bytes(bytes, HeaderValue::from_static("application/octet-stream"));
        let reply = self.client.call_elsewhere(call.header(header::CONTENT_RANGE, range).once()).await?;
        match reply.status() {
            StatusCode::ACCEPTED => Ok(Range::Next(next_of(&reply.json::<Status>().await?, total))),
            StatusCode::OK | StatusCode::CREATED => {
                let new = reply.status() == StatusCode::CREATED;
                Ok(Range::Complete(reply.json().await?, new))
            }
            StatusCode::CONFLICT => Ok(Range::Taken),
            // The address is its own permission: refused is expired.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Range::Lost),
            StatusCode::RANGE_NOT_SATISFIABLE => self.status(url).await,
            _ => Err(reply.into_error().await),
        }
    }

    async fn status(&self, url: &str) -> Result<Range> {
        let reply = self.client.call_elsewhere(Call::new(Method::GET, url)).await?;
        match reply.status() {
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Range::Lost),
            _ => Ok(Range::Next(next_of(&reply.success().await?.json::<Status>().await?, total_unknown()))),
        }
    }
}

async fn has_more(content: &mut Content<'_>) -> Result<bool> {
    while let Some(piece) = content.bytes.next().await {
        if !piece?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first byte that is missing; without one, everything is there.
fn next_of(status: &Status, total: u64) -> u64 {
    let first = status.next_expected_ranges.first().and_then(|range| range.split('-').next()?.parse().ok());
    first.unwrap_or(total)
}

/// A status without missing bytes: past any end.
const fn total_unknown() -> u64 {
    u64::MAX
}
