//! A drive that exists only in memory and behaves as badly as real ones may.
//!
//! A [`Medium`] outlives power cuts; a [`SimulatedDrive`] is one run's view of it. Completed writes that were not
//! flushed, and writes in flight, may after a cut be kept, lost, or torn at 512 bytes; flushed and durable ones stay.
//! I1. Which of these happens is drawn from the run's seed. I2. A durable write makes only itself durable, not what
//! completed before it: the weakest drive that keeps the contract.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{Buffer, Drive};
use crate::error::{DriveCause, DriveError, DriveOp};
use crate::simulator::{Random, Simulator};
use crate::units::{BLOCK_BYTES, DriveOffset};

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

type Block = Rc<[u8; BLOCK]>;

/// One write of one block.
#[derive(Clone)]
struct Version {
    block: Block,
    /// Set when the write it came with has completed: only then a flush covers it.
    completed: Rc<Cell<bool>>,
}

/// What stays when the power goes: the durable bytes, and those that might have made it.
#[derive(Clone)]
pub struct Medium {
    inner: Rc<RefCell<Blocks>>,
    bytes: u64,
}

#[derive(Default)]
struct Blocks {
    durable: BTreeMap<u64, Block>,
    /// Versions written since the last flush, oldest first; the last one is what a read sees.
    volatile: BTreeMap<u64, Vec<Version>>,
}

impl Medium {
    /// A blank medium.
    pub fn new(bytes: u64) -> Medium {
        Medium { inner: Rc::default(), bytes }
    }

    /// A copy with the same durable bytes.
    pub fn duplicate(&self) -> Medium {
        let durable = self.inner.borrow().durable.clone();
        let blocks = Blocks { durable, volatile: BTreeMap::new() };
        Medium { inner: Rc::new(RefCell::new(blocks)), bytes: self.bytes }
    }

    /// What a power cut leaves: for every block written since the last flush, one of its versions or a mixture.
    pub fn lose_power(&self, random: &mut Random) {
        let mut blocks = self.inner.borrow_mut();
        let volatile = std::mem::take(&mut blocks.volatile);
        for (at, versions) in volatile {
            let before = blocks.durable.get(&at).cloned().unwrap_or_else(zeros);
            let last = versions.last().map_or_else(zeros, |version| version.block.clone());
            let left = match random.below(4) {
                0 => before,
                1 | 2 => last,
                _ => {
                    let mut torn = *before;
                    for sector in 0..BLOCK / SECTOR {
                        let version = random.below(versions.len() as u64 + 1);
                        let source = match usize::try_from(version).expect("a small number") {
                            0 => &before,
                            nth => &versions[nth - 1].block,
                        };
                        let range = sector * SECTOR..(sector + 1) * SECTOR;
                        torn[range.clone()].copy_from_slice(&source[range]);
                    }
                    Rc::new(torn)
                }
            };
            blocks.durable.insert(at, left);
        }
    }

    /// What a killed process leaves: every write in flight ends or never happens, and what is not durable stays
    /// readable, at the mercy of the next power cut.
    pub fn lose_process(&self, random: &mut Random) {
        let mut blocks = self.inner.borrow_mut();
        blocks.volatile.retain(|_, versions| {
            versions.retain(|version| {
                let stays = version.completed.get() || random.one_in(2);
                version.completed.set(version.completed.get() || stays);
                stays
            });
            !versions.is_empty()
        });
    }

    /// Blocks that were ever made durable, in order.
    pub fn durable_blocks(&self) -> Vec<u64> {
        self.inner.borrow().durable.keys().copied().collect()
    }

    /// Changes one durable byte, as decay would.
    pub fn flip(&self, at: u64, mask: u8) {
        let mut blocks = self.inner.borrow_mut();
        let block = blocks.durable.entry(at / BLOCK_BYTES).or_insert_with(zeros);
        let mut bytes = **block;
        bytes[usize::try_from(at % BLOCK_BYTES).expect("within a block")] ^= mask;
        *block = Rc::new(bytes);
    }

    /// One durable byte.
    pub fn byte(&self, at: u64) -> u8 {
        let blocks = self.inner.borrow();
        let offset = usize::try_from(at % BLOCK_BYTES).expect("within a block");
        blocks.durable.get(&(at / BLOCK_BYTES)).map_or(0, |block| block[offset])
    }

    fn read(&self, at: u64) -> Block {
        let blocks = self.inner.borrow();
        let volatile = blocks.volatile.get(&at).and_then(|versions| versions.last());
        volatile
            .map(|version| &version.block)
            .or_else(|| blocks.durable.get(&at))
            .cloned()
            .unwrap_or_else(zeros)
    }
}

/// The one block of zeros of this thread.
fn zeros() -> Block {
    thread_local! {
        static ZEROS: Block = Rc::new([0; BLOCK]);
    }
    ZEROS.with(Rc::clone)
}

/// Which drive operations go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The power goes when this operation (counted from 1, at its start and again at its end) is reached.
    pub cut_at: Option<u64>,
    /// This operation (counted likewise) fails with `EIO`.
    pub fail_at: Option<u64>,
    /// Longest time of one operation in microseconds of virtual time.
    pub latency_us_max: u64,
}

/// One run's view of a medium.
#[derive(Clone)]
pub struct SimulatedDrive {
    simulator: Simulator,
    medium: Medium,
    faults: Faults,
    operations: Rc<Cell<u64>>,
    failed: Rc<Cell<bool>>,
}

impl SimulatedDrive {
    /// Attaches a medium to a run.
    pub fn new(simulator: &Simulator, medium: &Medium, faults: Faults) -> SimulatedDrive {
        SimulatedDrive {
            simulator: simulator.clone(),
            medium: medium.clone(),
            faults,
            operations: Rc::default(),
            failed: Rc::default(),
        }
    }

    /// Starts and ends of operations so far.
    pub fn operations(&self) -> u64 {
        self.operations.get()
    }

    fn error(&self, op: DriveOp, at: DriveOffset, bytes: u64) -> DriveError {
        let cause = if self.failed.get() { DriveCause::Failed } else { DriveCause::Errno(libc::EIO) };
        DriveError { drive: self.name(), op, at, bytes, cause }
    }

    /// Counts one step of an operation; `false` when it is the one that fails.
    fn step(&self) -> bool {
        let step = self.operations.get() + 1;
        self.operations.set(step);
        if self.faults.cut_at == Some(step) {
            self.simulator.cut_power();
        }
        self.faults.fail_at != Some(step)
    }

    async fn delay(&self) {
        let max = self.faults.latency_us_max.max(1);
        self.simulator.sleep_us(self.simulator.random() % max).await;
    }

    fn write_blocks(&self, at: DriveOffset, bytes: &[u8]) -> Rc<Cell<bool>> {
        let completed = Rc::new(Cell::new(false));
        let mut blocks = self.medium.inner.borrow_mut();
        for (nth, block) in (0_u64..).zip(bytes.chunks_exact(BLOCK)) {
            let block: Block = match block == zeros().as_slice() {
                true => zeros(),
                false => Rc::new(block.try_into().expect("whole blocks")),
            };
            let version = Version { block, completed: completed.clone() };
            blocks.volatile.entry(at.0 / BLOCK_BYTES + nth).or_default().push(version);
        }
        completed
    }

    /// A write failed at its end: some of its blocks have changed, and nothing of it is in flight any more.
    fn spoil(&self, range: std::ops::Range<u64>, write: &Rc<Cell<bool>>) {
        let mut blocks = self.medium.inner.borrow_mut();
        for at in range {
            let lost = self.simulator.random().is_multiple_of(2);
            let Some(list) = blocks.volatile.get_mut(&at) else { continue };
            list.retain(|version| !lost || !Rc::ptr_eq(&version.completed, write));
            if list.is_empty() {
                blocks.volatile.remove(&at);
            }
        }
        write.set(true);
    }

    fn harden(&self, versions: BTreeMap<u64, usize>) {
        let mut blocks = self.medium.inner.borrow_mut();
        for (at, count) in versions {
            let Some(list) = blocks.volatile.get_mut(&at) else { continue };
            let covered: Vec<Version> = list.drain(..count.min(list.len())).collect();
            if list.is_empty() {
                blocks.volatile.remove(&at);
            }
            if let Some(last) = covered.into_iter().next_back() {
                blocks.durable.insert(at, last.block);
            }
        }
    }
}

fn check_range(at: DriveOffset, bytes: u64, size: u64) {
    assert!(at.is_block_aligned());
    assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
    assert!(at.0 + bytes <= size);
}

impl Drive for SimulatedDrive {
    fn read(
        &self,
        at: DriveOffset,
        mut buf: Buffer,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let bytes = buf.len() as u64;
        check_range(at, bytes, self.medium.bytes);
        let drive = self.clone();
        let started = self.step();
        Box::pin(async move {
            drive.delay().await;
            if !drive.step() || !started {
                buf.set_len(0);
                let error = drive.error(DriveOp::Read, at, bytes);
                return (buf, Err(error));
            }
            for (nth, block) in (0_u64..).zip(buf.as_mut_slice().chunks_exact_mut(BLOCK)) {
                block.copy_from_slice(&*drive.medium.read(at.0 / BLOCK_BYTES + nth));
            }
            (buf, Ok(()))
        })
    }

    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        durable: bool,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let bytes = buf.len() as u64;
        check_range(at, bytes, self.medium.bytes);
        let (drive, started) = (self.clone(), self.step());
        if !started || self.failed.get() {
            let error = self.error(DriveOp::Write, at, bytes);
            self.failed.set(self.failed.get() || durable);
            return Box::pin(std::future::ready((buf, Err(error))));
        }
        // In flight: from now on a power cut may keep any of it.
        let completed = self.write_blocks(at, buf.as_slice());
        let first = at.0 / BLOCK_BYTES;
        let blocks = first..first + bytes / BLOCK_BYTES;
        Box::pin(async move {
            drive.delay().await;
            if !drive.step() {
                drive.spoil(blocks, &completed);
                let error = drive.error(DriveOp::Write, at, bytes);
                drive.failed.set(drive.failed.get() || durable);
                return (buf, Err(error));
            }
            completed.set(true);
            if durable {
                drive.harden(blocks.map(|block| (block, usize::MAX)).collect());
            }
            (buf, Ok(()))
        })
    }

    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        let (drive, started) = (self.clone(), self.step());
        let blocks = self.medium.inner.borrow();
        let completed = |list: &[Version]| list.iter().take_while(|version| version.completed.get()).count();
        let covered = blocks.volatile.iter().map(|(at, list)| (*at, completed(list))).collect();
        drop(blocks);
        Box::pin(async move {
            drive.delay().await;
            if !drive.step() || !started || drive.failed.get() {
                let error = drive.error(DriveOp::Flush, DriveOffset(0), 0);
                drive.failed.set(true);
                return Err(error);
            }
            drive.harden(covered);
            Ok(())
        })
    }

    fn allocate(&self, _at: DriveOffset, _bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn trim(&self, _at: DriveOffset, _bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn size(&self) -> u64 {
        self.medium.bytes
    }

    fn name(&self) -> Arc<str> {
        "simulated".into()
    }
}
