//! How far a shard's log is durable, and who waits for it; also a plain wake-up for one-core waiting.
//!
//! Both live on one core. A waiter that goes away leaves nothing but a spent waker behind.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::units::Sequence;

/// The highest durable sequence. It only rises; once failed it stays where it is for good.
#[derive(Default)]
pub(crate) struct Watermark {
    value: Cell<Sequence>,
    failed: Cell<bool>,
    waiting: RefCell<Vec<(Sequence, Waker)>>,
}

/// The log failed before the sequence became durable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LogFailed;

impl Watermark {
    pub(crate) fn starting_at(value: Sequence) -> Watermark {
        Watermark { value: Cell::new(value), ..Watermark::default() }
    }

    pub(crate) fn value(&self) -> Sequence {
        self.value.get()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.get()
    }

    pub(crate) fn advance(&self, to: Sequence) {
        assert!(self.value.get() <= to);
        self.value.set(to);
        let mut woken = Vec::new();
        self.waiting.borrow_mut().retain(|(sequence, waker)| {
            let waits = to < *sequence;
            if !waits {
                woken.push(waker.clone());
            }
            waits
        });
        woken.iter().for_each(Waker::wake_by_ref);
    }

    pub(crate) fn fail(&self) {
        self.failed.set(true);
        let woken = self.waiting.take();
        woken.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// Resolves once everything up to `sequence` is durable, or never will be.
    pub(crate) async fn reached(&self, sequence: Sequence) -> Result<(), LogFailed> {
        poll_fn(|cx| {
            if sequence <= self.value.get() {
                return Poll::Ready(Ok(()));
            }
            if self.failed.get() {
                return Poll::Ready(Err(LogFailed));
            }
            self.waiting.borrow_mut().push((sequence, cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

/// Wakes everybody who waits for a change of some state on the same core.
#[derive(Default)]
pub(crate) struct Notify {
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    pub(crate) fn notify(&self) {
        let woken = self.waiting.take();
        woken.iter().for_each(Waker::wake_by_ref);
    }

    /// Resolves with the first `Some` that `look` answers; looks now and after every `notify`.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match look() {
            Some(found) => Poll::Ready(found),
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
