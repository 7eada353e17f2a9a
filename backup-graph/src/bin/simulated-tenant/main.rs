//! A simulated Microsoft 365 tenant as a program, for products in any language to be tested against.
//!
//! It prints one line of JSON once it can be reached, answers `report` on standard input with another, and prints a last
//! one when standard input ends or it is told to stop (SIGTERM, Ctrl-C). It keeps everything in memory, listens on
//! 127.0.0.1 only and never connects to anything.
//!
//! `arguments` is the command line, `report` are the lines it prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]

mod arguments;
mod report;

use std::io::{BufRead as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use arguments::{Arguments, Documents, HELP};
use backup_graph::sim::{Fault, SimServer, Simulation, Tenant};
use report::Resident;
use tokio::sync::mpsc;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Longest line of standard input, in bytes.
const COMMAND_BYTES_MAX: u64 = 256;
/// Most events that wait for the program.
const EVENTS_MAX: usize = 16;

/// What the program is told.
enum Event {
    /// A line of standard input.
    Command(String),
    Stop,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(run(&arguments))),
        Ok(None) => {
            println!("{HELP}");
            Ok(())
        }
        Err(message) => Err(format!("{message}; see --help").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let (tenant, residents) = tenant(arguments)?;
    let simulation = Simulation::new(tenant);
    if arguments.throttle_percent > 0 {
        let wait = Duration::from_secs(arguments.retry_after_seconds);
        simulation.script(|faults| {
            faults.sometimes(arguments.seed, arguments.throttle_percent * 10, Fault::Throttle(wait))
        });
    }
    // Listened to before anybody can know that the program runs.
    let mut events = events()?;
    let server = SimServer::start_at(simulation.clone(), arguments.entrance, arguments.port).await?;
    if let (Some(path), Some(pem)) = (&arguments.authority_file, server.authority_pem()) {
        std::fs::write(path, pem).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    say(&report::ready(arguments, &simulation, &server, &residents))?;
    while let Some(event) = events.recv().await {
        match event {
            Event::Command(command) if command == "report" => say(&report::seen(&simulation, &residents)?)?,
            Event::Command(command) if command.is_empty() => {}
            Event::Command(command) => eprintln!("there is no command {command:?}; there is: report"),
            Event::Stop => break,
        }
    }
    say(&report::seen(&simulation, &residents)?)
}

fn tenant(arguments: &Arguments) -> Result<(Tenant, Vec<Resident>)> {
    let mut tenant = Tenant::new(arguments.seed);
    for (application, secret) in &arguments.applications {
        tenant.add_application(application, secret);
    }
    let mut residents = Vec::new();
    for (seed, (owner, documents)) in (arguments.seed..).zip(&arguments.drives) {
        let drive = tenant.add_drive(owner);
        match documents {
            Documents::None => {}
            Documents::MadeUp(count) => tenant.seed_documents(&drive, seed, *count)?,
            Documents::From(folder) => drop(tenant.seed_from_dir(&drive, folder)?),
        }
        residents.push(Resident { owner: owner.clone(), drive });
    }
    let rules = tenant.rules_mut();
    rules.page_entries = arguments.page_entries.unwrap_or(rules.page_entries);
    rules.refuse_tokens_at_content_host = !arguments.lenient;
    rules.refuse_tokens_at_uploads = !arguments.lenient;
    rules.refuse_uneven_ranges = !arguments.lenient;
    Ok((tenant, residents))
}

/// Signals and lines of standard input, in the order in which they come.
fn events() -> Result<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let commands = sender.clone();
    // Reading blocks, and nothing can wake it: the thread ends with the program.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = (&mut input).take(COMMAND_BYTES_MAX).read_line(&mut line);
            let event = match read {
                Ok(0) | Err(_) => Event::Stop,
                Ok(_) => Event::Command(line.trim().to_owned()),
            };
            let last = matches!(event, Event::Stop);
            if commands.blocking_send(event).is_err() || last {
                return;
            }
        }
    });
    #[cfg(unix)]
    {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let sender = sender.clone();
        tokio::spawn(async move {
            terminated.recv().await;
            let _ = sender.send(Event::Stop).await;
        });
    }
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = sender.send(Event::Stop).await;
        }
    });
    Ok(events)
}

/// Prints one line, at once: whoever started the program waits for it.
fn say(line: &serde_json::Value) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
