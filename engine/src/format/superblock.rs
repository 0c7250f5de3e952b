//! The superblock: which store a drive belongs to and how it is divided. See FORMAT.md, "Superblock".
//!
//! `store` writes all copies at format and reads them at start; any valid copy of the highest sequence serves. I1. All
//! that is not zero of a copy lies in its first 512 bytes, the unit that is not torn, so the very first copy of a drive
//! is whole or not there.

use bytes::Bytes;

use super::checksum::crc64;
use super::{Malformed, Put, Reader, is_zero};
use crate::limits::{SHARDS_MAX, ZONE_BYTES_MAX, ZONE_BYTES_MIN};
use crate::mutant::{Mutant, seeded};
use crate::units::{BLOCK_BYTES, DriveOffset};

/// First eight bytes of every copy.
pub const MAGIC: [u8; 8] = *b"NILASSB\0";
/// The format that this program writes; it refuses to open any other.
pub const FORMAT_VERSION: u32 = 3;
/// The oldest format that [`upgrade`](crate::store::upgrade) makes one of this program's.
pub const FORMAT_VERSION_MIN: u32 = 2;
/// Where the first zone starts on every drive.
pub const ZONES_AT: u64 = 1 << 20;
/// Bytes kept at the end of a drive for the last two copies and the second copies of the anchors.
pub const TAIL_BYTES: u64 = 1 << 20;
/// Smallest zone that is chosen by itself.
pub const ZONE_BYTES_USUAL_MIN: u64 = 4 << 20;
const BLOCK: usize = 4096;
/// Where the checksum stands: behind everything it covers, in the same sector of the drive.
const CHECKSUM_AT: usize = SECTOR - 8;
const SECTOR: usize = 512;

/// What the superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The store, random at format.
    pub store: u128,
    /// This drive, random at format.
    pub drive: u128,
    /// Rises with every rewrite.
    pub sequence: u64,
    /// Bytes of the drive that are used.
    pub drive_bytes: u64,
    /// Bytes of one zone.
    pub zone_bytes: u64,
    /// Zones on this drive.
    pub zone_count: u32,
    /// Shards of the store.
    pub shard_count: u16,
    /// This drive's place among the store's drives, from 0.
    pub drive_index: u16,
    /// Drives of the store.
    pub drive_count: u16,
    /// When the store was formatted, milliseconds since 1970.
    pub created_ms: u64,
}

/// What a block that should hold a superblock holds instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSuperblock {
    /// Only zeros.
    Empty,
    /// A superblock of another format than this program's.
    Version {
        /// The version found.
        got: u32,
    },
    /// A superblock of a format from [`FORMAT_VERSION_MIN`] on, older than this program's.
    Upgradable {
        /// The version found.
        got: u32,
        /// What it says.
        superblock: Superblock,
    },
    /// A store whose zones are smaller than `ZONE_BYTES_MIN`.
    SmallZones {
        /// Bytes of a zone.
        got: u64,
    },
    /// Anything else: foreign data, or a damaged copy (`magic` tells whether the first bytes fit).
    Damaged {
        /// Whether the magic was right.
        magic: bool,
        /// The field that is wrong.
        what: &'static str,
    },
}

impl Superblock {
    /// Where the four copies stand on a drive of `drive_bytes`.
    pub fn places(drive_bytes: u64) -> [DriveOffset; 4] {
        let tail = drive_bytes.saturating_sub(TAIL_BYTES);
        [DriveOffset(0), DriveOffset(16 * 1024), DriveOffset(tail), DriveOffset(tail + 16 * 1024)]
    }

    /// Where zone `zone` starts.
    pub fn zone_at(&self, zone: u32) -> DriveOffset {
        DriveOffset(ZONES_AT + u64::from(zone) * self.zone_bytes)
    }

    /// Where the two copies of a zone's header stand: its first and its last block.
    pub fn zone_headers(&self, zone: u32) -> [DriveOffset; 2] {
        let at = self.zone_at(zone);
        [at, DriveOffset(at.0 + self.zone_bytes - BLOCK_BYTES)]
    }

    /// The part of a zone between the copies of its header: where it starts, and its bytes.
    pub fn room(&self, zone: u32) -> (DriveOffset, u64) {
        (self.zone_at(zone).plus(BLOCK_BYTES), self.room_bytes())
    }

    /// Bytes of a zone between the copies of its header.
    pub fn room_bytes(&self) -> u64 {
        self.zone_bytes - 2 * BLOCK_BYTES
    }

    /// One block.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut out = Vec::with_capacity(BLOCK);
        out.raw(&MAGIC).u32(FORMAT_VERSION).u32(0);
        out.u128(self.store).u128(self.drive);
        out.u64(self.sequence).u64(self.drive_bytes).u64(self.zone_bytes);
        out.u32(self.zone_count).u16(self.shard_count).u16(self.drive_index).u16(self.drive_count);
        out.u16(0).u32(0).u64(self.created_ms);
        seal(out)
    }

    /// Reads one block.
    pub fn decode(block: &[u8]) -> Result<Superblock, NotSuperblock> {
        if is_zero(block) {
            return Err(NotSuperblock::Empty);
        }
        let damaged = |magic| move |e: Malformed| NotSuperblock::Damaged { magic, what: e.what };
        let mut r = Reader::new(Bytes::copy_from_slice(block));
        let magic = r.take(8, "magic").map_err(damaged(false))?;
        if magic.as_ref() != MAGIC.as_slice() {
            return Err(NotSuperblock::Damaged { magic: false, what: "magic" });
        }
        if !is_sealed(block) && !seeded(Mutant::SuperblockUnchecked) {
            return Err(match is_first_version(block) {
                true => NotSuperblock::Version { got: 1 },
                false => NotSuperblock::Damaged { magic: true, what: "checksum" },
            });
        }
        let mut read = || -> Result<(u32, Superblock), Malformed> {
            let version = r.u32("version")?;
            r.u32("reserved")?;
            let superblock = Superblock {
                store: r.u128("store")?,
                drive: r.u128("drive")?,
                sequence: r.u64("sequence")?,
                drive_bytes: r.u64("drive bytes")?,
                zone_bytes: r.u64("zone bytes")?,
                zone_count: r.u32("zone count")?,
                shard_count: r.u16("shard count")?,
                drive_index: r.u16("drive index")?,
                drive_count: r.u16("drive count")?,
                created_ms: {
                    r.u16("reserved")?;
                    r.u32("reserved")?;
                    r.u64("created")?
                },
            };
            Ok((version, superblock))
        };
        let (version, superblock) = read().map_err(damaged(true))?;
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Err(NotSuperblock::Version { got: version });
        }
        if block.get(SECTOR..).unwrap_or_default().iter().any(|byte| *byte != 0) {
            return Err(NotSuperblock::Damaged { magic: true, what: "zeros behind the checksum" });
        }
        if superblock.zone_bytes < ZONE_BYTES_MIN {
            return Err(NotSuperblock::SmallZones { got: superblock.zone_bytes });
        }
        superblock.validate().map_err(|what| NotSuperblock::Damaged { magic: true, what })?;
        match version == FORMAT_VERSION {
            true => Ok(superblock),
            false => Err(NotSuperblock::Upgradable { got: version, superblock }),
        }
    }

    fn validate(&self) -> Result<(), &'static str> {
        let zones = u128::from(self.zone_count) * u128::from(self.zone_bytes);
        let needed = u128::from(ZONES_AT) + zones + u128::from(TAIL_BYTES);
        let checks = [
            (is_zone_bytes(self.zone_bytes), "zone bytes: no power of two, or too many"),
            (self.zone_count > 0, "zone count: zero"),
            (needed <= u128::from(self.drive_bytes), "zones beyond the drive"),
            (self.drive_bytes.is_multiple_of(BLOCK_BYTES), "drive bytes: no whole blocks"),
            ((1..=SHARDS_MAX).contains(&self.shard_count), "shard count: out of range"),
            (self.drive_index < self.drive_count, "drive index: out of range"),
        ];
        checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(*what))
    }
}

/// Pads `fields` to a block whose first sector ends in the checksum of all before it.
fn seal(mut fields: Vec<u8>) -> [u8; BLOCK] {
    fields.resize(CHECKSUM_AT, 0);
    let crc = crc64(&fields);
    fields.u64(crc).resize(BLOCK, 0);
    fields.try_into().expect("resized to a block above")
}

/// Whether `block` is a whole block whose first sector ends in its checksum.
fn is_sealed(block: &[u8]) -> bool {
    let sector = block.first_chunk::<SECTOR>().and_then(|sector| sector.split_last_chunk::<8>());
    block.len() == BLOCK && sector.is_some_and(|(fields, crc)| crc64(fields) == u64::from_le_bytes(*crc))
}

/// Whether this is a superblock of version 1, which had its checksum at the end of the block.
fn is_first_version(block: &[u8]) -> bool {
    super::zone::is_sealed(block) && block.get(8..12) == Some(&1_u32.to_le_bytes())
}

/// Whether zones may have so many bytes.
pub fn is_zone_bytes(bytes: u64) -> bool {
    bytes.is_power_of_two() && (ZONE_BYTES_MIN..=ZONE_BYTES_MAX).contains(&bytes)
}

/// How a drive of `drive_bytes` is divided: bytes per zone (unless given) and number of zones; `None` when it is too
/// small.
pub fn divide(drive_bytes: u64, zone_bytes: Option<u64>) -> Option<(u64, u32)> {
    let room = drive_bytes.checked_sub(ZONES_AT + TAIL_BYTES)?;
    let fitting = (room / 1024).next_power_of_two().clamp(ZONE_BYTES_USUAL_MIN, ZONE_BYTES_MAX);
    let zone_bytes = zone_bytes.unwrap_or(fitting);
    let zone_count = u32::try_from(room / zone_bytes).ok()?;
    (zone_count >= 4).then_some((zone_bytes, zone_count))
}

/// Fuzz entry: whatever decodes, encodes back to a block that decodes to the same.
pub fn fuzz_superblock(bytes: &[u8]) {
    // As it is, and with its checksum made right, or no input would ever get behind it.
    let mut fields = bytes.to_vec();
    fields.truncate(CHECKSUM_AT);
    for block in [bytes, seal(fields).as_slice()] {
        if let Ok(superblock) = Superblock::decode(block) {
            assert_eq!(Superblock::decode(&superblock.encode()), Ok(superblock));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock {
            store: 7,
            drive: 9,
            sequence: 1,
            drive_bytes: 192 << 20,
            zone_bytes: 4 << 20,
            zone_count: 47,
            shard_count: 8,
            drive_index: 0,
            drive_count: 1,
            created_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn round_trip_and_every_flipped_byte() {
        let block = sample().encode();
        assert_eq!(Superblock::decode(&block), Ok(sample()));
        for at in 0..block.len() {
            let mut bad = block;
            bad[at] ^= 0x40;
            assert!(Superblock::decode(&bad).is_err(), "byte {at}");
        }
        assert_eq!(Superblock::decode(&[0; BLOCK]), Err(NotSuperblock::Empty));
    }

    #[test]
    fn zones_without_room_are_refused() {
        for (zone_bytes, want) in
            [(64 << 10, Err(NotSuperblock::SmallZones { got: 64 << 10 })), (128 << 10, Ok(()))]
        {
            let block = Superblock { zone_bytes, ..sample() }.encode();
            assert_eq!(Superblock::decode(&block).map(|_| ()), want);
        }
    }

    #[test]
    fn torn_is_whole_or_empty() {
        let block = sample().encode();
        for written in 0_u8..=255 {
            let mut torn = [0; BLOCK];
            for (sector, (to, from)) in torn.chunks_mut(SECTOR).zip(block.chunks(SECTOR)).enumerate() {
                if written & (1 << sector) != 0 {
                    to.copy_from_slice(from);
                }
            }
            let wanted = if written & 1 == 0 { Err(NotSuperblock::Empty) } else { Ok(sample()) };
            assert_eq!(Superblock::decode(&torn), wanted, "sectors {written:#010b}");
        }
    }

    #[test]
    fn other_versions_are_named() {
        let mut fields = sample().encode()[..CHECKSUM_AT].to_vec();
        fields[8] = 4;
        let mut newer = seal(fields.clone());
        // What a newer version keeps behind the first sector is its own affair.
        newer[BLOCK - 1] = 1;
        assert_eq!(Superblock::decode(&newer), Err(NotSuperblock::Version { got: 4 }));
        fields[8] = 2;
        let superblock = sample();
        let older = Err(NotSuperblock::Upgradable { got: 2, superblock });
        assert_eq!(Superblock::decode(&seal(fields.clone())), older);
        fields[8] = 1;
        let oldest = super::super::zone::seal(fields);
        assert_eq!(Superblock::decode(&oldest), Err(NotSuperblock::Version { got: 1 }));
    }

    #[test]
    fn divisions() {
        assert_eq!(divide(192 << 20, None), Some((4 << 20, 47)));
        assert_eq!(divide(10 << 20, Some(128 << 10)), Some((128 << 10, 64)));
        assert_eq!(divide(64 << 30, None), Some((64 << 20, 1023)));
        assert_eq!(divide(1 << 20, None), None);
        assert_eq!(divide(17 << 20, None), None);
    }
}
