//! How much a bucket may hold: the bytes of all versions and of all parts, held against its setting.
//!
//! `commit` and `transaction` ask before a record takes its place, so that nothing comes between; who is about to take a large
//! body asks before it comes. What a bucket holds is
//! counted by the index, from what it has: exact after a start too. I1. A record that leaves no more bytes than there
//! were is never refused: a bucket that holds more than its quota takes deletions, smaller objects and completions. I2. What a
//! record takes away counts once, however often it is named.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::Shard;
use crate::format::record::{BlobPlace, BlobRecord, Change, Record};
use crate::lock::Lock;
use crate::meta::index::BucketIndex;
use crate::object::{ETag, NewVersion, Place, UploadId, VersionId};
use crate::units::BucketId;

impl Shard {
    /// Whether a body of `size` bytes would be refused for the quota if it were stored now, as the object of a key or as a part.
    /// Nothing is kept for it: what comes between counts when it is stored.
    pub(crate) fn would_exceed_quota(&self, bucket: BucketId, place: &Place, size: u64) -> bool {
        let blob = BlobRecord { size, place: BlobPlace::Inline(Bytes::new()), units: [].into() };
        let (modified_ms, etag, attributes) = (0, ETag::default(), Bytes::new());
        let change = match place {
            Place::Object(key) => Change::PutObject {
                key: key.clone(),
                modified_ms,
                etag,
                attributes,
                versioned: self.makes_another(bucket, NewVersion::AsSet),
                lock: Lock::NONE,
                blob,
            },
            Place::Part(upload, number) => {
                Change::PutPart { upload: upload.0, number: *number, modified_ms, etag, attributes, blob }
            }
        };
        let exceeds = self.exceeds_quota(&Record { bucket, changes: vec![change] });
        if exceeds {
            self.context.stats.over_quota.fetch_add(1, Relaxed);
        }
        exceeds
    }

    /// Whether a record would leave its bucket with more bytes than its quota, and more than there are.
    pub(super) fn exceeds_quota(&self, record: &Record) -> bool {
        let Some(max) = self.quota(record.bucket) else { return false };
        let added: u64 = record.changes.iter().map(added).fold(0, u64::saturating_add);
        if added == 0 {
            return false;
        }
        let exceeds = |bucket: &BucketIndex| {
            let after = bucket.stored_bytes().saturating_add(added);
            max < after && {
                let removed = removed(bucket, record);
                removed < added && max < after.saturating_sub(removed)
            }
        };
        self.with_bucket(record.bucket, exceeds).unwrap_or(max < added)
    }
}

/// Bytes that a change brings.
fn added(change: &Change) -> u64 {
    match change {
        Change::PutObject { blob, .. } | Change::PutPart { blob, .. } => blob.size,
        // Its parts are there.
        Change::CompleteUpload { .. }
        | Change::PutMarker { .. }
        | Change::DeleteObject { .. }
        | Change::DeleteVersion { .. }
        | Change::SetValue { .. }
        | Change::ClearValue { .. }
        | Change::OpenUpload { .. }
        | Change::AbortUpload { .. }
        | Change::SetBucket { .. }
        | Change::ClearBucket { .. }
        | Change::MoveBytes { .. }
        | Change::Revise { .. }
        | Change::Rename { .. } => 0,
    }
}

/// Bytes that a record takes away of what is there.
fn removed(bucket: &BucketIndex, record: &Record) -> u64 {
    let mut seen = BTreeSet::new();
    let mut removed: u64 = 0;
    for change in &record.changes {
        let (key, version) = match change {
            Change::PutObject { key, versioned: false, .. }
            | Change::CompleteUpload { key, versioned: false, .. }
            | Change::PutMarker { key, versioned: false, .. }
            | Change::DeleteObject { key } => (key, VersionId::Null),
            Change::DeleteVersion { key, version } => (key, VersionId::Of(*version)),
            Change::PutPart { upload, number, .. } => {
                let part = bucket.part(UploadId(*upload), *number);
                removed = removed.saturating_add(part.map_or(0, |part| part.size));
                continue;
            }
            _ => continue,
        };
        if let Some((sequence, size)) = bucket.held_by(key, version)
            && seen.insert(sequence)
        {
            removed = removed.saturating_add(size);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::bucket_meta::SettingKind;
    use crate::drive::Drive;
    use crate::error::EngineError;
    use crate::format::settings::BucketSettings;
    use crate::handle::{Bucket, Engine};
    use crate::lock::Lock;
    use crate::object::{Completion, ETag, PutCondition, PutRefused, WriteError};
    use crate::platform::Platform;
    use crate::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
    use crate::store::{FormatConfig, Store, format, recognise};
    use crate::units::CoreId;

    const KEY: Bytes = Bytes::from_static(b"key");
    const REFUSED: WriteError = WriteError::Refused(PutRefused::QuotaExceeded);

    async fn started(machine: &Simulator, medium: &Medium) -> Engine {
        let drives = vec![Rc::new(SimulatedDrive::new(machine, medium, Faults::default())) as Rc<dyn Drive>];
        let superblocks = match recognise(&drives).await.expect("readable") {
            Some(superblocks) => superblocks,
            None => {
                let config = FormatConfig { shards: 1, now_ms: 1, store: 7, zone_bytes: Some(1 << 20) };
                format(&drives, config).await.expect("blank and large enough")
            }
        };
        let store = Store::new(superblocks, 1);
        let platform: Rc<dyn Platform> = Rc::new(machine.clone());
        let engine = store.start_core(CoreId(0), platform, drives).await.expect("recovers");
        while !store.is_ready() {
            machine.sleep_us(10).await;
        }
        engine
    }

    async fn put(engine: &Engine, bucket: &Arc<Bucket>, key: &Bytes, size: usize) -> Result<(), WriteError> {
        let mut writer = engine.writer(bucket, size as u64).await?;
        if 0 < size {
            writer.write(Bytes::from(vec![7; size])).await?;
        }
        let told = writer.publish(key.clone(), PutCondition::None, ETag::default(), Bytes::new()).await;
        told.map(drop)
    }

    async fn set(engine: &Engine, max: Option<u64>) -> Arc<Bucket> {
        let value = max.map(|max| Bytes::copy_from_slice(&max.to_le_bytes()));
        engine.set_setting("b", SettingKind::QUOTA, value).await.expect("room");
        engine.bucket("b").expect("it is there")
    }

    #[test]
    fn no_write_passes_the_quota_and_none_is_refused_below_it() {
        let simulator = Simulator::new(8);
        let machine = simulator.clone();
        let ended = simulator.run(async move {
            let medium = Medium::new(64 << 20);
            let engine = started(&machine, &medium).await;
            engine.create_bucket("b", BucketSettings::default()).await.expect("a new name");
            let bucket = set(&engine, Some(1_000)).await;
            let other = Bytes::from_static(b"other");
            assert_eq!(put(&engine, &bucket, &KEY, 1_001).await, Err(REFUSED));
            assert_eq!(put(&engine, &bucket, &KEY, 600).await, Ok(()));
            assert_eq!(put(&engine, &bucket, &other, 401).await, Err(REFUSED));
            // In place of what is there.
            assert_eq!(put(&engine, &bucket, &KEY, 1_000).await, Ok(()));
            assert_eq!(put(&engine, &bucket, &other, 1).await, Err(REFUSED));
            assert_eq!(put(&engine, &bucket, &other, 0).await, Ok(()));
            assert_eq!(put(&engine, &bucket, &KEY, 500).await, Ok(()));

            let upload = engine.create_upload(&bucket, other.clone(), Bytes::new()).await.expect("room");
            let part = async |number: u16, size: usize| -> Result<_, WriteError> {
                let mut writer = engine.writer(&bucket, size as u64).await?;
                writer.write(Bytes::from(vec![7; size])).await?;
                writer.publish_part(upload, number, ETag::default(), Bytes::new()).await
            };
            let first = part(1, 300).await.expect("below");
            assert_eq!(part(2, 201).await.map(drop), Err(REFUSED));
            assert_eq!(part(2, 200).await.map(drop), Ok(()));
            assert_eq!(engine.held(&bucket).await, Ok((2, 1_000)));
            assert_eq!(part(2, 200).await.map(drop), Ok(()), "again");
            let second = engine.parts(&bucket, upload, 1, 9).await.expect("read").expect("open");

            // With less than there is: nothing more, but what takes nothing and what goes.
            let bucket = set(&engine, Some(10)).await;
            let completion = Completion {
                parts: vec![(1, first.sequence), (2, second[0].sequence)],
                condition: PutCondition::None,
                etag: ETag::default(),
                attributes: Bytes::new(),
                receipt: Bytes::new(),
                lock: Lock::NONE,
            };
            engine.complete_upload(&bucket, upload, completion).await.expect("its parts are there");
            assert_eq!(engine.held(&bucket).await, Ok((2, 1_000)));
            assert_eq!(put(&engine, &bucket, &KEY, 501).await, Err(REFUSED));
            assert_eq!(put(&engine, &bucket, &KEY, 499).await, Ok(()), "less than there was");
            engine.stop().await;

            // What is held is known again after a start, from checkpoint and log.
            let engine = started(&machine, &medium).await;
            let bucket = engine.bucket("b").expect("it is there");
            assert_eq!(engine.held(&bucket).await, Ok((2, 999)));
            assert_eq!(put(&engine, &bucket, &Bytes::from_static(b"new"), 1).await, Err(REFUSED));
            engine.delete(&bucket, vec![KEY, other.clone()]).await.expect("room");
            assert_eq!(engine.held(&bucket).await, Ok((0, 0)));
            assert_eq!(put(&engine, &bucket, &KEY, 11).await, Err(REFUSED));
            assert_eq!(put(&engine, &bucket, &KEY, 10).await, Ok(()));
            let bucket = set(&engine, None).await;
            assert_eq!(put(&engine, &bucket, &KEY, 4_000).await, Ok(()));
            let unknown = Some(Bytes::from_static(b"newer"));
            let kind = SettingKind::QUOTA;
            let refused = engine.set_setting("b", kind, unknown).await.err();
            assert_eq!(refused, Some(EngineError::UnsupportedSetting { kind }.into()));
            assert_eq!(put(&engine, &bucket, &KEY, 5_000).await, Ok(()), "as before");
            engine.stop().await;
        });
        assert_eq!(ended, Ok(()));
    }
}
