//! Log entries and checkpoints (`docs/format.md` 6.1 and 6.2).

use std::fmt;
use std::time::Duration;

use super::snapshot::{SnapshotState, read_collection, write_collection};
use super::wire::{Reader, Write};
use crate::chunk::ChunkSizes;
use crate::crypto::{Keyring, ObjectKind, ObjectName};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ObjectHash, ObjectId, RepoId, SessionId, SnapshotId};
use crate::item::Collection;
use crate::limits;
use crate::time::Timestamp;

const LOG_DOMAIN: &[u8] = b"backup-engine v1 log";
const CHECKPOINT_DOMAIN: &[u8] = b"backup-engine v1 checkpoint";
const GENESIS: u16 = 0;
const COMMIT: u16 = 1;
const REMOVE: u16 = 2;
const CONDEMN: u16 = 3;
const DELETE: u16 = 4;
const HOLD: u16 = 5;
const PROTECT: u16 = 6;
const EXTENDED: u16 = 7;
/// Flag of a snapshot reference.
const SUSPICIOUS: u8 = 1;
const SIGNATURE_LEN: usize = 64;

/// What is fixed when a repository is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RepoConfig {
    /// Signed with the entry, so that a log can only be continued as what it began as.
    pub(crate) repo: RepoId,
    pub(crate) chunks: ChunkSizes,
    pub(crate) node_target: u32,
}

impl RepoConfig {
    /// What this version creates.
    pub(crate) const fn new(repo: RepoId) -> Self {
        Self { repo, chunks: ChunkSizes::DEFAULT, node_target: 4 << 10 }
    }

    fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(33);
        raw.raw(self.repo.as_bytes());
        raw.u32(self.chunks.min);
        raw.u32(self.chunks.average);
        raw.u32(self.chunks.max);
        raw.u8(self.chunks.level);
        raw.u32(self.node_target);
        raw
    }

    fn decode(raw: &[u8]) -> Result<Self> {
        let mut r = Reader::new(raw, "repository settings");
        let repo = RepoId::from_bytes(r.array()?);
        let chunks =
            ChunkSizes { min: r.u32()?, average: r.u32()?, max: r.u32()?, level: r.u8()? }.validate()?;
        let node_target = r.u32()?;
        if !limits::NODE_TARGET_BYTES.contains(&node_target) {
            return Err(r.damage("have a tree node target out of bounds"));
        }
        r.finish()?;
        Ok(Self { repo, chunks, node_target })
    }
}

/// How the log names an object: enough to notice any other one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectRef {
    pub(crate) id: ObjectId,
    pub(crate) len: u64,
    pub(crate) hash: ObjectHash,
}

impl ObjectRef {
    const ENCODED_LEN: usize = 56;

    fn write(&self, out: &mut Vec<u8>) {
        out.raw(self.id.as_bytes());
        out.u64(self.len);
        out.raw(self.hash.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            id: ObjectId::from_bytes(r.array()?),
            len: r.u64()?,
            hash: ObjectHash::from_bytes(r.array()?),
        })
    }
}

/// A snapshot as the log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotRef {
    pub(crate) object: ObjectRef,
    pub(crate) collection: Collection,
    pub(crate) created: Timestamp,
    pub(crate) state: SnapshotState,
    /// Its run reported a suspicion: it does not push earlier ones out.
    pub(crate) suspicious: bool,
}

impl SnapshotRef {
    pub(crate) fn id(&self) -> SnapshotId {
        self.object.id.into()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        self.object.write(out);
        write_collection(out, &self.collection)?;
        out.time(self.created);
        out.u8(self.state.number());
        out.u8(if self.suspicious { SUSPICIOUS } else { 0 });
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            object: ObjectRef::read(r)?,
            collection: read_collection(r)?,
            created: r.time()?,
            state: SnapshotState::read(r)?,
            suspicious: match r.u8()? {
                0 => false,
                SUSPICIOUS => true,
                _ => return Err(r.damage("has a snapshot with unknown flags")),
            },
        })
    }
}

/// A segment as the log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRef {
    pub(crate) object: ObjectRef,
    pub(crate) entries: u32,
}

impl SegmentRef {
    fn write(&self, out: &mut Vec<u8>) {
        self.object.write(out);
        out.u32(self.entries);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { object: ObjectRef::read(r)?, entries: r.u32()? })
    }
}

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Genesis(RepoConfig),
    Commit {
        session: SessionId,
        snapshots: Vec<SnapshotRef>,
        segments: Vec<SegmentRef>,
    },
    /// Snapshots that are given up. Those that are held, or not there, stay as they are.
    Remove(Vec<SnapshotId>),
    /// Objects that nobody may rely on from here on, and segments in the place of those among them.
    Condemn {
        objects: Vec<ObjectName>,
        segments: Vec<SegmentRef>,
    },
    /// Entries whose condemned objects have been deleted.
    Delete(Vec<u64>),
    /// Snapshots that must not be removed, or may be again.
    Hold {
        held: bool,
        snapshots: Vec<SnapshotId>,
    },
    /// How many seconds ahead everything is to be locked from here on; 0 for not at all.
    Protect(u64),
    /// Until when everything in use is locked at least.
    Extended(Timestamp),
}

/// What an operator is told of an entry.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genesis(_) => write!(f, "a repository is created"),
            Self::Commit { snapshots, segments, .. } => {
                let chunks: u64 = segments.iter().map(|segment| u64::from(segment.entries)).sum();
                write!(f, "{chunks} new chunks are committed")?;
                snapshots.iter().try_for_each(|named| {
                    write!(f, ", snapshot {} of {}", SnapshotId::from(named.object.id), named.collection.id)
                })
            }
            Self::Remove(snapshots) => write!(f, "{} snapshots are removed", snapshots.len()),
            Self::Condemn { objects, segments } => {
                let segments = segments.len();
                write!(f, "{} objects are taken out of use, {segments} segments are new", objects.len())
            }
            Self::Delete(entries) => {
                write!(f, "what {} entries had taken out of use is deleted", entries.len())
            }
            Self::Hold { held: true, snapshots } => write!(f, "{} snapshots are held", snapshots.len()),
            Self::Hold { held: false, snapshots } => {
                write!(f, "{} snapshots are held no longer", snapshots.len())
            }
            Self::Protect(0) => write!(f, "objects are locked no longer"),
            Self::Protect(seconds) => write!(f, "objects are locked for {seconds} s from now on"),
            Self::Extended(until) => write!(f, "all that is in use is locked until {until}"),
        }
    }
}

/// Objects that one entry has taken out of use, until they are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condemned {
    /// The entry's number and time.
    pub(crate) entry: u64,
    pub(crate) time: Timestamp,
    pub(crate) objects: Vec<ObjectName>,
}

impl Condemned {
    fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        out.u64(self.entry);
        out.time(self.time);
        write_objects(out, &self.objects)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { entry: r.u64()?, time: r.time()?, objects: read_objects(r)? })
    }
}

/// Bytes of an object's kind and id.
const NAMED_LEN: usize = 17;

fn write_objects(out: &mut Vec<u8>, objects: &[ObjectName]) -> Result<()> {
    out.len32(objects.len());
    for object in objects {
        let (ObjectName::Pack(id) | ObjectName::Segment(id) | ObjectName::Snapshot(id)) = object else {
            return Err(Error::bug("only packs, segments and snapshots are condemned"));
        };
        out.u8(object.kind().number());
        out.raw(id.as_bytes());
    }
    Ok(())
}

fn read_objects(r: &mut Reader<'_>) -> Result<Vec<ObjectName>> {
    const PACK: u8 = ObjectKind::Pack.number();
    const SEGMENT: u8 = ObjectKind::Segment.number();
    const SNAPSHOT: u8 = ObjectKind::Snapshot.number();
    let count = r.count32(NAMED_LEN)?;
    let mut objects = Vec::with_capacity(count);
    for _ in 0..count {
        let (kind, id) = (r.u8()?, ObjectId::from_bytes(r.array()?));
        objects.push(match kind {
            PACK => ObjectName::Pack(id),
            SEGMENT => ObjectName::Segment(id),
            SNAPSHOT => ObjectName::Snapshot(id),
            _ => return Err(r.damage("condemns an object of another kind")),
        });
    }
    Ok(objects)
}

fn write_ids(out: &mut Vec<u8>, ids: &[SnapshotId]) {
    out.len32(ids.len());
    ids.iter().for_each(|id| out.raw(id.as_bytes()));
}

fn read_ids(r: &mut Reader<'_>) -> Result<Vec<SnapshotId>> {
    let count = r.count32(SnapshotId::LEN)?;
    (0..count).map(|_| Ok(SnapshotId::from_bytes(r.array()?))).collect()
}

fn write_segments(out: &mut Vec<u8>, segments: &[SegmentRef]) {
    out.len32(segments.len());
    segments.iter().for_each(|segment| segment.write(out));
}

fn read_segments(r: &mut Reader<'_>) -> Result<Vec<SegmentRef>> {
    let count = r.count32(ObjectRef::ENCODED_LEN)?;
    (0..count).map(|_| SegmentRef::read(r)).collect()
}

fn read_seconds(r: &mut Reader<'_>) -> Result<u64> {
    match r.u64()? {
        seconds if seconds <= limits::LOCK_SECONDS_MAX => Ok(seconds),
        _ => Err(r.damage("locks for longer than the format allows")),
    }
}

/// How long everything is to be locked ahead, and what is known of the locks that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    /// 0 without a policy.
    pub(crate) seconds: u64,
    /// Everything in use is locked at least until then; none before it was found out under this policy.
    pub(crate) until: Option<Timestamp>,
}

impl Locks {
    /// The policy's period, if there is one.
    pub(crate) fn period(&self) -> Option<Duration> {
        (self.seconds > 0).then(|| Duration::from_secs(self.seconds))
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) number: u64,
    pub(crate) previous: ObjectHash,
    pub(crate) time: Timestamp,
    pub(crate) event: Event,
}

impl LogEntry {
    pub(crate) fn encode(&self, ring: &Keyring) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        let kind = match &self.event {
            Event::Genesis(config) => {
                payload = config.encode();
                GENESIS
            }
            Event::Commit { session, snapshots, segments } => {
                if snapshots.len().max(segments.len()) > usize::from(u16::MAX) {
                    return Err(Error::limit("a commit names at most 65,535 snapshots and segments"));
                }
                payload.raw(session.as_bytes());
                payload.len16(snapshots.len());
                snapshots.iter().try_for_each(|snapshot| snapshot.write(&mut payload))?;
                payload.len16(segments.len());
                segments.iter().for_each(|segment| segment.write(&mut payload));
                COMMIT
            }
            Event::Remove(snapshots) => {
                write_ids(&mut payload, snapshots);
                REMOVE
            }
            Event::Condemn { objects, segments } => {
                write_objects(&mut payload, objects)?;
                write_segments(&mut payload, segments);
                CONDEMN
            }
            Event::Delete(entries) => {
                payload.len32(entries.len());
                entries.iter().for_each(|entry| payload.u64(*entry));
                DELETE
            }
            Event::Hold { held, snapshots } => {
                payload.u8(u8::from(*held));
                write_ids(&mut payload, snapshots);
                HOLD
            }
            Event::Protect(seconds) => {
                payload.u64(*seconds);
                PROTECT
            }
            Event::Extended(until) => {
                payload.time(*until);
                EXTENDED
            }
        };
        let mut raw = Vec::with_capacity(payload.len() + 128);
        raw.u64(self.number);
        raw.raw(self.previous.as_bytes());
        raw.time(self.time);
        raw.u16(kind);
        raw.bytes32(&payload);
        sign(ring, LOG_DOMAIN, raw)
    }

    pub(crate) fn decode(raw: &[u8], ring: &Keyring) -> Result<Self> {
        let mut r = Reader::new(check_signature(ring, LOG_DOMAIN, raw, "log entry")?, "log entry");
        let number = r.u64()?;
        let previous = ObjectHash::from_bytes(r.array()?);
        let time = r.time()?;
        let kind = r.u16()?;
        let max = usize::try_from(limits::OBJECT_BYTES_MAX).unwrap_or(usize::MAX);
        let mut p = Reader::new(r.bytes32(max)?, "log entry");
        let event = match kind {
            GENESIS => Event::Genesis(RepoConfig::decode(p.take(p.remaining())?)?),
            COMMIT => {
                let session = SessionId::from_bytes(p.array()?);
                let count = p.u16()?;
                let snapshots = (0..count).map(|_| SnapshotRef::read(&mut p)).collect::<Result<_>>()?;
                let count = p.u16()?;
                let segments = (0..count).map(|_| SegmentRef::read(&mut p)).collect::<Result<_>>()?;
                Event::Commit { session, snapshots, segments }
            }
            REMOVE => Event::Remove(read_ids(&mut p)?),
            CONDEMN => Event::Condemn { objects: read_objects(&mut p)?, segments: read_segments(&mut p)? },
            DELETE => {
                let count = p.count32(size_of::<u64>())?;
                Event::Delete((0..count).map(|_| p.u64()).collect::<Result<_>>()?)
            }
            HOLD => {
                let held = match p.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(p.damage("neither holds nor releases")),
                };
                Event::Hold { held, snapshots: read_ids(&mut p)? }
            }
            PROTECT => Event::Protect(read_seconds(&mut p)?),
            EXTENDED => Event::Extended(p.time()?),
            newer => {
                let message = format!("log entry type {newer} is not known to this version");
                return Err(Error::new(ErrorKind::NewerFormat, message));
            }
        };
        p.finish()?;
        r.finish()?;
        Ok(Self { number, previous, time, event })
    }
}

/// The fold of all entries up to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) number: u64,
    pub(crate) head: ObjectHash,
    pub(crate) config: RepoConfig,
    pub(crate) snapshots: Vec<SnapshotRef>,
    pub(crate) segments: Vec<SegmentRef>,
    /// Ascending.
    pub(crate) held: Vec<SnapshotId>,
    pub(crate) condemned: Vec<Condemned>,
    pub(crate) locks: Locks,
}

impl Checkpoint {
    pub(crate) fn encode(&self, ring: &Keyring) -> Result<Vec<u8>> {
        let mut raw = Vec::new();
        raw.u64(self.number);
        raw.raw(self.head.as_bytes());
        raw.bytes32(&self.config.encode());
        raw.len32(self.snapshots.len());
        self.snapshots.iter().try_for_each(|snapshot| snapshot.write(&mut raw))?;
        write_segments(&mut raw, &self.segments);
        write_ids(&mut raw, &self.held);
        raw.len32(self.condemned.len());
        self.condemned.iter().try_for_each(|group| group.write(&mut raw))?;
        raw.u64(self.locks.seconds);
        raw.u8(u8::from(self.locks.until.is_some()));
        if let Some(until) = self.locks.until {
            raw.time(until);
        }
        sign(ring, CHECKPOINT_DOMAIN, raw)
    }

    pub(crate) fn decode(raw: &[u8], ring: &Keyring) -> Result<Self> {
        let mut r = Reader::new(check_signature(ring, CHECKPOINT_DOMAIN, raw, "checkpoint")?, "checkpoint");
        let number = r.u64()?;
        let head = ObjectHash::from_bytes(r.array()?);
        let config = RepoConfig::decode(r.bytes32(1024)?)?;
        let count = r.count32(ObjectRef::ENCODED_LEN)?;
        let snapshots = (0..count).map(|_| SnapshotRef::read(&mut r)).collect::<Result<_>>()?;
        let segments = read_segments(&mut r)?;
        let held = read_ids(&mut r)?;
        let count = r.count32(NAMED_LEN)?;
        let condemned = (0..count).map(|_| Condemned::read(&mut r)).collect::<Result<_>>()?;
        let seconds = read_seconds(&mut r)?;
        let until = match r.u8()? {
            0 => None,
            1 => Some(r.time()?),
            _ => return Err(r.damage("neither has a lock nor lacks one")),
        };
        r.finish()?;
        let locks = Locks { seconds, until };
        Ok(Self { number, head, config, snapshots, segments, held, condemned, locks })
    }
}

fn sign(ring: &Keyring, domain: &[u8], mut raw: Vec<u8>) -> Result<Vec<u8>> {
    let signature = ring.sign(domain, &raw)?;
    raw.raw(&signature);
    Ok(raw)
}

/// What has a signature of its own behind it.
#[cfg(feature = "fuzzing")]
pub(crate) trait Signed {
    const DOMAIN: &'static [u8];
}

#[cfg(feature = "fuzzing")]
impl Signed for LogEntry {
    const DOMAIN: &'static [u8] = LOG_DOMAIN;
}

#[cfg(feature = "fuzzing")]
impl Signed for Checkpoint {
    const DOMAIN: &'static [u8] = CHECKPOINT_DOMAIN;
}

/// Any bytes, signed as if they were one.
#[cfg(feature = "fuzzing")]
pub(crate) fn signed<T: Signed>(ring: &Keyring, body: &[u8]) -> Result<Vec<u8>> {
    sign(ring, T::DOMAIN, body.to_vec())
}

/// The signed bytes, once their signature is known to be the repository's own.
fn check_signature<'a>(ring: &Keyring, domain: &[u8], raw: &'a [u8], what: &'static str) -> Result<&'a [u8]> {
    let wrong = || Error::corrupt(format!("{what} is not signed by this repository"));
    let (body, signature) = raw.split_last_chunk::<SIGNATURE_LEN>().ok_or_else(wrong)?;
    if ring.verify(domain, body, signature)? { Ok(body) } else { Err(wrong()) }
}
