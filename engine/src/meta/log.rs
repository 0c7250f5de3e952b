//! The log of one shard: records go in, one durable write per group of them goes out.
//!
//! `shard` appends encoded records to the open block and knows their place on the drive at once; `run` closes blocks
//! and writes them one after the other, so that a block is on the drive only after all before it. Written for one core.
//!
//! I1. At most one log block is being written. I2. A block's place is fixed when it is opened: right behind the one
//! before it, or at the start of the next zone. I3. `durable` rises only after a durable write of the block succeeded;
//! after one that failed the log takes nothing more. I4. Zeros written ahead never overlap a block: they stay between
//! the open block's furthest end and the end of the zone, and a block that would reach into them waits.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use super::watermark::Watermark;
use crate::drive::{Buffer, Drive, Durability};
use crate::error::EngineError;
use crate::format::block::{BlockHeader, HEADER_BYTES, stored_bytes};
use crate::format::record::{Record, SpaceEffect};
use crate::format::superblock::Superblock;
use crate::format::zone::ZoneKind;
use crate::limits::{
    COMMIT_DELAY_US_MAX, LOG_BLOCK_BYTES_MAX, LOG_PENDING_BYTES_MAX, LOG_WAIT_MS_MAX, RECORD_BYTES_MAX,
};
use crate::mutant::{Mutant, seeded};
use crate::notify::Notify;
use crate::platform::{Platform, spawn};
use crate::space::grant::grant_zone;
use crate::space::zones::{Purpose, ZoneTable};
use crate::stats::ShardStats;
use crate::units::{BLOCK_BYTES, DriveOffset, Sequence, ShardId};

/// Zeros are written this far ahead of the open block, so that log writes overwrite blocks that the file system has
/// already written (measured: a durable write to unwritten extents takes 1.7 times as long). At most as far as the log
/// has come since the start, so that a log that is hardly used is not mostly zeros.
const PREWRITE_AHEAD_BYTES_MAX: u64 = 4 << 20;
const PREWRITE_AHEAD_BYTES_MIN: u64 = 64 << 10;
const PREWRITE_STEP_BYTES_MAX: u64 = 1 << 20;
/// Where blocks are larger than this on average, no zeros go ahead: they would double what is written, and the journal
/// of the file system is a small part of so large a write.
const PREWRITE_BLOCK_BYTES_MAX: u64 = 64 << 10;
/// How long after a write its writers are taken to be still active, in microseconds.
const WRITERS_KNOWN_US: u64 = 10_000;

/// The part of a drive that belongs to log blocks of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogZone {
    pub(crate) zone: u32,
    pub(crate) position: u64,
    pub(crate) start: DriveOffset,
    pub(crate) end: DriveOffset,
    /// Whether its space may never have been written: then zeros go ahead of the log.
    pub(crate) is_fresh: bool,
}

impl LogZone {
    /// The room between the two copies of the zone header.
    pub(crate) fn of(superblock: &Superblock, zone: u32, position: u64, is_fresh: bool) -> LogZone {
        let [first, end] = superblock.zone_headers(zone);
        LogZone { zone, position, start: first.plus(BLOCK_BYTES), end, is_fresh }
    }
}

/// Where a checkpoint cuts the log: what it covers, and where the log goes on behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogCut {
    pub(crate) covered: Sequence,
    pub(crate) position: u64,
    pub(crate) at: DriveOffset,
    pub(crate) number: u64,
}

/// Where a log goes on: fresh, or as recovery found it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogTail {
    pub(crate) zone: LogZone,
    pub(crate) at: DriveOffset,
    pub(crate) number: u64,
    pub(crate) last: Sequence,
    /// What was replayed behind the checkpoint.
    pub(crate) replayed_bytes: u64,
    pub(crate) replayed_records: u64,
}

/// What the log runs on.
pub(crate) struct LogContext {
    pub(crate) shard: ShardId,
    pub(crate) superblock: Superblock,
    pub(crate) drive: Rc<dyn Drive>,
    pub(crate) zones: Arc<ZoneTable>,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) stats: Arc<ShardStats>,
}

/// One shard's log.
pub(crate) struct Log {
    context: LogContext,
    state: RefCell<State>,
    pub(crate) watermark: Watermark,
    /// Something to write, or the log is to stop.
    work: Notify,
    /// Room was made, or the log failed.
    pub(crate) progress: Notify,
    stopping: Cell<bool>,
    zeroing: Rc<Zeroing>,
    /// All zones of this log that were not released, by position.
    zones: RefCell<BTreeMap<u64, LogZone>>,
    /// Told after every write and when a zone is wanted: checkpoints and cleaning may be due.
    pub(crate) maintenance: Rc<Notify>,
}

#[derive(Default)]
struct Zeroing {
    busy: Cell<Option<(u64, u64)>>,
    done: Notify,
}

struct State {
    zone: LogZone,
    next_zone: Option<LogZone>,
    /// The zones kept for maintenance were touched: what stores more waits until there are others.
    is_reserved: bool,
    next_is_reserved: bool,
    /// Nothing more can be made free: what stores more is refused.
    is_exhausted: bool,
    next_sequence: u64,
    /// Bytes and records behind the newest cut.
    tail_bytes: u64,
    tail_records: u64,
    open: Block,
    closed: VecDeque<Block>,
    pending_bytes: usize,
    prewritten: u64,
    /// Bytes of a block, on average over the last ones; of all blocks since the start.
    block_bytes: u64,
    written_bytes: u64,
    /// Writers known to be active when the last write ended (its records and those that came meanwhile), and how long
    /// that write took: what group commit goes by.
    active_writers: u32,
    write_us: u64,
    write_ended_us: u64,
}

#[derive(Debug)]
struct Block {
    at: DriveOffset,
    number: u64,
    first: Sequence,
    records: u32,
    /// Sequences that its records take.
    changes: u64,
    payload: Vec<u8>,
}

/// Why a record has no room now.
enum NoRoom {
    Later(EngineError),
    Never(EngineError),
}

impl Log {
    pub(crate) fn new(context: LogContext, tail: LogTail, zones: Vec<LogZone>) -> Rc<Log> {
        let open = Block {
            at: tail.at,
            number: tail.number,
            first: Sequence(tail.last.0 + 1),
            records: 0,
            changes: 0,
            payload: Vec::new(),
        };
        let zones: BTreeMap<u64, LogZone> = zones.into_iter().map(|zone| (zone.position, zone)).collect();
        let state = State {
            zone: tail.zone,
            next_zone: zones.get(&(tail.zone.position + 1)).copied(),
            is_reserved: false,
            next_is_reserved: false,
            is_exhausted: false,
            tail_bytes: tail.replayed_bytes,
            tail_records: tail.replayed_records,
            next_sequence: tail.last.0 + 1,
            open,
            closed: VecDeque::new(),
            pending_bytes: 0,
            prewritten: if tail.zone.is_fresh { tail.at.0 } else { tail.zone.end.0 },
            block_bytes: 0,
            written_bytes: 0,
            active_writers: 0,
            write_ended_us: 0,
            write_us: 0,
        };
        Rc::new(Log {
            context,
            state: RefCell::new(state),
            watermark: Watermark::starting_at(tail.last),
            work: Notify::default(),
            progress: Notify::default(),
            stopping: Cell::new(false),
            zeroing: Rc::default(),
            zones: RefCell::new(zones),
            maintenance: Rc::default(),
        })
    }

    /// The newest sequence given out.
    pub(crate) fn last_sequence(&self) -> Sequence {
        Sequence(self.state.borrow().next_sequence - 1)
    }

    /// The store's drive that holds this log.
    pub(crate) fn drive_index(&self) -> u16 {
        self.context.superblock.drive_index
    }

    fn fail_with(&self, error: &EngineError) {
        let context = &self.context;
        context.stats.failed(context.shard, &context.drive.name(), error);
        self.fail();
    }

    /// Takes no more records, ever.
    pub(crate) fn fail(&self) {
        self.watermark.fail();
        self.progress.notify();
        self.maintenance.notify();
    }

    /// Closes the open block and answers where the log goes on behind everything that was appended.
    pub(crate) fn cut(&self) -> LogCut {
        let mut state = self.state.borrow_mut();
        if state.open.records > 0 && !seeded(Mutant::CutInBlock) {
            let closed = state.close();
            state.closed.push_back(closed);
        }
        (state.tail_bytes, state.tail_records) = (0, 0);
        let covered = Sequence(state.next_sequence - 1);
        LogCut { covered, position: state.zone.position, at: state.open.at, number: state.open.number }
    }

    /// Bytes and records behind the newest cut.
    pub(crate) fn tail(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.tail_bytes, state.tail_records)
    }

    /// Zones whose position is below `position`: all before the log's tail when that is where a checkpoint cut.
    pub(crate) fn zones_below(&self, position: u64) -> Vec<LogZone> {
        self.zones.borrow().range(..position).map(|(_, zone)| *zone).collect()
    }

    /// The position of the zone that is being filled.
    pub(crate) fn position(&self) -> u64 {
        self.state.borrow().zone.position
    }

    /// Whether the log has gone on to a zone behind `position`.
    pub(crate) fn holds_zone_behind(&self, position: u64) -> bool {
        position < self.state.borrow().zone.position
    }

    /// Whether zeros are on their way to a part of the drive: it must not be given away before they are there.
    pub(crate) fn is_zeroing(&self, from: DriveOffset, to: DriveOffset) -> bool {
        self.zeroing.busy.get().is_some_and(|(first, end)| first < to.0 && from.0 < end)
    }

    /// Forgets a zone that is released.
    pub(crate) fn forget_zone(&self, position: u64) {
        self.zones.borrow_mut().remove(&position);
    }

    /// Takes up what there is of free zones again; `is_exhausted` says that maintenance cannot make any.
    pub(crate) fn reconsider_space(&self, is_exhausted: bool) {
        let mut state = self.state.borrow_mut();
        if self.context.zones.available() > 0 {
            (state.is_reserved, state.next_is_reserved, state.is_exhausted) = (false, false, false);
        } else {
            state.is_exhausted = is_exhausted;
        }
        drop(state);
        self.work.notify();
        self.progress.notify();
    }

    /// Whether something that stores more is held up by a lack of zones.
    pub(crate) fn is_starved(&self) -> bool {
        let state = self.state.borrow();
        state.is_reserved || state.next_is_reserved || state.wants_zone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Gives the changes of `record` the next sequences and puts it into the open block. Answers the first of them and
    /// where its inline blobs will be.
    ///
    /// One that frees may use the zones that are kept for maintenance. Nothing happens on an error; after [`Log::room`] for the
    /// same size and effect, in the same turn, there is none but a failed log.
    pub(crate) fn append(&self, record: &Record) -> Result<(Sequence, Vec<DriveOffset>), EngineError> {
        let bytes = record.encoded_bytes_max();
        let mut state = self.state.borrow_mut();
        match self.check_room(&state, bytes, record.space_effect()) {
            Ok(()) => {}
            Err(NoRoom::Later(e) | NoRoom::Never(e)) => return Err(e),
        }
        state.open_for(bytes);
        let (sequence, span) = (Sequence(state.next_sequence), record.sequences());
        state.next_sequence += span;
        let before = state.open.payload.len();
        let inline_at = record.encode(&mut state.open.payload);
        let added = state.open.payload.len() - before;
        assert!(added <= bytes);
        state.pending_bytes += added;
        state.tail_bytes += added as u64;
        state.tail_records += 1;
        state.open.records += 1;
        state.open.changes += span;
        let block_at = state.open.at.plus(HEADER_BYTES as u64);
        let places = inline_at.into_iter().map(|at| block_at.plus(at as u64)).collect();
        drop(state);
        self.work.notify();
        Ok((sequence, places))
    }

    /// Resolves once `append` of a record of at most `bytes` finds room; fails when it never will, and with
    /// [`EngineError::Busy`] when there is none for [`LOG_WAIT_MS_MAX`].
    pub(crate) async fn room(&self, bytes: usize, effect: SpaceEffect) -> Result<(), EngineError> {
        let look = || match self.check_room(&self.state.borrow(), bytes, effect) {
            Ok(()) => Some(Ok(())),
            Err(NoRoom::Later(_)) => None,
            Err(NoRoom::Never(e)) => Some(Err(e)),
        };
        let mut found = std::pin::pin!(self.progress.until(look));
        // Almost always there is room at once: no timer then.
        if let Poll::Ready(found) = futures_util::poll!(found.as_mut()) {
            return found;
        }
        let timeout = self.context.platform.sleep(Duration::from_millis(LOG_WAIT_MS_MAX));
        match select(found, timeout).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => {
                let (limit, max) = ("LOG_WAIT_MS_MAX", LOG_WAIT_MS_MAX);
                Err(EngineError::Busy { limit, max })
            }
        }
    }

    fn check_room(&self, state: &State, bytes: usize, effect: SpaceEffect) -> Result<(), NoRoom> {
        if self.watermark.has_failed() {
            return Err(NoRoom::Never(EngineError::ReadOnly { shard: self.context.shard }));
        }
        if self.stopping.get() {
            return Err(NoRoom::Never(EngineError::Stopping));
        }
        let zone_bytes = state.zone.end.0 - state.zone.start.0;
        let max = RECORD_BYTES_MAX.min(usize::try_from(zone_bytes / 2).unwrap_or(usize::MAX));
        if max < bytes {
            let (limit, max, got) = ("RECORD_BYTES_MAX", max as u64, bytes as u64);
            return Err(NoRoom::Never(EngineError::TooLarge { limit, max, got }));
        }
        if LOG_PENDING_BYTES_MAX < state.pending_bytes + bytes {
            let max = LOG_PENDING_BYTES_MAX as u64;
            return Err(NoRoom::Later(EngineError::Busy { limit: "LOG_PENDING_BYTES_MAX", max }));
        }
        let fits_zone = state.end_after(bytes) <= state.zone.end.0;
        let has_zone = fits_zone || state.next_zone.is_some();
        // With a zone behind it that is not kept, the one that is being filled need not be kept either; so whatever is
        // smaller than something that finds room finds room.
        let next_is_reserved = state.next_zone.is_none() || state.next_is_reserved;
        let is_reserved = if fits_zone { state.is_reserved && next_is_reserved } else { next_is_reserved };
        let stores = effect == SpaceEffect::Stores;
        if !has_zone || (is_reserved && stores) {
            return Err(match state.is_exhausted && stores {
                true => NoRoom::Never(EngineError::Full { wanted_bytes: bytes as u64 }),
                false => NoRoom::Later(EngineError::NoFreeZone),
            });
        }
        Ok(())
    }

    /// Writes what is appended, until [`Log::stop`]; runs once per log, as a task of its core.
    pub(crate) async fn run(self: Rc<Self>) {
        self.prepare_zone().await;
        self.write_ahead();
        loop {
            let stop = self.work.until(|| {
                let zones = || self.state.borrow().wants_zone() && self.context.zones.usable() > 0;
                let works = self.has_work() || self.watermark.has_failed() || zones();
                works.then_some(false).or(self.stopping.get().then_some(true))
            });
            if stop.await || self.watermark.has_failed() {
                return;
            }
            if !self.has_work() {
                self.prepare_zone().await;
                self.write_ahead();
                self.progress.notify();
                continue;
            }
            self.gather().await;
            let Some(block) = self.take_block() else { continue };
            let last = Sequence(block.first.0 + block.changes - 1);
            let payload_bytes = block.payload.len();
            let records = block.records;
            let started_us = self.context.platform.monotonic_us();
            if seeded(Mutant::MarkBeforeWrite) {
                self.watermark.advance(last);
            }
            if let Err(error) = self.write(block).await
                && !seeded(Mutant::LogFailureIgnored)
            {
                self.fail_with(&error);
                return;
            }
            let write_us = self.context.platform.monotonic_us().saturating_sub(started_us);
            self.context.stats.log_written(u64::from(records), stored_bytes(payload_bytes), write_us);
            {
                let mut state = self.state.borrow_mut();
                state.pending_bytes -= payload_bytes;
                state.block_bytes = (state.block_bytes * 7 + stored_bytes(payload_bytes)) / 8;
                state.written_bytes += stored_bytes(payload_bytes);
                state.active_writers = records + state.open.records;
                state.write_ended_us = started_us + write_us;
                state.write_us =
                    if state.write_us == 0 { write_us } else { (state.write_us * 7 + write_us) / 8 };
            }
            self.watermark.advance(Sequence(last.0 + u64::from(seeded(Mutant::MarkTooFar))));
            self.prepare_zone().await;
            self.write_ahead();
            self.progress.notify();
            self.maintenance.notify();
        }
    }

    /// Writes what is pending and takes nothing more.
    pub(crate) async fn stop(&self) {
        let last = self.last_sequence();
        self.stopping.set(true);
        // A failed log has told its waiters already.
        drop(self.watermark.reached(last).await);
        self.work.notify();
        self.maintenance.notify();
    }

    fn has_work(&self) -> bool {
        let state = self.state.borrow();
        state.open.records > 0 || !state.closed.is_empty()
    }

    /// Group commit: while several writers are known to be active, waits a moment for most of them to come along.
    /// A lone writer waits for nothing but its own write.
    async fn gather(&self) {
        let (target, wait_us) = {
            let state = self.state.borrow();
            let idle_us = self.context.platform.monotonic_us().saturating_sub(state.write_ended_us);
            // Who was active that long ago may be gone.
            let active = if idle_us < WRITERS_KNOWN_US { state.active_writers } else { 1 };
            let target = (active * 3).div_ceil(4);
            (target, (state.write_us * 2).clamp(100, COMMIT_DELAY_US_MAX))
        };
        let is_gathered = || {
            let state = self.state.borrow();
            target <= state.open.records || !state.closed.is_empty() || self.stopping.get()
        };
        if is_gathered() {
            return;
        }
        let gathered = std::pin::pin!(self.work.until(|| is_gathered().then_some(())));
        let timeout = self.context.platform.sleep(Duration::from_micros(wait_us));
        match select(gathered, timeout).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    fn take_block(&self) -> Option<Block> {
        let mut state = self.state.borrow_mut();
        if let Some(block) = state.closed.pop_front() {
            return Some(block);
        }
        (state.open.records > 0).then(|| state.close())
    }

    async fn write(&self, block: Block) -> Result<(), EngineError> {
        let context = &self.context;
        let used = HEADER_BYTES + block.payload.len();
        let bytes = stored_bytes(block.payload.len());
        let length = usize::try_from(bytes).expect("bounded");
        // Readers may hold every buffer for as long as their clients are slow: the log does not wait for them.
        let pooled = context.platform.buffer(length).now_or_never().and_then(Result::ok);
        let mut buffer = pooled.unwrap_or_else(|| Buffer::unpooled(length));
        {
            let out = buffer.as_mut_slice();
            out[HEADER_BYTES..used].copy_from_slice(&block.payload);
            out[used..].fill(0);
            let header = BlockHeader {
                store: context.superblock.store,
                shard: context.shard,
                number: block.number,
                at: block.at,
                first: block.first,
                records: block.records,
                payload_bytes: u32::try_from(block.payload.len()).expect("bounded"),
                durable: self.watermark.value(),
            };
            header.encode_into(out);
        }
        let (start, end) = (block.at.0, block.at.0 + bytes);
        let overlaps = |(from, to): (u64, u64)| start < to && from < end;
        self.zeroing.done.until(|| (!self.zeroing.busy.get().is_some_and(overlaps)).then_some(())).await;
        let durability =
            if seeded(Mutant::LogUndurable) { Durability::AfterFlush } else { Durability::OnReturn };
        let (_buffer, result) = context.drive.write(block.at, buffer, durability).await;
        Ok(result?)
    }

    /// Makes sure that there is a zone to go on in, before the current one is full.
    async fn prepare_zone(&self) {
        let position = {
            let state = self.state.borrow();
            if !state.wants_zone() {
                return;
            }
            state.zone.position + 1
        };
        // Taken before the last start, when the log was further on with blocks that never became durable.
        let found = self.zones.borrow().get(&position).copied();
        if found.is_some() {
            self.state.borrow_mut().next_zone = found;
            self.progress.notify();
            return;
        }
        let context = &self.context;
        for purpose in [Purpose::Data, Purpose::Maintenance] {
            let granted = grant_zone(
                &*context.drive,
                &context.superblock,
                &context.zones,
                context.shard,
                position,
                ZoneKind::Log,
                purpose,
            );
            match granted.await {
                Ok(granted) => {
                    let zone = LogZone::of(&context.superblock, granted.zone, position, granted.is_fresh);
                    self.zones.borrow_mut().insert(position, zone);
                    let mut state = self.state.borrow_mut();
                    state.next_zone = Some(zone);
                    state.next_is_reserved = purpose == Purpose::Maintenance;
                    break;
                }
                Err(EngineError::Full { .. }) => {}
                Err(error) => {
                    self.fail_with(&error);
                    break;
                }
            }
        }
        self.progress.notify();
        self.maintenance.notify();
    }

    /// Starts writing zeros ahead of the open block, unless there is enough or some are under way.
    fn write_ahead(&self) {
        let (from, to) = {
            let mut state = self.state.borrow_mut();
            let end = state.zone.end.0;
            if !state.zone.is_fresh || PREWRITE_BLOCK_BYTES_MAX < state.block_bytes {
                return;
            }
            let ahead = state.written_bytes.clamp(PREWRITE_AHEAD_BYTES_MIN, PREWRITE_AHEAD_BYTES_MAX);
            let ahead = ahead - ahead % PREWRITE_AHEAD_BYTES_MIN;
            let from = state.prewritten.max(state.open.end_with(0));
            let wanted = state.open.end_with(0) + ahead / 2;
            if self.zeroing.busy.get().is_some() || wanted <= from || end <= from {
                return;
            }
            let to = (from + ahead.min(PREWRITE_STEP_BYTES_MAX)).min(end);
            state.prewritten = to;
            (from, to)
        };
        self.zeroing.busy.set(Some((from, to)));
        let (zeroing, drive) = (self.zeroing.clone(), self.context.drive.clone());
        let (platform, maintenance) = (self.context.platform.clone(), self.maintenance.clone());
        spawn(&self.context.platform, async move {
            let bytes = usize::try_from(to - from).expect("one step");
            if let Ok(mut buffer) = platform.buffer(bytes).await {
                buffer.as_mut_slice().fill(0);
                // Only speed is lost when this fails: the log's own write tells of a bad drive.
                let (_buffer, _result) = drive.write(DriveOffset(from), buffer, Durability::AfterFlush).await;
            }
            zeroing.busy.set(None);
            zeroing.done.notify();
            maintenance.notify();
        });
    }
}

impl State {
    /// Whether the next zone is to be taken: the current one is half full.
    fn wants_zone(&self) -> bool {
        let half = self.zone.start.0 + (self.zone.end.0 - self.zone.start.0) / 2;
        self.next_zone.is_none() && half <= self.open.at.0
    }

    /// Where the log would end with a record of `bytes` more, were its zone endless.
    fn end_after(&self, bytes: usize) -> u64 {
        if self.open.records > 0 && LOG_BLOCK_BYTES_MAX < self.open.payload.len() + bytes {
            self.open.end_with(0) + stored_bytes(bytes)
        } else {
            self.open.end_with(bytes)
        }
    }

    /// Closes the open block when `bytes` more do not fit into it, and opens the next one where they do.
    fn open_for(&mut self, bytes: usize) {
        let grows_too_large = LOG_BLOCK_BYTES_MAX < self.open.payload.len() + bytes;
        let leaves_zone = self.zone.end.0 < self.open.end_with(bytes);
        if self.open.records > 0 && (grows_too_large || leaves_zone) {
            let closed = self.close();
            self.closed.push_back(closed);
        }
        if self.zone.end.0 < self.open.end_with(bytes) {
            let zone = self.next_zone.take().expect("check_room saw it");
            self.open.at = zone.start;
            self.prewritten = if zone.is_fresh { zone.start.0 } else { zone.end.0 };
            self.zone = zone;
            self.is_reserved = std::mem::take(&mut self.next_is_reserved);
        }
    }

    /// Takes the open block away and opens an empty one behind it.
    fn close(&mut self) -> Block {
        let next = Block {
            at: DriveOffset(self.open.end_with(0)),
            number: self.open.number + 1,
            first: Sequence(self.next_sequence),
            records: 0,
            changes: 0,
            payload: Vec::new(),
        };
        std::mem::replace(&mut self.open, next)
    }
}

impl Block {
    /// Where the block would end on the drive with `bytes` more in it.
    fn end_with(&self, bytes: usize) -> u64 {
        self.at.0 + stored_bytes(self.payload.len() + bytes)
    }
}
