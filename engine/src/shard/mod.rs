//! One shard: its index, log and space, owned by one core. Commands from any core end up here as method calls.
//!
//! The shape of every change: check (refuses before anything is touched) → `settle` (sync: takes its place in the log
//! and changes the index at once) → `durable` (await) → answer. I1. No borrow of shard state lives across an await.
//! I2. What was settled is seen by later commands of this shard; nobody outside is told of it before it is durable.
//! I3. Space of what a change displaced is reused only after the change is durable and the last reader is gone.

pub(crate) mod mailbox;
pub(crate) mod multipart;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_channel::oneshot;

use crate::drive::Drive;
use crate::error::{Corrupt, EngineError};
use crate::format::checksum::unit_checksums;
use crate::format::record::{BlobPlace, BlobRecord, Change, Extent, Record};
use crate::format::superblock::Superblock;
use crate::format::zone::ZoneKind;
use crate::handle::get::read_blobs;
use crate::limits::{ATTRIBUTES_BYTES_MAX, BLOB_BYTES_MAX, KEY_BYTES_MAX};
use crate::meta::index::{Blob, BucketIndex, Entry, Index, Place};
use crate::meta::log::{Log, grant_zone};
use crate::meta::recover::extent_room;
use crate::meta::watermark::Notify;
use crate::object::{ETag, ObjectInfo, PutCondition, PutRefused};
use crate::platform::{Platform, spawn};
use crate::space::extents::FreeSpace;
use crate::space::pins;
use crate::space::zones::ZoneTable;
use crate::stats::ShardStats;
use crate::units::{BucketId, Sequence, ShardId};

/// A change of several objects and values of one bucket: one log record, one flush, all or nothing.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Objects to set.
    pub puts: Vec<TransactionPut>,
    /// Object keys to delete; absent ones are fine.
    pub deletes: Vec<Bytes>,
    /// Values of the layer above: key and new value, `None` to remove it.
    pub records: Vec<(Bytes, Option<Bytes>)>,
}

/// One object of a [`Transaction`].
#[derive(Debug)]
pub struct TransactionPut {
    /// Its key, at most `KEY_BYTES_MAX`.
    pub key: Bytes,
    /// Its bytes.
    pub body: TransactionBody,
    /// Its entity tag.
    pub etag: ETag,
    /// Opaque attributes, at most `ATTRIBUTES_BYTES_MAX`.
    pub attributes: Bytes,
}

/// The bytes of a [`TransactionPut`].
#[derive(Debug)]
pub enum TransactionBody {
    /// Kept in the log record: small enough for `RECORD_BYTES_MAX` together with the rest of the transaction.
    Inline(Bytes),
    /// Written to extents before, by [`Shard::stage`].
    Staged(Staged),
}

/// Bytes in extents that nothing refers to yet. Dropping it gives the space back.
pub struct Staged {
    /// Bytes.
    pub size: u64,
    units: Arc<[u64]>,
    reservation: Reservation,
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Extents taken from a shard's free space; given back on drop unless they were published.
pub(crate) struct Reservation {
    shard: Rc<Shard>,
    extents: Arc<[Extent]>,
    published: bool,
}

impl Reservation {
    /// Leaves the extents to the index.
    fn publish(mut self) {
        self.published = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.published {
            self.shard.release(&self.extents);
        }
    }
}

/// Where the bytes of a shard's extent zones are; what is missing from the sum is reserved by writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceFacts {
    /// Bytes of all extent zones of the shard.
    pub granted_bytes: u64,
    /// Bytes that may be reserved.
    pub free_bytes: u64,
    /// Bytes of extents that objects, parts or open readers refer to.
    pub used_bytes: u64,
}

/// What a shard is made of; `store` fills it at start.
pub(crate) struct ShardGround {
    pub(crate) id: ShardId,
    pub(crate) superblock: Superblock,
    pub(crate) drive: Rc<dyn Drive>,
    pub(crate) zones: Arc<ZoneTable>,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) stats: Arc<ShardStats>,
}

/// One shard, on the core that owns it. All methods without `async` are atomic: nothing else of the shard runs.
pub struct Shard {
    pub(crate) ground: ShardGround,
    pub(crate) log: Rc<Log>,
    pub(crate) index: RefCell<Index>,
    space: RefCell<FreeSpace>,
    /// Displaced by the record of that sequence, which may not be durable yet.
    retired: RefCell<VecDeque<(Sequence, Vec<Arc<Blob>>)>>,
    /// Displaced for good, but perhaps still read.
    unused: RefCell<Vec<Arc<Blob>>>,
    open_buckets: RefCell<HashSet<BucketId>>,
    /// Bytes of all extent zones.
    granted_bytes: Cell<u64>,
    /// Whether the whole log was replayed: otherwise what is not in the index may have been lost with the rest.
    is_whole: bool,
    growing: Cell<bool>,
    grown: Notify,
    extension: RefCell<Option<Rc<dyn Any>>>,
}

impl Shard {
    pub(crate) fn new(
        ground: ShardGround,
        log: Rc<Log>,
        index: Index,
        space: FreeSpace,
        granted_bytes: u64,
        is_whole: bool,
    ) -> Rc<Shard> {
        let objects = || index.buckets.values().flat_map(|bucket| bucket.objects.values());
        ground.stats.objects.store(objects().count() as u64, Relaxed);
        ground.stats.object_bytes.store(objects().map(|entry| entry.info.size).sum(), Relaxed);
        ground.stats.free_extent_bytes.store(space.free_bytes(), Relaxed);
        Rc::new(Shard {
            ground,
            log,
            index: RefCell::new(index),
            space: RefCell::new(space),
            retired: RefCell::default(),
            unused: RefCell::default(),
            open_buckets: RefCell::default(),
            granted_bytes: Cell::new(granted_bytes),
            is_whole,
            growing: Cell::new(false),
            grown: Notify::default(),
            extension: RefCell::new(None),
        })
    }

    // ---- values and transactions: what the layer above keeps here ----

    /// The value of a key, durable or not: await [`Shard::durable`] before telling anybody.
    pub fn record(&self, bucket: BucketId, key: &[u8]) -> Option<Bytes> {
        self.index.borrow().buckets.get(&bucket)?.values.get(key).cloned()
    }

    /// Visits values whose key starts with `prefix`, from `from` (inclusive) on, in byte order, while `visit` answers
    /// true. `visit` must not call back into the shard.
    pub fn records(
        &self,
        bucket: BucketId,
        prefix: &[u8],
        from: &[u8],
        mut visit: impl FnMut(&[u8], &Bytes) -> bool,
    ) {
        let index = self.index.borrow();
        let Some(bucket) = index.buckets.get(&bucket) else { return };
        let start = prefix.max(from);
        for (key, value) in bucket.values.range::<[u8], _>((Bound::Included(start), Bound::Unbounded)) {
            if !key.starts_with(prefix) || !visit(key, value) {
                return;
            }
        }
    }

    /// Applies `transaction` in memory and puts its record into the log's open block: from here on the shard sees it,
    /// and nobody outside may be told before [`Shard::durable`] of the answer resolves.
    ///
    /// Errors change nothing: [`EngineError::Full`], [`EngineError::TooLarge`] (the record is over
    /// `RECORD_BYTES_MAX`), [`EngineError::ReadOnly`], and [`EngineError::Busy`] when the bucket was deleted meanwhile
    /// ([`Shard::is_open`]) or [`Shard::room`] was not awaited in the same turn.
    pub fn settle(&self, bucket: BucketId, transaction: Transaction) -> Result<Sequence, EngineError> {
        if !self.is_open(bucket) {
            return Err(EngineError::Busy { limit: "a bucket that is being deleted", max: 0 });
        }
        let modified_ms = self.now_ms();
        let mut changes = Vec::new();
        let mut reservations = Vec::new();
        // A change that removes something may use the last of the log, with the note that it happened.
        let removes =
            !transaction.deletes.is_empty() || transaction.records.iter().any(|(_, value)| value.is_none());
        let only_frees = transaction.puts.is_empty() && removes;
        for put in transaction.puts {
            check_key(&put.key)?;
            check_attributes(&put.attributes)?;
            let blob = match put.body {
                TransactionBody::Inline(bytes) => inline_blob(bytes),
                TransactionBody::Staged(staged) => {
                    let extents = staged.reservation.extents.clone();
                    let blob = BlobRecord {
                        size: staged.size,
                        place: BlobPlace::Extents(extents),
                        units: staged.units,
                    };
                    reservations.push(staged.reservation);
                    blob
                }
            };
            let (key, etag, attributes) = (put.key, put.etag, put.attributes);
            changes.push(Change::PutObject { key, modified_ms, etag, attributes, blob });
        }
        for key in &transaction.deletes {
            check_key(key)?;
        }
        changes.extend(transaction.deletes.into_iter().map(|key| Change::DeleteObject { key }));
        changes.extend(transaction.records.into_iter().map(|(key, value)| match value {
            Some(value) => Change::SetValue { key, value },
            None => Change::ClearValue { key },
        }));
        let sequence = self.settle_record(&Record { bucket, changes }, only_frees)?;
        reservations.into_iter().for_each(Reservation::publish);
        Ok(sequence)
    }

    /// Resolves once [`Shard::settle`] of up to `bytes` (keys, values, inline bodies and 200 bytes for each) finds
    /// room in the log; fails when it never will.
    pub async fn room(&self, bytes: usize) -> Result<(), EngineError> {
        self.log.room(bytes, false).await
    }

    /// Resolves once every record up to `sequence` is durable; [`EngineError::ReadOnly`] when that will never be.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), EngineError> {
        let failed = EngineError::ReadOnly { shard: self.ground.id };
        self.log.watermark.reached(sequence).await.map_err(|_| failed)
    }

    /// The newest sequence given out.
    pub fn last_sequence(&self) -> Sequence {
        self.log.last_sequence()
    }

    /// Whether the bucket takes writes: not before its creation, nor from the moment its deletion was decided.
    pub fn is_open(&self, bucket: BucketId) -> bool {
        self.open_buckets.borrow().contains(&bucket)
    }

    /// Writes `body` to extents and flushes it, for a [`TransactionBody::Staged`].
    ///
    /// Runs to its end when the caller goes away: space is given back only when no write to it is under way.
    pub async fn stage(self: &Rc<Self>, body: Bytes) -> Result<Staged, EngineError> {
        let (reply, answer) = oneshot::channel();
        let shard = self.clone();
        spawn(&self.ground.platform, async move {
            let staged = shard.write_staged(body).await;
            drop(reply.send(staged));
        });
        answer.await.map_err(|_| EngineError::Stopping)?
    }

    async fn write_staged(self: Rc<Self>, body: Bytes) -> Result<Staged, EngineError> {
        let size = body.len() as u64;
        let extents: Arc<[Extent]> = self.reserve(size).await?.into();
        let reservation = Reservation { shard: self, extents, published: false };
        let ground = &reservation.shard.ground;
        let units = unit_checksums(&body).collect();
        let mut written: u64 = 0;
        for extent in reservation.extents.iter() {
            let mut at = extent.at;
            let end = extent.at.plus(extent.bytes);
            while at < end && written < size {
                let bytes = (end.0 - at.0).min(crate::limits::IO_BYTES_MAX as u64);
                let take = usize::try_from(bytes.min(size - written)).expect("bounded");
                let from = usize::try_from(written).expect("in memory");
                let mut buffer = ground.platform.buffer(usize::try_from(bytes).expect("bounded")).await?;
                buffer.as_mut_slice()[..take].copy_from_slice(&body[from..from + take]);
                buffer.as_mut_slice()[take..].fill(0);
                ground.drive.write(at, buffer, false).await.1?;
                written += take as u64;
                at = at.plus(bytes);
            }
        }
        ground.drive.flush().await?;
        Ok(Staged { size, units, reservation })
    }

    /// A whole object, verified and durable; `Ok(None)` when there is no such key.
    ///
    /// Errors: [`EngineError::TooLarge`] over `bytes_max`, and damage or drive errors.
    pub async fn read_object(
        &self,
        bucket: BucketId,
        key: &[u8],
        bytes_max: u64,
    ) -> Result<Option<Bytes>, EngineError> {
        let Some((info, blobs)) = self.open(bucket, key).await? else { return Ok(None) };
        if bytes_max < info.size {
            return Err(EngineError::TooLarge {
                limit: "bytes to read at once",
                max: bytes_max,
                got: info.size,
            });
        }
        // A shard keeps everything on its own drive.
        let bytes =
            read_blobs(&self.ground.drive, &self.ground.platform, &self.ground.stats, &blobs, info.size)
                .await?;
        Ok(Some(bytes))
    }

    /// Keys of objects that start with `prefix`, at most `max`.
    pub fn object_keys(&self, bucket: BucketId, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let index = self.index.borrow();
        let Some(bucket) = index.buckets.get(&bucket) else { return Vec::new() };
        let range = bucket.objects.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        range.take_while(|(key, _)| key.starts_with(prefix)).take(max).map(|(key, _)| key.clone()).collect()
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> u64 {
        self.ground.platform.now_ms()
    }

    /// Unpredictable bits.
    pub fn random_u128(&self) -> u128 {
        self.ground.platform.random_u128()
    }

    /// State that the layer above keeps on this shard's core, made by `T::default()` at first use. One type per shard
    /// (asserted).
    pub fn extension<T: Default + 'static>(&self) -> Rc<T> {
        let mut kept = self.extension.borrow_mut();
        let any = kept.get_or_insert_with(|| Rc::new(T::default()) as Rc<dyn Any>);
        any.clone().downcast::<T>().expect("one extension type per shard")
    }

    // ---- objects ----

    /// Stores an object whose bytes are in `blob`.
    pub(crate) async fn put_object(
        &self,
        bucket: BucketId,
        key: Bytes,
        condition: PutCondition,
        etag: ETag,
        attributes: Bytes,
        blob: BlobRecord,
    ) -> Result<Result<ObjectInfo, PutRefused>, EngineError> {
        let (modified_ms, size) = (self.now_ms(), blob.size);
        let change =
            Change::PutObject { key: key.clone(), modified_ms, etag, attributes: attributes.clone(), blob };
        let record = Record { bucket, changes: vec![change] };
        self.log.room(record.encoded_bytes_max(), false).await?;
        if let Err(refused) = self.check(bucket, &key, &condition) {
            return self.refuse(bucket, refused).await;
        }
        let sequence = self.settle_record(&record, false)?;
        self.durable(sequence).await?;
        Ok(Ok(ObjectInfo { sequence, size, modified_ms, etag, attributes }))
    }

    /// Removes objects; answers which were there.
    pub(crate) async fn delete_objects(
        &self,
        bucket: BucketId,
        keys: Vec<Bytes>,
        condition: PutCondition,
    ) -> Result<Result<Vec<bool>, PutRefused>, EngineError> {
        let changes: Vec<Change> = keys.iter().map(|key| Change::DeleteObject { key: key.clone() }).collect();
        let record = Record { bucket, changes };
        self.log.room(record.encoded_bytes_max(), true).await?;
        for key in &keys {
            if let Err(refused) = self.check(bucket, key, &condition) {
                return self.refuse(bucket, refused).await;
            }
        }
        let found = self.with_bucket(bucket, |bucket| {
            keys.iter().map(|key| bucket.objects.contains_key(key.as_ref())).collect::<Vec<bool>>()
        });
        let found = found.unwrap_or_else(|| vec![false; keys.len()]);
        let sequence = match found.contains(&true) {
            true => self.settle_record(&record, true)?,
            // Nothing to do, but their absence may itself be news that is not durable yet.
            false => self.changed(bucket),
        };
        self.durable(sequence).await?;
        self.reclaim();
        self.note_free_bytes();
        Ok(Ok(found))
    }

    /// The object of a key, once what is answered is durable.
    pub(crate) async fn open(
        &self,
        bucket: BucketId,
        key: &[u8],
    ) -> Result<Option<(ObjectInfo, Arc<[Arc<Blob>]>)>, EngineError> {
        let found = self.with_bucket(bucket, |bucket| {
            bucket.objects.get(key).map(|entry: &Entry| (entry.info.clone(), entry.blobs.clone()))
        });
        let found = found.flatten();
        let sequence = match &found {
            Some((info, _)) => info.sequence,
            None if !self.is_whole => return Err(EngineError::ReadOnly { shard: self.ground.id }),
            None => self.changed(bucket),
        };
        self.durable(sequence).await?;
        Ok(found)
    }

    /// Runs `look` over a bucket's index and answers once everything it could see is durable.
    pub(crate) async fn look<T>(
        &self,
        bucket: BucketId,
        look: impl FnOnce(&BucketIndex) -> T,
    ) -> Result<Option<T>, EngineError> {
        if !self.is_whole {
            return Err(EngineError::ReadOnly { shard: self.ground.id });
        }
        let found = self.with_bucket(bucket, look);
        self.durable(self.changed(bucket)).await?;
        Ok(found)
    }

    pub(crate) fn with_bucket<T>(&self, bucket: BucketId, look: impl FnOnce(&BucketIndex) -> T) -> Option<T> {
        self.index.borrow().buckets.get(&bucket).map(look)
    }

    fn changed(&self, bucket: BucketId) -> Sequence {
        self.with_bucket(bucket, |bucket| bucket.changed).unwrap_or_default()
    }

    /// Answers a refusal once what it tells of the bucket is durable.
    pub(crate) async fn refuse<T>(
        &self,
        bucket: BucketId,
        refused: PutRefused,
    ) -> Result<Result<T, PutRefused>, EngineError> {
        self.durable(self.changed(bucket)).await?;
        Ok(Err(refused))
    }

    /// Whether a write of `key` may happen now.
    pub(crate) fn check(
        &self,
        bucket: BucketId,
        key: &[u8],
        condition: &PutCondition,
    ) -> Result<(), PutRefused> {
        if !self.is_open(bucket) {
            return Err(PutRefused::NoSuchBucket);
        }
        let etag = self.with_bucket(bucket, |b| b.objects.get(key).map(|entry| entry.info.etag)).flatten();
        check_condition(condition, etag)
    }

    pub(crate) fn settle_record(&self, record: &Record, frees: bool) -> Result<Sequence, EngineError> {
        let (sequence, places) = self.log.append(record, frees)?;
        let mut index = self.index.borrow_mut();
        let held = |index: &Index| index.buckets.get(&record.bucket).map_or((0, 0), BucketIndex::held);
        let before = held(&index);
        let mut displaced = index.apply(sequence, record, self.log.drive_index(), &places);
        let after = held(&index);
        drop(index);
        let stats = &self.ground.stats;
        stats.objects.store((stats.objects.load(Relaxed) + after.0).saturating_sub(before.0), Relaxed);
        stats
            .object_bytes
            .store((stats.object_bytes.load(Relaxed) + after.1).saturating_sub(before.1), Relaxed);
        // What rode in the log has no extents to give back.
        displaced.retain(|blob| matches!(blob.place, Place::Extents(_)));
        if !displaced.is_empty() {
            self.retired.borrow_mut().push_back((sequence, displaced));
        }
        Ok(sequence)
    }

    // ---- buckets of this shard ----

    pub(crate) fn open_bucket(&self, bucket: BucketId) {
        self.open_buckets.borrow_mut().insert(bucket);
    }

    /// Closes a bucket to writes if nothing is in it; answers whether it did.
    pub(crate) fn close_bucket_if_empty(&self, bucket: BucketId) -> bool {
        let empty = self.with_bucket(bucket, BucketIndex::is_empty).unwrap_or(true);
        if empty {
            self.open_buckets.borrow_mut().remove(&bucket);
        }
        empty
    }

    /// Forgets what a deleted bucket left in the index, if anything.
    pub(crate) fn forget_buckets_except(&self, known: &HashSet<BucketId>) {
        self.index.borrow_mut().buckets.retain(|bucket, _| known.contains(bucket));
    }

    // ---- space ----

    /// Extents for a blob of `size` bytes, in memory only: a crash gives them back.
    pub(crate) async fn reserve(self: &Rc<Self>, size: u64) -> Result<Vec<Extent>, EngineError> {
        if BLOB_BYTES_MAX < size {
            return Err(EngineError::TooLarge { limit: "BLOB_BYTES_MAX", max: BLOB_BYTES_MAX, got: size });
        }
        if self.log.watermark.has_failed() {
            return Err(EngineError::ReadOnly { shard: self.ground.id });
        }
        loop {
            self.reclaim();
            let reserved = self.space.borrow_mut().reserve(size);
            if let Some(extents) = reserved {
                self.note_free_bytes();
                return Ok(extents);
            }
            if self.growing.get() {
                self.grown.until(|| (!self.growing.get()).then_some(())).await;
                continue;
            }
            // What can never fit must not take the last zones away from the other shards.
            let (_, zone_bytes) = extent_room(&self.ground.superblock, 0);
            let at_most = self.space.borrow().free_bytes()
                + u64::from(self.ground.zones.free_for_extents()) * zone_bytes;
            if at_most < size {
                return Err(EngineError::Full { wanted_bytes: size });
            }
            self.growing.set(true);
            // A task of its own: a zone that is granted must arrive here even when the asker goes away.
            let (reply, answer) = oneshot::channel();
            let shard = self.clone();
            spawn(&self.ground.platform, async move {
                drop(reply.send(shard.grow().await));
            });
            answer.await.map_err(|_| EngineError::Stopping)?.map_err(|error| match error {
                EngineError::Full { .. } => EngineError::Full { wanted_bytes: size },
                other => other,
            })?;
        }
    }

    /// Takes one more zone for extents.
    async fn grow(&self) -> Result<(), EngineError> {
        let ground = &self.ground;
        let granted =
            grant_zone(&*ground.drive, &ground.superblock, &ground.zones, ground.id, 0, ZoneKind::Extent)
                .await;
        self.growing.set(false);
        if let Ok(zone) = granted {
            let (at, bytes) = extent_room(&ground.superblock, zone);
            self.space.borrow_mut().give(ground.superblock.drive_index, at, bytes);
            self.granted_bytes.set(self.granted_bytes.get() + bytes);
        }
        self.grown.notify();
        granted.map(|_| ())
    }

    /// Gives back extents that were reserved and never published. No write to them may be under way.
    pub(crate) fn release(&self, extents: &[Extent]) {
        let mut space = self.space.borrow_mut();
        for extent in extents {
            space.give(extent.drive, extent.at, extent.bytes);
        }
        drop(space);
        self.note_free_bytes();
    }

    /// Makes displaced extents free once their displacement is durable and nobody reads them.
    fn reclaim(&self) {
        let durable = self.log.watermark.value();
        let mut unused = self.unused.borrow_mut();
        let mut retired = self.retired.borrow_mut();
        while retired.front().is_some_and(|(sequence, _)| *sequence <= durable) {
            unused.extend(retired.pop_front().into_iter().flat_map(|(_, blobs)| blobs));
        }
        let mut space = self.space.borrow_mut();
        pins::reclaim(&mut unused, |blob| {
            if let Place::Extents(extents) = &blob.place {
                for extent in extents.iter() {
                    space.give(extent.drive, extent.at, extent.bytes);
                }
            }
        });
    }

    /// Takes stock of the extents: looks at every one, for tests and tools. Damage names an extent that is in use and
    /// free at once, or in use twice.
    pub fn audit_space(&self) -> Result<SpaceFacts, Corrupt> {
        self.reclaim();
        self.note_free_bytes();
        let mut held: Vec<Extent> = Vec::new();
        let mut keep = |blob: &Arc<Blob>| {
            if let Place::Extents(extents) = &blob.place {
                held.extend(extents.iter());
            }
        };
        let index = self.index.borrow();
        index.blobs().for_each(&mut keep);
        let retired = self.retired.borrow();
        let displaced: Vec<&Arc<Blob>> = retired.iter().flat_map(|(_, blobs)| blobs).collect();
        displaced.into_iter().chain(self.unused.borrow().iter()).for_each(&mut keep);
        let space = self.space.borrow();
        let used_bytes = held.iter().map(|extent| extent.bytes).sum();
        held.extend(space.runs());
        held.sort();
        for pair in held.windows(2) {
            if let [a, b] = pair
                && a.drive == b.drive
                && b.at < a.at.plus(a.bytes)
            {
                return Err(Corrupt { what: "extent held twice", at: b.at, got: a.at.0, expected: b.at.0 });
            }
        }
        Ok(SpaceFacts { granted_bytes: self.granted_bytes.get(), free_bytes: space.free_bytes(), used_bytes })
    }

    fn note_free_bytes(&self) {
        self.ground.stats.free_extent_bytes.store(self.space.borrow().free_bytes(), Relaxed);
    }
}

/// A blob whose bytes ride in the log record.
pub(crate) fn inline_blob(bytes: Bytes) -> BlobRecord {
    let units = unit_checksums(&bytes).collect();
    BlobRecord { size: bytes.len() as u64, place: BlobPlace::Inline(bytes), units }
}

pub(crate) fn check_key(key: &[u8]) -> Result<(), EngineError> {
    let (max, got) = (KEY_BYTES_MAX as u64, key.len() as u64);
    if max < got { Err(EngineError::TooLarge { limit: "KEY_BYTES_MAX", max, got }) } else { Ok(()) }
}

pub(crate) fn check_attributes(attributes: &[u8]) -> Result<(), EngineError> {
    let (max, got) = (ATTRIBUTES_BYTES_MAX as u64, attributes.len() as u64);
    if max < got { Err(EngineError::TooLarge { limit: "ATTRIBUTES_BYTES_MAX", max, got }) } else { Ok(()) }
}

/// Whether a write may replace an object with this tag (`None`: no object).
fn check_condition(condition: &PutCondition, etag: Option<ETag>) -> Result<(), PutRefused> {
    match (condition, etag) {
        (PutCondition::None, _) | (PutCondition::IfAbsent, None) | (PutCondition::IfPresent, Some(_)) => {
            Ok(())
        }
        (PutCondition::IfAbsent, Some(_)) => Err(PutRefused::PreconditionFailed),
        (PutCondition::IfPresent | PutCondition::IfMatch(_), None) => Err(PutRefused::NoSuchKey),
        (PutCondition::IfMatch(tags), Some(etag)) => match tags.contains(&etag) {
            true => Ok(()),
            false => Err(PutRefused::PreconditionFailed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let (a, b) = (ETag { md5: [1; 16], parts: 0 }, ETag { md5: [2; 16], parts: 0 });
        let check = |condition: &PutCondition, etag, want| assert_eq!(check_condition(condition, etag), want);
        check(&PutCondition::None, None, Ok(()));
        check(&PutCondition::IfAbsent, None, Ok(()));
        check(&PutCondition::IfAbsent, Some(a), Err(PutRefused::PreconditionFailed));
        check(&PutCondition::IfPresent, Some(a), Ok(()));
        check(&PutCondition::IfPresent, None, Err(PutRefused::NoSuchKey));
        check(&PutCondition::IfMatch(vec![b, a]), Some(a), Ok(()));
        check(&PutCondition::IfMatch(vec![b]), Some(a), Err(PutRefused::PreconditionFailed));
        check(&PutCondition::IfMatch(vec![a]), None, Err(PutRefused::NoSuchKey));
    }
}
