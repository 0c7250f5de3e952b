//! Storing an object whose bytes are in the record or in extents already.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::format::record::{BlobRecord, Change, Record};
use crate::mutant::{Mutant, seeded};
use crate::object::{NewObject, ObjectInfo, WriteError};
use crate::units::BucketId;

impl Shard {
    /// Stores an object whose bytes are in `blob`.
    pub(crate) async fn put_object(
        &self,
        bucket: BucketId,
        key: Bytes,
        object: NewObject,
        blob: BlobRecord,
    ) -> Result<ObjectInfo, WriteError> {
        let NewObject { condition, etag, attributes, version, lock } = object;
        let (modified_ms, size) = (self.now_ms(), blob.size);
        let (kept, versioned) = (attributes.clone(), false);
        let change = Change::PutObject {
            key: key.clone(),
            modified_ms,
            etag,
            attributes: kept,
            versioned,
            lock,
            blob,
        };
        let record = Record { bucket, changes: vec![change] };
        let check = || self.check(bucket, &key, &condition);
        let early = seeded(Mutant::ConditionEarly).then(check);
        let verdict = |record: &mut Record| {
            early.unwrap_or_else(check)?;
            let makes_another = self.makes_another(bucket, version);
            let kept = self.lock_of(bucket, lock, modified_ms);
            if let Some(Change::PutObject { versioned, lock, .. }) = record.changes.last_mut() {
                (*versioned, *lock) = (makes_another, kept);
            }
            Ok(Verdict::Append((!makes_another, kept)))
        };
        let (sequence, (is_null, lock)) = self.commit(record, false, Some(Mutant::PutEarly), verdict).await?;
        Ok(ObjectInfo { sequence, is_null, size, modified_ms, etag, attributes, lock })
    }
}
