//! A bucket on the core that owns it, for the length of one job: what the layers above may do there.
//!
//! [`Engine::on_bucket`](crate::Engine::on_bucket) carries a job to the owner and hands it this. The shape of every
//! change: [`room`](LocalBucket::room) (await) → decide → [`append`](LocalBucket::append) (sync: visible to this shard
//! at once) → [`durable`](LocalBucket::durable) (await) → answer.
//! I1. Values are read, scanned and set within the keys of one [`ValueOwner`]: nobody sees, or stumbles over, those of
//! another. I2. Nothing of the bucket, absence included, may be told to anybody before what it follows from is
//! durable. I3. Methods without `async` are atomic: nothing else of the shard runs meanwhile.

use std::rc::Rc;

use bytes::Bytes;

use crate::bucket_meta::Versioning;
use crate::bucket_meta::values::ValueOwner;
use crate::error::EngineError;
use crate::object::WriteError;
use crate::shard::expire::{Expired, Judge};
use crate::shard::{Shard, Staged, Transaction};
use crate::units::{BucketId, Sequence};

/// A bucket on the core that owns it, bound to the values of one owner. Never leaves its core. Cheap to clone.
#[derive(Clone)]
pub struct LocalBucket {
    shard: Rc<Shard>,
    id: BucketId,
    owner: ValueOwner,
}

impl std::fmt::Debug for LocalBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalBucket")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl LocalBucket {
    pub(crate) fn new(shard: Rc<Shard>, id: BucketId, owner: ValueOwner) -> LocalBucket {
        LocalBucket { shard, id, owner }
    }

    /// The bucket.
    pub fn id(&self) -> BucketId {
        self.id
    }

    /// [`EngineError::ReadOnly`] when the shard's log is damaged: then what is missing here may have been lost.
    pub fn check_whole(&self) -> Result<(), EngineError> {
        self.shard.check_whole()
    }

    // ---- values ----

    /// The value of a key, durable or not.
    ///
    /// # Panics
    /// When `key` is not the owner's.
    pub fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.assert_owned(key);
        self.shard.value(self.id, key)
    }

    /// Visits the owner's values whose key starts with `prefix` (all of them when it is empty), in byte order, while
    /// `visit` returns true. `visit` must not call back into the bucket.
    ///
    /// # Panics
    /// When `prefix` is not empty and not the owner's.
    pub fn values(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &Bytes) -> bool) {
        if !prefix.is_empty() {
            self.assert_owned(prefix);
        }
        let from = [*self.owner.first_bytes().start()];
        self.shard.values(self.id, prefix, &from, |key, value| self.owner.owns(key) && visit(key, value));
    }

    fn assert_owned(&self, key: &[u8]) {
        assert!(self.owner.owns(key), "a key outside of the range of its owner");
    }

    // ---- changes ----

    /// Resolves once [`LocalBucket::append`] of up to `bytes` (keys, values, inline bodies and 200 bytes for each)
    /// finds room in the log; fails when it never will.
    pub async fn room(&self, bytes: usize) -> Result<(), EngineError> {
        self.shard.room(bytes).await
    }

    /// As [`LocalBucket::room`], for a transaction that deletes and stores nothing but values: also a full store has room
    /// for it.
    pub async fn room_to_free(&self, bytes: usize) -> Result<(), EngineError> {
        self.shard.room_to_free(bytes).await
    }

    /// Applies `transaction` in memory and puts its record into the log's open block: from here on the shard sees it,
    /// and nobody outside may be told before [`LocalBucket::durable`] of the returned sequence resolves.
    ///
    /// Errors change nothing: [`EngineError::Full`], [`EngineError::TooLarge`] (the record is over `RECORD_BYTES_MAX`),
    /// [`EngineError::Locked`] (a lock protects what it would remove), [`EngineError::QuotaExceeded`], [`EngineError::ReadOnly`],
    /// [`EngineError::UnsupportedSetting`], [`EngineError::BucketClosed`] when the bucket was deleted meanwhile, and [`EngineError::Busy`] or [`EngineError::NoFreeZone`] when [`LocalBucket::room`] was
    /// not awaited in the same turn.
    ///
    /// # Panics
    /// When the key of a value is not the owner's, and when what the store itself keeps is given an object.
    pub fn append(&self, transaction: Transaction) -> Result<Sequence, EngineError> {
        if self.id == BucketId::SYSTEM {
            let Transaction { puts, deletes, removals, .. } = &transaction;
            assert!(
                puts.is_empty() && deletes.is_empty() && removals.is_empty(),
                "the store keeps values only"
            );
        }
        for (key, _) in &transaction.values {
            self.assert_owned(key);
        }
        self.shard.append_transaction(self.id, transaction)
    }

    /// Resolves once every record up to `sequence` is durable; [`EngineError::ReadOnly`] when that will never be.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), EngineError> {
        self.shard.durable(sequence).await
    }

    /// The newest sequence given out by the bucket's shard: what is seen now follows from nothing later.
    pub fn last_sequence(&self) -> Sequence {
        self.shard.last_sequence()
    }

    // ---- objects ----

    /// Writes `body` to extents and flushes it, for a [`TransactionBody::Staged`](crate::TransactionBody::Staged).
    ///
    /// Runs to its end when the caller goes away: space is freed only when no write to it is under way.
    pub async fn stage(&self, body: Bytes) -> Result<Staged, EngineError> {
        self.shard.stage(body).await
    }

    /// A whole object, verified and durable; `Ok(None)` when there is no such key.
    ///
    /// Errors: [`EngineError::TooLarge`] over `bytes_max`, and damage or drive errors.
    pub async fn read_object(&self, key: &[u8], bytes_max: u64) -> Result<Option<Bytes>, EngineError> {
        self.shard.read_object(self.id, key, bytes_max).await
    }

    /// Keys of objects that start with `prefix`, at most `max`, durable or not.
    pub fn object_keys(&self, prefix: &[u8], max: usize) -> Vec<Bytes> {
        self.shard.object_keys(self.id, prefix, max)
    }

    /// What made the versions and delete markers of a key, newest first, at most `max`; durable or not. Empty when there is
    /// no such key.
    pub fn versions(&self, key: &[u8], max: usize) -> Vec<Sequence> {
        self.shard.versions(self.id, key, max)
    }

    /// Whether a key has an object now, durable or not: no delete marker.
    pub fn has_object(&self, key: &[u8]) -> bool {
        self.shard.with_bucket(self.id, |bucket| bucket.etag(key).is_some()).unwrap_or(false)
    }

    /// Removes of the versions of `keys` those that `judge` chooses in the turn of the change, at most `max`, in one record,
    /// durable on return: the current object as a delete by name does. What a lock protects stays and is counted.
    pub async fn expire(
        &self,
        keys: &[Bytes],
        max: usize,
        judge: &mut impl Judge,
    ) -> Result<Expired, WriteError> {
        self.shard.expire(self.id, keys, max, judge).await
    }

    /// What becomes of versions in the bucket, for what is appended in the same turn.
    pub fn versioning(&self) -> Versioning {
        self.shard.versioning(self.id)
    }

    /// Lets the space of what durable transactions deleted be used again, at once.
    pub fn note_freed(&self) {
        self.shard.note_freed();
    }

    // ---- the owner's core ----

    /// State that the layer above keeps on this core for all buckets of the shard, made by `T::default()` at first
    /// use: one of each type.
    pub fn extension<T: Default + 'static>(&self) -> Rc<T> {
        self.shard.extension()
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> u64 {
        self.shard.now_ms()
    }

    /// Unpredictable bits.
    pub fn random_u128(&self) -> u128 {
        self.shard.random_u128()
    }
}
