//! Runs the simulated crash, fault and damage rounds and ends with one line of counts and the rate; status 1 when anything
//! was found.
//!
//! `nilas-sim [--seed N] [--seeds N] [--workload crash|fault|flip|cuts|all]`. A seed lives through several
//! rounds; a finding is repeated with its seed as `--seed` and `--seeds 1`.

use std::process::ExitCode;
use std::time::Instant;

use nilas_tests::sim::{Counts, Workload, every_cut, every_cut_of_format, round};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("nilas-sim: {text}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let mut counts = Counts::default();
    let mut failed = false;
    for nth in 0..options.seeds {
        let seed = options.seed.wrapping_add(nth);
        // Of all rounds, most are cut, some fail, a few decay.
        let workload = options.workload.unwrap_or(match seed % 16 {
            0..=10 => Workload::Crash,
            11..=14 => Workload::Fault,
            _ => Workload::Flip,
        });
        let (ran, found) = round(workload, seed);
        counts.add(ran);
        if let Some(found) = found {
            failed = true;
            let name = format!("{workload:?}").to_lowercase();
            eprintln!("{:?}: {} (repeat: --workload {name} --seed {seed} --seeds 1)", found.kind, found.text);
        }
    }
    if options.cuts {
        let (ran, found) = every_cut(options.seed, 2);
        counts.add(ran);
        if let Some((cut, loss, found)) = found {
            failed = true;
            eprintln!("{:?}: {} (cut {cut}, loss {loss} of --seed {})", found.kind, found.text, options.seed);
        }
        match every_cut_of_format(options.seed) {
            Ok(ran) => counts.add(ran),
            Err(found) => {
                failed = true;
                eprintln!("{:?}: {} (--seed {})", found.kind, found.text, options.seed);
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("sim: {counts}, {:.0} rounds/s", counts.rounds as f64 / seconds);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Options {
    seed: u64,
    seeds: u64,
    workload: Option<Workload>,
    cuts: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { seed: 1, seeds: 400, workload: None, cuts: true };
        while let Some(name) = args.next() {
            let value = args.next().ok_or(format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} {value}: no number"));
            match name.as_str() {
                "--seed" => options.seed = number()?,
                "--seeds" => options.seeds = number()?,
                "--workload" => {
                    (options.workload, options.cuts) = match value.as_str() {
                        "crash" => (Some(Workload::Crash), false),
                        "fault" => (Some(Workload::Fault), false),
                        "flip" => (Some(Workload::Flip), false),
                        "cuts" => (None, true),
                        "all" => (None, true),
                        _ => return Err(format!("--workload {value}: crash, fault, flip, cuts or all")),
                    };
                    if value == "cuts" {
                        options.seeds = 0;
                    }
                }
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}
