//! One writer's run: takes chunks, drops those that are known, collects the rest into frames, commits.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_util::future::BoxFuture;
use futures_util::lock::Mutex as AsyncMutex;
use futures_util::{FutureExt, SinkExt, StreamExt};

use super::Inner;
use super::batcher::Batcher;
use super::ingest::{Cutting, INLINE_BYTES, Named, Naming, STEP_BYTES, Step};
use super::log::State;
use super::pace::Compression;
use super::pipeline::{self, Command, Frame, Packs, Stored};
use crate::crypto::{Class, ObjectName, SessionKeys, chunk_id, object_hash};
use crate::dedup::{Index, Run};
use crate::error::{Error, Result};
use crate::format::log::ObjectRef;
use crate::format::record::{ChunkRef, ContentRef, encode_chunk_list};
use crate::format::seal_object;
use crate::id::{ChunkId, ObjectId, SessionId};
use crate::limits;
use crate::source::{BlockingContent, Content};
use crate::time::Timestamp;
use crate::tree::{Boundary, NodeSink};

/// Plaintext that a data frame collects before it is compressed and sealed. Measured on kernel sources: smaller frames
/// lose compression, larger ones gain little and make single restores dearer (docs/ARCHITECTURE.md).
const DATA_FRAME_BYTES: usize = 1 << 20;
/// Tree frames are smaller: an incremental run reads single nodes.
const TREE_FRAME_BYTES: usize = 256 << 10;
/// Entries that a content keeps inline, and longest chunk list.
const INLINE_REFS_MAX: usize = 64;
const LIST_REFS_MAX: usize = 4_096;
/// A chunk list ends after an entry whose id begins with a number that has these bits zero: 512 entries on average.
const LIST_END_MASK: u16 = 0x1ff;

/// Whose fault it is that a stream was not stored.
#[derive(Debug)]
pub(super) enum Failure {
    /// The source's: it concerns this item.
    Source(Error),
    /// The store's or ours, or somebody canceled: it concerns the run.
    Engine(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// Figures that grow while a session runs.
#[derive(Debug, Default)]
pub(super) struct Counters {
    stored: AtomicU64,
}

impl Counters {
    pub(super) fn stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn bytes_stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

/// A session's shared state; its work is driven by [`Session::drive`].
pub(super) struct Session {
    pub(super) inner: Arc<Inner>,
    pub(super) keys: SessionKeys,
    id: SessionId,
    /// What there was when it began.
    pub(super) began: Arc<State>,
    /// The index of what it has committed since, and of what else it may rely on.
    pub(super) since: Mutex<Vec<Arc<Run>>>,
    naming: Mutex<Arc<Naming>>,
    boundary: Boundary,
    counters: Counters,
    compression: Compression,
    small: Batcher,
    /// Chunks that this session has sent down the pipeline, but for those that `naming` knows by now.
    seen: Mutex<HashSet<ChunkId>>,
    /// Frames that are being filled. Locked until a full one is on its way, so that streams which find the pipeline full wait with what
    /// they have instead of filling frame after frame.
    data: AsyncMutex<Frame>,
    tree: AsyncMutex<Frame>,
    commands: AsyncMutex<mpsc::Sender<Command>>,
    receiver: Mutex<Option<mpsc::Receiver<Command>>>,
    stored: Stored,
}

impl Session {
    pub(super) fn begin(inner: Arc<Inner>, compression: Compression) -> Result<Self> {
        let keys = SessionKeys::generate(&inner.env, inner.id, &inner.ring)?;
        let state = inner.state();
        let (commands, receiver) = mpsc::channel(1);
        Ok(Self {
            keys,
            id: SessionId::from_bytes(inner.env.random()?),
            since: Mutex::default(),
            naming: Mutex::new(Arc::new(Naming {
                gear: Arc::clone(inner.gear()?),
                key: inner.ring.id_key(Class::Data)?.clone(),
                index: state.index.clone(),
            })),
            boundary: Boundary::new(inner.ring.boundary()?.clone(), state.config.node_target),
            counters: Counters::default(),
            compression,
            small: Batcher::new(inner.env.clone()),
            seen: Mutex::default(),
            data: AsyncMutex::new(Frame::new(Class::Data)),
            tree: AsyncMutex::new(Frame::new(Class::Tree)),
            commands: AsyncMutex::new(commands),
            receiver: Mutex::new(Some(receiver)),
            stored: Stored::default(),
            began: state,
            inner,
        })
    }

    /// Runs `work` and the pipeline side by side; the first failure of either ends both.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let receiver = lock(&self.receiver).take().ok_or_else(|| Error::bug("a session is driven twice"))?;
        let stored = Arc::clone(&self.stored);
        let pipeline =
            pipeline::run(&self.inner, &self.keys, &self.counters, self.compression, stored, receiver);
        let work = async {
            let result = work.await;
            self.commands.lock().await.close_channel();
            result
        };
        let (result, ()) = futures_util::future::try_join(work, pipeline).await?;
        Ok(result)
    }

    pub(super) const fn id(&self) -> SessionId {
        self.id
    }

    /// Jobs that wait for company.
    pub(super) const fn small(&self) -> &Batcher {
        &self.small
    }

    pub(super) const fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    pub(super) fn bytes_stored(&self) -> u64 {
        self.counters.bytes_stored()
    }

    fn naming(&self) -> Arc<Naming> {
        Arc::<Naming>::clone(&lock(&self.naming))
    }

    /// Looks chunks up in this index from now on, and forgets which it knows. All that has been put is committed.
    pub(super) fn rely_on(&self, index: &Index) {
        let naming = self.naming();
        let (gear, key) = (Arc::clone(&naming.gear), naming.key.clone());
        *lock(&self.naming) = Arc::new(Naming { gear, key, index: index.clone() });
        lock(&self.seen).clear();
    }

    /// Stores a chunk of the trees, unless it is stored already. Waits while the pipeline is full.
    async fn put_tree_chunk(&self, bytes: Bytes) -> Result<ChunkId> {
        let id = chunk_id(self.inner.ring.id_key(Class::Tree)?, &bytes);
        if !self.naming().index.contains(&id) {
            self.put_new(Class::Tree, id, bytes).await?;
        }
        Ok(id)
    }

    /// Stores a chunk, unless the session has done so. Whether it was stored before is the caller's to know. Waits while the pipeline is full.
    pub(super) async fn put_new(&self, class: Class, id: ChunkId, bytes: Bytes) -> Result<()> {
        if bytes.len() > limits::CHUNK_BYTES_MAX {
            return Err(Error::bug("a chunk exceeds the format's limit"));
        }
        if !lock(&self.seen).insert(id) {
            return Ok(());
        }
        let (slot, target) = match class {
            Class::Data => (&self.data, DATA_FRAME_BYTES),
            _ => (&self.tree, TREE_FRAME_BYTES),
        };
        let mut frame = slot.lock().await;
        frame.push(id, bytes)?;
        if frame.len >= target {
            let full = std::mem::replace(&mut *frame, Frame::new(class));
            self.send(Command::Frame(full)).await?;
        }
        Ok(())
    }

    /// Stores what a step has cut, and notes it.
    async fn put_named(&self, chunks: Vec<Named>, refs: &mut Vec<ChunkRef>) -> Result<()> {
        for Named { id, len, bytes } in chunks {
            if let Some(bytes) = bytes {
                self.put_new(Class::Data, id, bytes).await?;
            }
            refs.push(ChunkRef { id, len });
        }
        Ok(())
    }

    /// Cuts and stores a stream. `seen` is called with the length of each piece that arrives.
    ///
    /// The error of a source that delivered everything and then had doubts comes back beside the content; any other
    /// error of the source is [`Failure::Source`].
    pub(super) async fn put_content(
        &self,
        mut content: Content<'_>,
        mut seen: impl FnMut(u64) -> Result<()> + Send,
    ) -> Result<(ContentRef, Option<Error>), Failure> {
        /// Where the stream's chunker is.
        enum Place {
            Here(Cutting),
            Away(BoxFuture<'static, Result<Step>>),
        }
        let mut place = Place::Here(Cutting::new(self.naming()));
        let (mut refs, mut len, mut doubt) = (Vec::new(), 0u64, None);
        let (mut arrived, mut waiting, mut ended) = (Vec::new(), 0, false);
        while !ended {
            match content.bytes.next().await {
                Some(Ok(piece)) => {
                    waiting += piece.len();
                    len += piece.len() as u64;
                    seen(piece.len() as u64)?;
                    arrived.push(piece);
                }
                Some(Err(error)) if is_doubt(&error) => doubt = Some(error),
                Some(Err(error)) => return Err(Failure::Source(error)),
                None => ended = true,
            }
            if waiting < STEP_BYTES && !ended {
                continue;
            }
            let cutting = match place {
                Place::Here(cutting) => cutting,
                Place::Away(step) => {
                    let Step { chunks, rest, .. } = step.await?;
                    self.put_named(chunks, &mut refs).await?;
                    rest.ok_or_else(|| Error::bug("a chunker went away"))?
                }
            };
            let pieces = std::mem::take(&mut arrived);
            if ended {
                let step = if std::mem::take(&mut waiting) <= INLINE_BYTES {
                    cutting.step(pieces, true)
                } else {
                    self.inner.env.run(move || Ok(cutting.step(pieces, true))).await?
                };
                self.put_named(step.chunks, &mut refs).await?;
                break;
            }
            waiting = 0;
            place = Place::Away(self.inner.env.run(move || Ok(cutting.step(pieces, false))).boxed());
        }
        Ok((self.fold(len, refs).await?, doubt))
    }

    /// The same for a stream that is read by calls that block. It is opened with others, once [`small`](Self::small) has enough of them
    /// or is idle.
    pub(super) async fn put_blocking(
        &self,
        content: BlockingContent,
        mut seen: impl FnMut(u64) -> Result<()> + Send,
    ) -> Result<(ContentRef, Option<Error>), Failure> {
        let naming = self.naming();
        let announced = content.size.unwrap_or(STEP_BYTES as u64);
        let first = self.small.run(announced, move || Cutting::open(naming, content));
        let mut step = first.await?.map_err(Failure::Source)?;
        let (mut refs, mut len, mut doubt) = (Vec::new(), 0, None);
        loop {
            len += step.len;
            doubt = doubt.or(step.doubt.take());
            // The next step is under way while this one is put into frames.
            let next = step.rest.take().map(|cutting| self.inner.env.run(move || Ok(cutting.read())));
            seen(step.len)?;
            self.put_named(step.chunks, &mut refs).await?;
            match next {
                Some(next) => step = next.await?.map_err(Failure::Source)?,
                None => return Ok((self.fold(len, refs).await?, doubt)),
            }
        }
    }

    /// Stores bytes that are in memory as content of the data class.
    pub(super) async fn put_details(&self, bytes: Vec<u8>) -> Result<ContentRef> {
        match self.put_content(Content::from_bytes(bytes), |_| Ok(())).await {
            Ok((content, _)) => Ok(content),
            Err(Failure::Source(error) | Failure::Engine(error)) => Err(error),
        }
    }

    /// Moves long lists of chunks into chunk lists, level by level (`docs/format.md` 7.2).
    async fn fold(&self, len: u64, mut refs: Vec<ChunkRef>) -> Result<ContentRef> {
        let mut depth = 0u8;
        while refs.len() > INLINE_REFS_MAX {
            if usize::from(depth) >= limits::CHUNK_LIST_LEVELS_MAX {
                return Err(Error::limit("a stream has more chunks than the format can list"));
            }
            let mut above = Vec::new();
            let ends = |entry: &ChunkRef| {
                let [low, high, ..] = *entry.id.as_bytes();
                u16::from_le_bytes([low, high]) & LIST_END_MASK == 0
            };
            let mut rest = refs.as_slice();
            while !rest.is_empty() {
                let end = rest.iter().take(LIST_REFS_MAX).position(ends).map_or(LIST_REFS_MAX, |at| at + 1);
                let (list, after) = rest.split_at(end.min(rest.len()));
                let covered = list.iter().map(|entry| entry.len).sum();
                let id = self.put_tree_chunk(encode_chunk_list(depth, list).into()).await?;
                above.push(ChunkRef { id, len: covered });
                rest = after;
            }
            refs = above;
            depth += 1;
        }
        Ok(ContentRef { len, depth, refs })
    }

    /// Stores a chunk although the index may have it.
    pub(super) async fn put_again(&self, class: Class, id: ChunkId, bytes: Bytes) -> Result<()> {
        lock(&self.seen).remove(&id);
        self.put_new(class, id, bytes).await
    }

    /// What has been stored and not been committed yet; the caller does that.
    pub(super) fn take_stored(&self) -> Packs {
        std::mem::take(&mut *lock(&self.stored))
    }

    /// Takes for stored what is not.
    #[cfg(feature = "testkit")]
    pub(super) fn add_stored(&self, segment: crate::format::segment::Segment) {
        *lock(&self.stored) = Packs { segment, locked: None };
    }

    /// Stores an object that a log entry is to name; also, until when it is locked.
    pub(super) async fn put_object(
        &self,
        name: ObjectName,
        id: ObjectId,
        raw: &[u8],
    ) -> Result<(ObjectRef, Option<Timestamp>)> {
        let bytes = Bytes::from(seal_object(&self.keys.begin(&self.inner.env, name, Class::Meta)?, raw)?);
        let object = ObjectRef { id, len: bytes.len() as u64, hash: object_hash(&bytes) };
        self.counters.stored(object.len);
        let (_, locked) = self.inner.create(name, bytes).await?;
        Ok((object, locked))
    }

    /// Says that all data has been put: it is stored while the trees are made.
    pub(super) async fn end_data(&self) -> Result<()> {
        self.send_started(&self.data).await?;
        self.send(Command::EndData).await
    }

    /// Waits until everything that was put is stored.
    pub(super) async fn flush(&self) -> Result<()> {
        self.send_started(&self.data).await?;
        self.send_started(&self.tree).await?;
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Flush(sender)).await?;
        receiver.await.map_err(|_| Error::bug("the pipeline ended before its session"))
    }

    /// Sends a frame that is not full.
    async fn send_started(&self, slot: &AsyncMutex<Frame>) -> Result<()> {
        let mut slot = slot.lock().await;
        let class = slot.class;
        let frame = std::mem::replace(&mut *slot, Frame::new(class));
        if frame.len > 0 { self.send(Command::Frame(frame)).await } else { Ok(()) }
    }

    async fn send(&self, command: Command) -> Result<()> {
        let sent = self.commands.lock().await.send(command).await;
        sent.map_err(|_| Error::bug("the pipeline ended before its session"))
    }
}

#[async_trait]
impl NodeSink for Session {
    async fn put_node(&self, bytes: Vec<u8>) -> Result<ChunkId> {
        self.put_tree_chunk(bytes.into()).await
    }
}

/// Errors with which a source says: these are all the bytes, but they may not be right.
pub(super) fn is_doubt(error: &Error) -> bool {
    use crate::error::ErrorKind;
    matches!(error.kind(), ErrorKind::ChangedWhileReading | ErrorKind::SourceMismatch)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
