//! Why the catalog did not do what was asked: facts, turned into status, type and text once, in `rest::error`.

use nilas_engine::EngineError;

use crate::commit::CommitError;
use crate::limits::OverLimit;
use crate::store::names::{Ident, NameError, NamespaceName};

/// One request's failure. Nothing was changed, except where a variant says otherwise.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The request is not what the protocol says.
    BadRequest(String),
    /// The change breaks a rule of the table format.
    Validation(String),
    /// The change names something that cannot be.
    IllegalArgument(String),
    /// A value over its limit.
    TooLarge {
        limit: &'static str,
        max: usize,
        got: usize,
    },
    /// A location that is not usable for a table of this warehouse.
    Location {
        location: String,
        why: &'static str,
    },
    /// A location that lies in, or around, that of another table.
    LocationTaken {
        location: String,
        by: String,
    },
    /// No bucket of that name is a warehouse.
    NoSuchWarehouse(String),
    /// The same, asked through `/warehouses`, where clients know another type.
    NoWarehouseEntry(String),
    NoSuchNamespace(NamespaceName),
    NoSuchTable(Ident),
    NoSuchView(Ident),
    /// A metadata file that is not there.
    NoSuchFile(String),
    WarehouseExists(String),
    /// The bucket is there, but is not a warehouse, and the request did not ask for that to change.
    BucketExists(String),
    WarehouseNotEmpty(String),
    NamespaceExists(NamespaceName),
    NamespaceNotEmpty(NamespaceName),
    TableExists(Ident),
    AlreadyExists(String),
    RenameTaken {
        from: Ident,
        to: Ident,
    },
    /// A requirement does not hold on the newest version.
    CommitFailed(String),
    /// Well-formed, but contradicting itself.
    Unprocessable(String),
    NoSuchRoute(String),
    MethodNotAllowed {
        method: String,
        allowed: &'static [&'static str],
    },
    /// Part of the protocol, not offered here.
    Unsupported(&'static str),
    /// What an earlier request with the same idempotency key was answered.
    Replayed {
        status: u16,
        kind: String,
        message: String,
    },
    /// Too many others at work on the same tables; may come again.
    Contended,
    /// A value or a metadata file that cannot be read as such.
    Damaged {
        what: String,
        why: String,
    },
    /// A value that a newer version of this program wrote: not damage, but nothing can be said or done beside it.
    NewerValue {
        key: String,
        /// The version that is not known here; `None` when the kind is not known.
        version: Option<u64>,
    },
    /// The engine could not do it; nothing was changed.
    Engine(EngineError),
    /// The change was made, but it is unknown whether it will survive.
    StateUnknown(EngineError),
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Failure {
        match error {
            CommitError::BadRequest(text) => Failure::BadRequest(text),
            CommitError::Validation(text) => Failure::Validation(text),
            CommitError::IllegalArgument(text) => Failure::IllegalArgument(text),
            CommitError::Failed(text) => Failure::CommitFailed(text),
            CommitError::AlreadyExists(text) => Failure::AlreadyExists(text),
        }
    }
}

impl From<OverLimit> for Failure {
    fn from(OverLimit { limit, max, got }: OverLimit) -> Failure {
        Failure::TooLarge { limit, max, got }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Failure {
        match error {
            NameError::Invalid(text) => Failure::BadRequest(text),
            NameError::TooLong(over) => Failure::from(over),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::Engine(error)
    }
}
