//! The table of permissions in `docs/graph.md` holds: each feature works with exactly the permissions of its row and
//! with none of them taken away.

use std::sync::Arc;

use backup_core::store::MemoryStore;
use backup_core::testkit::environment;
use backup_core::{Conflict, Credential, Error, ErrorKind, Options, Problem, Repository, Result};
use backup_graph::directory::{Found, OwnerKind};
use backup_graph::{DriveSink, DriveSource, GraphClient, Versions};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::office::{APPLICATION, Office, client, run};

const PAGE: &str = include_str!("../../../docs/graph.md");
const EVERYTHING: &[&str] =
    &["User.Read.All", "Group.Read.All", "Files.ReadWrite.All", "Sites.FullControl.All"];

/// The rows of the table: the feature and its permissions.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let table = PAGE.split("\n### Permissions\n").nth(1).unwrap().split("\n#").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (feature, roles) = (cells.next().unwrap(), cells.next().unwrap());
        (feature, roles.split('`').skip(1).step_by(2).collect())
    })
    .collect()
}

/// An office whose file has permissions, earlier versions and a column; a backup of it; and an empty drive to restore to.
struct Scene {
    office: Office,
    site: String,
    empty: String,
    repository: Repository,
}

impl Scene {
    async fn new() -> Self {
        let office = Office::empty();
        office.write("report.txt", *b"first");
        office.write("report.txt", *b"second");
        let (site, empty) = office.simulation.with(|tenant| {
            tenant.add_user("grace@contoso.example");
            tenant.add_group("Law");
            let site = tenant.add_site("Projects", None).unwrap();
            tenant.add_site("Moon", Some(&site)).unwrap();
            tenant.add_library(&site, "Documents").unwrap();
            let empty = tenant.add_drive("linus@contoso.example");
            for drive in [&office.drive, &empty] {
                tenant.add_column(drive, "Project").unwrap();
            }
            let fields = json!({ "Project": "Moon" });
            tenant.set_fields(&office.drive, "report.txt", fields.as_object().unwrap()).unwrap();
            tenant.grant(&office.drive, "report.txt", "grace@contoso.example", &["read"]).unwrap();
            tenant.set_roles(APPLICATION, EVERYTHING).unwrap();
            (site, empty)
        });
        let (store, key) = (Arc::new(MemoryStore::new()), Credential::raw_key([7; 32]));
        let repository =
            Repository::init_with(store, &key, environment(1), Options::default()).await.unwrap();
        let source = office.source().with_permissions(true).with_versions(Versions::All).with_fields(true);
        repository.backup(&source).run().await.unwrap();
        Self { office, site, empty, repository }
    }

    /// Does what the row is about, with these permissions and no others.
    async fn perform(&self, feature: &str, roles: &[&str]) -> Result<()> {
        self.office.tenant(|tenant, _| tenant.set_roles(APPLICATION, roles).unwrap());
        // Tokens have the permissions of the time when they were given out.
        let client = client(&self.office.simulation, &self.office.timer);
        match feature {
            "find users" => {
                client.users().try_collect::<Vec<_>>().await?;
                client.user_changes(None).try_collect::<Vec<_>>().await.map(drop)
            }
            "find groups" => {
                client.groups().try_collect::<Vec<_>>().await?;
                client.group_changes(None).try_collect::<Vec<_>>().await.map(drop)
            }
            "find sites and subsites" => {
                client.sites().try_collect::<Vec<_>>().await?;
                client.subsites(&self.site).try_collect::<Vec<_>>().await.map(drop)
            }
            "find the drives of a known user, group or site" => {
                let user = client.drives_of(OwnerKind::User, "ada@contoso.example");
                assert_eq!(user.try_collect::<Vec<_>>().await?.len(), 1);
                client.drives_of(OwnerKind::Site, &self.site).try_collect::<Vec<_>>().await.map(drop)
            }
            "find every drive" => {
                let found = client.every_drive(OwnerKind::ALL).try_collect::<Vec<_>>().await?;
                match found.into_iter().find_map(|found| match found {
                    Found::Failed { error, .. } => Some(error),
                    _ => None,
                }) {
                    Some(error) => Err(error),
                    None => Ok(()),
                }
            }
            "back up files" => self.backup(self.source(client)).await,
            "back up permissions" => self.backup(self.source(client).with_permissions(true)).await,
            "back up versions" => self.backup(self.source(client).with_versions(Versions::All)).await,
            "back up columns" => self.backup(self.source(client).with_fields(true)).await,
            "restore files" => self.restore(self.sink(client)).await,
            "restore permissions" => self.restore(self.sink(client).with_permissions(true)).await,
            "restore versions" => self.restore(self.sink(client).with_versions(true)).await,
            "restore columns" => self.restore(self.sink(client).with_fields(true)).await,
            other => panic!("docs/graph.md names a feature that this test does not know: {other}"),
        }
    }

    fn source(&self, client: GraphClient) -> DriveSource {
        DriveSource::new(client, &self.office.drive)
    }

    fn sink(&self, client: GraphClient) -> DriveSink {
        DriveSink::new(client, &self.empty, None)
    }

    /// Into a repository of its own, so that everything is asked for.
    async fn backup(&self, source: DriveSource) -> Result<()> {
        let (store, key) = (Arc::new(MemoryStore::new()), Credential::raw_key([8; 32]));
        let repository = Repository::init_with(store, &key, environment(2), Options::default()).await?;
        let report = repository.backup(&source).run().await?;
        first(report.problems)
    }

    async fn restore(&self, sink: DriveSink) -> Result<()> {
        self.office.simulation.with(|tenant| tenant.wipe(&self.empty).unwrap());
        let newest = self.repository.snapshots().last().unwrap().id;
        let report = self.repository.restore(newest, &sink).conflict(Conflict::Replace).run().await?;
        first(report.problems)
    }
}

fn first(problems: Vec<Problem>) -> Result<()> {
    problems.into_iter().next().map_or(Ok(()), |problem| Err(problem.error))
}

fn assert_refused(result: Result<()>, feature: &str, roles: &[&str]) -> Error {
    let Err(error) = result else { panic!("{feature} works with {roles:?}") };
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{feature} with {roles:?}: {error:?}");
    error
}

#[test]
fn each_feature_works_with_the_permissions_of_its_row_and_with_none_less() {
    run(async {
        let rows = rows();
        assert_eq!(rows.len(), 13, "every feature has a row: {rows:?}");
        for (feature, roles) in rows {
            let scene = Scene::new().await;
            assert!(!roles.is_empty(), "{feature} names no permission");
            if let Err(error) = scene.perform(feature, &roles).await {
                panic!("{feature} with {roles:?}: {error:?}");
            }
            for missing in &roles {
                let left: Vec<&str> = roles.iter().copied().filter(|role| role != missing).collect();
                let error = assert_refused(scene.perform(feature, &left).await, feature, &left);
                if feature.starts_with("find") || feature == "back up files" {
                    let named = format!("application permission {missing}");
                    let files = missing.starts_with("Sites") && error.to_string().contains("Files.Read.All");
                    assert!(
                        files || error.to_string().contains(&named),
                        "{feature} without {missing}: {error}"
                    );
                }
            }
        }
    });
}

#[test]
fn permissions_that_look_alike_do_not_suffice() {
    run(async {
        let scene = Scene::new().await;
        for (feature, roles) in [
            ("find users", &["Group.Read.All", "Files.Read.All"][..]),
            ("find sites and subsites", &["Files.ReadWrite.All"]),
            ("find every drive", &["User.Read.All", "GroupMember.Read.All", "Files.Read.All"]),
            ("restore files", &["Files.Read.All", "Sites.Read.All"]),
            ("restore columns", &["Files.ReadWrite.All"]),
            ("back up files", &["User.Read.All"]),
        ] {
            assert_refused(scene.perform(feature, roles).await, feature, roles);
        }
    });
}
