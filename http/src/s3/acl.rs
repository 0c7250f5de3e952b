//! ACLs: there is one, and whoever sets that one is answered that it is so.
//!
//! The owner of a bucket may do everything with it and its objects; who else may do what is for policies to say. I1. An ACL
//! that grants anything else is refused and never kept: by a bucket whose owner is enforced as S3 does, by any other as
//! not implemented.
//! Source: Amazon S3 API Reference, PutBucketAcl and PutObjectAcl; User Guide, "Controlling ownership of objects".

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body::Body;

use super::{
    Call, Outcome, Owner, attributes_of, document, empty, object_headers, owner_xml, request_xml, version_id,
};
use crate::limits::CONFIGURATION_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::parameters::Refusal;
use crate::s3::payload::Payload;

pub(super) fn get_bucket(call: &Call<'_>) -> Outcome {
    let owner = call.owner_of(&*call.bucket()?);
    Ok(document(acl(&owner)))
}

pub(super) async fn get_object(call: &Call<'_>) -> Outcome {
    let version = call.version()?;
    let bucket = call.bucket()?;
    let info = call.find(&bucket, version).await?;
    call.check_tags(&attributes_of(&info, &call.target.key)?)?;
    let mut response = document(acl(&call.owner_of(&bucket)));
    let headers = response.headers_mut();
    object_headers(headers, &info);
    version_id::put_header(headers, &bucket, info.version());
    headers.remove(http::header::ETAG);
    headers.remove(http::header::ACCEPT_RANGES);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

pub(super) async fn put_bucket<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    check(call, payload).await?;
    Ok(empty(StatusCode::OK))
}

pub(super) async fn put_object<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let version = call.version()?;
    check(call, payload).await?;
    let bucket = call.bucket()?;
    let info = call.find(&bucket, version).await?;
    call.check_tags(&attributes_of(&info, &call.target.key)?)?;
    let mut response = empty(StatusCode::OK);
    version_id::put_header(response.headers_mut(), &bucket, info.version());
    Ok(response)
}

/// Refuses an ACL that is another than the one there is. What a header names was looked at before.
async fn check<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Result<(), S3Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let body = payload.read_xml(call.headers, CONFIGURATION_XML_BYTES_MAX).await?;
    match (call.headers.contains_key("x-amz-acl"), body.is_empty()) {
        (true, true) => return Ok(()),
        (true, false) => return Err(S3Error::UnexpectedContent),
        (false, true) => return Err(S3Error::MissingSecurityHeader { header: "x-amz-acl" }),
        (false, false) => {}
    }
    let grants = request_xml::parse_acl(&body)?;
    let owner = call.owner_of(&bucket);
    let is_so = |grant: &(Option<String>, String)| {
        grant.0.as_deref() == Some(&*owner.id) && grant.1 == "FULL_CONTROL"
    };
    match &grants[..] {
        [grant] if is_so(grant) => Ok(()),
        _ => Err(call.refused_as(Refusal::Acl, "AccessControlPolicy")?),
    }
}

/// The owner may do everything, and nobody else is named.
fn acl(owner: &Owner) -> Xml {
    let mut xml = Xml::new("AccessControlPolicy", 768);
    owner_xml(&mut xml, "Owner", owner);
    xml.open("AccessControlList");
    xml.open("Grant");
    xml.open("Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"");
    xml.text("ID", &owner.id);
    xml.text("DisplayName", &owner.display_name);
    xml.close("Grantee");
    xml.text("Permission", "FULL_CONTROL");
    xml.close("Grant");
    xml.close("AccessControlList");
    xml
}
