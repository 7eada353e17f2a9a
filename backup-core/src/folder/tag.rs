//! The version mark of a file: device, inode, length, and both times. While it is the same, the content is not read again.
//!
//! Numbers follow each other in LEB128 (7 bits a byte, the lowest first), because marks are most of what a list of unchanged files
//! takes, after the names of their chunks: in a model of a list of 50,000 mails, 12 bytes a file stored, and 21 as decimal text.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Meta;
use crate::item::Tag;

/// Two writes within this time may leave the same time stamp: the coarsest tick of a current Unix kernel.
const TICK_NANOS: i128 = 20_000_000;
/// The same on a file system that keeps whole seconds, or two of them.
const COARSE_TICK_NANOS: i128 = 2_000_000_000;

/// The mark of a file. One that was touched within the last tick could be touched again without a new time stamp, so
/// its mark is good for this run only and the next run reads it once more.
pub(super) fn of(meta: &Meta, room: &mut Vec<u8>) -> Tag {
    let nanos = |(seconds, nanos): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (modified, changed) = (nanos(meta.modified), nanos(meta.changed));
    room.clear();
    for number in [meta.device, meta.inode, meta.size] {
        push(room, number.into());
    }
    push(room, zigzag(modified));
    // Most files were last changed when they were written.
    push(room, zigzag(changed - modified));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    let is_coarse = meta.changed.1 == 0 && meta.modified.1 == 0;
    let tick = if is_coarse { COARSE_TICK_NANOS } else { TICK_NANOS };
    if i128::try_from(now).unwrap_or(i128::MAX) - changed < tick {
        push(room, now);
    }
    room.as_slice().into()
}

/// Device and inode in a mark of this module.
pub(super) fn file_id(tag: &Tag) -> Option<(u64, u64)> {
    let mut rest = tag.as_bytes();
    Some((u64::try_from(take(&mut rest)?).ok()?, u64::try_from(take(&mut rest)?).ok()?))
}

/// Small numbers of either sign become small ones without.
const fn zigzag(number: i128) -> u128 {
    (number.cast_unsigned() << 1) ^ (number >> 127).cast_unsigned()
}

fn push(bytes: &mut Vec<u8>, mut number: u128) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Option<u128> {
    let mut number = 0u128;
    for shift in (0..u128::BITS).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u128::from(first & 0x7f).checked_shl(shift)?;
        if *first < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers = [0, 1, 127, 128, 300, u128::from(u64::MAX), u128::MAX];
        let mut bytes = Vec::new();
        numbers.iter().for_each(|number| push(&mut bytes, *number));
        let mut rest = bytes.as_slice();
        assert_eq!(
            numbers.map(|number| (number, take(&mut rest))),
            numbers.map(|number| (number, Some(number)))
        );
        assert!(rest.is_empty());
        assert_eq!([0, -1, 1, -2, 2].map(zigzag), [0, 1, 2, 3, 4]);
        assert_eq!(zigzag(i128::MIN), u128::MAX);
    }

    #[test]
    fn what_is_no_mark_names_no_file() {
        for bytes in [&b""[..], &[5], &[5, 0x80], &[0x80; 40], &[0xff; 40]] {
            assert_eq!(file_id(&bytes.into()), None);
        }
        assert_eq!(file_id(&[7, 0x81, 0x01, 9, 0, 0][..].into()), Some((7, 129)));
    }
}
