//! How a change is made: check, settle, durable.
//!
//! Every command of the shard goes this way. I1. Nothing is awaited between the check and the settling. I2. A refusal is
//! told once what it follows from is durable.

use std::sync::atomic::Ordering::Relaxed;

use super::{SPACE_WAITS_MAX, Shard, check_condition};
use crate::error::EngineError;
use crate::format::record::Record;
use crate::meta::index::{BucketIndex, Index};
use crate::mutant::{Mutant, is};
use crate::object::{PutCondition, PutRefused};
use crate::units::{BucketId, Sequence};

impl Shard {
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
        check_condition(condition, etag)
    }

    /// Answers the sequence of the record's last change: what is durable when the record is.
    pub(crate) fn settle_record(&self, record: &Record, frees: bool) -> Result<Sequence, EngineError> {
        let (first, places) = self.log.append(record, frees)?;
        let last = Sequence(first.0 + record.sequences() - 1);
        let mut index = self.index.borrow_mut();
        let held = |index: &Index| index.buckets.get(&record.bucket).map_or((0, 0), BucketIndex::held);
        let before = held(&index);
        let mut space = self.space.borrow_mut();
        let mut effects = space.effects_of(last);
        index.apply(first, record, self.log.drive_index(), &places, &mut effects);
        let after = held(&index);
        let stats = &self.ground.stats;
        stats.objects.store((stats.objects.load(Relaxed) + after.0).saturating_sub(before.0), Relaxed);
        stats
            .object_bytes
            .store((stats.object_bytes.load(Relaxed) + after.1).saturating_sub(before.1), Relaxed);
        Ok(last)
    }

    /// Resolves once every record up to `sequence` is durable; [`EngineError::ReadOnly`] when that will never be.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), EngineError> {
        let failed = EngineError::ReadOnly { shard: self.ground.id };
        self.log.watermark.reached(sequence).await.map_err(|_| failed)
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
}
