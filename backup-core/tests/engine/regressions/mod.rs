//! Bugs by which other backup programs lost data or came close, each as a test that this engine has to pass. Named after the report;
//! `docs/testing.md` has a table of all of them.
//!
//! Three are tests elsewhere, where they can look inside: restic #4523 and #4677 (compression) in `src/compress.rs`, borg #4829 (tables of our own
//! making) and restic #21820 (one pack in several segments) in `src/dedup/tests.rs`.
//!
//! Borg #3444, #1837 and #5325, a repair that threw away what was sound or was interrupted, is in `parity.rs`.

mod clients;
mod contents;
mod index;
mod pauses;
mod prune;
mod strangers;
mod transfer;

use backup_core::testkit::interleave;
use futures_core::future::BoxFuture;

use super::interleaved::{Dice, Outcome, beginning, check, everything, on, opened, tidy, verify, write};
use super::prune::{LEN, check_whole, files_of, history, ids, library, meanwhile, prune, put, stored};
use super::retain::Dated;
use super::*;

/// Takes one run to its end, call by call. `between` happens before each of its calls of the store, and before the first step.
fn stepwise<T>(run: BoxFuture<'_, T>, mut between: impl FnMut(usize)) -> T {
    let mut step = 0;
    let mut results = interleave(vec![run], |_| {
        between(step);
        step += 1;
        0
    });
    results.remove(0)
}
