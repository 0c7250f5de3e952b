//! Keeps cores from sleeping with work to do. [glommio]
//! glommio 0.9 parks an executor that was preempted before it ran anything, runnable tasks or not, and then only an
//! outside event wakes it. A timer on the same executor is no such event: its task may be the one that is not run.
//! So each core beats, and one thread of the process watches the beats and wakes a core that misses one.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a thread of its own, which no core waits for"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::timer::Timer;

use super::monotonic_us;

/// Between two beats while the core works, and while it does not.
const BUSY: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_millis(50);

/// How much later than due a beat may come before the core is woken; also between two looks while any core works.
const LATE: Duration = Duration::from_millis(5);

/// Between two looks while no core works.
const LOOK_IDLE: Duration = Duration::from_millis(25);

/// Longest time between two attempts to wake a core. They get rarer because a core that is busy with one long task
/// collects them, and glommio counts the wakers of a task in 16 bits.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// One core's beats. Dropping it ends the watch: that has to happen on the core, before its executor goes.
pub(super) struct Heart {
    beat: Arc<Beat>,
}

impl Heart {
    /// Starts the watch over the core this runs on.
    pub(super) fn start() -> Heart {
        let beat = Arc::new(Beat {
            last_us: AtomicU64::new(monotonic_us()),
            period_us: AtomicU64::new(micros(IDLE)),
            waker: Mutex::new(None),
        });
        super::spawn_local(Beating { beat: Arc::clone(&beat), timer: Timer::new(BUSY) });
        watch().watched().push(Watched {
            beat: Arc::downgrade(&beat),
            seen_us: 0,
            attempt_us: 0,
            wait_us: 0,
        });
        Heart { beat }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        // Under its lock, so that no wake-up is under way once this returns.
        let waker = self.beat.waker().take();
        drop(waker);
        // The task holds the beat for a while yet, and must not bring the waker back.
        self.beat.period_us.store(u64::MAX, Ordering::SeqCst);
    }
}

struct Beat {
    last_us: AtomicU64,
    /// When the next one is due after the last; `u64::MAX`: never again.
    period_us: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Beat {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that beats: at its timer, and whenever it is woken.
struct Beating {
    beat: Arc<Beat>,
    timer: Timer,
}

impl Future for Beating {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.beat.period_us.load(Ordering::SeqCst) == u64::MAX {
            return Poll::Ready(());
        }
        {
            let mut waker = self.beat.waker();
            if waker.is_none() {
                *waker = Some(cx.waker().clone());
            }
        }
        while Pin::new(&mut self.timer).poll(cx).is_ready() {
            // Reading the figures sets them to zero; one run of this task is always among them.
            let busy = 1 < glommio::executor().executor_stats().tasks_executed();
            let period = if busy { BUSY } else { IDLE };
            self.beat.period_us.store(micros(period), Ordering::SeqCst);
            self.timer = Timer::new(period);
        }
        self.beat.last_us.store(monotonic_us(), Ordering::SeqCst);
        Poll::Pending
    }
}

/// The thread and what it looks at.
struct Watch {
    watched: Mutex<Vec<Watched>>,
}

struct Watched {
    beat: Weak<Beat>,
    /// The beat after which the attempts below were made.
    seen_us: u64,
    /// When to try next, and how long to wait after that.
    attempt_us: u64,
    wait_us: u64,
}

impl Watch {
    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let now_us = monotonic_us();
            let mut works = false;
            self.watched().retain_mut(|watched| {
                let Some(beat) = watched.beat.upgrade() else { return false };
                let period_us = beat.period_us.load(Ordering::SeqCst);
                if period_us == u64::MAX {
                    return false;
                }
                let last_us = beat.last_us.load(Ordering::SeqCst);
                let late = watched.is_late(now_us, last_us, period_us);
                works |= period_us < micros(IDLE) || late;
                if late && let Some(waker) = beat.waker().as_ref() {
                    waker.wake_by_ref();
                }
                true
            });
            std::thread::sleep(if works { LATE } else { LOOK_IDLE });
        }
    }
}

impl Watched {
    /// Whether to wake the core now.
    fn is_late(&mut self, now_us: u64, last_us: u64, period_us: u64) -> bool {
        if self.seen_us != last_us {
            self.seen_us = last_us;
            self.attempt_us = last_us.saturating_add(period_us).saturating_add(micros(LATE));
            self.wait_us = micros(LATE);
        }
        if now_us < self.attempt_us {
            return false;
        }
        self.attempt_us = now_us.saturating_add(self.wait_us);
        self.wait_us = self.wait_us.saturating_mul(2).min(micros(ATTEMPT_MAX));
        true
    }
}

fn watch() -> &'static Watch {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    WATCH.get_or_init(|| Watch { watched: Mutex::new(Vec::new()) })
}

/// Starts the thread. It inherits the CPUs of the one that starts it, so this comes before any is pinned.
pub(super) fn prepare() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(|| watch().run())
            .map(drop)
            .expect("a process that cannot start a thread cannot run");
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_get_rarer() {
        let mut watched = Watched { beat: Weak::new(), seen_us: 0, attempt_us: 0, wait_us: 0 };
        let mut check = |now_us, last_us, want| {
            assert_eq!(watched.is_late(now_us, last_us, 2_000), want, "at {now_us} after {last_us}");
        };
        check(100, 100, false);
        check(7_099, 100, false);
        check(7_100, 100, true);
        check(12_099, 100, false);
        check(12_100, 100, true);
        check(22_099, 100, false);
        check(22_100, 100, true);
        check(22_200, 22_150, false);
        check(29_150, 22_150, true);
        check(10_000_000, 22_150, true);
    }
}
