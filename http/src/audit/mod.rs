//! The audit log: one JSON line for each refused request and, when a log is kept, for each that changes something.
//!
//! `gateway` gives [`Audit::record`] an [`AuditEvent`] once the answer is known; the authorizer fills the [`Decisions`] in it
//! on the way. `process::core` runs [`AuditShared::write_behind`] on the first core; the file itself is written on the
//! control pool (`file`). The page `/_nilas/audit` reads [`AuditShared::newest`].
//! I1. A core that records never waits: a line that finds the queue full is dropped, counted, and its number written later.
//! I2. Every line is JSON on one line, printable whatever the request holds, and at most [`AUDIT_LINE_BYTES_MAX`] long. Query
//! strings, header values but the user agent's, secrets and tokens are no part of an event; of a session that was made its
//! access key is.
//! I3. Without a log, and for a request that is not refused, nothing is made.

mod decisions;
mod line;
mod file;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use crossbeam_queue::ArrayQueue;
use nilas_engine::CoreId;
use nilas_engine::rt::{self, BlockingError};

pub use decisions::{Decisions, Judged};
pub(crate) use file::AuditFile;
pub use file::AuditFileError;
pub use line::{AuditEvent, AuditPrincipal, Issued, Outcome};

use crate::limits::{
    AUDIT_QUEUE_BYTES_MAX, AUDIT_QUEUE_LINES_MAX, AUDIT_RING_EVENTS, AUDIT_THROTTLED_LINES_PER_S,
};

/// How often it is looked whether lines wait.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Longest time that a line waits.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// Bytes of waiting lines that are written at once.
const WAIT_BYTES_MAX: usize = 64 << 10;

/// Longest wait for the last lines when the process stops.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);

/// Where lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// Standard error.
    Stderr,
    /// A file, which is made when it does not exist and made anew when it was renamed.
    File(PathBuf),
}

/// One event as it was written.
#[derive(Debug)]
pub(crate) struct AuditLine {
    /// In milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The sender's name, when it has one.
    pub(crate) user: Option<Box<str>>,
    pub(crate) outcome: Outcome,
    /// Without the end of the line.
    pub(crate) json: Box<str>,
}

/// The audit log of the process. Shared by all cores.
pub(crate) struct AuditShared {
    /// Whether a log is kept, and so whether changes are recorded.
    is_kept: bool,
    cores: Box<[CoreAudit]>,
    pub(crate) figures: AuditFigures,
}

/// What is counted of all cores together.
#[derive(Debug, Default)]
pub(crate) struct AuditFigures {
    /// Lines written.
    pub(crate) lines: AtomicU64,
    /// Lines that were not.
    pub(crate) dropped: AtomicU64,
    /// Writes and opens that failed.
    pub(crate) errors: AtomicU64,
}

/// What one core recorded. It adds, the control pool takes, any core looks.
struct CoreAudit {
    queue: ArrayQueue<Arc<AuditLine>>,
    waiting_bytes: AtomicUsize,
    /// Lines dropped that the log does not know of yet.
    dropped: AtomicU64,
    ring: Box<[ArcSwapOption<AuditLine>]>,
    /// Events ever put into the ring.
    recorded: AtomicU64,
}

/// What is in one batch for the file.
struct Taken {
    lines: u64,
    /// Lines before them, which say how many were dropped.
    notes: u64,
    dropped: u64,
}

/// The audit log as one core has it.
pub(crate) struct Audit {
    shared: Arc<AuditShared>,
    core: usize,
    throttled: Cell<PerSecond>,
}

/// Lines of one kind within one second.
#[derive(Clone, Copy, Default)]
struct PerSecond {
    second: u64,
    lines: u32,
}

impl Audit {
    pub(crate) fn new(shared: Arc<AuditShared>, core: CoreId) -> Audit {
        Audit { shared, core: usize::from(core.0), throttled: Cell::default() }
    }

    /// Whether requests that change something are recorded.
    pub(crate) fn keeps_changes(&self) -> bool {
        self.shared.is_kept
    }

    /// Whether a request is recorded that may change something or not, and ended so.
    pub(crate) fn wants(&self, changes: bool, outcome: Outcome) -> bool {
        outcome.is_refusal() || (changes && self.shared.is_kept)
    }

    /// Records a request that was answered, if it is of a kind that is.
    pub(crate) fn record(&self, event: &AuditEvent<'_>) {
        if !self.wants(event.changes, event.outcome) {
            return;
        }
        let core = &self.shared.cores[self.core];
        if event.outcome == Outcome::Throttled && !self.may_record_throttled(event.at_ms) {
            self.shared.drop_lines(core, 1);
            return;
        }
        let line = Arc::new(AuditLine {
            at_ms: event.at_ms,
            user: event.principal.name.map(Box::from),
            outcome: event.outcome,
            json: event.render().into_boxed_str(),
        });
        core.keep_newest(line.clone());
        if self.shared.is_kept && !core.push(line) {
            self.shared.drop_lines(core, 1);
        }
    }

    /// Who is throttled may send a great many, and is not to fill the disk.
    fn may_record_throttled(&self, at_ms: u64) -> bool {
        let mut taken = self.throttled.get();
        if taken.second != at_ms / 1000 {
            taken = PerSecond { second: at_ms / 1000, lines: 0 };
        }
        taken.lines = taken.lines.saturating_add(1);
        self.throttled.set(taken);
        taken.lines <= AUDIT_THROTTLED_LINES_PER_S
    }
}

impl CoreAudit {
    fn new(queue_lines: usize) -> CoreAudit {
        CoreAudit {
            queue: ArrayQueue::new(queue_lines),
            waiting_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            ring: (0..AUDIT_RING_EVENTS).map(|_| ArcSwapOption::empty()).collect(),
            recorded: AtomicU64::new(0),
        }
    }

    /// False: there is no room.
    fn push(&self, line: Arc<AuditLine>) -> bool {
        let bytes = line.json.len();
        if AUDIT_QUEUE_BYTES_MAX < self.waiting_bytes.load(Relaxed) + bytes {
            return false;
        }
        // Before the writer can take it away again.
        self.waiting_bytes.fetch_add(bytes, Relaxed);
        let pushed = self.queue.push(line).is_ok();
        if !pushed {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
        }
        pushed
    }

    fn pop(&self) -> Option<Arc<AuditLine>> {
        let line = self.queue.pop()?;
        self.waiting_bytes.fetch_sub(line.json.len(), Relaxed);
        Some(line)
    }

    /// Only the core itself calls it.
    fn keep_newest(&self, line: Arc<AuditLine>) {
        let nth = self.recorded.fetch_add(1, Relaxed);
        let slots = self.ring.len() as u64;
        let slot = usize::try_from(nth % slots).expect("less than the slots");
        self.ring[slot].store(Some(line));
    }
}

impl AuditShared {
    pub(crate) fn new(cores: usize, is_kept: bool) -> AuditShared {
        let lines = if is_kept { AUDIT_QUEUE_LINES_MAX } else { 1 };
        AuditShared {
            is_kept,
            cores: (0..cores).map(|_| CoreAudit::new(lines)).collect(),
            figures: AuditFigures::default(),
        }
    }

    /// The newest events of all cores that `fits`, the newest first, at most `max`.
    pub(crate) fn newest(&self, max: usize, fits: impl Fn(&AuditLine) -> bool) -> Vec<Arc<AuditLine>> {
        let slots = self.cores.iter().flat_map(|core| core.ring.iter());
        let mut found: Vec<_> = slots.filter_map(|slot| slot.load_full()).filter(|line| fits(line)).collect();
        found.sort_by_key(|line| std::cmp::Reverse(line.at_ms));
        found.truncate(max);
        found
    }

    /// Writes what is recorded, for as long as the process runs. For one core.
    pub(crate) async fn write_behind(self: Arc<Self>, file: Arc<AuditFile>) {
        let mut waited = Duration::ZERO;
        loop {
            rt::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
            let bytes: usize = self.cores.iter().map(|core| core.waiting_bytes.load(Relaxed)).sum();
            let dropped = self.cores.iter().any(|core| core.dropped.load(Relaxed) > 0);
            if WAIT_BYTES_MAX <= bytes || (WAIT_MAX <= waited && (bytes > 0 || dropped)) {
                waited = Duration::ZERO;
                self.clone().write(file.clone()).await;
            }
        }
    }

    /// Writes what is left when no core records any more.
    pub(crate) async fn write_last(self: Arc<Self>, file: Arc<AuditFile>) {
        let _: Option<()> = rt::timeout(LAST_WRITE_MAX, self.write(file)).await;
    }

    async fn write(self: Arc<Self>, file: Arc<AuditFile>) {
        // When the control pool has no room the lines wait for the next time.
        let _: Result<(), BlockingError> = rt::blocking(move || file.write_all_of(&self)).await;
    }

    /// Takes lines that wait, for the file: their bytes into `batch`, of which there will be some `bytes_max` at most.
    fn take_batch(&self, batch: &mut Vec<u8>, bytes_max: usize, now_ms: u64) -> Taken {
        let dropped = self.cores.iter().map(|core| core.dropped.swap(0, Relaxed)).sum();
        let mut taken = Taken { lines: 0, notes: u64::from(dropped > 0), dropped };
        if dropped > 0 {
            batch.extend_from_slice(line::dropped(now_ms, dropped).as_bytes());
        }
        for core in &self.cores {
            while batch.len() < bytes_max
                && let Some(line) = core.pop()
            {
                batch.extend_from_slice(line.json.as_bytes());
                batch.push(b'\n');
                taken.lines += 1;
            }
        }
        taken
    }

    /// Lines that were taken and not written, and those of which no line could say yet that they were dropped.
    fn lost(&self, lines: u64, dropped: u64) {
        self.figures.dropped.fetch_add(lines, Relaxed);
        if let Some(core) = self.cores.first() {
            core.dropped.fetch_add(lines + dropped, Relaxed);
        }
    }

    fn drop_lines(&self, core: &CoreAudit, lines: u64) {
        self.figures.dropped.fetch_add(lines, Relaxed);
        if self.is_kept {
            core.dropped.fetch_add(lines, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
