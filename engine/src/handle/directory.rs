//! Buckets: the directory that every core has a snapshot of, and the one place where it changes (shard 0).
//!
//! I1. One change of a bucket at a time: the name is held in `changing` until its change is durable and known on every
//! core. I2. A bucket is deleted only after its shard has closed it to writes, empty.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::{Core, Engine};
use crate::bucket_meta::{SettingKind, Versioning};
use crate::error::EngineError;
use crate::format::record::{Change, Record};
use crate::format::settings::BucketSettings;
use crate::limits::{BUCKETS_MAX, SETTING_BYTES_MAX, SETTINGS_BYTES_MAX};
use crate::meta::index::DirectoryEntry;
use crate::mutant::{Mutant, seeded};
use crate::object::{WriteError, check_key};
use crate::shard::{BucketRules, Shard, Verdict};
use crate::units::{BucketId, CoreId, ShardId};

/// The shard that keeps the directory.
pub(crate) const DIRECTORY_SHARD: ShardId = ShardId(0);

/// All buckets at one moment, ordered by name.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// By name.
    pub buckets: BTreeMap<Arc<str>, Arc<Bucket>>,
    /// The log of the directory is damaged: buckets may be missing here, and some may have been deleted since.
    pub(crate) is_damaged: bool,
    /// Names whose creation or deletion failed in a way that only the next start can tell how.
    indeterminate: BTreeSet<Arc<str>>,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: Arc<str>,
    /// Its id: a bucket that is deleted and made again has another.
    pub id: BucketId,
    /// The shard that owns it.
    pub shard: ShardId,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// What is set for it, at most `SETTINGS_BYTES_MAX`.
    pub settings: BucketSettings,
}

/// Why a bucket was not made, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketError {
    /// There is one of that name.
    Exists,
    /// There is none.
    NoSuchBucket,
    /// It holds versions of objects, or values of a layer above.
    NotEmpty,
    /// A bucket with object lock keeps versions and its lock.
    LockNeedsVersions,
    /// A bucket of the catalog has no rule of encryption: the catalog reads and writes bytes as they lie.
    CatalogUnencrypted,
    /// `BUCKETS_MAX` is reached.
    TooMany,
    /// Something below failed.
    Engine(EngineError),
}

impl From<EngineError> for BucketError {
    fn from(e: EngineError) -> Self {
        BucketError::Engine(e)
    }
}

impl Engine {
    /// All buckets as this core knows them; [`EngineError::ReadOnly`] when the directory is damaged, or a change of it
    /// failed in a way that only the next start can tell how.
    pub fn directory(&self) -> Result<Arc<Directory>, EngineError> {
        let directory = self.core.directory.borrow();
        match directory.is_damaged || !directory.indeterminate.is_empty() {
            true => Err(EngineError::ReadOnly { shard: DIRECTORY_SHARD }),
            false => Ok(directory.clone()),
        }
    }

    /// The bucket of that name: [`BucketError::NoSuchBucket`] when there is none, [`EngineError::ReadOnly`] when nobody
    /// can tell because the directory is damaged, or because the bucket's creation or deletion failed halfway.
    ///
    /// A bucket found in a damaged directory may have been deleted since. It was empty then, so an object that is found
    /// in it tells that it was not; that something is not in it is never told.
    pub fn bucket(&self, name: &str) -> Result<Arc<Bucket>, BucketError> {
        let directory = self.core.directory.borrow();
        let found = directory.buckets.get(name);
        let may_be_lost = found.is_none() && directory.is_damaged && !seeded(Mutant::DirectoryTakenAsWhole);
        if may_be_lost || directory.indeterminate.contains(name) {
            return Err(EngineError::ReadOnly { shard: DIRECTORY_SHARD }.into());
        }
        found.cloned().ok_or(BucketError::NoSuchBucket)
    }

    /// How many buckets this core knows.
    pub fn bucket_count(&self) -> usize {
        self.core.directory.borrow().buckets.len()
    }

    /// Makes a bucket on the shard with the fewest, durable and known everywhere on return.
    ///
    /// [`EngineError::UnsupportedSetting`] when it could take no changes with such settings; [`EngineError::TooLarge`]
    /// over `SETTING_BYTES_MAX` and `SETTINGS_BYTES_MAX`.
    pub async fn create_bucket(
        &self,
        name: &str,
        settings: BucketSettings,
    ) -> Result<Arc<Bucket>, BucketError> {
        check_key(name.as_bytes())?;
        check_settings(&settings)?;
        let name: Arc<str> = name.into();
        self.at_directory(name.clone(), move |engine, shard| async move {
            if !may_follow(&BucketSettings::default(), &settings) {
                return Err(BucketError::LockNeedsVersions);
            }
            let directory = engine.directory()?;
            if directory.buckets.contains_key(&name) {
                return Err(BucketError::Exists);
            }
            if BUCKETS_MAX <= directory.buckets.len() {
                return Err(BucketError::TooMany);
            }
            let id = {
                // Taken here and now: another creation may be waiting for the log.
                let mut index = shard.index.borrow_mut();
                index.last_bucket.0 += 1;
                index.last_bucket
            };
            let bucket = Bucket {
                id,
                shard: least_loaded(&directory, engine.core.shared.stats.len()),
                created_ms: shard.now_ms(),
                name,
                settings,
            };
            if let Err(error) = engine.record_bucket(&shard, &bucket).await {
                if !error.is_surely_unlogged() {
                    engine.mark_name_indeterminate(bucket.name).await?;
                }
                return Err(error.into());
            }
            engine.make_known(bucket).await
        })
        .await
    }

    /// Sets one setting of a bucket, or (`None`) removes it, durable and known everywhere on return. All others stay.
    ///
    /// [`BucketError::LockNeedsVersions`] for object lock without versions, and when it would be taken off;
    /// [`BucketError::CatalogUnencrypted`] for a rule of encryption together with the mark of the catalog.
    /// [`EngineError::UnsupportedSetting`] for a kind that is binding and not honoured by this program, whether it is
    /// asked for or there already; [`EngineError::TooLarge`] over `SETTING_BYTES_MAX` and `SETTINGS_BYTES_MAX`.
    pub async fn set_setting(
        &self,
        name: &str,
        kind: SettingKind,
        value: Option<Bytes>,
    ) -> Result<Arc<Bucket>, BucketError> {
        let name: Arc<str> = name.into();
        self.at_directory(name.clone(), move |engine, shard| async move {
            let found = engine.bucket(&name)?;
            check_supported(&found.settings)?;
            let settings = found.settings.with(kind, value);
            check_settings(&settings)?;
            if !may_follow(&found.settings, &settings) {
                return Err(BucketError::LockNeedsVersions);
            }
            let has = |kind| settings.get(kind).is_some();
            if has(SettingKind::CATALOG) && has(SettingKind::ENCRYPTION) {
                return Err(BucketError::CatalogUnencrypted);
            }
            let bucket = Bucket { settings, ..(*found).clone() };
            if let Err(error) = engine.record_bucket(&shard, &bucket).await {
                // A lock or a quota may be set at the next start: nothing more may be acknowledged in this bucket.
                if !error.is_surely_unlogged() {
                    engine.mark_indeterminate(&bucket).await?;
                }
                return Err(error.into());
            }
            engine.make_known(bucket).await
        })
        .await
    }

    /// Deletes a bucket, durable and known everywhere on return. Refused while it holds objects or values; open uploads go
    /// with it, and their space comes back soon after.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), BucketError> {
        let name: Arc<str> = name.into();
        self.at_directory(name.clone(), move |engine, shard| async move {
            let bucket = engine.bucket(&name)?;
            check_supported(&bucket.settings)?;
            let (id, rules) = (bucket.id, BucketRules::of(&bucket.settings));
            let closed = engine.on_shard(bucket.shard, move |owner| async move {
                let closed = owner.close_bucket_if_empty(id);
                // What emptied it may not be durable yet: a bucket that a crash would fill again is not empty.
                let emptied = owner.durable_read(id, |_| ()).await;
                emptied.map(|_| closed).inspect_err(|_| owner.open_bucket(id, rules))
            });
            if !closed.await?? {
                return Err(BucketError::NotEmpty);
            }
            let clear = Change::ClearBucket { name: Bytes::copy_from_slice(name.as_bytes()) };
            let record = Record { bucket: id, changes: vec![clear] };
            if let Err(error) = commit(&shard, record).await {
                // When the record may be in the log after all, nothing more may be acknowledged in this bucket.
                match error.is_surely_unlogged() {
                    true => engine.reopen(&bucket).await?,
                    false => engine.mark_indeterminate(&bucket).await?,
                }
                return Err(error.into());
            }
            engine.everywhere(move |core| core.change_directory(|d| d.buckets.remove(&name))).await?;
            // Who was refused by the owner finds it nowhere.
            engine.at_owner(bucket.shard, move |owner| owner.bucket_deleted(id)).await?;
            Ok(())
        })
        .await
    }

    /// Runs `change` on the core of the directory, alone for that name.
    async fn at_directory<T, F, Fut>(&self, name: Arc<str>, change: F) -> Result<T, BucketError>
    where
        T: Send + 'static,
        F: FnOnce(Engine, Rc<Shard>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, BucketError>> + 'static,
    {
        let run = move |core: &Rc<Core>| {
            let core = core.clone();
            async move {
                let shard =
                    core.shard(DIRECTORY_SHARD).ok_or(EngineError::ReadOnly { shard: DIRECTORY_SHARD })?;
                core.changed.until(|| core.changing.borrow_mut().insert(name.clone()).then_some(())).await;
                // After a failure nobody can tell what the directory will be at the next start: not even a refusal is
                // certain.
                let has_failed = shard.log.watermark.has_failed() && !seeded(Mutant::IndeterminateReopened);
                let result = match has_failed {
                    true => Err(EngineError::ReadOnly { shard: DIRECTORY_SHARD }.into()),
                    false => change(Engine { core: core.clone() }, shard).await,
                };
                core.changing.borrow_mut().remove(&name);
                core.changed.notify();
                result
            }
        };
        self.on_core(CoreId(0), run).await?
    }

    async fn record_bucket(&self, shard: &Rc<Shard>, bucket: &Bucket) -> Result<(), EngineError> {
        let set = Change::SetBucket {
            name: Bytes::copy_from_slice(bucket.name.as_bytes()),
            shard: bucket.shard,
            created_ms: bucket.created_ms,
            settings: bucket.settings.clone(),
        };
        commit(shard, Record { bucket: bucket.id, changes: vec![set] }).await
    }

    /// Has nobody say anything more of a bucket until the next start tells.
    async fn mark_indeterminate(&self, bucket: &Bucket) -> Result<(), EngineError> {
        let id = bucket.id;
        self.at_owner(bucket.shard, move |owner| owner.mark_indeterminate(id)).await?;
        self.mark_name_indeterminate(bucket.name.clone()).await
    }

    /// Has no core say whether there is a bucket of that name.
    async fn mark_name_indeterminate(&self, name: Arc<str>) -> Result<(), EngineError> {
        if seeded(Mutant::IndeterminateReopened) {
            return Ok(());
        }
        self.everywhere(move |core| core.change_directory(|d| d.indeterminate.insert(name.clone()))).await
    }

    async fn make_known(&self, bucket: Bucket) -> Result<Arc<Bucket>, BucketError> {
        let bucket = Arc::new(bucket);
        let known = bucket.clone();
        self.reopen(&bucket).await?;
        self.everywhere(move |core| {
            core.change_directory(|directory| directory.buckets.insert(known.name.clone(), known.clone()))
        })
        .await?;
        Ok(bucket)
    }

    /// Has the owner take writes of a bucket.
    async fn reopen(&self, bucket: &Bucket) -> Result<(), EngineError> {
        let (id, shard, rules) = (bucket.id, bucket.shard, BucketRules::of(&bucket.settings));
        self.at_owner(shard, move |owner| owner.open_bucket(id, rules)).await
    }

    /// Tells the owner of a bucket, however long its mailbox is full.
    async fn at_owner(
        &self,
        shard: ShardId,
        job: impl Fn(&Shard) + Clone + Send + 'static,
    ) -> Result<(), EngineError> {
        self.at_last(self.core.core_of(shard), move |core| {
            if let Some(owner) = core.shard(shard) {
                job(&owner);
            }
        })
        .await
    }

    /// Runs `job` on every core and waits until all have.
    async fn everywhere(&self, job: impl Fn(&Rc<Core>) + Clone + Send + 'static) -> Result<(), EngineError> {
        for core in 0..self.core.shared.mesh.cores() {
            self.at_last(CoreId(core), job.clone()).await?;
        }
        Ok(())
    }

    /// Runs `job` on a core however long its mailbox is full: what is durable must become known.
    async fn at_last(
        &self,
        to: CoreId,
        job: impl Fn(&Rc<Core>) + Clone + Send + 'static,
    ) -> Result<(), EngineError> {
        loop {
            let job = job.clone();
            let run = move |core: &Rc<Core>| {
                job(core);
                std::future::ready(())
            };
            match self.on_core(to, run).await {
                Err(EngineError::Busy { .. }) => {}
                other => return other,
            }
        }
    }
}

impl Core {
    fn change_directory<T>(&self, change: impl FnOnce(&mut Directory) -> T) {
        let mut snapshot = self.directory.borrow_mut();
        change(Arc::make_mut(&mut snapshot));
    }
}

fn check_settings(settings: &BucketSettings) -> Result<(), EngineError> {
    let largest = settings.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    let bounds = [
        ("SETTING_BYTES_MAX", SETTING_BYTES_MAX, largest),
        ("SETTINGS_BYTES_MAX", SETTINGS_BYTES_MAX, settings.encoded_bytes()),
    ];
    match bounds.into_iter().find(|(_, max, got)| max < got) {
        Some((limit, max, got)) => Err(EngineError::TooLarge { limit, max: max as u64, got: got as u64 }),
        None => check_supported(settings),
    }
}

/// Whether settings may come after others: object lock stays, and with it versions are kept.
fn may_follow(before: &BucketSettings, settings: &BucketSettings) -> bool {
    let has_lock = |settings: &BucketSettings| settings.get(SettingKind::LOCK).is_some();
    let keeps_versions = settings.versioning() == Some(Versioning::Enabled);
    (has_lock(settings) && keeps_versions) || (!has_lock(settings) && !has_lock(before))
}

fn check_supported(settings: &BucketSettings) -> Result<(), EngineError> {
    settings.unsupported().map_or(Ok(()), |kind| Err(EngineError::UnsupportedSetting { kind }))
}

/// Commits a change of the directory. What might refuse it was looked at before, with the name held.
async fn commit(shard: &Shard, record: Record) -> Result<(), EngineError> {
    match shard.commit(record, false, None, |_| Ok(Verdict::Append(()))).await {
        Ok(_) => Ok(()),
        Err(WriteError::Refused(_)) => Err(EngineError::BucketClosed),
        Err(WriteError::Engine(error)) => Err(error),
    }
}

/// The shard with the fewest buckets, the lowest of equals.
fn least_loaded(directory: &Directory, shards: usize) -> ShardId {
    let mut counts = vec![0_u32; shards];
    for bucket in directory.buckets.values() {
        if let Some(count) = counts.get_mut(usize::from(bucket.shard.0)) {
            *count += 1;
        }
    }
    let least = (0_u16..).zip(&counts).min_by_key(|(_, count)| **count);
    ShardId(least.map_or(0, |(shard, _)| shard))
}

/// The directory as the records of shard 0 tell it.
pub(crate) fn directory_of(entries: &BTreeMap<Bytes, DirectoryEntry>, is_damaged: bool) -> Directory {
    let buckets = entries.iter().map(|(name, entry)| {
        let name: Arc<str> = String::from_utf8_lossy(name).into();
        let bucket = Bucket {
            name: name.clone(),
            id: entry.id,
            shard: entry.shard,
            created_ms: entry.created_ms,
            settings: entry.settings.clone(),
        };
        (name, Arc::new(bucket))
    });
    Directory { buckets: buckets.collect(), is_damaged, indeterminate: BTreeSet::new() }
}
