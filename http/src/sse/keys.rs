//! The named keys of a store, and their records: each has one or more versions, all of them sealed under a master key. Pure.
//!
//! `store` loads and writes the records. [`S3_KEY`] seals the keys of objects that ask for `AES256`, the others those of `aws:kms`. The
//! newest version seals, all of them open, so that turning to a new one rewrites nothing.
//!
//! A record has the name of its key as key, and is JSON: `v` 1, `created_ms`, and `versions` from the oldest on, each with `n`, `created_ms`,
//! the `master` that it is sealed under, and `sealed`. I1. A version opens in its own place of its own store only. I2. Records of a newer version
//! are refused, and left as they are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits::{KMS_KEY_NAME_BYTES_MAX, KMS_KEY_VERSIONS_MAX};
use crate::sse::master::MasterKeys;
use crate::sse::seal::{Key, SealedKey, open_key, random_key, seal_key};

/// The key of `AES256`. Nobody may make or name one so.
pub const S3_KEY: &str = "sse-s3";
/// The key of `aws:kms` that names none; made when it is first needed.
pub const DEFAULT_KEY: &str = "default";

const RECORD_VERSION: u64 = 1;

/// A named key.
#[derive(Clone)]
pub struct NamedKey {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// From the oldest on; there is at least one.
    pub versions: Vec<KeyVersion>,
}

/// One of its versions.
#[derive(Clone)]
pub struct KeyVersion {
    /// Its number, from 1, ascending.
    pub number: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The master key that it is sealed under.
    pub master: String,
    /// The key.
    pub key: Key,
}

/// All named keys.
#[derive(Clone, Default)]
pub struct Keys(pub BTreeMap<String, Arc<NamedKey>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is sealed under a master key that was not given.
    MasterMissing {
        /// Its name.
        id: String,
    },
    /// The master key of that name is not the one that it is sealed under.
    MasterOther {
        /// Its name.
        id: String,
    },
    /// It was written by a newer program.
    Version(u64),
    /// It is no record.
    Malformed,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::MasterMissing { id } => write!(
                f,
                "objects of this store are encrypted under the master key {id}, which was not given; nothing was changed. Give it by \
                 --master-key-file or NILAS_MASTER_KEY: see docs/encryption.md, \"A lost master key\""
            ),
            KeyFault::MasterOther { id } => write!(
                f,
                "the master key {id} is another one than objects of this store are encrypted under; nothing was changed. Give the \
                 key that had this name before, and a new key under a new name: see docs/encryption.md, \"A lost master key\""
            ),
            KeyFault::Version(version) => {
                write!(f, "an encryption key has a record of version {version}, of a newer program")
            }
            KeyFault::Malformed => f.write_str("the record of an encryption key is damaged"),
        }
    }
}

impl std::error::Error for KeyFault {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u64,
    created_ms: u64,
    versions: Vec<VersionRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionRecord {
    n: u32,
    created_ms: u64,
    master: String,
    sealed: String,
}

#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

fn bound(store: u128, name: &str, number: u32) -> Vec<u8> {
    [b"nilas named key 1\0".as_slice(), &store.to_le_bytes(), &number.to_le_bytes(), name.as_bytes()].concat()
}

impl NamedKey {
    /// A key with one version, sealed under the first master key.
    pub fn new(masters: &MasterKeys, now_ms: u64, random: fn() -> u128) -> NamedKey {
        let first = KeyVersion {
            number: 1,
            created_ms: now_ms,
            master: masters.first().id.clone(),
            key: random_key(random),
        };
        NamedKey { created_ms: now_ms, versions: vec![first] }
    }

    /// The same with one more version, which seals from now on; `None` at [`KMS_KEY_VERSIONS_MAX`].
    pub fn turned(&self, masters: &MasterKeys, now_ms: u64, random: fn() -> u128) -> Option<NamedKey> {
        let number = self.newest().number.checked_add(1)?;
        let newest = KeyVersion {
            number,
            created_ms: now_ms,
            master: masters.first().id.clone(),
            key: random_key(random),
        };
        let versions: Vec<_> = self.versions.iter().cloned().chain([newest]).collect();
        (versions.len() <= KMS_KEY_VERSIONS_MAX).then_some(NamedKey { versions, ..*self })
    }

    /// The same, sealed under the first master key; `None` when it is that already.
    pub fn under(&self, masters: &MasterKeys) -> Option<NamedKey> {
        let first = &masters.first().id;
        if self.versions.iter().all(|version| version.master == *first) {
            return None;
        }
        let sealed = |version: &KeyVersion| KeyVersion { master: first.clone(), ..version.clone() };
        Some(NamedKey { created_ms: self.created_ms, versions: self.versions.iter().map(sealed).collect() })
    }

    /// The version that seals.
    pub fn newest(&self) -> &KeyVersion {
        self.versions.last().expect("there is one")
    }

    /// The version of a number.
    pub fn version(&self, number: u32) -> Option<&KeyVersion> {
        let at = self.versions.binary_search_by_key(&number, |version| version.number).ok()?;
        self.versions.get(at)
    }

    /// Its record: all versions must be under master keys that are given (asserted).
    pub fn encode(&self, store: u128, name: &str, masters: &MasterKeys, random: fn() -> u128) -> Bytes {
        let sealed = |version: &KeyVersion| {
            let master = masters.of(&version.master).expect("a key that was opened or made under it");
            let sealed = seal_key(&master.key, &bound(store, name, version.number), &version.key, random);
            VersionRecord {
                n: version.number,
                created_ms: version.created_ms,
                master: version.master.clone(),
                sealed: STANDARD_NO_PAD.encode(sealed),
            }
        };
        let versions = self.versions.iter().map(sealed).collect();
        let record = Record { v: RECORD_VERSION, created_ms: self.created_ms, versions };
        serde_json::to_vec(&record).expect("texts and numbers can be written").into()
    }

    /// Opens the record that [`NamedKey::encode`] made; without master keys none opens.
    pub fn decode(
        value: &[u8],
        store: u128,
        name: &str,
        masters: Option<&MasterKeys>,
    ) -> Result<NamedKey, KeyFault> {
        let Versioned { v } = serde_json::from_slice(value).map_err(|_| KeyFault::Malformed)?;
        if v != RECORD_VERSION {
            return Err(KeyFault::Version(v));
        }
        let record: Record = serde_json::from_slice(value).map_err(|_| KeyFault::Malformed)?;
        let mut versions: Vec<KeyVersion> = Vec::with_capacity(record.versions.len());
        for VersionRecord { n, created_ms, master, sealed } in record.versions {
            if versions.last().map_or(0, |before| before.number) >= n {
                return Err(KeyFault::Malformed);
            }
            let Some(given) = masters.and_then(|masters| masters.of(&master)) else {
                return Err(KeyFault::MasterMissing { id: master });
            };
            let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| KeyFault::Malformed)?;
            let sealed = SealedKey::try_from(sealed).map_err(|_| KeyFault::Malformed)?;
            let Some(key) = open_key(&given.key, &bound(store, name, n), &sealed) else {
                return Err(KeyFault::MasterOther { id: master });
            };
            versions.push(KeyVersion { number: n, created_ms, master, key });
        }
        if versions.is_empty() {
            return Err(KeyFault::Malformed);
        }
        Ok(NamedKey { created_ms: record.created_ms, versions })
    }
}

/// Whether a key of `aws:kms` may have this name.
pub fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= KMS_KEY_NAME_BYTES_MAX && name.bytes().all(fits) && name != S3_KEY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::master::new_line;
    use crate::sse::seal::tests::random;

    fn masters(lines: &[&str]) -> MasterKeys {
        MasterKeys::parse(&lines.join("\n")).expect("keys")
    }

    #[test]
    fn records_open_under_their_master_key_in_their_place() {
        let (old, new, other) = (new_line("old", random), new_line("new", random), new_line("old", random));
        let first = masters(&[&old]);
        let key = NamedKey::new(&first, 5, random).turned(&first, 7, random).expect("room");
        let record = key.encode(1, "k", &first, random);
        let decode =
            |store, name: &str, masters: Option<&MasterKeys>| NamedKey::decode(&record, store, name, masters);
        let same = |a: &NamedKey, b: &NamedKey| {
            a.versions
                .iter()
                .map(|v| (v.number, v.key.clone()))
                .eq(b.versions.iter().map(|v| (v.number, v.key.clone())))
        };
        let opened = decode(1, "k", Some(&first)).expect("opens");
        assert!(same(&opened, &key) && opened.version(1).is_some() && opened.version(3).is_none());
        assert_ne!(opened.versions[0].key, opened.newest().key);
        let is_other = |got: Result<NamedKey, KeyFault>| {
            assert_eq!(got.err(), Some(KeyFault::MasterOther { id: "old".to_owned() }));
        };
        is_other(decode(2, "k", Some(&first)));
        is_other(decode(1, "l", Some(&first)));
        is_other(decode(1, "k", Some(&masters(&[&other]))));
        let is_missing = |got: Result<NamedKey, KeyFault>| {
            assert_eq!(got.err(), Some(KeyFault::MasterMissing { id: "old".to_owned() }));
        };
        is_missing(decode(1, "k", None));
        is_missing(decode(1, "k", Some(&masters(&[&new]))));

        let both = masters(&[&new, &old]);
        let turned = decode(1, "k", Some(&both)).expect("opens").under(&both).expect("a new master key");
        let record = turned.encode(1, "k", &both, random);
        let opened =
            NamedKey::decode(&record, 1, "k", Some(&masters(&[&new]))).expect("the old one is not needed");
        assert!(same(&opened, &key) && opened.under(&both).is_none());
    }

    #[test]
    fn records_of_others() {
        let masters = masters(&[&new_line("a", random)]);
        let check = |value: &[u8], want: KeyFault| {
            assert_eq!(NamedKey::decode(value, 1, "k", Some(&masters)).err(), Some(want));
        };
        check(b"", KeyFault::Malformed);
        check(b"{\"v\":1}", KeyFault::Malformed);
        check(b"{\"v\":1,\"created_ms\":1,\"versions\":[]}", KeyFault::Malformed);
        check(b"{\"v\":2,\"other\":1}", KeyFault::Version(2));
        let sealed = "{\"v\":1,\"created_ms\":1,\"versions\":[{\"n\":1,\"created_ms\":1,\"master\":\"a\",\"sealed\":\"AAAA\"}]}";
        check(sealed.as_bytes(), KeyFault::Malformed);
    }

    #[test]
    fn names() {
        assert!(is_name("orders-2026") && is_name(DEFAULT_KEY) && is_name("a.b_c"));
        for bad in ["", S3_KEY, "a/b", "a b", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(!is_name(&"k".repeat(KMS_KEY_NAME_BYTES_MAX + 1)));
    }
}
