//! Values of the layer above, and transactions: several objects and values of one bucket in one log record.
//!
//! `local_bucket` calls these for the layer above, on the owner's core: it awaits [`Shard::room`], appends without
//! awaiting, so that its own memory changes in the same turn, and answers when [`Shard::durable`] resolves.

use bytes::Bytes;

use super::Shard;
use super::reserve::Reservation;
use super::stage::Staged;
use crate::blob::inline_blob;
use crate::bucket_meta::Versioning;
use crate::error::EngineError;
use crate::format::record::{Change, Record, SpaceEffect};
use crate::limits::VALUE_KEY_BYTES_MAX;
use crate::lock::Lock;
use crate::mutant::{Mutant, seeded};
use crate::object::{ETag, NewVersion, check_attributes, check_key};
use crate::units::{BucketId, Sequence};

/// A change of several objects and values of one bucket: one log record, one flush, all or nothing.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Objects to set; which version of its key each makes, and its lock, follow from the bucket's settings.
    pub puts: Vec<TransactionPut>,
    /// Object keys to delete; absent ones are fine. In a bucket with versions a delete marker covers each.
    pub deletes: Vec<Bytes>,
    /// Versions and delete markers to remove, each named by its key and the change that made it; absent ones are fine.
    pub removals: Vec<(Bytes, Sequence)>,
    /// Values of the layer above: key and new value, `None` to remove it.
    pub values: Vec<(Bytes, Option<Bytes>)>,
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
    /// Written to extents before, by [`LocalBucket::stage`](crate::LocalBucket::stage).
    Staged(Staged),
}

impl Shard {
    /// The value of a key, durable or not: await [`Shard::durable`] before telling anybody.
    pub(crate) fn value(&self, bucket: BucketId, key: &[u8]) -> Option<Bytes> {
        self.index.borrow().buckets.get(&bucket)?.value(key)
    }

    /// Visits values whose key starts with `prefix`, from `from` (inclusive) on, in byte order, while `visit` answers
    /// true. `visit` must not call back into the shard.
    pub(crate) fn values(
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

    /// Resolves once [`Shard::append_transaction`] of up to `bytes` (keys, values, inline bodies and 200 bytes for each) finds
    /// room in the log; fails when it never will.
    pub(crate) async fn room(&self, bytes: usize) -> Result<(), EngineError> {
        self.log_room(bytes, SpaceEffect::Stores).await
    }

    /// As [`Shard::room`], for a transaction that deletes and stores nothing but values: it may use the last of the log.
    pub(crate) async fn room_to_free(&self, bytes: usize) -> Result<(), EngineError> {
        self.log_room(bytes, SpaceEffect::Frees).await
    }

    /// Applies `transaction` in memory and puts its record into the log's open block: from here on the shard sees it,
    /// and nobody outside may be told before [`Shard::durable`] of the answer resolves.
    ///
    /// Errors change nothing: [`EngineError::Full`], [`EngineError::TooLarge`] (the record is over
    /// `RECORD_BYTES_MAX`), [`EngineError::Locked`] (a lock protects what it would remove), [`EngineError::QuotaExceeded`], [`EngineError::ReadOnly`], [`EngineError::UnsupportedSetting`], [`EngineError::BucketClosed`]
    /// when the bucket was deleted meanwhile ([`Shard::is_open`]), and [`EngineError::Busy`] or
    /// [`EngineError::NoFreeZone`] when [`Shard::room`] was not awaited in the same turn.
    pub(crate) fn append_transaction(
        &self,
        bucket: BucketId,
        transaction: Transaction,
    ) -> Result<Sequence, EngineError> {
        self.check_supported(bucket)?;
        if !self.is_open(bucket) {
            return Err(EngineError::BucketClosed);
        }
        let modified_ms = self.now_ms();
        let versioned = self.makes_another(bucket, NewVersion::AsSet);
        let lock = self.lock_of(bucket, Lock::NONE, modified_ms);
        let mut changes = Vec::new();
        let mut reservations = Vec::new();
        for put in transaction.puts {
            check_key(&put.key)?;
            check_attributes(&put.attributes)?;
            let blob = match put.body {
                TransactionBody::Inline(bytes) => inline_blob(bytes),
                TransactionBody::Staged(staged) => {
                    let (blob, reservation) = staged.into_blob();
                    reservations.push(reservation);
                    blob
                }
            };
            let (key, etag, attributes) = (put.key, put.etag, put.attributes);
            changes.push(Change::PutObject { key, modified_ms, etag, attributes, versioned, lock, blob });
        }
        for key in transaction.deletes.iter().chain(transaction.removals.iter().map(|(key, _)| key)) {
            check_key(key)?;
        }
        for (key, _) in &transaction.values {
            let (max, got) = (VALUE_KEY_BYTES_MAX as u64, key.len() as u64);
            if max < got {
                return Err(EngineError::TooLarge { limit: "VALUE_KEY_BYTES_MAX", max, got });
            }
        }
        let versioning = self.versioning(bucket);
        changes.extend(transaction.deletes.into_iter().map(|key| match versioning {
            Versioning::Unset => Change::DeleteObject { key },
            Versioning::Enabled | Versioning::Suspended => Change::PutMarker { key, modified_ms, versioned },
        }));
        let removals = transaction.removals.into_iter();
        changes.extend(removals.map(|(key, version)| Change::DeleteVersion { key, version }));
        changes.extend(transaction.values.into_iter().map(|(key, value)| match value {
            Some(value) => Change::SetValue { key, value },
            None => Change::ClearValue { key },
        }));
        let record = Record { bucket, changes };
        if self.removes_protected(&record, false) {
            return Err(EngineError::Locked);
        }
        if self.exceeds_quota(&record) {
            self.context.stats.over_quota.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Err(EngineError::QuotaExceeded);
        }
        let mut changes = record.changes;
        if seeded(Mutant::TransactionSplit) && changes.len() > 1 {
            let first = changes.drain(..1).collect();
            self.append_record(&Record { bucket, changes: first })?;
            self.log.cut();
        }
        let sequence = self.append_record(&Record { bucket, changes })?;
        reservations.into_iter().for_each(Reservation::publish);
        Ok(sequence)
    }
}
