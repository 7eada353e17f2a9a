//! What is special about items: malware, notebooks, locks and holds, labels, authors, lost sight; and a hash over it.

use backup_core::Result;

use super::node::{Identity, Obstacle, Scope};
use super::sharing::Grant;
use super::tenant::Tenant;

impl Tenant {
    /// Lets the scanner find something in the file, or nothing any more: downloads are refused then.
    ///
    /// # Errors
    /// `NotFound` if there is no such drive or nothing at the path. So for all that follow.
    pub fn set_malware(&mut self, drive: &str, path: &str, found: Option<&str>) -> Result<()> {
        self.mark(drive, path, |node| node.facets.malware = found.map(str::to_owned))
    }

    /// Makes a notebook: a folder that the service calls a package, with two files in it. Returns its id.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn make_notebook(&mut self, drive: &str, path: &str) -> Result<String> {
        let id = self.make_folder(drive, path)?;
        self.mark(drive, path, |node| node.facets.package = Some("oneNote".to_owned()))?;
        self.write_file(drive, &format!("{path}/Open Notebook.onetoc2"), &b"contents of the notebook"[..])?;
        self.write_file(drive, &format!("{path}/Quick Notes.one"), &b"the first section"[..])?;
        Ok(id)
    }

    /// Forbids to change the item, or allows it again. A record must have a retention label.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn set_obstacle(&mut self, drive: &str, path: &str, obstacle: Option<Obstacle>) -> Result<()> {
        self.mark(drive, path, |node| node.facets.obstacle = obstacle)
    }

    /// Labels the item for retention, or takes the label away.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn set_retention_label(&mut self, drive: &str, path: &str, label: Option<&str>) -> Result<()> {
        self.mark(drive, path, |node| node.facets.retention_label = label.map(str::to_owned))
    }

    /// Describes the item.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn set_description(&mut self, drive: &str, path: &str, text: Option<&str>) -> Result<()> {
        self.mark(drive, path, |node| node.facets.description = text.map(str::to_owned))
    }

    /// Sets who made the item and who changed it last: users by sign-in name, whether or not they are still there.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn set_authors(&mut self, drive: &str, path: &str, made_by: &str, changed_by: &str) -> Result<()> {
        let identity = |name: &str| {
            let gone = || Identity {
                kind: "user",
                id: String::new(),
                name: name.to_owned(),
                email: name.to_owned(),
            };
            self.directory.identity(name).unwrap_or_else(gone)
        };
        let (made_by, changed_by) = (identity(made_by), identity(changed_by));
        let id = self.node(drive, path)?.id.clone();
        let mut stamp = super::node::Stamp::from(self.tick());
        stamp.by = Some(changed_by);
        self.drive_mut(drive)?.change(&id, stamp, |node| node.created_by = made_by);
        Ok(())
    }

    /// The application loses sight of the item: it is not found any more, and listings of changes tell it as deleted if
    /// they were asked to (`deltashowremovedasdeleted`). What lies below is listed only with `deltatraversepermissiongaps`.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn hide(&mut self, drive: &str, path: &str) -> Result<()> {
        self.mark(drive, path, |node| node.facets.hidden = true)
    }

    /// The application sees the item again.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn show(&mut self, drive: &str, path: &str) -> Result<()> {
        self.mark(drive, path, |node| node.facets.hidden = false)
    }

    /// Refuses the content of the file with this status until told otherwise, as the service does with 503 for OneNote sections
    /// above 2 GB; listings and the item itself do not show it.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn refuse_content(&mut self, drive: &str, path: &str, status: Option<u16>) -> Result<()> {
        self.refuse(drive, path, status.map(|status| (Scope::Content, status)))
    }

    /// Refuses everything that is asked of the item with this status until told otherwise; listings name it all the same.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn refuse_item(&mut self, drive: &str, path: &str, status: Option<u16>) -> Result<()> {
        self.refuse(drive, path, status.map(|status| (Scope::Item, status)))
    }

    /// Announces another length than the file has, as the service does of labelled and encrypted files.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn announce_size(&mut self, drive: &str, path: &str, bytes: Option<u64>) -> Result<()> {
        self.mark(drive, path, |node| node.facets.announced_size = bytes)
    }

    /// A hash over what surrounds the contents of all items: own permissions, inheritance, fields, and kinds of folders.
    /// Ids of permissions, and what the service fills in, do not count.
    ///
    /// # Errors
    /// As for [`set_malware`](Self::set_malware).
    pub fn metadata_fingerprint(&self, drive: &str) -> Result<String> {
        let mut hash = blake3::Hasher::new();
        for (path, node) in self.walk(drive, "")? {
            let mut grants: Vec<String> = node.grants.iter().map(Grant::line).collect();
            grants.sort();
            let fields: std::collections::BTreeMap<_, _> = node.fields.iter().collect();
            let fields = serde_json::to_string(&fields).unwrap_or_default();
            let package = node.facets.package.as_deref().unwrap_or_default();
            let line = format!("{path}\0{}\0{grants:?}\0{fields}\0{package}\n", node.inherits);
            hash.update(line.as_bytes());
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    fn refuse(&mut self, drive: &str, path: &str, refusal: Option<(Scope, u16)>) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        self.drive_mut(drive)?.amend(&id, |node| node.facets.refusal = refusal);
        Ok(())
    }

    fn mark(&mut self, drive: &str, path: &str, how: impl FnOnce(&mut super::node::Node)) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.change(&id, now.into(), how);
        Ok(())
    }
}
