//! Pages of a checkpoint: leaves of the index and the table that lists them. See FORMAT.md, "Checkpoint".
//!
//! `meta::checkpoint` packs pages one behind the other into checkpoint zones. I1. A page says what it is, whose and where;
//! whoever refers to it holds its checksum, so a page that was lost or misplaced is told from the right one.

use bytes::Bytes;

use super::checksum::crc64;
use super::{Malformed, Put, Reader};
use crate::mutant::{Mutant, seeded};
use crate::units::{BucketId, DriveOffset, ShardId};

/// Bytes before a page's content.
pub const PAGE_HEADER_BYTES: usize = 48;
/// Bytes of one page with its header. A leaf is about 4 KiB, or one cell of about 700 KiB.
pub const PAGE_BYTES_MAX: usize = 3 << 20;
const MAGIC: u32 = 0x4750_4b4e; // "NKPG"

/// Where a page is, and the checksum of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// Where its header starts, at any byte of a checkpoint zone.
    pub at: DriveOffset,
    /// Bytes with the header.
    pub bytes: u32,
    /// CRC-64/NVME of them.
    pub crc: u64,
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKind {
    /// A piece of the table of leaves.
    Table,
    /// A leaf of one of a bucket's trees.
    Leaf(TreeKind),
}

/// The trees of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TreeKind {
    /// Objects by key, versions of one key newest first.
    Objects,
    /// Values of the layer above by key.
    Values,
    /// Open uploads by id.
    Uploads,
    /// Parts by upload and number.
    Parts,
    /// Buckets by name; only in shard 0.
    Directory,
    /// The same as version 2 of the format wrote it: read, and written as [`TreeKind::Directory`] from then on.
    DirectoryV2,
    /// Values of the store itself by key; only in shard 0.
    SystemValues,
}

impl TreeKind {
    /// All of them.
    pub const ALL: [TreeKind; 7] = [
        TreeKind::Objects,
        TreeKind::Values,
        TreeKind::Uploads,
        TreeKind::Parts,
        TreeKind::Directory,
        TreeKind::DirectoryV2,
        TreeKind::SystemValues,
    ];

    fn number(self) -> u8 {
        match self {
            TreeKind::Objects => 1,
            TreeKind::Values => 2,
            TreeKind::Uploads => 3,
            TreeKind::Parts => 4,
            TreeKind::DirectoryV2 => 5,
            TreeKind::Directory => 6,
            TreeKind::SystemValues => 7,
        }
    }

    fn of(number: u8) -> Option<TreeKind> {
        TreeKind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Appends a page to `out`, whose first byte will stand at `base` of the drive; returns how to find it.
pub fn append_page(
    out: &mut Vec<u8>,
    base: DriveOffset,
    (store, shard): (u128, ShardId),
    (kind, bucket): (PageKind, BucketId),
    content: &[u8],
) -> PageRef {
    let start = out.len();
    let at = base.plus(start as u64);
    let tree = match kind {
        PageKind::Table => 0,
        PageKind::Leaf(tree) => tree.number(),
    };
    out.u32(MAGIC).u16(shard.0).u8(tree).u8(0).u128(store).u64(at.0).u64(bucket.0).length(content.len());
    out.u32(0).raw(content);
    let page = out.get(start..).unwrap_or_default();
    assert_eq!(page.len(), PAGE_HEADER_BYTES + content.len());
    PageRef { at, bytes: u32::try_from(page.len()).expect("bounded by PAGE_BYTES_MAX"), crc: crc64(page) }
}

/// The content of a page that was read at its place; `None` when it is not the page that is meant.
pub fn open_page<'a>(
    page: &'a [u8],
    wanted: &PageRef,
    (store, shard): (u128, ShardId),
    (kind, bucket): (PageKind, BucketId),
) -> Option<&'a [u8]> {
    if page.len() != wanted.bytes as usize || (crc64(page) != wanted.crc && !seeded(Mutant::PageUnchecked)) {
        return None;
    }
    let (head, content) = page.split_at_checked(PAGE_HEADER_BYTES)?;
    let mut r = Reader::new(Bytes::copy_from_slice(head));
    let tree = match kind {
        PageKind::Table => 0,
        PageKind::Leaf(tree) => tree.number(),
    };
    let mut read = || -> Result<bool, Malformed> {
        let fits = r.u32("magic")? == MAGIC
            && r.u16("shard")? == shard.0
            && r.u8("tree")? == tree
            && r.u8("reserved")? == 0
            && r.u128("store")? == store
            && r.u64("at")? == wanted.at.0
            && r.u64("bucket")? == bucket.0
            && r.u32("bytes")? as usize == content.len();
        Ok(fits)
    };
    read().unwrap_or(false).then_some(content)
}

/// One entry of the table: the leaves of one tree, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Whose tree.
    pub bucket: BucketId,
    /// Which.
    pub tree: TreeKind,
    /// Its leaves, or some of them: the next entry may go on.
    pub leaves: Vec<PageRef>,
}

/// Bytes of an entry of `leaves` leaves.
pub fn entry_bytes(leaves: usize) -> usize {
    13 + leaves * 20
}

/// Appends an entry to a table page's content.
pub fn encode_entry(entry: &TableEntry, out: &mut Vec<u8>) {
    out.u64(entry.bucket.0).u8(entry.tree.number()).length(entry.leaves.len());
    for leaf in &entry.leaves {
        encode_ref(leaf, out);
    }
}

/// Reads the content of a table page.
pub fn decode_table(content: &[u8]) -> Result<Vec<TableEntry>, Malformed> {
    let mut r = Reader::new(Bytes::copy_from_slice(content));
    let mut entries = Vec::new();
    while r.left() > 0 {
        let bucket = BucketId(r.u64("bucket")?);
        let Some(tree) = TreeKind::of(r.u8("tree")?) else { return r.malformed("tree") };
        let count = r.count(20, "leaves")?;
        let mut leaves = Vec::with_capacity(count);
        for _ in 0..count {
            leaves.push(decode_ref(&mut r)?);
        }
        entries.push(TableEntry { bucket, tree, leaves });
    }
    Ok(entries)
}

pub(super) fn encode_ref(page: &PageRef, out: &mut Vec<u8>) {
    out.u64(page.at.0).u32(page.bytes).u64(page.crc);
}

pub(super) fn decode_ref(r: &mut Reader) -> Result<PageRef, Malformed> {
    let (at, bytes, crc) = (DriveOffset(r.u64("page at")?), r.u32("page bytes")?, r.u64("page checksum")?);
    if !(PAGE_HEADER_BYTES..=PAGE_BYTES_MAX).contains(&(bytes as usize)) {
        return r.malformed("page bytes");
    }
    Ok(PageRef { at, bytes, crc })
}

/// Fuzz entry: whatever decodes, encodes to the same bytes.
pub fn fuzz_table(bytes: &[u8]) {
    if let Ok(entries) = decode_table(bytes) {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| encode_entry(entry, &mut again));
        assert_eq!(again, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_every_flipped_byte() {
        let (store, kind) = ((7, ShardId(1)), (PageKind::Leaf(TreeKind::Parts), BucketId(3)));
        let mut out = vec![0; 5];
        let page = append_page(&mut out, DriveOffset(4096), store, kind, b"content");
        assert_eq!(page.at, DriveOffset(4101));
        let bytes = &out[5..];
        assert_eq!(open_page(bytes, &page, store, kind), Some(&b"content"[..]));
        let elsewhere = PageRef { at: DriveOffset(8192), ..page };
        assert_eq!(open_page(bytes, &elsewhere, store, kind), None, "misplaced");
        assert_eq!(open_page(bytes, &page, (8, ShardId(1)), kind), None, "another store");
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 8;
            assert_eq!(open_page(&bad, &page, store, kind), None, "byte {at}");
        }
    }

    #[test]
    fn tables() {
        let leaf = PageRef { at: DriveOffset(9), bytes: 100, crc: 3 };
        let entry = TableEntry { bucket: BucketId(1), tree: TreeKind::Directory, leaves: vec![leaf, leaf] };
        let mut content = Vec::new();
        encode_entry(&entry, &mut content);
        encode_entry(&entry, &mut content);
        assert_eq!(content.len(), 2 * entry_bytes(2));
        assert_eq!(decode_table(&content), Ok(vec![entry.clone(), entry]));
        for cut in 1..content.len() {
            fuzz_table(&content[..cut]);
        }
    }
}
