//! C and C++ programs against the built library: the examples, with warnings as errors, also under valgrind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]
#![cfg(unix)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

mod library;

use library::compile::{C, CPP, NATIVE, checked, compilation, compile, is_there, root};

/// A folder worth keeping.
fn fill(folder: &Path) {
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    fs::write(folder.join("empty"), b"").unwrap();
    fs::write(folder.join("deep/er/text.txt"), b"text").unwrap();
    fs::write(folder.join("deep/large"), (0..300_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    fs::write(folder.join("left-out.tmp"), b"not wanted").unwrap();
    std::os::unix::fs::symlink("deep/large", folder.join("link")).unwrap();
    // Not every file system takes a name that is no text.
    let _ = fs::write(folder.join(std::ffi::OsStr::from_bytes(b"not\xfftext")), b"bytes");
}

/// Everything below a folder: path, and content or link target.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut all, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let content = if kind.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else if kind.is_dir() {
                open.push(path.clone());
                b"folder".to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            all.push((path.strip_prefix(folder).unwrap().to_owned(), content));
        }
    }
    all.sort();
    all
}

/// Compiles an example, runs it below `wrapper`, and compares what it restored.
fn round_trip(compiler: &[&str], example: &str, wrapper: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("program");
    compile(compiler, &[root().join("examples").join(example)], &program);
    run(&program, place.path(), wrapper);
}

fn run(program: &Path, place: &Path, wrapper: &[&str]) {
    let (folder, target) = (place.join("folder"), place.join("target"));
    fill(&folder);
    let mut command = match wrapper.split_first() {
        Some((name, options)) => {
            let mut command = Command::new(name);
            command.args(options).arg(program);
            command
        }
        None => Command::new(program),
    };
    checked(command.arg(place.join("repository")).arg(&folder).arg(&target));
    let mut expected = contents(&folder);
    expected.retain(|(path, _)| path != Path::new("left-out.tmp"));
    assert_eq!(contents(&target), expected);
}

#[test]
fn the_c_example_backs_up_and_restores() {
    if is_there("cc") {
        round_trip(C, "backup.c", &[]);
    }
}

#[test]
fn the_cpp_example_backs_up_and_restores() {
    if is_there("c++") {
        round_trip(CPP, "backup.cpp", &[]);
    }
}

#[test]
fn the_c_example_works_with_the_static_library() {
    if is_there("cc") {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("program");
        let mut command = compilation(C, &[root().join("examples/backup.c")], &program);
        checked(command.arg(library::archive()).args(NATIVE));
        run(&program, place.path(), &[]);
    }
}

#[test]
fn the_c_example_touches_no_memory_of_others_and_leaks_none() {
    if is_there("cc") && is_there("valgrind") {
        let options = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"];
        let kinds = ["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"];
        round_trip(C, "backup.c", &[&options[..], &kinds[..]].concat());
    }
}

/// The headers stand alone, may be included twice, in several units, and in every common dialect.
#[test]
fn the_headers_are_clean_in_every_dialect() {
    let place = tempfile::tempdir().unwrap();
    let unit = |name: &str, header: &str, main: &str| {
        let path = place.path().join(name);
        fs::write(&path, format!("#include \"{header}\"\n#include \"{header}\"\n{main}\n")).unwrap();
        path
    };
    let program = place.path().join("program");
    if is_there("cc") {
        let sources = [
            unit(
                "one.c",
                "backup.h",
                "int main(void) { return (int)backup_abi_version() - BACKUP_ABI_VERSION; }",
            ),
            unit(
                "two.c",
                "backup.h",
                "const char *version(void);\nconst char *version(void) { return backup_version(); }",
            ),
        ];
        for dialect in ["-std=c99", "-std=c11", "-std=c17"] {
            compile(&["cc", dialect], &sources, &program);
        }
        checked(&mut Command::new(&program));
    }
    if is_there("c++") {
        let sources = [
            unit("one.cpp", "backup.hpp", "int main() { return backup_version()[0] == '\\0'; }"),
            unit("two.cpp", "backup.hpp", "backup::Options none() { return backup::only({}); }"),
        ];
        for dialect in ["-std=c++17", "-std=c++20"] {
            compile(&["c++", dialect], &sources, &program);
        }
        checked(&mut Command::new(&program));
    }
}
