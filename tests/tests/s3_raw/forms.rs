//! Forms, byte by byte: what ends early, goes on too long or has no length stores nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::rng::payload;
use nilas_tests::sign::Signer;
use nilas_tests::sizes::KIB;

use super::{bucket, expect, expect_object, server};

/// A signed form for `key`; `conditions` stand beside those that it needs.
fn form(client: &Client, bucket: &str, key: &str, conditions: &str, file: &[u8]) -> Vec<u8> {
    let (access, secret) = server().root_key();
    let mut signer = Signer::new(access, secret, "s3");
    let date = client.amz_date();
    let credential = format!("{access}/{}", signer.scope(&date));
    let policy = format!(
        r#"{{"expiration":"2099-01-01T00:00:00Z","conditions":[{{"bucket":"{bucket}"}},{{"key":"{key}"}},{{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},{{"x-amz-date":"{date}"}}{conditions}]}}"#
    );
    let policy = STANDARD.encode(policy);
    let signature = signer.sign_policy(&date, &policy);
    let fields = [
        ("key", key),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &date),
        ("Policy", &policy),
        ("X-Amz-Signature", &signature),
    ];
    let mut out = Vec::new();
    for (name, value) in fields {
        let field = format!("--bound\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        out.extend_from_slice(field.as_bytes());
    }
    out.extend_from_slice(b"--bound\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
    out.extend_from_slice(file);
    out.extend_from_slice(b"\r\n--bound--\r\n");
    out
}

fn head(bucket: &str, length: &str) -> Vec<u8> {
    let host = server().address();
    format!(
        "POST /{bucket} HTTP/1.1\r\nhost: {host}\r\ncontent-type: multipart/form-data; boundary=bound\r\n{length}\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_form_is_stored_however_it_is_cut() {
    let mut client = bucket("forms-cut");
    for (size, piece) in [(0, 1), (5, 1), (3 * KIB, 7), (128 * KIB, 1000), (200 * KIB + 3, 4096)] {
        let file = payload("form", 1, size);
        let key = format!("{size}");
        let body = form(&client, "forms-cut", &key, "", &file);
        let mut raw = client.raw().expect("a connection");
        raw.write(&head("forms-cut", &format!("content-length: {}", body.len()))).expect("the head");
        for piece in body.chunks(piece) {
            raw.write(piece).expect("a piece");
        }
        expect(&raw.read("POST").expect("an answer"), 204, "");
        expect_object(&mut client, "forms-cut", &key, Some(&file));
        // The connection goes on.
        raw.write(&head("forms-cut", "content-length: 0")).expect("another");
        expect(&raw.read("POST").expect("an answer"), 400, "MalformedPOSTRequest");
    }
}

#[test]
fn what_is_no_whole_form_stores_nothing() {
    let mut client = bucket("forms-broken");
    let file = payload("form", 1, 200 * KIB);
    let body = form(&client, "forms-broken", "k", "", &file);
    let sent = |length: &str, body: &[u8]| {
        let (answer, _) =
            client.exchange(&[&head("forms-broken", length)[..], body].concat(), "POST").expect("an answer");
        answer
    };
    expect(&sent("transfer-encoding: chunked", b"0\r\n\r\n"), 411, "MissingContentLength");
    // Its last boundary, or the end of its file, does not come.
    for cut in [20, 9, 5, 100 * KIB] {
        let body = &body[..body.len() - cut];
        expect(&sent(&format!("content-length: {}", body.len()), body), 400, "MalformedPOSTRequest");
    }
    let long = [&body[..], &vec![b'x'; 21 * KIB]].concat();
    let answer = sent(&format!("content-length: {}", long.len()), &long);
    expect(&answer, 400, "MaxPostPreDataLengthExceededError");
    let mut raw = client.raw().expect("a connection");
    raw.write(&head("forms-broken", &format!("content-length: {}", body.len()))).expect("the head");
    raw.write(&body[..body.len() / 2]).expect("half");
    raw.shut_write().expect("shut");
    expect(&raw.read("POST").expect("an answer"), 400, "IncompleteBody");
    let range = r#",["content-length-range",1,1000]"#;
    let body = form(&client, "forms-broken", "k", range, &file);
    let answer = sent(&format!("content-length: {}", body.len()), &body);
    expect(&answer, 400, "EntityTooLarge");
    expect_object(&mut client, "forms-broken", "k", None);
    let page = client.list("forms-broken", &[]).expect("a page");
    assert!(page.entries.is_empty());
}

#[test]
fn a_signed_head_speaks_for_a_form_without_a_signature() {
    let mut client = bucket("forms-head");
    let body = b"--bound\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--bound\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nbytes\r\n--bound--";
    let call = Call::bucket("POST", "forms-head").body(body);
    let call = call.header("content-type", "multipart/form-data; boundary=bound");
    for payload in [Payload::Unsigned, Payload::Signed] {
        expect(&client.send(&call.clone().payload(payload)).expect("a form"), 204, "");
        expect_object(&mut client, "forms-head", "k", Some(b"bytes"));
    }
    expect(&client.send(&call.unsigned()).expect("a form"), 403, "AccessDenied");
    // Another body than that which was signed.
    let signed = Call::bucket("POST", "forms-head").body(body);
    let signed = signed.header("content-type", "multipart/form-data; boundary=bound");
    let encoded = client.encode(&signed.payload(Payload::Signed));
    let other = String::from_utf8_lossy(&encoded.body).replace("bytes", "other");
    let (answer, _) =
        client.exchange(&[&encoded.head[..], other.as_bytes()].concat(), "POST").expect("an answer");
    expect(&answer, 400, "XAmzContentSHA256Mismatch");
    expect_object(&mut client, "forms-head", "k", Some(b"bytes"));
}
