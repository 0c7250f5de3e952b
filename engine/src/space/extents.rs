//! Free space in a shard's extent zones. Pure; owned by the shard's core.
//!
//! I1. Free runs never overlap and never touch: neighbours are merged. I2. What is handed out is not free until it is
//! released. I3. All extents of one reservation but the last hold whole 64 KiB units, so no unit spans two extents.

use std::collections::BTreeMap;

use crate::format::record::Extent;
use crate::units::{DriveOffset, UNIT_BYTES, round_up_to_block};

/// Free runs of all drives, by (drive, start).
#[derive(Debug, Default)]
pub(crate) struct FreeSpace {
    runs: BTreeMap<(u16, u64), u64>,
    free_bytes: u64,
}

impl FreeSpace {
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// All free runs, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Extent> {
        self.runs.iter().map(|((drive, at), held)| Extent {
            drive: *drive,
            at: DriveOffset(*at),
            bytes: *held,
        })
    }

    /// Adds a run: a new zone, or an extent that nothing uses any more.
    pub(crate) fn release(&mut self, drive: u16, at: DriveOffset, bytes: u64) {
        let (mut start, mut end) = (at.0, at.0 + bytes);
        if let Some((&(_, before), &held)) = self.runs.range((drive, 0)..(drive, start)).next_back() {
            assert!(before + held <= start, "space released twice");
            if before + held == start {
                self.runs.remove(&(drive, before));
                start = before;
            }
        }
        if let Some((&(_, after), &held)) = self.runs.range((drive, at.0)..=(drive, u64::MAX)).next() {
            assert!(end <= after, "space released twice");
            if after == end {
                self.runs.remove(&(drive, after));
                end = after + held;
            }
        }
        self.runs.insert((drive, start), end - start);
        self.free_bytes += bytes;
    }

    /// Takes a run that is known to be in use (at start, for every live extent); `false` when it is not all free.
    pub(crate) fn take_exact(&mut self, extent: Extent) -> bool {
        let key = (extent.drive, extent.at.0);
        let Some((&(drive, start), &held)) = self.runs.range(..=key).next_back() else { return false };
        let (end, extent_end) = (start + held, extent.at.0.saturating_add(extent.bytes));
        if drive != extent.drive || end < extent_end {
            return false;
        }
        self.runs.remove(&(drive, start));
        if start < extent.at.0 {
            self.runs.insert((drive, start), extent.at.0 - start);
        }
        if extent_end < end {
            self.runs.insert((drive, extent_end), end - extent_end);
        }
        self.free_bytes -= extent.bytes;
        true
    }

    /// Space for a blob of `size` bytes, in as few extents as the free runs allow; `None` takes nothing.
    pub(crate) fn reserve(&mut self, size: u64) -> Option<Vec<Extent>> {
        let mut wanted = round_up_to_block(size);
        if wanted == 0 {
            return Some(Vec::new());
        }
        let one = self.runs.iter().filter(|(_, held)| wanted <= **held).min_by_key(|(_, held)| **held);
        if let Some((&(drive, at), _)) = one {
            let extent = Extent { drive, at: DriveOffset(at), bytes: wanted };
            assert!(self.take_exact(extent));
            return Some(vec![extent]);
        }
        let mut runs: Vec<((u16, u64), u64)> = self.runs.iter().map(|(key, held)| (*key, *held)).collect();
        runs.sort_by_key(|(_, held)| std::cmp::Reverse(*held));
        let mut extents = Vec::new();
        for ((drive, at), held) in runs {
            let bytes = if wanted <= held { wanted } else { held - held % UNIT_BYTES };
            if bytes == 0 {
                break;
            }
            extents.push(Extent { drive, at: DriveOffset(at), bytes });
            wanted -= bytes;
            if wanted == 0 {
                for extent in &extents {
                    assert!(self.take_exact(*extent));
                }
                return Some(extents);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn takes_gives_and_merges() {
        let mut free = FreeSpace::default();
        free.release(0, DriveOffset(0), 256 * KIB);
        free.release(0, DriveOffset(256 * KIB), 256 * KIB);
        assert_eq!(free.runs.len(), 1, "neighbours are one run");
        let a = free.reserve(100 * KIB).expect("room");
        let b = free.reserve(200 * KIB).expect("room");
        assert_eq!((a[0].bytes, b[0].at), (100 * KIB, DriveOffset(100 * KIB)));
        free.release(0, a[0].at, a[0].bytes);
        let c = free.reserve(290 * KIB).expect("two runs together");
        assert_eq!(c.len(), 2);
        assert!(c[0].bytes.is_multiple_of(UNIT_BYTES));
        assert!(free.reserve(64 * KIB).is_none());
        let before = free.free_bytes();
        for extent in b.iter().chain(&c) {
            free.release(0, extent.at, extent.bytes);
        }
        assert_eq!((free.runs.len(), free.free_bytes()), (1, 512 * KIB));
        assert!(before < free.free_bytes());
        assert_eq!(free.reserve(0), Some(Vec::new()), "no extent without bytes: it could not be read back");
    }

    #[test]
    fn exact_runs_at_start() {
        let mut free = FreeSpace::default();
        free.release(0, DriveOffset(4096), 1 << 20);
        let extent = |at, bytes| Extent { drive: 0, at: DriveOffset(at), bytes };
        assert!(free.take_exact(extent(8192, 4096)));
        assert!(!free.take_exact(extent(8192, 4096)), "taken already");
        assert!(!free.take_exact(extent(0, 4096)), "never free");
        assert!(free.take_exact(extent(4096, 4096)));
        assert_eq!(free.free_bytes(), (1 << 20) - 8192);
    }
}
