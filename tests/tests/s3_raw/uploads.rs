//! Bodies of uploads: every form that a payload may come in, and every way in which one can be wrong.

use std::time::{Duration, Instant};

use nilas_tests::client::{
    Call, Client, Encoded, Payload, crc32_base64, crc32c_base64, crc64nvme_base64, md5_base64, md5_etag,
    sha256_base64,
};
use nilas_tests::http1::Response;
use nilas_tests::rng::{payload, verify};
use nilas_tests::sizes::{self, KIB, MIB};

use super::{bucket, expect, expect_object, expect_one_of, server};

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
    for (sent, kept) in [
        ("gzip,aws-chunked", Some("gzip")),
        ("aws-chunked, gzip", Some("gzip")),
        ("deflate, gzip", Some("deflate, gzip")),
        ("aws-chunked,deflate, gzip", Some("deflate, gzip")),
        ("deflate, aws-chunked, gzip", Some("deflate, gzip")),
        ("aws-chunked", None),
    ] {
        expect(&client.send(&call.clone().header("content-encoding", sent)).expect("put"), 200, "");
        let got = client.head("encodings", "k").expect("head");
        assert_eq!(got.header("content-encoding"), kept, "{sent}");
        assert_eq!(client.get("encodings", "k").expect("get").header("content-encoding"), kept, "{sent}");
    }
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
        // Broken framing is no wrong signature, though a signature stands in it.
        let code = if *what == "signature is not hex" { "SignatureDoesNotMatch" } else { "IncompleteBody" };
        assert_eq!(response.code(), code, "{what}: {} {}", response.head, response.text());
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
    let response = raw.read("PUT").expect("an answer");
    expect(&response, 400, "IncompleteBody");
    let text = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    assert_eq!(nilas_tests::xml::first(&response.text(), "Message").as_deref(), Some(text));
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
    for form in [Payload::Chunked, Payload::ChunkedTrailer, Payload::UnsignedTrailer] {
        for (declared, status, code) in [
            ("99", 400, "IncompleteBody"),
            ("3", 400, "IncompleteBody"),
            ("99999999999999", 400, "EntityTooLarge"),
            ("-1", 411, "MissingContentLength"),
            ("+4", 411, "MissingContentLength"),
            ("x", 411, "MissingContentLength"),
            ("4x", 411, "MissingContentLength"),
            ("", 411, "MissingContentLength"),
        ] {
            let call = Call::object("PUT", "lengths", "k").body(b"body").payload(form);
            let response = client.send(&call.header("x-amz-decoded-content-length", declared)).expect("put");
            assert_eq!((response.status, response.code().as_str()), (status, code), "{form:?} {declared:?}");
        }
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

/// Values of `hello world` and of `other`, made with other implementations than the server's.
const SUMS: [(&str, &str, &str); 5] = [
    (
        "sha512",
        "MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
        "4lrDhF+MvhKAGi36WonUxV3EeQDztu3Jqe5ZDzwrkxL2ZdADnJOCi3tY8zlQvIF6CVWpxQAKjT4oBWnwh0XKaA==",
    ),
    ("md5", "XrY7u+Ae7tCTyyK7j1rNww==", "eV8yArF8trw9S3cdjGyerw=="),
    ("xxhash64", "RatnNLIeaWg=", "MCcs6qbmYlo="),
    ("xxhash3", "1Eex6kDmmIs=", "doHjiy3nxYI="),
    ("xxhash128", "340J6T+HSQCpm4d1zBW2xw==", "8aHe0YPt7vLKvREtWLTx6Q=="),
];

#[test]
fn the_five_newer_checksums() {
    let mut client = bucket("newer-checksums");
    let body = b"hello world";
    for (name, right, wrong) in SUMS {
        let header = format!("x-amz-checksum-{name}");
        let put = |key: &str| Call::object("PUT", "newer-checksums", key).body(body);
        let stored = client.send(&put(name).header(&header, right)).expect("put");
        expect(&stored, 200, "");
        assert_eq!(stored.header(&header), Some(right), "{}", stored.head);
        let head = Call::object("HEAD", "newer-checksums", name).header("x-amz-checksum-mode", "ENABLED");
        let head = client.send(&head).expect("head");
        assert_eq!(head.header(&header), Some(right), "{}", head.head);
        assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"), "{}", head.head);
        let told = Call::object("GET", "newer-checksums", name).query("attributes", "");
        let told = client.send(&told.header("x-amz-object-attributes", "Checksum")).expect("attributes");
        let element = format!("<Checksum{}>{right}<", name.to_ascii_uppercase());
        assert!(told.text().contains(&element), "{}", told.text());

        let refused = client.send(&put("bad").header(&header, wrong)).expect("put");
        expect(&refused, 400, "BadDigest");
        let text =
            format!("The {} you specified did not match the calculated checksum.", name.to_ascii_uppercase());
        assert!(refused.text().contains(&text), "{}", refused.text());
        let short = client.send(&put("bad").header(&header, &right[4..])).expect("put");
        expect(&short, 400, "InvalidRequest");
        assert!(short.text().contains(&format!("Value for {header} header is invalid.")), "{}", short.text());

        // As a trailer, and copied with what the source has or made anew.
        for payload in [Payload::UnsignedTrailer, Payload::ChunkedTrailer] {
            let call = Call::object("PUT", "newer-checksums", "trailer").body(body).payload(payload);
            expect(&client.send(&call).expect("put"), 200, "");
        }
        let copy = Call::object("PUT", "newer-checksums", "copy");
        let kept = copy.clone().header("x-amz-copy-source", format!("newer-checksums/{name}"));
        let kept = client.send(&kept).expect("copy");
        assert!(kept.text().contains(&element), "{}", kept.text());
        let made = copy.header("x-amz-copy-source", "newer-checksums/trailer");
        let made = made.header("x-amz-checksum-algorithm", name.to_ascii_uppercase());
        let made = client.send(&made).expect("copy");
        assert!(made.text().contains(&element), "{}", made.text());
        expect_object(&mut client, "newer-checksums", "bad", None);
    }
    let create = Call::object("POST", "newer-checksums", "m").query("uploads", "");
    let create =
        create.header("x-amz-checksum-algorithm", "XXHASH3").header("x-amz-checksum-type", "FULL_OBJECT");
    expect(&client.send(&create).expect("create"), 400, "InvalidRequest");
}

#[test]
fn an_object_that_goes_while_a_conditional_write_comes() {
    let mut client = bucket("raced");
    for size in [64 * KIB, MIB] {
        let body = payload("raced", 1, size);
        let etag = client.put("raced", "k", b"first").expect("put").etag();
        let call = Call::object("PUT", "raced", "k").header("if-match", &etag).body(&body);
        let encoded = client.encode(&call);
        let mut raw = client.raw().expect("a connection");
        raw.write(&encoded.head).expect("the head");
        raw.write(&encoded.body[..size / 2]).expect("half");
        // Its condition holds when its body begins to come.
        assert!(raw.answer_within(Duration::from_millis(300), "PUT").is_none());
        expect(&client.delete("raced", "k").expect("delete"), 204, "");
        raw.write(&encoded.body[size / 2..]).expect("the rest");
        expect(&raw.read("PUT").expect("an answer"), 409, "ConditionalRequestConflict");
        expect_object(&mut client, "raced", "k", None);
        expect(&client.send(&call).expect("put"), 404, "NoSuchKey");
    }
}

#[test]
fn appending() {
    let mut client = bucket("appended");
    let call = |offset: &str| {
        Call::object("PUT", "appended", "k").header("x-amz-write-offset-bytes", offset.to_owned())
    };
    let mut whole = Vec::new();
    for (nth, size) in (0..).zip([3, 0, 100 * KIB, 200 * KIB, 1, MIB]) {
        let piece = payload("appended", nth, size);
        for wrong in [whole.len() + 1, 7 * MIB] {
            let refused = client.send(&call(&wrong.to_string()).body(&piece)).expect("put");
            expect(&refused, 400, "InvalidWriteOffset");
        }
        let sums = crc64nvme_base64(&piece);
        let call = call(&whole.len().to_string()).header("x-amz-checksum-crc64nvme", sums).body(&piece);
        let call = if nth == 0 { call.header("x-amz-meta-a", "1") } else { call };
        let stored = client.send(&call.payload(Payload::Chunked)).expect("put");
        expect(&stored, 200, "");
        whole.extend_from_slice(&piece);
        assert_eq!(stored.header("x-amz-object-size"), Some(whole.len().to_string().as_str()));
        assert_eq!(stored.header("x-amz-checksum-crc64nvme"), Some(crc64nvme_base64(&whole).as_str()));
        assert_eq!(stored.etag(), md5_etag(&whole));
        let got = client.get("appended", "k").expect("get");
        assert!(got.body == whole && got.header("x-amz-meta-a") == Some("1"), "{}", got.head);
    }
    let wrong = call(&whole.len().to_string()).header("x-amz-checksum-crc32", "AAAAAA==").body(b"x");
    expect(&client.send(&wrong).expect("put"), 400, "BadDigest");
    expect_object(&mut client, "appended", "k", Some(&whole));
    for bad in ["", "-1", "x", "1.0", "+0"] {
        expect(&client.send(&call(bad).body(b"x")).expect("put"), 400, "InvalidArgument");
    }
    let absent = Call::object("PUT", "appended", "new").header("x-amz-write-offset-bytes", "5").body(b"x");
    expect(&client.send(&absent).expect("put"), 400, "InvalidWriteOffset");
    let taken = call("0").header("if-none-match", "*").body(b"x");
    expect(&client.send(&taken).expect("put"), 412, "PreconditionFailed");
}

/// What is set for an object while bytes come that are to be appended stays, and the append is refused.
#[test]
fn an_append_undoes_nothing() {
    let mut client = bucket("appended-late");
    let tags = "<Tagging><TagSet><Tag><Key>keep</Key><Value>yes</Value></Tag></TagSet></Tagging>";
    let tagged = Call::object("PUT", "appended-late", "k").query("tagging", "").body(tags.as_bytes());
    let copied = Call::object("PUT", "appended-late", "k")
        .header("x-amz-copy-source", "/appended-late/k")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-keep", "yes");
    for change in [tagged, copied] {
        expect(&client.put("appended-late", "k", b"first").expect("put"), 200, "");
        let call = Call::object("PUT", "appended-late", "k")
            .header("x-amz-write-offset-bytes", "5")
            .body(b"0123456789");
        let encoded = client.encode(&call);
        let mut raw = client.raw().expect("a connection");
        raw.write(&encoded.head).expect("the head");
        raw.write(&encoded.body[..1]).expect("a byte");
        assert!(raw.answer_within(Duration::from_millis(300), "PUT").is_none());
        expect(&client.send(&change).expect("change"), 200, "");
        raw.write(&encoded.body[1..]).expect("the rest");
        expect(&raw.read("PUT").expect("an answer"), 412, "PreconditionFailed");
        expect_object(&mut client, "appended-late", "k", Some(b"first"));
        let tags =
            client.send(&Call::object("GET", "appended-late", "k").query("tagging", "")).expect("tags");
        let head = client.head("appended-late", "k").expect("head");
        let kept = tags.text().contains("<Key>keep</Key>") || head.header("x-amz-meta-keep") == Some("yes");
        assert!(kept, "{} {}", tags.text(), head.head);
        expect(&client.send(&call).expect("append"), 200, "");
        expect_object(&mut client, "appended-late", "k", Some(b"first0123456789"));
    }
}
