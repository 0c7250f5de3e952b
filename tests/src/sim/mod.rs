//! Random concurrent workloads on the simulated machine, ended by power cuts, kills, drive faults or flipped bytes, and
//! a client-side model that says what must be there afterwards.
//!
//! `bin/nilas-sim`, `bin/nilas-mutants`, `prove` and `tests/engine.rs` run it. `rounds` draws a round and breaks the
//! machine, `run` is one life of the process in it, `client` are those who work meanwhile, `model` is what they know, and
//! `compare` holds the store against that. Everything follows from a seed: I1. The same seed gives the same run. I2. The
//! model knows only what a client knows: what was asked, and what was answered.

mod model;
mod client;
mod compare;
mod run;
mod rounds;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::machine::{Finding, Kind, grouped, guarded};

use rounds::{crash_round, fault_round, flip_round, mixed_round};
pub use rounds::{every_cut, every_cut_of_format};

/// How a round goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Power cuts and kills at random operations.
    Crash,
    /// One failing drive operation, then a restart.
    Fault,
    /// One flipped byte at a time in a small store.
    Flip,
    /// All sorts of faults by chance, then none.
    Mixed,
}

/// What many rounds did and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    /// Seeds, or points of a sweep.
    pub seeds: u64,
    /// Crashes, failures and flips after which a whole recovery and a whole comparison followed.
    pub rounds: u64,
    pub operations: u64,
    pub cuts: u64,
    pub cuts_in_recovery: u64,
    pub faults: u64,
    /// Of the faults those that left a medium other than acknowledged.
    pub destroyed: u64,
    pub flips: u64,
    pub lost: u64,
    pub torn: u64,
    pub wrong: u64,
    /// Hash of all that was drawn and answered: equal for equal seeds.
    pub trace: u64,
}

impl Counts {
    /// Adds what another run did.
    pub fn add(&mut self, other: Counts) {
        self.seeds += other.seeds;
        self.rounds += other.rounds;
        self.operations += other.operations;
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.faults += other.faults;
        self.destroyed += other.destroyed;
        self.flips += other.flips;
        self.lost += other.lost;
        self.torn += other.torn;
        self.wrong += other.wrong;
        self.trace = self.trace.rotate_left(5) ^ other.trace;
    }

    fn count(&mut self, fault: &Finding) {
        match fault.kind {
            Kind::Lost => self.lost += 1,
            Kind::Torn => self.torn += 1,
            Kind::Wrong => self.wrong += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = grouped;
        write!(f, "{} seeds, {} rounds, {} operations, ", n(self.seeds), n(self.rounds), n(self.operations))?;
        write!(f, "{} cuts, {} cuts in recovery, ", n(self.cuts), n(self.cuts_in_recovery))?;
        write!(f, "{} faults, {} flips, ", n(self.faults), n(self.flips))?;
        write!(f, "{} lost, {} torn, {} wrong", n(self.lost), n(self.torn), n(self.wrong))
    }
}

/// Runs one seed. The counts come back with or without a finding.
pub fn round(workload: Workload, seed: u64) -> (Counts, Option<Finding>) {
    let counts = Rc::new(Cell::new(Counts { seeds: 1, ..Counts::default() }));
    let kept = counts.clone();
    let found = guarded(|| match workload {
        Workload::Crash => crash_round(seed, &kept),
        Workload::Fault => fault_round(seed, &kept),
        Workload::Flip => flip_round(seed, &kept, Some(24)),
        Workload::Mixed => mixed_round(seed, &kept),
    });
    let mut counts = counts.get();
    found.iter().for_each(|finding| counts.count(finding));
    (counts, found)
}
