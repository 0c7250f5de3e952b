//! Signatures held against AWS's published examples and against AWS's own signer, then altered in every way.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningParams, SigningSettings,
    UriPathNormalizationMode, sign as aws_sign,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::auth::error::{Denied, QueryFault};

const AK: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TEMPORARY: &str = "ASIATEMPORARY";
const NOW_MS: u64 = 1_369_353_600_000;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Keys;

impl KeyStore for Keys {
    fn secret(&self, access_key: &str, token: Option<&str>, _now_ms: u64) -> Result<Arc<str>, KeyFault> {
        match (access_key, token) {
            (AK | "with/slash", None) | (TEMPORARY, Some("tok/en+=")) => Ok(SECRET.into()),
            (TEMPORARY, Some("over")) => Err(KeyFault::ExpiredToken),
            (AK | "with/slash" | TEMPORARY, _) => Err(KeyFault::InvalidToken),
            _ => Err(KeyFault::Unknown),
        }
    }
}

/// A request on its way, owned.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl Sent {
    fn new(method: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut sent =
            Self { method: method.into(), path: path.into(), query: query.into(), headers: HeaderMap::new() };
        for (name, value) in headers {
            sent.append(name, value);
        }
        sent
    }

    fn append(&mut self, name: &str, value: &str) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
        self.headers.append(name, HeaderValue::from_str(value).expect("value"));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.remove(name);
        self.append(name, value);
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            raw_path: &self.path,
            raw_query: &self.query,
            headers: &self.headers,
        }
    }

    fn verify(&self) -> Result<Verified, AuthError> {
        self.verify_at(NOW_MS)
    }

    fn verify_at(&self, now_ms: u64) -> Result<Verified, AuthError> {
        verify(&self.view(), &Keys, &mut SigningKeyCache::new(), now_ms)
    }

    fn verify_body(&self, body: &[u8]) -> Result<Verified, AuthError> {
        let hash = Sha256::digest(body).into();
        verify_with_body(
            &self.view(),
            &hash,
            &[Service::S3Tables, Service::S3],
            &Keys,
            &mut SigningKeyCache::new(),
            NOW_MS,
        )
    }
}

/// How AWS's signer is asked to sign.
#[derive(Clone, Copy)]
struct How<'h> {
    access_key: &'h str,
    token: Option<&'h str>,
    service: &'h str,
    region: &'h str,
    double: bool,
    presign: Option<u64>,
    body: &'h str,
}

const S3: How<'static> = How {
    access_key: AK,
    token: None,
    service: "s3",
    region: "us-east-1",
    double: false,
    presign: None,
    body: EMPTY,
};

fn signed(mut sent: Sent, how: How<'_>) -> Sent {
    let token = how.token.map(str::to_owned);
    let identity = Credentials::new(how.access_key, SECRET, token, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode =
        if how.double { PercentEncodingMode::Double } else { PercentEncodingMode::Single };
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    if let Some(seconds) = how.presign {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(seconds));
    }
    if how.service == "s3" && how.presign.is_none() {
        sent.append("x-amz-content-sha256", how.body);
    }
    let params: SigningParams<'_> = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(how.region)
        .name(how.service)
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW_MS))
        .settings(settings)
        .build()
        .expect("parameters")
        .into();
    let uri = match sent.query.as_str() {
        "" => format!("http://h:9000{}", sent.path),
        query => format!("http://h:9000{}?{query}", sent.path),
    };
    let headers: Vec<(String, String)> = sent
        .headers
        .iter()
        .map(|(n, v)| (n.to_string(), String::from_utf8(v.as_bytes().to_vec()).expect("text")))
        .collect();
    let body = match how.body {
        "UNSIGNED-PAYLOAD" => SignableBody::UnsignedPayload,
        other => SignableBody::Precomputed(other.to_owned()),
    };
    let headers_in = headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let signable = SignableRequest::new(&sent.method, &uri, headers_in, body).expect("signable");
    let (instructions, _) = aws_sign(signable, &params).expect("signed").into_parts();
    let (new_headers, new_params) = instructions.into_parts();
    for header in new_headers {
        sent.append(header.name(), header.value());
    }
    for (name, value) in new_params {
        let value = canonical::query(
            &format!("v={}", value.replace('%', "%25").replace('+', "%2B").replace('&', "%26")),
            false,
            false,
        );
        let and = if sent.query.is_empty() { "" } else { "&" };
        sent.query = format!("{}{and}{name}={}", sent.query, &value[2..]);
    }
    sent
}

fn code(outcome: &Result<Verified, AuthError>) -> &'static str {
    outcome.as_ref().map_or_else(AuthError::code, |_| "ok")
}

#[test]
fn published_header_examples() {
    let check = |method: &str, target: &str, headers: &[(&str, &str)], signed: &str, signature: &str| {
        let mut sent = Sent::new(method, target, headers);
        sent.append("x-amz-date", "20130524T000000Z");
        sent.append(
            "authorization",
            &format!(
                "AWS4-HMAC-SHA256 Credential={AK}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},Signature={signature}"
            ),
        );
        let verified = sent.verify().expect(target);
        assert_eq!((verified.access_key.as_str(), verified.mechanism), (AK, Mechanism::HeaderV4));
    };
    let host = ("host", "examplebucket.s3.amazonaws.com");
    check(
        "GET",
        "/test.txt",
        &[host, ("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    check(
        "PUT",
        "/test%24file.text",
        &[
            host,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let plain = [host, ("x-amz-content-sha256", EMPTY)];
    let names = "host;x-amz-content-sha256;x-amz-date";
    check(
        "GET",
        "/?lifecycle",
        &plain,
        names,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    check(
        "GET",
        "/?max-keys=2&prefix=J",
        &plain,
        names,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
}

#[test]
fn published_presigned_example() {
    let target = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let sent = Sent::new("GET", target, &[("host", "examplebucket.s3.amazonaws.com")]);
    let verified = sent.verify().expect("published");
    assert_eq!(verified.mechanism, Mechanism::QueryV4);
    assert_eq!(verified.payload, PayloadMode::Unsigned);
    assert!(sent.verify_at(NOW_MS + 86_400_000).is_ok());
    let late = sent.verify_at(NOW_MS + 86_401_000).expect_err("expired");
    assert_eq!((late.code(), &*late.message()), ("AccessDenied", "Request has expired"));
    assert!(sent.verify_at(NOW_MS - 900_000).is_ok());
    let early = sent.verify_at(NOW_MS - 900_001).expect_err("not yet");
    assert!(matches!(early, AuthError::AccessDenied(Denied::NotYetValid { .. })));
}

const PATHS: [&str; 16] = [
    "/",
    "/b",
    "/b/k",
    "/b/a%20b",
    "/b/a%2Fb",
    "/b/a+b",
    "/b/a%2Bb",
    "/b/~tilde",
    "/b/%C3%A9%E6%97%A5%F0%9F%98%80",
    "/b//double//slash/",
    "/b/./dot/../dots",
    "/b/%25percent%2525",
    "/b/k=v&w",
    "/b/(paren)*star'quote!",
    "/b/colon:semi;at@",
    "/b/%00%1F%7F",
];

const QUERIES: [&str; 14] = [
    "",
    "uploads",
    "uploads=",
    "list-type=2&prefix=a%2Fb%20c&delimiter=%2F",
    "prefix=%2B&marker=~",
    "prefix=%C3%A9",
    "a=2&a=1&a=",
    "b=1&a-b=2&a=3",
    "x-id=PutObject",
    "versionId=null&partNumber=1",
    "k=v%3Dw",
    "k=%26&%26=k",
    "%C3%A9=1",
    "Zed=1&alpha=2&_u=3&-d=4",
];

#[test]
fn awss_signer_agrees() {
    for path in PATHS {
        for query in QUERIES {
            for presign in [None, Some(1), Some(604_800)] {
                let target = format!("{path}?{query}");
                let sent = Sent::new("GET", &target, &[("host", "h:9000"), ("x-amz-meta-a", "  b   c ")]);
                let body = if presign.is_some() { "UNSIGNED-PAYLOAD" } else { EMPTY };
                let sent = signed(sent, How { presign, body, ..S3 });
                let verified = sent.verify();
                assert_eq!(code(&verified), "ok", "{target} {presign:?} {verified:?}");
            }
            for double in [true, false] {
                for body in [&b""[..], b"{\"name\":1}"] {
                    let target = format!("{path}?{query}");
                    let hash = hex::encode(Sha256::digest(body));
                    let sent = Sent::new("POST", &target, &[("host", "h:9000")]);
                    let how = How { service: "s3tables", region: "local", double, body: &hash, ..S3 };
                    let sent = signed(sent, how);
                    let verified = sent.verify_body(body);
                    assert_eq!(code(&verified), "ok", "{target} {double} {verified:?}");
                    assert_eq!(code(&sent.verify_body(b"other")), "SignatureDoesNotMatch");
                }
            }
        }
    }
}

#[test]
fn payload_modes() {
    let check = |body: &str, expected: PayloadMode| {
        let sent = signed(Sent::new("PUT", "/b/k", &[("host", "h")]), How { body, ..S3 });
        assert_eq!(sent.verify().expect(body).payload, expected);
    };
    check("UNSIGNED-PAYLOAD", PayloadMode::Unsigned);
    check("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadMode::StreamingSigned);
    check("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PayloadMode::StreamingSignedTrailer);
    check("STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadMode::StreamingUnsignedTrailer);
    check(EMPTY, PayloadMode::Signed { sha256: Sha256::digest(b"").into() });
    for body in ["STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "unsigned-payload", "00", &EMPTY[1..]] {
        let sent = signed(Sent::new("PUT", "/b/k", &[("host", "h")]), How { body, ..S3 });
        assert_eq!(code(&sent.verify()), "InvalidArgument", "{body}");
    }
}

#[test]
fn every_altered_part_fails() {
    let base = Sent::new(
        "PUT",
        "/bucket/key?partNumber=1&uploadId=u",
        &[
            ("host", "h:9000"),
            ("x-amz-meta-a", "b"),
            ("content-type", "text/plain"),
            ("x-amz-acl", "private"),
        ],
    );
    type Alteration = (&'static str, fn(&mut Sent));
    let altered: [Alteration; 14] = [
        ("method", |s| s.method = "GET".into()),
        ("path", |s| s.path = "/bucket/kez".into()),
        ("path grown", |s| s.path.push('/')),
        ("query value", |s| s.query = s.query.replace("partNumber=1", "partNumber=2")),
        ("query more", |s| s.query.push_str("&versionId=1")),
        ("query less", |s| s.query = s.query.replace("uploadId=u", "")),
        ("host", |s| s.set("host", "h:9001")),
        ("host repeated", |s| s.append("host", "h:9000")),
        ("meta", |s| s.set("x-amz-meta-a", "c")),
        ("meta repeated", |s| s.append("x-amz-meta-a", "b")),
        ("meta gone", |s| drop(s.headers.remove("x-amz-meta-a"))),
        ("type", |s| s.set("content-type", "text/html")),
        ("acl", |s| s.set("x-amz-acl", "public-read")),
        ("new", |s| s.append("x-amz-meta-new", "1")),
    ];
    for presign in [None, Some(60)] {
        let body = if presign.is_some() { "UNSIGNED-PAYLOAD" } else { EMPTY };
        let sent = signed(base.clone(), How { presign, body, ..S3 });
        assert_eq!(code(&sent.verify()), "ok");
        for (what, alter) in altered {
            let mut changed = sent.clone();
            alter(&mut changed);
            let expected = if what == "new" { "AccessDenied" } else { "SignatureDoesNotMatch" };
            assert_eq!(code(&changed.verify()), expected, "{what} {presign:?}");
        }
    }
    let sent = signed(base, S3);
    for (name, value, expected) in [
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", "SignatureDoesNotMatch"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "SignatureDoesNotMatch"),
        ("x-amz-date", "20130524T000001Z", "SignatureDoesNotMatch"),
        ("x-amz-date", "20130523T235959Z", "AuthorizationHeaderMalformed"),
        ("x-amz-date", "now", "AccessDenied"),
    ] {
        let mut changed = sent.clone();
        changed.set(name, value);
        assert_eq!(code(&changed.verify()), expected, "{name}: {value}");
    }
    let authorization = sent.headers["authorization"].to_str().expect("text").to_owned();
    for (from, to, expected) in [
        ("us-east-1", "eu-west-1", "SignatureDoesNotMatch"),
        // The same secret under another name, and a name with a slash: the key id itself is not signed.
        (AK, "with/slash", "ok"),
        (AK, "NOBODY", "InvalidAccessKeyId"),
        (AK, TEMPORARY, "InvalidToken"),
        ("/s3/", "/s3tables/", "AuthorizationHeaderMalformed"),
        ("/s3/", "/ec2/", "AuthorizationHeaderMalformed"),
        ("aws4_request", "aws5_request", "AuthorizationHeaderMalformed"),
        ("20130524", "20130525", "AuthorizationHeaderMalformed"),
        ("20130524", "2013-524", "AuthorizationHeaderMalformed"),
        ("host;", "", "AccessDenied"),
        ("x-amz-acl;", "", "AccessDenied"),
        ("content-type;", "", "SignatureDoesNotMatch"),
        ("host;", "host;host;", "AuthorizationHeaderMalformed"),
        ("Signature=", "Signature=0", "SignatureDoesNotMatch"),
        ("Signature=", "Sig=", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 ", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 ", "AWS ", "InvalidRequest"),
    ] {
        let mut changed = sent.clone();
        changed.set("authorization", &authorization.replacen(from, to, 1));
        assert_eq!(code(&changed.verify()), expected, "{from} → {to}");
    }
}

#[test]
fn what_is_wrong_with_an_authorization_is_named() {
    let sent = signed(Sent::new("GET", "/b", &[("host", "h")]), S3);
    let authorization = sent.headers["authorization"].to_str().expect("text").to_owned();
    let (scheme, rest) = authorization.split_once(' ').expect("a scheme");
    let [credential, names, signature]: [&str; 3] =
        rest.split(',').map(str::trim).collect::<Vec<_>>().try_into().expect("three components");
    let check = |components: &[&str], expected: &str| {
        let mut changed = sent.clone();
        changed.set("authorization", &format!("{scheme} {}", components.join(", ")));
        let error = changed.verify().expect_err(expected);
        let text = format!("The authorization header is malformed; {expected}");
        assert_eq!((error.code(), &*error.message()), ("AuthorizationHeaderMalformed", text.as_str()));
    };
    let three =
        "the authorization header requires three components: Credential, SignedHeaders, and Signature.";
    check(&[credential, names], three);
    check(&[credential], three);
    check(&[credential, names, signature, "Other=1"], three);
    check(&[credential, names, signature, signature], three);
    check(&["Other=1", names, signature], "missing Credential.");
    check(&[credential, "Other=1", signature], "missing SignedHeaders.");
    check(&[credential, names, "Other=1"], "missing Signature.");
    check(&[credential, names, names], "missing Signature.");
    check(&["Credential", names, signature], "the authorization component \"Credential\" is malformed.");
    check(&[credential, names, "Signature="], "the authorization component \"Signature=\" is malformed.");
    check(
        &[credential, "SignedHeaders=Host", signature],
        "the authorization component \"SignedHeaders=Host\" is malformed.",
    );
    let shape =
        "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
    check(&["Credential=AK/20130524/us-east-1/s3", names, signature], shape);
    check(&["Credential=AK", names, signature], shape);
    // In any order they say the same.
    let mut turned = sent.clone();
    turned.set("authorization", &format!("{scheme} {signature},{credential},{names}"));
    assert_eq!(code(&turned.verify()), "ok");
}

#[test]
fn time_and_skew() {
    let sent = signed(Sent::new("GET", "/b", &[("host", "h")]), S3);
    for (offset, expected) in [
        (0i64, "ok"),
        (900_000, "ok"),
        (-900_000, "ok"),
        (900_001, "RequestTimeTooSkewed"),
        (-900_001, "RequestTimeTooSkewed"),
    ] {
        assert_eq!(code(&sent.verify_at(NOW_MS.saturating_add_signed(offset))), expected, "{offset}");
    }
}

#[test]
fn temporary_credentials() {
    for presign in [None, Some(60)] {
        let how = How { access_key: TEMPORARY, token: Some("tok/en+="), presign, ..S3 };
        let how = How { body: if presign.is_some() { "UNSIGNED-PAYLOAD" } else { EMPTY }, ..how };
        let sent = signed(Sent::new("GET", "/b", &[("host", "h")]), how);
        let verified = sent.verify().expect("token");
        assert_eq!(verified.session_token.as_deref(), Some("tok/en+="));
        let wrong = signed(Sent::new("GET", "/b", &[("host", "h")]), How { token: Some("other"), ..how });
        assert_eq!(code(&wrong.verify()), "InvalidToken");
        let lasting = signed(Sent::new("GET", "/b", &[("host", "h")]), How { access_key: AK, ..how });
        assert_eq!(code(&lasting.verify()), "InvalidToken");
    }
}

#[test]
fn without_or_with_two_credentials() {
    let none = Sent::new("GET", "/b?X-Amz-Date=20130524T000000Z", &[("host", "h")]);
    assert_eq!(none.verify().expect_err("anonymous"), AuthError::AccessDenied(Denied::NoCredentials));
    let both = signed(Sent::new("GET", "/b?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[("host", "h")]), S3);
    assert_eq!(code(&both.verify()), "InvalidArgument");
    let mut twice = signed(Sent::new("GET", "/b", &[("host", "h")]), S3);
    let value = twice.headers["authorization"].to_str().expect("text").to_owned();
    twice.append("authorization", &value);
    assert_eq!(code(&twice.verify()), "InvalidRequest");
    let v2 = Sent::new("GET", "/b?AWSAccessKeyId=AK&Expires=1&Signature=x", &[("host", "h")]);
    assert_eq!(v2.verify().expect_err("v2"), AuthError::InvalidRequest(Refused::SignatureV2));
    let bearer = Sent::new("GET", "/b", &[("host", "h"), ("authorization", "Bearer x")]);
    assert_eq!(code(&bearer.verify()), "InvalidArgument");
    let mut bare = signed(Sent::new("GET", "/b", &[("host", "h")]), S3);
    bare.headers.remove("x-amz-content-sha256");
    assert_eq!(bare.verify().expect_err("hash"), AuthError::InvalidRequest(Refused::NoContentSha256));
}

#[test]
fn presigned_parameters() {
    let sent = signed(
        Sent::new("GET", "/b/k", &[("host", "h")]),
        How { presign: Some(60), body: "UNSIGNED-PAYLOAD", ..S3 },
    );
    let week = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds";
    let check = |from: &str, to: &str, expected: &str| {
        let mut changed = sent.clone();
        assert!(changed.query.contains(from), "{}", changed.query);
        changed.query = changed.query.replacen(from, to, 1);
        let error = changed.verify().expect_err(to);
        assert_eq!(error.code(), "AuthorizationQueryParametersError", "{from} → {to}: {error}");
        assert_eq!(error.message(), expected, "{from} → {to}");
    };
    check("Expires=60", "Expires=604801", week);
    check("Expires=60", "Expires=99999999999999999999999", week);
    check("Expires=60", "Expires=-7", "X-Amz-Expires must be non-negative");
    check("Expires=60", "Expires=0", "X-Amz-Expires must be non-negative");
    check("Expires=60", "Expires=1h", "X-Amz-Expires should be a number");
    let missing = QueryFault::MissingParameters;
    let missing = AuthError::AuthorizationQueryParametersError(missing).message();
    for name in ["Algorithm", "Credential", "Signature", "Date", "SignedHeaders", "Expires"] {
        check(&format!("X-Amz-{name}="), "X-Amz-Other=", &missing);
        check(&format!("X-Amz-{name}="), &format!("X-Amz-{name}=%00"), &missing);
        check(&format!("X-Amz-{name}="), &format!("X-Amz-{name}=1&X-Amz-{name}="), &missing);
    }
    check("Date=2013", "Date=x013", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
    check(
        "%2Fs3%2F",
        "%2Fec2%2F",
        "Error parsing the X-Amz-Credential parameter; incorrect service \"ec2\". This endpoint belongs to \"s3\".",
    );
    check(
        "%2F20130524%2F",
        "%2F20130525%2F",
        "Invalid credential date \"20130525\". This date is not the same as X-Amz-Date: \"20130524\".",
    );
    let mut changed = sent.clone();
    changed.query = changed.query.replacen("Expires=60", "Expires=61", 1);
    assert_eq!(code(&changed.verify()), "SignatureDoesNotMatch");
}

#[test]
fn catalog_hash_headers() {
    // Clients write the hash as hex, as base64, or not at all; the signature has it as hex.
    let body = b"{}";
    let hash: [u8; 32] = Sha256::digest(body).into();
    let base64 = base64::engine::general_purpose::STANDARD.encode(hash);
    let hex = hex::encode(hash);
    let check = |header: Option<&str>, literal: &str, expected: &str| {
        let mut sent = Sent::new("POST", "/_iceberg/v1/w/namespaces/a%1Fb?pageToken=", &[("host", "h:9000")]);
        if let Some(value) = header {
            sent.append("x-amz-content-sha256", value);
        }
        let how = How { service: "s3tables", region: "local", double: true, body: literal, ..S3 };
        let sent = signed(sent, how);
        assert_eq!(code(&sent.verify_body(body)), expected, "{header:?} {literal}");
    };
    check(None, &hex, "ok");
    check(Some(&hex), &hex, "ok");
    check(Some(&base64), &hex, "ok");
    check(Some("UNSIGNED-PAYLOAD"), &hex, "ok");
    check(Some("UNSIGNED-PAYLOAD"), "UNSIGNED-PAYLOAD", "ok");
    check(None, "UNSIGNED-PAYLOAD", "SignatureDoesNotMatch");
    check(Some(EMPTY), &hex, "XAmzContentSHA256Mismatch");
    check(Some("nonsense"), &hex, "XAmzContentSHA256Mismatch");
}

#[test]
fn catalog_blank_values_may_be_unsigned() {
    let how = How { service: "s3tables", double: true, ..S3 };
    let mut sent = signed(Sent::new("GET", "/v1/namespaces?parent=a%1Fb", &[("host", "h")]), how);
    sent.query.push_str("&pageToken=");
    assert_eq!(code(&sent.verify_body(b"")), "ok");
    sent.query.push_str("&pageToken=x");
    assert_eq!(code(&sent.verify_body(b"")), "SignatureDoesNotMatch");
    assert_eq!(precheck(&sent.view(), &[Service::S3Tables], &Keys, NOW_MS), Ok(Service::S3Tables));
    let of_others = precheck(&sent.view(), &[Service::Iam, Service::Sts], &Keys, NOW_MS);
    assert_eq!(of_others.expect_err("another service").code(), "AuthorizationHeaderMalformed");
    assert_eq!(shown(&sent.view()), Ok(Some(Service::S3Tables)));
    assert_eq!(code(&sent.verify()), "AuthorizationHeaderMalformed");
}

#[test]
fn a_mismatch_shows_what_was_signed() {
    let mut sent = signed(Sent::new("GET", "/b/k", &[("host", "h")]), S3);
    sent.path = "/b/l".into();
    let error = sent.verify().expect_err("altered");
    let names: Vec<_> = error.fields().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "AWSAccessKeyId",
        "StringToSign",
        "SignatureProvided",
        "StringToSignBytes",
        "CanonicalRequest",
        "CanonicalRequestBytes",
    ];
    assert_eq!(names, expected);
    let AuthError::SignatureDoesNotMatch(mismatch) = error else { panic!("{error}") };
    assert!(mismatch.canonical_request.is_some_and(|text| text.starts_with("GET\n/b/l\n\nhost:h\n")));
    assert!(
        mismatch.string_to_sign.starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/")
    );
}

#[test]
fn the_cache_changes_nothing() {
    let mut cache = SigningKeyCache::new();
    let sent = signed(Sent::new("GET", "/b/k", &[("host", "h")]), S3);
    let mut altered = sent.clone();
    altered.path = "/b/l".into();
    for _ in 0..3 {
        assert_eq!(code(&verify(&altered.view(), &Keys, &mut cache, NOW_MS)), "SignatureDoesNotMatch");
        assert_eq!(code(&verify(&sent.view(), &Keys, &mut cache, NOW_MS)), "ok");
    }
}

#[test]
fn mutations_never_verify_nor_panic() {
    let seeds = [
        format!(
            "GET\n/b/k?a=1\nhost:h\nx-amz-date:20130524T000000Z\nx-amz-content-sha256:{EMPTY}\nauthorization:AWS4-HMAC-SHA256 Credential=AK/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={EMPTY}"
        ),
        format!(
            "GET\n/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={EMPTY}\nhost:h"
        ),
        "GET\n/\nauthorization:AWS a:b".to_owned(),
        "PUT\n/b/k?AWSAccessKeyId=AK&Expires=1369353600&Signature=a%2B%3D&x-amz-meta-a=1&versionId=v\nhost:h"
            .to_owned(),
        String::new(),
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below.max(1)
    };
    for round in 0..20_000 {
        let mut input = seeds[round % seeds.len()].clone().into_bytes();
        for _ in 0..random(6) {
            let at = random(input.len() + 1);
            match random(4) {
                0 if at < input.len() => input[at] = u8::try_from(random(256)).expect("byte"),
                1 => input.insert(at, b"%+/;,= \n:&?\xff"[random(12)]),
                2 if at < input.len() => drop(input.remove(at)),
                _ => input.truncate(at),
            }
        }
        fuzz_auth(&input);
    }
}
