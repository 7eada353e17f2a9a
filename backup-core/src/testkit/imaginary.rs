//! Chunks that are in the index and nowhere else: what an index of any size costs shows without the data that it is of.
//!
//! A repository that has any is for measuring only: nothing can be restored from such chunks, and a check finds all their packs missing.

use std::ops::Range;

use crate::error::Result;
use crate::id::ChunkId;
use crate::repo::{Repository, imaginary};

/// Commits the chunks with these numbers as if they had been stored, a million a commit.
///
/// # Errors
/// What the store reports.
pub async fn add(repository: &Repository, numbers: Range<u64>) -> Result<()> {
    repository.add_imaginary(numbers).await
}

/// The ids of the chunks with these numbers, whether they have been added or not.
#[must_use]
pub fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<ChunkId> {
    numbers.into_iter().map(imaginary::id).collect()
}

/// How many of these chunks the index knows, asked one after the other as a backup would.
#[must_use]
pub fn known(repository: &Repository, ids: &[ChunkId]) -> usize {
    repository.known_chunks(ids)
}
