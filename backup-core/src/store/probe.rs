//! What a store really does, found out by trying it: a bucket behind a gateway, a file system without hard links, an adapter with a
//! mistake. Looks at a few objects of its own below `probe/`; never at those of a repository. `Repository::init_with` calls it before it
//! writes anything, and the testkit's conformance suite is its long form. Start at [`probe`].

use std::fmt::Display;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::{join, join3};
use futures_util::{StreamExt, TryStreamExt};

use super::{Created, Key, Store};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};

/// Where a probe keeps its objects. Whatever is left there belongs to nobody.
const BELOW: &str = "probe";
/// Length of the object that ranges are read from, in bytes; no multiple of a disk's or a service's unit.
const LENGTH: usize = 5_003;

/// What a store does, as [`probe`] saw it. Whatever would put data at risk is no value here but an error.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// How creations of one name by two at once end.
    pub contest: Contest,
    /// Whether a listing names at once what was created before it.
    pub listing: Listed,
    /// Whether listings say when objects were created. Without it a prune goes by its own log alone, and retention by the writers' clocks.
    pub tells_time: bool,
    /// What becomes of a deletion.
    pub deletion: Deletion,
}

/// How two creations of one name at the same time ended; see [`Probe::contest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Contest {
    /// One created the object, the other was told that it is there.
    Decided,
    /// One created the object, the other got an error, which leaves open who was first. Costs a writer that meets another one a read.
    LoserFails,
}

/// Whether a listing was up to date; see [`Probe::listing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Listed {
    /// It named every object with its length.
    AtOnce,
    /// Objects were missing or had another length. Opening a repository that was created a moment ago may fail, and a prune leaves for the
    /// next one what it is not shown.
    Late,
}

/// What a deletion did; see [`Probe::deletion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Deletion {
    /// The object was gone when the call returned.
    AtOnce,
    /// The call succeeded, and the object could still be read.
    Late,
    /// The call was refused: the credentials lack the right, or the objects are locked. A prune gives nothing back, and this probe's two
    /// objects stay.
    Refused,
}

/// Tries what a store does and refuses one that is not safe.
///
/// Creates two objects of 5 KB below `probe/`, under random names, and deletes them again. 24 calls.
///
/// # Errors
/// `UnsafeStore`, with a message that says what is wrong, if a taken name can be created again, an object does not read back as it was
/// created, a range gives other bytes than it names, a length is wrong, or an absent object is not reported as `NotFound`. Else what
/// the store reports: then it is not known what it does.
///
/// ```
/// use backup_core::store::{Deletion, MemoryStore, probe};
/// # use backup_core::testkit::environment;
/// # futures_executor::block_on(async {
/// # let env = environment(1);
/// let found = probe(&MemoryStore::new(), &env).await?;
/// assert_eq!(found.deletion, Deletion::AtOnce);
/// # Ok::<_, backup_core::Error>(())
/// # }).unwrap();
/// ```
pub async fn probe(store: &dyn Store, env: &Env) -> Result<Probe> {
    probe_at(store, env.random()?).await
}

/// The same under a name that the caller has drawn.
pub(crate) async fn probe_at(store: &dyn Store, name: [u8; 16]) -> Result<Probe> {
    let name = crate::id::ObjectId::from_bytes(name);
    let keys = [Key::known(format!("{BELOW}/{name}")), Key::known(format!("{BELOW}/{name}.contest"))];
    let found = examine(store, &keys).await;
    if found.is_err() {
        // What can be tidied up is; why the probe failed matters more than what stays.
        let _ = join(store.delete(&keys[0]), store.delete(&keys[1])).await;
    }
    found
}

async fn examine(store: &dyn Store, keys: &[Key; 2]) -> Result<Probe> {
    let [object, contested] = keys;
    let odd = absence(store, object).await?;
    exclusive(store, object).await?;
    if let Some(odd) = odd {
        // Only now: who may not write at all has been told so. And only if it says so again is it the store's way.
        return Err(match absence(store, contested).await? {
            None => odd,
            Some(again) => {
                let what = "it does not say that an absent object is absent (on S3 that takes the right to list the bucket)";
                refused(object, what).with_source(again)
            }
        });
    }
    let contest = contest(store, contested).await?;
    ranges(store, object).await?;
    let (listing, tells_time) = listed(store, keys).await?;
    Ok(Probe { contest, listing, tells_time, deletion: deleted(store, keys).await? })
}

/// Bytes that differ from each other and between seeds.
fn painted(seed: u8, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn refused(object: &Key, what: impl Display) -> Error {
    Error::new(ErrorKind::UnsafeStore, format!("not safe to keep backups in: {what}"))
        .with_item(object.as_str())
}

/// The first answer that is not as it should be for an object that is absent, if there is one.
async fn absence(store: &dyn Store, object: &Key) -> Result<Option<Error>> {
    let whole = async { store.read(object, None).await.map(drop) };
    let part = async { store.read(object, Some(0..1)).await.map(drop) };
    let size = async { store.size(object).await.map(drop) };
    let (whole, part, size) = join3(whole, part, size).await;
    for answer in [whole, part, size] {
        match answer {
            Ok(()) => return Err(refused(object, "it shows an object that nobody has created")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => return Ok(Some(error)),
        }
    }
    Ok(None)
}

/// A name is created once, and its bytes stay.
async fn exclusive(store: &dyn Store, object: &Key) -> Result<()> {
    let first = painted(1, LENGTH);
    match create(store, object, first.clone()).await? {
        Created::New => {}
        Created::AlreadyPresent => return Err(refused(object, "it calls a free name taken")),
    }
    expect(store, object, &first, "an object does not read back as it was created").await?;
    // Of the same length, longer, empty.
    for other in [painted(2, LENGTH), painted(2, 2 * LENGTH), Bytes::new()] {
        if create(store, object, other).await? == Created::New {
            return Err(refused(object, "it creates an object whose name is taken"));
        }
    }
    expect(store, object, &first, "it changes an object whose name is created again").await
}

async fn create(store: &dyn Store, object: &Key, bytes: Bytes) -> Result<Created> {
    store.create(object, bytes).await.map_err(|error| match error.kind() {
        ErrorKind::Unsupported => {
            refused(object, "it cannot create an object only if it is absent").with_source(error)
        }
        _ => error,
    })
}

async fn expect(store: &dyn Store, object: &Key, bytes: &Bytes, otherwise: &str) -> Result<()> {
    match store.read(object, None).await {
        Ok(read) if read == *bytes => Ok(()),
        Ok(_) => Err(refused(object, otherwise)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(refused(object, "an object is not there after it was created").with_source(error))
        }
        Err(error) => Err(error),
    }
}

/// Of two that create one name at once, exactly one is told that it did, and its bytes are there.
async fn contest(store: &dyn Store, object: &Key) -> Result<Contest> {
    let (one, other) = (painted(3, LENGTH), painted(4, LENGTH));
    let answers = join(create(store, object, one.clone()), create(store, object, other.clone())).await;
    let contest = if answers.0.is_ok() && answers.1.is_ok() { Contest::Decided } else { Contest::LoserFails };
    let winner = match answers {
        (Ok(Created::New), Ok(Created::New)) => {
            return Err(refused(object, "it creates one name twice at the same time"));
        }
        (Ok(Created::New), _) => one,
        (_, Ok(Created::New)) => other,
        (Err(error), _) | (_, Err(error)) => return Err(error),
        _ => return Err(refused(object, "it calls a free name taken")),
    };
    expect(store, object, &winner, "of two objects created at the same time the wrong one stayed").await?;
    Ok(contest)
}

/// Ranges are exact, those outside fail, and the length is right.
async fn ranges(store: &dyn Store, object: &Key) -> Result<()> {
    let (whole, end) = (painted(1, LENGTH), LENGTH as u64);
    for range in [0..1, 1..end - 1, 4_095..4_097, end - 1..end] {
        let read = store.read(object, Some(range.clone())).await?;
        if part(&whole, &range) != Some(&*read) {
            return Err(refused(object, "a range reads other bytes than it names"));
        }
    }
    for range in [end - 1..end + 1, end + 1..end + 2] {
        // Any failure will do: what matters is that a reader never takes less than it asked for.
        if store.read(object, Some(range)).await.is_ok() {
            return Err(refused(object, "a range that ends after the object is answered all the same"));
        }
    }
    match store.size(object).await? {
        size if size == end => Ok(()),
        _ => Err(refused(object, "it reports a wrong length")),
    }
}

fn part<'a>(whole: &'a Bytes, range: &Range<u64>) -> Option<&'a [u8]> {
    whole.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

async fn listed(store: &dyn Store, keys: &[Key; 2]) -> Result<(Listed, bool)> {
    let below = Key::known(BELOW.to_owned());
    let ours = store.list(&below).try_filter(|entry| std::future::ready(keys.contains(&entry.key)));
    // No more than these two, however long a listing repeats itself.
    let ours: Vec<_> = ours.take(keys.len()).try_collect().await?;
    let found =
        keys.iter().all(|key| ours.iter().any(|entry| entry.key == *key && entry.size == LENGTH as u64));
    let tells_time = !ours.is_empty() && ours.iter().all(|entry| entry.modified.is_some());
    Ok((if found { Listed::AtOnce } else { Listed::Late }, tells_time))
}

async fn deleted(store: &dyn Store, keys: &[Key; 2]) -> Result<Deletion> {
    let mut deletion = Deletion::AtOnce;
    for object in keys {
        match store.delete(object).await {
            Ok(()) => match store.size(object).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(_) => deletion = Deletion::Late,
            },
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                return Ok(Deletion::Refused);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(deletion)
}
