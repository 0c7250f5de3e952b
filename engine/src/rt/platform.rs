//! A real core as the engine sees it: tasks, timers and clocks of the runtime, buffers of the core's arena.

use std::rc::Rc;
use std::time::Duration;

use crate::drive::{Arena, Buffer};
use crate::error::EngineError;
use crate::limits::BUFFER_WAIT_MS_MAX;
use crate::platform::{LocalFuture, Platform};

/// One real core.
#[derive(Debug)]
pub struct CorePlatform {
    arena: Arena,
}

impl CorePlatform {
    /// The core that runs the caller.
    pub fn new(arena: Arena) -> Rc<CorePlatform> {
        Rc::new(CorePlatform { arena })
    }
}

impl Platform for CorePlatform {
    fn spawn(&self, task: LocalFuture<()>) {
        super::spawn_local(task);
    }

    fn sleep(&self, time: Duration) -> LocalFuture<()> {
        Box::pin(super::sleep(time))
    }

    fn now_ms(&self) -> u64 {
        super::now_ms()
    }

    fn monotonic_us(&self) -> u64 {
        super::monotonic_us()
    }

    fn random_u128(&self) -> u128 {
        super::random_u128()
    }

    fn buffer(&self, bytes: usize) -> LocalFuture<Result<Buffer, EngineError>> {
        if let Some(mut buffer) = self.arena.take(bytes) {
            buffer.set_len_for_read(bytes);
            return Box::pin(std::future::ready(Ok(buffer)));
        }
        let wait = self.arena.take_wait(bytes);
        Box::pin(async move {
            let busy = EngineError::Busy { limit: "BUFFER_WAIT_MS_MAX", max: BUFFER_WAIT_MS_MAX };
            let mut buffer =
                super::timeout(Duration::from_millis(BUFFER_WAIT_MS_MAX), wait).await.ok_or(busy)??;
            buffer.set_len_for_read(bytes);
            Ok(buffer)
        })
    }
}
