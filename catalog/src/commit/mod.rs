//! Commits to one table, pure: requirements hold or name the conflict, updates make the next metadata.
//! `rest` parses requests with [`parse_requirements`] and [`parse_updates`]; `store` calls [`check`] and
//! [`apply`] on the owner's core, or [`create`] for a new table. What was sent is known again by its [`SentChange`].
//! I1. Nothing here reads a clock or makes an id.  I2. An error leaves the base untouched.

pub mod sent;
pub mod requirement;
pub mod update;
pub mod create;
pub mod apply;

use std::fmt;

pub use apply::{Context, apply, fuzz_commit};
pub use create::{NewTable, create};
pub use requirement::{Requirement, check, parse_requirements};
pub use sent::{SentChange, SentSnapshot};
pub use update::{Update, parse_updates};

use crate::spec::Invalid;

/// Why a commit was refused, by the answer it gets; texts follow the Java reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitError {
    /// 400 `BadRequestException`: the request is malformed.
    BadRequest(String),
    /// 400 `ValidationException`: the updates do not make valid metadata.
    Validation(String),
    /// 400 `IllegalArgumentException`: an update is not allowed here.
    IllegalArgument(String),
    /// 409 `CommitFailedException`: a requirement does not hold, or a sequence or row id is stale; retry on a new base.
    Failed(String),
    /// 409 `AlreadyExistsException`: the name is taken.
    AlreadyExists(String),
}

impl CommitError {
    /// The text for the client.
    pub fn message(&self) -> &str {
        match self {
            CommitError::BadRequest(m)
            | CommitError::Validation(m)
            | CommitError::IllegalArgument(m)
            | CommitError::Failed(m)
            | CommitError::AlreadyExists(m) => m,
        }
    }

    fn malformed(invalid: Invalid) -> CommitError {
        CommitError::BadRequest(invalid.message)
    }

    fn validation(message: impl Into<String>) -> CommitError {
        CommitError::Validation(message.into())
    }

    fn illegal(message: impl Into<String>) -> CommitError {
        CommitError::IllegalArgument(message.into())
    }

    fn retry(message: impl fmt::Display) -> CommitError {
        CommitError::Failed(format!("Validation failed, please retry: {message}"))
    }
}

impl From<Invalid> for CommitError {
    fn from(invalid: Invalid) -> CommitError {
        CommitError::Validation(invalid.message)
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for CommitError {}

/// Table properties that describe the table itself: consumed when it is created, never stored.
const RESERVED_PROPERTIES: [&str; 9] = [
    "format-version",
    "uuid",
    "snapshot-count",
    "current-snapshot-id",
    "current-snapshot-summary",
    "current-snapshot-timestamp-ms",
    "current-schema",
    "default-partition-spec",
    "default-sort-order",
];

/// Properties that steer client retries; a bad one would break every later writer.
const COMMIT_PROPERTIES: [&str; 4] = [
    "commit.retry.num-retries",
    "commit.retry.min-wait-ms",
    "commit.retry.max-wait-ms",
    "commit.retry.total-timeout-ms",
];

/// How many earlier metadata files a table's log keeps; the reference's clients read it before each commit.
const PREVIOUS_VERSIONS_MAX: &str = "write.metadata.previous-versions-max";

/// Refuses a value that clients could not read again before their next commit.
fn check_property(key: &str, text: &str) -> Result<(), CommitError> {
    let commits = COMMIT_PROPERTIES.contains(&key);
    if !commits && key != PREVIOUS_VERSIONS_MAX {
        return Ok(());
    }
    let number: i32 = text
        .parse()
        .map_err(|_| CommitError::validation(format!("Table property {key} must have integer value")))?;
    if commits && number < 0 {
        return Err(CommitError::validation(format!(
            "Table property {key} must have non negative integer value"
        )));
    }
    Ok(())
}

/// The format version of a table whose creator names none.
const FORMAT_VERSION_DEFAULT: u8 = 2;

/// Reads the value of a `format-version` property.
fn format_version_property(text: &str) -> Result<u8, CommitError> {
    let version = text.trim().parse::<i64>().map_err(|_| {
        CommitError::illegal(format!("Invalid format-version: {}", crate::spec::json::clip(text)))
    })?;
    supported_version(version).ok_or_else(|| {
        CommitError::illegal(format!("Unsupported format version: v{version} (supported: v3)"))
    })
}

fn supported_version(version: i64) -> Option<u8> {
    let newest = crate::spec::table_metadata::FORMAT_VERSION_MAX;
    u8::try_from(version).ok().filter(|v| (1..=newest).contains(v))
}

#[cfg(test)]
mod tests;
