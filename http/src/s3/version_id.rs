//! Ids of versions on the wire: `null`, or 32 characters made of the change that made the version.
//!
//! Whatever names a version goes through here: parameters, copy sources, lists of keys, markers of pages, answers. The id
//! holds the sequence and a check of it, so what we did not make is told from what is gone. I1. `parse(text(id)) == id`.
//! I2. Ids are of one length, in lower case, and need no encoding in a URL. Pure.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use nilas_engine::{Bucket, Sequence, VersionId, Versioning};

use crate::render::error::S3Error;

/// Characters of an id, as S3 makes them.
const CHARS: usize = 32;

/// The header that names a version.
const HEADER: HeaderName = HeaderName::from_static("x-amz-version-id");

/// An id as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VersionText {
    bytes: [u8; CHARS],
    length: usize,
}

impl VersionText {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }

    /// The text as the value of a header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(self.as_str()).expect("hexadecimal digits, or null")
    }
}

impl fmt::Debug for VersionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Spreads the bits of a sequence, so that ids that were not made here are not taken for such.
fn check_of(sequence: u64) -> u64 {
    let mut mixed = sequence ^ 0x6e69_6c61_732d_7665;
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    mixed ^ (mixed >> 29)
}

/// The text of an id.
pub fn text(id: VersionId) -> VersionText {
    let mut bytes = [0; CHARS];
    let VersionId::Of(Sequence(sequence)) = id else {
        bytes[..4].copy_from_slice(b"null");
        return VersionText { bytes, length: 4 };
    };
    let number = (u128::from(check_of(sequence)) << 64) | u128::from(sequence);
    for (nth, byte) in bytes.iter_mut().rev().enumerate() {
        let digit = u8::try_from((number >> (4 * nth)) & 15).unwrap_or_default();
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    }
    VersionText { bytes, length: CHARS }
}

/// Reads an id that a request names as `name`. What could be the id of another store's version names none; all else is no
/// id.
pub fn parse(text: &str, name: &'static str) -> Result<VersionId, S3Error> {
    let bad = |message: &'static str| {
        Err(S3Error::InvalidArgument { message: message.into(), name, value: text.to_owned() })
    };
    let is_id = text.len() == CHARS
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    match text {
        "null" => Ok(VersionId::Null),
        "" => bad("Version id cannot be the empty string"),
        id if is_id => made(id).ok_or_else(|| S3Error::NoSuchVersion { version: id.to_owned() }),
        _ => bad("Invalid version id specified"),
    }
}

fn made(id: &str) -> Option<VersionId> {
    if id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let (check, sequence) = id.split_at_checked(CHARS / 2)?;
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let sequence = number(sequence)?;
    (number(check)? == check_of(sequence)).then_some(VersionId::Of(Sequence(sequence)))
}

/// Whether answers about objects of a bucket name their versions: once it ever kept any.
pub(super) fn are_shown(bucket: &Bucket) -> bool {
    bucket.settings.versioning() != Some(Versioning::Unset)
}

/// Puts in the version of what an answer is about, where they are shown. What is known of the bucket may be older than a
/// version of it.
pub(super) fn put_header(headers: &mut HeaderMap, bucket: &Bucket, id: VersionId) {
    if id != VersionId::Null || are_shown(bucket) {
        headers.insert(HEADER, text(id).header());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for sequence in [0, 1, 70_000, 1 << 40, u64::MAX] {
            let id = VersionId::Of(Sequence(sequence));
            let text = text(id);
            assert_eq!((text.as_str().len(), parse(text.as_str(), "versionId")), (CHARS, Ok(id)));
        }
        assert_eq!(text(VersionId::Null).as_str(), "null");
        assert_eq!(parse("null", "versionId"), Ok(VersionId::Null));
    }

    #[test]
    fn others() {
        let check = |version: &str, want: &str| {
            let code = parse(version, "versionId").map_err(|failure| failure.answer().code);
            assert_eq!(code, Err(want), "{version}");
        };
        check("3HL4kqtJvjVBH40Nrjfkd.rmSpXd3dIb", "NoSuchVersion");
        check(&"0".repeat(CHARS), "NoSuchVersion");
        check(&format!("+{}", "0".repeat(CHARS - 1)), "InvalidArgument");
        let id = text(VersionId::Of(Sequence(0xabc)));
        check(&id.as_str().to_ascii_uppercase(), "NoSuchVersion");
        for bad in
            ["", "1", "NULL", "abc", "3HL4kqtJvjVBH40Nrjfkd+rmSpXd3dIb", "3HL4kqtJvjVBH40Nrjfkd.rmSpXd3dIbr"]
        {
            check(bad, "InvalidArgument");
        }
    }
}
