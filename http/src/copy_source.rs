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
    // Bytes that are no text are no address either: another key must not be read in place of it.
    if headers.get_all(HEADER).iter().any(|value| str::from_utf8(value.as_bytes()).is_err()) {
        return None;
    }
    let text = str::from_utf8(headers.get(HEADER)?.as_bytes()).ok()?.trim();
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
