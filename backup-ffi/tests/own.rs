//! Own sources, sinks and stores in C and C++: the example, a round through all seams, everything that can be done wrong, and eight
//! threads on one repository. Also under valgrind and under the compiler's own sanitizers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod library;

use library::compile::{C, CPP, checked, compile, is_there, root};

/// What the tests compile: the compiler and the source.
const PROGRAMS: &[(&[&str], &str)] = &[
    (C, "examples/own.c"),
    (C, "tests/programs/nonsense.c"),
    (&["cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L"], "tests/programs/threads.c"),
    (CPP, "tests/programs/own.cpp"),
];

fn program(place: &Path, source: &str, options: &[&str]) -> Option<PathBuf> {
    let (compiler, _) = PROGRAMS.iter().find(|(_, known)| *known == source).expect("the program is listed");
    if !is_there(compiler.first().expect("a compiler has a name")) {
        return None;
    }
    let program = place.join(Path::new(source).file_name().expect("a file has a name"));
    compile(&[compiler, options].concat(), &[root().join(source)], &program);
    Some(program)
}

fn runs(source: &str) {
    let place = tempfile::tempdir().unwrap();
    if let Some(program) = program(place.path(), source, &[]) {
        checked(&mut Command::new(program));
    }
}

#[test]
fn the_example_gets_every_byte_back() {
    let place = tempfile::tempdir().unwrap();
    if let Some(program) = program(place.path(), "examples/own.c", &[]) {
        checked(Command::new(&program).arg(place.path().join("repository")));
        // In memory.
        checked(&mut Command::new(&program));
    }
}

#[test]
fn nonsense_is_an_error_and_does_no_harm() {
    runs("tests/programs/nonsense.c");
}

#[test]
fn a_round_through_own_classes_and_their_exceptions() {
    runs("tests/programs/own.cpp");
}

#[test]
fn eight_threads_share_a_repository() {
    runs("tests/programs/threads.c");
}

/// The folder of the C++ example for object stores, in a local repository: addresses are all that differs.
#[test]
fn the_folder_example_works_with_any_address() {
    let place = tempfile::tempdir().unwrap();
    if !is_there("c++") {
        return;
    }
    let program = place.path().join("program");
    compile(CPP, &[root().join("examples/to_s3.cpp")], &program);
    folder_round(
        &program,
        place.path(),
        &format!("file://{}", place.path().join("repository").display()),
        "",
    );
}

fn folder_round(program: &Path, place: &Path, url: &str, options: &str) {
    let (folder, target) = (place.join("folder"), place.join("target"));
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("deep/text"), "text").unwrap();
    fs::write(folder.join("long"), vec![7; 3_000_000]).unwrap();
    let mut command = Command::new(program);
    command
        .env("BACKUP_REPOSITORY", url)
        .env("BACKUP_OPTIONS", options)
        .env("BACKUP_PASSPHRASE", "correct horse");
    checked(command.arg(&folder).arg(&target));
    assert_eq!(fs::read(target.join("deep/text")).unwrap(), b"text");
    assert_eq!(fs::read(target.join("long")).unwrap(), vec![7; 3_000_000]);
}

/// The same against SeaweedFS; `.ci/servers.py` starts it and says where it is.
#[test]
#[ignore = "needs an object store: run by the part `servers` of .ci/check.sh"]
fn the_folder_example_works_with_a_server() {
    let addresses = setting("BACKUP_TEST_STORES");
    let Some(address) = addresses.split_whitespace().find(|address| address.starts_with("s3://")) else {
        println!("skipped: BACKUP_TEST_STORES names no store of this kind");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("program");
    compile(CPP, &[root().join("examples/to_s3.cpp")], &program);
    let url = format!("{address}/c-example-{}", std::process::id());
    folder_round(&program, place.path(), &url, &of_server().join(","));
}

/// What reaches the server that `.ci/servers.py` has started.
fn of_server() -> [String; 5] {
    ["AWS_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP"]
        .map(|name| format!("{}={}", name.to_ascii_lowercase(), setting(name)))
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Object Lock of SeaweedFS, and the repository as it was before something was removed.
#[test]
#[ignore = "needs a bucket with Object Lock: run by the part `servers` of .ci/check.sh"]
fn a_locked_bucket_of_a_server_keeps_what_there_was() {
    let bucket = setting("BACKUP_LOCKED_BUCKET");
    assert!(!bucket.is_empty(), "BACKUP_LOCKED_BUCKET names no bucket");
    let place = tempfile::tempdir().unwrap();
    let (folder, target) = (place.path().join("folder"), place.path().join("target"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("text"), "text").unwrap();
    let program = place.path().join("program");
    compile(CPP, &[root().join("tests/programs/locked.cpp")], &program);
    let url = format!("{bucket}/c-{}", std::process::id());
    checked(Command::new(program).args([&folder, &target]).arg(url).args(of_server()));
    assert_eq!(fs::read(target.join("text")).unwrap(), b"text");
    assert!(!target.join("later").exists());
}

#[test]
fn no_program_touches_memory_of_others_or_leaks_any() {
    if !is_there("valgrind") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for (_, source) in PROGRAMS {
        let Some(program) = program(place.path(), source, &[]) else { continue };
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        command.args(["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]).arg(program);
        if source.ends_with("threads.c") {
            command.arg("1");
        }
        checked(&mut command);
    }
}

/// AddressSanitizer with its search for leaks and UndefinedBehaviorSanitizer, on the programs' side of the border.
#[test]
fn no_program_makes_the_sanitizers_speak() {
    let place = tempfile::tempdir().unwrap();
    let options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let probe = place.path().join("probe.c");
    fs::write(&probe, "int main(void) { return 0; }\n").unwrap();
    let probed =
        Command::new("cc").args(options).arg(&probe).arg("-o").arg(place.path().join("probe")).status();
    if !probed.is_ok_and(|status| status.success()) {
        println!("skipped: the compiler has no sanitizers");
        return;
    }
    for (_, source) in PROGRAMS {
        if let Some(program) = program(place.path(), source, &options) {
            checked(&mut Command::new(program));
        }
    }
}
