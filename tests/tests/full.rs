//! A full store refuses writes with 507 or 503 and still reads, deletes, restarts, and takes writes
//! again once there is room.

use nilas_tests::client::Client;
use nilas_tests::http1::Response;
use nilas_tests::rng::{payload, verify};
use nilas_tests::server::{Server, ServerOptions};
use nilas_tests::sizes::{KIB, MIB};

const BUCKET: &str = "full";
const DRIVE: &str = "192MiB";
/// Writes that could not fit the drive twice over, whatever is stored with them.
const PUTS_MAX: usize = 400;

/// Puts objects of `len` until one is refused; the keys that were stored.
fn fill(client: &mut Client, family: &str, len: usize) -> Vec<String> {
    let mut stored = Vec::new();
    for at in 0..PUTS_MAX * MIB / len.max(16 * KIB) {
        let key = format!("{family}/{at:05}");
        let response = client.put(BUCKET, &key, &payload(&key, 1, len)).expect("an answer");
        match response.status {
            200 => stored.push(key),
            _ => {
                expect_full(&response);
                return stored;
            }
        }
    }
    panic!("{} objects of {len} bytes fit a drive of {DRIVE}", stored.len());
}

#[track_caller]
fn expect_full(response: &Response) {
    assert!(matches!(response.status, 507 | 503), "{} {}", response.head, response.text());
    assert!(!response.code().is_empty(), "no error code: {}", response.text());
}

fn expect_all(client: &mut Client, keys: &[String]) {
    for key in keys {
        let got = client.get(BUCKET, key).expect("get");
        assert!(got.status == 200 && verify(&got.body, key, 1).is_ok(), "{key}: {}", got.status);
    }
}

#[test]
fn full_of_large_objects() {
    let mut server =
        Server::start(ServerOptions::fresh().drive_size(DRIVE)).unwrap_or_else(|e| panic!("{e}"));
    let mut client = server.client();
    assert_eq!(client.create_bucket(BUCKET).expect("create").status, 200);
    let mut stored = fill(&mut client, "large", 4 * MIB);
    assert!(4 <= stored.len(), "a drive of {DRIVE} holds only {} objects of 4 MiB", stored.len());

    for round in 0..3 {
        expect_all(&mut client, &stored);
        assert_eq!(client.list_all(BUCKET, "").expect("list").len(), stored.len());
        expect_full(&client.put(BUCKET, "more", &payload("more", 1, 4 * MIB)).expect("an answer"));
        assert_eq!(client.get(BUCKET, "more").expect("get").status, 404, "a refused write left something");

        // Deletes need no room, and what they free is used again.
        let freed = stored.split_off(stored.len() / 2);
        for key in &freed {
            assert_eq!(client.delete(BUCKET, key).expect("delete").status, 204, "{key}");
        }
        expect_all(&mut client, &stored);
        let again = fill(&mut client, &format!("again{round}"), 4 * MIB);
        assert!(freed.len() <= again.len() + 1, "{} freed, room for {}", freed.len(), again.len());
        stored.extend(again);

        // A restart needs no room either.
        if round % 2 == 0 {
            server.kill9();
        } else {
            assert!(server.sigterm().is_some());
        }
        server.restart().unwrap_or_else(|error| panic!("restart of a full store: {error}"));
        client = server.client();
    }
    expect_all(&mut client, &stored);
}

#[test]
fn full_of_small_objects() {
    let mut server =
        Server::start(ServerOptions::fresh().drive_size(DRIVE)).unwrap_or_else(|e| panic!("{e}"));
    let mut client = server.client();
    assert_eq!(client.create_bucket(BUCKET).expect("create").status, 200);
    let stored = fill(&mut client, "small", 100 * KIB);
    assert!(100 <= stored.len(), "a drive of {DRIVE} holds only {} objects of 100 KiB", stored.len());
    expect_all(&mut client, &stored);
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("restart of a full store: {error}"));
    client = server.client();
    expect_all(&mut client, &stored);
    assert_eq!(client.list_all(BUCKET, "").expect("list").len(), stored.len());
    // The part of the log that is kept for changes that free: deletes go on when writes are refused.
    let (deleted, kept) = stored.split_at(100);
    for key in deleted {
        assert_eq!(client.delete(BUCKET, key).expect("delete").status, 204, "{key}");
    }
    expect_all(&mut client, kept);
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("restart after deletes: {error}"));
    client = server.client();
    expect_all(&mut client, kept);
    assert_eq!(client.list_all(BUCKET, "").expect("list").len(), kept.len());
}
