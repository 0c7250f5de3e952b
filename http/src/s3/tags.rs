//! The three operations on a bucket's tags, and reading an object's.
//!
//! What tags are is `tag_set`'s to know. A bucket's are its setting [`SettingKind::TAGS`]. I1. A bucket whose tags were taken
//! away, or that was given none, has no setting: it answers `NoSuchTagSet`. I2. What [`TagSet::decode`] cannot read was written
//! by a newer version, and is not written over.
//! Source: Amazon S3 API Reference, PutBucketTagging.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use nilas_engine::{BucketSettings, EngineError, SettingKind};

use super::{Call, Outcome, attributes_of, document, empty, request_xml};
use crate::limits::TAGGING_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::s3::payload::Payload;
use crate::tag_set::{TagSet, Tagged};

/// Who gives tags to an object needs this right beside that to make it.
pub(super) const PUT_ACTION: &str = "s3:PutObjectTagging";
/// Who has the tags of an object copied, or learns how many there are, needs this right on it.
pub(super) const GET_ACTION: &str = "s3:GetObjectTagging";

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
