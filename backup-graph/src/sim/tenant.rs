//! The simulated tenant: who may ask, which drives there are, and the hands of its users and attackers.
//!
//! Everything here is a value in memory; nothing asks the time or the system. The tenant has a clock of its own that
//! every change moves on by a second and that requests set to their time, so the same calls give the same tenant.

use std::collections::BTreeMap;

use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;

use super::budget::Meter;
use super::directory::Directory;
use super::drive::Drive;
use super::rng::Rng;
use super::rules::{Hosts, Rules};
use super::sign_in::{Application, Issued};
use super::upload::Upload;

/// Monday morning, when the simulated company starts to work.
const START: Timestamp = Timestamp::new(1_767_603_600, 0);

/// A tenant in memory.
#[derive(Debug)]
pub struct Tenant {
    pub(super) id: String,
    pub(super) hosts: Hosts,
    pub(super) key: [u8; 32],
    pub(super) applications: BTreeMap<String, Application>,
    pub(super) tokens: BTreeMap<String, Issued>,
    /// The claims that the next token must be asked for with; until then none works.
    pub(super) demanded: Option<String>,
    pub(super) directory: Directory,
    pub(super) meter: Meter,
    pub(super) mails_sent: u64,
    /// Numbers the answers: their ids must not use up the seed's sequence.
    pub(super) answers: u64,
    /// The ids of the answer under way: the service's and the client's.
    pub(super) answering: (String, String),
    pub(super) uploads: BTreeMap<String, Upload>,
    pub(super) drives: BTreeMap<String, Drive>,
    pub(super) rules: Rules,
    pub(super) rng: Rng,
    clock: Timestamp,
}

impl Tenant {
    /// A tenant with nothing but its root site. The seed decides all its ids.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut key = [0; 32];
        key.copy_from_slice(&rng.bytes(32));
        Self {
            id: format!("{:08x}-0000-4000-8000-{:012x}", rng.below(1 << 32), rng.below(1 << 48)),
            hosts: Hosts::default(),
            key,
            applications: BTreeMap::new(),
            tokens: BTreeMap::new(),
            demanded: None,
            uploads: BTreeMap::new(),
            drives: BTreeMap::new(),
            rules: Rules::default(),
            rng,
            directory: Directory::default(),
            meter: Meter::default(),
            mails_sent: 0,
            answers: 0,
            answering: Default::default(),
            clock: START,
        }
    }

    /// The directory id, for the token endpoint.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the services are.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Moves the services elsewhere. Links that were given out before lead nowhere then.
    pub fn set_hosts(&mut self, hosts: Hosts) {
        self.hosts = hosts;
    }

    /// How the tenant behaves.
    pub fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// The tenant's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock
    }

    /// Sets the tenant's clock on; it never goes back. It counts whole seconds, as the service's times do.
    pub fn advance_to(&mut self, now: Timestamp) {
        self.clock = self.clock.max(Timestamp::new(now.seconds(), 0));
    }

    /// What is kept of a file that is sent.
    pub(super) fn stored(&self, name: &str, content: Bytes) -> Bytes {
        let office = [".docx", ".xlsx", ".pptx"].iter().any(|end| name.to_lowercase().ends_with(end));
        if office && self.rules.enrich_office_files {
            [&content[..], b"docProps"].concat().into()
        } else {
            content
        }
    }

    /// Moves the clock on, so that each change has its own time.
    pub(super) fn tick(&mut self) -> Timestamp {
        self.clock = Timestamp::new(self.clock.seconds() + 1, 0);
        self.clock
    }

    pub(super) fn drive_ref(&self, drive: &str) -> Result<&Drive> {
        self.drives
            .get(drive)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such drive").with_item(drive))
    }

    pub(super) fn drive_mut(&mut self, drive: &str) -> Result<&mut Drive> {
        self.drives
            .get_mut(drive)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such drive").with_item(drive))
    }
}
