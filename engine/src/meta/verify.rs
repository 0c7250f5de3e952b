//! Holding stored bytes against their checksums: which units a shard has, in turns, and which of them are not what they
//! were.
//!
//! `handle::scrub` runs it beside requests, `inspect` on a store that nobody serves. I1. Every unit is looked at by
//! itself: one that is damaged or unreadable hides no other. I2. Nothing is held while a drive is waited for; who runs
//! beside writers asks [`still_at`] before believing that a unit is damaged, because its space may have been used again.
//! I3. A place that lies outside of its drive is damage, never a read.

use std::future::Future;
use std::rc::Rc;

use super::index::{Blob, Index, part_number, upload_of};
use crate::drive::Drive;
use crate::error::DriveError;
use crate::format::cell::{Cell, Place};
use crate::format::checksum::crc64;
use crate::format::page::TreeKind;
use crate::limits::IO_BYTES_MAX;
use crate::meta::index::blob_of;
use crate::object::UploadId;
use crate::platform::{Platform, upkeep_buffer};
use crate::units::{BLOCK_BYTES, BucketId, DriveOffset, Sequence, UNIT_BYTES};

/// Cells looked at in one turn of the walk, and units that one turn may answer before it stops.
const CELLS_PER_TURN: usize = 256;
const UNITS_PER_TURN: u64 = 4096;
/// Bytes of an extent that are read at once, and what may lie between two pieces of one read.
const PIECE_BYTES: u64 = 4 * UNIT_BYTES;
const GAP_BYTES: u64 = UNIT_BYTES;

/// Something with bytes of its own: a version of an object in one piece, or a part.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) bucket: BucketId,
    pub(crate) tree: TreeKind,
    /// As in its tree: the object's key, or upload and part number.
    pub(crate) key: Vec<u8>,
    pub(crate) blob: Blob,
}

/// Where a walk goes on.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    bucket: BucketId,
    tree: TreeKind,
    key: Vec<u8>,
    /// Of `key` only versions below this one.
    below: Sequence,
}

impl Cursor {
    /// The start of a shard.
    pub(crate) fn start() -> Cursor {
        Cursor::of(BucketId(0), TreeKind::Objects)
    }

    fn of(bucket: BucketId, tree: TreeKind) -> Cursor {
        Cursor { bucket, tree, key: Vec::new(), below: Sequence(u64::MAX) }
    }
}

/// What one turn of a walk found.
pub(crate) struct Turn {
    pub(crate) items: Vec<Item>,
    /// Versions of objects that were passed, those made of parts among them; markers are none.
    pub(crate) objects: u64,
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<Cursor>,
}

/// The next cells with bytes. Parts come in the tree of parts, those of finished uploads too.
pub(crate) fn next_items(index: &Index, from: Cursor) -> Turn {
    let mut turn = Turn { items: Vec::new(), objects: 0, next: None };
    let bucket = index.buckets.keys().filter(|bucket| from.bucket <= **bucket).min().copied();
    let Some(bucket) = bucket else { return turn };
    let from = if bucket == from.bucket { from } else { Cursor::of(bucket, TreeKind::Objects) };
    let (mut looked, mut units) = (0, 0);
    let mut last: Option<(Vec<u8>, Sequence)> = None;
    let held = &index.buckets[&bucket];
    let stopped = held.scan_cells(from.tree, &from.key, |found, cell| {
        if found.key.compare(&from.key).is_eq() && from.below <= cell.sequence {
            return true;
        }
        if CELLS_PER_TURN <= looked || UNITS_PER_TURN <= units {
            return false;
        }
        looked += 1;
        if from.tree == TreeKind::Objects && !cell.is_marker {
            turn.objects += 1;
        }
        let key = found.key.to_vec();
        if cell.size > 0 && !cell.is_marker && cell.parts().is_none() {
            // A cell whose place cannot be read is found when the index is loaded, not here.
            if let Ok((place, checksums)) = cell.place() {
                units += checksums.as_slice().len() as u64;
                let blob = Blob { sequence: cell.sequence, size: cell.size, place, units: checksums };
                turn.items.push(Item { bucket, tree: from.tree, key: key.clone(), blob });
            }
        }
        last = Some((key, cell.sequence));
        true
    });
    turn.next = match (stopped, last) {
        (Some(_), Some((key, below))) => Some(Cursor { bucket, tree: from.tree, key, below }),
        _ if from.tree == TreeKind::Objects => Some(Cursor::of(bucket, TreeKind::Parts)),
        _ => bucket.0.checked_add(1).map(|next| Cursor::of(BucketId(next), TreeKind::Objects)),
    };
    turn
}

/// Where the bytes of an item are now; `None` when it is gone.
pub(crate) fn still_at(index: &Index, item: &Item) -> Option<Blob> {
    let mut now = None;
    index.buckets.get(&item.bucket)?.scan_cells(item.tree, &item.key, |found, cell| {
        if found.key.compare(&item.key).is_eq() && cell.sequence != item.blob.sequence {
            return true;
        }
        if found.key.compare(&item.key).is_eq() {
            now = Some(blob_of(cell));
        }
        false
    });
    now
}

/// The object that an item's bytes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) key: Vec<u8>,
    /// The version of the object, or the sequence of a part whose upload is still open.
    pub(crate) version: Sequence,
    /// Where the item's bytes begin in it.
    pub(crate) offset: u64,
    /// The upload and part when the upload is still open.
    pub(crate) part: Option<(UploadId, u16)>,
}

/// Who an item belongs to. A part of a finished upload is looked for among all objects of its bucket, which is why this
/// is only asked for what is damaged.
pub(crate) fn owner_of(index: &Index, item: &Item) -> Owner {
    let version = item.blob.sequence;
    let whole = Owner { key: item.key.clone(), version, offset: 0, part: None };
    let Some(bucket) = index.buckets.get(&item.bucket).filter(|_| item.tree == TreeKind::Parts) else {
        return whole;
    };
    let (upload, number) = (upload_of(&item.key), part_number(&item.key));
    if let Some(open) = bucket.upload(UploadId(upload)) {
        return Owner { key: open.key.to_vec(), part: Some((UploadId(upload), number)), ..whole };
    }
    let mut found = whole;
    bucket.scan_cells(TreeKind::Objects, &[], |object, cell| {
        let is_it = cell.parts() == Some(upload);
        if is_it {
            found.key = object.key.to_vec();
            found.version = cell.sequence;
        }
        !is_it
    });
    let first = item.key.get(..16).unwrap_or_default();
    bucket.scan_cells(TreeKind::Parts, first, |part, cell: &Cell<'_>| {
        let is_before = part.key.compare(&item.key).is_lt();
        if is_before {
            found.offset += cell.size;
        }
        is_before
    });
    found
}

/// A unit that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadUnit {
    /// Which of the items.
    pub(crate) item: usize,
    /// The unit's first byte within the item, and its bytes.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) drive: u16,
    pub(crate) at: DriveOffset,
    pub(crate) got: u64,
    pub(crate) expected: u64,
    /// Why it could not even be read.
    pub(crate) unreadable: Option<DriveError>,
}

/// Whole units of one item that stand together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    item: usize,
    first_unit: u64,
    drive: u16,
    at: DriveOffset,
    bytes: u64,
}

/// Reads all units of `items` and answers those that are damaged. `pace` is told the bytes of every read behind it, and
/// ends everything when it answers false.
pub(crate) async fn verify<F: Future<Output = bool>>(
    drives: &[Rc<dyn Drive>],
    platform: &Rc<dyn Platform>,
    items: &[Item],
    mut pace: impl FnMut(u64) -> F,
) -> Vec<BadUnit> {
    let mut bad = Vec::new();
    let mut pieces = pieces_of(items);
    pieces.sort_by_key(|piece| (piece.drive, piece.at));
    let mut rest = pieces.as_slice();
    while let Some(first) = rest.first() {
        let mut end = first.at.0.saturating_add(first.bytes);
        let start = first.at.0 - first.at.0 % BLOCK_BYTES;
        let more = rest.iter().skip(1).take_while(|next| {
            let next_end = next.at.0.saturating_add(next.bytes);
            let joins = next.drive == first.drive
                && next.at.0 <= end.saturating_add(GAP_BYTES)
                && next_end <= start.saturating_add(IO_BYTES_MAX as u64);
            if joins {
                end = end.max(next_end);
            }
            joins
        });
        let (run, later) = rest.split_at(1 + more.count());
        rest = later;
        let mut read_bytes = read_and_check(drives, platform, items, run, &mut bad).await;
        if read_bytes.is_err() {
            // Something in there cannot be read: unit by unit, so that the rest is seen.
            for piece in run.iter().flat_map(|piece| units_of(*piece)) {
                if let Err(error) = read_and_check(drives, platform, items, &[piece], &mut bad).await {
                    bad.push(bad_unit(items, piece, 0, error));
                }
            }
            read_bytes = Ok(run.iter().map(|piece| piece.bytes).sum());
        }
        if !pace(read_bytes.unwrap_or_default()).await {
            break;
        }
    }
    bad
}

fn pieces_of(items: &[Item]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (item, Item { blob, .. }) in items.iter().enumerate() {
        match &blob.place {
            Place::Log { drive, at } => {
                pieces.push(Piece { item, first_unit: 0, drive: *drive, at: *at, bytes: blob.size });
            }
            Place::Extents(extents) => {
                let mut from: u64 = 0;
                for extent in extents.iter() {
                    let until = from.saturating_add(extent.bytes).min(blob.size);
                    let start = from;
                    while from < until {
                        let bytes = PIECE_BYTES.min(until - from);
                        let at = extent.at.plus(from - start);
                        let first_unit = from / UNIT_BYTES;
                        pieces.push(Piece { item, first_unit, drive: extent.drive, at, bytes });
                        from += bytes;
                    }
                }
            }
            Place::Nowhere | Place::Parts { .. } => {}
        }
    }
    pieces
}

fn units_of(piece: Piece) -> impl Iterator<Item = Piece> {
    (0..piece.bytes.div_ceil(UNIT_BYTES)).map(move |nth| Piece {
        first_unit: piece.first_unit + nth,
        at: piece.at.plus(nth * UNIT_BYTES),
        bytes: UNIT_BYTES.min(piece.bytes - nth * UNIT_BYTES),
        ..piece
    })
}

fn bad_unit(items: &[Item], unit: Piece, got: u64, unreadable: Option<DriveError>) -> BadUnit {
    let nth = usize::try_from(unit.first_unit).unwrap_or(usize::MAX);
    let expected = items[unit.item].blob.units.as_slice().get(nth).copied().unwrap_or_default();
    let (offset, bytes) = (unit.first_unit * UNIT_BYTES, unit.bytes);
    BadUnit { item: unit.item, offset, bytes, drive: unit.drive, at: unit.at, got, expected, unreadable }
}

/// Reads what covers the pieces, which stand in order on one drive. `Err(None)`: they lie outside of it.
async fn read_and_check(
    drives: &[Rc<dyn Drive>],
    platform: &Rc<dyn Platform>,
    items: &[Item],
    pieces: &[Piece],
    bad: &mut Vec<BadUnit>,
) -> Result<u64, Option<DriveError>> {
    let Some(first) = pieces.first() else { return Ok(0) };
    let start = first.at.0 - first.at.0 % BLOCK_BYTES;
    let end = pieces.iter().map(|piece| piece.at.0.saturating_add(piece.bytes)).max().unwrap_or(start);
    let end = end.checked_next_multiple_of(BLOCK_BYTES).ok_or(None)?;
    let drive = drives.get(usize::from(first.drive)).filter(|drive| end <= drive.size()).ok_or(None)?;
    let length = usize::try_from(end - start).expect("about IO_BYTES_MAX");
    let buffer = upkeep_buffer(platform, length).await;
    let (buffer, result) = drive.read(DriveOffset(start), buffer).await;
    result.map_err(Some)?;
    for unit in pieces.iter().flat_map(|piece| units_of(*piece)) {
        let from = usize::try_from(unit.at.0 - start).expect("within the read");
        let length = usize::try_from(unit.bytes).expect("within the read");
        let got = crc64(&buffer.as_slice()[from..from + length]);
        let nth = usize::try_from(unit.first_unit).unwrap_or(usize::MAX);
        if items[unit.item].blob.units.as_slice().get(nth) != Some(&got) {
            bad.push(bad_unit(items, unit, got, None));
        }
    }
    Ok(end - start)
}
