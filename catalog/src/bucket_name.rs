//! How the name of a bucket is formed, whether S3 makes it or the catalog makes it a warehouse.
//!
//! Both ask here, and have words of their own that are taken. Pure.
//! Source: Amazon S3 User Guide, "General purpose bucket naming rules".

/// Whether S3's rules allow the name.
pub fn is_well_formed(name: &str) -> bool {
    const PREFIXES: [&str; 2] = ["xn--", "sthree-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    const PAIRS: [&str; 3] = ["..", ".-", "-."];
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let address = name.split('.').count() == 4 && name.split('.').all(|part| part.parse::<u8>().is_ok());
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| alphanumeric(*b) || matches!(b, b'.' | b'-'))
        && alphanumeric(*first)
        && alphanumeric(*last)
        && !PAIRS.iter().any(|pair| name.contains(pair))
        && !address
        && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Words that stand where a warehouse's name stands in a path of the catalog.
const RESERVED_WAREHOUSES: [&str; 10] = [
    "config",
    "oauth",
    "warehouses",
    "namespaces",
    "tables",
    "views",
    "transactions",
    "buckets",
    "aws",
    "functions",
];

/// Whether the name is one of the words of the catalog's own paths, which no warehouse is called by.
pub fn is_reserved_for_catalog(name: &str) -> bool {
    RESERVED_WAREHOUSES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(63);
        for good in ["abc", "a-b", "a.b", "1bc", "123", "my.bucket-1", "a--b", "warp-benchmark-bucket", &long]
        {
            assert!(is_well_formed(good), "{good}");
        }
        let longer = "a".repeat(64);
        let bad = [
            "",
            "a",
            "ab",
            &longer,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "foo-.bar",
            "foo.-bar",
            "a-.-b",
            "192.168.5.4",
            "192.168.005.004",
            "xn--abc",
            "sthree-abc",
            "abc-s3alias",
            "abc--ol-s3",
            "abc--x-s3",
            "abc.mrap",
            "abc--table-s3",
            "a b",
            "a/b",
            "aé",
            "a\0b",
        ];
        for bad in bad {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
