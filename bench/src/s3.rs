//! Object load in the shapes that warp made common: put, get, stat, list, mixed, delete.
//!
//! Objects are prepared outside the window. Bodies come from one shared buffer unless `--verify`
//! makes each a function of its key; GET bodies are dropped inside the kernel unless verified.

use std::time::Instant;

use clap::{Args, ValueEnum};
use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::rng::{self, Rng};
use nilas_tests::sizes;
use serde_json::json;

use crate::report::Report;
use crate::target::{Target, TargetArguments};
use crate::window::{self, Tallies, Window, Worker};

const BUCKET: &str = "nilas-bench";
/// Prepared objects take at most this much by default, bytes.
const PREPARED_BYTES_MAX: u64 = 1 << 30;
/// Threads that prepare and clear.
const PREPARERS: usize = 8;
/// Keys per DeleteObjects when clearing.
const CLEAR_BATCH: usize = 1000;
/// warp's mix: GET, STAT, PUT, DELETE, in percent.
const MIX: [u64; 4] = [45, 30, 15, 10];

/// An object operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// New objects.
    Put,
    /// Whole random objects.
    Get,
    /// HEAD of random objects.
    Stat,
    /// Pages of the worker's own prefix.
    List,
    /// 45 get, 30 stat, 15 put, 10 delete.
    Mixed,
    /// Batches of DeleteObjects until nothing is left.
    Delete,
}

/// Payload form of uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// SHA-256 of the body.
    Signed,
    /// Signed 64 KiB chunks.
    Chunked,
}

/// Arguments of `nilas-bench s3`.
#[derive(Args, Clone, Debug)]
pub(crate) struct S3Arguments {
    /// The operation.
    #[arg(long, value_enum)]
    op: Op,
    /// Bytes per object.
    #[arg(long, default_value = "4KiB", value_parser = parse_size)]
    size: u64,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Objects to prepare; for put, names to go round in (default: a new name each time).
    #[arg(long)]
    objects: Option<u64>,
    /// Keys per page of a listing.
    #[arg(long, default_value_t = 1000)]
    max_keys: u32,
    /// Keys per DeleteObjects.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Payload form of uploads.
    #[arg(long, value_enum, default_value = "unsigned")]
    payload: Form,
    /// Checks every byte read.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    target: TargetArguments,
}

/// Bytes, for flags.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    sizes::parse(text)
}

/// Runs the rounds; the number of failed operations.
pub(crate) fn run(arguments: &S3Arguments) -> Result<u64, String> {
    if arguments.concurrency == 0 || arguments.batch == 0 {
        return Err("--concurrency and --batch must be at least 1".to_owned());
    }
    let target = Target::open(&arguments.target)?;
    let size = usize::try_from(arguments.size).map_err(|error| format!("--size: {error}"))?;
    let load = Load { arguments, target: &target, body: rng::payload("shared", 0, size), size };
    let created = target.client().create_bucket(BUCKET).map_err(|error| format!("create bucket: {error}"))?;
    if !matches!(created.status, 200 | 409) {
        return Err(format!("create bucket: {} {}", created.status, created.text()));
    }
    load.clear()?;
    let title = format!(
        "s3 {:?} size {} concurrency {} payload {:?} seconds {}",
        arguments.op, arguments.size, arguments.concurrency, arguments.payload, arguments.target.seconds
    )
    .to_lowercase();
    let parameters = json!({
        "op": format!("{:?}", arguments.op).to_lowercase(), "size": arguments.size,
        "concurrency": arguments.concurrency, "seconds": arguments.target.seconds,
        "payload": format!("{:?}", arguments.payload).to_lowercase(), "objects": load.objects(),
        "max_keys": arguments.max_keys, "batch": arguments.batch, "verify": arguments.verify,
        "seed": arguments.target.seed,
    });
    let mut report = Report::new(title, parameters, arguments.target.json);
    let stored = matches!(arguments.op, Op::Put);
    for round in 0..arguments.target.rounds.max(1) {
        let window = load.round(round)?;
        report.add(&window, stored);
    }
    load.clear()?;
    Ok(report.finish())
}

struct Load<'a> {
    arguments: &'a S3Arguments,
    target: &'a Target,
    body: Vec<u8>,
    size: usize,
}

impl Load<'_> {
    fn round(&self, round: usize) -> Result<Window, String> {
        let workers = self.arguments.concurrency;
        // Reads leave their objects as they are, so one preparation serves all rounds.
        let reads = matches!(self.arguments.op, Op::Get | Op::Stat | Op::List);
        if self.arguments.op != Op::Put && (round == 0 || !reads) {
            self.clear()?;
            self.prepare()?;
        }
        let mut rng = Rng::new(self.arguments.target.seed.wrapping_add(round as u64));
        let workers = (0..workers).map(|worker| self.worker(round, worker, rng.fork())).collect();
        let window = window::run(self.target, self.arguments.target.seconds, workers);
        if self.arguments.op == Op::Put {
            self.clear()?;
        }
        window.map_err(|error| error.to_string())
    }

    /// Objects prepared in all, a multiple of the workers so that each has as many.
    fn objects(&self) -> u64 {
        let wanted = self.arguments.objects.unwrap_or(match self.arguments.op {
            Op::List => 10_000,
            Op::Delete => 25_000,
            _ => (PREPARED_BYTES_MAX / self.arguments.size.max(1)).clamp(8, 2_500),
        });
        let workers = self.arguments.concurrency as u64;
        wanted.div_ceil(workers) * workers
    }

    fn keys(&self, worker: usize) -> Vec<String> {
        let count = self.objects() / self.arguments.concurrency as u64;
        (0..count).map(|at| format!("w{worker:03}/{at:08}")).collect()
    }

    fn put<'c>(&'c self, key: &str, own: &'c mut Vec<u8>) -> Call<'c> {
        let body = if self.arguments.verify {
            *own = rng::payload(key, 0, self.size);
            own.as_slice()
        } else {
            &self.body
        };
        let form = match self.arguments.payload {
            Form::Unsigned => Payload::Unsigned,
            Form::Signed => Payload::Signed,
            Form::Chunked => Payload::Chunked,
        };
        Call::object("PUT", BUCKET, key).body(body).payload(form)
    }

    fn prepare(&self) -> Result<(), String> {
        let keys: Vec<String> =
            (0..self.arguments.concurrency).flat_map(|worker| self.keys(worker)).collect();
        in_parallel(&keys, |part| {
            let mut client = self.target.client();
            let mut own = Vec::new();
            for key in part {
                match client.send(&self.put(key, &mut own)) {
                    Ok(response) if response.status == 200 => {}
                    Ok(response) => {
                        return Err(format!("prepare {key}: {} {}", response.status, response.text()));
                    }
                    Err(error) => return Err(format!("prepare {key}: {error}")),
                }
            }
            Ok(())
        })
    }

    fn clear(&self) -> Result<(), String> {
        let listed = self.target.client().list_all(BUCKET, "").map_err(|error| format!("clear: {error}"))?;
        let keys: Vec<String> = listed.into_iter().map(|entry| entry.key).collect();
        in_parallel(&keys, |part| {
            let mut client = self.target.client();
            for batch in part.chunks(CLEAR_BATCH) {
                let response =
                    client.delete_many(BUCKET, batch).map_err(|error| format!("clear: {error}"))?;
                if response.status != 200 {
                    return Err(format!("clear: {} {}", response.status, response.text()));
                }
            }
            Ok(())
        })
    }

    fn worker<'w>(&'w self, round: usize, worker: usize, mut rng: Rng) -> Worker<'w> {
        let mut client = self.target.client();
        match self.arguments.op {
            Op::Put => {
                let mut next = 0u64;
                let names =
                    self.arguments.objects.map(|all| (all / self.arguments.concurrency as u64).max(1));
                Box::new(move |tallies| {
                    let name = names.map_or(next, |names| next % names);
                    next += 1;
                    self.do_put(&mut client, tallies, &format!("r{round}/w{worker:03}/{name:08}"))
                })
            }
            Op::Get | Op::Stat => {
                // Any worker reads any object.
                let count = self.objects() / self.arguments.concurrency as u64;
                Box::new(move |tallies| {
                    let owner = rng.index(self.arguments.concurrency);
                    let key = format!("w{owner:03}/{:08}", rng.below(count));
                    if self.arguments.op == Op::Get {
                        self.do_get(&mut client, tallies, &key)
                    } else {
                        do_stat(&mut client, tallies, &key)
                    }
                })
            }
            Op::List => {
                let mut token = None;
                Box::new(move |tallies| self.do_list(&mut client, tallies, worker, &mut token))
            }
            Op::Mixed => {
                let mut pool = self.keys(worker);
                let mut next = pool.len();
                Box::new(move |tallies| {
                    let dice = rng.below(100);
                    let at = rng.index(pool.len());
                    if dice < MIX[0] && !pool.is_empty() {
                        self.do_get(&mut client, tallies, &pool[at])
                    } else if dice < MIX[0] + MIX[1] && !pool.is_empty() {
                        do_stat(&mut client, tallies, &pool[at])
                    } else if dice < MIX[0] + MIX[1] + MIX[2] || pool.is_empty() {
                        pool.push(format!("w{worker:03}/{next:08}"));
                        next += 1;
                        self.do_put(&mut client, tallies, &pool[pool.len() - 1])
                    } else {
                        do_delete(&mut client, tallies, &pool.swap_remove(at))
                    }
                })
            }
            Op::Delete => {
                let mut left = self.keys(worker);
                Box::new(move |tallies| {
                    let from = left.len().saturating_sub(self.arguments.batch);
                    let batch = left.split_off(from);
                    !batch.is_empty() && do_delete_many(&mut client, tallies, &batch)
                })
            }
        }
    }

    fn do_put(&self, client: &mut Client, tallies: &mut Tallies, key: &str) -> bool {
        let mut own = Vec::new();
        let call = self.put(key, &mut own);
        let from = Instant::now();
        let answer = client.send(&call);
        let tally = tallies.entry("put").or_default();
        match answer {
            Ok(response) if response.status == 200 => tally.succeed(from.elapsed(), self.size as u64, 1),
            other => tally.judge(other),
        }
        true
    }

    fn do_get(&self, client: &mut Client, tallies: &mut Tallies, key: &str) -> bool {
        let call = Call::object("GET", BUCKET, key);
        let call = if self.arguments.verify { call } else { call.discard() };
        let from = Instant::now();
        let answer = client.send(&call);
        let took = from.elapsed();
        let tally = tallies.entry("get").or_default();
        match answer {
            Ok(response) if response.status == 200 && response.body_bytes == self.size as u64 => {
                match rng::verify(&response.body, key, 0) {
                    Err(at) if self.arguments.verify => tally.fail(|| format!("{key}: wrong bytes at {at}")),
                    _ => tally.succeed(took, response.body_bytes, 1),
                }
            }
            Ok(response) if response.status == 200 => {
                tally.fail(|| format!("{key}: {} bytes in place of {}", response.body_bytes, self.size));
            }
            other => tally.judge(other),
        }
        true
    }

    fn do_list(
        &self,
        client: &mut Client,
        tallies: &mut Tallies,
        worker: usize,
        token: &mut Option<String>,
    ) -> bool {
        let (prefix, max_keys) = (format!("w{worker:03}/"), self.arguments.max_keys.to_string());
        let mut parameters = vec![("prefix", prefix.as_str()), ("max-keys", &max_keys)];
        if let Some(token) = token.as_deref() {
            parameters.push(("continuation-token", token));
        }
        let from = Instant::now();
        let answer = client.list(BUCKET, &parameters);
        let took = from.elapsed();
        let tally = tallies.entry("list").or_default();
        match answer {
            Ok(page) if page.response.status == 200 && !page.entries.is_empty() => {
                tally.succeed(took, 0, page.entries.len() as u64);
                *token = page.next;
            }
            Ok(page) => tally.judge(Ok(page.response)),
            Err(error) => tally.judge(Err(error)),
        }
        true
    }
}

fn do_stat(client: &mut Client, tallies: &mut Tallies, key: &str) -> bool {
    let from = Instant::now();
    let answer = client.head(BUCKET, key);
    let tally = tallies.entry("stat").or_default();
    match answer {
        Ok(response) if response.status == 200 => tally.succeed(from.elapsed(), 0, 1),
        other => tally.judge(other),
    }
    true
}

fn do_delete(client: &mut Client, tallies: &mut Tallies, key: &str) -> bool {
    let from = Instant::now();
    let answer = client.delete(BUCKET, key);
    let tally = tallies.entry("delete").or_default();
    match answer {
        Ok(response) if response.status == 204 => tally.succeed(from.elapsed(), 0, 1),
        other => tally.judge(other),
    }
    true
}

fn do_delete_many(client: &mut Client, tallies: &mut Tallies, batch: &[String]) -> bool {
    let from = Instant::now();
    let answer = client.delete_many(BUCKET, batch);
    let tally = tallies.entry("delete").or_default();
    match answer {
        Ok(response) if response.status == 200 && !response.text().contains("<Error>") => {
            tally.succeed(from.elapsed(), 0, batch.len() as u64);
        }
        other => tally.judge(other),
    }
    true
}

/// Splits `keys` over a few threads; the first failure is the answer.
fn in_parallel(keys: &[String], work: impl Fn(&[String]) -> Result<(), String> + Sync) -> Result<(), String> {
    if keys.is_empty() {
        return Ok(());
    }
    std::thread::scope(|scope| {
        let parts: Vec<_> = keys
            .chunks(keys.len().div_ceil(PREPARERS))
            .map(|part| {
                let work = &work;
                scope.spawn(move || work(part))
            })
            .collect();
        parts.into_iter().try_for_each(|part| part.join().map_err(|_| "a preparer panicked".to_owned())?)
    })
}
