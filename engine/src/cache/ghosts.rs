//! What was read and not kept: fingerprints with the time of the read, in a table of fixed size.
//!
//! [`Cache::offer`](super::Cache::offer) asks it whether a unit is read for the second time. Time is counted in the bytes
//! that were remembered, so that a window of one cache size means the same for small and for large units.
//! I1. Its memory is fixed when it is made: a new fingerprint takes the place of the oldest of its bucket. I2. A wrong
//! answer, about one in 2^28, costs a needless copy or a missed one, never a wrong byte.

/// Fingerprints of one bucket: one cache line.
const BUCKET_SLOTS: usize = 8;
/// Bytes of one tick of the clock. It wraps after 4 TiB: then a fingerprint that old may look young, see I2.
const TICK_BYTES: u64 = 1024;

/// Each slot holds 31 bits of hash, one bit that says [`Memory::Evicted`], 32 bits of time; 0 is empty.
#[derive(Clone, Default)]
#[repr(align(64))]
struct Bucket([u64; BUCKET_SLOTS]);

/// Why something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// It was read and not kept.
    Read,
    /// It was kept and had to go.
    Evicted,
}

/// The table; without buckets it remembers nothing.
pub(super) struct Ghosts {
    buckets: Vec<Bucket>,
    clock_bytes: u64,
}

impl Ghosts {
    /// A table for `slots` fingerprints, rounded up to a power of two of buckets; none for 0.
    pub(super) fn new(slots: u64) -> Ghosts {
        let count = match slots {
            0 => 0,
            slots => slots.div_ceil(BUCKET_SLOTS as u64).next_power_of_two(),
        };
        let count = usize::try_from(count).expect("bounded by the bytes of the cache");
        Ghosts { buckets: vec![Bucket::default(); count], clock_bytes: 0 }
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> u64 {
        (self.buckets.len() * size_of::<Bucket>()) as u64
    }

    /// Remembers something of `bytes`.
    pub(super) fn remember(&mut self, hash: u64, bytes: u64, memory: Memory) {
        self.clock_bytes = self.clock_bytes.wrapping_add(bytes);
        let now = self.tick();
        let Some(bucket) = self.bucket(hash) else { return };
        let age = |slot: u64| if slot == 0 { u32::MAX } else { now.wrapping_sub(time_of(slot)) };
        let oldest = bucket.iter_mut().max_by_key(|slot| age(**slot)).expect("a bucket has slots");
        let evicted = u64::from(memory == Memory::Evicted);
        *oldest = tag_of(hash) | evicted << 32 | u64::from(now);
    }

    /// Forgets something, and says what it was if it was remembered within the last `window_bytes`.
    pub(super) fn take(&mut self, hash: u64, window_bytes: u64) -> Option<Memory> {
        let now = self.tick();
        let is_it = |slot: u64| slot != 0 && slot & TAG_MASK == tag_of(hash);
        let slot = self.bucket(hash)?.iter_mut().find(|slot| is_it(**slot))?;
        let found = std::mem::take(slot);
        let age_bytes = u64::from(now.wrapping_sub(time_of(found))) * TICK_BYTES;
        let memory = if found >> 32 & 1 == 1 { Memory::Evicted } else { Memory::Read };
        (age_bytes <= window_bytes).then_some(memory)
    }

    fn tick(&self) -> u32 {
        low_half(self.clock_bytes / TICK_BYTES)
    }

    fn bucket(&mut self, hash: u64) -> Option<&mut [u64; BUCKET_SLOTS]> {
        let mask = self.buckets.len().checked_sub(1)?;
        let at = low_half(hash) as usize & mask;
        Some(&mut self.buckets[at].0)
    }
}

const TAG_MASK: u64 = u64::MAX << 33;

/// The upper bits; the lower ones choose the bucket.
fn tag_of(hash: u64) -> u64 {
    hash & TAG_MASK
}

fn time_of(slot: u64) -> u32 {
    low_half(slot)
}

fn low_half(wide: u64) -> u32 {
    u32::try_from(wide & u64::from(u32::MAX)).expect("the upper half was masked")
}

#[cfg(test)]
mod tests {
    use super::{BUCKET_SLOTS, Ghosts, Memory, TICK_BYTES};

    const AGES: u64 = u64::MAX;

    fn hash(number: u64) -> u64 {
        number << 40
    }

    #[test]
    fn a_memory_is_taken_once() {
        let mut ghosts = Ghosts::new(64);
        assert_eq!(ghosts.take(hash(1), AGES), None);
        ghosts.remember(hash(1), 4096, Memory::Read);
        ghosts.remember(hash(2), 4096, Memory::Evicted);
        assert_eq!(ghosts.take(hash(1), AGES), Some(Memory::Read));
        assert_eq!(ghosts.take(hash(1), AGES), None);
        assert_eq!(ghosts.take(hash(2), AGES), Some(Memory::Evicted));
    }

    #[test]
    fn the_window_is_counted_in_bytes() {
        let check = |later_bytes: u64, window: u64, expected| {
            let mut ghosts = Ghosts::new(64);
            ghosts.remember(hash(1), 4096, Memory::Read);
            ghosts.remember(hash(2), later_bytes, Memory::Read);
            assert_eq!(ghosts.take(hash(1), window), expected, "{later_bytes} {window}");
        };
        check(8 * TICK_BYTES, 8 * TICK_BYTES, Some(Memory::Read));
        check(9 * TICK_BYTES, 8 * TICK_BYTES, None);
        check(1 << 40, AGES, Some(Memory::Read));
    }

    #[test]
    fn a_full_bucket_forgets_its_oldest() {
        let mut ghosts = Ghosts::new(1);
        let count = BUCKET_SLOTS as u64;
        (0..=count).for_each(|number| ghosts.remember(hash(number), TICK_BYTES, Memory::Read));
        assert_eq!(ghosts.take(hash(0), AGES), None);
        assert!((1..=count).all(|number| ghosts.take(hash(number), AGES) == Some(Memory::Read)));
    }

    #[test]
    fn no_table_remembers_nothing() {
        let mut ghosts = Ghosts::new(0);
        ghosts.remember(hash(1), 1, Memory::Read);
        assert_eq!((ghosts.take(hash(1), AGES), ghosts.bytes()), (None, 0));
    }
}
