//! What goes wrong, and when: a script of faults per kind of request, decided by counting or by a seed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::rng::Rng;
use super::route::Route;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// 429 with `Retry-After` in seconds. Until then every request is refused and counted as made inside the window.
    Throttle(Duration),
    /// 429 with `Retry-After` as a date; otherwise as [`Throttle`](Self::Throttle).
    ThrottleUntil(Duration),
    /// This status without any header that names a time: 429, 500, 502, 503, 504 ... Nothing was done.
    Status(u16),
    /// All tokens given out so far stop working, so this request is answered 401.
    RevokeTokens,
    /// As [`RevokeTokens`](Self::RevokeTokens), and the answer says which claims the next token must be asked for with
    /// (continuous access evaluation).
    ChallengeTokens,
    /// The body ends after so many bytes although more were announced. The request had its effect.
    Truncate(usize),
    /// The connection is closed before anything was done.
    Reset,
    /// The connection is closed after the request had its effect: the answer is lost.
    LoseAnswer,
    /// The pre-authenticated address is refused as expired.
    ExpireAddress,
    /// The body ends so many bytes early and the announced length agrees: only what is inside can tell.
    Shorten(usize),
    /// So many bytes too many, announced as if they belonged to it.
    Lengthen(usize),
    /// A page of a listing names each of its entries twice.
    RepeatEntries,
    /// A page of a listing names its entries in reverse, and the last half of them only on the next page, if there is one.
    ReverseEntries,
    /// A page of a listing is empty, and its link leads to the page that was asked for.
    EmptyPage,
    /// A page of a listing is right, but its link leads to it once more.
    RepeatPage,
}

/// The script.
#[derive(Clone, Debug)]
pub struct Faults {
    rules: Vec<Rule>,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    route: Option<Route>,
    when: When,
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
enum When {
    /// Fires when this many further requests have come.
    In(u64),
    /// Fires at every request once this many further ones have come.
    From(u64),
    PerMille(u64),
}

impl Faults {
    pub(super) const fn new() -> Self {
        Self { rules: Vec::new(), rng: Rng::new(0) }
    }

    /// The `nth` request of this kind from now on (from 1) meets the fault, once.
    pub fn on(&mut self, route: Route, nth: u64, fault: Fault) -> &mut Self {
        self.rules.push(Rule { route: Some(route), when: When::In(nth), fault });
        self
    }

    /// The `nth` request of any kind from now on (from 1) meets the fault, once. Those within batches count too.
    pub fn at(&mut self, nth: u64, fault: Fault) -> &mut Self {
        self.rules.push(Rule { route: None, when: When::In(nth), fault });
        self
    }

    /// The `nth` request of any kind from now on (from 1) and all after it meet the fault.
    pub fn from(&mut self, nth: u64, fault: Fault) -> &mut Self {
        self.rules.push(Rule { route: None, when: When::From(nth), fault });
        self
    }

    /// So many of a thousand requests of any kind meet the fault, as the seed decides. The seed given last counts for all such rules.
    pub fn sometimes(&mut self, seed: u64, per_mille: u64, fault: Fault) -> &mut Self {
        self.rng = Rng::new(seed);
        self.rules.push(Rule { route: None, when: When::PerMille(per_mille), fault });
        self
    }

    /// Nothing goes wrong any more.
    pub fn clear(&mut self) -> &mut Self {
        self.rules.clear();
        self
    }

    /// What this request meets.
    pub(super) fn next(&mut self, route: Route) -> Option<Fault> {
        let mut met = None;
        for rule in &mut self.rules {
            if rule.route.is_some_and(|of| of != route) {
                continue;
            }
            let fires = match &mut rule.when {
                When::In(0) => false,
                When::In(left) => {
                    *left -= 1;
                    *left == 0
                }
                When::From(left) => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                // The token endpoint is not behind the services that fail.
                When::PerMille(share) => route != Route::Token && self.rng.below(1_000) < *share,
            };
            if fires {
                met = met.or(Some(rule.fault));
            }
        }
        self.rules.retain(|rule| !matches!(rule.when, When::In(0)));
        met
    }
}

/// What the service has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Requests by kind, those inside of batches included.
    pub requests: BTreeMap<Route, u64>,
    /// Requests that came inside of batches; the batches themselves are [`Route::Batch`].
    pub inside_batches: u64,
    /// Requests that were refused because a budget of resource units was used up.
    pub throttled: u64,
    /// Requests that came although the service had asked to wait: each one is a mistake of the client.
    pub inside_window: u64,
    /// Requests that brought a token to a pre-authenticated address: each one is a mistake of the client.
    pub leaked_tokens: u64,
    /// Faults that were met.
    pub faults: u64,
    /// The kinds of the first requests, in their order; up to 1,000.
    pub order: Vec<Route>,
}

/// Most requests whose order is remembered.
const ORDER_REQUESTS_MAX: usize = 1_000;

impl Counters {
    pub(super) fn count(&mut self, route: Route) {
        *self.requests.entry(route).or_default() += 1;
        if self.order.len() < ORDER_REQUESTS_MAX {
            self.order.push(route);
        }
    }

    /// Requests of this kind.
    #[must_use]
    pub fn of(&self, route: Route) -> u64 {
        self.requests.get(&route).copied().unwrap_or(0)
    }

    /// All HTTP requests but those for tokens: a batch is one.
    #[must_use]
    pub fn total(&self) -> u64 {
        let all = self.requests.iter().filter(|(route, _)| **route != Route::Token);
        all.map(|(_, count)| count).sum::<u64>().saturating_sub(self.inside_batches)
    }
}
