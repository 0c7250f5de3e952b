//! PutObject: the body goes to the engine as it comes, and becomes an object once it was found right.

use bytes::Bytes;
use http::header::ETAG;
use http::{Response, StatusCode};
use http_body::Body;
use nilas_engine::limits::{INLINE_BYTES_MAX, IO_BYTES_MAX};
use nilas_engine::{ETag, NewObject, NewVersion, PutWriter};

use super::{Call, Outcome, conditions, empty, etag_header, metadata, object_lock, version_id};
use crate::body::{Algorithm, Received};
use crate::memory::BoundedBuffer;
use crate::render::body::ResponseBody;
use crate::render::error::S3Error;
use crate::s3::checksum::StoredChecksum;
use crate::s3::payload::Payload;

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let mut attributes = metadata::parse(call.headers)?;
    call.check_gives_tags(&attributes)?;
    let condition = conditions::of_write(call.headers)?;
    let lock = object_lock::of_new_object(call, &bucket).await?;
    let length = payload.open_blob(call.headers, Algorithm::Crc64Nvme)?;
    call.check_write_early(&bucket, &condition).await?;

    let mut writer = call.engine().writer(&bucket, length).await?;
    let received = take_body(call, payload, &mut writer).await?;

    attributes.checksum = received.checksum.map(StoredChecksum::of_bytes);
    let etag = ETag { md5: received.md5.unwrap_or_default(), parts: 0 };
    let object =
        NewObject { condition, etag, attributes: attributes.encode(), version: NewVersion::AsSet, lock };
    let published = writer.publish_object(call.key(), object).await;
    let info = published.map_err(|why| call.write_failed(why))?;
    let mut response = stored(&info.etag, attributes.checksum.as_ref());
    version_id::put_header(response.headers_mut(), &bucket, info.version());
    Ok(response)
}

/// Hands the whole body to `writer`, and checks it: on return every byte is written and everything the client said of
/// them is true. On an error the writer holds a part that must be dropped.
pub(super) async fn take_body<B>(
    call: &Call<'_>,
    payload: &mut Payload<'_, B>,
    writer: &mut PutWriter,
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
