//! The directory of buckets, kept by shard 0 only.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Index;
use crate::format::page::TreeKind;
use crate::format::record::{Change, Record};
use crate::format::settings::BucketSettings;
use crate::format::{Malformed, Put, Reader};
use crate::units::{BucketId, ShardId};

/// The bucket under which the directory's tree is kept in a checkpoint.
pub(crate) const DIRECTORY_BUCKET: BucketId = BucketId(0);

/// A bucket in the directory; only shard 0 has these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) id: BucketId,
    pub(crate) shard: ShardId,
    pub(crate) created_ms: u64,
    pub(crate) settings: BucketSettings,
}

impl DirectoryEntry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.u64(self.id.0).u16(self.shard.0).u64(self.created_ms);
        self.settings.encode(&mut payload);
        payload
    }

    /// Reads the payload of a cell of a tree of that kind: [`TreeKind::Directory`] or what version 2 of the format had.
    pub(super) fn decode(payload: &[u8], kind: TreeKind) -> Result<DirectoryEntry, Malformed> {
        let mut r = Reader::new(Bytes::copy_from_slice(payload));
        Ok(DirectoryEntry {
            id: BucketId(r.u64("bucket")?),
            shard: ShardId(r.u16("shard")?),
            created_ms: r.u64("created")?,
            settings: match kind {
                TreeKind::DirectoryV2 => BucketSettings::decode_v2(&mut r)?,
                _ => BucketSettings::decode(&mut r)?,
            },
        })
    }
}

impl Index {
    pub(super) fn apply_directory(&mut self, record: &Record) {
        for change in &record.changes {
            match change {
                Change::SetBucket { name, shard, created_ms, settings } => {
                    let (id, settings) = (record.bucket, settings.clone());
                    let entry = DirectoryEntry { id, shard: *shard, created_ms: *created_ms, settings };
                    self.last_bucket = self.last_bucket.max(id);
                    self.directory.set(name, &entry.encode());
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
            let entry = DirectoryEntry::decode(cell.payload, TreeKind::Directory)
                .expect("made here or checked when it was loaded");
            entries.insert(cell.key.to_vec().into(), entry);
            true
        });
        entries
    }
}

/// Whether a tree is one of buckets, in whichever version of the format.
pub(super) fn is_directory(kind: TreeKind) -> bool {
    matches!(kind, TreeKind::Directory | TreeKind::DirectoryV2)
}
