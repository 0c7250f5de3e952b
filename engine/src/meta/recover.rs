//! From what is on the drives back to indexes: which zones are whose, then each shard's log, replayed in order.
//!
//! `store` runs this on every core at start, before anything is served. I1. Nothing is written here. I2. A log block
//! that is missing while a later one is there was durable once: the shard keeps what can be read and takes no more
//! writes; its log is never cut off. I3. What was read may not yet have been durable (the process may have died before
//! its flush ended): the caller flushes the drive before it serves.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use super::checkpoint::LoadedCheckpoint;
use super::index::{Index, NoEffects};
use super::log::{LogTail, LogZone};
use crate::drive::{Buffer, Drive};
use crate::error::{Corrupt, EngineError};
use crate::format::anchor::Anchor;
use crate::format::block::{BlockHeader, HEADER_BYTES};
use crate::format::cell::BlobLocation;
use crate::format::record::Record;
use crate::format::superblock::Superblock;
use crate::format::zone::{ZoneHeader, ZoneKind, ZoneState};
use crate::mutant::{Mutant, seeded};
use crate::platform::{LocalFuture, Platform};
use crate::space::extents::FreeSpace;
use crate::space::usage::Usage;
use crate::space::zones::ZoneTable;
use crate::units::{BLOCK_BYTES, DriveOffset, Sequence, ShardId};

/// Bytes read at once from a log.
const READ_BYTES: u64 = 1 << 20;
/// How far behind the last good block a later one is looked for.
const LOOK_AHEAD_BYTES: u64 = 16 << 20;
/// Zone headers read at once.
const HEADER_READS: usize = 32;

/// The zones of one drive that are in use.
#[derive(Debug, Default)]
pub(crate) struct ZoneMap {
    pub(crate) used: Vec<ZoneHeader>,
    /// Zones whose headers are neither empty nor whole.
    pub(crate) damaged: Vec<u32>,
}

/// Reads all zone headers of a drive and marks the zones in use.
pub(crate) async fn scan_zones(
    drive: &dyn Drive,
    superblock: &Superblock,
    table: &ZoneTable,
) -> Result<ZoneMap, EngineError> {
    let mut map = ZoneMap::default();
    let zones: Vec<u32> = (0..superblock.zone_count).collect();
    for group in zones.chunks(HEADER_READS) {
        let reads = group.iter().map(|zone| read_zone_state(drive, superblock, *zone));
        for (zone, state) in group.iter().zip(futures_util::future::join_all(reads).await) {
            match state? {
                ZoneState::Used(header) => {
                    table.mark(*zone);
                    map.used.push(header);
                }
                // Another core may be taking it at this moment: then it was free when the store was opened. Or it has found
                // the damage before us.
                ZoneState::Damaged if !table.is_taken(*zone) || table.is_damaged(*zone) => {
                    table.mark_damaged(*zone);
                    map.damaged.push(*zone);
                }
                ZoneState::Released => table.mark_written_before(*zone),
                ZoneState::Free | ZoneState::Damaged => {}
            }
        }
    }
    Ok(map)
}

async fn read_zone_state(
    drive: &dyn Drive,
    superblock: &Superblock,
    zone: u32,
) -> Result<ZoneState, EngineError> {
    let block = usize::try_from(BLOCK_BYTES).expect("4 KiB");
    let mut states = [ZoneState::Damaged; 2];
    let mut unreadable = Vec::new();
    for (state, at) in states.iter_mut().zip(superblock.zone_headers(zone)) {
        let (buffer, result) = drive.read(at, Buffer::unpooled(block)).await;
        match result {
            Ok(()) => *state = ZoneHeader::decode(buffer.as_slice(), superblock.store, zone),
            // As good as damaged, while the other copy tells what the zone is.
            Err(error) => unreadable.push(error),
        }
    }
    match (judge(states), unreadable.pop()) {
        (ZoneState::Damaged, Some(error)) => Err(error.into()),
        (state, _) => Ok(state),
    }
}

/// A grant writes the first copy and then the second one, releasing the second and then the first: between the two
/// the first copy alone says what the zone is.
pub(crate) fn judge(copies: [ZoneState; 2]) -> ZoneState {
    match copies {
        [ZoneState::Used(a), ZoneState::Used(b)] if a != b => ZoneState::Damaged,
        [ZoneState::Used(header), _] | [ZoneState::Damaged, ZoneState::Used(header)] => {
            ZoneState::Used(header)
        }
        // A first copy that says released was written last of the two, and is written first by the next grant.
        [ZoneState::Released, ZoneState::Released | ZoneState::Damaged]
        | [ZoneState::Damaged, ZoneState::Released] => ZoneState::Released,
        [ZoneState::Free, ZoneState::Free | ZoneState::Released]
        | [ZoneState::Released | ZoneState::Damaged, ZoneState::Free] => ZoneState::Free,
        _ => ZoneState::Damaged,
    }
}

/// What a shard's checkpoint and log gave.
pub(crate) struct Replayed {
    pub(crate) index: Index,
    /// The checkpoint that the index was built on.
    pub(crate) anchor: Anchor,
    pub(crate) tail: LogTail,
    /// All log zones of the shard: before the checkpoint's cut they only hold small objects.
    pub(crate) zones: Vec<LogZone>,
    /// Why the shard may not be written any more.
    pub(crate) damage: Option<EngineError>,
}

/// Replays the log of `shard` behind `loaded`.
pub(crate) async fn replay(
    drive: &Rc<dyn Drive>,
    platform: &Rc<dyn Platform>,
    superblock: &Superblock,
    shard: ShardId,
    used: &[ZoneHeader],
    loaded: LoadedCheckpoint,
) -> Replayed {
    // What a file system laid out cannot be told from headers, so zeros may go ahead once more than they must.
    let is_fresh = !drive.is_preallocated();
    let mut zones: Vec<LogZone> = used
        .iter()
        .filter(|header| header.kind == ZoneKind::Log && header.shard == shard)
        .map(|header| LogZone::of(superblock, header.zone, header.position, is_fresh))
        .collect();
    zones.sort_by_key(|zone| zone.position);
    let anchor = loaded.anchor;
    let behind: Vec<LogZone> =
        zones.iter().filter(|zone| anchor.log_position <= zone.position).copied().collect();
    let (position, at) = (anchor.log_position, anchor.log_at);
    let nowhere = LogZone { zone: 0, position, start: at, end: at, is_fresh };
    let tail = LogTail {
        zone: behind.first().copied().unwrap_or(nowhere),
        at: anchor.log_at,
        number: anchor.log_number,
        last: anchor.covered,
        replayed_bytes: 0,
        replayed_records: 0,
    };
    let mut replay = Replay {
        drive: drive.clone(),
        platform: platform.clone(),
        superblock: *superblock,
        shard,
        index: loaded.index,
        tail,
    };
    let outcome = match loaded.damage {
        Some(damage) => Err(damage),
        None if behind.is_empty() => Err(missing_zone(anchor.log_at, 0, anchor.log_position)),
        None => replay.run(&behind, &anchor).await,
    };
    Replayed { index: replay.index, anchor, tail: replay.tail, zones, damage: outcome.err() }
}

struct Replay {
    drive: Rc<dyn Drive>,
    platform: Rc<dyn Platform>,
    superblock: Superblock,
    shard: ShardId,
    index: Index,
    tail: LogTail,
}

impl Replay {
    async fn run(&mut self, zones: &[LogZone], anchor: &Anchor) -> Result<(), EngineError> {
        for (position, zone) in (anchor.log_position..).zip(zones) {
            if zone.position != position {
                return Err(missing_zone(self.tail.at, zone.position, position));
            }
            let is_first = position == anchor.log_position;
            let from = if is_first { anchor.log_at } else { zone.start };
            if from < zone.start || zone.end < from {
                let (what, got, expected) = ("log cut outside of its zone", from.0, zone.start.0);
                return Err(Corrupt { what, at: from, got, expected }.into());
            }
            let number_before = self.tail.number;
            let end = self.replay_zone(*zone, from).await?;
            if end.is_none() && !is_first {
                // Nothing of the log's next block is here: the log ends in the zone before, if it ends at all.
                self.refuse_later_block(*zone, zone.start).await?;
                continue;
            }
            assert!(number_before <= self.tail.number);
            let at = end.unwrap_or(from);
            self.tail.zone = *zone;
            self.tail.at = at;
            self.refuse_later_block(*zone, at).await?;
        }
        Ok(())
    }

    /// Applies the blocks of one zone from a place on; returns where the next one would start, `None` when there was
    /// none.
    async fn replay_zone(
        &mut self,
        zone: LogZone,
        from: DriveOffset,
    ) -> Result<Option<DriveOffset>, EngineError> {
        let mut at = from;
        let mut end = None;
        let mut ahead = self.start_read(at, zone.end);
        while at.0 < zone.end.0 {
            let bytes = ahead.await?;
            // The next piece is on its way while this one is applied; it is the right one unless a block reaches over.
            ahead = self.start_read(at.plus(bytes.len() as u64), zone.end);
            let mut used: u64 = 0;
            while let Some(header) = self.block_at(&bytes, used, at) {
                let stored = header.stored_bytes();
                if zone.end.0 < at.0 + used + stored {
                    break;
                }
                let from = usize::try_from(used).expect("below READ_BYTES");
                let block = match bytes.len() as u64 >= used + stored {
                    true => bytes.slice(from..),
                    false if used > 0 => break,
                    false => self.read(at, stored).await?,
                };
                if !header.is_whole(&block) && !seeded(Mutant::BlockUnchecked) {
                    return Ok(end);
                }
                self.apply(&header, &block)?;
                used += stored;
                end = Some(DriveOffset(at.0 + used));
            }
            if used == 0 {
                break;
            }
            at = at.plus(used);
            if used != bytes.len() as u64 {
                ahead = self.start_read(at, zone.end);
            }
        }
        Ok(end)
    }

    /// Starts reading the next piece of a zone.
    fn start_read(&self, at: DriveOffset, end: DriveOffset) -> LocalFuture<Result<Bytes, EngineError>> {
        if end <= at {
            return Box::pin(std::future::ready(Ok(Bytes::new())));
        }
        let bytes = READ_BYTES.min(end.0 - at.0);
        Box::pin(read_bytes(self.drive.clone(), self.platform.clone(), at, bytes))
    }

    /// The header of the block that the log expects next, if it stands at `used` of `bytes` (read from `at`).
    fn block_at(&self, bytes: &Bytes, used: u64, at: DriveOffset) -> Option<BlockHeader> {
        let from = usize::try_from(used).ok()?;
        let header =
            BlockHeader::decode(bytes.get(from..)?, self.superblock.store, self.shard, at.plus(used))?;
        let expected = (self.tail.number, Sequence(self.tail.last.0 + 1));
        (header.records > 0 && ((header.number, header.first) == expected || seeded(Mutant::BlockAnyNumber)))
            .then_some(header)
    }

    fn apply(&mut self, header: &BlockHeader, block: &Bytes) -> Result<(), EngineError> {
        let damaged = |at: usize| {
            let (what, at) = ("log record", header.at.plus((HEADER_BYTES + at) as u64));
            EngineError::from(Corrupt { what, at, got: 0, expected: 1 })
        };
        let payload = block.slice(HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize);
        let mut from = 0;
        for nth in 0..header.records {
            let (record, length, inline_at) =
                Record::decode(&payload.slice(from..)).map_err(|e| damaged(from + e.at))?;
            let place = |at: usize| header.at.plus((HEADER_BYTES + from + at) as u64);
            let places: Vec<DriveOffset> = inline_at.into_iter().map(place).collect();
            let first = Sequence(self.tail.last.0 + 1);
            if !(seeded(Mutant::LastRecordSkipped) && nth > 0 && nth + 1 == header.records) {
                self.index.apply(first, &record, self.superblock.drive_index, &places, &mut NoEffects);
            }
            if seeded(Mutant::ReplayTwice) {
                self.index.apply(first, &record, self.superblock.drive_index, &places, &mut NoEffects);
            }
            self.tail.last.0 += record.sequences();
            from += length;
        }
        self.tail.number += 1;
        self.tail.replayed_bytes += payload.len() as u64;
        self.tail.replayed_records += u64::from(header.records);
        if from == payload.len() { Ok(()) } else { Err(damaged(from)) }
    }

    /// A block numbered like the expected one or later, behind where the log seems to end, proves that what is missing
    /// was durable once.
    async fn refuse_later_block(&self, zone: LogZone, from: DriveOffset) -> Result<(), EngineError> {
        if seeded(Mutant::LaterBlockIgnored) {
            return Ok(());
        }
        let end = zone.end.0.min(from.0 + LOOK_AHEAD_BYTES);
        let mut at = from;
        while at.0 < end {
            let bytes = self.read(at, READ_BYTES.min(end - at.0)).await?;
            for offset in (0..bytes.len()).step_by(usize::try_from(BLOCK_BYTES).expect("4 KiB")) {
                let here = at.plus(offset as u64);
                let header = BlockHeader::decode(&bytes[offset..], self.superblock.store, self.shard, here);
                if let Some(header) = header.filter(|header| self.tail.number < header.number) {
                    let (what, got) = ("log block before a later one", header.number);
                    return Err(Corrupt { what, at: from, got, expected: self.tail.number }.into());
                }
            }
            at = at.plus(bytes.len() as u64);
        }
        Ok(())
    }

    async fn read(&self, at: DriveOffset, bytes: u64) -> Result<Bytes, EngineError> {
        read_bytes(self.drive.clone(), self.platform.clone(), at, bytes).await
    }
}

async fn read_bytes(
    drive: Rc<dyn Drive>,
    platform: Rc<dyn Platform>,
    at: DriveOffset,
    bytes: u64,
) -> Result<Bytes, EngineError> {
    let buffer = platform.buffer(usize::try_from(bytes).expect("bounded by a zone")).await?;
    let (buffer, result) = drive.read(at, buffer).await;
    result?;
    Ok(buffer.freeze())
}

/// The log goes on nowhere behind `at`; `got` is the position of the next zone that there is, 0 for none.
fn missing_zone(at: DriveOffset, got: u64, expected: u64) -> EngineError {
    Corrupt { what: "position of the log zone behind the one", at, got, expected }.into()
}

/// What the places of a shard's objects say of its space.
pub(crate) struct Space {
    pub(crate) free: FreeSpace,
    pub(crate) usage: Usage,
}

/// Derives the space of a shard: free extents are its extent zones less what its index refers to. `headers` are all its
/// zones on all drives. An error names an extent that two blobs claim, or a place outside of its zones, with its drive:
/// `home`, which the index was read from, for a place that cannot be read.
pub(crate) fn derive_space(
    superblocks: &[Superblock],
    headers: &[(u16, ZoneHeader)],
    index: &Index,
    home: u16,
) -> Result<Space, (u16, Corrupt)> {
    let mut space = Space { free: FreeSpace::default(), usage: Usage::of(superblocks) };
    let mut kinds = HashMap::new();
    for (drive, header) in headers {
        kinds.insert((*drive, header.zone), header.kind);
        if header.kind == ZoneKind::Extent {
            let (at, bytes) = superblocks[usize::from(*drive)].room(header.zone);
            space.free.release(*drive, at, bytes);
        }
    }
    let mut problem = None;
    let read = index.places(|place, size| {
        match place {
            BlobLocation::Log { drive, at } => {
                let zone = space.usage.zone_at(*drive, *at);
                if !matches!(
                    zone.and_then(|zone| kinds.get(&zone)),
                    Some(ZoneKind::Log | ZoneKind::Compaction)
                ) {
                    let what = "place of a small object";
                    problem = Some((*drive, Corrupt { what, at: *at, got: size, expected: 0 }));
                    return false;
                }
                space.usage.placed(*drive, *at, size);
            }
            BlobLocation::Extents(extents) => {
                for extent in extents.iter() {
                    if !space.free.take_exact(*extent) {
                        let (what, at, got) = ("extent", extent.at, extent.bytes);
                        problem = Some((extent.drive, Corrupt { what, at, got, expected: 0 }));
                        return false;
                    }
                }
            }
            BlobLocation::Nowhere | BlobLocation::Parts { .. } => {}
        }
        true
    });
    if let Err(malformed) = read {
        let at = DriveOffset(malformed.at as u64);
        return Err((home, Corrupt { what: malformed.what, at, got: 0, expected: 1 }));
    }
    problem.map_or(Ok(space), Err)
}
