//! A repository that nobody can delete: locks that hold for as long as they must, whoever attacks, and a way back.

use std::collections::BTreeMap;
use std::time::Duration;

use backup_core::store::{LockMode, Protection};
use backup_core::testkit::{Fault, FaultyStore, FixedClock, LockingStore, Operation, SeededEntropy};
use backup_core::{
    CancelToken, Clock, Control, Env, Error, ErrorKind, ExtendReport, InlineWorkers, Key, Phase, SnapshotId,
    Timestamp, VerifyLevel,
};

use super::prune::{files_of, ids, library, meanwhile, put};
use super::*;

type Files = Vec<(String, Vec<u8>)>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A store that locks, and the clock that it shares with those who write.
struct World {
    clock: FixedClock,
    store: LockingStore,
}

impl World {
    fn new() -> Self {
        let clock = FixedClock::new(Timestamp::new(1_800_000_000, 0));
        let store = LockingStore::new(Arc::new(clock.clone()));
        Self { clock, store }
    }

    fn env(&self) -> Env {
        static SEED: AtomicU64 = AtomicU64::new(5_000_000);
        let entropy = SeededEntropy::new(SEED.fetch_add(1, Ordering::Relaxed));
        Env::new(Arc::new(self.clock.clone()), Arc::new(entropy), Arc::new(InlineWorkers::new()))
    }

    fn init(&self) -> Repository {
        let store = Arc::new(self.store.clone());
        block_on(Repository::init_with(store, &key(), self.env(), Options::default())).unwrap()
    }

    fn protected(&self) -> Repository {
        let repo = self.init();
        block_on(repo.protect(MONTH)).unwrap();
        repo
    }

    fn open_on(&self, store: Arc<dyn Store>) -> backup_core::Result<Repository> {
        block_on(Repository::open_with(store, &key(), self.env(), Options::default()))
    }

    fn open(&self) -> Repository {
        self.open_on(Arc::new(self.store.clone())).unwrap()
    }

    fn as_of(&self, time: Timestamp) -> backup_core::Result<Repository> {
        let mut options = Options::default();
        options.as_of = Some(time);
        block_on(Repository::open_with(Arc::new(self.store.clone()), &key(), self.env(), options))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What is left at `time` if everything that is not locked until then is deleted as soon as it can be.
    fn survivors(&self, time: Timestamp) -> Repository {
        let left = MemoryStore::new();
        for (name, locked) in self.store.locks() {
            if locked >= Some(time) {
                left.overwrite(name.clone(), block_on(self.store.read(&name, None)).unwrap());
            }
        }
        self.open_on(Arc::new(left)).unwrap()
    }
}

fn plus(time: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::new(time.seconds() + i64::try_from(wait.as_secs()).unwrap(), time.nanos())
}

fn extend(repo: &Repository) -> ExtendReport {
    block_on(repo.extend_locks().run()).unwrap()
}

fn prune_at_once(repo: &Repository) -> backup_core::PruneReport {
    block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run()).unwrap()
}

#[test]
fn everything_is_locked_by_the_request_that_creates_it() {
    let world = World::new();
    let repo = world.init();
    let source = sample();
    backup_whole(&repo, &source);
    assert!(world.store.locks().values().all(Option::is_none));
    assert_eq!((repo.protection(), repo.locked_until(), repo.locks_due()), (None, None, false));

    block_on(repo.protect(MONTH)).unwrap();
    assert_eq!(repo.protection(), Some(MONTH));
    assert_eq!(repo.locked_until(), Some(plus(world.now(), MONTH + 10 * DAY)));
    assert!(world.store.locks().values().all(|lock| *lock >= repo.locked_until()), "all that was there");

    world.clock.advance(DAY);
    source.put_file("new", Some("root"), "new", noise(5_000, 9));
    let report = backup_whole(&world.open(), &source);
    assert!(!report.locks_due && report.locked_until == repo.locked_until(), "{report:?}");
    let locks = world.store.locks();
    assert!(locks.values().all(Option::is_some), "{locks:?}");
    let newest = locks.values().max().unwrap();
    assert_eq!(*newest, Some(plus(world.now(), MONTH + 11 * DAY)));
}

#[test]
fn no_lock_is_extended_before_it_is_due_and_each_once_a_generation() {
    let world = World::new();
    let repo = world.protected();
    let source = sample();
    let mut sets = Vec::new();
    for day in 0..60 {
        source.put_file("daily", Some("root"), "daily", noise(3_000, 100 + day));
        backup_whole(&repo, &source);
        let report = extend(&repo);
        assert!(!repo.locks_due());
        assert!(repo.locked_until() >= Some(plus(world.now(), MONTH)));
        if report.extended_objects > 0 {
            sets.push(day);
            assert!(report.extended_objects <= world.store.locks().len() as u64, "{report:?}");
        }
        assert!(report.tampered.is_empty());
        world.clock.advance(DAY);
    }
    assert_eq!(sets, [10, 20, 30, 40, 50], "days on which locks were made longer");
}

/// Backups, removals, prunes and extensions in random order, as time passes.
fn life(seed: u64, daily: bool) {
    let entropy = SeededEntropy::new(seed);
    let random = move |below: u64| {
        let mut bytes = [0; 8];
        backup_core::Entropy::fill(&entropy, &mut bytes).unwrap();
        u64::from_le_bytes(bytes) % below
    };
    let world = World::new();
    let source = library();
    let mut repo = world.init();
    backup_whole(&repo, &source);
    block_on(repo.protect(MONTH)).unwrap();
    // Of every snapshot its files, and until when it was promised to be locked.
    let mut expected: BTreeMap<SnapshotId, (Files, Timestamp)> = BTreeMap::new();
    let first = ids(&repo)[0];
    expected.insert(first, (files_of(&repo, first), plus(world.now(), MONTH)));
    let mut restored = 0;
    for step in 0..90 {
        world.clock.advance(Duration::from_secs(random(18 * 3_600)));
        if daily || random(15) == 0 {
            extend(&repo);
        }
        match random(10) {
            0..=4 => {
                // Old content comes back, so that old packs are relied on again.
                put(&source, random(10), random(14));
                let report = backup_whole(&repo, &source);
                let promised = plus(world.now(), MONTH);
                let promised = if daily { promised } else { promised.min(report.locked_until.unwrap()) };
                assert!(
                    report.locks_due || report.locked_until >= Some(plus(world.now(), MONTH)),
                    "{report:?}"
                );
                expected.insert(report.snapshot, (files_of(&repo, report.snapshot), promised));
            }
            5 | 6 => {
                let all = ids(&repo);
                if all.len() > 2 {
                    let gone = all[usize::try_from(random(all.len() as u64 - 1)).unwrap()];
                    block_on(repo.remove(&[gone])).unwrap();
                    expected.remove(&gone);
                }
            }
            7 | 8 => drop(prune_at_once(&repo)),
            _ => repo = world.open(),
        }
        if step % 5 != 0 {
            continue;
        }
        for (id, (files, promised)) in &expected {
            // With extensions in time, all that lives is locked ahead all the time.
            let time = if daily { plus(world.now(), MONTH - DAY).max(*promised) } else { *promised };
            let left = world.survivors(time);
            assert_eq!(files_of(&left, *id), *files, "seed {seed}, step {step}");
            restored += 1;
        }
    }
    assert!(restored > 30, "{restored}");
}

#[test]
fn whatever_lives_is_locked_for_the_period_after_its_commit() {
    (0..4).for_each(|seed| life(seed, true));
}

#[test]
fn without_extensions_in_time_the_report_says_until_when_a_snapshot_is_locked() {
    (100..104).for_each(|seed| life(seed, false));
}

#[test]
fn who_deletes_everything_with_every_right_has_deleted_nothing() {
    let world = World::new();
    let repo = world.protected();
    let source = library();
    for round in 0..3 {
        put(&source, round, 1_000 + round);
        backup_whole(&repo, &source);
        world.clock.advance(DAY);
    }
    let expected: Vec<_> = ids(&repo).into_iter().map(|id| (id, files_of(&repo, id))).collect();
    let before = world.now();
    world.clock.advance(DAY);

    let (deleted, withstood) = world.store.attack();
    // Four are what the probe before the creation has left: two objects, and what hides them.
    assert!(deleted == 4 && withstood > 10, "{deleted} deleted, {withstood} withstood");
    let refused = world.open_on(Arc::new(world.store.clone())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotARepository);

    let back = world.as_of(before).unwrap();
    assert_eq!(ids(&back), expected.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    for (id, files) in &expected {
        assert_eq!(files_of(&back, *id), *files);
    }
    let report = block_on(back.verify(VerifyLevel::EveryByte).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);

    // It is read-only, whatever is tried.
    let kind = |result: Result<(), Error>| result.unwrap_err().kind();
    let id = expected[0].0;
    assert_eq!(kind(block_on(back.backup(&source).run()).map(drop)), ErrorKind::PermissionDenied);
    assert_eq!(kind(block_on(back.remove(&[id]))), ErrorKind::PermissionDenied);
    assert_eq!(kind(block_on(back.hold(&[id]))), ErrorKind::PermissionDenied);
    assert_eq!(kind(block_on(back.prune().run()).map(drop)), ErrorKind::PermissionDenied);
    assert_eq!(kind(block_on(back.extend_locks().run()).map(drop)), ErrorKind::PermissionDenied);
    assert_eq!(kind(block_on(back.protect(DAY))), ErrorKind::PermissionDenied);

    // From an earlier time on there is less.
    let first_day = Timestamp::new(before.seconds() - 2 * 24 * 3_600 - 1, 0);
    assert_eq!(world.as_of(first_day).unwrap().snapshots().len(), 1);
    assert_eq!(world.as_of(Timestamp::new(0, 0)).unwrap_err().kind(), ErrorKind::NotARepository);
}

#[test]
fn a_weaker_store_is_read_and_not_written_to() {
    let strong = || Protection::new(true, true);
    let weak = [
        (Protection::new(false, true), "versions"),
        (Protection::new(true, false), "lock objects"),
        (strong().with_default(LockMode::Governance, 2 * MONTH), "governance"),
        (strong().with_default(LockMode::Compliance, MONTH - DAY), "shorter"),
    ];
    let world = World::new();
    let repo = world.protected();
    let source = sample();
    let id = backup_whole(&repo, &source).snapshot;
    let files = files_of(&repo, id);
    source.put_file("more", Some("root"), "more", "more");
    for (protection, word) in weak {
        world.store.set_protection(protection);
        let before = world.store.locks();
        let repo = world.open();
        let refusals = [
            block_on(repo.backup(&source).run()).map(drop),
            block_on(repo.remove(&[id])),
            block_on(repo.hold(&[id])),
            block_on(repo.prune().run()).map(drop),
            block_on(repo.extend_locks().run()).map(drop),
            block_on(repo.protect(MONTH * 2)),
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsafeStore, "{error:?}");
            assert!(error.message().contains(word) && !error.is_retryable(), "{error:?}");
        }
        assert_eq!(world.store.locks(), before, "nothing was written");
        assert_eq!(files_of(&repo, id), files, "reading goes on");
    }
    for protection in [strong(), strong().with_default(LockMode::Compliance, MONTH)] {
        world.store.set_protection(protection);
        backup_whole(&world.open(), &source);
    }
    // Who gives the policy up may go on anywhere.
    world.store.set_protection(Protection::new(false, false));
    let repo = world.open();
    block_on(repo.protect(Duration::ZERO)).unwrap();
    assert_eq!((repo.protection(), repo.locked_until()), (None, None));
    source.put_file("unlocked", Some("root"), "unlocked", "unlocked");
    backup_whole(&repo, &source);
}

#[test]
fn stores_that_cannot_lock_or_only_pretend_to_get_no_policy() {
    let repo = init(&MemoryStore::new());
    assert_eq!(block_on(repo.protect(DAY)).unwrap_err().kind(), ErrorKind::UnsafeStore);
    assert_eq!(repo.protection(), None);

    let world = World::new();
    let repo = world.init();
    world.store.ignore_locks();
    let error = block_on(repo.protect(DAY)).unwrap_err();
    assert!(error.kind() == ErrorKind::UnsafeStore && error.message().contains("it is not"), "{error:?}");
    assert_eq!(world.open().protection(), None);
    let error = block_on(repo.protect(40_000 * DAY)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);

    // One that begins to pretend later is found out by the first object of whoever opens it.
    let world = World::new();
    let repo = world.protected();
    world.store.ignore_locks();
    let error = block_on(world.open().backup(&sample()).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsafeStore);
    block_on(repo.refresh()).unwrap();
    assert!(repo.snapshots().is_empty());
}

#[test]
fn a_clock_that_is_not_the_stores_is_found_out() {
    for off in [-25 * 3_600, -3_700, 3_700, 24 * 3_600 * 365 * 70] {
        let world = World::new();
        world.protected();
        let clock = FixedClock::new(Timestamp::new(world.now().seconds() + off, 0));
        let entropy = SeededEntropy::new(9_000_000 + u64::try_from(off + 100_000).unwrap());
        let env = Env::new(Arc::new(clock), Arc::new(entropy), Arc::new(InlineWorkers::new()));
        let store = Arc::new(world.store.clone());
        let repo = block_on(Repository::open_with(store, &key(), env, Options::default())).unwrap();
        let error = block_on(repo.backup(&sample()).run()).unwrap_err();
        assert!(error.kind() == ErrorKind::UnsafeStore && error.message().contains("clock"), "{error:?}");
        assert!(world.open().snapshots().is_empty());
    }
}

#[test]
fn a_prune_of_locked_objects_frees_nothing_loses_nothing_and_frees_it_in_time() {
    let world = World::new();
    let repo = world.protected();
    let source = library();
    backup_whole(&repo, &source);
    (0..10).for_each(|file| put(&source, file, 500 + file));
    backup_whole(&repo, &source);
    let all = ids(&repo);
    let files = files_of(&repo, all[1]);
    block_on(repo.remove(&all[..1])).unwrap();
    let before = world.store.bytes_kept();

    let report = prune_at_once(&repo);
    assert!(report.locked_objects > 0 && report.deleted_objects == 0, "{report:?}");
    assert!(world.store.bytes_kept() >= before, "nothing was freed");
    assert!(world.store.locks().len() > 5, "and nothing hidden");
    assert_eq!(files_of(&world.open(), all[1]), files);

    // The extension leaves alone what is condemned, so that its lock ends.
    for _ in 0..42 {
        world.clock.advance(DAY);
        extend(&repo);
    }
    let report = prune_at_once(&repo);
    assert!(report.deleted_objects > 0, "{report:?}");
    assert!(
        world.store.bytes_kept() + 400_000 <= before + 20_000,
        "{} of {before}",
        world.store.bytes_kept()
    );
    assert_eq!(files_of(&world.open(), all[1]), files);
    let report = block_on(world.open().verify(VerifyLevel::EveryByte).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[test]
fn a_run_that_began_before_the_policy_or_takes_long_locks_what_it_has_stored_before_it_commits() {
    for policy_first in [false, true] {
        let world = World::new();
        let repo = world.init();
        if policy_first {
            block_on(repo.protect(MONTH)).unwrap();
        }
        let inner = sample_with_many();
        let observed = Observed::new(&inner, |opened| {
            if opened == 30 {
                if policy_first {
                    world.clock.advance(9 * DAY);
                } else {
                    meanwhile(|| block_on(world.open().protect(MONTH)).unwrap());
                }
            }
        });
        let report = backup(&repo, &observed);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let time = plus(world.now(), MONTH);
        let left = world.survivors(time);
        assert_eq!(files_of(&left, report.snapshot), files_of(&repo, report.snapshot));
        assert!(report.locked_until >= Some(time), "{report:?}");
    }
}

#[test]
fn a_prune_in_the_middle_of_which_a_policy_is_set_locks_what_it_has_copied() {
    let world = World::new();
    let repo = world.init();
    let source = library();
    for round in 0..3 {
        put(&source, round, 1_000 + round);
        backup_whole(&repo, &source);
    }
    let all = ids(&repo);
    let files = files_of(&repo, all[2]);
    block_on(repo.remove(&all[..2])).unwrap();
    let mut set = false;
    let run = repo.prune().grace(Duration::ZERO).unused_percent(0).on_progress(|progress| {
        if progress.phase == Phase::Transferring && !std::mem::replace(&mut set, true) {
            meanwhile(|| block_on(world.open().protect(MONTH)).unwrap());
        }
        Control::Continue
    });
    let report = block_on(run.run()).unwrap();
    assert!(set && report.copied_packs > 0, "{report:?}");
    let left = world.survivors(plus(world.now(), MONTH));
    assert_eq!(files_of(&left, all[2]), files);
}

/// More than fits into the packs that are open, so that some are stored while the rest is still read.
fn sample_with_many() -> MemorySource {
    let source = MemorySource::new("memory:many").with_concurrency(1);
    source.put_folder("root", None, "root");
    for file in 0..40 {
        source.put_file(&format!("f{file}"), Some("root"), format!("f{file}"), noise(1 << 20, 7_000 + file));
    }
    source
}

#[test]
fn what_is_committed_while_locks_are_extended_is_not_left_out() {
    let world = World::new();
    let repo = world.protected();
    let source = library();
    backup_whole(&repo, &source);
    world.clock.advance(10 * DAY);
    let mut others = 0;
    let run = repo.extend_locks().on_progress(|_| {
        if others < 3 {
            others += 1;
            put(&source, 0, 700 + others);
            meanwhile(|| drop(backup_whole(&world.open(), &source)));
        }
        Control::Continue
    });
    let report = block_on(run.run()).unwrap();
    assert!(others > 1, "{others}");
    let left = world.survivors(report.locked_until.unwrap());
    for id in ids(&left) {
        assert_eq!(files_of(&left, id).len(), 10);
    }
    assert_eq!(ids(&left).len(), 1 + usize::try_from(others).unwrap());
}

#[test]
fn an_extension_that_fails_anywhere_is_made_good_by_the_next() {
    let count = {
        let (world, faulty) = due();
        let repo = world.open_on(Arc::new(faulty.clone())).unwrap();
        let before = faulty.counters().calls();
        extend(&repo);
        faulty.counters().calls() - before
    };
    assert!(count > 20, "{count}");
    for nth in 0..count {
        for fault in [Fault::Before(ErrorKind::Unavailable), Fault::After(ErrorKind::Unavailable)] {
            let (world, faulty) = due();
            let repo = world.open_on(Arc::new(faulty.clone())).unwrap();
            faulty.inject(Operation::Any, faulty.counters().calls() + nth, 1, fault);
            let first = block_on(repo.extend_locks().run());
            let claimed = world.open().locked_until();
            let left = world.survivors(claimed.unwrap());
            assert_eq!(left.snapshots().len(), 2, "call {nth}: what the log says is so");
            let again = extend(&world.open());
            assert!(again.locked_until >= Some(plus(world.now(), MONTH + 10 * DAY)), "call {nth}: {first:?}");
            assert_eq!(world.survivors(again.locked_until.unwrap()).snapshots().len(), 2);
        }
    }
}

/// A repository whose locks are due, behind a store that can fail.
fn due() -> (World, FaultyStore) {
    let world = World::new();
    let repo = world.protected();
    let source = sample();
    backup_whole(&repo, &source);
    source.put_file("b", Some("docs"), "b.txt", "gamma");
    backup_whole(&repo, &source);
    world.clock.advance(10 * DAY);
    assert!(world.open().locks_due());
    let faulty = FaultyStore::new(Arc::new(world.store.clone()));
    (world, faulty)
}

#[test]
fn of_an_object_that_was_written_over_or_hidden_the_first_version_stays_locked() {
    let world = World::new();
    let repo = world.protected();
    let id = backup_whole(&repo, &library()).snapshot;
    let files = files_of(&repo, id);
    let before = world.now();
    world.clock.advance(DAY);
    let locks = world.store.locks();
    let mut packs = locks.keys().filter(|name| name.as_str().starts_with("pack/"));
    let (over, hidden): (&Key, &Key) = (packs.next().unwrap(), packs.next().unwrap());
    world.store.overwrite(over, noise(1_000, 1).into());
    block_on(world.store.delete(hidden)).unwrap();
    world.clock.advance(9 * DAY);

    let mut expected = vec![over.to_string(), hidden.to_string()];
    expected.sort_unstable();
    assert_eq!(extend(&repo).tampered, expected);
    // Longer than the first locks lasted.
    world.clock.advance(MONTH + 5 * DAY);
    let (_, withstood) = world.store.attack();
    assert!(withstood > 5, "{withstood}");
    assert_eq!(files_of(&world.as_of(before).unwrap(), id), files);
}

#[test]
fn an_object_that_is_gone_is_reported_and_the_rest_locked() {
    let world = World::new();
    let repo = world.init();
    backup_whole(&repo, &library());
    let name = world.store.locks().into_keys().find(|name| name.as_str().starts_with("pack/")).unwrap();
    let store: &dyn backup_core::store::Immutable = world.store.immutable().unwrap();
    let version = block_on(futures_util::TryStreamExt::try_collect::<Vec<_>>(store.versions(&name))).unwrap();
    block_on(store.delete_version(&name, &version[0].id)).unwrap();
    let error = block_on(repo.protect(MONTH)).unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Missing, Some(name.as_str())));
    assert!(world.store.locks().values().all(|lock| *lock >= Some(plus(world.now(), MONTH))));
    assert_eq!(
        (repo.protection(), repo.locked_until()),
        (Some(MONTH), None),
        "the policy is set all the same"
    );
    assert!(repo.locks_due());
}

#[test]
fn an_extension_can_be_stopped_and_says_nothing_then() {
    let (world, _) = due();
    let repo = world.open();
    let before = repo.locked_until();
    let token = CancelToken::new();
    token.cancel();
    let error = block_on(repo.extend_locks().cancel_token(&token).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    block_on(repo.refresh()).unwrap();
    assert_eq!(repo.locked_until(), before);
}
