//! GetObject and HeadObject: conditions, range or part, headers, and for GET the bytes.
//!
//! HEAD answers what GET would, without the bytes; it does not open the object unless a part is asked for, or a checksum
//! that was not kept with it: every object has one, made of its units' if of nothing else.

use std::ops::Range;

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, EXPIRES, HeaderName, RANGE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use nilas_engine::{Bucket, ObjectInfo};

use super::{
    Call, Outcome, attributes, attributes_of, checksum, conditions, empty, lifecycle, metadata,
    object_headers, object_lock, tags, version_id,
};
use crate::body::Algorithm;
use crate::render::body::{BodyCut, ResponseBody};
use crate::render::error::S3Error;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::{StoredChecksum, crc64nvme};
use crate::s3::encryption::{Of, Says};
use crate::s3::range::{self, Ranged};
use crate::s3::reader::Reader;
use crate::sse::seal::Key;

const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

pub(super) async fn head(call: &Call<'_>) -> Outcome {
    let version = call.version()?;
    let shows_checksum = checksum::is_asked(call.headers)?;
    let bucket = call.bucket()?;
    if call.parameter("partNumber").is_none() {
        let info = call.find(&bucket, version).await?;
        if !shows_checksum || attributes::checksum_kind(&info.attributes).is_some() {
            return Ok(answer_head(call, &bucket, &info, None)?.response);
        }
    }
    let reader = call.open(&bucket, version).await?;
    Ok(answer_head(call, &bucket, reader.info(), Some(&reader))?.response)
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let version = call.version()?;
    let bucket = call.bucket()?;
    let mut reader = call.open(&bucket, version).await?;
    let Answer { mut response, range, key } = answer_head(call, &bucket, reader.info(), Some(&reader))?;
    reader.unlock(key);
    if !range.is_empty() {
        *response.body_mut() = body(call, reader, range).await?;
    }
    Ok(response)
}

/// Reads the first piece before the head goes out: what cannot be read is answered as an error, and an object of one
/// piece needs no stream.
async fn body(call: &Call<'_>, reader: Reader, range: Range<u64>) -> Result<ResponseBody, S3Error> {
    let remaining = range.end - range.start;
    let mut download = reader.download(&call.s3.downloads, range).await?;
    let Some(first) = download.next().await else {
        return Err(S3Error::ReadCut(BodyCut::Length { expected: remaining, got: 0 }));
    };
    let first = first.map_err(|fault| S3Error::ReadCut(fault.into()))?;
    if u64::try_from(first.len()).is_ok_and(|len| len == remaining) {
        return Ok(ResponseBody::Full(download.end(first)));
    }
    Ok(ResponseBody::Object { first: Some(first), download: Some(download), remaining })
}

/// The answer to a read, without bytes.
struct Answer {
    response: Response<ResponseBody>,
    /// Which bytes those are.
    range: Range<u64>,
    /// What they are opened with, if they are encrypted.
    key: Option<Key>,
}

/// The whole answer but its bytes, and which bytes those are. A condition may answer 304, which has none. Without a
/// `reader` no part is asked for, and no checksum that was not kept.
fn answer_head(
    call: &Call<'_>,
    bucket: &Bucket,
    info: &ObjectInfo,
    reader: Option<&Reader>,
) -> Result<Answer, S3Error> {
    call.check_reads_encrypted()?;
    let attributes = attributes_of(info, &call.target.key)?;
    call.check_tags(&attributes)?;
    let key = call.key_of(bucket, attributes.encryption.as_ref(), Of::Target)?;
    match conditions::check_read(call.headers, info, call.engine().now_ms()) {
        Ok(()) => {}
        Err(S3Error::NotModified) => {
            let response = not_modified(bucket, info, &attributes);
            return Ok(Answer { response, range: 0..0, key: None });
        }
        Err(failure) => return Err(failure),
    }
    let with_checksum = checksum::is_asked(call.headers)?;
    let range_header = call.headers.get(RANGE).and_then(|value| value.to_str().ok());
    let range_header = range_header.filter(|_| conditions::range_applies(call.headers, info));
    let part_number = call.parameter("partNumber");
    let part_sizes = part_number.and(reader).map(Reader::part_sizes).unwrap_or_default();
    let slice = slice(info.size, range_header, part_number, &part_sizes)?;

    let mut response = empty(slice.status());
    let headers = response.headers_mut();
    object_headers(headers, info);
    version_id::put_header(headers, bucket, info.version());
    object_lock::put_headers(call, info, &attributes, headers);
    if call.parameter("versionId").is_none() {
        lifecycle::put_expiration(call, headers, bucket, info);
    }
    metadata::render(&attributes, headers);
    call.say_encryption(headers, attributes.encryption.as_ref(), Says::Bytes);
    if !attributes.tags.is_empty() && tags::may_read(call)? {
        headers.insert(TAGGING_COUNT, HeaderValue::from(attributes.tags.len()));
    }
    override_headers(call, headers)?;
    headers.insert(CONTENT_LENGTH, HeaderValue::from(slice.range.end - slice.range.start));
    if slice.partial {
        let text = format!("bytes {}-{}/{}", slice.range.start, slice.range.end - 1, info.size);
        headers.insert(CONTENT_RANGE, HeaderValue::try_from(text).expect("digits are ASCII"));
    }
    if slice.part.is_some() && 0 < info.etag.parts {
        headers.insert(HeaderName::from_static("x-amz-mp-parts-count"), HeaderValue::from(info.etag.parts));
    }
    if with_checksum
        && let Some((checksum, parts)) = shown_checksum(attributes.checksum.as_ref(), &slice, info, reader)
    {
        checksum.put_headers(headers, parts);
    }
    Ok(Answer { response, range: slice.range, key })
}

fn not_modified(bucket: &Bucket, info: &ObjectInfo, attributes: &Attributes) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    object_headers(response.headers_mut(), info);
    version_id::put_header(response.headers_mut(), bucket, info.version());
    if let Some(value) = attributes.cache_control.as_deref().and_then(|text| HeaderValue::try_from(text).ok())
    {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

/// The bytes that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    range: Range<u64>,
    /// Answered with 206 and Content-Range; never for an empty range.
    partial: bool,
    /// The part asked for, from 1.
    part: Option<u16>,
}

impl Slice {
    fn status(&self) -> StatusCode {
        if self.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }
    }
}

/// Decides which bytes of an object are asked for, by range or by part, and not both.
fn slice(
    size: u64,
    range_header: Option<&str>,
    part_number: Option<&str>,
    part_sizes: &[u64],
) -> Result<Slice, S3Error> {
    match (range_header, part_number) {
        (None, None) => Ok(Slice { range: 0..size, partial: false, part: None }),
        (Some(_), Some(_)) => {
            Err(S3Error::invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(header), None) => match range::parse(header, size) {
            Ranged::Whole => Ok(Slice { range: 0..size, partial: false, part: None }),
            Ranged::Part(range) => Ok(Slice { range, partial: true, part: None }),
            Ranged::Unsatisfiable => {
                Err(S3Error::InvalidRange { requested: header.to_owned(), object_bytes: size })
            }
        },
        (None, Some(text)) => part_slice(text, part_sizes),
    }
}

fn part_slice(text: &str, part_sizes: &[u64]) -> Result<Slice, S3Error> {
    let part = super::parse_part_number(text)?;
    let index = usize::from(part) - 1;
    let Some(bytes) = part_sizes.get(index) else {
        let actual = u64::try_from(part_sizes.len()).unwrap_or(u64::MAX);
        return Err(S3Error::InvalidPartNumber { requested: u64::from(part), actual });
    };
    let start: u64 = part_sizes.iter().take(index).sum();
    Ok(Slice { range: start..start + bytes, partial: 0 < *bytes, part: Some(part) })
}

/// The checksum that belongs to the bytes of the answer, with the number of parts it is shown with: the object's, or
/// that of one part, which has the kind of the object's; none for other ranges.
fn shown_checksum(
    kept: Option<&StoredChecksum>,
    slice: &Slice,
    info: &ObjectInfo,
    reader: Option<&Reader>,
) -> Option<(StoredChecksum, u16)> {
    let made = |value: Option<u64>| value.map(|value| StoredChecksum::of_bytes(crc64nvme(value)));
    let Some(part) = slice.part.filter(|_| 0 < info.etag.parts) else {
        let is_whole = slice.range == (0..info.size);
        let checksum = kept.cloned().or_else(|| made(reader.and_then(Reader::crc64nvme)));
        return checksum.filter(|_| is_whole).map(|checksum| (checksum, info.etag.parts));
    };
    let nth = usize::from(part) - 1;
    let checksum = match kept {
        Some(kept) if !kept.parts.is_empty() => {
            let of_part = |value| StoredChecksum { kind: kept.kind, ..StoredChecksum::of_bytes(value) };
            kept.parts.get(nth).copied().map(of_part)
        }
        Some(kept) if kept.algorithm != Algorithm::Crc64Nvme => None,
        _ => made(reader.and_then(|reader| reader.part_crc64nvme(nth))),
    };
    checksum.map(|checksum| (checksum, 0))
}

/// `response-…` parameters replace headers of the answer.
fn override_headers(call: &Call<'_>, headers: &mut HeaderMap) -> Result<(), S3Error> {
    let overrides = [
        ("response-cache-control", CACHE_CONTROL),
        ("response-content-disposition", CONTENT_DISPOSITION),
        ("response-content-encoding", CONTENT_ENCODING),
        ("response-content-language", CONTENT_LANGUAGE),
        ("response-content-type", CONTENT_TYPE),
        ("response-expires", EXPIRES),
    ];
    for (parameter, header) in overrides {
        let Some(value) = call.parameter(parameter) else { continue };
        let encoded = latin_1(value).ok_or_else(|| S3Error::InvalidArgument {
            message: "Header value cannot be represented using ISO-8859-1.".into(),
            name: parameter,
            value: value.to_owned(),
        })?;
        headers.insert(header, encoded);
    }
    Ok(())
}

/// A text as a field of the answer's head: ISO-8859-1, one byte for each character. `None` when it holds others, or
/// control characters.
fn latin_1(text: &str) -> Option<HeaderValue> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    HeaderValue::from_bytes(&bytes.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: Option<&str>, part: Option<&str>, want: Result<(Range<u64>, u16), &str>) {
        let got = slice(10, range, part, &[4, 4, 2]);
        let got = got.map(|slice| (slice.range.clone(), slice.status().as_u16()));
        let got = got.map_err(|failure| failure.answer().code);
        assert_eq!(got, want, "{range:?} {part:?}");
    }

    #[test]
    fn overriding_values() {
        let check = |text: &str, want: Option<&[u8]>| {
            assert_eq!(latin_1(text).as_ref().map(HeaderValue::as_bytes), want, "{text:?}");
        };
        check("", Some(b""));
        check("attachment; filename=\"a.txt\"", Some(b"attachment; filename=\"a.txt\""));
        check("caf\u{e9} \u{ff}\u{a0}", Some(b"caf\xe9 \xff\xa0"));
        for beyond in ["\u{100}", "a’b", "日本", "\u{20ac}", "😀", "a\nb", "a\rb", "\0", "\u{7f}"] {
            check(beyond, None);
        }
    }

    #[test]
    fn slices() {
        check(None, None, Ok((0..10, 200)));
        check(Some("bytes=2-3"), None, Ok((2..4, 206)));
        check(Some("bytes=-2"), None, Ok((8..10, 206)));
        check(Some("nonsense"), None, Ok((0..10, 200)));
        check(Some("bytes=10-"), None, Err("InvalidRange"));
        check(None, Some("1"), Ok((0..4, 206)));
        check(None, Some("3"), Ok((8..10, 206)));
        check(None, Some("4"), Err("InvalidPartNumber"));
        check(None, Some("0"), Err("InvalidArgument"));
        check(None, Some("x"), Err("InvalidArgument"));
        check(Some("bytes=0-1"), Some("1"), Err("InvalidRequest"));
        let empty =
            slice(0, None, Some("1"), &[0]).map(|slice| (slice.range.clone(), slice.status().as_u16()));
        assert_eq!(empty, Ok((0..0, 200)));
    }
}
