//! The right to make one change of a warehouse, taken by `Store::mutate` for as long as the change is at work.
//!
//! I1. At most one claim is there for a key. I2. Whoever waits for a key is woken when its claim goes, however the
//! change ended.

use std::cell::RefCell;
use std::rc::Rc;

use crate::model::{Recorded, Remembered};
use crate::store::idempotency::IdempotencyKey;
use crate::store::state::Warehouse;

/// The right to make one change, under a key or without. Dropping it wakes those who wait for the key.
pub(crate) struct IdempotencyGuard {
    key: Option<IdempotencyKey>,
    warehouse: Rc<RefCell<Warehouse>>,
}

impl IdempotencyGuard {
    /// The caller has found the key's `KeyStatus::New` and `Idempotency::start`ed it.
    pub(crate) fn new(key: Option<IdempotencyKey>, warehouse: Rc<RefCell<Warehouse>>) -> IdempotencyGuard {
        IdempotencyGuard { key, warehouse }
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// What is to be remembered when the change made under this claim is appended at `now_ms`.
    pub(crate) fn remembered(&self, recorded: Recorded, now_ms: u64) -> Option<(u128, Remembered)> {
        self.key.map(|key| (key.id, Remembered { at_ms: now_ms, operation: key.operation, recorded }))
    }
}

impl Drop for IdempotencyGuard {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.warehouse.borrow_mut().idempotency.finish(key.id);
        }
    }
}
