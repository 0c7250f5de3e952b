//! Which buckets of this shard take changes, as the directory (shard 0) told their owner.
//!
//! `handle::directory` opens and closes them; `commit` asks before every change. I1. Nothing is told of a bucket whose
//! deletion failed in a way that only the next start can tell how. I2. A bucket is told to be gone only when its
//! deletion is durable: while that is on its way, who would have to be told waits. I3. Uploads of a bucket that is gone
//! give their space up by records of their own, as others do, so that a replay knows when it came free; `maintenance` writes
//! them, after a start too.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::Shard;
use crate::bucket_meta::{DefaultRetention, SettingKind, Versioning};
use crate::error::EngineError;
use crate::format::record::{Change, Record, SpaceEffect};
use crate::format::settings::BucketSettings;
use crate::limits::UPLOADS_ENDED_MAX;
use crate::lock::Lock;
use crate::meta::index::BucketIndex;
use crate::mutant::{Mutant, seeded};
use crate::notify::Notify;
use crate::object::NewVersion;
use crate::units::BucketId;

/// What the owner of a bucket has to know of its settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketRules {
    /// A setting that is binding and not honoured: the bucket takes no changes, and says so.
    unsupported: Option<SettingKind>,
    versioning: Versioning,
    /// The retention that new objects begin with.
    retention: Option<DefaultRetention>,
    /// How many bytes it may hold.
    quota: Option<u64>,
}

impl BucketRules {
    /// What the settings say.
    pub(crate) fn of(settings: &BucketSettings) -> BucketRules {
        let versioning = settings.versioning().unwrap_or_default();
        let retention = settings.lock().flatten().and_then(|rule| rule.default);
        let quota = settings.quota().flatten();
        BucketRules { unsupported: settings.unsupported(), versioning, retention, quota }
    }
}

/// How a bucket of the shard stands; one that is not listed is not made yet, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BucketState {
    /// It takes changes, as its rules say.
    Open(BucketRules),
    /// It was found empty and takes none; its deletion is on its way to the log of the directory.
    Deleting,
    /// Its deletion failed in a way that only the next start can tell how.
    Indeterminate,
}

/// The buckets of one shard.
#[derive(Default)]
pub(super) struct BucketStates {
    states: RefCell<HashMap<BucketId, BucketState>>,
    /// Buckets that are gone, with uploads in the index that are not.
    gone: RefCell<BTreeSet<BucketId>>,
    /// Told when a deletion came to its end.
    decided: Notify,
}

impl BucketStates {
    fn get(&self, bucket: BucketId) -> Option<BucketState> {
        self.states.borrow().get(&bucket).copied()
    }

    fn set(&self, bucket: BucketId, state: Option<BucketState>) {
        match state {
            Some(state) => self.states.borrow_mut().insert(bucket, state),
            None => self.states.borrow_mut().remove(&bucket),
        };
        self.decided.notify();
    }

    /// Resolves when no deletion of the bucket is on its way.
    pub(super) async fn decided(&self, bucket: BucketId) {
        let is_decided = || self.get(bucket) != Some(BucketState::Deleting);
        self.decided.until(|| is_decided().then_some(())).await;
    }
}

impl Shard {
    /// Whether the bucket takes writes: not before its creation, nor from the moment its deletion was decided.
    pub(crate) fn is_open(&self, bucket: BucketId) -> bool {
        matches!(self.bucket_states.get(bucket), Some(BucketState::Open(_)))
    }

    /// Has a bucket take writes as its settings say, unless it may have been deleted: the next start would forget them
    /// with it.
    pub(crate) fn open_bucket(&self, bucket: BucketId, rules: BucketRules) {
        let is_indeterminate = self.bucket_states.get(bucket) == Some(BucketState::Indeterminate);
        if !is_indeterminate || seeded(Mutant::IndeterminateReopened) {
            self.bucket_states.set(bucket, Some(BucketState::Open(rules)));
        }
    }

    /// Closes a bucket to writes if nothing is in it; returns whether it did. Whoever closed it says how its deletion
    /// ended: [`Shard::open_bucket`], [`Shard::bucket_deleted`] or [`Shard::mark_indeterminate`].
    pub(crate) fn close_bucket_if_empty(&self, bucket: BucketId) -> bool {
        let empty = self.with_bucket(bucket, BucketIndex::is_empty).unwrap_or(true);
        if empty && self.is_open(bucket) && !seeded(Mutant::BucketLeftOpen) {
            self.bucket_states.set(bucket, Some(BucketState::Deleting));
        }
        empty
    }

    /// Takes note that the deletion of a bucket is durable.
    pub(crate) fn bucket_deleted(&self, bucket: BucketId) {
        if !seeded(Mutant::BucketLeftOpen) {
            self.bucket_states.set(bucket, None);
            self.forget_bucket(bucket);
        }
    }

    /// Drops what the index has of a bucket that is gone; when there are uploads, once `maintenance` has ended them.
    fn forget_bucket(&self, bucket: BucketId) {
        let has_uploads =
            self.with_bucket(bucket, |bucket| !bucket.first_uploads(1).is_empty()).unwrap_or(false);
        if has_uploads && !seeded(Mutant::GoneUploadsKept) {
            self.bucket_states.gone.borrow_mut().insert(bucket);
            self.notify_gone_uploads();
        } else {
            self.index.borrow_mut().buckets.remove(&bucket);
        }
    }

    /// A bucket that is gone and has uploads in the index.
    pub(super) fn gone_bucket(&self) -> Option<BucketId> {
        self.bucket_states.gone.borrow().first().copied()
    }

    /// Ends the uploads of buckets that are gone. What fails is left to another call, at last after the next start.
    pub(super) async fn end_gone_uploads(&self) -> Result<(), EngineError> {
        while let Some(bucket) = self.gone_bucket() {
            let uploads = self.with_bucket(bucket, |bucket| bucket.first_uploads(UPLOADS_ENDED_MAX));
            let changes: Vec<Change> = uploads
                .unwrap_or_default()
                .into_iter()
                .map(|upload| Change::AbortUpload { upload })
                .collect();
            if changes.is_empty() {
                self.index.borrow_mut().buckets.remove(&bucket);
                self.bucket_states.gone.borrow_mut().remove(&bucket);
                continue;
            }
            let record = Record { bucket, changes };
            // Nobody else changes it, so there is nothing to check; and who makes room is the caller.
            self.log.room(record.encoded_bytes_max(), SpaceEffect::Frees).await?;
            let last = self.append_record(&record)?;
            self.durable(last).await?;
            self.reclaim();
            self.note_free_bytes();
        }
        Ok(())
    }

    /// Says nothing more of a bucket and takes nothing for it: whether it is still there is known only after the next
    /// start.
    pub(crate) fn mark_indeterminate(&self, bucket: BucketId) {
        self.bucket_states.set(bucket, Some(BucketState::Indeterminate));
    }

    /// Forgets what deleted buckets left in the index, if anything.
    pub(crate) fn forget_buckets_except(&self, known: &HashSet<BucketId>) {
        let gone: Vec<BucketId> =
            self.index.borrow().buckets.keys().filter(|bucket| !known.contains(bucket)).copied().collect();
        gone.into_iter().for_each(|bucket| self.forget_bucket(bucket));
    }

    /// The lock of what is written now: its own, or what the bucket's objects begin with.
    pub(super) fn lock_of(&self, bucket: BucketId, lock: Lock, written_ms: u64) -> Lock {
        let retention = match self.bucket_states.get(bucket) {
            Some(BucketState::Open(rules)) => rules.retention.map(|default| default.from(written_ms)),
            _ => None,
        };
        Lock { retention: lock.retention.or(retention), ..lock }
    }

    /// How many bytes the bucket may hold, if that is bounded.
    pub(super) fn quota(&self, bucket: BucketId) -> Option<u64> {
        match self.bucket_states.get(bucket) {
            Some(BucketState::Open(rules)) => rules.quota,
            _ => None,
        }
    }

    /// What becomes of versions in the bucket.
    pub(super) fn versioning(&self, bucket: BucketId) -> Versioning {
        match self.bucket_states.get(bucket) {
            Some(BucketState::Open(rules)) => rules.versioning,
            _ => Versioning::Unset,
        }
    }

    /// Whether a write makes one more version of its key, or its null version.
    pub(super) fn makes_another(&self, bucket: BucketId, version: NewVersion) -> bool {
        match version {
            NewVersion::Null => false,
            NewVersion::Another => true,
            NewVersion::AsSet => self.versioning(bucket) == Versioning::Enabled,
        }
    }

    /// [`EngineError::UnsupportedSetting`] when the bucket takes no changes because of one.
    pub(super) fn check_supported(&self, bucket: BucketId) -> Result<(), EngineError> {
        match self.bucket_states.get(bucket) {
            Some(BucketState::Open(BucketRules { unsupported: Some(kind), .. })) => {
                Err(EngineError::UnsupportedSetting { kind })
            }
            _ => Ok(()),
        }
    }

    /// [`EngineError::ReadOnly`] when nobody can tell whether the bucket is there.
    pub(super) fn check_determinate(&self, bucket: BucketId) -> Result<(), EngineError> {
        match self.bucket_states.get(bucket) {
            Some(BucketState::Indeterminate) => Err(EngineError::ReadOnly { shard: self.context.id }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::bucket_meta::ValueOwner;
    use crate::drive::Drive;
    use crate::handle::{Bucket, BucketError, Engine};
    use crate::lock::Lock;
    use crate::object::{
        Completion, ETag, ListQuery, NewVersion, PutCondition, PutRefused, Revision, UploadId, WriteError,
    };
    use crate::platform::Platform;
    use crate::platform::simulated::{Faults, Medium, Rates, SimulatedDrive, Simulator};
    use crate::shard::commit::Verdict;
    use crate::shard::transaction::Transaction;
    use crate::store::{FormatConfig, Store, format, recognise};
    use crate::units::{CoreId, Sequence, ShardId};

    /// A store of two shards with a drive each, and a bucket on the second: its deletion is recorded on the first
    /// drive.
    struct Scene {
        machine: Simulator,
        engine: Engine,
        directory_drive: SimulatedDrive,
        bucket: Arc<Bucket>,
        upload: UploadId,
    }

    fn scene(act: impl AsyncFnOnce(Scene) + 'static) {
        let simulator = Simulator::new(5);
        let machine = simulator.clone();
        let ended = simulator.run(async move {
            let device = || SimulatedDrive::new(&machine, &Medium::new(64 << 20), Faults::default());
            let (first, second) = (device(), device());
            let drives =
                || vec![Rc::new(first.clone()) as Rc<dyn Drive>, Rc::new(second.clone()) as Rc<dyn Drive>];
            let config = FormatConfig { shards: 2, now_ms: 1, store: 7, zone_bytes: Some(1 << 20) };
            let superblocks = format(&drives(), config).await.expect("blank and large enough");
            let store = Store::new(superblocks, 1);
            let platform: Rc<dyn Platform> = Rc::new(machine.clone());
            let engine = store.start_core(CoreId(0), platform, drives()).await.expect("recovers");
            while !store.is_ready() {
                machine.sleep_us(10).await;
            }
            engine.create_bucket("here", BucketSettings::default()).await.expect("a new name");
            let bucket = engine.create_bucket("there", BucketSettings::default()).await.expect("a new name");
            assert_eq!(bucket.shard, ShardId(1));
            act(Scene { machine, engine, directory_drive: first, bucket, upload: UploadId(9) }).await;
        });
        assert_eq!(ended, Ok(()));
    }

    /// What each command that changes something says of the bucket.
    async fn told_of(scene: &Scene) -> Vec<(&'static str, Result<bool, EngineError>)> {
        let (engine, bucket, id) = (&scene.engine, &scene.bucket, scene.upload);
        let (key, none) = (Bytes::from_static(b"key"), Bytes::new());
        let writer = async || engine.writer(bucket, 0).await.expect("nothing to reserve");
        let put = writer().await.publish(key.clone(), PutCondition::None, ETag::default(), none.clone());
        let part = writer().await.publish_part(id, 1, ETag::default(), none.clone());
        let completion = Completion {
            parts: vec![],
            condition: PutCondition::None,
            etag: ETag::default(),
            attributes: none.clone(),
            receipt: none.clone(),
            lock: Lock::NONE,
        };
        let complete = engine.complete_upload(bucket, id, completion);
        let change =
            |_: &_| Ok::<_, ()>(Revision { attributes: Bytes::new(), lock: Lock::NONE, bypass: true });
        let found = |told: Result<bool, WriteError>| told.or_else(|error| error.refused_as(false));
        vec![
            ("put", found(put.await.map(|_| true))),
            ("delete", found(engine.delete_if(bucket, key.clone(), PutCondition::None).await)),
            (
                "marker",
                found(engine.mark_deleted(bucket, key.clone(), NewVersion::Another).await.map(|_| true)),
            ),
            ("delete version", found(engine.delete_version(bucket, key.clone(), Sequence(1)).await)),
            ("revise", found(engine.revise(bucket, key.clone(), None, change).await.map(|_| true))),
            ("open upload", found(engine.create_upload(bucket, key, none).await.map(|_| true))),
            ("part", found(part.await.map(|_| true))),
            ("complete", found(complete.await.map(|_| true))),
            ("abort", engine.abort_upload(bucket, id).await),
        ]
    }

    /// A deletion whose record could not be written: whether the bucket is there is known after the next start only.
    #[test]
    fn of_an_indeterminate_bucket_nothing_is_told() {
        scene(async |scene| {
            let rates = Rates { write_error: 10_000, ..Rates::default() };
            scene.directory_drive.set_faults(Faults { rates, ..Faults::default() });
            let deleted = scene.engine.delete_bucket("there").await;
            assert!(matches!(deleted, Err(BucketError::Engine(_))), "{deleted:?}");
            for (command, told) in told_of(&scene).await {
                let shard = ShardId(1);
                assert_eq!(told, Err(EngineError::ReadOnly { shard }), "{command}");
            }
        });
    }

    /// While a deletion is on its way to the drive, it may still fail.
    #[test]
    fn a_bucket_is_gone_when_its_deletion_is_durable() {
        for fails in [false, true] {
            scene(async move |scene| {
                let write_error = if fails { 10_000 } else { 0 };
                let rates = Rates { slow: 10_000, write_error, ..Rates::default() };
                scene.directory_drive.set_faults(Faults { rates, latency_us_max: 100, ..Faults::default() });
                let shard = |id| scene.engine.core.shard(ShardId(id)).expect("on the one core");
                let (directory, shard) = (shard(0), shard(1));
                let before = directory.last_sequence();
                let engine = scene.engine.clone();
                scene.machine.spawn(async move { drop(engine.delete_bucket("there").await) });
                while shard.is_open(scene.bucket.id) {
                    scene.machine.sleep_us(1).await;
                }
                let log = &directory.log.watermark;
                assert!(log.value() == before && !log.has_failed(), "it is on its way");
                let (engine, bucket) = (&scene.engine, &scene.bucket);
                let upload = engine.create_upload(bucket, Bytes::from_static(b"key"), Bytes::new()).await;
                let gone = match fails {
                    true => WriteError::Engine(EngineError::ReadOnly { shard: ShardId(1) }),
                    false => WriteError::Refused(PutRefused::NoSuchBucket),
                };
                assert_eq!(upload, Err(gone));
                assert_eq!((before < log.value(), log.has_failed()), (!fails, fails));
            });
        }
    }

    /// A store of one shard on `medium`, as after a start.
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

    /// A store in which a newer program gave `there` the setting `kind`, opened by this one.
    fn with_setting(kind: SettingKind, act: impl AsyncFnOnce(Scene) + 'static) {
        let simulator = Simulator::new(6);
        let machine = simulator.clone();
        let ended = simulator.run(async move {
            let medium = Medium::new(64 << 20);
            let engine = started(&machine, &medium).await;
            let made = engine.create_bucket("there", BucketSettings::default()).await.expect("a new name");
            let writer = engine.writer(&made, 0).await.expect("nothing to reserve");
            let (key, tag) = (Bytes::from_static(b"key"), ETag::default());
            writer.publish(key, PutCondition::None, tag, Bytes::new()).await.expect("room");
            let upload = engine.create_upload(&made, Bytes::from_static(b"parts"), Bytes::new()).await;
            let upload = upload.expect("room");
            let settings = made.settings.with(kind, Some(Bytes::from_static(b"newer")));
            let (shard, created_ms) = (made.shard, made.created_ms);
            let name = Bytes::from_static(b"there");
            let changes = vec![Change::SetBucket { name, shard, created_ms, settings }];
            let directory = engine.core.shard(ShardId(0)).expect("on the one core");
            let record = Record { bucket: made.id, changes };
            directory.commit(record, false, None, |_| Ok(Verdict::Append(()))).await.expect("room");
            engine.stop().await;
            let engine = started(&machine, &medium).await;
            let bucket = engine.bucket("there").expect("it is there");
            let directory_drive = SimulatedDrive::new(&machine, &medium, Faults::default());
            act(Scene { machine, engine, directory_drive, bucket, upload }).await;
        });
        assert_eq!(ended, Ok(()));
    }

    async fn append_value(scene: &Scene) -> Result<Sequence, EngineError> {
        let appended = scene.engine.on_bucket(&scene.bucket, ValueOwner::Jobs, |bucket| async move {
            bucket.room(100).await?;
            let values = vec![(Bytes::from_static(b"0"), Some(Bytes::new()))];
            bucket.append(Transaction { values, ..Transaction::default() })
        });
        appended.await?
    }

    #[test]
    fn a_setting_that_binds_and_is_not_honoured_stops_every_change_and_no_read() {
        for kind in [SettingKind::of(99), SettingKind::VERSIONING, SettingKind::LOCK] {
            with_setting(kind, async move |scene| {
                let refused = EngineError::UnsupportedSetting { kind };
                let (engine, bucket) = (&scene.engine, &scene.bucket);
                assert_eq!(engine.writer(bucket, 10).await.err(), Some(refused.clone()));
                // A writer that was begun before the setting was known.
                let before = Arc::new(Bucket { settings: BucketSettings::default(), ..(**bucket).clone() });
                let unaware = Scene { bucket: before, machine: scene.machine.clone(), ..scene };
                for (command, told) in told_of(&unaware).await {
                    assert_eq!(told, Err(refused.clone()), "{command}");
                }
                assert_eq!(append_value(&unaware).await, Err(refused.clone()));
                let engine = &unaware.engine;
                let changed = Err(BucketError::Engine(refused));
                assert_eq!(engine.delete_bucket("there").await, changed);
                let tags = engine.set_setting("there", SettingKind::TAGS, Some(Bytes::new())).await;
                assert_eq!(tags.map(|_| ()), changed);
                let key = Bytes::from_static(b"key");
                assert!(engine.head(&unaware.bucket, key).await.expect("readable").is_some());
                let listed =
                    engine.list(&unaware.bucket, ListQuery { max: 10, ..ListQuery::default() }).await;
                assert_eq!(listed.expect("readable").objects.len(), 1);
            });
        }
    }

    #[test]
    fn a_setting_that_does_not_bind_stays_and_stops_nothing() {
        with_setting(SettingKind::of(200), async |scene| {
            let (engine, bucket) = (&scene.engine, &scene.bucket);
            let writer = engine.writer(bucket, 0).await.expect("nothing to reserve");
            let (key, tag) = (Bytes::from_static(b"more"), ETag::default());
            writer.publish(key, PutCondition::None, tag, Bytes::new()).await.expect("it takes changes");
            append_value(&scene).await.expect("it takes changes");
            let tags = Some(Bytes::from_static(b"a=b"));
            let set =
                engine.set_setting("there", SettingKind::TAGS, tags.clone()).await.expect("it takes changes");
            let newer = BucketSettings::of(SettingKind::of(200), Bytes::from_static(b"newer"));
            assert_eq!(set.settings, newer.with(SettingKind::TAGS, tags));
        });
    }
}
