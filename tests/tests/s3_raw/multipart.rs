//! The rules of multipart uploads.

use nilas_tests::client::{Call, md5_etag, multipart_etag};
use nilas_tests::rng::payload;
use nilas_tests::sizes::MIB;
use nilas_tests::xml;

use super::{bucket, expect, expect_object};

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
    expect(&client.abort(b, k, &numbers).expect("abort"), 204, "");
}
