//! Configurations of buckets that are always the same: what S3 answers when nothing was configured.
//!
//! Who sets one to what it is, as tools do that manage buckets, is answered that it is so; who asks for another is refused
//! by the name of what is not served. Nothing of it is kept.
//! Load generators, SDK tools and test suites ask for them before and after their work.

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use nilas_engine::{EngineError, SettingKind};

use super::{Call, Outcome, document, empty, request_xml};
use crate::limits::CONFIGURATION_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;
use crate::s3::request_xml::Fixable;

/// Configurations of a bucket that can be asked for; all of them are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Configuration {
    Accelerate,
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
            Configuration::Notification => Some(SettingKind::NOTIFICATIONS),
            Configuration::Accelerate
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
    match fixed(configuration) {
        Fixed::Document(xml) => Ok(document(xml)),
        Fixed::Missing { code, message } => {
            Err(S3Error::NotConfigured { code, message, bucket: call.target.bucket.clone() })
        }
    }
}

fn fixed(configuration: Configuration) -> Fixed {
    let missing = |code, message| Fixed::Missing { code, message };
    let document = |root| Fixed::Document(Xml::new(root, 256));
    match configuration {
        Configuration::Accelerate => document("AccelerateConfiguration"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(configuration: Configuration, want: &str) {
        let got = match fixed(configuration) {
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
    }
}
