//! One shard: its index, log and space, owned by one core. Commands from any core end up here as method calls.
//!
//! The shape of every change: check (refuses before anything is touched) → `settle` (sync: takes its place in the log
//! and changes the index at once) → `durable` (await) → answer. I1. No borrow of shard state lives across an await.
//! I2. What was settled is seen by later commands of this shard; nobody outside is told of it before it is durable.
//! I3. Space of what a change displaced is reused only after the change is durable and the last reader is gone.

pub(crate) mod mailbox;
pub(crate) mod multipart;
pub(crate) mod upkeep;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_channel::oneshot;

use crate::drive::Drive;
use crate::error::{Corrupt, EngineError};
use crate::format::anchor::Anchor;
use crate::format::cell::Place;
use crate::format::checksum::unit_checksums;
use crate::format::record::{BlobPlace, BlobRecord, Change, Extent, Record};
use crate::format::superblock::Superblock;
use crate::format::zone::ZoneKind;
use crate::handle::get::read_blobs;
use crate::limits::{ATTRIBUTES_BYTES_MAX, BLOB_BYTES_MAX, KEY_BYTES_MAX, VALUE_KEY_BYTES_MAX};
use crate::meta::index::{Blob, BucketIndex, Effects, Index, sequences_of};
use crate::meta::log::{Log, grant_zone};
use crate::meta::recover::extent_room;
use crate::meta::watermark::Notify;
use crate::mutant::{Mutant, is};
use crate::object::{ETag, ObjectInfo, PutCondition, PutRefused};
use crate::platform::{Platform, spawn};
use crate::space::extents::FreeSpace;
use crate::space::pins::Pins;
use crate::space::usage::{Usage, ZoneId};
use crate::space::writer::{WriterGround, ZoneWriter};
use crate::space::zones::{Purpose, ZoneTable};
use crate::stats::ShardStats;
use crate::units::{BucketId, DriveOffset, Sequence, ShardId};
use upkeep::{Idle, Upkeep};

/// Rounds of upkeep after which no more is free than before, until something is refused as too much for the drive.
const SPACE_WAITS_MAX: u32 = 4;

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
            self.shard.give_back(&self.extents);
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
    /// All drives of the store, in order.
    pub(crate) superblocks: Vec<Superblock>,
    pub(crate) drives: Vec<Rc<dyn Drive>>,
    pub(crate) zones: Vec<Arc<ZoneTable>>,
    /// The drive that has the shard's log, checkpoints and packs.
    pub(crate) home: usize,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) stats: Arc<ShardStats>,
    /// Tells all shards that zones came free or are needed.
    pub(crate) tell_all: Box<dyn Fn()>,
    /// Log bytes after which a checkpoint is taken, at most.
    pub(crate) checkpoint_log_bytes: u64,
}

impl ShardGround {
    pub(crate) fn home(&self) -> &Superblock {
        &self.superblocks[self.home]
    }

    pub(crate) fn home_drive(&self) -> &Rc<dyn Drive> {
        &self.drives[self.home]
    }

    pub(crate) fn home_zones(&self) -> &Arc<ZoneTable> {
        &self.zones[self.home]
    }
}

/// What recovery found of a shard's space.
pub(crate) struct ShardSpace {
    pub(crate) free: FreeSpace,
    pub(crate) usage: Usage,
    pub(crate) extent_zones: BTreeSet<ZoneId>,
    /// Pack zones with the log position at which they were taken.
    pub(crate) packs: BTreeMap<u32, u64>,
    pub(crate) page_zones: BTreeSet<u32>,
    pub(crate) page_bytes: HashMap<u32, u64>,
}

/// One shard, on the core that owns it. All methods without `async` are atomic: nothing else of the shard runs.
pub struct Shard {
    pub(crate) ground: ShardGround,
    pub(crate) log: Rc<Log>,
    pub(crate) index: RefCell<Index>,
    space: RefCell<FreeSpace>,
    usage: RefCell<Usage>,
    pins: RefCell<Pins>,
    /// Extents displaced by the record of that sequence, which may not be durable yet.
    retired: RefCell<VecDeque<(Sequence, Vec<Extent>)>>,
    /// Displaced for good, but perhaps still read.
    unused: RefCell<Vec<Vec<Extent>>>,
    open_buckets: RefCell<HashSet<BucketId>>,
    /// Buckets whose deletion failed in a way that only the next start can tell how.
    doubtful: RefCell<HashSet<BucketId>>,
    extent_zones: RefCell<BTreeSet<ZoneId>>,
    packs: RefCell<BTreeMap<u32, u64>>,
    page_zones: RefCell<BTreeSet<u32>>,
    /// Bytes of the newest checkpoint's pages, in zones by number.
    page_bytes: RefCell<HashMap<u32, u64>>,
    /// Zones with damaged objects: they are not cleaned.
    spoiled: RefCell<HashSet<ZoneId>>,
    /// The newest durable checkpoint.
    anchor: RefCell<Anchor>,
    /// Zones kept for the next one.
    promised: Cell<u32>,
    /// Zones given back less zones that upkeep took.
    gained: Cell<i64>,
    freed_count: Cell<u64>,
    /// When upkeep found nothing to do, what it had looked at.
    fruitless: Cell<Option<(u64, u64, u64, bool)>>,
    idle: Cell<Idle>,
    space_wanted: Cell<bool>,
    shortage_tried_us: Cell<u64>,
    closing: Cell<bool>,
    upkeep_running: Cell<bool>,
    upkeep_ended: Cell<bool>,
    upkeep_progress: Notify,
    /// Bytes of all extent zones.
    granted_bytes: Cell<u64>,
    /// Whether the whole log was replayed: otherwise what is not in the index may have been lost with the rest.
    is_whole: Cell<bool>,
    growing: Cell<bool>,
    grown: Notify,
    extension: RefCell<Option<Rc<dyn Any>>>,
}

impl Shard {
    pub(crate) fn new(
        ground: ShardGround,
        log: Rc<Log>,
        index: Index,
        anchor: Anchor,
        space: ShardSpace,
        is_whole: bool,
    ) -> Rc<Shard> {
        let held = index.buckets.values().map(BucketIndex::held);
        let (objects, bytes) = held.fold((0, 0), |(objects, bytes), held| (objects + held.0, bytes + held.1));
        ground.stats.objects.store(objects, Relaxed);
        ground.stats.object_bytes.store(bytes, Relaxed);
        ground.stats.free_extent_bytes.store(space.free.free_bytes(), Relaxed);
        let room = |(drive, zone): &ZoneId| extent_room(&ground.superblocks[usize::from(*drive)], *zone).1;
        let granted_bytes = space.extent_zones.iter().map(room).sum();
        let shard = Rc::new(Shard {
            ground,
            log,
            index: RefCell::new(index),
            space: RefCell::new(space.free),
            usage: RefCell::new(space.usage),
            pins: RefCell::default(),
            retired: RefCell::default(),
            unused: RefCell::default(),
            open_buckets: RefCell::default(),
            doubtful: RefCell::default(),
            extent_zones: RefCell::new(space.extent_zones),
            packs: RefCell::new(space.packs),
            page_zones: RefCell::new(space.page_zones),
            page_bytes: RefCell::new(space.page_bytes),
            spoiled: RefCell::default(),
            anchor: RefCell::new(anchor),
            promised: Cell::new(0),
            gained: Cell::new(0),
            freed_count: Cell::new(0),
            fruitless: Cell::new(None),
            idle: Cell::default(),
            space_wanted: Cell::new(false),
            shortage_tried_us: Cell::new(0),
            closing: Cell::new(false),
            upkeep_running: Cell::new(false),
            upkeep_ended: Cell::new(false),
            upkeep_progress: Notify::default(),
            granted_bytes: Cell::new(granted_bytes),
            is_whole: Cell::new(is_whole),
            growing: Cell::new(false),
            grown: Notify::default(),
            extension: RefCell::new(None),
        });
        shard.promise_pages();
        shard
    }

    /// Starts checkpoints and cleaning; once, when every shard of the store has recovered.
    pub(crate) fn start_upkeep(self: &Rc<Self>) {
        let ground = &self.ground;
        if self.log.watermark.has_failed() || self.upkeep_running.replace(true) {
            return;
        }
        let writer = |kind| {
            let ground = WriterGround {
                shard: ground.id,
                superblock: *ground.home(),
                drive: ground.home_drive().clone(),
                zones: ground.home_zones().clone(),
                platform: ground.platform.clone(),
            };
            ZoneWriter::new(ground, kind)
        };
        let pages = writer(ZoneKind::Checkpoint);
        let packs = writer(ZoneKind::Pack);
        spawn(&ground.platform, self.clone().upkeep(Upkeep { pages, packs }));
    }

    /// Takes a last checkpoint if one is worth it, writes what is pending, and takes nothing more.
    pub(crate) async fn stop(&self) {
        if self.upkeep_running.get() {
            self.close().await;
        }
        self.log.stop().await;
    }

    // ---- values and transactions: what the layer above keeps here ----

    /// [`EngineError::ReadOnly`] when the shard's log is damaged: then what is missing here may have been lost.
    pub fn check_whole(&self) -> Result<(), EngineError> {
        if self.is_whole.get() { Ok(()) } else { Err(EngineError::ReadOnly { shard: self.ground.id }) }
    }

    /// Takes no writes and tells no absences, because of a failure elsewhere.
    pub(crate) fn give_up(&self, failure: String) {
        self.is_whole.set(false);
        self.ground.stats.note_read_only(failure);
        self.log.fail();
    }

    /// The value of a key, durable or not: await [`Shard::durable`] before telling anybody.
    pub fn record(&self, bucket: BucketId, key: &[u8]) -> Option<Bytes> {
        self.index.borrow().buckets.get(&bucket)?.value(key)
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
        bucket.scan_values(prefix.max(from), |key, value| key.starts_with(prefix) && visit(key, value));
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
            changes.push(Change::PutObject { key, modified_ms, etag, attributes, versioned: false, blob });
        }
        for key in &transaction.deletes {
            check_key(key)?;
        }
        for (key, _) in &transaction.records {
            let (max, got) = (VALUE_KEY_BYTES_MAX as u64, key.len() as u64);
            if max < got {
                return Err(EngineError::TooLarge { limit: "VALUE_KEY_BYTES_MAX", max, got });
            }
        }
        changes.extend(transaction.deletes.into_iter().map(|key| Change::DeleteObject { key }));
        changes.extend(transaction.records.into_iter().map(|(key, value)| match value {
            Some(value) => Change::SetValue { key, value },
            None => Change::ClearValue { key },
        }));
        if is(Mutant::TransactionSplit) && changes.len() > 1 {
            let first = changes.drain(..1).collect();
            self.settle_record(&Record { bucket, changes: first }, only_frees)?;
            self.log.cut();
        }
        let sequence = self.settle_record(&Record { bucket, changes }, only_frees)?;
        reservations.into_iter().for_each(Reservation::publish);
        Ok(sequence)
    }

    /// [`Log::room`]; before a record is refused for a full drive, upkeep looks whether something came free since it last
    /// did.
    pub(crate) async fn log_room(&self, bytes: usize, frees: bool) -> Result<(), EngineError> {
        let mut waits = 0;
        loop {
            match self.log.room(bytes, frees).await {
                Err(EngineError::Full { .. }) if waits < SPACE_WAITS_MAX && self.want_space().await => {
                    waits += 1
                }
                found => return found,
            }
        }
    }

    /// Resolves once [`Shard::settle`] of up to `bytes` (keys, values, inline bodies and 200 bytes for each) finds
    /// room in the log; fails when it never will.
    pub async fn room(&self, bytes: usize) -> Result<(), EngineError> {
        self.log_room(bytes, false).await
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
                ground.drives[usize::from(extent.drive)].write(at, buffer, false).await.1?;
                written += take as u64;
                at = at.plus(bytes);
            }
        }
        let drives: BTreeSet<u16> = reservation.extents.iter().map(|extent| extent.drive).collect();
        for drive in drives {
            if is(Mutant::StagedUnflushed) {
                continue;
            }
            ground.drives[usize::from(drive)].flush().await?;
        }
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
        let Some((info, blobs)) = self.open(bucket, key, None).await? else { return Ok(None) };
        if bytes_max < info.size {
            return Err(EngineError::TooLarge {
                limit: "bytes to read at once",
                max: bytes_max,
                got: info.size,
            });
        }
        let ground = &self.ground;
        let bytes = read_blobs(&ground.drives, &ground.platform, &ground.stats, &blobs, info.size).await?;
        Ok(Some(bytes))
    }

    /// Keys of objects that start with `prefix`, at most `max`.
    pub fn object_keys(&self, bucket: BucketId, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let index = self.index.borrow();
        index.buckets.get(&bucket).map_or_else(Vec::new, |bucket| bucket.keys(prefix, max))
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
        let early = is(Mutant::ConditionEarly).then(|| self.check(bucket, &key, &condition));
        self.log_room(record.encoded_bytes_max(), false).await?;
        if let Err(refused) = early.unwrap_or_else(|| self.check(bucket, &key, &condition)) {
            return self.refuse(bucket, refused).await;
        }
        let sequence = self.settle_record(&record, false)?;
        if !is(Mutant::PutEarly) {
            self.durable(sequence).await?;
        }
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
        self.log_room(record.encoded_bytes_max(), true).await?;
        for key in &keys {
            if let Err(refused) = self.check(bucket, key, &condition) {
                return self.refuse(bucket, refused).await;
            }
        }
        let found = self.with_bucket(bucket, |bucket| {
            keys.iter().map(|key| bucket.has_null_version(key)).collect::<Vec<bool>>()
        });
        let found = found.unwrap_or_else(|| vec![false; keys.len()]);
        let sequence = match found.contains(&true) {
            true => self.settle_record(&record, true)?,
            // Nothing to do, but their absence may itself be news that is not durable yet.
            false => self.changed(bucket),
        };
        if !is(Mutant::DeleteEarly) {
            self.durable(sequence).await?;
        }
        self.reclaim();
        self.note_free_bytes();
        Ok(Ok(found))
    }

    /// Puts a delete marker on top of a key's versions, or (not `versioned`) in place of its null version.
    pub(crate) async fn put_marker(
        &self,
        bucket: BucketId,
        key: Bytes,
        versioned: bool,
    ) -> Result<Result<Sequence, PutRefused>, EngineError> {
        let marker = Change::PutMarker { key: key.clone(), modified_ms: self.now_ms(), versioned };
        let record = Record { bucket, changes: vec![marker] };
        self.log_room(record.encoded_bytes_max(), true).await?;
        if let Err(refused) = self.check(bucket, &key, &PutCondition::None) {
            return self.refuse(bucket, refused).await;
        }
        let sequence = self.settle_record(&record, true)?;
        self.durable(sequence).await?;
        Ok(Ok(sequence))
    }

    /// Removes one version of a key; answers whether it was there.
    pub(crate) async fn delete_version(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: Sequence,
    ) -> Result<bool, EngineError> {
        let record = Record { bucket, changes: vec![Change::DeleteVersion { key: key.clone(), version }] };
        self.log_room(record.encoded_bytes_max(), true).await?;
        let found = self.with_bucket(bucket, |held| held.has_version(&key, version)).unwrap_or(false);
        let sequence = match found && self.is_open(bucket) {
            true => self.settle_record(&record, true)?,
            false => self.changed(bucket),
        };
        self.durable(sequence).await?;
        self.reclaim();
        self.note_free_bytes();
        Ok(found)
    }

    /// The object of a key, or a version of it, once what is answered is durable.
    pub(crate) async fn open(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Option<Sequence>,
    ) -> Result<Option<(ObjectInfo, Arc<[Blob]>)>, EngineError> {
        self.check_certain(bucket)?;
        let found = self.with_bucket(bucket, |bucket| bucket.open(key, version)).flatten();
        let found = found.map(|(info, blobs)| (info, self.pins.borrow_mut().open(blobs)));
        let sequence = match &found {
            Some(_) if is(Mutant::ReadEarly) => Sequence(0),
            Some((info, _)) => info.sequence,
            None if !self.is_whole.get() => return Err(EngineError::ReadOnly { shard: self.ground.id }),
            None if is(Mutant::AbsenceEarly) => Sequence(0),
            None => self.changed(bucket),
        };
        self.durable(sequence).await?;
        Ok(found)
    }

    /// Has the space of bytes that the index refers to now used by nobody else until what this answers is dropped.
    pub(crate) fn hold(&self, blob: Blob) -> Arc<[Blob]> {
        self.pins.borrow_mut().open(vec![blob])
    }

    /// What is known of the object of a key, once it is durable.
    pub(crate) async fn head(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ObjectInfo>, EngineError> {
        self.check_certain(bucket)?;
        let found = self.with_bucket(bucket, |bucket| bucket.object(key)).flatten();
        let sequence = match &found {
            Some(info) => info.sequence,
            None if !self.is_whole.get() => return Err(EngineError::ReadOnly { shard: self.ground.id }),
            None if is(Mutant::AbsenceEarly) => Sequence(0),
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
        self.check_whole()?;
        self.check_certain(bucket)?;
        let found = self.with_bucket(bucket, look);
        if !is(Mutant::ListEarly) {
            self.durable(self.changed(bucket)).await?;
        }
        Ok(found)
    }

    pub(crate) fn with_bucket<T>(&self, bucket: BucketId, look: impl FnOnce(&BucketIndex) -> T) -> Option<T> {
        self.index.borrow().buckets.get(&bucket).map(look)
    }

    fn changed(&self, bucket: BucketId) -> Sequence {
        self.with_bucket(bucket, |bucket| bucket.changed).unwrap_or_default()
    }

    /// Says nothing more of a bucket and takes nothing for it: whether it is still there is known only after the next
    /// start.
    pub(crate) fn doubt(&self, bucket: BucketId) {
        self.open_buckets.borrow_mut().remove(&bucket);
        self.doubtful.borrow_mut().insert(bucket);
    }

    fn check_certain(&self, bucket: BucketId) -> Result<(), EngineError> {
        match self.doubtful.borrow().contains(&bucket) {
            true => Err(EngineError::ReadOnly { shard: self.ground.id }),
            false => Ok(()),
        }
    }

    /// Answers a refusal once what it tells of the bucket is durable.
    pub(crate) async fn refuse<T>(
        &self,
        bucket: BucketId,
        refused: PutRefused,
    ) -> Result<Result<T, PutRefused>, EngineError> {
        self.check_certain(bucket)?;
        if !is(Mutant::RefusalEarly) {
            self.durable(self.changed(bucket)).await?;
        }
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
        let etag = self.with_bucket(bucket, |bucket| bucket.etag(key)).flatten();
        condition.check(etag)
    }

    /// Answers the sequence of the record's last change: what is durable when the record is.
    pub(crate) fn settle_record(&self, record: &Record, frees: bool) -> Result<Sequence, EngineError> {
        let (first, places) = self.log.append(record, frees)?;
        let last = Sequence(first.0 + sequences_of(record) - 1);
        let mut index = self.index.borrow_mut();
        let held = |index: &Index| index.buckets.get(&record.bucket).map_or((0, 0), BucketIndex::held);
        let before = held(&index);
        let mut effects = Settled {
            usage: &mut self.usage.borrow_mut(),
            retired: &mut self.retired.borrow_mut(),
            by: last,
        };
        index.apply(first, record, self.log.drive_index(), &places, &mut effects);
        let after = held(&index);
        let stats = &self.ground.stats;
        stats.objects.store((stats.objects.load(Relaxed) + after.0).saturating_sub(before.0), Relaxed);
        stats
            .object_bytes
            .store((stats.object_bytes.load(Relaxed) + after.1).saturating_sub(before.1), Relaxed);
        Ok(last)
    }

    // ---- buckets of this shard ----

    /// Has a bucket take writes, unless it may have been deleted: the next start would forget them with it.
    pub(crate) fn open_bucket(&self, bucket: BucketId) {
        if !self.doubtful.borrow().contains(&bucket) || is(Mutant::DoubtReopened) {
            self.open_buckets.borrow_mut().insert(bucket);
        }
    }

    /// Closes a bucket to writes if nothing is in it; answers whether it did.
    pub(crate) fn close_bucket_if_empty(&self, bucket: BucketId) -> bool {
        let empty = self.with_bucket(bucket, BucketIndex::is_empty).unwrap_or(true);
        if empty && !is(Mutant::BucketLeftOpen) {
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
        // The most that was there when this waited, and how often it has waited since.
        let (mut best, mut waits) = (None, 0);
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
            let drives = self.ground.superblocks.iter().zip(&self.ground.zones);
            let spare = |(superblock, zones): (&Superblock, &Arc<ZoneTable>)| {
                u64::from(zones.spare()) * extent_room(superblock, 0).1
            };
            let available = self.space.borrow().free_bytes() + drives.map(spare).sum::<u64>();
            // Zones that upkeep keeps count as well: what is made free fills them up first.
            let free: u64 = self.ground.zones.iter().map(|zones| u64::from(zones.free())).sum();
            let held = Some((free, self.space.borrow().free_bytes()));
            if best < held {
                (best, waits) = (held, 0);
            }
            // No more comes of it: pieces that are too small, or zones given back and taken by others.
            let is_hopeless = SPACE_WAITS_MAX <= waits;
            let full = EngineError::Full { wanted_bytes: size };
            if available < size {
                if is_hopeless || !self.want_space().await {
                    return Err(full);
                }
                waits += 1;
                continue;
            }
            self.growing.set(true);
            // A task of its own: a zone that is granted must arrive here even when the asker goes away.
            let (reply, answer) = oneshot::channel();
            let shard = self.clone();
            spawn(&self.ground.platform, async move {
                drop(reply.send(shard.grow().await));
            });
            match answer.await.map_err(|_| EngineError::Stopping)? {
                Ok(()) => {}
                Err(EngineError::Full { .. }) if !is_hopeless && self.want_space().await => waits += 1,
                Err(EngineError::Full { .. }) => return Err(full),
                Err(other) => return Err(other),
            }
        }
    }

    /// Takes one more zone for extents.
    async fn grow(&self) -> Result<(), EngineError> {
        let ground = &self.ground;
        // The drive with the most room, the shard's own one before equals.
        let drives = 0..ground.drives.len();
        let room = |nth: &usize| u64::from(ground.zones[*nth].spare()) * ground.superblocks[*nth].zone_bytes;
        let nth = drives.max_by_key(|nth| (room(nth), *nth == ground.home)).unwrap_or(ground.home);
        let (drive, superblock) = (&ground.drives[nth], &ground.superblocks[nth]);
        let (zones, kind) = (&ground.zones[nth], ZoneKind::Extent);
        let granted = grant_zone(&**drive, superblock, zones, ground.id, 0, kind, Purpose::Data).await;
        self.growing.set(false);
        if let Ok(granted) = &granted {
            let (at, bytes) = extent_room(superblock, granted.zone);
            self.space.borrow_mut().give(superblock.drive_index, at, bytes);
            self.extent_zones.borrow_mut().insert((superblock.drive_index, granted.zone));
            self.granted_bytes.set(self.granted_bytes.get() + bytes);
        }
        self.grown.notify();
        granted.map(|_| ())
    }

    /// Gives back extents that were reserved and never published. No write to them may be under way.
    pub(crate) fn give_back(&self, extents: &[Extent]) {
        if is(Mutant::DroppedKept) {
            return;
        }
        self.freed_count.set(self.freed_count.get() + 1);
        let mut space = self.space.borrow_mut();
        for extent in extents {
            space.give(extent.drive, extent.at, extent.bytes);
            if is(Mutant::GivenBackTwice) {
                space.give(extent.drive, extent.at, extent.bytes);
            }
        }
        drop(space);
        self.note_free_bytes();
    }

    /// Makes displaced extents free once their displacement is durable and nobody reads them.
    fn reclaim(&self) {
        let durable = self.log.watermark.value();
        let mut unused = self.unused.borrow_mut();
        let mut retired = self.retired.borrow_mut();
        while retired
            .front()
            .is_some_and(|(sequence, _)| *sequence <= durable || is(Mutant::FreeBeforeDurable))
        {
            unused.extend(retired.pop_front().map(|(_, extents)| extents));
        }
        if unused.is_empty() {
            return;
        }
        let (mut space, mut pins) = (self.space.borrow_mut(), self.pins.borrow_mut());
        unused.retain(|extents| {
            let is_read = extents.first().is_some_and(|first| pins.has_readers(first.drive, first.at));
            if !is_read || is(Mutant::PinsIgnored) {
                extents.iter().for_each(|extent| space.give(extent.drive, extent.at, extent.bytes));
                self.freed_count.set(self.freed_count.get() + 1);
            }
            is_read
        });
        // Upkeep may have looked before this and found nothing.
        self.log.upkeep.notify();
    }

    /// Takes stock of all space: looks at every object, for tests and tools. Damage names an extent that is in use and
    /// free at once, or in use twice, or a zone whose bytes in use were counted wrong.
    pub fn audit_space(&self) -> Result<SpaceFacts, Corrupt> {
        self.reclaim();
        self.note_free_bytes();
        let mut held: Vec<Extent> = Vec::new();
        let mut counted = Usage::of(&self.ground.superblocks);
        let read = self.index.borrow().places(|place, size| {
            match place {
                Place::Log { drive, at } => counted.placed(*drive, *at, size),
                Place::Extents(extents) => held.extend(extents.iter()),
                Place::Nowhere | Place::Parts { .. } => {}
            }
            true
        });
        read.map_err(|e| Corrupt { what: e.what, at: DriveOffset(0), got: e.at as u64, expected: 0 })?;
        if let Some((zone, got, expected)) = self.usage.borrow().differs(&counted) {
            let at = self.ground.superblocks[usize::from(zone.0)].zone_at(zone.1);
            return Err(Corrupt { what: "bytes in use of a zone", at, got, expected });
        }
        held.extend(self.retired.borrow().iter().flat_map(|(_, extents)| extents));
        held.extend(self.unused.borrow().iter().flatten());
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

/// What a record that settles does to the shard's space.
struct Settled<'a> {
    usage: &'a mut Usage,
    retired: &'a mut VecDeque<(Sequence, Vec<Extent>)>,
    by: Sequence,
}

impl Effects for Settled<'_> {
    fn placed(&mut self, drive: u16, at: DriveOffset, bytes: u64) {
        self.usage.placed(drive, at, bytes);
    }

    fn displaced(&mut self, drive: u16, at: DriveOffset, bytes: u64) {
        self.usage.displaced(drive, at, bytes, self.by);
    }

    fn moved(&mut self, from: (u16, DriveOffset), to: (u16, DriveOffset), bytes: u64) {
        self.usage.moved(from, to, bytes, self.by);
    }

    fn freed(&mut self, extents: Vec<Extent>) {
        self.retired.push_back((self.by, extents));
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
