//! The nasty-size table: body lengths at which framing, sectors, pages, checksum units, the
//! inline limit or client part sizes change over. Used by round-trip tests; all lengths in bytes.

/// One kibibyte.
pub const KIB: usize = 1024;
/// One mebibyte.
pub const MIB: usize = 1024 * KIB;

/// Lengths cheap enough to use in every table.
pub const SMALL: &[usize] = &[
    0,
    1,
    2,
    511,
    512,
    513,
    4 * KIB - 1,
    4 * KIB,
    4 * KIB + 1,
    16 * KIB - 1,
    16 * KIB + 1,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    128 * KIB - 1,
    128 * KIB,
    128 * KIB + 1,
];

/// Lengths that reach the extents, a few units and more than one write.
pub const LARGE: &[usize] =
    &[256 * KIB + 3, MIB - 1, MIB, MIB + 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 8 * MIB + 13, 16 * MIB];

/// The whole table, smallest first.
pub fn all() -> impl Iterator<Item = usize> {
    SMALL.iter().chain(LARGE).copied()
}

/// Parses `4096`, `4KiB`, `5MiB` or `1GiB` into bytes.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("unknown unit {other:?} in {text:?}: use B, KiB, MiB or GiB")),
    };
    let count: u64 = digits.parse().map_err(|e| format!("{text:?}: {e}"))?;
    count.checked_mul(scale).ok_or_else(|| format!("{text:?} does not fit 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("17B"), Ok(17));
        assert_eq!(parse("4KiB"), Ok(4096));
        assert_eq!(parse("192MiB"), Ok(192 << 20));
        assert_eq!(parse("1GiB"), Ok(1 << 30));
        for bad in ["", "KiB", "4kb", "4 KiB", "-1", "99999999999GiB"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
