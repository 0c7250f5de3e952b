//! A signed token of an issuer (RFC 7519 as OpenID Connect has it): who it speaks of, if it is true.
//!
//! `Issuer::verify` calls it where it holds up no core: a signature takes up to a quarter of a millisecond. Pure.
//! I1. Nothing of a token is believed before its signature holds, but the names of its key and algorithm. I2. The
//! algorithm is one of [`Algorithm`] and fits the key's own type. I3. A token for another audience or of another issuer
//! is not taken, however true.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::identity::oidc::jwks::{Algorithm, KeySet};
use crate::identity::session::{Holder, SessionClaims};
use crate::limits::{OIDC_SKEW_S, OIDC_SUBJECT_BYTES_MAX, OIDC_TOKEN_BYTES_MAX, WEB_POLICIES_MAX};

/// What a token must say to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// `iss`, letter for letter.
    pub issuer: String,
    /// Audiences, one of which `aud` must name.
    pub audiences: Vec<String>,
    /// The claim that names policies.
    pub claim: String,
}

/// Whom a true token speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The audience that was expected and named.
    pub audience: String,
    /// What the claim names, whether such policies exist or not; never empty.
    pub policies: Vec<String>,
    /// `exp`, in seconds since 1970.
    pub expires_s: u64,
}

impl WebIdentity {
    /// What a session of it says, until the token's own end, with the policies that exist; the second answer is the names
    /// of those that do not. Without any that exists it is nobody here.
    pub fn into_claims(
        self,
        epoch: u64,
        issued_s: u64,
        knows: &dyn Fn(&str) -> bool,
    ) -> (Result<SessionClaims, TokenFault>, Vec<String>) {
        let (policies, unknown): (Vec<String>, Vec<String>) =
            self.policies.into_iter().partition(|name| knows(name));
        if policies.is_empty() {
            return (Err(TokenFault::Policies), unknown);
        }
        let (issuer, subject, audience) = (self.issuer, self.subject, self.audience);
        let claims = SessionClaims {
            holder: Holder::Web { issuer, subject, audience, policies },
            role: None,
            issued_s,
            expires_s: self.expires_s,
            epoch,
            policies: Vec::new(),
            table: None,
            source: None,
            tags: Vec::new(),
        };
        (Ok(claims), unknown)
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// Not three parts of base64 with JSON, or too long, or with a header that we must not skip.
    Form,
    /// Signed in another way than those of [`Algorithm`].
    Algorithm,
    /// No key of this name.
    UnknownKey,
    /// The signature is not that key's.
    Signature,
    /// Of another issuer.
    Issuer,
    /// For another audience.
    Audience,
    /// `exp` is past.
    Expired,
    /// `nbf` or `iat` is to come.
    NotYet,
    /// A claim that a token must have is missing or of the wrong type.
    Claim(&'static str),
    /// It names no policy, or too many.
    Policies,
}

impl TokenFault {
    /// For people; nothing of the token.
    pub fn text(self) -> &'static str {
        match self {
            TokenFault::Form => "the token is not a signed JWT",
            TokenFault::Algorithm => "the token is signed with an algorithm that is not taken",
            TokenFault::UnknownKey => "the token is signed with a key that the issuer does not publish",
            TokenFault::Signature => "the token's signature does not hold",
            TokenFault::Issuer => "the token is of another issuer",
            TokenFault::Audience => "the token is for another audience",
            TokenFault::Expired => "the token has expired",
            TokenFault::NotYet => "the token is not valid yet",
            TokenFault::Claim(_) => "a claim that the token must have is missing or of the wrong type",
            TokenFault::Policies => "the token's claim names no policy, or too many",
        }
    }
}

/// A token taken apart: nothing of it is proven.
pub struct Parts<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// Header and claims as they were signed.
    signed: &'a [u8],
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes a token apart.
    pub fn of(token: &'a str) -> Result<Parts<'a>, TokenFault> {
        if OIDC_TOKEN_BYTES_MAX < token.len() {
            return Err(TokenFault::Form);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Form)?;
        let header = json_of(header)?;
        // RFC 7515 (4.1.11): what is critical must be understood, and nothing is.
        if header.get("crit").is_some() || claims.contains('.') {
            return Err(TokenFault::Form);
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(TokenFault::Form)?;
        let algorithm = Algorithm::of_name(name).ok_or(TokenFault::Algorithm)?;
        let kid = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenFault::Form)?;
        Ok(Parts { algorithm, kid, signed: signed.as_bytes(), claims, signature })
    }

    /// Whether `keys` has the key that it names.
    pub fn has_key(&self, keys: &KeySet) -> bool {
        keys.find(self.kid.as_deref(), self.algorithm).is_some()
    }

    /// Whom it speaks of, if one of `keys` signed it and it says what is expected at `now_ms`.
    pub fn verify(&self, keys: &KeySet, expected: &Expected, now_ms: u64) -> Result<WebIdentity, TokenFault> {
        let key = keys.find(self.kid.as_deref(), self.algorithm).ok_or(TokenFault::UnknownKey)?;
        if !key.verifies(self.algorithm, self.signed, &self.signature) {
            return Err(TokenFault::Signature);
        }
        judge(&json_of(self.claims)?, expected, now_ms)
    }
}

fn json_of(part: &str) -> Result<Value, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| TokenFault::Form)?;
    if value.is_object() { Ok(value) } else { Err(TokenFault::Form) }
}

/// Holds proven claims against what is expected.
fn judge(claims: &Value, expected: &Expected, now_ms: u64) -> Result<WebIdentity, TokenFault> {
    let text = |name: &'static str| claims.get(name).and_then(Value::as_str).ok_or(TokenFault::Claim(name));
    let time = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value).map(Some).ok_or(TokenFault::Claim(name)),
    };
    if text("iss")? != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => expected.audiences.iter().find(|ours| *ours == one),
        Some(Value::Array(many)) => {
            expected.audiences.iter().find(|ours| many.iter().any(|named| named.as_str() == Some(ours)))
        }
        _ => return Err(TokenFault::Claim("aud")),
    };
    let audience = audience.ok_or(TokenFault::Audience)?.clone();
    let now_s = now_ms / 1000;
    let expires_s = time("exp")?.ok_or(TokenFault::Claim("exp"))?;
    if expires_s.saturating_add(OIDC_SKEW_S) <= now_s {
        return Err(TokenFault::Expired);
    }
    for name in ["nbf", "iat"] {
        if time(name)?.is_some_and(|from_s| now_s.saturating_add(OIDC_SKEW_S) < from_s) {
            return Err(TokenFault::NotYet);
        }
    }
    let subject = text("sub")?;
    if subject.is_empty() || OIDC_SUBJECT_BYTES_MAX < subject.len() || subject.chars().any(char::is_control) {
        return Err(TokenFault::Claim("sub"));
    }
    let policies = policies(claims.get(expected.claim.as_str()))?;
    Ok(WebIdentity {
        issuer: expected.issuer.clone(),
        subject: subject.to_owned(),
        audience,
        policies,
        expires_s,
    })
}

/// A NumericDate: seconds since 1970, maybe with a fraction.
fn seconds(value: &Value) -> Option<u64> {
    let text = value.as_number()?.to_string();
    let whole = text.split_once('.').map_or(text.as_str(), |(whole, _)| whole);
    whole.parse().ok()
}

/// Names of policies: a list of texts, or one text with commas.
fn policies(claim: Option<&Value>) -> Result<Vec<String>, TokenFault> {
    let listed: Vec<&str> = match claim {
        None => Vec::new(),
        Some(Value::String(text)) => text.split(',').collect(),
        Some(Value::Array(many)) => {
            many.iter().map(Value::as_str).collect::<Option<_>>().ok_or(TokenFault::Policies)?
        }
        Some(_) => return Err(TokenFault::Policies),
    };
    let mut names: Vec<String> = Vec::new();
    for name in listed.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() || WEB_POLICIES_MAX < names.len() {
        return Err(TokenFault::Policies);
    }
    Ok(names)
}

/// Judges arbitrary bytes as proven claims: what is taken is within every bound.
pub(super) fn fuzz_claims(input: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Value>(input) else { return };
    let expected =
        Expected { issuer: "i".to_owned(), audiences: vec!["a".to_owned()], claim: "policy".to_owned() };
    if let Ok(web) = judge(&claims, &expected, 1_700_000_000_000) {
        assert!((1..=WEB_POLICIES_MAX).contains(&web.policies.len()));
        assert!((1..=OIDC_SUBJECT_BYTES_MAX).contains(&web.subject.len()));
        assert!(1_700_000_000 < web.expires_s.saturating_add(OIDC_SKEW_S) && web.audience == "a");
    }
}
