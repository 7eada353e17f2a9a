//! The main job, from start to end, with nothing to set up.
//!
//! `cargo run --release --example protect` starts a simulated Microsoft 365 tenant on the loopback interface, backs two
//! of its drives up into an encrypted repository on the local disk, lets people work and an attacker destroy, backs up
//! again, restores the state before the damage into the tenant, and proves it equal.
//!
//! With `--folder PATH` it protects a real folder instead. `--help` shows all options.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]
#![allow(clippy::clone_on_ref_ptr, reason = "shorter, in what is read as an example")]

mod arguments;
mod folder;
mod show;
mod tenant;

use std::process::ExitCode;

use arguments::{Arguments, HELP, Job};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => match &arguments.job {
            Job::Tenant { .. } => tenant::run(&arguments).await,
            Job::Folder { .. } => folder::run(&arguments).await,
        },
        Ok(None) => {
            println!("{HELP}");
            Ok(())
        }
        Err(message) => Err(message.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let hint = error.downcast_ref::<backup_core::Error>().map_or("see --help", |error| error.hint());
            eprintln!("  what you can do: {hint}");
            ExitCode::FAILURE
        }
    }
}
