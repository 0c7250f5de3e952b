//! What a request says about its sender, read from the `Authorization` header or from a presigned query.
//!
//! Made by the verification before anything is computed; all of it is untrusted. I1. Exactly one mechanism is used.
//! I2. Headers that decide how the request is read come at most once.

use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::auth::error::{ArgumentFault, AuthError, CredentialFault, Denied, QueryFault, Refused};
use crate::auth::request::RequestView;
use crate::auth::time::{parse_date, parse_date_header, parse_timestamp, render_timestamp};
use crate::limits::{CLOCK_SKEW_MS_MAX, PRESIGN_EXPIRES_S_MAX, SIGNED_HEADERS_MAX};
use nilas_catalog::uri::{percent_decode_lenient, raw_pairs};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who the request says it is from, and the signature it shows for that.
pub(super) struct SignedClaim<'a> {
    /// `access key/date/region/service/aws4_request`, as sent.
    pub(super) credential: Cow<'a, str>,
    /// The list as sent, joined by `;`.
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    /// `yyyyMMdd'T'HHmmss'Z'`, as it goes into the string to sign.
    pub(super) timestamp: String,
    pub(super) time_ms: u64,
    /// The life of a presigned URL, in seconds; `None` when the header was signed.
    pub(super) expires_s: Option<u64>,
    pub(super) token: Option<Cow<'a, str>>,
    /// `x-amz-content-sha256`, from the query before the header.
    pub(super) content_sha256: Option<Cow<'a, str>>,
}

/// The five parts of a credential.
pub(super) struct Credential<'c> {
    pub(super) access_key: &'c str,
    pub(super) date: &'c str,
    pub(super) region: &'c str,
    pub(super) service: &'c str,
    /// All but the access key.
    pub(super) scope: &'c str,
}

impl<'a> SignedClaim<'a> {
    /// Reads the claim of a request.
    pub(super) fn read(view: &RequestView<'a>) -> Result<Self, AuthError> {
        let authorization = single(view.headers, "authorization")?;
        let names = |wanted: &[&str]| raw_pairs(view.raw_query).any(|(name, _)| wanted.contains(&name));
        let v4_query = names(&["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"]);
        let v2_query = names(&["Signature"]) && names(&["AWSAccessKeyId"]);
        match authorization {
            Some(value) if v4_query || v2_query => Err(AuthError::InvalidArgument {
                fault: ArgumentFault::TwoMechanisms,
                value: value.into_owned(),
            }),
            Some(value) => Self::from_header(view.headers, value),
            None if v4_query => Self::from_query(view),
            None if v2_query => Err(AuthError::InvalidRequest(Refused::SignatureV2)),
            None => Err(AuthError::AccessDenied(Denied::NoCredentials)),
        }
    }

    fn from_header(headers: &'a HeaderMap, value: Cow<'a, str>) -> Result<Self, AuthError> {
        let argument = |fault| AuthError::InvalidArgument { fault, value: value.clone().into_owned() };
        let malformed = AuthError::AuthorizationHeaderMalformed;
        let component = |text: &str| malformed(CredentialFault::Component { component: text.to_owned() });
        let Some((scheme, rest)) = value.trim().split_once(' ') else {
            return Err(argument(ArgumentFault::NoSpace));
        };
        match scheme {
            ALGORITHM => {}
            "AWS" => return Err(AuthError::InvalidRequest(Refused::SignatureV2)),
            _ => return Err(argument(ArgumentFault::Scheme)),
        }
        let (mut credential, mut signed, mut signature) = (None, None, None);
        if rest.split(',').count() != 3 {
            return Err(malformed(CredentialFault::Components));
        }
        for part in rest.split(',').map(str::trim) {
            let named = part.split_once('=').filter(|(_, text)| !text.is_empty());
            let (name, text) = named.ok_or_else(|| component(part))?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                // One of the three is missing then.
                _ => continue,
            };
            *slot = Some(text.to_owned());
        }
        let missing = |name| malformed(CredentialFault::Missing { name });
        let credential = credential.ok_or_else(|| missing("Credential"))?;
        let signed = signed.ok_or_else(|| missing("SignedHeaders"))?;
        let signature = signature.ok_or_else(|| missing("Signature"))?;
        if !usable_list(&signed) {
            return Err(component(&format!("SignedHeaders={signed}")));
        }
        let denied = || AuthError::AccessDenied(Denied::InvalidDate);
        let (timestamp, time_ms) = match single(headers, "x-amz-date")? {
            Some(text) => {
                let ms = parse_timestamp(&text).ok_or_else(denied)?;
                (text.into_owned(), ms)
            }
            None => {
                let text = single(headers, header::DATE.as_str())?.ok_or_else(denied)?;
                let ms = parse_date_header(&text).ok_or_else(denied)?;
                (render_timestamp(ms), ms)
            }
        };
        Ok(Self {
            credential: Cow::Owned(credential),
            signed_headers: Cow::Owned(signed),
            signature: Cow::Owned(signature),
            timestamp,
            time_ms,
            expires_s: None,
            token: single(headers, "x-amz-security-token")?,
            content_sha256: single(headers, "x-amz-content-sha256")?,
        })
    }

    fn from_query(view: &RequestView<'a>) -> Result<Self, AuthError> {
        let fail = AuthError::AuthorizationQueryParametersError;
        let take = |wanted: &str| -> Result<Option<Cow<'a, str>>, AuthError> {
            let mut found =
                raw_pairs(view.raw_query).filter(|(name, _)| *name == wanted).map(|(_, value)| value);
            let Some(value) = found.next() else { return Ok(None) };
            if found.next().is_some() {
                return Err(fail(QueryFault::MissingParameters));
            }
            let text = match percent_decode_lenient(value, true) {
                Cow::Borrowed(_) => Cow::Borrowed(value),
                Cow::Owned(bytes) => {
                    Cow::Owned(String::from_utf8(bytes).map_err(|_| fail(QueryFault::MissingParameters))?)
                }
            };
            // Parts of these values come back in XML, which cannot hold control characters.
            if text.chars().any(char::is_control) {
                return Err(fail(QueryFault::MissingParameters));
            }
            Ok(Some(text).filter(|text| !text.is_empty()))
        };
        let need = |name| take(name)?.ok_or_else(|| fail(QueryFault::MissingParameters));
        let algorithm = need("X-Amz-Algorithm")?;
        let (credential, signature) = (need("X-Amz-Credential")?, need("X-Amz-Signature")?);
        let (date, signed_headers) = (need("X-Amz-Date")?, need("X-Amz-SignedHeaders")?);
        let expires = need("X-Amz-Expires")?;
        if algorithm != ALGORITHM {
            return Err(fail(QueryFault::Algorithm));
        }
        if !usable_list(&signed_headers) {
            return Err(fail(QueryFault::MissingParameters));
        }
        let time_ms = parse_timestamp(&date).ok_or_else(|| fail(QueryFault::Date))?;
        let expires_s = parse_expires(&expires).map_err(fail)?;
        let content_sha256 = match take("X-Amz-Content-Sha256")? {
            Some(text) => Some(text),
            None => single(view.headers, "x-amz-content-sha256")?,
        };
        Ok(Self {
            credential,
            signed_headers,
            signature,
            timestamp: date.into_owned(),
            time_ms,
            expires_s: Some(expires_s),
            token: take("X-Amz-Security-Token")?,
            content_sha256,
        })
    }

    /// Takes the credential apart, and holds its date against the request's.
    pub(super) fn credential(&self) -> Result<Credential<'_>, AuthError> {
        let fail = |fault| Err(self.credential_error(fault));
        // From the right: an access key may itself hold slashes.
        let mut parts = self.credential.rsplitn(5, '/');
        let (Some(terminal), Some(service), Some(region), Some(date), Some(access_key)) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return fail(CredentialFault::Shape);
        };
        if access_key.is_empty() || region.is_empty() {
            return fail(CredentialFault::Shape);
        }
        if terminal != "aws4_request" {
            return fail(CredentialFault::Terminal { terminal: terminal.to_owned() });
        }
        let request_date = self.timestamp.get(..8).unwrap_or_default();
        if parse_date(date).is_none() && self.expires_s.is_none() {
            return fail(CredentialFault::Date { date: date.to_owned() });
        }
        if date != request_date {
            let (date, request_date) = (date.to_owned(), request_date.to_owned());
            return fail(CredentialFault::DateDiffers { date, request_date });
        }
        let scope = self.credential.get(access_key.len() + 1..).unwrap_or_default();
        Ok(Credential { access_key, date, region, service, scope })
    }

    /// Holds the request's time against ours.
    pub(super) fn check_time(&self, now_ms: u64) -> Result<(), AuthError> {
        let Some(expires_s) = self.expires_s else {
            if self.time_ms.abs_diff(now_ms) <= CLOCK_SKEW_MS_MAX {
                return Ok(());
            }
            let request_time = self.timestamp.clone();
            return Err(AuthError::RequestTimeTooSkewed { request_time, server_ms: now_ms });
        };
        if self.time_ms > now_ms.saturating_add(CLOCK_SKEW_MS_MAX) {
            let request_time = self.timestamp.clone();
            return Err(AuthError::AccessDenied(Denied::NotYetValid { request_time, server_ms: now_ms }));
        }
        let expired_ms = self.time_ms.saturating_add(expires_s.saturating_mul(1000));
        if now_ms > expired_ms {
            return Err(AuthError::AccessDenied(Denied::Expired {
                expires_s: Some(expires_s),
                expired_ms,
                server_ms: now_ms,
            }));
        }
        Ok(())
    }

    /// Demands that `host` and every `x-amz-*` header present is signed, but for `exempt`.
    pub(super) fn check_signed_headers(
        &self,
        headers: &HeaderMap,
        exempt: Option<&str>,
    ) -> Result<(), AuthError> {
        let signed = |name: &str| self.signed_headers.split(';').any(|listed| listed == name);
        let mut missing: Vec<&str> = Vec::new();
        if !signed("host") {
            missing.push("host");
        }
        for name in headers.keys().map(|name| name.as_str()) {
            if name.starts_with("x-amz-") && Some(name) != exempt && !signed(name) {
                missing.push(name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        Err(AuthError::AccessDenied(Denied::HeadersNotSigned { names: missing.join(", ") }))
    }

    /// Says that the credential is wrong, in the code of the place where it was found.
    pub(super) fn credential_error(&self, fault: CredentialFault) -> AuthError {
        match self.expires_s {
            Some(_) => AuthError::AuthorizationQueryParametersError(QueryFault::Credential(fault)),
            None => AuthError::AuthorizationHeaderMalformed(fault),
        }
    }
}

/// Finds a header that may come once.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<Cow<'a, str>>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AuthError::InvalidRequest(Refused::Repeated(name)));
    }
    Ok(Some(String::from_utf8_lossy(value.as_bytes())))
}

/// Tells whether a list of signed headers is bounded, lower case and without repetition.
fn usable_list(list: &str) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    list.split(';').all(|name| {
        let fresh = !name.is_empty() && seen.len() < SIGNED_HEADERS_MAX && !seen.contains(&name);
        seen.push(name);
        fresh && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
    })
}

fn parse_expires(text: &str) -> Result<u64, QueryFault> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QueryFault::ExpiresNotNumber);
    }
    // A number too large for the type is too long a life all the same.
    let seconds = digits.parse::<u64>().unwrap_or(u64::MAX);
    match seconds {
        0 => Err(QueryFault::ExpiresNegative),
        _ if negative => Err(QueryFault::ExpiresNegative),
        _ if seconds > PRESIGN_EXPIRES_S_MAX => Err(QueryFault::ExpiresTooLong),
        _ => Ok(seconds),
    }
}
