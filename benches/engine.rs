//! The engine from source to store and back, in memory: what it costs without disk and network.
//!
//! `cargo bench -p backup-benches`. Each figure is throughput over the plain bytes of the source.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::sync::Arc;
use std::time::Duration;

use backup_benches::{noise, text};
use backup_core::store::MemoryStore;
use backup_core::{Credential, MemorySink, MemorySource, Repository, VerifyLevel};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_executor::block_on;

type Make = fn(usize, u64) -> Vec<u8>;

fn source(files: usize, len: usize, make: Make) -> MemorySource {
    let source = MemorySource::new("bench").with_piece_bytes(1 << 20);
    source.put_folder("root", None, "root");
    for number in 0..files {
        source.put_file(&format!("{number}"), Some("root"), format!("{number}"), make(len, number as u64));
    }
    source
}

fn init() -> Repository {
    block_on(Repository::init(Arc::new(MemoryStore::new()), &Credential::raw_key([7; 32]))).unwrap()
}

fn engine(criterion: &mut Criterion) {
    let corpora: [(&str, usize, usize, Make); 3] = [
        ("4,096 texts of 16 KiB", 4_096, 16 << 10, text),
        ("one text of 64 MiB", 1, 64 << 20, text),
        ("one of noise, 64 MiB", 1, 64 << 20, noise),
    ];
    for (name, files, len, make) in corpora {
        let source = source(files, len, make);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes((files * len) as u64));
        group.sample_size(10).measurement_time(Duration::from_secs(5));
        group.bench_function("first backup", |bencher| {
            bencher.iter_batched(
                init,
                |repo| block_on(repo.backup(&source).run()).unwrap(),
                BatchSize::PerIteration,
            );
        });
        let repo = init();
        let snapshot = block_on(repo.backup(&source).run()).unwrap().snapshot;
        group.bench_function("unchanged, enumerated in full", |bencher| {
            bencher.iter(|| block_on(repo.backup(&source).full().run()).unwrap());
        });
        group.bench_function("restore", |bencher| {
            bencher.iter(|| block_on(repo.restore(snapshot, &MemorySink::new()).run()).unwrap());
        });
        group.bench_function("verify every byte", |bencher| {
            bencher.iter(|| block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
