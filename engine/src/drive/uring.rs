//! The real drive: a file or block device, opened with O_DIRECT on one core's io_uring.
//! The server locks its drives once (`file`), makes one [`Ring`] per core (`ring`), and opens every drive on it.
//!
//! I1. An operation is handed to the ring by the call; its future only waits for it. I2. A drive that was given up for
//! writing takes nothing but reads. I3. Everything here stays on the thread that made the ring.

use std::fmt;
use std::future::Future;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use super::buffer::Buffer;
use super::file::{DriveLock, OpenError, Opened, open_direct};
use super::ops::{Kind, Op, State, TRANSFER_BYTES_MAX, Target};
use super::ring::{Ring, RingState};
use super::{Drive, DriveCounters, Durability, assert_range};
use crate::error::{DriveCause, DriveError};
use crate::units::DriveOffset;

/// One drive on one core's ring.
pub struct UringDrive {
    ring: Rc<RingState>,
    file: Rc<Target>,
    size: u64,
    lock: DriveLock,
    is_block_device: bool,
}

impl UringDrive {
    /// Opens the drive that `lock` holds for the core of `ring`.
    pub fn open(lock: &DriveLock, ring: &Rc<Ring>) -> Result<Rc<UringDrive>, OpenError> {
        let Opened { file, size, is_block_device } = open_direct(lock)?;
        let ring = Rc::clone(&ring.shared);
        let slot = ring.register_file(file.as_raw_fd());
        let file = Rc::new(Target { file, lock: lock.clone(), slot });
        Ok(Rc::new(UringDrive { ring, file, size, lock: lock.clone(), is_block_device }))
    }

    fn start(&self, kind: Kind, at: DriveOffset, bytes: u64, buffer: Option<Buffer>) -> Running {
        assert!(
            bytes <= TRANSFER_BYTES_MAX || buffer.is_none(),
            "a transfer of {bytes} bytes is over the limit"
        );
        let refused = kind.writes() && self.lock.is_failed();
        let op = Op {
            kind,
            file: Rc::clone(&self.file),
            at,
            bytes,
            done: 0,
            buffer,
            retries: 0,
            state: if refused { State::Done(Err(DriveCause::Failed)) } else { State::Waiting(None) },
            dropped: false,
        };
        let slot = self.ring.start(op);
        Running { ring: Rc::clone(&self.ring), slot: Some(slot), lock: self.lock.clone(), kind, at, bytes }
    }
}

impl fmt::Debug for UringDrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringDrive").field("name", &self.lock.name()).field("size", &self.size).finish()
    }
}

impl Drive for UringDrive {
    fn read(
        &self,
        at: DriveOffset,
        buf: Buffer,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        assert_range(at, buf.len() as u64, self.size);
        let bytes = buf.len() as u64;
        Box::pin(with_buffer(self.start(Kind::Read, at, bytes, Some(buf))))
    }

    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        durability: Durability,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        assert_range(at, buf.len() as u64, self.size);
        let bytes = buf.len() as u64;
        Box::pin(with_buffer(self.start(Kind::Write(durability), at, bytes, Some(buf))))
    }

    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(without_buffer(self.start(Kind::Flush, DriveOffset(0), 0, None)))
    }

    fn allocate(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        assert_range(at, bytes, self.size);
        if self.is_block_device {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(without_buffer(self.start(Kind::Allocate, at, bytes, None)))
    }

    fn is_preallocated(&self) -> bool {
        self.is_block_device
    }

    fn trim(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        assert_range(at, bytes, self.size);
        Box::pin(without_buffer(self.start(Kind::Trim, at, bytes, None)))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn name(&self) -> Arc<str> {
        self.lock.name()
    }

    fn counters(&self) -> DriveCounters {
        self.lock.counters()
    }
}

async fn with_buffer(running: Running) -> (Buffer, Result<(), DriveError>) {
    let (buffer, result) = running.await;
    (buffer.expect("read and write were started with a buffer, and `Op` keeps it"), result)
}

async fn without_buffer(running: Running) -> Result<(), DriveError> {
    running.await.1
}

/// A started operation, waited for.
struct Running {
    ring: Rc<RingState>,
    /// `None` once the result was taken.
    slot: Option<usize>,
    lock: DriveLock,
    kind: Kind,
    at: DriveOffset,
    bytes: u64,
}

impl Future for Running {
    type Output = (Option<Buffer>, Result<(), DriveError>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.expect("not polled again after it resolved");
        let Some((buffer, result)) = self.ring.poll(slot, cx) else { return Poll::Pending };
        self.slot = None;
        let result = result.map_err(|cause| DriveError {
            drive: self.lock.name(),
            op: self.kind.op(),
            at: self.at,
            bytes: self.bytes,
            cause,
        });
        Poll::Ready((buffer, result))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.ring.abandon(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::file::lock_drive;
    use crate::drive::file::tests::{TestFile, shrink};
    use crate::drive::{Arena, ArenaConfig, RingConfig};
    use crate::error::DriveOp;
    use crate::rt::{self, RtConfig};

    /// Runs `test` on a core with a fresh drive of 16 MiB.
    fn check<Fut: Future<Output = ()> + 'static>(
        name: &str,
        config: RingConfig,
        test: impl Fn(Rc<Ring>, Rc<UringDrive>, Arena) -> Fut + Send + Clone + 'static,
    ) {
        let file = TestFile::new(name, 16 << 20);
        let lock = lock_drive(&file.0).expect("nobody else uses it");
        let cores = rt::start(1, RtConfig::server(), move |_| {
            let (lock, test) = (lock.clone(), test.clone());
            async move {
                let arena = Arena::new(ArenaConfig::default()).expect("address space");
                let ring = Ring::new(&arena, config).expect("io_uring");
                let drive = UringDrive::open(&lock, &ring).expect("O_DIRECT in the target directory");
                assert_eq!(drive.size(), 16 << 20);
                test(ring, drive, arena).await;
            }
        });
        for core in cores.expect("cores start").join() {
            core.expect("no panic");
        }
    }

    fn filled(arena: &Arena, bytes: usize, mark: u8) -> Buffer {
        let mut buffer = arena.take(bytes).expect("room");
        buffer.set_len(bytes);
        for (at, byte) in (0_u8..=250).cycle().zip(buffer.as_mut_slice()) {
            *byte = at ^ mark;
        }
        buffer
    }

    fn empty(arena: &Arena, bytes: usize) -> Buffer {
        let mut buffer = arena.take(bytes).expect("room");
        buffer.set_len_for_read(bytes);
        buffer
    }

    async fn round_trip(ring: Rc<Ring>, drive: Rc<UringDrive>, arena: Arena) {
        drive.allocate(DriveOffset(0), 1 << 20).await.expect("space");
        for (mark, (at, bytes, durability)) in (1_u8..).zip([
            (0, 4096, Durability::OnReturn),
            (4096, 8192, Durability::AfterFlush),
            (1 << 20, 1 << 20, Durability::OnReturn),
            (65536, 135_168, Durability::AfterFlush),
        ]) {
            let at = DriveOffset(at);
            let (buffer, written) = drive.write(at, filled(&arena, bytes, mark), durability).await;
            written.expect("written");
            assert_eq!(buffer.len(), bytes);
            let (read, result) = drive.read(at, empty(&arena, bytes)).await;
            result.expect("read");
            assert_eq!(read.as_slice(), buffer.as_slice(), "{bytes} bytes at {at}");
        }
        drive.flush().await.expect("flushed");
        drive.trim(DriveOffset(1 << 20), 1 << 20).await.expect("trimmed");
        // From the heap, beyond what the arena has in one piece.
        let (large, written) =
            drive.write(DriveOffset(2 << 20), filled(&arena, 3 << 20, 9), Durability::OnReturn).await;
        written.expect("written");
        let (read, result) = drive.read(DriveOffset(2 << 20), empty(&arena, 3 << 20)).await;
        result.expect("read");
        assert!(read.as_slice() == large.as_slice());
        ring.drained().await;
        assert_eq!(ring.in_flight(), 0);
        let bytes = 4096 + 8192 + (1 << 20) + 135_168 + (3 << 20);
        let counted = DriveCounters {
            reads: 5,
            read_bytes: bytes,
            writes: 5,
            written_bytes: bytes,
            durable_writes: 3,
            flushes: 1,
            trims: 1,
            errors: 0,
        };
        assert_eq!(drive.counters(), counted);
    }

    #[test]
    fn bytes_come_back() {
        check("registered", RingConfig::default(), |ring, drive, arena| async move {
            round_trip(Rc::clone(&ring), drive, arena).await;
            let facts = ring.facts();
            assert!(0 < facts.registered_bytes || facts.registration_refused.is_some(), "{facts:?}");
        });
        check(
            "plain",
            RingConfig { register_buffers: false, ..RingConfig::default() },
            |ring, drive, arena| async move {
                round_trip(Rc::clone(&ring), drive, arena).await;
                assert_eq!(ring.facts().registered_bytes, 0);
            },
        );
    }

    #[test]
    fn many_operations_share_calls() {
        check("many", RingConfig { depth: 8, ..RingConfig::default() }, |ring, drive, arena| async move {
            let (block, written) =
                drive.write(DriveOffset(0), filled(&arena, 64 << 10, 3), Durability::AfterFlush).await;
            written.expect("written");
            for _ in 0..10 {
                let reads: Vec<_> = (0..200_u64)
                    .map(|n| drive.read(DriveOffset(n % 16 * 4096), empty(&arena, 4096)))
                    .collect();
                assert_eq!(ring.in_flight(), 200);
                for (n, read) in reads.into_iter().enumerate() {
                    let (buffer, result) = read.await;
                    result.expect("read");
                    let from = n % 16 * 4096;
                    assert_eq!(buffer.as_slice(), &block.as_slice()[from..from + 4096]);
                }
            }
            let facts = ring.facts();
            assert_eq!(facts.submitted, 2_001);
            assert!(facts.submit_calls < facts.submitted, "{facts:?}");
        });
    }

    #[test]
    fn dropped_futures_give_their_buffers_back() {
        check("dropped", RingConfig::default(), |ring, drive, arena| async move {
            let (_, written) =
                drive.write(DriveOffset(0), filled(&arena, 1 << 20, 3), Durability::AfterFlush).await;
            written.expect("written");
            for round in 0..50 {
                let mut reads: Vec<_> =
                    (0..20).map(|_| drive.read(DriveOffset(0), empty(&arena, 1 << 20))).collect();
                if round % 2 == 0 {
                    // Let the kernel have them first.
                    rt::yield_now().await;
                }
                reads.truncate(3);
                for read in reads {
                    let (buffer, result) = read.await;
                    result.expect("read");
                    assert_eq!(buffer.as_slice()[..3], [3, 2, 1]);
                }
            }
            ring.drained().await;
            assert_eq!(arena.facts().heap_bytes, 0);
        });
    }

    #[test]
    fn the_last_handle_waits_for_the_kernel() {
        check("last", RingConfig::default(), |ring, drive, arena| async move {
            let reads: Vec<_> = (0..20).map(|_| drive.read(DriveOffset(0), empty(&arena, 1 << 20))).collect();
            rt::yield_now().await;
            drop(reads);
            drop((ring, drive));
            assert_eq!(arena.facts().heap_bytes, 0);
        });
    }

    #[test]
    fn the_end_of_a_file_that_shrank_is_an_error() {
        let file = TestFile::new("shrunk", 1 << 20);
        let path = file.0.clone();
        let lock = lock_drive(&path).expect("nobody else uses it");
        let cores = rt::start(1, RtConfig::server(), move |_| {
            let (path, lock) = (path.clone(), lock.clone());
            async move {
                let arena = Arena::new(ArenaConfig::default()).expect("address space");
                let ring = Ring::new(&arena, RingConfig::default()).expect("io_uring");
                let drive = UringDrive::open(&lock, &ring).expect("O_DIRECT in the target directory");
                shrink(&path, 8192);
                let (buffer, result) = drive.read(DriveOffset(0), empty(&arena, 65536)).await;
                let error = result.expect_err("only two blocks are left");
                assert_eq!(error.cause, DriveCause::Short { got: 8192 });
                assert_eq!((error.op, error.bytes, buffer.len()), (DriveOp::Read, 65536, 0));
            }
        });
        for core in cores.expect("cores start").join() {
            core.expect("no panic");
        }
    }

    #[test]
    fn a_given_up_drive_still_reads() {
        check("failed", RingConfig::default(), |_, drive, arena| async move {
            drive.lock.fail();
            let (buffer, result) =
                drive.write(DriveOffset(0), filled(&arena, 4096, 1), Durability::OnReturn).await;
            assert_eq!(result.expect_err("given up").cause, DriveCause::Failed);
            assert_eq!(buffer.len(), 4096);
            assert_eq!(drive.flush().await.expect_err("given up").cause, DriveCause::Failed);
            drive.read(DriveOffset(0), empty(&arena, 4096)).await.1.expect("read");
        });
    }
}
