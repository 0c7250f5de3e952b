//! Multipart uploads of one shard: open, add parts, list, complete, abort. Each change is one log record.
//!
//! Source: Amazon S3 API, "Multipart upload". Which parts a completion may name is decided by the protocol above;
//! here only that they are still the parts it looked at. A completed upload is remembered for a while, by the record that
//! completed it: who lost the answer asks again.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::error::EngineError;
use crate::format::record::{BlobRecord, Change, Record};
use crate::limits::{COMPLETIONS_FORGOTTEN_MAX, COMPLETIONS_SWEPT_MAX, PARTS_MAX, UPLOADS_MAX};
use crate::meta::index::completion_key;
use crate::mutant::Mutant;
use crate::object::{
    Completion, ETag, NewVersion, ObjectInfo, PartInfo, PutCondition, PutRefused, UploadId, UploadInfo,
    WriteError,
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
        let verdict = |_: &mut Record| self.check(bucket, &key, &PutCondition::None).map(Verdict::Append);
        self.commit(record, false, None, verdict).await.map(|_| UploadId(upload))
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
        let verdict = |_: &mut Record| match self.has_upload(bucket, id) {
            _ if !self.is_open(bucket) => Err(PutRefused::NoSuchBucket),
            true => Ok(Verdict::Append(())),
            false => Err(PutRefused::NoSuchUpload),
        };
        let (sequence, ()) = self.commit(record, false, None, verdict).await?;
        Ok(PartInfo { number, sequence, size, modified_ms, etag, attributes, units: Bytes::new() })
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

    pub(crate) async fn complete_upload(
        &self,
        bucket: BucketId,
        id: UploadId,
        completion: Completion,
        version: NewVersion,
    ) -> Result<ObjectInfo, WriteError> {
        let Completion { parts, condition, etag, attributes, receipt, lock } = completion;
        if usize::from(PARTS_MAX) < parts.len() {
            let (max, got) = (u64::from(PARTS_MAX), parts.len() as u64);
            return Err(EngineError::TooLarge { limit: "PARTS_MAX", max, got }.into());
        }
        let Some(info) = self.with_bucket(bucket, |bucket| bucket.upload(id)).flatten() else {
            self.may_tell(bucket, PutRefused::NoSuchUpload).await?;
            return Err(PutRefused::NoSuchUpload.into());
        };
        let (key, modified_ms) = (info.key, self.now_ms());
        let mut changes = self.remembered(bucket, id, modified_ms, receipt);
        // The last one: its sequence is the record's, and names the version.
        changes.push(Change::CompleteUpload {
            upload: id.0,
            key: key.clone(),
            modified_ms,
            etag,
            attributes: attributes.clone(),
            versioned: false,
            lock,
            parts: parts.clone(),
        });
        let record = Record { bucket, changes };
        // In one turn with the append: the parts named are the ones that are there.
        let verdict = |record: &mut Record| {
            let size = self.size_of(bucket, id, &parts).ok_or(PutRefused::NoSuchUpload)?;
            self.check(bucket, &key, &condition)?;
            let makes_another = self.makes_another(bucket, version);
            let kept = self.lock_of(bucket, lock, modified_ms);
            if let Some(Change::CompleteUpload { versioned, lock, .. }) = record.changes.last_mut() {
                (*versioned, *lock) = (makes_another, kept);
            }
            Ok(Verdict::Append((size, !makes_another, kept)))
        };
        let committed = self.commit(record, false, Some(Mutant::CompleteEarly), verdict).await?;
        let (sequence, (size, is_null, lock)) = committed;
        Ok(ObjectInfo { sequence, is_null, size, modified_ms, etag, attributes, lock })
    }

    /// What the record of a completion, or of a rename with a token, changes so that it is remembered, and others are not for
    /// ever.
    pub(super) fn remembered(
        &self,
        bucket: BucketId,
        id: UploadId,
        now_ms: u64,
        receipt: Bytes,
    ) -> Vec<Change> {
        if receipt.is_empty() {
            return Vec::new();
        }
        let stale =
            self.with_bucket(bucket, |bucket| bucket.stale_completions(now_ms, 1, COMPLETIONS_FORGOTTEN_MAX));
        let forget = stale.unwrap_or_default().into_iter().map(|key| Change::ClearValue { key });
        let remember = Change::SetValue { key: completion_key(now_ms, id), value: receipt };
        forget.chain([remember]).collect()
    }

    /// Has completed uploads forgotten whose time has passed; what finds no room at once is left to the next call.
    pub(super) async fn forget_completions(&self) {
        let buckets: Vec<BucketId> = self.index.borrow().buckets.keys().copied().collect();
        for bucket in buckets.into_iter().filter(|bucket| self.is_open(*bucket)) {
            loop {
                let now_ms = self.now_ms();
                let stale = self
                    .with_bucket(bucket, |bucket| bucket.stale_completions(now_ms, 0, COMPLETIONS_SWEPT_MAX));
                let forget = stale.unwrap_or_default().into_iter().map(|key| Change::ClearValue { key });
                let record = Record { bucket, changes: forget.collect() };
                if record.changes.is_empty() || self.check_supported(bucket).is_err() {
                    break;
                }
                let Ok(last) = self.append_record(&record) else { return };
                if self.durable(last).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What is remembered of a completed upload, once that is durable.
    pub(crate) async fn completion(
        &self,
        bucket: BucketId,
        id: UploadId,
    ) -> Result<Option<Bytes>, EngineError> {
        let now_ms = self.now_ms();
        Ok(self.durable_read(bucket, |bucket| bucket.completion(id, now_ms)).await?.flatten())
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
        let verdict = |_: &mut Record| match self.has_upload(bucket, id) {
            _ if !self.is_open(bucket) => Err(PutRefused::NoSuchBucket),
            true => Ok(Verdict::Append(true)),
            false => Ok(Verdict::Nothing(false)),
        };
        // There is no upload in no bucket.
        let committed = self.commit(record, false, None, verdict).await.map(|(_, found)| found);
        committed.or_else(|error| error.refused_as(false))
    }

    fn has_upload(&self, bucket: BucketId, id: UploadId) -> bool {
        self.with_bucket(bucket, |bucket| bucket.has_upload(id)).unwrap_or(false)
    }
}
