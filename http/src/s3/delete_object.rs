//! DeleteObject: an absent key is as good as a deleted one, unless a condition asks for it.

use bytes::Bytes;
use http::StatusCode;
use nilas_engine::{Bucket, ETag, PutCondition};

use super::{Call, Outcome, conditions, empty, unsigned};
use crate::render::error::S3Error;
use crate::render::time::parse_http_date;

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.check_version()?;
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
    delete_one(call, &bucket, call.key(), &condition).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

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

/// Deletes one key if it is what the condition says.
///
/// Size and time are looked at first; the delete itself then holds only for the tag of what was looked at.
pub(super) async fn delete_one(
    call: &Call<'_>,
    bucket: &Bucket,
    key: Bytes,
    condition: &DeleteCondition,
) -> Result<(), S3Error> {
    let mut put_condition = match &condition.etag {
        None => PutCondition::None,
        Some(value) => conditions::if_match(value),
    };
    if condition.size.is_some() || condition.modified_s.is_some() {
        let info = call.engine().head(bucket, key.clone()).await?;
        conditions::check_write(&put_condition, info.as_ref(), &key)?;
        let info = info.ok_or_else(|| S3Error::NoSuchKey { key: key.clone() })?;
        let differs = condition.size.is_some_and(|size| size != info.size)
            || condition.modified_s.is_some_and(|seconds| seconds != info.modified_ms / 1000);
        if differs {
            return Err(S3Error::PreconditionFailed { condition: "If-Match" });
        }
        let etag: ETag = info.etag;
        put_condition = PutCondition::IfMatch(vec![etag]);
    }
    if put_condition == PutCondition::None {
        call.engine().delete(bucket, vec![key]).await?;
        return Ok(());
    }
    let deleted = call.engine().delete_if(bucket, key.clone(), put_condition).await;
    deleted.map_err(|why| S3Error::write(why, &bucket.name, &key, ""))?;
    Ok(())
}
