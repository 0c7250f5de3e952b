//! What an S3 request works on: operation, bucket, key and query. `route` makes it of a head, and operations read it.

use bytes::Bytes;

use crate::limits::KEY_BYTES_MAX;
use crate::render::error::S3Error;
use crate::s3::operations::Operation;
use nilas_catalog::uri::Query;

/// An S3 operation with what it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The operation.
    pub operation: Operation,
    /// Bucket name as sent, empty for ListBuckets. Its form is checked where buckets are created.
    pub bucket: String,
    /// Object key, valid UTF-8 without NUL, at most [`KEY_BYTES_MAX`] bytes; empty for bucket operations.
    pub key: Bytes,
    /// The query, decoded.
    pub query: Query,
    /// Whether the bucket is named by the host and not by the path.
    pub by_host: bool,
}

/// Checks what every key must keep to, wherever it stands: length, and no NUL.
pub(crate) fn check_key(key: &[u8]) -> Result<(), S3Error> {
    if KEY_BYTES_MAX < key.len() {
        return Err(S3Error::KeyTooLong { size: key.len() });
    }
    if key.contains(&0) {
        return Err(S3Error::InvalidArgument {
            message: "Object keys must not contain a NUL character".into(),
            name: "key",
            value: String::new(),
        });
    }
    Ok(())
}
