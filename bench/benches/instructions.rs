//! Instructions of one decision of the policy evaluator, counted: `cargo bench -p nilas-bench --bench instructions`.
//!
//! Valgrind runs each case of `policy` for so many decisions and for twice as many; the difference is theirs alone, and the
//! same at each run, however busy the machine is. `cargo test --benches` asks each case once, without Valgrind.

mod policy;

use std::process::Command;

/// Decisions of the shorter run.
const DECISIONS: u64 = 2_000;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [case, count] = arguments.as_slice()
        && let Ok(count) = count.parse::<u64>()
    {
        let fixture = policy::Fixture::new();
        let allowed = (0..count).filter(|_| fixture.ask(case)).count();
        assert!(allowed == 0 || allowed as u64 == count, "{case}");
        return Ok(());
    }
    // As `cargo bench` says it; `cargo test` does not.
    let is_test = !arguments.iter().any(|argument| argument == "--bench");
    let fixture = policy::Fixture::new();
    for case in policy::CASES {
        if is_test {
            fixture.ask(case);
            continue;
        }
        let more = instructions(case, 2 * DECISIONS)?.checked_sub(instructions(case, DECISIONS)?);
        let more = more.ok_or("twice the work took fewer instructions")?;
        println!("policy_20x20/{case}: {} instructions", more / DECISIONS);
    }
    Ok(())
}

/// All that a run of so many decisions takes.
fn instructions(case: &str, count: u64) -> Result<u64, String> {
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(itself)
        .args([case, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    let said = String::from_utf8_lossy(&run.stderr);
    let collected = said.split("Collected :").nth(1).and_then(|rest| rest.split_whitespace().next());
    collected.and_then(|count| count.parse().ok()).ok_or_else(|| format!("valgrind: {said}"))
}
