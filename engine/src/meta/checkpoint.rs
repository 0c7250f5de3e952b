//! Checkpoints: the index of a shard on its drive, leaf by leaf, so that its log can be cut and a start is quick.
//!
//! `shard::maintenance` takes one when enough log was written; `recover` loads the newest at start. Only leaves that were
//! made since the last one are written. I1. A snapshot is taken in one turn, at a cut of the log. I2. The anchor is
//! written after all pages are durable and the log is durable up to the cut; until then the older checkpoint stands,
//! and nothing that it needs is released. I3. Every page is held against the checksum of whoever refers to it.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::index::Index;
use super::index::leaf;
use super::index::tree::{Slot, Tree};
use crate::drive::block_buffer;
use crate::drive::{Buffer, Drive, Durability};
use crate::error::{Corrupt, EngineError};
use crate::format::anchor::{Anchor, TABLE_PAGES_MAX};
use crate::format::page::{
    PageKind, PageRef, TableEntry, TreeKind, append_page, decode_table, encode_entry, entry_bytes, open_page,
};
use crate::format::superblock::Superblock;
use crate::meta::log::LogCut;
use crate::mutant::{Mutant, seeded};
use crate::platform::{Platform, maintenance_buffer};
use crate::space::writer::ZoneWriter;
use crate::units::{BLOCK_BYTES, BucketId, DriveOffset, Sequence, ShardId, round_up_to_block};

/// Bytes of pages read at once, and reads in flight.
const READ_BYTES: u64 = 1 << 20;
const READS: usize = 4;
/// Pages are read together when no more than this lies between them.
const GAP_BYTES: u64 = 64 << 10;
/// Bytes of one table page's content.
const TABLE_CONTENT_BYTES: usize = 1 << 20;
/// Leaves written between two looks at other work.
const LEAVES_PER_TURN: usize = 256;

/// The index as it was at one moment.
pub(crate) struct Snapshot {
    trees: Vec<(BucketId, TreeKind, Vec<SnapshotLeaf>)>,
    last_bucket: BucketId,
}

enum SnapshotLeaf {
    Kept(PageRef),
    New(Bytes),
}

impl Snapshot {
    pub(crate) fn of(index: &Index) -> Snapshot {
        let leaf = |slot: &Slot| match slot.page {
            Some(page) => SnapshotLeaf::Kept(page),
            None => SnapshotLeaf::New(slot.bytes.clone()),
        };
        let trees = index.trees().into_iter();
        let trees =
            trees.map(|(bucket, kind, tree)| (bucket, kind, tree.slots().map(leaf).collect())).collect();
        Snapshot { trees, last_bucket: index.last_bucket }
    }
}

/// What a checkpoint wrote.
pub(crate) struct Written {
    pub(crate) table: Vec<PageRef>,
    /// New leaves and where they are now.
    pub(crate) pages: Vec<(BucketId, TreeKind, Bytes, PageRef)>,
    /// Bytes of all pages, in zones by number.
    pub(crate) zone_bytes: HashMap<u32, u64>,
    pub(crate) last_bucket: BucketId,
}

/// Writes the new leaves of a snapshot and its table; nothing is durable yet.
pub(crate) async fn write_pages(
    writer: &mut ZoneWriter,
    superblock: &Superblock,
    shard: ShardId,
    platform: &Rc<dyn Platform>,
    snapshot: Snapshot,
) -> Result<Written, EngineError> {
    let identity = (superblock.store, shard);
    let last_bucket = snapshot.last_bucket;
    let mut written =
        Written { table: Vec::new(), pages: Vec::new(), zone_bytes: HashMap::new(), last_bucket };
    let room = usize::try_from(superblock.room_bytes()).expect("at most 256 MiB");
    let content_max = TABLE_CONTENT_BYTES.min(room / 2);
    let mut content = Vec::new();
    let mut since_turn = 0;
    for (bucket, kind, leaves) in snapshot.trees {
        let mut refs = Vec::with_capacity(leaves.len());
        for found in leaves {
            refs.push(match found {
                SnapshotLeaf::Kept(page) => page,
                SnapshotLeaf::New(bytes) => {
                    let page = put_page(writer, identity, (PageKind::Leaf(kind), bucket), &bytes).await?;
                    written.pages.push((bucket, kind, bytes, page));
                    since_turn += 1;
                    if since_turn == LEAVES_PER_TURN {
                        since_turn = 0;
                        platform.sleep(std::time::Duration::ZERO).await;
                    }
                    page
                }
            });
        }
        for page in &refs {
            count_page(superblock, page, &mut written.zone_bytes);
        }
        let mut refs = refs.as_slice();
        while !refs.is_empty() {
            let fitting = content_max.saturating_sub(content.len() + entry_bytes(0)) / 20;
            if fitting == 0 {
                let page = put_page(writer, identity, (PageKind::Table, BucketId(0)), &content).await?;
                written.table.push(page);
                content.clear();
                continue;
            }
            let (now, later) = refs.split_at(fitting.min(refs.len()));
            encode_entry(&TableEntry { bucket, tree: kind, leaves: now.to_vec() }, &mut content);
            refs = later;
        }
    }
    if !content.is_empty() {
        written.table.push(put_page(writer, identity, (PageKind::Table, BucketId(0)), &content).await?);
    }
    for page in &written.table {
        count_page(superblock, page, &mut written.zone_bytes);
    }
    if TABLE_PAGES_MAX < written.table.len() {
        let (max, got) = (TABLE_PAGES_MAX as u64, written.table.len() as u64);
        return Err(EngineError::TooLarge { limit: "TABLE_PAGES_MAX", max, got });
    }
    writer.write().await?;
    Ok(written)
}

async fn put_page(
    writer: &mut ZoneWriter,
    identity: (u128, ShardId),
    what: (PageKind, BucketId),
    content: &[u8],
) -> Result<PageRef, EngineError> {
    writer.place(crate::format::page::PAGE_HEADER_BYTES + content.len(), 0).await?;
    let (base, pending) = writer.pending();
    Ok(append_page(pending, base, identity, what, content))
}

fn count_page(superblock: &Superblock, page: &PageRef, zone_bytes: &mut HashMap<u32, u64>) {
    if let Some(zone) = zone_of(superblock, page) {
        *zone_bytes.entry(zone).or_default() += u64::from(page.bytes);
    }
}

/// The zone that a page lies in.
pub(crate) fn zone_of(superblock: &Superblock, page: &PageRef) -> Option<u32> {
    let offset = page.at.0.checked_sub(superblock.zone_at(0).0)?;
    u32::try_from(offset / superblock.zone_bytes).ok()
}

/// The anchor of a checkpoint.
pub(crate) fn anchor_of(
    superblock: &Superblock,
    shard: ShardId,
    number: u64,
    cut: &LogCut,
    written: &Written,
    created_ms: u64,
) -> Anchor {
    Anchor {
        store: superblock.store,
        shard,
        number,
        covered: cut.covered,
        log_position: cut.position,
        log_at: cut.at,
        log_number: cut.number,
        last_bucket: written.last_bucket,
        created_ms,
        table: written.table.clone(),
    }
}

/// Writes both copies of an anchor, durable on return.
pub(crate) async fn write_anchor(
    drive: &dyn Drive,
    superblock: &Superblock,
    anchor: &Anchor,
) -> Result<(), EngineError> {
    let block = anchor.encode();
    for at in Anchor::places(anchor.shard, anchor.number, superblock.drive_bytes) {
        drive.write(at, block_buffer(&block), Durability::OnReturn).await.1?;
    }
    Ok(())
}

/// The anchor of a shard that was never written: an empty index and an empty log in one zone.
pub(crate) fn first_anchor(superblock: &Superblock, shard: ShardId, zone: u32) -> Anchor {
    Anchor {
        store: superblock.store,
        shard,
        number: 1,
        covered: Sequence(0),
        log_position: 0,
        log_at: superblock.zone_at(zone).plus(BLOCK_BYTES),
        log_number: 1,
        last_bucket: BucketId(0),
        created_ms: superblock.created_ms,
        table: Vec::new(),
    }
}

/// What a shard's newest checkpoint holds.
pub(crate) struct LoadedCheckpoint {
    pub(crate) anchor: Anchor,
    pub(crate) index: Index,
    /// Bytes of its pages, in zones by number.
    pub(crate) zone_bytes: HashMap<u32, u64>,
    /// Why not all of it could be read: then the index is not all that was there.
    pub(crate) damage: Option<EngineError>,
}

/// Reads the newest checkpoint of a shard. Errors are those of the drive; damage is told in the answer, the loss of all
/// anchors too.
pub(crate) async fn load(
    drive: &Rc<dyn Drive>,
    platform: &Rc<dyn Platform>,
    superblock: &Superblock,
    shard: ShardId,
) -> Result<LoadedCheckpoint, EngineError> {
    let loaded_from = |anchor| LoadedCheckpoint {
        index: Index::default(),
        zone_bytes: HashMap::new(),
        damage: None,
        anchor,
    };
    let Some(anchor) = newest_anchor(&**drive, superblock, shard).await? else {
        let at = Anchor::places(shard, 0, superblock.drive_bytes)[0];
        let damage = Corrupt { what: "anchors of a shard", at, got: 0, expected: 1 };
        // Nothing is known of the shard: as if it had never been written.
        let anchor = first_anchor(superblock, shard, 0);
        return Ok(LoadedCheckpoint { damage: Some(damage.into()), ..loaded_from(anchor) });
    };
    let mut loaded = loaded_from(anchor);
    if !seeded(Mutant::BucketIdForgotten) {
        loaded.index.last_bucket = loaded.anchor.last_bucket;
    }
    match load_index(drive, platform, superblock, &mut loaded).await {
        Ok(()) => {}
        Err(EngineError::Corrupt(corrupt)) => loaded.damage = Some(corrupt.into()),
        Err(other) => return Err(other),
    }
    Ok(loaded)
}

/// The newest whole anchor of a shard.
pub(crate) async fn newest_anchor(
    drive: &dyn Drive,
    superblock: &Superblock,
    shard: ShardId,
) -> Result<Option<Anchor>, EngineError> {
    let mut newest: Option<Anchor> = None;
    for slot in 0..2 {
        let mut unreadable = Vec::new();
        for at in Anchor::places(shard, slot, superblock.drive_bytes) {
            let block = usize::try_from(BLOCK_BYTES).expect("4 KiB");
            let (buffer, result) = drive.read(at, Buffer::unpooled(block)).await;
            if let Err(error) = result {
                // The other copy says the same, but without either the slot may hold the newest.
                unreadable.push(error);
                if unreadable.len() == 2 {
                    return Err(unreadable.swap_remove(0).into());
                }
                continue;
            }
            let found = Anchor::decode(buffer.as_slice(), superblock.store, shard);
            if let Some(found) = found.filter(|found| {
                newest
                    .as_ref()
                    .is_none_or(|best| (best.number < found.number) != seeded(Mutant::OldestAnchor))
            }) {
                newest = Some(found);
            }
        }
    }
    Ok(newest)
}

async fn load_index(
    drive: &Rc<dyn Drive>,
    platform: &Rc<dyn Platform>,
    superblock: &Superblock,
    loaded: &mut LoadedCheckpoint,
) -> Result<(), EngineError> {
    let anchor = &loaded.anchor;
    let identity = (superblock.store, anchor.shard);
    let table: Vec<Wanted> = anchor
        .table
        .iter()
        .map(|page| Wanted { page: *page, what: (PageKind::Table, BucketId(0)) })
        .collect();
    let mut entries = Vec::new();
    for content in read_pages(drive, platform, superblock, identity, &table).await? {
        let malformed = |e: crate::format::Malformed| {
            let at = DriveOffset(e.at as u64);
            Corrupt { what: "checkpoint table", at, got: 0, expected: 1 }
        };
        entries.extend(decode_table(&content).map_err(malformed)?);
    }
    // Entries of one tree follow each other.
    let mut trees: Vec<TableEntry> = Vec::new();
    for entry in entries {
        match trees.last_mut() {
            Some(last) if (last.bucket, last.tree) == (entry.bucket, entry.tree) => {
                last.leaves.extend(entry.leaves)
            }
            _ => trees.push(entry),
        }
    }
    let wanted: Vec<Wanted> = trees
        .iter()
        .flat_map(|entry| entry.leaves.iter().map(|page| (page, entry.bucket, entry.tree)))
        .map(|(page, bucket, tree)| Wanted { page: *page, what: (PageKind::Leaf(tree), bucket) })
        .collect();
    for page in anchor.table.iter().chain(wanted.iter().map(|wanted| &wanted.page)) {
        count_page(superblock, page, &mut loaded.zone_bytes);
    }
    let mut contents = read_pages(drive, platform, superblock, identity, &wanted).await?.into_iter();
    for entry in trees {
        let mut slots = Vec::with_capacity(entry.leaves.len());
        for page in &entry.leaves {
            let damaged = || Corrupt { what: "checkpoint leaf", at: page.at, got: 0, expected: 1 };
            let bytes = contents.next().filter(|bytes| leaf::is_valid(bytes)).ok_or_else(damaged)?;
            slots.push(Slot { bytes, page: Some(*page) });
        }
        let at = entry.leaves.first().map_or(DriveOffset(0), |page| page.at);
        let damaged = |what| Corrupt { what, at, got: 0, expected: 1 };
        let tree = Tree::from_slots(slots).ok_or_else(|| damaged("order of checkpoint leaves"))?;
        loaded
            .index
            .load(loaded.anchor.covered, entry.bucket, entry.tree, tree)
            .map_err(|malformed| damaged(malformed.what))?;
    }
    Ok(())
}

/// A page that is looked for.
#[derive(Clone, Copy)]
struct Wanted {
    page: PageRef,
    what: (PageKind, BucketId),
}

/// A drive read that covers several pages.
struct Run {
    start: DriveOffset,
    bytes: u64,
    /// Which of the wanted pages it covers.
    pages: Vec<usize>,
}

/// Reads pages in the order in which they lie on the drive; returns their contents in the order asked.
async fn read_pages(
    drive: &Rc<dyn Drive>,
    platform: &Rc<dyn Platform>,
    superblock: &Superblock,
    identity: (u128, ShardId),
    wanted: &[Wanted],
) -> Result<Vec<Bytes>, EngineError> {
    let mut contents = vec![Bytes::new(); wanted.len()];
    let reads = runs(superblock, wanted)?.into_iter().map(|run| {
        let (drive, platform) = (drive.clone(), platform.clone());
        async move {
            let length = usize::try_from(run.bytes).expect("about READ_BYTES");
            let buffer = maintenance_buffer(&platform, length).await;
            let (buffer, result) = drive.read(run.start, buffer).await;
            (run, buffer, result)
        }
    });
    let mut reads = stream::iter(reads).buffered(READS);
    while let Some((run, buffer, result)) = reads.next().await {
        result?;
        for nth in run.pages {
            let Wanted { page, what } = wanted[nth];
            let from = usize::try_from(page.at.0 - run.start.0).expect("within the run");
            let bytes = &buffer.as_slice()[from..from + page.bytes as usize];
            let content = open_page(bytes, &page, identity, what).ok_or(Corrupt {
                what: "checkpoint page",
                at: page.at,
                got: crate::format::checksum::crc64(bytes),
                expected: page.crc,
            })?;
            contents[nth] = Bytes::copy_from_slice(content);
        }
    }
    Ok(contents)
}

/// Joins neighbouring pages into reads of whole blocks. Pure.
fn runs(superblock: &Superblock, wanted: &[Wanted]) -> Result<Vec<Run>, Corrupt> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|nth| wanted[*nth].page.at);
    let mut runs: Vec<Run> = Vec::new();
    for nth in order {
        let page = wanted[nth].page;
        let start = DriveOffset(page.at.0 - page.at.0 % BLOCK_BYTES);
        let end = round_up_to_block(page.at.0.saturating_add(u64::from(page.bytes)));
        let zones_end = superblock.zone_at(superblock.zone_count).0;
        if page.at < superblock.zone_at(0) || zones_end < end {
            let (what, got) = ("checkpoint page outside of all zones", page.at.0);
            return Err(Corrupt { what, at: page.at, got, expected: zones_end });
        }
        match runs.last_mut() {
            Some(run)
                if start.0 <= run.start.0 + run.bytes + GAP_BYTES && end <= run.start.0 + READ_BYTES =>
            {
                run.bytes = run.bytes.max(end - run.start.0);
                run.pages.push(nth);
            }
            _ => runs.push(Run { start, bytes: end - start.0, pages: vec![nth] }),
        }
    }
    Ok(runs)
}

#[cfg(all(test, not(feature = "prove-threads")))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::record::{BlobPlace, BlobRecord, Change, Record};
    use crate::format::zone::ZoneKind;
    use crate::lock::Lock;
    use crate::meta::index::NoEffects;
    use crate::object::ETag;
    use crate::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
    use crate::space::writer::WriterContext;
    use crate::space::zones::ZoneTable;

    const SUPERBLOCK: Superblock = Superblock {
        store: 7,
        drive: 8,
        sequence: 1,
        drive_bytes: (2 << 20) + 20 * (128 << 10),
        zone_bytes: 128 << 10,
        zone_count: 20,
        shard_count: 1,
        drive_index: 0,
        drive_count: 1,
        created_ms: 0,
    };
    const SHARD: ShardId = ShardId(0);
    const OBJECTS: u64 = 4_000;

    fn wanted(at: u64, bytes: u32) -> Wanted {
        let page = PageRef { at: DriveOffset(at), bytes, crc: 0 };
        Wanted { page, what: (PageKind::Table, BucketId(0)) }
    }

    fn check_runs(pages: &[(u64, u32)], want: &[(u64, u64, &[usize])]) {
        let zones_at = SUPERBLOCK.zone_at(0).0;
        let pages: Vec<Wanted> = pages.iter().map(|(at, bytes)| wanted(zones_at + at, *bytes)).collect();
        let runs = runs(&SUPERBLOCK, &pages).expect("inside of the zones");
        let got: Vec<(u64, u64, &[usize])> =
            runs.iter().map(|run| (run.start.0 - zones_at, run.bytes, run.pages.as_slice())).collect();
        assert_eq!(got, want, "{:?}", pages.iter().map(|wanted| wanted.page).collect::<Vec<_>>());
    }

    #[test]
    fn neighbours_are_read_together() {
        check_runs(&[], &[]);
        check_runs(&[(5_000, 100)], &[(4_096, 4_096, &[0])]);
        check_runs(&[(8_190, 4)], &[(4_096, 8_192, &[0])]);
        check_runs(&[(9_000, 50), (4_096, 50), (4_146, 4_000)], &[(4_096, 8_192, &[1, 2, 0])]);
        let gap = GAP_BYTES;
        check_runs(&[(0, 100), (4_096 + gap, 100)], &[(0, 8_192 + gap, &[0, 1])]);
        check_runs(&[(0, 100), (8_192 + gap, 100)], &[(0, 4_096, &[0]), (8_192 + gap, 4_096, &[1])]);
        // As much as one read takes, then the next one; a page larger than that has one of its own.
        check_runs(
            &[(0, 500_000), (500_000, 500_000), (1_000_000, 200_000)],
            &[(0, 1_003_520, &[0, 1]), (999_424, 200_704, &[2])],
        );
        check_runs(&[(100, 1_200_000), (10, 50)], &[(0, 4_096, &[1]), (0, 1_200_128, &[0])]);
    }

    #[test]
    fn pages_outside_of_the_zones_are_damage() {
        let (from, to) = (SUPERBLOCK.zone_at(0).0, SUPERBLOCK.zone_at(SUPERBLOCK.zone_count).0);
        assert!(runs(&SUPERBLOCK, &[wanted(to - 100, 100)]).is_ok());
        for (at, bytes) in
            [(0, 48), (from - 1, 48), (to - 100, 101), (to, 48), (u64::MAX, 48), (u64::MAX, u32::MAX)]
        {
            assert!(runs(&SUPERBLOCK, &[wanted(from, 48), wanted(at, bytes)]).is_err(), "{bytes} at {at}");
        }
    }

    fn on_drive<T: 'static>(
        medium: &Medium,
        work: impl AsyncFnOnce(Rc<dyn Drive>, Rc<dyn Platform>) -> T + 'static,
    ) -> T {
        let simulator = Simulator::new(3);
        let drive: Rc<dyn Drive> = Rc::new(SimulatedDrive::new(&simulator, medium, Faults::default()));
        let platform: Rc<dyn Platform> = Rc::new(simulator.clone());
        simulator.run(async move { work(drive, platform).await }).expect("no cut and no deadlock")
    }

    /// A medium with the checkpoint of an index of several leaves, and its anchor.
    fn checkpointed() -> (Medium, Anchor) {
        let medium = Medium::new(SUPERBLOCK.drive_bytes);
        let anchor = on_drive(&medium, async |drive, platform| {
            let mut index = Index::default();
            for nth in 1..=OBJECTS {
                let place = BlobPlace::Inline(Bytes::from_static(b"abc"));
                let put = Change::PutObject {
                    key: Bytes::from(format!("key/{nth}")),
                    modified_ms: nth,
                    etag: ETag::default(),
                    attributes: Bytes::new(),
                    versioned: false,
                    lock: Lock::NONE,
                    blob: BlobRecord { size: 3, place, units: [nth].into() },
                };
                let record = Record { bucket: BucketId(1), changes: vec![put] };
                index.apply(Sequence(nth), &record, 0, &[DriveOffset(nth)], &mut NoEffects);
            }
            let context = WriterContext {
                shard: SHARD,
                superblock: SUPERBLOCK,
                drive: drive.clone(),
                zones: Arc::new(ZoneTable::new(SUPERBLOCK.zone_count, 0)),
                platform: platform.clone(),
            };
            let mut writer = ZoneWriter::new(context, ZoneKind::Checkpoint);
            let snapshot = Snapshot::of(&index);
            let written =
                write_pages(&mut writer, &SUPERBLOCK, SHARD, &platform, snapshot).await.expect("room");
            assert!(20 < written.pages.len() && written.zone_bytes.len() > 1, "several leaves and zones");
            let at = SUPERBLOCK.zone_at(0);
            let cut = LogCut { covered: Sequence(OBJECTS), position: 0, at, number: 1 };
            let anchor = anchor_of(&SUPERBLOCK, SHARD, 1, &cut, &written, 0);
            write_anchor(&*drive, &SUPERBLOCK, &anchor).await.expect("the drive works");
            drive.flush().await.expect("the drive works");
            anchor
        });
        (medium, anchor)
    }

    /// Objects that are loaded, and whether there was damage; `None` without an anchor.
    fn loaded(medium: &Medium) -> Option<(u64, bool)> {
        on_drive(&medium.duplicate(), async |drive, platform| {
            let loaded = load(&drive, &platform, &SUPERBLOCK, SHARD).await.ok()?;
            let mut objects = 0;
            let counted = loaded.index.places(|_, _| {
                objects += 1;
                true
            });
            assert_eq!(counted, Ok(()));
            Some((objects, loaded.damage.is_some()))
        })
    }

    #[test]
    fn damaged_pages_are_seen_and_nothing_of_them_is_taken() {
        let (medium, anchor) = checkpointed();
        assert_eq!(loaded(&medium), Some((OBJECTS, false)));
        let mut pages = anchor.table.clone();
        for table in &anchor.table {
            let from = table.at.0 + crate::format::page::PAGE_HEADER_BYTES as u64;
            let content: Vec<u8> =
                (from..table.at.0 + u64::from(table.bytes)).map(|at| medium.byte(at)).collect();
            pages.extend(decode_table(&content).expect("whole").into_iter().flat_map(|entry| entry.leaves));
        }
        assert!(20 < pages.len());
        for page in pages {
            let last = u64::from(page.bytes) - 1;
            for offset in [0, 6, 24, 44, 48, last / 2, last] {
                medium.flip(page.at.0 + offset, 0x10);
                let (objects, damaged) = loaded(&medium).expect("the drive can be read");
                assert!(damaged && objects == 0, "byte {offset} of {page:?}: {objects} objects");
                medium.flip(page.at.0 + offset, 0x10);
            }
        }
        assert_eq!(loaded(&medium), Some((OBJECTS, false)));
    }

    #[test]
    fn either_copy_of_an_anchor_serves() {
        let (medium, anchor) = checkpointed();
        let [head, tail] = Anchor::places(SHARD, anchor.number, SUPERBLOCK.drive_bytes);
        medium.flip(head.0 + 90, 1);
        assert_eq!(loaded(&medium), Some((OBJECTS, false)));
        medium.flip(tail.0 + 4_090, 1);
        assert_eq!(loaded(&medium), Some((0, true)));
        medium.flip(head.0 + 90, 1);
        assert_eq!(loaded(&medium), Some((OBJECTS, false)));
    }
}
