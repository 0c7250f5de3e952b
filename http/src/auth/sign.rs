//! Signs requests of our own: SigV4 in the header, by the same canonical forms and derived keys that verify others'.
//!
//! The command line calls it for what it asks of a running server. Pure: the time is an argument. A body is whole and its
//! hash is signed; a body's hash, the time and a session token go into headers that are signed as well.

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use sha2::{Digest as _, Sha256};

use crate::auth::canonical;
use crate::auth::key_cache::{derive, sign as mac};
use crate::auth::time::render_timestamp;

/// Who signs.
pub struct Signer<'a> {
    /// The access key.
    pub access_key: &'a str,
    /// Its secret, which stays here.
    pub secret_key: &'a str,
    /// The token that belongs to the key when it is one of a session.
    pub session_token: Option<&'a str>,
}

/// What is signed.
pub struct Unsigned<'a> {
    /// Upper case.
    pub method: &'a str,
    /// The host and port that are asked, as the `Host` header will have them.
    pub host: &'a str,
    /// As it goes on the wire.
    pub path: &'a str,
    /// As it goes on the wire, without `?`.
    pub query: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

/// Makes the headers that sign a request to a service (`s3`, `s3tables`, `iam`, `sts`) in a region, `Host` among them.
///
/// The error is a host, key or token with a character that no header can carry.
pub fn sign(
    request: &Unsigned<'_>,
    signer: &Signer<'_>,
    region: &str,
    service: &str,
    now_ms: u64,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let time = render_timestamp(now_ms);
    let payload = hex::encode(Sha256::digest(request.body));
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(request.host)?);
    headers.insert(HeaderName::from_static("x-amz-content-sha256"), HeaderValue::from_str(&payload)?);
    headers.insert(HeaderName::from_static("x-amz-date"), HeaderValue::from_str(&time)?);
    let mut signed = "host;x-amz-content-sha256;x-amz-date".to_owned();
    if let Some(token) = signer.session_token {
        let mut token = HeaderValue::from_str(token)?;
        token.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-amz-security-token"), token);
        signed.push_str(";x-amz-security-token");
    }
    let path = canonical::path_forms(request.path, service != "s3").swap_remove(0);
    let canonical = canonical::request(
        request.method,
        &path,
        &canonical::query(request.query, false, false),
        &canonical::headers(&headers, &signed),
        &signed,
        &payload,
    );
    let (date, _) = time.split_at(8);
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(&canonical)));
    let signature = mac(&derive(signer.secret_key, date, region, service), text.as_bytes());
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={}",
        signer.access_key,
        hex::encode(signature)
    );
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&value)?);
    Ok(headers)
}

/// Percent-encodes all but RFC 3986's unreserved characters: a name or value in a query or form.
pub fn encoded(text: &str) -> std::borrow::Cow<'_, str> {
    canonical::encoded(text.as_bytes(), false)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign as aws_sign,
    };

    use super::*;

    const NOW_MS: u64 = 1_369_353_600_000;

    /// The `Authorization` that AWS's own signer makes.
    fn by_aws(request: &Unsigned<'_>, signer: &Signer<'_>, service: &str) -> String {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        if service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
        }
        let token = signer.session_token.map(str::to_owned);
        let credentials =
            aws_credential_types::Credentials::new(signer.access_key, signer.secret_key, token, None, "test");
        let identity = credentials.into();
        let parameters = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW_MS))
            .settings(settings)
            .build()
            .expect("all is given")
            .into();
        let mut uri = format!("http://{}{}", request.host, request.path);
        if !request.query.is_empty() {
            uri += &format!("?{}", request.query);
        }
        let body = SignableBody::Bytes(request.body);
        let headers = [("host", request.host)].into_iter();
        let signable = SignableRequest::new(request.method, uri, headers, body).expect("signable");
        let (instructions, _) = aws_sign(signable, &parameters).expect("signed").into_parts();
        let found = instructions.headers().find(|(name, _)| *name == "authorization");
        found.expect("it is there").1.to_owned()
    }

    fn key(session_token: Option<&str>) -> Signer<'_> {
        let (access_key, secret_key) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        Signer { access_key, secret_key, session_token }
    }

    #[test]
    fn as_aws_signs() {
        let check = |method: &str, path: &str, query: &str, body: &[u8], token: Option<&str>| {
            for service in ["s3", "s3tables", "iam", "sts"] {
                let request = Unsigned { method, host: "127.0.0.1:9000", path, query, body };
                let headers = sign(&request, &key(token), "us-east-1", service, NOW_MS).expect("plain text");
                let made = headers[AUTHORIZATION].to_str().expect("plain text");
                assert_eq!(made, by_aws(&request, &key(token), service), "{service} {method} {path}?{query}");
            }
        };
        check("GET", "/", "", b"", None);
        check("POST", "/", "", b"Action=ListUsers&Version=2010-05-08", Some("tok/en+=="));
        check("GET", "/_nilas/simulate", "as=a%2Bb%40c&action=s3%3AGetObject&resource=%2A", b"", None);
        check("PUT", "/bucket", "policy=", b"{}", None);
        check("DELETE", "/_iceberg/v1/a%20b", "b=2&a=1", b"", None);
    }

    #[test]
    fn what_no_header_carries_is_an_error() {
        let request = Unsigned { method: "GET", host: "h", path: "/", query: "", body: b"" };
        let signer = Signer { access_key: "a", secret_key: "s", session_token: Some("a\nb") };
        assert!(sign(&request, &signer, "us-east-1", "s3", NOW_MS).is_err());
    }
}
