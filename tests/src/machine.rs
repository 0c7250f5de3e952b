//! What all simulated checks share: the size of the machine, a formatted medium to start from, starting the engine,
//! and how something found is told.
//!
//! Used by `sim`, `prove` and their binaries. I1. Every number that depends on how a store is laid out stands in
//! [`Geometry`]. I2. A finding carries what was got and what was expected; the seed is added by who drew it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use nilas_engine::drive::Drive;
use nilas_engine::limits::INLINE_BYTES_MAX;
use nilas_engine::platform::Platform;
use nilas_engine::platform::simulated::{Faults, Medium, Random, SimulatedDrive, Simulator, Stopped};
use nilas_engine::store::{FormatConfig, Store, format, recognise};
use nilas_engine::{Bucket, BucketError, CoreId, Engine, EngineError, Tuning};

/// How a simulated store is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Geometry {
    /// Bytes of one zone.
    pub zone_bytes: u64,
    /// Zones of each drive.
    pub zones: u64,
    /// Drives.
    pub drives: u64,
    /// Shards of the store.
    pub shards: u16,
}

/// Zones as small as they may be: recovery is quick, and logs and extents often go from one to the next.
pub const ZONE_BYTES: u64 = 128 << 10;
/// Larger ones, for objects of the largest inline size.
pub const LARGE_ZONE_BYTES: u64 = 1 << 20;
/// Zones of a drive that is never full within one round.
pub const ZONES: u64 = 64;
/// What stands before and behind the zones of a drive, in bytes.
const OUTSIDE_BYTES: u64 = 2 << 20;

impl Geometry {
    /// The usual machine.
    pub const fn small(shards: u16) -> Geometry {
        Geometry { zone_bytes: ZONE_BYTES, zones: ZONES, drives: 1, shards }
    }

    /// A blank medium of this size.
    pub fn medium(&self) -> Medium {
        Medium::of_drives(self.drives, self.drive_bytes())
    }

    /// Bytes of one drive.
    pub const fn drive_bytes(&self) -> u64 {
        OUTSIDE_BYTES + self.zones * self.zone_bytes
    }

    /// Bytes of the largest object that is kept in the log: a record takes half a zone at most.
    pub fn inline_bytes_max(&self) -> u64 {
        INLINE_BYTES_MAX.min(self.zone_bytes / 4)
    }

    /// A size of an object, most of them small, some at the edge between log and extents.
    pub fn draw_size(&self, random: &mut Random) -> u64 {
        match random.below(40) {
            0..=2 => 0,
            3..=29 => random.below(6_000),
            30 => self.inline_bytes_max() - random.below(5),
            31 => 4_096 * (1 + random.below(4)),
            // Often the same, so that one object's extents are the best fit for another's.
            32..=36 => INLINE_BYTES_MAX + 1,
            37 | 38 => INLINE_BYTES_MAX + 1 + random.below(80_000),
            _ => 300_000 + random.below(300_000),
        }
    }
}

/// Something that must never happen.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which sort.
    pub kind: Kind,
    /// What, where, got and expected.
    pub text: String,
}

/// Sorts of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something acknowledged is gone.
    Lost,
    /// A part of a change is there.
    Torn,
    /// Anything else that is not as the model says, or a panic.
    Wrong,
}

/// A finding as an error.
pub fn finding<T>(kind: Kind, text: impl Into<String>) -> Result<T, Finding> {
    Err(Finding { kind, text: text.into() })
}

impl Finding {
    /// The same with something said before it.
    pub fn at(self, place: impl std::fmt::Display) -> Finding {
        Finding { text: format!("{place}: {}", self.text), ..self }
    }
}

/// Runs `work`; a panic is a finding as well.
pub fn guarded(work: impl FnOnce() -> Result<(), Finding>) -> Option<Finding> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Some(Finding { kind: Kind::Wrong, text: format!("panic: {}", text.unwrap_or_default()) })
        }
    }
}

/// Formats a medium; whether it came to its end. The seed makes the store another one.
pub fn format_on(medium: &Medium, seed: u64, geometry: Geometry, faults: Faults) -> bool {
    let simulator = Simulator::new(seed);
    let drives = drives(&SimulatedDrive::new(&simulator, medium, faults));
    let config = FormatConfig {
        shards: geometry.shards,
        now_ms: 1,
        store: 0x5107_0000 + u128::from(seed),
        zone_bytes: Some(geometry.zone_bytes),
    };
    let run = simulator.run(async move { format(&drives, config).await.is_ok() });
    run == Ok(true)
}

/// A medium with an empty store. Formatting is done once for each geometry.
pub fn formatted(geometry: Geometry) -> Medium {
    thread_local! {
        static FORMATTED: RefCell<BTreeMap<Geometry, Medium>> = const { RefCell::new(BTreeMap::new()) };
    }
    FORMATTED.with(|kept| {
        let mut kept = kept.borrow_mut();
        let medium = kept.entry(geometry).or_insert_with(|| {
            let medium = geometry.medium();
            assert!(format_on(&medium, 1, geometry, Faults::default()), "a blank medium");
            medium
        });
        medium.duplicate()
    })
}

/// The drives of a machine as the engine takes them.
pub fn drives(drive: &SimulatedDrive) -> Vec<Rc<dyn Drive>> {
    drive.parts().into_iter().map(|part| Rc::new(part) as Rc<dyn Drive>).collect()
}

/// Starts the engine on `cores` cores of one machine and waits until it is ready.
pub async fn start(machine: &Simulator, drive: &SimulatedDrive, cores: u16) -> Result<Vec<Engine>, String> {
    let superblocks = recognise(&drives(drive)).await.map_err(|e| e.to_string())?.ok_or("blank")?;
    // Checkpoints after a few records, some hundreds, or hardly ever; a cache of a few objects, or none.
    let checkpoint_log_bytes =
        [8 << 10, 64 << 10, 1 << 20][usize::try_from(machine.random() % 3).expect("small")];
    let cache_bytes = [0, 1 << 20][usize::try_from(machine.random() % 2).expect("small")];
    let store = Store::tuned(superblocks, cores, Tuning { cache_bytes, checkpoint_log_bytes });
    let mut starts = Vec::new();
    for core in 0..cores {
        let platform: Rc<dyn Platform> = Rc::new(machine.clone());
        starts.push(store.start_core(CoreId(core), platform, drives(drive)));
    }
    let mut engines = Vec::new();
    for engine in futures_util::future::join_all(starts).await {
        engines.push(engine.map_err(|e| e.to_string())?);
    }
    while !store.is_ready() {
        machine.sleep_us(10).await;
    }
    Ok(engines)
}

/// Runs `work` on a machine of its own with a drive on `medium`; a deadlock is a finding, a power cut is `None`.
pub fn on_machine<T: 'static>(
    seed: u64,
    medium: &Medium,
    faults: Faults,
    work: impl AsyncFnOnce(Simulator, SimulatedDrive) -> Result<T, Finding> + 'static,
) -> Result<Option<T>, Finding> {
    let simulator = Simulator::new(seed);
    let drive = SimulatedDrive::new(&simulator, medium, faults);
    let machine = simulator.clone();
    match simulator.run(async move { work(machine, drive).await }) {
        Ok(result) => result.map(Some),
        Err(Stopped::PowerCut) => Ok(None),
        Err(Stopped::Deadlock) => finding(Kind::Wrong, "every task waits for ever"),
    }
}

/// Whether a shard takes no writes because it is damaged itself, and not only the directory.
pub fn is_damaged(engine: &Engine, shard: nilas_engine::ShardId) -> bool {
    let own = format!("{shard}, ");
    let why = engine.stats()[usize::from(shard.0)].failure.text();
    is_read_only(engine, shard) && why.is_none_or(|why| why.starts_with(&own))
}

/// Whether a shard takes no writes.
pub fn is_read_only(engine: &Engine, shard: nilas_engine::ShardId) -> bool {
    engine.stats()[usize::from(shard.0)].read_only.load(Relaxed)
}

/// The bucket of a name, if there is one; an error when nobody can tell.
pub fn find_bucket(engine: &Engine, name: &str) -> Result<Option<Arc<Bucket>>, EngineError> {
    match engine.bucket(name) {
        Ok(bucket) => Ok(Some(bucket)),
        Err(BucketError::Engine(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Why shards take no writes.
pub fn failures(engine: &Engine) -> Vec<String> {
    let failed = engine.stats().iter().filter(|stats| stats.read_only.load(Relaxed));
    failed.map(|stats| stats.failure.text().unwrap_or_default()).collect()
}

/// Blocks that differ between two media, in order.
pub fn changed_blocks(before: &Medium, after: &Medium) -> Vec<u64> {
    let mut blocks = before.durable_blocks();
    blocks.extend(after.durable_blocks());
    blocks.sort_unstable();
    blocks.dedup();
    blocks.retain(|block| before.block(*block) != after.block(*block));
    blocks
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("decimal digits"))
        .collect();
    groups.join(",")
}
