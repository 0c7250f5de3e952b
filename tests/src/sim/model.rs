//! What the clients of a round know: of every key, bucket, counter, race and upload, everything that it may be.
//!
//! `client` tells it what is asked and answered, `compare` makes certain what was seen. It is another model than
//! `crate::model`, and stays one: that one is the reference of one client that waits for each answer, so there is one right
//! contents and one right answer; here several clients ask at once and a cut leaves changes without an answer, so each thing
//! is a set of possibilities that answers narrow. `ops::Possible` keeps whole stores of the other kind, which for clients at
//! once would be every order of all that is open. I1. A possibility goes only when an answer or a sight excludes it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::{Sequence, UploadId};

use crate::machine::{Finding, Kind, finding};
use crate::model::Parts;

/// Buckets that stay for the whole round.
pub(super) const BUCKETS: [&str; 3] = ["red", "green", "blue"];

/// A key that every bucket gets when faults are over; no model knows it.
pub(super) const LATE_WORD: &[u8] = b"word";

pub(super) fn counter_bucket(client: u64) -> &'static str {
    BUCKETS[usize::try_from(client % BUCKETS.len() as u64).expect("an index")]
}

pub(super) fn counter_names(client: u64) -> (Bytes, Bytes, Bytes) {
    let name = |what: &str| Bytes::from(format!("{what}/{client}"));
    (name("a"), name("b"), name("counter"))
}

pub(super) fn race_key(race: u64) -> Bytes {
    format!("race/{race}").into()
}

/// What the clients know of one key.
#[derive(Clone, Default)]
pub(super) struct Key {
    /// Rises when a change is acknowledged.
    pub(super) settled: u64,
    /// What it may be; one entry when that is certain.
    pub(super) known: Vec<Option<Parts>>,
    /// Everything that it was asked to be at some time.
    pub(super) past: Vec<Parts>,
}

/// Of each part number what it may be: absent, or sequence, size and seed.
pub(super) type UploadParts = BTreeMap<u16, Vec<Option<(Sequence, u64, u64)>>>;

/// What all clients together know.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) keys: BTreeMap<(Arc<str>, Bytes), Key>,
    /// Buckets that come and go: whether they may exist.
    pub(super) buckets: BTreeMap<Arc<str>, Vec<bool>>,
    /// Per client: the counter that its transaction set, in two values and an object.
    pub(super) counters: BTreeMap<u64, Vec<u64>>,
    /// Keys that were given to the first who came: attempts, and whether somebody must have won.
    pub(super) races: BTreeMap<u64, Race>,
    pub(super) uploads: BTreeMap<(Arc<str>, UploadId), UploadParts>,
    pub(super) operations: u64,
    pub(super) trace: u64,
}

#[derive(Clone, Default)]
pub(super) struct Race {
    pub(super) attempts: Vec<u64>,
    pub(super) is_taken: bool,
    pub(super) winner: Option<u64>,
}

pub(super) type SharedModel = Rc<RefCell<Model>>;

impl Model {
    pub(super) fn shared(clients: u64) -> SharedModel {
        let mut model = Model::default();
        for client in 0..clients {
            model.counters.insert(client, vec![0]);
        }
        Rc::new(RefCell::new(model))
    }

    pub(super) fn key(&mut self, bucket: &str, key: &Bytes) -> &mut Key {
        let fresh = || Key { known: vec![None], ..Key::default() };
        self.keys.entry((bucket.into(), key.clone())).or_insert_with(fresh)
    }

    /// A change was asked for.
    pub(super) fn ask(&mut self, bucket: &str, key: &Bytes, change: Option<Parts>) {
        let key = self.key(bucket, key);
        key.past.extend(change.clone());
        key.known.push(change);
    }

    /// The newest change that was asked for is acknowledged.
    pub(super) fn settle(&mut self, bucket: &str, key: &Bytes) {
        let key = self.key(bucket, key);
        key.settled += 1;
        key.known = key.known.pop().into_iter().collect();
    }

    /// Somebody has seen what a key is (`is_seen`), after nothing was acknowledged since it was `settled` so often: what
    /// was asked for before can be no more.
    pub(super) fn observe(
        &mut self,
        (bucket, key): &(Arc<str>, Bytes),
        settled: u64,
        is_seen: impl Fn(&Option<Parts>) -> bool,
    ) -> Result<(), Finding> {
        let state = self.key(bucket, key);
        if state.settled != settled {
            return Ok(());
        }
        match state.known.iter().position(is_seen) {
            Some(nth) => drop(state.known.drain(..nth)),
            None => {
                let text = format!("somebody saw {bucket}/{key:?} as none of {:?}", state.known);
                return finding(Kind::Lost, text);
            }
        }
        Ok(())
    }
}
