//! A restore drill: a random sample of what is stored is read as a restore reads it, and what that says of all the rest.
//!
//! Items are drawn by their number in the items trees, so that each is as likely as any other; [`crate::sampling`] draws and judges. It
//! writes nothing into the repository.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::under_way::Stored;
use super::{Browser, Repository, content};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Record, name_key, streams_of};
use crate::format::snapshot::SnapshotState;
use crate::id::SnapshotId;
use crate::item::{Item, ItemId, Tag};
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use crate::sampling;
use crate::sink::{Conflict, Place, Sink};
use crate::source::{Change, Content, Source};
use crate::tree::{self, TreeKind, rank};

/// Items that are read at the same time.
const READS: usize = 8;

/// A drill that is about to run; made by [`Repository::drill`].
#[must_use = "nothing happens before `run`"]
pub struct DrillRun<'a> {
    repository: &'a Repository,
    snapshots: Option<Vec<SnapshotId>>,
    items: Option<u64>,
    confidence: f64,
    share: f64,
    seed: Option<u64>,
    sources: Vec<&'a dyn Source>,
    sink: Option<&'a dyn Sink>,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a drill found, and what that says.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct DrillReport {
    /// The snapshots that were drawn from.
    pub snapshots: Vec<SnapshotId>,
    /// Snapshots that could not be drawn from, because they do not read. What follows does not speak of them.
    pub lost_snapshots: Vec<DrillFinding>,
    /// Items in all snapshots that were drawn from. Folders count too; an item that two snapshots share counts twice.
    pub population: u64,
    /// Items that were drawn.
    pub sampled: u64,
    /// Streams of these items.
    pub streams: u64,
    /// Bytes of these streams.
    pub bytes: u64,
    /// Bytes read from the store.
    pub bytes_fetched: u64,
    /// Items that could not be read in full.
    pub failures: Vec<DrillFinding>,
    /// Items whose content was compared with a source's.
    pub compared: u64,
    /// Items that the source has with the same tag and other content.
    pub differing: Vec<DrillFinding>,
    /// Items that the source has in another state by now, or not any more, or without a tag to tell: these were not compared.
    pub changed: Vec<DrillFinding>,
    /// What stood in the way of comparing or placing an item, and is no fault of the repository.
    pub problems: Vec<DrillFinding>,
    /// What the sample was drawn with: the same seed draws the same items again.
    pub seed: u64,
    /// How sure the following is, between 0 and 1.
    pub confidence: f64,
    /// So many of `population` are bad at most.
    pub most_bad: u64,
    /// The same as a share, between 0 and 1.
    pub most_bad_share: f64,
}

/// An item of which a drill has something to say.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DrillFinding {
    /// The snapshot that it was drawn from.
    pub snapshot: SnapshotId,
    /// Its number in the snapshot, in the order of item ids, from 0 on.
    pub number: u64,
    /// Its id, where that could be read.
    #[serde(serialize_with = "as_text")]
    pub id: Option<ItemId>,
    /// Its path, or as much as is known of it.
    pub place: String,
    /// The error's number ([`ErrorKind::code`](crate::ErrorKind::code)).
    pub code: u32,
    /// The error's line.
    pub message: String,
}

fn as_text<S: serde::Serializer>(id: &Option<ItemId>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

impl DrillReport {
    /// Items of the sample that are bad: those that could not be read, and those that differ from the source.
    #[must_use]
    pub fn bad(&self) -> u64 {
        (self.failures.len() + self.differing.len()) as u64
    }

    /// Whether nothing that was looked at is bad.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.bad() == 0 && self.lost_snapshots.is_empty()
    }
}

impl fmt::Display for DrillReport {
    /// The statement, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} items were read in full, {} of them are bad: with {} % confidence, at most {} of all are ({:.3} %)",
            self.sampled,
            self.population,
            self.bad(),
            self.confidence * 100.0,
            self.most_bad,
            self.most_bad_share * 100.0,
        )
    }
}

impl fmt::Display for DrillFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Repository {
    /// A restore drill: reads a random sample of items in full, as a restore does, and says how many of all can be bad at most; `run` starts
    /// it. Without further ado it draws from the newest snapshot of each collection as many items as it takes to be 95 % sure that, if none
    /// is bad, fewer than 1 % are.
    pub fn drill(&self) -> DrillRun<'_> {
        DrillRun {
            repository: self,
            snapshots: None,
            items: None,
            confidence: 0.95,
            share: 0.01,
            seed: None,
            sources: Vec::new(),
            sink: None,
            callback: None,
            token: CancelToken::new(),
        }
    }
}

watched! {
    DrillRun,
    /// Calls back with running totals after each item.
    on_progress,
    /// Lets `token` stop the drill between two items.
    cancel_token
}

impl<'a> DrillRun<'a> {
    /// Draws from these snapshots. The default is the newest one of each collection.
    pub fn snapshots(mut self, snapshots: &[SnapshotId]) -> Self {
        self.snapshots = Some(snapshots.to_vec());
        self
    }

    /// Draws so many items, or all if there are fewer. The default is what [`share`](Self::share) asks for.
    pub fn items(mut self, items: u64) -> Self {
        self.items = Some(items);
        self
    }

    /// How sure the result is to be, above 0 and below 1 (default 0.95).
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// Draws as many items as it takes to say, if none of them is bad, that fewer than this share are, above 0 and below 1 (default 0.01):
    /// about 3 / share of them at 95 % confidence and 4.6 / share at 99 %, however many there are.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Draws the items that an earlier drill with this seed drew from the same snapshots. The default is a random seed, which the report
    /// tells.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Compares what was drawn from snapshots of this source's collection with what the source has now, where the item's tag is the same.
    /// The source is enumerated once in full, and the streams of these items are read. May be given once for each source.
    pub fn against(mut self, source: &'a dyn Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Also puts the items that were read, but for folders, side by side into this sink, with [`Conflict::KeepBoth`]. Their content is
    /// read a second time for it.
    pub fn sink(mut self, sink: &'a dyn Sink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Runs the drill. Damage is no error: it is in the report.
    ///
    /// # Errors
    /// `InvalidArgument` for a confidence or share that is none, `NotFound` for a snapshot, `Canceled`, and a store that cannot be reached.
    pub async fn run(self) -> Result<DrillReport> {
        for part in [self.confidence, self.share] {
            if !(part > 0.0 && part < 1.0) {
                return Err(Error::invalid("confidence and share must be above 0 and below 1"));
            }
        }
        let inner = &self.repository.inner;
        let mut reporter = Reporter::new(self.callback, self.token);
        reporter.phase(Phase::Opening)?;
        inner.refresh().await?;
        // From the first byte on: what is in memory may be older than the damage.
        inner.caches.clear();
        let fetched = inner.bytes_read.load(Ordering::Relaxed);
        let seed = match self.seed {
            Some(seed) => seed,
            None => u64::from_le_bytes(inner.env.random()?),
        };
        let mut report = DrillReport { seed, confidence: self.confidence, ..DrillReport::default() };
        let browsers = open(self.repository, self.snapshots, &mut report).await?;
        report.population = browsers.iter().map(|browser| browser.snapshot.items.count()).sum();
        let wanted = self
            .items
            .unwrap_or_else(|| sampling::sample_size(report.population, self.share, self.confidence));
        let drawn = sampling::draw(report.population, wanted, seed);
        report.sampled = drawn.len() as u64;
        reporter.totals.items_total = report.sampled;
        reporter.phase(Phase::Transferring)?;
        let compared: HashSet<String> = self.sources.iter().map(|source| source.collection().id).collect();
        let sink = self.sink;
        let read = |drawn: Drawn| -> BoxFuture<'_, Looked> {
            let is_compared = compared.contains(&drawn.browser.snapshot.collection.id);
            Box::pin(async move { drawn.look(is_compared, sink).await })
        };
        let mut reads = stream::iter(Drawn::all(&browsers, drawn).map(read)).buffered(READS);
        let mut samples = Vec::new();
        while let Some(looked) = reads.next().await {
            match looked.outcome {
                Ok(Some(sample)) => samples.push(sample),
                Ok(None) => {}
                Err((finding, error)) if is_of_item(&error) => {
                    report.failures.push(finding);
                    reporter.totals.problems += 1;
                }
                Err((_, error)) => return Err(error),
            }
            report.streams += looked.streams;
            report.bytes += looked.bytes;
            report.problems.extend(looked.problem);
            reporter.totals.items_done += 1;
            reporter.totals.bytes_done = report.bytes;
            reporter.totals.bytes_stored = inner.bytes_read.load(Ordering::Relaxed).saturating_sub(fetched);
            reporter.report()?;
        }
        for source in self.sources {
            compare(&inner.env, source, &samples, &mut report, &mut reporter).await?;
        }
        if let Some(sink) = sink {
            sink.finish().await?;
        }
        report.bytes_fetched = inner.bytes_read.load(Ordering::Relaxed).saturating_sub(fetched);
        report.most_bad =
            sampling::most_bad(report.population, report.sampled, report.bad(), self.confidence);
        if report.population > 0 {
            report.most_bad_share = report.most_bad as f64 / report.population as f64;
        }
        let _ = reporter.phase(Phase::Done);
        Ok(report)
    }
}

impl fmt::Debug for DrillRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrillRun")
            .field("snapshots", &self.snapshots)
            .field("items", &self.items)
            .field("confidence", &self.confidence)
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

/// Whether an error says something about the item, and not about the store or the run.
fn is_of_item(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::Throttled
            | ErrorKind::Unauthenticated
            | ErrorKind::Canceled
            | ErrorKind::OutOfSpace
            | ErrorKind::Bug
    )
}

/// Opens the snapshots to draw from; the newest of each collection, if none are given.
async fn open(
    repository: &Repository,
    snapshots: Option<Vec<SnapshotId>>,
    report: &mut DrillReport,
) -> Result<Vec<Browser>> {
    let ids = snapshots.unwrap_or_else(|| {
        let state = repository.inner.state();
        let mut seen = HashSet::new();
        let whole = state.snapshots.iter().rev().filter(|named| named.state != SnapshotState::Checkpoint);
        let newest = whole.filter(|named| seen.insert(named.collection.id.clone()));
        newest.map(|named| named.id()).collect()
    });
    let mut browsers = Vec::new();
    for id in ids {
        if report.snapshots.contains(&id) {
            continue;
        }
        match repository.browse(id).await {
            Ok(browser) => {
                report.snapshots.push(id);
                browsers.push(browser);
            }
            Err(error) if error.kind() != ErrorKind::NotFound && is_of_item(&error) => {
                report.lost_snapshots.push(finding(id, 0, None, format!("snapshot {id}"), &error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(browsers)
}

fn finding(
    snapshot: SnapshotId,
    number: u64,
    id: Option<ItemId>,
    place: String,
    error: &Error,
) -> DrillFinding {
    DrillFinding { snapshot, number, id, place, code: error.kind().code(), message: error.to_string() }
}

/// An item that has been drawn and not been looked at.
struct Drawn {
    browser: Browser,
    number: u64,
}

/// What became of it.
struct Looked {
    outcome: Result<Option<Sample>, (DrillFinding, Error)>,
    streams: u64,
    bytes: u64,
    problem: Option<DrillFinding>,
}

/// An item that was read and is to be compared.
struct Sample {
    snapshot: SnapshotId,
    collection: String,
    number: u64,
    id: ItemId,
    place: String,
    tag: Tag,
    /// Nobody says that its content is what the source had.
    doubtful: bool,
    streams: Vec<(String, Digest)>,
}

/// Length and hash.
type Digest = (u64, blake3::Hash);

impl Drawn {
    /// Finds the snapshots of numbers that count through all of them.
    fn all(browsers: &[Browser], drawn: Vec<u64>) -> impl Iterator<Item = Self> {
        drawn.into_iter().filter_map(move |mut number| {
            for browser in browsers {
                let count = browser.snapshot.items.count();
                if number < count {
                    return Some(Self { browser: browser.clone(), number });
                }
                number -= count;
            }
            None
        })
    }

    async fn look(self, is_compared: bool, sink: Option<&dyn Sink>) -> Looked {
        let snapshot = self.browser.snapshot.id;
        let mut looked = Looked { outcome: Ok(None), streams: 0, bytes: 0, problem: None };
        let mut place = format!("item {} of snapshot {snapshot}", self.number);
        let mut id = None;
        match self.read(is_compared, sink, &mut looked, &mut id, &mut place).await {
            Ok(sample) => looked.outcome = Ok(sample),
            Err(error) => {
                let finding = finding(snapshot, self.number, id, place, &error);
                looked.outcome = Err((finding, error));
            }
        }
        looked
    }

    async fn read(
        &self,
        is_compared: bool,
        sink: Option<&dyn Sink>,
        looked: &mut Looked,
        found_id: &mut Option<ItemId>,
        place: &mut String,
    ) -> Result<Option<Sample>> {
        let (inner, snapshot) = (&self.browser.inner, &self.browser.snapshot);
        let entry = rank::nth(&**inner, TreeKind::Items, snapshot.items, self.number).await?;
        let entry = entry.ok_or_else(|| Error::bug("an item was drawn that is not there"))?;
        let id = ItemId::from(&*entry.key);
        *found_id = Some(id.clone());
        let record = Record::decode(&entry.value)?;
        // What is above it is looked at for its path only: it need not be whole for the item to be read.
        *place = self.browser.path(&id).await.unwrap_or_else(|_| record.name.to_string());
        let key = name_key::of(record.parent.as_ref(), &record.name, &id);
        if tree::find(&**inner, TreeKind::Names, snapshot.names, &key).await?.is_none() {
            return Err(Error::corrupt("an item has no name in the names tree").with_item(id.to_string()));
        }
        let details = content::details(inner, record.details.as_ref()).await?;
        let (tag, doubtful) = (record.tag.clone(), record.inconsistent);
        let (mut item, mut streams) = record.into_item(id.clone(), details);
        if let Some(holder) = &item.hard_link {
            streams = self.browser.record(holder).await?.streams;
            item.streams = streams_of(&streams);
        }
        let mut digests = Vec::with_capacity(streams.len());
        for (name, stored) in &streams {
            let content = content::read(Arc::clone(inner), stored.clone(), 0..stored.len)?;
            let digest = digest(is_compared.then_some(&inner.env), content).await?;
            if digest.0 != stored.len {
                return Err(Error::corrupt(format!(
                    "the stream {name:?} has another length than its item says"
                )));
            }
            looked.streams += 1;
            looked.bytes += digest.0;
            digests.push((name.clone(), digest));
        }
        if let Some(sink) = sink.filter(|_| !item.kind.is_container()) {
            let contents = Stored { inner: Arc::clone(inner), streams };
            let put = sink.put(&item, Place::new(None, Conflict::KeepBoth, None), &contents).await;
            let error = match put {
                Ok(placement) => placement.problems.into_iter().next(),
                Err(error) if is_of_item(&error) => Some(error),
                Err(error) => return Err(error),
            };
            looked.problem =
                error.map(|error| finding(snapshot.id, self.number, Some(id.clone()), place.clone(), &error));
        }
        Ok(is_compared.then(|| Sample {
            snapshot: snapshot.id,
            collection: snapshot.collection.id.clone(),
            number: self.number,
            id,
            place: place.clone(),
            tag,
            doubtful: doubtful || item.hard_link.is_some(),
            streams: digests,
        }))
    }
}

/// Reads a stream to its end; its hash only if there are workers for that.
async fn digest(env: Option<&Env>, mut content: Content<'_>) -> Result<Digest> {
    let (mut len, mut hasher) = (0, blake3::Hasher::new());
    while let Some(piece) = content.bytes.next().await {
        let piece = piece?;
        len += piece.len() as u64;
        if let Some(env) = env {
            let hash = move || {
                hasher.update(&piece);
                Ok(hasher)
            };
            hasher = env.run(hash).await?;
        }
    }
    Ok((len, hasher.finalize()))
}

/// Compares the samples of a source's collection with what it has now.
async fn compare(
    env: &Env,
    source: &dyn Source,
    samples: &[Sample],
    report: &mut DrillReport,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    let collection = source.collection().id;
    let samples: Vec<&Sample> = samples.iter().filter(|sample| sample.collection == collection).collect();
    if samples.is_empty() {
        return Ok(());
    }
    let wanted: HashSet<&ItemId> = samples.iter().map(|sample| &sample.id).collect();
    let mut there: HashMap<ItemId, Result<Item, Error>> = HashMap::new();
    let mut changes = source.changes(None);
    while let Some(change) = changes.next().await {
        reporter.check()?;
        match change? {
            Change::Reset => there.clear(),
            Change::Upsert(item) | Change::UpsertWith(item, _) if wanted.contains(&item.id) => {
                there.insert(item.id.clone(), Ok(item));
            }
            Change::Remove(id) => drop(there.remove(&id)),
            Change::Unreadable(problem) => {
                if let Some(id) = problem.id.filter(|id| wanted.contains(id)) {
                    there.insert(id, Err(problem.error));
                }
            }
            Change::Upsert(_) | Change::UpsertWith(..) | Change::Cursor(_) => {}
        }
    }
    drop(changes);
    for sample in samples {
        reporter.check()?;
        let say = |error: &Error| {
            finding(sample.snapshot, sample.number, Some(sample.id.clone()), sample.place.clone(), error)
        };
        let changed = |what: &str| say(&Error::new(ErrorKind::NotFound, what));
        let item = match there.get(&sample.id) {
            Some(Ok(item)) => item,
            Some(Err(error)) => {
                report.problems.push(say(error));
                continue;
            }
            None => {
                report.changed.push(changed("the source has no such item any more"));
                continue;
            }
        };
        let names = item.streams.iter().map(|stream| &stream.name);
        if sample.doubtful || !names.eq(sample.streams.iter().map(|(name, _)| name)) {
            report
                .changed
                .push(changed("the source has other streams, or the content was in doubt from the first"));
            continue;
        }
        if !sample.streams.is_empty() && (item.tag.is_empty() || item.tag != sample.tag) {
            report.changed.push(changed("the source has another version of the item"));
            continue;
        }
        match differs(env, source, item, &sample.streams).await {
            Ok(None) => report.compared += 1,
            Ok(Some(stream)) => {
                report.compared += 1;
                let message =
                    format!("the source has other bytes in the stream {stream:?}, with the same tag");
                report.differing.push(say(&Error::new(ErrorKind::SourceMismatch, message)));
            }
            Err(error) if error.kind() == ErrorKind::Canceled => return Err(error),
            Err(error) => report.problems.push(say(&error)),
        }
    }
    Ok(())
}

/// The first stream that the source has with other bytes.
async fn differs(
    env: &Env,
    source: &dyn Source,
    item: &Item,
    streams: &[(String, Digest)],
) -> Result<Option<String>> {
    for (name, stored) in streams {
        let content = source.open(item, name).await?;
        if digest(Some(env), content).await? != *stored {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}
