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

/// The kind of error that has this number.
pub(crate) fn kind_of_code(number: u32) -> Option<ErrorKind> {
    const KINDS: &[ErrorKind] = &[
        ErrorKind::InvalidArgument,
        ErrorKind::Unsupported,
        ErrorKind::Canceled,
        ErrorKind::LimitExceeded,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied,
        ErrorKind::Throttled,
        ErrorKind::Unavailable,
        ErrorKind::OutOfSpace,
        ErrorKind::Io,
        ErrorKind::Unauthenticated,
        ErrorKind::WrongKey,
        ErrorKind::Corrupt,
        ErrorKind::NewerFormat,
        ErrorKind::RolledBack,
        ErrorKind::NotARepository,
        ErrorKind::Missing,
        ErrorKind::Fenced,
        ErrorKind::UnsafeStore,
        ErrorKind::ChangedWhileReading,
        ErrorKind::SourceMismatch,
        ErrorKind::CursorExpired,
        ErrorKind::Extension,
        ErrorKind::Bug,
    ];
    KINDS.iter().copied().find(|kind| kind.code() == number)
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

/// What an item is. Numbers from 0x8000 on are the embedder's own; all others that are not here are kept as they are.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_item_kind {
    /// Contains other items.
    Folder = 1,
    /// A file with a stream "content".
    File = 2,
    /// A symbolic link; its target is the attribute "link_target".
    Symlink = 3,
    /// A folder that its service treats as one thing.
    Package = 4,
    /// A mail message with a stream "mime" or "export".
    Message = 10,
    /// A calendar event.
    Event = 11,
    /// A contact.
    Contact = 12,
    /// An object of a directory service.
    DirectoryObject = 20,
    /// Anything else; say what it is in an attribute.
    Other = 32767,
}

/// What an attribute's value is. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_type {
    /// `integer` is 0 or 1.
    Bool = 1,
    /// `integer`.
    Int = 2,
    /// `number`.
    Float = 3,
    /// `bytes`, as UTF-8.
    Text = 4,
    /// `bytes`.
    Bytes = 5,
    /// `integer` seconds since 1970-01-01T00:00:00Z and `nanos`.
    Time = 6,
    /// The values of `children`, in order; their names are not looked at.
    List = 7,
    /// `children`.
    Map = 8,
}

/// What a sink did with an item.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_action {
    /// It was not there and was created.
    Created = 0,
    /// It took the place of what was there.
    Replaced = 1,
    /// What was there was left as it is.
    Skipped = 2,
    /// It was created under another name.
    Renamed = 3,
}

impl backup_action {
    pub(crate) fn from_number(number: u32) -> Result<backup_core::Action> {
        use backup_core::Action;
        match number {
            _ if number == Self::Created as u32 => Ok(Action::Created),
            _ if number == Self::Replaced as u32 => Ok(Action::Replaced),
            _ if number == Self::Skipped as u32 => Ok(Action::Skipped),
            _ if number == Self::Renamed as u32 => Ok(Action::Renamed),
            _ => Err(unknown("action", number)),
        }
    }
}

/// What a restore asks of a sink where a name is taken.
pub(crate) fn number_of_conflict(conflict: Conflict) -> u32 {
    match conflict {
        Conflict::Replace => backup_conflict::Replace as u32,
        Conflict::KeepBoth => backup_conflict::KeepBoth as u32,
        // Also for what a later engine may add: it destroys nothing.
        _ => backup_conflict::Skip as u32,
    }
}

/// What an entry of a listing of a tenant is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_graph_kind {
    /// A user.
    User = 1,
    /// A group.
    Group = 2,
    /// A site.
    Site = 3,
    /// A drive.
    Drive = 4,
    /// Somebody whose drives are not known, because the service refused to tell them.
    Failed = 5,
}
