//! Storing an object whose bytes are in the record or in extents already.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::format::record::{BlobRecord, Change, Record};
use crate::mutant::{Mutant, seeded};
use crate::object::{ETag, NewVersion, ObjectInfo, PutCondition, WriteError};
use crate::units::BucketId;

impl Shard {
    /// Stores an object whose bytes are in `blob`.
    #[expect(clippy::too_many_arguments, reason = "each is a field of the record")]
    pub(crate) async fn put_object(
        &self,
        bucket: BucketId,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
        version: NewVersion,
        blob: BlobRecord,
    ) -> Result<ObjectInfo, WriteError> {
        let (modified_ms, size) = (self.now_ms(), blob.size);
        let (kept, versioned) = (attributes.clone(), version.is_versioned());
        let change =
            Change::PutObject { key: key.clone(), modified_ms, etag, attributes: kept, versioned, blob };
        let record = Record { bucket, changes: vec![change] };
        let check = || self.check(bucket, &key, &condition);
        let early = seeded(Mutant::ConditionEarly).then(check);
        let verdict = || early.unwrap_or_else(check).map(Verdict::Append);
        let (sequence, ()) = self.commit(&record, Some(Mutant::PutEarly), verdict).await?;
        Ok(ObjectInfo { sequence, size, modified_ms, etag, attributes })
    }
}
