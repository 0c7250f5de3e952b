//! `nilas-bench cache`: the engine's read cache against other policies and an ideal LFU, on made-up loads; and what
//! its calls cost.
//!
//! Reads by rank of a Zipf law: warm up, measure, one pass over ten times the cache, measure, the same pass in four
//! small reads of each unit, measure, then all ranks on other keys. The engine's cache holds real bytes; the others
//! count. All of it follows from `--seed`, but for the times.

mod policies;

use std::hint::black_box;
use std::time::Instant;

use clap::Args;
use nilas_engine::ShardId;
use nilas_engine::cache::{Cache, CacheKey};
use nilas_tests::rng::Rng;
use serde_json::{Value, json};

use crate::report::{Figures, short, to_json};
use policies::{GhostFirst, Lru, Policy, S3Fifo, Sketch};

/// Keys below which the law has no tail to speak of.
const KEYS_MIN: u32 = 1_000;
/// Ten times the cache.
const SCAN_FACTOR: u64 = 10;
/// Bytes of a unit of a large object.
const UNIT_BYTES: u32 = 64 << 10;
/// Rounds of gets, of which the fastest counts.
const GET_ROUNDS: u32 = 9;
const SMALL_BYTES: u32 = 4 << 10;

/// What is read.
#[derive(Args, Clone, Debug)]
pub(crate) struct CacheArguments {
    /// Keys; the cache holds a tenth of their bytes.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
    /// Reads of each key, on average, in each measured part; the warm-up has twice as many.
    #[arg(long, default_value_t = 3.0)]
    reads: f64,
    /// Exponent of the Zipf law.
    #[arg(long, default_value_t = 0.99)]
    zipf: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only policies whose name contains this.
    #[arg(long, default_value = "")]
    policy: String,
    /// Prints one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

/// Sizes of the keys of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    Equal,
    Mixed,
}

impl Sizes {
    fn of(self, key: u64) -> u32 {
        match self {
            Sizes::Equal => SMALL_BYTES,
            // One draw for each key, whatever its rank.
            Sizes::Mixed => [1_000, SMALL_BYTES, 16 << 10, UNIT_BYTES][Rng::new(key).index(4)],
        }
    }

    fn scanned(self) -> u32 {
        match self {
            Sizes::Equal => SMALL_BYTES,
            Sizes::Mixed => UNIT_BYTES,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sizes::Equal => "equal",
            Sizes::Mixed => "mixed",
        }
    }
}

/// The engine's cache as one of the policies.
struct Ours {
    cache: Cache,
    bytes: Vec<u8>,
    copied_bytes: u64,
}

impl Ours {
    fn new(bytes_max: u64) -> Ours {
        Ours { cache: Cache::new(bytes_max), bytes: vec![7; UNIT_BYTES as usize], copied_bytes: 0 }
    }
}

impl Policy for Ours {
    fn read(&mut self, key: u64, bytes: u32) -> bool {
        if self.cache.get(&key_of(key)).is_some() {
            return true;
        }
        let before = self.cache.stats().admitted;
        self.cache.offer(key_of(key), &self.bytes[..bytes as usize]);
        self.copied_bytes += (self.cache.stats().admitted - before) * u64::from(bytes);
        false
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }
}

fn key_of(key: u64) -> CacheKey {
    CacheKey { shard: ShardId(0), blob: key, unit: 0 }
}

/// Runs every policy on both mixes; always 0 failed operations.
pub(crate) fn run(arguments: &CacheArguments) -> Result<u64, String> {
    if arguments.keys < KEYS_MIN || !(0.1..=1000.0).contains(&arguments.reads) {
        return Err(format!("--keys must be at least {KEYS_MIN}, --reads from 0.1 to 1000"));
    }
    // First, while this process has no freed memory that would hide what the cache takes.
    let mut speed = churn(arguments.keys);
    speed.extend(calls(arguments.keys));
    let mut cases = Vec::new();
    for sizes in [Sizes::Equal, Sizes::Mixed] {
        let load = Load::new(arguments, sizes);
        for (name, make) in POLICIES.iter().filter(|(name, _)| name.contains(&arguments.policy)) {
            cases.push((sizes.name(), *name, load.figures(make(load.bytes_max).as_mut())));
        }
    }
    let parameters = json!({
        "keys": arguments.keys, "reads": arguments.reads, "zipf": arguments.zipf, "seed": arguments.seed,
    });
    match arguments.json {
        true => println!("{}", report(&cases, &speed, &parameters)),
        false => print_table(&cases, &speed, &parameters),
    }
    Ok(0)
}

type Make = fn(u64) -> Box<dyn Policy>;

const POLICIES: [(&str, Make); 5] = [
    ("lru", |bytes_max| Box::new(Lru::new(bytes_max))),
    ("s3-fifo", |bytes_max| Box::new(S3Fifo::new(bytes_max))),
    ("ghost-first", |bytes_max| Box::new(GhostFirst::new(bytes_max))),
    ("sketch", |bytes_max| Box::new(Sketch::new(bytes_max))),
    ("ours", |bytes_max| Box::new(Ours::new(bytes_max))),
];

/// One mix of keys, and the reads that every policy gets.
struct Load {
    sizes: Sizes,
    keys: u32,
    bytes_max: u64,
    /// Of an LFU that knows the law: the most probable keys first, as many as fit.
    ideal: f64,
    warm: Vec<u32>,
    measured: Vec<u32>,
}

impl Load {
    fn new(arguments: &CacheArguments, sizes: Sizes) -> Load {
        let mut sum = 0.0;
        let weight = |rank: u32| f64::from(rank).powf(-arguments.zipf);
        let sums: Vec<f64> = (1..=arguments.keys)
            .map(|rank| {
                sum += weight(rank);
                sum
            })
            .collect();
        let bytes: u64 = (0..arguments.keys).map(|rank| u64::from(sizes.of(u64::from(rank)))).sum();
        let bytes_max = bytes / 10;
        let mut random = Rng::new(arguments.seed);
        let mut draw = |count: f64| -> Vec<u32> {
            let one = |_| {
                let at = (random.draw() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
                u32::try_from(sums.partition_point(|up_to| *up_to < at)).expect("as many as keys")
            };
            (0..count as u64).map(one).collect()
        };
        let reads = f64::from(arguments.keys) * arguments.reads;
        let (warm, measured) = (draw(2.0 * reads), draw(reads));
        let mut left = bytes_max;
        let mut ideal = 0.0;
        for rank in 0..arguments.keys {
            let Some(after) = left.checked_sub(u64::from(sizes.of(u64::from(rank)))) else { break };
            left = after;
            ideal += weight(rank + 1) / sum;
        }
        Load { sizes, keys: arguments.keys, bytes_max, ideal, warm, measured }
    }

    fn figures(&self, policy: &mut dyn Policy) -> Figures {
        let read = |policy: &mut dyn Policy, key: u64| policy.read(key, self.sizes.of(key));
        let hits = |policy: &mut dyn Policy, shift: u32| -> f64 {
            let keys = self.measured.iter().map(|rank| u64::from((rank + shift) % self.keys));
            let hits = keys.filter(|key| read(policy, *key)).count();
            hits as f64 / self.measured.len() as f64
        };
        self.warm.iter().for_each(|rank| {
            read(policy, u64::from(*rank));
        });
        let copied_before = policy.copied_bytes();
        let mut missed_bytes = 0;
        let mut hit = 0;
        for key in self.measured.iter().map(|rank| u64::from(*rank)) {
            match read(policy, key) {
                true => hit += 1,
                false => missed_bytes += u64::from(self.sizes.of(key)),
            }
        }
        let hit_ratio = f64::from(hit) / self.measured.len() as f64;
        let copied = (policy.copied_bytes() - copied_before) as f64 / missed_bytes.max(1) as f64;
        let copied_before = policy.copied_bytes();
        let scanned = self.scan(policy, 1 << 32, 1);
        let scan_copied = (policy.copied_bytes() - copied_before) as f64 / scanned as f64;
        let after_scan = hits(policy, 0);
        self.scan(policy, 2 << 32, 4);
        let after_small_scan = hits(policy, 0);
        let after_shift = hits(policy, self.keys / 2);
        [
            ("hit_ratio", hit_ratio),
            ("ideal_hit_ratio", self.ideal),
            ("points_below_ideal", 100.0 * (self.ideal - hit_ratio)),
            ("copied_per_missed_byte", copied),
            ("copied_per_scanned_byte", scan_copied),
            ("hit_ratio_after_scan", after_scan),
            ("hit_ratio_after_scan_in_small_ranges", after_small_scan),
            ("hit_ratio_after_change", after_shift),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Reads [`SCAN_FACTOR`] times the cache, each unit `times` times; the bytes of it.
    fn scan(&self, policy: &mut dyn Policy, first: u64, times: u32) -> u64 {
        let bytes = self.sizes.scanned();
        let units = SCAN_FACTOR * self.bytes_max / u64::from(bytes);
        for unit in 0..units {
            for _ in 0..times {
                policy.read(first + unit, bytes);
            }
        }
        units * u64::from(bytes)
    }
}

/// What the memory of the engine's cache costs after values of all sizes have gone through it ten times over.
fn churn(keys: u32) -> Figures {
    let before = resident_bytes();
    let bytes_max = u64::from(keys / 10) * u64::from(SMALL_BYTES);
    let mut ours = Ours::new(bytes_max);
    let mut key = 0;
    while ours.copied_bytes < 10 * bytes_max {
        key += 1;
        (0..2).for_each(|_| {
            ours.read(key, Sizes::Mixed.of(key));
        });
    }
    let charged = ours.cache.stats().bytes;
    let grown = before.zip(resident_bytes()).map(|(before, after)| after.saturating_sub(before));
    let ratio = |grown: u64| grown as f64 / charged as f64;
    grown.map(|grown| ("resident_per_charged_byte".to_owned(), ratio(grown))).into_iter().collect()
}

/// What the calls of the engine's cache cost, in nanoseconds.
fn calls(keys: u32) -> Figures {
    let mut out = Figures::new();
    for (name, bytes, count) in [("4KiB", SMALL_BYTES, keys / 10), ("64KiB", UNIT_BYTES, keys / 160)] {
        let value = vec![7; bytes as usize];
        let mut cache = Cache::new(u64::from(count) * (u64::from(bytes) + 256));
        let mut push = |what: &str, value: f64| out.push((format!("{what}_{name}"), value));
        push("offer_first_ns", time_each(count, |key| cache.offer(key, &value)));
        push("offer_second_ns", time_each(count, |key| cache.offer(key, &value)));
        let mut random = Rng::new(1);
        let order: Vec<CacheKey> = (0..count).map(|_| key_of(random.below(u64::from(count)))).collect();
        let (mut found, mut fastest) = (0_u32, f64::MAX);
        for _ in 0..GET_ROUNDS {
            let from = Instant::now();
            found += order.iter().map(|key| u32::from(black_box(cache.get(key)).is_some())).sum::<u32>();
            fastest = fastest.min(from.elapsed().as_nanos() as f64 / f64::from(count));
        }
        push("get_ns", fastest);
        push("get_found", f64::from(found) / f64::from(GET_ROUNDS * count));
        let miss = time_each(count, |key| {
            black_box(cache.get(&CacheKey { unit: 1, ..key }));
        });
        push("get_miss_ns", miss);
    }
    out
}

fn time_each(count: u32, mut call: impl FnMut(CacheKey)) -> f64 {
    let from = Instant::now();
    (0..u64::from(count)).for_each(|number| call(key_of(number)));
    from.elapsed().as_nanos() as f64 / f64::from(count.max(1))
}

/// Resident bytes of this process that no file stands behind.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

type Case = (&'static str, &'static str, Figures);

fn report(cases: &[Case], speed: &Figures, parameters: &Value) -> Value {
    let cases: Vec<Value> = cases
        .iter()
        .map(
            |(sizes, policy, figures)| json!({"sizes": sizes, "policy": policy, "figures": to_json(figures)}),
        )
        .collect();
    json!({"title": "cache", "parameters": parameters, "cases": cases, "speed": to_json(speed)})
}

fn print_table(cases: &[Case], speed: &Figures, parameters: &Value) {
    println!("cache {parameters}");
    println!(
        "{:<7}{:<13}{:>8}{:>8}{:>8}{:>9}{:>9}{:>12}{:>12}{:>12}{:>13}",
        "sizes",
        "policy",
        "hits",
        "ideal",
        "points",
        "copied",
        "scanned",
        "after scan",
        "small scan",
        "after change",
        ""
    );
    for (sizes, policy, figures) in cases {
        let mut line = format!("{sizes:<7}{policy:<13}");
        for ((name, value), width) in figures.iter().zip([8, 8, 8, 9, 9, 12, 12, 12]) {
            let decimals = if name.starts_with("points") || name.starts_with("copied") { 2 } else { 4 };
            line.push_str(&format!("{value:>width$.decimals$}"));
        }
        println!("{line}");
    }
    for (name, value) in speed {
        println!("  {name:<32} {}", short(*value));
    }
}
