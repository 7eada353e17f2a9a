//! Policies: what is protected, how often and for how long, as JSON in both directions. Nothing is asked, kept or started.

use std::ffi::c_char;

use backup_core::policy::{LastBackup, Protectable};
use backup_core::{Error, ErrorKind, Policy, Result, Timestamp};

use crate::boundary::{Door, Output, boundary};
use crate::error::backup_error;
use crate::text::{backup_text, json, not_json};

fn policy(text: &str) -> Result<Policy> {
    serde_json::from_str(text).map_err(|error| not_json("policy", error))
}

/// What there is and what was done: the arguments that a plan and a report share.
struct Facts {
    policy: Policy,
    now: Timestamp,
    listed: Vec<Protectable>,
    last: Vec<LastBackup>,
    out: Output<backup_text>,
}

impl Facts {
    /// # Safety
    /// As for the functions that call it.
    unsafe fn read(
        door: &Door<'_>,
        policy: *const c_char,
        now: *const c_char,
        listed: *const c_char,
        last: *const c_char,
        out: *mut *mut backup_text,
    ) -> Result<Self> {
        // SAFETY: the same promise.
        let (policy, now) = unsafe { (door.text(policy, "policy")?, door.text(now, "now")?) };
        // SAFETY: the same promise.
        let (listed, last, out) =
            unsafe { (door.text(listed, "listed")?, door.text(last, "last")?, door.output(out, "out")?) };
        let time = Timestamp::parse_rfc3339(now).ok_or_else(|| {
            let message = "argument `now` is no time such as 2026-11-24T08:20:00Z";
            Error::new(ErrorKind::InvalidArgument, message)
        })?;
        Ok(Self {
            policy: self::policy(policy)?,
            now: time,
            listed: serde_json::from_str(listed).map_err(|error| not_json("listed", error))?,
            last: serde_json::from_str(last).map_err(|error| not_json("last", error))?,
            out,
        })
    }
}

/// Checks a policy, a JSON object as docs/retention.md has it. The error names the rule that is wrong.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_policy_validate(policy: *const c_char) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let text = unsafe { door.text(policy, "policy") }?;
        self::policy(text)?.validate()
    })
}

/// Gives the rule that counts for a collection, as JSON; null if none does.
///
/// `protectable` is a JSON object: {"collection": {"id": "...", "kind": "drive"}, "path": "Sites/A", "groups": [], "labels": [["name", "value"]],
/// "bytes": 1000}. All but `collection` may be left out.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_policy_rule_for(
    policy: *const c_char,
    protectable: *const c_char,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (text, protectable, out) = unsafe {
            (door.text(policy, "policy")?, door.text(protectable, "protectable")?, door.output(out, "out")?)
        };
        let policy = self::policy(text)?;
        let protectable: Protectable =
            serde_json::from_str(protectable).map_err(|error| not_json("protectable", error))?;
        let rule = policy.rule_for(&protectable)?;
        out.give(backup_text::new(&json(serde_json::to_string(&rule))?));
        Ok(())
    })
}

/// Gives what is due, and when to ask again, as JSON: {"due": [{"collection": {...}, "rule": "...", "overdue_seconds": 0, "never": true}],
/// "next_at": {"seconds": 0, "nanos": 0}}; `next_at` is null if nothing else becomes due.
///
/// `now` is a time such as 2026-11-24T08:20:00Z; nobody else is asked for it. `listed` is a JSON array of what there is, as for
/// backup_policy_rule_for(). `last` is a JSON array of when it was backed up: [{"collection": "id", "good": {"seconds": 0, "nanos": 0}, "attempt": null}];
/// both times may be left out.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_policy_plan(
    policy: *const c_char,
    now: *const c_char,
    listed: *const c_char,
    last: *const c_char,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let facts = unsafe { Facts::read(door, policy, now, listed, last, out) }?;
        let plan = facts.policy.plan(facts.now, &facts.listed, &facts.last)?;
        facts.out.give(backup_text::new(&json(serde_json::to_string(&plan))?));
        Ok(())
    })
}

/// Gives what is protected and what is not, as JSON with the arrays `protected`, `excluded`, `unprotected`, `overdue` and `gone`.
/// Arguments as for backup_policy_plan().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_policy_coverage(
    policy: *const c_char,
    now: *const c_char,
    listed: *const c_char,
    last: *const c_char,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let facts = unsafe { Facts::read(door, policy, now, listed, last, out) }?;
        let coverage = facts.policy.coverage(facts.now, &facts.listed, &facts.last)?;
        facts.out.give(backup_text::new(&json(serde_json::to_string(&coverage))?));
        Ok(())
    })
}
