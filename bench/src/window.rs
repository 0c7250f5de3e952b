//! One measured window: workers that start together, repeat an operation until time is up, and keep
//! their own tallies; the server's cost is read at both ends.
//!
//! Each worker is a thread with a small stack and a blocking connection: the generator spends little
//! beside the system calls, and cannot outrun the answers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nilas_tests::device::Usage;
use nilas_tests::http1::Response;

use crate::target::Target;

/// Stack of a worker thread, bytes.
const STACK_BYTES: usize = 512 * 1024;
/// Longest latency told apart, nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// What one kind of operation did in a window.
pub(crate) struct Tally {
    /// Latencies of successful operations, nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Successful operations.
    pub(crate) ops: u64,
    /// Object bytes moved by them.
    pub(crate) bytes: u64,
    /// Objects, keys or tables touched by them.
    pub(crate) objects: u64,
    /// Operations refused by a conflict (409) or by load (429, 503).
    pub(crate) refused: u64,
    /// Operations that failed otherwise.
    pub(crate) errors: u64,
    /// The first failure, for the reader.
    pub(crate) first_error: Option<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are in order"),
            ops: 0,
            bytes: 0,
            objects: 0,
            refused: 0,
            errors: 0,
            first_error: None,
        }
    }
}

impl Tally {
    /// Adds a successful operation.
    pub(crate) fn succeed(&mut self, took: Duration, bytes: u64, objects: u64) {
        self.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LATENCY_NS_MAX).max(1));
        self.ops += 1;
        self.bytes += bytes;
        self.objects += objects;
    }

    /// Adds a failed operation.
    pub(crate) fn fail(&mut self, why: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(why);
    }

    /// Adds an answer that is not the one wanted.
    pub(crate) fn judge(&mut self, answer: io::Result<Response>) {
        match answer {
            Ok(response) if matches!(response.status, 409 | 429 | 503) => self.refused += 1,
            Ok(response) => self.fail(|| format!("{} {}", response.status, response.text())),
            Err(error) => self.fail(|| error.to_string()),
        }
    }

    /// Adds another worker's tally.
    pub(crate) fn merge(&mut self, other: Tally) {
        self.latency.add(&other.latency).expect("all tallies have the same bounds");
        self.ops += other.ops;
        self.bytes += other.bytes;
        self.objects += other.objects;
        self.refused += other.refused;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// Tallies by the name of the operation.
pub(crate) type Tallies = BTreeMap<&'static str, Tally>;

/// One worker: does one operation per call; false when it has nothing more to do.
pub(crate) type Worker<'w> = Box<dyn FnMut(&mut Tallies) -> bool + Send + 'w>;

/// What a window did and what it cost.
pub(crate) struct Window {
    /// Time from the common start to the end of the last operation.
    pub(crate) elapsed: Duration,
    /// Tallies of all workers.
    pub(crate) tallies: Tallies,
    /// The server's counters before and after.
    pub(crate) usage: Option<(Usage, Usage)>,
}

/// Runs the workers for `seconds`, or until all of them are done.
pub(crate) fn run(target: &Target, seconds: f64, workers: Vec<Worker<'_>>) -> io::Result<Window> {
    let stop = AtomicBool::new(false);
    let barrier = Barrier::new(workers.len() + 1);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for mut worker in workers {
            let (stop, barrier) = (&stop, &barrier);
            let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || {
                let mut tallies = Tallies::new();
                barrier.wait();
                while !stop.load(Ordering::Relaxed) && worker(&mut tallies) {}
                tallies
            })?;
            threads.push(spawned);
        }
        let before = target.usage();
        barrier.wait();
        let from = Instant::now();
        let deadline = from + Duration::from_secs_f64(seconds);
        while Instant::now() < deadline && !threads.iter().all(|thread| thread.is_finished()) {
            thread::sleep(Duration::from_millis(10).min(deadline.saturating_duration_since(Instant::now())));
        }
        stop.store(true, Ordering::Relaxed);
        let mut tallies = Tallies::new();
        for thread in threads {
            let done = thread.join().map_err(|_| io::Error::other("a worker panicked"))?;
            for (name, tally) in done {
                tallies.entry(name).or_default().merge(tally);
            }
        }
        let elapsed = from.elapsed();
        let usage = before.zip(target.usage());
        Ok(Window { elapsed, tallies, usage })
    })
}
