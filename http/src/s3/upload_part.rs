//! UploadPart and UploadPartCopy: bytes of one part, from the request or from another object.

use std::ops::{Range, RangeInclusive};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use nilas_engine::Place;

use super::copy_object::{allowed_source, copy_bytes, hold_copy, open_source};
use super::put_object::{stored, take_body};
use super::{Call, Outcome, document, range};
use crate::body::{Algorithm, Declared, HashPlan};
use crate::limits::BLOB_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::{Kind, StoredChecksum};
use crate::s3::encryption::{Says, tag_of};
use crate::s3::payload::Payload;
use crate::s3::writer::Writer;

const COPY_RANGE: &str = "x-amz-copy-source-range";

pub(super) async fn upload<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let number = call.part_number()?;
    let sent = Declared::parse(call.headers)?.algorithm();
    let bucket = call.bucket()?;
    let id = call.upload_id()?;
    let opened = call.open_upload(&bucket, id).await?;
    let key = call.key_of_upload(&bucket, &opened)?;
    let wanted = opened.checksum;
    check_algorithm(wanted.as_ref(), sent)?;
    let otherwise = wanted.map_or(Algorithm::Crc64Nvme, |wanted| wanted.algorithm);
    let length = payload.open_blob(call.headers, otherwise)?;
    call.check_quota_early(&bucket, Place::Part(id, number), length).await?;
    let mut writer = Writer::begin(call.engine(), &bucket, length, key.as_ref()).await?;
    let received = take_body(call, payload, &mut writer).await?;

    let checksum = received.checksum.map(StoredChecksum::of_bytes);
    let etag = tag_of(opened.encryption.as_ref(), received.md5.unwrap_or_default());
    let plain_crc64nvme = writer.plain_crc64nvme();
    let attributes = Attributes { checksum, plain_crc64nvme, ..Attributes::default() };
    let published = writer.publish_part(id, number, etag, attributes.encode()).await;
    let part = published.map_err(|why| call.write_failed(why))?;
    let mut response = stored(&part.etag, attributes.checksum.as_ref());
    // A part is not the object; its kind is not said.
    response.headers_mut().remove("x-amz-checksum-type");
    call.say_encryption(response.headers_mut(), opened.encryption.as_ref(), Says::Bytes);
    Ok(response)
}

pub(super) async fn copy(call: &Call<'_>) -> Outcome {
    let source = allowed_source(call).await?;
    let range = call.field(COPY_RANGE).map(|text| asked_range(&text)).transpose()?;
    let number = call.part_number()?;
    let bucket = call.bucket()?;
    let id = call.upload_id()?;
    let upload = call.open_upload(&bucket, id).await?;
    let key = call.key_of_upload(&bucket, &upload)?;
    let wanted = upload.checksum;
    let algorithm = wanted.map_or(Algorithm::Crc64Nvme, |wanted| wanted.algorithm);
    let opened = open_source(call, &source).await?;
    let mut named = HeaderMap::new();
    opened.put_header(&mut named);
    call.say_encryption(&mut named, upload.encryption.as_ref(), Says::Bytes);
    let reader = opened.reader;
    let bytes = copy_range(range, reader.info().size)?;
    let length = bytes.end - bytes.start;
    let mut writer = Writer::begin(call.engine(), &bucket, length, key.as_ref()).await?;
    let plan = HashPlan { md5: true, sha256: false, checksum: Some(algorithm) };
    let _held = hold_copy(call, length).await?;
    let copied = copy_bytes(reader.read(bytes)?, &mut writer, length, plan).await?;

    let checksum = copied.checksum.map(StoredChecksum::of_bytes);
    let etag = tag_of(upload.encryption.as_ref(), copied.md5.unwrap_or_default());
    let plain_crc64nvme = writer.plain_crc64nvme();
    let attributes = Attributes { checksum, plain_crc64nvme, ..Attributes::default() };
    let published = writer.publish_part(id, number, etag, attributes.encode()).await;
    let part = published.map_err(|why| call.write_failed(why))?;

    let mut xml = Xml::new("CopyPartResult", 512);
    xml.text("LastModified", &iso_8601(part.modified_ms));
    xml.etag(&part.etag);
    if let Some(value) = attributes.checksum.and_then(|checksum| checksum.value) {
        xml.text(value.algorithm().element(), &value.to_base64());
    }
    let mut response = document(xml);
    response.headers_mut().extend(named);
    Ok(response)
}

/// A part comes with a checksum of the algorithm that its upload was opened with, if that named one. Of the whole object
/// one can be made without it, of the parts' none.
fn check_algorithm(wanted: Option<&StoredChecksum>, sent: Option<Algorithm>) -> Result<(), S3Error> {
    match (wanted, sent) {
        (None, _) => Ok(()),
        (Some(wanted), None) if wanted.kind == Kind::FullObject => Ok(()),
        (Some(wanted), sent) if sent == Some(wanted.algorithm) => Ok(()),
        (Some(wanted), sent) => Err(mismatch(Some(wanted.algorithm), sent)),
    }
}

/// A checksum of another algorithm than the upload's, or none.
pub(super) fn mismatch(wanted: Option<Algorithm>, sent: Option<Algorithm>) -> S3Error {
    let name = |algorithm: Option<Algorithm>| algorithm.map_or("null", Algorithm::lower_name);
    S3Error::invalid_request(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        name(wanted),
        name(sent),
    ))
}

/// Reads `x-amz-copy-source-range`.
fn asked_range(text: &str) -> Result<RangeInclusive<u64>, S3Error> {
    range::parse_copy(text).ok_or_else(|| S3Error::InvalidArgument {
        message: "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                  zero-based offsets of the first and last bytes to copy"
            .into(),
        name: COPY_RANGE,
        value: text.to_owned(),
    })
}

/// The bytes of the source that become the part. A range that starts behind the source has another error than one
/// that only ends there.
fn copy_range(asked: Option<RangeInclusive<u64>>, size: u64) -> Result<Range<u64>, S3Error> {
    let range = match asked {
        None => 0..size,
        Some(asked) if size <= *asked.start() => {
            return Err(S3Error::invalid_request(
                "The specified copy range is invalid for the source object size",
            ));
        }
        Some(asked) if size <= *asked.end() => {
            return Err(S3Error::InvalidArgument {
                message: format!("Range specified is not valid for source object of size: {size}").into(),
                name: COPY_RANGE,
                value: format!("bytes={}-{}", asked.start(), asked.end()),
            });
        }
        Some(asked) => *asked.start()..asked.end() + 1,
    };
    let proposed = range.end - range.start;
    if BLOB_BYTES_MAX < proposed {
        return Err(S3Error::EntityTooLarge { proposed, max: BLOB_BYTES_MAX });
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms() {
        let check = |wanted: Option<(Algorithm, Kind)>, sent: Option<Algorithm>, want: Result<(), &str>| {
            let wanted = wanted.map(|(algorithm, kind)| StoredChecksum {
                algorithm,
                kind,
                value: None,
                parts: vec![],
            });
            let got = check_algorithm(wanted.as_ref(), sent);
            assert_eq!(got.map_err(|failure| failure.answer().code), want, "{wanted:?} {sent:?}");
        };
        let (sha256, crc32) = (Some(Algorithm::Sha256), Some(Algorithm::Crc32));
        check(None, None, Ok(()));
        check(None, crc32, Ok(()));
        check(Some((Algorithm::Sha256, Kind::Composite)), sha256, Ok(()));
        check(Some((Algorithm::Sha256, Kind::Composite)), crc32, Err("InvalidRequest"));
        check(Some((Algorithm::Sha256, Kind::Composite)), None, Err("InvalidRequest"));
        check(Some((Algorithm::Crc32, Kind::FullObject)), None, Ok(()));
        check(Some((Algorithm::Crc32, Kind::FullObject)), sha256, Err("InvalidRequest"));
    }

    #[test]
    fn ranges() {
        let check = |header: Option<&str>, size: u64, want: Result<Range<u64>, &str>| {
            let asked = header.map(asked_range).transpose();
            let got = asked.and_then(|asked| copy_range(asked, size));
            assert_eq!(got.map_err(|failure| failure.answer().code), want, "{header:?}");
        };
        check(None, 10, Ok(0..10));
        check(None, 0, Ok(0..0));
        check(Some("bytes=2-3"), 10, Ok(2..4));
        check(Some("bytes=0-9"), 10, Ok(0..10));
        check(Some("bytes=2-10"), 10, Err("InvalidArgument"));
        check(Some("bytes=0-18446744073709551615"), 10, Err("InvalidArgument"));
        check(Some("bytes=10-10"), 10, Err("InvalidRequest"));
        check(Some("bytes=11-20"), 10, Err("InvalidRequest"));
        check(Some("bytes=0-0"), 0, Err("InvalidRequest"));
        for malformed in ["", "2-3", "bytes=2-", "bytes=-3", "bytes=3-2", "bytes= 2-3", "bytes=a-b"] {
            check(Some(malformed), 10, Err("InvalidArgument"));
        }
        check(None, BLOB_BYTES_MAX + 1, Err("EntityTooLarge"));
        check(Some("bytes=0-5368709119"), 6 << 30, Ok(0..5 << 30));
        check(Some("bytes=0-5368709120"), 6 << 30, Err("EntityTooLarge"));
    }
}
