//! Signing keys derived from secrets, kept so that a request costs one HMAC and not five.
//!
//! One per core, asked and filled by the verification. I1. At most [`SIGNING_KEYS_MAX`] keys in each of two
//! generations. I2. A key is served only for the secret it was derived from, so a replaced secret takes effect at once.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::generations::Generations;
use crate::limits::SIGNING_KEYS_MAX;

/// A key ready to sign with: HMAC-SHA256 with its key schedule done.
pub(super) type SigningMac = Hmac<Sha256>;

/// The derived keys of one core.
pub struct SigningKeyCache(Generations<Entry>);

struct Entry {
    secret: Box<str>,
    mac: SigningMac,
}

impl SigningKeyCache {
    /// Makes an empty cache.
    pub fn new() -> Self {
        SigningKeyCache(Generations::new(SIGNING_KEYS_MAX))
    }

    /// Finds the key for a whole credential (`access key/date/region/service/aws4_request`).
    pub(super) fn find(&mut self, credential: &str, secret: &str) -> Option<SigningMac> {
        self.0.get(credential)?.serve(secret)
    }

    /// Keeps a key that a right signature was made with.
    pub(super) fn keep(&mut self, credential: &str, secret: &str, mac: &SigningMac) {
        self.0.insert(credential.into(), Entry { secret: secret.into(), mac: mac.clone() });
    }
}

impl Default for SigningKeyCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    fn serve(&self, secret: &str) -> Option<SigningMac> {
        bool::from(self.secret.as_bytes().ct_eq(secret.as_bytes())).then(|| self.mac.clone())
    }
}

impl fmt::Debug for SigningKeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeyCache({:?})", self.0)
    }
}

/// Derives the key of one day, region and service from a secret.
pub(super) fn derive(secret: &str, date: &str, region: &str, service: &str) -> SigningMac {
    let mut key = [b"AWS4", secret.as_bytes()].concat();
    for step in [date, region, service, "aws4_request"] {
        key = sign(&mac_of(&key), step.as_bytes()).to_vec();
    }
    mac_of(&key)
}

/// Makes the HMAC of `message`.
pub(super) fn sign(mac: &SigningMac, message: &[u8]) -> [u8; 32] {
    let mut mac = mac.clone();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Prepares HMAC-SHA256 with a key.
pub(super) fn mac_of(key: &[u8]) -> SigningMac {
    SigningMac::new_from_slice(key).expect("HMAC takes keys of every length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_derivation() {
        // The example of AWS's "Deriving a signing key".
        let mac = derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam");
        let direct = mac_of(
            &hex::decode("f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d").expect("hex"),
        );
        assert_eq!(sign(&mac, b"x"), sign(&direct, b"x"));
    }

    #[test]
    fn bounded_and_true_to_the_secret() {
        let mut cache = SigningKeyCache::new();
        let mac = mac_of(b"k");
        for i in 0..SIGNING_KEYS_MAX * 5 {
            cache.keep(&format!("c{i}"), "s", &mac);
            assert!(cache.find("c0", "s").is_some(), "a key in use stays");
        }
        assert!(cache.find("c1", "s").is_none());
        assert!(cache.find("c0", "other").is_none());
    }
}
