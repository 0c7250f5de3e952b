//! The `Range` header against an object's size.
//!
//! Pure; used by GetObject, HeadObject and UploadPartCopy. A header that does not follow the grammar, names another
//! unit or several ranges is as if it were not there, as RFC 9110 14.2 allows and S3 does. Blanks are no part of it.

use std::ops::{Range, RangeInclusive};

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
        (None, Some(count)) if first.is_empty() => match (count, size) {
            (0, _) => Ranged::Unsatisfiable,
            // The last bytes of nothing are all of it, and there is no byte that a Content-Range could name.
            (_, 0) => Ranged::Whole,
            _ => part(size.saturating_sub(count), size),
        },
        _ => Ranged::Whole,
    }
}

/// Reads `bytes=a-b` as UploadPartCopy has it: both ends given, the second not before the first.
pub fn parse_copy(header: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = bytes_spec(header)?.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

fn part(first: u64, end: u64) -> Ranged {
    if first < end { Ranged::Part(first..end) } else { Ranged::Unsatisfiable }
}

fn bytes_spec(header: &str) -> Option<&str> {
    let (unit, spec) = header.split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(spec)
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
    if let Some(range) = parse_copy(&header) {
        assert!(range.start() <= range.end());
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
        check("bytes=0-0", 0, Ranged::Unsatisfiable);
        check("bytes=-0", 0, Ranged::Unsatisfiable);
        check("bytes=-1", 0, Ranged::Whole);
        check("bytes=-5", 0, Ranged::Whole);
        for whole in [
            "bytes=5-2",
            "bytes=a-b",
            "bytes=-",
            "bytes=1",
            "rows=1-2",
            "bytes=0-1,3-4",
            "",
            "bytes=+1-2",
            "bytes= -1",
            "bytes= 1-2",
            "bytes=1 -2",
            "bytes=1- 2",
            "bytes=1-2 ",
            "bytes =1-2",
            " bytes=1-2",
        ] {
            check(whole, 10, Ranged::Whole);
        }
    }

    #[test]
    fn copy_ranges() {
        let check = |header: &str, want: Option<RangeInclusive<u64>>| {
            assert_eq!(parse_copy(header), want, "{header}");
        };
        check("bytes=0-9", Some(0..=9));
        check("bytes=3-3", Some(3..=3));
        check("bytes=0-18446744073709551615", Some(0..=u64::MAX));
        for bad in
            ["", "bytes=3-", "bytes=-3", "0-2", "bytes=4-3", "bytes= 0-2", "bytes=0-1,2-3", "bytes=+0-2"]
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
