//! A drive of a million items: what enumerating it, committing it and following it takes.
//!
//! `cargo run --release -p backup-graph --all-features --example million -- --items 1000000 --memory-max-mb 300`
//!
//! The simulated tenant runs in a child process, so that its memory is not counted; the engine, with a repository in a
//! temporary folder, runs in this one. Fails if the engine's memory was ever above the bound, or if an incremental run finds
//! other changes than the hundred that were made.
//!
//! With `--large-mb 5120` there is a file of that size too, of noise that neither compresses nor repeats. It is restored into
//! another drive and compared there.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]
#![allow(clippy::clone_on_ref_ptr, reason = "shorter, in what is read as an example")]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use backup_core::{BackupReport, Credential, Repository, SnapshotId, SnapshotState, store};
use backup_graph::sim::{SimServer, Simulation, Tenant};
use backup_graph::{ClientSecret, DriveSink, DriveSource, GraphClient, ReqwestTransport, Secret, TokioTimer};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const APPLICATION: &str = "5c0ffee0-0000-4000-8000-000000000002";
const SECRET: &str = "known to both processes";
const CHANGES: usize = 100;
const FILES_PER_FOLDER: usize = 500;
const LARGE: &str = "large.vhdx";

struct Arguments {
    items: usize,
    /// Of a hundred files, so many are not empty.
    full_percent: usize,
    large_mb: usize,
    memory_max_mb: u64,
    serve: bool,
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut all =
            Self { items: 1_000_000, full_percent: 1, large_mb: 0, memory_max_mb: 300, serve: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number =
                || words.next().and_then(|text| text.parse::<u64>().ok()).ok_or("a number is missing");
            match word.as_str() {
                "--items" => all.items = usize::try_from(number()?)?,
                "--full-percent" => all.full_percent = usize::try_from(number()?)?,
                "--large-mb" => all.large_mb = usize::try_from(number()?)?,
                "--memory-max-mb" => all.memory_max_mb = number()?,
                "--serve" => all.serve = true,
                _ => return Err(format!("not an option: {word}").into()),
            }
        }
        Ok(all)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    if arguments.serve { serve(&arguments).await } else { measure(&arguments).await }
}

/// The child: the tenant behind HTTP. Each line on its input is an order, each is answered by one line.
async fn serve(arguments: &Arguments) -> Result<()> {
    let mut tenant = Tenant::new(2_026);
    tenant.add_application(APPLICATION, SECRET);
    let drive = tenant.add_drive("ada@contoso.example");
    let path = |number: usize| format!("folder {}/document {number}.docx", number / FILES_PER_FOLDER);
    for number in 0..arguments.items {
        let full = number % 100 < arguments.full_percent;
        let content = if full { format!("content of {number}") } else { String::new() };
        tenant.write_file(&drive, &path(number), content)?;
    }
    if arguments.large_mb > 0 {
        tenant.write_file(&drive, LARGE, large(arguments.large_mb))?;
    }
    let other = tenant.add_drive("grace@contoso.example");
    let tenant_id = tenant.id().to_owned();
    let step = (arguments.items / CHANGES).max(1);
    let simulation = Simulation::new(tenant);
    let server = SimServer::start(simulation.clone()).await?;
    println!("{} {} {tenant_id} {drive} {other}", server.graph_url(), server.login_url());
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(move || -> Result<(), String> {
        let mut original = None;
        for line in std::io::stdin().lock().lines() {
            match line.map_err(|error| error.to_string())?.as_str() {
                "change" => {
                    for change in 0..CHANGES {
                        let (path, content) = (path(change * step), format!("changed {change}"));
                        let written = simulation.with(|tenant| tenant.write_file(&drive, &path, content));
                        written.map_err(|error| error.to_string())?;
                    }
                    println!("done");
                }
                // What it was is known, and the memory for a second one is there.
                "forget" => {
                    original = hash(simulation.with(|tenant| tenant.read_file(&drive, LARGE).ok()));
                    let gone = simulation.with(|tenant| tenant.delete(&drive, LARGE));
                    gone.map_err(|error| error.to_string())?;
                    println!("done");
                }
                "compare" => {
                    let restored = simulation.with(|tenant| tenant.read_file(&other, LARGE).ok());
                    println!("{}", original.is_some() && hash(restored) == original);
                }
                _ => {
                    println!("{}", simulation.counters().total());
                    simulation.reset_counters();
                }
            }
            std::io::stdout().flush().map_err(|error| error.to_string())?;
        }
        Ok(())
    })
    .await??;
    Ok(())
}

/// Noise, so that every chunk of it has to be stored.
fn large(mb: usize) -> Vec<u8> {
    let mut bytes = vec![0; mb << 20];
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn hash(content: Option<bytes::Bytes>) -> Option<Vec<u8>> {
    let content = content?;
    Some(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content).as_ref().to_vec())
}

/// The child, and the talk with it.
struct Service {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Service {
    fn start(arguments: &Arguments) -> Result<Self> {
        let numbers =
            [arguments.items, arguments.full_percent, arguments.large_mb].map(|number| number.to_string());
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .args(
                ["--items", "--full-percent", "--large-mb"]
                    .iter()
                    .zip(&numbers)
                    .flat_map(|(name, number)| [*name, number]),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
        Ok(Self { child, answers })
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn order(&mut self, order: &str) -> Result<String> {
        let input = self.child.stdin.as_mut().ok_or("the child has no input")?;
        writeln!(input, "{order}")?;
        self.answer()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let mut service = Service::start(arguments)?;
    let places = service.answer()?;
    let [graph, login, tenant, drive, other] = places.split(' ').collect::<Vec<_>>()[..] else {
        return Err("the child did not say where it is".into());
    };
    println!("{} items seeded in {:.0?}; the engine uses {}", arguments.items, started.elapsed(), memory());

    let (transport, timer) = (Arc::new(ReqwestTransport::new()?), Arc::new(TokioTimer::new()));
    let secret = Secret::new(SECRET);
    let tokens = ClientSecret::new(login, tenant, APPLICATION, secret, transport.clone(), timer.clone());
    let client = GraphClient::new(graph, transport, Arc::new(tokens), timer)?;
    let folder = tempfile::tempdir()?;
    let place = store::from_url(&folder.path().display().to_string(), [("", ""); 0])?;
    let repository = Repository::init(place, &Credential::raw_key([7; 32])).await?;

    let first = back_up("first run", &repository, &client, drive, &mut service).await?;
    let folders = arguments.items.div_ceil(FILES_PER_FOLDER);
    let large = usize::from(arguments.large_mb > 0);
    check(first.stats.items == (arguments.items + folders + 1 + large) as u64, "items are missing")?;
    check(service.order("change")? == "done", "nothing was changed")?;
    let changes = back_up("100 changes", &repository, &client, drive, &mut service).await?;
    check(changes.stats.changed == CHANGES as u64 && changes.stats.added == 0, "other changes were found")?;
    let changes = back_up("no change", &repository, &client, drive, &mut service).await?;
    check(changes.stats.changed == 0, "changes were found where there are none")?;
    if large > 0 {
        restore_large(&repository, changes.snapshot, &client, other, &mut service).await?;
    }
    let used = high_water_mark_mb();
    check(used.is_none_or(|used| used <= arguments.memory_max_mb), "the engine used more memory than allowed")
}

async fn back_up(
    what: &str,
    repository: &Repository,
    client: &GraphClient,
    drive: &str,
    service: &mut Service,
) -> Result<BackupReport> {
    let started = Instant::now();
    let report = repository.backup(&DriveSource::new(client.clone(), drive)).run().await?;
    let requests = service.order("count")?;
    println!(
        "{what}: {} items, {requests} requests, {:.1?}, {} bytes stored, {}",
        report.stats.items,
        started.elapsed(),
        report.stats.bytes_stored,
        memory()
    );
    check(report.state == SnapshotState::Complete, "the run was not complete")?;
    Ok(report)
}

/// Restores the large file into another drive.
async fn restore_large(
    repository: &Repository,
    snapshot: SnapshotId,
    client: &GraphClient,
    drive: &str,
    service: &mut Service,
) -> Result<()> {
    check(service.order("forget")? == "done", "the large file was not forgotten")?;
    let started = Instant::now();
    let sink = DriveSink::new(client.clone(), drive, None);
    let report = repository.restore(snapshot, &sink).only(LARGE).run().await?;
    let requests = service.order("count")?;
    println!(
        "restored: {} bytes, {requests} requests, {:.1?}, {}",
        report.bytes,
        started.elapsed(),
        memory()
    );
    check(report.problems.is_empty(), "the large file was not restored")?;
    check(service.order("compare")? == "true", "the large file is not what it was")
}

fn check(kept: bool, what: &str) -> Result<()> {
    if kept { Ok(()) } else { Err(what.into()) }
}

fn memory() -> String {
    high_water_mark_mb().map_or_else(|| "memory unknown".to_owned(), |mb| format!("{mb} MB at most"))
}

/// The most memory that this process ever used, where the system tells.
fn high_water_mark_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1_024)
}
