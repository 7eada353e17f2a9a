//! Which collections are protected, how often and for how long, as data; and what follows from it now.
//!
//! It starts nothing, keeps no state and never asks what time it is: the embedder describes what there is and what was
//! done so far, and gets back what is due ([`Policy::plan`]) and what is protected ([`Policy::coverage`]). When to ask
//! again, and how many runs to do at a time, is the embedder's affair. `docs/retention.md` has an example.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::retention::Retention;

mod coverage;
mod matching;
mod plan;
#[cfg(test)]
mod tests;

pub use coverage::{Coverage, Excluded, Protected, Unprotected};
use matching::Matcher;
pub use matching::{Match, Protectable};
pub use plan::{Due, LastBackup, Plan};

/// Most rules of a policy.
const RULES_MAX: usize = 1_000;
/// Longest time between two backups, in minutes: ten years.
const EVERY_MINUTES_MAX: u32 = 10 * 366 * 24 * 60;

/// Rules in order; the first that matches a collection is the one that counts.
///
/// As data it is an object of the fields below. Unknown fields are refused: a rule that is misspelled must not protect
/// less than was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// The rules. What none of them matches is not protected, and [`coverage`](Self::coverage) says so.
    pub rules: Vec<Rule>,
}

/// How the collections that it matches are protected, or why they are not.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// What plans and reports call it; no two rules of a policy share a name.
    pub name: String,
    /// Which collections it is for.
    pub include: Match,
    /// Why these collections are not protected. With it, the rule excludes what it matches, and the fields below are at
    /// their defaults. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// Most minutes from one good backup to the next: how much work may be lost. At least 1, unless the rule excludes.
    #[serde(default)]
    pub every_minutes: u32,
    /// Minutes to wait after an attempt that failed; never longer than `every_minutes`. Default 15, at least 1.
    #[serde(default = "retry_minutes_default")]
    pub retry_minutes: u32,
    /// How long snapshots are kept. Default: for ever.
    #[serde(default)]
    pub retention: Retention,
}

const fn retry_minutes_default() -> u32 {
    15
}

impl Rule {
    /// Protects what `include` matches every so many minutes, and keeps everything.
    pub fn protect(name: impl Into<String>, include: Match, every_minutes: u32) -> Self {
        Self {
            name: name.into(),
            include,
            exclude: None,
            every_minutes,
            retry_minutes: retry_minutes_default(),
            retention: Retention::default(),
        }
    }

    /// Leaves out what `include` matches, for a reason that reports repeat.
    pub fn exclude(name: impl Into<String>, include: Match, reason: impl Into<String>) -> Self {
        Self { exclude: Some(reason.into()), ..Self::protect(name, include, 0) }
    }

    /// This rule with another retention.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// This rule with another time to wait after an attempt that failed.
    #[must_use]
    pub const fn with_retry_minutes(mut self, minutes: u32) -> Self {
        self.retry_minutes = minutes;
        self
    }

    /// Checks everything but the patterns.
    fn validate(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::invalid(what).with_item(self.name.clone()));
        if self.name.is_empty() {
            return wrong("a rule has no name");
        }
        match &self.exclude {
            Some(reason) if reason.trim().is_empty() => return wrong("a rule excludes without a reason"),
            Some(_) if *self != Self { exclude: self.exclude.clone(), ..self.bare() } => {
                return wrong("a rule excludes, but has a schedule or a retention too");
            }
            None if self.every_minutes == 0 || self.retry_minutes == 0 => {
                return wrong("a rule's every_minutes or retry_minutes is 0");
            }
            _ if self.every_minutes > EVERY_MINUTES_MAX => {
                return wrong("a rule's every_minutes is more than ten years");
            }
            _ => {}
        }
        self.retention.validate().map_err(|error| error.with_item(self.name.clone()))
    }

    /// A rule of the same name and collections with nothing else set.
    fn bare(&self) -> Self {
        Self::protect(self.name.clone(), self.include.clone(), 0)
    }
}

impl Policy {
    /// A policy of these rules, in this order.
    #[must_use]
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Checks the policy. Everything below does so too: a policy that is wrong in one place plans nothing rather than less
    /// than was meant.
    ///
    /// # Errors
    /// `InvalidArgument` naming the rule.
    pub fn validate(&self) -> Result<()> {
        self.compile().map(drop)
    }

    /// The rule of this name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The rule that counts for a collection. For many collections, [`coverage`](Self::coverage) is quicker.
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate).
    pub fn rule_for(&self, protectable: &Protectable) -> Result<Option<&Rule>> {
        Ok(self.compile()?.rule_for(protectable))
    }

    fn compile(&self) -> Result<Compiled<'_>> {
        if self.rules.len() > RULES_MAX {
            return Err(Error::invalid("a policy has more than 1,000 rules"));
        }
        let (mut names, mut rules) = (HashSet::new(), Vec::with_capacity(self.rules.len()));
        for rule in &self.rules {
            rule.validate()?;
            if !names.insert(rule.name.as_str()) {
                return Err(Error::invalid("two rules share a name").with_item(rule.name.clone()));
            }
            let matcher = Matcher::new(&rule.include).map_err(|error| error.with_item(rule.name.clone()))?;
            rules.push((rule, matcher));
        }
        Ok(Compiled { rules })
    }
}

/// A policy that was found to be right, with its patterns ready for use.
struct Compiled<'a> {
    rules: Vec<(&'a Rule, Matcher<'a>)>,
}

impl<'a> Compiled<'a> {
    fn rule_for(&self, protectable: &Protectable) -> Option<&'a Rule> {
        self.rules.iter().find(|(_, matcher)| matcher.fits(protectable)).map(|(rule, _)| *rule)
    }

    /// The collections with their rules. One that is listed twice counts once, as it is listed first.
    fn place<'l>(
        &self,
        listed: &'l [Protectable],
    ) -> impl Iterator<Item = (&'l Protectable, Option<&'a Rule>)> {
        let mut seen = HashSet::new();
        listed
            .iter()
            .filter(move |protectable| seen.insert(protectable.collection.id.as_str()))
            .map(move |protectable| (protectable, self.rule_for(protectable)))
    }
}
