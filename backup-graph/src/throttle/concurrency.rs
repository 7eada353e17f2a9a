//! How many requests at once: one more while all goes well, half as many when the service pushes back.

/// How many requests may be open at once, of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Concurrency {
    limit: u32,
    limit_max: u32,
    open: u32,
    /// Good answers at this limit since it last changed.
    good: u32,
    /// Numbers the requests, so that the refusals of one crowd count once.
    sent: u64,
    lowered_at: u64,
}

impl Concurrency {
    /// Begins with `start` and never goes beyond `limit_max` or below one.
    pub(crate) fn new(start: u32, limit_max: u32) -> Self {
        let limit_max = limit_max.max(1);
        Self { limit: start.clamp(1, limit_max), limit_max, open: 0, good: 0, sent: 0, lowered_at: 0 }
    }

    /// Another bound from now on.
    pub(crate) fn set_limit_max(&mut self, limit_max: u32) {
        self.limit_max = limit_max.max(1);
        self.limit = self.limit.min(self.limit_max);
    }

    #[cfg(test)]
    pub(crate) const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many more may be opened now.
    pub(crate) const fn free(&self) -> u32 {
        self.limit.saturating_sub(self.open)
    }

    /// Takes a place, if there is one, and numbers it.
    pub(crate) fn open(&mut self) -> Option<u64> {
        (self.free() > 0).then(|| {
            self.open += 1;
            self.sent += 1;
            self.sent
        })
    }

    /// Gives a place back.
    pub(crate) fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// The service answered a request and did not complain.
    pub(crate) fn well(&mut self) {
        // A limit that is not reached says nothing about a higher one.
        if self.open < self.limit || self.limit >= self.limit_max {
            return;
        }
        self.good += 1;
        if self.good >= self.limit {
            self.limit += 1;
            self.good = 0;
        }
    }

    /// The service refused the request of this number because there are too many.
    pub(crate) fn refused(&mut self, number: u64) {
        if number > self.lowered_at {
            self.limit = (self.limit / 2).max(1);
            self.good = 0;
            self.lowered_at = self.sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_refusals_of_one_crowd_count_once() {
        let mut places = Concurrency::new(8, 32);
        let numbers: Vec<u64> = std::iter::from_fn(|| places.open()).collect();
        assert_eq!(numbers.len(), 8);
        for number in numbers {
            places.refused(number);
            places.close();
        }
        assert_eq!(places.limit(), 4);
        let later = places.open().unwrap();
        places.refused(later);
        assert_eq!(places.limit(), 2);
    }

    #[test]
    fn the_limit_settles_around_what_the_service_bears() {
        let mut places = Concurrency::new(2, 64);
        let (mut low, mut high) = (u32::MAX, 0);
        for round in 0..500 {
            let crowd: Vec<u64> = std::iter::from_fn(|| places.open()).collect();
            let borne = crowd.len() <= 20;
            for number in crowd {
                if borne { places.well() } else { places.refused(number) }
            }
            (0..64).for_each(|_| places.close());
            if round > 100 {
                (low, high) = (low.min(places.limit()), high.max(places.limit()));
            }
        }
        assert!(low >= 10 && high <= 21, "{low}..{high}");
    }

    proptest! {
        #[test]
        fn the_limit_stays_in_its_bounds_and_no_more_are_open(
            start in 0u32..100, limit_max in 0u32..40, events in prop::collection::vec(0u8..4, 0..400),
        ) {
            let mut places = Concurrency::new(start, limit_max);
            let mut open: Vec<u64> = Vec::new();
            for event in events {
                match event {
                    0 => if let Some(number) = places.open() {
                        open.push(number);
                        prop_assert!(open.len() <= places.limit() as usize);
                    },
                    1 => places.well(),
                    2 => if let Some(number) = open.last() { places.refused(*number) },
                    _ => if open.pop().is_some() { places.close() },
                }
                prop_assert!(places.limit() >= 1 && places.limit() <= limit_max.max(1));
                prop_assert_eq!(places.free() as usize, (places.limit() as usize).saturating_sub(open.len()));
            }
        }
    }
}
