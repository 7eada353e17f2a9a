//! Parity objects (`docs/format.md` 5.4). They are not sealed: whoever has the repository's public key checks and uses them without any secret.

use std::ops::Range;

use super::wire::{Reader, Write};
use crate::crypto::{
    Keyring, MAGIC, ObjectKind, ObjectName, VERSION, check_magic_and_version, is_signed, object_hash,
};
use crate::error::{Error, Result};
use crate::id::{ObjectHash, ObjectId, PublicKey, RepoId};
use crate::limits;
use crate::parity::ALIGNMENT;
use crate::store::Key;

pub(crate) const PARITY_DOMAIN: &[u8] = b"backup-engine v1 parity";
const SIGNATURE_LEN: usize = 64;
/// Bytes before the head.
pub(crate) const PREFIX_LEN: usize = 12;
/// Length of blocks that this version makes, in bytes.
pub(crate) const BLOCK_BYTES: u32 = 64 << 10;
const BLOCK_HASH_LEN: usize = 16;

/// The first half of a block's BLAKE3: tells which blocks of an object are damaged. Whether a rebuilt object is right, its whole hash says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHash([u8; BLOCK_HASH_LEN]);

impl BlockHash {
    pub(crate) fn of(block: &[u8]) -> Self {
        let mut half = [0; BLOCK_HASH_LEN];
        half.iter_mut().zip(object_hash(block).as_bytes()).for_each(|(to, from)| *to = *from);
        Self(half)
    }
}

/// An object that a set protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: Key,
    pub(crate) len: u64,
    pub(crate) hash: ObjectHash,
    pub(crate) blocks: Vec<BlockHash>,
}

/// What all objects of a set of parity say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParityHead {
    pub(crate) repo: RepoId,
    pub(crate) set: ObjectId,
    pub(crate) block_len: u32,
    /// Bytes of each parity object after its head.
    pub(crate) len: u64,
    /// The hashes of each parity object's blocks.
    pub(crate) parity: Vec<Vec<BlockHash>>,
    pub(crate) members: Vec<Member>,
}

impl ParityHead {
    /// How long a set's parity is: as its longest member, rounded up.
    pub(crate) fn len_for(longest: u64) -> u64 {
        longest.max(1).next_multiple_of(ALIGNMENT as u64)
    }

    /// Where a block lies in a member, or in parity after its head, of this length.
    pub(crate) fn block(&self, number: u64, len: u64) -> Range<u64> {
        let at = number.saturating_mul(u64::from(self.block_len));
        at.min(len)..at.saturating_add(u64::from(self.block_len)).min(len)
    }

    /// The head with its signature, as each object of the set has it after its prefix.
    pub(crate) fn encode(&self, ring: &Keyring) -> Result<Vec<u8>> {
        let mut raw = Vec::new();
        raw.raw(self.repo.as_bytes());
        raw.raw(self.set.as_bytes());
        raw.u32(self.block_len);
        raw.u64(self.len);
        raw.len16(self.parity.len());
        self.parity.iter().flatten().for_each(|hash| raw.raw(&hash.0));
        raw.len16(self.members.len());
        for member in &self.members {
            raw.bytes16(member.key.as_str().as_bytes());
            raw.u64(member.len);
            raw.raw(member.hash.as_bytes());
            member.blocks.iter().for_each(|hash| raw.raw(&hash.0));
        }
        let signature = ring.sign(PARITY_DOMAIN, &raw)?;
        raw.raw(&signature);
        Ok(raw)
    }

    /// Reads what follows the prefix, up to the parity.
    pub(crate) fn decode(bytes: &[u8], key: &PublicKey) -> Result<Self> {
        let unsigned = || Error::corrupt("parity is not signed by this repository");
        let (raw, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or_else(unsigned)?;
        if !is_signed(key, PARITY_DOMAIN, raw, signature)? {
            return Err(unsigned());
        }
        let mut r = Reader::new(raw, "parity");
        let (repo, set) = (RepoId::from_bytes(r.array()?), ObjectId::from_bytes(r.array()?));
        let (block_len, len) = (r.u32()?, r.u64()?);
        if block_len == 0
            || !(block_len as usize).is_multiple_of(ALIGNMENT)
            || block_len as usize > limits::FRAME_BYTES_MAX
            || len == 0
            || !len.is_multiple_of(ALIGNMENT as u64)
            || len > Self::len_for(limits::PACK_BYTES_MAX)
        {
            return Err(r.damage("has lengths out of bounds"));
        }
        let hashes = |r: &mut Reader<'_>, len: u64| -> Result<Vec<BlockHash>> {
            let count = usize::try_from(len.div_ceil(u64::from(block_len))).unwrap_or(usize::MAX);
            if count.checked_mul(BLOCK_HASH_LEN).is_none_or(|bytes| bytes > r.remaining()) {
                return Err(r.damage("ends too early"));
            }
            (0..count).map(|_| Ok(BlockHash(r.array()?))).collect()
        };
        let count = usize::from(r.u16()?);
        if !(1..=limits::PARITY_OBJECTS_MAX).contains(&count) {
            return Err(r.damage("has a number of parity objects out of bounds"));
        }
        let parity = (0..count).map(|_| hashes(&mut r, len)).collect::<Result<_>>()?;
        let count = usize::from(r.u16()?);
        if !(1..=limits::PARITY_MEMBERS_MAX).contains(&count) {
            return Err(r.damage("protects a number of objects out of bounds"));
        }
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            let key = Key::new(r.text16(255)?).map_err(|_| r.damage("names what is no object"))?;
            let member_len = r.u64()?;
            if member_len > len {
                return Err(r.damage("protects more than it covers"));
            }
            let hash = ObjectHash::from_bytes(r.array()?);
            members.push(Member { key, len: member_len, hash, blocks: hashes(&mut r, member_len)? });
        }
        r.finish()?;
        Ok(Self { repo, set, block_len, len, parity, members })
    }

    /// The name of one of the set's objects.
    pub(crate) fn name(&self, number: usize) -> ObjectName {
        ObjectName::Parity(self.set, u8::try_from(number).unwrap_or(u8::MAX))
    }
}

/// What a parity object begins with: its number in the set and how long the head is, signature included.
pub(crate) fn write_prefix(out: &mut Vec<u8>, number: u8, head_len: usize) {
    out.raw(MAGIC);
    out.u16(VERSION);
    out.u8(ObjectKind::Parity.number());
    out.u8(number);
    out.len32(head_len);
}

/// The inverse.
pub(crate) fn read_prefix(bytes: &[u8]) -> Result<(u8, usize)> {
    let mut r = Reader::new(bytes, "parity");
    check_magic_and_version(&mut r)?;
    if r.u8()? != ObjectKind::Parity.number() {
        return Err(r.damage("is an object of another kind"));
    }
    let (number, len) = (r.u8()?, r.len32()?);
    if len > limits::PARITY_HEAD_BYTES_MAX {
        return Err(r.damage("has a head longer than the format allows"));
    }
    Ok((number, len))
}
