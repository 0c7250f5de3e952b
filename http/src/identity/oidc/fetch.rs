//! What an issuer publishes, read over HTTP: its discovery document, then its keys.
//!
//! `Issuer` calls it on the control pool: it blocks for up to [`OIDC_FETCH_TIME_MAX`] each. I1. Nothing is read from an
//! address that is neither `https` nor `http` on loopback, and no redirect is followed. I2. What is read is bounded.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use http::Uri;
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::identity::oidc::jwks::KeySet;
use crate::limits::{OIDC_DOCUMENT_BYTES_MAX, OIDC_FETCH_TIME_MAX};

/// Where distributions keep the certificate authorities that they trust.
const SYSTEM_CA: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why an issuer's keys are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFault {
    /// The address is not one that keys may come from.
    Address {
        /// The address.
        url: String,
    },
    /// No answer, or one that is no success.
    Transport {
        /// The address.
        url: String,
        /// Why.
        why: String,
    },
    /// The answer has over [`OIDC_DOCUMENT_BYTES_MAX`] bytes.
    TooLarge {
        /// The address.
        url: String,
    },
    /// The answer is not what it should be.
    Content {
        /// The address.
        url: String,
        /// What is missing in it.
        what: &'static str,
    },
    /// The discovery document speaks of another issuer.
    OtherIssuer {
        /// The one it names.
        named: String,
    },
}

impl fmt::Display for FetchFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchFault::Address { url } => {
                write!(f, "{url} is neither https nor http on loopback")
            }
            FetchFault::Transport { url, why } => write!(f, "{url}: {why}"),
            FetchFault::TooLarge { url } => {
                write!(f, "{url}: over OIDC_DOCUMENT_BYTES_MAX ({OIDC_DOCUMENT_BYTES_MAX})")
            }
            FetchFault::Content { url, what } => write!(f, "{url}: {what}"),
            FetchFault::OtherIssuer { named } => {
                write!(f, "the discovery document names another issuer: {named:?}")
            }
        }
    }
}

/// Why the certificate authorities cannot be had.
#[derive(Debug)]
pub(super) enum CaFault {
    /// The file cannot be read.
    File(std::io::Error),
    /// It holds no certificate.
    Empty,
}

impl fmt::Display for CaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaFault::File(e) => write!(f, "{e}"),
            CaFault::Empty => write!(f, "it holds no PEM certificate"),
        }
    }
}

/// Reads the documents of one issuer.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    agent: Agent,
}

impl Fetcher {
    /// Trusts the authorities of `ca`; without it those of the system, and on a machine that has none those of Mozilla.
    /// Reads files: to be called before the cores start.
    pub(super) fn new(ca: Option<&Path>) -> Result<Fetcher, CaFault> {
        let roots = match ca {
            Some(path) => RootCerts::from(certificates(path)?),
            None => match SYSTEM_CA.iter().find_map(|path| certificates(Path::new(path)).ok()) {
                Some(found) => RootCerts::from(found),
                None => RootCerts::WebPki,
            },
        };
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_global(Some(OIDC_FETCH_TIME_MAX))
            .max_redirects(0)
            .max_redirects_will_error(true)
            .proxy(None)
            .max_idle_connections(0)
            .build();
        Ok(Fetcher { agent: config.new_agent() })
    }

    /// Reads what `issuer` publishes now.
    pub(super) fn keys(&self, issuer: &str) -> Result<KeySet, FetchFault> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = self.read(&url)?;
        let content = |what| FetchFault::Content { url: url.clone(), what };
        let document: Value = serde_json::from_slice(&document).map_err(|_| content("not JSON"))?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let named = text("issuer").ok_or_else(|| content("it names no issuer"))?;
        if named != issuer {
            return Err(FetchFault::OtherIssuer { named: named.chars().take(200).collect() });
        }
        let keys_url = text("jwks_uri").ok_or_else(|| content("it has no jwks_uri"))?;
        let keys = self.read(keys_url)?;
        let what = "no key set, or none with a key that can be used, or too many keys";
        KeySet::parse(&keys).ok_or_else(|| FetchFault::Content { url: keys_url.to_owned(), what })
    }

    fn read(&self, url: &str) -> Result<Vec<u8>, FetchFault> {
        if !is_safe(url) {
            return Err(FetchFault::Address { url: url.chars().take(200).collect() });
        }
        let failed = |why: String| FetchFault::Transport { url: url.to_owned(), why };
        let response = self.agent.get(url).call().map_err(|e| failed(e.to_string()))?;
        // A redirect is an answer here, and no document.
        if response.status() != http::StatusCode::OK {
            return Err(failed(format!("status {}", response.status())));
        }
        let mut document = Vec::new();
        let most = OIDC_DOCUMENT_BYTES_MAX as u64 + 1;
        let mut body = response.into_body().into_reader().take(most);
        body.read_to_end(&mut document).map_err(|e| failed(e.to_string()))?;
        if OIDC_DOCUMENT_BYTES_MAX < document.len() {
            return Err(FetchFault::TooLarge { url: url.to_owned() });
        }
        Ok(document)
    }
}

/// Whether keys may come from an address: over TLS, or from this machine.
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    match scheme {
        "https" => true,
        "http" => matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    }
}

#[expect(clippy::disallowed_methods, reason = "before the cores start")]
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CaFault> {
    let pem = std::fs::read(path).map_err(CaFault::File)?;
    let found: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() { Err(CaFault::Empty) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn where_keys_may_come_from() {
        let check = |url: &str, want: bool| assert_eq!(is_safe(url), want, "{url}");
        check("https://id.example.com/realms/r", true);
        check("http://127.0.0.1:8080/realms/r", true);
        check("http://localhost:8080", true);
        check("http://[::1]:8080/x", true);
        check("http://id.example.com", false);
        check("http://127.0.0.1.example.com", false);
        check("http://localhost@example.com/", false);
        check("http://user@127.0.0.1/", false);
        check("ftp://127.0.0.1/", false);
        check("file:///etc/passwd", false);
        check("127.0.0.1:8080", false);
        check("", false);
    }
}
