//! Writes the golden vectors: `cargo run -p backup-core --features testkit --example vectors [FOLDER]`.
//!
//! The folder is `tests/vectors` of this crate unless given. Run it only after a deliberate change of the format, and
//! review what differs: what earlier versions wrote must stay readable.

#![allow(clippy::print_stdout, reason = "a command line talks to its user")]

use std::path::PathBuf;

#[path = "../tests/vectors/generate.rs"]
mod generate;

fn main() -> generate::Result<()> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let folder = std::env::args_os().nth(1).map_or(here, PathBuf::from);
    for (name, bytes) in generate::files()? {
        println!("{name}: {} bytes", bytes.len());
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
