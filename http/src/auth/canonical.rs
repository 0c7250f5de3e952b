//! The canonical forms that a signature covers: path, query and headers, and the request put together from them.
//!
//! Called by the verification, which tries several forms because signers disagree. Everything works on raw bytes as
//! they came over the wire; nothing here allocates more than a small multiple of the request head.

use std::borrow::Cow;

use http::HeaderMap;

use nilas_catalog::uri::{percent_decode_lenient, raw_pairs};

/// The spellings of one path that signers use, likeliest first.
pub(super) fn path_forms(raw: &str, double: bool) -> Vec<Cow<'_, str>> {
    let raw = if raw.is_empty() { "/" } else { raw };
    let mut forms: Vec<Cow<'_, str>> = Vec::with_capacity(4);
    let mut add = |form: Cow<'_, str>| {
        let form = match form {
            Cow::Borrowed(text) if text == raw => Cow::Borrowed(raw),
            other => Cow::Owned(other.into_owned()),
        };
        if !forms.contains(&form) {
            forms.push(form);
        }
    };
    if double {
        add(encoded(raw.as_bytes(), true));
        add(Cow::Borrowed(raw));
        add(encoded(tidy_path(raw).as_bytes(), true));
    } else {
        add(Cow::Borrowed(raw));
    }
    add(encoded(&percent_decode_lenient(raw, false), true));
    forms
}

/// Renders the canonical query: decoded, encoded once, sorted. Without `X-Amz-Signature` when that is not part of it.
pub(super) fn query(raw: &str, without_signature: bool, without_blanks: bool) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in raw_pairs(raw) {
        if without_blanks && value.is_empty() {
            continue;
        }
        let name = percent_decode_lenient(name, true);
        if without_signature && *name == *b"X-Amz-Signature" {
            continue;
        }
        let value = percent_decode_lenient(value, true);
        pairs.push((encoded(&name, false).into_owned(), encoded(&value, false).into_owned()));
    }
    pairs.sort_unstable();
    let mut out = String::with_capacity(raw.len() + 16);
    for (name, value) in &pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
    out
}

/// Renders the canonical headers: each signed name with its values as they came, outer blanks cut, inner ones folded.
pub(super) fn headers(headers: &HeaderMap, signed: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    for name in signed.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        for (index, value) in headers.get_all(name).iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_folded(&mut out, value.as_bytes());
        }
        out.push(b'\n');
    }
    out
}

/// Puts the canonical request together.
pub(super) fn request(
    method: &str,
    path: &str,
    query: &str,
    headers: &[u8],
    signed: &str,
    payload: &str,
) -> Vec<u8> {
    let parts = [
        method.as_bytes(),
        b"\n",
        path.as_bytes(),
        b"\n",
        query.as_bytes(),
        b"\n",
        headers,
        b"\n",
        signed.as_bytes(),
        b"\n",
        payload.as_bytes(),
    ];
    parts.concat()
}

/// Percent-encodes all but RFC 3986's unreserved characters (and `/` in a path).
pub(crate) fn encoded(bytes: &[u8], keep_slash: bool) -> Cow<'_, str> {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') || (keep_slash && b == b'/')
    };
    if let Ok(text) = std::str::from_utf8(bytes)
        && bytes.iter().all(|&b| plain(b))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() * 3);
    for &byte in bytes {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(DIGITS.get(usize::from(nibble)).map_or('0', |&d| char::from(d)));
            }
        }
    }
    Cow::Owned(out)
}

/// Removes empty and `.` segments, as signers other than S3's do. `..` stays: it would move the request elsewhere.
fn tidy_path(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for segment in raw.split('/').filter(|s| !s.is_empty() && *s != ".") {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() || raw.ends_with('/') {
        out.push('/');
    }
    out
}

fn push_folded(out: &mut Vec<u8>, value: &[u8]) {
    let mut blank = false;
    for &byte in value.trim_ascii() {
        if byte == b' ' || byte == b'\t' {
            blank = true;
            continue;
        }
        if blank {
            out.push(b' ');
            blank = false;
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |raw: &str, expected: &str| assert_eq!(query(raw, false, false), expected, "{raw}");
        check("", "");
        check("uploads", "uploads=");
        check("b=2&a=1", "a=1&b=2");
        check("a=2&a=1", "a=1&a=2");
        check("a-b=1&a=2", "a=2&a-b=1");
        check("k=a+b", "k=a%20b");
        check("k=a%2Bb", "k=a%2Bb");
        check("k=a%2bb%7E", "k=a%2Bb~");
        check("k=%zz&&j=%", "j=%25&k=%25zz");
        check("k=v=w", "k=v%3Dw");
        check("k=é", "k=%C3%A9");
        assert_eq!(query("a=&b=1&c", false, true), "b=1");
        assert_eq!(query("a=1&X-Amz-Signature=00", true, false), "a=1");
    }

    #[test]
    fn paths() {
        let check = |raw: &str, double: bool, expected: &[&str]| {
            assert_eq!(path_forms(raw, double), expected, "{raw}");
        };
        check("", false, &["/"]);
        check("/b/k", false, &["/b/k"]);
        check("/b/a%2Fb", false, &["/b/a%2Fb", "/b/a/b"]);
        check("/b/a+b", false, &["/b/a+b", "/b/a%2Bb"]);
        check("/b/é", false, &["/b/é", "/b/%C3%A9"]);
        check("/b/%7e", false, &["/b/%7e", "/b/~"]);
        check("/v1/a%1Fb", true, &["/v1/a%251Fb", "/v1/a%1Fb"]);
        check("/v1/a+b", true, &["/v1/a%2Bb", "/v1/a+b"]);
        check("/v1//x/./y/", true, &["/v1//x/./y/", "/v1/x/y/"]);
        check("/v1/..", true, &["/v1/.."]);
    }

    #[test]
    fn header_values() {
        let mut map = HeaderMap::new();
        map.append("x-a", http::HeaderValue::from_static("  one   two\tthree "));
        map.append("x-a", http::HeaderValue::from_static("four"));
        assert_eq!(headers(&map, "x-a;x-b"), b"x-a:one two three,four\nx-b:\n");
    }
}
