//! What is kept of a completed upload so that the same request again gets the same answer: which request it was, and what
//! it made.
//!
//! `complete_upload` has the engine keep it and reads it back. Pure.
//!
//! Layout: `version u8 = 1` · `request` (16) · `md5` (16) · `parts u16`, little-endian · attributes with nothing but the
//! object's checksum.
//!
//! I1. `decode` takes any bytes without panic. I2. A request is the same when key, parts with tags and checksums, and all
//! that the headers say of the object are the same.

use bytes::{BufMut, Bytes, BytesMut};
use nilas_engine::ETag;

use super::attributes::Attributes;
use super::checksum::StoredChecksum;
use super::request_xml::CompletedPart;
use crate::body::{Algorithm, checksum_of};

const VERSION: u8 = 1;

/// A request to complete an upload, by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDigest([u8; 16]);

impl RequestDigest {
    /// Of the object's key, the parts as named, and whatever else the request says of the object, as text.
    pub fn of(key: &[u8], parts: &[CompletedPart], more: &str) -> RequestDigest {
        let mut said = Vec::with_capacity(64 + parts.len() * 96);
        let mut say = |text: &[u8]| {
            said.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            said.extend_from_slice(text);
        };
        say(key);
        say(more.as_bytes());
        for part in parts {
            say(&part.number.to_le_bytes());
            say(part.etag.trim_matches('"').as_bytes());
            for (algorithm, value) in &part.checksums {
                say(algorithm.name().as_bytes());
                say(value.as_bytes());
            }
        }
        let digest = checksum_of(Algorithm::Sha256, &said);
        RequestDigest(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

/// What a completion made, and by which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The request.
    pub request: RequestDigest,
    /// The object's tag.
    pub etag: ETag,
    /// The object's checksum, without those of its parts.
    pub checksum: Option<StoredChecksum>,
}

impl Receipt {
    /// Encodes for the engine, in at most 80 bytes.
    pub fn encode(&self) -> Bytes {
        let checksum = self.checksum.clone().map(|checksum| StoredChecksum { parts: Vec::new(), ..checksum });
        let attributes = Attributes { checksum, ..Attributes::default() }.encode();
        let mut out = BytesMut::with_capacity(80);
        out.put_u8(VERSION);
        out.put_slice(&self.request.0);
        out.put_slice(&self.etag.md5);
        out.put_u16_le(self.etag.parts);
        out.put_slice(&attributes);
        out.freeze()
    }

    /// Decodes what [`encode`](Self::encode) wrote; `None` for anything else, which is as if nothing had been kept.
    pub fn decode(bytes: &[u8]) -> Option<Receipt> {
        let (version, rest) = bytes.split_first()?;
        let (request, rest) = rest.split_first_chunk::<16>()?;
        let (md5, rest) = rest.split_first_chunk::<16>()?;
        let (parts, rest) = rest.split_first_chunk::<2>()?;
        let checksum = Attributes::decode(rest).ok()?.checksum;
        let etag = ETag { md5: *md5, parts: u16::from_le_bytes(*parts) };
        (*version == VERSION).then_some(Receipt { request: RequestDigest(*request), etag, checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::checksum::Kind;
    use nilas_engine::limits::RECEIPT_BYTES_MAX;

    /// Any bytes are a receipt or are none, and what is one is encoded to one like it.
    fn decode_any(input: &[u8]) {
        if let Some(mut receipt) = Receipt::decode(input) {
            if let Some(checksum) = &mut receipt.checksum {
                checksum.parts.clear();
            }
            assert_eq!(Receipt::decode(&receipt.encode()), Some(receipt));
        }
    }

    #[test]
    fn round_trips() {
        let value = checksum_of(Algorithm::Sha256, b"x");
        let whole = StoredChecksum {
            kind: Kind::Composite,
            parts: vec![value; 9],
            ..StoredChecksum::of_bytes(value)
        };
        let request = RequestDigest::of(b"k", &[], "");
        let receipt =
            Receipt { request, etag: ETag { md5: [7; 16], parts: 9 }, checksum: Some(whole.clone()) };
        let bytes = receipt.encode();
        assert!(bytes.len() <= 80 && 80 <= RECEIPT_BYTES_MAX, "{}", bytes.len());
        let kept = Receipt { checksum: Some(StoredChecksum { parts: vec![], ..whole }), ..receipt };
        assert_eq!(Receipt::decode(&bytes), Some(kept));
        for at in 0..bytes.len() {
            decode_any(&bytes[..at]);
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0xff;
            decode_any(&damaged);
        }
        assert_eq!(Receipt::decode(&[2; 80]), None);
    }

    #[test]
    fn requests() {
        let part = |number, etag: &str| CompletedPart { number, etag: etag.into(), checksums: vec![] };
        let of = |key: &str, parts: &[CompletedPart], more| RequestDigest::of(key.as_bytes(), parts, more);
        let one = of("k", &[part(1, "\"e\"")], "");
        assert_eq!(one, of("k", &[part(1, "e")], ""), "quotes say nothing");
        let mut summed = part(1, "e");
        summed.checksums.push((Algorithm::Crc32, "AAAAAA==".into()));
        for other in [
            of("l", &[part(1, "e")], ""),
            of("k", &[part(2, "e")], ""),
            of("k", &[part(1, "f")], ""),
            of("k", &[part(1, "e"), part(2, "e")], ""),
            of("k", &[summed], ""),
            of("k", &[part(1, "e")], "x"),
            of("k", &[], ""),
        ] {
            assert_ne!(one, other);
        }
    }
}
