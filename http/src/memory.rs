//! What requests may hold in memory: one named budget per kind and core, and how large each may be on this machine.
//!
//! `server` makes a [`CoreMemory`] per core; whoever is about to hold bytes for a client takes a [`Permit`] first and keeps
//! it as long as the bytes. I1. The bytes held never exceed a budget's limit, but for answers to changes that are done.
//! I2. A hold gives back all it took when it is dropped, on whatever core. I3. Nobody waits for a budget while what it
//! wants more than there is could only come from itself: waiting is bounded, and ends in a refusal that did nothing.
//! A budget belongs to one core, which alone takes from it; others may give back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use bytes::{Bytes, BytesMut};
use nilas_engine::drive::ArenaConfig;
use nilas_engine::{EngineError, rt};

use crate::limits::{
    ANSWER_BYTES_MAX, CONNECTION_BYTES, CONNECTIONS_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_VALUE_BYTES,
    DOWNLOAD_BYTES_MAX, LIMIT_WAIT_MS_MAX, LISTINGS_MAX, SMALL_BODY_BYTES_MAX, UPLOAD_BYTES_MAX,
};

/// First and longest pause between two looks at a budget that is used up, in milliseconds.
const PAUSE_MS: (u64, u64) = (1, 16);

/// Bytes that a body gathered in memory grows by at least.
const BUFFER_STEP_BYTES: usize = 4 << 10;

/// A bounded amount of something, and how much of it is taken.
#[derive(Clone)]
pub struct Budget {
    shared: Arc<BudgetState>,
}

struct BudgetState {
    name: &'static str,
    max: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    refused: AtomicU64,
    /// Somebody did not get what he wanted since this was last asked.
    short: AtomicBool,
}

/// What a budget says of itself, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetFacts {
    /// The limit's name.
    pub name: &'static str,
    /// The limit.
    pub max: usize,
    /// Taken now.
    pub used: usize,
    /// Most that was ever taken.
    pub peak: usize,
    /// Requests refused at it.
    pub refused: u64,
}

/// A part of a budget, given back on drop.
pub struct Permit {
    shared: Arc<BudgetState>,
    amount: usize,
}

impl Budget {
    /// A budget of `max`, called by the name of its limit.
    pub fn new(name: &'static str, max: usize) -> Budget {
        Budget {
            shared: Arc::new(BudgetState {
                name,
                max,
                used: AtomicUsize::new(0),
                peak: AtomicUsize::new(0),
                refused: AtomicU64::new(0),
                short: AtomicBool::new(false),
            }),
        }
    }

    /// Takes `amount` if there is as much.
    pub fn try_take(&self, amount: usize) -> Option<Permit> {
        let mut permit = Permit { shared: self.shared.clone(), amount: 0 };
        permit.grow(amount).then_some(permit)
    }

    /// Takes `amount`, waiting for at most [`LIMIT_WAIT_MS_MAX`]; then [`EngineError::Busy`].
    pub async fn take(&self, amount: usize) -> Result<Permit, EngineError> {
        let mut permit = Permit { shared: self.shared.clone(), amount: 0 };
        permit.grow_wait(amount).await?;
        Ok(permit)
    }

    /// Takes `amount` even beyond the limit: for what exists already.
    pub fn force_acquire(&self, amount: usize) -> Permit {
        self.shared.used.fetch_add(amount, SeqCst);
        Permit { shared: self.shared.clone(), amount }
    }

    /// A refusal at this limit.
    pub fn refuse(&self) -> EngineError {
        self.shared.refused.fetch_add(1, Relaxed);
        EngineError::Busy { limit: self.shared.name, max: self.shared.max as u64 }
    }

    /// The limit.
    pub fn max(&self) -> usize {
        self.shared.max
    }

    /// Taken now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Relaxed)
    }

    /// Whether somebody got less than he wanted since the last call.
    pub fn take_shortage(&self) -> bool {
        self.shared.short.swap(false, Relaxed)
    }

    /// Figures for metrics.
    pub fn facts(&self) -> BudgetFacts {
        let shared = &self.shared;
        BudgetFacts {
            name: shared.name,
            max: shared.max,
            used: shared.used.load(Relaxed),
            peak: shared.peak.load(Relaxed),
            refused: shared.refused.load(Relaxed),
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts().fmt(f)
    }
}

impl Permit {
    /// Takes `more` if there is as much.
    pub fn grow(&mut self, more: usize) -> bool {
        let shared = &self.shared;
        let fits = |used: usize| used.checked_add(more).filter(|sum| *sum <= shared.max);
        match shared.used.fetch_update(SeqCst, SeqCst, fits) {
            Ok(before) => {
                shared.peak.fetch_max(before + more, Relaxed);
                self.amount += more;
                true
            }
            Err(_) => {
                shared.short.store(true, Relaxed);
                false
            }
        }
    }

    /// Takes `more`, waiting for at most [`LIMIT_WAIT_MS_MAX`]; then [`EngineError::Busy`].
    pub async fn grow_wait(&mut self, more: usize) -> Result<(), EngineError> {
        let (mut pause_ms, mut waited_ms) = (PAUSE_MS.0, 0);
        while !self.grow(more) {
            if LIMIT_WAIT_MS_MAX <= waited_ms || self.shared.max < more {
                return Err(Budget { shared: self.shared.clone() }.refuse());
            }
            rt::sleep(std::time::Duration::from_millis(pause_ms)).await;
            waited_ms += pause_ms;
            pause_ms = (2 * pause_ms).min(PAUSE_MS.1);
        }
        Ok(())
    }

    /// What it holds.
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// Binds the hold to `bytes`: it is given back when the last slice of them is dropped.
    pub fn bind(self, bytes: Bytes) -> Bytes {
        struct Held {
            bytes: Bytes,
            _permit: Permit,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        if bytes.is_empty() { bytes } else { Bytes::from_owner(Held { bytes, _permit: self }) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.amount, SeqCst);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.amount, self.shared.name)
    }
}

/// Bytes of one body gathered in memory of their own, within a budget. A client's pieces are copied: one byte of them
/// may keep a whole receive buffer alive.
#[derive(Debug)]
pub struct BoundedBuffer {
    permit: Permit,
    bytes: BytesMut,
    bytes_max: usize,
}

impl BoundedBuffer {
    /// Nothing yet, and at most `bytes_max`.
    pub fn new(budget: &Budget, bytes_max: usize) -> BoundedBuffer {
        let permit = Permit { shared: budget.shared.clone(), amount: 0 };
        BoundedBuffer { permit, bytes: BytesMut::new(), bytes_max }
    }

    /// Puts `piece` behind what is there, when the budget has room for it within its wait.
    ///
    /// More than `bytes_max` in all is a bug of the caller (asserted).
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), EngineError> {
        let wanted = self.bytes.len() + piece.len();
        assert!(wanted <= self.bytes_max, "more bytes than announced");
        if self.permit.amount < wanted {
            let step = wanted.max(2 * self.permit.amount).max(BUFFER_STEP_BYTES).min(self.bytes_max);
            self.permit.grow_wait(step - self.permit.amount).await?;
            self.bytes.reserve(step - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes with their permit.
    pub fn finish(self) -> Bytes {
        self.permit.bind(self.bytes.freeze())
    }
}

/// The budgets of one core.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is named after its limit")]
pub struct CoreMemory {
    pub small_bodies: Budget,
    pub documents: Budget,
    pub answers: Budget,
    pub downloads: Budget,
    pub uploads: Budget,
    pub listings: Budget,
    pub connections: Budget,
}

/// Which clients hold what others are refused for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Those who send a body.
    pub bodies: bool,
    /// Those who take an answer.
    pub answers: bool,
}

impl CoreMemory {
    /// Empty budgets of these sizes.
    pub fn new(plan: &MemoryPlan) -> CoreMemory {
        CoreMemory {
            small_bodies: Budget::new("SMALL_BODY_BYTES_MAX", plan.small_body_bytes),
            documents: Budget::new("DOCUMENT_BYTES_MAX", plan.document_bytes),
            answers: Budget::new("ANSWER_BYTES_MAX", plan.answer_bytes),
            downloads: Budget::new("DOWNLOAD_BYTES_MAX", plan.download_bytes),
            uploads: Budget::new("UPLOAD_BYTES_MAX", plan.upload_bytes),
            listings: Budget::new("LISTINGS_MAX", plan.listings),
            connections: Budget::new("CONNECTIONS_MAX", plan.connections),
        }
    }

    /// All of them.
    pub fn all(&self) -> [&Budget; 7] {
        [
            &self.small_bodies,
            &self.documents,
            &self.answers,
            &self.downloads,
            &self.uploads,
            &self.listings,
            &self.connections,
        ]
    }

    /// What was short since the last call.
    pub fn take_shortage(&self) -> Shortage {
        // Each is asked, so that none keeps its mark.
        let bodies = [&self.small_bodies, &self.documents, &self.uploads].map(Budget::take_shortage);
        let answers = [&self.answers, &self.downloads].map(Budget::take_shortage);
        Shortage { bodies: bodies.contains(&true), answers: answers.contains(&true) }
    }
}

/// How much of everything one core may permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its limit")]
pub struct MemoryPlan {
    pub arena_bytes: usize,
    pub heap_bytes: usize,
    pub small_body_bytes: usize,
    pub document_bytes: usize,
    pub answer_bytes: usize,
    pub download_bytes: usize,
    pub upload_bytes: usize,
    pub listings: usize,
    pub connections: usize,
}

impl MemoryPlan {
    /// The limits as they stand.
    pub fn full() -> MemoryPlan {
        let ArenaConfig { region_bytes, heap_bytes_max } = ArenaConfig::default();
        MemoryPlan {
            arena_bytes: region_bytes,
            heap_bytes: heap_bytes_max,
            small_body_bytes: SMALL_BODY_BYTES_MAX,
            document_bytes: DOCUMENT_BYTES_MAX,
            answer_bytes: ANSWER_BYTES_MAX,
            download_bytes: DOWNLOAD_BYTES_MAX,
            upload_bytes: UPLOAD_BYTES_MAX,
            listings: LISTINGS_MAX,
            connections: CONNECTIONS_MAX,
        }
    }

    /// The part of the limits that fits: requests of all cores together get half of `process_bytes`; the rest is for
    /// index, caches, logs and the program. Never below what serves a few requests at a time.
    pub fn of(process_bytes: u64, cores: usize) -> MemoryPlan {
        let full = MemoryPlan::full();
        let share = process_bytes / 2 / cores.max(1) as u64;
        let part = |max: usize, min: usize| {
            let scaled = u128::from(share) * max as u128 / full.bytes() as u128;
            usize::try_from(scaled).unwrap_or(usize::MAX).clamp(min.min(max), max)
        };
        const MIB: usize = 1 << 20;
        MemoryPlan {
            arena_bytes: part(full.arena_bytes, 8 * MIB),
            heap_bytes: part(full.heap_bytes, 8 * MIB),
            small_body_bytes: part(full.small_body_bytes, MIB),
            document_bytes: part(full.document_bytes, 8 * MIB),
            answer_bytes: part(full.answer_bytes, 4 * MIB),
            download_bytes: part(full.download_bytes, 4 * MIB),
            upload_bytes: part(full.upload_bytes, 4 * MIB),
            listings: part(full.listings, 4),
            connections: part(full.connections, 64),
        }
    }

    /// What the core's arena may use.
    pub fn arena(&self) -> ArenaConfig {
        ArenaConfig { region_bytes: self.arena_bytes, heap_bytes_max: self.heap_bytes }
    }

    /// Bytes that requests of the core can come to permit. Downloads and uploads are in buffers of arena and heap.
    pub fn bytes(&self) -> usize {
        let buffers = self.arena_bytes + self.heap_bytes;
        let bodies = self.small_body_bytes + self.document_bytes + self.answer_bytes;
        buffers + bodies + self.connections * CONNECTION_BYTES
    }
}

/// Bytes that a JSON document takes, text and values together, without parsing it.
pub fn document_cost(json: &[u8]) -> usize {
    let (mut values, mut in_text, mut escaped) = (1_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b':' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    json.len().saturating_add(values.saturating_mul(DOCUMENT_VALUE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        let budget = Budget::new("X", 10);
        let mut first = budget.try_take(6).expect("room");
        assert!(budget.try_take(5).is_none());
        assert!(budget.take_shortage() && !budget.take_shortage());
        assert!(first.grow(4) && !first.grow(1));
        let bytes = first.bind(Bytes::from_static(b"abc"));
        let slice = bytes.slice(1..2);
        drop(bytes);
        assert_eq!(budget.used(), 10, "a slice keeps all");
        drop(slice);
        let over = budget.force_acquire(11);
        assert_eq!((budget.used(), over.amount()), (11, 11));
        drop(over);
        assert_eq!(budget.refuse(), EngineError::Busy { limit: "X", max: 10 });
        let facts = BudgetFacts { name: "X", max: 10, used: 0, peak: 10, refused: 1 };
        assert_eq!(budget.facts(), facts);
    }

    #[test]
    fn plans_fit_the_memory_there_is() {
        const MIB: u64 = 1 << 20;
        assert_eq!(MemoryPlan::of(64 << 30, 4), MemoryPlan::full());
        for (process_mib, cores) in [(512, 1), (512, 2), (1024, 2), (4096, 4), (4096, 64)] {
            let plan = MemoryPlan::of(process_mib * MIB, cores);
            let share = process_mib * MIB / 2 / cores as u64;
            let least = MemoryPlan::of(0, 1).bytes() as u64;
            assert!(plan.bytes() as u64 <= share + least, "{process_mib} MiB, {cores} cores: {plan:?}");
            let buffers = plan.arena_bytes + plan.heap_bytes;
            assert!(
                plan.download_bytes + plan.upload_bytes < buffers,
                "nothing left for the drives: {plan:?}"
            );
        }
        assert!(MemoryPlan::of(0, 64).bytes() < 48 << 20);
    }

    #[test]
    fn cost_of_documents() {
        let check = |json: &str, values: usize| {
            assert_eq!(document_cost(json.as_bytes()), json.len() + values * DOCUMENT_VALUE_BYTES, "{json}");
        };
        check("", 1);
        check("[1,2,3]", 4);
        check(r#"{"a,b":"c\":[","d":{}}"#, 6);
    }
}
