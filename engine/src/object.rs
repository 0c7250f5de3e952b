//! What the engine knows of an object besides its bytes, of versions, uploads, parts and listings, and the conditions a
//! write may carry: the values that `handle`, `shard` and `meta::index` share.
//!
//! The engine keeps attributes (content type, user metadata, checksums, …) as opaque bytes: the protocol above
//! writes and reads them. ETag, size and time are the engine's own, because conditions and listings need them.

use std::fmt;

use bytes::Bytes;

use crate::error::EngineError;
use crate::limits::{ATTRIBUTES_BYTES_MAX, KEY_BYTES_MAX, RECEIPT_BYTES_MAX};
use crate::lock::Lock;
use crate::mutant::{Mutant, seeded};
use crate::units::Sequence;

/// An S3 entity tag: the MD5 of the bytes, or of the parts' MD5s with the number of parts.
///
/// Source: Amazon S3 API, "Common response headers", `ETag`; the `-N` form is what AWS answers to multipart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ETag {
    /// The digest.
    pub md5: [u8; 16],
    /// Number of parts, 0 for an object put in one piece.
    pub parts: u16,
}

impl ETag {
    /// Parses `0123…ef` or `0123…ef-7`, without quotes.
    pub fn parse(text: &str) -> Option<ETag> {
        let (digits, parts) = match text.split_once('-') {
            Some((digits, parts)) => (digits, parts.parse::<u16>().ok().filter(|n| *n > 0)?),
            None => (text, 0),
        };
        let digits = digits.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut md5 = [0_u8; 16];
        for (byte, pair) in md5.iter_mut().zip(digits.chunks_exact(2)) {
            let text = std::str::from_utf8(pair).ok()?;
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            *byte = u8::from_str_radix(text, 16).ok()?;
        }
        Some(ETag { md5, parts })
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.md5 {
            write!(f, "{byte:02x}")?;
        }
        if self.parts > 0 {
            write!(f, "-{}", self.parts)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a version of a key is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionId {
    /// The null version: what is written without versions.
    Null,
    /// The one that this change made.
    Of(Sequence),
}

/// One object as the index knows it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The record that made it; unique in its shard.
    pub sequence: Sequence,
    /// Whether it is the null version of its key.
    pub is_null: bool,
    /// Bytes.
    pub size: u64,
    /// Time of the write, milliseconds since 1970-01-01 UTC.
    pub modified_ms: u64,
    /// Entity tag.
    pub etag: ETag,
    /// What the protocol above stored with it, at most `ATTRIBUTES_BYTES_MAX`.
    pub attributes: Bytes,
    /// What keeps it from being removed.
    pub lock: Lock,
}

impl ObjectInfo {
    /// What the version is called.
    pub fn version(&self) -> VersionId {
        if self.is_null { VersionId::Null } else { VersionId::Of(self.sequence) }
    }
}

/// A delete marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// What it is called.
    pub version: VersionId,
    /// When it was put, milliseconds since 1970-01-01 UTC.
    pub modified_ms: u64,
}

/// What a key has under a version's name, or now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// An object.
    Object(T),
    /// A delete marker.
    Marker(Marker),
    /// Neither.
    Nothing,
}

impl<T> Found<T> {
    /// The object, if it is one.
    pub fn object(self) -> Option<T> {
        match self {
            Found::Object(object) => Some(object),
            Found::Marker(_) | Found::Nothing => None,
        }
    }

    pub(crate) fn map<U>(self, object: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Found::Object(found) => Found::Object(object(found)),
            Found::Marker(marker) => Found::Marker(marker),
            Found::Nothing => Found::Nothing,
        }
    }
}

/// What must hold for a write to happen, checked again at the moment it takes its place in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PutCondition {
    /// Always.
    #[default]
    None,
    /// Only when the key has no object (`If-None-Match: *`).
    IfAbsent,
    /// Only when the key's object has one of these tags; an absent object is [`PutRefused::NoSuchKey`].
    IfMatch(Vec<ETag>),
    /// Only when the key has an object, whichever (`If-Match: *`).
    IfPresent,
    /// Only when the key's object is still that very one, with the attributes that it had: for who read it and writes it anew.
    IfSame {
        /// What made it.
        sequence: Sequence,
        /// What was kept with it.
        attributes: Bytes,
    },
}

impl PutCondition {
    /// Returns whether a write may replace an object with this tag (`None`: no object). Of [`PutCondition::IfSame`] it says
    /// only that there is one.
    pub fn check(&self, etag: Option<ETag>) -> Result<(), PutRefused> {
        match (self, etag) {
            (PutCondition::None, _)
            | (PutCondition::IfAbsent, None)
            | (PutCondition::IfPresent | PutCondition::IfSame { .. }, Some(_)) => Ok(()),
            (PutCondition::IfAbsent, Some(_)) => Err(PutRefused::PreconditionFailed),
            (PutCondition::IfPresent | PutCondition::IfMatch(_) | PutCondition::IfSame { .. }, None) => {
                Err(PutRefused::NoSuchKey)
            }
            (PutCondition::IfMatch(tags), Some(etag)) => {
                match tags.contains(&etag) || seeded(Mutant::MatchIgnored) {
                    true => Ok(()),
                    false => Err(PutRefused::PreconditionFailed),
                }
            }
        }
    }
}

/// Which version of its key a write makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewVersion {
    /// The null version, in place of the one that the key may have: what a bucket without versions writes.
    Null,
    /// One more, on top of those that the key has.
    Another,
    /// As the bucket's versioning says when the write takes its place.
    AsSet,
}

/// What a new object is besides its bytes.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// What must hold of the key.
    pub condition: PutCondition,
    /// Its tag.
    pub etag: ETag,
    /// Its attributes, at most `ATTRIBUTES_BYTES_MAX`.
    pub attributes: Bytes,
    /// Which version of its key it is.
    pub version: NewVersion,
    /// What keeps it from being removed.
    pub lock: Lock,
}

/// One key or version to remove.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The key.
    pub key: Bytes,
    /// The version that goes for good. Without one the key's object goes: as the bucket's versioning says, itself or by a
    /// delete marker on top of it.
    pub version: Option<VersionId>,
    /// What must hold of the key's object, or of the named version.
    pub condition: PutCondition,
    /// Whether governance mode is passed by.
    pub bypass: bool,
}

/// What became of a [`Removal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Whether something was removed.
    pub found: bool,
    /// Whether what was removed is a delete marker.
    pub was_marker: bool,
    /// The delete marker that was put.
    pub marker: Option<VersionId>,
}

/// What a version is to be from now on, besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its attributes, at most `ATTRIBUTES_BYTES_MAX`.
    pub attributes: Bytes,
    /// Its lock.
    pub lock: Lock,
    /// Whether governance mode is passed by.
    pub bypass: bool,
}

/// What a body is to become.
#[derive(Clone, Debug)]
pub enum Place {
    /// The object of this key.
    Object(Bytes),
    /// This part of an open upload.
    Part(UploadId, u16),
}

/// An object to be renamed within its bucket.
#[derive(Clone, Debug)]
pub struct Rename {
    /// Its key.
    pub key: Bytes,
    /// The key that it gets; what that has goes.
    pub to: Bytes,
    /// By what the request is recognised when it comes again, if it is to be.
    pub token: Option<RenameToken>,
}

/// What is kept of a [`Rename`], as of a completed upload and as long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenameToken {
    /// Its name; stands among the ids of uploads, and must not be one.
    pub id: UploadId,
    /// Which request it was, at most `RECEIPT_BYTES_MAX`.
    pub receipt: Bytes,
}

/// What became of a [`Rename`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// The object has its new key.
    Done(ObjectInfo),
    /// The same request did it before.
    Before,
    /// Another request had that token.
    TokenTaken,
}

/// Why a write was refused by its condition, or by the bucket's state. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutRefused {
    /// The bucket was deleted meanwhile.
    NoSuchBucket,
    /// `IfMatch` or `IfPresent` on a key without object.
    NoSuchKey,
    /// The condition does not hold.
    PreconditionFailed,
    /// The upload is not (or no longer) open.
    NoSuchUpload,
    /// The key has no such version, or it is a delete marker that cannot be changed.
    NoSuchVersion,
    /// It would remove a version that a lock protects, or loosen its lock.
    Locked,
    /// It would leave the bucket with more bytes than its quota.
    QuotaExceeded,
    /// The bucket keeps versions, or did, and what is asked for is not done there.
    KeepsVersions,
}

impl fmt::Display for PutRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutRefused::NoSuchBucket => "the bucket is gone",
            PutRefused::NoSuchKey => "the key has no object",
            PutRefused::PreconditionFailed => "the condition does not hold",
            PutRefused::NoSuchUpload => "the upload is not open",
            PutRefused::NoSuchVersion => "the key has no such version",
            PutRefused::Locked => "a lock protects the version",
            PutRefused::QuotaExceeded => "the quota of the bucket would be exceeded",
            PutRefused::KeepsVersions => "the bucket keeps versions",
        })
    }
}

impl std::error::Error for PutRefused {}

/// Why a write did not happen as asked: it was refused, which is an outcome, or the world below it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It was refused. Nothing was stored.
    Refused(PutRefused),
    /// Something below failed. Unless the error says that nothing was done, the next start tells whether it was stored.
    Engine(EngineError),
}

// A refusal takes no byte more than the errors beside it.
const _: () = assert!(size_of::<WriteError>() == size_of::<EngineError>());

impl WriteError {
    /// Returns `answer` in place of a refusal, for a caller to whom it is none.
    pub(crate) fn refused_as<T>(self, answer: T) -> Result<T, EngineError> {
        match self {
            WriteError::Refused(_) => Ok(answer),
            WriteError::Engine(error) => Err(error),
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Refused(why) => write!(f, "{why}"),
            WriteError::Engine(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<PutRefused> for WriteError {
    fn from(why: PutRefused) -> Self {
        WriteError::Refused(why)
    }
}

impl From<EngineError> for WriteError {
    fn from(error: EngineError) -> Self {
        WriteError::Engine(error)
    }
}

/// An open multipart upload; unique in the store, never given out twice. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub u128);

impl UploadId {
    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<UploadId> {
        let valid = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(UploadId)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What is known of an open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its id.
    pub id: UploadId,
    /// The key that the object will have.
    pub key: Bytes,
    /// When it was opened, milliseconds since 1970.
    pub created_ms: u64,
    /// What was stored with it, opaque.
    pub attributes: Bytes,
}

/// What is known of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number, from 1.
    pub number: u16,
    /// The record that made it.
    pub sequence: Sequence,
    /// Bytes.
    pub size: u64,
    /// When it was stored, milliseconds since 1970.
    pub modified_ms: u64,
    /// MD5 of its bytes.
    pub etag: ETag,
    /// What was stored with it, opaque.
    pub attributes: Bytes,
    /// CRC-64/NVME of each 64 KiB of it, eight bytes each, little-endian; empty in the answer to the part's own upload.
    pub units: Bytes,
}

/// How an upload becomes an object.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The parts in ascending order, each with its sequence as it was listed.
    pub parts: Vec<(u16, Sequence)>,
    /// What must hold of the key.
    pub condition: PutCondition,
    /// The object's tag.
    pub etag: ETag,
    /// The object's attributes, at most `ATTRIBUTES_BYTES_MAX`.
    pub attributes: Bytes,
    /// What [`Engine::completion`](crate::Engine::completion) answers for a while, at most `RECEIPT_BYTES_MAX`; nothing is
    /// remembered when it is empty.
    pub receipt: Bytes,
    /// What keeps the object from being removed.
    pub lock: Lock,
}

/// One version of an object, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The key.
    pub key: Bytes,
    /// What is known of it; `sequence` names the version.
    pub info: ObjectInfo,
    /// Whether it is the newest of its key.
    pub is_latest: bool,
    /// Whether it says that the key was deleted.
    pub is_marker: bool,
}

/// Which page of versions is wanted, in byte order of keys, newest first.
#[derive(Clone, Debug, Default)]
pub struct VersionQuery {
    /// Only keys that start with this.
    pub prefix: Bytes,
    /// Keys with this behind the prefix are rolled up into common prefixes; empty for none.
    pub delimiter: Bytes,
    /// Only keys and common prefixes greater than this, and versions of it as `after_version` says; empty from the start.
    pub after: Bytes,
    /// Of the key `after`, only versions older than this. A null version that is not there any more hides none.
    pub after_version: Option<VersionId>,
    /// Versions plus common prefixes, at most `LIST_KEYS_MAX`.
    pub max: usize,
}

/// One page of versions.
#[derive(Clone, Debug, Default)]
pub struct VersionPage {
    /// Versions and delete markers, in order.
    pub versions: Vec<ObjectVersion>,
    /// Common prefixes, in order.
    pub prefixes: Vec<Bytes>,
    /// When more follows: what to give as `after` and `after_version` for the next page. The version is named by its
    /// change, null version or not, so that the next page does not depend on what becomes of it.
    pub next: Option<(Bytes, Option<Sequence>)>,
}

/// Which page of a listing is wanted, in byte order of keys.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only keys that start with this.
    pub prefix: Bytes,
    /// Keys with this behind the prefix are rolled up into common prefixes; empty for none.
    pub delimiter: Bytes,
    /// Only keys and common prefixes greater than this; empty from the start.
    pub after: Bytes,
    /// Keys plus common prefixes, at most `LIST_KEYS_MAX`.
    pub max: usize,
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Keys and objects, in order.
    pub objects: Vec<(Bytes, ObjectInfo)>,
    /// Common prefixes, in order.
    pub prefixes: Vec<Bytes>,
    /// When more follows: what to give as `after` for the next page.
    pub next_after: Option<Bytes>,
}

/// [`EngineError::TooLarge`] for a key over `KEY_BYTES_MAX`.
pub(crate) fn check_key(key: &[u8]) -> Result<(), EngineError> {
    let (max, got) = (KEY_BYTES_MAX as u64, key.len() as u64);
    if max < got { Err(EngineError::TooLarge { limit: "KEY_BYTES_MAX", max, got }) } else { Ok(()) }
}

/// [`EngineError::TooLarge`] for attributes over `ATTRIBUTES_BYTES_MAX`.
pub(crate) fn check_attributes(attributes: &[u8]) -> Result<(), EngineError> {
    let (max, got) = (ATTRIBUTES_BYTES_MAX as u64, attributes.len() as u64);
    if max < got { Err(EngineError::TooLarge { limit: "ATTRIBUTES_BYTES_MAX", max, got }) } else { Ok(()) }
}

/// [`EngineError::TooLarge`] for the receipt of a completion over `RECEIPT_BYTES_MAX`.
pub(crate) fn check_receipt(receipt: &[u8]) -> Result<(), EngineError> {
    let (max, got) = (RECEIPT_BYTES_MAX as u64, receipt.len() as u64);
    if max < got { Err(EngineError::TooLarge { limit: "RECEIPT_BYTES_MAX", max, got }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Option<u16>) {
        let got = ETag::parse(text);
        assert_eq!(got.map(|tag| tag.parts), want, "{text}");
        if let Some(tag) = got {
            assert_eq!(tag.to_string(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn etags() {
        check("d41d8cd98f00b204e9800998ecf8427e", Some(0));
        check("D41D8CD98F00B204E9800998ECF8427E", Some(0));
        check("d41d8cd98f00b204e9800998ecf8427e-12", Some(12));
        check("d41d8cd98f00b204e9800998ecf8427e-0", None);
        check("d41d8cd98f00b204e9800998ecf8427e-", None);
        check("d41d8cd98f00b204e9800998ecf8427", None);
        check("+41d8cd98f00b204e9800998ecf8427e", None);
        check("", None);
    }

    #[test]
    fn conditions() {
        let (a, b) = (ETag { md5: [1; 16], parts: 0 }, ETag { md5: [2; 16], parts: 0 });
        let check = |condition: &PutCondition, etag, want| assert_eq!(condition.check(etag), want);
        check(&PutCondition::None, None, Ok(()));
        check(&PutCondition::IfAbsent, None, Ok(()));
        check(&PutCondition::IfAbsent, Some(a), Err(PutRefused::PreconditionFailed));
        check(&PutCondition::IfPresent, Some(a), Ok(()));
        check(&PutCondition::IfPresent, None, Err(PutRefused::NoSuchKey));
        check(&PutCondition::IfMatch(vec![b, a]), Some(a), Ok(()));
        check(&PutCondition::IfMatch(vec![b]), Some(a), Err(PutRefused::PreconditionFailed));
        check(&PutCondition::IfMatch(vec![a]), None, Err(PutRefused::NoSuchKey));
    }
}
