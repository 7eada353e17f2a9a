//! Where the library is that this test run has built.
//!
//! Cargo builds the crate in all its types before its tests and puts them beside the tests' own executables. Where a
//! runner has moved those, the library is built again.

#[allow(dead_code, reason = "not every test that has this module compiles")]
pub(crate) mod compile;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The shared library.
#[allow(dead_code, reason = "not every test that has this module links")]
pub(crate) fn shared() -> PathBuf {
    let library = find(if cfg!(target_os = "macos") { "libbackup.dylib" } else { "libbackup.so" });
    // Programs look for it by the name that it says it has; an installation has that name.
    #[cfg(target_os = "linux")]
    {
        let named = library.with_file_name(format!("libbackup.so.{}", backup::BACKUP_ABI_VERSION));
        // Another test may have been faster.
        let _ = std::os::unix::fs::symlink("libbackup.so", named);
    }
    library
}

/// The static library.
#[allow(dead_code, reason = "not every test that has this module links")]
pub(crate) fn archive() -> PathBuf {
    find("libbackup.a")
}

fn find(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its place");
    let places = [test.parent(), test.parent().and_then(Path::parent)];
    if let Some(found) =
        places.into_iter().flatten().map(|place| place.join(name)).find(|path| path.is_file())
    {
        return found;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("library");
    let status = Command::new(env!("CARGO"))
        .args(["build", "-p", env!("CARGO_PKG_NAME"), "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo could not build the library");
    target.join("debug").join(name)
}
