//! The headers that are kept with an object ⇄ its attributes.
//!
//! Pure. PutObject, CopyObject and CreateMultipartUpload read them; GetObject and HeadObject write them. Headers that
//! would change what is stored, and are not served, were refused before: `parameters` has the table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
};
use http::{HeaderMap, HeaderValue};
use nilas_engine::Lock;
use nilas_engine::limits::ATTRIBUTES_BYTES_MAX;

use super::object_lock;
use crate::limits::{PART_CHECKSUMS_BYTES_MAX, USER_METADATA_BYTES_MAX};
use crate::render::error::S3Error;
use crate::s3::attributes::Attributes;
use crate::tag_set::{self, TagSet};

const META_PREFIX: &str = "x-amz-meta-";

/// Bytes of attributes that names and values may take; the rest is for checksums and framing.
const TEXT_BYTES_MAX: usize = ATTRIBUTES_BYTES_MAX - PART_CHECKSUMS_BYTES_MAX - 4096;

/// What S3 answers for an object stored without content type.
pub const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

/// Storage classes that are taken and given back; the bytes are kept the same way in all of them.
const STORAGE_CLASSES: [&str; 6] =
    ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];

/// Reads the attributes that a request gives its object.
pub fn parse(headers: &HeaderMap) -> Result<Attributes, S3Error> {
    let attributes = Attributes {
        checksum: None,
        content_type: text(headers, &CONTENT_TYPE)?,
        content_encoding: list(headers, &CONTENT_ENCODING)?.and_then(|value| without_aws_chunked(&value)),
        content_disposition: text(headers, &CONTENT_DISPOSITION)?,
        content_language: list(headers, &CONTENT_LANGUAGE)?,
        cache_control: list(headers, &CACHE_CONTROL)?,
        expires: text(headers, &EXPIRES)?,
        storage_class: parse_storage_class(headers)?,
        user_metadata: parse_user_metadata(headers)?,
        tags: parse_tags(headers)?,
        lock: Lock::NONE,
        hold_off: object_lock::asks_hold_off(headers),
        encryption: None,
        plain_crc64nvme: None,
    };
    fits(&attributes).map(|()| attributes).map_err(|size| S3Error::MetadataTooLarge { size })
}

/// Whether texts are within what is kept with an object; their bytes when they are not.
pub(super) fn fits(attributes: &Attributes) -> Result<(), usize> {
    let size = attributes.text_bytes();
    if TEXT_BYTES_MAX < size { Err(size) } else { Ok(()) }
}

/// Reads `x-amz-tagging`.
pub fn parse_tags(headers: &HeaderMap) -> Result<TagSet, S3Error> {
    field(headers, tag_set::HEADER).map_or_else(|| Ok(TagSet::default()), |text| tag_set::from_header(&text))
}

/// Reads `x-amz-storage-class`; `STANDARD` counts as none.
pub fn parse_storage_class(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    let Some(class) = field(headers, "x-amz-storage-class") else { return Ok(None) };
    if !STORAGE_CLASSES.contains(&class.as_str()) {
        return Err(S3Error::InvalidStorageClass { class });
    }
    Ok((class != "STANDARD").then_some(class))
}

/// Writes what was kept into an answer's headers.
pub fn render(attributes: &Attributes, headers: &mut HeaderMap) {
    let mut put = |name: HeaderName, field: &Option<String>| {
        // What came from a header can go back into one; damaged attributes give no header.
        if let Some(value) = field.as_deref().and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok()) {
            headers.insert(name, value);
        }
    };
    put(CONTENT_ENCODING, &attributes.content_encoding);
    put(CONTENT_DISPOSITION, &attributes.content_disposition);
    put(CONTENT_LANGUAGE, &attributes.content_language);
    put(CACHE_CONTROL, &attributes.cache_control);
    put(EXPIRES, &attributes.expires);
    put(HeaderName::from_static("x-amz-storage-class"), &attributes.storage_class);
    let content_type = attributes.content_type.clone().or_else(|| Some(CONTENT_TYPE_DEFAULT.to_owned()));
    put(CONTENT_TYPE, &content_type);
    let mut missing: u32 = 0;
    for (name, value) in &attributes.user_metadata {
        let name = HeaderName::try_from(format!("{META_PREFIX}{name}"));
        match (name, HeaderValue::try_from(encode_value(value))) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => missing += 1,
        }
    }
    if 0 < missing {
        headers.insert(HeaderName::from_static("x-amz-missing-meta"), HeaderValue::from(missing));
    }
}

/// The first value of a header.
pub fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, S3Error> {
    match headers.get(name) {
        Some(value) => text_of(name, value.as_bytes()),
        None => Ok(None),
    }
}

fn text_of(name: &HeaderName, value: &[u8]) -> Result<Option<String>, S3Error> {
    let value = std::str::from_utf8(value)
        .map_err(|_| S3Error::invalid_request(format!("The {name} header is not valid UTF-8.")))?
        .trim();
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// A header whose value is a list: as sent in one line, or its lines joined.
fn list(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, S3Error> {
    let mut lines = headers.get_all(name).iter();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return text(headers, name) };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.push(b',');
        joined.extend_from_slice(line.as_bytes());
    }
    text_of(name, &joined)
}

/// The list as it was sent, without `aws-chunked`: that describes the transfer, not the object.
fn without_aws_chunked(value: &str) -> Option<String> {
    let of_transfer = |one: &str| one.trim().eq_ignore_ascii_case("aws-chunked");
    let kept: Vec<&str> = value.split(',').filter(|one| !of_transfer(one)).collect();
    let kept = kept.join(",");
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// Reads `x-amz-meta-…`, at most [`USER_METADATA_BYTES_MAX`] of names and values.
pub fn parse_user_metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, S3Error> {
    let mut metadata: Vec<(String, String)> = Vec::new();
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(META_PREFIX) else { continue };
        let values: Vec<String> =
            headers.get_all(name).iter().map(|value| decode_value(value.as_bytes())).collect();
        metadata.push((short.to_owned(), values.join(",")));
    }
    let size = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if USER_METADATA_BYTES_MAX < size { Err(S3Error::MetadataTooLarge { size }) } else { Ok(metadata) }
}

/// A metadata value as sent → its text: RFC 2047 words decoded, other bytes taken as UTF-8 or else as ISO 8859-1.
fn decode_value(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let text = text.trim();
    let words: Option<Vec<String>> = text.split(' ').map(decode_word).collect();
    match words {
        Some(words) if !text.is_empty() => words.concat(),
        _ => text.to_owned(),
    }
}

/// `=?UTF-8?B?w6k=?=` or `=?UTF-8?Q?=C3=A9?=`; `None` when it is neither.
fn decode_word(word: &str) -> Option<String> {
    let mut pieces = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
    let (charset, encoding, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(text).ok()?,
        "Q" | "q" => nilas_catalog::uri::percent_decode(
            &text.replace('%', "=25").replace('_', " ").replace('=', "%"),
            false,
        )?,
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

/// A metadata value → what a header may hold: itself when it is printable ASCII, else one RFC 2047 word.
fn encode_value(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    format!("=?UTF-8?B?{}?=", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"));
        }
        map
    }

    fn check_code(pairs: &[(&'static str, &[u8])], code: &str) {
        let failure = parse(&headers(pairs)).err();
        assert_eq!(failure.map(|failure| failure.answer().code), Some(code), "{pairs:?}");
    }

    #[test]
    fn kept_headers_come_back() {
        let sent = headers(&[
            ("content-type", b"text/plain"),
            ("content-encoding", b"aws-chunked, gzip"),
            ("content-disposition", "attachment; filename=\"é\"".as_bytes()),
            ("cache-control", b"no-cache"),
            ("expires", b"soon"),
            ("content-language", b"de"),
            ("x-amz-storage-class", b"STANDARD_IA"),
            ("x-amz-meta-one", b"1"),
            ("x-amz-meta-two", b"a"),
            ("x-amz-meta-two", b"b"),
            ("x-amz-date", b"x"),
        ]);
        let attributes = parse(&sent).expect("served");
        let mut back = HeaderMap::new();
        render(&Attributes::decode(&attributes.encode()).expect("own bytes"), &mut back);
        for (name, value) in
            sent.iter().filter(|(name, _)| !matches!(name.as_str(), "x-amz-date" | "x-amz-meta-two"))
        {
            let want: &[u8] = if name == CONTENT_ENCODING { b"gzip" } else { value.as_bytes() };
            assert_eq!(back.get(name).map(HeaderValue::as_bytes), Some(want), "{name}");
        }
        assert_eq!(back.get("x-amz-meta-two").map(HeaderValue::as_bytes), Some(&b"a,b"[..]));
        assert_eq!(back.len(), 9);
    }

    #[test]
    fn defaults() {
        let attributes =
            parse(&headers(&[("content-encoding", b"aws-chunked"), ("x-amz-storage-class", b"STANDARD")]));
        assert_eq!(attributes, Ok(Attributes::default()));
        let mut back = HeaderMap::new();
        render(&Attributes::default(), &mut back);
        assert_eq!(back.len(), 1);
        assert_eq!(back.get(CONTENT_TYPE).map(HeaderValue::as_bytes), Some(CONTENT_TYPE_DEFAULT.as_bytes()));
    }

    #[test]
    fn lists_in_several_lines() {
        let sent = headers(&[
            ("content-encoding", b"aws-chunked"),
            ("content-encoding", b"deflate, gzip"),
            ("cache-control", b"no-cache"),
            ("cache-control", b"private"),
            ("content-language", b"de"),
        ]);
        let attributes = parse(&sent).expect("served");
        assert_eq!(attributes.content_encoding.as_deref(), Some("deflate, gzip"));
        assert_eq!(attributes.cache_control.as_deref(), Some("no-cache,private"));
        assert_eq!(attributes.content_language.as_deref(), Some("de"));
    }

    #[test]
    fn encodings() {
        let check = |sent: &str, want: Option<&str>| {
            assert_eq!(without_aws_chunked(sent).as_deref(), want, "{sent}");
        };
        check("gzip", Some("gzip"));
        check("deflate, gzip", Some("deflate, gzip"));
        check("deflate,gzip", Some("deflate,gzip"));
        check("deflate ,  gzip", Some("deflate ,  gzip"));
        check("aws-chunked", None);
        check("AWS-Chunked, aws-chunked", None);
        check("aws-chunked, gzip", Some("gzip"));
        check("aws-chunked,deflate, gzip", Some("deflate, gzip"));
        check("deflate, gzip,aws-chunked", Some("deflate, gzip"));
        check("deflate, aws-chunked, gzip", Some("deflate, gzip"));
        check("aws-chunked2", Some("aws-chunked2"));
        check("", None);
    }

    #[test]
    fn metadata_values() {
        let check = |sent: &[u8], kept: &str, back: &str| {
            assert_eq!(decode_value(sent), kept, "{sent:?}");
            assert_eq!(encode_value(kept), back, "{sent:?}");
        };
        check(b"", "", "");
        check(b"plain = text?", "plain = text?", "plain = text?");
        check("é".as_bytes(), "é", "=?UTF-8?B?w6k=?=");
        check(b"\xe9", "é", "=?UTF-8?B?w6k=?=");
        check(b"=?UTF-8?B?w6k=?=", "é", "=?UTF-8?B?w6k=?=");
        check(b"=?utf-8?Q?=C3=A9_100%?=", "é 100%", "=?UTF-8?B?w6kgMTAwJQ==?=");
        check(b"=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?=", "éé", "=?UTF-8?B?w6nDqQ==?=");
        check(b"=?UTF-8?B?!?=", "=?UTF-8?B?!?=", "=?UTF-8?B?!?=");
        check(b"=?KOI8-R?B?w6k=?=", "=?KOI8-R?B?w6k=?=", "=?KOI8-R?B?w6k=?=");
        check(b"=?=", "=?=", "=?=");
    }

    #[test]
    fn refusals() {
        let long = vec![b'v'; USER_METADATA_BYTES_MAX];
        check_code(&[("x-amz-meta-a", &long)], "MetadataTooLarge");
        assert!(parse(&headers(&[("x-amz-meta-a", &long[1..])])).is_ok());
        check_code(&[("cache-control", &long.repeat(20))], "MetadataTooLarge");
        check_code(&[("x-amz-storage-class", b"ICE")], "InvalidStorageClass");
        check_code(&[("content-type", b"\xff")], "InvalidRequest");
    }
}
