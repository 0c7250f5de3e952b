//! What a shard does for itself: checkpoints, moving small objects out of zones that are mostly dead, giving zones
//! back, and ending the uploads of buckets that are gone.
//!
//! One task per shard, started when the whole store has recovered; here is what it does next, in `checkpoint`, `clean`
//! and `release` how. It works on the shard's index and space, so it is a part of `shard`. I1. Only this task moves
//! bytes, takes checkpoints and gives zones back. I2. A zone goes only when the index refers to nothing in it, what
//! displaced the last of it (a move does that too) is durable, no log block in it is needed for replay, and nobody
//! reads there. I3. A move is logged after the moved bytes are durable where they are now. I4. Everything here may stop
//! at any moment: until an anchor is durable the older checkpoint and all that it needs are in place.

mod checkpoint;
mod clean;
mod release;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Shard;
use crate::error::EngineError;
use crate::format::anchor::Anchor;
use crate::format::zone::ZoneKind;
use crate::limits::CHECKPOINT_RECORDS_MAX;
use crate::notify::Notify;
use crate::platform::spawn;
use crate::space::usage::ZoneId;
use crate::space::writer::{WriterContext, ZoneWriter};
use clean::CleanStall;

/// Cells looked at between two turns of other work.
const CELLS_PER_TURN: usize = 4096;
/// A log tail below this is replayed at the next start rather than written out at a stop.
const STOP_TAIL_BYTES: u64 = 1 << 20;
/// Zones fuller than this (in percent) are cleaned only when writes wait for space.
const LIVE_SHARE_EASY: u64 = 90;
const LIVE_SHARE_MAX: u64 = 97;
/// How long a file system that had no space is not asked again, in microseconds.
const SHORTAGE_RETRY_US: u64 = 10_000_000;

/// What the task writes with.
struct ZoneWriters {
    pages: ZoneWriter,
    compaction: ZoneWriter,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    GoneUploads,
    Checkpoint,
    Space,
    End,
}

/// What tells that there might be something to do that was not found last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    displacements: u64,
    freed_count: u64,
    log_position: u64,
    is_pressed: bool,
}

/// Where the maintenance of one shard stands.
pub(super) struct MaintenanceState {
    /// Compaction zones with the log position at which they were taken.
    compaction_zones: RefCell<BTreeMap<u32, u64>>,
    page_zones: RefCell<BTreeSet<u32>>,
    /// Bytes of the newest checkpoint's pages, in zones by number.
    page_bytes: RefCell<HashMap<u32, u64>>,
    /// Zones with damaged objects: they are not cleaned.
    damaged_zones: RefCell<HashSet<ZoneId>>,
    /// The newest durable checkpoint.
    anchor: RefCell<Anchor>,
    /// Zones kept for the next one.
    reserved_for_checkpoint: Cell<u32>,
    /// Zones released less zones that maintenance took.
    zones_reclaimed: Cell<i64>,
    /// When maintenance found nothing to do, what it had looked at.
    no_progress: Cell<Option<Stamp>>,
    stall: Cell<CleanStall>,
    /// Somebody waits for space, and maintenance has not tried yet since.
    space_wanted: Cell<bool>,
    /// When the file systems were last asked again after they had no space, microseconds of the monotonic clock.
    shortage_tried_us: Cell<u64>,
    /// The uploads of buckets that are gone found no room in the log: something else comes first.
    gone_uploads_wait: Cell<bool>,
    /// The shard stops: one last checkpoint, if it is worth it.
    closing: Cell<bool>,
    running: Cell<bool>,
    ended: Cell<bool>,
    /// Told after every round.
    progress: Notify,
}

impl MaintenanceState {
    /// As recovery found it; nothing runs before [`Shard::start_maintenance`].
    pub(super) fn new(
        anchor: Anchor,
        compaction_zones: BTreeMap<u32, u64>,
        page_zones: BTreeSet<u32>,
        page_bytes: HashMap<u32, u64>,
    ) -> MaintenanceState {
        MaintenanceState {
            compaction_zones: RefCell::new(compaction_zones),
            page_zones: RefCell::new(page_zones),
            page_bytes: RefCell::new(page_bytes),
            damaged_zones: RefCell::default(),
            anchor: RefCell::new(anchor),
            reserved_for_checkpoint: Cell::new(0),
            zones_reclaimed: Cell::new(0),
            no_progress: Cell::new(None),
            stall: Cell::default(),
            space_wanted: Cell::new(false),
            shortage_tried_us: Cell::new(0),
            gone_uploads_wait: Cell::new(false),
            closing: Cell::new(false),
            running: Cell::new(false),
            ended: Cell::new(false),
            progress: Notify::default(),
        }
    }

    fn add_gain(&self, zones: i64) {
        self.zones_reclaimed.set(self.zones_reclaimed.get() + zones);
    }
}

impl Shard {
    /// Starts checkpoints and cleaning; once, when every shard of the store has recovered.
    pub(crate) fn start_maintenance(self: &Rc<Self>) {
        let context = &self.context;
        if self.log.watermark.has_failed() || self.maintenance.running.replace(true) {
            return;
        }
        let writer = |kind| {
            let context = WriterContext {
                shard: context.id,
                superblock: *context.home(),
                drive: context.home_drive().clone(),
                zones: context.home_zones().clone(),
                platform: context.platform.clone(),
            };
            ZoneWriter::new(context, kind)
        };
        let pages = writer(ZoneKind::Checkpoint);
        let compaction = writer(ZoneKind::Compaction);
        spawn(&context.platform, self.clone().maintenance(ZoneWriters { pages, compaction }));
    }

    /// Runs until the shard is closed or fails.
    async fn maintenance(self: Rc<Self>, mut writers: ZoneWriters) {
        loop {
            let due = self.log.maintenance.until(|| self.due()).await;
            let done = match due {
                Due::End => break,
                Due::GoneUploads => self.end_gone_uploads().await,
                Due::Checkpoint => {
                    // Before they are written out once more.
                    self.forget_completions().await;
                    self.checkpoint(&mut writers).await
                }
                Due::Space => self.make_space(&mut writers).await,
            };
            if let Err(error) = done {
                // Nothing was lost, and it is tried again when something has changed. A drive that was given up fails
                // the log's own next write.
                if !matches!(error, EngineError::Full { .. }) {
                    self.context.stats.maintenance_errors.fetch_add(1, Relaxed);
                }
                match due {
                    Due::GoneUploads => self.maintenance.gone_uploads_wait.set(true),
                    _ => self.note_no_progress(),
                }
            } else if due != Due::GoneUploads {
                self.maintenance.gone_uploads_wait.set(false);
            }
            self.maintenance.progress.notify();
        }
        self.maintenance.ended.set(true);
        self.maintenance.progress.notify();
    }

    /// Takes a last checkpoint when there is something to save a start from, and ends the task.
    pub(in crate::shard) async fn close(&self) {
        if !self.maintenance.running.get() {
            return;
        }
        self.maintenance.closing.set(true);
        self.log.maintenance.notify();
        self.maintenance.progress.until(|| self.maintenance.ended.get().then_some(())).await;
    }

    fn due(&self) -> Option<Due> {
        let (tail_bytes, tail_records) = self.log.tail();
        if self.log.watermark.has_failed() || self.log.is_stopping() {
            return Some(Due::End);
        }
        if self.maintenance.closing.get() {
            return Some(if STOP_TAIL_BYTES <= tail_bytes && !self.lacks_progress() {
                Due::Checkpoint
            } else {
                Due::End
            });
        }
        if self.gone_bucket().is_some() && !self.maintenance.gone_uploads_wait.get() {
            return Some(Due::GoneUploads);
        }
        if self.lacks_progress() {
            return None;
        }
        if self.checkpoint_log_bytes() <= tail_bytes || CHECKPOINT_RECORDS_MAX <= tail_records {
            return Some(Due::Checkpoint);
        }
        let wants_space = self.log.is_starved()
            || self.maintenance.space_wanted.get()
            || self.context.home_zones().is_low();
        wants_space.then_some(Due::Space)
    }

    /// Has maintenance end the uploads of a bucket that is gone.
    pub(in crate::shard) fn notify_gone_uploads(&self) {
        self.maintenance.gone_uploads_wait.set(false);
        self.log.maintenance.notify();
    }

    /// What tells that maintenance might find something to do that it did not find last time.
    fn stamp(&self) -> Stamp {
        let space = self.space.borrow();
        let (displacements, freed_count) = (space.usage.displacements, space.freed_count);
        Stamp { displacements, freed_count, log_position: self.log.position(), is_pressed: self.is_pressed() }
    }

    /// Whether somebody waits for space: then more work is done for less of it.
    fn is_pressed(&self) -> bool {
        self.log.is_starved() || self.maintenance.space_wanted.get()
    }

    fn lacks_progress(&self) -> bool {
        self.maintenance.no_progress.get() == Some(self.stamp())
    }

    fn note_no_progress(&self) {
        self.maintenance.no_progress.set(Some(self.stamp()));
        self.maintenance.space_wanted.set(false);
        self.log.reconsider_space(true);
    }

    /// Makes zones free: those that hold nothing, then by moving what is left in mostly dead ones; a checkpoint first
    /// when that sets more free than it writes, and last when nothing else helps.
    async fn make_space(&self, writers: &mut ZoneWriters) -> Result<(), EngineError> {
        let before = self.maintenance.zones_reclaimed.get();
        let mut has_moved = false;
        self.retry_shortage();
        self.release_zones(writers).await?;
        if !self.is_satisfied(before) && self.checkpoint_pays() {
            self.checkpoint(writers).await?;
        }
        if !self.is_satisfied(before) && !self.is_idle() {
            let share = if self.is_pressed() { LIVE_SHARE_MAX } else { LIVE_SHARE_EASY };
            let chosen = self.choose_victims(writers, share);
            if !chosen.is_empty() {
                let moved = self.context.stats.moved_bytes.load(Relaxed);
                self.clean(chosen, writers).await?;
                // Objects that were moved stand closer now, also when no whole zone came of it yet.
                has_moved = moved < self.context.stats.moved_bytes.load(Relaxed);
            }
        }
        let position = self.maintenance.anchor.borrow().log_position;
        if self.maintenance.zones_reclaimed.get() <= before
            && !has_moved
            && self.log.holds_zone_behind(position)
        {
            self.checkpoint(writers).await?;
        }
        self.note_round();
        if self.maintenance.zones_reclaimed.get() <= before && !has_moved {
            self.note_no_progress();
            if self.log.is_starved() {
                // Another shard may hold what this one needs.
                (self.context.broadcast_space_changed)();
            }
        } else {
            self.maintenance.space_wanted.set(false);
            self.log.reconsider_space(false);
        }
        Ok(())
    }

    /// Has the file systems asked for space again, some time after they had none.
    fn retry_shortage(&self) {
        let now_us = self.context.platform.monotonic_us();
        let is_short = self.context.zones.iter().any(|zones| zones.is_short());
        if is_short && self.maintenance.shortage_tried_us.get() + SHORTAGE_RETRY_US <= now_us {
            self.maintenance.shortage_tried_us.set(now_us);
            self.context.zones.iter().for_each(|zones| zones.end_shortage());
        }
    }

    /// Whether enough was released since `before`.
    fn is_satisfied(&self, before: i64) -> bool {
        before < self.maintenance.zones_reclaimed.get() && !self.context.home_zones().is_low()
    }

    async fn turn(&self) {
        self.context.platform.sleep(Duration::ZERO).await;
    }

    /// Zones came free somewhere, or somebody needs some.
    pub(crate) fn space_changed(&self) {
        if self.context.home_zones().available() > 0 {
            self.log.reconsider_space(false);
        }
        self.log.maintenance.notify();
        self.maintenance.progress.notify();
    }

    /// Has maintenance try to make zones free; returns whether it found something to do. `self.reserve` waits here before it
    /// refuses.
    pub(in crate::shard) async fn want_space(&self) -> bool {
        if !self.maintenance.running.get() || self.maintenance.ended.get() {
            return false;
        }
        let before: u32 = self.context.zones.iter().map(|zones| zones.free()).sum();
        self.maintenance.space_wanted.set(true);
        // What nothing came of without need may be worth it now; and who waits here must be answered.
        self.maintenance.no_progress.set(None);
        (self.context.broadcast_space_changed)();
        self.log.maintenance.notify();
        let changed = || -> Option<bool> {
            let now: u32 = self.context.zones.iter().map(|zones| zones.free()).sum();
            if before < now {
                return Some(true);
            }
            if self.maintenance.ended.get() {
                return Some(false);
            }
            // A round that gave back no more than it took has moved bytes together: the next one may.
            (!self.maintenance.space_wanted.get()).then(|| self.maintenance.no_progress.get().is_none())
        };
        self.maintenance.progress.until(changed).await
    }
}
