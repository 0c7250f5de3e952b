//! Rows of operations for one client, drawn from a seed.
//!
//! All checks but `small` and `crash` use them. I1. Every body has a seed of its own, so that an older one is
//! never taken for a newer.

use std::collections::VecDeque;

use nilas_engine::platform::simulated::Random;

use crate::machine::Geometry;
use crate::model::{Condition, Key, Op};

const BUCKETS: [Key; 3] = ["ash", "birch", "cedar"];
const KEYS: [Key; 12] = ["a", "a/b", "a/b/c", "a/c", "b", "b/a", "b/b/", "c", "d/e/f", "d/e/g", "d/f", "~"];
const PREFIXES: [Key; 5] = ["", "a", "a/", "d/e", "zz"];
const DELIMITERS: [Key; 3] = ["", "/", "/e"];
const SLOTS: u64 = 3;

/// Draws operations.
pub(super) struct Draw {
    random: Random,
    geometry: Geometry,
    seed: u64,
}

impl Draw {
    /// A row of its own for each seed.
    pub(super) fn new(seed: u64, geometry: Geometry) -> Draw {
        Draw { random: Random::new(seed ^ 0x5c21), geometry, seed: 1 }
    }

    /// The next `count` operations.
    pub(super) fn take(&mut self, count: u64) -> VecDeque<(Key, Op)> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Makes all buckets, then `count` operations.
    pub(super) fn begin(&mut self, count: u64) -> VecDeque<(Key, Op)> {
        let made = BUCKETS.iter().map(|name| (*name, Op::CreateBucket));
        let row: VecDeque<_> = made.collect();
        row.into_iter().chain(self.take(count)).collect()
    }

    fn one_of(&mut self, all: &[Key]) -> Key {
        all[usize::try_from(self.random.below(all.len() as u64)).expect("an index")]
    }

    fn key(&mut self) -> Key {
        self.one_of(&KEYS)
    }

    fn keys(&mut self, most: u64) -> Vec<Key> {
        let mut keys: Vec<Key> = (0..1 + self.random.below(most)).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn body(&mut self) -> (u64, u64) {
        self.seed += 1;
        (self.seed, self.geometry.draw_size(&mut self.random))
    }

    fn condition(&mut self) -> Condition {
        match self.random.below(8) {
            0 => Condition::IfAbsent,
            1 => Condition::IfPresent,
            2 => Condition::IfMatch(self.seed.saturating_sub(self.random.below(12))),
            _ => Condition::None,
        }
    }

    fn next(&mut self) -> (Key, Op) {
        let name = self.one_of(&BUCKETS);
        let slot = self.random.below(SLOTS);
        let op = match self.random.below(64) {
            0 => Op::CreateBucket,
            1 => Op::DeleteBucket,
            2..=19 => {
                let (key, (seed, size), condition) = (self.key(), self.body(), self.condition());
                Op::Put { key, seed, size, condition }
            }
            20..=27 => {
                let (a, b) = (self.random.below(1_001), self.random.below(1_001));
                Op::Get { key: self.key(), from: a.min(b), to: a.max(b) }
            }
            28..=30 => Op::Head { key: self.key() },
            31..=34 => Op::Delete { keys: self.keys(2) },
            35 => Op::Delete { keys: self.keys(8) },
            36 | 37 => Op::DeleteIf { key: self.key(), condition: self.condition() },
            38..=42 => Op::List {
                prefix: self.one_of(&PREFIXES),
                delimiter: self.one_of(&DELIMITERS),
                after: if self.random.one_in(2) { "" } else { self.key() },
                max: usize::try_from(1 + self.random.below(9)).expect("below 10"),
            },
            43..=45 => Op::Open { slot, key: self.key() },
            46..=50 => {
                let ((seed, size), number) = (self.body(), self.number());
                Op::Part { slot, number, seed, size }
            }
            51 => Op::ListParts { slot },
            52..=54 => {
                let mut numbers: Vec<u16> = (0..1 + self.random.below(2)).map(|_| self.number()).collect();
                numbers.sort_unstable();
                self.seed += 1;
                Op::Complete { slot, numbers, tag: self.seed, condition: self.condition() }
            }
            55 => Op::Abort { slot },
            56..=58 => self.transaction(),
            59 | 60 => Op::System { values: self.values() },
            61 | 62 => Op::Rename {
                key: self.key(),
                to: self.key(),
                condition: self.condition(),
                target: self.condition(),
            },
            _ => Op::Value { key: self.key() },
        };
        (name, op)
    }

    fn number(&mut self) -> u16 {
        1 + u16::try_from(self.random.below(3)).expect("below 3")
    }

    fn transaction(&mut self) -> Op {
        let put = |draw: &mut Draw| {
            let (key, (seed, size)) = (draw.key(), draw.body());
            // What is inline must fit into one record with the rest.
            (key, seed, if 8_192 < size { size.max(140_000) } else { size })
        };
        let puts: Vec<_> = (0..self.random.below(2)).map(|_| put(self)).collect();
        let mut deletes = if self.random.one_in(2) { self.keys(2) } else { Vec::new() };
        deletes.retain(|key| puts.iter().all(|(put, _, _)| put != key));
        Op::Transact { puts, deletes, values: self.values() }
    }

    /// New values of some keys; some of them are removed.
    fn values(&mut self) -> Vec<(Key, Option<u64>)> {
        let keys = self.keys(3);
        keys.into_iter().map(|key| (key, (!self.random.one_in(3)).then(|| self.random.draw() >> 1))).collect()
    }
}
