//! Cleaning: moves what is in use in mostly dead log and compaction zones to compaction zones, so that whole zones come free.
//!
//! Called by the maintenance task alone. Which zones is decided by `space::usage::victims`. I1. Every object is
//! verified on the way; what is damaged or cannot be read stays where it is. I2. A move is logged after the moved bytes
//! are durable, and only for what still is where it was.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;

use super::{CELLS_PER_TURN, ZoneWriters};
use crate::blob::{Piece, Reach};
use crate::error::EngineError;
use crate::format::cell::{BlobLocation, Cell, Units};
use crate::format::page::TreeKind;
use crate::format::record::{Change, Record, SpaceEffect};
use crate::limits::CLEAN_CELLS_MAX;
use crate::mutant::{Mutant, seeded};
use crate::shard::Shard;
use crate::space::usage::{Candidate, ZoneId, victims};
use crate::units::{BucketId, DriveOffset, Sequence};

/// Objects to be moved are read together when no more than this lies between them.
const GAP_BYTES: u64 = 16 << 10;
/// Zones' worth of bytes that one round of cleaning moves: it looks through the whole index once, which is cheaper for
/// many, and takes them before more of what is in them has died, which is dearer.
const ROUND_ZONES: u64 = 8;
/// The same in bytes, for large zones.
const ROUND_BYTES_MAX: u64 = 256 << 20;
/// Moved bytes that are made durable and logged together, when no victim ends before.
const MOVE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one record of moves: fits the smallest zone.
const MOVE_RECORD_BYTES: usize = 16 << 10;

/// Rounds of cleaning that brought nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CleanStall {
    /// What had gone out of use when they were counted, not counting moves.
    displacements: u64,
    /// The most zones that were reclaimed since.
    reclaimed_most: i64,
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

impl Moving {
    fn piece(&self) -> Piece {
        Piece::in_log(self.from, self.size)
    }
}

/// What was copied to compaction zones and not logged yet.
#[derive(Default)]
struct Batch {
    moves: Vec<(Moving, DriveOffset)>,
    bytes: u64,
}

impl Shard {
    /// Whether so many rounds brought no zone that all there is was moved once: then it stands as close as it can, and
    /// going on would only move it around. Counted anew when something went out of use.
    pub(super) fn is_idle(&self) -> bool {
        let stall = self.maintenance.stall.get();
        stall.displacements == self.space.borrow().usage.displacements
            && self.cleanable_zones().len() < stall.rounds
    }

    pub(super) fn note_round(&self) {
        let (displacements, zones_reclaimed) =
            (self.space.borrow().usage.displacements, self.maintenance.zones_reclaimed.get());
        let before = self.maintenance.stall.get();
        self.maintenance.stall.set(
            match before.displacements == displacements && zones_reclaimed <= before.reclaimed_most {
                true => CleanStall { rounds: before.rounds + 1, ..before },
                false => CleanStall { displacements, reclaimed_most: zones_reclaimed, rounds: 0 },
            },
        );
    }

    /// Zones that hold small objects and are not written any more, with the log position that these came from.
    fn cleanable_zones(&self) -> Vec<(ZoneId, u64)> {
        let drive = self.context.home().drive_index;
        let position = self.maintenance.anchor.borrow().log_position;
        let logs = self.log.zones_below(position).into_iter().map(|zone| (zone.zone, zone.position));
        let compaction_zones = self.maintenance.compaction_zones.borrow();
        let compaction_zones = compaction_zones.iter().map(|(zone, stamp)| (*zone, *stamp));
        logs.chain(compaction_zones).map(|(zone, stamp)| ((drive, zone), stamp)).collect()
    }

    /// Zones to clean now, the oldest first: objects of one age are packed together.
    pub(super) fn choose_victims(&self, writers: &ZoneWriters, share: u64) -> Vec<ZoneId> {
        let room = self.context.home().room_bytes();
        let (space, damaged_zones) = (self.space.borrow(), self.maintenance.damaged_zones.borrow());
        let usage = &space.usage;
        let filling = writers.compaction.zone();
        let position = self.log.position();
        let mut cleanable = self.cleanable_zones();
        let home = self.context.home().drive_index;
        let candidates: Vec<Candidate> = cleanable
            .iter()
            .copied()
            .filter(|(zone, _)| filling != Some(zone.1) && !damaged_zones.contains(zone))
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

    /// Moves what is in use in `chosen` to compaction zones, zone by zone, each object verified on the way, and releases
    /// what comes free while it goes on: so it needs no more room than for one or two zones.
    pub(super) async fn clean(
        &self,
        mut chosen: Vec<ZoneId>,
        writers: &mut ZoneWriters,
    ) -> Result<(), EngineError> {
        let mut moving = self.find_cells(&mut chosen).await;
        let mut batch = Batch::default();
        for zone in chosen {
            let mut cells = moving.remove(&zone).unwrap_or_default();
            cells.sort_by_key(|moving| moving.from);
            let packed = self.pack_cells(cells, writers, &mut batch).await;
            let is_full = match packed {
                Ok(()) => false,
                Err(EngineError::Full { .. }) => true,
                // Bytes of the batch may have been in a write that failed: it is not logged.
                Err(other) => return Err(other),
            };
            // What was moved so far sets zones free, also when there is no room for the rest.
            self.append_moves(&mut batch, writers).await?;
            if is_full {
                break;
            }
        }
        Ok(())
    }

    /// Copies the bytes of one zone's cells to compaction zones.
    async fn pack_cells(
        &self,
        cells: Vec<Moving>,
        writers: &mut ZoneWriters,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        let mut rest = cells.into_iter().peekable();
        while let Some(first) = rest.next() {
            if !self.is_there(&first) {
                continue;
            }
            let mut reach = Reach::of(first.piece(), GAP_BYTES);
            let mut run = vec![first];
            while let Some(next) = rest.next_if(|next| reach.joins(next.piece())) {
                if self.is_there(&next) {
                    reach.extend(next.piece());
                    run.push(next);
                }
            }
            let Ok(read) = self.context.blobs.read_small(reach).await else {
                // What cannot be read stays where it is; who asks for it gets the drive's error.
                let zones = run
                    .iter()
                    .filter_map(|moving| self.space.borrow().usage.zone_at(moving.from.0, moving.from.1));
                self.maintenance.damaged_zones.borrow_mut().extend(zones);
                continue;
            };
            for moving in run {
                let Some(body) = read.verified(moving.piece(), &moving.units) else {
                    // It stays where it is, and reading it stays an error: damage is never given a new checksum.
                    self.context.stats.corrupt_units.fetch_add(1, Relaxed);
                    let zone = self.space.borrow().usage.zone_at(moving.from.0, moving.from.1);
                    self.maintenance.damaged_zones.borrow_mut().extend(zone);
                    continue;
                };
                let stamp = self.log.position();
                let at = writers.compaction.place(body.len(), stamp).await;
                for zone in writers.compaction.take_granted() {
                    self.maintenance.compaction_zones.borrow_mut().insert(zone, stamp);
                    self.maintenance.add_gain(-1);
                }
                let at = at?;
                writers.compaction.pending().1.extend_from_slice(body);
                batch.bytes += moving.size;
                batch.moves.push((moving, at));
            }
            if MOVE_BYTES_MAX <= batch.bytes {
                self.append_moves(batch, writers).await?;
            }
            self.turn().await;
        }
        Ok(())
    }

    /// Makes moved bytes durable, logs where they are now, and releases what that sets free.
    async fn append_moves(&self, batch: &mut Batch, writers: &mut ZoneWriters) -> Result<(), EngineError> {
        if batch.moves.is_empty() {
            return Ok(());
        }
        let mut moves = std::mem::take(batch).moves;
        if !seeded(Mutant::CompactionAfterIndex) {
            writers.compaction.write().await?;
        }
        if !seeded(Mutant::MovesUnflushed) {
            self.context.home_drive().flush().await?;
        }
        let drive = self.context.home().drive_index;
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
            self.log.room(bytes, SpaceEffect::Frees).await?;
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
                last = self.append_record(&record)?;
                self.context.stats.moved_bytes.fetch_add(moved, Relaxed);
            }
        }
        if seeded(Mutant::CompactionAfterIndex) {
            writers.compaction.write().await?;
        }
        self.durable(last).await?;
        self.release_zones(writers).await
    }

    fn is_there(&self, moving: &Moving) -> bool {
        self.with_bucket(moving.bucket, |held| held.has_small(moving.tree, &moving.key, moving.version))
            .unwrap_or(false)
    }

    /// Everything in use in the given zones, by zone. At most `CLEAN_CELLS_MAX` of it: the last of the zones are left
    /// out when it is more.
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
                        let space = self.space.borrow();
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
                                && let Some(zone) = space.usage.zone_at(place.0, place.1)
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
    assert!(matches!(place, BlobLocation::Log { .. }));
    Moving { bucket, tree, key, version: cell.sequence, from, size: cell.size, units }
}
