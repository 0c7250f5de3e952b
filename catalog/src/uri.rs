//! Percent-encoded text of request lines: escapes, and queries taken apart.
//!
//! The catalog's routes, and those of S3 above it, decode strictly and refuse what is broken; signatures are checked over
//! what signers decode, who leave a broken escape as it is. Pure.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use std::borrow::Cow;

/// A decoded query, in the order sent. Of a name given twice the first value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes `a=b&c`; `None` when an escape is broken or the text is not UTF-8.
    pub fn parse(raw: &str) -> Option<Query> {
        let mut pairs = Vec::new();
        for (name, value) in raw_pairs(raw) {
            pairs.push((decode_query(name)?, decode_query(value)?));
        }
        Some(Query { pairs })
    }

    /// The first value of `name`; names are matched as spelled.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The first value of `name`, matched without regard to case, as header fields moved into the query are.
    pub fn get_header(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Names and values in the order sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Splits a raw query at `&` and the first `=` of each part; empty parts are skipped.
pub fn raw_pairs(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    raw.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Decodes a path or a segment of one, where `+` stands for itself. `None` when an escape is broken.
pub fn decode_path(raw: &str) -> Option<Vec<u8>> {
    percent_decode(raw, false)
}

/// Decodes the address in a header field, as `x-amz-copy-source` has it: `+` is a blank, as in a query.
pub fn decode_header(raw: &str) -> Option<Vec<u8>> {
    percent_decode(raw, true)
}

/// Decodes a name or value of a query, where `+` is a blank. `None` when an escape is broken or it is not UTF-8.
pub fn decode_query(raw: &str) -> Option<String> {
    percent_decode(raw, true).and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Decodes `%XX`, and `+` as a blank where `plus_is_blank` says so. `None` when an escape is broken.
pub fn percent_decode(raw: &str, plus_is_blank: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let (decoded, after) = escape(tail)?;
                out.push(decoded);
                rest = after;
            }
            b'+' if plus_is_blank => out.push(b' '),
            other => out.push(other),
        }
    }
    Some(out)
}

/// The same, but what is no escape stays as it is.
pub fn percent_decode_lenient(raw: &str, plus_is_blank: bool) -> Cow<'_, [u8]> {
    if !raw.bytes().any(|b| b == b'%' || (plus_is_blank && b == b'+')) {
        return Cow::Borrowed(raw.as_bytes());
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => match escape(tail) {
                Some((decoded, after)) => {
                    out.push(decoded);
                    rest = after;
                }
                None => out.push(b'%'),
            },
            b'+' if plus_is_blank => out.push(b' '),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

fn escape(after_percent: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = after_percent.split_first_chunk::<2>()?;
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let check = |raw: &str, strict: Option<&[u8]>, lenient: &[u8]| {
            assert_eq!(percent_decode(raw, false).as_deref(), strict, "{raw}");
            assert_eq!(&*percent_decode_lenient(raw, false), lenient, "{raw}");
        };
        check("", Some(b""), b"");
        check("a+b", Some(b"a+b"), b"a+b");
        check("%41%7e%7E", Some(b"A~~"), b"A~~");
        check("%ff", Some(b"\xff"), b"\xff");
        check("%", None, b"%");
        check("a%4", None, b"a%4");
        check("%zz%41", None, b"%zzA");
        check("%+1", None, b"%+1");
        assert_eq!(percent_decode("a+%2B", true).as_deref(), Some(&b"a +"[..]));
        assert_eq!(&*percent_decode_lenient("a+%2B", true), b"a +");
    }

    #[test]
    fn places() {
        let check = |raw: &str, path: Option<&[u8]>, header: Option<&[u8]>, query: Option<&str>| {
            assert_eq!(decode_path(raw).as_deref(), path, "path {raw}");
            assert_eq!(decode_header(raw).as_deref(), header, "header {raw}");
            assert_eq!(decode_query(raw).as_deref(), query, "query {raw}");
        };
        check("", Some(b""), Some(b""), Some(""));
        check("a+b", Some(b"a+b"), Some(b"a b"), Some("a b"));
        check("a%2Bb", Some(b"a+b"), Some(b"a+b"), Some("a+b"));
        check("a%20b", Some(b"a b"), Some(b"a b"), Some("a b"));
        check("+%2b%20+", Some(b"++ +"), Some(b" +  "), Some(" +  "));
        check("a%252Bb", Some(b"a%2Bb"), Some(b"a%2Bb"), Some("a%2Bb"));
        check("/x%2Fy", Some(b"/x/y"), Some(b"/x/y"), Some("/x/y"));
        check("%C3%A9", Some("é".as_bytes()), Some("é".as_bytes()), Some("é"));
        check("%ff", Some(b"\xff"), Some(b"\xff"), None);
        check("%zz", None, None, None);
        check("%4", None, None, None);
    }

    #[test]
    fn queries() {
        let query = Query::parse("a=1&b&&c=x=y&a=2&X-Amz-Date=%41").expect("no broken escape");
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [("a", "1"), ("b", ""), ("c", "x=y"), ("a", "2"), ("X-Amz-Date", "A")]);
        assert_eq!((query.get("a"), query.get("x-amz-date")), (Some("1"), None));
        assert_eq!(query.get_header("x-amz-date"), Some("A"));
        assert_eq!(Query::parse("a=%4"), None);
        assert_eq!(Query::parse("a=%ff"), None);
    }
}
