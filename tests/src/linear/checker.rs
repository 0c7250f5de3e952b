//! Whether a history of concurrent operations on one object could have come from doing them one after the other.
//!
//! The search of Wing and Gong in the form of Lowe ("Testing for linearizability", 2017): the history is read in the order
//! of time, with all states that the object may be in and which of the open operations each of them has taken in already.
//! Only when an operation ends must it have been taken in, so open operations are tried then and not earlier. States are
//! kept once, however they were reached; what is open is bounded by the number of clients, so the search is linear in the
//! length of the history.
//!
//! I1. An operation takes effect once, between its start and its end. I2. One without an answer takes effect once or never,
//! before its end: who asked for it is dead then, and so is the process that was asked.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

/// States that are followed at a time before the search is given up.
const STATES_MAX: usize = 2_000_000;
/// Operations that can be open at a time.
const OPEN_MAX: usize = 64;

/// What the object does when operations come one after the other.
pub trait Sequential {
    /// All that later operations depend on.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// An operation with its answer, if it got one.
    type Operation: fmt::Debug;

    /// Before everything.
    fn start(&self) -> Self::State;

    /// What follows `state`; `None` when the operation cannot be answered so in that state.
    fn step(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;

    /// Whether it got an answer.
    fn is_answered(operation: &Self::Operation) -> bool;
}

/// An operation and when it was open.
#[derive(Clone, Debug)]
pub struct Timed<O> {
    /// Before it was sent.
    pub start: u64,
    /// After its answer was read; without one, after the process that was asked had ended.
    pub end: u64,
    /// The operation.
    pub operation: O,
}

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refutation {
    /// No order explains it: what could not be answered so, with all that it could have seen.
    Impossible(String),
    /// More states than are followed: nothing is known.
    Undecided,
}

impl fmt::Display for Refutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refutation::Impossible(text) => f.write_str(text),
            Refutation::Undecided => write!(f, "over {STATES_MAX} states: undecided"),
        }
    }
}

/// Looks for an order of `history` that `object` explains.
pub fn check<S: Sequential>(object: &S, history: &[Timed<S::Operation>]) -> Result<(), Refutation> {
    // Starts before ends at the same time: more is allowed then, and nothing wrongly refused.
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * history.len());
    for (at, timed) in history.iter().enumerate() {
        assert!(timed.start <= timed.end, "{timed:?} ends before it starts");
        events.push((timed.start, false, at));
        events.push((timed.end, true, at));
    }
    events.sort_unstable();
    let mut open: Vec<Option<usize>> = vec![None; OPEN_MAX];
    let mut states: HashSet<(S::State, u64)> = HashSet::from([(object.start(), 0)]);
    for (_, is_end, at) in events {
        if !is_end {
            let free = open.iter().position(Option::is_none).expect("fewer clients than OPEN_MAX");
            open[free] = Some(at);
            continue;
        }
        let slot = open.iter().position(|open| *open == Some(at)).expect("it started before");
        let after = close(object, history, &open, slot, &states)?;
        if after.is_empty() {
            return Err(Refutation::Impossible(explain(history, &open, at, &states)));
        }
        open[slot] = None;
        states = after;
    }
    Ok(())
}

/// The states behind the end of the operation in `slot`.
fn close<S: Sequential>(
    object: &S,
    history: &[Timed<S::Operation>],
    open: &[Option<usize>],
    slot: usize,
    states: &HashSet<(S::State, u64)>,
) -> Result<HashSet<(S::State, u64)>, Refutation> {
    let bit = 1u64 << slot;
    let ending = open[slot].expect("it is open");
    let may_be_lost = !S::is_answered(&history[ending].operation);
    let mut after = HashSet::new();
    let mut seen = states.clone();
    let mut left: Vec<(S::State, u64)> = states.iter().cloned().collect();
    while let Some((state, taken)) = left.pop() {
        if taken & bit != 0 {
            after.insert((state, taken & !bit));
            continue;
        }
        if may_be_lost && states.contains(&(state.clone(), taken)) {
            after.insert((state.clone(), taken));
        }
        for (other, at) in open.iter().enumerate() {
            let Some(at) = at else { continue };
            if taken & 1 << other != 0 {
                continue;
            }
            if let Some(next) = object.step(&state, &history[*at].operation) {
                let next = (next, taken | 1 << other);
                if !seen.contains(&next) {
                    seen.insert(next.clone());
                    left.push(next);
                }
            }
        }
        if STATES_MAX < seen.len() {
            return Err(Refutation::Undecided);
        }
    }
    Ok(after)
}

/// What could not be, and the last of what was known before.
fn explain<S: fmt::Debug, O: fmt::Debug>(
    history: &[Timed<O>],
    open: &[Option<usize>],
    at: usize,
    states: &HashSet<(S, u64)>,
) -> String {
    let mut text = format!("no order explains {:?}\n  beside it were open:", history[at]);
    for other in open.iter().flatten().filter(|other| **other != at) {
        text.push_str(&format!("\n    {:?}", history[*other]));
    }
    text.push_str("\n  possible before:");
    for (state, _) in states.iter().take(20) {
        text.push_str(&format!("\n    {state:?}"));
    }
    text.push_str("\n  ended last:");
    let mut ended: Vec<&Timed<O>> = history.iter().filter(|timed| timed.end < history[at].end).collect();
    ended.sort_unstable_by_key(|timed| timed.end);
    for timed in ended.iter().rev().take(12).rev() {
        text.push_str(&format!("\n    {timed:?}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Refutation, Sequential, Timed, check};
    use crate::rng::Rng;

    /// A register that is written and read, and takes a value only where another one is.
    struct Register;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Operation {
        Write(u8),
        /// Without an answer.
        Lost(u8),
        Read(u8),
        Exchange {
            expected: u8,
            value: u8,
            done: bool,
        },
    }

    impl Sequential for Register {
        type State = u8;
        type Operation = Operation;

        fn start(&self) -> u8 {
            0
        }

        fn step(&self, state: &u8, operation: &Operation) -> Option<u8> {
            match *operation {
                Operation::Write(value) | Operation::Lost(value) => Some(value),
                Operation::Read(value) => (*state == value).then_some(value),
                Operation::Exchange { expected, value, done } => {
                    let holds = *state == expected;
                    (holds == done).then_some(if holds { value } else { *state })
                }
            }
        }

        fn is_answered(operation: &Operation) -> bool {
            !matches!(operation, Operation::Lost(_))
        }
    }

    type Row = (u64, u64, Operation);

    fn history(rows: &[Row]) -> Vec<Timed<Operation>> {
        rows.iter().map(|&(start, end, operation)| Timed { start, end, operation }).collect()
    }

    #[test]
    fn registers() {
        use Operation::{Exchange, Lost, Read, Write};
        let accepted = |rows: &[Row]| check(&Register, &history(rows)).is_ok();
        let take = |value, done| Exchange { expected: 0, value, done };
        for (what, rows, good) in [
            ("nothing", &[][..], true),
            ("what was written", &[(0, 1, Write(1)), (2, 3, Read(1))], true),
            ("what was never written", &[(0, 1, Write(1)), (2, 3, Read(2))], false),
            ("what was overwritten", &[(0, 1, Write(1)), (2, 3, Write(2)), (4, 5, Read(1))], false),
            ("either of two at once", &[(0, 9, Write(1)), (0, 9, Write(2)), (10, 11, Read(1))], true),
            (
                "first one, then the other",
                &[(0, 9, Write(1)), (0, 9, Write(2)), (1, 2, Read(1)), (3, 4, Read(2))],
                true,
            ),
            (
                "forth and back",
                &[(0, 9, Write(1)), (0, 9, Write(2)), (1, 2, Read(1)), (3, 4, Read(2)), (5, 6, Read(1))],
                false,
            ),
            ("seen, then not", &[(0, 9, Write(1)), (1, 2, Read(1)), (3, 4, Read(0))], false),
            ("two winners", &[(0, 9, take(1, true)), (0, 9, take(2, true))], false),
            ("one winner", &[(0, 9, take(1, true)), (0, 9, take(2, false))], true),
            ("none", &[(0, 9, take(1, false)), (0, 9, take(2, false))], false),
            ("a lost one that came", &[(0, 5, Lost(1)), (6, 7, Read(1))], true),
            ("a lost one that did not", &[(0, 5, Lost(1)), (6, 7, Read(0))], true),
            ("a lost one that comes later", &[(0, 5, Lost(1)), (6, 7, Read(0)), (8, 9, Read(1))], false),
            ("a lost one that was seen", &[(0, 5, Lost(1)), (1, 2, Read(1)), (6, 7, Read(0))], false),
            (
                "an acknowledged one that is gone",
                &[(0, 1, Write(1)), (0, 5, Lost(2)), (6, 7, Read(0))],
                false,
            ),
        ] {
            assert_eq!(accepted(rows), good, "{what}");
        }
        let wrong = check(&Register, &history(&[(0, 1, Write(1)), (2, 3, Read(2))]));
        assert!(matches!(wrong, Err(Refutation::Impossible(text)) if text.contains("Read(2)")));
    }

    /// Every order of every choice of lost operations, tried one after the other.
    fn by_brute_force(history: &[Timed<Operation>], left: u32, state: u8) -> bool {
        let open = |at: usize| left & 1 << at != 0;
        let must = (0..history.len()).any(|at| open(at) && Register::is_answered(&history[at].operation));
        if !must {
            return true;
        }
        (0..history.len()).filter(|at| open(*at)).any(|at| {
            // Nothing that is left ended before this one started.
            let first = (0..history.len())
                .all(|other| !open(other) || other == at || history[at].start <= history[other].end);
            let rest = left & !(1 << at);
            let taken = Register.step(&state, &history[at].operation);
            let lost = !Register::is_answered(&history[at].operation);
            first && taken.is_some_and(|next| by_brute_force(history, rest, next))
                || lost && by_brute_force(history, rest, state)
        })
    }

    #[test]
    fn judges_as_brute_force_does() {
        let mut rng = Rng::new(11);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let rows: Vec<Row> = (0..rng.between(2, 6))
                .map(|_| {
                    let start = rng.below(12);
                    let value = rng.between(1, 2) as u8;
                    let operation = match rng.below(5) {
                        0 => Operation::Write(value),
                        1 => Operation::Lost(value),
                        2 | 3 => Operation::Read(rng.below(3) as u8),
                        _ => Operation::Exchange { expected: 0, value, done: rng.chance(50) },
                    };
                    (start, start + rng.between(1, 6), operation)
                })
                .collect();
            let history = history(&rows);
            let want = by_brute_force(&history, (1 << history.len()) - 1, 0);
            assert_eq!(check(&Register, &history).is_ok(), want, "{rows:?}");
            if want { good += 1 } else { bad += 1 }
        }
        assert!(5_000 < good && 5_000 < bad, "{good} good and {bad} bad histories say little");
    }
}
