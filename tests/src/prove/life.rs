//! One store and one client through several machines: what was asked, what was answered, what may be there.
//!
//! I1. After a strict session everything in the store was read and is what the model says, byte by byte. I2. An
//! operation that the power cut short may have happened, wholly.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use nilas_engine::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
use nilas_engine::{Engine, EngineError, ShardId};

use crate::machine::{
    Finding, Geometry, Kind, failures, finding, formatted, is_read_only, on_machine, start,
};
use crate::model::{Condition, Key, Model, Op};
use crate::ops::{Possible, Slots, apply, everything};
use crate::read_back::Looked;

/// The body of an object that no script has.
const LATE_SEED: u64 = 1 << 50;

/// A store and what its client knows of it.
pub(super) struct Life {
    pub(super) medium: Medium,
    pub(super) geometry: Geometry,
    pub(super) state: Rc<RefCell<State>>,
}

/// What the client knows.
#[derive(Clone)]
pub(super) struct State {
    pub(super) possible: Possible,
    pub(super) slots: Slots,
    /// Still to be asked.
    pub(super) script: VecDeque<(Key, Op)>,
    /// Asked and not answered.
    current: Option<(Key, Op)>,
    /// What the store held after each answer, if that is kept.
    pub(super) history: Option<Vec<(Model, Medium)>>,
    pub(super) operations: u64,
    pub(super) errors: u64,
    /// The drive is full: the store has lived long enough.
    pub(super) full: bool,
    /// Of the last session: drive steps when the last operation began, and at its end, barriers, buffers.
    pub(super) last_began: u64,
    pub(super) steps: u64,
    pub(super) barriers: u64,
    pub(super) buffers: u64,
}

/// How one machine is run.
#[derive(Clone, Copy)]
pub(super) struct Session {
    pub(super) seed: u64,
    pub(super) cores: u16,
    pub(super) recovery: Faults,
    /// From the first operation on; `None` leaves them as they are.
    pub(super) work: Option<Faults>,
    /// Refuses this buffer, counted from power-on.
    pub(super) refuse_buffer: Option<u64>,
    /// Any error is a finding, and all is compared before the first operation.
    pub(super) strict: bool,
    /// Whether all is compared at the start of a strict session.
    pub(super) compare: bool,
    /// Ends as a server that is told to stop.
    pub(super) stop: bool,
    /// Goes on for so long after the last answer, in microseconds of virtual time.
    pub(super) linger_us: u64,
}

impl Session {
    /// Without faults.
    pub(super) fn strict(seed: u64) -> Session {
        let recovery = Faults { latency_us_max: 40, ..Faults::default() };
        Session {
            seed,
            cores: 1,
            recovery,
            work: None,
            refuse_buffer: None,
            strict: true,
            compare: true,
            stop: false,
            linger_us: 0,
        }
    }

    /// With faults from power-on.
    pub(super) fn faulty(seed: u64, faults: Faults) -> Session {
        let recovery = Faults { latency_us_max: 40, ..faults };
        Session { recovery, strict: false, compare: false, ..Session::strict(seed) }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Finished,
    NotStarted,
    Cut,
}

impl Life {
    /// An empty store.
    pub(super) fn new(geometry: Geometry) -> Life {
        let state = State {
            possible: Possible::new(Model::default()),
            slots: Slots::default(),
            script: VecDeque::new(),
            current: None,
            history: None,
            operations: 0,
            errors: 0,
            full: false,
            last_began: 0,
            steps: 0,
            barriers: 0,
            buffers: 0,
        };
        Life { medium: formatted(geometry), geometry, state: Rc::new(RefCell::new(state)) }
    }

    /// Another life that goes on from the same durable bytes.
    pub(super) fn branch(&self) -> Life {
        let state = Rc::new(RefCell::new(self.state.borrow().clone()));
        Life { medium: self.medium.duplicate(), geometry: self.geometry, state }
    }

    /// The same with what is pending.
    pub(super) fn fork(&self) -> Life {
        Life { medium: self.medium.fork(), ..self.branch() }
    }

    /// Asks these next.
    pub(super) fn script(&self, script: VecDeque<(Key, Op)>) {
        self.state.borrow_mut().script = script;
    }

    /// Runs a machine until the script is empty, it fails to start, or the power goes.
    pub(super) fn run(&self, session: Session) -> Result<Ended, Finding> {
        let state = self.state.clone();
        let medium = self.medium.clone();
        let ended = on_machine(session.seed, &self.medium, session.recovery, async move |machine, drive| {
            live(machine, drive, medium, state, session).await
        })?;
        let ended = ended.unwrap_or(Ended::Cut);
        let mut state = self.state.borrow_mut();
        let State { possible, slots, current, .. } = &mut *state;
        if let Some((name, op)) = current.take() {
            possible.answered(slots, name, &op, Err(Looked::Engine(EngineError::Stopping)), false)?;
        }
        Ok(ended)
    }

    /// A strict session without operations: all must be there.
    pub(super) fn check(&self, seed: u64) -> Result<(), Finding> {
        self.script(VecDeque::new());
        let ended = self.run(Session::strict(seed))?;
        assert_eq!(ended, Ended::Finished, "strict sessions end");
        Ok(())
    }
}

async fn live(
    machine: Simulator,
    drive: SimulatedDrive,
    medium: Medium,
    state: Rc<RefCell<State>>,
    session: Session,
) -> Result<Ended, Finding> {
    if let Some(nth) = session.refuse_buffer {
        machine.refuse_buffer(nth);
    }
    let engines = match start(&machine, &drive, session.cores).await {
        Ok(engines) => engines,
        Err(text) if session.strict => {
            return finding(Kind::Lost, format!("the store does not start: {text}"));
        }
        Err(_) => return Ok(Ended::NotStarted),
    };
    if session.strict {
        compare(&engines[0], &state, session.compare).await?;
    }
    if let Some(work) = session.work {
        drive.set_faults(work);
    }
    let next = |state: &RefCell<State>| {
        let mut state = state.borrow_mut();
        state.current = state.script.pop_front();
        if state.current.is_some() {
            state.last_began = drive.operations();
        }
        (state.current.clone(), state.slots.clone())
    };
    let (mut turn, mut again) = (0, BTreeSet::new());
    while let (Some((name, op)), mut slots) = next(&state) {
        let given_up = drive.has_failed_wholly();
        let shard = match op {
            // The directory's business.
            Op::CreateBucket | Op::DeleteBucket | Op::System { .. } => Ok(ShardId(0)),
            _ => engines[turn].bucket(name).map(|bucket| bucket.shard),
        };
        let was_read_only = shard.is_ok_and(|shard| is_read_only(&engines[turn], shard));
        turn = (turn + 1) % engines.len();
        let answer = apply(&engines[turn], &mut slots, name, &op).await;
        let mut state = state.borrow_mut();
        state.current = None;
        state.operations += 1;
        if let (Err(Looked::Engine(_)), Op::DeleteBucket) = (&answer, &op)
            && again.insert(name)
        {
            // It may be gone: nothing that comes now may be taken and be gone with it.
            let put = Op::Put { key: "late", seed: LATE_SEED, size: 100, condition: Condition::None };
            [put, Op::DeleteBucket].into_iter().for_each(|op| state.script.push_front((name, op)));
        }
        if let Err(Looked::Engine(error)) = &answer {
            state.errors += 1;
            match error {
                EngineError::Full { .. } if session.strict => state.full = true,
                error if session.strict => {
                    return finding(Kind::Wrong, format!("{op:?} in {name} without a fault: {error}"));
                }
                _ => {}
            }
        }
        // What was refused by a shard or a drive that had been given up before was not done.
        let refused = given_up || was_read_only;
        let nothing = EngineError::Busy { limit: "a shard that takes no writes", max: 0 };
        let answer = answer.map_err(|error| match error {
            Looked::Engine(_) if refused => Looked::Engine(nothing),
            error => error,
        });
        state.slots = slots;
        let State { possible, slots, history, script, full, .. } = &mut *state;
        possible.answered(slots, name, &op, answer, given_up)?;
        if !possible.has_room() || *full {
            script.clear();
        }
        if let Some(history) = history {
            history.push((possible.any().clone(), medium.duplicate()));
        }
    }
    machine.sleep_us(session.linger_us).await;
    {
        let mut state = state.borrow_mut();
        (state.steps, state.barriers, state.buffers) =
            (drive.operations(), drive.barriers(), machine.buffers());
    }
    if session.stop {
        for engine in &engines {
            engine.stop().await;
        }
    }
    Ok(Ended::Finished)
}

async fn compare(engine: &Engine, state: &RefCell<State>, all: bool) -> Result<(), Finding> {
    let failed = failures(engine);
    if !failed.is_empty() {
        return finding(Kind::Lost, format!("read-only after a restart without faults: {failed:?}"));
    }
    if all {
        match everything(engine).await {
            Ok(seen) => state.borrow_mut().possible.settle(&seen)?,
            Err(Looked::Finding(found)) => return Err(found),
            Err(Looked::Engine(e)) => return finding(Kind::Lost, format!("cannot be read: {e}")),
        }
    }
    Ok(())
}
