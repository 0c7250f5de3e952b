//! Writing one body: small ones are gathered for the log record, large ones go to extents as they come.
//!
//! Runs on the core that has the client's connection. I1. Nothing is published before every byte of it is durable:
//! writes complete, then the drive is flushed, then the record is logged. I2. Extents of a writer that is dropped are
//! given back only after its last drive write has ended.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::{Bucket, Engine};
use crate::drive::{Buffer, Drive, Durability};
use crate::error::{DriveError, EngineError};
use crate::format::checksum::unit_checksums;
use crate::format::record::{BlobPlace, BlobRecord, Extent};
use crate::limits::{BLOB_BYTES_MAX, INLINE_BYTES_MAX, IO_BYTES_MAX, IO_DEPTH_PER_STREAM};
use crate::meta::watermark::Notify;
use crate::mutant::{Mutant, is};
use crate::object::{
    ETag, ObjectInfo, PartInfo, PutCondition, PutRefused, UploadId, check_attributes, check_key,
};
use crate::platform::{LocalFuture, spawn};
use crate::shard::inline_blob;
use crate::units::{DriveOffset, round_up_to_block};

type WriteFuture = LocalFuture<(Buffer, Result<(), DriveError>)>;

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

/// Extents being filled.
struct Large {
    engine: Engine,
    bucket: Arc<Bucket>,
    extents: Arc<[Extent]>,
    units: Vec<u64>,
    writes: FuturesUnordered<WriteFuture>,
    /// The piece being filled, and how much of the current extent lies before its end.
    buffer: Option<Buffer>,
    filled: usize,
    extent: usize,
    extent_used: u64,
    published: bool,
}

impl PutWriter {
    pub(super) async fn begin(
        engine: Engine,
        bucket: Arc<Bucket>,
        size: u64,
    ) -> Result<PutWriter, EngineError> {
        if BLOB_BYTES_MAX < size {
            return Err(EngineError::TooLarge { limit: "BLOB_BYTES_MAX", max: BLOB_BYTES_MAX, got: size });
        }
        // On a drive with small zones a record must fit, too.
        let home = usize::from(bucket.shard.0) % engine.core.shared.superblocks.len();
        let inline_max = INLINE_BYTES_MAX.min(engine.core.shared.superblocks[home].zone_bytes / 4);
        let body = if size <= inline_max {
            Body::Small(Vec::new())
        } else {
            // A task of its own: what was reserved is given back by `Large` when nobody waits for it any more.
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
            Body::Large(large) => large.write(bytes, self.missing).await?,
        }
        Ok(())
    }

    /// Makes the object visible under `key`, durable on return. All bytes must have come (asserted).
    pub async fn publish(
        self,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
    ) -> Result<Result<ObjectInfo, PutRefused>, EngineError> {
        self.publish_as(key, condition, etag, attributes, false).await
    }

    /// As [`PutWriter::publish`], but the versions that the key has stay below the new one. The version is named by
    /// [`ObjectInfo::sequence`].
    pub async fn publish_version(
        self,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
    ) -> Result<Result<ObjectInfo, PutRefused>, EngineError> {
        self.publish_as(key, condition, etag, attributes, true).await
    }

    async fn publish_as(
        self,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
        versioned: bool,
    ) -> Result<Result<ObjectInfo, PutRefused>, EngineError> {
        check_key(&key)?;
        check_attributes(&attributes)?;
        let (engine, shard, bucket) = (self.engine.clone(), self.bucket.shard, self.bucket.id);
        self.finish(async move |blob| {
            engine
                .on_shard(shard, move |shard| async move {
                    shard.put_object(bucket, key, condition, etag, attributes, versioned, blob).await
                })
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
    ) -> Result<Result<PartInfo, PutRefused>, EngineError> {
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
    /// told, so that extents are never given back while their record may be in the log.
    async fn finish<T: 'static>(
        self,
        publish: impl AsyncFnOnce(BlobRecord) -> Result<Result<T, PutRefused>, EngineError> + 'static,
    ) -> Result<Result<T, PutRefused>, EngineError> {
        assert!(self.missing == 0, "{} of {} bytes are missing", self.missing, self.size);
        let size = self.size;
        match self.body {
            Body::Small(pieces) => publish(inline_blob(joined(pieces))).await,
            Body::Large(mut large) => {
                large.flush().await?;
                let units = std::mem::take(&mut large.units).into();
                let blob = BlobRecord { size, place: BlobPlace::Extents(large.extents.clone()), units };
                let (reply, answer) = futures_channel::oneshot::channel();
                let platform = self.engine.core.platform.clone();
                spawn(&platform, async move {
                    let published = publish(blob).await;
                    // Refused or surely not logged: the extents go back. After a failed log nobody may have them.
                    large.published = match &published {
                        Ok(Ok(_)) => true,
                        Ok(Err(_)) => false,
                        Err(error) => !error.is_surely_unlogged(),
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
        let extents = extents.await??.into();
        Ok(Large {
            engine,
            bucket,
            extents,
            units: Vec::new(),
            writes: FuturesUnordered::new(),
            buffer: None,
            filled: 0,
            extent: 0,
            extent_used: 0,
            published: false,
        })
    }

    async fn write(&mut self, mut bytes: Bytes, missing: u64) -> Result<(), EngineError> {
        while !bytes.is_empty() {
            if self.buffer.is_none() {
                self.start_piece(missing + bytes.len() as u64).await?;
            }
            let buffer = self.buffer.as_mut().expect("started above");
            let take = bytes.len().min(buffer.len() - self.filled);
            buffer.as_mut_slice()[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
            self.filled += take;
            bytes = bytes.slice(take..);
            let is_last = missing == 0 && bytes.is_empty();
            if self.filled == buffer.len() || is_last {
                self.end_piece();
            }
        }
        Ok(())
    }

    /// Takes a buffer for the next piece: up to `IO_BYTES_MAX`, not beyond the extent, not beyond the body.
    async fn start_piece(&mut self, left: u64) -> Result<(), EngineError> {
        while IO_DEPTH_PER_STREAM <= self.writes.len() {
            self.end_one_write().await?;
        }
        if self.extents[self.extent].bytes == self.extent_used {
            self.extent += 1;
            self.extent_used = 0;
        }
        let extent = self.extents[self.extent];
        let bytes = (extent.bytes - self.extent_used).min(IO_BYTES_MAX as u64).min(round_up_to_block(left));
        let bytes = usize::try_from(bytes).expect("at most IO_BYTES_MAX");
        self.buffer = Some(self.engine.core.platform.buffer(bytes).await?);
        self.filled = 0;
        Ok(())
    }

    /// Checksums the piece and hands it to the drive.
    fn end_piece(&mut self) {
        let mut buffer = self.buffer.take().expect("a piece was started");
        self.units.extend(unit_checksums(&buffer.as_slice()[..self.filled]));
        buffer.as_mut_slice()[self.filled..].fill(0);
        let extent = self.extents[self.extent];
        let at = DriveOffset(extent.at.0 + self.extent_used);
        self.extent_used += buffer.len() as u64;
        assert!(self.extent_used <= extent.bytes);
        let drive = &self.engine.core.drives[usize::from(extent.drive)];
        self.writes.push(drive.write(at, buffer, Durability::AfterFlush));
    }

    async fn end_one_write(&mut self) -> Result<(), EngineError> {
        match self.writes.next().await {
            Some((_, result)) => Ok(result?),
            None => Ok(()),
        }
    }

    /// Waits for all writes, then makes them durable.
    async fn flush(&mut self) -> Result<(), EngineError> {
        while !self.writes.is_empty() {
            self.end_one_write().await?;
        }
        let drives: BTreeMap<u16, ()> = self.extents.iter().map(|extent| (extent.drive, ())).collect();
        for drive in drives.into_keys() {
            if is(Mutant::LargeUnflushed) {
                continue;
            }
            self.engine.core.flushes[usize::from(drive)].flush().await?;
        }
        Ok(())
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let (engine, shard, extents) = (self.engine.clone(), self.bucket.shard, self.extents.clone());
        let mut writes = std::mem::take(&mut self.writes);
        let platform = engine.core.platform.clone();
        spawn(&platform, async move {
            while writes.next().await.is_some() {}
            loop {
                let extents = extents.clone();
                let give_back = engine.on_shard(shard, move |shard| async move { shard.give_back(&extents) });
                match give_back.await {
                    // Its mailbox is full: nobody else knows of this space, so it is told until it listens.
                    Err(EngineError::Busy { .. }) => {}
                    // Told; or it is stopping, and the space is free again after the next start.
                    _ => break,
                }
            }
        });
    }
}

/// Joins flushes of one drive: who comes while one is running shares the next.
pub(crate) struct FlushGroup {
    drive: Rc<dyn Drive>,
    started: Cell<u64>,
    ended: Cell<u64>,
    running: Cell<bool>,
    failed: std::cell::RefCell<Option<DriveError>>,
    done: Notify,
}

impl FlushGroup {
    pub(crate) fn new(drive: Rc<dyn Drive>) -> Rc<FlushGroup> {
        Rc::new(FlushGroup {
            drive,
            started: Cell::new(0),
            ended: Cell::new(0),
            running: Cell::new(false),
            failed: std::cell::RefCell::new(None),
            done: Notify::default(),
        })
    }

    /// Resolves after a flush that started after this call. A failed flush fails the drive for good.
    pub(crate) async fn flush(&self) -> Result<(), EngineError> {
        let joins = is(Mutant::FlushJoinsRunning) && self.running.get();
        let wanted = self.started.get() + u64::from(!joins);
        loop {
            if let Some(error) = self.failed.borrow().as_ref() {
                return Err(EngineError::Drive(error.clone()));
            }
            if wanted <= self.ended.get() {
                return Ok(());
            }
            if self.running.get() {
                self.done.until(|| (!self.running.get()).then_some(())).await;
                continue;
            }
            self.lead().await;
        }
    }

    async fn lead(&self) {
        /// Lets the others go on when the leader is dropped in the middle.
        struct Leading<'a>(&'a FlushGroup);
        impl Drop for Leading<'_> {
            fn drop(&mut self) {
                self.0.running.set(false);
                self.0.done.notify();
            }
        }
        self.running.set(true);
        let leading = Leading(self);
        let number = self.started.get() + 1;
        self.started.set(number);
        match self.drive.flush().await {
            Ok(()) => self.ended.set(number),
            Err(_) if is(Mutant::FlushFailureIgnored) => self.ended.set(number),
            Err(error) => *self.failed.borrow_mut() = Some(error),
        }
        drop(leading);
    }
}
