//! From a request's raw path to the operation it asks for and what it names. Pure.
//!
//! Slashes before `/v1` count as one. The path is split at its raw slashes, then each segment is decoded: an encoded slash is
//! part of a name. A plus is a blank, as Java's encoder has it, or itself, as others have it: both readings are returned, and who
//! knows the names chooses. The warehouse may be left out (`/v1/namespaces/…`). Which paths there are is in the table of operations.

use crate::rest::operations::Operation;
use crate::store::failure::CatalogError;
use crate::store::names::{Ident, Names, NamespaceName, warehouse_name};
use crate::uri;

/// What a request asks for, or why that is nothing. The failure is returned when its sender is known, and not before.
#[derive(Debug)]
pub struct Route(pub(crate) Result<Target, CatalogError>);

impl Route {
    /// Finds what `method` and a raw path that begins with `/v1` ask for.
    pub fn of(method: &str, raw_path: &str) -> Route {
        Route(route(method, raw_path))
    }

    /// Returns the operation; `None` for what is not served.
    pub fn operation(&self) -> Option<Operation> {
        match self.0.as_ref().ok()?.asked {
            Asked::Served(operation) => Some(operation),
            Asked::NotOffered => None,
        }
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) asked: Asked,
    /// `None`: the path has no prefix.
    pub(crate) warehouse: Option<String>,
    pub(crate) names: Names,
    /// With each plus read as itself; `None` when there is none.
    pub(crate) literal: Option<Names>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Served(Operation),
    /// Part of the protocol, but not served: views.
    NotOffered,
}

impl Names {
    /// The namespace of a path with `{namespace}` and no `{table}`.
    pub(crate) fn namespace(&self) -> Result<NamespaceName, CatalogError> {
        match self {
            Names::Namespace(namespace) => Ok(namespace.clone()),
            Names::Nothing | Names::Ident(_) => Err(CatalogError::BadRequest("Missing namespace".to_owned())),
        }
    }

    /// The table of a path with `{table}`.
    pub(crate) fn table(&self) -> Result<Ident, CatalogError> {
        match self {
            Names::Ident(ident) => Ok(ident.clone()),
            Names::Nothing | Names::Namespace(_) => Err(CatalogError::BadRequest("Missing table".to_owned())),
        }
    }
}

/// Paths of the protocol that are known and not served, with the methods that they know.
const NOT_OFFERED: [(&str, &[&str]); 4] = [
    ("/v1/{prefix}/namespaces/{namespace}/views", &["GET", "POST"]),
    ("/v1/{prefix}/namespaces/{namespace}/register-view", &["GET", "POST"]),
    ("/v1/{prefix}/namespaces/{namespace}/views/{table}", &["GET", "HEAD", "POST", "DELETE"]),
    ("/v1/{prefix}/views/rename", &["GET", "POST"]),
];

/// How the paths of what is in a warehouse begin.
const IN_WAREHOUSE: &str = "/v1/{prefix}/";

/// Parses a path that begins with `/v1`. [`CatalogError::NoSuchRoute`] for anything unknown.
fn route(method: &str, raw_path: &str) -> Result<Target, CatalogError> {
    let unknown = || CatalogError::NoSuchRoute(raw_path.to_owned());
    let token = Operation::GetToken;
    let path = trimmed(raw_path);
    if path.trim_end_matches('/') == token.row().path {
        // The token endpoint refuses other methods in words of its own.
        let names = Names::Nothing;
        return Ok(Target { asked: Asked::Served(token), warehouse: None, names, literal: None });
    }
    let raw = path.strip_prefix("/v1/").ok_or_else(unknown)?;
    let mut target = read(method, raw, true).map_err(|error| error.unwrap_or_else(unknown))?;
    if raw.contains('+') {
        // What is no name in this reading is not meant.
        let literal = read(method, raw, false).ok().map(|target| target.names);
        target.literal = literal.filter(|names| *names != target.names);
    }
    Ok(target)
}

/// The path without slashes that a base address with a slash at its end puts before it: `//v1/config` is `/v1/config`.
fn trimmed(raw_path: &str) -> &str {
    let slashes = raw_path.len() - raw_path.trim_start_matches('/').len();
    raw_path.get(slashes.saturating_sub(1)..).unwrap_or(raw_path)
}

/// Reads what stands behind `/v1/`. Without an error to tell, the path is unknown.
fn read(method: &str, raw: &str, plus_is_blank: bool) -> Result<Target, Option<CatalogError>> {
    let mut segments = Vec::new();
    for segment in raw.split('/') {
        let invalid = || CatalogError::BadRequest(format!("Invalid path: /v1/{raw}"));
        segments.push(decode(segment, plus_is_blank).ok_or_else(invalid)?);
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(found) = find("/v1/", &segments) {
        return Ok(found.target(method, None)?);
    }
    let (warehouse, rest) = match segments.as_slice() {
        ["namespaces", ..] | ["tables" | "views", "rename"] | ["transactions", "commit"] => {
            (None, segments.as_slice())
        }
        [prefix, rest @ ..] if !prefix.is_empty() => (Some(warehouse_name(prefix).to_owned()), rest),
        _ => return Err(None),
    };
    let Some(found) = find(IN_WAREHOUSE, rest) else { return Err(None) };
    Ok(found.target(method, warehouse)?)
}

/// A path of the table that fits, with what stands in its braces.
struct Found<'a> {
    path: &'static str,
    warehouse: Option<&'a str>,
    namespace: Option<&'a str>,
    table: Option<&'a str>,
}

/// Finds the path that begins with `start` and fits `segments`. What is in a warehouse is found only behind its prefix.
fn find<'a>(start: &str, segments: &[&'a str]) -> Option<Found<'a>> {
    // The token endpoint is known by its spelling alone.
    let served = Operation::ALL.iter().filter(|operation| **operation != Operation::GetToken);
    let served = served.map(|operation| operation.row().path);
    served.chain(NOT_OFFERED.map(|(path, _)| path)).find_map(|path| {
        let is_inside = path.starts_with(IN_WAREHOUSE);
        if is_inside != (start == IN_WAREHOUSE) {
            return None;
        }
        fit(path, path.strip_prefix(start)?, segments)
    })
}

fn fit<'a>(path: &'static str, pattern: &str, segments: &[&'a str]) -> Option<Found<'a>> {
    let mut found = Found { path, warehouse: None, namespace: None, table: None };
    let mut given = segments.iter();
    for part in pattern.split('/') {
        let segment = *given.next()?;
        match part {
            "{warehouse}" if segment.is_empty() => return None,
            "{warehouse}" => found.warehouse = Some(segment),
            "{namespace}" => found.namespace = Some(segment),
            "{table}" => found.table = Some(segment),
            literal if literal == segment => {}
            _ => return None,
        }
    }
    given.next().is_none().then_some(found)
}

impl Found<'_> {
    /// Parses the names, then looks for the method.
    fn target(self, method: &str, prefix: Option<String>) -> Result<Target, CatalogError> {
        if let (Some(""), Some(name)) = (self.namespace, self.table) {
            // Engines look for metadata tables this way: `t.files` is asked for as a table and as a namespace.
            let asked = asked(self.path, method)?;
            return Err(CatalogError::NothingOutsideOfNamespaces {
                name: name.to_owned(),
                is_view: asked == Asked::NotOffered,
            });
        }
        let namespace = self.namespace.map(NamespaceName::parse).transpose()?;
        let names = match (namespace, self.table) {
            (Some(namespace), Some(table)) => Names::Ident(Ident::new(namespace, table)?),
            (Some(namespace), None) => Names::Namespace(namespace),
            (None, _) => Names::Nothing,
        };
        let warehouse = self.warehouse.map(|name| warehouse_name(name).to_owned()).or(prefix);
        Ok(Target { asked: asked(self.path, method)?, warehouse, names, literal: None })
    }
}

fn asked(path: &str, method: &str) -> Result<Asked, CatalogError> {
    let mut allowed = Vec::new();
    for operation in Operation::ALL {
        let row = operation.row();
        if row.path == path {
            if row.method == method {
                return Ok(Asked::Served(*operation));
            }
            allowed.push(row.method);
        }
    }
    let methods = NOT_OFFERED.iter().filter(|(known, _)| *known == path).flat_map(|(_, methods)| *methods);
    for known in methods {
        if *known == method {
            return Ok(Asked::NotOffered);
        }
        allowed.push(*known);
    }
    Err(CatalogError::MethodNotAllowed { method: method.to_owned(), allowed })
}

/// The parameters of a raw query, decoded.
pub(crate) fn query(raw_query: &str) -> Result<uri::Query, CatalogError> {
    uri::Query::parse(raw_query)
        .ok_or_else(|| CatalogError::BadRequest(format!("Invalid query: {raw_query}")))
}

/// Decodes a segment of a path; `None` for a broken escape or bytes that are not UTF-8.
fn decode(raw: &str, plus_is_blank: bool) -> Option<String> {
    uri::percent_decode(raw, plus_is_blank).and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(joined: &str) -> Names {
        Names::Namespace(NamespaceName::parse(joined).expect("valid"))
    }

    fn table(joined: &str, name: &str) -> Names {
        Names::Ident(Ident::new(NamespaceName::parse(joined).expect("valid"), name).expect("valid"))
    }

    fn check(method: &str, path: &str, warehouse: Option<&str>, operation: Operation, names: Names) {
        let asked = Asked::Served(operation);
        let got = route(method, path).ok().map(|target| Target { literal: None, ..target });
        let want = Target { asked, warehouse: warehouse.map(str::to_owned), names, literal: None };
        assert_eq!(got, Some(want), "{method} {path}");
    }

    #[test]
    fn namespaces() {
        use Operation::{CreateNamespace, DropNamespace, ListNamespaces, LoadNamespaceMetadata};
        let w = Some("w");
        check("GET", "/v1/w/namespaces", w, ListNamespaces, Names::Nothing);
        check("POST", "/v1/namespaces", None, CreateNamespace, Names::Nothing);
        check("GET", "/v1/s3%3A%2F%2Fw%2F/namespaces", w, ListNamespaces, Names::Nothing);
        check("GET", "/v1/w/namespaces/a%1Fb", w, LoadNamespaceMetadata, namespace("a\u{1f}b"));
        check("DELETE", "/v1/w/namespaces/a%1fb+c", w, DropNamespace, namespace("a\u{1f}b c"));
        check("HEAD", "/v1/namespaces/namespaces", None, Operation::NamespaceExists, namespace("namespaces"));
        check("POST", "/v1/w/namespaces/a/properties", w, Operation::UpdateProperties, namespace("a"));
        check("GET", "/v1/w/namespaces/properties", w, LoadNamespaceMetadata, namespace("properties"));
    }

    #[test]
    fn tables() {
        use Operation::{CommitTransaction, ListTables, LoadTable, RenameTable};
        let w = Some("w");
        check("GET", "/v1/w/namespaces/a/tables", w, ListTables, namespace("a"));
        check("GET", "/v1/w/namespaces/a/tables/x%2Fy", w, LoadTable, table("a", "x/y"));
        check("GET", "/v1/w/namespaces/a/tables/x%2By", w, LoadTable, table("a", "x+y"));
        check("HEAD", "/v1/w/namespaces/a/tables/T%20.%C3%BC", w, Operation::TableExists, table("a", "T .ü"));
        check("POST", "/v1/namespaces/a/tables/t/metrics", None, Operation::ReportMetrics, table("a", "t"));
        check("POST", "/v1/w/namespaces/a/register", w, Operation::RegisterTable, namespace("a"));
        check("POST", "/v1/w/tables/rename", w, RenameTable, Names::Nothing);
        check("POST", "/v1/tables/rename", None, RenameTable, Names::Nothing);
        check("POST", "/v1/w/transactions/commit", w, CommitTransaction, Names::Nothing);
        check("POST", "/v1/transactions/commit", None, CommitTransaction, Names::Nothing);
    }

    #[test]
    fn top() {
        check("GET", "/v1/config", None, Operation::GetConfig, Names::Nothing);
        check("GET", "/v1/warehouses", None, Operation::ListWarehouses, Names::Nothing);
        check("DELETE", "/v1/warehouses/w", Some("w"), Operation::DeleteWarehouse, Names::Nothing);
        check(
            "GET",
            "/v1/warehouses/namespaces",
            Some("namespaces"),
            Operation::GetWarehouse,
            Names::Nothing,
        );
        check("GET", "/v1/oauth/tokens/", None, Operation::GetToken, Names::Nothing);
        check("POST", "//v1/oauth/tokens", None, Operation::GetToken, Names::Nothing);
        check("GET", "//v1/config", None, Operation::GetConfig, Names::Nothing);
        check("GET", "///v1/w/namespaces/a", Some("w"), Operation::LoadNamespaceMetadata, namespace("a"));
    }

    #[test]
    fn a_plus_has_two_readings() {
        let check = |path: &str, blank: Names, literal: Option<Names>| {
            let got = route("GET", path).expect("known");
            assert_eq!((got.names, got.literal), (blank, literal), "{path}");
        };
        check("/v1/w/namespaces/a+b", namespace("a b"), Some(namespace("a+b")));
        check("/v1/w/namespaces/a%2Bb", namespace("a+b"), None);
        check("/v1/w/namespaces/a%20b", namespace("a b"), None);
        check("/v1/w/namespaces/a/tables/x+y%20z", table("a", "x y z"), Some(table("a", "x+y z")));
        check("/v1/w/namespaces/a+%1Fb/tables/x+", table("a \u{1f}b", "x "), Some(table("a+\u{1f}b", "x+")));
    }

    #[test]
    fn there_is_no_table_without_a_namespace() {
        let check = |line: &str, want_view: bool| {
            let (method, path) = line.split_once(' ').expect("method and path");
            match route(method, path) {
                Err(CatalogError::NothingOutsideOfNamespaces { name, is_view }) => {
                    assert_eq!((name.as_str(), is_view), ("x", want_view), "{line}");
                }
                other => panic!("{line}: {other:?}"),
            }
        };
        check("GET /v1/w/namespaces//tables/x", false);
        check("HEAD /v1/namespaces//tables/x", false);
        check("DELETE /v1/w/namespaces//tables/x", false);
        check("GET /v1/w/namespaces//views/x", true);
        let patched = route("PATCH", "/v1/w/namespaces//tables/x");
        assert!(matches!(patched, Err(CatalogError::MethodNotAllowed { .. })));
    }

    #[test]
    fn views_are_known() {
        let check = |line: &str, names: Names| {
            let (method, path) = line.split_once(' ').expect("method and path");
            let warehouse = Some("w".to_owned());
            let want = Target { asked: Asked::NotOffered, warehouse, names, literal: None };
            assert_eq!(route(method, path).ok(), Some(want), "{line}");
            assert_eq!(Route::of(method, path).operation(), None, "{line}");
        };
        check("GET /v1/w/namespaces/a/views", namespace("a"));
        check("POST /v1/w/namespaces/a/register-view", namespace("a"));
        check("DELETE /v1/w/namespaces/a/views/v", table("a", "v"));
        check("POST /v1/w/views/rename", Names::Nothing);
    }

    #[test]
    fn unknown() {
        let check =
            |path: &str| assert!(matches!(route("GET", path), Err(CatalogError::NoSuchRoute(_))), "{path}");
        check("");
        check("/");
        check("/v1");
        check("/v1/");
        check("/v2/config");
        check("/v1/config/");
        check("/v1/o%61uth/tokens");
        check("/v1/warehouses/");
        check("/v1/w");
        check("/v1/w/nothing");
        check("/v1/w/config");
        check("/v1/w/namespaces/a/tables/t/plan");
        check("/v1//namespaces");
        check("//v2/config");
        check("//");
        check("/v1/{prefix}/{namespace}");
        check("/v1/warehouses/w/namespaces/x/y/z");
        check("/v1/w/tables/rename/x");
    }

    #[test]
    fn refused() {
        let check =
            |path: &str| assert!(matches!(route("GET", path), Err(CatalogError::BadRequest(_))), "{path}");
        check("/v1/w/namespaces/%1Fa");
        check("/v1/w/namespaces/..");
        check("/v1/w/namespaces/%2e%2e");
        check("/v1/w/namespaces/a%");
        check("/v1/w/namespaces/a%1");
        check("/v1/w/namespaces/a%zz");
        check("/v1/w/namespaces/%ff");
        check("/v1/w/namespaces/%00");
        check("/v1/w/namespaces/");
        check("/v1/w/namespaces/a/tables/");
        check("/v1/w/namespaces/../views");
    }

    #[test]
    fn methods() {
        let check = |path: &str, want: &[&str]| match route("PATCH", path) {
            Err(CatalogError::MethodNotAllowed { method, allowed }) => {
                assert_eq!((method.as_str(), allowed.as_slice()), ("PATCH", want), "{path}");
            }
            other => panic!("{path}: {other:?}"),
        };
        check("/v1/config", &["GET"]);
        check("/v1/warehouses", &["GET", "POST"]);
        check("/v1/warehouses/w", &["GET", "DELETE"]);
        check("/v1/w/namespaces", &["GET", "POST"]);
        check("/v1/w/namespaces/a", &["GET", "HEAD", "DELETE"]);
        check("/v1/w/namespaces/a/properties", &["POST"]);
        check("/v1/w/namespaces/a/tables", &["GET", "POST"]);
        check("/v1/w/namespaces/a/tables/t", &["GET", "HEAD", "POST", "DELETE"]);
        check("/v1/w/namespaces/a/tables/t/metrics", &["POST"]);
        check("/v1/w/namespaces/a/register", &["POST"]);
        check("/v1/w/tables/rename", &["POST"]);
        check("/v1/transactions/commit", &["POST"]);
        check("/v1/w/namespaces/a/views", &["GET", "POST"]);
        check("/v1/w/namespaces/a/views/v", &["GET", "HEAD", "POST", "DELETE"]);
    }

    #[test]
    fn queries() {
        let check = |raw: &str, want: &[(&str, &str)]| {
            let got = query(raw).expect("valid");
            let got: Vec<(&str, &str)> = got.iter().collect();
            assert_eq!(got, want);
        };
        check("", &[]);
        check("pageToken=", &[("pageToken", "")]);
        check("a=b%20c&d=e+f&g", &[("a", "b c"), ("d", "e f"), ("g", "")]);
        check("parent=a%1Fb&&x=1=2", &[("parent", "a\u{1f}b"), ("x", "1=2")]);
        assert!(query("a=%").is_err());
    }

    #[test]
    fn every_operation_is_reached_by_its_row_and_by_no_other() {
        for operation in Operation::ALL {
            let row = operation.row();
            let path = row.path.replace("{prefix}", "w").replace("{warehouse}", "w");
            let path = path.replace("{namespace}", "n").replace("{table}", "t");
            let reached = |method: &str| Route::of(method, &path).operation();
            assert_eq!(reached(row.method), Some(*operation), "{} {path}", row.method);
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
                let is_own = method == row.method || *operation == Operation::GetToken;
                assert_eq!(reached(method) == Some(*operation), is_own, "{method} {path}");
            }
        }
    }
}
