//! What a core gives the engine: tasks, time, randomness, buffers. Real cores and the simulated machine both provide it.
//!
//! Everything above the drives takes a `Rc<dyn Platform>` and knows nothing more of where it runs. I1. `drive` and `rt`
//! know nothing of this: `cores` puts them together, `simulated` stands in for both.

pub mod simulated;
mod cores;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::drive::buffer::Buffer;
use crate::error::EngineError;

pub use cores::CorePlatform;

/// A future that stays on its core.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Work that would hold up a core.
pub type BlockingJob = Box<dyn FnOnce() + Send>;

/// One core's services. Everything stays on that core.
pub trait Platform: 'static {
    /// Runs `task` to its end on this core, whatever becomes of the caller.
    fn spawn(&self, task: LocalFuture<()>);
    /// Resolves after about `time`.
    fn sleep(&self, time: Duration) -> LocalFuture<()>;
    /// Milliseconds since 1970-01-01 UTC; may jump.
    fn now_ms(&self) -> u64;
    /// Microseconds since some moment; never goes back.
    fn monotonic_us(&self) -> u64;
    /// Unpredictable (real) or seeded (simulated) bits.
    fn random_u128(&self) -> u128;
    /// An aligned buffer of at least `bytes` capacity and exactly `bytes` length, zeroed or not; waits while the core's
    /// buffers are all in use, [`EngineError::Busy`] after a bounded time.
    fn buffer(&self, bytes: usize) -> LocalFuture<Result<Buffer, EngineError>>;
    /// Runs `job` where it holds up no core. Resolves when it has ended: [`EngineError::Busy`] when too many wait, and it
    /// was not run.
    fn blocking(&self, job: BlockingJob) -> LocalFuture<Result<(), EngineError>>;
}

/// A buffer for the engine's own work: readers may hold all of the core's, and it goes on without.
pub(crate) async fn maintenance_buffer(platform: &Rc<dyn Platform>, bytes: usize) -> Buffer {
    platform.buffer(bytes).await.unwrap_or_else(|_| Buffer::unpooled(bytes))
}

/// [`Platform::spawn`] for any future.
pub(crate) fn spawn(platform: &Rc<dyn Platform>, task: impl Future<Output = ()> + 'static) {
    platform.spawn(Box::pin(task));
}
