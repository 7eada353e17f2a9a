//! The C interface of the backup engine, as `libbackup` with `include/backup.h`; for C++ there is `backup.hpp` over it.
//!
//! This crate converts: pointers to references, options to calls, errors and panics to values. It decides nothing about
//! backups. Rules for callers are on the first page of the header and in docs/ffi.md. Rules for this crate:
//!
//! - Every exported function is one call of `boundary::boundary` (can fail), `boundary::query` (cannot) or
//!   `boundary::release` (frees). No other place catches panics, looks at pointers or boxes handles.
//! - Arguments: object, inputs, outputs, callback, userdata. A pointer to const means that calls may overlap.
//! - Enums come in as `u32`; structs begin with `struct_size`; no `bool`, no `usize` in structs.
//! - Nothing global: no logger, no signal handler, no panic hook, no hidden runtime.
//! - Exported symbols, sizes and numbers are recorded in `tests/abi.txt`; after a release they are only added to.
//!
//! Start reading at `repo`.

#![expect(unsafe_code, reason = "a C interface takes pointers; all that is done with them is in `boundary`")]
#![expect(non_camel_case_types, reason = "types have the names that C sees")]
#![expect(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "layout is guarded by `tests/abi.rs` instead"
)]
#![expect(
    clippy::missing_safety_doc,
    reason = "one contract holds for all pointers: NULL, or what the header's first page says, for as long as it says"
)]

mod boundary;
mod error;
mod folder;
mod kinds;
mod logging;
mod options;
mod problems;
mod progress;
mod repo;
mod runs;
mod runtime;
mod snapshots;
mod version;

pub use error::{
    backup_error, backup_error_code, backup_error_detail, backup_error_free, backup_error_hint,
    backup_error_item, backup_error_message, backup_error_retry_after_ms, backup_error_retryable,
};
pub use folder::{
    backup_sink, backup_sink_folder, backup_sink_free, backup_source, backup_source_folder,
    backup_source_free,
};
pub use kinds::{backup_code, backup_conflict, backup_level, backup_phase, backup_state};
pub use logging::{backup_log_fn, backup_log_level, backup_release_fn, backup_runtime_log};
pub use options::{
    backup_options, backup_options_add, backup_options_free, backup_options_new, backup_options_set,
};
pub use problems::{
    backup_problem, backup_problems, backup_problems_at, backup_problems_count, backup_problems_free,
};
pub use progress::{
    backup_cancel, backup_cancel_free, backup_cancel_new, backup_cancel_request, backup_progress,
    backup_progress_fn,
};
pub use repo::{
    backup_credential, backup_credential_free, backup_credential_passphrase, backup_credential_raw_key,
    backup_head, backup_repo, backup_repo_free, backup_repo_head, backup_repo_init, backup_repo_open,
};
pub use runs::{
    backup_repo_backup, backup_repo_restore, backup_repo_verify, backup_restore_result, backup_result,
    backup_verify_result,
};
pub use runtime::{backup_runtime, backup_runtime_free, backup_runtime_new};
pub use snapshots::{
    backup_repo_snapshots, backup_snapshot, backup_snapshots, backup_snapshots_at, backup_snapshots_count,
    backup_snapshots_free,
};
pub use version::{BACKUP_ABI_VERSION, backup_abi_version, backup_version};
