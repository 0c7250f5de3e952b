//! Who still reads a blob, and so when its space may be used again.
//!
//! A shard keeps what it displaced, readers on any core hold it by reference count, and only the shard's own core
//! raises a count from nothing. I1. Space is reused only when its displacement is durable and no reader is left.
//! I2. A count that the shard found at zero stays there: nobody else can raise it, so the answer does not age.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::sync::{Mistake, is_seeded, step};

/// Takes everything that nobody else holds out of `displaced` and hands it to `free`.
///
/// What the last reader did with a blob happens before `free` is called.
pub(crate) fn reclaim<T>(displaced: &mut Vec<Arc<T>>, mut free: impl FnMut(&T)) {
    displaced.retain_mut(|held| {
        step();
        if is_seeded(Mistake::ReuseUnasked) {
            free(held);
            return false;
        }
        // `get_mut` is the one question that also waits for the memory effects of the last reader's drop.
        let Some(alone) = Arc::get_mut(held) else { return true };
        free(alone);
        false
    });
}

/// The pins of one blob, as seen from its shard: readers hold the strong references, the shard a weak one.
#[derive(Debug, Default)]
pub struct Pins<T> {
    readers: std::sync::Weak<T>,
}

impl<T> Pins<T> {
    /// Nobody reads yet.
    pub const fn new() -> Pins<T> {
        Pins { readers: std::sync::Weak::new() }
    }

    /// One more reader: shares the reference that others hold, or makes the first with `make`.
    ///
    /// The last reader may go at any moment, so the reference is raised first and what that answered is believed.
    pub fn pin(&mut self, make: impl FnOnce() -> T) -> Arc<T> {
        step();
        if is_seeded(Mistake::CountBeforeUpgrade) && self.readers.strong_count() != 0 {
            step();
            return self.readers.upgrade().expect("somebody was reading");
        }
        if let Some(shared) = self.readers.upgrade() {
            return shared;
        }
        let first = Arc::new(make());
        self.readers = Arc::downgrade(&first);
        first
    }

    /// Whether no reader is left. What the last one did happens before this answers true.
    pub fn is_unread(&self) -> bool {
        step();
        if is_seeded(Mistake::ReuseUnasked) {
            return true;
        }
        let unread = self.readers.strong_count() == 0;
        // `strong_count` is a relaxed load: the fence is the other half of the release in the last reader's drop.
        fence(Ordering::Acquire);
        unread
    }
}
