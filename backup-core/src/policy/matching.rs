//! What can be protected, as the embedder describes it, and which of it a rule is for.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};
use crate::item::Collection;
use crate::retention::LabelMatch;

/// Most entries in one list of a match.
const ENTRIES_MAX: usize = 1_000;

/// A collection that can be protected, described by the embedder.
///
/// As data it is an object of the fields below, of which all but `collection` may be left out. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Protectable {
    /// Which one it is.
    pub collection: Collection,
    /// Where people find it: `Sites/Marketing/Documents`. May be empty.
    #[serde(default)]
    pub path: String,
    /// Groups that it or its owner belongs to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Names and values of the embedder's own.
    #[serde(default)]
    pub labels: Vec<(String, String)>,
    /// How large it is, where known; reports repeat it.
    #[serde(default)]
    pub bytes: Option<u64>,
}

impl Protectable {
    /// A collection without groups and labels, of unknown size.
    pub fn new(collection: Collection, path: impl Into<String>) -> Self {
        Self { collection, path: path.into(), groups: Vec::new(), labels: Vec::new(), bytes: None }
    }

    /// This collection with one more group.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// This collection with one more label.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// This collection, so many bytes large.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}

/// Which collections a rule is for: those that fit an entry of every list that is not empty. With all lists empty, all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Match {
    /// Kinds: `drive`, `mailbox` ...
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Patterns of collection ids: `drive:*`. An id is no path, so `*` and `?` stand for any characters, `/` too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Patterns of paths: `Sites/*/Documents`, `Users/**`. Only `**` goes beyond a `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelMatch>,
}

impl Match {
    /// All collections.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Collections of this kind too.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<String>) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// Collections whose id fits this pattern too.
    #[must_use]
    pub fn with_id(mut self, pattern: impl Into<String>) -> Self {
        self.ids.push(pattern.into());
        self
    }

    /// Collections whose path fits this pattern too.
    #[must_use]
    pub fn with_path(mut self, pattern: impl Into<String>) -> Self {
        self.paths.push(pattern.into());
        self
    }

    /// Collections of this group too.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Collections with this label too.
    #[must_use]
    pub fn with_label(mut self, label: LabelMatch) -> Self {
        self.labels.push(label);
        self
    }
}

/// A match with its patterns ready for use.
pub(super) struct Matcher<'a> {
    of: &'a Match,
    ids: GlobSet,
    paths: GlobSet,
}

impl<'a> Matcher<'a> {
    /// # Errors
    /// `InvalidArgument` if a pattern does not parse, a label has no name or a list is too long.
    pub(super) fn new(of: &'a Match) -> Result<Self> {
        let Match { kinds, ids, paths, groups, labels } = of;
        let lengths = [kinds.len(), ids.len(), paths.len(), groups.len(), labels.len()];
        if lengths.into_iter().any(|length| length > ENTRIES_MAX) {
            return Err(Error::invalid("a rule's list has more than 1,000 entries"));
        }
        labels.iter().try_for_each(LabelMatch::validate)?;
        let paths = paths.iter().map(|path| path.trim_matches('/'));
        Ok(Self { of, ids: set(ids.iter().map(String::as_str), false)?, paths: set(paths, true)? })
    }

    pub(super) fn fits(&self, protectable: &Protectable) -> bool {
        let Protectable { collection, path, groups, labels, .. } = protectable;
        let of = self.of;
        (of.kinds.is_empty() || of.kinds.contains(&collection.kind))
            && (of.groups.is_empty() || of.groups.iter().any(|group| groups.contains(group)))
            && (of.labels.is_empty() || of.labels.iter().any(|label| label.fits(labels)))
            && (of.ids.is_empty() || self.ids.is_match(&collection.id))
            && (of.paths.is_empty() || self.paths.is_match(path.trim_matches('/')))
    }
}

fn set<'p>(patterns: impl Iterator<Item = &'p str>, separator: bool) -> Result<GlobSet> {
    // The rule is what the error names in the end; the pattern has to be in the line.
    let wrong = |pattern: &str, error: globset::Error| {
        Error::invalid(format!("a rule's pattern does not parse: {pattern}")).with_source(error)
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(separator).backslash_escape(true).build();
        set.add(glob.map_err(|error| wrong(pattern, error))?);
    }
    set.build().map_err(|error| wrong("all together", error))
}
