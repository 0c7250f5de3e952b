//! What is kept with an object besides its bytes, ETag, size and time, as the compact bytes that the engine stores.
//!
//! Written by PutObject, CopyObject and the multipart operations, and by the catalog for the files it writes; read by
//! everything that answers about an object. With an upload it holds what the object will get, with a part the part's
//! checksum. Pure.
//!
//! Layout, integers little-endian:
//! `version u8 = 1` · `checksum` · `fields`
//! - checksum: `algorithm u8` (0: none, and nothing else of it follows) · `kind u8` · `len u8` · value ·
//!   `part count u16` · the parts' values, all of the algorithm's length.
//! - fields, to the end: `tag u8` · `len u16` · bytes; user metadata as `len u16` · name · value within the bytes, tags as
//!   [`TagSet`] has them; retention as milliseconds `u64` · mode, and a legal hold without bytes, only with uploads; encryption as
//!   [`Encryption`] has it, before all others; the CRC-64/NVME of the plain bytes as `u64`, only with encrypted parts.
//!
//! I1. `decode` takes any bytes without panic, and `decode(encode(a)) == a`.
//! I2. Empty bytes are attributes without anything in them.
//! I3. The checksum stands first, so that a listing reads three bytes of an entry.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use nilas_engine::{Lock, Retention, RetentionMode};

use crate::body::{Algorithm, Checksum};
use crate::s3::checksum::{Kind, StoredChecksum, code, from_code};
use crate::sse::stored::{Encryption, peek_plain_bytes};
use crate::tag_set::TagSet;

const VERSION: u8 = 1;

/// Bytes of one field: the 64 KiB that its length can say.
const FIELD_BYTES_MAX: usize = u16::MAX as usize;

/// Everything that S3 keeps with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The checksum of the bytes, if there is one.
    pub checksum: Option<StoredChecksum>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as sent.
    pub expires: Option<String>,
    /// `x-amz-storage-class`, when it is not `STANDARD`.
    pub storage_class: Option<String>,
    /// What the object of an upload will be locked with. Of objects the engine keeps it, and here it is none.
    pub lock: Lock,
    /// It was said that no legal hold keeps it, which is shown; without that nothing is. While it has one this says nothing.
    pub hold_off: bool,
    /// `x-amz-meta-…`: lower-case names without the prefix, and decoded values, in the order sent.
    pub user_metadata: Vec<(String, String)>,
    /// The tags of the object.
    pub tags: TagSet,
    /// How the object is encrypted, or that of an upload will be.
    pub encryption: Option<Encryption>,
    /// CRC-64/NVME of the plain bytes of an encrypted part.
    pub plain_crc64nvme: Option<u64>,
}

/// Stored bytes that are no attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesError {
    /// Written by a newer server.
    Version {
        /// The version found.
        got: u8,
    },
    /// A value that does not belong where it stands.
    Malformed {
        /// Bytes that were left when it was found.
        remaining: usize,
    },
}

impl fmt::Display for AttributesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributesError::Version { got } => write!(f, "attributes of version {got}, expected {VERSION}"),
            AttributesError::Malformed { remaining } => {
                write!(f, "malformed attributes, {remaining} bytes before their end")
            }
        }
    }
}

impl std::error::Error for AttributesError {}

/// Gives the attributes of a JSON file, such as the catalog's metadata files.
pub fn json() -> Bytes {
    Attributes { content_type: Some("application/json".to_owned()), ..Attributes::default() }.encode()
}

mod tag {
    pub(super) const CONTENT_TYPE: u8 = 1;
    pub(super) const CONTENT_ENCODING: u8 = 2;
    pub(super) const CONTENT_DISPOSITION: u8 = 3;
    pub(super) const CONTENT_LANGUAGE: u8 = 4;
    pub(super) const CACHE_CONTROL: u8 = 5;
    pub(super) const EXPIRES: u8 = 6;
    pub(super) const STORAGE_CLASS: u8 = 7;
    pub(super) const USER_METADATA: u8 = 8;
    pub(super) const TAGS: u8 = 9;
    pub(super) const RETENTION: u8 = 10;
    pub(super) const LEGAL_HOLD: u8 = 11;
    pub(super) const ENCRYPTION: u8 = 12;
    pub(super) const PLAIN_CRC64NVME: u8 = 13;
    pub(super) const HOLD_OFF: u8 = 15;
}

impl Attributes {
    /// Bytes of all names and values. Whoever takes them from a request bounds this before encoding.
    pub fn text_bytes(&self) -> usize {
        let fields: usize = self.fields().iter().filter_map(|(_, field)| field.map(String::len)).sum();
        let tags: usize = self.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        let metadata = self.user_metadata.iter().map(|(name, value)| name.len() + value.len());
        fields + tags + metadata.sum::<usize>()
    }

    /// Encodes for the engine. A field of 64 KiB or more is a bug of the caller (asserted).
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        match &self.checksum {
            None => out.put_u8(0),
            Some(checksum) => encode_checksum(checksum, &mut out),
        }
        if let Some(encryption) = &self.encryption {
            put_field(&mut out, tag::ENCRYPTION, &[&encryption.encode()]);
        }
        if let Some(crc) = self.plain_crc64nvme {
            put_field(&mut out, tag::PLAIN_CRC64NVME, &[&crc.to_le_bytes()]);
        }
        for (tag, field) in self.fields() {
            if let Some(text) = field {
                put_field(&mut out, tag, &[text.as_bytes()]);
            }
        }
        if let Some(Retention { mode, until_ms }) = &self.lock.retention {
            put_field(&mut out, tag::RETENTION, &[&until_ms.to_le_bytes(), mode.name().as_bytes()]);
        }
        if self.lock.legal_hold {
            put_field(&mut out, tag::LEGAL_HOLD, &[]);
        }
        if self.hold_off {
            put_field(&mut out, tag::HOLD_OFF, &[]);
        }
        for (name, value) in &self.user_metadata {
            // A name that does not fit makes a field that does not fit, which is asserted.
            let name_bytes = u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes();
            put_field(&mut out, tag::USER_METADATA, &[&name_bytes, name.as_bytes(), value.as_bytes()]);
        }
        if !self.tags.is_empty() {
            put_field(&mut out, tag::TAGS, &[&self.tags.encode()]);
        }
        out.freeze()
    }

    /// Decodes what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Attributes, AttributesError> {
        let mut rest = bytes;
        let mut attributes = Attributes::default();
        if rest.is_empty() {
            return Ok(attributes);
        }
        match rest.get_u8() {
            VERSION => {}
            got => return Err(AttributesError::Version { got }),
        }
        attributes.checksum =
            decode_checksum(&mut rest).ok_or(AttributesError::Malformed { remaining: rest.len() })?;
        while !rest.is_empty() {
            let remaining = rest.len();
            attributes.decode_field(&mut rest).ok_or(AttributesError::Malformed { remaining })?;
        }
        Ok(attributes)
    }

    fn decode_field(&mut self, rest: &mut &[u8]) -> Option<()> {
        let tag = take(rest, 1)?.first().copied()?;
        let len = usize::from(u16::from_le_bytes(take(rest, 2)?.try_into().ok()?));
        let mut value = take(rest, len)?;
        if tag == tag::USER_METADATA {
            let name_len = u16::from_le_bytes(take(&mut value, 2)?.try_into().ok()?);
            let name = text(take(&mut value, usize::from(name_len))?)?;
            self.user_metadata.push((name, text(value)?));
            return Some(());
        }
        match tag {
            tag::TAGS => {
                self.tags = TagSet::decode(value)?;
                return Some(());
            }
            tag::RETENTION => {
                let until_ms = u64::from_le_bytes(take(&mut value, 8)?.try_into().ok()?);
                let mode = RetentionMode::parse(std::str::from_utf8(value).ok()?)?;
                self.lock.retention = Some(Retention { mode, until_ms });
                return Some(());
            }
            tag::ENCRYPTION => {
                self.encryption = Some(Encryption::decode(value)?);
                return Some(());
            }
            tag::PLAIN_CRC64NVME => {
                self.plain_crc64nvme = Some(u64::from_le_bytes(value.try_into().ok()?));
                return Some(());
            }
            tag::LEGAL_HOLD if value.is_empty() => {
                self.lock.legal_hold = true;
                return Some(());
            }
            tag::HOLD_OFF if value.is_empty() => {
                self.hold_off = true;
                return Some(());
            }
            _ => {}
        }
        *self.field_mut(tag)? = Some(text(value)?);
        Some(())
    }

    fn fields(&self) -> [(u8, Option<&String>); 7] {
        [
            (tag::CONTENT_TYPE, self.content_type.as_ref()),
            (tag::CONTENT_ENCODING, self.content_encoding.as_ref()),
            (tag::CONTENT_DISPOSITION, self.content_disposition.as_ref()),
            (tag::CONTENT_LANGUAGE, self.content_language.as_ref()),
            (tag::CACHE_CONTROL, self.cache_control.as_ref()),
            (tag::EXPIRES, self.expires.as_ref()),
            (tag::STORAGE_CLASS, self.storage_class.as_ref()),
        ]
    }

    fn field_mut(&mut self, tag: u8) -> Option<&mut Option<String>> {
        Some(match tag {
            tag::CONTENT_TYPE => &mut self.content_type,
            tag::CONTENT_ENCODING => &mut self.content_encoding,
            tag::CONTENT_DISPOSITION => &mut self.content_disposition,
            tag::CONTENT_LANGUAGE => &mut self.content_language,
            tag::CACHE_CONTROL => &mut self.cache_control,
            tag::EXPIRES => &mut self.expires,
            tag::STORAGE_CLASS => &mut self.storage_class,
            _ => return None,
        })
    }
}

/// Reads algorithm and kind of the checksum alone, for listings; nothing when there is none or the bytes are foreign.
pub fn checksum_kind(bytes: &[u8]) -> Option<(Algorithm, Kind)> {
    match bytes {
        [VERSION, algorithm, kind, ..] => Some((from_code(*algorithm)?, Kind::from_code(*kind)?)),
        _ => None,
    }
}

/// What a listing says of an object by its attributes, beside its checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed<'a> {
    /// `x-amz-storage-class`.
    pub storage_class: Option<&'a str>,
    /// Its bytes, when it is encrypted and so takes more.
    pub plain_bytes: Option<u64>,
}

/// Finds what listings show, without taking the rest apart.
pub fn listed(bytes: &[u8]) -> Listed<'_> {
    let mut listed = Listed::default();
    // Ends with the last field, or where the bytes are foreign.
    let _end = scan(bytes, |tag, value| {
        match tag {
            tag::STORAGE_CLASS => listed.storage_class = std::str::from_utf8(value).ok(),
            tag::ENCRYPTION => listed.plain_bytes = peek_plain_bytes(value),
            _ => {}
        }
        // It stands behind the other one.
        tag == tag::STORAGE_CLASS
    });
    listed
}

/// Finds the bytes of an encrypted object alone; nothing for others.
pub fn plain_bytes(bytes: &[u8]) -> Option<u64> {
    let mut found = None;
    let _end = scan(bytes, |tag, value| {
        if tag == tag::ENCRYPTION {
            found = peek_plain_bytes(value);
        }
        // It is the first field, if it is there.
        true
    });
    found
}

/// Walks over the fields until `visit` says that it is enough.
fn scan<'a>(bytes: &'a [u8], mut visit: impl FnMut(u8, &'a [u8]) -> bool) -> Option<()> {
    let mut rest = bytes.get(1..)?;
    if let stored @ 1.. = take(&mut rest, 1)?.first().copied()? {
        let algorithm = from_code(stored)?;
        let len = usize::from(take(&mut rest, 2)?.last().copied()?);
        take(&mut rest, len)?;
        let count = usize::from(u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?));
        take(&mut rest, count * algorithm.value_bytes())?;
    }
    loop {
        let tag = take(&mut rest, 1)?.first().copied()?;
        let len = usize::from(u16::from_le_bytes(take(&mut rest, 2)?.try_into().ok()?));
        let value = take(&mut rest, len)?;
        if visit(tag, value) {
            return Some(());
        }
    }
}

fn encode_checksum(checksum: &StoredChecksum, out: &mut BytesMut) {
    let value = checksum.value.as_ref().map_or(&[][..], Checksum::as_bytes);
    out.put_u8(code(checksum.algorithm));
    out.put_u8(checksum.kind.code());
    out.put_u8(u8::try_from(value.len()).expect("no checksum is longer than 64 bytes"));
    out.put_slice(value);
    out.put_u16_le(u16::try_from(checksum.parts.len()).expect("an upload has at most 10,000 parts"));
    for part in &checksum.parts {
        assert!(part.algorithm() == checksum.algorithm);
        out.put_slice(part.as_bytes());
    }
}

/// The outer `None` is malformed, the inner one no checksum.
fn decode_checksum(rest: &mut &[u8]) -> Option<Option<StoredChecksum>> {
    let stored = take(rest, 1)?.first().copied()?;
    if stored == 0 {
        return Some(None);
    }
    let algorithm = from_code(stored)?;
    let kind = Kind::from_code(take(rest, 1)?.first().copied()?)?;
    let len = usize::from(take(rest, 1)?.first().copied()?);
    let value = match take(rest, len)? {
        [] => None,
        bytes => Some(Checksum::new(algorithm, bytes)?),
    };
    let count = usize::from(u16::from_le_bytes(take(rest, 2)?.try_into().ok()?));
    let parts = take(rest, count * algorithm.value_bytes())?;
    let parts = parts.chunks_exact(algorithm.value_bytes()).filter_map(|part| Checksum::new(algorithm, part));
    Some(Some(StoredChecksum { algorithm, kind, value, parts: parts.collect() }))
}

fn put_field(out: &mut BytesMut, tag: u8, pieces: &[&[u8]]) {
    let len: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert!(len <= FIELD_BYTES_MAX);
    out.put_u8(tag);
    out.put_u16_le(u16::try_from(len).expect("asserted above"));
    for piece in pieces {
        out.put_slice(piece);
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Fuzz entry: any bytes decode or are refused, and what decodes encodes to something that decodes to the same.
pub fn fuzz_attributes(input: &[u8]) {
    let (kind, _, plain) = (checksum_kind(input), listed(input), plain_bytes(input));
    if let Ok(attributes) = Attributes::decode(input) {
        // Of a field given twice, decoding takes the last; nothing we write has that.
        let class = listed(input).storage_class;
        assert_eq!(class.is_some(), attributes.storage_class.is_some());
        assert!(plain.is_none() || attributes.encryption.is_some());
        assert_eq!(kind, attributes.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)));
        assert_eq!(Attributes::decode(&attributes.encode()), Ok(attributes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(attributes: &Attributes) {
        let bytes = attributes.encode();
        assert_eq!(Attributes::decode(&bytes).as_ref(), Ok(attributes));
        for len in 0..bytes.len() {
            fuzz_attributes(&bytes[..len]);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0xff;
            fuzz_attributes(&damaged);
        }
    }

    fn encryption() -> Encryption {
        let key = crate::sse::seal::Key::default();
        let under = crate::sse::stored::Under::S3 { version: 1 };
        let sealed = Encryption::seal(under, "b", &key, &key, || 7);
        Encryption { plain_bytes: 70_000, ..sealed }
    }

    fn full() -> Attributes {
        Attributes {
            checksum: Some(StoredChecksum {
                algorithm: Algorithm::Crc32,
                kind: Kind::Composite,
                value: Checksum::new(Algorithm::Crc32, &[1, 2, 3, 4]),
                parts: Checksum::new(Algorithm::Crc32, &[5, 6, 7, 8]).into_iter().cycle().take(2).collect(),
            }),
            content_type: Some("text/plain; charset=utf-8".into()),
            content_encoding: Some("gzip".into()),
            content_disposition: Some("attachment; filename=\"é\"".into()),
            content_language: Some("de".into()),
            cache_control: Some("no-cache".into()),
            expires: Some("0".into()),
            storage_class: Some("STANDARD_IA".into()),
            lock: Lock {
                retention: Some(Retention { mode: RetentionMode::Compliance, until_ms: 1 << 41 }),
                legal_hold: true,
            },
            hold_off: true,
            user_metadata: vec![("a".into(), String::new()), ("naïve".into(), "v é".into())],
            tags: crate::tag_set::from_header("team=data&empty").expect("tags"),
            encryption: Some(encryption()),
            plain_crc64nvme: Some(9),
        }
    }

    #[test]
    fn round_trips() {
        check(&Attributes::default());
        check(&full());
        check(&Attributes {
            checksum: Some(StoredChecksum {
                algorithm: Algorithm::Sha256,
                kind: Kind::Composite,
                value: None,
                parts: vec![],
            }),
            ..Attributes::default()
        });
    }

    #[test]
    fn peeks() {
        assert_eq!(checksum_kind(&full().encode()), Some((Algorithm::Crc32, Kind::Composite)));
        let shown = Listed { storage_class: Some("STANDARD_IA"), plain_bytes: Some(70_000) };
        assert_eq!((listed(&full().encode()), plain_bytes(&full().encode())), (shown, Some(70_000)));
        assert_eq!(
            (listed(&json()), plain_bytes(&json()), plain_bytes(b"")),
            (Listed::default(), None, None)
        );
        assert_eq!(checksum_kind(&json()), None);
        assert_eq!(checksum_kind(b""), None);
        let decoded = Attributes::decode(&json()).expect("own bytes");
        assert_eq!(decoded.content_type.as_deref(), Some("application/json"));
        assert_eq!(Attributes::decode(b""), Ok(Attributes::default()));
        assert_eq!(Attributes::decode(&[9]), Err(AttributesError::Version { got: 9 }));
    }
}
