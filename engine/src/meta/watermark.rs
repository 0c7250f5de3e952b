//! How far a shard's log is durable, and who waits for it.
//!
//! Lives on one core. I1. A waiter is listed once, however often it is polled. I2. One that goes away leaves
//! nothing but a spent waker behind, until the next change.

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
        let mut listed: Option<Waker> = None;
        poll_fn(|cx| {
            if sequence <= self.value.get() {
                return Poll::Ready(Ok(()));
            }
            if self.failed.get() {
                return Poll::Ready(Err(LogFailed));
            }
            // What is listed stays so until this resolves.
            if !listed.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                self.waiting.borrow_mut().push((sequence, cx.waker().clone()));
                listed = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn waiters_are_listed_once() {
        let mark = Watermark::starting_at(Sequence(3));
        let mut reached = pin!(mark.reached(Sequence(5)));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(reached.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(mark.waiting.borrow().len(), 1);
        mark.advance(Sequence(4));
        assert_eq!(mark.waiting.borrow().len(), 1);
        assert!(reached.as_mut().poll(&mut cx).is_pending());
        mark.advance(Sequence(5));
        assert_eq!(reached.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
    }
}
