//! Fuzz entry for heads of requests: everything that is read of a head before anybody knows who sent it, and of the headers
//! that an object's own are made of. Pure; the target `head` calls [`fuzz_head`].

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Version};
use nilas_engine::{ETag, Lock, ObjectInfo, PutCondition, Sequence};

use crate::gateway::keeps_the_rules;
use crate::route::{Route, route};
use crate::s3::attributes::Attributes;
use crate::s3::{checksum, conditions, metadata, parameters};
use crate::{copy_source, limits};

/// Reads lines as a request line and headers: each reader takes them or refuses them, and what is taken can be kept and
/// given back.
pub fn fuzz_head(input: &[u8]) {
    let Some(head) = parse(input) else { return };
    let (is_kept, codings) =
        (keeps_the_rules(&head), head.headers.get_all("transfer-encoding").iter().count());
    assert!(!is_kept || codings <= 1, "two codings are not plain");
    for domains in [&[][..], &["example.com".to_owned()]] {
        if let Ok(Route::S3(target)) = route(&head, domains) {
            assert!(target.key.len() <= limits::KEY_BYTES_MAX);
            let refused = parameters::refused(target.operation, &head.headers).is_some();
            let _ = (refused, parameters::check_acl(target.operation, &head.headers).is_ok());
        }
    }
    read_conditions(&head);
    read_checksums(&head);
    if let Some((source, _version)) = copy_source::parse(&head.headers) {
        assert!(!source.bucket.is_empty() && !source.key.is_empty());
    }
    let Ok(attributes) = metadata::parse(&head.headers) else { return };
    let kept = attributes.encode();
    assert_eq!(Attributes::decode(&kept).as_ref(), Ok(&attributes));
    let mut shown = http::HeaderMap::new();
    metadata::render(&attributes, &mut shown);
    assert!(!shown.is_empty(), "an object has a type");
}

fn read_conditions(head: &Parts) {
    let info = ObjectInfo {
        sequence: Sequence(1),
        is_null: false,
        size: 10,
        modified_ms: 1_369_353_600_000,
        etag: ETag::default(),
        attributes: Bytes::new(),
        lock: Lock::NONE,
    };
    let now_ms = info.modified_ms + 1_000;
    let _ = (
        conditions::check_read(&head.headers, &info, now_ms).is_ok(),
        conditions::check_copy_source(&head.headers, &info, now_ms).is_ok(),
        conditions::range_applies(&head.headers, &info),
    );
    if let Ok(condition) = conditions::of_write(&head.headers) {
        let there = conditions::check_write(&condition, Some(&info), &Bytes::new());
        let absent = conditions::check_write(&condition, None, &Bytes::new());
        // No condition but none at all holds both for an object and without one.
        assert_eq!(there.is_ok() && absent.is_ok(), condition == PutCondition::None);
    }
}

fn read_checksums(head: &Parts) {
    let algorithm = checksum::algorithm_header(&head.headers);
    let kind = checksum::kind_header(&head.headers);
    let _ = checksum::is_asked(&head.headers).is_ok();
    if let (Ok(Some(algorithm)), Ok(Some(kind))) = (algorithm, kind) {
        let _ = kind.fits(algorithm);
    }
}

/// `METHOD target`, then lines of `name: value`; lines that are no headers are left out. HTTP/1.0 with `-` before the method.
fn parse(input: &[u8]) -> Option<Parts> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let line = std::str::from_utf8(lines.next()?).ok()?;
    let (version, line) = match line.strip_prefix('-') {
        Some(line) => (Version::HTTP_10, line),
        None => (Version::HTTP_11, line),
    };
    let (method, target) = line.split_once(' ')?;
    let mut head =
        Request::builder().method(method).uri(target).version(version).body(()).ok()?.into_parts().0;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value)
            && head.headers.len() < HEADERS_MAX
        {
            head.headers.append(name, value);
        }
    }
    Some(head)
}

/// Header lines that the listener lets in.
const HEADERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::{fuzz_head, parse};
    use crate::gateway::keeps_the_rules;

    #[test]
    fn heads() {
        let check = |text: &str, want: bool| {
            fuzz_head(text.as_bytes());
            let head = parse(text.as_bytes()).expect("a head");
            assert_eq!(keeps_the_rules(&head), want, "{text}");
        };
        check("GET /b/k\nhost: a", true);
        check("-GET /b/k", true);
        check("GET /b/k", false);
        check("GET http://a:9/b/k\nhost: a:9", true);
        check("GET HTTP://A:9/b/k\nhost: a:9", true);
        check("GET http://a/b/k\nhost: b", false);
        check("GET http://u@a/b/k\nhost: a", false);
        check("GET ftp://a/b/k\nhost: a", false);
        check("-GET http://a/b/k", true);
        check("CONNECT a:1\nhost: a:1", false);
        check("OPTIONS *\nhost: a", false);
        check("PUT /b/k\nhost: a\ntransfer-encoding: Chunked", true);
        check("PUT /b/k\nhost: a\ntransfer-encoding: gzip, chunked", false);
        check("PUT /b/k\nhost: a\ntransfer-encoding: chunked\ntransfer-encoding: chunked", false);
        check("PUT /b/k\nhost: a\ntransfer-encoding: identity\ntransfer-encoding: chunked", false);
        check("PUT /b/k\nhost: a\nx-amz-meta-a: =?utf-8?q?=C3=A9?=\ncontent-type: a/b", true);
    }
}
