//! The half of `benches/overhead.py` that is written in Rust: times backups into memory, each into a repository of its own.
//!
//!     overhead folder FOLDER ROUNDS
//!     overhead items FILE BYTES READERS [along] ROUNDS
//!
//! `items` backs FILE up from memory, in items of BYTES each; READERS are read at once, or all of them come `along` with their items. Prints seconds, as a JSON list.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]

use std::time::Instant;

use backup_core::{Credential, Env, FolderSource, MemorySource, Options, Repository, Source, store};
use bytes::Bytes;
use futures_executor::block_on;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["folder", folder, rounds] => measure(rounds.parse()?, || Ok(FolderSource::new(folder)?)),
        ["items", file, bytes, readers, rounds] => {
            let (content, bytes) = (Bytes::from(std::fs::read(file)?), bytes.parse()?);
            let readers = readers.parse()?;
            measure(rounds.parse()?, || Ok(items(&content, bytes, readers)))
        }
        ["items", file, bytes, readers, "along", rounds] => {
            let (content, bytes) = (Bytes::from(std::fs::read(file)?), bytes.parse()?);
            let readers = readers.parse()?;
            measure(rounds.parse()?, || Ok(items(&content, bytes, readers).with_contents_up_to(bytes)))
        }
        _ => {
            Err("usage: overhead folder FOLDER ROUNDS | overhead items FILE BYTES READERS [along] ROUNDS"
                .into())
        }
    }
}

fn items(content: &Bytes, bytes: usize, readers: usize) -> MemorySource {
    let source = MemorySource::new("overhead").without_delta().with_concurrency(readers);
    source.put_folder("top", None, "top");
    let mut rest = content.clone();
    let mut number = 0;
    while !rest.is_empty() {
        let part = rest.split_to(bytes.min(rest.len()));
        source.put_file(&format!("{number}"), Some("top"), format!("{number}"), part);
        number += 1;
    }
    source
}

fn measure<S: Source>(rounds: usize, make: impl Fn() -> Result<S>) -> Result<()> {
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        let store = store::from_url("memory://", std::iter::empty::<(String, String)>())?;
        let credential = Credential::raw_key([7; 32]);
        let opened = Repository::init_with(store, &credential, Env::system(), Options::default());
        let (repository, source) = (block_on(opened)?, make()?);
        let began = Instant::now();
        let report = block_on(repository.backup(&source).run())?;
        seconds.push(began.elapsed().as_secs_f64());
        if !report.problems.is_empty() {
            return Err(format!("{} problems", report.problems.len()).into());
        }
    }
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(())
}
