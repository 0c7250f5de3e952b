//! A store that nobody serves, looked at from outside: what is on each drive, and whether all of it is what was written.
//!
//! The command line opens the drives for reading and calls [`inspect`] or [`check`]. I1. Nothing is written: the only
//! operation is `Drive::read`. I2. Any bytes give an answer; no image can make it panic. I3. What a power cut may leave
//! is told in notes and is no problem: a copy of a header that was never written, a torn last log block.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::blob::{Blob, Blobs};
use crate::drive::{Buffer, Drive};
use crate::error::{Corrupt, DriveError, EngineError};
use crate::format::anchor::Anchor;
use crate::format::block::{BlockHeader, PAYLOAD_BYTES_MAX, stored_bytes};
use crate::format::checksum::crc64;
use crate::format::is_zero;
use crate::format::page::{PageKind, PageRef, decode_table, open_page};
use crate::format::superblock::{FORMAT_VERSION, NotSuperblock, Superblock};
use crate::format::zone::{ZoneHeader, ZoneKind, ZoneState};
use crate::handle::DamagedUnit;
use crate::handle::directory::DIRECTORY_SHARD;
use crate::limits::ZONE_BYTES_MIN;
use crate::meta::checkpoint::load;
use crate::meta::index::Index;
use crate::meta::recover::{derive_space, judge, replay};
use crate::meta::walk::{Cursor, next_items, owner_of};
use crate::platform::{BlockingJob, LocalFuture, Platform};
use crate::store::{StoreError, recognise, recognise_any};
use crate::units::{BLOCK_BYTES, BucketId, DriveOffset, Sequence, ShardId};

/// What one place that should hold a copy of a structure holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// The structure.
    Whole(T),
    /// Only zeros.
    Empty,
    /// Something else, and what is wrong with it.
    Damaged(String),
}

impl<T> Found<T> {
    /// The structure, if it is whole.
    pub fn whole(&self) -> Option<&T> {
        match self {
            Found::Whole(found) => Some(found),
            Found::Empty | Found::Damaged(_) => None,
        }
    }
}

/// The log of one shard behind its newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFacts {
    /// Blocks that follow each other.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them on the drive.
    pub bytes: u64,
    /// Number that the next block will have.
    pub next_number: u64,
    /// Where the next block would start.
    pub tail: DriveOffset,
    /// Whether the header of just that block stands there, with other bytes behind it than it says.
    pub is_torn: bool,
}

/// One shard whose log is on the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardFacts {
    /// The shard.
    pub shard: ShardId,
    /// Where each copy is, and its content: slot 0 head and tail, slot 1 head and tail.
    pub anchors: Vec<(DriveOffset, Found<Anchor>)>,
    /// Its log; `None` without an anchor or without the zone that the anchor names.
    pub log: Option<LogFacts>,
}

/// A zone and what its two header copies say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneFacts {
    /// Its number.
    pub zone: u32,
    /// Where it starts.
    pub at: DriveOffset,
    /// Both copies, first and last block.
    pub copies: [ZoneState; 2],
    /// What they say together.
    pub state: ZoneState,
}

/// What is on one drive.
#[derive(Clone, Debug)]
pub struct DriveFacts {
    /// Its path.
    pub name: Arc<str>,
    /// Its bytes.
    pub bytes: u64,
    /// Where each superblock copy is, and its content.
    pub superblocks: Vec<(DriveOffset, Found<Superblock>)>,
    /// The copy that counts.
    pub superblock: Option<Superblock>,
    /// A format version that this program does not know, if that is what the copies have.
    pub other_version: Option<u32>,
    /// Why a start would refuse the drive whatever the others are; empty when it would not.
    pub refused: String,
    /// All zones that lie within the drive.
    pub zones: Vec<ZoneFacts>,
    /// Shards that live here.
    pub shards: Vec<ShardFacts>,
}

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The drive's path.
    pub drive: Arc<str>,
    /// The shard, if one is concerned.
    pub shard: Option<ShardId>,
    /// Which structure, in the words of `FORMAT.md`.
    pub what: String,
    /// Where it starts.
    pub at: DriveOffset,
    /// The value found.
    pub got: u64,
    /// The value that belongs there.
    pub expected: u64,
    /// The object, when its bytes are concerned.
    pub object: Option<Box<DamagedUnit>>,
}

/// What a check of all drives of a store gave.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Everything that is damaged.
    pub problems: Vec<Problem>,
    /// What is worth knowing and is no damage.
    pub notes: Vec<String>,
    /// Pages of checkpoints that were verified.
    pub pages: u64,
    /// Blocks of logs that were replayed.
    pub log_blocks: u64,
    /// Versions of objects.
    pub objects: u64,
    /// Units of objects and parts that were verified, and their bytes.
    pub units: u64,
    /// See `units`.
    pub unit_bytes: u64,
}

/// Reads everything of one drive but the bytes of objects and the pages of checkpoints.
pub async fn inspect(drive: &Rc<dyn Drive>) -> Result<DriveFacts, DriveError> {
    let bytes = drive.size();
    let mut facts = DriveFacts {
        name: drive.name(),
        bytes,
        superblocks: Vec::new(),
        superblock: None,
        other_version: None,
        refused: String::new(),
        zones: Vec::new(),
        shards: Vec::new(),
    };
    let usable = bytes - bytes % BLOCK_BYTES;
    for at in Superblock::places(usable) {
        if usable < at.0 + BLOCK_BYTES || facts.superblocks.iter().any(|(seen, _)| *seen == at) {
            continue;
        }
        let found = match Superblock::decode(&read(drive, at, BLOCK_BYTES).await?) {
            Ok(superblock) => Found::Whole(superblock),
            Err(NotSuperblock::Upgradable { got, superblock }) => {
                facts.other_version = Some(got);
                Found::Whole(superblock)
            }
            Err(NotSuperblock::Empty) => Found::Empty,
            Err(NotSuperblock::Version { got }) => {
                facts.other_version = Some(got);
                let than = if got < FORMAT_VERSION { "older" } else { "newer" };
                Found::Damaged(format!("format version {got}, {than} than {FORMAT_VERSION}"))
            }
            Err(NotSuperblock::SmallZones { got }) => {
                Found::Damaged(format!("zones of {got} bytes, {ZONE_BYTES_MIN} are needed"))
            }
            Err(NotSuperblock::Damaged { magic: true, what }) => Found::Damaged(what.to_owned()),
            Err(NotSuperblock::Damaged { magic: false, .. }) => Found::Damaged("no superblock".to_owned()),
        };
        let newer = |found: &&Superblock| facts.superblock.is_none_or(|best| best.sequence < found.sequence);
        facts.superblock = found.whole().filter(newer).copied().or(facts.superblock);
        facts.superblocks.push((at, found));
    }
    facts.refused = match recognise(std::slice::from_ref(drive)).await {
        Err(StoreError::Drive(error)) => return Err(error),
        // Which place it has among others is not known from one drive.
        Ok(_) | Err(StoreError::Misplaced { .. } | StoreError::Incomplete { .. }) => String::new(),
        Err(error) => error.to_string(),
    };
    if let Some(superblock) = facts.superblock {
        if bytes < superblock.drive_bytes {
            let (got, expected) = (bytes, superblock.drive_bytes);
            facts.refused = StoreError::Small { drive: drive.name(), got, expected }.to_string();
        }
        facts.zones = read_zones(drive, &superblock).await?;
        for shard in (0..superblock.shard_count)
            .filter(|shard| shard % superblock.drive_count.max(1) == superblock.drive_index)
        {
            let shard = read_shard(drive, &superblock, ShardId(shard), &facts.zones).await?;
            facts.shards.push(shard);
        }
    }
    Ok(facts)
}

/// Reads and verifies all drives of a store, given in their order. `progress` is told now and then what is being looked
/// at. Errors: a drive that cannot be read, or drives that are not a store.
pub async fn check(
    drives: &[Rc<dyn Drive>],
    progress: &mut dyn FnMut(String),
) -> Result<CheckReport, EngineOrStore> {
    let platform: Rc<dyn Platform> = Rc::new(Offline);
    let blobs = Blobs::new(drives.to_vec(), platform.clone());
    let mut report = CheckReport::default();
    let Some(superblocks) = recognise_any(drives).await? else {
        let drive = drives.first().map_or_else(|| "none".into(), |drive| drive.name());
        return Err(EngineOrStore::Blank { drive });
    };
    let mut headers: Vec<(u16, ZoneHeader)> = Vec::new();
    let mut all = Vec::new();
    for (index, (drive, superblock)) in (0_u16..).zip(drives.iter().zip(&superblocks)) {
        progress(format!("{}: headers", drive.name()));
        let facts = inspect(drive).await?;
        judge_drive(&facts, superblock, &mut report);
        headers.extend(facts.zones.iter().filter_map(|zone| match zone.state {
            ZoneState::Used(header) => Some((index, header)),
            ZoneState::Free | ZoneState::Released | ZoneState::Damaged => None,
        }));
        all.push(facts);
    }
    let shard_count = superblocks.first().map_or(0, |superblock| superblock.shard_count);
    let mut names: BTreeMap<BucketId, Arc<str>> = BTreeMap::new();
    for shard in (0..shard_count).map(ShardId) {
        let home = usize::from(shard.0) % drives.len();
        let (drive, superblock) = (&drives[home], &superblocks[home]);
        progress(format!("{shard}: checkpoint and log"));
        let facts = all[home].shards.iter().find(|facts| facts.shard == shard);
        let problem_on = |drive: &Rc<dyn Drive>, corrupt: &Corrupt| Problem {
            drive: drive.name(),
            shard: Some(shard),
            what: corrupt.what.to_owned(),
            at: corrupt.at,
            got: corrupt.got,
            expected: corrupt.expected,
            object: None,
        };
        let problem = |corrupt: &Corrupt| problem_on(drive, corrupt);
        let loaded = load(drive, &platform, superblock, shard).await?;
        let bad_pages = check_pages(drive, superblock, &loaded.anchor, &mut report.pages).await?;
        let found_pages = !bad_pages.is_empty();
        report.problems.extend(bad_pages.iter().map(problem));
        let is_damaged = loaded.damage.is_some();
        if let (Some(EngineError::Corrupt(corrupt)), false) = (&loaded.damage, found_pages) {
            report.problems.push(problem(corrupt));
        }
        let used: Vec<ZoneHeader> = headers
            .iter()
            .filter(|(drive, _)| usize::from(*drive) == home)
            .map(|(_, header)| *header)
            .collect();
        let replayed = replay(drive, &platform, superblock, shard, &used, loaded).await;
        let is_whole = replayed.damage.is_none();
        match replayed.damage {
            Some(EngineError::Corrupt(corrupt)) if !is_damaged => {
                report.problems.push(problem(&corrupt));
            }
            Some(EngineError::Corrupt(_)) | None => {}
            Some(error) => return Err(error.into()),
        }
        if let Some(log) = facts.and_then(|facts| facts.log.as_ref()) {
            report.log_blocks += log.blocks;
            // A later block behind it says which: then it is a problem.
            if log.is_torn && is_whole {
                report.notes.push(format!(
                    "{shard}: the last log block, at {} of drive {}, is torn by a power cut, or damaged: nothing tells \
                     which, and a start would drop it",
                    log.tail,
                    drive.name()
                ));
            }
        }
        let mine: Vec<(u16, ZoneHeader)> =
            headers.iter().filter(|(_, header)| header.shard == shard).copied().collect();
        let space = derive_space(&superblocks, &mine, &replayed.index, superblock.drive_index).err();
        report
            .problems
            .extend(space.map(|(drive, corrupt)| problem_on(&drives[usize::from(drive)], &corrupt)));
        if shard == DIRECTORY_SHARD {
            let directory = replayed.index.directory();
            names = directory
                .into_iter()
                .map(|(name, entry)| (entry.id, String::from_utf8_lossy(&name).into()))
                .collect();
        }
        if is_damaged {
            report
                .notes
                .push(format!("{shard}: its checkpoint is damaged, so its objects were not verified"));
        }
        check_units(drives, &blobs, (shard, &replayed.index), &names, &mut report, progress).await;
    }
    Ok(report)
}

/// Why a check could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each wraps the error of the step it is named after")]
pub enum EngineOrStore {
    Engine(EngineError),
    Store(StoreError),
    /// All drives are blank.
    Blank {
        drive: Arc<str>,
    },
}

impl std::fmt::Display for EngineOrStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EngineOrStore::Engine(e) => write!(f, "{e}"),
            EngineOrStore::Store(e) => write!(f, "{e}"),
            EngineOrStore::Blank { drive } => write!(f, "drive {drive} is blank: there is no store on it"),
        }
    }
}

impl std::error::Error for EngineOrStore {}

impl From<DriveError> for EngineOrStore {
    fn from(e: DriveError) -> Self {
        EngineOrStore::Engine(e.into())
    }
}

impl From<EngineError> for EngineOrStore {
    fn from(e: EngineError) -> Self {
        EngineOrStore::Engine(e)
    }
}

impl From<StoreError> for EngineOrStore {
    fn from(e: StoreError) -> Self {
        EngineOrStore::Store(e)
    }
}

/// Runs a future of this module to its end, on drives that answer at once.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        std::thread::yield_now();
    }
}

/// A process without cores: it waits for nothing.
struct Offline;

impl Platform for Offline {
    fn spawn(&self, _task: LocalFuture<()>) {}

    fn sleep(&self, _time: Duration) -> LocalFuture<()> {
        Box::pin(std::future::ready(()))
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn monotonic_us(&self) -> u64 {
        0
    }

    fn random_u128(&self) -> u128 {
        0
    }

    fn buffer(&self, bytes: usize) -> LocalFuture<Result<Buffer, EngineError>> {
        Box::pin(std::future::ready(Ok(Buffer::unpooled(bytes))))
    }

    fn blocking(&self, job: BlockingJob) -> LocalFuture<Result<(), EngineError>> {
        job();
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn read(drive: &Rc<dyn Drive>, at: DriveOffset, bytes: u64) -> Result<Bytes, DriveError> {
    let (buffer, result) =
        drive.read(at, Buffer::unpooled(usize::try_from(bytes).expect("bounded by the caller"))).await;
    result?;
    Ok(Bytes::copy_from_slice(buffer.as_slice()))
}

async fn read_zones(drive: &Rc<dyn Drive>, superblock: &Superblock) -> Result<Vec<ZoneFacts>, DriveError> {
    let mut zones = Vec::new();
    for zone in 0..superblock.zone_count {
        let headers = superblock.zone_headers(zone);
        let [at, last] = headers;
        if drive.size() < last.0 + BLOCK_BYTES {
            break;
        }
        let mut copies = [ZoneState::Free; 2];
        for (copy, at) in copies.iter_mut().zip(headers) {
            *copy = ZoneHeader::decode(&read(drive, at, BLOCK_BYTES).await?, superblock.store, zone);
        }
        zones.push(ZoneFacts { zone, at, copies, state: judge(copies) });
    }
    Ok(zones)
}

async fn read_shard(
    drive: &Rc<dyn Drive>,
    superblock: &Superblock,
    shard: ShardId,
    zones: &[ZoneFacts],
) -> Result<ShardFacts, DriveError> {
    let mut facts = ShardFacts { shard, anchors: Vec::new(), log: None };
    for at in (0..2).flat_map(|slot| Anchor::places(shard, slot, superblock.drive_bytes)) {
        if drive.size() < at.0 + BLOCK_BYTES {
            facts.anchors.push((at, Found::Damaged("outside of the drive".to_owned())));
            continue;
        }
        let block = read(drive, at, BLOCK_BYTES).await?;
        let found = match Anchor::decode(&block, superblock.store, shard) {
            Some(anchor) => Found::Whole(anchor),
            None if is_zero(&block) => Found::Empty,
            None => Found::Damaged("no anchor of this shard".to_owned()),
        };
        facts.anchors.push((at, found));
    }
    let newest = facts.anchors.iter().filter_map(|(_, found)| found.whole()).max_by_key(|found| found.number);
    if let Some(anchor) = newest {
        let anchor = anchor.clone();
        facts.log = walk_log(drive, superblock, shard, &anchor, zones).await?;
    }
    Ok(facts)
}

/// Follows the log's blocks from the checkpoint's cut on, as a start does, without reading their records.
async fn walk_log(
    drive: &Rc<dyn Drive>,
    superblock: &Superblock,
    shard: ShardId,
    anchor: &Anchor,
    zones: &[ZoneFacts],
) -> Result<Option<LogFacts>, DriveError> {
    let mut log_zones: BTreeMap<u64, &ZoneFacts> = BTreeMap::new();
    for zone in zones {
        if let ZoneState::Used(header) = zone.state
            && header.kind == ZoneKind::Log
            && header.shard == shard
        {
            log_zones.insert(header.position, zone);
        }
    }
    let mut facts = LogFacts {
        blocks: 0,
        records: 0,
        bytes: 0,
        next_number: anchor.log_number,
        tail: anchor.log_at,
        is_torn: false,
    };
    if !log_zones.contains_key(&anchor.log_position) {
        return Ok(None);
    }
    let mut first = Sequence(anchor.covered.0.saturating_add(1));
    for (position, zone) in log_zones.range(anchor.log_position..) {
        let [first_header, last_header] = superblock.zone_headers(zone.zone);
        let (start, end) = (first_header.plus(BLOCK_BYTES), last_header.0);
        let mut at = if *position == anchor.log_position { anchor.log_at } else { start };
        if at < start || !at.is_block_aligned() {
            break;
        }
        while at.0 < end {
            let head = read(drive, at, BLOCK_BYTES).await?;
            let header = BlockHeader::decode(&head, superblock.store, shard, at);
            // Sequences count changes, which are in the records: only the first block's is known here.
            let fits = |header: &BlockHeader| {
                header.number == facts.next_number && header.records > 0 && first <= header.first
            };
            let Some(header) = header.filter(fits) else { break };
            let stored = stored_bytes(usize::try_from(header.payload_bytes).unwrap_or(PAYLOAD_BYTES_MAX));
            facts.tail = at;
            facts.is_torn = end < at.0 + stored || !header.is_whole(&read(drive, at, stored).await?);
            if facts.is_torn {
                return Ok(Some(facts));
            }
            facts.blocks += 1;
            facts.records += u64::from(header.records);
            facts.bytes += stored;
            facts.next_number += 1;
            first = Sequence(header.first.0.saturating_add(u64::from(header.records)));
            at = at.plus(stored);
            facts.tail = at;
        }
    }
    Ok(Some(facts))
}

/// Superblock copies, zone headers and anchors of one drive.
fn judge_drive(facts: &DriveFacts, superblock: &Superblock, report: &mut CheckReport) {
    let problem = |shard, what: String, at| Problem {
        drive: facts.name.clone(),
        shard,
        what,
        at,
        got: 0,
        expected: 1,
        object: None,
    };
    for (at, found) in &facts.superblocks {
        let what = match found {
            Found::Whole(found) if found == superblock => continue,
            Found::Whole(_) => "superblock copy: it differs from the one that counts".to_owned(),
            Found::Empty => "superblock copy: it is empty".to_owned(),
            Found::Damaged(what) => format!("superblock copy: {what}"),
        };
        report.problems.push(problem(None, what, *at));
    }
    for zone in &facts.zones {
        if zone.state == ZoneState::Damaged {
            report.problems.push(problem(None, format!("zone header of zone {}", zone.zone), zone.at));
            continue;
        }
        for (copy, at) in zone.copies.iter().zip(superblock.zone_headers(zone.zone)) {
            if *copy == ZoneState::Damaged {
                let what = format!("zone header copy of zone {}", zone.zone);
                report.problems.push(problem(None, what, at));
            }
        }
    }
    for shard in &facts.shards {
        for (at, found) in &shard.anchors {
            if let Found::Damaged(what) = found {
                report.problems.push(problem(Some(shard.shard), format!("anchor copy: {what}"), *at));
            }
        }
        let slots =
            shard.anchors.chunks(2).filter(|slot| slot.iter().any(|(_, found)| found.whole().is_some()));
        for slot in slots.filter(|slot| slot.iter().any(|(_, found)| *found == Found::Empty)) {
            let at = slot.first().map_or(DriveOffset(0), |(at, _)| *at);
            report.notes.push(format!(
                "{}: only one copy of the anchor at {at} of drive {} was written",
                shard.shard, facts.name
            ));
        }
    }
}

/// Every page of a checkpoint by itself.
async fn check_pages(
    drive: &Rc<dyn Drive>,
    superblock: &Superblock,
    anchor: &Anchor,
    pages: &mut u64,
) -> Result<Vec<Corrupt>, DriveError> {
    let mut bad = Vec::new();
    let mut leaves: Vec<(PageRef, PageKind, BucketId)> = Vec::new();
    for page in &anchor.table {
        let wanted = (PageKind::Table, BucketId(0));
        *pages += 1;
        let Some(content) =
            read_page(drive, superblock, anchor, page, wanted, "checkpoint table", &mut bad).await?
        else {
            continue;
        };
        match decode_table(&content) {
            Ok(entries) => {
                for entry in entries {
                    let what = PageKind::Leaf(entry.tree);
                    leaves.extend(entry.leaves.iter().map(|leaf| (*leaf, what, entry.bucket)));
                }
            }
            Err(e) => {
                bad.push(Corrupt { what: "checkpoint table", at: page.at, got: e.at as u64, expected: 0 })
            }
        }
    }
    for (page, kind, bucket) in leaves {
        *pages += 1;
        let wanted = (kind, bucket);
        drop(read_page(drive, superblock, anchor, &page, wanted, "checkpoint page", &mut bad).await?);
    }
    Ok(bad)
}

async fn read_page(
    drive: &Rc<dyn Drive>,
    superblock: &Superblock,
    anchor: &Anchor,
    page: &PageRef,
    wanted: (PageKind, BucketId),
    what: &'static str,
    bad: &mut Vec<Corrupt>,
) -> Result<Option<Vec<u8>>, DriveError> {
    let start = page.at.0 - page.at.0 % BLOCK_BYTES;
    let end = page.at.0.saturating_add(u64::from(page.bytes)).checked_next_multiple_of(BLOCK_BYTES);
    let Some(end) = end.filter(|end| start < *end && *end <= drive.size()) else {
        bad.push(Corrupt { what, at: page.at, got: page.at.0, expected: drive.size() });
        return Ok(None);
    };
    let bytes = read(drive, DriveOffset(start), end - start).await?;
    let from = usize::try_from(page.at.0 - start).expect("below a block");
    let bytes = &bytes[from..from + page.bytes as usize];
    match open_page(bytes, page, (superblock.store, anchor.shard), wanted) {
        Some(content) => Ok(Some(content.to_vec())),
        None => {
            bad.push(Corrupt { what, at: page.at, got: crc64(bytes), expected: page.crc });
            Ok(None)
        }
    }
}

async fn check_units(
    drives: &[Rc<dyn Drive>],
    blobs: &Blobs,
    (shard, index): (ShardId, &Index),
    names: &BTreeMap<BucketId, Arc<str>>,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(String),
) {
    let mut from = Some(Cursor::start());
    while let Some(cursor) = from {
        let turn = next_items(index, cursor);
        from = turn.next;
        let stored: Vec<&Blob> = turn.items.iter().map(|item| &item.blob).collect();
        let bad = blobs.verify(&stored, |_| std::future::ready(true)).await;
        for unit in bad {
            let item = &turn.items[unit.blob];
            let owner = owner_of(index, item);
            let drive =
                drives.get(usize::from(unit.drive)).map_or_else(|| "none".into(), |drive| drive.name());
            let object = DamagedUnit {
                bucket: item.bucket,
                bucket_name: names.get(&item.bucket).cloned(),
                key: owner.key.into(),
                version: owner.version,
                part: owner.part,
                offset: owner.offset + unit.offset,
                bytes: unit.bytes,
                drive: drive.clone(),
                at: unit.at,
                got: unit.got,
                expected: unit.expected,
                unreadable: unit.unreadable,
            };
            report.problems.push(Problem {
                drive,
                shard: Some(shard),
                what: "object data unit".to_owned(),
                at: unit.at,
                got: unit.got,
                expected: unit.expected,
                object: Some(Box::new(object)),
            });
        }
        report.objects += turn.objects;
        report.units += turn.items.iter().map(|item| item.blob.units.as_slice().len() as u64).sum::<u64>();
        report.unit_bytes += turn.items.iter().map(|item| item.blob.size).sum::<u64>();
        progress(format!("{shard}: {} objects, {} bytes verified", report.objects, report.unit_bytes));
    }
}
