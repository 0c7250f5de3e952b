//! Reading bytes of blobs from their drives: whole units, each verified before any of it is handed out.
//!
//! `handle::get` asks its cache before; `shard` reads whole objects, and those that cleaning moves. I1. Nothing leaves that
//! is not covered by a checksum that was just verified. I2. Where a blob is stays valid while it is held: that is for the
//! shard to see to, by its pins.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};

use super::Blobs;
use super::layout::{Blob, Piece, RangePiece, Reach, pieces_of_range};
use super::verify::{checked, is_whole};
use crate::drive::Buffer;
use crate::error::{Corrupt, DriveError, EngineError};
use crate::format::cell::Units;
use crate::limits::IO_BYTES_MAX;
use crate::mutant::{Mutant, seeded};
use crate::platform::maintenance_buffer;
use crate::stats::ShardStats;
use crate::units::{BLOCK_BYTES, DriveOffset, UNIT_BYTES, round_up_to_block};

/// The units of one piece, verified.
pub(crate) struct VerifiedUnits {
    memory: Bytes,
    /// Where the first unit is in it.
    start: usize,
    bytes: usize,
    wanted: Range<u64>,
}

impl VerifiedUnits {
    /// The units of which something is wanted, and those behind them, with their place in the piece.
    pub(crate) fn wanted_units(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let unit_bytes = usize::try_from(UNIT_BYTES).expect("64 KiB");
        let units = self.memory[self.start..self.start + self.bytes].chunks(unit_bytes);
        (0..).zip(units).filter(|(nth, _)| self.wanted.start < (nth + 1) * UNIT_BYTES)
    }

    /// What is wanted, without copying it.
    pub(crate) fn into_wanted(self) -> Bytes {
        let at = |offset: u64| self.start + usize::try_from(offset).expect("within the buffer");
        self.memory.slice(at(self.wanted.start)..at(self.wanted.end))
    }
}

/// Bytes of several pieces, as they were on the drive: not verified.
pub(super) struct Stretch {
    start: u64,
    buffer: Buffer,
}

impl Stretch {
    /// The bytes of a piece that was read along.
    pub(super) fn bytes_of(&self, piece: Piece) -> &[u8] {
        let from = usize::try_from(piece.at.0 - self.start).expect("within the read");
        let bytes = usize::try_from(piece.bytes).expect("within the read");
        &self.buffer.as_slice()[from..from + bytes]
    }
}

/// Bytes of several small blobs, each whole in one piece, to be verified one by one.
pub(crate) struct SmallBlobs {
    stretch: Stretch,
}

impl SmallBlobs {
    /// The bytes of one of them; `None` when they are not what `units` says.
    pub(crate) fn verified(&self, piece: Piece, units: &Units) -> Option<&[u8]> {
        let bytes = self.stretch.bytes_of(piece);
        is_whole(bytes, units).then_some(bytes)
    }
}

impl Blobs {
    /// Reads one piece and verifies all units of it; waits for a buffer.
    pub(crate) async fn read(
        &self,
        wanted: &RangePiece,
        stats: &ShardStats,
    ) -> Result<VerifiedUnits, EngineError> {
        let piece = wanted.piece;
        let skip = piece.at.0 % BLOCK_BYTES;
        let bytes = round_up_to_block(skip + piece.bytes);
        let buffer = self.platform.buffer(usize::try_from(bytes).expect("about IO_BYTES_MAX")).await?;
        let drive = &self.drives[usize::from(piece.drive)];
        let (buffer, result) = drive.read(DriveOffset(piece.at.0 - skip), buffer).await;
        result?;
        stats.read_bytes.fetch_add(bytes, Relaxed);
        let start = usize::try_from(skip).expect("below a block");
        let bytes = usize::try_from(piece.bytes).expect("within the buffer");
        for unit in checked(piece, &buffer.as_slice()[start..start + bytes], &wanted.units) {
            if Some(unit.got) != unit.expected && !seeded(Mutant::UnitsUnverified) {
                stats.corrupt_units.fetch_add(1, Relaxed);
                let (at, got) = (unit.piece.at, unit.got);
                let expected = unit.expected.unwrap_or_default();
                return Err(Corrupt { what: "object data unit", at, got, expected }.into());
            }
        }
        Ok(VerifiedUnits { memory: buffer.freeze(), start, bytes, wanted: wanted.wanted.clone() })
    }

    /// Reads a whole object of `size` bytes, made of `blobs`, into memory.
    pub(crate) async fn read_whole(
        &self,
        blobs: &[Blob],
        size: u64,
        stats: &ShardStats,
    ) -> Result<Bytes, EngineError> {
        let mut all = BytesMut::with_capacity(usize::try_from(size).expect("bounded by the caller"));
        for piece in pieces_of_range(blobs, 0..size, IO_BYTES_MAX as u64) {
            all.extend_from_slice(&self.read(&piece, stats).await?.into_wanted());
        }
        Ok(all.freeze())
    }

    /// Reads small blobs that stand close together, for cleaning: goes on when readers hold all buffers.
    pub(crate) async fn read_small(&self, reach: Reach) -> Result<SmallBlobs, Option<DriveError>> {
        Ok(SmallBlobs { stretch: self.read_stretch(reach).await? })
    }

    /// Reads what several pieces need. `Err(None)`: it lies outside of its drive.
    pub(super) async fn read_stretch(&self, reach: Reach) -> Result<Stretch, Option<DriveError>> {
        let bytes = reach.bytes().ok_or(None)?;
        let drive = self.drives.get(usize::from(reach.drive)).ok_or(None)?;
        if drive.size() < reach.start.saturating_add(bytes) {
            return Err(None);
        }
        let buffer =
            maintenance_buffer(&self.platform, usize::try_from(bytes).expect("about IO_BYTES_MAX")).await;
        let (buffer, result) = drive.read(DriveOffset(reach.start), buffer).await;
        result.map_err(Some)?;
        Ok(Stretch { start: reach.start, buffer })
    }
}
