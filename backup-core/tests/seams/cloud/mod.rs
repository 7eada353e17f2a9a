//! Locks and versions of the clouds: against a real server where there is one, and against strict imitations of what the services' documentation says.

#[cfg(feature = "azure")]
mod azure;
mod http;
#[cfg(feature = "s3")]
mod s3;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backup_core::testkit::{immutable, store};
use backup_core::{Credential, Env, Key, MemorySink, MemorySource, Options, Repository, Store, Timestamp};
use futures_util::TryStreamExt;

/// A name that no earlier run has used: what is locked cannot be cleaned up.
fn unique() -> String {
    format!("run-{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos())
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Both suites, and a repository that is protected, hidden altogether by who may delete, and read all the same.
async fn keeps_every_promise(place: impl Fn(&str) -> Arc<dyn Store>) {
    let name = unique();
    let plain = place(&format!("{name}/plain"));
    store::conformance(&*plain).await.unwrap();
    immutable::conformance(&*plain, now(), &name).await.unwrap();

    let store = place(&format!("{name}/repository"));
    let key = Credential::raw_key([7; 32]);
    let repository = Repository::init(Arc::clone(&store), &key).await.unwrap();
    let source = MemorySource::new("memory:cloud");
    source.put_folder("root", None, "root");
    source.put_file("a", Some("root"), "a", "alpha");
    repository.backup(&source).run().await.unwrap();
    repository.protect(Duration::from_secs(24 * 60 * 60)).await.unwrap();
    source.put_file("b", Some("root"), "b", vec![7; 3 << 20]);
    repository.backup(&source).run().await.unwrap();
    assert!(!repository.locks_due());
    // The services' times have whole seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let before = now();
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    let (mut hidden, immutable) = (0, store.immutable().unwrap());
    for prefix in ["keys", "pack", "segment", "snapshot", "log"] {
        let prefix = Key::new(prefix).unwrap();
        let all: Vec<_> = store.list(&prefix).try_collect().await.unwrap();
        for entry in all {
            let versions: Vec<_> = immutable.versions(&entry.key).try_collect().await.unwrap();
            for version in versions {
                let kept = immutable.delete_version(&entry.key, &version.id).await;
                assert_eq!(kept.unwrap_err().kind(), backup_core::ErrorKind::PermissionDenied, "{version:?}");
            }
            store.delete(&entry.key).await.unwrap();
            hidden += 1;
        }
    }
    assert!(hidden > 8, "{hidden} objects hidden");
    let gone = Repository::open(Arc::clone(&store), &key).await.unwrap_err();
    assert_eq!(gone.kind(), backup_core::ErrorKind::NotARepository);

    let mut options = Options::default();
    options.as_of = Some(before);
    let back = Repository::open_with(store, &key, Env::system(), options).await.unwrap();
    assert_eq!(back.snapshots().len(), 2);
    let sink = MemorySink::new();
    back.restore(back.snapshots()[1].id, &sink).run().await.unwrap();
    assert_eq!(sink.content("root/a").unwrap(), "alpha");
    assert_eq!(sink.content("root/b").unwrap(), vec![7; 3 << 20]);
}
