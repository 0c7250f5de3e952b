//! The index of one shard: every object, upload and value, in memory, in key order.
//!
//! `shard` applies a record here the moment it takes its place in the log; `recover` applies the same records from
//! the drive. I1. `apply` is the only way to change it, and the same records in the same order give the same index.
//! I2. What a change displaces is handed back, never dropped: its space may be in use by readers.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::record::{BlobPlace, BlobRecord, Change, Extent, Record};
use crate::handle::{ListPage, ListQuery, PartInfo, UploadId, UploadInfo};
use crate::object::{ETag, ObjectInfo};
use crate::units::{BucketId, DriveOffset, Sequence, ShardId};

/// Bytes of an object or part that are on drives.
#[derive(Debug, PartialEq, Eq)]
pub struct Blob {
    /// Bytes.
    pub size: u64,
    /// Where.
    pub place: Place,
    /// CRC-64/NVME of each 64 KiB unit.
    pub units: Arc<[u64]>,
}

/// Where a blob's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a log block: one run at any byte.
    Log {
        /// The drive's place among the store's drives.
        drive: u16,
        /// Its first byte.
        at: DriveOffset,
    },
    /// In extents.
    Extents(Arc<[Extent]>),
}

/// One object.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) info: ObjectInfo,
    pub(crate) blobs: Arc<[Arc<Blob>]>,
}

/// One part of an open upload.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) info: PartInfo,
    pub(crate) blob: Arc<Blob>,
}

/// One open upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) key: Bytes,
    pub(crate) created_ms: u64,
    pub(crate) attributes: Bytes,
    pub(crate) parts: BTreeMap<u16, Part>,
}

/// What the shard holds of one bucket.
#[derive(Debug, Default)]
pub(crate) struct BucketIndex {
    pub(crate) objects: BTreeMap<Bytes, Entry>,
    pub(crate) values: BTreeMap<Bytes, Bytes>,
    pub(crate) uploads: BTreeMap<u128, Upload>,
    /// The newest record that changed this bucket: who reads out a listing or an absence waits for it.
    pub(crate) changed: Sequence,
    /// Bytes of all objects.
    pub(crate) object_bytes: u64,
}

impl BucketIndex {
    /// Objects and their bytes.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.objects.len() as u64, self.object_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.values.is_empty() && self.uploads.is_empty()
    }
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
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) buckets: HashMap<BucketId, BucketIndex>,
    pub(crate) directory: BTreeMap<Bytes, DirectoryEntry>,
    /// The highest bucket id ever given out, so that none is given out twice.
    pub(crate) last_bucket: BucketId,
    pub(crate) upload_count: usize,
}

impl Index {
    /// Applies one record. `inline_at` says where on `drive` each inline blob of it stands, in order.
    /// Answers the blobs that nothing refers to any more.
    pub(crate) fn apply(
        &mut self,
        sequence: Sequence,
        record: &Record,
        drive: u16,
        inline_at: &[DriveOffset],
    ) -> Vec<Arc<Blob>> {
        let mut displaced = Vec::new();
        let mut inline_at = inline_at.iter();
        let mut keep = |blob: &BlobRecord| {
            let place = match &blob.place {
                BlobPlace::Inline(_) => {
                    Place::Log { drive, at: *inline_at.next().expect("one place per inline blob") }
                }
                BlobPlace::Extents(extents) => Place::Extents(extents.clone()),
            };
            Arc::new(Blob { size: blob.size, place, units: blob.units.clone() })
        };
        if let Some(Change::SetBucket { .. } | Change::ClearBucket { .. }) = record.changes.first() {
            self.apply_directory(record);
            return displaced;
        }
        let bucket = self.buckets.entry(record.bucket).or_default();
        bucket.changed = sequence;
        for change in &record.changes {
            match change {
                Change::PutObject { key, modified_ms, etag, attributes, blob } => {
                    let info = object_info(sequence, blob.size, *modified_ms, *etag, attributes);
                    let entry = Entry { info, blobs: [keep(blob)].into() };
                    displaced.extend(bucket.set_object(key, entry));
                }
                Change::DeleteObject { key } => {
                    if let Some(entry) = bucket.objects.remove(key.as_ref()) {
                        bucket.object_bytes -= entry.info.size;
                        displaced.extend(blobs_of(entry));
                    }
                }
                Change::SetValue { key, value } => {
                    bucket.values.insert(own(key), own(value));
                }
                Change::ClearValue { key } => {
                    bucket.values.remove(key.as_ref());
                }
                Change::OpenUpload { upload, key, created_ms, attributes } => {
                    let (key, attributes) = (own(key), own(attributes));
                    let opened = Upload { key, created_ms: *created_ms, attributes, parts: BTreeMap::new() };
                    if bucket.uploads.insert(*upload, opened).is_none() {
                        self.upload_count += 1;
                    }
                }
                Change::PutPart { upload, number, modified_ms, etag, attributes, blob } => {
                    let info = PartInfo {
                        number: *number,
                        sequence,
                        size: blob.size,
                        modified_ms: *modified_ms,
                        etag: *etag,
                        attributes: own(attributes),
                    };
                    let part = Part { info, blob: keep(blob) };
                    let unused = match bucket.uploads.get_mut(upload) {
                        Some(upload) => upload.parts.insert(*number, part),
                        None => Some(part),
                    };
                    displaced.extend(unused.map(|part| part.blob));
                }
                Change::CompleteUpload { upload, key, modified_ms, etag, attributes, parts } => {
                    let Some(mut upload) = bucket.uploads.remove(upload) else { continue };
                    self.upload_count -= 1;
                    let chosen: Arc<[Arc<Blob>]> = parts
                        .iter()
                        .filter_map(|(number, _)| upload.parts.remove(number))
                        .map(|part| part.blob)
                        .collect();
                    displaced.extend(upload.parts.into_values().map(|part| part.blob));
                    let size = chosen.iter().map(|blob| blob.size).sum();
                    let info = object_info(sequence, size, *modified_ms, *etag, attributes);
                    displaced.extend(bucket.set_object(key, Entry { info, blobs: chosen }));
                }
                Change::AbortUpload { upload } => {
                    if let Some(upload) = bucket.uploads.remove(upload) {
                        self.upload_count -= 1;
                        displaced.extend(upload.parts.into_values().map(|part| part.blob));
                    }
                }
                Change::SetBucket { .. } | Change::ClearBucket { .. } => {}
            }
        }
        displaced
    }

    fn apply_directory(&mut self, record: &Record) {
        for change in &record.changes {
            match change {
                Change::SetBucket { name, shard, created_ms, annotation } => {
                    let entry = DirectoryEntry {
                        id: record.bucket,
                        shard: *shard,
                        created_ms: *created_ms,
                        annotation: own(annotation),
                    };
                    self.last_bucket = self.last_bucket.max(record.bucket);
                    self.directory.insert(own(name), entry);
                }
                Change::ClearBucket { name } => {
                    self.directory.remove(name.as_ref());
                }
                _ => {}
            }
        }
    }

    /// Every blob that is in use, for deriving free space.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Arc<Blob>> {
        self.buckets.values().flat_map(|bucket| {
            let objects = bucket.objects.values().flat_map(|entry| entry.blobs.iter());
            let parts = bucket.uploads.values().flat_map(|upload| upload.parts.values());
            objects.chain(parts.map(|part| &part.blob))
        })
    }
}

impl BucketIndex {
    fn set_object(&mut self, key: &Bytes, entry: Entry) -> impl Iterator<Item = Arc<Blob>> {
        self.object_bytes += entry.info.size;
        let old = match self.objects.get_mut(key.as_ref()) {
            Some(place) => Some(std::mem::replace(place, entry)),
            None => self.objects.insert(own(key), entry),
        };
        self.object_bytes -= old.as_ref().map_or(0, |entry| entry.info.size);
        old.into_iter().flat_map(blobs_of)
    }

    /// One page of keys and common prefixes, by range scan; a common prefix is passed by one seek.
    ///
    /// Source: Amazon S3 API, ListObjectsV2.
    pub(crate) fn list(&self, query: &ListQuery) -> ListPage {
        let mut page = ListPage::default();
        let (prefix, after, delimiter) = (&query.prefix, &query.after, &query.delimiter);
        let mut from =
            if after < prefix { Bound::Included(prefix.clone()) } else { Bound::Excluded(after.clone()) };
        if after.is_empty() {
            from = Bound::Included(prefix.clone());
        }
        let mut last: Option<Bytes> = None;
        'seek: loop {
            let range = self.objects.range::<[u8], _>((bound(&from), Bound::Unbounded));
            for (key, entry) in range {
                if !key.starts_with(prefix) {
                    break 'seek;
                }
                let rest = &key[prefix.len()..];
                let cut = if delimiter.is_empty() { None } else { find(rest, delimiter) };
                let common = cut.map(|at| key.slice(..prefix.len() + at + delimiter.len()));
                let passed = common.as_ref().is_some_and(|common| !after.is_empty() && common <= after);
                if !passed {
                    if query.max <= page.objects.len() + page.prefixes.len() {
                        page.next_after = last.or_else(|| (!after.is_empty()).then(|| after.clone()));
                        return page;
                    }
                    match &common {
                        Some(common) => page.prefixes.push(common.clone()),
                        None => page.objects.push((key.clone(), entry.info.clone())),
                    }
                    last = Some(common.as_ref().unwrap_or(key).clone());
                }
                if let Some(common) = common {
                    let Some(next) = successor(&common) else { break 'seek };
                    from = Bound::Included(next);
                    continue 'seek;
                }
            }
            break;
        }
        page
    }

    /// Open uploads in order of (key, id) after `after`.
    pub(crate) fn list_uploads(
        &self,
        prefix: &[u8],
        after: Option<&(Bytes, UploadId)>,
        max: usize,
    ) -> Vec<UploadInfo> {
        let mut found: Vec<UploadInfo> = self
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(prefix))
            .map(|(id, upload)| upload.info(UploadId(*id)))
            .filter(|info| after.is_none_or(|(key, id)| (key, id) < (&info.key, &info.id)))
            .collect();
        found.sort_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
        found.truncate(max);
        found
    }
}

impl Upload {
    pub(crate) fn info(&self, id: UploadId) -> UploadInfo {
        UploadInfo {
            id,
            key: self.key.clone(),
            created_ms: self.created_ms,
            attributes: self.attributes.clone(),
        }
    }
}

fn blobs_of(entry: Entry) -> Vec<Arc<Blob>> {
    entry.blobs.iter().cloned().collect()
}

fn object_info(
    sequence: Sequence,
    size: u64,
    modified_ms: u64,
    etag: ETag,
    attributes: &Bytes,
) -> ObjectInfo {
    ObjectInfo { sequence, size, modified_ms, etag, attributes: own(attributes) }
}

/// A copy that does not keep a request's or log block's memory alive.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn bound(from: &Bound<Bytes>) -> Bound<&[u8]> {
    match from {
        Bound::Included(key) => Bound::Included(key.as_ref()),
        Bound::Excluded(key) => Bound::Excluded(key.as_ref()),
        Bound::Unbounded => Bound::Unbounded,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::unit_count;

    fn put(key: &'static str, size: u64) -> Change {
        let units = vec![0; usize::try_from(unit_count(size)).expect("small")];
        let extents = [Extent { drive: 0, at: DriveOffset(4096), bytes: 1 << 20 }].into();
        let blob = BlobRecord { size, place: BlobPlace::Extents(extents), units: units.into() };
        let etag = ETag::default();
        Change::PutObject { key: key.into(), modified_ms: 0, etag, attributes: Bytes::new(), blob }
    }

    fn index(keys: &[&'static str]) -> Index {
        let mut index = Index::default();
        for (i, key) in keys.iter().enumerate() {
            let record = Record { bucket: BucketId(1), changes: vec![put(key, 9)] };
            assert!(index.apply(Sequence(i as u64 + 1), &record, 0, &[]).is_empty());
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

    #[test]
    fn what_is_displaced_comes_back() {
        let mut index = index(&["a", "b"]);
        let apply = |index: &mut Index, sequence, changes| {
            index.apply(Sequence(sequence), &Record { bucket: BucketId(1), changes }, 0, &[]).len()
        };
        assert_eq!(apply(&mut index, 3, vec![put("a", 1)]), 1);
        assert_eq!(apply(&mut index, 4, vec![Change::DeleteObject { key: "b".into() }]), 1);
        assert_eq!(apply(&mut index, 5, vec![Change::DeleteObject { key: "b".into() }]), 0);
        assert_eq!(index.blobs().count(), 1);
    }
}
