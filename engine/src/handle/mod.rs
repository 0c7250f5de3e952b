//! A core's handle to the whole store: what the protocols above call.
//!
//! Every call finds the shard that owns the bucket, does its work there (a message when another core owns it), and
//! moves large bytes on the calling core's own drives. I1. A change that reached its shard runs to its end there, even
//! when the caller is dropped. I2. The directory snapshot of a core never lags behind an answer: buckets are made
//! known to all cores before their creation is acknowledged.

pub(crate) mod get;
pub(crate) mod put;
pub(crate) mod directory;
pub(crate) mod scrub;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;

pub use directory::{Bucket, BucketError, Directory};
pub use get::{ObjectReader, ObjectStream};
pub use put::PutWriter;
pub use scrub::{DamagedUnit, ScrubConfig, ShardScrub};

use directory::DIRECTORY_SHARD;

use crate::blob::Blobs;
use crate::bucket_meta::SettingKind;
use crate::bucket_meta::values::ValueOwner;
use crate::cache::{Cache, CacheStats};
use crate::drive::Drive;
use crate::error::EngineError;
use crate::format::superblock::Superblock;
use crate::limits::{CHECKPOINT_LOG_BYTES_MAX, LIST_KEYS_MAX, MAILBOX_MESSAGES_MAX, MAILBOX_WAIT_MS_MAX};
use crate::mailbox::{Job, Mesh};
use crate::notify::Notify;
use crate::object::{
    Completion, Found, ListPage, ListQuery, NewVersion, ObjectInfo, PartInfo, Place, PutCondition,
    PutRefused, Removal, Removed, Rename, Renamed, Revision, UploadId, UploadInfo, VersionId, VersionPage,
    VersionQuery, WriteError, check_attributes, check_key, check_receipt,
};
use crate::platform::{Platform, spawn};
use crate::shard::local_bucket::LocalBucket;
use crate::shard::{Shard, SpaceFacts};
use crate::space::zones::ZoneTable;
use crate::stats::ShardStats;
use crate::units::{BucketId, CoreId, Sequence, ShardId};

/// What a process chooses for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes of the read cache of each core; 0 for none.
    pub cache_bytes: u64,
    /// Log bytes of a shard after which a checkpoint is taken, at most.
    pub checkpoint_log_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { cache_bytes: 0, checkpoint_log_bytes: CHECKPOINT_LOG_BYTES_MAX }
    }
}

/// What all cores of a process share.
pub(crate) struct StoreShared {
    pub(crate) mesh: Mesh<Core>,
    pub(crate) superblocks: Vec<Superblock>,
    pub(crate) zones: Vec<Arc<ZoneTable>>,
    pub(crate) stats: Vec<Arc<ShardStats>>,
    pub(crate) tuning: Tuning,
    pub(crate) ready: AtomicBool,
}

impl StoreShared {
    pub(crate) fn store_id(&self) -> u128 {
        self.superblocks.first().map_or(0, |superblock| superblock.store)
    }
}

/// One core: its drives, its shards, its snapshot of the directory.
pub(crate) struct Core {
    id: CoreId,
    pub(crate) shared: Arc<StoreShared>,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) drives: Vec<Rc<dyn Drive>>,
    pub(crate) blobs: Rc<Blobs>,
    pub(crate) cache: RefCell<Cache>,
    pub(crate) shards: RefCell<BTreeMap<ShardId, Rc<Shard>>>,
    pub(crate) directory: RefCell<Arc<Directory>>,
    /// Only on the core of shard 0: cores that have recovered, and buckets in the middle of a change.
    pub(crate) recovered: Cell<u16>,
    pub(crate) changing: RefCell<std::collections::BTreeSet<Arc<str>>>,
    pub(crate) changed: Notify,
    pub(crate) scrub: scrub::CoreScrub,
}

impl Core {
    pub(crate) fn new(
        id: CoreId,
        shared: Arc<StoreShared>,
        platform: Rc<dyn Platform>,
        drives: Vec<Rc<dyn Drive>>,
    ) -> Rc<Core> {
        let cache = RefCell::new(Cache::new(shared.tuning.cache_bytes));
        let blobs = Blobs::new(drives.clone(), platform.clone());
        Rc::new(Core {
            id,
            shared,
            platform,
            drives,
            blobs,
            cache,
            shards: RefCell::default(),
            directory: RefCell::default(),
            recovered: Cell::new(0),
            changing: RefCell::default(),
            changed: Notify::default(),
            scrub: scrub::CoreScrub::default(),
        })
    }

    pub(crate) fn id(&self) -> CoreId {
        self.id
    }

    pub(crate) fn shard(&self, id: ShardId) -> Option<Rc<Shard>> {
        self.shards.borrow().get(&id).cloned()
    }

    /// Has this core's shards look at free zones again.
    pub(crate) fn space_changed(&self) {
        self.shards.borrow().values().for_each(|shard| shard.space_changed());
    }

    /// Has the shards of all cores look at free zones again.
    pub(crate) fn broadcast_space_changed(&self) {
        for core in (0..self.shared.mesh.cores()).map(CoreId) {
            if core == self.id {
                self.space_changed();
            } else {
                // A full mailbox has jobs that will look at space themselves.
                drop(self.shared.mesh.send(core, Box::new(|core| core.space_changed())));
            }
        }
    }

    fn core_of(&self, shard: ShardId) -> CoreId {
        CoreId(shard.0 % self.shared.mesh.cores())
    }

    /// Hands `job` to a core, waiting a bounded time for room in its mailbox.
    pub(crate) async fn send(&self, to: CoreId, mut job: Job<Core>) -> Result<(), EngineError> {
        for _ in 0..=MAILBOX_WAIT_MS_MAX {
            match self.shared.mesh.send(to, job) {
                Ok(()) => return Ok(()),
                Err(refused) => job = refused,
            }
            self.platform.sleep(Duration::from_millis(1)).await;
        }
        Err(EngineError::Busy { limit: "MAILBOX_MESSAGES_MAX", max: MAILBOX_MESSAGES_MAX as u64 })
    }
}

/// A core's handle to the whole store. Cheap to clone, stays on its core.
#[derive(Clone)]
pub struct Engine {
    pub(crate) core: Rc<Core>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.core.id).finish()
    }
}

impl Engine {
    /// Whether every shard has recovered and the directory is known everywhere.
    pub fn is_ready(&self) -> bool {
        self.core.shared.ready.load(Ordering::Acquire)
    }

    /// The store's id: random at format, and never another.
    pub fn store_id(&self) -> u128 {
        self.core.shared.store_id()
    }

    /// Counters of every shard, by number.
    pub fn stats(&self) -> &[Arc<ShardStats>] {
        &self.core.shared.stats
    }

    /// Jobs that wait in the mailbox of every core, by number; at most `MAILBOX_MESSAGES_MAX`.
    pub fn mailbox_messages(&self) -> impl Iterator<Item = usize> {
        (0..self.core.shared.mesh.cores()).map(|core| self.core.shared.mesh.waiting(CoreId(core)))
    }

    /// What this core's read cache did and holds.
    pub fn cache_stats(&self) -> CacheStats {
        self.core.cache.borrow().stats()
    }

    /// Bytes of all drives that are used by zones, and how many of them no zone was granted from.
    pub fn capacity_bytes(&self) -> (u64, u64) {
        let shared = &self.core.shared;
        let zones = shared.superblocks.iter().zip(&shared.zones);
        zones.fold((0, 0), |(all, free), (superblock, table)| {
            let zone = superblock.zone_bytes;
            (all + zone * u64::from(table.zone_count()), free + zone * u64::from(table.free()))
        })
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> u64 {
        self.core.platform.now_ms()
    }

    /// Unpredictable bits.
    pub fn random_u128(&self) -> u128 {
        self.core.platform.random_u128()
    }

    /// Runs `task` on this core to its end, whatever becomes of the caller.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn(&self.core.platform, task);
    }

    /// Resolves after about `time`; after none at all, others of this core have had their turn.
    pub async fn sleep(&self, time: Duration) {
        self.core.platform.sleep(time).await;
    }

    /// Runs `job` where it holds up no core, to its end even when the caller is dropped. `None` when it panicked;
    /// [`EngineError::Busy`] when too many wait, and it was not run.
    pub async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, EngineError> {
        let (sender, receiver) = oneshot::channel();
        // Nobody may be listening any more.
        let run = Box::new(move || drop(sender.send(job())));
        self.core.platform.blocking(run).await?;
        Ok(receiver.await.ok())
    }

    /// Whether the bucket belongs to this core.
    pub fn owns(&self, bucket: &Bucket) -> bool {
        self.core.core_of(bucket.shard) == self.core.id
    }

    /// Runs `job` with the bucket on the core that owns it, to its end even when the caller goes away. The job sees the
    /// values of `owner` only.
    pub async fn on_bucket<T, F, Fut>(
        &self,
        bucket: &Bucket,
        owner: ValueOwner,
        job: F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(LocalBucket) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let id = bucket.id;
        self.on_shard(bucket.shard, move |shard| job(LocalBucket::new(shard, id, owner))).await
    }

    /// As [`Engine::on_bucket`]. The job is given the handle of its core as well, for work that goes on behind it.
    pub async fn on_bucket_core<T, F, Fut>(
        &self,
        bucket: &Bucket,
        owner: ValueOwner,
        job: F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(Engine, LocalBucket) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.on_owner(bucket.shard, bucket.id, owner, job).await
    }

    async fn on_owner<T, F, Fut>(
        &self,
        shard: ShardId,
        id: BucketId,
        owner: ValueOwner,
        job: F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(Engine, LocalBucket) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.on_core(self.core.core_of(shard), move |core| {
            let (engine, found) = (Engine { core: core.clone() }, core.shard(shard));
            async move {
                match found {
                    Some(shard) => Some(job(engine, LocalBucket::new(shard, id, owner)).await),
                    None => None,
                }
            }
        })
        .await?
        .ok_or(EngineError::ReadOnly { shard })
    }

    /// Runs `job` with what the store itself keeps, which is in no bucket: values only, on the core of the directory, to its
    /// end even when the caller goes away. The job sees the values of `owner` only. Nothing else reaches them.
    ///
    /// The job is given the handle of that core as well. With a damaged directory [`LocalBucket::check_whole`] fails, and
    /// what is found may be less than there was, or older.
    pub async fn on_system<T, F, Fut>(&self, owner: ValueOwner, job: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(Engine, LocalBucket) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.on_owner(DIRECTORY_SHARD, BucketId::SYSTEM, owner, job).await
    }

    /// Takes stock of all space of a shard: looks at every object, for tests and tools. [`EngineError::Corrupt`] names
    /// an extent that is in use and free at once, or in use twice, or a zone whose bytes in use were counted wrong.
    pub async fn audit_space(&self, shard: ShardId) -> Result<SpaceFacts, EngineError> {
        let audit = self.on_shard(shard, |shard| async move { shard.audit_space() });
        Ok(audit.await??)
    }

    /// Runs `job` on the core that owns `shard`, to its end even when the caller goes away.
    pub(crate) async fn on_shard<T, F, Fut>(&self, shard: ShardId, job: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.on_core(self.core.core_of(shard), move |core| {
            let found = core.shard(shard);
            async move {
                match found {
                    Some(shard) => Some(job(shard).await),
                    None => None,
                }
            }
        })
        .await?
        .ok_or(EngineError::ReadOnly { shard })
    }

    /// Runs `job` on a core, to its end even when the caller goes away.
    pub(crate) async fn on_core<T, F, Fut>(&self, to: CoreId, job: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&Rc<Core>) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |core: &Rc<Core>| {
            let work = job(core);
            spawn(&core.platform, async move {
                // The asker may be gone; the work is done all the same.
                drop(reply.send(work.await));
            });
        };
        if to == self.core.id {
            run(&self.core);
        } else {
            self.core.send(to, Box::new(run)).await?;
        }
        answer.await.map_err(|_| EngineError::Stopping)
    }

    /// What is known of an object; `Ok(None)` when the key has none.
    pub async fn head(&self, bucket: &Bucket, key: Bytes) -> Result<Option<ObjectInfo>, EngineError> {
        Ok(self.head_version(bucket, key, None).await?.object())
    }

    /// What is known of the version of that name, or (`None`) of the current one.
    pub async fn head_version(
        &self,
        bucket: &Bucket,
        key: Bytes,
        version: Option<VersionId>,
    ) -> Result<Found<ObjectInfo>, EngineError> {
        check_key(&key)?;
        let id = bucket.id;
        if let Some(shard) = self.core.shard(bucket.shard) {
            return shard.head(id, &key, version).await;
        }
        self.on_shard(bucket.shard, move |shard| async move { shard.head(id, &key, version).await }).await?
    }

    /// Opens an object for reading; `Ok(None)` when the key has none.
    pub async fn open(&self, bucket: &Bucket, key: Bytes) -> Result<Option<ObjectReader>, EngineError> {
        Ok(self.open_version(bucket, key, None).await?.object())
    }

    /// Opens the version of that name, or (`None`) the current one.
    pub async fn open_version(
        &self,
        bucket: &Bucket,
        key: Bytes,
        version: Option<VersionId>,
    ) -> Result<Found<ObjectReader>, EngineError> {
        let found = self.find(bucket, key, version).await?;
        Ok(found.map(|(info, blobs)| ObjectReader::new(info, blobs, &self.core, bucket.shard)))
    }

    async fn find(
        &self,
        bucket: &Bucket,
        key: Bytes,
        version: Option<VersionId>,
    ) -> Result<Found<get::Opened>, EngineError> {
        check_key(&key)?;
        let id = bucket.id;
        // On its own core a lookup is a plain call: no task, no message.
        if let Some(shard) = self.core.shard(bucket.shard) {
            return shard.open(id, &key, version).await;
        }
        self.on_shard(bucket.shard, move |shard| async move { shard.open(id, &key, version).await }).await?
    }

    /// Replaces attributes and lock of a version (`None`: the current one) without touching its bytes, durable on return:
    /// tag, size, time and name stay. `change` makes them of what the version is in the turn in which the change takes its
    /// place, on the core that owns the bucket; it must not wait, and is asked again when the bucket's deletion came
    /// between and failed. What it refuses with is answered when what it saw is durable. Attributes over
    /// `ATTRIBUTES_BYTES_MAX` are a bug of the caller (asserted).
    ///
    /// [`PutRefused::NoSuchVersion`] when there is none or it is a delete marker; [`PutRefused::Locked`] when the lock may
    /// not become the new one.
    pub async fn revise<E: Send + 'static>(
        &self,
        bucket: &Bucket,
        key: Bytes,
        version: Option<VersionId>,
        change: impl FnMut(&ObjectInfo) -> Result<Revision, E> + Send + 'static,
    ) -> Result<Result<ObjectInfo, E>, WriteError> {
        check_key(&key)?;
        let id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.revise(id, key, version, change).await };
        self.on_shard(bucket.shard, job).await?
    }

    /// Renames an object of a bucket that never kept versions, durable on return, in one record and without touching its bytes:
    /// tag, size, time and attributes stay. `check` looks at the object and at what the new key has in the turn in which the
    /// change takes its place, as that of [`Engine::revise`] does. A key that is renamed to itself stays as it is.
    ///
    /// [`PutRefused::NoSuchKey`] when there is no object, [`PutRefused::KeepsVersions`].
    pub async fn rename<E: Send + 'static>(
        &self,
        bucket: &Bucket,
        rename: Rename,
        check: impl FnMut(&ObjectInfo, Option<&ObjectInfo>) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<Renamed, E>, WriteError> {
        check_key(&rename.key)?;
        check_key(&rename.to)?;
        if let Some(token) = &rename.token {
            check_receipt(&token.receipt)?;
        }
        let id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.rename(id, rename, check).await };
        self.on_shard(bucket.shard, job).await?
    }

    /// Looks whether a body of `size` bytes has room in the bucket's quota now, before it comes: [`EngineError::QuotaExceeded`].
    /// Nothing is kept for it; the quota is held against it again when it is stored. A bucket without a quota asks nobody.
    pub async fn check_quota(&self, bucket: &Bucket, place: Place, size: u64) -> Result<(), EngineError> {
        if bucket.settings.get(SettingKind::QUOTA).is_none() {
            return Ok(());
        }
        let id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.would_exceed_quota(id, &place, size) };
        match self.on_shard(bucket.shard, job).await? {
            true => Err(EngineError::QuotaExceeded),
            false => Ok(()),
        }
    }

    /// Begins an object or part of exactly `size` bytes, at most `BLOB_BYTES_MAX`; space for it is taken at once.
    pub async fn writer(&self, bucket: &Arc<Bucket>, size: u64) -> Result<PutWriter, EngineError> {
        PutWriter::begin(self.clone(), bucket.clone(), size).await
    }

    /// One page of keys.
    pub async fn list(&self, bucket: &Bucket, query: ListQuery) -> Result<ListPage, EngineError> {
        let (max, got) = (LIST_KEYS_MAX as u64, query.max as u64);
        if max < got {
            return Err(EngineError::TooLarge { limit: "LIST_KEYS_MAX", max, got });
        }
        let id = bucket.id;
        let page = self.on_shard(bucket.shard, move |shard| async move {
            shard.durable_read(id, |bucket| bucket.list(&query)).await
        });
        Ok(page.await??.unwrap_or_default())
    }

    /// Deletes keys (at most 1,000), durable on return; one answer per key: whether it was there. In a bucket with versions
    /// each gets a delete marker, and the answer is `false`. [`EngineError::Locked`] when a lock protects one of them; the
    /// others are gone.
    pub async fn delete(&self, bucket: &Bucket, keys: Vec<Bytes>) -> Result<Vec<bool>, EngineError> {
        let count = keys.len();
        let removal = |key| Removal { key, version: None, condition: PutCondition::None, bypass: false };
        let deleted = self.remove(bucket, keys.into_iter().map(removal).collect()).await;
        // The only refusal of all is that the bucket is gone, and then so are its keys.
        let deleted = match deleted {
            Ok(deleted) => deleted,
            Err(error) => return error.refused_as(vec![false; count]),
        };
        let found = |removed: Result<Removed, PutRefused>| removed.map(|removed| removed.found);
        deleted.into_iter().map(found).collect::<Result<_, _>>().map_err(|_| EngineError::Locked)
    }

    /// Deletes one key if `condition` holds, durable on return; returns whether it was there. In a bucket with versions it
    /// gets a delete marker, and the answer is `false`.
    pub async fn delete_if(
        &self,
        bucket: &Bucket,
        key: Bytes,
        condition: PutCondition,
    ) -> Result<bool, WriteError> {
        let removal = Removal { key, version: None, condition, bypass: false };
        let removed = self.remove(bucket, vec![removal]).await?.pop();
        Ok(removed.transpose()?.is_some_and(|removed| removed.found))
    }

    /// Carries out removals of keys and versions (at most 1,000) in one record, durable on return; an answer for each: a
    /// condition that does not hold, or a lock, refuses its own one.
    pub async fn remove(
        &self,
        bucket: &Bucket,
        removals: Vec<Removal>,
    ) -> Result<Vec<Result<Removed, PutRefused>>, WriteError> {
        for removal in &removals {
            check_key(&removal.key)?;
        }
        let id = bucket.id;
        self.on_shard(bucket.shard, move |shard| async move { shard.remove(id, removals).await }).await?
    }

    /// Puts a delete marker on top of a key's versions, durable on return. Returns the marker's version.
    pub async fn mark_deleted(
        &self,
        bucket: &Bucket,
        key: Bytes,
        version: NewVersion,
    ) -> Result<Sequence, WriteError> {
        check_key(&key)?;
        let id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.put_marker(id, key, version).await };
        self.on_shard(bucket.shard, job).await?
    }

    /// Removes one version of a key, marker or not, durable on return; returns whether it was there.
    pub async fn delete_version(
        &self,
        bucket: &Bucket,
        key: Bytes,
        version: Sequence,
    ) -> Result<bool, WriteError> {
        let version = Some(VersionId::Of(version));
        let removal = Removal { key, version, condition: PutCondition::None, bypass: false };
        match self.remove(bucket, vec![removal]).await {
            // Nothing is in a bucket that is gone.
            Err(WriteError::Refused(PutRefused::NoSuchBucket)) => Ok(false),
            removed => Ok(removed?.pop().transpose()?.is_some_and(|removed| removed.found)),
        }
    }

    /// One page of versions and delete markers.
    pub async fn list_versions(
        &self,
        bucket: &Bucket,
        query: VersionQuery,
    ) -> Result<VersionPage, EngineError> {
        let (max, got) = (LIST_KEYS_MAX as u64, query.max as u64);
        if max < got {
            return Err(EngineError::TooLarge { limit: "LIST_KEYS_MAX", max, got });
        }
        let id = bucket.id;
        let page = self.on_shard(bucket.shard, move |shard| async move {
            shard.durable_read(id, |bucket| bucket.list_versions(&query)).await
        });
        Ok(page.await??.unwrap_or_default())
    }

    /// Opens a multipart upload, durable on return.
    /// [`PutRefused::NoSuchBucket`](crate::PutRefused::NoSuchBucket) when the bucket was deleted meanwhile.
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: Bytes,
        attributes: Bytes,
    ) -> Result<UploadId, WriteError> {
        check_key(&key)?;
        check_attributes(&attributes)?;
        let id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.create_upload(id, key, attributes).await };
        self.on_shard(bucket.shard, job).await?
    }

    /// What is known of an open upload.
    pub async fn upload(&self, bucket: &Bucket, id: UploadId) -> Result<Option<UploadInfo>, EngineError> {
        let bucket_id = bucket.id;
        self.on_shard(bucket.shard, move |shard| async move { shard.upload(bucket_id, id).await }).await?
    }

    /// Open uploads whose key starts with `prefix` and whose (key, id) is greater than `after`, in that order.
    pub async fn uploads(
        &self,
        bucket: &Bucket,
        prefix: Bytes,
        after: Option<(Bytes, UploadId)>,
        max: usize,
    ) -> Result<Vec<UploadInfo>, EngineError> {
        let id = bucket.id;
        let found = self.on_shard(bucket.shard, move |shard| async move {
            shard.durable_read(id, |bucket| bucket.list_uploads(&prefix, after.as_ref(), max)).await
        });
        Ok(found.await??.unwrap_or_default())
    }

    /// Parts with a number greater than `after`, in order; `Ok(None)` when there is no such upload.
    pub async fn parts(
        &self,
        bucket: &Bucket,
        id: UploadId,
        after: u16,
        max: usize,
    ) -> Result<Option<Vec<PartInfo>>, EngineError> {
        let bucket_id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.parts(bucket_id, id, after, max).await };
        self.on_shard(bucket.shard, job).await?
    }

    /// Puts the object together from the named parts, durable on return. Parts that are not named are released.
    ///
    /// [`PutRefused::NoSuchUpload`](crate::PutRefused::NoSuchUpload) also when a named part was replaced meanwhile, and of
    /// an upload that was completed before: see [`Engine::completion`].
    pub async fn complete_upload(
        &self,
        bucket: &Bucket,
        id: UploadId,
        completion: Completion,
    ) -> Result<ObjectInfo, WriteError> {
        check_attributes(&completion.attributes)?;
        check_receipt(&completion.receipt)?;
        let bucket_id = bucket.id;
        let job = move |shard: Rc<Shard>| async move {
            shard.complete_upload(bucket_id, id, completion, NewVersion::AsSet).await
        };
        self.on_shard(bucket.shard, job).await?
    }

    /// The receipt with which an upload was completed less than `COMPLETION_LIFE_MS` ago, if it is one of the last
    /// `COMPLETIONS_MAX` of its bucket; whatever became of the object since.
    pub async fn completion(&self, bucket: &Bucket, id: UploadId) -> Result<Option<Bytes>, EngineError> {
        let bucket_id = bucket.id;
        let job = move |shard: Rc<Shard>| async move { shard.completion(bucket_id, id).await };
        self.on_shard(bucket.shard, job).await?
    }

    /// Ends an upload and gives its parts back, durable on return; `false` when there is none.
    pub async fn abort_upload(&self, bucket: &Bucket, id: UploadId) -> Result<bool, EngineError> {
        let bucket_id = bucket.id;
        self.on_shard(bucket.shard, move |shard| async move { shard.abort_upload(bucket_id, id).await })
            .await?
    }

    /// Versions that a bucket has, and the bytes of all of them and of all parts of open uploads: what its quota is held
    /// against.
    pub async fn held(&self, bucket: &Bucket) -> Result<(u64, u64), EngineError> {
        let id = bucket.id;
        let held = self.on_shard(bucket.shard, move |shard| async move {
            shard.durable_read(id, |bucket| (bucket.held().0, bucket.stored_bytes())).await
        });
        Ok(held.await??.unwrap_or_default())
    }

    /// Takes last checkpoints of this core's shards where they save the next start time, writes what is pending and
    /// refuses more, for a clean stop.
    pub async fn stop(&self) {
        let shards: Vec<Rc<Shard>> = self.core.shards.borrow().values().cloned().collect();
        for shard in shards {
            shard.stop().await;
        }
    }
}
