//! Every bound of the engine, with its unit and what happens when it is reached.
//!
//! A bound that a client can reach gives [`EngineError::TooLarge`](crate::EngineError::TooLarge) or
//! [`EngineError::Busy`](crate::EngineError::Busy) with its name; `docs/limits.md` lists them for operators.

use crate::units::{BLOCK_BYTES, UNIT_BYTES};

/// Bytes of an object key, as in S3.
pub const KEY_BYTES_MAX: usize = 1024;

/// Bytes of the key of a value that the layer above keeps.
pub const VALUE_KEY_BYTES_MAX: usize = 32 * 1024;

/// Bytes of an object that is kept in the log record itself; larger ones go to extents.
pub const INLINE_BYTES_MAX: u64 = 128 * 1024;

/// Bytes of one upload as they are stored: a whole object, or one part of a multipart upload (S3: 5 GiB, and what frames of
/// encrypted bytes may take).
pub const BLOB_BYTES_MAX: u64 = (5 << 30) + (2 << 20);

/// Parts of one multipart upload, as in S3.
pub const PARTS_MAX: u16 = 10_000;

/// Bytes of an object put together from parts, as they are stored (S3: 5 TiB, and what frames of encrypted bytes may take).
pub const OBJECT_BYTES_MAX: u64 = (5 << 40) + (2 << 30);

/// Bytes of the attributes kept with an object (content type, user metadata, checksums).
pub const ATTRIBUTES_BYTES_MAX: usize = 32 * 1024;

/// Bytes of one setting of a bucket. What is larger belongs into the values of its owner.
pub const SETTING_BYTES_MAX: usize = 32 * 1024;

/// Bytes of all settings of a bucket as they are stored. Every core keeps them for every bucket.
pub const SETTINGS_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one log record. A record is written whole in one log block.
pub const RECORD_BYTES_MAX: usize = 2 << 20;

/// Bytes that a shard gathers into one log block before it closes it, unless one record alone is larger.
pub const LOG_BLOCK_BYTES_MAX: usize = 1 << 20;

/// Bytes of records that may wait for the log of one shard; beyond that a write is refused as busy.
pub const LOG_PENDING_BYTES_MAX: usize = 16 << 20;

/// How long a write waits for room in its shard's log before it is refused as busy, in milliseconds.
pub const LOG_WAIT_MS_MAX: u64 = 10_000;

/// Longest time a shard waits for more records while several writers are known to be active, in microseconds.
pub const COMMIT_DELAY_US_MAX: u64 = 1_000;

/// Buckets of one store.
pub const BUCKETS_MAX: usize = 10_000;

/// Multipart uploads that one shard keeps open.
pub const UPLOADS_MAX: usize = 100_000;

/// How long a completed upload is remembered, in milliseconds: until then its completion may be repeated.
pub const COMPLETION_LIFE_MS: u64 = 24 * 3_600 * 1_000;

/// Completed uploads that one bucket remembers; beyond that the oldest are forgotten.
pub const COMPLETIONS_MAX: usize = 10_000;

/// Completed uploads that one record forgets, at most.
pub const COMPLETIONS_FORGOTTEN_MAX: usize = 8;

/// Completed uploads that one record forgets when their time has passed and a checkpoint is due.
pub const COMPLETIONS_SWEPT_MAX: usize = 256;

/// Bytes of what is remembered of a completed upload.
pub const RECEIPT_BYTES_MAX: usize = 256;

/// Uploads of a deleted bucket that one record ends.
pub const UPLOADS_ENDED_MAX: usize = 64;

/// Keys of one listing page.
pub const LIST_KEYS_MAX: usize = 1_000;

/// Messages that may wait in one core's mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 4_096;

/// How long a caller waits for room in a full mailbox before it is refused, in milliseconds.
pub const MAILBOX_WAIT_MS_MAX: u64 = 1_000;

/// How long a caller waits for a buffer of its core before it is refused, in milliseconds.
pub const BUFFER_WAIT_MS_MAX: u64 = 10_000;

/// Log bytes of one shard behind its newest checkpoint before the next is taken; a twelfth of the shard's part of the
/// drive when that is less.
pub const CHECKPOINT_LOG_BYTES_MAX: u64 = 256 << 20;

/// Log records of one shard behind its newest checkpoint before the next is taken.
pub const CHECKPOINT_RECORDS_MAX: u64 = 200_000;

/// Small objects that one round of cleaning moves.
pub const CLEAN_CELLS_MAX: usize = 65_536;

/// Damaged units of one shard that a scrub keeps for its report; more are only counted.
pub const SCRUB_REPORT_MAX: usize = 1_000;

/// Shards of one store.
pub const SHARDS_MAX: u16 = 64;

/// Smallest zone, in bytes: between its two headers an extent zone must have room for a unit of 64 KiB.
pub const ZONE_BYTES_MIN: u64 = 128 << 10;

/// Largest zone, in bytes.
pub const ZONE_BYTES_MAX: u64 = 256 << 20;

/// Largest piece of data in one drive request, in bytes.
pub const IO_BYTES_MAX: usize = 1 << 20;

/// Drive requests that one upload or download keeps in flight.
pub const IO_DEPTH_PER_STREAM: usize = 4;

const _: () = {
    let small = ATTRIBUTES_BYTES_MAX + KEY_BYTES_MAX;
    assert!(INLINE_BYTES_MAX < (LOG_BLOCK_BYTES_MAX - small) as u64);
    assert!(LOG_BLOCK_BYTES_MAX <= RECORD_BYTES_MAX);
    assert!(UNIT_BYTES <= ZONE_BYTES_MIN - 2 * BLOCK_BYTES);
};
