//! The real drive: one io_uring per core, files and block devices opened with O_DIRECT.
//! The server locks its drives once ([`DriveLock`]), makes one [`Ring`] per core, and opens every drive on it.
//!
//! I1. An operation that the kernel has seen owns its buffer and its file until its completion was read.
//! I2. A ring that goes away first waits for everything the kernel still holds.
//! I3. Everything here stays on the thread that made the ring; `DriveLock` alone crosses threads.
//!
//! New operations gather in a queue. Every few of them are submitted; the pump, a task behind all others that are
//! runnable, submits the rest and reads completions. While something is in flight and no other task of the core has
//! anything to do, it waits in the kernel on this very ring: to sleep in the executor and be woken through an eventfd
//! takes ten system calls, this takes one. But sockets, timers and other cores are seen by the executor alone. So a
//! timer in the ring ends the wait [`TURN_US`] after it began; then the executor has its turn, and when the drives did
//! nothing in that time it sleeps, and the eventfd wakes it. A drive that keeps us waiting in vain is not waited for so
//! often.
#![expect(clippy::disallowed_methods, reason = "drives are opened before anything is served")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use io_uring::{IoUring, opcode, squeue, types};

use super::buffer::{Arena, Buffer, CHUNK_BYTES};
use super::{Drive, DriveCounters, Durability, assert_range};
use crate::error::{DriveCause, DriveError, DriveOp};
use crate::rt::{self, EventFd};
use crate::units::{BLOCK_BYTES, DriveOffset};

/// Operations that one ring gives to the kernel at a time; more wait in its queue.
pub const RING_DEPTH: u32 = 256;

/// Files that one ring registers; more work, at a small cost.
pub const RING_FILES_MAX: u32 = 64;

/// Bytes of one transfer.
pub const TRANSFER_BYTES_MAX: u64 = 1 << 30;

/// Microseconds after which the executor looks at sockets, timers and other cores, however busy the drives are.
pub const TURN_US: u32 = 150;

/// So many new operations are submitted at once, and do not wait until all tasks had their turn: the drive works
/// meanwhile. Fewer cost more system calls than they gain (random reads of 4 KiB, 32 in flight, rate and CPU by fio's:
/// all together 0.83 and 0.99, by eights 0.89 and 0.96, by fours 0.91 and 0.97, by twos 0.96 and 1.17).
const SUBMIT_EARLY: usize = 4;

/// Times in a row that the drives are not waited for after waits in vain.
const PAUSES_MAX: u8 = 32;

/// The `user_data` of the timer; those of operations are small.
const TIMER: u64 = u64::MAX;

/// Times an operation is tried again after EAGAIN or EINTR.
const RETRIES_MAX: u8 = 100;

/// How a ring is made.
#[derive(Clone, Copy, Debug)]
pub struct RingConfig {
    /// Entries of the submission queue, at most [`RING_DEPTH`] by default.
    pub depth: u32,
    /// Whether to register the arena with the kernel, piece by piece as it comes into use. It saves the kernel
    /// looking up pages; a registered piece is resident and counts against RLIMIT_MEMLOCK.
    pub register_buffers: bool,
}

impl Default for RingConfig {
    fn default() -> Self {
        RingConfig { depth: RING_DEPTH, register_buffers: true }
    }
}

/// What the kernel agreed to, for the log and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFacts {
    /// Operations the kernel holds at most.
    pub depth: u32,
    /// Whether SINGLE_ISSUER and DEFER_TASKRUN are in effect (Linux 6.1).
    pub deferred: bool,
    /// Whether files are registered.
    pub registered_files: bool,
    /// Bytes of the arena that are registered so far.
    pub registered_bytes: usize,
    /// The `errno` with which the kernel refused to register more, usually ENOMEM (RLIMIT_MEMLOCK).
    pub registration_refused: Option<i32>,
    /// Operations given to the kernel since the ring was made.
    pub submitted: u64,
    /// System calls it took.
    pub submit_calls: u64,
    /// System calls that waited for a completion.
    pub waits: u64,
    /// Times the executor was given its turn, or slept.
    pub turns: u64,
}

/// One core's ring. Drives opened on it keep it alive.
pub struct Ring {
    shared: Rc<Shared>,
}

impl Ring {
    /// Makes the ring and its tasks; only on an executor of [`rt::start`].
    pub fn new(arena: &Arena, config: RingConfig) -> io::Result<Rc<Ring>> {
        let (mut uring, deferred) = setup(config.depth)?;
        let event = Rc::new(EventFd::new()?);
        uring.submitter().register_eventfd(event.raw())?;
        uring.completion().disable_eventfd();
        let registered_files = uring.submitter().register_files_sparse(RING_FILES_MAX).is_ok();
        let chunks = arena.region().1 / CHUNK_BYTES;
        let (table, registration_refused) = match u32::try_from(chunks) {
            Ok(count) if config.register_buffers => match uring.submitter().register_buffers_sparse(count) {
                Ok(()) => (true, None),
                Err(e) => (false, e.raw_os_error()),
            },
            _ => (false, None),
        };
        let depth = uring.params().cq_entries().min(config.depth);
        let pump = Rc::new(Bell::default());
        let ear = Rc::new(Bell::default());
        let shared = Rc::new(Shared {
            uring: RefCell::new(uring),
            ops: RefCell::new(Ops::default()),
            queue: RefCell::new(VecDeque::new()),
            in_kernel: Cell::new(0),
            next_file: Cell::new(registered_files.then_some(0)),
            chunks: RefCell::new(vec![false; if table { chunks } else { 0 }]),
            arena: arena.clone(),
            facts: Cell::new(RingFacts {
                depth,
                deferred,
                registered_files,
                registered_bytes: 0,
                registration_refused,
                submitted: 0,
                submit_calls: 0,
                waits: 0,
                turns: 0,
            }),
            turn_time: types::Timespec::new().nsec(TURN_US * 1_000),
            timer: Cell::new(Timer::default()),
            pump: Rc::clone(&pump),
            ear: Rc::clone(&ear),
            event: Rc::clone(&event),
        });
        rt::spawn_local(run_pump(Rc::downgrade(&shared), Rc::clone(&pump)));
        rt::spawn_local(run_ear(ear, pump, event));
        Ok(Rc::new(Ring { shared }))
    }

    /// What the kernel agreed to, and counts so far.
    pub fn facts(&self) -> RingFacts {
        self.shared.facts.get()
    }

    /// Operations that were started and are not complete.
    pub fn in_flight(&self) -> usize {
        self.shared.queue.borrow().len() + self.shared.in_kernel.get() as usize
    }

    /// Waits until nothing is in flight. The last handle of a ring does the same when dropped, but blocks its core.
    pub async fn drained(&self) {
        while 0 < self.in_flight() {
            rt::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ring").field(&self.facts()).finish()
    }
}

/// The right of this process to use one drive. Take it once, before any core opens the drive; clones share it.
///
/// While it lives, a second process that asks for it is refused. It also carries the news of a failed flush from one
/// core to all.
#[derive(Clone, Debug)]
pub struct DriveLock {
    inner: Arc<LockInner>,
}

#[derive(Debug)]
struct LockInner {
    name: Arc<str>,
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _file: File,
    failed: AtomicBool,
    counts: Counts,
}

/// [`DriveCounters`], counted by every core.
#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    durable_writes: AtomicU64,
    flushes: AtomicU64,
    trims: AtomicU64,
    errors: AtomicU64,
}

impl Counts {
    fn add(&self, kind: Kind, bytes: u64, succeeded: bool) {
        let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match kind {
            _ if !succeeded => drop(one(&self.errors)),
            Kind::Read => {
                one(&self.reads);
                self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Kind::Write(durability) => {
                one(&self.writes);
                self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.durable_writes
                    .fetch_add(u64::from(durability == Durability::OnReturn), Ordering::Relaxed);
            }
            Kind::Flush => drop(one(&self.flushes)),
            Kind::Trim => drop(one(&self.trims)),
            Kind::Allocate => {}
        }
    }
}

/// Takes the drive at `path`: an existing file or block device.
///
/// A file is locked with `flock`; a block device as well, and opened exclusively, which a mounted one refuses.
pub fn lock_drive(path: &Path) -> Result<DriveLock, OpenError> {
    let name: Arc<str> = path.to_string_lossy().into();
    let fail = |fault| OpenError { drive: Arc::clone(&name), fault };
    let kind = std::fs::metadata(path).map_err(|e| fail(OpenFault::from_io(&e)))?.file_type();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if kind.is_block_device() {
        options.custom_flags(libc::O_EXCL);
    } else if !kind.is_file() {
        return Err(fail(OpenFault::Kind));
    }
    let file = options.open(path).map_err(|e| match e.raw_os_error() {
        Some(libc::EBUSY) => fail(OpenFault::InUse),
        _ => fail(OpenFault::from_io(&e)),
    })?;
    file.try_lock().map_err(|e| match e {
        std::fs::TryLockError::WouldBlock => fail(OpenFault::InUse),
        std::fs::TryLockError::Error(e) => fail(OpenFault::from_io(&e)),
    })?;
    Ok(DriveLock {
        inner: Arc::new(LockInner {
            name,
            path: path.to_owned(),
            _file: file,
            failed: AtomicBool::new(false),
            counts: Counts::default(),
        }),
    })
}

impl DriveLock {
    /// The path it was taken with.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.inner.name)
    }

    /// What was done on the drive since the lock was taken.
    pub fn counters(&self) -> DriveCounters {
        let counts = &self.inner.counts;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DriveCounters {
            reads: get(&counts.reads),
            read_bytes: get(&counts.read_bytes),
            writes: get(&counts.writes),
            written_bytes: get(&counts.written_bytes),
            durable_writes: get(&counts.durable_writes),
            flushes: get(&counts.flushes),
            trims: get(&counts.trims),
            errors: get(&counts.errors),
        }
    }

    /// Whether the drive was given up for writing.
    pub fn is_failed(&self) -> bool {
        self.inner.failed.load(Ordering::SeqCst)
    }
}

/// Makes a sparse file of `bytes` to be used as a drive; durable on return. Refused when `path` exists.
///
/// `bytes` is rounded down to whole blocks. Space is taken by [`Drive::allocate`] or by writing.
pub fn create_file(path: &Path, bytes: u64) -> Result<(), OpenError> {
    let make = || -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let sized = file.set_len(bytes - bytes % BLOCK_BYTES).and_then(|()| file.sync_all());
        // Without its size it is no drive, and would stand in the way of one.
        sized.inspect_err(|_| drop(std::fs::remove_file(path)))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    make().map_err(|e| OpenError { drive: path.to_string_lossy().into(), fault: OpenFault::from_io(&e) })
}

/// A drive that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// Its path.
    pub drive: Arc<str>,
    /// Why.
    pub fault: OpenFault,
}

/// Why a drive cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// An `errno` value.
    Errno(i32),
    /// Neither a regular file nor a block device.
    Kind,
    /// Another process holds it, or it is mounted.
    InUse,
    /// The file system refuses O_DIRECT.
    NoDirect,
    /// The device's blocks do not divide ours.
    BlockBytes(u64),
    /// No whole block fits.
    TooSmall(u64),
}

impl OpenFault {
    fn from_io(e: &io::Error) -> OpenFault {
        OpenFault::Errno(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drive {}: ", self.drive)?;
        match self.fault {
            OpenFault::Errno(code) => write!(f, "{}", io::Error::from_raw_os_error(code)),
            OpenFault::Kind => write!(f, "neither a regular file nor a block device"),
            OpenFault::InUse => write!(
                f,
                "in use: another process holds it, or the device is mounted; stop that process or unmount the device"
            ),
            OpenFault::NoDirect => write!(
                f,
                "its file system refuses O_DIRECT (tmpfs and some overlay or network file systems do); \
                 put the drive on ext4, XFS or btrfs, in a container on a volume, or give a block device"
            ),
            OpenFault::BlockBytes(bytes) => {
                write!(f, "its blocks have {bytes} bytes, which do not divide {BLOCK_BYTES}")
            }
            OpenFault::TooSmall(bytes) => write!(f, "{bytes} bytes are too few for a drive"),
        }
    }
}

impl std::error::Error for OpenError {}

/// One drive on one core's ring.
pub struct UringDrive {
    ring: Rc<Shared>,
    file: Rc<Target>,
    size: u64,
    lock: DriveLock,
    block_device: bool,
}

impl UringDrive {
    /// Opens the drive that `lock` holds for the core of `ring`.
    pub fn open(lock: &DriveLock, ring: &Rc<Ring>) -> Result<Rc<UringDrive>, OpenError> {
        let fail = |fault| OpenError { drive: lock.name(), fault };
        let failed_io = |e: io::Error| fail(OpenFault::from_io(&e));
        let path = lock.inner.path.as_path();
        let mut file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).map_err(
                |e| match e.raw_os_error() {
                    Some(libc::EINVAL) => fail(OpenFault::NoDirect),
                    _ => failed_io(e),
                },
            )?;
        let block_device = file.metadata().map_err(failed_io)?.file_type().is_block_device();
        if block_device {
            let bytes = logical_block_bytes(&file).map_err(failed_io)?;
            if bytes == 0 || !BLOCK_BYTES.is_multiple_of(bytes) {
                return Err(fail(OpenFault::BlockBytes(bytes)));
            }
        }
        // The end of a block device is its size, as BLKGETSIZE64 would say.
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed_io)?;
        let size = bytes - bytes % BLOCK_BYTES;
        if size == 0 {
            return Err(fail(OpenFault::TooSmall(bytes)));
        }
        let ring = Rc::clone(&ring.shared);
        let slot = ring.register_file(file.as_raw_fd());
        let file = Rc::new(Target { file, lock: lock.clone(), slot });
        Ok(Rc::new(UringDrive { ring, file, size, lock: lock.clone(), block_device }))
    }

    fn start(&self, kind: Kind, at: DriveOffset, bytes: u64, buffer: Option<Buffer>) -> Running {
        assert!(
            bytes <= TRANSFER_BYTES_MAX || buffer.is_none(),
            "a transfer of {bytes} bytes is over the limit"
        );
        let refused = kind.writes() && self.lock.is_failed();
        let op = Op {
            kind,
            file: Rc::clone(&self.file),
            at,
            bytes,
            done: 0,
            buffer,
            retries: 0,
            state: if refused { State::Done(Err(DriveCause::Failed)) } else { State::Waiting(None) },
            dropped: false,
        };
        let slot = self.ring.start(op);
        Running { ring: Rc::clone(&self.ring), slot: Some(slot), lock: self.lock.clone(), kind, at, bytes }
    }
}

impl fmt::Debug for UringDrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringDrive").field("name", &self.lock.name()).field("size", &self.size).finish()
    }
}

impl Drive for UringDrive {
    fn read(
        &self,
        at: DriveOffset,
        buf: Buffer,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        assert_range(at, buf.len() as u64, self.size);
        let bytes = buf.len() as u64;
        Box::pin(with_buffer(self.start(Kind::Read, at, bytes, Some(buf))))
    }

    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        durability: Durability,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        assert_range(at, buf.len() as u64, self.size);
        let bytes = buf.len() as u64;
        Box::pin(with_buffer(self.start(Kind::Write(durability), at, bytes, Some(buf))))
    }

    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(without_buffer(self.start(Kind::Flush, DriveOffset(0), 0, None)))
    }

    fn allocate(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        assert_range(at, bytes, self.size);
        if self.block_device {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(without_buffer(self.start(Kind::Allocate, at, bytes, None)))
    }

    fn is_laid_out(&self) -> bool {
        self.block_device
    }

    fn trim(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        assert_range(at, bytes, self.size);
        Box::pin(without_buffer(self.start(Kind::Trim, at, bytes, None)))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn name(&self) -> Arc<str> {
        self.lock.name()
    }

    fn counters(&self) -> DriveCounters {
        self.lock.counters()
    }
}

async fn with_buffer(running: Running) -> (Buffer, Result<(), DriveError>) {
    let (buffer, result) = running.await;
    (buffer.expect("read and write were started with a buffer, and `Op` keeps it"), result)
}

async fn without_buffer(running: Running) -> Result<(), DriveError> {
    running.await.1
}

/// A started operation, waited for.
struct Running {
    ring: Rc<Shared>,
    /// `None` once the result was taken.
    slot: Option<usize>,
    lock: DriveLock,
    kind: Kind,
    at: DriveOffset,
    bytes: u64,
}

impl Future for Running {
    type Output = (Option<Buffer>, Result<(), DriveError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.expect("not polled again after it resolved");
        let Some((buffer, result)) = self.ring.poll(slot, cx) else { return Poll::Pending };
        self.slot = None;
        let result = result.map_err(|cause| DriveError {
            drive: self.lock.name(),
            op: self.kind.op(),
            at: self.at,
            bytes: self.bytes,
            cause,
        });
        Poll::Ready((buffer, result))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.ring.abandon(slot);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write(Durability),
    Flush,
    Allocate,
    Trim,
}

impl Kind {
    fn op(self) -> DriveOp {
        match self {
            Kind::Read => DriveOp::Read,
            Kind::Write(_) => DriveOp::Write,
            Kind::Flush => DriveOp::Flush,
            Kind::Allocate => DriveOp::Allocate,
            Kind::Trim => DriveOp::Trim,
        }
    }

    fn writes(self) -> bool {
        self != Kind::Read
    }

    /// Whether an error leaves it unknown what earlier promises are worth.
    fn promises(self) -> bool {
        matches!(self, Kind::Flush | Kind::Write(Durability::OnReturn))
    }
}

struct Target {
    file: File,
    lock: DriveLock,
    /// Its place in the ring's table of files.
    slot: Option<u32>,
}

struct Op {
    kind: Kind,
    file: Rc<Target>,
    at: DriveOffset,
    bytes: u64,
    /// Bytes moved so far.
    done: u64,
    buffer: Option<Buffer>,
    retries: u8,
    state: State,
    /// Nobody waits any more: free the place on completion.
    dropped: bool,
}

enum State {
    Waiting(Option<Waker>),
    Done(Result<(), DriveCause>),
}

/// Operations by slot; the slot is the kernel's `user_data`.
#[derive(Default)]
struct Ops {
    slots: Vec<Option<Op>>,
    free: Vec<usize>,
}

impl Ops {
    fn insert(&mut self, op: Op) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(op);
                slot
            }
            None => {
                self.slots.push(Some(op));
                self.slots.len() - 1
            }
        }
    }

    fn get(&mut self, slot: usize) -> &mut Op {
        self.slots[slot].as_mut().expect("a slot is freed only when neither kernel nor future knows it")
    }

    fn remove(&mut self, slot: usize) -> Op {
        self.free.push(slot);
        self.slots[slot].take().expect("as in `get`")
    }
}

/// When the executor has its turn.
#[derive(Clone, Copy, Default)]
struct Timer {
    /// The kernel has it.
    armed: bool,
    /// It went off.
    due: bool,
    /// Something was complete since it was armed.
    progress: bool,
    /// Length of the last row of pauses after a wait in vain, and how many are left of it.
    pauses: u8,
    pauses_left: u8,
}

struct Shared {
    uring: RefCell<IoUring>,
    ops: RefCell<Ops>,
    /// Slots that wait for their turn.
    queue: RefCell<VecDeque<usize>>,
    in_kernel: Cell<u32>,
    next_file: Cell<Option<u32>>,
    /// Which chunks of the arena are registered; empty when registration is off.
    chunks: RefCell<Vec<bool>>,
    arena: Arena,
    facts: Cell<RingFacts>,
    turn_time: types::Timespec,
    timer: Cell<Timer>,
    pump: Rc<Bell>,
    ear: Rc<Bell>,
    event: Rc<EventFd>,
}

impl Shared {
    fn start(&self, op: Op) -> usize {
        let done = matches!(op.state, State::Done(_));
        let slot = self.ops.borrow_mut().insert(op);
        if !done {
            self.queue.borrow_mut().push_back(slot);
            self.pump.ring();
            if SUBMIT_EARLY <= self.queue.borrow().len() {
                // What the kernel does not take now, the pump submits.
                let pushed = self.fill();
                self.submit(pushed);
            }
        }
        slot
    }

    fn poll(&self, slot: usize, cx: &Context<'_>) -> Option<(Option<Buffer>, Result<(), DriveCause>)> {
        let mut ops = self.ops.borrow_mut();
        match &mut ops.get(slot).state {
            State::Waiting(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                return None;
            }
            State::Done(_) => {}
        }
        let op = ops.remove(slot);
        let State::Done(result) = op.state else { return None };
        Some((op.buffer, result))
    }

    fn abandon(&self, slot: usize) {
        let mut ops = self.ops.borrow_mut();
        let op = ops.get(slot);
        op.dropped = true;
        let gone = matches!(op.state, State::Done(_)).then(|| ops.remove(slot));
        drop(ops);
        // A buffer going home may wake somebody: not while the table is borrowed.
        drop(gone);
    }

    fn register_file(&self, fd: RawFd) -> Option<u32> {
        let slot = self.next_file.get().filter(|slot| *slot < RING_FILES_MAX)?;
        self.uring.borrow().submitter().register_files_update(slot, &[fd]).ok()?;
        self.next_file.set(Some(slot + 1));
        Some(slot)
    }

    /// Submits what waits and takes in what is complete, until neither leads to more of the other; answers whether
    /// there was any of it, or `None` when the kernel takes nothing at the moment.
    fn turn(&self) -> Option<bool> {
        let mut moved = false;
        loop {
            moved |= 0 < self.reap();
            let pushed = self.fill();
            let stuck = self.submit(pushed);
            let reaped = self.reap();
            moved |= pushed || 0 < reaped;
            if stuck {
                // The kernel is short of memory for the moment; nothing may ever complete to remind us.
                let bell = Rc::clone(&self.pump);
                rt::spawn_local(async move {
                    rt::sleep(Duration::from_millis(1)).await;
                    bell.ring();
                });
                return None;
            }
            if reaped == 0 || self.queue.borrow().is_empty() {
                return Some(moved);
            }
        }
    }

    /// Whether to wait for the drives now; if so, the timer runs.
    fn arm(&self) -> bool {
        let mut timer = self.timer.get();
        if let Some(left) = timer.pauses_left.checked_sub(1) {
            self.timer.set(Timer { pauses_left: left, ..timer });
            return false;
        }
        if !timer.armed {
            let entry = opcode::Timeout::new(&raw const self.turn_time).build().user_data(TIMER);
            let mut uring = self.uring.borrow_mut();
            // SAFETY: the kernel reads the time while it takes the entry out of the queue, and the queue is not
            // touched after `self`, which holds both, began to be dropped except by `drop` itself.
            #[expect(unsafe_code, reason = "the kernel gets a pointer to the time")]
            let pushed = unsafe { uring.submission().push(&entry) }.is_ok();
            timer = Timer { armed: pushed, progress: false, ..timer };
        }
        self.timer.set(Timer { due: false, ..timer });
        true
    }

    /// Sleeps until something is complete or the timer goes off.
    fn wait(&self) {
        let armed = self.timer.get().armed;
        let uring = self.uring.borrow();
        let waited = match armed {
            true => uring.submitter().submit_and_wait(1),
            // The queue had no room for it.
            false => {
                uring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&self.turn_time))
            }
        };
        let due = !armed && waited.is_err();
        self.timer.set(Timer { due: due || self.timer.get().due, ..self.timer.get() });
        self.count(|facts| facts.waits += 1);
    }

    /// Lets the executor turn, and sleep when nothing keeps it awake: the pump is rung when there are completions,
    /// and with `turn` once the executor has looked at everything else.
    fn listen(&self, turn: bool) {
        self.count(|facts| facts.turns += 1);
        let mut uring = self.uring.borrow_mut();
        uring.completion().enable_eventfd();
        // What came before the kernel could see the flag has made no sound.
        fence(Ordering::SeqCst);
        let missed = !uring.completion().is_empty() || {
            let queue = uring.submission();
            queue.taskrun() || queue.cq_overflow()
        };
        drop(uring);
        if turn || missed {
            self.event.raise();
        }
        self.ear.ring();
    }

    /// Ends a row of waits when the timer went off: answers whether there was anything to wait for.
    fn is_due(&self) -> Option<bool> {
        let timer = self.timer.get();
        if !timer.due {
            return None;
        }
        let pauses = if timer.progress { 0 } else { timer.pauses.saturating_mul(2).clamp(1, PAUSES_MAX) };
        self.timer.set(Timer { due: false, pauses, pauses_left: pauses, ..timer });
        Some(timer.progress)
    }

    fn count(&self, change: impl FnOnce(&mut RingFacts)) {
        let mut facts = self.facts.get();
        change(&mut facts);
        self.facts.set(facts);
    }

    /// Moves operations from the queue to the submission queue; answers whether there were any.
    fn fill(&self) -> bool {
        let mut pushed = false;
        let depth = self.facts.get().depth;
        while self.in_kernel.get() < depth {
            let Some(slot) = self.queue.borrow_mut().pop_front() else { break };
            let mut ops = self.ops.borrow_mut();
            if ops.get(slot).dropped {
                let gone = ops.remove(slot);
                drop(ops);
                drop(gone);
                continue;
            }
            let entry = self.entry(ops.get(slot)).user_data(slot as u64);
            drop(ops);
            let mut uring = self.uring.borrow_mut();
            // SAFETY: buffer and file live in the operation, which stays in its slot until the completion with this
            // `user_data` was read (I1).
            #[expect(unsafe_code, reason = "the kernel gets a pointer into the operation's buffer")]
            let full = unsafe { uring.submission().push(&entry) }.is_err();
            drop(uring);
            if full {
                self.queue.borrow_mut().push_front(slot);
                break;
            }
            self.in_kernel.set(self.in_kernel.get() + 1);
            self.count(|facts| facts.submitted += 1);
            pushed = true;
        }
        pushed
    }

    /// The kernel's form of what is left of an operation.
    fn entry(&self, op: &mut Op) -> squeue::Entry {
        let fd = op.file.file.as_raw_fd();
        let slot = op.file.slot;
        // Every opcode takes either kind of file, but each as a type of its own.
        macro_rules! on_file {
            (|$fd:ident| $build:expr) => {
                match slot {
                    Some(slot) => {
                        let $fd = types::Fixed(slot);
                        $build
                    }
                    None => {
                        let $fd = types::Fd(fd);
                        $build
                    }
                }
            };
        }
        let left = op.bytes - op.done;
        let from = op.at.0 + op.done;
        if let Some(buffer) = &mut op.buffer {
            let start = buffer.as_mut_ptr();
            let index = self.chunk_index(start, buffer.capacity());
            let skip = usize::try_from(op.done).expect("at most the length of a buffer");
            let memory = start.wrapping_add(skip);
            let len = u32::try_from(left).expect("at most TRANSFER_BYTES_MAX");
            let flags = if op.kind == (Kind::Write(Durability::OnReturn)) { libc::RWF_DSYNC } else { 0 };
            return match (op.kind == Kind::Read, index) {
                (true, Some(index)) => {
                    on_file!(|fd| opcode::ReadFixed::new(fd, memory, len, index).offset(from).build())
                }
                (true, None) => on_file!(|fd| opcode::Read::new(fd, memory, len).offset(from).build()),
                (false, Some(index)) => on_file!(|fd| {
                    opcode::WriteFixed::new(fd, memory, len, index).offset(from).rw_flags(flags).build()
                }),
                (false, None) => {
                    on_file!(|fd| opcode::Write::new(fd, memory, len).offset(from).rw_flags(flags).build())
                }
            };
        }
        match op.kind {
            Kind::Trim => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                on_file!(|fd| opcode::Fallocate::new(fd, left).offset(from).mode(mode).build())
            }
            Kind::Allocate => on_file!(|fd| opcode::Fallocate::new(fd, left).offset(from).build()),
            Kind::Flush | Kind::Read | Kind::Write(_) => {
                on_file!(|fd| opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build())
            }
        }
    }

    /// The place of the memory in the kernel's table of buffers, registering its chunk at first use.
    fn chunk_index(&self, start: *const u8, capacity: usize) -> Option<u16> {
        let mut chunks = self.chunks.borrow_mut();
        let (region, bytes) = self.arena.region();
        let offset = start.addr().checked_sub(region.as_ptr().addr()).filter(|offset| *offset < bytes)?;
        let chunk = offset / CHUNK_BYTES;
        debug_assert!((offset + capacity - 1) / CHUNK_BYTES == chunk, "a block crosses its chunk");
        let registered = chunks.get_mut(chunk)?;
        let index = u16::try_from(chunk).ok()?;
        if *registered {
            return Some(index);
        }
        let mut facts = self.facts.get();
        if facts.registration_refused.is_some() {
            return None;
        }
        let piece = libc::iovec {
            iov_base: region.as_ptr().wrapping_add(chunk * CHUNK_BYTES).cast(),
            iov_len: CHUNK_BYTES,
        };
        // SAFETY: the piece lies in the arena's mapping, which `self.arena` keeps until after the ring is closed.
        #[expect(unsafe_code, reason = "the kernel gets a pointer into the arena")]
        let result = unsafe {
            self.uring.borrow().submitter().register_buffers_update(u32::from(index), &[piece], None)
        };
        match result {
            Ok(()) => {
                *registered = true;
                facts.registered_bytes += CHUNK_BYTES;
            }
            Err(e) => facts.registration_refused = Some(e.raw_os_error().unwrap_or(libc::EIO)),
        }
        self.facts.set(facts);
        registered.then_some(index)
    }

    /// Gives the submission queue to the kernel; answers whether it has to be tried again later.
    fn submit(&self, pushed: bool) -> bool {
        let mut uring = self.uring.borrow_mut();
        let pending = {
            let queue = uring.submission();
            // Completions whose last step the kernel left to us also need a call.
            !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
        };
        if !pushed && !pending {
            return false;
        }
        loop {
            self.count(|facts| facts.submit_calls += 1);
            match uring.submit() {
                Ok(_) => return !uring.submission().is_empty(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }

    /// Takes in completions; answers how many.
    fn reap(&self) -> usize {
        let mut count = 0;
        loop {
            let Some(entry) = self.uring.borrow_mut().completion().next() else { return count };
            if entry.user_data() == TIMER {
                self.timer.set(Timer { armed: false, due: true, ..self.timer.get() });
                continue;
            }
            count += 1;
            self.timer.set(Timer { progress: true, ..self.timer.get() });
            self.in_kernel.set(self.in_kernel.get() - 1);
            let slot = usize::try_from(entry.user_data()).expect("made from a usize in `fill`");
            self.complete(slot, entry.result());
        }
    }

    fn complete(&self, slot: usize, result: i32) {
        let mut ops = self.ops.borrow_mut();
        let op = ops.get(slot);
        let outcome = step(op, result);
        match outcome {
            Step::Again if op.dropped => {}
            Step::Again => {
                drop(ops);
                self.queue.borrow_mut().push_back(slot);
                self.pump.ring();
                return;
            }
            Step::Done(result) => {
                op.file.lock.inner.counts.add(op.kind, op.bytes, result.is_ok());
                if result.is_err() && op.kind.promises() {
                    op.file.lock.inner.failed.store(true, Ordering::SeqCst);
                }
                if result.is_err() && op.kind == Kind::Read {
                    // What is in there is not what was asked for.
                    if let Some(buffer) = &mut op.buffer {
                        buffer.set_len(0);
                    }
                }
                if !op.dropped {
                    let State::Waiting(waker) = std::mem::replace(&mut op.state, State::Done(result)) else {
                        return;
                    };
                    drop(ops);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    return;
                }
            }
        }
        let gone = ops.remove(slot);
        drop(ops);
        drop(gone);
    }
}

enum Step {
    Again,
    Done(Result<(), DriveCause>),
}

/// What one answer of the kernel means for an operation.
fn step(op: &mut Op, result: i32) -> Step {
    if let Ok(moved) = u64::try_from(result) {
        if op.buffer.is_none() {
            return Step::Done(Ok(()));
        }
        op.done += moved;
        if op.done == op.bytes {
            return Step::Done(Ok(()));
        }
        // Nothing moved: the end of the file. A piece of a block: direct I/O cannot go on from there.
        if moved == 0 || !op.done.is_multiple_of(BLOCK_BYTES) {
            return Step::Done(Err(DriveCause::Short { got: op.done }));
        }
        return Step::Again;
    }
    let code = -result;
    match code {
        libc::EINTR | libc::EAGAIN if op.retries < RETRIES_MAX => {
            op.retries += 1;
            Step::Again
        }
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL if op.kind == Kind::Trim => Step::Done(Ok(())),
        // A file system that cannot reserve space: writes will find out.
        libc::EOPNOTSUPP | libc::ENOSYS if op.kind == Kind::Allocate => Step::Done(Ok(())),
        _ => Step::Done(Err(DriveCause::Errno(code))),
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pump.close();
        self.ear.close();
        self.event.raise();
        // No future is left: each holds the ring. What remains was abandoned; the kernel may still write to it.
        let mut patience = 1_000;
        while 0 < self.in_kernel.get() {
            let waited = self.uring.borrow().submit_and_wait(1);
            if waited.is_err() {
                patience -= 1;
                if patience == 0 {
                    // Better to lose the memory than to let it be used twice.
                    std::mem::forget(std::mem::take(&mut *self.ops.borrow_mut()));
                    std::mem::forget(self.arena.clone());
                    return;
                }
            }
            self.reap();
        }
    }
}

/// Wakes one task of the same core; rings that come before it listens are kept.
#[derive(Default)]
struct Bell {
    rung: Cell<bool>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        if self.rung.replace(true) {
            return;
        }
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn close(&self) {
        self.closed.set(true);
        self.ring();
    }

    /// Waits for a ring; false when the bell was closed.
    async fn heard(&self) -> bool {
        std::future::poll_fn(|cx| {
            if self.closed.get() {
                return Poll::Ready(false);
            }
            if self.rung.replace(false) {
                return Poll::Ready(true);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

async fn run_pump(ring: Weak<Shared>, bell: Rc<Bell>) {
    while bell.heard().await {
        let Some(held) = ring.upgrade() else { return };
        held.uring.borrow_mut().completion().disable_eventfd();
        let waits = held.arm();
        drop(held);
        loop {
            let Some(held) = ring.upgrade() else { return };
            let polls = rt::task_polls();
            let moved = held.turn();
            if held.in_kernel.get() == 0 {
                break;
            }
            let stops = if waits && moved.is_some() { held.is_due() } else { Some(false) };
            if let Some(turn) = stops {
                held.listen(turn);
                break;
            }
            drop(held);
            rt::yield_now().await;
            // Nothing to submit, nothing complete, and no other task has run since.
            if moved == Some(false)
                && rt::task_polls() == polls + 1
                && let Some(held) = ring.upgrade()
            {
                held.wait();
            }
        }
    }
}

async fn run_ear(bell: Rc<Bell>, pump: Rc<Bell>, event: Rc<EventFd>) {
    while bell.heard().await {
        if event.wait().await.is_err() {
            // Slow, but nothing is lost.
            rt::sleep(Duration::from_millis(1)).await;
        }
        pump.ring();
    }
}

/// The best ring this kernel makes, and whether completions wait for us to ask for them.
fn setup(depth: u32) -> io::Result<(IoUring, bool)> {
    let deferred = IoUring::builder()
        .setup_clamp()
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(depth);
    match deferred {
        Ok(uring) => Ok((uring, true)),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            Ok((IoUring::builder().setup_clamp().build(depth)?, false))
        }
        Err(e) => Err(e),
    }
}

/// The smallest unit a block device reads and writes.
fn logical_block_bytes(file: &File) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int, to a local one.
    #[expect(unsafe_code, reason = "ioctl has no safe form in std")]
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), libc::BLKSSZGET, &raw mut bytes) } < 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::ArenaConfig;
    use crate::rt::RtConfig;

    /// Beside the test binary: the target directory is on a real file system, /tmp may not be.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(name: &str, bytes: u64) -> TestFile {
            let binary = std::env::current_exe().expect("a path");
            let path = binary.with_file_name(format!("drive-{name}-{}", std::process::id()));
            drop(std::fs::remove_file(&path));
            create_file(&path, bytes).expect("space in the target directory");
            TestFile(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.0));
        }
    }

    /// Runs `test` on a core with a fresh drive of 16 MiB.
    fn check<Fut: Future<Output = ()> + 'static>(
        name: &str,
        config: RingConfig,
        test: impl Fn(Rc<Ring>, Rc<UringDrive>, Arena) -> Fut + Send + Clone + 'static,
    ) {
        let file = TestFile::new(name, 16 << 20);
        let lock = lock_drive(&file.0).expect("nobody else uses it");
        let cores = rt::start(1, RtConfig::server(), move |_| {
            let (lock, test) = (lock.clone(), test.clone());
            async move {
                let arena = Arena::new(ArenaConfig::default()).expect("address space");
                let ring = Ring::new(&arena, config).expect("io_uring");
                let drive = UringDrive::open(&lock, &ring).expect("O_DIRECT in the target directory");
                assert_eq!(drive.size(), 16 << 20);
                test(ring, drive, arena).await;
            }
        });
        for core in cores.expect("cores start").join() {
            core.expect("no panic");
        }
    }

    fn filled(arena: &Arena, bytes: usize, mark: u8) -> Buffer {
        let mut buffer = arena.take(bytes).expect("room");
        buffer.set_len(bytes);
        for (at, byte) in (0_u8..=250).cycle().zip(buffer.as_mut_slice()) {
            *byte = at ^ mark;
        }
        buffer
    }

    fn empty(arena: &Arena, bytes: usize) -> Buffer {
        let mut buffer = arena.take(bytes).expect("room");
        buffer.set_len_for_read(bytes);
        buffer
    }

    async fn round_trip(ring: Rc<Ring>, drive: Rc<UringDrive>, arena: Arena) {
        drive.allocate(DriveOffset(0), 1 << 20).await.expect("space");
        for (mark, (at, bytes, durability)) in (1_u8..).zip([
            (0, 4096, Durability::OnReturn),
            (4096, 8192, Durability::AfterFlush),
            (1 << 20, 1 << 20, Durability::OnReturn),
            (65536, 135_168, Durability::AfterFlush),
        ]) {
            let at = DriveOffset(at);
            let (buffer, written) = drive.write(at, filled(&arena, bytes, mark), durability).await;
            written.expect("written");
            assert_eq!(buffer.len(), bytes);
            let (read, result) = drive.read(at, empty(&arena, bytes)).await;
            result.expect("read");
            assert_eq!(read.as_slice(), buffer.as_slice(), "{bytes} bytes at {at}");
        }
        drive.flush().await.expect("flushed");
        drive.trim(DriveOffset(1 << 20), 1 << 20).await.expect("trimmed");
        // From the heap, beyond what the arena has in one piece.
        let (large, written) =
            drive.write(DriveOffset(2 << 20), filled(&arena, 3 << 20, 9), Durability::OnReturn).await;
        written.expect("written");
        let (read, result) = drive.read(DriveOffset(2 << 20), empty(&arena, 3 << 20)).await;
        result.expect("read");
        assert!(read.as_slice() == large.as_slice());
        ring.drained().await;
        assert_eq!(ring.in_flight(), 0);
        let bytes = 4096 + 8192 + (1 << 20) + 135_168 + (3 << 20);
        let counted = DriveCounters {
            reads: 5,
            read_bytes: bytes,
            writes: 5,
            written_bytes: bytes,
            durable_writes: 3,
            flushes: 1,
            trims: 1,
            errors: 0,
        };
        assert_eq!(drive.counters(), counted);
    }

    #[test]
    fn bytes_come_back() {
        check("registered", RingConfig::default(), |ring, drive, arena| async move {
            round_trip(Rc::clone(&ring), drive, arena).await;
            let facts = ring.facts();
            assert!(0 < facts.registered_bytes || facts.registration_refused.is_some(), "{facts:?}");
        });
        check(
            "plain",
            RingConfig { register_buffers: false, ..RingConfig::default() },
            |ring, drive, arena| async move {
                round_trip(Rc::clone(&ring), drive, arena).await;
                assert_eq!(ring.facts().registered_bytes, 0);
            },
        );
    }

    #[test]
    fn many_operations_share_calls() {
        check("many", RingConfig { depth: 8, ..RingConfig::default() }, |ring, drive, arena| async move {
            let (block, written) =
                drive.write(DriveOffset(0), filled(&arena, 64 << 10, 3), Durability::AfterFlush).await;
            written.expect("written");
            for _ in 0..10 {
                let reads: Vec<_> = (0..200_u64)
                    .map(|n| drive.read(DriveOffset(n % 16 * 4096), empty(&arena, 4096)))
                    .collect();
                assert_eq!(ring.in_flight(), 200);
                for (n, read) in reads.into_iter().enumerate() {
                    let (buffer, result) = read.await;
                    result.expect("read");
                    let from = n % 16 * 4096;
                    assert_eq!(buffer.as_slice(), &block.as_slice()[from..from + 4096]);
                }
            }
            let facts = ring.facts();
            assert_eq!(facts.submitted, 2_001);
            assert!(facts.submit_calls < facts.submitted, "{facts:?}");
        });
    }

    #[test]
    fn dropped_futures_give_their_buffers_back() {
        check("dropped", RingConfig::default(), |ring, drive, arena| async move {
            let (_, written) =
                drive.write(DriveOffset(0), filled(&arena, 1 << 20, 3), Durability::AfterFlush).await;
            written.expect("written");
            for round in 0..50 {
                let mut reads: Vec<_> =
                    (0..20).map(|_| drive.read(DriveOffset(0), empty(&arena, 1 << 20))).collect();
                if round % 2 == 0 {
                    // Let the kernel have them first.
                    rt::yield_now().await;
                }
                reads.truncate(3);
                for read in reads {
                    let (buffer, result) = read.await;
                    result.expect("read");
                    assert_eq!(buffer.as_slice()[..3], [3, 2, 1]);
                }
            }
            ring.drained().await;
            assert_eq!(arena.facts().heap_bytes, 0);
        });
    }

    #[test]
    fn the_last_handle_waits_for_the_kernel() {
        check("last", RingConfig::default(), |ring, drive, arena| async move {
            let reads: Vec<_> = (0..20).map(|_| drive.read(DriveOffset(0), empty(&arena, 1 << 20))).collect();
            rt::yield_now().await;
            drop(reads);
            drop((ring, drive));
            assert_eq!(arena.facts().heap_bytes, 0);
        });
    }

    #[test]
    fn the_end_of_a_file_that_shrank_is_an_error() {
        let file = TestFile::new("shrunk", 1 << 20);
        let path = file.0.clone();
        let lock = lock_drive(&path).expect("nobody else uses it");
        let cores = rt::start(1, RtConfig::server(), move |_| {
            let (path, lock) = (path.clone(), lock.clone());
            async move {
                let arena = Arena::new(ArenaConfig::default()).expect("address space");
                let ring = Ring::new(&arena, RingConfig::default()).expect("io_uring");
                let drive = UringDrive::open(&lock, &ring).expect("O_DIRECT in the target directory");
                let opened = OpenOptions::new().write(true).open(&path).expect("exists");
                opened.set_len(8192).expect("shrinks");
                let (buffer, result) = drive.read(DriveOffset(0), empty(&arena, 65536)).await;
                let error = result.expect_err("only two blocks are left");
                assert_eq!(error.cause, DriveCause::Short { got: 8192 });
                assert_eq!((error.op, error.bytes, buffer.len()), (DriveOp::Read, 65536, 0));
            }
        });
        for core in cores.expect("cores start").join() {
            core.expect("no panic");
        }
    }

    #[test]
    fn a_given_up_drive_still_reads() {
        check("failed", RingConfig::default(), |_, drive, arena| async move {
            drive.lock.inner.failed.store(true, Ordering::SeqCst);
            let (buffer, result) =
                drive.write(DriveOffset(0), filled(&arena, 4096, 1), Durability::OnReturn).await;
            assert_eq!(result.expect_err("given up").cause, DriveCause::Failed);
            assert_eq!(buffer.len(), 4096);
            assert_eq!(drive.flush().await.expect_err("given up").cause, DriveCause::Failed);
            drive.read(DriveOffset(0), empty(&arena, 4096)).await.1.expect("read");
        });
    }

    #[test]
    fn one_process_per_drive() {
        let file = TestFile::new("locked", 1 << 20);
        let lock = lock_drive(&file.0).expect("nobody else uses it");
        let refused = lock_drive(&file.0).expect_err("taken");
        assert_eq!(refused.fault, OpenFault::InUse);
        drop(lock.clone());
        assert_eq!(lock_drive(&file.0).expect_err("taken").fault, OpenFault::InUse);
        drop(lock);
        lock_drive(&file.0).expect("free again");
        assert_eq!(
            lock_drive(&file.0.with_extension("absent")).expect_err("absent").fault,
            OpenFault::Errno(libc::ENOENT)
        );
        assert_eq!(lock_drive(Path::new("/dev/null")).expect_err("no drive").fault, OpenFault::Kind);
        assert_eq!(create_file(&file.0, 1).expect_err("exists").fault, OpenFault::Errno(libc::EEXIST));
    }

    fn check_step(kind: Kind, done: u64, result: i32, want: Option<Result<(), DriveCause>>) {
        let file = File::open("/dev/null").expect("exists");
        let twin = file.try_clone().expect("a descriptor");
        let inner = LockInner {
            name: "t".into(),
            path: "t".into(),
            _file: twin,
            failed: AtomicBool::new(false),
            counts: Counts::default(),
        };
        let lock = DriveLock { inner: Arc::new(inner) };
        let buffer = matches!(kind, Kind::Read | Kind::Write(_)).then(|| Buffer::unpooled(1));
        let mut op = Op {
            kind,
            file: Rc::new(Target { file, lock, slot: None }),
            at: DriveOffset(0),
            bytes: 65536,
            done,
            buffer,
            retries: 0,
            state: State::Waiting(None),
            dropped: false,
        };
        match (step(&mut op, result), want) {
            (Step::Again, None) => {}
            (Step::Done(got), Some(want)) => assert_eq!(got, want, "{kind:?} {done} {result}"),
            (Step::Again, Some(want)) => panic!("{kind:?} {done} {result}: again, not {want:?}"),
            (Step::Done(got), None) => panic!("{kind:?} {done} {result}: {got:?}, not again"),
        }
    }

    #[test]
    fn answers_of_the_kernel() {
        let write = Kind::Write(Durability::OnReturn);
        check_step(Kind::Read, 0, 65536, Some(Ok(())));
        check_step(Kind::Read, 0, 4096, None);
        check_step(Kind::Read, 4096, 61440, Some(Ok(())));
        check_step(Kind::Read, 4096, 0, Some(Err(DriveCause::Short { got: 4096 })));
        check_step(write, 0, 100, Some(Err(DriveCause::Short { got: 100 })));
        check_step(write, 0, -libc::EAGAIN, None);
        check_step(write, 0, -libc::EIO, Some(Err(DriveCause::Errno(libc::EIO))));
        check_step(Kind::Flush, 0, 0, Some(Ok(())));
        check_step(Kind::Flush, 0, -libc::EIO, Some(Err(DriveCause::Errno(libc::EIO))));
        check_step(Kind::Trim, 0, -libc::EOPNOTSUPP, Some(Ok(())));
        check_step(Kind::Allocate, 0, -libc::ENOSPC, Some(Err(DriveCause::Errno(libc::ENOSPC))));
    }
}
