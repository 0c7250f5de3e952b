//! UploadPart and UploadPartCopy: bytes of one part, from the request or from another object.

use bytes::Bytes;
use http_body::Body;
use nilas_engine::{Bucket, ETag, UploadId};

use super::copy_object::{allowed_source, copy_bytes, hold_copy, open_source};
use super::put_object::{stored, take_body};
use super::{Call, Outcome, document, metadata, range};
use crate::body::{Algorithm, Declared, HashPlan};
use crate::limits::BLOB_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::StoredChecksum;
use crate::s3::payload::Payload;

pub(super) async fn upload<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let (id, number) = (call.upload_id()?, call.part_number()?);
    metadata::check_served(call.headers)?;
    let wanted = wanted_algorithm(call, &bucket, id).await?;
    let sent = Declared::parse(call.headers)?.algorithm();
    if let (Some(wanted), Some(sent)) = (wanted, sent)
        && wanted != sent
    {
        return Err(mismatch(wanted, sent));
    }
    let length = payload.open_blob(call.headers, wanted.unwrap_or(Algorithm::Crc64Nvme))?;
    let mut writer = call.engine().writer(&bucket, length).await?;
    let received = take_body(call, payload, &mut writer).await?;

    let checksum = received.checksum.map(StoredChecksum::of_bytes);
    let etag = ETag { md5: received.md5.unwrap_or_default(), parts: 0 };
    let attributes = Attributes { checksum, ..Attributes::default() };
    let published = writer.publish_part(id, number, etag, attributes.encode()).await;
    let part = published.map_err(|why| call.write_failed(why))?;
    let mut response = stored(&part.etag, attributes.checksum.as_ref());
    // A part is not the object; its kind is not said.
    response.headers_mut().remove("x-amz-checksum-type");
    Ok(response)
}

pub(super) async fn copy(call: &Call<'_>) -> Outcome {
    let source = allowed_source(call)?;
    let bucket = call.bucket()?;
    let (id, number) = (call.upload_id()?, call.part_number()?);
    metadata::check_served(call.headers)?;
    let wanted = wanted_algorithm(call, &bucket, id).await?;
    let reader = open_source(call, &source).await?;
    let bytes = copy_range(call.field("x-amz-copy-source-range").as_deref(), reader.info.size)?;
    let length = bytes.end - bytes.start;
    let mut writer = call.engine().writer(&bucket, length).await?;
    let plan = HashPlan { md5: true, sha256: false, checksum: Some(wanted.unwrap_or(Algorithm::Crc64Nvme)) };
    let _held = hold_copy(call, length).await?;
    let copied = copy_bytes(reader.read(bytes), &mut writer, length, plan).await?;

    let checksum = copied.checksum.map(StoredChecksum::of_bytes);
    let etag = ETag { md5: copied.md5.unwrap_or_default(), parts: 0 };
    let attributes = Attributes { checksum, ..Attributes::default() };
    let published = writer.publish_part(id, number, etag, attributes.encode()).await;
    let part = published.map_err(|why| call.write_failed(why))?;

    let mut xml = Xml::new("CopyPartResult", 512);
    xml.text("LastModified", &iso_8601(part.modified_ms));
    xml.etag(&part.etag);
    if let Some(value) = attributes.checksum.and_then(|checksum| checksum.value) {
        xml.text(value.algorithm().element(), &value.to_base64());
    }
    Ok(document(xml))
}

/// The algorithm that the upload was opened with, if it named one. The upload must be open and for this key.
async fn wanted_algorithm(
    call: &Call<'_>,
    bucket: &Bucket,
    id: UploadId,
) -> Result<Option<Algorithm>, S3Error> {
    let attributes = call.open_upload(bucket, id).await?;
    Ok(attributes.checksum.map(|checksum| checksum.algorithm))
}

fn mismatch(wanted: Algorithm, sent: Algorithm) -> S3Error {
    S3Error::invalid_request(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        wanted.name().to_ascii_lowercase(),
        sent.name().to_ascii_lowercase(),
    ))
}

/// The bytes of the source that become the part.
fn copy_range(header: Option<&str>, size: u64) -> Result<std::ops::Range<u64>, S3Error> {
    let bad = |message: String, value: &str| S3Error::InvalidArgument {
        message: message.into(),
        name: "x-amz-copy-source-range",
        value: value.to_owned(),
    };
    let range = match header {
        None => 0..size,
        Some(text) if range::parse_copy(text, u64::MAX).is_none() => {
            let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and \
                           last are the zero-based offsets of the first and last bytes to copy";
            return Err(bad(message.to_owned(), text));
        }
        Some(text) => range::parse_copy(text, size).ok_or_else(|| {
            bad(format!("Range specified is not valid for source object of size: {size}"), text)
        })?,
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
    fn ranges() {
        let check = |header: Option<&str>, size: u64, want: Result<std::ops::Range<u64>, &str>| {
            assert_eq!(copy_range(header, size).map_err(|failure| failure.answer().code), want, "{header:?}");
        };
        check(None, 10, Ok(0..10));
        check(None, 0, Ok(0..0));
        check(Some("bytes=2-3"), 10, Ok(2..4));
        check(Some("bytes=2-10"), 10, Err("InvalidArgument"));
        check(Some("bytes=2-"), 10, Err("InvalidArgument"));
        check(Some("2-3"), 10, Err("InvalidArgument"));
        check(None, BLOB_BYTES_MAX + 1, Err("EntityTooLarge"));
        check(Some("bytes=0-5368709119"), 6 << 30, Ok(0..5 << 30));
        check(Some("bytes=0-5368709120"), 6 << 30, Err("EntityTooLarge"));
    }
}
