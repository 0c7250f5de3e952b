//! Why a request to the catalog is refused before the catalog sees it: by the layer that carries requests.
//!
//! The http crate makes one of these and renders what [`Refusal::response`](crate::Refusal::response) says; the status
//! of each is in the same table as those of the catalog's own failures (`store::failure`).

use std::borrow::Cow;

use nilas_engine::EngineError;

/// A refusal at the door.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The store has not recovered yet.
    Recovering,
    /// The signature does not hold, for this reason.
    NotSigned(Cow<'static, str>),
    /// The session that a signature is of is over, or was revoked; the reason in S3's words.
    SessionOver(Cow<'static, str>),
    /// The bearer token is not ours, or was revoked.
    TokenInvalid,
    /// The bearer token's time is over.
    TokenExpired,
    /// The OpenID Connect issuer that knows the token does not answer; may come again.
    IssuerUnreachable,
    /// The body is over [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX), or what a form may have.
    BodyTooLarge {
        /// Name of the limit as operators know it.
        limit: &'static str,
        /// Its value in bytes.
        max: usize,
    },
    /// The connection ended before the announced length of the body.
    BodyBroken,
    /// The client sent too little of the body for too long.
    BodyStalled,
    /// What the body's values would take is over what this machine has for them.
    DocumentTooLarge {
        /// Bytes that it would take.
        cost: usize,
        /// Bytes that there are.
        max: usize,
    },
    /// The sender failed too often to say who it is; may come again after so many seconds.
    Throttled {
        /// At least 1.
        retry_after_s: u64,
    },
    /// A limit of the process is reached; may come again.
    Busy(EngineError),
    /// Another method than POST at the token endpoint.
    TokenMethod,
    /// The token endpoint issues no token.
    Token(OAuthError),
}

/// A token that was refused (RFC 6749 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    /// `invalid_request`: the form is not one, or holds a field twice or two kinds of credentials.
    InvalidRequest(&'static str),
    /// `invalid_client`: no such client, or not its secret.
    InvalidClient,
    /// `invalid_grant`: the token to be exchanged is not valid any more.
    InvalidGrant,
    /// `unauthorized_client`: this client gets no tokens.
    UnauthorizedClient,
    /// `unsupported_grant_type`.
    UnsupportedGrantType,
    /// `slow_down` (RFC 8628 section 3.5): requests failed too often.
    SlowDown {
        /// Seconds after which the client may come again, at least 1.
        retry_after_s: u64,
    },
}

impl OAuthError {
    /// Names the error as RFC 6749 does.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::SlowDown { .. } => "slow_down",
        }
    }

    /// Returns the text for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(what) => what,
            Self::InvalidClient => "client authentication failed",
            Self::InvalidGrant => "the subject token is not valid",
            Self::UnauthorizedClient => "tokens are not issued to this client",
            Self::SlowDown { .. } => "too many requests from this address failed",
            Self::UnsupportedGrantType => "grant_type must be client_credentials or token-exchange",
        }
    }
}
