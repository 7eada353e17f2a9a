//! Batches: every request answered once, by its own answer, and none sent too early.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use backup_core::{ErrorKind, Result, Timestamp};
use backup_graph::http::{HeaderValue, Method, StatusCode};
use backup_graph::{BatchRequest, Secret, TokenProvider};
use serde_json::{Value, json};

use crate::client_script::{self as script, Line, Script, Seen};
use crate::office::run;

fn inner(seen: &Seen) -> Vec<Value> {
    seen.json()["requests"].as_array().unwrap().clone()
}

fn gets(count: usize) -> Vec<BatchRequest> {
    (0..count).map(|number| BatchRequest::get(format!("/v1.0/items/{number}"))).collect()
}

/// Answers each inner request by `how`, last one first.
fn echo(mut how: impl FnMut(&Value) -> Value + Send + 'static) -> Script {
    Script::new(move |seen| {
        let mut responses: Vec<Value> = inner(seen)
            .iter()
            .map(|request| {
                let mut answer = how(request);
                answer["id"] = request["id"].clone();
                answer
            })
            .collect();
        responses.reverse();
        script::json(200, &json!({ "responses": responses }))
    })
}

#[test]
fn requests_go_by_twenties_and_each_gets_its_own_answer_back() {
    run(async {
        for (count, rounds) in [(0, 0), (1, 1), (20, 1), (21, 2), (45, 3)] {
            let script = echo(|request| json!({ "status": 200, "body": { "was": request["url"] } }));
            let client = script.client();
            let replies = client.batch(gets(count)).await.unwrap();
            assert_eq!(replies.len(), count);
            for (number, reply) in replies.iter().enumerate() {
                let body: Value = reply.json().unwrap();
                assert_eq!(body["was"], format!("/items/{number}"));
            }
            let seen = script.seen();
            assert_eq!(seen.len(), rounds);
            assert!(seen.iter().all(|seen| inner(seen).len() <= 20 && seen.url.ends_with("/v1.0/$batch")));
            let metrics = client.metrics();
            assert_eq!((metrics.requests, metrics.inner_requests), (rounds as u64, count as u64));
        }
    });
}

#[test]
fn only_what_was_throttled_is_sent_again_and_not_before_the_longest_wait() {
    run(async {
        let mut sent: BTreeMap<String, u32> = BTreeMap::new();
        let script = echo(move |request| {
            let url = request["url"].as_str().unwrap().to_owned();
            let times = sent.entry(url.clone()).or_default();
            *times += 1;
            match (url.as_str(), *times) {
                ("/items/3", 1) => json!({ "status": 429, "headers": { "Retry-After": "20" }, "body": {} }),
                ("/items/7", 1) => json!({ "status": 503, "headers": { "Retry-After": 50 }, "body": {} }),
                ("/items/9", 1) => json!({ "status": 504 }),
                _ => json!({ "status": 200, "body": { "url": url } }),
            }
        });
        let client = script.client();
        let replies = client.batch(gets(10)).await.unwrap();
        assert!(replies.iter().all(|reply| reply.status() == StatusCode::OK));
        let seen = script.seen();
        assert_eq!(seen.len(), 2);
        let again: Vec<Value> = inner(&seen[1]).iter().map(|request| request["url"].clone()).collect();
        assert_eq!(again, ["/items/3", "/items/7", "/items/9"]);
        assert!(seen[1].at >= Timestamp::new(seen[0].at.seconds() + 50, 0), "{:?}", seen[1].at);
        let metrics = client.metrics();
        assert_eq!((metrics.inner_requests, metrics.retries), (13, 3));
    });
}

#[test]
fn a_wait_told_within_a_batch_holds_other_requests_too() {
    run(async {
        let script = Script::new(|seen| {
            if seen.url.ends_with("$batch") {
                let refused = json!({ "id": "1", "status": 429, "headers": { "Retry-After": "7200" } });
                return script::json(200, &json!({ "responses": [refused] }));
            }
            script::json(200, &json!({}))
        });
        let client = script.client();
        let replies = client.batch(gets(1)).await.unwrap();
        let error = replies[0].success().unwrap_err();
        assert_eq!((error.kind(), error.retry_after().unwrap().as_secs()), (ErrorKind::Throttled, 7_200));
        let error = client.get::<Value>("/v1.0/items/1").await.unwrap_err();
        assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Throttled, 1));
    });
}

#[test]
fn an_answer_too_few_too_many_or_of_nobody_is_an_error() {
    run(async {
        let answer = |id: &str| json!({ "id": id, "status": 200, "body": {} });
        for responses in [
            vec![],
            vec![answer("1")],
            vec![answer("1"), answer("1")],
            vec![answer("1"), answer("2"), answer("2")],
            vec![answer("1"), answer("3")],
            vec![answer("1"), answer("2"), answer("0")],
            vec![answer("1"), json!({ "id": "2", "status": 20 })],
        ] {
            let script = Script::lines([script::json(200, &json!({ "responses": responses }))]);
            let error = script.client().batch(gets(2)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{responses:?}");
        }
    });
}

#[test]
fn a_request_that_waits_for_another_shares_its_fate() {
    run(async {
        let mut first = 0;
        let script = echo(move |request| match request["url"].as_str().unwrap() {
            "/items/0" => {
                first += 1;
                json!({ "status": if first == 1 { 429 } else { 201 }, "headers": { "Retry-After": "1" } })
            }
            "/items/1" if first == 1 => json!({ "status": 424 }),
            "/items/2" => json!({ "status": 404, "body": { "error": { "code": "itemNotFound" } } }),
            _ => json!({ "status": 200 }),
        });
        let mut requests = gets(30);
        requests[1] = requests[1].clone().after(0);
        // In another round than the one that it waits for.
        requests[25] = requests[25].clone().after(2);
        requests[26] = requests[26].clone().after(25);
        requests[27] = requests[27].clone().after(3);
        let replies = script.client().batch(requests).await.unwrap();
        let statuses = |at: usize| replies[at].status().as_u16();
        assert_eq!([0, 1, 2, 25, 26, 27].map(statuses), [201, 200, 404, 424, 424, 200]);
        let seen = script.seen();
        assert_eq!(inner(&seen[0])[1]["dependsOn"], json!(["1"]));
        let urls: Vec<Value> = seen.iter().flat_map(inner).map(|request| request["url"].clone()).collect();
        assert!(!urls.contains(&json!("/items/25")), "what would fail anyway is not sent");
        assert_eq!(replies[2].success().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(replies[25].success().unwrap_err().kind(), ErrorKind::Unavailable);
        let wrong = vec![BatchRequest::get("/v1.0/a").after(0)];
        assert_eq!(script.client().batch(wrong).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    });
}

/// Counts what it was told.
#[derive(Debug, Default)]
struct Tokens {
    refused: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl TokenProvider for Tokens {
    async fn token(&self, _scope: &str) -> Result<Secret> {
        Ok(Secret::new(format!("token {}", self.refused.lock().unwrap().len())))
    }

    fn invalidate(&self, token: &Secret) {
        self.refused.lock().unwrap().push(token.expose().to_owned());
    }
}

#[test]
fn an_inner_refusal_of_the_token_renews_it_once() {
    run(async {
        for (good, statuses) in [("Bearer token 1", [200, 200]), ("none", [401, 200])] {
            let tokens = Arc::new(Tokens::default());
            let script = Script::new(move |seen| {
                let first = if seen.header("authorization") == Some(good) { 200 } else { 401 };
                let answers = inner(seen).into_iter().map(|request| request["id"].clone()).map(|id| {
                    let status = if id == "1" { first } else { 200 };
                    json!({ "id": id, "status": status })
                });
                script::json(200, &json!({ "responses": answers.collect::<Vec<_>>() }))
            });
            let replies = script.client_with(tokens.clone()).batch(gets(2)).await.unwrap();
            assert_eq!([replies[0].status().as_u16(), replies[1].status().as_u16()], statuses);
            assert_eq!(
                (script.seen().len(), tokens.refused.lock().unwrap().as_slice()),
                (2, &["token 0".to_owned()][..])
            );
        }
    });
}

#[test]
fn what_may_have_had_effect_is_not_sent_twice() {
    run(async {
        let post =
            || vec![BatchRequest::new(Method::POST, "/v1.0/items").with_json(&json!({"a": 1})).unwrap()];
        let script = Script::lines([Line::Reset]);
        assert_eq!(script.client().batch(post()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(script.seen().len(), 1);

        let script = echo(|_| json!({ "status": 504 }));
        let replies = script.client().batch(post()).await.unwrap();
        assert_eq!((replies[0].status().as_u16(), script.seen().len()), (504, 1));

        let mut lines = vec![Line::Reset];
        lines.push(script::json(200, &json!({ "responses": [{ "id": "1", "status": 200 }] })));
        let script = Script::lines(lines);
        assert!(script.client().batch(gets(1)).await.is_ok());
        assert_eq!(script.seen().len(), 2);
    });
}

#[test]
fn bytes_travel_in_base_64_and_long_batches_are_split() {
    run(async {
        let script = echo(|request| json!({ "status": 200, "body": request["body"] }));
        let put = |byte: u8| {
            BatchRequest::new(Method::PUT, "/v1.0/a")
                .with_bytes(vec![byte; 1 << 20].into(), HeaderValue::from_static("application/octet-stream"))
        };
        let replies = script.client().batch((0..5).map(put).collect()).await.unwrap();
        for (byte, reply) in (0..5).zip(&replies) {
            assert_eq!(reply.bytes().unwrap(), vec![byte; 1 << 20]);
        }
        assert_eq!(script.seen().len(), 3);
        assert_eq!(inner(&script.seen()[0])[0]["headers"]["content-type"], "application/octet-stream");
    });
}

#[test]
fn an_address_that_a_batch_cannot_take_is_refused_before_anything_is_sent() {
    run(async {
        let script = Script::lines([]);
        for url in ["/beta/users", "/v1.0", "users", "https://evil.example/v1.0/users", "/v1.0x/users"] {
            let error = script.client().batch(vec![BatchRequest::get(url)]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}");
        }
        assert!(script.seen().is_empty());
    });
}
