//! The keyring: independent keys by purpose and epoch (`docs/format.md` 3.1).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::wire::{Reader, Write};
use crate::id::PublicKey;
use crate::secret::Secret;

/// What a sealed object may be read by. Packs of different classes never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Content, and details that a person would read.
    Data = 1,
    /// Tree nodes and chunk lists: what an incremental run needs.
    Tree = 2,
    /// Segments, snapshots, log entries, checkpoints.
    Meta = 3,
}

impl Class {
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Data),
            2 => Some(Self::Tree),
            3 => Some(Self::Meta),
            _ => None,
        }
    }

    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

const CHUNKING: u16 = 1;
const ID_DATA: u16 = 2;
const ID_TREE: u16 = 3;
const SEAL_DATA: u16 = 4;
const SEAL_TREE: u16 = 5;
const SEAL_META: u16 = 6;
const BOUNDARY: u16 = 7;
const LOG_SIGN: u16 = 8;
const LOG_VERIFY: u16 = 9;

/// Signatures that are remembered at most, 32 bytes each.
const SEEN_MAX: usize = 1 << 14;

/// All keys that a slot gave.
#[derive(Clone, Debug)]
pub(crate) struct Keyring {
    keys: BTreeMap<(u16, u32), Secret>,
    /// The signing key, ready for use: making it costs as much as a signature.
    signing: OnceLock<SigningKey>,
    /// Hashes of what was seen to be signed. The log is read again and again, and checking a signature costs more than all else of it.
    seen: Arc<Mutex<HashSet<[u8; 32]>>>,
}

impl Keyring {
    fn new(keys: BTreeMap<(u16, u32), Secret>) -> Self {
        Self { keys, signing: OnceLock::new(), seen: Arc::default() }
    }

    /// Fresh keys for a new repository.
    pub(crate) fn generate(env: &Env) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for purpose in [CHUNKING, ID_DATA, ID_TREE, SEAL_DATA, SEAL_TREE, SEAL_META, BOUNDARY, LOG_SIGN] {
            keys.insert((purpose, 1), Secret::new(env.random()?));
        }
        let mut ring = Self::new(keys);
        let public = ring.signing_key()?.verifying_key().to_bytes();
        ring.keys.insert((LOG_VERIFY, 1), Secret::new(public));
        Ok(ring)
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Allocated once, so that no copy of a key is left behind by growth.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 + 38 * self.keys.len()));
        bytes.len16(self.keys.len());
        for ((purpose, epoch), key) in &self.keys {
            bytes.u16(*purpose);
            bytes.u32(*epoch);
            bytes.raw(key.expose());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "keyring");
        let mut keys = BTreeMap::new();
        let mut last = None;
        for _ in 0..reader.u16()? {
            let name = (reader.u16()?, reader.u32()?);
            if last >= Some(name) {
                return Err(reader.damage("is not sorted"));
            }
            last = Some(name);
            let several = [SEAL_DATA, SEAL_TREE, SEAL_META].contains(&name.0);
            if name.0 <= LOG_VERIFY && (name.1 == 0 || name.1 > 1 && !several) {
                return Err(reader.damage("has a key of an epoch that its purpose has not"));
            }
            keys.insert(name, Secret::new(reader.array()?));
        }
        let ring = Self::new(keys);
        if let (Ok(signing), Ok(public)) = (ring.signing_key(), ring.key(LOG_VERIFY, 1))
            && signing.verifying_key().as_bytes() != public.expose()
        {
            return Err(reader.damage("has two log keys that do not belong together"));
        }
        reader.finish()?;
        Ok(ring)
    }

    fn key(&self, purpose: u16, epoch: u32) -> Result<&Secret> {
        self.keys.get(&(purpose, epoch)).ok_or_else(|| {
            Error::new(
                ErrorKind::PermissionDenied,
                format!("the key slot gives no key for purpose {purpose}"),
            )
        })
    }

    pub(crate) fn chunking(&self) -> Result<&Secret> {
        self.key(CHUNKING, 1)
    }

    pub(crate) fn boundary(&self) -> Result<&Secret> {
        self.key(BOUNDARY, 1)
    }

    /// The key that names chunks of a class.
    pub(crate) fn id_key(&self, class: Class) -> Result<&Secret> {
        match class {
            Class::Data => self.key(ID_DATA, 1),
            Class::Tree => self.key(ID_TREE, 1),
            Class::Meta => Err(Error::bug("meta objects hold no chunks")),
        }
    }

    /// The key that wraps session keys of a class, in one epoch.
    pub(crate) fn seal_key(&self, class: Class, epoch: u32) -> Result<&Secret> {
        self.key(Self::seal_purpose(class), epoch)
    }

    /// The newest epoch of a class's seal key.
    pub(crate) fn seal_epoch(&self, class: Class) -> u32 {
        let purpose = Self::seal_purpose(class);
        self.keys.range((purpose, 0)..=(purpose, u32::MAX)).next_back().map_or(1, |((_, epoch), _)| *epoch)
    }

    const fn seal_purpose(class: Class) -> u16 {
        match class {
            Class::Data => SEAL_DATA,
            Class::Tree => SEAL_TREE,
            Class::Meta => SEAL_META,
        }
    }

    /// Signs a log entry or checkpoint; `domain` keeps the two apart.
    pub(crate) fn sign(&self, domain: &[u8], body: &[u8]) -> Result<[u8; 64]> {
        Ok(self.signing_key()?.sign(&[domain, body].concat()).to_bytes())
    }

    /// What tells the repository's signatures from others. No secret.
    pub(crate) fn public_key(&self) -> Result<PublicKey> {
        Ok(PublicKey::from_bytes(*self.key(LOG_VERIFY, 1)?.expose()))
    }

    /// Whether the repository's log key signed this.
    pub(crate) fn verify(&self, domain: &[u8], body: &[u8], signature: &[u8; 64]) -> Result<bool> {
        let mut hasher = blake3::Hasher::new();
        let hash = *hasher.update(signature).update(domain).update(body).finalize().as_bytes();
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen().contains(&hash) {
            return Ok(true);
        }
        let is_signed = is_signed(&self.public_key()?, domain, body, signature)?;
        if is_signed {
            let mut seen = seen();
            if seen.len() >= SEEN_MAX {
                seen.clear();
            }
            seen.insert(hash);
        }
        Ok(is_signed)
    }

    fn signing_key(&self) -> Result<&SigningKey> {
        let key = self.key(LOG_SIGN, 1)?;
        Ok(self.signing.get_or_init(|| SigningKey::from_bytes(key.expose())))
    }
}

/// Whether the repository that this key belongs to signed this.
pub(crate) fn is_signed(key: &PublicKey, domain: &[u8], body: &[u8], signature: &[u8; 64]) -> Result<bool> {
    let key = VerifyingKey::from_bytes(key.as_bytes())
        .map_err(|error| Error::corrupt("log verification key is not a point").with_source(error))?;
    Ok(key.verify_strict(&[domain, body].concat(), &Signature::from_bytes(signature)).is_ok())
}
