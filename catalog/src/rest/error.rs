//! The one table from a failure to status, type and text of the Iceberg REST protocol. Used by `rest` for answers and
//! by `store` for what it remembers under an idempotency key.
//!
//! Texts begin as those of the Java reference do, because clients and compatibility kits read them.

use std::borrow::Cow;

use bytes::Bytes;
use nilas_engine::EngineError;
use serde_json::json;

use crate::rest::Response;
use crate::store::failure::Failure;

/// Status, `type` and `message` of a failure.
pub(crate) fn answer(failure: &Failure) -> (u16, Cow<'static, str>, String) {
    let (status, kind, message) = match failure {
        Failure::BadRequest(text) => (400, "BadRequestException", text.clone()),
        Failure::Validation(text) => (400, "ValidationException", text.clone()),
        Failure::IllegalArgument(text) => (400, "IllegalArgumentException", text.clone()),
        Failure::TooLarge { limit, max, got } => {
            let status = if *limit == "BODY_BYTES_MAX" { 413 } else { 400 };
            (status, "BadRequestException", format!("{limit} is {max}, got {got}"))
        }
        Failure::Location { location, why } => {
            (400, "BadRequestException", format!("Invalid location {location:?}: {why}"))
        }
        Failure::LocationTaken { location, by } => {
            (400, "BadRequestException", format!("Invalid location {location:?}: it overlaps that of {by}"))
        }
        Failure::NoSuchWarehouse(name) => {
            (404, "NoSuchWarehouseException", format!("Warehouse does not exist: {name}"))
        }
        Failure::NoWarehouseEntry(name) => {
            (404, "IcebergWarehouseNotFound", format!("Warehouse does not exist: {name}"))
        }
        Failure::NoSuchNamespace(name) => {
            (404, "NoSuchNamespaceException", format!("Namespace does not exist: {name}"))
        }
        Failure::NoSuchTable(ident) => {
            (404, "NoSuchTableException", format!("Table does not exist: {ident}"))
        }
        Failure::NoSuchView(ident) => (404, "NoSuchViewException", format!("View does not exist: {ident}")),
        Failure::NoSuchFile(location) => {
            (404, "NotFoundException", format!("Location does not exist: {location}"))
        }
        Failure::WarehouseExists(name) => {
            (409, "IcebergWarehouseAlreadyExists", format!("Warehouse already exists: {name}"))
        }
        Failure::BucketExists(name) => (
            409,
            "IcebergWarehouseAlreadyExists",
            format!("Bucket already exists: {name} (upgrade-existing makes it a warehouse)"),
        ),
        Failure::WarehouseNotEmpty(name) => {
            (409, "WarehouseNotEmptyException", format!("Warehouse {name} is not empty"))
        }
        Failure::NamespaceExists(name) => {
            (409, "AlreadyExistsException", format!("Namespace already exists: {name}"))
        }
        Failure::NamespaceNotEmpty(name) => {
            (409, "NamespaceNotEmptyException", format!("Namespace {name} is not empty"))
        }
        Failure::TableExists(ident) => {
            (409, "AlreadyExistsException", format!("Table already exists: {ident}"))
        }
        Failure::AlreadyExists(text) => (409, "AlreadyExistsException", text.clone()),
        Failure::RenameTaken { from, to } => {
            (409, "AlreadyExistsException", format!("Cannot rename {from} to {to}. Table already exists"))
        }
        Failure::CommitFailed(text) => (409, "CommitFailedException", text.clone()),
        Failure::Unprocessable(text) => (422, "UnprocessableEntityException", text.clone()),
        Failure::NoSuchRoute(path) => (404, "NoSuchRouteException", format!("No such path: {path}")),
        Failure::MethodNotAllowed { method, allowed } => (
            405,
            "MethodNotAllowedException",
            format!("{method} is not allowed here, only {}", allowed.join(", ")),
        ),
        Failure::Unsupported(what) => {
            (406, "UnsupportedOperationException", format!("not supported: {what}"))
        }
        Failure::Replayed { status, kind, message } => {
            return (*status, Cow::Owned(kind.clone()), message.clone());
        }
        Failure::Contended => {
            (429, "TooManyRequestsException", "too many changes to the same tables, please retry".to_owned())
        }
        Failure::Damaged { what, why } => (500, "InternalServerError", format!("{what} is damaged: {why}")),
        // Not 500, which a commit takes for an unknown outcome, nor 503: it does not pass by itself.
        Failure::NewerValue { key, version } => {
            let what = version.map_or_else(|| "kind".to_owned(), |version| format!("version {version}"));
            let text = format!("catalog value {key} was written by a newer version: unknown {what}");
            (501, "UnsupportedOperationException", text)
        }
        Failure::Engine(error) => engine(error),
        Failure::StateUnknown(error) => {
            (500, "CommitStateUnknownException", format!("the change may or may not survive: {error}"))
        }
    };
    (status, Cow::Borrowed(kind), message)
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
        EngineError::TooLarge { .. } => (400, "BadRequestException", error.to_string()),
        EngineError::UnsupportedSetting { .. } => (406, "UnsupportedOperationException", error.to_string()),
    }
}

/// The answer to a failed request.
pub(crate) fn response(failure: &Failure) -> Response {
    let (status, kind, message) = answer(failure);
    let mut response = iceberg_error(status, &kind, &message);
    if status == 429 || status == 503 {
        response.headers.push(("retry-after", "1".to_owned()));
    }
    if let Failure::MethodNotAllowed { allowed, .. } = failure {
        response.headers.push(("allow", allowed.join(", ")));
    }
    response
}

/// Makes an error answer of the Iceberg REST protocol, for whoever refuses a request before the catalog sees it.
pub fn iceberg_error(status: u16, kind: &str, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": kind, "code": status}});
    json_response(status, &body)
}

/// Makes an error answer of `oauth/tokens` (RFC 6749, 5.2).
pub fn oauth_error(status: u16, code: &str, description: &str) -> Response {
    json_response(status, &json!({"error": code, "error_description": description}))
}

fn json_response(status: u16, body: &serde_json::Value) -> Response {
    Response {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        body: Bytes::from(body.to_string()),
        gzip: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::names::{Ident, NamespaceName};

    fn ident(name: &str) -> Ident {
        Ident::new(NamespaceName::parse("n\u{1f}s").expect("valid"), name).expect("valid")
    }

    #[test]
    fn table() {
        let check = |failure: Failure, status: u16, kind: &str, text: &str| {
            let (got_status, got_kind, message) = answer(&failure);
            assert_eq!((got_status, &*got_kind), (status, kind), "{failure:?}");
            assert!(message.starts_with(text), "{message}");
        };
        let namespace = || ident("t").namespace;
        check(Failure::BadRequest("x".to_owned()), 400, "BadRequestException", "x");
        check(Failure::IllegalArgument("x".to_owned()), 400, "IllegalArgumentException", "x");
        check(Failure::Validation("x".to_owned()), 400, "ValidationException", "x");
        check(
            Failure::TooLarge { limit: "BODY_BYTES_MAX", max: 1, got: 2 },
            413,
            "BadRequestException",
            "BODY",
        );
        check(
            Failure::NoSuchNamespace(namespace()),
            404,
            "NoSuchNamespaceException",
            "Namespace does not exist: n.s",
        );
        check(Failure::NoSuchTable(ident("t")), 404, "NoSuchTableException", "Table does not exist: n.s.t");
        check(Failure::NoSuchView(ident("t")), 404, "NoSuchViewException", "View does not exist: n.s.t");
        check(Failure::NoSuchFile("f".to_owned()), 404, "NotFoundException", "");
        check(Failure::NoSuchWarehouse("w".to_owned()), 404, "NoSuchWarehouseException", "");
        check(Failure::WarehouseExists("w".to_owned()), 409, "IcebergWarehouseAlreadyExists", "");
        check(
            Failure::NamespaceExists(namespace()),
            409,
            "AlreadyExistsException",
            "Namespace already exists: n.s",
        );
        check(
            Failure::NamespaceNotEmpty(namespace()),
            409,
            "NamespaceNotEmptyException",
            "Namespace n.s is not empty",
        );
        check(Failure::TableExists(ident("t")), 409, "AlreadyExistsException", "Table already exists: n.s.t");
        let taken = Failure::RenameTaken { from: ident("a"), to: ident("b") };
        check(taken, 409, "AlreadyExistsException", "Cannot rename n.s.a to n.s.b. Table already exists");
        check(
            Failure::CommitFailed("Requirement failed: x".to_owned()),
            409,
            "CommitFailedException",
            "Requirement",
        );
        check(Failure::Unprocessable("x".to_owned()), 422, "UnprocessableEntityException", "x");
        check(Failure::Contended, 429, "TooManyRequestsException", "");
        check(
            Failure::NewerValue { key: "v".to_owned(), version: Some(2) },
            501,
            "UnsupportedOperationException",
            "catalog value v was written by a newer version: unknown version 2",
        );
        check(
            Failure::Engine(EngineError::Full { wanted_bytes: 1 }),
            507,
            "InsufficientStorageException",
            "",
        );
        check(Failure::Engine(EngineError::Busy { limit: "x", max: 1 }), 429, "SlowDownException", "");
        check(Failure::Engine(EngineError::BucketClosed), 429, "SlowDownException", "");
        check(Failure::Engine(EngineError::NoFreeZone), 429, "SlowDownException", "");
        check(Failure::StateUnknown(EngineError::Stopping), 500, "CommitStateUnknownException", "");
        let replayed = Failure::Replayed { status: 409, kind: "K".to_owned(), message: "m".to_owned() };
        check(replayed, 409, "K", "m");
    }

    #[test]
    fn shapes() {
        let response =
            response(&Failure::MethodNotAllowed { method: "PUT".to_owned(), allowed: &["GET", "POST"] });
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow", "GET, POST".to_owned())));
        let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(body["error"]["code"], json!(405));
        let response = oauth_error(401, "invalid_client", "no");
        assert_eq!(response.body, r#"{"error":"invalid_client","error_description":"no"}"#);
    }
}
