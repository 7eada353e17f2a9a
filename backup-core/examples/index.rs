//! Measures the index of a repository with many chunks: `index STORE CACHE CHUNKS` fills a repository in folder STORE with
//! that many imaginary chunks and says what opening, looking up and committing cost with a cache in folder CACHE.
//!
//! Each step runs in a process of its own. Memory is what the process has for itself (`RssAnon`), without the pages of mapped files, which the system
//! takes back when it needs them. Fails if a goal of the project is missed: 2 bytes a chunk, 5 million look-ups of new chunks
//! a second, a commit of 10,000 chunks within a second and a megabyte.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use backup_core::testkit::{FaultyStore, imaginary};
use backup_core::{Credential, DirectoryCache, Env, Options, Repository, store};
use futures_executor::block_on;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Numbers of chunks that are in no repository begin here.
const UNKNOWN: u64 = 1 << 40;
const LOOKUPS: u64 = 20_000_000;
const COMMITTED: u64 = 10_000;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--step", step, store, cache, chunks] => run_step(step, store, cache, chunks.parse()?),
        [store, cache, chunks] => {
            for step in ["fill", "first", "open", "lookups", "commit"] {
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
    let started = Instant::now();
    if step == "fill" {
        let repository = block_on(Repository::init_with(shared, &key, Env::system(), options))?;
        block_on(imaginary::add(&repository, 0..chunks))?;
        println!("fill: {chunks} chunks in {:.1} s", started.elapsed().as_secs_f64());
        return Ok(());
    }
    options.index_cache = Some(Arc::new(DirectoryCache::open(Path::new(cache))?));
    let repository = block_on(Repository::open_with(shared, &key, Env::system(), options))?;
    let opened = started.elapsed().as_secs_f64();
    let known = imaginary::known(&repository, 0..1_000.min(chunks));
    if known != 1_000.min(chunks) {
        return Err("the index has lost chunks".into());
    }
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
            let started = Instant::now();
            let found = imaginary::known(&repository, UNKNOWN..UNKNOWN + LOOKUPS);
            let all = started.elapsed().as_secs_f64();
            // Making the ids that are looked up is not part of looking them up.
            let started = Instant::now();
            let mut sum = 0u64;
            for number in UNKNOWN..UNKNOWN + LOOKUPS {
                sum = sum.wrapping_add(u64::from(blake3::hash(&number.to_le_bytes()).as_bytes()[0]));
            }
            let making = started.elapsed().as_secs_f64();
            let rate = LOOKUPS as f64 / (all - making) / 1e6;
            let again = status("RssAnon:")? as f64 / chunks as f64;
            println!(
                "looking up new chunks: {rate:.1} million a second on one core ({:.1} with making their ids; {}), {again:.2} bytes a chunk",
                LOOKUPS as f64 / all / 1e6,
                sum % 10,
            );
            check("new chunks are not found", found == 0)?;
            check("5 million look-ups a second", rate >= 5.0)?;
            let started = Instant::now();
            let step = chunks / 1_000_000.min(chunks);
            let found: u64 =
                (0..chunks / step).map(|n| imaginary::known(&repository, n * step..n * step + 1)).sum();
            let rate = (chunks / step) as f64 / started.elapsed().as_secs_f64() / 1e6;
            println!("looking up known chunks: {rate:.2} million a second, with making their ids");
            check("known chunks are found", found == chunks / step)?;
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

fn check(goal: &str, met: bool) -> Result<()> {
    if met { Ok(()) } else { Err(format!("missed: {goal}").into()) }
}

/// A figure of this process in bytes, as Linux gives it.
fn status(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
