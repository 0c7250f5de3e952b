//! Framing, pipelines, slow and idle connections, and transfers that are cut off.

use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::rng::payload;
use nilas_tests::server::Server;
use nilas_tests::sizes::{KIB, MIB};

use super::{bucket, expect, expect_object, server};

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused_or_ends_the_connection() {
    let mut client = bucket("smuggling");
    let host = client.address.to_string();
    let hidden = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let encoded = client.encode(&Call::object("PUT", "smuggling", "k").body(b"body"));
    let head = String::from_utf8(encoded.head).expect("ASCII");
    let (length, chunked) = ("content-length: 4\r\n", "transfer-encoding: chunked\r\n");
    for (what, framing, body, stores) in [
        ("length, then chunked", format!("{length}{chunked}"), "0\r\n\r\n", false),
        ("chunked, then length", format!("{chunked}{length}"), "0\r\n\r\n", false),
        ("two lengths", format!("{length}content-length: 0\r\n"), "", false),
        ("a list of lengths", "content-length: 4, 4\r\n".to_owned(), "body", false),
        ("a length with a sign", "content-length: +4\r\n".to_owned(), "body", false),
        ("an unknown coding", "transfer-encoding: gzip\r\n".to_owned(), "", false),
        ("chunked is not last", "transfer-encoding: chunked, gzip\r\n".to_owned(), "0\r\n\r\n", false),
        ("blank before the colon", "content-length : 4\r\n".to_owned(), "body", false),
        ("folded line", "content-length:\r\n 4\r\n".to_owned(), "body", false),
        ("bare CR", "content-length: 4\rx: y\r\n".to_owned(), "body", false),
        ("NUL", "x-nul: a\0b\r\ncontent-length: 4\r\n".to_owned(), "body", false),
        ("chunks ended by LF alone", chunked.to_owned(), "4\nbody\n0\n\n", false),
        ("chunk size with a sign", chunked.to_owned(), "+4\r\nbody\r\n0\r\n\r\n", false),
        ("chunk size overflows", chunked.to_owned(), "10000000000000004\r\nbody\r\n0\r\n\r\n", false),
        ("the same length twice", format!("{length}{length}"), "body", true),
    ] {
        let request = format!("{}{body}{hidden}", head.replace(length, &framing));
        let mut raw = client.raw().expect("connect");
        raw.write(request.as_bytes()).expect("write");
        let response = raw.read("PUT").unwrap_or_else(|error| panic!("{what}: {error}"));
        if stores {
            // Not ambiguous: read in the one way, and what follows is a request of its own.
            assert_eq!(response.status, 200, "{what}: {}", response.text());
            assert_eq!(raw.read("GET").expect("the next answer").status, 200, "{what}");
            expect(&client.delete("smuggling", "k").expect("delete"), 204, "");
            continue;
        }
        assert!((400..500).contains(&response.status), "{what}: {} {}", response.head, response.text());
        assert!(raw.is_closed_within(Duration::from_secs(8)), "{what}: the rest was read as a request");
        expect_object(&mut client, "smuggling", "k", None);
    }
    // A single LF may end a line (RFC 9112 2.2): one reading only.
    let lf = format!("GET /healthz HTTP/1.1\nhost: {host}\n\n");
    expect(&client.exchange(lf.as_bytes(), "GET").expect("an answer").0, 200, "");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut client = bucket("pipeline");
    let bodies: Vec<Vec<u8>> =
        [0, 1000, 200 * KIB, 3, MIB].iter().map(|len| payload("pipeline", 1, *len)).collect();
    let mut wire = Vec::new();
    for (at, body) in bodies.iter().enumerate() {
        let key = format!("k{at}");
        wire.extend(client.encode(&Call::object("PUT", "pipeline", &key).body(body)).bytes());
        wire.extend(client.encode(&Call::object("HEAD", "pipeline", "missing")).bytes());
        wire.extend(client.encode(&Call::object("GET", "pipeline", &key)).bytes());
        // Refused with a body on the way: it must not be read as a request.
        wire.extend(client.encode(&Call::object("PUT", "no-such-bucket", &key).body(body)).bytes());
        wire.extend(client.encode(&Call::object("GET", "pipeline", "missing")).bytes());
    }
    let mut raw = client.raw().expect("connect");
    std::thread::scope(|scope| {
        let mut writer = raw.second().expect("another handle");
        scope.spawn(move || writer.write(&wire).expect("write"));
        for (at, body) in bodies.iter().enumerate() {
            let mut next =
                |method: &str| raw.read(method).unwrap_or_else(|error| panic!("{at} {method}: {error}"));
            assert_eq!(next("PUT").status, 200, "{at}");
            assert_eq!(next("HEAD").status, 404, "{at}");
            let got = next("GET");
            assert!(got.status == 200 && got.body == *body, "{at}: {}", got.head);
            expect(&next("PUT"), 404, "NoSuchBucket");
            expect(&next("GET"), 404, "NoSuchKey");
        }
    });
}

#[test]
fn slow_heads_are_cut() {
    let client = server().client();
    let mut silent = client.raw().expect("connect");
    let mut slow = client.raw().expect("connect");
    let from = Instant::now();
    slow.write(b"GET /healthz HTTP/1.1\r\nx-slow: ").expect("write");
    // A byte now and then must not buy more time.
    while from.elapsed() < Duration::from_secs(20) && slow.write(b"x").is_ok() {
        if slow.is_closed_within(Duration::from_millis(500)) {
            break;
        }
    }
    let took = from.elapsed();
    assert!((5..20).contains(&took.as_secs()), "a slow head was cut after {took:?}");
    assert!(silent.is_closed_within(Duration::from_secs(10)), "a connection without a request stays");
}

#[test]
fn idle_connections_cost_the_others_nothing() {
    let mut client = bucket("idle");
    let mut kept = client.clone();
    expect(&kept.put("idle", "k", b"before").expect("put"), 200, "");
    let mut idle = Vec::new();
    for at in 0..300 {
        let mut raw = client.raw().expect("connect");
        match at % 3 {
            0 => {}
            1 => raw.write(b"GET /idle/k HTTP/1.1\r\nho").expect("write"),
            _ => {
                let bytes = client.encode(&Call::object("GET", "idle", "k")).bytes();
                raw.write(&bytes).expect("write");
                assert_eq!(raw.read("GET").expect("an answer").status, 200);
            }
        }
        idle.push(raw);
    }
    let from = Instant::now();
    for round in 0..50u32 {
        let body = payload("k", round.into(), 1000);
        expect(&client.put("idle", "k", &body).expect("put"), 200, "");
        expect_object(&mut client.clone(), "idle", "k", Some(&body));
    }
    assert!(from.elapsed() < Duration::from_secs(20), "100 requests took {:?}", from.elapsed());
    // Those between two requests are still good.
    let bytes = client.encode(&Call::object("HEAD", "idle", "k")).bytes();
    for raw in idle.iter_mut().skip(2).step_by(3) {
        raw.write(&bytes).expect("write");
        assert_eq!(raw.read("HEAD").expect("an answer").status, 200);
    }
}

/// The sum of a metric over its series.
fn metric(client: &mut Client, name: &str) -> u64 {
    let text = client.send(&Call::get("/metrics").unsigned()).expect("metrics").text();
    let series =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    series
        .map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a number"))
        .sum()
}

#[test]
fn transfers_that_are_cut_off_leave_no_space_behind() {
    // Its own server: others would move the figures.
    let own = Server::fresh();
    let mut client = own.client();
    expect(&client.create_bucket("cut").expect("create"), 200, "");
    let body = payload("k", 1, 8 * MIB);
    // So that the zones are there which the uploads below will share.
    let upload = |client: &mut Client, form: Payload, sent: usize| {
        let bytes = client.encode(&Call::object("PUT", "cut", "gone").body(&body).payload(form)).bytes();
        let mut raw = client.raw().expect("connect");
        let _refused = raw.write(&bytes[..sent.min(bytes.len() - 1)]);
        raw
    };
    expect(&client.put("cut", "k", &body).expect("put"), 200, "");
    let settled = |client: &mut Client| {
        // Bytes of granted zones that neither objects nor writers hold; zones may be granted meanwhile.
        let granted = metric(client, "nilas_capacity_bytes") - metric(client, "nilas_ungranted_bytes");
        let free = metric(client, "nilas_free_extent_bytes");
        granted - free
    };
    let wait_for = |client: &mut Client, what: &str, good: &dyn Fn(u64) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !good(settled(client)) {
            assert!(Instant::now() < deadline, "{what}: {} bytes are held", settled(client));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let before = settled(&mut client);
    // An upload holds its space as long as it lives.
    let open = upload(&mut client, Payload::Unsigned, MIB);
    wait_for(&mut client, "an open upload", &|held| before + 4 * MIB as u64 <= held);
    drop(open);
    for round in 0..200usize {
        let form =
            [Payload::Unsigned, Payload::Signed, Payload::Chunked, Payload::UnsignedTrailer][round % 4];
        let sent = [200, 300 * KIB, 2 * MIB, 5 * MIB, 8 * MIB + 300][round % 5];
        drop(upload(&mut client, form, sent));
    }
    // A part of a multipart upload, and an upload that is aborted with it.
    let (_, id) = client.create_upload("cut", "m").expect("create");
    expect(&client.put_part("cut", "m", &id, 1, &body).expect("part"), 200, "");
    for _ in 0..10 {
        let call = Call::object("PUT", "cut", "m").query("partNumber", "2").query("uploadId", id.as_str());
        let bytes = client.encode(&call.body(&body)).bytes();
        let mut raw = client.raw().expect("connect");
        let _refused = raw.write(&bytes[..3 * MIB]);
    }
    expect(&client.abort("cut", "m", &id).expect("abort"), 204, "");
    // Downloads that nobody reads to the end.
    for round in 0..50 {
        let bytes = client.encode(&Call::object("GET", "cut", "k")).bytes();
        let mut raw = client.raw().expect("connect");
        raw.write(&bytes).expect("write");
        if round % 2 == 0 {
            assert_eq!(raw.read_any_head().expect("a head").status, 200);
        }
    }
    // Each zone of extents that was granted meanwhile holds two blocks of its own; an upload would hold megabytes.
    let most = before + 256 * KIB as u64;
    wait_for(&mut client, "after 261 broken transfers", &|held| held <= most);
    expect_object(&mut client, "cut", "k", Some(&body));
    expect_object(&mut client, "cut", "gone", None);
    assert_eq!(client.list_all("cut", "").expect("list").len(), 1);
    // What a deleted object held shows as free at once.
    let free = metric(&mut client, "nilas_free_extent_bytes");
    expect(&client.delete("cut", "k").expect("delete"), 204, "");
    assert_eq!(metric(&mut client, "nilas_free_extent_bytes"), free + 8 * MIB as u64);
}
