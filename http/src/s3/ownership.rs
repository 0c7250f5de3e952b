//! Whose the objects of a bucket are: `x-amz-object-ownership`, and the three operations on `?ownershipControls`.
//!
//! The store has one owner, so what is chosen here changes nothing about objects; it decides whether the bucket takes
//! ACLs, and ACLs are not served: a bucket that takes none refuses them as S3 does, and one that takes them says that
//! they are not implemented. The choice is the bucket's setting [`SettingKind::OWNERSHIP`], whose value is S3's name
//! for it. I1. The default, `BucketOwnerEnforced`, is kept as no setting at all: buckets of older versions have it, and
//! a program that does not honour the setting can still change a bucket that never had another.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use nilas_engine::{BucketSettings, EngineError, SettingKind};

use super::{Call, Outcome, document, empty, metadata, request_xml};
use crate::limits::OWNERSHIP_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;

/// What `DELETE ?ownershipControls` leaves behind, as the value of the setting.
const REMOVED: &[u8] = b"none";

const HEADER: &str = "x-amz-object-ownership";

/// A rule of S3's ownership controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The bucket's owner has every object, and the bucket takes no ACLs.
    BucketOwnerEnforced,
    /// Whoever writes an object has it, unless an ACL gives it to the bucket's owner.
    BucketOwnerPreferred,
    /// Whoever writes an object has it.
    ObjectWriter,
}

impl Ownership {
    const ALL: [Ownership; 3] =
        [Ownership::BucketOwnerEnforced, Ownership::BucketOwnerPreferred, Ownership::ObjectWriter];

    /// S3's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Ownership::BucketOwnerEnforced => "BucketOwnerEnforced",
            Ownership::BucketOwnerPreferred => "BucketOwnerPreferred",
            Ownership::ObjectWriter => "ObjectWriter",
        }
    }

    /// The rule of that name, spelled as S3 does.
    pub(super) fn parse(name: &str) -> Option<Ownership> {
        Ownership::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The value of the setting that keeps the rule; none for the default.
    fn encode(self) -> Option<Bytes> {
        match self {
            Ownership::BucketOwnerEnforced => None,
            other => Some(Bytes::from_static(other.name().as_bytes())),
        }
    }
}

/// What the bucket with these settings has; `None` after its controls were deleted. A value of a newer version is named.
pub(super) fn of(settings: &BucketSettings) -> Result<Option<Ownership>, EngineError> {
    match settings.get(SettingKind::OWNERSHIP) {
        None => Ok(Some(Ownership::BucketOwnerEnforced)),
        Some(value) if **value == *REMOVED => Ok(None),
        Some(value) => {
            let rule = std::str::from_utf8(value).ok().and_then(Ownership::parse);
            rule.map(Some).ok_or(EngineError::UnsupportedSetting { kind: SettingKind::OWNERSHIP })
        }
    }
}

/// Reads `x-amz-object-ownership`; without it the default.
pub(super) fn asked(headers: &HeaderMap) -> Result<Ownership, S3Error> {
    let Some(name) = metadata::field(headers, HEADER) else { return Ok(Ownership::BucketOwnerEnforced) };
    Ownership::parse(&name).ok_or_else(|| S3Error::InvalidArgument {
        message: format!("Invalid x-amz-object-ownership header: {name}").into(),
        name: HEADER,
        value: name,
    })
}

/// The settings of a bucket that is made with this rule.
pub(super) fn settings(rule: Ownership) -> BucketSettings {
    rule.encode()
        .map_or_else(BucketSettings::default, |value| BucketSettings::of(SettingKind::OWNERSHIP, value))
}

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let rule = of(&bucket.settings)?.ok_or_else(|| S3Error::NotConfigured {
        code: "OwnershipControlsNotFoundError",
        message: "The bucket ownership controls were not found",
        bucket: call.target.bucket.clone(),
    })?;
    let mut xml = Xml::new("OwnershipControls", 256);
    xml.open("Rule");
    xml.text("ObjectOwnership", rule.name());
    xml.close("Rule");
    Ok(document(xml))
}

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let body = payload.read_xml(call.headers, OWNERSHIP_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let rule = Ownership::parse(&request_xml::parse_ownership(&body)?).ok_or(S3Error::MalformedXml)?;
    // A value that is not known is not written over.
    of(&bucket.settings)?;
    set(call, rule.encode()).await?;
    Ok(empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    of(&bucket.settings)?;
    set(call, Some(Bytes::from_static(REMOVED))).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn set(call: &Call<'_>, value: Option<Bytes>) -> Result<(), S3Error> {
    let name = &call.target.bucket;
    let changed = call.engine().set_setting(name, SettingKind::OWNERSHIP, value).await;
    changed.map(drop).map_err(|why| S3Error::bucket(why, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_the_rule() {
        for rule in Ownership::ALL {
            assert_eq!(of(&settings(rule)), Ok(Some(rule)), "{rule:?}");
            assert_eq!(Ownership::parse(rule.name()), Some(rule));
        }
        assert_eq!(settings(Ownership::BucketOwnerEnforced), BucketSettings::default());
        let with =
            |value: &'static [u8]| BucketSettings::of(SettingKind::OWNERSHIP, Bytes::from_static(value));
        assert_eq!(of(&with(REMOVED)), Ok(None));
        for newer in [&b""[..], b"objectwriter", b"\xff", b"EveryoneOwns"] {
            assert!(of(&with(newer)).is_err(), "{newer:?}");
        }
    }

    #[test]
    fn header() {
        let check = |value: Option<&str>, want: Result<Ownership, &str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(HEADER, value.parse().expect("a value"));
            }
            assert_eq!(asked(&headers).map_err(|failure| failure.answer().code), want, "{value:?}");
        };
        check(None, Ok(Ownership::BucketOwnerEnforced));
        check(Some("BucketOwnerEnforced"), Ok(Ownership::BucketOwnerEnforced));
        check(Some("BucketOwnerPreferred"), Ok(Ownership::BucketOwnerPreferred));
        check(Some("ObjectWriter"), Ok(Ownership::ObjectWriter));
        for bad in ["", "objectwriter", "Nobody", "none"] {
            check(Some(bad), Err("InvalidArgument"));
        }
    }
}
