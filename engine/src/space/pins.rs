//! Which objects of a shard are open for reading, by where their bytes are. Their space is not used again before the
//! last reader is gone.
//!
//! The shard's core opens and looks; readers on any core drop. I1. Only the shard's core makes a reader of what is here,
//! so a place without readers gets none once the index does not refer to it. I2. Everything open is found under the
//! first of its extents and under each of its places in the log, also where an object was opened again after some of it
//! had been moved. `sync::proofs` runs [`share`] and [`is_unread`] under a model checker.

use std::collections::HashMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use crate::blob::Blob;
use crate::format::cell::BlobLocation;
use crate::mutant::{Mutant, seeded};
use crate::sync::{Race, seeded_race, step};
use crate::units::DriveOffset;

/// Entries kept before those without readers are looked for.
const ENTRIES_MIN: usize = 1024;

/// A drive and a place on it.
type Spot = (u16, DriveOffset);

/// The open objects of one shard.
pub(crate) struct Pins {
    open: HashMap<Spot, Weak<[Blob]>>,
    /// What was open at a place when the same object was opened with other places besides: some of it was moved.
    older: Vec<(Spot, Weak<[Blob]>)>,
    purge_at: usize,
}

impl Default for Pins {
    fn default() -> Pins {
        Pins { open: HashMap::new(), older: Vec::new(), purge_at: ENTRIES_MIN }
    }
}

impl Pins {
    /// Opens the bytes of an object; readers that are open already share theirs.
    pub(crate) fn open(&mut self, blobs: Vec<Blob>) -> Arc<[Blob]> {
        let Some(key) = main_place(&blobs) else { return blobs.into() };
        if let Some(open) = self.open.get(&key).and_then(share)
            && *open == *blobs
            && !seeded(Mutant::PinsUnshared)
        {
            return open;
        }
        let blobs: Arc<[Blob]> = blobs.into();
        let weak = Arc::downgrade(&blobs);
        if blobs.len() > 1 {
            for blob in blobs.iter() {
                if let BlobLocation::Log { drive, at } = blob.place {
                    self.note((drive, at), weak.clone());
                }
            }
        }
        self.note(key, weak);
        if self.purge_at <= self.open.len() {
            self.open.retain(|_, weak| weak.strong_count() > 0);
            self.purge_at = (self.open.len() * 2).max(ENTRIES_MIN);
        }
        blobs
    }

    fn note(&mut self, place: Spot, weak: Weak<[Blob]>) {
        if let Some(before) = self.open.insert(place, weak.clone())
            && !before.ptr_eq(&weak)
            && !is_unread(&before)
            && !seeded(Mutant::PinsUnshared)
        {
            self.older.retain(|(_, weak)| !is_unread(weak));
            self.older.push((place, before));
        }
    }

    /// Whether the object whose bytes are known by this place has readers.
    pub(crate) fn has_readers(&mut self, drive: u16, at: DriveOffset) -> bool {
        if self.older.iter().any(|(place, weak)| *place == (drive, at) && !is_unread(weak)) {
            return true;
        }
        let Some(weak) = self.open.get(&(drive, at)) else { return false };
        if !is_unread(weak) {
            return true;
        }
        self.open.remove(&(drive, at));
        false
    }

    /// Whether anything in a range of a drive has readers.
    pub(crate) fn has_readers_in(&mut self, drive: u16, from: DriveOffset, to: DriveOffset) -> bool {
        let inside = |place: &Spot| place.0 == drive && from <= place.1 && place.1 < to;
        let older = self.older.iter().map(|(place, weak)| (place, weak));
        self.open.iter().chain(older).any(|(place, weak)| inside(place) && !is_unread(weak))
    }
}

/// One more reader of what others read; `None` when nobody does.
///
/// The last reader may go at any moment, so the reference is raised first and what that answered is believed.
pub(crate) fn share<T: ?Sized>(readers: &Weak<T>) -> Option<Arc<T>> {
    step();
    if seeded_race(Race::CountBeforeUpgrade) && readers.strong_count() != 0 {
        step();
        return Some(readers.upgrade().expect("somebody was reading"));
    }
    readers.upgrade()
}

/// Whether no reader is left. What the last one did happens before this answers true.
pub(crate) fn is_unread<T: ?Sized>(readers: &Weak<T>) -> bool {
    step();
    if seeded_race(Race::ReuseUnasked) {
        return true;
    }
    let unread = readers.strong_count() == 0;
    // `strong_count` is a relaxed load: the fence is the other half of the release in the last reader's drop.
    fence(Ordering::Acquire);
    unread
}

/// The place under which an object is known: that of its first bytes in extents, which never move.
fn main_place(blobs: &[Blob]) -> Option<(u16, DriveOffset)> {
    let in_extents = blobs.iter().find_map(|blob| match &blob.place {
        BlobLocation::Extents(extents) => extents.first().map(|extent| (extent.drive, extent.at)),
        _ => None,
    });
    in_extents.or_else(|| {
        blobs.iter().find_map(|blob| match blob.place {
            BlobLocation::Log { drive, at } => Some((drive, at)),
            _ => None,
        })
    })
}

#[cfg(all(test, not(feature = "prove-threads")))]
mod tests {
    use super::*;
    use crate::format::cell::Units;
    use crate::format::record::Extent;
    use crate::units::Sequence;

    fn in_log(at: u64) -> Blob {
        let place = BlobLocation::Log { drive: 0, at: DriveOffset(at) };
        Blob { sequence: Sequence(at), size: 9, place, units: Units::of(&[1]) }
    }

    #[test]
    fn readers_are_seen_until_the_last_is_gone() {
        let mut pins = Pins::default();
        let (first, second) = (pins.open(vec![in_log(5000)]), pins.open(vec![in_log(5000)]));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(pins.has_readers(0, DriveOffset(5000)));
        assert!(pins.has_readers_in(0, DriveOffset(4096), DriveOffset(8192)));
        assert!(!pins.has_readers_in(0, DriveOffset(8192), DriveOffset(9000)));
        assert!(!pins.has_readers_in(1, DriveOffset(4096), DriveOffset(8192)));
        drop(first);
        assert!(pins.has_readers(0, DriveOffset(5000)));
        drop(second);
        assert!(!pins.has_readers(0, DriveOffset(5000)));
        let extent = Extent { drive: 2, at: DriveOffset(1 << 20), bytes: 4096 };
        let large = Blob { place: BlobLocation::Extents([extent].into()), ..in_log(7) };
        let mixed = pins.open(vec![in_log(9000), large]);
        assert!(pins.has_readers(2, DriveOffset(1 << 20)) && pins.has_readers(0, DriveOffset(9000)));
        drop(mixed);
        assert!(!pins.has_readers(2, DriveOffset(1 << 20)) && !pins.has_readers(0, DriveOffset(9000)));
        assert!(pins.older.is_empty(), "nothing was moved while it was read");
        for at in 0..5000 {
            drop(pins.open(vec![in_log(at)]));
        }
        assert!(pins.open.len() < 2 * ENTRIES_MIN, "what was read once is forgotten");
    }

    #[test]
    fn readers_from_before_a_move_count() {
        let mut pins = Pins::default();
        let extent = Extent { drive: 2, at: DriveOffset(1 << 20), bytes: 4096 };
        let large = Blob { place: BlobLocation::Extents([extent].into()), ..in_log(7) };
        let before = pins.open(vec![in_log(9000), large.clone()]);
        let after = pins.open(vec![in_log(30_000), large.clone()]);
        drop(after);
        assert!(pins.has_readers(2, DriveOffset(1 << 20)), "the one from before the move");
        assert!(pins.has_readers_in(0, DriveOffset(8192), DriveOffset(12_288)));
        assert!(!pins.has_readers_in(0, DriveOffset(28_672), DriveOffset(32_768)));
        drop(before);
        assert!(!pins.has_readers(2, DriveOffset(1 << 20)));
        drop(pins.open(vec![in_log(9000), large]));
        assert!(!pins.has_readers_in(2, DriveOffset(0), DriveOffset(u64::MAX)));
    }
}
