//! Why the catalog did not do what was asked: facts, and the one table from them to status, type and text.
//!
//! `rest` renders what [`CatalogError::answer`] says as JSON; `store` keeps it under an idempotency key. No other place of
//! the catalog, nor of the layer above, chooses a status of the Iceberg protocol.

use std::borrow::Cow;

use nilas_engine::EngineError;

use crate::commit::CommitError;
use crate::limits::OverLimit;
use crate::refusal::{OAuthError, Refusal};
use crate::store::judged::NamedTable;
use crate::store::names::{Ident, NameError, NamespaceName};

/// One request's failure. Nothing was changed, except where a variant says otherwise.
#[derive(Clone, Debug)]
pub(crate) enum CatalogError {
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
    /// A request body over [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX).
    BodyTooLarge {
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
    /// The same, of a table that is dropped and whose files are still being deleted. Passes by itself.
    LocationPurging {
        location: String,
        by: String,
    },
    /// A UUID that another table of the warehouse has.
    UuidTaken(String),
    /// No bucket of that name is a warehouse.
    NoSuchWarehouse(String),
    /// The same, asked through `/warehouses`, where clients know another type.
    NoWarehouseEntry(String),
    NoSuchNamespace(NamespaceName),
    NoSuchTable(Ident),
    NoSuchView(Ident),
    /// A table or view was asked for outside of all namespaces.
    NothingOutsideOfNamespaces {
        name: String,
        is_view: bool,
    },
    /// A metadata file that is not there.
    NoSuchFile(String),
    WarehouseExists(String),
    /// The bucket is there, but is not a warehouse, and the request did not ask for that to change.
    BucketExists(String),
    WarehouseNotEmpty(String),
    /// Files of a dropped table are still being deleted. Passes by itself.
    WarehousePurging {
        name: String,
        table: String,
    },
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
        allowed: Vec<&'static str>,
    },
    /// Part of the protocol, not offered here.
    Unsupported(&'static str),
    /// The sender may not do that.
    Forbidden {
        action: &'static str,
        /// Its ARN.
        resource: String,
    },
    /// Refused before the catalog saw it.
    Refused(Refusal),
    /// What an earlier request with the same idempotency key was answered.
    Replayed {
        status: u16,
        kind: String,
        message: String,
    },
    /// Too many others at work on the same tables; may come again.
    Contended,
    /// A name stands for another table than the one that the sender was judged on: to be judged again.
    Moved,
    /// The change was made before, and the answer lies in a table that the request does not name: to be done again when the
    /// sender may do that there as well.
    Concerns(NamedTable),
    /// The change was made before, in a table that the sender may not see any more. A conflict, or a refusal, would have the
    /// client delete what it committed.
    LandedUnseen,
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

impl From<CommitError> for CatalogError {
    fn from(error: CommitError) -> CatalogError {
        match error {
            CommitError::BadRequest(text) => CatalogError::BadRequest(text),
            CommitError::Validation(text) => CatalogError::Validation(text),
            CommitError::IllegalArgument(text) => CatalogError::IllegalArgument(text),
            CommitError::Failed(text) => CatalogError::CommitFailed(text),
            CommitError::AlreadyExists(text) => CatalogError::AlreadyExists(text),
        }
    }
}

impl From<OverLimit> for CatalogError {
    fn from(OverLimit { limit, max, got }: OverLimit) -> CatalogError {
        CatalogError::TooLarge { limit, max, got }
    }
}

impl From<NameError> for CatalogError {
    fn from(error: NameError) -> CatalogError {
        match error {
            NameError::Invalid(text) => CatalogError::BadRequest(text),
            NameError::TooLong(over) => CatalogError::from(over),
        }
    }
}

impl From<EngineError> for CatalogError {
    fn from(error: EngineError) -> CatalogError {
        CatalogError::Engine(error)
    }
}

/// The answer to a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// The protocol's `type`.
    pub(crate) kind: Cow<'static, str>,
    pub(crate) message: String,
}

impl CatalogError {
    /// Whether it is a purge that stands in the way, which ends by itself.
    pub(crate) fn waits_for_a_purge(&self) -> bool {
        matches!(self, CatalogError::LocationPurging { .. } | CatalogError::WarehousePurging { .. })
    }

    /// Whether it names a table that the request does not name.
    pub(crate) fn names_others(&self) -> bool {
        matches!(self, CatalogError::LocationTaken { .. }) || self.waits_for_a_purge()
    }

    /// The same, without the name of a table that the request does not name.
    pub(crate) fn without_names(self) -> CatalogError {
        let other = || "another table".to_owned();
        match self {
            CatalogError::LocationTaken { location, .. } => {
                CatalogError::LocationTaken { location, by: other() }
            }
            CatalogError::LocationPurging { location, .. } => {
                CatalogError::LocationPurging { location, by: other() }
            }
            CatalogError::WarehousePurging { name, .. } => {
                CatalogError::WarehousePurging { name, table: "a dropped table".to_owned() }
            }
            failure => failure,
        }
    }

    /// The one table from a failure to status, type and text. Texts begin as those of the Java reference do, because
    /// clients and compatibility kits read them.
    pub(crate) fn answer(&self) -> Answer {
        let (status, kind, message) = match self {
            CatalogError::BadRequest(text) => (400, "BadRequestException", text.clone()),
            CatalogError::Validation(text) => (400, "ValidationException", text.clone()),
            CatalogError::IllegalArgument(text) => (400, "IllegalArgumentException", text.clone()),
            CatalogError::TooLarge { limit, max, got } => {
                (400, "BadRequestException", format!("{limit} is {max}, got {got}"))
            }
            CatalogError::BodyTooLarge { max, got } => {
                (413, "BadRequestException", format!("BODY_BYTES_MAX is {max}, got {got}"))
            }
            CatalogError::Location { location, why } => {
                (400, "BadRequestException", format!("Invalid location {location:?}: {why}"))
            }
            CatalogError::LocationTaken { location, by } => (
                400,
                "BadRequestException",
                format!("Invalid location {location:?}: it overlaps that of {by}"),
            ),
            CatalogError::LocationPurging { location, by } => (
                400,
                "BadRequestException",
                format!("Invalid location {location:?}: it overlaps that of {by}, whose purge has not ended"),
            ),
            CatalogError::UuidTaken(uuid) => (
                400,
                "BadRequestException",
                format!("Invalid UUID {uuid}: another table of the warehouse has it"),
            ),
            CatalogError::NoSuchWarehouse(name) => {
                (404, "NoSuchWarehouseException", format!("Warehouse does not exist: {name}"))
            }
            CatalogError::NoWarehouseEntry(name) => {
                (404, "IcebergWarehouseNotFound", format!("Warehouse does not exist: {name}"))
            }
            CatalogError::NoSuchNamespace(name) => {
                (404, "NoSuchNamespaceException", format!("Namespace does not exist: {name}"))
            }
            CatalogError::NoSuchTable(ident) => {
                (404, "NoSuchTableException", format!("Table does not exist: {ident}"))
            }
            CatalogError::NothingOutsideOfNamespaces { name, is_view: false } => {
                (404, "NoSuchTableException", format!("Table does not exist: {name}"))
            }
            CatalogError::NothingOutsideOfNamespaces { name, is_view: true } => {
                (404, "NoSuchViewException", format!("View does not exist: {name}"))
            }
            CatalogError::NoSuchView(ident) => {
                (404, "NoSuchViewException", format!("View does not exist: {ident}"))
            }
            CatalogError::NoSuchFile(location) => {
                (404, "NotFoundException", format!("Location does not exist: {location}"))
            }
            CatalogError::WarehouseExists(name) => {
                (409, "IcebergWarehouseAlreadyExists", format!("Warehouse already exists: {name}"))
            }
            CatalogError::BucketExists(name) => (
                409,
                "IcebergWarehouseAlreadyExists",
                format!("Bucket already exists: {name} (upgrade-existing makes it a warehouse)"),
            ),
            CatalogError::WarehouseNotEmpty(name) => {
                (409, "WarehouseNotEmptyException", format!("Warehouse {name} is not empty"))
            }
            CatalogError::WarehousePurging { name, table } => (
                409,
                "WarehouseNotEmptyException",
                format!("Warehouse {name} is not empty: the purge of {table} has not ended"),
            ),
            CatalogError::NamespaceExists(name) => {
                (409, "AlreadyExistsException", format!("Namespace already exists: {name}"))
            }
            CatalogError::NamespaceNotEmpty(name) => {
                (409, "NamespaceNotEmptyException", format!("Namespace {name} is not empty"))
            }
            CatalogError::TableExists(ident) => {
                (409, "AlreadyExistsException", format!("Table already exists: {ident}"))
            }
            CatalogError::AlreadyExists(text) => (409, "AlreadyExistsException", text.clone()),
            CatalogError::RenameTaken { from, to } => {
                (409, "AlreadyExistsException", format!("Cannot rename {from} to {to}. Table already exists"))
            }
            CatalogError::CommitFailed(text) => (409, "CommitFailedException", text.clone()),
            CatalogError::Unprocessable(text) => (422, "UnprocessableEntityException", text.clone()),
            CatalogError::NoSuchRoute(path) => (404, "NoSuchRouteException", format!("No such path: {path}")),
            CatalogError::MethodNotAllowed { method, allowed } => (
                405,
                "MethodNotAllowedException",
                format!("{method} is not allowed here, only {}", allowed.join(", ")),
            ),
            CatalogError::Unsupported(what) => {
                (406, "UnsupportedOperationException", format!("not supported: {what}"))
            }
            CatalogError::Forbidden { action, resource } => {
                (403, "ForbiddenException", format!("not authorized to perform {action} on {resource}"))
            }
            CatalogError::Refused(refusal) => refused(refusal),
            CatalogError::Replayed { status, kind, message } => {
                return Answer { status: *status, kind: Cow::Owned(kind.clone()), message: message.clone() };
            }
            CatalogError::LandedUnseen => (
                500,
                "CommitStateUnknownException",
                "the change may have been made, in a table that is not to be seen any more".to_owned(),
            ),
            CatalogError::Contended | CatalogError::Moved | CatalogError::Concerns(_) => (
                429,
                "TooManyRequestsException",
                "too many changes to the same tables, please retry".to_owned(),
            ),
            // Not 500, which a commit takes for an unknown outcome, nor 503: it does not pass by itself.
            CatalogError::NewerValue { key, version } => {
                let what = version.map_or_else(|| "kind".to_owned(), |version| format!("version {version}"));
                let text = format!("catalog value {key} was written by a newer version: unknown {what}");
                (501, "UnsupportedOperationException", text)
            }
            CatalogError::Damaged { what, why } => {
                (500, "InternalServerError", format!("{what} is damaged: {why}"))
            }
            CatalogError::Engine(error) => engine(error),
            CatalogError::StateUnknown(error) => {
                (500, "CommitStateUnknownException", format!("the change may or may not survive: {error}"))
            }
        };
        Answer { status, kind: Cow::Borrowed(kind), message }
    }
}

/// Refusals of the layer above. Those of the token endpoint have the codes of RFC 6749 in place of a type.
fn refused(refusal: &Refusal) -> (u16, &'static str, String) {
    match refusal {
        Refusal::Recovering => {
            (503, "ServiceUnavailableException", "the store is recovering, try again".to_owned())
        }
        Refusal::NotSigned(why) => (403, "ForbiddenException", why.to_string()),
        Refusal::SessionOver(why) => (401, "NotAuthorizedException", why.to_string()),
        Refusal::TokenInvalid => {
            (401, "NotAuthorizedException", "the token is not valid or was revoked".to_owned())
        }
        Refusal::TokenExpired => (419, "AuthenticationTimeoutException", "the token has expired".to_owned()),
        Refusal::IssuerUnreachable => {
            (503, "SlowDownException", "the OpenID Connect issuer does not answer".to_owned())
        }
        Refusal::BodyTooLarge { limit, max } => {
            (413, "BadRequestException", format!("the request body is over {limit}, {max} bytes"))
        }
        Refusal::BodyBroken => {
            let message = "the request body ended before its announced length";
            (400, "BadRequestException", message.to_owned())
        }
        Refusal::BodyStalled => {
            (400, "BadRequestException", "the request body did not come in time".to_owned())
        }
        Refusal::DocumentTooLarge { cost, max } => (
            413,
            "BadRequestException",
            format!("the request takes {cost} bytes, DOCUMENT_BYTES_MAX is {max} on this machine"),
        ),
        Refusal::Throttled { .. } => (
            429,
            "SlowDownException",
            "too many requests from this address failed to prove who sent them".to_owned(),
        ),
        Refusal::Busy(error) => engine(error),
        Refusal::TokenMethod => {
            (405, "BadRequestException", "only POST is allowed on oauth/tokens".to_owned())
        }
        Refusal::Token(error) => {
            let status = match error {
                OAuthError::InvalidClient => 401,
                OAuthError::SlowDown { .. } => 429,
                _ => 400,
            };
            (status, error.code(), error.description().to_owned())
        }
    }
}

/// The engine's failures of a change that was surely not made, or of a read.
fn engine(error: &EngineError) -> (u16, &'static str, String) {
    match error {
        EngineError::Drive(_) | EngineError::Corrupt(_) => (500, "InternalServerError", error.to_string()),
        EngineError::ReadOnly { .. } | EngineError::Stopping => {
            (503, "ServiceUnavailableException", error.to_string())
        }
        EngineError::Full { .. } => (507, "InsufficientStorageException", error.to_string()),
        // A bare 503 is read as "unknown" by Java commits; 429 is retried by all.
        EngineError::Busy { .. } | EngineError::BucketClosed | EngineError::NoFreeZone => {
            (429, "SlowDownException", error.to_string())
        }
        EngineError::UnsupportedSetting { .. } => (501, "UnsupportedOperationException", error.to_string()),
        EngineError::TooLarge { .. } => (400, "BadRequestException", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ident(name: &str) -> Ident {
        Ident::new(NamespaceName::parse("n\u{1f}s").expect("valid"), name).expect("valid")
    }

    #[test]
    fn table() {
        let check = |failure: CatalogError, status: u16, kind: &str, text: &str| {
            let answer = failure.answer();
            assert_eq!((answer.status, &*answer.kind), (status, kind), "{failure:?}");
            assert!(answer.message.starts_with(text), "{}", answer.message);
        };
        let namespace = || ident("t").namespace;
        check(CatalogError::BadRequest("x".to_owned()), 400, "BadRequestException", "x");
        check(CatalogError::IllegalArgument("x".to_owned()), 400, "IllegalArgumentException", "x");
        check(CatalogError::Validation("x".to_owned()), 400, "ValidationException", "x");
        check(
            CatalogError::BodyTooLarge { max: 1, got: 2 },
            413,
            "BadRequestException",
            "BODY_BYTES_MAX is 1, got 2",
        );
        check(
            CatalogError::TooLarge { limit: "X_MAX", max: 1, got: 2 },
            400,
            "BadRequestException",
            "X_MAX is 1, got 2",
        );
        check(
            CatalogError::NoSuchNamespace(namespace()),
            404,
            "NoSuchNamespaceException",
            "Namespace does not exist: n.s",
        );
        check(
            CatalogError::NoSuchTable(ident("t")),
            404,
            "NoSuchTableException",
            "Table does not exist: n.s.t",
        );
        check(CatalogError::NoSuchView(ident("t")), 404, "NoSuchViewException", "View does not exist: n.s.t");
        check(CatalogError::NoSuchFile("f".to_owned()), 404, "NotFoundException", "");
        check(CatalogError::NoSuchWarehouse("w".to_owned()), 404, "NoSuchWarehouseException", "");
        check(CatalogError::WarehouseExists("w".to_owned()), 409, "IcebergWarehouseAlreadyExists", "");
        check(
            CatalogError::NamespaceExists(namespace()),
            409,
            "AlreadyExistsException",
            "Namespace already exists: n.s",
        );
        check(
            CatalogError::NamespaceNotEmpty(namespace()),
            409,
            "NamespaceNotEmptyException",
            "Namespace n.s is not empty",
        );
        check(
            CatalogError::TableExists(ident("t")),
            409,
            "AlreadyExistsException",
            "Table already exists: n.s.t",
        );
        let taken = CatalogError::RenameTaken { from: ident("a"), to: ident("b") };
        check(taken, 409, "AlreadyExistsException", "Cannot rename n.s.a to n.s.b. Table already exists");
        check(
            CatalogError::CommitFailed("Requirement failed: x".to_owned()),
            409,
            "CommitFailedException",
            "Requirement",
        );
        check(CatalogError::Unprocessable("x".to_owned()), 422, "UnprocessableEntityException", "x");
        let concerned =
            CatalogError::Concerns(NamedTable { ident: ident("secret"), id: "secret".to_owned() });
        for failure in [CatalogError::Contended, CatalogError::Moved, concerned] {
            check(
                failure,
                429,
                "TooManyRequestsException",
                "too many changes to the same tables, please retry",
            );
        }
        check(
            CatalogError::LandedUnseen,
            500,
            "CommitStateUnknownException",
            "the change may have been made",
        );
        check(CatalogError::UuidTaken("u".to_owned()), 400, "BadRequestException", "Invalid UUID u: another");
        let taken = CatalogError::LocationTaken { location: "l".to_owned(), by: "secret".to_owned() };
        assert!(!taken.without_names().answer().message.contains("secret"));
        check(
            CatalogError::Engine(EngineError::Full { wanted_bytes: 1 }),
            507,
            "InsufficientStorageException",
            "",
        );
        check(
            CatalogError::NewerValue { key: "v".to_owned(), version: Some(2) },
            501,
            "UnsupportedOperationException",
            "catalog value v was written by a newer version: unknown version 2",
        );
        check(CatalogError::Engine(EngineError::Busy { limit: "x", max: 1 }), 429, "SlowDownException", "");
        check(CatalogError::Engine(EngineError::BucketClosed), 429, "SlowDownException", "");
        check(CatalogError::Engine(EngineError::NoFreeZone), 429, "SlowDownException", "");
        let kind = nilas_engine::SettingKind::LOCK;
        let unsupported = CatalogError::Engine(EngineError::UnsupportedSetting { kind });
        check(unsupported, 501, "UnsupportedOperationException", "the bucket has the setting lock");
        check(CatalogError::StateUnknown(EngineError::Stopping), 500, "CommitStateUnknownException", "");
        let forbidden = CatalogError::Forbidden { action: "s3tables:GetTable", resource: "arn".to_owned() };
        check(forbidden, 403, "ForbiddenException", "not authorized to perform s3tables:GetTable on arn");
        let replayed = CatalogError::Replayed { status: 409, kind: "K".to_owned(), message: "m".to_owned() };
        check(replayed, 409, "K", "m");
    }
    #[test]
    fn refusals() {
        let check = |refusal: Refusal, status: u16, kind: &str, text: &str| {
            let answer = CatalogError::Refused(refusal).answer();
            assert_eq!((answer.status, &*answer.kind, answer.message.as_str()), (status, kind, text));
        };
        let recovering = "the store is recovering, try again";
        check(Refusal::Recovering, 503, "ServiceUnavailableException", recovering);
        check(Refusal::NotSigned("why".into()), 403, "ForbiddenException", "why");
        check(Refusal::SessionOver("why".into()), 401, "NotAuthorizedException", "why");
        let token = "the token is not valid or was revoked";
        check(Refusal::TokenInvalid, 401, "NotAuthorizedException", token);
        let over = "the token has expired";
        check(Refusal::TokenExpired, 419, "AuthenticationTimeoutException", over);
        let issuer = "the OpenID Connect issuer does not answer";
        check(Refusal::IssuerUnreachable, 503, "SlowDownException", issuer);
        let large = Refusal::BodyTooLarge { limit: "CATALOG_BODY_BYTES_MAX", max: 5 };
        let text = "the request body is over CATALOG_BODY_BYTES_MAX, 5 bytes";
        check(large, 413, "BadRequestException", text);
        let broken = "the request body ended before its announced length";
        check(Refusal::BodyBroken, 400, "BadRequestException", broken);
        let stalled = "the request body did not come in time";
        check(Refusal::BodyStalled, 400, "BadRequestException", stalled);
        let text = "the request takes 7 bytes, DOCUMENT_BYTES_MAX is 5 on this machine";
        check(Refusal::DocumentTooLarge { cost: 7, max: 5 }, 413, "BadRequestException", text);
        let busy = EngineError::Busy { limit: "X_MAX", max: 1 };
        check(Refusal::Busy(busy.clone()), 429, "SlowDownException", &busy.to_string());
        let throttled = "too many requests from this address failed to prove who sent them";
        check(Refusal::Throttled { retry_after_s: 7 }, 429, "SlowDownException", throttled);
        let slow = "too many requests from this address failed";
        check(Refusal::Token(OAuthError::SlowDown { retry_after_s: 7 }), 429, "slow_down", slow);
        check(Refusal::TokenMethod, 405, "BadRequestException", "only POST is allowed on oauth/tokens");
        let client = "client authentication failed";
        check(Refusal::Token(OAuthError::InvalidClient), 401, "invalid_client", client);
        check(Refusal::Token(OAuthError::InvalidRequest("x")), 400, "invalid_request", "x");
        let grant = "the subject token is not valid";
        check(Refusal::Token(OAuthError::InvalidGrant), 400, "invalid_grant", grant);
    }
}
