//! Every bound of this crate, in one place, with the unit last in the name.

/// Longest JSON answer that is read, in bytes.
pub(crate) const JSON_BYTES_MAX: usize = 64 << 20;
/// How often one request may be answered with what is not JSON before that counts as the answer.
pub(crate) const MALFORMED_ANSWERS_MAX: u32 = 3;
/// Longest error answer that is read, in bytes.
pub(crate) const ERROR_BYTES_MAX: usize = 64 << 10;
/// Longest claims challenge that is passed on, in bytes.
pub(crate) const CLAIMS_BYTES_MAX: usize = 16 << 10;
/// Longest answer of a token endpoint, in bytes.
pub(crate) const ISSUER_ANSWER_BYTES_MAX: usize = 256 << 10;
/// Most scopes whose tokens are kept.
pub(crate) const TOKEN_SCOPES_MAX: usize = 16;
/// How long a signed assertion is good for, in seconds: at most ten minutes, as Microsoft recommends.
#[cfg(feature = "certificate")]
pub(crate) const ASSERTION_SECONDS: i64 = 600;
/// Longest text with a key and its certificates, in bytes, and most certificates in it.
#[cfg(feature = "certificate")]
pub(crate) const PEM_BYTES_MAX: usize = 1 << 20;
#[cfg(feature = "certificate")]
pub(crate) const CERTIFICATES_MAX: usize = 16;
/// Most requests in one batch.
pub(crate) const BATCH_REQUESTS_MAX: usize = 20;
/// Longest batch, in bytes; a single request that is longer travels alone.
pub(crate) const BATCH_BYTES_MAX: usize = 3 << 20;
/// How many batches of questions about drives are under way at once.
pub(crate) const BATCHES_AT_ONCE: usize = 4;
/// Entries of one page of users or groups that are asked for: the most that the service gives.
pub(crate) const DIRECTORY_PAGE_ENTRIES: usize = 999;
/// Most pages of one listing.
pub(crate) const PAGES_MAX: u64 = 10_000_000;
/// Most items that a cursor says were missed; with more, the run begins again where it began.
pub(crate) const MISSED_ITEMS_MAX: usize = 1_000;
/// How often one enumeration may be started over because the service forgot its position.
pub(crate) const RESETS_MAX: u32 = 3;
/// Most download addresses that a source remembers.
pub(crate) const DOWNLOAD_URLS_MAX: usize = 10_000;
/// How long a download address is believed to work, in seconds. Microsoft promises minutes; an hour is seen.
pub(crate) const DOWNLOAD_URL_SECONDS_MAX: i64 = 1_800;
/// How often one download is resumed after it broke off, and how often its address is renewed.
pub(crate) const RESUMES_MAX: u32 = 6;
/// Most earlier versions of one file that are kept.
pub(crate) const VERSIONS_MAX: usize = 5_000;
/// Files longer than so many ranges are downloaded in several of them at once.
pub(crate) const RANGED_FILE_RANGES_MIN: u64 = 4;
/// Length of such a range unless told otherwise, in bytes, and how many of one file are on their way at once: together the
/// memory that one file takes.
pub(crate) const RANGE_BYTES: u64 = 8 << 20;
pub(crate) const RANGES_AT_ONCE: usize = 3;
/// Shortest range that may be asked for, in bytes.
pub(crate) const RANGE_BYTES_MIN: u64 = 64 << 10;
/// How often in a row a listing may lead to where it was read before it counts as broken.
pub(crate) const PAGES_STANDING_MAX: u32 = 8;
/// Largest file that is uploaded in one request, in bytes.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 4 << 20;
/// Every range of an upload but the last is a multiple of this, in bytes.
pub(crate) const UPLOAD_UNIT_BYTES: usize = 320 << 10;
/// Most such units in one range: a range is shorter than 60 MiB.
pub(crate) const UPLOAD_UNITS_MAX: usize = 191;
/// Length of an upload's ranges unless told otherwise, in bytes. One range is in memory per upload.
pub(crate) const UPLOAD_RANGE_BYTES: usize = 32 * UPLOAD_UNIT_BYTES;
/// How often one upload is started over because its session was lost.
pub(crate) const UPLOAD_RESTARTS_MAX: u32 = 3;
/// Most requests for one range of an upload.
pub(crate) const UPLOAD_ATTEMPTS_MAX: u32 = 8;

const _: () = assert!(UPLOAD_UNITS_MAX * UPLOAD_UNIT_BYTES < 60 << 20);
