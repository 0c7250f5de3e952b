//! When a checkpoint is taken, and what it changes in the shard. `meta::checkpoint` writes and reads it.
//!
//! Called by the maintenance task alone. I1. The log is cut and the index is looked at in one turn. I2. The anchor
//! follows when pages and log are durable, and only then are the older checkpoint's zones released.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{CELLS_PER_TURN, ZoneWriters};
use crate::error::EngineError;
use crate::format::page::TreeKind;
use crate::meta::checkpoint::{Snapshot, anchor_of, write_anchor, write_pages, zone_of};
use crate::meta::index::leaf::LEAF_BYTES_MAX;
use crate::mutant::{Mutant, seeded};
use crate::shard::Shard;
use crate::units::BucketId;

impl Shard {
    /// Log bytes after which a checkpoint is taken: less on a small drive, so that logs do not fill it.
    pub(super) fn checkpoint_log_bytes(&self) -> u64 {
        let superblock = self.context.home();
        let drives = u64::from(superblock.drive_count);
        let shards_here = u64::from(superblock.shard_count).div_ceil(drives);
        (superblock.drive_bytes / shards_here / 12).min(self.context.checkpoint_log_bytes)
    }

    /// Writes what the index has become since the last checkpoint, and cuts the log.
    pub(super) async fn checkpoint(&self, writers: &mut ZoneWriters) -> Result<(), EngineError> {
        let context = &self.context;
        let superblock = *context.home();
        self.rewrite_sparse_pages();
        let (mut cut, mut snapshot) = {
            let index = self.index.borrow();
            (self.log.cut(), Snapshot::of(&index))
        };
        if seeded(Mutant::SnapshotLate) {
            cut = self.log.cut();
            self.context.platform.sleep(Duration::from_micros(20)).await;
            snapshot = Snapshot::of(&self.index.borrow());
        }
        let written =
            write_pages(&mut writers.pages, &superblock, context.id, &context.platform, snapshot).await;
        let granted = writers.pages.take_granted();
        self.maintenance.add_gain(-i64::try_from(granted.len()).expect("a few zones"));
        self.maintenance.page_zones.borrow_mut().extend(granted);
        let written = written?;
        if !seeded(Mutant::AnchorBeforePages) {
            context.home_drive().flush().await?;
        }
        if !seeded(Mutant::AnchorBeforeLog) {
            self.durable(cut.covered).await?;
        }
        let number = self.maintenance.anchor.borrow().number + 1;
        let anchor = anchor_of(&superblock, context.id, number, &cut, &written, context.platform.now_ms());
        write_anchor(&**context.home_drive(), &superblock, &anchor).await?;
        *self.maintenance.anchor.borrow_mut() = anchor;
        *self.maintenance.page_bytes.borrow_mut() = written.zone_bytes;
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
        self.reserve_pages();
        self.context.stats.checkpoints.fetch_add(1, Relaxed);
        self.context.stats.page_bytes.store(writers.pages.written_bytes, Relaxed);
        self.release_zones(writers).await
    }

    /// Has leaves written again whose pages are in zones that hold little else, when pages take much more room than
    /// the index needs.
    fn rewrite_sparse_pages(&self) {
        let superblock = *self.context.home();
        let room = superblock.room_bytes();
        let mut index = self.index.borrow_mut();
        let taken = self.maintenance.page_zones.borrow().len() as u64 * room;
        if taken <= 2 * index.bytes() + 2 * room {
            return;
        }
        let page_bytes = self.maintenance.page_bytes.borrow();
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
    pub(in crate::shard) fn reserve_pages(&self) {
        let room = self.context.home().room_bytes();
        let bytes = self.index.borrow().bytes();
        let wanted = u32::try_from((bytes + bytes / 4).div_ceil(room)).unwrap_or(u32::MAX / 2);
        self.context
            .home_zones()
            .reserve_for_checkpoint(self.maintenance.reserved_for_checkpoint.replace(wanted), wanted);
        self.context.stats.index_bytes.store(bytes, Relaxed);
    }

    /// Whether the log behind the newest checkpoint has more room in zones that are all but dead than the next
    /// checkpoint would write.
    pub(super) fn checkpoint_pays(&self) -> bool {
        let room = self.context.home().room_bytes();
        let from = self.maintenance.anchor.borrow().log_position;
        let home = self.context.home().drive_index;
        let space = self.space.borrow();
        let zones = self.log.zones_below(self.log.position());
        let dead = |position: u64, zone: u32| {
            let live = space.usage.zone((home, zone)).live;
            if position < from || room / 8 < live { 0 } else { room - live }
        };
        let dead: u64 = zones.iter().map(|zone| dead(zone.position, zone.zone)).sum();
        let (_, tail_records) = self.log.tail();
        let pages = self.index.borrow().bytes().min(tail_records.saturating_mul(LEAF_BYTES_MAX as u64));
        room <= dead && pages <= dead
    }
}
