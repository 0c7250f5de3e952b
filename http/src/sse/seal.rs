//! A key sealed under another one: what `keys` does with named keys under a master key, and `s3::encryption` with an object's key
//! under a named key or a customer's.
//!
//! AES-256-GCM under a key of its own for each sealing: HMAC-SHA-256 of the upper key over a random salt. So the number of things that
//! are sealed under one key has no bound that a store could reach, as it would by random nonces of 96 bits alone. Pure:
//! randomness is an argument.

use hmac::{Hmac, Mac as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Bytes of a sealed key: salt, nonce, ciphertext, tag.
pub const SEALED_BYTES: usize = SALT_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

const LABEL: &[u8] = b"nilas key that seals a key 1";

/// A key of 256 bits, which is wiped when it goes.
pub type Key = Zeroizing<[u8; KEY_BYTES]>;

/// A key under another.
pub type SealedKey = [u8; SEALED_BYTES];

/// Makes a random key.
pub fn random_key(random: fn() -> u128) -> Key {
    let mut key = Key::default();
    for half in key.chunks_exact_mut(16) {
        half.copy_from_slice(&random().to_le_bytes());
    }
    key
}

/// Takes a key from as many bytes as it has.
pub fn key_of(bytes: &[u8]) -> Option<Key> {
    Some(Zeroizing::new(<[u8; KEY_BYTES]>::try_from(bytes).ok()?))
}

/// Seals `key` under `upper`; it opens with the same `bound` only.
pub fn seal_key(upper: &Key, bound: &[u8], key: &Key, random: fn() -> u128) -> SealedKey {
    let mut sealed = [0; SEALED_BYTES];
    let (salt, rest) = sealed.split_at_mut(SALT_BYTES);
    let (nonce, rest) = rest.split_at_mut(NONCE_BYTES);
    let (text, tag) = rest.split_at_mut(KEY_BYTES);
    salt.copy_from_slice(&random().to_le_bytes());
    nonce.copy_from_slice(&random().to_le_bytes()[..NONCE_BYTES]);
    text.copy_from_slice(key.as_slice());
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("12 bytes");
    let made = cipher(upper, salt).seal_in_place_separate_tag(nonce, Aad::from(bound), text);
    tag.copy_from_slice(made.expect("32 bytes are few").as_ref());
    sealed
}

/// Opens what [`seal_key`] made of the same `upper` and `bound`.
pub fn open_key(upper: &Key, bound: &[u8], sealed: &SealedKey) -> Option<Key> {
    let (salt, rest) = sealed.split_at(SALT_BYTES);
    let (nonce, text) = rest.split_at(NONCE_BYTES);
    let mut text = Zeroizing::new(<[u8; KEY_BYTES + TAG_BYTES]>::try_from(text).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let opened = cipher(upper, salt).open_in_place(nonce, Aad::from(bound), text.as_mut_slice()).ok()?;
    key_of(opened)
}

/// The key that seals one key.
fn cipher(upper: &Key, salt: &[u8]) -> LessSafeKey {
    let mut mac =
        <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(upper.as_slice()).expect("HMAC takes any key");
    mac.update(LABEL);
    mac.update(salt);
    let key = Key::new(mac.finalize().into_bytes().into());
    cipher_of(&key)
}

/// AES-256-GCM with a key.
pub(super) fn cipher_of(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes"))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Other bits at each call.
    pub(crate) fn random() -> u128 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    #[test]
    fn a_key_opens_under_its_own_and_as_it_was_bound() {
        let (upper, other, key) = (random_key(random), random_key(random), random_key(random));
        let sealed = seal_key(&upper, b"bound", &key, random);
        assert_eq!(open_key(&upper, b"bound", &sealed), Some(key.clone()));
        assert_eq!(open_key(&other, b"bound", &sealed), None);
        assert_eq!(open_key(&upper, b"Bound", &sealed), None);
        assert_ne!(sealed, seal_key(&upper, b"bound", &key, random), "a salt of its own");
        for at in 0..SEALED_BYTES {
            let mut altered = sealed;
            altered[at] ^= 1;
            assert_eq!(open_key(&upper, b"bound", &altered), None, "{at}");
        }
    }
}
