//! The kinds of rounds: what machine, which runs on it, what goes wrong and when, and what follows from that for the
//! comparison at the end.
//!
//! `sim::round` and the binaries call it. I1. Everything that is drawn here comes from the seed of the round. I2. A round
//! that finds something still notes its operations and trace.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use nilas_engine::platform::simulated::{Faults, Loss, Medium, Random, Rates, SimulatedDrive, Simulator};
use nilas_engine::store::recognise;

use super::Counts;
use super::model::Model;
use super::run::{Ended, Excused, LAST_WORD, LYING_EPOCH, MIXED_EPOCH, Machine, Shape};
use crate::machine::{Finding, Geometry, Kind, LARGE_ZONE_BYTES, drives, finding, format_on};

/// A short workload, cut at the start and end of every drive operation in turn, each with `losses` ways to lose what was
/// not flushed.
pub fn every_cut(seed: u64, losses: u64) -> (Counts, Option<(u64, u64, Finding)>) {
    let mut counts = Counts::default();
    for cut in 1_u64.. {
        for loss in 0..losses {
            let mut run = Machine::new(Geometry::small(2));
            let shape = Shape { cores: 1, clients: 2, operations: 5, epoch: 0, work: None };
            let model = Model::shared(2);
            let faults = Faults { cut_at: Some(cut), latency_us_max: 60, ..Faults::default() };
            let ended = run.run(seed, faults, &shape, &model);
            counts.seeds += 1;
            counts.rounds += 1;
            counts.operations += model.borrow().operations;
            let finished = matches!(ended, Ok(Ended::Finished));
            let outcome = ended.and_then(|_| {
                run.medium.lose_power(&mut Random::new(seed ^ cut ^ (loss << 40)));
                counts.cuts += u64::from(!finished);
                run.check(seed + 1, &shape, &model, 1)
            });
            if let Err(found) = outcome {
                counts.count(&found);
                return (counts, Some((cut, loss, found)));
            }
            if finished {
                return (counts, None);
            }
        }
    }
    (counts, None)
}

/// Formatting, cut at every step: afterwards the drive is blank and can be formatted, or holds a store that starts.
pub fn every_cut_of_format(seed: u64) -> Result<Counts, Finding> {
    let mut counts = Counts::default();
    for cut in 1_u64.. {
        let geometry = Geometry::small(3);
        let medium = geometry.medium();
        let faults = Faults { cut_at: Some(cut), latency_us_max: 60, ..Faults::default() };
        let finished = format_on(&medium, seed, geometry, faults);
        medium.lose_power(&mut Random::new(seed ^ cut));
        counts.seeds += 1;
        counts.rounds += 1;
        let mut run = Machine { medium, ..Machine::new(geometry) };
        let simulator = Simulator::new(seed);
        let drives = drives(&SimulatedDrive::new(&simulator, &run.medium, Faults::default()));
        let recognised = simulator.run(async move { recognise(&drives).await });
        match recognised {
            Ok(Ok(None)) => {
                if finished || !format_on(&run.medium, seed, geometry, Faults::default()) {
                    return finding(Kind::Lost, format!("a store formatted to the end is blank, cut {cut}"));
                }
            }
            Ok(Ok(Some(_))) => {}
            other => return finding(Kind::Wrong, format!("cut {cut} of formatting: {other:?}")),
        }
        run.check(
            seed,
            &Shape { cores: 1, clients: 1, operations: 0, epoch: 0, work: None },
            &Model::shared(1),
            2,
        )?;
        if finished {
            return Ok(counts);
        }
        counts.cuts += 1;
    }
    Ok(counts)
}

/// The machine of a seed: mostly small zones, mostly one drive.
fn draw_geometry(random: &mut Random) -> Geometry {
    let shards = 2 + u16::try_from(random.below(3)).expect("below 3");
    let small = Geometry::small(shards);
    let geometry = if random.one_in(16) { Geometry { zone_bytes: LARGE_ZONE_BYTES, ..small } } else { small };
    let drives = if random.one_in(4) { 2 } else { 1 };
    Geometry { drives, zones: geometry.zones / drives, ..geometry }
}

/// A store that lives through several crashes, in recovery as well as in work.
pub(super) fn crash_round(seed: u64, counts: &Cell<Counts>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let geometry = draw_geometry(&mut random);
    let clients = 1 + random.below(3);
    let mut run = Machine::new(geometry);
    let model = Model::shared(clients);
    let epochs = 3 + random.below(4);
    let mut recovery_steps = 0;
    // How many times in a row recovery was cut.
    let mut depth = 0;
    let mut outcome = Ok(());
    for epoch in 0..epochs {
        let cores = if random.one_in(3) { 2 } else { 1 };
        let latency_us_max = 1 + random.below(150);
        let calm = Faults { latency_us_max, ..Faults::default() };
        let in_recovery = 0 < recovery_steps && depth < DEPTH_MAX && random.one_in(3);
        let (recovery, work) = if in_recovery {
            (Faults { cut_at: Some(1 + random.below(recovery_steps)), ..calm }, None)
        } else {
            (calm, Some(Faults { cut_at: Some(1 + random.below(250)), ..calm }))
        };
        let shape = Shape { cores, clients, operations: 3 + random.below(8), epoch, work };
        outcome = run.run(random.draw(), recovery, &shape, &model).map(|ended| {
            depth = if ended == Ended::CutInRecovery { depth + 1 } else { 0 };
            let mut counted = counts.get();
            counted.rounds += u64::from(0 < epoch && ended != Ended::CutInRecovery);
            counted.cuts += u64::from(ended != Ended::Finished);
            counted.cuts_in_recovery += u64::from(ended == Ended::CutInRecovery && 0 < epoch);
            counts.set(counted);
        });
        if outcome.is_err() {
            break;
        }
        recovery_steps = run.recovery_steps.get();
        match random.below(8) {
            0 | 1 => run.medium.lose_process(&mut random),
            2 => run.medium.lose_power_as(Loss::Keep, &mut random),
            3 => run.medium.lose_power_as(Loss::Lose, &mut random),
            _ => run.medium.lose_power(&mut random),
        }
    }
    let cores = 1 + u16::from(random.one_in(2));
    let shape = Shape { cores, clients, operations: 0, epoch: epochs, work: None };
    let restarts = if random.one_in(4) { 2 } else { 1 };
    let outcome = outcome.and_then(|()| {
        run.check(random.draw(), &shape, &model, restarts)?;
        let counted = counts.get();
        counts.set(Counts { rounds: counted.rounds + 1, ..counted });
        Ok(())
    });
    note(counts, &model);
    outcome
}

/// Longest row of cuts in recovery.
const DEPTH_MAX: u64 = 3;

pub(super) fn fault_round(seed: u64, counts: &Cell<Counts>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let clients = 1 + random.below(3);
    let mut run = Machine::new(draw_geometry(&mut random));
    let model = Model::shared(clients);
    let calm = Shape { cores: 1, clients, operations: 4, epoch: 0, work: None };
    let mut outcome = run.run(random.draw(), Faults::default(), &calm, &model).map(|_| ());
    if outcome.is_ok() {
        run.medium.lose_process(&mut random);
        let none = Faults { latency_us_max: 1 + random.below(150), ..Faults::default() };
        let (recovery, work) = if random.one_in(6) {
            let steps = run.recovery_steps.get().max(1);
            (Faults { fail_at: Some(1 + random.below(steps)), ..none }, None)
        } else {
            (none, Some(Faults { fail_at: Some(1 + random.below(250)), ..none }))
        };
        let shape = Shape { operations: 4 + random.below(12), epoch: 1, work, ..calm };
        outcome = run.run(random.draw(), recovery, &shape, &model).map(|_| ());
        let counted = counts.get();
        counts.set(Counts { faults: counted.faults + 1, ..counted });
        match random.one_in(2) {
            true => run.medium.lose_process(&mut random),
            false => run.medium.lose_power(&mut random),
        }
    }
    let outcome = outcome.and_then(|()| {
        run.check(random.draw(), &Shape { epoch: 2, ..calm }, &model, 1)?;
        let counted = counts.get();
        counts.set(Counts { rounds: counted.rounds + 1, ..counted });
        Ok(())
    });
    note(counts, &model);
    outcome
}

/// When the faults of a mixed round happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// While clients work: the store started in good order.
    Work,
    /// From power-on, and every one of them is an error that the drive tells.
    Honest,
    /// From power-on, and reads may answer with something else than what is there.
    Lying,
}

/// A store on a drive on which all sorts of things go wrong by chance, until nothing does any more.
///
/// What may be lost then follows from what happened. Nothing that destroys: nothing. One thing that destroys: nothing
/// in silence, except at the end of the log of a shard that took no more writes. More of them, or lies in recovery:
/// what is answered must still be something that was asked for, byte by byte.
pub(super) fn mixed_round(seed: u64, counts: &Cell<Counts>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let clients = 1 + random.below(3);
    let mut run = Machine::new(draw_geometry(&mut random));
    let model = Model::shared(clients);
    let calm = Shape { cores: 1, clients, operations: 4, epoch: 0, work: None };
    let mut outcome = run.run(random.draw(), Faults::default(), &calm, &model).map(|_| ());
    let when = [When::Work, When::Work, When::Work, When::Honest, When::Lying]
        [usize::try_from(random.below(5)).expect("below 5")];
    let none = Faults { latency_us_max: 1 + random.below(150), ..Faults::default() };
    let faults = Faults {
        rates: draw_rates(&mut random, when),
        destroyed_max: random.one_in(2).then_some(1),
        vanish_at: (when != When::Lying && random.one_in(12)).then(|| 1 + random.below(400)),
        ..none
    };
    let (recovery, work) = match when {
        When::Work => (none, Some(faults)),
        When::Honest | When::Lying => (faults, None),
    };
    if outcome.is_ok() {
        run.medium.lose_process(&mut random);
        let epoch = if when == When::Lying { LYING_EPOCH } else { MIXED_EPOCH };
        let shape = Shape { operations: 10 + random.below(40), epoch, work, ..calm };
        outcome = run.run(random.draw(), recovery, &shape, &model).map(|_| ());
    }
    let happened = run.happened.get();
    let counted = counts.get();
    counts.set(Counts {
        faults: counted.faults + happened.total(),
        destroyed: counted.destroyed + happened.destroyed(),
        rounds: counted.rounds + 1,
        ..counted
    });
    match random.one_in(2) {
        true => run.medium.lose_process(&mut random),
        false => run.medium.lose_power(&mut random),
    }
    let lied = when == When::Lying && happened.lied() > 0;
    let outcome = outcome.and_then(|()| {
        if happened.destroyed() == 0 && !lied {
            return run.check(random.draw(), &Shape { epoch: 2, ..calm }, &model, 1);
        }
        let excused =
            Excused { anything: lied || 1 < happened.destroyed(), shards: run.given_up.borrow().clone() };
        run.look_at_damage(&model, &excused)
    });
    note(counts, &model);
    outcome.map_err(|found| found.at(format!("{when:?}, {happened:?}")))
}

/// Up to a tenth of all operations go wrong. What ends all writing is left out half of the time, and rare otherwise.
fn draw_rates(random: &mut Random, when: When) -> Rates {
    let ends = random.one_in(2);
    let scale = [1, 4, 40][usize::try_from(random.below(3)).expect("an index")];
    let mut rate = |may: bool, scale: u16| {
        let drawn = u16::try_from(random.below(1_001)).expect("small");
        if may && random.one_in(2) { drawn / scale } else { 0 }
    };
    let (work, lying) = (when == When::Work, when != When::Honest);
    Rates {
        read_error: rate(true, scale),
        bad_block: rate(true, scale * 4),
        write_error: rate(ends, scale * 10),
        flush_error: rate(ends, scale * 10),
        short: rate(ends, scale * 10),
        slow: rate(true, scale),
        corrupt_read: rate(lying, scale),
        corrupt_medium: rate(work, scale),
        lost_write: rate(work, scale),
        misdirected_write: rate(work, scale),
        misdirected_read: rate(lying, scale),
        stale_read: rate(lying, scale),
    }
}

/// Flips bytes of a small store, one at a time: `samples` of them, or one in every 64 of what was ever written.
pub(super) fn flip_round(seed: u64, counts: &Cell<Counts>, samples: Option<u64>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let mut run = Machine::new(Geometry::small(2));
    let model = Model::shared(1);
    let shape = Shape { cores: 1, clients: 1, operations: 6, epoch: 0, work: None };
    run.run(seed, Faults::default(), &shape, &model)?;
    // One more record in the log of every shard: everything before it is below the durable mark.
    run.run(seed + 1, Faults::default(), &Shape { operations: 0, epoch: LAST_WORD, ..shape }, &model)?;
    run.medium.lose_power(&mut random);
    let written: Vec<u64> =
        run.medium.durable_blocks().into_iter().filter(|block| !is_zero(&run.medium, *block)).collect();
    let places: Vec<u64> = match samples {
        Some(samples) => (0..samples)
            .map(|_| {
                let nth = usize::try_from(random.below(written.len() as u64)).expect("an index");
                // Half of them where the headers are.
                written[nth] * 4096 + if random.one_in(2) { random.below(96) } else { random.below(4096) }
            })
            .collect(),
        None => written
            .iter()
            .flat_map(|block| (0..64).map(move |at| block * 4096 + at * 64 + block % 64))
            .collect(),
    };
    for at in places {
        let bit = u8::try_from(random.below(8)).expect("below 8");
        let flipped = Machine { medium: run.medium.duplicate(), ..Machine::new(run.geometry) };
        flipped.medium.flip(at, 1 << bit);
        let mut counted = counts.get();
        counted.flips += 1;
        counted.rounds += 1;
        counts.set(counted);
        let fresh = Rc::new(RefCell::new(model.borrow().clone()));
        flipped
            .look_at_damage(&fresh, &Excused::default())
            .map_err(|found| found.at(format!("byte {at}")))?;
    }
    note(counts, &model);
    Ok(())
}

fn is_zero(medium: &Medium, block: u64) -> bool {
    (0..4096).all(|offset| medium.byte(block * 4096 + offset) == 0)
}

fn note(counts: &Cell<Counts>, model: &RefCell<Model>) {
    let (mut counted, model) = (counts.get(), model.borrow());
    counted.operations += model.operations;
    counted.trace = counted.trace.rotate_left(9) ^ model.trace;
    counts.set(counted);
}
