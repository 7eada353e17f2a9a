//! Which hour, day, week, month and year a time falls into, at a fixed offset from UTC. Exact for every time that there
//! is, and without a table of time zones: what a policy keeps must not change because somebody updated one.

use crate::time::Timestamp;

/// A span of the calendar of which one snapshot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// The number of the period that `time` falls into; later periods have higher numbers.
    pub(super) fn number(self, time: Timestamp, offset_minutes: i32) -> i64 {
        let seconds = time.seconds().saturating_add(i64::from(offset_minutes) * 60);
        let days = seconds.div_euclid(86_400);
        match self {
            Self::Hour => seconds.div_euclid(3_600),
            Self::Day => days,
            // Day 0 was a Thursday; weeks begin on Monday (ISO 8601).
            Self::Week => (days + 3).div_euclid(7),
            Self::Month => {
                let (year, month) = year_and_month(days);
                year * 12 + month - 1
            }
            Self::Year => year_and_month(days).0,
        }
    }
}

/// Year and month, 1 to 12, of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms"):
/// years are taken to begin in March, so that the leap day ends one.
const fn year_and_month(days: i64) -> (i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let since_march = (5 * day_of_year + 2) / 153;
    let year = era * 400 + year_of_era;
    if since_march < 10 { (year, since_march + 3) } else { (year + 1, since_march - 9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(period: Period, text: &str, offset_minutes: i32) -> i64 {
        period.number(Timestamp::parse_rfc3339(text).unwrap(), offset_minutes)
    }

    /// Whether two times fall into one period.
    fn same(period: Period, a: &str, b: &str, offset_minutes: i32) -> bool {
        number(period, a, offset_minutes) == number(period, b, offset_minutes)
    }

    /// `Timestamp` prints dates with an algorithm of its own: every day from the year 0 to 3000 must agree.
    #[test]
    fn years_and_months_are_those_that_timestamps_print() {
        for day in -719_528..376_200 {
            let text = Timestamp::new(day * 86_400, 0).to_string();
            let mut parts = text.split('-').map(|part| part.parse::<i64>().unwrap_or(-1));
            let (year, month) = (parts.next().unwrap(), parts.next().unwrap());
            assert_eq!(year_and_month(day), (year, month), "{text}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_also_across_the_end_of_a_year() {
        // 2026-W53 runs from Monday, 2026-12-28 to Sunday, 2027-01-03.
        assert!(same(Period::Week, "2026-12-28T00:00:00Z", "2027-01-03T23:59:59Z", 0));
        assert!(!same(Period::Week, "2026-12-27T23:59:59Z", "2026-12-28T00:00:00Z", 0));
        assert!(!same(Period::Week, "2027-01-03T23:59:59Z", "2027-01-04T00:00:00Z", 0));
        assert!(!same(Period::Week, "1969-12-28T23:59:59Z", "1969-12-29T00:00:00Z", 0), "before the epoch");
    }

    #[test]
    fn the_leap_day_belongs_to_february_in_leap_years_only() {
        assert!(same(Period::Month, "2028-02-01T00:00:00Z", "2028-02-29T23:59:59Z", 0));
        assert!(!same(Period::Month, "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z", 0));
        assert!(!same(Period::Month, "2027-02-28T23:59:59Z", "2027-03-01T00:00:00Z", 0));
        assert!(same(Period::Month, "2000-02-29T00:00:00Z", "2000-02-01T00:00:00Z", 0), "divisible by 400");
        assert!(!same(Period::Month, "2100-02-28T23:59:59Z", "2100-03-01T00:00:00Z", 0), "divisible by 100");
        assert_eq!(
            number(Period::Day, "2100-03-01T00:00:00Z", 0),
            number(Period::Day, "2100-02-28T00:00:00Z", 0) + 1
        );
    }

    #[test]
    fn periods_begin_at_the_offset() {
        let (late, early) = ("2026-12-31T22:59:59Z", "2026-12-31T23:00:00Z");
        for period in [Period::Hour, Period::Day, Period::Month, Period::Year] {
            assert!(!same(period, late, early, 60), "{period:?} at +01:00");
        }
        assert!(same(Period::Day, late, early, 0));
        assert!(!same(Period::Hour, "2026-11-24T08:29:59Z", "2026-11-24T08:30:00Z", 330), "+05:30");
        assert!(same(Period::Hour, "2026-11-24T08:30:00Z", "2026-11-24T09:29:59Z", 330), "+05:30");
        assert!(!same(Period::Day, "2026-11-24T04:59:59Z", "2026-11-24T05:00:00Z", -300), "-05:00");
    }

    #[test]
    fn the_first_and_the_last_time_have_their_periods() {
        for period in [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year] {
            for offset in [i32::MIN, -1, 0, 1, i32::MAX] {
                let first = period.number(Timestamp::new(i64::MIN, 0), offset);
                let last = period.number(Timestamp::new(i64::MAX, 999_999_999), offset);
                assert!(first < 0 && last > 0, "{period:?} {offset}");
            }
        }
    }
}
