//! Policies: which rule counts, what is due when, what reports say; and that no clock can stop or flood the work.

use proptest::prelude::*;

use super::*;
use crate::item::Collection;
use crate::retention::LabelMatch;
use crate::time::Timestamp;

const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 0)
}

fn folder(path: &str) -> Protectable {
    Protectable::new(Collection::new(format!("folder:{path}"), "folder"), path)
}

fn hourly(name: &str, include: Match) -> Rule {
    Rule::protect(name, include, 60)
}

/// A policy that protects everything every hour.
fn everything() -> Policy {
    Policy::new(vec![hourly("all", Match::all())])
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.due.iter().map(|due| due.collection.id.as_str()).collect()
}

/// The only collection of a plan: whether it is due, and when to ask again.
fn single(last: LastBackup, now: i64) -> (bool, Option<i64>) {
    let plan = everything().plan(at(now), &[folder("a")], &[last]).unwrap();
    assert!(plan.due.len() <= 1);
    (!plan.due.is_empty(), plan.next_at.map(Timestamp::seconds))
}

fn last(good: Option<i64>, attempt: Option<i64>) -> LastBackup {
    let mut last = LastBackup::new("folder:a");
    (last.good, last.attempt) = (good.map(at), attempt.map(at));
    last
}

#[test]
fn the_first_rule_that_matches_counts() {
    let policy = Policy::new(vec![
        Rule::exclude("scratch", Match::all().with_path("/srv/*/scratch/**"), "made anew every night"),
        hourly("servers", Match::all().with_path("/srv/**")),
        hourly("rest", Match::all().with_path("/home/**")),
    ]);
    for (path, expected) in [
        ("/srv/a/scratch/x/y", Some("scratch")),
        ("/srv/a/b/scratch/x", Some("servers")),
        ("/srv/a", Some("servers")),
        ("/home/ada", Some("rest")),
        ("/etc", None),
    ] {
        let rule = policy.rule_for(&folder(path)).unwrap();
        assert_eq!(rule.map(|rule| rule.name.as_str()), expected, "{path}");
    }
    assert_eq!(policy.rule("rest"), Some(&policy.rules[2]));
    assert_eq!(policy.rule("others"), None);
}

#[test]
fn every_list_that_is_not_empty_must_fit() {
    let drive = Protectable::new(Collection::new("drive:b!x/7", "drive"), "Sites/Marketing/Documents")
        .with_group("sales")
        .with_group("vip")
        .with_label("country", "dk");
    let fits =
        |include: Match| Policy::new(vec![hourly("rule", include)]).rule_for(&drive).unwrap().is_some();
    let all = Match::all;
    assert!(fits(all()));
    assert!(fits(all().with_kind("mailbox").with_kind("drive")) && !fits(all().with_kind("mailbox")));
    assert!(fits(all().with_id("drive:*")), "ids are no paths");
    assert!(
        fits(all().with_id("drive:b!x/7"))
            && !fits(all().with_id("drive:b!x"))
            && !fits(all().with_id("Drive:*"))
    );
    assert!(fits(all().with_path("/Sites/*/Documents/")) && !fits(all().with_path("Sites/*")));
    assert!(fits(all().with_group("none").with_group("vip")) && !fits(all().with_group("VIP")));
    assert!(fits(all().with_label(LabelMatch::named("country"))));
    assert!(fits(all().with_label(LabelMatch::valued("country", "dk"))));
    assert!(!fits(all().with_label(LabelMatch::valued("country", "de"))));
    assert!(fits(all().with_kind("drive").with_group("vip").with_path("**")));
    assert!(!fits(all().with_kind("drive").with_group("none")), "one list that does not fit is enough");
}

#[test]
fn what_was_never_backed_up_comes_first_then_the_most_overdue() {
    let listed = ["a", "b", "c", "d", "e", "a"].map(folder);
    let lasts = [("a", 5 * HOUR), ("c", 7 * HOUR), ("d", 2 * HOUR), ("e", 9 * HOUR + 1)]
        .map(|(path, good)| LastBackup::new(format!("folder:{path}")).with_good(at(good)));
    let plan = everything().plan(at(10 * HOUR), &listed, &lasts).unwrap();
    assert_eq!(ids(&plan), ["folder:b", "folder:d", "folder:a", "folder:c"]);
    let figures: Vec<_> = plan.due.iter().map(|due| (due.never, due.overdue_seconds / 3_600)).collect();
    assert_eq!(figures, [(true, 0), (false, 7), (false, 4), (false, 2)]);
    assert!(plan.due.iter().all(|due| due.rule == "all"));
    assert_eq!(plan.next_at, Some(at(10 * HOUR + 1)), "e");
}

#[test]
fn a_backup_is_due_when_its_interval_has_passed_and_not_before() {
    assert_eq!(single(last(Some(0), None), HOUR - 1), (false, Some(HOUR)));
    assert_eq!(single(last(Some(0), None), HOUR), (true, None));
    let nothing = everything().plan(at(0), &[], &[last(Some(0), None)]).unwrap();
    assert_eq!((nothing.due.len(), nothing.next_at), (0, None));
}

#[test]
fn what_has_just_failed_waits() {
    let quarter = HOUR / 4;
    assert_eq!(single(last(None, Some(0)), quarter - 1), (false, Some(quarter)), "never good");
    assert_eq!(single(last(None, Some(0)), quarter), (true, None));
    assert_eq!(single(last(Some(0), Some(5 * HOUR)), 5 * HOUR + 1), (false, Some(5 * HOUR + quarter)));
    assert_eq!(single(last(Some(0), Some(10)), HOUR), (true, None), "failed long ago");
    assert_eq!(single(last(Some(10), Some(0)), HOUR + 10), (true, None), "did not fail");
    // The wait is never longer than the interval.
    let policy = Policy::new(vec![Rule::protect("often", Match::all(), 1).with_retry_minutes(600)]);
    let plan = policy.plan(at(59), &[folder("a")], &[last(None, Some(0))]).unwrap();
    assert_eq!(plan.next_at, Some(at(60)));
}

#[test]
fn a_last_backup_in_the_near_future_counts_as_made_now() {
    assert_eq!(single(last(Some(HOUR), None), 0), (false, Some(HOUR)));
    assert_eq!(single(last(Some(1), Some(2)), 0), (false, Some(HOUR)));
}

/// A clock that was ahead left a backup dated ten years from now: it must neither stop the backups for ten years nor make
/// the collection due at every question.
#[test]
fn a_last_backup_far_in_the_future_costs_one_run_and_no_more() {
    let future = Some(90_000 * HOUR);
    assert_eq!(single(last(future, future), 0), (true, None));
    assert_eq!(single(last(future, Some(0)), 1), (false, Some(HOUR)), "the run has been started");
    assert_eq!(single(last(Some(60), Some(0)), 120), (false, Some(60 + HOUR)), "and was good");
    // If it is the planner's clock that is behind, and stays so: once an interval.
    assert_eq!(single(last(future, Some(0)), HOUR), (true, None));
    let plan = everything().plan(at(0), &[folder("a")], &[last(future, None)]).unwrap();
    assert_eq!((plan.due[0].never, plan.due[0].overdue_seconds), (false, 0));
}

/// When a scheduler that asks every five minutes makes runs, in such ticks, if its clock jumps once and the store's clock is a
/// little off all the time.
fn runs(jump: i64, jump_at: i64, skew_seconds: i64) -> Vec<i64> {
    let (policy, listed, mut last, mut runs) = (everything(), [folder("a")], last(None, None), Vec::new());
    for tick in 0..200 {
        let now = at((tick + if tick >= jump_at { jump } else { 0 }) * 300);
        let plan = policy.plan(now, &listed, std::slice::from_ref(&last)).unwrap();
        if !plan.due.is_empty() {
            last = LastBackup::new("folder:a").with_good(at(now.seconds() + skew_seconds)).with_attempt(now);
            runs.push(tick);
        }
    }
    runs
}

/// An interval is 12 ticks, and a gap 13 if the interval ends just after a question. The longest gap is one of these, a last
/// backup an interval ahead after the jump, and one more that begins then.
#[test]
fn a_clock_that_jumps_neither_stops_nor_floods() {
    for jump in (-60..60).chain([-100_000, -1_000, 1_000, 100_000]) {
        for jump_at in 0..40 {
            for skew in [-30, 0, 30] {
                let runs = runs(jump, jump_at, skew);
                let gaps: Vec<i64> = runs.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let case = format!("{jump} {jump_at} {skew}: {gaps:?}");
                assert!(gaps.iter().all(|gap| *gap <= 13 + 12 + 13), "late: {case}");
                assert!(gaps.iter().filter(|gap| **gap < 12).count() <= 1, "too often: {case}");
                assert!(runs.last().is_some_and(|last| *last >= 200 - 13), "stopped: {case}");
            }
        }
    }
}

#[test]
fn reports_leave_nothing_out() {
    let policy = Policy::new(vec![
        Rule::exclude("scratch", Match::all().with_path("scratch/**"), "made anew every night"),
        hourly("home", Match::all().with_path("home/**")),
    ]);
    let listed =
        ["home/a", "scratch/b", "srv/c", "home/d", "home/e", "home/f"].map(|path| folder(path).with_bytes(7));
    let lasts = [("home/a", 9), ("scratch/b", 1), ("home/d", 3), ("home/x", 2), ("home/f", 90_000)]
        .map(|(path, good)| LastBackup::new(format!("folder:{path}")).with_good(at(good * HOUR)));
    let [a, b, d, x, f] = lasts;
    let lasts = [
        a,
        b,
        d.with_attempt(at(10 * HOUR - 1)),
        x,
        f.with_attempt(at(10 * HOUR - 1)),
        LastBackup::new("folder:y"),
    ];
    let coverage = policy.coverage(at(10 * HOUR - 1), &listed, &lasts).unwrap();
    let protected: Vec<_> =
        coverage.protected.iter().map(|p| (p.collection.id.as_str(), p.rule.as_str())).collect();
    assert_eq!(
        protected,
        ["a", "d", "e", "f"]
            .map(|name| format!("folder:home/{name}"))
            .iter()
            .map(|id| (id.as_str(), "home"))
            .collect::<Vec<_>>()
    );
    let [excluded] = coverage.excluded.as_slice() else { panic!("{coverage:?}") };
    assert_eq!((excluded.rule.as_str(), excluded.reason.as_str()), ("scratch", "made anew every night"));
    let [unprotected] = coverage.unprotected.as_slice() else { panic!("{coverage:?}") };
    assert_eq!((unprotected.path.as_str(), unprotected.bytes), ("srv/c", Some(7)));
    // Also what waits after a failure, and what has a time that cannot be believed.
    let overdue: Vec<_> = coverage.overdue.iter().map(|due| due.collection.id.as_str()).collect();
    assert_eq!(overdue, ["folder:home/e", "folder:home/d", "folder:home/f"]);
    assert_eq!(coverage.gone, ["folder:home/x"]);
}

#[test]
fn policies_that_make_no_sense_are_refused_by_the_name_of_the_rule() {
    let all = Match::all;
    let of = |rule: Rule| Policy::new(vec![rule]);
    let mut scheduled = Rule::exclude("bad", all(), "reason");
    scheduled.every_minutes = 5;
    let kept = Rule::exclude("bad", all(), "reason").with_retention(Retention::default().with_last(1));
    let wrong = [
        of(Rule::protect("bad", all(), 0)),
        of(Rule::protect("bad", all(), u32::MAX)),
        of(hourly("bad", all()).with_retry_minutes(0)),
        of(hourly("bad", all()).with_retention(Retention::default().with_floor_last(0))),
        of(Rule::exclude("bad", all(), " ")),
        of(scheduled),
        of(kept),
        of(hourly("bad", all().with_path("a[b"))),
        of(hourly("bad", all().with_id("{a"))),
        of(hourly("bad", all().with_label(LabelMatch::named("")))),
        of(hourly("bad", Match { kinds: vec!["a".to_owned(); 1_001], ..all() })),
        Policy::new(vec![hourly("bad", all()), hourly("good", all()), hourly("bad", all())]),
    ];
    for policy in wrong {
        let error = policy.validate().unwrap_err();
        assert_eq!(error.item(), Some("bad"), "{error:?}");
        assert!(policy.plan(at(0), &[], &[]).is_err() && policy.coverage(at(0), &[], &[]).is_err());
        assert!(policy.rule_for(&folder("a")).is_err());
    }
    assert!(of(hourly("", all())).validate().is_err());
    assert!(Policy::new(vec![hourly("same", all()); 1_001]).validate().is_err());
    assert!(everything().validate().is_ok());
}

#[test]
fn policies_are_data_and_what_is_misspelled_is_refused() {
    let policy = Policy::new(vec![
        Rule::exclude(
            "no",
            Match::all().with_group("test").with_label(LabelMatch::named("tmp")),
            "only tests",
        ),
        hourly("yes", Match::all().with_kind("drive")).with_retention(Retention::default().with_daily(30)),
    ]);
    assert_eq!(serde_json::from_str::<Policy>(&serde_json::to_string(&policy).unwrap()).unwrap(), policy);
    let least = r#"{"rules": [{"name": "all", "include": {}, "every_minutes": 60}]}"#;
    assert_eq!(serde_json::from_str::<Policy>(least).unwrap(), everything());
    for text in [
        "{}",
        r#"{"rules": [{"name": "all", "every_minutes": 60}]}"#,
        r#"{"rules": [{"name": "all", "include": {"kind": []}, "every_minutes": 60}]}"#,
        r#"{"rules": [{"name": "all", "include": {}, "every_hours": 60}]}"#,
    ] {
        assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
    }
}

/// Doors to other languages hand over what there is and what was done as data.
#[test]
fn facts_are_data_and_what_is_misspelled_is_refused() {
    let whole = folder("/srv").with_group("g").with_label("name", "value").with_bytes(7);
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Protectable>(&text).unwrap(), whole);
    let least: Protectable = serde_json::from_str(r#"{"collection": {"id": "a", "kind": "b"}}"#).unwrap();
    assert_eq!(least, Protectable::new(Collection::new("a", "b"), ""));
    let last = LastBackup::new("a").with_good(at(7)).with_attempt(at(8));
    let text = serde_json::to_string(&last).unwrap();
    assert_eq!(serde_json::from_str::<LastBackup>(&text).unwrap(), last);
    let least: LastBackup = serde_json::from_str(r#"{"collection": "a"}"#).unwrap();
    assert_eq!(least, LastBackup::new("a"));
    assert!(serde_json::from_str::<LastBackup>(r#"{"collection": "a", "god": null}"#).is_err());
    for text in [
        r#"{"path": "a"}"#,
        r#"{"collection": {"id": "a"}}"#,
        r#"{"collection": {"id": "a", "kind": "b", "path": ""}}"#,
        r#"{"collection": {"id": "a", "kind": "b"}, "group": []}"#,
    ] {
        assert!(serde_json::from_str::<Protectable>(text).is_err(), "{text}");
    }
}

#[test]
fn the_example_in_the_documentation_does_what_the_page_says() {
    let page = include_str!("../../../docs/retention.md");
    let example = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let policy: Policy = serde_json::from_str(example).unwrap();
    policy.validate().unwrap();
    let rule =
        |protectable: &Protectable| policy.rule_for(protectable).unwrap().map(|rule| rule.name.as_str());
    let drive = |path: &str| Protectable::new(Collection::new(format!("drive:{path}"), "drive"), path);
    assert_eq!(rule(&drive("Sites/Test/Documents")), Some("test sites"));
    assert_eq!(rule(&drive("Users/ada").with_group("board")), Some("board"));
    assert_eq!(rule(&drive("Users/bob")), Some("drives"));
    assert_eq!(rule(&folder("/srv")), None);
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => (-200_000..200_000i64).prop_map(at),
        1 => (any::<i64>(), any::<u32>()).prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos)),
        1 => prop_oneof![Just(at(i64::MIN)), Just(Timestamp::new(i64::MAX, u32::MAX))],
    ]
}

fn any_last() -> impl Strategy<Value = LastBackup> {
    (prop::option::of(any_time()), prop::option::of(any_time())).prop_map(|(good, attempt)| {
        let mut last = LastBackup::new("folder:a");
        (last.good, last.attempt) = (good, attempt);
        last
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_not_due_now_is_due_within_an_interval(
        last in any_last(), now in any_time(), every in 1..=EVERY_MINUTES_MAX, retry in 1..u32::MAX,
    ) {
        let policy = Policy::new(vec![Rule::protect("all", Match::all(), every).with_retry_minutes(retry)]);
        let listed = [folder("a")];
        let plan = policy.plan(now, &listed, std::slice::from_ref(&last)).unwrap();
        let coverage = policy.coverage(now, &listed, std::slice::from_ref(&last)).unwrap();
        prop_assert_eq!(plan.due.len() + usize::from(plan.next_at.is_some()), 1);
        let late = now.seconds().saturating_add(i64::from(every) * 60);
        if let Some(next_at) = plan.next_at {
            prop_assert!(next_at > now && next_at.seconds() <= late, "{:?}", plan);
        }
        // What can be believed now is due two intervals from now at the latest.
        let (limit, then) = (at(late), now.seconds().checked_add(i64::from(every) * 120));
        if let Some(then) = then.filter(|_| last.good.max(last.attempt).is_none_or(|time| time <= limit)) {
            let later = policy.plan(Timestamp::new(then, 999_999_999), &listed, std::slice::from_ref(&last)).unwrap();
            prop_assert_eq!(later.due.len(), 1);
        }
        prop_assert!(plan.due.len() <= coverage.overdue.len());
        if let Some(due) = plan.due.first() {
            prop_assert_eq!(due, &coverage.overdue[0]);
            prop_assert_eq!(due.never, last.good.is_none());
        }
    }
}
