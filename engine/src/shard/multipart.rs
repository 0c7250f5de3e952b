//! Multipart uploads of one shard: open, add parts, list, complete, abort. Each change is one log record.
//!
//! Source: Amazon S3 API, "Multipart upload". Which parts a completion may name is decided by the protocol above;
//! here only that they are still the parts it looked at.

use bytes::Bytes;

use super::Shard;
use crate::error::EngineError;
use crate::format::record::{BlobRecord, Change, Record};
use crate::limits::{PARTS_MAX, UPLOADS_MAX};
use crate::mutant::{Mutant, is};
use crate::object::{ETag, ObjectInfo, PartInfo, PutCondition, PutRefused, UploadId, UploadInfo};
use crate::units::{BucketId, Sequence};

impl Shard {
    pub(crate) async fn create_upload(
        &self,
        bucket: BucketId,
        key: Bytes,
        attributes: Bytes,
    ) -> Result<Result<UploadId, PutRefused>, EngineError> {
        if UPLOADS_MAX <= self.index.borrow().upload_count {
            return Err(EngineError::Busy { limit: "UPLOADS_MAX", max: UPLOADS_MAX as u64 });
        }
        let upload = self.random_u128();
        let open = Change::OpenUpload { upload, key: key.clone(), created_ms: self.now_ms(), attributes };
        let record = Record { bucket, changes: vec![open] };
        self.log_room(record.encoded_bytes_max(), false).await?;
        if let Err(refused) = self.check(bucket, &key, &PutCondition::None) {
            return Ok(Err(refused));
        }
        let sequence = self.settle_record(&record, false)?;
        self.durable(sequence).await?;
        Ok(Ok(UploadId(upload)))
    }

    pub(crate) async fn upload(
        &self,
        bucket: BucketId,
        id: UploadId,
    ) -> Result<Option<UploadInfo>, EngineError> {
        Ok(self.look(bucket, |bucket| bucket.upload(id)).await?.flatten())
    }

    pub(crate) async fn put_part(
        &self,
        bucket: BucketId,
        id: UploadId,
        number: u16,
        etag: ETag,
        attributes: Bytes,
        blob: BlobRecord,
    ) -> Result<Result<PartInfo, PutRefused>, EngineError> {
        let (modified_ms, size) = (self.now_ms(), blob.size);
        let part =
            Change::PutPart { upload: id.0, number, modified_ms, etag, attributes: attributes.clone(), blob };
        let record = Record { bucket, changes: vec![part] };
        self.log_room(record.encoded_bytes_max(), false).await?;
        if !self.has_upload(bucket, id) {
            return self.refuse(bucket, PutRefused::NoSuchUpload).await;
        }
        let sequence = self.settle_record(&record, false)?;
        self.durable(sequence).await?;
        Ok(Ok(PartInfo { number, sequence, size, modified_ms, etag, attributes }))
    }

    pub(crate) async fn parts(
        &self,
        bucket: BucketId,
        id: UploadId,
        after: u16,
        max: usize,
    ) -> Result<Option<Vec<PartInfo>>, EngineError> {
        Ok(self.look(bucket, |bucket| bucket.parts(id, after, max)).await?.flatten())
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
        versioned: bool,
    ) -> Result<Result<ObjectInfo, PutRefused>, EngineError> {
        if usize::from(PARTS_MAX) < parts.len() {
            let (max, got) = (u64::from(PARTS_MAX), parts.len() as u64);
            return Err(EngineError::TooLarge { limit: "PARTS_MAX", max, got });
        }
        let Some(info) = self.upload(bucket, id).await? else { return Ok(Err(PutRefused::NoSuchUpload)) };
        let (key, modified_ms) = (info.key, self.now_ms());
        let complete = Change::CompleteUpload {
            upload: id.0,
            key: key.clone(),
            modified_ms,
            etag,
            attributes: attributes.clone(),
            versioned,
            parts: parts.clone(),
        };
        let record = Record { bucket, changes: vec![complete] };
        self.log_room(record.encoded_bytes_max(), false).await?;
        // Only now, in one turn with the settling: the parts named are the ones that are there.
        let size = self.with_bucket(bucket, |bucket| {
            if !bucket.has_upload(id) {
                return None;
            }
            parts.iter().try_fold(0_u64, |size, (number, sequence)| {
                let part = bucket.part(id, *number).filter(|part| part.sequence == *sequence)?;
                Some(size + part.size)
            })
        });
        // An object's bytes are its parts in the order of their numbers.
        let in_order = parts.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let Some(size) = size.flatten().filter(|_| in_order) else {
            return self.refuse(bucket, PutRefused::NoSuchUpload).await;
        };
        if let Err(refused) = self.check(bucket, &key, &condition) {
            return self.refuse(bucket, refused).await;
        }
        let sequence = self.settle_record(&record, false)?;
        if !is(Mutant::CompleteEarly) {
            self.durable(sequence).await?;
        }
        Ok(Ok(ObjectInfo { sequence, size, modified_ms, etag, attributes }))
    }

    pub(crate) async fn abort_upload(&self, bucket: BucketId, id: UploadId) -> Result<bool, EngineError> {
        let record = Record { bucket, changes: vec![Change::AbortUpload { upload: id.0 }] };
        self.log_room(record.encoded_bytes_max(), true).await?;
        if !self.has_upload(bucket, id) {
            self.look(bucket, |_| ()).await?;
            return Ok(false);
        }
        let sequence = self.settle_record(&record, true)?;
        self.durable(sequence).await?;
        Ok(true)
    }

    fn has_upload(&self, bucket: BucketId, id: UploadId) -> bool {
        self.with_bucket(bucket, |bucket| bucket.has_upload(id)).unwrap_or(false)
    }
}
