//! The hands of a tenant's users and attackers: files written, moved, deleted, encrypted; and what tests look at.

use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;

use super::drive::{Behavior, Drive};
use super::node::Node;
use super::rng::Rng;
use super::tenant::Tenant;

/// Bytes at the start of what [`Tenant::encrypt_all`] leaves behind.
const RANSOM_MAGIC: &[u8] = b"LOCKED!\0";

impl Tenant {
    /// Limits what a drive may hold, in bytes.
    ///
    /// # Errors
    /// `NotFound` if there is no such drive. So for all that follow; also if there is nothing at the path.
    pub fn set_quota(&mut self, drive: &str, bytes: Option<u64>) -> Result<()> {
        self.drive_mut(drive)?.quota_bytes = bytes;
        Ok(())
    }

    /// Makes the service forget every position in the change log that it gave out.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn expire_cursors(&mut self, drive: &str) -> Result<()> {
        self.drive_mut(drive)?.epoch += 1;
        Ok(())
    }

    /// Replaces the drive by an empty one of the same id, as if it had been deleted and provisioned anew: its root is another
    /// item, and every position is forgotten.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn recreate(&mut self, drive: &str) -> Result<()> {
        let (now, seed) = (self.tick(), self.rng.next());
        let old = self.drive_mut(drive)?;
        let mut new = Drive::new(old.id.clone(), old.owner.clone(), Rng::new(seed), now);
        new.epoch = old.epoch + 1;
        *old = new;
        Ok(())
    }

    /// Writes a file; folders on the way are made, a file that is there is overwritten. Returns its id.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota); `AlreadyExists` if a folder has the name.
    pub fn write_file(&mut self, drive: &str, path: &str, content: impl Into<Bytes>) -> Result<String> {
        let (folder, name) = split(path);
        let parent = self.make_folder(drive, folder)?;
        let now = self.tick();
        let made = self.drive_mut(drive)?.create(&parent, name, Some(content.into()), Behavior::Replace, now);
        made.map(|(id, _)| id).map_err(|_| taken(path))
    }

    /// Makes a folder and those on the way to it, where they are missing. Returns its id.
    ///
    /// # Errors
    /// As for [`write_file`](Self::write_file), if a file has the name.
    pub fn make_folder(&mut self, drive: &str, path: &str) -> Result<String> {
        let mut at = self.drive_ref(drive)?.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let existing =
                self.drive_ref(drive)?.child(&at, name).map(|node| (node.id.clone(), node.is_folder()));
            at = match existing {
                Some((id, true)) => id,
                Some((_, false)) => return Err(taken(path)),
                None => {
                    let now = self.tick();
                    let made = self.drive_mut(drive)?.create(&at, name, None, Behavior::Fail, now);
                    made.map_err(|_| taken(path))?.0
                }
            };
        }
        Ok(at)
    }

    /// Gives the item another name in the same folder.
    ///
    /// # Errors
    /// As for [`write_file`](Self::write_file), if the name is taken.
    pub fn rename(&mut self, drive: &str, path: &str, name: &str) -> Result<()> {
        let node = self.node(drive, path)?;
        let (id, parent) = (node.id.clone(), node.parent.clone().unwrap_or_default());
        let now = self.tick();
        self.drive_mut(drive)?.relocate(&id, &parent, name, now).map_err(|_| taken(name))
    }

    /// Moves the item into the folder at `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// As for [`write_file`](Self::write_file), if the name is taken there.
    pub fn move_to(&mut self, drive: &str, path: &str, folder: &str) -> Result<()> {
        let parent = self.make_folder(drive, folder)?;
        let node = self.node(drive, path)?;
        let (id, name) = (node.id.clone(), node.name.clone());
        let now = self.tick();
        self.drive_mut(drive)?.relocate(&id, &parent, &name, now).map_err(|_| taken(path))
    }

    /// Deletes the item and all below it.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn delete(&mut self, drive: &str, path: &str) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.remove(&id, now);
        Ok(())
    }

    /// Deletes everything in the drive.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn wipe(&mut self, drive: &str) -> Result<()> {
        let now = self.tick();
        let drive = self.drive_mut(drive)?;
        let top: Vec<String> = drive.children(&drive.root).map(|node| node.id.clone()).collect();
        top.iter().for_each(|id| drive.remove(id, now));
        Ok(())
    }

    /// What ransomware does: overwrites every file with noise of the same length and renames it to `….locked`.
    /// Returns how many there were.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn encrypt_all(&mut self, drive: &str) -> Result<usize> {
        let paths: Vec<String> = self.files(drive)?;
        for path in &paths {
            let node = self.node(drive, path)?;
            let (id, parent, name) =
                (node.id.clone(), node.parent.clone().unwrap_or_default(), node.name.clone());
            let length = node.content.as_ref().map_or(0, Bytes::len);
            let mut noise = RANSOM_MAGIC.to_vec();
            noise.extend(self.rng.bytes(length));
            noise.truncate(length);
            let now = self.tick();
            let drive = self.drive_mut(drive)?;
            drive.set_content(&id, noise.into(), now);
            drive.relocate(&id, &parent, &format!("{name}.locked"), now).map_err(|_| taken(path))?;
        }
        Ok(paths.len())
    }

    /// Overwrites every file in place with noise of the same length, names unchanged. Returns how many there were.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn overwrite_all(&mut self, drive: &str) -> Result<usize> {
        let paths: Vec<String> = self.files(drive)?;
        for path in &paths {
            let node = self.node(drive, path)?;
            let (id, length) = (node.id.clone(), node.content.as_ref().map_or(0, Bytes::len));
            let noise = self.rng.bytes(length);
            let now = self.tick();
            self.drive_mut(drive)?.set_content(&id, noise.into(), now);
        }
        Ok(paths.len())
    }

    /// Sets an item's own times.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn set_times(
        &mut self,
        drive: &str,
        path: &str,
        created: Timestamp,
        modified: Timestamp,
    ) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.set_times(&id, Some(created), Some(modified), now);
        Ok(())
    }

    /// Makes the service announce a hash for the file that its content does not have.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn announce_hash(&mut self, drive: &str, path: &str, hash: &str) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.set_hash(&id, hash.to_owned(), now);
        Ok(())
    }

    /// A file's content.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota), also if there is a folder at the path.
    pub fn read_file(&self, drive: &str, path: &str) -> Result<Bytes> {
        let content = self.node(drive, path)?.content.clone();
        content.ok_or_else(|| Error::new(ErrorKind::NotFound, "a folder has no content").with_item(path))
    }

    /// An item's id.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn item_id(&self, drive: &str, path: &str) -> Result<String> {
        self.node(drive, path).map(|node| node.id.clone())
    }

    /// The paths of all items but the root, folders before what they contain.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn paths(&self, drive: &str) -> Result<Vec<String>> {
        Ok(self.walk(drive, "")?.into_iter().map(|(path, _)| path).collect())
    }

    /// The paths of all files.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn files(&self, drive: &str) -> Result<Vec<String>> {
        let files = self.walk(drive, "")?.into_iter().filter(|(_, node)| !node.is_folder());
        Ok(files.map(|(path, _)| path).collect())
    }

    /// A hash over paths, contents and times of everything in the drive. Equal if and only if the trees are equal;
    /// ids and the service's own times do not count.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn fingerprint(&self, drive: &str) -> Result<String> {
        self.fingerprint_below(drive, "")
    }

    /// As [`fingerprint`](Self::fingerprint), of what lies below one folder.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn fingerprint_below(&self, drive: &str, folder: &str) -> Result<String> {
        let mut hash = blake3::Hasher::new();
        for (path, node) in self.walk(drive, folder)? {
            let kind = if node.is_folder() { "folder" } else { "file" };
            let content = blake3::hash(node.content.as_deref().unwrap_or_default());
            let line = format!("{kind}\0{path}\0{}\0{}\0{content}\n", node.created, node.modified);
            hash.update(line.as_bytes());
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    pub(super) fn node(&self, drive: &str, path: &str) -> Result<&Node> {
        let node = self.drive_ref(drive)?.find("root", path);
        node.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing at this path").with_item(path))
    }

    pub(super) fn walk(&self, drive: &str, folder: &str) -> Result<Vec<(String, &Node)>> {
        let top = self.node(drive, folder)?;
        let drive = self.drive_ref(drive)?;
        let mut all = Vec::new();
        let mut open: Vec<(String, &Node)> = vec![(String::new(), top)];
        while let Some((path, node)) = open.pop() {
            let mut children: Vec<&Node> = drive.children(&node.id).collect();
            children.sort_by(|a, b| b.name.cmp(&a.name));
            let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
            open.extend(children.into_iter().map(|child| (format!("{prefix}{}", child.name), child)));
            if !path.is_empty() {
                all.push((path, node));
            }
        }
        Ok(all)
    }
}

fn split(path: &str) -> (&str, &str) {
    path.trim_matches('/').rsplit_once('/').unwrap_or(("", path.trim_matches('/')))
}

fn taken(path: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "the name is taken").with_item(path)
}
