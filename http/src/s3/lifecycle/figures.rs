//! What lifecycles did and how far they are: counters for metrics, and what a page shows of each bucket.
//!
//! Runners of all cores count into one [`LifecycleFigures`]; the progress of a bucket lies with its owner's shard, where
//! [`progress_of`] asks for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use nilas_engine::{Bucket, BucketId, Engine, EngineError, Expired, ValueOwner};

/// Counters of all cores together.
#[derive(Debug, Default)]
pub struct LifecycleFigures {
    /// Current objects removed.
    pub current: AtomicU64,
    /// Current objects that got a delete marker on top.
    pub marked: AtomicU64,
    /// Noncurrent objects removed.
    pub noncurrent: AtomicU64,
    /// Delete markers removed.
    pub markers: AtomicU64,
    /// Uploads ended.
    pub uploads: AtomicU64,
    /// Bytes of the objects removed.
    pub bytes: AtomicU64,
    /// Versions that a lock kept.
    pub locked: AtomicU64,
    /// Versions and uploads that stay because they lie in the location of a table.
    pub in_tables: AtomicU64,
    /// Versions and uploads looked at.
    pub looked: AtomicU64,
    /// Passes that failed and begin again.
    pub errors: AtomicU64,
    /// Passes that ended.
    pub passes: AtomicU64,
    /// Passes at work.
    pub open: AtomicU64,
    /// When the last pass ended, milliseconds since 1970.
    pub last_end_ms: AtomicU64,
}

impl LifecycleFigures {
    pub(super) fn add(&self, counts: &Counts) {
        for (counter, count) in [
            (&self.current, counts.current),
            (&self.marked, counts.marked),
            (&self.noncurrent, counts.noncurrent),
            (&self.markers, counts.markers),
            (&self.uploads, counts.uploads),
            (&self.bytes, counts.bytes),
            (&self.locked, counts.locked),
            (&self.in_tables, counts.in_tables),
            (&self.looked, counts.looked),
        ] {
            counter.fetch_add(count, Relaxed);
        }
    }
}

/// What a pass, or a step of it, came to; or what it would come to now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `LifecycleFigures`")]
pub struct Counts {
    pub current: u64,
    pub marked: u64,
    pub noncurrent: u64,
    pub markers: u64,
    pub uploads: u64,
    pub bytes: u64,
    pub locked: u64,
    pub in_tables: u64,
    pub looked: u64,
}

impl Counts {
    /// Versions and uploads that are gone.
    pub fn removed(&self) -> u64 {
        self.current + self.marked + self.noncurrent + self.markers + self.uploads
    }

    pub(super) fn add(&mut self, other: &Counts) {
        self.current += other.current;
        self.marked += other.marked;
        self.noncurrent += other.noncurrent;
        self.markers += other.markers;
        self.uploads += other.uploads;
        self.bytes += other.bytes;
        self.locked += other.locked;
        self.in_tables += other.in_tables;
        self.looked += other.looked;
    }
}

impl From<Expired> for Counts {
    fn from(expired: Expired) -> Counts {
        let Expired { current, marked, noncurrent, markers, bytes, locked, next: _ } = expired;
        Counts { current, marked, noncurrent, markers, bytes, locked, ..Counts::default() }
    }
}

/// How far the lifecycle of a bucket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether a pass is at work.
    pub is_running: bool,
    /// When the newest pass began, milliseconds since 1970; 0: none did since the start.
    pub began_ms: u64,
    /// When the last one ended, milliseconds since 1970; 0: none did since the start.
    pub ended_ms: u64,
    /// Whether the newest pass went on where the last process was.
    pub resumed: bool,
    /// What the newest pass came to so far.
    pub counts: Counts,
    /// Why the newest pass did not go on.
    pub last_error: Option<String>,
}

/// Progress of the buckets of one shard.
#[derive(Debug, Default)]
struct States(RefCell<BTreeMap<BucketId, Progress>>);

/// Keeps, or with `None` forgets, how far a bucket is, with its owner.
pub(super) async fn keep_progress(
    engine: &Engine,
    bucket: &Bucket,
    progress: Option<Progress>,
) -> Result<(), EngineError> {
    let keep = move |bucket: nilas_engine::LocalBucket| async move {
        let states = bucket.extension::<States>();
        let mut states = states.0.borrow_mut();
        match progress {
            Some(progress) => drop(states.insert(bucket.id(), progress)),
            None => drop(states.remove(&bucket.id())),
        }
    };
    engine.on_bucket(bucket, ValueOwner::Jobs, keep).await
}

/// How far a bucket is; `None` when its owner has not looked at it yet.
pub(crate) async fn progress_of(engine: &Engine, bucket: &Bucket) -> Result<Option<Progress>, EngineError> {
    let ask = |bucket: nilas_engine::LocalBucket| async move {
        bucket.extension::<States>().0.borrow().get(&bucket.id()).cloned()
    };
    engine.on_bucket(bucket, ValueOwner::Jobs, ask).await
}
