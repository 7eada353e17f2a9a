//! One item: what of it is known already, and reading the rest.

use bytes::Bytes;

use super::Run;
use super::reading::Named;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{
    ContentRef, Outline, Record, check_attributes, encode_attributes, encode_record, is_record_of,
};
use crate::format::snapshot::Root;
use crate::item::{Item, ItemId, Stream};
use crate::limits;
use crate::repo::session::Failure;
use crate::repo::staging::Step;
use crate::source::{Content, Problem};
use crate::tree::{self, Found, Leaf, TreeKind};

/// How often a stream is read that changes while it is read, or does not match what was announced.
const ATTEMPTS: u32 = 3;

/// Items found in one leaf that say that the next ones will be found together too.
const NEIGHBOURS: u32 = 3;

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
    /// Where the last snapshot has the item: entries of its tree that lie before it.
    pub(super) rank: Option<u64>,
}

/// An item's streams as stored, and the doubts that the source had to the last.
struct Streams {
    contents: Vec<(String, ContentRef)>,
    doubt: Option<Error>,
    /// The doubt is an old one, about the same bytes.
    believed: bool,
}

impl Outcome {
    /// The last snapshot has all of the item.
    pub(super) fn unchanged(item: &Item, rank: Option<u64>) -> Self {
        let link_of = item.hard_link.clone();
        Self { step: Step::Keep, problem: None, lost: false, believed: false, link_of, rank }
    }
}

/// What the last snapshot has of an item: its record, encoded, and how many entries of its tree lie before it.
struct Base {
    rank: u64,
    value: Bytes,
}

impl From<Found<'_>> for Base {
    fn from(found: Found<'_>) -> Self {
        Self { rank: found.rank, value: found.value.clone() }
    }
}

/// The leaf of the last snapshot's tree that an item was looked for in. Sources name items in some order, mostly: then those that follow are
/// there too, and are compared with what is there at once.
#[derive(Default)]
pub(super) struct Nearby {
    /// With the number of items that were found without a way through the tree.
    leaf: Option<(Leaf, u32)>,
    /// Leaves that items wait for.
    awaited: usize,
}

impl Nearby {
    /// What the last snapshot has of a key, if it is in reach.
    fn find(&mut self, key: &[u8]) -> Option<Option<Found<'_>>> {
        let (leaf, found) = self.leaf.as_mut().filter(|(leaf, _)| leaf.covers(key))?;
        *found = found.saturating_add(1);
        Some(leaf.find(key))
    }

    /// Whether an item should wait for the leaf that another one waits for. Where the order of items is not that of the tree, it would wait for
    /// nothing.
    pub(super) fn is_worth_waiting(&self) -> bool {
        self.awaited > 0 && self.leaf.as_ref().is_some_and(|(_, found)| *found >= NEIGHBOURS)
    }
}

impl Run<'_> {
    /// Reads an item as far as it is not known. Only what concerns the whole run is an error.
    ///
    /// What few items need is boxed: each item takes memory for all of this future.
    pub(super) async fn read_item(&self, named: Named) -> Result<Outcome> {
        let item = &named.item;
        if let Err(error) = check(item).and_then(|()| check_given(&named)) {
            return Ok(failed(item, false, error));
        }
        let base = self.base(item).await?;
        let rank = base.as_ref().map(|base| base.rank);
        let value = base.as_ref().map(|base| &*base.value);
        if let Some(value) = value
            && is_record_of(value, item)?
        {
            return Ok(Outcome::unchanged(item, rank));
        }
        let failed = |error| Ok(Outcome { rank, ..failed(item, base.is_some(), error) });
        let base = match value {
            Some(value) if may_have_streams(&Outline::of(value)?, item) => Some(Record::decode(value)?),
            _ => None,
        };
        let hint = match self.bases.hints() {
            Some(hints) => Box::pin(self.record(hints, item)).await?,
            None => None,
        };
        let known = [&base, &hint].into_iter().flatten().find(|record| has_same_streams(record, item));
        let streams = match known {
            Some(record) => Streams { contents: record.streams.clone(), doubt: None, believed: false },
            None => match self.read_streams(&named, &[&base, &hint]).await {
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
                Some(Box::pin(self.session.put_details(bytes)).await?)
            }
        };
        let doubtful = streams.doubt.is_some();
        let step = match encode_record(item, details.as_ref(), &streams.contents, doubtful) {
            Ok(record) if value == Some(&record) => Step::Keep,
            Ok(record) => Step::Put(record),
            Err(error) => return failed(error),
        };
        let problem =
            streams.doubt.map(|error| Problem::new(Some(item.id.clone()), item.name.to_string(), error));
        Ok(Outcome {
            step,
            problem,
            lost: false,
            believed: streams.believed,
            link_of: item.hard_link.clone(),
            rank,
        })
    }

    /// Whether the last snapshot has just this item, if that can be said at once; then where.
    pub(super) fn unchanged(&self, item: &Item) -> Result<Option<u64>> {
        let mut nearby = self.nearby();
        let Some(found) = nearby.find(item.id.as_bytes()).flatten() else { return Ok(None) };
        Ok((is_record_of(found.value, item)? && check(item).is_ok()).then_some(found.rank))
    }

    /// What the last snapshot has of the item.
    async fn base(&self, item: &Item) -> Result<Option<Base>> {
        let key = item.id.as_bytes();
        if let Some(found) = self.nearby().find(key) {
            return Ok(found.map(Base::from));
        }
        self.nearby().awaited += 1;
        let leaf = Box::pin(Leaf::of(self.inner, TreeKind::Items, self.bases.items(), key)).await;
        let mut nearby = self.nearby();
        nearby.awaited -= 1;
        Ok(match leaf? {
            Some(leaf) => nearby.leaf.insert((leaf, 0)).0.find(key).map(Base::from),
            None => None,
        })
    }

    async fn record(&self, root: Root, item: &Item) -> Result<Option<Record>> {
        let value = tree::find(self.inner, TreeKind::Items, root, item.id.as_bytes()).await?;
        value.as_deref().map(Record::decode).transpose()
    }

    /// Reads the item's streams, but for immutable ones that one of the `known` records has.
    async fn read_streams(&self, named: &Named, known: &[&Option<Record>]) -> Result<Streams, Failure> {
        let item = &named.item;
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
                let (content, doubt) = if let Some(bytes) = named.given(&stream.name) {
                    Box::pin(self.session.put_content(Content::from_bytes(bytes.clone()), seen)).await?
                } else if let Some(content) = self.source.open_blocking(item, &stream.name) {
                    self.session.put_blocking(content, seen).await?
                } else {
                    let content = self.source.open(item, &stream.name).await.map_err(Failure::Source)?;
                    Box::pin(self.session.put_content(content, seen)).await?
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

/// Whether the format can hold the item.
fn check(item: &Item) -> Result<()> {
    item.validate()?;
    check_attributes(&item.attributes)?;
    check_attributes(&item.details)
}

/// Whether all bytes that came with an item belong to one of its streams.
fn check_given(named: &Named) -> Result<()> {
    match named.given.iter().find(|(name, _)| named.item.stream(name).is_none()) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::new(ErrorKind::InvalidArgument, "an item came with bytes of a stream that it has not")
                .with_item(name))
        }
    }
}

/// Keeps what the last snapshot has of the item, and reports it. What has vanished is not kept.
fn failed(item: &Item, in_base: bool, error: Error) -> Outcome {
    let gone = error.kind() == ErrorKind::NotFound;
    let problem = Some(Problem::new(Some(item.id.clone()), item.name.to_string(), error));
    let step = if gone { Step::Remove } else { Step::Keep };
    Outcome { step, problem, lost: gone || !in_base, believed: false, link_of: None, rank: None }
}

/// What a record has of a stream whose bytes never change. Another length than announced means that they did.
fn kept(record: &Record, stream: &Stream) -> Option<ContentRef> {
    let (_, content) = record.streams.iter().find(|(name, _)| *name == stream.name)?;
    let same = stream.immutable && !record.inconsistent && stream.size.is_none_or(|size| size == content.len);
    same.then(|| content.clone())
}

/// Whether a record may have one of the item's streams, or doubts about them.
fn may_have_streams(record: &Outline<'_>, item: &Item) -> bool {
    record.inconsistent
        || record.tag == item.tag.as_bytes()
        || item.streams.is_empty()
        || item.streams.iter().any(|stream| stream.immutable)
}

/// Whether the streams of a record are those of the item, so that they need not be read.
fn has_same_streams(record: &Record, item: &Item) -> bool {
    let names = record.streams.iter().map(|(name, _)| name);
    !record.inconsistent
        && record.hard_link == item.hard_link
        && names.eq(item.streams.iter().map(|stream| &stream.name))
        && (item.streams.is_empty() || !item.tag.is_empty() && record.tag == item.tag)
}
