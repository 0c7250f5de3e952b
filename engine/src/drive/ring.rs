//! One io_uring per core, and the tasks that keep it moving.
//! The process makes one [`Ring`] per core and opens every drive on it; `uring` hands it operations.
//!
//! I1. An operation that the kernel has seen stays in its slot until its completion was read.
//! I2. A ring that goes away first waits for everything the kernel still holds.
//! I3. Everything here stays on the thread that made the ring.
//!
//! New operations gather in a queue. Every few of them are submitted; the reap loop, a task behind all others that are
//! runnable, submits the rest and reads completions. While something is in flight and no other task of the core has
//! anything to do, it waits in the kernel on this very ring: to sleep in the executor and be woken through an eventfd
//! takes ten system calls, this takes one. But sockets, timers and other cores are seen by the executor alone. So a
//! timer in the ring ends the wait [`TURN_US`] after it began; then the executor has its turn, and when the drives did
//! nothing in that time it sleeps, and the eventfd wakes it. A drive that keeps us waiting in vain is not waited for so
//! often.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};
use std::sync::atomic::{Ordering, fence};
use std::task::Context;
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

use super::buffer::{Arena, Buffer, CHUNK_BYTES};
use super::ops::{Op, Ops, State, Step, step};
use super::task_notify::TaskNotify;
use crate::error::DriveCause;
use crate::rt::{self, EventFd};

/// Operations that one ring gives to the kernel at a time; more wait in its queue.
pub const RING_DEPTH: u32 = 256;

/// Files that one ring registers; more work, at a small cost.
pub const RING_FILES_MAX: u32 = 64;

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
    pub(super) shared: Rc<RingState>,
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
        let reap_loop = Rc::new(TaskNotify::default());
        let wake_task = Rc::new(TaskNotify::default());
        let shared = Rc::new(RingState {
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
            reap_loop: Rc::clone(&reap_loop),
            wake_task: Rc::clone(&wake_task),
            event: Rc::clone(&event),
        });
        rt::spawn_local(run_reap_loop(Rc::downgrade(&shared), Rc::clone(&reap_loop)));
        rt::spawn_local(run_wake_task(wake_task, reap_loop, event));
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

/// What the handles of a ring and its tasks share.
pub(super) struct RingState {
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
    reap_loop: Rc<TaskNotify>,
    wake_task: Rc<TaskNotify>,
    event: Rc<EventFd>,
}

impl RingState {
    /// Takes an operation in; from here on it is under way, unless it is done already. Returns its slot.
    pub(super) fn start(&self, op: Op) -> usize {
        let done = matches!(op.state, State::Done(_));
        let slot = self.ops.borrow_mut().insert(op);
        if !done {
            self.queue.borrow_mut().push_back(slot);
            self.reap_loop.notify();
            if SUBMIT_EARLY <= self.queue.borrow().len() {
                // What the kernel does not take now, the reap loop submits.
                let pushed = self.fill();
                self.submit(pushed);
            }
        }
        slot
    }

    /// Takes the result out of a slot, or has `cx` woken when there is one.
    pub(super) fn poll(
        &self,
        slot: usize,
        cx: &Context<'_>,
    ) -> Option<(Option<Buffer>, Result<(), DriveCause>)> {
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

    /// Nobody waits for this operation any more.
    pub(super) fn abandon(&self, slot: usize) {
        let mut ops = self.ops.borrow_mut();
        let op = ops.get(slot);
        op.dropped = true;
        let gone = matches!(op.state, State::Done(_)).then(|| ops.remove(slot));
        drop(ops);
        // A buffer going home may wake somebody: not while the table is borrowed.
        drop(gone);
    }

    /// Gives the kernel a file to keep at hand; `None` when its table is full.
    pub(super) fn register_file(&self, fd: RawFd) -> Option<u32> {
        let slot = self.next_file.get().filter(|slot| *slot < RING_FILES_MAX)?;
        self.uring.borrow().submitter().register_files_update(slot, &[fd]).ok()?;
        self.next_file.set(Some(slot + 1));
        Some(slot)
    }

    /// Submits what waits and takes in what is complete, until neither leads to more of the other; returns whether
    /// there was any of it, or `None` when the kernel takes nothing at the moment.
    fn submit_and_reap(&self) -> Option<bool> {
        let mut moved = false;
        loop {
            moved |= 0 < self.reap();
            let pushed = self.fill();
            let stuck = self.submit(pushed);
            let reaped = self.reap();
            moved |= pushed || 0 < reaped;
            if stuck {
                // The kernel is short of memory for the moment; nothing may ever complete to remind us.
                let notify = Rc::clone(&self.reap_loop);
                rt::spawn_local(async move {
                    rt::sleep(Duration::from_millis(1)).await;
                    notify.notify();
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

    /// Lets the executor turn, and sleep when nothing keeps it awake: the reap loop is notified when there are completions,
    /// and with `turn` once the executor has looked at everything else.
    fn watch(&self, turn: bool) {
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
        self.wake_task.notify();
    }

    /// Ends a row of waits when the timer went off: returns whether there was anything to wait for.
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

    /// Moves operations from the queue to the submission queue; returns whether there were any.
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
            let op = ops.get(slot);
            let index = op.memory().and_then(|(start, capacity)| self.chunk_index(start, capacity));
            let entry = op.entry(index).user_data(slot as u64);
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

    /// Gives the submission queue to the kernel; returns whether it has to be tried again later.
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

    /// Takes in completions; returns how many.
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
                self.reap_loop.notify();
                return;
            }
            Step::Done(result) => {
                op.note_end(result);
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

impl Drop for RingState {
    fn drop(&mut self) {
        self.reap_loop.close();
        self.wake_task.close();
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

async fn run_reap_loop(ring: Weak<RingState>, notify: Rc<TaskNotify>) {
    while notify.notified().await {
        let Some(held) = ring.upgrade() else { return };
        held.uring.borrow_mut().completion().disable_eventfd();
        let waits = held.arm();
        drop(held);
        loop {
            let Some(held) = ring.upgrade() else { return };
            let polls = rt::task_polls();
            let moved = held.submit_and_reap();
            if held.in_kernel.get() == 0 {
                break;
            }
            let stops = if waits && moved.is_some() { held.is_due() } else { Some(false) };
            if let Some(turn) = stops {
                held.watch(turn);
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

async fn run_wake_task(notify: Rc<TaskNotify>, reap_loop: Rc<TaskNotify>, event: Rc<EventFd>) {
    while notify.notified().await {
        if event.wait().await.is_err() {
            // Slow, but nothing is lost.
            rt::sleep(Duration::from_millis(1)).await;
        }
        reap_loop.notify();
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
