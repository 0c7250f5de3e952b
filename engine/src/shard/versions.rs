//! Delete markers, and removing one version of a key.

use bytes::Bytes;

use super::Shard;
use crate::error::EngineError;
use crate::format::record::{Change, Record};
use crate::object::{PutCondition, PutRefused};
use crate::units::{BucketId, Sequence};

impl Shard {
    /// Puts a delete marker on top of a key's versions, or (not `versioned`) in place of its null version.
    pub(crate) async fn put_marker(
        &self,
        bucket: BucketId,
        key: Bytes,
        versioned: bool,
    ) -> Result<Result<Sequence, PutRefused>, EngineError> {
        let marker = Change::PutMarker { key: key.clone(), modified_ms: self.now_ms(), versioned };
        let record = Record { bucket, changes: vec![marker] };
        self.log_room(record.encoded_bytes_max(), true).await?;
        if let Err(refused) = self.check(bucket, &key, &PutCondition::None) {
            return self.refuse(bucket, refused).await;
        }
        let sequence = self.settle_record(&record, true)?;
        self.durable(sequence).await?;
        Ok(Ok(sequence))
    }

    /// Removes one version of a key; answers whether it was there.
    pub(crate) async fn delete_version(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: Sequence,
    ) -> Result<bool, EngineError> {
        let record = Record { bucket, changes: vec![Change::DeleteVersion { key: key.clone(), version }] };
        self.log_room(record.encoded_bytes_max(), true).await?;
        let found = self.with_bucket(bucket, |held| held.has_version(&key, version)).unwrap_or(false);
        let sequence = match found && self.is_open(bucket) {
            true => self.settle_record(&record, true)?,
            false => self.changed(bucket),
        };
        self.durable(sequence).await?;
        self.reclaim();
        self.note_free_bytes();
        Ok(found)
    }
}
