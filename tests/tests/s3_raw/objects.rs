//! Reads, conditions, contests, overwrites, deletions and copies of objects.

use nilas_tests::client::{Call, Client, md5_base64, md5_etag};
use nilas_tests::rng::{payload, verify};
use nilas_tests::sign;
use nilas_tests::sizes::{KIB, MIB};
use nilas_tests::xml;

use super::{bucket, expect, expect_object, expect_one_of};

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
            ("bytes= -1".to_owned(), whole),
            ("bytes= 1-2".to_owned(), whole),
            ("bytes =1-2".to_owned(), whole),
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
    for range in ["bytes=0-", "bytes=0-0", "bytes=-0"] {
        let call = Call::object("GET", "ranges", "empty").header("range", range);
        expect(&client.send(&call).expect("get"), 416, "InvalidRange");
    }
    // The last bytes of nothing are there.
    for (range, method) in
        [("bytes=-1", "GET"), ("bytes=-1", "HEAD"), ("bytes=-999", "GET"), ("bytes= -1", "GET")]
    {
        let call = Call::object(method, "ranges", "empty").header("range", range);
        let got = client.send(&call).expect("an answer");
        assert_eq!((got.status, got.header("content-length")), (200, Some("0")), "{method} {range}");
        assert_eq!(got.header("content-range"), None, "{method} {range}");
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
