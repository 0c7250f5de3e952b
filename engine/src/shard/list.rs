//! Looking through a bucket: listings of objects, versions, uploads and parts are made by its index.

use bytes::Bytes;

use super::Shard;
use crate::error::EngineError;
use crate::meta::index::BucketIndex;
use crate::mutant::{Mutant, seeded};
use crate::units::BucketId;

impl Shard {
    /// Runs `read` over a bucket's index and answers once everything it could see is durable.
    pub(crate) async fn durable_read<T>(
        &self,
        bucket: BucketId,
        read: impl FnOnce(&BucketIndex) -> T,
    ) -> Result<Option<T>, EngineError> {
        self.check_whole()?;
        self.check_determinate(bucket)?;
        let found = self.with_bucket(bucket, read);
        if !seeded(Mutant::ListEarly) {
            self.durable(self.changed(bucket)).await?;
        }
        Ok(found)
    }

    /// Keys of objects that start with `prefix`, at most `max`.
    pub(crate) fn object_keys(&self, bucket: BucketId, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let index = self.index.borrow();
        index.buckets.get(&bucket).map_or_else(Vec::new, |bucket| bucket.keys(prefix, max))
    }
}
