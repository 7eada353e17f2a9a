//! Restore drills: a random sample is read as a restore reads it, and what that says of all the rest.

use std::ffi::c_void;

use backup_core::{Error, SnapshotId};

use crate::boundary::{Crossing, boundary};
use crate::error::backup_error;
use crate::folder::{backup_sink, backup_source};
use crate::options::{Settings, backup_options};
use crate::progress::{backup_cancel, backup_progress_fn, watched};
use crate::repo::backup_repo;
use crate::text::{backup_text, json};

/// What a drill found, and what that says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_drill_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if nothing that was looked at is bad, else 0.
    pub clean: u32,
    /// Snapshots that were drawn from.
    pub snapshots: u64,
    /// Snapshots that could not be drawn from, because they do not read. What follows does not speak of them.
    pub lost_snapshots: u64,
    /// Items in all snapshots that were drawn from.
    pub population: u64,
    /// Items that were drawn.
    pub sampled: u64,
    /// Streams of these items.
    pub streams: u64,
    /// Bytes of these streams.
    pub bytes: u64,
    /// Bytes read from the store.
    pub bytes_fetched: u64,
    /// Items that could not be read in full.
    pub failures: u64,
    /// Items whose content was compared with a source's.
    pub compared: u64,
    /// Items that the source has with the same tag and other content.
    pub differing: u64,
    /// Items that were not compared: the source has them in another state by now, or not any more, or without a tag to tell.
    pub changed: u64,
    /// What stood in the way of comparing or placing an item, and is no fault of the repository.
    pub problems: u64,
    /// What the sample was drawn with: the same seed draws the same items again.
    pub seed: u64,
    /// So many of `population` are bad at most.
    pub most_bad: u64,
    /// The same as a share, between 0 and 1.
    pub most_bad_share: f64,
    /// How sure that is, between 0 and 1.
    pub confidence: f64,
}

const _: () = assert!(size_of::<backup_drill_result>() == 136);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_drill_result {
    const SIZE_MIN: usize = 136;
}

/// Reads a random sample of items in full, as a restore does, and says how many of all can be bad at most. Writes nothing into the
/// repository. Damage is no error: the result counts and `report` names it.
///
/// `against` has `against_count` sources: what was drawn from their collections is compared with what they have now, where tags are the same. `sink`
/// (may be NULL) gets the items that were read. Options (may be NULL): `snapshot`, any number of ids to draw from (default: the newest of each
/// collection); `items`, how many to draw; `confidence` (default 0.95); `share` (default 0.01): draw as many as it takes to say, if none is bad,
/// that fewer than this share are; `seed`. `cancel`, `result`, `statement` (the result in one line, for people), `report` (all of it as JSON) and
/// `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_drill(
    repo: *const backup_repo,
    against: *const *const backup_source,
    against_count: usize,
    sink: *const backup_sink,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_drill_result,
    statement: *mut *mut backup_text,
    report: *mut *mut backup_text,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, against, sink, options, cancel) = unsafe {
            (
                door.handle(repo, "repo")?,
                door.handles(against, against_count, "against")?,
                door.optional(sink, "sink")?,
                door.optional(options, "options")?,
                door.optional(cancel, "cancel")?,
            )
        };
        // SAFETY: the caller keeps the contract of the header.
        let (result, statement, whole) = unsafe {
            (
                door.optional_fill(result, "result")?,
                door.optional_output(statement, "statement")?,
                door.optional_output(report, "report")?,
            )
        };
        let mut settings = Settings::of(options);
        let mut run = repo.repository.drill();
        let ids = settings.take_all("snapshot");
        if !ids.is_empty() {
            let parse = |id: &String| id.parse().map_err(|error: Error| error.with_item(id.as_str()));
            let ids: Vec<SnapshotId> = ids.iter().map(parse).collect::<Result<_, _>>()?;
            run = run.snapshots(&ids);
        }
        if let Some(items) = settings.take_parsed("items")? {
            run = run.items(items);
        }
        if let Some(confidence) = settings.take_parsed("confidence")? {
            run = run.confidence(confidence);
        }
        if let Some(share) = settings.take_parsed("share")? {
            run = run.share(share);
        }
        if let Some(seed) = settings.take_parsed("seed")? {
            run = run.seed(seed);
        }
        settings.finish()?;
        for source in against {
            run = run.against(&*source.source);
        }
        if let Some(sink) = sink {
            run = run.sink(&*sink.sink);
        }
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        let text = whole.is_some().then(|| json(serde_json::to_string(&report))).transpose()?;
        if let Some(result) = result {
            result.write(backup_drill_result {
                struct_size: 0,
                clean: u32::from(report.is_clean()),
                snapshots: report.snapshots.len() as u64,
                lost_snapshots: report.lost_snapshots.len() as u64,
                population: report.population,
                sampled: report.sampled,
                streams: report.streams,
                bytes: report.bytes,
                bytes_fetched: report.bytes_fetched,
                failures: report.failures.len() as u64,
                compared: report.compared,
                differing: report.differing.len() as u64,
                changed: report.changed.len() as u64,
                problems: report.problems.len() as u64,
                seed: report.seed,
                most_bad: report.most_bad,
                most_bad_share: report.most_bad_share,
                confidence: report.confidence,
            });
        }
        if let Some(statement) = statement {
            statement.give(backup_text::new(&report.to_string()));
        }
        if let (Some(whole), Some(text)) = (whole, text) {
            whole.give(backup_text::new(&text));
        }
        Ok(())
    })
}
