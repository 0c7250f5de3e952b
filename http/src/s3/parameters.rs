//! The one table of the headers and query parameters of S3's operations: what is honoured, refused, or without effect.
//!
//! [`refused`] holds it against every request before its operation starts, so nothing that would change the outcome is
//! ignored; handlers read what is honoured. A test holds docs/s3.md against it, and the client suite `parameters` walks
//! over AWS's own list and tries each row on the wire. Pure.
//! I1. What AWS has and this table has not fails the walk. I2. Whatever is refused starts with `x-`.

use http::{HeaderMap, HeaderName};

use super::operations::Operation::{self, *};
use crate::render::error::S3Error;

/// What becomes of a header or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The operation does what it says, and refuses values that it cannot do.
    Honoured,
    /// Its presence is an error.
    Refused(Refusal),
    /// It is taken and changes nothing; docs/s3.md says why the outcome is the same.
    WithoutEffect,
}

/// How something that is not served is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not implemented.
    NotImplemented,
    /// An ACL: the bucket takes none, or they are not implemented.
    Acl,
    /// An ACL of a new bucket.
    BucketAcl,
}

impl Refusal {
    /// S3's code for it, in the ordinary case.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotImplemented => "NotImplemented",
            Refusal::Acl => "AccessControlListNotSupported",
            Refusal::BucketAcl => "InvalidBucketAclWithObjectOwnership",
        }
    }

    /// The error for a request with `header` to a bucket that takes no ACLs.
    pub fn error(self, header: &str) -> S3Error {
        match self {
            Refusal::NotImplemented => S3Error::NotImplementedHeader { header: header.to_owned() },
            Refusal::Acl => S3Error::AccessControlListNotSupported,
            Refusal::BucketAcl => S3Error::InvalidBucketAclWithObjectOwnership,
        }
    }
}

/// One row: names that stand alike for the same operations. A name that ends in `*` means all that start so, one that
/// starts with `?` is a parameter of the query; all others are headers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Names, as AWS writes them.
    pub names: &'static [&'static str],
    /// Where AWS has them; empty for every operation.
    pub operations: &'static [Operation],
    /// What becomes of them.
    pub standing: Standing,
}

const fn honoured(names: &'static [&'static str], operations: &'static [Operation]) -> Row {
    Row { names, operations, standing: Standing::Honoured }
}

const fn refused_as(
    refusal: Refusal,
    names: &'static [&'static str],
    operations: &'static [Operation],
) -> Row {
    Row { names, operations, standing: Standing::Refused(refusal) }
}

const fn without_effect(names: &'static [&'static str], operations: &'static [Operation]) -> Row {
    Row { names, operations, standing: Standing::WithoutEffect }
}

/// The operations that say what a new object is.
const MAKING: &[Operation] = &[PutObject, CopyObject, CreateMultipartUpload];
const COPYING: &[Operation] = &[CopyObject, UploadPartCopy];
const READING: &[Operation] = &[GetObject, HeadObject];
const WITH_BYTES: &[Operation] = &[PutObject, UploadPart];
const WITH_CHECKSUM: &[Operation] = &[PutObject, UploadPart, CompleteMultipartUpload];
const LISTING_OBJECTS: &[Operation] = &[ListObjectsV2, ListObjects, ListObjectVersions];
const LISTING_KEYS: &[Operation] = &[ListObjectsV2, ListObjects, ListObjectVersions, ListMultipartUploads];
/// The operations whose body is not an object's but may come with a digest, and those whose body is.
const WITH_MD5: &[Operation] = &[
    PutObject,
    UploadPart,
    DeleteObjects,
    PutBucketAccelerateConfiguration,
    PutBucketAcl,
    PutBucketCors,
    PutBucketEncryption,
    PutBucketLogging,
    PutBucketNotificationConfiguration,
    PutBucketOwnershipControls,
    PutBucketPolicy,
    PutBucketRequestPayment,
    PutBucketTagging,
    PutObjectAcl,
    PutObjectTagging,
    PutPublicAccessBlock,
    PutBucketVersioning,
    PutObjectLockConfiguration,
    PutObjectRetention,
    PutObjectLegalHold,
];

/// A customer's key.
const CUSTOMER_KEY: &[&str] = &[
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-MD5",
];

/// Where MinIO takes archives apart.
const EXTRACTING: &[Operation] = &[PutObject, GetObject, HeadObject, ListObjectsV2, ListObjects];

/// The table: headers first, then the query.
pub const TABLE: &[Row] = &[
    honoured(
        &[
            "Cache-Control",
            "Content-Disposition",
            "Content-Encoding",
            "Content-Language",
            "Content-Type",
            "Expires",
        ],
        MAKING,
    ),
    honoured(&["x-amz-meta-*", "x-amz-storage-class", "x-amz-tagging"], MAKING),
    honoured(&["Content-Length"], WITH_BYTES),
    honoured(&["Content-MD5"], WITH_MD5),
    honoured(
        &[
            "x-amz-checksum-crc32",
            "x-amz-checksum-crc32c",
            "x-amz-checksum-crc64nvme",
            "x-amz-checksum-sha1",
            "x-amz-checksum-sha256",
            "x-amz-checksum-sha512",
            "x-amz-checksum-md5",
            "x-amz-checksum-xxhash64",
            "x-amz-checksum-xxhash3",
            "x-amz-checksum-xxhash128",
        ],
        WITH_CHECKSUM,
    ),
    honoured(&["x-amz-sdk-checksum-algorithm"], WITH_MD5),
    honoured(&["x-amz-sdk-checksum-algorithm"], &[PutBucketLifecycleConfiguration]),
    honoured(&["x-amz-checksum-algorithm"], &[CopyObject, CreateMultipartUpload]),
    honoured(&["x-amz-checksum-type"], &[CreateMultipartUpload, CompleteMultipartUpload]),
    honoured(&["x-amz-mp-object-size"], &[CompleteMultipartUpload]),
    honoured(&["x-amz-checksum-mode", "Range"], READING),
    honoured(&["If-Modified-Since", "If-Unmodified-Since"], &[GetObject, HeadObject, RenameObject]),
    honoured(
        &["If-Match"],
        &[GetObject, HeadObject, PutObject, CopyObject, CompleteMultipartUpload, DeleteObject, RenameObject],
    ),
    honoured(
        &["If-None-Match"],
        &[GetObject, HeadObject, PutObject, CopyObject, CompleteMultipartUpload, RenameObject],
    ),
    honoured(
        &[
            "x-amz-rename-source",
            "x-amz-rename-source-if-match",
            "x-amz-rename-source-if-none-match",
            "x-amz-rename-source-if-modified-since",
            "x-amz-rename-source-if-unmodified-since",
            "x-amz-client-token",
        ],
        &[RenameObject],
    ),
    honoured(&["x-amz-if-match-size", "x-amz-if-match-last-modified-time"], &[DeleteObject]),
    honoured(&["x-amz-if-match-initiated-time"], &[AbortMultipartUpload]),
    honoured(
        &[
            "x-amz-copy-source",
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-unmodified-since",
            "x-amz-source-expected-bucket-owner",
        ],
        COPYING,
    ),
    honoured(&["x-amz-copy-source-range"], &[UploadPartCopy]),
    honoured(
        &["x-amz-metadata-directive", "x-amz-tagging-directive", "x-amz-object-annotation-directive"],
        &[CopyObject],
    ),
    honoured(
        &["x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"],
        &[GetObjectAttributes],
    ),
    honoured(&["x-amz-optional-object-attributes"], LISTING_OBJECTS),
    honoured(
        &["x-amz-acl"],
        &[PutObject, CopyObject, CreateMultipartUpload, CreateBucket, PutObjectAcl, PutBucketAcl],
    ),
    refused_as(Refusal::Acl, &["x-amz-grant-*"], MAKING),
    refused_as(Refusal::Acl, &["x-amz-grant-*"], &[PutObjectAcl, PutBucketAcl]),
    refused_as(Refusal::BucketAcl, &["x-amz-grant-*"], &[CreateBucket]),
    honoured(
        &["x-amz-object-ownership", "x-amz-bucket-object-lock-enabled", "x-amz-bucket-namespace"],
        &[CreateBucket],
    ),
    honoured(
        &["x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"],
        MAKING,
    ),
    refused_as(Refusal::NotImplemented, &["x-amz-object-lock-event-hold*"], MAKING),
    refused_as(Refusal::NotImplemented, &["x-amz-website-redirect-location"], MAKING),
    honoured(
        &[
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-server-side-encryption-context",
            "x-amz-server-side-encryption-bucket-key-enabled",
        ],
        MAKING,
    ),
    honoured(&["x-amz-write-offset-bytes"], &[PutObject]),
    honoured(
        &[
            "x-amz-meta-snowball-auto-extract",
            "x-amz-meta-minio-snowball-prefix",
            "x-amz-meta-minio-snowball-ignore-dirs",
            "x-amz-meta-minio-snowball-ignore-errors",
        ],
        &[PutObject],
    ),
    honoured(&["x-amz-transition-default-minimum-object-size"], &[PutBucketLifecycleConfiguration]),
    refused_as(Refusal::NotImplemented, &["x-minio-extract"], EXTRACTING),
    honoured(
        CUSTOMER_KEY,
        &[
            PutObject,
            CopyObject,
            CreateMultipartUpload,
            UploadPart,
            UploadPartCopy,
            CompleteMultipartUpload,
            ListParts,
            GetObject,
            HeadObject,
            GetObjectAttributes,
        ],
    ),
    honoured(
        &[
            "x-amz-copy-source-server-side-encryption-customer-algorithm",
            "x-amz-copy-source-server-side-encryption-customer-key",
            "x-amz-copy-source-server-side-encryption-customer-key-MD5",
        ],
        COPYING,
    ),
    honoured(&["x-amz-expected-bucket-owner"], &[]),
    without_effect(&["x-amz-request-payer"], &[]),
    without_effect(&["x-amz-mfa"], &[DeleteObject, DeleteObjects, PutBucketVersioning]),
    honoured(&["x-amz-bypass-governance-retention"], &[DeleteObject, DeleteObjects, PutObjectRetention]),
    without_effect(&["x-amz-bucket-object-lock-token"], &[PutObjectLockConfiguration]),
    without_effect(&["x-amz-confirm-remove-self-bucket-access"], &[PutBucketPolicy]),
    without_effect(&["x-amz-skip-destination-validation"], &[PutBucketNotificationConfiguration]),
    honoured(
        &["?prefix"],
        &[ListObjectsV2, ListObjects, ListObjectVersions, ListMultipartUploads, ListBuckets],
    ),
    honoured(&["?delimiter", "?encoding-type"], LISTING_KEYS),
    honoured(&["?max-keys"], LISTING_OBJECTS),
    honoured(&["?start-after", "?fetch-owner"], &[ListObjectsV2]),
    honoured(&["?continuation-token"], &[ListObjectsV2, ListBuckets]),
    honoured(&["?marker"], &[ListObjects]),
    honoured(&["?key-marker"], &[ListObjectVersions, ListMultipartUploads]),
    honoured(&["?version-id-marker"], &[ListObjectVersions]),
    honoured(&["?upload-id-marker", "?max-uploads"], &[ListMultipartUploads]),
    honoured(&["?part-number-marker", "?max-parts"], &[ListParts]),
    honoured(&["?max-buckets", "?bucket-region"], &[ListBuckets]),
    honoured(
        &["?versionId"],
        &[
            GetObject,
            HeadObject,
            DeleteObject,
            GetObjectAttributes,
            GetObjectAcl,
            PutObjectAcl,
            GetObjectTagging,
            PutObjectTagging,
            DeleteObjectTagging,
            GetObjectRetention,
            PutObjectRetention,
            GetObjectLegalHold,
            PutObjectLegalHold,
        ],
    ),
    honoured(&["?partNumber"], &[GetObject, HeadObject, UploadPart, UploadPartCopy]),
    honoured(
        &["?uploadId"],
        &[UploadPart, UploadPartCopy, CompleteMultipartUpload, AbortMultipartUpload, ListParts],
    ),
    honoured(
        &[
            "?response-cache-control",
            "?response-content-disposition",
            "?response-content-encoding",
            "?response-content-language",
            "?response-content-type",
            "?response-expires",
        ],
        READING,
    ),
];

/// Whether the name in a row means the header `name`, which is in lower case.
fn means(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Whether an operation does what the parameter or header of that row's spelling says.
pub fn is_honoured(operation: Operation, name: &str) -> bool {
    TABLE.iter().any(|row| {
        matches!(row.standing, Standing::Honoured)
            && row.names.contains(&name)
            && (row.operations.is_empty() || row.operations.contains(&operation))
    })
}

/// The first header of a request that its operation refuses for being there.
pub fn refused(operation: Operation, headers: &HeaderMap) -> Option<(&str, Refusal)> {
    TABLE.iter().find_map(|row| match row.standing {
        Standing::Refused(refusal) if row.operations.contains(&operation) => {
            let mut names = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-"));
            let found = names.find(|name| row.names.iter().any(|pattern| means(pattern, name)));
            found.map(|name| (name, refusal))
        }
        _ => None,
    })
}

/// Holds `x-amz-acl` against what an object or bucket has anyway.
pub fn check_acl(operation: Operation, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(acl) = headers.get("x-amz-acl") else { return Ok(()) };
    match (operation, acl.as_bytes().trim_ascii()) {
        (
            PutObject | CopyObject | CreateMultipartUpload | PutObjectAcl,
            b"private" | b"bucket-owner-full-control" | b"bucket-owner-read",
        )
        | (CreateBucket | PutBucketAcl, b"private") => Ok(()),
        (PutObject | CopyObject | CreateMultipartUpload | PutObjectAcl | PutBucketAcl, _) => {
            Err(Refusal::Acl)
        }
        (CreateBucket, _) => Err(Refusal::BucketAcl),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn check(operation: Operation, header: &'static str, want: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20260101T000000Z".parse().expect("a value"));
        headers.insert(header, "x".parse().expect("a value"));
        let code = refused(operation, &headers).map(|(name, refusal)| {
            assert_eq!(name, header);
            assert_eq!(refusal.error(name).answer().code, refusal.code());
            refusal.code()
        });
        assert_eq!(code, want, "{operation:?} {header}");
    }

    #[test]
    fn refusals() {
        check(PutObject, "x-amz-server-side-encryption", None);
        check(PutObject, "x-amz-write-offset-bytes", None);
        check(PutObject, "x-minio-extract", Some("NotImplemented"));
        check(GetObject, "x-minio-extract", Some("NotImplemented"));
        check(CopyObject, "x-amz-website-redirect-location", Some("NotImplemented"));
        check(CreateMultipartUpload, "x-amz-object-lock-mode", None);
        check(PutObject, "x-amz-object-lock-event-hold-duration-days", Some("NotImplemented"));
        check(PutObject, "x-amz-grant-read", Some("AccessControlListNotSupported"));
        check(CreateBucket, "x-amz-grant-write", Some("InvalidBucketAclWithObjectOwnership"));
        check(GetObject, "x-amz-server-side-encryption-customer-key", None);
        check(UploadPart, "x-amz-server-side-encryption-customer-key", None);
        check(UploadPartCopy, "x-amz-copy-source-server-side-encryption-customer-key-md5", None);
        check(CompleteMultipartUpload, "x-amz-checksum-sha512", None);
        check(UploadPart, "x-amz-checksum-xxhash64", None);
        for served in [
            "x-amz-meta-a",
            "x-amz-tagging",
            "x-amz-checksum-crc32",
            "x-amz-request-payer",
            "x-amz-user-agent",
            "x-id",
        ] {
            check(PutObject, served, None);
        }
        check(GetObject, "x-amz-tagging", None);
        check(DeleteObject, "x-amz-mfa", None);
    }

    #[test]
    fn honoured_names() {
        assert!(is_honoured(GetObject, "?versionId") && is_honoured(DeleteObject, "?versionId"));
        assert!(!is_honoured(CreateMultipartUpload, "?versionId"));
        assert!(is_honoured(UploadPart, "x-amz-expected-bucket-owner"));
        assert!(is_honoured(PutObject, "x-amz-tagging"));
    }

    #[test]
    fn canned_acls() {
        let check = |operation, acl: &str, want: Result<(), Refusal>| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-acl", acl.parse().expect("a value"));
            assert_eq!(check_acl(operation, &headers), want, "{operation:?} {acl}");
        };
        for acl in ["private", "bucket-owner-full-control", "bucket-owner-read"] {
            check(PutObject, acl, Ok(()));
        }
        check(PutObject, "public-read", Err(Refusal::Acl));
        check(CopyObject, "", Err(Refusal::Acl));
        check(CreateBucket, "private", Ok(()));
        check(CreateBucket, "public-read", Err(Refusal::BucketAcl));
        check(CreateBucket, "bucket-owner-full-control", Err(Refusal::BucketAcl));
        check(PutObjectAcl, "bucket-owner-full-control", Ok(()));
        check(PutObjectAcl, "public-read", Err(Refusal::Acl));
        check(PutBucketAcl, "private", Ok(()));
        check(PutBucketAcl, "log-delivery-write", Err(Refusal::Acl));
        check(GetObject, "public-read", Ok(()));
    }

    #[test]
    fn a_name_stands_once_for_each_operation() {
        let mut seen = BTreeSet::new();
        for row in TABLE {
            for name in row.names {
                let all = row.operations.is_empty().then_some("").into_iter();
                for operation in all.chain(row.operations.iter().map(|operation| operation.facts().name)) {
                    assert!(seen.insert((*name, operation)), "{name} {operation}");
                }
                if matches!(row.standing, Standing::Refused(_)) {
                    assert!(name.starts_with("x-") && !row.operations.is_empty(), "{name}");
                    assert_eq!(*name, name.to_ascii_lowercase());
                }
            }
        }
    }

    /// The rows of the table in docs/s3.md: names and operations → the words of the column `standing`.
    fn documented() -> BTreeMap<(String, String), String> {
        let page = include_str!("../../../docs/s3.md");
        let table = page.split("## Headers and parameters").nth(1).and_then(|rest| rest.split("## ").next());
        let rows = table.expect("the section").lines().filter(|line| line.starts_with('|')).skip(2);
        let mut all = BTreeMap::new();
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let names = cells[0].split(' ').map(|name| name.trim_matches('`').to_owned());
            for name in names {
                for operation in cells[1].split(", ") {
                    let standing = cells[2].to_owned();
                    let twice = all.insert((name.clone(), operation.to_owned()), standing);
                    assert_eq!(twice, None, "{name} {operation}");
                }
            }
        }
        all
    }

    #[test]
    fn the_page_says_what_becomes_of_each() {
        let mut table = BTreeMap::new();
        for row in TABLE {
            let standing = match row.standing {
                Standing::Honoured => "honoured".to_owned(),
                Standing::WithoutEffect => "no effect".to_owned(),
                Standing::Refused(refusal) => format!("`{}`", refusal.code()),
            };
            for name in row.names {
                let all = row.operations.is_empty().then_some("all").into_iter();
                for operation in all.chain(row.operations.iter().map(|operation| operation.facts().name)) {
                    table.insert(((*name).to_owned(), operation.to_owned()), standing.clone());
                }
            }
        }
        assert_eq!(documented(), table);
    }
}
