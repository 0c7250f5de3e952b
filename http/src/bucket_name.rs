//! Which names a bucket may have: those that S3 allows, but for our own paths.
//!
//! Pure; asked when a bucket is created.

use nilas_catalog::bucket_name::is_well_formed;

/// First path segments that belong to the server and can therefore not be bucket names.
pub const RESERVED_BUCKETS: [&str; 6] = ["_iceberg", "healthz", "iceberg", "metrics", "minio", "readyz"];

/// Whether a bucket of that name may be created.
pub fn is_valid(name: &str) -> bool {
    is_well_formed(name) && !RESERVED_BUCKETS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["abc", "icebergs", "metrics-1"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["ab", "foo-.bar", "iceberg", "healthz", "readyz", "metrics", "minio", "_iceberg"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
