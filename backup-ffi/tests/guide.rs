//! What `docs/ffi.md` shows is C and C++ that compiles, warnings as errors. Nothing of it is run: the examples are.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]
#![cfg(unix)]

use std::fs;

mod library;

use library::compile::{C, CPP, checked, is_there, root, syntax};

/// The blocks of the guide that are marked with `language`, in their order.
fn blocks(language: &str) -> Vec<String> {
    let guide = fs::read_to_string(root().join("../docs/ffi.md")).unwrap();
    let fence = format!("```{language}\n");
    guide.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn compiles(compiler: &[&str], name: &str, text: &str) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join(name);
    fs::write(&file, text).unwrap();
    checked(&mut syntax(compiler, &file));
}

#[test]
fn its_c_compiles() {
    if !is_there("cc") {
        return;
    }
    let blocks = blocks("c");
    let [backup, browse, own] = blocks.as_slice() else {
        panic!("the guide has {} blocks of C", blocks.len())
    };
    // The table of functions and the call with it stand in a function; what the table names, before it.
    let (functions, call) = own.split_at(own.find("const backup_source_vtable").unwrap());
    compiles(
        C,
        "guide.c",
        &format!(
            "#include <stdbool.h>\n#include <stdio.h>\n#include <backup.h>\n\
             void run(const uint8_t *pass, size_t pass_length);\n\
             void run(const uint8_t *pass, size_t pass_length) {{\n{backup}}}\n\
             backup_error *browse(backup_repo *repo, backup_result done);\n\
             backup_error *browse(backup_repo *repo, backup_result done) {{\nbackup_error *error;\n{browse}out:\nreturn error;\n}}\n\
             bool more(void *object);\nbool failed(void *object);\nextern const uint8_t bytes[];\nextern size_t len;\n\
             backup_error *changes(void *object, backup_bytes cursor, backup_changes *out);\n\
             void release(void *object);\n{functions}\
             backup_error *own(void *object);\n\
             backup_error *own(void *object) {{\nbackup_error *error;\nbackup_source *source = NULL;\n{call}return error;\n}}\n"
        ),
    );
}

#[test]
fn its_cpp_compiles() {
    if !is_there("c++") {
        return;
    }
    let blocks = blocks("cpp");
    let [backup, browse, own, graph] = blocks.as_slice() else {
        panic!("the guide has {} blocks of C++", blocks.len())
    };
    let given = "backup::Repository &repo, const std::string &snapshot";
    compiles(
        CPP,
        "guide.cpp",
        &format!(
            "#include <iostream>\n#include <backup.hpp>\n#include <backup_browse.hpp>\n#include <backup_graph.hpp>\n\
             #include <backup_own.hpp>\n#include <backup_upkeep.hpp>\n\
             void run();\nvoid run() {{\n{backup}}}\n\
             void browse({given});\nvoid browse({given}) {{\n{browse}}}\n\
             void own({given});\nvoid own(backup::Repository &repo, const std::string &) {{\n{own}}}\n\
             void graph({given}, backup::Runtime &runtime, const char *application_id, const char *secret, const char *drive_id);\n\
             void graph({given}, backup::Runtime &runtime, const char *application_id, const char *secret, const char *drive_id) {{\n{graph}}}\n"
        ),
    );
}
