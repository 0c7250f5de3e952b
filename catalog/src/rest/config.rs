//! `GET /v1/config`: what a client is told before it starts.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::limits::IDEMPOTENCY_LIFETIME;
use crate::rest::operations::Operation;

/// The answer for a warehouse, given the address at which the client reached us and the region that clients are told
/// (signatures of any region are taken).
pub(crate) fn config(warehouse: &str, base_url: &str, region: &str) -> Bytes {
    let mut defaults = Map::new();
    let mut default = |name: &str, value: &str| {
        defaults.insert(name.to_owned(), Value::from(value));
    };
    default("s3.endpoint", base_url);
    default("s3.path-style-access", "true");
    default("s3.region", region);
    default("client.region", region);
    let body = json!({
        "defaults": defaults,
        "overrides": {"prefix": warehouse},
        "endpoints": endpoints().collect::<Vec<String>>(),
        "idempotency-key-lifetime": IDEMPOTENCY_LIFETIME,
    });
    Bytes::from(body.to_string())
}

/// The operations of the specification that are served, in its own spelling; clients match them letter by letter.
fn endpoints() -> impl Iterator<Item = String> {
    let rows = Operation::ALL.iter().map(|operation| operation.row());
    rows.filter(|row| row.listed).map(|row| format!("{} {}", row.method, row.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What clients have come to know.
    const ENDPOINTS: [&str; 17] = [
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
        "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
        "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
        "POST /v1/{prefix}/tables/rename",
        "POST /v1/{prefix}/transactions/commit",
    ];

    #[test]
    fn shape() {
        let body: Value =
            serde_json::from_slice(&config("lake", "http://127.0.0.1:9000", "local")).expect("JSON");
        assert_eq!(body["overrides"], json!({"prefix": "lake"}));
        assert_eq!(body["defaults"]["s3.endpoint"], json!("http://127.0.0.1:9000"));
        assert_eq!(body["defaults"]["client.region"], json!("local"));
        assert_eq!(body["endpoints"], json!(ENDPOINTS));
        assert_eq!(body["idempotency-key-lifetime"], json!("PT30M"));
    }
}
