//! Removing objects, versions and delete markers, and putting delete markers.
//!
//! I1. In a bucket with versions, a key that is deleted by its name alone gets a marker on top; nothing but the null version
//! of a bucket that makes none is replaced. I2. What a lock protects is refused by itself, whatever goes with it.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::bucket_meta::Versioning;
use crate::format::record::{Change, Record};
use crate::mutant::Mutant;
use crate::object::{NewVersion, PutCondition, PutRefused, Removal, Removed, VersionId, WriteError};
use crate::units::{BucketId, Sequence};

impl Shard {
    /// Carries out removals in one record; an answer for each of them.
    pub(crate) async fn remove(
        &self,
        bucket: BucketId,
        removals: Vec<Removal>,
    ) -> Result<Vec<Result<Removed, PutRefused>>, WriteError> {
        let modified_ms = self.now_ms();
        let marker = |removal: &Removal, versioned| Change::PutMarker {
            key: removal.key.clone(),
            modified_ms,
            versioned,
        };
        // None is longer than a marker.
        let changes = removals.iter().map(|removal| marker(removal, true)).collect();
        let record = Record { bucket, changes };
        let bytes = record.encoded_bytes_max();
        let verdict = |record: &mut Record| {
            if !self.is_open(bucket) {
                return Err(PutRefused::NoSuchBucket);
            }
            record.changes.clear();
            let versioning = self.versioning(bucket);
            let mut results: Vec<Result<Removed, PutRefused>> = Vec::with_capacity(removals.len());
            for removal in &removals {
                let planned = self.plan_removal(bucket, removal, versioning);
                let change = match &planned {
                    Err(_) | Ok(Planned::Nothing) => None,
                    Ok(Planned::Marker) => Some(marker(removal, versioning == Versioning::Enabled)),
                    Ok(Planned::Null) => Some(Change::DeleteObject { key: removal.key.clone() }),
                    Ok(Planned::Version(version, _)) => {
                        Some(Change::DeleteVersion { key: removal.key.clone(), version: *version })
                    }
                };
                record.changes.extend(change);
                results.push(planned.map(|planned| match planned {
                    Planned::Nothing => Removed::default(),
                    Planned::Null => Removed { found: true, ..Removed::default() },
                    Planned::Version(_, was_marker) => Removed { found: true, was_marker, marker: None },
                    // Named below, when its change has a sequence.
                    Planned::Marker => Removed { marker: Some(VersionId::Null), ..Removed::default() },
                }));
            }
            let is_enabled = versioning == Versioning::Enabled;
            match record.changes.is_empty() {
                true => Ok(Verdict::Nothing((results, 0, is_enabled))),
                false => Ok(Verdict::Append((results, record.changes.len() as u64, is_enabled))),
            }
        };
        // Each was looked at with its own bypass.
        let committed = self.commit_within(bytes, record, true, Some(Mutant::DeleteEarly), verdict).await;
        // Whatever is answered, done or refused, the log is durable up to there: what waited for that comes free.
        if !matches!(committed, Err(WriteError::Engine(_))) {
            self.note_freed();
        }
        committed.map(|(last, (mut results, changes, is_enabled))| {
            let mut sequence = Sequence((last.0 + 1).saturating_sub(changes));
            for removed in results.iter_mut().filter_map(|result| result.as_mut().ok()) {
                if is_enabled && removed.marker.is_some() {
                    removed.marker = Some(VersionId::Of(sequence));
                }
                if removed.found || removed.marker.is_some() {
                    sequence.0 += 1;
                }
            }
            results
        })
    }

    /// What a removal does to the bucket as it is.
    fn plan_removal(
        &self,
        bucket: BucketId,
        removal: &Removal,
        versioning: Versioning,
    ) -> Result<Planned, PutRefused> {
        let known = |version| self.with_bucket(bucket, |held| held.known_of(&removal.key, version)).flatten();
        let found = match removal.condition {
            PutCondition::None if removal.version.is_none() => None,
            _ => known(removal.version),
        };
        removal.condition.check(found.and_then(|(.., etag)| etag))?;
        let protected = |version| match self.is_protected(bucket, &removal.key, version, removal.bypass) {
            true => Err(PutRefused::Locked),
            false => Ok(()),
        };
        match (removal.version, versioning) {
            (Some(version), _) => {
                let Some((sequence, is_marker, _)) = found.or_else(|| known(removal.version)) else {
                    return Ok(Planned::Nothing);
                };
                protected(version)?;
                Ok(Planned::Version(sequence, is_marker))
            }
            (None, Versioning::Enabled) => Ok(Planned::Marker),
            (None, Versioning::Suspended) => {
                protected(VersionId::Null)?;
                Ok(Planned::Marker)
            }
            (None, Versioning::Unset) => {
                let has_null =
                    self.with_bucket(bucket, |held| held.has_null_version(&removal.key)).unwrap_or(false);
                protected(VersionId::Null)?;
                Ok(if has_null { Planned::Null } else { Planned::Nothing })
            }
        }
    }

    /// Puts a delete marker on top of a key's versions, or in place of its null version.
    pub(crate) async fn put_marker(
        &self,
        bucket: BucketId,
        key: Bytes,
        version: NewVersion,
    ) -> Result<Sequence, WriteError> {
        let marker = Change::PutMarker { key: key.clone(), modified_ms: self.now_ms(), versioned: false };
        let record = Record { bucket, changes: vec![marker] };
        let verdict = |record: &mut Record| {
            self.check(bucket, &key, &PutCondition::None)?;
            let makes_another = self.makes_another(bucket, version);
            if let Some(Change::PutMarker { versioned, .. }) = record.changes.last_mut() {
                *versioned = makes_another;
            }
            Ok(Verdict::Append(()))
        };
        self.commit(record, false, None, verdict).await.map(|(sequence, ())| sequence)
    }

    /// What made the versions and delete markers of a key, newest first, at most `max`; durable or not.
    pub(crate) fn versions(&self, bucket: BucketId, key: &[u8], max: usize) -> Vec<Sequence> {
        self.with_bucket(bucket, |bucket| bucket.sequences_of(key, max)).unwrap_or_default()
    }

    /// Lets what durable removals gave up be used again.
    pub(crate) fn note_freed(&self) {
        self.reclaim();
        self.note_free_bytes();
    }
}

/// What a removal comes to.
enum Planned {
    Nothing,
    /// A delete marker.
    Marker,
    /// The null version goes.
    Null,
    /// This version goes; whether it is a marker.
    Version(Sequence, bool),
}
