//! Kill -9 cycles on the real binary: load from several clients, a kill at a random moment, a
//! restart, and a check of everything against a record that only the clients keep.
//!
//! I1. An intent is recorded before its request is sent; an acknowledgement settles it. I2. A key
//! has one writer thread, so what a key may hold is its last acknowledged state or one of the
//! intents since; contested keys are each tried once per thread and verified on their own.
//! I3. What was seen once after a restart is settled: a later restart must show it again.

mod vault;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::catalog::{Answer, Catalog, assert_uuid, set_property};
use crate::client::{Call, Client, Entry, Payload, md5_etag};
use crate::http1::Response;
use crate::rng::{self, Rng};
use crate::server::{Server, ServerOptions};
use crate::sizes::{KIB, MIB};
use vault::Vault;

const BUCKET: &str = "crash";
const WAREHOUSE: &str = "crash-wh";
const NAMESPACE: &[&str] = &["n"];
const WRITERS: usize = 5;
const RACERS: usize = 3;
const COUNTERS: usize = 2;
const MADE_TABLES: usize = 6;
const KILL_AFTER_MS: (u64, u64) = (50, 600);
const PART_BYTES: usize = 5 * MIB;
const SMALL_LENGTHS: [usize; 10] =
    [0, 1, 100, 4 * KIB, 4 * KIB + 1, 10_000, 64 * KIB, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1];

/// What to run.
#[derive(Clone, Debug)]
pub struct CrashOptions {
    /// Kills to survive.
    pub cycles: u32,
    /// Seed of keys, sizes, operations and moments; threads still interleave freely.
    pub seed: u64,
    /// The server; its data must be fresh.
    pub server: ServerOptions,
    /// Prints one line per cycle.
    pub verbose: bool,
}

impl CrashOptions {
    /// `cycles` kills on a throw-away store of 8 GiB.
    pub fn new(cycles: u32, seed: u64) -> Self {
        CrashOptions { cycles, seed, server: ServerOptions::fresh().drive_size("8GiB"), verbose: false }
    }
}

/// What was done and checked; its display is the closing line.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Kills, those during recovery included.
    pub kills: u64,
    /// Object changes acknowledged.
    pub acknowledged: u64,
    /// Object changes without an answer.
    pub unknown: u64,
    /// Requests refused with 503.
    pub refused: u64,
    /// Catalog changes acknowledged.
    pub commits: u64,
    /// Contested creates with a winner.
    pub races: u64,
    /// Uploads continued after a restart.
    pub resumed: u64,
    /// Objects read back.
    pub verified: u64,
    /// Bytes read back.
    pub verified_bytes: u64,
    /// Longest time from spawn to ready after a kill.
    pub recovery_max: Duration,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "crash: {} kills, {} object changes acknowledged, {} unanswered, {} refused, {} catalog changes, \
             {} races, {} uploads resumed, {} objects and {} MiB verified, slowest recovery {} ms, 0 lost, 0 torn",
            self.kills,
            self.acknowledged,
            self.unknown,
            self.refused,
            self.commits,
            self.races,
            self.resumed,
            self.verified,
            self.verified_bytes >> 20,
            self.recovery_max.as_millis()
        )
    }
}

/// Runs the cycles. `Err` lists everything that was lost, torn or answered wrongly in the first bad
/// cycle, and where the data lies.
pub fn run(options: &CrashOptions) -> Result<Counts, String> {
    let mut rng = Rng::new(options.seed);
    let mut counts = Counts::default();
    let mut server = Server::start(options.server.clone()).map_err(|error| error.to_string())?;
    let mut book = CatalogBook::default();
    set_up(&server, &mut book).map_err(|error| format!("setting up: {error}"))?;
    let mut vault = Vault::default();
    let mut shelves: Vec<Shelf> = (0..WRITERS).map(Shelf::new).collect();
    for cycle in 0..options.cycles {
        let outcome =
            run_cycle(&mut server, &mut rng, cycle, &mut shelves, &mut vault, &mut book, &mut counts);
        let complaints = match outcome {
            Ok(complaints) => complaints,
            Err(fatal) => vec![fatal],
        };
        if options.verbose {
            println!("cycle {cycle}: {counts}");
        }
        if !complaints.is_empty() {
            server.keep();
            return Err(format!(
                "cycle {cycle} of seed {}, data in {}:\n{}\nserver log:\n{}",
                options.seed,
                server.data().display(),
                complaints.join("\n"),
                server.stderr()
            ));
        }
    }
    Ok(counts)
}

fn set_up(server: &Server, book: &mut CatalogBook) -> io::Result<()> {
    let made = server.client().create_bucket(BUCKET)?;
    let vault = Vault::open(&mut server.client())?;
    let mut catalog = server.catalog(WAREHOUSE);
    catalog.open()?;
    let mut answers = vec![catalog.create_namespace(NAMESPACE)?];
    for (table, uuid) in [
        ("count", &mut book.count),
        ("left", &mut book.left),
        ("right", &mut book.right),
        ("appended", &mut book.appended.uuid),
    ] {
        let answer = catalog.create_table(NAMESPACE, table)?;
        *uuid = answer.text_at("/metadata/table-uuid").to_owned();
        answers.push(answer);
    }
    let bad = answers.iter().find(|answer| answer.status != 200).map(|answer| &answer.response);
    let buckets = [&made, &vault].into_iter().find(|response| response.status != 200);
    match bad.or(buckets) {
        Some(response) => Err(io::Error::other(format!("{} {}", response.status, response.text()))),
        None => Ok(()),
    }
}

fn run_cycle(
    server: &mut Server,
    rng: &mut Rng,
    cycle: u32,
    shelves: &mut Vec<Shelf>,
    vault: &mut Vault,
    book: &mut CatalogBook,
    counts: &mut Counts,
) -> Result<Vec<String>, String> {
    let races = load_and_kill(server, rng, cycle, shelves, vault, book);
    counts.kills += 1;
    if rng.chance(25) {
        server.spawn().map_err(|error| error.to_string())?;
        thread::sleep(Duration::from_millis(rng.below(150)));
        server.kill9();
        counts.kills += 1;
    }
    let from = Instant::now();
    server.restart().map_err(|error| format!("restart: {error}"))?;
    counts.recovery_max = counts.recovery_max.max(from.elapsed());

    let mut complaints = Vec::new();
    thread::scope(|scope| {
        let client = server.client();
        let vault_check = scope.spawn(|| vault.verify(client));
        let checks: Vec<_> = shelves
            .iter_mut()
            .map(|shelf| {
                let client = server.client();
                scope.spawn(move || shelf.verify(client))
            })
            .collect();
        complaints.extend(verify_races(&mut server.client(), &races, counts).err());
        let observed = verify_catalog(server, book).map_err(|error| format!("catalog: {error}"));
        complaints.extend(observed.err());
        for check in checks {
            let outcome = check.join().unwrap_or_else(|_| Err("a verifier panicked".to_owned()));
            complaints.extend(outcome.err());
        }
        let outcome = vault_check.join().unwrap_or_else(|_| Err("a verifier panicked".to_owned()));
        complaints.extend(outcome.err());
    });
    for shelf in shelves {
        complaints.append(&mut shelf.complaints);
        counts.add(&std::mem::take(&mut shelf.counts));
    }
    complaints.append(&mut vault.complaints);
    counts.add(&std::mem::take(&mut vault.counts));
    complaints.append(&mut book.complaints);
    counts.commits += std::mem::take(&mut book.commits);
    counts.refused += std::mem::take(&mut book.refused);
    Ok(complaints)
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.resumed += other.resumed;
        self.verified += other.verified;
        self.verified_bytes += other.verified_bytes;
    }
}

fn load_and_kill(
    server: &mut Server,
    rng: &mut Rng,
    cycle: u32,
    shelves: &mut [Shelf],
    vault: &mut Vault,
    book: &mut CatalogBook,
) -> Vec<Attempt> {
    let killed = AtomicBool::new(false);
    let next_race = AtomicU64::new(0);
    let after = Duration::from_millis(rng.between(KILL_AFTER_MS.0, KILL_AFTER_MS.1));
    let CatalogBook { counters, pair, made, appended, count, left, right, complaints, commits, refused } =
        book;
    let mut attempts = Vec::new();
    thread::scope(|scope| {
        let mut racers = Vec::new();
        for racer in 0..RACERS {
            let (client, killed, next) = (server.client(), &killed, &next_race);
            racers.push(scope.spawn(move || race(client, cycle, racer, killed, next)));
        }
        for shelf in shelves.iter_mut() {
            let (client, rng, killed) = (server.client(), rng.fork(), &killed);
            scope.spawn(move || shelf.work(client, rng, killed));
        }
        let (client, vault_rng, killed_too) = (server.client(), rng.fork(), &killed);
        scope.spawn(move || vault.work(client, vault_rng, killed_too));
        let mut clerks = Vec::new();
        for (at, counter) in counters.iter_mut().enumerate() {
            let (catalog, uuid, killed) = (catalog_client(server), &*count, &killed);
            clerks.push(scope.spawn(move || count_up(catalog, counter, &format!("w{at}"), uuid, killed)));
        }
        let (catalog, uuids, killed_now) = (catalog_client(server), [&**left, &**right], &killed);
        clerks.push(scope.spawn(move || count_pair(catalog, pair, uuids, killed_now)));
        let catalog = catalog_client(server);
        clerks.push(scope.spawn(move || make_and_drop(catalog, made, killed_now)));
        let catalog = catalog_client(server);
        clerks.push(scope.spawn(move || appended.go_on(catalog, killed_now)));

        thread::sleep(after);
        killed.store(true, Ordering::SeqCst);
        server.kill9();
        for racer in racers {
            attempts.extend(racer.join().unwrap_or_default());
        }
        for clerk in clerks {
            let tally = clerk.join().unwrap_or_default();
            *commits += tally.acknowledged;
            *refused += tally.refused;
            complaints.extend(tally.complaint);
        }
    });
    attempts
}

// Objects.

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Absent,
    Body { version: u64, len: usize, parts: usize },
}

struct Record {
    key: String,
    kind: Kind,
    settled: Content,
    maybe: Vec<Content>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Small,
    Medium,
    Large,
    Multipart,
}

/// An upload whose parts were acknowledged and which nobody has asked to complete.
struct OpenUpload {
    at: usize,
    id: String,
    version: u64,
    parts: Vec<(u32, String)>,
}

/// The keys of one writer thread and what it knows of them.
struct Shelf {
    prefix: String,
    records: Vec<Record>,
    uploads: Vec<OpenUpload>,
    version: u64,
    counts: Counts,
    complaints: Vec<String>,
}

impl Shelf {
    fn new(writer: usize) -> Self {
        let prefix = format!("w{writer}/");
        let kinds = [(Kind::Small, 60), (Kind::Medium, 8), (Kind::Large, 3), (Kind::Multipart, 2)];
        let kinds = kinds.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count));
        let records = kinds.enumerate().map(|(at, kind)| Record {
            key: format!("{prefix}{at:03}"),
            kind,
            settled: Content::Absent,
            maybe: Vec::new(),
        });
        Shelf {
            records: records.collect(),
            prefix,
            uploads: Vec::new(),
            version: 0,
            counts: Counts::default(),
            complaints: Vec::new(),
        }
    }

    /// Changes keys until the server is gone.
    fn work(&mut self, mut client: Client, mut rng: Rng, killed: &AtomicBool) {
        loop {
            let payloads = [Payload::Unsigned, Payload::Unsigned, Payload::Signed, Payload::Chunked];
            client.payload = payloads[rng.index(payloads.len())];
            let step = self.step(&mut client, &mut rng);
            if let Err(error) = step {
                if !killed.load(Ordering::SeqCst) {
                    self.complaints
                        .push(format!("{}: connection failed before the kill: {error}", self.prefix));
                }
                return;
            }
            if !self.complaints.is_empty() || killed.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    fn step(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let at = rng.index(self.records.len());
        let len = match self.records[at].kind {
            Kind::Multipart => return self.upload(client, rng, at),
            Kind::Large if rng.chance(60) => return self.read_back(client, at),
            Kind::Large => 5 * MIB,
            Kind::Medium => 300 * KIB,
            Kind::Small if rng.chance(3) => 300 * KIB,
            Kind::Small => SMALL_LENGTHS[rng.index(SMALL_LENGTHS.len())],
        };
        match rng.below(100) {
            0..45 => self.put(client, at, len, None),
            45..57 => self.put(client, at, len, Some("if-none-match")),
            57..65 => self.put(client, at, len, Some("if-match")),
            65..78 => self.delete(client, at),
            78..83 => self.delete_many(client, rng),
            _ => self.read_back(client, at),
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// PutObject, conditional on the key's settled state if it has one.
    fn put(&mut self, client: &mut Client, at: usize, len: usize, condition: Option<&str>) -> io::Result<()> {
        let version = self.next_version();
        let record = &self.records[at];
        let body = rng::payload(&record.key, version, len);
        let mut call = Call::object("PUT", BUCKET, &record.key).body(&body).payload(client.payload);
        let mut expected = Some(200);
        match (condition, record.settled) {
            (Some("if-none-match"), settled) => {
                call = call.header("if-none-match", "*");
                expected = record.maybe.is_empty().then_some(match settled {
                    Content::Absent => 200,
                    Content::Body { .. } => 412,
                });
            }
            (Some(_), Content::Body { version, len, parts: 1 }) if len <= 128 * KIB + 1 => {
                call = call.header("if-match", md5_etag(&rng::payload(&record.key, version, len)));
                expected = record.maybe.is_empty().then_some(200);
            }
            _ => {}
        }
        self.intend(at, Content::Body { version, len, parts: 1 });
        let answer = client.send(&call);
        self.settle(at, answer, expected)
    }

    fn delete(&mut self, client: &mut Client, at: usize) -> io::Result<()> {
        self.intend(at, Content::Absent);
        let answer = client.delete(BUCKET, &self.records[at].key);
        self.settle(at, answer, Some(204))
    }

    fn delete_many(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let mut chosen: Vec<usize> = (0..10).map(|_| rng.index(self.records.len())).collect();
        chosen.retain(|at| matches!(self.records[*at].kind, Kind::Small | Kind::Medium));
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            return Ok(());
        }
        for at in &chosen {
            self.intend(*at, Content::Absent);
        }
        let keys: Vec<String> = chosen.iter().map(|at| self.records[*at].key.clone()).collect();
        let response = match client.delete_many(BUCKET, &keys) {
            Ok(response) => response,
            Err(error) => {
                self.counts.unknown += chosen.len() as u64;
                return Err(error);
            }
        };
        let text = response.text();
        let deleted: Vec<String> = crate::xml::blocks(&text, "Deleted")
            .iter()
            .filter_map(|block| crate::xml::first(block, "Key"))
            .collect();
        for at in chosen {
            let mut part = response.clone();
            if part.status == 200 && !deleted.contains(&self.records[at].key) {
                part.status = 503;
            }
            self.settle(at, Ok(part), Some(200))?;
        }
        Ok(())
    }

    /// Two parts, then complete; sometimes left open for the next life of the server.
    fn upload(&mut self, client: &mut Client, rng: &mut Rng, at: usize) -> io::Result<()> {
        if self.uploads.iter().any(|upload| upload.at == at) {
            return Ok(());
        }
        let version = self.next_version();
        let key = self.records[at].key.clone();
        let (response, id) = client.create_upload(BUCKET, &key)?;
        if response.status != 200 || id.is_empty() {
            self.judge(&response, "create upload");
            return Ok(());
        }
        self.uploads.push(OpenUpload { at, id, version, parts: Vec::new() });
        let slot = self.uploads.len() - 1;
        self.put_missing_parts(client, slot)?;
        if self.uploads[slot].parts.len() == 2 && !rng.chance(20) {
            self.complete(client, slot)?;
        }
        Ok(())
    }

    fn put_missing_parts(&mut self, client: &mut Client, slot: usize) -> io::Result<()> {
        let OpenUpload { at, id, version, .. } = &self.uploads[slot];
        let (key, id, version) = (self.records[*at].key.clone(), id.clone(), *version);
        let body = rng::payload(&key, version, upload_len(version));
        for (number, part) in [(1, &body[..PART_BYTES]), (2, &body[PART_BYTES..])] {
            if self.uploads[slot].parts.iter().any(|(have, _)| *have == number) {
                continue;
            }
            let response = client.put_part(BUCKET, &key, &id, number, part)?;
            if response.status == 200 {
                self.uploads[slot].parts.push((number, response.etag()));
                self.uploads[slot].parts.sort();
            } else {
                self.judge(&response, "upload part");
            }
        }
        Ok(())
    }

    /// From here on the upload is no longer open: the object's record tells what may be.
    fn complete(&mut self, client: &mut Client, slot: usize) -> io::Result<()> {
        let upload = self.uploads.swap_remove(slot);
        let len = upload_len(upload.version);
        self.intend(upload.at, Content::Body { version: upload.version, len, parts: 2 });
        let key = self.records[upload.at].key.clone();
        let answer = client.complete(BUCKET, &key, &upload.id, &upload.parts);
        self.settle(upload.at, answer, Some(200))
    }

    /// Reads a key while the load runs: nothing but what it may hold.
    fn read_back(&mut self, client: &mut Client, at: usize) -> io::Result<()> {
        let response = client.get(BUCKET, &self.records[at].key)?;
        if response.status == 503 {
            self.counts.refused += 1;
        } else if let Err(complaint) = self.observe(at, &response) {
            self.complaints.push(format!("under load: {complaint}"));
        }
        Ok(())
    }

    fn intend(&mut self, at: usize, content: Content) {
        self.records[at].maybe.push(content);
    }

    fn settle(&mut self, at: usize, answer: io::Result<Response>, expected: Option<u16>) -> io::Result<()> {
        let record = &mut self.records[at];
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                self.counts.unknown += 1;
                return Err(error);
            }
        };
        let intent = *record.maybe.last().expect("an intent is recorded before every change");
        match response.status {
            200..300 => {
                record.settled = intent;
                record.maybe.clear();
                self.counts.acknowledged += 1;
            }
            // Refused: nothing says that it was not done.
            503 => self.counts.refused += 1,
            400..500 => {
                record.maybe.pop();
            }
            _ => {}
        }
        if response.status != 503 && expected.is_some_and(|expected| expected != response.status) {
            let key = &self.records[at].key;
            self.complaints.push(format!(
                "{key}: {intent:?} answered {} in place of {expected:?}: {}",
                response.status,
                response.text()
            ));
        }
        Ok(())
    }

    fn judge(&mut self, response: &Response, what: &str) {
        if response.status == 503 {
            self.counts.refused += 1;
        } else {
            self.complaints.push(format!("{what} answered {}: {}", response.status, response.text()));
        }
    }

    /// Which allowed content a GET shows.
    fn observe(&self, at: usize, response: &Response) -> Result<Content, String> {
        let record = &self.records[at];
        let allowed = || std::iter::once(&record.settled).chain(&record.maybe).copied();
        let key = &record.key;
        match response.status {
            404 if allowed().any(|content| content == Content::Absent) => Ok(Content::Absent),
            404 => Err(format!("LOST {key}: absent, but acknowledged as {:?}", record.settled)),
            200 => {
                let seen = allowed().find(|content| {
                    matches!(*content, Content::Body { version, len, .. } if len == response.body.len()
                        && rng::verify(&response.body, key, version).is_ok())
                });
                let Some(seen @ Content::Body { parts, .. }) = seen else {
                    return Err(self.name_wrong_bytes(at, &response.body));
                };
                let etag = response.etag();
                let right = if parts == 1 {
                    300 * KIB < response.body.len() || etag == md5_etag(&response.body)
                } else {
                    etag.ends_with(&format!("-{parts}\""))
                };
                if right { Ok(seen) } else { Err(format!("{key}: wrong ETag {etag} for {seen:?}")) }
            }
            other => Err(format!("{key}: GET answered {other}: {}", response.text())),
        }
    }

    fn name_wrong_bytes(&self, at: usize, body: &[u8]) -> String {
        let record = &self.records[at];
        let key = &record.key;
        let stale = (0..=self.version).rev().find(|version| rng::verify(body, key, *version).is_ok());
        match stale.filter(|_| 8 <= body.len()) {
            Some(version) => format!(
                "LOST {key}: holds version {version} of {} bytes, allowed {:?} or {:?}",
                body.len(),
                record.settled,
                record.maybe
            ),
            None => format!(
                "TORN {key}: {} bytes that are no version, allowed {:?} or {:?}",
                body.len(),
                record.settled,
                record.maybe
            ),
        }
    }

    /// After a restart: every key, the listing, and the open uploads.
    fn verify(&mut self, mut client: Client) -> Result<(), String> {
        let gone = |error: io::Error| format!("verifying: {error}");
        let mut present = Vec::new();
        for at in 0..self.records.len() {
            let response = client.get(BUCKET, &self.records[at].key).map_err(gone)?;
            match self.observe(at, &response) {
                Ok(seen) => {
                    self.records[at].settled = seen;
                    self.records[at].maybe.clear();
                    self.counts.verified += 1;
                    self.counts.verified_bytes += response.body_bytes;
                    if seen != Content::Absent {
                        let (size, etag) = (response.body_bytes, response.etag());
                        present.push(Entry { key: self.records[at].key.clone(), size, etag });
                    }
                }
                Err(complaint) => self.complaints.push(complaint),
            }
        }
        let listed = client.list_all(BUCKET, &self.prefix).map_err(gone)?;
        if listed != present && self.complaints.is_empty() {
            let only = |a: &[Entry], b: &[Entry]| -> Vec<Entry> {
                a.iter().filter(|entry| !b.contains(entry)).cloned().collect()
            };
            self.complaints.push(format!(
                "{}: listing disagrees with GET: only listed {:?}, only read {:?}",
                self.prefix,
                only(&listed, &present),
                only(&present, &listed)
            ));
        }
        self.verify_uploads(&mut client).map_err(gone)
    }

    fn verify_uploads(&mut self, client: &mut Client) -> io::Result<()> {
        while let Some(upload) = self.uploads.last() {
            let slot = self.uploads.len() - 1;
            let key = self.records[upload.at].key.clone();
            let listed = client.list_parts(BUCKET, &key, &upload.id)?;
            let text = listed.text();
            let etags: BTreeMap<String, String> = crate::xml::blocks(&text, "Part")
                .iter()
                .filter_map(|part| {
                    Some((crate::xml::first(part, "PartNumber")?, crate::xml::first(part, "ETag")?))
                })
                .collect();
            let missing =
                upload.parts.iter().find(|(number, etag)| etags.get(&number.to_string()) != Some(etag));
            if listed.status != 200 || missing.is_some() {
                self.complaints.push(format!(
                    "LOST upload {} of {key}: {} lists {etags:?}, acknowledged {:?}",
                    upload.id, listed.status, upload.parts
                ));
                self.uploads.pop();
                continue;
            }
            self.put_missing_parts(client, slot)?;
            if self.uploads[slot].parts.len() < 2 {
                self.uploads.pop();
                continue;
            }
            self.complete(client, slot)?;
            self.counts.resumed += 1;
        }
        Ok(())
    }
}

fn upload_len(version: u64) -> usize {
    2 * PART_BYTES + (version % 1000) as usize
}

// Contested keys.

struct Attempt {
    key: String,
    racer: usize,
    outcome: RaceOutcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RaceOutcome {
    Won,
    /// 412: somebody else's object is there.
    Lost,
    /// 409 or 503: nothing is said about the key.
    Refused,
    Unknown,
    Wrong(u16),
}

/// Creates contested keys with If-None-Match until the server is gone, each key at most once.
fn race(mut client: Client, cycle: u32, racer: usize, killed: &AtomicBool, next: &AtomicU64) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut own = 0;
    while !killed.load(Ordering::SeqCst) {
        let number = next.load(Ordering::SeqCst).max(own);
        own = number + 1;
        let key = format!("race/{cycle}/{number:05}");
        let body = rng::payload(&key, racer as u64, race_len(number));
        let call = Call::object("PUT", BUCKET, &key).header("if-none-match", "*").body(&body);
        let answer = client.send(&call);
        next.fetch_max(own, Ordering::SeqCst);
        let outcome = match &answer {
            Ok(response) => match response.status {
                200 => RaceOutcome::Won,
                412 => RaceOutcome::Lost,
                409 | 503 => RaceOutcome::Refused,
                other => RaceOutcome::Wrong(other),
            },
            Err(_) if killed.load(Ordering::SeqCst) => RaceOutcome::Unknown,
            Err(_) => RaceOutcome::Wrong(0),
        };
        attempts.push(Attempt { key, racer, outcome });
        if answer.is_err() {
            break;
        }
    }
    attempts
}

fn race_len(number: u64) -> usize {
    if number.is_multiple_of(16) { 300 * KIB } else { 1000 + (number % 7000) as usize }
}

/// At most one winner per key, and its bytes; then the keys are removed again.
fn verify_races(client: &mut Client, attempts: &[Attempt], counts: &mut Counts) -> Result<(), String> {
    let mut keys: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        keys.entry(&attempt.key).or_default().push(attempt);
    }
    for (key, attempts) in &keys {
        let racers = |outcome: RaceOutcome| -> Vec<usize> {
            attempts
                .iter()
                .filter(|attempt| attempt.outcome == outcome)
                .map(|attempt| attempt.racer)
                .collect()
        };
        if let Some(status) = attempts.iter().find_map(|attempt| match attempt.outcome {
            RaceOutcome::Wrong(status) => Some(status),
            _ => None,
        }) {
            return Err(format!("{key}: a conditional create ended with status {status} (0: no answer)"));
        }
        let won = racers(RaceOutcome::Won);
        if 1 < won.len() {
            return Err(format!("{key}: {} winners of one conditional create", won.len()));
        }
        let response = client.get(BUCKET, key).map_err(|error| format!("{key}: {error}"))?;
        let holder = (response.status == 200)
            .then(|| (0..RACERS).find(|racer| rng::verify(&response.body, key, *racer as u64).is_ok()));
        let may_hold = |racer: &usize| {
            won.contains(racer)
                || (won.is_empty() && racers(RaceOutcome::Unknown).contains(racer))
                || (won.is_empty() && racers(RaceOutcome::Refused).contains(racer))
        };
        match (response.status, holder) {
            (200, Some(Some(racer))) if may_hold(&racer) => {}
            (404, _) if won.is_empty() && racers(RaceOutcome::Lost).is_empty() => {}
            (404, _) if won.is_empty() => {
                return Err(format!("LOST {key}: a loser was told that it exists, now it does not"));
            }
            (status, holder) => {
                return Err(format!("LOST or TORN {key}: {status}, holder {holder:?}, winner {won:?}"));
            }
        }
        counts.races += won.len() as u64;
        counts.verified += 1;
        counts.verified_bytes += response.body_bytes;
    }
    let keys: Vec<String> = keys.keys().map(|key| (*key).to_owned()).collect();
    for batch in keys.chunks(1000) {
        let response = client.delete_many(BUCKET, batch).map_err(|error| format!("delete races: {error}"))?;
        if response.status != 200 {
            return Err(format!("delete races: {} {}", response.status, response.text()));
        }
    }
    match client.list_all(BUCKET, "race/") {
        Ok(left) if left.is_empty() => Ok(()),
        Ok(left) => Err(format!("{} contested keys are listed after their deletion", left.len())),
        Err(error) => Err(format!("listing races: {error}")),
    }
}

// Catalog.

/// What one writer of a counter has tried and what was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    acknowledged: u64,
    attempted: u64,
}

/// One table that is made and dropped in turn.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    exists: bool,
    uncertain: bool,
}

/// Snapshots that a table with appends keeps.
const SNAPSHOTS_KEPT: u64 = 20;

/// Snapshots of one time, so that a fast writer does not come to be ahead of the server's clock.
const SNAPSHOTS_PER_MS: u64 = 100;

/// A table whose one writer appends snapshots 1, 2, 3, … and expires old ones. After a kill it sends its last commits again.
struct Appended {
    uuid: String,
    /// When the writer began: a commit that is sent again has the time that it had.
    began_ms: u64,
    /// The last snapshot that was acknowledged, or seen.
    landed: u64,
    /// The last that was sent: `landed`, or the one after it.
    sent: u64,
}

#[derive(Default)]
struct CatalogBook {
    count: String,
    left: String,
    right: String,
    counters: [Counter; COUNTERS],
    pair: Counter,
    made: [Made; MADE_TABLES],
    appended: Appended,
    complaints: Vec<String>,
    commits: u64,
    refused: u64,
}

#[derive(Default)]
struct Tally {
    acknowledged: u64,
    refused: u64,
    complaint: Option<String>,
}

impl Tally {
    /// `None` ends the loop: the server is gone, or it answered what it must not.
    fn judge(&mut self, answer: io::Result<Answer>, good: u16, killed: &AtomicBool) -> Option<bool> {
        match answer {
            Ok(answer) if answer.status == good => {
                self.acknowledged += 1;
                Some(true)
            }
            Ok(answer) if matches!(answer.status, 409 | 429 | 503) => {
                self.refused += 1;
                Some(false)
            }
            Ok(answer) => {
                self.complaint =
                    Some(format!("commit answered {}: {}", answer.status, answer.response.text()));
                None
            }
            Err(_) if killed.load(Ordering::SeqCst) => None,
            Err(error) => {
                self.complaint = Some(format!("catalog connection failed before the kill: {error}"));
                None
            }
        }
    }
}

/// A client that spares itself the configuration call, which a kill could hit.
fn catalog_client(server: &Server) -> Catalog {
    let mut catalog = server.catalog(WAREHOUSE);
    // A failure shows as 404 in the first commit.
    let _shown_later = catalog.configure();
    catalog
}

fn count_up(
    mut catalog: Catalog,
    counter: &mut Counter,
    name: &str,
    uuid: &str,
    killed: &AtomicBool,
) -> Tally {
    let mut tally = Tally::default();
    loop {
        counter.attempted += 1;
        let value = counter.attempted.to_string();
        let updates = json!([set_property(name, &value)]);
        let answer = catalog.commit(NAMESPACE, "count", json!([assert_uuid(uuid)]), updates);
        match tally.judge(answer, 200, killed) {
            Some(true) => counter.acknowledged = counter.attempted,
            Some(false) => {}
            None => return tally,
        }
        if killed.load(Ordering::SeqCst) {
            return tally;
        }
    }
}

fn count_pair(mut catalog: Catalog, pair: &mut Counter, uuids: [&str; 2], killed: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    loop {
        pair.attempted += 1;
        let value = pair.attempted.to_string();
        let change = |table: &str, uuid: &str| {
            json!({
                "identifier": { "namespace": NAMESPACE, "name": table },
                "requirements": [assert_uuid(uuid)],
                "updates": [set_property("pair", &value)],
            })
        };
        let answer = catalog.transaction(json!([change("left", uuids[0]), change("right", uuids[1])]));
        match tally.judge(answer, 204, killed) {
            Some(true) => pair.acknowledged = pair.attempted,
            Some(false) => {}
            None => return tally,
        }
        if killed.load(Ordering::SeqCst) {
            return tally;
        }
    }
}

fn make_and_drop(mut catalog: Catalog, made: &mut [Made; MADE_TABLES], killed: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    loop {
        for (at, made) in made.iter_mut().enumerate() {
            let name = format!("made{at}");
            made.uncertain = true;
            let (answer, good) = if made.exists {
                (catalog.drop_table(NAMESPACE, &name), 204)
            } else {
                (catalog.create_table(NAMESPACE, &name), 200)
            };
            match tally.judge(answer, good, killed) {
                Some(true) => *made = Made { exists: !made.exists, uncertain: false },
                Some(false) => {}
                None => return tally,
            }
            if killed.load(Ordering::SeqCst) {
                return tally;
            }
        }
    }
}

impl Default for Appended {
    fn default() -> Appended {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Appended { uuid: String::new(), began_ms, landed: 0, sent: 0 }
    }
}

impl Appended {
    /// Appends until the server is gone.
    fn go_on(&mut self, mut catalog: Catalog, killed: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        loop {
            self.sent = self.landed + 1;
            match tally.judge(self.send(&mut catalog, self.sent), 200, killed) {
                Some(true) => self.landed = self.sent,
                Some(false) => {}
                None => return tally,
            }
            if killed.load(Ordering::SeqCst) {
                return tally;
            }
        }
    }

    /// Sends the commit of a snapshot, the same bytes each time.
    fn send(&self, catalog: &mut Catalog, id: u64) -> io::Result<Answer> {
        let parent = id.checked_sub(1).filter(|parent| *parent != 0);
        let requirements = json!([assert_uuid(&self.uuid),
            {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": parent}]);
        let updates = json!([
            {"action": "add-snapshot", "snapshot": {
                "snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": id, "schema-id": 0,
                "timestamp-ms": self.began_ms + id / SNAPSHOTS_PER_MS, "summary": {"operation": "append"},
                "manifest-list": format!("s3://{WAREHOUSE}/appended/snap-{id}.avro")}},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id},
            {"action": "remove-snapshots", "snapshot-ids": [id.saturating_sub(SNAPSHOTS_KEPT)]},
        ]);
        catalog.commit(NAMESPACE, "appended", requirements, updates)
    }

    /// Sends the last commits again: each must succeed, whether it had landed or not, and be there once.
    fn check(&mut self, server: &Server, catalog: &mut Catalog) -> Result<(), String> {
        for id in [self.landed, self.sent, self.sent] {
            if id == 0 {
                continue;
            }
            let answer = self.send(catalog, id).map_err(|error| format!("append {id}: {error}"))?;
            if answer.status != 200 {
                return Err(format!("append {id} sent again: {} {}", answer.status, answer.response.text()));
            }
        }
        self.landed = self.sent;
        let metadata = load_checked(server, catalog, "appended")?;
        let snapshots = metadata["snapshots"].as_array().cloned().unwrap_or_default();
        let seen: Vec<u64> =
            snapshots.iter().filter_map(|snapshot| snapshot["snapshot-id"].as_u64()).collect();
        let want: Vec<u64> = (self.sent.saturating_sub(SNAPSHOTS_KEPT) + 1..=self.sent).collect();
        if seen == want { Ok(()) } else { Err(format!("appended snapshots are {seen:?}, not {want:?}")) }
    }
}

fn verify_catalog(server: &Server, book: &mut CatalogBook) -> Result<(), String> {
    let mut catalog = server.catalog(WAREHOUSE);
    catalog.configure().map_err(|error| error.to_string())?;
    let count = load_checked(server, &mut catalog, "count")?;
    for (at, counter) in book.counters.iter_mut().enumerate() {
        counter.check(&count, &format!("w{at}"))?;
    }
    let (left, right) =
        (load_checked(server, &mut catalog, "left")?, load_checked(server, &mut catalog, "right")?);
    if left["properties"]["pair"] != right["properties"]["pair"] {
        return Err(format!(
            "TORN transaction: left {} right {}",
            left["properties"]["pair"], right["properties"]["pair"]
        ));
    }
    book.pair.check(&left, "pair")?;
    book.appended.check(server, &mut catalog)?;
    let listed = catalog.list_tables(NAMESPACE).map_err(|error| error.to_string())?;
    for (at, made) in book.made.iter_mut().enumerate() {
        let name = format!("made{at}");
        let seen = listed.contains(&name);
        if seen != made.exists && !made.uncertain {
            return Err(format!("LOST: {name} listed {seen}, acknowledged {}", made.exists));
        }
        if seen {
            load_checked(server, &mut catalog, &name)?;
        }
        *made = Made { exists: seen, uncertain: false };
    }
    match listed.iter().find(|name| {
        !name.starts_with("made") && !["count", "left", "right", "appended"].contains(&name.as_str())
    }) {
        Some(name) => Err(format!("a table nobody made is listed: {name}")),
        None => Ok(()),
    }
}

impl Counter {
    fn check(&mut self, metadata: &Value, property: &str) -> Result<(), String> {
        let text = metadata["properties"][property].as_str().unwrap_or("0");
        let seen: u64 = text.parse().map_err(|_| format!("{property} is {text:?}"))?;
        if seen < self.acknowledged {
            return Err(format!("LOST commit: {property} is {seen}, acknowledged {}", self.acknowledged));
        }
        if self.attempted < seen {
            return Err(format!("{property} is {seen}, but only {} were tried", self.attempted));
        }
        *self = Counter { acknowledged: seen, attempted: self.attempted };
        Ok(())
    }
}

/// The table's metadata, after a check that the file it names holds the same.
fn load_checked(server: &Server, catalog: &mut Catalog, table: &str) -> Result<Value, String> {
    let answer = catalog.load_table(NAMESPACE, table).map_err(|error| format!("{table}: {error}"))?;
    if answer.status != 200 {
        return Err(format!("LOST table {table}: {} {}", answer.status, answer.response.text()));
    }
    let location = answer.text_at("/metadata-location").to_owned();
    let (bucket, key) = location
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| format!("{table}: metadata-location {location:?}"))?;
    let file = server.client().get(bucket, key).map_err(|error| format!("{location}: {error}"))?;
    let file: Value = serde_json::from_slice(&file.body)
        .map_err(|error| format!("{location} answered {}: {error}", file.status))?;
    if file != answer.json["metadata"] {
        return Err(format!("{table}: {location} differs from what loadTable answers"));
    }
    Ok(file)
}
