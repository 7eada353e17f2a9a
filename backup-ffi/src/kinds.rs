//! The numbers behind every `uint32_t` that stands for a choice, and their conversion from and to the engine's.

use backup_core::{Conflict, Error, ErrorKind, Phase, Result, SnapshotState, VerifyLevel};

/// Error codes. Numbers are permanent and never reused; code that switches over them needs a default.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_code {
    /// No error.
    Ok = 0,
    /// An argument has no meaning here.
    InvalidArgument = 1,
    /// This build, store or service cannot do it.
    Unsupported = 2,
    /// The caller canceled; the next run continues from a checkpoint.
    Canceled = 3,
    /// A bound was exceeded.
    LimitExceeded = 4,
    /// Something asked for by name is not there.
    NotFound = 10,
    /// Something that was to be created is there already.
    AlreadyExists = 11,
    /// The other side refused for lack of rights.
    PermissionDenied = 12,
    /// The other side asks for fewer requests.
    Throttled = 13,
    /// The other side could not be reached, which may pass.
    Unavailable = 14,
    /// No space is left.
    OutOfSpace = 15,
    /// The system reported a failure that fits no other code.
    Io = 16,
    /// The credentials for the service were refused.
    Unauthenticated = 17,
    /// No key slot opens with this passphrase or key.
    WrongKey = 20,
    /// Stored bytes are not what was written.
    Corrupt = 21,
    /// The repository was written by a newer version.
    NewerFormat = 22,
    /// The store shows an older state than one seen before.
    RolledBack = 23,
    /// There is no repository at this place.
    NotARepository = 24,
    /// An object that the repository needs is gone.
    Missing = 25,
    /// A prune took away what a backup under way relied on; run it again.
    Fenced = 26,
    /// The store does not do what keeping data safe needs; nothing was created.
    UnsafeStore = 27,
    /// The content changed while it was read.
    ChangedWhileReading = 30,
    /// The content is not what the source announced.
    SourceMismatch = 31,
    /// The service forgot the cursor.
    CursorExpired = 32,
    /// Code of the embedding program failed or broke its contract.
    Extension = 40,
    /// A fault of the library; please report it.
    Bug = 99,
}

/// What a restore does where a name is taken.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_conflict {
    /// Leave what is there.
    Skip = 0,
    /// Put the restored item in its place.
    Replace = 1,
    /// Put the restored item beside it under another name.
    KeepBoth = 2,
}

impl backup_conflict {
    pub(crate) fn from_number(number: u32) -> Result<Conflict> {
        match number {
            _ if number == Self::Skip as u32 => Ok(Conflict::Skip),
            _ if number == Self::Replace as u32 => Ok(Conflict::Replace),
            _ if number == Self::KeepBoth as u32 => Ok(Conflict::KeepBoth),
            _ => Err(unknown("conflict", number)),
        }
    }
}

/// How thorough a check is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_level {
    /// Everything that snapshots need is there.
    Structure = 0,
    /// Also every stored byte is what was written. Reads the whole repository.
    EveryByte = 1,
}

impl backup_level {
    pub(crate) fn from_number(number: u32) -> Result<VerifyLevel> {
        match number {
            _ if number == Self::Structure as u32 => Ok(VerifyLevel::Structure),
            _ if number == Self::EveryByte as u32 => Ok(VerifyLevel::EveryByte),
            _ => Err(unknown("level", number)),
        }
    }
}

/// What an operation is at. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_phase {
    /// Reading the state of the repository.
    Opening = 0,
    /// Moving content.
    Transferring = 1,
    /// Writing trees, index and log, or closing folders.
    Committing = 2,
    /// Finished.
    Done = 3,
    /// Something that this version has no number for.
    Other = 255,
}

impl From<Phase> for backup_phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Opening => Self::Opening,
            Phase::Transferring => Self::Transferring,
            Phase::Committing => Self::Committing,
            Phase::Done => Self::Done,
            _ => Self::Other,
        }
    }
}

/// How whole a snapshot is. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_state {
    /// Everything that the source named is in it.
    Complete = 1,
    /// Some items could not be read.
    Incomplete = 2,
    /// Something that this version has no number for.
    Other = 255,
}

impl From<SnapshotState> for backup_state {
    fn from(state: SnapshotState) -> Self {
        match state {
            SnapshotState::Complete => Self::Complete,
            SnapshotState::Incomplete => Self::Incomplete,
            _ => Self::Other,
        }
    }
}

fn unknown(name: &str, number: u32) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("argument `{name}` has no meaning for {number}"))
}
