//! Labels to look for, in retentions and policies.

use crate::error::{Error, Result};

/// A label to look for: of this name, with this value or with any.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LabelMatch {
    /// The label's name.
    pub name: String,
    /// The label's value; none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl LabelMatch {
    /// Labels of this name, with any value.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }

    /// Labels of this name and value.
    pub fn valued(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Whether one of these labels is meant.
    #[must_use]
    pub fn fits(&self, labels: &[(String, String)]) -> bool {
        labels.iter().any(|(name, value)| {
            *name == self.name && self.value.as_ref().is_none_or(|wanted| wanted == value)
        })
    }

    /// # Errors
    /// `InvalidArgument` if the name is empty.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.name.is_empty() { Err(Error::invalid("a label to look for has no name")) } else { Ok(()) }
    }
}
