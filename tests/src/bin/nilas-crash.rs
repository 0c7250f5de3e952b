//! Kill -9 cycles as a command: `nilas-crash --cycles 200 --seed 7`. Exit status 1 if anything
//! acknowledged was lost or torn.

use std::process::ExitCode;

use nilas_tests::crash::{CrashOptions, run};

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\nusage: nilas-crash [--cycles 20] [--seed N] [--drive-size 8GiB] [--quiet]");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    match run(&options) {
        Ok(counts) => {
            println!("{counts}");
            ExitCode::SUCCESS
        }
        Err(complaints) => {
            eprintln!("{complaints}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<CrashOptions, String> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut options = CrashOptions::new(20, clock.map_or(1, |since| since.as_secs()));
    options.verbose = true;
    while let Some(name) = arguments.next() {
        if name == "--quiet" {
            options.verbose = false;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--cycles" => options.cycles = value.parse().map_err(|error| format!("--cycles: {error}"))?,
            "--seed" => options.seed = value.parse().map_err(|error| format!("--seed: {error}"))?,
            "--drive-size" => options.server = options.server.drive_size(&value),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(options)
}
