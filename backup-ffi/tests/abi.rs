//! What programs were compiled against stays: symbols, sizes and numbers are those of `tests/abi.txt`. New ones are
//! added with `BACKUP_REGENERATE=1`; a line that vanishes or changes needs another `BACKUP_ABI_VERSION`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

mod library;

/// Names of the functions in the shared library.
fn symbols() -> Option<BTreeSet<String>> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library::shared()).output().ok()?;
    assert!(output.status.success(), "nm: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("symbols are text");
    Some(text.lines().filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect())
}

/// The lines `BACKUP_…_… = N` of the header, and functions' declarations by name.
fn header_facts() -> (BTreeSet<String>, BTreeSet<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/backup.h");
    let header = std::fs::read_to_string(path).expect("the header is there");
    let code = header.lines().map(str::trim).filter(|line| !line.starts_with(['*', '/']));
    let (mut numbers, mut functions) = (BTreeSet::new(), BTreeSet::new());
    for line in code {
        if line.starts_with("BACKUP_") && line.contains(" = ") {
            numbers.insert(format!("number {}", line.trim_end_matches(',')));
        }
        for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '(')) {
            if let Some((name, _)) = word.split_once('(').filter(|(name, _)| name.starts_with("backup_")) {
                functions.insert(name.to_owned());
            }
        }
    }
    (numbers, functions)
}

macro_rules! sizes {
    ($($name:ident),*) => {
        [$(format!("size {} {}", stringify!($name), size_of::<backup::$name>())),*]
    };
}

#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn symbols_sizes_and_numbers_are_those_on_record() {
    let Some(symbols) = symbols() else {
        println!("skipped: there is no nm");
        return;
    };
    let foreign: Vec<_> = symbols.iter().filter(|name| !name.starts_with("backup_")).collect();
    assert!(foreign.is_empty(), "exported besides backup_*: {foreign:?}");
    let (numbers, functions) = header_facts();
    assert_eq!(symbols, functions, "symbols of the library (left) are not those of the header (right)");

    let mut lines: Vec<String> = vec![format!("abi {}", backup::BACKUP_ABI_VERSION)];
    lines.extend(symbols.into_iter().map(|name| format!("symbol {name}")));
    lines.extend(sizes![
        backup_attribute,
        backup_bytes,
        backup_damage,
        backup_decision,
        backup_drill_result,
        backup_extend_result,
        backup_graph_entry,
        backup_head,
        backup_item,
        backup_key,
        backup_label,
        backup_mirror_result,
        backup_parity_result,
        backup_place,
        backup_probe,
        backup_problem,
        backup_progress,
        backup_protection,
        backup_prune_result,
        backup_restore_result,
        backup_result,
        backup_salvage_result,
        backup_scrub_result,
        backup_sink_vtable,
        backup_snapshot,
        backup_source_vtable,
        backup_stats,
        backup_store_vtable,
        backup_stream,
        backup_time,
        backup_verify_result
    ]);
    lines.extend(numbers);
    let fresh = lines.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/abi.txt");
    if std::env::var_os("BACKUP_REGENERATE").is_some() {
        std::fs::write(&path, &fresh).expect("the record can be written");
    }
    let record = std::fs::read_to_string(&path).unwrap_or_default();
    let (known, now): (BTreeSet<_>, BTreeSet<_>) = (record.lines().collect(), fresh.lines().collect());
    let gone: Vec<_> = known.difference(&now).collect();
    let added: Vec<_> = now.difference(&known).collect();
    assert!(
        gone.is_empty() && added.is_empty(),
        "gone: {gone:?}; new (BACKUP_REGENERATE=1 adds them): {added:?}"
    );
}

/// Programs ask for the interface that they were compiled against.
#[test]
#[cfg(target_os = "linux")]
fn the_shared_library_is_named_by_its_interface() {
    let Ok(output) = Command::new("readelf").arg("-d").arg(library::shared()).output() else {
        println!("skipped: there is no readelf");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let name = format!("[libbackup.so.{}]", backup::BACKUP_ABI_VERSION);
    assert!(text.lines().any(|line| line.contains("SONAME") && line.contains(&name)), "{text}");
}

/// What is installed says the same version and interface as the library.
#[test]
fn the_installed_files_name_this_version() {
    let read = |path: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there")
    };
    let version = format!("set(PACKAGE_VERSION \"{}\")", env!("CARGO_PKG_VERSION"));
    assert!(read("cmake/backup-config-version.cmake").contains(&version), "{version}");
    let interface = format!("set(BACKUP_ABI_VERSION {})", backup::BACKUP_ABI_VERSION);
    assert!(read("CMakeLists.txt").contains(&interface), "{interface}");
    let library = format!("version = \"{}.0.0\"", backup::BACKUP_ABI_VERSION);
    assert!(read("Cargo.toml").contains(&library), "{library}");
}

/// The static library's global symbols of its own: what is linked with it must not meet another `backup_*`. Those of what it is made of
/// (Rust's library, zstd, aws-lc) are there too, as in every static library of Rust; docs/ffi.md says what that means.
#[test]
#[cfg(target_os = "linux")]
fn the_static_library_has_every_function() {
    let output =
        Command::new("nm").args(["--defined-only", "--extern-only"]).arg(library::archive()).output();
    let Ok(output) = output else {
        println!("skipped: there is no nm");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    // Address, kind and name; names of members stand alone.
    let words = text.lines().filter_map(|line| line.split_whitespace().nth(2));
    let own: BTreeSet<String> = words.filter(|name| name.starts_with("backup_")).map(str::to_owned).collect();
    assert_eq!(own, header_facts().1, "symbols of the archive (left) are not those of the header (right)");
}

/// A code that the engine has and the header has not, or under another number.
#[test]
fn error_codes_are_those_of_the_engine() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backup-core/src/error.rs");
    let source = std::fs::read_to_string(path).expect("the engine's source is there");
    let body = source.split("pub enum ErrorKind {").nth(1).and_then(|rest| rest.split("\n}").next());
    let engine: BTreeSet<(String, u32)> = body
        .expect("ErrorKind is there")
        .lines()
        .filter_map(|line| {
            let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
            Some((screaming(name), number.parse().expect("a number")))
        })
        .collect();
    let (numbers, _) = header_facts();
    let header: BTreeSet<(String, u32)> = numbers
        .iter()
        .filter_map(|line| {
            let (name, number) = line.strip_prefix("number BACKUP_CODE_")?.split_once(" = ")?;
            Some((name.to_owned(), number.parse().expect("a number")))
        })
        .filter(|(name, _)| name != "OK")
        .collect();
    assert!(engine.len() > 20);
    assert_eq!(engine, header, "engine (left), header (right)");
}

/// `NotFound` as `NOT_FOUND`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}
