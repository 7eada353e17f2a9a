//! Microsoft 365 through Microsoft Graph: who is in a tenant, and drives as sources and sinks.
//!
//! The functions are there in every build; without the feature `graph` they answer with code 2. `service` is what they do with it.

use std::ffi::{CString, c_char};
use std::sync::Arc;

use backup_core::{Error, ErrorKind, Result};

use crate::boundary::{Crossing, Door, Handle, Output, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::folder::{backup_sink, backup_source};
use crate::kinds::backup_graph_kind;
use crate::options::{Settings, backup_options};
use crate::runtime::{Runtime, backup_runtime};

#[cfg(feature = "graph")]
mod service;
#[cfg(not(feature = "graph"))]
#[path = "absent.rs"]
mod service;

/// A client of one tenant. Sources and sinks made of it share its connections and what it knows of the service's limits.
#[derive(Debug)]
pub struct backup_graph {
    poison: Poison,
    runtime: Arc<Runtime>,
    client: service::Client,
}

impl Handle for backup_graph {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// How the application proves itself.
#[cfg_attr(not(feature = "graph"), expect(dead_code, reason = "there is nobody to prove it to"))]
enum Proof<'a> {
    /// Tenant, application, secret.
    Secret(&'a str, &'a str, &'a str),
    /// Tenant, application, key and certificate in PEM.
    Certificate(&'a str, &'a str, &'a str),
    Token(&'a str),
}

/// Somebody or something in a tenant.
#[derive(Debug)]
struct Found {
    kind: backup_graph_kind,
    id: String,
    name: Option<String>,
    address: Option<String>,
    owner: Option<(String, String)>,
    error: Option<Error>,
}

/// # Safety
/// The pointers are what the header says.
unsafe fn text<'a>(door: &Door<'a>, bytes: *const u8, len: usize, name: &str) -> Result<&'a str> {
    // SAFETY: the same promise.
    let bytes = unsafe { door.bytes(bytes, len, name) }?;
    let wrong = |what| Error::new(ErrorKind::InvalidArgument, format!("argument `{name}` {what}"));
    match std::str::from_utf8(bytes) {
        Ok("") => Err(wrong("is empty")),
        Ok(text) => Ok(text),
        // Without its cause, which would tell something of a secret.
        Err(_) => Err(wrong("is not UTF-8")),
    }
}

/// # Safety
/// The pointers are what the header says.
unsafe fn connect(
    door: &Door<'_>,
    runtime: *const backup_runtime,
    proof: &Proof<'_>,
    options: *const backup_options,
    out: *mut *mut backup_graph,
) -> Result<()> {
    // SAFETY: the same promise.
    let (runtime, options) =
        unsafe { (door.handle(runtime, "runtime")?, door.optional(options, "options")?) };
    // SAFETY: the same promise.
    let out: Output<_> = unsafe { door.output(out, "out")? };
    let runtime = Arc::clone(runtime.shared());
    let client = service::connect(proof, Settings::of(options), runtime.logger())?;
    out.give(backup_graph { poison: Poison::default(), runtime, client });
    Ok(())
}

/// Makes a client of a tenant for an application that proves itself by a client secret. Costs no request. The library wipes its copy of the
/// secret; wipe yours.
///
/// `tenant` is its id or one of its domains, `client_id` the application's. Options (may be NULL): `cloud` (`global`, `us_government`,
/// `us_defense`, `china`; default `global`); `graph_url` and `login_url`, other addresses than the cloud's, for a gateway or a simulated tenant;
/// `ca_pem`, further certificate authorities to trust, in PEM; `user_agent`, the program's name for Microsoft
/// (`NONISV|Company|Application/1.0`).
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_secret(
    runtime: *const backup_runtime,
    tenant: *const c_char,
    client_id: *const c_char,
    secret: *const u8,
    secret_len: usize,
    options: *const backup_options,
    out: *mut *mut backup_graph,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe {
            let (tenant, client) = (door.text(tenant, "tenant")?, door.text(client_id, "client_id")?);
            let secret = text(door, secret, secret_len, "secret")?;
            connect(door, runtime, &Proof::Secret(tenant, client, secret), options, out)
        }
    })
}

/// As backup_graph_secret() for an application that proves itself by a certificate: `pem` has its private key (not encrypted) and the
/// certificate that is registered with it; further certificates are its chain. Further option: `send_chain` (true, false).
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_certificate(
    runtime: *const backup_runtime,
    tenant: *const c_char,
    client_id: *const c_char,
    pem: *const u8,
    pem_len: usize,
    options: *const backup_options,
    out: *mut *mut backup_graph,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe {
            let (tenant, client) = (door.text(tenant, "tenant")?, door.text(client_id, "client_id")?);
            let pem = text(door, pem, pem_len, "pem")?;
            connect(door, runtime, &Proof::Certificate(tenant, client, pem), options, out)
        }
    })
}

/// As backup_graph_secret() with a token that somebody else has got. It is not renewed: once it expires, calls end with code 17.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_token(
    runtime: *const backup_runtime,
    token: *const u8,
    token_len: usize,
    options: *const backup_options,
    out: *mut *mut backup_graph,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe {
            let token = text(door, token, token_len, "token")?;
            connect(door, runtime, &Proof::Token(token), options, out)
        }
    })
}

/// Frees a client. Sources and sinks made of it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_free(graph: *mut backup_graph) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(graph) }
}

/// What a tenant has, as it was when it was asked.
#[derive(Debug)]
pub struct backup_graph_list {
    poison: Poison,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: backup_graph_kind,
    code: u32,
    texts: [Option<CString>; 6],
}

impl Handle for backup_graph_list {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// Somebody or something in a tenant. Text lives as long as the list, and is NULL where there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_graph_entry {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// What it is, a `backup_graph_kind`.
    pub kind: u32,
    /// For BACKUP_GRAPH_KIND_FAILED: why, a `backup_code`; otherwise 0.
    pub code: u32,
    /// 0.
    pub reserved: u32,
    /// Its id, which stays when it is renamed.
    pub id: *const c_char,
    /// The name to show.
    pub name: *const c_char,
    /// A user's sign-in name, a group's mail address, where people open a site or drive.
    pub address: *const c_char,
    /// For a drive: the id of the user, group or site that it belongs to.
    pub owner_id: *const c_char,
    /// For a drive: what to call its owner.
    pub owner: *const c_char,
    /// For BACKUP_GRAPH_KIND_FAILED: why, in one line.
    pub message: *const c_char,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_graph_entry>() == 64);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and pointers.
unsafe impl Crossing for backup_graph_entry {
    const SIZE_MIN: usize = size_of::<Self>();
}

impl Entry {
    fn new(found: Found) -> Self {
        let (owner_id, owner) = found.owner.unzip();
        let code = found.error.as_ref().map_or(0, |error| error.kind().code());
        let message = found.error.map(|error| error.to_string());
        let texts = [Some(found.id), found.name, found.address, owner_id, owner, message];
        Self { kind: found.kind, code, texts: texts.map(|text| text.as_deref().map(c_text)) }
    }
}

/// Asks for a listing.
///
/// # Safety
/// The pointers are what the header says.
unsafe fn list<'a, F: Future<Output = Result<Vec<Found>>>>(
    door: &Door<'a>,
    graph: *const backup_graph,
    out: *mut *mut backup_graph_list,
    ask: impl FnOnce(&'a service::Client) -> F,
) -> Result<()> {
    // SAFETY: the same promise.
    let (graph, out) = unsafe { (door.handle(graph, "graph")?, door.output(out, "out")?) };
    let found = graph.runtime.run(ask(&graph.client))?;
    let entries = found.into_iter().map(Entry::new).collect();
    out.give(backup_graph_list { poison: Poison::default(), entries });
    Ok(())
}

/// Lists every user, guests and disabled accounts included. One request for each 999. Needs the permission User.Read.All.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_users(
    graph: *const backup_graph,
    out: *mut *mut backup_graph_list,
) -> *mut backup_error {
    // SAFETY: the caller keeps the contract of the header.
    boundary(|door| unsafe { list(door, graph, out, service::users) })
}

/// Lists every group that has a drive: the Microsoft 365 groups. One request for each 999 groups. Needs the permission GroupMember.Read.All.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_groups(
    graph: *const backup_graph,
    out: *mut *mut backup_graph_list,
) -> *mut backup_error {
    // SAFETY: the caller keeps the contract of the header.
    boundary(|door| unsafe { list(door, graph, out, service::groups) })
}

/// Lists every site, those of groups and persons included. One request a page. Needs the permission Sites.Read.All.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_sites(
    graph: *const backup_graph,
    out: *mut *mut backup_graph_list,
) -> *mut backup_error {
    // SAFETY: the caller keeps the contract of the header.
    boundary(|door| unsafe { list(door, graph, out, service::sites) })
}

/// Lists the drives of a user, group or site: `kind` is a `backup_graph_kind`, `owner` its id, or a user's sign-in name. None for who has
/// none. Mostly one request. Needs the permission Files.Read.All.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_drives(
    graph: *const backup_graph,
    kind: u32,
    owner: *const c_char,
    out: *mut *mut backup_graph_list,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let owner = unsafe { door.text(owner, "owner") }?;
        // SAFETY: the caller keeps the contract of the header.
        unsafe { list(door, graph, out, move |client| service::drives(client, kind, owner)) }
    })
}

/// Lists every drive of users, groups and sites, each once, with its owner. Twenty owners are asked in one request. Where the service
/// refuses to tell an owner's drives, the list has an entry of kind BACKUP_GRAPH_KIND_FAILED. Needs the permissions of the other listings.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_every_drive(
    graph: *const backup_graph,
    out: *mut *mut backup_graph_list,
) -> *mut backup_error {
    // SAFETY: the caller keeps the contract of the header.
    boundary(|door| unsafe { list(door, graph, out, service::every_drive) })
}

/// How many entries there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_list_count(list: *const backup_graph_list) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(list, 0, |list| list.entries.len() as u64) }
}

/// Fills `out` with the entry of this number, the first being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_list_at(
    list: *const backup_graph_list,
    index: u64,
    out: *mut backup_graph_entry,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (list, out) = unsafe { (door.handle(list, "list")?, door.fill(out, "out")?) };
        let entry = usize::try_from(index).ok().and_then(|index| list.entries.get(index));
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many entries"))?;
        let texts = entry.texts.each_ref();
        let [id, name, address, owner_id, owner, message] =
            texts.map(|text| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr()));
        out.write(backup_graph_entry {
            struct_size: 0,
            kind: entry.kind as u32,
            code: entry.code,
            reserved: 0,
            id,
            name,
            address,
            owner_id,
            owner,
            message,
        });
        Ok(())
    })
}

/// Frees a listing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_list_free(list: *mut backup_graph_list) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(list) }
}

/// Makes a source of a drive: a OneDrive or a document library. Costs no request.
///
/// Options (may be NULL): `concurrency`, files that are read at once (default 4); `range_bytes`, length of the ranges in which large files are
/// read; `page_entries`, entries of a page of the listing; `versions` (`none`, `all`, or how many before the current one; default `none`);
/// `permissions` (true, false), those that items have of their own; `fields` (true, false), the columns of the library.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_drive_source(
    graph: *const backup_graph,
    drive_id: *const c_char,
    options: *const backup_options,
    out: *mut *mut backup_source,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (graph, drive) = unsafe { (door.handle(graph, "graph")?, door.text(drive_id, "drive_id")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (options, out) = unsafe { (door.optional(options, "options")?, door.output(out, "out")?) };
        let source = service::drive_source(&graph.client, drive, Settings::of(options))?;
        out.give(backup_source::new(source).keeping(Arc::clone(&graph.runtime)));
        Ok(())
    })
}

/// Makes a sink of a drive: restores go into the folder with the id `folder_id`, or into its root if that is NULL. Costs no request.
///
/// Options (may be NULL): `concurrency`, items that are put at once (default 4); `range_bytes`, length of the ranges in which large files are
/// sent; `versions`, `permissions`, `fields` (true, false; default false), whether what was backed up of them is written back.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_graph_drive_sink(
    graph: *const backup_graph,
    drive_id: *const c_char,
    folder_id: *const c_char,
    options: *const backup_options,
    out: *mut *mut backup_sink,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (graph, drive) = unsafe { (door.handle(graph, "graph")?, door.text(drive_id, "drive_id")?) };
        let folder = match folder_id.is_null() {
            true => None,
            // SAFETY: the caller keeps the contract of the header.
            false => Some(unsafe { door.text(folder_id, "folder_id") }?),
        };
        // SAFETY: the caller keeps the contract of the header.
        let (options, out) = unsafe { (door.optional(options, "options")?, door.output(out, "out")?) };
        let sink = service::drive_sink(&graph.client, drive, folder, Settings::of(options))?;
        out.give(backup_sink::new(sink).keeping(Arc::clone(&graph.runtime)));
        Ok(())
    })
}
