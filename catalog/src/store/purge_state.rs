//! The purges of a warehouse in memory: which are at work, how the last ones ended, and what each could not do. Pure.
//!
//! `state` holds one [`Purges`] for each warehouse, `purge` works off what is open. I1. A purge is under its table's location
//! key, which nobody else has until it ends; one that ended there before gives way to it. I2. What ended and left something
//! is a value as well, what ended clean is only here. I3. Lists are bounded by the named limits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::access::KeptPrincipal;
use crate::limits::{PURGE_LEFT_BYTES_MAX, PURGE_LEFT_MAX, PURGES_ENDED_MAX};
use crate::model::{Purge, PurgePhase, PurgePlace};

/// What is counted of purges, by all cores together.
#[derive(Debug, Default)]
pub struct PurgeFigures {
    /// Purges that have not ended.
    pub open: AtomicU64,
    /// Files that they deleted since the process started.
    pub files_deleted: AtomicU64,
    /// Files that they could not delete.
    pub files_failed: AtomicU64,
    /// Metadata files, manifest lists and manifests that they could not read.
    pub files_unreadable: AtomicU64,
}

/// How far a purge is, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeStatus {
    /// The warehouse.
    pub warehouse: Arc<str>,
    /// Namespace and name that the table had.
    pub table: String,
    /// Its uuid.
    pub uuid: String,
    /// Its newest metadata file: the root of what is deleted.
    pub metadata_location: String,
    /// When it was dropped, in milliseconds since 1970.
    pub since_ms: u64,
    /// When the purge ended; `None` while it is open.
    pub ended_ms: Option<u64>,
    /// What it deletes now: `data`, `manifests` or `metadata`.
    pub phase: &'static str,
    /// Snapshots whose files of this phase are gone.
    pub snapshots_done: u64,
    /// Snapshots of the table; 0 until its metadata was read.
    pub snapshots: u64,
    /// Files that were there and are gone.
    pub deleted: u64,
    /// Files that could not be deleted.
    pub failed: u64,
    /// Metadata files, manifest lists and manifests that could not be read: what only they name stays.
    pub unreadable: u64,
    /// The first `PURGE_LEFT_MAX` of both, each with the reason.
    pub left: Vec<(String, String)>,
    /// Why it waits; it is tried again.
    pub trouble: Option<String>,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Purges {
    /// At work, or ended and kept as a value.
    by_key: BTreeMap<String, Entry>,
    /// Those at work, the oldest first: when they began, and their key.
    open: BTreeSet<(u64, String)>,
    /// How many of them the figure of open purges has.
    counted: usize,
    /// Ended, nothing left; the oldest first.
    clean: VecDeque<Purge>,
}

#[derive(Debug)]
struct Entry {
    purge: Purge,
    trouble: Option<String>,
}

impl Purges {
    /// Keys of open purges with the time that they began, the oldest first.
    pub(crate) fn open(&self) -> impl ExactSizeIterator<Item = (u64, &str)> {
        self.open.iter().map(|(since_ms, key)| (*since_ms, key.as_str()))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Purge> {
        self.by_key.get(key).map(|entry| &entry.purge)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Purge> {
        self.by_key.get_mut(key).map(|entry| &mut entry.purge)
    }

    /// Begins a purge, or takes in one that is a value.
    pub(crate) fn insert(&mut self, key: String, purge: Purge) {
        if purge.ended_ms.is_none() {
            self.open.insert((purge.since_ms, key.clone()));
        }
        self.by_key.insert(key, Entry { purge, trouble: None });
    }

    /// How many open purges the figure does not have yet. It has them now.
    pub(crate) fn count_open(&mut self) -> u64 {
        let newly = self.open.len().saturating_sub(self.counted);
        self.counted = self.open.len();
        newly as u64
    }

    /// Says why a purge waits, or that it does not any more.
    pub(crate) fn set_trouble(&mut self, key: &str, trouble: Option<String>) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.trouble = trouble;
        }
    }

    /// Keys of values that go when a purge ends and is kept as one more: the oldest beyond [`PURGES_ENDED_MAX`].
    pub(crate) fn crowded_out(&self) -> Vec<String> {
        let mut ended: Vec<(u64, &String)> =
            self.by_key.iter().filter_map(|(key, entry)| Some((entry.purge.ended_ms?, key))).collect();
        ended.sort_unstable();
        let over = (ended.len() + 1).saturating_sub(PURGES_ENDED_MAX);
        ended.into_iter().take(over).map(|(_, key)| key.clone()).collect()
    }

    /// Ends a purge that was counted. It stays under its key when it left something; `crowded_out` go.
    pub(crate) fn end(&mut self, key: &str, ended: Purge, crowded_out: &[String]) {
        self.open.remove(&(ended.since_ms, key.to_owned()));
        self.counted = self.counted.saturating_sub(1);
        self.by_key.remove(key);
        if ended.is_clean() {
            self.clean.push_back(ended);
            if PURGES_ENDED_MAX < self.clean.len() {
                self.clean.pop_front();
            }
        } else {
            self.insert(key.to_owned(), ended);
        }
        for key in crowded_out {
            self.by_key.remove(key);
        }
    }

    /// All that are shown, at most `max`, and how many there are.
    pub(crate) fn statuses(&self, warehouse: &Arc<str>, max: usize) -> (Vec<PurgeStatus>, usize) {
        let kept = self.by_key.values().map(|entry| entry.purge.status(warehouse, entry.trouble.clone()));
        let all = kept.chain(self.clean.iter().map(|purge| purge.status(warehouse, None)));
        (all.take(max).collect(), self.by_key.len() + self.clean.len())
    }
}

impl Purge {
    /// Counts files that could not be deleted, and names the first while there is room.
    pub(crate) fn note_failed<'a>(&mut self, locations: impl ExactSizeIterator<Item = &'a str>, why: &str) {
        self.failed += locations.len() as u64;
        self.note_left(locations, why);
    }

    /// Counts a file that could not be read, and names it while there is room.
    pub(crate) fn note_unreadable(&mut self, location: &str, why: &str) {
        self.unreadable += 1;
        self.note_left(std::iter::once(location), why);
    }

    fn note_left<'a>(&mut self, locations: impl Iterator<Item = &'a str>, why: &str) {
        let room = PURGE_LEFT_MAX.saturating_sub(self.left.len());
        self.left.extend(locations.take(room).map(|location| (cut(location), cut(why))));
    }

    /// Whether more was not readable than may be named here.
    pub(crate) fn unreadable_beyond_left(&self) -> bool {
        0 < self.unreadable && (self.left.len() as u64) < self.unreadable + self.failed
    }

    /// Whether something unreadable may be there still: all but what is named as `absent`.
    pub(crate) fn keeps_unreadable(&self, absent: &str) -> bool {
        let gone = self.left.iter().filter(|(_, why)| why == absent).count() as u64;
        gone < self.unreadable
    }

    /// Goes on to a phase, unless that was begun already.
    pub(crate) fn enter(&mut self, phase: PurgePhase) {
        if self.at.phase < phase {
            self.at = PurgePlace { phase, ..PurgePlace::default() };
        }
    }

    pub(crate) fn status(&self, warehouse: &Arc<str>, trouble: Option<String>) -> PurgeStatus {
        let (phase, snapshots_done) = match self.at.phase {
            PurgePhase::Data => ("data", self.at.snapshot),
            PurgePhase::Manifests => ("manifests", self.at.snapshot),
            PurgePhase::Metadata => ("metadata", self.snapshots),
        };
        PurgeStatus {
            warehouse: Arc::clone(warehouse),
            table: self.table.clone(),
            uuid: self.uuid.clone(),
            metadata_location: self.metadata_location.clone(),
            since_ms: self.since_ms,
            ended_ms: self.ended_ms,
            phase,
            snapshots_done,
            snapshots: self.snapshots,
            deleted: self.deleted,
            failed: self.failed,
            unreadable: self.unreadable,
            left: self.left.clone(),
            trouble,
        }
    }
}

/// A purge that the first version of the values left behind: without a root there is nothing that it may delete.
pub(crate) fn rootless(warehouse: &str, location_key: &str) -> Purge {
    let mut purge = Purge {
        table: "(unknown)".to_owned(),
        uuid: String::new(),
        metadata_location: String::new(),
        locations: Vec::new(),
        since_ms: 0,
        asked_by: KeptPrincipal::default(),
        at: PurgePlace::default(),
        snapshots: 0,
        deleted: 0,
        failed: 0,
        unreadable: 0,
        left: Vec::new(),
        ended_ms: Some(0),
    };
    purge.note_unreadable(
        &format!("s3://{warehouse}/{location_key}/"),
        "an earlier version of the program began this purge and did not keep the table's metadata location",
    );
    purge
}

fn cut(text: &str) -> String {
    let end = (0..=text.len().min(PURGE_LEFT_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A purge that has just begun.
    pub(crate) fn purge(key: &str, since_ms: u64) -> Purge {
        let mut purge = rootless("lake", key);
        (purge.unreadable, purge.ended_ms, purge.since_ms) = (0, None, since_ms);
        purge.left.clear();
        purge.locations = vec![key.to_owned()];
        purge
    }

    fn failed(key: &str, ended_ms: u64) -> Purge {
        let mut purge = purge(key, 1);
        purge.note_failed(["s3://else/x"].into_iter(), "denied");
        Purge { ended_ms: Some(ended_ms), ..purge }
    }

    #[test]
    fn open_purges_are_counted_once() {
        let mut purges = Purges::default();
        purges.insert("a".to_owned(), purge("a", 1));
        purges.insert("b".to_owned(), failed("b", 5));
        assert_eq!(purges.open().collect::<Vec<_>>(), [(1, "a")]);
        assert_eq!((purges.count_open(), purges.count_open()), (1, 0));
        purges.end("a", Purge { ended_ms: Some(9), ..purge("a", 1) }, &[]);
        assert_eq!(purges.open().count(), 0);
        let (some, all) = purges.statuses(&Arc::from("lake"), 1);
        assert_eq!((some.len(), all), (1, 2));
        purges.insert("c".to_owned(), purge("c", 1));
        assert_eq!(purges.count_open(), 1);
    }

    #[test]
    fn what_ended_is_bounded() {
        let mut purges = Purges::default();
        for n in 0..=PURGES_ENDED_MAX as u64 {
            let key = format!("{n:04}");
            purges.insert(key.clone(), purge(&key, n));
            purges.end(&key, Purge { ended_ms: Some(n), ..purge(&key, n) }, &[]);
        }
        assert_eq!((purges.clean.len(), purges.by_key.len()), (PURGES_ENDED_MAX, 0));
        assert_eq!(purges.clean.front().map(|purge| purge.since_ms), Some(1));
        for n in 0..=PURGES_ENDED_MAX as u64 {
            let key = format!("{n:04}");
            purges.insert(key.clone(), purge(&key, n));
            let over = purges.crowded_out();
            purges.end(&key, failed(&key, 100 + n), &over);
        }
        assert_eq!(purges.by_key.len(), PURGES_ENDED_MAX);
        assert!(!purges.by_key.contains_key("0000") && purges.by_key.contains_key("0001"));
    }

    #[test]
    fn what_is_left_is_named_within_bounds() {
        let mut purge = purge("a", 1);
        let long = "ü".repeat(PURGE_LEFT_BYTES_MAX);
        let many = vec![long.as_str(); 1_000];
        purge.note_failed(many.iter().copied(), "why");
        purge.note_unreadable("s3://lake/m", "why");
        assert_eq!((purge.failed, purge.unreadable, purge.left.len()), (1_000, 1, PURGE_LEFT_MAX));
        assert!(purge.left.iter().all(|(location, _)| location.len() <= PURGE_LEFT_BYTES_MAX));
        assert!(!purge.is_clean());
    }

    #[test]
    fn what_is_absent_keeps_nothing() {
        let mut purge = purge("a", 1);
        assert!(!purge.keeps_unreadable("gone") && !purge.unreadable_beyond_left());
        purge.note_unreadable("s3://lake/m", "gone");
        assert!(!purge.keeps_unreadable("gone"));
        purge.note_unreadable("s3://lake/n", "damaged");
        assert!(purge.keeps_unreadable("gone") && !purge.unreadable_beyond_left());
        for _ in 0..PURGE_LEFT_MAX {
            purge.note_unreadable("s3://lake/m", "gone");
        }
        assert!(purge.keeps_unreadable("gone") && purge.unreadable_beyond_left());
    }

    #[test]
    fn phases_go_one_way() {
        let mut purge = purge("a", 1);
        purge.at = PurgePlace { phase: PurgePhase::Manifests, snapshot: 3, manifest: 0, entry: 0 };
        purge.enter(PurgePhase::Data);
        purge.enter(PurgePhase::Manifests);
        assert_eq!(purge.at.snapshot, 3);
        purge.enter(PurgePhase::Metadata);
        assert_eq!(purge.at, PurgePlace { phase: PurgePhase::Metadata, ..PurgePlace::default() });
    }
}
