//! Drives that fail, decay and lie by chance under a concurrent load, then behave: `sim`'s mixed rounds, counted.

use super::Tally;
use crate::machine::Finding;
use crate::sim::{Workload, round};

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed..seed.saturating_add(count) {
        tally.place = format!("--seed {seed} --count 1");
        let (counts, found) = round(Workload::Mixed, seed);
        tally.done += 1;
        tally.note("faults", counts.faults);
        tally.note("destroying", counts.destroyed);
        tally.note("operations", counts.operations);
        found.map_or(Ok(()), Err)?;
    }
    Ok(())
}
