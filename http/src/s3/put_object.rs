//! PutObject: the body goes to the engine as it comes, and becomes an object once it was found right.

use bytes::Bytes;
use http::header::ETAG;
use http::{Response, StatusCode};
use http_body::Body;
use nilas_engine::{ETag, PutWriter};

use super::{Call, Outcome, conditions, empty, etag_header, metadata};
use crate::body::{Algorithm, Received};
use crate::render::body::ResponseBody;
use crate::render::error::Failure;
use crate::s3::checksum::StoredChecksum;
use crate::s3::payload::Payload;

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let mut attributes = metadata::parse(call.headers)?;
    let condition = conditions::of_write(call.headers)?;
    let length = payload.open_blob(call.headers, Algorithm::Crc64Nvme)?;
    call.check_write_early(&bucket, &condition).await?;

    let mut writer = call.engine().writer(&bucket, length).await?;
    let received = take_body(payload, &mut writer).await?;

    attributes.checksum = received.checksum.map(StoredChecksum::of_bytes);
    let etag = ETag { md5: received.md5.unwrap_or_default(), parts: 0 };
    let published = writer.publish(call.key(), condition, etag, attributes.encode()).await?;
    let info = published.map_err(|why| Failure::refused(why, &call.target.bucket, &call.target.key, ""))?;
    Ok(stored(&info.etag, attributes.checksum.as_ref()))
}

/// Hands the whole body to `writer`, and checks it: on return every byte is written and everything the client said of
/// them is true. On an error the writer holds a part that must be dropped.
pub(super) async fn take_body<B>(
    payload: &mut Payload<'_, B>,
    writer: &mut PutWriter,
) -> Result<Received, Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
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
