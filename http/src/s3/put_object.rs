//! PutObject: the body goes to the engine as it comes, and becomes an object once it was found right.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use nilas_engine::limits::{INLINE_BYTES_MAX, IO_BYTES_MAX};
use nilas_engine::{Bucket, ETag, NewObject, NewVersion, Place, PutCondition, VersionId};

use super::{
    Call, Outcome, append_object, conditions, empty, etag_header, extract, lifecycle, metadata, object_lock,
    version_id,
};
use crate::body::{Algorithm, BodyError, Received};
use crate::memory::BoundedBuffer;
use crate::render::body::ResponseBody;
use crate::render::error::S3Error;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::StoredChecksum;
use crate::s3::encryption::{Says, tag_of};
use crate::s3::payload::Payload;
use crate::s3::writer::Writer;
use crate::sse::seal::Key;
use crate::sse::stored::Encryption;

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    if extract::is_asked(call.headers)? {
        return extract::extract(call, payload).await;
    }
    if let Some(offset) = append_object::offset(call)? {
        return append_object::append(call, payload, offset).await;
    }
    let condition = conditions::of_write(call.headers)?;
    let made = store(call, payload, Length::Announced, condition).await?;
    Ok(made.answer(call))
}

/// How long the body of a new object is.
pub(super) enum Length {
    /// As the headers say.
    Announced,
    /// The file of a form.
    Form {
        /// Bytes that it must have.
        wanted: RangeInclusive<u64>,
        /// Bytes that it can have at most.
        max: u64,
        /// The checksum that is made when the form has none.
        algorithm: Option<Algorithm>,
    },
}

/// An object that was stored.
pub(super) struct Made {
    pub(super) etag: ETag,
    pub(super) checksum: Option<StoredChecksum>,
    /// Bytes.
    pub(super) size: u64,
    encryption: Option<Encryption>,
    bucket: Arc<Bucket>,
    version: VersionId,
    /// When it expires, if it does.
    expiration: Option<HeaderValue>,
}

impl Made {
    /// What a client is answered for it.
    pub(super) fn answer(&self, call: &Call<'_>) -> Response<ResponseBody> {
        let mut response = stored(&self.etag, self.checksum.as_ref());
        call.say_encryption(response.headers_mut(), self.encryption.as_ref(), Says::Made);
        self.name_version(response.headers_mut());
        response
    }

    /// Names the version, where the bucket keeps them, and says when it expires.
    pub(super) fn name_version(&self, headers: &mut HeaderMap) {
        version_id::put_header(headers, &self.bucket, self.version);
        if let Some(expiration) = &self.expiration {
            headers.insert(lifecycle::EXPIRATION, expiration.clone());
        }
    }
}

/// Stores the body as the request's object; the headers say what it is.
pub(super) async fn store<B>(
    call: &Call<'_>,
    payload: &mut Payload<'_, B>,
    length: Length,
    condition: PutCondition,
) -> Result<Made, S3Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let mut attributes = metadata::parse(call.headers)?;
    call.check_gives_tags(&attributes)?;
    let lock = object_lock::of_new_object(call, &bucket).await?;
    let (key, encryption) = call.sealing(&bucket).await?.map(|sealing| (sealing.key, sealing.kept)).unzip();
    let key = key.as_ref();
    let (writer, received) = match length {
        Length::Announced => {
            let length = payload.open_blob(call.headers, Algorithm::Crc64Nvme)?;
            call.check_write_early(&bucket, &condition).await?;
            call.check_quota_early(&bucket, Place::Object(call.key()), length).await?;
            let mut writer = Writer::begin(call.engine(), &bucket, length, key).await?;
            let received = take_body(call, payload, &mut writer).await?;
            (writer, received)
        }
        Length::Form { wanted, max, algorithm } => {
            let otherwise = algorithm.unwrap_or(Algorithm::Crc64Nvme);
            // A small file is taken whole, so that its size can be told when it is refused.
            let taken_max = (*wanted.end()).max(INLINE_BYTES_MAX);
            payload.open_form(call.headers, otherwise, taken_max, max)?;
            call.check_write_early(&bucket, &condition).await?;
            let (wanted_max, taken) = (*wanted.end(), max.min(taken_max));
            let file = take_file(call, payload, &bucket, key, wanted, taken).await;
            file.map_err(|failure| match failure {
                S3Error::Body(BodyError::EntityTooLarge { .. }) => {
                    S3Error::EntityTooLarge { proposed: max, max: wanted_max }
                }
                failure => failure,
            })?
        }
    };
    attributes.checksum = received.checksum.map(StoredChecksum::of_bytes);
    let etag = tag_of(encryption.as_ref(), received.md5.unwrap_or_default());
    attributes.encryption = encryption.map(|kept| Encryption { plain_bytes: received.bytes, ..kept });
    let object =
        NewObject { condition, etag, attributes: attributes.encode(), version: NewVersion::AsSet, lock };
    let published = writer.publish_object(call.key(), object).await;
    let info = published.map_err(|why| call.write_raced(why))?;
    let version = info.version();
    let expiration = lifecycle::expiration(call, &bucket, &info);
    let Attributes { checksum, encryption, .. } = attributes;
    Ok(Made { etag: info.etag, checksum, size: info.size, encryption, bucket, version, expiration })
}

/// As [`take_body`], of a body of which only is known that it has at most `max` bytes; it must have `wanted`.
async fn take_file<B>(
    call: &Call<'_>,
    payload: &mut Payload<'_, B>,
    bucket: &Arc<Bucket>,
    key: Option<&Key>,
    wanted: RangeInclusive<u64>,
    max: u64,
) -> Result<(Writer, Received), S3Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let memory = &call.s3.memory;
    let check = |received: &Received| match received.bytes {
        proposed if proposed < *wanted.start() => {
            Err(S3Error::FileTooSmall { proposed, min: *wanted.start() })
        }
        proposed if *wanted.end() < proposed => Err(S3Error::EntityTooLarge { proposed, max: *wanted.end() }),
        _ => Ok(()),
    };
    let small = usize::try_from(max.min(INLINE_BYTES_MAX)).expect("128 KiB");
    let mut gathered = BoundedBuffer::new(&memory.small_bodies, small);
    let more = loop {
        match payload.next().await {
            None => break None,
            Some(bytes) => {
                let bytes = bytes?;
                if small < gathered.len() + bytes.len() {
                    break Some(bytes);
                }
                gathered.push(&bytes).await?;
            }
        }
    };
    let Some(more) = more else {
        let received = payload.finish().await?;
        check(&received)?;
        let mut writer = Writer::begin(call.engine(), bucket, received.bytes, key).await?;
        writer.write(gathered.finish()).await?;
        return Ok((writer, received));
    };
    let _waiting = memory.uploads.take(upload_bytes(max)).await?;
    let mut writer = Writer::begin(call.engine(), bucket, max, key).await?;
    let mut next = Some(Ok(gathered.finish()));
    let mut after = Some(more);
    while let Some(bytes) = next {
        let bytes: Bytes = bytes?;
        // What is announced of a body bounds its file, but that is for the peer to keep.
        if writer.missing() < u64::try_from(bytes.len()).unwrap_or(u64::MAX) {
            return Err(S3Error::EntityTooLarge { proposed: max.saturating_add(1), max });
        }
        writer.write(bytes).await?;
        next = match after.take() {
            Some(more) => Some(Ok(more)),
            None => payload.next().await,
        };
    }
    let received = payload.finish().await?;
    check(&received)?;
    writer.shorten();
    Ok((writer, received))
}

/// Hands the whole body to `writer`, and checks it: on return every byte is written and everything the client said of
/// them is true. On an error the writer holds a part that must be dropped.
pub(super) async fn take_body<B>(
    call: &Call<'_>,
    payload: &mut Payload<'_, B>,
    writer: &mut Writer,
) -> Result<Received, S3Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let memory = &call.s3.memory;
    if writer.missing() <= INLINE_BYTES_MAX {
        let length = usize::try_from(writer.missing()).expect("128 KiB");
        let mut gathered = BoundedBuffer::new(&memory.small_bodies, length);
        while let Some(bytes) = payload.next().await {
            gathered.push(&bytes?).await?;
        }
        let received = payload.finish().await?;
        assert!(gathered.len() == length);
        writer.write(gathered.finish()).await?;
        return Ok(received);
    }
    // The piece that waits for this client's next bytes; the others wait for the drive.
    let _waiting = memory.uploads.take(upload_bytes(writer.missing())).await?;
    while let Some(bytes) = payload.next().await {
        let bytes = bytes?;
        // The decoder keeps to the announced length, and the writer was made for it.
        assert!(u64::try_from(bytes.len()).is_ok_and(|len| len <= writer.missing()));
        writer.write(bytes).await?;
    }
    let received = payload.finish().await?;
    assert!(writer.missing() == 0);
    Ok(received)
}

/// What an upload of `length` bytes is counted with.
pub(super) fn upload_bytes(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(IO_BYTES_MAX)
}

/// The answer to a stored object or part.
pub(super) fn stored(etag: &ETag, checksum: Option<&StoredChecksum>) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ETAG, etag_header(etag));
    if let Some(checksum) = checksum {
        checksum.put_headers(headers, etag.parts);
    }
    response
}
