//! Key slots: several open one repository, none of them is ever the way to lose it.

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, KdfParams};

use super::objects::copy;
use super::*;

fn opens(store: &MemoryStore, key: &Credential) -> bool {
    let store = Arc::new(store.clone());
    match block_on(Repository::open_with(store, key, fresh_environment(), Options::default())) {
        Ok(repo) => {
            assert!(!files(&restored(&repo)).is_empty());
            true
        }
        Err(error) => {
            // `Corrupt` where what was torn is all that might have been this key's.
            assert!(matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::Corrupt), "{error:?}");
            false
        }
    }
}

fn new_key() -> Credential {
    Credential::raw_key([8; 32])
}

#[test]
fn a_second_key_opens_until_it_is_taken_away_and_the_last_one_stays() {
    let store = MemoryStore::new();
    let repo = init(&store);
    backup_whole(&repo, &sample());
    let [first] = block_on(repo.keys()).unwrap().try_into().unwrap();
    let second = block_on(repo.add_key(&new_key(), KdfParams::default())).unwrap();
    assert_eq!(block_on(repo.keys()).unwrap().len(), 2);
    assert!(opens(&store, &key()) && opens(&store, &new_key()));
    block_on(repo.remove_key(first.id)).unwrap();
    assert!(!opens(&store, &key()) && opens(&store, &new_key()));
    let error = block_on(repo.remove_key(second)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = block_on(repo.remove_key(first.id)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(opens(&store, &new_key()));
}

#[test]
fn a_change_of_keys_may_be_interrupted_at_any_call() {
    let before = MemoryStore::new();
    backup_whole(&init(&before), &sample());
    let offline = ErrorKind::Unavailable;
    let faults = [
        (Operation::Any, Fault::Before(offline)),
        (Operation::Any, Fault::After(offline)),
        (Operation::Create, Fault::Torn(0)),
        (Operation::Create, Fault::Torn(50)),
        (Operation::Create, Fault::TornSilently(50)),
        (Operation::Create, Fault::Lost),
    ];
    let mut points = 0;
    for (operation, fault) in faults {
        for times in [1, usize::MAX] {
            for nth in 0.. {
                let store = copy(&before);
                let faulty = FaultyStore::new(Arc::new(store.clone()));
                let repo = open_on(Arc::new(faulty.clone())).unwrap();
                let calls = faulty.counters().calls();
                let nth = if operation == Operation::Any { calls + nth } else { nth };
                faulty.inject(operation, nth, times, fault);
                let change = async {
                    let old = repo.keys().await?.remove(0).id;
                    repo.add_key(&new_key(), KdfParams::default()).await?;
                    repo.remove_key(old).await
                };
                let changed = block_on(change);
                let (old, new) = (opens(&store, &key()), opens(&store, &new_key()));
                assert!(old || new, "{fault:?} at {nth}: nobody can open it, {changed:?}");
                assert!(changed.is_err() || new && !old, "{fault:?} at {nth}");
                points += 1;
                if faulty.counters().faults == 0 {
                    break;
                }
            }
        }
    }
    println!("{points} interruptions of a change of keys");
    assert!(points > 20);
}
