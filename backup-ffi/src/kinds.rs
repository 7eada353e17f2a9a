//! The numbers behind every `uint32_t` that stands for a choice, and their conversion from and to the engine's.

use backup_core::store::{Contest, Deletion, Listed};
use backup_core::{Conflict, Error, ErrorKind, Phase, Repair, Result, SnapshotState, Suspicion, VerifyLevel};

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

/// Reasons to look at a snapshot before earlier ones are let go. Numbers are added up; later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_suspicion {
    /// Many items are gone.
    MassRemoval = 1,
    /// Many items differ from what they were, as after an encryption.
    MassChange = 2,
    /// Something that this version has no number for.
    Other = 1_073_741_824,
}

pub(crate) fn suspicion_flags(suspicions: &[Suspicion]) -> u32 {
    let flag = |suspicion: &Suspicion| match suspicion {
        Suspicion::MassRemoval { .. } => backup_suspicion::MassRemoval as u32,
        Suspicion::MassChange { .. } => backup_suspicion::MassChange as u32,
        _ => backup_suspicion::Other as u32,
    };
    suspicions.iter().map(flag).fold(0, |flags, flag| flags | flag)
}

/// How creations of one name by two at once end. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_contest {
    /// One created the object, the other was told that it is there.
    Decided = 0,
    /// One created the object, the other got an error. Costs a writer that meets another one a read.
    LoserFails = 1,
    /// Something that this version has no number for.
    Other = 255,
}

impl From<Contest> for backup_contest {
    fn from(contest: Contest) -> Self {
        match contest {
            Contest::Decided => Self::Decided,
            Contest::LoserFails => Self::LoserFails,
            _ => Self::Other,
        }
    }
}

/// When something takes effect in a store. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_effect {
    /// When the call returns.
    AtOnce = 0,
    /// Some time after the call has returned.
    Late = 1,
    /// Not at all: the call is refused. A prune gives nothing back then.
    Refused = 2,
    /// Something that this version has no number for.
    Other = 255,
}

impl From<Listed> for backup_effect {
    fn from(listing: Listed) -> Self {
        match listing {
            Listed::AtOnce => Self::AtOnce,
            Listed::Late => Self::Late,
            _ => Self::Other,
        }
    }
}

impl From<Deletion> for backup_effect {
    fn from(deletion: Deletion) -> Self {
        match deletion {
            Deletion::AtOnce => Self::AtOnce,
            Deletion::Late => Self::Late,
            Deletion::Refused => Self::Refused,
            _ => Self::Other,
        }
    }
}

/// What became of a damaged object. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_repair {
    /// Its bytes can be computed: scrub again with the option `repair`, or see the findings for why they could not be put in place.
    Possible = 0,
    /// It is what it was again.
    Done = 1,
    /// More is damaged than the parity makes good. Another copy of the repository may have it.
    Impossible = 2,
    /// Something that this version has no number for.
    Other = 255,
}

impl From<Repair> for backup_repair {
    fn from(repair: Repair) -> Self {
        match repair {
            Repair::Possible => Self::Possible,
            Repair::Done => Self::Done,
            Repair::Impossible => Self::Impossible,
            _ => Self::Other,
        }
    }
}

/// How an item differs between two snapshots. Later versions may know more.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_difference {
    /// There are no more differences.
    End = 0,
    /// Only the later snapshot has it.
    Added = 1,
    /// Only the earlier snapshot has it.
    Removed = 2,
    /// It was renamed or moved, or its attributes changed; its content is the same.
    Changed = 3,
    /// The bytes of a stream differ.
    Content = 4,
    /// Something that this version has no number for.
    Other = 255,
}

/// Whether the log of a salvaged repository reaches a head that was seen before.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum backup_reached {
    /// No head was given.
    Unknown = 0,
    /// The log still has it unchanged.
    Yes = 1,
    /// It does not.
    No = 2,
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
