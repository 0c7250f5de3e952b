//! Random rows of operations, one at a time, against the reference model; restarts in between, with and without notice.

use nilas_engine::platform::simulated::{Loss, Random};

use super::Tally;
use super::life::{Life, Session};
use super::script::Draw;
use crate::machine::{Finding, Geometry, LARGE_ZONE_BYTES};

/// Operations of one store.
const LIFE_OPERATIONS: u64 = 4_000;

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        tally.place = format!("--seed {seed} --count 1");
        let (operations, restarts, full) = live(seed)?;
        tally.done += operations;
        tally.note("restarts", restarts);
        tally.note("stores", 1);
        tally.note("full", u64::from(full));
    }
    Ok(())
}

fn live(seed: u64) -> Result<(u64, u64, bool), Finding> {
    let mut random = Random::new(seed);
    let shards = 1 + u16::try_from(random.below(4)).expect("below 4");
    let small = Geometry { zones: 96, ..Geometry::small(shards) };
    let large = Geometry { zones: 48, zone_bytes: LARGE_ZONE_BYTES, ..Geometry::small(shards) };
    let geometry = if random.one_in(4) { large } else { small };
    let life = Life::new(geometry);
    let mut draw = Draw::new(seed, geometry);
    life.script(draw.begin(10));
    let mut restarts = 0;
    loop {
        let cores = 1 + u16::try_from(random.below(3)).expect("below 3");
        let session = Session { cores, stop: random.one_in(2), ..Session::strict(random.draw()) };
        life.run(session)?;
        restarts += 1;
        let loss = [Loss::Lose, Loss::Keep, Loss::Draw, Loss::Draw];
        let nth = usize::try_from(random.below(4)).expect("below 4");
        life.medium.lose_power_as(loss[nth], &mut random);
        let (operations, full) = (life.state.borrow().operations, life.state.borrow().full);
        if LIFE_OPERATIONS <= operations || full {
            life.check(random.draw())?;
            return Ok((operations, restarts, full));
        }
        let count = 1 + random.below(300);
        life.script(draw.take(count));
    }
}
