//! Objects: what a key has now, and where the bytes of a version or part are. A cell is set, replaced, renamed and moved here.

use super::apply::displace;
use super::tree::{CellRef, Position};
use super::{Blob, BucketIndex, Effects, blob_of, cell_of, info_of, marker_of, place_of};
use crate::format::cell::{BlobLocation, Cell, NewCell};
use crate::format::page::TreeKind;
use crate::lock::Lock;
use crate::mutant::{Mutant, seeded};
use crate::object::{ETag, Found, ObjectInfo, VersionId};
use crate::units::{DriveOffset, Sequence};

impl BucketIndex {
    /// The entity tag of what a key has now.
    pub(crate) fn etag(&self, key: &[u8]) -> Option<ETag> {
        let cell = cell_of(self.objects.get(key)?.payload);
        (!cell.is_marker).then_some(cell.etag)
    }

    /// The current version of a key (`None`), or a named one.
    pub(crate) fn find(&self, key: &[u8], version: Option<VersionId>) -> Found<ObjectInfo> {
        self.found(key, version, info_of)
    }

    /// As [`BucketIndex::find`], with where its bytes are.
    pub(crate) fn open(&self, key: &[u8], version: Option<VersionId>) -> Found<(ObjectInfo, Vec<Blob>)> {
        self.found(key, version, |found, cell| (info_of(found, cell), self.blobs_of(cell)))
    }

    fn found<T>(
        &self,
        key: &[u8],
        version: Option<VersionId>,
        object: impl FnOnce(&CellRef<'_>, &Cell<'_>) -> T,
    ) -> Found<T> {
        match self.version(key, version) {
            None => Found::Nothing,
            Some((_, cell)) if cell.is_marker => Found::Marker(marker_of(&cell)),
            Some((found, cell)) => Found::Object(object(&found, &cell)),
        }
    }

    fn blobs_of(&self, cell: &Cell<'_>) -> Vec<Blob> {
        if let Some(upload) = cell.parts() {
            let mut blobs = Vec::new();
            self.scan_parts(upload, 0, |_, _, part| {
                blobs.push(blob_of(part));
                true
            });
            return blobs;
        }
        vec![blob_of(cell)]
    }

    /// Puts a version on top of a key, or, when it is the null version, in place of the null version that the key has.
    pub(super) fn set_object(&mut self, key: &[u8], payload: &[u8], effects: &mut impl Effects) {
        let mut at = self.objects.seek(key);
        let new = cell_of(payload);
        if !new.is_marker {
            self.object_count += 1;
            self.object_bytes += new.size;
            if new.parts().is_some() {
                self.parted_bytes += new.size;
            }
            self.locked_count += u64::from(!new.lock.is_none());
        }
        if new.is_null {
            // Mostly the key has its null version or nothing.
            let top = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq());
            let top_is_null = top.map(|cell| cell_of(cell.payload).is_null);
            match top_is_null {
                Some(true) => {
                    self.forget(at, effects);
                    self.objects.replace(at, payload);
                    return;
                }
                Some(false) if !seeded(Mutant::NullTwice) => {
                    // What comes on top has a record of its own.
                    self.remove_version(key, |cell| cell.is_null, effects);
                    at = self.objects.seek(key);
                }
                _ => {}
            }
        }
        self.objects.insert(at, key, payload);
    }

    /// Where a version or part stands in its tree and where its bytes are, when they are in a log or compaction zone.
    fn find_small(
        &self,
        tree: TreeKind,
        key: &[u8],
        version: Sequence,
    ) -> Option<(Position, (u16, DriveOffset))> {
        let tree = self.cells(tree);
        let mut at = tree.seek(key);
        loop {
            let found = tree.at(at).filter(|cell| cell.key.compare(key).is_eq())?;
            let cell = cell_of(found.payload);
            if cell.sequence == version || seeded(Mutant::MoveUnchecked) {
                return Some((at, cell.log_place()?));
            }
            at = tree.next(at);
        }
    }

    /// Whether a version or part is there with its bytes in a log or compaction zone.
    pub(crate) fn has_small(&self, tree: TreeKind, key: &[u8], version: Sequence) -> bool {
        self.find_small(tree, key, version).is_some()
    }

    /// Exchanges where the bytes of a version or part are, if it is still there.
    pub(super) fn move_bytes(
        &mut self,
        tree: TreeKind,
        key: &[u8],
        version: Sequence,
        to: (u16, DriveOffset),
        scratch: &mut Vec<u8>,
        effects: &mut impl Effects,
    ) {
        let Some((at, from)) = self.find_small(tree, key, version) else { return };
        let tree = if tree == TreeKind::Parts { &mut self.parts } else { &mut self.objects };
        let Some(found) = tree.at(at) else { return };
        let cell = cell_of(found.payload);
        let (_, units) = place_of(&cell);
        let place = BlobLocation::Log { drive: to.0, at: to.1 };
        cell.placed(&place, units.as_slice()).encode(scratch);
        effects.moved(from, to, cell.size);
        tree.replace(at, scratch);
    }

    /// Replaces attributes and lock of a version, if it is there; its bytes stay where they are.
    pub(super) fn revise(
        &mut self,
        key: &[u8],
        version: Sequence,
        attributes: &[u8],
        lock: Lock,
        scratch: &mut Vec<u8>,
    ) {
        let mut at = self.objects.seek(key);
        while let Some(found) = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq()) {
            let cell = cell_of(found.payload);
            if cell.sequence != version && !seeded(Mutant::NewestVersionRevised) {
                at = self.objects.next(at);
                continue;
            }
            if cell.is_marker {
                return;
            }
            let (place, units) = place_of(&cell);
            let revised = NewCell { attributes, lock, ..cell.placed(&place, units.as_slice()) };
            revised.encode(scratch);
            self.locked_count -= u64::from(!cell.lock.is_none());
            self.locked_count += u64::from(!lock.is_none());
            self.objects.replace(at, scratch);
            return;
        }
    }

    /// Makes a version the null version of another key, under a sequence of its own; its bytes stay where they are and in
    /// use. What is not there, and a marker, changes nothing. Returns whether `key` has an older version in its place.
    pub(super) fn rename(
        &mut self,
        key: &[u8],
        version: Sequence,
        to: &[u8],
        sequence: Sequence,
        scratch: &mut Vec<u8>,
        effects: &mut impl Effects,
    ) -> bool {
        let first = self.objects.seek(key);
        let mut at = first;
        while let Some(found) = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq()) {
            let cell = cell_of(found.payload);
            if cell.sequence != version {
                at = self.objects.next(at);
                continue;
            }
            if cell.is_marker {
                return false;
            }
            let (place, units) = place_of(&cell);
            let renamed = NewCell { sequence, is_null: true, ..cell.placed(&place, units.as_slice()) };
            renamed.encode(scratch);
            let below = self.objects.at(self.objects.next(at));
            let uncovers = at == first && below.is_some_and(|below| below.key.compare(key).is_eq());
            if seeded(Mutant::RenameFrees) {
                displace(found.payload, effects);
            }
            if !seeded(Mutant::RenameCopies) {
                self.uncount(at);
                self.objects.remove(at);
            }
            self.set_object(to, scratch, effects);
            return uncovers;
        }
        false
    }

    /// Takes the version at `at` out of all sums.
    fn uncount(&mut self, at: Position) {
        let Some(found) = self.objects.at(at) else { return };
        let cell = cell_of(found.payload);
        if !cell.is_marker {
            self.object_count -= 1;
            self.object_bytes -= cell.size;
            if cell.parts().is_some() {
                self.parted_bytes -= cell.size;
            }
            self.locked_count -= u64::from(!cell.lock.is_none());
        }
    }

    /// Takes the version at `at` out of all sums and gives up its bytes; the caller removes or replaces the cell.
    pub(super) fn forget(&mut self, at: Position, effects: &mut impl Effects) {
        self.uncount(at);
        let Some(found) = self.objects.at(at) else { return };
        let cell = cell_of(found.payload);
        match cell.parts() {
            None if seeded(Mutant::OverwriteKept) => {}
            None => displace(found.payload, effects),
            Some(upload) => self.remove_parts(upload, effects),
        }
    }
}
