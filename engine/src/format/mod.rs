//! Bytes on a drive ⇄ values, one file per section of `engine/FORMAT.md`, which is the one description of them.
//!
//! Everything here is pure. Decoding takes any bytes whatever and answers with a value or [`Malformed`]; it never
//! panics and never allocates more than a small multiple of its input. Encoding cannot fail.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]
#![doc = include_str!("../../FORMAT.md")]

pub mod checksum;
pub mod superblock;
pub mod zone;
pub mod block;
pub mod record;
pub mod settings;
pub mod cell;
pub mod page;
pub mod anchor;
pub(crate) mod varint;

pub use anchor::fuzz_anchor;
pub use block::fuzz_block;
pub use cell::fuzz_cell;
pub use page::fuzz_table;
pub use record::fuzz_record;
pub use superblock::fuzz_superblock;
pub use zone::fuzz_zone;

use bytes::Bytes;

/// Bytes that are not what `FORMAT.md` says: which field, at which byte of the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field.
    pub what: &'static str,
    /// Offset in the structure that was decoded.
    pub at: usize,
}

/// Whether there is nothing but zeros, looked at many bytes at a time.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

/// Takes little-endian fields off the front of a byte string.
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub(crate) fn malformed<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed { what, at: self.at })
    }

    /// The next `count` bytes, sharing the input's memory.
    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<Bytes, Malformed> {
        if self.left() < count {
            return self.malformed(what);
        }
        let taken = self.bytes.slice(self.at..self.at + count);
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => self.malformed(what),
        }
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u128(&mut self, what: &'static str) -> Result<u128, Malformed> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn md5(&mut self, what: &'static str) -> Result<[u8; 16], Malformed> {
        self.array(what)
    }

    /// A byte string with a `u32` length before it, of at most `max` bytes.
    pub(crate) fn string(&mut self, max: usize, what: &'static str) -> Result<Bytes, Malformed> {
        let count = self.u32(what)? as usize;
        if count > max {
            return self.malformed(what);
        }
        self.take(count, what)
    }

    /// A `u32` count of items that take at least `item_bytes` each, so that it cannot exceed the input.
    pub(crate) fn count(&mut self, item_bytes: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = self.u32(what)? as usize;
        if count > self.left() / item_bytes.max(1) {
            return self.malformed(what);
        }
        Ok(count)
    }
}

/// Puts little-endian fields at the end of a byte string.
pub(crate) trait Put {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self;

    fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    fn u128(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len()).raw(bytes)
    }

    /// A length or count; all of them are bounded by `RECORD_BYTES_MAX`, far below 2^32.
    fn length(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).expect("bounded by RECORD_BYTES_MAX"))
    }
}

impl Put for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}
