//! Eight processes write to one repository and are killed with SIGKILL at random moments, round after round.
//!
//! Each one backs up its own changing folder, removes its oldest snapshots and prunes without grace, beside seven others that do the
//! same. It says on its standard output what it was told; that is what the repository is held to afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_core::store::MemoryStore;
use backup_core::testkit::{Operation, Yielding, environment, interleave};
use backup_core::{DirectoryCache, Env, Error, ErrorKind, Key, Options, Repository, SnapshotId, Store};

use super::{STATE, assert_sound, collection, key, open, source, stores, write};

/// How many write at once.
const WRITERS: u64 = 8;
/// Snapshots that a writer keeps of its folder.
const KEPT: usize = 2;
/// When a writer is killed, in milliseconds from its start; the first are killed before they have opened the repository.
const KILLED_AFTER_MS: std::ops::Range<u64> = 10..1_500;
/// Rounds, for the long command; and where the randomness begins, to see something again.
const ROUNDS: &str = "BACKUP_KILL_ROUNDS";
const SEED: &str = "BACKUP_KILL_SEED";
/// What the parent tells a writer.
const STORE: &str = "BACKUP_KILL_STORE";
const PLACE: &str = "BACKUP_KILL_PLACE";
const WRITER: &str = "BACKUP_KILL_WRITER";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Randomness that its seed decides (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Tells the parent, in one write: a line is said whole or not at all.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("! {line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// One of the eight; ends only by being killed, or by what must not happen.
#[test]
#[ignore = "run by the tests below as a process of its own"]
fn writer() {
    let Ok(address) = std::env::var(STORE) else { return };
    let (place, number, mut dice) =
        (PathBuf::from(std::env::var(PLACE).unwrap()), number(WRITER, 0), Dice(number(SEED, 0)));
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut options = Options::default();
        if number % 2 == 1 {
            // Killed in the middle of writing the index cache, too.
            options.index_cache = Some(Arc::new(DirectoryCache::open(place.join("cache"))?));
        }
        let repository =
            Repository::open_with(stores::open(&address), &key(), Env::system(), options).await?;
        say("opened");
        loop {
            match act(&repository, &place, number, dice.roll(10)).await {
                Ok(()) => {}
                // What a writer beside a prune without grace has to expect: it runs again.
                Err(error) if error.kind() == ErrorKind::Fenced => say("fenced"),
                Err(error) if error.is_retryable() => say("retried"),
                Err(error) => return Err::<(), _>(error),
            }
        }
    });
    say(&format!("failed {:?}", outcome.unwrap_err()).replace('\n', " "));
    std::process::exit(3);
}

async fn act(repository: &Repository, place: &Path, writer: u64, dice: u64) -> backup_core::Result<()> {
    repository.refresh().await?;
    let own: Vec<_> =
        repository.snapshots().into_iter().filter(|s| s.collection.id == collection(writer)).collect();
    if own.len() > KEPT {
        let old: Vec<_> = own.iter().take(own.len() - KEPT).map(|snapshot| snapshot.id).collect();
        old.iter().for_each(|id| say(&format!("removing {id}")));
        repository.remove(&old).await.map_err(|error| during("remove", error))?;
        old.iter().for_each(|id| say(&format!("removed {id}")));
    }
    if dice < 3 {
        let pruned = repository.prune().grace(Duration::ZERO).unused_percent(0).run().await;
        pruned.map_err(|error| during("prune", error))?;
        say("pruned");
        return Ok(());
    }
    let last = match own.last() {
        Some(newest) => {
            let labels = repository.snapshot(newest.id).await?.labels;
            labels.iter().find(|(name, _)| name == STATE).unwrap().1.parse().unwrap()
        }
        None => 0,
    };
    let state: u64 = last + 1;
    write(place, writer, state);
    let done = repository.backup(&source(place, writer)?).label(STATE, state.to_string()).run().await;
    let done = done.map_err(|error| during("backup", error))?;
    say(&format!("committed {}", done.snapshot));
    Ok(())
}

/// Names what was being done, in an error that ends a writer.
fn during(what: &str, error: Error) -> Error {
    if error.is_retryable() || error.kind() == ErrorKind::Fenced {
        error
    } else {
        Error::new(error.kind(), what).with_source(error)
    }
}

/// What the writers of all rounds were told, and how often.
#[derive(Debug, Default)]
struct Record {
    committed: BTreeSet<SnapshotId>,
    removing: BTreeSet<SnapshotId>,
    removed: BTreeSet<SnapshotId>,
    words: BTreeMap<String, usize>,
}

impl Record {
    fn hear(&mut self, said: &str) {
        // Nothing after the last line end: what was cut off was not said. The harness writes its own lines too.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines().filter_map(|line| line.split_once("! ").map(|(_, line)| line)) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let known = ["opened", "fenced", "retried", "pruned", "removing", "removed", "committed"];
            assert!(known.contains(&word), "a writer says: {line}, after all this: {whole}");
            *self.words.entry(word.to_owned()).or_default() += 1;
            let _ = match word {
                "committed" => self.committed.insert(rest.parse().unwrap()),
                "removing" => self.removing.insert(rest.parse().unwrap()),
                "removed" => self.removed.insert(rest.parse().unwrap()),
                _ => true,
            };
        }
    }

    fn count(&self, word: &str) -> usize {
        self.words.get(word).copied().unwrap_or(0)
    }
}

fn start(address: &str, folder: &Path, writer: u64, seed: u64) -> Child {
    let place = folder.join(format!("writer-{writer}"));
    std::fs::create_dir_all(&place).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::writer", "--ignored", "--nocapture"]);
    command.envs([(STORE, address), (PLACE, place.to_str().unwrap())]);
    command.envs([(WRITER, writer.to_string()), (SEED, seed.to_string())]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Lets the eight write, and kills each at its moment. How many were alive then: all, or something is wrong.
fn round(address: &str, folder: &Path, dice: &mut Dice, record: &mut Record) {
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let span = KILLED_AFTER_MS.end - KILLED_AFTER_MS.start;
            let after = Duration::from_millis(KILLED_AFTER_MS.start + dice.roll(span));
            (after, start(address, folder, writer, dice.roll(u64::MAX)))
        })
        .collect();
    let started = Instant::now();
    writers.sort_by_key(|(after, _)| *after);
    for (after, writer) in &mut writers {
        std::thread::sleep(after.saturating_sub(started.elapsed()));
        writer.kill().unwrap();
    }
    for (_, mut writer) in writers {
        let (mut said, status) = (String::new(), writer.wait().unwrap());
        writer.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        record.hear(&said);
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(9), "a writer ended by itself ({status}): {said}");
    }
}

fn kill_and_check(address: &str, rounds: u64, leftovers: Option<&Path>) {
    let started = Instant::now();
    let seed = number(SEED, started_at());
    println!("{address}: {rounds} rounds, {SEED}={seed}");
    let (mut dice, mut record, folder) = (Dice(seed), Record::default(), super::place());
    let (mut restored, mut unsaid, mut swept) = (0, BTreeSet::new(), 0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Repository::init(stores::open(address), &key())).unwrap();
    for at in 0..rounds {
        round(address, folder.path(), &mut dice, &mut record);
        let context = format!("{address}, {SEED}={seed}, round {at}");
        runtime.block_on(async {
            let repository = open(stores::open(address), Env::system())
                .await
                .unwrap_or_else(|e| panic!("{context}: {e:?}"));
            let there: BTreeSet<_> = assert_sound(&repository, &context).await.into_iter().collect();
            restored += there.len();
            let lost: Vec<_> =
                record.committed.difference(&record.removing).filter(|id| !there.contains(id)).collect();
            assert!(lost.is_empty(), "{context}: {lost:?} were acknowledged and are gone");
            let back: Vec<_> = record.removed.intersection(&there).collect();
            assert!(back.is_empty(), "{context}: {back:?} were removed and are back");
            unsaid.extend(there.difference(&record.committed).copied());
            // The next run completes, and a prune takes away what the dead have left.
            let place = folder.path().join("parent");
            write(&place, WRITERS, at + 1);
            let source = source(&place, WRITERS).unwrap();
            let done = repository.backup(&source).label(STATE, (at + 1).to_string()).run().await;
            record
                .committed
                .insert(done.unwrap_or_else(|error| panic!("{context}, then: {error:?}")).snapshot);
            let old: Vec<_> = repository
                .snapshots()
                .into_iter()
                .filter(|s| s.collection.id == collection(WRITERS))
                .collect();
            let old: Vec<_> = old.iter().rev().skip(KEPT).map(|snapshot| snapshot.id).collect();
            record.removing.extend(&old);
            repository.remove(&old).await.unwrap();
            record.removed.extend(&old);
            if at % 4 == 3 {
                let pruned = repository.prune().grace(Duration::ZERO).unused_percent(0).run().await;
                pruned.unwrap_or_else(|error| panic!("{context}, then: {error:?}"));
                assert_sound(&repository, &context).await;
            }
        });
        if let Some(disk) = leftovers {
            swept += backup_core::store::remove_leftovers(disk, Duration::ZERO).unwrap();
        }
    }
    println!(
        "{address}: {} processes killed in {rounds} rounds: {} had opened; {} commits acknowledged and {} more found, {} removals, \
         {} prunes, {} runs fenced, {} to be retried; {restored} snapshots restored, nothing lost; {swept} half-written files on disk; {:.0} s",
        rounds * WRITERS,
        record.count("opened"),
        record.count("committed"),
        unsaid.len(),
        record.count("removed"),
        record.count("pruned"),
        record.count("fenced"),
        record.count("retried"),
        started.elapsed().as_secs_f64()
    );
    assert!(
        record.count("committed") > 0,
        "nobody came to write: the processes are killed too early on this machine"
    );
}

fn started_at() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs() % 1_000_000
}

#[test]
fn eight_processes_killed_at_random_lose_nothing_on_disk() {
    let disk = tempfile::tempdir().unwrap();
    kill_and_check(disk.path().to_str().unwrap(), number(ROUNDS, 10), Some(disk.path()));
}

#[test]
fn eight_processes_killed_at_random_lose_nothing_on_a_real_server() {
    for address in stores::addresses() {
        kill_and_check(&stores::fresh(&address, "killed"), number(ROUNDS, 10), None);
    }
}

/// Found by the processes above. Bug: a prune beside another process's backup ended with "there is no such snapshot". Mechanism: when the
/// commit was quicker than its condemnation, it looked for the new snapshot in a state of the log from before it. Fix: it reads what the
/// entry names, and spares what the commit needs.
#[test]
fn a_prune_goes_on_past_the_commit_of_another_process() {
    let (memory, folder) = (MemoryStore::new(), super::place());
    let place = folder.path();
    futures_executor::block_on(async {
        let store = Arc::new(memory.clone());
        let made = Repository::init_with(store, &key(), environment(1), Options::default()).await.unwrap();
        for state in 1..=2 {
            write(place, 0, state);
            let source = source(place, 0).unwrap();
            made.backup(&source).label(STATE, state.to_string()).run().await.unwrap();
        }
        made.remove(&[made.snapshots()[0].id]).await.unwrap();
    });
    write(place, 0, 3);
    // The whole backup before any entry that the prune adds to the log.
    for before in 0..4 {
        let store = memory.fork();
        let yields =
            |operation, key: &Key| operation == Operation::Create && key.as_str().starts_with("log/");
        let stops: Arc<dyn Store> = Arc::new(Yielding::only(Arc::new(store.clone()), yields));
        let prune = async {
            let repository = open(stops, environment(2)).await?;
            let done = repository.prune().grace(Duration::ZERO).unused_percent(0).run().await?;
            Ok::<_, Error>(format!("{} packs given up", done.dead_packs + done.copied_packs))
        };
        let backup = async {
            let repository = open(Arc::new(store.clone()), environment(3)).await?;
            let source = source(place, 0)?;
            repository.backup(&source).label(STATE, "3").run().await.map(|done| done.snapshot.to_string())
        };
        let mut polls = 0;
        let outcomes = interleave(vec![Box::pin(prune), Box::pin(backup)], |going| {
            polls += 1;
            // The prune up to its entry, then the backup to its end.
            usize::from(going == 2 && polls > before)
        });
        for outcome in outcomes {
            let done = outcome.unwrap_or_else(|error| panic!("before entry {before}: {error:?}"));
            println!("before entry {before}: {done}");
        }
        futures_executor::block_on(async {
            let repository = open(Arc::new(store), environment(4)).await.unwrap();
            assert_eq!(assert_sound(&repository, "afterwards").await.len(), 2);
        });
    }
}
