//! Random concurrent workloads on the simulated machine, ended by power cuts, kills, drive faults or flipped bytes, and
//! a client-side model that says what must be there afterwards.
//!
//! `bin/nilas-sim` and `tests/engine.rs` run it. Everything follows from a seed: I1. the same seed gives the same run.
//! I2. The model knows only what a client knows: what was asked, and what was answered.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use nilas_engine::platform::simulated::{
    Faults, Happened, Loss, Medium, Random, Rates, SimulatedDrive, Simulator, Stopped,
};
use nilas_engine::store::recognise;
use nilas_engine::{
    Bucket, BucketError, DriveOp, Engine, EngineError, ListQuery, PutCondition, PutRefused, Sequence,
    ShardId, UploadId, ValueOwner,
};

use crate::conformance::{content, feed, put, read, tag, transact};
use crate::machine::{
    Finding, Geometry, Kind, LARGE_ZONE_BYTES, drives, failures, find_bucket, finding, format_on, formatted,
    grouped, guarded, is_read_only, start,
};

/// Buckets that stay for the whole round.
const BUCKETS: [&str; 3] = ["red", "green", "blue"];
/// Keys that each client owns in each of them.
const KEYS: u64 = 3;
/// Keys that all clients race for with `IfAbsent`.
const RACES: u64 = 4;

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

/// A short workload, cut at the start and end of every drive operation in turn, each with `losses` ways to lose what was
/// not flushed.
pub fn every_cut(seed: u64, losses: u64) -> (Counts, Option<(u64, u64, Finding)>) {
    let mut counts = Counts::default();
    for cut in 1_u64.. {
        for loss in 0..losses {
            let mut ground = Ground::new(Geometry::small(2));
            let shape = Shape { cores: 1, clients: 2, operations: 5, epoch: 0, work: None };
            let model = Model::shared(2);
            let faults = Faults { cut_at: Some(cut), latency_us_max: 60, ..Faults::default() };
            let ended = ground.run(seed, faults, &shape, &model);
            counts.seeds += 1;
            counts.rounds += 1;
            counts.operations += model.borrow().operations;
            let finished = matches!(ended, Ok(Ended::Finished));
            let outcome = ended.and_then(|_| {
                ground.medium.lose_power(&mut Random::new(seed ^ cut ^ (loss << 40)));
                counts.cuts += u64::from(!finished);
                ground.check(seed + 1, &shape, &model, 1)
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
        let mut ground = Ground { medium, ..Ground::new(geometry) };
        let simulator = Simulator::new(seed);
        let drives = drives(&SimulatedDrive::new(&simulator, &ground.medium, Faults::default()));
        let recognised = simulator.run(async move { recognise(&drives).await });
        match recognised {
            Ok(Ok(None)) => {
                if finished || !format_on(&ground.medium, seed, geometry, Faults::default()) {
                    return finding(Kind::Lost, format!("a store formatted to the end is blank, cut {cut}"));
                }
            }
            Ok(Ok(Some(_))) => {}
            other => return finding(Kind::Wrong, format!("cut {cut} of formatting: {other:?}")),
        }
        ground.check(
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
fn crash_round(seed: u64, counts: &Cell<Counts>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let geometry = draw_geometry(&mut random);
    let clients = 1 + random.below(3);
    let mut ground = Ground::new(geometry);
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
        outcome = ground.run(random.draw(), recovery, &shape, &model).map(|ended| {
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
        recovery_steps = ground.recovery_steps.get();
        match random.below(8) {
            0 | 1 => ground.medium.lose_process(&mut random),
            2 => ground.medium.lose_power_as(Loss::Keep, &mut random),
            3 => ground.medium.lose_power_as(Loss::Lose, &mut random),
            _ => ground.medium.lose_power(&mut random),
        }
    }
    let cores = 1 + u16::from(random.one_in(2));
    let shape = Shape { cores, clients, operations: 0, epoch: epochs, work: None };
    let restarts = if random.one_in(4) { 2 } else { 1 };
    let outcome = outcome.and_then(|()| {
        ground.check(random.draw(), &shape, &model, restarts)?;
        let counted = counts.get();
        counts.set(Counts { rounds: counted.rounds + 1, ..counted });
        Ok(())
    });
    note(counts, &model);
    outcome
}

/// Longest row of cuts in recovery.
const DEPTH_MAX: u64 = 3;

fn fault_round(seed: u64, counts: &Cell<Counts>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let clients = 1 + random.below(3);
    let mut ground = Ground::new(draw_geometry(&mut random));
    let model = Model::shared(clients);
    let calm = Shape { cores: 1, clients, operations: 4, epoch: 0, work: None };
    let mut outcome = ground.run(random.draw(), Faults::default(), &calm, &model).map(|_| ());
    if outcome.is_ok() {
        ground.medium.lose_process(&mut random);
        let none = Faults { latency_us_max: 1 + random.below(150), ..Faults::default() };
        let (recovery, work) = if random.one_in(6) {
            let steps = ground.recovery_steps.get().max(1);
            (Faults { fail_at: Some(1 + random.below(steps)), ..none }, None)
        } else {
            (none, Some(Faults { fail_at: Some(1 + random.below(250)), ..none }))
        };
        let shape = Shape { operations: 4 + random.below(12), epoch: 1, work, ..calm };
        outcome = ground.run(random.draw(), recovery, &shape, &model).map(|_| ());
        let counted = counts.get();
        counts.set(Counts { faults: counted.faults + 1, ..counted });
        match random.one_in(2) {
            true => ground.medium.lose_process(&mut random),
            false => ground.medium.lose_power(&mut random),
        }
    }
    let outcome = outcome.and_then(|()| {
        ground.check(random.draw(), &Shape { epoch: 2, ..calm }, &model, 1)?;
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
fn mixed_round(seed: u64, counts: &Cell<Counts>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let clients = 1 + random.below(3);
    let mut ground = Ground::new(draw_geometry(&mut random));
    let model = Model::shared(clients);
    let calm = Shape { cores: 1, clients, operations: 4, epoch: 0, work: None };
    let mut outcome = ground.run(random.draw(), Faults::default(), &calm, &model).map(|_| ());
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
        ground.medium.lose_process(&mut random);
        let epoch = if when == When::Lying { LYING_EPOCH } else { MIXED_EPOCH };
        let shape = Shape { operations: 10 + random.below(40), epoch, work, ..calm };
        outcome = ground.run(random.draw(), recovery, &shape, &model).map(|_| ());
    }
    let happened = ground.happened.get();
    let counted = counts.get();
    counts.set(Counts {
        faults: counted.faults + happened.total(),
        destroyed: counted.destroyed + happened.destroyed(),
        rounds: counted.rounds + 1,
        ..counted
    });
    match random.one_in(2) {
        true => ground.medium.lose_process(&mut random),
        false => ground.medium.lose_power(&mut random),
    }
    let lied = when == When::Lying && happened.lied() > 0;
    let outcome = outcome.and_then(|()| {
        if happened.destroyed() == 0 && !lied {
            return ground.check(random.draw(), &Shape { epoch: 2, ..calm }, &model, 1);
        }
        let excused =
            Excused { anything: lied || 1 < happened.destroyed(), shards: ground.given_up.borrow().clone() };
        ground.look_at_damage(&model, &excused)
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

/// The epoch of a mixed round in which things go wrong.
const MIXED_EPOCH: u64 = 2_000;
/// The same, when recovery was lied to: its clients only look.
const LYING_EPOCH: u64 = 2_001;

/// What may be missing from a damaged store without a word.
#[derive(Default)]
struct Excused {
    /// Anything may be as it once was.
    anything: bool,
    /// In the buckets of these shards.
    shards: BTreeSet<ShardId>,
}

/// Flips bytes of a small store, one at a time: `samples` of them, or one in every 64 of what was ever written.
pub fn flip_round(seed: u64, counts: &Cell<Counts>, samples: Option<u64>) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    let mut ground = Ground::new(Geometry::small(2));
    let model = Model::shared(1);
    let shape = Shape { cores: 1, clients: 1, operations: 6, epoch: 0, work: None };
    ground.run(seed, Faults::default(), &shape, &model)?;
    // One more record in the log of every shard: everything before it is below the durable mark.
    ground.run(seed + 1, Faults::default(), &Shape { operations: 0, epoch: LAST_WORD, ..shape }, &model)?;
    ground.medium.lose_power(&mut random);
    let written: Vec<u64> =
        ground.medium.durable_blocks().into_iter().filter(|block| !is_zero(&ground.medium, *block)).collect();
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
        let flipped = Ground { medium: ground.medium.duplicate(), ..Ground::new(ground.geometry) };
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

/// The epoch in which every shard gets one more record.
const LAST_WORD: u64 = 1_000;

fn is_zero(medium: &Medium, block: u64) -> bool {
    (0..4096).all(|offset| medium.byte(block * 4096 + offset) == 0)
}

fn note(counts: &Cell<Counts>, model: &RefCell<Model>) {
    let (mut counted, model) = (counts.get(), model.borrow());
    counted.operations += model.operations;
    counted.trace = counted.trace.rotate_left(9) ^ model.trace;
    counts.set(counted);
}

/// The size of one run.
#[derive(Clone, Copy)]
struct Shape {
    cores: u16,
    clients: u64,
    operations: u64,
    epoch: u64,
    /// What goes wrong from the moment on when all has recovered and been compared; `None` leaves it as it was.
    work: Option<Faults>,
}

/// How a run ended, without a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Finished,
    CutInRecovery,
    Cut,
}

/// The medium of a round.
struct Ground {
    medium: Medium,
    geometry: Geometry,
    /// Drive steps of the last recovery that came to its end, comparison included.
    recovery_steps: Rc<Cell<u64>>,
    /// What went wrong by chance in the last run, and which shards were read-only at its end.
    happened: Rc<Cell<Happened>>,
    given_up: Rc<RefCell<BTreeSet<ShardId>>>,
}

impl Ground {
    fn new(geometry: Geometry) -> Ground {
        Ground {
            medium: formatted(geometry),
            geometry,
            recovery_steps: Rc::default(),
            happened: Rc::default(),
            given_up: Rc::default(),
        }
    }

    /// Starts the store, compares it with the model, lets the clients work; whatever ends it.
    fn run(
        &mut self,
        seed: u64,
        faults: Faults,
        shape: &Shape,
        model: &SharedModel,
    ) -> Result<Ended, Finding> {
        let simulator = Simulator::new(seed);
        let working = Rc::new(Cell::new(false));
        let drive = SimulatedDrive::new(&simulator, &self.medium, faults);
        let field = Field {
            machine: simulator.clone(),
            drive,
            geometry: self.geometry,
            model: model.clone(),
            working: working.clone(),
            recovery_steps: self.recovery_steps.clone(),
            given_up: self.given_up.clone(),
        };
        let is_faulty = |faults: &Faults| {
            faults.fail_at.is_some() || faults.vanish_at.is_some() || faults.rates != Rates::default()
        };
        let faulty = [Some(faults), shape.work].iter().flatten().any(is_faulty);
        let seen = field.drive.clone();
        let ended = simulator.run(epoch(field, *shape, [is_faulty(&faults), faulty]));
        self.happened.set(seen.happened());
        let now_us = simulator.now_us();
        {
            let mut model = model.borrow_mut();
            model.trace = model.trace.rotate_left(7) ^ now_us ^ simulator.random();
        }
        match ended {
            Ok(Ok(())) => Ok(Ended::Finished),
            Ok(Err(found)) => Err(found),
            Err(Stopped::PowerCut) if working.get() => Ok(Ended::Cut),
            Err(Stopped::PowerCut) => Ok(Ended::CutInRecovery),
            Err(Stopped::Deadlock) => finding(Kind::Wrong, "every task waits for ever"),
        }
    }

    /// Restarts without faults: all must be as the model says, each time the same.
    fn check(&mut self, seed: u64, shape: &Shape, model: &SharedModel, restarts: u64) -> Result<(), Finding> {
        for again in 0..restarts {
            let faults = Faults { latency_us_max: 20, ..Faults::default() };
            let shape = Shape { operations: 0, epoch: shape.epoch + 1 + again, work: None, ..*shape };
            self.run(seed + again, faults, &shape, model)?;
            self.medium.lose_power(&mut Random::new(seed));
        }
        Ok(())
    }

    /// Starts on a damaged medium: whatever is answered is right, or an error, or excused.
    fn look_at_damage(&self, model: &SharedModel, excused: &Excused) -> Result<(), Finding> {
        let simulator = Simulator::new(1);
        let (machine, model) = (simulator.clone(), model.clone());
        let drive = SimulatedDrive::new(&simulator, &self.medium, Faults::default());
        let (anything, shards) = (excused.anything, excused.shards.clone());
        let ended = simulator.run(async move {
            let store = match start(&machine, &drive, 1).await {
                Ok(engines) => engines,
                // A start that is refused serves nothing.
                Err(_) => return Ok(()),
            };
            let engine = &store[0];
            let keys: Vec<_> =
                model.borrow().keys.iter().map(|(place, state)| (place.clone(), state.clone())).collect();
            for ((bucket, key), state) in keys {
                let found = match find_bucket(engine, &bucket) {
                    Ok(Some(found)) => found,
                    Err(_) => continue,
                    Ok(None) => {
                        let may_be_gone =
                            model.borrow().buckets.get(&bucket).is_some_and(|known| known.contains(&false));
                        let is_excused = anything || shards.contains(&ShardId(0));
                        if is_excused || may_be_gone || state.known.contains(&None) {
                            continue;
                        }
                        return finding(Kind::Lost, format!("bucket {bucket} is silently gone"));
                    }
                };
                let stats = &engine.stats()[usize::from(found.shard.0)];
                // A directory that is damaged may name buckets that were deleted since.
                let read_only = [stats, &engine.stats()[0]].iter().any(|stats| stats.read_only.load(Relaxed));
                let read_only = read_only || anything || shards.contains(&found.shard);
                match look(engine, &found, &key).await {
                    Err(Looked::Engine(_)) => {}
                    Err(Looked::Finding(found)) => return Err(found),
                    Ok(seen) if state.known.contains(&seen) => {}
                    Ok(Some(seen)) if read_only && state.past.contains(&seen) => {}
                    Ok(None) if read_only => {}
                    Ok(seen) => {
                        return finding(
                            Kind::Lost,
                            format!("{bucket}/{key:?}: got {seen:?}, expected {:?}", state.known),
                        );
                    }
                }
            }
            Ok(())
        });
        ended.unwrap_or_else(|stopped| finding(Kind::Wrong, format!("damage: {stopped:?}")))
    }
}

/// What one run works with.
struct Field {
    machine: Simulator,
    drive: SimulatedDrive,
    geometry: Geometry,
    model: SharedModel,
    working: Rc<Cell<bool>>,
    recovery_steps: Rc<Cell<u64>>,
    given_up: Rc<RefCell<BTreeSet<ShardId>>>,
}

/// One run; `faulty` says whether faults may happen from power-on, and whether they may happen at all.
async fn epoch(field: Field, shape: Shape, faulty: [bool; 2]) -> Result<(), Finding> {
    let Field { machine, drive, geometry, model, working, recovery_steps, given_up } = field;
    let [faulty, faulty_later] = faulty;
    let engines = match start(&machine, &drive, shape.cores).await {
        Ok(engines) => engines,
        // A drive that cannot be read stops the start with an error; nothing was served.
        Err(_) if faulty => return Ok(()),
        Err(text) => return finding(Kind::Wrong, format!("the store does not start: {text}")),
    };
    let last = engines.last().expect("at least one core").clone();
    if shape.epoch == LYING_EPOCH {
        let keys: Vec<_> = model.borrow().keys.keys().cloned().collect();
        for (name, key) in keys {
            let Ok(bucket) = last.bucket(&name) else { continue };
            if let Err(Looked::Finding(found)) = look(&last, &bucket, &key).await {
                return Err(found);
            }
        }
        return Ok(());
    }
    let failed = failures(&last);
    if !faulty && !failed.is_empty() {
        return finding(Kind::Lost, format!("a shard is read-only after a restart: {failed:?}"));
    }
    compare(&last, &model, faulty).await?;
    if !faulty {
        audit(&engines[0], 0).await?;
    }
    recovery_steps.set(drive.operations());
    if let Some(faults) = shape.work {
        drive.set_faults(faults);
    }
    working.set(true);
    if shape.epoch == LAST_WORD {
        return last_word(&engines[0]).await;
    }
    if shape.operations == 0 {
        return Ok(());
    }
    // Buckets are made while clients already work on others.
    let running = Rc::new(Cell::new(shape.clients));
    let found = Rc::new(RefCell::new(None));
    for client in 0..shape.clients {
        let nth = usize::try_from(client % u64::from(shape.cores)).expect("a core");
        let client = Client {
            engine: engines[nth].clone(),
            model: model.clone(),
            machine: machine.clone(),
            random: Random::new(machine.random()),
            number: client,
            epoch: shape.epoch,
            geometry,
        };
        let (running, found) = (running.clone(), found.clone());
        machine.spawn(async move {
            if let Err(finding) = client.work(shape.operations).await {
                found.borrow_mut().get_or_insert(finding);
            }
            running.set(running.get() - 1);
        });
    }
    // Without faults somebody looks at what is just being changed.
    if !(faulty || faulty_later) && machine.random().is_multiple_of(2) {
        let watcher = Watcher { engine: engines[0].clone(), model: model.clone(), machine: machine.clone() };
        let (running, found) = (running.clone(), found.clone());
        machine.spawn(async move {
            while 0 < running.get() {
                if let Err(finding) = watcher.look().await {
                    found.borrow_mut().get_or_insert(finding);
                }
            }
        });
    }
    while 0 < running.get() {
        machine.sleep_us(50).await;
    }
    if let Some(finding) = found.take() {
        return Err(finding);
    }
    if shape.epoch == MIXED_EPOCH {
        drive.set_faults(Faults::default());
        return after_mixed(&engines[0], &model, &drive, &given_up).await;
    }
    if faulty || faulty_later {
        return after_fault(&last, &model).await;
    }
    // Everything that was dropped gives its space back.
    for patience in (0..50).rev() {
        machine.sleep_us(200).await;
        if audit(&engines[0], patience).await? {
            break;
        }
    }
    compare(&last, &model, false).await
}

/// Whether all extents are accounted for; a finding when they are not and there is no `patience` left.
async fn audit(engine: &Engine, patience: u64) -> Result<bool, Finding> {
    for shard in (0_u16..).zip(engine.stats()).map(|(shard, _)| ShardId(shard)) {
        match engine.audit_space(shard).await {
            Ok(facts) if facts.granted_bytes == facts.free_bytes + facts.used_bytes => {}
            Ok(_) if 0 < patience => return Ok(false),
            other => return finding(Kind::Wrong, format!("space of {shard}: {other:?}")),
        }
    }
    Ok(true)
}

/// After a drive fault: what is certain can still be read, and a read-only shard takes nothing.
async fn after_fault(engine: &Engine, model: &SharedModel) -> Result<(), Finding> {
    let keys: Vec<_> =
        model.borrow().keys.iter().map(|(place, state)| (place.clone(), state.known.clone())).collect();
    for ((name, key), known) in keys {
        let Ok(bucket) = engine.bucket(&name) else { continue };
        let read_only = engine.stats()[usize::from(bucket.shard.0)].read_only.load(Relaxed);
        let is_doubtful = model.borrow().buckets.get(&name).is_some_and(|known| known.len() > 1);
        match (&known[..], look(engine, &bucket, &key).await) {
            (_, Err(Looked::Finding(found))) => return Err(found),
            // Nobody knows before the next start whether the bucket was deleted.
            (_, Err(Looked::Engine(EngineError::ReadOnly { .. }))) if is_doubtful => {}
            ([Some(want)], Ok(Some(seen))) if *want == seen => {}
            // Their absence may be news that never became durable.
            ([None], Ok(None) | Err(Looked::Engine(EngineError::ReadOnly { .. }))) => {}
            // The fault itself, or a change that nobody knows the end of.
            (_, Err(Looked::Engine(EngineError::Drive(error)))) if error.op == DriveOp::Read => {}
            (&[_, _, ..], _) => {}
            (known, seen) => {
                return finding(
                    Kind::Lost,
                    format!("after a fault {name}/{key:?} is {seen:?}, expected {known:?}"),
                );
            }
        }
        if read_only {
            let late = Bytes::from_static(b"late");
            for size in [10, 200_000] {
                if let Ok(Ok(_)) = put(engine, &bucket, &late, 1, size, PutCondition::None).await {
                    return finding(Kind::Lost, format!("a read-only shard took a write in {name}"));
                }
            }
        }
    }
    Ok(())
}

/// A key that every bucket gets when faults are over; no model knows it.
const LATE_WORD: &[u8] = b"word";

/// After all sorts of faults: what still takes writes gets a last one, what does not says so.
async fn after_mixed(
    engine: &Engine,
    model: &SharedModel,
    drive: &SimulatedDrive,
    given_up: &RefCell<BTreeSet<ShardId>>,
) -> Result<(), Finding> {
    let mut found = BTreeSet::new();
    let names: Vec<Arc<str>> = model.borrow().buckets.keys().cloned().collect();
    for name in names {
        // By name: while one of them is in doubt nobody lists them all.
        let Ok(bucket) = engine.bucket(&name) else { continue };
        let key = Bytes::from_static(LATE_WORD);
        match put(engine, &bucket, &key, 1, 10, PutCondition::None).await {
            Ok(Ok(_)) if is_read_only(engine, bucket.shard) => {
                return finding(Kind::Lost, format!("read-only {} took a write", bucket.shard));
            }
            Ok(Ok(_)) => drop(found.insert(bucket.shard)),
            // Its deletion was not acknowledged, nor will it be undone.
            Ok(Err(PutRefused::NoSuchBucket)) => {}
            Err(EngineError::Full { .. }) => {}
            Err(_) if is_read_only(engine, bucket.shard) || drive.has_failed() => {}
            other => return finding(Kind::Wrong, format!("the faults are over, a put: {other:?}")),
        }
    }
    let all = (0_u16..).zip(engine.stats()).map(|(shard, _)| ShardId(shard));
    *given_up.borrow_mut() = all.filter(|shard| !found.contains(shard)).collect();
    Ok(())
}

/// One object on every shard, so that its log has a block behind everything else.
async fn last_word(engine: &Engine) -> Result<(), Finding> {
    let shards = engine.stats().len();
    let mut covered = BTreeSet::new();
    for nth in 0.. {
        let name = format!("last-{nth}");
        let Ok(bucket) = engine.create_bucket(&name, Default::default()).await else {
            return finding(Kind::Wrong, "no bucket can be made");
        };
        if covered.insert(bucket.shard) && covered.len() == shards {
            break;
        }
    }
    let Ok(directory) = engine.directory() else {
        return finding(Kind::Wrong, "the buckets cannot be listed");
    };
    for bucket in directory.buckets.values().filter(|bucket| bucket.name.starts_with("last-")) {
        let put = put(engine, bucket, &Bytes::from_static(b"word"), 1, 10, PutCondition::None).await;
        if !matches!(put, Ok(Ok(_))) {
            return finding(Kind::Wrong, format!("no last word: {put:?}"));
        }
    }
    Ok(())
}

/// What an object is made of: seed and size of each part.
pub type Version = Vec<(u64, u64)>;

/// What the clients know of one key.
#[derive(Clone, Default)]
struct Key {
    /// Rises when a change is acknowledged.
    settled: u64,
    /// What it may be; one entry when that is certain.
    known: Vec<Option<Version>>,
    /// Everything that it was asked to be at some time.
    past: Vec<Version>,
}

/// Of each part number what it may be: absent, or sequence, size and seed.
type Parts = BTreeMap<u16, Vec<Option<(Sequence, u64, u64)>>>;

/// What all clients together know.
#[derive(Clone, Default)]
struct Model {
    keys: BTreeMap<(Arc<str>, Bytes), Key>,
    /// Buckets that come and go: whether they may exist.
    buckets: BTreeMap<Arc<str>, Vec<bool>>,
    /// Per client: the counter that its transaction set, in two values and an object.
    counters: BTreeMap<u64, Vec<u64>>,
    /// Keys that were given to the first who came: attempts, and whether somebody must have won.
    races: BTreeMap<u64, Race>,
    uploads: BTreeMap<(Arc<str>, UploadId), Parts>,
    operations: u64,
    trace: u64,
}

#[derive(Clone, Default)]
struct Race {
    attempts: Vec<u64>,
    is_taken: bool,
    winner: Option<u64>,
}

type SharedModel = Rc<RefCell<Model>>;

impl Model {
    fn shared(clients: u64) -> SharedModel {
        let mut model = Model::default();
        for client in 0..clients {
            model.counters.insert(client, vec![0]);
        }
        Rc::new(RefCell::new(model))
    }

    fn key(&mut self, bucket: &str, key: &Bytes) -> &mut Key {
        let fresh = || Key { known: vec![None], ..Key::default() };
        self.keys.entry((bucket.into(), key.clone())).or_insert_with(fresh)
    }

    /// A change was asked for.
    fn ask(&mut self, bucket: &str, key: &Bytes, change: Option<Version>) {
        let key = self.key(bucket, key);
        key.past.extend(change.clone());
        key.known.push(change);
    }

    /// The newest change that was asked for is acknowledged.
    fn settle(&mut self, bucket: &str, key: &Bytes) {
        let key = self.key(bucket, key);
        key.settled += 1;
        key.known = key.known.pop().into_iter().collect();
    }

    /// Somebody has seen what a key is (`is_seen`), after nothing was acknowledged since it was `settled` so often: what
    /// was asked for before can be no more.
    fn observe(
        &mut self,
        (bucket, key): &(Arc<str>, Bytes),
        settled: u64,
        is_seen: impl Fn(&Option<Version>) -> bool,
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

/// Why something could not be looked at.
#[derive(Debug)]
pub enum Looked {
    /// The engine answered with an error.
    Engine(EngineError),
    /// What it answered is wrong.
    Finding(Finding),
}

impl From<EngineError> for Looked {
    fn from(e: EngineError) -> Looked {
        Looked::Engine(e)
    }
}

/// What a key holds, with every byte compared to what its attributes say it must be.
pub async fn look(engine: &Engine, bucket: &Bucket, key: &Bytes) -> Result<Option<Version>, Looked> {
    let Some(reader) = engine.open(bucket, key.clone()).await? else { return Ok(None) };
    let (sizes, size, attributes) = (reader.part_sizes(), reader.info.size, reader.info.attributes.clone());
    let seeds: Vec<u64> = attributes
        .chunks_exact(8)
        .map(|seed| u64::from_le_bytes(seed.try_into().expect("8 bytes")))
        .collect();
    let bytes = read(reader, 0..size).await?;
    let version: Version = seeds.iter().copied().zip(sizes.iter().copied()).collect();
    let mut at = 0;
    for (seed, size) in &version {
        let want = content(*seed, *size);
        if bytes.get(at..at + want.len()) != Some(&want) {
            let text =
                format!("wrong bytes in {}/{key:?}, part of seed {seed} and {size} bytes", bucket.name);
            return Err(Looked::Finding(Finding { kind: Kind::Wrong, text }));
        }
        at += want.len();
    }
    if at != bytes.len() || seeds.len() != sizes.len() {
        let text = format!("{}/{key:?} has {} bytes, its parts {at}", bucket.name, bytes.len());
        return Err(Looked::Finding(Finding { kind: Kind::Torn, text }));
    }
    Ok(Some(version))
}

/// Compares everything with the model; what is seen is from now on certain.
///
/// With `lenient`, errors of drives are passed over: what cannot be read is not wrong.
async fn compare(engine: &Engine, model: &SharedModel, lenient: bool) -> Result<(), Finding> {
    let mut present: BTreeMap<Arc<str>, BTreeSet<Bytes>> = BTreeMap::new();
    let mut complete = true;
    let buckets: Vec<_> =
        model.borrow().buckets.iter().map(|(name, known)| (name.clone(), known.clone())).collect();
    for (name, known) in buckets {
        let exists = match find_bucket(engine, &name) {
            Ok(found) => found.is_some(),
            Err(_) if lenient => {
                complete = false;
                continue;
            }
            Err(e) => return finding(Kind::Lost, format!("bucket {name} cannot be looked for: {e}")),
        };
        if !known.contains(&exists) {
            return finding(Kind::Lost, format!("bucket {name} exists: {exists}, expected {known:?}"));
        }
        model.borrow_mut().buckets.insert(name, vec![exists]);
    }
    let keys: Vec<_> =
        model.borrow().keys.iter().map(|(place, state)| (place.clone(), state.known.clone())).collect();
    for ((name, key), known) in keys {
        let seen = match find_bucket(engine, &name) {
            Ok(Some(bucket)) => look(engine, &bucket, &key).await,
            Ok(None) => Ok(None),
            Err(e) => Err(e.into()),
        };
        let seen = match seen {
            Ok(seen) => seen,
            Err(Looked::Finding(found)) => return Err(found),
            Err(Looked::Engine(_)) if lenient => {
                complete = false;
                continue;
            }
            Err(Looked::Engine(e)) => {
                return finding(Kind::Lost, format!("{name}/{key:?} cannot be read: {e}"));
            }
        };
        if !known.contains(&seen) {
            let kind = if seen.is_none() || known.len() == 1 { Kind::Lost } else { Kind::Wrong };
            return finding(kind, format!("{name}/{key:?} is {seen:?}, expected one of {known:?}"));
        }
        if seen.is_some() {
            present.entry(name.clone()).or_default().insert(key.clone());
        }
        model.borrow_mut().key(&name, &key).known = vec![seen];
    }
    complete &= compare_counters(engine, model, &mut present, lenient).await?;
    complete &= compare_races(engine, model, &mut present, lenient).await?;
    complete &= compare_uploads(engine, model, lenient).await?;
    if complete {
        compare_listings(engine, &present, lenient).await?;
    }
    Ok(())
}

async fn compare_counters(
    engine: &Engine,
    model: &SharedModel,
    present: &mut BTreeMap<Arc<str>, BTreeSet<Bytes>>,
    lenient: bool,
) -> Result<bool, Finding> {
    let counters: Vec<_> =
        model.borrow().counters.iter().map(|(client, known)| (*client, known.clone())).collect();
    let mut complete = true;
    for (client, known) in counters {
        let name = counter_bucket(client);
        let Ok(bucket) = engine.bucket(name) else { continue };
        let (a, b, key) = counter_names(client);
        let values = engine.on_bucket(&bucket, ValueOwner::Catalog, move |bucket| async move {
            bucket.durable(bucket.last_sequence()).await?;
            Ok::<_, EngineError>([bucket.value(&a), bucket.value(&b)])
        });
        let (values, object) = match (values.await, look(engine, &bucket, &key).await) {
            (_, Err(Looked::Finding(found))) => return Err(found),
            (Ok(Ok(values)), Ok(object)) => (values, object),
            _ if lenient => {
                complete = false;
                continue;
            }
            (values, object) => {
                return finding(
                    Kind::Lost,
                    format!("counter {client} cannot be read: {values:?} {object:?}"),
                );
            }
        };
        let number = |value: &Option<Bytes>| {
            value.as_ref().map_or(0, |v| u64::from_le_bytes(v[..8].try_into().expect("8 bytes were set")))
        };
        let (first, second) = (number(&values[0]), number(&values[1]));
        let third = object.as_ref().map_or(0, |version| version[0].0);
        if first != second || second != third {
            return finding(
                Kind::Torn,
                format!("counter {client}: values {first} and {second}, object {third}"),
            );
        }
        if !known.contains(&first) {
            return finding(Kind::Lost, format!("counter {client} is {first}, expected one of {known:?}"));
        }
        if object.is_some() {
            present.entry(name.into()).or_default().insert(key);
        }
        model.borrow_mut().counters.insert(client, vec![first]);
    }
    Ok(complete)
}

async fn compare_races(
    engine: &Engine,
    model: &SharedModel,
    present: &mut BTreeMap<Arc<str>, BTreeSet<Bytes>>,
    lenient: bool,
) -> Result<bool, Finding> {
    let races: Vec<_> = model.borrow().races.iter().map(|(race, state)| (*race, state.clone())).collect();
    let mut complete = true;
    for (race, state) in races {
        let Ok(bucket) = engine.bucket(BUCKETS[0]) else { continue };
        let key = race_key(race);
        let seen = match look(engine, &bucket, &key).await {
            Ok(seen) => seen.map(|version| version[0].0),
            Err(Looked::Finding(found)) => return Err(found),
            Err(Looked::Engine(_)) if lenient => {
                complete = false;
                continue;
            }
            Err(Looked::Engine(e)) => return finding(Kind::Lost, format!("race {race} cannot be read: {e}")),
        };
        let right = match seen {
            None => !state.is_taken,
            Some(seed) => state.attempts.contains(&seed) && state.winner.is_none_or(|winner| winner == seed),
        };
        if !right {
            let text =
                format!("race {race}: {seen:?} won, expected {:?}, taken {}", state.winner, state.is_taken);
            return finding(Kind::Lost, text);
        }
        if seen.is_some() {
            present.entry(BUCKETS[0].into()).or_default().insert(key);
        }
        let mut model = model.borrow_mut();
        let state = model.races.entry(race).or_default();
        (state.is_taken, state.winner) = (seen.is_some(), seen);
        if seen.is_none() {
            state.attempts.clear();
        }
    }
    Ok(complete)
}

/// Open uploads are there with the parts that were acknowledged; what nobody waits for any more is aborted.
async fn compare_uploads(engine: &Engine, model: &SharedModel, lenient: bool) -> Result<bool, Finding> {
    let uploads = std::mem::take(&mut model.borrow_mut().uploads);
    let mut aborted = true;
    for ((name, id), parts) in uploads {
        let Ok(bucket) = engine.bucket(&name) else {
            return finding(Kind::Lost, format!("the bucket of upload {id} is gone"));
        };
        match engine.parts(&bucket, id, 0, 100).await {
            Err(_) if lenient => continue,
            Ok(Some(listed)) => {
                for (number, known) in parts {
                    let part = listed.iter().find(|part| part.number == number);
                    let right = match part {
                        None => known.contains(&None),
                        Some(part) => known.iter().any(|known| match known {
                            Some((sequence, size, _)) => {
                                part.size == *size && (*sequence == part.sequence || sequence.0 == 0)
                            }
                            None => false,
                        }),
                    };
                    if !right {
                        return finding(
                            Kind::Lost,
                            format!("part {number} of {id}: {part:?}, expected {known:?}"),
                        );
                    }
                }
            }
            other => return finding(Kind::Lost, format!("upload {id} is gone: {other:?}")),
        }
        // A cut here may leave it open or not: it is forgotten either way.
        aborted &= engine.abort_upload(&bucket, id).await.is_ok();
    }
    Ok(aborted || !lenient)
}

async fn compare_listings(
    engine: &Engine,
    present: &BTreeMap<Arc<str>, BTreeSet<Bytes>>,
    lenient: bool,
) -> Result<(), Finding> {
    let directory = match engine.directory() {
        Ok(directory) => directory,
        Err(_) if lenient => return Ok(()),
        Err(e) => return finding(Kind::Lost, format!("the buckets cannot be listed: {e}")),
    };
    for bucket in directory.buckets.values() {
        let mut listed = BTreeSet::new();
        let mut query = ListQuery { max: 3, ..ListQuery::default() };
        loop {
            let page = match engine.list(bucket, query.clone()).await {
                Ok(page) => page,
                Err(_) if lenient => return Ok(()),
                Err(e) => return finding(Kind::Lost, format!("{} cannot be listed: {e}", bucket.name)),
            };
            listed.extend(page.objects.into_iter().map(|(key, _)| key).filter(|key| key != LATE_WORD));
            let Some(next) = page.next_after else { break };
            query.after = next;
        }
        let none = BTreeSet::new();
        let want = present.get(&bucket.name).unwrap_or(&none);
        if listed != *want && !bucket.name.starts_with("last-") {
            return finding(Kind::Wrong, format!("{} lists {listed:?}, its keys are {want:?}", bucket.name));
        }
    }
    Ok(())
}

fn counter_bucket(client: u64) -> &'static str {
    BUCKETS[usize::try_from(client % BUCKETS.len() as u64).expect("an index")]
}

fn counter_names(client: u64) -> (Bytes, Bytes, Bytes) {
    let name = |what: &str| Bytes::from(format!("{what}/{client}"));
    (name("a"), name("b"), name("counter"))
}

fn race_key(race: u64) -> Bytes {
    format!("race/{race}").into()
}

/// Reads, lists and is refused because of what others are about to change: what it has seen must stay, also when the power
/// goes before the writer was answered.
struct Watcher {
    engine: Engine,
    model: SharedModel,
    machine: Simulator,
}

impl Watcher {
    async fn look(&self) -> Result<(), Finding> {
        self.machine.sleep_us(1 + self.machine.random() % 40).await;
        let (place, settled) = {
            let model = self.model.borrow();
            let changing: Vec<_> = model.keys.iter().filter(|(_, state)| 1 < state.known.len()).collect();
            let Some(nth) = self.machine.random().checked_rem(changing.len() as u64) else { return Ok(()) };
            let (place, state) = changing[usize::try_from(nth).expect("an index")];
            (place.clone(), state.settled)
        };
        let Ok(bucket) = self.engine.bucket(&place.0) else { return Ok(()) };
        let how = self.machine.random() % 3;
        if how == 0 {
            // A tag that nothing has: the refusal tells whether there is anything.
            let condition = PutCondition::IfMatch(vec![tag(u64::MAX)]);
            let exists = match self.engine.delete_if(&bucket, place.1.clone(), condition).await {
                Ok(Err(PutRefused::PreconditionFailed)) => true,
                Ok(Err(PutRefused::NoSuchKey)) => false,
                Ok(Err(PutRefused::NoSuchBucket)) | Err(_) => return Ok(()),
                other => {
                    return finding(
                        Kind::Wrong,
                        format!("a condition that {place:?} cannot meet: {other:?}"),
                    );
                }
            };
            let mut model = self.model.borrow_mut();
            return model.observe(&place, settled, |version| version.is_some() == exists);
        }
        if how == 1 {
            let query = ListQuery { prefix: place.1.clone(), max: 1, ..ListQuery::default() };
            let Ok(page) = self.engine.list(&bucket, query).await else { return Ok(()) };
            let listed = page.objects.into_iter().find(|(key, _)| *key == place.1);
            return self.model.borrow_mut().observe(&place, settled, |version| match (version, &listed) {
                (None, None) => true,
                (Some(version), Some((_, info))) => {
                    let seeds = version.iter().flat_map(|(seed, _)| seed.to_le_bytes());
                    let size: u64 = version.iter().map(|(_, size)| size).sum();
                    size == info.size && seeds.eq(info.attributes.iter().copied())
                }
                _ => false,
            });
        }
        match look(&self.engine, &bucket, &place.1).await {
            Ok(seen) => self.model.borrow_mut().observe(&place, settled, |version| *version == seen),
            Err(Looked::Finding(found)) => Err(found),
            Err(Looked::Engine(EngineError::Corrupt(damage))) => {
                finding(Kind::Lost, format!("{place:?} on a drive without faults: {damage}"))
            }
            Err(Looked::Engine(_)) => Ok(()),
        }
    }
}

/// One client: it does one thing after the other, and only it writes to its keys.
struct Client {
    engine: Engine,
    model: SharedModel,
    machine: Simulator,
    random: Random,
    number: u64,
    epoch: u64,
    geometry: Geometry,
}

impl Client {
    async fn work(mut self, operations: u64) -> Result<(), Finding> {
        for _ in 0..operations {
            let us = self.random.below(120);
            self.machine.sleep_us(us).await;
            self.model.borrow_mut().operations += 1;
            let nth = usize::try_from(self.random.below(BUCKETS.len() as u64)).expect("an index");
            let Some(bucket) = self.bucket(BUCKETS[nth]).await? else { continue };
            match self.random.below(16) {
                0..=4 => self.put(&bucket).await?,
                5 => self.delete(&bucket).await?,
                6 => self.delete_many(&bucket).await?,
                7 => self.get(&bucket).await?,
                8 | 9 => self.multipart(&bucket).await?,
                10 | 11 => self.count().await?,
                12 | 13 => self.race().await?,
                14 => self.give_up(&bucket).await,
                _ => self.short_bucket().await?,
            }
            let drawn = self.random.draw();
            let mut model = self.model.borrow_mut();
            model.trace = model.trace.rotate_left(3) ^ drawn ^ self.machine.now_us();
        }
        Ok(())
    }

    fn own_key(&mut self) -> Bytes {
        let nth = self.random.below(KEYS);
        format!("own/{}/{nth}", self.number).into()
    }

    fn size(&mut self) -> u64 {
        self.geometry.draw_size(&mut self.random)
    }

    /// A seed that no other version has.
    fn seed(&mut self) -> u64 {
        (self.random.draw() >> 1).max(1)
    }

    /// A bucket of the round, made when it is not there.
    async fn bucket(&mut self, name: &str) -> Result<Option<Arc<Bucket>>, Finding> {
        if let Ok(bucket) = self.engine.bucket(name) {
            return Ok(Some(bucket));
        }
        self.model.borrow_mut().buckets.entry(name.into()).or_insert_with(|| vec![false]).push(true);
        match self.engine.create_bucket(name, Default::default()).await {
            Ok(bucket) => {
                self.model.borrow_mut().buckets.insert(name.into(), vec![true]);
                Ok(Some(bucket))
            }
            Err(BucketError::Exists) => {
                self.model.borrow_mut().buckets.insert(name.into(), vec![true]);
                Ok(self.engine.bucket(name).ok())
            }
            Err(BucketError::Engine(_)) => Ok(None),
            Err(e) => finding(Kind::Wrong, format!("create bucket {name}: {e:?}")),
        }
    }

    fn may_be_gone(&self, bucket: &str) -> bool {
        self.model.borrow().buckets.get(bucket).is_some_and(|known| known.contains(&false))
    }

    async fn put(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let (key, seed, size) = (self.own_key(), self.seed(), self.size());
        self.put_as(bucket, &key, seed, size).await
    }

    async fn put_as(
        &mut self,
        bucket: &Arc<Bucket>,
        key: &Bytes,
        seed: u64,
        size: u64,
    ) -> Result<(), Finding> {
        self.model.borrow_mut().ask(&bucket.name, key, Some(vec![(seed, size)]));
        match put(&self.engine, bucket, key, seed, size, PutCondition::None).await {
            Ok(Ok(info)) if info.size == size => self.model.borrow_mut().settle(&bucket.name, key),
            // Its deletion was not acknowledged, nor will it be undone.
            Ok(Err(PutRefused::NoSuchBucket)) if self.may_be_gone(&bucket.name) => {}
            Ok(other) => return finding(Kind::Wrong, format!("put: {other:?}")),
            Err(_) => {}
        }
        Ok(())
    }

    async fn delete(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let key = self.own_key();
        self.delete_keys(bucket, vec![key]).await
    }

    async fn delete_many(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let keys = (0..KEYS).map(|nth| format!("own/{}/{nth}", self.number).into()).collect();
        self.delete_keys(bucket, keys).await
    }

    async fn delete_keys(&mut self, bucket: &Arc<Bucket>, keys: Vec<Bytes>) -> Result<(), Finding> {
        let mut certain = Vec::new();
        for key in &keys {
            let mut model = self.model.borrow_mut();
            let known = &model.key(&bucket.name, key).known;
            certain.push((known.len() == 1).then(|| known[0].is_some()));
            model.ask(&bucket.name, key, None);
        }
        if let Ok(found) = self.engine.delete(bucket, keys.clone()).await {
            for ((key, certain), found) in keys.iter().zip(certain).zip(found) {
                if certain.is_some_and(|there| there != found) {
                    return finding(
                        Kind::Lost,
                        format!("delete of {key:?}: was there {found}, expected {certain:?}"),
                    );
                }
                self.model.borrow_mut().settle(&bucket.name, key);
            }
        }
        Ok(())
    }

    async fn get(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let key = self.own_key();
        match look(&self.engine, bucket, &key).await {
            Err(Looked::Finding(found)) => Err(found),
            Err(Looked::Engine(_)) => Ok(()),
            Ok(seen) => {
                let mut model = self.model.borrow_mut();
                let known = &model.key(&bucket.name, &key).known;
                if known.contains(&seen) {
                    return Ok(());
                }
                finding(Kind::Lost, format!("read of {key:?}: {seen:?}, expected one of {known:?}"))
            }
        }
    }

    async fn multipart(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let key = self.own_key();
        let Ok(Ok(id)) = self.engine.create_upload(bucket, key.clone(), Bytes::new()).await else {
            return Ok(());
        };
        let place = (bucket.name.clone(), id);
        self.model.borrow_mut().uploads.insert(place.clone(), BTreeMap::new());
        for _ in 0..1 + self.random.below(4) {
            let number = 1 + u16::try_from(self.random.below(3)).expect("below 3");
            let (seed, size) = (self.seed(), self.size());
            let asked = Some((Sequence(0), size, seed));
            {
                let mut model = self.model.borrow_mut();
                let parts = model.uploads.entry(place.clone()).or_default();
                parts.entry(number).or_insert_with(|| vec![None]).push(asked);
            }
            let Ok(mut writer) = self.engine.writer(bucket, size).await else { continue };
            if feed(&mut writer, &content(seed, size)).await.is_err() {
                continue;
            }
            match writer.publish_part(id, number, tag(seed), Bytes::new()).await {
                Ok(Ok(part)) => {
                    let certain = vec![Some((part.sequence, size, seed))];
                    self.model.borrow_mut().uploads.entry(place.clone()).or_default().insert(number, certain);
                }
                Ok(Err(refused)) => {
                    return finding(Kind::Lost, format!("part of an open upload: {refused:?}"));
                }
                Err(_) => {}
            }
        }
        if self.random.one_in(4) {
            return Ok(());
        }
        let parts = self.model.borrow().uploads.get(&place).cloned().unwrap_or_default();
        let mut chosen: Vec<(u16, (Sequence, u64, u64))> = Vec::new();
        for (number, known) in parts {
            if let [Some(part)] = known[..] {
                chosen.push((number, part));
            }
        }
        // From here on nobody can say whether the upload is still open.
        self.model.borrow_mut().uploads.remove(&place);
        if chosen.is_empty() || self.random.one_in(4) {
            return match self.engine.abort_upload(bucket, id).await {
                Ok(false) => finding(Kind::Lost, "an open upload could not be aborted"),
                Ok(true) | Err(_) => Ok(()),
            };
        }
        let version: Version = chosen.iter().map(|(_, (_, size, seed))| (*seed, *size)).collect();
        let attributes: Vec<u8> = version.iter().flat_map(|(seed, _)| seed.to_le_bytes()).collect();
        let parts = chosen.iter().map(|(number, (sequence, _, _))| (*number, *sequence)).collect();
        self.model.borrow_mut().ask(&bucket.name, &key, Some(version));
        let condition = PutCondition::None;
        match self.engine.complete_upload(bucket, id, parts, condition, tag(1), attributes.into()).await {
            Ok(Ok(_)) => self.model.borrow_mut().settle(&bucket.name, &key),
            Ok(Err(refused)) => {
                return finding(Kind::Lost, format!("completion of an open upload: {refused:?}"));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Two values and an object, always set together.
    async fn count(&mut self) -> Result<(), Finding> {
        let client = self.number;
        let Some(bucket) = self.bucket(counter_bucket(client)).await? else { return Ok(()) };
        let next = self.model.borrow().counters[&client].iter().max().copied().unwrap_or(0) + 1;
        if let Some(known) = self.model.borrow_mut().counters.get_mut(&client) {
            known.push(next);
        }
        let (a, b, key) = counter_names(client);
        let body = content(next, self.size());
        let staged = Some((key, body, next));
        let settled = transact(&self.engine, &bucket, 4_096, staged, move |_, transaction| {
            let value = Bytes::copy_from_slice(&next.to_le_bytes());
            transaction.values.push((a, Some(value.clone())));
            transaction.values.push((b, Some(value)));
        });
        if settled.await.is_ok() {
            self.model.borrow_mut().counters.insert(client, vec![next]);
        }
        Ok(())
    }

    async fn race(&mut self) -> Result<(), Finding> {
        let Some(bucket) = self.bucket(BUCKETS[0]).await? else { return Ok(()) };
        let race = self.random.below(RACES) + self.epoch * RACES;
        let (seed, size) = (self.seed(), self.size());
        self.model.borrow_mut().races.entry(race).or_default().attempts.push(seed);
        let put = put(&self.engine, &bucket, &race_key(race), seed, size, PutCondition::IfAbsent).await;
        let mut model = self.model.borrow_mut();
        let state = model.races.entry(race).or_default();
        match put {
            Ok(Ok(_)) if state.winner.is_some() => {
                return finding(Kind::Wrong, format!("race {race} has two winners"));
            }
            Ok(Ok(_)) => (state.is_taken, state.winner) = (true, Some(seed)),
            Ok(Err(PutRefused::PreconditionFailed)) => {
                state.is_taken = true;
                state.attempts.retain(|attempt| *attempt != seed);
            }
            Ok(Err(refused)) => return finding(Kind::Wrong, format!("race {race}: {refused:?}")),
            Err(_) => {}
        }
        Ok(())
    }

    /// Begins an upload and goes away.
    async fn give_up(&mut self, bucket: &Arc<Bucket>) {
        let size = 131_073 + self.random.below(700_000);
        let Ok(mut writer) = self.engine.writer(bucket, size).await else { return };
        let bytes = content(1, self.random.below(size));
        drop(writer.write(bytes).await);
    }

    /// A write to an empty bucket and the deletion of that bucket at once: one of them comes first, and then the other one
    /// is refused.
    async fn contest(
        &mut self,
        bucket: &Arc<Bucket>,
        key: &Bytes,
        seed: u64,
        size: u64,
    ) -> Result<(), Finding> {
        let name = bucket.name.clone();
        {
            let mut model = self.model.borrow_mut();
            model.ask(&name, key, Some(vec![(seed, size)]));
            model.buckets.insert(name.clone(), vec![true, false]);
        }
        let written = put(&self.engine, bucket, key, seed, size, PutCondition::None);
        let both = futures_util::future::join(written, self.engine.delete_bucket(&name)).await;
        let mut model = self.model.borrow_mut();
        let exists = match &both {
            (Ok(Ok(_)), Ok(())) => {
                let text = format!("{name} took a write and was deleted, and both were acknowledged");
                return finding(Kind::Lost, text);
            }
            (Ok(Ok(_)), Err(BucketError::NotEmpty | BucketError::Engine(_))) => {
                model.settle(&name, key);
                vec![true]
            }
            (Ok(Err(PutRefused::NoSuchBucket)) | Err(_), Ok(())) => {
                model.ask(&name, key, None);
                model.settle(&name, key);
                vec![false]
            }
            (Ok(Err(PutRefused::NoSuchBucket)), Err(BucketError::Engine(_))) => {
                model.ask(&name, key, None);
                model.settle(&name, key);
                vec![true, false]
            }
            (Err(_), Err(BucketError::NotEmpty)) => vec![true],
            (Err(_), Err(BucketError::Engine(_))) => vec![true, false],
            other => return finding(Kind::Wrong, format!("a write to {name} and its deletion: {other:?}")),
        };
        model.buckets.insert(name, exists);
        Ok(())
    }

    /// A bucket of the client's own comes, holds something, and goes.
    async fn short_bucket(&mut self) -> Result<(), Finding> {
        let name: Arc<str> = format!("short-{}", self.number).into();
        let Some(bucket) = self.bucket(&name).await? else { return Ok(()) };
        let key = Bytes::from_static(b"own/short");
        let (seed, size) = (self.seed(), self.size());
        let is_empty = {
            let mut model = self.model.borrow_mut();
            model.key(&name, &key).known == [None] && model.buckets.get(&name).is_some_and(|b| *b == [true])
        };
        if is_empty && self.random.one_in(2) {
            return self.contest(&bucket, &key, seed, size).await;
        }
        self.put_as(&bucket, &key, seed, size).await?;
        if self.random.one_in(3) {
            return Ok(());
        }
        let certain = self.model.borrow_mut().key(&name, &key).known.len() == 1;
        if !certain {
            // The put may have failed: then the bucket is empty and may go.
            self.model.borrow_mut().buckets.entry(name.clone()).or_default().push(false);
        }
        match self.engine.delete_bucket(&name).await {
            Err(BucketError::NotEmpty | BucketError::Engine(_)) => {}
            other if certain => {
                return finding(Kind::Lost, format!("a bucket that holds an object: {other:?}"));
            }
            Ok(()) => {
                self.model.borrow_mut().buckets.insert(name, vec![false]);
                return Ok(());
            }
            Err(_) => return Ok(()),
        }
        self.delete_keys(&bucket, vec![key.clone()]).await?;
        if self.model.borrow_mut().key(&name, &key).known != [None] {
            return Ok(());
        }
        self.model.borrow_mut().buckets.entry(name.clone()).or_default().push(false);
        match self.engine.delete_bucket(&name).await {
            Ok(()) => {
                self.model.borrow_mut().buckets.insert(name, vec![false]);
                Ok(())
            }
            Err(BucketError::Engine(_)) => Ok(()),
            Err(e) => finding(Kind::Wrong, format!("an empty bucket is not deleted: {e:?}")),
        }
    }
}
