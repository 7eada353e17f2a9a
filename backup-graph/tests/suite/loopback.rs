//! The same over real HTTP: reqwest against the simulation behind a listener.

use std::sync::Arc;

use backup_core::Conflict;
use backup_graph::sim::{Fault, Route, SimServer, Simulation, Tenant};
use backup_graph::{ClientSecret, DriveSink, DriveSource, GraphClient, ReqwestTransport, Secret, TokioTimer};

use crate::office::{APPLICATION, SECRET, copy, listen, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn backup_and_restore_work_over_a_wire_that_breaks() {
    let mut tenant = Tenant::new(3);
    tenant.add_application(APPLICATION, SECRET);
    let (from, to) = (tenant.add_drive("ada@contoso.example"), tenant.add_drive("grace@contoso.example"));
    tenant.seed_documents(&from, 5, 60).unwrap();
    tenant.write_file(&from, "Marketing/film.mp4", vec![42; 12 << 20]).unwrap();
    let id = tenant.id().to_owned();
    let simulation = Simulation::new(tenant);
    let server = SimServer::start(simulation.clone()).await.unwrap();
    simulation.script(|faults| {
        faults.on(Route::Delta, 2, Fault::Throttle(seconds(1))).on(Route::Download, 3, Fault::Truncate(100));
        faults.on(Route::Download, 7, Fault::Reset).on(Route::Delta, 1, Fault::RevokeTokens);
        faults.on(Route::UploadRange, 1, Fault::LoseAnswer).on(Route::PutContent, 2, Fault::LoseAnswer)
    });

    let (transport, timer) = (Arc::new(ReqwestTransport::new().unwrap()), Arc::new(TokioTimer::new()));
    let secret = Secret::new(SECRET);
    let tokens =
        ClientSecret::new(server.login_url(), id, APPLICATION, secret, transport.clone(), timer.clone());
    let client = GraphClient::new(server.graph_url(), transport, Arc::new(tokens), timer).unwrap();
    let source = DriveSource::new(client.clone(), &from).with_page_entries(40);
    let heard = listen(&source, None).await.unwrap();
    copy(&source, &heard, &DriveSink::new(client.clone(), &to, None), Conflict::Skip).await;

    simulation
        .with(|tenant| assert_eq!(tenant.fingerprint(&from).unwrap(), tenant.fingerprint(&to).unwrap()));
    let counters = simulation.counters();
    assert_eq!((counters.faults, counters.inside_window, counters.leaked_tokens), (6, 0, 0));
    assert!(client.metrics().bytes_received > 1_000_000 && client.metrics().bytes_sent > 1_000_000);
}
