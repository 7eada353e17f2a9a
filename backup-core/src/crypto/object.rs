//! Sealed objects: header, session keys, parts (`docs/format.md` section 4).

use std::fmt;

use super::{Class, Keyring, derive, equal, open, seal_in_place};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::wire::{Reader, Write};
use crate::id::{ObjectId, RepoId};
use crate::secret::Secret;
use crate::store::Key;

pub(crate) const MAGIC: &[u8; 4] = b"bkup";
pub(crate) const VERSION: u16 = 1;
pub(crate) const HEADER_LEN: usize = 168;
pub(crate) const TAG_LEN: usize = 16;
const WRAP_TYPE: u16 = 1;
const WRAP_LEN: u16 = 72;

/// The kinds of objects, as numbered in headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    KeySlot = 1,
    Pack = 2,
    Segment = 3,
    Snapshot = 4,
    Log = 5,
    Checkpoint = 6,
    Parity = 7,
}

impl ObjectKind {
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

/// Names of objects; the name is part of what is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ObjectName {
    KeySlot(ObjectId),
    Pack(ObjectId),
    Segment(ObjectId),
    Snapshot(ObjectId),
    Log(u64),
    Checkpoint(u64),
    /// A set of parity and a number in it.
    Parity(ObjectId, u8),
}

impl ObjectName {
    pub(crate) fn key(self) -> Key {
        Key::known(self.to_string())
    }

    pub(crate) const fn kind(self) -> ObjectKind {
        match self {
            Self::KeySlot(_) => ObjectKind::KeySlot,
            Self::Pack(_) => ObjectKind::Pack,
            Self::Segment(_) => ObjectKind::Segment,
            Self::Snapshot(_) => ObjectKind::Snapshot,
            Self::Log(_) => ObjectKind::Log,
            Self::Checkpoint(_) => ObjectKind::Checkpoint,
            Self::Parity(..) => ObjectKind::Parity,
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeySlot(id) => write!(f, "keys/{id}"),
            Self::Pack(id) => {
                write!(f, "pack/{:02x}/{id}", id.as_bytes().first().copied().unwrap_or_default())
            }
            Self::Segment(id) => write!(f, "segment/{id}"),
            Self::Snapshot(id) => write!(f, "snapshot/{id}"),
            Self::Log(number) => write!(f, "log/{number:016x}"),
            Self::Checkpoint(number) => write!(f, "checkpoint/{number:016x}"),
            Self::Parity(set, number) => write!(f, "parity/{set}/{number:02x}"),
        }
    }
}

pub(crate) fn check_magic_and_version(reader: &mut Reader<'_>) -> Result<()> {
    if &reader.array::<4>()? != MAGIC {
        return Err(reader.damage("does not begin like an object of a repository"));
    }
    match reader.u16()? {
        VERSION => Ok(()),
        0 => Err(reader.damage("has format version 0")),
        newer => Err(Error::new(
            ErrorKind::NewerFormat,
            format!("repository format {newer} is newer than {VERSION}, the newest that this version reads"),
        )),
    }
}

/// One session's fresh keys, wrapped once and repeated in the header of each object that it writes.
#[derive(Debug)]
pub(crate) struct SessionKeys {
    repo: RepoId,
    data: WrappedKey,
    tree: WrappedKey,
    meta: WrappedKey,
}

#[derive(Debug)]
struct WrappedKey {
    key: Secret,
    epoch: u32,
    wrap: [u8; WRAP_LEN as usize],
}

impl SessionKeys {
    pub(crate) fn generate(env: &Env, repo: RepoId, ring: &Keyring) -> Result<Self> {
        let fresh = |class: Class| -> Result<WrappedKey> {
            let key = Secret::new(env.random()?);
            let epoch = ring.seal_epoch(class);
            let nonce: [u8; 24] = env.random()?;
            let mut wrap = Vec::with_capacity(usize::from(WRAP_LEN));
            wrap.raw(&nonce);
            wrap.raw(key.expose());
            seal_in_place(
                ring.seal_key(class, epoch)?,
                &nonce,
                &wrap_aad(class, repo, epoch),
                &mut wrap,
                24,
            )?;
            let wrap = wrap.try_into().map_err(|_| Error::bug("wrapped key has another length"))?;
            Ok(WrappedKey { key, epoch, wrap })
        };
        Ok(Self { repo, data: fresh(Class::Data)?, tree: fresh(Class::Tree)?, meta: fresh(Class::Meta)? })
    }

    /// Begins an object: draws its salt and derives its key.
    pub(crate) fn begin(&self, env: &Env, name: ObjectName, class: Class) -> Result<ObjectSealer> {
        let session = match class {
            Class::Data => &self.data,
            Class::Tree => &self.tree,
            Class::Meta => &self.meta,
        };
        let salt: [u8; 32] = env.random()?;
        let key = object_key(&session.key, &salt);
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.raw(MAGIC);
        header.u16(VERSION);
        header.u8(name.kind().number());
        header.u8(class.number());
        header.raw(self.repo.as_bytes());
        header.u32(session.epoch);
        header.u16(WRAP_TYPE);
        header.u16(WRAP_LEN);
        header.raw(&session.wrap);
        header.raw(&salt);
        header.raw(key_commitment(&key).expose());
        let header = header.try_into().map_err(|_| Error::bug("object header has another length"))?;
        Ok(ObjectSealer(ObjectCipher { name, key, header: Header(header) }))
    }
}

/// The plaintext header of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header(pub(crate) [u8; HEADER_LEN]);

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Header(..)")
    }
}

/// Key, header and name of one object: all that sealing and opening its parts needs.
#[derive(Clone, Debug)]
struct ObjectCipher {
    name: ObjectName,
    key: Secret,
    header: Header,
}

impl ObjectCipher {
    fn nonce(part: u32) -> [u8; 24] {
        let mut nonce = [0; 24];
        let [a, b, c, d] = part.to_le_bytes();
        nonce[0] = a;
        nonce[1] = b;
        nonce[2] = c;
        nonce[3] = d;
        nonce
    }

    fn aad(&self, part: u32, len: usize) -> Result<Vec<u8>> {
        let name = self.name.to_string();
        let mut aad = Vec::with_capacity(HEADER_LEN + name.len() + 10);
        aad.raw(&self.header.0);
        aad.bytes16(name.as_bytes());
        aad.u32(part);
        aad.u32(u32::try_from(len).map_err(|_| Error::limit("part is longer than 4 GiB"))?);
        Ok(aad)
    }
}

/// Seals the parts of one new object. Each part number may be used once only: it is the nonce.
#[derive(Clone, Debug)]
pub(crate) struct ObjectSealer(ObjectCipher);

impl ObjectSealer {
    pub(crate) const fn header(&self) -> &Header {
        &self.0.header
    }

    pub(crate) const fn name(&self) -> ObjectName {
        self.0.name
    }

    /// Seals `buffer[from..]` as part `part`, in place, tag appended.
    pub(crate) fn seal(&self, part: u32, buffer: &mut Vec<u8>, from: usize) -> Result<()> {
        let aad = self.0.aad(part, buffer.len().saturating_sub(from))?;
        seal_in_place(&self.0.key, &ObjectCipher::nonce(part), &aad, buffer, from)
    }
}

/// An object whose header has been checked: opens its parts.
#[derive(Clone, Debug)]
pub(crate) struct OpenedObject(ObjectCipher);

impl OpenedObject {
    /// Checks a header against what the reader expects, unwraps the session key and derives the object's key.
    pub(crate) fn open(
        repo: RepoId,
        ring: &Keyring,
        name: ObjectName,
        header: &[u8],
    ) -> Result<(Self, Class)> {
        let damage = |how: &str| Error::corrupt(format!("object {how}")).with_item(name.to_string());
        let header: [u8; HEADER_LEN] = header
            .get(..HEADER_LEN)
            .and_then(|header| header.try_into().ok())
            .ok_or_else(|| damage("is shorter than a header"))?;
        let mut reader = Reader::new(&header, "object header");
        check_magic_and_version(&mut reader)?;
        if reader.u8()? != name.kind().number() {
            return Err(damage("is of another kind than its name says"));
        }
        let class = Class::from_number(reader.u8()?).ok_or_else(|| damage("has no known class"))?;
        let fits = match name.kind() {
            ObjectKind::Pack => class != Class::Meta,
            _ => class == Class::Meta,
        };
        if !fits {
            return Err(damage("is of a class that its kind does not have"));
        }
        if RepoId::from_bytes(reader.array()?) != repo {
            return Err(damage("belongs to another repository"));
        }
        let epoch = reader.u32()?;
        match (reader.u16()?, reader.u16()?) {
            (WRAP_TYPE, WRAP_LEN) => {}
            (WRAP_TYPE, _) => return Err(damage("has a wrapped key of a wrong length")),
            _ => {
                let message = "object's key is wrapped in a way that this version does not know";
                return Err(Error::new(ErrorKind::NewerFormat, message).with_item(name.to_string()));
            }
        }
        let nonce: [u8; 24] = reader.array()?;
        let wrapped = reader.take(48)?;
        let session = open(ring.seal_key(class, epoch)?, &nonce, &wrap_aad(class, repo, epoch), wrapped)
            .map(zeroize::Zeroizing::new)
            .ok_or_else(|| damage("has a session key that does not unwrap"))?;
        let session =
            Secret::new(session.as_slice().try_into().map_err(|_| damage("has a short session key"))?);
        let salt: [u8; 32] = reader.array()?;
        let key = object_key(&session, &salt);
        if !equal(key_commitment(&key).expose(), &reader.array()?) {
            return Err(damage("is not committed to its key"));
        }
        Ok((Self(ObjectCipher { name, key, header: Header(header) }), class))
    }

    /// Opens one part.
    pub(crate) fn part(&self, part: u32, sealed: &[u8]) -> Result<Vec<u8>> {
        let len = sealed.len().saturating_sub(TAG_LEN);
        open(&self.0.key, &ObjectCipher::nonce(part), &self.0.aad(part, len)?, sealed).ok_or_else(|| {
            Error::corrupt(format!("part {part} is not what was sealed")).with_item(self.0.name.to_string())
        })
    }

    pub(crate) const fn name(&self) -> ObjectName {
        self.0.name
    }
}

fn wrap_aad(class: Class, repo: RepoId, epoch: u32) -> Vec<u8> {
    let mut aad = Vec::with_capacity(21);
    aad.u8(class.number());
    aad.raw(repo.as_bytes());
    aad.u32(epoch);
    aad
}

fn object_key(session: &Secret, salt: &[u8; 32]) -> Secret {
    derive("backup-engine v1 object key", &[session.expose(), salt])
}

fn key_commitment(key: &Secret) -> Secret {
    derive("backup-engine v1 key commitment", &[key.expose()])
}
