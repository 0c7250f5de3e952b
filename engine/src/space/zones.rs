//! Which zones of a drive are taken. The only state that all cores share: one atomic flag per zone and three counts.
//!
//! A core claims a zone here, then writes its header; a zone whose header was never durable is free again after the
//! next start. It gives a zone back after its headers say so. I1. A flag is set from the claim to the release, and only
//! the core that holds the zone clears it. I2. At no moment are more zones counted as free than have their flag down: a
//! claim first takes one off the count, and who has done that finds a flag. I3. The last zones are kept for what makes
//! space (checkpoints, compaction_zones, the log of deletes), however many cores claim at once. `sync::proofs` runs it under a model
//! checker.

use crate::sync::{AtomicBool, AtomicU32, Ordering, Race, seeded_race, step};

/// What a zone is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To store more.
    Data,
    /// To move small objects closer together.
    Moves,
    /// To write a checkpoint, or to remember what was deleted.
    Maintenance,
}

/// Taken and free zones of one drive.
#[derive(Debug)]
pub(crate) struct ZoneTable {
    taken: Vec<AtomicBool>,
    /// Free zones that were used before: the file system has laid them out.
    written_before: Vec<AtomicBool>,
    /// Zones that the file system was asked for, or that were used before.
    has_space: Vec<AtomicBool>,
    /// Zones that recovery found damaged.
    damaged: Vec<AtomicBool>,
    /// The file system had no space: zones that it was not asked for before don't count.
    is_short: AtomicBool,
    free: AtomicU32,
    /// Zones that only maintenance may take.
    reserve: u32,
    /// Zones that the next checkpoints of all shards may need, on top.
    reserved_for_checkpoint: AtomicU32,
    /// Somebody found no zone and wants to be told of the next that is free.
    wanted: AtomicBool,
}

impl ZoneTable {
    pub(crate) fn new(zone_count: u32, reserve: u32) -> ZoneTable {
        let flags = || (0..zone_count).map(|_| AtomicBool::new(false)).collect();
        ZoneTable {
            taken: flags(),
            written_before: flags(),
            has_space: flags(),
            damaged: flags(),
            is_short: AtomicBool::new(false),
            free: AtomicU32::new(zone_count),
            reserve,
            reserved_for_checkpoint: AtomicU32::new(0),
            wanted: AtomicBool::new(false),
        }
    }

    /// Notes that a zone was found in use.
    pub(crate) fn mark(&self, zone: u32) {
        while !self.is_taken(zone) {
            // Off the count first, as a claim does it. Nothing on the count and a flag down: a claim is about to take it.
            let counted =
                self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
            if counted.is_ok() && self.flag(zone).swap(true, Ordering::AcqRel) {
                self.free.fetch_add(1, Ordering::AcqRel);
            }
            step();
        }
    }

    /// Notes that nobody can tell whose a zone is. Every core that reads its headers is to learn of it, also when another
    /// one has marked it before.
    pub(crate) fn mark_damaged(&self, zone: u32) {
        self.damaged[zone as usize].store(true, Ordering::Release);
        self.mark(zone);
    }

    /// Whether a zone was found damaged.
    pub(crate) fn is_damaged(&self, zone: u32) -> bool {
        self.damaged[zone as usize].load(Ordering::Acquire)
    }

    /// Notes that a free zone was used before.
    pub(crate) fn mark_written_before(&self, zone: u32) {
        self.written_before[zone as usize].store(true, Ordering::Release);
        self.note_space(zone);
    }

    /// Notes that there is space for a zone.
    pub(crate) fn note_space(&self, zone: u32) {
        self.has_space[zone as usize].store(true, Ordering::Release);
    }

    /// Whether there is space for a zone, as far as is known.
    pub(crate) fn has_space(&self, zone: u32) -> bool {
        self.has_space[zone as usize].load(Ordering::Acquire)
    }

    /// A free zone to make sure of, when there is not yet space for as many as are kept.
    pub(crate) fn wanting_space(&self) -> Option<u32> {
        let wanting = self.with_space() < self.kept(Purpose::Data);
        (0..self.zone_count()).find(|zone| wanting && !self.is_taken(*zone) && !self.has_space(*zone))
    }

    /// Notes that the file system has no space.
    pub(crate) fn note_shortage(&self) {
        self.is_short.store(true, Ordering::Release);
    }

    /// Has it asked again.
    pub(crate) fn end_shortage(&self) {
        self.is_short.store(false, Ordering::Release);
    }

    /// Whether the file system had no space when it was asked last.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Acquire)
    }

    /// Free zones that there is space for.
    fn with_space(&self) -> u32 {
        let zones = 0..self.zone_count();
        let found = zones.filter(|zone| !self.is_taken(*zone) && self.has_space(*zone)).count();
        u32::try_from(found).expect("as many as zones")
    }

    /// Zones not taken that can be had.
    pub(crate) fn usable(&self) -> u32 {
        if self.is_short() { self.with_space().min(self.free()) } else { self.free() }
    }

    /// Zones that a purpose must leave.
    fn kept(&self, purpose: Purpose) -> u32 {
        match purpose {
            Purpose::Data => {
                self.reserve.saturating_add(self.reserved_for_checkpoint.load(Ordering::Acquire))
            }
            Purpose::Moves => self.reserved_for_checkpoint.load(Ordering::Acquire),
            Purpose::Maintenance => 0,
        }
    }

    /// Whether a zone was used before.
    pub(crate) fn was_written_before(&self, zone: u32) -> bool {
        self.written_before[zone as usize].load(Ordering::Acquire)
    }

    /// Whether the zone is taken.
    pub(crate) fn is_taken(&self, zone: u32) -> bool {
        self.flag(zone).load(Ordering::Acquire)
    }

    /// Takes a free zone, of those that there is space for the lowest; `None` when there is none for this purpose.
    pub(crate) fn claim(&self, purpose: Purpose) -> Option<u32> {
        let kept = self.kept(purpose);
        if self.is_short() && self.usable() <= kept {
            self.wanted.store(true, Ordering::Release);
            return None;
        }
        let one_less = |free: u32| if free <= kept { None } else { Some(free - 1) };
        let taken = if seeded_race(Race::ClaimInTwoSteps) {
            let enough = kept < self.free.load(Ordering::Acquire);
            enough.then(|| self.free.fetch_sub(1, Ordering::AcqRel))
        } else {
            self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok()
        };
        if taken.is_none() {
            self.wanted.store(true, Ordering::Release);
            return None;
        }
        loop {
            // One of the flags that are down is ours (I2), but others may take what lies ahead of the search while
            // what lies behind it comes free: then it starts again.
            for wants_space in [true, false] {
                for zone in (0..self.zone_count()).filter(|zone| !wants_space || self.has_space(*zone)) {
                    if !self.is_taken(zone) && !self.flag(zone).swap(true, Ordering::AcqRel) {
                        return Some(zone);
                    }
                }
            }
        }
    }

    /// Gives a zone back; returns whether somebody wants to be told.
    pub(crate) fn release(&self, zone: u32) -> bool {
        if self.flag(zone).swap(false, Ordering::AcqRel) && !seeded_race(Race::ReleaseUncounted) {
            self.free.fetch_add(1, Ordering::AcqRel);
        }
        self.wanted.swap(false, Ordering::AcqRel)
    }

    /// Exchanges how many zones a shard's next checkpoint may need.
    pub(crate) fn reserve_for_checkpoint(&self, before: u32, after: u32) {
        self.reserved_for_checkpoint.fetch_add(after, Ordering::AcqRel);
        self.reserved_for_checkpoint.fetch_sub(before, Ordering::AcqRel);
    }

    /// Zones not taken.
    pub(crate) fn free(&self) -> u32 {
        self.free.load(Ordering::Acquire)
    }

    /// Zones not taken that data may have.
    pub(crate) fn available(&self) -> u32 {
        self.usable().saturating_sub(self.kept(Purpose::Data))
    }

    /// Whether space is to be made before more is stored: no sooner than it must, for what is in a zone dies while it
    /// waits.
    pub(crate) fn is_low(&self) -> bool {
        self.available() <= self.reserve / 2
    }

    /// All zones.
    pub(crate) fn zone_count(&self) -> u32 {
        u32::try_from(self.taken.len()).expect("made from a u32")
    }

    fn flag(&self, zone: u32) -> &AtomicBool {
        &self.taken[zone as usize]
    }
}

#[cfg(all(test, not(feature = "prove-threads")))]
mod tests {
    use super::*;

    #[test]
    fn claims() {
        let table = ZoneTable::new(5, 1);
        table.mark(1);
        table.mark(1);
        table.reserve_for_checkpoint(0, 1);
        assert_eq!((table.claim(Purpose::Data), table.claim(Purpose::Data)), (Some(0), Some(2)));
        assert_eq!(table.claim(Purpose::Data), None, "one is kept, one is reserved_for_checkpoint");
        assert!(table.is_low());
        assert_eq!(
            (table.claim(Purpose::Maintenance), table.claim(Purpose::Maintenance)),
            (Some(3), Some(4))
        );
        assert_eq!(table.claim(Purpose::Maintenance), None);
        assert!(table.release(2), "two went away without");
        assert!(!table.release(3), "nobody since");
        table.reserve_for_checkpoint(1, 0);
        assert_eq!((table.available(), table.claim(Purpose::Data)), (1, Some(2)));
    }
}
