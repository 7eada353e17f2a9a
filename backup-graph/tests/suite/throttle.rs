//! How many requests, how fast, and when none at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_core::{ErrorKind, Result, Timestamp};
use backup_graph::Timer as _;
use backup_graph::bytes::Bytes;
use backup_graph::throttle::{Budget, Lane};
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use crate::client_script::{Line, Script, json as answer, with_headers};
use crate::office::{run, seconds};

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(millis(to) - millis(from)).unwrap())
}

fn millis(time: Timestamp) -> i64 {
    time.seconds() * 1_000 + i64::from(time.nanos() / 1_000_000)
}

#[test]
fn what_remains_of_a_quota_is_spread_over_the_time_to_its_reset() {
    run(async {
        let script = Script::new(|_| {
            let headers =
                [("RateLimit-Limit", "100"), ("RateLimit-Remaining", "10"), ("RateLimit-Reset", "60")];
            with_headers(200, &headers, &json!({}))
        });
        let client = script.client();
        for _ in 0..5 {
            client.get::<Value>("/v1.0/drives/1").await.unwrap();
        }
        let seen = script.seen();
        // The first knows of no quota; the second is the first that is paced.
        for pair in seen[1..].windows(2) {
            assert_eq!(between(pair[0].at, pair[1].at), seconds(6));
        }
        let metrics = client.metrics();
        assert_eq!((metrics.waits, metrics.throttled, metrics.waited), (0, 0, Duration::ZERO));
        assert_eq!(metrics.waited_pacing, seconds(18));
        // Another service has another quota.
        let before = script.timer().now();
        client.get::<Value>("/v1.0/users/1").await.unwrap();
        assert_eq!(script.timer().now(), before);
    });
}

#[test]
fn a_used_up_quota_is_waited_for_before_the_service_has_to_refuse() {
    run(async {
        let script = Script::lines([
            with_headers(200, &[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "40")], &json!({})),
            answer(200, &json!({})),
        ]);
        let client = script.client();
        for _ in 0..2 {
            client.get::<Value>("/v1.0/drives/1").await.unwrap();
        }
        let seen = script.seen();
        assert_eq!(between(seen[0].at, seen[1].at), seconds(40));
    });
}

#[test]
fn a_budget_spreads_requests_and_can_be_changed_on_the_way() {
    run(async {
        let script = Script::new(|_| answer(200, &json!({})));
        let client = script.client().with_budget(Budget::unlimited().with_requests_per_hour(60));
        for _ in 0..5 {
            client.get::<Value>("/v1.0/drives/1").await.unwrap();
        }
        let seen = script.seen();
        assert_eq!(between(seen[0].at, seen[4].at), seconds(180));
        let metrics = client.metrics();
        assert_eq!((metrics.waited_budget, metrics.waits, metrics.resource_units), (seconds(180), 0, 5));
        client.set_budget(Budget::unlimited());
        client.get::<Value>("/v1.0/drives/1").await.unwrap();
        assert_eq!(script.seen()[5].at, seen[4].at);
    });
}

#[test]
fn a_budget_of_bytes_slows_down_the_reader() {
    run(async {
        let text = "x".repeat(998);
        let script = Script::new(move |_| answer(200, &json!(text)));
        let client = script.client().with_budget(Budget::unlimited().with_bytes_per_hour(36_000));
        let before = script.timer().now();
        for _ in 0..4 {
            client.get::<Value>("/v1.0/drives/1").await.unwrap();
        }
        // 4,000 bytes at 10 a second, one minute ahead.
        assert_eq!(between(before, script.timer().now()), seconds(340));
        assert_eq!(client.metrics().waited_budget, seconds(340));
    });
}

type Feeds = Arc<Mutex<Vec<UnboundedSender<Result<Bytes>>>>>;

fn open_answers() -> (Script, Feeds) {
    let feeds = Feeds::default();
    let kept = Arc::clone(&feeds);
    let script = Script::new(move |_| {
        let (feed, body) = unbounded();
        kept.lock().unwrap().push(feed);
        Line::Open(body.boxed())
    });
    (script, feeds)
}

#[test]
fn a_place_is_held_until_the_body_was_read_and_given_back_if_the_caller_goes_away() {
    run(async {
        let (script, feeds) = open_answers();
        let client = script.client().with_concurrency_max(Lane::Graph, 2);
        let call = || {
            let client = client.clone();
            async move { client.get::<Value>("/v1.0/users").await }.boxed()
        };
        let (mut first, mut second, mut third, mut fourth) = (call(), call(), call(), call());
        for future in [&mut first, &mut second, &mut third, &mut fourth] {
            assert!(future.now_or_never().is_none());
        }
        assert_eq!(script.seen().len(), 2);
        // Dropped while it waits for its body, and dropped while it waits for a place.
        drop(second);
        drop(third);
        assert!((&mut fourth).now_or_never().is_none());
        assert_eq!(script.seen().len(), 3);
        let mut fifth = call();
        assert!((&mut fifth).now_or_never().is_none());
        assert_eq!(script.seen().len(), 3);
        {
            let feeds = feeds.lock().unwrap();
            feeds[0].unbounded_send(Ok("{}".into())).unwrap();
            feeds[0].close_channel();
        }
        assert!(first.await.is_ok());
        assert!((&mut fifth).now_or_never().is_none());
        assert_eq!(script.seen().len(), 4);
    });
}

#[test]
fn a_service_that_refuses_gets_fewer_requests_at_once() {
    run(async {
        let open = Arc::new(Mutex::new((0u32, 0u32)));
        let counted = Arc::clone(&open);
        let mut count = 0;
        let script = Script::new(move |_| {
            count += 1;
            if count <= 2 {
                return with_headers(429, &[("Retry-After", "5")], &json!({}));
            }
            let counted = Arc::clone(&counted);
            {
                let mut open = counted.lock().unwrap();
                open.0 += 1;
                open.1 = open.1.max(open.0);
            }
            let body = futures_util::stream::once(async move {
                let mut polled = 0;
                std::future::poll_fn(|context| {
                    polled += 1;
                    context.waker().wake_by_ref();
                    if polled > 5 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await;
                counted.lock().unwrap().0 -= 1;
                Ok("{}".into())
            });
            Line::Open(body.boxed())
        });
        let client = script.client();
        let calls = (0..16).map(|_| client.get::<Value>("/v1.0/users"));
        let ends = futures_util::future::join_all(calls).await;
        assert!(ends.iter().all(Result::is_ok));
        let peak = open.lock().unwrap().1;
        assert!((1..8).contains(&peak), "{peak} at once after two refusals");
        assert_eq!(client.metrics().throttled, 2);
        // Nothing inside the window, whoever was told.
        let seen = script.seen();
        assert!(seen[1..].iter().all(|later| between(seen[0].at, later.at) >= seconds(5)));
    });
}

#[test]
fn a_wait_of_one_service_does_not_hold_another() {
    run(async {
        let script = Script::new(|seen| match seen.url.contains("drives") {
            true => with_headers(429, &[("Retry-After", "7200")], &json!({})),
            false => answer(200, &json!({})),
        });
        let client = script.client();
        for _ in 0..2 {
            let error = client.get::<Value>("/v1.0/drives/1").await.unwrap_err();
            assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(seconds(7_200))));
        }
        assert!(client.get::<Value>("/v1.0/users/1").await.is_ok());
        assert_eq!(script.seen().len(), 2);
    });
}
