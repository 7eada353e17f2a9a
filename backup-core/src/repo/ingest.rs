//! Reading, cutting and naming of streams, on workers.
//!
//! A stream goes to a worker a step at a time, about 1 MiB each: the worker cuts and names the chunks and looks up which are stored
//! already, while the step before is put into frames. Streams that are read by calls that block are read there too.

use std::sync::Arc;

use bytes::Bytes;

use super::session::is_doubt;
use crate::chunk::{Chunker, Gear};
use crate::crypto::chunk_id;
use crate::dedup::Index;
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::secret::Secret;
use crate::source::{BlockingContent, Pieces};

/// Bytes of a stream that are cut in one step.
pub(super) const STEP_BYTES: usize = 1 << 20;
/// What is no longer than this is cut where it is: a worker would not be faster.
pub(super) const INLINE_BYTES: usize = 32 << 10;

/// What is needed to cut and name the chunks of data.
#[derive(Debug)]
pub(super) struct Naming {
    pub(super) gear: Arc<Gear>,
    pub(super) key: Secret,
    /// What was stored when the session began, or at its last checkpoint.
    pub(super) index: Index,
}

/// A chunk with its name. One that is stored already has lost its bytes.
pub(super) struct Named {
    pub(super) id: ChunkId,
    pub(super) len: u64,
    pub(super) bytes: Option<Bytes>,
}

/// What one step of a stream gave.
pub(super) struct Step {
    pub(super) chunks: Vec<Named>,
    /// Bytes that came in.
    pub(super) len: u64,
    /// The source has delivered everything, and says that it may not be right.
    pub(super) doubt: Option<Error>,
    /// The stream has not ended.
    pub(super) rest: Option<Cutting>,
}

/// A stream on its way through the chunker.
pub(super) struct Cutting {
    naming: Arc<Naming>,
    chunker: Chunker,
    /// Where its bytes come from, if they are read by calls that block.
    pieces: Option<Pieces>,
}

impl Cutting {
    pub(super) fn new(naming: Arc<Naming>) -> Self {
        Self { chunker: Chunker::new(Arc::clone(&naming.gear)), naming, pieces: None }
    }

    /// Opens a stream and takes its first step. Blocks, and is CPU-heavy.
    pub(super) fn open(naming: Arc<Naming>, content: BlockingContent) -> Result<Step> {
        let pieces: Pieces = Box::new(content.open()?);
        Self { pieces: Some(pieces), ..Self::new(naming) }.read()
    }

    /// Cuts what has arrived; all there is, if the stream has ended. CPU-heavy.
    pub(super) fn step(mut self, arrived: Vec<Bytes>, ended: bool) -> Step {
        let (mut cut, mut len) = (Vec::new(), 0);
        for piece in arrived {
            len += piece.len() as u64;
            self.chunker.push(piece, &mut cut);
        }
        if ended {
            self.chunker.finish(&mut cut);
        }
        let chunks = cut.into_iter().map(|bytes| self.naming.name(bytes)).collect();
        Step { chunks, len, doubt: None, rest: (!ended).then_some(self) }
    }

    /// Reads what comes next and cuts it. Blocks, and is CPU-heavy.
    pub(super) fn read(mut self) -> Result<Step> {
        let Some(pieces) = &mut self.pieces else { return Err(Error::bug("a stream has no reader")) };
        let (mut arrived, mut len, mut doubt, mut ended) = (Vec::new(), 0, None, false);
        while len < STEP_BYTES && !ended {
            match pieces.next() {
                Some(Ok(piece)) => {
                    len += piece.len();
                    arrived.push(piece);
                }
                Some(Err(error)) if is_doubt(&error) => doubt = Some(error),
                Some(Err(error)) => return Err(error),
                None => ended = true,
            }
        }
        Ok(Step { doubt, ..self.step(arrived, ended) })
    }
}

impl Naming {
    fn name(&self, bytes: Bytes) -> Named {
        let id = chunk_id(&self.key, &bytes);
        let len = bytes.len() as u64;
        Named { id, len, bytes: (!self.index.contains(&id)).then_some(bytes) }
    }
}
