//! How far a shard's log is durable, and who waits for it; also a plain wake-up for one-core waiting.
//!
//! Both live on one core. I1. A waiter is listed once, however often it is polled. I2. One that goes away leaves
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

/// Wakes everybody who waits for a change of some state on the same core.
#[derive(Default)]
pub(crate) struct Notify {
    waiting: RefCell<Vec<Waker>>,
    /// Calls of `notify`: each empties the list.
    rounds: Cell<u64>,
}

impl Notify {
    pub(crate) fn notify(&self) {
        self.rounds.set(self.rounds.get().wrapping_add(1));
        let woken = self.waiting.take();
        woken.iter().for_each(Waker::wake_by_ref);
    }

    /// Resolves with the first `Some` that `look` answers; looks now and after every `notify`.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let mut listed: Option<(u64, Waker)> = None;
        poll_fn(|cx| {
            if let Some(found) = look() {
                return Poll::Ready(found);
            }
            let round = self.rounds.get();
            let is_listed =
                |(in_round, waker): &(u64, Waker)| *in_round == round && waker.will_wake(cx.waker());
            if !listed.as_ref().is_some_and(is_listed) {
                self.waiting.borrow_mut().push(cx.waker().clone());
                listed = Some((round, cx.waker().clone()));
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
        let (mark, notify) = (Watermark::starting_at(Sequence(3)), Notify::default());
        let ready = Cell::new(false);
        let mut reached = pin!(mark.reached(Sequence(5)));
        let mut until = pin!(notify.until(|| ready.get().then_some(())));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(reached.as_mut().poll(&mut cx).is_pending() && until.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!((mark.waiting.borrow().len(), notify.waiting.borrow().len()), (1, 1));
        mark.advance(Sequence(4));
        notify.notify();
        assert_eq!((mark.waiting.borrow().len(), notify.waiting.borrow().len()), (1, 0));
        assert!(reached.as_mut().poll(&mut cx).is_pending() && until.as_mut().poll(&mut cx).is_pending());
        assert_eq!(notify.waiting.borrow().len(), 1, "listed again after a change that was not the one");
        ready.set(true);
        mark.advance(Sequence(5));
        assert_eq!(reached.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
        assert!(until.as_mut().poll(&mut cx).is_ready());
    }
}
