//! Load, kills and a checker of linearizability as a command: `nilas-linear --seconds 600 --seed 7`. Exit status 1 if no order
//! of all requests explains their answers.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nilas_tests::linear::{LinearOptions, run};

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!(
                "{message}\nusage: nilas-linear [--seconds 60] [--seed N] [--clients 8] [--keep DIRECTORY]"
            );
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    match run(&options) {
        Ok(counts) => {
            println!("{counts}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<LinearOptions, String> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut options = LinearOptions::new(Duration::from_secs(60), clock.map_or(1, |since| since.as_secs()));
    options.verbose = true;
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        if name == "--keep" {
            options.keep = Some(value.into());
            continue;
        }
        let number = value.parse::<u64>().map_err(|error| format!("{name}: {error}"))?;
        match name.as_str() {
            "--seconds" => options.time = Duration::from_secs(number),
            "--seed" => options.seed = number,
            "--clients" => options.clients = usize::try_from(number.clamp(1, 32)).expect("it is small"),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(options)
}
