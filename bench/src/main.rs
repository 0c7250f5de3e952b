//! `nilas-bench`: load for the S3 and catalog interfaces, with what each operation cost the server, and for the
//! engine alone, held against fio, and its cache, held against an ideal one.
//!
//! `s3` and `catalog` start a server of their own on a throw-away store unless given an endpoint; `disk` runs the
//! engine in this process, and `cache` a part of it. All run their rounds and print text or one JSON object. Exit status 1 if any operation
//! failed.

mod target;
mod window;
mod principal;
mod report;
mod s3;
mod catalog;
mod disk;
mod cache;

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
    /// The engine without HTTP, against fio on the same file system.
    Disk(disk::DiskArguments),
    /// The read cache alone: hit ratios against other policies, and the cost of a call.
    Cache(cache::CacheArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::S3(arguments) => s3::run(&arguments),
        Command::Catalog(arguments) => catalog::run(&arguments),
        Command::Disk(arguments) => disk::run(&arguments),
        Command::Cache(arguments) => cache::run(&arguments),
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
