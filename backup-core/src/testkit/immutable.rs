//! The promises of [`Immutable`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{Failure, check, fail_with, painted, succeed};
use crate::error::ErrorKind;
use crate::store::{Created, Immutable, Key, Store, Version};
use crate::time::Timestamp;

const IMMUTABLE: &str = "a store that locks says so";
const CREATE_NEW: &str =
    "create_locked of a free name says New, and the object is locked at least until then";
const CREATE_TAKEN: &str =
    "create_locked of a taken name says AlreadyPresent and changes neither bytes nor lock";
const DELETE_LOCKED: &str = "a locked version cannot be deleted, and stays readable";
const HIDE: &str = "a deleted name is hidden, and its versions stay and can be read";
const VERSIONS: &str = "every version and every marker is listed, below its prefix only, with its size";
const EXTEND: &str = "a lock can be made longer, also of a hidden version";
const SHORTEN: &str = "a lock cannot be made shorter, and asking for it is no error";
const UNLOCKED: &str = "a version without a lock can be deleted for good";
const MISSING: &str = "what is not there is NotFound";

/// Runs the suite, after [`store::conformance`](super::store::conformance), below the prefix `locked/` and `name`, which must be a new one each
/// time: some of what it writes stays locked until an hour after `now`.
///
/// # Errors
/// The first promise that is broken.
pub async fn conformance(store: &dyn Store, now: Timestamp, name: &str) -> Result<(), Failure> {
    let Some(immutable) = store.immutable() else {
        return Err(Failure::new(IMMUTABLE, "Store::immutable gives nothing"));
    };
    let protection = succeed(IMMUTABLE, immutable.protection().await)?;
    check(IMMUTABLE, protection.versioning && protection.locking, || format!("{protection:?}"))?;
    let key = |object: &str| succeed(VERSIONS, Key::new(format!("locked/{name}/{object}")));
    let (first, later) = (now.after(Duration::from_secs(1_800)), now.after(Duration::from_secs(3_600)));

    let (locked, data) = (key("locked")?, painted(1, 1_000));
    let created = succeed(CREATE_NEW, immutable.create_locked(&locked, data.clone(), first).await)?;
    check(CREATE_NEW, created == Created::New, || format!("{created:?}"))?;
    expect_lock(CREATE_NEW, immutable, &locked, None, first).await?;
    let again = succeed(CREATE_TAKEN, immutable.create_locked(&locked, painted(2, 50), later).await)?;
    check(CREATE_TAKEN, again == Created::AlreadyPresent, || format!("{again:?}"))?;
    expect_lock(CREATE_TAKEN, immutable, &locked, None, first).await?;
    let read = succeed(CREATE_TAKEN, store.read(&locked, None).await)?;
    check(CREATE_TAKEN, read == data, || format!("{} bytes", read.len()))?;

    // Another name that begins the same way.
    let beside = key("locked-not")?;
    succeed(UNLOCKED, store.create(&beside, painted(3, 20)).await)?;
    let version = only(immutable, &locked, 1_000).await?;
    fail_with(
        DELETE_LOCKED,
        ErrorKind::PermissionDenied,
        immutable.delete_version(&locked, &version.id).await,
    )?;
    expect(DELETE_LOCKED, immutable, &version, &data).await?;

    succeed(HIDE, store.delete(&locked).await)?;
    fail_with(HIDE, ErrorKind::NotFound, store.read(&locked, None).await)?;
    fail_with(HIDE, ErrorKind::NotFound, immutable.locked_until(&locked, None).await)?;
    expect(HIDE, immutable, &version, &data).await?;
    let all: Vec<Version> = succeed(VERSIONS, immutable.versions(&locked).try_collect().await)?;
    let markers = all.iter().filter(|version| version.hides).count();
    check(VERSIONS, all.len() == 2 && markers == 1, || format!("{all:?}"))?;

    succeed(EXTEND, immutable.extend(&locked, Some(&version.id), later).await)?;
    expect_lock(EXTEND, immutable, &locked, Some(&version.id), later).await?;
    succeed(SHORTEN, immutable.extend(&locked, Some(&version.id), first).await)?;
    expect_lock(SHORTEN, immutable, &locked, Some(&version.id), later).await?;
    fail_with(
        DELETE_LOCKED,
        ErrorKind::PermissionDenied,
        immutable.delete_version(&locked, &version.id).await,
    )?;

    let unlocked = only(immutable, &beside, 20).await?;
    let lock = succeed(UNLOCKED, immutable.locked_until(&beside, None).await)?;
    check(UNLOCKED, lock.is_none(), || format!("{lock:?}"))?;
    succeed(UNLOCKED, immutable.delete_version(&beside, &unlocked.id).await)?;
    succeed(UNLOCKED, immutable.delete_version(&beside, &unlocked.id).await)?;
    let left: Vec<Version> = succeed(UNLOCKED, immutable.versions(&beside).try_collect().await)?;
    check(UNLOCKED, left.is_empty(), || format!("{left:?}"))?;
    fail_with(MISSING, ErrorKind::NotFound, immutable.locked_until(&beside, None).await)?;
    fail_with(MISSING, ErrorKind::NotFound, immutable.extend(&beside, None, later).await)?;
    fail_with(MISSING, ErrorKind::NotFound, immutable.read_version(&beside, &unlocked.id, None).await)
}

async fn only(store: &dyn Immutable, key: &Key, size: u64) -> Result<Version, Failure> {
    let mut all: Vec<Version> = succeed(VERSIONS, store.versions(key).try_collect().await)?;
    let fits = all.len() == 1 && all.iter().all(|one| one.key == *key && !one.hides && one.size == size);
    check(VERSIONS, fits, || format!("{all:?}"))?;
    all.pop().ok_or_else(|| Failure::new(VERSIONS, "none"))
}

async fn expect(
    promise: &'static str,
    store: &dyn Immutable,
    version: &Version,
    data: &Bytes,
) -> Result<(), Failure> {
    let read = succeed(promise, store.read_version(&version.key, &version.id, None).await)?;
    check(promise, read == *data, || format!("{} bytes", read.len()))?;
    let read = succeed(promise, store.read_version(&version.key, &version.id, Some(10..500)).await)?;
    check(promise, Some(&*read) == data.get(10..500), || format!("{} bytes of a range", read.len()))
}

/// Services keep whole seconds.
async fn expect_lock(
    promise: &'static str,
    store: &dyn Immutable,
    key: &Key,
    version: Option<&str>,
    until: Timestamp,
) -> Result<(), Failure> {
    let lock = succeed(promise, store.locked_until(key, version).await)?;
    let is_right = lock.is_some_and(|lock| (0..=1).contains(&(lock.seconds() - until.seconds())));
    check(promise, is_right, || format!("{lock:?} instead of {until}"))
}
