//! Key slots: one keyring wrapped under a passphrase or a raw key (`docs/format.md` 3.2).

use argon2::{Algorithm, Argon2, Params, Version};

use super::object::{MAGIC, ObjectKind, ObjectName, VERSION};
use super::{Keyring, derive, equal, open, seal_in_place};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::wire::{Reader, Write};
use crate::id::{ObjectId, RepoId};
use crate::limits;
use crate::secret::{Credential, Secret};

const SLOT_HEADER_LEN: usize = 124;
const PASSPHRASE: u8 = 1;
const RAW_KEY: u8 = 2;

pub(crate) const KDF_MEMORY_KIB_MAX: u32 = 4 << 20;
pub(crate) const KDF_PASSES_MAX: u32 = 16;
pub(crate) const KDF_LANES_MAX: u32 = 64;

/// What stretching a passphrase costs.
///
/// The default is the second recommended option of RFC 9106 section 4 (64 MiB, 3 passes, 4 lanes): about 0.14 s of one
/// core of a 2019 server, and the memory is needed only while a slot is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KdfParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for KdfParams {
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

impl KdfParams {
    /// At least 64 MiB and 3 passes, at most 4 GiB, 16 passes and 64 lanes.
    ///
    /// # Errors
    /// `InvalidArgument` outside these bounds.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        let params = Self { memory_kib, passes, lanes };
        let weak = memory_kib < 64 << 10 || passes < 3;
        if weak || !params.is_bounded() {
            return Err(Error::invalid(
                "passphrase cost must be 64 MiB to 4 GiB, 3 to 16 passes, 1 to 64 lanes",
            ));
        }
        Ok(params)
    }

    /// A cost that stops nobody: for tests that open hundreds of repositories.
    #[must_use]
    pub const fn dangerous_fast() -> Self {
        Self { memory_kib: 64, passes: 1, lanes: 1 }
    }

    /// Read from a slot that anybody may have written: bounded before any memory is taken.
    const fn is_bounded(self) -> bool {
        self.lanes >= 1
            && self.lanes <= KDF_LANES_MAX
            && self.passes >= 1
            && self.passes <= KDF_PASSES_MAX
            && self.memory_kib >= 8 * self.lanes
            && self.memory_kib <= KDF_MEMORY_KIB_MAX
    }

    fn stretch(self, passphrase: &[u8], salt: &[u8; 32]) -> Result<Secret> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|error| Error::invalid("passphrase cost is not valid").with_source(error.to_string()))?;
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        beside_each_other(self.lanes, || argon2.hash_password_into(passphrase, salt, key.as_mut()))?
            .map_err(|error| {
                Error::invalid("passphrase cannot be stretched").with_source(error.to_string())
            })?;
        Ok(Secret::new(*key))
    }
}

/// Runs `work` where it finds threads for its lanes: threads of its own, that end with it. Otherwise rayon would begin a pool for the whole
/// process, which a library must not.
#[cfg(feature = "system")]
fn beside_each_other<T: Send>(lanes: u32, work: impl FnOnce() -> T + Send) -> Result<T> {
    let threads = usize::try_from(lanes).unwrap_or(usize::MAX).min(crate::threads::cores());
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_scoped(rayon::ThreadBuilder::run, |pool| pool.install(work))
        .map_err(|error| Error::limit("no thread can be started to stretch a passphrase").with_source(error))
}

#[cfg(not(feature = "system"))]
fn beside_each_other<T>(_lanes: u32, work: impl FnOnce() -> T) -> Result<T> {
    Ok(work())
}

/// Wraps the keyring for a credential: the bytes of a slot object named after `id`.
pub(crate) fn seal_slot(
    env: &Env,
    repo: RepoId,
    id: ObjectId,
    ring: &Keyring,
    credential: &Credential,
    cost: KdfParams,
) -> Result<Vec<u8>> {
    let salt: [u8; 32] = env.random()?;
    let nonce: [u8; 24] = env.random()?;
    let (slot_type, cost, kek) = match credential {
        Credential::Passphrase(text) => (PASSPHRASE, cost, cost.stretch(text.expose(), &salt)?),
        Credential::RawKey(key) => (RAW_KEY, KdfParams { memory_kib: 0, passes: 0, lanes: 0 }, key.clone()),
    };
    let slot_key = slot_key(&kek, &salt);
    let mut bytes = Vec::with_capacity(1024);
    bytes.raw(MAGIC);
    bytes.u16(VERSION);
    bytes.u8(ObjectKind::KeySlot.number());
    bytes.u8(slot_type);
    bytes.raw(repo.as_bytes());
    bytes.u32(cost.memory_kib);
    bytes.u32(cost.passes);
    bytes.u32(cost.lanes);
    bytes.raw(&salt);
    bytes.raw(&nonce);
    bytes.raw(commitment(&slot_key).expose());
    let aad = [bytes.as_slice(), ObjectName::KeySlot(id).key().as_str().as_bytes()].concat();
    bytes.raw(&ring.encode());
    seal_in_place(&slot_key, &nonce, &aad, &mut bytes, SLOT_HEADER_LEN)?;
    Ok(bytes)
}

/// Tries a credential on a slot: the keyring, or `None` if the credential does not fit.
pub(crate) fn open_slot(
    id: ObjectId,
    bytes: &[u8],
    credential: &Credential,
) -> Result<Option<(RepoId, Keyring)>> {
    let mut reader = Reader::new(bytes, "key slot");
    if bytes.len() > limits::KEY_SLOT_BYTES_MAX {
        return Err(reader.damage("is larger than the format allows"));
    }
    super::object::check_magic_and_version(&mut reader)?;
    if reader.u8()? != ObjectKind::KeySlot.number() {
        return Err(reader.damage("is an object of another kind"));
    }
    let slot_type = reader.u8()?;
    let repo = RepoId::from_bytes(reader.array()?);
    let cost = KdfParams { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? };
    let salt: [u8; 32] = reader.array()?;
    let nonce: [u8; 24] = reader.array()?;
    let expected: [u8; 32] = reader.array()?;
    let kek = match (slot_type, credential) {
        (PASSPHRASE, Credential::Passphrase(text)) if cost.is_bounded() => {
            cost.stretch(text.expose(), &salt)?
        }
        (PASSPHRASE, _) if !cost.is_bounded() => {
            return Err(reader.damage("asks for more work than the format allows"));
        }
        (RAW_KEY, Credential::RawKey(key)) => key.clone(),
        (PASSPHRASE | RAW_KEY, _) => return Ok(None),
        _ => {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                "key slot has a type that this version does not know",
            ));
        }
    };
    let slot_key = slot_key(&kek, &salt);
    if !equal(commitment(&slot_key).expose(), &expected) {
        return Ok(None);
    }
    let header = bytes.get(..SLOT_HEADER_LEN).unwrap_or_default();
    let aad = [header, ObjectName::KeySlot(id).key().as_str().as_bytes()].concat();
    let sealed = reader.take(reader.remaining())?;
    let ring = open(&slot_key, &nonce, &aad, sealed).map(zeroize::Zeroizing::new);
    let ring = ring.ok_or_else(|| reader.damage("was altered"))?;
    Ok(Some((repo, Keyring::decode(&ring)?)))
}

fn slot_key(kek: &Secret, salt: &[u8; 32]) -> Secret {
    derive("backup-engine v1 slot key", &[kek.expose(), salt])
}

fn commitment(slot_key: &Secret) -> Secret {
    derive("backup-engine v1 slot commitment", &[slot_key.expose()])
}
