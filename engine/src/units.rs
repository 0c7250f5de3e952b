//! The numbers that cross modules, each as a type of its own, so that an offset is never taken for a length.
//!
//! All of them are plain integers in memory; how they look on a drive is said in `FORMAT.md`.

use std::fmt;

/// Bytes in one drive block: the unit in which every read and write is aligned.
pub const BLOCK_BYTES: u64 = 4096;

/// Bytes of object data under one checksum.
pub const UNIT_BYTES: u64 = 64 * 1024;

/// A byte position on one drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveOffset(pub u64);

impl DriveOffset {
    /// Whether the position is a multiple of [`BLOCK_BYTES`].
    pub fn is_block_aligned(self) -> bool {
        self.0.is_multiple_of(BLOCK_BYTES)
    }

    /// The position `bytes` further on.
    ///
    /// Offsets come from checked drive geometry, so the sum stays far below 2^64.
    pub fn plus(self, bytes: u64) -> DriveOffset {
        DriveOffset(self.0.saturating_add(bytes))
    }
}

impl fmt::Display for DriveOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.0)
    }
}

/// One shard of the store: a single-threaded engine with its own log and index. Fixed in number at format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// One core of the running process, counted from 0 in the order in which executors were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

/// One bucket for as long as the store lives: ids are never given out twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u64);

impl BucketId {
    /// Holds the values of the store itself, on the shard of the directory. It has no name and no entry in the directory;
    /// ids of buckets begin at 1. See FORMAT.md, "System values".
    pub const SYSTEM: BucketId = BucketId(0);
}

/// The place of a change in the log of its shard: rises by one with every change of a record, starts at 1, 0 means
/// "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket #{}", self.0)
    }
}

/// `bytes` rounded up to a whole number of drive blocks.
pub fn round_up_to_block(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}
