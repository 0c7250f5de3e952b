//! Walking over everything that a shard has bytes of, in turns, to hold it against its checksums.
//!
//! `handle::scrub` does so beside requests, `inspect` on a store that nobody serves; `blob` reads and compares. I1. Every
//! version of an object in one piece and every part comes once, unless it changes meanwhile. I2. Nothing is held between
//! two turns; who runs beside writers asks [`still_at`] before believing that a unit is damaged, because its space may have
//! been used again.

use super::index::{Index, blob_of, part_number, upload_of};
use crate::blob::Blob;
use crate::format::cell::Cell;
use crate::format::page::TreeKind;
use crate::object::UploadId;
use crate::units::{BucketId, Sequence};

/// Cells looked at in one turn of the walk, and units that one turn may answer before it stops.
const CELLS_PER_TURN: usize = 256;
const UNITS_PER_TURN: u64 = 4096;

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
