//! The simulation behind TLS and as a proxy, as foreign clients meet it.

use std::sync::Arc;

use backup_core::{Conflict, ErrorKind};
use backup_graph::sim::{Entrance, Fault, Route, SimServer, Simulation, Tenant};
use backup_graph::{
    ClientSecret, DriveSink, DriveSource, GraphClient, ReqwestTransport, Secret, TokioTimer, Transport as _,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::office::{APPLICATION, SECRET, copy, listen, seconds};

/// A tenant with a full drive and an empty one.
fn simulation() -> (Simulation, String, String) {
    let mut tenant = Tenant::new(3);
    tenant.add_application(APPLICATION, SECRET);
    let (from, to) = (tenant.add_drive("ada@contoso.example"), tenant.add_drive("grace@contoso.example"));
    tenant.seed_documents(&from, 5, 20).unwrap();
    tenant.write_file(&from, "Marketing/film.mp4", vec![42; 11 << 20]).unwrap();
    (Simulation::new(tenant), from, to)
}

fn trusting(server: &SimServer) -> ReqwestTransport {
    ReqwestTransport::with_root_certificates(server.authority_pem().unwrap().as_bytes()).unwrap()
}

/// A foreign HTTP client that is told of the proxy and of the authority.
fn through(server: &SimServer) -> reqwest::Client {
    let authority = reqwest::Certificate::from_pem(server.authority_pem().unwrap().as_bytes()).unwrap();
    reqwest::Client::builder()
        .proxy(reqwest::Proxy::all(server.proxy_url().unwrap()).unwrap())
        .tls_certs_merge([authority])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_and_restore_work_over_tls_for_who_trusts_the_authority() {
    let (simulation, from, to) = simulation();
    let server = SimServer::start_at(simulation.clone(), Entrance::Tls, 0).await.unwrap();
    assert_ne!(host(server.graph_url()), host(server.content_url()));
    simulation.script(|faults| {
        faults.on(Route::Delta, 1, Fault::Throttle(seconds(1))).on(Route::Download, 3, Fault::Truncate(100));
        faults.on(Route::Download, 7, Fault::Reset).on(Route::UploadRange, 1, Fault::LoseAnswer)
    });
    let (transport, timer) = (Arc::new(trusting(&server)), Arc::new(TokioTimer::new()));
    let id = simulation.with(|tenant| tenant.id().to_owned());
    let tokens = ClientSecret::new(
        server.login_url(),
        id,
        APPLICATION,
        Secret::new(SECRET),
        transport.clone(),
        timer.clone(),
    );
    let client = GraphClient::new(server.graph_url(), transport, Arc::new(tokens), timer).unwrap();
    let source = DriveSource::new(client.clone(), &from);
    let heard = listen(&source, None).await.unwrap();
    copy(&source, &heard, &DriveSink::new(client, &to, None), Conflict::Skip).await;
    simulation
        .with(|tenant| assert_eq!(tenant.fingerprint(&from).unwrap(), tenant.fingerprint(&to).unwrap()));
    let counters = simulation.counters();
    assert_eq!((counters.faults, counters.inside_window, counters.leaked_tokens), (4, 0, 0));
}

#[tokio::test]
async fn who_does_not_trust_the_authority_is_not_answered() {
    let (simulation, ..) = simulation();
    let server = SimServer::start_at(simulation.clone(), Entrance::Tls, 0).await.unwrap();
    let request = || http_request(&format!("{}/v1.0/users", server.graph_url()));
    let error = ReqwestTransport::new().unwrap().send(request()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(simulation.counters().total(), 0);
    assert_eq!(trusting(&server).send(request()).await.unwrap().status(), 401);

    // Another server's authority is another one.
    let second = SimServer::start_at(simulation.clone(), Entrance::Tls, 0).await.unwrap();
    assert!(trusting(&second).send(request()).await.is_err());
}

#[test]
fn what_is_no_certificate_is_refused() {
    for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "trust me"] {
        let error = ReqwestTransport::with_root_certificates(pem.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{pem}");
    }
}

#[tokio::test]
async fn the_proxy_takes_the_place_of_microsofts_hosts() {
    let (simulation, from, _) = simulation();
    let server = SimServer::start_at(simulation.clone(), Entrance::Proxy, 0).await.unwrap();
    assert_eq!(server.graph_url(), "https://graph.microsoft.com");
    let client = through(&server);
    let tenant = simulation.with(|tenant| tenant.id().to_owned());
    let form = format!(
        "grant_type=client_credentials&client_id={APPLICATION}&client_secret=a%20secret%20%26%20a%20half\
         &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
    );
    let login = client.post(format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"));
    let answer = login.body(form).send().await.unwrap().bytes().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let token = answer["access_token"].as_str().unwrap();

    let film = format!("https://graph.microsoft.com/v1.0/drives/{from}/root:/Marketing/film.mp4:/content");
    let redirect = client.get(film).bearer_auth(token).send().await.unwrap();
    let place = redirect.headers()["location"].to_str().unwrap().to_owned();
    assert!(place.starts_with("https://contoso-my.sharepoint.com/"), "{place}");
    assert_eq!(client.get(&place).send().await.unwrap().bytes().await.unwrap().len(), 11 << 20);
    assert_eq!(simulation.counters().leaked_tokens, 0);
    assert_eq!(client.get(&place).bearer_auth(token).send().await.unwrap().status(), 401);
    assert_eq!(simulation.counters().leaked_tokens, 1);
}

#[tokio::test]
async fn the_proxy_leads_nowhere_else() {
    let (simulation, ..) = simulation();
    let server = SimServer::start_at(simulation.clone(), Entrance::Proxy, 0).await.unwrap();
    for asked in ["CONNECT example.com:443", "CONNECT graph.microsoft.com:80", "GET http://example.com/"] {
        let place = server.proxy_url().unwrap().trim_start_matches("http://");
        let mut connection = tokio::net::TcpStream::connect(place).await.unwrap();
        let request = format!("{asked} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{asked}: {answer}");
    }
    assert!(through(&server).get("https://example.com/").send().await.is_err());
    assert_eq!(simulation.counters().total(), 0);
}

#[tokio::test]
async fn a_dropped_server_closes_its_ports() {
    let (simulation, ..) = simulation();
    for entrance in [Entrance::Http, Entrance::Tls, Entrance::Proxy] {
        let server = SimServer::start_at(simulation.clone(), entrance, 0).await.unwrap();
        let url = server.proxy_url().unwrap_or_else(|| server.graph_url());
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(
            SimServer::start_at(simulation.clone(), entrance, port).await.unwrap_err().kind(),
            ErrorKind::Io
        );
        drop(server);
        tokio::task::yield_now().await;
        drop(SimServer::start_at(simulation.clone(), entrance, port).await.unwrap());
        tokio::task::yield_now().await;
    }
}

fn host(url: &str) -> String {
    url.parse::<http::Uri>().unwrap().host().unwrap().to_owned()
}

fn http_request(url: &str) -> http::Request<bytes::Bytes> {
    http::Request::get(url).body(bytes::Bytes::new()).unwrap()
}
