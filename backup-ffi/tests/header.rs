//! `include/backup.h` is what the crate's source says; `BACKUP_REGENERATE=1` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it left out"
)]

use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config};

fn crate_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn generate(root: &Path) -> String {
    let mut config = Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml parses");
    let page = std::fs::read_to_string(root.join("src/header.h")).expect("the header's first page is there");
    let page = page
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@MAJOR@", env!("CARGO_PKG_VERSION_MAJOR"))
        .replace("@MINOR@", env!("CARGO_PKG_VERSION_MINOR"))
        .replace("@PATCH@", env!("CARGO_PKG_VERSION_PATCH"));
    config.after_includes = Some(format!("\n{}", page.trim_end()));
    let bindings = Builder::new().with_crate(root).with_config(config).generate().expect("the source parses");
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).expect("the source is UTF-8")
}

#[test]
fn the_committed_header_is_fresh() {
    let root = crate_root();
    let path = root.join("../include/backup.h");
    let fresh = generate(&root);
    if std::env::var_os("BACKUP_REGENERATE").is_some() {
        std::fs::write(&path, &fresh).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(fresh.lines()).position(|(left, right)| left != right);
    assert!(
        committed == fresh,
        "include/backup.h is stale (from line {:?}); run BACKUP_REGENERATE=1 cargo test -p backup-ffi --test header",
        differs.map(|line| line + 1)
    );
}
