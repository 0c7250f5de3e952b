//! How many bytes of each log and compaction zone of a shard are in use, and which zones are worth cleaning. Pure.
//!
//! `shard` counts here what records put and displace; `shard::maintenance` asks which zones to clean and to release.
//! I1. A zone with nothing in use may be released once the last displacement is durable. A move displaces like any other
//! change. Owned by the shard's core.

use std::collections::HashMap;

use crate::format::superblock::{Superblock, ZONES_AT};
use crate::units::{DriveOffset, Sequence};

/// A zone of one of the store's drives.
pub(crate) type ZoneId = (u16, u32);

/// What is known of a zone that holds small objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZoneUse {
    /// Bytes of objects in it that the index refers to.
    pub(crate) live: u64,
    /// The newest change that displaced something of it.
    pub(crate) displaced: Sequence,
}

/// All zones of one shard that hold small objects.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    zones: HashMap<ZoneId, ZoneUse>,
    zone_bytes: Vec<u64>,
    /// Rises whenever something went out of use; moves don't count.
    pub(crate) displacements: u64,
}

impl Usage {
    pub(crate) fn of(superblocks: &[Superblock]) -> Usage {
        let zone_bytes = superblocks.iter().map(|superblock| superblock.zone_bytes).collect();
        Usage { zone_bytes, ..Usage::default() }
    }

    /// The zone that a place lies in; `None` for what lies outside of all zones.
    pub(crate) fn zone_at(&self, drive: u16, at: DriveOffset) -> Option<ZoneId> {
        let zone_bytes = self.zone_bytes.get(usize::from(drive))?;
        let zone = at.0.checked_sub(ZONES_AT)? / zone_bytes;
        Some((drive, u32::try_from(zone).ok()?))
    }

    pub(crate) fn placed(&mut self, drive: u16, at: DriveOffset, bytes: u64) {
        if let Some(zone) = self.zone_at(drive, at) {
            self.zones.entry(zone).or_default().live += bytes;
        }
    }

    pub(crate) fn displaced(&mut self, drive: u16, at: DriveOffset, bytes: u64, by: Sequence) {
        self.take_away(drive, at, bytes, by);
        self.displacements += 1;
    }

    pub(crate) fn moved(
        &mut self,
        from: (u16, DriveOffset),
        to: (u16, DriveOffset),
        bytes: u64,
        by: Sequence,
    ) {
        self.take_away(from.0, from.1, bytes, by);
        self.placed(to.0, to.1, bytes);
    }

    fn take_away(&mut self, drive: u16, at: DriveOffset, bytes: u64, by: Sequence) {
        let Some(zone) = self.zone_at(drive, at) else { return };
        let held = self.zones.entry(zone).or_default();
        assert!(bytes <= held.live, "{bytes} bytes of zone {zone:?} went, {} are in use", held.live);
        held.live -= bytes;
        held.displaced = held.displaced.max(by);
    }

    pub(crate) fn zone(&self, zone: ZoneId) -> ZoneUse {
        self.zones.get(&zone).copied().unwrap_or_default()
    }

    /// Forgets a zone that was released.
    pub(crate) fn forget(&mut self, zone: ZoneId) {
        self.zones.remove(&zone);
    }

    /// The first zone whose bytes in use are not those of `other`, with both.
    pub(crate) fn differs(&self, other: &Usage) -> Option<(ZoneId, u64, u64)> {
        let zones = self.zones.keys().chain(other.zones.keys());
        let both = zones.map(|zone| (*zone, self.zone(*zone).live, other.zone(*zone).live));
        both.into_iter().find(|(_, ours, theirs)| ours != theirs)
    }
}

/// A zone that might be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) zone: ZoneId,
    /// Bytes of it in use.
    pub(crate) live: u64,
    /// Bytes that small objects can have in it.
    pub(crate) room: u64,
    /// How much was written since it was filled.
    pub(crate) age: u64,
}

/// Which zones to clean now: those with the best gain for the work, the old ones before the new (what is still in use
/// there will stay), until their bytes in use fill `output` bytes.
///
/// Empty when cleaning would not make a zone free: all gains together stay below `gain_min`.
/// Source: cost-benefit cleaning, Rosenblum and Ousterhout, "The Design and Implementation of a Log-Structured File
/// System", section 3.6.
pub(crate) fn victims(
    mut candidates: Vec<Candidate>,
    output: u64,
    gain_min: u64,
    live_share_max: u64,
) -> Vec<ZoneId> {
    let score = |candidate: &Candidate| {
        let (room, live) = (u128::from(candidate.room), u128::from(candidate.live.min(candidate.room)));
        let weight = (candidate.age.saturating_add(1).saturating_mul(1 << 20)).isqrt();
        (room - live) * u128::from(weight) / (room + live).max(1)
    };
    candidates.retain(|candidate| candidate.live.saturating_mul(100) <= candidate.room * live_share_max);
    candidates.sort_by_key(|candidate| (std::cmp::Reverse(score(candidate)), candidate.zone));
    let (mut chosen, mut live, mut gain) = (Vec::new(), 0, 0);
    for candidate in candidates {
        if !chosen.is_empty() && output < live + candidate.live {
            continue;
        }
        live += candidate.live;
        gain += candidate.room.saturating_sub(candidate.live);
        chosen.push(candidate.zone);
    }
    if gain < gain_min { Vec::new() } else { chosen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptier_and_older_zones_first() {
        let candidate = |zone, live, age| Candidate { zone: (0, zone), live, room: 100, age };
        let all =
            vec![candidate(1, 90, 5), candidate(2, 20, 5), candidate(3, 20, 50), candidate(4, 100, 900)];
        let chosen = |output, gain_min, share| victims(all.clone(), output, gain_min, share);
        assert_eq!(chosen(40, 100, 97), [(0, 3), (0, 2)]);
        assert_eq!(chosen(30, 10, 97), [(0, 3)]);
        assert_eq!(chosen(1000, 100, 97), [(0, 3), (0, 2), (0, 1)]);
        assert_eq!(chosen(1000, 500, 97), [], "not worth it");
        assert_eq!(chosen(1000, 10, 15), []);
    }

    #[test]
    fn counts() {
        let mut usage = Usage { zone_bytes: vec![1 << 20], ..Usage::default() };
        let at = |zone: u64| DriveOffset(ZONES_AT + (zone << 20) + 5000);
        usage.placed(0, at(3), 70);
        usage.placed(0, at(3), 30);
        usage.displaced(0, at(3), 70, Sequence(9));
        usage.moved((0, at(3)), (0, at(4)), 30, Sequence(12));
        assert_eq!(usage.zone((0, 3)), ZoneUse { live: 0, displaced: Sequence(12) });
        assert_eq!((usage.zone((0, 4)).live, usage.displacements), (30, 1));
        assert_eq!(usage.zone_at(0, DriveOffset(0)), None);
        assert_eq!(usage.zone_at(9, at(1)), None);
    }
}
