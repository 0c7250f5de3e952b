//! From a request's raw path to what it names. Pure.
//!
//! The path is split at its raw slashes, then each segment is decoded: an encoded slash is part of a name. A plus is a
//! blank, as Java's encoder has it. The warehouse may be left out (`/v1/namespaces/…`).

use crate::store::failure::Failure;
use crate::store::names::{Ident, NamespaceName, warehouse_name};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Config,
    Warehouses,
    Warehouse(String),
    In {
        /// `None`: the path has no prefix.
        warehouse: Option<String>,
        place: Place,
    },
}

/// A place within a warehouse.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Namespaces,
    Namespace(NamespaceName),
    NamespaceProperties(NamespaceName),
    Tables(NamespaceName),
    Table(Ident),
    Metrics(Ident),
    Register(NamespaceName),
    Rename,
    Transactions,
    /// Views are part of the protocol, but not offered yet.
    Views,
    View(Ident),
}

impl Route {
    /// The methods that the place knows.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match self {
            Route::Config => &["GET"],
            Route::Warehouses => &["GET", "POST"],
            Route::Warehouse(_) => &["GET", "DELETE"],
            Route::In { place, .. } => match place {
                Place::Namespaces | Place::Tables(_) | Place::Views => &["GET", "POST"],
                Place::Namespace(_) => &["GET", "HEAD", "DELETE"],
                Place::NamespaceProperties(_)
                | Place::Metrics(_)
                | Place::Register(_)
                | Place::Rename
                | Place::Transactions => &["POST"],
                Place::Table(_) | Place::View(_) => &["GET", "HEAD", "POST", "DELETE"],
            },
        }
    }
}

/// The endpoints of the specification that are served, in its own spelling; clients match them letter by letter.
pub(crate) const ENDPOINTS: [&str; 16] = [
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/tables/rename",
    "POST /v1/{prefix}/transactions/commit",
];

/// Parses a path that begins with `/v1`. [`Failure::NoSuchRoute`] for anything unknown.
pub(crate) fn route(raw_path: &str) -> Result<Route, Failure> {
    let unknown = || Failure::NoSuchRoute(raw_path.to_owned());
    let raw = raw_path.strip_prefix("/v1/").ok_or_else(unknown)?;
    let mut segments = Vec::new();
    for segment in raw.split('/') {
        segments
            .push(decode(segment).ok_or_else(|| Failure::BadRequest(format!("Invalid path: {raw_path}")))?);
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["config"] => return Ok(Route::Config),
        ["warehouses"] => return Ok(Route::Warehouses),
        ["warehouses", name] if !name.is_empty() => {
            return Ok(Route::Warehouse(warehouse_name(name).to_owned()));
        }
        _ => {}
    }
    let (warehouse, rest) = match segments.as_slice() {
        ["namespaces", ..] | ["tables" | "views", "rename"] | ["transactions", "commit"] => {
            (None, segments.as_slice())
        }
        [prefix, rest @ ..] if !prefix.is_empty() => (Some(warehouse_name(prefix).to_owned()), rest),
        _ => return Err(unknown()),
    };
    let place = place(rest)?.ok_or_else(unknown)?;
    Ok(Route::In { warehouse, place })
}

fn place(segments: &[&str]) -> Result<Option<Place>, Failure> {
    let table = |namespace: &str, name: &str| Ident::new(NamespaceName::parse(namespace)?, name);
    let place = match segments {
        ["namespaces"] => Place::Namespaces,
        ["namespaces", namespace] => Place::Namespace(NamespaceName::parse(namespace)?),
        ["namespaces", namespace, "properties"] => {
            Place::NamespaceProperties(NamespaceName::parse(namespace)?)
        }
        ["namespaces", namespace, "tables"] => Place::Tables(NamespaceName::parse(namespace)?),
        ["namespaces", namespace, "tables", name] => Place::Table(table(namespace, name)?),
        ["namespaces", namespace, "tables", name, "metrics"] => Place::Metrics(table(namespace, name)?),
        ["namespaces", namespace, "register"] => Place::Register(NamespaceName::parse(namespace)?),
        ["namespaces", namespace, "views" | "register-view"] => {
            NamespaceName::parse(namespace)?;
            Place::Views
        }
        ["namespaces", namespace, "views", name] => Place::View(table(namespace, name)?),
        ["tables", "rename"] => Place::Rename,
        ["views", "rename"] => Place::Views,
        ["transactions", "commit"] => Place::Transactions,
        _ => return Ok(None),
    };
    Ok(Some(place))
}

/// The parameters of a raw query, decoded, in order.
pub(crate) fn query(raw_query: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut parameters = Vec::new();
    for pair in raw_query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (decode(name), decode(value)) {
            (Some(name), Some(value)) => parameters.push((name, value)),
            (None, _) | (_, None) => return Err(Failure::BadRequest(format!("Invalid query: {raw_query}"))),
        }
    }
    Ok(parameters)
}

/// Decodes `%XX` and `+`. `None` for a broken escape or bytes that are not UTF-8.
fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(high)? << 4 | digit(low)?);
            }
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(joined: &str) -> NamespaceName {
        NamespaceName::parse(joined).expect("valid")
    }

    fn table(joined: &str, name: &str) -> Ident {
        Ident::new(namespace(joined), name).expect("valid")
    }

    #[test]
    fn places() {
        let check = |path: &str, warehouse: Option<&str>, place: Place| {
            let want = Route::In { warehouse: warehouse.map(str::to_owned), place };
            assert_eq!(route(path).ok(), Some(want), "{path}");
        };
        check("/v1/w/namespaces", Some("w"), Place::Namespaces);
        check("/v1/namespaces", None, Place::Namespaces);
        check("/v1/s3%3A%2F%2Fw%2F/namespaces", Some("w"), Place::Namespaces);
        check("/v1/w/namespaces/a%1Fb", Some("w"), Place::Namespace(namespace("a\u{1f}b")));
        check("/v1/w/namespaces/a%1fb+c", Some("w"), Place::Namespace(namespace("a\u{1f}b c")));
        check("/v1/w/namespaces/a/properties", Some("w"), Place::NamespaceProperties(namespace("a")));
        check("/v1/w/namespaces/properties", Some("w"), Place::Namespace(namespace("properties")));
        check("/v1/w/namespaces/a/tables", Some("w"), Place::Tables(namespace("a")));
        check("/v1/w/namespaces/a/tables/x%2Fy", Some("w"), Place::Table(table("a", "x/y")));
        check("/v1/w/namespaces/a/tables/x%2By", Some("w"), Place::Table(table("a", "x+y")));
        check("/v1/w/namespaces/a/tables/T%20.%C3%BC", Some("w"), Place::Table(table("a", "T .ü")));
        check("/v1/namespaces/a/tables/t/metrics", None, Place::Metrics(table("a", "t")));
        check("/v1/w/namespaces/a/register", Some("w"), Place::Register(namespace("a")));
        check("/v1/w/namespaces/a/views", Some("w"), Place::Views);
        check("/v1/w/namespaces/a/views/v", Some("w"), Place::View(table("a", "v")));
        check("/v1/w/tables/rename", Some("w"), Place::Rename);
        check("/v1/tables/rename", None, Place::Rename);
        check("/v1/w/transactions/commit", Some("w"), Place::Transactions);
        check("/v1/transactions/commit", None, Place::Transactions);
    }

    #[test]
    fn top() {
        assert_eq!(route("/v1/config").ok(), Some(Route::Config));
        assert_eq!(route("/v1/warehouses").ok(), Some(Route::Warehouses));
        assert_eq!(route("/v1/warehouses/w").ok(), Some(Route::Warehouse("w".to_owned())));
    }

    #[test]
    fn unknown() {
        let check = |path: &str| assert!(matches!(route(path), Err(Failure::NoSuchRoute(_))), "{path}");
        check("");
        check("/");
        check("/v1");
        check("/v1/");
        check("/v2/config");
        check("/v1/config/");
        check("/v1/w");
        check("/v1/w/nothing");
        check("/v1/w/namespaces/a/tables/t/plan");
        check("/v1//namespaces");
        check("/v1/warehouses/w/namespaces/x/y/z");
        check("/v1/w/tables/rename/x");
    }

    #[test]
    fn refused() {
        let check = |path: &str| assert!(matches!(route(path), Err(Failure::BadRequest(_))), "{path}");
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
    }

    #[test]
    fn queries() {
        let check = |raw: &str, want: &[(&str, &str)]| {
            let got = query(raw).expect("valid");
            let got: Vec<(&str, &str)> =
                got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(got, want);
        };
        check("", &[]);
        check("pageToken=", &[("pageToken", "")]);
        check("a=b%20c&d=e+f&g", &[("a", "b c"), ("d", "e f"), ("g", "")]);
        check("parent=a%1Fb&&x=1=2", &[("parent", "a\u{1f}b"), ("x", "1=2")]);
        assert!(query("a=%").is_err());
    }

    #[test]
    fn every_listed_endpoint_is_served() {
        for endpoint in ENDPOINTS {
            let (method, path) = endpoint.split_once(' ').expect("method and path");
            let path = path.replace("{prefix}", "w").replace("{namespace}", "n").replace("{table}", "t");
            let route = route(&path).expect("a route");
            assert!(route.methods().contains(&method), "{endpoint}");
        }
    }
}
