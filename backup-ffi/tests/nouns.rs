//! Two programs, in C and in C++, that use every noun of the interface once: built with warnings as errors and run, the one in C under
//! valgrind too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

mod library;

fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("skipped: there is no {program}");
    }
    there
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_le_bytes).collect()
}

/// Two states of a folder: of 600 files more than a batch of a listing, most are gone in the second, one is new and one has other content.
fn fill(before: &Path, after: &Path) {
    for folder in [before, after] {
        fs::create_dir_all(folder.join("deep")).unwrap();
    }
    fs::write(before.join("deep/large"), numbers(300_000)).unwrap();
    fs::write(after.join("deep/large"), numbers(299_000)).unwrap();
    for number in 0..600 {
        fs::write(before.join(format!("file {number}")), format!("text {number}")).unwrap();
    }
    fs::write(after.join("new"), "news").unwrap();
}

fn build_and_run(compiler: &[&str], source: &str, wrapper: &[&str]) {
    let (name, options) = compiler.split_first().expect("a compiler has a name");
    let (root, place) = (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::tempdir().unwrap());
    let (library, program) = (library::shared(), place.path().join("program"));
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(library.parent().expect("a file lies in a folder"));
    let mut compile = Command::new(name);
    compile.args(options).args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-g", "-pthread", "-I"]);
    compile.arg(root.join("../include")).arg(root.join("tests/programs").join(source));
    run(compile.arg("-o").arg(&program).arg(&library).arg(rpath));

    let (before, after) = (place.path().join("before"), place.path().join("after"));
    fill(&before, &after);
    let mut command = match wrapper.split_first() {
        Some((name, options)) => {
            let mut command = Command::new(name);
            command.args(options).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    run(command
        .arg(place.path().join("repository"))
        .arg(&before)
        .arg(&after)
        .arg(place.path().join("target")));
    // The undo has brought back what was lost, and nothing else.
    let target = place.path().join("target");
    assert_eq!(fs::read(target.join("deep/large")).unwrap(), numbers(300_000));
    assert_eq!(fs::read(target.join("file 599")).unwrap(), b"text 599");
    assert!(!target.join("new").exists());
}

#[test]
fn every_noun_works_in_c() {
    if is_there("cc") {
        build_and_run(&["cc", "-std=c99"], "nouns.c", &[]);
    }
}

#[test]
fn every_noun_works_in_cpp() {
    if is_there("c++") {
        build_and_run(&["c++", "-std=c++17"], "nouns.cpp", &[]);
    }
}

#[test]
fn no_noun_touches_memory_of_others_or_leaks() {
    if is_there("cc") && is_there("valgrind") {
        let options = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"];
        let kinds = ["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"];
        build_and_run(&["cc", "-std=c99"], "nouns.c", &[&options[..], &kinds[..]].concat());
    }
}
