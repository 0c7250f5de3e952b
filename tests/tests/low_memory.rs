//! A server that has little memory, under clients that stall, drip and come by the hundred: it refuses with 503 and
//! `Retry-After`, what it took is whole, its memory stays within what it was told, and afterwards all is as before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Client, Raw, md5_base64};
use nilas_tests::http1::Response;
use nilas_tests::rng::{payload, verify};
use nilas_tests::server::{Server, ServerOptions};
use nilas_tests::sizes::{KIB, MIB};

const BUCKET: &str = "little";
/// What the server is told to get by with, and must: requests get half of it.
const MEMORY_MIB: usize = 256;
/// Rounds of all clients at once; `NILAS_LOW_MEMORY_ROUNDS` overrides it.
const ROUNDS: usize = 10;
/// Clients of each kind in a round: several times what fits.
const CLIENTS: usize = 60;
const LARGE: usize = 6 * MIB;
/// Longest wait for a refusal, or for what others hold to come back.
const WAIT: Duration = Duration::from_secs(40);

fn start() -> Server {
    let mut options = ServerOptions::fresh();
    options.arguments = ["--cores", "2", "--memory", &format!("{MEMORY_MIB}MiB")].map(OsString::from).into();
    let server = Server::start(options).unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.client();
    assert_eq!(client.create_bucket(BUCKET).expect("create").status, 200);
    let large = client.put(BUCKET, "large", &payload("large", 1, LARGE)).expect("put");
    assert_eq!(large.status, 200, "{}", large.text());
    server
}

#[track_caller]
fn expect_busy(response: &Response) {
    assert_eq!((response.status, response.code().as_str()), (503, "SlowDown"), "{}", response.head);
    assert_eq!(response.header("retry-after"), Some("1"), "{}", response.head);
}

/// Sends `call` until it is not refused for lack of room.
fn insist(client: &mut Client, call: &Call<'_>) -> Response {
    let deadline = Instant::now() + WAIT;
    loop {
        let response = client.send(call).expect("an answer");
        if response.status != 503 {
            return response;
        }
        expect_busy(&response);
        assert!(Instant::now() < deadline, "refused for {WAIT:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Begins `call` with the first `bytes` of its body and goes no further.
fn begin(client: &mut Client, call: &Call<'_>, bytes: usize) -> Raw {
    let encoded = client.encode(call).bytes();
    let head = encoded.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
    let mut raw = client.raw().expect("a connection");
    // Refused early is refused: the answer is looked at later.
    let _sent = raw.write(&encoded[..encoded.len().min(head + bytes)]);
    raw
}

/// How many of the connections were refused; those that are left wait for us. On a slow machine some were ended
/// meanwhile, for stalling while others were refused.
fn refused(connections: &mut Vec<Raw>, method: &str) -> usize {
    let mut refused = 0;
    connections.retain_mut(|raw| match raw.answer_within(Duration::from_millis(1), method) {
        None => true,
        Some(Ok(response)) if response.status == 200 => true,
        Some(Ok(response)) if response.code() == "RequestTimeout" => false,
        Some(Ok(response)) => {
            expect_busy(&response);
            refused += 1;
            false
        }
        Some(Err(_)) => false,
    });
    refused
}

/// Seconds for which refusals may keep us waiting under load.
const REFUSAL_TRIES: u32 = 15;

/// Uploads, small objects and documents that stop in the middle.
fn stalled_bodies(server: &Server) {
    let mut client = server.client();
    let large = payload("stalled", 1, 2 * MIB);
    let small = payload("stalled", 1, 100 * KIB);
    let document = vec![b' '; 3 * MIB];
    let md5 = md5_base64(&document);
    let put = Call::object("PUT", BUCKET, "stalled").body(&large);
    let put_small = Call::object("PUT", BUCKET, "stalled").body(&small);
    let delete = Call::bucket("POST", BUCKET).query("delete", "").header("content-md5", md5).body(&document);
    let mut uploads: Vec<Raw> = (0..CLIENTS).map(|_| begin(&mut client, &put, 64 * KIB)).collect();
    let mut smalls: Vec<Raw> = (0..2 * CLIENTS).map(|_| begin(&mut client, &put_small, 99 * KIB)).collect();
    let mut documents: Vec<Raw> = (0..CLIENTS / 2).map(|_| begin(&mut client, &delete, 2 * MIB)).collect();
    // Refusals come within a second, under load within a few.
    thread::sleep(Duration::from_millis(1_500));
    for (kind, connections) in
        [("uploads", &mut uploads), ("small", &mut smalls), ("documents", &mut documents)]
    {
        let all = connections.len();
        let mut refused = refused(connections, "PUT");
        for _ in 0..REFUSAL_TRIES {
            if 0 < refused {
                break;
            }
            // Others want the machine as well.
            thread::sleep(Duration::from_secs(1));
            refused += self::refused(connections, "PUT");
        }
        assert!(0 < refused, "{all} stalled {kind} were all taken");
        assert!(refused < all, "{all} stalled {kind} were all refused");
        println!("{refused} of {all} stalled {kind} were refused, {} wait", connections.len());
    }
}

/// Downloads that nobody reads. Those that were begun go on when they are read.
fn stalled_downloads(server: &Server) {
    let mut client = server.client();
    let get = Call::object("GET", BUCKET, "large");
    let mut connections: Vec<Raw> = (0..2 * CLIENTS).map(|_| begin(&mut client, &get, 0)).collect();
    thread::sleep(Duration::from_millis(1_500));
    let mut heads = 0;
    for raw in &mut connections {
        let head = raw.read_any_head().expect("an answer");
        heads += usize::from(head.status == 200);
        assert!(matches!(head.status, 200 | 503), "{}", head.head);
    }
    assert!(heads < connections.len(), "{heads} stalled downloads were all taken");
    assert!(0 < heads, "no download was taken");
}

/// Bodies that come byte by byte.
fn drips(server: &Server) {
    let mut client = server.client();
    let body = payload("drip", 1, 100 * KIB);
    let put = Call::object("PUT", BUCKET, "drip").body(&body);
    let mut connections: Vec<Raw> = (0..CLIENTS).map(|_| begin(&mut client, &put, 0)).collect();
    for _ in 0..60 {
        for raw in &mut connections {
            // One that was refused is gone.
            let _sent = raw.write(b"x");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Small and large objects by many clients at once: taken whole, or refused and nothing done.
fn crowd(server: &Server, round: usize) {
    let accepted: Mutex<BTreeMap<String, usize>> = Mutex::default();
    thread::scope(|scope| {
        for nth in 0..CLIENTS {
            let (mut client, accepted) = (server.client(), &accepted);
            scope.spawn(move || {
                for (size, count) in [(100 * KIB, 4), (4 * KIB, 4), (MIB, 1)] {
                    for at in 0..count {
                        let key = format!("crowd{round}/{nth}-{size}-{at}");
                        let body = payload(&key, 1, size);
                        let response = client.put(BUCKET, &key, &body).expect("an answer");
                        if response.status == 200 {
                            accepted.lock().expect("nobody panics here").insert(key, size);
                        } else {
                            expect_busy(&response);
                        }
                    }
                }
            });
        }
    });
    let accepted = accepted.into_inner().expect("nobody panics here");
    assert!(CLIENTS < accepted.len(), "only {} writes were taken", accepted.len());
    let mut client = server.client();
    for key in accepted.keys() {
        let got = insist(&mut client, &Call::object("GET", BUCKET, key));
        assert!(got.status == 200 && verify(&got.body, key, 1).is_ok(), "{key}: {}", got.status);
    }
    let prefix = format!("crowd{round}/");
    let listed = client.list_all(BUCKET, &prefix).expect("list");
    assert_eq!(listed.len(), accepted.len(), "a refused write left something, or a taken one is missing");
    let keys: Vec<String> = accepted.into_keys().collect();
    for keys in keys.chunks(1_000) {
        assert_eq!(client.delete_many(BUCKET, keys).expect("delete").status, 200);
    }
}

/// Waits until nothing is held any more.
fn expect_idle(server: &Server) {
    let deadline = Instant::now() + WAIT;
    for limit in ["SMALL_BODY", "DOCUMENT", "ANSWER", "DOWNLOAD", "UPLOAD", "LISTINGS"] {
        loop {
            let used = server.metric("nilas_limit_used", limit);
            // The page that is asked is an answer itself.
            if used <= if limit == "ANSWER" { 64 * KIB as u64 } else { 0 } {
                break;
            }
            assert!(Instant::now() < deadline, "{used} of {limit} are held by nobody");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn rounds_of_everything_at_once() {
    let server = start();
    let rounds = std::env::var("NILAS_LOW_MEMORY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut settled = 0;
    let rounds = rounds.unwrap_or(ROUNDS);
    for round in 0..rounds {
        thread::scope(|scope| {
            scope.spawn(|| stalled_bodies(&server));
            scope.spawn(|| stalled_downloads(&server));
            scope.spawn(|| drips(&server));
        });
        crowd(&server, round);
        expect_idle(&server);
        let usage = server.usage();
        println!("round {round}: {} MiB, peak {}", usage.rss_bytes >> 20, usage.rss_peak_bytes >> 20);
        assert!(usage.rss_peak_bytes < (MEMORY_MIB * MIB) as u64, "{} bytes", usage.rss_peak_bytes);
        // A third of the way on, everything that is kept for good has been touched.
        if round == rounds / 3 {
            settled = usage.rss_peak_bytes;
        }
    }
    let peak = server.usage().rss_peak_bytes;
    assert!(peak < settled + settled / 4, "memory grows: {settled}, then {peak} bytes");
    for limit in ["SMALL_BODY", "DOCUMENT", "DOWNLOAD", "UPLOAD"] {
        let (peak, max) = (server.metric("nilas_limit_peak", limit), server.metric("nilas_limit_max", limit));
        assert!(0 < peak && peak <= max, "{limit}: peak {peak}, limit {max}");
        assert!(0 < server.metric("nilas_limit_refused_total", limit), "{limit} was never reached");
    }
    let mut client = server.client();
    let got = client.get(BUCKET, "large").expect("get");
    assert!(got.status == 200 && verify(&got.body, "large", 1).is_ok());
}

/// Who stalls while others are refused does not keep them out until his own time is over.
#[test]
fn the_stalled_make_room() {
    let server = start();
    let mut client = server.client();
    let large = payload("stalled", 1, 2 * MIB);
    let put = Call::object("PUT", BUCKET, "stalled").body(&large);
    let get = Call::object("GET", BUCKET, "large");
    let uploads: Vec<Raw> = (0..CLIENTS).map(|_| begin(&mut client, &put, 64 * KIB)).collect();
    let downloads: Vec<Raw> = (0..2 * CLIENTS).map(|_| begin(&mut client, &get, 0)).collect();
    let begun = Instant::now();
    let stored = insist(&mut client, &Call::object("PUT", BUCKET, "in time").body(&large));
    assert_eq!(stored.status, 200, "{}", stored.text());
    let got = insist(&mut client, &get);
    assert!(got.status == 200 && verify(&got.body, "large", 1).is_ok());
    println!("served after {:?} beside {} stalled", begun.elapsed(), uploads.len() + downloads.len());
    drop((uploads, downloads));
    expect_idle(&server);
}

/// A request of the catalog that would take more memory than there is for all of them is refused before it is parsed.
#[test]
fn documents_are_weighed() {
    let server = start();
    let mut client = server.client();
    let mut body = b"{\"name\":\"x\",\"filler\":[0".to_vec();
    body.resize(4 * MIB, b',');
    client.signer = nilas_tests::sign::Signer::new(server.root_key().0, server.root_key().1, "s3");
    let call = Call::new("POST", "/_iceberg/v1/little/namespaces").body(&body);
    let call = call.payload(nilas_tests::client::Payload::Signed);
    let response = client.send(&call).expect("an answer");
    assert_eq!(response.status, 413, "{} {}", response.head, response.text());
    assert!(response.text().contains("DOCUMENT_BYTES_MAX"), "{}", response.text());
    assert!(server.usage().rss_peak_bytes < (MEMORY_MIB * MIB) as u64);
}
