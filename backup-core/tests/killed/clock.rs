//! The clock is set back ten years in the middle of a life, at every moment at which the engine asks for the time. A clock that jumps during
//! a prune beside a backup is in `tests/engine/regressions.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backup_core::store::MemoryStore;
use backup_core::testkit::SeededEntropy;
use backup_core::{Clock, Env, InlineWorkers, Store, Timestamp};
use futures_executor::block_on;

use super::{Told, assert_recovers, live, place};

const TEN_YEARS_SECONDS: i64 = 315_576_000;

/// Goes on by a second at every question, and jumps back for the questions of a range.
struct Jumping {
    asked: Arc<AtomicUsize>,
    back: std::ops::Range<usize>,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let jump = if self.back.contains(&asked) { TEN_YEARS_SECONDS } else { 0 };
        Timestamp::new(1_790_000_000 - jump + i64::try_from(asked).unwrap(), 0)
    }
}

#[test]
fn a_clock_set_back_ten_years_at_any_moment_loses_nothing() {
    let (mut from, mut points) = (0, 0);
    loop {
        let mut asked_so_far = 0;
        // For good, and until somebody puts it right three questions later.
        for until in [usize::MAX, from + 3] {
            let (store, folder) = (MemoryStore::new(), place());
            let asked = Arc::new(AtomicUsize::new(0));
            let seed = AtomicUsize::new(points * 100);
            let env = || {
                let clock = Jumping { asked: Arc::clone(&asked), back: from..until };
                let seed = seed.fetch_add(1, Ordering::Relaxed) as u64;
                Env::new(Arc::new(clock), Arc::new(SeededEntropy::new(seed)), Arc::new(InlineWorkers::new()))
            };
            let (arc, context) =
                (Arc::new(store.clone()) as Arc<dyn Store>, format!("from question {from} on"));
            block_on(async {
                let mut told = Told::default();
                live(&arc, env, folder.path(), &mut told)
                    .await
                    .unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert_eq!(told.kept.len(), 3, "{context}");
                assert_recovers(arc, folder.path(), &told, &context).await;
            });
            points += 1;
            asked_so_far = asked.load(Ordering::Relaxed);
        }
        if from >= asked_so_far {
            break;
        }
        from += 1;
    }
    println!("the clock was set back ten years at {from} moments, {points} lives");
    assert!(from > 5, "the engine asks for the time more often than that");
}
