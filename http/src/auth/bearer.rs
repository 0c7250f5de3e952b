//! OAuth2 for catalogs: client credentials in, a self-contained bearer token out, and the check of that token.
//!
//! The catalog's token route calls [`issue`] with the form it received; every catalog route that carries
//! `Authorization: Bearer` calls [`verify_bearer`]. A token is `base64url(claims).base64url(HMAC-SHA256)`, sealed with
//! a key the caller keeps, so no table of tokens exists. Whether the access key inside still lives is the caller's to ask.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use nilas_catalog::OAuthError;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::auth::key_cache::{mac_of, sign};
use crate::auth::sigv4::KeyStore;
use crate::limits::{BEARER_BYTES_MAX, BEARER_LIFE_S};
use nilas_catalog::uri::{percent_decode_lenient, raw_pairs};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const CLAIMS_VERSION: &str = "nilas-bearer-1";

/// A token that was issued (RFC 6749 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// The access key the token speaks for.
    pub access_key: String,
    /// What the client sends from now on.
    pub access_token: String,
    /// Its life, in seconds.
    pub expires_in_s: u64,
    /// The scope asked for, echoed; it grants nothing.
    pub scope: Option<String>,
}

/// Issues a token for client credentials, or a fresh one for a token that is still valid.
///
/// `form` is the request's body (`application/x-www-form-urlencoded`, at most `TOKEN_FORM_BYTES_MAX`), `authorization` its header, `now_ms`
/// milliseconds since 1970. The client id is an access key and the client secret its secret.
pub fn issue(
    form: &[u8],
    authorization: Option<&str>,
    keys: &dyn KeyStore,
    now_ms: u64,
    sealing_key: &[u8; 32],
) -> Result<TokenAnswer, OAuthError> {
    let form = std::str::from_utf8(form).map_err(|_| OAuthError::InvalidRequest("the form is not UTF-8"))?;
    let client = client(form, authorization)?;
    let proven = match &client {
        None => None,
        Some((id, secret)) if knows(keys, id, secret, now_ms) => Some(id.clone()),
        Some(_) => return Err(OAuthError::InvalidClient),
    };
    let grant_type = field(form, "grant_type")?;
    let access_key = match grant_type.as_deref() {
        Some("client_credentials") => proven.ok_or(OAuthError::InvalidClient)?,
        Some(TOKEN_EXCHANGE) => exchange(form, proven, keys, now_ms, sealing_key)?,
        Some(_) => return Err(OAuthError::UnsupportedGrantType),
        None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
    };
    let expires_s = (now_ms / 1000).saturating_add(BEARER_LIFE_S);
    let access_token = seal(&access_key, expires_s, sealing_key);
    Ok(TokenAnswer { access_key, access_token, expires_in_s: BEARER_LIFE_S, scope: field(form, "scope")? })
}

/// Finds the access key a token speaks for; `None` when it was not sealed with this key or its time is over.
pub fn verify_bearer(token: &str, now_ms: u64, sealing_key: &[u8; 32]) -> Option<String> {
    if token.len() > BEARER_BYTES_MAX {
        return None;
    }
    let (claims, seal) = token.split_once('.')?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
    if !bool::from(sign(&mac_of(sealing_key), &claims).as_slice().ct_eq(&seal)) {
        return None;
    }
    let claims = String::from_utf8(claims).ok()?;
    let (version, rest) = claims.split_once('\n')?;
    let (expires_s, access_key) = rest.split_once('\n')?;
    let live = version == CLAIMS_VERSION && now_ms / 1000 < expires_s.parse::<u64>().ok()?;
    live.then(|| access_key.to_owned())
}

impl TokenAnswer {
    /// Renders the body of the 200 answer.
    pub fn to_json(&self) -> serde_json::Value {
        let mut body = json!({
            "access_token": self.access_token,
            "token_type": "bearer",
            "expires_in": self.expires_in_s,
            "issued_token_type": ACCESS_TOKEN,
        });
        if let (Some(scope), Some(map)) = (&self.scope, body.as_object_mut()) {
            map.insert("scope".to_owned(), json!(scope));
        }
        body
    }
}

/// Finds the client's own credentials: in the form or in a Basic header, never in both.
fn client(form: &str, authorization: Option<&str>) -> Result<Option<(String, String)>, OAuthError> {
    let (id, secret) = (field(form, "client_id")?, field(form, "client_secret")?);
    let basic = match authorization.and_then(|value| value.split_once(' ')) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => {
            Some(parse_basic(rest).ok_or(OAuthError::InvalidClient)?)
        }
        // The bearer token of a refresh says nothing that the subject token does not.
        _ => None,
    };
    match (id, secret, basic) {
        (_, Some(_), Some(_)) => {
            Err(OAuthError::InvalidRequest("client credentials belong either in the header or in the form"))
        }
        (Some(id), None, Some(basic)) if id != basic.0 => Err(OAuthError::InvalidClient),
        (_, None, basic @ Some(_)) => Ok(basic),
        (Some(id), Some(secret), None) => Ok(Some((id, secret))),
        // Some clients write a credential without a colon as the secret alone.
        (None, Some(_), None) => Err(OAuthError::InvalidClient),
        (_, None, None) => Ok(None),
    }
}

fn parse_basic(text: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

fn knows(keys: &dyn KeyStore, id: &str, secret: &str, now_ms: u64) -> bool {
    // Only lasting keys are clients: a temporary one would need its session token as well.
    keys.secret(id, None, now_ms).is_ok_and(|ours| bool::from(ours.as_bytes().ct_eq(secret.as_bytes())))
}

fn exchange(
    form: &str,
    proven: Option<String>,
    keys: &dyn KeyStore,
    now_ms: u64,
    sealing_key: &[u8; 32],
) -> Result<String, OAuthError> {
    let subject =
        field(form, "subject_token")?.ok_or(OAuthError::InvalidRequest("subject_token is missing"))?;
    match field(form, "subject_token_type")?.as_deref() {
        Some(ACCESS_TOKEN) => {}
        Some(_) => return Err(OAuthError::InvalidRequest("subject_token_type must be an access token")),
        None => return Err(OAuthError::InvalidRequest("subject_token_type is missing")),
    }
    if field(form, "actor_token")?.is_some() {
        return Err(OAuthError::InvalidRequest("actor tokens are not supported"));
    }
    // A client that shows its secret may exchange a token that has run out.
    let access_key = match (proven, verify_bearer(&subject, now_ms, sealing_key)) {
        (Some(client), Some(owner)) if client != owner => return Err(OAuthError::InvalidGrant),
        (Some(client), _) => client,
        (None, Some(owner)) => owner,
        (None, None) => return Err(OAuthError::InvalidGrant),
    };
    keys.secret(&access_key, None, now_ms).map(|_| access_key.clone()).map_err(|_| OAuthError::InvalidGrant)
}

fn seal(access_key: &str, expires_s: u64, sealing_key: &[u8; 32]) -> String {
    let claims = format!("{CLAIMS_VERSION}\n{expires_s}\n{access_key}");
    let seal = sign(&mac_of(sealing_key), claims.as_bytes());
    format!("{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(seal))
}

fn field(form: &str, wanted: &str) -> Result<Option<String>, OAuthError> {
    let mut found =
        raw_pairs(form).filter(|(name, _)| *percent_decode_lenient(name, true) == *wanted.as_bytes());
    let Some((_, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(OAuthError::InvalidRequest("a field came twice"));
    }
    String::from_utf8(percent_decode_lenient(value, true).into_owned())
        .map(|text| Some(text).filter(|text| !text.is_empty()))
        .map_err(|_| OAuthError::InvalidRequest("the form is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::sigv4::KeyFault;

    const SEALING: [u8; 32] = [7; 32];
    const NOW_MS: u64 = 1_700_000_000_000;

    struct Keys;
    impl KeyStore for Keys {
        fn secret(&self, access_key: &str, token: Option<&str>, _now_ms: u64) -> Result<Arc<str>, KeyFault> {
            match (access_key, token) {
                ("AK", None) => Ok("s/e+c r&t".into()),
                _ => Err(KeyFault::Unknown),
            }
        }
    }

    fn check(
        form: &str,
        authorization: Option<&str>,
        expected: Result<&str, OAuthError>,
    ) -> Option<TokenAnswer> {
        let got = issue(form.as_bytes(), authorization, &Keys, NOW_MS, &SEALING);
        assert_eq!(got.as_ref().map(|t| t.access_key.as_str()).map_err(|e| *e), expected, "{form}");
        if let Ok(answer) = &got {
            assert_eq!(verify_bearer(&answer.access_token, NOW_MS, &SEALING).as_deref(), expected.ok());
        }
        got.ok()
    }

    #[test]
    fn client_credentials() {
        let body = "grant_type=client_credentials&client_id=AK&client_secret=s%2Fe%2Bc+r%26t&scope=catalog";
        let answer = check(body, None, Ok("AK")).expect("checked").to_json();
        assert_eq!(answer["token_type"], "bearer");
        assert_eq!(answer["expires_in"], 3600);
        assert_eq!(answer["scope"], "catalog");
        let basic = format!("Basic {}", STANDARD.encode("AK:s/e+c r&t"));
        check("grant_type=client_credentials", Some(&basic), Ok("AK"));
        check("grant_type=client_credentials&client_id=AK", Some(&basic), Ok("AK"));
        check("grant_type=client_credentials&client_id=BK", Some(&basic), Err(OAuthError::InvalidClient));
        let both =
            OAuthError::InvalidRequest("client credentials belong either in the header or in the form");
        check(body, Some(&basic), Err(both));
        let wrong = format!("Basic {}", STANDARD.encode("AK:nope"));
        check("grant_type=client_credentials", Some(&wrong), Err(OAuthError::InvalidClient));
        check("grant_type=client_credentials", Some("Basic %%%"), Err(OAuthError::InvalidClient));
        check("grant_type=client_credentials", None, Err(OAuthError::InvalidClient));
        let unknown = "grant_type=client_credentials&client_id=XX&client_secret=";
        check(unknown, None, Err(OAuthError::InvalidClient));
        check("grant_type=password&username=u", None, Err(OAuthError::UnsupportedGrantType));
        check("", None, Err(OAuthError::InvalidRequest("grant_type is missing")));
        let twice = "grant_type=client_credentials&client_id=AK&client_id=AK";
        check(twice, None, Err(OAuthError::InvalidRequest("a field came twice")));
    }

    #[test]
    fn exchange_of_tokens() {
        let form = |token: &str| {
            format!("grant_type={TOKEN_EXCHANGE}&subject_token={token}&subject_token_type={ACCESS_TOKEN}")
        };
        let live = seal("AK", NOW_MS / 1000 + 5, &SEALING);
        let over = seal("AK", NOW_MS / 1000, &SEALING);
        let gone = seal("GONE", NOW_MS / 1000 + 5, &SEALING);
        let forged = seal("AK", NOW_MS / 1000 + 5, &[8; 32]);
        check(&form(&live), Some(&format!("Bearer {live}")), Ok("AK"));
        check(&form(&over), None, Err(OAuthError::InvalidGrant));
        check(&form(&gone), None, Err(OAuthError::InvalidGrant));
        check(&form(&forged), None, Err(OAuthError::InvalidGrant));
        let basic = format!("Basic {}", STANDARD.encode("AK:s/e+c r&t"));
        check(&form(&over), Some(&basic), Ok("AK"));
        check(&form(&gone), Some(&basic), Err(OAuthError::InvalidGrant));
    }

    #[test]
    fn altered_tokens_fail() {
        let token = seal("AK", NOW_MS / 1000 + 5, &SEALING);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).expect("ascii");
            assert_eq!(verify_bearer(&altered, NOW_MS, &SEALING), None, "{at}");
            assert_eq!(verify_bearer(&token[..at], NOW_MS, &SEALING), None);
        }
        assert_eq!(verify_bearer(&token, NOW_MS + 5_000, &SEALING), None);
    }
}
