//! Delete markers, and removing one version of a key.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::error::EngineError;
use crate::format::record::{Change, Record};
use crate::object::{NewVersion, PutCondition, WriteError};
use crate::units::{BucketId, Sequence};

impl Shard {
    /// Puts a delete marker on top of a key's versions, or in place of its null version.
    pub(crate) async fn put_marker(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: NewVersion,
    ) -> Result<Sequence, WriteError> {
        let versioned = version.is_versioned();
        let marker = Change::PutMarker { key: key.clone(), modified_ms: self.now_ms(), versioned };
        let record = Record { bucket, changes: vec![marker] };
        let verdict = || self.check(bucket, &key, &PutCondition::None).map(Verdict::Append);
        self.commit(&record, None, verdict).await.map(|(sequence, ())| sequence)
    }

    /// Removes one version of a key; returns whether it was there.
    pub(crate) async fn delete_version(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: Sequence,
    ) -> Result<bool, EngineError> {
        let record = Record { bucket, changes: vec![Change::DeleteVersion { key: key.clone(), version }] };
        let verdict = || {
            let found = self.with_bucket(bucket, |held| held.has_version(&key, version)).unwrap_or(false);
            Ok(if found && self.is_open(bucket) { Verdict::Append(found) } else { Verdict::Nothing(found) })
        };
        let committed = self.commit(&record, None, verdict).await.map(|(_, found)| found);
        // Nothing refuses it: what is in no bucket is not there.
        let found = committed.or_else(|error| error.refused_as(false))?;
        self.note_freed();
        Ok(found)
    }

    /// What made the versions and delete markers of a key, newest first, at most `max`; durable or not.
    pub(crate) fn versions(&self, bucket: BucketId, key: &[u8], max: usize) -> Vec<Sequence> {
        self.with_bucket(bucket, |bucket| bucket.sequences_of(key, max)).unwrap_or_default()
    }

    /// Lets what durable removals gave up be used again.
    pub(crate) fn note_freed(&self) {
        self.reclaim();
        self.note_free_bytes();
    }
}
