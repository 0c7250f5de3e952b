//! Configurations of buckets and objects that are always the same: what S3 answers when nothing was configured.
//!
//! Load generators, SDK tools and test suites ask for them before and after their work.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use nilas_engine::{EngineError, SettingKind};

use super::{Call, Outcome, Owner, document, object_headers, owner_xml, version_id};
use crate::render::error::S3Error;
use crate::render::xml::Xml;

/// Configurations of a bucket that can be asked for; all of them are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Configuration {
    Accelerate,
    Acl,
    Cors,
    Encryption,
    Lifecycle,
    Logging,
    Notification,
    Replication,
    RequestPayment,
    Tagging,
    Website,
}

impl Configuration {
    /// The setting of the bucket that it would show.
    fn setting(self) -> Option<SettingKind> {
        match self {
            Configuration::Cors => Some(SettingKind::CORS),
            Configuration::Encryption => Some(SettingKind::ENCRYPTION),
            Configuration::Lifecycle => Some(SettingKind::LIFECYCLE),
            Configuration::Notification => Some(SettingKind::NOTIFICATIONS),
            Configuration::Tagging => Some(SettingKind::TAGS),
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
        Configuration::Cors => missing("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
        Configuration::Encryption => missing(
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        ),
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
        Configuration::Tagging => missing("NoSuchTagSet", "The TagSet does not exist"),
        Configuration::Website => missing(
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
        ),
    }
}

pub(super) async fn object_acl(call: &Call<'_>) -> Outcome {
    let owner = call.owner_of(&*call.bucket()?);
    about_object(call, acl(&owner)).await
}

/// An object without tags has an empty set of them, unlike a bucket.
pub(super) async fn object_tagging(call: &Call<'_>) -> Outcome {
    let mut xml = Xml::new("Tagging", 256);
    xml.open("TagSet");
    xml.close("TagSet");
    about_object(call, xml).await
}

async fn about_object(call: &Call<'_>, xml: Xml) -> Outcome {
    let version = call.version()?;
    let bucket = call.bucket()?;
    let info = call.find(&bucket, version).await?;
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
        check(Configuration::Tagging, "NoSuchTagSet");
        check(Configuration::Cors, "NoSuchCORSConfiguration");
        check(Configuration::RequestPayment, "<Payer>BucketOwner</Payer>");
        check(Configuration::Acl, "<Owner><ID>ID</ID><DisplayName>name</DisplayName></Owner>");
        check(Configuration::Acl, "<Permission>FULL_CONTROL</Permission>");
    }
}
