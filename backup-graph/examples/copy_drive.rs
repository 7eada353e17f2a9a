//! Copies a drive into another one by way of a repository: a backup, and a restore into another place.
//!
//! ```sh
//! export GRAPH_SECRET=... BACKUP_PASSPHRASE=...
//! cargo run --example copy_drive -- --tenant contoso.com --app 00000000-... --from 'b!...' --to 'b!...' --repository /srv/backup
//! ```
//!
//! The two drives may be Microsoft's or those of a simulated tenant (`--graph`, `--login`, `--ca-file`, or a proxy in
//! `HTTPS_PROXY`). What is there already in the second drive is left as it is.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]
#![allow(clippy::clone_on_ref_ptr, reason = "shorter, in what is read as an example")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use backup_core::{Conflict, Credential, ErrorKind, Repository, store};
use backup_graph::auth::GLOBAL_AUTHORITY;
use backup_graph::{
    ClientSecret, DriveSink, DriveSource, GLOBAL_GRAPH, GraphClient, ReqwestTransport, Secret, TokioTimer,
};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const OPTIONS: [&str; 8] =
    ["--tenant", "--app", "--from", "--to", "--repository", "--graph", "--login", "--ca-file"];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let given = options(std::env::args().skip(1))?;
    let needed = |name: &str| given.get(name).cloned().ok_or_else(|| format!("{name} is needed"));
    let client = sign_in(&given, needed("--tenant")?, needed("--app")?)?;

    let passphrase = std::env::var("BACKUP_PASSPHRASE").map_err(|_| "set BACKUP_PASSPHRASE")?;
    let credential = Credential::passphrase(passphrase);
    let store = store::from_url(&needed("--repository")?, [("", ""); 0])?;
    let repository = match Repository::open(store.clone(), &credential).await {
        Err(error) if error.kind() == ErrorKind::NotARepository => {
            Repository::init(store, &credential).await?
        }
        opened => opened?,
    };

    let source = DriveSource::new(client.clone(), needed("--from")?);
    let backup = repository.backup(&source).run().await?;
    println!("backed up: {} items, {} bytes", backup.stats.items, backup.stats.bytes);
    let sink = DriveSink::new(client.clone(), needed("--to")?, None);
    let restored = repository.restore(backup.snapshot, &sink).conflict(Conflict::Skip).run().await?;
    println!("restored: {} items, {} bytes", restored.created, restored.bytes);
    println!("requests: {}", client.metrics().requests);
    match restored.problems.first() {
        Some(problem) => {
            Err(format!("{} items were not restored, first of them {problem}", restored.problems.len())
                .into())
        }
        None => Ok(()),
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<BTreeMap<String, String>> {
    let mut given = BTreeMap::new();
    while let Some(word) = words.next() {
        if !OPTIONS.contains(&word.as_str()) {
            return Err(format!("there is no option {word:?}; there are: {}", OPTIONS.join(" ")).into());
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        given.insert(word, value);
    }
    Ok(given)
}

fn sign_in(given: &BTreeMap<String, String>, tenant: String, application: String) -> Result<GraphClient> {
    let transport = Arc::new(match given.get("--ca-file") {
        Some(path) => ReqwestTransport::with_root_certificates(&std::fs::read(path)?)?,
        None => ReqwestTransport::new()?,
    });
    let timer = Arc::new(TokioTimer::new());
    let secret = Secret::new(std::env::var("GRAPH_SECRET").map_err(|_| "set GRAPH_SECRET")?);
    let address = |name: &str, usual: &str| given.get(name).cloned().unwrap_or_else(|| usual.to_owned());
    let login = address("--login", GLOBAL_AUTHORITY);
    let tokens = ClientSecret::new(login, tenant, application, secret, transport.clone(), timer.clone());
    Ok(GraphClient::new(&address("--graph", GLOBAL_GRAPH), transport, Arc::new(tokens), timer)?)
}
