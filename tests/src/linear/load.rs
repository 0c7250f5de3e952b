//! The clients of [`super::run`]: what they ask, and what they write down of it.
//!
//! I1. What is asked is noted before it is sent, with its time; its answer after it was read. I2. A change without an answer
//! ends when the process that was asked is dead. I3. Every object that is written has bytes and a tag of its own, so what is
//! read names its writer.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::KeyHistory;
use super::checker::Timed;
use super::key::{Answer, Call, Condition, Key, Label, Request, Shown};
use crate::client::{self, Client, md5_etag, multipart_etag};
use crate::http1::Response;
use crate::rng::{Rng, payload};
use crate::server::Server;
use crate::sizes::KIB;
use crate::xml;

/// The bucket that keeps versions, and the one that does not.
const BUCKETS: [&str; 2] = ["linear-versions", "linear-plain"];
/// Keys of each bucket: few, so that clients meet.
const KEYS: usize = 4;
/// When the server is killed.
const KILL_AFTER_MS: (u64, u64) = (200, 1_500);
/// Versions of a key from which on more are removed than made.
const VERSIONS_MANY: usize = 8;
/// One in so many objects is written as an upload of a part.
const PARTED_EVERY: u32 = 11;
/// Lengths of objects: in the log, at the border, and in extents.
const LENGTHS: [usize; 6] = [20, 100, 4 * KIB, 128 * KIB, 128 * KIB + 1, 300 * KIB];

/// What all clients know, and what they saw.
pub(super) struct Load {
    /// Of all its keys.
    prefix: String,
    from: Instant,
    next_label: AtomicU32,
    keys: Vec<Mutex<Seen>>,
    /// Tags of all objects that were ever sent.
    tags: Mutex<HashMap<String, Label>>,
    complaint: Mutex<Option<String>>,
}

/// What was seen of one key.
#[derive(Default)]
struct Seen {
    rows: Vec<Row>,
    /// Requests that wait for the death of the server.
    unanswered: Vec<(u64, Request)>,
    /// The object seen last, to be exchanged for another.
    last: Option<Label>,
    /// Versions and markers that may be there.
    versions: Vec<(Label, String)>,
    /// Of them, those that were removed.
    removed: Vec<(Label, String)>,
    /// Who made which version.
    makers: HashMap<String, Label>,
}

/// A request with its answer, in which markers are still named by their version ids.
struct Row {
    start: u64,
    end: u64,
    request: Request,
    /// Version ids of the markers of a listing, in the places of its answer.
    markers: Vec<(usize, String)>,
}

/// A key of the load.
#[derive(Clone, Copy)]
struct At {
    bucket: usize,
    key: usize,
}

impl At {
    fn bucket(self) -> &'static str {
        BUCKETS[self.bucket]
    }

    fn versioned(self) -> bool {
        self.bucket == 0
    }

    fn all() -> impl Iterator<Item = At> {
        (0..BUCKETS.len()).flat_map(|bucket| (0..KEYS).map(move |key| At { bucket, key }))
    }
}

/// The bytes of the object that `label` writes.
fn bytes_of(label: Label) -> Vec<u8> {
    let length = LENGTHS[Rng::new(label.into()).index(LENGTHS.len())];
    // One in two is small.
    let length = if label.is_multiple_of(2) { 20 } else { length };
    [format!("{label:010} ").into_bytes(), payload("linear", label.into(), length)].concat()
}

/// The tag of the object that `label` writes: one in [`PARTED_EVERY`] is made of a part.
fn tag_of(label: Label) -> String {
    let body = bytes_of(label);
    if label.is_multiple_of(PARTED_EVERY) { multipart_etag(&[&body]) } else { md5_etag(&body) }
}

fn conditional(call: client::Call<'_>, condition: Condition) -> client::Call<'_> {
    match condition {
        Condition::None => call,
        Condition::Absent => call.header("if-none-match", "*"),
        Condition::Is(label) => call.header("if-match", tag_of(label)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

impl Load {
    /// Makes the buckets.
    pub(super) fn prepare(server: &Server) -> io::Result<()> {
        let mut client = server.client();
        for bucket in BUCKETS {
            expect(&client.create_bucket(bucket)?)?;
        }
        let body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let call = client::Call::bucket("PUT", BUCKETS[0]).query("versioning", "").body(body);
        expect(&client.send(&call)?)
    }

    /// Keys of their own, on which nothing has happened.
    pub(super) fn new(round: u64) -> Load {
        Load {
            prefix: format!("r{round}-"),
            from: Instant::now(),
            next_label: AtomicU32::new(1),
            keys: At::all().map(|_| Mutex::default()).collect(),
            tags: Mutex::default(),
            complaint: Mutex::default(),
        }
    }

    /// Lets clients work until the server is killed in between.
    pub(super) fn work_and_kill(
        &self,
        server: &mut Server,
        rng: &mut Rng,
        clients: usize,
    ) -> Result<(), String> {
        let killed = AtomicBool::new(false);
        let after = Duration::from_millis(rng.between(KILL_AFTER_MS.0, KILL_AFTER_MS.1));
        thread::scope(|scope| {
            for _ in 0..clients {
                let (client, rng, killed) = (server.client(), rng.fork(), &killed);
                scope.spawn(move || self.work(client, rng, killed));
            }
            thread::sleep(after);
            killed.store(true, Ordering::SeqCst);
            server.kill9();
        });
        // The process is reaped: whatever it had not done by now it will not do.
        let dead = self.now();
        for seen in &self.keys {
            let mut seen = lock(seen);
            for (start, request) in std::mem::take(&mut seen.unanswered) {
                seen.rows.push(Row { start, end: dead, request, markers: Vec::new() });
            }
        }
        lock(&self.complaint).take().map_or(Ok(()), Err)
    }

    /// Looks at every key twice, with nobody else there.
    pub(super) fn look(&self, server: &Server) -> Result<(), String> {
        let mut client = server.client();
        for at in At::all() {
            for _ in 0..2 {
                let looked = match at.versioned() {
                    true => self.list_versions(&mut client, at.bucket, Some(at.key)),
                    false => self.get(&mut client, at),
                };
                looked.map_err(|error| format!("the last look: {error}"))?;
                if !self.seen(at).unanswered.is_empty() {
                    return Err("the last look was not answered".to_owned());
                }
            }
        }
        lock(&self.complaint).take().map_or(Ok(()), Err)
    }

    /// All that was seen, key by key, in the order in which it ended.
    pub(super) fn histories(self) -> Vec<KeyHistory> {
        let seen = self.keys.into_iter().map(|seen| seen.into_inner().expect("no holder panics"));
        let prefix = self.prefix;
        At::all()
            .zip(seen)
            .map(|(at, seen)| {
                let Seen { mut rows, makers, .. } = seen;
                rows.sort_by_key(|row| row.end);
                let rows = rows.into_iter().map(|row| row.timed(&makers)).collect();
                let name = format!("{}/{prefix}{}", at.bucket(), at.key);
                KeyHistory { name, key: Key { versioned: at.versioned() }, rows }
            })
            .collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.from.elapsed().as_nanos()).expect("a run lasts less than centuries")
    }

    fn name(&self, at: At) -> String {
        format!("{}{}", self.prefix, at.key)
    }

    fn seen(&self, at: At) -> MutexGuard<'_, Seen> {
        lock(&self.keys[at.bucket * KEYS + at.key])
    }

    fn complain(&self, text: String) {
        lock(&self.complaint).get_or_insert(text);
    }

    fn label(&self) -> Label {
        self.next_label.fetch_add(1, Ordering::Relaxed)
    }

    fn work(&self, mut client: Client, mut rng: Rng, killed: &AtomicBool) {
        while !killed.load(Ordering::SeqCst) && lock(&self.complaint).is_none() {
            if let Err(error) = self.step(&mut client, &mut rng) {
                if !killed.load(Ordering::SeqCst) {
                    self.complain(format!("a connection failed before the kill: {error}"));
                }
                return;
            }
        }
    }

    fn step(&self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let at = At { bucket: rng.index(BUCKETS.len()), key: rng.index(KEYS) };
        if at.versioned() && VERSIONS_MANY < self.seen(at).versions.len() {
            return self.delete_version(client, rng, at);
        }
        let last = self.seen(at).last;
        match rng.below(100) {
            0..20 => self.put(client, at, Condition::None),
            20..32 => self.put(client, at, Condition::Absent),
            32..44 => match last {
                Some(label) => self.put(client, at, Condition::Is(label)),
                None => self.get(client, at),
            },
            44..52 => self.delete(client, at, Condition::None),
            52..57 => match last {
                Some(label) => self.delete(client, at, Condition::Is(label)),
                None => self.get(client, at),
            },
            57..61 => self.delete_many(client, at.bucket),
            61..75 => self.get(client, at),
            75..82 => self.list(client, at.bucket),
            82..90 if at.versioned() => self.delete_version(client, rng, at),
            90..95 if at.versioned() => self.get_version(client, rng, at),
            _ if at.versioned() => self.list_versions(client, at.bucket, None),
            _ => self.get(client, at),
        }
    }

    /// Sends `call` and writes down what it came to for the keys that it is about.
    fn ask(
        &self,
        client: &mut Client,
        call: &client::Call<'_>,
        asked: &[(At, Request)],
        read: impl Fn(&Response) -> Result<Vec<Told>, String>,
    ) -> io::Result<()> {
        let start = self.now();
        let sent = client.send(call);
        let end = self.now();
        let told = match &sent {
            Err(_) => None,
            // Wholly done or not at all; which, nobody says.
            Ok(response) if 500 <= response.status => None,
            // Nothing was done.
            Ok(response) if response.status == 409 => return Ok(()),
            Ok(response) => match read(response) {
                Ok(told) => Some(told),
                Err(text) => {
                    self.complain(format!("{} {:?}: {text}", call.method, call.path));
                    return Ok(());
                }
            },
        };
        match told {
            Some(told) => {
                for ((at, request), told) in asked.iter().zip(told) {
                    let request = Request { answer: Some(told.answer), ..request.clone() };
                    let row = Row { start, end, request, markers: told.markers };
                    if let Err(text) = self.seen(*at).note(row, told.version) {
                        self.complain(text);
                    }
                }
            }
            None => {
                for (at, request) in asked {
                    self.seen(*at).unanswered.push((start, request.clone()));
                }
            }
        }
        sent.map(|_| ())
    }

    fn put(&self, client: &mut Client, at: At, condition: Condition) -> io::Result<()> {
        let label = self.label();
        let body = bytes_of(label);
        let request = Request { label, call: Call::Put(condition), answer: None };
        let parts = label.is_multiple_of(PARTED_EVERY);
        lock(&self.tags).insert(tag_of(label), label);
        if !parts {
            let call = client::Call::object("PUT", at.bucket(), &self.name(at)).body(&body);
            let call = conditional(call, condition);
            return self.ask(client, &call, &[(at, request)], changed);
        }
        // Of one part; the upload and its part are nobody's business before it is completed.
        let (created, id) = client.create_upload(at.bucket(), &self.name(at))?;
        let part = client.put_part(at.bucket(), &self.name(at), &id, 1, &body)?;
        if created.status != 200 || part.status != 200 {
            return Ok(());
        }
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            part.etag()
        );
        let call = client::Call::object("POST", at.bucket(), &self.name(at)).query("uploadId", id);
        let call = conditional(call.body(list.as_bytes()), condition);
        self.ask(client, &call, &[(at, request)], |response| match response.text().contains("<Error>") {
            true if response.status == 200 => Err(response.text()),
            _ => changed(response),
        })
    }

    fn delete(&self, client: &mut Client, at: At, condition: Condition) -> io::Result<()> {
        let request = Request { label: self.label(), call: Call::Delete(condition), answer: None };
        let call = conditional(client::Call::object("DELETE", at.bucket(), &self.name(at)), condition);
        self.ask(client, &call, &[(at, request)], changed)
    }

    /// Two keys with one request, each deleted for itself.
    fn delete_many(&self, client: &mut Client, bucket: usize) -> io::Result<()> {
        let both = [At { bucket, key: 0 }, At { bucket, key: 1 }];
        let asked: Vec<(At, Request)> = both
            .iter()
            .map(|at| {
                let call = Call::Delete(Condition::None);
                (*at, Request { label: self.label(), call, answer: None })
            })
            .collect();
        let names: String =
            both.iter().map(|at| format!("<Object><Key>{}</Key></Object>", self.name(*at))).collect();
        let body = format!("<Delete>{names}</Delete>");
        let call = client::Call::bucket("POST", BUCKETS[bucket]).query("delete", "");
        let call = call.header("content-md5", client::md5_base64(body.as_bytes())).body(body.as_bytes());
        self.ask(client, &call, &asked, |response| {
            let text = response.text();
            let deleted = xml::blocks(&text, "Deleted");
            if response.status != 200 || deleted.len() != both.len() {
                return Err(format!("{} {text}", response.status));
            }
            let each = |at: &At| -> Result<Told, String> {
                let block = deleted.iter().find(|block| xml::first(block, "Key") == Some(self.name(*at)));
                let block = block.ok_or_else(|| text.clone())?;
                let version = xml::first(block, "DeleteMarkerVersionId");
                Ok(Told { version, ..Told::new(Answer::Done) })
            };
            both.iter().map(each).collect()
        })
    }

    fn get(&self, client: &mut Client, at: At) -> io::Result<()> {
        let request = Request { label: self.label(), call: Call::Get, answer: None };
        let call = client::Call::object("GET", at.bucket(), &self.name(at));
        self.ask(client, &call, &[(at, request)], |response| self.read(response))
    }

    fn get_version(&self, client: &mut Client, rng: &mut Rng, at: At) -> io::Result<()> {
        let chosen = {
            let seen = self.seen(at);
            let all: Vec<_> = seen.versions.iter().chain(&seen.removed).collect();
            match all.len() {
                0 => return Ok(()),
                count => all[rng.index(count)].clone(),
            }
        };
        let (label, version) = chosen;
        let request = Request { label: self.label(), call: Call::GetVersion(label), answer: None };
        let call = client::Call::object("GET", at.bucket(), &self.name(at)).query("versionId", version);
        self.ask(client, &call, &[(at, request)], |response| self.read(response))
    }

    fn delete_version(&self, client: &mut Client, rng: &mut Rng, at: At) -> io::Result<()> {
        let (label, version) = {
            let mut seen = self.seen(at);
            if seen.versions.is_empty() {
                return Ok(());
            }
            let chosen = rng.index(seen.versions.len());
            let chosen = seen.versions.swap_remove(chosen);
            seen.removed.push(chosen.clone());
            chosen
        };
        let request = Request { label: self.label(), call: Call::DeleteVersion(label), answer: None };
        let call = client::Call::object("DELETE", at.bucket(), &self.name(at)).query("versionId", version);
        // The version that it names is the one removed, not one that it made.
        self.ask(client, &call, &[(at, request)], |response| match response.status {
            204 => Ok(vec![Told::new(Answer::Done)]),
            _ => Err(format!("{} {}", response.status, response.text())),
        })
    }

    fn list(&self, client: &mut Client, bucket: usize) -> io::Result<()> {
        let all: Vec<At> = At::all().filter(|at| at.bucket == bucket).collect();
        let asked: Vec<(At, Request)> = all
            .iter()
            .map(|at| (*at, Request { label: self.label(), call: Call::Get, answer: None }))
            .collect();
        let call = client::Call::bucket("GET", BUCKETS[bucket])
            .query("list-type", "2")
            .query("prefix", &*self.prefix);
        self.ask(client, &call, &asked, |response| {
            let text = response.text();
            if response.status != 200 {
                return Err(format!("{} {text}", response.status));
            }
            let lines = xml::blocks(&text, "Contents");
            let each = |at: &At| -> Result<Told, String> {
                let line = lines.iter().find(|line| xml::first(line, "Key") == Some(self.name(*at)));
                let answer = match line {
                    None => Answer::Missing,
                    Some(line) => Answer::Found(self.writer(&xml::first(line, "ETag").unwrap_or_default())?),
                };
                Ok(Told::new(answer))
            };
            all.iter().map(each).collect()
        })
    }

    fn list_versions(&self, client: &mut Client, bucket: usize, only: Option<usize>) -> io::Result<()> {
        let chosen = |at: &At| at.bucket == bucket && only.is_none_or(|key| key == at.key);
        let all: Vec<At> = At::all().filter(chosen).collect();
        let asked: Vec<(At, Request)> = all
            .iter()
            .map(|at| (*at, Request { label: self.label(), call: Call::ListVersions, answer: None }))
            .collect();
        let call =
            client::Call::bucket("GET", BUCKETS[bucket]).query("versions", "").query("prefix", &*self.prefix);
        self.ask(client, &call, &asked, |response| {
            let text = response.text();
            if response.status != 200 || xml::first(&text, "IsTruncated").as_deref() != Some("false") {
                return Err(format!("{} {text}", response.status));
            }
            all.iter().map(|at| self.versions(&text, *at)).collect()
        })
    }

    /// A key's part of a listing of versions, newest first.
    fn versions(&self, text: &str, at: At) -> Result<Told, String> {
        // Markers and versions are elements of two names in one order.
        let mut lines: Vec<(usize, &str, bool)> = Vec::new();
        for (name, is_marker) in [("Version", false), ("DeleteMarker", true)] {
            for block in xml::blocks(text, name) {
                if xml::first(block, "Key") == Some(self.name(at)) {
                    // Where it stands says which is newer.
                    lines.push((block.as_ptr().addr() - text.as_ptr().addr(), block, is_marker));
                }
            }
        }
        lines.sort_unstable();
        let (mut shown, mut markers) = (Vec::new(), Vec::new());
        for (nth, (_, block, is_marker)) in lines.into_iter().enumerate() {
            let latest = xml::first(block, "IsLatest").as_deref() == Some("true");
            if latest != (nth == 0) {
                return Err(format!("{} is the latest in the wrong place: {text}", self.name(at)));
            }
            let version = xml::first(block, "VersionId").unwrap_or_default();
            let label = match is_marker {
                true => {
                    markers.push((nth, version));
                    None
                }
                false => {
                    let label = self.writer(&xml::first(block, "ETag").unwrap_or_default())?;
                    self.seen(at).made(label, version)?;
                    Some(label)
                }
            };
            shown.push(Shown { label, is_marker });
        }
        Ok(Told { answer: Answer::Shown(shown), version: None, markers })
    }

    /// What an answer to a GET says.
    fn read(&self, response: &Response) -> Result<Vec<Told>, String> {
        // A version that is a marker is no object, and says so in its own way.
        if matches!(response.status, 404 | 405) {
            return Ok(vec![Told::new(Answer::Missing)]);
        }
        if response.status != 200 {
            return Err(format!("{} {}", response.status, response.text()));
        }
        let label = self.writer(&response.etag())?;
        if response.body != bytes_of(label) {
            return Err(format!("the bytes are not those of {label}: {}", response.head));
        }
        let version = response.header("x-amz-version-id").map(str::to_owned);
        Ok(vec![Told { version, ..Told::new(Answer::Found(label)) }])
    }

    fn writer(&self, tag: &str) -> Result<Label, String> {
        lock(&self.tags).get(tag).copied().ok_or_else(|| format!("nobody wrote {tag}"))
    }
}

/// An answer, and what it says besides.
struct Told {
    answer: Answer,
    /// Version id of what was made or read.
    version: Option<String>,
    markers: Vec<(usize, String)>,
}

impl Told {
    fn new(answer: Answer) -> Told {
        Told { answer, version: None, markers: Vec::new() }
    }
}

/// What an answer to a change of one key says.
fn changed(response: &Response) -> Result<Vec<Told>, String> {
    let answer = match (response.status, response.code().as_str()) {
        (200 | 204, _) => Answer::Done,
        (412, "PreconditionFailed") => Answer::Refused,
        (404, "NoSuchKey") => Answer::Missing,
        (status, _) => return Err(format!("{status} {}", response.text())),
    };
    let version = response.header("x-amz-version-id").map(str::to_owned);
    Ok(vec![Told { version, ..Told::new(answer) }])
}

fn expect(response: &Response) -> io::Result<()> {
    match response.status {
        200 => Ok(()),
        status => Err(io::Error::other(format!("{status} {}", response.text()))),
    }
}

impl Seen {
    /// Notes a row, and what it says of who made which version.
    fn note(&mut self, row: Row, version: Option<String>) -> Result<(), String> {
        let maker = match (&row.request.call, &row.request.answer) {
            (Call::Put(_) | Call::Delete(_), Some(Answer::Done)) => Some(row.request.label),
            (_, Some(Answer::Found(label))) => Some(*label),
            _ => None,
        };
        if let (Call::Put(_) | Call::Get, Some(label)) = (row.request.call, maker) {
            self.last = Some(label);
        }
        self.rows.push(row);
        match (maker, version) {
            (Some(maker), Some(version)) => self.made(maker, version),
            _ => Ok(()),
        }
    }

    /// Notes who made a version; whoever names another one is wrong.
    fn made(&mut self, label: Label, version: String) -> Result<(), String> {
        match self.makers.get(&version) {
            Some(known) if *known == label => Ok(()),
            Some(known) => Err(format!("version {version} was made by {known} and by {label}")),
            None => {
                self.makers.insert(version.clone(), label);
                self.versions.push((label, version));
                Ok(())
            }
        }
    }
}

impl Row {
    fn timed(self, makers: &HashMap<String, Label>) -> Timed<Request> {
        let Row { start, end, mut request, markers } = self;
        if let Some(Answer::Shown(shown)) = &mut request.answer {
            for (at, version) in markers {
                shown[at].label = makers.get(&version).copied();
            }
        }
        Timed { start, end, operation: request }
    }
}
