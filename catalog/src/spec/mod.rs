//! Iceberg table metadata, formats 1 to 3, kept losslessly: documents stay ordered JSON maps with
//! validators and typed views over them, one file per spec noun.
//! `commit` edits them, `store` keeps them, `rest` renders them.
//! I1. Fields we do not know survive every rewrite, in their place.  I2. No number passes through floating point.
//! I3. Array order is stable.

pub mod table_metadata;
pub(crate) mod types;
pub(crate) mod single_value;
pub(crate) mod schema;
pub(crate) mod partition;
pub(crate) mod sort;
pub(crate) mod snapshot;
pub(crate) mod refs;
pub(crate) mod statistics;
pub(crate) mod json;

use std::fmt;

pub use table_metadata::{TableMetadata, fuzz_metadata};

/// A document that breaks the table spec, with the one-line reason in the words of the Java reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong, for the client.
    pub message: String,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>) -> Invalid {
        Invalid { message: message.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

/// Returns `location` without the slashes at its end; a bare scheme (`s3://`) keeps its own.
pub fn strip_trailing_slash(location: &str) -> &str {
    let mut kept = location;
    while kept.ends_with('/') && !kept.ends_with("://") {
        kept = &kept[..kept.len() - 1];
    }
    kept
}
