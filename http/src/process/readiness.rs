//! Whether the store has recovered, on every core.
//!
//! Each core says so once; health pages and metrics ask, and the last core's word makes the process ready.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

/// Counts the cores that cannot serve yet. Shared by all cores.
pub(crate) struct Readiness {
    recovering: AtomicUsize,
    /// Called by the core that is ready last.
    on_ready: ArrayQueue<Box<dyn FnOnce() + Send>>,
}

impl Readiness {
    /// `cores` that have yet to recover; `on_ready` is called once, on the core that is last.
    pub(super) fn new(cores: usize, on_ready: impl FnOnce() + Send + 'static) -> Readiness {
        let queue = ArrayQueue::new(1);
        // A fresh queue of one has room for one.
        drop(queue.push(Box::new(on_ready) as Box<dyn FnOnce() + Send>));
        Readiness { recovering: AtomicUsize::new(cores), on_ready: queue }
    }

    /// To be called once by each core, when it serves.
    pub(super) fn core_recovered(&self) {
        if self.recovering.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(call) = self.on_ready.pop()
        {
            call();
        }
    }

    /// Whether every core serves: the next connection may be another core's.
    pub(crate) fn is_ready(&self) -> bool {
        self.recovering.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_last_core_makes_it_ready() {
        let calls = Arc::new(AtomicUsize::new(0));
        let called = calls.clone();
        let readiness = Readiness::new(2, move || {
            called.fetch_add(1, Ordering::Relaxed);
        });
        readiness.core_recovered();
        assert_eq!((readiness.is_ready(), calls.load(Ordering::Relaxed)), (false, 0));
        readiness.core_recovered();
        assert_eq!((readiness.is_ready(), calls.load(Ordering::Relaxed)), (true, 1));
    }
}
