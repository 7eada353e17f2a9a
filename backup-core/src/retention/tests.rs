//! Decisions: named cases, and properties that hold for any settings, any times and any flags.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::format::snapshot::SnapshotState;
use crate::id::SnapshotId;

const DAY: i64 = 86_400;

fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn id(number: usize) -> SnapshotId {
    SnapshotId::from_bytes(u128::try_from(number).unwrap().to_be_bytes())
}

/// Complete clean snapshots of these times, in this order.
fn taken_at(times: &[&str]) -> Vec<Candidate> {
    let candidate =
        |(number, text): (usize, &&str)| Candidate::new(id(number), time(text), SnapshotState::Complete);
    times.iter().enumerate().map(candidate).collect()
}

/// Positions of what stays.
fn kept(retention: &Retention, now: Timestamp, candidates: &[Candidate]) -> Vec<usize> {
    let decisions = retention.decide(now, candidates);
    assert_eq!(decisions.len(), candidates.len());
    for (decision, candidate) in decisions.iter().zip(candidates) {
        assert_eq!(decision.id, candidate.id);
        assert_eq!(decision.keep, !decision.reasons.is_empty());
    }
    decisions.iter().enumerate().filter(|(_, decision)| decision.keep).map(|(position, _)| position).collect()
}

fn reasons(retention: &Retention, now: &str, candidates: &[Candidate], position: usize) -> Vec<Reason> {
    retention.decide(time(now), candidates)[position].reasons.clone()
}

/// No floor in days, so that the rules can be seen.
fn bare() -> Retention {
    Retention::default().with_floor_days(0)
}

#[test]
fn without_a_rule_everything_stays() {
    let mut candidates = taken_at(&["2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z", "2026-11-26T00:00:00Z"]);
    candidates[0].suspicious = true;
    let labelled = bare().with_label(LabelMatch::named("audit"));
    for retention in [Retention::default(), bare(), labelled] {
        assert!(retention.keeps_everything());
        assert_eq!(kept(&retention, time("2026-11-26T00:00:00Z"), &candidates), [0, 1, 2]);
        assert_eq!(reasons(&retention, "2026-11-26T00:00:00Z", &candidates, 1), [Reason::NoRule]);
    }
    assert_eq!(Retention::default().with_last(1).decide(time("2026-11-26T00:00:00Z"), &[]), []);
}

#[test]
fn last_counts_by_the_order_of_the_log_whatever_the_times_say() {
    let candidates = taken_at(&["2026-03-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
    let retention = bare().with_last(2);
    assert_eq!(kept(&retention, time("2026-11-26T00:00:00Z"), &candidates), [1, 2]);
    let newest = reasons(&retention, "2026-11-26T00:00:00Z", &candidates, 2);
    assert_eq!(newest, [Reason::NewestClean, Reason::NewestComplete, Reason::Last(1)]);
    assert_eq!(reasons(&retention, "2026-11-26T00:00:00Z", &candidates, 1), [Reason::Last(2)]);
}

#[test]
fn the_last_of_each_day_stays_and_days_without_one_do_not_count() {
    let candidates = taken_at(&[
        "2026-11-01T10:00:00Z",
        "2026-11-20T23:59:59Z",
        "2026-11-21T00:00:00Z",
        "2026-11-21T23:59:59.999Z",
        "2026-11-26T08:00:00Z",
        "2026-11-26T09:00:00Z",
    ]);
    let now = time("2026-11-26T10:00:00Z");
    assert_eq!(kept(&bare().with_daily(1), now, &candidates), [5]);
    assert_eq!(kept(&bare().with_daily(2), now, &candidates), [3, 5]);
    assert_eq!(kept(&bare().with_daily(3), now, &candidates), [1, 3, 5]);
    assert_eq!(kept(&bare().with_daily(u32::MAX), now, &candidates), [0, 1, 3, 5]);
    assert_eq!(kept(&bare().with_hourly(2), now, &candidates), [4, 5]);
    let reasons = reasons(&bare().with_daily(3), "2026-11-26T10:00:00Z", &candidates, 1);
    assert_eq!(reasons, [Reason::Daily(3)]);
}

#[test]
fn days_begin_at_the_offset() {
    let candidates = taken_at(&["2026-11-24T22:30:00Z", "2026-11-24T23:30:00Z", "2026-11-25T22:30:00Z"]);
    let now = time("2026-11-26T10:00:00Z");
    assert_eq!(kept(&bare().with_daily(9), now, &candidates), [1, 2]);
    assert_eq!(kept(&bare().with_daily(9).with_utc_offset_minutes(29), now, &candidates), [1, 2]);
    assert_eq!(kept(&bare().with_daily(9).with_utc_offset_minutes(30), now, &candidates), [0, 2]);
}

#[test]
fn weeks_months_and_years_end_where_the_calendar_says() {
    let candidates = taken_at(&[
        "2027-12-31T12:00:00Z", // Friday
        "2028-01-02T12:00:00Z", // Sunday of the same week
        "2028-01-03T12:00:00Z", // Monday
        "2028-02-29T12:00:00Z",
        "2028-03-01T12:00:00Z",
    ]);
    let now = time("2028-03-02T00:00:00Z");
    assert_eq!(kept(&bare().with_weekly(9), now, &candidates), [1, 2, 4]);
    assert_eq!(kept(&bare().with_monthly(9), now, &candidates), [0, 2, 3, 4]);
    assert_eq!(kept(&bare().with_yearly(9), now, &candidates), [0, 4]);
    assert_eq!(kept(&bare().with_yearly(1).with_monthly(2), now, &candidates), [3, 4]);
}

#[test]
fn an_incomplete_one_counts_for_a_day_only_if_there_is_no_complete_one() {
    let mut candidates = taken_at(&[
        "2026-11-20T08:00:00Z",
        "2026-11-20T09:00:00Z",
        "2026-11-21T08:00:00Z",
        "2026-11-21T09:00:00Z",
        "2026-11-22T08:00:00Z",
        "2026-11-22T09:00:00Z",
    ]);
    for position in [1, 2, 3, 5] {
        candidates[position].state = SnapshotState::Incomplete;
    }
    let now = time("2026-11-26T10:00:00Z");
    assert_eq!(kept(&bare().with_daily(3), now, &candidates), [0, 3, 4, 5]);
    assert_eq!(reasons(&bare().with_daily(3), "2026-11-26T10:00:00Z", &candidates, 5), [Reason::NewestClean]);
}

#[test]
fn the_newest_complete_one_stays_behind_any_number_of_incomplete_ones() {
    let mut candidates = taken_at(&["2026-01-01T00:00:00Z"; 50]);
    for candidate in &mut candidates[10..] {
        candidate.state = SnapshotState::Incomplete;
    }
    assert_eq!(kept(&bare().with_last(2), time("2026-11-26T00:00:00Z"), &candidates), [9, 48, 49]);
}

#[test]
fn suspicious_ones_push_nothing_out() {
    // One good state, then an attacker who makes a snapshot an hour for a month.
    let mut candidates = taken_at(&["2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z"]);
    for hour in 0..720 {
        let at = Timestamp::new(time("2026-10-03T00:00:00Z").seconds() + hour * 3_600, 0);
        candidates
            .push(Candidate::new(id(candidates.len()), at, SnapshotState::Complete).with_suspicious(true));
    }
    let retention = Retention::default().with_last(2).with_daily(2);
    let now = time("2026-11-26T00:00:00Z");
    assert_eq!(kept(&retention, now, &candidates).len(), 722, "nothing clean is newer: all may be evidence");
    // Then a good state again: what is suspicious goes, what was good before stays.
    candidates.push(Candidate::new(id(722), now, SnapshotState::Complete));
    assert_eq!(kept(&retention, now, &candidates), [1, 722]);
    // Young ones stay as long as the floor or `within_days` says.
    let at = Timestamp::new(now.seconds() - 8 * DAY, 0);
    let young = Candidate::new(id(723), at, SnapshotState::Complete).with_suspicious(true);
    candidates.insert(722, young);
    assert_eq!(kept(&retention, now, &candidates), [1, 723]);
    assert_eq!(kept(&retention.clone().with_floor_days(9), now, &candidates), [1, 722, 723]);
    assert_eq!(kept(&retention.with_within_days(9), now, &candidates), [1, 722, 723]);
}

#[test]
fn held_and_labelled_ones_stay() {
    let mut candidates = taken_at(&["2001-01-01T00:00:00Z"; 6]);
    candidates[0].held = true;
    candidates[1] = candidates[1].clone().with_held(true).with_suspicious(true);
    let label = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    candidates[2].labels = label("case", "17");
    candidates[3] = candidates[3].clone().with_labels(label("case", "18")).with_suspicious(true);
    candidates[4].labels = label("Case", "17");
    let now = time("2026-11-26T00:00:00Z");
    assert_eq!(kept(&bare().with_last(1), now, &candidates), [0, 1, 5]);
    let any = bare().with_last(1).with_label(LabelMatch::named("case"));
    assert_eq!(kept(&any, now, &candidates), [0, 1, 2, 3, 5]);
    let one = bare().with_last(1).with_label(LabelMatch::valued("case", "17"));
    assert_eq!(kept(&one, now, &candidates), [0, 1, 2, 5]);
    assert_eq!(one.decide(now, &candidates)[2].reasons, [Reason::Label]);
}

#[test]
fn nothing_below_the_floor_goes() {
    let candidates = taken_at(&[
        "2026-11-19T09:59:59.999999999Z",
        "2026-11-19T10:00:00Z",
        "2026-11-19T10:00:00.000000001Z",
        "2026-11-26T10:00:00Z",
        "2026-11-26T10:00:00Z",
    ]);
    let retention = Retention::default().with_last(1);
    assert_eq!(kept(&retention, time("2026-11-26T10:00:00Z"), &candidates), [2, 3, 4]);
    let retention = bare().with_last(1).with_floor_last(4);
    assert_eq!(kept(&retention, time("2026-11-26T10:00:00Z"), &candidates), [1, 2, 3, 4]);
    assert_eq!(reasons(&retention, "2026-11-26T10:00:00Z", &candidates, 1), [Reason::NewestClean]);
}

#[test]
fn a_checkpoint_among_the_candidates_never_counts_as_clean() {
    let mut candidates = taken_at(&["2001-01-01T00:00:00Z"; 4]);
    candidates[1].state = SnapshotState::Checkpoint;
    candidates[3].state = SnapshotState::Checkpoint;
    assert_eq!(kept(&bare().with_last(1), time("2026-11-26T00:00:00Z"), &candidates), [2, 3]);
}

#[test]
fn a_clock_that_is_ten_years_off_takes_neither_what_is_held_nor_the_newest_clean_one() {
    let mut candidates = taken_at(&["2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"]);
    candidates[0].held = true;
    let retention = bare().with_daily(1);
    assert_eq!(kept(&retention, time("2036-11-26T00:00:00Z"), &candidates), [0, 2]);
    assert_eq!(kept(&retention, time("2016-11-26T00:00:00Z"), &candidates), [0, 1, 2]);
    assert_eq!(reasons(&retention, "2016-11-26T00:00:00Z", &candidates, 1), [Reason::AfterNow]);
}

#[test]
fn a_snapshot_dated_in_the_future_takes_nobodys_place() {
    let mut candidates = taken_at(&["2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z"]);
    let now = time("2026-11-26T10:00:00Z");
    let retention = bare().with_daily(2);
    assert_eq!(kept(&retention, now, &candidates), [0, 1]);
    candidates.insert(0, Candidate::new(id(7), time("2126-01-01T00:00:00Z"), SnapshotState::Complete));
    assert_eq!(kept(&retention, now, &candidates), [0, 1, 2]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    assert!(Retention::default().validate().is_ok());
    for offset in [1_080, -1_080] {
        assert!(Retention::default().with_utc_offset_minutes(offset).validate().is_ok());
    }
    let wrong = [
        Retention::default().with_floor_last(0),
        Retention::default().with_utc_offset_minutes(1_081),
        Retention::default().with_utc_offset_minutes(i32::MIN),
        Retention::default().with_label(LabelMatch::named("")),
        Retention { labels: vec![LabelMatch::named("a"); 1_001], ..Retention::default() },
    ];
    for retention in wrong {
        assert!(retention.validate().is_err(), "{retention:?}");
    }
}

#[test]
fn settings_are_data_and_a_misspelled_rule_is_refused() {
    let text = r#"{"daily": 30, "labels": [{"name": "case"}, {"name": "kind", "value": "audit"}]}"#;
    let retention: Retention = serde_json::from_str(text).unwrap();
    let labels = [LabelMatch::named("case"), LabelMatch::valued("kind", "audit")];
    let expected = labels.into_iter().fold(Retention::default().with_daily(30), Retention::with_label);
    assert_eq!(retention, expected);
    assert_eq!(
        serde_json::from_str::<Retention>(&serde_json::to_string(&retention).unwrap()).unwrap(),
        retention
    );
    assert_eq!(serde_json::from_str::<Retention>("{}").unwrap(), Retention::default());
    for text in [r#"{"dayly": 30}"#, r#"{"daily": -1}"#, r#"{"labels": [{"name": "a", "vlaue": "b"}]}"#] {
        assert!(serde_json::from_str::<Retention>(text).is_err(), "{text}");
    }
}

#[test]
fn reasons_read_well_as_text_and_as_data() {
    assert_eq!(Reason::Weekly(3).to_string(), "weekly 3");
    assert_eq!(
        serde_json::to_string(&[Reason::Weekly(3), Reason::Held]).unwrap(),
        r#"[{"weekly":3},"held"]"#
    );
}

/// The day of the decisions below.
const NOW: Timestamp = Timestamp::new(1_795_687_200, 500);

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        8 => (-40 * DAY..2 * DAY, 0..3u32).prop_map(|(seconds, n)| Timestamp::new(NOW.seconds() + seconds, n * 400)),
        4 => (-800..800i64).prop_map(|days| Timestamp::new(NOW.seconds() + days * DAY, NOW.nanos())),
        1 => (any::<i64>(), any::<u32>()).prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos)),
        1 => prop_oneof![Just(Timestamp::new(i64::MIN, 0)), Just(Timestamp::new(i64::MAX, u32::MAX)), Just(NOW)],
    ]
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let state = prop_oneof![
        6 => Just(SnapshotState::Complete),
        3 => Just(SnapshotState::Incomplete),
        1 => Just(SnapshotState::Checkpoint),
    ];
    let flag = prop::bool::weighted;
    (any_time(), state, flag(0.25), flag(0.05), flag(0.05)).prop_map(
        |(time, state, suspicious, held, label)| {
            let labels = if label { vec![("case".to_owned(), "17".to_owned())] } else { Vec::new() };
            Candidate::new(id(0), time, state).with_suspicious(suspicious).with_held(held).with_labels(labels)
        },
    )
}

fn numbered(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.iter_mut().enumerate().for_each(|(number, candidate)| candidate.id = id(number));
    candidates
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(any_candidate(), 0..40).prop_map(numbered)
}

/// The times of a service that works: in order, a few hours apart.
fn orderly_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec((any_candidate(), 0..30 * 3_600i64), 0..40).prop_map(|steps| {
        let mut seconds = NOW.seconds() - steps.iter().map(|(_, step)| step).sum::<i64>();
        let candidates = steps.into_iter().map(|(mut candidate, step)| {
            seconds += step;
            candidate.time = Timestamp::new(seconds, 0);
            candidate
        });
        numbered(candidates.collect())
    })
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop_oneof![any_candidates(), orderly_candidates()]
}

fn retention() -> impl Strategy<Value = Retention> {
    let count = || prop_oneof![3 => Just(0), 4 => 1..6u32, 1 => Just(u32::MAX)];
    let days = || prop_oneof![3 => Just(0), 4 => 1..30u32, 1 => Just(u32::MAX)];
    let offset = prop_oneof![Just(0), -1_080..=1_080, any::<i32>()];
    let counts = (count(), count(), count(), count(), count(), count());
    (counts, days(), days(), 0..4u32, offset, any::<bool>()).prop_map(
        |((last, hourly, daily, weekly, monthly, yearly), within, floor, floor_last, offset, label)| {
            let retention =
                Retention { last, hourly, daily, weekly, monthly, yearly, ..Retention::default() };
            let retention = retention.with_within_days(within).with_floor_days(floor);
            let retention = retention.with_floor_last(floor_last).with_utc_offset_minutes(offset);
            if label { retention.with_label(LabelMatch::named("case")) } else { retention }
        },
    )
}

/// What the rules say, one snapshot at a time and without a clever step; periods are told apart by the dates that
/// `Timestamp` prints. Only for offsets and times at which that is possible.
fn expected(retention: &Retention, now: Timestamp, all: &[Candidate], position: usize) -> bool {
    let this = &all[position];
    let clean = |c: &Candidate| !c.suspicious && c.state != SnapshotState::Checkpoint;
    let complete = |c: &Candidate| c.state == SnapshotState::Complete;
    let newer_clean = all[position + 1..].iter().filter(|c| clean(c)).count();
    let newer_complete = all[position + 1..].iter().filter(|c| clean(c) && complete(c)).count();
    let age = |c: &Candidate| {
        let nanos = |t: Timestamp| i128::from(t.seconds()) * 1_000_000_000 + i128::from(t.nanos());
        (nanos(now) - nanos(c.time)).max(0)
    };
    let younger = |days: u32| age(this) < i128::from(days) * i128::from(DAY) * 1_000_000_000;
    let local = |c: &Candidate, from_monday: bool| {
        let seconds = c.time.seconds() + i64::from(retention.utc_offset_minutes) * 60;
        // 2024-01-01 was a Monday.
        let monday = (seconds - 1_704_067_200).rem_euclid(7 * DAY) / DAY * DAY;
        Timestamp::new(if from_monday { seconds - monday } else { seconds }, 0).to_string()
    };
    let of_period = |count: u32, length: usize, from_monday: bool| {
        let name = |c: &Candidate| local(c, from_monday)[..length].to_owned();
        let counting = || all.iter().enumerate().filter(|(_, c)| clean(c) && c.time <= now);
        let mine = name(this);
        let newer: BTreeSet<String> = counting().map(|(_, c)| name(c)).filter(|n| *n > mine).collect();
        let ours: Vec<_> = counting().filter(|(_, c)| name(c) == mine).collect();
        let last = ours.iter().rev().find(|(_, c)| complete(c)).or(ours.last());
        newer.len() < usize::try_from(count).unwrap() && last.is_some_and(|(last, _)| *last == position)
    };
    let limit = |count: u32| usize::try_from(count).unwrap();
    this.held
        || this.time > now
        || younger(retention.floor_days)
        || younger(retention.within_days)
        || retention.keeps_everything()
        || (retention.labels.len() == 1 && !this.labels.is_empty())
        || if clean(this) {
            newer_clean < limit(retention.floor_last.max(1)).max(limit(retention.last))
                || (complete(this) && newer_complete == 0)
                || of_period(retention.hourly, "2026-11-26T10".len(), false)
                    && retention.utc_offset_minutes % 60 == 0
                || of_period(retention.daily, "2026-11-26".len(), false)
                || of_period(retention.weekly, "2026-11-26".len(), true)
                || of_period(retention.monthly, "2026-11".len(), false)
                || of_period(retention.yearly, "2026".len(), false)
        } else {
            newer_clean == 0
        }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn decisions_are_what_the_rules_say(retention in retention(), all in candidates(), hours in -12..=14i32) {
        let retention = retention.with_utc_offset_minutes(hours * 60);
        // What has no date of four digits has no text to compare.
        let printable = |c: &Candidate| (0..250_000_000_000).contains(&c.time.seconds());
        let all: Vec<_> = all.into_iter().filter(printable).collect();
        let expected: Vec<_> = (0..all.len()).filter(|n| expected(&retention, NOW, &all, *n)).collect();
        prop_assert_eq!(kept(&retention, NOW, &all), expected);
    }

    #[test]
    fn whoever_stops_half_way_and_decides_again_decides_the_same(
        retention in retention(), all in candidates(), now in any_time(), removed: u64,
    ) {
        let decisions = retention.decide(now, &all);
        prop_assert_eq!(&decisions, &retention.decide(now, &all));
        let rest = all.iter().zip(&decisions).enumerate();
        let rest = rest.filter(|(n, (_, decision))| decision.keep || removed >> (n % 64) & 1 == 0);
        let (left, expected): (Vec<_>, Vec<_>) = rest.map(|(_, (c, decision))| (c.clone(), decision.clone())).unzip();
        prop_assert_eq!(retention.decide(now, &left), expected);
    }

    #[test]
    fn held_ones_the_newest_clean_ones_and_young_ones_stay(
        retention in retention(), all in candidates(), now in any_time(),
    ) {
        let kept: BTreeSet<_> = kept(&retention, now, &all).into_iter().collect();
        let clean = |state: fn(SnapshotState) -> bool| {
            all.iter().rposition(|c| !c.suspicious && state(c.state))
        };
        let newest = clean(|state| state != SnapshotState::Checkpoint);
        let complete = clean(|state| state == SnapshotState::Complete);
        prop_assert!(newest.iter().chain(&complete).all(|position| kept.contains(position)));
        for (position, candidate) in all.iter().enumerate() {
            let age = i128::from(now.seconds()) - i128::from(candidate.time.seconds());
            let young = age < i128::from(retention.floor_days) * i128::from(DAY);
            if candidate.held || young || newest.is_none_or(|newest| position > newest) {
                prop_assert!(kept.contains(&position), "{}", position);
            }
        }
    }

    #[test]
    fn what_is_not_clean_changes_nothing_for_what_is(
        retention in retention(), all in candidates(), more in any_candidates(), now in any_time(), place: prop::sample::Index,
    ) {
        let clean: Vec<_> = all.into_iter().filter(|c| !c.suspicious && c.state != SnapshotState::Checkpoint).collect();
        let mut mixed = clean.clone();
        let at = place.index(clean.len() + 1);
        let suspicious = more.into_iter().map(|c| c.with_suspicious(true));
        let count = mixed.splice(at..at, suspicious).count();
        prop_assert_eq!(count, 0);
        let mut decisions = retention.decide(now, &mixed);
        decisions.drain(at..at + mixed.len() - clean.len());
        prop_assert_eq!(decisions, retention.decide(now, &clean));
    }

    #[test]
    fn no_new_snapshot_removes_an_older_one_below_the_floor(
        retention in retention(), all in candidates(), more in any_candidates(), now in any_time(),
    ) {
        let below = |c: &Candidate| {
            let age = i128::from(now.seconds()) - i128::from(c.time.seconds());
            age < i128::from(retention.floor_days) * i128::from(DAY)
        };
        let both: Vec<_> = all.iter().cloned().chain(more).collect();
        let decisions = retention.decide(now, &both);
        for (candidate, decision) in all.iter().zip(decisions) {
            prop_assert!(decision.keep || !below(candidate));
        }
    }

    #[test]
    fn an_earlier_now_never_removes_more(
        retention in retention(), all in candidates(), one in any_time(), other in any_time(),
    ) {
        let late: BTreeSet<_> = kept(&retention, one.max(other), &all).into_iter().collect();
        let early: BTreeSet<_> = kept(&retention, one.min(other), &all).into_iter().collect();
        prop_assert!(late.is_subset(&early), "{late:?} {early:?}");
    }

    #[test]
    fn what_is_dated_in_the_future_changes_nothing_for_periods(
        retention in retention(), all in candidates(), more in any_candidates(), place: prop::sample::Index,
    ) {
        // Which is newer is said by the order alone, so they count for `last`; here it is about the rest.
        let retention = Retention { last: 0, floor_last: 1, ..retention };
        prop_assume!(!retention.keeps_everything());
        let ahead = |c: Candidate| Candidate { time: Timestamp::new(NOW.seconds() + 1, 0).max(c.time), ..c };
        let at = place.index(all.len() + 1);
        let mut mixed = all.clone();
        mixed.splice(at..at, more.into_iter().map(ahead)).for_each(drop);
        let mut decisions = retention.decide(NOW, &mixed);
        decisions.drain(at..at + mixed.len() - all.len());
        let by_order = |reason: &Reason| {
            matches!(reason, Reason::NewestClean | Reason::NewestComplete | Reason::NewerThanClean)
        };
        for (with, without) in decisions.into_iter().zip(retention.decide(NOW, &all)) {
            let rest = |decision: Decision| -> Vec<_> {
                decision.reasons.into_iter().filter(|reason| !by_order(reason)).collect()
            };
            prop_assert_eq!(rest(with), rest(without));
        }
    }

    #[test]
    fn higher_numbers_never_remove_more(a in retention(), b in retention(), all in candidates(), now in any_time()) {
        prop_assume!(!a.keeps_everything());
        let b = Retention { utc_offset_minutes: a.utc_offset_minutes, ..b };
        let higher = Retention {
            last: a.last.max(b.last),
            hourly: a.hourly.max(b.hourly),
            daily: a.daily.max(b.daily),
            weekly: a.weekly.max(b.weekly),
            monthly: a.monthly.max(b.monthly),
            yearly: a.yearly.max(b.yearly),
            within_days: a.within_days.max(b.within_days),
            labels: a.labels.iter().chain(&b.labels).cloned().collect(),
            floor_days: a.floor_days.max(b.floor_days),
            floor_last: a.floor_last.max(b.floor_last),
            utc_offset_minutes: a.utc_offset_minutes,
        };
        let fewer: BTreeSet<_> = kept(&a, now, &all).into_iter().collect();
        let more: BTreeSet<_> = kept(&higher, now, &all).into_iter().collect();
        prop_assert!(fewer.is_subset(&more));
    }
}
