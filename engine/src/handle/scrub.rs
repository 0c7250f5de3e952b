//! The scrub: reads everything that is stored, beside requests and at a bounded rate, and tells what is damaged.
//!
//! The server starts it on all cores; each core takes its shards one after the other. I1. A unit is reported only if it
//! is damaged while its object is held as readers hold it, so space that was used again is never taken for damage. I2. What was
//! not durable yet is waited for, not read. I3. Nothing that is read here goes into a cache, and nothing is written.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;

use super::{Core, Engine};
use crate::blob::{BadUnit, Blob};
use crate::error::{DriveError, EngineError};
use crate::limits::SCRUB_REPORT_MAX;
use crate::meta::walk::{Cursor, Item, next_items, owner_of, still_at};
use crate::object::UploadId;
use crate::platform::spawn;
use crate::shard::Shard;
use crate::units::{BucketId, CoreId, DriveOffset, Sequence, ShardId};

/// How a store is scrubbed.
#[derive(Clone, Copy, Debug)]
pub struct ScrubConfig {
    /// Bytes read in a second by all cores together; at least 1.
    pub bytes_per_second: u64,
    /// How long to wait before the first pass.
    pub first_after: Duration,
    /// How long to wait between the end of a pass and the next one.
    pub repeat_after: Duration,
    /// Called on the shard's core for every damaged unit that is found.
    pub report: fn(&DamagedUnit),
}

/// A unit of 64 KiB (or less, at the end) of an object or part that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedUnit {
    /// The bucket.
    pub bucket: BucketId,
    /// Its name, unless it is not in the directory.
    pub bucket_name: Option<Arc<str>>,
    /// The object's key.
    pub key: Bytes,
    /// The version of the object; for a part of an open upload, the part's sequence.
    pub version: Sequence,
    /// The upload and the part's number, while the upload is open.
    pub part: Option<(UploadId, u16)>,
    /// Where the unit begins in the object, or in the part of an open upload, in bytes.
    pub offset: u64,
    /// Bytes of the unit.
    pub bytes: u64,
    /// Path of the drive that it is on.
    pub drive: Arc<str>,
    /// Where on the drive.
    pub at: DriveOffset,
    /// The checksum of what is there.
    pub got: u64,
    /// The checksum of what was stored.
    pub expected: u64,
    /// Why it could not be read at all.
    pub unreadable: Option<DriveError>,
}

impl fmt::Display for DamagedUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bucket_name {
            Some(name) => write!(f, "bucket {name}")?,
            None => write!(f, "{}", self.bucket)?,
        }
        write!(f, ", key {:?}", String::from_utf8_lossy(&self.key))?;
        match self.part {
            Some((upload, number)) => write!(f, ", part {number} of open upload {upload}")?,
            None => write!(f, ", version {}", self.version.0)?,
        }
        write!(f, ", offset {}: {} bytes at {} of drive {}: ", self.offset, self.bytes, self.at, self.drive)?;
        match &self.unreadable {
            Some(error) => write!(f, "{error}"),
            None => write!(f, "got {:#x}, expected {:#x}", self.got, self.expected),
        }
    }
}

/// How far the scrub of one shard is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardScrub {
    /// The shard.
    pub shard: ShardId,
    /// Whether a pass is under way.
    pub is_running: bool,
    /// Passes that were ended since the process started.
    pub passes: u64,
    /// When the pass under way, or the last one, began; milliseconds since 1970, 0 for never.
    pub began_ms: u64,
    /// When the last pass ended; 0 for never.
    pub ended_ms: u64,
    /// Versions of objects that this pass looked at, and how many there were when it began.
    pub objects_done: u64,
    /// See `objects_done`.
    pub objects: u64,
    /// Bytes of them and of parts that this pass verified, and bytes of all objects when it began; parts of open uploads
    /// come on top.
    pub bytes_done: u64,
    /// See `bytes_done`.
    pub bytes: u64,
    /// Damaged units that this pass found.
    pub damaged_units: u64,
    /// The first `SCRUB_REPORT_MAX` of them; while a pass has found none yet, those of the pass before.
    pub damaged: Vec<DamagedUnit>,
}

/// A core's part of the scrub.
#[derive(Default)]
pub(crate) struct CoreScrub {
    /// Rises with every start and stop; a task of an older number ends.
    number: Cell<u64>,
    shards: RefCell<BTreeMap<ShardId, ShardScrub>>,
}

impl Engine {
    /// Starts scrubbing on all cores, or starts it anew with another configuration: a pass that is under way ends.
    pub async fn scrub_start(&self, config: ScrubConfig) -> Result<(), EngineError> {
        let cores = u64::from(self.core.shared.mesh.cores());
        let rate = config.bytes_per_second.div_ceil(cores).max(1);
        self.on_every_core(move |core| {
            let number = core.scrub.number.get() + 1;
            core.scrub.number.set(number);
            let of_core = Scrub { core: core.clone(), number, rate, free_at_us: Cell::new(0), config };
            spawn(&core.platform, of_core.run());
        })
        .await
    }

    /// Stops scrubbing on all cores.
    pub async fn scrub_stop(&self) -> Result<(), EngineError> {
        self.on_every_core(|core| core.scrub.number.set(core.scrub.number.get() + 1)).await
    }

    /// How far the scrub of every shard is, by number.
    pub async fn scrub_status(&self) -> Result<Vec<ShardScrub>, EngineError> {
        let mut all = Vec::new();
        for core in 0..self.core.shared.mesh.cores() {
            let found = self.on_core(CoreId(core), |core| {
                let shards: Vec<ShardId> = core.shards.borrow().keys().copied().collect();
                let states: Vec<ShardScrub> =
                    shards.into_iter().map(|shard| core.scrub.with(shard, |state| state.clone())).collect();
                ready(states)
            });
            all.extend(found.await?);
        }
        all.sort_by_key(|state| state.shard);
        Ok(all)
    }

    async fn on_every_core(
        &self,
        job: impl Fn(&Rc<Core>) + Clone + Send + 'static,
    ) -> Result<(), EngineError> {
        for core in 0..self.core.shared.mesh.cores() {
            let job = job.clone();
            let run = move |core: &Rc<Core>| {
                job(core);
                ready(())
            };
            self.on_core(CoreId(core), run).await?;
        }
        Ok(())
    }
}

impl CoreScrub {
    fn with<T>(&self, shard: ShardId, change: impl FnOnce(&mut ShardScrub) -> T) -> T {
        let never = || ShardScrub {
            shard,
            is_running: false,
            passes: 0,
            began_ms: 0,
            ended_ms: 0,
            objects_done: 0,
            objects: 0,
            bytes_done: 0,
            bytes: 0,
            damaged_units: 0,
            damaged: Vec::new(),
        };
        change(self.shards.borrow_mut().entry(shard).or_insert_with(never))
    }
}

/// The task of one core.
struct Scrub {
    core: Rc<Core>,
    number: u64,
    /// Bytes per second.
    rate: u64,
    /// When the next read may begin.
    free_at_us: Cell<u64>,
    config: ScrubConfig,
}

impl Scrub {
    async fn run(self) {
        let mut wait = self.config.first_after;
        loop {
            self.core.platform.sleep(wait).await;
            let shards: Vec<Rc<Shard>> = self.core.shards.borrow().values().cloned().collect();
            for shard in shards {
                if !self.goes_on() {
                    return;
                }
                self.pass(&shard).await;
                self.core.scrub.with(shard.context.id, |state| state.is_running = false);
            }
            if !self.goes_on() {
                return;
            }
            // A pass over nothing must not spin.
            wait = self.config.repeat_after.max(Duration::from_millis(100));
        }
    }

    fn goes_on(&self) -> bool {
        self.core.scrub.number.get() == self.number
    }

    async fn pass(&self, shard: &Rc<Shard>) {
        let (id, platform) = (shard.context.id, &self.core.platform);
        let stats = &shard.context.stats;
        self.free_at_us.set(platform.monotonic_us());
        self.core.scrub.with(id, |state| {
            state.is_running = true;
            state.began_ms = platform.now_ms();
            (state.objects, state.bytes) = (stats.objects.load(Relaxed), stats.object_bytes.load(Relaxed));
            (state.objects_done, state.bytes_done, state.damaged_units) = (0, 0, 0);
        });
        stats.scrub_pass_bytes.store(0, Relaxed);
        let mut from = Some(Cursor::start());
        while let Some(cursor) = from {
            let turn = next_items(&shard.index.borrow(), cursor);
            from = turn.next;
            let mut items = turn.items;
            let mut newest = items.iter().map(|item| item.blob.sequence).max().unwrap_or_default();
            if shard.log.watermark.value() < newest && shard.durable(newest).await.is_err() {
                // What will never be durable is nobody's object.
                newest = shard.log.watermark.value();
                items.retain(|item| item.blob.sequence <= newest);
            }
            // What was moved meanwhile is read where it is now.
            while !items.is_empty() && self.goes_on() {
                items = self.verify(shard, items).await;
            }
            if !self.goes_on() {
                return;
            }
            self.core.scrub.with(id, |state| state.objects_done += turn.objects);
            platform.sleep(Duration::ZERO).await;
        }
        stats.scrub_passes.fetch_add(1, Relaxed);
        self.core.scrub.with(id, |state| {
            state.passes += 1;
            state.ended_ms = platform.now_ms();
            if state.damaged_units == 0 {
                state.damaged.clear();
            }
        });
    }

    /// Verifies items and answers those that were moved before a damaged unit of theirs was read.
    async fn verify(&self, shard: &Rc<Shard>, items: Vec<Item>) -> Vec<Item> {
        let stats = &shard.context.stats;
        let stored: Vec<&Blob> = items.iter().map(|item| &item.blob).collect();
        let bad = self.core.blobs.verify(&stored, |bytes| self.pace(bytes)).await;
        if !self.goes_on() {
            return Vec::new();
        }
        let suspects: BTreeSet<usize> = bad.iter().map(|bad| bad.blob).collect();
        let mut moved = Vec::new();
        for item in suspects.into_iter().map(|nth| &items[nth]) {
            let now = still_at(&shard.index.borrow(), item);
            // Deleted meanwhile.
            let Some(blob) = now else { continue };
            if blob.place != item.blob.place {
                moved.push(Item { blob, ..item.clone() });
                continue;
            }
            // It may have been elsewhere when it was read: while it is held, its space is nobody else's.
            let held = shard.hold(blob);
            for bad in self.core.blobs.verify(&[&item.blob], |_| ready(true)).await {
                self.note(shard, item, &bad);
            }
            drop(held);
        }
        let bytes = items.iter().map(|item| item.blob.size).sum();
        let units = items.iter().map(|item| item.blob.units.as_slice().len() as u64).sum();
        stats.scrub_units.fetch_add(units, Relaxed);
        stats.scrub_bytes.fetch_add(bytes, Relaxed);
        stats.scrub_pass_bytes.fetch_add(bytes, Relaxed);
        self.core.scrub.with(shard.context.id, |state| state.bytes_done += bytes);
        moved
    }

    fn note(&self, shard: &Rc<Shard>, item: &Item, bad: &BadUnit) {
        let owner = owner_of(&shard.index.borrow(), item);
        let directory = self.core.directory.borrow().clone();
        let bucket_name = directory.buckets.iter().find(|(_, bucket)| bucket.id == item.bucket);
        let drive = self.core.drives.get(usize::from(bad.drive)).map_or_else(|| "none".into(), |d| d.name());
        let damaged = DamagedUnit {
            bucket: item.bucket,
            bucket_name: bucket_name.map(|(name, _)| name.clone()),
            key: owner.key.into(),
            version: owner.version,
            part: owner.part,
            offset: owner.offset + bad.offset,
            bytes: bad.bytes,
            drive,
            at: bad.at,
            got: bad.got,
            expected: bad.expected,
            unreadable: bad.unreadable.clone(),
        };
        shard.context.stats.scrub_damaged_units.fetch_add(1, Relaxed);
        (self.config.report)(&damaged);
        self.core.scrub.with(shard.context.id, |state| {
            if state.damaged_units == 0 {
                state.damaged.clear();
            }
            state.damaged_units += 1;
            if state.damaged.len() < SCRUB_REPORT_MAX {
                state.damaged.push(damaged);
            }
        });
    }

    /// Waits as long as a read of `bytes` may take at the rate; `false` when this scrub is to end.
    async fn pace(&self, bytes: u64) -> bool {
        let now = self.core.platform.monotonic_us();
        // Time in which nothing was read is not made up for.
        let from = self.free_at_us.get().max(now.saturating_sub(1_000_000));
        let free_at = from.saturating_add(bytes.saturating_mul(1_000_000) / self.rate);
        self.free_at_us.set(free_at);
        self.core.platform.sleep(Duration::from_micros(free_at.saturating_sub(now))).await;
        self.goes_on()
    }
}
