//! The cache against its bounds: bytes, scans, and an ideal LFU on a Zipf load.

use super::*;
use std::collections::HashMap;

const KIB: usize = 1024;

/// Stored in the cache: each value tells its key and length.
fn value(blob: u64, len: usize) -> Vec<u8> {
    blob.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn key(blob: u64) -> CacheKey {
    CacheKey { shard: ShardId(0), blob, unit: 0 }
}

/// A read as the engine does it; true when it was a hit.
fn read(cache: &mut Cache, blob: u64, bytes: &[u8]) -> bool {
    match cache.get(&key(blob)) {
        Some(found) => {
            assert_eq!(found.len(), bytes.len());
            true
        }
        None => {
            cache.offer(key(blob), bytes);
            false
        }
    }
}

struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw() % bound as u64).expect("below a usize")
    }
}

/// Ranks 0.. with the probabilities of Zipf 0.99, as running sums.
fn zipf(keys: u32) -> Vec<f64> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += f64::from(rank).powf(-0.99);
            sum
        })
        .collect();
    sums.iter().map(|up_to| up_to / sum).collect()
}

/// The part of `reads` Zipf reads that hit.
fn zipf_hits(cache: &mut Cache, sums: &[f64], random: &mut Random, bytes: &[u8], reads: u32) -> f64 {
    let mut hits = 0_u32;
    for _ in 0..reads {
        let at = (random.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = sums.partition_point(|sum| *sum < at) as u64;
        hits += u32::from(read(cache, rank, bytes));
    }
    f64::from(hits) / f64::from(reads)
}

#[test]
fn the_second_read_is_kept_and_the_third_is_a_hit() {
    let mut cache = Cache::new(1 << 20);
    let bytes = value(7, 4096);
    assert!(!read(&mut cache, 7, &bytes));
    assert_eq!((cache.stats().entries, cache.stats().admitted), (0, 0));
    assert!(!read(&mut cache, 7, &bytes));
    assert_eq!(cache.stats().entries, 1);
    let (first, second) = (cache.get(&key(7)), cache.get(&key(7)));
    assert_eq!(first.as_deref(), Some(&bytes[..]));
    let address = |found: Option<Bytes>| found.map(|bytes| bytes.as_ptr());
    assert_eq!(address(first), address(second), "hits share one memory");
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.admitted, stats.evicted), (2, 2, 1, 0));
}

#[test]
fn keys_differ_in_each_part() {
    let mut cache = Cache::new(1 << 20);
    let keys = [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)];
    let keys = keys.map(|(shard, blob, unit)| CacheKey { shard: ShardId(shard), blob, unit });
    for (number, key) in (0..).zip(keys) {
        cache.offer(key, &value(number, 100));
        cache.offer(key, &value(number, 100));
    }
    for (number, key) in (0..).zip(keys) {
        assert_eq!(cache.get(&key).as_deref(), Some(&value(number, 100)[..]), "{key:?}");
    }
}

#[test]
fn what_is_forgotten_is_gone_and_its_room_is_free() {
    let mut cache = Cache::new(1 << 20);
    let empty = cache.stats().bytes;
    for blob in 0..50 {
        let bytes = value(blob, 4096);
        read(&mut cache, blob, &bytes);
        read(&mut cache, blob, &bytes);
    }
    assert_eq!(cache.stats().bytes, empty + 50 * (4096 + CACHE_ENTRY_BYTES));
    let held = cache.get(&key(3));
    (0..50).for_each(|blob| cache.forget(&key(blob)));
    cache.forget(&key(99));
    assert_eq!((cache.stats().bytes, cache.stats().entries), (empty, 0));
    assert!((0..50).all(|blob| cache.get(&key(blob)).is_none()));
    assert_eq!(held.as_deref(), Some(&value(3, 4096)[..]), "who has it may go on sending it");
}

#[test]
fn off_keeps_nothing() {
    let mut cache = Cache::new(0);
    let bytes = value(1, 4096);
    assert!((0..9).all(|_| !read(&mut cache, 1, &bytes)));
    cache.forget(&key(1));
    assert_eq!(cache.stats(), CacheStats::default());
}

#[test]
fn values_that_do_not_fit_are_not_kept() {
    let check = |bytes_max: u64, len: usize, expected: u64| {
        let mut cache = Cache::new(bytes_max);
        (0..3).for_each(|_| cache.offer(key(1), &value(1, len)));
        assert_eq!(cache.stats().entries, expected, "{bytes_max} {len}");
    };
    check(1 << 20, 0, 0);
    check(1 << 20, 1, 1);
    check(1 << 20, CACHE_VALUE_BYTES_MAX, 1);
    check(1 << 20, CACHE_VALUE_BYTES_MAX + 1, 0);
    check(100_000, CACHE_VALUE_BYTES_MAX, 0);
    check(1, 1, 0);
}

/// Any sizes, any order of calls, many sizes of cache: the bound holds after every call, what is found is what was
/// offered, and the parts add up.
#[test]
fn the_bound_is_never_exceeded() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let bytes_max = 1 + random.below(3 << 20) as u64;
        let mut cache = Cache::new(bytes_max);
        let mut sizes: HashMap<u64, usize> = HashMap::new();
        let sizes_max = [64, 4 * KIB, 64 * KIB, CACHE_VALUE_BYTES_MAX][random.below(4)];
        for _ in 0..4_000 {
            let blob = random.draw() % 300;
            let len = *sizes.entry(blob).or_insert_with(|| 1 + random.below(sizes_max));
            match random.below(16) {
                0 => cache.forget(&key(blob)),
                1 => cache.offer(key(blob), &value(blob, len)),
                _ => match cache.get(&key(blob)) {
                    Some(found) => assert_eq!(found, value(blob, len)),
                    None => cache.offer(key(blob), &value(blob, len)),
                },
            }
            assert!(cache.stats().bytes <= bytes_max.max(cache.ghosts.bytes()), "{seed} {:?}", cache.stats());
        }
        assert!(cache.ghosts.bytes() <= bytes_max, "{seed}");
        let resident: Vec<u64> =
            sizes.keys().copied().filter(|blob| cache.get(&key(*blob)).is_some()).collect();
        let stats = cache.stats();
        assert_eq!(stats.entries, resident.len() as u64);
        let charged: u64 = resident.iter().map(|blob| charge(sizes[blob])).sum();
        assert_eq!(stats.bytes, charged + cache.ghosts.bytes());
    }
}

/// As long as there is room the window has no end but the table's: five times the cache lies between two reads here.
#[test]
fn a_cache_with_room_fills() {
    let (bytes_max, units) = (4 << 20, 5 * 64);
    let mut cache = Cache::new(bytes_max);
    let bytes = value(1, 64 * KIB);
    (0..units).for_each(|unit| {
        read(&mut cache, unit, &bytes);
    });
    assert_eq!(cache.stats().entries, 0);
    (0..units).for_each(|unit| {
        read(&mut cache, unit, &bytes);
    });
    let full = bytes_max - charge(64 * KIB)..=bytes_max;
    assert!(full.contains(&cache.stats().bytes), "{:?}", cache.stats());
    let admitted = cache.stats().admitted;
    (0..units).for_each(|unit| {
        read(&mut cache, unit << 32, &bytes);
    });
    assert_eq!(cache.stats().admitted, admitted, "a full cache takes no first reads");
}

/// Within 3 points of an LFU that knows the frequencies, and one pass over ten times the cache takes at most 1 point.
#[test]
fn zipf_reads_and_scans() {
    let keys = 20_000;
    let bytes = value(1, 4096);
    let bytes_max = u64::from(keys) * 4096 / 10;
    let sums = zipf(keys);
    let ideal = sums[keys as usize / 10 - 1];
    let mut random = Random(1);
    let mut cache = Cache::new(bytes_max);
    zipf_hits(&mut cache, &sums, &mut random, &bytes, 200_000);
    let before = zipf_hits(&mut cache, &sums, &mut random, &bytes, 200_000);
    assert!(ideal - 0.03 < before && before < ideal, "{before} of {ideal}");
    // Whole units, then units in four ranges each.
    for (scan, times) in [(1_u64, 1), (2, 4)] {
        let admitted = cache.stats().admitted;
        let units = 10 * u64::from(keys) / 10;
        for unit in 0..units {
            (0..times).for_each(|_| {
                read(&mut cache, scan << 32 | unit, &bytes);
            });
        }
        let copied = cache.stats().admitted - admitted;
        assert_eq!(copied, if times == 1 { 0 } else { units });
        let after = zipf_hits(&mut cache, &sums, &mut random, &bytes, 200_000);
        assert!(before - 0.01 < after, "{after} after scan {scan}, {before} before");
    }
}
