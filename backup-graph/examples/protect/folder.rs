//! Protecting a real folder.

use std::path::Path;
use std::time::Instant;

use backup_core::{Conflict, Credential, ErrorKind, FolderSink, FolderSource, Repository, store};

use crate::Result;
use crate::arguments::{Arguments, Job};
use crate::show::{self, Bar, Totals};

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let Job::Folder { path, restore_to } = &arguments.job else { return Ok(()) };
    let passphrase = std::env::var("BACKUP_PASSPHRASE")
        .map_err(|_| "set BACKUP_PASSPHRASE: the repository is encrypted, and nobody but you can open it")?;
    let place = arguments.repository.clone().unwrap_or_else(|| "./backup-repository".to_owned());
    let credential = Credential::passphrase(passphrase);
    let store = store::from_url(&place, [("", ""); 0])?;
    let repository = match Repository::open(store.clone(), &credential).await {
        Err(error) if error.kind() == ErrorKind::NotARepository => {
            show::step(&format!("Creating a repository at {place}"));
            Repository::init(store, &credential).await?
        }
        opened => opened?,
    };

    show::step(&format!("Backing up {}", path.display()));
    let source = FolderSource::new(path)?;
    let mut totals = Totals::default();
    let (bar, started) = (Bar::new("backing up"), Instant::now());
    let report = repository.backup(&source).on_progress(|progress| bar.follow(progress)).run().await?;
    bar.done();
    totals.add(&report, started.elapsed());
    (totals.items, totals.protected_bytes) = (report.stats.items, report.stats.bytes);
    show::backup("done", &report, started.elapsed(), None);

    if let Some(target) = restore_to {
        show::step(&format!("Restoring to {}", target.display()));
        let sink = FolderSink::new(target)?;
        let (bar, started) = (Bar::new("restoring"), Instant::now());
        let restore = repository.restore(report.snapshot, &sink).conflict(Conflict::Skip);
        let restored = restore.on_progress(|progress| bar.follow(progress)).run().await?;
        bar.done();
        (totals.restored_bytes, totals.restore_time) = (restored.bytes, started.elapsed());
        show::line(format!("{} items created, {} left as they were", restored.created, restored.skipped));
        restored.problems.iter().for_each(|problem| show::line(format!("  not restored: {problem}")));
    }
    totals.print(&place, show::bytes_below(Path::new(place.trim_start_matches("file://"))).ok());
    Ok(())
}
