//! What a copy reads: `x-amz-copy-source`, read once for the operation and for conditions on it. Pure.
//!
//! `s3::copy_object` holds the key and version against their rules, `identity::context` hands the source to policies.

use bytes::Bytes;
use http::HeaderMap;
use nilas_catalog::uri::decode_header;

/// The header.
pub const HEADER: &str = "x-amz-copy-source";

/// The object that a copy reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: Bytes,
}

/// Reads `[/]bucket/key[?versionId=VERSION]`, percent-encoded, where a `+` is a blank: the object, and the version as it
/// was sent. `None` when it names no bucket or no key.
pub fn parse(headers: &HeaderMap) -> Option<(CopySource, Option<String>)> {
    let text = text(headers, HEADER)?;
    let (path, version) = match text.rsplit_once("?versionId=") {
        Some((path, version)) => (path, Some(version.to_owned())),
        None => (text, None),
    };
    let path = decode_header(path).and_then(|path| String::from_utf8(path).ok())?;
    let (bucket, key) = path.strip_prefix('/').unwrap_or(&path).split_once('/')?;
    let is_named = !bucket.is_empty() && !key.is_empty();
    let source = CopySource { bucket: bucket.to_owned(), key: Bytes::copy_from_slice(key.as_bytes()) };
    is_named.then_some((source, version))
}

/// Reads a header that is a path, percent-encoded, where a `+` is a blank.
pub fn path(headers: &HeaderMap, name: &str) -> Option<String> {
    decode_header(text(headers, name)?).and_then(|path| String::from_utf8(path).ok())
}

/// A header's text. Bytes that are no text are no address either: another key must not be read in place of it.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    if headers.get_all(name).iter().any(|value| str::from_utf8(value.as_bytes()).is_err()) {
        return None;
    }
    str::from_utf8(headers.get(name)?.as_bytes()).ok().map(str::trim)
}
