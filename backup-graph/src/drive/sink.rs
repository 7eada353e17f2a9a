//! A drive as a restore target: folders, small files in one request, large ones by upload session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::{
    Action, Conflict, Contents, Error, ErrorKind, Item, ItemKind, Place, Placed, Placement, Result, Sink,
    Stream,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::extras::VERSION_PREFIX;
use super::wire::{DriveItem, FileSystemInfo};
use super::{child_address, item_address};
use crate::client::{Call, GraphClient, encode_segment};
use crate::hash::QuickXorHash;
use crate::limits::{SMALL_FILE_BYTES_MAX, UPLOAD_RANGE_BYTES, UPLOAD_UNIT_BYTES, UPLOAD_UNITS_MAX};

/// A folder of a drive that items are restored into.
///
/// Every file is compared with what the service says that it holds, by length and hash; one that differs is reported
/// and left there. With [`Conflict::KeepBoth`] a lost answer may leave a second copy behind: the service cannot tell
/// a repeated request from a new one.
pub struct DriveSink {
    pub(super) client: GraphClient,
    pub(super) drive: String,
    target: String,
    pub(super) range_bytes: usize,
    concurrency: usize,
    versions: bool,
    pub(super) permissions: bool,
    pub(super) fields: bool,
    /// Folders that are being filled.
    open: Mutex<HashMap<Placed, Open>>,
}

/// A small file is two requests one after the other, and four resource units.
const CONCURRENCY: usize = 4;

/// A folder that is being filled.
#[derive(Clone, Copy, Default)]
struct Open {
    /// It was made by this restore: nothing is in it that was not put by it.
    new: bool,
    /// Its times are still to be set, once nothing more is put into it.
    times_due: bool,
}

/// A file that has been written.
pub(super) struct Written {
    pub(super) item: Box<DriveItem>,
    /// Whether it is new, or took the place of what was there.
    pub(super) new: bool,
    /// Hash and length of what was sent.
    pub(super) sent: QuickXorHash,
}

/// How writing a file ended.
pub(super) enum Outcome {
    Written(Box<Written>),
    /// The name is taken. The hash is that of what was sent if an earlier attempt may have been the one to take it.
    Taken(Option<QuickXorHash>),
}

/// A file to be written.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) parent: &'a str,
    pub(super) name: &'a str,
    pub(super) conflict: Conflict,
    pub(super) item: &'a Item,
    /// The stream that is written.
    pub(super) stream: &'a str,
    /// The file that gets it as its next version; without one, it is a new file.
    pub(super) onto: Option<&'a str>,
    /// Whether the parent was made by this restore, so that nobody else has the name.
    pub(super) alone: bool,
}

impl Target<'_> {
    /// The address that an action on the file is appended to.
    pub(super) fn address(&self, drive: &str) -> String {
        match self.onto {
            Some(id) => item_address(drive, id),
            None => format!("{}:", child_address(drive, self.parent, self.name)),
        }
    }

    /// Whether this is the last that is written of the file, so that its times hold.
    pub(super) fn is_last(&self) -> bool {
        self.stream == Stream::CONTENT
    }
}

impl DriveSink {
    /// Restores into the folder with the id `folder` of this drive, or into its root.
    pub fn new(client: GraphClient, drive_id: impl Into<String>, folder: Option<&str>) -> Self {
        let target = folder.unwrap_or("root").to_owned();
        Self {
            client,
            drive: drive_id.into(),
            target,
            range_bytes: UPLOAD_RANGE_BYTES,
            concurrency: CONCURRENCY,
            versions: false,
            permissions: false,
            fields: false,
            open: Mutex::default(),
        }
    }

    /// Length of the ranges in which large files are sent; the default is 10 MiB. Longer ranges cost fewer requests,
    /// and each upload holds one range in memory. Rounded down to a multiple of 320 KiB that the service accepts.
    #[must_use]
    pub fn with_range_bytes(mut self, bytes: usize) -> Self {
        let units = (bytes / UPLOAD_UNIT_BYTES).clamp(1, UPLOAD_UNITS_MAX);
        self.range_bytes = units * UPLOAD_UNIT_BYTES;
        self
    }

    /// How many items are put at once; the default is 4, which the smallest tenant's allowance of requests bears for itself. An app that has
    /// the tenant for itself may go to 16, as many uploads as the service is sent at once.
    #[must_use]
    pub fn with_concurrency(mut self, items: usize) -> Self {
        self.concurrency = items.max(1);
        self
    }

    /// Whether earlier versions that were backed up are written back, oldest first, before the content. The default is no:
    /// each costs what a file costs, counts against the quota, and gets the time of the restore.
    #[must_use]
    pub fn with_versions(mut self, wanted: bool) -> Self {
        self.versions = wanted;
        self
    }

    /// Whether permissions and sharing links that were backed up are given again. The default is no. Nobody is mailed; links
    /// get new addresses; what the service cannot give back is in the restore's report.
    #[must_use]
    pub fn with_permissions(mut self, wanted: bool) -> Self {
        self.permissions = wanted;
        self
    }

    /// Whether the columns of the library are filled in again. The default is no. The library must have the columns.
    #[must_use]
    pub fn with_fields(mut self, wanted: bool) -> Self {
        self.fields = wanted;
        self
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<Placed, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn folder(&self, item: &Item, parent: &str, name: &str, conflict: Conflict) -> Result<Placement> {
        let (made, action) = match self.make_folder(item, parent, name, Conflict::Skip).await? {
            Ok(made) => (made, Action::Created),
            Err(repeated) => {
                let found = self.look_up(parent, name).await?;
                match (found, conflict) {
                    (Some(found), _) if found.is_container() => {
                        let empty = found.folder.as_ref().and_then(|folder| folder.child_count) == Some(0);
                        let action = match conflict {
                            Conflict::Replace => Action::Replaced,
                            // The answer to an earlier attempt was lost: that one made it.
                            _ if repeated && empty => Action::Created,
                            _ => Action::Skipped,
                        };
                        (found, action)
                    }
                    // A file has the folder's name.
                    (Some(found), Conflict::Replace) if found.file.is_some() => {
                        self.client.delete(&item_address(&self.drive, &found.id)).await?;
                        let made = self.make_folder(item, parent, name, Conflict::Skip).await?;
                        (made.map_err(|_| name_taken(name))?, Action::Replaced)
                    }
                    (_, Conflict::KeepBoth) => {
                        let made = self.make_folder(item, parent, name, Conflict::KeepBoth).await?;
                        (made.map_err(|_| name_taken(name))?, Action::Renamed)
                    }
                    _ => return Err(name_taken(name)),
                }
            }
        };
        let times_due = !made.has_times(item.times);
        let mut placement = Placement::new(made.id, action);
        if action == Action::Skipped {
            return Ok(placement);
        }
        let open = Open { new: action != Action::Replaced, times_due };
        self.open().insert(placement.placed.clone(), open);
        for problem in self.dress(id_of(&placement.placed)?, item).await? {
            placement = placement.with_problem(problem);
        }
        Ok(placement)
    }

    /// The new folder, or, where the name is taken, whether that may be the work of an earlier attempt.
    ///
    /// Its times go along: they are the client's own, which only clients change, so what is put into it later leaves them
    /// alone (Microsoft Graph, `fileSystemInfo`).
    async fn make_folder(
        &self,
        item: &Item,
        parent: &str,
        name: &str,
        conflict: Conflict,
    ) -> Result<Result<DriveItem, bool>> {
        let mut body =
            json!({ "name": name, "folder": {}, "@microsoft.graph.conflictBehavior": behavior(conflict) });
        if let Some(info) = FileSystemInfo::of(item.times) {
            body["fileSystemInfo"] = json!(info);
        }
        let url = format!("{}/children", item_address(&self.drive, parent));
        let mut attempt = 1;
        loop {
            let reply = self.client.call(Call::new(Method::POST, &url).json(&body)?.present()).await?;
            if reply.status() == StatusCode::CONFLICT {
                return Ok(Err(attempt > 1 || reply.attempt > 1));
            }
            match reply.success().await?.json().await {
                Ok(made) => return Ok(Ok(made)),
                Err(error) => self.client.pause(attempt, error).await?,
            }
            attempt += 1;
        }
    }

    /// Writes a file: its earlier versions where that is wanted, then its content.
    async fn file(&self, mut target: Target<'_>, contents: &dyn Contents) -> Result<Placement> {
        let earlier = target.item.streams.iter().map(|stream| stream.name.as_str());
        let earlier = earlier.filter(|name| self.versions && name.starts_with(VERSION_PREFIX));
        let mut streams = earlier.chain(std::iter::once(Stream::CONTENT));
        target.stream = streams.next().unwrap_or(Stream::CONTENT);
        let outcome = self.write(target, contents).await?;
        let mut placement = self.settle(target, outcome).await?;
        if placement.action == Action::Skipped {
            return Ok(placement);
        }
        let id = id_of(&placement.placed)?.to_owned();
        for stream in streams {
            let next = Target { stream, onto: Some(&id), conflict: Conflict::Replace, ..target };
            match self.write(next, contents).await? {
                Outcome::Written(written) => check(&written, target.name)?,
                Outcome::Taken(_) => return Err(name_taken(target.name)),
            }
        }
        for problem in self.dress(&id, target.item).await? {
            placement = placement.with_problem(problem);
        }
        Ok(placement)
    }

    /// Writes one stream of a file.
    async fn write(&self, target: Target<'_>, contents: &dyn Contents) -> Result<Outcome> {
        let announced = target.item.stream(target.stream).and_then(|stream| stream.size);
        let size = match announced {
            Some(size) => size,
            // A range of an upload names the total: where it is not known, the content is read once for its length.
            None => measure(contents, target.stream).await?,
        };
        // Nothing longer than a range is in memory at once.
        if size <= SMALL_FILE_BYTES_MAX.min(self.range_bytes as u64) {
            self.write_small(target, contents, size).await
        } else if target.conflict == Conflict::Skip
            && !target.alone
            && self.look_up(target.parent, target.name).await?.is_some()
        {
            // The service would tell only once everything was sent.
            Ok(Outcome::Taken(None))
        } else {
            self.write_large(target, contents, size).await
        }
    }

    /// What became of a file, once it is known what the service holds.
    async fn settle(&self, target: Target<'_>, outcome: Outcome) -> Result<Placement> {
        match outcome {
            Outcome::Written(written) => {
                check(&written, target.name)?;
                let action = match target.conflict {
                    Conflict::KeepBoth if written.item.name.as_deref() != Some(target.name) => {
                        Action::Renamed
                    }
                    _ if written.new => Action::Created,
                    _ => Action::Replaced,
                };
                Ok(Placement::new(written.item.id, action))
            }
            Outcome::Taken(sent) => {
                let found =
                    self.look_up(target.parent, target.name).await?.ok_or_else(|| name_taken(target.name))?;
                if found.file.is_none() {
                    return Err(name_taken(target.name));
                }
                // The answer to an earlier attempt was lost: what is there is what was sent.
                let own = sent.is_some_and(|sent| is_same(&found, &sent));
                if own {
                    self.set_times(&found.id, target.item).await?;
                }
                let action = if own { Action::Created } else { Action::Skipped };
                if target.conflict == Conflict::Replace && !own {
                    return Err(name_taken(target.name));
                }
                Ok(Placement::new(found.id, action))
            }
        }
    }

    async fn write_small(&self, target: Target<'_>, contents: &dyn Contents, size: u64) -> Result<Outcome> {
        let mut content = contents.open(target.stream)?;
        let mut bytes = Vec::new();
        while let Some(piece) = content.bytes.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > size {
                break;
            }
        }
        if bytes.len() as u64 != size {
            return Err(Error::new(ErrorKind::SourceMismatch, "the content is not as long as announced"));
        }
        let mut sent = QuickXorHash::new();
        sent.update(&bytes);
        let address = target.address(&self.drive);
        let parameter = encode_segment("@microsoft.graph.conflictBehavior");
        let url = format!("{address}/content?{parameter}={}", behavior(target.conflict));
        let call = Call::new(Method::PUT, url);
        let call = call.bytes(Bytes::from(bytes), HeaderValue::from_static("application/octet-stream"));
        let call = call.present();
        let mut attempt = 1;
        let (item, new) = loop {
            let reply = self.client.call(call.clone()).await?;
            let repeated = attempt > 1 || reply.attempt > 1;
            if reply.status() == StatusCode::CONFLICT {
                return Ok(Outcome::Taken(repeated.then_some(sent)));
            }
            let reply = reply.success().await?;
            // After a repetition, what is replaced may be our own file.
            let new = reply.status() == StatusCode::CREATED;
            match reply.json::<Box<DriveItem>>().await {
                Ok(item) => break (item, new),
                Err(error) => self.client.pause(attempt, error).await?,
            }
            attempt += 1;
        };
        if target.is_last() {
            self.set_times(&item.id, target.item).await?;
        }
        Ok(Outcome::Written(Box::new(Written { item, new, sent })))
    }

    pub(super) async fn look_up(&self, parent: &str, name: &str) -> Result<Option<DriveItem>> {
        match self.client.get(&child_address(&self.drive, parent, name)).await {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn set_times(&self, id: &str, item: &Item) -> Result<()> {
        let Some(info) = FileSystemInfo::of(item.times) else { return Ok(()) };
        let body = json!({ "fileSystemInfo": info });
        let call = Call::new(Method::PATCH, item_address(&self.drive, id)).json(&body)?;
        self.client.json::<Value>(call.present()).await.map(drop)
    }
}

#[async_trait]
impl Sink for DriveSink {
    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        if place.parent.is_none() && item.parent.is_none() && item.kind.is_container() {
            // The top of what was backed up is the folder that it is restored into.
            return Ok(Placement::new(self.target.clone(), Action::Skipped));
        }
        let parent = match place.parent {
            None => self.target.as_str(),
            Some(placed) => id_of(placed)?,
        };
        let name = name_of(item)?;
        let placed = match item.kind {
            kind if kind.is_container() => self.folder(item, parent, name, place.conflict).await,
            ItemKind::FILE => {
                let alone =
                    place.parent.is_some_and(|parent| self.open().get(parent).is_some_and(|open| open.new));
                let (conflict, stream) = (place.conflict, Stream::CONTENT);
                let target = Target { parent, name, conflict, item, stream, onto: None, alone };
                self.file(target, contents).await
            }
            kind => Err(Error::new(ErrorKind::Unsupported, format!("a drive cannot hold a {kind}"))),
        };
        placed.map_err(|error| error.with_item(name))
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        let open = self.open().remove(placed).unwrap_or_default();
        if !open.times_due {
            return Ok(());
        }
        self.set_times(id_of(placed)?, item).await
    }
}

impl fmt::Debug for DriveSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveSink")
            .field("drive", &self.drive)
            .field("target", &self.target)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The service's word for what to do if the name is taken.
pub(super) fn behavior(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::Replace => "replace",
        Conflict::KeepBoth => "rename",
        // A policy that this version does not know destroys nothing.
        _ => "fail",
    }
}

/// Whether the service holds what was sent. A service that announces no hash is believed by the length.
pub(super) fn is_same(item: &DriveItem, sent: &QuickXorHash) -> bool {
    item.size == Some(sent.length()) && item.hash().is_none_or(|hash| hash == sent.to_base64())
}

fn check(written: &Written, name: &str) -> Result<()> {
    if is_same(&written.item, &written.sent) {
        return Ok(());
    }
    let message = "the service holds other bytes than were sent";
    Err(Error::new(ErrorKind::SourceMismatch, message).with_item(name))
}

async fn measure(contents: &dyn Contents, stream: &str) -> Result<u64> {
    let mut content = contents.open(stream)?;
    let mut size = 0u64;
    while let Some(piece) = content.bytes.next().await {
        size = size.saturating_add(piece?.len() as u64);
    }
    Ok(size)
}

fn id_of(placed: &Placed) -> Result<&str> {
    std::str::from_utf8(placed.as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidArgument, "not a handle of a drive"))
}

/// What cannot be a name is refused here: in an address it would mean something else.
fn name_of(item: &Item) -> Result<&str> {
    let name = std::str::from_utf8(item.name.as_bytes()).ok();
    let name = name.filter(|name| !matches!(*name, "" | "." | "..") && !name.contains(['/', '\\', ':']));
    name.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "a drive cannot hold this name").with_item(item.name.to_string())
    })
}

fn name_taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "something else has the name").with_item(name)
}
