//! What the engine tells an operator.

use std::sync::Mutex;

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, LogLevel, Logger, ReadFault, VerifyLevel};

use super::*;

/// Keeps the lines down to a level.
struct Lines {
    level: LogLevel,
    lines: Mutex<Vec<(LogLevel, String)>>,
}

impl Lines {
    fn down_to(level: LogLevel) -> Arc<Self> {
        Arc::new(Self { level, lines: Mutex::default() })
    }

    fn has(&self, level: LogLevel, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|(of, line)| *of == level && line.contains(text))
    }
}

impl Logger for Lines {
    fn wants(&self, level: LogLevel) -> bool {
        level <= self.level
    }

    fn log(&self, level: LogLevel, line: &str) {
        assert!(!line.contains('\n'), "{line}");
        self.lines.lock().unwrap().push((level, line.to_owned()));
    }
}

fn open_with(store: Arc<dyn Store>, lines: &Arc<Lines>) -> Repository {
    let logger: Arc<dyn Logger> = Arc::<Lines>::clone(lines);
    let env = fresh_environment().with_logger(logger);
    block_on(Repository::open_with(store, &key(), env, Options::default())).unwrap()
}

#[test]
fn a_run_tells_what_it_commits_and_what_it_could_not_read() {
    let store = MemoryStore::new();
    init(&store);
    let lines = Lines::down_to(LogLevel::Info);
    let repo = open_with(Arc::new(store), &lines);
    let source = MemorySource::new("desk");
    source.put_file("1", None, "kept", "bytes");
    source.put_file("2", None, "locked", "bytes");
    source.inject("2", "content", ReadFault::Open(ErrorKind::PermissionDenied), usize::MAX);
    let done = block_on(repo.backup(&source).run()).unwrap();
    assert!(lines.has(LogLevel::Info, "opened at log entry 0"));
    assert!(lines.has(LogLevel::Info, "backup of desk begins"));
    assert!(lines.has(LogLevel::Warning, "locked: "));
    assert!(lines.has(LogLevel::Info, &format!("snapshot {} of desk", done.snapshot)));
    block_on(repo.hold(&[done.snapshot])).unwrap();
    assert!(lines.has(LogLevel::Info, "1 snapshots are held"));
}

#[test]
fn what_is_not_wanted_is_not_told_and_nothing_is_told_by_default() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let lines = Lines::down_to(LogLevel::Warning);
    let other = open_with(Arc::new(store), &lines);
    let source = MemorySource::new("desk");
    source.put_file("1", None, "kept", "bytes");
    backup_whole(&repo, &source);
    backup_whole(&other, &source);
    assert_eq!(*lines.lines.lock().unwrap(), []);
}

#[test]
fn a_second_read_is_told_and_damage_too() {
    let memory = MemoryStore::new();
    let source = MemorySource::new("desk");
    source.put_file("1", None, "kept", "bytes");
    let snapshot = backup_whole(&init(&memory), &source).snapshot;
    let (lines, store) = (Lines::down_to(LogLevel::Debug), FaultyStore::new(Arc::new(memory.clone())));
    let repo = open_with(Arc::new(store.clone()), &lines);
    store.inject_next(Operation::Read, Fault::Flip(3_000));
    block_on(repo.snapshot(snapshot)).unwrap();
    assert!(lines.has(LogLevel::Warning, "reading it again"));

    let (pack, bytes) =
        memory.objects().into_iter().find(|(key, _)| key.as_str().starts_with("pack/")).unwrap();
    memory.overwrite(pack.clone(), bytes.slice(..bytes.len() - 1));
    assert!(!block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
    assert!(lines.has(LogLevel::Error, pack.as_str()));
}
