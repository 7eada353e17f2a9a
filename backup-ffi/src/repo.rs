//! Repositories and what opens them.

use std::ffi::c_char;
use std::sync::Arc;

use backup_core::{
    Credential, DirectoryCache, Error, ErrorKind, Head, KdfParams, Options, Repository, Result, Timestamp,
    store,
};

use crate::boundary::{Crossing, Door, Handle, Output, Poison, boundary, release};
use crate::error::backup_error;
use crate::options::{Settings, backup_options};
use crate::runtime::{Runtime, backup_runtime};
use crate::store::backup_store;
use crate::text::backup_text;

/// A passphrase or a key. Wiped when it is freed.
#[derive(Debug)]
pub struct backup_credential {
    poison: Poison,
    pub(crate) credential: Credential,
}

/// An open repository.
#[derive(Debug)]
pub struct backup_repo {
    poison: Poison,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) repository: Repository,
}

impl Handle for backup_credential {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl Handle for backup_repo {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_repo {
    pub(crate) fn new(runtime: Arc<Runtime>, repository: Repository) -> Self {
        Self { poison: Poison::default(), runtime, repository }
    }
}

/// Makes a credential of a passphrase: any bytes, as they are. The library wipes its copy; wipe yours.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_credential_passphrase(
    passphrase: *const u8,
    passphrase_len: usize,
    out: *mut *mut backup_credential,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (bytes, out) =
            unsafe { (door.bytes(passphrase, passphrase_len, "passphrase")?, door.output(out, "out")?) };
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "passphrase is empty"));
        }
        out.give(backup_credential { poison: Poison::default(), credential: Credential::passphrase(bytes) });
        Ok(())
    })
}

/// Makes a credential of 32 unpredictable bytes. The library wipes its copy; wipe yours.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_credential_raw_key(
    key: *const u8,
    key_len: usize,
    out: *mut *mut backup_credential,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (bytes, out) = unsafe { (door.bytes(key, key_len, "key")?, door.output(out, "out")?) };
        let wrong = |_| Error::new(ErrorKind::InvalidArgument, "a raw key has 32 bytes");
        let credential = Credential::raw_key(bytes.try_into().map_err(wrong)?);
        out.give(backup_credential { poison: Poison::default(), credential });
        Ok(())
    })
}

/// Frees a credential.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_credential_free(credential: *mut backup_credential) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(credential) }
}

/// Creates a repository in an empty store and opens it.
///
/// `url`: a path or file:///path, memory://, s3://bucket/prefix, az://container/prefix, gs://bucket/prefix; what needs
/// a feature that the library was built without is code 2. Options (may be NULL): `kdf_memory_kib`, `kdf_passes`,
/// `kdf_lanes`, the cost of stretching the passphrase; `known_head` and `index_cache` as for backup_repo_open(); all others
/// go to the store (`aws_region`, `timeout` and so on), which refuses those that it does not know.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_init(
    runtime: *const backup_runtime,
    url: *const c_char,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { open(door, runtime, url, options, credential, out, Mode::Init) }
    })
}

/// Opens a repository.
///
/// `url` and options as for backup_repo_init(), without the `kdf_` ones. With `known_head`, a text from
/// backup_repo_head(), a store that shows an older state or another repository is refused with code 23. With `index_cache`,
/// a folder on a local disk that is made if need be, the index is kept there in mapped files instead of memory, and only
/// what is new is read at the next opening; it may be shared, deleted and lost. With `as_of`, a time such as
/// 2026-11-24T08:20:00Z by the store's clock, it is opened as it was then, whatever was hidden, overwritten or added since, and for
/// reading only; the store must keep versions. With `probe` (true, false), what the store does is tried before, as
/// backup_store_probe() does.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_open(
    runtime: *const backup_runtime,
    url: *const c_char,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { open(door, runtime, url, options, credential, out, Mode::Open) }
    })
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Init,
    Open,
}

/// # Safety
/// As for the two functions that call it.
unsafe fn open(
    door: &Door<'_>,
    runtime: *const backup_runtime,
    url: *const c_char,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
    mode: Mode,
) -> Result<()> {
    // SAFETY: the same promise.
    let (runtime, url, options) = unsafe {
        (door.handle(runtime, "runtime")?, door.text(url, "url")?, door.optional(options, "options")?)
    };
    // SAFETY: the same promise.
    let (credential, out): (_, Output<_>) =
        unsafe { (door.handle(credential, "credential")?, door.output(out, "out")?) };
    let mut settings = Settings::of(options);
    let engine = engine_options(&mut settings, mode)?;
    let runtime = Arc::clone(runtime.shared());
    let repository = runtime.run(async {
        let store = store::from_url(url, settings.into_rest())?;
        match mode {
            Mode::Init => Repository::init_with(store, &credential.credential, runtime.env(), engine).await,
            Mode::Open => Repository::open_with(store, &credential.credential, runtime.env(), engine).await,
        }
    })?;
    out.give(backup_repo::new(runtime, repository));
    Ok(())
}

/// # Safety
/// As for the two functions that call it.
pub(crate) unsafe fn open_store(
    door: &Door<'_>,
    runtime: *const backup_runtime,
    store: *const backup_store,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
    mode: Mode,
) -> Result<()> {
    // SAFETY: the same promise.
    let (runtime, store, options) = unsafe {
        (door.handle(runtime, "runtime")?, door.handle(store, "store")?, door.optional(options, "options")?)
    };
    // SAFETY: the same promise.
    let (credential, out): (_, Output<_>) =
        unsafe { (door.handle(credential, "credential")?, door.output(out, "out")?) };
    let mut settings = Settings::of(options);
    let engine = engine_options(&mut settings, mode)?;
    settings.finish()?;
    let (runtime, store) = (Arc::clone(runtime.shared()), Arc::clone(&store.store));
    let repository = runtime.run(async {
        match mode {
            Mode::Init => Repository::init_with(store, &credential.credential, runtime.env(), engine).await,
            Mode::Open => Repository::open_with(store, &credential.credential, runtime.env(), engine).await,
        }
    })?;
    out.give(backup_repo::new(runtime, repository));
    Ok(())
}

fn engine_options(settings: &mut Settings, mode: Mode) -> Result<Options> {
    let mut options = Options::default();
    if mode == Mode::Init {
        options.kdf = kdf(settings)?;
    } else {
        options.as_of = settings.take("as_of")?.map(|text| read_time(&text)).transpose()?;
        options.probe = settings.take_parsed("probe")?.unwrap_or(false);
    }
    if let Some(text) = settings.take("known_head")? {
        options.known_head = Some(read_head(&text)?);
    }
    if let Some(place) = settings.take("index_cache")? {
        options.index_cache = Some(Arc::new(DirectoryCache::open(place)?));
    }
    Ok(options)
}

/// The cost of stretching a passphrase.
pub(crate) fn kdf(settings: &mut Settings) -> Result<KdfParams> {
    let default = KdfParams::default();
    let memory = settings.take_parsed("kdf_memory_kib")?.unwrap_or(default.memory_kib);
    let passes = settings.take_parsed("kdf_passes")?.unwrap_or(default.passes);
    let lanes = settings.take_parsed("kdf_lanes")?.unwrap_or(default.lanes);
    KdfParams::new(memory, passes, lanes)
}

fn read_time(text: &str) -> Result<Timestamp> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "option is no time such as 2026-11-24T08:20:00Z")
            .with_item("as_of")
    })
}

pub(crate) fn head_text(head: Head) -> String {
    format!("{}:{}", head.number, head.hash)
}

pub(crate) fn read_head(text: &str) -> Result<Head> {
    let parts =
        text.split_once(':').and_then(|(number, hash)| Some((number.parse().ok()?, hash.parse().ok()?)));
    let (number, hash) = parts.ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, "option is no text from backup_repo_head")
            .with_item("known_head")
    })?;
    Ok(Head::new(number, hash))
}

/// The end of a repository's log, as this client knows it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_head {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Number of the newest entry: grows by one with each commit.
    pub number: u64,
    /// Keep it outside the store, and give it back as the option `known_head`. NUL-terminated.
    pub text: [c_char; 96],
}

const _: () = assert!(size_of::<backup_head>() == 112);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and an array of them.
unsafe impl Crossing for backup_head {
    const SIZE_MIN: usize = 112;
}

/// Text in an array, NUL-terminated.
pub(crate) fn c_array<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    for (to, from) in array.iter_mut().take(N.saturating_sub(1)).zip(text.bytes()) {
        *to = from.cast_signed() as c_char;
    }
    array
}

/// Gives the repository's id. Costs no request.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_id(
    repo: *const backup_repo,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.output(out, "out")?) };
        out.give(backup_text::new(&repo.repository.id().to_string()));
        Ok(())
    })
}

/// Tells the end of the log. Costs no request.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_head(
    repo: *const backup_repo,
    out: *mut backup_head,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.fill(out, "out")?) };
        let head = repo.repository.head();
        let text = c_array(&head_text(head));
        out.write(backup_head { struct_size: 0, reserved: 0, number: head.number, text });
        Ok(())
    })
}

/// Frees a repository. Nothing is lost: what calls have returned is in the store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_free(repo: *mut backup_repo) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(repo) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_cache_is_a_folder_that_is_made() {
        let place = tempfile::tempdir().unwrap();
        let open = |path: &std::path::Path| {
            let mut settings = Settings::from([("index_cache", path.to_str().unwrap())]);
            engine_options(&mut settings, Mode::Open)
        };
        assert!(open(&place.path().join("cache")).unwrap().index_cache.is_some());
        assert!(place.path().join("cache").is_dir());
        std::fs::write(place.path().join("file"), "").unwrap();
        assert_eq!(open(&place.path().join("file")).unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn a_head_survives_its_text() {
        let text = format!("17:{}", "ab".repeat(32));
        let head = read_head(&text).unwrap();
        assert_eq!(format!("{}:{}", head.number, head.hash), text);
        for wrong in ["", "17", "x:ab", "17:ab", ":"] {
            assert_eq!(read_head(wrong).unwrap_err().item(), Some("known_head"));
        }
    }
}
