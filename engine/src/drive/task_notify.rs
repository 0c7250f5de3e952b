//! What wakes the tasks of a ring: `ring` owns two, and notifies them from operations, completions and its own end.
//! One task waits on each, on the same core; what comes while it is busy is not lost.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

/// Wakes one task of the same core; what comes before it waits is kept.
#[derive(Default)]
pub(super) struct TaskNotify {
    pending: Cell<bool>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl TaskNotify {
    /// Wakes the task, now or when it waits next.
    pub(super) fn notify(&self) {
        if self.pending.replace(true) {
            return;
        }
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the task that waits.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.notify();
    }

    /// Resolves when the task is woken; false when it was closed.
    pub(super) async fn notified(&self) -> bool {
        std::future::poll_fn(|cx| {
            if self.closed.get() {
                return Poll::Ready(false);
            }
            if self.pending.replace(false) {
                return Poll::Ready(true);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}
