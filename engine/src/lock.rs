//! Object lock: what keeps a version from being removed, and how that may change. Pure: time is an argument.
//!
//! `shard` asks before every record that removes versions or changes a lock, so no layer above can pass by it.
//! I1. What [`Lock::protects`] is not removed. I2. Retention in compliance mode is never shortened, taken off or changed
//! to another mode before its time; in governance mode only by who bypasses it. I3. A clock that goes back makes a
//! retention longer, never shorter: what counts is whether its end lies ahead.

/// How strictly a version is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetentionMode {
    /// Who may bypass it can remove the version and shorten the retention.
    Governance,
    /// Nobody can, before its time.
    Compliance,
}

/// Until when a version is kept from being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Until then, milliseconds since 1970-01-01 UTC.
    pub until_ms: u64,
}

/// What keeps one version from being removed; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lock {
    /// For a time.
    pub retention: Option<Retention>,
    /// For as long as it is set.
    pub legal_hold: bool,
}

impl Lock {
    /// No lock.
    pub const NONE: Lock = Lock { retention: None, legal_hold: false };

    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Lock::NONE
    }

    /// The retention whose end lies ahead.
    fn active(&self, now_ms: u64) -> Option<Retention> {
        self.retention.filter(|retention| now_ms < retention.until_ms)
    }

    /// Whether the version may not be removed now. `bypass` is the right to pass by governance mode, claimed by the
    /// request.
    pub fn protects(&self, now_ms: u64, bypass: bool) -> bool {
        self.legal_hold
            || match self.active(now_ms) {
                Some(Retention { mode: RetentionMode::Compliance, .. }) => true,
                Some(Retention { mode: RetentionMode::Governance, .. }) => !bypass,
                None => false,
            }
    }

    /// Whether the lock may be exchanged for `next`. Legal holds may be set and taken off at any time.
    pub fn may_become(&self, next: &Lock, now_ms: u64, bypass: bool) -> bool {
        let Some(now) = self.active(now_ms) else { return true };
        let keeps = next.retention.is_some_and(|next| next.mode == now.mode && now.until_ms <= next.until_ms);
        keeps || (now.mode == RetentionMode::Governance && bypass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn retained(mode: RetentionMode, until_ms: u64) -> Lock {
        Lock { retention: Some(Retention { mode, until_ms }), legal_hold: false }
    }

    #[test]
    fn removals() {
        use RetentionMode::{Compliance, Governance};
        let held = Lock { legal_hold: true, ..Lock::NONE };
        for (lock, plain, bypassing) in [
            (Lock::NONE, false, false),
            (held, true, true),
            (retained(Governance, NOW + 1), true, false),
            (retained(Governance, NOW), false, false),
            (retained(Compliance, NOW + 1), true, true),
            (retained(Compliance, NOW), false, false),
            (Lock { legal_hold: true, ..retained(Governance, NOW + 1) }, true, true),
        ] {
            assert_eq!((lock.protects(NOW, false), lock.protects(NOW, true)), (plain, bypassing), "{lock:?}");
        }
    }

    #[test]
    fn changes() {
        use RetentionMode::{Compliance, Governance};
        let (until, later, sooner) = (NOW + 10, NOW + 11, NOW + 9);
        for (from, to, plain, bypassing) in [
            (Lock::NONE, retained(Compliance, until), true, true),
            (retained(Governance, until), retained(Governance, until), true, true),
            (retained(Governance, until), retained(Governance, later), true, true),
            (retained(Governance, until), retained(Governance, sooner), false, true),
            (retained(Governance, until), retained(Compliance, later), false, true),
            (retained(Governance, until), Lock::NONE, false, true),
            (retained(Compliance, until), retained(Compliance, later), true, true),
            (retained(Compliance, until), retained(Compliance, sooner), false, false),
            (retained(Compliance, until), retained(Governance, later), false, false),
            (retained(Compliance, until), Lock::NONE, false, false),
            (retained(Compliance, NOW), Lock::NONE, true, true),
            (Lock { legal_hold: true, ..Lock::NONE }, Lock::NONE, true, true),
        ] {
            let may = |bypass| from.may_become(&to, NOW, bypass);
            assert_eq!((may(false), may(true)), (plain, bypassing), "{from:?} to {to:?}");
        }
    }
}
