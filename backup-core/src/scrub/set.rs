//! Sets of parity as they lie in a store: finding, checking and rebuilding what belongs to one.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::replace::found;
use crate::crypto::{ObjectName, object_hash};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::parity::{BlockHash, PREFIX_LEN, ParityHead, read_prefix, write_prefix};
use crate::id::{ObjectId, PublicKey};
use crate::parity;
use crate::store::{Entry, Key, Store};

/// Bytes of a parity object that are read for its head in the first go: those of a set of twenty packs have 60 KiB.
const HEAD_READ_BYTES: u64 = 128 << 10;
/// Bytes of one object that are held while it is checked.
const WINDOW_BYTES: u64 = 16 << 20;
/// Blocks read at the same time.
const CONCURRENCY: usize = 16;

/// All sets of which anything is listed, with what is.
pub(crate) async fn list_sets(store: &dyn Store) -> Result<BTreeMap<ObjectId, Vec<Entry>>> {
    let prefix = Key::known("parity".to_owned());
    let (mut sets, mut entries) = (BTreeMap::<_, Vec<Entry>>::new(), store.list(&prefix));
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let mut names = entry.key.as_str().split('/').skip(1);
        let id = names.next().and_then(|id| id.parse::<ObjectId>().ok());
        let number = names.next().and_then(|number| u8::from_str_radix(number, 16).ok());
        if let Some((id, number)) = id.zip(number)
            && ObjectName::Parity(id, number).key() == entry.key
        {
            sets.entry(id).or_default().push(entry);
        }
    }
    Ok(sets)
}

/// One set: what its objects say of it, the same in each of them.
pub(crate) struct Set {
    pub(crate) head: ParityHead,
    /// The head with its signature, as stored.
    signed: Bytes,
}

/// A member, or a parity object: what blocks are checked and rebuilt of.
struct Part<'a> {
    key: Key,
    /// Bytes before the first block.
    skip: u64,
    len: u64,
    hashes: &'a [BlockHash],
}

/// How an object was found.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) key: Key,
    pub(crate) is_missing: bool,
    /// Whether all that is not in a block is right: its length, and the head of a parity object.
    pub(crate) is_framed: bool,
    /// Of each block, whether it is damaged.
    pub(crate) bad: Vec<bool>,
}

impl Condition {
    pub(crate) fn is_sound(&self) -> bool {
        self.is_framed && !self.bad.contains(&true)
    }
}

impl Set {
    pub(super) const fn new(head: ParityHead, signed: Bytes) -> Self {
        Self { head, signed }
    }

    /// Reads what a set says of itself, from the first of its objects that is not damaged there.
    ///
    /// # Errors
    /// `Corrupt` if none is, or what the store reports.
    pub(crate) async fn read(
        store: &dyn Store,
        id: ObjectId,
        listed: &[Entry],
        key: &PublicKey,
    ) -> Result<Self> {
        let mut failure = None;
        for entry in listed {
            match Self::read_one(store, &entry.key, entry.size, key).await {
                Ok(set) if set.head.set == id => return Ok(set),
                Ok(_) => failure = Some(Error::corrupt("parity has another name than it was written under")),
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        let gone = || Error::new(ErrorKind::NotFound, "the set of parity is gone");
        Err(failure.unwrap_or_else(gone).with_item(format!("parity/{id}")))
    }

    /// Whether all its objects are listed in full length.
    pub(crate) fn is_whole(&self, listed: &[Entry]) -> bool {
        let len = (PREFIX_LEN + self.signed.len()) as u64 + self.head.len;
        listed.len() == self.head.parity.len() && listed.iter().all(|entry| entry.size == len)
    }

    /// The objects that it protects.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Key> {
        self.head.members.iter().map(|member| &member.key)
    }

    async fn read_one(store: &dyn Store, key: &Key, size: u64, public: &PublicKey) -> Result<Self> {
        let short = || Error::corrupt("parity ends too early");
        let mut bytes = store.read(key, Some(0..size.min(HEAD_READ_BYTES))).await?;
        let (_, head_len) = read_prefix(&bytes)?;
        let end = PREFIX_LEN.saturating_add(head_len);
        if end > bytes.len() {
            if end as u64 > size {
                return Err(short());
            }
            bytes = store.read(key, Some(0..end as u64)).await?;
        }
        let signed = bytes.get(PREFIX_LEN..end).ok_or_else(short)?;
        Ok(Self { head: ParityHead::decode(signed, public)?, signed: Bytes::copy_from_slice(signed) })
    }

    /// What a parity object begins with.
    pub(super) fn beginning(&self, number: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PREFIX_LEN + self.signed.len());
        write_prefix(&mut bytes, u8::try_from(number).unwrap_or(u8::MAX), self.signed.len());
        bytes.extend_from_slice(&self.signed);
        bytes
    }

    /// Members, then parity.
    fn parts(&self) -> Vec<Part<'_>> {
        let members = self.head.members.iter().map(|member| Part {
            key: member.key.clone(),
            skip: 0,
            len: member.len,
            hashes: &member.blocks,
        });
        let parity = self.head.parity.iter().enumerate().map(|(number, hashes)| Part {
            key: self.head.name(number).key(),
            skip: (PREFIX_LEN + self.signed.len()) as u64,
            len: self.head.len,
            hashes,
        });
        members.chain(parity).collect()
    }

    /// Reads everything that belongs to the set; the bytes read, and how members, then parity objects, are.
    pub(crate) async fn check(&self, store: &dyn Store, env: &Env) -> Result<(u64, Vec<Condition>)> {
        let (mut read, mut conditions) = (0, Vec::new());
        for (number, part) in self.parts().iter().enumerate() {
            let mut condition = self.check_part(store, env, number, part, &mut read).await?;
            if !condition.is_missing && !condition.is_sound() {
                // Perhaps only the download was bad.
                condition = self.check_part(store, env, number, part, &mut read).await?;
            }
            conditions.push(condition);
        }
        Ok((read, conditions))
    }

    async fn check_part(
        &self,
        store: &dyn Store,
        env: &Env,
        number: usize,
        part: &Part<'_>,
        read: &mut u64,
    ) -> Result<Condition> {
        let bad = vec![true; part.hashes.len()];
        let mut condition = Condition { key: part.key.clone(), is_missing: false, is_framed: false, bad };
        let Some(size) = found(store.size(&part.key).await)? else {
            condition.is_missing = true;
            return Ok(condition);
        };
        condition.is_framed = size == part.skip + part.len;
        if let Some(parity) = number.checked_sub(self.head.members.len())
            && condition.is_framed
        {
            condition.is_framed = store.read(&part.key, Some(0..part.skip)).await? == self.beginning(parity);
            *read += part.skip;
        }
        let block_len = u64::from(self.head.block_len);
        let window = (WINDOW_BYTES / block_len).max(1) * block_len;
        for start in (0..part.len).step_by(usize::try_from(window).unwrap_or(usize::MAX)) {
            let end = (start + window).min(part.len).min(size.saturating_sub(part.skip));
            if start >= end {
                break;
            }
            let bytes = store.read(&part.key, Some(part.skip + start..part.skip + end)).await?;
            *read += bytes.len() as u64;
            let block_len = self.head.block_len as usize;
            let hash = move || Ok(bytes.chunks(block_len).map(BlockHash::of).collect::<Vec<_>>());
            let first = usize::try_from(start / u64::from(self.head.block_len)).unwrap_or(usize::MAX);
            let hashes = env.run(hash).await?;
            for ((bad, is), expected) in condition
                .bad
                .iter_mut()
                .zip(part.hashes)
                .skip(first)
                .zip(hashes)
                .map(|((b, e), h)| ((b, h), e))
            {
                *bad = is != *expected;
            }
        }
        Ok(condition)
    }

    /// Whether what is damaged of an object can be computed from the rest.
    pub(crate) fn can_rebuild(&self, conditions: &[Condition], object: usize) -> bool {
        let members = self.head.members.len();
        let is_bad = |condition: &Condition, block: usize| condition.bad.get(block).is_some_and(|bad| *bad);
        let blocks = conditions.get(object).map(|condition| condition.bad.len()).unwrap_or_default();
        (0..blocks).all(|block| {
            let lost = conditions.iter().take(members).filter(|condition| is_bad(condition, block)).count();
            let parity =
                conditions.iter().skip(members).filter(|condition| !is_bad(condition, block)).count();
            let is_needed = conditions.get(object).is_some_and(|condition| is_bad(condition, block));
            !is_needed || lost <= parity
        })
    }

    /// The bytes of an object as they were; none if too much is lost.
    pub(crate) async fn rebuild(
        &self,
        store: &dyn Store,
        env: &Env,
        conditions: &[Condition],
        object: usize,
    ) -> Result<Option<Bytes>> {
        let parts = self.parts();
        let (Some(part), Some(condition)) = (parts.get(object), conditions.get(object)) else {
            return Err(Error::bug("a set has no such object"));
        };
        let parity = object.checked_sub(self.head.members.len());
        let mut bytes = parity.map(|number| self.beginning(number)).unwrap_or_default();
        for (number, is_bad) in (0u64..).zip(&condition.bad) {
            let block = if *is_bad { None } else { self.block(store, part, number).await? };
            let block = match block {
                Some(block) => block,
                None => match self.stripe(store, env, &parts, conditions, number, object).await? {
                    Some(block) => block,
                    None => return Ok(None),
                },
            };
            let range = self.head.block(number, part.len);
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            bytes.extend_from_slice(block.get(..len).unwrap_or(&block));
        }
        let is_right = match self.head.members.get(object) {
            Some(member) => object_hash(&bytes) == member.hash,
            None => true,
        };
        Ok(is_right.then(|| bytes.into()))
    }

    /// A block of an object as it is stored; none if it is not what it was.
    async fn block(&self, store: &dyn Store, part: &Part<'_>, number: u64) -> Result<Option<Vec<u8>>> {
        let Range { start, end } = self.head.block(number, part.len);
        let read = store.read(&part.key, Some(part.skip + start..part.skip + end)).await;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidArgument) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let expected = usize::try_from(number).ok().and_then(|number| part.hashes.get(number));
        Ok((expected == Some(&BlockHash::of(&bytes))).then(|| bytes.to_vec()))
    }

    /// A block as it goes into the computation; none if it is damaged.
    async fn padded(
        &self,
        store: &dyn Store,
        part: &Part<'_>,
        is_bad: Option<bool>,
        number: u64,
        width: usize,
    ) -> Result<Option<Vec<u8>>> {
        let mut block = match is_bad {
            // It ends before: as if zeros followed.
            None => Some(Vec::new()),
            Some(true) => None,
            Some(false) => self.block(store, part, number).await?,
        };
        block.iter_mut().for_each(|block| block.resize(width, 0));
        Ok(block)
    }

    /// A block of an object, computed from the same block of all others.
    async fn stripe<'a>(
        &'a self,
        store: &'a dyn Store,
        env: &Env,
        parts: &'a [Part<'_>],
        conditions: &'a [Condition],
        number: u64,
        object: usize,
    ) -> Result<Option<Vec<u8>>> {
        let range = self.head.block(number, self.head.len);
        let width = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let read = |(part, condition): (&'a Part<'_>, &'a Condition)| -> BoxFuture<'a, _> {
            Box::pin(self.padded(store, part, condition.bad.get(at).copied(), number, width))
        };
        let reads: Vec<_> = parts.iter().zip(conditions).map(read).collect();
        let mut reads = stream::iter(reads).buffered(CONCURRENCY);
        let mut blocks = Vec::with_capacity(parts.len());
        while let Some(block) = reads.next().await {
            blocks.push(block?);
        }
        let (members, parity_count) = (self.head.members.len(), self.head.parity.len());
        let compute = move || {
            let parity = blocks.split_off(members);
            let Some(mut blocks) = parity::rebuild(blocks, &parity)? else { return Ok(None) };
            if let Some(number) = object.checked_sub(members) {
                blocks = parity::encode(&blocks, parity_count)?;
                return Ok(blocks.into_iter().nth(number));
            }
            Ok(blocks.into_iter().nth(object))
        };
        env.run(compute).await
    }
}
