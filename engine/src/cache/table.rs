//! The entries of a cache: a slab found by key, with links of 32 bits for two queues.
//!
//! [`Cache`](super::Cache) decides; this keeps. Chains hang off buckets that are split one at a time (linear hashing), so
//! that no insertion ever stops to rehash. I1. An entry is in the slab's free list, or in exactly one chain and one
//! queue. I2. A free entry holds no bytes.

use bytes::Bytes;

use super::CacheKey;
use crate::units::ShardId;

/// No entry.
const NONE: u32 = u32::MAX;

/// Which queue an entry stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Read twice: on trial.
    Probation,
    /// Read again since.
    Main,
}

/// One cached value: one cache line.
pub(super) struct Entry {
    // The parts of the key, not the key: it has padding, and an entry would be larger than a cache line.
    blob: u64,
    unit: u32,
    shard: ShardId,
    pub(super) value: Bytes,
    /// The cache's count of gets when `touches` last rose, or when it was inserted.
    pub(super) touched_at: u32,
    /// Later reads that counted; saturates, and falls as the entry is passed over.
    pub(super) touches: u8,
    pub(super) stage: Stage,
    /// The next entry of the chain, or of the free list.
    chain: u32,
    newer: u32,
    older: u32,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    fn key(&self) -> CacheKey {
        CacheKey { shard: self.shard, blob: self.blob, unit: self.unit }
    }
}

/// A first-in-first-out queue of entries.
struct Queue {
    oldest: u32,
    newest: u32,
    bytes: u64,
}

/// The slab, its index and its queues. A position stays valid until the entry is removed.
pub(super) struct Table {
    entries: Vec<Entry>,
    free: u32,
    count: usize,
    buckets: Vec<u32>,
    queues: [Queue; 2],
}

impl Table {
    /// An empty table that expects `entries`: that much address space is reserved, and resident as it comes into use.
    pub(super) fn new(entries: usize) -> Table {
        let empty = || Queue { oldest: NONE, newest: NONE, bytes: 0 };
        let mut buckets = Vec::with_capacity(entries);
        buckets.push(NONE);
        Table {
            entries: Vec::with_capacity(entries),
            free: NONE,
            count: 0,
            buckets,
            queues: [empty(), empty()],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn find(&self, key: &CacheKey, hash: u64) -> Option<u32> {
        let mut at = self.buckets[self.bucket_of(hash)];
        while at != NONE {
            let entry = &self.entries[at as usize];
            if entry.key() == *key {
                return Some(at);
            }
            at = entry.chain;
        }
        None
    }

    pub(super) fn entry(&mut self, at: u32) -> &mut Entry {
        &mut self.entries[at as usize]
    }

    pub(super) fn oldest(&self, stage: Stage) -> Option<u32> {
        Some(self.queues[stage as usize].oldest).filter(|at| *at != NONE)
    }

    /// What the entries of a stage are charged.
    pub(super) fn bytes(&self, stage: Stage) -> u64 {
        self.queues[stage as usize].bytes
    }

    /// Adds a key that is not there, as the newest of its stage.
    pub(super) fn insert(&mut self, key: CacheKey, value: Bytes, stage: Stage, touched_at: u32, charge: u64) {
        if self.buckets.len() <= self.count {
            self.split();
        }
        let bucket = self.bucket_of(key.hash());
        let chain = self.buckets[bucket];
        let CacheKey { shard, blob, unit } = key;
        let (touches, newer, older) = (0, NONE, NONE);
        let entry = Entry { blob, unit, shard, value, touched_at, touches, stage, chain, newer, older };
        let at = self.free;
        let at = if at == NONE {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("bounded by the bytes of the cache")
        } else {
            let place = &mut self.entries[at as usize];
            self.free = place.chain;
            *place = entry;
            at
        };
        self.buckets[bucket] = at;
        self.count += 1;
        self.link(at, stage, charge);
    }

    /// Moves an entry to the new end of a stage.
    pub(super) fn move_to(&mut self, at: u32, stage: Stage, charge: u64) {
        self.unlink(at, charge);
        self.link(at, stage, charge);
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, at: u32, charge: u64) -> CacheKey {
        self.unlink(at, charge);
        let key = self.entries[at as usize].key();
        let after = self.entries[at as usize].chain;
        let bucket = self.bucket_of(key.hash());
        if self.buckets[bucket] == at {
            self.buckets[bucket] = after;
        } else {
            let mut before = self.buckets[bucket];
            while self.entries[before as usize].chain != at {
                before = self.entries[before as usize].chain;
            }
            self.entries[before as usize].chain = after;
        }
        let entry = &mut self.entries[at as usize];
        entry.value = Bytes::new();
        entry.chain = self.free;
        self.free = at;
        self.count -= 1;
        key
    }

    fn link(&mut self, at: u32, stage: Stage, charge: u64) {
        let queue = &mut self.queues[stage as usize];
        let before = std::mem::replace(&mut queue.newest, at);
        queue.bytes += charge;
        let entry = &mut self.entries[at as usize];
        (entry.stage, entry.older, entry.newer) = (stage, before, NONE);
        match before {
            NONE => queue.oldest = at,
            before => self.entries[before as usize].newer = at,
        }
    }

    fn unlink(&mut self, at: u32, charge: u64) {
        let Entry { stage, older, newer, .. } = self.entries[at as usize];
        let queue = &mut self.queues[stage as usize];
        queue.bytes -= charge;
        match older {
            NONE => queue.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        let queue = &mut self.queues[stage as usize];
        match newer {
            NONE => queue.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
    }

    /// Buckets below the last power of two are told apart by one bit more once their partner exists.
    fn bucket_of(&self, hash: u64) -> usize {
        let count = self.buckets.len();
        let half = 1_usize << count.ilog2();
        let hash = usize::try_from(hash).expect("64 bits");
        let at = hash & (2 * half - 1);
        if at < count { at } else { hash & (half - 1) }
    }

    /// Adds the next bucket and moves to it what is its own.
    fn split(&mut self) {
        let new = self.buckets.len();
        let from = new - (1 << new.ilog2());
        let mut at = std::mem::replace(&mut self.buckets[from], NONE);
        self.buckets.push(NONE);
        while at != NONE {
            let bucket = self.bucket_of(self.entries[at as usize].key().hash());
            let head = std::mem::replace(&mut self.buckets[bucket], at);
            at = std::mem::replace(&mut self.entries[at as usize].chain, head);
        }
    }
}
