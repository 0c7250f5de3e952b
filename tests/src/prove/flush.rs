//! Every flush and every durable write fails, once or for good; every other row is on two drives, of which one fails.
//!
//! I1. From then on the drive takes no writes, and nothing that would need one is acknowledged: `life` looks. I2. A
//! later flush that would succeed is no excuse: after a loss of power everything acknowledged is there.

use nilas_engine::platform::simulated::Faults;

use super::Tally;
use super::life::Session;
use super::nth::{end, measured};
use crate::machine::{Finding, Kind, finding};

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        let (base, calm, place) = measured(tally, seed)?;
        let barriers = calm.state.borrow().barriers;
        if barriers == 0 {
            return finding(Kind::Wrong, "a row of changes without a flush or durable write");
        }
        for nth in 1..=barriers {
            for barriers_fail_on in [false, true] {
                tally.place = format!("barrier {nth}, for good {barriers_fail_on}, {place}");
                let faults = Faults { fail_barrier: Some(nth), barriers_fail_on, ..Faults::default() };
                let life = base.branch();
                life.run(Session::faulty(seed, faults))?;
                end(&life, seed ^ nth)?;
                tally.done += 1;
                tally.note("errors", life.state.borrow().errors);
            }
        }
    }
    Ok(())
}
