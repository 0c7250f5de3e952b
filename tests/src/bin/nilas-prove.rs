//! Runs the programmes of `prove` and ends each with one line of counts and its rate; status 1 when anything was found.
//!
//! `nilas-prove NAME|all [--seed N] [--count N] [--long]`. A finding names the seed and count that repeat it.

use std::process::ExitCode;
use std::time::Instant;

use nilas_tests::prove::{PROGRAMMES, Programme};

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) => run(&options),
        Err(text) => {
            let names: Vec<&str> = PROGRAMMES.iter().map(|programme| programme.name).collect();
            eprintln!("nilas-prove: {text}; programmes: {}, all", names.join(", "));
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> ExitCode {
    let mut passed = true;
    for programme in &options.programmes {
        let started = Instant::now();
        let count = options.count.unwrap_or(programme.counts[usize::from(options.long)]);
        let (tally, found) = programme.run(options.seed, count);
        if let Some(found) = found {
            passed = false;
            eprintln!("{:?}: {} (prove {})", found.kind, found.text, programme.name);
        }
        println!("{}", programme.line(&tally, started.elapsed().as_secs_f64()));
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    programmes: Vec<Programme>,
    seed: u64,
    count: Option<u64>,
    long: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let name = args.next().ok_or("no programme is named")?;
        let programmes: Vec<Programme> =
            PROGRAMMES.into_iter().filter(|programme| name == "all" || programme.name == name).collect();
        if programmes.is_empty() {
            return Err(format!("no programme {name}"));
        }
        let mut options = Options { programmes, seed: 1, count: None, long: false };
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
