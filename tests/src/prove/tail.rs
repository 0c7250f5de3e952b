//! The end of a log: cut at every sector, with garbage or older blocks behind it, and with holes before it.
//!
//! Which blocks an operation wrote is learned by comparing the medium before and after, not from the format. I1. A log
//! that is cut at its end gives the state before or after the operation that was cut, whole. I2. What stands behind the
//! end of a log is never taken for a part of it. I3. A hole before the end is never passed over: the shard is read-only
//! and says why, or nothing is missing.

use std::collections::VecDeque;

use nilas_engine::platform::simulated::{Faults, Loss, Medium, Random};

use super::Tally;
use super::examine::{Verdict, examine};
use super::flip::word;
use super::life::{Life, Session};
use super::script::Draw;
use crate::machine::{Finding, Geometry, Kind, changed_blocks, finding, format_on};
use crate::model::{Condition, Key, Model, Op};
use crate::ops::Possible;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
const OPERATIONS: u64 = 8;
/// The first bucket goes to the shard of the directory, the second one to the other.
const BUCKETS: [Key; 2] = ["other", "tail"];

/// A bucket that comes and goes, for the log of the directory.
const PASSING: Key = "passing";

/// Changes of one bucket whose bodies stay in the log, and of the directory.
fn script(random: &mut Random) -> VecDeque<(Key, Op)> {
    let mut row: VecDeque<_> = BUCKETS.iter().map(|name| (*name, Op::CreateBucket)).collect();
    let keys = ["a", "b", "c"];
    for seed in 1..=OPERATIONS {
        let mut key = || keys[usize::try_from(random.below(3)).expect("an index")];
        let (first, second) = (key(), key());
        let size = if random.one_in(3) { 4_000 + random.below(6_000) } else { random.below(3_000) };
        let op = match random.below(8) {
            0 => Op::Delete { keys: vec![first] },
            1 => {
                let values = vec![(first, Some(seed)), (second, None)];
                Op::Transact { puts: vec![(second, seed, 500)], deletes: Vec::new(), values }
            }
            2 => Op::Open { slot: seed, key: first },
            3 => {
                let made = row.iter().filter(|(name, _)| *name == PASSING).count();
                row.push_back((PASSING, if made % 2 == 0 { Op::CreateBucket } else { Op::DeleteBucket }));
                continue;
            }
            4 => Op::System { values: vec![(first, Some(seed)), (second, None)] },
            _ => Op::Put { key: first, seed, size, condition: Condition::None },
        };
        row.push_back((BUCKETS[1], op));
    }
    // Behind the last state: what a cut may leave of the next one.
    row.push_back((BUCKETS[1], Op::Put { key: "a", seed: 99, size: 5_000, condition: Condition::None }));
    row
}

/// A store after each of its operations.
struct Grown {
    states: Vec<Model>,
    media: Vec<Medium>,
    /// Blocks that operation `n` (from 0) wrote, which led to state `n`.
    blocks: Vec<Vec<u64>>,
    /// Whether operation `n` went to the log of the directory; all others went to the other one.
    in_directory: Vec<bool>,
    /// The next operation, and what it would write.
    next: Model,
    next_medium: Medium,
    geometry: Geometry,
}

fn grown(seed: u64) -> Result<Grown, Finding> {
    let geometry = Geometry { zones: 24, ..Geometry::small(2) };
    let life = Life::new(geometry);
    life.state.borrow_mut().history = Some(Vec::new());
    let script = script(&mut Random::new(seed));
    let changes_directory = |op: &Op| matches!(op, Op::CreateBucket | Op::DeleteBucket | Op::System { .. });
    let in_directory = script.iter().map(|(_, op)| changes_directory(op)).collect();
    life.script(script);
    life.run(Session::strict(seed))?;
    let history = life.state.borrow_mut().history.take().unwrap_or_default();
    let (mut states, mut media): (Vec<Model>, Vec<Medium>) = history.into_iter().unzip();
    let (next, next_medium) = states.pop().zip(media.pop()).expect("a row of operations");
    let mut blocks = vec![Vec::new()];
    blocks.extend(media.windows(2).map(|pair| changed_blocks(&pair[0], &pair[1])));
    Ok(Grown { states, media, blocks, in_directory, next, next_medium, geometry })
}

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        tally.note("stores", 1);
        tally.place = format!("--seed {seed} --count 1");
        let grown = grown(seed)?;
        cut_at_every_sector(tally, &grown, seed)?;
        holes(tally, &grown, seed)?;
        behind_the_end(tally, &grown, seed)?;
        older_incarnation(tally, &grown, seed)?;
    }
    Ok(())
}

fn cut_at_every_sector(tally: &mut Tally, grown: &Grown, seed: u64) -> Result<(), Finding> {
    let last = grown.states.len() - 1;
    // The buckets come first and are in another log.
    for nth in BUCKETS.len()..=last {
        for sector in 0..grown.blocks[nth].len() * BLOCK / SECTOR {
            tally.place = format!("log cut at sector {sector} of operation {nth}, --seed {seed} --count 1");
            let medium = grown.media[last].duplicate();
            for later in &grown.blocks[nth + 1..] {
                later.iter().for_each(|block| medium.set_block(*block, &[0; BLOCK]));
            }
            for (place, block) in grown.blocks[nth].iter().enumerate() {
                let kept = (sector * SECTOR).saturating_sub(place * BLOCK).min(BLOCK);
                let mut bytes = grown.media[nth].block(*block);
                bytes[kept..].fill(0);
                medium.set_block(*block, &bytes);
            }
            let right = |state: usize| examine(&medium, seed, &grown.states[..=state]);
            let verdict = right(nth - 1).or_else(|_| right(nth))?;
            tally.done += 1;
            tally.note("cut", 1);
            if verdict != Verdict::Harmless {
                tally.note(word(verdict), 1);
            }
        }
    }
    Ok(())
}

fn holes(tally: &mut Tally, grown: &Grown, seed: u64) -> Result<(), Finding> {
    let last = grown.states.len() - 1;
    let mut random = Random::new(seed);
    for nth in 1..=last {
        // A hole is one only when something stands behind it in the same log; not every operation writes.
        let is_behind = |later: &usize| grown.in_directory[*later] == grown.in_directory[nth];
        let mut behind = (nth + 1..=last).filter(is_behind);
        if behind.all(|later| grown.blocks[later].is_empty()) {
            continue;
        }
        for block in &grown.blocks[nth] {
            let stale = grown.blocks[nth.saturating_sub(1).max(2)].first().copied().unwrap_or(*block);
            let whole = grown.media[last].block(*block);
            let mut sector = whole;
            let at = SECTOR * usize::try_from(random.below(8)).expect("below 8");
            sector[at..at + SECTOR].fill(0);
            let garbage = [(); BLOCK].map(|()| u8::try_from(random.below(256)).expect("a byte"));
            let hurt = [[0; BLOCK], garbage, sector, grown.media[last].block(stale)];
            for (how, bytes) in hurt.into_iter().enumerate().filter(|(_, bytes)| *bytes != whole) {
                tally.place =
                    format!("hole {how} in operation {nth}, block {block}, --seed {seed} --count 1");
                let medium = grown.media[last].duplicate();
                medium.set_block(*block, &bytes);
                let verdict = examine(&medium, seed, &grown.states)?;
                tally.done += 1;
                tally.note(if grown.in_directory[nth] { "directory holes" } else { "holes" }, 1);
                tally.note(word(verdict), 1);
            }
        }
    }
    Ok(())
}

fn behind_the_end(tally: &mut Tally, grown: &Grown, seed: u64) -> Result<(), Finding> {
    let last = grown.states.len() - 1;
    let mut random = Random::new(seed);
    let next = changed_blocks(&grown.media[last], &grown.next_medium);
    // A zone that was taken or a checkpoint for it is another matter: the order of its blocks is not that of writing.
    if next.iter().any(|block| grown.next_medium.block(*block).starts_with(b"NILAS")) {
        return Ok(());
    }
    let older: Vec<u64> = grown.blocks.iter().flatten().copied().collect();
    for (nth, block) in next.iter().enumerate() {
        for how in 0..4 + older.len() + BLOCK / SECTOR {
            tally.place = format!("garbage {how} in block {block}, --seed {seed} --count 1");
            let medium = grown.media[last].duplicate();
            let mut bytes = grown.next_medium.block(*block);
            match how {
                0..4 => bytes.fill_with(|| u8::try_from(random.below(256)).expect("a byte")),
                how if how - 4 < older.len() => bytes = medium.block(older[how - 4]),
                // What came before of the next write is there, this block in part, the rest not.
                how => {
                    next[..nth].iter().for_each(|block| {
                        medium.set_block(*block, &grown.next_medium.block(*block));
                    });
                    bytes[(how - 4 - older.len()) * SECTOR..].fill(0);
                }
            }
            medium.set_block(*block, &bytes);
            let life = Life { medium, ..Life::new(grown.geometry) };
            life.state.borrow_mut().possible =
                Possible::either([grown.states[last].clone(), grown.next.clone()]);
            life.check(seed)?;
            tally.done += 1;
            tally.note("garbage", 1);
        }
    }
    Ok(())
}

fn older_incarnation(tally: &mut Tally, grown: &Grown, seed: u64) -> Result<(), Finding> {
    tally.place = format!("older incarnation, --seed {seed} --count 1");
    let medium = grown.next_medium.duplicate();
    if !format_on(&medium, 1_000 + seed, grown.geometry, Faults::default()) {
        return finding(Kind::Wrong, "a drive with an older store cannot be formatted");
    }
    medium.lose_power_as(Loss::Keep, &mut Random::new(seed));
    let life = Life { medium, ..Life::new(grown.geometry) };
    let mut draw = Draw::new(seed, grown.geometry);
    for count in [0, 1, 6] {
        life.check(seed)?;
        life.script(if count == 0 { draw.begin(0) } else { draw.take(count) });
        life.run(Session::strict(seed + count))?;
        life.medium.lose_power(&mut Random::new(seed));
        tally.done += 1;
        tally.note("over older", 1);
    }
    life.check(seed)
}
