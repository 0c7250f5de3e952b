//! A machine that exists only in memory: one thread, virtual time, every choice drawn from one seed.
//!
//! Tests run the whole engine on it, cut the power at any drive operation and look at what is left. I1. The same seed
//! and the same program give the same run. I2. Nothing here looks at a real clock, thread or file. I3. Buffers come
//! with the bytes of an earlier use, whichever: a program that depends on them breaks I1, and is wrong on real cores.

use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use super::random::Random;
use crate::drive::{Arena, ArenaConfig, Buffer};
use crate::error::EngineError;
use crate::limits::BUFFER_WAIT_MS_MAX;
use crate::platform::{BlockingJob, LocalFuture, Platform};

/// Why a run ended before its future did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The power was cut.
    PowerCut,
    /// Every task waits for something that will never come.
    Deadlock,
}

/// One run of a machine, from power-on to power-off. Cheap to clone.
#[derive(Clone)]
pub struct Simulator {
    inner: Rc<Inner>,
}

struct Inner {
    random: RefCell<Random>,
    now_us: Cell<u64>,
    /// By number; a task that ended leaves its place empty.
    tasks: RefCell<Vec<Task>>,
    ready: Arc<SegQueue<usize>>,
    timers: RefCell<BinaryHeap<Timer>>,
    next_timer: Cell<u64>,
    cut: Cell<bool>,
    buffers: Cell<u64>,
    refused_buffer: Cell<Option<u64>>,
}

struct Task {
    /// Absent while it is being polled, and when it has ended.
    future: Option<LocalFuture<()>>,
    /// Made once for all polls.
    waker: Waker,
    wakes: Arc<TaskWaker>,
}

struct Timer {
    at_us: u64,
    number: u64,
    waker: Waker,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        (self.at_us, self.number) == (other.at_us, other.number)
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        // The heap gives the greatest first; the earliest timer is to come first.
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    ready: Arc<SegQueue<usize>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(self.task);
        }
    }
}

impl Simulator {
    /// Powers a machine on.
    pub fn new(seed: u64) -> Simulator {
        let inner = Inner {
            random: RefCell::new(Random::new(seed)),
            now_us: Cell::new(0),
            tasks: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            next_timer: Cell::new(0),
            cut: Cell::new(false),
            buffers: Cell::new(0),
            refused_buffer: Cell::new(None),
        };
        Simulator { inner: Rc::new(inner) }
    }

    /// Cuts the power: the run ends before any task gets another turn.
    pub fn cut_power(&self) {
        self.inner.cut.set(true);
    }

    /// The run's randomness.
    pub fn random(&self) -> u64 {
        self.inner.random.borrow_mut().draw()
    }

    /// Microseconds since power-on.
    pub fn now_us(&self) -> u64 {
        self.inner.now_us.get()
    }

    /// Resolves `us` microseconds of virtual time later.
    pub fn sleep_us(&self, us: u64) -> impl Future<Output = ()> + use<> {
        Sleep { inner: self.inner.clone(), until_us: self.now_us() + us, armed: false }
    }

    /// Has the machine refuse one buffer, as when its memory is short: the `nth` that is asked for, counted from 1.
    pub fn refuse_buffer(&self, nth: u64) {
        self.inner.refused_buffer.set(Some(nth));
    }

    /// How many buffers were asked for.
    pub fn buffers(&self) -> u64 {
        self.inner.buffers.get()
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.start(Box::pin(task));
    }

    fn start(&self, future: LocalFuture<()>) {
        let mut tasks = self.inner.tasks.borrow_mut();
        let ready = self.inner.ready.clone();
        let wakes = Arc::new(TaskWaker { task: tasks.len(), queued: AtomicBool::new(true), ready });
        self.inner.ready.push(tasks.len());
        tasks.push(Task { future: Some(future), waker: Waker::from(wakes.clone()), wakes });
    }

    /// Runs tasks in seeded order until `main` is done. Whatever is left is dropped.
    pub fn run<T: 'static>(&self, main: impl Future<Output = T> + 'static) -> Result<T, Stopped> {
        let result = Rc::new(RefCell::new(None));
        let place = result.clone();
        self.spawn(async move {
            let value = main.await;
            *place.borrow_mut() = Some(value);
        });
        let mut ready = Vec::new();
        let outcome = loop {
            if self.inner.cut.get() {
                break Err(Stopped::PowerCut);
            }
            if let Some(value) = result.borrow_mut().take() {
                break Ok(value);
            }
            while let Some(task) = self.inner.ready.pop() {
                ready.push(task);
            }
            if ready.is_empty() {
                if !self.pass_time() {
                    break Err(Stopped::Deadlock);
                }
                continue;
            }
            let nth = self.inner.random.borrow_mut().below(ready.len() as u64);
            let task = ready.swap_remove(usize::try_from(nth).expect("an index"));
            self.poll(task);
        };
        // Tasks refer to each other and to this machine: they go now, and what their drops start is dropped as well.
        loop {
            let left = std::mem::take(&mut *self.inner.tasks.borrow_mut());
            self.inner.timers.borrow_mut().clear();
            if left.is_empty() {
                return outcome;
            }
        }
    }

    fn poll(&self, number: usize) {
        let (mut future, waker) = {
            let mut tasks = self.inner.tasks.borrow_mut();
            let task = &mut tasks[number];
            let Some(future) = task.future.take() else { return };
            task.wakes.queued.store(false, Ordering::Release);
            (future, task.waker.clone())
        };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.inner.tasks.borrow_mut()[number].future = Some(future);
        }
    }

    /// Jumps to the next timer; `false` when there is none.
    fn pass_time(&self) -> bool {
        let timer = self.inner.timers.borrow_mut().pop();
        let Some(timer) = timer else { return false };
        self.inner.now_us.set(self.inner.now_us.get().max(timer.at_us));
        timer.waker.wake();
        true
    }
}

struct Sleep {
    inner: Rc<Inner>,
    until_us: u64,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.until_us <= self.inner.now_us.get() {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            let number = self.inner.next_timer.get();
            self.inner.next_timer.set(number + 1);
            let timer = Timer { at_us: self.until_us, number, waker: cx.waker().clone() };
            self.inner.timers.borrow_mut().push(timer);
        }
        Poll::Pending
    }
}

impl Platform for Simulator {
    fn spawn(&self, task: LocalFuture<()>) {
        self.start(task);
    }

    fn sleep(&self, time: Duration) -> LocalFuture<()> {
        Box::pin(self.sleep_us(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }

    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.now_us() / 1000
    }

    fn monotonic_us(&self) -> u64 {
        self.now_us()
    }

    fn random_u128(&self) -> u128 {
        (u128::from(self.random()) << 64) | u128::from(self.random())
    }

    fn buffer(&self, bytes: usize) -> LocalFuture<Result<Buffer, EngineError>> {
        let nth = self.inner.buffers.get() + 1;
        self.inner.buffers.set(nth);
        let refused = EngineError::Busy { limit: "BUFFER_WAIT_MS_MAX", max: BUFFER_WAIT_MS_MAX };
        let buffer = match self.inner.refused_buffer.get() == Some(nth) {
            true => Err(refused),
            // As on a real core, it holds what an earlier owner left.
            false => ARENA.with(|arena| arena.take(bytes)).ok_or(refused).map(|mut buffer| {
                buffer.set_len_for_read(bytes);
                buffer
            }),
        };
        Box::pin(std::future::ready(buffer))
    }

    fn blocking(&self, job: BlockingJob) -> LocalFuture<Result<(), EngineError>> {
        // Others run before it, as often as chance has it.
        let sleep = self.sleep_us(self.random() % 50);
        Box::pin(async move {
            sleep.await;
            job();
            Ok(())
        })
    }
}

thread_local! {
    /// Shared by all machines of a thread: fresh memory for every buffer took more time than what was done with it.
    static ARENA: Arena = Arena::new(ArenaConfig::default()).expect("address space of one arena");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(seed: u64) -> Vec<(u64, u64)> {
        let simulator = Simulator::new(seed);
        let log = Rc::new(RefCell::new(Vec::new()));
        let (sim, seen) = (simulator.clone(), log.clone());
        let main = async move {
            for task in 0..5 {
                let (sim, seen) = (sim.clone(), seen.clone());
                sim.clone().spawn(async move {
                    for _ in 0..5 {
                        let us = sim.random() % 50;
                        sim.sleep_us(us).await;
                        seen.borrow_mut().push((task, sim.now_us()));
                    }
                });
            }
            sim.sleep_us(1000).await;
        };
        assert_eq!(simulator.run(main), Ok(()));
        log.take()
    }

    #[test]
    fn same_seed_same_run() {
        assert_eq!(trace(1).len(), 25);
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }

    #[test]
    fn deadlock_and_power_cut_end_a_run() {
        let simulator = Simulator::new(1);
        assert_eq!(simulator.run(std::future::pending::<()>()), Err(Stopped::Deadlock));
        let simulator = Simulator::new(1);
        let sim = simulator.clone();
        let main = async move {
            sim.cut_power();
            sim.sleep_us(1).await;
        };
        assert_eq!(simulator.run(main), Err(Stopped::PowerCut));
    }
}
