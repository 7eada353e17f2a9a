//! Places for open requests, given out in the order in which they were asked for.
//!
//! A place is given back by dropping its [`Permit`], however the request ends; a request that is dropped while it
//! waits leaves the queue and passes its turn on.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::throttle::{Concurrency, Lane};

/// How many requests of a lane are open at first, and at most.
const START_AND_MAX: [(u32, u32); Lane::ALL.len()] = [(8, 32), (8, 32), (4, 16)];

#[derive(Debug)]
pub(super) struct Lanes([Arc<Queue>; Lane::ALL.len()]);

#[derive(Debug)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug)]
struct State {
    places: Concurrency,
    tickets: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self(START_AND_MAX.map(|(start, limit_max)| Arc::new(Queue::new(Concurrency::new(start, limit_max)))))
    }
}

impl Lanes {
    fn queue(&self, lane: Lane) -> &Arc<Queue> {
        let [graph, download, upload] = &self.0;
        match lane {
            Lane::Graph => graph,
            Lane::Download => download,
            Lane::Upload => upload,
        }
    }

    /// Waits for a place.
    pub(super) fn place(&self, lane: Lane) -> Turn {
        Turn { queue: Arc::clone(self.queue(lane)), ticket: None }
    }

    pub(super) fn set_limit_max(&self, lane: Lane, limit_max: u32) {
        self.queue(lane).change(|places| places.set_limit_max(limit_max));
    }
}

impl Queue {
    fn new(places: Concurrency) -> Self {
        Self(Mutex::new(State { places, tickets: 0, waiting: BTreeMap::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that may free places, and wakes whoever gets them.
    fn change(&self, how: impl FnOnce(&mut Concurrency)) {
        let mut state = self.state();
        how(&mut state.places);
        wake_first(state);
    }
}

/// Wakes as many as there are places, longest waiting first. They are woken without the lock.
fn wake_first(state: MutexGuard<'_, State>) {
    let free = state.places.free() as usize;
    let wakers: Vec<Waker> = state.waiting.values().take(free).cloned().collect();
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

/// A turn to come.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    ticket: Option<u64>,
}

impl Future for Turn {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let turn = &mut *self;
        let mut state = turn.queue.state();
        let ticket = *turn.ticket.get_or_insert_with(|| {
            state.tickets += 1;
            state.tickets
        });
        let before = state.waiting.range(..ticket).take(state.places.free() as usize).count();
        if before < state.places.free() as usize
            && let Some(number) = state.places.open()
        {
            state.waiting.remove(&ticket);
            drop(state);
            turn.ticket = None;
            return Poll::Ready(Permit { queue: Arc::clone(&turn.queue), number });
        }
        state.waiting.insert(ticket, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut state = self.queue.state();
            state.waiting.remove(&ticket);
            // It may have been woken for a place that it will not take.
            wake_first(state);
        }
    }
}

/// A place. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Permit {
    queue: Arc<Queue>,
    number: u64,
}

impl Permit {
    /// The service answered and did not complain.
    pub(super) fn well(&self) {
        self.queue.change(Concurrency::well);
    }

    /// The service asked for fewer requests.
    pub(super) fn refused(&self) {
        self.queue.change(|places| places.refused(self.number));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.change(Concurrency::close);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(turn: &mut Turn, bell: &Arc<Bell>) -> Option<Permit> {
        match Pin::new(turn).poll(&mut Context::from_waker(&Arc::clone(bell).into())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn full(places: u32) -> (Lanes, Vec<Permit>, Arc<Bell>) {
        let (lanes, bell) = (Lanes::default(), Arc::new(Bell::default()));
        lanes.set_limit_max(Lane::Graph, places);
        let permits = (0..places).map(|_| poll(&mut lanes.place(Lane::Graph), &bell).unwrap()).collect();
        (lanes, permits, bell)
    }

    #[test]
    fn a_place_goes_to_whoever_waits_longest() {
        let (lanes, mut permits, bell) = full(2);
        let (mut first, mut second) = (lanes.place(Lane::Graph), lanes.place(Lane::Graph));
        assert!(poll(&mut first, &bell).is_none() && poll(&mut second, &bell).is_none());
        permits.pop();
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert!(poll(&mut second, &bell).is_none(), "the first is before it");
        assert!(poll(&mut lanes.place(Lane::Graph), &bell).is_none(), "nobody passes the queue");
        let held = poll(&mut first, &bell).unwrap();
        drop(held);
        assert!(poll(&mut second, &bell).is_some());
        assert!(poll(&mut lanes.place(Lane::Upload), &bell).is_some(), "lanes are apart");
    }

    #[test]
    fn a_turn_that_is_dropped_after_it_was_woken_passes_it_on() {
        let (lanes, mut permits, bell) = full(1);
        let (mut first, mut second) = (lanes.place(Lane::Graph), lanes.place(Lane::Graph));
        assert!(poll(&mut first, &bell).is_none() && poll(&mut second, &bell).is_none());
        permits.pop();
        drop(first);
        assert_eq!(bell.0.load(Ordering::Relaxed), 2);
        assert!(poll(&mut second, &bell).is_some());
    }
}
