//! Applies a record: the only way to change what a key has and where its bytes are. A function for each kind of change.
//!
//! `Index::apply` is called by `shard` when a record takes its place in the log, and by `recover` when it is replayed.

use super::completions::is_completion;
use super::uploads::{part_key, upload_key};
use super::{BucketIndex, Effects, Index, cell_of, place_of};
use crate::format::Put;
use crate::format::cell::{BlobLocation, Cell, NewCell};
use crate::format::page::TreeKind;
use crate::format::record::{BlobPlace, BlobRecord, Change, Record};
use crate::mutant::{Mutant, seeded};
use crate::units::{DriveOffset, Sequence};

impl Index {
    /// Applies one record, whose first change has the sequence `first`. `inline_at` says where on `drive` each inline
    /// blob of it stands, in order.
    pub(crate) fn apply(
        &mut self,
        first: Sequence,
        record: &Record,
        drive: u16,
        inline_at: &[DriveOffset],
        effects: &mut impl Effects,
    ) {
        if let Some(Change::SetBucket { .. } | Change::ClearBucket { .. }) = record.changes.first() {
            self.apply_directory(record);
            return;
        }
        let bucket = self.buckets.entry(record.bucket).or_default();
        let (upload_count, scratch) = (&mut self.upload_count, &mut self.scratch);
        let inline_at = inline_at.iter();
        let mut applying = Applying { bucket, upload_count, scratch, drive, inline_at, effects };
        for (change, sequence) in record.changes.iter().zip((first.0..).map(Sequence)) {
            applying.apply(change, sequence);
        }
    }
}

/// A record on its way into its bucket.
struct Applying<'a, E> {
    bucket: &'a mut BucketIndex,
    upload_count: &'a mut usize,
    /// Where cells are put together.
    scratch: &'a mut Vec<u8>,
    /// Where the inline blobs of the changes to come stand.
    drive: u16,
    inline_at: std::slice::Iter<'a, DriveOffset>,
    effects: &'a mut E,
}

impl<E: Effects> Applying<'_, E> {
    fn apply(&mut self, change: &Change, sequence: Sequence) {
        // A move is no news to anybody.
        if !matches!(change, Change::MoveBytes { .. }) {
            self.bucket.changed = sequence;
        }
        self.scratch.clear();
        let empty = NewCell::empty(sequence);
        match change {
            Change::PutObject { key, modified_ms, etag, attributes, versioned, lock, blob } => {
                let (modified_ms, etag, lock) = (*modified_ms, *etag, *lock);
                let cell = NewCell { is_null: !versioned, modified_ms, etag, attributes, lock, ..empty };
                self.put_object(key, cell, blob);
            }
            Change::PutMarker { key, modified_ms, versioned } => {
                let modified_ms = *modified_ms;
                NewCell { is_marker: true, is_null: !versioned, modified_ms, ..empty }.encode(self.scratch);
                self.bucket.set_object(key, self.scratch, self.effects);
            }
            Change::DeleteObject { key } => {
                let uncovers = self.bucket.remove_version(key, |cell| cell.is_null, self.effects);
                self.note_unsettled(uncovers, sequence);
            }
            Change::DeleteVersion { key, version } => {
                let is_it =
                    |cell: &Cell<'_>| cell.sequence == *version || seeded(Mutant::NewestVersionDeleted);
                let uncovers = self.bucket.remove_version(key, is_it, self.effects);
                self.note_unsettled(uncovers, sequence);
            }
            Change::SetValue { key, value } => {
                let is_new = self.bucket.values.set(key, value);
                self.bucket.completion_count += usize::from(is_new && is_completion(key));
            }
            Change::ClearValue { key } => {
                let was_there = self.bucket.values.unset(key);
                self.bucket.completion_count -= usize::from(was_there && is_completion(key));
            }
            Change::OpenUpload { upload, key, created_ms, attributes } => {
                self.scratch.u64(*created_ms).string(key).string(attributes);
                let is_new = self.bucket.uploads.set(&upload_key(*upload), self.scratch);
                *self.upload_count += usize::from(is_new);
            }
            Change::PutPart { upload, number, modified_ms, etag, attributes, blob } => {
                let (modified_ms, etag) = (*modified_ms, *etag);
                self.put_part(*upload, *number, NewCell { modified_ms, etag, attributes, ..empty }, blob);
            }
            Change::CompleteUpload { upload, key, modified_ms, etag, attributes, versioned, lock, parts } => {
                let (modified_ms, etag, lock) = (*modified_ms, *etag, *lock);
                let cell = NewCell { is_null: !versioned, modified_ms, etag, attributes, lock, ..empty };
                self.complete_upload(*upload, key, cell, parts);
            }
            Change::AbortUpload { upload } => self.abort_upload(*upload),
            Change::MoveBytes { part, key, version, drive, at } => {
                let (tree, to) = (tree_of(*part), (*drive, *at));
                self.bucket.move_bytes(tree, key, *version, to, self.scratch, self.effects);
            }
            Change::Revise { key, version, attributes, lock } => {
                self.bucket.revise(key, *version, attributes, *lock, self.scratch);
                self.note_unsettled(true, sequence);
            }
            Change::Rename { key, version, to } => {
                let uncovers = self.bucket.rename(key, *version, to, sequence, self.scratch, self.effects);
                self.note_unsettled(uncovers, sequence);
            }
            Change::SetBucket { .. } | Change::ClearBucket { .. } => {}
        }
    }

    /// Notes a change after which a key shows an older version, or an older version other attributes.
    fn note_unsettled(&mut self, is_so: bool, sequence: Sequence) {
        if is_so {
            self.bucket.unsettled = sequence;
        }
    }

    fn put_object(&mut self, key: &[u8], cell: NewCell<'_>, blob: &BlobRecord) {
        self.encode(cell, blob);
        self.bucket.set_object(key, self.scratch, self.effects);
    }

    fn put_part(&mut self, upload: u128, number: u16, cell: NewCell<'_>, blob: &BlobRecord) {
        let place = self.encode(cell, blob);
        if self.bucket.uploads.get(&upload_key(upload)).is_none() {
            drop_reference(&place, blob.size, self.effects);
            return;
        }
        self.bucket.part_bytes += blob.size;
        let (part, parts) = (part_key(upload, number), &mut self.bucket.parts);
        let at = parts.seek(&part);
        if let Some(old) = parts.at(at).filter(|cell| cell.key.compare(&part).is_eq()) {
            self.bucket.part_bytes -= cell_of(old.payload).size;
            if !seeded(Mutant::PartReplacedKept) {
                displace(old.payload, self.effects);
            }
            parts.replace(at, self.scratch);
        } else {
            parts.insert(at, &part, self.scratch);
        }
    }

    fn complete_upload(&mut self, upload: u128, key: &[u8], cell: NewCell<'_>, parts: &[(u16, Sequence)]) {
        if !self.bucket.remove_upload(upload) {
            return;
        }
        *self.upload_count -= 1;
        let size = self.bucket.keep_parts(upload, parts, self.effects);
        let count = u16::try_from(parts.len()).expect("at most PARTS_MAX");
        NewCell { size, place: &BlobLocation::Parts { upload, count }, ..cell }.encode(self.scratch);
        self.bucket.set_object(key, self.scratch, self.effects);
    }

    fn abort_upload(&mut self, upload: u128) {
        if self.bucket.remove_upload(upload) {
            *self.upload_count -= 1;
            if !seeded(Mutant::AbortKeepsParts) {
                self.bucket.keep_parts(upload, &[], self.effects);
            }
        }
    }

    /// Puts a cell with the bytes of `blob` together; returns where these are.
    fn encode(&mut self, cell: NewCell<'_>, blob: &BlobRecord) -> BlobLocation {
        let place = self.place(blob);
        NewCell { size: blob.size, place: &place, units: &blob.units, ..cell }.encode(self.scratch);
        place
    }

    /// Where the bytes of the record's next blob are.
    fn place(&mut self, blob: &BlobRecord) -> BlobLocation {
        match &blob.place {
            BlobPlace::Inline(_) => {
                let at = *self.inline_at.next().expect("one place per inline blob");
                if blob.size == 0 {
                    return BlobLocation::Nowhere;
                }
                self.effects.placed(self.drive, at, blob.size);
                BlobLocation::Log { drive: self.drive, at }
            }
            BlobPlace::Extents(extents) if extents.is_empty() => BlobLocation::Nowhere,
            BlobPlace::Extents(extents) => BlobLocation::Extents(extents.clone()),
        }
    }
}

/// The tree that a move is about.
fn tree_of(part: bool) -> TreeKind {
    if part { TreeKind::Parts } else { TreeKind::Objects }
}

/// Hands over the bytes of a cell that goes.
pub(super) fn displace(payload: &[u8], effects: &mut impl Effects) {
    let cell = cell_of(payload);
    match cell.log_place() {
        Some((drive, at)) => effects.displaced(drive, at, cell.size),
        None => drop_reference(&place_of(&cell).0, cell.size, effects),
    }
}

fn drop_reference(place: &BlobLocation, size: u64, effects: &mut impl Effects) {
    match place {
        BlobLocation::Log { drive, at } => effects.displaced(*drive, *at, size),
        BlobLocation::Extents(extents) => effects.freed(extents.to_vec()),
        BlobLocation::Nowhere | BlobLocation::Parts { .. } => {}
    }
}
