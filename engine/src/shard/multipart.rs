//! Multipart uploads of one shard: open, add parts, list, complete, abort. Each change is one log record.
//!
//! Source: Amazon S3 API, "Multipart upload". Which parts a completion may name is decided by the protocol above;
//! here only that they are still the parts it looked at.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::error::EngineError;
use crate::format::record::{BlobRecord, Change, Record};
use crate::limits::{PARTS_MAX, UPLOADS_MAX};
use crate::mutant::Mutant;
use crate::object::{
    ETag, NewVersion, ObjectInfo, PartInfo, PutCondition, PutRefused, UploadId, UploadInfo, WriteError,
};
use crate::units::{BucketId, Sequence};

impl Shard {
    pub(crate) async fn create_upload(
        &self,
        bucket: BucketId,
        key: Bytes,
        attributes: Bytes,
    ) -> Result<UploadId, WriteError> {
        if UPLOADS_MAX <= self.index.borrow().upload_count {
            return Err(EngineError::Busy { limit: "UPLOADS_MAX", max: UPLOADS_MAX as u64 }.into());
        }
        let upload = self.random_u128();
        let open = Change::OpenUpload { upload, key: key.clone(), created_ms: self.now_ms(), attributes };
        let record = Record { bucket, changes: vec![open] };
        let verdict = || self.check(bucket, &key, &PutCondition::None).map(Verdict::Append);
        self.commit(&record, None, verdict).await.map(|_| UploadId(upload))
    }

    pub(crate) async fn upload(
        &self,
        bucket: BucketId,
        id: UploadId,
    ) -> Result<Option<UploadInfo>, EngineError> {
        Ok(self.durable_read(bucket, |bucket| bucket.upload(id)).await?.flatten())
    }

    pub(crate) async fn put_part(
        &self,
        bucket: BucketId,
        id: UploadId,
        number: u16,
        etag: ETag,
        attributes: Bytes,
        blob: BlobRecord,
    ) -> Result<PartInfo, WriteError> {
        let (modified_ms, size) = (self.now_ms(), blob.size);
        let part =
            Change::PutPart { upload: id.0, number, modified_ms, etag, attributes: attributes.clone(), blob };
        let record = Record { bucket, changes: vec![part] };
        let verdict = || match self.has_upload(bucket, id) {
            true => Ok(Verdict::Append(())),
            false => Err(PutRefused::NoSuchUpload),
        };
        let (sequence, ()) = self.commit(&record, None, verdict).await?;
        Ok(PartInfo { number, sequence, size, modified_ms, etag, attributes })
    }

    pub(crate) async fn parts(
        &self,
        bucket: BucketId,
        id: UploadId,
        after: u16,
        max: usize,
    ) -> Result<Option<Vec<PartInfo>>, EngineError> {
        Ok(self.durable_read(bucket, |bucket| bucket.parts(id, after, max)).await?.flatten())
    }

    #[expect(clippy::too_many_arguments, reason = "each is a field of the record")]
    pub(crate) async fn complete_upload(
        &self,
        bucket: BucketId,
        id: UploadId,
        parts: Vec<(u16, Sequence)>,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
        version: NewVersion,
    ) -> Result<ObjectInfo, WriteError> {
        if usize::from(PARTS_MAX) < parts.len() {
            let (max, got) = (u64::from(PARTS_MAX), parts.len() as u64);
            return Err(EngineError::TooLarge { limit: "PARTS_MAX", max, got }.into());
        }
        let Some(info) = self.with_bucket(bucket, |bucket| bucket.upload(id)).flatten() else {
            self.may_tell(bucket, PutRefused::NoSuchUpload).await?;
            return Err(PutRefused::NoSuchUpload.into());
        };
        let (key, modified_ms) = (info.key, self.now_ms());
        let complete = Change::CompleteUpload {
            upload: id.0,
            key: key.clone(),
            modified_ms,
            etag,
            attributes: attributes.clone(),
            versioned: version.is_versioned(),
            parts: parts.clone(),
        };
        let record = Record { bucket, changes: vec![complete] };
        // In one turn with the append: the parts named are the ones that are there.
        let verdict = || {
            let size = self.size_of(bucket, id, &parts).ok_or(PutRefused::NoSuchUpload)?;
            self.check(bucket, &key, &condition).map(|()| Verdict::Append(size))
        };
        let (sequence, size) = self.commit(&record, Some(Mutant::CompleteEarly), verdict).await?;
        Ok(ObjectInfo { sequence, size, modified_ms, etag, attributes })
    }

    /// Bytes of an upload's parts; `None` when they are not all there as named, or not in the order of their numbers,
    /// which is that of an object's bytes.
    fn size_of(&self, bucket: BucketId, id: UploadId, parts: &[(u16, Sequence)]) -> Option<u64> {
        if !parts.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return None;
        }
        let size = self.with_bucket(bucket, |bucket| {
            if !bucket.has_upload(id) {
                return None;
            }
            parts.iter().try_fold(0_u64, |size, (number, sequence)| {
                let part = bucket.part(id, *number).filter(|part| part.sequence == *sequence)?;
                Some(size + part.size)
            })
        });
        size.flatten()
    }

    pub(crate) async fn abort_upload(&self, bucket: BucketId, id: UploadId) -> Result<bool, EngineError> {
        let record = Record { bucket, changes: vec![Change::AbortUpload { upload: id.0 }] };
        let verdict = || match self.has_upload(bucket, id) {
            true => Ok(Verdict::Append(true)),
            false => Ok(Verdict::Nothing(false)),
        };
        // Nothing refuses it: there is no such upload in no bucket.
        let committed = self.commit(&record, None, verdict).await.map(|(_, found)| found);
        committed.or_else(|error| error.refused_as(false))
    }

    fn has_upload(&self, bucket: BucketId, id: UploadId) -> bool {
        self.with_bucket(bucket, |bucket| bucket.has_upload(id)).unwrap_or(false)
    }
}
