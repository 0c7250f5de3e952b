//! OAuth2 for catalogs: client credentials or another token in, a sealed bearer token out, and the check of that token.
//!
//! The catalog's token route reads the form with [`TokenRequest::parse`], has a token of the OpenID Connect issuer verified
//! if [`TokenRequest::issuer_token`] shows one, and calls [`TokenRequest::answer`]; every catalog route that carries
//! `Authorization: Bearer` calls [`verify_bearer`]. A token is sealed claims ([`session`]), so no table of tokens exists.
//!
//! I1. A token is issued to who holds a lasting key in force, or shows a token that stands. I2. A token of somebody whom the
//! issuer knows never outlives the issuer's own, however often it is exchanged, and no token that was had without a secret is in
//! force [`BEARER_CHAIN_S_MAX`] after the first of its line was issued: `issued_s` is that of the first. I3. A session token is no bearer token: it
//! travels in the clear, and says nothing without a signature.
//!
//! [`session`]: crate::identity::session

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nilas_catalog::OAuthError;
use serde_json::json;

use crate::identity::session::{
    Holder, Holders, SessionClaims, SessionFault, TokenKey, mint_bearer, open_bearer,
    open_bearer_at_any_time, same_secret,
};
use crate::limits::{BEARER_CHAIN_S_MAX, BEARER_LIFE_S};
use nilas_catalog::uri::{percent_decode_lenient, raw_pairs};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A lasting access key in force.
#[derive(Clone)]
pub struct ClientKey {
    /// Its secret.
    pub secret: Arc<str>,
    /// Whom a token of it speaks for.
    pub holder: Holder,
    /// The holder's revocation epoch.
    pub epoch: u64,
}

/// Where clients are found.
pub trait Clients: Holders {
    /// Finds a lasting access key that is in force at `now_ms`.
    fn client(&self, access_key: &str, now_ms: u64) -> Option<ClientKey>;
}

/// What a client asks of the token endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Id and secret, in the form or in a Basic header.
    client: Option<(String, String)>,
    grant: Grant,
    scope: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Grant {
    ClientCredentials,
    /// The exchange of a token of ours.
    Own(String),
    /// The exchange of a token of the OpenID Connect issuer.
    Issuer(String),
}

/// A token that was issued (RFC 6749 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAnswer {
    /// What the token says.
    pub claims: SessionClaims,
    /// What the client sends from now on.
    pub access_token: String,
    /// Its life, in seconds.
    pub expires_in_s: u64,
    /// The scope asked for, echoed; it grants nothing.
    pub scope: Option<String>,
}

impl TokenRequest {
    /// Reads a request. `form` is its body (`application/x-www-form-urlencoded`, at most `TOKEN_FORM_BYTES_MAX`),
    /// `authorization` its header. The client id is an access key and the client secret its secret.
    pub fn parse(form: &[u8], authorization: Option<&str>) -> Result<TokenRequest, OAuthError> {
        let form =
            std::str::from_utf8(form).map_err(|_| OAuthError::InvalidRequest("the form is not UTF-8"))?;
        let client = client(form, authorization)?;
        let grant = match field(form, "grant_type")?.as_deref() {
            Some("client_credentials") => Grant::ClientCredentials,
            Some(TOKEN_EXCHANGE) => exchange(form)?,
            Some(_) => return Err(OAuthError::UnsupportedGrantType),
            None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
        };
        Ok(TokenRequest { client, grant, scope: field(form, "scope")? })
    }

    /// The token of the OpenID Connect issuer that is to be exchanged, if it is one: to be verified before the answer.
    pub fn issuer_token(&self) -> Option<&str> {
        match &self.grant {
            Grant::Issuer(token) => Some(token),
            Grant::ClientCredentials | Grant::Own(_) => None,
        }
    }

    /// Who says to ask, if the client names itself.
    pub fn client_id(&self) -> Option<&str> {
        self.client.as_ref().map(|(id, _)| id.as_str())
    }

    /// Issues a token. `of_issuer` is what [`TokenRequest::issuer_token`] says, verified; `now_ms` milliseconds since 1970.
    pub fn answer(
        self,
        of_issuer: Option<SessionClaims>,
        clients: &dyn Clients,
        key: &TokenKey,
        now_ms: u64,
        random: &mut dyn FnMut() -> u128,
    ) -> Result<TokenAnswer, OAuthError> {
        let now_s = now_ms / 1000;
        let proven = match &self.client {
            None => None,
            Some((id, secret)) => Some(prove(clients, id, secret, now_ms).ok_or(OAuthError::InvalidClient)?),
        };
        let subject = match (self.grant, of_issuer) {
            (Grant::ClientCredentials, _) => Subject::of(proven.ok_or(OAuthError::InvalidClient)?, now_s),
            (Grant::Own(token), _) => own(&token, proven, clients, key, now_ms)?,
            (Grant::Issuer(_), Some(claims)) => Subject {
                holder: claims.holder,
                epoch: claims.epoch,
                issued_s: now_s,
                last_s: claims.expires_s,
            },
            (Grant::Issuer(_), None) => return Err(OAuthError::InvalidGrant),
        };
        let expires_s = now_s.saturating_add(BEARER_LIFE_S).min(subject.last_s);
        let claims = bearer_claims(subject.holder, subject.epoch, subject.issued_s, expires_s);
        if expires_s <= now_s || claims.check_standing(clients, now_ms).is_err() {
            return Err(OAuthError::InvalidGrant);
        }
        // Too many policies, or names too long for a header.
        let access_token = mint_bearer(&claims, key, random).map_err(|_| OAuthError::InvalidGrant)?;
        Ok(TokenAnswer { claims, access_token, expires_in_s: expires_s - now_s, scope: self.scope })
    }
}

/// Finds whom a token speaks for, if it was sealed with this key, its time is not over and its holder stands.
pub fn verify_bearer(
    token: &str,
    key: &TokenKey,
    holders: &dyn Holders,
    now_ms: u64,
) -> Result<SessionClaims, SessionFault> {
    let claims = open_bearer(token, key, now_ms)?;
    claims.check_standing(holders, now_ms)?;
    Ok(claims)
}

/// What a bearer token says: a holder, and nothing that narrows it.
fn bearer_claims(holder: Holder, epoch: u64, issued_s: u64, expires_s: u64) -> SessionClaims {
    SessionClaims {
        holder,
        role: None,
        issued_s,
        expires_s,
        epoch,
        policies: Vec::new(),
        table: None,
        source: None,
        tags: Vec::new(),
    }
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

/// The client, if its secret is right. Only lasting keys are clients: a temporary one would need its session token as well.
fn prove(clients: &dyn Clients, id: &str, secret: &str, now_ms: u64) -> Option<ClientKey> {
    clients.client(id, now_ms).filter(|client| same_secret(&client.secret, secret))
}

/// The token that an exchange brings: one with dots is a JWT, and ours have none.
fn exchange(form: &str) -> Result<Grant, OAuthError> {
    let subject =
        field(form, "subject_token")?.ok_or(OAuthError::InvalidRequest("subject_token is missing"))?;
    let is_jwt = subject.contains('.');
    match field(form, "subject_token_type")?.as_deref() {
        Some(ACCESS_TOKEN) => {}
        Some(ID_TOKEN | JWT) if is_jwt => {}
        Some(ID_TOKEN | JWT) => return Err(OAuthError::InvalidGrant),
        Some(_) => {
            return Err(OAuthError::InvalidRequest(
                "subject_token_type must be access_token, id_token or jwt",
            ));
        }
        None => return Err(OAuthError::InvalidRequest("subject_token_type is missing")),
    }
    if field(form, "actor_token")?.is_some() {
        return Err(OAuthError::InvalidRequest("actor tokens are not supported"));
    }
    Ok(if is_jwt { Grant::Issuer(subject) } else { Grant::Own(subject) })
}

/// Whom a token is for.
struct Subject {
    holder: Holder,
    epoch: u64,
    /// When the first token of the line was issued.
    issued_s: u64,
    /// When it ends at the latest.
    last_s: u64,
}

impl Subject {
    /// A client that showed its secret.
    fn of(client: ClientKey, now_s: u64) -> Subject {
        Subject { holder: client.holder, epoch: client.epoch, issued_s: now_s, last_s: u64::MAX }
    }
}

/// Whom a token of ours is exchanged for.
fn own(
    token: &str,
    proven: Option<ClientKey>,
    clients: &dyn Clients,
    key: &TokenKey,
    now_ms: u64,
) -> Result<Subject, OAuthError> {
    let known = open_bearer_at_any_time(token, key).ok();
    let stands = |claims: &SessionClaims| {
        now_ms / 1000 < claims.expires_s && claims.check_standing(clients, now_ms).is_ok()
    };
    match (proven, known) {
        (Some(client), Some(claims)) if client.holder != claims.holder => Err(OAuthError::InvalidGrant),
        // A client that shows its secret may exchange a token that has run out.
        (Some(client), _) => Ok(Subject::of(client, now_ms / 1000)),
        (None, Some(claims)) if stands(&claims) => {
            let last_s = match claims.holder {
                Holder::Web { .. } => claims.expires_s,
                Holder::Root { .. } | Holder::User { .. } => {
                    claims.issued_s.saturating_add(BEARER_CHAIN_S_MAX)
                }
            };
            Ok(Subject { holder: claims.holder, epoch: claims.epoch, issued_s: claims.issued_s, last_s })
        }
        (None, _) => Err(OAuthError::InvalidGrant),
    }
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
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const NOW_S: u64 = NOW_MS / 1000;

    fn sealing() -> TokenKey {
        TokenKey::new([7; 32])
    }

    /// Root `AK`, and a user with the key `UK` while `user` says so; the issuer `https://i`.
    struct Known {
        user_epoch: Option<u64>,
        key_stands: bool,
        web: Option<(&'static str, u64)>,
    }

    const ALL: Known = Known { user_epoch: Some(4), key_stands: true, web: Some(("https://i", 9)) };

    impl Holders for Known {
        fn user_epoch(&self, _user_id: &str) -> Option<u64> {
            self.user_epoch
        }
        fn key_stands(&self, access_key: &str, _user_id: &str, _now_ms: u64) -> bool {
            self.key_stands && access_key == "UK"
        }
        fn root(&self) -> (&str, u64) {
            ("AK", 0)
        }
        fn web(&self) -> Option<(&str, u64)> {
            self.web
        }
    }

    impl Clients for Known {
        fn client(&self, access_key: &str, now_ms: u64) -> Option<ClientKey> {
            match access_key {
                "AK" => Some(ClientKey { secret: "s/e+c r&t".into(), holder: root("AK"), epoch: 0 }),
                "UK" if self.key_stands(access_key, "U", now_ms) => {
                    Some(ClientKey { secret: "user".into(), holder: user(), epoch: self.user_epoch? })
                }
                _ => None,
            }
        }
    }

    fn root(key: &str) -> Holder {
        Holder::Root { key: key.to_owned() }
    }

    fn user() -> Holder {
        Holder::User { id: "U".to_owned(), key: Some("UK".to_owned()) }
    }

    fn web() -> Holder {
        let text = str::to_owned;
        let (issuer, subject, audience) = (text("https://i"), text("s"), text("a"));
        Holder::Web { issuer, subject, audience, policies: vec![text("p")] }
    }

    fn seal(holder: Holder, epoch: u64, expires_s: u64, key: &TokenKey) -> String {
        mint_bearer(&bearer_claims(holder, epoch, NOW_S, expires_s), key, &mut || 5).expect("small")
    }

    fn issue(
        form: &str,
        authorization: Option<&str>,
        of_issuer: Option<SessionClaims>,
        known: &Known,
    ) -> Result<TokenAnswer, OAuthError> {
        let request = TokenRequest::parse(form.as_bytes(), authorization)?;
        request.answer(of_issuer, known, &sealing(), NOW_MS, &mut || 6)
    }

    fn check(
        form: &str,
        authorization: Option<&str>,
        expected: Result<Holder, OAuthError>,
    ) -> Option<TokenAnswer> {
        let got = issue(form, authorization, None, &ALL);
        assert_eq!(got.as_ref().map(|t| t.claims.holder.clone()).map_err(|e| *e), expected, "{form}");
        if let Ok(answer) = &got {
            let verified = verify_bearer(&answer.access_token, &sealing(), &ALL, NOW_MS);
            assert_eq!(verified.as_ref(), Ok(&answer.claims));
        }
        got.ok()
    }

    #[test]
    fn client_credentials() {
        let body = "grant_type=client_credentials&client_id=AK&client_secret=s%2Fe%2Bc+r%26t&scope=catalog";
        let answer = check(body, None, Ok(root("AK"))).expect("checked").to_json();
        assert_eq!(answer["token_type"], "bearer");
        assert_eq!(answer["expires_in"], 3600);
        assert_eq!(answer["scope"], "catalog");
        check("grant_type=client_credentials&client_id=UK&client_secret=user", None, Ok(user()));
        let basic = format!("Basic {}", STANDARD.encode("AK:s/e+c r&t"));
        check("grant_type=client_credentials", Some(&basic), Ok(root("AK")));
        check("grant_type=client_credentials&client_id=AK", Some(&basic), Ok(root("AK")));
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
    fn a_key_out_of_force_gets_no_token_and_its_tokens_end() {
        let form = "grant_type=client_credentials&client_id=UK&client_secret=user";
        let token = issue(form, None, None, &ALL).expect("in force").access_token;
        let check = |known: Known, is_client: bool| {
            let got = issue(form, None, None, &known).map(drop);
            assert_eq!(got, if is_client { Ok(()) } else { Err(OAuthError::InvalidClient) });
            let got = verify_bearer(&token, &sealing(), &known, NOW_MS).map(drop);
            assert_eq!(got, Err(SessionFault::Revoked));
        };
        check(Known { user_epoch: None, ..ALL }, false);
        check(Known { user_epoch: Some(5), ..ALL }, true);
        check(Known { key_stands: false, ..ALL }, false);
    }

    fn exchanging(token: &str, kind: &str) -> String {
        format!("grant_type={TOKEN_EXCHANGE}&subject_token={token}&subject_token_type={kind}")
    }

    #[test]
    fn exchange_of_tokens() {
        let form = |token: &str| exchanging(token, ACCESS_TOKEN);
        let seal_root =
            |key: &str, expires_s: u64, sealing: &TokenKey| seal(root(key), 0, expires_s, sealing);
        let live = seal_root("AK", NOW_S + 5, &sealing());
        let over = seal_root("AK", NOW_S, &sealing());
        let gone = seal_root("GONE", NOW_S + 5, &sealing());
        let forged = seal_root("AK", NOW_S + 5, &TokenKey::new([8; 32]));
        check(&form(&live), Some(&format!("Bearer {live}")), Ok(root("AK")));
        check(&form(&over), None, Err(OAuthError::InvalidGrant));
        check(&form(&gone), None, Err(OAuthError::InvalidGrant));
        check(&form(&forged), None, Err(OAuthError::InvalidGrant));
        check(&form(&seal(user(), 4, NOW_S + 5, &sealing())), None, Ok(user()));
        check(&form(&seal(user(), 3, NOW_S + 5, &sealing())), None, Err(OAuthError::InvalidGrant));
        check(&form("x"), None, Err(OAuthError::InvalidGrant));
        let basic = format!("Basic {}", STANDARD.encode("AK:s/e+c r&t"));
        check(&form(&over), Some(&basic), Ok(root("AK")));
        check(&form(&forged), Some(&basic), Ok(root("AK")));
        check(&form(&seal(user(), 4, NOW_S + 5, &sealing())), Some(&basic), Err(OAuthError::InvalidGrant));
        check(&exchanging(&live, ID_TOKEN), None, Err(OAuthError::InvalidGrant));
        let kind = OAuthError::InvalidRequest("subject_token_type must be access_token, id_token or jwt");
        check(&exchanging(&live, "urn:x"), None, Err(kind));
        let actor = format!("{}&actor_token=x", form(&live));
        check(&actor, None, Err(OAuthError::InvalidRequest("actor tokens are not supported")));
        let missing = format!("grant_type={TOKEN_EXCHANGE}");
        check(&missing, None, Err(OAuthError::InvalidRequest("subject_token is missing")));
    }

    #[test]
    fn a_line_of_exchanges_ends() {
        let life_of = |issued_s: u64, authorization: Option<&str>| {
            let claims = bearer_claims(user(), 4, issued_s, NOW_S + 5);
            let token = mint_bearer(&claims, &sealing(), &mut || 5).expect("small");
            let answer = issue(&exchanging(&token, ACCESS_TOKEN), authorization, None, &ALL)?;
            Ok((answer.claims.issued_s, answer.expires_in_s))
        };
        let long_ago = |s: u64| NOW_S - BEARER_CHAIN_S_MAX + s;
        assert_eq!(life_of(NOW_S - 10, None), Ok((NOW_S - 10, BEARER_LIFE_S)));
        assert_eq!(life_of(long_ago(7), None), Ok((long_ago(7), 7)));
        assert_eq!(life_of(long_ago(0), None), Err(OAuthError::InvalidGrant));
        // Who shows the secret begins anew.
        let basic = format!("Basic {}", STANDARD.encode("UK:user"));
        assert_eq!(life_of(long_ago(0), Some(&basic)), Ok((NOW_S, BEARER_LIFE_S)));
    }

    #[test]
    fn tokens_of_the_issuer() {
        let of_issuer = |epoch: u64, expires_s: u64| bearer_claims(web(), epoch, NOW_S, expires_s);
        for kind in [ACCESS_TOKEN, ID_TOKEN, JWT] {
            let form = exchanging("a.b.c", kind);
            let request = TokenRequest::parse(form.as_bytes(), None);
            assert_eq!(
                request.map(|r| r.issuer_token().map(str::to_owned)).ok(),
                Some(Some("a.b.c".to_owned()))
            );
            let check = |claims: Option<SessionClaims>, known: &Known, want: Result<u64, OAuthError>| {
                let got = issue(&form, None, claims.clone(), known);
                assert_eq!(got.map(|t| t.expires_in_s), want, "{claims:?}");
            };
            check(None, &ALL, Err(OAuthError::InvalidGrant));
            check(Some(of_issuer(9, NOW_S + 300)), &ALL, Ok(300));
            check(Some(of_issuer(9, NOW_S + 99_000)), &ALL, Ok(BEARER_LIFE_S));
            check(Some(of_issuer(9, NOW_S)), &ALL, Err(OAuthError::InvalidGrant));
            check(Some(of_issuer(8, NOW_S + 300)), &ALL, Err(OAuthError::InvalidGrant));
            check(
                Some(of_issuer(9, NOW_S + 300)),
                &Known { web: None, ..ALL },
                Err(OAuthError::InvalidGrant),
            );
        }
        // However often it is exchanged, it ends when the issuer said.
        let token = seal(web(), 9, NOW_S + 300, &sealing());
        let again = issue(&exchanging(&token, ACCESS_TOKEN), None, None, &ALL).expect("it stands");
        assert_eq!((again.expires_in_s, again.claims.expires_s), (300, NOW_S + 300));
    }

    #[test]
    fn tokens_are_checked() {
        let check = |token: &str, want: Result<(), SessionFault>| {
            assert_eq!(verify_bearer(token, &sealing(), &ALL, NOW_MS).map(drop), want, "{token}");
        };
        let live = seal(root("AK"), 0, NOW_S + 5, &sealing());
        check(&live, Ok(()));
        check(&seal(root("AK"), 0, NOW_S, &sealing()), Err(SessionFault::Expired));
        check(&seal(root("GONE"), 0, NOW_S + 5, &sealing()), Err(SessionFault::Revoked));
        check(&seal(root("AK"), 0, NOW_S + 5, &TokenKey::new([8; 32])), Err(SessionFault::Invalid));
        for changed in [&live[1..], &live[..live.len() - 1], &format!("{live}A"), "", "x", "a.b"] {
            check(changed, Err(SessionFault::Invalid));
        }
    }
}
