//! Every byte of a small store changes, one at a time; then the store is started and everything in it is read.
//!
//! I1. All durable blocks count, whatever they are for. I2. Behind the last record that is looked for stands another one
//! in every log: a damaged last block may be taken for one that was torn. So a store that is full too early does not
//! count; it is made again with more zones.

use nilas_engine::drive::simulated::{Loss, Medium};
use nilas_engine::limits::INLINE_BYTES_MAX;
use nilas_engine::simulator::Random;
use nilas_engine::units::BLOCK_BYTES;

use super::Tally;
use super::examine::{Verdict, examine};
use super::life::{Life, Session};
use super::script::Draw;
use crate::machine::{Finding, Geometry, Kind, finding};
use crate::model::{Condition, Key, Model, Op};

const OPERATIONS: u64 = 14;
/// Flips of one store of a sample.
const STORE_FLIPS: u64 = 250;
/// Zones of the drive: the first by the seed, the next ones when it is full.
const ZONES: [u64; 4] = [16, 20, 24, 32];
/// Buckets for the last records: as many as put one on every shard.
const WORDS: [Key; 4] = ["w0", "w1", "w2", "w3"];

/// A store with a history, and one record behind it in every log.
fn grown(tally: &mut Tally, seed: u64) -> Result<(Medium, Vec<Model>), Finding> {
    let first = usize::try_from(seed % ZONES.len() as u64).expect("below 4");
    for zones in &ZONES[first..] {
        if let Some(store) = grown_in(seed, *zones)? {
            return Ok(store);
        }
        tally.note("too full", 1);
    }
    finding(Kind::Wrong, format!("seed {seed} fills {ZONES:?} zones"))
}

/// `None` when it was full before the last record.
fn grown_in(seed: u64, zones: u64) -> Result<Option<(Medium, Vec<Model>)>, Finding> {
    let geometry = Geometry { zones, ..Geometry::small(2) };
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
    let all = script.len();
    life.script(script);
    life.run(Session { stop: true, ..Session::strict(seed) })?;
    life.medium.lose_power_as(Loss::Keep, &mut Random::new(seed));
    let history = life.state.borrow_mut().history.take().unwrap_or_default();
    if life.state.borrow().full {
        return Ok(None);
    }
    assert_eq!(history.len(), all, "one state for each operation");
    Ok(Some((life.medium, history.into_iter().take(settled).map(|(model, _)| model).collect())))
}

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    let mut random = Random::new(seed);
    if count == 0 {
        let place = format!("--seed {seed} --count 0");
        let (medium, history) = grown(tally, seed)?;
        for block in medium.durable_blocks() {
            for at in block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES {
                let mask = 1 << random.below(8);
                flip(tally, &medium, &history, at, mask, &place)?;
            }
        }
        return Ok(());
    }
    for seed in seed.. {
        let place = format!("--seed {seed} --count {count}");
        tally.place.clone_from(&place);
        let (medium, history) = grown(tally, seed)?;
        let blocks = medium.durable_blocks();
        for _ in 0..STORE_FLIPS {
            if count <= tally.done {
                return Ok(());
            }
            let nth = usize::try_from(random.below(blocks.len() as u64)).expect("an index");
            // Half of them where headers are.
            let end = if random.one_in(2) { 128 } else { BLOCK_BYTES };
            let at = blocks[nth] * BLOCK_BYTES + random.below(end);
            let mask = if random.one_in(2) { 1 << random.below(8) } else { 1 + random.below(255) };
            flip(tally, &medium, &history, at, mask, &place)?;
        }
    }
    Ok(())
}

fn flip(
    tally: &mut Tally,
    medium: &Medium,
    history: &[Model],
    at: u64,
    mask: u64,
    place: &str,
) -> Result<(), Finding> {
    tally.place = format!("byte {at} mask {mask}, {place}");
    let flipped = medium.duplicate();
    flipped.flip(at, u8::try_from(mask).expect("below 256"));
    let verdict = examine(&flipped, at, history)?;
    tally.done += 1;
    tally.note(word(verdict), 1);
    Ok(())
}

/// How verdicts are counted.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Harmless => "harmless",
        Verdict::Detected => "detected",
        Verdict::ReadOnly => "read-only",
        Verdict::Refused => "refused to start",
    }
}
