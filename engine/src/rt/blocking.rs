//! The control pool: two ordinary threads for work that would hold up a core (password hashing, outside calls, files).
//! Cores hand closures over and are woken with the result.
#![expect(clippy::disallowed_types, reason = "the control pool is made of ordinary threads")]

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_channel::oneshot;

/// Threads of the pool.
const THREADS: usize = 2;

/// Closures that may wait for a thread; one more is refused.
pub const BLOCKING_JOBS_MAX: usize = 256;

/// Why a closure gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockingError {
    /// [`BLOCKING_JOBS_MAX`] others wait already; it was not run.
    Full,
    /// It panicked.
    Panicked,
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockingError::Full => write!(f, "BLOCKING_JOBS_MAX ({BLOCKING_JOBS_MAX}) is reached"),
            BlockingError::Panicked => write!(f, "a job of the control pool panicked"),
        }
    }
}

impl std::error::Error for BlockingError {}

/// Runs `job` on the control pool. It is queued by the call itself, and once queued it runs to its end even when the
/// future is dropped.
pub fn blocking<T, F>(job: F) -> impl Future<Output = Result<T, BlockingError>> + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let queued = pool().push(Box::new(move || {
        // Nobody may be listening any more.
        drop(sender.send(job()));
    }));
    async move {
        if !queued {
            return Err(BlockingError::Full);
        }
        receiver.await.map_err(|_| BlockingError::Panicked)
    }
}

/// Starts the threads. A thread inherits the CPUs of the one that starts it, so this comes before any is pinned.
pub(super) fn prepare() {
    let _: &Pool = pool();
}

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    jobs: Mutex<VecDeque<Job>>,
    added: Condvar,
}

impl Pool {
    fn push(&self, job: Job) -> bool {
        let mut jobs = self.jobs();
        if BLOCKING_JOBS_MAX <= jobs.len() {
            return false;
        }
        jobs.push_back(job);
        self.added.notify_one();
        true
    }

    fn run(&self) {
        loop {
            let job = {
                let mut jobs = self.jobs();
                loop {
                    match jobs.pop_front() {
                        Some(job) => break job,
                        None => jobs = self.added.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                    }
                }
            };
            // The panic reaches the caller as a channel without a sender; the thread goes on.
            drop(catch_unwind(AssertUnwindSafe(job)));
        }
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<&'static Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let pool: &'static Pool =
            Box::leak(Box::new(Pool { jobs: Mutex::new(VecDeque::new()), added: Condvar::new() }));
        for number in 0..THREADS {
            std::thread::Builder::new()
                .name(format!("control-{number}"))
                .spawn(|| pool.run())
                .expect("a process that cannot start two threads cannot run");
        }
        pool
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{RtConfig, start};

    #[test]
    fn results_and_panics_come_back() {
        let cores = start(1, RtConfig::server(), |_| async {
            let sum: Vec<_> = (0..20_u64).map(|n| blocking(move || n * n)).collect();
            let mut total = 0;
            for job in sum {
                total += job.await.expect("room and no panic");
            }
            assert_eq!(total, 2_470);
            let refused = blocking(|| -> u32 { panic!("on purpose") }).await;
            assert_eq!(refused, Err(BlockingError::Panicked));
            assert_eq!(blocking(|| 1).await, Ok(1));
        });
        for core in cores.expect("cores start").join() {
            core.expect("no panic");
        }
    }
}
