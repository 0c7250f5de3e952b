//! Where a client reached us, for the addresses that answers hand out: the catalog's settings, and what S3 says of a new
//! object. Pure.

use http::HeaderMap;
use http::header::HOST;

/// `scheme://host`, as the request came: behind a proxy with TLS, which says so in `X-Forwarded-Proto`, with `https`.
pub fn base_url(headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = match header("x-forwarded-proto") {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{}", header(HOST.as_str()).unwrap_or("127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn addresses() {
        let check = |pairs: &[(&'static str, &'static str)], want: &str| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            assert_eq!(base_url(&pairs.iter().map(pair).collect()), want, "{pairs:?}");
        };
        check(&[("host", "h:9000")], "http://h:9000");
        check(&[("host", "h"), ("x-forwarded-proto", "HTTPS")], "https://h");
        check(&[("host", "h"), ("x-forwarded-proto", "other")], "http://h");
        check(&[], "http://127.0.0.1");
    }
}
