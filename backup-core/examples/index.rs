//! Measures the index of a repository with many chunks: `index STORE CACHE CHUNKS` fills a repository in folder STORE with
//! that many imaginary chunks and says what opening, looking up and committing cost with a cache in folder CACHE.
//!
//! Each step runs in a process of its own. Memory is what the process has for itself (`RssAnon`), without the pages of mapped files, which the system
//! takes back when it needs them. Fails if a goal of the project is missed: 2 bytes a chunk, 5 million look-ups of new chunks
//! a second, a commit of 10,000 chunks within a second and a megabyte, a prune that decides over all of it in 50 MB for each TiB.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backup_core::testkit::{FaultyStore, imaginary};
use backup_core::{Credential, DirectoryCache, Env, Options, Repository, store};
use futures_executor::block_on;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Numbers of chunks that are in no repository begin here.
const UNKNOWN: u64 = 1 << 40;
const LOOKUPS: u64 = 5_000_000;
const COMMITTED: u64 = 10_000;
/// Imaginary chunks of 64 KiB in a TiB.
const CHUNKS_OF_TIB: u64 = 1 << 24;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--step", step, store, cache, chunks] => run_step(step, store, cache, chunks.parse()?),
        [store, cache, chunks] => {
            for step in ["fill", "first", "open", "lookups", "prune", "commit"] {
                let words = ["--step", step, store, cache, chunks];
                if !Command::new(std::env::current_exe()?).args(words).status()?.success() {
                    return Err(format!("step {step} failed").into());
                }
            }
            Ok(())
        }
        _ => Err("usage: index STORE CACHE CHUNKS".into()),
    }
}

fn run_step(step: &str, place: &str, cache: &str, chunks: u64) -> Result<()> {
    let key = Credential::raw_key([7; 32]);
    let counted = FaultyStore::new(store::from_url(place, [("", ""); 0])?);
    let shared = Arc::new(counted.clone());
    let mut options = Options::default();
    if step == "first" {
        std::fs::remove_dir_all(cache)?;
    }
    options.index_cache = Some(Arc::new(DirectoryCache::open(Path::new(cache))?));
    let started = Instant::now();
    if step == "fill" {
        let repository = block_on(Repository::init_with(shared, &key, Env::system(), options))?;
        block_on(imaginary::add(&repository, 0..chunks))?;
        println!("fill: {chunks} chunks in {:.1} s", started.elapsed().as_secs_f64());
        return Ok(());
    }
    let repository = block_on(Repository::open_with(shared, &key, Env::system(), options))?;
    let opened = started.elapsed().as_secs_f64();
    let some = imaginary::ids(0..1_000.min(chunks));
    check("chunks are found", imaginary::known(&repository, &some) == some.len())?;
    let per_chunk = status("RssAnon:")? as f64 / chunks as f64;
    match step {
        "first" => println!(
            "first opening: {opened:.1} s, {} MB read, peak of all memory {} MB",
            counted.counters().bytes_read / 1_000_000,
            status("VmHWM:")? / 1_000_000
        ),
        "open" => {
            println!(
                "opening: {opened:.3} s, {} bytes read, {} MB of memory, {per_chunk:.2} bytes a chunk",
                counted.counters().bytes_read,
                status("RssAnon:")? / 1_000_000
            );
            check("2 bytes a chunk", chunks < 50_000_000 || per_chunk <= 2.0)?;
        }
        "lookups" => {
            for (what, first, step, goal) in [
                ("new, in pages that are not mapped yet", UNKNOWN - LOOKUPS, 1, 0.0),
                ("new", UNKNOWN, 1, 5.0),
                ("known", 0, (chunks / LOOKUPS).max(1), 0.0),
                ("known, again", 0, (chunks / LOOKUPS).max(1), 0.0),
            ] {
                let ids = imaginary::ids((0..LOOKUPS.min(chunks)).map(|number| first + number * step));
                let started = processor_time()?;
                let found = imaginary::known(&repository, &ids);
                let rate = ids.len() as f64 * 1e3 / (processor_time()? - started) as f64;
                println!("{what}: {rate:.2} million look-ups a second of one core");
                check(
                    "what is known is found, and nothing else",
                    found == if first == 0 { ids.len() } else { 0 },
                )?;
                check("5 million look-ups a second", rate >= goal)?;
            }
        }
        "prune" => {
            let peak = Peak::watch();
            let started = Instant::now();
            let report = block_on(repository.prune().dry_run().run())?;
            let seconds = started.elapsed().as_secs_f64();
            let (bytes, limit) = (peak.end(), chunks.div_ceil(CHUNKS_OF_TIB) * 50_000_000);
            println!(
                "prune: decided over {} packs in {seconds:.1} s, {} MB of memory",
                report.packs,
                bytes / 1_000_000
            );
            check("nothing is needed, so all of it goes", report.dead_packs == report.packs)?;
            check("50 MB for each TiB", bytes < limit)?;
        }
        _ => {
            let before = counted.counters();
            let started = Instant::now();
            block_on(imaginary::add(&repository, chunks..chunks + COMMITTED))?;
            let seconds = started.elapsed().as_secs_f64();
            let after = counted.counters();
            let written = after.bytes_written - before.bytes_written;
            println!(
                "commit of {COMMITTED} chunks: {seconds:.3} s, {written} bytes in {} objects",
                after.creates - before.creates
            );
            check("a second", seconds < 1.0)?;
            check("a megabyte", written < 1_000_000)?;
        }
    }
    Ok(())
}

/// The most memory that the process has for itself while this lives.
struct Peak {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Peak {
    fn watch() -> Self {
        let (most, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let peak = Self { most: Arc::clone(&most), ended: Arc::clone(&ended) };
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(status("RssAnon:").unwrap_or_default(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        peak
    }

    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.most.load(Ordering::Relaxed)
    }
}

fn check(goal: &str, met: bool) -> Result<()> {
    if met { Ok(()) } else { Err(format!("missed: {goal}").into()) }
}

/// Nanoseconds that this thread has computed for: others on the machine do not count.
fn processor_time() -> Result<u64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(times.split(' ').next().ok_or("no such figure")?.parse()?)
}

/// A figure of this process in bytes, as Linux gives it.
fn status(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
