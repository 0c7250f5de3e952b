//! Looking an object up. What is found is answered when it is durable, and so is what is not found.
//!
//! The bytes are read through `blob`, by `handle::get` on the core that asked; here they are held for it.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use crate::blob::Blob;
use crate::error::EngineError;
use crate::mutant::{Mutant, seeded};
use crate::object::ObjectInfo;
use crate::units::{BucketId, Sequence};

impl Shard {
    /// The object of a key, or a version of it, once what is answered is durable.
    pub(crate) async fn open(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<Sequence>,
    ) -> Result<Option<(ObjectInfo, Arc<[Blob]>)>, EngineError> {
        self.check_determinate(bucket)?;
        let found = self.with_bucket(bucket, |bucket| bucket.open(key, version)).flatten();
        let found = found.map(|(info, blobs)| (info, self.space.borrow_mut().pins.open(blobs)));
        let sequence = match &found {
            Some(_) if seeded(Mutant::ReadEarly) => Sequence(0),
            Some((info, _)) => info.sequence,
            None if !self.is_whole.get() => return Err(EngineError::ReadOnly { shard: self.context.id }),
            None if seeded(Mutant::AbsenceEarly) => Sequence(0),
            None => self.changed(bucket),
        };
        self.durable(sequence).await?;
        Ok(found)
    }

    /// Has the space of bytes that the index refers to now used by nobody else until what this answers is dropped.
    pub(crate) fn hold(&self, blob: Blob) -> Arc<[Blob]> {
        self.space.borrow_mut().pins.open(vec![blob])
    }

    /// What is known of the object of a key, once it is durable.
    pub(crate) async fn head(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectInfo>, EngineError> {
        self.check_determinate(bucket)?;
        let found = self.with_bucket(bucket, |bucket| bucket.object(key)).flatten();
        let sequence = match &found {
            Some(info) => info.sequence,
            None if !self.is_whole.get() => return Err(EngineError::ReadOnly { shard: self.context.id }),
            None if seeded(Mutant::AbsenceEarly) => Sequence(0),
            None => self.changed(bucket),
        };
        self.durable(sequence).await?;
        Ok(found)
    }

    /// A whole object, verified and durable; `Ok(None)` when there is no such key.
    ///
    /// Errors: [`EngineError::TooLarge`] over `bytes_max`, and damage or drive errors.
    pub(crate) async fn read_object(
        &self,
        bucket: BucketId,
        key: &[u8],
        bytes_max: u64,
    ) -> Result<Option<Bytes>, EngineError> {
        let Some((info, blobs)) = self.open(bucket, key, None).await? else { return Ok(None) };
        if bytes_max < info.size {
            return Err(EngineError::TooLarge { limit: "bytes_max", max: bytes_max, got: info.size });
        }
        let context = &self.context;
        Ok(Some(context.blobs.read_whole(&blobs, info.size, &context.stats).await?))
    }
}
