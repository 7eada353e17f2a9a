//! Sign-in by secret and by certificate: what is sent to the issuer, how often, and what a claims challenge changes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use backup_core::{ErrorKind, Result};
use backup_graph::auth::SigningAlgorithm;
use backup_graph::bytes::Bytes;
use backup_graph::http::{Request, Response};
use backup_graph::sim::{Fault, Route, SimTransport, VirtualTimer};
use backup_graph::{
    Body, ClientCertificate, ClientSecret, DriveSource, GraphClient, Secret, Timer as _, TokenProvider,
    Transport,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use percent_encoding::percent_decode_str;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::Value;

use crate::office::{APPLICATION, Office, SECRET, listen, run, seconds};

/// A key and its certificate, and a certificate of somebody else. Made once: RSA keys take their time.
fn pems() -> &'static (String, String, String) {
    static PEMS: OnceLock<(String, String, String)> = OnceLock::new();
    PEMS.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let own = CertificateParams::new(vec!["backup".to_owned()]).unwrap().self_signed(&key).unwrap();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let stranger = CertificateParams::new(vec!["other".to_owned()]).unwrap().self_signed(&other).unwrap();
        (key.serialize_pem(), own.pem(), stranger.pem())
    })
}

fn own_pem() -> Secret {
    let (key, own, _) = pems();
    Secret::new(format!("{key}{own}"))
}

/// The way to the simulation, a second long, with a record of what the issuer was asked.
#[derive(Clone, Debug)]
struct Wire {
    inner: SimTransport,
    timer: VirtualTimer,
    forms: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>> {
        if request.uri().path().ends_with("/token") {
            self.forms.lock().unwrap().push(String::from_utf8(request.body().to_vec()).unwrap());
        }
        // A timer in virtual time is done when it is asked for the second time, whoever asks: many short waits let
        // everybody come in between.
        for _ in 0..100 {
            self.timer.sleep(Duration::from_millis(10)).await;
        }
        self.inner.send(request).await
    }
}

impl Wire {
    fn new(office: &Office) -> Self {
        let timer = office.timer.clone();
        let inner = SimTransport::new(office.simulation.clone(), Arc::new(timer.clone()));
        Self { inner, timer, forms: Arc::default() }
    }

    fn secret(&self, office: &Office, secret: &str) -> ClientSecret {
        let (id, hosts) = office.tenant(|tenant, _| (tenant.id().to_owned(), tenant.hosts().clone()));
        let (wire, timer) = (Arc::new(self.clone()), Arc::new(self.timer.clone()));
        ClientSecret::new(hosts.login, id, APPLICATION, Secret::new(secret), wire, timer)
    }

    fn certificate(&self, office: &Office, pem: &Secret) -> Result<ClientCertificate> {
        let (id, hosts) = office.tenant(|tenant, _| (tenant.id().to_owned(), tenant.hosts().clone()));
        let (wire, timer) = (Arc::new(self.clone()), Arc::new(self.timer.clone()));
        ClientCertificate::new(hosts.login, id, APPLICATION, pem, wire, timer)
    }

    fn client(&self, office: &Office, tokens: Arc<dyn TokenProvider>) -> GraphClient {
        let graph = office.tenant(|tenant, _| tenant.hosts().graph.clone());
        GraphClient::new(&graph, Arc::new(self.clone()), tokens, Arc::new(self.timer.clone())).unwrap()
    }

    /// A field of the form of each request so far, if it was there.
    fn sent(&self, field: &str) -> Vec<Option<String>> {
        let value = |form: &String| {
            let pair =
                form.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == field))?;
            Some(percent_decode_str(pair.1).decode_utf8().unwrap().into_owned())
        };
        self.forms.lock().unwrap().iter().map(value).collect()
    }
}

fn with_certificate() -> Office {
    let office = Office::with_documents(3);
    office.tenant(|tenant, _| tenant.add_certificate(APPLICATION, &pems().1).unwrap());
    office
}

/// Head and claims of the assertions that were sent.
fn assertions(wire: &Wire) -> Vec<(Value, Value)> {
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let read = |assertion: Option<String>| {
        let assertion = assertion.unwrap();
        let parts: Vec<&str> = assertion.split('.').collect();
        (part(parts[0]), part(parts[1]))
    };
    wire.sent("client_assertion").into_iter().map(read).collect()
}

#[test]
fn a_certificate_signs_in_with_either_algorithm_with_and_without_its_chain() {
    run(async {
        let office = with_certificate();
        for (algorithm, name) in [(SigningAlgorithm::Ps256, "PS256"), (SigningAlgorithm::Rs256, "RS256")] {
            for chain in [false, true] {
                let wire = Wire::new(&office);
                let tokens = wire.certificate(&office, &own_pem()).unwrap();
                let tokens = tokens.with_algorithm(algorithm).with_chain(chain);
                let source = DriveSource::new(wire.client(&office, Arc::new(tokens)), &office.drive);
                assert_eq!(listen(&source, None).await.unwrap().problems, 0);
                let (head, _) = assertions(&wire).remove(0);
                assert_eq!(head["alg"], name);
                assert_eq!(head["x5t"].is_string(), algorithm == SigningAlgorithm::Rs256);
                let own: String = pems().1.lines().filter(|line| !line.starts_with('-')).collect();
                let expected = if chain { serde_json::json!([own]) } else { Value::Null };
                assert_eq!(head["x5c"], expected);
            }
        }
    });
}

#[test]
fn each_assertion_is_new_and_lives_for_ten_minutes() {
    run(async {
        let office = with_certificate();
        let wire = Wire::new(&office);
        let tokens = wire.certificate(&office, &own_pem()).unwrap();
        for _ in 0..5 {
            let token = tokens.token("https://graph.example/.default").await.unwrap();
            tokens.invalidate(&token);
        }
        let all = assertions(&wire);
        let ids: BTreeSet<&str> = all.iter().map(|(_, claims)| claims["jti"].as_str().unwrap()).collect();
        assert_eq!((all.len(), ids.len()), (5, 5));
        for (head, claims) in &all {
            assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 600);
            assert_eq!((&claims["iss"], &claims["sub"]), (&APPLICATION.into(), &APPLICATION.into()));
            assert!(claims["aud"].as_str().unwrap().ends_with("/oauth2/v2.0/token"));
            assert_eq!(URL_SAFE_NO_PAD.decode(head["x5t#S256"].as_str().unwrap()).unwrap().len(), 32);
        }
        // Later assertions are dated by the timer, or the issuer would refuse them.
        office.timer.advance(seconds(100_000));
        tokens.token("https://graph.example/.default").await.unwrap();
    });
}

#[test]
fn a_certificate_that_is_not_registered_is_refused() {
    run(async {
        let office = Office::with_documents(1);
        let wire = Wire::new(&office);
        let tokens = wire.certificate(&office, &own_pem()).unwrap();
        let error = tokens.token("https://graph.example/.default").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.message().contains("AADSTS700027"), "{error}");
    });
}

#[test]
fn keys_that_do_not_fit_are_refused_and_never_printed() {
    let office = Office::empty();
    let (key, own, stranger) = pems();
    let curve = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let body = key.lines().nth(3).unwrap();
    let wire = Wire::new(&office);
    for (text, said) in [
        (String::new(), "no private key"),
        (own.clone(), "no private key"),
        (format!("{encrypted}{own}"), "is encrypted"),
        (key.clone(), "no certificate that belongs"),
        (format!("{key}{stranger}"), "no certificate that belongs"),
        (format!("{key}{key}{own}"), "more than one"),
        (format!("{curve}{own}"), "no RSA key"),
        (key.replace(body, "!!!!"), "not a text in PEM"),
        ("x".repeat(2 << 20), "too long"),
    ] {
        let error = wire.certificate(&office, &Secret::new(text)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(said), "{error}");
        assert!(!format!("{error:?}").contains(&body[..20]));
    }
    // In any order, with a chain.
    for text in [format!("{own}{key}"), format!("{stranger}{own}{key}"), format!("{key}{own}{stranger}")] {
        let tokens = wire.certificate(&office, &Secret::new(text)).unwrap();
        let shown = format!("{tokens:?}");
        assert!(shown.contains(APPLICATION) && !shown.contains(&body[..20]) && shown.len() < 300, "{shown}");
    }
}

#[test]
fn a_claims_challenge_is_answered_once_and_forgotten() {
    run(async {
        for by_certificate in [false, true] {
            let office = with_certificate();
            let wire = Wire::new(&office);
            let tokens: Arc<dyn TokenProvider> = if by_certificate {
                Arc::new(wire.certificate(&office, &own_pem()).unwrap())
            } else {
                Arc::new(wire.secret(&office, SECRET))
            };
            let source = DriveSource::new(wire.client(&office, tokens), &office.drive);
            listen(&source, None).await.unwrap();
            office.simulation.script(|faults| faults.on(Route::Delta, 1, Fault::ChallengeTokens));
            listen(&source, None).await.unwrap();
            office.timer.advance(seconds(4_000));
            listen(&source, None).await.unwrap();
            let sent = wire.sent("claims");
            assert_eq!(sent.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
            let claims: Value = serde_json::from_str(sent[1].as_deref().unwrap()).unwrap();
            assert_eq!(claims["access_token"]["nbf"]["essential"], true);
            assert_eq!(office.simulation.counters().of(Route::Delta), 4);
        }
    });
}

#[test]
fn a_challenge_within_a_batch_is_answered_too() {
    run(async {
        let office = Office::with_documents(1);
        let wire = Wire::new(&office);
        let client = wire.client(&office, Arc::new(wire.secret(&office, SECRET)));
        office.simulation.script(|faults| faults.on(Route::Drive, 1, Fault::ChallengeTokens));
        let url = format!("/v1.0/drives/{}", office.drive);
        let requests = vec![backup_graph::BatchRequest::get(&url), backup_graph::BatchRequest::get(&url)];
        for reply in client.batch(requests).await.unwrap() {
            assert_eq!(reply.json::<Value>().unwrap()["id"], office.drive.as_str());
        }
        assert_eq!(wire.sent("claims").iter().flatten().count(), 1);
    });
}

#[test]
fn continuous_access_is_declared_where_it_is_wanted_also_with_a_challenge() {
    run(async {
        let office = with_certificate();
        let wire = Wire::new(&office);
        let tokens = wire.secret(&office, SECRET).with_continuous_access(true);
        let client = wire.client(&office, Arc::new(tokens));
        office.simulation.script(|faults| faults.on(Route::Delta, 1, Fault::ChallengeTokens));
        listen(&DriveSource::new(client, &office.drive), None).await.unwrap();
        let tokens = wire.certificate(&office, &own_pem()).unwrap().with_continuous_access(true);
        tokens.token("https://graph.example/.default").await.unwrap();
        let sent = wire.sent("claims");
        assert_eq!(sent.len(), 3);
        for (claims, challenged) in sent.iter().zip([false, true, false]) {
            let claims: Value = serde_json::from_str(claims.as_deref().unwrap()).unwrap();
            assert_eq!(claims["access_token"]["xms_cc"]["values"][0], "cp1");
            assert_eq!(claims["access_token"]["nbf"].is_object(), challenged);
        }
    });
}

#[test]
fn many_who_need_a_token_at_the_same_time_ask_for_one() {
    run(async {
        let office = Office::empty();
        let wire = Wire::new(&office);
        let tokens = wire.secret(&office, SECRET);
        let all = join_all((0..50).map(|_| tokens.token("https://graph.example/.default"))).await;
        let all: BTreeSet<String> = all.into_iter().map(|token| token.unwrap().expose().to_owned()).collect();
        assert_eq!((all.len(), wire.forms.lock().unwrap().len()), (1, 1));
        // Scopes are asked for one by one and kept side by side.
        for scope in
            ["https://a.example/.default", "https://b.example/.default", "https://a.example/.default"]
        {
            tokens.token(scope).await.unwrap();
        }
        assert_eq!(wire.forms.lock().unwrap().len(), 3);
    });
}

#[test]
fn threads_that_need_a_token_at_the_same_time_ask_for_one() {
    let office = Office::empty();
    let wire = Wire::new(&office);
    let tokens = wire.secret(&office, SECRET);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| run(tokens.token("https://graph.example/.default")).unwrap());
        }
    });
    assert_eq!(wire.forms.lock().unwrap().len(), 1);
}

#[test]
fn a_failure_is_told_to_all_who_wait_and_the_next_one_asks_anew() {
    run(async {
        let office = Office::empty();
        let wire = Wire::new(&office);
        let wrong = wire.secret(&office, "wrong");
        let all = join_all((0..10).map(|_| wrong.token("https://graph.example/.default"))).await;
        assert!(all.iter().all(|token| token.as_ref().unwrap_err().kind() == ErrorKind::Unauthenticated));
        assert_eq!(wire.forms.lock().unwrap().len(), 1);
        assert!(wrong.token("https://graph.example/.default").await.is_err());
        assert_eq!(wire.forms.lock().unwrap().len(), 2);
    });
}

#[test]
fn who_waits_is_served_although_who_asked_first_went_away() {
    run(async {
        let office = Office::empty();
        let wire = Wire::new(&office);
        let tokens = wire.secret(&office, SECRET);
        let mut first = tokens.token("https://graph.example/.default");
        let mut second = tokens.token("https://graph.example/.default");
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_ok());
        assert_eq!(wire.forms.lock().unwrap().len(), 1);
        // If nobody waits any more, the request is gone, and the next one makes its own.
        let other = wire.secret(&office, SECRET);
        let mut gone = other.token("https://graph.example/.default");
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        assert!(other.token("https://graph.example/.default").await.is_ok());
        assert_eq!(wire.forms.lock().unwrap().len(), 3);
    });
}

#[test]
fn a_busy_issuer_is_given_the_time_that_it_asks_for() {
    run(async {
        let office = Office::with_documents(1);
        let wire = Wire::new(&office);
        let client = wire.client(&office, Arc::new(wire.secret(&office, SECRET)));
        office.simulation.script(|faults| faults.on(Route::Token, 1, Fault::Throttle(seconds(40))));
        let before = office.timer.now();
        listen(&DriveSource::new(client, &office.drive), None).await.unwrap();
        assert!(office.timer.now().seconds() - before.seconds() >= 40);
        assert_eq!(wire.forms.lock().unwrap().len(), 2);
    });
}

#[test]
fn claims_of_the_simulated_issuer_are_those_that_it_was_asked_for() {
    run(async {
        let office = Office::empty();
        let wire = Wire::new(&office);
        let tokens = wire.secret(&office, SECRET).with_continuous_access(true);
        let token = tokens.token("https://graph.example/.default").await.unwrap();
        let body = token.expose().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
        assert_eq!(claims["xms_cc"], serde_json::json!(["cp1"]));
    });
}
