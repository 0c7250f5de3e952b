//! The index of one shard: every version of every object, every upload and value, in memory, in key order.
//!
//! `shard` applies a record here the moment it takes its place in the log; `recover` applies the same records from
//! the drive, on top of a checkpoint. I1. `apply` is the only way to change what a key has and where its bytes are, and
//! the same records in the same order give the same index. I2. What a change displaces is handed to
//! `Effects`, never dropped: its space may be in use by readers. I3. Versions of a key stand newest first, and at most
//! one of them is the null version.

pub(crate) mod leaf;
pub(crate) mod tree;
mod apply;
mod completions;
mod directory;
mod list;
mod objects;
mod uploads;
mod versions;

pub(crate) use completions::completion_key;
pub(crate) use directory::{DIRECTORY_BUCKET, DirectoryEntry};
pub use leaf::fuzz_leaf;
pub(crate) use uploads::{part_number, upload_of};

use std::collections::HashMap;

use bytes::Bytes;

use crate::blob::Blob;
use crate::format::Malformed;
use crate::format::cell::{BlobLocation, Cell, Units};
use crate::format::page::TreeKind;
use crate::format::record::{Change, Extent, Record};
use crate::mutant::{Mutant, seeded};
use crate::object::{Found, ListQuery, Marker, ObjectInfo, UploadId, VersionId, VersionQuery};
use crate::units::{BucketId, DriveOffset, Sequence};
use completions::is_completion;
use directory::is_directory;
use tree::{CellRef, Tree};
use uploads::decode_upload;

/// Told what a record does to space.
pub(crate) trait Effects {
    /// Bytes in a log or compaction zone came into use.
    fn placed(&mut self, drive: u16, at: DriveOffset, bytes: u64);
    /// Bytes in a log or compaction zone went out of use.
    fn displaced(&mut self, drive: u16, at: DriveOffset, bytes: u64);
    /// Bytes in a log or compaction zone are in another one now.
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
    /// The newest record after which a key has, or an object is, something else than its own record says: a version that
    /// covered it is gone, or its attributes are new. Who reads out an object waits for it.
    pub(crate) unsettled: Sequence,
    /// Versions of objects that are no markers.
    object_count: u64,
    /// Their bytes.
    object_bytes: u64,
    /// Versions with a lock.
    locked_count: u64,
    /// Bytes of all parts, those of objects included.
    part_bytes: u64,
    /// Bytes of the objects that are made of parts.
    parted_bytes: u64,
    /// Completed uploads that are remembered.
    completion_count: usize,
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

impl Index {
    /// All trees that hold something, in a fixed order.
    pub(crate) fn trees(&self) -> Vec<(BucketId, TreeKind, &Tree)> {
        let mut buckets: Vec<&BucketId> = self.buckets.keys().collect();
        buckets.sort();
        let mut trees = vec![(DIRECTORY_BUCKET, TreeKind::Directory, &self.directory)];
        for id in buckets {
            let bucket = &self.buckets[id];
            trees.extend([
                (*id, TreeKind::Objects, &bucket.objects),
                (*id, values_of(*id), &bucket.values),
                (*id, TreeKind::Uploads, &bucket.uploads),
                (*id, TreeKind::Parts, &bucket.parts),
            ]);
        }
        trees.retain(|(_, _, tree)| !tree.is_empty());
        trees
    }

    /// One tree, if its bucket is known.
    pub(crate) fn tree_mut(&mut self, bucket: BucketId, kind: TreeKind) -> Option<&mut Tree> {
        if is_directory(kind) {
            return Some(&mut self.directory);
        }
        let bucket = self.buckets.get_mut(&bucket)?;
        Some(match kind {
            TreeKind::Objects => &mut bucket.objects,
            TreeKind::Values | TreeKind::SystemValues => &mut bucket.values,
            TreeKind::Uploads => &mut bucket.uploads,
            TreeKind::Parts | TreeKind::Directory | TreeKind::DirectoryV2 => &mut bucket.parts,
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
        if !is_directory(kind) && (bucket == BucketId::SYSTEM) != (kind == TreeKind::SystemValues) {
            return Err(Malformed { what: "tree of the store itself", at: 0 });
        }
        let mut problem = None;
        let mut upgraded = Tree::default();
        let (mut objects, mut bytes, mut parted, mut locked) = (0, 0_u64, 0_u64, 0);
        let (mut cells, mut completions) = (0, 0);
        tree.scan(b"", |cell| {
            cells += 1;
            let checked = match kind {
                TreeKind::Objects | TreeKind::Parts => Cell::decode(cell.payload).and_then(|cell| {
                    cell.place()?;
                    objects += u64::from(!cell.is_marker);
                    locked += u64::from(!cell.lock.is_none());
                    // Sums of what is in one tree stay within 64 bits from here on.
                    bytes = bytes.checked_add(cell.size).ok_or(Malformed { what: "sum of sizes", at: 0 })?;
                    if cell.parts().is_some() {
                        parted += cell.size;
                    }
                    Ok(())
                }),
                TreeKind::Values | TreeKind::SystemValues => {
                    completions += usize::from(is_completion(&cell.key.to_vec()));
                    Ok(())
                }
                TreeKind::Uploads => {
                    decode_upload(&Bytes::copy_from_slice(cell.payload), UploadId(0)).map(|_| ())
                }
                TreeKind::Directory | TreeKind::DirectoryV2 => DirectoryEntry::decode(cell.payload, kind)
                    .map(|entry| {
                        self.last_bucket = self.last_bucket.max(entry.id);
                        if kind == TreeKind::DirectoryV2 {
                            upgraded.set(&cell.key.to_vec(), &entry.encode());
                        }
                    }),
            };
            problem = checked.err();
            problem.is_none()
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        if !is_directory(kind) {
            let held = self.buckets.entry(bucket).or_default();
            held.changed = covered;
            match kind {
                TreeKind::Objects => {
                    (held.object_count, held.object_bytes, held.locked_count) = (objects, bytes, locked);
                    held.parted_bytes = parted;
                }
                TreeKind::Parts => held.part_bytes = bytes,
                TreeKind::Uploads => self.upload_count += cells,
                TreeKind::Values => held.completion_count = completions,
                _ => {}
            }
        }
        if let Some(place) = self.tree_mut(bucket, kind)
            && !(seeded(Mutant::DirectoryNotLoaded) && is_directory(kind))
        {
            *place = if kind == TreeKind::DirectoryV2 { upgraded } else { tree };
        }
        Ok(())
    }

    /// Visits the place of everything that has bytes on drives, while `visit` answers true: where, and the bytes of the
    /// blob. An error names a cell that cannot be read.
    pub(crate) fn places(&self, mut visit: impl FnMut(&BlobLocation, u64) -> bool) -> Result<(), Malformed> {
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
                    return visit(&BlobLocation::Log { drive, at }, cell.size);
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

impl BucketIndex {
    /// Versions of objects and their bytes.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.object_count, self.object_bytes)
    }

    /// Bytes of all versions and of all parts.
    pub(crate) fn stored_bytes(&self) -> u64 {
        // Objects made of parts are counted by their parts.
        self.object_bytes.saturating_sub(self.parted_bytes).saturating_add(self.part_bytes)
    }

    /// Whether nothing keeps the bucket from being deleted: no version of an object, and no value of a layer above. Open
    /// uploads and what is remembered of others go with it.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.has_owned_values()
    }

    /// A value.
    pub(crate) fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.values.get(key).map(|cell| Bytes::copy_from_slice(cell.payload))
    }

    /// Visits values from the first whose key is not below `from`, while `visit` answers true.
    pub(crate) fn scan_values(&self, from: &[u8], mut visit: impl FnMut(&[u8], &Bytes) -> bool) {
        self.values.scan(from, |cell| visit(&cell.key.to_vec(), &Bytes::copy_from_slice(cell.payload)));
    }

    /// The tree of objects or that of parts: those whose payloads are cells.
    fn cells(&self, tree: TreeKind) -> &Tree {
        if tree == TreeKind::Parts { &self.parts } else { &self.objects }
    }

    /// Visits cells of the tree of objects or of parts, from a key on; returns the key to go on with when `visit` said
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
            let cell = cell_of(found.payload);
            let goes_on = visit(&found, &cell);
            if !goes_on {
                stopped = Some(found.key.to_vec());
            }
            goes_on
        });
        stopped
    }
}

/// The tree that has the values of a bucket, or of the store itself.
fn values_of(bucket: BucketId) -> TreeKind {
    if bucket == BucketId::SYSTEM { TreeKind::SystemValues } else { TreeKind::Values }
}

/// Reads the cell of an object or part. It was made by `apply`, or looked at whole by `load`: a failure is a bug.
fn cell_of(payload: &[u8]) -> Cell<'_> {
    Cell::decode(payload).expect("checked when it came in")
}

/// Where the bytes of such a cell are, and their checksums.
fn place_of(cell: &Cell<'_>) -> (BlobLocation, Units) {
    cell.place().expect("checked when it came in")
}

/// The bytes of a cell that is no marker and not made of parts.
pub(crate) fn blob_of(cell: &Cell<'_>) -> Blob {
    let (place, units) = place_of(cell);
    Blob { sequence: cell.sequence, size: cell.size, place, units }
}

fn info_of(found: &CellRef<'_>, cell: &Cell<'_>) -> ObjectInfo {
    ObjectInfo {
        sequence: cell.sequence,
        is_null: cell.is_null,
        size: cell.size,
        modified_ms: cell.modified_ms,
        etag: cell.etag,
        attributes: found.share(cell.attributes),
        lock: cell.lock,
    }
}

fn version_of(cell: &Cell<'_>) -> VersionId {
    if cell.is_null { VersionId::Null } else { VersionId::Of(cell.sequence) }
}

fn marker_of(cell: &Cell<'_>) -> Marker {
    Marker { version: version_of(cell), modified_ms: cell.modified_ms }
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
    let id = if kind == TreeKind::SystemValues { BucketId::SYSTEM } else { BucketId(1) };
    let mut index = Index::default();
    if index.load(Sequence(9), id, kind, tree).is_err() || index.places(|_, _| true).is_err() {
        return;
    }
    assert!(index.directory().len() <= bytes.len());
    let Some(bucket) = index.buckets.get(&id) else { return };
    let listed =
        bucket.list(&ListQuery { max: 9, delimiter: Bytes::from_static(b"/"), ..ListQuery::default() });
    assert!(listed.objects.len() + listed.prefixes.len() <= 9);
    let versions =
        bucket.list_versions(&VersionQuery { max: usize::MAX, ..VersionQuery::default() }).versions;
    for version in &versions {
        let found = bucket.open(&version.key, Some(VersionId::Of(version.info.sequence)));
        assert!(found != Found::Nothing);
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
    use crate::format::record::{BlobPlace, BlobRecord, unit_count};
    use crate::lock::{Lock, Retention, RetentionMode};
    use crate::object::ETag;

    fn put(key: &'static str, size: u64) -> Change {
        let units = vec![0; usize::try_from(unit_count(size)).expect("small")];
        let extents = [Extent { drive: 0, at: DriveOffset(4096), bytes: 1 << 20 }].into();
        let blob = BlobRecord { size, place: BlobPlace::Extents(extents), units: units.into() };
        let etag = ETag::default();
        let attributes = Bytes::new();
        let (key, lock) = (key.into(), Lock::NONE);
        Change::PutObject { key, modified_ms: 0, etag, attributes, versioned: false, lock, blob }
    }

    pub(super) fn index(keys: &[&'static str]) -> Index {
        let mut index = Index::default();
        for (i, key) in keys.iter().enumerate() {
            let record = Record { bucket: BucketId(1), changes: vec![put(key, 9)] };
            index.apply(Sequence(i as u64 + 1), &record, 0, &[], &mut NoEffects);
        }
        index
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
            lock: Lock::NONE,
            parts,
        };
        assert_eq!(apply(&mut index, 11, complete), 1, "part 2 was not named");
        let (info, blobs) = index.buckets[&BucketId(1)].open(b"m", None).object().expect("there");
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
            Change::PutObject { key, modified_ms, etag, attributes, lock, blob, .. } => {
                Change::PutObject { key, modified_ms, etag, attributes, versioned: true, lock, blob }
            }
            other => other,
        };
        let marker = |versioned| Change::PutMarker { key: "k".into(), modified_ms: 9, versioned };
        let sizes = |index: &Index| -> Vec<u64> {
            let query = VersionQuery { max: 99, ..VersionQuery::default() };
            let versions = index.buckets[&BucketId(1)].list_versions(&query).versions;
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
            (
                bucket.find(b"k", None).object(),
                bucket.list(&ListQuery { max: 9, ..ListQuery::default() }).objects.len()
            ),
            (None, 0)
        );
        let size = |version| bucket.find(b"k", Some(version)).object().map(|info| info.size);
        assert_eq!(size(VersionId::Of(Sequence(3))), Some(3));
        assert_eq!(size(VersionId::Null), Some(4));
        assert_eq!(bucket.find(b"k", None), bucket.find(b"k", Some(VersionId::Of(Sequence(5)))));
        assert!(matches!(bucket.find(b"k", None), Found::Marker(_)));
        let (after, after_version) = (Bytes::from_static(b"k"), Some(VersionId::Of(Sequence(4))));
        let behind = VersionQuery { after, after_version, max: 1, ..VersionQuery::default() };
        assert_eq!(bucket.list_versions(&behind).versions[0].info.size, 3);
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

    /// Lists by pages of every size and holds them against one page of all: names of keys with sequences, and prefixes.
    fn check_pages(index: &Index, [prefix, delimiter]: [&'static str; 2], want: &[&str]) {
        let bucket = &index.buckets[&BucketId(1)];
        for max in 1..=want.len() + 1 {
            let mut query = VersionQuery {
                prefix: Bytes::from_static(prefix.as_bytes()),
                delimiter: Bytes::from_static(delimiter.as_bytes()),
                max,
                ..VersionQuery::default()
            };
            let mut got: Vec<String> = Vec::new();
            loop {
                let page = bucket.list_versions(&query);
                assert!(page.versions.len() + page.prefixes.len() <= max);
                let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
                let named = |found: &crate::object::ObjectVersion| {
                    (name(&found.key), u64::MAX - found.info.sequence.0)
                };
                let mut lines: Vec<(String, u64)> = page.versions.iter().map(named).collect();
                lines.extend(page.prefixes.iter().map(|prefix| (name(prefix), 0)));
                lines.sort();
                got.extend(lines.into_iter().map(|(key, sequence)| match sequence {
                    0 => key,
                    other => format!("{key}@{}", u64::MAX - other),
                }));
                let Some((key, version)) = page.next else { break };
                query.after = key;
                query.after_version = version.map(VersionId::Of);
            }
            assert_eq!(got, want, "{prefix:?} {delimiter:?} by {max}");
        }
    }

    #[test]
    fn pages_of_versions() {
        let mut index = Index::default();
        let keys = ["a", "a", "b/1", "b/1", "b/2", "c", "b/1"];
        for (sequence, key) in (1..).zip(keys) {
            let Change::PutObject { key, etag, attributes, lock, blob, .. } = put(key, 1) else {
                unreachable!()
            };
            let change =
                Change::PutObject { key, modified_ms: 0, etag, attributes, versioned: true, lock, blob };
            let record = Record { bucket: BucketId(1), changes: vec![change] };
            index.apply(Sequence(sequence), &record, 0, &[], &mut NoEffects);
        }
        check_pages(&index, ["", ""], &["a@2", "a@1", "b/1@7", "b/1@4", "b/1@3", "b/2@5", "c@6"]);
        check_pages(&index, ["", "/"], &["a@2", "a@1", "b/", "c@6"]);
        check_pages(&index, ["b/", "/"], &["b/1@7", "b/1@4", "b/1@3", "b/2@5"]);
        check_pages(&index, ["x", ""], &[]);
        let bucket = &index.buckets[&BucketId(1)];
        let behind = |after_version| {
            let query =
                VersionQuery { after: "b/1".into(), after_version, max: 9, ..VersionQuery::default() };
            bucket
                .list_versions(&query)
                .versions
                .iter()
                .map(|found| found.info.sequence.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(behind(None), [5, 6]);
        assert_eq!(behind(Some(VersionId::Of(Sequence(6)))), [4, 3, 5, 6], "one that is not there any more");
        assert_eq!(behind(Some(VersionId::Null)), [7, 4, 3, 5, 6], "nobody knows where it stood");
    }

    #[test]
    fn renames_free_nothing_but_what_they_replace() {
        let mut index = index(&["a", "b"]);
        let mut sequence = 2;
        let mut rename = |index: &mut Index, key: &'static str, version, to: &'static str| {
            sequence += 1;
            let change = Change::Rename { key: key.into(), version: Sequence(version), to: to.into() };
            let (mut freed, record) =
                (Freed::default(), Record { bucket: BucketId(1), changes: vec![change] });
            index.apply(Sequence(sequence), &record, 0, &[], &mut freed);
            (freed.0.len(), index.buckets[&BucketId(1)].held())
        };
        let before = index.buckets[&BucketId(1)].open(b"a", None).object().expect("there");
        assert_eq!(rename(&mut index, "a", 9, "c"), (0, (2, 18)), "there is no such version");
        assert_eq!(rename(&mut index, "a", 1, "c"), (0, (2, 18)));
        let bucket = &index.buckets[&BucketId(1)];
        let (info, blobs) = bucket.open(b"c", None).object().expect("there");
        assert_eq!((bucket.find(b"a", None), info.sequence), (Found::Nothing, Sequence(4)));
        assert_eq!((info.etag, info.size, &blobs[0].place), (before.0.etag, 9, &before.1[0].place));
        assert_eq!(rename(&mut index, "c", 4, "b"), (1, (1, 9)), "what was there goes");
        assert_eq!(rename(&mut index, "b", 5, "b"), (0, (1, 9)), "the same object, not its space");
        assert_eq!(rename(&mut index, "c", 4, "d"), (0, (1, 9)), "it is gone");
    }

    #[test]
    fn revisions_keep_all_else() {
        let mut index = index(&["k"]);
        let before = index.buckets[&BucketId(1)].open(b"k", None).object().expect("there");
        let lock = Lock {
            retention: Some(Retention { mode: RetentionMode::Governance, until_ms: 50 }),
            legal_hold: false,
        };
        let mut revise = |version, attributes: &'static str, lock| {
            let (key, attributes) = ("k".into(), attributes.into());
            let change = Change::Revise { key, version: Sequence(version), attributes, lock };
            let record = Record { bucket: BucketId(1), changes: vec![change] };
            index.apply(Sequence(7), &record, 0, &[], &mut NoEffects);
            let bucket = &index.buckets[&BucketId(1)];
            let is_protected = |now_ms| bucket.is_protected(b"k", VersionId::Null, now_ms, false);
            let protected = (is_protected(49), is_protected(50));
            (bucket.open(b"k", None).object().expect("there"), protected, bucket.locked_count)
        };
        let (info, blobs) = before.clone();
        let revised = (ObjectInfo { attributes: "new".into(), lock, ..info }, blobs);
        assert_eq!(revise(9, "x", lock), (before, (false, false), 0), "there is no such version");
        assert_eq!(revise(1, "new", lock), (revised, (true, false), 1));
        assert_eq!(revise(1, "", Lock::NONE).2, 0);
    }
}
