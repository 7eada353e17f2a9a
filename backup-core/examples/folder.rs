//! Backs up a folder into a repository, and restores it: `folder init|backup|restore REPOSITORY [FOLDER]`.
//!
//! The passphrase comes from the environment variable `BACKUP_PASSPHRASE`. Run it with
//! `cargo run --release -p backup-core --features folder,fs --example folder -- backup /tmp/repo ~/Documents`;
//! with feature `s3` too, the repository may be `s3://bucket/prefix`.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]

use std::time::Instant;

use backup_core::{Credential, FolderSink, FolderSource, Repository, VerifyLevel, store};
use futures_executor::block_on;

/// Environment variables that are passed on to an S3 store: `store::from_url` reads none by itself.
const S3_VARIABLES: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT",
    "AWS_ALLOW_HTTP",
];

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, repository, rest @ ..] = arguments.as_slice() else {
        return Err("usage: folder init|backup|restore|verify|snapshots REPOSITORY [FOLDER]".into());
    };
    let passphrase = Credential::passphrase(std::env::var("BACKUP_PASSPHRASE")?);
    let is_s3 = repository.starts_with("s3://");
    let variables = S3_VARIABLES.into_iter().filter(|_| is_s3);
    let options = variables.filter_map(|name| Some((name, std::env::var(name).ok()?)));
    let store = store::from_url(repository, options)?;
    let started = Instant::now();
    let work = async {
        if verb == "init" {
            let repo = Repository::init(store, &passphrase).await?;
            println!("created repository {}", repo.id());
            return Ok(());
        }
        let repo = Repository::open(store, &passphrase).await?;
        match (verb.as_str(), rest) {
            ("backup", [folder]) => {
                let done = repo.backup(&FolderSource::new(folder)?).run().await?;
                println!("snapshot {}: {:?}", done.snapshot, done.stats);
                done.problems.iter().for_each(|problem| println!("  {problem}"));
            }
            ("restore", [folder]) => {
                let newest = repo.snapshots().into_iter().next_back().ok_or("there is no snapshot")?;
                let done = repo.restore(newest.id, &FolderSink::new(folder)?).run().await?;
                println!("restored {} items, {} bytes", done.created, done.bytes);
                done.problems.iter().for_each(|problem| println!("  {problem}"));
            }
            ("verify", []) => {
                let report = repo.verify(VerifyLevel::EveryByte).run().await?;
                println!(
                    "{} packs, {} chunks, {} findings",
                    report.packs,
                    report.chunks,
                    report.findings.len()
                );
                report.findings.iter().for_each(|finding| println!("  {finding}"));
            }
            ("snapshots", []) => {
                repo.snapshots().iter().for_each(|s| println!("{} {} {}", s.id, s.created, s.collection.id));
            }
            _ => return Err("unknown command".into()),
        }
        println!("{:.2} s", started.elapsed().as_secs_f64());
        Ok(())
    };
    if is_s3 {
        // Clients of cloud services want tokio around them; for local disk it is a detour over more threads.
        return tokio::runtime::Runtime::new()?.block_on(work);
    }
    block_on(work)
}
