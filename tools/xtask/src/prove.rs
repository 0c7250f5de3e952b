//! `cargo x prove`: explorations that are too large for a plain test, or need a build of their own.
//! `main` and `ci` call [`run`]. `threads` runs `engine/src/sync/proofs.rs` with the model checker under the engine.

use crate::shell::{Failure, cargo};

/// Runs the proof called `what`, `count` times where it is drawn at random.
pub fn run(what: &str, count: Option<u64>) -> Result<(), Failure> {
    match what {
        "threads" => threads(count),
        other => Err(Failure(format!("no proof is called {other}; there is: threads"))),
    }
}

fn threads(count: Option<u64>) -> Result<(), Failure> {
    let test = ["test", "-q", "-p", "nilas-engine", "--features", "prove-threads", "--lib"];
    let mut run = cargo(test).args(["sync::proofs", "--", "--nocapture"]);
    if let Some(count) = count {
        run = run.env("NILAS_SCHEDULES", count.to_string());
    }
    run.passes()
}
