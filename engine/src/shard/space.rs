//! The space of one shard as its core knows it: free extents, bytes in use by zone, open readers, and extents that were
//! displaced and are not free yet. Pure, but for the counters that it is given the facts for.
//!
//! `commit` notes here what a record does, `reserve` takes, `maintenance` gives zones back. I1. What a change displaced
//! is free only when the change is durable and its last reader is gone. I2. An extent is in use, displaced, reserved or
//! free: never two of them.

use std::collections::{BTreeSet, VecDeque};

use crate::error::Corrupt;
use crate::format::cell::BlobLocation;
use crate::format::record::Extent;
use crate::format::superblock::Superblock;
use crate::meta::index::{Effects, Index};
use crate::mutant::{Mutant, seeded};
use crate::space::extents::FreeSpace;
use crate::space::pins::Pins;
use crate::space::usage::{Usage, ZoneId};
use crate::units::{DriveOffset, Sequence};

/// Where the bytes of a shard's extent zones are; what is missing from the sum is reserved by writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceFacts {
    /// Bytes of all extent zones of the shard.
    pub granted_bytes: u64,
    /// Bytes that may be reserved.
    pub free_bytes: u64,
    /// Bytes of extents that objects, parts or open readers refer to.
    pub used_bytes: u64,
}

/// The space of one shard.
pub(super) struct SpaceState {
    /// Extents that may be reserved.
    pub(super) free: FreeSpace,
    /// Bytes in use of log and compaction zones.
    pub(super) usage: Usage,
    /// Who reads what.
    pub(super) pins: Pins,
    pub(super) extent_zones: BTreeSet<ZoneId>,
    /// Rises whenever extents became free.
    pub(super) freed_count: u64,
    /// Bytes of all extent zones.
    granted_bytes: u64,
    /// Extents displaced by the record of that sequence, which may not be durable yet.
    pending_free: VecDeque<(Sequence, Vec<Extent>)>,
    /// Displaced for good, but perhaps still read.
    awaiting_readers: Vec<Vec<Extent>>,
}

impl SpaceState {
    /// As recovery derived it.
    pub(super) fn new(
        superblocks: &[Superblock],
        free: FreeSpace,
        usage: Usage,
        extent_zones: BTreeSet<ZoneId>,
    ) -> SpaceState {
        let room = |(drive, zone): &ZoneId| superblocks[usize::from(*drive)].room(*zone).1;
        let granted_bytes = extent_zones.iter().map(room).sum();
        SpaceState {
            free,
            usage,
            pins: Pins::default(),
            extent_zones,
            freed_count: 0,
            granted_bytes,
            pending_free: VecDeque::new(),
            awaiting_readers: Vec::new(),
        }
    }

    /// What a record does to space, when `by` is its last change.
    pub(super) fn effects_of(&mut self, by: Sequence) -> RecordEffects<'_> {
        RecordEffects { usage: &mut self.usage, pending_free: &mut self.pending_free, by }
    }

    /// Adds a zone that was granted for extents.
    pub(super) fn add_zone(&mut self, superblock: &Superblock, zone: u32) {
        let (at, bytes) = superblock.room(zone);
        self.free.release(superblock.drive_index, at, bytes);
        self.extent_zones.insert((superblock.drive_index, zone));
        self.granted_bytes += bytes;
    }

    /// Takes an extent zone out when all of `room` is free; returns whether it was.
    pub(super) fn take_zone(&mut self, zone: ZoneId, room: Extent) -> bool {
        let is_free = self.free.take_exact(room);
        if is_free {
            self.granted_bytes -= room.bytes;
            self.extent_zones.remove(&zone);
        }
        is_free
    }

    /// Frees extents that were reserved and never published.
    pub(super) fn free_reserved(&mut self, extents: &[Extent]) {
        self.freed_count += 1;
        for extent in extents {
            self.free.release(extent.drive, extent.at, extent.bytes);
            if seeded(Mutant::GivenBackTwice) {
                self.free.release(extent.drive, extent.at, extent.bytes);
            }
        }
    }

    /// Makes displaced extents free once their displacement is durable and nobody reads them; returns whether there
    /// were any that might become so.
    pub(super) fn reclaim(&mut self, durable: Sequence) -> bool {
        while self
            .pending_free
            .front()
            .is_some_and(|(sequence, _)| *sequence <= durable || seeded(Mutant::FreeBeforeDurable))
        {
            self.awaiting_readers.extend(self.pending_free.pop_front().map(|(_, extents)| extents));
        }
        if self.awaiting_readers.is_empty() {
            return false;
        }
        let (free, pins, freed_count) = (&mut self.free, &mut self.pins, &mut self.freed_count);
        self.awaiting_readers.retain(|extents| {
            let is_read = extents.first().is_some_and(|first| pins.has_readers(first.drive, first.at));
            if !is_read || seeded(Mutant::PinsIgnored) {
                extents.iter().for_each(|extent| free.release(extent.drive, extent.at, extent.bytes));
                *freed_count += 1;
            }
            is_read
        });
        true
    }

    /// Whether a log or compaction zone holds nothing that anybody needs, when everything up to `durable` is durable.
    pub(super) fn is_unused(&mut self, zone: ZoneId, superblock: &Superblock, durable: Sequence) -> bool {
        let held = self.usage.zone(zone);
        let start = superblock.zone_at(zone.1);
        (held.live == 0 || seeded(Mutant::ZoneReleasedLive))
            && (held.displaced <= durable || seeded(Mutant::ZoneReleasedEarly))
            && (seeded(Mutant::ZoneReleasedWhileRead)
                || !self.pins.has_readers_in(zone.0, start, start.plus(superblock.zone_bytes)))
    }

    /// Takes stock of all space: looks at every object. Damage names an extent that is in use and free at once, or in
    /// use twice, or a zone whose bytes in use were counted wrong.
    pub(super) fn audit(&self, superblocks: &[Superblock], index: &Index) -> Result<SpaceFacts, Corrupt> {
        let mut held: Vec<Extent> = Vec::new();
        let mut counted = Usage::of(superblocks);
        let read = index.places(|place, size| {
            match place {
                BlobLocation::Log { drive, at } => counted.placed(*drive, *at, size),
                BlobLocation::Extents(extents) => held.extend(extents.iter()),
                BlobLocation::Nowhere | BlobLocation::Parts { .. } => {}
            }
            true
        });
        read.map_err(|e| Corrupt { what: e.what, at: DriveOffset(0), got: e.at as u64, expected: 0 })?;
        if let Some((zone, got, expected)) = self.usage.differs(&counted) {
            let at = superblocks[usize::from(zone.0)].zone_at(zone.1);
            return Err(Corrupt { what: "bytes in use of a zone", at, got, expected });
        }
        held.extend(self.pending_free.iter().flat_map(|(_, extents)| extents));
        held.extend(self.awaiting_readers.iter().flatten());
        let used_bytes = held.iter().map(|extent| extent.bytes).sum();
        held.extend(self.free.runs());
        held.sort();
        for pair in held.windows(2) {
            if let [a, b] = pair
                && a.drive == b.drive
                && b.at < a.at.plus(a.bytes)
            {
                return Err(Corrupt { what: "extent held twice", at: b.at, got: a.at.0, expected: b.at.0 });
            }
        }
        let free_bytes = self.free.free_bytes();
        Ok(SpaceFacts { granted_bytes: self.granted_bytes, free_bytes, used_bytes })
    }
}

/// What a record that is appended does to the shard's space.
pub(super) struct RecordEffects<'a> {
    usage: &'a mut Usage,
    pending_free: &'a mut VecDeque<(Sequence, Vec<Extent>)>,
    by: Sequence,
}

impl Effects for RecordEffects<'_> {
    fn placed(&mut self, drive: u16, at: DriveOffset, bytes: u64) {
        self.usage.placed(drive, at, bytes);
    }

    fn displaced(&mut self, drive: u16, at: DriveOffset, bytes: u64) {
        self.usage.displaced(drive, at, bytes, self.by);
    }

    fn moved(&mut self, from: (u16, DriveOffset), to: (u16, DriveOffset), bytes: u64) {
        self.usage.moved(from, to, bytes, self.by);
    }

    fn freed(&mut self, extents: Vec<Extent>) {
        self.pending_free.push_back((self.by, extents));
    }
}
