//! Keys made of the root secret, and the sealing of secrets at rest.
//!
//! `process::core` derives [`SealKeys`] once; `session` and `bearer` take their token keys from it, `store` keeps the
//! [`SecretRing`] and seals the secrets of access keys with it. Pure: randomness is an argument.
//!
//! I1. Every purpose has a key of its own: HKDF-SHA-256 of the root secret with the store's id as salt and the purpose as
//! label, so that no key says anything of another, and none is of use in another store. I2. Secrets are sealed under
//! random keys of the ring, each with a generation, and the ring under the root secret. To turn to a new root secret is
//! one small record, old or new; then all secrets are sealed anew under a key that the old root secret never sealed. I3. A
//! sealed secret opens in its own record only. I4. Nothing here shows a secret, and memory of keys is wiped.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::identity::model::{Sealer, Secret};
use crate::identity::session::TokenKey;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const RING_LABEL: &[u8] = b"nilas secrets at rest 1";
const SESSION_LABEL: &[u8] = b"nilas session tokens 1";
const BEARER_LABEL: &[u8] = b"nilas bearer tokens 2";
/// The version of the ring's record.
const RING_VERSION: u64 = 1;

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// What is derived from a root secret for one store.
#[derive(Clone)]
pub struct SealKeys {
    ring: Key,
    session: TokenKey,
    bearer: TokenKey,
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKeys(..)")
    }
}

impl SealKeys {
    /// Derives the keys of `root_secret` for the store of that id.
    pub fn derive(root_secret: &str, store: u128) -> SealKeys {
        let extracted = extract(&store.to_le_bytes(), root_secret.as_bytes());
        let of = |purpose: &[u8]| expand(&extracted, purpose);
        SealKeys {
            ring: of(RING_LABEL),
            session: TokenKey::new(*of(SESSION_LABEL)),
            bearer: TokenKey::new(*of(BEARER_LABEL)),
        }
    }

    /// The key of session tokens.
    pub fn session_key(&self) -> &TokenKey {
        &self.session
    }

    /// The key of bearer tokens.
    pub fn bearer_key(&self) -> &TokenKey {
        &self.bearer
    }
}

/// HKDF's first step (RFC 5869, 2.2).
fn extract(salt: &[u8], secret: &[u8]) -> Key {
    hmac(salt, &[secret])
}

/// HKDF's second step for one block of output (RFC 5869, 2.3).
fn expand(extracted: &Key, label: &[u8]) -> Key {
    hmac(extracted.as_slice(), &[label, &[1]])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// The keys that secrets at rest are sealed with, the newest last. There are two while secrets are sealed anew.
#[derive(Clone)]
pub struct SecretRing {
    keys: Vec<RingKey>,
    random: fn() -> u128,
}

#[derive(Clone)]
struct RingKey {
    generation: u64,
    key: Key,
}

/// Why a stored ring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingFault {
    /// It is sealed under another root secret.
    OtherSecret,
    /// It has another version, of a newer program.
    Version(u64),
    /// It is no ring; the text says why.
    Malformed(String),
}

impl fmt::Display for RingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingFault::OtherSecret => f.write_str("sealed under another root secret"),
            RingFault::Version(version) => write!(f, "version {version}, of a newer program"),
            RingFault::Malformed(why) => f.write_str(why),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingRecord {
    v: u64,
    keys: Vec<RingEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingEntry {
    generation: u64,
    sealed: String,
}

/// What every version begins with.
#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

impl fmt::Debug for SecretRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations = self.keys.iter().map(|key| key.generation);
        f.debug_list().entries(generations).finish()
    }
}

impl SecretRing {
    /// Makes a ring of one random key.
    pub fn new(random: fn() -> u128) -> SecretRing {
        SecretRing { keys: vec![RingKey { generation: 1, key: random_key(random) }], random }
    }

    /// The same with one more random key, which seals from now on; the older ones still open.
    pub fn turned(&self) -> SecretRing {
        let generation = self.keys.last().map_or(0, |newest| newest.generation) + 1;
        let newest = RingKey { generation, key: random_key(self.random) };
        SecretRing { keys: self.keys.iter().cloned().chain([newest]).collect(), random: self.random }
    }

    /// The newest key alone: for when nothing is sealed under the older ones any more.
    pub fn settled(&self) -> SecretRing {
        SecretRing { keys: self.keys.last().cloned().into_iter().collect(), random: self.random }
    }

    /// Whether secrets may be sealed under older keys than the newest.
    pub fn is_turning(&self) -> bool {
        1 < self.keys.len()
    }

    /// The bytes of its record, sealed under the root secret.
    pub fn encode(&self, root: &SealKeys) -> Bytes {
        let entry = |held: &RingKey| RingEntry {
            generation: held.generation,
            sealed: seal(&root.ring, &ring_aad(held.generation), held.key.as_slice(), self.random),
        };
        let record = RingRecord { v: RING_VERSION, keys: self.keys.iter().map(entry).collect() };
        serde_json::to_vec(&record).expect("texts and numbers can be written").into()
    }

    /// Opens the record that [`SecretRing::encode`] made for the same root secret.
    pub fn decode(value: &[u8], root: &SealKeys, random: fn() -> u128) -> Result<SecretRing, RingFault> {
        let malformed = |why: serde_json::Error| RingFault::Malformed(why.to_string());
        let Versioned { v } = serde_json::from_slice(value).map_err(malformed)?;
        if v != RING_VERSION {
            return Err(RingFault::Version(v));
        }
        let record: RingRecord = serde_json::from_slice(value).map_err(malformed)?;
        let mut keys: Vec<RingKey> = Vec::with_capacity(record.keys.len());
        for RingEntry { generation, sealed } in record.keys {
            if keys.last().is_some_and(|before| generation <= before.generation) {
                return Err(RingFault::Malformed("generations do not ascend".to_owned()));
            }
            let opened = open(&root.ring, &ring_aad(generation), &sealed).ok_or(RingFault::OtherSecret)?;
            let key = <[u8; KEY_BYTES]>::try_from(opened.as_slice());
            let key = key.map_err(|_| RingFault::Malformed("a key of another length".to_owned()))?;
            keys.push(RingKey { generation, key: Zeroizing::new(key) });
        }
        match keys.is_empty() {
            true => Err(RingFault::Malformed("no key".to_owned())),
            false => Ok(SecretRing { keys, random }),
        }
    }
}

/// A sealed secret is `generation.base64(nonce and ciphertext)`.
impl Sealer for SecretRing {
    fn seal(&self, record_key: &[u8], secret: &Secret) -> String {
        let newest = self.keys.last().expect("a ring has a key");
        let aad = secret_aad(newest.generation, record_key);
        let sealed = seal(&newest.key, &aad, secret.expose().as_bytes(), self.random);
        format!("{}.{sealed}", newest.generation)
    }

    fn unseal(&self, record_key: &[u8], sealed: &str) -> Option<Secret> {
        let (generation, sealed) = sealed.split_once('.')?;
        let generation: u64 = generation.parse().ok()?;
        let held = self.keys.iter().find(|held| held.generation == generation)?;
        let opened = open(&held.key, &secret_aad(generation, record_key), sealed)?;
        Some(Secret::new(std::str::from_utf8(&opened).ok()?))
    }
}

fn ring_aad(generation: u64) -> Vec<u8> {
    [b"nilas key of the ring\0".as_slice(), &generation.to_le_bytes()].concat()
}

fn secret_aad(generation: u64, record_key: &[u8]) -> Vec<u8> {
    [b"nilas secret\0".as_slice(), &generation.to_le_bytes(), record_key].concat()
}

fn seal(key: &Key, aad: &[u8], msg: &[u8], random: fn() -> u128) -> String {
    let drawn = [random().to_le_bytes(), random().to_le_bytes()].concat();
    let nonce = &drawn[..NONCE_BYTES];
    let cipher = XChaCha20Poly1305::new(key.as_slice().try_into().expect("32 bytes"));
    let sealed = cipher
        .encrypt(&XNonce::try_from(nonce).expect("24 bytes"), Payload { msg, aad })
        .expect("secrets are short");
    STANDARD_NO_PAD.encode([nonce, &sealed].concat())
}

fn open(key: &Key, aad: &[u8], sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
    let (nonce, msg) = bytes.split_at_checked(NONCE_BYTES)?;
    let cipher = XChaCha20Poly1305::new(key.as_slice().try_into().ok()?);
    cipher.decrypt(&XNonce::try_from(nonce).ok()?, Payload { msg, aad }).ok().map(Zeroizing::new)
}

fn random_key(random: fn() -> u128) -> Key {
    let mut key = Key::default();
    for half in key.chunks_exact_mut(16) {
        half.copy_from_slice(&random().to_le_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Other bits at each call.
    fn random() -> u128 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    /// Test case 1 of RFC 5869, of which 32 bytes are one block.
    #[test]
    fn derived_as_in_the_rfc() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let extracted = extract(&salt, &[0x0b; 22]);
        assert_eq!(
            hex::encode(extracted.as_slice()),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        );
        let label: Vec<u8> = (0xf0..=0xf9).collect();
        assert_eq!(
            hex::encode(expand(&extracted, &label).as_slice()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    #[test]
    fn every_purpose_secret_and_store_has_its_own_key() {
        let of = |secret: &str, store: u128| {
            let extracted = extract(&store.to_le_bytes(), secret.as_bytes());
            [RING_LABEL, SESSION_LABEL, BEARER_LABEL].map(|label| *expand(&extracted, label))
        };
        let all: Vec<_> = [of("a", 1), of("b", 1), of("a", 2)].concat();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(of("a", 1), of("a", 1));
    }

    #[test]
    fn a_secret_opens_in_its_record_and_with_its_ring() {
        let ring = SecretRing::new(random);
        let secret = Secret::new("wJalrXUtnFEMI");
        let sealed = ring.seal(b"\x22NILASA", &secret);
        assert_eq!(ring.unseal(b"\x22NILASA", &sealed), Some(secret.clone()));
        assert_eq!(ring.unseal(b"\x22NILASB", &sealed), None, "another record");
        assert_eq!(SecretRing::new(random).unseal(b"\x22NILASA", &sealed), None, "another ring");
        assert!(!sealed.contains("wJalr"));
        assert_ne!(sealed, ring.seal(b"\x22NILASA", &secret), "a nonce of its own");
        let turned = ring.turned();
        assert_eq!(turned.unseal(b"\x22NILASA", &sealed), Some(secret.clone()), "still opened");
        let anew = turned.seal(b"\x22NILASA", &secret);
        assert_eq!(turned.settled().unseal(b"\x22NILASA", &anew), Some(secret));
        assert_eq!(turned.settled().unseal(b"\x22NILASA", &sealed), None, "its key is gone");
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).expect("ascii");
            assert_eq!(ring.unseal(b"\x22NILASA", &altered), None, "{at}");
            assert_eq!(ring.unseal(b"\x22NILASA", &sealed[..at]), None);
        }
    }

    #[test]
    fn a_ring_opens_under_its_root_secret() {
        let (old, new) = (SealKeys::derive("old", 7), SealKeys::derive("new", 7));
        let ring = SecretRing::new(random);
        let sealed = ring.seal(b"k", &Secret::new("s"));
        let value = ring.encode(&old);
        let decode = |value: &[u8], root: &SealKeys| SecretRing::decode(value, root, random);
        let opened = decode(&value, &old).expect("the same root secret");
        assert_eq!(opened.unseal(b"k", &sealed), Some(Secret::new("s")));
        assert_eq!(decode(&value, &new).err(), Some(RingFault::OtherSecret));
        assert_eq!(
            decode(&value, &SealKeys::derive("old", 8)).err(),
            Some(RingFault::OtherSecret),
            "of another store"
        );
        let turned = opened.turned();
        let value = turned.encode(&new);
        assert_eq!(decode(&value, &old).err(), Some(RingFault::OtherSecret));
        let opened = decode(&value, &new).expect("the new root secret");
        assert!(opened.is_turning() && !opened.settled().is_turning());
        assert_eq!(format!("{opened:?} {new:?}"), "[1, 2] SealKeys(..)");
        let check = |value: &[u8]| assert!(matches!(decode(value, &new), Err(RingFault::Malformed(_))));
        check(b"");
        check(b"{\"v\":1,\"keys\":[]}");
        check(b"{\"v\":1,\"keys\":[],\"more\":1}");
        assert_eq!(decode(b"{\"v\":2,\"other\":1}", &new).err(), Some(RingFault::Version(2)));
    }
}
