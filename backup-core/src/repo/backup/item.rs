//! One item: what of it is known already, and reading the rest.

use super::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ContentRef, Record, check_attributes, encode_attributes};
use crate::format::snapshot::Root;
use crate::item::{Item, ItemId, Stream};
use crate::limits;
use crate::repo::session::Failure;
use crate::repo::staging::Step;
use crate::source::Problem;
use crate::tree::{self, TreeKind};

/// How often a stream is read that changes while it is read, or does not match what was announced.
const ATTEMPTS: u32 = 3;

/// What became of an item.
pub(super) struct Outcome {
    pub(super) step: Step,
    pub(super) problem: Option<Problem>,
    /// The snapshot will not have the item: it could not be read, and was not there before or is gone.
    pub(super) lost: bool,
    /// The content is doubtful as it was before, with the same bytes: that is what the source has.
    pub(super) believed: bool,
    /// The item is a hard link of this one.
    pub(super) link_of: Option<ItemId>,
}

/// An item's streams as stored, and the doubts that the source had to the last.
struct Streams {
    contents: Vec<(String, ContentRef)>,
    doubt: Option<Error>,
    /// The doubt is an old one, about the same bytes.
    believed: bool,
}

impl Run<'_> {
    /// Reads an item as far as it is not known. Only what concerns the whole run is an error.
    pub(super) async fn read_item(&self, item: Item) -> Result<Outcome> {
        if let Err(error) = item
            .validate()
            .and_then(|()| check_attributes(&item.attributes))
            .and_then(|()| check_attributes(&item.details))
        {
            return Ok(failed(&item, None, error));
        }
        let base = self.record(self.bases.items(), &item).await?;
        let failed = |error| Ok(failed(&item, base.as_ref(), error));
        let hint = match self.bases.hints() {
            Some(hints) => self.record(hints, &item).await?,
            None => None,
        };
        let known = [&base, &hint].into_iter().flatten().find(|record| has_same_streams(record, &item));
        let streams = match known {
            Some(record) => Streams { contents: record.streams.clone(), doubt: None, believed: false },
            None => match self.read_streams(&item, &[&base, &hint]).await {
                Ok(streams) => streams,
                Err(Failure::Source(error)) => return failed(error),
                Err(Failure::Engine(error)) => return Err(error),
            },
        };
        let details = match item.details.is_empty() {
            true => None,
            false => {
                let bytes = encode_attributes(&item.details);
                if bytes.len() > limits::DETAILS_BYTES_MAX {
                    return failed(Error::limit("details of an item exceed 8 MiB"));
                }
                Some(self.session.put_details(bytes).await?)
            }
        };
        let mut record = Record::new(&item, details, streams.contents);
        record.inconsistent = streams.doubt.is_some();
        let problem =
            streams.doubt.map(|error| Problem::new(Some(item.id.clone()), item.name.to_string(), error));
        let step = if base.as_ref() == Some(&record) {
            Step::Keep
        } else {
            match record.encode() {
                Ok(bytes) => Step::Put(bytes),
                Err(error) => return failed(error),
            }
        };
        Ok(Outcome { step, problem, lost: false, believed: streams.believed, link_of: item.hard_link })
    }

    async fn record(&self, root: Root, item: &Item) -> Result<Option<Record>> {
        let value = tree::find(self.inner, TreeKind::Items, root, item.id.as_bytes()).await?;
        value.as_deref().map(Record::decode).transpose()
    }

    /// Reads the item's streams, but for immutable ones that one of the `known` records has.
    async fn read_streams(&self, item: &Item, known: &[&Option<Record>]) -> Result<Streams, Failure> {
        let mut attempt = 1;
        loop {
            let contents = Vec::with_capacity(item.streams.len());
            let mut streams = Streams { contents, doubt: None, believed: false };
            for stream in &item.streams {
                if let Some(content) = known.iter().copied().flatten().find_map(|old| kept(old, stream)) {
                    streams.contents.push((stream.name.clone(), content));
                    continue;
                }
                let seen = |len| self.tick(|totals| totals.bytes_done += len);
                let (content, doubt) = match self.source.open_blocking(item, &stream.name) {
                    Some(content) => self.session.put_blocking(content, seen).await?,
                    None => {
                        let content = self.source.open(item, &stream.name).await.map_err(Failure::Source)?;
                        self.session.put_content(content, seen).await?
                    }
                };
                streams.contents.push((stream.name.clone(), content));
                streams.doubt = streams.doubt.or(doubt);
            }
            let is_same = |old: &Record| old.inconsistent && old.streams == streams.contents;
            streams.believed = streams.doubt.is_some() && known.iter().copied().flatten().any(is_same);
            if streams.doubt.is_none() || streams.believed || attempt == ATTEMPTS {
                return Ok(streams);
            }
            attempt += 1;
        }
    }
}

/// Keeps what the last snapshot has of the item, and reports it. What has vanished is not kept.
fn failed(item: &Item, base: Option<&Record>, error: Error) -> Outcome {
    let gone = error.kind() == ErrorKind::NotFound;
    let problem = Some(Problem::new(Some(item.id.clone()), item.name.to_string(), error));
    let step = if gone { Step::Remove } else { Step::Keep };
    Outcome { step, problem, lost: gone || base.is_none(), believed: false, link_of: None }
}

/// What a record has of a stream whose bytes never change. Another length than announced means that they did.
fn kept(record: &Record, stream: &Stream) -> Option<ContentRef> {
    let (_, content) = record.streams.iter().find(|(name, _)| *name == stream.name)?;
    let same = stream.immutable && !record.inconsistent && stream.size.is_none_or(|size| size == content.len);
    same.then(|| content.clone())
}

/// Whether the streams of a record are those of the item, so that they need not be read.
fn has_same_streams(record: &Record, item: &Item) -> bool {
    let names = record.streams.iter().map(|(name, _)| name);
    !record.inconsistent
        && record.hard_link == item.hard_link
        && names.eq(item.streams.iter().map(|stream| &stream.name))
        && (item.streams.is_empty() || !item.tag.is_empty() && record.tag == item.tag)
}
