//! Time and randomness that repeat themselves.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::env::{Clock, Entropy, Env, InlineWorkers};
use crate::error::Result;
use crate::time::Timestamp;

/// Randomness that is the same for the same seed. Clones continue one sequence.
#[derive(Clone)]
pub struct SeededEntropy(Arc<Mutex<blake3::OutputReader>>);

impl SeededEntropy {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        Self(Arc::new(Mutex::new(reader)))
    }
}

impl fmt::Debug for SeededEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "SeededEntropy(after {} bytes)", reader.position())
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}

/// A clock that stands still until it is set. Clones show the same time.
#[derive(Clone, Debug)]
pub struct FixedClock(Arc<Mutex<Timestamp>>);

impl FixedClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Sets the time, also back.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by));
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An environment that gives the same run for the same seed: seeded randomness, a clock that stands at 2026-01-01, and
/// all work on the calling thread.
#[must_use]
pub fn environment(seed: u64) -> Env {
    let clock = FixedClock::new(Timestamp::new(1_767_225_600, 0));
    Env::new(Arc::new(clock), Arc::new(SeededEntropy::new(seed)), Arc::new(InlineWorkers::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_however_they_are_taken() {
        let (one, two) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let (mut whole, mut parts) = ([0; 48], [0; 48]);
        one.fill(&mut whole).unwrap();
        for part in parts.chunks_mut(10) {
            two.clone().fill(part).unwrap();
        }
        assert_eq!(whole, parts);
        let mut other = [0; 48];
        SeededEntropy::new(8).fill(&mut other).unwrap();
        assert_ne!(whole, other);
    }

    #[test]
    fn time_passes_only_when_told() {
        let clock = FixedClock::new(Timestamp::new(10, 900_000_000));
        clock.clone().advance(Duration::from_millis(1_200));
        assert_eq!(clock.now(), Timestamp::new(12, 100_000_000));
    }
}
