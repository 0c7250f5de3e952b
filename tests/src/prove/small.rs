//! Every row of up to four operations over two keys in two buckets, the power cut at every step of a drive operation,
//! with every way to keep, lose or tear what was pending.
//!
//! I1. Of a row only its last operation is cut: cuts before it are those of a shorter row. I2. Shorter rows come first,
//! so a count takes the shortest ones; all rows of three are some 19,000 recoveries.

use std::collections::VecDeque;

use nilas_engine::limits::INLINE_BYTES_MAX;
use nilas_engine::platform::simulated::{Faults, Loss, Random};

use super::Tally;
use super::life::{Ended, Life, Session};
use crate::machine::{Finding, Geometry};
use crate::model::{Condition, Key, Op};

/// Pending writes of which every combination is tried.
const PENDING_MAX: u32 = 6;
/// Virtual time after the last answer in which the power may still go, in microseconds.
const LINGER_US: u64 = 300;
const ALPHABET: u64 = 15;
const LENGTH_MAX: u32 = 4;

/// The operations of the alphabet; the `place` in its row makes bodies differ.
fn letter(letter: u64, place: u64) -> (Key, Op) {
    let seed = 1 + place;
    let put = |key, size, condition| Op::Put { key, seed, size, condition };
    let (none, small, large) = (Condition::None, 700, INLINE_BYTES_MAX + 1);
    match letter {
        0 => ("x", put("k1", small, none)),
        1 => ("x", put("k2", small, none)),
        2 => ("x", put("k1", large, none)),
        3 => ("y", put("k1", small, none)),
        4 => ("x", put("k1", small, Condition::IfAbsent)),
        5 => ("x", put("k1", small, Condition::IfMatch(1))),
        6 => ("x", Op::Delete { keys: vec!["k1"] }),
        7 => ("x", Op::Delete { keys: vec!["k1", "k2"] }),
        8 => {
            let (puts, deletes) = (vec![("k2", seed, small)], vec!["k1"]);
            ("x", Op::Transact { puts, deletes, values: vec![("v1", Some(seed)), ("v2", Some(seed))] })
        }
        9 => ("x", Op::Open { slot: 0, key: "k1" }),
        10 => ("x", Op::Part { slot: 0, number: 1, seed, size: large }),
        11 => ("x", Op::Complete { slot: 0, numbers: vec![1], tag: seed, condition: none }),
        12 => ("x", Op::Abort { slot: 0 }),
        13 => ("x", Op::System { values: vec![("v1", Some(seed)), ("v2", Some(seed))] }),
        _ => ("y", Op::DeleteBucket),
    }
}

/// The `nth` of all rows, shorter ones first.
fn row(mut nth: u64) -> Option<VecDeque<(Key, Op)>> {
    for length in 1..=LENGTH_MAX {
        let rows = ALPHABET.pow(length);
        if nth < rows {
            let place = |place: u32| letter(nth / ALPHABET.pow(place) % ALPHABET, place.into());
            return Some((0..length).map(place).collect());
        }
        nth -= rows;
    }
    None
}

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    let geometry = Geometry { zones: 24, ..Geometry::small(2) };
    let base = Life::new(geometry);
    base.script([("x", Op::CreateBucket), ("y", Op::CreateBucket)].into());
    base.run(Session::strict(1))?;
    base.medium.lose_power_as(Loss::Keep, &mut Random::new(1));
    for nth in 0.. {
        let Some(script) = row(nth).filter(|_| count == 0 || tally.done < count) else { break };
        tally.place = format!("row {nth}, --seed {seed} --count {count}");
        tally.note("rows", 1);
        every_cut(tally, &base, &script, seed.wrapping_mul(1 << 20) + nth)?;
    }
    Ok(())
}

fn every_cut(tally: &mut Tally, base: &Life, script: &VecDeque<(Key, Op)>, nth: u64) -> Result<(), Finding> {
    let place = tally.place.clone();
    let session = Session { compare: false, linger_us: LINGER_US, ..Session::strict(nth) };
    let whole = base.branch();
    whole.script(script.clone());
    whole.run(session)?;
    let (first, last) = (whole.state.borrow().last_began, whole.state.borrow().steps);
    for cut in first + 1..=last {
        let life = base.branch();
        life.script(script.clone());
        let recovery = Faults { cut_at: Some(cut), ..session.recovery };
        let ended = life.run(Session { recovery, ..session })?;
        if ended != Ended::Cut {
            break;
        }
        tally.note("cuts", 1);
        let pending = u32::try_from(life.medium.pending_writes()).expect("a few");
        for (number, loss) in losses(pending).into_iter().enumerate() {
            tally.place = format!("cut {cut}, {loss:?} of {pending}, {place}");
            let after = life.fork();
            after.medium.lose_power_as(loss, &mut Random::new(nth ^ (cut << 20) ^ ((number as u64) << 40)));
            after.check(nth ^ cut)?;
            tally.done += 1;
        }
    }
    Ok(())
}

/// Ways to lose that many pending writes: all combinations of lost and kept, each one torn, all torn.
fn losses(pending: u32) -> Vec<Loss> {
    if pending == 0 {
        return vec![Loss::Lose];
    }
    if PENDING_MAX < pending {
        return vec![Loss::Lose, Loss::Keep, Loss::Draw, Loss::Draw, Loss::Draw, Loss::Draw];
    }
    let digits = |digit: &dyn Fn(u32) -> u64| (0..pending).map(|nth| digit(nth) * 3_u64.pow(nth)).sum();
    let kept = (0..1_u64 << pending).map(|kept| Loss::Each(digits(&|nth| kept >> nth & 1)));
    let torn = (0..pending).map(|torn| Loss::Each(digits(&|nth| 1 + u64::from(nth == torn))));
    let all = std::iter::once(Loss::Each(digits(&|_| 2)));
    kept.chain(torn).chain(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_once() {
        let rows = || 15 + 225 + 3_375 + 50_625;
        assert!(row(rows()).is_none());
        assert_eq!(row(0).map(|row| row.len()), Some(1));
        assert_eq!(row(rows() - 1).map(|row| row.len()), Some(4));
        let all: std::collections::BTreeSet<String> =
            (0..rows()).map(|nth| format!("{:?}", row(nth))).collect();
        assert_eq!(all.len() as u64, rows());
    }

    #[test]
    fn ways_to_lose() {
        assert_eq!(losses(0), [Loss::Lose]);
        assert_eq!(losses(1), [0, 1, 2, 2].map(Loss::Each));
        assert_eq!(losses(2), [0, 1, 3, 4, 5, 7, 8].map(Loss::Each));
        assert_eq!(losses(6).len(), 64 + 6 + 1);
    }
}
