//! The zone header: what a zone is used for and by which shard. See FORMAT.md, "Zone header".
//!
//! Written twice (first and last block of the zone) before a zone is used, and again when it is released; a zone
//! without one is free.

use bytes::Bytes;

use super::checksum::crc64;
use super::{Malformed, Put, Reader, is_zero};
use crate::mutant::{Mutant, seeded};
use crate::units::ShardId;

const BLOCK: usize = 4096;
const MAGIC: [u8; 8] = *b"NILASZN\0";

/// What a zone holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    /// Log blocks of one shard.
    Log,
    /// Extents of large objects.
    Extent,
    /// Pages of checkpoints.
    Checkpoint,
    /// Small objects that were moved out of log zones.
    Compaction,
}

impl ZoneKind {
    const NUMBERS: [(u8, ZoneKind); 4] =
        [(1, ZoneKind::Log), (2, ZoneKind::Extent), (3, ZoneKind::Checkpoint), (4, ZoneKind::Compaction)];
}

/// The kind of a zone that was released: it is free, and its space has been written before.
const RELEASED: u8 = 0;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneHeader {
    /// The store, as in the superblock.
    pub store: u128,
    /// The zone's own number, against misplaced writes.
    pub zone: u32,
    /// What it holds.
    pub kind: ZoneKind,
    /// The shard that owns it.
    pub shard: ShardId,
    /// For a log zone its place in the shard's log, from 0; for a compaction zone the log position of the shard's newest anchor
    /// at its grant, its age; otherwise 0.
    pub position: u64,
}

/// What the header block of a zone holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneState {
    /// Only zeros, or a header of another store: free.
    Free,
    /// Given back: free, and written before, so that the file system has laid it out.
    Released,
    /// In use.
    Used(ZoneHeader),
    /// Neither: damaged.
    Damaged,
}

impl ZoneHeader {
    /// One block.
    pub fn encode(&self) -> [u8; BLOCK] {
        let number = ZoneKind::NUMBERS.iter().find(|(_, kind)| *kind == self.kind).map(|(number, _)| *number);
        block_of(self.store, self.zone, number.expect("every kind has one"), self.shard, self.position)
    }

    /// The header of a zone that was released.
    pub fn encode_released(store: u128, zone: u32) -> [u8; BLOCK] {
        block_of(store, zone, RELEASED, ShardId(0), 0)
    }

    /// Reads one header block of zone `zone` of store `store`.
    pub fn decode(block: &[u8], store: u128, zone: u32) -> ZoneState {
        if is_zero(block) {
            return ZoneState::Free;
        }
        if !is_sealed(block) && !seeded(Mutant::ZoneHeaderUnchecked) {
            return ZoneState::Damaged;
        }
        let mut r = Reader::new(Bytes::copy_from_slice(block));
        let mut read = || -> Result<(u128, u32, Option<ZoneHeader>), Malformed> {
            if r.take(8, "magic")?.as_ref() != MAGIC.as_slice() {
                return r.malformed("magic");
            }
            let store = r.u128("store")?;
            let zone = r.u32("zone")?;
            let number = r.u8("kind")?;
            let kind = ZoneKind::NUMBERS.iter().find(|(kind, _)| *kind == number).map(|(_, kind)| *kind);
            if kind.is_none() && number != RELEASED {
                return r.malformed("kind");
            }
            r.u8("reserved")?;
            let (shard, position) = (ShardId(r.u16("shard")?), r.u64("position")?);
            Ok((store, zone, kind.map(|kind| ZoneHeader { store, zone, kind, shard, position })))
        };
        match read() {
            Ok((found, ..)) if found != store => ZoneState::Free,
            Ok((_, number, Some(header))) if number == zone => ZoneState::Used(header),
            Ok((_, number, None)) if number == zone => ZoneState::Released,
            _ => ZoneState::Damaged,
        }
    }
}

fn block_of(store: u128, zone: u32, kind: u8, shard: ShardId, position: u64) -> [u8; BLOCK] {
    let mut out = Vec::with_capacity(BLOCK);
    out.raw(&MAGIC).u128(store).u32(zone).u8(kind).u8(0).u16(shard.0).u64(position);
    seal(out)
}

/// Fuzz entry: whatever decodes as a used zone, encodes to a block that decodes to the same.
pub fn fuzz_zone(bytes: &[u8]) {
    let mut fields = bytes.to_vec();
    fields.truncate(BLOCK - 8);
    let block = seal(fields);
    let (store, zone) = match (block.get(8..24), block.get(24..28)) {
        (Some(store), Some(zone)) => (
            u128::from_le_bytes(store.try_into().unwrap_or_default()),
            u32::from_le_bytes(zone.try_into().unwrap_or_default()),
        ),
        _ => return,
    };
    if let ZoneState::Used(header) = ZoneHeader::decode(&block, store, zone) {
        assert_eq!(ZoneHeader::decode(&header.encode(), store, zone), ZoneState::Used(header));
    }
}

/// Pads `fields` to a block that ends in the checksum of all before it.
pub(super) fn seal(mut fields: Vec<u8>) -> [u8; BLOCK] {
    fields.resize(BLOCK - 8, 0);
    let crc = crc64(&fields);
    fields.u64(crc);
    fields.try_into().expect("resized to a block above")
}

/// Whether `block` is a whole block that ends in its checksum.
pub(super) fn is_sealed(block: &[u8]) -> bool {
    match block.split_last_chunk::<8>() {
        Some((fields, crc)) => block.len() == BLOCK && crc64(fields) == u64::from_le_bytes(*crc),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let header = ZoneHeader { store: 5, zone: 3, kind: ZoneKind::Log, shard: ShardId(2), position: 9 };
        let block = header.encode();
        assert_eq!(ZoneHeader::decode(&block, 5, 3), ZoneState::Used(header));
        assert_eq!(ZoneHeader::decode(&block, 6, 3), ZoneState::Free, "another store's");
        assert_eq!(ZoneHeader::decode(&block, 5, 4), ZoneState::Damaged, "misplaced");
        assert_eq!(ZoneHeader::decode(&[0; BLOCK], 5, 3), ZoneState::Free);
        let released = ZoneHeader::encode_released(5, 3);
        assert_eq!(ZoneHeader::decode(&released, 5, 3), ZoneState::Released);
        assert_eq!(ZoneHeader::decode(&released, 5, 4), ZoneState::Damaged);
        assert_eq!(ZoneHeader::decode(&released, 6, 3), ZoneState::Free);
        let mut bad = block;
        bad[20] ^= 1;
        assert_eq!(ZoneHeader::decode(&bad, 5, 3), ZoneState::Damaged);
    }
}
