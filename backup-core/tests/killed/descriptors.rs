//! The process has no file descriptor left, at any call to the store: a real limit, really met. It must not look like a file, an object or a
//! repository that is not there.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backup_core::store::ObjectStoreAdapter;
use backup_core::{Created, Entry, Env, ErrorKind, Key, Result, Store};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_executor::block_on;

use super::{Told, assert_recovers, live, place};

/// What the process may have open; it needs about twenty.
const LIMIT: usize = 64;
/// Says to the ignored test that it is the process with the limit.
const CHILD: &str = "BACKUP_FEW_DESCRIPTORS";

/// Takes every descriptor that is left, from one call on.
#[derive(Clone)]
struct Starving {
    inner: Arc<dyn Store>,
    calls: Arc<AtomicUsize>,
    nth: usize,
    for_good: bool,
    held: Arc<Mutex<Vec<File>>>,
}

impl Starving {
    fn enter(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock().unwrap();
        if call == self.nth {
            while let Ok(file) = File::open("/dev/null") {
                held.push(file);
                assert!(held.len() < LIMIT, "this process has no limit");
            }
        } else if call > self.nth && !self.for_good {
            held.clear();
        }
    }
}

impl fmt::Debug for Starving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Starving({:?})", self.inner)
    }
}

#[async_trait]
impl Store for Starving {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        self.enter();
        self.inner.create(key, data).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.enter();
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.enter();
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.enter();
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.enter();
        self.inner.delete(key).await
    }
}

#[test]
#[ignore = "run by the test below in a process of its own"]
fn few_descriptors() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (mut failed, mut through, mut nth) = (0, 0, 0);
    loop {
        let mut calls = 0;
        for for_good in [false, true] {
            let (disk, folder) = (place(), place());
            let inner: Arc<dyn Store> = Arc::new(ObjectStoreAdapter::on_disk(disk.path()).unwrap());
            let starving = Starving {
                inner: Arc::clone(&inner),
                calls: Arc::default(),
                nth,
                for_good,
                held: Arc::default(),
            };
            let (arc, mut told): (Arc<dyn Store>, _) = (Arc::new(starving.clone()), Told::default());
            let context = format!("call {nth}, for good: {for_good}");
            match block_on(live(&arc, Env::system, folder.path(), &mut told)) {
                Ok(()) => through += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{context}: {error:?}");
                    failed += 1;
                }
            }
            starving.held.lock().unwrap().clear();
            block_on(assert_recovers(inner, folder.path(), &told, &context));
            calls = starving.calls.load(Ordering::Relaxed);
        }
        if calls <= nth {
            break;
        }
        nth += 1;
    }
    println!("no descriptor left at {nth} calls: {failed} lives failed, {through} got through, nothing lost");
    assert!(nth > 30 && failed > 30, "{nth} calls, {failed} failures");
}

#[test]
fn a_process_out_of_file_descriptors_loses_nothing() {
    let script =
        format!("ulimit -n {LIMIT}; exec \"$0\" --exact descriptors::few_descriptors --ignored --nocapture");
    let program = std::env::current_exe().unwrap();
    let done = Command::new("sh").arg("-c").arg(script).arg(program).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    said.lines().filter(|line| line.contains("descriptor left")).for_each(|line| println!("{line}"));
}
