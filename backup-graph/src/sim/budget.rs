//! Resource units: what requests cost, how much an application has used, and when it has to wait.
//!
//! Windows begin with the first request in them. Requests that are refused count too, as the service's documentation
//! says.

use std::collections::BTreeMap;

use backup_core::Timestamp;
use http::header::{self, HeaderName};

use super::answer::Refusal;
use super::route::Route;
use super::rules::Budget;
use super::tenant::Tenant;

const MINUTE_SECONDS: i64 = 60;
const DAY_SECONDS: i64 = 24 * 3_600;
/// From this share of the minute's units on, answers tell what is left.
const TELL_FROM_PERCENT: u64 = 80;

/// What applications have used.
#[derive(Debug, Default)]
pub(super) struct Meter {
    total: u64,
    by_application: BTreeMap<String, Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    minute: Window,
    day: Window,
}

#[derive(Debug, Default)]
struct Window {
    until: i64,
    used: u64,
}

impl Window {
    fn add(&mut self, now: i64, length: i64, units: u64) {
        if now >= self.until {
            *self = Self { until: now + length, used: 0 };
        }
        self.used = self.used.saturating_add(units);
    }
}

/// Headers that tell an application about its units.
pub(super) type Told = Vec<(HeaderName, String)>;

/// Units that a request costs: one item or changes since a position 1; listings and changes of anything 2; permissions
/// 5. Directory objects are limited by other rules, which are not simulated.
pub(super) fn cost(route: Route, with_token: bool, with_permissions: bool) -> u64 {
    match route {
        Route::Permissions | Route::Share => 5,
        _ if with_permissions => 5,
        Route::Delta if with_token => 1,
        Route::Drive | Route::Item | Route::Content | Route::Download => 1,
        Route::Versions | Route::VersionContent | Route::ListItem | Route::UploadRange => 1,
        Route::Token
        | Route::Batch
        | Route::Users
        | Route::UploadStatus
        | Route::CopyStatus
        | Route::Unknown => 0,
        Route::Delta | Route::Children | Route::CreateFolder | Route::PutContent | Route::CreateSession => 2,
        Route::Update
        | Route::Delete
        | Route::Copy
        | Route::RestoreVersion
        | Route::SetFields
        | Route::Sites => 2,
    }
}

impl Tenant {
    /// Resource units used so far, by all applications.
    #[must_use]
    pub fn resource_units(&self) -> u64 {
        self.meter.total
    }

    /// Takes the units from what the application may use.
    pub(super) fn charge(&mut self, application: &str, units: u64, now: Timestamp) -> Result<Told, Refusal> {
        self.meter.total += units;
        let Some(budget) = self.rules.resource_units.filter(|_| units > 0) else { return Ok(Told::new()) };
        let usage = self.meter.by_application.entry(application.to_owned()).or_default();
        let now = now.seconds();
        usage.minute.add(now, MINUTE_SECONDS, units);
        usage.day.add(now, DAY_SECONDS, units);
        usage.verdict(budget, now)
    }
}

impl Usage {
    fn verdict(&self, budget: Budget, now: i64) -> Result<Told, Refusal> {
        let wait = if self.day.used > budget.per_day {
            Some(self.day.until - now)
        } else if self.minute.used > budget.per_minute {
            Some(self.minute.until - now)
        } else {
            None
        };
        let left = budget.per_minute.saturating_sub(self.minute.used);
        let told = || {
            vec![
                (HeaderName::from_static("ratelimit-limit"), budget.per_minute.to_string()),
                (HeaderName::from_static("ratelimit-remaining"), left.to_string()),
                (HeaderName::from_static("ratelimit-reset"), (self.minute.until - now).max(0).to_string()),
            ]
        };
        if let Some(wait) = wait {
            let refusal = Refusal::new(429, "activityLimitReached", "The request has been throttled.");
            let refusal = refusal.with_header(header::RETRY_AFTER, &wait.max(1).to_string());
            return Err(told()
                .iter()
                .fold(refusal, |refusal, (name, value)| refusal.with_header(name.clone(), value)));
        }
        let tell =
            self.minute.used.saturating_mul(100) >= budget.per_minute.saturating_mul(TELL_FROM_PERCENT);
        Ok(if tell { told() } else { Told::new() })
    }
}
