//! Builds one mistake after the other into the engine and looks whether the simulated checks find it; status 1 when
//! one survives.
//!
//! `nilas-mutants [--list] [--only NAME] [--sample N] [--seed N] [--jobs N] [--table]`. Each mistake runs in a process of
//! its own, named by the environment variable `NILAS_MUTANT`. I1. The same checks pass first without a mistake: one that
//! fails by itself kills nothing. I2. A check that does not end in time has found the mistake.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nilas_engine::mutant::{MUTANTS, choose};
use nilas_engine::platform::simulated::Random;
use nilas_tests::machine::Finding;
use nilas_tests::prove::CHECKS;
use nilas_tests::sim::{Workload, every_cut, every_cut_of_format, round};

/// Names the mistake to the process that has it.
const VARIABLE: &str = "NILAS_MUTANT";
/// No mistake at all.
const NONE: &str = "none";
/// A check that takes longer hangs, in seconds; without a mistake the longest takes a few.
const CHECK_SECONDS_MAX: u64 = 90;

/// What is run, cheapest first: a check of `prove` or of `sim`, its first seed, and its count.
const SHORT_CHECKS: [(&str, u64, u64); 27] = [
    ("versions", 1, 1_200),
    ("space", 1, 1_200),
    ("clean", 1, 300),
    ("model", 1, 4_000),
    ("sim fault", 1, 40),
    ("crash", 1, 250),
    ("small", 1, 600),
    ("flip", 1, 300),
    ("tail", 1, 250),
    ("flush", 1, 80),
    ("nth", 1, 200),
    ("faults", 1, 40),
    ("sim flip", 1, 4),
    ("cuts", 1, 1),
    ("format", 1, 1),
    ("clean", 1_000, 3_000),
    ("space", 100, 12_000),
    ("flush", 1_000, 200),
    ("crash", 1_000, 1_200),
    ("sim fault", 1_000, 400),
    ("faults", 1_000, 300),
    ("flip", 1, 900),
    ("tail", 1, 900),
    ("small", 1, 1_500),
    ("crash", 5_000, 8_000),
    ("clean", 10_000, 9_000),
    ("sim fault", 5_000, 3_000),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(VARIABLE) {
        return run_one(&name);
    }
    match Options::parse(std::env::args().skip(1)) {
        Ok(options) if options.list => {
            MUTANTS.iter().for_each(|(name, text)| println!("{name}: {text}"));
            ExitCode::SUCCESS
        }
        Ok(options) => run_all(&options),
        Err(text) => {
            eprintln!("nilas-mutants: {text}");
            ExitCode::from(2)
        }
    }
}

/// The process with the mistake: tells which check runs, and which one found something.
fn run_one(name: &str) -> ExitCode {
    if name != NONE && !choose(name) {
        eprintln!("nilas-mutants: no mistake {name}");
        return ExitCode::from(2);
    }
    // A panic is a finding like others.
    std::panic::set_hook(Box::new(|_| {}));
    for (nth, (check, seed, count)) in SHORT_CHECKS.iter().enumerate() {
        println!("check {nth}");
        if let Some(found) = run_check(check, *seed, *count) {
            println!("found {:?}: {}", found.kind, found.text.replace('\n', " "));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run_check(check: &str, seed: u64, count: u64) -> Option<Finding> {
    let rounds = |workload| {
        let at = |seed| round(workload, seed).1.map(|found| found.at(format!("seed {seed}")));
        (seed..seed + count).find_map(at)
    };
    match check {
        "sim fault" => rounds(Workload::Fault),
        "sim flip" => rounds(Workload::Flip),
        "cuts" => every_cut(seed, 2).1.map(|(_, _, found)| found),
        "format" => every_cut_of_format(seed).err(),
        name => {
            let check = CHECKS.iter().find(|check| check.name == name);
            check.expect("a name of SHORT_CHECKS").run(seed, count).1
        }
    }
}

/// What became of one mistake.
struct Outcome {
    name: &'static str,
    /// The check that found it, and what.
    killer: Option<(String, String)>,
    seconds: f64,
}

fn run_all(options: &Options) -> ExitCode {
    let started = Instant::now();
    let baseline = watch(NONE);
    if let Some((check, text)) = baseline.killer {
        eprintln!("nilas-mutants: {check} fails without a mistake: {text}");
        return ExitCode::from(2);
    }
    println!("without a mistake: nothing found ({:.1} s)", baseline.seconds);
    let waiting = Mutex::new(options.chosen.iter().copied().collect::<VecDeque<&'static str>>());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                let next = || waiting.lock().expect("no other thread panics").pop_front();
                while let Some(name) = next() {
                    let outcome = watch(name);
                    match &outcome.killer {
                        Some((check, text)) => {
                            let text: String = text.chars().take(150).collect();
                            println!("{name}: killed by {check} ({:.1} s): {text}", outcome.seconds);
                        }
                        None => println!("{name}: SURVIVED ({:.1} s)", outcome.seconds),
                    }
                    outcomes.lock().expect("no other thread panics").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("all threads ended");
    outcomes.sort_by_key(|outcome| MUTANTS.iter().position(|(name, _)| *name == outcome.name));
    if options.table {
        for outcome in &outcomes {
            let text = MUTANTS.iter().find(|(name, _)| *name == outcome.name).map_or("", |(_, text)| text);
            let killer = outcome.killer.as_ref().map_or("survives", |(check, _)| check);
            println!("| `{}` | {text} | {killer} |", outcome.name);
        }
    }
    let killed = outcomes.iter().filter(|outcome| outcome.killer.is_some()).count();
    let survivors: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.killer.is_none()).map(|outcome| outcome.name).collect();
    if !survivors.is_empty() {
        println!("survived: {}", survivors.join(", "));
    }
    println!("mutants: {killed} of {} killed ({:.0} s)", outcomes.len(), started.elapsed().as_secs_f64());
    if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the process of one mistake to its end, or until one of its checks takes too long.
fn watch(name: &'static str) -> Outcome {
    let started = Instant::now();
    let told = |check: u64| {
        let nth = usize::try_from(check).expect("an index");
        SHORT_CHECKS.get(nth).map_or("start", |(check, _, _)| check).to_owned()
    };
    let mut child = match spawn(name) {
        Ok(child) => child,
        Err(error) => panic!("cannot start itself: {error}"),
    };
    let lines = child.stdout.take().expect("piped");
    let (check, since) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::new(Mutex::new(Instant::now())));
    let (seen, touched) = (check.clone(), since.clone());
    let reader = std::thread::spawn(move || {
        let mut found = None;
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            if let Some(text) = line.strip_prefix("found ") {
                found = Some(text.to_owned());
            } else if let Some(nth) = line.strip_prefix("check ").and_then(|nth| nth.parse().ok()) {
                seen.store(nth, Ordering::Relaxed);
                *touched.lock().expect("nobody panics with it") = Instant::now();
            }
        }
        found
    });
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is a child") {
            break Some(status);
        }
        if CHECK_SECONDS_MAX < since.lock().expect("nobody panics with it").elapsed().as_secs() {
            child.kill().expect("it runs");
            child.wait().expect("it was killed");
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let found = reader.join().expect("reading lines");
    let text = match (status, found) {
        (Some(status), _) if status.success() => None,
        (_, Some(text)) => Some(text),
        (None, None) => Some(format!("takes more than {CHECK_SECONDS_MAX} s")),
        (Some(status), None) => Some(format!("ends with {status}")),
    };
    let killer = text.map(|text| (told(check.load(Ordering::Relaxed)), text));
    Outcome { name, killer, seconds: started.elapsed().as_secs_f64() }
}

fn spawn(name: &str) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(VARIABLE, name).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

struct Options {
    list: bool,
    table: bool,
    jobs: usize,
    chosen: Vec<&'static str>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let all = MUTANTS.iter().map(|(name, _)| *name).collect();
        let mut options = Options { list: false, table: false, jobs, chosen: all };
        let (mut sample, mut seed) = (None, 1);
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or(format!("{flag} needs a value"));
            let number = |value: String| value.parse::<u64>().map_err(|_| format!("{value}: no number"));
            match flag.as_str() {
                "--list" => options.list = true,
                "--table" => options.table = true,
                "--only" => {
                    let names = value()?;
                    let names: Vec<&str> = names.split(',').collect();
                    options.chosen.retain(|name| names.contains(name));
                    if options.chosen.len() < names.len() {
                        return Err(format!("--only {}: not all are there", names.join(",")));
                    }
                }
                "--sample" => sample = Some(number(value()?)?),
                "--seed" => seed = number(value()?)?,
                "--jobs" => options.jobs = usize::try_from(number(value()?)?.max(1)).unwrap_or(1),
                _ => return Err(format!("unknown option {flag}")),
            }
        }
        let mut random = Random::new(seed);
        while sample.is_some_and(|sample| sample < options.chosen.len() as u64) {
            let nth = random.below(options.chosen.len() as u64);
            options.chosen.remove(usize::try_from(nth).expect("an index"));
        }
        Ok(options)
    }
}
