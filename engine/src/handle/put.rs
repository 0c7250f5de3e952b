//! Writing one body: small ones are gathered for the log record, large ones go to extents as they come.
//!
//! Runs on the core that has the client's connection. I1. Nothing is published before every byte of it is durable:
//! writes complete, then the drive is flushed, then the record is logged. I2. Extents of a writer that is dropped are
//! released only after its last drive write has ended.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Bucket, Engine};
use crate::blob::{BlobWriter, inline_blob};
use crate::error::EngineError;
use crate::format::record::{BlobRecord, Extent};
use crate::limits::{BLOB_BYTES_MAX, INLINE_BYTES_MAX};
use crate::lock::Lock;
use crate::mutant::Mutant;
use crate::object::{
    ETag, NewObject, NewVersion, ObjectInfo, PartInfo, PutCondition, UploadId, WriteError, check_attributes,
    check_key,
};
use crate::platform::spawn;

/// Writes one body of a size that is known at the start.
///
/// Up to `INLINE_BYTES_MAX` (a quarter of a zone when that is less) the bytes are kept for the log record, beyond that they go to extents as they come.
/// Dropping it before a `publish` resolves stores nothing, or the whole object: never a part of it.
pub struct PutWriter {
    engine: Engine,
    bucket: Arc<Bucket>,
    size: u64,
    missing: u64,
    body: Body,
}

enum Body {
    Small(Vec<Bytes>),
    Large(Large),
}

/// A blob that is written to extents of the shard, which get them back unless it was published.
struct Large {
    engine: Engine,
    bucket: Arc<Bucket>,
    writer: BlobWriter,
    /// Reserved and not needed: the body was shorter.
    spare: Vec<Extent>,
    published: bool,
}

impl PutWriter {
    pub(super) async fn begin(
        engine: Engine,
        bucket: Arc<Bucket>,
        size: u64,
    ) -> Result<PutWriter, EngineError> {
        // Before the body comes; the owner looks again.
        if let Some(kind) = bucket.settings.unsupported() {
            return Err(EngineError::UnsupportedSetting { kind });
        }
        if BLOB_BYTES_MAX < size {
            return Err(EngineError::TooLarge { limit: "BLOB_BYTES_MAX", max: BLOB_BYTES_MAX, got: size });
        }
        // On a drive with small zones a record must fit, too.
        let home = usize::from(bucket.shard.0) % engine.core.shared.superblocks.len();
        let inline_max = INLINE_BYTES_MAX.min(engine.core.shared.superblocks[home].zone_bytes / 4);
        let body = if size <= inline_max {
            Body::Small(Vec::new())
        } else {
            // A task of its own: what was reserved is released by `Large` when nobody waits for it any more.
            let (reply, answer) = futures_channel::oneshot::channel();
            let (reserving, bucket) = (engine.clone(), bucket.clone());
            engine.spawn(async move { drop(reply.send(Large::reserve(reserving, bucket, size).await)) });
            Body::Large(answer.await.map_err(|_| EngineError::Stopping)??)
        };
        Ok(PutWriter { engine, bucket, size, missing: size, body })
    }

    /// Bytes still to come.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Takes the next bytes of the body; waits while too many drive writes are in flight.
    ///
    /// More bytes than announced is a bug of the caller (asserted).
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError> {
        assert!(bytes.len() as u64 <= self.missing, "more bytes than announced");
        self.missing -= bytes.len() as u64;
        match &mut self.body {
            Body::Small(pieces) => pieces.push(bytes),
            Body::Large(large) => large.writer.write(bytes).await?,
        }
        Ok(())
    }

    /// Says that the body is at its end: it is shorter than announced, by [`PutWriter::missing`].
    pub fn shorten(&mut self) {
        self.size -= self.missing;
        self.missing = 0;
        if let Body::Large(large) = &mut self.body {
            large.spare = large.writer.shorten();
        }
    }

    /// Makes the object visible under `key`, durable on return. All bytes must have come (asserted). Which version of the
    /// key it is follows from the bucket's versioning.
    pub async fn publish(
        self,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
    ) -> Result<ObjectInfo, WriteError> {
        let (version, lock) = (NewVersion::AsSet, Lock::NONE);
        self.publish_object(key, NewObject { condition, etag, attributes, version, lock }).await
    }

    /// As [`PutWriter::publish`], but the versions that the key has stay below the new one. The version is named by
    /// [`ObjectInfo::sequence`].
    pub async fn publish_version(
        self,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
    ) -> Result<ObjectInfo, WriteError> {
        let (version, lock) = (NewVersion::Another, Lock::NONE);
        self.publish_object(key, NewObject { condition, etag, attributes, version, lock }).await
    }

    /// As [`PutWriter::publish`], with all that can be said of an object.
    pub async fn publish_object(self, key: Bytes, object: NewObject) -> Result<ObjectInfo, WriteError> {
        check_key(&key)?;
        check_attributes(&object.attributes)?;
        let (engine, shard, bucket) = (self.engine.clone(), self.bucket.shard, self.bucket.id);
        self.finish(async move |blob| {
            engine
                .on_shard(
                    shard,
                    move |shard| async move { shard.put_object(bucket, key, object, blob).await },
                )
                .await?
        })
        .await
    }

    /// Makes the bytes part `number` of an open upload, durable on return; replaces an earlier part of that number.
    pub async fn publish_part(
        self,
        upload: UploadId,
        number: u16,
        etag: ETag,
        attributes: Bytes,
    ) -> Result<PartInfo, WriteError> {
        check_attributes(&attributes)?;
        let (engine, shard, bucket) = (self.engine.clone(), self.bucket.shard, self.bucket.id);
        self.finish(async move |blob| {
            engine
                .on_shard(shard, move |shard| async move {
                    shard.put_part(bucket, upload, number, etag, attributes, blob).await
                })
                .await?
        })
        .await
    }

    /// Makes the bytes durable, then has `publish` log them. Runs as a task of its own from the moment the shard is
    /// told, so that extents are never released while their record may be in the log.
    async fn finish<T: 'static>(
        self,
        publish: impl AsyncFnOnce(BlobRecord) -> Result<T, WriteError> + 'static,
    ) -> Result<T, WriteError> {
        assert!(self.missing == 0, "{} of {} bytes are missing", self.missing, self.size);
        match self.body {
            Body::Small(pieces) => publish(inline_blob(joined(pieces))).await,
            Body::Large(mut large) => {
                let blob = large.writer.finish(Mutant::LargeUnflushed).await?;
                let (reply, answer) = futures_channel::oneshot::channel();
                let platform = self.engine.core.platform.clone();
                spawn(&platform, async move {
                    let published = publish(blob).await;
                    // Refused or surely not logged: the extents go back. After a failed log nobody may have them.
                    large.published = match &published {
                        Ok(_) => true,
                        Err(WriteError::Refused(_)) => false,
                        Err(WriteError::Engine(error)) => !error.is_surely_unlogged(),
                    };
                    drop(large);
                    drop(reply.send(published));
                });
                answer.await.map_err(|_| EngineError::Stopping)?
            }
        }
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

impl Large {
    async fn reserve(engine: Engine, bucket: Arc<Bucket>, size: u64) -> Result<Large, EngineError> {
        let extents = engine.on_shard(bucket.shard, move |shard| async move { shard.reserve(size).await });
        let writer = BlobWriter::new(engine.core.blobs.clone(), extents.await??.into(), size);
        Ok(Large { engine, bucket, writer, spare: Vec::new(), published: false })
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let mut extents = std::mem::take(&mut self.spare);
        if !self.published {
            extents.extend_from_slice(self.writer.extents());
        }
        if extents.is_empty() {
            return;
        }
        let (engine, shard, extents) =
            (self.engine.clone(), self.bucket.shard, Arc::<[Extent]>::from(extents));
        let pending = self.writer.take_pending();
        let platform = engine.core.platform.clone();
        spawn(&platform, async move {
            pending.ended().await;
            loop {
                let extents = extents.clone();
                let released =
                    engine.on_shard(shard, move |shard| async move { shard.release_extents(&extents) });
                match released.await {
                    // Its mailbox is full: nobody else knows of this space, so it is told until it listens.
                    Err(EngineError::Busy { .. }) => {}
                    // Told; or it is stopping, and the space is free again after the next start.
                    _ => break,
                }
            }
        });
    }
}
