//! Releasing zones: log zones behind the newest checkpoint, compaction zones, pages of older checkpoints, wholly free extent
//! zones.
//!
//! Called by the maintenance task alone, which says when a zone may go (I2 there).

use std::sync::atomic::Ordering::Relaxed;

use super::ZoneWriters;
use crate::error::EngineError;
use crate::format::record::Extent;
use crate::mutant::{Mutant, seeded};
use crate::shard::Shard;
use crate::space::grant::release_zone;
use crate::space::usage::ZoneId;

impl Shard {
    /// Releases every zone that nothing needs any more.
    pub(super) async fn release_zones(&self, writers: &ZoneWriters) -> Result<(), EngineError> {
        self.reclaim();
        let superblock = *self.context.home();
        let home = superblock.drive_index;
        let position = self.maintenance.anchor.borrow().log_position;
        for zone in self.log.zones_below(position) {
            // Its room and both headers.
            let (from, to) = (superblock.zone_at(zone.zone), superblock.zone_at(zone.zone + 1));
            if self.is_unused((home, zone.zone)) && !self.log.is_zeroing(from, to) {
                self.log.forget_zone(zone.position);
                self.release(home, zone.zone).await?;
            }
        }
        let compaction_zones: Vec<u32> = self.maintenance.compaction_zones.borrow().keys().copied().collect();
        for zone in compaction_zones {
            if writers.compaction.zone() != Some(zone) && self.is_unused((home, zone)) {
                self.maintenance.compaction_zones.borrow_mut().remove(&zone);
                self.release(home, zone).await?;
            }
        }
        let pages: Vec<u32> = self.maintenance.page_zones.borrow().iter().copied().collect();
        for zone in pages {
            if writers.pages.zone() != Some(zone)
                && (seeded(Mutant::PageZoneReleased)
                    || !self.maintenance.page_bytes.borrow().contains_key(&zone))
            {
                self.maintenance.page_zones.borrow_mut().remove(&zone);
                self.release(home, zone).await?;
            }
        }
        let extents: Vec<ZoneId> = self.space.borrow().extent_zones.iter().copied().collect();
        for (drive, zone) in extents {
            let (at, bytes) = self.context.superblocks[usize::from(drive)].room(zone);
            let is_needed = !self.context.zones[usize::from(drive)].is_low()
                && self.space.borrow().free.free_bytes() < 2 * bytes;
            if is_needed || !self.space.borrow_mut().take_zone((drive, zone), Extent { drive, at, bytes }) {
                continue;
            }
            self.release(drive, zone).await?;
        }
        Ok(())
    }

    fn is_unused(&self, zone: ZoneId) -> bool {
        let superblock = &self.context.superblocks[usize::from(zone.0)];
        self.space.borrow_mut().is_unused(zone, superblock, self.log.watermark.value())
    }

    async fn release(&self, drive: u16, zone: u32) -> Result<(), EngineError> {
        let nth = usize::from(drive);
        self.space.borrow_mut().usage.forget((drive, zone));
        // What is stored there next is whole.
        self.maintenance.damaged_zones.borrow_mut().remove(&(drive, zone));
        let context = &self.context;
        let is_wanted =
            release_zone(&*context.drives[nth], &context.superblocks[nth], &context.zones[nth], zone).await?;
        self.maintenance.add_gain(1);
        self.context.stats.zones_released.fetch_add(1, Relaxed);
        if is_wanted {
            (context.broadcast_space_changed)();
        }
        Ok(())
    }
}
