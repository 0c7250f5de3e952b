//! The log block: a batch of records under one header and one checksum. See FORMAT.md, "Log block".
//!
//! `meta::log` writes one per group commit, `meta::recover` reads them in order.

use bytes::Bytes;

use super::checksum::crc64;
use super::{Put, Reader};
use crate::limits::{LOG_BLOCK_BYTES_MAX, RECORD_BYTES_MAX};
use crate::mutant::{Mutant, seeded};
use crate::units::{DriveOffset, Sequence, ShardId, round_up_to_block};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 72;
const MAGIC: u32 = 0x4b4c_424e; // "NBLK"
const CRC_AT: usize = HEADER_BYTES - 8;
/// Bytes of records that one block may hold.
pub const PAYLOAD_BYTES_MAX: usize =
    if RECORD_BYTES_MAX < LOG_BLOCK_BYTES_MAX { LOG_BLOCK_BYTES_MAX } else { RECORD_BYTES_MAX };

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The store, as in the superblock.
    pub store: u128,
    /// The shard whose log this is.
    pub shard: ShardId,
    /// The block's number in that log: rises by one, starts at 1.
    pub number: u64,
    /// Its own place, against misplaced writes.
    pub at: DriveOffset,
    /// Sequence of the first record.
    pub first: Sequence,
    /// Records in it, all with consecutive sequences.
    pub records: u32,
    /// Bytes of records after the header.
    pub payload_bytes: u32,
    /// Every record up to this one was durable when the block was written.
    pub durable: Sequence,
}

impl BlockHeader {
    /// Writes header and checksum into the front of `block`, whose records stand behind `HEADER_BYTES`.
    pub fn encode_into(&self, block: &mut [u8]) {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.u32(MAGIC).u16(self.shard.0).u16(0);
        out.u128(self.store).u64(self.number).u64(self.at.0).u64(self.first.0);
        out.u32(self.records).u32(self.payload_bytes).u64(self.durable.0);
        assert_eq!(out.len(), CRC_AT);
        let used = HEADER_BYTES + self.payload_bytes as usize;
        assert!(used <= block.len());
        if let Some(front) = block.get_mut(..CRC_AT) {
            front.copy_from_slice(&out);
        }
        let crc = Self::checksum(block, used);
        if let Some(place) = block.get_mut(CRC_AT..HEADER_BYTES) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Reads the header alone; the checksum is not looked at yet. `None`: no block of this log starts here.
    pub fn decode(bytes: &[u8], store: u128, shard: ShardId, at: DriveOffset) -> Option<BlockHeader> {
        let mut r = Reader::new(Bytes::copy_from_slice(bytes.get(..HEADER_BYTES)?));
        if r.u32("magic").ok()? != MAGIC || r.u16("shard").ok()? != shard.0 || r.u16("reserved").ok()? != 0 {
            return None;
        }
        let header = BlockHeader {
            store: r.u128("store").ok()?,
            shard,
            number: r.u64("number").ok()?,
            at: DriveOffset(r.u64("at").ok()?),
            first: Sequence(r.u64("first").ok()?),
            records: r.u32("records").ok()?,
            payload_bytes: r.u32("payload bytes").ok()?,
            durable: Sequence(r.u64("durable").ok()?),
        };
        let fits = header.payload_bytes as usize <= PAYLOAD_BYTES_MAX;
        ((header.store == store || seeded(Mutant::BlockAnyStore)) && header.at == at && fits)
            .then_some(header)
    }

    /// Whether `block` (header and all records) carries the checksum of its content.
    pub fn is_whole(&self, block: &[u8]) -> bool {
        let used = HEADER_BYTES + self.payload_bytes as usize;
        let stored = block.get(CRC_AT..HEADER_BYTES).and_then(|b| b.first_chunk::<8>());
        stored
            .is_some_and(|crc| used <= block.len() && u64::from_le_bytes(*crc) == Self::checksum(block, used))
    }

    /// Bytes on the drive: whole drive blocks.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(self.payload_bytes as usize)
    }

    fn checksum(block: &[u8], used: usize) -> u64 {
        let front = block.get(..CRC_AT).map_or(0, crc64);
        let payload = block.get(HEADER_BYTES..used).map_or(0, crc64);
        front.rotate_left(1) ^ payload
    }
}

/// Bytes on the drive of a block with `payload_bytes` of records.
pub fn stored_bytes(payload_bytes: usize) -> u64 {
    round_up_to_block((HEADER_BYTES + payload_bytes) as u64)
}

/// Fuzz entry: whatever passes for the header of a block encodes to the same header.
pub fn fuzz_block(bytes: &[u8]) {
    let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
    let store = part(8, 24).try_into().map_or(0, u128::from_le_bytes);
    let shard = part(4, 6).try_into().map_or(0, u16::from_le_bytes);
    let at = part(32, 40).try_into().map_or(0, u64::from_le_bytes);
    if let Some(header) = BlockHeader::decode(bytes, store, ShardId(shard), DriveOffset(at)) {
        assert!(!header.is_whole(part(0, HEADER_BYTES - 1)));
        let mut again = vec![0; HEADER_BYTES + header.payload_bytes as usize];
        header.encode_into(&mut again);
        assert!(header.is_whole(&again));
        assert_eq!(BlockHeader::decode(&again, store, ShardId(shard), DriveOffset(at)), Some(header));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_byte() {
        let header = BlockHeader {
            store: 77,
            shard: ShardId(3),
            number: 12,
            at: DriveOffset(1 << 20),
            first: Sequence(100),
            records: 2,
            payload_bytes: 300,
            durable: Sequence(98),
        };
        let mut block = vec![0_u8; 4096];
        for (i, byte) in block.iter_mut().enumerate().skip(HEADER_BYTES).take(300) {
            *byte = u8::try_from(i % 251).expect("below 256");
        }
        header.encode_into(&mut block);
        let read = |b: &[u8]| BlockHeader::decode(b, 77, ShardId(3), DriveOffset(1 << 20));
        assert_eq!(read(&block), Some(header));
        assert!(header.is_whole(&block));
        for at in 0..HEADER_BYTES + 300 {
            let mut bad = block.clone();
            bad[at] ^= 4;
            assert!(!read(&bad).is_some_and(|h| h.is_whole(&bad)), "byte {at}");
        }
    }
}
