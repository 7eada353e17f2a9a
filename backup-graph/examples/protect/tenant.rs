//! The story of a tenant: two people's drives, a working day, an attack, a restore.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use backup_core::{
    BackupReport, Conflict, Credential, Difference, Head, Options, Repository, SnapshotId, VerifyLevel, store,
};
use backup_graph::sim::{SimServer, Simulation, Tenant};
use backup_graph::{ClientSecret, DriveSink, DriveSource, GraphClient, ReqwestTransport, Secret, TokioTimer};
use indicatif::{HumanBytes, HumanCount};

use crate::Result;
use crate::arguments::{Arguments, Job};
use crate::show::{self, Bar, Totals};

const APPLICATION: &str = "backup-application";
const APPLICATION_SECRET: &str = "an app secret that only this simulation knows";
const PEOPLE: [&str; 2] = ["ada@contoso.example", "grace@contoso.example"];
const DOCUMENTS_EACH: usize = 300;

struct Person {
    name: &'static str,
    drive: String,
}

struct Story {
    simulation: Simulation,
    client: GraphClient,
    repository: Repository,
    people: Vec<Person>,
    totals: Totals,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let Job::Tenant { documents } = &arguments.job else { return Ok(()) };
    let (simulation, people) = tenant(documents.as_ref())?;
    let server = SimServer::start(simulation.clone()).await?;
    show::step("A Microsoft 365 tenant, simulated on this machine");
    for person in &people {
        let files = simulation.with(|tenant| tenant.files(&person.drive))?;
        show::line(format!("{}: {} files", person.name, HumanCount(files.len() as u64)));
    }
    show::line(format!("it answers at {}", server.graph_url()));

    let place = match &arguments.repository {
        Some(place) => place.clone(),
        None => std::env::temp_dir()
            .join(format!("backup-repository-{}", std::process::id()))
            .display()
            .to_string(),
    };
    let passphrase =
        std::env::var("BACKUP_PASSPHRASE").unwrap_or_else(|_| "correct horse battery staple".to_owned());
    let credential = Credential::passphrase(passphrase);
    let repository = Repository::init(store::from_url(&place, [("", ""); 0])?, &credential).await?;
    let client = sign_in(&simulation, &server)?;
    let mut story = Story { simulation, client, repository, people, totals: Totals::default() };

    show::step("First backup");
    story.back_up().await?;

    show::step("People work, and the next backup moves only what they changed");
    story.working_day()?;
    let good = story.back_up().await?;
    let protected = (story.totals.items, story.totals.protected_bytes);
    let fingerprints = story.fingerprints()?;

    show::step("An attacker overwrites one drive and empties the other; the next backup runs all the same");
    story.attack()?;
    let bad = story.back_up().await?;
    for (before, after) in good.iter().zip(&bad) {
        story.show_damage(*before, *after).await?;
    }

    show::step("Restoring the state before the damage, into the tenant");
    story.restore(&good).await?;
    for (person, (before, after)) in story.people.iter().zip(fingerprints.iter().zip(story.fingerprints()?)) {
        if *before != after {
            return Err(format!("{}'s drive differs from what it was", person.name).into());
        }
        show::line(format!("{}: every path, byte and time is as it was ({})", person.name, &before[..16]));
    }

    show::step("Checking every byte of the repository");
    let head = story.repository.head();
    story.check(&place, &credential, head).await?;
    (story.totals.items, story.totals.protected_bytes) = protected;
    story.totals.requests = Some(story.client.metrics().requests);
    story.totals.print(&place, show::bytes_below(place.trim_start_matches("file://").as_ref()).ok());
    Ok(())
}

/// A tenant whose people have documents.
fn tenant(documents: Option<&PathBuf>) -> Result<(Simulation, Vec<Person>)> {
    let mut tenant = Tenant::new(2026);
    tenant.add_application(APPLICATION, APPLICATION_SECRET);
    let mut people = Vec::new();
    for (seed, name) in (1..).zip(PEOPLE) {
        let drive = tenant.add_drive(name);
        match documents {
            Some(directory) => drop(tenant.seed_from_dir(&drive, directory)?),
            None => tenant.seed_documents(&drive, seed, DOCUMENTS_EACH)?,
        }
        people.push(Person { name, drive });
    }
    Ok((Simulation::new(tenant), people))
}

fn sign_in(simulation: &Simulation, server: &SimServer) -> Result<GraphClient> {
    let (transport, timer) = (Arc::new(ReqwestTransport::new()?), Arc::new(TokioTimer::new()));
    let tenant = simulation.with(|tenant| tenant.id().to_owned());
    let secret = Secret::new(APPLICATION_SECRET);
    let tokens =
        ClientSecret::new(server.login_url(), tenant, APPLICATION, secret, transport.clone(), timer.clone());
    Ok(GraphClient::new(server.graph_url(), transport, Arc::new(tokens), timer)?)
}

impl Story {
    async fn back_up(&mut self) -> Result<Vec<SnapshotId>> {
        let mut snapshots = Vec::new();
        (self.totals.items, self.totals.protected_bytes) = (0, 0);
        for person in &self.people {
            let source = DriveSource::new(self.client.clone(), &person.drive);
            let (bar, started, requests) =
                (Bar::new(person.name), Instant::now(), self.client.metrics().requests);
            let run = self.repository.backup(&source).label("owner", person.name);
            let report: BackupReport = run.on_progress(|progress| bar.follow(progress)).run().await?;
            bar.done();
            let took = started.elapsed();
            show::backup(person.name, &report, took, Some(self.client.metrics().requests - requests));
            self.totals.add(&report, took);
            self.totals.items += report.stats.items;
            self.totals.protected_bytes += report.stats.bytes;
            snapshots.push(report.snapshot);
        }
        Ok(snapshots)
    }

    /// Some files are edited, renamed, moved, deleted; one is new.
    fn working_day(&self) -> Result<()> {
        for person in &self.people {
            self.simulation.with(|tenant| -> backup_core::Result<()> {
                let files = tenant.files(&person.drive)?;
                let mut files = files.iter().filter(|path| !path.is_empty());
                for path in files.by_ref().take(5) {
                    let mut content = tenant.read_file(&person.drive, path)?.to_vec();
                    content.extend_from_slice(b"\nreviewed");
                    tenant.write_file(&person.drive, path, content)?;
                }
                tenant.make_folder(&person.drive, "Archive")?;
                if let Some(path) = files.next() {
                    tenant.move_to(&person.drive, path, "Archive")?;
                }
                if let Some(path) = files.next() {
                    tenant.rename(&person.drive, path, "final version.docx")?;
                }
                if let Some(path) = files.next() {
                    tenant.delete(&person.drive, path)?;
                }
                tenant.write_file(
                    &person.drive,
                    "Minutes of today.txt",
                    "We agreed to test our restores.",
                )?;
                Ok(())
            })?;
        }
        Ok(())
    }

    fn attack(&self) -> Result<()> {
        for (number, person) in self.people.iter().enumerate() {
            self.simulation.with(|tenant| -> backup_core::Result<()> {
                if number % 2 == 0 {
                    tenant.overwrite_all(&person.drive).map(drop)
                } else {
                    tenant.wipe(&person.drive)
                }
            })?;
        }
        Ok(())
    }

    async fn show_damage(&self, before: SnapshotId, after: SnapshotId) -> Result<()> {
        let owner =
            self.repository.snapshot(after).await?.labels.into_iter().find(|(name, _)| name == "owner");
        let (mut lost, mut overwritten) = (0, 0);
        let mut differences = self.repository.diff(before, after).await?;
        while let Some(difference) = differences.next().await? {
            match difference {
                Difference::Removed(_) => lost += 1,
                Difference::Changed { content: true, .. } => overwritten += 1,
                _ => {}
            }
        }
        let owner = owner.map_or_else(|| "?".to_owned(), |(_, owner)| owner);
        show::line(format!(
            "the difference of two snapshots shows it: {owner}, {lost} items gone, {overwritten} files overwritten"
        ));
        Ok(())
    }

    async fn restore(&mut self, snapshots: &[SnapshotId]) -> Result<()> {
        for (person, snapshot) in self.people.iter().zip(snapshots) {
            let sink = DriveSink::new(self.client.clone(), &person.drive, None);
            let (bar, started, requests) =
                (Bar::new(person.name), Instant::now(), self.client.metrics().requests);
            let restore = self.repository.restore(*snapshot, &sink).conflict(Conflict::Replace);
            let report = restore.on_progress(|progress| bar.follow(progress)).run().await?;
            bar.done();
            let took = started.elapsed();
            self.totals.restored_bytes += report.bytes;
            self.totals.restore_time += took;
            show::line(format!(
                "{}: {} created, {} replaced, {}, {} requests, {:.2} s",
                person.name,
                HumanCount(report.created),
                HumanCount(report.replaced),
                HumanBytes(report.bytes),
                HumanCount(self.client.metrics().requests - requests),
                took.as_secs_f64()
            ));
            if let Some(problem) = report.problems.first() {
                return Err(format!(
                    "{} items were not restored, first of them {problem}",
                    report.problems.len()
                )
                .into());
            }
        }
        Ok(())
    }

    fn fingerprints(&self) -> Result<Vec<String>> {
        let of = |person: &Person| self.simulation.with(|tenant| tenant.fingerprint(&person.drive));
        Ok(self.people.iter().map(of).collect::<backup_core::Result<_>>()?)
    }

    /// Opens the repository afresh, as another machine would, and verifies it.
    async fn check(&self, place: &str, credential: &Credential, head: Head) -> Result<()> {
        let store = store::from_url(place, [("", ""); 0])?;
        let mut options = Options::default();
        options.known_head = Some(head);
        let repository =
            Repository::open_with(store, credential, backup_core::Env::system(), options).await?;
        let report = repository.verify(VerifyLevel::EveryByte).run().await?;
        if let Some(finding) = report.findings.first() {
            return Err(format!("{} findings, first of them {finding}", report.findings.len()).into());
        }
        show::line(format!(
            "{} snapshots, {} chunks in {} packs, {}: sound",
            report.snapshots,
            HumanCount(report.chunks),
            report.packs,
            HumanBytes(report.bytes_read)
        ));
        Ok(())
    }
}
