//! Changing what is known of a version that is there: its attributes and its lock.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::format::record::{Change, Record};
use crate::limits::ATTRIBUTES_BYTES_MAX;
use crate::lock::Lock;
use crate::mutant::{Mutant, seeded};
use crate::object::{ObjectInfo, PutRefused, Revision, VersionId, WriteError, check_attributes};
use crate::units::{BucketId, Sequence};

impl Shard {
    /// Replaces attributes and lock of a version (`None`: the current one) by what `change` makes of what it is, in the
    /// turn in which the record takes its place. Returns the version as it is then, or what `change` refused with.
    pub(crate) async fn revise<E>(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: Option<VersionId>,
        mut change: impl FnMut(&ObjectInfo) -> Result<Revision, E>,
    ) -> Result<Result<ObjectInfo, E>, WriteError> {
        let (attributes, lock) = (Bytes::new(), Lock::NONE);
        let revise = Change::Revise { key: key.clone(), version: Sequence(0), attributes, lock };
        let record = Record { bucket, changes: vec![revise] };
        let bytes = record.encoded_bytes_max() + ATTRIBUTES_BYTES_MAX;
        let verdict = |record: &mut Record| {
            if !self.is_open(bucket) {
                return Err(PutRefused::NoSuchBucket);
            }
            let found = self.with_bucket(bucket, |bucket| bucket.find(&key, version).object()).flatten();
            let mut info = found.ok_or(PutRefused::NoSuchVersion)?;
            let Revision { attributes, lock, bypass } = match change(&info) {
                Ok(revision) => revision,
                Err(refused) => return Ok(Verdict::Nothing(Err(refused))),
            };
            assert!(check_attributes(&attributes).is_ok(), "attributes over their limit");
            let bypass = bypass || seeded(Mutant::LockLoosened);
            if !info.lock.may_become(&lock, self.now_ms(), bypass) {
                return Err(PutRefused::Locked);
            }
            (info.attributes, info.lock) = (attributes.clone(), lock);
            record.changes =
                vec![Change::Revise { key: key.clone(), version: info.sequence, attributes, lock }];
            Ok(Verdict::Append(Ok(info)))
        };
        self.commit_within(bytes, record, false, Some(Mutant::RevisionEarly), verdict)
            .await
            .map(|(_, told)| told)
    }
}
