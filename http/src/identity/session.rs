//! Sealed tokens that carry a sender by themselves: sessions of STS, vended sessions of a table, bearer tokens.
//!
//! `query::sts` and the catalog mint sessions, `bearer` mints bearer tokens; who verifies a request opens them, on
//! any core, without a look-up. A token is one version byte, a nonce, and [`SessionClaims`] under XChaCha20-Poly1305,
//! all in base64url. Pure: time and randomness are arguments.
//!
//! I1. A token opens with the key it was sealed with, for its own purpose, and (a session) for its own access key; a
//! changed bit anywhere makes it [`SessionFault::Invalid`]. I2. The secret key of a session is a function of the token
//! and of our key: it is kept nowhere and is not in the token, which travels in the clear. I3. Two texts never open to
//! the same token: what is decoded has one spelling. I4. What a token says was true when it was sealed; whether its
//! holder still stands is asked with [`SessionClaims::check_standing`] at every request. I5. A session made with a
//! session is never wider than that one and never outlives it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::audit::Issued;
use crate::limits::{
    BEARER_BYTES_MAX, SESSION_POLICIES_MAX, SESSION_POLICY_NAMES_MAX, SESSION_TAGS_MAX,
    SESSION_TOKEN_BYTES_MAX, WEB_POLICIES_MAX,
};

/// First byte of a token, and of what is sealed with it.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Bytes of a token beside its claims.
const FRAME_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;
/// What a session's claims may take, so that the token's text stays within [`SESSION_TOKEN_BYTES_MAX`].
pub const SESSION_CLAIMS_BYTES_MAX: usize = SESSION_TOKEN_BYTES_MAX / 4 * 3 - FRAME_BYTES;
const BEARER_CLAIMS_BYTES_MAX: usize = BEARER_BYTES_MAX / 4 * 3 - FRAME_BYTES;
/// First letters of the access key of a session.
const ACCESS_KEY_PREFIX: &str = "NILT";
const ACCESS_KEY_LETTERS: usize = 16;
/// Letters of access keys: no two look alike.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Bytes of the secret: 40 letters.
const SECRET_BYTES: usize = 30;

/// A key that tokens are sealed with; one for each purpose, made of the root secret.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// Takes 32 secret bytes.
    pub fn new(bytes: [u8; 32]) -> TokenKey {
        TokenKey(bytes)
    }
}

/// What a token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClaims {
    /// Whose rights it has, at most.
    pub holder: Holder,
    /// The role that was assumed; `None` for other sessions and for bearer tokens.
    pub role: Option<RoleNames>,
    /// When it was made, in seconds since 1970.
    pub issued_s: u64,
    /// When it ends, in seconds since 1970: from then on it is [`SessionFault::Expired`].
    pub expires_s: u64,
    /// The holder's revocation epoch when it was made: another one revokes it.
    pub epoch: u64,
    /// What narrows it: each of these must allow what is done. One for each time that a session was made of a session.
    pub policies: Vec<SessionPolicy>,
    /// The one table that it is for; `None` for all others than vended sessions.
    pub table: Option<TableScope>,
    /// `SourceIdentity`.
    pub source: Option<String>,
    /// Session tags: keys and values (`aws:PrincipalTag`).
    pub tags: Vec<(String, String)>,
}

/// Whose rights a token has, at most; the rights themselves are looked up live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user.
    User {
        /// Its id, which is never used again.
        id: String,
        /// The access key it was made with: its policy, its expiry and its status bind the token too.
        key: Option<String>,
    },
    /// The root key.
    Root {
        /// Its access key: another root access key ends the token.
        key: String,
    },
    /// Somebody whom the OpenID Connect issuer knows.
    Web {
        /// `iss`: a server with another issuer does not know the holder.
        issuer: String,
        /// `sub`.
        subject: String,
        /// The audience that was accepted.
        audience: String,
        /// Names of the policies that its claim granted: looked up live.
        policies: Vec<String>,
    },
}

/// One narrowing: what `Policy` and `PolicyArns` of one request allow together.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SessionPolicy {
    /// The policy's text.
    pub inline: Option<String>,
    /// Names of managed or canned policies, looked up live: one that is gone allows nothing.
    pub managed: Vec<String>,
}

/// The role of an assumed-role session: any name is taken and grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleNames {
    /// The last part of the role's ARN.
    pub role: String,
    /// `RoleSessionName`.
    pub session: String,
}

/// The files of one table, for which a session was vended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableScope {
    /// The warehouse, which is a bucket.
    pub warehouse: String,
    /// The table's uuid.
    pub table: String,
    /// Keys of the bucket that begin with it, and no others. Ends in `/`.
    pub prefix: String,
    /// Whether it may write and delete beside reading and listing.
    pub writes: bool,
    /// The table's namespace and name when the session was made, by which it is judged; `None` for want of room.
    pub names: Option<(String, String)>,
}

impl TableScope {
    /// Whether `key` of `bucket` lies within.
    pub fn holds(&self, bucket: &str, key: &[u8]) -> bool {
        self.warehouse == bucket && !self.prefix.is_empty() && key.starts_with(self.prefix.as_bytes())
    }
}

/// Keys of a session, as they are handed out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `NILT` and sixteen letters.
    pub access_key: String,
    /// Forty letters.
    pub secret_key: String,
    /// At most [`SESSION_TOKEN_BYTES_MAX`] letters.
    pub session_token: String,
    /// When they end, in seconds since 1970.
    pub expires_s: u64,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A session that was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The access key that it was opened for.
    pub access_key: String,
    /// What its requests are signed with.
    pub secret_key: String,
    /// What it says.
    pub claims: SessionClaims,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Session");
        shown.field("access_key", &self.access_key).field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFault {
    /// Its time is over.
    Expired,
    /// It is not one of ours, or was changed, or belongs to another access key.
    Invalid,
    /// Its holder is gone, disabled or has revoked it.
    Revoked,
}

/// Why a token cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintFault {
    /// Its claims take `got` bytes, over `max`.
    TooLarge {
        /// Bytes of the claims.
        got: usize,
        /// Bytes they may have.
        max: usize,
    },
    /// Sessions were made of sessions [`SESSION_POLICIES_MAX`] times already, or a list is too long.
    TooMany,
}

/// What is known now about those who hold tokens. Looks at one snapshot and waits for nothing.
pub trait Holders {
    /// The revocation epoch of an enabled user; `None` when it is gone or disabled.
    fn user_epoch(&self, user_id: &str) -> Option<u64>;
    /// Whether an access key exists, belongs to this user, is enabled and has not expired.
    fn key_stands(&self, access_key: &str, user_id: &str, now_ms: u64) -> bool;
    /// The access key of root, and its revocation epoch.
    fn root(&self) -> (&str, u64);
    /// The issuer that is configured, and the revocation epoch of all its sessions.
    fn web(&self) -> Option<(&str, u64)>;
}

impl Holder {
    /// The issuer and the subject of a web identity.
    pub fn web(&self) -> Option<(&str, &str)> {
        match self {
            Holder::Web { issuer, subject, .. } => Some((issuer, subject)),
            Holder::User { .. } | Holder::Root { .. } => None,
        }
    }

    /// The access key that was proven; a web identity has none.
    pub fn access_key(&self) -> Option<&str> {
        match self {
            Holder::Root { key } => Some(key),
            Holder::User { key, .. } => key.as_deref(),
            Holder::Web { .. } => None,
        }
    }
}

impl SessionClaims {
    /// `AROA…:session`, which is `aws:userid` of who is in a role. Anybody may take any name: the id is made of whose session it
    /// is as well, so that nobody else's has the same.
    pub(crate) fn assumed_role_id(&self, account: &str) -> Option<String> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let RoleNames { role, session } = self.role.as_ref()?;
        let whose = match &self.holder {
            Holder::Root { .. } => "root".to_owned(),
            Holder::User { id, .. } => format!("user {id}"),
            // No address has a blank in it.
            Holder::Web { issuer, subject, .. } => format!("web {issuer} {subject}"),
        };
        let hash = Sha256::digest(format!("nilas role {account} {role} {whose}"));
        let letters = hash.iter().take(17).map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
        Some("AROA".chars().chain(letters).chain(":".chars()).chain(session.chars()).collect())
    }

    /// What the audit log says of a session or token with these claims, by the access key that it has or speaks for.
    pub(crate) fn issued(&self, kind: &'static str, access_key: Option<&str>) -> Issued {
        Issued {
            kind,
            access_key: access_key.map(str::to_owned),
            web: self.holder.web().map(|(issuer, subject)| (issuer.to_owned(), subject.to_owned())),
            role: self.role.as_ref().map(|role| (role.role.clone(), role.session.clone())),
            expires_s: self.expires_s,
        }
    }

    /// Whether the holder still stands as it did: exists, enabled, not revoked since. For every request.
    pub fn check_standing(&self, holders: &dyn Holders, now_ms: u64) -> Result<(), SessionFault> {
        let stands = match &self.holder {
            Holder::User { id, key } => {
                holders.user_epoch(id) == Some(self.epoch)
                    && key.as_ref().is_none_or(|key| holders.key_stands(key, id, now_ms))
            }
            Holder::Root { key } => holders.root() == (key.as_str(), self.epoch),
            Holder::Web { issuer, .. } => holders.web() == Some((issuer.as_str(), self.epoch)),
        };
        if stands { Ok(()) } else { Err(SessionFault::Revoked) }
    }

    /// What its claims take of [`SESSION_CLAIMS_BYTES_MAX`], in percent (`PackedPolicySize`).
    pub fn packed_percent(&self) -> usize {
        (encode(self).len() * 100).div_ceil(SESSION_CLAIMS_BYTES_MAX)
    }
}

/// Makes a session: random access key and token, and the secret that belongs to them.
pub fn mint(
    claims: &SessionClaims,
    key: &TokenKey,
    random: &mut dyn FnMut() -> u128,
) -> Result<Credentials, MintFault> {
    let access_key = random_access_key(random);
    let aad = session_aad(&access_key);
    let session_token = seal(claims, key, &aad, SESSION_CLAIMS_BYTES_MAX, random)?;
    let secret_key = secret_of(&session_token, key);
    Ok(Credentials { access_key, secret_key, session_token, expires_s: claims.expires_s })
}

/// Opens the token that came with `access_key`. What it says of its holder is still to be asked
/// ([`SessionClaims::check_standing`]).
pub fn open(token: &str, access_key: &str, key: &TokenKey, now_ms: u64) -> Result<Session, SessionFault> {
    let claims = unseal(token, key, &session_aad(access_key), SESSION_TOKEN_BYTES_MAX)?;
    check_time(&claims, now_ms)?;
    Ok(Session { access_key: access_key.to_owned(), secret_key: secret_of(token, key), claims })
}

/// Makes a bearer token: who shows it is the holder. `key` is the one for bearer tokens.
pub fn mint_bearer(
    claims: &SessionClaims,
    key: &TokenKey,
    random: &mut dyn FnMut() -> u128,
) -> Result<String, MintFault> {
    seal(claims, key, BEARER_AAD, BEARER_CLAIMS_BYTES_MAX, random)
}

/// Opens a bearer token; the rest as [`open`].
pub fn open_bearer(token: &str, key: &TokenKey, now_ms: u64) -> Result<SessionClaims, SessionFault> {
    let claims = open_bearer_at_any_time(token, key)?;
    check_time(&claims, now_ms)?;
    Ok(claims)
}

/// Opens a bearer token whose time may be over.
pub(crate) fn open_bearer_at_any_time(token: &str, key: &TokenKey) -> Result<SessionClaims, SessionFault> {
    unseal(token, key, BEARER_AAD, BEARER_BYTES_MAX)
}

/// Whether a text has the outer form of a token of ours: says nothing of its truth.
pub fn looks_like_ours(token: &str) -> bool {
    !token.contains('.') && decode_text(token, BEARER_BYTES_MAX.max(SESSION_TOKEN_BYTES_MAX)).is_some()
}

const BEARER_AAD: &[u8] = b"nilas bearer token";

fn session_aad(access_key: &str) -> Vec<u8> {
    [b"nilas session token ".as_slice(), access_key.as_bytes()].concat()
}

fn check_time(claims: &SessionClaims, now_ms: u64) -> Result<(), SessionFault> {
    if now_ms / 1000 < claims.expires_s { Ok(()) } else { Err(SessionFault::Expired) }
}

fn random_access_key(random: &mut dyn FnMut() -> u128) -> String {
    let mut bits = random();
    let letters = (0..ACCESS_KEY_LETTERS).map(|_| {
        let index = usize::try_from(bits & 31).expect("five bits");
        bits >>= 5;
        char::from(LETTERS[index])
    });
    ACCESS_KEY_PREFIX.chars().chain(letters).collect()
}

fn secret_of(token: &str, key: &TokenKey) -> String {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&key.0).expect("HMAC takes any key");
    mac.update(b"nilas session secret ");
    mac.update(token.as_bytes());
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..SECRET_BYTES])
}

fn seal(
    claims: &SessionClaims,
    key: &TokenKey,
    aad: &[u8],
    max: usize,
    random: &mut dyn FnMut() -> u128,
) -> Result<String, MintFault> {
    let lists = [
        (claims.policies.len(), SESSION_POLICIES_MAX),
        (claims.tags.len(), SESSION_TAGS_MAX),
        (
            claims.policies.iter().map(|policy| policy.managed.len()).max().unwrap_or(0),
            SESSION_POLICY_NAMES_MAX,
        ),
        (
            if let Holder::Web { policies, .. } = &claims.holder { policies.len() } else { 0 },
            WEB_POLICIES_MAX,
        ),
    ];
    if lists.iter().any(|(got, max)| max < got) {
        return Err(MintFault::TooMany);
    }
    let plain = encode(claims);
    if max < plain.len() {
        return Err(MintFault::TooLarge { got: plain.len(), max });
    }
    let (a, b) = (random().to_le_bytes(), random().to_le_bytes());
    let mut nonce = [0; NONCE_BYTES];
    nonce[..16].copy_from_slice(&a);
    nonce[16..].copy_from_slice(&b[..NONCE_BYTES - 16]);
    let cipher = XChaCha20Poly1305::new(&key.0.into());
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad })
        .expect("a few kilobytes are far below what the cipher takes");
    let mut token = Vec::with_capacity(FRAME_BYTES + plain.len());
    token.push(VERSION);
    token.extend_from_slice(&nonce);
    token.extend_from_slice(&sealed);
    Ok(URL_SAFE_NO_PAD.encode(token))
}

fn decode_text(token: &str, max: usize) -> Option<Vec<u8>> {
    if max < token.len() {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    (bytes.first() == Some(&VERSION) && FRAME_BYTES <= bytes.len()).then_some(bytes)
}

fn unseal(token: &str, key: &TokenKey, aad: &[u8], max: usize) -> Result<SessionClaims, SessionFault> {
    let bytes = decode_text(token, max).ok_or(SessionFault::Invalid)?;
    let (nonce, sealed) = bytes[1..].split_at(NONCE_BYTES);
    let nonce = XNonce::try_from(nonce).map_err(|_| SessionFault::Invalid)?;
    let cipher = XChaCha20Poly1305::new(&key.0.into());
    let plain = cipher.decrypt(&nonce, Payload { msg: sealed, aad }).map_err(|_| SessionFault::Invalid)?;
    decode(&plain).ok_or(SessionFault::Invalid)
}

/// Compares two secrets in constant time.
pub(crate) fn same_secret(a: &str, b: &str) -> bool {
    bool::from(a.as_bytes().ct_eq(b.as_bytes()))
}

// ---- claims ⇄ bytes --------------------------------------------------------------------------
//
// version u8, issued u64, expires u64, epoch u64, holder (kind u8, then its texts), role, policies, table, source, tags.
// Numbers little-endian; a text is a u16 length and UTF-8; a list a u8 count; an option a u8 of 0 or 1.

const USER: u8 = 1;
const ROOT: u8 = 2;
const WEB: u8 = 3;

fn encode(claims: &SessionClaims) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(256));
    out.byte(VERSION);
    for number in [claims.issued_s, claims.expires_s, claims.epoch] {
        out.0.extend_from_slice(&number.to_le_bytes());
    }
    match &claims.holder {
        Holder::User { id, key } => {
            out.byte(USER);
            out.text(id);
            out.option(key.as_deref());
        }
        Holder::Root { key } => {
            out.byte(ROOT);
            out.text(key);
        }
        Holder::Web { issuer, subject, audience, policies } => {
            out.byte(WEB);
            [issuer, subject, audience].into_iter().for_each(|text| out.text(text));
            out.texts(policies);
        }
    }
    out.byte(u8::from(claims.role.is_some()));
    if let Some(role) = &claims.role {
        out.text(&role.role);
        out.text(&role.session);
    }
    out.count(claims.policies.len());
    for policy in &claims.policies {
        out.option(policy.inline.as_deref());
        out.texts(&policy.managed);
    }
    out.byte(u8::from(claims.table.is_some()));
    if let Some(table) = &claims.table {
        [&table.warehouse, &table.table, &table.prefix].into_iter().for_each(|text| out.text(text));
        out.byte(u8::from(table.writes));
        out.byte(u8::from(table.names.is_some()));
        if let Some((namespace, name)) = &table.names {
            out.text(namespace);
            out.text(name);
        }
    }
    out.option(claims.source.as_deref());
    out.count(claims.tags.len());
    for (key, value) in &claims.tags {
        out.text(key);
        out.text(value);
    }
    out.0
}

/// `None` for bytes that [`encode`] does not write.
fn decode(bytes: &[u8]) -> Option<SessionClaims> {
    let mut rest = Reader(bytes);
    if rest.byte()? != VERSION {
        return None;
    }
    let (issued_s, expires_s, epoch) = (rest.number()?, rest.number()?, rest.number()?);
    let holder = match rest.byte()? {
        USER => Holder::User { id: rest.text()?, key: rest.option()? },
        ROOT => Holder::Root { key: rest.text()? },
        WEB => Holder::Web {
            issuer: rest.text()?,
            subject: rest.text()?,
            audience: rest.text()?,
            policies: rest.texts(WEB_POLICIES_MAX)?,
        },
        _ => return None,
    };
    let role = match rest.flag()? {
        true => Some(RoleNames { role: rest.text()?, session: rest.text()? }),
        false => None,
    };
    let policies = rest.list(SESSION_POLICIES_MAX, |rest| {
        Some(SessionPolicy { inline: rest.option()?, managed: rest.texts(SESSION_POLICY_NAMES_MAX)? })
    })?;
    let table = match rest.flag()? {
        true => Some(TableScope {
            warehouse: rest.text()?,
            table: rest.text()?,
            prefix: rest.text()?,
            writes: rest.flag()?,
            names: match rest.flag()? {
                true => Some((rest.text()?, rest.text()?)),
                false => None,
            },
        }),
        false => None,
    };
    let source = rest.option()?;
    let tags = rest.list(SESSION_TAGS_MAX, |rest| Some((rest.text()?, rest.text()?)))?;
    let claims = SessionClaims { holder, role, issued_s, expires_s, epoch, policies, table, source, tags };
    rest.0.is_empty().then_some(claims)
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn count(&mut self, count: usize) {
        self.byte(u8::try_from(count).expect("lists were bounded before they are written"));
    }

    /// A text beyond what its length can say is cut nowhere: the claims are then too large for every token.
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn option(&mut self, text: Option<&str>) {
        self.byte(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<String> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }

    fn option(&mut self) -> Option<Option<String>> {
        if self.flag()? { self.text().map(Some) } else { Some(None) }
    }

    fn list<T>(&mut self, max: usize, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::from(self.byte()?);
        if max < count {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn texts(&mut self, max: usize) -> Option<Vec<String>> {
        self.list(max, Reader::text)
    }
}

/// Reads arbitrary bytes as claims and as a token: nothing may panic, what is read is written back byte for byte, and
/// no token opens that was not sealed here.
pub fn fuzz_session(input: &[u8]) {
    if let Some(claims) = decode(input) {
        assert_eq!(encode(&claims), input, "claims have one spelling");
    }
    let key = TokenKey::new([3; 32]);
    let text = String::from_utf8_lossy(input);
    assert_eq!(open(&text, "NILTAAAAAAAAAAAAAAAA", &key, 0), Err(SessionFault::Invalid));
    assert_eq!(open_bearer(&text, &key, 0), Err(SessionFault::Invalid));
    let framed = URL_SAFE_NO_PAD.encode([&[VERSION], input].concat());
    assert_eq!(open_bearer(&framed, &key, 0), Err(SessionFault::Invalid));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const NOW_S: u64 = NOW_MS / 1000;

    fn key() -> TokenKey {
        TokenKey::new([7; 32])
    }

    /// Different numbers, the same at every run.
    fn counter(mut from: u128) -> impl FnMut() -> u128 {
        move || {
            from = from.wrapping_mul(0x2545_F491_4F6C_DD1D_9E37_79B9_7F4A_7C15).wrapping_add(1);
            from
        }
    }

    fn plain() -> SessionClaims {
        SessionClaims {
            holder: Holder::User { id: "AIDAONE".to_owned(), key: Some("NILASKEY".to_owned()) },
            role: None,
            issued_s: NOW_S,
            expires_s: NOW_S + 900,
            epoch: 3,
            policies: Vec::new(),
            table: None,
            source: None,
            tags: Vec::new(),
        }
    }

    fn kinds() -> Vec<SessionClaims> {
        let policy = SessionPolicy { inline: Some("{}".to_owned()), managed: vec!["readonly".to_owned()] };
        let table = TableScope {
            warehouse: "w".to_owned(),
            table: "u".to_owned(),
            prefix: "data/t/".to_owned(),
            writes: true,
            names: Some(("n".to_owned(), "t".to_owned())),
        };
        let web = Holder::Web {
            issuer: "https://i".to_owned(),
            subject: "s".to_owned(),
            audience: "a".to_owned(),
            policies: vec!["p".to_owned(), "q".to_owned()],
        };
        let role = RoleNames { role: "r".to_owned(), session: "n".to_owned() };
        vec![
            plain(),
            SessionClaims { holder: Holder::User { id: "U".to_owned(), key: None }, ..plain() },
            SessionClaims { holder: Holder::Root { key: "ROOT".to_owned() }, table: Some(table), ..plain() },
            SessionClaims { holder: web, role: Some(role), source: Some("src".to_owned()), ..plain() },
            SessionClaims {
                policies: vec![policy; SESSION_POLICIES_MAX],
                tags: vec![("k".to_owned(), "v".to_owned()), ("ü".to_owned(), String::new())],
                ..plain()
            },
        ]
    }

    #[test]
    fn what_was_sealed_opens_for_its_key_and_no_other() {
        let mut random = counter(1);
        for claims in kinds() {
            let made = mint(&claims, &key(), &mut random).expect("small");
            let opened = open(&made.session_token, &made.access_key, &key(), NOW_MS).expect("ours");
            assert_eq!(opened.claims, claims);
            assert_eq!((&opened.access_key, &opened.secret_key), (&made.access_key, &made.secret_key));
            assert_eq!((made.access_key.len(), made.secret_key.len()), (20, 40));
            assert_eq!(made.expires_s, claims.expires_s);
            let refused = |token: &str, access_key: &str, key: &TokenKey| {
                assert_eq!(open(token, access_key, key, NOW_MS), Err(SessionFault::Invalid), "{token}");
            };
            let other = mint(&claims, &key(), &mut random).expect("small");
            assert_ne!((&made.access_key, &made.secret_key), (&other.access_key, &other.secret_key));
            refused(&made.session_token, &other.access_key, &key());
            refused(&other.session_token, &made.access_key, &key());
            refused(&made.session_token, &made.access_key, &TokenKey::new([8; 32]));
            refused(&made.session_token, "", &key());
            assert_eq!(open_bearer(&made.session_token, &key(), NOW_MS), Err(SessionFault::Invalid));
            let bearer = mint_bearer(&claims, &key(), &mut random).expect("small");
            assert_eq!(open_bearer(&bearer, &key(), NOW_MS), Ok(claims));
            refused(&bearer, &made.access_key, &key());
        }
    }

    #[test]
    fn no_changed_token_opens() {
        let made = mint(&kinds()[4], &key(), &mut counter(2)).expect("small");
        let token = made.session_token.as_str();
        let check = |changed: &str| {
            let got = open(changed, &made.access_key, &key(), NOW_MS);
            assert_eq!(got, Err(SessionFault::Invalid), "{changed}");
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                check(&URL_SAFE_NO_PAD.encode(changed));
            }
            check(&URL_SAFE_NO_PAD.encode(&bytes[..at]));
            check(&URL_SAFE_NO_PAD.encode(&bytes[at + 1..]));
        }
        for at in 0..token.len() {
            for letter in ['A', '_', '=', '+', ' ', 'ä'] {
                let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
                if changed != token {
                    check(&changed);
                }
            }
            check(&token[..at]);
        }
        check(&format!("{token}="));
        check(&format!("{token}A"));
        check(&format!(" {token}"));
        check(&token.repeat(20));
        check("");
    }

    #[test]
    fn time() {
        let made = mint(&plain(), &key(), &mut counter(3)).expect("small");
        let check = |now_ms: u64, want: Result<(), SessionFault>| {
            let got = open(&made.session_token, &made.access_key, &key(), now_ms);
            assert_eq!(got.map(drop), want, "{now_ms}");
        };
        let end_ms = (NOW_S + 900) * 1000;
        check(NOW_MS, Ok(()));
        check(end_ms - 1, Ok(()));
        check(end_ms, Err(SessionFault::Expired));
        check(u64::MAX, Err(SessionFault::Expired));
        let bearer = mint_bearer(&plain(), &key(), &mut counter(3)).expect("small");
        assert_eq!(open_bearer(&bearer, &key(), end_ms), Err(SessionFault::Expired));
        assert!(open_bearer_at_any_time(&bearer, &key()).is_ok());
    }

    #[test]
    fn sizes() {
        let with = |bytes: usize| SessionClaims {
            policies: vec![SessionPolicy { inline: Some("x".repeat(bytes)), managed: Vec::new() }],
            ..plain()
        };
        let beside = encode(&with(0)).len();
        let most = SESSION_CLAIMS_BYTES_MAX - beside;
        let made = mint(&with(most), &key(), &mut counter(4)).expect("just fits");
        assert!(made.session_token.len() <= SESSION_TOKEN_BYTES_MAX);
        assert!(open(&made.session_token, &made.access_key, &key(), NOW_MS).is_ok());
        assert_eq!(with(most).packed_percent(), 100);
        for bytes in [most + 1, 70_000] {
            let fault = MintFault::TooLarge { got: beside + bytes, max: SESSION_CLAIMS_BYTES_MAX };
            assert_eq!(mint(&with(bytes), &key(), &mut counter(4)), Err(fault));
        }
        let many =
            SessionClaims { policies: vec![SessionPolicy::default(); SESSION_POLICIES_MAX + 1], ..plain() };
        assert_eq!(mint(&many, &key(), &mut counter(4)), Err(MintFault::TooMany));
        let many = SessionClaims { tags: vec![Default::default(); 300], ..plain() };
        assert_eq!(mint(&many, &key(), &mut counter(4)), Err(MintFault::TooMany));
    }

    #[test]
    fn standing() {
        struct Known {
            user: Option<u64>,
            key: bool,
            root: (&'static str, u64),
            web: Option<(&'static str, u64)>,
        }
        impl Holders for Known {
            fn user_epoch(&self, user_id: &str) -> Option<u64> {
                self.user.filter(|_| user_id == "U")
            }
            fn key_stands(&self, access_key: &str, user_id: &str, _now_ms: u64) -> bool {
                self.key && access_key == "K" && user_id == "U"
            }
            fn root(&self) -> (&str, u64) {
                self.root
            }
            fn web(&self) -> Option<(&str, u64)> {
                self.web
            }
        }
        let known = || Known { user: Some(3), key: true, root: ("R", 3), web: Some(("I", 3)) };
        let user = |key: Option<&str>| Holder::User { id: "U".to_owned(), key: key.map(str::to_owned) };
        let root = || Holder::Root { key: "R".to_owned() };
        let web = || Holder::Web {
            issuer: "I".to_owned(),
            subject: "s".to_owned(),
            audience: "a".to_owned(),
            policies: Vec::new(),
        };
        let check = |holder: Holder, known: Known, want: bool| {
            let claims = SessionClaims { holder, ..plain() };
            let want = if want { Ok(()) } else { Err(SessionFault::Revoked) };
            assert_eq!(claims.check_standing(&known, NOW_MS), want, "{claims:?}");
        };
        check(user(None), known(), true);
        check(user(None), Known { key: false, ..known() }, true);
        check(user(Some("K")), known(), true);
        check(user(Some("K")), Known { key: false, ..known() }, false);
        check(user(Some("L")), known(), false);
        for user_epoch in [None, Some(2), Some(4)] {
            check(user(None), Known { user: user_epoch, ..known() }, false);
        }
        check(root(), known(), true);
        check(root(), Known { root: ("R", 4), ..known() }, false);
        check(root(), Known { root: ("S", 3), ..known() }, false);
        check(web(), known(), true);
        check(web(), Known { web: None, ..known() }, false);
        check(web(), Known { web: Some(("J", 3)), ..known() }, false);
        check(web(), Known { web: Some(("I", 4)), ..known() }, false);
    }

    #[test]
    fn scope_of_a_table() {
        let scope = |prefix: &str| TableScope {
            warehouse: "w".to_owned(),
            table: "u".to_owned(),
            prefix: prefix.to_owned(),
            writes: false,
            names: None,
        };
        let check = |scope: TableScope, bucket: &str, key: &str, want: bool| {
            assert_eq!(scope.holds(bucket, key.as_bytes()), want, "{bucket} {key}");
        };
        check(scope("ns/t/"), "w", "ns/t/data/f", true);
        check(scope("ns/t/"), "w", "ns/t/", true);
        check(scope("ns/t/"), "w", "ns/t2/f", false);
        check(scope("ns/t/"), "w", "ns/t", false);
        check(scope("ns/t/"), "v", "ns/t/f", false);
        check(scope(""), "w", "f", false);
    }

    #[test]
    fn arbitrary_bytes() {
        for claims in kinds() {
            let bytes = encode(&claims);
            fuzz_session(&bytes);
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), None);
                fuzz_session(&bytes[..end]);
            }
            for at in 0..bytes.len() {
                for value in [0, 1, 2, 0x7f, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    fuzz_session(&changed);
                }
            }
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let made = mint(&plain(), &key(), &mut counter(5)).expect("small");
        let opened = open(&made.session_token, &made.access_key, &key(), NOW_MS).expect("ours");
        assert_eq!(format!("{:?}", key()), "TokenKey");
        for text in [format!("{made:?}"), format!("{opened:?}")] {
            assert!(!text.contains(&made.secret_key) && !text.contains(&made.session_token), "{text}");
        }
    }
}
