//! The master keys that the operator gives: a file, or the environment. Pure.
//!
//! A line is `id:base64 of 32 bytes`; empty lines and those that begin with `#` count for nothing. The first key seals, all of them
//! open: to change it, put the new one first, start, and take the old one away once that start has come to its end.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::limits::{MASTER_KEY_ID_BYTES_MAX, MASTER_KEYS_MAX};
use crate::sse::seal::{KEY_BYTES, Key, key_of};

/// A key with its name.
#[derive(Clone)]
pub struct MasterKey {
    /// Its name, which what it sealed carries.
    pub id: String,
    /// The key.
    pub key: Key,
}

/// All of them; there is at least one.
#[derive(Clone)]
pub struct MasterKeys(Vec<MasterKey>);

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// Why master keys cannot be taken. Nothing of a key is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeyFault {
    /// There is none.
    Missing,
    /// A line is not `id:base64`.
    Line {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two keys have one name.
    Twice {
        /// The name.
        id: String,
    },
    /// More than [`MASTER_KEYS_MAX`].
    TooMany,
}

impl fmt::Display for MasterKeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = "a line is NAME:BASE64, as `nilas kms master-key` makes one";
        match self {
            MasterKeyFault::Missing => write!(f, "there is no master key: {form}"),
            MasterKeyFault::Line { number, why } => write!(f, "line {number}: {why}: {form}"),
            MasterKeyFault::Twice { id } => write!(f, "two master keys are named {id}"),
            MasterKeyFault::TooMany => write!(f, "more than MASTER_KEYS_MAX ({MASTER_KEYS_MAX}) master keys"),
        }
    }
}

impl std::error::Error for MasterKeyFault {}

impl MasterKeys {
    /// Reads the lines of a file, or of a variable.
    pub fn parse(text: &str) -> Result<MasterKeys, MasterKeyFault> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why| MasterKeyFault::Line { number, why };
            let (id, base64) = line.split_once(':').ok_or(bad("there is no colon"))?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if id.is_empty() || MASTER_KEY_ID_BYTES_MAX < id.len() || !id.bytes().all(is_name) {
                return Err(bad("the name is not 1 to 64 letters, digits, dots, hyphens and underscores"));
            }
            let decoded = STANDARD.decode(base64.trim()).map(Zeroizing::new);
            let decoded = decoded.map_err(|_| bad("what follows the colon is no base64"))?;
            let key = key_of(&decoded).ok_or(bad("the key does not have 32 bytes"))?;
            if keys.iter().any(|other| other.id == id) {
                return Err(MasterKeyFault::Twice { id: id.to_owned() });
            }
            if keys.len() == MASTER_KEYS_MAX {
                return Err(MasterKeyFault::TooMany);
            }
            keys.push(MasterKey { id: id.to_owned(), key });
        }
        if keys.is_empty() { Err(MasterKeyFault::Missing) } else { Ok(MasterKeys(keys)) }
    }

    /// The one that seals.
    pub fn first(&self) -> &MasterKey {
        self.0.first().expect("there is one")
    }

    /// The one of a name.
    pub fn of(&self, id: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// A line with a new key.
pub fn new_line(id: &str, random: fn() -> u128) -> Zeroizing<String> {
    let key = crate::sse::seal::random_key(random);
    let base64 = Zeroizing::new(STANDARD.encode(key.as_slice()));
    debug_assert!(key.len() == KEY_BYTES);
    Zeroizing::new(format!("{id}:{}", base64.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::seal::tests::random;

    #[test]
    fn lines() {
        let (one, two) = (new_line("one", random), new_line("two", random));
        let text = format!("# newest first\n\n{}\n  {}  \n", two.as_str(), one.as_str());
        let keys = MasterKeys::parse(&text).expect("keys");
        assert_eq!((keys.first().id.as_str(), format!("{keys:?}").as_str()), ("two", "[\"two\", \"one\"]"));
        assert!(keys.of("one").is_some_and(|key| key.key != keys.first().key));
        assert!(keys.of("three").is_none());
        let check = |text: &str, want: &str| {
            let fault = MasterKeys::parse(text).expect_err(text).to_string();
            assert!(fault.contains(want), "{fault}");
        };
        check("", "there is no master key");
        check("# none\n", "there is no master key");
        check("AAAA", "line 1: there is no colon");
        check("\na b:AAAA", "line 2: the name");
        check(":AAAA", "the name");
        check("a:!", "no base64");
        check("a:AAAA", "32 bytes");
        check(&format!("{}\n{}", one.as_str(), one.as_str()), "two master keys are named one");
        let many: String = (0..=MASTER_KEYS_MAX)
            .map(|nth| new_line(&format!("k{nth}"), random).to_string() + "\n")
            .collect();
        check(&many, "MASTER_KEYS_MAX");
    }
}
