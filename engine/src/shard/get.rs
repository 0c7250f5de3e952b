//! Looking an object up. What is found is answered when it is durable, and so is what is not found.
//!
//! The bytes are read through `blob`, by `handle::get` on the core that asked; here they are held for it.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use crate::blob::Blob;
use crate::error::EngineError;
use crate::meta::index::BucketIndex;
use crate::mutant::{Mutant, seeded};
use crate::object::{Found, ObjectInfo, VersionId};
use crate::units::{BucketId, Sequence};

impl Shard {
    /// What a key has, or its version of that name, once what is answered is durable.
    pub(crate) async fn open(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<Found<(ObjectInfo, Arc<[Blob]>)>, EngineError> {
        let (found, sequence) = self.look(bucket, |held| match held.open(key, version) {
            Found::Object((info, blobs)) => (Some(info.sequence), Found::Object((info, blobs))),
            other => (None, other),
        })?;
        // Held before anything is awaited.
        let found = found.map(|(info, blobs)| (info, self.space.borrow_mut().pins.open(blobs)));
        self.durable(sequence).await?;
        Ok(found)
    }

    /// Looks a version up, and says what must be durable before it is told. `look` answers the sequence of an object that
    /// was found.
    fn look<T>(
        &self,
        bucket: BucketId,
        look: impl FnOnce(&BucketIndex) -> (Option<Sequence>, Found<T>),
    ) -> Result<(Found<T>, Sequence), EngineError> {
        self.check_determinate(bucket)?;
        let (found, waits) = match self.with_bucket(bucket, |held| (look(held), held.unsettled, held.changed))
        {
            None => (Found::Nothing, Sequence(0)),
            Some(((Some(sequence), object), unsettled, _)) => (object, sequence.max(unsettled)),
            Some(((None, other), _, changed)) => (other, changed),
        };
        let is_object = matches!(found, Found::Object(_));
        if matches!(found, Found::Nothing) && !self.is_whole.get() {
            return Err(EngineError::ReadOnly { shard: self.context.id });
        }
        let early = seeded(if is_object { Mutant::ReadEarly } else { Mutant::AbsenceEarly });
        Ok((found, if early { Sequence(0) } else { waits }))
    }

    /// Has the space of bytes that the index refers to now used by nobody else until what this answers is dropped.
    pub(crate) fn hold(&self, blob: Blob) -> Arc<[Blob]> {
        self.space.borrow_mut().pins.open(vec![blob])
    }

    /// As [`Shard::open`], without its bytes.
    pub(crate) async fn head(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<Found<ObjectInfo>, EngineError> {
        let (found, sequence) = self.look(bucket, |held| match held.find(key, version) {
            Found::Object(info) => (Some(info.sequence), Found::Object(info)),
            other => (None, other),
        })?;
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
        let Some((info, blobs)) = self.open(bucket, key, None).await?.object() else { return Ok(None) };
        if bytes_max < info.size {
            return Err(EngineError::TooLarge { limit: "bytes_max", max: bytes_max, got: info.size });
        }
        let context = &self.context;
        Ok(Some(context.blobs.read_whole(&blobs, info.size, &context.stats).await?))
    }
}
