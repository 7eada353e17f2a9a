//! The promises of [`Store`].

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use super::{Failure, check, fail_with, painted, succeed};
use crate::error::ErrorKind;
use crate::store::{Created, Key, Store};

/// What the suite keeps all its objects below.
const BELOW: &str = "conformance";
/// More than the longest page of any known service.
const MANY: usize = 1_050;
/// Longer than the parts that services split an upload into, and no round number.
const LARGE_BYTES: usize = (8 << 20) + 13;
/// Calls in flight at once where it speeds things up.
const CONCURRENT: usize = 16;

const CREATE_NEW: &str = "create of a free name says New";
const CREATE_TAKEN: &str = "create of a taken name says AlreadyPresent and changes nothing";
const CREATE_ONE: &str = "of many concurrent creates of one name exactly one says New, and its bytes stay";
const READ_BACK: &str = "an object reads back as it was created, from the moment that create returns";
const RANGE: &str = "a range reads exactly the bytes that it names";
const RANGE_OUTSIDE: &str = "a range outside the object is InvalidArgument";
const SIZE: &str = "size is the length of the object";
const MISSING: &str = "an object that is not there is NotFound";
const LIST_ALL: &str = "a listing names every object at or below its prefix, once and with its size";
const LIST_ONLY: &str = "a listing names nothing that is not at or below its prefix, by whole segments";
const DELETE: &str = "a deleted object is gone, and its name is free";
const DELETE_MISSING: &str = "delete of an object that is not there succeeds";
const NAMES: &str = "every well-formed key works";
const CLEAN: &str = "what is left of an earlier run can be listed and deleted";

/// Runs the suite. It writes about 10 MiB in 1,100 objects below the prefix `conformance`, where nothing of value may
/// be, and deletes them again.
///
/// # Errors
/// The first promise that is broken.
pub async fn conformance(store: &dyn Store) -> Result<(), Failure> {
    clean(store).await?;
    missing(store).await?;
    exclusive(store).await?;
    concurrent(store).await?;
    ranges(store).await?;
    names(store).await?;
    listing(store).await?;
    many(store).await?;
    large(store).await?;
    deletion(store).await?;
    clean(store).await
}

fn key(name: &str) -> Result<Key, Failure> {
    succeed(NAMES, Key::new(format!("{BELOW}/{name}")))
}

async fn clean(store: &dyn Store) -> Result<(), Failure> {
    let below = succeed(CLEAN, Key::new(BELOW))?;
    let left: Vec<_> = succeed(CLEAN, store.list(&below).try_collect().await)?;
    let deleted = futures_util::stream::iter(left.iter().map(|entry| store.delete(&entry.key)));
    succeed(CLEAN, deleted.buffer_unordered(CONCURRENT).try_collect::<Vec<_>>().await)?;
    Ok(())
}

async fn create(store: &dyn Store, key: &Key, data: Bytes) -> Result<(), Failure> {
    let created = succeed(CREATE_NEW, store.create(key, data).await)?;
    check(CREATE_NEW, created == Created::New, || format!("{created:?} for {key}"))
}

async fn expect(promise: &'static str, store: &dyn Store, key: &Key, data: &Bytes) -> Result<(), Failure> {
    let read = succeed(promise, store.read(key, None).await)?;
    check(promise, read == *data, || format!("{key} has {} bytes, {} expected", read.len(), data.len()))
}

async fn missing(store: &dyn Store) -> Result<(), Failure> {
    let absent = key("absent/object")?;
    fail_with(MISSING, ErrorKind::NotFound, store.read(&absent, None).await)?;
    fail_with(MISSING, ErrorKind::NotFound, store.read(&absent, Some(0..1)).await)?;
    fail_with(MISSING, ErrorKind::NotFound, store.read(&absent, Some(0..0)).await)?;
    fail_with(MISSING, ErrorKind::NotFound, store.size(&absent).await)?;
    let listed: Vec<_> = succeed(LIST_ONLY, store.list(&absent).try_collect().await)?;
    check(LIST_ONLY, listed.is_empty(), || format!("{listed:?} below a name that is not there"))?;
    succeed(DELETE_MISSING, store.delete(&absent).await)
}

async fn exclusive(store: &dyn Store) -> Result<(), Failure> {
    let (taken, first) = (key("exclusive")?, painted(1, 1_000));
    create(store, &taken, first.clone()).await?;
    expect(READ_BACK, store, &taken, &first).await?;
    // Other content, the same content, and nothing at all.
    for data in [painted(2, 2_000), first.clone(), Bytes::new()] {
        let created = succeed(CREATE_TAKEN, store.create(&taken, data).await)?;
        check(CREATE_TAKEN, created == Created::AlreadyPresent, || format!("{created:?}"))?;
        expect(CREATE_TAKEN, store, &taken, &first).await?;
    }
    Ok(())
}

async fn concurrent(store: &dyn Store) -> Result<(), Failure> {
    for round in 0..8 {
        let contested = key(&format!("contested/{round}"))?;
        let data: Vec<_> = (0..8).map(|writer| painted(writer, 3_000 + usize::from(writer))).collect();
        let results =
            futures_util::future::join_all(data.iter().map(|data| store.create(&contested, data.clone())));
        let mut winners = Vec::new();
        for (result, data) in results.await.into_iter().zip(&data) {
            // A store may refuse to decide and say so; the engine then reads the object back.
            if result.is_ok_and(|created| created == Created::New) {
                winners.push(data);
            }
        }
        match winners.as_slice() {
            [winner] => expect(CREATE_ONE, store, &contested, winner).await?,
            others => return Err(Failure::new(CREATE_ONE, format!("{} winners", others.len()))),
        }
    }
    Ok(())
}

async fn ranges(store: &dyn Store) -> Result<(), Failure> {
    let (whole, data) = (key("ranges")?, painted(3, 10_000));
    create(store, &whole, data.clone()).await?;
    for (start, end) in
        [(0, 10_000), (0, 1), (9_999, 10_000), (1, 9_999), (4_095, 4_097), (0, 0), (5, 5), (10_000, 10_000)]
    {
        let read = succeed(RANGE, store.read(&whole, Some(start..end)).await)?;
        let expected =
            usize::try_from(start).ok().zip(usize::try_from(end).ok()).and_then(|(s, e)| data.get(s..e));
        check(RANGE, expected == Some(&*read), || format!("{} other bytes for {start}..{end}", read.len()))?;
    }
    // Built from parts, because a literal range that runs backwards looks like a mistake.
    for (start, end) in
        [(0, 10_001), (9_999, 10_001), (10_000, 10_001), (20_000, 20_001), (10_001, 10_001), (7, 3)]
    {
        let range = std::ops::Range { start, end };
        fail_with(RANGE_OUTSIDE, ErrorKind::InvalidArgument, store.read(&whole, Some(range)).await)?;
    }
    let size = succeed(SIZE, store.size(&whole).await)?;
    check(SIZE, size == 10_000, || format!("{size} instead of 10000"))?;
    let empty = key("empty")?;
    create(store, &empty, Bytes::new()).await?;
    expect(READ_BACK, store, &empty, &Bytes::new()).await?;
    let nothing = succeed(RANGE, store.read(&empty, Some(0..0)).await)?;
    check(RANGE, nothing.is_empty(), || format!("{} bytes of an empty object", nothing.len()))?;
    fail_with(RANGE_OUTSIDE, ErrorKind::InvalidArgument, store.read(&empty, Some(0..1)).await)?;
    let size = succeed(SIZE, store.size(&empty).await)?;
    check(SIZE, size == 0, || format!("{size} instead of 0"))
}

async fn names(store: &dyn Store) -> Result<(), Failure> {
    let long = ["x".repeat(64), "y".repeat(64), "z".repeat(64)].join("/");
    let all = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
    let names =
        [all, "-leading", ".hidden", "_", "...", "..a", "0", "con", "a/b/c/d/e/f/g/h/i/j/k/l/m", &long];
    let mut expected = BTreeMap::new();
    for (seed, name) in (0..).zip(names) {
        let key = key(&format!("names/{name}"))?;
        let data = painted(seed, 10);
        let created = succeed(NAMES, store.create(&key, data.clone()).await)?;
        check(NAMES, created == Created::New, || format!("{created:?} for {key}"))?;
        expected.insert(key, data);
    }
    for (key, data) in &expected {
        expect(NAMES, store, key, data).await?;
    }
    listed(store, "names", expected.into_keys().map(|key| (key, 10)).collect()).await
}

/// Checks that the listing of `prefix` is exactly `expected`.
async fn listed(store: &dyn Store, prefix: &str, expected: BTreeMap<Key, u64>) -> Result<(), Failure> {
    let prefix = key(prefix)?;
    let mut seen = BTreeMap::new();
    let mut entries = store.list(&prefix);
    while let Some(entry) = entries.next().await {
        let entry = succeed(LIST_ALL, entry)?;
        check(LIST_ONLY, entry.key.is_below(&prefix), || {
            format!("{} in the listing of {prefix}", entry.key)
        })?;
        let again = seen.insert(entry.key.clone(), entry.size);
        check(LIST_ALL, again.is_none(), || format!("{} twice", entry.key))?;
    }
    for (key, size) in &expected {
        let found = seen.get(key);
        check(LIST_ALL, found == Some(size), || {
            format!("{found:?} for {key} of {size} bytes, in {}", seen.len())
        })?;
    }
    let extra = seen.keys().find(|key| !expected.contains_key(key));
    check(LIST_ONLY, extra.is_none(), || format!("{extra:?}, which was never created"))
}

async fn listing(store: &dyn Store) -> Result<(), Failure> {
    for (name, len) in
        [("list/one/1", 1), ("list/one/2", 2), ("list/one-more/1", 3), ("list/ones", 4), ("list/o", 5)]
    {
        create(store, &key(name)?, painted(4, len)).await?;
    }
    let expect = |names: &[(&str, u64)]| -> Result<BTreeMap<Key, u64>, Failure> {
        names.iter().map(|(name, size)| Ok((key(name)?, *size))).collect()
    };
    listed(store, "list/one", expect(&[("list/one/1", 1), ("list/one/2", 2)])?).await?;
    listed(store, "list/ones", expect(&[("list/ones", 4)])?).await?;
    listed(store, "list/one/2", expect(&[("list/one/2", 2)])?).await?;
    listed(store, "list/on", BTreeMap::new()).await?;
    let all = [("list/one/1", 1), ("list/one/2", 2), ("list/one-more/1", 3), ("list/ones", 4), ("list/o", 5)];
    listed(store, "list", expect(&all)?).await
}

async fn many(store: &dyn Store) -> Result<(), Failure> {
    let keys = (0..MANY).map(|number| key(&format!("many/{number:04}"))).collect::<Result<Vec<_>, _>>()?;
    let data = painted(5, 3);
    let creates = keys.iter().map(|key| create(store, key, data.clone()));
    futures_util::stream::iter(creates).buffer_unordered(CONCURRENT).try_collect::<Vec<_>>().await?;
    listed(store, "many", keys.into_iter().map(|key| (key, 3)).collect()).await
}

async fn large(store: &dyn Store) -> Result<(), Failure> {
    let (large, data) = (key("large")?, painted(6, LARGE_BYTES));
    create(store, &large, data.clone()).await?;
    expect(READ_BACK, store, &large, &data).await?;
    let end = LARGE_BYTES as u64;
    let tail = succeed(RANGE, store.read(&large, Some(end - 100..end)).await)?;
    check(RANGE, data.ends_with(&tail) && tail.len() == 100, || format!("{} other bytes", tail.len()))
}

async fn deletion(store: &dyn Store) -> Result<(), Failure> {
    let (doomed, stays) = (key("deletion/doomed")?, key("deletion/doomed-not")?);
    create(store, &doomed, painted(7, 10)).await?;
    create(store, &stays, painted(8, 10)).await?;
    succeed(DELETE, store.delete(&doomed).await)?;
    fail_with(DELETE, ErrorKind::NotFound, store.read(&doomed, None).await)?;
    fail_with(DELETE, ErrorKind::NotFound, store.size(&doomed).await)?;
    succeed(DELETE_MISSING, store.delete(&doomed).await)?;
    listed(store, "deletion", BTreeMap::from([(stays.clone(), 10)])).await?;
    expect(DELETE, store, &stays, &painted(8, 10)).await?;
    create(store, &doomed, painted(9, 20)).await?;
    expect(DELETE, store, &doomed, &painted(9, 20)).await
}
