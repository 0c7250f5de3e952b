//! AbortMultipartUpload: the upload and its parts are gone.

use http::StatusCode;

use super::{Call, Outcome, empty};
use crate::render::error::S3Error;
use crate::render::time::parse_http_date;

/// The upload must have been opened in this second.
const INITIATED: &str = "x-amz-if-match-initiated-time";

pub(super) async fn abort(call: &Call<'_>) -> Outcome {
    let initiated_s = match call.field(INITIATED) {
        None => None,
        Some(text) => Some(parse_http_date(&text).ok_or_else(|| S3Error::InvalidArgument {
            message: format!("Value for {INITIATED} header is invalid.").into(),
            name: INITIATED,
            value: text,
        })?),
    };
    let bucket = call.bucket()?;
    let id = call.upload_id()?;
    let upload = call.upload(&bucket, id).await?;
    // It never changes, so nothing can come between.
    if initiated_s.is_some_and(|seconds| seconds != upload.created_ms / 1000) {
        return Err(S3Error::PreconditionFailed { condition: INITIATED });
    }
    if !call.engine().abort_upload(&bucket, id).await? {
        return Err(call.no_such_upload());
    }
    Ok(empty(StatusCode::NO_CONTENT))
}
