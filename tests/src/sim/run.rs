//! One run of a round: the process starts on the medium as the last one left it, is compared with the model, lets clients
//! work, and ends by itself, by a fault or by a cut.
//!
//! `rounds` calls it. I1. Clients begin only when all has been compared. I2. An error is only passed over where faults
//! may happen; the absence of what is certain never is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use nilas_engine::platform::simulated::{
    Faults, Happened, Medium, Random, Rates, SimulatedDrive, Simulator, Stopped,
};
use nilas_engine::{DriveOp, Engine, EngineError, PutCondition, PutRefused, ShardId, WriteError};

use super::client::{Client, Watcher};
use super::compare::compare;
use super::model::{LATE_WORD, SharedModel};
use crate::conformance::put;
use crate::machine::{
    Finding, Geometry, Kind, failures, find_bucket, finding, formatted, is_read_only, start,
};
use crate::read_back::{Looked, look};

/// The size of one run.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) cores: u16,
    pub(super) clients: u64,
    pub(super) operations: u64,
    pub(super) epoch: u64,
    /// What goes wrong from the moment on when all has recovered and been compared; `None` leaves it as it was.
    pub(super) work: Option<Faults>,
}

/// How a run ended, without a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Finished,
    CutInRecovery,
    Cut,
}

/// The medium of a round.
pub(super) struct Machine {
    pub(super) medium: Medium,
    pub(super) geometry: Geometry,
    /// Drive steps of the last recovery that came to its end, comparison included.
    pub(super) recovery_steps: Rc<Cell<u64>>,
    /// What went wrong by chance in the last run, and which shards were read-only at its end.
    pub(super) happened: Rc<Cell<Happened>>,
    pub(super) given_up: Rc<RefCell<BTreeSet<ShardId>>>,
}

impl Machine {
    pub(super) fn new(geometry: Geometry) -> Machine {
        Machine {
            medium: formatted(geometry),
            geometry,
            recovery_steps: Rc::default(),
            happened: Rc::default(),
            given_up: Rc::default(),
        }
    }

    /// Starts the store, compares it with the model, lets the clients work; whatever ends it.
    pub(super) fn run(
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
    pub(super) fn check(
        &mut self,
        seed: u64,
        shape: &Shape,
        model: &SharedModel,
        restarts: u64,
    ) -> Result<(), Finding> {
        for again in 0..restarts {
            let faults = Faults { latency_us_max: 20, ..Faults::default() };
            let shape = Shape { operations: 0, epoch: shape.epoch + 1 + again, work: None, ..*shape };
            self.run(seed + again, faults, &shape, model)?;
            self.medium.lose_power(&mut Random::new(seed));
        }
        Ok(())
    }

    /// Starts on a damaged medium: whatever is answered is right, or an error, or excused.
    pub(super) fn look_at_damage(&self, model: &SharedModel, excused: &Excused) -> Result<(), Finding> {
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

/// The epoch of a mixed round in which things go wrong.
pub(super) const MIXED_EPOCH: u64 = 2_000;
/// The same, when recovery was lied to: its clients only look.
pub(super) const LYING_EPOCH: u64 = 2_001;

/// What may be missing from a damaged store without a word.
#[derive(Default)]
pub(super) struct Excused {
    /// Anything may be as it once was.
    pub(super) anything: bool,
    /// In the buckets of these shards.
    pub(super) shards: BTreeSet<ShardId>,
}

/// The epoch in which every shard gets one more record.
pub(super) const LAST_WORD: u64 = 1_000;

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

/// The life of the process in one run; `faulty` says whether faults may happen from power-on, and whether they may happen at all.
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
        let is_indeterminate = model.borrow().buckets.get(&name).is_some_and(|known| known.len() > 1);
        match (&known[..], look(engine, &bucket, &key).await) {
            (_, Err(Looked::Finding(found))) => return Err(found),
            // Nobody knows before the next start whether the bucket was deleted.
            (_, Err(Looked::Engine(EngineError::ReadOnly { .. }))) if is_indeterminate => {}
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
                if put(engine, &bucket, &late, 1, size, PutCondition::None).await.is_ok() {
                    return finding(Kind::Lost, format!("a read-only shard took a write in {name}"));
                }
            }
        }
    }
    Ok(())
}

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
        // By name: while one of them is indeterminate nobody lists them all.
        let Ok(bucket) = engine.bucket(&name) else { continue };
        let key = Bytes::from_static(LATE_WORD);
        match put(engine, &bucket, &key, 1, 10, PutCondition::None).await {
            Ok(_) if is_read_only(engine, bucket.shard) => {
                return finding(Kind::Lost, format!("read-only {} took a write", bucket.shard));
            }
            Ok(_) => drop(found.insert(bucket.shard)),
            // Its deletion was not acknowledged, nor will it be undone.
            Err(WriteError::Refused(PutRefused::NoSuchBucket)) => {}
            Err(WriteError::Engine(EngineError::Full { .. })) => {}
            Err(WriteError::Engine(_)) if is_read_only(engine, bucket.shard) || drive.has_failed() => {}
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
        if put.is_err() {
            return finding(Kind::Wrong, format!("no last word: {put:?}"));
        }
    }
    Ok(())
}
