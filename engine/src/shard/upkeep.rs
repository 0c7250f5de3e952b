//! What a shard does for itself: checkpoints, moving small objects out of zones that are mostly dead, giving zones back.
//!
//! One task per shard, started when the whole store has recovered. I1. Only this task moves bytes, takes checkpoints and
//! gives zones back. I2. A zone goes only when the index refers to nothing in it, what displaced the last of it (a move
//! does that too) is durable, no log block in it is needed for replay, and nobody reads there. I3. A move is logged after
//! the moved bytes are durable where they are now. I4. Everything here may stop at any moment: until an anchor is
//! durable the older checkpoint and all that it needs are in place.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Shard;
use crate::error::EngineError;
use crate::format::cell::{Cell, Place, Units};
use crate::format::checksum::unit_checksums;
use crate::format::page::TreeKind;
use crate::format::record::{Change, Extent, Record};
use crate::limits::{CHECKPOINT_RECORDS_MAX, CLEAN_CELLS_MAX, IO_BYTES_MAX};
use crate::meta::checkpoint::{Snapshot, anchor_of, write_anchor, write_pages, zone_of};
use crate::meta::index::leaf::LEAF_BYTES_MAX;
use crate::meta::log::release_zone;
use crate::meta::recover::extent_room;
use crate::mutant::{Mutant, is};
use crate::platform::upkeep_buffer;
use crate::space::usage::{Candidate, ZoneId, victims};
use crate::space::writer::ZoneWriter;
use crate::units::{BLOCK_BYTES, BucketId, DriveOffset, Sequence};

/// Cells looked at between two turns of other work.
const CELLS_PER_TURN: usize = 4096;
/// Objects to be moved are read together when no more than this lies between them.
const GAP_BYTES: u64 = 16 << 10;
/// A log tail below this is replayed at the next start rather than written out at a stop.
const STOP_TAIL_BYTES: u64 = 1 << 20;
/// Zones fuller than this (in percent) are cleaned only when writes wait for space.
const LIVE_SHARE_EASY: u64 = 90;
const LIVE_SHARE_MAX: u64 = 97;
/// Zones' worth of bytes that one round of cleaning moves: it looks through the whole index once, which is cheaper for
/// many, and takes them before more of what is in them has died, which is dearer.
const ROUND_ZONES: u64 = 8;
/// The same in bytes, for large zones.
const ROUND_BYTES_MAX: u64 = 256 << 20;
/// Moved bytes that are made durable and logged together, when no victim ends before.
const MOVE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one record of moves: fits the smallest zone.
const MOVE_RECORD_BYTES: usize = 16 << 10;

/// How long a file system that had no space is not asked again, in microseconds.
const SHORTAGE_RETRY_US: u64 = 10_000_000;

/// What the task writes with.
pub(crate) struct Upkeep {
    pub(crate) pages: ZoneWriter,
    pub(crate) packs: ZoneWriter,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Checkpoint,
    Space,
    End,
}

/// Rounds of cleaning that brought nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Idle {
    /// What had gone out of use when they were counted, not counting moves.
    displacements: u64,
    /// The most that was gained since.
    gained_most: i64,
    rounds: usize,
}

/// A small object on its way out of a zone.
struct Moving {
    bucket: BucketId,
    tree: TreeKind,
    key: Vec<u8>,
    version: Sequence,
    from: (u16, DriveOffset),
    size: u64,
    units: Units,
}

/// What was copied to packs and not logged yet.
#[derive(Default)]
struct Batch {
    moves: Vec<(Moving, DriveOffset)>,
    bytes: u64,
}

impl Shard {
    /// Runs until the shard is closed or fails.
    pub(crate) async fn upkeep(self: Rc<Self>, mut upkeep: Upkeep) {
        loop {
            let due = self.log.upkeep.until(|| self.due()).await;
            let done = match due {
                Due::End => break,
                Due::Checkpoint => self.checkpoint(&mut upkeep).await,
                Due::Space => self.make_space(&mut upkeep).await,
            };
            if let Err(error) = done {
                // Nothing was lost, and it is tried again when something has changed. A drive that was given up fails
                // the log's own next write.
                if !matches!(error, EngineError::Full { .. }) {
                    self.ground.stats.upkeep_errors.fetch_add(1, Relaxed);
                }
                self.note_fruitless();
            }
            self.upkeep_progress.notify();
        }
        self.upkeep_ended.set(true);
        self.upkeep_progress.notify();
    }

    /// Takes a last checkpoint when there is something to save a start from, and ends the task.
    pub(crate) async fn close(&self) {
        self.closing.set(true);
        self.log.upkeep.notify();
        self.upkeep_progress.until(|| self.upkeep_ended.get().then_some(())).await;
    }

    fn due(&self) -> Option<Due> {
        let (tail_bytes, tail_records) = self.log.tail();
        if self.log.watermark.has_failed() || self.log.is_stopping() {
            return Some(Due::End);
        }
        if self.closing.get() {
            return Some(if STOP_TAIL_BYTES <= tail_bytes && !self.is_fruitless() {
                Due::Checkpoint
            } else {
                Due::End
            });
        }
        if self.is_fruitless() {
            return None;
        }
        if self.checkpoint_log_bytes() <= tail_bytes || CHECKPOINT_RECORDS_MAX <= tail_records {
            return Some(Due::Checkpoint);
        }
        let wants_space =
            self.log.is_starved() || self.space_wanted.get() || self.ground.home_zones().is_low();
        wants_space.then_some(Due::Space)
    }

    /// Log bytes after which a checkpoint is taken: less on a small drive, so that logs do not fill it.
    fn checkpoint_log_bytes(&self) -> u64 {
        let superblock = self.ground.home();
        let drives = u64::from(superblock.drive_count);
        let shards_here = u64::from(superblock.shard_count).div_ceil(drives);
        (superblock.drive_bytes / shards_here / 12).min(self.ground.checkpoint_log_bytes)
    }

    /// What tells that upkeep might find something to do that it did not find last time.
    fn stamp(&self) -> (u64, u64, u64, bool) {
        (self.usage.borrow().displacements, self.freed_count.get(), self.log.position(), self.is_pressed())
    }

    /// Whether somebody waits for space: then more work is done for less of it.
    fn is_pressed(&self) -> bool {
        self.log.is_starved() || self.space_wanted.get()
    }

    fn is_fruitless(&self) -> bool {
        self.fruitless.get() == Some(self.stamp())
    }

    fn note_fruitless(&self) {
        self.fruitless.set(Some(self.stamp()));
        self.space_wanted.set(false);
        self.log.reconsider_space(true);
    }

    // ---- checkpoints ----

    /// Writes what the index has become since the last checkpoint, and cuts the log.
    pub(crate) async fn checkpoint(&self, upkeep: &mut Upkeep) -> Result<(), EngineError> {
        let ground = &self.ground;
        let superblock = *ground.home();
        self.rewrite_sparse_pages();
        let (mut cut, mut snapshot) = {
            let index = self.index.borrow();
            (self.log.cut(), Snapshot::of(&index))
        };
        if is(Mutant::SnapshotLate) {
            cut = self.log.cut();
            self.ground.platform.sleep(Duration::from_micros(20)).await;
            snapshot = Snapshot::of(&self.index.borrow());
        }
        let written =
            write_pages(&mut upkeep.pages, &superblock, ground.id, &ground.platform, snapshot).await;
        let granted = upkeep.pages.take_granted();
        self.gained.set(self.gained.get() - i64::try_from(granted.len()).expect("a few zones"));
        self.page_zones.borrow_mut().extend(granted);
        let written = written?;
        if !is(Mutant::AnchorBeforePages) {
            ground.home_drive().flush().await?;
        }
        if !is(Mutant::AnchorBeforeLog) {
            self.durable(cut.covered).await?;
        }
        let number = self.anchor.borrow().number + 1;
        let anchor = anchor_of(&superblock, ground.id, number, &cut, &written, ground.platform.now_ms());
        write_anchor(&**ground.home_drive(), &superblock, &anchor).await?;
        *self.anchor.borrow_mut() = anchor;
        *self.page_bytes.borrow_mut() = written.zone_bytes;
        let mut noted = written.pages.into_iter().peekable();
        while noted.peek().is_some() {
            {
                let mut index = self.index.borrow_mut();
                for (bucket, kind, leaf, page) in noted.by_ref().take(CELLS_PER_TURN) {
                    if let Some(tree) = index.tree_mut(bucket, kind) {
                        tree.note_page(&leaf, page);
                    }
                }
            }
            self.turn().await;
        }
        self.promise_pages();
        self.ground.stats.checkpoints.fetch_add(1, Relaxed);
        self.ground.stats.page_bytes.store(upkeep.pages.written_bytes, Relaxed);
        self.release_zones(upkeep).await
    }

    /// Has leaves written again whose pages are in zones that hold little else, when pages take much more room than
    /// the index needs.
    fn rewrite_sparse_pages(&self) {
        let superblock = *self.ground.home();
        let room = superblock.room_bytes();
        let mut index = self.index.borrow_mut();
        let taken = self.page_zones.borrow().len() as u64 * room;
        if taken <= 2 * index.bytes() + 2 * room {
            return;
        }
        let page_bytes = self.page_bytes.borrow();
        let sparse: HashSet<u32> =
            page_bytes.iter().filter(|(_, bytes)| **bytes < room / 2).map(|(zone, _)| *zone).collect();
        let trees: Vec<(BucketId, TreeKind)> =
            index.trees().into_iter().map(|(bucket, kind, _)| (bucket, kind)).collect();
        for (bucket, kind) in trees {
            if let Some(tree) = index.tree_mut(bucket, kind) {
                tree.forget_pages(|page| {
                    zone_of(&superblock, page).is_some_and(|zone| sparse.contains(&zone))
                });
            }
        }
    }

    /// Keeps as many zones for the next checkpoint as the whole index would need.
    pub(crate) fn promise_pages(&self) {
        let room = self.ground.home().room_bytes();
        let bytes = self.index.borrow().bytes();
        let wanted = u32::try_from((bytes + bytes / 4).div_ceil(room)).unwrap_or(u32::MAX / 2);
        self.ground.home_zones().promise(self.promised.replace(wanted), wanted);
        self.ground.stats.index_bytes.store(bytes, Relaxed);
    }

    // ---- space ----

    /// Makes zones free: those that hold nothing, then by moving what is left in mostly dead ones; a checkpoint first
    /// when that sets more free than it writes, and last when nothing else helps.
    async fn make_space(&self, upkeep: &mut Upkeep) -> Result<(), EngineError> {
        let before = self.gained.get();
        let mut has_moved = false;
        self.retry_shortage();
        self.release_zones(upkeep).await?;
        if !self.is_satisfied(before) && self.checkpoint_pays() {
            self.checkpoint(upkeep).await?;
        }
        if !self.is_satisfied(before) && !self.is_idle() {
            let share = if self.is_pressed() { LIVE_SHARE_MAX } else { LIVE_SHARE_EASY };
            let chosen = self.choose_victims(upkeep, share);
            if !chosen.is_empty() {
                let moved = self.ground.stats.moved_bytes.load(Relaxed);
                self.clean(chosen, upkeep).await?;
                // Objects that were moved stand closer now, also when no whole zone came of it yet.
                has_moved = moved < self.ground.stats.moved_bytes.load(Relaxed);
            }
        }
        let position = self.anchor.borrow().log_position;
        if self.gained.get() <= before && !has_moved && self.log.holds_zone_behind(position) {
            self.checkpoint(upkeep).await?;
        }
        self.note_round();
        if self.gained.get() <= before && !has_moved {
            self.note_fruitless();
            if self.log.is_starved() {
                // Another shard may hold what this one needs.
                (self.ground.tell_all)();
            }
        } else {
            self.space_wanted.set(false);
            self.log.reconsider_space(false);
        }
        Ok(())
    }

    /// Has the file systems asked for space again, some time after they had none.
    fn retry_shortage(&self) {
        let now_us = self.ground.platform.monotonic_us();
        let is_short = self.ground.zones.iter().any(|zones| zones.is_short());
        if is_short && self.shortage_tried_us.get() + SHORTAGE_RETRY_US <= now_us {
            self.shortage_tried_us.set(now_us);
            self.ground.zones.iter().for_each(|zones| zones.end_shortage());
        }
    }

    /// Whether the log behind the newest checkpoint has more room in zones that are all but dead than the next checkpoint
    /// would write.
    fn checkpoint_pays(&self) -> bool {
        let room = self.ground.home().room_bytes();
        let from = self.anchor.borrow().log_position;
        let home = self.ground.home().drive_index;
        let usage = self.usage.borrow();
        let zones = self.log.zones_below(self.log.position());
        let dead = |position: u64, zone: u32| {
            let live = usage.zone((home, zone)).live;
            if position < from || room / 8 < live { 0 } else { room - live }
        };
        let dead: u64 = zones.iter().map(|zone| dead(zone.position, zone.zone)).sum();
        let (_, tail_records) = self.log.tail();
        let pages = self.index.borrow().bytes().min(tail_records.saturating_mul(LEAF_BYTES_MAX as u64));
        room <= dead && pages <= dead
    }

    /// Whether so many rounds brought no zone that all there is was moved once: then it stands as close as it can, and
    /// going on would only move it around. Counted anew when something went out of use.
    fn is_idle(&self) -> bool {
        let idle = self.idle.get();
        idle.displacements == self.usage.borrow().displacements && self.cleanable_zones().len() < idle.rounds
    }

    fn note_round(&self) {
        let (displacements, gained) = (self.usage.borrow().displacements, self.gained.get());
        let before = self.idle.get();
        self.idle.set(match before.displacements == displacements && gained <= before.gained_most {
            true => Idle { rounds: before.rounds + 1, ..before },
            false => Idle { displacements, gained_most: gained, rounds: 0 },
        });
    }

    /// Whether enough was given back since `before`.
    fn is_satisfied(&self, before: i64) -> bool {
        before < self.gained.get() && !self.ground.home_zones().is_low()
    }

    /// Zones that hold small objects and are not written any more, with the log position that these came from.
    fn cleanable_zones(&self) -> Vec<(ZoneId, u64)> {
        let drive = self.ground.home().drive_index;
        let position = self.anchor.borrow().log_position;
        let logs = self.log.zones_below(position).into_iter().map(|zone| (zone.zone, zone.position));
        let packs = self.packs.borrow();
        let packs = packs.iter().map(|(zone, stamp)| (*zone, *stamp));
        logs.chain(packs).map(|(zone, stamp)| ((drive, zone), stamp)).collect()
    }

    /// Zones to clean now, the oldest first: objects of one age are packed together.
    fn choose_victims(&self, upkeep: &Upkeep, share: u64) -> Vec<ZoneId> {
        let room = self.ground.home().room_bytes();
        let (usage, spoiled) = (self.usage.borrow(), self.spoiled.borrow());
        let filling = upkeep.packs.zone();
        let position = self.log.position();
        let mut cleanable = self.cleanable_zones();
        let home = self.ground.home().drive_index;
        let candidates: Vec<Candidate> = cleanable
            .iter()
            .copied()
            .filter(|(zone, _)| filling != Some(zone.1) && !spoiled.contains(zone))
            .map(|(zone, stamp)| {
                let age = position.saturating_sub(stamp);
                Candidate { zone, live: usage.zone(zone).live, room, age }
            })
            .filter(|candidate| candidate.live > 0 && candidate.live * 100 <= room * share)
            .collect();
        let (zones, live) = held_in(&candidates, filling.map(|zone| usage.zone((home, zone)).live));
        if zones <= live.div_ceil(room) {
            // As few zones as can hold it: moving it would go on for ever.
            return Vec::new();
        }
        // Less than a zone in all would leave as many taken as before.
        let chosen = victims(candidates, (room * ROUND_ZONES).min(ROUND_BYTES_MAX), room / 8, share);
        let chosen: HashSet<ZoneId> = chosen.into_iter().collect();
        cleanable.sort_by_key(|(_, stamp)| *stamp);
        cleanable.into_iter().map(|(zone, _)| zone).filter(|zone| chosen.contains(zone)).collect()
    }

    /// Moves what is in use in `chosen` to pack zones, zone by zone, each object verified on the way, and gives back what
    /// comes free while it goes on: so it needs no more room than for one or two zones.
    async fn clean(&self, mut chosen: Vec<ZoneId>, upkeep: &mut Upkeep) -> Result<(), EngineError> {
        let mut moving = self.find_cells(&mut chosen).await;
        let mut batch = Batch::default();
        for zone in chosen {
            let mut cells = moving.remove(&zone).unwrap_or_default();
            cells.sort_by_key(|moving| moving.from);
            let packed = self.pack_cells(cells, upkeep, &mut batch).await;
            let is_full = match packed {
                Ok(()) => false,
                Err(EngineError::Full { .. }) => true,
                // Bytes of the batch may have been in a write that failed: it is not logged.
                Err(other) => return Err(other),
            };
            // What was moved so far sets zones free, also when there is no room for the rest.
            self.settle_moves(&mut batch, upkeep).await?;
            if is_full {
                break;
            }
        }
        Ok(())
    }

    /// Copies the bytes of one zone's cells to packs.
    async fn pack_cells(
        &self,
        cells: Vec<Moving>,
        upkeep: &mut Upkeep,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let mut rest = cells.into_iter().peekable();
        while let Some(first) = rest.next() {
            if !self.is_there(&first) {
                continue;
            }
            let start = first.from.1.0 - first.from.1.0 % BLOCK_BYTES;
            let mut end = first.from.1.0 + first.size;
            let drive = first.from.0;
            let mut run = vec![first];
            while let Some(next) = rest.next_if(|next| {
                let next_end = next.from.1.0 + next.size;
                next.from.0 == drive
                    && next.from.1.0 <= end + GAP_BYTES
                    && next_end <= start + IO_BYTES_MAX as u64
            }) {
                if self.is_there(&next) {
                    end = end.max(next.from.1.0 + next.size);
                    run.push(next);
                }
            }
            let bytes =
                usize::try_from(end.next_multiple_of(BLOCK_BYTES) - start).expect("about IO_BYTES_MAX");
            let buffer = upkeep_buffer(&self.ground.platform, bytes).await;
            let (buffer, result) =
                self.ground.drives[usize::from(drive)].read(DriveOffset(start), buffer).await;
            if result.is_err() {
                // What cannot be read stays where it is; who asks for it gets the drive's error.
                let zones =
                    run.iter().filter_map(|moving| self.usage.borrow().zone_at(moving.from.0, moving.from.1));
                self.spoiled.borrow_mut().extend(zones);
                continue;
            }
            for moving in run {
                let from = usize::try_from(moving.from.1.0 - start).expect("within the run");
                let length = usize::try_from(moving.size).expect("within the run");
                let body = &buffer.as_slice()[from..from + length];
                if !unit_checksums(body).eq(moving.units.as_slice().iter().copied()) {
                    // It stays where it is, and reading it stays an error: damage is never given a new checksum.
                    self.ground.stats.corrupt_units.fetch_add(1, Relaxed);
                    let zone = self.usage.borrow().zone_at(moving.from.0, moving.from.1);
                    self.spoiled.borrow_mut().extend(zone);
                    continue;
                }
                let stamp = self.log.position();
                let at = upkeep.packs.place(length, stamp).await;
                for zone in upkeep.packs.take_granted() {
                    self.packs.borrow_mut().insert(zone, stamp);
                    self.gained.set(self.gained.get() - 1);
                }
                let at = at?;
                upkeep.packs.pending().1.extend_from_slice(body);
                batch.bytes += moving.size;
                batch.moves.push((moving, at));
            }
            if MOVE_BYTES_MAX <= batch.bytes {
                self.settle_moves(batch, upkeep).await?;
            }
            self.turn().await;
        }
        Ok(())
    }

    /// Makes moved bytes durable, logs where they are now, and gives back what that sets free.
    async fn settle_moves(&self, batch: &mut Batch, upkeep: &mut Upkeep) -> Result<(), EngineError> {
        if batch.moves.is_empty() {
            return Ok(());
        }
        let mut moves = std::mem::take(batch).moves;
        if !is(Mutant::PackAfterIndex) {
            upkeep.packs.write().await?;
        }
        if !is(Mutant::MovesUnflushed) {
            self.ground.home_drive().flush().await?;
        }
        let drive = self.ground.home().drive_index;
        // A record is about one bucket.
        moves.sort_by_key(|(moving, _)| moving.bucket);
        let mut rest = moves.into_iter().peekable();
        let mut last = Sequence(0);
        while let Some((first, at)) = rest.next() {
            let bucket = first.bucket;
            let mut group = vec![(first, at)];
            let mut record = Record { bucket, changes: Vec::new() };
            // Upper bound of what a move takes in a record.
            let bound = |moving: &Moving| 128 + moving.key.len();
            let mut bytes = 128 + group.iter().map(|(moving, _)| bound(moving)).sum::<usize>();
            while let Some(next) =
                rest.next_if(|(next, _)| next.bucket == bucket && bytes + bound(next) <= MOVE_RECORD_BYTES)
            {
                bytes += bound(&next.0);
                group.push(next);
            }
            self.log.room(bytes, true).await?;
            let mut moved = 0;
            for (moving, at) in group {
                // It may have been overwritten or deleted meanwhile.
                if self.is_there(&moving) {
                    moved += moving.size;
                    let (part, key) = (moving.tree == TreeKind::Parts, moving.key.into());
                    record.changes.push(Change::MoveBytes { part, key, version: moving.version, drive, at });
                }
            }
            if !record.changes.is_empty() {
                last = self.settle_record(&record, true)?;
                self.ground.stats.moved_bytes.fetch_add(moved, Relaxed);
            }
        }
        if is(Mutant::PackAfterIndex) {
            upkeep.packs.write().await?;
        }
        self.durable(last).await?;
        self.release_zones(upkeep).await
    }

    fn is_there(&self, moving: &Moving) -> bool {
        self.with_bucket(moving.bucket, |held| held.has_small(moving.tree, &moving.key, moving.version))
            .unwrap_or(false)
    }

    /// Everything in use in the given zones, by zone. At most `CLEAN_CELLS_MAX` of it: the last of the zones are left out
    /// when it is more.
    async fn find_cells(&self, zones: &mut Vec<ZoneId>) -> HashMap<ZoneId, Vec<Moving>> {
        let mut found: HashMap<ZoneId, Vec<Moving>> = zones.iter().map(|zone| (*zone, Vec::new())).collect();
        let mut count = 0;
        let mut buckets: Vec<BucketId> = self.index.borrow().buckets.keys().copied().collect();
        buckets.sort();
        for bucket in buckets {
            for tree in [TreeKind::Objects, TreeKind::Parts] {
                let mut from = Vec::new();
                loop {
                    let mut looked = 0;
                    let mut last: Option<Vec<u8>> = None;
                    let stopped = self.with_bucket(bucket, |held| {
                        let usage = self.usage.borrow();
                        held.scan_cells(tree, &from, |cell_ref, cell| {
                            // Versions of one key are looked at in one turn.
                            let goes_on =
                                last.as_ref().is_some_and(|last| cell_ref.key.compare(last).is_eq());
                            if CELLS_PER_TURN <= looked && !goes_on {
                                return false;
                            }
                            looked += 1;
                            if looked == CELLS_PER_TURN {
                                last = Some(cell_ref.key.to_vec());
                            }
                            if let Some(place) = cell.log_place()
                                && let Some(zone) = usage.zone_at(place.0, place.1)
                                && let Some(cells) = found.get_mut(&zone)
                            {
                                cells.push(moving_of(bucket, tree, cell_ref.key.to_vec(), cell, place));
                                count += 1;
                            }
                            true
                        })
                    });
                    while CLEAN_CELLS_MAX < count && zones.len() > 1 {
                        let left_out = zones.pop().and_then(|zone| found.remove(&zone));
                        count -= left_out.map_or(0, |cells| cells.len());
                    }
                    if CLEAN_CELLS_MAX <= count {
                        return found;
                    }
                    match stopped.flatten() {
                        Some(key) => from = key,
                        None => break,
                    }
                    self.turn().await;
                }
            }
        }
        found
    }

    // ---- giving zones back ----

    /// Gives back every zone that nothing needs any more.
    pub(crate) async fn release_zones(&self, upkeep: &Upkeep) -> Result<(), EngineError> {
        self.reclaim();
        let superblock = *self.ground.home();
        let home = superblock.drive_index;
        let position = self.anchor.borrow().log_position;
        for zone in self.log.zones_below(position) {
            // Its room and both headers.
            let (from, to) = (superblock.zone_at(zone.zone), superblock.zone_at(zone.zone + 1));
            if self.is_unused((home, zone.zone)) && !self.log.is_zeroing(from, to) {
                self.log.forget_zone(zone.position);
                self.release(home, zone.zone).await?;
            }
        }
        let packs: Vec<u32> = self.packs.borrow().keys().copied().collect();
        for zone in packs {
            if upkeep.packs.zone() != Some(zone) && self.is_unused((home, zone)) {
                self.packs.borrow_mut().remove(&zone);
                self.release(home, zone).await?;
            }
        }
        let pages: Vec<u32> = self.page_zones.borrow().iter().copied().collect();
        for zone in pages {
            if upkeep.pages.zone() != Some(zone)
                && (is(Mutant::PageZoneReleased) || !self.page_bytes.borrow().contains_key(&zone))
            {
                self.page_zones.borrow_mut().remove(&zone);
                self.release(home, zone).await?;
            }
        }
        let extents: Vec<ZoneId> = self.extent_zones.borrow().iter().copied().collect();
        for (drive, zone) in extents {
            let (at, bytes) = extent_room(&self.ground.superblocks[usize::from(drive)], zone);
            let is_needed = !self.ground.zones[usize::from(drive)].is_low()
                && self.space.borrow().free_bytes() < 2 * bytes;
            if is_needed || !self.space.borrow_mut().take_exact(Extent { drive, at, bytes }) {
                continue;
            }
            self.granted_bytes.set(self.granted_bytes.get() - bytes);
            self.extent_zones.borrow_mut().remove(&(drive, zone));
            self.release(drive, zone).await?;
        }
        Ok(())
    }

    fn is_unused(&self, zone: ZoneId) -> bool {
        let held = self.usage.borrow().zone(zone);
        let superblock = &self.ground.superblocks[usize::from(zone.0)];
        let start = superblock.zone_at(zone.1);
        (held.live == 0 || is(Mutant::ZoneReleasedLive))
            && (held.displaced <= self.log.watermark.value() || is(Mutant::ZoneReleasedEarly))
            && (is(Mutant::ZoneReleasedWhileRead)
                || !self.pins.borrow_mut().has_readers_in(zone.0, start, start.plus(superblock.zone_bytes)))
    }

    async fn release(&self, drive: u16, zone: u32) -> Result<(), EngineError> {
        let nth = usize::from(drive);
        self.usage.borrow_mut().forget((drive, zone));
        // What is stored there next is whole.
        self.spoiled.borrow_mut().remove(&(drive, zone));
        let ground = &self.ground;
        let is_wanted =
            release_zone(&*ground.drives[nth], &ground.superblocks[nth], &ground.zones[nth], zone).await?;
        self.gained.set(self.gained.get() + 1);
        self.ground.stats.zones_released.fetch_add(1, Relaxed);
        if is_wanted {
            (ground.tell_all)();
        }
        Ok(())
    }

    async fn turn(&self) {
        self.ground.platform.sleep(Duration::ZERO).await;
    }

    /// Zones came free somewhere, or somebody needs some.
    pub(crate) fn space_changed(&self) {
        if self.ground.home_zones().spare() > 0 {
            self.log.reconsider_space(false);
        }
        self.log.upkeep.notify();
        self.upkeep_progress.notify();
    }

    /// Has upkeep try to make zones free; answers whether it found something to do. `self.reserve` waits here before it
    /// refuses.
    pub(crate) async fn want_space(&self) -> bool {
        if !self.upkeep_running.get() || self.upkeep_ended.get() {
            return false;
        }
        let before: u32 = self.ground.zones.iter().map(|zones| zones.free()).sum();
        self.space_wanted.set(true);
        // What nothing came of without need may be worth it now; and who waits here must be answered.
        self.fruitless.set(None);
        (self.ground.tell_all)();
        self.log.upkeep.notify();
        let changed = || -> Option<bool> {
            let now: u32 = self.ground.zones.iter().map(|zones| zones.free()).sum();
            if before < now {
                return Some(true);
            }
            if self.upkeep_ended.get() {
                return Some(false);
            }
            // A round that gave back no more than it took has moved bytes together: the next one may.
            (!self.space_wanted.get()).then(|| self.fruitless.get().is_none())
        };
        self.upkeep_progress.until(changed).await
    }
}

/// Zones, and bytes in use in them.
fn held_in(candidates: &[Candidate], filling: Option<u64>) -> (u64, u64) {
    let lives = candidates.iter().map(|candidate| candidate.live).chain(filling);
    lives.fold((0, 0), |(zones, sum), live| (zones + 1, sum + live))
}

fn moving_of(
    bucket: BucketId,
    tree: TreeKind,
    key: Vec<u8>,
    cell: &Cell<'_>,
    from: (u16, DriveOffset),
) -> Moving {
    let (place, units) = cell.place().expect("checked when it came in");
    assert!(matches!(place, Place::Log { .. }));
    Moving { bucket, tree, key, version: cell.sequence, from, size: cell.size, units }
}
