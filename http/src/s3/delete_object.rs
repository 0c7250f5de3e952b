//! DeleteObject: an absent key is as good as a deleted one, unless a condition asks for it. In a bucket with versions a key
//! that is deleted by its name alone gets a delete marker; a version that is named goes for good.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use nilas_engine::{Bucket, ETag, PutCondition, Removal, Removed, VersionId, WriteError};

use super::{Call, Outcome, attributes, conditions, empty, not_found, object_lock, unsigned, version_id};
use crate::render::error::S3Error;
use crate::render::time::parse_http_date;

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.version()?;
    let bucket = call.bucket()?;
    let bad = |name: &'static str, value: String| S3Error::InvalidArgument {
        message: format!("Value for {name} header is invalid.").into(),
        name,
        value,
    };
    let size = match call.field("x-amz-if-match-size") {
        None => None,
        Some(text) => Some(unsigned(&text).ok_or_else(|| bad("x-amz-if-match-size", text))?),
    };
    let modified_s = match call.field("x-amz-if-match-last-modified-time") {
        None => None,
        Some(text) => {
            Some(parse_http_date(&text).ok_or_else(|| bad("x-amz-if-match-last-modified-time", text))?)
        }
    };
    let condition = DeleteCondition { etag: call.field("if-match"), size, modified_s };
    let version = call.version()?;
    let bypass = object_lock::asks_bypass(call)? && object_lock::may_bypass(call, &bucket, &call.target.key);
    let removed = delete_one(call, &bucket, call.key(), version, &condition, bypass).await?;
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    // Which version is gone, or which marker came.
    match removed.marker.or(version) {
        None => {}
        Some(VersionId::Null) if !version_id::are_shown(&bucket) => {}
        Some(id) => version_id::put_header(headers, &bucket, id),
    }
    if removed.marker.is_some() || removed.was_marker {
        headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// What an object must be to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeleteCondition {
    /// `If-Match`.
    pub(super) etag: Option<String>,
    /// Bytes.
    pub(super) size: Option<u64>,
    /// Seconds since 1970.
    pub(super) modified_s: Option<u64>,
}

/// Deletes one key, or a version of it, if it is what the condition says.
///
/// Size and time are looked at first; the delete itself then holds only for the tag of what was looked at.
pub(super) async fn delete_one(
    call: &Call<'_>,
    bucket: &Bucket,
    key: Bytes,
    version: Option<VersionId>,
    asked: &DeleteCondition,
    bypass: bool,
) -> Result<Removed, S3Error> {
    let mut condition = match &asked.etag {
        None => PutCondition::None,
        Some(value) => conditions::if_match(value),
    };
    if asked.size.is_some() || asked.modified_s.is_some() {
        let info = call.engine().head_version(bucket, key.clone(), version).await?.object();
        conditions::check_write(&condition, info.as_ref(), &key)?;
        let info = info.ok_or_else(|| not_found(&key, version))?;
        let differs = asked
            .size
            .is_some_and(|size| size != attributes::plain_bytes(&info.attributes).unwrap_or(info.size))
            || asked.modified_s.is_some_and(|seconds| seconds != info.modified_ms / 1000);
        if differs {
            return Err(S3Error::PreconditionFailed { condition: "If-Match" });
        }
        let etag: ETag = info.etag;
        condition = PutCondition::IfMatch(vec![etag]);
    }
    let removal = Removal { key: key.clone(), version, condition, bypass };
    let told = match call.engine().remove(bucket, vec![removal]).await {
        Ok(mut told) => told.pop().unwrap_or(Ok(Removed::default())),
        Err(WriteError::Refused(why)) => Err(why),
        Err(WriteError::Engine(error)) => return Err(error.into()),
    };
    told.map_err(|why| S3Error::write(why.into(), &bucket.name, &key, ""))
}
