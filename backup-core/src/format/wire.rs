//! The bytes of `docs/format.md` section 1: a checked reader and a writer. Nothing read here is trusted.

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Reads fixed-width little-endian values from a slice; any shortage or excess is damage.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// What is being read, for the error line.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn damage(&self, how: &str) -> Error {
        Error::corrupt(format!("{} {how}", self.what))
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.damage("ends too early")),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.damage("ends too early")),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        let seconds = self.array().map(i64::from_le_bytes)?;
        match self.u32()? {
            nanos @ 0..=999_999_999 => Ok(Timestamp::new(seconds, nanos)),
            _ => Err(self.damage("has a time out of range")),
        }
    }

    pub(crate) fn bytes16(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = usize::from(self.u16()?);
        self.bounded(len, max)
    }

    pub(crate) fn bytes32(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = self.len32()?;
        self.bounded(len, max)
    }

    pub(crate) fn text16(&mut self, max: usize) -> Result<&'a str> {
        let bytes = self.bytes16(max)?;
        std::str::from_utf8(bytes).map_err(|_| self.damage("has text that is not UTF-8"))
    }

    /// A `u32` as a length.
    pub(crate) fn len32(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| self.damage("is too large for this machine"))
    }

    /// A count of entries of at least `each` bytes, so that no allocation exceeds the input.
    pub(crate) fn count32(&mut self, each: usize) -> Result<usize> {
        let count = self.len32()?;
        if count.checked_mul(each).is_none_or(|bytes| bytes > self.rest.len()) {
            return Err(self.damage("counts more entries than it has bytes"));
        }
        Ok(count)
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damage("has bytes left over")) }
    }

    fn bounded(&mut self, len: usize, max: usize) -> Result<&'a [u8]> {
        if len > max { Err(self.damage("has a field above its limit")) } else { self.take(len) }
    }
}

/// Appends fixed-width little-endian values. Lengths are checked by the caller against `limits`; a length that does not
/// fit its field is a bug of ours and saturates, which every reader refuses.
pub(crate) trait Write {
    fn raw(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }
    fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }
    fn time(&mut self, time: Timestamp) {
        self.raw(&time.seconds().to_le_bytes());
        self.u32(time.nanos());
    }
    fn len32(&mut self, len: usize) {
        self.u32(u32::try_from(len).unwrap_or(u32::MAX));
    }
    fn len16(&mut self, len: usize) {
        self.u16(u16::try_from(len).unwrap_or(u16::MAX));
    }
    fn bytes16(&mut self, bytes: &[u8]) {
        self.len16(bytes.len());
        self.raw(bytes);
    }
    fn bytes32(&mut self, bytes: &[u8]) {
        self.len32(bytes.len());
        self.raw(bytes);
    }
}

impl Write for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_every_cut_is_noticed() {
        let mut bytes = Vec::new();
        bytes.u16(0xabcd);
        bytes.bytes16(b"name");
        bytes.time(Timestamp::new(-5, 7));
        bytes.bytes32(b"value");
        let read = |bytes: &[u8]| -> Result<()> {
            let mut reader = Reader::new(bytes, "test");
            assert_eq!(reader.u16()?, 0xabcd);
            assert_eq!(reader.bytes16(4)?, b"name");
            assert_eq!(reader.time()?, Timestamp::new(-5, 7));
            assert_eq!(reader.bytes32(5)?, b"value");
            reader.finish()
        };
        read(&bytes).unwrap();
        for cut in 2..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        bytes.u8(0);
        assert!(read(&bytes).is_err(), "left over");
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_allocation() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0, 0], "test");
        assert!(reader.count32(1).is_err());
    }
}
