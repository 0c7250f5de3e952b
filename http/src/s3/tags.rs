//! The three operations on the tags of a bucket, and those on an object's.
//!
//! What tags are is `tag_set`'s to know. A bucket's are its setting [`SettingKind::TAGS`]. I1. A bucket whose tags were taken
//! away, or that was given none, has no setting: it answers `NoSuchTagSet`. I2. What [`TagSet::decode`] cannot read was written
//! by a newer version, and is not written over.
//! Source: Amazon S3 API Reference, PutBucketTagging.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use nilas_engine::{BucketSettings, EngineError, ObjectInfo, PutRefused, Revision, SettingKind, WriteError};

use super::{Call, Outcome, attributes_of, document, empty, metadata, request_xml, version_id};
use crate::limits::TAGGING_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::s3::attributes::Attributes;
use crate::s3::operations::Operation;
use crate::s3::payload::Payload;
use crate::tag_set::{TagSet, Tagged};

/// Who gives tags to an object needs this right beside that to make it.
pub(super) const PUT_ACTION: &str = "s3:PutObjectTagging";

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

/// Whether the sender may read the tags of the request's object: who may not is not even told how many there are.
pub(super) fn may_read(call: &Call<'_>) -> Result<bool, S3Error> {
    let (target, version) = (call.target, call.version()?);
    Ok(call.check_known_object(Operation::GetObjectTagging, &target.bucket, &target.key, version).is_ok())
}

/// An object without tags has an empty set of them, unlike a bucket.
pub(super) async fn get_object(call: &Call<'_>) -> Outcome {
    let version = call.version()?;
    let bucket = call.bucket()?;
    let info = call.find(&bucket, version).await?;
    let attributes = attributes_of(&info, &call.target.key)?;
    call.check_tags(&attributes)?;
    let mut response = document(attributes.tags.document());
    version_id::put_header(response.headers_mut(), &bucket, info.version());
    Ok(response)
}

pub(super) async fn put_object<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    // Judged here and not by the gateway: conditions may ask for what the body says.
    let tags = read(call, payload).await.and_then(|pairs| TagSet::new(Tagged::Object, pairs));
    if let Ok(tags) = &tags {
        call.caller.give_tags(tags.clone());
    }
    let version = call.version();
    let known = version.as_ref().ok().copied().flatten();
    call.check_object(Operation::PutObjectTagging, &call.target.bucket, &call.target.key, known).await?;
    let tags = tags?;
    version?;
    revise(call, tags, StatusCode::OK).await
}

pub(super) async fn delete_object(call: &Call<'_>) -> Outcome {
    revise(call, TagSet::default(), StatusCode::NO_CONTENT).await
}

/// Why tags are not replaced as they were found.
enum Unrevised {
    /// It was judged by other tags than the version has.
    Judged(TagSet),
    Attributes,
    TooLarge(usize),
}

/// Gives a version other tags, durable on return.
async fn revise(call: &Call<'_>, tags: TagSet, status: StatusCode) -> Outcome {
    let version = call.version()?;
    let bucket = call.bucket()?;
    let target = call.target;
    loop {
        let (tags, judged_by) = (tags.clone(), call.caller.known_tags(&target.bucket, &target.key));
        let change = move |info: &ObjectInfo| {
            let kept = Attributes::decode(&info.attributes).map_err(|_| Unrevised::Attributes)?;
            if judged_by.as_ref().is_some_and(|known| *known != kept.tags) {
                return Err(Unrevised::Judged(kept.tags));
            }
            let attributes = Attributes { tags: tags.clone(), ..kept };
            match metadata::fits(&attributes) {
                Ok(()) => Ok(Revision { attributes: attributes.encode(), lock: info.lock, bypass: false }),
                Err(size) => Err(Unrevised::TooLarge(size)),
            }
        };
        let info = match call.engine().revise(&bucket, call.key(), version, change).await {
            Ok(Ok(info)) => info,
            Ok(Err(Unrevised::Judged(found))) => {
                let operation = target.operation;
                call.check_tags_of(operation, &target.bucket, &target.key, version, &found)?;
                continue;
            }
            Ok(Err(Unrevised::Attributes)) => {
                return Err(S3Error::UnreadableAttributes { key: call.key() });
            }
            Ok(Err(Unrevised::TooLarge(size))) => return Err(S3Error::MetadataTooLarge { size }),
            Err(WriteError::Refused(PutRefused::NoSuchVersion)) => {
                // A marker, or nothing: the look-up says which.
                call.find(&bucket, version).await?;
                return Err(call.not_found(version));
            }
            Err(why) => return Err(call.write_failed(why)),
        };
        let mut response = empty(status);
        version_id::put_header(response.headers_mut(), &bucket, info.version());
        return Ok(response);
    }
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
