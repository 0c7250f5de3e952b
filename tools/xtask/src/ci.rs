//! The report every command ends with, and the sections of `test` and `ci`.
//! `main` hands over; `check`, `clients` and `readme` add their sections. Closing line: `NAME: N passed, N failed (N s)`.

use crate::shell::{Failure, cargo, program, release_binary, root, target};
use crate::{check, clients, fuzz, readme};
use std::process::ExitCode;
use std::time::Instant;

/// Seeds of the simulation in CI: seconds, not hours. `cargo x sim` runs as many as it is told.
const SIM_SEEDS: u64 = 1_000;

/// Mistakes that CI builds into the engine; `cargo x mutants` builds in all of them.
const MUTANTS_SAMPLED: u64 = 12;

/// Bytes that the program may have which users copy.
const BINARY_BYTES_MAX: u64 = 16_500_000;

/// Seconds that CI fuzzes each target.
const FUZZ_SECONDS: u64 = 2;

/// Everything CI runs, in the order in which a failure is cheapest to learn.
pub fn sections(report: &mut Report) {
    check::sections(report);
    test_sections(report, false);
    report.section("sim", || sim(None, Some(SIM_SEEDS)));
    report.section("prove", || prove("all", None, None, false));
    report.section("mutants", || mutants(vec!["--sample".to_owned(), MUTANTS_SAMPLED.to_string()]));
    report.section("threads", || crate::prove::run("threads", None));
    report.section("fuzz", || fuzz::run("all", FUZZ_SECONDS));
    report.section("readme", readme::run);
    report.section("access", readme::access);
}

pub fn test_sections(report: &mut Report, quick: bool) {
    report.section("fio", fio);
    let built = report.section("build", || {
        cargo(["build", "--release", "-p", "nilas", "-p", "nilas-bench", "-p", "nilas-tests", "--bins"])
            .passes()
    });
    if built {
        report.section("size", size);
    }
    report.section("rust-tests", rust_tests);
    if quick {
        println!("quick: client suites left out");
    } else if built {
        clients::sections(report, &[], false);
    } else {
        report.section("clients", || Err(Failure("no release build to run them against".to_owned())));
    }
}

/// What a disk benchmark is held against comes from the distribution.
fn fio() -> Result<(), Failure> {
    let is_there = || program("fio").args(["--version"]).passes().is_ok();
    if is_there() {
        return Ok(());
    }
    // Whether this may be done is for apt-get to say.
    let installed = program("apt-get").args(["update", "-q"]).passes().and_then(|()| {
        program("apt-get").args(["install", "-q", "-y", "--no-install-recommends", "fio"]).passes()
    });
    match installed {
        Ok(()) if is_there() => Ok(()),
        _ => Err(Failure("fio is missing and could not be installed: apt-get install fio".to_owned())),
    }
}

/// The release binary is small enough to copy: its debug information is not in it.
fn size() -> Result<(), Failure> {
    let binary = release_binary("nilas");
    let about = std::fs::metadata(&binary).map_err(|e| Failure(format!("{}: {e}", binary.display())))?;
    let bytes = about.len();
    println!("nilas: {bytes} bytes of {BINARY_BYTES_MAX}");
    if bytes <= BINARY_BYTES_MAX {
        return Ok(());
    }
    Err(Failure(format!("{} has {bytes} bytes, at most {BINARY_BYTES_MAX}", binary.display())))
}

fn rust_tests() -> Result<(), Failure> {
    cargo(["test", "--workspace", "--quiet"]).passes()?;
    // Each micro-benchmark once, so that it does not rot.
    cargo(["test", "--quiet", "-p", "nilas-bench", "--benches"]).passes()
}

pub fn sim(seed: Option<u64>, seeds: Option<u64>) -> Result<(), Failure> {
    tests_binary("nilas-sim", &[], &[("--seed", seed), ("--seeds", seeds)])
}

pub fn prove(name: &str, seed: Option<u64>, count: Option<u64>, long: bool) -> Result<(), Failure> {
    if name == "threads" {
        return crate::prove::run(name, count);
    }
    let words = if long { vec![name, "--long"] } else { vec![name] };
    tests_binary("nilas-prove", &words, &[("--seed", seed), ("--count", count)])
}

pub fn golden() -> Result<(), Failure> {
    tests_binary("nilas-golden", &[], &[])
}

/// Each seeded mistake must be found; they are in no other build than this one.
pub fn mutants(arguments: Vec<String>) -> Result<(), Failure> {
    let build = ["run", "--profile", "mutants", "--quiet", "-p", "nilas-tests", "--features", "mutants"];
    cargo(build).args(["--bin", "nilas-mutants", "--"]).args(arguments).passes()
}

/// One scenario of the load generator, on a server of this tree unless an argument names another.
pub fn bench(scenario: &str, arguments: Vec<String>) -> Result<(), Failure> {
    cargo(["build", "--release", "-p", "nilas"]).passes()?;
    cargo(["run", "--release", "-p", "nilas-bench", "--bin", "nilas-bench", "--", scenario])
        .args(arguments)
        .passes()
}

pub fn crash(cycles: Option<u64>, seed: Option<u64>) -> Result<(), Failure> {
    cargo(["build", "--release", "-p", "nilas"]).passes()?;
    tests_binary("nilas-crash", &[], &[("--cycles", cycles), ("--seed", seed)])
}

/// `porcupine`: another checker, of another language, judges what ours has judged.
pub fn linear(
    seconds: Option<u64>,
    seed: Option<u64>,
    clients: Option<u64>,
    porcupine: bool,
) -> Result<(), Failure> {
    cargo(["build", "--release", "-p", "nilas"]).passes()?;
    let flags = [("--seconds", seconds), ("--seed", seed), ("--clients", clients)];
    if !porcupine {
        return tests_binary("nilas-linear", &[], &flags);
    }
    let kept = target().join("linear");
    // Of an earlier run, if there was one.
    drop(std::fs::remove_dir_all(&kept));
    let directory = kept.display().to_string();
    tests_binary("nilas-linear", &["--keep", &directory], &flags)?;
    let listed = std::fs::read_dir(&kept).map_err(|e| Failure(format!("{directory}: {e}")))?;
    let files = listed.filter_map(|entry| Some(entry.ok()?.path().into_os_string()));
    program("go").args(["run", "."]).args(files).directory(root().join("tests/porcupine")).passes()
}

fn tests_binary(name: &str, words: &[&str], flags: &[(&str, Option<u64>)]) -> Result<(), Failure> {
    let run = cargo(["run", "--release", "--quiet", "-p", "nilas-tests", "--bin", name, "--"]);
    let mut run = run.args(words.iter().map(ToString::to_string));
    for (flag, value) in flags {
        if let Some(value) = value {
            run = run.args([(*flag).to_owned(), value.to_string()]);
        }
    }
    run.passes()
}

/// Counts sections, times them, and prints the closing line.
pub struct Report {
    name: &'static str,
    passed: u32,
    failed: Vec<String>,
    started: Instant,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        Report { name, passed: 0, failed: Vec::new(), started: Instant::now() }
    }

    /// Runs one section and returns whether it passed.
    pub fn section(&mut self, title: &str, run: impl FnOnce() -> Result<(), Failure>) -> bool {
        println!("== {title}");
        let started = Instant::now();
        let outcome = run();
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                println!("ok {title} ({seconds:.1} s)");
                self.passed += 1;
                true
            }
            Err(failure) => {
                println!("FAILED {title} ({seconds:.1} s): {failure}");
                self.failed.push(title.to_owned());
                false
            }
        }
    }

    pub fn close(self) -> ExitCode {
        if !self.failed.is_empty() {
            println!("failed: {}", self.failed.join(", "));
        }
        let (name, passed, seconds) = (self.name, self.passed, self.started.elapsed().as_secs());
        println!("{name}: {passed} passed, {} failed ({seconds} s)", self.failed.len());
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
