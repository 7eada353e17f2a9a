//! The engine from source to store and back, in memory: what it costs without disk and network, beside what its stages cost.
//!
//! `cargo bench -p backup-benches`. Throughput is over the plain bytes of the source. At the end, for each kind of data, it says how
//! much of the ceiling a first backup reaches: the ceiling is as many times the speed of all stages one after the other as there are
//! cores. Two shares: of the clock, which other programs on the machine lower, and of CPU time, which they do not.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on ends; what it found is printed"
)]

mod stages;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backup_benches::{Files, noise, text};
use backup_core::store::MemoryStore;
use backup_core::{
    Compression, Created, Credential, Entry, Key, MemorySink, MemorySource, Repository, Result, Store,
    VerifyLevel,
};
use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use futures_core::stream::BoxStream;
use futures_executor::block_on;

type Make = fn(usize, u64) -> Vec<u8>;

/// The best sample of each benchmark.
#[derive(Default)]
struct Measured(RefCell<BTreeMap<String, Best>>);

#[derive(Clone, Copy)]
struct Best {
    /// Of the clock.
    seconds: f64,
    /// Of all cores, on average: the system counts them in hundredths.
    cpu: f64,
}

impl Measured {
    /// Measures `work` over `bytes`, each time with what `prepare` gives; the mean CPU seconds of a byte. `0.0` if a filter passes it over.
    fn bench<T, R>(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        bytes: usize,
        mut prepare: impl FnMut() -> T,
        mut work: impl FnMut(T) -> R,
    ) -> f64 {
        let (mut best, mut cpu, mut runs) = (f64::INFINITY, 0.0, 0.0);
        group.throughput(Throughput::Bytes(bytes as u64));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        let input = prepare();
                        let (started, before) = (Instant::now(), cpu_seconds());
                        black_box(work(input));
                        let took = started.elapsed();
                        cpu += cpu_seconds() - before;
                        runs += 1.0;
                        best = best.min(took.as_secs_f64());
                        took
                    })
                    .sum()
            });
        });
        if runs == 0.0 {
            return 0.0;
        }
        self.0.borrow_mut().insert(name.to_owned(), Best { seconds: best, cpu: cpu / runs });
        // The clock of a busy machine says too much of a stage, and then too little of the ceiling.
        (if cpu > 0.0 { cpu / runs } else { best }) / bytes as f64
    }
}

/// CPU time of this process so far; zero where there is no /proc.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Takes packs and forgets them, as far as this process's memory is concerned: what a disk does.
#[derive(Debug, Default)]
struct Forgetful(MemoryStore);

#[async_trait]
impl Store for Forgetful {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        if key.as_str().starts_with("pack/") {
            return Ok(Created::New);
        }
        self.0.create(key, data).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.0.read(key, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.0.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.0.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.0.delete(key).await
    }
}

fn init(store: Arc<dyn Store>) -> Repository {
    block_on(Repository::init(store, &Credential::raw_key([7; 32]))).unwrap()
}

fn files(collection: &str, count: usize, len: usize, make: Make) -> Files {
    let files = Files::new(collection);
    (0..count).for_each(|number| files.put(&format!("{number}"), "root", make(len, number as u64)));
    files
}

/// First backups of three kinds of data, each against the ceiling of its stages.
fn first_backups(criterion: &mut Criterion) {
    let measured = Measured::default();
    let text_cost = stages::measure(criterion, &measured, "text", text);
    let noise_cost = stages::measure(criterion, &measured, "noise", noise);
    let kinds: [(&str, usize, usize, Make, f64); 3] = [
        ("8,192 texts of 16 KiB", 8_192, 16 << 10, text, text_cost),
        ("16 files of noise of 16 MiB", 16, 16 << 20, noise, noise_cost),
        ("one stream of noise of 256 MiB", 1, 256 << 20, noise, noise_cost),
    ];
    let mut group = criterion.benchmark_group("first backup");
    for (name, count, len, make, _) in kinds {
        let source = files("bench", count, len, make);
        let prepare = || init(Arc::new(Forgetful::default()));
        measured.bench(&mut group, name, count * len, prepare, |repository| {
            // As the stages are measured.
            block_on(repository.backup(&source).compression(Compression::Fast).run()).unwrap()
        });
    }
    group.finish();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, count, len, _, cost) in kinds {
        let Some(best) = measured.0.borrow().get(name).copied().filter(|_| cost > 0.0) else { continue };
        let bytes = (count * len) as f64;
        println!(
            "{name}: {:.2} GB/s; ceiling {:.2} GB/s = {cores} cores x {:.2}; {:.0} % of it by the clock, {:.0} % by CPU time",
            bytes / best.seconds / 1e9,
            cores as f64 / cost / 1e9,
            1.0 / cost / 1e9,
            100.0 * cost * bytes / best.seconds / cores as f64,
            100.0 * cost * bytes / best.cpu,
        );
    }
}

/// What comes after a first backup. Edits of trees and look-ups in the index have no interface of their own: the runs here do little else.
fn afterwards(criterion: &mut Criterion) {
    const ITEMS: usize = 20_000;
    const EDITS: usize = 100;
    let mut group = criterion.benchmark_group("afterwards");
    group.sample_size(10).measurement_time(Duration::from_secs(3));

    let source = MemorySource::new("items");
    source.put_folder("root", None, "root");
    (0..ITEMS)
        .for_each(|number| source.put_file(&format!("{number}"), Some("root"), format!("{number}"), ""));
    let repository = init(Arc::new(MemoryStore::new()));
    block_on(repository.backup(&source).run()).unwrap();
    group.throughput(Throughput::Elements(EDITS as u64));
    let mut turn = 0u32;
    group.bench_function("100 edits in the trees of 20,000 items", |bencher| {
        bencher.iter(|| {
            turn += 1;
            for number in 0..EDITS {
                let id = format!("{}", number * ITEMS / EDITS);
                source.edit(&id, |item| item.tag = format!("{turn}").into());
            }
            block_on(repository.backup(&source).run()).unwrap()
        });
    });

    let (count, len) = (4_096, 16 << 10);
    let repository = init(Arc::new(MemoryStore::new()));
    let source = files("texts", count, len, text);
    let snapshot = block_on(repository.backup(&source).run()).unwrap().snapshot;
    group.throughput(Throughput::Bytes((count * len) as u64));
    group.bench_function("4,096 texts, unchanged", |bencher| {
        bencher.iter(|| block_on(repository.backup(&source).run()).unwrap());
    });
    group.bench_function("4,096 texts, all looked up and known", |bencher| {
        let mut copies = 0;
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    copies += 1;
                    let copy = files(&format!("copy {copies}"), count, len, text);
                    let started = Instant::now();
                    block_on(repository.backup(&copy).run()).unwrap();
                    started.elapsed()
                })
                .sum()
        });
    });
    group.bench_function("4,096 texts, restored", |bencher| {
        bencher.iter(|| block_on(repository.restore(snapshot, &MemorySink::new()).run()).unwrap());
    });
    group.bench_function("4,096 texts, every byte verified", |bencher| {
        bencher.iter(|| block_on(repository.verify(VerifyLevel::EveryByte).run()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, first_backups, afterwards);
criterion_main!(benches);
