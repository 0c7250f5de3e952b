//! AbortMultipartUpload: the upload and its parts are gone.

use http::StatusCode;

use super::{Call, Outcome, empty};

pub(super) async fn abort(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let id = call.upload_id()?;
    call.open_upload(&bucket, id).await?;
    if !call.engine().abort_upload(&bucket, id).await? {
        return Err(call.no_such_upload());
    }
    Ok(empty(StatusCode::NO_CONTENT))
}
