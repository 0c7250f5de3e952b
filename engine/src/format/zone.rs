//! The zone header: what a zone is used for and by which shard. See FORMAT.md, "Zone header".
//!
//! Written twice (first and last block of the zone) before a zone is used; a zone without one is free.

use bytes::Bytes;

use super::checksum::crc64;
use super::{Malformed, Put, Reader};
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
}

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
    /// For a log zone its place in the shard's log, from 0; for an extent zone 0.
    pub position: u64,
}

/// What the header block of a zone holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneState {
    /// Only zeros, or a header of another store: free.
    Free,
    /// In use.
    Used(ZoneHeader),
    /// Neither: damaged.
    Damaged,
}

impl ZoneHeader {
    /// One block.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut out = Vec::with_capacity(BLOCK);
        out.raw(&MAGIC).u128(self.store).u32(self.zone);
        out.u8(match self.kind {
            ZoneKind::Log => 1,
            ZoneKind::Extent => 2,
        });
        out.u8(0).u16(self.shard.0).u64(self.position);
        seal(out)
    }

    /// Reads one header block of zone `zone` of store `store`.
    pub fn decode(block: &[u8], store: u128, zone: u32) -> ZoneState {
        if block.iter().all(|byte| *byte == 0) {
            return ZoneState::Free;
        }
        if !is_sealed(block) {
            return ZoneState::Damaged;
        }
        let mut r = Reader::new(Bytes::copy_from_slice(block));
        let mut read = || -> Result<ZoneHeader, Malformed> {
            if r.take(8, "magic")?.as_ref() != MAGIC.as_slice() {
                return r.malformed("magic");
            }
            let store = r.u128("store")?;
            let zone = r.u32("zone")?;
            let kind = match r.u8("kind")? {
                1 => ZoneKind::Log,
                2 => ZoneKind::Extent,
                _ => return r.malformed("kind"),
            };
            r.u8("reserved")?;
            Ok(ZoneHeader {
                store,
                zone,
                kind,
                shard: ShardId(r.u16("shard")?),
                position: r.u64("position")?,
            })
        };
        match read() {
            Ok(header) if header.store != store => ZoneState::Free,
            Ok(header) if header.zone == zone => ZoneState::Used(header),
            _ => ZoneState::Damaged,
        }
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
        let mut bad = block;
        bad[20] ^= 1;
        assert_eq!(ZoneHeader::decode(&bad, 5, 3), ZoneState::Damaged);
    }
}
