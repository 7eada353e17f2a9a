//! One simulated drive: a tree of items, and the append-only log of what happened to them.

use std::collections::BTreeMap;

use backup_core::Timestamp;
use bytes::Bytes;

use super::rng::Rng;
use crate::hash::QuickXorHash;

/// An item of a drive, as the service keeps it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    /// None for a folder.
    pub(super) content: Option<Bytes>,
    /// The hash that the service announces: that of the content, unless a test wants the service to be wrong.
    pub(super) hash: String,
    /// The client's times (`fileSystemInfo`).
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// The service's times.
    pub(super) created_here: Timestamp,
    pub(super) modified_here: Timestamp,
    /// Counts every change.
    pub(super) version: u32,
    /// Counts changes of the content.
    pub(super) content_version: u32,
    /// Position in a full enumeration.
    ordinal: u64,
}

impl Node {
    pub(super) fn is_folder(&self) -> bool {
        self.content.is_none()
    }

    pub(super) fn size(&self) -> u64 {
        self.content.as_ref().map_or(0, Bytes::len) as u64
    }
}

/// What to do if a name is taken, as the service calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behavior {
    Fail,
    Replace,
    Rename,
}

/// The name is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken;

#[derive(Debug)]
pub(super) struct Drive {
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) root: String,
    pub(super) quota_bytes: Option<u64>,
    /// Positions of an earlier epoch are forgotten.
    pub(super) epoch: u32,
    items: BTreeMap<String, Node>,
    /// Ids by parent and lower-case name: names are unique regardless of case.
    names: BTreeMap<(String, String), String>,
    order: BTreeMap<u64, String>,
    log: Vec<String>,
    ordinal: u64,
    rng: Rng,
}

impl Drive {
    pub(super) fn new(id: String, owner: &str, mut rng: Rng, now: Timestamp) -> Self {
        let root = format!("01{}", rng.identifier(32));
        let mut drive = Self {
            id,
            owner: owner.to_owned(),
            root: root.clone(),
            quota_bytes: None,
            epoch: 0,
            items: BTreeMap::new(),
            names: BTreeMap::new(),
            order: BTreeMap::new(),
            log: Vec::new(),
            ordinal: 0,
            rng,
        };
        drive.insert(root, None, "root".to_owned(), None, now);
        drive
    }

    pub(super) fn node(&self, id: &str) -> Option<&Node> {
        self.items.get(if id == "root" { self.root.as_str() } else { id })
    }

    pub(super) fn child(&self, parent: &str, name: &str) -> Option<&Node> {
        self.items.get(self.names.get(&(parent.to_owned(), name.to_lowercase()))?)
    }

    /// Children in the order of their lower-case names.
    pub(super) fn children<'a>(&'a self, parent: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
        let parent = parent.to_owned();
        let from = (parent.clone(), String::new());
        let range = self.names.range(from..).take_while(move |((of, _), _)| *of == parent);
        range.filter_map(|(_, id)| self.items.get(id))
    }

    /// The item at a path relative to `from`; empty segments are skipped.
    pub(super) fn find(&self, from: &str, path: &str) -> Option<&Node> {
        let start = self.node(from)?;
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(start, |node, name| self.child(&node.id, name))
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.items.values().map(Node::size).sum()
    }

    pub(super) fn has_room(&self, more_bytes: u64) -> bool {
        self.quota_bytes.is_none_or(|quota| self.used_bytes().saturating_add(more_bytes) <= quota)
    }

    /// Where the change log ends now.
    pub(super) fn log_end(&self) -> usize {
        self.log.len()
    }

    pub(super) fn log_from(&self, position: usize) -> &[String] {
        self.log.get(position..).unwrap_or(&[])
    }

    /// Items in the order of a full enumeration, after the given position.
    pub(super) fn enumerate_after(&self, ordinal: u64) -> impl Iterator<Item = (u64, &Node)> {
        let after = self.order.range(ordinal.saturating_add(1)..);
        after.filter_map(|(ordinal, id)| self.items.get(id).map(|node| (*ordinal, node)))
    }

    /// Creates a folder, or a file if there is content. `parent` must be a folder. Returns the id, and whether it is new.
    pub(super) fn create(
        &mut self,
        parent: &str,
        name: &str,
        content: Option<Bytes>,
        behavior: Behavior,
        now: Timestamp,
    ) -> Result<(String, bool), Taken> {
        let existing = self.child(parent, name).map(|node| (node.id.clone(), node.is_folder()));
        let name = match (existing, behavior, &content) {
            (None, ..) => name.to_owned(),
            (Some(_), Behavior::Rename, _) => self.free_name(parent, name),
            (Some((id, false)), Behavior::Replace, Some(bytes)) => {
                self.set_content(&id, bytes.clone(), now);
                return Ok((id, false));
            }
            _ => return Err(Taken),
        };
        let id = format!("01{}", self.rng.identifier(32));
        self.insert(id.clone(), Some(parent.to_owned()), name, content, now);
        Ok((id, true))
    }

    pub(super) fn set_content(&mut self, id: &str, content: Bytes, now: Timestamp) {
        self.change(id, now, |node| {
            node.hash = QuickXorHash::of(&content);
            node.content = Some(content);
            node.content_version += 1;
            node.modified = now;
        });
    }

    pub(super) fn set_hash(&mut self, id: &str, hash: String, now: Timestamp) {
        self.change(id, now, |node| node.hash = hash);
    }

    pub(super) fn set_times(
        &mut self,
        id: &str,
        created: Option<Timestamp>,
        modified: Option<Timestamp>,
        now: Timestamp,
    ) {
        if created.is_none() && modified.is_none() {
            return;
        }
        self.change(id, now, |node| {
            node.created = created.unwrap_or(node.created);
            node.modified = modified.unwrap_or(node.modified);
        });
    }

    /// Gives the item another name, another folder, or both.
    pub(super) fn relocate(
        &mut self,
        id: &str,
        parent: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<(), Taken> {
        if self.child(parent, name).is_some_and(|node| node.id != id)
            || self.is_within(parent, id)
            || id == self.root
        {
            return Err(Taken);
        }
        if let Some(node) = self.items.get(id) {
            self.names.remove(&key_of(node));
        }
        self.change(id, now, |node| {
            node.parent = Some(parent.to_owned());
            node.name = name.to_owned();
        });
        if let Some(node) = self.items.get(id) {
            self.names.insert(key_of(node), id.to_owned());
        }
        Ok(())
    }

    /// Removes the item and all below it. As with the real service, the log names only the item itself.
    pub(super) fn remove(&mut self, id: &str) {
        let below: Vec<String> = self.children(id).map(|node| node.id.clone()).collect();
        below.iter().for_each(|child| self.forget(child));
        self.forget(id);
        self.log.push(id.to_owned());
    }

    fn forget(&mut self, id: &str) {
        let below: Vec<String> = self.children(id).map(|node| node.id.clone()).collect();
        below.iter().for_each(|child| self.forget(child));
        if let Some(node) = self.items.remove(id) {
            self.names.remove(&key_of(&node));
            self.order.remove(&node.ordinal);
        }
    }

    fn insert(
        &mut self,
        id: String,
        parent: Option<String>,
        name: String,
        content: Option<Bytes>,
        now: Timestamp,
    ) {
        self.ordinal += 1;
        let node = Node {
            id: id.clone(),
            parent,
            name,
            hash: content.as_deref().map(QuickXorHash::of).unwrap_or_default(),
            content,
            created: now,
            modified: now,
            created_here: now,
            modified_here: now,
            version: 1,
            content_version: 1,
            ordinal: self.ordinal,
        };
        self.names.insert(key_of(&node), id.clone());
        self.order.insert(self.ordinal, id.clone());
        self.items.insert(id.clone(), node);
        self.log.push(id);
    }

    fn change(&mut self, id: &str, now: Timestamp, how: impl FnOnce(&mut Node)) {
        if let Some(node) = self.items.get_mut(id) {
            how(node);
            node.version += 1;
            node.modified_here = now;
            self.log.push(id.to_owned());
        }
    }

    fn is_within(&self, id: &str, ancestor: &str) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.items.get(id).and_then(|node| node.parent.as_deref());
        }
        false
    }

    /// `report.docx` becomes `report 1.docx`, or the first number that is free.
    fn free_name(&self, parent: &str, name: &str) -> String {
        let (stem, extension) =
            name.rfind('.').filter(|dot| *dot > 0).map_or((name, ""), |dot| name.split_at(dot));
        let mut number = 1u32;
        loop {
            let candidate = format!("{stem} {number}{extension}");
            if self.child(parent, &candidate).is_none() {
                return candidate;
            }
            number += 1;
        }
    }
}

fn key_of(node: &Node) -> (String, String) {
    (node.parent.clone().unwrap_or_default(), node.name.to_lowercase())
}
