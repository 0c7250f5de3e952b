//! One core, from its start to its end: opens the drives, listens, recovers its shards, serves, stops.
//!
//! `Server::run` calls [`serve_core`] on each core. I1. The port is open before the shards have recovered: health is
//! answered, everything else told to come again. I2. A core whose recovery fails stops all. I3. The engine stops after
//! the last request of every core is answered.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::Request;
use hyper::service::service_fn;
use nilas_engine::drive::{Arena, Drive, DriveLock};
use nilas_engine::platform::CorePlatform;
use nilas_engine::rt;
use nilas_engine::stats::ShardStats;
use nilas_engine::store::Store;
use nilas_engine::{CoreId, Engine, ShardId};

use crate::admin::{Figures, ProcessFigures};
use crate::audit::AuditFile;
use crate::auth::SigningKeyCache;
use crate::identity::model::Secret;
use crate::identity::oidc::Issuer;
use crate::identity::root_key::RootKey;
use crate::identity::seal::SealKeys;
use crate::identity::store::{IdentityCell, LoadError, RootSecrets};
use crate::listen::{ListenLimits, RequestBody, listen};
use crate::memory::MemoryPlan;
use crate::process::config::CoreError;
use crate::process::data_dir::DataDir;
use crate::process::drives::open_drives;
use crate::process::provision::Provision;
use crate::process::shutdown::{InFlight, Stop};
use crate::s3::lifecycle::Clock;
use crate::s3::lifecycle::runner::{self, RunnerConfig};
use crate::scrub::ScrubSettings;
use crate::server::{CoreState, Identity, Place};
use crate::source::Source;
use crate::sse::store::KeyCell;
use crate::throttle::Throttle;

/// How often it is looked whether a shard became read-only.
const FAILURES_EVERY: Duration = Duration::from_secs(1);

/// What all cores are started with.
pub(super) struct CoreSetup {
    pub(super) store: Store,
    pub(super) locks: Vec<DriveLock>,
    pub(super) data: DataDir,
    pub(super) root_key: RootKey,
    /// Root secrets that the store may still be sealed under, while the secret is being changed.
    pub(super) previous: Vec<Secret>,
    /// Root secrets in files that this start does not take.
    pub(super) kept: Vec<(&'static str, Secret)>,
    /// Whether access keys are deleted whose root secret is lost.
    pub(super) forgets_keys: bool,
    /// Who and what is to be there.
    pub(super) provision: Option<Provision>,
    /// What is derived of the root secret for this store.
    pub(super) keys: SealKeys,
    /// Who there is; loaded by the first core.
    pub(super) identities: Arc<IdentityCell>,
    /// The keys that objects are encrypted under; loaded by the first core.
    pub(super) encryption_keys: Arc<KeyCell>,
    /// Whether customers' keys are taken.
    pub(super) takes_customer_keys: bool,
    pub(super) presigned_v2: bool,
    pub(super) issuer: Option<Arc<Issuer>>,
    pub(super) address: SocketAddr,
    pub(super) region: String,
    pub(super) domains: Arc<[String]>,
    pub(super) scrub: ScrubSettings,
    pub(super) lifecycle_clock: Clock,
    pub(super) auth_failures_per_minute: u32,
    pub(super) audit_file: Option<Arc<AuditFile>>,
    pub(super) plan: MemoryPlan,
    pub(super) stop: Stop,
    /// Cores that may still have requests in flight.
    pub(super) in_flight: Arc<AtomicUsize>,
    pub(super) figures: Arc<ProcessFigures>,
}

/// Serves on this core until `setup.stop`; an error is that of its drives, its socket or its recovery.
pub(super) async fn serve_core(setup: Arc<CoreSetup>, core: CoreId) -> Result<(), CoreError> {
    let in_flight = InFlight::new(setup.in_flight.clone());
    let (arena, drives) = open_drives(&setup.locks, setup.plan.arena())?;
    let figures = Figures { process: setup.figures.clone(), core, arena: arena.clone() };
    let identity = Identity {
        root_key: setup.root_key.clone(),
        keys: setup.keys.clone(),
        cell: setup.identities.clone(),
        presigned_v2: setup.presigned_v2,
        issuer: setup.issuer.clone(),
        signing_keys: RefCell::new(SigningKeyCache::new()),
    };
    let throttle = Throttle::new(setup.auth_failures_per_minute);
    let place = Place {
        region: setup.region.clone(),
        domains: setup.domains.clone(),
        takes_customer_keys: setup.takes_customer_keys,
    };
    let keys = setup.encryption_keys.clone();
    let (scrub, clock) = (setup.scrub, setup.lifecycle_clock);
    let state = Rc::new(CoreState::new(figures, identity, keys, throttle, place, scrub, clock));
    let failed: Rc<RefCell<Option<CoreError>>> = Rc::default();
    let (failure, stop) = (failed.clone(), setup.stop.clone());
    let recovered = recover(setup.clone(), state.clone(), arena, drives);
    rt::spawn_local(async move {
        if let Err(error) = recovered.await {
            *failure.borrow_mut() = Some(error);
            stop.begin();
        }
    });
    // One core writes for all.
    let log = setup.audit_file.clone().filter(|_| core == CoreId(0));
    let audit = setup.figures.audit.clone();
    if let Some(file) = log.clone() {
        rt::spawn_local(audit.clone().write_behind(file));
    }
    accept(&setup, &state).await?;
    // Requests of other cores need this core's shards until they are answered.
    in_flight.end().await;
    if let Some(file) = log {
        audit.write_last(file).await;
    }
    if let Some(engine) = state.engine() {
        engine.stop().await;
    }
    let failed = failed.borrow_mut().take();
    failed.map_or(Ok(()), Err)
}

/// Takes connections until the stop, and lets their requests finish.
async fn accept(setup: &CoreSetup, state: &Rc<CoreState>) -> Result<(), CoreError> {
    let limits = ListenLimits { connections_max: setup.plan.connections, ..ListenLimits::SERVER };
    let (serving, sweeping) = (state.clone(), state.clone());
    let connections = state.memory().connections.clone();
    let shortage = move || sweeping.shortage();
    listen(setup.address, limits, setup.stop.begun(), shortage, move |source: Source| {
        let state = serving.clone();
        let counted = Rc::new(connections.force_acquire(1));
        service_fn(move |request: Request<RequestBody>| {
            let (state, _counted) = (state.clone(), counted.clone());
            async move { Ok::<_, Infallible>(state.handle(request, source).await) }
        })
    })
    .await
    .map_err(CoreError::Listen)
}

/// Recovers this core's shards and lets the core serve them, then watches over the store from the first core.
async fn recover(
    setup: Arc<CoreSetup>,
    state: Rc<CoreState>,
    arena: Arena,
    drives: Vec<Rc<dyn Drive>>,
) -> Result<(), CoreError> {
    let core = state.core();
    let platform = Rc::new(CorePlatform::new(arena));
    let engine = setup.store.start_core(core, platform, drives).await.map_err(CoreError::Engine)?;
    while !engine.is_ready() && !setup.stop.is_begun() {
        rt::sleep(Duration::from_millis(1)).await;
    }
    let watches = core == CoreId(0) && engine.is_ready();
    if watches {
        load_identities(&setup, &engine).await?;
        let note = setup.encryption_keys.load(&engine).await.map_err(CoreError::EncryptionKeys)?;
        if let Some(note) = note {
            eprintln!("nilas: {note}: see docs/encryption.md");
        }
    }
    // Nobody is served before it is known who there is, and under which keys objects are encrypted.
    let all_is_known = || setup.identities.is_loaded() && setup.encryption_keys.is_loaded();
    while !all_is_known() && !setup.stop.is_begun() {
        rt::sleep(Duration::from_millis(1)).await;
    }
    if watches {
        start_scrub(&setup, &engine).await;
    }
    let stats = engine.stats().to_vec();
    state.set_engine(engine);
    if let (true, Some(provision), Some(services)) = (watches, &setup.provision, state.services()) {
        provision.apply(services).await.map_err(CoreError::Provision)?;
    }
    setup.figures.readiness.core_recovered();
    rt::spawn_local(work_off_lifecycles(setup.clone(), state.clone()));
    if watches {
        if let Some(services) = state.services() {
            services.catalog.resume_purges().await;
        }
        report_failures(&stats).await;
    }
    Ok(())
}

/// Loads who there is, under a new root secret if it was changed, and notes that it is in force.
async fn load_identities(setup: &CoreSetup, engine: &Engine) -> Result<(), CoreError> {
    let derive = |secret: &Secret| SealKeys::derive(secret.expose(), engine.store_id());
    let root = RootSecrets {
        current: setup.keys.clone(),
        previous: setup.previous.iter().map(derive).collect(),
        kept: setup.kept.iter().map(|(file, secret)| (*file, derive(secret))).collect(),
        forgets_keys: setup.forgets_keys,
    };
    let loaded = setup.identities.load(engine, root).await;
    let (data, root_key) = (setup.data.clone(), setup.root_key.clone());
    match loaded {
        Ok(None) => {
            match engine.blocking(move || data.promote_root_key(&root_key)).await {
                Ok(Some(Ok(None))) | Ok(None) | Err(_) => {}
                Ok(Some(Ok(Some(waits)))) => eprintln!(
                    "nilas: {} waits: another root key is in force. To change over restart without NILAS_ACCESS_KEY and \
                     NILAS_SECRET_KEY, or with the key of that file in them; to keep the one in force delete the file",
                    waits.display()
                ),
                Ok(Some(Err(error))) => {
                    eprintln!("nilas: the new root key is in force and still in root.env.next: {error}");
                }
            }
            Ok(())
        }
        // Not all is known: a change of the root secret waits for the next start.
        Ok(Some(note)) => {
            eprintln!("nilas: {note}: see docs/operations.md, \"Identities\"");
            Ok(())
        }
        Err(error) => {
            // Made by this start, and of no use to any other: unless something may be sealed under it by now.
            if root_key.is_new() && matches!(error, LoadError::OtherRootSecret) {
                drop(engine.blocking(move || data.forget_root_key()).await);
            }
            Err(CoreError::Identities(error))
        }
    }
}

/// Works off the lifecycles of this core's buckets, until the engine stops.
async fn work_off_lifecycles(setup: Arc<CoreSetup>, state: Rc<CoreState>) {
    let Some(services) = state.services() else { return };
    let config = RunnerConfig {
        clock: setup.lifecycle_clock,
        forgets: state.core() == CoreId(0),
        report: |text| eprintln!("nilas: {text}"),
    };
    let figures = setup.figures.lifecycles.clone();
    runner::run(services.engine.clone(), &services.catalog, config, figures).await;
}

async fn start_scrub(setup: &CoreSetup, engine: &Engine) {
    if let Some(config) = setup.scrub.at_start() {
        // Without room in a mailbox at this moment there is no scrub until somebody asks for one.
        drop(engine.scrub_start(config).await);
    }
}

/// Says on standard error which shards became read-only, once for each.
async fn report_failures(stats: &[Arc<ShardStats>]) {
    let mut reported = vec![false; stats.len()];
    loop {
        for ((shard, stats), reported) in (0..).map(ShardId).zip(stats).zip(&mut reported) {
            if let Some(why) = stats.failure.text().filter(|_| !*reported) {
                eprintln!(
                    "nilas: {shard} takes no writes: {why}: see docs/operations.md, \"Read-only shards\""
                );
                *reported = true;
            }
        }
        rt::sleep(FAILURES_EVERY).await;
    }
}
