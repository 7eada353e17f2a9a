//! The disk is full, or fails, at every write of a whole life.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backup_core::store::{MemoryStore, ObjectStoreAdapter};
use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{Env, ErrorKind, Store};
use futures_executor::block_on;

use super::{Told, assert_recovers, assert_sound, live, open, place};

/// A file system of its own in memory, for as long as this lives.
struct Small(tempfile::TempDir);

impl Small {
    /// None where this process may not mount one.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(folder))
    }

    fn enlarge(&self) {
        let done = Command::new("mount")
            .args(["-o", "remount,size=64m,nr_inodes=10000"])
            .arg(self.0.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A life on a disk with so much room, then one with enough. Whether the room was enough in the first place.
fn fill(disk: &Small, context: &str) -> bool {
    let (folder, repository) = (place(), disk.0.path().join("repository"));
    let attempt = |told: &mut Told| {
        let store: Arc<dyn Store> = Arc::new(ObjectStoreAdapter::on_disk(&repository)?);
        block_on(live(&store, Env::system, folder.path(), told))
    };
    let mut told = Told::default();
    let outcome = attempt(&mut told);
    if let Err(error) = &outcome {
        assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{context}: {error:?}");
        if !told.kept.is_empty() {
            // Everything is there while the disk is full, without a byte more.
            let store = Arc::new(ObjectStoreAdapter::on_disk(&repository).unwrap());
            block_on(async {
                let opened =
                    open(store, Env::system()).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
                let there = assert_sound(&opened, context).await;
                assert!(told.kept.iter().all(|id| there.contains(id)), "{context}: {told:?}");
            });
        }
    }
    disk.enlarge();
    let store = Arc::new(ObjectStoreAdapter::on_disk(&repository).unwrap());
    block_on(assert_recovers(store, folder.path(), &told, context));
    outcome.is_ok()
}

#[test]
fn a_disk_that_is_full_at_any_write_loses_nothing() {
    let (mut sizes, mut inodes) = (0, 0);
    for (unit, count) in [("size", &mut sizes), ("nr_inodes", &mut inodes)] {
        // From no room at all, page by page and name by name, until a whole life fits.
        for room in 1.. {
            let options = if unit == "size" {
                format!("size={}k", 4 * room)
            } else {
                format!("size=64m,nr_inodes={room}")
            };
            let Some(disk) = Small::mount(&options) else {
                println!("this process may not mount a file system: full disks were not tried (root may)");
                return;
            };
            *count += 1;
            if fill(&disk, &options) {
                break;
            }
        }
    }
    println!("a real disk was full at {sizes} sizes, and without room for another name at {inodes}");
    assert!(sizes > 20 && inodes > 20, "{sizes} {inodes}");
}

/// A life with one fault, on a store in memory. Whether the fault was met.
fn fail(folder: &Path, operation: Operation, nth: usize, times: usize, fault: Fault) -> bool {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    store.inject(operation, nth, times, fault);
    let context = format!("{operation:?} {nth}, {times} times {fault:?}");
    let (arc, mut told): (Arc<dyn Store>, _) = (Arc::new(store.clone()), Told::default());
    let outcome = block_on(live(&arc, Env::system, folder, &mut told));
    let met = store.counters().faults > 0;
    if let (Err(error), Fault::Before(kind) | Fault::After(kind)) = (&outcome, fault) {
        assert_eq!(error.kind(), kind, "{context}: {error:?}");
    }
    store.heal();
    block_on(assert_recovers(arc, folder, &told, &context));
    met
}

#[test]
fn a_write_or_deletion_that_fails_anywhere_in_a_life_loses_nothing() {
    let folder = place();
    let (mut points, full, io) = (0, ErrorKind::OutOfSpace, ErrorKind::Io);
    for (operation, faults) in [
        (Operation::Create, vec![Fault::Before(full), Fault::Before(io), Fault::After(io), Fault::Torn(150)]),
        (Operation::Delete, vec![Fault::Before(io), Fault::After(io)]),
    ] {
        for fault in faults {
            for times in [1, usize::MAX] {
                // A torn log entry stays in the way until somebody takes it out: no store here leaves one.
                if matches!(fault, Fault::Torn(_)) {
                    continue;
                }
                let mut nth = 0;
                while fail(folder.path(), operation, nth, times, fault) {
                    (nth, points) = (nth + 1, points + 1);
                }
            }
        }
    }
    println!("{points} writes and deletions of a life have failed");
    assert!(points > 100, "{points}");
}
