//! Many clients over months, and storage that says strange things about its objects.

use std::collections::BTreeMap;
use std::time::Duration;

use backup_core::testkit::{Fault, FaultyStore, FixedClock, Operation, SeededEntropy, Yielding};
use backup_core::{Clock, Env, ErrorKind, InlineWorkers, Retention, SnapshotId, Timestamp, VerifyLevel};

use super::*;

/// What a snapshot has to restore to, as path and the number that its content is made of.
type Files = BTreeMap<String, u64>;

struct Client {
    number: u64,
    source: MemorySource,
    files: Files,
    store: FaultyStore,
    clock: FixedClock,
    /// Open for weeks, and behind what others have done.
    repo: Repository,
}

fn content(seed: u64) -> Vec<u8> {
    noise(2_000 + usize::try_from(seed % 7).unwrap() * 1_500, seed)
}

fn env(clock: &FixedClock, seed: u64) -> Env {
    let entropy = Arc::new(SeededEntropy::new((1 << 50) + seed));
    Env::new(Arc::new(clock.clone()), entropy, Arc::new(InlineWorkers::new()))
}

fn name_of(client: u64) -> String {
    format!("memory:client-{client}")
}

impl Client {
    fn new(number: u64, world: &Dated, seed: u64) -> Self {
        let store = FaultyStore::new(Arc::new(world.clone()));
        let clock = FixedClock::new(world.clock.now());
        let repo = Self::open(&store, &clock, seed).unwrap();
        let source = MemorySource::new(name_of(number)).with_concurrency(1);
        source.put_folder("root", None, "root");
        Self { number, source, files: Files::new(), store, clock, repo }
    }

    fn open(store: &FaultyStore, clock: &FixedClock, seed: u64) -> backup_core::Result<Repository> {
        let arc: Arc<dyn Store> = Arc::new(store.clone());
        block_on(Repository::open_with(arc, &key(), env(clock, seed), Options::default()))
    }

    /// Changes a few files. Contents are drawn from a small pool: what one client gives up another one brings back.
    fn live(&mut self, dice: &mut Dice) {
        for _ in 0..1 + dice.throw(3) {
            let file = dice.throw(8);
            let (id, path) = (format!("f{file}"), format!("root/f{file}"));
            if dice.throw(9) == 0 && self.files.len() > 2 {
                self.source.remove(&id);
                self.files.remove(&path);
            } else {
                let seed = dice.throw(60) as u64;
                self.source.put_file(&id, Some("root"), id.clone(), content(seed));
                self.files.insert(path, seed);
            }
        }
    }
}

fn expect(repo: &Repository, id: SnapshotId, expected: &Files, context: &str) {
    let found: BTreeMap<String, Vec<u8>> = files_of(repo, id).into_iter().collect();
    let expected = expected.iter().map(|(path, seed)| (path.clone(), content(*seed))).collect();
    assert!(found == expected, "{context}: {:?} of {expected:?}", found.keys());
}

/// kopia #4769: after months, a blob that was needed had been deleted, and nobody knows by whom. Months of five clients with clocks of their own:
/// backups, failures, retention and prunes, some of them at the same time, through programs that stay open for weeks.
#[test]
fn kopia_4769_months_of_many_clients_lose_nothing() {
    let days = std::env::var("BACKUP_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(240u64);
    let (world, mut dice) = (Dated::new(), Dice(4_769));
    let mut seed = 0;
    let mut seed = move || {
        seed += 1;
        seed
    };
    let arc: Arc<dyn Store> = Arc::new(world.clone());
    drop(
        block_on(Repository::init_with(arc, &key(), env(&world.clock, seed()), Options::default())).unwrap(),
    );
    let mut clients: Vec<_> = (0..5).map(|number| Client::new(number, &world, seed())).collect();
    let mut expected: BTreeMap<SnapshotId, Files> = BTreeMap::new();
    let (mut failed, mut deleted, mut together) = (0, 0, 0);
    let retention = Retention::default().with_last(2).with_daily(4).with_weekly(3).with_monthly(2);
    for day in 0..days {
        world.clock.advance(Duration::from_secs(86_400));
        for client in &mut clients {
            // One of them runs fast, one stands still, one is ten years behind.
            let skew = [0, 3_600, 0, -315_360_000, 86_400][usize::try_from(client.number).unwrap()];
            if client.number != 2 {
                let now = world.clock.now();
                client.clock.set(Timestamp::new(now.seconds() + skew, 0));
            }
            if dice.throw(12) == 0 {
                client.repo = Client::open(&client.store, &client.clock, seed()).unwrap();
            }
            if dice.throw(5) == 0 {
                continue;
            }
            client.live(&mut dice);
            if dice.throw(6) == 0 {
                let next = client.store.counters().calls() + dice.throw(25);
                let fault = [
                    Fault::Before(ErrorKind::Unavailable),
                    Fault::After(ErrorKind::Unavailable),
                    Fault::Before(ErrorKind::OutOfSpace),
                ][dice.throw(3)];
                client.store.inject(Operation::Any, next, [1, usize::MAX][dice.throw(2)], fault);
            }
            let outcome = block_on(client.repo.backup(&client.source).run());
            client.store.heal();
            match outcome {
                Ok(report) => drop(expected.insert(report.snapshot, client.files.clone())),
                Err(_) => failed += 1,
            }
        }
        let janitor = dice.throw(5);
        let grace = Duration::from_secs([0, 3_600, 86_400, 600_000][dice.throw(4)]);
        if dice.throw(4) == 0 {
            // With whatever the program knew when it was opened.
            let repo = &clients[janitor].repo;
            for number in 0..5 {
                let name = name_of(number);
                block_on(repo.retain(&[(name.as_str(), &retention)])).unwrap();
            }
            let unused = [0, 10][dice.throw(2)];
            let report = block_on(repo.prune().grace(grace).unused_percent(unused).run()).unwrap();
            deleted += report.deleted_objects;
        } else if dice.throw(4) == 0 {
            together += 1;
            clients[janitor].live(&mut dice);
            let (writer, source) = (&clients[janitor], clients[janitor].source.clone());
            let (one, two) = (seed(), seed());
            let key = key();
            let through = |seed| {
                let store: Arc<dyn Store> = Arc::new(Yielding::new(Arc::new(world.clone())));
                Repository::open_with(store, &key, env(&writer.clock, seed), Options::default())
            };
            let backup = through(one);
            let tidy = through(two);
            let runs: Vec<BoxFuture<'_, backup_core::Result<Option<SnapshotId>>>> = vec![
                Box::pin(async { Ok(Some(backup.await?.backup(&source).run().await?.snapshot)) }),
                Box::pin(async {
                    let repo = tidy.await?;
                    repo.retain(&[(name_of(0).as_str(), &retention)]).await?;
                    repo.prune().grace(grace).unused_percent(0).run().await.map(|_| None)
                }),
            ];
            for outcome in interleave(runs, |going| dice.throw(going)) {
                match outcome {
                    Ok(Some(id)) => drop(expected.insert(id, clients[janitor].files.clone())),
                    Ok(None) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced, "day {day}: {error:?}"),
                }
            }
        }
        if day % 10 == 9 || day + 1 == days {
            let level = if day + 1 == days { VerifyLevel::EveryByte } else { VerifyLevel::Structure };
            let repo = Client::open(&clients[0].store, &clients[0].clock, seed()).unwrap();
            let report = block_on(repo.verify(level).run()).unwrap();
            assert!(report.is_sound(), "day {day}: {:?}", report.findings);
            let all = ids(&repo);
            for id in all.iter().filter(|_| day + 1 == days || dice.throw(4) == 0) {
                // A run whose last answer was lost may have been committed.
                if let Some(files) = expected.get(id) {
                    expect(&repo, *id, files, &format!("day {day}, snapshot {id}"));
                }
            }
        }
    }
    println!(
        "{days} days: {} backups, {failed} failed, {together} beside a prune, {deleted} objects deleted",
        expected.len()
    );
    assert!(deleted > days && failed > 0 && together > 0);
}

/// proxmox-backup #5982: access times were the proof that something is in use, and a file system did not keep them. Whatever a store says of
/// when its objects were made, nothing that is needed goes.
#[test]
fn proxmox_5982_no_time_that_a_store_tells_makes_a_prune_delete_what_is_needed() {
    let base = Dated::new();
    let arc: Arc<dyn Store> = Arc::new(base.clone());
    let repo = block_on(Repository::init_with(arc, &key(), env(&base.clock, 1), Options::default())).unwrap();
    history(&repo, 5);
    let all = ids(&repo);
    let expected: Vec<_> = all.iter().map(|id| files_of(&repo, *id)).collect();
    let now = base.clock.now().seconds();
    for (lie, grace) in (0..6u32).flat_map(|lie| [0, 86_400].map(|grace| (lie, Duration::from_secs(grace)))) {
        let world = base.fork();
        let mut dice = Dice(u64::from(lie));
        let told = |dice: &mut Dice| match lie {
            0 => 0,
            1 => now + 315_360_000,
            2 => now - 315_360_000,
            3 => i64::try_from(dice.throw(usize::try_from(2 * now).unwrap())).unwrap(),
            4 => now,
            _ => [0, now + 86_400][dice.throw(2)],
        };
        world.times.lock().unwrap().values_mut().for_each(|time| *time = Timestamp::new(told(&mut dice), 0));
        let arc: Arc<dyn Store> = Arc::new(world.clone());
        let open = |seed| {
            block_on(Repository::open_with(
                Arc::clone(&arc),
                &key(),
                env(&world.clock, seed),
                Options::default(),
            ))
        };
        let repo = open(2).unwrap();
        block_on(repo.remove(&all[..3])).unwrap();
        for _ in 0..3 {
            block_on(repo.prune().grace(grace).unused_percent(0).run()).unwrap();
            world.clock.advance(Duration::from_secs(90_000));
        }
        let repo = open(3).unwrap();
        assert!(block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound(), "lie {lie}");
        for (id, expected) in all[3..].iter().zip(&expected[3..]) {
            assert_eq!(&files_of(&repo, *id), expected, "lie {lie}, grace {grace:?}");
        }
    }
}
