//! Failures as JSON of the Iceberg REST protocol. What is said of each is in the table of `store::failure`.

use bytes::Bytes;
use serde_json::json;

use crate::refusal::{OAuthError, Refusal};
use crate::rest::Response;
use crate::store::failure::{Answer, CatalogError};

/// The answer to a failed request.
pub(crate) fn response(failure: &CatalogError) -> Response {
    let Answer { status, kind, message } = failure.answer();
    let body = match failure {
        // RFC 6749, 5.2.
        CatalogError::Refused(Refusal::Token(_)) => json!({"error": kind, "error_description": message}),
        _ => json!({"error": {"message": message, "type": kind, "code": status}}),
    };
    let mut response = json_response(status, &body);
    match failure {
        // A start takes as long as it takes.
        CatalogError::Refused(Refusal::Recovering) => {}
        CatalogError::MethodNotAllowed { allowed, .. } => {
            response.headers.push(("allow", allowed.join(", ")))
        }
        CatalogError::Refused(
            Refusal::Throttled { retry_after_s } | Refusal::Token(OAuthError::SlowDown { retry_after_s }),
        ) => response.headers.push(("retry-after", retry_after_s.to_string())),
        // RFC 6749, 5.2: a client that failed is shown how it may prove itself.
        CatalogError::Refused(Refusal::Token(OAuthError::InvalidClient)) => {
            response.headers.push(("www-authenticate", "Basic realm=\"nilas\"".to_owned()));
        }
        _ if status == 429 || status == 503 => response.headers.push(("retry-after", "1".to_owned())),
        _ => {}
    }
    response
}

impl Refusal {
    /// Makes the answer.
    pub fn response(self) -> Response {
        response(&CatalogError::Refused(self))
    }
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
    use nilas_engine::EngineError;

    use super::*;

    #[test]
    fn shapes() {
        let response = response(&CatalogError::MethodNotAllowed {
            method: "PUT".to_owned(),
            allowed: vec!["GET", "POST"],
        });
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow", "GET, POST".to_owned())));
        let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(body["error"]["code"], json!(405));
        let response = Refusal::Token(OAuthError::InvalidGrant).response();
        let text = r#"{"error":"invalid_grant","error_description":"the subject token is not valid"}"#;
        assert_eq!(response.body, text);
        let response = Refusal::Busy(EngineError::Busy { limit: "x", max: 1 }).response();
        assert!(response.headers.contains(&("retry-after", "1".to_owned())));
        for refusal in [
            Refusal::Throttled { retry_after_s: 9 },
            Refusal::Token(OAuthError::SlowDown { retry_after_s: 9 }),
        ] {
            assert!(refusal.response().headers.contains(&("retry-after", "9".to_owned())));
        }
    }
}
