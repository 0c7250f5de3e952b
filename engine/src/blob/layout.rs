//! Where the bytes of a blob are: cut into units under one checksum, into the pieces that are written or read at once, and
//! into the stretches that several pieces are read with. Pure.
//!
//! I1. No unit lies in two extents: all extents of a blob but its last hold whole units. I2. A piece holds whole units, but
//! that the last one of a blob may be short. I3. Any place gives pieces, also one that lies outside of its drive: who reads
//! looks.

use std::ops::Range;
use std::sync::Arc;

use crate::format::cell::{BlobLocation, Units};
use crate::format::checksum::crc64_of_units;
use crate::format::record::{Extent, unit_count};
use crate::limits::IO_BYTES_MAX;
use crate::object::PartInfo;
use crate::units::{BLOCK_BYTES, DriveOffset, Sequence, UNIT_BYTES, round_up_to_block};

/// Bytes of an object or part that are on drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// The change that made it: unique in its shard, the same wherever the bytes are moved.
    pub(crate) sequence: Sequence,
    /// Bytes.
    pub(crate) size: u64,
    /// Where: in the log or in extents.
    pub(crate) place: BlobLocation,
    /// CRC-64/NVME of each 64 KiB unit.
    pub(crate) units: Units,
}

impl Blob {
    /// CRC-64/NVME of all bytes.
    pub(crate) fn crc64nvme(&self) -> u64 {
        crc64_of_units(self.units.as_slice().iter().copied(), self.size)
    }
}

/// Units of one blob that stand together on one drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The drive's place among the store's drives.
    pub(super) drive: u16,
    /// First byte of the first unit; in a log block at any byte.
    pub(super) at: DriveOffset,
    /// Bytes of the units.
    pub(super) bytes: u64,
    /// The first unit's place among those of the blob.
    pub(super) first_unit: u64,
}

impl Piece {
    /// A whole blob in a log or compaction zone.
    pub(crate) fn in_log((drive, at): (u16, DriveOffset), bytes: u64) -> Piece {
        Piece { drive, at, bytes, first_unit: 0 }
    }

    /// Each unit by itself.
    pub(super) fn units(self) -> impl Iterator<Item = Piece> {
        (0..self.bytes.div_ceil(UNIT_BYTES)).map(move |nth| Piece {
            first_unit: self.first_unit + nth,
            at: self.at.plus(nth * UNIT_BYTES),
            bytes: UNIT_BYTES.min(self.bytes - nth * UNIT_BYTES),
            ..self
        })
    }

    pub(super) fn end(self) -> u64 {
        self.at.0.saturating_add(self.bytes)
    }
}

/// A piece that is read for some of its bytes, and what it is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangePiece {
    pub(super) piece: Piece,
    /// What is wanted of the piece.
    pub(super) wanted: Range<u64>,
    /// Of the whole blob.
    pub(super) units: Units,
    /// The change that made the blob.
    pub(crate) blob: Sequence,
}

impl RangePiece {
    /// Units of the piece.
    pub(crate) fn unit_count(&self) -> u64 {
        self.piece.bytes.div_ceil(UNIT_BYTES)
    }

    /// The place of the piece's `nth` unit among those of the blob.
    pub(crate) fn unit_number(&self, nth: u64) -> u64 {
        self.piece.first_unit + nth
    }

    /// The first unit of the piece of which something is wanted.
    pub(crate) fn first_wanted_unit(&self) -> u64 {
        self.wanted.start / UNIT_BYTES
    }

    /// What is wanted of the first such unit, within the unit; the piece must end with it.
    pub(crate) fn wanted_in_first(&self) -> Range<usize> {
        let start = self.first_wanted_unit() * UNIT_BYTES;
        let within = |at: u64| usize::try_from(at - start).expect("within a unit");
        within(self.wanted.start)..within(self.wanted.end)
    }

    /// The piece up to its `nth` unit, and what is wanted of the rest.
    pub(crate) fn split_at_unit(self, nth: u64) -> (RangePiece, Option<RangePiece>) {
        let cut = nth * UNIT_BYTES;
        if self.wanted.end <= cut {
            return (self, None);
        }
        let rest = Piece {
            at: self.piece.at.plus(cut),
            bytes: self.piece.bytes - cut,
            first_unit: self.piece.first_unit + nth,
            ..self.piece
        };
        let later = RangePiece {
            piece: rest,
            wanted: self.wanted.start.max(cut) - cut..self.wanted.end - cut,
            units: self.units.clone(),
            ..self
        };
        let piece = Piece { bytes: cut, ..self.piece };
        (RangePiece { piece, wanted: self.wanted.start..cut, ..self }, Some(later))
    }
}

/// A run of a blob's bytes on one drive: all of them in a log or compaction zone, or those in one extent.
struct Run {
    /// Which bytes of the blob.
    held: Range<u64>,
    drive: u16,
    at: DriveOffset,
}

impl Run {
    /// Cuts out what is wanted of the blob, in pieces of up to `piece_bytes`, and what is wanted of each.
    fn pieces(self, wanted: Range<u64>, piece_bytes: u64) -> impl Iterator<Item = (Piece, Range<u64>)> {
        let mut from = wanted.start.max(self.held.start);
        let to = wanted.end.min(self.held.end);
        std::iter::from_fn(move || {
            if to <= from {
                return None;
            }
            let unit = from - from % UNIT_BYTES;
            let end = to.checked_next_multiple_of(UNIT_BYTES).unwrap_or(u64::MAX);
            let until = unit.saturating_add(piece_bytes).min(end).min(self.held.end);
            // The same, unless the place is damaged (I1).
            let start = unit.max(self.held.start);
            let piece = Piece {
                drive: self.drive,
                at: self.at.plus(start - self.held.start),
                bytes: until - start,
                first_unit: start / UNIT_BYTES,
            };
            let of_piece = from - start..to.min(until) - start;
            from = until;
            Some((piece, of_piece))
        })
    }
}

/// In the order of the blob's bytes.
fn runs(blob: &Blob) -> impl Iterator<Item = Run> {
    let (whole, extents): (Option<Extent>, &[Extent]) = match &blob.place {
        BlobLocation::Log { drive, at } => (Some(Extent { drive: *drive, at: *at, bytes: blob.size }), &[]),
        BlobLocation::Extents(extents) => (None, extents),
        BlobLocation::Nowhere | BlobLocation::Parts { .. } => (None, &[]),
    };
    let mut start: u64 = 0;
    whole.into_iter().chain(extents.iter().copied()).map(move |extent| {
        let held = start..start.saturating_add(extent.bytes).min(blob.size);
        start = held.end;
        Run { held, drive: extent.drive, at: extent.at }
    })
}

/// All of a blob, in pieces of up to `piece_bytes`, which are whole units.
pub(super) fn pieces(blob: &Blob, piece_bytes: u64) -> impl Iterator<Item = Piece> {
    runs(blob).flat_map(move |run| run.pieces(0..blob.size, piece_bytes)).map(|(piece, _)| piece)
}

/// Cuts a range of an object, which is made of `blobs`, into pieces of up to `piece_bytes`, which are whole units.
pub(crate) fn pieces_of_range(
    blobs: &[Blob],
    range: Range<u64>,
    piece_bytes: u64,
) -> impl Iterator<Item = RangePiece> {
    let mut start = 0;
    blobs.iter().flat_map(move |blob| {
        let end = start + blob.size;
        // Nothing when the range ends before the blob or begins behind it.
        let wanted = range.start.clamp(start, end) - start..range.end.clamp(start, end) - start;
        start = end;
        runs(blob).flat_map(move |run| run.pieces(wanted.clone(), piece_bytes)).map(|(piece, wanted)| {
            RangePiece { piece, wanted, units: blob.units.clone(), blob: blob.sequence }
        })
    })
}

/// A stretch of a drive that several pieces are read with, at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    pub(super) drive: u16,
    /// A whole number of blocks.
    pub(super) start: u64,
    end: u64,
    gap_bytes: u64,
}

impl Reach {
    /// What one piece needs; others join when at most `gap_bytes` lie between them.
    pub(crate) fn of(first: Piece, gap_bytes: u64) -> Reach {
        let start = first.at.0 - first.at.0 % BLOCK_BYTES;
        Reach { drive: first.drive, start, end: first.end(), gap_bytes }
    }

    /// Whether a piece that begins no earlier may be read along: on the same drive, near, and within `IO_BYTES_MAX`.
    pub(crate) fn joins(&self, next: Piece) -> bool {
        next.drive == self.drive
            && next.at.0 <= self.end.saturating_add(self.gap_bytes)
            && next.end() <= self.start.saturating_add(IO_BYTES_MAX as u64)
    }

    /// Reads this piece along.
    pub(crate) fn extend(&mut self, next: Piece) {
        self.end = self.end.max(next.end());
    }

    /// Bytes to read, whole blocks; `None` for a place that no drive has.
    pub(super) fn bytes(&self) -> Option<u64> {
        Some(self.end.checked_next_multiple_of(BLOCK_BYTES)? - self.start)
    }
}

/// Where the next bytes of a new blob are written: extents in order, each in pieces of up to `IO_BYTES_MAX`.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) extents: Arc<[Extent]>,
    /// The extent being filled, and how much of it is.
    nth: usize,
    used: u64,
}

impl Filling {
    pub(super) fn new(extents: Arc<[Extent]>) -> Filling {
        Filling { extents, nth: 0, used: 0 }
    }

    /// Bytes of the next piece when `left` bytes of the blob (more than none) are still to come: whole blocks, and
    /// whole units unless the extent or the blob ends with it.
    pub(super) fn next_bytes(&mut self, left: u64) -> u64 {
        if self.extents[self.nth].bytes == self.used {
            self.nth += 1;
            self.used = 0;
        }
        let held = self.extents[self.nth].bytes - self.used;
        held.min(IO_BYTES_MAX as u64).min(round_up_to_block(left))
    }

    /// Takes the place of the next piece.
    pub(super) fn take(&mut self, bytes: u64) -> (u16, DriveOffset) {
        let extent = self.extents[self.nth];
        let at = extent.at.plus(self.used);
        self.used += bytes;
        assert!(self.used <= extent.bytes);
        (extent.drive, at)
    }
}

impl PartInfo {
    /// CRC-64/NVME of all its bytes, made of [`PartInfo::units`] in some nanoseconds for each; `None` without them.
    pub fn crc64nvme(&self) -> Option<u64> {
        let (units, rest) = self.units.as_chunks::<8>();
        let is_whole = rest.is_empty() && units.len() as u64 == unit_count(self.size);
        is_whole.then(|| crc64_of_units(units.iter().map(|unit| u64::from_le_bytes(*unit)), self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn blob(size: u64, place: BlobLocation) -> Blob {
        let units = Units::of(&(0..unit_count(size)).collect::<Vec<u64>>());
        Blob { sequence: Sequence(1), size, place, units }
    }

    fn extents(list: &[(u64, u64)]) -> Arc<[Extent]> {
        list.iter().map(|(at, bytes)| Extent { drive: 0, at: DriveOffset(*at), bytes: *bytes }).collect()
    }

    /// (start on the drive, bytes read, wanted, first unit)
    fn check(blobs: &[Blob], range: Range<u64>, want: &[(u64, u64, Range<u64>, u64)]) {
        let got: Vec<_> = pieces_of_range(blobs, range.clone(), IO_BYTES_MAX as u64)
            .map(|RangePiece { piece, wanted, .. }| (piece.at.0, piece.bytes, wanted, piece.first_unit))
            .collect();
        assert_eq!(got, want, "{range:?}");
    }

    #[test]
    fn ranges_become_reads_of_whole_units() {
        let log = [blob(100, BlobLocation::Log { drive: 0, at: DriveOffset(4099) })];
        check(&log, 0..100, &[(4099, 100, 0..100, 0)]);
        check(&log, 7..8, &[(4099, 100, 7..8, 0)]);
        check(&log, 7..7, &[]);
        let place = BlobLocation::Extents(extents(&[(0, 2048 * KIB), (1 << 30, 1028 * KIB)]));
        let large = [blob(3 * 1024 * KIB + 5, place)];
        check(&large, 0..10, &[(0, 64 * KIB, 0..10, 0)]);
        check(&large, 64 * KIB - 1..64 * KIB + 1, &[(0, 128 * KIB, 64 * KIB - 1..64 * KIB + 1, 0)]);
        check(
            &large,
            2048 * KIB - 1..2048 * KIB + 1,
            &[(1984 * KIB, 64 * KIB, 64 * KIB - 1..64 * KIB, 31), (1 << 30, 64 * KIB, 0..1, 32)],
        );
        check(&large, 3072 * KIB + 4..3072 * KIB + 5, &[((1 << 30) + 1024 * KIB, 5, 4..5, 48)]);
        let place = |at| BlobLocation::Extents(extents(&[(at, 4096)]));
        let parts = [blob(10, place(0)), blob(20, place(8192))];
        check(&parts, 5..25, &[(0, 10, 5..10, 0), (8192, 20, 0..15, 0)]);
        check(&parts, 0..10, &[(0, 10, 0..10, 0)]);
        check(&parts, 10..11, &[(8192, 20, 0..1, 0)]);
    }

    /// What is written piece by piece is read back by pieces of the same units.
    #[test]
    fn writes_fill_extents_in_order() {
        let check = |list: &[(u64, u64)], size: u64, want: &[(u64, u64)]| {
            let mut filling = Filling::new(extents(list));
            let (mut left, mut got) = (size, Vec::new());
            while 0 < left {
                let bytes = filling.next_bytes(left);
                got.push((filling.take(bytes).1.0, bytes));
                left -= bytes.min(left);
            }
            assert_eq!(got, want, "{size}");
            let blob = blob(size, BlobLocation::Extents(extents(list)));
            let read: Vec<_> = pieces(&blob, IO_BYTES_MAX as u64).map(|piece| piece.at.0).collect();
            assert_eq!(read, want.iter().map(|(at, _)| *at).collect::<Vec<_>>(), "{size}");
        };
        check(&[(8192, 4096)], 1, &[(8192, 4096)]);
        check(&[(8192, 132 * KIB)], 131 * KIB + 1, &[(8192, 132 * KIB)]);
        check(&[(0, 1024 * KIB)], 1024 * KIB, &[(0, 1024 * KIB)]);
        check(
            &[(0, 1088 * KIB), (1 << 30, 8 * KIB)],
            1092 * KIB + 1,
            &[(0, 1024 * KIB), (1024 * KIB, 64 * KIB), (1 << 30, 8 * KIB)],
        );
    }

    #[test]
    fn places_that_no_drive_has_are_cut_as_well() {
        let far = Extent { drive: 9, at: DriveOffset(u64::MAX - 4095), bytes: 1 << 40 };
        let short = Extent { bytes: 4096, ..far };
        let mut damaged = blob(3 * 64 * KIB, BlobLocation::Extents([short, far].into()));
        let cut: Vec<_> = pieces(&damaged, 64 * KIB).collect();
        assert_eq!(cut.iter().map(|piece| piece.bytes).sum::<u64>(), damaged.size);
        assert!(cut.iter().all(|piece| Reach::of(*piece, 0).bytes().is_none()));
        damaged.place = BlobLocation::Nowhere;
        assert_eq!(pieces(&damaged, 64 * KIB).count(), 0);
    }
}
