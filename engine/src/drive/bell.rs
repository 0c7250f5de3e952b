//! What wakes the tasks of a ring: `ring` owns two, and rings them from operations, completions and its own end.
//! One task listens to each, on the same core; a ring that comes while it is busy is not lost.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

/// Wakes one task of the same core; rings that come before it listens are kept.
#[derive(Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes the task, now or when it listens next.
    pub(super) fn ring(&self) {
        if self.rung.replace(true) {
            return;
        }
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the task that listens.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.ring();
    }

    /// Waits for a ring; false when the bell was closed.
    pub(super) async fn heard(&self) -> bool {
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
