//! The conditions a request may carry: `If-Match` and its kin, for reads, writes and copy sources.
//!
//! Pure: headers and what is known of the object in, verdict out. Order of evaluation is RFC 9110 13.2.2.
//! Conditions of a write are checked again by the engine, at the moment the write takes its place.

use http::HeaderMap;
use nilas_engine::{ETag, ObjectInfo, PutCondition, PutRefused};

use crate::render::error::S3Error;
use crate::render::time::parse_http_date;

/// The four header names of one family of conditions.
struct Names {
    if_match: &'static str,
    if_none_match: &'static str,
    if_modified_since: &'static str,
    if_unmodified_since: &'static str,
}

const READ: Names = Names {
    if_match: "if-match",
    if_none_match: "if-none-match",
    if_modified_since: "if-modified-since",
    if_unmodified_since: "if-unmodified-since",
};

const COPY_SOURCE: Names = Names {
    if_match: "x-amz-copy-source-if-match",
    if_none_match: "x-amz-copy-source-if-none-match",
    if_modified_since: "x-amz-copy-source-if-modified-since",
    if_unmodified_since: "x-amz-copy-source-if-unmodified-since",
};

const RENAME_SOURCE: Names = Names {
    if_match: "x-amz-rename-source-if-match",
    if_none_match: "x-amz-rename-source-if-none-match",
    if_modified_since: "x-amz-rename-source-if-modified-since",
    if_unmodified_since: "x-amz-rename-source-if-unmodified-since",
};

/// Checks the conditions of GetObject and HeadObject: `NotModified`, `PreconditionFailed`, or go on.
pub fn check_read(headers: &HeaderMap, info: &ObjectInfo, now_ms: u64) -> Result<(), S3Error> {
    check(headers, info, now_ms, &READ, S3Error::NotModified)
}

/// Checks the `x-amz-copy-source-if-…` conditions; all of them fail with `PreconditionFailed`.
pub fn check_copy_source(headers: &HeaderMap, info: &ObjectInfo, now_ms: u64) -> Result<(), S3Error> {
    let unchanged = S3Error::PreconditionFailed { condition: COPY_SOURCE.if_none_match };
    check(headers, info, now_ms, &COPY_SOURCE, unchanged)
}

/// Checks the `x-amz-rename-source-if-…` conditions; all of them fail with `PreconditionFailed`.
pub fn check_rename_source(headers: &HeaderMap, info: &ObjectInfo, now_ms: u64) -> Result<(), S3Error> {
    let unchanged = S3Error::PreconditionFailed { condition: RENAME_SOURCE.if_none_match };
    check(headers, info, now_ms, &RENAME_SOURCE, unchanged)
}

/// Checks the dates that what a rename replaces is held against; its tags are conditions of a write. Where there is nothing,
/// nothing was modified.
pub fn check_rename_target(
    headers: &HeaderMap,
    info: Option<&ObjectInfo>,
    now_ms: u64,
) -> Result<(), S3Error> {
    let failed = |condition| Err(S3Error::PreconditionFailed { condition });
    let date = |name| text(headers, name).and_then(parse_http_date);
    let modified = info.map(|info| info.modified_ms / 1000);
    if let Some(since) = date(READ.if_unmodified_since)
        && modified.is_some_and(|modified| since < modified)
    {
        return failed("If-Unmodified-Since");
    }
    match date(READ.if_modified_since) {
        Some(since) if since <= now_ms / 1000 && modified.is_none_or(|modified| modified <= since) => {
            failed("If-Modified-Since")
        }
        _ => Ok(()),
    }
}

/// A date of `if_modified_since` that is still to come is invalid (RFC 9110 13.1.3), and as if it were not there.
fn check(
    headers: &HeaderMap,
    info: &ObjectInfo,
    now_ms: u64,
    names: &Names,
    unchanged: S3Error,
) -> Result<(), S3Error> {
    let modified = info.modified_ms / 1000;
    let date = |name| text(headers, name).and_then(parse_http_date);
    if let Some(tags) = text(headers, names.if_match) {
        if !matches(tags, &info.etag, false) {
            return Err(S3Error::PreconditionFailed { condition: "If-Match" });
        }
    } else if let Some(since) = date(names.if_unmodified_since)
        && since < modified
    {
        return Err(S3Error::PreconditionFailed { condition: "If-Unmodified-Since" });
    }
    if let Some(tags) = text(headers, names.if_none_match) {
        if matches(tags, &info.etag, true) {
            return Err(unchanged);
        }
    } else if let Some(since) = date(names.if_modified_since)
        && modified <= since
        && since <= now_ms / 1000
    {
        return Err(unchanged);
    }
    Ok(())
}

/// Whether `Range` counts: `If-Range` is absent, or names the object as it is.
pub fn range_applies(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    match text(headers, "if-range") {
        None => true,
        Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => matches(tag, &info.etag, false),
        Some(date) => parse_http_date(date) == Some(info.modified_ms / 1000),
    }
}

/// Reads the condition of a write. Of `If-None-Match` only `*` is served, and not together with `If-Match`, as in S3.
pub fn of_write(headers: &HeaderMap) -> Result<PutCondition, S3Error> {
    let not_implemented = |header: &str| S3Error::NotImplementedHeader { header: header.to_owned() };
    match (text(headers, "if-match"), text(headers, "if-none-match")) {
        (None, None) => Ok(PutCondition::None),
        (None, Some(tag)) if tag.trim() == "*" => Ok(PutCondition::IfAbsent),
        (_, Some(_)) => Err(not_implemented("If-None-Match")),
        (Some(tag), None) => Ok(if_match(tag)),
    }
}

/// Reads an `If-Match` value as the condition of a write or delete.
pub fn if_match(value: &str) -> PutCondition {
    if value.trim() == "*" {
        return PutCondition::IfPresent;
    }
    PutCondition::IfMatch(tags(value).filter(|tag| !tag.starts_with("W/")).filter_map(parse_tag).collect())
}

/// Decides a write's condition against what is known now, so that a hopeless one is refused before its body is read.
pub fn check_write(
    condition: &PutCondition,
    now: Option<&ObjectInfo>,
    key: &bytes::Bytes,
) -> Result<(), S3Error> {
    condition.check(now.map(|info| info.etag)).map_err(|refused| match (refused, condition) {
        (PutRefused::NoSuchKey, _) => S3Error::NoSuchKey { key: key.clone() },
        (_, PutCondition::IfAbsent) => S3Error::PreconditionFailed { condition: "If-None-Match" },
        (_, _) => S3Error::PreconditionFailed { condition: "If-Match" },
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a list of tags names `etag`; `*` names every object.
fn matches(list: &str, etag: &ETag, weak: bool) -> bool {
    list.trim() == "*"
        || tags(list).any(|tag| match tag.strip_prefix("W/") {
            Some(tag) => weak && parse_tag(tag) == Some(*etag),
            None => parse_tag(tag) == Some(*etag),
        })
}

/// S3's tags hold no comma, so a list splits on it.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// A tag with or without its quotes.
pub(crate) fn parse_tag(tag: &str) -> Option<ETag> {
    let tag = tag.trim();
    ETag::parse(tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};
    use nilas_engine::{Lock, Sequence};

    const TAG: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "ffffffffffffffffffffffffffffffff";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NOW: &str = "Sun, 06 Nov 1994 09:00:00 GMT";
    const NOW_MS: u64 = 784_112_400_000;
    const FUTURE: &str = "Sun, 06 Nov 1994 09:00:01 GMT";

    fn info() -> ObjectInfo {
        ObjectInfo {
            sequence: Sequence(1),
            is_null: true,
            size: 3,
            modified_ms: 784_111_777_500,
            etag: ETag::parse(TAG).expect("a tag"),
            attributes: Bytes::new(),
            lock: Lock::NONE,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn check(pairs: &[(&'static str, &str)], status: u16) {
        let got = check_read(&headers(pairs), &info(), NOW_MS)
            .err()
            .map_or(200, |failure| failure.answer().status.as_u16());
        assert_eq!(got, status, "{pairs:?}");
    }

    #[test]
    fn reads() {
        let quoted = format!("\"{TAG}\"");
        let list = format!("\"{OTHER}\", W/\"{TAG}\"");
        check(&[], 200);
        check(&[("if-match", &quoted)], 200);
        check(&[("if-match", TAG)], 200);
        check(&[("if-match", "*")], 200);
        check(&[("if-match", OTHER)], 412);
        check(&[("if-match", "nonsense")], 412);
        check(&[("if-match", &list)], 412);
        check(&[("if-none-match", &quoted)], 304);
        check(&[("if-none-match", &list)], 304);
        check(&[("if-none-match", "*")], 304);
        check(&[("if-none-match", OTHER)], 200);
        check(&[("if-modified-since", AT)], 304);
        check(&[("if-modified-since", BEFORE)], 200);
        check(&[("if-modified-since", "nonsense")], 200);
        check(&[("if-modified-since", NOW)], 304);
        check(&[("if-modified-since", FUTURE)], 200);
        check(&[("if-unmodified-since", FUTURE)], 200);
        check(&[("if-none-match", &quoted), ("if-modified-since", FUTURE)], 304);
        check(&[("if-unmodified-since", AT)], 200);
        check(&[("if-unmodified-since", BEFORE)], 412);
        // A tag decides over a date of the same kind.
        check(&[("if-match", &quoted), ("if-unmodified-since", BEFORE)], 200);
        check(&[("if-none-match", OTHER), ("if-modified-since", AT)], 200);
        check(&[("if-none-match", &quoted), ("if-modified-since", BEFORE)], 304);
        // 412 before 304.
        check(&[("if-match", OTHER), ("if-none-match", &quoted)], 412);
    }

    #[test]
    fn copy_sources() {
        let check = |pairs: &[(&'static str, &str)], want: bool| {
            assert_eq!(check_copy_source(&headers(pairs), &info(), NOW_MS).is_ok(), want, "{pairs:?}");
        };
        check(&[("if-match", OTHER)], true);
        check(&[("x-amz-copy-source-if-match", OTHER)], false);
        check(&[("x-amz-copy-source-if-none-match", TAG)], false);
        check(&[("x-amz-copy-source-if-modified-since", BEFORE)], true);
        check(&[("x-amz-copy-source-if-modified-since", AT)], false);
        check(&[("x-amz-copy-source-if-modified-since", NOW)], false);
        check(&[("x-amz-copy-source-if-modified-since", FUTURE)], true);
        check(&[("x-amz-copy-source-if-unmodified-since", FUTURE)], true);
        check(
            &[("x-amz-copy-source-if-match", TAG), ("x-amz-copy-source-if-unmodified-since", BEFORE)],
            true,
        );
    }

    #[test]
    fn writes() {
        let tag = info().etag;
        let check = |pairs: &[(&'static str, &str)], want: Option<PutCondition>| {
            assert_eq!(of_write(&headers(pairs)).ok(), want, "{pairs:?}");
        };
        check(&[], Some(PutCondition::None));
        check(&[("if-none-match", "*")], Some(PutCondition::IfAbsent));
        check(&[("if-none-match", TAG)], None);
        check(&[("if-match", "*")], Some(PutCondition::IfPresent));
        check(&[("if-match", TAG)], Some(PutCondition::IfMatch(vec![tag])));
        check(&[("if-match", "x")], Some(PutCondition::IfMatch(vec![])));
        check(&[("if-match", TAG), ("if-none-match", "*")], None);

        let status = |condition: &PutCondition, now: Option<&ObjectInfo>| {
            check_write(condition, now, &Bytes::new()).err().map_or(200, |e| e.answer().status.as_u16())
        };
        let info = info();
        assert_eq!(status(&PutCondition::IfAbsent, None), 200);
        assert_eq!(status(&PutCondition::IfAbsent, Some(&info)), 412);
        assert_eq!(status(&PutCondition::IfMatch(vec![tag]), Some(&info)), 200);
        assert_eq!(status(&PutCondition::IfMatch(vec![]), Some(&info)), 412);
        assert_eq!(status(&PutCondition::IfMatch(vec![tag]), None), 404);
        assert_eq!(status(&PutCondition::IfPresent, None), 404);
    }

    #[test]
    fn if_range() {
        let check = |value: &str, want: bool| {
            assert_eq!(range_applies(&headers(&[("if-range", value)]), &info()), want, "{value}");
        };
        check(&format!("\"{TAG}\""), true);
        check(&format!("\"{OTHER}\""), false);
        check(&format!("W/\"{TAG}\""), false);
        check(AT, true);
        check(BEFORE, false);
    }
}
