//! Joins flushes of one drive: who comes while one is running shares the next. Used by `write` on one core.
//!
//! I1. A flush that resolves with `Ok` has made every write durable that completed before it was asked for. I2. After a
//! failed flush all later ones fail with its error: the drive was given up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::drive::Drive;
use crate::error::{DriveError, EngineError};
use crate::mutant::{Mutant, seeded};
use crate::notify::Notify;

/// The flushes of one drive.
pub(super) struct FlushGroup {
    drive: Rc<dyn Drive>,
    started: Cell<u64>,
    ended: Cell<u64>,
    running: Cell<bool>,
    failed: RefCell<Option<DriveError>>,
    done: Notify,
}

impl FlushGroup {
    pub(super) fn new(drive: Rc<dyn Drive>) -> FlushGroup {
        FlushGroup {
            drive,
            started: Cell::new(0),
            ended: Cell::new(0),
            running: Cell::new(false),
            failed: RefCell::new(None),
            done: Notify::default(),
        }
    }

    /// Resolves after a flush that started after this call. A failed flush fails the drive for good.
    pub(super) async fn flush(&self) -> Result<(), EngineError> {
        let joins = seeded(Mutant::FlushJoinsRunning) && self.running.get();
        let wanted = self.started.get() + u64::from(!joins);
        loop {
            if let Some(error) = self.failed.borrow().as_ref() {
                return Err(EngineError::Drive(error.clone()));
            }
            if wanted <= self.ended.get() {
                return Ok(());
            }
            if self.running.get() {
                self.done.until(|| (!self.running.get()).then_some(())).await;
                continue;
            }
            self.lead().await;
        }
    }

    async fn lead(&self) {
        /// Lets the others go on when the leader is dropped in the middle.
        struct Leading<'a>(&'a FlushGroup);
        impl Drop for Leading<'_> {
            fn drop(&mut self) {
                self.0.running.set(false);
                self.0.done.notify();
            }
        }
        self.running.set(true);
        let leading = Leading(self);
        let number = self.started.get() + 1;
        self.started.set(number);
        match self.drive.flush().await {
            Ok(()) => self.ended.set(number),
            Err(_) if seeded(Mutant::FlushFailureIgnored) => self.ended.set(number),
            Err(error) => *self.failed.borrow_mut() = Some(error),
        }
        drop(leading);
    }
}
