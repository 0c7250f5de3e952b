//! How many failed proofs of identity one sender gets: wrong signatures, unknown keys, bad tokens, token requests that fail.
//!
//! The gateway makes a [`Door`] for each request and verifies with [`Door::keys`], which asks [`Throttle::admit`] before a secret
//! is shown, and hands what failed to [`Door::judged`], which tells [`Throttle::failed`]. [`Throttle`] is pure: time is an
//! argument, in microseconds of a clock that does not jump. One value for each core, which counts by itself.
//!
//! Three counts, each of which forgives `failures_per_minute` in a minute: by source, by key from that source, by key. Up to a
//! minute's worth of failures is answered as what they are. Beyond, a failure is answered "slow down" and says nothing else.
//! Only a key *from one source* that is two minutes' worth beyond is not verified at all, which bounds guessing and the
//! work it makes.
//! I1. A right proof is served whatever others did: only failures from the same source with the same key can stand in its way.
//! I2. What is kept is bounded ([`THROTTLE_ENTRIES_MAX`]). When a set is full the entry with the fewest failures goes, so
//! nobody is forgotten before eight others in its set failed more. Sets are chosen with a secret of the process.
//! I3. A request that fails no proof costs one comparison while no key is beyond.

use std::cell::{Cell, OnceCell, RefCell};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::audit::{Decisions, Issued};
use crate::auth::{AuthError, KeyFault, KeyStore, Throttled};
use crate::limits::THROTTLE_ENTRIES_MAX;
use crate::source::SourcePrefix;

/// Time within which failures are forgiven, in microseconds.
const WINDOW_US: u64 = 60_000_000;

/// Failures that are kept at most, as the time it takes to forgive them.
const BEYOND_US: u64 = 2 * WINDOW_US;

/// Entries of one set.
const WAYS: usize = 8;

/// A proof that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure<'a> {
    /// It names nobody: no such key, or a token that is not ours.
    Nobody,
    /// It names an access key that there is.
    Key(&'a str),
}

impl AuthError {
    /// Says what failed if somebody may have guessed; a request that is late, malformed or without credentials guesses nothing.
    pub fn failed_proof(&self) -> Option<Failure<'_>> {
        match self {
            AuthError::InvalidAccessKeyId { .. } | AuthError::InvalidToken { .. } => Some(Failure::Nobody),
            AuthError::SignatureDoesNotMatch(mismatch) => Some(Failure::Key(&mismatch.access_key)),
            // A token that has run out is ours.
            AuthError::ExpiredToken { .. }
            | AuthError::Throttled(_)
            | AuthError::AccessDenied(_)
            | AuthError::AuthorizationHeaderMalformed(_)
            | AuthError::AuthorizationQueryParametersError(_)
            | AuthError::RequestTimeTooSkewed { .. }
            | AuthError::InvalidArgument { .. }
            | AuthError::InvalidRequest(_)
            | AuthError::XAmzContentSHA256Mismatch { .. } => None,
        }
    }
}

/// The same for the sender, who is to come again after that time.
fn throttled(wait_us: u64) -> Throttled {
    Throttled { retry_after_s: wait_us.div_ceil(1_000_000).max(1) }
}

/// Where one request proves who sent it: what failed before counts, and what fails is counted.
#[derive(Clone, Copy)]
pub(crate) struct Door<'a> {
    pub(crate) throttle: &'a RefCell<Throttle>,
    pub(crate) figures: &'a ThrottleFigures,
    pub(crate) from: SourcePrefix,
    pub(crate) now_us: u64,
    pub(crate) attempt: &'a Attempt,
    /// What is issued to who gets in.
    pub(crate) issued: &'a OnceCell<Issued>,
    pub(crate) notes: &'a Decisions,
}

/// How a request's attempt to prove who sent it failed, for the audit log.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    failed: OnceCell<&'static str>,
    claimed: OnceCell<Box<str>>,
    throttled: Cell<bool>,
}

impl Attempt {
    /// Code of the failure, if it failed.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }

    /// The access key that it named, if it failed.
    pub(crate) fn claimed(&self) -> Option<&str> {
        self.claimed.get().map(|claimed| &**claimed)
    }

    /// Whether the sender is to come again later.
    pub(crate) fn is_throttled(&self) -> bool {
        self.throttled.get()
    }
}

impl<'a> Door<'a> {
    /// The same keys, as whoever verifies is to ask for them.
    pub(crate) fn keys<'k>(self, keys: &'k dyn KeyStore) -> Admitting<'k>
    where
        'a: 'k,
    {
        Admitting { keys, door: self }
    }

    /// Says whether a proof that names `access_key` is to be verified.
    pub(crate) fn admit(self, access_key: &str) -> Result<(), Throttled> {
        let admitted = self.throttle.borrow().admit(self.from, access_key, self.now_us);
        if admitted.is_err() {
            self.figures.refused.fetch_add(1, Relaxed);
            self.attempt.throttled.set(true);
            self.claim(access_key);
        }
        admitted
    }

    /// Counts a proof that failed with `code`. [`Throttled`] is to be answered in its place.
    pub(crate) fn failed(self, failure: Failure<'_>, code: &'static str) -> Result<(), Throttled> {
        self.note(code);
        if let Failure::Key(access_key) = failure {
            self.claim(access_key);
        }
        let outcome = self.throttle.borrow_mut().failed(self.from, failure, self.now_us);
        self.figures.failed(outcome);
        self.attempt.throttled.set(outcome.is_err());
        outcome
    }

    /// Counts what is a guess, and returns what is to be answered.
    pub(crate) fn judged(self, error: AuthError) -> AuthError {
        self.note(error.code());
        if let AuthError::InvalidAccessKeyId { access_key } = &error {
            self.claim(access_key);
        }
        let counted = error.failed_proof().map(|failure| self.failed(failure, error.code()));
        match counted {
            Some(Err(throttled)) => AuthError::Throttled(throttled),
            Some(Ok(())) | None => error,
        }
    }

    fn note(self, code: &'static str) {
        self.attempt.failed.get_or_init(|| code);
    }

    fn claim(self, access_key: &str) {
        self.attempt.claimed.get_or_init(|| access_key.into());
    }
}

/// The keys that there are, of which one that failed too often from this source is not shown to whoever verifies.
pub(crate) struct Admitting<'a> {
    keys: &'a dyn KeyStore,
    door: Door<'a>,
}

impl KeyStore for Admitting<'_> {
    fn secret(&self, access_key: &str, token: Option<&str>, now_ms: u64) -> Result<Arc<str>, KeyFault> {
        self.door.admit(access_key).map_err(KeyFault::Throttled)?;
        self.keys.secret(access_key, token, now_ms)
    }
}

/// What all cores together counted.
#[derive(Debug, Default)]
pub struct ThrottleFigures {
    /// Proofs that failed.
    pub failures: AtomicU64,
    /// Of these, answered "slow down".
    pub slowed: AtomicU64,
    /// Requests that were not verified.
    pub refused: AtomicU64,
}

/// The failures that one core remembers.
pub struct Throttle {
    /// Microseconds in which one failure is forgiven; `None`: nothing is counted.
    forgive_us: Option<u64>,
    hasher: RandomState,
    sources: Table,
    /// By source and key.
    pairs: Table,
    keys: Table,
    /// When every pair is verified again.
    pairs_beyond_until_us: u64,
}

impl Throttle {
    /// Forgives `failures_per_minute` in a minute; 0 counts nothing.
    pub fn new(failures_per_minute: u32) -> Throttle {
        let forgive_us =
            (failures_per_minute > 0).then(|| (WINDOW_US / u64::from(failures_per_minute)).max(1));
        let entries = if forgive_us.is_some() { THROTTLE_ENTRIES_MAX } else { 0 };
        Throttle {
            forgive_us,
            hasher: RandomState::new(),
            sources: Table::new(entries),
            pairs: Table::new(entries),
            keys: Table::new(entries),
            pairs_beyond_until_us: 0,
        }
    }

    /// Says whether a proof that names `access_key` is to be verified. To be asked before that, of every one.
    pub fn admit(&self, from: SourcePrefix, access_key: &str, now_us: u64) -> Result<(), Throttled> {
        let Some(forgive_us) = self.forgive_us.filter(|_| now_us < self.pairs_beyond_until_us) else {
            return Ok(());
        };
        let owed_us = self.pairs.owed_us(self.hash((from, access_key)), now_us);
        match (owed_us + forgive_us).checked_sub(BEYOND_US) {
            None | Some(0) => Ok(()),
            Some(wait_us) => Err(throttled(wait_us)),
        }
    }

    /// Counts a failure. [`Throttled`] is to be answered in its place.
    pub fn failed(&mut self, from: SourcePrefix, failure: Failure<'_>, now_us: u64) -> Result<(), Throttled> {
        let Some(forgive_us) = self.forgive_us else { return Ok(()) };
        let mut owed_us = self.sources.add(self.hash(from), forgive_us, now_us);
        if let Failure::Key(access_key) = failure {
            let pair_us = self.pairs.add(self.hash((from, access_key)), forgive_us, now_us);
            // From the time on at which one more would not fit.
            if BEYOND_US < pair_us + forgive_us {
                self.pairs_beyond_until_us = self.pairs_beyond_until_us.max(now_us + pair_us);
            }
            let key_us = self.keys.add(self.hash(access_key), forgive_us, now_us);
            owed_us = owed_us.max(pair_us).max(key_us);
        }
        match owed_us.checked_sub(WINDOW_US) {
            None | Some(0) => Ok(()),
            Some(wait_us) => Err(throttled(wait_us)),
        }
    }

    fn hash(&self, what: impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }
}

/// Failures by what they are counted under: sets of [`WAYS`] entries.
struct Table {
    entries: Box<[Entry]>,
}

/// Failures of one sender. No failures are an entry like any other.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// All 64 bits: two senders that share them are one in 10^19.
    hash: u64,
    /// When all of them will be forgiven. A time in the past is a free entry.
    forgiven_at_us: u64,
}

impl Table {
    fn new(entries: usize) -> Table {
        Table { entries: vec![Entry::default(); entries].into_boxed_slice() }
    }

    /// The time that forgiving will take.
    fn owed_us(&self, hash: u64, now_us: u64) -> u64 {
        let set = self.set_of(hash);
        let found = self.entries[set].iter().find(|entry| entry.hash == hash);
        found.map_or(0, |entry| entry.forgiven_at_us.saturating_sub(now_us))
    }

    /// Adds one failure and returns the time that forgiving will take, that failure included.
    fn add(&mut self, hash: u64, forgive_us: u64, now_us: u64) -> u64 {
        let set = self.set_of(hash);
        let set = &mut self.entries[set];
        let at = match set.iter().position(|entry| entry.hash == hash) {
            Some(at) => at,
            None => {
                let fewest = (0..set.len()).min_by_key(|at| set[*at].forgiven_at_us);
                let at = fewest.expect("a set has entries");
                set[at] = Entry { hash, forgiven_at_us: now_us };
                at
            }
        };
        let owed_us = set[at].forgiven_at_us.saturating_sub(now_us).saturating_add(forgive_us);
        let owed_us = owed_us.min(BEYOND_US);
        set[at].forgiven_at_us = now_us + owed_us;
        owed_us
    }

    fn set_of(&self, hash: u64) -> std::ops::Range<usize> {
        const { assert!(THROTTLE_ENTRIES_MAX.is_multiple_of(WAYS)) };
        let sets = (self.entries.len() / WAYS) as u64;
        let first = usize::try_from(hash % sets).expect("less than the entries") * WAYS;
        first..first + WAYS
    }
}

impl ThrottleFigures {
    fn failed(&self, outcome: Result<(), Throttled>) {
        self.failures.fetch_add(1, Relaxed);
        self.slowed.fetch_add(u64::from(outcome.is_err()), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    const S: u64 = 1_000_000;

    fn from(address: &str) -> SourcePrefix {
        Source::plain(format!("{address}:1").parse().expect("an address")).prefix()
    }

    #[test]
    fn a_minutes_worth_is_answered_as_it_is_then_slowed_then_refused() {
        let mut throttle = Throttle::new(60);
        let here = from("192.0.2.1");
        for nth in 0..60 {
            assert_eq!(throttle.admit(here, "AK", 5 * S), Ok(()), "{nth}");
            assert_eq!(throttle.failed(here, Failure::Key("AK"), 5 * S), Ok(()), "{nth}");
        }
        for nth in 1..=60 {
            assert_eq!(throttle.admit(here, "AK", 5 * S), Ok(()), "{nth}");
            let slowed = Err(Throttled { retry_after_s: nth });
            assert_eq!(throttle.failed(here, Failure::Key("AK"), 5 * S), slowed);
        }
        assert_eq!(throttle.admit(here, "AK", 5 * S), Err(Throttled { retry_after_s: 1 }));
        // Another key of the same source, and the same key elsewhere, are verified.
        assert_eq!(throttle.admit(here, "AL", 5 * S), Ok(()));
        assert_eq!(throttle.admit(from("192.0.2.2"), "AK", 5 * S), Ok(()));
        // Their failures are slowed all the same, for want of a better reason of the sender's.
        assert!(throttle.failed(here, Failure::Nobody, 5 * S).is_err());
        assert!(throttle.failed(from("192.0.2.2"), Failure::Key("AK"), 5 * S).is_err());
        assert_eq!(throttle.failed(from("192.0.2.2"), Failure::Nobody, 5 * S), Ok(()));
        // One is forgiven each second, so one is verified each second.
        assert_eq!(throttle.admit(here, "AK", 6 * S), Ok(()));
        assert!(throttle.failed(here, Failure::Key("AK"), 6 * S).is_err());
        assert!(throttle.admit(here, "AK", 6 * S).is_err());
        assert_eq!(throttle.admit(here, "AK", 7 * S), Ok(()));
        assert_eq!(throttle.failed(here, Failure::Key("AK"), 200 * S), Ok(()));
    }

    #[test]
    fn a_provider_hands_out_64_bits_of_an_address() {
        let mut throttle = Throttle::new(1);
        assert_eq!(throttle.failed(from("[2001:db8::1]"), Failure::Nobody, 0), Ok(()));
        assert!(throttle.failed(from("[2001:db8::2]"), Failure::Nobody, 0).is_err());
        assert_eq!(throttle.failed(from("[2001:db8:0:1::1]"), Failure::Nobody, 0), Ok(()));
    }

    #[test]
    fn off() {
        let mut throttle = Throttle::new(0);
        for _ in 0..10_000 {
            assert_eq!(throttle.failed(from("192.0.2.1"), Failure::Key("AK"), 0), Ok(()));
        }
        assert_eq!(throttle.admit(from("192.0.2.1"), "AK", 0), Ok(()));
    }

    #[test]
    fn who_failed_much_is_not_forgotten_for_many_who_failed_little() {
        let mut throttle = Throttle::new(10);
        let here = from("192.0.2.1");
        for _ in 0..20 {
            let _: Result<(), Throttled> = throttle.failed(here, Failure::Key("AK"), 0);
        }
        for a in 0..=255 {
            for b in 0..=255 {
                let other = from(&format!("10.0.{a}.{b}"));
                let _: Result<(), Throttled> = throttle.failed(other, Failure::Key("AL"), 0);
            }
        }
        assert!(throttle.admit(here, "AK", 0).is_err());
        assert!(throttle.failed(here, Failure::Nobody, 0).is_err());
        assert_eq!(throttle.pairs.entries.len(), THROTTLE_ENTRIES_MAX);
    }

    #[test]
    fn what_counts_as_a_guess() {
        use crate::auth::{Denied, Mismatch};
        let unknown = AuthError::InvalidAccessKeyId { access_key: "AK".to_owned() };
        assert_eq!(unknown.failed_proof(), Some(Failure::Nobody));
        let wrong = AuthError::SignatureDoesNotMatch(Box::new(Mismatch {
            access_key: "AK".to_owned(),
            string_to_sign: String::new(),
            signature_provided: String::new(),
            canonical_request: None,
        }));
        assert_eq!(wrong.failed_proof(), Some(Failure::Key("AK")));
        assert_eq!(AuthError::AccessDenied(Denied::NoCredentials).failed_proof(), None);
    }
}
