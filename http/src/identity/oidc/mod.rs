//! An OpenID Connect issuer: whom a token of it speaks of, by keys that are fetched from it and kept.
//!
//! `query::sts` and the catalog's bearer check call [`Issuer::verify`]. One [`Issuer`] is shared by all cores; everything
//! that takes time is done on the control pool, where one fetch at most is made at a time. In path order: `jwt` takes a
//! token apart and judges it, `jwks` has the keys, `fetch` reads them.
//!
//! I1. A core waits for a message and never for the issuer. I2. A token whose key is not known makes one fetch, and after it
//! none for [`OIDC_REFETCH_MS_MIN`], whatever is sent. I3. Keys are asked for anew when they are older than
//! [`OIDC_KEYS_LIFE_MS`]: a withdrawn key is then out of use. While the issuer does not answer, the last known keys serve up to
//! [`OIDC_KEYS_STALE_MS_MAX`], and then no token is taken.
#![expect(clippy::disallowed_types, reason = "the lock is taken on threads of the control pool only")]

mod fetch;
pub mod jwks;
pub mod jwt;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nilas_engine::rt;

pub use crate::identity::oidc::fetch::FetchFault;
use crate::identity::oidc::fetch::{CaFault, Fetcher, is_safe};
use crate::identity::oidc::jwks::KeySet;
use crate::identity::oidc::jwt::{Expected, Parts, TokenFault, WebIdentity};
use crate::limits::{
    OIDC_AUDIENCES_MAX, OIDC_FETCH_TIME_MAX, OIDC_KEYS_LIFE_MS, OIDC_KEYS_STALE_MS_MAX, OIDC_REFETCH_MS_MIN,
};

/// How often a core asks again while another's fetch is under way.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What `nilas serve` is told of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its address, as its tokens name it in `iss`.
    pub issuer: String,
    /// Audiences, one of which a token must be for.
    pub audiences: Vec<String>,
    /// The claim that names policies.
    pub claim: String,
    /// Certificate authorities that its certificate is held against; `None` for the system's.
    pub ca: Option<PathBuf>,
}

/// Why an issuer cannot be used as it was given.
#[derive(Debug)]
pub enum OidcConfigError {
    /// Neither `https` nor `http` on loopback.
    Address {
        /// As it was given.
        issuer: String,
    },
    /// Without an audience every token of the issuer, for whatever service, would be taken.
    NoAudience,
    /// Over [`OIDC_AUDIENCES_MAX`] audiences, or an empty one, or an empty claim.
    Value,
    /// The certificate authorities.
    Ca {
        /// The file.
        path: PathBuf,
        /// Why it is of no use.
        why: String,
    },
}

impl fmt::Display for OidcConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OidcConfigError::Address { issuer } => {
                write!(f, "--oidc-issuer {issuer}: give an https address, or http on loopback")
            }
            OidcConfigError::NoAudience => {
                write!(f, "--oidc-issuer needs --oidc-audience: whom tokens are for")
            }
            OidcConfigError::Value => {
                write!(
                    f,
                    "--oidc-audience takes 1 to {OIDC_AUDIENCES_MAX} names, --oidc-claim one, none of them empty"
                )
            }
            OidcConfigError::Ca { path, why } => write!(f, "--oidc-ca {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for OidcConfigError {}

/// Why a token is not taken, or cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OidcFault {
    /// It is not true, or not for us.
    Token(TokenFault),
    /// The issuer's keys cannot be had.
    Unreachable,
    /// The control pool has too much to do; may come again.
    Busy,
}

impl From<TokenFault> for OidcFault {
    fn from(fault: TokenFault) -> OidcFault {
        OidcFault::Token(fault)
    }
}

/// One issuer, for all cores.
pub struct Issuer {
    expected: Expected,
    fetcher: Fetcher,
    state: Mutex<State>,
    say: fn(&str),
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// What is known of an issuer's keys. Never locked while a fetch is made.
#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// When `keys` were read.
    read_ms: u64,
    /// When the last fetch began.
    asked_ms: Option<u64>,
    is_fetching: bool,
}

/// What to do with a token, by what is known.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Judge it by these keys.
    Judge(Arc<KeySet>),
    /// Fetch first, then judge by what there is then.
    Fetch,
    /// Somebody else fetches, and without the outcome nothing can be said.
    Wait,
    /// There are no keys and none can be had now.
    Unreachable,
}

impl State {
    /// Decides for a token whose key is in `keys` if `knows` says so.
    fn plan(&self, knows: impl Fn(&KeySet) -> bool, now_ms: u64) -> Plan {
        let may_ask =
            self.asked_ms.is_none_or(|asked_ms| asked_ms.saturating_add(OIDC_REFETCH_MS_MIN) <= now_ms);
        let usable = |keys: &&Arc<KeySet>| {
            !keys.is_empty() && now_ms < self.read_ms.saturating_add(OIDC_KEYS_STALE_MS_MAX)
        };
        let Some(keys) = self.keys.as_ref().filter(usable) else {
            return match (self.is_fetching, may_ask) {
                (true, _) => Plan::Wait,
                (false, true) => Plan::Fetch,
                (false, false) => Plan::Unreachable,
            };
        };
        let is_old = self.read_ms.saturating_add(OIDC_KEYS_LIFE_MS) <= now_ms;
        match (knows(keys), self.is_fetching) {
            (true, false) if is_old && may_ask => Plan::Fetch,
            (true, _) => Plan::Judge(keys.clone()),
            (false, true) => Plan::Wait,
            (false, false) if may_ask => Plan::Fetch,
            (false, false) => Plan::Judge(keys.clone()),
        }
    }
}

/// What one look at a token on the control pool gave.
enum Looked {
    Done(Result<WebIdentity, OidcFault>),
    /// Another fetch is under way.
    Wait,
}

impl Issuer {
    /// Takes an issuer as it was given; fetches nothing yet. Reads the certificate authorities: to be called before the
    /// cores start. `say` writes one line for the operator.
    pub fn new(config: &OidcConfig, say: fn(&str)) -> Result<Issuer, OidcConfigError> {
        if !is_safe(&config.issuer) || config.issuer.contains(['?', '#']) {
            return Err(OidcConfigError::Address { issuer: config.issuer.clone() });
        }
        if config.audiences.is_empty() {
            return Err(OidcConfigError::NoAudience);
        }
        let is_empty = config.claim.is_empty() || config.audiences.iter().any(String::is_empty);
        if is_empty || OIDC_AUDIENCES_MAX < config.audiences.len() {
            return Err(OidcConfigError::Value);
        }
        let ca = config.ca.as_deref();
        let fetcher = Fetcher::new(ca).map_err(|why: CaFault| OidcConfigError::Ca {
            path: ca.unwrap_or(Path::new("")).to_owned(),
            why: why.to_string(),
        })?;
        let expected = Expected {
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            claim: config.claim.clone(),
        };
        Ok(Issuer { expected, fetcher, state: Mutex::default(), say })
    }

    /// Its address, as tokens name it.
    pub fn url(&self) -> &str {
        &self.expected.issuer
    }

    /// Whom `token` speaks of, once its signature and its claims hold.
    pub async fn verify(self: &Arc<Self>, token: &str, now_ms: u64) -> Result<WebIdentity, OidcFault> {
        // What cannot be a token takes no turn of the pool.
        Parts::of(token).map(drop)?;
        let token: Arc<str> = token.into();
        let asked_us = rt::monotonic_us();
        loop {
            let (issuer, text) = (self.clone(), token.clone());
            match rt::blocking(move || issuer.look(&text, now_ms)).await {
                Ok(Looked::Done(outcome)) => return outcome,
                Ok(Looked::Wait) => {}
                Err(_) => return Err(OidcFault::Busy),
            }
            // A fetch is two documents.
            let waited_us = rt::monotonic_us().saturating_sub(asked_us);
            if OIDC_FETCH_TIME_MAX * 2 < Duration::from_micros(waited_us) {
                return Err(OidcFault::Unreachable);
            }
            rt::sleep(ASK_AGAIN).await;
        }
    }

    /// Judges a token by what is known, after a fetch if that is due. Blocks.
    fn look(&self, token: &str, now_ms: u64) -> Looked {
        let parts = match Parts::of(token) {
            Ok(parts) => parts,
            Err(fault) => return Looked::Done(Err(fault.into())),
        };
        let keys = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.plan(|keys| parts.has_key(keys), now_ms) {
                Plan::Judge(keys) => Some(keys),
                Plan::Wait => return Looked::Wait,
                Plan::Unreachable => return Looked::Done(Err(OidcFault::Unreachable)),
                Plan::Fetch => {
                    state.is_fetching = true;
                    state.asked_ms = Some(now_ms);
                    None
                }
            }
        };
        match keys.or_else(|| self.fetch(now_ms)) {
            Some(keys) => Looked::Done(parts.verify(&keys, &self.expected, now_ms).map_err(OidcFault::from)),
            None => Looked::Done(Err(OidcFault::Unreachable)),
        }
    }

    /// Fetches the keys; the last known ones when that fails and they are not too old.
    fn fetch(&self, now_ms: u64) -> Option<Arc<KeySet>> {
        let fetched = self.fetcher.keys(&self.expected.issuer);
        // Whoever reads the operator's lines may be slow, and no other token is to wait for that.
        if let Err(fault) = &fetched {
            (self.say)(&format!("keys of the OpenID Connect issuer: {fault}"));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_fetching = false;
        if let Ok(keys) = fetched {
            state.read_ms = now_ms;
            state.keys = Some(Arc::new(keys));
        }
        let is_usable = now_ms < state.read_ms.saturating_add(OIDC_KEYS_STALE_MS_MAX);
        state.keys.clone().filter(|_| is_usable)
    }
}

/// Reads arbitrary bytes as a token, as its claims and as a key set: nothing may panic, and no token is true.
pub fn fuzz_oidc(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let keys = KeySet::parse(input).unwrap_or_default();
    if let Ok(parts) = Parts::of(&text) {
        let expected =
            Expected { issuer: "i".to_owned(), audiences: vec!["a".to_owned()], claim: "policy".to_owned() };
        parts.verify(&keys, &expected, 0).expect_err("no key signed it");
    }
    jwt::fuzz_claims(input);
}

#[cfg(test)]
mod tests;
