//! Fills a drive: from a real folder of documents, or with made-up ones.

use std::path::Path;

use backup_core::{Error, Result, Timestamp};
use bytes::Bytes;

use super::documents;
use super::rng::Rng;
use super::tenant::Tenant;

const DEPARTMENTS: [&str; 8] =
    ["Finance", "Human Resources", "Legal", "Marketing", "Operations", "Projects", "Research", "Sales"];
const SUBJECTS: [&str; 16] = [
    "Annual report",
    "Budget",
    "Contract",
    "Customer list",
    "Forecast",
    "Invoice",
    "Job description",
    "Meeting notes",
    "Offer",
    "Overview Größen",
    "Price list",
    "Project plan",
    "Protokoll",
    "Résumé",
    "Risk register",
    "Travel expenses",
];
const MATTERS: [&str; 8] =
    ["Alpha", "Berlin", "Contoso", "Fabrikam", "Harbour", "Müller & Söhne", "Northwind", "Tailspin"];
/// Ten years of office work before the simulated present, in seconds.
const PAST_SECONDS: u64 = 10 * 365 * 86_400;
/// Deepest folder that is read from a real tree.
const DEPTH_MAX: usize = 64;

impl Tenant {
    /// Loads a real folder into the drive: names, contents and modification times (in whole seconds, as the service
    /// keeps them). Whatever is neither file nor folder, or has no name in UTF-8, is left out. Returns how many files.
    ///
    /// # Errors
    /// What the file system reports; `NotFound` if there is no such drive.
    pub fn seed_from_dir(&mut self, drive: &str, folder: impl AsRef<Path>) -> Result<usize> {
        self.load(drive, folder.as_ref(), "", 0)
    }

    fn load(&mut self, drive: &str, folder: &Path, below: &str, depth: usize) -> Result<usize> {
        let mut entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        // The file system's order is not the same everywhere; the tenant is to be.
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let mut files = 0;
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < DEPTH_MAX {
                self.make_folder(drive, &path)?;
                files += self.load(drive, &entry.path(), &path, depth + 1)?;
            } else if kind.is_file() {
                let content = std::fs::read(entry.path())
                    .map_err(|error| Error::from(error).with_item(entry.path().display().to_string()))?;
                self.write_file(drive, &path, content)?;
                files += 1;
            } else {
                continue;
            }
            let modified = Timestamp::from(entry.metadata()?.modified()?);
            let modified = Timestamp::new(modified.seconds(), 0);
            self.set_times(drive, &path, modified, modified)?;
        }
        Ok(files)
    }

    /// Makes up `count` office documents in folders: texts, tables, letters and printouts, from empty to a few
    /// megabytes, some of them copies of others. The same seed makes the same documents.
    ///
    /// # Errors
    /// `NotFound` if there is no such drive.
    pub fn seed_documents(&mut self, drive: &str, seed: u64, count: usize) -> Result<()> {
        let mut rng = Rng::new(seed);
        let mut earlier: Vec<(&str, Bytes)> = Vec::new();
        for number in 0..count {
            let folder = match rng.below(4) {
                0 => rng.pick(&DEPARTMENTS).to_owned(),
                1 => format!("{}/{}", rng.pick(&DEPARTMENTS), 2019 + rng.below(7)),
                _ => format!("{}/{}/{}", rng.pick(&DEPARTMENTS), rng.pick(&MATTERS), 2019 + rng.below(7)),
            };
            let copy_of =
                (rng.below(16) == 0).then(|| usize::try_from(rng.below(earlier.len() as u64)).unwrap_or(0));
            let copy = copy_of.and_then(|index| earlier.get(index)).cloned();
            let (extension, content) = copy.unwrap_or_else(|| documents::document(&mut rng, number));
            let name = format!("{} {} {number:03}.{extension}", rng.pick(&SUBJECTS), rng.pick(&MATTERS));
            let path = format!("{folder}/{name}");
            self.write_file(drive, &path, content.clone())?;
            let age = i64::try_from(rng.below(PAST_SECONDS)).unwrap_or(0);
            let modified = Timestamp::new(self.now().seconds() - age, 0);
            let created =
                Timestamp::new(modified.seconds() - i64::try_from(rng.below(86_400 * 30)).unwrap_or(0), 0);
            self.set_times(drive, &path, created, modified)?;
            earlier.push((extension, content));
        }
        Ok(())
    }
}
