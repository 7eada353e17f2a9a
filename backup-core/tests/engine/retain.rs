//! Retention carried out: decided by the store's time and the order of the log, whatever writers say.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use backup_core::testkit::FixedClock;
use backup_core::{
    Created, Env, ErrorKind, InlineWorkers, Key, LabelMatch, Reason, Retained, Retention, SnapshotId,
    Timestamp,
};
use bytes::Bytes;
use futures_util::StreamExt;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A store that knows when each object was created.
#[derive(Clone, Debug)]
pub(super) struct Dated {
    inner: MemoryStore,
    pub(super) clock: FixedClock,
    pub(super) times: Arc<Mutex<BTreeMap<Key, Timestamp>>>,
    hidden: Arc<Mutex<Option<Key>>>,
}

impl Dated {
    pub(super) fn new() -> Self {
        let clock = FixedClock::new(Timestamp::new(1_790_000_000, 0));
        Self { inner: MemoryStore::new(), clock, times: Arc::default(), hidden: Arc::default() }
    }

    /// One of its own with the same objects, at the same time.
    pub(super) fn fork(&self) -> Self {
        use backup_core::Clock;
        let clock = FixedClock::new(self.clock.now());
        let times = Arc::new(Mutex::new(self.times.lock().unwrap().clone()));
        Self { inner: self.inner.fork(), clock, times, hidden: Arc::default() }
    }
}

#[async_trait::async_trait]
impl Store for Dated {
    async fn create(&self, key: &Key, data: Bytes) -> backup_core::Result<Created> {
        let created = self.inner.create(key, data).await?;
        if created == Created::New {
            use backup_core::Clock;
            self.times.lock().unwrap().insert(key.clone(), self.clock.now());
        }
        Ok(created)
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> backup_core::Result<Bytes> {
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> backup_core::Result<u64> {
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, backup_core::Result<backup_core::Entry>> {
        let (times, hidden) = (self.times.lock().unwrap().clone(), self.hidden.lock().unwrap().clone());
        let entries = self.inner.list(prefix).map(move |entry| {
            let entry = entry?;
            let time = times[&entry.key];
            Ok(entry.with_modified(time))
        });
        let shown = move |entry: &backup_core::Result<backup_core::Entry>| {
            let hide = entry.as_ref().is_ok_and(|entry| Some(&entry.key) == hidden.as_ref());
            std::future::ready(!hide)
        };
        Box::pin(entries.filter(shown))
    }

    async fn delete(&self, key: &Key) -> backup_core::Result<()> {
        self.inner.delete(key).await
    }
}

/// A repository on it whose writer's clock runs as the writer likes.
fn repository(store: &Dated) -> (Repository, FixedClock) {
    let writers = FixedClock::new(Timestamp::new(1_790_000_000, 0));
    let entropy = Arc::new(backup_core::testkit::SeededEntropy::new(5));
    let env = Env::new(Arc::new(writers.clone()), entropy, Arc::new(InlineWorkers::new()));
    let arc: Arc<dyn Store> = Arc::new(store.clone());
    (block_on(Repository::init_with(arc, &key(), env, Options::default())).unwrap(), writers)
}

fn daily(keep: u32) -> Retention {
    let mut retention = Retention::default();
    (retention.daily, retention.floor_days) = (keep, 0);
    retention
}

fn kept(retained: &[Retained]) -> Vec<SnapshotId> {
    let all = retained.iter().flat_map(|retained| &retained.decisions);
    all.filter(|decision| decision.keep).map(|decision| decision.id).collect()
}

fn ids(repo: &Repository) -> Vec<SnapshotId> {
    repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect()
}

#[test]
fn the_stores_time_decides_and_a_rehearsal_is_the_real_thing() {
    let store = Dated::new();
    let (repo, writers) = repository(&store);
    let source = sample();
    for day in 0..6u64 {
        source.put_file("a", Some("docs"), "a.txt", format!("day {day}"));
        // The writer's clock goes backwards, by a year a day.
        backup_whole(&repo, &source);
        store.clock.advance(DAY);
        writers.set(Timestamp::new(1_790_000_000 - 31_536_000 * i64::try_from(day).unwrap(), 0));
    }
    let all = ids(&repo);
    let rules = [("memory:sample", &daily(2))];
    let rehearsed = block_on(repo.decide(&rules)).unwrap();
    assert_eq!(ids(&repo), all, "a rehearsal removes nothing");
    assert_eq!(kept(&rehearsed), all[4..]);
    let done = block_on(repo.retain(&rules)).unwrap();
    assert_eq!(done, rehearsed);
    assert_eq!(ids(&repo), all[4..]);
    assert_eq!(ids(&open_on(Arc::new(store.clone())).unwrap()), all[4..]);
    let again = block_on(repo.retain(&rules)).unwrap();
    assert_eq!(kept(&again), all[4..], "doing it twice removes nothing more");
    assert!(block_on(repo.retain(&[("elsewhere", &daily(1))])).unwrap()[0].decisions.is_empty());
}

#[test]
fn labels_holds_and_suspicions_reach_the_decision() {
    let store = Dated::new();
    let (repo, _) = repository(&store);
    let source = MemorySource::new("memory:sample");
    for item in 0..40 {
        source.put_file(&format!("f{item}"), None, format!("f{item}"), "well");
    }
    let mut all = Vec::new();
    for day in 0..6 {
        // On the last two days somebody has encrypted everything.
        for item in (0..40).filter(|_| day >= 4) {
            source.put_file(&format!("f{item}"), None, format!("f{item}"), format!("encrypted {day}"));
        }
        let mut run = repo.backup(&source);
        if day == 0 {
            run = run.label("case", "17");
        }
        all.push(block_on(run.run()).unwrap().snapshot);
        store.clock.advance(DAY);
    }
    block_on(repo.hold(&all[1..2])).unwrap();
    assert_eq!(repo.snapshots().iter().filter(|snapshot| snapshot.suspicious).count(), 2);
    let retention = daily(1).with_label(LabelMatch::named("case"));
    let retained = block_on(repo.retain(&[("memory:sample", &retention)])).unwrap();
    // The last clean day counts as the newest; the suspicious ones stay because they are newer than it.
    assert_eq!(ids(&repo), [all[0], all[1], all[3], all[4], all[5]]);
    let reasons: Vec<_> = retained[0].decisions.iter().map(|decision| decision.reasons.clone()).collect();
    assert!(reasons[0].contains(&Reason::Label) && reasons[1].contains(&Reason::Held), "{reasons:?}");
    assert!(
        reasons[3].contains(&Reason::NewestClean) && reasons[5].contains(&Reason::NewerThanClean),
        "{reasons:?}"
    );
}

#[test]
fn a_snapshot_that_a_listing_leaves_out_is_kept() {
    let store = Dated::new();
    let (repo, _) = repository(&store);
    let source = sample();
    for day in 0..4 {
        source.put_file("a", Some("docs"), "a.txt", format!("day {day}"));
        backup_whole(&repo, &source);
        store.clock.advance(DAY);
    }
    let all = ids(&repo);
    *store.hidden.lock().unwrap() = Some(Key::new(format!("snapshot/{}", all[0])).unwrap());
    block_on(repo.retain(&[("memory:sample", &daily(1).with_within_days(1))])).unwrap();
    assert_eq!(ids(&repo), [all[0], all[3]]);
}

#[test]
fn a_wrong_retention_removes_nothing() {
    let store = Dated::new();
    let (repo, _) = repository(&store);
    backup_whole(&repo, &sample());
    let mut retention = daily(1);
    retention.utc_offset_minutes = 100_000;
    let error =
        block_on(repo.retain(&[("memory:sample", &daily(1)), ("memory:sample", &retention)])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(ids(&repo).len(), 1);
}

/// What is young by the store's time is left alone, and goes once it is old.
#[test]
fn the_grace_of_a_prune_is_counted_by_the_stores_time() {
    let store = Dated::new();
    let (repo, writers) = repository(&store);
    let source = sample();
    backup_whole(&repo, &source);
    source.put_file("top", Some("root"), "top.bin", noise(300_000, 3));
    backup_whole(&repo, &source);
    block_on(repo.remove(&ids(&repo)[..1])).unwrap();
    let packs = || store.inner.objects().into_keys().filter(|key| key.as_str().starts_with("pack/")).count();
    let before = packs();
    let prune = || block_on(repo.prune().unused_percent(0).run()).unwrap();
    let young = prune();
    assert_eq!((young.dead_packs, young.copied_packs, young.deleted_objects), (0, 0, 0));
    writers.advance(DAY);
    let old = prune();
    assert!(old.dead_packs + old.copied_packs > 0 && old.deleted_objects > 0, "{old:?}");
    assert!(packs() >= before, "condemned, and not deleted yet");
    writers.advance(DAY);
    let deleted = prune();
    assert!(deleted.deleted_objects > 0 && packs() < before + 2, "{deleted:?}");
    let sink = restored(&repo);
    assert!(files(&sink).contains(&("root/top.bin".into(), noise(300_000, 3))));
}
