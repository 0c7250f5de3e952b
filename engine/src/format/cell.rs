//! What a leaf says of one object or part: a packed string of a few dozen bytes. See FORMAT.md, "Cell".
//!
//! `meta::index` makes one when a record is applied and reads it when somebody asks. Decoding copies nothing: it
//! answers slices. Cells from drives are decoded once whole when a checkpoint is loaded, so later a failure is a bug.

use std::sync::Arc;

use super::record::{Extent, lock_flags, lock_of, unit_count};
use super::{Malformed, varint};
use crate::limits::RECORD_BYTES_MAX;
use crate::lock::Lock;
use crate::object::ETag;
use crate::units::{BLOCK_BYTES, DriveOffset, Sequence};

mod flag {
    /// The key was deleted in a versioned bucket; no bytes.
    pub(super) const MARKER: u8 = 1;
    /// The version that a bucket without versions writes; at most one per key.
    pub(super) const NULL_VERSION: u8 = 2;
    pub(super) const PLACE: u8 = 4 | 8;
    pub(super) const PLACE_LOG: u8 = 4;
    pub(super) const PLACE_EXTENTS: u8 = 8;
    pub(super) const PLACE_PARTS: u8 = 4 | 8;
    /// The entity tag has a number of parts.
    pub(super) const TAG_PARTS: u8 = 16;
    pub(super) const ATTRIBUTES: u8 = 32;
    pub(super) const LOCK: u8 = 64;
    pub(super) const ALL: u8 = 127;
}

/// Bytes of the checksums of an object's units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Units {
    /// Up to two, in place: all that rides in the log.
    Few([u64; 2], u8),
    /// More.
    Many(Arc<[u64]>),
}

impl Units {
    /// Of checksums in order.
    pub fn of(checksums: &[u64]) -> Units {
        match checksums {
            [] => Units::Few([0, 0], 0),
            [a] => Units::Few([*a, 0], 1),
            [a, b] => Units::Few([*a, *b], 2),
            _ => Units::Many(checksums.into()),
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[u64] {
        match self {
            Units::Few(units, count) => units.get(..usize::from(*count)).unwrap_or_default(),
            Units::Many(units) => units,
        }
    }
}

/// Where the bytes of a cell are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobLocation {
    /// There are none.
    Nowhere,
    /// In one run at any byte of a log or compaction zone.
    Log {
        /// The drive's place among the store's drives.
        drive: u16,
        /// The first byte.
        at: DriveOffset,
    },
    /// In extents.
    Extents(Arc<[Extent]>),
    /// In the parts of a completed upload, which have cells of their own.
    Parts {
        /// The upload.
        upload: u128,
        /// How many.
        count: u16,
    },
}

/// What is written into a cell.
#[derive(Clone, Debug)]
pub struct NewCell<'a> {
    /// The change that made it; unique in its shard and never changed.
    pub sequence: Sequence,
    /// A delete marker.
    pub is_marker: bool,
    /// The null version.
    pub is_null: bool,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// Entity tag.
    pub etag: ETag,
    /// Bytes of the object or part.
    pub size: u64,
    /// Opaque.
    pub attributes: &'a [u8],
    /// What keeps the version from being removed.
    pub lock: Lock,
    /// Where the bytes are.
    pub place: &'a BlobLocation,
    /// A checksum for each 64 KiB, none for a place in parts.
    pub units: &'a [u64],
}

impl NewCell<'static> {
    /// A version without bytes, tag or attributes.
    pub const fn empty(sequence: Sequence) -> NewCell<'static> {
        NewCell {
            sequence,
            is_marker: false,
            is_null: false,
            modified_ms: 0,
            etag: ETag { md5: [0; 16], parts: 0 },
            size: 0,
            attributes: &[],
            lock: Lock::NONE,
            place: &BlobLocation::Nowhere,
            units: &[],
        }
    }
}

impl NewCell<'_> {
    /// Appends the cell.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let place = match self.place {
            BlobLocation::Nowhere => 0,
            BlobLocation::Log { .. } => flag::PLACE_LOG,
            BlobLocation::Extents(_) => flag::PLACE_EXTENTS,
            BlobLocation::Parts { .. } => flag::PLACE_PARTS,
        };
        let set = |holds: bool, bit: u8| if holds { bit } else { 0 };
        out.push(
            place
                | set(self.is_marker, flag::MARKER)
                | set(self.is_null, flag::NULL_VERSION)
                | set(self.etag.parts > 0, flag::TAG_PARTS)
                | set(!self.attributes.is_empty(), flag::ATTRIBUTES)
                | set(!self.lock.is_none(), flag::LOCK),
        );
        varint::write(out, self.sequence.0);
        varint::write(out, self.modified_ms);
        out.extend_from_slice(&self.etag.md5);
        if self.etag.parts > 0 {
            out.extend_from_slice(&self.etag.parts.to_le_bytes());
        }
        varint::write(out, self.size);
        if !self.attributes.is_empty() {
            varint::write(out, self.attributes.len() as u64);
            out.extend_from_slice(self.attributes);
        }
        if !self.lock.is_none() {
            out.push(lock_flags(&self.lock));
            varint::write(out, self.lock.retention.map_or(0, |retention| retention.until_ms));
        }
        match self.place {
            BlobLocation::Nowhere => {}
            BlobLocation::Log { drive, at } => {
                varint::write(out, u64::from(*drive));
                varint::write(out, at.0);
            }
            BlobLocation::Extents(extents) => {
                varint::write(out, extents.len() as u64);
                for extent in extents.iter() {
                    varint::write(out, u64::from(extent.drive));
                    varint::write(out, extent.at.0 / BLOCK_BYTES);
                    varint::write(out, extent.bytes / BLOCK_BYTES);
                }
            }
            BlobLocation::Parts { upload, count } => {
                out.extend_from_slice(&upload.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
        self.units.iter().for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
    }
}

/// A cell, read.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in NewCell")]
pub struct Cell<'a> {
    pub sequence: Sequence,
    pub is_marker: bool,
    pub is_null: bool,
    pub modified_ms: u64,
    pub etag: ETag,
    pub size: u64,
    pub attributes: &'a [u8],
    pub lock: Lock,
    place_flag: u8,
    rest: &'a [u8],
}

impl<'a> Cell<'a> {
    /// Reads all but the place.
    pub fn decode(payload: &'a [u8]) -> Result<Cell<'a>, Malformed> {
        let mut r = Slice { rest: payload, bytes: payload.len() };
        let flags = r.byte("cell flags")?;
        if flags & !flag::ALL != 0 {
            return r.malformed("cell flags");
        }
        let sequence = Sequence(r.number("cell sequence")?);
        let modified_ms = r.number("cell modified")?;
        let md5 = r.array::<16>("cell etag")?;
        let parts = match flags & flag::TAG_PARTS {
            0 => 0,
            _ => u16::from_le_bytes(r.array("cell etag parts")?),
        };
        let size = r.number("cell size")?;
        let attributes = match flags & flag::ATTRIBUTES {
            0 => &[],
            _ => {
                let length = r.number("cell attributes")?;
                r.take(length, "cell attributes")?
            }
        };
        let lock = match flags & flag::LOCK {
            0 => Lock::NONE,
            _ => {
                let (flags, until_ms) = (r.byte("cell lock")?, r.number("cell lock")?);
                match lock_of(flags, until_ms) {
                    Some(lock) => lock,
                    None => return r.malformed("cell lock"),
                }
            }
        };
        Ok(Cell {
            sequence,
            is_marker: flags & flag::MARKER != 0,
            is_null: flags & flag::NULL_VERSION != 0,
            modified_ms,
            etag: ETag { md5, parts },
            size,
            attributes,
            lock,
            place_flag: flags & flag::PLACE,
            rest: r.rest,
        })
    }

    /// The same cell with its bytes somewhere else.
    pub fn placed<'b>(&self, place: &'b BlobLocation, units: &'b [u64]) -> NewCell<'b>
    where
        'a: 'b,
    {
        NewCell {
            sequence: self.sequence,
            is_marker: self.is_marker,
            is_null: self.is_null,
            modified_ms: self.modified_ms,
            etag: self.etag,
            size: self.size,
            attributes: self.attributes,
            lock: self.lock,
            place,
            units,
        }
    }

    /// Whether the bytes are in the log or a compaction zone, and where: without allocating.
    pub fn log_place(&self) -> Option<(u16, DriveOffset)> {
        if self.place_flag != flag::PLACE_LOG {
            return None;
        }
        let mut r = Slice { rest: self.rest, bytes: self.rest.len() };
        let drive = u16::try_from(r.number("cell drive").ok()?).ok()?;
        Some((drive, DriveOffset(r.number("cell at").ok()?)))
    }

    /// The upload whose parts hold the bytes.
    pub fn parts(&self) -> Option<u128> {
        if self.place_flag != flag::PLACE_PARTS {
            return None;
        }
        let mut r = Slice { rest: self.rest, bytes: self.rest.len() };
        r.array("cell upload").ok().map(u128::from_le_bytes)
    }

    /// The unit checksums as they stand in the cell: eight bytes each, little-endian, at its end.
    pub fn unit_bytes(&self) -> &'a [u8] {
        let units = match self.place_flag {
            flag::PLACE_LOG | flag::PLACE_EXTENTS => unit_count(self.size),
            _ => 0,
        };
        let from = usize::try_from(units.saturating_mul(8)).ok().and_then(|n| self.rest.len().checked_sub(n));
        from.and_then(|from| self.rest.get(from..)).unwrap_or_default()
    }

    /// Where the bytes are and their checksums; everything of the cell is looked at.
    pub fn place(&self) -> Result<(BlobLocation, Units), Malformed> {
        let mut r = Slice { rest: self.rest, bytes: self.rest.len() };
        let place = match self.place_flag {
            flag::PLACE_LOG => {
                let drive = r.drive()?;
                if self.size > RECORD_BYTES_MAX as u64 {
                    return r.malformed("cell size");
                }
                BlobLocation::Log { drive, at: DriveOffset(r.number("cell at")?) }
            }
            flag::PLACE_EXTENTS => {
                let count = r.number("cell extents")?;
                if count > r.rest.len() as u64 / 3 {
                    return r.malformed("cell extents");
                }
                let mut extents = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
                let mut held: u64 = 0;
                for _ in 0..count {
                    let drive = r.drive()?;
                    let (at, bytes) = (r.blocks("cell extent at")?, r.blocks("cell extent bytes")?);
                    held = held.saturating_add(bytes);
                    extents.push(Extent { drive, at: DriveOffset(at), bytes });
                }
                if held < self.size {
                    return r.malformed("cell extents");
                }
                BlobLocation::Extents(extents.into())
            }
            flag::PLACE_PARTS => {
                let upload = u128::from_le_bytes(r.array("cell upload")?);
                BlobLocation::Parts { upload, count: u16::from_le_bytes(r.array("cell parts")?) }
            }
            _ if self.size > 0 => return r.malformed("cell place"),
            _ => BlobLocation::Nowhere,
        };
        let units = match &place {
            BlobLocation::Log { .. } | BlobLocation::Extents(_) => unit_count(self.size),
            BlobLocation::Nowhere | BlobLocation::Parts { .. } => 0,
        };
        if r.rest.len() as u64 != units.saturating_mul(8) {
            return r.malformed("cell units");
        }
        let checksums =
            r.rest.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        let units = match units {
            0..=2 => {
                let mut few = [0; 2];
                for (place, unit) in few.iter_mut().zip(checksums) {
                    *place = unit;
                }
                Units::Few(few, u8::try_from(units).expect("at most 2"))
            }
            _ => Units::Many(checksums.collect()),
        };
        Ok((place, units))
    }
}

/// Takes fields off the front of a slice.
struct Slice<'a> {
    rest: &'a [u8],
    bytes: usize,
}

impl<'a> Slice<'a> {
    fn malformed<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed { what, at: self.bytes - self.rest.len() })
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => self.malformed(what),
        }
    }

    fn number(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let Some((value, used)) = varint::read(self.rest) else { return self.malformed(what) };
        self.rest = self.rest.get(used..).unwrap_or_default();
        Ok(value)
    }

    fn drive(&mut self) -> Result<u16, Malformed> {
        let drive = self.number("cell drive")?;
        u16::try_from(drive).or_else(|_| self.malformed("cell drive"))
    }

    fn blocks(&mut self, what: &'static str) -> Result<u64, Malformed> {
        match self.number(what)?.checked_mul(BLOCK_BYTES) {
            Some(bytes) => Ok(bytes),
            None => self.malformed(what),
        }
    }

    fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], Malformed> {
        match usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count)) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.malformed(what),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => self.malformed(what),
        }
    }
}

/// Fuzz entry: any bytes are a cell or are refused.
pub fn fuzz_cell(bytes: &[u8]) {
    let Ok(cell) = Cell::decode(bytes) else { return };
    assert!(cell.unit_bytes().len() <= bytes.len());
    let Ok((place, units)) = cell.place() else { return };
    let mut again = Vec::new();
    cell.placed(&place, units.as_slice()).encode(&mut again);
    let read = Cell::decode(&again).and_then(|cell| cell.place());
    assert_eq!(read, Ok((place, units)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Retention, RetentionMode};

    fn check(place: &BlobLocation, size: u64, units: &[u64], attributes: &[u8], etag: ETag) -> usize {
        let retention = Some(Retention { mode: RetentionMode::Governance, until_ms: 1_800_000_000_000 });
        check_locked(place, size, units, attributes, etag, Lock { retention, legal_hold: true });
        check_locked(place, size, units, attributes, etag, Lock { legal_hold: true, ..Lock::NONE });
        check_locked(place, size, units, attributes, etag, Lock::NONE)
    }

    fn check_locked(
        place: &BlobLocation,
        size: u64,
        units: &[u64],
        attributes: &[u8],
        etag: ETag,
        lock: Lock,
    ) -> usize {
        let cell = NewCell {
            sequence: Sequence(70_000),
            is_marker: false,
            is_null: true,
            modified_ms: 1_700_000_000_000,
            etag,
            size,
            attributes,
            lock,
            place,
            units,
        };
        let mut bytes = Vec::new();
        cell.encode(&mut bytes);
        let read = Cell::decode(&bytes).expect("decodes");
        assert_eq!((read.sequence, read.modified_ms, read.size), (Sequence(70_000), 1_700_000_000_000, size));
        assert_eq!((read.etag, read.attributes, read.is_null, read.lock), (etag, attributes, true, lock));
        assert_eq!(read.place(), Ok((place.clone(), Units::of(units))));
        let unit_bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        assert_eq!(read.unit_bytes(), unit_bytes);
        for cut in 0..bytes.len() {
            let short = Cell::decode(&bytes[..cut]).and_then(|cell| cell.place().map(|_| ()));
            assert!(short.is_err(), "{cut} bytes");
        }
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= mask;
                fuzz_cell(&bad);
            }
        }
        bytes.len()
    }

    #[test]
    fn round_trips() {
        let tag = ETag { md5: [7; 16], parts: 0 };
        let log = BlobLocation::Log { drive: 0, at: DriveOffset(200 << 30) };
        let bytes = check(&log, 4096, &[u64::MAX], b"", tag);
        assert!(bytes <= 46, "a small object takes {bytes} bytes");
        check(&BlobLocation::Nowhere, 0, &[], b"type", ETag { md5: [1; 16], parts: 9 });
        let extents = [Extent { drive: 3, at: DriveOffset(1 << 40), bytes: 1 << 20 }; 2];
        check(&BlobLocation::Extents(extents.into()), 1_500_000, &[5; 23], b"attributes", tag);
        check(&BlobLocation::Parts { upload: 1 << 90, count: 10_000 }, 5 << 40, &[], b"", tag);
    }
}
