//! Proves a round trip: `roundtrip REPOSITORY OLD [NEW]` backs up OLD, then NEW as its next version, restores both into
//! temporary folders and compares content, kinds, modes, owners, times, link targets and hard links with the originals.
//!
//! Prints what each step took and the peak of resident memory, and fails on the first difference, or above
//! `BACKUP_MEMORY_MAX_MB` if that is set. Each step runs in a process of its own, so that each has a peak of its own.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use backup_core::{Credential, FolderSink, FolderSource, Repository, VerifyLevel, store};
use futures_executor::block_on;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--step", step, repository, folder] => run_step(step, repository, folder),
        [repository, old] => prove(repository, &[old]),
        [repository, old, new] => prove(repository, &[old, new]),
        _ => Err("usage: roundtrip REPOSITORY OLD [NEW]".into()),
    }
}

fn prove(repository: &str, versions: &[&str]) -> Result<()> {
    step("init", repository, "")?;
    for version in versions {
        step("backup", repository, version)?;
        step("backup", repository, version)?;
    }
    for (number, version) in versions.iter().enumerate() {
        let target = PathBuf::from(format!("{repository}.restored-{number}"));
        step(&format!("restore-{number}"), repository, &target.display().to_string())?;
        let entries = compare(Path::new(version), &target)?;
        println!("{version}: {entries} entries restored exactly");
        fs::remove_dir_all(&target)?;
    }
    step("verify", repository, "")
}

fn step(step: &str, repository: &str, folder: &str) -> Result<()> {
    let status =
        Command::new(std::env::current_exe()?).args(["--step", step, repository, folder]).status()?;
    if status.success() { Ok(()) } else { Err(format!("{step} failed").into()) }
}

fn run_step(step: &str, repository: &str, folder: &str) -> Result<()> {
    let started = Instant::now();
    let passphrase = Credential::passphrase("round trip");
    let store = store::from_url(repository, [("", ""); 0])?;
    let outcome = block_on(async {
        if step == "init" {
            return Repository::init(store, &passphrase)
                .await
                .map(|repo| format!("repository {}", repo.id()));
        }
        let repo = Repository::open(store, &passphrase).await?;
        if step == "backup" {
            let source = FolderSource::new(folder)?.collection_id("tree");
            let done = repo.backup(&source).run().await?;
            let problems: Vec<_> = done.problems.iter().map(ToString::to_string).collect();
            return Ok(format!("{:?} {problems:?}", done.stats));
        }
        if step == "verify" {
            let report = repo.verify(VerifyLevel::EveryByte).run().await?;
            return Ok(format!("{} packs, {} findings", report.packs, report.findings.len()));
        }
        // `restore-N`: the last snapshot of version N; each version was backed up twice.
        let number: usize = step.trim_start_matches("restore-").parse().unwrap_or_default();
        let snapshots = repo.snapshots();
        let Some(snapshot) = snapshots.get(2 * number + 1) else { return Ok("no such snapshot".to_owned()) };
        let done = repo.restore(snapshot.id, &FolderSink::new(folder)?).run().await?;
        Ok(format!("{} items, {} bytes, {} problems", done.created, done.bytes, done.problems.len()))
    })?;
    let peak = peak_memory_mb()?;
    println!("{step}: {:.2} s, peak {peak} MB resident: {outcome}", started.elapsed().as_secs_f64());
    match std::env::var("BACKUP_MEMORY_MAX_MB").ok().and_then(|max| max.parse::<u64>().ok()) {
        Some(max) if peak > max => Err(format!("{step} took {peak} MB, more than {max}").into()),
        _ => Ok(()),
    }
}

/// The kernel's own record of this process's largest resident set.
fn peak_memory_mb() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}

/// Compares two trees; the number of entries, or what differs first.
fn compare(original: &Path, restored: &Path) -> Result<usize> {
    let (expected, found) = (describe(original)?, describe(restored)?);
    for (path, entry) in &expected {
        match found.get(path) {
            Some(other) if other == entry => {}
            other => return Err(format!("{} differs: {entry} became {other:?}", path.display()).into()),
        }
    }
    match found.keys().find(|path| !expected.contains_key(*path)) {
        Some(path) => Err(format!("{} was not in the original", path.display()).into()),
        None => Ok(expected.len()),
    }
}

fn describe(top: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let (mut all, mut links) = (BTreeMap::new(), BTreeMap::new());
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = top.join(&path);
        let meta = fs::symlink_metadata(&full)?;
        let mut line = format!(
            "mode {:o} owner {}:{} time {}.{:09}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        if meta.is_symlink() {
            line += &format!(" to {:?}", fs::read_link(&full)?);
        } else if meta.is_dir() {
            for entry in fs::read_dir(&full)? {
                open.push(path.join(entry?.file_name()));
            }
        } else {
            line += &format!(" {} bytes {}", meta.len(), hash(&full)?);
            if meta.nlink() > 1 {
                links.entry((meta.dev(), meta.ino())).or_insert_with(Vec::new).push(path.clone());
            }
        }
        all.insert(path, line);
    }
    // Hard links are described by the whole group, whatever its inode number.
    for mut group in links.into_values() {
        group.sort();
        for path in &group {
            all.entry(path.clone()).and_modify(|line| line.push_str(&format!(" linked as {group:?}")));
        }
    }
    Ok(all)
}

fn hash(path: &Path) -> Result<String> {
    let (mut file, mut hasher, mut buffer) = (fs::File::open(path)?, blake3::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().to_hex().to_string()),
            len => drop(hasher.update(buffer.get(..len).unwrap_or_default())),
        }
    }
}
