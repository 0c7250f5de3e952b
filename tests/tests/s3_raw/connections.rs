//! Framing, pipelines, slow and idle connections, and transfers that are cut off.

use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Client, Payload, Raw, md5_base64};
use nilas_tests::http1::Response;
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

/// Sends a request that says `Expect: 100-continue`, and reads what comes: whether that was asked for, and the answer.
fn expecting(client: &mut Client, raw: &mut Raw, call: Call<'_>) -> (bool, Response) {
    let call = call.header("expect", "100-continue");
    raw.write(&client.encode(&call).head).expect("write");
    let first = raw.read_any_head().expect("an answer");
    if first.status != 100 {
        // Its body is not of interest; who is not asked to go on is cut off.
        return (false, first);
    }
    raw.write(call.body).expect("write");
    (true, raw.read(call.method).expect("the final answer"))
}

#[test]
fn an_empty_body_is_asked_for_too() {
    let mut client = bucket("expect-empty");
    let (_, id) = client.create_upload("expect-empty", "m").expect("create");
    let part = |bucket: &str, id: &str| {
        Call::object("PUT", bucket, "m").query("partNumber", "1").query("uploadId", id)
    };
    let object = |method: &'static str, bucket: &str| Call::object(method, bucket, "k");
    let none = "0123456789abcdef0123456789abcdef";
    let token = Call::new("POST", "/_iceberg/v1/oauth/tokens").unsigned();
    let warehouse = Call::new("POST", "/_iceberg/v1/warehouses");
    let mut raw = client.raw().expect("connect");
    for (what, call, status) in [
        ("an object", object("PUT", "expect-empty"), 200),
        ("one in chunks", object("PUT", "expect-empty").payload(Payload::Signed), 200),
        ("no bucket", object("PUT", "no-such-bucket"), 404),
        ("a condition", object("PUT", "expect-empty").header("if-none-match", "*"), 412),
        ("a checksum", object("PUT", "expect-empty").header("x-amz-checksum-crc32", "AAAAAQ=="), 400),
        ("no credentials", object("PUT", "expect-empty").unsigned(), 403),
        ("not served", object("PUT", "expect-empty").query("torrent", ""), 501),
        ("a part", part("expect-empty", &id), 200),
        ("a part of no upload", part("expect-empty", none), 404),
        ("a copy", object("PUT", "expect-empty").header("x-amz-copy-source", "/expect-empty/none"), 404),
        ("an upload", Call::object("POST", "expect-empty", "n").query("uploads", ""), 200),
        ("deletes without a list", Call::bucket("POST", "expect-empty").query("delete", ""), 400),
        ("a bucket", Call::bucket("PUT", "expect-empty-2"), 200),
        ("a read", object("GET", "expect-empty"), 200),
        ("a look", object("HEAD", "expect-empty"), 200),
        ("a listing", Call::bucket("GET", "expect-empty"), 200),
        ("a deletion", object("DELETE", "expect-empty"), 204),
        ("a page", Call::get("/healthz").unsigned(), 200),
        ("a page that is not there", Call::new("PUT", "/healthz"), 405),
        ("a token", token, 400),
        ("a warehouse", warehouse, 400),
    ] {
        let (asked, response) = expecting(&mut client, &mut raw, call);
        assert!(asked && response.status == status, "{what}: {asked} {} {}", response.head, response.text());
        assert!(!response.closes(), "{what}: {}", response.head);
        // What follows is read as a request of its own, and answered.
        raw.write(&client.encode(&Call::bucket("HEAD", "expect-empty")).bytes()).expect("write");
        assert_eq!(raw.read("HEAD").expect("the next answer").status, 200, "{what}");
    }
}

#[test]
fn who_is_not_asked_for_a_body_is_cut_off() {
    let mut client = bucket("expect-body");
    let catalog = |path: &str| Call::new("POST", format!("/_iceberg/v1{path}"));
    let body = br#"{"name": "x"}"#;
    let object = |method: &'static str, bucket: &str| Call::object(method, bucket, "k").body(body);
    for (what, call, status, asked) in [
        ("an object", object("PUT", "expect-body"), 200, true),
        ("in chunks", object("PUT", "expect-body").header("x-amz-checksum-crc32", "AAAAAA=="), 400, true),
        ("no bucket", object("PUT", "no-such-bucket"), 404, false),
        ("no credentials", object("PUT", "expect-body").unsigned(), 403, false),
        ("a look", object("HEAD", "expect-body"), 200, false),
        ("no credentials for the catalog", catalog("/warehouses").body(body).unsigned(), 403, false),
        ("a token", catalog("/oauth/tokens").body(body).unsigned(), 400, true),
        ("a page", Call::new("PUT", "/healthz").body(body), 405, false),
    ] {
        let mut raw = client.raw().expect("connect");
        let (was_asked, response) = expecting(&mut client, &mut raw, call);
        assert_eq!((was_asked, response.status), (asked, status), "{what}: {}", response.head);
        assert_eq!(response.closes(), !asked, "{what}: {}", response.head);
    }
}

#[test]
fn bodies_in_transfer_chunks_keep_their_connection() {
    let mut client = bucket("transfer");
    let body = payload("k", 1, 200_000);
    let (_, id) = client.create_upload("transfer", "m").expect("create");
    let part = Call::object("PUT", "transfer", "m").query("partNumber", "1").query("uploadId", id.as_str());
    let form = Payload::UnsignedTrailer;
    let list = b"<Delete><Object><Key>none</Key></Object></Delete>";
    let md5 = md5_base64(list);
    let mut raw = client.raw().expect("connect");
    for (what, call, status) in [
        ("an object", Call::object("PUT", "transfer", "k").body(&body).payload(form), 200),
        ("a small one", Call::object("PUT", "transfer", "s").body(b"abc").payload(form), 200),
        ("an empty one", Call::object("PUT", "transfer", "e").payload(form), 200),
        ("a part", part.body(&body).payload(form), 200),
        ("no bucket", Call::object("PUT", "no-such-bucket", "k").body(&body).payload(form), 404),
        ("no length", Call::object("PUT", "transfer", "k").body(b"abc"), 411),
        (
            "XML",
            Call::bucket("POST", "transfer").query("delete", "").header("content-md5", md5).body(list),
            200,
        ),
        ("a body that nobody wants", Call::object("GET", "transfer", "k").body(b"abc"), 200),
        ("an empty body that nobody wants", Call::object("HEAD", "transfer", "k"), 200),
        ("the catalog", Call::new("POST", "/_iceberg/v1/oauth/tokens").body(b"a=b").unsigned(), 400),
    ] {
        raw.write(&client.encode(&call.clone().transfer_chunked()).bytes()).expect("write");
        let response = raw.read(call.method).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(response.status, status, "{what}: {} {}", response.head, response.text());
        assert!(!response.closes(), "{what}: {}", response.head);
    }
    expect_object(&mut client, "transfer", "k", Some(&body));
    expect_object(&mut client, "transfer", "e", Some(b""));
}

#[test]
fn a_head_names_one_host() {
    let mut client = bucket("hosts");
    let host = client.address.to_string();
    let encoded = client.encode(&Call::object("PUT", "hosts", "k").body(b"body"));
    let head = String::from_utf8(encoded.head).expect("ASCII");
    let line = format!("host: {host}\r\n");
    for (what, hosts) in [
        ("none", String::new()),
        ("two", format!("{line}{line}")),
        ("two that differ", format!("{line}host: example.com\r\n")),
        ("an empty one", "host: \r\n".to_owned()),
        ("an address", format!("host: http://{host}/\r\n")),
        ("a list", format!("host: {host}, {host}\r\n")),
    ] {
        let bytes = [head.replace(&line, &hosts).as_bytes(), b"body"].concat();
        let (response, mut raw) = client.exchange(&bytes, "PUT").expect("an answer");
        assert_eq!((response.status, response.body.len()), (400, 0), "{what}: {}", response.text());
        assert!(response.closes() && raw.is_closed_within(Duration::from_secs(8)), "{what}");
        for path in ["/healthz", "/", "/_iceberg/v1/config"] {
            let ask = format!("GET {path} HTTP/1.1\r\n{hosts}\r\n");
            expect(&client.exchange(ask.as_bytes(), "GET").expect("an answer").0, 400, "");
        }
    }
    expect_object(&mut client, "hosts", "k", None);
    // HTTP/1.0 has no such rule, and checks of health are often that old.
    let old = client.exchange(b"GET /healthz HTTP/1.0\r\n\r\n", "GET").expect("an answer").0;
    expect(&old, 200, "");
    expect(
        &client.exchange(b"GET /hosts HTTP/1.0\r\n\r\n", "GET").expect("an answer").0,
        403,
        "AccessDenied",
    );
}

#[test]
fn a_body_that_does_not_come_is_answered_before_the_connection_ends() {
    let mut client = bucket("stalled");
    let body = payload("k", 1, 300 * KIB);
    let (_, id) = client.create_upload("stalled", "m").expect("create");
    let part = Call::object("PUT", "stalled", "m").query("partNumber", "1").query("uploadId", id);
    let object = Call::object("PUT", "stalled", "k");
    let md5 = md5_base64(&body[..1000]);
    let mut waiting = Vec::new();
    for (call, sent) in [
        (object.clone().body(&body[..1000]), 999),
        (object.clone().body(&body), 0),
        (object.clone().body(&body).payload(Payload::Chunked), 200 * KIB),
        (object.clone().body(&body).payload(Payload::UnsignedTrailer).transfer_chunked(), 200 * KIB),
        (part.body(&body), 200 * KIB),
        (
            Call::bucket("POST", "stalled")
                .query("delete", "")
                .header("content-md5", md5)
                .body(&body[..1000]),
            10,
        ),
        (Call::new("POST", "/_iceberg/v1/warehouses").body(&body[..1000]), 10),
    ] {
        let catalog = call.path.starts_with("/_iceberg");
        let encoded = client.encode(&call);
        let mut raw = client.raw().expect("connect");
        raw.write(&encoded.head).expect("write");
        raw.write(&encoded.body[..sent]).expect("write");
        waiting.push((call.path.clone(), catalog, raw));
    }
    let from = Instant::now();
    for (path, catalog, mut raw) in waiting {
        let response = raw.read("PUT").unwrap_or_else(|error| panic!("{path}: {error}"));
        let took = from.elapsed();
        match catalog {
            true => assert!(response.text().contains("did not come in time"), "{path}: {}", response.text()),
            false => expect(&response, 400, "RequestTimeout"),
        }
        assert_eq!(response.status, 400, "{path}");
        assert!((20..50).contains(&took.as_secs()), "{path}: answered after {took:?}");
        assert!(response.closes() && raw.is_closed_within(Duration::from_secs(10)), "{path}");
    }
    expect_object(&mut client, "stalled", "k", None);
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
