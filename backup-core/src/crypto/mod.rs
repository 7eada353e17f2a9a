//! Hashing, sealing and keys: `docs/format.md` sections 1, 3 and 4. Pure: randomness is an argument.

mod keyring;
mod object;
mod slot;

pub(crate) use keyring::{Class, Keyring, is_signed};
pub(crate) use object::{
    HEADER_LEN, Header, MAGIC, ObjectKind, ObjectName, ObjectSealer, OpenedObject, SessionKeys, TAG_LEN,
    VERSION, check_magic_and_version,
};
pub use slot::KdfParams;
pub(crate) use slot::{open_slot, seal_slot};

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use crate::error::{Error, Result};
use crate::id::{ChunkId, ObjectHash};
use crate::secret::Secret;

/// `KDF` of the format page.
pub(crate) fn derive(context: &'static str, parts: &[&[u8]]) -> Secret {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    Secret::new(*hasher.finalize().as_bytes())
}

/// `H` of the format page, over a whole stored object.
pub(crate) fn object_hash(bytes: &[u8]) -> ObjectHash {
    ObjectHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// The id of a chunk under its class's id key.
pub(crate) fn chunk_id(key: &Secret, plaintext: &[u8]) -> ChunkId {
    ChunkId::from_bytes(*blake3::keyed_hash(key.expose(), plaintext).as_bytes())
}

/// Seals `buffer[from..]` in place and appends the tag.
pub(crate) fn seal_in_place(
    key: &Secret,
    nonce: &[u8; 24],
    aad: &[u8],
    buffer: &mut Vec<u8>,
    from: usize,
) -> Result<()> {
    let cipher = XChaCha20Poly1305::new(key.expose().into());
    let plaintext =
        buffer.get_mut(from..).ok_or_else(|| Error::bug("sealed range lies outside its buffer"))?;
    let tag = cipher
        .encrypt_inout_detached(&XNonce::from(*nonce), aad, plaintext.into())
        .map_err(|_| Error::limit("plaintext is too long to seal"))?;
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// Opens ciphertext and tag; `None` if anything differs from what was sealed.
pub(crate) fn open(key: &Secret, nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ciphertext, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_LEN)?)?;
    let tag: [u8; TAG_LEN] = tag.try_into().ok()?;
    let mut plaintext = ciphertext.to_vec();
    let cipher = XChaCha20Poly1305::new(key.expose().into());
    cipher
        .decrypt_inout_detached(&XNonce::from(*nonce), aad, plaintext.as_mut_slice().into(), &Tag::from(tag))
        .ok()?;
    Some(plaintext)
}

/// Compares without revealing by timing where the difference is.
pub(crate) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}
