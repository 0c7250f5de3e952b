//! Signature version 2 in the query: presigned URLs as some signers make them by default.
//!
//! The gateway calls [`verify`] for requests that [`shows`] finds, where the operator and the operation allow it. The
//! signature is an HMAC-SHA1 over method, path, expiry, `Content-Type`, `Content-MD5`, every `x-amz-*` field and the
//! parameters in [`SIGNED_PARAMETERS`]. It covers neither the host nor other headers nor the body, and is bound to no
//! region and no service: weaker than version 4, and never taken from the `Authorization` header.
//! Source: Amazon S3 User Guide, "Signing and authenticating REST requests", query string request authentication.
//!
//! I1. A field or parameter that counts is signed: both are found in the decoded query, as the operation finds them.
//! I2. Signatures are compared in constant time.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use nilas_catalog::uri::{Query, percent_decode_lenient, raw_pairs};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::auth::canonical;
use crate::auth::chunk_signature::ChunkSigner;
use crate::auth::error::{AuthError, Denied, Mismatch, Refused};
use crate::auth::hoisted::{Mechanism, fields};
use crate::auth::key_cache::mac_of;
use crate::auth::request::RequestView;
use crate::auth::sigv4::{KeyStore, PayloadMode, Service, Verified, parse_payload};
use crate::limits::PRESIGN_V2_EXPIRES_AT_S_MAX;

/// The parameters that are signed, of those that GetObject, HeadObject and PutObject know; sorted.
const SIGNED_PARAMETERS: [&str; 8] = [
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "versionId",
];

/// Whether a request shows a signature of version 2 in its query, and no other.
pub fn shows(view: &RequestView<'_>) -> bool {
    let names = |wanted: &[&str]| raw_pairs(view.raw_query).any(|(name, _)| wanted.contains(&name));
    names(&["AWSAccessKeyId", "Signature"])
        && !names(&["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"])
        && !view.headers.contains_key(http::header::AUTHORIZATION)
}

/// The access key that a request names which [`shows`] a signature of version 2.
pub(super) fn claimed_key(view: &RequestView<'_>) -> Option<String> {
    parameter(view.raw_query, "AWSAccessKeyId")
}

/// Verifies a request that [`shows`] a signature of version 2. `now_ms` is milliseconds since 1970.
pub fn verify(view: &RequestView<'_>, keys: &dyn KeyStore, now_ms: u64) -> Result<Verified, AuthError> {
    let denied = AuthError::AccessDenied;
    let need = |name| parameter(view.raw_query, name).ok_or_else(|| denied(Denied::V2Parameters));
    let (access_key, signature, expires) = (need("AWSAccessKeyId")?, need("Signature")?, need("Expires")?);
    let expires_s =
        parse_expires(&expires).ok_or_else(|| denied(Denied::V2Expires { value: expires.clone() }))?;
    let expired_ms = expires_s.saturating_mul(1000);
    if expired_ms < now_ms {
        return Err(denied(Denied::Expired { expires_s: None, expired_ms, server_ms: now_ms }));
    }
    let query = Query::parse(view.raw_query).ok_or_else(|| denied(Denied::V2Parameters))?;
    let signed = SignedFields::of(view, &query);
    let token = signed.text("x-amz-security-token");
    let secret = keys
        .secret(&access_key, token.as_deref(), now_ms)
        .map_err(|fault| fault.error(&access_key, token.as_deref()))?;
    let payload = match signed.text("x-amz-content-sha256") {
        None => PayloadMode::Unsigned,
        Some(text) => match parse_payload(&text)? {
            fits @ (PayloadMode::Unsigned | PayloadMode::Signed { .. }) => fits,
            // Chunks are signed by version 4.
            _ => return Err(AuthError::InvalidRequest(Refused::SignatureV2)),
        },
    };
    let mut first = None;
    for path in canonical::path_forms(view.raw_path, false) {
        let text = signed.string_to_sign(view.method, &expires, &path, &query);
        if bool::from(sign(&secret, &text).as_bytes().ct_eq(signature.as_bytes())) {
            // No chunk is signed, and none would fit.
            let chunks =
                ChunkSigner::new(mac_of(secret.as_bytes()), String::new(), String::new(), String::new());
            return Ok(Verified {
                access_key,
                service: Service::S3,
                region: String::new(),
                signed_ms: None,
                payload,
                mechanism: Mechanism::QueryV2,
                session_token: token,
                chunks,
            });
        }
        first.get_or_insert(text);
    }
    Err(AuthError::SignatureDoesNotMatch(Box::new(Mismatch {
        access_key,
        string_to_sign: Cow::into_owned(String::from_utf8_lossy(&first.unwrap_or_default())),
        signature_provided: signature,
        canonical_request: None,
    })))
}

/// A parameter of the signature itself, which comes once. In base64 `+` is itself, whether escaped or not.
fn parameter(raw_query: &str, wanted: &str) -> Option<String> {
    let mut found = raw_pairs(raw_query).filter(|(name, _)| *name == wanted);
    let (_, value) = found.next()?;
    let text = String::from_utf8(percent_decode_lenient(value, false).into_owned()).ok()?;
    // These values come back in XML, which cannot hold control characters.
    (found.next().is_none() && !text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// Seconds since 1970. A URL may live as long as its signer wants, but a time beyond the calendar is none.
fn parse_expires(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|seconds| *seconds <= PRESIGN_V2_EXPIRES_AT_S_MAX)
}

/// The header fields that are signed, wherever they stand: names in lower case, the values of one joined by commas.
struct SignedFields(BTreeMap<String, Vec<u8>>);

impl SignedFields {
    fn of(view: &RequestView<'_>, query: &Query) -> SignedFields {
        let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut add = |name: &str, value: &[u8]| {
            let value = value.trim_ascii();
            all.entry(name.to_owned())
                .and_modify(|joined| {
                    joined.push(b',');
                    joined.extend_from_slice(value);
                })
                .or_insert_with(|| value.to_vec());
        };
        for (name, value) in view.headers {
            let name = name.as_str();
            if name.starts_with("x-amz-") || name == "content-type" || name == "content-md5" {
                add(name, value.as_bytes());
            }
        }
        for (name, value) in fields(view.headers, query, Mechanism::QueryV2) {
            add(&name, value.as_bytes());
        }
        SignedFields(all)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    fn string_to_sign(&self, method: &str, expires: &str, path: &str, query: &Query) -> Vec<u8> {
        let field = |name: &str| self.0.get(name).map_or(&b""[..], Vec::as_slice);
        let mut out =
            [method.as_bytes(), field("content-md5"), field("content-type"), expires.as_bytes()].join(&b'\n');
        out.push(b'\n');
        for (name, value) in self.0.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        out.extend_from_slice(path.as_bytes());
        let mut mark = b'?';
        for wanted in SIGNED_PARAMETERS {
            for (name, value) in query.iter().filter(|(name, _)| *name == wanted) {
                out.push(mark);
                mark = b'&';
                out.extend_from_slice(name.as_bytes());
                if !value.is_empty() {
                    out.push(b'=');
                    out.extend_from_slice(value.as_bytes());
                }
            }
        }
        out
    }
}

pub(super) fn sign(secret: &str, text: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(text);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::auth::sigv4::KeyFault;

    const AK: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const EXPIRES_S: u64 = 1_175_139_620;

    struct One;
    impl KeyStore for One {
        fn secret(&self, access_key: &str, token: Option<&str>, _now_ms: u64) -> Result<Arc<str>, KeyFault> {
            match (access_key, token) {
                (AK, None) => Ok(SECRET.into()),
                (AK, Some(_)) => Err(KeyFault::InvalidToken),
                _ => Err(KeyFault::Unknown),
            }
        }
    }

    fn ask(line: &str, headers: &[(&str, &str)], now_ms: u64) -> Result<Verified, AuthError> {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let (raw_path, raw_query) = target.split_once('?').unwrap_or((target, ""));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let view = RequestView { method, raw_path, raw_query, headers: &map };
        assert!(shows(&view), "{line}");
        verify(&view, &One, now_ms)
    }

    /// `line` with access key, expiry and the signature of `text`.
    fn signed(line: &str, text: &str) -> String {
        let signature = sign(SECRET, text.as_bytes()).replace('+', "%2B").replace('=', "%3D");
        let and = if line.contains('?') { '&' } else { '?' };
        format!("{line}{and}AWSAccessKeyId={AK}&Expires={EXPIRES_S}&Signature={signature}")
    }

    fn check(line: &str, headers: &[(&str, &str)], text: &str) {
        let verified = ask(&signed(line, text), headers, 0);
        assert!(verified.is_ok(), "{line}: {verified:?}, not {text:?}");
    }

    #[test]
    fn published_example() {
        let line = format!(
            "GET /johnsmith/photos/puppy.jpg?AWSAccessKeyId={AK}&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires={EXPIRES_S}"
        );
        let verified =
            ask(&line, &[("host", "johnsmith.s3.amazonaws.com")], EXPIRES_S * 1000).expect("published");
        assert_eq!((verified.access_key.as_str(), verified.mechanism), (AK, Mechanism::QueryV2));
        assert_eq!(verified.payload, PayloadMode::Unsigned);
        assert!(ask(&line.replace("%2B", "+"), &[], 0).is_ok(), "an escape that was left out");
        let late = ask(&line, &[], EXPIRES_S * 1000 + 1).expect_err("over");
        assert_eq!((late.code(), &*late.message()), ("AccessDenied", "Request has expired"));
        let names: Vec<_> = late.fields().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Expires", "ServerTime"]);
    }

    #[test]
    fn what_is_signed() {
        check("HEAD /b/k", &[], "HEAD\n\n\n1175139620\n/b/k");
        check("GET /b/a%20b", &[], "GET\n\n\n1175139620\n/b/a%20b");
        check("GET /b/k?x-id=GetObject", &[], "GET\n\n\n1175139620\n/b/k");
        check(
            "GET /b/k?versionId=null&response-content-type=a%2Fb&partNumber=1&response-expires=c+d",
            &[],
            "GET\n\n\n1175139620\n/b/k?partNumber=1&response-content-type=a/b&response-expires=c d&versionId=null",
        );
        check(
            "PUT /b/k",
            &[("content-type", "text/plain"), ("content-md5", "m=="), ("range", "bytes=0-1")],
            "PUT\nm==\ntext/plain\n1175139620\n/b/k",
        );
        check("PUT /b/k?content-type=text%2Fplain", &[], "PUT\n\ntext/plain\n1175139620\n/b/k");
        check(
            "PUT /b/k?content-type=text%2Fhtml&x-amz-meta-a=2",
            &[("content-type", "text/plain"), ("x-amz-meta-a", "1")],
            "PUT\n\ntext/plain\n1175139620\nx-amz-meta-a:1\n/b/k",
        );
        check(
            "PUT /b/k?X-Amz-Meta-B=%20b&x-amz-meta-c=1&x-amz-meta-c=2",
            &[("x-amz-meta-a", "1"), ("x-amz-meta-a", " 2")],
            "PUT\n\n\n1175139620\nx-amz-meta-a:1,2\nx-amz-meta-b:b\nx-amz-meta-c:1,2\n/b/k",
        );
        check(
            "PUT /b/k?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32",
            &[],
            "PUT\n\n\n1175139620\nx-amz-checksum-crc32:AAAAAA==\nx-amz-sdk-checksum-algorithm:CRC32\n/b/k",
        );
    }

    #[test]
    fn what_was_not_signed_does_not_fit() {
        let plain = "GET\n\n\n1175139620\n/b/k";
        let refused = |line: &str, headers: &[(&str, &str)]| {
            let outcome = ask(&signed(line, plain), headers, 0);
            assert_eq!(outcome.expect_err(line).code(), "SignatureDoesNotMatch", "{line} {headers:?}");
        };
        check("GET /b/k", &[("range", "bytes=0-1")], plain);
        refused("PUT /b/k", &[]);
        refused("GET /b/l", &[]);
        refused("GET /b/k", &[("content-type", "text/plain")]);
        refused("GET /b/k", &[("content-md5", "m==")]);
        refused("GET /b/k", &[("x-amz-meta-a", "1")]);
        refused("GET /b/k?x-amz-meta-a=1", &[]);
        refused("GET /b/k?X-Amz-Meta-A=1", &[]);
        refused("GET /b/k?content-type=a", &[]);
        refused("GET /b/k?Content-Type=a", &[]);
        for name in SIGNED_PARAMETERS {
            refused(&format!("GET /b/k?{name}=1"), &[]);
            refused(&format!("GET /b/k?{name}=1&{name}=1"), &[]);
            refused(&format!("GET /b/k?%{:02x}{}=1", name.as_bytes()[0], &name[1..]), &[]);
        }
        let mismatch = ask(&signed("GET /b/l", plain), &[], 0).expect_err("another key");
        let names: Vec<_> = mismatch.fields().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["AWSAccessKeyId", "StringToSign", "SignatureProvided", "StringToSignBytes"]);
    }

    #[test]
    fn parameters() {
        let fails = |query: &str, code: &str, message: &str| {
            let error = ask(&format!("GET /b/k?{query}"), &[], 0).expect_err(query);
            assert_eq!((error.code(), &*error.message()), (code, message), "{query}");
        };
        let missing =
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters";
        let all = [format!("AWSAccessKeyId={AK}"), "Expires=1".to_owned(), "Signature=s".to_owned()];
        for left_out in 0..3 {
            let mut some = all.to_vec();
            let gone = some.remove(left_out);
            if left_out != 1 || some.len() == 2 {
                fails(&some.join("&"), "AccessDenied", missing);
            }
            fails(&format!("{}&{gone}&{gone}", some.join("&")), "AccessDenied", missing);
        }
        let whole = |expires: &str| format!("AWSAccessKeyId={AK}&Expires={expires}&Signature=s");
        for bad in ["soon", "-1", "1.5", "1175139620000", "99999999999999999999", "%201"] {
            let text = format!("Invalid date (should be seconds since epoch): {}", bad.replace("%20", " "));
            fails(&whole(bad), "AccessDenied", &text);
        }
        let unknown = "The AWS Access Key Id you provided does not exist in our records.";
        fails(&whole("9").replace(AK, "AK"), "InvalidAccessKeyId", unknown);
        let token = "The provided token is malformed or otherwise invalid.";
        fails(&format!("{}&x-amz-security-token=t", whole("9")), "InvalidToken", token);
        let refused =
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        for mode in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
            fails(&format!("{}&x-amz-content-sha256={mode}", whole("9")), "InvalidRequest", refused);
        }
    }

    #[test]
    fn only_the_query_shows_it() {
        let check = |query: &str, authorization: Option<&str>, want: bool| {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert("authorization", HeaderValue::from_str(value).expect("a value"));
            }
            let view = RequestView { method: "GET", raw_path: "/", raw_query: query, headers: &headers };
            assert_eq!(shows(&view), want, "{query} {authorization:?}");
        };
        check("AWSAccessKeyId=a&Expires=1&Signature=s", None, true);
        check("Signature=s", None, true);
        check("Expires=1", None, false);
        check("", Some("AWS AK:s"), false);
        check("AWSAccessKeyId=a&Expires=1&Signature=s", Some("AWS AK:s"), false);
        check("AWSAccessKeyId=a&Signature=s&X-Amz-Signature=s", None, false);
    }
}
