//! Keeps the shared library's exports to its own: what a dependency exports for its own C users (`crc-fast` under
//! `object_store` does) would otherwise be exported again here, and clash with another copy of it in the same process. And gives it its name.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(system.as_str(), "linux" | "android" | "freebsd") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        // Programs ask for the interface that they were compiled against, not for whatever library is there. `tests/abi.rs` holds it
        // against `BACKUP_ABI_VERSION`.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libbackup.so.1");
    }
}
