//! What a person sees: headings, progress, figures.

use std::path::Path;
use std::time::Duration;

use backup_core::{BackupReport, Control, Phase, Progress};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// A step of the story.
pub(crate) fn step(title: &str) {
    println!("\n{title}");
}

/// A line below a step.
pub(crate) fn line(text: impl AsRef<str>) {
    println!("  {}", text.as_ref());
}

/// A bar that follows an operation's running totals.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let bar = ProgressBar::no_length();
        bar.set_style(spinner());
        bar.set_message(what.into());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn follow(&self, progress: &Progress) -> Control {
        if progress.items_total > 0 && self.0.length().is_none() {
            self.0.set_length(progress.items_total);
            self.0.set_style(bar());
        }
        self.0.set_position(progress.items_done);
        self.0.set_prefix(match progress.phase {
            Phase::Committing => "committing".to_owned(),
            _ => HumanBytes(progress.bytes_done).to_string(),
        });
        Control::Continue
    }

    pub(crate) fn done(self) {
        self.0.finish_and_clear();
    }
}

fn spinner() -> ProgressStyle {
    let style = ProgressStyle::with_template("  {spinner} {msg}: {human_pos} items, {prefix} {elapsed}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar() -> ProgressStyle {
    let style =
        ProgressStyle::with_template("  {spinner} {msg}: {bar:30} {human_pos}/{human_len} items, {prefix}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// One backup in a line.
pub(crate) fn backup(what: &str, report: &BackupReport, took: Duration, requests: Option<u64>) {
    let stats = &report.stats;
    let requests =
        requests.map(|requests| format!(", {} requests", HumanCount(requests))).unwrap_or_default();
    line(format!(
        "{what}: {} new, {} changed, {} gone; read {}, stored {}{requests}, {:.2} s",
        HumanCount(stats.added),
        HumanCount(stats.changed),
        HumanCount(stats.removed),
        HumanBytes(stats.bytes_read),
        HumanBytes(stats.bytes_stored),
        took.as_secs_f64(),
    ));
    for problem in &report.problems {
        line(format!("  not backed up: {problem}"));
    }
    for suspicion in &report.suspicions {
        line(format!("  suspicious: {suspicion}"));
    }
}

/// Figures that the closing summary adds up.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) items: u64,
    pub(crate) protected_bytes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) backup_time: Duration,
    pub(crate) restored_bytes: u64,
    pub(crate) restore_time: Duration,
    pub(crate) snapshots: usize,
    pub(crate) requests: Option<u64>,
}

impl Totals {
    pub(crate) fn add(&mut self, report: &BackupReport, took: Duration) {
        self.bytes_read += report.stats.bytes_read;
        self.backup_time += took;
        self.snapshots += 1;
    }

    pub(crate) fn print(&self, repository: &str, on_disk: Option<u64>) {
        step("Summary");
        let row = |name: &str, value: String| line(format!("{name:<12}{value}"));
        row("protected", format!("{} items, {}", HumanCount(self.items), HumanBytes(self.protected_bytes)));
        row("read", format!("{} in {} snapshots", HumanBytes(self.bytes_read), self.snapshots));
        if let Some(stored) = on_disk {
            let ratio = self.bytes_read as f64 / stored.max(1) as f64;
            row("stored", format!("{}, all snapshots together ({ratio:.1} : 1)", HumanBytes(stored)));
        }
        if let Some(requests) = self.requests {
            row("requests", HumanCount(requests).to_string());
        }
        let rate =
            |bytes: u64, time: Duration| HumanBytes((bytes as f64 / time.as_secs_f64().max(1e-6)) as u64);
        let mut rates = format!("backup {}/s", rate(self.bytes_read, self.backup_time));
        if self.restored_bytes > 0 {
            rates += &format!(", restore {}/s", rate(self.restored_bytes, self.restore_time));
        }
        row("throughput", rates);
        row("repository", repository.to_owned());
    }
}

/// Bytes of all files below a directory.
pub(crate) fn bytes_below(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
