//! What could not be backed up or restored, and what a check found: lists that a result leaves to whoever wants them.

use std::ffi::{CString, c_char};

use backup_core::{Error, ErrorKind, Finding, Problem, RecordedProblem};

use crate::boundary::{Crossing, Handle, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};

/// A list of problems.
#[derive(Debug, Default)]
pub struct backup_problems {
    poison: Poison,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    place: CString,
    code: u32,
    message: CString,
}

impl Handle for backup_problems {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl Entry {
    fn new(place: &str, error: &Error) -> Self {
        Self { place: c_text(place), code: error.kind().code(), message: c_text(&error.to_string()) }
    }
}

impl backup_problems {
    pub(crate) fn of_items(problems: &[Problem]) -> Self {
        let entries = problems.iter().map(|problem| Entry::new(&problem.place, &problem.error)).collect();
        Self { poison: Poison::default(), entries }
    }

    pub(crate) fn of_findings(findings: &[Finding]) -> Self {
        let entries = findings.iter().map(|finding| Entry::new(&finding.place, &finding.error)).collect();
        Self { poison: Poison::default(), entries }
    }
}

impl backup_problems {
    pub(crate) fn of_recorded(problems: &[RecordedProblem]) -> Self {
        let entry = |problem: &RecordedProblem| Entry {
            place: c_text(&problem.place),
            code: problem.code,
            message: c_text(&problem.message),
        };
        Self { poison: Poison::default(), entries: problems.iter().map(entry).collect() }
    }
}

/// One problem. The text lives as long as the list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_problem {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// What went wrong, a `backup_code`.
    pub code: u32,
    /// The item, object or snapshot, for people.
    pub place: *const c_char,
    /// What went wrong, in one line.
    pub message: *const c_char,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_problem>() == 24);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and pointers.
unsafe impl Crossing for backup_problem {
    const SIZE_MIN: usize = 8 + 2 * size_of::<*const c_char>();
}

/// How many problems there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_problems_count(problems: *const backup_problems) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(problems, 0, |problems| problems.entries.len() as u64) }
}

/// Fills `out` with the problem of this number, the first being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_problems_at(
    problems: *const backup_problems,
    index: u64,
    out: *mut backup_problem,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (problems, out) = unsafe { (door.handle(problems, "problems")?, door.fill(out, "out")?) };
        let entry = usize::try_from(index).ok().and_then(|index| problems.entries.get(index));
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many problems"))?;
        out.write(backup_problem {
            struct_size: 0,
            code: entry.code,
            place: entry.place.as_ptr(),
            message: entry.message.as_ptr(),
        });
        Ok(())
    })
}

/// Frees a list of problems.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_problems_free(problems: *mut backup_problems) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(problems) }
}
