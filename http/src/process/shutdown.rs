//! The end of the process: the switch that begins it, and how cores wait for each other.
//!
//! `tools/nilas` throws [`Stop`] on a signal, a core that fails throws it too; `process::core` waits for it and for
//! [`InFlight`]. I1. A core's shards serve until no core has requests any more, its own included.
#![expect(clippy::disallowed_types, reason = "the switch is thrown by a thread without an executor")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nilas_engine::rt;

/// Tells all cores to stop, from any thread. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    inner: Arc<StopInner>,
}

#[derive(Debug, Default)]
struct StopInner {
    begun: AtomicBool,
    waiters: Mutex<Vec<(u64, Waker)>>,
    next: AtomicU64,
}

impl Stop {
    /// A switch that is not thrown.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Throws the switch. There is no way back.
    pub fn begin(&self) {
        self.inner.begun.store(true, Ordering::SeqCst);
        let woken = std::mem::take(&mut *self.inner.waiters());
        for (_, waker) in woken {
            waker.wake();
        }
    }

    /// Whether it was thrown.
    pub fn is_begun(&self) -> bool {
        self.inner.begun.load(Ordering::SeqCst)
    }

    /// Waits until it is thrown.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        StopWait { inner: Arc::clone(&self.inner), id: None }
    }
}

impl StopInner {
    fn waiters(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct StopWait {
    inner: Arc<StopInner>,
    id: Option<u64>,
}

impl Future for StopWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let inner = Arc::clone(&self.inner);
        let id = *self.id.get_or_insert_with(|| inner.next.fetch_add(1, Ordering::Relaxed));
        // Under the lock, so that `begin` either sees the waker or has set the flag before this look.
        let mut waiters = inner.waiters();
        if inner.begun.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        match waiters.iter_mut().find(|(other, _)| *other == id) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => waiters.push((id, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for StopWait {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.inner.waiters().retain(|(other, _)| *other != id);
        }
    }
}

/// Counts a core among those with requests in flight, until it is dropped.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    /// Counts the caller's core; `cores` starts at the number of all cores.
    pub(super) fn new(cores: Arc<AtomicUsize>) -> InFlight {
        InFlight(cores)
    }

    /// Waits until no core has requests in flight any more.
    pub(super) async fn end(self) {
        let cores = self.0.clone();
        drop(self);
        while cores.load(Ordering::Acquire) > 0 {
            rt::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
