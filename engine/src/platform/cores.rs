//! [`Platform`] on a real core: tasks, timers and clocks of the runtime, buffers of the core's arena.
//!
//! The server makes one per core, on that core, and gives it to `Store::start_core`.

use std::time::Duration;

use super::{BlockingJob, LocalFuture, Platform};
use crate::drive::{Arena, Buffer};
use crate::error::EngineError;
use crate::limits::BUFFER_WAIT_MS_MAX;
use crate::rt::{
    BLOCKING_JOBS_MAX, BlockingError, blocking, monotonic_us, now_ms, random_u128, sleep, spawn_local,
    timeout,
};

/// One core's services, on an executor of [`rt::start`](crate::rt::start).
#[derive(Clone, Debug)]
pub struct CorePlatform {
    arena: Arena,
}

impl CorePlatform {
    /// A platform whose buffers come from `arena`, which should be this core's own.
    pub fn new(arena: Arena) -> CorePlatform {
        CorePlatform { arena }
    }

    /// The arena it takes buffers from.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }
}

impl Platform for CorePlatform {
    fn spawn(&self, task: LocalFuture<()>) {
        spawn_local(task);
    }

    fn sleep(&self, time: Duration) -> LocalFuture<()> {
        Box::pin(sleep(time))
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn monotonic_us(&self) -> u64 {
        monotonic_us()
    }

    fn random_u128(&self) -> u128 {
        random_u128()
    }

    fn buffer(&self, bytes: usize) -> LocalFuture<Result<Buffer, EngineError>> {
        let arena = self.arena.clone();
        Box::pin(async move {
            let mut buffer = match arena.take(bytes) {
                Some(buffer) => buffer,
                None => {
                    let longest = Duration::from_millis(BUFFER_WAIT_MS_MAX);
                    let (limit, max) = ("BUFFER_WAIT_MS_MAX", BUFFER_WAIT_MS_MAX);
                    let waited = timeout(longest, arena.take_wait(bytes)).await;
                    waited.unwrap_or(Err(EngineError::Busy { limit, max }))?
                }
            };
            // Whoever asks fills all of it, or clears what it leaves.
            buffer.set_len_for_read(bytes);
            Ok(buffer)
        })
    }

    fn blocking(&self, job: BlockingJob) -> LocalFuture<Result<(), EngineError>> {
        let running = blocking(job);
        Box::pin(async move {
            match running.await {
                // What a job that panicked was to leave is not there: its caller sees that.
                Ok(()) | Err(BlockingError::Panicked) => Ok(()),
                Err(BlockingError::Full) => {
                    Err(EngineError::Busy { limit: "BLOCKING_JOBS_MAX", max: BLOCKING_JOBS_MAX as u64 })
                }
            }
        })
    }
}
