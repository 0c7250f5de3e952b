//! Signature version 4: holds a request's signature against the one its sender's secret would give.
//!
//! An S3 route calls [`verify`] before the body is read; a catalog or STS route calls [`precheck`], reads its
//! bounded body whole, and then [`verify_with_body`], because there the body's hash is signed whatever the headers
//! say. Signers disagree about the spelling of paths and queries, so a few spellings are tried; each names the same
//! resource, so that none widens what a signature is good for.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use base64::Engine as _;

use crate::auth::canonical;
use crate::auth::chunk_signature::ChunkSigner;
use crate::auth::claim::{Credential, SignedClaim};
use crate::auth::error::{ArgumentFault, AuthError, CredentialFault, Denied, Mismatch, Refused, Throttled};
use crate::auth::hoisted::Mechanism;
use crate::auth::key_cache::mac_of;
use crate::auth::key_cache::{SigningKeyCache, SigningMac, derive, sign};
use crate::auth::request::RequestView;
use crate::auth::sigv2;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Where secrets are found.
pub trait KeyStore {
    /// Finds the secret that requests of `access_key` are signed with, if the session token that came with it (or the
    /// absence of one: lasting keys have none) fits. `now_ms` is milliseconds since 1970.
    fn secret(&self, access_key: &str, token: Option<&str>, now_ms: u64) -> Result<Arc<str>, KeyFault>;
}

/// Why there is no secret for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// There is no such key, or it is not in force.
    Unknown,
    /// The session token is not ours, not this key's, or was revoked.
    InvalidToken,
    /// The session is over.
    ExpiredToken,
    /// The key failed too often where the request comes from.
    Throttled(Throttled),
}

impl KeyFault {
    /// The error of a request that shows `access_key` and `token`.
    pub(crate) fn error(self, access_key: &str, token: Option<&str>) -> AuthError {
        let token = token.unwrap_or_default().to_owned();
        match self {
            KeyFault::Unknown => AuthError::InvalidAccessKeyId { access_key: access_key.to_owned() },
            KeyFault::InvalidToken => AuthError::InvalidToken { token },
            KeyFault::ExpiredToken => AuthError::ExpiredToken { token },
            KeyFault::Throttled(throttled) => AuthError::Throttled(throttled),
        }
    }
}

/// The service a credential is scoped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Service {
    S3,
    S3Tables,
    Sts,
    Iam,
}

impl Service {
    const ALL: [Service; 4] = [Service::S3, Service::S3Tables, Service::Sts, Service::Iam];

    /// As it stands in a credential.
    pub fn name(self) -> &'static str {
        match self {
            Service::S3 => "s3",
            Service::S3Tables => "s3tables",
            Service::Sts => "sts",
            Service::Iam => "iam",
        }
    }

    fn of(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.name() == name)
    }
}

/// How the body must be taken, as the signature has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadMode {
    /// `UNSIGNED-PAYLOAD`: as it comes.
    Unsigned,
    /// The whole body has this hash.
    Signed {
        /// What was signed.
        sha256: [u8; 32],
    },
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: aws-chunked, each chunk signed.
    StreamingSigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: the same with signed trailers.
    StreamingSignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: aws-chunked with trailers, none signed.
    StreamingUnsignedTrailer,
    /// Read whole before it was verified.
    CatalogBody,
}

impl PayloadMode {
    /// Whether nothing of the body is signed.
    pub fn is_unsigned(&self) -> bool {
        matches!(self, PayloadMode::Unsigned | PayloadMode::StreamingUnsignedTrailer)
    }
}

/// A request whose sender is known.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The key whose secret signed it.
    pub access_key: String,
    /// The service in the scope.
    pub service: Service,
    /// The region in the scope; any is accepted.
    pub region: String,
    /// When it was signed, in milliseconds since 1970; version 2 does not say.
    pub signed_ms: Option<u64>,
    /// How the body must be taken.
    pub payload: PayloadMode,
    /// Where the signature was.
    pub mechanism: Mechanism,
    /// The session token that came with it and fits the key.
    pub session_token: Option<String>,
    /// Continues the signature over chunks; of use for the two signed streaming modes.
    pub chunks: ChunkSigner,
}

/// Verifies a request to an S3 route from its head alone.
///
/// The body is still to be held against [`Verified::payload`]. Errors are S3's; nothing about a request that fails
/// here may be acted on. `now_ms` is milliseconds since 1970.
pub fn verify(
    view: &RequestView<'_>,
    keys: &dyn KeyStore,
    cache: &mut SigningKeyCache,
    now_ms: u64,
) -> Result<Verified, AuthError> {
    let claim = SignedClaim::read(view)?;
    let (credential, service, secret) = identify(&claim, &[Service::S3], keys, now_ms)?;
    claim.check_signed_headers(view.headers, None)?;
    let presigned = claim.expires_s.is_some();
    let (payload, literals) = match claim.content_sha256.as_deref() {
        None if presigned => (PayloadMode::Unsigned, vec![UNSIGNED]),
        None => return Err(AuthError::InvalidRequest(Refused::NoContentSha256)),
        // Some signers of URLs sign the header and still write the word into the last line.
        Some(text) if presigned && text != UNSIGNED => (parse_payload(text)?, vec![text, UNSIGNED]),
        Some(text) => (parse_payload(text)?, vec![text]),
    };
    let attempt = Attempt { view, claim: &claim, credential: &credential, secret: &secret };
    let chunks = attempt.run(&literals, false, cache)?;
    Ok(verified(&claim, &credential, service, payload, chunks))
}

/// Verifies a request to the catalog or to the query API, given the SHA-256 of its whole body. Its credential must be
/// scoped to one of `services`.
///
/// The hash is what counts in the signature; an `x-amz-content-sha256` header may be absent, hex or base64, and must then be
/// this one. The catalog also takes `UNSIGNED-PAYLOAD`, which the query API does not: a form says all that is done.
pub fn verify_with_body(
    view: &RequestView<'_>,
    body_sha256: &[u8; 32],
    services: &[Service],
    keys: &dyn KeyStore,
    cache: &mut SigningKeyCache,
    now_ms: u64,
) -> Result<Verified, AuthError> {
    let claim = SignedClaim::read(view)?;
    let (credential, service, secret) = identify(&claim, services, keys, now_ms)?;
    claim.check_signed_headers(view.headers, Some("x-amz-content-sha256"))?;
    let computed = hex::encode(body_sha256);
    let header = claim.content_sha256.as_deref();
    let mut literals = vec![computed.as_str()];
    let is_form = matches!(service, Service::Iam | Service::Sts);
    if !is_form && (header == Some(UNSIGNED) || (claim.expires_s.is_some() && header.is_none())) {
        literals.push(UNSIGNED);
    }
    let attempt = Attempt { view, claim: &claim, credential: &credential, secret: &secret };
    let chunks = attempt.run(&literals, true, cache)?;
    if let Some(client) = header
        && client != UNSIGNED
        && !client.eq_ignore_ascii_case(&computed)
        && client != base64::engine::general_purpose::STANDARD.encode(body_sha256)
    {
        return Err(AuthError::XAmzContentSHA256Mismatch { client: client.to_owned(), computed });
    }
    Ok(verified(&claim, &credential, service, PayloadMode::CatalogBody, chunks))
}

/// A request that nobody signed, as it is to be taken. Chunks that claim to be signed are not.
pub(crate) fn anonymous(view: &RequestView<'_>) -> Result<Verified, AuthError> {
    let payload = match view.headers.get("x-amz-content-sha256").map(|value| value.to_str()) {
        None => PayloadMode::Unsigned,
        Some(text) => match parse_payload(text.unwrap_or_default())? {
            PayloadMode::StreamingSigned | PayloadMode::StreamingSignedTrailer => {
                return Err(AuthError::AccessDenied(Denied::NoCredentials));
            }
            fits => fits,
        },
    };
    let chunks = ChunkSigner::new(mac_of(b""), String::new(), String::new(), String::new());
    Ok(Verified {
        access_key: String::new(),
        service: Service::S3,
        region: String::new(),
        signed_ms: None,
        payload,
        mechanism: Mechanism::Unsigned,
        session_token: None,
        chunks,
    })
}

/// Checks all but the signature: form, known key, token and time. Lets a route refuse before it reads a body.
pub fn precheck(
    view: &RequestView<'_>,
    services: &[Service],
    keys: &dyn KeyStore,
    now_ms: u64,
) -> Result<Service, AuthError> {
    let claim = SignedClaim::read(view)?;
    identify(&claim, services, keys, now_ms).map(|(_, service, _)| service)
}

/// The service that a request's credential is scoped to, before anything of it is verified.
pub fn shown(view: &RequestView<'_>) -> Result<Option<Service>, AuthError> {
    let claim = SignedClaim::read(view)?;
    Ok(Service::of(claim.credential()?.service))
}

/// The access key that a request names, whether it is its sender's or not.
pub(crate) fn claimed_key(view: &RequestView<'_>) -> Option<String> {
    if sigv2::shows(view) {
        return sigv2::claimed_key(view);
    }
    let claim = SignedClaim::read(view).ok()?;
    Some(claim.credential().ok()?.access_key.to_owned())
}

fn identify<'c>(
    claim: &'c SignedClaim<'_>,
    services: &[Service],
    keys: &dyn KeyStore,
    now_ms: u64,
) -> Result<(Credential<'c>, Service, Arc<str>), AuthError> {
    let credential = claim.credential()?;
    let Some(service) = Service::of(credential.service).filter(|service| services.contains(service)) else {
        let expected = services.first().map_or("", |service| service.name());
        let service = credential.service.to_owned();
        return Err(claim.credential_error(CredentialFault::Service { service, expected }));
    };
    claim.check_time(now_ms)?;
    let (access_key, token) = (credential.access_key, claim.token.as_deref());
    let secret = keys.secret(access_key, token, now_ms).map_err(|fault| fault.error(access_key, token))?;
    Ok((credential, service, secret))
}

pub(super) fn parse_payload(text: &str) -> Result<PayloadMode, AuthError> {
    Ok(match text {
        UNSIGNED => PayloadMode::Unsigned,
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => PayloadMode::StreamingSigned,
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => PayloadMode::StreamingSignedTrailer,
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => PayloadMode::StreamingUnsignedTrailer,
        _ => {
            let mut sha256 = [0; 32];
            hex::decode_to_slice(text, &mut sha256).map_err(|_| AuthError::InvalidArgument {
                fault: ArgumentFault::ContentSha256,
                value: text.to_owned(),
            })?;
            PayloadMode::Signed { sha256 }
        }
    })
}

fn verified(
    claim: &SignedClaim<'_>,
    credential: &Credential<'_>,
    service: Service,
    payload: PayloadMode,
    chunks: ChunkSigner,
) -> Verified {
    Verified {
        access_key: credential.access_key.to_owned(),
        service,
        region: credential.region.to_owned(),
        signed_ms: Some(claim.time_ms),
        payload,
        mechanism: match claim.expires_s {
            Some(_) => Mechanism::QueryV4,
            None => Mechanism::HeaderV4,
        },
        session_token: claim.token.as_deref().map(str::to_owned),
        chunks,
    }
}

#[cfg(test)]
impl Verified {
    /// A request of `access_key` whose body comes as it is.
    pub(crate) fn unsigned(access_key: &str) -> Verified {
        let chunks = ChunkSigner::new(mac_of(b""), String::new(), String::new(), String::new());
        Verified {
            access_key: access_key.to_owned(),
            service: Service::S3,
            region: String::new(),
            signed_ms: None,
            payload: PayloadMode::Unsigned,
            mechanism: Mechanism::HeaderV4,
            session_token: None,
            chunks,
        }
    }
}

struct Attempt<'r, 'a> {
    view: &'r RequestView<'a>,
    claim: &'r SignedClaim<'a>,
    credential: &'r Credential<'r>,
    secret: &'r str,
}

impl Attempt<'_, '_> {
    /// Tries every spelling of the request until one gives the signature shown; the error shows the first.
    fn run(
        &self,
        payloads: &[&str],
        catalog: bool,
        cache: &mut SigningKeyCache,
    ) -> Result<ChunkSigner, AuthError> {
        let Credential { date, region, service, scope, .. } = *self.credential;
        let known = cache.find(&self.claim.credential, self.secret);
        let fresh = known.is_none();
        let mac = known.unwrap_or_else(|| derive(self.secret, date, region, service));
        let presigned = self.claim.expires_s.is_some();
        let signed: &str = &self.claim.signed_headers;
        let headers = canonical::headers(self.view.headers, signed);
        let mut queries = vec![canonical::query(self.view.raw_query, presigned, false)];
        if catalog {
            let without_blanks = canonical::query(self.view.raw_query, presigned, true);
            if !queries.contains(&without_blanks) {
                queries.push(without_blanks);
            }
        }
        let mut first = None;
        for path in canonical::path_forms(self.view.raw_path, catalog) {
            for query in &queries {
                for payload in payloads {
                    let request =
                        canonical::request(self.view.method, &path, query, &headers, signed, payload);
                    let text = self.string_to_sign(&request, scope);
                    if self.matches(&mac, &text) {
                        if fresh {
                            cache.keep(&self.claim.credential, self.secret, &mac);
                        }
                        let (timestamp, scope) = (self.claim.timestamp.clone(), scope.to_owned());
                        return Ok(ChunkSigner::new(
                            mac,
                            timestamp,
                            scope,
                            self.claim.signature.clone().into_owned(),
                        ));
                    }
                    first.get_or_insert((request, text));
                }
            }
        }
        let (request, string_to_sign) = first.unwrap_or_default();
        Err(AuthError::SignatureDoesNotMatch(Box::new(Mismatch {
            access_key: self.credential.access_key.to_owned(),
            string_to_sign,
            signature_provided: self.claim.signature.clone().into_owned(),
            canonical_request: Some(Cow::into_owned(String::from_utf8_lossy(&request))),
        })))
    }

    fn string_to_sign(&self, request: &[u8], scope: &str) -> String {
        let hash = hex::encode(Sha256::digest(request));
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", self.claim.timestamp)
    }

    fn matches(&self, mac: &SigningMac, string_to_sign: &str) -> bool {
        let ours = hex::encode(sign(mac, string_to_sign.as_bytes()));
        ours.as_bytes().ct_eq(self.claim.signature.as_bytes()).into()
    }
}

/// Reads arbitrary bytes as a request and verifies it: nothing may panic, and nothing may verify.
pub fn fuzz_auth(input: &[u8]) {
    struct One;
    impl KeyStore for One {
        fn secret(&self, access_key: &str, token: Option<&str>, _now_ms: u64) -> Result<Arc<str>, KeyFault> {
            match (access_key, token) {
                ("AK", None) => Ok("a secret that no input can hold".into()),
                ("AK", Some(_)) => Err(KeyFault::InvalidToken),
                _ => Err(KeyFault::Unknown),
            }
        }
    }
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let (method, target) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (raw_path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(name.as_bytes()),
            http::HeaderValue::from_bytes(value.trim().as_bytes()),
        ) {
            headers.append(name, value);
        }
    }
    let view = RequestView { method, raw_path, raw_query, headers: &headers };
    let mut cache = SigningKeyCache::new();
    // The day of AWS's published examples, so that a corpus can hold them.
    let now_ms = 1_369_353_600_000;
    let outcomes = [
        verify(&view, &One, &mut cache, now_ms),
        verify_with_body(&view, &[0; 32], &[Service::S3Tables], &One, &mut cache, now_ms),
        sigv2::verify(&view, &One, now_ms),
    ];
    for outcome in outcomes {
        let error = outcome.expect_err("only the secret's owner can sign");
        assert!(!error.message().is_empty() && !error.code().is_empty());
        assert!(error.fields().len() < 8);
    }
}

#[cfg(test)]
mod tests;
