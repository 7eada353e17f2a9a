//! Bytes of stored objects to values and back (`docs/format.md` sections 4 to 7). No I/O, no decisions.

pub(crate) mod log;
pub(crate) mod pack;
pub(crate) mod parity;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod snapshot;
pub(crate) mod wire;

use crate::compress;
use crate::crypto::{HEADER_LEN, Keyring, ObjectName, ObjectSealer, OpenedObject, TAG_LEN};
use crate::error::{Error, Result};
use crate::id::RepoId;
use crate::limits;
use wire::{Reader, Write};

const ENVELOPE_HEAD_LEN: usize = 9;

/// Rounds a length up by the Padmé rule, which leaks O(log log) bits of it for at most 12 % more (Nikitin et al., 2019).
pub(crate) fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let e = len.ilog2();
    let s = e.ilog2() + 1;
    let mask = (1u64 << e.saturating_sub(s)) - 1;
    len.saturating_add(mask) & !mask
}

/// Appends an envelope of `raw` to `out`, padded so that `out` and `trailing` more bytes make a Padmé length.
pub(crate) fn write_envelope(out: &mut Vec<u8>, raw: &[u8], trailing: usize) -> Result<()> {
    let mut stored = Vec::new();
    let codec = compress::compress_onto(&mut stored, raw)?;
    let unpadded = (out.len() + ENVELOPE_HEAD_LEN + stored.len() + trailing) as u64;
    let too_large = |_| Error::limit("object is too large");
    let padded = usize::try_from(padme(unpadded)).map_err(too_large)?;
    // As much as it takes: a pack that grows as vectors do would take twice its length.
    out.reserve_exact(padded - out.len());
    out.u8(codec);
    out.len32(raw.len());
    out.bytes32(&stored);
    out.resize(padded - trailing, 0);
    Ok(())
}

/// Reads an envelope.
pub(crate) fn read_envelope(bytes: &[u8], what: &'static str) -> Result<Vec<u8>> {
    let mut reader = Reader::new(bytes, what);
    let codec = reader.u8()?;
    let raw_len = reader.len32()?;
    if raw_len as u64 > limits::OBJECT_BYTES_MAX {
        return Err(reader.damage("is larger than the format allows"));
    }
    let stored_len = reader.len32()?;
    let stored = reader.take(stored_len)?;
    if reader.take(reader.remaining())?.iter().any(|byte| *byte != 0) {
        return Err(reader.damage("has padding that is not zero"));
    }
    compress::decompress(codec, stored, raw_len)
}

/// Seals an object that is one envelope: segment, snapshot, log entry, checkpoint.
pub(crate) fn seal_object(sealer: &ObjectSealer, raw: &[u8]) -> Result<Vec<u8>> {
    if (raw.len() + HEADER_LEN + ENVELOPE_HEAD_LEN + TAG_LEN) as u64 > limits::OBJECT_BYTES_MAX {
        return Err(
            Error::limit("object is larger than the format allows").with_item(sealer.name().to_string())
        );
    }
    let mut bytes = Vec::with_capacity(HEADER_LEN + raw.len() / 2 + 1024);
    bytes.raw(&sealer.header().0);
    write_envelope(&mut bytes, raw, TAG_LEN)?;
    sealer.seal(0, &mut bytes, HEADER_LEN)?;
    Ok(bytes)
}

/// Opens what [`seal_object`] made.
pub(crate) fn open_object(repo: RepoId, ring: &Keyring, name: ObjectName, bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes.len() as u64 > limits::OBJECT_BYTES_MAX {
        return Err(Error::corrupt("object is larger than the format allows").with_item(name.to_string()));
    }
    let (object, _) = OpenedObject::open(repo, ring, name, bytes)?;
    let plain = object.part(0, bytes.get(HEADER_LEN..).unwrap_or_default())?;
    read_envelope(&plain, "object").map_err(|error| error.with_item(name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_gives_the_published_lengths() {
        // Figures of the paper's definition, computed by hand: E = floor(log2 L), S = floor(log2 E) + 1.
        for (len, padded) in [(0, 0), (1, 1), (2, 2), (9, 10), (1000, 1024), (1025, 1088), (1 << 20, 1 << 20)]
        {
            assert_eq!(padme(len), padded, "{len}");
        }
        for len in (2..1u64 << 26).step_by(99_991) {
            assert!(padme(len) >= len && (padme(len) - len) as f64 <= 0.12 * len as f64);
        }
    }

    #[test]
    fn envelopes_round_trip_and_refuse_dirty_padding() {
        let mut bytes = Vec::new();
        write_envelope(&mut bytes, &[5; 999], 16).unwrap();
        assert_eq!(read_envelope(&bytes, "test").unwrap(), vec![5; 999]);
        bytes.extend_from_slice(&[0, 1]);
        assert!(read_envelope(&bytes, "test").is_err());
    }
}
