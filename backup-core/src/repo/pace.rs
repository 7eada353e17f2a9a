//! How hard each frame of a session is compressed: fast, unless a thorough search is worth its time for what is coming.
//!
//! Whether it is depends on the content. Of noise nothing is saved, of source code about a ninth, of mails of few words a fifth
//! (docs/decisions/0004-speed.md). So now and then a frame is compressed both ways, and the shorter one is kept; what that saved decides about
//! the frames after it.

use std::str::FromStr;

use crate::compress::{Effort, Lengths};
use crate::crypto::Class;
use crate::error::{Error, Result};

/// How much work goes into making what is stored shorter. What was stored is read at the same speed, whatever it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// [`Fast`](Self::Fast), but [`Thorough`](Self::Thorough) while that makes the content at hand shorter by a sixth: text that
    /// repeats itself, such as mails. This is tried with the first frames, of about 1 MiB each, and then with one in 16 to 128.
    #[default]
    Adaptive,
    /// As fast as a disk: a few hundred MB a second and core.
    Fast,
    /// Shorter by a twentieth to a fifth, at 50 to 120 MB a second and core, which is more than most networks bring.
    Thorough,
}

impl FromStr for Compression {
    type Err = Error;

    /// From `adaptive`, `fast` or `thorough`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "adaptive" => Ok(Self::Adaptive),
            "fast" => Ok(Self::Fast),
            "thorough" => Ok(Self::Thorough),
            _ => Err(Error::invalid("compression is one of adaptive, fast, thorough").with_item(text)),
        }
    }
}

/// The share of a frame's length that a thorough search has to save: one in so many.
const WORTH: usize = 6;
/// Frames from one trial to the next; doubled each time that it changes nothing.
const INTERVAL_MIN: u32 = 16;
const INTERVAL_MAX: u32 = 128;
/// So many trials in a row have to say that the other way is better. They follow each other at once.
const VOTES: u32 = 3;

/// After so many frames in a row of which nothing was saved, a glance at the next one may do.
const NOISE_FRAMES: u32 = 2;

/// What a session's next frames are to be compressed with.
#[derive(Debug)]
pub(super) struct Pace {
    compression: Compression,
    thorough: bool,
    interval: u32,
    /// Frames until the next trial.
    wait: u32,
    /// Frames that are tried one after the other.
    trials: u32,
    /// Trials in a row that were for the other way.
    votes: u32,
    /// Frames of data in a row that stayed as they were.
    noise: u32,
}

impl Pace {
    pub(super) fn new(compression: Compression) -> Self {
        let thorough = compression == Compression::Thorough;
        Self {
            compression,
            thorough,
            interval: INTERVAL_MIN,
            wait: INTERVAL_MIN,
            trials: VOTES,
            votes: 0,
            noise: 0,
        }
    }

    /// For the frame that comes next.
    pub(super) fn next(&mut self, class: Class) -> Effort {
        let effort = match self.thorough {
            true => Effort::Thorough,
            false if class == Class::Data && self.noise >= NOISE_FRAMES => Effort::Glance,
            false => Effort::Fast,
        };
        if self.compression != Compression::Adaptive {
            return effort;
        }
        if class != Class::Data {
            // Trees are names of chunks, most of all, which are noise.
            return Effort::Fast;
        }
        if self.trials > 0 {
            self.trials -= 1;
            return Effort::Both;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return effort;
        }
        self.wait = self.interval;
        Effort::Both
    }

    /// A frame of data has been compressed, or nothing was saved and it stays as it was.
    pub(super) const fn ended(&mut self, is_compressed: bool) {
        self.noise = if is_compressed { 0 } else { self.noise.saturating_add(1) };
    }

    /// A trial has ended. Others may have begun meanwhile.
    pub(super) fn tried(&mut self, Lengths { fast, thorough }: Lengths) {
        let is_worth_it = thorough <= fast - fast / WORTH;
        if is_worth_it == self.thorough {
            (self.votes, self.trials) = (0, 0);
            self.interval = (self.interval * 2).min(INTERVAL_MAX);
            return;
        }
        self.votes += 1;
        self.trials = VOTES - self.votes;
        if self.trials == 0 {
            (self.thorough, self.votes) = (is_worth_it, 0);
            (self.interval, self.wait) = (INTERVAL_MIN, INTERVAL_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const WORTH_IT: Lengths = Lengths { fast: 600, thorough: 500 };
    const NOT_WORTH_IT: Lengths = Lengths { fast: 600, thorough: 501 };

    /// The efforts of `frames` frames, of which each trial comes out the same way.
    fn efforts(pace: &mut Pace, frames: usize, lengths: Lengths) -> Vec<Effort> {
        let one = |_| {
            let effort = pace.next(Class::Data);
            if effort == Effort::Both {
                pace.tried(lengths);
            }
            effort
        };
        (0..frames).map(one).collect()
    }

    fn count(efforts: &[Effort], effort: Effort) -> usize {
        efforts.iter().filter(|other| **other == effort).count()
    }

    #[test]
    fn three_trials_in_a_row_decide() {
        let mut pace = Pace::new(Compression::Adaptive);
        let text = efforts(&mut pace, 100, WORTH_IT);
        assert_eq!(text[..3], [Effort::Both; 3]);
        assert_eq!(count(&text, Effort::Fast), 0);
        assert_eq!(pace.next(Class::Tree), Effort::Fast);
        // Back, within the interval.
        let noise = efforts(&mut pace, 2_000, NOT_WORTH_IT);
        let last = noise.iter().rposition(|effort| *effort == Effort::Thorough).unwrap();
        assert!(last <= INTERVAL_MAX as usize, "{last}");
        let mut pace = Pace::new(Compression::Adaptive);
        for _ in 0..20 {
            // Two are not enough.
            pace.tried(WORTH_IT);
            pace.tried(WORTH_IT);
            pace.tried(NOT_WORTH_IT);
        }
        assert_eq!(count(&efforts(&mut pace, 200, NOT_WORTH_IT), Effort::Thorough), 0);
    }

    #[test]
    fn trials_that_change_nothing_become_rare() {
        let mut pace = Pace::new(Compression::Adaptive);
        let source = efforts(&mut pace, 1_300, NOT_WORTH_IT);
        // At 0, 17, 50, 115, and then after each 128.
        assert_eq!(count(&source, Effort::Both), 4 + (1_300 - 115 - 1) / (INTERVAL_MAX as usize + 1));
        assert_eq!(count(&source, Effort::Thorough), 0);
    }

    #[test]
    fn noise_is_glanced_at_until_it_ends() {
        for compression in [Compression::Fast, Compression::Adaptive] {
            let mut pace = Pace::new(compression);
            let mut noise = |frames: usize| -> Vec<_> {
                let one = |_| (pace.next(Class::Data), pace.ended(false)).0;
                (0..frames).map(one).collect()
            };
            noise(10);
            let glanced = count(&noise(100), Effort::Glance);
            assert!((90..=100).contains(&glanced), "{glanced}");
            assert_eq!(pace.next(Class::Tree), Effort::Fast);
            pace.ended(true);
            assert_ne!(pace.next(Class::Data), Effort::Glance);
        }
    }

    #[test]
    fn names_are_those_of_the_documentation() {
        use Compression::{Adaptive, Fast, Thorough};
        assert_eq!(
            ["adaptive", "fast", "thorough"].map(|text| text.parse::<Compression>().unwrap()),
            [Adaptive, Fast, Thorough]
        );
        let error = "Fast".parse::<Compression>().unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::InvalidArgument, Some("Fast")));
    }

    #[test]
    fn what_is_said_is_done() {
        for (compression, effort) in
            [(Compression::Fast, Effort::Fast), (Compression::Thorough, Effort::Thorough)]
        {
            let mut pace = Pace::new(compression);
            assert_eq!(efforts(&mut pace, 300, WORTH_IT), [effort; 300]);
            assert_eq!(pace.next(Class::Tree), effort);
        }
    }
}
