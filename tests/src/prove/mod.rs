//! The checks that are to find what is wrong with the engine: one file each, all on the simulated machine.
//!
//! `bin/nilas-prove` and `tests/engine.rs` run them. I1. What a check does follows from its name, seed and count.
//! I2. It stops at the first finding, which names what repeats it. I3. A check tells how much it did; one that did
//! nothing has not passed.

mod clean;
mod crash;
mod examine;
mod faults;
mod flip;
mod flush;
mod life;
mod model;
mod nth;
mod script;
mod small;
mod space;
mod tail;
mod versions;

use std::fmt;

use crate::machine::{Finding, Kind, grouped, guarded};

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// How it is asked for.
    pub name: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// How many of them when nothing else is said, and for a release.
    pub counts: [u64; 2],
    run: fn(&mut Tally, u64, u64) -> Result<(), Finding>,
}

/// All of them. A count of 0 means all there are.
pub const CHECKS: [Check; 11] = [
    Check { name: "model", unit: "operations", counts: [200_000, 10_000_000], run: model::run },
    Check { name: "small", unit: "recoveries", counts: [20_000, 0], run: small::run },
    Check { name: "crash", unit: "points", counts: [20_000, 5_000_000], run: crash::run },
    Check { name: "faults", unit: "seeds", counts: [1_000, 20_000], run: faults::run },
    Check { name: "nth", unit: "failures", counts: [4_000, 200_000], run: nth::run },
    Check { name: "flip", unit: "flips", counts: [10_000, 0], run: flip::run },
    Check { name: "tail", unit: "tails", counts: [4_000, 200_000], run: tail::run },
    Check { name: "space", unit: "operations", counts: [20_000, 2_000_000], run: space::run },
    Check { name: "clean", unit: "sessions", counts: [6_000, 600_000], run: clean::run },
    Check { name: "versions", unit: "operations", counts: [20_000, 2_000_000], run: versions::run },
    Check { name: "flush", unit: "failures", counts: [1_500, 50_000], run: flush::run },
];

/// What a check did and found.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// In the check's unit.
    pub done: u64,
    /// What else it counts, with a word for it.
    pub notes: Vec<(&'static str, u64)>,
    /// What repeats the case that is running.
    pub place: String,
    /// By sort.
    pub found: [u64; 3],
}

impl Tally {
    /// Counts something besides the unit.
    pub fn note(&mut self, what: &'static str, count: u64) {
        match self.notes.iter_mut().find(|(name, _)| *name == what) {
            Some((_, sum)) => *sum += count,
            None => self.notes.push((what, count)),
        }
    }

    /// What was counted under that word.
    pub fn noted(&self, what: &str) -> u64 {
        self.notes.iter().find(|(name, _)| *name == what).map_or(0, |(_, sum)| *sum)
    }
}

/// Lives through one store after the other, a seed each, until `count` is done.
fn each_store(
    tally: &mut Tally,
    seed: u64,
    count: u64,
    live: fn(&mut Tally, u64) -> Result<(), Finding>,
) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        tally.place = format!("--seed {seed} --count 1");
        live(tally, seed)?;
        tally.note("stores", 1);
    }
    Ok(())
}

impl Check {
    /// Runs it from `seed` on until `count` of its units are done.
    pub fn run(&self, seed: u64, count: u64) -> (Tally, Option<Finding>) {
        let mut tally = Tally::default();
        let found = guarded(|| (self.run)(&mut tally, seed, count));
        let found = found.map(|found| found.at(&tally.place));
        if let Some(found) = &found {
            let nth = [Kind::Lost, Kind::Torn, Kind::Wrong].iter().position(|kind| *kind == found.kind);
            tally.found[nth.expect("all kinds")] += 1;
        }
        (tally, found)
    }

    /// The closing line.
    pub fn line(&self, tally: &Tally, seconds: f64) -> impl fmt::Display {
        let notes: String =
            tally.notes.iter().map(|(what, count)| format!("{} {what}, ", grouped(*count))).collect();
        let [lost, torn, wrong] = tally.found;
        format!(
            "prove {}: {} {}, {notes}{lost} lost, {torn} torn, {wrong} wrong, {:.0} {}/s ({seconds:.1} s)",
            self.name,
            grouped(tally.done),
            self.unit,
            tally.done as f64 / seconds.max(1e-9),
            self.unit,
        )
    }
}
