//! Snapshots as sources, for copies in other repositories.

use std::ffi::c_char;
use std::sync::Arc;

use backup_core::SnapshotId;

use crate::boundary::boundary;
use crate::error::backup_error;
use crate::folder::backup_source;
use crate::repo::backup_repo;

/// Makes a source of a snapshot, for a copy of it in another repository: backing it up there stores it under the other's keys, with all
/// attributes, streams and hard links. The next snapshot of the same collection costs only what differs. Labels tell the origin:
/// `origin.repository`, `origin.snapshot`, `origin.created`. One request. `repo` may be freed before the source.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_as_source(
    repo: *const backup_repo,
    snapshot: *const c_char,
    out: *mut *mut backup_source,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, snapshot, out) = unsafe {
            (door.handle(repo, "repo")?, door.text(snapshot, "snapshot")?, door.output(out, "out")?)
        };
        let id: SnapshotId = snapshot.parse()?;
        let source = repo.runtime.run(repo.repository.as_source(id))?;
        // Its connections belong to that runtime.
        out.give(backup_source::new(Arc::new(source)).keeping(Arc::clone(&repo.runtime)));
        Ok(())
    })
}
