//! The directory of buckets, kept by shard 0 only.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Index;
use crate::format::record::{Change, Record};
use crate::format::{Malformed, Put, Reader};
use crate::limits::ATTRIBUTES_BYTES_MAX;
use crate::units::{BucketId, ShardId};

/// The bucket under which the directory's tree is kept in a checkpoint.
pub(crate) const DIRECTORY_BUCKET: BucketId = BucketId(0);

/// A bucket in the directory; only shard 0 has these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) id: BucketId,
    pub(crate) shard: ShardId,
    pub(crate) created_ms: u64,
    pub(crate) annotation: Bytes,
}

impl Index {
    pub(super) fn apply_directory(&mut self, record: &Record) {
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
}

pub(super) fn decode_directory_entry(payload: &[u8]) -> Result<DirectoryEntry, Malformed> {
    let mut r = Reader::new(Bytes::copy_from_slice(payload));
    Ok(DirectoryEntry {
        id: BucketId(r.u64("bucket")?),
        shard: ShardId(r.u16("shard")?),
        created_ms: r.u64("created")?,
        annotation: r.string(ATTRIBUTES_BYTES_MAX, "annotation")?,
    })
}
