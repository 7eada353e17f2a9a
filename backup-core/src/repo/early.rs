//! What an opening reads at once, before it knows that it wants it: listings, then log objects beside the key slot that opens them. One after the
//! other these would take most of an opening's time in a store that is far away. Nothing is believed for having been read early: whoever uses it
//! opens and checks it as if it came now, and what was not had is read in the ordinary way, which says what is wrong.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join};
use futures_util::{StreamExt, stream};

use super::log::{Head, number_of};
use crate::crypto::ObjectName;
use crate::error::{ErrorKind, Result};
use crate::store::{Key, Store};

/// Objects that are read at the same time, how many there are at most, and what they may have in memory, in bytes as listed.
const READS: usize = 32;
const OBJECTS_MAX: usize = 96;
const BYTES_MAX: u64 = 4 << 20;

/// Numbers and lengths of the objects that a listing shows, ascending.
type Listed = Vec<(u64, u64)>;

/// What was read before it was known to be wanted.
#[derive(Default)]
pub(super) struct Early {
    checkpoints: Option<Listed>,
    log: Option<Listed>,
    /// Objects as they are stored; none for one that was not there, after the listing.
    objects: HashMap<ObjectName, Option<Bytes>>,
}

impl Early {
    /// Lists checkpoints and log.
    pub(super) async fn list(store: &dyn Store) -> Self {
        let (checkpoints, log) = join(listed(store, "checkpoint"), listed(store, "log")).await;
        Self { checkpoints: checkpoints.ok(), log: log.ok(), objects: HashMap::new() }
    }

    /// Lists the log for whoever has followed it up to an entry, and tries the next one meanwhile.
    pub(super) async fn list_after(store: &dyn Store, number: u64) -> Self {
        let next = ObjectName::Log(number + 1);
        let (log, read) = join(listed(store, "log"), read(store, next)).await;
        let mut early = Self { log: log.ok(), ..Self::default() };
        let newest = early.newest_listed();
        // It may have come between the read and the listing: only if neither shows it, it was not there when this began.
        if let Some((_, read)) =
            read.filter(|(_, read)| read.is_some() || newest.is_some_and(|newest| newest <= number))
        {
            early.objects.insert(next, read);
        }
        early
    }

    /// Reads what an opening is going to want of what is listed: the newest checkpoint, the entries behind it, the one that may have come since,
    /// and the one that is known from before.
    pub(super) async fn read(mut self, store: &dyn Store, known: Option<Head>) -> Self {
        let Some(log) = &self.log else { return self };
        let checkpoint = self.checkpoints.as_ref().and_then(|listed| listed.last().copied());
        let first = checkpoint.map_or(0, |(number, _)| number + 1);
        let next = log.last().map(|(number, _)| number + 1).filter(|next| *next >= first);
        let entries = log
            .iter()
            .copied()
            .filter(|(number, _)| *number >= first)
            .map(|(number, len)| (ObjectName::Log(number), len));
        let wanted = (checkpoint.map(|(number, len)| (ObjectName::Checkpoint(number), len)).into_iter())
            .chain(known.filter(|head| head.number < first).map(|head| (ObjectName::Log(head.number), 0)))
            .chain(entries)
            .chain(next.map(|number| (ObjectName::Log(number), 0)));
        let mut bytes = 0u64;
        let wanted = wanted.take(OBJECTS_MAX).take_while(|(_, len)| {
            bytes = bytes.saturating_add(*len);
            bytes <= BYTES_MAX
        });
        let reads: Vec<_> =
            wanted.map(|(name, _)| -> BoxFuture<'_, _> { Box::pin(read(store, name)) }).collect();
        let mut reads = stream::iter(reads).buffer_unordered(READS);
        while let Some(read) = reads.next().await {
            self.objects.extend(read);
        }
        drop(reads);
        self
    }

    /// What was listed of the checkpoints, if it was; given once.
    pub(super) fn take_checkpoints(&mut self) -> Option<Vec<u64>> {
        let listed = self.checkpoints.take()?;
        Some(listed.into_iter().map(|(number, _)| number).collect())
    }

    /// The newest entry that was listed, if the log was; zero for an empty listing.
    pub(super) fn newest_listed(&self) -> Option<u64> {
        self.log.as_ref().map(|listed| listed.last().map_or(0, |(number, _)| *number))
    }

    /// An object as it was read, none for one that was not there; nothing if it was not read.
    #[expect(clippy::option_option, reason = "not known, not there, or there")]
    pub(super) fn object(&self, name: ObjectName) -> Option<Option<Bytes>> {
        self.objects.get(&name).cloned()
    }
}

/// The objects that a listing shows below `log` or `checkpoint`. Foreign names are ignored.
pub(super) async fn listed(store: &dyn Store, prefix: &str) -> Result<Listed> {
    let prefix = Key::known(prefix.to_owned());
    let (mut numbers, mut entries) = (Vec::new(), store.list(&prefix));
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        numbers.extend(number_of(&entry.key).map(|number| (number, entry.size)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// An object, if it can be known now whether it is there.
async fn read(store: &dyn Store, name: ObjectName) -> Option<(ObjectName, Option<Bytes>)> {
    match store.read(&name.key(), None).await {
        Ok(bytes) => Some((name, Some(bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Some((name, None)),
        Err(_) => None,
    }
}
