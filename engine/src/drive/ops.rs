//! One operation of a real drive: what it is to do, its form for the kernel, and what the kernel's answers mean for it.
//!
//! `uring` starts operations, `ring` keeps them in [`Ops`] while the kernel has them. I1. An operation that the kernel has
//! seen owns its buffer and its file until its completion was read. Nothing here calls the kernel.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use io_uring::{opcode, squeue, types};

use super::Durability;
use super::buffer::Buffer;
use super::file::{Counts, DriveLock};
use crate::error::{DriveCause, DriveOp};
use crate::units::{BLOCK_BYTES, DriveOffset};

/// Bytes of one transfer.
pub(super) const TRANSFER_BYTES_MAX: u64 = 1 << 30;

/// Times an operation is tried again after EAGAIN or EINTR.
const RETRIES_MAX: u8 = 100;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write(Durability),
    Flush,
    Allocate,
    Trim,
}

impl Kind {
    pub(super) fn op(self) -> DriveOp {
        match self {
            Kind::Read => DriveOp::Read,
            Kind::Write(_) => DriveOp::Write,
            Kind::Flush => DriveOp::Flush,
            Kind::Allocate => DriveOp::Allocate,
            Kind::Trim => DriveOp::Trim,
        }
    }

    pub(super) fn writes(self) -> bool {
        self != Kind::Read
    }

    /// Whether an error leaves it unknown what earlier promises are worth.
    pub(super) fn promises(self) -> bool {
        matches!(self, Kind::Flush | Kind::Write(Durability::OnReturn))
    }
}

/// A drive's file on one ring.
pub(super) struct Target {
    pub(super) file: File,
    pub(super) lock: DriveLock,
    /// Its place in the ring's table of files.
    pub(super) slot: Option<u32>,
}

/// An operation that was started and whose result was not taken yet.
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) file: Rc<Target>,
    pub(super) at: DriveOffset,
    pub(super) bytes: u64,
    /// Bytes moved so far.
    pub(super) done: u64,
    pub(super) buffer: Option<Buffer>,
    pub(super) retries: u8,
    pub(super) state: State,
    /// Nobody waits any more: free the place on completion.
    pub(super) dropped: bool,
}

impl Op {
    /// Start and capacity of its buffer.
    pub(super) fn memory(&mut self) -> Option<(*const u8, usize)> {
        self.buffer.as_mut().map(|buffer| (buffer.as_mut_ptr().cast_const(), buffer.capacity()))
    }

    /// The kernel's form of what is left of an operation.
    ///
    /// `index` is the place of its buffer in the kernel's table, if it has one.
    pub(super) fn entry(&mut self, index: Option<u16>) -> squeue::Entry {
        let fd = self.file.file.as_raw_fd();
        let slot = self.file.slot;
        // Every opcode takes either kind of file, but each as a type of its own.
        macro_rules! on_file {
            (|$fd:ident| $build:expr) => {
                match slot {
                    Some(slot) => {
                        let $fd = types::Fixed(slot);
                        $build
                    }
                    None => {
                        let $fd = types::Fd(fd);
                        $build
                    }
                }
            };
        }
        let left = self.bytes - self.done;
        let from = self.at.0 + self.done;
        if let Some(buffer) = &mut self.buffer {
            let start = buffer.as_mut_ptr();
            let skip = usize::try_from(self.done).expect("at most the length of a buffer");
            let memory = start.wrapping_add(skip);
            let len = u32::try_from(left).expect("at most TRANSFER_BYTES_MAX");
            let flags = if self.kind == (Kind::Write(Durability::OnReturn)) { libc::RWF_DSYNC } else { 0 };
            return match (self.kind == Kind::Read, index) {
                (true, Some(index)) => {
                    on_file!(|fd| opcode::ReadFixed::new(fd, memory, len, index).offset(from).build())
                }
                (true, None) => on_file!(|fd| opcode::Read::new(fd, memory, len).offset(from).build()),
                (false, Some(index)) => on_file!(|fd| {
                    opcode::WriteFixed::new(fd, memory, len, index).offset(from).rw_flags(flags).build()
                }),
                (false, None) => {
                    on_file!(|fd| opcode::Write::new(fd, memory, len).offset(from).rw_flags(flags).build())
                }
            };
        }
        match self.kind {
            Kind::Trim => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                on_file!(|fd| opcode::Fallocate::new(fd, left).offset(from).mode(mode).build())
            }
            Kind::Allocate => on_file!(|fd| opcode::Fallocate::new(fd, left).offset(from).build()),
            Kind::Flush | Kind::Read | Kind::Write(_) => {
                on_file!(|fd| opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build())
            }
        }
    }

    /// Counts it on its drive, gives the drive up when a promise was not kept, and empties the buffer of a failed read.
    pub(super) fn note_end(&mut self, result: Result<(), DriveCause>) {
        count(self.file.lock.counts(), self.kind, self.bytes, result.is_ok());
        if result.is_err() && self.kind.promises() {
            self.file.lock.fail();
        }
        if result.is_err() && self.kind == Kind::Read {
            // What is in there is not what was asked for.
            if let Some(buffer) = &mut self.buffer {
                buffer.set_len(0);
            }
        }
    }
}

/// How far it is.
pub(super) enum State {
    Waiting(Option<Waker>),
    Done(Result<(), DriveCause>),
}

/// Operations by slot; the slot is the kernel's `user_data`.
#[derive(Default)]
pub(super) struct Ops {
    slots: Vec<Option<Op>>,
    free: Vec<usize>,
}

impl Ops {
    pub(super) fn insert(&mut self, op: Op) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(op);
                slot
            }
            None => {
                self.slots.push(Some(op));
                self.slots.len() - 1
            }
        }
    }

    pub(super) fn get(&mut self, slot: usize) -> &mut Op {
        self.slots[slot].as_mut().expect("a slot is freed only when neither kernel nor future knows it")
    }

    pub(super) fn remove(&mut self, slot: usize) -> Op {
        self.free.push(slot);
        self.slots[slot].take().expect("as in `get`")
    }
}

/// What comes next for an operation that the kernel has answered.
pub(super) enum Step {
    Again,
    Done(Result<(), DriveCause>),
}

/// What one answer of the kernel means for an operation.
pub(super) fn step(op: &mut Op, result: i32) -> Step {
    if let Ok(moved) = u64::try_from(result) {
        if op.buffer.is_none() {
            return Step::Done(Ok(()));
        }
        op.done += moved;
        if op.done == op.bytes {
            return Step::Done(Ok(()));
        }
        // Nothing moved: the end of the file. A piece of a block: direct I/O cannot go on from there.
        if moved == 0 || !op.done.is_multiple_of(BLOCK_BYTES) {
            return Step::Done(Err(DriveCause::Short { got: op.done }));
        }
        return Step::Again;
    }
    let code = -result;
    match code {
        libc::EINTR | libc::EAGAIN if op.retries < RETRIES_MAX => {
            op.retries += 1;
            Step::Again
        }
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL if op.kind == Kind::Trim => Step::Done(Ok(())),
        // A file system that cannot reserve space: writes will find out.
        libc::EOPNOTSUPP | libc::ENOSYS if op.kind == Kind::Allocate => Step::Done(Ok(())),
        _ => Step::Done(Err(DriveCause::Errno(code))),
    }
}

/// Adds one operation to what its drive did.
fn count(counts: &Counts, kind: Kind, bytes: u64, succeeded: bool) {
    let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    match kind {
        _ if !succeeded => drop(one(&counts.errors)),
        Kind::Read => {
            one(&counts.reads);
            counts.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Kind::Write(durability) => {
            one(&counts.writes);
            counts.written_bytes.fetch_add(bytes, Ordering::Relaxed);
            counts.durable_writes.fetch_add(u64::from(durability == Durability::OnReturn), Ordering::Relaxed);
        }
        Kind::Flush => drop(one(&counts.flushes)),
        Kind::Trim => drop(one(&counts.trims)),
        Kind::Allocate => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_step(kind: Kind, done: u64, result: i32, want: Option<Result<(), DriveCause>>) {
        let (file, lock) = DriveLock::of_nothing();
        let buffer = matches!(kind, Kind::Read | Kind::Write(_)).then(|| Buffer::unpooled(1));
        let mut op = Op {
            kind,
            file: Rc::new(Target { file, lock, slot: None }),
            at: DriveOffset(0),
            bytes: 65536,
            done,
            buffer,
            retries: 0,
            state: State::Waiting(None),
            dropped: false,
        };
        match (step(&mut op, result), want) {
            (Step::Again, None) => {}
            (Step::Done(got), Some(want)) => assert_eq!(got, want, "{kind:?} {done} {result}"),
            (Step::Again, Some(want)) => panic!("{kind:?} {done} {result}: again, not {want:?}"),
            (Step::Done(got), None) => panic!("{kind:?} {done} {result}: {got:?}, not again"),
        }
    }

    #[test]
    fn answers_of_the_kernel() {
        let write = Kind::Write(Durability::OnReturn);
        check_step(Kind::Read, 0, 65536, Some(Ok(())));
        check_step(Kind::Read, 0, 4096, None);
        check_step(Kind::Read, 4096, 61440, Some(Ok(())));
        check_step(Kind::Read, 4096, 0, Some(Err(DriveCause::Short { got: 4096 })));
        check_step(write, 0, 100, Some(Err(DriveCause::Short { got: 100 })));
        check_step(write, 0, -libc::EAGAIN, None);
        check_step(write, 0, -libc::EIO, Some(Err(DriveCause::Errno(libc::EIO))));
        check_step(Kind::Flush, 0, 0, Some(Ok(())));
        check_step(Kind::Flush, 0, -libc::EIO, Some(Err(DriveCause::Errno(libc::EIO))));
        check_step(Kind::Trim, 0, -libc::EOPNOTSUPP, Some(Ok(())));
        check_step(Kind::Allocate, 0, -libc::ENOSPC, Some(Err(DriveCause::Errno(libc::ENOSPC))));
    }
}
