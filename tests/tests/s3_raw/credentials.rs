//! Who may do what: signatures in headers and addresses, and what nobody may do without one.

use nilas_tests::client::{Call, Client};
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
    let fetch = |method: &str, target: &str, headers: &str, body: &str| {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let host = server().address();
        let request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}");
        server().client().exchange(request.as_bytes(), method).expect("an answer").0
    };
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
        ("POST", "/anonymous"),
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
        ("OPTIONS", "/anonymous/k"),
        ("TRACE", "/anonymous/k"),
    ] {
        let response = client.send(&Call::new(method, path).unsigned()).expect("an answer");
        // Not even whether the thing exists, or would be served.
        assert_eq!(response.status, 403, "{method} {path}: {} {}", response.head, response.text());
        assert!(!response.text().contains("secret"), "{method} {path}");
    }
    expect_object(&mut client, "anonymous", "k", Some(b"secret"));
    expect(&client.send(&Call::bucket("HEAD", "newbucket")).expect("head"), 404, "");
}
