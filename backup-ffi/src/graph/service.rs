//! What the functions do: calls of `backup-graph` and conversions.

use std::sync::Arc;

use backup_core::{Error, ErrorKind, Result, Sink, Source};
use backup_graph::directory::{self, Drive, OwnerKind};
use backup_graph::{
    ClientCertificate, ClientSecret, Cloud, DriveSink, DriveSource, GraphClient, ReqwestTransport, Secret,
    StaticToken, Timer, TokenProvider, TokioTimer, Transport, Versions,
};
use futures_util::TryStreamExt;

use super::{Found, Proof};
use crate::kinds::backup_graph_kind;
use crate::options::Settings;

pub(super) use backup_graph::GraphClient as Client;

fn invalid(message: &str, option: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message).with_item(option)
}

fn cloud(settings: &mut Settings) -> Result<Cloud> {
    match settings.take("cloud")?.as_deref() {
        None | Some("global") => Ok(Cloud::Global),
        Some("us_government") => Ok(Cloud::UsGovernment),
        Some("us_defense") => Ok(Cloud::UsDefense),
        Some("china") => Ok(Cloud::China),
        Some(_) => Err(invalid("option has a value that is none", "cloud")),
    }
}

pub(super) fn connect(proof: &Proof<'_>, mut settings: Settings) -> Result<GraphClient> {
    let cloud = cloud(&mut settings)?;
    let (graph, login) = (settings.take("graph_url")?, settings.take("login_url")?);
    let transport: Arc<dyn Transport> = Arc::new(match settings.take("ca_pem")? {
        None => ReqwestTransport::new()?,
        Some(pem) => ReqwestTransport::with_root_certificates(pem.as_bytes())?,
    });
    let timer: Arc<dyn Timer> = Arc::new(TokioTimer::new());
    let login = login.unwrap_or_else(|| cloud.authority().to_owned());
    let (transport_of_tokens, timer_of_tokens) = (Arc::clone(&transport), Arc::clone(&timer));
    let tokens: Arc<dyn TokenProvider> = match *proof {
        Proof::Token(token) => Arc::new(StaticToken::new(token)),
        Proof::Secret(tenant, client, secret) => {
            let secret = Secret::new(secret);
            Arc::new(ClientSecret::new(login, tenant, client, secret, transport_of_tokens, timer_of_tokens))
        }
        Proof::Certificate(tenant, client, pem) => {
            let pem = Secret::new(pem);
            let (transport, timer) = (transport_of_tokens, timer_of_tokens);
            let certificate = ClientCertificate::new(login, tenant, client, &pem, transport, timer)?;
            Arc::new(certificate.with_chain(settings.take_parsed("send_chain")?.unwrap_or(false)))
        }
    };
    let base = graph.as_deref().unwrap_or_else(|| cloud.graph());
    // Another address is the same service: tokens are asked for the cloud's own scope.
    let mut client = GraphClient::new(base, transport, tokens, timer)?.with_scope(cloud.scope());
    if let Some(name) = settings.take("user_agent")? {
        client = client.with_user_agent(&name)?;
    }
    settings.finish()?;
    Ok(client)
}

fn found(kind: backup_graph_kind, id: String, name: Option<String>, address: Option<String>) -> Found {
    Found { kind, id, name, address, owner: None, error: None }
}

fn of_drive(drive: Drive, owner: Option<(String, String)>) -> Found {
    Found { owner, ..found(backup_graph_kind::Drive, drive.id, drive.name, drive.web_url) }
}

pub(super) async fn users(client: &GraphClient) -> Result<Vec<Found>> {
    let users = client
        .users()
        .map_ok(|user| found(backup_graph_kind::User, user.id, user.display_name, user.user_principal_name));
    users.try_collect().await
}

pub(super) async fn groups(client: &GraphClient) -> Result<Vec<Found>> {
    let unified = client.groups().try_filter(|group| std::future::ready(group.is_unified()));
    let groups =
        unified.map_ok(|group| found(backup_graph_kind::Group, group.id, group.display_name, group.mail));
    groups.try_collect().await
}

pub(super) async fn sites(client: &GraphClient) -> Result<Vec<Found>> {
    let sites = client.sites().map_ok(|site| {
        found(backup_graph_kind::Site, site.id, site.display_name.or(site.name), site.web_url)
    });
    sites.try_collect().await
}

pub(super) async fn drives(client: &GraphClient, kind: u32, owner: &str) -> Result<Vec<Found>> {
    let kind = match kind {
        _ if kind == backup_graph_kind::User as u32 => OwnerKind::User,
        _ if kind == backup_graph_kind::Group as u32 => OwnerKind::Group,
        _ if kind == backup_graph_kind::Site as u32 => OwnerKind::Site,
        _ => {
            let message = format!("argument `kind` has no meaning for {kind}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    };
    let of_owner = |drive| of_drive(drive, Some((owner.to_owned(), owner.to_owned())));
    client.drives_of(kind, owner).map_ok(of_owner).try_collect().await
}

pub(super) async fn every_drive(client: &GraphClient) -> Result<Vec<Found>> {
    let all = client.every_drive(OwnerKind::ALL).try_filter_map(|entry| {
        std::future::ready(Ok(match entry {
            directory::Found::Drive { owner, drive } => {
                Some(of_drive(drive, Some((owner.id().to_owned(), owner.name().to_owned()))))
            }
            directory::Found::Failed { owner, error } => Some(Found {
                owner: Some((owner.id().to_owned(), owner.name().to_owned())),
                error: Some(error),
                ..found(backup_graph_kind::Failed, owner.id().to_owned(), Some(owner.name().to_owned()), None)
            }),
            _ => None,
        }))
    });
    all.try_collect().await
}

pub(super) fn drive_source(
    client: &GraphClient,
    drive: &str,
    mut settings: Settings,
) -> Result<Arc<dyn Source>> {
    let mut source = DriveSource::new(client.clone(), drive);
    if let Some(files) = settings.take_parsed("concurrency")? {
        source = source.with_concurrency(files);
    }
    if let Some(bytes) = settings.take_parsed("range_bytes")? {
        source = source.with_range_bytes(bytes);
    }
    if let Some(entries) = settings.take_parsed("page_entries")? {
        source = source.with_page_entries(entries);
    }
    if let Some(wanted) = settings.take("versions")? {
        let versions = match (wanted.as_str(), wanted.parse()) {
            ("none", _) => Versions::None,
            ("all", _) => Versions::All,
            (_, Ok(count)) => Versions::Newest(count),
            _ => return Err(invalid("option has a value that is none", "versions")),
        };
        source = source.with_versions(versions);
    }
    if let Some(wanted) = settings.take_parsed("permissions")? {
        source = source.with_permissions(wanted);
    }
    if let Some(wanted) = settings.take_parsed("fields")? {
        source = source.with_fields(wanted);
    }
    settings.finish()?;
    Ok(Arc::new(source))
}

pub(super) fn drive_sink(
    client: &GraphClient,
    drive: &str,
    folder: Option<&str>,
    mut settings: Settings,
) -> Result<Arc<dyn Sink>> {
    let mut sink = DriveSink::new(client.clone(), drive, folder);
    if let Some(items) = settings.take_parsed("concurrency")? {
        sink = sink.with_concurrency(items);
    }
    if let Some(bytes) = settings.take_parsed("range_bytes")? {
        sink = sink.with_range_bytes(bytes);
    }
    if let Some(wanted) = settings.take_parsed("versions")? {
        sink = sink.with_versions(wanted);
    }
    if let Some(wanted) = settings.take_parsed("permissions")? {
        sink = sink.with_permissions(wanted);
    }
    if let Some(wanted) = settings.take_parsed("fields")? {
        sink = sink.with_fields(wanted);
    }
    settings.finish()?;
    Ok(Arc::new(sink))
}
