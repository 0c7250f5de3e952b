//! Runs the checks of `prove` and ends each with one line of counts and its rate; status 1 when anything was found.
//!
//! `nilas-prove NAME|all [--seed N] [--count N] [--long]`. A finding names the seed and count that repeat it.

use std::process::ExitCode;
use std::time::Instant;

use nilas_tests::prove::{CHECKS, Check};

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => run(&options),
        Err(text) => {
            let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
            eprintln!("nilas-prove: {text}; checks: {}, all", names.join(", "));
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    let mut passed = true;
    for check in &options.checks {
        let started = Instant::now();
        let count = options.count.unwrap_or(check.counts[usize::from(options.long)]);
        let (tally, found) = check.run(options.seed, count);
        if let Some(found) = found {
            passed = false;
            eprintln!("{:?}: {} (prove {})", found.kind, found.text, check.name);
        }
        println!("{}", check.line(&tally, started.elapsed().as_secs_f64()));
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    checks: Vec<Check>,
    seed: u64,
    count: Option<u64>,
    long: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let name = args.next().ok_or("no check is named")?;
        let checks: Vec<Check> =
            CHECKS.into_iter().filter(|check| name == "all" || check.name == name).collect();
        if checks.is_empty() {
            return Err(format!("no check {name}"));
        }
        let mut options = Options { checks, seed: 1, count: None, long: false };
        while let Some(flag) = args.next() {
            let mut number = || -> Result<u64, String> {
                let value = args.next().ok_or(format!("{flag} needs a value"))?;
                value.parse().map_err(|_| format!("{flag} {value}: no number"))
            };
            match flag.as_str() {
                "--seed" => options.seed = number()?,
                "--count" => options.count = Some(number()?),
                "--long" => options.long = true,
                _ => return Err(format!("unknown option {flag}")),
            }
        }
        Ok(options)
    }
}
