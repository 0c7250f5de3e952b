//! Who may use a bucket: `?policy`, `?policyStatus` and `?publicAccessBlock`.
//!
//! The gateway has judged that the sender may ask for it. What is kept are settings of the bucket, which
//! `identity::bucket_rules` reads for every request. I1. A policy is kept only when it could be read
//! whole: byte for byte as it was sent, but with the ids of the users whom it names. I2. It is in force on every core before the answer. I3. A policy that lets in everybody is
//! refused while the bucket blocks such policies.
//! Source: Amazon S3 API Reference, the operations' pages; User Guide, "Blocking public access to your Amazon S3 storage".

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use nilas_engine::SettingKind;

use super::{Call, Outcome, document, empty, request_xml};
use crate::identity::bucket_rules::{PolicyRefusal, PublicAccessBlock, admitted, block_of};
use crate::identity::principals;
use crate::limits::{BUCKET_POLICY_BYTES_MAX, PUBLIC_ACCESS_XML_BYTES_MAX};
use crate::render::body::ResponseBody;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let text = bucket.settings.get(SettingKind::POLICY).ok_or_else(|| no_policy(call))?;
    let shown = std::str::from_utf8(text).map(|text| principals::shown(text, call.model()));
    let shown = shown.map_or_else(|_| text.clone(), Bytes::from);
    let mut response = Response::new(ResponseBody::from(shown));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let body = payload.read_document(call.headers, BUCKET_POLICY_BYTES_MAX, too_large()).await?;
    let text = std::str::from_utf8(&body).map_err(|_| S3Error::MalformedPolicy {
        message: "Policies must be valid JSON and the first byte must be '{'".to_owned(),
    })?;
    let kept = admitted(text, &bucket.name, block_of(&bucket.settings), call.model());
    let kept = kept.map_err(|refusal| match refusal {
        PolicyRefusal::Malformed(message) => S3Error::MalformedPolicy { message },
        PolicyRefusal::Public => S3Error::AccessDenied,
    })?;
    set(call, SettingKind::POLICY, Some(kept.into())).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A bucket without a policy is a bucket whose policy was deleted.
pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.bucket()?;
    set(call, SettingKind::POLICY, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) fn status(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let rules = call.s3.rules.of(&bucket, call.account()).ok_or_else(|| no_policy(call))?;
    if rules.policy.is_none() {
        return Err(no_policy(call));
    }
    let mut xml = Xml::new("PolicyStatus", 128);
    xml.text("IsPublic", if rules.is_public { "true" } else { "false" });
    Ok(document(xml))
}

pub(super) fn get_block(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let value = bucket.settings.get(SettingKind::PUBLIC_ACCESS).ok_or_else(|| S3Error::NotConfigured {
        code: "NoSuchPublicAccessBlockConfiguration",
        message: "The public access block configuration was not found",
        bucket: call.target.bucket.clone(),
    })?;
    let block = PublicAccessBlock::decode(value);
    let mut xml = Xml::new("PublicAccessBlockConfiguration", 256);
    for (name, is_on) in block.switches() {
        xml.text(name, if is_on { "true" } else { "false" });
    }
    Ok(document(xml))
}

pub(super) async fn put_block<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    call.bucket()?;
    let body = payload.read_xml(call.headers, PUBLIC_ACCESS_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let block = PublicAccessBlock::of_switches(request_xml::parse_public_access_block(&body)?);
    set(call, SettingKind::PUBLIC_ACCESS, Some(block.encode())).await?;
    Ok(empty(StatusCode::OK))
}

pub(super) async fn delete_block(call: &Call<'_>) -> Outcome {
    call.bucket()?;
    set(call, SettingKind::PUBLIC_ACCESS, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn set(call: &Call<'_>, kind: SettingKind, value: Option<Bytes>) -> Result<(), S3Error> {
    let name = &call.target.bucket;
    let changed = call.engine().set_setting(name, kind, value).await;
    changed.map(drop).map_err(|why| S3Error::bucket(why, name))
}

fn too_large() -> S3Error {
    S3Error::InvalidArgument {
        message: "Policy exceeds the maximum allowed document size.".into(),
        name: "policy",
        value: String::new(),
    }
}

fn no_policy(call: &Call<'_>) -> S3Error {
    S3Error::NotConfigured {
        code: "NoSuchBucketPolicy",
        message: "The bucket policy does not exist",
        bucket: call.target.bucket.clone(),
    }
}
