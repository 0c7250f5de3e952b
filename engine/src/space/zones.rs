//! Which zones of a drive are taken. The only state that all cores share: one atomic flag per zone.
//!
//! A core claims a zone here, then writes its header; a zone whose header was never durable is free again after the
//! next start. I1. A flag that is set stays set while the process runs, unless the claim itself is given back.
//! I2. At no moment are more zones counted as free than have their flag down: a claim first takes one off the count,
//! and who has done that finds a flag. I3. However many cores claim at once, what is kept for logs stays for logs.
//! `sync::proofs` runs it under a model checker.

use crate::sync::{AtomicBool, AtomicU32, Mistake, Ordering, is_seeded, step};

/// Taken and free zones of one drive.
#[derive(Debug)]
pub(crate) struct ZoneTable {
    taken: Vec<AtomicBool>,
    free: AtomicU32,
    /// Zones that only logs may take, so that deletes find room on a full drive.
    log_reserve: u32,
}

impl ZoneTable {
    pub(crate) fn new(zone_count: u32, log_reserve: u32) -> ZoneTable {
        let taken = (0..zone_count).map(|_| AtomicBool::new(false)).collect();
        ZoneTable { taken, free: AtomicU32::new(zone_count), log_reserve }
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

    /// Whether the zone is taken.
    pub(crate) fn is_taken(&self, zone: u32) -> bool {
        self.flag(zone).load(Ordering::Acquire)
    }

    /// Takes the lowest free zone; `None` when there is none for this use.
    pub(crate) fn claim(&self, for_log: bool) -> Option<u32> {
        let reserve = if for_log { 0 } else { self.log_reserve };
        if is_seeded(Mistake::ClaimInTwoSteps) {
            if self.free.load(Ordering::Acquire) <= reserve {
                return None;
            }
            self.free.fetch_sub(1, Ordering::AcqRel);
        } else {
            let one_less = |free: u32| if free <= reserve { None } else { Some(free - 1) };
            self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok()?;
        }
        loop {
            // One of the flags that are down is ours (I2), but others may take what lies ahead of the search while
            // what lies behind it comes free: then it starts again.
            for zone in 0..self.zone_count() {
                if !self.is_taken(zone) && !self.flag(zone).swap(true, Ordering::AcqRel) {
                    return Some(zone);
                }
            }
        }
    }

    /// Gives back a claim whose header was not written.
    pub(crate) fn release(&self, zone: u32) {
        if self.flag(zone).swap(false, Ordering::AcqRel) && !is_seeded(Mistake::ReleaseUncounted) {
            self.free.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Zones not taken.
    pub(crate) fn free(&self) -> u32 {
        self.free.load(Ordering::Acquire)
    }

    /// Zones not taken that extents may have.
    pub(crate) fn free_for_extents(&self) -> u32 {
        self.free().saturating_sub(self.log_reserve)
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
        let table = ZoneTable::new(4, 1);
        table.mark(1);
        table.mark(1);
        assert_eq!((table.claim(false), table.claim(false)), (Some(0), Some(2)));
        assert_eq!(table.claim(false), None, "the last one is for logs");
        assert_eq!((table.claim(true), table.claim(true)), (Some(3), None));
        table.release(2);
        assert_eq!((table.free(), table.claim(true)), (1, Some(2)));
    }
}
