//! One simulated drive: a tree of items, and the append-only log of what happened to them.

use std::collections::BTreeMap;

use backup_core::Timestamp;
use bytes::Bytes;

use super::node::{Facets, Identity, Node, Stamp, Version};
use super::rng::Rng;
use super::sharing::{Grant, What};
use crate::hash::QuickXorHash;

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

/// An entry of the change log.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    /// Only permissions changed.
    pub(super) sharing: bool,
    pub(super) at: Timestamp,
}

/// Most earlier contents of one file, as libraries are set up by default.
const VERSIONS_MAX: usize = 500;

#[derive(Debug)]
pub(super) struct Drive {
    pub(super) id: String,
    pub(super) owner: Identity,
    pub(super) name: String,
    /// `business`, or `documentLibrary` for those of sites and groups.
    pub(super) kind: &'static str,
    /// Columns of the library besides the ones that every library has.
    pub(super) columns: Vec<String>,
    pub(super) created: Timestamp,
    pub(super) root: String,
    pub(super) quota_bytes: Option<u64>,
    /// Positions of an earlier epoch are forgotten.
    pub(super) epoch: u32,
    items: BTreeMap<String, Node>,
    /// Ids by parent and lower-case name: names are unique regardless of case.
    names: BTreeMap<(String, String), String>,
    order: BTreeMap<u64, String>,
    log: Vec<Entry>,
    ordinal: u64,
    rng: Rng,
}

impl Drive {
    pub(super) fn new(id: String, owner: Identity, mut rng: Rng, now: Timestamp) -> Self {
        let root = format!("01{}", rng.identifier(32));
        let mut drive = Self {
            id,
            owner: owner.clone(),
            name: "OneDrive".to_owned(),
            kind: "business",
            columns: vec!["Title".to_owned()],
            created: now,
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
        drive.insert(root.clone(), None, "root".to_owned(), None, now.into());
        let id = drive.rng.identifier(24);
        if let Some(top) = drive.items.get_mut(&root) {
            top.inherits = false;
            top.grants.push(Grant {
                id,
                roles: vec!["owner".to_owned()],
                expires: None,
                what: What::Direct(owner),
            });
        }
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

    /// The item and everything below it, in no order.
    pub(super) fn below<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        let mut open = vec![node];
        std::iter::from_fn(move || {
            let node = open.pop()?;
            open.extend(self.children(&node.id));
            Some(node)
        })
    }

    /// Whether the application lost sight of a folder above the item.
    pub(super) fn is_below_hidden(&self, node: &Node) -> bool {
        let above = |node: &Node| node.parent.as_deref().and_then(|parent| self.node(parent));
        std::iter::successors(above(node), |node| above(node)).any(|node| node.facets.hidden)
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

    pub(super) fn log_from(&self, position: usize) -> &[Entry] {
        self.log.get(position..).unwrap_or(&[])
    }

    /// The position of the first entry that is not older.
    pub(super) fn log_since(&self, time: Timestamp) -> usize {
        self.log.partition_point(|entry| entry.at < time)
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
        stamp: impl Into<Stamp>,
    ) -> Result<(String, bool), Taken> {
        let stamp = stamp.into();
        let existing = self.child(parent, name).map(|node| (node.id.clone(), node.is_folder()));
        let name = match (existing, behavior, &content) {
            (None, ..) => name.to_owned(),
            (Some(_), Behavior::Rename, _) => self.free_name(parent, name),
            (Some((id, false)), Behavior::Replace, Some(bytes)) => {
                self.set_content(&id, bytes.clone(), stamp);
                return Ok((id, false));
            }
            _ => return Err(Taken),
        };
        let id = format!("01{}", self.rng.identifier(32));
        self.insert(id.clone(), Some(parent.to_owned()), name, content, stamp);
        Ok((id, true))
    }

    pub(super) fn set_content(&mut self, id: &str, content: Bytes, stamp: impl Into<Stamp>) {
        let stamp = stamp.into();
        let at = stamp.at;
        self.change(id, stamp, |node| {
            if let Some(former) = node.content.take() {
                let (number, modified_here) = (node.content_version, node.modified_here);
                let modified_by = node.modified_by.clone();
                node.history.push(Version { number, content: former, modified_here, modified_by });
                let surplus = node.history.len().saturating_sub(VERSIONS_MAX);
                node.history.drain(..surplus);
            }
            node.hash = QuickXorHash::of(&content);
            node.content = Some(content);
            node.content_version += 1;
            node.modified = at;
        });
    }

    pub(super) fn set_hash(&mut self, id: &str, hash: String, now: Timestamp) {
        self.change(id, now.into(), |node| node.hash = hash);
    }

    pub(super) fn set_times(
        &mut self,
        id: &str,
        created: Option<Timestamp>,
        modified: Option<Timestamp>,
        stamp: impl Into<Stamp>,
    ) {
        if created.is_none() && modified.is_none() {
            return;
        }
        self.change(id, stamp.into(), |node| {
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
        stamp: impl Into<Stamp>,
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
        self.change(id, stamp.into(), |node| {
            node.parent = Some(parent.to_owned());
            node.name = name.to_owned();
        });
        if let Some(node) = self.items.get(id) {
            self.names.insert(key_of(node), id.to_owned());
        }
        Ok(())
    }

    /// Removes the item and all below it. As with the real service, the log names only the item itself.
    pub(super) fn remove(&mut self, id: &str, now: Timestamp) {
        let below: Vec<String> = self.children(id).map(|node| node.id.clone()).collect();
        below.iter().for_each(|child| self.forget(child));
        self.forget(id);
        self.log.push(Entry { id: id.to_owned(), sharing: false, at: now });
    }

    /// Changes who may see the item: neither its version nor its times move.
    pub(super) fn reshare(&mut self, id: &str, now: Timestamp, how: impl FnOnce(&mut Node)) {
        if let Some(node) = self.items.get_mut(id) {
            how(node);
            self.log.push(Entry { id: id.to_owned(), sharing: true, at: now });
        }
    }

    /// Changes what the service does about the item, which is no change of it: nothing is logged.
    pub(super) fn amend(&mut self, id: &str, how: impl FnOnce(&mut Node)) {
        if let Some(node) = self.items.get_mut(id) {
            how(node);
        }
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
        stamp: Stamp,
    ) {
        let now = stamp.at;
        let by = stamp.by.unwrap_or_else(|| self.owner.clone());
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
            created_by: by.clone(),
            modified_by: by,
            version: 1,
            content_version: 1,
            history: Vec::new(),
            grants: Vec::new(),
            inherits: true,
            fields: serde_json::Map::new(),
            facets: Facets::default(),
            ordinal: self.ordinal,
        };
        self.names.insert(key_of(&node), id.clone());
        self.order.insert(self.ordinal, id.clone());
        self.items.insert(id.clone(), node);
        self.log.push(Entry { id, sharing: false, at: now });
    }

    /// Changes the item as somebody's act: a new version of it, in the log.
    pub(super) fn change(&mut self, id: &str, stamp: Stamp, how: impl FnOnce(&mut Node)) {
        let by = stamp.by.unwrap_or_else(|| self.owner.clone());
        if let Some(node) = self.items.get_mut(id) {
            how(node);
            node.version += 1;
            node.modified_here = stamp.at;
            node.modified_by = by;
            self.log.push(Entry { id: id.to_owned(), sharing: false, at: stamp.at });
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
