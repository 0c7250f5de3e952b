//! The one way in which the shard changes: room, check, append, durable.
//!
//! Every command calls [`Shard::commit`] with its record and a check, and the changes of the directory do;
//! `transaction` takes the same steps but leaves the last one to its caller, cleaning those that nobody could refuse.
//! I1. Nothing is awaited between the check and the append, so what was checked holds. I2. Whatever is told, done,
//! nothing to do or refused, is told when all that it follows from is durable. I3. Of a bucket that may be deleted or
//! not, nothing is told. I4. What a change frees may use the last of the log (see `SpaceEffect`).

use std::sync::atomic::Ordering::Relaxed;

use super::{SPACE_WAITS_MAX, Shard};
use crate::error::EngineError;
use crate::format::record::{Change, Record, SpaceEffect};
use crate::meta::index::{BucketIndex, Index};
use crate::mutant::{Mutant, seeded};
use crate::object::{PutCondition, PutRefused, VersionId, WriteError};
use crate::units::{BucketId, Sequence};

/// What the check of a change found, when it does not refuse it.
pub(crate) enum Verdict<T> {
    /// The record is to take its place in the log.
    Append(T),
    /// There is nothing to change. That may itself be news.
    Nothing(T),
}

impl Shard {
    /// Commits `record` if `check` lets it; durable on return. Returns the sequence of its last change (of the
    /// bucket's, when there is nothing to do) and what the check found.
    ///
    /// `check` looks at the index and must not wait; it is called again when the bucket's deletion came between and
    /// failed. It may say in the record what it found, without making it larger. `bypass` is whether governance mode is
    /// passed by: whatever the record is, it removes no version that a lock protects ([`PutRefused::Locked`]). `early` is the seeded mistake of an answer before the record is durable. Errors, and a refusal, change
    /// nothing; with [`EngineError::ReadOnly`] it is not known whether the record is in the log.
    pub(crate) async fn commit<T>(
        &self,
        record: Record,
        bypass: bool,
        early: Option<Mutant>,
        check: impl FnMut(&mut Record) -> Result<Verdict<T>, PutRefused>,
    ) -> Result<(Sequence, T), WriteError> {
        let bytes = record.encoded_bytes_max();
        self.commit_within(bytes, record, bypass, early, check).await
    }

    /// As [`Shard::commit`], of a record that `check` makes up to `bytes` large.
    pub(super) async fn commit_within<T>(
        &self,
        bytes: usize,
        mut record: Record,
        bypass: bool,
        early: Option<Mutant>,
        mut check: impl FnMut(&mut Record) -> Result<Verdict<T>, PutRefused>,
    ) -> Result<(Sequence, T), WriteError> {
        let (bucket, effect) = (record.bucket, record.space_effect());
        loop {
            self.log_room(bytes, effect).await?;
            self.check_supported(bucket)?;
            let verdict = check(&mut record).and_then(|verdict| match verdict {
                Verdict::Append(_) if self.removes_protected(&record, bypass) => Err(PutRefused::Locked),
                Verdict::Append(_) if self.exceeds_quota(&record) => Err(self.note_over_quota()),
                verdict => Ok(verdict),
            });
            let (sequence, found) = match verdict {
                Ok(Verdict::Append(found)) => {
                    assert!(record.encoded_bytes_max() <= bytes);
                    (self.append_record(&record)?, found)
                }
                Ok(Verdict::Nothing(found)) => {
                    self.check_whole()?;
                    self.check_determinate(bucket)?;
                    (self.changed(bucket), found)
                }
                Err(refused) if self.may_tell(bucket, refused).await? => return Err(refused.into()),
                Err(_) => continue,
            };
            if !early.is_some_and(seeded) {
                self.durable(sequence).await?;
            }
            return Ok((sequence, found));
        }
    }

    /// Resolves when a refusal may be told: with `false` when it is void, because the bucket is not deleted after all.
    pub(super) async fn may_tell(&self, bucket: BucketId, refused: PutRefused) -> Result<bool, EngineError> {
        if refused == PutRefused::NoSuchBucket && !seeded(Mutant::RefusalEarly) {
            self.bucket_states.decided(bucket).await;
            if self.is_open(bucket) {
                return Ok(false);
            }
        }
        self.check_whole()?;
        self.check_determinate(bucket)?;
        if !seeded(Mutant::RefusalEarly) {
            self.durable(self.changed(bucket)).await?;
        }
        Ok(true)
    }

    /// Counts a change that the quota of its bucket refuses.
    fn note_over_quota(&self) -> PutRefused {
        self.context.stats.over_quota.fetch_add(1, Relaxed);
        PutRefused::QuotaExceeded
    }

    /// Whether a record takes away a version that a lock protects.
    pub(super) fn removes_protected(&self, record: &Record, bypass: bool) -> bool {
        if !self.with_bucket(record.bucket, BucketIndex::has_locks).unwrap_or(false) {
            return false;
        }
        let protected = |key: &[u8], version| self.is_protected(record.bucket, key, version, bypass);
        record.changes.iter().any(|change| match change {
            Change::PutObject { key, versioned: false, .. }
            | Change::CompleteUpload { key, versioned: false, .. }
            | Change::PutMarker { key, versioned: false, .. }
            | Change::DeleteObject { key } => protected(key, VersionId::Null),
            Change::DeleteVersion { key, version } => protected(key, VersionId::Of(*version)),
            Change::Rename { key, version, to } => {
                protected(key, VersionId::Of(*version)) || protected(to, VersionId::Null)
            }
            _ => false,
        })
    }

    /// Whether a lock protects a version now.
    pub(super) fn is_protected(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: VersionId,
        bypass: bool,
    ) -> bool {
        let is_protected = |bucket: &BucketIndex| {
            bucket.has_locks() && bucket.is_protected(key, version, self.now_ms(), bypass)
        };
        self.with_bucket(bucket, is_protected).unwrap_or(false) && !seeded(Mutant::LockIgnored)
    }

    /// Whether a write of `key` may happen now.
    pub(super) fn check(
        &self,
        bucket: BucketId,
        key: &[u8],
        condition: &PutCondition,
    ) -> Result<(), PutRefused> {
        if !self.is_open(bucket) {
            return Err(PutRefused::NoSuchBucket);
        }
        if let PutCondition::IfSame { sequence, attributes } = condition {
            let now = self.with_bucket(bucket, |bucket| bucket.find(key, None).object()).flatten();
            return match now {
                None => Err(PutRefused::NoSuchKey),
                Some(now) if now.sequence == *sequence && now.attributes == *attributes => Ok(()),
                Some(_) => Err(PutRefused::PreconditionFailed),
            };
        }
        let etag = self.with_bucket(bucket, |bucket| bucket.etag(key)).flatten();
        condition.check(etag)
    }

    /// [`Log::room`]; before a record is refused for a full drive, maintenance looks whether something came free since it
    /// last did.
    pub(super) async fn log_room(&self, bytes: usize, effect: SpaceEffect) -> Result<(), EngineError> {
        let mut waits = 0;
        loop {
            match self.log.room(bytes, effect).await {
                Err(EngineError::Full { .. }) if waits < SPACE_WAITS_MAX && self.want_space().await => {
                    waits += 1
                }
                found => return found,
            }
        }
    }

    /// Puts a record into the log's open block and applies it. Returns the sequence of its last change: what is durable
    /// when the record is. Errors change nothing, and after [`Shard::log_room`] in the same turn there is none but a
    /// failed log.
    pub(super) fn append_record(&self, record: &Record) -> Result<Sequence, EngineError> {
        let (first, places) = self.log.append(record)?;
        let last = Sequence(first.0 + record.sequences() - 1);
        let mut index = self.index.borrow_mut();
        let held = |index: &Index| index.buckets.get(&record.bucket).map_or((0, 0), BucketIndex::held);
        let before = held(&index);
        let mut space = self.space.borrow_mut();
        let mut effects = space.effects_of(last);
        index.apply(first, record, self.log.drive_index(), &places, &mut effects);
        let after = held(&index);
        let stats = &self.context.stats;
        stats.objects.store((stats.objects.load(Relaxed) + after.0).saturating_sub(before.0), Relaxed);
        stats
            .object_bytes
            .store((stats.object_bytes.load(Relaxed) + after.1).saturating_sub(before.1), Relaxed);
        Ok(last)
    }

    /// Resolves once every record up to `sequence` is durable; [`EngineError::ReadOnly`] when that will never be.
    pub(crate) async fn durable(&self, sequence: Sequence) -> Result<(), EngineError> {
        let failed = EngineError::ReadOnly { shard: self.context.id };
        self.log.watermark.reached(sequence).await.map_err(|_| failed)
    }
}
