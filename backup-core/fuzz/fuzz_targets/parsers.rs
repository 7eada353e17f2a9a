//! Every parser of stored bytes, for libFuzzer: `.ci/long.sh fuzz` runs them one after the other. `BACKUP_FUZZ_TARGET` names one of them,
//! `BACKUP_FUZZ_SEEDS` a folder into which its seeds are written first.

#![no_main]

use std::sync::OnceLock;

use backup_core::fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("BACKUP_FUZZ_TARGET").unwrap_or_default();
        TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            panic!("BACKUP_FUZZ_TARGET is none of {names:?}")
        })
    })
}

fuzz_target!(
    init: {
        if let Ok(folder) = std::env::var("BACKUP_FUZZ_SEEDS") {
            for (number, seed) in (target().seeds)().into_iter().enumerate() {
                std::fs::write(format!("{folder}/seed-{number}"), seed).expect("seeds can be written");
            }
        }
    },
    |bytes: &[u8]| (target().run)(bytes)
);
