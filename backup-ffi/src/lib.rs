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

mod as_source;
mod attributes;
mod boundary;
mod browser;
mod copies;
mod differences;
mod drill;
mod entry;
mod error;
mod folder;
mod graph;
mod info;
mod items;
mod keys;
mod kinds;
mod locks;
mod logging;
mod options;
mod own;
mod parity;
mod policy;
mod problems;
mod progress;
mod prune;
mod repo;
mod retention;
mod runs;
mod runtime;
mod snapshots;
mod store;
mod text;
mod version;

pub use as_source::backup_repo_as_source;
pub use attributes::{
    backup_attribute, backup_attributes, backup_attributes_at, backup_attributes_count,
    backup_attributes_free, backup_attributes_new, backup_attributes_put,
};
pub use browser::{
    backup_browser, backup_browser_free, backup_browser_info, backup_browser_item, backup_browser_list,
    backup_browser_list_below, backup_browser_path, backup_browser_read, backup_browser_stat, backup_listing,
    backup_listing_free, backup_listing_next, backup_repo_browse,
};
pub use copies::{backup_mirror_result, backup_repo_mirror, backup_repo_salvage, backup_salvage_result};
pub use differences::{
    backup_differences, backup_differences_free, backup_differences_next, backup_repo_diff,
};
pub use drill::{backup_drill_result, backup_repo_drill};
pub use entry::{backup_entry, backup_entry_free, backup_entry_item};
pub use error::{
    backup_error, backup_error_attach, backup_error_code, backup_error_detail, backup_error_free,
    backup_error_hint, backup_error_item, backup_error_message, backup_error_new, backup_error_payload,
    backup_error_retry_after_ms, backup_error_retryable,
};
pub use folder::{
    backup_sink, backup_sink_folder, backup_sink_free, backup_source, backup_source_folder,
    backup_source_free,
};
pub use graph::{
    backup_graph, backup_graph_certificate, backup_graph_drive_sink, backup_graph_drive_source,
    backup_graph_drives, backup_graph_entry, backup_graph_every_drive, backup_graph_free,
    backup_graph_groups, backup_graph_list, backup_graph_list_at, backup_graph_list_count,
    backup_graph_list_free, backup_graph_secret, backup_graph_sites, backup_graph_token, backup_graph_users,
};
pub use info::{
    backup_info, backup_info_free, backup_info_label_at, backup_info_label_count, backup_info_parent,
    backup_info_problems, backup_info_stats, backup_info_summary, backup_info_suspicions, backup_label,
    backup_repo_snapshot, backup_stats,
};
pub use items::{
    BACKUP_SIZE_UNKNOWN, BACKUP_STREAM_IMMUTABLE, backup_bytes, backup_item, backup_stream, backup_time,
};
pub use keys::{
    backup_key, backup_keys, backup_keys_at, backup_keys_count, backup_keys_free, backup_repo_add_key,
    backup_repo_keys, backup_repo_remove_key,
};
pub use kinds::{
    backup_action, backup_code, backup_conflict, backup_contest, backup_difference, backup_effect,
    backup_graph_kind, backup_item_kind, backup_level, backup_phase, backup_reached, backup_repair,
    backup_state, backup_suspicion, backup_type,
};
pub use locks::{
    backup_extend_result, backup_protection, backup_repo_extend_locks, backup_repo_protect,
    backup_repo_protection,
};
pub use logging::{backup_log_fn, backup_log_level, backup_release_fn, backup_runtime_log};
pub use options::{
    backup_options, backup_options_add, backup_options_free, backup_options_new, backup_options_set,
};
pub use own::{
    BACKUP_WHOLE, backup_changes, backup_changes_cursor, backup_changes_remove, backup_changes_reset,
    backup_changes_unreadable, backup_changes_upsert, backup_changes_upsert_with, backup_content,
    backup_content_free, backup_content_read, backup_content_size, backup_contents, backup_contents_open,
    backup_entries, backup_entries_add, backup_place, backup_placement, backup_placement_problem,
    backup_placement_set, backup_reader, backup_reader_push, backup_reader_push_owned,
    backup_repo_init_store, backup_repo_open_store, backup_sink_new, backup_sink_vtable, backup_source_new,
    backup_source_vtable, backup_store_new, backup_store_vtable,
};
pub use parity::{
    backup_damage, backup_damages, backup_damages_at, backup_damages_count, backup_damages_free,
    backup_parity_result, backup_repo_add_parity, backup_repo_public_key, backup_scrub_result,
    backup_store_scrub,
};
pub use policy::{
    backup_policy_coverage, backup_policy_plan, backup_policy_rule_for, backup_policy_validate,
};
pub use problems::{
    backup_problem, backup_problems, backup_problems_at, backup_problems_count, backup_problems_free,
};
pub use progress::{
    backup_cancel, backup_cancel_free, backup_cancel_new, backup_cancel_request, backup_progress,
    backup_progress_fn,
};
pub use prune::{backup_prune_result, backup_repo_prune};
pub use repo::{
    backup_credential, backup_credential_free, backup_credential_passphrase, backup_credential_raw_key,
    backup_head, backup_repo, backup_repo_free, backup_repo_head, backup_repo_id, backup_repo_init,
    backup_repo_open,
};
pub use retention::{
    backup_decision, backup_decisions, backup_decisions_at, backup_decisions_count, backup_decisions_free,
    backup_repo_decide, backup_repo_retain, backup_retention_validate,
};
pub use runs::{
    backup_repo_backup, backup_repo_restore, backup_repo_verify, backup_restore_result, backup_result,
    backup_source_metrics, backup_verify_result,
};
pub use runtime::{backup_runtime, backup_runtime_free, backup_runtime_new};
pub use snapshots::{
    backup_repo_hold, backup_repo_latest, backup_repo_refresh, backup_repo_release, backup_repo_remove,
    backup_repo_snapshots, backup_snapshot, backup_snapshots, backup_snapshots_at, backup_snapshots_count,
    backup_snapshots_free,
};
pub use store::{
    backup_probe, backup_repo_probe, backup_store, backup_store_free, backup_store_open, backup_store_probe,
};
pub use text::{
    backup_names, backup_names_at, backup_names_count, backup_names_free, backup_text, backup_text_free,
    backup_text_get, backup_text_len,
};
pub use version::{BACKUP_ABI_VERSION, backup_abi_version, backup_version};
