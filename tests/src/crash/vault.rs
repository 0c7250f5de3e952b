//! Versions, delete markers, retention and legal holds of a bucket with object lock, across kills.
//!
//! `crash` gives it a thread of its own and has it verified after each restart. I1. What may be is known before a request is
//! sent: a version that was put without an answer may be there, one whose removal had none may be gone. I2. What was acknowledged as
//! retained or held never goes, whatever was asked for, and nobody is told that it went.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Counts;
use crate::client::{Call, Client, md5_base64};
use crate::http1::Response;
use crate::rng::{self, Rng};
use crate::xml;

/// Its bucket.
pub(super) const BUCKET: &str = "crash-vault";
const KEYS: usize = 6;
/// With so many versions no more are put.
const VERSIONS_MAX: usize = 300;
const LENGTHS: [usize; 5] = [0, 100, 4_096, 100_000, 200_000];
/// Protected versions whose removal is tried after each restart.
const TRIED: usize = 3;

/// Whether a legal hold keeps a version; nobody knows after a change without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Off,
    On,
    Unknown,
}

/// A version that was acknowledged, or seen after a restart.
#[derive(Clone, Debug)]
struct Stored {
    key: String,
    id: String,
    /// Number and length of its bytes; none for a delete marker.
    body: Option<(u64, usize)>,
    retained: bool,
    hold: Hold,
    may_be_gone: bool,
}

impl Stored {
    fn is_protected(&self) -> bool {
        self.retained || self.hold == Hold::On
    }
}

/// A put without an answer.
struct Sent {
    key: String,
    number: u64,
    len: usize,
    retained: bool,
    held: bool,
}

/// What one writer knows of the bucket.
#[derive(Default)]
pub(super) struct Vault {
    stored: Vec<Stored>,
    sent: Vec<Sent>,
    /// Keys of deletions without an answer.
    marked: BTreeSet<String>,
    number: u64,
    pub(super) counts: Counts,
    pub(super) complaints: Vec<String>,
}

impl Vault {
    /// Makes the bucket.
    pub(super) fn open(client: &mut Client) -> io::Result<Response> {
        client.send(&Call::bucket("PUT", BUCKET).header("x-amz-bucket-object-lock-enabled", "true"))
    }

    /// Changes versions until the server is gone.
    pub(super) fn work(&mut self, mut client: Client, mut rng: Rng, killed: &AtomicBool) {
        while !killed.load(Ordering::SeqCst) && self.complaints.is_empty() {
            let step = match rng.below(10) {
                0..5 if self.stored.len() < VERSIONS_MAX => self.put(&mut client, &mut rng),
                0..6 => self.mark(&mut client, &mut rng),
                6..8 => self.remove(&mut client, &mut rng),
                _ => self.hold(&mut client, &mut rng),
            };
            if let Err(error) = step {
                if !killed.load(Ordering::SeqCst) {
                    self.complaints.push(format!("{BUCKET}: connection failed before the kill: {error}"));
                }
                return;
            }
        }
    }

    fn put(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        self.number += 1;
        let (key, number, len) =
            (format!("k{}", rng.index(KEYS)), self.number, LENGTHS[rng.index(LENGTHS.len())]);
        let (retained, held) = (rng.chance(30), rng.chance(20));
        let body = rng::payload(&key, number, len);
        let mut call = Call::object("PUT", BUCKET, &key).body(&body);
        if retained {
            let mode = ["GOVERNANCE", "COMPLIANCE"][rng.index(2)];
            call = call.header("x-amz-object-lock-mode", mode);
            call = call.header("x-amz-object-lock-retain-until-date", "2099-01-01T00:00:00Z");
        }
        if held {
            call = call.header("x-amz-object-lock-legal-hold", "ON");
        }
        let answer = client.send(&call);
        let sent = Sent { key, number, len, retained, held };
        match self.answered(answer, "put") {
            Ok(Some(response)) if response.status == 200 => {
                let id = response.header("x-amz-version-id").unwrap_or_default().to_owned();
                self.keep(sent, id);
                Ok(())
            }
            Ok(Some(response)) => self.wrong("put", &response),
            other => {
                self.sent.push(sent);
                other.map(drop)
            }
        }
    }

    fn keep(&mut self, sent: Sent, id: String) {
        let hold = if sent.held { Hold::On } else { Hold::Off };
        let (body, retained) = (Some((sent.number, sent.len)), sent.retained);
        self.stored.push(Stored { key: sent.key, id, body, retained, hold, may_be_gone: false });
    }

    fn mark(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let key = format!("k{}", rng.index(KEYS));
        let answer = client.delete(BUCKET, &key);
        match self.answered(answer, "delete") {
            Ok(Some(response)) if response.status == 204 => {
                let id = response.header("x-amz-version-id").unwrap_or_default().to_owned();
                self.keep_marker(key, id);
                Ok(())
            }
            Ok(Some(response)) => self.wrong("delete", &response),
            other => {
                self.marked.insert(key);
                other.map(drop)
            }
        }
    }

    fn keep_marker(&mut self, key: String, id: String) {
        let (body, retained, hold) = (None, false, Hold::Off);
        self.stored.push(Stored { key, id, body, retained, hold, may_be_gone: false });
    }

    fn remove(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        if self.stored.is_empty() {
            return Ok(());
        }
        let at = rng.index(self.stored.len());
        let answer = remove_version(client, &self.stored[at]);
        let answer = self.answered(answer, "remove a version");
        let version = &mut self.stored[at];
        match answer {
            Ok(Some(response)) if response.status == 204 && !version.is_protected() => {
                self.stored.swap_remove(at);
                Ok(())
            }
            Ok(Some(response))
                if response.status == 403 && (version.retained || version.hold != Hold::Off) =>
            {
                Ok(())
            }
            Ok(Some(response)) => {
                let version = version.clone();
                self.complaints.push(format!("LOCK removing {version:?} answered {}", response.status));
                Ok(())
            }
            other => {
                version.may_be_gone |= !version.is_protected();
                other.map(drop)
            }
        }
    }

    fn hold(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let able = |version: &Stored| version.body.is_some() && !version.may_be_gone;
        let able: Vec<usize> = (0..self.stored.len()).filter(|at| able(&self.stored[*at])).collect();
        if able.is_empty() {
            return Ok(());
        }
        let at = able[rng.index(able.len())];
        let on = self.stored[at].hold != Hold::On;
        let body = format!("<LegalHold><Status>{}</Status></LegalHold>", if on { "ON" } else { "OFF" });
        let Stored { key, id, .. } = &self.stored[at];
        let call = Call::object("PUT", BUCKET, key).query("legal-hold", "").query("versionId", id.as_str());
        let call = call.header("content-md5", md5_base64(body.as_bytes())).body(body.as_bytes());
        let answer = client.send(&call);
        match self.answered(answer, "legal hold") {
            Ok(Some(response)) if response.status == 200 => {
                self.stored[at].hold = if on { Hold::On } else { Hold::Off };
                Ok(())
            }
            Ok(Some(response)) => self.wrong("legal hold", &response),
            other => {
                self.stored[at].hold = Hold::Unknown;
                other.map(drop)
            }
        }
    }

    /// An answer that says something; after a refusal for being busy nobody knows, as after none.
    fn answered(&mut self, answer: io::Result<Response>, what: &str) -> io::Result<Option<Response>> {
        match answer {
            Err(error) => {
                self.counts.unknown += 1;
                Err(error)
            }
            Ok(response) if response.status == 503 => {
                self.counts.refused += 1;
                Ok(None)
            }
            Ok(response) if response.status < 500 => {
                self.counts.acknowledged += u64::from(response.status < 300);
                Ok(Some(response))
            }
            Ok(response) => self.wrong(what, &response).map(|()| None),
        }
    }

    fn wrong(&mut self, what: &str, response: &Response) -> io::Result<()> {
        self.complaints.push(format!("{BUCKET}: {what} answered {}: {}", response.status, response.text()));
        Ok(())
    }

    /// After a restart: every version by listing and bytes, and what is protected against removal.
    pub(super) fn verify(&mut self, mut client: Client) -> Result<(), String> {
        let gone = |error: io::Error| format!("verifying {BUCKET}: {error}");
        let mut listed = list_versions(&mut client)?;
        for mut version in std::mem::take(&mut self.stored) {
            match listed.remove(&(version.key.clone(), version.id.clone())) {
                None if version.may_be_gone => continue,
                None => {
                    self.complaints.push(format!("LOST version {version:?}"));
                    continue;
                }
                Some(is_marker) if is_marker != version.body.is_none() => {
                    self.complaints.push(format!("{version:?} is listed as a marker: {is_marker}"));
                }
                Some(_) => {}
            }
            version.may_be_gone = false;
            if let Some((number, len)) = version.body {
                let response = get_version(&mut client, &version.key, &version.id).map_err(gone)?;
                let is_it =
                    response.body.len() == len && rng::verify(&response.body, &version.key, number).is_ok();
                if response.status != 200 || !is_it {
                    self.complaints.push(format!("TORN version {version:?}: {}", response.status));
                }
                self.counts.verified += 1;
                self.counts.verified_bytes += response.body_bytes;
                if version.hold == Hold::Unknown {
                    version.hold = held(&mut client, &version).map_err(gone)?;
                }
            }
            self.stored.push(version);
        }
        for ((key, id), is_marker) in listed {
            if is_marker && self.marked.contains(&key) {
                self.keep_marker(key, id);
                continue;
            }
            let response = get_version(&mut client, &key, &id).map_err(gone)?;
            let is_it = |sent: &Sent| {
                sent.key == key
                    && sent.len == response.body.len()
                    && rng::verify(&response.body, &key, sent.number).is_ok()
            };
            // Bodies of no bytes are alike; who asked for less than there is would be complained about below.
            let at = self.sent.iter().position(is_it).filter(|_| response.status == 200);
            let Some(at) = at else {
                self.complaints
                    .push(format!("{key} has a version {id} that nobody put, or that was removed"));
                continue;
            };
            let mut sent = self.sent.swap_remove(at);
            let retention = ask_lock(&mut client, "retention", &key, &id).map_err(gone)?.status == 200;
            if 0 < sent.len && retention != sent.retained {
                self.complaints.push(format!("{key} version {id} is retained: {retention}"));
            }
            sent.retained = retention;
            self.keep(sent, id);
            if let Some(version) = self.stored.last_mut() {
                version.hold = held(&mut client, version).map_err(gone)?;
            }
        }
        self.sent.clear();
        self.marked.clear();
        for version in self.stored.iter().filter(|version| version.is_protected()).take(TRIED) {
            let response = remove_version(&mut client, version).map_err(gone)?;
            if response.status != 403 {
                self.complaints.push(format!("LOCK removing {version:?} answered {}", response.status));
            }
        }
        Ok(())
    }
}

fn remove_version(client: &mut Client, version: &Stored) -> io::Result<Response> {
    let call = Call::object("DELETE", BUCKET, &version.key).query("versionId", version.id.as_str());
    client.send(&call)
}

fn get_version(client: &mut Client, key: &str, id: &str) -> io::Result<Response> {
    client.send(&Call::object("GET", BUCKET, key).query("versionId", id))
}

fn ask_lock(client: &mut Client, what: &str, key: &str, id: &str) -> io::Result<Response> {
    client.send(&Call::object("GET", BUCKET, key).query(what, "").query("versionId", id))
}

fn held(client: &mut Client, version: &Stored) -> io::Result<Hold> {
    let response = ask_lock(client, "legal-hold", &version.key, &version.id)?;
    let is_on = xml::first(&response.text(), "Status").as_deref() == Some("ON");
    Ok(if is_on { Hold::On } else { Hold::Off })
}

/// All versions by key and id; whether each is a delete marker.
fn list_versions(client: &mut Client) -> Result<BTreeMap<(String, String), bool>, String> {
    let (mut all, mut marker) = (BTreeMap::new(), None);
    loop {
        let mut call = Call::bucket("GET", BUCKET).query("versions", "");
        if let Some((key, id)) = marker {
            call = call.query("key-marker", key).query("version-id-marker", id);
        }
        let response = client.send(&call).map_err(|error| format!("listing {BUCKET}: {error}"))?;
        if response.status != 200 {
            return Err(format!("listing {BUCKET} answered {}: {}", response.status, response.text()));
        }
        let text = response.text();
        for (tag, is_marker) in [("Version", false), ("DeleteMarker", true)] {
            for block in xml::blocks(&text, tag) {
                let get = |name: &str| xml::first(block, name).unwrap_or_default();
                all.insert((get("Key"), get("VersionId")), is_marker);
            }
        }
        let next = |name: &str| xml::first(&text, name);
        match (next("NextKeyMarker"), next("NextVersionIdMarker")) {
            (Some(key), id) if !key.is_empty() => marker = Some((key, id.unwrap_or_default())),
            _ => return Ok(all),
        }
    }
}
