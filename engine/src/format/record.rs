//! The record: one atomic change of a shard. See FORMAT.md, "Record".
//!
//! The same value is applied to the index when a command appends it and when the log is replayed, so both go one way.
//! A record is a list of changes of one bucket; nothing of it takes effect unless all of it is in the log.

use std::sync::Arc;

use bytes::Bytes;

use super::{Malformed, Put, Reader};
use crate::format::settings::BucketSettings;
use crate::limits::{
    ATTRIBUTES_BYTES_MAX, INLINE_BYTES_MAX, KEY_BYTES_MAX, PARTS_MAX, RECORD_BYTES_MAX, VALUE_KEY_BYTES_MAX,
};
use crate::lock::{Lock, Retention, RetentionMode};
use crate::mutant::{Mutant, seeded};
use crate::object::ETag;
use crate::units::{BLOCK_BYTES, BucketId, DriveOffset, Sequence, ShardId, UNIT_BYTES};

/// Bytes before the first change of a record.
const RECORD_HEADER_BYTES: usize = 4 + 8 + 4;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bucket it changes.
    pub bucket: BucketId,
    /// What changes, in order.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in FORMAT.md, Record")]
pub enum Change {
    /// Sets the object of a key: its null version, or (`versioned`) one more version.
    PutObject {
        key: Bytes,
        modified_ms: u64,
        etag: ETag,
        attributes: Bytes,
        versioned: bool,
        lock: Lock,
        blob: BlobRecord,
    },
    /// Removes the null version of a key.
    DeleteObject { key: Bytes },
    /// Sets a record of the layer above.
    SetValue { key: Bytes, value: Bytes },
    /// Removes a record of the layer above.
    ClearValue { key: Bytes },
    /// Opens a multipart upload.
    OpenUpload { upload: u128, key: Bytes, created_ms: u64, attributes: Bytes },
    /// Stores one part of an open upload.
    PutPart { upload: u128, number: u16, modified_ms: u64, etag: ETag, attributes: Bytes, blob: BlobRecord },
    /// Makes the object of a key from parts (number and sequence of each) and ends the upload.
    CompleteUpload {
        upload: u128,
        key: Bytes,
        modified_ms: u64,
        etag: ETag,
        attributes: Bytes,
        versioned: bool,
        lock: Lock,
        parts: Vec<(u16, Sequence)>,
    },
    /// Ends an upload and gives its parts back.
    AbortUpload { upload: u128 },
    /// Adds a bucket to the directory, or replaces what is said of it. Only in the log of shard 0.
    SetBucket { name: Bytes, shard: ShardId, created_ms: u64, settings: BucketSettings },
    /// Removes a bucket from the directory. Only in the log of shard 0.
    ClearBucket { name: Bytes },
    /// Puts a delete marker on top of a key's versions: as the null version, or (`versioned`) as one more.
    PutMarker { key: Bytes, modified_ms: u64, versioned: bool },
    /// Removes one version of a key, named by the change that made it.
    DeleteVersion { key: Bytes, version: Sequence },
    /// Says where the bytes of one version or part are now: in a log or compaction zone. `part` chooses the tree of its key.
    MoveBytes { part: bool, key: Bytes, version: Sequence, drive: u16, at: DriveOffset },
    /// Replaces attributes and lock of one version, named by the change that made it; all else of it stays.
    Revise { key: Bytes, version: Sequence, attributes: Bytes, lock: Lock },
    /// Takes one version, named by the change that made it, away from its key and makes it the null version of another key.
    Rename { key: Bytes, version: Sequence, to: Bytes },
}

/// What a record does to the space of its shard; chooses the room that it may use in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpaceEffect {
    /// It stores more.
    Stores,
    /// It stores nothing but the note of what it removes or moves: it may use the last of the log.
    Frees,
}

/// The bytes of an object or part: how many, where, and the checksum of each 64 KiB unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// Bytes.
    pub size: u64,
    /// Where they are.
    pub place: BlobPlace,
    /// CRC-64/NVME of each unit, in order.
    pub units: Arc<[u64]>,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobPlace {
    /// In the record itself.
    Inline(Bytes),
    /// In extents.
    Extents(Arc<[Extent]>),
}

/// A run of drive blocks that belongs to one blob; all but a blob's last hold whole units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// The drive's place among the store's drives.
    pub drive: u16,
    /// Where it starts.
    pub at: DriveOffset,
    /// Bytes, whole blocks.
    pub bytes: u64,
}

/// Units of a blob of `size` bytes.
pub fn unit_count(size: u64) -> u64 {
    size.div_ceil(UNIT_BYTES)
}

mod tag {
    pub(super) const PUT_OBJECT: u8 = 1;
    pub(super) const DELETE_OBJECT: u8 = 2;
    pub(super) const SET_VALUE: u8 = 3;
    pub(super) const CLEAR_VALUE: u8 = 4;
    pub(super) const OPEN_UPLOAD: u8 = 5;
    pub(super) const PUT_PART: u8 = 6;
    pub(super) const COMPLETE_UPLOAD: u8 = 7;
    pub(super) const ABORT_UPLOAD: u8 = 8;
    /// As version 2 of the format wrote it.
    pub(super) const SET_BUCKET_V2: u8 = 9;
    pub(super) const CLEAR_BUCKET: u8 = 10;
    pub(super) const PUT_MARKER: u8 = 11;
    pub(super) const DELETE_VERSION: u8 = 12;
    pub(super) const MOVE_BYTES: u8 = 13;
    pub(super) const SET_BUCKET: u8 = 14;
    /// As set value, of the store itself. A program that does not know such values must not take a log for whole and
    /// then forget them.
    pub(super) const SET_SYSTEM_VALUE: u8 = 15;
    pub(super) const CLEAR_SYSTEM_VALUE: u8 = 16;
    pub(super) const REVISE: u8 = 17;
    /// As put object and complete upload, with a lock. A program that does not know locks finds damage.
    pub(super) const PUT_LOCKED: u8 = 18;
    pub(super) const COMPLETE_LOCKED: u8 = 19;
    pub(super) const RENAME: u8 = 20;
    pub(super) const INLINE: u8 = 0;
    pub(super) const EXTENTS: u8 = 1;
}

impl Record {
    /// Appends the record to `out` and returns where, in `out`, the bytes of each inline blob start (in order).
    pub fn encode(&self, out: &mut Vec<u8>) -> Vec<usize> {
        let start = out.len();
        let mut inline_at = Vec::new();
        out.u32(0).u64(self.bucket.0).length(self.changes.len());
        for change in &self.changes {
            encode_change(change, self.is_system(), out, &mut inline_at);
        }
        let length = u32::try_from(out.len() - start).expect("bounded by RECORD_BYTES_MAX");
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        inline_at
    }

    /// Whether it changes values of the store itself.
    fn is_system(&self) -> bool {
        self.bucket == BucketId::SYSTEM
    }

    /// Upper bound of the bytes that `encode` appends.
    pub fn encoded_bytes_max(&self) -> usize {
        RECORD_HEADER_BYTES + self.changes.iter().map(change_bytes_max).sum::<usize>()
    }

    /// Sequences that the record takes: one for each of its changes.
    pub(crate) fn sequences(&self) -> u64 {
        if seeded(Mutant::SequencePerRecord) { 1 } else { (self.changes.len() as u64).max(1) }
    }

    /// Whether the record frees. Values do neither: they go with what they come with.
    pub(crate) fn space_effect(&self) -> SpaceEffect {
        let mut effect = SpaceEffect::Stores;
        for change in &self.changes {
            match change {
                Change::PutObject { .. }
                | Change::OpenUpload { .. }
                | Change::PutPart { .. }
                | Change::CompleteUpload { .. }
                | Change::SetBucket { .. } => return SpaceEffect::Stores,
                Change::SetValue { .. } => {}
                Change::Revise { .. } | Change::Rename { .. } => return SpaceEffect::Stores,
                Change::DeleteObject { .. }
                | Change::ClearValue { .. }
                | Change::AbortUpload { .. }
                | Change::ClearBucket { .. }
                | Change::PutMarker { .. }
                | Change::DeleteVersion { .. }
                | Change::MoveBytes { .. } => effect = SpaceEffect::Frees,
            }
        }
        effect
    }

    /// Reads one record from the front of `bytes`; returns it, its length, and where each inline blob's bytes start.
    pub fn decode(bytes: &Bytes) -> Result<(Record, usize, Vec<usize>), Malformed> {
        let mut head = Reader::new(bytes.clone());
        let length = head.u32("record length")? as usize;
        if !(RECORD_HEADER_BYTES..=RECORD_BYTES_MAX).contains(&length) || bytes.len() < length {
            return head.malformed("record length");
        }
        let mut r = Reader::new(bytes.slice(..length));
        r.u32("record length")?;
        let bucket = BucketId(r.u64("bucket")?);
        let count = r.count(5, "changes")?;
        let mut inline_at = Vec::new();
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            changes.push(decode_change(&mut r, bucket == BucketId::SYSTEM, &mut inline_at)?);
        }
        if r.left() != 0 {
            return r.malformed("record length");
        }
        Ok((Record { bucket, changes }, length, inline_at))
    }
}

fn encode_change(change: &Change, is_system: bool, out: &mut Vec<u8>, inline_at: &mut Vec<usize>) {
    match change {
        Change::PutObject { key, modified_ms, etag, attributes, versioned, lock, blob } => {
            let tag = if lock.is_none() { tag::PUT_OBJECT } else { tag::PUT_LOCKED };
            out.u8(tag).string(key).u64(*modified_ms);
            encode_etag(etag, out);
            out.string(attributes).u8(u8::from(*versioned));
            if !lock.is_none() {
                encode_lock(lock, out);
            }
            encode_blob(blob, out, inline_at);
        }
        Change::DeleteObject { key } => {
            out.u8(tag::DELETE_OBJECT).string(key);
        }
        Change::SetValue { key, value } => {
            let tag = if is_system { tag::SET_SYSTEM_VALUE } else { tag::SET_VALUE };
            out.u8(tag).string(key).string(value);
        }
        Change::ClearValue { key } => {
            let tag = if is_system { tag::CLEAR_SYSTEM_VALUE } else { tag::CLEAR_VALUE };
            out.u8(tag).string(key);
        }
        Change::OpenUpload { upload, key, created_ms, attributes } => {
            out.u8(tag::OPEN_UPLOAD).u128(*upload).string(key).u64(*created_ms).string(attributes);
        }
        Change::PutPart { upload, number, modified_ms, etag, attributes, blob } => {
            out.u8(tag::PUT_PART).u128(*upload).u16(*number).u64(*modified_ms);
            encode_etag(etag, out);
            out.string(attributes);
            encode_blob(blob, out, inline_at);
        }
        Change::CompleteUpload { upload, key, modified_ms, etag, attributes, versioned, lock, parts } => {
            let tag = if lock.is_none() { tag::COMPLETE_UPLOAD } else { tag::COMPLETE_LOCKED };
            out.u8(tag).u128(*upload).string(key).u64(*modified_ms);
            encode_etag(etag, out);
            out.string(attributes).u8(u8::from(*versioned));
            if !lock.is_none() {
                encode_lock(lock, out);
            }
            out.length(parts.len());
            for (number, sequence) in parts {
                out.u16(*number).u64(sequence.0);
            }
        }
        Change::AbortUpload { upload } => {
            out.u8(tag::ABORT_UPLOAD).u128(*upload);
        }
        Change::SetBucket { name, shard, created_ms, settings } => {
            out.u8(tag::SET_BUCKET).string(name).u16(shard.0).u64(*created_ms);
            settings.encode(out);
        }
        Change::ClearBucket { name } => {
            out.u8(tag::CLEAR_BUCKET).string(name);
        }
        Change::PutMarker { key, modified_ms, versioned } => {
            out.u8(tag::PUT_MARKER).string(key).u64(*modified_ms).u8(u8::from(*versioned));
        }
        Change::DeleteVersion { key, version } => {
            out.u8(tag::DELETE_VERSION).string(key).u64(version.0);
        }
        Change::MoveBytes { part, key, version, drive, at } => {
            out.u8(tag::MOVE_BYTES).u8(u8::from(*part)).string(key).u64(version.0).u16(*drive).u64(at.0);
        }
        Change::Revise { key, version, attributes, lock } => {
            out.u8(tag::REVISE).string(key).u64(version.0).string(attributes);
            encode_lock(lock, out);
        }
        Change::Rename { key, version, to } => {
            out.u8(tag::RENAME).string(key).u64(version.0).string(to);
        }
    }
}

fn change_bytes_max(change: &Change) -> usize {
    let blob_bytes = |blob: &BlobRecord| match &blob.place {
        BlobPlace::Inline(bytes) => bytes.len() + blob.units.len() * 8,
        BlobPlace::Extents(extents) => extents.len() * 18 + blob.units.len() * 8,
    };
    96 + match change {
        Change::PutObject { key, attributes, blob, .. } => key.len() + attributes.len() + blob_bytes(blob),
        Change::DeleteObject { key }
        | Change::ClearValue { key }
        | Change::PutMarker { key, .. }
        | Change::DeleteVersion { key, .. }
        | Change::MoveBytes { key, .. } => key.len(),
        Change::SetValue { key, value } => key.len() + value.len(),
        Change::OpenUpload { key, attributes, .. } | Change::Revise { key, attributes, .. } => {
            key.len() + attributes.len()
        }
        Change::PutPart { attributes, blob, .. } => attributes.len() + blob_bytes(blob),
        Change::CompleteUpload { key, attributes, parts, .. } => {
            key.len() + attributes.len() + parts.len() * 10
        }
        Change::Rename { key, to, .. } => key.len() + to.len(),
        Change::AbortUpload { .. } => 0,
        Change::SetBucket { name, settings, .. } => name.len() + settings.encoded_bytes(),
        Change::ClearBucket { name } => name.len(),
    }
}

fn decode_change(r: &mut Reader, is_system: bool, inline_at: &mut Vec<usize>) -> Result<Change, Malformed> {
    let key = |r: &mut Reader| r.string(KEY_BYTES_MAX, "key");
    let attributes = |r: &mut Reader| r.string(ATTRIBUTES_BYTES_MAX, "attributes");
    let tag = r.u8("change")?;
    if is_system != matches!(tag, tag::SET_SYSTEM_VALUE | tag::CLEAR_SYSTEM_VALUE) {
        return r.malformed("change");
    }
    Ok(match tag {
        tag @ (tag::PUT_OBJECT | tag::PUT_LOCKED) => Change::PutObject {
            key: key(r)?,
            modified_ms: r.u64("modified")?,
            etag: decode_etag(r)?,
            attributes: attributes(r)?,
            versioned: decode_flag(r, "versioned")?,
            lock: if tag == tag::PUT_LOCKED { decode_lock(r)? } else { Lock::NONE },
            blob: decode_blob(r, inline_at)?,
        },
        tag::DELETE_OBJECT => Change::DeleteObject { key: key(r)? },
        tag::SET_VALUE | tag::SET_SYSTEM_VALUE => Change::SetValue {
            key: r.string(VALUE_KEY_BYTES_MAX, "key")?,
            value: r.string(RECORD_BYTES_MAX, "value")?,
        },
        tag::CLEAR_VALUE | tag::CLEAR_SYSTEM_VALUE => {
            Change::ClearValue { key: r.string(VALUE_KEY_BYTES_MAX, "key")? }
        }
        tag::OPEN_UPLOAD => Change::OpenUpload {
            upload: r.u128("upload")?,
            key: key(r)?,
            created_ms: r.u64("created")?,
            attributes: attributes(r)?,
        },
        tag::PUT_PART => Change::PutPart {
            upload: r.u128("upload")?,
            number: r.u16("part number")?,
            modified_ms: r.u64("modified")?,
            etag: decode_etag(r)?,
            attributes: attributes(r)?,
            blob: decode_blob(r, inline_at)?,
        },
        tag @ (tag::COMPLETE_UPLOAD | tag::COMPLETE_LOCKED) => {
            let (upload, key, modified_ms) = (r.u128("upload")?, key(r)?, r.u64("modified")?);
            let (etag, attributes, versioned) =
                (decode_etag(r)?, attributes(r)?, decode_flag(r, "versioned")?);
            let lock = if tag == tag::COMPLETE_LOCKED { decode_lock(r)? } else { Lock::NONE };
            let count = r.count(10, "parts")?;
            if count > usize::from(PARTS_MAX) {
                return r.malformed("parts");
            }
            let mut parts = Vec::with_capacity(count);
            for _ in 0..count {
                parts.push((r.u16("part number")?, Sequence(r.u64("part sequence")?)));
            }
            Change::CompleteUpload { upload, key, modified_ms, etag, attributes, versioned, lock, parts }
        }
        tag::ABORT_UPLOAD => Change::AbortUpload { upload: r.u128("upload")? },
        version @ (tag::SET_BUCKET | tag::SET_BUCKET_V2) => Change::SetBucket {
            name: r.string(KEY_BYTES_MAX, "bucket name")?,
            shard: ShardId(r.u16("shard")?),
            created_ms: r.u64("created")?,
            settings: match version {
                tag::SET_BUCKET => BucketSettings::decode(r)?,
                _ => BucketSettings::decode_v2(r)?,
            },
        },
        tag::CLEAR_BUCKET => Change::ClearBucket { name: r.string(KEY_BYTES_MAX, "bucket name")? },
        tag::PUT_MARKER => Change::PutMarker {
            key: key(r)?,
            modified_ms: r.u64("modified")?,
            versioned: decode_flag(r, "versioned")?,
        },
        tag::DELETE_VERSION => Change::DeleteVersion { key: key(r)?, version: Sequence(r.u64("version")?) },
        tag::MOVE_BYTES => Change::MoveBytes {
            part: decode_flag(r, "part")?,
            key: key(r)?,
            version: Sequence(r.u64("version")?),
            drive: r.u16("drive")?,
            at: DriveOffset(r.u64("at")?),
        },
        tag::REVISE => Change::Revise {
            key: key(r)?,
            version: Sequence(r.u64("version")?),
            attributes: attributes(r)?,
            lock: decode_lock(r)?,
        },
        tag::RENAME => Change::Rename { key: key(r)?, version: Sequence(r.u64("version")?), to: key(r)? },
        _ => return r.malformed("change"),
    })
}

fn decode_flag(r: &mut Reader, what: &'static str) -> Result<bool, Malformed> {
    match r.u8(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => r.malformed(what),
    }
}

fn encode_lock(lock: &Lock, out: &mut Vec<u8>) {
    out.u8(lock_flags(lock)).u64(lock.retention.map_or(0, |retention| retention.until_ms));
}

fn decode_lock(r: &mut Reader) -> Result<Lock, Malformed> {
    let (flags, until_ms) = (r.u8("lock")?, r.u64("retained until")?);
    match lock_of(flags, until_ms) {
        Some(lock) => Ok(lock),
        None => r.malformed("lock"),
    }
}

/// A lock's byte of flags, in records and in cells.
pub(super) fn lock_flags(lock: &Lock) -> u8 {
    let mode = match lock.retention.map(|retention| retention.mode) {
        None => 0,
        Some(RetentionMode::Governance) => 2,
        Some(RetentionMode::Compliance) => 4,
    };
    mode | u8::from(lock.legal_hold)
}

/// The lock of such a byte and a time, which is 0 without retention.
pub(super) fn lock_of(flags: u8, until_ms: u64) -> Option<Lock> {
    let mode = match flags & !1 {
        0 if until_ms == 0 => None,
        2 => Some(RetentionMode::Governance),
        4 => Some(RetentionMode::Compliance),
        _ => return None,
    };
    Some(Lock { retention: mode.map(|mode| Retention { mode, until_ms }), legal_hold: flags & 1 != 0 })
}

fn encode_etag(etag: &ETag, out: &mut Vec<u8>) {
    out.raw(&etag.md5).u16(etag.parts);
}

fn decode_etag(r: &mut Reader) -> Result<ETag, Malformed> {
    Ok(ETag { md5: r.md5("etag")?, parts: r.u16("etag parts")? })
}

fn encode_blob(blob: &BlobRecord, out: &mut Vec<u8>, inline_at: &mut Vec<usize>) {
    out.u64(blob.size).length(blob.units.len());
    for unit in blob.units.iter() {
        out.u64(*unit);
    }
    match &blob.place {
        BlobPlace::Inline(bytes) => {
            out.u8(tag::INLINE);
            inline_at.push(out.len());
            out.raw(bytes);
        }
        BlobPlace::Extents(extents) => {
            out.u8(tag::EXTENTS).length(extents.len());
            for extent in extents.iter() {
                out.u16(extent.drive).u64(extent.at.0).u64(extent.bytes);
            }
        }
    }
}

fn decode_blob(r: &mut Reader, inline_at: &mut Vec<usize>) -> Result<BlobRecord, Malformed> {
    let size = r.u64("blob size")?;
    let count = r.count(8, "units")?;
    if unit_count(size) != count as u64 {
        return r.malformed("units");
    }
    let mut units = Vec::with_capacity(count);
    for _ in 0..count {
        units.push(r.u64("unit checksum")?);
    }
    let place = match r.u8("blob place")? {
        tag::INLINE => {
            let bytes = usize::try_from(size).ok().filter(|_| size <= inline_bytes_max());
            let Some(bytes) = bytes else { return r.malformed("inline size") };
            inline_at.push(r.at());
            BlobPlace::Inline(r.take(bytes, "inline bytes")?)
        }
        tag::EXTENTS => {
            let count = r.count(18, "extents")?;
            let mut extents = Vec::with_capacity(count);
            let mut held: u64 = 0;
            for _ in 0..count {
                let extent = Extent {
                    drive: r.u16("drive")?,
                    at: DriveOffset(r.u64("extent at")?),
                    bytes: r.u64("extent bytes")?,
                };
                let aligned = extent.at.is_block_aligned() && extent.bytes.is_multiple_of(BLOCK_BYTES);
                held = held.saturating_add(extent.bytes);
                if !aligned || extent.bytes == 0 {
                    return r.malformed("extent");
                }
                extents.push(extent);
            }
            if held < size {
                return r.malformed("extents");
            }
            BlobPlace::Extents(extents.into())
        }
        _ => return r.malformed("blob place"),
    };
    Ok(BlobRecord { size, place, units: units.into() })
}

/// Metadata files of a commit may be larger than what a client's object may have inline.
fn inline_bytes_max() -> u64 {
    INLINE_BYTES_MAX.max(RECORD_BYTES_MAX as u64)
}

/// Fuzz entry: whatever decodes, encodes to bytes that decode to the same.
pub fn fuzz_record(bytes: &[u8]) {
    if let Ok((record, length, _)) = Record::decode(&Bytes::copy_from_slice(bytes)) {
        assert!(length <= bytes.len());
        let mut again = Vec::new();
        record.encode(&mut again);
        assert!(again.len() <= record.encoded_bytes_max());
        let (twice, _, _) = Record::decode(&again.into()).expect("what was encoded decodes");
        assert_eq!(record, twice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket_meta::SettingKind;

    fn blob(size: usize, place: BlobPlace) -> BlobRecord {
        let units = (0..unit_count(size as u64)).collect::<Vec<_>>();
        BlobRecord { size: size as u64, place, units: units.into() }
    }

    pub(super) fn samples() -> Vec<Record> {
        let (key, attributes) = (Bytes::from_static(b"a/b"), Bytes::from_static(b"type"));
        let etag = ETag { md5: [3; 16], parts: 2 };
        let extent = Extent { drive: 0, at: DriveOffset(8192), bytes: 131_072 };
        let inline = || blob(5, BlobPlace::Inline(Bytes::from_static(b"hello")));
        let large = || blob(131_000, BlobPlace::Extents([extent].into()));
        let retention = Some(Retention { mode: RetentionMode::Compliance, until_ms: 1 << 45 });
        let retained = Lock { retention, legal_hold: false };
        let changes = vec![
            Change::PutObject {
                key: key.clone(),
                modified_ms: 1,
                etag,
                attributes: attributes.clone(),
                versioned: false,
                lock: Lock::NONE,
                blob: inline(),
            },
            Change::PutObject {
                key: key.clone(),
                modified_ms: 1,
                etag,
                attributes: attributes.clone(),
                versioned: true,
                lock: Lock { legal_hold: true, ..Lock::NONE },
                blob: large(),
            },
            Change::DeleteObject { key: key.clone() },
            Change::SetValue { key: key.clone(), value: Bytes::from_static(b"{}") },
            Change::ClearValue { key: key.clone() },
            Change::OpenUpload { upload: 4, key: key.clone(), created_ms: 2, attributes: attributes.clone() },
            Change::PutPart {
                upload: 4,
                number: 7,
                modified_ms: 3,
                etag,
                attributes: attributes.clone(),
                blob: large(),
            },
            Change::CompleteUpload {
                upload: 4,
                key: key.clone(),
                modified_ms: 5,
                etag,
                attributes: attributes.clone(),
                versioned: false,
                lock: Lock::NONE,
                parts: vec![(7, Sequence(6))],
            },
            Change::CompleteUpload {
                upload: 5,
                key: key.clone(),
                modified_ms: 5,
                etag,
                attributes: attributes.clone(),
                versioned: true,
                lock: retained,
                parts: vec![(7, Sequence(6)), (8, Sequence(9))],
            },
            Change::Revise {
                key: key.clone(),
                version: Sequence(6),
                attributes: Bytes::new(),
                lock: retained,
            },
            Change::Revise {
                key: key.clone(),
                version: Sequence(6),
                attributes: attributes.clone(),
                lock: Lock::NONE,
            },
            Change::Rename { key: key.clone(), version: Sequence(6), to: Bytes::from_static(b"other") },
            Change::AbortUpload { upload: 4 },
            Change::SetBucket {
                name: key.clone(),
                shard: ShardId(1),
                created_ms: 4,
                settings: BucketSettings::of(SettingKind::CATALOG, attributes)
                    .with(SettingKind::of(99), Some(Bytes::from_static(b"newer"))),
            },
            Change::ClearBucket { name: key.clone() },
            Change::PutMarker { key: key.clone(), modified_ms: 1, versioned: true },
            Change::DeleteVersion { key: key.clone(), version: Sequence(8) },
            Change::MoveBytes { part: true, key, version: Sequence(8), drive: 2, at: DriveOffset(77_777) },
        ];
        let mut records: Vec<Record> =
            changes.iter().map(|c| Record { bucket: BucketId(9), changes: vec![c.clone()] }).collect();
        records.push(Record { bucket: BucketId(9), changes });
        let (key, value) = (Bytes::from_static(b"\x20user"), Bytes::from_static(b"{}"));
        let changes = vec![Change::SetValue { key: key.clone(), value }, Change::ClearValue { key }];
        records.push(Record { bucket: BucketId::SYSTEM, changes });
        records
    }

    #[test]
    fn values_of_the_store_itself_have_their_own_tags() {
        for record in samples().into_iter().filter(|record| record.changes.len() == 1) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert!(![tag::SET_SYSTEM_VALUE, tag::CLEAR_SYSTEM_VALUE].contains(&bytes[16]));
            // No bucket of that id has objects, uploads or values as others have them.
            bytes[4..12].fill(0);
            assert!(Record::decode(&bytes.into()).is_err(), "{record:?}");
        }
        let system = samples().pop().expect("the last one");
        let mut bytes = Vec::new();
        system.encode(&mut bytes);
        assert_eq!(bytes[16], tag::SET_SYSTEM_VALUE);
        bytes[4] = 9;
        assert!(Record::decode(&bytes.into()).is_err(), "no bucket has them");
    }

    #[test]
    fn round_trips_and_inline_places() {
        for record in samples() {
            let mut bytes = vec![0xee; 3];
            let places = record.encode(&mut bytes);
            let tail = Bytes::from(bytes).slice(3..);
            let (read, length, read_places) = Record::decode(&tail).expect("decodes");
            assert_eq!((read, length), (record.clone(), tail.len()));
            assert_eq!(places.iter().map(|p| p - 3).collect::<Vec<_>>(), read_places);
            for at in read_places {
                assert_eq!(&tail[at..at + 5], b"hello");
            }
            assert!(tail.len() <= record.encoded_bytes_max());
        }
    }

    #[test]
    fn buckets_of_version_2_have_the_setting_of_the_catalog() {
        let check = |annotation: &'static [u8], settings: BucketSettings| {
            let mut bytes = Vec::new();
            bytes.u32(0).u64(9).length(1).u8(9).string(b"red").u16(1).u64(4).string(annotation);
            let length = u32::try_from(bytes.len()).expect("short");
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            let (record, ..) = Record::decode(&bytes.into()).expect("decodes");
            let name = Bytes::from_static(b"red");
            let bucket = Change::SetBucket { name, shard: ShardId(1), created_ms: 4, settings };
            assert_eq!(record.changes, [bucket]);
        };
        check(b"", BucketSettings::default());
        check(b"mark", BucketSettings::of(SettingKind::CATALOG, Bytes::from_static(b"mark")));
    }

    #[test]
    fn truncated_or_altered_bytes_never_panic() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert!(Record::decode(&Bytes::copy_from_slice(&bytes[..cut])).is_err());
            }
            for at in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut bad = bytes.clone();
                    bad[at] ^= flip;
                    fuzz_record(&bad);
                }
            }
        }
    }
}
