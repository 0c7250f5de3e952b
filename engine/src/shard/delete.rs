//! Removing objects of a bucket without versions.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::format::record::{Change, Record};
use crate::mutant::Mutant;
use crate::object::{PutCondition, WriteError};
use crate::units::BucketId;

impl Shard {
    /// Removes objects; returns which were there.
    pub(crate) async fn delete_objects(
        &self,
        bucket: BucketId,
        keys: Vec<Bytes>,
        condition: PutCondition,
    ) -> Result<Vec<bool>, WriteError> {
        let changes: Vec<Change> = keys.iter().map(|key| Change::DeleteObject { key: key.clone() }).collect();
        let record = Record { bucket, changes };
        let verdict = || {
            keys.iter().try_for_each(|key| self.check(bucket, key, &condition))?;
            let found = self.with_bucket(bucket, |bucket| {
                keys.iter().map(|key| bucket.has_null_version(key)).collect::<Vec<bool>>()
            });
            let found = found.unwrap_or_else(|| vec![false; keys.len()]);
            Ok(if found.contains(&true) { Verdict::Append(found) } else { Verdict::Nothing(found) })
        };
        let committed = self.commit(&record, Some(Mutant::DeleteEarly), verdict).await;
        // Whatever is told, done or refused, the log is durable up to there: what waited for that comes free.
        if !matches!(committed, Err(WriteError::Engine(_))) {
            self.reclaim();
            self.note_free_bytes();
        }
        committed.map(|(_, found)| found)
    }
}
