//! Runs that stand still for any time while others go on: suspended laptops, expired locks, overlapping maintenance.

use std::time::Duration;

use backup_core::testkit::{FixedClock, SeededEntropy};
use backup_core::{Env, InlineWorkers, Timestamp, VerifyLevel};

use super::*;

/// Years later, by everybody's clock.
async fn opened_later(store: &MemoryStore, years: i64) -> backup_core::Result<Repository> {
    static SEED: AtomicU64 = AtomicU64::new(1 << 40);
    let clock = FixedClock::new(Timestamp::new(1_767_225_600 + years * 31_536_000, 0));
    let entropy = Arc::new(SeededEntropy::new(SEED.fetch_add(1, Ordering::Relaxed)));
    let env = Env::new(Arc::new(clock), entropy, Arc::new(InlineWorkers::new()));
    Repository::open_with(Arc::new(store.clone()), &key(), env, Options::default()).await
}

/// Everything that others may do in the meantime: backups, removals of all but the newest, and prunes that delete at once.
fn years_pass(store: &MemoryStore, nap: i64) {
    block_on(async {
        let of = |years| opened_later(store, years);
        write(of(nap).await.unwrap(), 1, u64::try_from(nap).unwrap() + 2).await.unwrap();
        tidy(of(nap).await.unwrap(), 1, Duration::ZERO).await.unwrap();
        tidy(of(nap + 1).await.unwrap(), 1, Duration::from_secs(86_400)).await.unwrap();
    });
}

/// restic #2715, #3569, #4374: a machine slept, its lock expired, others pruned, and the backup went on as if nothing had happened.
#[test]
fn restic_2715_and_3569_and_4374_a_run_that_slept_for_years_between_any_two_calls_loses_nothing() {
    let base = beginning();
    let (mut pauses, mut fenced, mut committed) = (0, 0, 0);
    for sleeper in 0..4 {
        let run = |store: &MemoryStore| -> BoxFuture<'static, Outcome> {
            let store = on(store, everything);
            Box::pin(async move {
                let repo = opened(store).await?;
                match sleeper {
                    0 => write(repo, 0, 0).await,
                    1 => tidy(repo, 1, Duration::ZERO).await,
                    2 => tidy(repo, 2, Duration::from_secs(60)).await,
                    _ => verify(repo).await,
                }
            })
        };
        // Once before each call; the backup also before every seventh from there on.
        for again in [usize::MAX, 7] {
            let mut nap = 0;
            while again == usize::MAX || sleeper == 0 && nap < again {
                let (store, mut naps) = (base.fork(), 0);
                let outcome = stepwise(run(&store), |step| {
                    if step >= nap && (step - nap).is_multiple_of(again) {
                        naps += 1;
                        years_pass(&store, naps);
                    }
                });
                if naps == 0 {
                    break;
                }
                pauses += naps;
                nap += 1;
                fenced += usize::from(outcome.is_err());
                committed += usize::from(matches!(outcome, Ok(Some(_))));
                let context = format!("run {sleeper} asleep at {nap}, every {again}");
                check(&store, &[outcome], VerifyLevel::EveryByte, &context);
                // Whoever comes next finds everything in order.
                let next = block_on(async { write(opened(on(&store, |_, _| false)).await?, 0, 0).await });
                assert!(next.is_ok(), "{context}: {next:?}");
                check(&store, &[next], VerifyLevel::EveryByte, &context);
            }
        }
    }
    println!("{pauses} pauses: {committed} backups committed, {fenced} runs ended");
    // A backup that sleeps late is fenced, and few of its calls come before: an opening makes many of them at once.
    assert!(fenced > 10 && committed > 5);
}

/// duplicacy #323, #98, #212: a prune took away chunks of a backup under way, and metadata among them.
#[test]
fn duplicacy_323_and_98_and_212_a_prune_in_the_middle_of_a_backup_takes_nothing_from_it() {
    let base = beginning();
    let (mut orders, mut committed) = (0, 0);
    for grace in [Duration::ZERO, Duration::from_secs(60)] {
        // The backup makes so many calls, then the prune so many, then the backup ends, then the prune.
        let mut first = 0;
        loop {
            let mut second = 0;
            let is_past_both = loop {
                let store = base.fork();
                let (writers, prunes) = (on(&store, everything), on(&store, everything));
                let runs: Vec<BoxFuture<'_, Outcome>> = vec![
                    Box::pin(async move { write(opened(writers).await?, 0, 0).await }),
                    Box::pin(async move { tidy(opened(prunes).await?, 1, grace).await }),
                ];
                let (mut step, mut both) = (0, 0);
                let outcomes = interleave(runs, |going| {
                    step += 1;
                    both = if going == 2 { step } else { both };
                    usize::from(step > first && step <= first + second)
                });
                orders += 1;
                committed += usize::from(matches!(outcomes[0], Ok(Some(_))));
                let context = format!("{first} calls of the backup, then {second} of the prune");
                check(&store, &outcomes, VerifyLevel::Structure, &context);
                if both < first + second {
                    break both < first;
                }
                second += 1;
            };
            if is_past_both {
                break;
            }
            first += 1;
        }
    }
    println!("{orders} ways of a backup and a prune: {committed} backups committed");
    assert!(orders > 500 && committed > 100);
}
