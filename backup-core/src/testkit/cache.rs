//! The promises of [`IndexCache`].

use super::{Failure, check, painted, succeed};
use crate::cache::IndexCache;

const NAME: &str = "0123456789abcdef0123456789abcdef-conformance";
const UNFINISHED: &str = "an entry is not there until it is finished, and never if it is dropped";
const READ_BACK: &str = "a finished entry is named, and loads as it was written";
const REPLACED: &str =
    "an entry that is made again replaces the one before, whose loaded bytes stay as they are";
const REMOVED: &str = "a removed entry is gone, loaded bytes stay, and removing it again is no error";

/// Runs the suite. It writes 3 MB below one name of its own and removes them again.
///
/// # Errors
/// The first promise that is broken.
pub fn conformance(cache: &dyn IndexCache) -> Result<(), Failure> {
    succeed(REMOVED, cache.remove(NAME))?;
    let is_named = |promise| Ok(succeed(promise, cache.names())?.iter().any(|name| name == NAME));
    let load = |promise| succeed(promise, cache.load(NAME));
    let (first, second) = (painted(1, 1_000_003), painted(2, 1_000_001));

    let mut entry = succeed(UNFINISHED, cache.create(NAME))?;
    let written = entry.write_all(&first);
    check(UNFINISHED, written.is_ok(), || format!("{written:?}"))?;
    check(UNFINISHED, load(UNFINISHED)?.is_none(), || "it loads before it is finished".into())?;
    drop(entry);
    check(UNFINISHED, load(UNFINISHED)?.is_none(), || "it loads although it was dropped".into())?;
    check(UNFINISHED, !is_named(UNFINISHED)?, || "it is named although it was dropped".into())?;

    let mut before = None;
    for (bytes, promise) in [(&first, READ_BACK), (&second, REPLACED)] {
        let mut entry = succeed(promise, cache.create(NAME))?;
        for piece in bytes.chunks(99_991) {
            let written = entry.write_all(piece);
            check(promise, written.is_ok(), || format!("{written:?}"))?;
        }
        let finished = succeed(promise, entry.finish())?;
        check(promise, finished == bytes, || "finishing gives other bytes".into())?;
        check(promise, load(promise)?.as_ref() == Some(bytes), || "it loads as other bytes".into())?;
        check(promise, is_named(promise)?, || "it is not named".into())?;
        check(promise, before.is_none_or(|before| before == first), || "earlier bytes have changed".into())?;
        before = Some(finished);
    }

    let loaded = load(REMOVED)?;
    succeed(REMOVED, cache.remove(NAME))?;
    succeed(REMOVED, cache.remove(NAME))?;
    check(REMOVED, load(REMOVED)?.is_none() && !is_named(REMOVED)?, || "it is still there".into())?;
    check(REMOVED, loaded.is_some_and(|loaded| loaded == second), || "loaded bytes have changed".into())
}
