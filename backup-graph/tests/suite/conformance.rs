//! The engine's own suites of what a source and a sink promise.

use std::collections::BTreeMap;

use async_trait::async_trait;
use backup_core::Result;
use backup_core::testkit::sink::{Found, ReadBack};
use backup_core::testkit::{sink, source};
use backup_graph::DriveSink;

use crate::office::{Office, run};

#[test]
fn a_drive_keeps_the_promises_of_a_source() {
    run(async {
        for with_addresses in [true, false] {
            let office = Office::with_documents(40);
            office.tenant(|tenant, _| tenant.rules_mut().download_addresses = with_addresses);
            source::conformance(&office.source().with_page_entries(25)).await.unwrap();
        }
    });
}

#[test]
fn a_drive_keeps_the_promises_of_a_sink() {
    run(async {
        let office = Office::empty();
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        sink::conformance(&sink, &office).await.unwrap();
    });
}

#[async_trait]
impl ReadBack for Office {
    async fn tree(&self) -> Result<BTreeMap<String, Found>> {
        self.tenant(|tenant, drive| {
            let paths = tenant.paths(drive)?.into_iter();
            Ok(paths
                .map(|path| match tenant.read_file(drive, &path) {
                    Ok(content) => (path, Found::file(content)),
                    Err(_) => (path, Found::container()),
                })
                .collect())
        })
    }
}
