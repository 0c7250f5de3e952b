//! Archives that are taken apart on PutObject, and bodies that are refused before they come.

use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::http1::Response;
use nilas_tests::rng::payload;
use nilas_tests::sizes::{KIB, MIB};

use super::{bucket, expect, expect_object};

const BLOCK: usize = 512;

/// A file or directory as tar programs write it.
fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(data);
    block.resize(block.len().next_multiple_of(BLOCK), 0);
    block
}

fn extract(client: &mut Client, at: &str, archive: &[u8], headers: &[(&str, &str)]) -> Response {
    let call = Call::object("PUT", at, "batch.tar").header("x-amz-meta-snowball-auto-extract", "true");
    let call = headers.iter().fold(call.body(archive), |call, (name, value)| call.header(name, *value));
    client.send(&call).expect("archive")
}

#[test]
fn files_become_objects() {
    let mut client = bucket("archives");
    let sizes = [0, 1, 511, 512, 100 * KIB, 128 * KIB + 1, 3 * MIB];
    let files: Vec<(String, Vec<u8>)> =
        sizes.iter().map(|size| (format!("dir/{size}"), payload("archive", 1, *size))).collect();
    let mut archive = member("./dir/", b'5', b"");
    files.iter().for_each(|(name, data)| archive.extend(member(&format!("./{name}"), b'0', data)));
    archive.resize(archive.len() + 2 * BLOCK, 0);
    let headers = [("x-amz-meta-minio-snowball-prefix", "at"), ("x-amz-meta-colour", "red")];
    expect(&extract(&mut client, "archives", &archive, &headers), 200, "");
    for (name, data) in &files {
        expect_object(&mut client, "archives", &format!("at/{name}"), Some(data));
        let head = client.head("archives", &format!("at/{name}")).expect("head");
        assert_eq!(head.header("x-amz-meta-colour"), Some("red"));
        assert_eq!(head.header("x-amz-meta-snowball-auto-extract"), None);
    }
    expect_object(&mut client, "archives", "at/dir/", Some(b""));
    assert_eq!(client.head("archives", "batch.tar").expect("head").status, 404);
    let headers =
        [("x-amz-meta-minio-snowball-prefix", "bare"), ("x-amz-meta-minio-snowball-ignore-dirs", "true")];
    expect(&extract(&mut client, "archives", &archive, &headers), 200, "");
    assert_eq!(client.head("archives", "bare/dir/").expect("head").status, 404);
    expect_object(&mut client, "archives", "bare/dir/1", Some(&files[1].1));
}

#[test]
fn what_breaks_off_says_how_far_it_came() {
    let mut client = bucket("broken-archives");
    let at = "broken-archives";
    let (one, two) = (member("one", b'0', b"1"), member("two", b'0', b"22"));
    let stored = |response: &Response, count: usize| {
        assert!(
            response.text().contains(&format!("<ObjectsStored>{count}</ObjectsStored>")),
            "{}",
            response.text()
        );
    };
    let cut = extract(&mut client, at, &[&one[..], &two[..BLOCK + 1]].concat(), &[]);
    expect(&cut, 400, "InvalidRequest");
    stored(&cut, 1);
    expect_object(&mut client, at, "one", Some(b"1"));
    assert_eq!(client.head(at, "two").expect("head").status, 404);
    let out = [member("../out", b'0', b"x"), two.clone()].concat();
    let refused = extract(&mut client, at, &out, &[]);
    expect(&refused, 400, "InvalidRequest");
    stored(&refused, 0);
    expect(&extract(&mut client, at, &out, &[("x-amz-meta-minio-snowball-ignore-errors", "true")]), 200, "");
    expect_object(&mut client, at, "two", Some(b"22"));
    let gzip = extract(&mut client, at, b"\x1f\x8b\x08\0compressed", &[]);
    expect(&gzip, 400, "InvalidRequest");
    assert!(gzip.text().contains("gzip"), "{}", gzip.text());
    expect(&extract(&mut client, at, &one, &[("if-none-match", "*")]), 501, "NotImplemented");
    expect(&extract(&mut client, at, &one, &[("x-amz-write-offset-bytes", "0")]), 501, "NotImplemented");
}

#[test]
fn no_room_in_the_quota_is_said_before_the_body_comes() {
    let mut client = bucket("early-quota");
    let quota = format!(r#"{{"bucket":"early-quota","quota":{}}}"#, 2 * MIB);
    let set = Call::new("POST", "/_nilas/quotas").body(quota.as_bytes()).payload(Payload::Signed);
    expect(&client.send(&set).expect("quota"), 200, "");
    let body = payload("large", 1, 3 * MIB / 2);
    expect(&client.put("early-quota", "k", &body).expect("put"), 200, "");
    // In its own place there is room, beside it there is none.
    expect(&client.put("early-quota", "k", &body).expect("put"), 200, "");
    let encoded = client.encode(&Call::object("PUT", "early-quota", "other").body(&body)).bytes();
    let begun = encoded.len() - body.len() + 10;
    let mut raw = client.raw().expect("connect");
    raw.write(&encoded[..begun]).expect("write");
    let answer = raw.read("PUT").expect("an answer before the body");
    expect(&answer, 403, "QuotaExceeded");
}
