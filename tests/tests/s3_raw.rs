//! S3 on the wire, against the release binary: bad input gets S3's own error and changes nothing.
//!
//! One server for all tests of this binary; each test has a bucket of its own.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nilas_tests::client::{
    Call, Client, Encoded, Payload, crc32_base64, crc32c_base64, crc64nvme_base64, md5_base64, md5_etag,
    multipart_etag, sha256_base64,
};
use nilas_tests::http1::Response;
use nilas_tests::rng::{payload, verify};
use nilas_tests::server::Server;
use nilas_tests::sign;
use nilas_tests::sizes::{self, KIB, MIB};
use nilas_tests::xml;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::fresh)
}

/// A client and a fresh bucket.
fn bucket(name: &str) -> Client {
    let mut client = server().client();
    expect(&client.create_bucket(name).expect("create bucket"), 200, "");
    client
}

#[track_caller]
fn expect(response: &Response, status: u16, code: &str) {
    assert!(
        response.status == status && (code.is_empty() || response.code() == code),
        "expected {status} {code}, got {} {}",
        response.head,
        response.text()
    );
}

#[track_caller]
fn expect_one_of(response: &Response, allowed: &[(u16, &str)], what: &str) {
    let got = (response.status, response.code());
    assert!(
        allowed.iter().any(|(status, code)| (*status, *code) == (got.0, got.1.as_str())),
        "{what}: {got:?}"
    );
}

/// The object is as `body` has it, or absent.
#[track_caller]
fn expect_object(client: &mut Client, bucket: &str, key: &str, body: Option<&[u8]>) {
    let response = client.get(bucket, key).expect("get");
    match body {
        Some(body) => {
            expect(&response, 200, "");
            assert!(
                response.body == body,
                "{key}: {} bytes are not the {} expected",
                response.body.len(),
                body.len()
            );
        }
        None => expect(&response, 404, "NoSuchKey"),
    }
}

// Uploads.

#[test]
fn every_payload_form_stores_the_bytes_and_nothing_else() {
    let mut client = bucket("forms");
    for len in sizes::all().filter(|len| *len <= 5 * MIB + 1) {
        for form in Payload::ALL {
            if MIB + 1 < len && form != Payload::Chunked {
                continue;
            }
            for transfer_chunked in [false, true] {
                if transfer_chunked && matches!(form, Payload::Unsigned | Payload::Signed) {
                    continue;
                }
                let key = format!("{form:?}/{transfer_chunked}/{len}");
                let body = payload(&key, 1, len);
                let mut call = Call::object("PUT", "forms", &key).body(&body).payload(form);
                if transfer_chunked {
                    call = call.transfer_chunked();
                }
                let response = client.send(&call).expect("put");
                assert_eq!(response.status, 200, "{key}: {}", response.text());
                assert_eq!(response.etag(), md5_etag(&body), "{key}");
                let got = client.get("forms", &key).expect("get");
                assert_eq!(
                    (got.status, got.body.len(), verify(&got.body, &key, 1)),
                    (200, len, Ok(())),
                    "{key}"
                );
                assert_eq!(got.header("content-encoding"), None, "{key}: framing leaked into metadata");
            }
        }
    }
}

#[test]
fn content_encoding_keeps_all_but_aws_chunked() {
    let mut client = bucket("encodings");
    let call = Call::object("PUT", "encodings", "k").body(b"abc").payload(Payload::UnsignedTrailer);
    expect(&client.send(&call.header("content-encoding", "gzip,aws-chunked")).expect("put"), 200, "");
    let got = client.head("encodings", "k").expect("head");
    assert_eq!(got.header("content-encoding"), Some("gzip"));
}

/// Encodes a streaming PUT of `body`, lets `spoil` change its framed bytes, and sends it.
fn spoiled(
    client: &mut Client,
    bucket: &str,
    form: Payload,
    body: &[u8],
    spoil: impl Fn(&mut Vec<u8>),
) -> Response {
    let call = Call::object("PUT", bucket, "k").body(body).payload(form);
    let Encoded { head, body } = client.encode(&call);
    let mut framed = body.into_owned();
    let before = framed.len();
    spoil(&mut framed);
    let head = String::from_utf8(head).expect("ASCII");
    let head = head
        .replace(&format!("content-length: {before}\r\n"), &format!("content-length: {}\r\n", framed.len()));
    let bytes = [head.as_bytes(), &framed].concat();
    client.exchange(&bytes, "PUT").expect("an answer").0
}

fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the part to be replaced");
    bytes.splice(at..at + from.len(), to.iter().copied());
}

#[test]
fn malformed_chunk_framing_stores_nothing() {
    let mut client = bucket("chunks");
    let body = payload("k", 9, 70_000);
    let kept = b"what was there";
    expect(&client.put("chunks", "k", kept).expect("put"), 200, "");
    type Spoil = fn(&mut Vec<u8>);
    let table: &[(&str, Payload, Spoil)] = &[
        ("size is not hex", Payload::Chunked, |bytes| replace(bytes, b"10000;", b"1000g;")),
        ("size is empty", Payload::Chunked, |bytes| replace(bytes, b"10000;", b";")),
        ("size is negative", Payload::Chunked, |bytes| replace(bytes, b"10000;", b"-1;")),
        ("size overflows", Payload::Chunked, |bytes| {
            replace(bytes, b"10000;", b"fffffffffffffffffffff;");
        }),
        ("size beyond what is declared", Payload::Chunked, |bytes| replace(bytes, b"10000;", b"90000;")),
        ("size too small", Payload::Chunked, |bytes| replace(bytes, b"10000;", b"0ffff;")),
        ("no signature", Payload::Chunked, |bytes| replace(bytes, b";chunk-signature=", b";signature=")),
        ("signature is not hex", Payload::Chunked, |bytes| {
            let at = bytes.iter().position(|byte| *byte == b'=').expect("a signature") + 1;
            bytes[at] = b'x';
        }),
        ("no end of line after the data", Payload::UnsignedTrailer, |bytes| {
            let at = 7 + 65_536;
            bytes.drain(at..at + 2);
        }),
        ("no last chunk", Payload::Chunked, |bytes| {
            let at = bytes.windows(4).rposition(|window| window == b"\r\n0;").expect("a last chunk");
            bytes.truncate(at + 2);
        }),
        ("no last chunk, unsigned", Payload::UnsignedTrailer, |bytes| {
            let at = bytes.windows(5).rposition(|window| window == b"\r\n0\r\n").expect("a last chunk");
            bytes.truncate(at + 2);
        }),
        ("head line without end", Payload::Chunked, |bytes| {
            bytes.clear();
            bytes.extend(std::iter::repeat_n(b'1', 40_000));
        }),
        ("not chunked at all", Payload::UnsignedTrailer, |bytes| {
            bytes.clear();
            bytes.extend_from_slice(b"plain bytes without any framing whatever");
        }),
        ("empty", Payload::Chunked, Vec::clear),
    ];
    for (what, form, spoil) in table {
        let response = spoiled(&mut client, "chunks", *form, &body, spoil);
        assert!((400..500).contains(&response.status), "{what}: {} {}", response.head, response.text());
        assert!(!response.code().is_empty(), "{what}: no error code in {}", response.text());
        expect_object(&mut client, "chunks", "k", Some(kept));
    }
    assert_eq!(client.list("chunks", &[]).expect("list").entries.len(), 1);
}

#[test]
fn wrong_chunk_and_trailer_signatures_are_refused() {
    let mut client = bucket("chunk-signatures");
    let body = payload("k", 9, 70_000);
    let flip = |bytes: &mut Vec<u8>, at: usize| bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    for (what, which) in [("first", 0), ("second", 1), ("last", 2)] {
        let response = spoiled(&mut client, "chunk-signatures", Payload::Chunked, &body, |bytes| {
            let starts: Vec<usize> =
                (0..bytes.len() - 17).filter(|at| &bytes[*at..at + 17] == b";chunk-signature=").collect();
            flip(bytes, starts[which] + 17 + 5);
        });
        assert_eq!((response.status, response.code().as_str()), (403, "SignatureDoesNotMatch"), "{what}");
    }
    let changed = spoiled(&mut client, "chunk-signatures", Payload::Chunked, &body, |bytes| bytes[1000] ^= 1);
    expect(&changed, 403, "SignatureDoesNotMatch");
    let trailer = spoiled(&mut client, "chunk-signatures", Payload::ChunkedTrailer, &body, |bytes| {
        let end = bytes.len();
        flip(bytes, end - 10);
    });
    expect(&trailer, 403, "SignatureDoesNotMatch");
    expect_object(&mut client, "chunk-signatures", "k", None);
}

#[test]
fn trailers_are_verified() {
    let mut client = bucket("trailers");
    let body = payload("k", 3, 70_000);
    let right = crc32_base64(&body);
    let wrong = crc32_base64(b"other");
    let form = Payload::UnsignedTrailer;
    let bad_value = spoiled(&mut client, "trailers", form, &body, |bytes| {
        replace(bytes, right.as_bytes(), wrong.as_bytes());
    });
    expect(&bad_value, 400, "BadDigest");
    let missing = spoiled(&mut client, "trailers", form, &body, |bytes| {
        let line = format!("x-amz-checksum-crc32:{right}\r\n");
        replace(bytes, line.as_bytes(), b"");
    });
    expect_one_of(&missing, &[(400, "MalformedTrailerError"), (400, "InvalidRequest")], "missing trailer");
    let undeclared = spoiled(&mut client, "trailers", form, &body, |bytes| {
        replace(bytes, b"x-amz-checksum-crc32:", b"x-amz-checksum-sha256:");
    });
    expect_one_of(
        &undeclared,
        &[(400, "MalformedTrailerError"), (400, "InvalidRequest")],
        "undeclared trailer",
    );
    expect_object(&mut client, "trailers", "k", None);
}

#[test]
fn checksum_headers_are_verified_kept_and_returned() {
    let mut client = bucket("checksums");
    let body = payload("k", 1, 200_000);
    type Sum = fn(&[u8]) -> String;
    let table: &[(&str, Sum)] = &[
        ("x-amz-checksum-crc32", crc32_base64),
        ("x-amz-checksum-crc32c", crc32c_base64),
        ("x-amz-checksum-crc64nvme", crc64nvme_base64),
        ("x-amz-checksum-sha256", sha256_base64),
    ];
    for (name, sum) in table {
        let put = |client: &mut Client, value: String| {
            let call = Call::object("PUT", "checksums", name).body(&body).header(name, value);
            client.send(&call).expect("put")
        };
        expect(&put(&mut client, sum(b"other")), 400, "BadDigest");
        expect(&put(&mut client, "not base64!".to_owned()), 400, "InvalidRequest");
        expect(&put(&mut client, "AAAA".to_owned()), 400, "InvalidRequest");
        expect_object(&mut client, "checksums", name, None);
        expect(&put(&mut client, sum(&body)), 200, "");
        let call = Call::object("HEAD", "checksums", name).header("x-amz-checksum-mode", "ENABLED");
        let head = client.send(&call).expect("head");
        assert_eq!(head.header(name), Some(sum(&body).as_str()), "{name}");
        assert_eq!(client.head("checksums", name).expect("head").header(name), None, "{name}: not asked for");
    }
}

#[test]
fn content_md5_and_payload_hash_are_verified() {
    let mut client = bucket("digests");
    let put = |client: &mut Client, name: &str, value: &str| {
        let call = Call::object("PUT", "digests", "k").body(b"body").payload(Payload::Signed);
        client.send(&call.header(name, value)).expect("put")
    };
    expect(&put(&mut client, "content-md5", &md5_base64(b"other")), 400, "BadDigest");
    for malformed in ["", "AAAA", "not base64 at all!", "1B2M2Y8AsgTpgAmY7PhCfg"] {
        expect(&put(&mut client, "content-md5", malformed), 400, "InvalidDigest");
    }
    expect_object(&mut client, "digests", "k", None);
    expect(&put(&mut client, "content-md5", &md5_base64(b"body")), 200, "");

    // A hash that is signed but is not that of the body.
    let encoded = client.encode(&Call::object("PUT", "digests", "h").body(b"body").payload(Payload::Signed));
    let bytes = [&encoded.head[..], b"BODY"].concat();
    expect(&client.exchange(&bytes, "PUT").expect("an answer").0, 400, "XAmzContentSHA256Mismatch");
    expect_object(&mut client, "digests", "h", None);
}

#[test]
fn truncated_bodies_change_nothing() {
    let mut client = bucket("truncated");
    let kept = payload("k", 1, 3000);
    expect(&client.put("truncated", "k", &kept).expect("put"), 200, "");
    for len in [100, 100_000, 300 * KIB, 6 * MIB] {
        for form in [Payload::Unsigned, Payload::Signed, Payload::Chunked, Payload::UnsignedTrailer] {
            for key in ["k", "new"] {
                let body = payload(key, 2, len);
                let bytes =
                    client.encode(&Call::object("PUT", "truncated", key).body(&body).payload(form)).bytes();
                let mut raw = client.raw().expect("connect");
                // The server may refuse and close before all is written.
                let _written = raw.write(&bytes[..bytes.len() - 50]);
                drop(raw);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    expect_object(&mut client, "truncated", "k", Some(&kept));
    expect_object(&mut client, "truncated", "new", None);

    // Half-closed: the server can still say why.
    let bytes = client.encode(&Call::object("PUT", "truncated", "new").body(&kept)).bytes();
    let mut raw = client.raw().expect("connect");
    raw.write(&bytes[..bytes.len() - 50]).expect("write");
    raw.shut_write().expect("shut down");
    if let Ok(response) = raw.read("PUT") {
        expect(&response, 400, "IncompleteBody");
    }
    expect_object(&mut client, "truncated", "new", None);
}

#[test]
fn lengths_must_be_declared_and_true() {
    let mut client = bucket("lengths");
    let encoded = client.encode(&Call::object("PUT", "lengths", "k").body(b"body"));
    let head = String::from_utf8(encoded.head).expect("ASCII");
    let without = head.replace("content-length: 4\r\n", "");
    expect(&client.exchange(without.as_bytes(), "PUT").expect("an answer").0, 411, "MissingContentLength");
    for wrong in
        ["content-length: -4\r\n", "content-length: four\r\n", "content-length: 4\r\ncontent-length: 5\r\n"]
    {
        let bytes = [head.replace("content-length: 4\r\n", wrong).as_bytes(), b"body"].concat();
        let (response, _) = client.exchange(&bytes, "PUT").expect("an answer");
        assert_eq!(response.status, 400, "{wrong:?}: {}", response.text());
    }
    // The body never comes: the refusal must not wait for it.
    let huge = head.replace("content-length: 4\r\n", "content-length: 6000000000000\r\n");
    let from = Instant::now();
    expect(&client.exchange(huge.as_bytes(), "PUT").expect("an answer").0, 400, "EntityTooLarge");
    assert!(from.elapsed() < Duration::from_secs(5), "refused after {:?}", from.elapsed());

    // The decoded length is part of the promise of a streaming body.
    for declared in ["99", "3", "-1", "x", ""] {
        let call = Call::object("PUT", "lengths", "k").body(b"body").payload(Payload::UnsignedTrailer);
        let response = client.send(&call.header("x-amz-decoded-content-length", declared)).expect("put");
        assert!((400..500).contains(&response.status), "{declared:?}: {}", response.text());
    }
    expect_object(&mut client, "lengths", "k", None);
}

#[test]
fn oversized_heads_are_refused_and_closed() {
    let client = server().client();
    let long = "x".repeat(70 * KIB);
    let many: String = (0..3000).map(|at| format!("x-h{at}: {at:020}\r\n")).collect();
    for head in [
        format!("GET / HTTP/1.1\r\nhost: h\r\nx-long: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: h\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: h\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: h\r\nx-endless: {long}{long}"),
    ] {
        // A server that closes while we write may lose its answer on the way; it must not hang.
        if let Ok((response, mut raw)) = client.exchange(head.as_bytes(), "GET") {
            assert!((400..500).contains(&response.status), "{}", response.head);
            assert!(raw.is_closed_within(Duration::from_secs(5)), "still open after an oversized head");
        }
    }
    for nonsense in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut raw = client.raw().expect("connect");
        raw.write(nonsense.as_bytes()).expect("write");
        if let Ok(response) = raw.read("GET") {
            assert!((400..600).contains(&response.status), "{nonsense:?}: {}", response.head);
        }
    }
    expect(&server().client().send(&Call::get("/healthz").unsigned()).expect("alive"), 200, "");
}

#[test]
fn expect_100_continue() {
    let mut client = bucket("expect");
    let body = payload("k", 1, 200_000);
    let encoded =
        client.encode(&Call::object("PUT", "expect", "k").body(&body).header("expect", "100-continue"));
    let mut raw = client.raw().expect("connect");
    raw.write(&encoded.head).expect("write");
    assert_eq!(raw.read_any_head().expect("interim answer").status, 100);
    raw.write(&encoded.body).expect("write");
    expect(&raw.read("PUT").expect("final answer"), 200, "");
    expect_object(&mut client, "expect", "k", Some(&body));

    // Refused before the body: no invitation to send it.
    let mut stranger = Client::new(client.address, "nobody", "nothing");
    let call = Call::object("PUT", "expect", "k").body(&body).header("expect", "100-continue");
    let encoded = stranger.encode(&call);
    let mut raw = client.raw().expect("connect");
    raw.write(&encoded.head).expect("write");
    assert_eq!(raw.read_any_head().expect("an answer").status, 403);
}

// Framing and connections.

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

#[test]
fn presigned_urls_hold_for_what_was_signed_only() {
    let mut client = bucket("presigned");
    expect(&client.put("presigned", "k", b"secret").expect("put"), 200, "");
    expect(&client.put("presigned", "other", b"other").expect("put"), 200, "");
    let now = client.amz_date();
    let get = client.presign("GET", "/presigned/k", &[], &now, 60);
    let put = client.presign("PUT", "/presigned/new", &[("x-amz-meta-a", "1")], &now, 60);
    let fetch = |method: &str, target: &str, headers: &str, body: &str| {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let host = server().address();
        let request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}");
        server().client().exchange(request.as_bytes(), method).expect("an answer").0
    };
    let good = fetch("GET", &get, "", "");
    assert_eq!((good.status, good.text().as_str()), (200, "secret"), "{}", good.text());
    expect(&fetch("PUT", &put, "", "body"), 200, "");
    assert_eq!(client.head("presigned", "new").expect("head").header("x-amz-meta-a"), Some("1"));
    expect(&client.delete("presigned", "new").expect("delete"), 204, "");

    let day = &now[..8];
    let secret_of_signature = get.rsplit('=').next().expect("it comes last").to_owned();
    let flipped = if secret_of_signature.starts_with('0') { '1' } else { '0' };
    let broken = format!("{flipped}{}", &secret_of_signature[1..]);
    for (what, from, to) in [
        ("key", "/presigned/k?", "/presigned/other?".to_owned()),
        ("bucket", "/presigned/k?", "/credentials/k?".to_owned()),
        ("life", "X-Amz-Expires=60", "X-Amz-Expires=600".to_owned()),
        ("date", now.as_str(), format!("{day}T000000Z")),
        ("region", "us-east-1", "eu-west-1".to_owned()),
        ("service", "%2Fs3%2F", "%2Fs3tables%2F".to_owned()),
        ("access key", nilas_tests::server::ACCESS_KEY, "somebody".to_owned()),
        ("signed headers", "SignedHeaders=host", "SignedHeaders=date".to_owned()),
        ("signature", secret_of_signature.as_str(), broken),
        ("no signature", secret_of_signature.as_str(), String::new()),
        ("algorithm", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1".to_owned()),
        ("a parameter more", "?", "?versionId=null&".to_owned()),
        ("another answer", "?", "?response-content-type=text%2Fhtml&".to_owned()),
        ("a sub-resource", "?", "?tagging=&".to_owned()),
        ("a parameter twice", "X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=600".to_owned()),
    ] {
        let target = get.replacen(from, &to, 1);
        assert_ne!(target, get, "{what}: nothing was changed");
        let response = fetch("GET", &target, "", "");
        assert!(matches!(response.status, 400 | 403), "{what}: {} {}", response.head, response.text());
        assert!(!response.text().contains("secret"), "{what}");
    }
    for (what, method, target, headers) in [
        ("a read used to write", "PUT", get.clone(), ""),
        ("a read used to delete", "DELETE", get.clone(), ""),
        ("a header that was not signed", "PUT", put.clone(), "x-amz-meta-b: 2\r\n"),
        ("a copy in place of a body", "PUT", put.clone(), "x-amz-copy-source: /presigned/k\r\n"),
        ("metadata changed", "PUT", put.replacen("x-amz-meta-a=1", "x-amz-meta-a=2", 1), ""),
        ("metadata left out", "PUT", put.replacen("&x-amz-meta-a=1", "", 1), ""),
        ("two mechanisms", "GET", get.clone(), "authorization: AWS4-HMAC-SHA256 Credential=a\r\n"),
    ] {
        let response = fetch(method, &target, headers, if method == "PUT" { "evil" } else { "" });
        assert!(matches!(response.status, 400 | 403), "{what}: {} {}", response.head, response.text());
    }
    expect_object(&mut client, "presigned", "k", Some(b"secret"));
    expect_object(&mut client, "presigned", "new", None);

    client.skew_secs = -120;
    let past = client.amz_date();
    let expired = client.presign("GET", "/presigned/k", &[], &past, 60);
    expect(&fetch("GET", &expired, "", ""), 403, "AccessDenied");
    let week = client.presign("GET", "/presigned/k", &[], &now, 7 * 24 * 3600 + 1);
    expect(&fetch("GET", &week, "", ""), 400, "AuthorizationQueryParametersError");
    client.skew_secs = 3600;
    let future = client.amz_date();
    let early = client.presign("GET", "/presigned/k", &[], &future, 60);
    expect(&fetch("GET", &early, "", ""), 403, "AccessDenied");
}

// Credentials.

#[test]
fn credentials() {
    let mut client = bucket("credentials");
    expect(&client.put("credentials", "k", b"secret").expect("put"), 200, "");
    let (access, secret) = server().root_key();
    let call = Call::object("GET", "credentials", "k");
    let send = |access: &str, secret: &str, skew_secs: i64| {
        let mut client = Client::new(server().address(), access, secret);
        client.skew_secs = skew_secs;
        client.send(&call).expect("an answer")
    };
    expect(&send(access, secret, 0), 200, "");
    expect(&send(access, secret, 14 * 60), 200, "");
    expect(&send(access, "wrong", 0), 403, "SignatureDoesNotMatch");
    expect(&send(access, "", 0), 403, "SignatureDoesNotMatch");
    expect(&send("unknown", secret, 0), 403, "InvalidAccessKeyId");
    expect(&send(&access.to_uppercase(), secret, 0), 403, "InvalidAccessKeyId");
    expect(&send(access, secret, -16 * 60), 403, "RequestTimeTooSkewed");
    expect(&send(access, secret, 16 * 60), 403, "RequestTimeTooSkewed");
    expect(&client.send(&call.clone().unsigned()).expect("an answer"), 403, "AccessDenied");

    let date = client.amz_date();
    let scope = format!("{access}/{}/us-east-1/s3/aws4_request", &date[..8]);
    let zeros = "0".repeat(64);
    for (what, value, allowed) in [
        ("empty", String::new(), &[400, 403][..]),
        ("basic", "Basic dXNlcjpwYXNz".to_owned(), &[400, 403]),
        ("bearer", "Bearer xyz".to_owned(), &[400, 401, 403]),
        ("no fields", "AWS4-HMAC-SHA256".to_owned(), &[400]),
        ("no signature", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host"), &[400]),
        (
            "short scope",
            format!("AWS4-HMAC-SHA256 Credential={access}/s3, SignedHeaders=host, Signature={zeros}"),
            &[400],
        ),
        (
            "zeros",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={zeros}"),
            &[400, 403],
        ),
        (
            "host not signed",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=x-amz-date, Signature={zeros}"),
            &[400, 403],
        ),
    ] {
        let call = call.clone().unsigned().header("authorization", value).header("x-amz-date", date.as_str());
        let call = call.header("x-amz-content-sha256", sign::UNSIGNED);
        let response = client.send(&call).expect("an answer");
        assert!(allowed.contains(&response.status), "{what}: {} {}", response.status, response.text());
    }

    // What was signed is what counts: a changed path, query, header or method fails.
    let encoded = client.encode(&call.clone().header("x-amz-meta-a", "1"));
    let text = String::from_utf8(encoded.head).expect("ASCII");
    for (from, to) in [
        ("GET /credentials/k ", "GET /credentials/l "),
        ("GET /credentials/k ", "GET /credentials/k?versions= "),
        ("GET ", "HEAD "),
        ("x-amz-meta-a: 1", "x-amz-meta-a: 2"),
    ] {
        let method = if to == "HEAD " { "HEAD" } else { "GET" };
        let (response, _) = client.exchange(text.replace(from, to).as_bytes(), method).expect("an answer");
        assert_eq!(response.status, 403, "{to}");
    }
}

#[test]
fn nothing_but_health_is_anonymous() {
    let mut client = bucket("anonymous");
    expect(&client.put("anonymous", "k", b"secret").expect("put"), 200, "");
    for path in ["/healthz", "/readyz", "/metrics"] {
        expect(&client.send(&Call::get(path).unsigned()).expect("an answer"), 200, "");
    }
    let metrics = client.send(&Call::get("/metrics").unsigned()).expect("an answer").text();
    assert!(metrics.lines().any(|line| line.starts_with("# TYPE ")), "not Prometheus text: {metrics}");
    for (method, path) in [
        ("GET", "/"),
        ("PUT", "/newbucket"),
        ("GET", "/anonymous"),
        ("HEAD", "/anonymous"),
        ("DELETE", "/anonymous"),
        ("GET", "/anonymous?location"),
        ("GET", "/anonymous?uploads"),
        ("POST", "/anonymous?delete"),
        ("GET", "/anonymous/k"),
        ("HEAD", "/anonymous/k"),
        ("PUT", "/anonymous/k"),
        ("DELETE", "/anonymous/k"),
        ("POST", "/anonymous/k?uploads"),
        ("PUT", "/anonymous/k?partNumber=1&uploadId=0123456789abcdef0123456789abcdef"),
        ("POST", "/anonymous/k?uploadId=0123456789abcdef0123456789abcdef"),
        ("DELETE", "/anonymous/k?uploadId=0123456789abcdef0123456789abcdef"),
        ("GET", "/anonymous/k?uploadId=0123456789abcdef0123456789abcdef"),
        ("GET", "/anonymous/k?attributes"),
        ("GET", "/anonymous/k?acl"),
        ("GET", "/anonymous/k?tagging"),
        ("PUT", "/anonymous/k?acl"),
        ("PUT", "/anonymous/k?frobnicate"),
        ("POST", "/anonymous/k"),
        ("POST", "/anonymous"),
        ("PUT", "/anonymous?policy"),
        ("GET", "/anonymous?policy"),
        ("GET", "/anonymous?acl"),
        ("GET", "/anonymous?versions"),
        ("GET", "/anonymous?list-type=2"),
        ("GET", "/anonymous?versioning"),
        ("GET", "/anonymous?list-type=7"),
        ("GET", "/anonymous/%zz"),
        ("GET", "//"),
        ("GET", "/minio/admin/v3/info"),
        ("GET", "/healthz/x"),
        ("GET", "/healthz/../anonymous/k"),
        ("GET", "/metrics/"),
        ("PUT", "/healthz"),
        ("DELETE", "/metrics"),
        ("GET", "/nosuchbucket/k"),
        ("GET", "/_iceberg/v1/config?warehouse=anonymous"),
        ("GET", "/_iceberg/v1/warehouses"),
        ("POST", "/_iceberg/v1/warehouses"),
        ("GET", "/_iceberg/v1/anonymous/namespaces"),
        ("POST", "/_iceberg/v1/anonymous/namespaces"),
        ("GET", "/_iceberg/v1/anonymous/namespaces/n"),
        ("HEAD", "/_iceberg/v1/anonymous/namespaces/n"),
        ("DELETE", "/_iceberg/v1/anonymous/namespaces/n"),
        ("POST", "/_iceberg/v1/anonymous/namespaces/n/properties"),
        ("GET", "/_iceberg/v1/anonymous/namespaces/n/tables"),
        ("POST", "/_iceberg/v1/anonymous/namespaces/n/tables"),
        ("GET", "/_iceberg/v1/anonymous/namespaces/n/tables/t"),
        ("HEAD", "/_iceberg/v1/anonymous/namespaces/n/tables/t"),
        ("POST", "/_iceberg/v1/anonymous/namespaces/n/tables/t"),
        ("DELETE", "/_iceberg/v1/anonymous/namespaces/n/tables/t"),
        ("GET", "/_iceberg/v1/anonymous/namespaces/n/tables/t/credentials"),
        ("POST", "/_iceberg/v1/anonymous/namespaces/n/register"),
        ("GET", "/_iceberg/v1/anonymous/namespaces/n/views"),
        ("POST", "/_iceberg/v1/anonymous/tables/rename"),
        ("DELETE", "/_iceberg/v1/warehouses/anonymous"),
        ("GET", "/_iceberg"),
        ("GET", "/_iceberg/nothing"),
        ("POST", "/_iceberg/v1/anonymous/transactions/commit"),
        ("GET", "/iceberg/v1/config"),
        ("POST", "/"),
        ("OPTIONS", "/anonymous/k"),
        ("TRACE", "/anonymous/k"),
    ] {
        let response = client.send(&Call::new(method, path).unsigned()).expect("an answer");
        // Not even whether the thing exists, or would be served.
        assert_eq!(response.status, 403, "{method} {path}: {} {}", response.head, response.text());
        assert!(!response.text().contains("secret"), "{method} {path}");
    }
    expect_object(&mut client, "anonymous", "k", Some(b"secret"));
    expect(&client.send(&Call::bucket("HEAD", "newbucket")).expect("head"), 404, "");
}

// Names.

#[test]
fn key_lengths() {
    let mut client = bucket("keylengths");
    for (len, status, code) in
        [(1, 200, ""), (1024, 200, ""), (1025, 400, "KeyTooLongError"), (5000, 400, "KeyTooLongError")]
    {
        let key = "k".repeat(len);
        expect(&client.put("keylengths", &key, b"x").expect("put"), status, code);
    }
    // The limit is on bytes, not characters.
    let wide = "ž".repeat(512);
    expect(&client.put("keylengths", &wide, b"x").expect("put"), 200, "");
    expect(&client.put("keylengths", &format!("{wide}a"), b"x").expect("put"), 400, "KeyTooLongError");
    expect(&client.create_upload("keylengths", &"k".repeat(1025)).expect("create").0, 400, "KeyTooLongError");
    assert_eq!(client.list_all("keylengths", "").expect("list").len(), 3);
}

#[test]
fn bucket_names() {
    let mut client = server().client();
    let (longest, too_long) = ("n".repeat(63), "n".repeat(64));
    for good in ["abc", "a-b", "a.b.c", "123", "0start", longest.as_str()] {
        let response = client.create_bucket(good).expect("create");
        assert_eq!(response.status, 200, "{good}: {}", response.text());
        expect(&client.delete_bucket(good).expect("delete"), 204, "");
    }
    for bad in [
        "ab",
        "a",
        too_long.as_str(),
        "Upper",
        "under_score",
        "-lead",
        "trail-",
        ".lead",
        "trail.",
        "dots..two",
        "192.168.5.4",
        "sp ace",
        "ž123",
        "a/../b",
    ] {
        let response = client.create_bucket(bad).expect("create");
        assert_eq!((response.status, response.code().as_str()), (400, "InvalidBucketName"), "{bad}");
    }
}

#[test]
fn odd_keys_are_ordinary() {
    let mut client = bucket("oddkeys");
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        "./x",
        "../x",
        "..",
        ".",
        "/lead",
        "//",
        "trail/",
        " ",
        "sp ace",
        "plus+plus",
        "100%",
        "%2F",
        "%zz",
        "a&b=c?d#e",
        "<x>&amp;\"'",
        "quote'",
        "back\\slash",
        "tab\there",
        "line\nbreak",
        "ret\rurn",
        "žluťoučký",
        "日本語",
        "😀",
        "~tilde",
        "a:b@c,d;e$f!g*h(i)j",
        "_iceberg/v1/x",
        "healthz",
        "\u{7f}",
        "\u{feff}bom",
        "uploads",
        "key=value",
    ]
    .map(str::to_owned)
    .to_vec();
    for key in &keys {
        let response = client.put("oddkeys", key, key.as_bytes()).expect("put");
        assert_eq!(response.status, 200, "{key:?}: {}", response.text());
    }
    for key in &keys {
        let response = client.get("oddkeys", key).expect("get");
        assert_eq!((response.status, response.text()), (200, key.clone()), "{key:?}");
    }
    keys.sort();
    let plain: Vec<String> =
        client.list_all("oddkeys", "").expect("list").into_iter().map(|e| e.key).collect();
    assert_eq!(plain, keys);
    let page = client.list("oddkeys", &[("encoding-type", "url")]).expect("list");
    // `+` never stands for a blank here, and a plus sign is always encoded.
    let decoded: Vec<String> = page.entries.iter().map(|entry| sign::decode(&entry.key)).collect();
    assert_eq!(decoded, keys);
    let response = client.delete_many("oddkeys", &keys).expect("delete");
    assert_eq!((response.status, xml::blocks(&response.text(), "Deleted").len()), (200, keys.len()));
    assert_eq!(client.list_all("oddkeys", "").expect("list"), []);
}

#[test]
fn subresources_never_store_an_object() {
    let mut client = bucket("subresources");
    expect(&client.put("subresources", "k", b"kept").expect("put"), 200, "");
    for name in [
        "acl",
        "tagging",
        "retention",
        "legal-hold",
        "torrent",
        "restore",
        "attributes",
        "renameObject",
        "select",
        "append",
        "versions",
        "policy",
        "cors",
        "lifecycle",
        "delete",
        "location",
        "encryption",
        "uploads",
        "frobnicate",
    ] {
        // AWS's names for what could be mistaken for the plain request: with and without a value.
        for value in ["", "1"] {
            if name == "frobnicate" && value == "1" {
                continue;
            }
            for (method, key) in [("PUT", "k"), ("PUT", "new"), ("POST", "k"), ("DELETE", "k")] {
                if (method, name) == ("POST", "uploads") {
                    continue;
                }
                let call = Call::object(method, "subresources", key).query(name, value).body(b"<X/>");
                let response = client.send(&call).expect("an answer");
                assert!(400 <= response.status, "{method} {key}?{name}={value}: {}", response.status);
            }
        }
    }
    for name in [
        "acl",
        "cors",
        "lifecycle",
        "policy",
        "versioning",
        "encryption",
        "tagging",
        "website",
        "logging",
        "inventory",
    ] {
        let call = Call::bucket("PUT", "subresources-new").query(name, "").body(b"<X/>");
        let response = client.send(&call).expect("an answer");
        assert!(400 <= response.status, "PUT bucket?{name}: {}", response.status);
    }
    expect(&client.send(&Call::bucket("HEAD", "subresources-new")).expect("head"), 404, "");
    expect_object(&mut client, "subresources", "k", Some(b"kept"));
    expect_object(&mut client, "subresources", "new", None);
    // What SDKs add for themselves is no subresource.
    let call = Call::object("PUT", "subresources", "sdk").query("x-id", "PutObject").body(b"x");
    expect(&client.send(&call).expect("put"), 200, "");
}

#[test]
fn preparation_calls_of_load_generators() {
    let mut client = bucket("prepare");
    let get = |client: &mut Client, name: &str| {
        client.send(&Call::bucket("GET", "prepare").query(name, "")).expect("get")
    };
    expect(&get(&mut client, "versioning"), 200, "");
    expect(&get(&mut client, "location"), 200, "");
    expect(&get(&mut client, "object-lock"), 404, "ObjectLockConfigurationNotFoundError");
    expect(&client.send(&Call::bucket("HEAD", "prepare")).expect("head"), 200, "");
}

// Buckets.

#[test]
fn buckets() {
    let mut client = bucket("buckets");
    expect(&client.create_bucket("buckets").expect("again"), 200, "");
    for (method, key) in [("GET", "k"), ("PUT", "k"), ("DELETE", "k")] {
        let call = Call::object(method, "no-such-bucket", key);
        expect(&client.send(&call).expect("an answer"), 404, "NoSuchBucket");
    }
    expect(&client.list("no-such-bucket", &[]).expect("list").response, 404, "NoSuchBucket");
    expect(&client.delete_bucket("no-such-bucket").expect("delete"), 404, "NoSuchBucket");
    expect(&client.put("buckets", "k", b"").expect("put"), 200, "");
    expect(&client.delete_bucket("buckets").expect("delete"), 409, "BucketNotEmpty");
    let listed = client.send(&Call::get("/")).expect("list buckets").text();
    assert!(xml::all(&listed, "Name").contains(&"buckets".to_owned()), "{listed}");
    expect(&client.delete("buckets", "k").expect("delete"), 204, "");
    expect(&client.delete_bucket("buckets").expect("delete"), 204, "");
    expect(&client.send(&Call::bucket("HEAD", "buckets")).expect("head"), 404, "");
    expect(&client.get("buckets", "k").expect("get"), 404, "NoSuchBucket");
}

// Reads.

#[test]
fn head_errors_have_no_body_and_keep_the_connection() {
    let mut client = bucket("heads");
    for _ in 0..3 {
        let missing = client.head("heads", "missing").expect("head");
        assert_eq!((missing.status, missing.body.len()), (404, 0));
        assert!(missing.header("x-amz-request-id").is_some(), "{}", missing.head);
        expect(&client.put("heads", "k", b"abc").expect("put"), 200, "");
        let head = client.head("heads", "k").expect("head");
        assert_eq!((head.status, head.header("content-length")), (200, Some("3")));
    }
    // Pipelined on one connection: a stray body would be read as the next answer.
    let first = client.encode(&Call::object("HEAD", "heads", "missing")).bytes();
    let second = client.encode(&Call::object("GET", "heads", "k")).bytes();
    let mut raw = client.raw().expect("connect");
    raw.write(&[first, second].concat()).expect("write");
    assert_eq!(raw.read("HEAD").expect("first").status, 404);
    let got = raw.read("GET").expect("second");
    assert_eq!((got.status, got.body.as_slice()), (200, &b"abc"[..]));
}

#[test]
fn ranges() {
    let mut client = bucket("ranges");
    for len in [10, 10_000, 128 * KIB + 1, 300 * KIB, 3 * MIB + 7] {
        let key = len.to_string();
        let body = payload(&key, 1, len);
        expect(&client.put("ranges", &key, &body).expect("put"), 200, "");
        let last = len - 1;
        let middle = len / 2;
        let part = |from: usize, to: usize| Some((206, from, to));
        let whole = Some((200, 0, len));
        for (range, expected) in [
            ("bytes=0-0".to_owned(), part(0, 1)),
            ("bytes=0-".to_owned(), part(0, len)),
            (format!("bytes=1-{last}"), part(1, len)),
            (format!("bytes={middle}-{middle}"), part(middle, middle + 1)),
            (format!("bytes={middle}-"), part(middle, len)),
            (format!("bytes=3-{}", middle + 1), part(3, middle + 2)),
            ("bytes=-1".to_owned(), part(last, len)),
            ("bytes=-8".to_owned(), part(len - 8, len)),
            (format!("bytes=-{len}"), part(0, len)),
            (format!("bytes=-{}", len + 1), part(0, len)),
            (format!("bytes={last}-{}", len + 500), part(last, len)),
            (format!("bytes=0-{}", u64::MAX), part(0, len)),
            (format!("bytes={len}-"), None),
            (format!("bytes={len}-{}", len + 5), None),
            ("bytes=-0".to_owned(), None),
            ("bytes=5-2".to_owned(), whole),
            ("bytes=a-b".to_owned(), whole),
            ("bytes=".to_owned(), whole),
            ("bytes=-".to_owned(), whole),
            ("items=0-1".to_owned(), whole),
            ("bytes=0-1,4-5".to_owned(), whole),
        ] {
            let call = Call::object("GET", "ranges", &key).header("range", range.as_str());
            let got = client.send(&call).expect("get");
            let Some((status, from, to)) = expected else {
                assert_eq!((got.status, got.code().as_str()), (416, "InvalidRange"), "{len} {range}");
                continue;
            };
            assert_eq!((got.status, got.body.len()), (status, to - from), "{len} {range}");
            assert!(got.body == body[from..to], "{len} {range}: wrong bytes");
            let content_range = (status == 206).then(|| format!("bytes {from}-{}/{len}", to - 1));
            assert_eq!(got.header("content-range"), content_range.as_deref(), "{len} {range}");
            let call = Call::object("HEAD", "ranges", &key).header("range", range.as_str());
            let head = client.send(&call).expect("head");
            let length = (to - from).to_string();
            assert_eq!(
                (head.status, head.header("content-length")),
                (status, Some(length.as_str())),
                "{len} {range}"
            );
        }
    }
    expect(&client.put("ranges", "empty", b"").expect("put"), 200, "");
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
        let call = Call::object("GET", "ranges", "empty").header("range", range);
        expect(&client.send(&call).expect("get"), 416, "InvalidRange");
    }
}

#[test]
fn conditional_reads() {
    let mut client = bucket("conditional-reads");
    let put = client.put("conditional-reads", "k", b"body").expect("put");
    let etag = put.etag();
    let bare = etag.trim_matches('"').to_owned();
    let modified =
        client.head("conditional-reads", "k").expect("head").header("last-modified").map(str::to_owned);
    let modified = modified.expect("every object has a modification time");
    let (old, other) = ("Sat, 01 Jan 2000 00:00:00 GMT", "\"00000000000000000000000000000000\"");
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("if-match", &etag)], 200),
        (&[("if-match", &bare)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", other)], 412),
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", &bare)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", other)], 200),
        (&[("if-modified-since", &modified)], 304),
        (&[("if-modified-since", old)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        (&[("if-unmodified-since", &modified)], 200),
        (&[("if-unmodified-since", old)], 412),
        (&[("if-match", &etag), ("if-unmodified-since", old)], 200),
        (&[("if-match", other), ("if-unmodified-since", &modified)], 412),
        (&[("if-none-match", &etag), ("if-modified-since", old)], 304),
        (&[("if-none-match", other), ("if-modified-since", &modified)], 200),
    ];
    for method in ["GET", "HEAD"] {
        for (headers, status) in table {
            let mut call = Call::object(method, "conditional-reads", "k");
            for (name, value) in *headers {
                call = call.header(name, *value);
            }
            let got = client.send(&call).expect("an answer");
            assert_eq!(got.status, *status, "{method} {headers:?}");
            if *status == 304 {
                assert_eq!((got.etag(), got.body.len()), (etag.clone(), 0), "{method} {headers:?}");
            }
            if *status == 412 && method == "GET" {
                assert_eq!(got.code(), "PreconditionFailed", "{headers:?}");
            }
        }
    }
}

#[test]
fn conditional_writes() {
    let mut client = bucket("conditional-writes");
    let put = |client: &mut Client, key: &str, name: &str, value: &str, body: &[u8]| {
        client
            .send(&Call::object("PUT", "conditional-writes", key).header(name, value).body(body))
            .expect("put")
    };
    let large = payload("large", 1, 300 * KIB);
    for body in [&b"first"[..], &large] {
        let key = format!("k{}", body.len());
        expect(&put(&mut client, &key, "if-match", &md5_etag(b""), body), 404, "NoSuchKey");
        expect(&put(&mut client, &key, "if-none-match", "*", body), 200, "");
        expect(&put(&mut client, &key, "if-none-match", "*", b"second"), 412, "PreconditionFailed");
        expect(
            &put(&mut client, &key, "if-match", &md5_etag(b"other"), b"second"),
            412,
            "PreconditionFailed",
        );
        expect_object(&mut client, "conditional-writes", &key, Some(body));
        expect(&put(&mut client, &key, "if-match", &md5_etag(body), b"third"), 200, "");
        expect_object(&mut client, "conditional-writes", &key, Some(b"third"));
        expect(&client.delete("conditional-writes", &key).expect("delete"), 204, "");
        expect(&put(&mut client, &key, "if-none-match", "*", b"fourth"), 200, "");
    }
    let (_, upload) = client.create_upload("conditional-writes", "k5").expect("create");
    let part = client.put_part("conditional-writes", "k5", &upload, 1, b"part").expect("part");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        xml::escape(&part.etag())
    );
    let call = Call::object("POST", "conditional-writes", "k5").query("uploadId", upload.as_str());
    let call = call.header("if-none-match", "*").body(body.as_bytes());
    expect(&client.send(&call).expect("complete"), 412, "PreconditionFailed");
    expect_object(&mut client, "conditional-writes", "k5", Some(b"fourth"));
}

#[test]
fn one_winner_per_contested_key() {
    let client = bucket("contested");
    for len in [1000, 300 * KIB] {
        for round in 0..10 {
            let key = format!("{len}/{round}");
            let winners: Vec<u64> = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..8u64)
                    .map(|racer| {
                        let (mut client, key) = (client.clone(), &key);
                        scope.spawn(move || {
                            let body = payload(key, racer, len);
                            let call = Call::object("PUT", "contested", key).header("if-none-match", "*");
                            let response = client.send(&call.body(&body)).expect("put");
                            expect_one_of(
                                &response,
                                &[
                                    (200, ""),
                                    (412, "PreconditionFailed"),
                                    (409, "ConditionalRequestConflict"),
                                ],
                                key,
                            );
                            (response.status == 200).then_some(racer)
                        })
                    })
                    .collect();
                tries.into_iter().filter_map(|racer| racer.join().expect("no racer panics")).collect()
            });
            assert_eq!(winners.len(), 1, "{key}");
            let got = client.clone().get("contested", &key).expect("get");
            assert_eq!(verify(&got.body, &key, winners[0]), Ok(()), "{key}");
        }
    }
}

// Deletes, lists, copies.

#[test]
fn deletes() {
    let mut client = bucket("deletes");
    for _ in 0..2 {
        expect(&client.delete("deletes", "never").expect("delete"), 204, "");
    }
    expect(&client.put("deletes", "k", b"x").expect("put"), 200, "");
    for _ in 0..2 {
        expect(&client.delete("deletes", "k").expect("delete"), 204, "");
        expect_object(&mut client, "deletes", "k", None);
    }
    expect(&client.put("deletes", "k", b"x").expect("put"), 200, "");
    let both = ["k".to_owned(), "never".to_owned()];
    let response = client.delete_many("deletes", &both).expect("delete");
    assert_eq!((response.status, xml::blocks(&response.text(), "Deleted").len()), (200, 2));
    expect_object(&mut client, "deletes", "k", None);

    expect(&client.put("deletes", "k", b"x").expect("put"), 200, "");
    let mut post = |body: &[u8], md5: String| {
        let call = Call::bucket("POST", "deletes").query("delete", "").header("content-md5", md5);
        client.send(&call.body(body)).expect("an answer")
    };
    let quiet = b"<Delete><Quiet>true</Quiet><Object><Key>never</Key></Object></Delete>";
    let response = post(quiet, md5_base64(quiet));
    assert_eq!((response.status, xml::blocks(&response.text(), "Deleted").len()), (200, 0));
    let too_many = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(1001));
    for bad in ["", "<Delete>", "{}", "<Delete></Delete>", "<Delete><Object></Object></Delete>", &too_many] {
        let response = post(bad.as_bytes(), md5_base64(bad.as_bytes()));
        assert_eq!(response.status, 400, "{:.80}: {}", bad, response.text());
    }
    let good = b"<Delete><Object><Key>k</Key></Object></Delete>";
    expect(&post(good, md5_base64(b"other")), 400, "BadDigest");
    expect_object(&mut client, "deletes", "k", Some(b"x"));
}

#[test]
fn listings_agree_with_a_sorted_set() {
    let mut client = bucket("listings");
    let mut keys: Vec<String> = (0..150).map(|at| format!("d{}/e{}/k{at:03}", at % 3, at % 7)).collect();
    keys.extend(["a", "d0", "d0-", "d0/", "d00", "z/"].map(str::to_owned));
    for key in &keys {
        expect(&client.put("listings", key, key.as_bytes()).expect("put"), 200, "");
    }
    keys.sort();
    for prefix in ["", "d", "d0", "d0/", "d1/e", "d2/e6/k", "zz", "d0/e0/k000"] {
        for delimiter in ["", "/", "e", "/e"] {
            for start_after in ["", "a", "d0/", "d0/e0/k021", "d1/", "zzz"] {
                for max_keys in ["1", "7", "1000"] {
                    let expected = model_list(&keys, prefix, delimiter, start_after);
                    // A start inside a common prefix: servers differ on whether it is shown.
                    let inside = !start_after.is_empty()
                        && expected.first().is_some_and(|item| item.as_str() <= start_after);
                    if inside || (max_keys == "1" && 40 < expected.len()) {
                        continue;
                    }
                    let got = page_through(&mut client, prefix, delimiter, start_after, max_keys);
                    assert_eq!(got, expected, "{prefix:?} {delimiter:?} {start_after:?} {max_keys}");
                }
            }
        }
    }
    assert_eq!(client.list("listings", &[("max-keys", "0")]).expect("list").entries, []);
    for bad in ["-1", "x", "99999999999999999999"] {
        let response = client.list("listings", &[("max-keys", bad)]).expect("list").response;
        expect(&response, 400, "InvalidArgument");
    }
    expect(
        &client.list("listings", &[("continuation-token", "nonsense!")]).expect("list").response,
        400,
        "InvalidArgument",
    );
}

fn model_list(keys: &[String], prefix: &str, delimiter: &str, start_after: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > start_after) {
        let rolled = (!delimiter.is_empty())
            .then(|| key[prefix.len()..].find(delimiter))
            .flatten()
            .map(|at| key[..prefix.len() + at + delimiter.len()].to_owned());
        let item = rolled.unwrap_or_else(|| key.clone());
        if out.last() != Some(&item) {
            out.push(item);
        }
    }
    out
}

/// Keys and common prefixes of all pages, merged in order.
fn page_through(
    client: &mut Client,
    prefix: &str,
    delimiter: &str,
    start_after: &str,
    max_keys: &str,
) -> Vec<String> {
    let mut out = Vec::new();
    let mut token = String::new();
    loop {
        let mut parameters = vec![("max-keys", max_keys), ("prefix", prefix)];
        for (name, value) in
            [("delimiter", delimiter), ("start-after", start_after), ("continuation-token", token.as_str())]
        {
            if !value.is_empty() {
                parameters.push((name, value));
            }
        }
        let page = client.list("listings", &parameters).expect("list");
        expect(&page.response, 200, "");
        let mut items: Vec<String> =
            page.entries.into_iter().map(|entry| entry.key).chain(page.prefixes).collect();
        assert!(items.len() <= max_keys.parse().expect("a number"), "page over max-keys");
        items.sort();
        out.extend(items);
        match page.next {
            Some(next) => token = next,
            None => return out,
        }
    }
}

#[test]
fn copies() {
    let mut client = bucket("copies");
    for len in [0, 1000, 128 * KIB + 1, 2 * MIB + 3] {
        let body = payload("source key+", 1, len);
        let call = Call::object("PUT", "copies", "source key+").header("x-amz-meta-a", "1").body(&body);
        expect(&client.send(&call).expect("put"), 200, "");
        let source = format!("/copies/{}", sign::encode("source key+", true));
        let call = Call::object("PUT", "copies", "copy").header("x-amz-copy-source", source.as_str());
        let response = client.send(&call).expect("copy");
        assert_eq!((response.status, xml::first(&response.text(), "ETag")), (200, Some(md5_etag(&body))));
        expect_object(&mut client, "copies", "copy", Some(&body));
        assert_eq!(client.head("copies", "copy").expect("head").header("x-amz-meta-a"), Some("1"));
    }
    for (source, status, code) in [
        ("/copies/missing", 404, "NoSuchKey"),
        ("/no-such-bucket/k", 404, "NoSuchBucket"),
        ("copies", 400, "InvalidArgument"),
        ("/copies/copy", 400, "InvalidRequest"),
    ] {
        let call = Call::object("PUT", "copies", "copy").header("x-amz-copy-source", source);
        expect(&client.send(&call).expect("copy"), status, code);
    }
}

// Multipart.

#[test]
fn multipart_rules() {
    let mut client = bucket("multipart");
    let (b, k) = ("multipart", "k");
    let part = payload(k, 1, 5 * MIB);
    let tail = payload(k, 2, 1000);
    let (_, first) = client.create_upload(b, k).expect("create");
    let (_, second) = client.create_upload(b, k).expect("create");
    assert_ne!(first, second, "two uploads of one key have two ids");

    // Parts in any order, one of them twice: the last one sent counts.
    let etag_tail = client.put_part(b, k, &first, 7, &tail).expect("part").etag();
    expect(&client.put_part(b, k, &first, 2, &payload(k, 9, 5 * MIB)).expect("part"), 200, "");
    let etag_part = client.put_part(b, k, &first, 2, &part).expect("part").etag();
    assert_eq!((etag_part.clone(), etag_tail.clone()), (md5_etag(&part), md5_etag(&tail)));
    expect_object(&mut client, b, k, None);
    assert_eq!(client.list(b, &[]).expect("list").entries, []);

    let (two, seven) = ((2, etag_part), (7, etag_tail));
    let wrong = (2, md5_etag(b"other"));
    let missing = (3, md5_etag(b"other"));
    for (parts, code) in [
        (vec![seven.clone(), two.clone()], "InvalidPartOrder"),
        (vec![wrong, seven.clone()], "InvalidPart"),
        (vec![two.clone(), missing, seven.clone()], "InvalidPart"),
        (vec![], "MalformedXML"),
    ] {
        expect(&client.complete(b, k, &first, &parts).expect("complete"), 400, code);
        expect_object(&mut client, b, k, None);
    }
    let call = Call::object("POST", b, k).query("uploadId", first.as_str()).body(b"<Complete");
    expect(&client.send(&call).expect("complete"), 400, "MalformedXML");

    let done = client.complete(b, k, &first, &[two.clone(), seven.clone()]).expect("complete");
    expect(&done, 200, "");
    assert_eq!(xml::first(&done.text(), "ETag"), Some(multipart_etag(&[&part, &tail])));
    let whole = [&part[..], &tail].concat();
    expect_object(&mut client, b, k, Some(&whole));
    assert_eq!(client.head(b, k).expect("head").etag(), multipart_etag(&[&part, &tail]));

    // The second upload of the same key lives on, and replaces the object when it completes.
    let only = client.put_part(b, k, &second, 1, b"small").expect("part").etag();
    let uploads = client.send(&Call::bucket("GET", b).query("uploads", "")).expect("list uploads").text();
    assert_eq!(xml::all(&uploads, "UploadId"), std::slice::from_ref(&second));
    expect(&client.complete(b, k, &second, &[(1, only)]).expect("complete"), 200, "");
    expect_object(&mut client, b, k, Some(b"small"));

    let (_, small) = client.create_upload(b, k).expect("create");
    let one = client.put_part(b, k, &small, 1, b"too small").expect("part").etag();
    let two = client.put_part(b, k, &small, 2, b"last").expect("part").etag();
    expect(&client.complete(b, k, &small, &[(1, one), (2, two)]).expect("complete"), 400, "EntityTooSmall");
    expect(&client.abort(b, k, &small).expect("abort"), 204, "");
    expect(&client.put_part(b, k, &small, 1, b"late").expect("part"), 404, "NoSuchUpload");
    expect(&client.list_parts(b, k, &small).expect("list"), 404, "NoSuchUpload");
    expect(&client.abort(b, k, "no-such-upload").expect("abort"), 404, "NoSuchUpload");
    expect_object(&mut client, b, k, Some(b"small"));

    let (_, numbers) = client.create_upload(b, k).expect("create");
    for (number, status) in [(0, 400), (1, 200), (10_000, 200), (10_001, 400)] {
        let response = client.put_part(b, k, &numbers, number, b"x").expect("part");
        expect(&response, status, if status == 400 { "InvalidArgument" } else { "" });
    }
    let listed = client.list_parts(b, k, &numbers).expect("list").text();
    assert_eq!(xml::all(&listed, "PartNumber"), ["1", "10000"]);
    // An open upload does not keep the bucket, an object does.
    expect(&client.abort(b, k, &numbers).expect("abort"), 204, "");
}

#[test]
fn overwrites_show_the_old_or_the_new_object() {
    let client = bucket("overwrites");
    let lens = [1000, 128 * KIB + 1, 700 * KIB];
    let mut first = client.clone();
    expect(&first.put("overwrites", "k", &payload("k", 0, lens[0])).expect("put"), 200, "");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = client.clone();
            for version in 1..120u64 {
                let body = payload("k", version, lens[version as usize % 3]);
                expect(&client.put("overwrites", "k", &body).expect("put"), 200, "");
            }
        });
        let mut client = client.clone();
        while !writer.is_finished() {
            let got = client.get("overwrites", "k").expect("get");
            assert_eq!(got.status, 200);
            assert!((0..120).any(|version| verify(&got.body, "k", version).is_ok()), "torn read");
            assert_eq!(got.etag(), md5_etag(&got.body));
        }
    });
}
