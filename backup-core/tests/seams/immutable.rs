//! Stores that lock, and the view of what they were.

use std::sync::Arc;
use std::time::Duration;

use backup_core::store::{Immutable, MemoryStore, Protection, Version, as_of};
use backup_core::testkit::{FaultyStore, FixedClock, LockingStore, immutable, store};
use backup_core::{Created, Entry, ErrorKind, Key, Result, Store, Timestamp};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_executor::block_on;
use futures_util::{StreamExt, TryStreamExt};

const NOW: Timestamp = Timestamp::new(1_800_000_000, 500);

fn locking() -> (FixedClock, LockingStore) {
    let clock = FixedClock::new(NOW);
    (clock.clone(), LockingStore::new(Arc::new(clock)))
}

#[test]
fn the_strict_store_keeps_every_promise_also_behind_another() {
    let (_, locking) = locking();
    block_on(async {
        store::conformance(&locking).await.unwrap();
        immutable::conformance(&locking, NOW, "one").await.unwrap();
        let faulty = FaultyStore::new(Arc::new(locking));
        store::conformance(&faulty).await.unwrap();
        immutable::conformance(&faulty, NOW, "two").await.unwrap();
        assert!(faulty.counters().locks > 0);
    });
}

#[test]
fn a_store_that_does_not_lock_fails_the_suite() {
    let failure = block_on(immutable::conformance(&MemoryStore::new(), NOW, "none")).unwrap_err();
    assert!(failure.promise.contains("says so"), "{failure}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    SetsNoLock,
    LocksLater,
    Shortens,
    ForgetsMarkers,
    DeletesWhatIsLocked,
    WithoutVersioning,
}

#[derive(Debug)]
struct Lying(LockingStore, Lie);

#[async_trait::async_trait]
impl Store for Lying {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        self.0.create(key, data).await
    }
    async fn read(&self, key: &Key, range: Option<std::ops::Range<u64>>) -> Result<Bytes> {
        self.0.read(key, range).await
    }
    async fn size(&self, key: &Key) -> Result<u64> {
        self.0.size(key).await
    }
    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.0.list(prefix)
    }
    async fn delete(&self, key: &Key) -> Result<()> {
        self.0.delete(key).await
    }
    fn immutable(&self) -> Option<&dyn Immutable> {
        Some(self)
    }
}

#[async_trait::async_trait]
impl Immutable for Lying {
    async fn protection(&self) -> Result<Protection> {
        Ok(Protection::new(self.1 != Lie::WithoutVersioning, true))
    }
    async fn create_locked(&self, key: &Key, data: Bytes, until: Timestamp) -> Result<Created> {
        match self.1 {
            Lie::SetsNoLock => self.0.create(key, data).await,
            // By a second request, so that a name that is taken gets the lock as well.
            Lie::LocksLater => {
                let created = self.0.create(key, data).await?;
                self.0.extend(key, None, until).await?;
                Ok(created)
            }
            _ => self.0.create_locked(key, data, until).await,
        }
    }
    async fn extend(&self, key: &Key, version: Option<&str>, until: Timestamp) -> Result<()> {
        self.0.extend(key, version, until).await
    }
    async fn locked_until(&self, key: &Key, version: Option<&str>) -> Result<Option<Timestamp>> {
        let locked = self.0.locked_until(key, version).await?;
        Ok(if self.1 == Lie::Shortens {
            locked.min(Some(Timestamp::new(NOW.seconds() + 1_800, 500)))
        } else {
            locked
        })
    }
    fn versions<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Version>> {
        let forgets = self.1 == Lie::ForgetsMarkers;
        let shown = move |version: &Version| std::future::ready(!(forgets && version.hides));
        self.0.versions(prefix).try_filter(shown).boxed()
    }
    async fn read_version(
        &self,
        key: &Key,
        version: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Bytes> {
        self.0.read_version(key, version, range).await
    }
    async fn delete_version(&self, key: &Key, version: &str) -> Result<()> {
        match self.0.delete_version(key, version).await {
            Err(_) if self.1 == Lie::DeletesWhatIsLocked => Ok(()),
            done => done,
        }
    }
}

#[test]
fn stores_that_break_a_promise_are_named_with_it() {
    for (lie, word) in [
        (Lie::SetsNoLock, "is locked"),
        (Lie::LocksLater, "changes neither"),
        (Lie::Shortens, "longer"),
        (Lie::ForgetsMarkers, "every marker"),
        (Lie::DeletesWhatIsLocked, "cannot be deleted"),
        (Lie::WithoutVersioning, "says so"),
    ] {
        let failure = block_on(immutable::conformance(&Lying(locking().1, lie), NOW, "lie")).unwrap_err();
        assert!(failure.promise.contains(word), "{lie:?}: {failure}");
    }
}

#[test]
fn a_store_shows_what_there_was_whatever_hides_it_now() {
    let (clock, locking) = locking();
    let key = |name: &str| Key::new(name).unwrap();
    let minute = Duration::from_secs(60);
    block_on(async {
        let (deleted, replaced, later) = (key("pack/ab/1"), key("pack/ab/2"), key("pack/ab/3"));
        locking.create(&deleted, "first".into()).await.unwrap();
        locking.create(&replaced, "second".into()).await.unwrap();
        let then = clock_now(&clock);
        clock.advance(minute);
        locking.delete(&deleted).await.unwrap();
        locking.overwrite(&replaced, "of an attacker".into());
        locking.create(&later, "third".into()).await.unwrap();

        let view = as_of(Arc::new(locking.clone()), then).unwrap();
        assert_eq!(view.read(&deleted, None).await.unwrap(), "first");
        assert_eq!(view.read(&deleted, Some(1..3)).await.unwrap(), "ir");
        assert_eq!(view.read(&replaced, None).await.unwrap(), "second");
        assert_eq!(view.size(&replaced).await.unwrap(), 6);
        assert_eq!(view.read(&later, None).await.unwrap_err().kind(), ErrorKind::NotFound);
        let prefix = key("pack/ab");
        let listed: Vec<_> =
            view.list(&prefix).map_ok(|entry| (entry.key, entry.size)).try_collect().await.unwrap();
        assert_eq!(listed, [(deleted.clone(), 5), (replaced.clone(), 6)]);
        for refused in [view.create(&later, "x".into()).await.map(drop), view.delete(&deleted).await] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
        assert!(view.immutable().is_none());

        let now = as_of(Arc::new(locking), clock_now(&clock)).unwrap();
        assert_eq!(now.read(&replaced, None).await.unwrap(), "of an attacker");
        assert_eq!(now.read(&deleted, None).await.unwrap(), "first", "what hides it counts at no time");
    });
    let refused = as_of(Arc::new(MemoryStore::new()), NOW).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

fn clock_now(clock: &FixedClock) -> Timestamp {
    backup_core::Clock::now(clock)
}
