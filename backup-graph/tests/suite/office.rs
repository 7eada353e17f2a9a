//! What the tests share: an office with documents, a client of it, and a copy machine in the engine's place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backup_core::store::MemoryStore;
use backup_core::testkit::environment;
use backup_core::{
    Action, Change, Conflict, Content, Contents, Credential, Cursor, Error, ErrorKind, Item, ItemId, Options,
    Place, Placed, Repository, Result, Sink, SnapshotId, SnapshotState, Source, Stream,
};
use backup_graph::sim::{SimTransport, Simulation, Tenant, VirtualTimer};
use backup_graph::{ClientSecret, DriveSink, DriveSource, GraphClient, Secret};
use futures_util::StreamExt as _;

pub(crate) const APPLICATION: &str = "5c0ffee0-0000-4000-8000-000000000001";
pub(crate) const SECRET: &str = "a secret & a half";

/// A simulated tenant with one drive, and a client of it in virtual time.
pub(crate) struct Office {
    pub(crate) simulation: Simulation,
    pub(crate) drive: String,
    pub(crate) client: GraphClient,
    pub(crate) timer: VirtualTimer,
}

impl Office {
    /// An office without documents.
    pub(crate) fn empty() -> Self {
        let mut tenant = Tenant::new(7);
        tenant.add_application(APPLICATION, SECRET);
        let drive = tenant.add_drive("ada@contoso.example");
        let timer = VirtualTimer::new(tenant.now());
        let simulation = Simulation::new(tenant);
        let client = client(&simulation, &timer);
        Self { simulation, drive, client, timer }
    }

    /// An office with so many documents.
    pub(crate) fn with_documents(count: usize) -> Self {
        let office = Self::empty();
        office.tenant(|tenant, drive| tenant.seed_documents(drive, 11, count).unwrap());
        office
    }

    pub(crate) fn tenant<R>(&self, how: impl FnOnce(&mut Tenant, &str) -> R) -> R {
        self.simulation.with(|tenant| how(tenant, &self.drive))
    }

    pub(crate) fn write(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.tenant(|tenant, drive| tenant.write_file(drive, path, content.into()).map(drop).unwrap());
    }

    /// Twelve documents in folders, one of them in several ranges both ways, one shared, one with versions, one empty.
    pub(crate) fn small() -> Self {
        let office = Self::empty();
        office.simulation.with(|tenant| tenant.add_user("grace@contoso.example"));
        for number in 0..9usize {
            let path = format!("{}/{number}.txt", ["Sales", "Sales/2026", "Legal"][number % 3]);
            office.write(&path, format!("document {number} ").repeat(number * 40 + 1));
        }
        office.write("Legal/empty.txt", Vec::new());
        office.write(
            "film.bin",
            (0..330_000u32).map(|i| (i % 251) as u8 ^ (i >> 13) as u8).collect::<Vec<u8>>(),
        );
        for text in ["first", "second", "the third"] {
            office.write("report.docx", text);
        }
        office.tenant(|tenant, drive| {
            tenant.grant(drive, "Sales", "grace@contoso.example", &["read"]).unwrap()
        });
        office
    }

    pub(crate) fn source(&self) -> DriveSource {
        DriveSource::new(self.client.clone(), &self.drive)
    }

    /// A further, empty drive and a sink into its root.
    pub(crate) fn new_drive(&self, owner: &str) -> (String, DriveSink) {
        let drive = self.simulation.with(|tenant| tenant.add_drive(owner));
        let sink = DriveSink::new(self.client.clone(), &drive, None);
        (drive, sink)
    }

    pub(crate) fn fingerprint(&self, drive: &str) -> String {
        self.simulation.with(|tenant| tenant.fingerprint(drive).unwrap())
    }
}

/// A repository in memory.
pub(crate) async fn repository() -> Repository {
    let (store, key) = (Arc::new(MemoryStore::new()), Credential::raw_key([7; 32]));
    Repository::init_with(store, &key, environment(1), Options::default()).await.unwrap()
}

/// The id of the newest snapshot.
pub(crate) fn newest(repository: &Repository) -> SnapshotId {
    repository.snapshots().into_iter().rfind(|named| named.state != SnapshotState::Checkpoint).unwrap().id
}

/// A client that asks for its tokens as a real one does.
pub(crate) fn client(simulation: &Simulation, timer: &VirtualTimer) -> GraphClient {
    let timer: Arc<VirtualTimer> = Arc::new(timer.clone());
    let transport = Arc::new(SimTransport::new(simulation.clone(), timer.clone()));
    let (id, hosts) = simulation.with(|tenant| (tenant.id().to_owned(), tenant.hosts().clone()));
    let secret = Secret::new(SECRET);
    let tokens = ClientSecret::new(hosts.login, id, APPLICATION, secret, transport.clone(), timer.clone());
    GraphClient::new(&hosts.graph, transport, Arc::new(tokens), timer).unwrap()
}

/// What a source said, the last mention of each item counting.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) items: BTreeMap<ItemId, Item>,
    pub(crate) removed: BTreeSet<ItemId>,
    pub(crate) problems: usize,
    pub(crate) reset: bool,
    pub(crate) cursor: Option<Cursor>,
}

impl Heard {
    /// Paths as the items' names and parents make them, without the root.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        self.items.values().filter(|item| item.parent.is_some()).map(|item| self.path(item)).collect()
    }

    pub(crate) fn path(&self, item: &Item) -> String {
        match item.parent.as_ref().and_then(|parent| self.items.get(parent)) {
            Some(parent) if parent.parent.is_some() => format!("{}/{}", self.path(parent), item.name),
            _ => item.name.to_string(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> &Item {
        self.items.values().find(|item| item.name.to_string() == name).unwrap()
    }

    /// Applies what was heard since, as the engine does.
    pub(crate) fn apply(&mut self, later: Self) {
        if later.reset {
            *self = later;
            return;
        }
        self.items.retain(|id, _| !later.removed.contains(id));
        self.items.extend(later.items);
        // What lies below something removed is gone too.
        loop {
            let known: BTreeSet<ItemId> = self.items.keys().cloned().collect();
            let before = known.len();
            self.items.retain(|_, item| item.parent.as_ref().is_none_or(|parent| known.contains(parent)));
            if self.items.len() == before {
                break;
            }
        }
        self.cursor = later.cursor;
    }
}

pub(crate) async fn listen(source: &dyn Source, since: Option<&Cursor>) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut changes = source.changes(since);
    while let Some(change) = changes.next().await {
        match change? {
            Change::Reset => heard = Heard { reset: true, ..Heard::default() },
            Change::Upsert(item) => {
                item.validate()?;
                heard.removed.remove(&item.id);
                heard.items.insert(item.id.clone(), item);
            }
            Change::Remove(id) => {
                heard.items.remove(&id);
                heard.removed.insert(id);
            }
            Change::Cursor(cursor) => heard.cursor = Some(cursor),
            _ => heard.problems += 1,
        }
    }
    Ok(heard)
}

/// A file's bytes, and how the stream ended.
pub(crate) async fn read(source: &dyn Source, item: &Item) -> (Vec<u8>, Result<()>) {
    let mut bytes = Vec::new();
    let mut content = match source.open(item, Stream::CONTENT).await {
        Ok(content) => content,
        Err(error) => return (bytes, Err(error)),
    };
    while let Some(piece) = content.bytes.next().await {
        match piece {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

/// Streams in memory.
pub(crate) struct InMemory(pub(crate) Vec<u8>);

impl Contents for InMemory {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        match stream {
            Stream::CONTENT => Ok(Content::from_bytes(self.0.clone())),
            _ => Err(Error::new(ErrorKind::NotFound, "no such stream")),
        }
    }
}

/// Copies everything that was heard from a source into a sink, parents first. Counts what the sink did.
pub(crate) async fn copy(
    source: &dyn Source,
    heard: &Heard,
    sink: &dyn Sink,
    conflict: Conflict,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut placed: BTreeMap<ItemId, Placed> = BTreeMap::new();
    let mut order: Vec<&Item> = heard.items.values().collect();
    order.sort_by_key(|item| (depth(heard, item), item.id.clone()));
    for item in &order {
        let (bytes, ended) =
            if item.streams.is_empty() { (Vec::new(), Ok(())) } else { read(source, item).await };
        ended.unwrap();
        let parent = item.parent.as_ref().map(|parent| &placed[parent]);
        let put = sink.put(item, Place::new(parent, conflict, None), &InMemory(bytes)).await.unwrap();
        actions.push(put.action);
        placed.insert(item.id.clone(), put.placed);
    }
    for item in order.iter().rev().filter(|item| item.kind.is_container()) {
        sink.close(item, &placed[&item.id]).await.unwrap();
    }
    sink.finish().await.unwrap();
    actions
}

fn depth(heard: &Heard, item: &Item) -> usize {
    item.parent
        .as_ref()
        .and_then(|parent| heard.items.get(parent))
        .map_or(0, |parent| 1 + depth(heard, parent))
}

/// Runs a test in virtual time.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    futures_executor::block_on(test)
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
