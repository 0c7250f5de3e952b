//! The index of one shard: every version of every object, every upload and value, in memory, in key order.
//!
//! `shard` applies a record here the moment it takes its place in the log; `recover` applies the same records from
//! the drive, on top of a checkpoint. I1. `apply` is the only way to change what a key has and where its bytes are, and
//! the same records in the same order give the same index. I2. What a change displaces is handed to
//! `Effects`, never dropped: its space may be in use by readers. I3. Versions of a key stand newest first, and at most
//! one of them is the null version.

pub(crate) mod leaf;
pub(crate) mod tree;

pub use leaf::fuzz_leaf;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::format::cell::{Cell, NewCell, Place, Units};
use crate::format::page::TreeKind;
use crate::format::record::{BlobPlace, BlobRecord, Change, Extent, Record};
use crate::format::{Malformed, Put, Reader};
use crate::mutant::{Mutant, is};
use crate::object::{ETag, ListPage, ListQuery, ObjectInfo, ObjectVersion, PartInfo, UploadId, UploadInfo};
use crate::units::{BucketId, DriveOffset, Sequence, ShardId};
use tree::{CellRef, Tree};

/// Bytes of an object or part that are on drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The change that made it: unique in its shard, the same wherever the bytes are moved.
    pub sequence: Sequence,
    /// Bytes.
    pub size: u64,
    /// Where: in the log or in extents.
    pub place: Place,
    /// CRC-64/NVME of each 64 KiB unit.
    pub units: Units,
}

/// Told what a record does to space.
pub(crate) trait Effects {
    /// Bytes in a log or pack zone came into use.
    fn placed(&mut self, drive: u16, at: DriveOffset, bytes: u64);
    /// Bytes in a log or pack zone went out of use.
    fn displaced(&mut self, drive: u16, at: DriveOffset, bytes: u64);
    /// Bytes in a log or pack zone are in another one now.
    fn moved(&mut self, from: (u16, DriveOffset), to: (u16, DriveOffset), bytes: u64);
    /// The extents of one object or part went out of use; readers of it are known by the first of them.
    fn freed(&mut self, extents: Vec<Extent>);
}

/// For replay: space is derived afterwards.
pub(crate) struct NoEffects;

impl Effects for NoEffects {
    fn placed(&mut self, _drive: u16, _at: DriveOffset, _bytes: u64) {}
    fn displaced(&mut self, _drive: u16, _at: DriveOffset, _bytes: u64) {}
    fn moved(&mut self, _from: (u16, DriveOffset), _to: (u16, DriveOffset), _bytes: u64) {}
    fn freed(&mut self, _extents: Vec<Extent>) {}
}

/// What the shard holds of one bucket.
#[derive(Default)]
pub(crate) struct BucketIndex {
    objects: Tree,
    values: Tree,
    uploads: Tree,
    parts: Tree,
    /// The newest record that changed this bucket: who reads out a listing or an absence waits for it.
    pub(crate) changed: Sequence,
    /// Versions of objects that are no markers.
    object_count: u64,
    /// Their bytes.
    object_bytes: u64,
}

/// A bucket in the directory; only shard 0 has these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) id: BucketId,
    pub(crate) shard: ShardId,
    pub(crate) created_ms: u64,
    pub(crate) annotation: Bytes,
}

/// Everything one shard knows.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) buckets: HashMap<BucketId, BucketIndex>,
    directory: Tree,
    /// The highest bucket id ever given out, so that none is given out twice.
    pub(crate) last_bucket: BucketId,
    pub(crate) upload_count: usize,
    /// Where cells are put together.
    scratch: Vec<u8>,
}

/// The bucket under which the directory's tree is kept in a checkpoint.
pub(crate) const DIRECTORY_BUCKET: BucketId = BucketId(0);

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
        let mut inline_at = inline_at.iter();
        let mut scratch = std::mem::take(&mut self.scratch);
        let bucket = self.buckets.entry(record.bucket).or_default();
        for (change, sequence) in record.changes.iter().zip((first.0..).map(Sequence)) {
            // A move is no news to anybody.
            if !matches!(change, Change::MoveBytes { .. }) {
                bucket.changed = sequence;
            }
            scratch.clear();
            let mut place_of = |blob: &BlobRecord, effects: &mut dyn Effects| match &blob.place {
                BlobPlace::Inline(_) => {
                    let at = *inline_at.next().expect("one place per inline blob");
                    if blob.size == 0 {
                        return Place::Nowhere;
                    }
                    effects.placed(drive, at, blob.size);
                    Place::Log { drive, at }
                }
                BlobPlace::Extents(extents) if extents.is_empty() => Place::Nowhere,
                BlobPlace::Extents(extents) => Place::Extents(extents.clone()),
            };
            match change {
                Change::PutObject { key, modified_ms, etag, attributes, versioned, blob } => {
                    let place = place_of(blob, effects);
                    let cell = NewCell {
                        is_null: !versioned,
                        modified_ms: *modified_ms,
                        etag: *etag,
                        size: blob.size,
                        attributes,
                        place: &place,
                        units: &blob.units,
                        ..NewCell::empty(sequence)
                    };
                    cell.encode(&mut scratch);
                    bucket.set_object(key, *versioned, &scratch, effects);
                }
                Change::PutMarker { key, modified_ms, versioned } => {
                    let cell = NewCell {
                        is_marker: true,
                        is_null: !versioned,
                        modified_ms: *modified_ms,
                        ..NewCell::empty(sequence)
                    };
                    cell.encode(&mut scratch);
                    bucket.set_object(key, *versioned, &scratch, effects);
                }
                Change::DeleteObject { key } => bucket.remove_version(key, |cell| cell.is_null, effects),
                Change::DeleteVersion { key, version } => {
                    bucket.remove_version(
                        key,
                        |cell| cell.sequence == *version || is(Mutant::NewestVersionDeleted),
                        effects,
                    );
                }
                Change::SetValue { key, value } => {
                    bucket.values.set(key, value);
                }
                Change::ClearValue { key } => {
                    bucket.values.unset(key);
                }
                Change::OpenUpload { upload, key, created_ms, attributes } => {
                    scratch.u64(*created_ms).string(key).string(attributes);
                    self.upload_count += usize::from(bucket.uploads.set(&upload_key(*upload), &scratch));
                }
                Change::PutPart { upload, number, modified_ms, etag, attributes, blob } => {
                    let place = place_of(blob, effects);
                    let cell = NewCell {
                        modified_ms: *modified_ms,
                        etag: *etag,
                        size: blob.size,
                        attributes,
                        place: &place,
                        units: &blob.units,
                        ..NewCell::empty(sequence)
                    };
                    cell.encode(&mut scratch);
                    if bucket.uploads.get(&upload_key(*upload)).is_none() {
                        give_up(&place, blob.size, effects);
                        continue;
                    }
                    let part = part_key(*upload, *number);
                    let at = bucket.parts.seek(&part);
                    if let Some(old) = bucket.parts.at(at).filter(|cell| cell.key.compare(&part).is_eq()) {
                        if !is(Mutant::PartReplacedKept) {
                            displace(old.payload, effects);
                        }
                        bucket.parts.replace(at, &scratch);
                    } else {
                        bucket.parts.insert(at, &part, &scratch);
                    }
                }
                Change::CompleteUpload { upload, key, modified_ms, etag, attributes, versioned, parts } => {
                    if !bucket.remove_upload(*upload) {
                        continue;
                    }
                    self.upload_count -= 1;
                    let size = bucket.keep_parts(*upload, parts, effects);
                    let count = u16::try_from(parts.len()).expect("at most PARTS_MAX");
                    let cell = NewCell {
                        is_null: !versioned,
                        modified_ms: *modified_ms,
                        etag: *etag,
                        size,
                        attributes,
                        place: &Place::Parts { upload: *upload, count },
                        ..NewCell::empty(sequence)
                    };
                    cell.encode(&mut scratch);
                    bucket.set_object(key, *versioned, &scratch, effects);
                }
                Change::AbortUpload { upload } => {
                    if bucket.remove_upload(*upload) {
                        self.upload_count -= 1;
                        if !is(Mutant::AbortKeepsParts) {
                            bucket.keep_parts(*upload, &[], effects);
                        }
                    }
                }
                Change::MoveBytes { part, key, version, drive, at } => {
                    bucket.move_bytes(tree_of(*part), key, *version, (*drive, *at), &mut scratch, effects);
                }
                Change::SetBucket { .. } | Change::ClearBucket { .. } => {}
            }
        }
        self.scratch = scratch;
    }

    fn apply_directory(&mut self, record: &Record) {
        for change in &record.changes {
            match change {
                Change::SetBucket { name, shard, created_ms, annotation } => {
                    let mut payload = Vec::new();
                    payload.u64(record.bucket.0).u16(shard.0).u64(*created_ms).string(annotation);
                    self.last_bucket = self.last_bucket.max(record.bucket);
                    self.directory.set(name, &payload);
                }
                Change::ClearBucket { name } => {
                    self.directory.unset(name);
                }
                _ => {}
            }
        }
    }

    /// The directory, by name.
    pub(crate) fn directory(&self) -> BTreeMap<Bytes, DirectoryEntry> {
        let mut entries = BTreeMap::new();
        self.directory.scan(b"", |cell| {
            let entry =
                decode_directory_entry(cell.payload).expect("made here or checked when it was loaded");
            entries.insert(cell.key.to_vec().into(), entry);
            true
        });
        entries
    }

    /// All trees that hold something, in a fixed order.
    pub(crate) fn trees(&self) -> Vec<(BucketId, TreeKind, &Tree)> {
        let mut buckets: Vec<&BucketId> = self.buckets.keys().collect();
        buckets.sort();
        let mut trees = vec![(DIRECTORY_BUCKET, TreeKind::Directory, &self.directory)];
        for id in buckets {
            let bucket = &self.buckets[id];
            trees.extend([
                (*id, TreeKind::Objects, &bucket.objects),
                (*id, TreeKind::Values, &bucket.values),
                (*id, TreeKind::Uploads, &bucket.uploads),
                (*id, TreeKind::Parts, &bucket.parts),
            ]);
        }
        trees.retain(|(_, _, tree)| !tree.is_empty());
        trees
    }

    /// One tree, if its bucket is known.
    pub(crate) fn tree_mut(&mut self, bucket: BucketId, kind: TreeKind) -> Option<&mut Tree> {
        if kind == TreeKind::Directory {
            return Some(&mut self.directory);
        }
        let bucket = self.buckets.get_mut(&bucket)?;
        Some(match kind {
            TreeKind::Objects => &mut bucket.objects,
            TreeKind::Values => &mut bucket.values,
            TreeKind::Uploads => &mut bucket.uploads,
            TreeKind::Parts | TreeKind::Directory => &mut bucket.parts,
        })
    }

    /// Puts a tree from a checkpoint in its place; every cell is looked at. An error names a cell that is none.
    pub(crate) fn load(
        &mut self,
        covered: Sequence,
        bucket: BucketId,
        kind: TreeKind,
        tree: Tree,
    ) -> Result<(), Malformed> {
        let mut problem = None;
        let (mut objects, mut bytes, mut cells) = (0, 0_u64, 0);
        tree.scan(b"", |cell| {
            cells += 1;
            let checked = match kind {
                TreeKind::Objects | TreeKind::Parts => Cell::decode(cell.payload).and_then(|cell| {
                    cell.place()?;
                    objects += u64::from(!cell.is_marker);
                    // Sums of what is in one tree stay within 64 bits from here on.
                    bytes = bytes.checked_add(cell.size).ok_or(Malformed { what: "sum of sizes", at: 0 })?;
                    Ok(())
                }),
                TreeKind::Values => Ok(()),
                TreeKind::Uploads => {
                    decode_upload(&Bytes::copy_from_slice(cell.payload), UploadId(0)).map(|_| ())
                }
                TreeKind::Directory => decode_directory_entry(cell.payload).map(|entry| {
                    self.last_bucket = self.last_bucket.max(entry.id);
                }),
            };
            problem = checked.err();
            problem.is_none()
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        if kind != TreeKind::Directory {
            let held = self.buckets.entry(bucket).or_default();
            held.changed = covered;
            match kind {
                TreeKind::Objects => (held.object_count, held.object_bytes) = (objects, bytes),
                TreeKind::Uploads => self.upload_count += cells,
                _ => {}
            }
        }
        if let Some(place) = self.tree_mut(bucket, kind)
            && !(is(Mutant::DirectoryNotLoaded) && kind == TreeKind::Directory)
        {
            *place = tree;
        }
        Ok(())
    }

    /// Visits the place of everything that has bytes on drives, while `visit` answers true: where, and the bytes of the
    /// blob. An error names a cell that cannot be read.
    pub(crate) fn places(&self, mut visit: impl FnMut(&Place, u64) -> bool) -> Result<(), Malformed> {
        for (_, kind, tree) in self.trees() {
            if !matches!(kind, TreeKind::Objects | TreeKind::Parts) {
                continue;
            }
            let mut problem = None;
            tree.scan(b"", |cell| {
                let cell = match Cell::decode(cell.payload) {
                    Ok(cell) => cell,
                    Err(e) => {
                        problem = Some(e);
                        return false;
                    }
                };
                if let Some((drive, at)) = cell.log_place() {
                    return visit(&Place::Log { drive, at }, cell.size);
                }
                match cell.place() {
                    Ok((place, _)) => visit(&place, cell.size),
                    Err(e) => {
                        problem = Some(e);
                        false
                    }
                }
            });
            if let Some(problem) = problem {
                return Err(problem);
            }
        }
        Ok(())
    }

    /// Bytes of all leaves.
    pub(crate) fn bytes(&self) -> u64 {
        let trees = |bucket: &BucketIndex| {
            bucket.objects.bytes() + bucket.values.bytes() + bucket.uploads.bytes() + bucket.parts.bytes()
        };
        self.buckets.values().map(trees).sum::<u64>() + self.directory.bytes()
    }
}

/// The tree that a move is about.
fn tree_of(part: bool) -> TreeKind {
    if part { TreeKind::Parts } else { TreeKind::Objects }
}

impl BucketIndex {
    /// Versions of objects and their bytes.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.object_count, self.object_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.values.is_empty() && self.uploads.is_empty()
    }

    /// What a key has now; `None` for no object or a delete marker.
    pub(crate) fn object(&self, key: &[u8]) -> Option<ObjectInfo> {
        let found = self.objects.get(key)?;
        let cell = Cell::decode(found.payload).expect("checked when it came in");
        (!cell.is_marker).then(|| info_of(&found, &cell))
    }

    /// The entity tag of what a key has now.
    pub(crate) fn etag(&self, key: &[u8]) -> Option<ETag> {
        let cell = Cell::decode(self.objects.get(key)?.payload).expect("checked when it came in");
        (!cell.is_marker).then_some(cell.etag)
    }

    /// Whether a key has a null version that a delete would remove.
    pub(crate) fn has_null_version(&self, key: &[u8]) -> bool {
        self.versions_of(key).any(|(_, cell)| cell.is_null)
    }

    /// Whether a key has that version.
    pub(crate) fn has_version(&self, key: &[u8], version: Sequence) -> bool {
        self.versions_of(key).any(|(_, cell)| cell.sequence == version)
    }

    /// The current version of a key (`None`), or a named one, with where its bytes are.
    pub(crate) fn open(&self, key: &[u8], version: Option<Sequence>) -> Option<(ObjectInfo, Vec<Blob>)> {
        let (found, cell) = match version {
            None => self.versions_of(key).next()?,
            Some(version) => self.versions_of(key).find(|(_, cell)| cell.sequence == version)?,
        };
        if cell.is_marker {
            return None;
        }
        Some((info_of(&found, &cell), self.blobs_of(&cell)))
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

    /// Versions of one key, newest first.
    fn versions_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (CellRef<'a>, Cell<'a>)> {
        let mut at = self.objects.seek(key);
        std::iter::from_fn(move || {
            let found = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq())?;
            at = self.objects.next(at);
            Some((found, Cell::decode(found.payload).expect("checked when it came in")))
        })
    }

    /// A value.
    pub(crate) fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.values.get(key).map(|cell| Bytes::copy_from_slice(cell.payload))
    }

    /// Visits values from the first whose key is not below `from`, while `visit` answers true.
    pub(crate) fn scan_values(&self, from: &[u8], mut visit: impl FnMut(&[u8], &Bytes) -> bool) {
        self.values.scan(from, |cell| visit(&cell.key.to_vec(), &Bytes::copy_from_slice(cell.payload)));
    }

    /// Keys that have an object and start with `prefix`, at most `max`.
    pub(crate) fn keys(&self, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let mut keys: Vec<Bytes> = Vec::new();
        if max == 0 {
            return keys;
        }
        self.objects.scan(prefix, |cell| {
            if !cell.key.starts_with(prefix) {
                return false;
            }
            let is_older = keys.last().is_some_and(|last| cell.key.compare(last).is_eq());
            let is_marker = || Cell::decode(cell.payload).expect("checked when it came in").is_marker;
            if !is_older && !is_marker() {
                keys.push(cell.key.to_vec().into());
            }
            keys.len() < max
        });
        keys
    }

    fn set_object(&mut self, key: &[u8], versioned: bool, payload: &[u8], effects: &mut impl Effects) {
        let mut at = self.objects.seek(key);
        let new = Cell::decode(payload).expect("just encoded");
        if !new.is_marker {
            self.object_count += 1;
            self.object_bytes += new.size;
        }
        if !versioned {
            // Mostly the key has its null version or nothing.
            let top = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq());
            let top_is_null =
                top.map(|cell| Cell::decode(cell.payload).expect("checked when it came in").is_null);
            match top_is_null {
                Some(true) => {
                    self.forget(at, effects);
                    self.objects.replace(at, payload);
                    return;
                }
                Some(false) if !is(Mutant::NullTwice) => {
                    self.remove_version(key, |cell| cell.is_null, effects);
                    at = self.objects.seek(key);
                }
                _ => {}
            }
        }
        self.objects.insert(at, key, payload);
    }

    /// Removes the first version that `which` chooses, if any.
    fn remove_version(&mut self, key: &[u8], which: impl Fn(&Cell<'_>) -> bool, effects: &mut impl Effects) {
        let mut at = self.objects.seek(key);
        while let Some(found) = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq()) {
            if which(&Cell::decode(found.payload).expect("checked when it came in")) {
                self.forget(at, effects);
                self.objects.remove(at);
                return;
            }
            at = self.objects.next(at);
        }
    }

    /// The tree of objects or that of parts: those whose payloads are cells.
    fn cells(&self, tree: TreeKind) -> &Tree {
        if tree == TreeKind::Parts { &self.parts } else { &self.objects }
    }

    /// Where a version or part stands in its tree and where its bytes are, when they are in a log or pack zone.
    fn find_small(
        &self,
        tree: TreeKind,
        key: &[u8],
        version: Sequence,
    ) -> Option<(tree::Position, (u16, DriveOffset))> {
        let tree = self.cells(tree);
        let mut at = tree.seek(key);
        loop {
            let found = tree.at(at).filter(|cell| cell.key.compare(key).is_eq())?;
            let cell = Cell::decode(found.payload).expect("checked when it came in");
            if cell.sequence == version || is(Mutant::MoveUnchecked) {
                return Some((at, cell.log_place()?));
            }
            at = tree.next(at);
        }
    }

    /// Whether a version or part is there with its bytes in a log or pack zone.
    pub(crate) fn has_small(&self, tree: TreeKind, key: &[u8], version: Sequence) -> bool {
        self.find_small(tree, key, version).is_some()
    }

    /// Exchanges where the bytes of a version or part are, if it is still there.
    fn move_bytes(
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
        let cell = Cell::decode(found.payload).expect("checked when it came in");
        let (_, units) = cell.place().expect("checked when it came in");
        let place = Place::Log { drive: to.0, at: to.1 };
        cell.placed(&place, units.as_slice()).encode(scratch);
        effects.moved(from, to, cell.size);
        tree.replace(at, scratch);
    }

    /// Takes the version at `at` out of all sums and gives up its bytes; the caller removes or replaces the cell.
    fn forget(&mut self, at: tree::Position, effects: &mut impl Effects) {
        let Some(found) = self.objects.at(at) else { return };
        let cell = Cell::decode(found.payload).expect("checked when it came in");
        if !cell.is_marker {
            self.object_count -= 1;
            self.object_bytes -= cell.size;
        }
        match cell.parts() {
            None if is(Mutant::OverwriteKept) => {}
            None => displace(found.payload, effects),
            Some(upload) => self.remove_parts(upload, effects),
        }
    }

    /// Removes the parts of an object: their extents go out of use together, as readers have them.
    fn remove_parts(&mut self, upload: u128, effects: &mut impl Effects) {
        let (from, mut extents) = (part_key(upload, 0), Vec::new());
        loop {
            let at = self.parts.seek(&from);
            let Some(found) = self.parts.at(at).filter(|cell| cell.key.starts_with(&from[..16])) else {
                break;
            };
            let cell = Cell::decode(found.payload).expect("checked when it came in");
            match cell.place().expect("checked when it came in").0 {
                Place::Log { drive, at } => effects.displaced(drive, at, cell.size),
                Place::Extents(held) => extents.extend(held.iter()),
                Place::Nowhere | Place::Parts { .. } => {}
            }
            self.parts.remove(at);
        }
        if !extents.is_empty() {
            effects.freed(extents);
        }
    }

    fn remove_upload(&mut self, upload: u128) -> bool {
        self.uploads.unset(&upload_key(upload))
    }

    /// Removes the parts of an upload that are not named, in ascending order; answers the bytes of those that stay.
    fn keep_parts(&mut self, upload: u128, named: &[(u16, Sequence)], effects: &mut impl Effects) -> u64 {
        let (mut from, mut size) = (part_key(upload, 0).to_vec(), 0);
        let mut named = named.iter().map(|(number, _)| *number).peekable();
        loop {
            let at = self.parts.seek(&from);
            let Some(found) = self.parts.at(at).filter(|cell| cell.key.starts_with(&from[..16])) else {
                return size;
            };
            let (key, payload) = (found.key.to_vec(), found.payload);
            let number = part_number(&key);
            while named.peek().is_some_and(|wanted| *wanted < number) {
                named.next();
            }
            if named.peek() == Some(&number) {
                size += Cell::decode(payload).expect("checked when it came in").size;
                from = part_key(upload, number.saturating_add(1)).to_vec();
                if number == u16::MAX {
                    return size;
                }
            } else {
                if !is(Mutant::UnchosenKept) {
                    displace(payload, effects);
                }
                self.parts.remove(at);
            }
        }
    }

    /// An open upload.
    pub(crate) fn upload(&self, id: UploadId) -> Option<UploadInfo> {
        let found = self.uploads.get(&upload_key(id.0))?;
        Some(decode_upload(&found.share(found.payload), id).expect("checked when it came in"))
    }

    /// Whether an upload is open.
    pub(crate) fn has_upload(&self, id: UploadId) -> bool {
        self.uploads.get(&upload_key(id.0)).is_some()
    }

    /// A part of an open upload.
    pub(crate) fn part(&self, id: UploadId, number: u16) -> Option<PartInfo> {
        let found = self.parts.get(&part_key(id.0, number))?;
        let cell = Cell::decode(found.payload).expect("checked when it came in");
        Some(part_info(number, &found, &cell))
    }

    /// Parts of an open upload with a number greater than `after`, in order.
    pub(crate) fn parts(&self, id: UploadId, after: u16, max: usize) -> Option<Vec<PartInfo>> {
        if !self.has_upload(id) {
            return None;
        }
        let mut parts = Vec::new();
        if after < u16::MAX && max > 0 {
            self.scan_parts(id.0, after + 1, |number, found, cell| {
                parts.push(part_info(number, found, cell));
                parts.len() < max
            });
        }
        Some(parts)
    }

    fn scan_parts(
        &self,
        upload: u128,
        from: u16,
        mut visit: impl FnMut(u16, &CellRef<'_>, &Cell<'_>) -> bool,
    ) {
        let id = upload_key(upload);
        self.parts.scan(&part_key(upload, from), |found| {
            if !found.key.starts_with(&id) {
                return false;
            }
            let cell = Cell::decode(found.payload).expect("checked when it came in");
            visit(part_number(&found.key.to_vec()), &found, &cell)
        });
    }

    /// One page of keys and common prefixes, by range scan; a common prefix is passed by one seek.
    ///
    /// Source: Amazon S3 API, ListObjectsV2.
    pub(crate) fn list(&self, query: &ListQuery) -> ListPage {
        let mut page = ListPage::default();
        let (prefix, after, delimiter) = (&query.prefix, &query.after, &query.delimiter);
        let start: &[u8] = if after.as_ref() < prefix.as_ref() { prefix } else { after };
        let mut at = self.objects.seek(start);
        let mut last: Option<Bytes> = None;
        // The key whose newer version was passed last: its older ones are not listed.
        let mut seen: Option<Bytes> = (!after.is_empty()).then(|| after.clone());
        while let Some(found) = self.objects.at(at) {
            if !found.key.starts_with(prefix) {
                break;
            }
            at = self.objects.next(at);
            if seen.as_ref().is_some_and(|seen| found.key.compare(seen).is_eq()) {
                continue;
            }
            let cell = Cell::decode(found.payload).expect("checked when it came in");
            if cell.is_marker {
                if is(Mutant::MarkerListed) {
                    continue;
                }
                seen = Some(found.key.to_vec().into());
                continue;
            }
            let key: Bytes = found.key.to_vec().into();
            let rest = &key[prefix.len()..];
            let cut = if delimiter.is_empty() { None } else { find(rest, delimiter) };
            let common = cut.map(|at| key.slice(..prefix.len() + at + delimiter.len()));
            let passed = common.as_ref().is_some_and(|common| !after.is_empty() && common <= after);
            if !passed {
                if query.max <= page.objects.len() + page.prefixes.len() {
                    last = last.map(|last| if is(Mutant::ListSkips) { key.clone() } else { last });
                    page.next_after = last.or_else(|| (!after.is_empty()).then(|| after.clone()));
                    return page;
                }
                last = Some(common.as_ref().unwrap_or(&key).clone());
                match &common {
                    Some(common) => page.prefixes.push(common.clone()),
                    None => page.objects.push((key.clone(), info_of(&found, &cell))),
                }
            }
            match common {
                Some(common) => {
                    let Some(next) = successor(&common) else { break };
                    at = self.objects.seek(&next);
                    if is(Mutant::SeekTooFar) {
                        at = self.objects.next(at);
                    }
                }
                None => seen = Some(key),
            }
        }
        page
    }

    /// Versions and delete markers in key order, newest first, behind (`after`, `after_version`).
    pub(crate) fn list_versions(
        &self,
        prefix: &[u8],
        after: Option<(&[u8], Sequence)>,
        max: usize,
    ) -> Vec<ObjectVersion> {
        let mut versions: Vec<ObjectVersion> = Vec::new();
        let mut newest: Option<Bytes> = None;
        let start = after.map_or(prefix, |(key, _)| key.max(prefix));
        if max == 0 {
            return versions;
        }
        self.objects.scan(start, |found| {
            if !found.key.starts_with(prefix) {
                return false;
            }
            let cell = Cell::decode(found.payload).expect("checked when it came in");
            let key: Bytes = found.key.to_vec().into();
            let is_latest = newest.as_ref() != Some(&key);
            newest = Some(key.clone());
            let is_passed = after.is_some_and(|(passed, version)| match passed.cmp(&key) {
                Ordering::Less => false,
                Ordering::Equal => version <= cell.sequence,
                Ordering::Greater => true,
            });
            if !is_passed {
                versions.push(ObjectVersion {
                    key,
                    info: info_of(&found, &cell),
                    is_latest,
                    is_marker: cell.is_marker,
                    is_null: cell.is_null,
                });
            }
            versions.len() < max
        });
        versions
    }

    /// Open uploads in order of (key, id) after `after`.
    pub(crate) fn list_uploads(
        &self,
        prefix: &[u8],
        after: Option<&(Bytes, UploadId)>,
        max: usize,
    ) -> Vec<UploadInfo> {
        let mut found: Vec<UploadInfo> = Vec::new();
        self.uploads.scan(b"", |cell| {
            let id = UploadId(upload_of(&cell.key.to_vec()));
            let info = decode_upload(&cell.share(cell.payload), id).expect("checked when it came in");
            if info.key.starts_with(prefix) && after.is_none_or(|(key, id)| (key, id) < (&info.key, &info.id))
            {
                found.push(info);
            }
            true
        });
        found.sort_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
        found.truncate(max);
        found
    }

    /// Visits cells of the tree of objects or of parts, from a key on; answers the key to go on with when `visit` said
    /// stop.
    pub(crate) fn scan_cells(
        &self,
        tree: TreeKind,
        from: &[u8],
        mut visit: impl FnMut(&CellRef<'_>, &Cell<'_>) -> bool,
    ) -> Option<Vec<u8>> {
        let tree = self.cells(tree);
        let mut stopped = None;
        tree.scan(from, |found| {
            let cell = Cell::decode(found.payload).expect("checked when it came in");
            let goes_on = visit(&found, &cell);
            if !goes_on {
                stopped = Some(found.key.to_vec());
            }
            goes_on
        });
        stopped
    }
}

/// The bytes of a cell that is no marker and not made of parts.
pub(crate) fn blob_of(cell: &Cell<'_>) -> Blob {
    let (place, units) = cell.place().expect("checked when it came in");
    Blob { sequence: cell.sequence, size: cell.size, place, units }
}

fn displace(payload: &[u8], effects: &mut impl Effects) {
    let cell = Cell::decode(payload).expect("checked when it came in");
    match cell.log_place() {
        Some((drive, at)) => effects.displaced(drive, at, cell.size),
        None => give_up(&cell.place().expect("checked when it came in").0, cell.size, effects),
    }
}

fn give_up(place: &Place, size: u64, effects: &mut impl Effects) {
    match place {
        Place::Log { drive, at } => effects.displaced(*drive, *at, size),
        Place::Extents(extents) => effects.freed(extents.to_vec()),
        Place::Nowhere | Place::Parts { .. } => {}
    }
}

fn info_of(found: &CellRef<'_>, cell: &Cell<'_>) -> ObjectInfo {
    ObjectInfo {
        sequence: cell.sequence,
        size: cell.size,
        modified_ms: cell.modified_ms,
        etag: cell.etag,
        attributes: found.share(cell.attributes),
    }
}

fn part_info(number: u16, found: &CellRef<'_>, cell: &Cell<'_>) -> PartInfo {
    PartInfo {
        number,
        sequence: cell.sequence,
        size: cell.size,
        modified_ms: cell.modified_ms,
        etag: cell.etag,
        attributes: found.share(cell.attributes),
    }
}

fn decode_upload(payload: &Bytes, id: UploadId) -> Result<UploadInfo, Malformed> {
    let mut r = Reader::new(payload.clone());
    let created_ms = r.u64("upload created")?;
    let key = r.string(crate::limits::KEY_BYTES_MAX, "upload key")?;
    let attributes = r.string(crate::limits::ATTRIBUTES_BYTES_MAX, "upload attributes")?;
    Ok(UploadInfo { id, key, created_ms, attributes })
}

fn decode_directory_entry(payload: &[u8]) -> Result<DirectoryEntry, Malformed> {
    let mut r = Reader::new(Bytes::copy_from_slice(payload));
    Ok(DirectoryEntry {
        id: BucketId(r.u64("bucket")?),
        shard: ShardId(r.u16("shard")?),
        created_ms: r.u64("created")?,
        annotation: r.string(crate::limits::ATTRIBUTES_BYTES_MAX, "annotation")?,
    })
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
fn upload_key(upload: u128) -> [u8; 16] {
    upload.to_be_bytes()
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
pub(crate) fn upload_of(key: &[u8]) -> u128 {
    key.first_chunk::<16>().map_or(0, |id| u128::from_be_bytes(*id))
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
fn part_key(upload: u128, number: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&upload.to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
pub(crate) fn part_number(key: &[u8]) -> u16 {
    key.get(16..18)
        .and_then(|number| number.first_chunk::<2>())
        .map_or(0, |number| u16::from_be_bytes(*number))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    match needle {
        [byte] => haystack.iter().position(|b| b == byte),
        _ => haystack.windows(needle.len()).position(|window| window == needle),
    }
}

/// The smallest byte string greater than every string that starts with `prefix`; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Bytes> {
    let at = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=at].to_vec();
    next[at] += 1;
    Some(next.into())
}

/// Fuzz entry: whatever a checkpoint's leaf makes of an index (the first byte says of which tree), can be asked for.
pub fn fuzz_index(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kind = TreeKind::ALL[usize::from(*kind) % TreeKind::ALL.len()];
    let slot = tree::Slot { bytes: Bytes::copy_from_slice(bytes), page: None };
    if !leaf::is_valid(bytes) {
        return;
    }
    let tree = Tree::from_slots(vec![slot]).expect("one leaf is in order");
    let (mut index, id) = (Index::default(), BucketId(1));
    if index.load(Sequence(9), id, kind, tree).is_err() || index.places(|_, _| true).is_err() {
        return;
    }
    assert!(index.directory().len() <= bytes.len());
    let Some(bucket) = index.buckets.get(&id) else { return };
    let listed =
        bucket.list(&ListQuery { max: 9, delimiter: Bytes::from_static(b"/"), ..ListQuery::default() });
    assert!(listed.objects.len() + listed.prefixes.len() <= 9);
    let versions = bucket.list_versions(b"", None, usize::MAX);
    for version in &versions {
        let found = bucket.open(&version.key, Some(version.info.sequence));
        assert!(found.is_some() || bucket.has_version(&version.key, version.info.sequence));
    }
    for upload in bucket.list_uploads(b"", None, 9) {
        assert!(bucket.parts(upload.id, 0, 9).is_none_or(|parts| parts.is_empty()));
    }
    bucket.scan_cells(kind, b"", |_, _| true);
    let changes = versions
        .into_iter()
        .map(|version| Change::DeleteVersion { key: version.key, version: version.info.sequence });
    let record = Record { bucket: id, changes: changes.collect() };
    index.apply(Sequence(10), &record, 0, &[], &mut NoEffects);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::unit_count;

    fn put(key: &'static str, size: u64) -> Change {
        let units = vec![0; usize::try_from(unit_count(size)).expect("small")];
        let extents = [Extent { drive: 0, at: DriveOffset(4096), bytes: 1 << 20 }].into();
        let blob = BlobRecord { size, place: BlobPlace::Extents(extents), units: units.into() };
        let etag = ETag::default();
        let attributes = Bytes::new();
        Change::PutObject { key: key.into(), modified_ms: 0, etag, attributes, versioned: false, blob }
    }

    fn index(keys: &[&'static str]) -> Index {
        let mut index = Index::default();
        for (i, key) in keys.iter().enumerate() {
            let record = Record { bucket: BucketId(1), changes: vec![put(key, 9)] };
            index.apply(Sequence(i as u64 + 1), &record, 0, &[], &mut NoEffects);
        }
        index
    }

    fn check(keys: &[&'static str], query: [&'static str; 3], max: usize, want: &[&str], more: Option<&str>) {
        let index = index(keys);
        let [prefix, delimiter, after] = query.map(Bytes::from_static_str);
        let page = index.buckets[&BucketId(1)].list(&ListQuery { prefix, delimiter, after, max });
        let mut got: Vec<String> =
            page.objects.iter().map(|(key, _)| key).chain(&page.prefixes).map(text).collect();
        got.sort();
        assert_eq!(got, want, "{query:?} of {keys:?}");
        assert_eq!(page.next_after.as_ref().map(text).as_deref(), more, "{query:?}");
    }

    trait FromStaticStr {
        fn from_static_str(text: &'static str) -> Bytes;
    }
    impl FromStaticStr for Bytes {
        fn from_static_str(text: &'static str) -> Bytes {
            Bytes::from_static(text.as_bytes())
        }
    }

    fn text(bytes: &Bytes) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn pages() {
        let keys = ["a", "a/1", "a/2", "b", "b/1/x", "c"];
        check(&keys, ["", "", ""], 10, &["a", "a/1", "a/2", "b", "b/1/x", "c"], None);
        check(&keys, ["", "", ""], 2, &["a", "a/1"], Some("a/1"));
        check(&keys, ["", "", "a/1"], 2, &["a/2", "b"], Some("b"));
        check(&keys, ["", "/", ""], 10, &["a", "a/", "b", "b/", "c"], None);
        check(&keys, ["", "/", ""], 2, &["a", "a/"], Some("a/"));
        check(&keys, ["", "/", "a/"], 2, &["b", "b/"], Some("b/"));
        check(&keys, ["", "/", "a/1"], 9, &["b", "b/", "c"], None);
        check(&keys, ["a/", "/", ""], 9, &["a/1", "a/2"], None);
        check(&keys, ["b", "/1", ""], 9, &["b", "b/1"], None);
        check(&keys, ["x", "", ""], 9, &[], None);
        check(&keys, ["a/", "", "a"], 9, &["a/1", "a/2"], None);
        check(&keys, ["", "", ""], 0, &[], None);
        check(&keys, ["", "", "c"], 9, &[], None);
        check(&keys, ["", "", ""], 6, &["a", "a/1", "a/2", "b", "b/1/x", "c"], None);
    }

    #[test]
    fn successors() {
        assert_eq!(successor(b"a/"), Some(Bytes::from_static(b"a0")));
        assert_eq!(successor(b"a\xff\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(successor(b"\xff"), None);
    }

    #[derive(Default)]
    struct Freed(Vec<Extent>);
    impl Effects for Freed {
        fn placed(&mut self, _drive: u16, _at: DriveOffset, _bytes: u64) {}
        fn displaced(&mut self, _drive: u16, _at: DriveOffset, _bytes: u64) {}
        fn moved(&mut self, _from: (u16, DriveOffset), _to: (u16, DriveOffset), _bytes: u64) {}
        fn freed(&mut self, extents: Vec<Extent>) {
            self.0.extend(extents);
        }
    }

    #[test]
    fn what_is_displaced_comes_back() {
        let mut index = index(&["a", "b"]);
        let apply = |index: &mut Index, sequence, change| {
            let mut freed = Freed::default();
            let record = Record { bucket: BucketId(1), changes: vec![change] };
            index.apply(Sequence(sequence), &record, 0, &[], &mut freed);
            freed.0.len()
        };
        assert_eq!(apply(&mut index, 3, put("a", 1)), 1);
        assert_eq!(apply(&mut index, 4, Change::DeleteObject { key: "b".into() }), 1);
        assert_eq!(apply(&mut index, 5, Change::DeleteObject { key: "b".into() }), 0);
        assert_eq!(index.buckets[&BucketId(1)].held(), (1, 1));
        // Parts of a completed upload go with their object; one that was not named goes at once.
        let part = |number| {
            let Change::PutObject { etag, attributes, blob, .. } = put("x", 70_000) else { unreachable!() };
            Change::PutPart { upload: 5, number, modified_ms: 0, etag, attributes, blob }
        };
        let (key, attributes) = (Bytes::from_static(b"m"), Bytes::new());
        let open =
            Change::OpenUpload { upload: 5, key: key.clone(), created_ms: 1, attributes: attributes.clone() };
        assert_eq!(apply(&mut index, 6, open), 0);
        for number in [3, 1, 2] {
            assert_eq!(apply(&mut index, 6 + u64::from(number), part(number)), 0);
        }
        assert_eq!(apply(&mut index, 10, part(2)), 1, "replaced");
        let parts = vec![(1, Sequence(7)), (3, Sequence(9))];
        let (etag, versioned) = (ETag { md5: [1; 16], parts: 2 }, false);
        let complete = Change::CompleteUpload {
            upload: 5,
            key: key.clone(),
            modified_ms: 0,
            etag,
            attributes,
            versioned,
            parts,
        };
        assert_eq!(apply(&mut index, 11, complete), 1, "part 2 was not named");
        let (info, blobs) = index.buckets[&BucketId(1)].open(b"m", None).expect("there");
        assert_eq!((info.size, info.etag.parts, blobs.len()), (140_000, 2, 2));
        assert_eq!(apply(&mut index, 12, part(1)), 1, "the upload is closed");
        assert_eq!(apply(&mut index, 13, Change::DeleteObject { key }), 2);
        assert_eq!(index.buckets[&BucketId(1)].parts.bytes(), 0);
        assert_eq!(index.upload_count, 0);
    }

    #[test]
    fn versions_stand_newest_first() {
        let mut index = Index::default();
        let mut sequence = 0;
        let mut apply = |index: &mut Index, change| {
            sequence += 1;
            let record = Record { bucket: BucketId(1), changes: vec![change] };
            index.apply(Sequence(sequence), &record, 0, &[], &mut NoEffects);
        };
        let versioned = |size| match put("k", size) {
            Change::PutObject { key, modified_ms, etag, attributes, blob, .. } => {
                Change::PutObject { key, modified_ms, etag, attributes, versioned: true, blob }
            }
            other => other,
        };
        let marker = |versioned| Change::PutMarker { key: "k".into(), modified_ms: 9, versioned };
        let sizes = |index: &Index| -> Vec<u64> {
            let versions = index.buckets[&BucketId(1)].list_versions(b"", None, 99);
            assert!(versions.iter().enumerate().all(|(nth, version)| version.is_latest == (nth == 0)));
            versions.iter().map(|version| if version.is_marker { 999 } else { version.info.size }).collect()
        };
        apply(&mut index, put("k", 1));
        apply(&mut index, versioned(2));
        apply(&mut index, versioned(3));
        assert_eq!(sizes(&index), [3, 2, 1]);
        apply(&mut index, put("k", 4));
        assert_eq!(sizes(&index), [4, 3, 2], "there is one null version");
        apply(&mut index, marker(true));
        assert_eq!(sizes(&index), [999, 4, 3, 2]);
        let bucket = &index.buckets[&BucketId(1)];
        assert_eq!(
            (bucket.object(b"k"), bucket.list(&ListQuery { max: 9, ..ListQuery::default() }).objects.len()),
            (None, 0)
        );
        assert_eq!(bucket.open(b"k", Some(Sequence(3))).map(|(info, _)| info.size), Some(3));
        assert_eq!(bucket.list_versions(b"", Some((b"k", Sequence(4))), 1)[0].info.size, 3);
        apply(&mut index, Change::DeleteVersion { key: "k".into(), version: Sequence(5) });
        assert_eq!(sizes(&index), [4, 3, 2], "without its marker the object is back");
        apply(&mut index, marker(false));
        assert_eq!(sizes(&index), [999, 3, 2], "the null version became a marker");
        for version in [7, 3, 2] {
            apply(&mut index, Change::DeleteVersion { key: "k".into(), version: Sequence(version) });
        }
        assert!(index.buckets[&BucketId(1)].is_empty());
        assert_eq!(index.buckets[&BucketId(1)].held(), (0, 0));
    }
}
