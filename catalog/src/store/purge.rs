//! Purges at work: they delete what a dropped table's metadata reaches, and nothing else, behind the answer to the drop.
//!
//! `table` begins one in the record of the drop, `rest` has them worked off: one at a time for each shard, on the owner's
//! core, the oldest first; after a restart they go on. Read (await) → decode on the control pool (`reach`) → delete a few
//! (sync, one record with how far it is) → let others have their turn.
//! I1. What names other files goes behind them: data and delete files, then each snapshot's manifests and its list, then
//! statistics and metadata files, the root with the purge's own value. So whoever goes on finds what is left to do.
//! I2. Deleting again what is gone changes nothing and counts nothing. I3. Files outside of the table's locations are neither
//! read nor deleted, whoever asks: who writes to a table may name any file in its metadata. The root itself is
//! read, as whoever loads the table does. I4. What cannot be read or deleted is counted and named,
//! and the rest goes on; what cannot be read stays, with all that leads to it. I5. No turn takes a core for longer than
//! [`PURGE_KEYS_MAX`] look-ups and removals.
//! I6. The newest metadata file of a table is never deleted, whoever names it: looked up in the turn that deletes.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use nilas_engine::{BucketError, BucketId, Engine, EngineError, LocalBucket, Sequence, Transaction};

use crate::limits::{
    PURGE_AGAIN_MS, PURGE_ATTEMPTS_MAX, PURGE_FILE_BYTES_MAX, PURGE_KEPT_MAX, PURGE_KEYS_MAX,
    PURGE_MANIFESTS_MAX, PURGE_RECORDS_MAX, PURGE_RETRY_MS,
};
use crate::model::{Purge, PurgePhase};
use crate::store::failure::CatalogError;
use crate::store::location::{OwnPlaces, file_of};
use crate::store::metadata_file;
use crate::store::purge_state::{PurgeFigures, PurgeStatus};
use crate::store::reach::{self, Files, Manifest, Root, SnapshotFiles};
use crate::store::state::CatalogState;
use crate::store::{Store, on_owner_core, values};

/// What purges need of the layer above. Shared by all cores.
pub(crate) struct PurgeContext {
    pub(crate) figures: Arc<PurgeFigures>,
    /// Told of what ended and of what could not be done.
    pub(crate) report: fn(fmt::Arguments<'_>),
}

impl Store {
    /// Has the open purges of this warehouse worked off, unless somebody of this shard is at it.
    pub(crate) fn start_purges(&self, engine: &Engine, context: &Arc<PurgeContext>) {
        let newly = self.warehouse.borrow_mut().purges.count_open();
        context.figures.open.fetch_add(newly, Relaxed);
        if self.state.purging.replace(true) {
            return;
        }
        let json_attributes = self.json_attributes.clone();
        let runner = Runner {
            engine: engine.clone(),
            state: Rc::clone(&self.state),
            json_attributes,
            context: Arc::clone(context),
        };
        engine.spawn(runner.run());
    }
}

/// Whether a bucket has open purges, looked up without building the warehouse from its values.
pub(crate) fn has_open(bucket: &LocalBucket) -> bool {
    let mut found = false;
    bucket.values(values::PURGES, |key, value| {
        // What cannot be read is an error for whoever uses the warehouse.
        found = values::purge_of(key, value, "").is_some_and(|purge| purge.ended_ms.is_none());
        !found
    });
    found
}

/// The purges of a warehouse, at most `max`, and how many there are: from memory or, where it was not built yet, from its
/// values.
pub(crate) fn statuses(bucket: &LocalBucket, name: &Arc<str>, max: usize) -> (Vec<PurgeStatus>, usize) {
    if let Some(warehouse) = bucket.extension::<CatalogState>().get(bucket.id()) {
        return warehouse.borrow().purges.statuses(name, max);
    }
    let (mut some, mut count) = (Vec::new(), 0);
    bucket.values(values::PURGES, |key, value| {
        count += 1;
        if some.len() < max {
            some.extend(values::purge_of(key, value, name).map(|purge| purge.status(name, None)));
        }
        true
    });
    (some, count)
}

/// Works off the purges of one shard.
struct Runner {
    engine: Engine,
    state: Rc<CatalogState>,
    json_attributes: Bytes,
    context: Arc<PurgeContext>,
}

impl Runner {
    async fn run(self) {
        let mut stuck: BTreeSet<(BucketId, String)> = BTreeSet::new();
        let mut waited = Duration::ZERO;
        loop {
            let Some((bucket, name, key)) = self.state.oldest_purge(&stuck) else {
                if stuck.is_empty() {
                    break;
                }
                // Others that begin meanwhile do not wait as long.
                self.engine.sleep(RETRY_AFTER).await;
                waited += RETRY_AFTER;
                if Duration::from_millis(PURGE_AGAIN_MS) <= waited {
                    stuck.clear();
                    waited = Duration::ZERO;
                }
                continue;
            };
            self.set_trouble(bucket, &key, None);
            match self.purge(&name, key.clone()).await {
                Ok(()) => {}
                // The next start goes on.
                Err(CatalogError::Engine(EngineError::Stopping)) => return,
                Err(failure) => {
                    let why = failure.answer().message;
                    (self.context.report)(format_args!("the purge of s3://{name}/{key} waits: {why}"));
                    self.set_trouble(bucket, &key, Some(why));
                    stuck.insert((bucket, key));
                }
            }
        }
        self.state.purging.set(false);
    }

    fn set_trouble(&self, bucket: BucketId, key: &str, trouble: Option<String>) {
        if let Some(warehouse) = self.state.get(bucket) {
            warehouse.borrow_mut().purges.set_trouble(key, trouble);
        }
    }

    async fn purge(&self, name: &str, key: String) -> Result<(), CatalogError> {
        let bucket = match self.engine.bucket(name) {
            Ok(bucket) => bucket,
            Err(BucketError::Engine(error)) => return Err(error.into()),
            Err(_) => return Err(CatalogError::NoSuchWarehouse(name.to_owned())),
        };
        let context = Arc::clone(&self.context);
        let job = move |engine, store| async move {
            let mut purging = Purging {
                store,
                engine,
                context,
                key,
                own: Arc::default(),
                unsettled: 0,
                seen: HashSet::new(),
                kept: HashSet::new(),
                keeps_all: false,
            };
            purging.run().await
        };
        on_owner_core(&self.engine, &bucket, &self.json_attributes, job).await
    }
}

/// One purge at work.
struct Purging {
    store: Store,
    engine: Engine,
    context: Arc<PurgeContext>,
    /// The location key that it is known by.
    key: String,
    /// Where the table's own files are.
    own: Arc<OwnPlaces>,
    /// Records that were not waited for.
    unsettled: usize,
    /// Digests of manifests that this phase has done.
    seen: HashSet<[u8; 16]>,
    /// Digests of manifest lists and manifests that are there and were not readable, at most [`PURGE_KEPT_MAX`].
    kept: HashSet<[u8; 16]>,
    /// There are more of those than are known: all manifests and lists stay.
    keeps_all: bool,
}

impl Purging {
    async fn run(&mut self) -> Result<(), CatalogError> {
        let (location, prefixes) =
            self.with(|purge| (purge.metadata_location.clone(), purge.locations.clone()));
        self.own = Arc::new(OwnPlaces::new(&self.store.name, prefixes));
        let root = match self.read_root(&location).await? {
            Ok(body) => {
                let (at, own) = (location.clone(), Arc::clone(&self.own));
                self.decode(move || reach::root(&at, &body, &own)).await
            }
            Err(why) => Err(why),
        };
        match root {
            Ok(root) => {
                self.with(|purge| purge.snapshots = root.snapshots.len() as u64);
                // Of what was not readable before a restart no more is known than is named.
                let (named, more) = self.with(|purge| (purge.left.clone(), purge.unreadable_beyond_left()));
                self.keeps_all = more;
                self.kept
                    .extend(named.iter().filter(|(_, why)| why != NOT_THERE).map(|(at, _)| digest_of(at)));
                let mut root_file = Files::of([location.as_str()], &self.own);
                self.follow(root, &root_file.others).await?;
                // What stays could not be found any more without it.
                let goes = !self.with(|purge| purge.keeps_unreadable(NOT_THERE));
                self.end(root_file.own.pop().filter(|_| goes)).await
            }
            Err(why) => {
                self.note_unreadable(&location, &why);
                self.end(None).await
            }
        }
    }

    /// Deletes what a root names, but not the root. `outside` has its location, if that is not the table's own.
    async fn follow(&mut self, root: Root, outside: &[String]) -> Result<(), CatalogError> {
        let mut unread = BTreeSet::new();
        if root.deletes_data && self.with(|purge| purge.at.phase) == PurgePhase::Data {
            self.delete_data(&root.snapshots, &mut unread).await?;
        }
        if self.with(|purge| purge.at.phase) <= PurgePhase::Manifests {
            self.delete_manifests(&root.snapshots, &unread).await?;
        }
        self.enter(PurgePhase::Metadata);
        // What follows may fail, or take more than one record: who goes on there counts nothing again.
        if self.with(|purge| purge.at.snapshot) == 0 {
            self.delete(root.files).await?;
            if !self.with(|purge| purge.keeps_unreadable(NOT_THERE)) {
                self.note_outside(outside);
            }
            self.with(|purge| purge.at.snapshot = 1);
        }
        self.discard(root.snapshots).await;
        Ok(())
    }

    /// Counts what could not be read, and keeps it unless it is not there.
    fn keep(&mut self, location: &str, why: &str) {
        self.note_unreadable(location, why);
        self.mark_kept(location, why);
    }

    fn mark_kept(&mut self, location: &str, why: &str) {
        if why != NOT_THERE {
            match self.kept.len() < PURGE_KEPT_MAX {
                true => drop(self.kept.insert(digest_of(location))),
                false => self.keeps_all = true,
            }
        }
    }

    fn is_kept(&self, digest: &[u8; 16]) -> bool {
        self.keeps_all || self.kept.contains(digest)
    }

    fn enter(&mut self, phase: PurgePhase) {
        self.seen.clear();
        self.with(|purge| purge.enter(phase));
    }

    /// Deletes the files of all manifests of all snapshots. `unread` gets the snapshots whose list was not readable.
    async fn delete_data(
        &mut self,
        snapshots: &[SnapshotFiles],
        unread: &mut BTreeSet<u64>,
    ) -> Result<(), CatalogError> {
        let begun = self.with(|purge| purge.at);
        for (nth, snapshot) in (0..).zip(snapshots).skip_while(|(nth, _)| *nth < begun.snapshot) {
            let manifests = match self.manifests_of(snapshot).await? {
                Ok(manifests) => manifests,
                Err((location, why)) => {
                    self.keep(&location, &why);
                    unread.insert(nth);
                    continue;
                }
            };
            let first = if nth == begun.snapshot { begun.manifest } else { 0 };
            for (index, manifest) in (0..).zip(&manifests).skip_while(|(index, _)| *index < first) {
                if index % LOOKS_PER_TURN == 0 {
                    self.engine.sleep(Duration::ZERO).await;
                }
                if !self.is_new(manifest) {
                    continue;
                }
                let entry = if (nth, index) == (begun.snapshot, begun.manifest) { begun.entry } else { 0 };
                self.with(|purge| {
                    (purge.at.snapshot, purge.at.manifest, purge.at.entry) = (nth, index, entry);
                });
                self.delete_files_of(manifest).await?;
            }
            self.discard(manifests).await;
        }
        Ok(())
    }

    /// Deletes the files that a manifest names, behind the entries that were done.
    async fn delete_files_of(&mut self, manifest: &Manifest) -> Result<(), CatalogError> {
        let read = match manifest.encrypted {
            true => Err("it is encrypted".to_owned()),
            false => self.read(&manifest.location).await?,
        };
        let body = match read {
            Ok(body) => body,
            Err(why) => {
                self.keep(&manifest.location, &why);
                return Ok(());
            }
        };
        loop {
            let (body, done) = (body.clone(), self.with(|purge| purge.at.entry));
            let own = Arc::clone(&self.own);
            let some = self.decode(move || Ok(reach::manifest_files(&body, done, &own))).await;
            let unreadable = match some {
                Ok(some) => {
                    self.delete(some.files).await?;
                    self.with(|purge| purge.at.entry = some.entries);
                    if some.has_more {
                        continue;
                    }
                    some.unreadable
                }
                Err(why) => Some(why),
            };
            if let Some(why) = unreadable {
                self.keep(&manifest.location, &why);
            }
            return Ok(());
        }
    }

    /// Deletes the manifests of each snapshot and then its list. What was not readable before is not counted again.
    async fn delete_manifests(
        &mut self,
        snapshots: &[SnapshotFiles],
        unread: &BTreeSet<u64>,
    ) -> Result<(), CatalogError> {
        self.enter(PurgePhase::Manifests);
        let first = self.with(|purge| purge.at.snapshot);
        for (nth, snapshot) in (0..).zip(snapshots).skip_while(|(nth, _)| *nth < first) {
            // One that could not be read stays with all that it names, even if it can be now.
            let mut stays = match snapshot {
                SnapshotFiles::List(list) => self.is_kept(&digest_of(list)),
                SnapshotFiles::Manifests(_) => false,
            };
            if stays {
                continue;
            }
            match self.manifests_of(snapshot).await? {
                Ok(manifests) => {
                    for some in manifests.chunks(PURGE_KEYS_MAX) {
                        // Where data stays no manifest was looked at before.
                        let is_found = |manifest: &&Manifest| {
                            self.own.key(&manifest.location).is_none() && !self.is_kept(&manifest.digest)
                        };
                        let outside: Vec<&Manifest> = some.iter().filter(is_found).collect();
                        for manifest in outside {
                            self.keep(&manifest.location, OUTSIDE);
                        }
                        let (kept, some): (Vec<&Manifest>, Vec<&Manifest>) =
                            some.iter().partition(|manifest| self.is_kept(&manifest.digest));
                        stays |= !kept.is_empty();
                        let new = some.into_iter().filter(|manifest| self.is_new(manifest));
                        let new: Vec<&str> = new.map(|manifest| manifest.location.as_str()).collect();
                        self.delete(Files::of(new, &self.own)).await?;
                        self.engine.sleep(Duration::ZERO).await;
                    }
                    self.discard(manifests).await;
                }
                Err((location, why)) => {
                    if !unread.contains(&nth) {
                        self.note_unreadable(&location, &why);
                    }
                    self.mark_kept(&location, &why);
                    stays = why != NOT_THERE;
                }
            }
            if let SnapshotFiles::List(list) = snapshot
                && !stays
            {
                // The record that removes the list says that it is not to be looked for again.
                self.with(|purge| purge.at.snapshot = nth + 1);
                let deleted = self.delete(Files::of([list.as_str()], &self.own)).await;
                if deleted.is_err() {
                    self.with(|purge| purge.at.snapshot = nth);
                }
                deleted?;
            }
        }
        Ok(())
    }

    /// The manifests of a snapshot; what could not be read, and why.
    async fn manifests_of(
        &mut self,
        snapshot: &SnapshotFiles,
    ) -> Result<Result<Vec<Manifest>, (String, String)>, CatalogError> {
        let list = match snapshot {
            SnapshotFiles::List(list) => list,
            SnapshotFiles::Manifests(manifests) => {
                return Ok(Ok(manifests.iter().map(|at| reach::manifest_at(at.clone(), false)).collect()));
            }
        };
        let manifests = match self.read(list).await? {
            Ok(body) => self.decode(move || reach::manifests(&body)).await,
            Err(why) => Err(why),
        };
        Ok(manifests.map_err(|why| (list.clone(), why)))
    }

    /// Whether this phase has not done a manifest yet. Beyond the bound some are done again, which changes nothing.
    fn is_new(&mut self, manifest: &Manifest) -> bool {
        match self.seen.len() < PURGE_MANIFESTS_MAX {
            true => self.seen.insert(manifest.digest),
            false => !self.seen.contains(&manifest.digest),
        }
    }

    // ---- reading ----

    /// A whole file of the table's own; or why it cannot be read. An error is one of the shard itself.
    async fn read(&self, location: &str) -> Result<Result<Bytes, String>, CatalogError> {
        match self.own.key(location) {
            Some(key) => self.read_key(key).await,
            None => Ok(Err(OUTSIDE.to_owned())),
        }
    }

    /// As [`Purging::read`], of the table's newest metadata file: wherever it is in the warehouse's bucket.
    async fn read_root(&self, location: &str) -> Result<Result<Bytes, String>, CatalogError> {
        match file_of(location) {
            Some((bucket, key)) if bucket == &*self.store.name => self.read_key(key).await,
            Some(_) | None => Ok(Err(OUTSIDE.to_owned())),
        }
    }

    async fn read_key(&self, key: &str) -> Result<Result<Bytes, String>, CatalogError> {
        let mut attempts = 1;
        loop {
            match self.store.bucket.read_object(key.as_bytes(), PURGE_FILE_BYTES_MAX).await {
                Err(error) if may_read_again(&error) && attempts < PURGE_ATTEMPTS_MAX => {
                    attempts += 1;
                    self.engine.sleep(RETRY_AFTER).await;
                }
                Err(error) if passes(&error) => return Err(error.into()),
                Err(error @ (EngineError::ReadOnly { .. } | EngineError::Stopping)) => {
                    return Err(error.into());
                }
                found => return Ok(whole(found)),
            }
        }
    }

    /// Runs `job` on the control pool, however long that is busy.
    async fn decode<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, String> + Clone + Send + 'static,
    ) -> Result<T, String> {
        loop {
            match self.engine.blocking(job.clone()).await {
                Ok(Some(decoded)) => return decoded,
                Ok(None) => return Err("its reader panicked".to_owned()),
                Err(_) => self.engine.sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Frees what may be many thousand pieces of memory where that holds up no core.
    async fn discard(&self, pieces: impl Send + 'static) {
        // When the pool is busy they are freed here and now.
        drop(self.engine.blocking(move || drop(pieces)).await);
    }

    // ---- deleting ----

    /// Deletes the table's own of some files, and counts the others when no more record follows: the next one has the count
    /// together with how far this is.
    async fn delete(&mut self, files: Files) -> Result<(), CatalogError> {
        for some in files.own.chunks(PURGE_KEYS_MAX) {
            let mut left = some;
            while !left.is_empty() {
                let done = self.delete_some(left).await?;
                left = left.get(done..).unwrap_or_default();
                self.engine.sleep(Duration::ZERO).await;
            }
        }
        self.note_outside(&files.others);
        if PURGE_KEYS_MAX < files.own.len() + files.others.len() {
            self.discard(files).await;
        }
        Ok(())
    }

    /// Deletes the first few of some keys of the warehouse's bucket with one record; how many of them are done.
    async fn delete_some(&mut self, keys: &[Bytes]) -> Result<usize, CatalogError> {
        self.room(keys).await?;
        let removals = self.plan(keys);
        if !removals.versions.is_empty() {
            self.with(|purge| purge.deleted += removals.files);
            let value = self.with(|purge| values::purge_value(purge));
            let values = vec![(values::purge_key(&self.key), Some(value))];
            let transaction = Transaction { removals: removals.versions, values, ..Transaction::default() };
            let sequence = match self.append(transaction) {
                Ok(sequence) => sequence,
                Err(failure) => {
                    self.with(|purge| purge.deleted -= removals.files);
                    return Err(failure);
                }
            };
            add(&self.context.figures.files_deleted, removals.files);
            self.unsettled += 1;
            if PURGE_RECORDS_MAX <= self.unsettled {
                self.settle(sequence).await?;
            }
        }
        Ok(removals.keys)
    }

    /// Deletes the root and ends the purge, in one record.
    async fn end(&mut self, root: Option<Bytes>) -> Result<(), CatalogError> {
        loop {
            let root = root.as_slice();
            self.room(root).await?;
            let removals = self.plan(root);
            if removals.keys < root.len() {
                // So many versions that they take records of their own.
                self.delete_some(root).await?;
                continue;
            }
            let mut ended = self.with(|purge| purge.clone());
            ended.deleted += removals.files;
            ended.ended_ms = Some(self.store.bucket.now_ms());
            let kept = (!ended.is_clean()).then(|| values::purge_value(&ended));
            let crowded_out = match kept {
                Some(_) => self.store.warehouse.borrow().purges.crowded_out(),
                None => Vec::new(),
            };
            let mut values = vec![(values::purge_key(&self.key), kept)];
            values.extend(crowded_out.iter().map(|key| (values::purge_key(key), None)));
            let transaction = Transaction { removals: removals.versions, values, ..Transaction::default() };
            let sequence = self.append(transaction)?;
            self.store.warehouse.borrow_mut().end_purge(&self.key, ended.clone(), &crowded_out);
            let figures = &self.context.figures;
            add(&figures.files_deleted, removals.files);
            figures.open.fetch_sub(1, Relaxed);
            self.settle(sequence).await?;
            let Purge { table, deleted, failed, unreadable, .. } = &ended;
            (self.context.report)(format_args!(
                "the purge of {table} in warehouse {} ended: {deleted} files deleted, {failed} not deleted, {unreadable} \
                 not readable",
                self.store.name
            ));
            return Ok(());
        }
    }

    fn plan(&self, keys: &[Bytes]) -> Removals {
        let warehouse = self.store.warehouse.borrow();
        Removals::plan(&self.store.bucket, keys, |key| warehouse.is_newest_file(key))
    }

    /// Waits until there is room for a record that frees. In the same turn the record finds it.
    async fn room(&self, keys: &[Bytes]) -> Result<(), CatalogError> {
        let value = self.with(|purge| values::purge_value(purge).len());
        let bytes = removal_bytes(keys) + value + self.key.len() + CHANGE_BYTES;
        let mut attempts = 1;
        loop {
            match self.store.bucket.room_to_free(bytes).await {
                Err(error) if passes(&error) && attempts < PURGE_ATTEMPTS_MAX => {
                    attempts += 1;
                    self.engine.sleep(RETRY_AFTER).await;
                }
                found => return Ok(found?),
            }
        }
    }

    fn append(&self, transaction: Transaction) -> Result<Sequence, CatalogError> {
        self.store.append_plain(&mut self.store.warehouse.borrow_mut(), transaction)
    }

    async fn settle(&mut self, sequence: Sequence) -> Result<(), CatalogError> {
        self.store.bucket.durable(sequence).await?;
        self.store.bucket.note_freed();
        self.unsettled = 0;
        Ok(())
    }

    // ---- its state ----

    /// Looks at the purge in the warehouse, or changes what the next record will say of it.
    fn with<T>(&self, look: impl FnOnce(&mut Purge) -> T) -> T {
        let mut warehouse = self.store.warehouse.borrow_mut();
        let purge = warehouse.purges.get_mut(&self.key);
        look(purge.expect("only its end removes an open purge"))
    }

    fn note_unreadable(&self, location: &str, why: &str) {
        add(&self.context.figures.files_unreadable, 1);
        self.note(|purge| purge.note_unreadable(location, why));
    }

    fn note_outside(&self, locations: &[String]) {
        if !locations.is_empty() {
            add(&self.context.figures.files_failed, locations.len() as u64);
            self.note(|purge| purge.note_failed(locations.iter().map(String::as_str), OUTSIDE));
        }
    }

    /// Tells of what comes to be named.
    fn note(&self, note: impl FnOnce(&mut Purge)) {
        let (table, named) = self.with(|purge| {
            let before = purge.left.len();
            note(purge);
            (purge.table.clone(), purge.left.get(before..).unwrap_or_default().to_vec())
        });
        for (location, why) in named {
            (self.context.report)(format_args!("the purge of {table} leaves {location}: {why}"));
        }
    }
}

/// What one record of a purge removes.
struct Removals {
    versions: Vec<(Bytes, Sequence)>,
    /// Keys that are done with it.
    keys: usize,
    /// Those of them that were there.
    files: u64,
}

impl Removals {
    /// All versions of the first few of `keys`, but of those that are `kept`, which somebody else needs.
    fn plan(bucket: &LocalBucket, keys: &[Bytes], kept: impl Fn(&[u8]) -> bool) -> Removals {
        let mut removals = Removals { versions: Vec::new(), keys: 0, files: 0 };
        for key in keys.iter().take(PURGE_KEYS_MAX) {
            if kept(key) {
                removals.keys += 1;
                continue;
            }
            let room = PURGE_KEYS_MAX - removals.versions.len();
            let found = bucket.versions(key, room + 1);
            removals.versions.extend(found.iter().take(room).map(|version| (key.clone(), *version)));
            if room < found.len() {
                break;
            }
            removals.keys += 1;
            removals.files += u64::from(!found.is_empty());
        }
        removals
    }
}

/// Manifests of a list that are looked at in one turn.
const LOOKS_PER_TURN: u64 = 1_024;

const RETRY_AFTER: Duration = Duration::from_millis(PURGE_RETRY_MS);

/// What a change takes in a record beside its key and value, and more.
const CHANGE_BYTES: usize = 256;

/// At most what removing the first few of `keys` takes in a record.
fn removal_bytes(keys: &[Bytes]) -> usize {
    let longest = keys.iter().take(PURGE_KEYS_MAX).map(Bytes::len).max().unwrap_or(0);
    PURGE_KEYS_MAX * (longest + CHANGE_BYTES)
}

/// What is not there needs no keeping.
const NOT_THERE: &str = "it is not there";

fn digest_of(location: &str) -> [u8; 16] {
    metadata_file::digest(&[location.as_bytes()])
}

/// What is not the table's own stays.
const OUTSIDE: &str = "it lies outside of the table's locations";

fn whole(found: Result<Option<Bytes>, EngineError>) -> Result<Bytes, String> {
    match found {
        Ok(Some(body)) => Ok(body),
        Ok(None) => Err(NOT_THERE.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether an error goes by itself.
fn passes(error: &EngineError) -> bool {
    matches!(error, EngineError::Busy { .. } | EngineError::NoFreeZone)
}

/// Whether another read may succeed.
fn may_read_again(error: &EngineError) -> bool {
    passes(error) || matches!(error, EngineError::Drive(_))
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
