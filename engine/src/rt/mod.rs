//! The fence around the runtime: pinned executors, local tasks, timers, the control pool. [glommio]
//! `http`'s server starts the cores here; everything else sees only these functions, so another runtime could take
//! glommio's place.
//!
//! What glommio does badly is worked round here and pinned by tests: an executor that was preempted at the wrong
//! moment parks with runnable tasks (`heartbeat` wakes it), wake-ups from other threads are seen only when the
//! preempt timer fires (1 ms here, not 100), and its cross-core channels are not used. An executor that was preempted
//! before its main task ran even once sleeps for good, and nobody has a waker of it: `begin` starts another one.
//!
//! `spawn_local`, `sleep`, `timeout` and `yield_now` panic outside of an executor started here.
#![expect(clippy::disallowed_methods, reason = "the one place that reads clocks and starts threads")]

mod blocking;
mod event;
mod heartbeat;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::units::CoreId;

pub use blocking::{BLOCKING_JOBS_MAX, BlockingError, blocking};
pub(crate) use event::EventFd;

/// Executors tried for one core before its start is given up, and how long the first may take to begin; each next one
/// has twice that.
const BEGIN_ATTEMPTS_MAX: usize = 8;
const BEGIN_WAIT: Duration = Duration::from_millis(100);

/// How the executors are built.
#[derive(Clone, Copy, Debug)]
pub struct RtConfig {
    /// How long a busy executor may go without looking at timers, sockets and other threads.
    pub preempt: Duration,
    /// Entries of each of glommio's three rings per core.
    pub ring_depth: usize,
    /// Bytes that glommio registers in each of its rings: its own small needs, the drives have their arena.
    pub io_memory_bytes: usize,
    /// How long an idle executor looks for work before it sleeps. `None`: not at all.
    pub spin: Option<Duration>,
}

impl RtConfig {
    /// What a server wants.
    pub const fn server() -> RtConfig {
        RtConfig { preempt: Duration::from_millis(1), ring_depth: 128, io_memory_bytes: 64 << 10, spin: None }
    }
}

/// Where a task finds itself.
#[derive(Clone, Copy, Debug)]
pub struct CoreContext {
    /// This core.
    pub core: CoreId,
    /// Number of cores started with it.
    pub cores: u16,
    /// The CPU the core is pinned to; `None` when there are more cores than CPUs.
    pub cpu: Option<usize>,
}

/// Cores could not be started, or one ended in a panic.
#[derive(Debug)]
pub enum RtError {
    /// The number of cores is 0 or too large.
    Cores(usize),
    /// The executor of a core could not be made. `drive::probe` says beforehand what is missing.
    Start {
        /// Which core.
        core: CoreId,
        /// What glommio says.
        text: String,
    },
    /// The main task of a core panicked or its executor could not be made on its thread.
    Ended {
        /// Which core.
        core: CoreId,
        /// What glommio says.
        text: String,
    },
}

impl fmt::Display for RtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RtError::Cores(cores) => write!(f, "{cores} cores cannot be started, only 1 to 1024"),
            RtError::Start { core, text } => write!(f, "core {} cannot be started: {text}", core.0),
            RtError::Ended { core, text } => write!(f, "core {} ended: {text}", core.0),
        }
    }
}

impl std::error::Error for RtError {}

/// The running cores.
pub struct Cores<T: Send + 'static> {
    handles: Vec<(CoreId, ExecutorJoinHandle<Option<T>>)>,
}

impl<T: Send + 'static> Cores<T> {
    /// Waits until the main task of every core has ended; results in the order of cores.
    ///
    /// A core ends when its main task does: other tasks on it are dropped, wherever they are.
    pub fn join(self) -> Vec<Result<T, RtError>> {
        self.handles
            .into_iter()
            .map(|(core, handle)| {
                let ended = handle.join().map_err(|e| RtError::Ended { core, text: e.to_string() })?;
                // Only the executor that runs the main task is kept.
                ended.ok_or_else(|| RtError::Ended { core, text: "it never began".to_owned() })
            })
            .collect()
    }
}

/// Starts `cores` executors, each running `run` as its main task on a thread of its own.
///
/// They are pinned to the CPUs this process may use, one each; with more cores than CPUs they are not pinned.
/// Call it from a thread that is not pinned itself: the control pool and the
/// heartbeat's thread are started along with the cores. After an error
/// cores that had been started go on running; end the process.
pub fn start<F, Fut, T>(cores: usize, config: RtConfig, run: F) -> Result<Cores<T>, RtError>
where
    F: Fn(CoreContext) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let count = u16::try_from(cores).ok().filter(|n| (1..=1024).contains(n)).ok_or(RtError::Cores(cores))?;
    let _: Instant = origin();
    blocking::prepare();
    heartbeat::prepare();
    let cpus = allowed_cpus();
    let pin = cores <= cpus.len();
    let mut handles = Vec::with_capacity(cores);
    for (number, cpu) in (0..count).zip(cpus.into_iter().map(Some).chain(std::iter::repeat(None))) {
        let cpu = cpu.filter(|_| pin);
        let core = CoreId(number);
        let context = CoreContext { core, cores: count, cpu };
        handles.push((core, begin(context, config, run.clone())?));
    }
    Ok(Cores { handles })
}

/// Starts the executor of one core, and another in its place when it does not begin: see the head of this file.
///
/// Whichever comes first runs the main task; one that comes later ends at once.
fn begin<F, Fut, T>(
    context: CoreContext,
    config: RtConfig,
    run: F,
) -> Result<ExecutorJoinHandle<Option<T>>, RtError>
where
    F: Fn(CoreContext) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let core = context.core;
    // The attempt that runs the main task, counted from 1.
    let claim = Arc::new(AtomicUsize::new(0));
    let mut attempts: Vec<ExecutorJoinHandle<Option<T>>> = Vec::new();
    for attempt in 1..=BEGIN_ATTEMPTS_MAX {
        let mut builder = LocalExecutorBuilder::new(context.cpu.map_or(Placement::Unbound, Placement::Fixed))
            .name(&format!("core-{}", core.0))
            .io_memory(config.io_memory_bytes)
            .ring_depth(config.ring_depth)
            .preempt_timer(config.preempt);
        if let Some(spin) = config.spin {
            builder = builder.spin_before_park(spin);
        }
        let (begun, begins) = sync_channel::<()>(1);
        let (run, claimed) = (run.clone(), claim.clone());
        let handle = builder
            .spawn(move || async move {
                claimed.compare_exchange(0, attempt, Ordering::AcqRel, Ordering::Acquire).ok()?;
                let heart = heartbeat::Heart::start();
                // Nobody waits for an attempt that was given up and begins after all.
                let _unheard = begun.send(());
                let result = counted(run(context)).await;
                drop(heart);
                Some(result)
            })
            .map_err(|e| RtError::Start { core, text: e.to_string() })?;
        attempts.push(handle);
        let waited = begins.recv_timeout(BEGIN_WAIT * (1 << (attempt - 1)));
        match claim.load(Ordering::Acquire) {
            0 if waited == Err(RecvTimeoutError::Timeout) => {}
            // Its executor could not be made: joining it tells why.
            0 => return Ok(attempts.swap_remove(attempt - 1)),
            claimed => return Ok(attempts.swap_remove(claimed - 1)),
        }
    }
    // From here on none of them may.
    match claim.compare_exchange(0, usize::MAX, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Err(RtError::Start { core, text: "its executor does not begin".to_owned() }),
        Err(claimed) => Ok(attempts.swap_remove(claimed - 1)),
    }
}

/// Runs `future` on this core until it ends, whoever is interested or not. It runs up to its first wait at once.
pub fn spawn_local(future: impl Future<Output = ()> + 'static) {
    drop(glommio::spawn_local(counted(future)).detach());
}

thread_local! {
    static TASK_POLLS: Cell<u64> = const { Cell::new(0) };
}

/// Times any task of this core was polled: a task that yields can tell by it whether others had something to do.
pub(crate) fn task_polls() -> u64 {
    TASK_POLLS.get()
}

async fn counted<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        TASK_POLLS.set(TASK_POLLS.get().wrapping_add(1));
        future.as_mut().poll(cx)
    })
    .await
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    glommio::timer::Timer::new(duration).await;
}

/// Runs `future` for at most `duration`; `None` when it took longer, and it is dropped.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = glommio::timer::Timer::new(duration);
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        Pin::new(&mut timer).poll(cx).map(|_| None)
    })
    .await
}

/// Lets every other runnable task of this core run once.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |cx: &mut Context<'_>| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether the current task has used up its share of time and should [`yield_now`].
pub fn need_yield() -> bool {
    glommio::executor().need_preempt()
}

/// Wall clock, milliseconds since 1970-01-01 UTC. May jump.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds since the process started its cores. Never goes back.
pub fn monotonic_us() -> u64 {
    u64::try_from(origin().elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// 128 bits from the kernel's generator.
pub fn random_u128() -> u128 {
    let mut bytes = [0_u8; 16];
    // SAFETY: the pointer and length are those of a local array.
    #[expect(unsafe_code, reason = "getrandom has no safe form in std")]
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // getrandom(2): requests up to 256 bytes are neither cut short nor interrupted once the pool is ready.
    assert!(usize::try_from(got) == Ok(bytes.len()), "the kernel gives no random bytes");
    u128::from_le_bytes(bytes)
}

/// The CPUs this thread may run on, ascending; empty when the kernel does not say.
pub fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    parse_cpu_list(list.trim())
}

fn parse_cpu_list(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last.min(first.saturating_add(4095)));
        }
    }
    cpus
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn check(list: &str, want: &[usize]) {
        assert_eq!(parse_cpu_list(list), want, "{list}");
    }

    #[test]
    fn cpu_lists() {
        check("0", &[0]);
        check("0-1", &[0, 1]);
        check("1,3-5,9", &[1, 3, 4, 5, 9]);
        check("", &[]);
        check("x-2,7", &[7]);
    }

    #[test]
    fn cores_run_and_return() {
        let cores = start(3, RtConfig::server(), |context| async move {
            sleep(Duration::from_millis(5)).await;
            assert!(timeout(Duration::from_millis(5), std::future::pending::<()>()).await.is_none());
            assert_eq!(timeout(Duration::from_secs(5), async { 7 }).await, Some(7));
            let done = Rc::new(Cell::new(0));
            for _ in 0..3 {
                let done = Rc::clone(&done);
                spawn_local(async move {
                    yield_now().await;
                    done.set(done.get() + 1);
                });
            }
            while done.get() < 3 {
                yield_now().await;
            }
            context.core
        })
        .expect("cores start");
        let ended: Vec<CoreId> = cores.join().into_iter().map(|core| core.expect("no panic")).collect();
        assert_eq!(ended, [CoreId(0), CoreId(1), CoreId(2)]);
    }

    #[test]
    fn no_cores_is_an_error() {
        assert!(matches!(start(0, RtConfig::server(), |_| async {}), Err(RtError::Cores(0))));
    }

    #[test]
    fn a_panic_is_reported() {
        let cores =
            start(1, RtConfig::server(), |_| async { assert!(monotonic_us() == u64::MAX, "on purpose") });
        let ended = cores.expect("cores start").join();
        assert!(matches!(ended[..], [Err(RtError::Ended { core: CoreId(0), .. })]));
    }

    /// Two busy tasks and nothing else: without the heartbeat one of the cores soon sleeps for good.
    #[test]
    fn a_preempted_core_does_not_stall() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let config = RtConfig { preempt: Duration::from_micros(200), ..RtConfig::server() };
        let cores = start(2, config, move |_| {
            let sender = sender.clone();
            async move {
                let end = Instant::now() + Duration::from_millis(1_200);
                let ended: Vec<_> = (0..2)
                    .map(|_| {
                        let (done, ended) = futures_channel::oneshot::channel();
                        spawn_local(async move { done.send(spin(end).await).expect("awaited below") });
                        ended
                    })
                    .collect();
                for longest in ended {
                    sender.send(longest.await.expect("sent at the end")).expect("the test listens");
                }
            }
        })
        .expect("cores start");
        for _ in 0..4 {
            let longest =
                receiver.recv_timeout(Duration::from_secs(20)).expect("a core sleeps with runnable tasks");
            assert!(longest < Duration::from_secs(1), "stalled for {longest:?}");
        }
        assert!(cores.join().iter().all(Result::is_ok));
    }

    /// Computes and yields until `end`; the longest time between two turns.
    async fn spin(end: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let mut last = Instant::now();
        while last < end {
            while last.elapsed() < Duration::from_micros(150) {
                std::hint::spin_loop();
            }
            yield_now().await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random_u128(), random_u128());
    }
}
