//! Why a request was not believed: facts, with S3's code, text and extra XML fields for each.
//!
//! Made by the verification in this folder; turned into an answer (status, XML or JSON) by `render`.

use std::borrow::Cow;
use std::fmt;

use crate::auth::time::render_iso;
use crate::limits::{CLOCK_SKEW_MS_MAX, PRESIGN_EXPIRES_S_MAX};

/// A request whose sender is not proven. One variant for each S3 error code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are S3's codes, the fields its XML elements")]
pub enum AuthError {
    AccessDenied(Denied),
    InvalidAccessKeyId {
        access_key: String,
    },
    SignatureDoesNotMatch(Box<Mismatch>),
    AuthorizationHeaderMalformed(CredentialFault),
    AuthorizationQueryParametersError(QueryFault),
    RequestTimeTooSkewed {
        request_time: String,
        server_ms: u64,
    },
    InvalidArgument {
        fault: ArgumentFault,
        value: String,
    },
    InvalidRequest(Refused),
    InvalidToken {
        token: String,
    },
    /// The sender failed too often: says nothing about this request.
    Throttled(Throttled),
    /// The session is over.
    ExpiredToken {
        token: String,
    },
    XAmzContentSHA256Mismatch {
        client: String,
        computed: String,
    },
}

/// The sender failed too often, and is to come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// Seconds until then, at least 1.
    pub retry_after_s: u64,
}

/// Why access is denied before any policy is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The request carries no credentials.
    NoCredentials,
    /// Neither `x-amz-date` nor `Date` holds a time.
    InvalidDate,
    /// A presigned URL after its time.
    Expired {
        /// The life it was given, in seconds; version 2 names its end only.
        expires_s: Option<u64>,
        /// When it ended.
        expired_ms: u64,
        /// Our time.
        server_ms: u64,
    },
    /// A presigned URL dated further in the future than clocks may differ.
    NotYetValid {
        /// Its own date.
        request_time: String,
        /// Our time.
        server_ms: u64,
    },
    /// Of the three parameters of version 2 one is missing, repeated or unreadable.
    V2Parameters,
    /// `Expires` of version 2 is no time.
    V2Expires {
        /// As it was sent.
        value: String,
    },
    /// Headers that S3 wants signed, and that were not.
    HeadersNotSigned {
        /// Their names, joined by `, `.
        names: String,
    },
}

/// A signature that is not ours, with what we would have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are S3's XML elements")]
pub struct Mismatch {
    pub access_key: String,
    pub string_to_sign: String,
    pub signature_provided: String,
    /// Version 2 has none.
    pub canonical_request: Option<String>,
}

/// What is wrong with a credential, wherever it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the request said")]
pub enum CredentialFault {
    /// Not three of them.
    Components,
    /// Three components, none of this name.
    Missing { name: &'static str },
    /// A component that is not `name=value`, or a list of names that cannot be used.
    Component { component: String },
    /// Not five parts.
    Shape,
    /// The scope's date is not a date.
    Date { date: String },
    /// The scope's date is another day than the request's.
    DateDiffers { date: String, request_date: String },
    /// A region other than the one the caller insists on. Verification here accepts every region.
    Region { region: String, expected: String },
    /// A service this endpoint does not speak.
    Service { service: String, expected: &'static str },
    /// The scope does not end in `aws4_request`.
    Terminal { terminal: String },
}

/// What is wrong with a presigned URL's own parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryFault {
    /// One of the six is missing, or repeated.
    MissingParameters,
    /// An algorithm other than `AWS4-HMAC-SHA256`.
    Algorithm,
    /// `X-Amz-Date` is not a time.
    Date,
    /// `X-Amz-Expires` is not a number.
    ExpiresNotNumber,
    /// `X-Amz-Expires` is below one second.
    ExpiresNegative,
    /// `X-Amz-Expires` is over a week.
    ExpiresTooLong,
    /// `X-Amz-Credential`.
    Credential(CredentialFault),
}

/// An argument that S3 names in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentFault {
    /// Credentials both in the header and in the query.
    TwoMechanisms,
    /// `Authorization` holds no blank.
    NoSpace,
    /// A scheme that S3 does not know.
    Scheme,
    /// `x-amz-content-sha256` is neither a hash nor a known word.
    ContentSha256,
}

/// A request that S3 refuses to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Signature version 2.
    SignatureV2,
    /// `x-amz-content-sha256` is absent from a request signed in its header.
    NoContentSha256,
    /// A header that decides how the request is read came more than once.
    Repeated(&'static str),
}

impl AuthError {
    /// Names S3's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AccessDenied(_) => "AccessDenied",
            Self::InvalidAccessKeyId { .. } => "InvalidAccessKeyId",
            Self::SignatureDoesNotMatch(_) => "SignatureDoesNotMatch",
            Self::AuthorizationHeaderMalformed(_) => "AuthorizationHeaderMalformed",
            Self::AuthorizationQueryParametersError(_) => "AuthorizationQueryParametersError",
            Self::RequestTimeTooSkewed { .. } => "RequestTimeTooSkewed",
            Self::InvalidArgument { .. } => "InvalidArgument",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::InvalidToken { .. } => "InvalidToken",
            Self::ExpiredToken { .. } => "ExpiredToken",
            Self::Throttled(_) => "SlowDown",
            Self::XAmzContentSHA256Mismatch { .. } => "XAmzContentSHA256Mismatch",
        }
    }

    /// Renders S3's text for it.
    pub fn message(&self) -> Cow<'static, str> {
        match self {
            Self::AccessDenied(denied) => denied.message(),
            Self::InvalidAccessKeyId { .. } => {
                Cow::Borrowed("The AWS Access Key Id you provided does not exist in our records.")
            }
            Self::SignatureDoesNotMatch(_) => Cow::Borrowed(
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            ),
            Self::AuthorizationHeaderMalformed(fault) => {
                Cow::Owned(format!("The authorization header is malformed; {}", fault.text()))
            }
            Self::AuthorizationQueryParametersError(fault) => fault.message(),
            Self::RequestTimeTooSkewed { .. } => {
                Cow::Borrowed("The difference between the request time and the current time is too large.")
            }
            Self::InvalidArgument { fault, .. } => Cow::Borrowed(fault.message()),
            Self::InvalidRequest(refused) => refused.message(),
            Self::InvalidToken { .. } => {
                Cow::Borrowed("The provided token is malformed or otherwise invalid.")
            }
            Self::ExpiredToken { .. } => Cow::Borrowed("The provided token has expired."),
            Self::Throttled(_) => Cow::Borrowed(
                "Please reduce your request rate: too many requests from this address failed to prove who sent them.",
            ),
            Self::XAmzContentSHA256Mismatch { .. } => {
                Cow::Borrowed("The provided 'x-amz-content-sha256' header does not match what was computed.")
            }
        }
    }

    /// Lists the XML elements that S3 adds to code and text, in its order.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::AccessDenied(denied) => denied.fields(),
            Self::InvalidAccessKeyId { access_key } => vec![("AWSAccessKeyId", access_key.clone())],
            Self::SignatureDoesNotMatch(mismatch) => mismatch.fields(),
            Self::AuthorizationHeaderMalformed(fault)
            | Self::AuthorizationQueryParametersError(QueryFault::Credential(fault)) => fault.fields(),
            Self::RequestTimeTooSkewed { request_time, server_ms } => vec![
                ("RequestTime", request_time.clone()),
                ("ServerTime", render_iso(*server_ms)),
                ("MaxAllowedSkewMilliseconds", CLOCK_SKEW_MS_MAX.to_string()),
            ],
            Self::InvalidArgument { fault, value } => {
                vec![("ArgumentName", fault.name().to_owned()), ("ArgumentValue", value.clone())]
            }
            Self::InvalidToken { token } | Self::ExpiredToken { token } => vec![("Token-0", token.clone())],
            Self::XAmzContentSHA256Mismatch { client, computed } => vec![
                ("ClientComputedContentSHA256", client.clone()),
                ("S3ComputedContentSHA256", computed.clone()),
            ],
            Self::AuthorizationQueryParametersError(_) | Self::InvalidRequest(_) | Self::Throttled(_) => {
                Vec::new()
            }
        }
    }
}

impl Denied {
    fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoCredentials => "Access Denied",
            Self::InvalidDate => "AWS authentication requires a valid Date or x-amz-date header",
            Self::Expired { .. } => "Request has expired",
            Self::NotYetValid { .. } => "Request is not yet valid",
            Self::V2Parameters => {
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
            }
            Self::V2Expires { value } => {
                return Cow::Owned(format!("Invalid date (should be seconds since epoch): {value}"));
            }
            Self::HeadersNotSigned { .. } => {
                "There were headers present in the request which were not signed"
            }
        })
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NoCredentials | Self::InvalidDate | Self::V2Parameters | Self::V2Expires { .. } => {
                Vec::new()
            }
            Self::Expired { expires_s, expired_ms, server_ms } => {
                let life = expires_s.map(|expires_s| ("X-Amz-Expires", expires_s.to_string()));
                let times = [("Expires", render_iso(*expired_ms)), ("ServerTime", render_iso(*server_ms))];
                life.into_iter().chain(times).collect()
            }
            Self::NotYetValid { request_time, server_ms } => {
                vec![("RequestTime", request_time.clone()), ("ServerTime", render_iso(*server_ms))]
            }
            Self::HeadersNotSigned { names } => vec![("HeadersNotSigned", names.clone())],
        }
    }
}

impl Mismatch {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("AWSAccessKeyId", self.access_key.clone()),
            ("StringToSign", self.string_to_sign.clone()),
            ("SignatureProvided", self.signature_provided.clone()),
            ("StringToSignBytes", spaced_hex(&self.string_to_sign)),
        ];
        if let Some(request) = &self.canonical_request {
            let request = without_customer_keys(request);
            let bytes = spaced_hex(&request);
            fields.extend([("CanonicalRequest", request), ("CanonicalRequestBytes", bytes)]);
        }
        fields
    }
}

/// A canonical request without the keys that objects are encrypted with: answers are written down more often than requests.
fn without_customer_keys(request: &str) -> String {
    const KEY: &str = "-server-side-encryption-customer-key";
    let hidden = |text: &str, mark: char| match text.split_once(mark) {
        Some((name, _)) if name.to_ascii_lowercase().ends_with(KEY) => format!("{name}{mark}***"),
        _ => text.to_owned(),
    };
    let line = |(nth, line): (usize, &str)| match nth {
        // The query.
        2 => line.split('&').map(|pair| hidden(pair, '=')).collect::<Vec<_>>().join("&"),
        _ => hidden(line, ':'),
    };
    request.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n")
}

impl CredentialFault {
    fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Components => Cow::Borrowed(
                "the authorization header requires three components: Credential, SignedHeaders, and Signature.",
            ),
            Self::Missing { name } => Cow::Owned(format!("missing {name}.")),
            Self::Component { component } => {
                Cow::Owned(format!("the authorization component \"{component}\" is malformed."))
            }
            Self::Shape => Cow::Borrowed(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            ),
            Self::Date { date } => Cow::Owned(format!(
                "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\"."
            )),
            Self::DateDiffers { date, request_date } => Cow::Owned(format!(
                "Invalid credential date \"{date}\". This date is not the same as X-Amz-Date: \"{request_date}\"."
            )),
            Self::Region { region, expected } => {
                Cow::Owned(format!("the region '{region}' is wrong; expecting '{expected}'"))
            }
            Self::Service { service, expected } => Cow::Owned(format!(
                "incorrect service \"{service}\". This endpoint belongs to \"{expected}\"."
            )),
            Self::Terminal { terminal } => {
                Cow::Owned(format!("incorrect terminal \"{terminal}\". This endpoint uses \"aws4_request\"."))
            }
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Region { expected, .. } => vec![("Region", expected.clone())],
            Self::Components
            | Self::Missing { .. }
            | Self::Component { .. }
            | Self::Shape
            | Self::Date { .. }
            | Self::DateDiffers { .. }
            | Self::Service { .. }
            | Self::Terminal { .. } => Vec::new(),
        }
    }
}

impl QueryFault {
    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::MissingParameters => Cow::Borrowed(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            ),
            Self::Algorithm => Cow::Borrowed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""),
            Self::Date => {
                Cow::Borrowed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
            }
            Self::ExpiresNotNumber => Cow::Borrowed("X-Amz-Expires should be a number"),
            Self::ExpiresNegative => Cow::Borrowed("X-Amz-Expires must be non-negative"),
            Self::ExpiresTooLong => Cow::Owned(format!(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than {PRESIGN_EXPIRES_S_MAX} seconds"
            )),
            Self::Credential(fault @ CredentialFault::DateDiffers { .. }) => fault.text(),
            Self::Credential(fault) => {
                Cow::Owned(format!("Error parsing the X-Amz-Credential parameter; {}", fault.text()))
            }
        }
    }
}

impl ArgumentFault {
    fn message(self) -> &'static str {
        match self {
            Self::TwoMechanisms => {
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
            }
            Self::NoSpace => "Authorization header is invalid -- one and only one ' ' (space) required",
            Self::Scheme => "Unsupported Authorization Type",
            Self::ContentSha256 => {
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::TwoMechanisms | Self::NoSpace | Self::Scheme => "Authorization",
            Self::ContentSha256 => "x-amz-content-sha256",
        }
    }
}

impl Refused {
    fn message(self) -> Cow<'static, str> {
        match self {
            Self::SignatureV2 => Cow::Borrowed(
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ),
            Self::NoContentSha256 => {
                Cow::Borrowed("Missing required header for this request: x-amz-content-sha256")
            }
            Self::Repeated(name) => Cow::Owned(format!("The {name} header may be specified only once.")),
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())
    }
}

impl std::error::Error for AuthError {}

fn spaced_hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_customers_are_not_shown() {
        let request = "PUT\n/b/k\na=b&X-Amz-Server-Side-Encryption-Customer-Key=c2VjcmV0&x=y\nhost:h\n\
                       x-amz-copy-source-server-side-encryption-customer-key:c2VjcmV0\n\
                       x-amz-server-side-encryption-customer-key-md5:AAAA\n\nhost\nUNSIGNED-PAYLOAD";
        let shown = without_customer_keys(request);
        assert!(
            !shown.contains("c2VjcmV0") && shown.contains("&x=y\nhost:h") && shown.contains("key-md5:AAAA")
        );
        let plain = "GET\n/\n\nhost:h\n\nhost\nx";
        assert_eq!(without_customer_keys(plain), plain);
    }
}
