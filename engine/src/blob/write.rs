//! Writing a blob to its extents as its bytes come: cut into pieces, checksummed, written a few at a time, flushed.
//!
//! `handle::put` writes what clients send, on the core that has the connection; `shard::stage` what transactions bring.
//! I1. [`BlobWriter::finish`] gives a record only of bytes that are durable. I2. Who drops a writer before has to wait for
//! [`BlobWriter::take_pending`] before its extents are used again.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::Blobs;
use super::layout::Filling;
use crate::drive::{Buffer, Durability};
use crate::error::{DriveError, EngineError};
use crate::format::checksum::unit_checksums;
use crate::format::record::{BlobPlace, BlobRecord, Extent};
use crate::limits::IO_DEPTH_PER_STREAM;
use crate::mutant::{Mutant, seeded};
use crate::units::round_up_to_block;

/// A blob whose bytes ride in the log record.
pub(crate) fn inline_blob(bytes: Bytes) -> BlobRecord {
    let units = unit_checksums(&bytes).collect();
    BlobRecord { size: bytes.len() as u64, place: BlobPlace::Inline(bytes), units }
}

/// Drive writes that were started and whose end nobody has seen yet.
#[derive(Default)]
pub(crate) struct PendingWrites {
    writes: FuturesUnordered<LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)>>,
}

impl PendingWrites {
    /// Resolves when all of them have ended, well or not.
    pub(crate) async fn ended(mut self) {
        while self.writes.next().await.is_some() {}
    }

    /// Waits for one of them, if there are any.
    async fn next(&mut self) -> Result<(), EngineError> {
        match self.writes.next().await {
            Some((_, result)) => Ok(result?),
            None => Ok(()),
        }
    }
}

/// The first `bytes` of some extents, whole blocks, and what is left of them.
fn cut(extents: &[Extent], bytes: u64) -> (Vec<Extent>, Vec<Extent>) {
    let (mut kept, mut spare, mut left) = (Vec::new(), Vec::new(), bytes);
    for extent in extents {
        let held = extent.bytes.min(left);
        left -= held;
        if 0 < held {
            kept.push(Extent { bytes: held, ..*extent });
        }
        if held < extent.bytes {
            spare.push(Extent { at: extent.at.plus(held), bytes: extent.bytes - held, ..*extent });
        }
    }
    (kept, spare)
}

/// Extents being filled with one blob.
pub(crate) struct BlobWriter {
    blobs: Rc<Blobs>,
    size: u64,
    /// Bytes still to come.
    missing: u64,
    filling: Filling,
    /// Checksums of the units before the piece being filled.
    units: Vec<u64>,
    /// The piece being filled, and how much of it is.
    buffer: Option<Buffer>,
    filled: usize,
    pending: PendingWrites,
}

impl BlobWriter {
    /// A writer of exactly `size` bytes; `extents` have room for them and are nobody else's.
    pub(crate) fn new(blobs: Rc<Blobs>, extents: Arc<[Extent]>, size: u64) -> BlobWriter {
        BlobWriter {
            blobs,
            size,
            missing: size,
            filling: Filling::new(extents),
            units: Vec::new(),
            buffer: None,
            filled: 0,
            pending: PendingWrites::default(),
        }
    }

    pub(crate) fn extents(&self) -> &Arc<[Extent]> {
        &self.filling.extents
    }

    /// Takes the next bytes, no more than are missing (asserted); waits for buffers, and while `IO_DEPTH_PER_STREAM` drive
    /// writes are under way. After an error, or when its future was dropped, the blob cannot be finished.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), EngineError> {
        assert!(bytes.len() as u64 <= self.missing, "more bytes than announced");
        while !bytes.is_empty() {
            if self.buffer.is_none() {
                self.start_piece().await?;
            }
            let buffer = self.buffer.as_mut().expect("started above");
            let take = bytes.len().min(buffer.len() - self.filled);
            buffer.as_mut_slice()[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
            self.filled += take;
            bytes.advance(take);
            self.missing -= take as u64;
            if self.filled == buffer.len() || self.missing == 0 {
                self.end_piece();
            }
        }
        Ok(())
    }

    async fn start_piece(&mut self) -> Result<(), EngineError> {
        while IO_DEPTH_PER_STREAM <= self.pending.writes.len() {
            self.pending.next().await?;
        }
        let bytes = usize::try_from(self.filling.next_bytes(self.missing)).expect("at most IO_BYTES_MAX");
        self.buffer = Some(self.blobs.platform.buffer(bytes).await?);
        self.filled = 0;
        Ok(())
    }

    /// Checksums the piece and hands it to the drive.
    fn end_piece(&mut self) {
        let mut buffer = self.buffer.take().expect("a piece was started");
        self.units.extend(unit_checksums(&buffer.as_slice()[..self.filled]));
        buffer.as_mut_slice()[self.filled..].fill(0);
        let (drive, at) = self.filling.take(buffer.len() as u64);
        let drive = &self.blobs.drives[usize::from(drive)];
        self.pending.writes.push(drive.write(at, buffer, Durability::AfterFlush));
    }

    /// Ends the blob with the bytes that came. What it does not need of its extents may be used again once
    /// [`BlobWriter::finish`], or else [`BlobWriter::take_pending`], has ended: the last piece is written beyond its bytes.
    pub(crate) fn shorten(&mut self) -> Vec<Extent> {
        self.size -= self.missing;
        self.missing = 0;
        if self.buffer.is_some() {
            self.end_piece();
        }
        let (kept, spare) = cut(self.extents(), round_up_to_block(self.size));
        self.filling.extents = kept.into();
        spare
    }

    /// Makes all bytes durable, which must have come (asserted), and returns what a record says of them.
    ///
    /// `unflushed` is the seeded mistake with which the flush is left out.
    pub(crate) async fn finish(&mut self, unflushed: Mutant) -> Result<BlobRecord, EngineError> {
        assert!(self.missing == 0, "{} of {} bytes are missing", self.missing, self.size);
        while !self.pending.writes.is_empty() {
            self.pending.next().await?;
        }
        if !seeded(unflushed) {
            let drives: BTreeSet<u16> = self.extents().iter().map(|extent| extent.drive).collect();
            for drive in drives {
                self.blobs.flushes[usize::from(drive)].flush().await?;
            }
        }
        let units = std::mem::take(&mut self.units).into();
        Ok(BlobRecord { size: self.size, place: BlobPlace::Extents(self.extents().clone()), units })
    }

    /// What is still being written, to be waited for after an error or before the writer goes.
    pub(crate) fn take_pending(&mut self) -> PendingWrites {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DriveOffset;

    #[test]
    fn extents_are_cut_at_blocks() {
        let extents = |list: &[(u64, u64)]| -> Vec<Extent> {
            list.iter().map(|(at, bytes)| Extent { drive: 0, at: DriveOffset(*at), bytes: *bytes }).collect()
        };
        let check = |bytes: u64, kept: &[(u64, u64)], spare: &[(u64, u64)]| {
            let all = extents(&[(0, 65_536), (1 << 20, 12_288)]);
            assert_eq!(cut(&all, bytes), (extents(kept), extents(spare)), "{bytes}");
        };
        check(77_824, &[(0, 65_536), (1 << 20, 12_288)], &[]);
        check(69_632, &[(0, 65_536), (1 << 20, 4_096)], &[((1 << 20) + 4_096, 8_192)]);
        check(65_536, &[(0, 65_536)], &[(1 << 20, 12_288)]);
        check(4_096, &[(0, 4_096)], &[(4_096, 61_440), (1 << 20, 12_288)]);
        check(0, &[], &[(0, 65_536), (1 << 20, 12_288)]);
    }
}
