//! Ids of entities and access keys, made of random bits.

use sha2::{Digest as _, Sha256};

use crate::identity::model::{Moment, Secret};

/// Letters of ids, as AWS has them.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Letters of access keys that are made here: no two look alike.
const KEY_LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Letters of an id behind its prefix, of five bits each.
const ID_LETTERS: usize = 17;
/// Letters of an access key behind its prefix.
const KEY_ID_LETTERS: usize = 15;
/// Letters of a secret: 200 bits.
const SECRET_LETTERS: usize = 40;

/// What an id begins with, as AWS has it.
pub(super) const USER: &str = "AIDA";
/// The same for groups.
pub(super) const GROUP: &str = "AGPA";
/// The same for managed policies.
pub(super) const POLICY: &str = "ANPA";
/// What an access key begins with.
pub(super) const ACCESS_KEY: &str = "NILAS";
/// What access keys of sessions begin with; no key of a user does.
pub(super) const SESSION_KEY: &str = "NILT";

/// Makes an id that `is_taken` does not know.
pub(super) fn new_id(prefix: &str, moment: &Moment<'_>, is_taken: impl Fn(&str) -> bool) -> String {
    loop {
        let id = format!("{prefix}{}", letters(ID_LETTERS, LETTERS, moment));
        if !is_taken(&id) {
            return id;
        }
    }
}

/// Makes the id of an access key.
pub(super) fn new_access_key(moment: &Moment<'_>, is_taken: impl Fn(&str) -> bool) -> String {
    loop {
        let id = format!("{ACCESS_KEY}{}", letters(KEY_ID_LETTERS, KEY_LETTERS, moment));
        if !is_taken(&id) {
            return id;
        }
    }
}

/// Makes a secret.
pub(super) fn new_secret(moment: &Moment<'_>) -> Secret {
    Secret::new(letters(SECRET_LETTERS, KEY_LETTERS, moment))
}

/// What an id has behind its prefix, made of a name.
pub(super) fn of_name(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(ID_LETTERS).map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}

/// `count` letters of five random bits each.
fn letters(count: usize, alphabet: &[u8; 32], moment: &Moment<'_>) -> String {
    let mut text = String::with_capacity(count);
    let (mut bits, mut left) = (0_u128, 0);
    while text.len() < count {
        if left < 5 {
            (bits, left) = ((moment.random)(), 128);
        }
        let letter = usize::try_from(bits & 31).expect("five bits");
        text.push(char::from(alphabet[letter]));
        bits >>= 5;
        left -= 5;
    }
    text
}
