//! Every exported function, called wrongly: the list is made from the header, so that a new function cannot be forgotten.
//!
//! The test writes a C program that calls each function with nothing but NULL and 0, with pointers that are not aligned, and with
//! good arguments of which one is bad: NULL, not aligned, a struct whose size is too small. What can fail has to return
//! an error that frees well, what cannot has to return its fallback, and no output may be written. Under valgrind too, if there is one.
//!
//! Handles that a fault has touched cannot be made in C: for these the source is looked at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]
#![cfg(unix)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

mod library;

/// A declaration of the header.
#[derive(Debug)]
struct Function {
    name: String,
    returns: String,
    arguments: Vec<Argument>,
}

#[derive(Debug)]
struct Argument {
    /// As in the header, with single spaces and stars apart: `backup_repo * *`.
    kind: String,
}

fn header() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/backup.h");
    fs::read_to_string(path).expect("the header is there")
}

/// The header without comments and preprocessor lines.
fn code(header: &str) -> String {
    let (mut code, mut rest) = (String::new(), header);
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("comments end").1;
    }
    code.push_str(rest);
    code.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

fn tokens(text: &str) -> String {
    text.replace('*', " * ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn functions(header: &str) -> Vec<Function> {
    let code = code(header);
    let mut all = Vec::new();
    for part in code.split("BACKUP_API").skip(1) {
        let declaration =
            part.split_once(';').expect("a declaration ends").0.replace("BACKUP_NODISCARD", " ");
        let (front, arguments) = declaration.split_once('(').expect("a function has arguments");
        let front = tokens(front);
        let (returns, name) = front.rsplit_once(' ').expect("a function has a type");
        let arguments = arguments.trim_end().strip_suffix(')').expect("arguments end").trim();
        let arguments = if arguments == "void" { "" } else { arguments };
        let argument = |argument: &str| {
            if argument.contains("(*") {
                return Argument { kind: FUNCTION.to_owned() };
            }
            let argument = tokens(argument);
            let (kind, _) = argument.rsplit_once(' ').expect("an argument has a name");
            Argument { kind: kind.to_owned() }
        };
        let arguments = apart(arguments).into_iter().map(argument).collect();
        all.push(Function { name: name.to_owned(), returns: returns.to_owned(), arguments });
    }
    all
}

/// The arguments, of which functions have arguments themselves.
fn apart(arguments: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = arguments.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.filter(|text| !text.trim().is_empty()).collect()
}

/// Names of the structs that begin with `struct_size`, and with that those whose size can be wrong.
fn sized_structs(header: &str) -> Vec<String> {
    let code = code(header);
    let mut all = Vec::new();
    for part in code.split("typedef struct {").skip(1) {
        let (body, rest) = part.split_once('}').expect("a struct ends");
        if body.trim_start().starts_with("uint32_t struct_size;") {
            all.push(rest.split_once(';').expect("a struct has a name").0.trim().to_owned());
        }
    }
    all
}

/// What an argument is to the program that is written.
enum Role {
    /// A handle or a text that is read.
    In(String),
    /// Where a handle goes.
    HandleOut,
    /// A struct that begins with its size, which is read or filled.
    Struct(String),
    /// Memory that is read or written, or a number's place.
    Memory,
    /// A number, or something that has no bad value.
    Plain,
}

fn role(argument: &Argument, structs: &[String]) -> Role {
    let bare = argument.kind.replace("const ", "");
    let pointed = bare.strip_suffix(" *").unwrap_or_default();
    match bare.as_str() {
        FUNCTION | "backup_progress_fn" | "void *" => Role::Plain,
        "char *" => Role::In("char".to_owned()),
        "uint8_t *" | "uint32_t *" | "uint64_t *" | "char * *" => Role::Memory,
        _ if pointed.ends_with(" *") && !argument.kind.starts_with("const") => Role::HandleOut,
        _ if pointed.ends_with(" *") => Role::Memory,
        _ if structs.iter().any(|name| name == pointed) => Role::Struct(pointed.to_owned()),
        _ if pointed.starts_with("backup_") => Role::In(pointed.to_owned()),
        _ => Role::Plain,
    }
}

/// A good value for an argument; the program's `main` makes what it names.
fn good(argument: &Argument, role: &Role) -> String {
    match role {
        Role::In(kind) if kind == "char" => "\"x\"".to_owned(),
        Role::In(kind) if kind == "backup_error" => "NULL".to_owned(),
        Role::In(kind) => format!("({kind} *)handle_{kind}"),
        Role::HandleOut => format!("({})&place", argument.kind),
        Role::Struct(kind) => format!("({kind} *)room"),
        Role::Memory => format!("({})room", argument.kind),
        Role::Plain => plain(argument),
    }
}

fn plain(argument: &Argument) -> String {
    match argument.kind.as_str() {
        FUNCTION | "backup_progress_fn" | "void *" => "NULL".to_owned(),
        _ if argument.kind.contains('*') => format!("({})NULL", argument.kind),
        _ => "0".to_owned(),
    }
}

fn bad(argument: &Argument, pointer: &str) -> String {
    match argument.kind.contains('*') {
        true => format!("({}){pointer}", argument.kind),
        false => plain(argument),
    }
}

/// One call and what is asked of it.
fn call(program: &mut String, function: &Function, arguments: &[String], check: &str) {
    let call = format!("{}({})", function.name, arguments.join(", "));
    let text = call.replace('"', "'");
    match (function.returns.as_str(), check) {
        ("backup_error *", check) => writeln!(program, "  {check}({call}, \"{text}\");"),
        ("void", _) => writeln!(program, "  {call};"),
        _ => writeln!(program, "  fallback((uintptr_t){call}, \"{text}\");"),
    }
    .unwrap();
}

/// Kinds of handles that are only lent to callbacks, or need a service, so that the program has none: their functions are called without
/// one only.
const ONLY_LENT: &[&str] = &[
    "backup_changes",
    "backup_content",
    "backup_contents",
    "backup_entries",
    "backup_graph",
    "backup_graph_list",
    "backup_placement",
    "backup_reader",
];
/// What makes an error of whatever it gets.
const MAKES_ERRORS: &[&str] = &["backup_error_new"];
/// The kind of an argument that is a function.
const FUNCTION: &str = "function";
/// A pointer that is good for text only.
const UNALIGNED: &str = "((char *)room + 1)";
/// What has an answer without arguments.
const CONSTANT: &[&str] = &["backup_abi_version", "backup_version"];

/// What the calls use.
const PRELUDE: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backup.h"

static void *place;
static uint64_t room[1024];
static int failures;

static void clean(void) {
  place = NULL;
  memset(room, 0, sizeof room);
}

static void untouched(const char *call) {
  size_t i;
  for (i = 1; i < sizeof room / sizeof *room; i++)
    if (room[i] != 0) { failures++; printf("wrote into memory that it refused: %s\n", call); break; }
  if (place != NULL) { failures++; printf("gave a handle although it failed: %s\n", call); }
  clean();
}

/* An argument is missing or wrong: that is what the error says. */
static void refused(backup_error *error, const char *call) {
  uint32_t code = backup_error_code(error);
  if (code != BACKUP_CODE_INVALID_ARGUMENT) { failures++; printf("code %u instead of 1: %s\n", (unsigned)code, call); }
  if (error != NULL && strlen(backup_error_message(error)) == 0) { failures++; printf("no message: %s\n", call); }
  backup_error_free(error);
  untouched(call);
}

/* A struct is too small: the error says so. */
static void small(backup_error *error, const char *call) {
  const char *message = backup_error_message(error);
  if (message == NULL || strstr(message, "struct_size") == NULL) {
    failures++;
    printf("%s instead of an error about struct_size: %s\n", message != NULL ? message : "nothing", call);
  }
  backup_error_free(error);
  untouched(call);
}

static void fallback(uintptr_t answer, const char *call) {
  if (answer != 0) { failures++; printf("%llu instead of nothing: %s\n", (unsigned long long)answer, call); }
}

static void must(backup_error *error, const char *what) {
  if (error != NULL) { printf("%s: %s\n", what, backup_error_detail(error)); exit(3); }
}
"#;

fn program(functions: &[Function], structs: &[String]) -> String {
    let mut program = PRELUDE.to_owned();
    let mut body = String::new();
    let mut handles: Vec<String> = Vec::new();
    for function in functions {
        let roles: Vec<Role> = function.arguments.iter().map(|argument| role(argument, structs)).collect();
        for role in &roles {
            if let Role::In(kind) = role
                && kind != "char"
                && kind != "backup_error"
                && !ONLY_LENT.contains(&kind.as_str())
                && !handles.contains(kind)
            {
                handles.push(kind.clone());
            }
        }
        if CONSTANT.contains(&function.name.as_str()) || MAKES_ERRORS.contains(&function.name.as_str()) {
            continue;
        }
        let every = |pointer: &str| -> Vec<String> {
            function.arguments.iter().map(|argument| bad(argument, pointer)).collect()
        };
        call(&mut body, function, &every("NULL"), "refused");
        call(&mut body, function, &every(UNALIGNED), "refused");
        let lent = |role: &Role| matches!(role, Role::In(kind) if ONLY_LENT.contains(&kind.as_str()));
        if function.returns != "backup_error *" || roles.iter().any(lent) {
            continue;
        }
        for (number, argument) in function.arguments.iter().enumerate() {
            let with = |value: String| -> Vec<String> {
                let all = function.arguments.iter().zip(&roles).enumerate();
                all.map(
                    |(at, (argument, role))| if at == number { value.clone() } else { good(argument, role) },
                )
                .collect()
            };
            let refuses = |role: &Role| match role {
                Role::In(kind) => kind != "char",
                Role::HandleOut | Role::Struct(_) => true,
                Role::Memory | Role::Plain => false,
            };
            if let Role::Struct(_) = roles[number] {
                for size in ["0", "3", "7"] {
                    writeln!(body, "  *(uint32_t *)room = {size};").unwrap();
                    call(&mut body, function, &with(good(argument, &roles[number])), "small");
                }
            }
            if refuses(&roles[number]) {
                call(&mut body, function, &with(bad(argument, UNALIGNED)), "refused");
            }
            // What may be NULL is; then something behind it is bad, so that the call does nothing in any case.
            if argument.kind.contains('*') && roles.iter().skip(number + 1).any(refuses) {
                let mut arguments = with(bad(argument, "NULL"));
                for (at, argument) in function.arguments.iter().enumerate().skip(number + 1) {
                    if refuses(&roles[at]) {
                        arguments[at] = bad(argument, UNALIGNED);
                    }
                }
                call(&mut body, function, &arguments, "refused");
            }
        }
    }
    for kind in &handles {
        writeln!(program, "static {kind} *handle_{kind};").unwrap();
    }
    program.push_str("\nstatic void calls(void) {\n");
    program.push_str(&body);
    program.push_str("}\n");
    program.push_str(MAIN);
    program
}

/// Makes one handle of every kind. A new kind is made here too: until it is, its functions fail the test.
const MAIN: &str = r#"
int main(int argc, char **argv) {
  uint8_t key[32] = {7};
  backup_result done = {0};
  backup_snapshots *snapshots = NULL;
  backup_text *public_key = NULL;
  if (argc != 3) return 2;
  done.struct_size = sizeof done;
  must(backup_runtime_new(1, &handle_backup_runtime), "runtime");
  must(backup_credential_raw_key(key, sizeof key, &handle_backup_credential), "credential");
  must(backup_options_new(&handle_backup_options), "options");
  must(backup_cancel_new(&handle_backup_cancel), "cancel");
  must(backup_attributes_new(&handle_backup_attributes), "attributes");
  must(backup_store_open(handle_backup_runtime, "memory://", NULL, &handle_backup_store), "store");
  must(backup_repo_init(handle_backup_runtime, "memory://", NULL, handle_backup_credential, &handle_backup_repo), "repo");
  must(backup_source_folder(argv[1], NULL, &handle_backup_source), "source");
  must(backup_sink_folder(argv[2], NULL, &handle_backup_sink), "sink");
  must(backup_repo_backup(handle_backup_repo, handle_backup_source, NULL, NULL, &done, &handle_backup_problems, NULL, NULL),
       "backup");
  must(backup_repo_snapshots(handle_backup_repo, &handle_backup_snapshots), "snapshots");
  must(backup_repo_snapshot(handle_backup_repo, done.snapshot, &handle_backup_info), "info");
  must(backup_repo_browse(handle_backup_repo, done.snapshot, &handle_backup_browser), "browser");
  must(backup_browser_list(handle_backup_browser, "", &handle_backup_listing), "listing");
  must(backup_browser_stat(handle_backup_browser, "", &handle_backup_entry), "entry");
  must(backup_repo_diff(handle_backup_repo, done.snapshot, done.snapshot, &handle_backup_differences), "differences");
  must(backup_repo_decide(handle_backup_repo, "{}", &handle_backup_decisions), "decisions");
  must(backup_repo_keys(handle_backup_repo, &handle_backup_keys), "keys");
  must(backup_repo_extend_locks(handle_backup_repo, NULL, NULL, &handle_backup_names, NULL, NULL), "names");
  must(backup_repo_id(handle_backup_repo, &handle_backup_text), "text");
  must(backup_repo_public_key(handle_backup_repo, &public_key), "key");
  must(backup_store_scrub(handle_backup_runtime, handle_backup_store, backup_text_get(public_key), NULL, NULL, NULL,
                          &handle_backup_damages, NULL, NULL, NULL), "damages");
  clean();
  calls();

  backup_text_free(public_key);
  backup_snapshots_free(snapshots);
  backup_damages_free(handle_backup_damages);
  backup_text_free(handle_backup_text);
  backup_names_free(handle_backup_names);
  backup_keys_free(handle_backup_keys);
  backup_decisions_free(handle_backup_decisions);
  backup_differences_free(handle_backup_differences);
  backup_entry_free(handle_backup_entry);
  backup_listing_free(handle_backup_listing);
  backup_browser_free(handle_backup_browser);
  backup_info_free(handle_backup_info);
  backup_snapshots_free(handle_backup_snapshots);
  backup_problems_free(handle_backup_problems);
  backup_sink_free(handle_backup_sink);
  backup_source_free(handle_backup_source);
  backup_repo_free(handle_backup_repo);
  backup_store_free(handle_backup_store);
  backup_attributes_free(handle_backup_attributes);
  backup_cancel_free(handle_backup_cancel);
  backup_options_free(handle_backup_options);
  backup_credential_free(handle_backup_credential);
  backup_runtime_free(handle_backup_runtime);
  return failures != 0;
}
"#;

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
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

#[test]
fn every_function_refuses_what_it_cannot_use() {
    // Without one there is nothing to compile with.
    if !there("cc") {
        println!("skipped: there is no cc");
        return;
    }
    let header = header();
    let functions = functions(&header);
    let record = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/abi.txt")).unwrap();
    let mut recorded: Vec<&str> = record.lines().filter_map(|line| line.strip_prefix("symbol ")).collect();
    let mut found: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
    recorded.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, recorded, "functions of the header (left), of the record (right)");

    let place = tempfile::tempdir().unwrap();
    let (source, binary) = (place.path().join("misuse.c"), place.path().join("misuse"));
    let program = program(&functions, &sized_structs(&header));
    let calls = program.lines().filter(|line| line.starts_with("  ") && line.contains("(backup_")).count();
    println!("{} functions, {calls} calls", functions.len());
    assert!(calls > 5 * functions.len() / 2, "only {calls} calls of {} functions", functions.len());
    fs::write(&source, program).unwrap();
    let library = library::shared();
    let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
    rpath.push(library.parent().unwrap());
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include");
    let mut compile = Command::new("cc");
    compile.args(["-std=c99", "-g", "-I"]).arg(include).arg(&source).arg("-o").arg(&binary);
    run(compile.arg(&library).arg(rpath).arg("-pthread"));

    let (folder, sink) = (place.path().join("folder"), place.path().join("sink"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "text").unwrap();
    run(Command::new(&binary).args([&folder, &sink]));
    if there("valgrind") {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        valgrind.args(["--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]);
        run(valgrind.arg(&binary).args([&folder, &sink]));
    } else {
        println!("skipped: there is no valgrind");
    }
}

/// All text of Rust below a folder, file by file, without tests.
fn sources(folder: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(path).unwrap();
            all.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
        }
    }
}

/// A handle that a fault of the library has touched is refused by `Door`, which is tested where it is. What is left to see is that every
/// function that can fail asks the door for every handle that it is given, by the name that the caller knows.
#[test]
fn every_function_asks_the_door_for_its_handles() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let handles: Vec<&str> = files
        .iter()
        .flat_map(|file| file.split("impl Handle for ").skip(1))
        .map(|rest| rest.split_whitespace().next().expect("an implementation names its type"))
        .collect();
    assert!(handles.len() > 15, "handles: {handles:?}");
    let mut seen = 0;
    for file in &files {
        for function in file.split("pub unsafe extern \"C\" fn ").skip(1) {
            let (name, rest) = function.split_once('(').unwrap();
            let (arguments, body) = rest.split_once('{').unwrap();
            if !arguments.contains("-> *mut backup_error") || !body.trim_start().starts_with("boundary(") {
                continue;
            }
            let arguments = arguments.split_once(')').unwrap().0;
            for argument in arguments.split(',') {
                let Some((argument, kind)) = argument.split_once(':') else { continue };
                let kind = kind.trim();
                let pointed = kind.strip_prefix("*const ").or_else(|| kind.strip_prefix("*mut "));
                if !pointed.is_some_and(|pointed| handles.contains(&pointed)) {
                    continue;
                }
                let argument = argument.trim();
                let asked =
                    ["handle", "optional"].map(|how| format!("door.{how}({argument}, \"{argument}\")"));
                // By itself, or in what several functions share, which may lie beside another noun.
                assert!(
                    asked.iter().any(|asked| files.iter().any(|file| file.contains(asked))),
                    "{name} does not ask the door for `{argument}`"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 80, "only {seen} handles were found: the test looks in the wrong place");
}
