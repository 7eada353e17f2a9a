//! The embedder's own sources, sinks and stores: tables of C functions behind the engine's traits.
//!
//! Functions of C block, so they run on threads that may: those that the runtime keeps for that, one for each call under way, never
//! the thread that drives a run and never one that computes. What they give goes through bounded channels, so a function that pushes
//! waits once the engine has enough, and one that pulls waits for the engine.
//!
//! Nothing that comes back is believed: text, sizes and lengths are checked, and a function that gave something wrong has failed, even
//! if it says that all is well.
//!
//! `calls` is the way over to C and back; `source`, `sink` and `store` are the seams; `reader` and `contents` carry bytes.

mod calls;
mod contents;
mod reader;
mod sink;
mod source;
mod store;
#[cfg(test)]
mod tests;

pub use contents::{
    backup_content, backup_content_free, backup_content_read, backup_content_size, backup_contents,
    backup_contents_open,
};
pub use reader::{backup_reader, backup_reader_push, backup_reader_push_owned};
pub use sink::{
    backup_place, backup_placement, backup_placement_problem, backup_placement_set, backup_sink_new,
    backup_sink_vtable,
};
pub use source::{
    backup_changes, backup_changes_cursor, backup_changes_remove, backup_changes_reset,
    backup_changes_unreadable, backup_changes_upsert, backup_changes_upsert_with, backup_source_new,
    backup_source_vtable,
};
pub use store::{
    BACKUP_WHOLE, backup_entries, backup_entries_add, backup_repo_init_store, backup_repo_open_store,
    backup_store_new, backup_store_vtable,
};
