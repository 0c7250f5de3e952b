//! Renaming an object within its bucket: one record that takes it from its key and puts it under another one.
//!
//! I1. Its bytes stay where they are: nothing is read, written or freed but what the new key had. I2. Object and new key are
//! looked at in the turn in which the record takes its place. I3. A bucket that keeps versions, or did, renames nothing: a
//! version would leave its key's history.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::bucket_meta::Versioning;
use crate::format::record::{Change, Record};
use crate::mutant::{Mutant, seeded};
use crate::object::{ObjectInfo, PutRefused, Rename, Renamed, WriteError};
use crate::units::{BucketId, Sequence};

impl Shard {
    /// Renames an object if `check` lets what it is and what the new key has; durable on return, as is what `check` refused
    /// with.
    pub(crate) async fn rename<E>(
        &self,
        bucket: BucketId,
        rename: Rename,
        mut check: impl FnMut(&ObjectInfo, Option<&ObjectInfo>) -> Result<(), E>,
    ) -> Result<Result<Renamed, E>, WriteError> {
        let Rename { key, to, token } = rename;
        let mut changes = match &token {
            Some(token) => self.remembered(bucket, token.id, self.now_ms(), token.receipt.clone()),
            None => Vec::new(),
        };
        // The last one: its sequence is the record's, and names the version.
        changes.push(Change::Rename { key: key.clone(), version: Sequence(0), to: to.clone() });
        let record = Record { bucket, changes };
        let verdict = |record: &mut Record| {
            if !self.is_open(bucket) {
                return Err(PutRefused::NoSuchBucket);
            }
            if let Some(token) = &token
                && let Some(receipt) =
                    self.with_bucket(bucket, |held| held.completion(token.id, self.now_ms())).flatten()
            {
                let is_same = receipt == token.receipt;
                return Ok(Verdict::Nothing(Ok(if is_same { Renamed::Before } else { Renamed::TokenTaken })));
            }
            if self.versioning(bucket) != Versioning::Unset {
                return Err(PutRefused::KeepsVersions);
            }
            let find = |key: &Bytes| self.with_bucket(bucket, |held| held.find(key, None).object()).flatten();
            let info = find(&key).ok_or(PutRefused::NoSuchKey)?;
            if !seeded(Mutant::RenameUnchecked)
                && let Err(refused) = check(&info, find(&to).as_ref())
            {
                return Ok(Verdict::Nothing(Err(refused)));
            }
            if key == to {
                return Ok(Verdict::Nothing(Ok(Renamed::Done(info))));
            }
            if let Some(Change::Rename { version, .. }) = record.changes.last_mut() {
                *version = info.sequence;
            }
            Ok(Verdict::Append(Ok(Renamed::Done(info))))
        };
        let committed = self.commit(record, false, Some(Mutant::RenameEarly), verdict).await?;
        let (sequence, renamed) = committed;
        Ok(renamed.map(|renamed| match renamed {
            Renamed::Done(info) if key != to => Renamed::Done(ObjectInfo { sequence, is_null: true, ..info }),
            renamed => renamed,
        }))
    }
}
