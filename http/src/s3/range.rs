//! The `Range` header against an object's size.
//!
//! Pure; used by GetObject, HeadObject and UploadPartCopy. A header that does not follow the grammar, names another
//! unit or several ranges is as if it were not there, as RFC 9110 14.2 allows and S3 does.

use std::ops::Range;

/// What a `Range` header asks of an object of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// All of it.
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// Bytes that it does not have: 416.
    Unsatisfiable,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n` for an object of `size` bytes.
pub fn parse(header: &str, size: u64) -> Ranged {
    let Some(spec) = bytes_spec(header) else { return Ranged::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Ranged::Whole };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => Ranged::Whole,
        (Some(first), Some(last)) => part(first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => part(first, size),
        (None, Some(count)) if first.is_empty() => match count {
            0 => Ranged::Unsatisfiable,
            _ => part(size.saturating_sub(count), size),
        },
        _ => Ranged::Whole,
    }
}

/// Reads `bytes=a-b` as UploadPartCopy has it: both ends given and within the source.
pub fn parse_copy(header: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = bytes_spec(header)?.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < size).then(|| first..last + 1)
}

fn part(first: u64, end: u64) -> Ranged {
    if first < end { Ranged::Part(first..end) } else { Ranged::Unsatisfiable }
}

fn bytes_spec(header: &str) -> Option<&str> {
    let (unit, spec) = header.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then(|| spec.trim())
}

/// Digits only: no sign, no blanks. A number beyond 2^64 counts as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Fuzz entry: eight bytes of size and a header give bytes within the object, or none.
pub fn fuzz_range(input: &[u8]) {
    let Some((size, header)) = input.split_first_chunk::<8>() else { return };
    let (size, header) = (u64::from_le_bytes(*size), String::from_utf8_lossy(header));
    if let Ranged::Part(range) = parse(&header, size) {
        assert!(range.start < range.end);
        assert!(range.end <= size);
    }
    if let Some(range) = parse_copy(&header, size) {
        assert!(range.start < range.end);
        assert!(range.end <= size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, size: u64, want: Ranged) {
        assert_eq!(parse(header, size), want, "{header} of {size}");
    }

    #[test]
    fn ranges() {
        check("bytes=0-0", 10, Ranged::Part(0..1));
        check("bytes=2-5", 10, Ranged::Part(2..6));
        check("bytes=8-99", 10, Ranged::Part(8..10));
        check("bytes=9-", 10, Ranged::Part(9..10));
        check("bytes=0-", 10, Ranged::Part(0..10));
        check("bytes=-3", 10, Ranged::Part(7..10));
        check("bytes=-99", 10, Ranged::Part(0..10));
        check("Bytes=1-2", 10, Ranged::Part(1..3));
        check("bytes=0-18446744073709551615", 10, Ranged::Part(0..10));
        check("bytes=0-99999999999999999999999", 10, Ranged::Part(0..10));
        check("bytes=10-", 10, Ranged::Unsatisfiable);
        check("bytes=10-20", 10, Ranged::Unsatisfiable);
        check("bytes=99999999999999999999999-", 10, Ranged::Unsatisfiable);
        check("bytes=-0", 10, Ranged::Unsatisfiable);
        check("bytes=0-", 0, Ranged::Unsatisfiable);
        check("bytes=-5", 0, Ranged::Unsatisfiable);
        for whole in
            ["bytes=5-2", "bytes=a-b", "bytes=-", "bytes=1", "rows=1-2", "bytes=0-1,3-4", "", "bytes=+1-2"]
        {
            check(whole, 10, Ranged::Whole);
        }
    }

    #[test]
    fn copy_ranges() {
        let check =
            |header: &str, want: Option<Range<u64>>| assert_eq!(parse_copy(header, 10), want, "{header}");
        check("bytes=0-9", Some(0..10));
        check("bytes=3-3", Some(3..4));
        for bad in ["bytes=0-10", "bytes=3-", "bytes=-3", "0-2", "bytes=4-3", "bytes=0-18446744073709551615"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn fuzz_corpus() {
        fuzz_range(b"\x0a\0\0\0\0\0\0\0bytes=0-18446744073709551615");
        fuzz_range(b"\xff\xff\xff\xff\xff\xff\xff\xffbytes=-1");
        fuzz_range(b"");
    }
}
