//! A restore: a walk through a snapshot, parents first, into a sink.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Repository;
use super::undo::Undo;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use crate::sink::{Conflict, Sink};
use crate::source::Problem;

/// A restore that is about to run; made by [`Repository::restore`].
#[must_use = "nothing happens before `run`"]
pub struct RestoreRun<'a> {
    repository: &'a Repository,
    snapshot: SnapshotId,
    sink: &'a dyn Sink,
    only: Vec<String>,
    except: Vec<String>,
    undo: Option<SnapshotId>,
    conflict: Conflict,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a restore did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Items created where nothing was.
    pub created: u64,
    /// Items put in the place of others.
    pub replaced: u64,
    /// Items left alone because something was there.
    pub skipped: u64,
    /// Items created under another name.
    pub renamed: u64,
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Bytes read from the store.
    pub bytes_fetched: u64,
    /// Items that could not be restored.
    pub problems: Vec<Problem>,
}

watched! {
    RestoreRun,
    /// Calls back with running totals, at most ten times a second and when the phase changes.
    on_progress,
    /// Lets `token` stop the restore between two pieces of content.
    cancel_token
}

impl<'a> RestoreRun<'a> {
    pub(super) fn new(repository: &'a Repository, snapshot: SnapshotId, sink: &'a dyn Sink) -> Self {
        Self {
            repository,
            snapshot,
            sink,
            only: Vec::new(),
            except: Vec::new(),
            undo: None,
            conflict: Conflict::default(),
            callback: None,
            token: CancelToken::new(),
        }
    }

    /// Restores only what matches one of the patterns given this way, and what lies below it.
    ///
    /// A pattern is a glob over the whole path as [`Browser`](super::Browser) defines it: `*` and `?` stop at `/`, `**` does not,
    /// `{a,b}` and `[a-z]` choose. `inbox/2026` and `inbox/2026/**` mean the same folder.
    pub fn only(mut self, pattern: impl Into<String>) -> Self {
        self.only.push(pattern.into());
        self
    }

    /// Leaves out what matches, and what lies below it; wins over [`only`](Self::only).
    pub fn except(mut self, pattern: impl Into<String>) -> Self {
        self.except.push(pattern.into());
        self
    }

    /// Restores only what `later`, a snapshot of the same collection, has lost: items that were changed, renamed, moved or
    /// deleted since. What was added since stays; so does what was renamed or moved, beside what is brought back.
    ///
    /// This is how an attack is undone: restore the last good snapshot with the first bad one as `later` and
    /// [`Conflict::Replace`]. Memory grows with the number of changes, about 100 bytes each.
    pub fn undo(mut self, later: SnapshotId) -> Self {
        self.undo = Some(later);
        self
    }

    /// What to do where a name is taken. The default is to leave what is there.
    pub fn conflict(mut self, conflict: Conflict) -> Self {
        self.conflict = conflict;
        self
    }

    /// Runs the restore. Items that fail are in the report, and what lies below them is left out. Where a tree of the snapshot is damaged,
    /// the report names what that hides as far as it can be known, and the rest is restored.
    ///
    /// # Errors
    /// `InvalidArgument` for a pattern that does not parse or a later snapshot of another collection, `NotFound` for the snapshot, `Canceled`, and what ends a
    /// restore as a whole: no space, no rights, a store that cannot be reached.
    pub async fn run(self) -> Result<RestoreReport> {
        let browser = self.repository.browse(self.snapshot).await?;
        let mut filter = Filter::new(&self.only, &self.except)?;
        if let Some(later) = self.undo {
            let later = self.repository.browse(later).await?;
            if later.snapshot.collection != browser.snapshot.collection {
                return Err(Error::invalid("the later snapshot is of another collection"));
            }
            filter.undo = Some(Undo::between(&browser, &later).await?);
        }
        let mut reporter = Reporter::new(self.callback, self.token);
        let stats = browser.snapshot.stats;
        reporter.totals.items_total = if filter.is_everything() { stats.items } else { 0 };
        reporter.totals.bytes_total = if filter.is_everything() { stats.bytes } else { 0 };
        reporter.phase(Phase::Transferring)?;
        let fetched = browser.inner.bytes_read.load(std::sync::atomic::Ordering::Relaxed);
        let mut walk = Walk::new(&browser, self.sink, self.conflict, filter, reporter).await?;
        walk.run().await?;
        walk.reporter.phase(Phase::Committing)?;
        self.sink.finish().await?;
        walk.note_fetched(fetched);
        // Everything is in place: whoever cancels now is too late.
        let _ = walk.reporter.phase(Phase::Done);
        Ok(walk.report)
    }
}

impl fmt::Debug for RestoreRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreRun")
            .field("snapshot", &self.snapshot)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// Which paths are wanted.
pub(super) struct Filter {
    only: Option<GlobSet>,
    except: GlobSet,
    pub(super) undo: Option<Undo>,
}

impl Filter {
    fn new(only: &[String], except: &[String]) -> Result<Self> {
        let set = |patterns: &[String]| -> Result<GlobSet> {
            let wrong = |pattern: &str, error: globset::Error| {
                Error::invalid("path pattern does not parse").with_item(pattern).with_source(error)
            };
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                let trimmed = pattern.trim_matches('/');
                let glob = GlobBuilder::new(trimmed).literal_separator(true).backslash_escape(true).build();
                set.add(glob.map_err(|error| wrong(pattern, error))?);
            }
            set.build().map_err(|error| wrong("", error))
        };
        let only = if only.is_empty() { None } else { Some(set(only)?) };
        Ok(Self { only, except: set(except)?, undo: None })
    }

    pub(super) fn is_everything(&self) -> bool {
        self.only.is_none() && self.except.is_empty() && self.undo.is_none()
    }

    pub(super) fn excludes(&self, path: &str) -> bool {
        self.except.is_match(path)
    }

    /// Whether everything is wanted that no pattern of the other kind excludes.
    pub(super) const fn selects_all(&self) -> bool {
        self.only.is_none()
    }

    /// Whether the item at this path is wanted for itself, its parents not being so.
    pub(super) fn selects(&self, path: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(path) || only.is_match(format!("{path}/")))
    }
}
