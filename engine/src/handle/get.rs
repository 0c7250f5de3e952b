//! Reading one object: pieces of up to 1 MiB, a few read ahead, each verified unit by unit before it is handed out.
//!
//! Runs on the core that has the client's connection, whose cache is asked first. I1. No byte leaves that is not covered by
//! a unit checksum that was just verified, or was when the unit came into the cache. I2. The blobs of an open reader are never reused: the shard sees that they are still referred to.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::Core;
use crate::cache::CacheKey;
use crate::drive::Drive;
use crate::error::{Corrupt, EngineError};
use crate::format::cell::{Place, Units};
use crate::format::checksum::crc64;
use crate::limits::{IO_BYTES_MAX, IO_DEPTH_PER_STREAM};
use crate::meta::index::Blob;
use crate::mutant::{Mutant, is};
use crate::object::ObjectInfo;
use crate::platform::{LocalFuture, Platform};
use crate::stats::ShardStats;
use crate::units::{BLOCK_BYTES, DriveOffset, Sequence, ShardId, UNIT_BYTES, round_up_to_block};

pub(super) type Found = (ObjectInfo, Arc<[Blob]>);

/// An object opened for reading: its bytes stay readable, unchanged, until this is dropped, even when the key is
/// overwritten or deleted meanwhile.
pub struct ObjectReader {
    /// What is known of the object.
    pub info: ObjectInfo,
    blobs: Arc<[Blob]>,
    core: Rc<Core>,
    shard: ShardId,
}

impl ObjectReader {
    pub(super) fn new(info: ObjectInfo, blobs: Arc<[Blob]>, core: &Rc<Core>, shard: ShardId) -> ObjectReader {
        ObjectReader { info, blobs, core: core.clone(), shard }
    }

    /// Sizes of the parts of a multipart object in order; one entry for an object put in one piece.
    pub fn part_sizes(&self) -> Vec<u64> {
        self.blobs.iter().map(|blob| blob.size).collect()
    }

    /// Starts delivering `range`, which lies within the object (asserted), as quickly as it is asked for.
    pub fn read(self, range: Range<u64>) -> ObjectStream {
        let mut stream = self.read_by_pieces(range, IO_BYTES_MAX);
        stream.set_depth(IO_DEPTH_PER_STREAM);
        stream
    }

    /// Starts delivering `range` one piece of at most `piece_bytes` at a time, until [`ObjectStream::set_depth`] allows
    /// more. `piece_bytes` is a multiple of `UNIT_BYTES` and at most `IO_BYTES_MAX` (asserted).
    pub fn read_by_pieces(self, range: Range<u64>, piece_bytes: usize) -> ObjectStream {
        assert!(range.start <= range.end && range.end <= self.info.size);
        assert!((1..=IO_BYTES_MAX).contains(&piece_bytes));
        assert!((piece_bytes as u64).is_multiple_of(UNIT_BYTES));
        ObjectStream {
            pieces: pieces(&self.blobs, range, piece_bytes as u64),
            reads: FuturesOrdered::new(),
            reading: VecDeque::new(),
            depth: 1,
            core: self.core,
            shard: self.shard,
            _blobs: self.blobs,
        }
    }
}

/// The bytes of a range of an object, in order.
///
/// Each item is up to 1 MiB. An error ends it; what came before the error was verified.
pub struct ObjectStream {
    pieces: VecDeque<Piece>,
    reads: FuturesOrdered<LocalFuture<Result<Bytes, EngineError>>>,
    /// What `reads` are reading, in order.
    reading: VecDeque<Piece>,
    depth: usize,
    core: Rc<Core>,
    shard: ShardId,
    _blobs: Arc<[Blob]>,
}

impl ObjectStream {
    /// The next bytes; `None` at the end of the range.
    pub async fn next(&mut self) -> Option<Result<Bytes, EngineError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`ObjectStream::next`], for bodies that are polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, EngineError>>> {
        while self.reads.len() < self.depth {
            let Some(piece) = self.pieces.pop_front() else { break };
            let (now, cached, later) = self.look_up(piece);
            if let Some(later) = later {
                self.pieces.push_front(later);
            }
            match cached {
                Some(bytes) if self.reads.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                Some(bytes) => self.reads.push_back(Box::pin(std::future::ready(Ok(bytes)))),
                None => {
                    let read = now.clone().read_for(self.core.clone(), self.shard);
                    self.reads.push_back(Box::pin(read));
                }
            }
            self.reading.push_back(now);
        }
        let polled = self.reads.poll_next_unpin(cx);
        if polled.is_ready() {
            drop(self.reading.pop_front());
        }
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.pieces.clear();
            self.reading.clear();
            self.reads = FuturesOrdered::new();
        }
        polled
    }

    /// Asks the cache for the units of a piece: answers the first one when it is there, else all before the next one that
    /// is; and what is left of the piece. Every unit is asked for once.
    fn look_up(&self, piece: Piece) -> (Piece, Option<Bytes>, Option<Piece>) {
        let mut cache = self.core.cache.borrow_mut();
        if cache.is_off() {
            return (piece, None, None);
        }
        let first = piece.wanted.start / UNIT_BYTES;
        let units = piece.bytes.div_ceil(UNIT_BYTES);
        if piece.asked {
            return (piece, None, None);
        }
        if let Some(unit) = cache.get(&piece.key(self.shard, first)) {
            let (now, later) = piece.split_at_unit(first + 1);
            let from = usize::try_from(now.wanted.start - first * UNIT_BYTES).expect("within a unit");
            let to = usize::try_from(now.wanted.end - first * UNIT_BYTES).expect("within a unit");
            return (now, Some(unit.slice(from..to)), later);
        }
        // A unit that is there ends the read; it is asked for again when its turn comes, right away.
        let end = (first + 1..units).find(|unit| cache.contains(&piece.key(self.shard, *unit)));
        let (mut now, later) = piece.split_at_unit(end.unwrap_or(units));
        for unit in first + 1..end.unwrap_or(units) {
            drop(cache.get(&now.key(self.shard, unit)));
        }
        now.asked = true;
        (now, None, later)
    }

    /// Pieces that are read, or kept for the next calls, at a time: 1 to `IO_DEPTH_PER_STREAM`.
    pub fn set_depth(&mut self, pieces: usize) {
        self.depth = pieces.clamp(1, IO_DEPTH_PER_STREAM);
    }

    /// Pieces that were not handed out yet, those being read among them.
    pub fn pieces_left(&self) -> usize {
        self.pieces.len() + self.reads.len()
    }

    /// Gives back the memory of what was read ahead; it is read again when it is asked for.
    pub fn shed(&mut self) {
        self.reads = FuturesOrdered::new();
        while let Some(piece) = self.reading.pop_back() {
            self.pieces.push_front(piece);
        }
    }
}

/// Reads a whole object of `size` bytes into memory.
pub(crate) async fn read_blobs(
    drives: &[Rc<dyn Drive>],
    platform: &Rc<dyn Platform>,
    stats: &Arc<ShardStats>,
    blobs: &[Blob],
    size: u64,
) -> Result<Bytes, EngineError> {
    let mut all = BytesMut::with_capacity(usize::try_from(size).expect("bounded by the caller"));
    for piece in pieces(blobs, 0..size, IO_BYTES_MAX as u64) {
        let drive = drives[usize::from(piece.drive)].clone();
        all.extend_from_slice(&piece.read(drive, platform.clone(), stats.clone()).await?);
    }
    Ok(all.freeze())
}

/// One drive read: whole units of one blob, and which bytes of them are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    drive: u16,
    /// First byte of the first unit; in a log block at any byte.
    at: DriveOffset,
    /// Bytes of the units.
    bytes: u64,
    /// What is wanted of them.
    wanted: Range<u64>,
    units: Units,
    first_unit: usize,
    /// The change that made the blob.
    blob: Sequence,
    /// Whether the cache was asked for its units.
    asked: bool,
}

/// Cuts a range of an object into reads. Pure.
fn pieces(blobs: &[Blob], range: Range<u64>, piece_bytes: u64) -> VecDeque<Piece> {
    let mut pieces = VecDeque::new();
    let mut blob_start = 0;
    for blob in blobs {
        let blob_end = blob_start + blob.size;
        let (from, to) = (range.start.max(blob_start), range.end.min(blob_end));
        if from < to {
            blob_pieces(blob, from - blob_start..to - blob_start, piece_bytes, &mut pieces);
        }
        blob_start = blob_end;
    }
    pieces
}

fn blob_pieces(blob: &Blob, wanted: Range<u64>, piece_bytes: u64, pieces: &mut VecDeque<Piece>) {
    // Runs of the blob's bytes on the drive: one for a log record, one per extent otherwise.
    let mut run_start = 0;
    let mut add_run = |drive: u16, at: DriveOffset, held: u64| {
        let run_end = (run_start + held).min(blob.size);
        let mut from = wanted.start.max(run_start);
        let to = wanted.end.min(run_end);
        while from < to {
            let unit_start = from - from % UNIT_BYTES;
            let until = (unit_start + piece_bytes).min(to.next_multiple_of(UNIT_BYTES)).min(run_end);
            pieces.push_back(Piece {
                drive,
                at: at.plus(unit_start - run_start),
                bytes: until - unit_start,
                wanted: from - unit_start..to.min(until) - unit_start,
                units: blob.units.clone(),
                first_unit: usize::try_from(unit_start / UNIT_BYTES).expect("units are in memory"),
                blob: blob.sequence,
                asked: false,
            });
            from = until;
        }
        run_start = run_end;
    };
    match &blob.place {
        Place::Log { drive, at } => add_run(*drive, *at, blob.size),
        Place::Extents(extents) => {
            extents.iter().for_each(|extent| add_run(extent.drive, extent.at, extent.bytes))
        }
        Place::Nowhere | Place::Parts { .. } => {}
    }
}

impl Piece {
    /// How the cache calls the `nth` unit of the piece.
    fn key(&self, shard: ShardId, nth: u64) -> CacheKey {
        let unit = u32::try_from(self.first_unit as u64 + nth).expect("a blob has fewer units");
        CacheKey {
            shard: if is(Mutant::CacheShardless) { ShardId(0) } else { shard },
            blob: self.blob.0,
            unit: if is(Mutant::CacheUnitless) { 0 } else { unit },
        }
    }

    /// The piece up to its `nth` unit, and what is wanted of the rest.
    fn split_at_unit(self, nth: u64) -> (Piece, Option<Piece>) {
        let cut = nth * UNIT_BYTES;
        if self.wanted.end <= cut {
            return (self, None);
        }
        let later = Piece {
            at: self.at.plus(cut),
            bytes: self.bytes - cut,
            wanted: self.wanted.start.max(cut) - cut..self.wanted.end - cut,
            first_unit: self.first_unit + usize::try_from(nth).expect("units are in memory"),
            units: self.units.clone(),
            ..self
        };
        (Piece { bytes: cut, wanted: self.wanted.start..cut, ..self }, Some(later))
    }

    /// Reads for a client: what was read is offered to the core's cache.
    async fn read_for(self, core: Rc<Core>, shard: ShardId) -> Result<Bytes, EngineError> {
        let drive = core.drives[usize::from(self.drive)].clone();
        let stats = core.shared.stats[usize::from(shard.0)].clone();
        let (buffer, at) = self.read_units(drive, core.platform.clone(), stats).await?;
        let mut cache = core.cache.borrow_mut();
        if !cache.is_off() {
            let unit_bytes = usize::try_from(UNIT_BYTES).expect("64 KiB");
            let bytes = &buffer[at..at + usize::try_from(self.bytes).expect("within the buffer")];
            for (nth, unit) in (0..).zip(bytes.chunks(unit_bytes)) {
                if self.wanted.start < (nth + 1) * UNIT_BYTES {
                    cache.offer(self.key(shard, nth), unit);
                }
            }
        }
        let at = |offset: u64| at + usize::try_from(offset).expect("within the buffer");
        Ok(buffer.slice(at(self.wanted.start)..at(self.wanted.end)))
    }

    /// Reads, verifies, and answers the wanted bytes without copying them.
    async fn read(
        self,
        drive: Rc<dyn Drive>,
        platform: Rc<dyn Platform>,
        stats: Arc<ShardStats>,
    ) -> Result<Bytes, EngineError> {
        let wanted = self.wanted.clone();
        let (buffer, start) = self.read_units(drive, platform, stats).await?;
        let at = |offset: u64| start + usize::try_from(offset).expect("within the buffer");
        Ok(buffer.slice(at(wanted.start)..at(wanted.end)))
    }

    /// Reads and verifies all units of the piece; answers the memory they are in and where they start.
    async fn read_units(
        &self,
        drive: Rc<dyn Drive>,
        platform: Rc<dyn Platform>,
        stats: Arc<ShardStats>,
    ) -> Result<(Bytes, usize), EngineError> {
        let skip = self.at.0 % BLOCK_BYTES;
        let start = DriveOffset(self.at.0 - skip);
        let bytes = round_up_to_block(skip + self.bytes);
        let buffer = platform.buffer(usize::try_from(bytes).expect("about IO_BYTES_MAX")).await?;
        let (buffer, result) = drive.read(start, buffer).await;
        result?;
        stats.read_bytes.fetch_add(bytes, Relaxed);
        let at = |offset: u64| usize::try_from(skip + offset).expect("within the buffer");
        self.verify(&buffer.as_slice()[at(0)..at(self.bytes)]).inspect_err(|_| {
            stats.corrupt_units.fetch_add(1, Relaxed);
        })?;
        Ok((buffer.freeze(), at(0)))
    }

    fn verify(&self, bytes: &[u8]) -> Result<(), Corrupt> {
        let unit_bytes = usize::try_from(UNIT_BYTES).expect("64 KiB");
        for (nth, unit) in bytes.chunks(unit_bytes).enumerate() {
            let (got, expected) = (crc64(unit), self.units.as_slice()[self.first_unit + nth]);
            if got != expected && !is(Mutant::UnitsUnverified) {
                let at = self.at.plus((nth * unit_bytes) as u64);
                return Err(Corrupt { what: "object data unit", at, got, expected });
            }
        }
        Ok(())
    }
}

// The stream is polled through `&mut`, nothing in it is pinned in place.
impl Unpin for ObjectStream {}

impl futures_util::Stream for ObjectStream {
    type Item = Result<Bytes, EngineError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Extent, unit_count};

    const KIB: u64 = 1024;

    fn blob(size: u64, place: Place) -> Blob {
        let units = Units::of(&(0..unit_count(size)).collect::<Vec<u64>>());
        Blob { sequence: Sequence(1), size, place, units }
    }

    fn extents(list: &[(u64, u64)]) -> Place {
        Place::Extents(
            list.iter().map(|(at, bytes)| Extent { drive: 0, at: DriveOffset(*at), bytes: *bytes }).collect(),
        )
    }

    /// (start on the drive, bytes read, wanted, first unit)
    fn check(blobs: &[Blob], range: Range<u64>, want: &[(u64, u64, Range<u64>, usize)]) {
        let got: Vec<_> = pieces(blobs, range.clone(), IO_BYTES_MAX as u64)
            .into_iter()
            .map(|piece| (piece.at.0, piece.bytes, piece.wanted, piece.first_unit))
            .collect();
        assert_eq!(got, want, "{range:?}");
    }

    #[test]
    fn ranges_become_reads_of_whole_units() {
        let log = [blob(100, Place::Log { drive: 0, at: DriveOffset(4099) })];
        check(&log, 0..100, &[(4099, 100, 0..100, 0)]);
        check(&log, 7..8, &[(4099, 100, 7..8, 0)]);
        check(&log, 7..7, &[]);
        let large = [blob(3 * 1024 * KIB + 5, extents(&[(0, 2048 * KIB), (1 << 30, 1028 * KIB)]))];
        check(&large, 0..10, &[(0, 64 * KIB, 0..10, 0)]);
        check(&large, 64 * KIB - 1..64 * KIB + 1, &[(0, 128 * KIB, 64 * KIB - 1..64 * KIB + 1, 0)]);
        check(
            &large,
            2048 * KIB - 1..2048 * KIB + 1,
            &[(1984 * KIB, 64 * KIB, 64 * KIB - 1..64 * KIB, 31), (1 << 30, 64 * KIB, 0..1, 32)],
        );
        check(&large, 3072 * KIB + 4..3072 * KIB + 5, &[((1 << 30) + 1024 * KIB, 5, 4..5, 48)]);
        let parts = [blob(10, extents(&[(0, 4096)])), blob(20, extents(&[(8192, 4096)]))];
        check(&parts, 5..25, &[(0, 10, 5..10, 0), (8192, 20, 0..15, 0)]);
    }
}
