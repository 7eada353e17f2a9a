//! Credentials of `azure_identity` as token providers: what is asked of them and what their failures mean.

use std::sync::{Arc, Mutex};

use backup_core::ErrorKind;
use backup_graph::auth::AzureCredential;
use backup_graph::auth::azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use backup_graph::auth::azure_core::error::{Error, ErrorKind as AzureKind};
use backup_graph::auth::azure_core::time::OffsetDateTime;
use backup_graph::sim::SimTransport;
use backup_graph::{DriveSource, GraphClient, TokenProvider as _};

use crate::office::{Office, listen, run, seconds};

/// A credential that gives what it is told to give.
#[derive(Debug)]
struct Fake {
    token: Result<String, AzureKind>,
    scopes: Mutex<Vec<String>>,
}

impl Fake {
    fn new(token: Result<String, AzureKind>) -> Arc<Self> {
        Arc::new(Self { token, scopes: Mutex::default() })
    }
}

#[async_trait::async_trait]
impl TokenCredential for Fake {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> Result<AccessToken, Error> {
        self.scopes.lock().unwrap().extend(scopes.iter().map(|scope| (*scope).to_owned()));
        match &self.token {
            Ok(token) => Ok(AccessToken::new(token.clone(), OffsetDateTime::UNIX_EPOCH)),
            Err(kind) => Err(Error::new(kind.clone(), "it went wrong")),
        }
    }
}

fn http(status: u16) -> AzureKind {
    AzureKind::HttpResponse { status: status.into(), error_code: None, raw_response: None }
}

fn client(office: &Office, credential: Arc<Fake>) -> GraphClient {
    let timer = Arc::new(office.timer.clone());
    let transport = Arc::new(SimTransport::new(office.simulation.clone(), timer.clone()));
    let graph = office.tenant(|tenant, _| tenant.hosts().graph.clone());
    GraphClient::new(&graph, transport, Arc::new(AzureCredential::new(credential)), timer).unwrap()
}

#[test]
fn a_drive_is_listed_with_a_token_of_the_credential_and_the_token_is_not_printed() {
    run(async {
        let office = Office::with_documents(3);
        let token = office.tenant(|tenant, _| tenant.issue_token(seconds(600)));
        let credential = Fake::new(Ok(token.clone()));
        let client = client(&office, credential.clone());
        listen(&DriveSource::new(client, &office.drive), None).await.unwrap();
        let scopes = credential.scopes.lock().unwrap().clone();
        assert!(!scopes.is_empty() && scopes.iter().all(|scope| scope == "https://graph.example/.default"));
        let given = AzureCredential::new(credential).token("scope").await.unwrap();
        assert_eq!((given.expose(), format!("{given:?}").as_str()), (token.as_str(), "Secret(..)"));
    });
}

#[test]
fn a_token_that_is_refused_although_it_is_new_ends_the_run() {
    run(async {
        let office = Office::with_documents(1);
        let client = client(&office, Fake::new(Ok("worthless".to_owned())));
        let error = listen(&DriveSource::new(client, &office.drive), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    });
}

#[test]
fn failures_of_a_credential_are_told_apart() {
    run(async {
        for (kind, expected) in [
            (AzureKind::Credential, ErrorKind::Unauthenticated),
            (AzureKind::Connection, ErrorKind::Unavailable),
            (AzureKind::Io, ErrorKind::Unavailable),
            (AzureKind::Other, ErrorKind::Extension),
            (http(401), ErrorKind::Unauthenticated),
            (http(429), ErrorKind::Throttled),
            (http(503), ErrorKind::Unavailable),
        ] {
            let credential = AzureCredential::new(Fake::new(Err(kind.clone())));
            let error = credential.token("scope").await.unwrap_err();
            assert_eq!(error.kind(), expected, "{kind:?}");
            assert!(std::error::Error::source(&error).is_some());
        }
    });
}
