//! Removing what a layer above chooses of the versions of keys, chosen in the turn in which the record takes its place.
//!
//! Lifecycle rules work through it: what was seen before may be another object by now, so nothing that was seen before
//! counts. I1. A version goes only as the judge sees it in the turn of the append. I2. The current object of a key goes as
//! the bucket's versioning says of a delete by name. I3. What a lock protects stays, is counted, and keeps nothing else.

use bytes::Bytes;

use super::Shard;
use super::commit::Verdict;
use crate::bucket_meta::Versioning;
use crate::format::record::{Change, Record};
use crate::object::{ObjectVersion, PutRefused, VersionId, WriteError};
use crate::units::BucketId;

/// Says which versions of keys go. Asked on the core that owns the bucket; must not call back into the bucket.
pub trait Judge {
    /// Whether any may go at all. Asked first in each turn, and everything anew in another turn when the first one came to
    /// nothing.
    fn begins(&mut self) -> bool;

    /// Whether a version goes. Asked for each of a key, newest first; `has_older` is whether the key has versions below it.
    fn goes(&mut self, version: &ObjectVersion, has_older: bool) -> bool;
}

/// What became of the versions that a [`Judge`] chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Current objects that are gone.
    pub current: u64,
    /// Current objects that have a delete marker on top now.
    pub marked: u64,
    /// Objects below another version that are gone.
    pub noncurrent: u64,
    /// Delete markers that are gone.
    pub markers: u64,
    /// Bytes of the objects that are gone.
    pub bytes: u64,
    /// Versions that stay because a lock protects them.
    pub locked: u64,
    /// The first of the keys that was not looked at to its end.
    pub next: Option<usize>,
}

impl Shard {
    /// Removes of the versions of `keys` those that `judge` chooses, at most `max`, in one record, durable on return.
    pub(crate) async fn expire(
        &self,
        bucket: BucketId,
        keys: &[Bytes],
        max: usize,
        judge: &mut impl Judge,
    ) -> Result<Expired, WriteError> {
        let modified_ms = self.now_ms();
        let longest = keys.iter().max_by_key(|key| key.len()).cloned().unwrap_or_default();
        // None is longer than a marker.
        let marker = Change::PutMarker { key: longest, modified_ms, versioned: true };
        let record = Record { bucket, changes: vec![marker; max] };
        let bytes = record.encoded_bytes_max();
        let verdict = |record: &mut Record| {
            if !self.is_open(bucket) {
                return Err(PutRefused::NoSuchBucket);
            }
            record.changes.clear();
            let mut told = Expired::default();
            if judge.begins() {
                for (nth, key) in keys.iter().enumerate() {
                    if !self.plan_expiry(bucket, key, max, judge, &mut record.changes, &mut told) {
                        told.next = Some(nth);
                        break;
                    }
                }
            }
            Ok(if record.changes.is_empty() { Verdict::Nothing(told) } else { Verdict::Append(told) })
        };
        let committed = self.commit_within(bytes, record, false, None, verdict).await;
        if !matches!(committed, Err(WriteError::Engine(_))) {
            self.note_freed();
        }
        committed.map(|(_, told)| told)
    }

    /// Adds to `changes` what goes of one key; `false` when more than `max` would go.
    fn plan_expiry(
        &self,
        bucket: BucketId,
        key: &Bytes,
        max: usize,
        judge: &mut impl Judge,
        changes: &mut Vec<Change>,
        told: &mut Expired,
    ) -> bool {
        let (versioning, now_ms) = (self.versioning(bucket), self.now_ms());
        let mut null_is_gone = false;
        let visit = |version: &ObjectVersion, has_older: bool| {
            let info = &version.info;
            if !judge.goes(version, has_older) || (null_is_gone && info.is_null) {
                return true;
            }
            let puts_marker = version.is_latest && !version.is_marker && versioning != Versioning::Unset;
            let is_locked = match (puts_marker, versioning) {
                (true, Versioning::Suspended) => self.is_protected(bucket, key, VersionId::Null, false),
                (true, _) => false,
                (false, _) => info.lock.protects(now_ms, false),
            };
            if is_locked {
                told.locked += 1;
                return true;
            }
            if max <= changes.len() {
                return false;
            }
            if puts_marker {
                let versioned = versioning == Versioning::Enabled;
                changes.push(Change::PutMarker { key: key.clone(), modified_ms: now_ms, versioned });
                null_is_gone = !versioned;
                told.marked += 1;
                if !versioned && info.is_null {
                    told.bytes += info.size;
                }
                return true;
            }
            changes.push(Change::DeleteVersion { key: key.clone(), version: info.sequence });
            told.bytes += info.size;
            match (version.is_marker, version.is_latest) {
                (true, _) => told.markers += 1,
                (false, true) => told.current += 1,
                (false, false) => told.noncurrent += 1,
            }
            true
        };
        self.with_bucket(bucket, |held| held.each_version(key, visit)).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use crate::bucket_meta::{SettingKind, ValueOwner};
    use crate::drive::Drive;
    use crate::format::settings::BucketSettings;
    use crate::handle::Engine;
    use crate::lock::{Lock, Retention, RetentionMode};
    use crate::object::{ETag, NewObject, NewVersion, PutCondition, VersionQuery};
    use crate::platform::Platform;
    use crate::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
    use crate::store::{FormatConfig, Store, format, recognise};
    use crate::units::CoreId;

    use super::*;

    const KEY: Bytes = Bytes::from_static(b"key");

    async fn started(machine: &Simulator) -> Engine {
        let medium = Medium::new(64 << 20);
        let drives = vec![Rc::new(SimulatedDrive::new(machine, &medium, Faults::default())) as Rc<dyn Drive>];
        let config = FormatConfig { shards: 1, now_ms: 1, store: 7, zone_bytes: Some(1 << 20) };
        assert!(recognise(&drives).await.expect("readable").is_none());
        let superblocks = format(&drives, config).await.expect("blank and large enough");
        let store = Store::new(superblocks, 1);
        let platform: Rc<dyn Platform> = Rc::new(machine.clone());
        let engine = store.start_core(CoreId(0), platform, drives).await.expect("recovers");
        while !store.is_ready() {
            machine.sleep_us(10).await;
        }
        engine
    }

    async fn put(engine: &Engine, key: &Bytes, size: usize, lock: Lock) {
        let bucket = engine.bucket("b").expect("there");
        let mut writer = engine.writer(&bucket, size as u64).await.expect("room");
        writer.write(Bytes::from(vec![7; size])).await.expect("written");
        let object = NewObject {
            condition: PutCondition::None,
            etag: ETag::default(),
            attributes: Bytes::new(),
            version: NewVersion::AsSet,
            lock,
        };
        writer.publish_object(key.clone(), object).await.expect("room");
    }

    /// Takes what its function says, and writes down what it was asked.
    struct Chooses<F>(F, bool);

    impl<F: FnMut(&ObjectVersion, bool) -> bool> Judge for Chooses<F> {
        fn begins(&mut self) -> bool {
            self.1
        }
        fn goes(&mut self, version: &ObjectVersion, has_older: bool) -> bool {
            (self.0)(version, has_older)
        }
    }

    async fn expire(
        engine: &Engine,
        max: usize,
        chooses: impl FnMut(&ObjectVersion, bool) -> bool + Send + 'static,
    ) -> Expired {
        let bucket = engine.bucket("b").expect("there");
        let job = move |bucket: crate::shard::local_bucket::LocalBucket| async move {
            bucket.expire(&[KEY, Bytes::from_static(b"other")], max, &mut Chooses(chooses, true)).await
        };
        engine.on_bucket(&bucket, ValueOwner::Jobs, job).await.expect("runs").expect("removed")
    }

    /// Sizes of the versions of the bucket, `M` for markers, a star behind those of the key's top.
    async fn shown(engine: &Engine) -> String {
        let bucket = engine.bucket("b").expect("there");
        let page = engine.list_versions(&bucket, VersionQuery { max: 100, ..VersionQuery::default() }).await;
        let shown = page.expect("listed").versions.into_iter().map(|version| {
            let size = if version.is_marker { "M".to_owned() } else { version.info.size.to_string() };
            format!("{size}{}", if version.is_latest { "*" } else { "" })
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    async fn set(engine: &Engine, kind: SettingKind, value: &'static str) {
        engine.set_setting("b", kind, Some(Bytes::from_static(value.as_bytes()))).await.expect("room");
    }

    fn run(test: impl AsyncFnOnce(Engine) + 'static) {
        let simulator = Simulator::new(3);
        let machine = simulator.clone();
        let ended = simulator.run(async move {
            let engine = started(&machine).await;
            engine.create_bucket("b", BucketSettings::default()).await.expect("a new name");
            test(engine.clone()).await;
            engine.stop().await;
        });
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn what_is_chosen_goes_as_versioning_says() {
        run(async |engine| {
            let other = Bytes::from_static(b"other");
            put(&engine, &KEY, 1, Lock::NONE).await;
            put(&engine, &other, 2, Lock::NONE).await;
            let told = expire(&engine, 9, |version, _| version.info.size == 1).await;
            assert_eq!(told, Expired { current: 1, bytes: 1, ..Expired::default() });
            assert_eq!(shown(&engine).await, "2*");
            set(&engine, SettingKind::VERSIONING, "Enabled").await;
            for size in [3, 4, 5] {
                put(&engine, &KEY, size, Lock::NONE).await;
            }
            // The top one gets a marker, and others go in the same record.
            let told = expire(&engine, 9, |version, _| [5, 3].contains(&version.info.size)).await;
            assert_eq!(told, Expired { marked: 1, noncurrent: 1, bytes: 3, ..Expired::default() });
            assert_eq!(shown(&engine).await, "M* 5 4 2*");
            // No more than asked for, and it is said where to go on.
            let told = expire(&engine, 1, |version, _| !version.is_latest).await;
            assert_eq!(told, Expired { noncurrent: 1, bytes: 5, next: Some(0), ..Expired::default() });
            let told = expire(&engine, 9, |version, has_older| version.is_marker && !has_older).await;
            assert_eq!(told, Expired::default());
            let told = expire(&engine, 9, |version, _| !version.is_latest).await;
            assert_eq!(told, Expired { noncurrent: 1, bytes: 4, ..Expired::default() });
            let told = expire(&engine, 9, |version, has_older| version.is_marker && !has_older).await;
            assert_eq!(told, Expired { markers: 1, ..Expired::default() });
            assert_eq!(shown(&engine).await, "2*");
            // The null version is replaced by the null marker, wherever it is.
            set(&engine, SettingKind::VERSIONING, "Suspended").await;
            put(&engine, &KEY, 6, Lock::NONE).await;
            set(&engine, SettingKind::VERSIONING, "Enabled").await;
            put(&engine, &KEY, 7, Lock::NONE).await;
            set(&engine, SettingKind::VERSIONING, "Suspended").await;
            assert_eq!(shown(&engine).await, "7* 6 2*");
            let told = expire(&engine, 9, |version, _| version.key == KEY).await;
            assert_eq!((told.marked, told.noncurrent, told.next), (1, 0, None));
            assert_eq!(shown(&engine).await, "M* 7 2*");
        });
    }

    #[test]
    fn locks_keep_their_versions_and_nothing_else() {
        run(async |engine| {
            set(&engine, SettingKind::VERSIONING, "Enabled").await;
            let held = Lock { legal_hold: true, ..Lock::NONE };
            let until_ms = engine.now_ms() + 1_000;
            let retention = Some(Retention { mode: RetentionMode::Governance, until_ms });
            put(&engine, &KEY, 1, held).await;
            put(&engine, &KEY, 2, Lock { retention, ..Lock::NONE }).await;
            put(&engine, &KEY, 3, Lock::NONE).await;
            put(&engine, &KEY, 4, held).await;
            let told = expire(&engine, 9, |_, _| true).await;
            let want = Expired { marked: 1, noncurrent: 1, bytes: 3, locked: 2, ..Expired::default() };
            assert_eq!(told, want);
            assert_eq!(shown(&engine).await, "M* 4 2 1");
            engine.sleep(std::time::Duration::from_secs(2)).await;
            let told = expire(&engine, 9, |version, _| !version.is_latest).await;
            assert_eq!(told, Expired { noncurrent: 1, bytes: 2, locked: 2, ..Expired::default() });
            assert_eq!(shown(&engine).await, "M* 4 1");
        });
    }

    #[test]
    fn nothing_goes_when_the_judge_does_not_begin() {
        run(async |engine| {
            put(&engine, &KEY, 1, Lock::NONE).await;
            let bucket = engine.bucket("b").expect("there");
            let job = |bucket: crate::shard::local_bucket::LocalBucket| async move {
                let mut judge = Chooses(|_: &ObjectVersion, _: bool| true, false);
                bucket.expire(&[KEY], 9, &mut judge).await
            };
            let told = engine.on_bucket(&bucket, ValueOwner::Jobs, job).await.expect("runs");
            assert_eq!(told, Ok(Expired::default()));
            assert_eq!(shown(&engine).await, "1*");
        });
    }
}
