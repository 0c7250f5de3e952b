//! What no honest client sends, on the wire: framing that can be read in two ways, heads and documents made to hurt, clients
//! by the thousand. Each case has its exact answer, what is smuggled behind it is never carried out, and the server lives.
//!
//! One server for all cases but the crowds; each test has a bucket of its own. What the files share stands here.

mod framing;
mod chunks;
// Tests start in the order of their names: the one that waits longest goes early.
mod client_waits;
mod heads;
mod documents;
mod crowds;

use std::sync::OnceLock;
use std::time::Duration;

use nilas_tests::client::{Call, Client, Payload, Raw};
use nilas_tests::http1::Response;
use nilas_tests::server::Server;

/// Longest time in which a connection that is over is closed: it is read on for five seconds.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);
/// The object whose upload carries something else behind it.
const CARRIER: &str = "carrier";
/// The object that stands in a bucket when a smuggled request was carried out.
const HIDDEN: &str = "hidden";

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::fresh)
}

/// A client and a fresh bucket.
fn bucket(name: &str) -> Client {
    let mut client = server().client();
    let made = client.create_bucket(name).expect("create bucket");
    assert_eq!(made.status, 200, "{}", made.text());
    client
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// What follows is a request of its own.
    Open,
    /// Nothing that follows is looked at.
    Closed,
}

/// The bytes of a good request that leaves an object behind.
fn hidden(client: &mut Client, bucket: &str) -> Vec<u8> {
    client.encode(&Call::object("PUT", bucket, HIDDEN).body(b"x")).bytes()
}

/// The head of an upload without the line that says how long it is, and the body it is to have.
fn carrier(client: &mut Client, bucket: &str, payload: Payload) -> (String, Vec<u8>) {
    let call = Call::object("PUT", bucket, CARRIER).body(b"body").payload(payload);
    let encoded = client.encode(&call);
    let length = format!("content-length: {}\r\n", encoded.body.len());
    let head = String::from_utf8(encoded.head).expect("ASCII");
    assert!(head.contains(&length), "{head}");
    (head.replace(&length, ""), encoded.body.into_owned())
}

/// Puts lines of a head before its empty line.
fn with_lines(head: &str, lines: &[u8]) -> Vec<u8> {
    let start = head.strip_suffix("\r\n").expect("a head ends with an empty line");
    [start.as_bytes(), lines, b"\r\n"].concat()
}

/// The first lines of a good request; lines and the empty one may follow.
fn get_head(client: &Client) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n", client.address).into_bytes()
}

/// Sends `bytes` on a connection of their own and reads `statuses`, one answer for each.
fn answers(client: &Client, what: &str, bytes: &[u8], statuses: &[u16]) -> (Vec<Response>, Raw) {
    let mut raw = client.raw().expect("connect");
    // A server that refuses early may have stopped reading: its answer counts.
    let _written = raw.write(bytes);
    let answers: Vec<Response> = statuses
        .iter()
        .map_while(|_| raw.read("PUT").map_err(|error| println!("{what}: {error}")).ok())
        .collect();
    let got: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let texts: Vec<String> =
        answers.iter().map(|answer| format!("{}{}", answer.head, answer.text())).collect();
    assert_eq!(got, statuses, "{what}: {texts:?}");
    (answers, raw)
}

/// Sends `bytes`, wants `statuses` and then the connection in the state `after`.
fn check(client: &Client, what: &str, bytes: &[u8], statuses: &[u16], after: After) -> Vec<Response> {
    let (answers, mut raw) = answers(client, what, bytes, statuses);
    match after {
        After::Open => {
            let host = client.address;
            raw.write(format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).expect("write");
            let next = raw.read("GET").unwrap_or_else(|error| panic!("{what}, then a good request: {error}"));
            assert_eq!(next.status, 200, "{what}, then a good request: {}", next.head);
        }
        After::Closed => {
            assert!(raw.is_closed_within(CLOSED_WITHIN), "{what}: the connection goes on");
        }
    }
    answers
}

/// Whether an object is there; it is gone afterwards.
fn take(client: &mut Client, bucket: &str, key: &str) -> Option<Vec<u8>> {
    let got = client.get(bucket, key).expect("get");
    if got.status == 404 {
        return None;
    }
    assert_eq!(got.status, 200, "{key}: {}", got.text());
    assert_eq!(client.delete(bucket, key).expect("delete").status, 204);
    Some(got.body)
}

/// What an upload with something behind it must come to.
struct Smuggled<'a> {
    what: &'a str,
    statuses: &'a [u16],
    after: After,
    /// Whether the upload itself is stored.
    stores: bool,
    /// Whether what stands behind it is plainly a request of its own.
    follows: bool,
}

/// Sends an upload and what is behind it; holds answers, connection and bucket against `want`.
fn check_smuggled(client: &mut Client, bucket: &str, bytes: &[u8], want: &Smuggled<'_>) {
    check(client, want.what, bytes, want.statuses, want.after);
    let (stored, hidden) = (take(client, bucket, CARRIER), take(client, bucket, HIDDEN));
    assert_eq!(stored.is_some(), want.stores, "{}: the upload", want.what);
    assert!(stored.is_none_or(|body| body == b"body"), "{}: other bytes than those sent", want.what);
    assert_eq!(hidden.is_some(), want.follows, "{}: what stood behind it", want.what);
}
