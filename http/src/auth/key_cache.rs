//! Signing keys derived from secrets, kept so that a request costs one HMAC and not five.
//!
//! One per core, asked and filled by the verification. I1. At most [`SIGNING_KEYS_MAX`] keys in each of two
//! generations: a full young generation becomes the old one, and keys still used move back.
//! I2. A key is served only for the secret it was derived from, so a replaced secret takes effect at once.

use std::collections::HashMap;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::limits::SIGNING_KEYS_MAX;

/// A key ready to sign with: HMAC-SHA256 with its key schedule done.
pub(super) type SigningMac = Hmac<Sha256>;

/// The derived keys of one core.
#[derive(Default)]
pub struct SigningKeyCache {
    young: HashMap<Box<str>, Entry>,
    old: HashMap<Box<str>, Entry>,
}

struct Entry {
    secret: Box<str>,
    mac: SigningMac,
}

impl SigningKeyCache {
    /// Makes an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the key for a whole credential (`access key/date/region/service/aws4_request`).
    pub(super) fn find(&mut self, credential: &str, secret: &str) -> Option<SigningMac> {
        if let Some(entry) = self.young.get(credential) {
            return entry.serve(secret);
        }
        let (name, entry) = self.old.remove_entry(credential)?;
        let mac = entry.serve(secret)?;
        self.insert(name, entry);
        Some(mac)
    }

    /// Keeps a key that a right signature was made with.
    pub(super) fn keep(&mut self, credential: &str, secret: &str, mac: &SigningMac) {
        self.insert(credential.into(), Entry { secret: secret.into(), mac: mac.clone() });
    }

    fn insert(&mut self, credential: Box<str>, entry: Entry) {
        if self.young.len() >= SIGNING_KEYS_MAX && !self.young.contains_key(&credential) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(credential, entry);
    }
}

impl Entry {
    fn serve(&self, secret: &str) -> Option<SigningMac> {
        bool::from(self.secret.as_bytes().ct_eq(secret.as_bytes())).then(|| self.mac.clone())
    }
}

impl fmt::Debug for SigningKeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyCache")
            .field("young", &self.young.len())
            .field("old", &self.old.len())
            .finish()
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
            assert!(cache.young.len() <= SIGNING_KEYS_MAX && cache.old.len() <= SIGNING_KEYS_MAX);
        }
        assert!(cache.find("c1", "s").is_none());
        assert!(cache.find("c0", "other").is_none());
    }
}
