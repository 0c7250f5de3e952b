//! A drive: a row of 4 KiB blocks that is read, written and flushed with direct I/O.
//! The log, the extents and the superblock use it through the trait [`Drive`]; `uring` is the real one, and
//! `platform::simulated` has one in memory.
//!
//! What the words mean, for every implementation:
//!
//! * **Started.** An operation is handed to the drive by the *call*, not by the first poll of its future: a caller
//!   that keeps several futures in a queue has that many operations in flight. They may complete in any order.
//! * **Durable.** The bytes of a write with [`Durability::OnReturn`], and of every write that *completed before* a flush was
//!   started, survive loss of power once the future of that write or flush resolved with `Ok`. A plain write that
//!   resolved is readable, nothing more.
//! * **Failed.** After an error the blocks of a write hold the old bytes, the new ones or a mixture, block by block.
//!   After a failed flush or a failed durable write nobody knows what reached the medium: the drive is given up for
//!   writing ([`DriveCause::Failed`]) until the process is started again. Reads still work.
//! * **Dropped.** Dropping the future before it resolves neither undoes nor waits: the operation may or may not
//!   happen. The operation owns the buffer until the kernel is done with it, so no memory is freed under it.
//!
//! Offsets and lengths are multiples of [`BLOCK_BYTES`] inside the drive, and no length is 0: anything else is a bug
//! of the caller and asserted.

pub mod buffer;
mod uring;
pub mod ring;
mod ops;
mod task_notify;
mod file;
pub mod probe;
pub mod offline;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::error::DriveError;
use crate::units::{BLOCK_BYTES, DriveOffset};

#[cfg(doc)]
use crate::error::DriveCause;

pub(crate) use buffer::block_buffer;
pub use buffer::{Arena, ArenaConfig, ArenaFacts, Buffer};
pub use file::{DriveLock, OpenError, OpenFault, create_file, lock_drive};
pub use ring::{Ring, RingConfig, RingFacts};
pub use uring::UringDrive;

/// What one drive did since it was locked, on all cores. Only operations that succeeded count, but for `errors`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriveCounters {
    /// Reads.
    pub reads: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Writes, durable ones included.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// Writes that were durable by themselves; a drive that has no such thing flushes once for each.
    pub durable_writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Ranges released.
    pub trims: u64,
    /// Operations that failed.
    pub errors: u64,
}

/// When the bytes of a write survive loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once the future of the write resolved with `Ok`.
    OnReturn,
    /// Once a [`Drive::flush`] that was started after the write resolved did so as well; until then they can only be read.
    AfterFlush,
}

/// A row of blocks. One value per core and drive; it stays on its core.
pub trait Drive: 'static {
    /// Fills all of `buf` (its length says how much) from `at` on.
    ///
    /// After an error the buffer comes back with length 0.
    fn read(&self, at: DriveOffset, buf: Buffer)
    -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)>;

    /// Writes all of `buf` to `at`.
    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        durability: Durability,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)>;

    /// Makes every write that completed before this call durable.
    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>>;

    /// Makes sure that writes to the range cannot fail for lack of space below the drive (`ENOSPC` now, not later).
    ///
    /// Nothing to do on a block device. Bytes that were never written read as zero.
    fn allocate(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>>;

    /// Whether space that was never written is as quick to write as any other: no file system has to lay it out.
    fn is_preallocated(&self) -> bool {
        false
    }

    /// Says that the range is not needed any more. Best effort: a drive that cannot do it answers `Ok`.
    ///
    /// What the range reads as afterwards is not defined.
    fn trim(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>>;

    /// Bytes of the drive, a multiple of [`BLOCK_BYTES`].
    fn size(&self) -> u64;

    /// The path it was opened with.
    fn name(&self) -> Arc<str>;

    /// What was done on the drive; all zero from one that does not count.
    fn counters(&self) -> DriveCounters {
        DriveCounters::default()
    }
}

/// Asserts what every implementation may rely on.
pub(crate) fn assert_range(at: DriveOffset, bytes: u64, size: u64) {
    assert!(at.is_block_aligned(), "{at} is not block aligned");
    assert!(bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are not whole blocks");
    assert!(0 < bytes, "an empty transfer at {at}");
    assert!(
        at.0.checked_add(bytes).is_some_and(|end| end <= size),
        "{bytes} bytes at {at} end behind {size}"
    );
}
