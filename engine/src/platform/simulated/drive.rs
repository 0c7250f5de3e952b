//! A drive that exists only in memory and behaves as badly as real ones may.
//!
//! A [`Medium`] outlives power cuts; a [`SimulatedDrive`] is one run's view of it. Completed writes that were not
//! flushed, and writes in flight, may after a cut be kept, lost, or torn at 512 bytes; flushed and durable ones stay.
//! I1. Which of these happens is drawn from the run's seed. I2. A durable write makes only itself durable, not what
//! completed before it: the weakest drive that keeps the contract. I3. A drive breaks the contract only as [`Faults`]
//! say, and counts in [`Happened`] how often it did.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::machine::Simulator;
use super::random::Random;
use crate::drive::{Buffer, Drive, Durability, assert_range};
use crate::error::{DriveCause, DriveError, DriveOp};
use crate::units::{BLOCK_BYTES, DriveOffset};

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
static ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Blocks of one page of the table of durable blocks; a page is shared between copies of a medium until one changes it.
const PAGE: usize = 64;
/// What a rate of faults is counted against.
const RATE_SCALE: u64 = 10_000;
/// How much longer a slow operation takes.
const SLOW_FACTOR: u64 = 1_000;

/// One block: a part of the bytes of the write that it came with.
#[derive(Clone)]
struct Block {
    bytes: Rc<[u8]>,
    at: usize,
}

impl Block {
    fn new(bytes: [u8; BLOCK]) -> Block {
        Block { bytes: Rc::new(bytes), at: 0 }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.at..self.at + BLOCK]
    }

    fn to_array(&self) -> [u8; BLOCK] {
        self.as_slice().try_into().expect("a whole block")
    }
}

/// Absent means zeros.
type Page = [Option<Block>; PAGE];

/// One write, as long as something of it is not durable.
struct Write {
    /// Its place among all writes of the medium.
    number: u64,
    /// Only then a flush covers it.
    completed: Cell<bool>,
}

/// One write of one block; no block means zeros.
#[derive(Clone)]
struct Version {
    block: Option<Block>,
    write: Rc<Write>,
}

/// What stays when the power goes: the durable bytes, and those that might have made it. Of one drive, or of several of
/// the same size, one behind the other.
#[derive(Clone)]
pub struct Medium {
    inner: Rc<RefCell<Blocks>>,
    bytes: u64,
    drives: u64,
}

#[derive(Default)]
struct Blocks {
    durable: Vec<Rc<Page>>,
    /// Versions written since the last flush, oldest first; the last one is what a read sees.
    volatile: BTreeMap<u64, Vec<Version>>,
    /// What stood in a block before what is durable now, kept while stale reads are asked for.
    older: BTreeMap<u64, Option<Block>>,
    /// Blocks that cannot be read any more.
    bad: BTreeSet<u64>,
    writes: u64,
    /// Space that a file system gave: from where, and bytes.
    allocated: BTreeMap<u64, u64>,
}

/// What becomes of the writes that were not durable when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of them made it.
    Keep,
    /// None of them did.
    Lose,
    /// Of every block one of its versions, or sectors of several.
    Draw,
    /// By the digits of this number to base 3, lowest first, one for each pending write, oldest first: 0 lost, 1 kept,
    /// 2 torn. Writes without a digit are lost.
    Each(u64),
}

impl Blocks {
    fn durable(&self, at: u64) -> Option<&Block> {
        let (page, nth) = place(at);
        self.durable.get(page)?[nth].as_ref()
    }

    fn newest(&self, at: u64) -> Option<&Block> {
        match self.volatile.get(&at).and_then(|versions| versions.last()) {
            Some(version) => version.block.as_ref(),
            None => self.durable(at),
        }
    }

    fn set(&mut self, at: u64, block: Option<Block>) {
        let (page, nth) = place(at);
        if self.durable.len() <= page {
            if block.is_none() {
                return;
            }
            self.durable.resize_with(page + 1, || Rc::new([const { None }; PAGE]));
        }
        Rc::make_mut(&mut self.durable[page])[nth] = block;
    }

    /// As [`Blocks::set`], by a write that reached the medium.
    fn harden(&mut self, at: u64, block: Option<Block>, keep_older: bool) {
        if keep_older {
            let before = self.durable(at).cloned();
            self.older.insert(at, before);
        }
        self.bad.remove(&at);
        self.set(at, block);
    }

    /// Takes the versions of a block away up to that of a write, oldest first.
    fn take_up_to(&mut self, at: u64, newest: u64) -> Vec<Version> {
        let Some(list) = self.volatile.get_mut(&at) else { return Vec::new() };
        let count = list.iter().take_while(|version| version.write.number <= newest).count();
        let taken = list.drain(..count).collect();
        if list.is_empty() {
            self.volatile.remove(&at);
        }
        taken
    }

    fn written(&self) -> Vec<u64> {
        let pages = (0_u64..).zip(&self.durable);
        let blocks = pages.flat_map(|(page, blocks)| {
            let used = (0_u64..).zip(blocks.iter()).filter(|(_, block)| block.is_some());
            used.map(move |(nth, _)| page * PAGE as u64 + nth)
        });
        blocks.collect()
    }
}

fn place(block: u64) -> (usize, usize) {
    let block = usize::try_from(block).expect("a small medium");
    (block / PAGE, block % PAGE)
}

impl Medium {
    /// A blank medium.
    pub fn new(bytes: u64) -> Medium {
        Medium::of_drives(1, bytes)
    }

    /// A blank medium of so many drives, each of so many bytes: whole blocks, at least one drive (asserted).
    pub fn of_drives(drives: u64, bytes_each: u64) -> Medium {
        assert!(drives > 0 && bytes_each.is_multiple_of(BLOCK_BYTES));
        Medium { inner: Rc::default(), bytes: drives * bytes_each, drives }
    }

    /// A copy with the same durable bytes.
    pub fn duplicate(&self) -> Medium {
        let inner = self.inner.borrow();
        let (durable, bad) = (inner.durable.clone(), inner.bad.clone());
        let blocks = Blocks { durable, bad, ..Blocks::default() };
        Medium { inner: Rc::new(RefCell::new(blocks)), ..*self }
    }

    /// A copy with the same pending writes, none of which is in flight any more: to lose power in several ways.
    pub fn fork(&self) -> Medium {
        let copy = self.duplicate();
        copy.inner.borrow_mut().volatile.clone_from(&self.inner.borrow().volatile);
        copy
    }

    /// What a power cut leaves: for every block written since the last flush, one of its versions or a mixture.
    pub fn lose_power(&self, random: &mut Random) {
        self.lose_power_as(Loss::Draw, random);
    }

    /// As [`Medium::lose_power`], in a way that is told.
    pub fn lose_power_as(&self, loss: Loss, random: &mut Random) {
        let mut blocks = self.inner.borrow_mut();
        let volatile = std::mem::take(&mut blocks.volatile);
        let fates = fates(&volatile, loss);
        for (at, versions) in volatile {
            let before = blocks.durable(at).cloned();
            let newest = |versions: &[Version]| versions.last().and_then(|version| version.block.clone());
            let left = match loss {
                Loss::Keep => newest(&versions),
                Loss::Lose => before,
                Loss::Draw => match random.below(4) {
                    0 => before,
                    1 | 2 => newest(&versions),
                    _ => torn(before.as_ref(), &versions, random),
                },
                Loss::Each(_) => {
                    let mut left = before;
                    for version in &versions {
                        match fates.get(&version.write.number) {
                            Some(1) => left = version.block.clone(),
                            Some(2) => left = torn(left.as_ref(), std::slice::from_ref(version), random),
                            _ => {}
                        }
                    }
                    left
                }
            };
            blocks.harden(at, left, false);
        }
        blocks.older.clear();
    }

    /// Writes of which something is not durable.
    pub fn pending_writes(&self) -> usize {
        let blocks = self.inner.borrow();
        let versions = blocks.volatile.values().flatten();
        versions.map(|version| version.write.number).collect::<BTreeSet<u64>>().len()
    }

    /// What a killed process leaves: every write in flight ends or never happens, and what is not durable stays
    /// readable, at the mercy of the next power cut.
    pub fn lose_process(&self, random: &mut Random) {
        let mut blocks = self.inner.borrow_mut();
        blocks.volatile.retain(|_, versions| {
            versions.retain(|version| {
                let stays = version.write.completed.get() || random.one_in(2);
                version.write.completed.set(version.write.completed.get() || stays);
                stays
            });
            !versions.is_empty()
        });
    }

    /// Durable blocks that hold anything but zeros, in order.
    pub fn durable_blocks(&self) -> Vec<u64> {
        self.inner.borrow().written()
    }

    /// Changes one durable byte, as decay would.
    pub fn flip(&self, at: u64, mask: u8) {
        let mut bytes = self.block(at / BLOCK_BYTES);
        bytes[usize::try_from(at % BLOCK_BYTES).expect("within a block")] ^= mask;
        self.set_block(at / BLOCK_BYTES, &bytes);
    }

    /// One durable byte.
    pub fn byte(&self, at: u64) -> u8 {
        let blocks = self.inner.borrow();
        let offset = usize::try_from(at % BLOCK_BYTES).expect("within a block");
        blocks.durable(at / BLOCK_BYTES).map_or(0, |block| block.as_slice()[offset])
    }

    /// The durable bytes of block `at`.
    pub fn block(&self, at: u64) -> [u8; BLOCK] {
        self.inner.borrow().durable(at).map_or([0; BLOCK], Block::to_array)
    }

    /// Replaces the durable bytes of block `at`.
    pub fn set_block(&self, at: u64, bytes: &[u8; BLOCK]) {
        let block = (*bytes != [0; BLOCK]).then(|| Block::new(*bytes));
        self.inner.borrow_mut().set(at, block);
    }

    /// Makes all blocks readable again that faults had made unreadable.
    pub fn heal(&self) {
        self.inner.borrow_mut().bad.clear();
    }

    /// Blocks that cannot be read.
    pub fn bad_blocks(&self) -> usize {
        self.inner.borrow().bad.len()
    }

    /// Takes a write in: from now on a power cut may keep any of it.
    fn write(&self, at: u64, bytes: &[u8]) -> Rc<Write> {
        let mut blocks = self.inner.borrow_mut();
        blocks.writes += 1;
        let write = Rc::new(Write { number: blocks.writes, completed: Cell::new(false) });
        let mut shared: Option<Rc<[u8]>> = None;
        for (nth, chunk) in (0_u64..).zip(bytes.chunks_exact(BLOCK)) {
            let zero = chunk == ZEROS;
            if zero && !blocks.volatile.contains_key(&(at + nth)) && blocks.durable(at + nth).is_none() {
                // Zeros over zeros: nobody can tell whether they were written.
                blocks.bad.remove(&(at + nth));
                continue;
            }
            let block = (!zero).then(|| {
                let bytes = shared.get_or_insert_with(|| Rc::from(bytes)).clone();
                Block { bytes, at: usize::try_from(nth).expect("an index") * BLOCK }
            });
            let version = Version { block, write: write.clone() };
            blocks.volatile.entry(at + nth).or_default().push(version);
        }
        write
    }

    /// Makes blocks durable as they were with the write that it says, which may have become so meanwhile.
    fn harden(&self, versions: impl IntoIterator<Item = (u64, u64)>, keep_older: bool) {
        let mut blocks = self.inner.borrow_mut();
        for (at, newest) in versions {
            if let Some(last) = blocks.take_up_to(at, newest).pop() {
                blocks.harden(at, last.block, keep_older);
            }
        }
    }
}

/// What `Loss::Each` decides for each write.
fn fates(volatile: &BTreeMap<u64, Vec<Version>>, loss: Loss) -> BTreeMap<u64, u64> {
    let Loss::Each(mut digits) = loss else { return BTreeMap::new() };
    let numbers: BTreeSet<u64> = volatile.values().flatten().map(|version| version.write.number).collect();
    let mut digit = || {
        let digit = digits % 3;
        digits /= 3;
        digit
    };
    numbers.into_iter().map(|number| (number, digit())).collect()
}

/// Of every sector one of its versions.
fn torn(before: Option<&Block>, versions: &[Version], random: &mut Random) -> Option<Block> {
    let mut torn = before.map_or([0; BLOCK], Block::to_array);
    for sector in 0..BLOCK / SECTOR {
        let version = usize::try_from(random.below(versions.len() as u64 + 1)).expect("a small number");
        let Some(version) = version.checked_sub(1).map(|nth| &versions[nth]) else { continue };
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        match &version.block {
            Some(block) => torn[range.clone()].copy_from_slice(&block.as_slice()[range]),
            None => torn[range].fill(0),
        }
    }
    (torn != [0; BLOCK]).then(|| Block::new(torn))
}

/// Which drive operations go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The power goes when this operation (counted from 1, at its start and again at its end) is reached.
    pub cut_at: Option<u64>,
    /// This operation (counted likewise) fails with `EIO`, or with `short` after a part of its bytes.
    pub fail_at: Option<u64>,
    /// Whether what `fail_at` names moves a part of its bytes. A flush moves none and fails with `EIO`.
    pub short: bool,
    /// This flush or durable write (counted from 1, at its end) fails, and all later ones with `barriers_fail_on`.
    pub fail_barrier: Option<u64>,
    /// See `fail_barrier`.
    pub barriers_fail_on: bool,
    /// From this operation on (counted as for `cut_at`) the drive is gone: everything fails.
    pub vanish_at: Option<u64>,
    /// Bytes of the drive that the file system under it has space for, counted as they are asked for; `None` for all.
    pub space_bytes: Option<u64>,
    /// Longest time of one operation in microseconds of virtual time.
    pub latency_us_max: u64,
    /// What goes wrong by chance.
    pub rates: Rates,
    /// How often something may go wrong by chance that leaves the medium other than acknowledged; `None` for ever.
    pub destroyed_max: Option<u64>,
}

/// How often a fault happens, each in ten thousandths of the operations that it may happen to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// A read fails with `EIO` once.
    pub read_error: u16,
    /// A block of a read cannot be read any more until it is written again.
    pub bad_block: u16,
    /// A write fails with `EIO`; of its blocks some have changed.
    pub write_error: u16,
    /// A flush fails with `EIO`.
    pub flush_error: u16,
    /// A read or write moves a part of its bytes.
    pub short: u16,
    /// Any operation takes a thousand times longer.
    pub slow: u16,
    /// A read answers with one wrong byte; the medium is right.
    pub corrupt_read: u16,
    /// A byte somewhere on the medium changes during a write.
    pub corrupt_medium: u16,
    /// A write is acknowledged and never stored.
    pub lost_write: u16,
    /// A write is stored at another place.
    pub misdirected_write: u16,
    /// A read answers with what stands at another place.
    pub misdirected_read: u16,
    /// A read answers with what stood there before.
    pub stale_read: u16,
}

/// How often a drive broke the contract so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the rates that cause them")]
pub struct Happened {
    pub read_errors: u64,
    pub bad_blocks: u64,
    pub write_errors: u64,
    pub flush_errors: u64,
    pub short: u64,
    pub slow: u64,
    pub corrupt_reads: u64,
    pub corrupt_blocks: u64,
    pub lost_writes: u64,
    pub misdirected_writes: u64,
    pub misdirected_reads: u64,
    pub stale_reads: u64,
}

impl Happened {
    /// Faults after which the medium does not hold what it acknowledged.
    pub fn destroyed(&self) -> u64 {
        self.corrupt_blocks + self.lost_writes + self.misdirected_writes + self.bad_blocks
    }

    /// Reads that answered with something else than what is on the medium.
    pub fn lied(&self) -> u64 {
        self.corrupt_reads + self.misdirected_reads + self.stale_reads
    }

    /// All faults.
    pub fn total(&self) -> u64 {
        let errors = self.read_errors + self.write_errors + self.flush_errors + self.short + self.slow;
        self.destroyed() + self.lied() + errors
    }
}

/// One run's view of a medium. Clones are the same drive; [`SimulatedDrive::parts`] are the drives of a medium of several,
/// which share what is counted and the faults, and fail one by one.
#[derive(Clone)]
pub struct SimulatedDrive {
    simulator: Simulator,
    medium: Medium,
    /// Its blocks of the medium.
    range: Range<u64>,
    state: Rc<State>,
    /// Which of the drives it is: one bit, or all of them.
    bits: u64,
}

#[derive(Default)]
struct State {
    operations: Cell<u64>,
    barriers: Cell<u64>,
    /// Bits of the drives that were given up for writing.
    failed: Cell<u64>,
    faults: Cell<Faults>,
    happened: Cell<Happened>,
    /// Writes under way: from and to.
    writing: RefCell<Vec<(u64, u64)>>,
}

/// A write under way.
struct Writing {
    state: Rc<State>,
    range: (u64, u64),
}

impl Writing {
    /// Panics when another one is on its way to the same bytes: which of them lands last is for the drive to say.
    fn begin(state: &Rc<State>, range: (u64, u64)) -> Writing {
        let mut writing = state.writing.borrow_mut();
        let other = writing.iter().find(|other| other.0 < range.1 && range.0 < other.1);
        assert!(other.is_none(), "a write to {range:?} while one to {other:?} is under way");
        writing.push(range);
        Writing { state: state.clone(), range }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut writing = self.state.writing.borrow_mut();
        let nth = writing.iter().position(|range| *range == self.range);
        nth.map(|nth| writing.swap_remove(nth));
    }
}

impl SimulatedDrive {
    /// Attaches a medium to a run.
    pub fn new(simulator: &Simulator, medium: &Medium, faults: Faults) -> SimulatedDrive {
        let state = Rc::new(State { faults: Cell::new(faults), ..State::default() });
        let (range, bits) = (0..medium.bytes / BLOCK_BYTES, (1 << medium.drives) - 1);
        SimulatedDrive { simulator: simulator.clone(), medium: medium.clone(), range, state, bits }
    }

    /// The drives of the medium, in order.
    pub fn parts(&self) -> Vec<SimulatedDrive> {
        let blocks = self.medium.bytes / BLOCK_BYTES / self.medium.drives;
        let part = |nth: u64| {
            let (range, bits) = (nth * blocks..(nth + 1) * blocks, 1 << nth);
            SimulatedDrive { range, bits, ..self.clone() }
        };
        (0..self.medium.drives).map(part).collect()
    }

    /// Starts and ends of operations so far.
    pub fn operations(&self) -> u64 {
        self.state.operations.get()
    }

    /// Ends of flushes and durable writes so far.
    pub fn barriers(&self) -> u64 {
        self.state.barriers.get()
    }

    /// Whether the drive, or any of several, was given up for writing.
    pub fn has_failed(&self) -> bool {
        self.state.failed.get() & self.bits != 0
    }

    /// Whether all drives were.
    pub fn has_failed_wholly(&self) -> bool {
        self.state.failed.get() & self.bits == self.bits
    }

    fn fail(&self) {
        self.state.failed.set(self.state.failed.get() | self.bits);
    }

    /// Other faults from now on; what they number is counted on from now.
    pub fn set_faults(&self, faults: Faults) {
        let (operations, barriers) = (self.operations(), self.barriers());
        let later = |nth: Option<u64>, past: u64| nth.map(|nth| nth.saturating_add(past));
        self.state.faults.set(Faults {
            cut_at: later(faults.cut_at, operations),
            fail_at: later(faults.fail_at, operations),
            vanish_at: later(faults.vanish_at, operations),
            fail_barrier: later(faults.fail_barrier, barriers),
            ..faults
        });
    }

    /// What went wrong by chance so far.
    pub fn happened(&self) -> Happened {
        self.state.happened.get()
    }

    fn error(&self, op: DriveOp, at: DriveOffset, bytes: u64) -> DriveError {
        let cause = match op {
            // Only writing is given up.
            DriveOp::Read => DriveCause::Errno(libc::EIO),
            _ if self.has_failed() => DriveCause::Failed,
            _ => DriveCause::Errno(libc::EIO),
        };
        DriveError { drive: self.name(), op, at, bytes, cause }
    }

    fn short(&self, op: DriveOp, at: DriveOffset, bytes: u64) -> DriveError {
        let got = bytes / 2 - bytes / 2 % BLOCK_BYTES;
        DriveError { drive: self.name(), op, at, bytes, cause: DriveCause::Short { got } }
    }

    /// Counts one step of an operation; `false` when it is one that fails.
    fn step(&self) -> bool {
        let step = self.state.operations.get() + 1;
        self.state.operations.set(step);
        let faults = self.state.faults.get();
        if faults.cut_at == Some(step) {
            self.simulator.cut_power();
        }
        faults.fail_at != Some(step) && faults.vanish_at.is_none_or(|gone| step < gone)
    }

    /// Counts the end of a flush or durable write; `false` when it is one that fails.
    fn barrier(&self) -> bool {
        let barrier = self.state.barriers.get() + 1;
        self.state.barriers.set(barrier);
        let faults = self.state.faults.get();
        match faults.fail_barrier {
            Some(first) if faults.barriers_fail_on => barrier < first,
            nth => nth != Some(barrier),
        }
    }

    /// Draws whether a fault of this rate happens now, and counts it.
    fn happens(&self, rate: impl Fn(&Rates) -> u16, count: impl Fn(&mut Happened) -> &mut u64) -> bool {
        let faults = self.state.faults.get();
        let rate = rate(&faults.rates);
        if rate == 0 || u64::from(rate) <= self.simulator.random() % RATE_SCALE {
            return false;
        }
        let (before, mut happened) = (self.happened(), self.happened());
        *count(&mut happened) += 1;
        let destroyed = happened.destroyed();
        if before.destroyed() < destroyed && faults.destroyed_max.is_some_and(|max| max < destroyed) {
            return false;
        }
        self.state.happened.set(happened);
        true
    }

    async fn delay(&self) {
        let max = self.state.faults.get().latency_us_max.max(1);
        let slow = self.happens(|rates| rates.slow, |happened| &mut happened.slow);
        let factor = if slow { SLOW_FACTOR } else { 1 };
        self.simulator.sleep_us(self.simulator.random() % max * factor).await;
    }

    /// A write failed at its end: some of its blocks have changed, and nothing of it is in flight any more.
    fn spoil(&self, range: Range<u64>, write: &Rc<Write>) {
        let mut blocks = self.medium.inner.borrow_mut();
        for at in range {
            let lost = self.simulator.random().is_multiple_of(2);
            let Some(list) = blocks.volatile.get_mut(&at) else { continue };
            list.retain(|version| !lost || !Rc::ptr_eq(&version.write, write));
            if list.is_empty() {
                blocks.volatile.remove(&at);
            }
        }
        write.completed.set(true);
    }

    /// A flush failed: of what it should have made durable, some is gone at once.
    fn forget(&self, covered: Vec<(u64, u64)>) {
        let mut blocks = self.medium.inner.borrow_mut();
        for (at, newest) in covered {
            if self.simulator.random().is_multiple_of(4) {
                drop(blocks.take_up_to(at, newest));
            }
        }
    }

    /// The drive's first block of these, of the medium.
    fn first(&self, at: DriveOffset) -> u64 {
        self.range.start + at.0 / BLOCK_BYTES
    }

    /// Blocks of the drive that hold anything but zeros.
    fn written(&self) -> Vec<u64> {
        let written = self.medium.durable_blocks();
        written.into_iter().filter(|block| self.range.contains(block)).collect()
    }

    /// Another place of the same length: half of the time one that was written.
    fn elsewhere(&self, at: DriveOffset, bytes: u64) -> u64 {
        let (count, end) = (bytes / BLOCK_BYTES, self.range.end);
        let written = self.written();
        let drawn = match self.simulator.random().is_multiple_of(2) && !written.is_empty() {
            true => {
                let nth = self.simulator.random() % written.len() as u64;
                written[usize::try_from(nth).expect("an index")]
            }
            false => self.range.start + self.simulator.random() % (end - self.range.start),
        };
        let other = drawn.min(end - count);
        if other == self.first(at) { (other + 1).min(end - count) } else { other }
    }

    fn decay(&self) {
        let written = self.written();
        if written.is_empty() {
            return;
        }
        let nth = usize::try_from(self.simulator.random() % written.len() as u64).expect("an index");
        let mask = u8::try_from(1 + self.simulator.random() % 255).expect("below 256");
        self.medium.flip(written[nth] * BLOCK_BYTES + self.simulator.random() % BLOCK_BYTES, mask);
    }

    /// Fills a buffer with what is there, or with what a faulty drive takes for it.
    fn fill(&self, at: DriveOffset, buf: &mut Buffer) -> Result<(), DriveError> {
        let bytes = buf.len() as u64;
        let first = self.first(at);
        if self.happens(|r| r.bad_block, |h| &mut h.bad_blocks) {
            let nth = self.simulator.random() % (bytes / BLOCK_BYTES);
            self.medium.inner.borrow_mut().bad.insert(first + nth);
        }
        let failed = self.happens(|r| r.read_error, |h| &mut h.read_errors);
        let range = first..first + bytes / BLOCK_BYTES;
        if failed || self.medium.inner.borrow().bad.range(range).next().is_some() {
            return Err(self.error(DriveOp::Read, at, bytes));
        }
        if self.happens(|r| r.short, |h| &mut h.short) {
            return Err(self.short(DriveOp::Read, at, bytes));
        }
        let misdirected = self.happens(|r| r.misdirected_read, |h| &mut h.misdirected_reads);
        let from = if misdirected { self.elsewhere(at, bytes) } else { first };
        let stale = self.happens(|r| r.stale_read, |h| &mut h.stale_reads);
        let blocks = self.medium.inner.borrow();
        for (nth, out) in (from..).zip(buf.as_mut_slice().chunks_exact_mut(BLOCK)) {
            let older = match stale {
                true if blocks.volatile.contains_key(&nth) => Some(blocks.durable(nth)),
                true => blocks.older.get(&nth).map(Option::as_ref),
                false => None,
            };
            match older.unwrap_or_else(|| blocks.newest(nth)) {
                Some(block) => out.copy_from_slice(block.as_slice()),
                None => out.fill(0),
            }
        }
        if self.happens(|r| r.corrupt_read, |h| &mut h.corrupt_reads) {
            let nth = usize::try_from(self.simulator.random() % bytes).expect("an index");
            buf.as_mut_slice()[nth] ^= u8::try_from(1 + self.simulator.random() % 255).expect("below 256");
        }
        Ok(())
    }
}

impl Drive for SimulatedDrive {
    fn read(
        &self,
        at: DriveOffset,
        mut buf: Buffer,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let bytes = buf.len() as u64;
        assert_range(at, bytes, self.size());
        let drive = self.clone();
        let started = self.step();
        Box::pin(async move {
            drive.delay().await;
            let result = match drive.step() && started {
                true => drive.fill(at, &mut buf),
                false if drive.state.faults.get().short => Err(drive.short(DriveOp::Read, at, bytes)),
                false => Err(drive.error(DriveOp::Read, at, bytes)),
            };
            if result.is_err() {
                buf.set_len(0);
            }
            (buf, result)
        })
    }

    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        durability: Durability,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let bytes = buf.len() as u64;
        assert_range(at, bytes, self.size());
        let durable = durability == Durability::OnReturn;
        let (drive, started) = (self.clone(), self.step());
        if !started || self.has_failed() {
            let error = self.error(DriveOp::Write, at, bytes);
            if durable {
                self.fail();
            }
            return Box::pin(std::future::ready((buf, Err(error))));
        }
        if self.happens(|r| r.corrupt_medium, |h| &mut h.corrupt_blocks) {
            self.decay();
        }
        let misdirected = self.happens(|r| r.misdirected_write, |h| &mut h.misdirected_writes);
        let first = if misdirected { self.elsewhere(at, bytes) } else { self.first(at) };
        let lost = self.happens(|r| r.lost_write, |h| &mut h.lost_writes);
        let taken = if lost { &[] } else { buf.as_slice() };
        let write = self.medium.write(first, taken);
        let blocks = first..first + taken.len() as u64 / BLOCK_BYTES;
        let start = self.range.start * BLOCK_BYTES + at.0;
        let under_way = Writing::begin(&self.state, (start, start + bytes));
        Box::pin(async move {
            drive.delay().await;
            drop(under_way);
            let ended = drive.step() && (!durable || drive.barrier());
            let failed = drive.happens(|r| r.write_error, |h| &mut h.write_errors);
            let short = drive.happens(|r| r.short, |h| &mut h.short);
            if !ended || failed || short {
                drive.spoil(blocks, &write);
                let is_short = short || (!failed && drive.state.faults.get().short);
                let error = match is_short {
                    true => drive.short(DriveOp::Write, at, bytes),
                    false => drive.error(DriveOp::Write, at, bytes),
                };
                if durable {
                    drive.fail();
                }
                return (buf, Err(error));
            }
            write.completed.set(true);
            if durable {
                let keep_older = drive.state.faults.get().rates.stale_read > 0;
                drive.medium.harden(blocks.map(|block| (block, u64::MAX)), keep_older);
            }
            (buf, Ok(()))
        })
    }

    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        let (drive, started) = (self.clone(), self.step());
        let blocks = self.medium.inner.borrow();
        let newest = |list: &[Version]| {
            let completed = list.iter().take_while(|version| version.write.completed.get());
            completed.last().map(|version| version.write.number)
        };
        let own = blocks.volatile.range(self.range.clone());
        let covered: Vec<_> = own.filter_map(|(at, list)| Some((*at, newest(list)?))).collect();
        drop(blocks);
        Box::pin(async move {
            drive.delay().await;
            let ended = drive.step() && drive.barrier() && started && !drive.has_failed();
            if !ended || drive.happens(|r| r.flush_error, |h| &mut h.flush_errors) {
                let error = drive.error(DriveOp::Flush, DriveOffset(0), 0);
                drive.fail();
                drive.forget(covered);
                return Err(error);
            }
            drive.medium.harden(covered, drive.state.faults.get().rates.stale_read > 0);
            Ok(())
        })
    }

    fn allocate(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        let allocated = &mut self.medium.inner.borrow_mut().allocated;
        let limit = self.state.faults.get().space_bytes.unwrap_or(u64::MAX);
        let place = self.range.start * BLOCK_BYTES + at.0;
        let is_there = allocated.contains_key(&place);
        if !is_there && limit < allocated.values().sum::<u64>() + bytes {
            let mut error = self.error(DriveOp::Allocate, at, bytes);
            error.cause = DriveCause::Errno(libc::ENOSPC);
            return Box::pin(std::future::ready(Err(error)));
        }
        allocated.insert(place, bytes);
        Box::pin(std::future::ready(Ok(())))
    }

    fn trim(&self, _at: DriveOffset, _bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn size(&self) -> u64 {
        (self.range.end - self.range.start) * BLOCK_BYTES
    }

    fn name(&self) -> Arc<str> {
        thread_local! {
            static NAME: Arc<str> = "simulated".into();
        }
        NAME.with(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: u64 = BLOCK_BYTES;

    fn filled(byte: u8, blocks: usize) -> Buffer {
        let mut buffer = Buffer::unpooled(blocks * BLOCK);
        buffer.as_mut_slice().fill(byte);
        buffer
    }

    fn run<T: 'static>(
        medium: &Medium,
        faults: Faults,
        work: impl AsyncFnOnce(SimulatedDrive) -> T + 'static,
    ) -> T {
        let simulator = Simulator::new(3);
        let drive = SimulatedDrive::new(&simulator, medium, faults);
        simulator.run(work(drive)).expect("it ends")
    }

    async fn read(drive: &SimulatedDrive, at: u64) -> Result<u8, DriveError> {
        let (buffer, result) = drive.read(DriveOffset(at), Buffer::unpooled(BLOCK)).await;
        result.map(|()| buffer.as_slice()[0])
    }

    /// What a cut leaves of a durable block 1, a plain one over block 1 and a plain one over block 2.
    fn after_cut(loss: Loss) -> [u8; 2] {
        let medium = Medium::new(16 * ONE);
        run(&medium, Faults::default(), async |drive| {
            drive.write(DriveOffset(ONE), filled(1, 1), Durability::OnReturn).await.1.expect("no fault");
            drive.write(DriveOffset(ONE), filled(2, 1), Durability::AfterFlush).await.1.expect("no fault");
            drive
                .write(DriveOffset(2 * ONE), filled(3, 1), Durability::AfterFlush)
                .await
                .1
                .expect("no fault");
        });
        assert_eq!(medium.pending_writes(), 2);
        medium.lose_power_as(loss, &mut Random::new(1));
        assert_eq!(medium.pending_writes(), 0);
        [medium.byte(ONE), medium.byte(2 * ONE)]
    }

    #[test]
    fn losses() {
        assert_eq!(after_cut(Loss::Keep), [2, 3]);
        assert_eq!(after_cut(Loss::Lose), [1, 0]);
        assert_eq!(after_cut(Loss::Each(0)), [1, 0]);
        assert_eq!(after_cut(Loss::Each(1)), [2, 0]);
        assert_eq!(after_cut(Loss::Each(3)), [1, 3]);
        assert_eq!(after_cut(Loss::Each(4)), [2, 3]);
        let [first, second] = after_cut(Loss::Each(8));
        assert!([1, 2].contains(&first) && [0, 3].contains(&second), "torn by sectors");
    }

    #[test]
    fn a_flush_keeps_what_completed_before_it() {
        let medium = Medium::new(16 * ONE);
        run(&medium, Faults::default(), async |drive| {
            drive.write(DriveOffset(ONE), filled(7, 2), Durability::AfterFlush).await.1.expect("no fault");
            drive.flush().await.expect("no fault");
        });
        let copy = medium.duplicate();
        medium.lose_power_as(Loss::Lose, &mut Random::new(1));
        assert_eq!((medium.byte(ONE), medium.byte(2 * ONE), copy.byte(2 * ONE)), (7, 7, 7));
        assert_eq!(medium.durable_blocks(), [1, 2]);
        medium.flip(ONE, 1);
        assert_eq!((medium.byte(ONE), copy.byte(ONE)), (6, 7));
    }

    #[test]
    fn drives_of_one_medium_fail_one_by_one() {
        let medium = Medium::of_drives(2, 16 * ONE);
        run(&medium, Faults { fail_barrier: Some(1), ..Faults::default() }, async |drive| {
            let [a, b] = drive.parts().try_into().unwrap_or_else(|_| panic!("two drives"));
            a.write(DriveOffset(ONE), filled(1, 1), Durability::AfterFlush).await.1.expect("no fault");
            b.write(DriveOffset(ONE), filled(2, 1), Durability::AfterFlush).await.1.expect("no fault");
            assert!(b.flush().await.is_err());
            a.flush().await.expect("the other one");
            assert_eq!((a.has_failed(), b.has_failed(), drive.has_failed()), (false, true, true));
            assert!(!drive.has_failed_wholly());
            assert_eq!((read(&a, ONE).await, a.size()), (Ok(1), 16 * ONE));
        });
        medium.lose_power_as(Loss::Lose, &mut Random::new(1));
        assert_eq!((medium.byte(ONE), medium.byte(17 * ONE)), (1, 0));
    }

    #[test]
    fn every_rate_does_what_it_says() {
        let always = u16::try_from(RATE_SCALE).expect("fits");
        let check = |rates: Rates, want: &str| {
            let medium = Medium::new(64 * ONE);
            run(&medium, Faults::default(), async |drive| {
                drive.write(DriveOffset(ONE), filled(1, 1), Durability::OnReturn).await.1.expect("no fault");
            });
            let faults = Faults { rates, ..Faults::default() };
            let got = run(&medium, faults, async move |drive| {
                let write = drive.write(DriveOffset(ONE), filled(2, 1), Durability::OnReturn).await.1;
                let seen = read(&drive, ONE).await;
                drive.set_faults(Faults::default());
                let calm = read(&drive, ONE).await;
                assert_eq!(drive.happened() != Happened::default(), rates != Rates::default());
                let name = |result: Result<u8, DriveError>| match result {
                    Ok(byte) => byte.to_string(),
                    Err(error) if error.cause == DriveCause::Short { got: 0 } => "short".to_owned(),
                    Err(_) => "error".to_owned(),
                };
                format!("{} {} {}", name(write.map(|()| 2)), name(seen), name(calm))
            });
            assert!(got.starts_with(want), "{rates:?}: {got}, expected {want}");
        };
        let none = Rates::default();
        check(none, "2 2 2");
        check(Rates { read_error: always, ..none }, "2 error 2");
        check(Rates { bad_block: always, ..none }, "2 error error");
        check(Rates { write_error: always, ..none }, "error ");
        check(Rates { short: always, ..none }, "short ");
        check(Rates { lost_write: always, ..none }, "2 1 1");
        check(Rates { misdirected_write: always, ..none }, "2 1 1");
        check(Rates { misdirected_read: always, ..none }, "2 0 2");
        check(Rates { stale_read: always, ..none }, "2 1 2");
        let medium = Medium::new(64 * ONE);
        let rates = Rates { corrupt_read: always, corrupt_medium: always, ..none };
        let happened = run(&medium, Faults { rates, ..Faults::default() }, async |drive| {
            drive.write(DriveOffset(ONE), filled(1, 1), Durability::OnReturn).await.1.expect("no fault");
            drive.write(DriveOffset(2 * ONE), filled(1, 1), Durability::OnReturn).await.1.expect("no fault");
            read(&drive, ONE).await.expect("no error");
            drive.happened()
        });
        assert_eq!((happened.corrupt_blocks, happened.corrupt_reads), (2, 1));
        assert!(medium.block(1) != [1; BLOCK], "one byte of it decayed");
    }

    #[test]
    fn given_up_after_a_failed_barrier_and_gone_after_vanishing() {
        let medium = Medium::new(16 * ONE);
        let faults = Faults { fail_barrier: Some(2), ..Faults::default() };
        run(&medium, faults, async |drive| {
            drive.write(DriveOffset(0), filled(1, 1), Durability::OnReturn).await.1.expect("the first");
            assert!(drive.flush().await.is_err());
            let late = drive.write(DriveOffset(0), filled(2, 1), Durability::AfterFlush).await.1;
            assert_eq!(late.expect_err("given up").cause, DriveCause::Failed);
            assert_eq!(read(&drive, 0).await, Ok(1));
            assert!(drive.has_failed());
        });
        run(&medium, Faults { vanish_at: Some(1), ..Faults::default() }, async |drive| {
            assert!(read(&drive, 0).await.is_err());
            assert!(drive.write(DriveOffset(0), filled(2, 1), Durability::AfterFlush).await.1.is_err());
            assert!(drive.flush().await.is_err());
        });
    }
}
