//! A whole life of a repository, and a fault at every single call of the store in it; then a second one at calls of the recovery.
//!
//! The life: creation, three backups, a removal, a hold, a prune that copies packs, a backup; and from the removal on once more with the log about
//! to be folded into a checkpoint. New operations belong into [`STEPS`]: changes of keys, and repair, once there are such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, Key, SnapshotId, VerifyLevel};

use super::*;

type Files = Vec<(String, Vec<u8>)>;

/// What the user of the repository knows.
#[derive(Clone, Debug, Default)]
struct Ledger {
    /// Snapshots that were acknowledged, by round.
    committed: BTreeMap<u64, SnapshotId>,
    /// Snapshots that somebody has tried to remove, and those that are gone for sure.
    touched: BTreeSet<SnapshotId>,
    removed: BTreeSet<SnapshotId>,
    held: BTreeSet<SnapshotId>,
}

type Step = fn(&Arc<dyn Store>, backup_core::Env, &mut Ledger) -> backup_core::Result<()>;

/// The life, one program run each.
const STEPS: [Step; 8] = [
    |store, env, _| {
        block_on(Repository::init_with(Arc::clone(store), &key(), env, Options::default())).map(drop)
    },
    |store, env, ledger| back_up(store, env, ledger, 0),
    |store, env, ledger| back_up(store, env, ledger, 1),
    |store, env, ledger| back_up(store, env, ledger, 2),
    |store, env, ledger| remove(store, env, ledger, 0),
    |store, env, ledger| {
        let Some(id) = ledger.committed.get(&1).copied() else { return Ok(()) };
        block_on(async { at(store, env).await?.hold(&[id]).await })?;
        ledger.held.insert(id);
        Ok(())
    },
    |store, env, _| tidy_up(store, env),
    |store, env, ledger| back_up(store, env, ledger, 3),
];
/// Where the second life begins.
const SECOND_LIFE: usize = 4;
/// Entries of the log from which on that life comes to the first checkpoint, number 64.
const ENTRIES: u64 = 61;

/// Where the programs of the recovery find their rounds.
const NEXT: u64 = 9;

async fn at(store: &Arc<dyn Store>, env: backup_core::Env) -> backup_core::Result<Repository> {
    Repository::open_with(Arc::clone(store), &key(), env, Options::default()).await
}

/// Of each round one file that all have, one that two have, one of its own.
fn contents(round: u64) -> Files {
    let file = |name: &str, len, seed| (format!("root/{name}"), noise(len, seed));
    vec![file("all", 9_000, 1), file("pair", 6_000, 10 + round / 2), file("own", 12_000, 100 + round)]
}

fn source(round: u64) -> MemorySource {
    let source = MemorySource::new("memory:life").with_concurrency(1);
    source.put_folder("root", None, "root");
    for (path, bytes) in contents(round) {
        let name = path.trim_start_matches("root/").to_owned();
        // Each source is new and counts its versions from the start: another content is another item.
        let id = format!("{name} {}", blake3::hash(&bytes));
        source.put_file(&id, Some("root"), name, bytes);
    }
    source
}

fn back_up(
    store: &Arc<dyn Store>,
    env: backup_core::Env,
    ledger: &mut Ledger,
    round: u64,
) -> backup_core::Result<()> {
    let source = source(round);
    let report = block_on(async {
        at(store, env).await?.backup(&source).full().label("round", round.to_string()).run().await
    })?;
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    ledger.committed.insert(round, report.snapshot);
    Ok(())
}

fn remove(
    store: &Arc<dyn Store>,
    env: backup_core::Env,
    ledger: &mut Ledger,
    round: u64,
) -> backup_core::Result<()> {
    let Some(id) = ledger.committed.get(&round).copied() else { return Ok(()) };
    ledger.touched.insert(id);
    block_on(async { at(store, env).await?.remove(&[id]).await })?;
    ledger.removed.insert(id);
    Ok(())
}

fn tidy_up(store: &Arc<dyn Store>, env: backup_core::Env) -> backup_core::Result<()> {
    block_on(async {
        let repo = at(store, env).await?;
        repo.prune().grace(Duration::ZERO).unused_percent(0).run().await.map(drop)
    })
}

/// The next run of every kind, as a scheduler would make it.
fn recover(store: &Arc<dyn Store>, memory: &MemoryStore, ledger: &mut Ledger) -> backup_core::Result<()> {
    if !memory.objects().contains_key(&Key::new("log/0000000000000000").unwrap()) {
        STEPS[0](store, fresh_environment(), ledger)?;
    }
    back_up(store, fresh_environment(), ledger, NEXT)?;
    tidy_up(store, fresh_environment())
}

/// A torn entry of the log stands in the way, by name; nothing is guessed. Whoever takes it away has all that was there before. True if one did.
fn untear(memory: &MemoryStore) -> bool {
    match open(memory) {
        Err(error)
            if error.kind() == ErrorKind::Corrupt
                && error.item().is_some_and(|item| item.starts_with("log/")) =>
        {
            let torn = Key::new(error.item().unwrap()).unwrap();
            let later =
                memory.objects().into_keys().filter(|key| *key >= torn && key.as_str().starts_with("log/"));
            later.for_each(|key| block_on(memory.delete(&key)).unwrap());
            true
        }
        // The very first entry was torn: nothing had been made, and the place is as good as new without it.
        Err(error) if error.kind() == ErrorKind::NotARepository => {
            let left = memory.objects().into_keys().filter(|key| key.as_str().starts_with("log/"));
            left.map(|key| block_on(memory.delete(&key)).unwrap()).count() > 0
        }
        _ => false,
    }
}

/// Everything that was acknowledged is there, and everything that is there is whole.
fn check(memory: &MemoryStore, ledger: &Ledger, context: &str) {
    let repo = open(memory).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
    // A checkpoint that was torn is said to be, and needed by nobody: the log has all of it.
    let others = report.findings.iter().filter(|finding| !finding.place.starts_with("checkpoint/"));
    assert_eq!(others.count(), 0, "{context}: {:?}", report.findings);
    let there = repo.snapshots();
    let unique: BTreeSet<_> = there.iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(unique.len(), there.len(), "{context}: a snapshot was committed twice");
    for (round, id) in &ledger.committed {
        let found = there.iter().find(|snapshot| snapshot.id == *id);
        assert!(found.is_some() || ledger.touched.contains(id), "{context}: round {round} is lost");
        assert!(found.is_none() || !ledger.removed.contains(id), "{context}: round {round} is back");
        assert!(!ledger.held.contains(id) || found.unwrap().held, "{context}: round {round} is not held");
    }
    for snapshot in there {
        let info = block_on(repo.snapshot(snapshot.id)).unwrap();
        let round: u64 = info.labels[0].1.parse().unwrap();
        let sink = MemorySink::new();
        let report = block_on(repo.restore(snapshot.id, &sink).run()).unwrap();
        assert!(report.problems.is_empty(), "{context}: {:?}", report.problems);
        let (mut found, mut expected) = (files(&sink), contents(round));
        found.sort();
        expected.sort();
        assert!(found == expected, "{context}: round {round} restores to something else");
    }
}

/// A life up to a step, with what is known of it.
struct Stage {
    first: usize,
    store: MemoryStore,
    ledger: Ledger,
}

/// One fault: at a call of a step, counted from there.
#[derive(Clone, Copy)]
struct Point {
    stage: usize,
    call: usize,
    times: usize,
    fault: Fault,
}

/// Both lives, step by step, and every point of them: each call of each step, before it, after it, and torn if it creates.
fn lives() -> (Vec<Stage>, Vec<Point>, usize) {
    let (mut stages, mut points, mut calls) = (Vec::new(), Vec::new(), 0);
    let (mut store, mut ledger) = (MemoryStore::new(), Ledger::default());
    let mut second = None;
    for (first, step) in
        (0..STEPS.len()).map(|step| (true, step)).chain((SECOND_LIFE..STEPS.len()).map(|step| (false, step)))
    {
        if first && step == SECOND_LIFE {
            let (later, ledger) = (store.fork(), ledger.clone());
            let repo = open(&later).unwrap();
            let some = [ledger.committed[&2]];
            while repo.head().number < ENTRIES {
                block_on(repo.hold(&some)).unwrap();
                block_on(repo.release(&some)).unwrap();
            }
            second = Some((later, ledger));
        }
        if !first && step == SECOND_LIFE {
            (store, ledger) = second.take().unwrap();
        }
        stages.push(Stage { first: step, store: store.fork(), ledger: ledger.clone() });
        let lengths = Lengths::new(&store);
        let arc: Arc<dyn Store> = Arc::new(lengths.clone());
        STEPS[step](&arc, env_of(step), &mut ledger).unwrap();
        let seen = lengths.seen.lock().unwrap().clone();
        calls += seen.len();
        for (call, created) in seen.into_iter().enumerate() {
            let mut faults =
                vec![Fault::Before(ErrorKind::Unavailable), Fault::After(ErrorKind::Unavailable)];
            if let Some(len) = created.filter(|len| *len > 0) {
                faults.extend([0, 1, len / 2, len - 1].map(Fault::Torn));
                faults.extend([Fault::Late(0), Fault::Late(1), Fault::Late(3), Fault::Twice]);
            }
            let stage = stages.len() - 1;
            points.extend([1, usize::MAX].into_iter().flat_map(|times| {
                faults.iter().map(move |fault| Point { stage, call, times, fault: *fault })
            }));
        }
        store = store.fork();
    }
    assert!(
        store.objects().keys().any(|key| key.as_str().starts_with("checkpoint/")),
        "the second life has a checkpoint"
    );
    (stages, points, calls)
}

/// The same randomness in every life, so that its calls and their lengths are the same up to the fault.
fn env_of(step: usize) -> backup_core::Env {
    // Far from those that `fresh_environment` counts up: names never repeat within one store.
    environment((1 << 40) + step as u64)
}

/// Lives on from a stage with a fault in it: what is stored then, what was acknowledged, and whether the fault was met.
fn live(stage: &Stage, point: &Point) -> (MemoryStore, Ledger, bool) {
    let (memory, mut ledger) = (stage.store.fork(), stage.ledger.clone());
    let store = FaultyStore::new(Arc::new(memory.clone()));
    store.inject(Operation::Any, point.call, point.times, point.fault);
    let arc: Arc<dyn Store> = Arc::new(store.clone());
    for (step, run) in STEPS.iter().enumerate().skip(stage.first) {
        let _ = run(&arc, env_of(step), &mut ledger);
        if store.counters().faults > 0 && point.times == 1 {
            // What comes after is what the recovery does.
            break;
        }
        if point.times > 1 && step > stage.first {
            break;
        }
    }
    (memory, ledger, store.counters().faults > 0)
}

/// Calls `run` with each of so many numbers, on two threads.
fn on_two_threads(count: usize, run: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    run(number);
                }
            });
        }
    });
}

#[test]
fn a_fault_at_any_call_of_a_life_loses_nothing_and_the_next_run_completes() {
    let (stages, points, calls) = lives();
    let torn = AtomicUsize::new(0);
    on_two_threads(points.len(), |number| {
        let point = &points[number];
        let Point { stage, call, times, fault } = *point;
        let context =
            format!("step {} of stage {stage}, call {call}, {times} times, {fault:?}", stages[stage].first);
        let (memory, mut ledger, met) = live(&stages[stage], point);
        assert!(met, "{context}");
        torn.fetch_add(usize::from(untear(&memory)), Ordering::Relaxed);
        if open(&memory).is_ok() {
            check(&memory, &ledger, &context);
        } else {
            assert!(ledger.committed.is_empty(), "{context}");
        }
        let arc: Arc<dyn Store> = Arc::new(memory.clone());
        recover(&arc, &memory, &mut ledger).unwrap_or_else(|error| panic!("{context}, then: {error:?}"));
        check(&memory, &ledger, &format!("{context}, then recovered"));
        let left = prune::prune(&open(&memory).unwrap());
        assert_eq!((left.stray_objects, left.unused_bytes), (0, 0), "{context}");
    });
    println!(
        "{} failure points at {calls} store calls of two lives, {torn:?} of them torn entries of the log",
        points.len()
    );
    assert!(points.len() > 1_000);
}

/// The same, with a second fault while the next run recovers from the first.
#[test]
fn a_second_fault_during_the_recovery_loses_nothing_either() {
    // Every so manieth pair of points; 1 for all of them.
    let stride =
        std::env::var("BACKUP_COMPOUND_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(997);
    let (stages, points, _) = lives();
    let firsts: Vec<_> = points
        .iter()
        .filter(|point| match point.fault {
            Fault::Before(_) => point.times > 1,
            Fault::After(_) => point.times == 1,
            Fault::Torn(len) => point.times == 1 && len > 1,
            _ => false,
        })
        .collect();
    let (pairs, tried) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on_two_threads(firsts.len(), |number| {
        let point = firsts[number];
        let (base, ledger, _) = live(&stages[point.stage], point);
        untear(&base);
        let mut call = 0;
        loop {
            let mut met = false;
            for (times, fault) in [
                (1, Fault::Before(ErrorKind::Unavailable)),
                (1, Fault::After(ErrorKind::Unavailable)),
                (usize::MAX, Fault::Before(ErrorKind::Unavailable)),
            ] {
                if !pairs.fetch_add(1, Ordering::Relaxed).is_multiple_of(stride) {
                    continue;
                }
                let (memory, mut ledger) = (base.fork(), ledger.clone());
                let store = FaultyStore::new(Arc::new(memory.clone()));
                store.inject(Operation::Any, call, times, fault);
                let arc: Arc<dyn Store> = Arc::new(store.clone());
                let _ = recover(&arc, &memory, &mut ledger);
                met |= store.counters().faults > 0;
                tried.fetch_add(usize::from(store.counters().faults > 0), Ordering::Relaxed);
                let Point { stage, call: first, .. } = *point;
                let context = format!(
                    "stage {stage}, call {first}, {:?}, then call {call}, {times} times, {fault:?}",
                    point.fault
                );
                let arc: Arc<dyn Store> = Arc::new(memory.clone());
                recover(&arc, &memory, &mut ledger)
                    .unwrap_or_else(|error| panic!("{context}, then: {error:?}"));
                check(&memory, &ledger, &context);
            }
            call += 1;
            // A recovery has fewer calls than this; with a stride, most calls are passed over.
            if !met && (stride == 1 || call > 120) {
                return;
            }
        }
    });
    println!("{tried:?} pairs of faults, of {pairs:?}");
    assert!(tried.into_inner() > 100);
}

/// A store that notes the length of what each call creates.
#[derive(Clone, Debug)]
struct Lengths {
    inner: MemoryStore,
    seen: Arc<std::sync::Mutex<Vec<Option<usize>>>>,
}

impl Lengths {
    fn new(inner: &MemoryStore) -> Self {
        Self { inner: inner.clone(), seen: Arc::default() }
    }

    fn note(&self, created: Option<usize>) {
        self.seen.lock().unwrap().push(created);
    }
}

#[async_trait::async_trait]
impl Store for Lengths {
    async fn create(&self, key: &Key, data: bytes::Bytes) -> backup_core::Result<backup_core::Created> {
        self.note(Some(data.len()));
        self.inner.create(key, data).await
    }

    async fn read(
        &self,
        key: &Key,
        range: Option<std::ops::Range<u64>>,
    ) -> backup_core::Result<bytes::Bytes> {
        self.note(None);
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> backup_core::Result<u64> {
        self.note(None);
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, backup_core::Result<backup_core::Entry>> {
        self.note(None);
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> backup_core::Result<()> {
        self.note(None);
        self.inner.delete(key).await
    }
}
