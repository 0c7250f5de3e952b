//! The queue and the waker as the model checker runs them: what their crates promise, on the checker's own lock.
//!
//! `mailbox` and the proofs use them. I1. Each operation is one atomic step, as the crates' documentation promises.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use shuttle::sync::Mutex;

use super::Race;

/// As `crossbeam_queue::ArrayQueue`.
pub(crate) struct ArrayQueue<T> {
    held: Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> ArrayQueue<T> {
        ArrayQueue { held: Mutex::new(VecDeque::new()), capacity }
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        let mut held = self.held.lock().expect("no holder panics");
        if held.len() == self.capacity {
            return Err(value);
        }
        held.push_back(value);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.held.lock().expect("no holder panics").pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.lock().expect("no holder panics").len()
    }
}

/// As `atomic_waker::AtomicWaker`.
pub(crate) struct AtomicWaker {
    held: Mutex<Option<Waker>>,
}

impl AtomicWaker {
    pub(crate) fn new() -> AtomicWaker {
        AtomicWaker { held: Mutex::new(None) }
    }

    pub(crate) fn register(&self, waker: &Waker) {
        *self.held.lock().expect("no holder panics") = Some(waker.clone());
    }

    pub(crate) fn wake(&self) {
        let waker = self.held.lock().expect("no holder panics").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The mistake in force, as its number from 1; 0 for none. Changed between runs, never during one.
static SEEDED: AtomicUsize = AtomicUsize::new(0);

/// Whether `mistake` is in force.
pub(crate) fn seeded_race(mistake: Race) -> bool {
    SEEDED.load(Relaxed) == mistake as usize + 1
}

/// Puts a mistake into force, or takes it out.
#[cfg(test)]
pub(crate) fn seed(mistake: Option<Race>) {
    SEEDED.store(mistake.map_or(0, |mistake| mistake as usize + 1), Relaxed);
}

/// A point where another thread may run.
pub(crate) fn step() {
    shuttle::thread::yield_now();
}
