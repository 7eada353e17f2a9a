//! The lines that the program prints.

use backup_graph::sim::{SimServer, Simulation};
use serde_json::{Value, json};

use crate::Result;
use crate::arguments::Arguments;

/// A drive of the tenant, and whose it is.
pub(crate) struct Resident {
    pub(crate) owner: String,
    pub(crate) drive: String,
}

/// How the tenant is reached.
pub(crate) fn ready(
    arguments: &Arguments,
    simulation: &Simulation,
    server: &SimServer,
    residents: &[Resident],
) -> Value {
    let applications: Vec<Value> =
        arguments.applications.iter().map(|(id, secret)| json!({ "id": id, "secret": secret })).collect();
    let drives: Vec<Value> =
        residents.iter().map(|resident| json!({ "owner": resident.owner, "id": resident.drive })).collect();
    json!({
        "ready": true,
        "graph": server.graph_url(), "login": server.login_url(), "content": server.content_url(),
        "proxy": server.proxy_url(),
        "tenant": simulation.with(|tenant| tenant.id().to_owned()),
        "applications": applications, "drives": drives,
        "ca_file": arguments.authority_file, "ca_pem": server.authority_pem(),
    })
}

/// What the tenant has seen, and what is in its drives now.
pub(crate) fn seen(simulation: &Simulation, residents: &[Resident]) -> Result<Value> {
    let mut report = serde_json::to_value(simulation.counters())?;
    let drives = simulation.with(|tenant| {
        let drive = |resident: &Resident| -> Result<Value> {
            let files = tenant.files(&resident.drive)?.len();
            let fingerprint = tenant.fingerprint(&resident.drive)?;
            Ok(json!({ "owner": resident.owner, "id": resident.drive, "files": files, "fingerprint": fingerprint }))
        };
        residents.iter().map(drive).collect::<Result<Vec<Value>>>()
    })?;
    if let Some(report) = report.as_object_mut() {
        report.insert("drives".to_owned(), Value::Array(drives));
    }
    Ok(report)
}
