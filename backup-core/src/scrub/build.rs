//! Makes a set of parity: reads its members side by side, in strips, so that memory does not grow with their length.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::damage_of;
use super::set::Set;
use crate::crypto::{Keyring, ObjectName};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::parity::{BLOCK_BYTES, BlockHash, Member, ParityHead};
use crate::id::{ObjectHash, ObjectId, RepoId};
use crate::parity;
use crate::store::{Key, Store};

/// Blocks of each member that are read at once.
const STRIP_BLOCKS: u64 = 16;
/// Strips read at the same time.
const CONCURRENCY: usize = 16;

/// What became of a set.
pub(crate) enum Built {
    /// The parity objects, in order; their bytes are ready to be stored.
    Whole(Vec<(ObjectName, Bytes)>),
    /// Members that are not what they should be. Without them it can be tried again.
    Damaged(Vec<(Key, Error)>),
}

/// The parity of these members, each named with its length and hash, of which nothing but what they say is taken in.
pub(crate) async fn build(
    store: &dyn Store,
    env: &Env,
    ring: &Keyring,
    repo: RepoId,
    members: &[(Key, u64, ObjectHash)],
    parity: usize,
) -> Result<Built> {
    let len = ParityHead::len_for(members.iter().map(|(_, len, _)| *len).max().unwrap_or_default());
    let mut work = Work {
        blocks: vec![Vec::new(); members.len()],
        hashers: vec![blake3::Hasher::new(); members.len()],
        parity: vec![Vec::with_capacity(usize::try_from(len).unwrap_or_default()); parity],
    };
    let strip = u64::from(BLOCK_BYTES) * STRIP_BLOCKS;
    for start in (0..len).step_by(usize::try_from(strip).unwrap_or(usize::MAX)) {
        let end = (start + strip).min(len);
        let read = |(key, len, _): &(Key, u64, ObjectHash)| -> BoxFuture<'_, Result<Bytes>> {
            let (key, range) = (key.clone(), start.min(*len)..end.min(*len));
            Box::pin(async move {
                if range.is_empty() { Ok(Bytes::new()) } else { store.read(&key, Some(range)).await }
            })
        };
        let reads: Vec<_> = members.iter().map(read).collect();
        let mut reads = stream::iter(reads).buffered(CONCURRENCY);
        let (mut strips, mut damaged) = (Vec::with_capacity(members.len()), Vec::new());
        while let Some(read) = reads.next().await {
            match read {
                Ok(bytes) => strips.push(bytes),
                Err(error) => {
                    let key = members.get(strips.len() + damaged.len()).map(|(key, ..)| key.clone());
                    damaged.extend(key.zip(Some(damage_of(error)?)));
                }
            }
        }
        if !damaged.is_empty() {
            return Ok(Built::Damaged(damaged));
        }
        let width = usize::try_from(end - start).unwrap_or(usize::MAX);
        let add = move || {
            work.add(&strips, width)?;
            Ok(work)
        };
        work = env.run(add).await?;
    }
    let wrong = members
        .iter()
        .zip(&work.hashers)
        .filter(|((_, _, hash), hasher)| ObjectHash::from_bytes(*hasher.finalize().as_bytes()) != *hash);
    let damaged: Vec<_> = wrong
        .map(|((key, ..), _)| (key.clone(), Error::corrupt("an object is not the one that was written")))
        .collect();
    if !damaged.is_empty() {
        return Ok(Built::Damaged(damaged));
    }
    let hashes = |bytes: &Vec<u8>| bytes.chunks(BLOCK_BYTES as usize).map(BlockHash::of).collect();
    let head = ParityHead {
        repo,
        set: ObjectId::from_bytes(env.random()?),
        block_len: BLOCK_BYTES,
        len,
        parity: work.parity.iter().map(hashes).collect(),
        members: members
            .iter()
            .zip(work.blocks)
            .map(|((key, len, hash), blocks)| Member { key: key.clone(), len: *len, hash: *hash, blocks })
            .collect(),
    };
    let signed = head.encode(ring)?;
    let set = Set::new(head, signed.into());
    let objects = work.parity.into_iter().enumerate().map(|(number, parity)| {
        let mut bytes = set.beginning(number);
        bytes.extend_from_slice(&parity);
        (set.head.name(number), Bytes::from(bytes))
    });
    Ok(Built::Whole(objects.collect()))
}

struct Work {
    blocks: Vec<Vec<BlockHash>>,
    hashers: Vec<blake3::Hasher>,
    parity: Vec<Vec<u8>>,
}

impl Work {
    /// Takes in a strip of each member; those that have ended are as if zeros followed. CPU-heavy.
    fn add(&mut self, strips: &[Bytes], width: usize) -> Result<()> {
        for ((hasher, blocks), strip) in self.hashers.iter_mut().zip(&mut self.blocks).zip(strips) {
            hasher.update(strip);
            blocks.extend(strip.chunks(BLOCK_BYTES as usize).map(BlockHash::of));
        }
        for start in (0..width).step_by(BLOCK_BYTES as usize) {
            let end = (start + BLOCK_BYTES as usize).min(width);
            let column = |strip: &Bytes| {
                let mut block = strip.get(start..end.min(strip.len())).unwrap_or_default().to_vec();
                block.resize(end - start, 0);
                block
            };
            let columns: Vec<_> = strips.iter().map(column).collect();
            let encoded = parity::encode(&columns, self.parity.len())?;
            for (parity, block) in self.parity.iter_mut().zip(encoded) {
                parity.extend_from_slice(&block);
            }
        }
        Ok(())
    }
}
