//! Connections by the thousand: ten thousand that do nothing, a thousand slow uploads, a thousand slow downloads. The server
//! goes on serving, and its memory stays within what it was given.
//!
//! `NILAS_HOSTILE_LONG` makes uploads and downloads ten times as long.

use std::ffi::OsString;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Client, Raw, md5_etag};
use nilas_tests::rng::{payload, verify};
use nilas_tests::server::{Server, ServerOptions, raise_files};
use nilas_tests::sizes::{KIB, MIB};

/// Connections that do nothing.
const IDLE: usize = 10_000;
/// Files that this process may have open besides.
const FILES_SPARED: usize = 400;
/// Slow transfers of each kind.
const SLOW: usize = 1_000;
/// Memory that the server is given for slow transfers, and must get by with: for a tenth of them at a time.
const MEMORY_MIB: usize = 512;
/// Memory with which two cores take so many connections.
const IDLE_MEMORY_MIB: usize = 3 * 1024;
/// Transfers that it must take at least.
const TAKEN_MIN: usize = 64;
/// Memory that each idle connection may take. `CONNECTION_BYTES` reckons with 24 KiB; a release build takes 30, one for debugging 34.
const IDLE_BYTES_MAX: usize = 40 * KIB;
/// An upload, and the pieces in which it comes.
const UPLOAD: usize = 300 * KIB;
const UPLOAD_PIECE: usize = 30 * KIB;
/// An object that is read slowly, and the pieces in which it is. The kernel takes up to 4 MiB of each off the server's hands, and
/// lets all of them wait when it has too much: with larger objects that takes tens of seconds.
const DOWNLOAD: usize = MIB;
const DOWNLOAD_PIECE: usize = 32 * KIB;
/// One crowd at a time: they measure memory and want the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn start(memory_mib: usize) -> (Server, Client) {
    let mut options = ServerOptions::fresh();
    options.arguments = ["--cores", "2", "--memory", &format!("{memory_mib}MiB"), "--cache", "16MiB"]
        .map(OsString::from)
        .into();
    options.drive_size = Some("4GiB".to_owned());
    let server = Server::start(options).unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.client();
    assert_eq!(client.create_bucket("crowd").expect("create").status, 200);
    (server, client)
}

fn is_long() -> bool {
    std::env::var_os("NILAS_HOSTILE_LONG").is_some()
}

/// Whether a connection was ended by the other side.
fn is_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// The server answers others quickly, with the bytes that they wrote.
fn expect_served(client: &mut Client, what: &str) {
    let from = Instant::now();
    for round in 0..50u32 {
        let body = payload(what, round.into(), 4 * KIB);
        assert_eq!(client.put("crowd", "others", &body).expect("put").status, 200, "{what}");
        let got = client.get("crowd", "others").expect("get");
        assert!(got.status == 200 && got.body == body, "{what}: {}", got.head);
    }
    assert!(from.elapsed() < Duration::from_secs(15), "{what}: 100 requests took {:?}", from.elapsed());
}

#[test]
fn ten_thousand_idle_connections() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = IDLE.min(raise_files().saturating_sub(FILES_SPARED));
    if count < IDLE {
        println!("this process may have files for {count} connections only");
    }
    assert!(1_000 <= count, "the hard RLIMIT_NOFILE leaves {count} connections: raise it");
    let (server, mut client) = start(IDLE_MEMORY_MIB);
    expect_served(&mut client, "before");
    let before = server.usage().rss_bytes;
    let ask = client.encode(&Call::get("/healthz").unsigned()).bytes();
    let mut idle: Vec<Raw> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut raw = client.raw().expect("connect");
        raw.write(&ask).expect("write");
        assert_eq!(raw.read("GET").expect("an answer").status, 200);
        idle.push(raw);
    }
    let grown = server.usage().rss_bytes.saturating_sub(before);
    println!("{count} idle connections take {} KiB each", grown / count as u64 / 1024);
    assert!(grown <= (count * IDLE_BYTES_MAX) as u64, "{count} idle connections take {grown} bytes");
    expect_served(&mut client, "beside idle connections");
    // Each of them is good for another request.
    let from = Instant::now();
    for (at, raw) in idle.iter_mut().enumerate() {
        // Those that came first may have been idle for as long as they may be.
        if from.elapsed() < Duration::from_secs(20) {
            raw.write(&ask).expect("write");
            assert_eq!(raw.read("GET").unwrap_or_else(|error| panic!("{at}: {error}")).status, 200);
        }
    }
    drop(idle);
    expect_served(&mut client, "after idle connections");
}

#[test]
fn a_thousand_slow_uploads() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    raise_files();
    let (server, mut client) = start(MEMORY_MIB);
    let length = if is_long() { 10 * UPLOAD } else { UPLOAD };
    let body = payload("slow", 1, length);
    let etag = md5_etag(&body);
    let mut open: Vec<(usize, Raw)> = (0..SLOW)
        .map(|at| {
            let key = format!("slow/{at}");
            let mut raw = client.raw().expect("connect");
            let head = client.encode(&Call::object("PUT", "crowd", &key).body(&body)).head;
            raw.write(&head).expect("write");
            (at, raw)
        })
        .collect();
    let (mut refused, mut peak) = (0, 0);
    for piece in body.chunks(UPLOAD_PIECE) {
        let from = Instant::now();
        open.retain_mut(|(at, raw)| {
            // Refused is refused at once and plainly; nobody is left without an answer.
            match raw.answer_within(Duration::from_micros(1), "PUT") {
                None => {}
                Some(answer) => {
                    let answer = answer.unwrap_or_else(|error| panic!("upload {at}: {error}"));
                    let got = (answer.status, answer.code());
                    assert!(got == (503, "SlowDown".to_owned()), "upload {at}: {got:?}");
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    refused += 1;
                    return false;
                }
            }
            let _written = raw.write(piece);
            true
        });
        peak = peak.max(server.usage().rss_peak_bytes);
        std::thread::sleep(Duration::from_millis(700).saturating_sub(from.elapsed()));
    }
    let mut stored = Vec::new();
    for (at, mut raw) in open {
        let answer = raw.read("PUT").unwrap_or_else(|error| panic!("upload {at}: {error}"));
        match answer.status {
            200 => {
                assert_eq!(answer.etag(), etag, "upload {at}");
                stored.push(at);
            }
            _ => {
                assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"), "upload {at}");
                refused += 1;
            }
        }
    }
    peak = peak.max(server.usage().rss_peak_bytes);
    println!("{} slow uploads stored, {refused} refused, peak {} MiB", stored.len(), peak >> 20);
    assert!(TAKEN_MIN <= stored.len(), "only {} of {SLOW} slow uploads were taken", stored.len());
    assert!(peak <= (MEMORY_MIB * MIB) as u64, "{peak} bytes");
    let listed = client.list_all("crowd", "slow/").expect("list");
    assert_eq!(listed.len(), stored.len(), "a refused upload left something, or a taken one is missing");
    for at in stored.iter().step_by(20) {
        let got = client.get("crowd", &format!("slow/{at}")).expect("get");
        assert!(got.status == 200 && verify(&got.body, "slow", 1).is_ok(), "upload {at}");
    }
    expect_served(&mut client, "after slow uploads");
}

#[test]
fn a_thousand_slow_downloads() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    raise_files();
    let (server, mut client) = start(MEMORY_MIB);
    let length = if is_long() { 10 * DOWNLOAD } else { DOWNLOAD };
    let body = payload("large", 1, length);
    assert_eq!(client.put("crowd", "large", &body).expect("put").status, 200);
    let before = server.usage().rss_bytes;
    let get = client.encode(&Call::object("GET", "crowd", "large")).bytes();
    let mut open: Vec<Raw> = (0..SLOW)
        .map(|_| {
            let mut raw = client.raw().expect("connect");
            raw.receive_little();
            raw.write(&get).expect("write");
            raw
        })
        .collect();
    let (mut refused, mut cut) = (0, 0);
    open.retain_mut(|raw| {
        let head = raw.read_any_head().expect("a head");
        assert!(matches!(head.status, 200 | 503), "{}", head.head);
        refused += usize::from(head.status == 503);
        head.status == 200
    });
    let taken = open.len();
    assert!(TAKEN_MIN <= taken, "only {taken} of {SLOW} slow downloads were taken");
    let mut peak = 0;
    // What they read so far, each at the same place of the object.
    let mut at = 0;
    while at < length {
        let from = Instant::now();
        let piece = &body[at..(at + DOWNLOAD_PIECE).min(length)];
        // Who takes nothing for seconds while others are refused is cut; what came until then is the object's.
        open.retain_mut(|raw| match raw.read_bytes(piece.len()) {
            Ok(bytes) => {
                assert!(bytes == piece, "other bytes at {at}");
                true
            }
            Err(error) => {
                assert!(is_over(&error), "{error}");
                cut += 1;
                false
            }
        });
        at += piece.len();
        peak = peak.max(server.usage().rss_peak_bytes);
        std::thread::sleep(Duration::from_millis(150).saturating_sub(from.elapsed()));
    }
    println!(
        "{taken} slow downloads, {refused} refused, {cut} cut, peak {} MiB, {} MiB before them",
        peak >> 20,
        before >> 20
    );
    assert!(peak <= (MEMORY_MIB * MIB) as u64, "{peak} bytes");
    assert!(
        TAKEN_MIN <= open.len() && (refused != 0 || cut == 0),
        "{} came to their end, {cut} were cut",
        open.len()
    );
    drop(open);
    expect_served(&mut client, "after slow downloads");
}
