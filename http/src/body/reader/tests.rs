//! Whole uploads: what headers announce, what arrives, and what is left of it.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

use super::*;
use crate::auth::{KeyStore, RequestView, SigningKeyCache, verify};
use crate::body::hash::checksum_of;

const OPTIONS: BodyOptions =
    BodyOptions { bytes_max: 1 << 20, length_required: true, md5: true, checksum_otherwise: None };

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
        map.append(name, HeaderValue::from_str(value).expect("value"));
    }
    map
}

fn plain() -> Coding {
    Coding::Plain { sha256: None }
}

fn unsigned() -> Coding {
    Coding::Chunked { signer: None, trailers: true }
}

fn take(map: &HeaderMap, coding: Coding, options: BodyOptions, body: &[u8]) -> Result<Received, BodyError> {
    let mut upload = BodyReader::with_coding(map, coding, options)?;
    let mut out = Vec::new();
    upload.feed(Bytes::copy_from_slice(body), &mut out)?;
    upload.finish()
}

fn outcome(pairs: &[(&str, &str)], coding: Coding, body: &[u8]) -> String {
    take(&headers(pairs), coding, OPTIONS, body).map_or_else(|e| e.code().to_owned(), |_| "ok".to_owned())
}

#[test]
fn encodings() {
    let length = ("content-length", "11");
    let decoded = ("x-amz-decoded-content-length", "11");
    let body = b"hello world";
    let sha256 = checksum_of(Algorithm::Sha256, body);
    let hash: [u8; 32] = sha256.as_bytes().try_into().expect("length");
    let signed = || Coding::Plain { sha256: Some(hash) };
    let check = |pairs: &[(&str, &str)], coding: Coding, body: &[u8], expected: &str| {
        assert_eq!(outcome(pairs, coding, body), expected, "{pairs:?}");
    };
    check(&[length], plain(), body, "ok");
    check(&[length, ("x-amz-checksum-crc32", "DUoRhQ==")], plain(), body, "ok");
    check(&[length, ("x-amz-checksum-crc32", "DUoRhQ==")], plain(), b"hello worle", "BadDigest");
    check(&[length, ("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==")], signed(), body, "ok");
    check(&[length, ("content-md5", "XrY7u+Ae7tCTyyK7j1rNww=")], signed(), body, "InvalidDigest");
    check(&[length, ("x-amz-checksum-sha256", &sha256.to_base64())], signed(), body, "ok");
    let other = checksum_of(Algorithm::Sha256, b"").to_base64();
    check(&[length, ("x-amz-checksum-sha256", &other)], signed(), body, "BadDigest");
    check(&[length], signed(), b"hello worle", "XAmzContentSHA256Mismatch");
    check(&[], plain(), body, "MissingContentLength");
    check(&[length], unsigned(), body, "MissingContentLength");
    check(&[("content-length", "1048577")], plain(), body, "EntityTooLarge");
    for value in ["+11", "", "-1", "x", "11 ", "0x11", "1.1"] {
        check(&[("content-length", value)], plain(), body, "MissingContentLength");
        check(&[("x-amz-decoded-content-length", value)], unsigned(), body, "MissingContentLength");
    }
    check(&[length, ("x-amz-trailer", "x-amz-checksum-crc32")], plain(), body, "InvalidRequest");
    let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
    let framed = |value: &str| format!("b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:{value}\r\n\r\n");
    check(&[decoded, trailer], unsigned(), framed("DUoRhQ==").as_bytes(), "ok");
    check(&[decoded, trailer], unsigned(), framed("AAAAAA==").as_bytes(), "BadDigest");
    check(&[decoded, trailer], unsigned(), framed("").as_bytes(), "InvalidRequest");
    check(&[decoded, trailer], unsigned(), b"b\r\nhello world\r\n0\r\n\r\n", "MalformedTrailerError");
    check(&[decoded], unsigned(), framed("DUoRhQ==").as_bytes(), "MalformedTrailerError");
}

#[test]
fn digests_of_what_was_received() {
    let body = b"hello world";
    let map = headers(&[("content-length", "11")]);
    let options = BodyOptions { checksum_otherwise: Some(Algorithm::Crc64Nvme), ..OPTIONS };
    let received = take(&map, plain(), options, body).expect("whole");
    assert_eq!(received.bytes, 11);
    assert_eq!(received.md5.map(hex::encode).as_deref(), Some("5eb63bbbe01eeed093cb22bb8f5acdc3"));
    assert_eq!(received.checksum, Some(checksum_of(Algorithm::Crc64Nvme, body)));
    let hash = checksum_of(Algorithm::Sha256, body);
    let coding = Coding::Plain { sha256: hash.as_bytes().try_into().ok() };
    let options = BodyOptions { md5: false, checksum_otherwise: Some(Algorithm::Sha256), ..OPTIONS };
    let received = take(&map, coding, options, body).expect("whole");
    assert_eq!((received.md5, received.checksum), (None, Some(hash)));
    let open = BodyOptions { length_required: false, bytes_max: 10, ..OPTIONS };
    let error = take(&HeaderMap::new(), plain(), open, body).expect_err("too large");
    assert_eq!(error, BodyError::EntityTooLarge { proposed: 11, max: 10 });
}

#[test]
fn awss_chunk_signer_agrees() {
    const SECRET: &str = "secret";
    struct Keys;
    impl KeyStore for Keys {
        fn secret(
            &self,
            _: &str,
            _: Option<&str>,
            _: u64,
        ) -> Result<std::sync::Arc<str>, crate::auth::KeyFault> {
            Ok(SECRET.into())
        }
    }
    let now_ms = 1_700_000_000_000;
    let identity = Credentials::new("AK", SECRET, None, None, "test").into();
    let settings = |location| {
        let mut settings = aws_sigv4::http_request::SigningSettings::default();
        settings.signature_location = location;
        settings
    };
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
    macro_rules! builder {
        () => {
            v4::SigningParams::builder().identity(&identity).region("eu-north-1").name("s3").time(time)
        };
    }
    for bytes in [0usize, 1, 8192, 65_536, 65_537, 200_000] {
        let payload: Vec<u8> = (0..bytes).map(|i| u8::try_from(i * 7 % 256).expect("byte")).collect();
        let crc = checksum_of(Algorithm::Crc64Nvme, &payload).to_base64();
        let mut map = headers(&[
            ("host", "h:9000"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            ("x-amz-decoded-content-length", &bytes.to_string()),
            ("x-amz-trailer", "x-amz-checksum-crc64nvme"),
        ]);
        let location = aws_sigv4::http_request::SignatureLocation::Headers;
        let params = builder!().settings(settings(location)).build().expect("parameters").into();
        let pairs: Vec<(String, String)> =
            map.iter().map(|(n, v)| (n.to_string(), v.to_str().expect("text").to_owned())).collect();
        let request = aws_sigv4::http_request::SignableRequest::new(
            "PUT",
            "http://h:9000/b/k",
            pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())),
            aws_sigv4::http_request::SignableBody::Precomputed(
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".into(),
            ),
        );
        let signed = aws_sigv4::http_request::sign(request.expect("signable"), &params).expect("signed");
        let (instructions, mut previous) = signed.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            map.insert(name, HeaderValue::from_str(value).expect("value"));
        }
        let params = builder!().settings(()).build().expect("parameters");
        let mut body = Vec::new();
        for piece in payload.chunks(65_536).chain([&[][..]]) {
            let chunk = Bytes::copy_from_slice(piece);
            let next = v4::sign_chunk(&chunk, &previous, &params).expect("chunk").signature().to_owned();
            body.extend_from_slice(format!("{:x};chunk-signature={next}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            if !piece.is_empty() {
                body.extend_from_slice(b"\r\n");
            }
            previous = next;
        }
        let mut trailers = aws_smithy_runtime_api::http::Headers::new();
        trailers.insert("x-amz-checksum-crc64nvme", crc.clone());
        let last = v4::sign_trailer(&trailers, &previous, &params).expect("trailer").signature().to_owned();
        let end = format!("x-amz-checksum-crc64nvme:{crc}\r\nx-amz-trailer-signature:{last}\r\n\r\n");
        body.extend_from_slice(end.as_bytes());

        let view = RequestView { method: "PUT", raw_path: "/b/k", raw_query: "", headers: &map };
        let verified = verify(&view, &Keys, &mut SigningKeyCache::new(), now_ms).expect("seed");
        let mut upload = BodyReader::open(&map, &verified, OPTIONS).expect("headers");
        let mut out = Vec::new();
        for piece in body.chunks(10_007) {
            upload.feed(Bytes::copy_from_slice(piece), &mut out).expect("right");
        }
        let received = upload.finish().expect("right");
        assert_eq!(out.concat(), payload);
        assert_eq!(received.checksum.map(|c| c.to_base64()), Some(crc));
    }
}

#[test]
fn content_md5_of_shared_uploads() {
    use md5::Digest as _;
    let lanes = Md5Lanes::new();
    let bodies: Vec<Bytes> = (0u8..20).map(|i| Bytes::from(vec![i; 200_000 + usize::from(i)])).collect();
    for wrong in 0..bodies.len() {
        let mut uploads: Vec<BodyReader> = (0..)
            .zip(&bodies)
            .map(|(i, body): (usize, _)| {
                let told =
                    if i == wrong { bodies.first().filter(|_| i != 0).unwrap_or(&bodies[1]) } else { body };
                let md5 = STANDARD.encode(md5::Md5::digest(told));
                let map = headers(&[("content-length", &body.len().to_string()), ("content-md5", &md5)]);
                let mut upload = BodyReader::with_coding(&map, plain(), OPTIONS).expect("headers");
                upload.share(&lanes);
                upload
            })
            .collect();
        let mut out = Vec::new();
        for (upload, body) in uploads.iter_mut().zip(&bodies) {
            upload.feed(body.clone(), &mut out).expect("right");
        }
        for (i, (upload, body)) in uploads.into_iter().zip(&bodies).enumerate() {
            match upload.finish() {
                Ok(received) => {
                    assert_ne!(i, wrong);
                    assert_eq!(received.md5, Some(md5::Md5::digest(body).into()));
                }
                Err(error) => assert_eq!((i, error.code()), (wrong, "BadDigest")),
            }
        }
    }
}

#[test]
fn mutations_never_panic() {
    let seeds = [
        "5\r\nhello\r\n0\r\n\r\n",
        "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n",
        "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\n\r\n\r\n",
        "plain",
        "",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below.max(1)
    };
    for round in 0..50_000 {
        let length = [5, 11, 0, 255][random(4)];
        let mut input =
            vec![u8::try_from(random(256)).expect("byte"), length, u8::try_from(random(12)).expect("byte")];
        if random(2) == 0 {
            input[0] = [3, 11, 3 | 4][random(3)];
        }
        input.extend_from_slice(seeds[round % seeds.len()].as_bytes());
        for _ in 0..random(4) {
            let at = random(input.len() + 1);
            match random(4) {
                0 if at < input.len() => input[at] = u8::try_from(random(256)).expect("byte"),
                1 => input.insert(at, b"0f;\r\n:=, -"[random(10)]),
                2 if at < input.len() => drop(input.remove(at)),
                _ => input.truncate(at),
            }
        }
        fuzz_chunked(&input);
    }
}
