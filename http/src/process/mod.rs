//! The process: checks the machine, opens or formats the drives, starts the cores and serves until it is told to stop.
//!
//! `tools/nilas` calls [`Server::prepare`], prints what it found, then [`Server::run`]. In the order of a start:
//! `config` what is asked for and why it cannot be had, `machine` what there is, `data_dir` the root key and which
//! drives, `drives` the store on them, `provision` who and what is to be there, `core` one core from its start to its end, `shutdown` how they stop together. A core runs `listen`, and `server` on what comes in.

pub mod config;
pub(crate) mod machine;
mod files;
mod data_dir;
mod drives;
mod provision;
mod core;
pub mod shutdown;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use nilas_engine::Tuning;
use nilas_engine::rt::{self, RtConfig};
use nilas_engine::store::Store;
use zeroize::Zeroizing;

use crate::admin::{Counters, ProcessFigures};
use crate::audit::{AuditFile, AuditShared};
use crate::identity::model::Secret;
use crate::identity::oidc::Issuer;
use crate::identity::root_key::RootKey;
use crate::identity::seal::SealKeys;
use crate::identity::store::{IdentityCell, account_of};
use crate::limits::MASTER_KEY_FILE_BYTES_MAX;
use crate::memory::{CoreMemory, MemoryPlan};
use crate::process::config::{MasterKeyError, ServerConfig, ServerError, cache_bytes_per_core};
use crate::process::core::{CoreSetup, serve_core};
use crate::process::data_dir::{DataDir, RootKeys};
pub use crate::process::drives::StoreOrigin;
use crate::process::drives::{OpenedStore, open_store};
use crate::process::files::{file_mode, read_file_up_to};
use crate::process::machine::{check_machine, claim_address, process_bytes, retry_while_held};
use crate::process::provision::{PROVISION, Provision};
use crate::process::shutdown::Stop;
use crate::readiness::Readiness;
use crate::sse::master::MasterKeys;
use crate::sse::store::KeyCell;
use crate::throttle::ThrottleFigures;

/// A server that is ready to run: drives locked and recognised, address claimed, nothing served yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    audit_file: Option<AuditFile>,
    data: DataDir,
    store: OpenedStore,
    cores: usize,
    /// Memory to get by with.
    memory_bytes: u64,
    issuer: Option<Arc<Issuer>>,
    /// The root key; [`RootKey::is_new`] when it was made just now.
    pub root_key: RootKey,
    previous: Vec<Secret>,
    kept: Vec<(&'static str, Secret)>,
    provision: Option<Provision>,
    master_keys: Option<MasterKeys>,
    /// The address that is listened on.
    pub address: SocketAddr,
    /// What the machine lacks that the server can do without, one line each.
    pub warnings: Vec<String>,
}

/// Makes a new root secret in the data directory, or takes `secret`: the next start seals all secrets under it and has it
/// in force. Returns the file that has it until then. Does nothing to the store, and may be called while it is served.
pub fn rotate_root_key(data: &Path, secret: Option<&str>) -> Result<PathBuf, ServerError> {
    DataDir::open(data)?.rotate_root_key(secret).map_err(ServerError::RootKey)
}

/// Reads the master keys of a start, if there are any.
fn master_keys(config: &ServerConfig) -> Result<Option<MasterKeys>, MasterKeyError> {
    match (&config.master_key_file, &config.master_keys) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(MasterKeyError::Both),
        (None, Some(lines)) => MasterKeys::parse(lines.expose()).map(Some).map_err(MasterKeyError::Variable),
        (Some(path), None) => {
            let failed = |source| MasterKeyError::File { path: path.clone(), source };
            let mode = file_mode(path).map_err(failed)?;
            if mode & 0o077 != 0 {
                return Err(MasterKeyError::Open { path: path.clone(), mode });
            }
            let text =
                read_file_up_to(path, MASTER_KEY_FILE_BYTES_MAX).map(Zeroizing::new).map_err(failed)?;
            let parsed = MasterKeys::parse(&text);
            parsed.map(Some).map_err(|fault| MasterKeyError::Content { path: path.clone(), fault })
        }
    }
}

impl Server {
    /// Checks the machine, makes or opens the store, claims the address. A start that fails leaves nothing behind that
    /// was not there.
    pub fn prepare(config: ServerConfig) -> Result<Server, ServerError> {
        let machine = check_machine(config.cores)?;
        // Before anything is made.
        let claimed = retry_while_held(|| claim_address(config.address), |e| e.code == libc::EADDRINUSE);
        let address = claimed.map_err(ServerError::Address)?;
        let issuer = match &config.oidc {
            Some(oidc) => {
                let issuer = Issuer::new(oidc, |text| eprintln!("nilas: {text}"));
                Some(Arc::new(issuer.map_err(ServerError::Oidc)?))
            }
            None => None,
        };
        let data = DataDir::open(&config.data)?;
        let provision = match &config.provision {
            Some(path) => Provision::read(path, false),
            None => Provision::read(&config.data.join(PROVISION), true),
        };
        let provision = provision.map_err(ServerError::Provision)?;
        let master_keys = master_keys(&config).map_err(ServerError::MasterKeys)?;
        let audit_file = config.audit_log.as_ref().map(AuditFile::open).transpose();
        let audit_file = audit_file.map_err(ServerError::AuditLog)?;
        let RootKeys { root_key, previous, kept } = data
            .root_keys(config.root_key.as_ref(), config.previous_secret.as_ref())
            .map_err(ServerError::RootKey)?;
        let known = data.drives()?;
        let is_known = known.is_some();
        let paths = match (config.drives.is_empty(), known) {
            (true, Some(known)) => known,
            (true, None) => vec![data.first_drive()],
            (false, _) => config.drives.clone(),
        };
        let store = open_store(&config, &paths, is_known, machine.cores)?;
        let paths: Vec<PathBuf> =
            paths.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect();
        data.keep_drives(&paths)?;
        data.keep_root_key(&root_key).map_err(ServerError::RootKey)?;
        let cores = machine.cores.min(store.shards());
        let memory_bytes = config.memory_bytes.unwrap_or_else(process_bytes);
        let warnings = machine.warnings;
        Ok(Server {
            config,
            audit_file,
            data,
            store,
            cores,
            memory_bytes,
            issuer,
            root_key,
            previous,
            kept,
            provision,
            master_keys,
            address,
            warnings,
        })
    }

    /// What was done to the store at this start.
    pub fn store_origin(&self) -> StoreOrigin {
        self.store.made
    }

    /// Serves until `stop`; calls `on_ready` once when every shard has recovered.
    pub fn run(self, stop: &Stop, on_ready: impl FnOnce() + Send + 'static) -> Result<(), ServerError> {
        let cache_bytes = cache_bytes_per_core(self.config.cache_bytes, self.memory_bytes, self.cores);
        let plan = MemoryPlan::of(self.memory_bytes, self.cores);
        let tuning = Tuning { cache_bytes, ..Tuning::default() };
        let cores = u16::try_from(self.cores).expect("at most 64");
        let store = Store::tuned(self.store.superblocks, cores, tuning);
        let audit = Arc::new(AuditShared::new(self.cores, self.audit_file.is_some()));
        let identities = IdentityCell::new(&account_of(store.id()));
        let setup = Arc::new(CoreSetup {
            keys: SealKeys::derive(self.root_key.secret_key(), store.id()),
            identities: identities.clone(),
            encryption_keys: KeyCell::new(self.master_keys),
            takes_customer_keys: self.address.ip().is_loopback() || self.config.customer_keys_over_http,
            store,
            locks: self.store.locks,
            data: self.data,
            previous: self.previous,
            kept: self.kept,
            forgets_keys: self.config.forgets_keys,
            provision: self.provision,
            root_key: self.root_key,
            presigned_v2: self.config.presigned_v2,
            issuer: self.issuer,
            address: self.address,
            region: self.config.region,
            domains: self.config.domains.into(),
            scrub: self.config.scrub,
            lifecycle_clock: self.config.lifecycle_clock,
            auth_failures_per_minute: self.config.auth_failures_per_minute,
            audit_file: self.audit_file.map(Arc::new),
            plan,
            stop: stop.clone(),
            in_flight: Arc::new(AtomicUsize::new(self.cores)),
            figures: Arc::new(ProcessFigures {
                readiness: Readiness::new(self.cores, on_ready),
                counters: (0..self.cores).map(|_| Counters::new()).collect(),
                memories: (0..self.cores).map(|_| CoreMemory::new(&plan)).collect(),
                cache_bytes,
                purges: Arc::default(),
                lifecycles: Arc::default(),
                throttle: ThrottleFigures::default(),
                audit,
                identities,
            }),
        });
        let cores = rt::start(self.cores, RtConfig::server(), move |context| {
            let setup = setup.clone();
            async move {
                let stop = setup.stop.clone();
                let served = serve_core(setup, context.core).await;
                if served.is_err() {
                    // One core alone cannot serve its shards' buckets: all stop.
                    stop.begin();
                }
                served.map_err(|source| (context.core, source))
            }
        })
        .map_err(ServerError::Cores)?;
        for ended in cores.join() {
            ended
                .map_err(ServerError::Cores)?
                .map_err(|(core, source)| ServerError::Core { core, source })?;
        }
        Ok(())
    }
}
