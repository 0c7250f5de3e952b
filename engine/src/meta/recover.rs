//! From what is on the drives back to indexes: which zones are whose, then each shard's log, replayed in order.
//!
//! `store` runs this on every core at start, before anything is served. I1. Nothing is written here. I2. A log block
//! that is missing while a later one is there was durable once: the shard keeps what can be read and takes no more
//! writes; its log is never cut off. I3. What was read may not yet have been durable (the process may have died before
//! its flush ended): the caller flushes the drive before it serves.

use std::rc::Rc;

use bytes::Bytes;

use super::index::{Index, Place};
use super::log::{LogTail, LogZone};
use crate::drive::{Buffer, Drive};
use crate::error::{Corrupt, EngineError};
use crate::format::block::{BlockHeader, HEADER_BYTES};
use crate::format::record::Record;
use crate::format::superblock::Superblock;
use crate::format::zone::{ZoneHeader, ZoneKind, ZoneState};
use crate::platform::Platform;
use crate::space::extents::FreeSpace;
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
                // Another core may be taking it at this moment: then it was free when the store was opened.
                ZoneState::Damaged if !table.is_taken(*zone) => {
                    table.mark(*zone);
                    map.damaged.push(*zone);
                }
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
    let at = superblock.zone_at(zone);
    let block = usize::try_from(BLOCK_BYTES).expect("4 KiB");
    let mut states = [ZoneState::Free; 2];
    for (state, at) in states.iter_mut().zip([at, DriveOffset(at.0 + superblock.zone_bytes - BLOCK_BYTES)]) {
        let (buffer, result) = drive.read(at, Buffer::unpooled(block)).await;
        result?;
        *state = ZoneHeader::decode(buffer.as_slice(), superblock.store, zone);
    }
    Ok(judge(states))
}

/// The first copy is durable before the second is written, and both before the zone is used.
fn judge(copies: [ZoneState; 2]) -> ZoneState {
    match copies {
        [ZoneState::Used(a), ZoneState::Used(b)] if a != b => ZoneState::Damaged,
        [ZoneState::Used(header), _] | [ZoneState::Damaged, ZoneState::Used(header)] => {
            ZoneState::Used(header)
        }
        [ZoneState::Free, ZoneState::Free] | [ZoneState::Damaged, ZoneState::Free] => ZoneState::Free,
        _ => ZoneState::Damaged,
    }
}

/// What a shard's log gave.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) index: Index,
    pub(crate) tail: LogTail,
    /// A zone granted for what comes after `tail.zone`, still empty.
    pub(crate) next_zone: Option<LogZone>,
    /// Why the shard may not be written any more.
    pub(crate) damage: Option<EngineError>,
}

/// Replays the log of `shard` from its zones; an error only when not even its first zone is there.
pub(crate) async fn replay(
    drive: &Rc<dyn Drive>,
    platform: &Rc<dyn Platform>,
    superblock: &Superblock,
    shard: ShardId,
    used: &[ZoneHeader],
) -> Result<Replayed, EngineError> {
    let mut zones: Vec<LogZone> = used
        .iter()
        .filter(|header| header.kind == ZoneKind::Log && header.shard == shard)
        .map(|header| LogZone::of(superblock, header.zone, header.position))
        .collect();
    zones.sort_by_key(|zone| zone.position);
    let first = *zones.first().ok_or(missing_zone(superblock, 0))?;
    let tail = LogTail { zone: first, at: first.start, number: 1, last: Sequence(0) };
    let mut replay = Replay {
        drive: drive.clone(),
        platform: platform.clone(),
        superblock: *superblock,
        shard,
        index: Index::default(),
        tail,
    };
    let outcome = replay.run(&zones).await;
    let next_zone = zones.iter().find(|zone| zone.position == replay.tail.zone.position + 1).copied();
    Ok(Replayed { index: replay.index, tail: replay.tail, next_zone, damage: outcome.err() })
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
    async fn run(&mut self, zones: &[LogZone]) -> Result<(), EngineError> {
        for (expected, zone) in zones.iter().enumerate() {
            if zone.position != expected as u64 {
                return Err(missing_zone(&self.superblock, expected as u64));
            }
            let number_before = self.tail.number;
            let end = self.replay_zone(*zone).await?;
            if end.is_none() && expected > 0 {
                // Nothing of the log's next block is here: the log ends in the zone before, if it ends at all.
                self.refuse_later_block(*zone, zone.start).await?;
                continue;
            }
            assert!(number_before <= self.tail.number);
            let at = end.unwrap_or(zone.start);
            self.tail.zone = *zone;
            self.tail.at = at;
            self.refuse_later_block(*zone, at).await?;
        }
        Ok(())
    }

    /// Applies the blocks of one zone; answers where the next one would start, `None` when there was none.
    async fn replay_zone(&mut self, zone: LogZone) -> Result<Option<DriveOffset>, EngineError> {
        let mut at = zone.start;
        let mut end = None;
        while at.0 < zone.end.0 {
            let bytes = self.read(at, READ_BYTES.min(zone.end.0 - at.0)).await?;
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
                if !header.is_whole(&block) {
                    return Ok(end);
                }
                self.apply(&header, &block)?;
                used += stored;
                self.tail.number += 1;
                self.tail.last = Sequence(header.first.0 + u64::from(header.records) - 1);
                end = Some(DriveOffset(at.0 + used));
            }
            if used == 0 {
                break;
            }
            at = at.plus(used);
        }
        Ok(end)
    }

    /// The header of the block that the log expects next, if it stands at `used` of `bytes` (read from `at`).
    fn block_at(&self, bytes: &Bytes, used: u64, at: DriveOffset) -> Option<BlockHeader> {
        let from = usize::try_from(used).ok()?;
        let header =
            BlockHeader::decode(bytes.get(from..)?, self.superblock.store, self.shard, at.plus(used))?;
        let expected = (self.tail.number, Sequence(self.tail.last.0 + 1));
        (header.records > 0 && (header.number, header.first) == expected).then_some(header)
    }

    fn apply(&mut self, header: &BlockHeader, block: &Bytes) -> Result<(), EngineError> {
        let damaged = |at: usize| {
            let (what, at) = ("log record", header.at.plus((HEADER_BYTES + at) as u64));
            EngineError::from(Corrupt { what, at, got: 0, expected: 1 })
        };
        let payload = block.slice(HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize);
        let mut from = 0;
        for nth in 0..u64::from(header.records) {
            let (record, length, inline_at) =
                Record::decode(&payload.slice(from..)).map_err(|e| damaged(from + e.at))?;
            let place = |at: usize| header.at.plus((HEADER_BYTES + from + at) as u64);
            let places: Vec<DriveOffset> = inline_at.into_iter().map(place).collect();
            let sequence = Sequence(header.first.0 + nth);
            self.index.apply(sequence, &record, self.superblock.drive_index, &places);
            from += length;
        }
        if from == payload.len() { Ok(()) } else { Err(damaged(from)) }
    }

    /// A block numbered like the expected one or later, behind where the log seems to end, proves that what is missing
    /// was durable once.
    async fn refuse_later_block(&self, zone: LogZone, from: DriveOffset) -> Result<(), EngineError> {
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
        let buffer = self.platform.buffer(usize::try_from(bytes).expect("bounded by a zone")).await?;
        let (buffer, result) = self.drive.read(at, buffer).await;
        result?;
        Ok(buffer.freeze())
    }
}

fn missing_zone(superblock: &Superblock, position: u64) -> EngineError {
    let (what, at) = ("log zone header", superblock.zone_at(0));
    Corrupt { what, at, got: u64::MAX, expected: position }.into()
}

/// Free space of a shard: its extent zones less what its index refers to. An error names an extent that two blobs
/// claim or that lies outside.
pub(crate) fn derive_free_space(
    superblock: &Superblock,
    shard: ShardId,
    used: &[ZoneHeader],
    index: &Index,
) -> Result<FreeSpace, Corrupt> {
    let mut free = FreeSpace::default();
    for header in used.iter().filter(|header| header.kind == ZoneKind::Extent && header.shard == shard) {
        let (at, bytes) = extent_room(superblock, header.zone);
        free.give(superblock.drive_index, at, bytes);
    }
    for blob in index.blobs() {
        let Place::Extents(extents) = &blob.place else { continue };
        for extent in extents.iter() {
            if !free.take_exact(*extent) {
                let (what, at) = ("extent", extent.at);
                return Err(Corrupt { what, at, got: extent.bytes, expected: 0 });
            }
        }
    }
    Ok(free)
}

/// The part of an extent zone between its header copies.
pub(crate) fn extent_room(superblock: &Superblock, zone: u32) -> (DriveOffset, u64) {
    (superblock.zone_at(zone).plus(BLOCK_BYTES), superblock.zone_bytes - 2 * BLOCK_BYTES)
}
