//! Headers and query parameters: what is honoured, what is refused, and what an odd value means.
//!
//! The client suite `parameters` walks over all that AWS has; here stands what needs exact bytes, or a restart.

use nilas_tests::client::{Call, Client, md5_base64};
use nilas_tests::http1::Response;
use nilas_tests::server::Server;
use nilas_tests::xml;

use super::{bucket, expect, expect_object, server};

fn get(client: &mut Client, path: &str, query: &[(&str, &str)]) -> Response {
    let mut call = Call::get(path);
    for (name, value) in query {
        call = call.query(name, *value);
    }
    client.send(&call).expect("an answer")
}

/// `GET path` with one parameter is refused with 400 `InvalidArgument`, whose text starts with `text`.
#[track_caller]
fn expect_argument(client: &mut Client, path: &str, query: &[(&str, &str)], text: &str) {
    let response = get(client, path, query);
    expect(&response, 400, "InvalidArgument");
    let message = xml::first(&response.text(), "Message").unwrap_or_default();
    assert!(message.starts_with(text), "{path} {query:?}: {message}");
}

#[test]
fn an_optional_parameter_that_is_there_counts() {
    let mut client = bucket("optional");
    expect(&client.put("optional", "k", b"x").expect("put"), 200, "");
    let (_, upload) = client.create_upload("optional", "up").expect("create");
    let not_a_number = "not an integer or within integer range";
    for bad in ["", "x", "1.5", "+1", "2147483648", "99999999999999999999"] {
        let text = |name: &str| format!("Provided {name} {not_a_number}");
        let b = "/optional";
        expect_argument(&mut client, b, &[("max-keys", bad)], &text("max-keys"));
        expect_argument(&mut client, b, &[("list-type", "2"), ("max-keys", bad)], &text("max-keys"));
        expect_argument(&mut client, b, &[("versions", ""), ("max-keys", bad)], &text("max-keys"));
        expect_argument(&mut client, b, &[("uploads", ""), ("max-uploads", bad)], &text("max-uploads"));
        let parts = [("uploadId", upload.as_str()), ("max-parts", bad)];
        expect_argument(&mut client, "/optional/up", &parts, &text("max-parts"));
        let parts = [("uploadId", upload.as_str()), ("part-number-marker", bad)];
        expect_argument(&mut client, "/optional/up", &parts, &text("part-number-marker"));
        expect_argument(
            &mut client,
            "/",
            &[("max-buckets", bad)],
            "Argument max-buckets must be an integer between 1",
        );
        expect_argument(
            &mut client,
            "/optional/k",
            &[("partNumber", bad)],
            "Part number must be an integer between 1",
        );
    }
    let below = "must be an integer between 0 and 2147483647";
    expect_argument(&mut client, "/optional", &[("max-keys", "-1")], &format!("Argument max-keys {below}"));
    let parts = [("uploadId", upload.as_str()), ("part-number-marker", "-1")];
    expect_argument(&mut client, "/optional/up", &parts, &format!("Argument part-number-marker {below}"));
    expect_argument(&mut client, "/", &[("max-buckets", "0")], "Argument max-buckets must");
    expect_argument(&mut client, "/", &[("max-buckets", "10001")], "Argument max-buckets must");

    for bad in ["", "x", "Url "] {
        for mut query in [vec![], vec![("list-type", "2")], vec![("versions", "")], vec![("uploads", "")]] {
            query.push(("encoding-type", bad));
            expect_argument(&mut client, "/optional", &query, "Invalid Encoding Method specified in Request");
        }
    }
    for bad in ["", "nonsense!", "AAAA"] {
        let incorrect = "The continuation token provided is incorrect";
        expect_argument(
            &mut client,
            "/optional",
            &[("list-type", "2"), ("continuation-token", bad)],
            incorrect,
        );
    }
    for bad in ["", "%", "nonsense!"] {
        expect_argument(&mut client, "/", &[("continuation-token", bad)], "The continuation token provided");
    }
    for bad in ["", "3", "1", "v2"] {
        expect_argument(
            &mut client,
            "/optional",
            &[("list-type", bad)],
            "Invalid List Type specified in Request",
        );
    }
    for bad in ["", "1", "yes"] {
        expect_argument(
            &mut client,
            "/optional",
            &[("list-type", "2"), ("fetch-owner", bad)],
            "Value for fetch-owner",
        );
    }
    let marker = |key: Option<&'static str>, version| {
        let mut query = vec![("versions", ""), ("version-id-marker", version)];
        query.extend(key.map(|key| ("key-marker", key)));
        query
    };
    let without = "A version-id marker cannot be specified without a key marker.";
    expect_argument(&mut client, "/optional", &marker(None, "null"), without);
    expect_argument(&mut client, "/optional", &marker(Some(""), "null"), without);
    expect_argument(&mut client, "/optional", &marker(Some("a"), ""), "A version-id marker cannot be empty.");
    expect_argument(&mut client, "/optional", &marker(Some("a"), "x"), "Invalid version id specified");
    expect(&get(&mut client, "/optional", &marker(Some("a"), "null")), 200, "");
    let uploads = [("uploads", ""), ("key-marker", "a"), ("upload-id-marker", "x")];
    expect_argument(&mut client, "/optional", &uploads, "Invalid uploadId marker");

    for bad in ["", "1", "NULL", "no-such-version"] {
        for (method, more) in [("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "acl"), ("GET", "tagging")]
        {
            let mut call = Call::object(method, "optional", "k").query("versionId", bad);
            if !more.is_empty() {
                call = call.query(more, "");
            }
            let code = if method == "HEAD" { "" } else { "InvalidArgument" };
            expect(&client.send(&call).expect("an answer"), 400, code);
        }
        let source = format!("/optional/k?versionId={bad}");
        let call = Call::object("PUT", "optional", "copy").header("x-amz-copy-source", source);
        expect(&client.send(&call).expect("copy"), 400, "InvalidArgument");
    }
    let unknown = "3HL4kqtJvjVBH40Nrjfkd.rmSpXd3dIb";
    expect(&get(&mut client, "/optional/k", &[("versionId", unknown)]), 404, "NoSuchVersion");
    expect(&get(&mut client, "/optional/k", &[("versionId", "null")]), 200, "");
    // In a list of keys it is an entry that does not exist.
    let body = "<Delete><Object><Key>k</Key><VersionId>x</VersionId></Object></Delete>";
    let call = Call::bucket("POST", "optional")
        .query("delete", "")
        .header("content-md5", md5_base64(body.as_bytes()));
    let response = client.send(&call.body(body.as_bytes())).expect("delete");
    assert_eq!((response.status, response.code().as_str()), (200, "NoSuchVersion"), "{}", response.text());
    expect_object(&mut client, "optional", "k", Some(b"x"));

    for (name, value) in
        [("x-amz-max-parts", ""), ("x-amz-max-parts", "x"), ("x-amz-part-number-marker", "-1")]
    {
        let call = Call::object("GET", "optional", "k").query("attributes", "");
        let call = call.header("x-amz-object-attributes", "ObjectSize").header(name, value);
        expect(&client.send(&call).expect("attributes"), 400, "InvalidArgument");
    }
    for (name, value, path, code) in [
        ("x-amz-checksum-mode", "", "/optional/k", "InvalidRequest"),
        ("x-amz-optional-object-attributes", "Owner", "/optional", "InvalidArgument"),
    ] {
        expect(&client.send(&Call::get(path).header(name, value)).expect("get"), 400, code);
    }
    // These are the same as absent to S3.
    for name in ["prefix", "delimiter", "marker"] {
        let response = get(&mut client, "/optional", &[(name, "")]);
        assert_eq!(
            (response.status, xml::all(&response.text(), "Key")),
            (200, vec!["k".to_owned()]),
            "{name}"
        );
    }
    assert!(!get(&mut client, "/optional", &[("delimiter", "")]).text().contains("Delimiter"));
}

#[test]
fn a_listing_of_buckets_may_name_the_region_of_the_server() {
    let mut client = bucket("regions");
    let head = client.send(&Call::bucket("HEAD", "regions")).expect("head");
    let region = head.header("x-amz-bucket-region").expect("a region").to_owned();
    let named = get(&mut client, "/", &[("bucket-region", &region), ("prefix", "regions")]);
    assert_eq!(xml::all(&named.text(), "Name"), ["regions"]);
    for other in ["", "xx-nowhere-1", "mars"] {
        expect_argument(&mut client, "/", &[("bucket-region", other)], "Argument value");
    }
    for query in [vec![], vec![("list-type", "2")]] {
        let listed = get(&mut client, "/regions", &query);
        assert_eq!(listed.header("x-amz-bucket-region"), Some(region.as_str()), "{query:?}: {}", listed.head);
    }
}

#[test]
fn a_bucket_has_an_arn() {
    let mut client = server().client();
    let made = client.create_bucket("with-arn").expect("create");
    let head = client.send(&Call::bucket("HEAD", "with-arn")).expect("head");
    for response in [made, head] {
        assert_eq!(response.header("x-amz-bucket-arn"), Some("arn:aws:s3:::with-arn"), "{}", response.head);
    }
    for bad in ["foo-.bar", "foo.-bar"] {
        expect(&client.create_bucket(bad).expect("create"), 400, "InvalidBucketName");
    }
}

#[test]
fn a_plus_in_a_copy_source_is_a_blank() {
    let mut client = bucket("plus-sources");
    let (b, blank, plus) = ("plus-sources", "a b", "a+b");
    expect(&client.put(b, blank, b"blank").expect("put"), 200, "");
    expect(&client.put(b, plus, b"plus").expect("put"), 200, "");
    // In a path it stands for itself.
    assert_eq!(get(&mut client, "/plus-sources/a+b", &[]).text(), "plus");
    assert_eq!(xml::all(&get(&mut client, "/plus-sources", &[("prefix", "a b")]).text(), "Key"), [blank]);
    let (_, upload) = client.create_upload(b, "part").expect("create");
    for (source, want) in [("a+b", "blank"), ("a%20b", "blank"), ("a%2Bb", "plus")] {
        let source = format!("/{b}/{source}");
        let call = Call::object("PUT", b, "copy").header("x-amz-copy-source", source.as_str());
        expect(&client.send(&call).expect("copy"), 200, "");
        expect_object(&mut client, b, "copy", Some(want.as_bytes()));
        let call = Call::object("PUT", b, "part").query("partNumber", "1").query("uploadId", upload.as_str());
        let copied = client.send(&call.header("x-amz-copy-source", source.as_str())).expect("copy a part");
        expect(&copied, 200, "");
        let etag = xml::first(&copied.text(), "ETag").expect("a tag");
        assert_eq!(etag, nilas_tests::client::md5_etag(want.as_bytes()), "{source}");
    }
}

#[test]
fn dates_to_come_are_no_conditions() {
    let mut client = bucket("future-dates");
    let b = "future-dates";
    expect(&client.put(b, "k", b"x").expect("put"), 200, "");
    let modified = client.head(b, "k").expect("head").header("last-modified").map(str::to_owned);
    let modified = modified.expect("every object has a modification time");
    let future = "Fri, 01 Jan 2100 00:00:00 GMT";
    let (_, upload) = client.create_upload(b, "part").expect("create");
    for (date, read, copied) in [(future, 200, 200), (modified.as_str(), 304, 412)] {
        for method in ["GET", "HEAD"] {
            let call = Call::object(method, b, "k").header("if-modified-since", date);
            expect(&client.send(&call).expect("read"), read, "");
        }
        let copy = |call: Call<'static>| {
            let call = call.header("x-amz-copy-source", "/future-dates/k");
            call.header("x-amz-copy-source-if-modified-since", date)
        };
        expect(&client.send(&copy(Call::object("PUT", b, "copy"))).expect("copy"), copied, "");
        let part = Call::object("PUT", b, "part").query("partNumber", "1").query("uploadId", upload.as_str());
        expect(&client.send(&copy(part)).expect("copy a part"), copied, "");
    }
    let call = Call::object("GET", b, "k").header("if-unmodified-since", future);
    expect(&client.send(&call).expect("read"), 200, "");
}

#[test]
fn answers_are_overridden_in_iso_8859_1() {
    let mut client = bucket("overrides");
    expect(&client.put("overrides", "k", b"x").expect("put"), 200, "");
    let mut ask = |method: &'static str, name: &str, value: &str| {
        client.send(&Call::object(method, "overrides", "k").query(name, value)).expect("an answer")
    };
    for name in [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    ] {
        let parameter = format!("response-{name}");
        for method in ["GET", "HEAD"] {
            let response = ask(method, &parameter, "a; b=\"c\"");
            assert_eq!((response.status, response.header(name)), (200, Some("a; b=\"c\"")), "{name}");
            // One byte, which is no UTF-8 by itself.
            let response = ask(method, &parameter, "caf\u{e9}");
            assert_eq!((response.status, response.header(name)), (200, Some("caf\u{fffd}")), "{name}");
        }
        for beyond in
            ["attachment; filename=\"日本.txt\"", "a\u{2019}b", "\u{100}", "a\nb", "a\r\nx-evil: 1", "\u{7f}"]
        {
            let response = ask("GET", &parameter, beyond);
            expect(&response, 400, "InvalidArgument");
            assert!(response.text().contains("Header value cannot be represented using ISO-8859-1."));
            expect(&ask("HEAD", &parameter, beyond), 400, "");
        }
    }
}

#[test]
fn copied_ranges_and_metadata() {
    let mut client = bucket("copy-limits");
    let b = "copy-limits";
    expect(&client.put(b, "k", b"0123456789").expect("put"), 200, "");
    expect(&client.put(b, "empty", b"").expect("put"), 200, "");
    let (_, upload) = client.create_upload(b, "part").expect("create");
    for (source, range, status, code) in [
        ("k", "bytes=0-9", 200, ""),
        ("k", "bytes=9-9", 200, ""),
        ("k", "bytes=10-10", 400, "InvalidRequest"),
        ("k", "bytes=100-200", 400, "InvalidRequest"),
        ("empty", "bytes=0-0", 400, "InvalidRequest"),
        ("k", "bytes=5-10", 400, "InvalidArgument"),
        ("k", "bytes=0-18446744073709551615", 400, "InvalidArgument"),
        ("k", "bytes= 0-1", 400, "InvalidArgument"),
        ("k", "bytes=0-", 400, "InvalidArgument"),
        ("k", "bytes=-5", 400, "InvalidArgument"),
        ("k", "", 400, "InvalidArgument"),
    ] {
        let call = Call::object("PUT", b, "part").query("partNumber", "1").query("uploadId", upload.as_str());
        let call = call.header("x-amz-copy-source", format!("/{b}/{source}"));
        let response = client.send(&call.header("x-amz-copy-source-range", range)).expect("copy a part");
        expect(&response, status, code);
    }
    for directive in ["COPY", "REPLACE"] {
        for (len, status, code) in [(2047, 200, ""), (2048, 400, "MetadataTooLarge")] {
            let call = Call::object("PUT", b, "copy").header("x-amz-copy-source", "/copy-limits/k");
            let call =
                call.header("x-amz-metadata-directive", directive).header("x-amz-meta-a", "v".repeat(len));
            expect(&client.send(&call).expect("copy"), status, code);
        }
    }
}

#[test]
fn headers_that_are_not_served_are_refused_and_change_nothing() {
    let mut client = bucket("refused-headers");
    let b = "refused-headers";
    expect(&client.put(b, "k", b"kept").expect("put"), 200, "");
    for (name, value, code) in [
        ("x-amz-server-side-encryption", "AES256", "NotImplemented"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", "InvalidArgument"),
        ("x-amz-server-side-encryption", "aws:kms", "NotImplemented"),
        ("x-amz-server-side-encryption", "aws:kms:dsse", "NotImplemented"),
        ("x-amz-website-redirect-location", "/x", "NotImplemented"),
        ("x-amz-object-lock-legal-hold", "ON", "InvalidRequest"),
        ("x-amz-object-lock-event-hold", "ON", "NotImplemented"),
        ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-grant-full-control", "id=1", "AccessControlListNotSupported"),
    ] {
        let status = if code == "NotImplemented" { 501 } else { 400 };
        let call = Call::object("PUT", b, "k").header(name, value).body(b"other");
        expect(&client.send(&call).expect("put"), status, code);
        // The same in a presigned URL, where SDKs move such headers.
        let call = Call::object("PUT", b, "k").query(name, value).body(b"other");
        expect(&client.send(&call).expect("put"), status, code);
        let call = Call::object("PUT", b, "k").header("x-amz-copy-source", "/refused-headers/k");
        expect(&client.send(&call.header(name, value)).expect("copy"), status, code);
        let call = Call::object("POST", b, "k").query("uploads", "").header(name, value);
        expect(&client.send(&call).expect("create"), status, code);
        expect_object(&mut client, b, "k", Some(b"kept"));
    }
    let uploads = client.send(&Call::bucket("GET", b).query("uploads", "")).expect("list").text();
    assert!(!uploads.contains("<UploadId>"), "{uploads}");
    for method in ["GET", "HEAD"] {
        let call =
            Call::object(method, b, "k").header("x-amz-server-side-encryption-customer-algorithm", "AES256");
        expect(&client.send(&call).expect("read"), 400, if method == "GET" { "InvalidArgument" } else { "" });
    }
    for (name, value, status, code) in [
        ("x-amz-acl", "public-read", 400, "InvalidBucketAclWithObjectOwnership"),
        ("x-amz-grant-read", "id=1", 400, "InvalidBucketAclWithObjectOwnership"),
        ("x-amz-bucket-object-lock-enabled", "yes", 400, "InvalidArgument"),
        ("x-amz-bucket-namespace", "account-regional", 501, "NotImplemented"),
        ("x-amz-object-ownership", "Everybody", 400, "InvalidArgument"),
        ("x-amz-object-ownership", "", 400, "InvalidArgument"),
    ] {
        let call = Call::bucket("PUT", "refused-bucket").header(name, value);
        expect(&client.send(&call).expect("create"), status, code);
        expect(&client.send(&Call::bucket("HEAD", "refused-bucket")).expect("head"), 404, "");
    }
    let place = b"<CreateBucketConfiguration><Location><Name>a</Name></Location></CreateBucketConfiguration>";
    expect(
        &client.send(&Call::bucket("PUT", "refused-bucket").body(place)).expect("create"),
        501,
        "NotImplemented",
    );
    // Without effect: the outcome is the same.
    for (name, value) in [("x-amz-request-payer", "requester"), ("x-amz-bypass-governance-retention", "true")]
    {
        expect(&client.put(b, "gone", b"x").expect("put"), 200, "");
        expect(
            &client.send(&Call::object("DELETE", b, "gone").header(name, value)).expect("delete"),
            204,
            "",
        );
        expect_object(&mut client, b, "gone", None);
    }
}

fn ownership(client: &mut Client, bucket: &str) -> Result<String, String> {
    let response = client.send(&Call::bucket("GET", bucket).query("ownershipControls", "")).expect("get");
    match response.status {
        200 => Ok(xml::first(&response.text(), "ObjectOwnership").expect("a rule")),
        _ => Err(response.code()),
    }
}

#[test]
fn object_ownership_is_kept_with_the_bucket() {
    let mut server = Server::fresh();
    let mut client = server.client();
    let rules = ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"];
    expect(&client.create_bucket("default").expect("create"), 200, "");
    for rule in rules {
        let call = Call::bucket("PUT", &rule.to_lowercase()).header("x-amz-object-ownership", rule);
        expect(&client.send(&call).expect("create"), 200, "");
    }
    let document = |rule: &str| {
        format!(
            "<OwnershipControls><Rule><ObjectOwnership>{rule}</ObjectOwnership></Rule></OwnershipControls>"
        )
    };
    let put = |client: &mut Client, bucket: &str, body: &str| {
        client
            .send(&Call::bucket("PUT", bucket).query("ownershipControls", "").body(body.as_bytes()))
            .expect("put")
    };
    let delete = |client: &mut Client, bucket: &str| {
        client.send(&Call::bucket("DELETE", bucket).query("ownershipControls", "")).expect("delete")
    };
    expect(&client.create_bucket("deleted").expect("create"), 200, "");
    expect(&delete(&mut client, "deleted"), 204, "");
    expect(&delete(&mut client, "deleted"), 204, "");
    expect(&client.create_bucket("changed").expect("create"), 200, "");
    expect(&delete(&mut client, "changed"), 204, "");
    for rule in rules {
        expect(&put(&mut client, "changed", &document(rule)), 200, "");
        assert_eq!(ownership(&mut client, "changed").as_deref(), Ok(rule));
    }
    for (body, code) in [
        ("", "MissingRequestBodyError"),
        ("<x/>", "MalformedXML"),
        ("<OwnershipControls/>", "MalformedXML"),
        (&document("Everybody"), "MalformedXML"),
        (&document(""), "MalformedXML"),
    ] {
        expect(&put(&mut client, "changed", body), 400, code);
    }
    expect(&put(&mut client, "no-such-bucket", &document("ObjectWriter")), 404, "NoSuchBucket");
    expect(&delete(&mut client, "no-such-bucket"), 404, "NoSuchBucket");
    assert_eq!(ownership(&mut client, "no-such-bucket"), Err("NoSuchBucket".to_owned()));

    for restarted in [false, true] {
        if restarted {
            server.kill9();
            server.restart().expect("starts again");
            client = server.client();
        }
        assert_eq!(ownership(&mut client, "default").as_deref(), Ok("BucketOwnerEnforced"));
        for rule in rules {
            assert_eq!(ownership(&mut client, &rule.to_lowercase()).as_deref(), Ok(rule));
        }
        assert_eq!(ownership(&mut client, "changed").as_deref(), Ok("ObjectWriter"));
        assert_eq!(ownership(&mut client, "deleted"), Err("OwnershipControlsNotFoundError".to_owned()));
        // A bucket that takes ACLs does not say that it takes none.
        for (bucket, status, code) in [
            ("default", 400, "AccessControlListNotSupported"),
            ("bucketownerenforced", 400, "AccessControlListNotSupported"),
            ("objectwriter", 501, "NotImplemented"),
            ("bucketownerpreferred", 501, "NotImplemented"),
            ("deleted", 501, "NotImplemented"),
        ] {
            let call = Call::object("PUT", bucket, "k").header("x-amz-acl", "public-read").body(b"x");
            expect(&client.send(&call).expect("put"), status, code);
            expect_object(&mut client, bucket, "k", None);
            // What is no ACL is not touched by the rule.
            expect(&client.put(bucket, "plain", b"x").expect("put"), 200, "");
        }
    }
    let call = Call::bucket("PUT", "new-acl").header("x-amz-object-ownership", "ObjectWriter");
    expect(&client.send(&call.header("x-amz-acl", "public-read")).expect("create"), 501, "NotImplemented");
    expect(&client.delete("deleted", "plain").expect("delete"), 204, "");
    expect(&client.delete_bucket("deleted").expect("delete"), 204, "");
}
