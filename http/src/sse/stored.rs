//! What is kept with an object, or an open upload, of how it is encrypted: a field of its attributes. Pure.
//!
//! kind `u8` · plain bytes `u64` · the object's key, sealed (76) · version of the named key `u32` · flags `u8` · length and name of the
//! named key · context, to the end. Of a customer's key nothing is kept: that it opens the object's key shows that it is the one.
//! I1. `decode` takes any bytes without panic. I2. The plain size stands where [`peek_plain_bytes`] finds it.

use crate::sse::seal::{Key, SEALED_BYTES, SealedKey, open_key, seal_key};

/// Whose the key is that an object's key is sealed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Under {
    /// The store's own: `AES256`.
    S3 {
        /// Which version of it.
        version: u32,
    },
    /// The sender's: every request brings it.
    Customer,
    /// A named one: `aws:kms`.
    Kms {
        /// Its name.
        name: String,
        /// Which version of it.
        version: u32,
        /// The encryption context, as canonical JSON; empty for none.
        context: String,
        /// What the object was stored with, and is shown with.
        bucket_key: bool,
    },
}

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// Under which key.
    pub under: Under,
    /// Bytes of the object; 0 for an open upload.
    pub plain_bytes: u64,
    /// Its own key.
    pub sealed: SealedKey,
}

const S3: u8 = 1;
const CUSTOMER: u8 = 2;
const KMS: u8 = 3;
const BUCKET_KEY: u8 = 1;

impl Under {
    fn kind(&self) -> u8 {
        match self {
            Under::S3 { .. } => S3,
            Under::Customer => CUSTOMER,
            Under::Kms { .. } => KMS,
        }
    }

    /// Whether the tag of an object is the MD5 of its bytes.
    pub fn keeps_md5(&self) -> bool {
        matches!(self, Under::S3 { .. })
    }

    /// What the object's key is bound to: it opens in its bucket, and as it says it was made. Not to the object's name, which may
    /// be changed.
    fn bound(&self, bucket: &str) -> Vec<u8> {
        let mut bound = b"nilas object key 1\0".to_vec();
        bound.push(self.kind());
        let mut push = |part: &[u8]| {
            bound.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            bound.extend_from_slice(part);
        };
        push(bucket.as_bytes());
        match self {
            Under::Customer => {}
            Under::S3 { version } => push(&version.to_le_bytes()),
            Under::Kms { name, version, context, bucket_key: _ } => {
                push(&version.to_le_bytes());
                push(name.as_bytes());
                push(context.as_bytes());
            }
        }
        bound
    }
}

impl Encryption {
    /// Seals `key`, that of an object or upload in `bucket`, under `upper`.
    pub fn seal(under: Under, bucket: &str, upper: &Key, key: &Key, random: fn() -> u128) -> Encryption {
        let sealed = seal_key(upper, &under.bound(bucket), key, random);
        Encryption { under, plain_bytes: 0, sealed }
    }

    /// The object's key; `None` when `upper` is another key, or the object of another bucket.
    pub fn open(&self, bucket: &str, upper: &Key) -> Option<Key> {
        open_key(upper, &self.under.bound(bucket), &self.sealed)
    }

    /// As a field.
    pub fn encode(&self) -> Vec<u8> {
        let (version, flags, name, context) = match &self.under {
            Under::S3 { version } => (*version, 0, "", ""),
            Under::Customer => (0, 0, "", ""),
            Under::Kms { name, version, context, bucket_key } => {
                (*version, if *bucket_key { BUCKET_KEY } else { 0 }, name.as_str(), context.as_str())
            }
        };
        let mut out = Vec::with_capacity(96 + name.len() + context.len());
        out.push(self.under.kind());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.extend_from_slice(&self.sealed);
        out.extend_from_slice(&version.to_le_bytes());
        out.push(flags);
        out.push(u8::try_from(name.len()).expect("names of keys are short"));
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(context.as_bytes());
        out
    }

    /// Reads what [`Encryption::encode`] wrote.
    pub fn decode(field: &[u8]) -> Option<Encryption> {
        let (kind, rest) = field.split_first()?;
        let (plain_bytes, rest) = rest.split_first_chunk::<8>()?;
        let (sealed, rest) = rest.split_first_chunk::<SEALED_BYTES>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first()?;
        let (name_bytes, rest) = rest.split_first()?;
        let (name, context) = rest.split_at_checked(usize::from(*name_bytes))?;
        let version = u32::from_le_bytes(*version);
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let bare = name.is_empty() && context.is_empty() && *flags == 0;
        let under = match *kind {
            S3 if bare => Under::S3 { version },
            CUSTOMER if bare && version == 0 => Under::Customer,
            KMS if *flags <= BUCKET_KEY => Under::Kms {
                name: text(name)?,
                version,
                context: text(context)?,
                bucket_key: *flags == BUCKET_KEY,
            },
            _ => return None,
        };
        Some(Encryption { under, plain_bytes: u64::from_le_bytes(*plain_bytes), sealed: *sealed })
    }
}

/// The plain bytes of an object by its field alone.
pub fn peek_plain_bytes(field: &[u8]) -> Option<u64> {
    let bytes = field.get(1..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::seal::random_key;
    use crate::sse::seal::tests::random;

    fn all() -> [Under; 3] {
        let kms = Under::Kms {
            name: "orders".to_owned(),
            version: 3,
            context: "{\"a\":\"b\"}".to_owned(),
            bucket_key: true,
        };
        [Under::S3 { version: 7 }, Under::Customer, kms]
    }

    #[test]
    fn fields() {
        for under in all() {
            let key = random_key(random);
            let upper = random_key(random);
            let made =
                Encryption { plain_bytes: 5 << 30, ..Encryption::seal(under, "b", &upper, &key, random) };
            let field = made.encode();
            assert_eq!(Encryption::decode(&field), Some(made.clone()));
            assert_eq!(peek_plain_bytes(&field), Some(5 << 30));
            assert_eq!(made.open("b", &upper), Some(key.clone()));
            assert_eq!((made.open("c", &upper), made.open("b", &key)), (None, None));
            for at in 0..field.len() {
                drop(Encryption::decode(&field[..at]));
                let mut altered = field.clone();
                altered[at] ^= 1;
                // What is not bound is the size, which the bytes show, and how the object is shown.
                let opened = Encryption::decode(&altered).and_then(|altered| altered.open("b", &upper));
                assert!(opened.is_none() || (1..9).contains(&at) || at == 9 + SEALED_BYTES + 4, "{at}");
            }
        }
    }
}
