//! C and C++ programs: compiled with warnings as errors, linked with the library of this test run, and run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) const C: &[&str] = &["cc", "-std=c99"];
pub(crate) const CPP: &[&str] = &["c++", "-std=c++17"];
const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-pedantic", "-Werror"];

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("skipped: there is no {program}");
    }
    there
}

pub(crate) fn checked(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What the static library needs of the system (`rustc --print native-static-libs`).
pub(crate) const NATIVE: &[&str] =
    if cfg!(target_os = "linux") { &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"] } else { &[] };

/// Compiles `sources` and links them with the shared library.
pub(crate) fn compile(compiler: &[&str], sources: &[PathBuf], program: &Path) {
    let library = super::shared();
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(library.parent().expect("a file lies in a folder"));
    checked(compilation(compiler, sources, program).arg(&library).arg(rpath));
}

pub(crate) fn compilation(compiler: &[&str], sources: &[PathBuf], program: &Path) -> Command {
    let mut command = call(compiler);
    command.arg("-g").args(sources).arg("-o").arg(program).arg("-pthread");
    command
}

/// Looks at a file without making anything of it. What it does not use is no mistake.
pub(crate) fn syntax(compiler: &[&str], source: &Path) -> Command {
    let mut command = call(compiler);
    command.args(["-fsyntax-only", "-Wno-unused", "-Wno-unused-parameter"]).arg(source);
    command
}

fn call(compiler: &[&str]) -> Command {
    let (name, options) = compiler.split_first().expect("a compiler has a name");
    let mut command = Command::new(name);
    command.args(options).args(WARNINGS).arg("-I").arg(root().join("../include"));
    command
}
