//! Storing an object whose bytes are in the record or in extents already.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::error::EngineError;
use crate::format::record::{BlobRecord, Change, Record};
use crate::mutant::{Mutant, is};
use crate::object::{ETag, ObjectInfo, PutCondition, PutRefused};
use crate::units::BucketId;

impl Shard {
    /// Stores an object whose bytes are in `blob`: the null version of its key, or (`versioned`) one more version.
    #[expect(clippy::too_many_arguments, reason = "each is a field of the record")]
    pub(crate) async fn put_object(
        &self,
        bucket: BucketId,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
        versioned: bool,
        blob: BlobRecord,
    ) -> Result<Result<ObjectInfo, PutRefused>, EngineError> {
        let (modified_ms, size) = (self.now_ms(), blob.size);
        let kept = attributes.clone();
        let change =
            Change::PutObject { key: key.clone(), modified_ms, etag, attributes: kept, versioned, blob };
        let record = Record { bucket, changes: vec![change] };
        let check = || self.check(bucket, &key, &condition);
        let early = is(Mutant::ConditionEarly).then(check);
        let verdict = || early.unwrap_or_else(check).map(Verdict::Append);
        let committed = self.commit(&record, Some(Mutant::PutEarly), verdict).await?;
        Ok(committed.map(|(sequence, ())| ObjectInfo { sequence, size, modified_ms, etag, attributes }))
    }
}
