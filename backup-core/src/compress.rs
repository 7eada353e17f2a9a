//! Compression with a bound on what comes out. Codec numbers are those of `docs/format.md` section 4.

use crate::error::{Error, Result};

pub(crate) const STORED: u8 = 0;
pub(crate) const ZSTD: u8 = 1;

/// Compresses; gives the input's own bytes back as `STORED` where zstd would not save at least 1/32 of them.
pub(crate) fn compress(raw: &[u8], level: i32) -> Result<(u8, Option<Vec<u8>>)> {
    let packed =
        zstd::bulk::compress(raw, level).map_err(|error| Error::bug("zstd failed").with_source(error))?;
    let worthwhile = packed.len() < raw.len() - raw.len() / 32;
    Ok(if worthwhile { (ZSTD, Some(packed)) } else { (STORED, None) })
}

/// Decompresses to exactly `raw_len` bytes; never allocates more, whatever the input claims.
pub(crate) fn decompress(codec: u8, stored: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    let raw = match codec {
        STORED => stored.to_vec(),
        ZSTD if !is_one_frame(stored) => return Err(Error::corrupt("compressed bytes are not one frame")),
        ZSTD => zstd::bulk::decompress(stored, raw_len)
            .map_err(|error| Error::corrupt("compressed bytes do not decompress").with_source(error))?,
        _ => return Err(Error::corrupt("compressed with an unknown codec")),
    };
    if raw.len() == raw_len { Ok(raw) } else { Err(Error::corrupt("decompresses to another length")) }
}

/// Whether these bytes are one zstd frame, with nothing before or after it.
fn is_one_frame(stored: &[u8]) -> bool {
    let magic = zstd::zstd_safe::MAGICNUMBER.to_le_bytes();
    stored.starts_with(&magic) && zstd::zstd_safe::find_frame_compressed_size(stored) == Ok(stored.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_at_its_announced_length() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(decompress(ZSTD, &bomb, 1 << 20).is_err());
        assert!(decompress(7, &bomb, 1).is_err());
    }

    #[test]
    fn several_frames_are_not_one() {
        let one = zstd::bulk::compress(&[7; 500], 3).unwrap();
        let skippable = [&0x184d_2a50u32.to_le_bytes()[..], &0u32.to_le_bytes(), &one].concat();
        assert_eq!(decompress(ZSTD, &one, 500).unwrap(), [7; 500]);
        assert!(decompress(ZSTD, &[one.clone(), one.clone()].concat(), 1_000).is_err());
        assert!(decompress(ZSTD, &skippable, 500).is_err());
        assert!(decompress(ZSTD, &[&one[..], b"more"].concat(), 500).is_err());
    }

    #[test]
    fn incompressible_bytes_stay_as_they_are() {
        let noise: Vec<u8> =
            (0..4096u32).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..8].to_vec()).collect();
        assert_eq!(compress(&noise, 3).unwrap(), (STORED, None));
        let (codec, packed) = compress(&[7; 5000], 3).unwrap();
        assert_eq!(decompress(codec, &packed.unwrap(), 5000).unwrap(), vec![7; 5000]);
    }
}
