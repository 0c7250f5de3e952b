//! The drives of the store: locked, looked at, formatted where nothing is on them.
//!
//! `Server::prepare` calls [`open_store`] before the cores start; each core then opens the locked drives for itself
//! ([`open_drives`]). I1. Nothing is formatted where the data directory knows a store. I2. No file is made in place of a
//! device.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use nilas_engine::CoreId;
use nilas_engine::drive::probe::{free_bytes, probe_directory, probe_medium};
use nilas_engine::drive::{
    Arena, ArenaConfig, Drive, DriveLock, OpenFault, Ring, RingConfig, UringDrive, create_file, lock_drive,
};
use nilas_engine::format::superblock::Superblock;
use nilas_engine::rt::{self, RtConfig};
use nilas_engine::store::{FormatConfig, format, recognise};

use crate::process::config::{CoreError, ServerConfig, ServerError};
use crate::process::files::remove_file;
use crate::process::machine::retry_while_held;

/// A store that was found or made, its drives locked.
#[derive(Debug)]
pub(super) struct OpenedStore {
    /// In the order of the drives, as are the superblocks.
    pub(super) locks: Vec<DriveLock>,
    pub(super) superblocks: Vec<Superblock>,
    /// Whether it was formatted just now.
    pub(super) is_formatted: bool,
}

impl OpenedStore {
    /// Shards of the store: more cores than that have nothing to do.
    pub(super) fn shards(&self) -> usize {
        usize::from(self.superblocks.first().map_or(1, |superblock| superblock.shard_count))
    }
}

/// Locks the drives and finds the store on them, or makes one where that is allowed: where the data directory knows
/// none (`is_known`). A failure removes the files that were made.
pub(super) fn open_store(
    config: &ServerConfig,
    paths: &[PathBuf],
    is_known: bool,
    cores: usize,
) -> Result<OpenedStore, ServerError> {
    let mut made = Vec::new();
    open_or_make(config, paths, is_known, cores, &mut made).inspect_err(|_| {
        // Made by us, and still blank: left behind they would stand in the way of the next start.
        made.iter().for_each(|path| remove_file(path));
    })
}

/// `made` gets the files that were made.
fn open_or_make(
    config: &ServerConfig,
    paths: &[PathBuf],
    is_known: bool,
    cores: usize,
    made: &mut Vec<PathBuf>,
) -> Result<OpenedStore, ServerError> {
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
    let lock = |path: &PathBuf| retry_while_held(|| lock_drive(path), |e| e.fault == OpenFault::InUse);
    let locks: Vec<DriveLock> =
        paths.iter().map(lock).collect::<Result<_, _>>().map_err(ServerError::Drive)?;
    let shards = u16::try_from(cores.clamp(8, 64)).expect("at most 64");
    let found = recognise_or_format(&locks, shards, !is_known)?;
    let (superblocks, is_formatted) = found.ok_or_else(|| other(&paths[0]))?;
    Ok(OpenedStore { locks, superblocks, is_formatted })
}

/// A sparse file: it takes space as the store grows.
fn make_drive_file(path: &Path, bytes: Option<u64>) -> Result<(), ServerError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    probe_directory(parent).map_err(ServerError::Machine)?;
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => {
            let free = free_bytes(parent)
                .map_err(|source| ServerError::Directory { path: parent.to_path_buf(), source })?;
            (free / 2).clamp(256 << 20, 1 << 40)
        }
    };
    create_file(path, bytes).map_err(ServerError::Drive)
}

/// The superblocks of the store, and whether it was formatted just now. Runs on a core of its own that ends before the
/// others start. `None`: the drives are blank and may not be formatted.
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

/// A core's own ring and buffers, and the drives through them.
pub(super) fn open_drives(
    locks: &[DriveLock],
    config: ArenaConfig,
) -> Result<(Arena, Vec<Rc<dyn Drive>>), CoreError> {
    let arena = Arena::new(config).map_err(CoreError::Ring)?;
    let ring = Ring::new(&arena, RingConfig::default()).map_err(CoreError::Ring)?;
    let mut drives: Vec<Rc<dyn Drive>> = Vec::new();
    for lock in locks {
        drives.push(UringDrive::open(lock, &ring).map_err(CoreError::Drive)?);
    }
    Ok((arena, drives))
}
