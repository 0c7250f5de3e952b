//! PutObject with `x-amz-write-offset-bytes`: more bytes at the end of an object.
//!
//! The engine keeps an object as it was put, so the bytes that are there are read and written again with those that come, as one
//! new object in place of the old one: whoever reads sees the one or the other. What an append costs grows with the object, so
//! objects that are appended to have a bound of their own. Source: Amazon S3 API, "PutObject", directory buckets.
//!
//! I1. The object is replaced only if it is still the one that was read, with the same tags and all else that is kept with it.

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Body;
use nilas_engine::{NewObject, NewVersion, Place, PutCondition};

use super::copy_object::hold_copy;
use super::put_object::{Length, store, stored};
use super::{Call, Outcome, attributes_of, conditions, lifecycle, object_lock, unsigned, version_id};
use crate::body::{Algorithm, HashPlan, Hashers};
use crate::limits::APPENDED_BYTES_MAX;
use crate::render::body::{BodyCut, ResponseBody};
use crate::render::error::S3Error;
use crate::s3::checksum::{Kind, StoredChecksum};
use crate::s3::encryption::{Of, Says, tag_of};
use crate::s3::payload::Payload;
use crate::s3::reader::Reader;
use crate::s3::writer::Writer;
use crate::sse::stored::Encryption;

const OFFSET: &str = "x-amz-write-offset-bytes";

/// Where the request writes, if it says that.
pub(super) fn offset(call: &Call<'_>) -> Result<Option<u64>, S3Error> {
    let Some(text) = call.field(OFFSET) else { return Ok(None) };
    unsigned(&text).map(Some).ok_or_else(|| S3Error::InvalidArgument {
        message: format!("Value for {OFFSET} header is invalid.").into(),
        name: OFFSET,
        value: text,
    })
}

pub(super) async fn append<B>(call: &Call<'_>, payload: &mut Payload<'_, B>, offset: u64) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let condition = conditions::of_write(call.headers)?;
    let reader = call.engine().open(&bucket, call.key()).await?.map(Reader::new);
    conditions::check_write(&condition, reader.as_ref().map(Reader::info), &call.target.key)?;
    let size = reader.as_ref().map_or(0, |reader| reader.info().size);
    if offset != size {
        return Err(S3Error::InvalidWriteOffset);
    }
    let Some(mut reader) = reader else {
        let made = store(call, payload, Length::Announced, PutCondition::IfAbsent).await?;
        let size = made.size;
        return Ok(with_size(made.answer(call), size));
    };
    let length = payload.open_blob(call.headers, Algorithm::Crc64Nvme)?;
    let proposed = size.saturating_add(length);
    if APPENDED_BYTES_MAX < proposed {
        return Err(S3Error::EntityTooLarge { proposed, max: APPENDED_BYTES_MAX });
    }
    call.check_quota_early(&bucket, Place::Object(call.key()), proposed).await?;
    let mut attributes = attributes_of(reader.info(), &call.target.key)?;
    // As it is encrypted it stays, with a key of its own again for what is written now.
    reader.unlock(call.key_of(&bucket, attributes.encryption.as_ref(), Of::Target)?);
    let (key, encryption) = call
        .sealing_as(&bucket, attributes.encryption.as_ref())?
        .map(|sealing| (sealing.key, sealing.kept))
        .unzip();
    // Of the parts' checksums none can be made of all bytes.
    let whole = attributes.checksum.as_ref().filter(|checksum| checksum.kind == Kind::FullObject);
    let algorithm = whole.map_or(Algorithm::Crc64Nvme, |checksum| checksum.algorithm);
    let _held = hold_copy(call, proposed).await?;
    let mut writer = Writer::begin(call.engine(), &bucket, proposed, key.as_ref()).await?;
    let mut hashers = Hashers::new(HashPlan { md5: true, sha256: false, checksum: Some(algorithm) });
    let (sequence, kept) = (reader.info().sequence, reader.info().attributes.clone());
    let still = PutCondition::IfSame { sequence, attributes: kept };
    let mut stream = reader.read(0..size)?;
    while length < writer.missing() {
        let left = writer.missing() - length;
        let cut = |got| S3Error::ReadCut(BodyCut::Length { expected: left, got });
        let piece = stream.next().await.ok_or_else(|| cut(0))??;
        let got = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if left < got {
            return Err(cut(got));
        }
        hashers.update(&piece);
        writer.write(piece).await?;
    }
    while let Some(bytes) = payload.next().await {
        let bytes = bytes?;
        hashers.update(&bytes);
        writer.write(bytes).await?;
    }
    payload.finish().await?;
    let digests = hashers.finish();
    attributes.checksum = digests.checksum.map(StoredChecksum::of_bytes);
    let etag = tag_of(encryption.as_ref(), digests.md5.unwrap_or_default());
    attributes.encryption = encryption.map(|kept| Encryption { plain_bytes: proposed, ..kept });
    let lock = object_lock::of_new_object(call, &bucket).await?;
    attributes.hold_off = object_lock::asks_hold_off(call.headers);
    let object = NewObject {
        condition: still,
        etag,
        attributes: attributes.encode(),
        version: NewVersion::AsSet,
        lock,
    };
    let published = writer.publish_object(call.key(), object).await;
    let info = published.map_err(|why| call.write_raced(why))?;
    let mut response = stored(&info.etag, attributes.checksum.as_ref());
    call.say_encryption(response.headers_mut(), attributes.encryption.as_ref(), Says::Made);
    version_id::put_header(response.headers_mut(), &bucket, info.version());
    lifecycle::put_expiration(call, response.headers_mut(), &bucket, &info);
    Ok(with_size(response, info.size))
}

fn with_size(mut response: Response<ResponseBody>, size: u64) -> Response<ResponseBody> {
    response.headers_mut().insert("x-amz-object-size", HeaderValue::from(size));
    response
}
