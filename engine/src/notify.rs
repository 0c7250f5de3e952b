//! A wake-up for those who wait on one core for a change of its state.
//!
//! I1. A waiter is listed once, however often it is polled. I2. One that goes away leaves nothing but a spent waker
//! behind, until the next change.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

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
        let (notify, ready) = (Notify::default(), Cell::new(false));
        let mut until = pin!(notify.until(|| ready.get().then_some(())));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(until.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(notify.waiting.borrow().len(), 1);
        notify.notify();
        assert_eq!(notify.waiting.borrow().len(), 0);
        assert!(until.as_mut().poll(&mut cx).is_pending());
        assert_eq!(notify.waiting.borrow().len(), 1, "listed again after a change that was not the one");
        ready.set(true);
        assert!(until.as_mut().poll(&mut cx).is_ready());
    }
}
