//! The anchor: where a shard's newest checkpoint is and where its log goes on. See FORMAT.md, "Anchor".
//!
//! `meta::checkpoint` writes one when a checkpoint is complete. Each shard has two slots in turn, each with a copy at the
//! head and one at the tail of its drive. I1. The slot of the newest anchor is never written.

use bytes::Bytes;

use super::page::{PageRef, decode_ref, encode_ref};
use super::zone::{is_sealed, seal};
use super::{Malformed, Put, Reader, is_zero};
use crate::limits::SHARDS_MAX;
use crate::mutant::{Mutant, seeded};
use crate::units::{BLOCK_BYTES, BucketId, DriveOffset, Sequence, ShardId};

/// Table pages that one anchor can list; with 1 MiB each, room for some 50,000 leaves a page.
pub const TABLE_PAGES_MAX: usize = 190;
/// Where the anchors stand behind the superblock copies, at the head and at the tail. Not at 64 KiB, where a file system
/// (Btrfs) has its own first block: a drive with that must not pass for one that was formatted by half.
const ANCHORS_AT: u64 = 128 * 1024;
const MAGIC: [u8; 8] = *b"NILASAN\0";
/// Bytes of the fields of an anchor without table pages, as formatting writes it.
const FIRST_BYTES: usize = 92;
const BLOCK: usize = 4096;

/// What an anchor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The store, as in the superblock.
    pub store: u128,
    /// Whose.
    pub shard: ShardId,
    /// Number of the checkpoint, from 1.
    pub number: u64,
    /// The checkpoint holds the effect of every record up to this one, and of none behind it.
    pub covered: Sequence,
    /// Position of the log zone that `log_at` lies in.
    pub log_position: u64,
    /// Where the first log block behind `covered` starts, unless it found no room there.
    pub log_at: DriveOffset,
    /// The number of that block.
    pub log_number: u64,
    /// The highest bucket id ever given out; shard 0 only.
    pub last_bucket: BucketId,
    /// When it was written, milliseconds since 1970.
    pub created_ms: u64,
    /// The table of leaves, in order.
    pub table: Vec<PageRef>,
}

impl Anchor {
    /// Where the two copies of a slot stand; `number` chooses between the two slots.
    pub fn places(shard: ShardId, number: u64, drive_bytes: u64) -> [DriveOffset; 2] {
        let offset = ANCHORS_AT + (u64::from(shard.0) * 2 + number % 2) * BLOCK_BYTES;
        let tail = drive_bytes.saturating_sub(super::superblock::TAIL_BYTES);
        [DriveOffset(offset), DriveOffset(tail + offset)]
    }

    /// The anchors' part of the head or tail of a drive, from its start.
    pub fn range() -> std::ops::Range<u64> {
        ANCHORS_AT..ANCHORS_AT + 2 * u64::from(SHARDS_MAX) * BLOCK_BYTES
    }

    /// Whether a block in that part may be what an interrupted formatting left: nothing, or some sectors of a first
    /// anchor, which has only fields in its first sector and its checksum at the end.
    pub fn is_blank_or_first(block: &[u8]) -> bool {
        let rest = match block.split_last_chunk::<8>() {
            Some((rest, _)) => rest,
            None => block,
        };
        let (fields, zeros) = rest.split_at_checked(FIRST_BYTES).unwrap_or((rest, &[]));
        let is_first = || {
            fields.starts_with(&MAGIC)
                && fields.get(32..40) == Some(&1_u64.to_le_bytes())
                && fields.get(88..) == Some(&0_u32.to_le_bytes())
        };
        is_zero(zeros) && (is_zero(fields) || is_first())
    }

    /// One block.
    pub fn encode(&self) -> [u8; BLOCK] {
        assert!(self.table.len() <= TABLE_PAGES_MAX);
        let mut out = Vec::with_capacity(BLOCK);
        out.raw(&MAGIC).u128(self.store).u16(self.shard.0).u16(0).u32(0);
        out.u64(self.number).u64(self.covered.0);
        out.u64(self.log_position).u64(self.log_at.0).u64(self.log_number);
        out.u64(self.last_bucket.0).u64(self.created_ms).length(self.table.len());
        for page in &self.table {
            encode_ref(page, &mut out);
        }
        seal(out)
    }

    /// Reads one block; `None` when it is no anchor of this shard.
    pub fn decode(block: &[u8], store: u128, shard: ShardId) -> Option<Anchor> {
        if !is_sealed(block) && !seeded(Mutant::AnchorUnchecked) {
            return None;
        }
        let mut r = Reader::new(Bytes::copy_from_slice(block));
        let mut read = || -> Result<Option<Anchor>, Malformed> {
            let fits = r.take(8, "magic")?.as_ref() == MAGIC.as_slice()
                && r.u128("store")? == store
                && r.u16("shard")? == shard.0
                && r.u16("reserved")? == 0
                && r.u32("reserved")? == 0;
            if !fits {
                return Ok(None);
            }
            let mut anchor = Anchor {
                store,
                shard,
                number: r.u64("number")?,
                covered: Sequence(r.u64("covered")?),
                log_position: r.u64("log position")?,
                log_at: DriveOffset(r.u64("log at")?),
                log_number: r.u64("log number")?,
                last_bucket: BucketId(r.u64("last bucket")?),
                created_ms: r.u64("created")?,
                table: Vec::new(),
            };
            let count = r.count(20, "table pages")?;
            if TABLE_PAGES_MAX < count {
                return Ok(None);
            }
            for _ in 0..count {
                anchor.table.push(decode_ref(&mut r)?);
            }
            Ok(Some(anchor))
        };
        read().ok().flatten()
    }
}

/// Fuzz entry: whatever decodes, encodes to a block that decodes to the same.
pub fn fuzz_anchor(bytes: &[u8]) {
    // The checksum is made right, or no input would ever get behind it.
    let mut fields = bytes.to_vec();
    fields.truncate(BLOCK - 8);
    let block = seal(fields);
    let (store, shard) = match (block.get(8..24), block.get(24..26)) {
        (Some(store), Some(shard)) => (
            u128::from_le_bytes(store.try_into().unwrap_or_default()),
            u16::from_le_bytes(shard.try_into().unwrap_or_default()),
        ),
        _ => return,
    };
    if let Some(anchor) = Anchor::decode(&block, store, ShardId(shard)) {
        assert_eq!(Anchor::decode(&anchor.encode(), store, ShardId(shard)), Some(anchor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_byte() {
        let page = PageRef { at: DriveOffset(77), bytes: 4000, crc: 9 };
        let anchor = Anchor {
            store: 5,
            shard: ShardId(2),
            number: 8,
            covered: Sequence(100),
            log_position: 3,
            log_at: DriveOffset(8192),
            log_number: 12,
            last_bucket: BucketId(4),
            created_ms: 6,
            table: vec![page; TABLE_PAGES_MAX],
        };
        let block = anchor.encode();
        assert_eq!(Anchor::decode(&block, 5, ShardId(2)), Some(anchor.clone()));
        assert_eq!(Anchor::decode(&block, 6, ShardId(2)), None);
        assert_eq!(Anchor::decode(&block, 5, ShardId(3)), None);
        for at in 0..block.len() {
            let mut bad = block;
            bad[at] ^= 2;
            assert_eq!(Anchor::decode(&bad, 5, ShardId(2)), None, "byte {at}");
            fuzz_anchor(&bad);
        }
        assert!(!Anchor::is_blank_or_first(&block), "a later one");
        let first = Anchor { number: 1, covered: Sequence(0), table: Vec::new(), ..anchor }.encode();
        for written in 0_u8..=255 {
            let mut torn = [0; BLOCK];
            for (sector, (to, from)) in torn.chunks_mut(512).zip(first.chunks(512)).enumerate() {
                if written & (1 << sector) != 0 {
                    to.copy_from_slice(from);
                }
            }
            assert!(Anchor::is_blank_or_first(&torn), "sectors {written:#010b} of a first one");
            torn[700] = 1;
            assert!(!Anchor::is_blank_or_first(&torn), "and something else");
        }
        let [a, b] = [Anchor::places(ShardId(63), 1, 1 << 30), Anchor::places(ShardId(0), 2, 1 << 30)];
        assert!(a[0].0 + BLOCK_BYTES <= super::super::superblock::ZONES_AT);
        assert!(a[1].0 + BLOCK_BYTES <= 1 << 30);
        assert_ne!(a, b);
    }
}
