//! Who may do what: signatures in headers and addresses, and what nobody may do without one.

use std::time::SystemTime;

use nilas_tests::client::{Call, Client, crc32_base64, crc64nvme_base64, md5_base64};
use nilas_tests::http1::Response;
use nilas_tests::server::{Server, ServerOptions};
use nilas_tests::sign;

use super::{bucket, expect, expect_object, server};

#[test]
fn presigned_urls_hold_for_what_was_signed_only() {
    let mut client = bucket("presigned");
    expect(&client.put("presigned", "k", b"secret").expect("put"), 200, "");
    expect(&client.put("presigned", "other", b"other").expect("put"), 200, "");
    let now = client.amz_date();
    let get = client.presign("GET", "/presigned/k", &[], &now, 60);
    let put = client.presign("PUT", "/presigned/new", &[("x-amz-meta-a", "1")], &now, 60);
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

/// Sends an unsigned request as it is written.
fn fetch(method: &str, target: &str, headers: &str, body: &str) -> Response {
    fetch_from(server(), method, target, headers, body)
}

fn fetch_from(server: &Server, method: &str, target: &str, headers: &str, body: &str) -> Response {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let host = server.address();
    let request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}");
    server.client().exchange(request.as_bytes(), method).expect("an answer").0
}

#[test]
fn what_a_presigned_url_carries_in_its_query() {
    let mut client = bucket("hoisted");
    let now = client.amz_date();
    let (_, id) = client.create_upload("hoisted", "m").expect("create");
    // As SDKs make them that sign before there is a body: its checksum is that of nothing.
    let empty_sums = [
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("X-Amz-Checksum-Sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ("x-amz-checksum-sha512", "AA=="),
        ("x-amz-checksum-crc32", "not base64"),
    ];
    for (name, value) in empty_sums {
        let sdk = ("x-amz-sdk-checksum-algorithm", "CRC32");
        let kept = [("x-amz-meta-a", "1"), ("x-amz-storage-class", "STANDARD_IA"), ("x-id", "PutObject")];
        let parameters = [&[(name, value), sdk][..], &kept[..]].concat();
        let put = client.presign("PUT", "/hoisted/k", &parameters, &now, 60);
        expect(&fetch("PUT", &put, "", "a body that is not empty"), 200, "");
        let head =
            client.send(&Call::object("HEAD", "hoisted", "k").header("x-amz-checksum-mode", "ENABLED"));
        let head = head.expect("head");
        assert_eq!(head.header("x-amz-meta-a"), Some("1"), "{}", head.head);
        assert_eq!(head.header("x-amz-storage-class"), Some("STANDARD_IA"), "{}", head.head);
        // As if none had been sent.
        assert_eq!(
            head.header("x-amz-checksum-crc64nvme"),
            Some(crc64nvme_base64(b"a body that is not empty").as_str())
        );
        assert_eq!(head.header("x-amz-checksum-crc32"), None, "{}", head.head);
        let part = [&[("partNumber", "1"), ("uploadId", id.as_str()), (name, value), sdk][..]].concat();
        let part = client.presign("PUT", "/hoisted/m", &part, &now, 60);
        expect(&fetch("PUT", &part, "", "a part"), 200, "");
        expect(&client.delete("hoisted", "k").expect("delete"), 204, "");
    }
    // A checksum that is sent as a header counts, with or without one in the query.
    let put = client.presign("PUT", "/hoisted/k", &empty_sums[..1], &now, 60);
    let header = |sum: &str| format!("x-amz-checksum-crc32: {sum}\r\n");
    expect(&fetch("PUT", &put, &header(&crc32_base64(b"body")), "body"), 403, "AccessDenied");
    // What says how an answer or an upload is wanted counts.
    expect(&client.put("hoisted", "k", b"body").expect("put"), 200, "");
    let get = client.presign("GET", "/hoisted/k", &[("x-amz-checksum-mode", "ENABLED")], &now, 60);
    assert!(fetch("GET", &get, "", "").header("x-amz-checksum-crc64nvme").is_some());
    let wanted = [("uploads", ""), ("x-amz-checksum-algorithm", "SHA256")];
    let create = client.presign("POST", "/hoisted/n", &wanted, &now, 60);
    assert_eq!(fetch("POST", &create, "", "").header("x-amz-checksum-algorithm"), Some("SHA256"));
    let owner = client.presign("GET", "/hoisted/k", &[("x-amz-expected-bucket-owner", "1")], &now, 60);
    expect(&fetch("GET", &owner, "", ""), 403, "AccessDenied");
}

/// A presigned URL of version 2 over `text`, the string to sign, in which `EXPIRES` stands for `expires`.
fn sign_v2(target: &str, text: &str, expires: &str) -> String {
    let (access, secret) = server().root_key();
    let signature = sign::encode(&sign::sign_v2(secret, &text.replace("EXPIRES", expires)), false);
    let and = if target.contains('?') { '&' } else { '?' };
    format!("{target}{and}AWSAccessKeyId={access}&Expires={expires}&Signature={signature}")
}

fn in_seconds(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    now.saturating_add_signed(seconds).to_string()
}

#[test]
fn presigned_urls_of_version_2() {
    let mut client = bucket("version2");
    expect(&client.put("version2", "k", b"secret").expect("put"), 200, "");
    let soon = in_seconds(60);
    let get = sign_v2("/version2/k", "GET\n\n\nEXPIRES\n/version2/k", &soon);
    let good = fetch("GET", &get, "range: bytes=0-2\r\n", "");
    assert_eq!((good.status, good.text().as_str()), (206, "sec"), "{}", good.text());
    let head = sign_v2("/version2/k", "HEAD\n\n\nEXPIRES\n/version2/k", &soon);
    assert_eq!(fetch("HEAD", &head, "", "").header("content-length"), Some("6"));
    // Every answer that a reader may ask for by the query is signed.
    let wanted =
        "response-content-disposition=attachment%3B%20filename%3D%22a%20b%22&response-content-type=a%2Fb";
    let text = "GET\n\n\nEXPIRES\n/version2/k?response-content-disposition=attachment; filename=\"a b\"\
                &response-content-type=a/b";
    let answer = fetch("GET", &sign_v2(&format!("/version2/k?{wanted}"), text, &soon), "", "");
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"a b\""),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("content-type"), Some("a/b"));

    // Metadata and type in the query, and as headers of the same names.
    let text = "PUT\n\ntext/plain\nEXPIRES\nx-amz-meta-a:1\n/version2/new";
    let hoisted = sign_v2("/version2/new?content-type=text%2Fplain&x-amz-meta-a=1", text, &soon);
    let bare = sign_v2("/version2/new", text, &soon);
    let headers = "content-type: text/plain\r\nx-amz-meta-a: 1\r\n";
    for (target, headers) in [(&hoisted, ""), (&hoisted, headers), (&bare, headers)] {
        expect(&fetch("PUT", target, headers, "body"), 200, "");
        let head = client.head("version2", "new").expect("head");
        assert_eq!(
            (head.header("content-type"), head.header("x-amz-meta-a")),
            (Some("text/plain"), Some("1"))
        );
        expect_object(&mut client, "version2", "new", Some(b"body"));
        expect(&client.delete("version2", "new").expect("delete"), 204, "");
    }
    let md5 = md5_base64(b"body");
    let text = format!("PUT\n{md5}\n\nEXPIRES\n/version2/new");
    let target = sign_v2(&format!("/version2/new?content-md5={}", sign::encode(&md5, false)), &text, &soon);
    expect(&fetch("PUT", &target, "", "evil"), 400, "BadDigest");
    expect(&fetch("PUT", &target, "", "body"), 200, "");
    expect(&client.delete("version2", "new").expect("delete"), 204, "");

    let put = sign_v2("/version2/new", "PUT\n\n\nEXPIRES\n/version2/new", &soon);
    let mismatch = "SignatureDoesNotMatch";
    let last = get.rsplit('=').next().expect("it comes last").to_owned();
    for (what, method, target, headers, code) in [
        ("another key", "GET", get.replace("/k?", "/l?"), "", mismatch),
        ("another bucket", "GET", get.replace("/version2/", "/hoisted/"), "", mismatch),
        ("a read used to look", "HEAD", get.clone(), "", ""),
        ("a read used to write", "PUT", get.clone(), "", mismatch),
        ("another expiry", "GET", get.replace(&soon, &in_seconds(600)), "", mismatch),
        ("another signature", "GET", get.replace(&last, "NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"), "", mismatch),
        ("a lower-case signature", "GET", get.replace(&last, &last.to_lowercase()), "", mismatch),
        ("another answer", "GET", format!("{get}&response-content-type=text%2Fhtml"), "", mismatch),
        ("an escaped name", "GET", format!("{get}&response-content%2Dtype=text%2Fhtml"), "", mismatch),
        ("a version", "GET", format!("{get}&versionId=null"), "", mismatch),
        ("a part", "GET", format!("{get}&partNumber=1"), "", mismatch),
        ("a field more", "GET", format!("{get}&x-amz-checksum-mode=ENABLED"), "", mismatch),
        ("a header more", "PUT", put.clone(), "x-amz-meta-a: 1\r\n", mismatch),
        ("metadata more", "PUT", format!("{put}&X-Amz-Meta-A=1"), "", mismatch),
        ("a type", "PUT", put.clone(), "content-type: text/html\r\n", mismatch),
        ("a type in the query", "PUT", format!("{put}&Content-Type=text%2Fhtml"), "", mismatch),
        ("metadata changed", "PUT", hoisted.replace("meta-a=1", "meta-a=2"), "", mismatch),
        ("metadata left out", "PUT", hoisted.replace("&x-amz-meta-a=1", ""), "", mismatch),
        ("metadata of the header", "PUT", hoisted.clone(), "x-amz-meta-a: 2\r\n", mismatch),
        ("somebody", "GET", get.replace("AWSAccessKeyId=n", "AWSAccessKeyId=N"), "", "InvalidAccessKeyId"),
        ("no signature", "GET", get.replace(&last, ""), "", "AccessDenied"),
        ("no expiry", "GET", get.replace("&Expires=", "&expires="), "", "AccessDenied"),
        ("no key", "GET", get.replace("AWSAccessKeyId", "awsaccesskeyid"), "", "AccessDenied"),
        ("two expiries", "GET", format!("{get}&Expires={soon}"), "", "AccessDenied"),
        ("two mechanisms", "GET", get.clone(), "authorization: AWS a:b\r\n", "InvalidArgument"),
        ("both versions", "GET", format!("{get}&X-Amz-Signature=a"), "", "AuthorizationQueryParametersError"),
        (
            "chunks",
            "PUT",
            put.clone(),
            "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n",
            "InvalidRequest",
        ),
    ] {
        let response = fetch(method, &target, headers, if method == "PUT" { "evil" } else { "" });
        assert!(matches!(response.status, 400 | 403), "{what}: {} {}", response.head, response.text());
        assert_eq!(response.code(), code, "{what}: {}", response.text());
        let text = response.text();
        assert!(!text.contains(">secret") && !text.contains(server().root_key().1), "{what}: {text}");
    }

    for (what, expires, message) in [
        ("a time that is over", in_seconds(-1), "Request has expired".to_owned()),
        ("1970", "0".to_owned(), "Request has expired".to_owned()),
        ("milliseconds", format!("{soon}000"), String::new()),
        ("no time", "soon".to_owned(), String::new()),
        ("a date", "20300101T000000Z".to_owned(), String::new()),
        ("below 0", "-1".to_owned(), String::new()),
        ("no number at all", "99999999999999999999".to_owned(), String::new()),
    ] {
        let invalid = format!("Invalid date (should be seconds since epoch): {expires}");
        let message = if message.is_empty() { invalid } else { message };
        let target = sign_v2("/version2/k", "GET\n\n\nEXPIRES\n/version2/k", &expires);
        let response = fetch("GET", &target, "", "");
        expect(&response, 403, "AccessDenied");
        assert_eq!(nilas_tests::xml::first(&response.text(), "Message"), Some(message), "{what}");
    }
    // A signer may let a URL live as long as it wants.
    let years = sign_v2("/version2/k", "GET\n\n\nEXPIRES\n/version2/k", &in_seconds(20 * 365 * 24 * 3600));
    expect(&fetch("GET", &years, "", ""), 200, "");

    // Nothing but objects, read or written whole.
    let (_, id) = client.create_upload("version2", "m").expect("create");
    for (method, target) in [
        ("DELETE", "/version2/k".to_owned()),
        ("GET", "/".to_owned()),
        ("GET", "/version2".to_owned()),
        ("GET", "/version2?list-type=2".to_owned()),
        ("HEAD", "/version2".to_owned()),
        ("PUT", "/version2-other".to_owned()),
        ("DELETE", "/version2".to_owned()),
        ("POST", "/version2?delete".to_owned()),
        ("GET", "/version2?versions".to_owned()),
        ("GET", "/version2/k?acl".to_owned()),
        ("GET", "/version2/k?tagging".to_owned()),
        ("GET", "/version2/k?attributes".to_owned()),
        ("POST", "/version2/k?uploads".to_owned()),
        ("PUT", format!("/version2/m?partNumber=1&uploadId={id}")),
        ("POST", format!("/version2/m?uploadId={id}")),
        ("GET", format!("/version2/m?uploadId={id}")),
        ("DELETE", format!("/version2/m?uploadId={id}")),
        ("PUT", "/version2/l?x-amz-copy-source=%2Fversion2%2Fk".to_owned()),
        ("GET", "/_nilas/scrub".to_owned()),
    ] {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let copy = if query.contains("copy-source") { "x-amz-copy-source:/version2/k\n" } else { "" };
        let text = match query.contains("copy-source") || query.is_empty() {
            true => format!("{method}\n\n\nEXPIRES\n{copy}{path}"),
            false => format!("{method}\n\n\nEXPIRES\n{path}?{query}"),
        };
        let response = fetch(method, &sign_v2(&target, &text, &soon), "", "");
        let code = if method == "HEAD" { "" } else { "InvalidRequest" };
        assert_eq!(
            (response.status, response.code().as_str()),
            (400, code),
            "{method} {target}: {}",
            response.text()
        );
    }
    let catalog = sign_v2("/_iceberg/v1/warehouses", "GET\n\n\nEXPIRES\n/_iceberg/v1/warehouses", &soon);
    assert_eq!(fetch("GET", &catalog, "", "").status, 403);
    // Never in the header.
    let (access, secret) = server().root_key();
    let date = "Tue, 27 Mar 2007 19:36:42 +0000";
    let signature = sign::sign_v2(secret, &format!("GET\n\n\n{date}\n/version2/k"));
    let header = format!("date: {date}\r\nauthorization: AWS {access}:{signature}\r\n");
    expect(&fetch("GET", "/version2/k", &header, ""), 400, "InvalidRequest");
    expect_object(&mut client, "version2", "k", Some(b"secret"));
    expect_object(&mut client, "version2", "new", None);
    expect_object(&mut client, "version2", "l", None);
}

#[test]
fn version_2_can_be_switched_off() {
    let arguments = vec!["--presigned-v2".into(), "off".into()];
    let off = Server::start(ServerOptions { arguments, ..ServerOptions::fresh() }).expect("a server");
    let mut client = off.client();
    expect(&client.create_bucket("off").expect("create"), 200, "");
    expect(&client.put("off", "k", b"secret").expect("put"), 200, "");
    let soon = in_seconds(60);
    for method in ["GET", "PUT"] {
        let target = sign_v2("/off/k", &format!("{method}\n\n\nEXPIRES\n/off/k"), &soon);
        expect(&fetch_from(&off, method, &target, "", "body"), 400, "InvalidRequest");
    }
    expect_object(&mut client, "off", "k", Some(b"secret"));
    let arguments = vec!["--presigned-v2".into(), "maybe".into()];
    let refused = Server::start(ServerOptions { arguments, ..ServerOptions::fresh() });
    assert!(refused.is_err_and(|error| error.stderr.contains("neither on nor off")));
}

#[test]
fn a_bucket_of_another_owner_is_told_from_ours() {
    let mut client = bucket("owners");
    expect(&client.put("owners", "k", b"body").expect("put"), 200, "");
    let (_, id) = client.create_upload("owners", "m").expect("create");
    let mut sts = client.clone();
    sts.signer = sign::Signer::new(&client.signer.access, &client.signer.secret, "sts");
    let asked = Call::new("POST", "/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(b"Action=GetCallerIdentity&Version=2011-06-15")
        .payload(nilas_tests::client::Payload::Signed);
    let owner = sts.send(&asked).expect("who we are").text();
    let owner = nilas_tests::xml::first(&owner, "Account").expect("an account");
    let object = |method: &'static str| Call::object(method, "owners", "k");
    let of_bucket = |method: &'static str| Call::bucket(method, "owners");
    let copy = |call: Call<'static>| call.header("x-amz-copy-source", "/owners/k");
    let part = Call::object("PUT", "owners", "m").query("partNumber", "1").query("uploadId", id.as_str());
    let upload = |method: &'static str| Call::object(method, "owners", "m").query("uploadId", id.as_str());
    let mut calls = vec![
        of_bucket("HEAD"),
        of_bucket("GET"),
        of_bucket("GET").query("list-type", "2"),
        of_bucket("POST").query("delete", "").body(b"<Delete><Object><Key>k</Key></Object></Delete>"),
        object("GET"),
        object("HEAD"),
        object("PUT").body(b"other"),
        object("GET").query("attributes", "").header("x-amz-object-attributes", "ETag"),
        object("GET").query("acl", ""),
        object("GET").query("tagging", ""),
        copy(Call::object("PUT", "owners", "copied")),
        part.clone().body(b"part"),
        copy(part.clone()),
        object("POST").query("uploads", ""),
        upload("GET"),
        upload("POST").body(b"<CompleteMultipartUpload/>"),
        upload("DELETE"),
        object("DELETE"),
        of_bucket("DELETE"),
    ];
    for name in
        ["location", "versioning", "versions", "uploads", "acl", "policy", "ownershipControls", "cors"]
    {
        calls.push(of_bucket("GET").query(name, ""));
    }
    for call in &calls {
        let what = format!("{} {} {:?}", call.method, call.path, call.query);
        for wrong in ["111122223333", "", "x"] {
            let answer =
                client.send(&call.clone().header("x-amz-expected-bucket-owner", wrong)).expect("an answer");
            assert_eq!(answer.status, 403, "{what} {wrong:?}: {}", answer.text());
            if call.method != "HEAD" {
                assert_eq!(answer.code(), "AccessDenied", "{what} {wrong:?}");
            }
        }
        if call.headers.iter().any(|(name, _)| name == "x-amz-copy-source") {
            let wrong = call.clone().header("x-amz-source-expected-bucket-owner", "111122223333");
            expect(&client.send(&wrong).expect("an answer"), 403, "AccessDenied");
            let right = call.clone().header("x-amz-source-expected-bucket-owner", owner.as_str());
            expect(&client.send(&right).expect("an answer"), 200, "");
        }
    }
    expect_object(&mut client, "owners", "k", Some(b"body"));
    let right = object("GET").header("x-amz-expected-bucket-owner", owner);
    expect(&client.send(&right).expect("an answer"), 200, "");
}

#[test]
fn what_is_wrong_with_an_authorization_is_named() {
    let client = bucket("authorizations");
    let (access, _) = server().root_key();
    let date = client.amz_date();
    let credential = format!("Credential={access}/{}/us-east-1/s3/aws4_request", &date[..8]);
    let (names, zeros) = ("SignedHeaders=host", format!("Signature={}", "0".repeat(64)));
    let three =
        "the authorization header requires three components: Credential, SignedHeaders, and Signature.";
    let shape =
        "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
    for (components, text) in [
        (vec![credential.as_str(), names], three),
        (vec!["Other=1", names, &zeros], "missing Credential."),
        (vec![&credential, "Other=1", &zeros], "missing SignedHeaders."),
        (vec![&credential, names, "Other=1"], "missing Signature."),
        (vec![&credential, names, "Signature"], "the authorization component \"Signature\" is malformed."),
        (vec!["Credential=a/b/c", names, &zeros], shape),
    ] {
        let components = components.join(", ");
        let headers = format!("x-amz-date: {date}\r\nauthorization: AWS4-HMAC-SHA256 {components}\r\n");
        let response = fetch("GET", "/authorizations", &headers, "");
        expect(&response, 400, "AuthorizationHeaderMalformed");
        let text = format!("The authorization header is malformed; {text}");
        assert_eq!(nilas_tests::xml::first(&response.text(), "Message"), Some(text), "{components}");
    }
}

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
        ("TRACE", "/anonymous/k"),
    ] {
        let response = client.send(&Call::new(method, path).unsigned()).expect("an answer");
        // Not even whether the thing exists, or would be served.
        assert_eq!(response.status, 403, "{method} {path}: {} {}", response.head, response.text());
        assert!(!response.text().contains("secret"), "{method} {path}");
    }
    // What is no form is refused for that alone, whether there is such a bucket or not.
    for bucket in ["/anonymous", "/nosuchbucket"] {
        let response = client.send(&Call::new("POST", bucket).unsigned()).expect("an answer");
        expect(&response, 412, "PreconditionFailed");
    }
    // A preflight shows no credentials and learns of rules only.
    let preflight = |call: Call<'static>| {
        call.unsigned().header("origin", "http://x").header("access-control-request-method", "GET")
    };
    for path in ["/anonymous/k", "/nothing-there/k"] {
        let response = client.send(&preflight(Call::new("OPTIONS", path))).expect("an answer");
        assert_eq!(response.status, 403, "{path}: {}", response.text());
    }
    expect_object(&mut client, "anonymous", "k", Some(b"secret"));
    expect(&client.send(&Call::bucket("HEAD", "newbucket")).expect("head"), 404, "");
}
