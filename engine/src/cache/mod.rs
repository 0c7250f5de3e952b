//! The read cache of one core: verified units and small objects, since direct I/O has no page cache behind it.
//!
//! The core that holds a connection asks [`Cache::get`] before it reads from a drive, and hands what it read and verified
//! to [`Cache::offer`]. Pure: no clock, no I/O, no locks; each core has a cache of its own.
//!
//! I1. What it holds, tables included, never exceeds `bytes_max`; values that were evicted while they are still being
//! sent are not counted. I2. A key names the same bytes for ever ([`CacheKey`]), so nothing in here can be stale.
//! I3. A hit allocates and copies nothing. I4. The first read of a unit copies nothing: only its fingerprint is kept.
//! I5. No call looks at more than a fixed number of entries for each one it has to remove.
//!
//! # Policy
//!
//! S3-FIFO with the ghost queue in front. The second read within a window of one cache size copies the bytes into a
//! probation queue of a tenth of the cache; a further read while they are in it moves them, as they leave it, to the main
//! queue. There each read adds to a counter of 2 bits, and eviction passes over an entry once for each. What is evicted is
//! remembered like a first read, and goes straight to the main queue when it comes back. Reads of one entry close upon
//! another (within 1/64 of the entries, in gets) count once: a scan that reads each unit in several small ranges is still
//! a scan.
//!
//! As long as there is room for a value, whatever the fingerprint table still knows is recent enough.
//!
//! Hit ratios, 1,000,000 keys of 4 KiB, Zipf 0.99, a cache of a tenth of the data in which an LFU that knows the law would
//! have 0.830 (`cargo x bench cache`, where also sizes are mixed). The scans read ten times the cache; the
//! change gives the frequencies to other keys, and counts the 3,000,000 reads after it.
//!
//! | policy | hits | after a scan | after one in small ranges | after a change | copied per byte missed | scanned |
//! |---|---|---|---|---|---|---|
//! | LRU | 0.767 | 0.759 | 0.759 | 0.760 | 1 | 1 |
//! | S3-FIFO | 0.810 | 0.816 | 0.770 | 0.766 | 1 | 1 |
//! | S3-FIFO, all first reads to the ghosts | 0.815 | 0.826 | 0.758 | 0.763 | 0.19 | 0 |
//! | frequency sketch behind a window of 2 % | 0.807 | 0.786 | 0.746 | 0.756 | 0.26 | 0.57 |
//! | this one | 0.817 | 0.827 | 0.830 | 0.748 | 0.16 | 0 |
//!
//! What it pays for keeping scans out: it is slower than the others to let go of what was hot.

mod ghosts;
mod table;

use bytes::Bytes;

use crate::limits::INLINE_BYTES_MAX;
use crate::units::{BLOCK_BYTES, ShardId};
use ghosts::{Ghosts, Memory};
use table::{Stage, Table};

/// Largest value that is kept, in bytes: an object that lies in the log.
pub const CACHE_VALUE_BYTES_MAX: usize = 128 * 1024;
const _: () = assert!(CACHE_VALUE_BYTES_MAX as u64 == INLINE_BYTES_MAX);

/// What an entry is charged besides its value, in bytes: its 64 in the slab, its bucket, the owner of the value's memory
/// with its count (32), and what the allocator adds to two allocations.
pub const CACHE_ENTRY_BYTES: u64 = 64 + 8 + 32 + 2 * 16;

/// Largest cache of one core, in bytes: entries have numbers of 32 bits.
pub const CACHE_BYTES_MAX: u64 = 256 << 30;
const _: () = assert!(CACHE_BYTES_MAX / CACHE_ENTRY_BYTES < u32::MAX as u64);

/// The probation queue's part of the cache is one in so many.
const PROBATION_PART: u64 = 10;
/// Reads that count, at most, between two times that eviction looks at an entry.
const TOUCHES_MAX: u8 = 3;
/// Entries that eviction passes over before it takes the next one whatever its count: bounds the time of one call.
const PASSED_MAX: usize = 64;
/// A read counts when this part of the entries, in gets, has gone by since the last that did.
const CORRELATED_PART: usize = 64;
/// Fingerprints remembered for each block of the cache; more than one cache size of them, for a cache with room left.
const GHOSTS_PER_BLOCK: u64 = 2;

/// Names a value: a unit of a blob, or the whole of a small one as unit 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// The shard that owns the blob.
    pub shard: ShardId,
    /// The blob's number in its shard, never given out twice.
    pub blob: u64,
    /// Which unit of it.
    pub unit: u32,
}

impl CacheKey {
    /// Cheap, and good in all 64 bits: numbers of blobs and units are dense.
    fn hash(&self) -> u64 {
        let place = u64::from(self.unit) | u64::from(self.shard.0) << 32;
        let mixed =
            (self.blob ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ mixed >> 29
    }
}

/// What a cache did since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Gets that were answered.
    pub hits: u64,
    /// Gets that were not.
    pub misses: u64,
    /// What the entries and the tables are charged, in bytes.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Values that were copied into the cache.
    pub admitted: u64,
    /// Entries that had to make room.
    pub evicted: u64,
}

/// One core's cache.
pub struct Cache {
    /// What entries may be charged in all; 0 is off.
    room_bytes: u64,
    table: Table,
    ghosts: Ghosts,
    /// Gets so far; wraps.
    gets: u32,
    stats: CacheStats,
}

impl Cache {
    /// An empty cache of at most `bytes_max` bytes ([`CACHE_BYTES_MAX`] if that is less); 0 keeps nothing and costs nothing.
    pub fn new(bytes_max: u64) -> Cache {
        let bytes_max = bytes_max.min(CACHE_BYTES_MAX);
        let blocks = bytes_max / (BLOCK_BYTES + CACHE_ENTRY_BYTES);
        let ghosts = Ghosts::new(blocks * GHOSTS_PER_BLOCK);
        let room_bytes = bytes_max.saturating_sub(ghosts.bytes());
        let table = Table::new(usize::try_from(blocks).expect("far below 2^32"));
        Cache { room_bytes, table, ghosts, gets: 0, stats: CacheStats::default() }
    }

    /// The value of `key`, which shares the memory of the cache's own.
    pub fn get(&mut self, key: &CacheKey) -> Option<Bytes> {
        if self.room_bytes == 0 {
            return None;
        }
        self.gets = self.gets.wrapping_add(1);
        let Some(at) = self.table.find(key, key.hash()) else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        let apart = self.table.len() / CORRELATED_PART;
        let gets = self.gets;
        let entry = self.table.entry(at);
        if apart <= gets.wrapping_sub(entry.touched_at) as usize {
            entry.touched_at = gets;
            entry.touches = (entry.touches + 1).min(TOUCHES_MAX);
        }
        Some(entry.value.clone())
    }

    /// Whether it keeps nothing.
    pub fn is_off(&self) -> bool {
        self.room_bytes == 0
    }

    /// Whether a value is there; counts as no use of it.
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.room_bytes > 0 && self.table.find(key, key.hash()).is_some()
    }

    /// Tells of a value that was read from a drive and verified, after [`Cache::get`] did not find it.
    ///
    /// Copies it if it is worth keeping. Empty values and those over [`CACHE_VALUE_BYTES_MAX`] are not.
    pub fn offer(&mut self, key: CacheKey, value: &[u8]) {
        let charge = charge(value.len());
        if value.is_empty() || CACHE_VALUE_BYTES_MAX < value.len() || self.room_bytes < charge {
            return;
        }
        let hash = key.hash();
        if self.table.find(&key, hash).is_some() {
            return; // two reads were under way at once, and the other one was faster
        }
        // Small values find room where large ones do not, and fill the holes that those leave.
        let has_room = self.held_bytes() + charge <= self.room_bytes;
        let window_bytes = if has_room { u64::MAX } else { self.room_bytes };
        let stage = match self.ghosts.take(hash, window_bytes) {
            None => return self.ghosts.remember(hash, charge, Memory::Read),
            Some(Memory::Read) => Stage::Probation,
            Some(Memory::Evicted) => Stage::Main,
        };
        self.make_room(charge);
        // A value of its own owner: what is made from a plain vector allocates when it is first cloned, and breaks I3.
        let value = Bytes::from_owner(Box::<[u8]>::from(value));
        self.table.insert(key, value, stage, self.gets, charge);
        self.stats.admitted += 1;
    }

    /// Drops a value that nobody will ask for again, such as one of a deleted object.
    pub fn forget(&mut self, key: &CacheKey) {
        if let Some(at) = self.table.find(key, key.hash()) {
            let charge = self.charge_of(at);
            self.table.remove(at, charge);
        }
    }

    /// The counters and sizes of this moment.
    pub fn stats(&self) -> CacheStats {
        let bytes = self.held_bytes() + self.ghosts.bytes();
        CacheStats { bytes, entries: self.table.len() as u64, ..self.stats }
    }

    fn held_bytes(&self) -> u64 {
        self.table.bytes(Stage::Probation) + self.table.bytes(Stage::Main)
    }

    /// Evicts until `charge` bytes more are within the bound.
    fn make_room(&mut self, charge: u64) {
        let mut passed = 0;
        while self.room_bytes < self.held_bytes() + charge {
            let is_on_trial = self.room_bytes / PROBATION_PART < self.table.bytes(Stage::Probation);
            let probation = self.table.oldest(Stage::Probation);
            let main = self.table.oldest(Stage::Main);
            let (at, is_probation) = match (probation, main) {
                (Some(at), _) if is_on_trial => (at, true),
                (_, Some(at)) => (at, false),
                (Some(at), None) => (at, true),
                (None, None) => return,
            };
            let entry = self.table.entry(at);
            if entry.touches == 0 || PASSED_MAX <= passed {
                self.evict(at);
                continue;
            }
            passed += 1;
            entry.touches = if is_probation { 0 } else { entry.touches - 1 };
            let charge = self.charge_of(at);
            self.table.move_to(at, Stage::Main, charge);
        }
    }

    fn evict(&mut self, at: u32) {
        let charge = self.charge_of(at);
        let key = self.table.remove(at, charge);
        self.ghosts.remember(key.hash(), charge, Memory::Evicted);
        self.stats.evicted += 1;
    }

    fn charge_of(&mut self, at: u32) -> u64 {
        charge(self.table.entry(at).value.len())
    }
}

/// What a value of `len` bytes is charged: allocators hand out multiples of 16.
fn charge(len: usize) -> u64 {
    (len as u64).next_multiple_of(16) + CACHE_ENTRY_BYTES
}

#[cfg(test)]
mod tests;
