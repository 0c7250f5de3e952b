//! Taking extents for bytes that are still to be written, and releasing those that were not used.
//!
//! `handle::put` reserves by message, `stage` on the owner's core. I1. A reservation is in memory only: a crash gives
//! it back. I2. A zone that is granted for it arrives in the shard's space even when the asker goes away. I3. Before it
//! is refused as too much, maintenance has tried to make room.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_channel::oneshot;

use super::space::SpaceFacts;
use super::{SPACE_WAITS_MAX, Shard};
use crate::error::{Corrupt, EngineError};
use crate::format::record::Extent;
use crate::format::superblock::Superblock;
use crate::format::zone::ZoneKind;
use crate::limits::BLOB_BYTES_MAX;
use crate::mutant::{Mutant, seeded};
use crate::notify::Notify;
use crate::platform::spawn;
use crate::space::grant::grant_zone;
use crate::space::zones::{Purpose, ZoneTable};

/// The one zone that is being taken for extents, if any.
#[derive(Default)]
pub(super) struct Growth {
    is_running: Cell<bool>,
    ended: Notify,
}

/// Extents taken from a shard's free space; released on drop unless they were published.
pub(crate) struct Reservation {
    pub(super) shard: Rc<Shard>,
    pub(super) extents: Arc<[Extent]>,
    published: bool,
}

impl Reservation {
    pub(super) fn new(shard: Rc<Shard>, extents: Vec<Extent>) -> Reservation {
        Reservation { shard, extents: extents.into(), published: false }
    }

    /// Leaves the extents to the index.
    pub(super) fn publish(mut self) {
        self.published = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.published {
            self.shard.release_extents(&self.extents);
        }
    }
}

impl Shard {
    /// Extents for a blob of `size` bytes, in memory only: a crash gives them back.
    pub(crate) async fn reserve(self: &Rc<Self>, size: u64) -> Result<Vec<Extent>, EngineError> {
        if BLOB_BYTES_MAX < size {
            return Err(EngineError::TooLarge { limit: "BLOB_BYTES_MAX", max: BLOB_BYTES_MAX, got: size });
        }
        if self.log.watermark.has_failed() {
            return Err(EngineError::ReadOnly { shard: self.context.id });
        }
        // The most that was there when this waited, and how often it has waited since.
        let (mut best, mut waits) = (None, 0);
        loop {
            self.reclaim();
            let reserved = self.space.borrow_mut().free.reserve(size);
            if let Some(extents) = reserved {
                self.note_free_bytes();
                return Ok(extents);
            }
            if self.growth.is_running.get() {
                self.growth.ended.until(|| (!self.growth.is_running.get()).then_some(())).await;
                continue;
            }
            // What can never fit must not take the last zones away from the other shards.
            let drives = self.context.superblocks.iter().zip(&self.context.zones);
            let zone_bytes = |(superblock, zones): (&Superblock, &Arc<ZoneTable>)| {
                u64::from(zones.available()) * superblock.room(0).1
            };
            let available = self.space.borrow().free.free_bytes() + drives.map(zone_bytes).sum::<u64>();
            // Zones that maintenance keeps count as well: what is made free fills them up first.
            let free: u64 = self.context.zones.iter().map(|zones| u64::from(zones.free())).sum();
            let held = Some((free, self.space.borrow().free.free_bytes()));
            if best < held {
                (best, waits) = (held, 0);
            }
            // No more comes of it: pieces that are too small, or zones released and taken by others.
            let is_hopeless = SPACE_WAITS_MAX <= waits;
            let full = EngineError::Full { wanted_bytes: size };
            if available < size {
                if is_hopeless || !self.want_space().await {
                    return Err(full);
                }
                waits += 1;
                continue;
            }
            self.growth.is_running.set(true);
            // A task of its own: a zone that is granted must arrive here even when the asker goes away.
            let (reply, answer) = oneshot::channel();
            let shard = self.clone();
            spawn(&self.context.platform, async move {
                drop(reply.send(shard.grow().await));
            });
            match answer.await.map_err(|_| EngineError::Stopping)? {
                Ok(()) => {}
                Err(EngineError::Full { .. }) if !is_hopeless && self.want_space().await => waits += 1,
                Err(EngineError::Full { .. }) => return Err(full),
                Err(other) => return Err(other),
            }
        }
    }

    /// Takes one more zone for extents.
    async fn grow(&self) -> Result<(), EngineError> {
        let context = &self.context;
        // The drive with the most room, the shard's own one before equals.
        let drives = 0..context.drives.len();
        let room =
            |nth: &usize| u64::from(context.zones[*nth].available()) * context.superblocks[*nth].zone_bytes;
        let nth = drives.max_by_key(|nth| (room(nth), *nth == context.home)).unwrap_or(context.home);
        let (drive, superblock) = (&context.drives[nth], &context.superblocks[nth]);
        let (zones, kind) = (&context.zones[nth], ZoneKind::Extent);
        let granted = grant_zone(&**drive, superblock, zones, context.id, 0, kind, Purpose::Data).await;
        self.growth.is_running.set(false);
        if let Ok(granted) = &granted {
            self.space.borrow_mut().add_zone(superblock, granted.zone);
        }
        self.growth.ended.notify();
        granted.map(|_| ())
    }

    /// Releases extents that were reserved and never published. No write to them may be under way.
    pub(crate) fn release_extents(&self, extents: &[Extent]) {
        if seeded(Mutant::DroppedKept) {
            return;
        }
        self.space.borrow_mut().free_reserved(extents);
        self.note_free_bytes();
    }

    /// Makes displaced extents free once their displacement is durable and nobody reads them.
    pub(super) fn reclaim(&self) {
        if self.space.borrow_mut().reclaim(self.log.watermark.value()) {
            // Maintenance may have looked before this and found nothing.
            self.log.maintenance.notify();
        }
    }

    /// Takes stock of all space: looks at every object, for tests and tools. Damage names an extent that is in use and
    /// free at once, or in use twice, or a zone whose bytes in use were counted wrong.
    pub(crate) fn audit_space(&self) -> Result<SpaceFacts, Corrupt> {
        self.reclaim();
        self.note_free_bytes();
        self.space.borrow().audit(&self.context.superblocks, &self.index.borrow())
    }

    pub(super) fn note_free_bytes(&self) {
        self.context.stats.free_extent_bytes.store(self.space.borrow().free.free_bytes(), Relaxed);
    }
}
