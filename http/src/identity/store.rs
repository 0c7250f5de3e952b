//! Where identities live: the model's records among the store's own values, and the current model on every core.
//!
//! `process::core` loads them on the first core before the server is ready; requests ask [`IdentityStore::current`];
//! `query`, the server's pages and provisioning change the model through [`IdentityStore::change`].
//! I1. One change at a time, on the directory's core: a change sees all before it. I2. What a change writes is one record
//! of the log, durable and in force on all cores before its answer; nobody ever sees a part of it. I3. After a write of
//! which nobody can tell whether it happened, the model stays what it was and takes no change until the next start. I4.
//! When it is not certain that all was loaded, nobody but root may do anything: a Deny may be missing
//! ([`IdentityStore::is_complete`]). I5. Records have secrets sealed, and no error shows one.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::lock::Mutex;
use nilas_engine::{Engine, EngineError, LocalBucket, Transaction, ValueOwner, rt};
use sha2::{Digest as _, Sha256};

use crate::identity::model::{Change, Fault, Model, Moment, Record, RecordFault};
use crate::identity::seal::{RingFault, SealKeys, SecretRing};
use crate::limits::{IDENTITY_CHANGE_BYTES_MAX, IDENTITY_CHANGES_WAITING_MAX};

/// The key of the record that holds the ring of sealing keys.
const RING_KEY: &[u8] = b"\x2f";
/// The first byte of the keys of access keys, whose records hold a sealed secret.
const ACCESS_KEY_BYTE: u8 = 0x22;
/// Access keys that are sealed anew by one record of the log: each at most a policy and its frame.
const SEALED_AT_ONCE: usize = 32;
/// Access keys that are deleted by one record of the log.
const FORGOTTEN_AT_ONCE: usize = 1_000;
/// What the log takes for a value beside its key and its bytes.
const VALUE_FRAME_BYTES: usize = 200;

/// Returns the account of a store: 12 digits that follow from its id, so that they never change.
pub fn account_of(store: u128) -> String {
    let digest =
        Sha256::new().chain_update(b"nilas account 1\0").chain_update(store.to_le_bytes()).finalize();
    let first = digest.first_chunk::<8>().expect("32 bytes");
    // Without a leading zero, which programs that take it for a number would lose.
    (100_000_000_000 + u64::from_le_bytes(*first) % 900_000_000_000).to_string()
}

/// What all cores of a process share of the identities.
pub struct IdentityCell {
    published: ArcSwap<Published>,
    /// Held by the change that is being made.
    writer: Mutex<Option<Writer>>,
    /// Changes that are being made or wait.
    waiting: AtomicUsize,
    is_loaded: AtomicBool,
}

/// What is in force.
#[derive(Clone)]
struct Published {
    model: Model,
    is_complete: bool,
    /// Why it takes no changes.
    closed: Option<Arc<str>>,
}

/// How identities stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityState {
    /// Whether the model is all there was. Otherwise a policy may be missing, or a bucket's, and whoever is not root must be
    /// refused.
    pub is_complete: bool,
    /// Why no changes are taken; `None` when they are.
    pub closed: Option<Arc<str>>,
}

struct Writer {
    ring: SecretRing,
    keys: SealKeys,
    /// Whether the ring's record is in the store: the first change brings it along.
    is_ring_stored: bool,
}

/// Why a change was not made.
#[derive(Clone, Debug)]
pub enum ChangeError {
    /// The model does not allow it.
    Fault(Fault),
    /// It writes more than one record of the log takes: `IDENTITY_CHANGE_BYTES_MAX`.
    TooLarge {
        /// Bytes.
        got: usize,
    },
    /// `IDENTITY_CHANGES_WAITING_MAX` others wait. Nothing was changed.
    Busy,
    /// Identities take no changes until the next start; the text says why. Nothing was changed.
    Closed(Arc<str>),
    /// Nobody can tell before the next start whether it was made; until then it is not in force.
    Indeterminate(EngineError),
    /// The store could not take it. Nothing was changed.
    Engine(EngineError),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::Fault(fault) => write!(f, "{fault}"),
            ChangeError::TooLarge { got } => {
                write!(
                    f,
                    "the change writes {got} bytes, IDENTITY_CHANGE_BYTES_MAX are {IDENTITY_CHANGE_BYTES_MAX}"
                )
            }
            ChangeError::Busy => write!(f, "IDENTITY_CHANGES_WAITING_MAX changes of identities wait"),
            ChangeError::Closed(why) => write!(f, "identities take no changes until the next start: {why}"),
            ChangeError::Indeterminate(source) => {
                write!(f, "whether identities were changed is known after the next start: {source}")
            }
            ChangeError::Engine(source) => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for ChangeError {}

impl From<Fault> for ChangeError {
    fn from(fault: Fault) -> ChangeError {
        ChangeError::Fault(fault)
    }
}

/// Why a store cannot be served with the root secret that was given. Nothing was changed but where it says so.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// Its secrets are sealed under another root secret.
    OtherRootSecret,
    /// They are sealed under the root secret of a file that this start does not take.
    SecretKept {
        /// Its name in the data directory.
        file: &'static str,
    },
    /// They could not be sealed anew under the new root secret: nothing was changed.
    NotTurned(EngineError),
    /// A change of the root secret was begun, and did not come to its end.
    HalfTurned(EngineError),
    /// The store could not be asked.
    Engine(EngineError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::OtherRootSecret => f.write_str(
                "the root secret is not the one that the access keys of this store are sealed under; nothing was changed. \
                 Put the newest root.env back, or give its key as NILAS_ACCESS_KEY and NILAS_SECRET_KEY; when \
                 it is changed or lost see docs/operations.md, \"The root secret\"",
            ),
            LoadError::SecretKept { file } => write!(
                f,
                "the root secret is not the one that the access keys of this store are sealed under, which is in {file}; \
                 nothing was changed. Start without NILAS_ACCESS_KEY and NILAS_SECRET_KEY, or with the key of that file in \
                 them"
            ),
            LoadError::NotTurned(source) => write!(
                f,
                "access keys could not be sealed under the new root secret, the old one is still in force: {source}; to \
                 start with it take root.env.next or NILAS_PREVIOUS_SECRET_KEY away"
            ),
            LoadError::HalfTurned(source) => write!(
                f,
                "the change of the root secret was begun and did not come to its end: {source}. Keep the old secret and the \
                 new one, root.env and root.env.next as they are, and start again in the same way"
            ),
            LoadError::Engine(source) => write!(f, "identities cannot be read: {source}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// The root secrets of a start.
#[derive(Clone, Debug)]
pub struct RootSecrets {
    /// Keys of the root secret that is in force from now on.
    pub current: SealKeys,
    /// Keys of those before, when it is being changed.
    pub previous: Vec<SealKeys>,
    /// Keys of root secrets that are in files and not taken, with the names of the files: they open nothing, but nothing is lost
    /// while they are there.
    pub kept: Vec<(&'static str, SealKeys)>,
    /// Whether access keys that are sealed under none of all these are deleted: for when the root secret is lost.
    pub forgets_keys: bool,
}

impl IdentityCell {
    /// Nobody but root, and no changes, until [`IdentityCell::load`].
    pub fn new(account: &str) -> Arc<IdentityCell> {
        let nobody = Published {
            model: Model::empty(account),
            is_complete: false,
            closed: Some("identities are not loaded yet".into()),
        };
        Arc::new(IdentityCell {
            published: ArcSwap::from_pointee(nobody),
            writer: Mutex::new(None),
            waiting: AtomicUsize::new(0),
            is_loaded: AtomicBool::new(false),
        })
    }

    /// The model that is in force now, on whatever core: for what is seldom asked.
    pub fn current(&self) -> Arc<Model> {
        Arc::new(self.published.load().model.clone())
    }

    /// Whether what is in force is all there was, and can be changed.
    pub fn state(&self) -> IdentityState {
        let published = self.published.load();
        IdentityState { is_complete: published.is_complete, closed: published.closed.clone() }
    }

    /// Whether [`IdentityCell::load`] has ended well.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Loads what is stored, and seals it anew when the root secret is changed: durable on return. To be called once, when
    /// the engine is ready; returns what an operator should know.
    ///
    /// With damage to the directory, or records that cannot be read, root alone may do anything until the next start.
    pub async fn load(
        self: &Arc<Self>,
        engine: &Engine,
        root: RootSecrets,
    ) -> Result<Option<String>, LoadError> {
        let cell = self.clone();
        let loaded = engine.on_system(ValueOwner::Identity, move |_, system| async move {
            let note = match cell.load_here(&system, root).await {
                Ok(()) => None,
                Err(Unusable::Refused(error)) => return Err(error),
                Err(Unusable::Closed(why)) => {
                    let nobody = Model::empty(cell.published.load().model.account());
                    cell.publish(nobody, false, Some(why.as_str().into()));
                    Some(format!("nobody but root may do anything: {why}"))
                }
            };
            cell.is_loaded.store(true, Ordering::Release);
            Ok(note)
        });
        loaded.await.map_err(LoadError::Engine)?
    }

    async fn load_here(&self, system: &LocalBucket, root: RootSecrets) -> Result<(), Unusable> {
        system
            .check_whole()
            .map_err(|error| Unusable::Closed(format!("the directory is damaged: {error}")))?;
        let (mut ring_record, mut values) = (None, Vec::new());
        system.values(b"", |key, value| {
            match key {
                RING_KEY => ring_record = Some(value.clone()),
                key => values.push((Bytes::copy_from_slice(key), value.clone())),
            }
            true
        });
        let opened = ring_record.as_ref().map(|record| open_ring(record, &root)).transpose();
        let (ring, is_of_previous) = match opened {
            Err(Unusable::Refused(LoadError::OtherRootSecret)) if root.forgets_keys => {
                forget_keys(system, &mut values).await?;
                ring_record = None;
                (SecretRing::new(rt::random_u128), false)
            }
            opened => opened?.unwrap_or_else(|| (SecretRing::new(rt::random_u128), false)),
        };
        let account = self.published.load().model.account().to_owned();
        let model = Model::load(&account, values.iter().cloned(), &ring)?;
        let mut writer = Writer { ring, keys: root.current, is_ring_stored: ring_record.is_some() };
        if is_of_previous {
            writer.ring = writer.ring.turned();
            writer.store_ring(system).await.map_err(|failure| match failure {
                WriteFailure::Nothing(ChangeError::Engine(error)) => {
                    Unusable::Refused(LoadError::NotTurned(error))
                }
                failure => failure.into(),
            })?;
        }
        if writer.ring.is_turning() {
            writer.seal_anew(system, &model).await?;
        }
        *self.writer.lock().await = Some(writer);
        self.publish(model, true, None);
        Ok(())
    }

    fn publish(&self, model: Model, is_complete: bool, closed: Option<Arc<str>>) {
        self.published.store(Arc::new(Published { model, is_complete, closed }));
    }

    /// Makes a change on the directory's core.
    async fn change_here<T>(
        &self,
        engine: &Engine,
        system: &LocalBucket,
        change: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<T>, Fault>,
    ) -> Result<T, ChangeError> {
        let mut writer = self.writer.lock().await;
        let published = self.published.load_full();
        let writer = match (&published.closed, writer.as_mut()) {
            (Some(why), _) => return Err(ChangeError::Closed(why.clone())),
            (None, None) => return Err(ChangeError::Closed("identities are not loaded".into())),
            (None, Some(writer)) => writer,
        };
        let moment = Moment { now_ms: engine.now_ms(), random: &|| engine.random_u128() };
        let Change { model, writes, answer } = change(&published.model, &moment)?;
        if writes.is_empty() {
            return Ok(answer);
        }
        let values = writer.values(writes);
        match write(system, values).await {
            Ok(()) => {
                writer.is_ring_stored = true;
                self.publish(model, published.is_complete, None);
                Ok(answer)
            }
            Err(WriteFailure::Nothing(error)) => Err(error),
            Err(WriteFailure::Unknown(error)) => {
                let why = format!(
                    "a change of identities failed in a way that only the next start can tell how: {error}"
                );
                self.publish(published.model.clone(), published.is_complete, Some(why.as_str().into()));
                eprintln!("nilas: {why}");
                Err(ChangeError::Indeterminate(error))
            }
        }
    }
}

/// Deletes all access keys, and then the ring that nobody can open. Cut short, the ring is still there.
async fn forget_keys(system: &LocalBucket, values: &mut Vec<(Bytes, Bytes)>) -> Result<(), WriteFailure> {
    let is_key = |(key, _): &(Bytes, Bytes)| key.first() == Some(&ACCESS_KEY_BYTE);
    let keys: Vec<Bytes> = values.iter().filter(|value| is_key(value)).map(|(key, _)| key.clone()).collect();
    for some in keys.chunks(FORGOTTEN_AT_ONCE) {
        write(system, some.iter().map(|key| (key.clone(), None)).collect()).await?;
    }
    write(system, vec![(Bytes::from_static(RING_KEY), None)]).await?;
    values.retain(|value| !is_key(value));
    Ok(())
}

/// Opens the ring with the root secret of now or one before; says whether it was the latter.
fn open_ring(record: &[u8], root: &RootSecrets) -> Result<(SecretRing, bool), Unusable> {
    let decode = |keys: &SealKeys| SecretRing::decode(record, keys, rt::random_u128);
    let all = std::iter::once((&root.current, false)).chain(root.previous.iter().map(|keys| (keys, true)));
    for (keys, is_previous) in all {
        match decode(keys) {
            Ok(ring) => return Ok((ring, is_previous)),
            Err(RingFault::OtherSecret) => {}
            Err(fault) => return Err(Unusable::Closed(format!("the record of sealing keys: {fault}"))),
        }
    }
    let kept = root.kept.iter().find(|(_, keys)| decode(keys).is_ok());
    Err(Unusable::Refused(match kept {
        Some((file, _)) => LoadError::SecretKept { file },
        None => LoadError::OtherRootSecret,
    }))
}

/// Why what is stored is not in force.
enum Unusable {
    /// The start ends.
    Refused(LoadError),
    /// Root alone goes on.
    Closed(String),
}

impl From<RecordFault> for Unusable {
    fn from(fault: RecordFault) -> Unusable {
        Unusable::Closed(format!("identities cannot be read: {fault}"))
    }
}

impl From<WriteFailure> for Unusable {
    fn from(failure: WriteFailure) -> Unusable {
        let source = match failure {
            WriteFailure::Nothing(ChangeError::Engine(error)) | WriteFailure::Unknown(error) => error,
            WriteFailure::Nothing(_) => EngineError::Busy { limit: "IDENTITY_CHANGE_BYTES_MAX", max: 0 },
        };
        Unusable::Refused(LoadError::HalfTurned(source))
    }
}

impl Writer {
    /// The values of a change, each sealed for its key.
    fn values(&self, writes: Vec<(Bytes, Option<Record>)>) -> Vec<(Bytes, Option<Bytes>)> {
        let ring = (!self.is_ring_stored).then(|| self.ring_value());
        let encode = |(key, record): (Bytes, Option<Record>)| {
            let value = record.map(|record| record.encode(&key, &self.ring));
            (key, value)
        };
        ring.into_iter().chain(writes.into_iter().map(encode)).collect()
    }

    fn ring_value(&self) -> (Bytes, Option<Bytes>) {
        (Bytes::from_static(RING_KEY), Some(self.ring.encode(&self.keys)))
    }

    async fn store_ring(&mut self, system: &LocalBucket) -> Result<(), WriteFailure> {
        write(system, vec![self.ring_value()]).await
    }

    /// Seals every secret under the newest key, then lets the older keys go. Cut short, the next start does it again.
    async fn seal_anew(&mut self, system: &LocalBucket, model: &Model) -> Result<(), WriteFailure> {
        let keys: Vec<_> = model.keys().cloned().collect();
        for some in keys.chunks(SEALED_AT_ONCE) {
            let values = some.iter().map(|key| {
                let place = Bytes::from([&[ACCESS_KEY_BYTE], key.id.as_bytes()].concat());
                let value = Record::AccessKey(key.clone()).encode(&place, &self.ring);
                (place, Some(value))
            });
            write(system, values.collect()).await?;
        }
        self.ring = self.ring.settled();
        self.store_ring(system).await
    }
}

/// Why values were not written.
enum WriteFailure {
    /// Certainly none of them were.
    Nothing(ChangeError),
    /// They may be in the log.
    Unknown(EngineError),
}

/// Writes values in one record of the log, durable on return.
async fn write(system: &LocalBucket, values: Vec<(Bytes, Option<Bytes>)>) -> Result<(), WriteFailure> {
    let length = |(key, value): &(Bytes, Option<Bytes>)| {
        key.len() + value.as_ref().map_or(0, Bytes::len) + VALUE_FRAME_BYTES
    };
    let got = values.iter().map(length).sum();
    if IDENTITY_CHANGE_BYTES_MAX < got {
        return Err(WriteFailure::Nothing(ChangeError::TooLarge { got }));
    }
    let frees = values.iter().any(|(_, value)| value.is_none());
    let nothing = |error| WriteFailure::Nothing(ChangeError::Engine(error));
    match frees {
        true => system.room_to_free(got).await.map_err(nothing)?,
        false => system.room(got).await.map_err(nothing)?,
    }
    let appended = system.append(Transaction { values, ..Transaction::default() }).map_err(nothing)?;
    system.durable(appended).await.map_err(WriteFailure::Unknown)
}

/// The identities as one core sees them. Cheap to clone, stays on its core.
#[derive(Clone)]
pub struct IdentityStore {
    cell: Arc<IdentityCell>,
    engine: Engine,
    own: Rc<RefCell<Own>>,
}

/// What this core has seen last. Its model is a handle of its own: counting references to it touches no memory of other
/// cores.
struct Own {
    seen: Arc<Published>,
    model: Arc<Model>,
}

impl Own {
    fn of(seen: Arc<Published>) -> Own {
        let model = Arc::new(seen.model.clone());
        Own { seen, model }
    }
}

impl fmt::Debug for IdentityCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityCell").field("is_loaded", &self.is_loaded()).finish_non_exhaustive()
    }
}

impl fmt::Debug for IdentityStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityStore").field("is_complete", &self.is_complete()).finish_non_exhaustive()
    }
}

impl IdentityStore {
    /// A core's handle.
    pub fn new(cell: Arc<IdentityCell>, engine: Engine) -> IdentityStore {
        let own = Rc::new(RefCell::new(Own::of(cell.published.load_full())));
        IdentityStore { cell, engine, own }
    }

    /// The model that is in force now. Waits for nothing and takes no lock.
    pub fn current(&self) -> Arc<Model> {
        let published = self.cell.published.load();
        let mut own = self.own.borrow_mut();
        if !Arc::ptr_eq(&own.seen, &published) {
            *own = Own::of(Arc::clone(&published));
        }
        own.model.clone()
    }

    /// Whether the model is all there was. Otherwise a policy may be missing, or a bucket's, and whoever is not root must be
    /// refused.
    pub fn is_complete(&self) -> bool {
        self.cell.published.load().is_complete
    }

    /// Why no changes are taken; `None` when they are.
    pub fn closed(&self) -> Option<Arc<str>> {
        self.cell.published.load().closed.clone()
    }

    /// Runs `change` alone on the directory's core; what it writes is durable, and in force on all cores, before this
    /// returns.
    ///
    /// `change` is handed the current model, must not wait, and is called once. Dropping the future stops nothing: a change
    /// that was begun is made. With [`ChangeError::Indeterminate`] nobody can tell before the next start.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<T>, Fault> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let waiting = Waiting::enter(&self.cell)?;
        let made = self.engine.on_system(ValueOwner::Identity, move |engine, system| async move {
            let made = waiting.0.change_here(&engine, &system, change).await;
            drop(waiting);
            made
        });
        made.await.map_err(|error| match error {
            // It was handed over, and its answer did not come.
            EngineError::Stopping => ChangeError::Indeterminate(error),
            error => ChangeError::Engine(error),
        })?
    }
}

/// A change that is being made or waits.
struct Waiting(Arc<IdentityCell>);

impl Waiting {
    fn enter(cell: &Arc<IdentityCell>) -> Result<Waiting, ChangeError> {
        if IDENTITY_CHANGES_WAITING_MAX <= cell.waiting.fetch_add(1, Ordering::Relaxed) {
            cell.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(ChangeError::Busy);
        }
        Ok(Waiting(cell.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
