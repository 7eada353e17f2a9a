//! What each call carries and what its refusal says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use backup_core::{ErrorKind, Result};
use backup_graph::{Cloud, GraphClient, Secret, TokenProvider};
use serde_json::{Value, json};

use crate::client_script::{Line, Script, json as answer, with_headers};
use crate::office::run;

#[test]
fn each_call_has_an_id_of_its_own_that_its_repetitions_keep() {
    run(async {
        let ok = || answer(200, &json!({}));
        let script = Script::lines([Line::Reset, ok(), ok(), ok()]);
        let client = script.client();
        for _ in 0..3 {
            client.get::<Value>("/v1.0/users").await.unwrap();
        }
        let ids: Vec<String> =
            script.seen().iter().map(|seen| seen.header("client-request-id").unwrap().to_owned()).collect();
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
        for id in ids {
            let lengths: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) && id.as_bytes()[14] == b'4');
        }
    });
}

#[test]
fn a_refusal_names_the_request_on_one_line() {
    run(async {
        let own = json!({ "error": { "code": "accessDenied", "message": "no\nindeed",
            "innerError": { "request-id": "inner-id" } } });
        let script = Script::lines([
            with_headers(403, &[("request-id", "header-id")], &own),
            with_headers(404, &[("request-id", "header-id")], &json!("<html>")),
            answer(400, &json!({ "error": { "code": "x", "message": "y" } })),
        ]);
        let client = script.client();
        for (kind, expected) in [
            (ErrorKind::PermissionDenied, Some("request inner-id")),
            (ErrorKind::NotFound, Some("request header-id")),
            (ErrorKind::InvalidArgument, None),
        ] {
            let error = client.get::<Value>("/v1.0/users").await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(!error.message().contains('\n'));
            match expected {
                Some(text) => assert!(error.message().contains(text), "{error}"),
                None => assert!(!error.message().contains("request "), "{error}"),
            }
        }
    });
}

#[derive(Debug, Default)]
struct Challenged {
    claims: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl TokenProvider for Challenged {
    async fn token(&self, _scope: &str) -> Result<Secret> {
        Ok(Secret::new(format!("token {}", self.claims.lock().unwrap().len())))
    }

    fn invalidate(&self, _token: &Secret) {
        panic!("the claims were not passed on");
    }

    fn challenge(&self, token: &Secret, claims: &str) {
        assert_eq!(token.expose(), "token 0");
        self.claims.lock().unwrap().push(claims.to_owned());
    }
}

#[test]
fn a_challenge_reaches_whoever_gives_tokens_and_the_next_one_is_used() {
    run(async {
        let tokens = Arc::new(Challenged::default());
        let challenge = r#"Bearer error="insufficient_claims", claims="eyJhIjoxfQ==""#;
        let script = Script::lines([
            with_headers(401, &[("WWW-Authenticate", challenge)], &json!({})),
            answer(200, &json!({})),
        ]);
        script.client_with(tokens.clone()).get::<Value>("/v1.0/users").await.unwrap();
        assert_eq!(*tokens.claims.lock().unwrap(), [r#"{"a":1}"#]);
        assert_eq!(script.seen()[1].header("authorization"), Some("Bearer token 1"));
    });
}

#[derive(Debug, Default)]
struct Scopes(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl TokenProvider for Scopes {
    async fn token(&self, scope: &str) -> Result<Secret> {
        self.0.lock().unwrap().push(scope.to_owned());
        Ok(Secret::new("token"))
    }

    fn invalidate(&self, _token: &Secret) {}
}

#[test]
fn a_client_of_a_cloud_asks_that_cloud_with_a_token_for_it_and_no_other() {
    run(async {
        for cloud in Cloud::ALL {
            let tokens = Arc::new(Scopes::default());
            let script = Script::new(|_| answer(200, &json!({})));
            let timer = Arc::new(script.timer().clone());
            let client =
                GraphClient::for_cloud(*cloud, Arc::new(script.clone()), tokens.clone(), timer).unwrap();
            client.get::<Value>("/v1.0/users").await.unwrap();
            assert_eq!(script.seen()[0].url, format!("{}/v1.0/users", cloud.graph()));
            assert_eq!(*tokens.0.lock().unwrap(), [cloud.scope()]);
            for other in Cloud::ALL.iter().filter(|other| *other != cloud) {
                let link = format!("{}/v1.0/users", other.graph());
                let error = client.get::<Value>(&link).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{cloud:?} {link}");
            }
        }
    });
}
