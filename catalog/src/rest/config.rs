//! `GET /v1/config`: what a client is told before it starts.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::limits::IDEMPOTENCY_LIFETIME;
use crate::rest::route::ENDPOINTS;

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
        "endpoints": ENDPOINTS,
        "idempotency-key-lifetime": IDEMPOTENCY_LIFETIME,
    });
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape() {
        let body: Value =
            serde_json::from_slice(&config("lake", "http://127.0.0.1:9000", "local")).expect("JSON");
        assert_eq!(body["overrides"], json!({"prefix": "lake"}));
        assert_eq!(body["defaults"]["s3.endpoint"], json!("http://127.0.0.1:9000"));
        assert_eq!(body["defaults"]["client.region"], json!("local"));
        assert_eq!(body["endpoints"].as_array().map(Vec::len), Some(ENDPOINTS.len()));
        assert_eq!(body["idempotency-key-lifetime"], json!("PT30M"));
    }
}
