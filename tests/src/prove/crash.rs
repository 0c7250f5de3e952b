//! Power cuts and kills of a store under concurrent load, in work and in recovery: `sim`'s crash rounds, counted.

use super::Tally;
use crate::machine::Finding;
use crate::sim::{Workload, round};

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        tally.place = format!("--seed {seed} --count 1");
        let (counts, found) = round(Workload::Crash, seed);
        tally.done += counts.cuts + counts.cuts_in_recovery;
        tally.note("in recovery", counts.cuts_in_recovery);
        tally.note("comparisons", counts.rounds);
        tally.note("operations", counts.operations);
        found.map_or(Ok(()), Err)?;
    }
    Ok(())
}
