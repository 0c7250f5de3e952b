//! Which names a bucket may have.
//!
//! Pure; asked when a bucket is created. Source: Amazon S3 User Guide, "General purpose bucket naming rules".

use std::net::Ipv4Addr;

/// First path segments that belong to the server and can therefore not be bucket names.
pub const RESERVED_BUCKETS: [&str; 6] = ["_iceberg", "healthz", "iceberg", "metrics", "minio", "readyz"];

/// Whether a bucket of that name may be created.
pub fn is_valid(name: &str) -> bool {
    const PREFIXES: [&str; 2] = ["xn--", "sthree-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| alphanumeric(*b) || matches!(b, b'.' | b'-'))
        && alphanumeric(*first)
        && alphanumeric(*last)
        && !["..", ".-", "-."].iter().any(|pair| name.contains(pair))
        && name.parse::<Ipv4Addr>().is_err()
        && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        && !RESERVED_BUCKETS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(63);
        for good in ["abc", "a-b", "a.b", "1bc", "123", "my.bucket-1", "a--b", "warp-benchmark-bucket", &long]
        {
            assert!(is_valid(good), "{good}");
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
            "xn--abc",
            "sthree-abc",
            "abc-s3alias",
            "abc--ol-s3",
            "abc--x-s3",
            "abc.mrap",
            "a b",
            "a/b",
            "aé",
            "a\0b",
            "iceberg",
            "healthz",
            "readyz",
            "metrics",
            "minio",
            "_iceberg",
        ];
        for bad in bad {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
