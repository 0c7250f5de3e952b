//! `nilas-bench`: load for the S3 and catalog interfaces, with what each operation cost the server.
//!
//! Every subcommand starts a server of its own on a throw-away store unless given an endpoint, runs
//! its rounds, and prints text or one JSON object. Exit status 1 if any operation failed.

mod target;
mod window;
mod report;
mod s3;
mod catalog;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "nilas-bench", about = "Load generators for Nilas and other S3 or Iceberg REST servers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Objects: put, get, stat, list, mixed, delete.
    S3(s3::S3Arguments),
    /// Tables: commit, load, mixed.
    Catalog(catalog::CatalogArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::S3(arguments) => s3::run(&arguments),
        Command::Catalog(arguments) => catalog::run(&arguments),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(errors) => {
            eprintln!("{errors} operations failed");
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
