//! Where the simulated services are, and how they behave where the real ones vary.

use std::time::Duration;

/// Where the tenant's services are, as addresses without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hosts {
    /// Microsoft Graph.
    pub graph: String,
    /// The issuer of tokens.
    pub login: String,
    /// The host of pre-authenticated downloads and uploads; differs from the others in name or port.
    pub content: String,
}

impl Hosts {
    /// These addresses.
    pub fn new(graph: impl Into<String>, login: impl Into<String>, content: impl Into<String>) -> Self {
        Self { graph: graph.into(), login: login.into(), content: content.into() }
    }

    /// The real names of the global cloud, with the content host of a tenant called Contoso. Use them only where nothing
    /// leads to the real ones: in process, or behind the simulation's own proxy.
    #[must_use]
    pub fn global() -> Self {
        Self::new(
            "https://graph.microsoft.com",
            "https://login.microsoftonline.com",
            "https://contoso-my.sharepoint.com",
        )
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self::new("https://graph.example", "https://login.example", "https://contoso-my.sharepoint.example")
    }
}

/// What a client whose position is forgotten is told, as the service's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resync {
    /// `resyncChangesApplyDifferences`: the service's state counts.
    ApplyDifferences,
    /// `resyncChangesUploadDifferences`: keep both where in doubt.
    UploadDifferences,
}

/// Resource units that an application may use in a tenant
/// ([SharePoint's limits](https://learn.microsoft.com/sharepoint/dev/general-development/how-to-avoid-getting-throttled-or-blocked-in-sharepoint-online)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Units a minute: 1,250 in tenants of up to 1,000 licences, 6,250 in those of more than 50,000.
    pub per_minute: u64,
    /// Units a day: 1,200,000 in the smallest tenants, 6,000,000 in the largest.
    pub per_day: u64,
}

impl Budget {
    /// So many units.
    #[must_use]
    pub const fn new(per_minute: u64, per_day: u64) -> Self {
        Self { per_minute, per_day }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(1_250, 1_200_000)
    }
}

/// How the tenant behaves where the real service's behaviour varies or is a setting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rules {
    /// Entries per page where the request names no number. Default 200.
    pub page_entries: usize,
    /// Whether a full enumeration begins with an empty page, which is legal. Default no.
    pub empty_first_page: bool,
    /// Whether listings of changes begin with an empty page too. Default no.
    pub empty_change_pages: bool,
    /// Whether each page of a full enumeration repeats the last entry of the one before, which is legal. Default no.
    pub repeat_entries: bool,
    /// What a client is told to do once its position is forgotten. Default [`Resync::ApplyDifferences`].
    pub resync: Resync,
    /// How long tokens live. Default one hour.
    pub token_life: Duration,
    /// How long download addresses live. Default one hour.
    pub download_life: Duration,
    /// Whether downloads ignore `Range` and answer with everything. Default no.
    pub ignore_range: bool,
    /// Whether items come with a download address; without it clients must ask for `/content`. Default yes.
    pub download_addresses: bool,
    /// Whether properties are written into Office files as they are stored, so that other bytes are kept than were
    /// sent, as SharePoint does in some libraries. Default no.
    pub enrich_office_files: bool,
    /// Whether an answer to a forgotten position names a fresh start in `Location`. Default yes.
    pub resync_location: bool,
    /// Whether requests need the roles that Microsoft's permissions reference names. Default yes.
    pub enforce_roles: bool,
    /// Whether links may be shared with anybody; if not, making one is refused. Default yes.
    pub external_sharing: bool,
    /// Whether the listing of all sites has subsites too. Default no: they are listed below their parents.
    pub list_subsites: bool,
    /// Whether a user without a drive is answered 403 instead of 404. Default no.
    pub forbid_missing_drives: bool,
    /// Whether a folder that is made takes the times (`fileSystemInfo`) that come with it. Default yes.
    pub take_times_of_new_folders: bool,
    /// What an application may use before it is throttled, as the service counts it. Default none: no throttling.
    pub resource_units: Option<Budget>,
    /// Whether pre-authenticated addresses of downloads refuse requests that bring a token, as the documentation warns
    /// that they may. Some clients bring it and are forgiven in reality. Default yes.
    pub refuse_tokens_at_content_host: bool,
    /// The same for addresses of uploads: Microsoft's Python SDK brings its token there. Default yes.
    pub refuse_tokens_at_uploads: bool,
    /// Whether ranges of an upload, but for the last, must be multiples of 320 KiB; the documentation says that others
    /// fail for some files. Microsoft's Python SDK sends them. Default yes.
    pub refuse_uneven_ranges: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            page_entries: 200,
            empty_first_page: false,
            empty_change_pages: false,
            repeat_entries: false,
            resync: Resync::ApplyDifferences,
            token_life: Duration::from_secs(3_600),
            download_life: Duration::from_secs(3_600),
            ignore_range: false,
            download_addresses: true,
            enrich_office_files: false,
            resync_location: true,
            enforce_roles: true,
            external_sharing: true,
            list_subsites: false,
            forbid_missing_drives: false,
            take_times_of_new_folders: true,
            resource_units: None,
            refuse_tokens_at_content_host: true,
            refuse_tokens_at_uploads: true,
            refuse_uneven_ranges: true,
        }
    }
}
