//! The process: checks the machine, opens or formats the drives, starts the cores and serves until it is told to stop.
//! [glommio: through `nilas_engine::rt` and `listen` only]
//!
//! `tools/nilas` calls [`Server::prepare`], prints what it found, then [`Server::run`]. Each core has one
//! [`CoreState`]; requests of its connections go through [`CoreState::handle`] in `gateway`.

use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::service::service_fn;
use nilas_catalog::Catalog;
use nilas_engine::drive::probe::{ProbeError, probe, probe_directory, probe_medium};
use nilas_engine::drive::uring::OpenFault;
use nilas_engine::drive::uring::{create_file, lock_drive};
use nilas_engine::drive::{Arena, ArenaConfig, Drive, DriveLock, OpenError, Ring, RingConfig, UringDrive};
use nilas_engine::format::superblock::Superblock;
use nilas_engine::rt::{self, CorePlatform, RtConfig, RtError};
use nilas_engine::stats::ShardStats;
use nilas_engine::store::{FormatConfig, Store, StoreError, format, recognise};
use nilas_engine::{CoreId, DamagedUnit, Engine, EngineError, ScrubConfig, ShardId, Tuning};

use crate::admin;
use crate::attributes;
use crate::auth::SigningKeyCache;
use crate::body::Md5Lanes;
use crate::download::Downloads;
use crate::drive_list;
use crate::limits::CACHE_MEMORY_PART;
use crate::listen::{ListenError, ListenLimits, Peer, RequestBody, Stop, claim_address, listen};
use crate::memory::{CoreMemory, MemoryPlan, process_bytes};
use crate::root_key::{RootKey, RootKeyError, remove_file, wait_before_start};
use crate::s3::{Owner, S3};

/// How long, and how often, a start waits for what a killed process still holds.
const HELD_WAIT: Duration = Duration::from_millis(20);
const HELD_TRIES: u32 = 100;

/// Bytes in a second of a scrub that was asked for where none is started by itself, and how long the first pass waits
/// after the start.
const SCRUB_BYTES_PER_SECOND: u64 = 32 << 20;
const SCRUB_FIRST_AFTER: Duration = Duration::from_secs(600);
/// How often it is looked whether a shard became read-only.
const FAILURES_EVERY: Duration = Duration::from_secs(1);

/// What the process is asked to do.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Directory of the root key and of the drive file that is made when no drive is named.
    pub data: PathBuf,
    /// Drives in their order; empty for one file in `data`.
    pub drives: Vec<PathBuf>,
    /// Size of drive files that have to be made; `None` for half of the free space, at most 1 TiB.
    pub drive_bytes: Option<u64>,
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// Cores to use; `None` for all that the process may use.
    pub cores: Option<usize>,
    /// Bytes of the read caches of all cores together, 0 for none; `None` for a quarter of the memory that the process
    /// may use ([`CACHE_MEMORY_PART`]).
    pub cache_bytes: Option<u64>,
    /// The root key from the environment: access key and secret key.
    pub root_key: Option<(String, String)>,
    /// Bytes that the scrub reads in a second; 0: none is started by itself.
    pub scrub_bytes_per_second: u64,
    /// Time between the end of a pass of the scrub and the next one.
    pub scrub_every: Duration,
    /// The region that S3 clients are told.
    pub region: String,
    /// Memory that the process is to get by with; `None` for all that it may use.
    pub memory_bytes: Option<u64>,
}

/// Why the process cannot serve.
#[derive(Debug)]
#[expect(missing_docs, reason = "each wraps the error of the step it is named after")]
pub enum ServerError {
    Machine(ProbeError),
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    RootKey(RootKeyError),
    Drive(OpenError),
    Store(StoreError),
    Address(ListenError),
    Cores(RtError),
    Core {
        core: CoreId,
        source: CoreError,
    },
    /// One drive is named twice.
    SameDrive {
        path: PathBuf,
    },
    /// A device that is not there; no file is made in its place.
    NoDevice {
        path: PathBuf,
    },
    /// The data directory knows a store, and these drives are new or blank.
    OtherDrives {
        data: PathBuf,
        path: PathBuf,
    },
}

/// Why one core cannot serve.
#[derive(Debug)]
#[expect(missing_docs, reason = "each wraps the error of the step it is named after")]
pub enum CoreError {
    Ring(std::io::Error),
    Drive(OpenError),
    Engine(EngineError),
    Listen(ListenError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Machine(e) => write!(f, "{e}"),
            ServerError::Directory { path, source } => write!(f, "directory {}: {source}", path.display()),
            ServerError::RootKey(e) => write!(f, "{e}"),
            ServerError::Drive(e) => write!(f, "{e}"),
            ServerError::Store(e) => write!(f, "{e}"),
            ServerError::Address(e) => write!(f, "{e}"),
            ServerError::Cores(e) => write!(f, "{e}"),
            ServerError::Core { core, source } => write!(f, "core {}: {source}", core.0),
            ServerError::SameDrive { path } => write!(f, "drive {} is named twice", path.display()),
            ServerError::NoDevice { path } => {
                write!(f, "drive {} is missing: there is no such device", path.display())
            }
            ServerError::OtherDrives { data, path } => write!(
                f,
                "drive {} is missing or blank, but {} belongs to a store on other drives (its file `drives` names them): \
                 name those, or take another --data for a new store",
                path.display(),
                data.display()
            ),
        }
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Ring(e) => write!(f, "its io_uring: {e}"),
            CoreError::Drive(e) => write!(f, "{e}"),
            CoreError::Engine(e) => write!(f, "{e}"),
            CoreError::Listen(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for ServerError {}
impl std::error::Error for CoreError {}

/// A server that is ready to run: drives locked and recognised, address claimed, nothing served yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    locks: Vec<DriveLock>,
    superblocks: Vec<Superblock>,
    cores: usize,
    memory: MemoryPlan,
    process_bytes: u64,
    /// The root key; [`RootKey::is_new`] when it was made just now.
    pub root_key: RootKey,
    /// The address that is listened on.
    pub address: SocketAddr,
    /// Whether the store was formatted just now.
    pub is_formatted: bool,
    /// What the machine lacks that the server can do without, one line each.
    pub warnings: Vec<String>,
}

impl Server {
    /// Checks the machine, makes or opens the store, claims the address.
    pub fn prepare(config: ServerConfig) -> Result<Server, ServerError> {
        let cores = config.cores.unwrap_or_else(|| rt::allowed_cpus().len()).clamp(1, 64);
        let rt_config = RtConfig::server();
        let facts = probe(cores, rt_config.io_memory_bytes).map_err(ServerError::Machine)?;
        let mut warnings = Vec::new();
        if !facts.memlock_suffices() {
            warnings.push(format!(
                "RLIMIT_MEMLOCK is {} bytes, {} would let buffers be registered: raise it (ulimit -l, LimitMEMLOCK=) to \
                 save CPU",
                facts.memlock_bytes.unwrap_or(0),
                facts.memlock_needed_bytes
            ));
        }
        // Before anything is made: a start that cannot serve leaves nothing behind.
        let claimed = patiently(|| claim_address(config.address), |e| e.code == libc::EADDRINUSE);
        let address = claimed.map_err(ServerError::Address)?;
        make_directory(&config.data)?;
        let root_key = RootKey::find(&config.data, config.root_key.clone()).map_err(ServerError::RootKey)?;
        let known = drive_list::read(&config.data)
            .map_err(|source| ServerError::Directory { path: config.data.clone(), source })?;
        let paths = match (config.drives.is_empty(), &known) {
            (true, Some(known)) => known.clone(),
            (true, None) => vec![config.data.join("drive0.nilas")],
            (false, _) => config.drives.clone(),
        };
        let mut made = Vec::new();
        let opened = open_store(&config, &paths, known.is_some(), cores, &mut made).inspect_err(|_| {
            // Made by us, and still blank: left behind they would stand in the way of the next start.
            made.iter().for_each(|path| remove_file(path));
        });
        let (locks, superblocks, is_formatted) = opened?;
        let paths: Vec<PathBuf> =
            paths.iter().map(|path| std::path::absolute(path).unwrap_or(path.clone())).collect();
        drive_list::keep(&config.data, &paths)
            .map_err(|source| ServerError::Directory { path: config.data.clone(), source })?;
        root_key.keep(&config.data).map_err(ServerError::RootKey)?;
        let cores =
            cores.min(usize::from(superblocks.first().map_or(1, |superblock| superblock.shard_count)));
        let process_bytes = config.memory_bytes.unwrap_or_else(process_bytes);
        let memory = MemoryPlan::of(process_bytes, cores);
        Ok(Server {
            config,
            locks,
            superblocks,
            cores,
            memory,
            process_bytes,
            root_key,
            address,
            is_formatted,
            warnings,
        })
    }

    /// Serves until `stop`; calls `on_ready` once when every shard has recovered.
    pub fn run(self, stop: &Stop, on_ready: impl FnOnce() + Send + 'static) -> Result<(), ServerError> {
        let cache_bytes = cache_bytes_per_core(self.config.cache_bytes, self.process_bytes, self.cores);
        let tuning = Tuning { cache_bytes, ..Tuning::default() };
        let cores = u16::try_from(self.cores).expect("at most 64");
        let store = Store::tuned(self.superblocks.clone(), cores, tuning);
        let setup = Arc::new(CoreSetup {
            store: store.clone(),
            locks: self.locks.clone(),
            root_key: self.root_key.clone(),
            address: self.address,
            region: self.config.region.clone(),
            stop: stop.clone(),
            scrub_bytes_per_second: self.config.scrub_bytes_per_second,
            scrub_every: self.config.scrub_every,
            cache_bytes,
            recovering: Arc::new(AtomicUsize::new(self.cores)),
            counters: (0..self.cores).map(|_| Arc::new(admin::Counters::new())).collect(),
            plan: self.memory,
            memory: (0..self.cores).map(|_| CoreMemory::new(&self.memory)).collect(),
            serving: Arc::new(AtomicUsize::new(self.cores)),
            on_ready: OnReady::new(on_ready),
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

/// What one core's cache may hold. Where neither the operator nor the kernel says anything there is none.
fn cache_bytes_per_core(asked_bytes: Option<u64>, memory_bytes: u64, cores: usize) -> u64 {
    let all = asked_bytes.unwrap_or(memory_bytes / CACHE_MEMORY_PART);
    all / cores.max(1) as u64
}

/// Locks the drives and finds the store on them, or makes one where that is allowed. `made` gets the files it made.
fn open_store(
    config: &ServerConfig,
    paths: &[PathBuf],
    is_known: bool,
    cores: usize,
    made: &mut Vec<PathBuf>,
) -> Result<(Vec<DriveLock>, Vec<Superblock>, bool), ServerError> {
    let other = |path: &PathBuf| ServerError::OtherDrives { data: config.data.clone(), path: path.clone() };
    for (nth, path) in paths.iter().enumerate() {
        if paths[..nth].contains(path) {
            return Err(ServerError::SameDrive { path: path.clone() });
        }
        if path.exists() {
            probe_medium(path).map_err(ServerError::Machine)?;
        } else if is_known {
            return Err(other(path));
        } else if path.starts_with("/dev") && !path.starts_with("/dev/shm") {
            return Err(ServerError::NoDevice { path: path.clone() });
        } else {
            make_drive_file(path, config.drive_bytes)?;
            made.push(path.clone());
        }
    }
    let lock = |path: &PathBuf| patiently(|| lock_drive(path), |e| e.fault == OpenFault::InUse);
    let locks: Vec<DriveLock> =
        paths.iter().map(lock).collect::<Result<_, _>>().map_err(ServerError::Drive)?;
    let shards = u16::try_from(cores.clamp(8, 64)).expect("at most 64");
    let found = recognise_or_format(&locks, shards, !is_known)?;
    let (superblocks, is_formatted) = found.ok_or_else(|| other(&paths[0]))?;
    Ok((locks, superblocks, is_formatted))
}

/// Tries again for a moment what a process that was just killed may still hold: the kernel takes down its io_uring,
/// and with it sockets and drives, only after the process is gone.
fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>, is_held: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 0..HELD_TRIES {
        match attempt() {
            Err(e) if is_held(&e) => wait_before_start(HELD_WAIT),
            result => return result,
        }
    }
    attempt()
}

struct CoreSetup {
    store: Store,
    locks: Vec<DriveLock>,
    root_key: RootKey,
    address: SocketAddr,
    region: String,
    stop: Stop,
    scrub_bytes_per_second: u64,
    scrub_every: Duration,
    /// Bound of the read cache of one core; 0: it has none.
    cache_bytes: u64,
    /// Cores that cannot serve yet.
    recovering: Arc<AtomicUsize>,
    counters: Arc<[Arc<admin::Counters>]>,
    plan: MemoryPlan,
    /// One for each core.
    memory: Arc<[CoreMemory]>,
    /// Cores that may still have requests at hand.
    serving: Arc<AtomicUsize>,
    on_ready: OnReady,
}

/// Counts a core among those with requests at hand, until it is dropped.
struct Serving(Arc<AtomicUsize>);

impl Serving {
    /// Waits until no core has requests at hand any more.
    async fn end(self) {
        let cores = self.0.clone();
        drop(self);
        while cores.load(Ordering::Acquire) > 0 {
            rt::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Called by the core that is ready last.
struct OnReady(crossbeam_queue::ArrayQueue<Box<dyn FnOnce() + Send>>);

impl OnReady {
    fn new(call: impl FnOnce() + Send + 'static) -> OnReady {
        let queue = crossbeam_queue::ArrayQueue::new(1);
        // A fresh queue of one has room for one.
        drop(queue.push(Box::new(call) as Box<dyn FnOnce() + Send>));
        OnReady(queue)
    }

    fn call(&self) {
        if let Some(call) = self.0.pop() {
            call();
        }
    }
}

fn make_directory(path: &Path) -> Result<(), ServerError> {
    let failed = |source| ServerError::Directory { path: path.to_path_buf(), source };
    crate::root_key::make_private_directory(path).map_err(failed)
}

/// A sparse file: it takes space as the store grows.
fn make_drive_file(path: &Path, bytes: Option<u64>) -> Result<(), ServerError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    probe_directory(parent).map_err(ServerError::Machine)?;
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => {
            let free = crate::root_key::free_bytes(parent)
                .map_err(|source| ServerError::Directory { path: parent.to_path_buf(), source })?;
            (free / 2).clamp(256 << 20, 1 << 40)
        }
    };
    create_file(path, bytes).map_err(ServerError::Drive)
}

/// Runs on a core of its own that ends before the others start. `None`: the drives are blank and may not be formatted.
fn recognise_or_format(
    locks: &[DriveLock],
    shards: u16,
    may_format: bool,
) -> Result<Option<(Vec<Superblock>, bool)>, ServerError> {
    let locks = locks.to_vec();
    let prepared = rt::start(1, RtConfig::server(), move |_| {
        let locks = locks.clone();
        async move {
            let (_, drives) = open_drives(&locks, ArenaConfig::default()).map_err(|error| match error {
                CoreError::Drive(e) => ServerError::Drive(e),
                source => ServerError::Core { core: CoreId(0), source },
            })?;
            if let Some(superblocks) = recognise(&drives).await.map_err(ServerError::Store)? {
                return Ok(Some((superblocks, false)));
            }
            if !may_format {
                return Ok(None);
            }
            let config =
                FormatConfig { shards, now_ms: rt::now_ms(), store: rt::random_u128(), zone_bytes: None };
            Ok(Some((format(&drives, config).await.map_err(ServerError::Store)?, true)))
        }
    })
    .map_err(ServerError::Cores)?;
    prepared.join().pop().expect("one core was started").map_err(ServerError::Cores)?
}

fn open_drives(locks: &[DriveLock], config: ArenaConfig) -> Result<(Arena, Vec<Rc<dyn Drive>>), CoreError> {
    let arena = Arena::new(config).map_err(CoreError::Ring)?;
    let ring = Ring::new(&arena, RingConfig::default()).map_err(CoreError::Ring)?;
    let mut drives: Vec<Rc<dyn Drive>> = Vec::new();
    for lock in locks {
        drives.push(UringDrive::open(lock, &ring).map_err(CoreError::Drive)?);
    }
    Ok((arena, drives))
}

async fn serve_core(setup: Arc<CoreSetup>, core: CoreId) -> Result<(), CoreError> {
    let at_hand = Serving(setup.serving.clone());
    let (arena, drives) = open_drives(&setup.locks, setup.plan.arena())?;
    let memory = setup.memory[usize::from(core.0)].clone();
    let state = Rc::new(CoreState {
        core,
        parts: OnceCell::new(),
        recovering: setup.recovering.clone(),
        root_key: setup.root_key.clone(),
        signing_keys: RefCell::new(SigningKeyCache::new()),
        request_number: Cell::new(0),
        request_salt: rt::random_u128(),
        region: setup.region.clone(),
        scrub_bytes_per_second: setup.scrub_bytes_per_second,
        scrub_every: setup.scrub_every,
        cache_bytes: setup.cache_bytes,
        counters: setup.counters.clone(),
        memories: setup.memory.clone(),
        downloads: Downloads::new(memory.downloads.clone()),
        memory: memory.clone(),
        arena: arena.clone(),
    });
    // Listening comes first: until the shards have recovered, health is answered and everything else told to wait.
    let (recovering, recovery) = (state.clone(), setup.clone());
    let failed: Rc<RefCell<Option<CoreError>>> = Rc::default();
    let failure = failed.clone();
    rt::spawn_local(async move {
        let platform = Rc::new(CorePlatform::new(arena));
        match recovery.store.start_core(core, platform, drives).await {
            Ok(engine) => {
                while !engine.is_ready() && !recovery.stop.is_begun() {
                    rt::sleep(Duration::from_millis(1)).await;
                }
                if core == CoreId(0) && engine.is_ready() && recovery.scrub_bytes_per_second > 0 {
                    // Without room in a mailbox at this moment there is no scrub until somebody asks for one.
                    drop(engine.scrub_start(recovering.scrub_config(SCRUB_FIRST_AFTER)).await);
                }
                let watched = (core == CoreId(0) && engine.is_ready()).then(|| engine.stats().to_vec());
                recovering.set_engine(engine);
                if recovery.recovering.fetch_sub(1, Ordering::AcqRel) == 1 {
                    recovery.on_ready.call();
                }
                if let Some(stats) = watched {
                    tell_failures(&stats).await;
                }
            }
            Err(error) => {
                *failure.borrow_mut() = Some(CoreError::Engine(error));
                recovery.stop.begin();
            }
        }
    });
    let serving = state.clone();
    let limits = ListenLimits { connections_max: setup.plan.connections, ..ListenLimits::SERVER };
    let (sweeping, connections) = (state.clone(), memory.connections.clone());
    let shortage = move || {
        sweeping.downloads.shed_stalled();
        sweeping.memory.take_shortage()
    };
    listen(setup.address, limits, setup.stop.clone(), shortage, move |_peer: Peer| {
        let state = serving.clone();
        let counted = Rc::new(connections.take_over(1));
        service_fn(move |request: Request<RequestBody>| {
            let (state, _counted) = (state.clone(), counted.clone());
            async move { Ok::<_, Infallible>(state.handle(request).await) }
        })
    })
    .await
    .map_err(CoreError::Listen)?;
    // Requests of other cores need this core's shards until they are answered.
    at_hand.end().await;
    if let Some(parts) = state.parts.get() {
        parts.engine.stop().await;
    }
    let failed = failed.borrow_mut().take();
    failed.map_or(Ok(()), Err)
}

/// Says on standard error which shards became read-only, once for each.
async fn tell_failures(stats: &[Arc<ShardStats>]) {
    let mut told = vec![false; stats.len()];
    loop {
        for ((shard, stats), told) in (0..).map(ShardId).zip(stats).zip(&mut told) {
            if let Some(why) = stats.failure.text().filter(|_| !*told) {
                eprintln!(
                    "nilas: {shard} takes no writes: {why}: see docs/operations.md, \"Read-only shards\""
                );
                *told = true;
            }
        }
        rt::sleep(FAILURES_EVERY).await;
    }
}

/// What one core needs to answer requests.
pub(crate) struct CoreState {
    pub(crate) core: CoreId,
    parts: OnceCell<Services>,
    recovering: Arc<AtomicUsize>,
    pub(crate) root_key: RootKey,
    pub(crate) signing_keys: RefCell<SigningKeyCache>,
    pub(crate) request_number: Cell<u64>,
    pub(crate) request_salt: u128,
    region: String,
    scrub_bytes_per_second: u64,
    scrub_every: Duration,
    /// Bound of this core's read cache.
    pub(crate) cache_bytes: u64,
    /// One for each core of the process, this core's among them.
    pub(crate) counters: Arc<[Arc<admin::Counters>]>,
    memories: Arc<[CoreMemory]>,
    pub(crate) memory: CoreMemory,
    downloads: Downloads,
    pub(crate) arena: Arena,
}

/// What there is once the store has recovered.
pub(crate) struct Services {
    pub(crate) engine: Engine,
    pub(crate) s3: S3,
    pub(crate) catalog: Catalog,
}

impl CoreState {
    fn set_engine(&self, engine: Engine) {
        let owner = Owner { id: self.root_key.owner_id(), display_name: "root".to_owned() };
        let md5_lanes = Md5Lanes::new();
        let s3 = S3 {
            engine: engine.clone(),
            region: self.region.clone(),
            owner,
            md5_lanes,
            memory: self.memory.clone(),
            downloads: self.downloads.clone(),
        };
        let catalog = Catalog::new(engine.clone(), attributes::json(), &self.region);
        // Set once, by the one recovery of this core.
        drop(self.parts.set(Services { engine, s3, catalog }));
    }

    pub(crate) fn scrub_config(&self, first_after: Duration) -> ScrubConfig {
        let bytes_per_second = match self.scrub_bytes_per_second {
            0 => SCRUB_BYTES_PER_SECOND,
            bytes => bytes,
        };
        let report = |damaged: &DamagedUnit| eprintln!("nilas: damaged: {damaged}");
        ScrubConfig { bytes_per_second, first_after, repeat_after: self.scrub_every, report }
    }

    /// Whether every core serves: the next connection may be another core's.
    pub(crate) fn is_ready(&self) -> bool {
        self.recovering.load(Ordering::Acquire) == 0
    }

    pub(crate) fn parts(&self) -> Option<&Services> {
        self.parts.get()
    }

    pub(crate) fn counters(&self) -> &[Arc<admin::Counters>] {
        &self.counters
    }

    pub(crate) fn memories(&self) -> &[CoreMemory] {
        &self.memories
    }

    pub(crate) fn core(&self) -> CoreId {
        self.core
    }
}

#[cfg(test)]
mod tests {
    use super::cache_bytes_per_core;

    #[test]
    fn shares_of_the_cache() {
        let check = |asked, memory, cores, expected| {
            assert_eq!(cache_bytes_per_core(asked, memory, cores), expected, "{asked:?} {memory:?} {cores}");
        };
        check(None, 16 << 30, 2, 2 << 30);
        check(Some(1 << 30), 16 << 30, 4, 256 << 20);
        check(Some(64 << 30), 16 << 30, 1, 64 << 30);
        check(Some(0), 16 << 30, 2, 0);
    }
}
