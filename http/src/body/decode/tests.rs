//! Framing against AWS's published bodies, cut at every byte, and altered.

use super::*;
use crate::auth::{KeyStore, RequestView, SigningKeyCache, verify};
use http::{HeaderMap, HeaderValue};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW_MS: u64 = 1_369_353_600_000;
const CRC32C: &str = "x-amz-checksum-crc32c";

struct Keys;
impl KeyStore for Keys {
    fn secret(&self, _: &str, _: Option<&str>, _: u64) -> Result<std::sync::Arc<str>, crate::auth::KeyFault> {
        Ok(SECRET.into())
    }
}

/// The head of AWS's example "chunkObject.txt", with its published seed signature.
fn published_head(payload: &'static str, trailer: bool, seed: &str) -> Verified {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("value"));
    };
    add("host", "s3.amazonaws.com");
    add("x-amz-date", "20130524T000000Z");
    add("x-amz-storage-class", "REDUCED_REDUNDANCY");
    add("x-amz-content-sha256", payload);
    add("x-amz-decoded-content-length", "66560");
    add("content-encoding", "aws-chunked");
    let names = if trailer {
        add("x-amz-trailer", CRC32C);
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer"
    } else {
        add("content-length", "66824");
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"
    };
    add(
        "authorization",
        &format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={names},Signature={seed}"
        ),
    );
    let view = RequestView {
        method: "PUT",
        raw_path: "/examplebucket/chunkObject.txt",
        raw_query: "",
        headers: &headers,
    };
    verify(&view, &Keys, &mut SigningKeyCache::new(), NOW_MS).expect("published seed")
}

fn published() -> (Coding, Vec<u8>) {
    let verified = published_head(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        false,
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    );
    let body = framed(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        "\r\n",
    );
    assert_eq!(body.len(), 66_824);
    (Coding::of(&verified), body)
}

fn published_with_trailer(trailer: &str) -> (Coding, Vec<u8>) {
    let verified = published_head(
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        true,
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    );
    let body = framed(
        [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ],
        trailer,
    );
    (Coding::of(&verified), body)
}

const TRAILER_SIGNATURE: &str =
    "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n";

fn framed(signatures: [&str; 3], end: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (signature, bytes) in signatures.into_iter().zip([65_536usize, 1024, 0]) {
        body.extend_from_slice(format!("{bytes:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(std::iter::repeat_n(b'a', bytes));
        if bytes > 0 {
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(end.as_bytes());
    body
}

fn decode_cut(
    coding: &Coding,
    length: PayloadLength,
    names: &[&str],
    pieces: &[&[u8]],
) -> Result<(Vec<u8>, Finished), BodyError> {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    let mut decoder = Decoder::new(coding.clone(), length, names);
    let mut out = Vec::new();
    for piece in pieces {
        decoder.feed(Bytes::copy_from_slice(piece), &mut out)?;
    }
    decoder.finish().map(|finished| (out.concat(), finished))
}

fn decode(
    coding: &Coding,
    bytes: u64,
    names: &[&str],
    body: &[u8],
) -> Result<(Vec<u8>, Finished), BodyError> {
    decode_cut(coding, PayloadLength::Exact(bytes), names, &[body])
}

fn outcome(result: Result<(Vec<u8>, Finished), BodyError>) -> String {
    match result {
        Ok((payload, _)) => String::from_utf8_lossy(&payload).into_owned(),
        Err(error) => error.code().to_owned(),
    }
}

#[test]
fn published_chunks() {
    let (coding, body) = published();
    let (payload, finished) = decode(&coding, 66_560, &[], &body).expect("published");
    assert_eq!((payload, finished.bytes), (vec![b'a'; 66_560], 66_560));
}

#[test]
fn published_trailer() {
    let value = ("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned());
    for trailer in [
        format!("{CRC32C}:sOO8/Q==\r\n{TRAILER_SIGNATURE}\r\n"),
        format!("X-Amz-Checksum-Crc32c: sOO8/Q==\r\n{TRAILER_SIGNATURE}\r\n"),
        format!("{CRC32C}:sOO8/Q==\n\r\n{TRAILER_SIGNATURE}\r\n"),
    ] {
        let (coding, body) = published_with_trailer(&trailer);
        let (_, finished) = decode(&coding, 66_560, &[CRC32C], &body).expect(&trailer);
        assert_eq!(finished.trailers, vec![value.clone()]);
    }
    let check = |trailer: &str, expected: &str| {
        let (coding, body) = published_with_trailer(trailer);
        assert_eq!(outcome(decode(&coding, 66_560, &[CRC32C], &body)), expected, "{trailer:?}");
    };
    check(&format!("{CRC32C}:AAAAAA==\r\n{TRAILER_SIGNATURE}\r\n"), "SignatureDoesNotMatch");
    check(
        &format!("{CRC32C}:sOO8/Q==\r\n{}\r\n", TRAILER_SIGNATURE.replace('d', "e")),
        "SignatureDoesNotMatch",
    );
    check(&format!("{CRC32C}:sOO8/Q==\r\n\r\n"), "MalformedTrailerError");
    check(&format!("{TRAILER_SIGNATURE}{CRC32C}:sOO8/Q==\r\n\r\n"), "SignatureDoesNotMatch");
    check(
        &format!("{CRC32C}:sOO8/Q==\r\n{TRAILER_SIGNATURE}{TRAILER_SIGNATURE}\r\n"),
        "MalformedTrailerError",
    );
    check(&format!("{CRC32C}:sOO8/Q==\r\n{TRAILER_SIGNATURE}"), "IncompleteBody");
    check("\r\n", "MalformedTrailerError");
    check("", "IncompleteBody");
}

#[test]
fn chunks_altered_cut_or_moved() {
    let (coding, body) = published();
    let check = |what: &str, body: &[u8], expected: &str| {
        assert_eq!(outcome(decode(&coding, 66_560, &[], body)), expected, "{what}");
    };
    let first = 65_536 + 85 + 4;
    for at in [200, 65_000, first + 100, first + 1000] {
        let mut altered = body.clone();
        altered[at] ^= 1;
        check("payload", &altered, "SignatureDoesNotMatch");
    }
    let mut altered = body.clone();
    altered[30] = if altered[30] == b'0' { b'1' } else { b'0' };
    check("signature", &altered, "SignatureDoesNotMatch");
    let (a, rest) = body.split_at(body.len() - 86 - 1024 - 84 - 4);
    assert!(rest.starts_with(b"400;chunk"), "{:?}", String::from_utf8_lossy(&rest[..20]));
    let (b, last) = rest.split_at(rest.len() - 86 - 2 + 2);
    check("second chunk gone", &[a, last].concat(), "IncompleteBody");
    check("first chunk gone", &[b, last].concat(), "SignatureDoesNotMatch");
    check("chunks swapped", &[b, a, last].concat(), "SignatureDoesNotMatch");
    check("end gone", &[a, b].concat(), "IncompleteBody");
    check("end twice", &[a, b, last, last].concat(), "IncompleteBody");
    for cut in [1, 2, 3, 80, 90, 1000, 60_000] {
        check("cut", &body[..body.len() - cut], "IncompleteBody");
    }
    // Where the framing breaks, no signature is looked at.
    for (from, to) in [("10000;", "0ffff;"), ("10000;", "0fff0;"), ("10000;", "1000;"), ("10000;", "g;")] {
        let text = body.windows(from.len()).position(|window| window == from.as_bytes()).expect("the head");
        let broken = [&body[..text], to.as_bytes(), &body[text + from.len()..]].concat();
        check(to, &broken, "IncompleteBody");
    }
    let end = a.len() - 2;
    check("no end of line", &[&a[..end], b, last].concat(), "IncompleteBody");
    check("other end of line", &[&a[..end], b"\n\r", b, last].concat(), "IncompleteBody");
    for (bytes, expected) in [(66_559, "IncompleteBody"), (66_561, "IncompleteBody"), (0, "IncompleteBody")] {
        assert_eq!(outcome(decode(&coding, bytes, &[], &body)), expected, "{bytes}");
    }
}

#[test]
fn unsigned_framing() {
    let coding = Coding::Chunked { signer: None, trailers: true };
    let name = "x-amz-checksum-crc32";
    let check = |body: &str, bytes: u64, names: &[&str], expected: &str| {
        assert_eq!(outcome(decode(&coding, bytes, names, body.as_bytes())), expected, "{body:?}");
    };
    check("5\r\nhello\r\n0\r\n\r\n", 5, &[], "hello");
    check("0\r\n\r\n", 0, &[], "");
    check("00005\r\nhello\r\n000\r\n\r\n", 5, &[], "hello");
    check("b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n", 11, &[name], "hello world");
    check("B\r\nhello world\r\n0\r\nX-Amz-Checksum-CRC32: DUoRhQ==\r\n\r\n", 11, &[name], "hello world");
    check("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\n\r\n\r\n", 5, &[name], "hello");
    check("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\n\r\n", 5, &[name], "hello");
    check("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\n\r\n\r\n\r\n", 5, &[name], "IncompleteBody");
    check("5\r\nhello\r\n0\r\n\r\n", 5, &[name], "MalformedTrailerError");
    check("5\r\nhello\r\n0\r\nx-amz-checksum-sha1:a\r\n\r\n", 5, &[name], "MalformedTrailerError");
    check("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\r\n\r\n", 5, &[], "MalformedTrailerError");
    let twice = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:a\r\n\r\n";
    check(twice, 5, &[name], "MalformedTrailerError");
    check("5\r\nhello\r\n0\r\nx-amz-trailer-signature:a\r\n\r\n", 5, &[], "MalformedTrailerError");
    check("5\r\nhello\r\n0\r\nno colon\r\n\r\n", 5, &[name], "MalformedTrailerError");
    check("5\r\nhello\r\n0\r\n:v\r\n\r\n", 5, &[name], "MalformedTrailerError");
    check("5\r\nhello\r\n0\r\n\n", 5, &[], "MalformedTrailerError");
    let long = format!("5\r\nhello\r\n0\r\n{name}:{}\r\n\r\n", "a".repeat(TRAILER_BYTES_MAX));
    check(&long, 5, &[name], "MalformedTrailerError");
    for head in [
        "5\n",
        "\r\n",
        "5 \r\n",
        " 5\r\n",
        "0x5\r\n",
        "+5\r\n",
        "-5\r\n",
        "g\r\n",
        "5;\r\n",
        "5;a=b\r\n",
        "5;chunk-signature=00\r\n",
        "5\r\r\n",
        "10000000000000005\r\n",
        "00000000000000005\r\n",
        "5\0\r\n",
    ] {
        check(&format!("{head}hello\r\n0\r\n\r\n"), 5, &[], "IncompleteBody");
    }
    check(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(CHUNK_LINE_BYTES_MAX)), 5, &[], "IncompleteBody");
    check("5\r\nhello0\r\n\r\n", 5, &[], "IncompleteBody");
    check("5\r\nhello\n0\r\n\r\n", 5, &[], "IncompleteBody");
    check("5\r\nhello\r\n0\r\n\r\nmore", 5, &[], "IncompleteBody");
    check("ffffffffffffffff\r\nhello\r\n", 5, &[], "IncompleteBody");
    check("6\r\nhello!\r\n0\r\n\r\n", 5, &[], "IncompleteBody");
    check("5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", 10, &[], "InvalidChunkSizeError");
    check("", 0, &[], "IncompleteBody");
    let no_trailers = Coding::Chunked { signer: None, trailers: false };
    assert_eq!(outcome(decode(&no_trailers, 5, &[], b"5\r\nhello\r\n0\r\n\r\n")), "hello");
    assert_eq!(outcome(decode(&no_trailers, 5, &[], b"5\r\nhello\r\n0\r\na:b\r\n\r\n")), "IncompleteBody");
}

#[test]
fn signed_chunks_are_bounded() {
    let (coding, _) = published();
    let head = format!("{:x};chunk-signature={}\r\n", SIGNED_CHUNK_BYTES_MAX + 1, "0".repeat(64));
    let error = decode(&coding, 5 << 30, &[], head.as_bytes()).expect_err("too large");
    let (chunk, bytes) = (1, SIGNED_CHUNK_BYTES_MAX + 1);
    assert_eq!(error, BodyError::InvalidChunkSizeError { chunk, bytes });
    for head in ["5\r\n", "5;chunk-signature\r\n", "5;other=00\r\n", "5; chunk-signature=00\r\n"] {
        assert_eq!(outcome(decode(&coding, 5, &[], head.as_bytes())), "IncompleteBody", "{head}");
    }
}

#[test]
fn plain_bodies() {
    let good = Coding::Plain { sha256: Some(Sha256::digest(b"hello").into()) };
    let none = Coding::Plain { sha256: None };
    let check = |coding: &Coding, length, body: &[u8], expected: &str| {
        let got = outcome(decode_cut(coding, length, &[], &[body]));
        assert_eq!(got, expected, "{length:?} {body:?}");
    };
    use PayloadLength::{AtMost, Exact};
    check(&good, Exact(5), b"hello", "hello");
    check(&good, Exact(5), b"hellp", "XAmzContentSHA256Mismatch");
    check(&good, Exact(5), b"hell", "IncompleteBody");
    check(&none, Exact(5), b"hello", "hello");
    check(&none, Exact(0), b"", "");
    check(&none, Exact(5), b"hello!", "IncompleteBody");
    check(&none, AtMost(5), b"hell", "hell");
    check(&none, AtMost(5), b"hello", "hello");
    check(&none, AtMost(5), b"hello!", "EntityTooLarge");
}

#[test]
fn cuts_make_no_difference() {
    let big = "a".repeat(8192);
    let bodies = [
        format!("2000\r\n{big}\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"),
        format!("2000\r\n{big}\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\n\r\n\r\n"),
        format!("2000\r\n{big}\r\n4\r\nabc\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"),
        format!("2000\r\n{big}\r\n3\r\nabc\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n."),
    ];
    let coding = Coding::Chunked { signer: None, trailers: true };
    let length = PayloadLength::Exact(8195);
    for body in &bodies {
        let body = body.as_bytes();
        let whole = decode_cut(&coding, length, &["x-amz-checksum-crc32"], &[body]);
        for at in 0..=body.len() {
            let (a, b) = body.split_at(at);
            assert_eq!(decode_cut(&coding, length, &["x-amz-checksum-crc32"], &[a, b]), whole, "{at}");
        }
        let single: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode_cut(&coding, length, &["x-amz-checksum-crc32"], &single), whole);
    }
    // The signed bodies only around their framing: hashing 64 KiB at each of 67,000 cuts shows nothing more.
    let trailer = format!("{CRC32C}:sOO8/Q==\r\n{TRAILER_SIGNATURE}\r\n");
    for (coding, body, names) in [
        (published().0, published().1, &[][..]),
        (published_with_trailer(&trailer).0, published_with_trailer(&trailer).1, &[CRC32C][..]),
    ] {
        let length = PayloadLength::Exact(66_560);
        let whole = decode_cut(&coding, length, names, &[&body]);
        assert!(whole.is_ok());
        for at in (0..100).chain(65_600..65_730).chain(66_640..body.len()) {
            let (a, b) = body.split_at(at);
            assert_eq!(decode_cut(&coding, length, names, &[a, b]), whole, "{at}");
        }
        let single: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode_cut(&coding, length, names, &single), whole);
    }
}

#[test]
fn payload_is_not_copied() {
    let coding = Coding::Chunked { signer: None, trailers: true };
    let mut decoder = Decoder::new(coding, PayloadLength::Exact(5), Vec::new());
    let input = Bytes::from_static(b"5\r\nhello\r\n0\r\n\r\n");
    let mut out = Vec::new();
    decoder.feed(input.clone(), &mut out).expect("whole");
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), input[3..].as_ptr());
}

#[test]
fn an_error_stays() {
    let coding = Coding::Chunked { signer: None, trailers: true };
    let mut decoder = Decoder::new(coding, PayloadLength::Exact(5), Vec::new());
    let mut out = Vec::new();
    let first = decoder.feed(Bytes::from_static(b"x\r\n"), &mut out).expect_err("no size");
    assert_eq!(decoder.feed(Bytes::from_static(b"5\r\nhello\r\n0\r\n\r\n"), &mut out), Err(first.clone()));
    assert!(out.is_empty());
    assert_eq!(decoder.finish(), Err(first));
}
