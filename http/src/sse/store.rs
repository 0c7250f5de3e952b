//! Where the named keys live: their records among the store's own values, and the keys that are in force on every core.
//!
//! `process::core` loads them on the first core before the server is ready; `s3::encryption` asks [`KeyStore`] for every encrypted object,
//! the server's pages make and turn keys by it. I1. A key is durable before it seals anything, and in force on all cores before
//! that is answered. I2. One change at a time, on the directory's core. I3. Without the master keys that the records are sealed under there
//! is no start, and nothing is changed. I4. Of a change of which nobody can tell whether it happened, the next start tells; until then keys take no
//! change.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::lock::Mutex;
use nilas_engine::{Engine, EngineError, LocalBucket, Transaction, ValueOwner, rt};

use crate::limits::KMS_KEYS_MAX;
use crate::sse::keys::{KeyFault, Keys, NamedKey, S3_KEY, is_name};
use crate::sse::master::MasterKeys;

/// The first byte of the keys of records.
const RECORD_BYTE: u8 = 0x40;
/// What the log takes for a value beside its key and its bytes.
const VALUE_FRAME_BYTES: usize = 200;

/// What all cores of a process share of the keys.
pub struct KeyCell {
    masters: Option<MasterKeys>,
    keys: ArcSwap<Keys>,
    /// Held by the change that is being made: why no more are taken, if so.
    writer: Mutex<Option<String>>,
    is_loaded: AtomicBool,
}

/// Why there is no such key.
#[derive(Clone, Debug)]
pub enum KeyError {
    /// The server was given no master key.
    NoMasterKey,
    /// There is one of that name.
    Exists,
    /// There is none of that name.
    NoSuchKey,
    /// No key may have that name.
    Name,
    /// `KMS_KEYS_MAX`, or `KMS_KEY_VERSIONS_MAX` of a key.
    TooMany,
    /// Keys take no change until the next start.
    Closed(String),
    /// The store could not take it.
    Engine(EngineError),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::NoMasterKey => f.write_str(
                "the server has no master key: start it with --master-key-file or NILAS_MASTER_KEY, as docs/encryption.md says",
            ),
            KeyError::Exists => f.write_str("there is a key of that name"),
            KeyError::NoSuchKey => f.write_str("there is no key of that name"),
            KeyError::Name => f.write_str(
                "a key's name is 1 to 64 letters, digits, dots, hyphens and underscores, and not sse-s3",
            ),
            KeyError::TooMany => f.write_str("there are too many keys, or versions of this one"),
            KeyError::Closed(why) => write!(f, "keys take no changes until the next start: {why}"),
            KeyError::Engine(source) => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Why a store cannot be served with the master keys that were given. Nothing was changed.
#[derive(Clone, Debug)]
pub enum KeyLoadError {
    /// A record does not open.
    Fault(KeyFault),
    /// The store could not be asked, or keys could not be sealed under the new master key.
    Engine(EngineError),
}

impl fmt::Display for KeyLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyLoadError::Fault(fault) => write!(f, "{fault}"),
            KeyLoadError::Engine(source) => {
                write!(f, "encryption keys cannot be read or sealed anew: {source}")
            }
        }
    }
}

impl std::error::Error for KeyLoadError {}

/// A change of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Make it, unless it is there.
    Ensure,
    /// Make it.
    Create,
    /// Give it a new version.
    Turn,
}

impl KeyCell {
    /// No keys until [`KeyCell::load`].
    pub fn new(masters: Option<MasterKeys>) -> Arc<KeyCell> {
        Arc::new(KeyCell {
            masters,
            keys: ArcSwap::default(),
            writer: Mutex::new(None),
            is_loaded: AtomicBool::new(false),
        })
    }

    /// Whether [`KeyCell::load`] has ended well.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Loads what is stored, and seals it under the first master key when that is another one: durable on return. To be called once, when
    /// the engine is ready; returns what an operator should know.
    pub async fn load(self: &Arc<Self>, engine: &Engine) -> Result<Option<String>, KeyLoadError> {
        let cell = self.clone();
        let loaded = engine.on_system(ValueOwner::Encryption, move |engine, system| async move {
            let note = cell.load_here(&engine, &system).await?;
            cell.is_loaded.store(true, Ordering::Release);
            Ok(note)
        });
        loaded.await.map_err(KeyLoadError::Engine)?
    }

    async fn load_here(&self, engine: &Engine, system: &LocalBucket) -> Result<Option<String>, KeyLoadError> {
        let mut records = Vec::new();
        system.values(&[RECORD_BYTE], |key, value| {
            records.push((key.get(1..).unwrap_or_default().to_vec(), value.clone()));
            true
        });
        let mut keys = Keys::default();
        for (name, record) in records {
            let name = String::from_utf8(name).map_err(|_| KeyLoadError::Fault(KeyFault::Malformed))?;
            let opened = NamedKey::decode(&record, engine.store_id(), &name, self.masters.as_ref());
            keys.0.insert(name, Arc::new(opened.map_err(KeyLoadError::Fault)?));
        }
        if let Err(error) = system.check_whole() {
            let why = format!("the directory is damaged: {error}");
            *self.writer.lock().await = Some(why.clone());
            self.keys.store(Arc::new(keys));
            return Ok(Some(format!("encryption keys may be missing: {why}")));
        }
        if let Some(masters) = &self.masters {
            // One by one: cut short, the next start goes on, with the same master keys.
            for (name, key) in &mut keys.0 {
                if let Some(sealed) = key.under(masters) {
                    let record = sealed.encode(engine.store_id(), name, masters, rt::random_u128);
                    write(system, name, record).await.map_err(|(error, _)| KeyLoadError::Engine(error))?;
                    *key = Arc::new(sealed);
                }
            }
        }
        self.keys.store(Arc::new(keys));
        Ok(None)
    }

    /// Makes a change on the directory's core.
    async fn change_here(
        &self,
        engine: &Engine,
        system: &LocalBucket,
        name: &str,
        step: Step,
    ) -> Result<Arc<NamedKey>, KeyError> {
        let masters = self.masters.as_ref().ok_or(KeyError::NoMasterKey)?;
        let mut closed = self.writer.lock().await;
        if let Some(why) = closed.as_ref() {
            return Err(KeyError::Closed(why.clone()));
        }
        let keys = self.keys.load_full();
        let now_ms = engine.now_ms();
        let made = match (step, keys.0.get(name)) {
            (Step::Ensure, Some(key)) => return Ok(key.clone()),
            (Step::Create, Some(_)) => return Err(KeyError::Exists),
            (Step::Ensure | Step::Create, None) if KMS_KEYS_MAX <= keys.0.len() => {
                return Err(KeyError::TooMany);
            }
            (Step::Ensure | Step::Create, None) => NamedKey::new(masters, now_ms, rt::random_u128),
            (Step::Turn, None) => return Err(KeyError::NoSuchKey),
            (Step::Turn, Some(key)) => {
                key.turned(masters, now_ms, rt::random_u128).ok_or(KeyError::TooMany)?
            }
        };
        let record = made.encode(engine.store_id(), name, masters, rt::random_u128);
        if let Err((error, is_unknown)) = write(system, name, record).await {
            if is_unknown {
                *closed =
                    Some(format!("whether a key was made or turned only the next start can tell: {error}"));
            }
            return Err(KeyError::Engine(error));
        }
        let made = Arc::new(made);
        let mut all = Keys::clone(&keys);
        all.0.insert(name.to_owned(), made.clone());
        self.keys.store(Arc::new(all));
        Ok(made)
    }
}

impl fmt::Debug for KeyCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCell").field("keys", &*self.keys.load()).finish_non_exhaustive()
    }
}

/// Writes a record, durable on return; with an error, whether it may be in the log.
async fn write(system: &LocalBucket, name: &str, record: Bytes) -> Result<(), (EngineError, bool)> {
    let key = Bytes::from([&[RECORD_BYTE], name.as_bytes()].concat());
    system.room(key.len() + record.len() + VALUE_FRAME_BYTES).await.map_err(|error| (error, false))?;
    let values = vec![(key, Some(record))];
    let appended = system.append(Transaction { values, ..Transaction::default() });
    let appended = appended.map_err(|error| (error, false))?;
    system.durable(appended).await.map_err(|error| (error, true))
}

/// The keys as one core asks for them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyStore {
    cell: Arc<KeyCell>,
    engine: Engine,
}

impl KeyStore {
    /// A core's handle.
    pub fn new(cell: Arc<KeyCell>, engine: Engine) -> KeyStore {
        KeyStore { cell, engine }
    }

    /// Whether there is a master key.
    pub fn is_on(&self) -> bool {
        self.cell.masters.is_some()
    }

    /// All keys. Waits for nothing.
    pub fn all(&self) -> Arc<Keys> {
        self.cell.keys.load_full()
    }

    /// The key of a name, if it is there. Waits for nothing.
    pub fn find(&self, name: &str) -> Option<Arc<NamedKey>> {
        self.cell.keys.load().0.get(name).cloned()
    }

    /// The key of a name, which is made when it is not there: durable on return.
    pub async fn ensure(&self, name: &'static str) -> Result<Arc<NamedKey>, KeyError> {
        match self.find(name) {
            Some(key) => Ok(key),
            None => self.change(name.to_owned(), Step::Ensure).await,
        }
    }

    /// Makes a key: durable on return.
    pub async fn create(&self, name: &str) -> Result<Arc<NamedKey>, KeyError> {
        match is_name(name) {
            true => self.change(name.to_owned(), Step::Create).await,
            false => Err(KeyError::Name),
        }
    }

    /// Gives a key a new version, which seals from now on: durable on return.
    pub async fn turn(&self, name: &str) -> Result<Arc<NamedKey>, KeyError> {
        match is_name(name) || name == S3_KEY {
            true => self.change(name.to_owned(), Step::Turn).await,
            false => Err(KeyError::NoSuchKey),
        }
    }

    async fn change(&self, name: String, step: Step) -> Result<Arc<NamedKey>, KeyError> {
        if !self.is_on() {
            return Err(KeyError::NoMasterKey);
        }
        let cell = self.cell.clone();
        let made = self.engine.on_system(ValueOwner::Encryption, move |engine, system| async move {
            cell.change_here(&engine, &system, &name, step).await
        });
        made.await.map_err(KeyError::Engine)?
    }
}
