//! The catalog's state and its changes, on the core that owns the warehouse's bucket. Called by `rest`.
//!
//! A request is carried to the owner as one job ([`on_owner`]) that runs to its end even when the client goes away.
//! Each operation decides over the state in memory (pure `plan_…` functions), makes one transaction, and answers
//! when it is durable. I1. One change is one `LocalBucket::append`, and memory is changed in the same breath. I2. Nobody is
//! told of state, of absence or of a conflict before the records that say so are durable.

pub(crate) mod claim;
pub(crate) mod commit;
pub(crate) mod failure;
pub(crate) mod idempotency;
pub(crate) mod judged;
pub(crate) mod location;
pub(crate) mod metadata_file;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod purge;
pub(crate) mod purge_state;
pub(crate) mod reach;
pub(crate) mod recognise;
pub(crate) mod values;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod warehouse;

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use nilas_engine::{Bucket, Engine, LocalBucket, Sequence, Transaction, ValueOwner};

use crate::access::LookUpError;
use crate::limits::{DIGESTS_REMOVED_PER_CHANGE_MAX, METADATA_BYTES_MAX, METADATA_INLINE_BYTES_MAX};
use crate::model::Recorded;
use crate::spec::TableMetadata;
use crate::store::claim::IdempotencyGuard;
use crate::store::failure::{Answer, CatalogError};
use crate::store::idempotency::{IdempotencyKey, KeyStatus};
use crate::store::judged::Judged;
use crate::store::names::Ident;
use crate::store::recognise::{Due, Standing};
use crate::store::state::{CatalogState, LoadedTable, Table, Warehouse};

/// What an operation answers.
#[derive(Debug)]
pub(crate) enum Outcome {
    Empty,
    Json(Bytes),
    Table {
        body: Bytes,
        gzip: bool,
        /// Absent for a table that is only staged.
        etag: Option<String>,
        /// Where its files are, when [`Store::telling_place`] asks for it.
        place: Option<TablePlace>,
    },
    NotModified {
        etag: String,
    },
    /// JSON that holds credentials.
    Secret(Bytes),
}

/// Where the files of a table are and nobody else's: what credentials for it can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TablePlace {
    /// Its UUID.
    pub(crate) id: String,
    /// As its metadata spells it, without a slash at its end.
    pub(crate) location: String,
    /// How all keys in it begin, with a slash at its end.
    pub(crate) prefix: String,
}

/// Runs `job` with the warehouse's store on the core that owns it.
pub(crate) async fn on_owner<T, F, Fut>(
    engine: &Engine,
    bucket: &Arc<Bucket>,
    json_attributes: &Bytes,
    job: F,
) -> Result<T, CatalogError>
where
    T: Send + 'static,
    F: FnOnce(Store) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, CatalogError>> + 'static,
{
    let (name, json_attributes) = (Arc::clone(&bucket.name), json_attributes.clone());
    engine
        .on_bucket(bucket, ValueOwner::Catalog, move |bucket| async move {
            let store = Store::open(bucket, name, json_attributes)?;
            job(store).await
        })
        .await
        .map_err(CatalogError::Engine)?
}

/// As [`on_owner`]. The job is given the handle of its core as well, for work that goes on behind it.
pub(crate) async fn on_owner_core<T, F, Fut>(
    engine: &Engine,
    bucket: &Arc<Bucket>,
    json_attributes: &Bytes,
    job: F,
) -> Result<T, CatalogError>
where
    T: Send + 'static,
    F: FnOnce(Engine, Store) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, CatalogError>> + 'static,
{
    let (name, json_attributes) = (Arc::clone(&bucket.name), json_attributes.clone());
    engine
        .on_bucket_core(bucket, ValueOwner::Catalog, move |engine, bucket| async move {
            let store = Store::open(bucket, name, json_attributes)?;
            job(engine, store).await
        })
        .await
        .map_err(CatalogError::Engine)?
}

/// Where the tables of a warehouse have their files, on the core that owns it: the answer holds in the turn in which it is
/// asked.
pub struct TablePlaces {
    warehouse: Rc<RefCell<Warehouse>>,
}

impl fmt::Debug for TablePlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TablePlaces").finish_non_exhaustive()
    }
}

impl TablePlaces {
    /// Reads what there is of the warehouse of this name. Fails when not all of it is known.
    ///
    /// # Panics
    /// When `bucket` is not bound to [`ValueOwner::Catalog`].
    pub fn open(bucket: LocalBucket, name: &Arc<str>) -> Result<TablePlaces, LookUpError> {
        match Store::open(bucket, Arc::clone(name), Bytes::new()) {
            Ok(store) => Ok(TablePlaces { warehouse: store.warehouse }),
            Err(CatalogError::Engine(failure)) => Err(LookUpError::Engine(failure)),
            Err(_) => Err(LookUpError::Unreadable),
        }
    }

    /// Whether a key lies in a location of a table.
    pub fn hold(&self, key: &str) -> bool {
        self.warehouse.borrow().table_of_key(key).is_some()
    }
}

/// One warehouse on its owning core, for the length of one job.
pub(crate) struct Store {
    bucket: LocalBucket,
    state: Rc<CatalogState>,
    name: Arc<str>,
    warehouse: Rc<RefCell<Warehouse>>,
    /// Attributes of the metadata objects we write.
    json_attributes: Bytes,
    judged: Judged,
    tells_place: bool,
}

impl Store {
    fn open(bucket: LocalBucket, name: Arc<str>, json_attributes: Bytes) -> Result<Store, CatalogError> {
        // Of a shard whose log is damaged, a table that is missing may have been lost with the damage.
        bucket.check_whole().map_err(CatalogError::Engine)?;
        let state = bucket.extension::<CatalogState>();
        let warehouse = match state.get(bucket.id()) {
            Some(warehouse) => warehouse,
            None => {
                let mut warehouse = Warehouse::new(Arc::clone(&name), bucket.last_sequence());
                let mut taken = Ok(());
                bucket.values(b"", |key, value| {
                    taken = warehouse.take_value(key, value);
                    taken.is_ok()
                });
                taken?;
                state.put(bucket.id(), warehouse)
            }
        };
        let (judged, tells_place) = (Judged::default(), false);
        Ok(Store { bucket, state, name, warehouse, json_attributes, judged, tells_place })
    }

    /// The same for a request whose sender was judged on these tables.
    pub(crate) fn judged(self, judged: Judged) -> Store {
        Store { judged, ..self }
    }

    /// The same, and answers say where the table's files are when `tells_place`.
    pub(crate) fn telling_place(self, tells_place: bool) -> Store {
        Store { tells_place, ..self }
    }

    fn check_open(&self) -> Result<(), CatalogError> {
        if self.warehouse.borrow().closed {
            return Err(CatalogError::NoSuchWarehouse(self.name.to_string()));
        }
        Ok(())
    }

    /// Answers from state: `look` says what it saw and which sequence that was of; failures are of the newest.
    async fn read<T>(
        &self,
        look: impl FnOnce(&Warehouse) -> Result<(T, Sequence), CatalogError>,
    ) -> Result<T, CatalogError> {
        self.check_open()?;
        let (seen, sequence) = {
            let warehouse = self.warehouse.borrow();
            self.judged.check(&warehouse)?;
            match look(&warehouse) {
                Ok((seen, sequence)) => (Ok(seen), sequence),
                Err(failure) => (Err(failure), warehouse.newest),
            }
        };
        self.bucket.durable(sequence).await?;
        seen
    }

    /// Runs one change under an idempotency key, or gives the answer that was recorded for it, durable either way. `of` is the
    /// table whose version is the answer, if one is.
    async fn mutate(
        &self,
        of: Option<&Ident>,
        key: Option<IdempotencyKey>,
        change: impl AsyncFnOnce(&IdempotencyGuard) -> Result<Outcome, CatalogError>,
    ) -> Result<Outcome, CatalogError> {
        self.check_open()?;
        let claim = match self.claim(key).await? {
            Ok(claim) => claim,
            Err(recorded) => return self.replay(of, recorded).await,
        };
        // Waits while the log is behind; what the log refuses for good, `append` refuses again with its own words.
        drop(self.bucket.room(METADATA_INLINE_BYTES_MAX).await);
        let mut result = change(&claim).await;
        // What went wrong is of tables that the sender was judged on, or is not said.
        if result.is_err() && self.judged.check(&self.warehouse.borrow()).is_err() {
            result = Err(CatalogError::Moved);
        }
        if let Err(failure) = &result {
            self.record_failure(&claim, failure);
        }
        let newest = self.warehouse.borrow().newest;
        drop(claim);
        match self.bucket.durable(newest).await {
            Ok(()) => {}
            Err(error) if result.is_ok() => return Err(CatalogError::StateUnknown(error)),
            Err(error) => return Err(CatalogError::Engine(error)),
        }
        self.sweep_digests().await;
        result
    }

    async fn claim(
        &self,
        key: Option<IdempotencyKey>,
    ) -> Result<Result<IdempotencyGuard, Recorded>, CatalogError> {
        let Some(key) = key else { return Ok(Ok(IdempotencyGuard::new(None, Rc::clone(&self.warehouse)))) };
        loop {
            let standing = self.warehouse.borrow().idempotency.standing(key, self.bucket.now_ms());
            match standing {
                KeyStatus::New => {
                    self.warehouse.borrow_mut().idempotency.start(key);
                    return Ok(Ok(IdempotencyGuard::new(Some(key), Rc::clone(&self.warehouse))));
                }
                KeyStatus::Replay(recorded) => return Ok(Err(recorded)),
                KeyStatus::Misused => {
                    return Err(CatalogError::Unprocessable(
                        "Idempotency-Key was already used for another request".to_owned(),
                    ));
                }
                KeyStatus::Running => {
                    poll_fn(|context| {
                        if self.warehouse.borrow_mut().idempotency.wait(key.id, context.waker()) {
                            Poll::Pending
                        } else {
                            Poll::Ready(())
                        }
                    })
                    .await;
                }
            }
        }
    }

    async fn replay(&self, of: Option<&Ident>, recorded: Recorded) -> Result<Outcome, CatalogError> {
        let newest = self.warehouse.borrow().newest;
        self.bucket.durable(newest).await?;
        self.judged.check(&self.warehouse.borrow())?;
        match recorded {
            Recorded::Empty => Ok(Outcome::Empty),
            Recorded::Json(text) => Ok(Outcome::Json(Bytes::from(text))),
            Recorded::Table { metadata_location } => {
                let loaded = self.read_metadata(&metadata_location).await?;
                if let Some(ident) = of {
                    self.check_answer(ident, loaded.metadata.uuid())?;
                }
                Ok(self.table_outcome(of, &loaded))
            }
            Recorded::Failed { status, kind, message } => {
                Err(CatalogError::Replayed { status, kind, message })
            }
        }
    }

    /// A recorded answer may speak of a table that has another name by now, or whose name another table has.
    fn check_answer(&self, ident: &Ident, uuid: &str) -> Result<(), CatalogError> {
        let warehouse = self.warehouse.borrow();
        self.judged.check(&warehouse)?;
        let is_here = |table: &Table| table.pointer.uuid.eq_ignore_ascii_case(uuid);
        if warehouse.find(ident).is_some_and(is_here) {
            return Ok(());
        }
        match warehouse.find_by_uuid(uuid) {
            Some(now) => self.judged.check_also(&now, uuid),
            None if self.judged.has_ids() => self.judged.check_also(ident, uuid),
            None => Ok(()),
        }
    }

    /// Remembers a failure that would come again. That it could not be remembered changes nothing for the client.
    fn record_failure(&self, claim: &IdempotencyGuard, failure: &CatalogError) {
        // Whether names may be shown is asked anew for each answer.
        let Answer { status, kind, message } = failure.clone().without_names().answer();
        let passes = status == 429 || failure.waits_for_a_purge();
        if !claim.has_key() || !(400..500).contains(&status) || passes {
            return;
        }
        let recorded = Recorded::Failed { status, kind: kind.into_owned(), message };
        let appended = self.append(&mut self.warehouse.borrow_mut(), Transaction::default(), claim, recorded);
        drop(appended);
    }

    /// Puts one change into the log, with the value of its idempotency key. The caller changes the rest of the state
    /// before it gives `warehouse` back.
    fn append(
        &self,
        warehouse: &mut Warehouse,
        mut transaction: Transaction,
        claim: &IdempotencyGuard,
        recorded: Recorded,
    ) -> Result<Sequence, CatalogError> {
        self.judged.check(warehouse)?;
        let now_ms = self.bucket.now_ms();
        let remembered = claim.remembered(recorded, now_ms);
        let forgotten = warehouse.idempotency.plan_forget(now_ms);
        transaction.values.extend(idempotency::changes(remembered.as_ref(), &forgotten));
        let sequence = self.append_plain(warehouse, transaction)?;
        warehouse.idempotency.forget(&forgotten);
        if let Some((id, remembered)) = remembered {
            warehouse.idempotency.remember(id, remembered);
        }
        Ok(sequence)
    }

    fn append_plain(
        &self,
        warehouse: &mut Warehouse,
        transaction: Transaction,
    ) -> Result<Sequence, CatalogError> {
        if warehouse.closed {
            return Err(CatalogError::NoSuchWarehouse(self.name.to_string()));
        }
        let waiting = |(key, value): &(Bytes, Option<Bytes>)| {
            Standing::concerns(key).then(|| (key.clone(), value.clone()))
        };
        let waiting: Vec<(Bytes, Option<Bytes>)> = transaction.values.iter().filter_map(waiting).collect();
        let sequence = self.bucket.append(transaction)?;
        warehouse.newest = sequence;
        waiting.iter().for_each(|(key, value)| warehouse.digests.follow(key, value.as_deref()));
        Ok(sequence)
    }

    /// Reads and decodes a metadata file of this warehouse. [`CatalogError::NoSuchFile`] when it is not there.
    async fn read_metadata(&self, metadata_location: &str) -> Result<LoadedTable, CatalogError> {
        let key = location::object_key(metadata_location, &self.name)?;
        let bound = u64::try_from(METADATA_BYTES_MAX).unwrap_or(u64::MAX);
        let body = self.bucket.read_object(key.as_bytes(), bound).await?;
        let body = body.ok_or_else(|| CatalogError::NoSuchFile(metadata_location.to_owned()))?;
        let metadata = metadata_file::decode(metadata_location, &body).map_err(|why| {
            CatalogError::Damaged { what: format!("metadata file {metadata_location}"), why }
        })?;
        let rendered = metadata.render();
        Ok(LoadedTable::new(metadata, metadata_location.to_owned(), &rendered))
    }

    /// The value with which a table that goes takes its digests along, if it has any.
    fn drop_digests(&self, uuid: &str) -> Option<(Bytes, Option<Bytes>)> {
        let table = recognise::table_digest(uuid)?;
        let mut has_some = false;
        self.bucket.values(&values::creation_key(table), |_, _| {
            has_some = true;
            false
        });
        has_some.then(|| recognise::dropped(table, self.bucket.now_ms()))
    }

    /// Removes digests of commits that nobody can ask for any more, one batch per change. What fails is tried again by the next.
    async fn sweep_digests(&self) {
        if self.warehouse.borrow().digests.due(self.bucket.now_ms()).is_none() {
            return;
        }
        drop(self.bucket.room(METADATA_INLINE_BYTES_MAX).await);
        let mut warehouse = self.warehouse.borrow_mut();
        let Some(due) = warehouse.digests.due(self.bucket.now_ms()) else { return };
        let values = match &due {
            Due::Expired(key) => {
                recognise::plan_forget_expired(key, self.bucket.value(key).as_deref().unwrap_or_default())
            }
            Due::Dropped(table) => {
                let mut keys = Vec::new();
                self.bucket.values(&values::creation_key(*table), |key, _| {
                    keys.push(Bytes::copy_from_slice(key));
                    keys.len() < DIGESTS_REMOVED_PER_CHANGE_MAX
                });
                recognise::plan_forget_dropped(*table, keys)
            }
        };
        let transaction = Transaction { values, ..Transaction::default() };
        drop(self.append_plain(&mut warehouse, transaction));
    }

    fn new_uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.bucket.random_u128().to_le_bytes()).into_uuid().to_string()
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.bucket.now_ms()).unwrap_or(i64::MAX)
    }

    /// The answer of a change that made, or left, this version of the table `of`.
    fn table_outcome(&self, of: Option<&Ident>, loaded: &LoadedTable) -> Outcome {
        Outcome::Table {
            body: loaded.body(false),
            gzip: false,
            etag: Some(metadata_file::table_etag(&loaded.metadata_location, false, false)),
            place: of.and_then(|ident| self.place(&self.warehouse.borrow(), ident, &loaded.metadata)),
        }
    }

    /// Where the files of a table are, if that is asked for and it has its location to itself.
    fn place(&self, warehouse: &Warehouse, ident: &Ident, metadata: &TableMetadata) -> Option<TablePlace> {
        if !self.tells_place {
            return None;
        }
        let is_this = |table: &&Table| table.pointer.uuid.eq_ignore_ascii_case(metadata.uuid());
        let own = warehouse.find(ident).filter(is_this).map(|table| &*table.pointer);
        let location = metadata.location().trim_end_matches('/');
        let key = location::table_key(location, &self.name).ok()?;
        warehouse.locations.check_free(&key, own, location).ok()?;
        // Whoever writes elsewhere could not with what is good for the location alone.
        let mut paths = location::PATHS.iter().filter_map(|name| metadata.property(name));
        if paths.any(|path| !location::lies_in(path.trim_end_matches('/'), location)) {
            return None;
        }
        let (id, location) = (metadata.uuid().to_ascii_lowercase(), location.to_owned());
        Some(TablePlace { id, location, prefix: format!("{key}/") })
    }
}
