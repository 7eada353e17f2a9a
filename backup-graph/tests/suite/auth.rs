//! Tokens: got, kept, renewed, refused, never shown.

use std::sync::Arc;

use backup_core::ErrorKind;
use backup_graph::sim::{Fault, Route, SimTransport};
use backup_graph::{ClientSecret, DriveSource, GraphClient, Secret, StaticToken, TokenProvider as _};

use crate::office::{APPLICATION, Office, SECRET, listen, run, seconds};

#[test]
fn one_token_serves_until_shortly_before_it_expires() {
    run(async {
        let office = Office::with_documents(5);
        let source = office.source();
        for (wait, tokens) in [(0, 1), (3_000, 1), (500, 2), (10, 2)] {
            office.timer.advance(seconds(wait));
            listen(&source, None).await.unwrap();
            assert_eq!(office.simulation.counters().of(Route::Token), tokens);
        }
    });
}

#[test]
fn a_revoked_token_is_renewed_once() {
    run(async {
        let office = Office::with_documents(5);
        let source = office.source();
        office.simulation.script(|faults| faults.on(Route::Delta, 1, Fault::RevokeTokens));
        listen(&source, None).await.unwrap();
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Token), counters.of(Route::Delta)), (2, 2));

        office.simulation.script(|faults| faults.sometimes(1, 1_000, Fault::RevokeTokens));
        assert_eq!(listen(&source, None).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
        assert_eq!(office.simulation.counters().of(Route::Delta), 4);
    });
}

#[test]
fn wrong_credentials_are_told_apart_from_a_service_that_is_away() {
    run(async {
        let office = Office::with_documents(1);
        let timer = Arc::new(office.timer.clone());
        let transport = Arc::new(SimTransport::new(office.simulation.clone(), timer.clone()));
        let (id, hosts) = office.tenant(|tenant, _| (tenant.id().to_owned(), tenant.hosts().clone()));
        let client = |secret: &str| {
            let secret = Secret::new(secret);
            let tokens =
                ClientSecret::new(&hosts.login, &id, APPLICATION, secret, transport.clone(), timer.clone());
            assert!(!format!("{tokens:?}").contains("half"));
            GraphClient::new(&hosts.graph, transport.clone(), Arc::new(tokens), timer.clone()).unwrap()
        };
        let listing = |client| async { listen(&DriveSource::new(client, &office.drive), None).await };
        let error = listing(client("wrong half")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.message().contains("AADSTS7000215") && !error.message().contains("half"));
        office.simulation.script(|faults| faults.on(Route::Token, 1, Fault::Reset));
        assert!(listing(client(SECRET)).await.is_ok());
    });
}

#[test]
fn a_fixed_token_works_until_it_expires_and_is_never_printed() {
    run(async {
        let office = Office::with_documents(1);
        let token = office.tenant(|tenant, _| tenant.issue_token(seconds(60)));
        let timer = Arc::new(office.timer.clone());
        let transport = Arc::new(SimTransport::new(office.simulation.clone(), timer.clone()));
        let graph = office.tenant(|tenant, _| tenant.hosts().graph.clone());
        let client = GraphClient::new(&graph, transport, Arc::new(StaticToken::new(&token)), timer).unwrap();
        assert!(!format!("{client:?}").contains(&token));
        let source = DriveSource::new(client, &office.drive);
        assert!(listen(&source, None).await.is_ok());
        office.timer.advance(seconds(600));
        assert_eq!(listen(&source, None).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    });
}

#[test]
fn secrets_are_not_sent_in_the_clear_to_another_machine() {
    run(async {
        let office = Office::empty();
        let timer = Arc::new(office.timer.clone());
        let transport = Arc::new(SimTransport::new(office.simulation.clone(), timer.clone()));
        for (address, allowed) in [
            ("https://graph.example", true),
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://graph.example", false),
            ("http://127.0.0.1.example", false),
            ("https://user@graph.example", false),
            ("graph.example", false),
        ] {
            let tokens = Arc::new(StaticToken::new("token"));
            let client = GraphClient::new(address, transport.clone(), tokens, timer.clone());
            assert_eq!(client.is_ok(), allowed, "{address}");
        }
        let secret = Secret::new(SECRET);
        let tokens = ClientSecret::new("http://login.example", "t", APPLICATION, secret, transport, timer);
        let error = tokens.token("scope").await.unwrap_err();
        assert_eq!(
            (error.kind(), office.simulation.counters().of(Route::Token)),
            (ErrorKind::InvalidArgument, 0)
        );
    });
}

#[test]
fn a_link_to_another_host_is_not_followed() {
    run(async {
        let office = Office::with_documents(1);
        for link in
            ["https://evil.example/v1.0/x", "http://graph.example/v1.0/x", "https://graph.example:444/x"]
        {
            let error = office.client.get::<serde_json::Value>(link).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{link}");
        }
        assert_eq!(office.simulation.counters().total(), 0);
        let own = format!("https://GRAPH.example:443/v1.0/drives/{}", office.drive);
        let drive: serde_json::Value = office.client.get(&own).await.unwrap();
        assert_eq!(drive["id"].as_str(), Some(office.drive.as_str()));
    });
}

#[test]
fn a_listing_is_followed_page_by_page() {
    run(async {
        use futures_util::StreamExt as _;
        let office = Office::empty();
        for number in 0..25 {
            office.write(&format!("{number:02}.txt"), *b"x");
        }
        let url = format!("/v1.0/drives/{}/root/children?$top=10&$select=name", office.drive);
        let pages: Vec<_> = office.client.pages::<serde_json::Value>(&url).collect().await;
        let names: Vec<String> = pages
            .into_iter()
            .flat_map(|page| page.unwrap().value)
            .map(|item| item["name"].to_string())
            .collect();
        assert_eq!((names.len(), office.simulation.counters().of(Route::Children)), (25, 3));
        assert!(names.is_sorted());
    });
}
