//! Removing objects of a bucket without versions.

use bytes::Bytes;

use super::Shard;
use crate::error::EngineError;
use crate::format::record::{Change, Record};
use crate::mutant::{Mutant, is};
use crate::object::{PutCondition, PutRefused};
use crate::units::BucketId;

impl Shard {
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
}
