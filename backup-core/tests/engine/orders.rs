//! Every order of several runs that makes a difference, one execution each.
//!
//! Between two calls of a store a run computes and nobody sees it, so an execution is an order of the runs' calls. Two orders that differ only in
//! which of two neighbouring calls came first, where neither is about what the other changes, end in the same state and show every run the
//! same answers: one of them is enough. *Sleep sets* (Godefroid, 1996) leave out the others: of two calls that commute, the second is not tried
//! first again where the first has been. What is left is at least one execution of every class of orders, and no two that were run are of one
//! class; `sleep_sets_leave_out_nothing` holds it against all orders of smaller runs.

use std::ops::Range;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use backup_core::testkit::Operation;
use backup_core::{Created, Entry, Key};
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::*;

/// A call that a run is about to make.
pub(super) type Call = (Operation, Key);

/// The calls that a run makes in its next step. Several, where it makes them at the same time.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced(Arc<Mutex<Vec<Call>>>);

/// A store that announces each call and then lets others go first.
#[derive(Clone, Debug)]
pub(super) struct Announcing {
    inner: MemoryStore,
    announced: Announced,
    yields: fn(Operation, &Key) -> bool,
}

impl Announcing {
    async fn turn(&self, operation: Operation, key: &Key) {
        if !(self.yields)(operation, key) {
            return;
        }
        let mut asked = false;
        std::future::poll_fn(|context: &mut Context<'_>| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            self.announced.0.lock().unwrap().push((operation, key.clone()));
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[async_trait::async_trait]
impl Store for Announcing {
    async fn create(&self, key: &Key, data: Bytes) -> backup_core::Result<Created> {
        self.turn(Operation::Create, key).await;
        self.inner.create(key, data).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> backup_core::Result<Bytes> {
        self.turn(Operation::Read, key).await;
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> backup_core::Result<u64> {
        self.turn(Operation::Size, key).await;
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, backup_core::Result<Entry>> {
        let turn = self.turn(Operation::List, prefix).into_stream().filter_map(|()| std::future::ready(None));
        turn.chain(stream::once(std::future::ready(())).flat_map(|()| self.inner.list(prefix))).boxed()
    }

    async fn delete(&self, key: &Key) -> backup_core::Result<()> {
        self.turn(Operation::Delete, key).await;
        self.inner.delete(key).await
    }
}

/// Whether it makes a difference which of the two is first.
fn differ(one: &Call, other: &Call) -> bool {
    let changes = |call: &Call| matches!(call.0, Operation::Create | Operation::Delete);
    // What a listing shows changes with everything below its prefix.
    let sees = |call: &Call, key: &Key| match call.0 {
        Operation::List => key.is_below(&call.1),
        _ => call.1 == *key,
    };
    (changes(one) && sees(other, &one.1)) || (changes(other) && sees(one, &other.1))
}

/// What one execution is made of, anew for each: the store and the runs over it.
pub(super) trait Life: Sync {
    /// What comes of a run.
    type Outcome: Send;

    /// The runs, over forks of one store; `through` makes the store of one of them.
    fn runs(
        &self,
        store: &MemoryStore,
        through: &mut dyn FnMut() -> Arc<dyn Store>,
    ) -> Vec<BoxFuture<'static, Self::Outcome>>;

    /// Looks at the store after an execution.
    fn check(&self, store: &MemoryStore, outcomes: &[Self::Outcome], order: &dyn std::fmt::Display);
}

/// How to go through the orders.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// Calls before which others may go first.
    pub(super) yields: fn(Operation, &Key) -> bool,
    /// Without, every order is run.
    pub(super) sleep: bool,
    /// Executions after which it ends, whatever is left.
    pub(super) most: usize,
    pub(super) threads: usize,
}

/// What a search has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Executions that went to their end, no two of one class.
    pub(super) orders: usize,
    /// Executions given up because an order of their class had been run.
    pub(super) asleep: usize,
    /// The longest order, in steps.
    pub(super) steps: usize,
    /// Whether these are all.
    pub(super) all: bool,
}

/// The beginning of an order that is still to be run: its choices, and the runs asleep before the last of them.
#[derive(Clone, Debug, Default)]
struct Beginning {
    choices: Vec<u8>,
    asleep: u32,
}

struct Shared {
    open: Vec<Beginning>,
    busy: usize,
    found: Found,
    dice: interleaved::Dice,
}

/// Beginnings that are kept, at most about, where any of them may be next.
const OPEN_MAX: usize = 200_000;

/// Runs every order of a life.
pub(super) fn search<L: Life>(life: &L, beginning: &MemoryStore, search: Search) -> Found {
    let shared = Mutex::new(Shared {
        open: vec![Beginning::default()],
        busy: 0,
        found: Found::default(),
        dice: interleaved::Dice(1996),
    });
    std::thread::scope(|scope| {
        for _ in 0..search.threads {
            scope.spawn(|| {
                loop {
                    let mut now = shared.lock().unwrap();
                    if now.found.orders >= search.most {
                        return;
                    }
                    if now.open.is_empty() {
                        if now.busy == 0 {
                            return;
                        }
                        drop(now);
                        std::thread::yield_now();
                        continue;
                    }
                    // The newest first needs least memory. Where not all will be run, those that are should not all begin alike.
                    let mut last = now.open.len() - 1;
                    if search.most < usize::MAX && last < OPEN_MAX {
                        last = now.dice.throw(last + 1);
                    }
                    let next = now.open.swap_remove(last);
                    now.busy += 1;
                    drop(now);
                    // Another thread must not wait for ever for one that has failed.
                    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        execute(life, beginning, search, next)
                    }));
                    let mut now = shared.lock().unwrap();
                    now.busy -= 1;
                    match ran {
                        Ok((new, steps, ended)) => {
                            now.open.extend(new);
                            now.found.orders += usize::from(ended);
                            now.found.asleep += usize::from(!ended);
                            now.found.steps = now.found.steps.max(steps);
                        }
                        Err(panic) => {
                            now.found.orders = usize::MAX / 2;
                            now.open.clear();
                            drop(now);
                            std::panic::resume_unwind(panic);
                        }
                    }
                }
            });
        }
    });
    let shared = shared.into_inner().unwrap();
    Found { all: shared.open.is_empty(), ..shared.found }
}

/// Runs one order from its beginning to its end. Gives what is still to be run beside it, its length, and whether it came to its end.
fn execute<L: Life>(
    life: &L,
    beginning: &MemoryStore,
    search: Search,
    Beginning { mut choices, asleep }: Beginning,
) -> (Vec<Beginning>, usize, bool) {
    let (store, mut all) = (beginning.fork(), Vec::new());
    let mut through = || -> Arc<dyn Store> {
        let announced = Announced::default();
        all.push(announced.clone());
        Arc::new(Announcing { inner: store.clone(), announced, yields: search.yields })
    };
    let mut runs: Vec<_> = life.runs(&store, &mut through).into_iter().map(Some).collect();
    let mut outcomes: Vec<Option<L::Outcome>> = runs.iter().map(|_| None).collect();
    let (given, mut sleeping, mut new) = (choices.len(), 0u32, Vec::new());
    let mut context = Context::from_waker(Waker::noop());
    let mut step = 0;
    loop {
        let going: Vec<usize> = (0..runs.len()).filter(|run| runs[*run].is_some()).collect();
        if going.is_empty() {
            break;
        }
        if step + 1 == given {
            sleeping = asleep;
        }
        let chosen = if step < given {
            usize::from(choices[step])
        } else {
            let mut awake = going.iter().copied().filter(|run| sleeping >> run & 1 == 0);
            // Everything that may come next has come next in another order of this class.
            let Some(chosen) = awake.next() else { return (new, step, false) };
            let mut before = sleeping | 1 << chosen;
            for other in awake {
                let mut choices = choices.clone();
                choices.push(u8::try_from(other).unwrap());
                new.push(Beginning { choices, asleep: if search.sleep { before } else { 0 } });
                before |= 1 << other;
            }
            choices.push(u8::try_from(chosen).unwrap());
            chosen
        };
        let calls = std::mem::take(&mut *all[chosen].0.lock().unwrap());
        if search.sleep && step + 1 >= given {
            // Whoever's next calls depend on these wakes up.
            let before = sleeping;
            for run in going.iter().copied().filter(|run| before >> run & 1 == 1) {
                let theirs = all[run].0.lock().unwrap();
                if theirs.iter().any(|call| calls.iter().any(|other| differ(call, other))) {
                    sleeping &= !(1 << run);
                }
            }
        }
        let run = runs[chosen].as_mut().unwrap();
        if let Poll::Ready(outcome) = run.as_mut().poll(&mut context) {
            runs[chosen] = None;
            outcomes[chosen] = Some(outcome);
        }
        step += 1;
    }
    let outcomes: Vec<_> = outcomes.into_iter().map(Option::unwrap).collect();
    let order: String = choices.iter().map(|run| char::from(b'a' + run)).collect();
    life.check(&store, &outcomes, &format_args!("order {order}"));
    (new, step, true)
}

/// Runs that create, read, list and delete a few objects in a fixed order, and tell what they saw: all that can differ between two orders.
struct Toy {
    programs: Vec<Vec<Call>>,
    seen: Mutex<std::collections::BTreeSet<String>>,
}

impl Life for Toy {
    type Outcome = String;

    fn runs(
        &self,
        _: &MemoryStore,
        through: &mut dyn FnMut() -> Arc<dyn Store>,
    ) -> Vec<BoxFuture<'static, String>> {
        let mut runs: Vec<BoxFuture<'static, String>> = Vec::new();
        for (number, program) in self.programs.iter().enumerate() {
            let (program, store) = (program.clone(), through());
            runs.push(Box::pin(async move {
                let mut saw = String::new();
                for (operation, key) in program {
                    saw += &match operation {
                        Operation::Create => {
                            format!("{:?} ", store.create(&key, vec![number as u8].into()).await.unwrap())
                        }
                        Operation::Read => format!("{:?} ", store.read(&key, None).await.ok()),
                        Operation::List => format!("{} ", store.list(&key).count().await),
                        _ => {
                            store.delete(&key).await.unwrap();
                            String::new()
                        }
                    };
                }
                saw
            }));
        }
        runs
    }

    fn check(&self, store: &MemoryStore, outcomes: &[String], _: &dyn std::fmt::Display) {
        self.seen.lock().unwrap().insert(format!("{outcomes:?} {:?}", store.objects()));
    }
}

/// Random small programs over few names: all that any order comes to, some order that is not left out comes to as well.
#[test]
fn sleep_sets_leave_out_nothing() {
    let mut dice = interleaved::Dice(1996);
    let (mut all_orders, mut fewer_orders) = (0, 0);
    for _ in 0..300 {
        let programs: Vec<Vec<Call>> = (0..2 + dice.throw(2))
            .map(|_| {
                (0..1 + dice.throw(3))
                    .map(|_| {
                        let operation =
                            [Operation::Create, Operation::Read, Operation::List, Operation::Delete]
                                [dice.throw(4)];
                        let key = ["log/1", "log/2", "pack/1"][dice.throw(3)];
                        let key =
                            if operation == Operation::List { key.split('/').next().unwrap() } else { key };
                        (operation, Key::new(key).unwrap())
                    })
                    .collect()
            })
            .collect();
        let run = |sleep| {
            let toy = Toy { programs: programs.clone(), seen: Mutex::default() };
            let how = Search { yields: |_, _| true, sleep, most: usize::MAX, threads: 1 };
            let found = search(&toy, &MemoryStore::new(), how);
            assert!(found.all);
            (found.orders, toy.seen.into_inner().unwrap())
        };
        let ((all, everything), (fewer, same)) = (run(false), run(true));
        assert_eq!(everything, same, "{programs:?}");
        assert!(fewer <= all);
        all_orders += all;
        fewer_orders += fewer;
    }
    println!("{fewer_orders} of {all_orders} orders come to all that any of them comes to");
    assert!(fewer_orders * 2 < all_orders);
}
