//! `cargo x`: the developer's commands, the same ones CI runs.
//! Each subcommand is a list of sections; a section passes or fails, is timed, and never stops the ones after it. The
//! process leaves with 1 when a section failed.

mod ci;
mod check;
mod tidy;
mod deps;
mod clients;
mod venv;
mod server;
mod readme;
mod fuzz;
mod prove;
mod shell;

use clap::{Parser, Subcommand};
use shell::{Failure, cargo};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo x", about = "Developer commands of this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, clippy, the tidy rules, dependencies
    Check,
    /// Builds, runs all Rust tests, then the client suites against one release server
    Test {
        /// Rust tests only: no release build, no clients
        #[arg(long)]
        quick: bool,
    },
    /// Simulated crashes and faults, from a seed
    Sim {
        #[arg(long)]
        seed: Option<u64>,
        #[arg(long)]
        seeds: Option<u64>,
    },
    /// One check that looks for what is wrong with the engine, or `all`, on the simulated machine
    Prove {
        name: String,
        #[arg(long)]
        seed: Option<u64>,
        #[arg(long)]
        count: Option<u64>,
        /// As much as before a release; hours in all
        #[arg(long)]
        long: bool,
    },
    /// Builds mistakes into the engine, one at a time: each must be found (`--list`, `--only NAME`, `--sample N`)
    Mutants {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// `kill -9` of a real server under load, restart, compare with what was acknowledged
    Crash {
        #[arg(long)]
        cycles: Option<u64>,
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Clients on few keys of a real server that is killed again and again, judged by a checker of linearizability
    Linear {
        #[arg(long)]
        seconds: Option<u64>,
        #[arg(long)]
        seed: Option<u64>,
        #[arg(long)]
        clients: Option<u64>,
        /// Has the Go library porcupine judge the same histories; needs Go
        #[arg(long)]
        porcupine: bool,
    },
    /// Load generators: `s3`, `catalog` or `disk`, with their own flags
    Bench {
        scenario: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Client suites only: those of CI, or the named ones
    Clients {
        names: Vec<String>,
        /// The fault suites with as many commits as before a release
        #[arg(long)]
        long: bool,
    },
    /// Generated creates and commits, here and at Iceberg's Java server: the answers must be the same
    Reference {
        /// Requests sent to both
        #[arg(long, default_value_t = 2_000)]
        count: u64,
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The examples of docs/access.md, against a server of their own
    Access,
    /// Makes the golden image of this format's version anew
    Golden,
    /// Coverage-guided fuzzing of one target or `all`, 60 seconds each unless told
    Fuzz { target: String, seconds: Option<u64> },
    /// Everything CI runs
    Ci,
    /// Starts a server from the release build
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check => sections("check", check::sections),
        Command::Test { quick } => sections("test", |report| ci::test_sections(report, quick)),
        Command::Ci => sections("ci", ci::sections),
        Command::Clients { names, long } => {
            sections("clients", |report| clients::sections(report, &names, long))
        }
        Command::Reference { count, seed } => {
            sections("reference", |report| clients::reference(report, count, seed))
        }
        Command::Sim { seed, seeds } => plain(ci::sim(seed, seeds)),
        Command::Prove { name, seed, count, long } => plain(ci::prove(&name, seed, count, long)),
        Command::Mutants { arguments } => plain(ci::mutants(arguments)),
        Command::Crash { cycles, seed } => plain(ci::crash(cycles, seed)),
        Command::Linear { seconds, seed, clients, porcupine } => {
            plain(ci::linear(seconds, seed, clients, porcupine))
        }
        Command::Bench { scenario, arguments } => plain(ci::bench(&scenario, arguments)),
        Command::Access => sections("access", |report| {
            report.section("access", readme::access);
        }),
        Command::Golden => plain(ci::golden()),
        Command::Fuzz { target, seconds } => plain(fuzz::run(&target, seconds.unwrap_or(60))),
        Command::Run { arguments } => plain(
            cargo(["run", "--release", "-p", "nilas", "--bin", "nilas", "--", "serve"])
                .args(arguments)
                .passes(),
        ),
    }
}

fn sections(name: &'static str, run: impl FnOnce(&mut ci::Report)) -> ExitCode {
    let mut report = ci::Report::new(name);
    run(&mut report);
    report.close()
}

fn plain(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
