//! Every byte of a small store changes, one at a time; then the store is started and everything in it is read.
//!
//! I1. All durable blocks count, whatever they are for. I2. A sample takes as many flips in each kind of block, rare as
//! it may be: kinds are told by the eight bytes that they begin with. I3. A flip in one of several equal copies of a block
//! does nothing at all.

use std::collections::BTreeMap;

use nilas_engine::limits::INLINE_BYTES_MAX;
use nilas_engine::platform::simulated::{Loss, Medium, Random};
use nilas_engine::units::BLOCK_BYTES;

use super::Tally;
use super::examine::{Verdict, examine};
use super::life::{Life, Session};
use super::script::Draw;
use crate::machine::{Finding, Geometry, Kind, finding};
use crate::model::{Condition, Key, Model, Op};

const OPERATIONS: u64 = 14;
/// From a seed whose script fills the drive to the one that is taken for it.
const SEEDS_APART: u64 = 1 << 32;
/// Flips of one store of a sample.
const STORE_FLIPS: u64 = 60;
/// Zones of the drive, by the seed.
const ZONES: [u64; 3] = [20, 24, 32];
/// Machines that a store lives through: one in three takes checkpoints after a few records.
const SESSIONS: u64 = 4;
/// A byte that every block with copies uses.
const COPIED_BYTE: u64 = 20;
/// Buckets for the last records: as many as put one on every shard.
const WORDS: [Key; 4] = ["w0", "w1", "w2", "w3"];

/// A store with a history, and one record behind it in every log.
struct Grown {
    medium: Medium,
    history: Vec<Model>,
    /// Blocks with the same bytes as another one, together with that.
    copies: Vec<Vec<u64>>,
}

fn grown(seed: u64) -> Result<Grown, Finding> {
    let geometry = Geometry { zones: ZONES[index(seed % 3)], ..Geometry::small(2) };
    let life = Life::new(geometry);
    life.state.borrow_mut().history = Some(Vec::new());
    let mut script = Draw::new(seed, geometry).begin(OPERATIONS);
    WORDS.iter().for_each(|name| script.push_front((name, Op::CreateBucket)));
    // Something in extents, whatever was drawn.
    let large = Op::Put { key: "~", seed: 99, size: INLINE_BYTES_MAX + 1, condition: Condition::None };
    script.push_back(("ash", Op::CreateBucket));
    script.push_back(("ash", large));
    let settled = script.len();
    let word = Op::Put { key: "word", seed: 1, size: 9, condition: Condition::None };
    WORDS.iter().for_each(|name| script.push_back((name, word.clone())));
    let share = script.len().div_ceil(index(SESSIONS));
    for session in 0..SESSIONS {
        let rest = script.split_off(share.min(script.len()));
        life.script(std::mem::replace(&mut script, rest));
        life.run(Session { stop: true, ..Session::strict(seed * SESSIONS + session) })?;
        life.medium.lose_power_as(Loss::Keep, &mut Random::new(seed));
    }
    if life.state.borrow().full {
        // The script did not come to its end, so there is no record behind it: another one.
        return grown(seed + SEEDS_APART);
    }
    let history = life.state.borrow_mut().history.take().unwrap_or_default();
    let history = history.into_iter().take(settled).map(|(model, _)| model).collect();
    let copies = copies(&life.medium);
    Ok(Grown { medium: life.medium, history, copies })
}

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    if count == 0 {
        let place = format!("--seed {seed} --count 0");
        let store = grown(seed)?;
        for block in store.medium.durable_blocks() {
            for at in block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES {
                let mask = 1 << random.below(8);
                flip(tally, &store, at, mask, &place)?;
            }
        }
        return Ok(());
    }
    for seed in seed.. {
        let place = format!("--seed {seed} --count {count}");
        tally.place.clone_from(&place);
        let store = grown(seed)?;
        flip_all_copies(tally, &store, &place)?;
        let kinds = kinds(&store.medium);
        for _ in 0..STORE_FLIPS {
            if count <= tally.done {
                return Ok(());
            }
            let kind = &kinds[index(random.below(kinds.len() as u64))];
            let block = kind[index(random.below(kind.len() as u64))];
            let offset = match random.below(3) {
                0 => random.below(128),
                1 => random.below(BLOCK_BYTES),
                _ => used_byte(&store.medium, block, &mut random),
            };
            let mask = if random.one_in(2) { 1 << random.below(8) } else { 1 + random.below(255) };
            flip(tally, &store, block * BLOCK_BYTES + offset, mask, &place)?;
        }
    }
    Ok(())
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("an index")
}

/// Blocks by the eight bytes that they begin with when these are a name; all others are one kind.
fn kinds(medium: &Medium) -> Vec<Vec<u64>> {
    let mut kinds: BTreeMap<Option<[u8; 8]>, Vec<u64>> = BTreeMap::new();
    for block in medium.durable_blocks() {
        let first = *medium.block(block).first_chunk::<8>().expect("blocks are longer");
        let is_name = first[..4].iter().all(u8::is_ascii_uppercase);
        kinds.entry(is_name.then_some(first)).or_default().push(block);
    }
    kinds.into_values().collect()
}

/// The place of a byte that is not zero.
fn used_byte(medium: &Medium, block: u64, random: &mut Random) -> u64 {
    let used: Vec<u64> =
        (0..).zip(medium.block(block)).filter(|(_, byte)| *byte != 0).map(|(at, _)| at).collect();
    used[index(random.below(used.len() as u64))]
}

/// Blocks that begin with the store's name and are there more than once.
fn copies(medium: &Medium) -> Vec<Vec<u64>> {
    let mut equal: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for block in medium.durable_blocks() {
        let bytes = medium.block(block);
        if bytes.starts_with(b"NILAS") {
            equal.entry(bytes.to_vec()).or_default().push(block);
        }
    }
    equal.into_values().filter(|blocks| 1 < blocks.len()).collect()
}

fn flip(tally: &mut Tally, store: &Grown, at: u64, mask: u64, place: &str) -> Result<(), Finding> {
    tally.place = format!("byte {at} mask {mask}, {place}");
    let flipped = store.medium.duplicate();
    flipped.flip(at, u8::try_from(mask).expect("below 256"));
    let verdict = examine(&flipped, at, &store.history)?;
    let has_copies = store.copies.iter().any(|copies| copies.contains(&(at / BLOCK_BYTES)));
    if verdict != Verdict::Harmless && has_copies {
        return finding(Kind::Lost, format!("a copy is left, and yet: {}", word(verdict)));
    }
    tally.done += 1;
    tally.note(word(verdict), 1);
    Ok(())
}

/// The same byte in all copies of a block; those of the superblock say what the drive is, so without them nothing
/// starts.
fn flip_all_copies(tally: &mut Tally, store: &Grown, place: &str) -> Result<(), Finding> {
    for copies in store.copies.iter().filter(|copies| !copies.contains(&0)) {
        tally.place = format!("all copies of block {}, {place}", copies[0]);
        let flipped = store.medium.duplicate();
        copies.iter().for_each(|block| flipped.flip(block * BLOCK_BYTES + COPIED_BYTE, 1));
        let verdict = examine(&flipped, copies[0], &store.history)?;
        tally.note("all copies", 1);
        tally.note(word(verdict), 1);
    }
    Ok(())
}

/// How verdicts are counted.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Harmless => "harmless",
        Verdict::Detected => "detected",
        Verdict::ReadOnly => "read-only",
    }
}
