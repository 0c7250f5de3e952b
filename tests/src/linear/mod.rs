//! Linearizability of the real binary: several clients write, delete, read and list a few keys at once while the server is
//! killed and started again, and a checker looks for an order of everything that explains all answers.
//!
//! `nilas-linear` and `tests/linear.rs` call [`run`]. `load` asks and writes down, `key` says what a key does, `checker`
//! judges. The keys are judged each for itself: linearizability is a property of each object alone. A listing is, for each
//! key, a read at some moment of the listing. After each run answers are exchanged for wrong ones, one at a time, and the
//! checker must refuse each of these histories: else it says nothing.

pub mod checker;
pub mod key;
mod keep;
mod load;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checker::{Refutation, Timed, check};
use key::{Answer, Call, Condition, Key, Label, Request};
use load::Load;

use crate::rng::Rng;
use crate::server::{Server, ServerOptions};

/// What to run.
#[derive(Clone, Debug)]
pub struct LinearOptions {
    /// How long there is load.
    pub time: Duration,
    /// Clients at once.
    pub clients: usize,
    /// Seed of what is asked; threads still interleave freely.
    pub seed: u64,
    /// The server; its data must be fresh.
    pub server: ServerOptions,
    /// Prints one line per round.
    pub verbose: bool,
    /// Where histories are kept, for a checker that is not ours.
    pub keep: Option<PathBuf>,
}

impl LinearOptions {
    /// Eight clients on a throw-away store.
    pub fn new(time: Duration, seed: u64) -> Self {
        let server = ServerOptions::fresh().drive_size("8GiB");
        LinearOptions { time, clients: 8, seed, server, verbose: false, keep: None }
    }
}

/// What was done and judged; its display is the closing line.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Kills.
    pub kills: u64,
    /// Keys judged.
    pub keys: u64,
    /// Requests judged, each key of a listing counted.
    pub requests: u64,
    /// Of them: without an answer, or with 5xx.
    pub unanswered: u64,
    /// Of them: refused because of a condition.
    pub refused: u64,
    /// Histories made wrong on purpose that the checker refused: all of them.
    pub wrong: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "linear: {} kills, {} requests on {} keys, {} unanswered, {} refused by a condition, \
             an order for all of them; {} wrong histories, all refused",
            self.kills, self.requests, self.keys, self.unanswered, self.refused, self.wrong
        )
    }
}

/// Runs the load and judges it. `Err` says what no order explains, or what was answered as it may never be.
pub fn run(options: &LinearOptions) -> Result<Counts, String> {
    let mut rng = Rng::new(options.seed);
    let mut counts = Counts::default();
    let mut server = Server::start(options.server.clone()).map_err(|error| error.to_string())?;
    Load::prepare(&server).map_err(|error| format!("setting up: {error}"))?;
    let until = Instant::now() + options.time;
    let mut outcome = Ok(());
    for round in 0.. {
        outcome = run_round(&mut server, &mut rng, round, until, options, &mut counts);
        if options.verbose {
            println!("round {round}: {counts}");
        }
        if outcome.is_err() || until <= Instant::now() {
            break;
        }
    }
    outcome.map(|()| counts).map_err(|complaint| {
        server.keep();
        let (seed, data) = (options.seed, server.data().display());
        format!("seed {seed}, data in {data}:\n{complaint}\nserver log:\n{}", server.stderr())
    })
}

/// Kills between looks at everything: keys and histories begin anew behind them, so that a long run holds as much as a short one.
const KILLS_PER_ROUND: u64 = 20;

fn run_round(
    server: &mut Server,
    rng: &mut Rng,
    round: u64,
    until: Instant,
    options: &LinearOptions,
    counts: &mut Counts,
) -> Result<(), String> {
    let load = Load::new(round);
    for _ in 0..KILLS_PER_ROUND {
        load.work_and_kill(server, rng, options.clients)?;
        counts.kills += 1;
        server.restart().map_err(|error| format!("restart: {error}"))?;
        if until <= Instant::now() {
            break;
        }
    }
    load.look(server)?;
    judge(load.histories(), rng, options.keep.as_deref(), counts)
}

/// One key's name, what it is, and all that happened to it.
struct KeyHistory {
    name: String,
    key: Key,
    rows: Vec<Timed<Request>>,
}

fn judge(
    histories: Vec<KeyHistory>,
    rng: &mut Rng,
    directory: Option<&Path>,
    counts: &mut Counts,
) -> Result<(), String> {
    for KeyHistory { name, key, rows } in histories {
        counts.keys += 1;
        counts.requests += rows.len() as u64;
        let answer =
            |wanted: Option<Answer>| rows.iter().filter(|row| row.operation.answer == wanted).count();
        counts.unanswered += answer(None) as u64;
        counts.refused += answer(Some(Answer::Refused)) as u64;
        check(&key, &rows).map_err(|refutation| format!("{name}: {refutation}"))?;
        let wrongs = wrong_histories(&rows, rng);
        if let Some(directory) = directory {
            let mut all = vec![keep::history(&name, key.versioned, true, &rows)];
            all.extend(wrongs.iter().map(|(what, rows)| keep::history(what, key.versioned, false, rows)));
            keep::write(directory, &name, &all).map_err(|error| format!("keeping {name}: {error}"))?;
        }
        for (what, wrong) in wrongs {
            match check(&key, &wrong) {
                Err(Refutation::Impossible(_)) => counts.wrong += 1,
                Err(Refutation::Undecided) => return Err(format!("{name}: {what}: undecided")),
                Ok(()) => return Err(format!("{name}: {what} was accepted: the checker is blind")),
            }
        }
    }
    Ok(())
}

/// Copies of a history with one answer exchanged for one that cannot be.
fn wrong_histories(rows: &[Timed<Request>], rng: &mut Rng) -> Vec<(&'static str, Vec<Timed<Request>>)> {
    let with = |at: usize, answer: Answer| {
        let mut wrong = rows.to_vec();
        wrong[at].operation.answer = Some(answer);
        wrong
    };
    let mut all = Vec::new();
    // The key was looked at twice at the end, with nobody else there.
    for (at, row) in rows.iter().enumerate().skip(rows.len().saturating_sub(2)) {
        match &row.operation.answer {
            Some(Answer::Found(_)) => all.push(("a lost object", with(at, Answer::Missing))),
            Some(Answer::Missing) => {
                all.push(("an object from nowhere", with(at, Answer::Found(Label::MAX))))
            }
            Some(Answer::Shown(shown)) if let Some((_, rest)) = shown.split_first() => {
                all.push(("a lost version", with(at, Answer::Shown(rest.to_vec()))));
                let mut turned = shown.clone();
                turned.reverse();
                if turned != *shown {
                    all.push(("versions out of order", with(at, Answer::Shown(turned))));
                }
            }
            Some(Answer::Shown(_)) => {
                let nobody = key::Shown { label: Some(Label::MAX), is_marker: false };
                all.push(("a version from nowhere", with(at, Answer::Shown(vec![nobody]))));
            }
            _ => {}
        }
    }
    // A read of what had been overwritten before it was asked for: the newest of all that ended before another one began.
    let puts: Vec<&Timed<Request>> = rows
        .iter()
        .filter(|row| {
            matches!(row.operation.call, Call::Put(_)) && row.operation.answer == Some(Answer::Done)
        })
        .collect();
    let reads: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].operation.call == Call::Get).collect();
    for _ in 0..STALE_READS.min(reads.len()) {
        let at = reads[rng.index(reads.len())];
        let before = puts.iter().filter(|put| put.end < rows[at].start);
        let Some(last) = before.max_by_key(|put| put.start) else { continue };
        let Some(stale) = puts.iter().filter(|put| put.end < last.start).max_by_key(|put| put.end) else {
            continue;
        };
        // In a bucket with versions an older one comes up again when those above it are removed.
        let is_removed = |row: &Timed<Request>| matches!(row.operation.call, Call::DeleteVersion(_));
        if !rows.iter().any(is_removed) {
            all.push(("a stale read", with(at, Answer::Found(stale.operation.label))));
        }
    }
    // A second winner: a create that was refused is said to have been done, though the object was there all the time.
    let refused = rows.iter().position(|row| {
        let create = row.operation.call == Call::Put(Condition::Absent);
        create && row.operation.answer == Some(Answer::Refused) && surely_there(rows, row)
    });
    if let Some(at) = refused {
        all.push(("a second creator", with(at, Answer::Done)));
    }
    all
}

/// Reads of each key that are made wrong.
const STALE_READS: usize = 8;

/// Whether an object was there all through `asked`: put before, and nothing deleted from then until long after.
fn surely_there(rows: &[Timed<Request>], asked: &Timed<Request>) -> bool {
    let put = rows.iter().filter(|row| {
        matches!(row.operation.call, Call::Put(_))
            && row.operation.answer == Some(Answer::Done)
            && row.end < asked.start
    });
    let Some(put) = put.max_by_key(|row| row.start) else { return false };
    !rows.iter().any(|row| {
        let deletes = matches!(row.operation.call, Call::Delete(_) | Call::DeleteVersion(_));
        deletes && put.start <= row.end && row.start <= asked.end
    })
}
