//! Configurations of buckets and objects that are always the same: what S3 answers when nothing was configured.
//!
//! Who sets one to what it is, as tools do that manage buckets, is answered that it is so; who asks for another is refused
//! by the name of what is not served. Nothing of it is kept.
//! Load generators, SDK tools and test suites ask for them before and after their work.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body::Body;
use nilas_engine::{EngineError, SettingKind};

use super::{
    Call, Outcome, Owner, attributes_of, document, empty, object_headers, owner_xml, request_xml, version_id,
};
use crate::limits::CONFIGURATION_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;
use crate::s3::request_xml::Fixable;

/// Configurations of a bucket that can be asked for; all of them are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Configuration {
    Accelerate,
    Acl,
    Lifecycle,
    Logging,
    Notification,
    Replication,
    RequestPayment,
    Website,
}

impl Configuration {
    /// The setting of the bucket that it would show.
    fn setting(self) -> Option<SettingKind> {
        match self {
            Configuration::Lifecycle => Some(SettingKind::LIFECYCLE),
            Configuration::Notification => Some(SettingKind::NOTIFICATIONS),
            Configuration::Accelerate
            | Configuration::Acl
            | Configuration::Logging
            | Configuration::Replication
            | Configuration::RequestPayment
            | Configuration::Website => None,
        }
    }
}

/// What a bucket without that configuration is answered with.
enum Fixed {
    Document(Xml),
    Missing { code: &'static str, message: &'static str },
}

pub(super) fn get(call: &Call<'_>, configuration: Configuration) -> Outcome {
    let bucket = call.bucket()?;
    // What a newer version has set is not said to be missing.
    if let Some(kind) = configuration.setting().filter(|kind| bucket.settings.get(*kind).is_some()) {
        return Err(EngineError::UnsupportedSetting { kind }.into());
    }
    match fixed(configuration, &call.owner_of(&bucket)) {
        Fixed::Document(xml) => Ok(document(xml)),
        Fixed::Missing { code, message } => {
            Err(S3Error::NotConfigured { code, message, bucket: call.target.bucket.clone() })
        }
    }
}

fn fixed(configuration: Configuration, owner: &Owner) -> Fixed {
    let missing = |code, message| Fixed::Missing { code, message };
    let document = |root| Fixed::Document(Xml::new(root, 256));
    match configuration {
        Configuration::Accelerate => document("AccelerateConfiguration"),
        Configuration::Acl => Fixed::Document(acl(owner)),
        Configuration::Lifecycle => {
            missing("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
        }
        Configuration::Logging => document("BucketLoggingStatus"),
        Configuration::Notification => document("NotificationConfiguration"),
        Configuration::Replication => {
            missing("ReplicationConfigurationNotFoundError", "The replication configuration was not found")
        }
        Configuration::RequestPayment => {
            let mut xml = Xml::new("RequestPaymentConfiguration", 256);
            xml.text("Payer", "BucketOwner");
            Fixed::Document(xml)
        }
        Configuration::Website => missing(
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
        ),
    }
}

/// Takes a configuration that says what is so anyway.
pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>, fixable: Fixable) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    call.bucket()?;
    let body = payload.read_xml(call.headers, CONFIGURATION_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    request_xml::parse_fixable(&body, fixable)?;
    Ok(empty(StatusCode::OK))
}

/// Takes away a configuration that no bucket has.
pub(super) fn delete(call: &Call<'_>) -> Outcome {
    call.bucket()?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn object_acl(call: &Call<'_>) -> Outcome {
    let owner = call.owner_of(&*call.bucket()?);
    about_object(call, acl(&owner)).await
}

async fn about_object(call: &Call<'_>, xml: Xml) -> Outcome {
    let version = call.version()?;
    let bucket = call.bucket()?;
    let info = call.find(&bucket, version).await?;
    call.check_tags(&attributes_of(&info, &call.target.key)?)?;
    let mut response = document(xml);
    let headers = response.headers_mut();
    object_headers(headers, &info);
    version_id::put_header(headers, &bucket, info.version());
    headers.remove(http::header::ETAG);
    headers.remove(http::header::ACCEPT_RANGES);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(configuration: Configuration, want: &str) {
        let owner = Owner { id: "ID".into(), display_name: "name".into() };
        let got = match fixed(configuration, &owner) {
            Fixed::Missing { code, .. } => code.to_owned(),
            Fixed::Document(xml) => String::from_utf8_lossy(&xml.finish()).into_owned(),
        };
        assert!(got.contains(want), "{configuration:?}: {got}");
    }

    #[test]
    fn answers() {
        check(
            Configuration::Logging,
            "<BucketLoggingStatus xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></",
        );
        check(Configuration::RequestPayment, "<Payer>BucketOwner</Payer>");
        check(Configuration::Acl, "<Owner><ID>ID</ID><DisplayName>name</DisplayName></Owner>");
        check(Configuration::Acl, "<Permission>FULL_CONTROL</Permission>");
    }
}
