//! Multipart uploads of one shard: open, add parts, list, complete, abort. Each change is one log record.
//!
//! Source: Amazon S3 API, "Multipart upload". Which parts a completion may name is decided by the protocol above;
//! here only that they are still the parts it looked at.

use std::collections::HashSet;

use bytes::Bytes;

use super::Shard;
use crate::error::EngineError;
use crate::format::record::{BlobRecord, Change, Record};
use crate::handle::{PartInfo, UploadId, UploadInfo};
use crate::limits::{PARTS_MAX, UPLOADS_MAX};
use crate::object::{ETag, ObjectInfo, PutCondition, PutRefused};
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
        self.log.room(record.encoded_bytes_max(), false).await?;
        if let Err(refused) = self.check(bucket, &key, &PutCondition::None) {
            return Ok(Err(refused));
        }
        let sequence = self.settle_record(&record, false)?;
        self.durable(sequence).await?;
        Ok(Ok(UploadId(upload)))
    }

    pub(crate) async fn upload(&self, bucket: BucketId, id: UploadId) -> Result<Option<UploadInfo>, EngineError> {
        let found = self.look(bucket, |bucket| bucket.uploads.get(&id.0).map(|upload| upload.info(id))).await?;
        Ok(found.flatten())
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
        self.log.room(record.encoded_bytes_max(), false).await?;
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
        let found = self.look(bucket, |bucket| {
            let parts = &bucket.uploads.get(&id.0)?.parts;
            let later = parts.range(after.saturating_add(1)..).take(max);
            Some(later.map(|(_, part)| part.info.clone()).collect())
        });
        Ok(found.await?.flatten())
    }

    pub(crate) async fn complete_upload(
        &self,
        bucket: BucketId,
        id: UploadId,
        parts: Vec<(u16, Sequence)>,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
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
            parts: parts.clone(),
        };
        let record = Record { bucket, changes: vec![complete] };
        self.log.room(record.encoded_bytes_max(), false).await?;
        // Only now, in one turn with the settling: the parts named are the ones that are there.
        let size = self.with_bucket(bucket, |bucket| {
            let upload = bucket.uploads.get(&id.0)?;
            parts.iter().try_fold(0_u64, |size, (number, sequence)| {
                let part = upload.parts.get(number).filter(|part| part.info.sequence == *sequence)?;
                Some(size + part.info.size)
            })
        });
        let distinct = parts.iter().map(|(number, _)| number).collect::<HashSet<_>>().len() == parts.len();
        let Some(size) = size.flatten().filter(|_| distinct) else {
            return self.refuse(bucket, PutRefused::NoSuchUpload).await;
        };
        if let Err(refused) = self.check(bucket, &key, &condition) {
            return self.refuse(bucket, refused).await;
        }
        let sequence = self.settle_record(&record, false)?;
        self.durable(sequence).await?;
        Ok(Ok(ObjectInfo { sequence, size, modified_ms, etag, attributes }))
    }

    pub(crate) async fn abort_upload(&self, bucket: BucketId, id: UploadId) -> Result<bool, EngineError> {
        let record = Record { bucket, changes: vec![Change::AbortUpload { upload: id.0 }] };
        self.log.room(record.encoded_bytes_max(), true).await?;
        if !self.has_upload(bucket, id) {
            self.look(bucket, |_| ()).await?;
            return Ok(false);
        }
        let sequence = self.settle_record(&record, true)?;
        self.durable(sequence).await?;
        Ok(true)
    }

    fn has_upload(&self, bucket: BucketId, id: UploadId) -> bool {
        self.with_bucket(bucket, |bucket| bucket.uploads.contains_key(&id.0)).unwrap_or(false)
    }
}
