//! Which snapshots stay, and why.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};

use backup_core::{Decision, Error, ErrorKind, Result, Retained, Retention};

use crate::boundary::{Crossing, Handle, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::repo::{backup_repo, c_array};
use crate::text::{json, not_json};

/// What is to become of snapshots.
#[derive(Debug)]
pub struct backup_decisions {
    poison: Poison,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    collection: CString,
    decision: Decision,
    reasons: CString,
    reasons_json: CString,
}

impl Handle for backup_decisions {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_decisions {
    fn new(retained: Vec<Retained>) -> Result<Self> {
        let mut entries = Vec::new();
        for Retained { collection, decisions, .. } in retained {
            for decision in decisions {
                let texts: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
                entries.push(Entry {
                    collection: c_text(&collection),
                    reasons: c_text(&texts.join(", ")),
                    reasons_json: c_text(&json(serde_json::to_string(&decision.reasons))?),
                    decision,
                });
            }
        }
        Ok(Self { poison: Poison::default(), entries })
    }
}

/// What is to become of one snapshot. The texts live as long as the list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_decision {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if it stays, 0 if it may go.
    pub keep: u32,
    /// Id of the snapshot, NUL-terminated.
    pub snapshot: [c_char; 40],
    /// Id of what it is a state of.
    pub collection: *const c_char,
    /// Every reason to keep it, for people, with commas between them; empty if it may go.
    pub reasons: *const c_char,
    /// The same for programs, a JSON array such as ["newest_clean",{"daily":1}].
    pub reasons_json: *const c_char,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_decision>() == 72);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers, an array of them and pointers.
unsafe impl Crossing for backup_decision {
    const SIZE_MIN: usize = 48 + 3 * size_of::<*const c_char>();
}

/// Retentions by the ids of collections.
type Rules = BTreeMap<String, Retention>;

fn rules(text: &str) -> Result<Rules> {
    serde_json::from_str(text).map_err(|error| not_json("rules", error))
}

fn pairs(rules: &Rules) -> Vec<(&str, &Retention)> {
    rules.iter().map(|(collection, retention)| (collection.as_str(), retention)).collect()
}

/// Checks one retention, a JSON object such as {"daily": 14, "weekly": 8}. Fields that do not exist are refused.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_retention_validate(retention: *const c_char) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let text = unsafe { door.text(retention, "retention") }?;
        let retention: Retention =
            serde_json::from_str(text).map_err(|error| not_json("retention", error))?;
        retention.validate()
    })
}

/// Decides which snapshots of some collections may go, and removes nothing: a rehearsal of backup_repo_retain().
///
/// `rules` is a JSON object of retentions by the ids of collections: {"folder:/srv": {"daily": 14, "weekly": 8}}; docs/retention.md has
/// the fields. The list has every snapshot of these collections, by collection in the order of their ids, within it the oldest first.
/// Times are the store's. Costs one listing, and one request a snapshot where a retention asks for labels.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_decide(
    repo: *const backup_repo,
    rules: *const c_char,
    out: *mut *mut backup_decisions,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, text, out) =
            unsafe { (door.handle(repo, "repo")?, door.text(rules, "rules")?, door.output(out, "out")?) };
        let rules = self::rules(text)?;
        let decided = repo.runtime.run(repo.repository.decide(&pairs(&rules)))?;
        out.give(backup_decisions::new(decided)?);
        Ok(())
    })
}

/// Removes what backup_repo_decide() lets go, in one log entry. What was removed takes room until backup_repo_prune(). `out` (may be
/// NULL) gets what was decided.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_retain(
    repo: *const backup_repo,
    rules: *const c_char,
    out: *mut *mut backup_decisions,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, text, out) = unsafe {
            (door.handle(repo, "repo")?, door.text(rules, "rules")?, door.optional_output(out, "out")?)
        };
        let rules = self::rules(text)?;
        let decided = repo.runtime.run(repo.repository.retain(&pairs(&rules)))?;
        if let Some(out) = out {
            out.give(backup_decisions::new(decided)?);
        }
        Ok(())
    })
}

/// How many snapshots were decided about. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_decisions_count(decisions: *const backup_decisions) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(decisions, 0, |decisions| decisions.entries.len() as u64) }
}

/// Fills `out` with the decision of this number, the first being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_decisions_at(
    decisions: *const backup_decisions,
    index: u64,
    out: *mut backup_decision,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (decisions, out) = unsafe { (door.handle(decisions, "decisions")?, door.fill(out, "out")?) };
        let entry = usize::try_from(index).ok().and_then(|index| decisions.entries.get(index));
        let entry =
            entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many decisions"))?;
        out.write(backup_decision {
            struct_size: 0,
            keep: u32::from(entry.decision.keep),
            snapshot: c_array(&entry.decision.id.to_string()),
            collection: entry.collection.as_ptr(),
            reasons: entry.reasons.as_ptr(),
            reasons_json: entry.reasons_json.as_ptr(),
        });
        Ok(())
    })
}

/// Frees a list of decisions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_decisions_free(decisions: *mut backup_decisions) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(decisions) }
}
