//! Whether a bucket keeps versions: `?versioning`. The choice is the bucket's setting [`SettingKind::VERSIONING`].
//!
//! I1. A bucket with object lock keeps its versions: the engine refuses what this file is asked for otherwise.
//! Source: Amazon S3 API Reference, PutBucketVersioning, GetBucketVersioning.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use nilas_engine::{BucketError, EngineError, SettingKind, Versioning};

use super::{Call, Outcome, document, empty, request_xml};
use crate::limits::VERSIONING_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let unknown = EngineError::UnsupportedSetting { kind: SettingKind::VERSIONING };
    let versioning = bucket.settings.versioning().ok_or(unknown)?;
    let mut xml = Xml::new("VersioningConfiguration", 256);
    if let Some(status) = versioning.value() {
        xml.text("Status", status);
    }
    Ok(document(xml))
}

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    call.bucket()?;
    let body = payload.read_xml(call.headers, VERSIONING_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let asked = request_xml::parse_versioning(&body)?;
    match asked.mfa_delete.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled") => {
            return Err(S3Error::NotImplementedParameter { parameter: "MfaDelete".to_owned() });
        }
        Some(_) => return Err(S3Error::MalformedXml),
    }
    let status = asked.status.ok_or(S3Error::IllegalVersioningConfiguration)?;
    let versioning = match Versioning::parse(Some(status.as_bytes())) {
        Some(versioning) if versioning != Versioning::Unset => versioning,
        _ => return Err(S3Error::MalformedXml),
    };
    let value = versioning.value().map(|value| Bytes::from_static(value.as_bytes()));
    let name = &call.target.bucket;
    match call.engine().set_setting(name, SettingKind::VERSIONING, value).await {
        Ok(_) => Ok(empty(StatusCode::OK)),
        Err(BucketError::LockNeedsVersions) => Err(S3Error::InvalidBucketState {
            message: "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        }),
        Err(why) => Err(S3Error::bucket(why, name)),
    }
}
