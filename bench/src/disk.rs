//! `nilas-bench disk`: the engine without HTTP against fio, on the same file system, with the same flush rule.
//!
//! Each case runs on both sides by turns, and the side that goes first changes from round to round: what the drive
//! does in one minute says little about the next, the ratio within a round says most. One core of ours against one
//! fio job on the same CPU.

mod fio;
mod ours;
mod scenario;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use nilas_engine::limits::IO_DEPTH_PER_STREAM;
use nilas_engine::rt::{self, RtConfig};
use nilas_engine::units::round_up_to_block;
use nilas_tests::device::{self, DiskCounters};
use nilas_tests::server::fresh_directory;
use serde_json::{Value, json};

use crate::report::{Figures, mib, short, summarise, to_json};
use fio::{Job, Sync};
use ours::{LARGE_BYTES, Ours, PIECE_BYTES, SMALL_BYTES, Work};

/// Least bytes of the prewritten file.
const FILE_BYTES_MIN: u64 = 64 << 20;

/// What is run, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiskArguments {
    /// Rounds; medians and extremes of their figures are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of each case on each side, seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Bytes of the prewritten file; the store's has eight times as many, written with zeros before.
    #[arg(long, default_value = "1GiB", value_parser = crate::s3::parse_size)]
    file_size: u64,
    /// Where both files are made, and removed at the end; below Cargo's target directory by default.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    case: String,
    /// Runs our side alone.
    #[arg(long)]
    no_fio: bool,
    /// Lets fio do without registered buffers and files, as it does unless told otherwise.
    #[arg(long)]
    fio_plain: bool,
    /// In place of the cases: `cached-read`, `fresh`, `aged`, `open` or `index`, without fio.
    #[arg(long, value_parser = scenario::NAMES)]
    scenario: Option<String>,
    /// Figures of the scenarios.
    #[command(flatten)]
    scale: scenario::Scale,
    /// Prints one JSON object in place of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    work: Work,
    in_flight: usize,
    op_bytes: u64,
}

const CASES: [Case; 14] = [
    case("drive-read-4k-qd1", Work::ReadRandom, 1, SMALL_BYTES),
    case("drive-read-4k-qd32", Work::ReadRandom, 32, SMALL_BYTES),
    case("drive-read-4k-qd128", Work::ReadRandom, 128, SMALL_BYTES),
    case("drive-seq-read-1m-qd8", Work::ReadNext, 8, PIECE_BYTES),
    case("drive-seq-write-1m-qd8", Work::WriteNext, 8, PIECE_BYTES),
    // What one writer, 32 and 128 writers of 4 KiB objects give a log to write at a time.
    case("drive-durable-4k", Work::WriteDurable(8 << 10), 1, 8 << 10),
    case("drive-durable-32", Work::WriteDurable(140 << 10), 1, 140 << 10),
    case("drive-durable-128", Work::WriteDurable(548 << 10), 1, 548 << 10),
    case("put-4k-c1", Work::PutSmall, 1, SMALL_BYTES),
    case("put-4k-c32", Work::PutSmall, 32, SMALL_BYTES),
    case("put-4k-c128", Work::PutSmall, 128, SMALL_BYTES),
    case("get-4k-c32", Work::GetSmall, 32, SMALL_BYTES),
    case("put-10m-c8", Work::PutLarge, 8, LARGE_BYTES),
    case("get-10m-c8", Work::GetLarge, 8, LARGE_BYTES),
];

const fn case(name: &'static str, work: Work, in_flight: usize, op_bytes: u64) -> Case {
    Case { name, work, in_flight, op_bytes }
}

/// Runs the rounds; always 0 failed operations, since the first one is an error.
pub(crate) fn run(arguments: &DiskArguments) -> Result<u64, String> {
    if arguments.file_size < FILE_BYTES_MIN || !(0.0..=3600.0).contains(&arguments.seconds) {
        return Err(format!("--file-size must be at least {FILE_BYTES_MIN}, --seconds at most 3600"));
    }
    if let Some(name) = &arguments.scenario {
        return run_scenario(name, arguments);
    }
    let fio = if arguments.no_fio { None } else { Some(fio::version()?) };
    let directory = match &arguments.directory {
        Some(parent) => parent.join(format!("nilas-disk-{}", std::process::id())),
        None => fresh_directory(),
    };
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let outcome = measure(arguments, &directory);
    let removed = fs::remove_dir_all(&directory);
    let rounds = outcome?;
    removed.map_err(|error| format!("{}: {error}", directory.display()))?;
    let parameters = json!({
        "rounds": arguments.rounds, "seconds": arguments.seconds, "file_size": arguments.file_size,
        "fio": fio, "load_average": load_average(),
    });
    match arguments.json {
        true => println!("{}", report(&rounds, parameters)),
        false => print_table(&rounds, &parameters),
    }
    Ok(0)
}

/// Runs one scenario a number of times, each on a store of its own.
fn run_scenario(name: &str, arguments: &DiskArguments) -> Result<u64, String> {
    let directory = match &arguments.directory {
        Some(parent) => parent.join(format!("nilas-disk-{}", std::process::id())),
        None => fresh_directory(),
    };
    let mut rounds = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let outcome =
            scenario::run(name, &arguments.scale, arguments.file_size, arguments.seconds, &directory);
        let removed = fs::remove_dir_all(&directory);
        rounds.push(outcome?);
        removed.map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let summary = summarise(&rounds);
    let parameters = json!({
        "rounds": rounds.len(), "seconds": arguments.seconds, "file_size": arguments.file_size,
        "scale": format!("{:?}", arguments.scale), "load_average": load_average(),
    });
    if arguments.json {
        let pick = |which: usize| {
            to_json(&summary.iter().map(|(name, values)| (name.clone(), values[which])).collect())
        };
        let case = json!({
            "case": name, "rounds": rounds.iter().map(to_json).collect::<Vec<Value>>(),
            "min": pick(0), "median": pick(1), "max": pick(2),
        });
        println!("{}", json!({"title": "disk", "parameters": parameters, "cases": [case]}));
    } else {
        println!("disk {name} {parameters}");
        for (name, [min, median, max]) in &summary {
            println!("{name:<36}{:>12}   ({}, {})", short(*median), short(*min), short(*max));
        }
    }
    Ok(0)
}

/// Longest time that a case runs unmeasured before its first round, seconds.
const WARM_SECONDS_MAX: f64 = 0.3;

/// Figures of each round of each case, by the case's place in [`CASES`].
type Rounds = BTreeMap<usize, Vec<Figures>>;

fn measure(arguments: &DiskArguments, directory: &Path) -> Result<Rounds, String> {
    let (arguments, directory) = (arguments.clone(), directory.to_path_buf());
    let cores = rt::start(1, RtConfig::server(), move |context| {
        let bench = Bench { arguments: arguments.clone(), directory: directory.clone(), cpu: context.cpu };
        async move { bench.run().await }
    });
    let ended = cores.map_err(|error| error.to_string())?.join().pop().expect("one core was started");
    ended.map_err(|error| error.to_string())?
}

struct Bench {
    arguments: DiskArguments,
    directory: PathBuf,
    cpu: Option<usize>,
}

impl Bench {
    async fn run(&self) -> Result<Rounds, String> {
        let file_bytes = self.arguments.file_size;
        let ours = Ours::prepare(&self.directory, file_bytes, 8 * file_bytes).await?;
        let mut rounds = Rounds::new();
        let mut jobs = BTreeMap::new();
        for round in 0..self.arguments.rounds.max(1) {
            for (place, case) in
                CASES.iter().enumerate().filter(|(_, case)| case.name.contains(&self.arguments.case))
            {
                if round == 0 {
                    // At first a case takes buffers and file blocks into use: that is not what it is measured for.
                    let warm =
                        ours.run(case.work, case.in_flight, self.arguments.seconds.min(WARM_SECONDS_MAX));
                    warm.await.map_err(|why| format!("{}: {why}", case.name))?;
                }
                let figures = self.round(round, case, &ours, jobs.entry(place).or_default()).await;
                rounds
                    .entry(place)
                    .or_default()
                    .push(figures.map_err(|why| format!("{}: {why}", case.name))?);
            }
        }
        ours.stop().await;
        Ok(rounds)
    }

    /// One round of one case. `job` is what fio has to do, known once our side has shown how it gathers records.
    async fn round(
        &self,
        round: usize,
        case: &Case,
        ours: &Ours,
        job: &mut Option<Job>,
    ) -> Result<Figures, String> {
        let mut theirs = None;
        if let Some(job) = job.filter(|_| round % 2 == 1) {
            theirs = self.fio(job).await?;
        }
        let disk = self.disk();
        let done = ours.run(case.work, case.in_flight, self.arguments.seconds).await?;
        let flushed = flushes(disk, self.disk());
        let job = *job.insert(job_for(case, ours, &done, self.arguments.file_size, self.arguments.fio_plain));
        if theirs.is_none() {
            theirs = self.fio(job).await?;
        }
        Ok(figures(case, &done, flushed, theirs))
    }

    /// What fio did, and how many flushes the drive saw meanwhile.
    async fn fio(&self, job: Job) -> Result<Option<(fio::Done, Option<u64>)>, String> {
        if self.arguments.no_fio {
            return Ok(None);
        }
        let (file, seconds, cpu) = (self.directory.join("file"), self.arguments.seconds, self.cpu);
        let before = self.disk();
        let done = rt::blocking(move || fio::run(&job, &file, seconds, cpu)).await;
        let done = done.map_err(|error| error.to_string())??;
        Ok(Some((done, flushes(before, self.disk()))))
    }

    fn disk(&self) -> Option<DiskCounters> {
        device::usage(std::process::id(), &self.directory).disk
    }
}

fn flushes(before: Option<DiskCounters>, after: Option<DiskCounters>) -> Option<u64> {
    Some(after?.flushes.saturating_sub(before?.flushes))
}

/// The same bytes in the same requests, with the same flushes, without an object store around them.
fn job_for(case: &Case, ours: &Ours, done: &ours::Done, file_bytes: u64, fio_plain: bool) -> Job {
    let requests = |rw, request_bytes, region_bytes: u64| Job {
        registered: !fio_plain,
        rw,
        request_bytes,
        depth: case.in_flight,
        sync: Sync::Never,
        region_bytes: region_bytes.min(file_bytes),
        ops_per_request: 1.0,
    };
    // A stream keeps several requests in flight.
    let streams = |rw| Job {
        depth: case.in_flight * IO_DEPTH_PER_STREAM,
        ops_per_request: PIECE_BYTES as f64 / LARGE_BYTES as f64,
        ..requests(rw, PIECE_BYTES, ours.large_region_bytes())
    };
    match case.work {
        Work::ReadRandom => requests("randread", SMALL_BYTES, file_bytes),
        Work::ReadNext => requests("read", PIECE_BYTES, file_bytes),
        Work::WriteNext => requests("write", PIECE_BYTES, file_bytes),
        Work::WriteDurable(bytes) => Job { sync: Sync::Each, ..requests("write", bytes, file_bytes) },
        Work::PutSmall => {
            let blocks = done.blocks.max(1);
            Job {
                depth: 1,
                sync: Sync::Each,
                ops_per_request: done.records as f64 / blocks as f64,
                ..requests("write", round_up_to_block(done.block_bytes / blocks), file_bytes)
            }
        }
        Work::GetSmall => requests("randread", SMALL_BYTES, ours.small_region_bytes()),
        Work::PutLarge => Job { sync: Sync::After(LARGE_BYTES / PIECE_BYTES), ..streams("write") },
        Work::GetLarge => streams("read"),
    }
}

fn figures(
    case: &Case,
    done: &ours::Done,
    flushed: Option<u64>,
    theirs: Option<(fio::Done, Option<u64>)>,
) -> Figures {
    let mut out = Figures::new();
    let mut push = |name: &str, value: f64| out.push((name.to_owned(), value));
    let ops = done.ops.max(1) as f64;
    let rate = ops / done.secs.max(1e-9);
    let cpu_us = done.cpu_secs * 1e6 / ops;
    push("ops", done.ops as f64);
    push("per_s", rate);
    push("MiB_per_s", rate * mib(case.op_bytes));
    push("cpu_us_per_op", cpu_us);
    if let Some(flushed) = flushed {
        push("flushes_per_op", flushed as f64 / ops);
    }
    if case.work == Work::PutSmall {
        let per_block = |value: u64| value as f64 / done.blocks.max(1) as f64;
        push("records_per_flush", per_block(done.records));
        push("block_bytes", per_block(done.block_bytes));
        push("block_write_us", per_block(done.block_write_us));
        // What is left of a round once the drive has done its part: gathering, encoding, waking writers.
        push("block_other_us", done.secs * 1e6 / done.blocks.max(1) as f64 - per_block(done.block_write_us));
    }
    if let Some((theirs, flushed)) = theirs {
        let fio_rate = theirs.ops / theirs.secs;
        push("fio_per_s", fio_rate);
        push("fio_MiB_per_s", fio_rate * mib(case.op_bytes));
        push("fio_cpu_us_per_op", theirs.cpu_secs * 1e6 / theirs.ops);
        if let Some(flushed) = flushed {
            push("fio_flushes_per_op", flushed as f64 / theirs.ops);
        }
        push("ratio", rate / fio_rate);
        push("cpu_ratio", done.cpu_secs / ops / (theirs.cpu_secs / theirs.ops).max(1e-9));
    }
    out
}

fn report(rounds: &Rounds, parameters: Value) -> Value {
    let cases: Vec<Value> = rounds
        .iter()
        .map(|(place, rounds)| {
            let summary = summarise(rounds);
            let pick = |which: usize| {
                to_json(&summary.iter().map(|(name, values)| (name.clone(), values[which])).collect())
            };
            json!({
                "case": CASES[*place].name, "rounds": rounds.iter().map(to_json).collect::<Vec<Value>>(),
                "min": pick(0), "median": pick(1), "max": pick(2),
            })
        })
        .collect();
    json!({"title": "disk", "parameters": parameters, "cases": cases})
}

/// Medians; of the ratio the extremes too.
fn print_table(rounds: &Rounds, parameters: &Value) {
    println!("disk {parameters}");
    println!(
        "{:<24}{:>10}{:>10}{:>6}{:>8}{:>18}{:>10}{:>8}{:>8}{:>10}{:>8}{:>11}",
        "case",
        "ours",
        "fio",
        "",
        "ratio",
        "(min, max)",
        "cpu us/op",
        "fio",
        "ratio",
        "flush/op",
        "fio",
        "rec/flush"
    );
    for (place, rounds) in rounds {
        let case = &CASES[*place];
        let summary = summarise(rounds);
        let values = |name: &str| summary.iter().find(|(other, _)| other == name).map(|(_, values)| *values);
        let median = |name: &str| values(name).map_or("-".to_owned(), |[_, median, _]| short(median));
        let (unit, rate) = if case.op_bytes <= 8 << 10 { ("/s", "per_s") } else { ("MiB/s", "MiB_per_s") };
        let extremes = values("ratio").map_or(String::new(), |[min, _, max]| format!("({min:.2}, {max:.2})"));
        println!(
            "{:<24}{:>10}{:>10}{:>6}{:>8}{:>18}{:>10}{:>8}{:>8}{:>10}{:>8}{:>11}",
            case.name,
            median(rate),
            median(&format!("fio_{rate}")),
            unit,
            median("ratio"),
            extremes,
            median("cpu_us_per_op"),
            median("fio_cpu_us_per_op"),
            median("cpu_ratio"),
            median("flushes_per_op"),
            median("fio_flushes_per_op"),
            median("records_per_flush"),
        );
    }
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<&str>>().join(" ")
}
