//! How a zone is taken for a shard and released: its headers on the drive. See FORMAT.md, "Zone header".
//!
//! The log, compaction and growth of extents take zones, maintenance gives them back; which zones are free says
//! `zones`. I1. A zone is used only after both headers are durable. I2. A zone is free only after both headers say so,
//! the second written first.

use crate::drive::{Drive, Durability, block_buffer};
use crate::error::{DriveCause, DriveError, EngineError};
use crate::format::superblock::Superblock;
use crate::format::zone::{ZoneHeader, ZoneKind};
use crate::mutant::{Mutant, seeded};
use crate::space::zones::{Purpose, ZoneTable};
use crate::units::ShardId;

/// A zone that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) zone: u32,
    /// Whether its space may never have been written.
    pub(crate) is_fresh: bool,
}

/// Takes a free zone for a shard: space in the file, then both headers, durable on return.
pub(crate) async fn grant_zone(
    drive: &dyn Drive,
    superblock: &Superblock,
    zones: &ZoneTable,
    shard: ShardId,
    position: u64,
    kind: ZoneKind,
    purpose: Purpose,
) -> Result<Granted, EngineError> {
    let full = EngineError::Full { wanted_bytes: superblock.zone_bytes };
    let zone = zones.claim(purpose).ok_or(full.clone())?;
    let is_fresh = !drive.is_preallocated() && !zones.was_written_before(zone);
    if let Err(error) = make_sure_of(drive, superblock, zones, zone, purpose).await {
        zones.release(zone);
        let no_space = matches!(error.cause, DriveCause::Errno(libc::ENOSPC));
        if no_space {
            zones.note_shortage();
        }
        return Err(if no_space { full } else { error.into() });
    }
    let header = ZoneHeader { store: superblock.store, zone, kind, shard, position };
    let block = header.encode();
    let durability =
        if seeded(Mutant::ZoneHeaderUndurable) { Durability::AfterFlush } else { Durability::OnReturn };
    for at in superblock.zone_headers(zone) {
        drive.write(at, block_buffer(&block), durability).await.1?;
    }
    Ok(Granted { zone, is_fresh })
}

/// Makes sure of space in the file for a zone; when more is to be stored in it, also for the free zones that are kept for
/// maintenance, so that these can be had when the file system is full.
async fn make_sure_of(
    drive: &dyn Drive,
    superblock: &Superblock,
    zones: &ZoneTable,
    zone: u32,
    purpose: Purpose,
) -> Result<(), DriveError> {
    let besides = || if purpose == Purpose::Data { zones.wanting_space() } else { None };
    let mut next = if zones.has_space(zone) { besides() } else { Some(zone) };
    while let Some(zone) = next {
        drive.allocate(superblock.zone_at(zone), superblock.zone_bytes).await?;
        zones.note_space(zone);
        next = besides();
    }
    Ok(())
}

/// Gives a zone back that nothing refers to any more: first the second header, then the first one, so that at every
/// moment the zone is either whole or free. Returns whether somebody waits for a zone.
pub(crate) async fn release_zone(
    drive: &dyn Drive,
    superblock: &Superblock,
    zones: &ZoneTable,
    zone: u32,
) -> Result<bool, EngineError> {
    let block = ZoneHeader::encode_released(superblock.store, zone);
    let [first, second] = superblock.zone_headers(zone);
    for at in if seeded(Mutant::ReleaseFirstCopyFirst) { [first, second] } else { [second, first] } {
        drive.write(at, block_buffer(&block), Durability::OnReturn).await.1?;
    }
    zones.mark_written_before(zone);
    Ok(zones.release(zone))
}
