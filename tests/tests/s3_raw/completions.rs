//! What becomes of uploads: repeated completions, checksums of lists and objects, uploads of deleted buckets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nilas_tests::client::{
    Call, Client, Payload, crc32_base64, crc32c_base64, crc64nvme_base64, sha256_base64,
};
use nilas_tests::http1::Response;
use nilas_tests::rng::payload;
use nilas_tests::server::Server;
use nilas_tests::sizes::MIB;
use nilas_tests::xml;

use super::{bucket, expect, expect_object};

/// A part in a list: number, tag, and elements with its checksums.
type Listed<'a> = (i64, &'a str, String);

/// A list, headers, and the code that both together are refused with.
type Refused<'a> = (Vec<Listed<'a>>, Vec<(&'a str, &'a str)>, &'a str);

fn complete(
    client: &mut Client,
    (bucket, key, upload): (&str, &str, &str),
    parts: &[Listed<'_>],
    headers: &[(&str, &str)],
) -> Response {
    let part = |(number, etag, checksums): &Listed<'_>| {
        let etag = xml::escape(etag);
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{checksums}</Part>")
    };
    let list: String = parts.iter().map(part).collect();
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let mut call = Call::object("POST", bucket, key).query("uploadId", upload).body(body.as_bytes());
    for (name, value) in headers {
        call = call.header(name, *value);
    }
    client.send(&call.payload(Payload::Signed)).expect("complete")
}

fn create(client: &mut Client, bucket: &str, key: &str, headers: &[(&str, &str)]) -> String {
    let mut call = Call::object("POST", bucket, key).query("uploads", "");
    for (name, value) in headers {
        call = call.header(name, *value);
    }
    let response = client.send(&call).expect("create");
    expect(&response, 200, "");
    xml::first(&response.text(), "UploadId").expect("an id")
}

fn put_part(
    client: &mut Client,
    (bucket, key, upload): (&str, &str, &str),
    number: u32,
    body: &[u8],
    headers: &[(&str, &str)],
) -> Response {
    let call =
        Call::object("PUT", bucket, key).query("partNumber", number.to_string()).query("uploadId", upload);
    let mut call = call.body(body).payload(Payload::Unsigned);
    for (name, value) in headers {
        call = call.header(name, *value);
    }
    client.send(&call).expect("part")
}

/// The headers that say an object's checksum, without its kind.
fn checksums(response: &Response) -> Vec<(&'static str, String)> {
    let names = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];
    let header =
        |name: &'static str| Some((name, response.header(&format!("x-amz-checksum-{name}"))?.to_owned()));
    names.into_iter().filter_map(header).collect()
}

fn look(client: &mut Client, method: &str, bucket: &str, key: &str, query: &[(&str, &str)]) -> Response {
    let mut call = Call::object(method, bucket, key).header("x-amz-checksum-mode", "ENABLED");
    for (name, value) in query {
        call = call.query(name, *value);
    }
    client.send(&call).expect("look")
}

#[test]
fn a_repeated_completion_gets_its_answer_again() {
    let mut server = Server::fresh();
    let mut client = server.client();
    let (b, k) = ("repeated", "a key/ä");
    expect(&client.create_bucket(b).expect("create bucket"), 200, "");
    let upload = create(&mut client, b, k, &[]);
    let at = (b, k, upload.as_str());
    let (first, second) = (payload(k, 1, 5 * MIB), payload(k, 2, 70));
    let tags =
        [put_part(&mut client, at, 2, &first, &[]).etag(), put_part(&mut client, at, 3, &second, &[]).etag()];
    let list = [(2, tags[0].as_str(), String::new()), (3, tags[1].as_str(), String::new())];
    // The condition is the first request's: the object that it made does not stand in its own way.
    let headers = [("if-none-match", "*"), ("x-amz-mp-object-size", "5242950")];
    let made = complete(&mut client, at, &list, &headers);
    expect(&made, 200, "");
    let whole = [&first[..], &second].concat();
    assert_eq!(xml::first(&made.text(), "ChecksumCRC64NVME"), Some(crc64nvme_base64(&whole)));
    assert_eq!(xml::first(&made.text(), "ChecksumType").as_deref(), Some("FULL_OBJECT"));
    let location = format!("http://{}/repeated/a%20key/%C3%A4", client.address);
    assert_eq!(xml::first(&made.text(), "Location"), Some(location));

    let again = |client: &mut Client| {
        let answer = complete(client, at, &list, &headers);
        expect(&answer, 200, "");
        let values = |response: &Response| {
            ["Bucket", "Key", "ETag", "ChecksumCRC64NVME", "ChecksumType"]
                .map(|tag| xml::first(&response.text(), tag))
        };
        assert_eq!(values(&answer), values(&made));
    };
    again(&mut client);
    expect_object(&mut client, b, k, Some(&whole));
    // Any other request finds no such upload.
    let less = [(2, tags[0].as_str(), String::new())];
    let other = [(2, tags[0].as_str(), String::new()), (4, tags[1].as_str(), String::new())];
    for (list, headers) in [(&less[..], &headers[..]), (&other, &headers), (&list, &[])] {
        expect(&complete(&mut client, at, list, headers), 404, "NoSuchUpload");
    }
    expect(&complete(&mut client, (b, "other", &upload), &list, &headers), 404, "NoSuchUpload");
    expect(&client.abort(b, k, &upload).expect("abort"), 404, "NoSuchUpload");
    expect(&client.list_parts(b, k, &upload).expect("list"), 404, "NoSuchUpload");
    expect(&put_part(&mut client, at, 1, b"late", &[]), 404, "NoSuchUpload");

    // It is answered, not done once more: whatever became of the object since stays.
    expect(&client.put(b, k, b"overwritten").expect("put"), 200, "");
    again(&mut client);
    expect_object(&mut client, b, k, Some(b"overwritten"));
    expect(&client.delete(b, k).expect("delete"), 204, "");
    again(&mut client);
    expect_object(&mut client, b, k, None);

    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.client();
    let at_restart = complete(&mut client, at, &list, &headers);
    expect(&at_restart, 200, "");
    assert_eq!(xml::first(&at_restart.text(), "ETag"), xml::first(&made.text(), "ETag"));
    expect_object(&mut client, b, k, None);

    // What is remembered does not keep the bucket, nor does it go over to the next of that name.
    expect(&client.delete_bucket(b).expect("delete bucket"), 204, "");
    expect(&client.create_bucket(b).expect("create bucket"), 200, "");
    expect(&complete(&mut client, at, &list, &headers), 404, "NoSuchUpload");
}

#[test]
fn uploads_go_with_their_bucket() {
    let mut client = bucket("goes");
    let (b, k) = ("goes", "k");
    let uploads = [create(&mut client, b, k, &[]), create(&mut client, b, "l", &[])];
    let at = (b, k, uploads[0].as_str());
    for number in [1, 2] {
        expect(&put_part(&mut client, at, number, &payload(k, 1, 300_000), &[]), 200, "");
    }
    expect(&client.put(b, "object", b"x").expect("put"), 200, "");
    expect(&client.delete_bucket(b).expect("delete bucket"), 409, "BucketNotEmpty");
    assert_eq!(xml::all(&client.list_parts(b, k, at.2).expect("list").text(), "PartNumber"), ["1", "2"]);
    expect(&client.delete(b, "object").expect("delete"), 204, "");
    expect(&client.delete_bucket(b).expect("delete bucket"), 204, "");
    expect(&put_part(&mut client, at, 3, b"x", &[]), 404, "NoSuchBucket");
    expect(&client.create_bucket(b).expect("create bucket"), 200, "");
    expect(&put_part(&mut client, at, 3, b"x", &[]), 404, "NoSuchUpload");
    let listed = client.send(&Call::bucket("GET", b).query("uploads", "")).expect("list uploads");
    assert_eq!(xml::all(&listed.text(), "UploadId"), Vec::<String>::new());
    expect(&client.delete_bucket(b).expect("delete bucket"), 204, "");
}

#[test]
fn what_a_completion_says_is_held_against_the_parts() {
    let mut client = bucket("lists");
    let (b, k) = ("lists", "k");
    let (first, second) = (payload(k, 1, 5 * MIB), payload(k, 2, 70));
    let whole = [&first[..], &second].concat();
    let element = |name: &str, value: &str| format!("<Checksum{name}>{value}</Checksum{name}>");
    type Sum = fn(&[u8]) -> String;
    let table: &[(&str, &str, Sum, (&str, Sum))] = &[
        ("CRC32", "COMPOSITE", crc32_base64, ("SHA256", sha256_base64)),
        ("CRC32C", "FULL_OBJECT", crc32c_base64, ("CRC32", crc32_base64)),
        ("CRC64NVME", "FULL_OBJECT", crc64nvme_base64, ("CRC32C", crc32c_base64)),
        ("SHA256", "COMPOSITE", sha256_base64, ("CRC64NVME", crc64nvme_base64)),
    ];
    for (name, kind, sum, (other, other_sum)) in table {
        let header = format!("x-amz-checksum-{}", name.to_ascii_lowercase());
        let asked = [("x-amz-checksum-algorithm", *name), ("x-amz-checksum-type", *kind)];
        let upload = create(&mut client, b, k, &asked);
        let at = (b, k, upload.as_str());
        let sums = [sum(&first), sum(&second)];
        let is_composite = *kind == "COMPOSITE";
        let bare = put_part(&mut client, at, 1, b"without", &[]);
        expect(&bare, if is_composite { 400 } else { 200 }, if is_composite { "InvalidRequest" } else { "" });
        let wrong_kind = [(format!("x-amz-checksum-{}", other.to_ascii_lowercase()), other_sum(&second))];
        let wrong_kind = [(wrong_kind[0].0.as_str(), wrong_kind[0].1.as_str())];
        expect(&put_part(&mut client, at, 2, &second, &wrong_kind), 400, "InvalidRequest");
        let tags = [
            put_part(&mut client, at, 1, &first, &[(&header, &sums[0])]).etag(),
            put_part(&mut client, at, 2, &second, &[(&header, &sums[1])]).etag(),
        ];
        let right =
            [(1, tags[0].as_str(), element(name, &sums[0])), (2, tags[1].as_str(), element(name, &sums[1]))];
        let with = |second: String| [right[0].clone(), (2, tags[1].as_str(), second)];
        let missing = if is_composite { "InvalidRequest" } else { "" };
        let wrong = sum(b"other");
        let object = match is_composite {
            true => {
                let raw =
                    sums.iter().flat_map(|sum| STANDARD.decode(sum).expect("base64")).collect::<Vec<u8>>();
                sum(&raw)
            }
            false => sum(&whole),
        };
        let three = format!("{object}-3");
        let refusals: Vec<Refused<'_>> = vec![
            (with(element(name, &wrong)).into(), vec![], "InvalidPart"),
            (with(element(name, "AAAA")).into(), vec![], "InvalidArgument"),
            (with(element(other, &other_sum(&second))).into(), vec![], "BadDigest"),
            (
                with(element(name, &sums[1]) + &element(other, &other_sum(&second))).into(),
                vec![],
                "InvalidArgument",
            ),
            (with(String::new()).into(), vec![], missing),
            (right.to_vec(), vec![(&header, &wrong)], "BadDigest"),
            (
                right.to_vec(),
                vec![(&header, &three)],
                if *name == "CRC64NVME" { "InvalidRequest" } else { "BadDigest" },
            ),
            (right.to_vec(), vec![(&header, "no base64")], "InvalidRequest"),
            (right.to_vec(), vec![(wrong_kind[0].0, wrong_kind[0].1)], "InvalidRequest"),
            (
                right.to_vec(),
                vec![("x-amz-checksum-type", if is_composite { "FULL_OBJECT" } else { "COMPOSITE" })],
                "InvalidRequest",
            ),
            (right.to_vec(), vec![("x-amz-mp-object-size", "5242951")], "InvalidRequest"),
            (vec![(0, tags[0].as_str(), String::new())], vec![], "InvalidArgument"),
        ];
        for (list, headers, code) in refusals.iter().filter(|(_, _, code)| !code.is_empty()) {
            let refused = complete(&mut client, at, list, headers);
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (400, *code),
                "{name} {kind} {list:?} {headers:?}"
            );
            expect_object(&mut client, b, k, None);
            assert_eq!(
                xml::all(&client.list_parts(b, k, &upload).expect("list").text(), "PartNumber"),
                ["1", "2"]
            );
        }
        let list = if is_composite { right.to_vec() } else { with(String::new()).to_vec() };
        let shown = if is_composite { format!("{object}-2") } else { object.clone() };
        let made = complete(&mut client, at, &list, &[(&header, &object), ("x-amz-checksum-type", kind)]);
        expect(&made, 200, "");
        assert_eq!(xml::first(&made.text(), &format!("Checksum{name}")), Some(shown.clone()));
        let head = look(&mut client, "HEAD", b, k, &[]);
        assert_eq!(
            (head.header(&header), head.header("x-amz-checksum-type")),
            (Some(shown.as_str()), Some(*kind))
        );
        for (number, body) in [("1", &first), ("2", &second)] {
            for method in ["GET", "HEAD"] {
                let part = look(&mut client, method, b, k, &[("partNumber", number)]);
                let kind_of = part.header("x-amz-checksum-type");
                assert_eq!(
                    (part.status, part.header(&header), kind_of),
                    (206, Some(sum(body).as_str()), Some(*kind))
                );
            }
        }
        let call = Call::object("GET", b, k).query("attributes", "");
        let names = "Checksum,ObjectParts,ETag,ObjectSize";
        let told = client.send(&call.header("x-amz-object-attributes", names)).expect("attributes").text();
        let all = xml::all(&told, &format!("Checksum{name}"));
        let want: Vec<String> = match is_composite {
            true => [object.clone()].into_iter().chain(sums).collect(),
            false => vec![object],
        };
        assert_eq!((all, xml::first(&told, "PartsCount").as_deref()), (want, Some("2")), "{told}");
        expect(&client.delete(b, k).expect("delete"), 204, "");
    }
}

#[test]
fn every_object_has_a_checksum() {
    let mut client = bucket("summed");
    let b = "summed";
    let body = payload("k", 1, 200_001);
    let sum = crc64nvme_base64(&body);
    let check = |client: &mut Client, key: &str, want: &str| {
        for method in ["GET", "HEAD"] {
            let seen = look(client, method, b, key, &[]);
            assert_eq!(checksums(&seen), [("crc64nvme", want.to_owned())], "{method} {key}");
            assert_eq!(seen.header("x-amz-checksum-type"), Some("FULL_OBJECT"), "{method} {key}");
        }
    };
    expect(&client.put(b, "plain", &body).expect("put"), 200, "");
    check(&mut client, "plain", &sum);

    // Parts of every sort, of an upload that named nothing.
    let upload = create(&mut client, b, "mixed", &[]);
    let at = (b, "mixed", upload.as_str());
    let (first, second) = (payload("m", 1, 5 * MIB), payload("m", 2, 5 * MIB));
    let tags = [
        put_part(&mut client, at, 1, &first, &[("x-amz-checksum-crc32", &crc32_base64(&first))]).etag(),
        put_part(&mut client, at, 2, &second, &[("x-amz-checksum-sha256", &sha256_base64(&second))]).etag(),
    ];
    let source = format!("/{b}/plain");
    let call = Call::object("PUT", b, "mixed").query("partNumber", "3").query("uploadId", upload.as_str());
    let copied = client.send(&call.header("x-amz-copy-source", source.as_str())).expect("copy");
    expect(&copied, 200, "");
    let third = xml::first(&copied.text(), "ETag").expect("a tag");
    let list: Vec<Listed<'_>> =
        vec![(1, &tags[0], String::new()), (2, &tags[1], String::new()), (3, &third, String::new())];
    let of_other = [(1, tags[0].as_str(), format!("<ChecksumSHA1>{}</ChecksumSHA1>", "A".repeat(27) + "="))];
    expect(&complete(&mut client, at, &of_other, &[]), 400, "InvalidPart");
    let wrong = [("x-amz-checksum-crc64nvme", sum.as_str())];
    expect(&complete(&mut client, at, &list, &wrong), 400, "BadDigest");
    let of_nobody = [("x-amz-checksum-crc32", "AAAAAA==")];
    expect(&complete(&mut client, at, &list, &of_nobody), 400, "InvalidRequest");
    let whole = [&first[..], &second, &body].concat();
    let whole_sum = crc64nvme_base64(&whole);
    let made = complete(&mut client, at, &list, &[("x-amz-checksum-crc64nvme", &whole_sum)]);
    assert_eq!(
        xml::first(&made.text(), "ChecksumCRC64NVME").as_deref(),
        Some(whole_sum.as_str()),
        "{}",
        made.text()
    );
    check(&mut client, "mixed", &whole_sum);
    let part = look(&mut client, "GET", b, "mixed", &[("partNumber", "3")]);
    assert_eq!((checksums(&part), part.body.len()), (vec![("crc64nvme", sum.clone())], body.len()));

    // A copy keeps it.
    let call = Call::object("PUT", b, "copy").header("x-amz-copy-source", format!("/{b}/mixed"));
    expect(&client.send(&call).expect("copy"), 200, "");
    check(&mut client, "copy", &whole_sum);

    // A range has none, unless it is all there is.
    let ranged = |client: &mut Client, range: &str| {
        let call = Call::object("GET", b, "plain").header("x-amz-checksum-mode", "ENABLED");
        let response = client.send(&call.header("range", range)).expect("get");
        assert_eq!(response.status, 206);
        checksums(&response).len()
    };
    assert_eq!((ranged(&mut client, "bytes=0-200000"), ranged(&mut client, "bytes=0-199999")), (1, 0));
    let listed = client.send(&Call::bucket("GET", b).query("list-type", "2")).expect("list").text();
    assert_eq!(xml::all(&listed, "ChecksumAlgorithm"), ["CRC64NVME"; 3]);
    let call = Call::object("GET", b, "plain").header("x-amz-checksum-mode", "PERHAPS");
    expect(&client.send(&call).expect("get"), 400, "InvalidRequest");
}

#[test]
fn an_upload_is_aborted_if_it_was_opened_then() {
    let mut client = bucket("initiated");
    let (b, k) = ("initiated", "k");
    let upload = create(&mut client, b, k, &[]);
    let mut abort = |when: &str| {
        let call = Call::object("DELETE", b, k).query("uploadId", upload.as_str());
        client.send(&call.header("x-amz-if-match-initiated-time", when)).expect("abort")
    };
    expect(&abort("yesterday"), 400, "InvalidArgument");
    expect(&abort("Thu, 01 Dec 2033 16:00:00 GMT"), 412, "PreconditionFailed");
    let mut client = super::server().client();
    let listed = client.send(&Call::bucket("GET", b).query("uploads", "")).expect("list uploads").text();
    let initiated = xml::first(&listed, "Initiated").expect("it is open");
    // Opened now or a moment ago: the date of the answer is that of one of these seconds.
    let date = client
        .send(&Call::bucket("GET", b).query("uploads", ""))
        .expect("list")
        .header("date")
        .map(str::to_owned);
    let date = date.expect("a date");
    let at = |seconds: &str| date.replace(&date[date.len() - 12..date.len() - 4], seconds);
    expect(&abort(&at(&initiated[11..19])), 204, "");
    expect(&abort(&at(&initiated[11..19])), 404, "NoSuchUpload");
}

#[test]
fn arguments_are_judged_before_existence() {
    let mut client = super::server().client();
    let (b, k, id) = ("no-such-bucket", "k", "0123456789abcdef0123456789abcdef");
    let part = |number: &str| Call::object("PUT", b, k).query("partNumber", number).query("uploadId", id);
    for number in ["0", "10001", "-1", "x", ""] {
        expect(&client.send(&part(number)).expect("part"), 400, "InvalidArgument");
        let copy = part(number).header("x-amz-copy-source", "/b/k");
        expect(&client.send(&copy).expect("copy"), 400, "InvalidArgument");
    }
    for source in ["", "b", "/b/", "b/%zz"] {
        let copy = part("1").header("x-amz-copy-source", source);
        expect(&client.send(&copy).expect("copy"), 400, "InvalidArgument");
    }
    expect(
        &client.send(&part("1").header("x-amz-checksum-crc32", "AAAA")).expect("part"),
        400,
        "InvalidRequest",
    );
    expect(&client.send(&part("1")).expect("part"), 404, "NoSuchBucket");
    let list = Call::object("GET", b, k).query("uploadId", id).query("part-number-marker", "x");
    expect(&client.send(&list).expect("list"), 400, "InvalidArgument");
    let sized =
        complete(&mut client, (b, k, id), &[(1, "e", String::new())], &[("x-amz-mp-object-size", "x")]);
    expect(&sized, 400, "InvalidRequest");
    let kind = Call::object("POST", b, k).query("uploads", "").header("x-amz-checksum-algorithm", "XOR");
    expect(&client.send(&kind).expect("create"), 400, "InvalidRequest");
    // In a bucket that is there, the list is judged before the upload is looked for.
    let mut client = bucket("arguments");
    let zero = complete(&mut client, ("arguments", k, id), &[(0, "e", String::new())], &[]);
    expect(&zero, 400, "InvalidArgument");
    let none = complete(&mut client, ("arguments", k, id), &[(1, "e", String::new())], &[]);
    expect(&none, 404, "NoSuchUpload");
}
