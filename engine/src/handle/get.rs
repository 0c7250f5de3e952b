//! Reading one object: pieces of up to 1 MiB, a few read ahead, each verified unit by unit before it is handed out.
//!
//! Runs on the core that has the client's connection, whose cache is asked first. I1. No byte leaves that is not covered by
//! a unit checksum that was just verified, or was when the unit came into the cache. I2. The blobs of an open reader are never reused: the shard sees that they are still referred to.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::Core;
use crate::blob::{Blob, RangePiece, pieces_of_range};
use crate::cache::CacheKey;
use crate::error::EngineError;
use crate::format::checksum::crc64_joined;
use crate::limits::{IO_BYTES_MAX, IO_DEPTH_PER_STREAM};
use crate::mutant::{Mutant, seeded};
use crate::object::ObjectInfo;
use crate::platform::LocalFuture;
use crate::units::{ShardId, UNIT_BYTES};

pub(super) type Opened = (ObjectInfo, Arc<[Blob]>);

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

    /// CRC-64/NVME of all bytes, made of the checksums of their units.
    pub fn crc64nvme(&self) -> u64 {
        let whole = |whole, blob: &Blob| crc64_joined(whole, blob.crc64nvme(), blob.size);
        self.blobs.iter().fold(0, whole)
    }

    /// The same of one part, from 0; an object put in one piece has one.
    pub fn part_crc64nvme(&self, nth: usize) -> Option<u64> {
        self.blobs.get(nth).map(Blob::crc64nvme)
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
            pieces: pieces_of_range(&self.blobs, range, piece_bytes as u64).map(Read::new).collect(),
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
    pieces: VecDeque<Read>,
    reads: FuturesOrdered<LocalFuture<Result<Bytes, EngineError>>>,
    /// What `reads` are reading, in order.
    reading: VecDeque<Read>,
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
            let Some(next) = self.pieces.pop_front() else { break };
            let (now, cached, later) = self.look_up(next);
            if let Some(later) = later {
                self.pieces.push_front(later);
            }
            match cached {
                Some(bytes) if self.reads.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                Some(bytes) => self.reads.push_back(Box::pin(std::future::ready(Ok(bytes)))),
                None => {
                    self.reads.push_back(Box::pin(read(now.piece.clone(), self.core.clone(), self.shard)));
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
    fn look_up(&self, read: Read) -> (Read, Option<Bytes>, Option<Read>) {
        let mut cache = self.core.cache.borrow_mut();
        if cache.is_off() || read.asked {
            return (read, None, None);
        }
        let (first, units) = (read.piece.first_wanted_unit(), read.piece.unit_count());
        if let Some(unit) = cache.get(&read.key(self.shard, first)) {
            let (now, later) = read.split_at_unit(first + 1);
            let wanted = now.piece.wanted_in_first();
            return (now, Some(unit.slice(wanted)), later);
        }
        // A unit that is there ends the read; it is asked for again when its turn comes, right away.
        let end = (first + 1..units).find(|unit| cache.contains(&read.key(self.shard, *unit)));
        let (mut now, later) = read.split_at_unit(end.unwrap_or(units));
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

    /// Releases the memory of what was read ahead; it is read again when it is asked for.
    pub fn shed(&mut self) {
        self.reads = FuturesOrdered::new();
        while let Some(piece) = self.reading.pop_back() {
            self.pieces.push_front(piece);
        }
    }
}

/// One read of a stream: a piece, and whether the cache was asked for its units.
#[derive(Clone, Debug)]
struct Read {
    piece: RangePiece,
    asked: bool,
}

impl Read {
    fn new(piece: RangePiece) -> Read {
        Read { piece, asked: false }
    }

    /// How the cache calls the `nth` unit of the piece.
    fn key(&self, shard: ShardId, nth: u64) -> CacheKey {
        key(&self.piece, shard, nth)
    }

    fn split_at_unit(self, nth: u64) -> (Read, Option<Read>) {
        let (now, later) = self.piece.split_at_unit(nth);
        let with = |piece| Read { piece, asked: self.asked };
        (with(now), later.map(with))
    }
}

fn key(piece: &RangePiece, shard: ShardId, nth: u64) -> CacheKey {
    let unit = u32::try_from(piece.unit_number(nth)).expect("a blob has fewer units");
    CacheKey {
        shard: if seeded(Mutant::CacheShardless) { ShardId(0) } else { shard },
        blob: piece.blob.0,
        unit: if seeded(Mutant::CacheUnitless) { 0 } else { unit },
    }
}

/// Reads for a client: what was read is offered to the core's cache.
async fn read(piece: RangePiece, core: Rc<Core>, shard: ShardId) -> Result<Bytes, EngineError> {
    let stats = &core.shared.stats[usize::from(shard.0)];
    let units = core.blobs.read(&piece, stats).await?;
    let mut cache = core.cache.borrow_mut();
    if !cache.is_off() {
        for (nth, unit) in units.wanted_units() {
            cache.offer(key(&piece, shard, nth), unit);
        }
    }
    Ok(units.into_wanted())
}

// The stream is polled through `&mut`, nothing in it is pinned in place.
impl Unpin for ObjectStream {}

impl futures_util::Stream for ObjectStream {
    type Item = Result<Bytes, EngineError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_next(cx)
    }
}
