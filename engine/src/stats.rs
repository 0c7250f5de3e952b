//! Counters of one shard, for metrics. Written by the shard's core, read by any; each is a plain relaxed atomic.
#![expect(clippy::disallowed_types, reason = "one text, written when a shard fails: never on the data path")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::error::EngineError;
use crate::units::ShardId;

/// What one shard did since the start, and what it holds.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names say it; units are last")]
pub struct ShardStats {
    pub log_blocks: AtomicU64,
    pub log_records: AtomicU64,
    pub log_bytes: AtomicU64,
    pub log_write_us: AtomicU64,
    pub objects: AtomicU64,
    pub object_bytes: AtomicU64,
    pub free_extent_bytes: AtomicU64,
    pub read_bytes: AtomicU64,
    pub corrupt_units: AtomicU64,
    pub checkpoints: AtomicU64,
    pub page_bytes: AtomicU64,
    pub moved_bytes: AtomicU64,
    pub zones_released: AtomicU64,
    pub maintenance_errors: AtomicU64,
    pub index_bytes: AtomicU64,
    pub scrub_units: AtomicU64,
    pub scrub_bytes: AtomicU64,
    pub scrub_damaged_units: AtomicU64,
    pub scrub_passes: AtomicU64,
    pub scrub_pass_bytes: AtomicU64,
    /// Changes that a quota refused.
    pub over_quota: AtomicU64,
    pub read_only: AtomicBool,
    /// Why the shard is read-only; set once.
    pub failure: FailureText,
}

/// The first failure of a shard, kept for operators.
#[derive(Debug, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "written once, when the shard has already failed: never on the data path"
)]
pub struct FailureText(Mutex<Option<String>>);

impl FailureText {
    /// Keeps the first text given.
    pub fn set(&self, text: String) {
        if let Ok(mut kept) = self.0.lock() {
            kept.get_or_insert(text);
        }
    }

    /// The text kept.
    pub fn text(&self) -> Option<String> {
        self.0.lock().ok().and_then(|kept| kept.clone())
    }
}

impl ShardStats {
    pub(crate) fn log_written(&self, records: u64, bytes: u64, write_us: u64) {
        self.log_blocks.fetch_add(1, Relaxed);
        self.log_records.fetch_add(records, Relaxed);
        self.log_bytes.fetch_add(bytes, Relaxed);
        self.log_write_us.fetch_add(write_us, Relaxed);
    }

    /// Notes that the shard failed by itself, and why.
    pub(crate) fn failed(&self, shard: ShardId, drive: &str, error: &EngineError) {
        self.note_read_only(format!("{shard}, drive {drive}: {error}"));
    }

    /// Notes that the shard is read-only; the first reason given stays.
    pub(crate) fn note_read_only(&self, why: String) {
        self.read_only.store(true, Relaxed);
        self.failure.set(why);
    }
}
