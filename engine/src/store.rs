//! A store from outside: formatting drives, recognising them again, and starting a core on them.
//!
//! The process calls `format` or `recognise` once before its cores start, then `start_core` on each core. I1. Formatting
//! writes the superblocks last, so a drive that was formatted by half is still blank to the next start. I2. A drive that
//! holds anything else is never written to.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::drive::block_buffer;
use crate::drive::{Buffer, Drive, Durability};
use crate::error::{Corrupt, DriveError, EngineError};
use crate::format::anchor::Anchor;
use crate::format::is_zero;
use crate::format::superblock::{
    FORMAT_VERSION, NotSuperblock, Superblock, TAIL_BYTES, ZONE_BYTES_USUAL_MIN, ZONES_AT, divide,
    is_zone_bytes,
};
use crate::format::zone::{ZoneHeader, ZoneKind};
use crate::handle::directory::{DIRECTORY_SHARD, directory_of};
use crate::handle::{Core, Engine, StoreShared, Tuning};
use crate::limits::{SHARDS_MAX, ZONE_BYTES_MIN};
use crate::mailbox::Mesh;
use crate::meta::checkpoint::{first_anchor, load, write_anchor};
use crate::meta::log::{Log, LogContext};
use crate::meta::recover::{Space, ZoneMap, derive_space, replay, scan_zones};
use crate::mutant::{Mutant, seeded};
use crate::platform::{Platform, spawn};
use crate::shard::{BucketRules, Shard, ShardContext, ShardSpace};
use crate::space::extents::FreeSpace;
use crate::space::grant::grant_zone;
use crate::space::usage::Usage;
use crate::space::zones::{Purpose, ZoneTable};
use crate::units::{BLOCK_BYTES, BucketId, CoreId, DriveOffset, ShardId};

/// Why a drive cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The drive answered with an error.
    Drive(DriveError),
    /// There is something on it that is no store of ours.
    Foreign {
        /// The drive.
        drive: Arc<str>,
        /// What was looked at.
        what: &'static str,
    },
    /// It was written by a newer program.
    Newer {
        /// The drive.
        drive: Arc<str>,
        /// Its format.
        got: u32,
    },
    /// It was written in a format that this program has left behind.
    Older {
        /// The drive.
        drive: Arc<str>,
        /// Its format.
        got: u32,
    },
    /// It was written in an older format, which [`upgrade`] makes one of this program's.
    Upgradable {
        /// The drive.
        drive: Arc<str>,
        /// Its format.
        got: u32,
    },
    /// It is smaller than its superblock says, or too small to be formatted.
    Small {
        /// The drive.
        drive: Arc<str>,
        /// Its size in bytes.
        got: u64,
        /// The size it must have.
        expected: u64,
    },
    /// Its zones are smaller than this program can use.
    SmallZones {
        /// The drive.
        drive: Arc<str>,
        /// Bytes of a zone.
        got: u64,
        /// The fewest that it may have.
        expected: u64,
    },
    /// It belongs to another store.
    Stranger {
        /// The drive.
        drive: Arc<str>,
        /// The id of its store.
        got: u128,
        /// The id of the first drive's store.
        expected: u128,
    },
    /// It stands in another place of its store.
    Misplaced {
        /// The drive.
        drive: Arc<str>,
        /// What differs.
        what: &'static str,
        /// What the drive says.
        got: u64,
        /// What was expected.
        expected: u64,
    },
    /// Some drives of the store were not given.
    Incomplete {
        /// One that was.
        drive: Arc<str>,
        /// Drives that were given.
        got: u64,
        /// Drives of the store.
        expected: u64,
        /// The lowest number, from 0, of those that were not.
        missing: u16,
    },
    /// Some drives of the store are blank, others are not.
    Mixed {
        /// A blank one.
        drive: Arc<str>,
    },
    /// Something in the engine failed.
    Engine(EngineError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Drive(e) => write!(f, "{e}"),
            StoreError::Foreign { drive, what } => write!(
                f,
                "drive {drive} holds something that is no Nilas store ({what}): it is left untouched; give another \
                 path, or wipe it yourself if nothing on it matters"
            ),
            StoreError::Newer { drive, got } => write!(
                f,
                "drive {drive} has format {got}, this program knows up to {FORMAT_VERSION}: use a newer program"
            ),
            StoreError::Older { drive, got } => write!(
                f,
                "drive {drive} has format {got}, this program reads format {FORMAT_VERSION} only and leaves it \
                 untouched: start the program that wrote it and copy its buckets to a store of this one"
            ),
            StoreError::Upgradable { drive, got } => write!(
                f,
                "drive {drive} has format {got}, this program writes format {FORMAT_VERSION}: it is left untouched; \
                 start once with --upgrade, after which no older program opens the store"
            ),
            StoreError::Small { drive, got, expected } => {
                write!(f, "drive {drive} has {got} bytes, {expected} are needed")
            }
            StoreError::SmallZones { drive, got, expected } => write!(
                f,
                "drive {drive} has zones of {got} bytes, {expected} are needed: it is left untouched; copy its \
                 buckets to a new store with the program that wrote it"
            ),
            StoreError::Stranger { drive, got, expected } => {
                write!(
                    f,
                    "drive {drive}: store id is {got:032x}, that of the first drive {expected:032x}: it belongs to \
                     another store"
                )
            }
            StoreError::Misplaced { drive, what, got, expected } => {
                write!(
                    f,
                    "drive {drive}: {what} is {got}, expected {expected}: give the store's drives in their order"
                )
            }
            StoreError::Incomplete { drive, got, expected, missing } => write!(
                f,
                "drive {drive} belongs to a store of {expected} drives, {got} given: number {missing}, counted from 0, \
                 is missing: give all of them in their order"
            ),
            StoreError::Mixed { drive } => {
                write!(
                    f,
                    "drive {drive} is blank while others belong to a store: a drive is missing or in the wrong place"
                )
            }
            StoreError::Engine(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<DriveError> for StoreError {
    fn from(e: DriveError) -> Self {
        StoreError::Drive(e)
    }
}

impl From<EngineError> for StoreError {
    fn from(e: EngineError) -> Self {
        StoreError::Engine(e)
    }
}

/// How a new store is made.
#[derive(Clone, Copy, Debug)]
pub struct FormatConfig {
    /// Shards, 1 to `SHARDS_MAX`; fixed for the life of the store.
    pub shards: u16,
    /// The time, milliseconds since 1970.
    pub now_ms: u64,
    /// The store's identity.
    pub store: u128,
    /// Bytes of one zone, a power of two from `ZONE_BYTES_MIN` to `ZONE_BYTES_MAX`; `None` chooses by the size of the
    /// drive.
    pub zone_bytes: Option<u64>,
}

/// Reads the superblocks of all drives; `Ok(None)` when all of them are blank.
///
/// A store of an older format is [`StoreError::Upgradable`]; nothing is written.
pub async fn recognise(drives: &[Rc<dyn Drive>]) -> Result<Option<Vec<Superblock>>, StoreError> {
    let Some(found) = find(drives).await? else { return Ok(None) };
    if let Some((got, drive)) =
        found.iter().zip(drives).find_map(|(found, drive)| Some((found.older?, drive)))
    {
        return Err(StoreError::Upgradable { drive: drive.name(), got });
    }
    Ok(Some(found.into_iter().map(|found| found.superblock).collect()))
}

/// As [`recognise`], for who only reads: a store of an older format too.
pub(crate) async fn recognise_any(drives: &[Rc<dyn Drive>]) -> Result<Option<Vec<Superblock>>, StoreError> {
    let found = find(drives).await?;
    Ok(found.map(|found| found.into_iter().map(|found| found.superblock).collect()))
}

/// What [`upgrade`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The superblocks of all drives, as they are now.
    pub superblocks: Vec<Superblock>,
    /// The oldest format that a drive had; `None` when all had this program's and nothing was written.
    pub from: Option<u32>,
}

/// As [`recognise`], but makes a store of an older format one of this program's, durable on return.
///
/// Only superblocks are written: whatever else an older format wrote differently is read as it is, and written anew
/// with the next checkpoint. Cut at any moment, it goes on at the next call; until then [`recognise`] refuses the store.
/// Afterwards no older program opens it.
pub async fn upgrade(drives: &[Rc<dyn Drive>]) -> Result<Option<Upgraded>, StoreError> {
    let Some(mut found) = find(drives).await? else { return Ok(None) };
    let from = found.iter().filter_map(|found| found.older).min();
    // A drive with nothing but new copies is left alone: its others may be what an earlier call did not get to.
    for (found, drive) in found.iter_mut().zip(drives).filter(|(found, _)| found.older.is_some()) {
        found.superblock.sequence += 1;
        write_superblock(&**drive, &found.superblock).await?;
    }
    Ok(Some(Upgraded { superblocks: found.into_iter().map(|found| found.superblock).collect(), from }))
}

/// The superblock of one drive.
struct Found {
    superblock: Superblock,
    /// The format of a copy that is older than this program's.
    older: Option<u32>,
}

/// Reads the superblocks of all drives and holds them against each other; `Ok(None)` when all drives are blank.
async fn find(drives: &[Rc<dyn Drive>]) -> Result<Option<Vec<Found>>, StoreError> {
    let mut found = Vec::new();
    let mut blank = None;
    for drive in drives {
        match read_superblock(&**drive).await? {
            Some(superblock) => found.push(superblock),
            None => blank = Some(drive.name()),
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    if let Some(drive) = blank {
        return Err(StoreError::Mixed { drive });
    }
    let superblocks = || found.iter().map(|found| &found.superblock);
    let first = found[0].superblock;
    if let Some((stranger, drive)) = superblocks().zip(drives).find(|(found, _)| found.store != first.store) {
        let (got, expected) = (stranger.store, first.store);
        return Err(StoreError::Stranger { drive: drive.name(), got, expected });
    }
    let is_there = |number: u16| superblocks().any(|superblock| superblock.drive_index == number);
    if drives.len() < usize::from(first.drive_count)
        && let Some(missing) = (0..first.drive_count).find(|number| !is_there(*number))
    {
        let (got, expected) = (drives.len() as u64, first.drive_count.into());
        return Err(StoreError::Incomplete { drive: drives[0].name(), got, expected, missing });
    }
    for (index, (superblock, drive)) in (0_u16..).zip(superblocks().zip(drives)) {
        let misplaced = |what, got: u64, expected: u64| StoreError::Misplaced {
            drive: drive.name(),
            what,
            got,
            expected,
        };
        if superblock.drive_index != index {
            return Err(misplaced("drive number", superblock.drive_index.into(), index.into()));
        }
        if usize::from(superblock.drive_count) != drives.len() {
            return Err(misplaced("number of drives", drives.len() as u64, superblock.drive_count.into()));
        }
        if drive.size() < superblock.drive_bytes {
            let (got, expected) = (drive.size(), superblock.drive_bytes);
            return Err(StoreError::Small { drive: drive.name(), got, expected });
        }
    }
    Ok(Some(found))
}

async fn read_superblock(drive: &dyn Drive) -> Result<Option<Found>, StoreError> {
    let usable = drive.size() - drive.size() % BLOCK_BYTES;
    let mut best: Option<Superblock> = None;
    let mut older: Option<u32> = None;
    let (mut problem, mut unreadable) = (None, None);
    for at in Superblock::places(usable) {
        if usable < at.0 + BLOCK_BYTES {
            continue;
        }
        let block = match read(drive, at, BLOCK_BYTES).await {
            Ok(block) => block,
            // Any copy that can be read serves.
            Err(error) => {
                unreadable.get_or_insert(error);
                continue;
            }
        };
        let superblock = match Superblock::decode(&block) {
            Ok(superblock) => superblock,
            Err(NotSuperblock::Upgradable { got, superblock }) => {
                older = Some(older.map_or(got, |older| older.min(got)));
                superblock
            }
            Err(NotSuperblock::Empty) => continue,
            Err(NotSuperblock::Version { got }) => {
                let drive = drive.name();
                problem = Some(match got < FORMAT_VERSION {
                    true => StoreError::Older { drive, got },
                    false => StoreError::Newer { drive, got },
                });
                continue;
            }
            Err(NotSuperblock::SmallZones { got }) => {
                let (drive, expected) = (drive.name(), ZONE_BYTES_MIN);
                problem = Some(StoreError::SmallZones { drive, got, expected });
                continue;
            }
            Err(NotSuperblock::Damaged { magic, what }) => {
                let what = if magic { what } else { "its first bytes" };
                problem.get_or_insert(StoreError::Foreign { drive: drive.name(), what });
                continue;
            }
        };
        if best.is_none_or(|best| best.sequence < superblock.sequence) {
            best = Some(superblock);
        }
    }
    match (best, unreadable, problem) {
        (Some(superblock), _, _) => Ok(Some(Found { superblock, older })),
        (None, Some(error), _) => Err(error.into()),
        (None, None, Some(problem)) => Err(problem),
        (None, None, None) => {
            for (at, bytes) in
                [(0, ZONES_AT.min(usable)), (usable.saturating_sub(TAIL_BYTES), TAIL_BYTES.min(usable))]
            {
                if bytes > 0 && !is_blank(&read(drive, DriveOffset(at), bytes).await?) {
                    return Err(StoreError::Foreign { drive: drive.name(), what: "its first or last bytes" });
                }
            }
            Ok(None)
        }
    }
}

/// Writes all copies, each durably.
async fn write_superblock(drive: &dyn Drive, superblock: &Superblock) -> Result<(), StoreError> {
    for at in Superblock::places(superblock.drive_bytes) {
        drive.write(at, block_buffer(&superblock.encode()), Durability::OnReturn).await.1?;
    }
    Ok(drive.flush().await?)
}

/// Whether the head or tail of a drive holds nothing, or what a formatting leaves that did not get to the superblocks.
fn is_blank(bytes: &[u8]) -> bool {
    let anchors = Anchor::range();
    let block = usize::try_from(BLOCK_BYTES).expect("4 KiB");
    (0..).step_by(block).zip(bytes.chunks(block)).all(|(at, bytes)| match anchors.contains(&at) {
        true => Anchor::is_blank_or_first(bytes),
        false => is_zero(bytes),
    })
}

async fn read(drive: &dyn Drive, at: DriveOffset, bytes: u64) -> Result<Vec<u8>, DriveError> {
    let buffer = Buffer::unpooled(usize::try_from(bytes).expect("at most ZONES_AT"));
    let (buffer, result) = drive.read(at, buffer).await;
    result?;
    Ok(buffer.as_slice().to_vec())
}

/// Makes a store of blank drives ([`recognise`] said so), durable on return.
pub async fn format(drives: &[Rc<dyn Drive>], config: FormatConfig) -> Result<Vec<Superblock>, StoreError> {
    assert!((1..=SHARDS_MAX).contains(&config.shards));
    assert!(config.zone_bytes.is_none_or(is_zone_bytes), "{:?} bytes of a zone", config.zone_bytes);
    let drive_count = u16::try_from(drives.len()).expect("a handful of drives");
    let mut superblocks = Vec::new();
    for (drive_index, drive) in (0_u16..).zip(drives) {
        let drive_bytes = drive.size() - drive.size() % BLOCK_BYTES;
        let shards_here = u64::from(config.shards).div_ceil(u64::from(drive_count));
        let small = |zone_bytes: u64| {
            let expected = ZONES_AT + TAIL_BYTES + zones_min(shards_here) * zone_bytes;
            StoreError::Small { drive: drive.name(), got: drive.size(), expected }
        };
        let (zone_bytes, zone_count) = divide(drive_bytes, config.zone_bytes)
            .ok_or_else(|| small(config.zone_bytes.unwrap_or(ZONE_BYTES_USUAL_MIN)))?;
        if u64::from(zone_count) < zones_min(shards_here) {
            return Err(small(zone_bytes));
        }
        superblocks.push(Superblock {
            store: config.store,
            drive: config.store.rotate_left(17) ^ (u128::from(drive_index) + 1),
            sequence: 1,
            drive_bytes,
            zone_bytes,
            zone_count,
            shard_count: config.shards,
            drive_index,
            drive_count,
            created_ms: config.now_ms,
        });
    }
    for (superblock, drive) in superblocks.iter().zip(drives) {
        clear_zone_headers(&**drive, superblock).await?;
        // What was there before must not come back once a superblock says that the drive is ours.
        drive.flush().await?;
        let zones = ZoneTable::new(superblock.zone_count, 0);
        for shard in (0..config.shards).filter(|shard| shard % drive_count == superblock.drive_index) {
            let (shard, kind) = (ShardId(shard), ZoneKind::Log);
            let granted =
                grant_zone(&**drive, superblock, &zones, shard, 0, kind, Purpose::Maintenance).await?;
            write_anchor(&**drive, superblock, &first_anchor(superblock, shard, granted.zone)).await?;
        }
    }
    for (superblock, drive) in superblocks.iter().zip(drives) {
        write_superblock(&**drive, superblock).await?;
    }
    Ok(superblocks)
}

/// Zones that a drive with the logs of so many shards must have: for each a log zone and the next one, one for pages,
/// one for compaction and what is kept for maintenance, and some for data.
fn zones_min(shards_here: u64) -> u64 {
    shards_here * (2 + u64::from(RESERVE_PER_SHARD)) + 4
}

/// Zones per shard that only maintenance may take.
const RESERVE_PER_SHARD: u32 = 3;

/// A raw device may hold old data where zone headers will be looked for.
async fn clear_zone_headers(drive: &dyn Drive, superblock: &Superblock) -> Result<(), DriveError> {
    let zero = [0_u8; 4096];
    for zone in 0..superblock.zone_count {
        for at in superblock.zone_headers(zone) {
            if read(drive, at, BLOCK_BYTES).await?.iter().any(|byte| *byte != 0) {
                drive.write(at, block_buffer(&zero), Durability::AfterFlush).await.1?;
            }
        }
    }
    Ok(())
}

/// What the cores of one process share; make it once and give a clone to each core.
#[derive(Clone)]
pub struct Store {
    shared: Arc<StoreShared>,
}

impl Store {
    /// A store of the given drives on `cores` cores, without a read cache.
    pub fn new(superblocks: Vec<Superblock>, cores: u16) -> Store {
        Store::tuned(superblocks, cores, Tuning::default())
    }

    /// A store of the given drives on `cores` cores.
    pub fn tuned(superblocks: Vec<Superblock>, cores: u16, tuning: Tuning) -> Store {
        let shards = superblocks.first().map_or(0, |superblock| superblock.shard_count);
        let zones = superblocks
            .iter()
            .map(|superblock| {
                let shards_here = u32::from(shards).div_ceil(u32::from(superblock.drive_count));
                Arc::new(ZoneTable::new(superblock.zone_count, shards_here * RESERVE_PER_SHARD))
            })
            .collect();
        let shared = StoreShared {
            mesh: Mesh::new(cores),
            superblocks,
            zones,
            stats: (0..shards).map(|_| Arc::default()).collect(),
            tuning,
            ready: AtomicBool::new(false),
        };
        Store { shared: Arc::new(shared) }
    }

    /// The store's id: random at format, and never another.
    pub fn id(&self) -> u128 {
        self.shared.store_id()
    }

    /// Whether every core has recovered.
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Acquire)
    }

    /// Recovers the shards of one core and serves the other cores from then on.
    ///
    /// A shard whose log is damaged is there, read-only; when it is the one with the directory of buckets, all are:
    /// nobody could tell whether the bucket that something is stored in was deleted before. Answers when this core has
    /// recovered; the store is ready ([`Engine::is_ready`]) when all have.
    pub async fn start_core(
        &self,
        id: CoreId,
        platform: Rc<dyn Platform>,
        drives: Vec<Rc<dyn Drive>>,
    ) -> Result<Engine, EngineError> {
        let core = Core::new(id, self.shared.clone(), platform, drives);
        let receiver = core.clone();
        spawn(&core.platform, async move { receiver.shared.mesh.receive(receiver.id(), &receiver).await });
        let mut maps = Vec::new();
        for ((drive, superblock), zones) in
            core.drives.iter().zip(&self.shared.superblocks).zip(&self.shared.zones)
        {
            maps.push(scan_zones(&**drive, superblock, zones).await?);
        }
        let shard_count = self.shared.superblocks.first().map_or(0, |superblock| superblock.shard_count);
        for shard in (0..shard_count).filter(|shard| shard % self.shared.mesh.cores() == id.0) {
            let shard = self.recover_shard(&core, ShardId(shard), &maps).await?;
            core.shards.borrow_mut().insert(shard.context.id, shard);
        }
        for drive in core.drives.iter().filter(|_| !seeded(Mutant::RecoveryUnflushed)) {
            drive.flush().await?;
        }
        let cores = self.shared.mesh.cores();
        let recovered = move |core: &Rc<Core>| {
            core.recovered.set(core.recovered.get() + 1);
            if core.recovered.get() == cores {
                let engine = Engine { core: core.clone() };
                spawn(&core.platform, async move { engine.make_ready().await });
            }
        };
        match id {
            CoreId(0) => recovered(&core),
            _ => core.send(CoreId(0), Box::new(recovered)).await?,
        }
        Ok(Engine { core })
    }

    async fn recover_shard(
        &self,
        core: &Rc<Core>,
        id: ShardId,
        maps: &[ZoneMap],
    ) -> Result<Rc<Shard>, EngineError> {
        let nth = usize::from(id.0) % core.drives.len();
        let (drive, superblock, map) = (&core.drives[nth], self.shared.superblocks[nth], &maps[nth]);
        let loaded = load(drive, &core.platform, &superblock, id).await?;
        let page_bytes = loaded.zone_bytes.clone();
        let replayed = replay(drive, &core.platform, &superblock, id, &map.used, loaded).await;
        let mut damage = match replayed.damage {
            Some(error @ EngineError::Corrupt(_)) => Some((nth, error)),
            // What cannot be read now may be readable at the next start: a part of the log must not pass for all of it.
            Some(error) => return Err(error),
            None => None,
        };
        // A zone that nobody can tell whose it was may have held the rest of this log.
        let is_lost = damage.is_some() || maps.iter().any(|map| !map.damaged.is_empty());
        let is_whole = !is_lost || seeded(Mutant::DamagedAnswersAbsence);
        let headers = headers_of(maps, id);
        let home = superblock.drive_index;
        let derived = derive_space(&self.shared.superblocks, &headers, &replayed.index, home);
        let Space { free, usage, .. } = derived.unwrap_or_else(|(drive, corrupt)| {
            damage.get_or_insert((drive.into(), corrupt.into()));
            Space { free: FreeSpace::default(), usage: Usage::of(&self.shared.superblocks) }
        });
        let damage = damage.or_else(|| self.damaged_zone(maps));
        let stats = self.shared.stats[usize::from(id.0)].clone();
        let context = LogContext {
            shard: id,
            superblock,
            drive: drive.clone(),
            zones: self.shared.zones[nth].clone(),
            platform: core.platform.clone(),
            stats: stats.clone(),
        };
        let log = Log::new(context, replayed.tail, replayed.zones);
        match damage {
            Some((drive, error)) if !seeded(Mutant::DamagedTakesWrites) => {
                stats.failed(id, &core.drives[drive].name(), &error);
                log.fail();
            }
            _ => spawn(&core.platform, log.clone().run()),
        }
        let broadcasting = Rc::downgrade(core);
        let broadcast_space_changed = move || {
            if let Some(core) = broadcasting.upgrade() {
                core.broadcast_space_changed();
            }
        };
        let context = ShardContext {
            id,
            superblocks: self.shared.superblocks.clone(),
            drives: core.drives.clone(),
            blobs: core.blobs.clone(),
            zones: self.shared.zones.clone(),
            home: nth,
            platform: core.platform.clone(),
            stats,
            broadcast_space_changed: Box::new(broadcast_space_changed),
            checkpoint_log_bytes: self.shared.tuning.checkpoint_log_bytes,
        };
        let space = shard_space(&headers, free, usage, page_bytes);
        Ok(Shard::new(context, log, replayed.index, replayed.anchor, space, is_whole))
    }

    /// A zone of which nobody can tell whose it was, and the place of its drive: nobody may go on as if it had never
    /// been.
    fn damaged_zone(&self, maps: &[ZoneMap]) -> Option<(usize, EngineError)> {
        let drives = maps.iter().zip(&self.shared.superblocks).enumerate();
        drives.into_iter().find_map(|(drive, (map, superblock))| {
            let (what, at) = ("whole copies of a zone header", superblock.zone_at(*map.damaged.first()?));
            Some((drive, Corrupt { what, at, got: 0, expected: 1 }.into()))
        })
    }
}

/// The zones of one shard, each with the place of its drive.
fn headers_of(maps: &[ZoneMap], shard: ShardId) -> Vec<(u16, ZoneHeader)> {
    let of_drive = |(drive, map): (u16, &ZoneMap)| {
        let used: Vec<_> = map.used.iter().filter(|header| header.shard == shard).copied().collect();
        used.into_iter().map(move |header| (drive, header))
    };
    (0_u16..).zip(maps).flat_map(of_drive).collect()
}

/// What recovery found of a shard's space: which of its zones are for what.
fn shard_space(
    headers: &[(u16, ZoneHeader)],
    free: FreeSpace,
    usage: Usage,
    page_bytes: HashMap<u32, u64>,
) -> ShardSpace {
    let of_kind = |kind| headers.iter().filter(move |(_, header)| header.kind == kind);
    ShardSpace {
        free,
        usage,
        extent_zones: of_kind(ZoneKind::Extent).map(|(drive, header)| (*drive, header.zone)).collect(),
        compaction_zones: of_kind(ZoneKind::Compaction)
            .filter(|_| !seeded(Mutant::CompactionForgotten))
            .map(|(_, header)| (header.zone, header.position))
            .collect(),
        page_zones: of_kind(ZoneKind::Checkpoint)
            .filter(|_| !seeded(Mutant::PagesForgotten))
            .map(|(_, header)| header.zone)
            .collect(),
        page_bytes,
    }
}

impl Engine {
    /// Tells every core the directory, then that the store is ready. Runs on core 0 when all cores have recovered.
    async fn make_ready(&self) {
        let Some(shard) = self.core.shard(DIRECTORY_SHARD) else { return };
        let is_damaged = shard.check_whole().is_err();
        let directory = Arc::new(directory_of(&shard.index.borrow().directory(), is_damaged));
        let failure =
            self.core.shared.stats[usize::from(DIRECTORY_SHARD.0)].failure.text().unwrap_or_default();
        for core in 0..self.core.shared.mesh.cores() {
            let (directory, failure) = (directory.clone(), failure.clone());
            let notified = self.on_core(CoreId(core), move |core| {
                *core.directory.borrow_mut() = directory.clone();
                if let Some(shard) = core.shard(DIRECTORY_SHARD) {
                    shard.open_bucket(BucketId::SYSTEM, BucketRules::default());
                }
                if directory.is_damaged {
                    core.shards.borrow().values().for_each(|shard| shard.fail(failure.clone()));
                    return std::future::ready(());
                }
                let mut known: HashSet<_> = directory.buckets.values().map(|bucket| bucket.id).collect();
                if !seeded(Mutant::SystemValuesForgotten) {
                    known.insert(BucketId::SYSTEM);
                }
                for shard in core.shards.borrow().values() {
                    shard.forget_buckets_except(&known);
                }
                for bucket in directory.buckets.values() {
                    if let Some(shard) = core.shard(bucket.shard) {
                        shard.open_bucket(bucket.id, BucketRules::of(&bucket.settings));
                    }
                }
                std::future::ready(())
            });
            if notified.await.is_err() {
                return;
            }
        }
        // Only now that every core has read the zone headers may a zone be released.
        for core in 0..self.core.shared.mesh.cores() {
            let notified = self.on_core(CoreId(core), move |core| {
                core.shards.borrow().values().for_each(Shard::start_maintenance);
                std::future::ready(())
            });
            if notified.await.is_err() {
                return;
            }
        }
        self.core.shared.ready.store(true, Ordering::Release);
    }
}
