//! Writers, removals and prunes of one repository, mixed call by call in thousands of orders. A seed replays its order.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use backup_core::testkit::{Operation, Yielding, interleave};
use backup_core::{ErrorKind, Key, SnapshotId, VerifyLevel};
use futures_core::future::BoxFuture;

use super::orders::{Found, Life, Search, search};
use super::*;

/// What random orders and faults are made of: a small generator whose every number is a function of the seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn throw(&mut self, below: usize) -> usize {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % below
    }
}

/// Three files: one that all collections have, one of its own, one that two have.
fn contents(number: u64, round: u64) -> [u64; 3] {
    [round, 100 + number, 1_000 + 10 * round + number / 2]
}

fn source(number: u64, round: u64) -> MemorySource {
    let source = MemorySource::new(format!("memory:{number}")).with_concurrency(1);
    for seed in contents(number, round) {
        source.put_file(&format!("{seed}"), None, format!("{seed}"), noise(2_000, seed));
    }
    source
}

/// A repository with two snapshots of each of two collections.
pub(super) fn beginning() -> MemoryStore {
    let store = MemoryStore::new();
    let repo = init(&store);
    for round in 0..2 {
        for number in 0..2 {
            block_on(repo.backup(&source(number, round)).full().run()).unwrap();
        }
    }
    // Up to the first checkpoint: then opening reads few entries, whose signatures are most of its cost.
    let all: Vec<_> = repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    while repo.head().number < 64 {
        block_on(repo.hold(&all)).unwrap();
        block_on(repo.release(&all)).unwrap();
    }
    assert!(store.objects().keys().any(|key| key.as_str().starts_with("checkpoint/")));
    store
}

/// What a run did: nothing, or a snapshot of collection `number` as of `round`.
pub(super) type Outcome = backup_core::Result<Option<(SnapshotId, u64, u64)>>;

/// Every call of the store is a step.
pub(super) fn everything(_: Operation, _: &Key) -> bool {
    true
}

pub(super) fn on(store: &MemoryStore, yields: fn(Operation, &Key) -> bool) -> Arc<dyn Store> {
    Arc::new(Yielding::only(Arc::new(store.clone()), yields))
}

pub(super) async fn opened(store: Arc<dyn Store>) -> backup_core::Result<Repository> {
    Repository::open_with(store, &key(), fresh_environment(), Options::default()).await
}

pub(super) async fn write(repo: Repository, number: u64, round: u64) -> Outcome {
    let source = source(number, round);
    let report = repo.backup(&source).full().run().await?;
    Ok(Some((report.snapshot, number, round)))
}

pub(super) async fn tidy(repo: Repository, keep: usize, grace: Duration) -> Outcome {
    let all: Vec<_> = repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    repo.remove(&all[..all.len().saturating_sub(keep)]).await?;
    repo.prune().grace(grace).unused_percent(0).run().await?;
    Ok(None)
}

/// A check that takes what a prune does under it for damage would be of no use.
pub(super) async fn verify(repo: Repository) -> Outcome {
    let report = repo.verify(VerifyLevel::EveryByte).run().await?;
    assert!(report.is_sound(), "{:?}", report.findings);
    Ok(None)
}

/// Whatever happened: what is in use is whole and what it was, and another prune leaves nothing over.
pub(super) fn check(
    store: &MemoryStore,
    outcomes: &[Outcome],
    level: VerifyLevel,
    context: &dyn std::fmt::Display,
) {
    for outcome in outcomes {
        match outcome {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Fenced => {}
            // What was about to be read was condemned and deleted.
            Err(error) if error.kind() == ErrorKind::Missing => {}
            Err(error) => panic!("{context}: {error:?}"),
        }
    }
    let repo = open(store).unwrap();
    let report = block_on(repo.verify(level).run()).unwrap();
    assert!(report.is_sound(), "{context}: {:?}", report.findings);
    let left: Vec<_> = repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    for (id, number, round) in outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied().flatten())
    {
        if left.contains(&id) {
            let sink = MemorySink::new();
            block_on(repo.restore(id, &sink).run()).unwrap();
            let found: std::collections::BTreeMap<_, _> = files(&sink).into_iter().collect();
            let expected = contents(number, round)
                .into_iter()
                .map(|seed| (seed.to_string(), noise(2_000, seed)))
                .collect();
            assert!(found == expected, "{context}: {:?}", found.keys());
        }
    }
}

/// So many orders of four runs, all calls of the store being steps.
fn random_orders(seeds: std::ops::Range<u64>) {
    let beginning = beginning();
    let (mut fenced, mut steps, mut committed) = (0, 0u64, 0);
    for seed in seeds {
        let (store, mut dice) = (beginning.fork(), Dice(seed));
        let grace = Duration::from_secs([0, 0, 60][dice.throw(3)]);
        let mut runs: Vec<BoxFuture<'_, Outcome>> = Vec::new();
        // What was there before and is removed meanwhile; what is there; what is new.
        for (number, round) in [(0, 0), (1, 1), (2, 2)].into_iter().take(1 + dice.throw(3)) {
            let store = on(&store, everything);
            runs.push(Box::pin(async move { write(opened(store).await?, number, round).await }));
        }
        for _ in 0..=dice.throw(2) {
            let (store, keep) = (on(&store, everything), dice.throw(3));
            runs.push(Box::pin(async move { tidy(opened(store).await?, keep, grace).await }));
        }
        if dice.throw(4) == 0 {
            let store = on(&store, everything);
            runs.push(Box::pin(async move { verify(opened(store).await?).await }));
        }
        // Now and then somebody sleeps for long.
        let mut asleep = usize::MAX;
        let outcomes = interleave(runs, |going| {
            steps += 1;
            if dice.throw(40) == 0 {
                asleep = dice.throw(going + 1);
            }
            match dice.throw(going) {
                chosen if chosen == asleep && going > 1 => chosen + 1,
                chosen => chosen,
            }
        });
        let is_fenced = |outcome: &&Outcome| outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::Fenced);
        fenced += outcomes.iter().filter(is_fenced).count();
        committed += outcomes.iter().filter(|outcome| matches!(outcome, Ok(Some(_)))).count();
        check(&store, &outcomes, VerifyLevel::EveryByte, &format_args!("seed {seed}"));
    }
    println!("{steps} steps; {committed} backups committed, {fenced} runs fenced");
}

#[test]
fn whatever_the_order_of_writers_and_prunes_nothing_is_lost() {
    let seeds = std::env::var("BACKUP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(10_000);
    random_orders(0..seeds);
}

/// The order of these calls is what decides: when a run begins, when it adds to the log, when it deletes. What else a run does, it does
/// between two of them, and no other run sees more of it than that it is done.
fn decides(operation: Operation, key: &Key) -> bool {
    match operation {
        Operation::Create => key.as_str().starts_with("log/"),
        // The order of deletes among themselves does not.
        Operation::Delete => key.as_str().starts_with("snapshot/"),
        _ => false,
    }
}

/// A prune beside so many writers.
struct Contest {
    beginning: MemoryStore,
    /// As all runs find it when they begin.
    opened: Repository,
    writers: usize,
    /// Whether the prune removes snapshots itself, or what is removed has been so before.
    removes: bool,
    /// States of the store that have been looked at: many orders end in the same one, to the byte.
    ends: Mutex<HashSet<blake3::Hash>>,
}

impl Contest {
    fn new(writers: usize, removes: bool) -> Self {
        let beginning = beginning();
        if !removes {
            block_on(async {
                let repo = opened(Arc::new(beginning.clone())).await.unwrap();
                let all: Vec<_> = repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
                repo.remove(&all[..3]).await.unwrap();
            });
        }
        let opened = open(&beginning).unwrap();
        Self { beginning, opened, writers, removes, ends: Mutex::default() }
    }

    fn search(&self, name: &str, how: Search) -> Found {
        let found = search(self, &self.beginning, how);
        let (ends, Found { orders, asleep, steps, all }) = (self.ends.lock().unwrap().len(), found);
        let which = if all { "which are all" } else { "of more" };
        println!(
            "{name}: {orders} orders of up to {steps} steps, {which}; {ends} states at the end; {asleep} given up as equal to others"
        );
        found
    }
}

impl Life for Contest {
    type Outcome = Outcome;

    fn runs(
        &self,
        _: &MemoryStore,
        through: &mut dyn FnMut() -> Arc<dyn Store>,
    ) -> Vec<BoxFuture<'static, Outcome>> {
        // Object names are the same in every order: each has a store of its own, and so has each run's randomness.
        let mut opened = |seed| backup_core::testkit::over(&self.opened, through(), environment(seed));
        let keep = if self.removes { 1 } else { usize::MAX };
        let mut runs: Vec<BoxFuture<'static, Outcome>> =
            vec![Box::pin(tidy(opened(101), keep, Duration::ZERO))];
        // The first needs what the prune takes away, the second has packs of its own that a prune may take for strays.
        for (seed, number, round) in [(102, 0, 0), (103, 2, 2)].into_iter().take(self.writers) {
            runs.push(Box::pin(write(opened(seed), number, round)));
        }
        runs
    }

    fn check(&self, store: &MemoryStore, outcomes: &[Outcome], order: &dyn std::fmt::Display) {
        let mut end = blake3::Hasher::new();
        for (key, bytes) in store.objects() {
            end.update(key.as_str().as_bytes()).update(&bytes);
        }
        end.update(format!("{outcomes:?}").as_bytes());
        if self.ends.lock().unwrap().insert(end.finalize()) {
            check(store, outcomes, VerifyLevel::Structure, order);
        }
    }
}

#[test]
fn every_order_of_a_writer_and_a_prune_keeps_everything() {
    let how = Search { yields: decides, sleep: false, most: usize::MAX, threads: 1 };
    let found = Contest::new(1, true).search("a writer and a prune, calls that decide", how);
    assert!(found.all && found.orders > 100);
    let how = Search { yields: everything, sleep: true, most: usize::MAX, threads: 2 };
    let found = Contest::new(1, true).search("a writer and a prune, all calls", how);
    assert!(found.all && found.orders > 100);
}

/// Orders of the calls that decide, from all over: there are more than anybody waits for. `BACKUP_ORDERS` says how many of them.
#[test]
fn ninety_thousand_orders_of_two_writers_and_a_prune_keep_everything() {
    let most = std::env::var("BACKUP_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(90_000);
    let how = Search { yields: decides, sleep: false, most, threads: 2 };
    let found = Contest::new(2, true).search("two writers and a prune, calls that decide", how);
    assert!(found.all || found.orders >= most);
    let how = Search { yields: everything, sleep: true, most: most / 45, threads: 2 };
    let found = Contest::new(2, true).search("two writers and a prune, all calls", how);
    assert!(found.all || found.orders >= most / 45);
}
