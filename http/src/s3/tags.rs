//! Tags of buckets and objects: the rules for them, how they are kept, and the three operations on a bucket's.
//!
//! `request_xml` reads them from bodies, [`from_header`] from `x-amz-tagging`; both hand them to [`TagSet::new`], which
//! alone knows the rules. A bucket's are its setting [`SettingKind::TAGS`].
//! I1. A set that is kept breaks no rule, has each key once, and is in the order of its keys. I2. A bucket whose tags were
//! taken away, or that was given none, has no setting: it answers `NoSuchTagSet`. I3. What [`TagSet::decode`] cannot read
//! was written by a newer version, and is not written over.
//! Source: Amazon S3 User Guide, "Object tagging", "Using cost allocation S3 bucket tags"; API Reference, PutBucketTagging.

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use nilas_catalog::uri::decode_query;
use nilas_engine::{BucketSettings, EngineError, SettingKind};

use super::{Call, Outcome, attributes_of, document, empty, request_xml};
use crate::limits::{
    BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGGING_XML_BYTES_MAX,
};
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;

/// The header that gives tags to a new object.
pub(super) const HEADER: &str = "x-amz-tagging";

/// Who gives tags to an object needs this right beside that to make it.
pub(super) const PUT_ACTION: &str = "s3:PutObjectTagging";
/// Who has the tags of an object copied, or learns how many there are, needs this right on it.
pub(super) const GET_ACTION: &str = "s3:GetObjectTagging";

const VERSION: u8 = 1;

/// What has tags: the rules differ in number and in some texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// A bucket.
    Bucket,
    /// An object, or a version of it.
    Object,
}

/// Tags that break no rule, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagSet(Vec<(String, String)>);

impl TagSet {
    /// Holds keys and values against the rules for what they are given to.
    pub fn new(tagged: Tagged, mut pairs: Vec<(String, String)>) -> Result<TagSet, S3Error> {
        let (max, too_many) = match tagged {
            Tagged::Bucket => (BUCKET_TAGS_MAX, "Bucket tag count cannot be greater than 50"),
            Tagged::Object => (OBJECT_TAGS_MAX, "Object tags cannot be greater than 10"),
        };
        if max < pairs.len() {
            return Err(S3Error::BadRequest { message: too_many.into() });
        }
        for (key, value) in &pairs {
            check_pair(tagged, key, value)?;
        }
        pairs.sort();
        match pairs.windows(2).find(|two| two[0].0 == two[1].0) {
            None => Ok(TagSet(pairs)),
            Some(two) => {
                Err(invalid("Cannot provide multiple Tags with the same key", "TagKey", two[0].0.clone()))
            }
        }
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The bytes that keep them: `version u8 = 1`, then for each `len u16` · key · `len u16` · value, little-endian.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            // The rules allow no text of 64 KiB.
            out.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
            out.put_slice(text.as_bytes());
        }
        out.freeze()
    }

    /// Reads what [`TagSet::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<TagSet> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        while !rest.is_empty() {
            let (key, value) = (take_text(&mut rest)?, take_text(&mut rest)?);
            if pairs.last().is_some_and(|(last, _)| key <= *last) {
                return None;
            }
            pairs.push((key, value));
        }
        Some(TagSet(pairs))
    }

    /// S3's document of them.
    pub fn document(&self) -> Xml {
        let mut xml = Xml::new("Tagging", 256);
        xml.open("TagSet");
        for (key, value) in self.iter() {
            xml.open("Tag");
            xml.text("Key", key);
            xml.text("Value", value);
            xml.close("Tag");
        }
        xml.close("TagSet");
        xml
    }
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (len, tail) = rest.split_first_chunk::<2>()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    *rest = tail;
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// Reads `x-amz-tagging`: pairs as in a query. A key without `=` has the empty value.
pub fn from_header(text: &str) -> Result<TagSet, S3Error> {
    let malformed = || S3Error::InvalidArgument {
        message: "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters \
                  without tag name duplicates."
            .into(),
        name: HEADER,
        value: text.to_owned(),
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if value.contains('=') {
            return Err(malformed());
        }
        let key = decode_query(key).ok_or_else(malformed)?;
        if pairs.iter().any(|(other, _)| *other == key) {
            return Err(malformed());
        }
        pairs.push((key, decode_query(value).ok_or_else(malformed)?));
    }
    TagSet::new(Tagged::Object, pairs)
}

fn invalid(message: &'static str, field: &'static str, value: String) -> S3Error {
    S3Error::InvalidTag { message, field, value }
}

/// Letters, digits, blanks and some marks. Lengths are those of UTF-16, as S3 counts.
fn check_pair(tagged: Tagged, key: &str, value: &str) -> Result<(), S3Error> {
    let is_taken =
        |c: char| c.is_alphanumeric() || "_.:/=+-@".contains(c) || (c.is_whitespace() && !c.is_control());
    let fits = |text: &str, max: usize| text.encode_utf16().count() <= max && text.chars().all(is_taken);
    if key.is_empty() || !fits(key, TAG_KEY_CHARS_MAX) {
        return Err(invalid("The TagKey you have provided is invalid", "TagKey", key.to_owned()));
    }
    if !fits(value, TAG_VALUE_CHARS_MAX) {
        return Err(invalid("The TagValue you have provided is invalid", "TagValue", value.to_owned()));
    }
    match (key.starts_with("aws:"), tagged) {
        (false, _) => Ok(()),
        (true, Tagged::Bucket) => {
            Err(invalid("System tags cannot be added/updated by requester", "TagKey", key.to_owned()))
        }
        (true, Tagged::Object) => {
            Err(invalid("Your TagKey cannot be prefixed with aws:", "TagKey", key.to_owned()))
        }
    }
}

/// The tags of the bucket with these settings; `None` when it has none.
fn of_bucket(settings: &BucketSettings) -> Result<Option<TagSet>, EngineError> {
    let Some(value) = settings.get(SettingKind::TAGS) else { return Ok(None) };
    TagSet::decode(value).map(Some).ok_or(EngineError::UnsupportedSetting { kind: SettingKind::TAGS })
}

pub(super) fn get_bucket(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let tags = of_bucket(&bucket.settings)?.ok_or_else(|| S3Error::NotConfigured {
        code: "NoSuchTagSet",
        message: "The TagSet does not exist",
        bucket: call.target.bucket.clone(),
    })?;
    Ok(document(tags.document()))
}

pub(super) async fn put_bucket<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let tags = TagSet::new(Tagged::Bucket, read(call, payload).await?)?;
    of_bucket(&bucket.settings)?;
    call.set(SettingKind::TAGS, (!tags.is_empty()).then(|| tags.encode())).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn delete_bucket(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    of_bucket(&bucket.settings)?;
    call.set(SettingKind::TAGS, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// An object without tags has an empty set of them, unlike a bucket.
pub(super) async fn get_object(call: &Call<'_>) -> Outcome {
    call.check_version()?;
    let bucket = call.bucket()?;
    let info = call.engine().head(&bucket, call.key()).await?.ok_or_else(|| call.no_such_key())?;
    let attributes = attributes_of(&info, &call.target.key)?;
    call.check_tags(&attributes)?;
    Ok(document(attributes.tags.document()))
}

/// The pairs of a request's body.
async fn read<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Result<Vec<(String, String)>, S3Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let body = payload.read_xml(call.headers, TAGGING_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    request_xml::parse_tagging(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn rules() {
        let check = |tagged: Tagged, all: &[(&str, &str)], want: Option<(&str, &str)>| {
            let got = TagSet::new(tagged, pairs(all)).err().map(|failure| failure.answer());
            let got = got.as_ref().map(|answer| (answer.code, &*answer.message));
            assert_eq!(got, want, "{all:?}");
        };
        let bad_key = Some(("InvalidTag", "The TagKey you have provided is invalid"));
        let bad_value = Some(("InvalidTag", "The TagValue you have provided is invalid"));
        for tagged in [Tagged::Bucket, Tagged::Object] {
            check(tagged, &[], None);
            check(tagged, &[("a", "")], None);
            check(tagged, &[("Größe 1_.:/=+-@", "\u{a0}日本 ²")], None);
            check(tagged, &[(&"k".repeat(128), &"v".repeat(256))], None);
            check(tagged, &[(&"k".repeat(129), "")], bad_key);
            check(tagged, &[("a", &"v".repeat(257))], bad_value);
            check(tagged, &[("a", &"𝔸".repeat(128))], None);
            check(tagged, &[("a", &"𝔸".repeat(129))], bad_value);
            check(tagged, &[("a", "1"), ("aws:b", "2"), ("a", "3")], check_aws(tagged));
            for bad in ["", "a\tb", "a\nb", "a*", "a&b", "a[b]", "a,b", "{", "a\"", "a#", "a%", "\0"] {
                check(tagged, &[(bad, "")], bad_key);
                check(tagged, &[("a", bad)], if bad.is_empty() { None } else { bad_value });
            }
            check(
                tagged,
                &[("a", "1"), ("b", "2"), ("a", "1")],
                Some(("InvalidTag", "Cannot provide multiple Tags with the same key")),
            );
            check(tagged, &[("something:aws:stuff", "")], None);
        }
        let names: Vec<String> = (0..51).map(|nth| format!("k{nth}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        check(Tagged::Bucket, &many[..50], None);
        check(Tagged::Bucket, &many, Some(("BadRequest", "Bucket tag count cannot be greater than 50")));
        check(Tagged::Object, &many[..10], None);
        check(Tagged::Object, &many[..11], Some(("BadRequest", "Object tags cannot be greater than 10")));
    }

    fn check_aws(tagged: Tagged) -> Option<(&'static str, &'static str)> {
        Some(match tagged {
            Tagged::Bucket => ("InvalidTag", "System tags cannot be added/updated by requester"),
            Tagged::Object => ("InvalidTag", "Your TagKey cannot be prefixed with aws:"),
        })
    }

    #[test]
    fn kept_in_the_order_of_keys() {
        let tags = TagSet::new(Tagged::Object, pairs(&[("b", "2"), ("a", ""), ("é", "x y")])).expect("valid");
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", ""), ("b", "2"), ("é", "x y")]);
        assert_eq!((tags.get("b"), tags.get("c")), (Some("2"), None));
        let bytes = tags.encode();
        assert_eq!(TagSet::decode(&bytes), Some(tags));
        assert_eq!(TagSet::decode(&TagSet::default().encode()), Some(TagSet::default()));
        assert_eq!(TagSet::decode(b""), None);
        assert_eq!(TagSet::decode(b"\x02"), None);
        for len in 2..bytes.len() {
            // A cut between two tags leaves a set; every other is none.
            let cut = TagSet::decode(&bytes[..len]);
            assert!(cut.is_none_or(|cut| cut.len() < 3 && cut.encode() == bytes[..len]), "{len}");
        }
    }

    #[test]
    fn header() {
        let check = |text: &str, want: Result<&[(&str, &str)], &str>| {
            let got = from_header(text).map_err(|failure| failure.answer().code);
            let got = got.as_ref().map(|tags| tags.iter().collect::<Vec<_>>());
            assert_eq!(got, want.map(<[_]>::to_vec).as_ref().map(Vec::clone).map_err(|code| code), "{text}");
        };
        check("", Ok(&[]));
        check("foo=bar&bar", Ok(&[("bar", ""), ("foo", "bar")]));
        check("a+b=c%20d&%C3%A9=%2B", Ok(&[("a b", "c d"), ("é", "+")]));
        check("a=1&&b=2&", Ok(&[("a", "1"), ("b", "2")]));
        check("a=1&a=2", Err("InvalidArgument"));
        check("a=b=c", Err("InvalidArgument"));
        check("a=%zz", Err("InvalidArgument"));
        check("a=%ff", Err("InvalidArgument"));
        check("TagSet%3D%5B%7BKey%3Dstring%2CValue%3Dstring%7D%5D", Err("InvalidTag"));
        check("=v", Err("InvalidTag"));
        check("aws:x=1", Err("InvalidTag"));
    }
}
