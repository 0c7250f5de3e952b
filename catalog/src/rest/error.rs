//! Failures as JSON of the Iceberg REST protocol. What is said of each is in the table of `store::failure`.

use bytes::Bytes;
use serde_json::json;

use crate::rest::Response;
use crate::store::failure::{Answer, Failure};

/// The answer to a failed request.
pub(crate) fn response(failure: &Failure) -> Response {
    let Answer { status, kind, message } = failure.answer();
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

    #[test]
    fn shapes() {
        let response =
            response(&Failure::MethodNotAllowed { method: "PUT".to_owned(), allowed: vec!["GET", "POST"] });
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow", "GET, POST".to_owned())));
        let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(body["error"]["code"], json!(405));
        let response = oauth_error(401, "invalid_client", "no");
        assert_eq!(response.body, r#"{"error":"invalid_client","error_description":"no"}"#);
    }
}
