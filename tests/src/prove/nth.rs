//! One row of operations, again and again: each time another drive operation fails, moves a part of its bytes, or is the
//! last one of the drive, or another buffer is refused.
//!
//! Every other row on two drives. I1. Whatever fails, what was acknowledged is there after a restart, and what was not is there whole or not at all.

use nilas_engine::platform::simulated::{Faults, Loss, Random};

use super::Tally;
use super::life::{Life, Session};
use super::script::Draw;
use crate::machine::{Finding, Geometry};
use crate::model::{Key, Op};

/// Operations before the machine on which something fails, and on it.
const BEFORE: u64 = 14;
const OPERATIONS: u64 = 14;

/// Empty buckets, one on each shard, that are deleted on it.
const PASSING: [Key; 2] = ["elder", "rowan"];
/// The machine before it draws from another seed: upload ids that were drawn twice would be one upload.
const BEFORE_SEED: u64 = 1 << 40;

/// A store with something in it, and what is to be asked of it next.
pub(super) fn begun(seed: u64) -> Result<(Life, Draw), Finding> {
    let geometry = Geometry { zones: 28, drives: 1 + seed % 2, ..Geometry::small(2) };
    let mut draw = Draw::new(seed, geometry);
    let life = Life::new(geometry);
    let mut before = draw.begin(BEFORE);
    before.extend(PASSING.map(|name| (name, Op::CreateBucket)));
    life.script(before);
    life.run(Session { stop: true, ..Session::strict(seed + BEFORE_SEED) })?;
    life.medium.lose_power_as(Loss::Keep, &mut Random::new(seed));
    let mut next = draw.take(OPERATIONS);
    PASSING.iter().for_each(|name| next.insert(next.len() / 2, (*name, Op::DeleteBucket)));
    life.script(next);
    Ok((life, draw))
}

/// The machine to fail at every step, and one that went the same way without a failure: how many steps there are.
pub(super) fn measured(tally: &mut Tally, seed: u64) -> Result<(Life, Life, String), Finding> {
    tally.note("workloads", 1);
    let place = format!("--seed {seed} --count 1");
    tally.place.clone_from(&place);
    let (base, _) = begun(seed)?;
    let calm = base.branch();
    calm.run(Session { compare: false, ..Session::strict(seed) })?;
    Ok((base, calm, place))
}

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        let (base, calm, place) = measured(tally, seed)?;
        let (steps, buffers) = (calm.state.borrow().steps, calm.state.borrow().buffers);
        let none = Faults::default();
        let faults = (1..=steps).flat_map(|nth| {
            let fail_at = Some(nth);
            [
                ("fails", Faults { fail_at, ..none }),
                ("is short", Faults { fail_at, short: true, ..none }),
                ("is the last", Faults { vanish_at: fail_at, ..none }),
            ]
            .map(|(what, faults)| (format!("operation {nth} {what}"), Session::faulty(seed, faults)))
        });
        let refused = (1..=buffers).map(|nth| {
            let session = Session { refuse_buffer: Some(nth), ..Session::faulty(seed, none) };
            (format!("buffer {nth} is refused"), session)
        });
        for (nth, (what, session)) in (0_u64..).zip(faults.chain(refused)) {
            tally.place = format!("{what}, {place}");
            let life = base.branch();
            life.run(session)?;
            end(&life, seed ^ nth)?;
            tally.done += 1;
            tally.note("errors", life.state.borrow().errors);
        }
    }
    Ok(())
}

/// Ends a machine in one of three ways and looks at what is there.
pub(super) fn end(life: &Life, seed: u64) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    match random.below(3) {
        0 => life.medium.lose_process(&mut random),
        1 => life.medium.lose_power_as(Loss::Lose, &mut random),
        _ => life.medium.lose_power(&mut random),
    }
    life.check(seed)
}
