//! Every drive of a tenant, each once: owners are listed a page at a time and asked for their drives in batches.
//!
//! The same drive is to be had from several owners: a group's library is also its site's, a OneDrive also belongs to a
//! personal site. It is reported with the first owner that named it, in the order in which the kinds were asked for.

use std::collections::{HashSet, VecDeque};

use backup_core::{Error, Result};
use futures_core::stream::BoxStream;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize as _;

use super::values::Listed;
use super::{Drive, Owner, OwnerKind, Site, drives_url, is_absent, subsites_url};
use crate::batch::{BatchReply, BatchRequest};
use crate::client::{GraphClient, with_permission};
use crate::limits::{BATCH_REQUESTS_MAX, BATCHES_AT_ONCE};
use crate::wire::{ErrorEnvelope, Page};

/// What a search for drives came upon.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found {
    /// A drive that was not reported before.
    Drive {
        /// Whose it is.
        owner: Owner,
        /// The drive.
        drive: Drive,
    },
    /// Somebody without a drive: never made, no licence for one, or gone since the listing.
    NoDrive {
        /// Who has none.
        owner: Owner,
    },
    /// The service refused to tell one owner's drives or subsites, such as those of a locked site. The search goes on.
    Failed {
        /// Whose drives are not known.
        owner: Owner,
        /// What the service said.
        error: Error,
    },
}

/// Where the search is.
struct Walk<'a> {
    client: &'a GraphClient,
    kinds: VecDeque<OwnerKind>,
    owners: BoxStream<'a, Result<Owner>>,
    /// Subsites that were found and not asked yet.
    subsites: VecDeque<Site>,
    sites_seen: HashSet<String>,
    drives_seen: HashSet<String>,
    ready: VecDeque<Found>,
}

/// What is asked of one owner.
#[derive(Clone, Copy)]
enum Question {
    Drives,
    Subsites,
}

impl GraphClient {
    /// Every drive that owners of these kinds have, each exactly once, with its owner; subsites at any depth included.
    ///
    /// Costs the listings of [`users`](Self::users), [`groups`](Self::groups) and [`sites`](Self::sites), one request
    /// for each user and each Microsoft 365 group and two for each site, twenty of these in one HTTP request and four
    /// such at a time; and memory for the id of every site and drive. Needs what these listings need; `Sites.Read.All`
    /// includes `Files.Read.All` here.
    ///
    /// # Errors
    /// As for [`users`](Self::users): a listing that fails ends the stream. What fails for a single owner is
    /// [`Found::Failed`].
    pub fn every_drive(&self, kinds: &[OwnerKind]) -> BoxStream<'_, Result<Found>> {
        let walk = Walk {
            client: self,
            kinds: kinds.iter().copied().collect(),
            owners: futures_util::stream::empty().boxed(),
            subsites: VecDeque::new(),
            sites_seen: HashSet::new(),
            drives_seen: HashSet::new(),
            ready: VecDeque::new(),
        };
        futures_util::stream::try_unfold(walk, |mut walk| async move {
            Ok(walk.next().await?.map(|found| (found, walk)))
        })
        .boxed()
    }

    fn owners(&self, kind: OwnerKind) -> BoxStream<'_, Result<Owner>> {
        match kind {
            OwnerKind::User => self.users().map_ok(Owner::User).boxed(),
            OwnerKind::Group => {
                let unified = self.groups().try_filter(|group| std::future::ready(group.is_unified()));
                unified.map_ok(Owner::Group).boxed()
            }
            OwnerKind::Site => self.sites().map_ok(Owner::Site).boxed(),
        }
    }
}

impl Walk<'_> {
    async fn next(&mut self) -> Result<Option<Found>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            let owners = self.gather().await?;
            if !owners.is_empty() {
                self.ask(owners).await?;
                continue;
            }
            let Some(kind) = self.kinds.pop_front() else { return Ok(None) };
            self.owners = self.client.owners(kind);
        }
    }

    /// As many owners as are asked at a time.
    async fn gather(&mut self) -> Result<Vec<Owner>> {
        let mut owners = Vec::new();
        let mut questions = 0;
        while questions < BATCH_REQUESTS_MAX * BATCHES_AT_ONCE {
            let owner = match self.subsites.pop_front() {
                Some(site) => Owner::Site(site),
                None => match self.owners.try_next().await? {
                    Some(Owner::Site(site)) if !self.sites_seen.insert(site.id.clone()) => continue,
                    Some(owner) => owner,
                    None => break,
                },
            };
            questions += questions_of(&owner).len();
            owners.push(owner);
        }
        Ok(owners)
    }

    async fn ask(&mut self, owners: Vec<Owner>) -> Result<()> {
        let asked: Vec<(usize, Question)> = owners
            .iter()
            .enumerate()
            .flat_map(|(index, owner)| questions_of(owner).iter().map(move |question| (index, *question)))
            .collect();
        let requests: Vec<BatchRequest> = asked
            .iter()
            .filter_map(|(index, question)| Some(request(owners.get(*index)?, *question)))
            .collect();
        let client = self.client;
        let batches = requests.chunks(BATCH_REQUESTS_MAX).map(|batch| client.batch(batch.to_vec()));
        let replies = try_join_all(batches).await?;
        let mut failed = HashSet::new();
        for ((index, question), reply) in asked.into_iter().zip(replies.into_iter().flatten()) {
            let Some(owner) = owners.get(index) else { continue };
            let outcome = match question {
                Question::Drives => self.take_drives(owner, &reply).await,
                Question::Subsites => self.take_subsites(&reply).await,
            };
            // One report of each owner is enough.
            if let Err(error) = outcome
                && failed.insert(index)
            {
                self.ready.push_back(Found::Failed { owner: owner.clone(), error });
            }
        }
        Ok(())
    }

    async fn take_drives(&mut self, owner: &Owner, reply: &BatchReply) -> Result<()> {
        let (drives, ended) = all::<Drive>(self.client, reply).await;
        if drives.is_empty() && ended.is_ok() {
            self.ready.push_back(Found::NoDrive { owner: owner.clone() });
        }
        for drive in drives {
            if self.drives_seen.insert(drive.id.clone()) {
                self.ready.push_back(Found::Drive { owner: owner.clone(), drive });
            }
        }
        ended
    }

    async fn take_subsites(&mut self, reply: &BatchReply) -> Result<()> {
        let (sites, ended) = all::<Site>(self.client, reply).await;
        for site in sites {
            if self.sites_seen.insert(site.id.clone()) {
                self.subsites.push_back(site);
            }
        }
        ended
    }
}

/// The entries of a batched listing, further pages included, and how it ended; none where there is nothing to list.
async fn all<T: Listed>(client: &GraphClient, reply: &BatchReply) -> (Vec<T>, Result<()>) {
    if reply.status().is_client_error() {
        let envelope = ErrorEnvelope::deserialize(reply.body()).unwrap_or_default();
        if is_absent(reply.status(), &envelope) {
            return (Vec::new(), Ok(()));
        }
    }
    let page: Page<T> = match reply.json() {
        Ok(page) => page,
        Err(error) => return (Vec::new(), Err(with_permission(error, T::PERMISSION))),
    };
    let mut all = page.value;
    let Some(next) = page.next_link else { return (all, Ok(())) };
    let mut rest = client.entries(&next);
    loop {
        match rest.try_next().await {
            Ok(Some(entry)) => all.push(entry),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

const fn questions_of(owner: &Owner) -> &'static [Question] {
    match owner {
        Owner::Site(_) => &[Question::Drives, Question::Subsites],
        _ => &[Question::Drives],
    }
}

fn request(owner: &Owner, question: Question) -> BatchRequest {
    BatchRequest::get(match question {
        Question::Drives => drives_url(owner.kind(), owner.id()),
        Question::Subsites => subsites_url(owner.id()),
    })
}
