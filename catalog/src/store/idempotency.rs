//! Idempotency keys: what a repeated request is answered, kept in the same record as the change itself.
//!
//! `Store::mutate` claims a key (`claim`), runs the change, and the change's own transaction carries the value. A
//! second request with the key waits while the first is at work, then gets the recorded answer.
//! I1. A key is in `running` or remembered, never given to two changes at once.
//! I2. Nothing is recorded for failures that a repetition may not meet again (5xx, 429).

use std::collections::{BTreeSet, HashMap};
use std::task::Waker;

use bytes::Bytes;

use crate::limits::{IDEMPOTENCY_EXPIRED_PER_CHANGE_MAX, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_LIFETIME_MS};
use crate::model::{Recorded, Remembered};
use crate::store::values;

/// A client's key and what it was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey {
    pub(crate) id: u128,
    /// Digest of principal, method, path and body.
    pub(crate) operation: u128,
}

/// What a request with a key may do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    New,
    /// The same request is at work.
    Running,
    Replay(Recorded),
    /// The key was used for something else.
    Misused,
}

/// The keys of one warehouse.
#[derive(Debug, Default)]
pub(crate) struct Idempotency {
    remembered: HashMap<u128, Remembered>,
    by_age: BTreeSet<(u64, u128)>,
    running: HashMap<u128, (u128, Vec<Waker>)>,
}

impl Idempotency {
    pub(crate) fn standing(&self, key: IdempotencyKey, now_ms: u64) -> KeyStatus {
        if let Some((operation, _)) = self.running.get(&key.id) {
            return if *operation == key.operation { KeyStatus::Running } else { KeyStatus::Misused };
        }
        match self.remembered.get(&key.id) {
            Some(old) if now_ms < old.at_ms.saturating_add(IDEMPOTENCY_LIFETIME_MS) => {
                if old.operation == key.operation {
                    KeyStatus::Replay(old.recorded.clone())
                } else {
                    KeyStatus::Misused
                }
            }
            Some(_) | None => KeyStatus::New,
        }
    }

    pub(crate) fn start(&mut self, key: IdempotencyKey) {
        self.running.insert(key.id, (key.operation, Vec::new()));
    }

    /// Registers a waiter; `false` when the key is no longer at work.
    pub(crate) fn wait(&mut self, id: u128, waker: &Waker) -> bool {
        match self.running.get_mut(&id) {
            Some((_, wakers)) => {
                wakers.push(waker.clone());
                true
            }
            None => false,
        }
    }

    /// Ends what [`Idempotency::start`] began, and wakes those who wait for it.
    pub(crate) fn finish(&mut self, id: u128) {
        for waker in self.running.remove(&id).into_iter().flat_map(|(_, wakers)| wakers) {
            waker.wake();
        }
    }

    pub(crate) fn remember(&mut self, id: u128, remembered: Remembered) {
        self.by_age.insert((remembered.at_ms, id));
        if let Some(old) = self.remembered.insert(id, remembered.clone())
            && old.at_ms != remembered.at_ms
        {
            self.by_age.remove(&(old.at_ms, id));
        }
    }

    pub(crate) fn forget(&mut self, ids: &[u128]) {
        for id in ids {
            if let Some(old) = self.remembered.remove(id) {
                self.by_age.remove(&(old.at_ms, *id));
            }
        }
    }

    /// The keys that a change at `now_ms` removes along the way: expired ones, and the oldest when there are too many.
    pub(crate) fn plan_forget(&self, now_ms: u64) -> Vec<u128> {
        let too_many = (self.by_age.len() + 1).saturating_sub(IDEMPOTENCY_KEYS_MAX);
        self.by_age
            .iter()
            .enumerate()
            .take(IDEMPOTENCY_EXPIRED_PER_CHANGE_MAX)
            .take_while(|(index, (at, _))| {
                *index < too_many || at.saturating_add(IDEMPOTENCY_LIFETIME_MS) <= now_ms
            })
            .map(|(_, (_, id))| *id)
            .collect()
    }
}

/// The values that remember `new` and forget `old`.
pub(crate) fn changes(new: Option<&(u128, Remembered)>, old: &[u128]) -> Vec<(Bytes, Option<Bytes>)> {
    let forgotten = old
        .iter()
        .filter(|id| new.is_none_or(|(new, _)| new != *id))
        .map(|id| (values::idempotency_key(*id), None));
    let remembered =
        new.map(|(id, value)| (values::idempotency_key(*id), Some(values::idempotency_value(value))));
    forgotten.chain(remembered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: IdempotencyKey = IdempotencyKey { id: 1, operation: 10 };

    fn remembered(at_ms: u64) -> Remembered {
        Remembered { at_ms, operation: KEY.operation, recorded: Recorded::Empty }
    }

    #[test]
    fn standings() {
        let mut keys = Idempotency::default();
        assert_eq!(keys.standing(KEY, 0), KeyStatus::New);
        keys.start(KEY);
        assert_eq!(keys.standing(KEY, 0), KeyStatus::Running);
        assert_eq!(keys.standing(IdempotencyKey { operation: 11, ..KEY }, 0), KeyStatus::Misused);
        keys.remember(KEY.id, remembered(5));
        keys.finish(KEY.id);
        assert_eq!(keys.standing(KEY, 6), KeyStatus::Replay(Recorded::Empty));
        assert_eq!(keys.standing(IdempotencyKey { operation: 11, ..KEY }, 6), KeyStatus::Misused);
        assert_eq!(keys.standing(KEY, 5 + IDEMPOTENCY_LIFETIME_MS), KeyStatus::New);
    }

    #[test]
    fn expired_keys_go_oldest_first_and_few_at_a_time() {
        let mut keys = Idempotency::default();
        for id in 0..20_u128 {
            keys.remember(id, remembered(u64::try_from(id).expect("small")));
        }
        assert_eq!(keys.plan_forget(IDEMPOTENCY_LIFETIME_MS - 1), Vec::<u128>::new());
        assert_eq!(keys.plan_forget(IDEMPOTENCY_LIFETIME_MS + 1), vec![0, 1]);
        let many = keys.plan_forget(IDEMPOTENCY_LIFETIME_MS * 2);
        assert_eq!(many.len(), IDEMPOTENCY_EXPIRED_PER_CHANGE_MAX);
        keys.forget(&many);
        assert_eq!(keys.by_age.len(), 12);
        assert_eq!(keys.remembered.len(), 12);
    }

    #[test]
    fn a_key_used_again_is_not_forgotten_by_its_own_change() {
        let new = (1, remembered(9));
        assert_eq!(changes(Some(&new), &[1, 2]).len(), 2);
        assert_eq!(changes(None, &[1, 2]).len(), 2);
    }
}
