//! ListObjectVersions: one page of versions and delete markers, written straight into the answer.
//!
//! A page goes on behind a key and a version. `NextVersionIdMarker` names the change that made the last version, null
//! version or not, so a page does not depend on what became of that version since. A client that names `null` itself, of a
//! null version that is gone, is listed the versions of that key again rather than too few.

use bytes::Bytes;
use nilas_engine::{Bucket, ObjectVersion, VersionId, VersionPage, VersionQuery};

use super::list_objects::{check_optional_attributes, put_about_object};
use super::{Call, Outcome, Owner, document, owner_xml, version_id};
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;

/// Bytes of a page's XML for each entry, beside its key; a guess that saves growing.
const ENTRY_XML_BYTES: usize = 420;

/// What was asked for.
struct Asked<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: &'a str,
    key_marker: &'a str,
    version_marker: Option<&'a str>,
    max: usize,
    url: bool,
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let parameter = |name| call.parameter(name).unwrap_or("");
    let asked = Asked {
        bucket: &call.target.bucket,
        prefix: parameter("prefix"),
        delimiter: parameter("delimiter"),
        key_marker: parameter("key-marker"),
        version_marker: call.parameter("version-id-marker"),
        max: call.page_entries("max-keys")?,
        url: call.url_encoding()?,
    };
    let after_version = version_marker(asked.key_marker, asked.version_marker)?;
    check_optional_attributes(call)?;
    let bucket = call.bucket()?;
    let page = read(call, &bucket, &asked, after_version).await?;
    Ok(document(render(&asked, &call.owner_of(&bucket), &page)))
}

async fn read(
    call: &Call<'_>,
    bucket: &Bucket,
    asked: &Asked<'_>,
    after_version: Option<VersionId>,
) -> Result<VersionPage, S3Error> {
    if asked.max == 0 {
        return Ok(VersionPage::default());
    }
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let query = VersionQuery {
        prefix: bytes(asked.prefix),
        delimiter: bytes(asked.delimiter),
        after: bytes(asked.key_marker),
        after_version,
        max: asked.max,
    };
    Ok(call.engine().list_versions(bucket, query).await?)
}

/// The version behind which the page begins. It goes with a key.
fn version_marker(key_marker: &str, version_marker: Option<&str>) -> Result<Option<VersionId>, S3Error> {
    const NAME: &str = "version-id-marker";
    let bad = |message: &'static str, value: &str| S3Error::InvalidArgument {
        message: message.into(),
        name: NAME,
        value: value.to_owned(),
    };
    match (version_marker, key_marker) {
        (None, _) => Ok(None),
        (Some(""), _) => Err(bad("A version-id marker cannot be empty.", "")),
        (Some(text), "") => Err(bad("A version-id marker cannot be specified without a key marker.", text)),
        // Of no version here, and yet a text that one may have: no place to go on from.
        (Some(text), _) => {
            version_id::parse(text, NAME).map(Some).map_err(|_| bad("Invalid version id specified", text))
        }
    }
}

fn render(asked: &Asked<'_>, owner: &Owner, page: &VersionPage) -> Xml {
    let entries = page.versions.len() + page.prefixes.len();
    let keys = page.versions.first().map_or(0, |version| version.key.len() * entries);
    let mut xml = Xml::new("ListVersionsResult", 1024 + entries * ENTRY_XML_BYTES + keys);
    xml.text("Name", asked.bucket);
    xml.key("Prefix", asked.prefix.as_bytes(), asked.url);
    xml.key("KeyMarker", asked.key_marker.as_bytes(), asked.url);
    xml.text("VersionIdMarker", asked.version_marker.unwrap_or(""));
    if let Some((key, version)) = &page.next {
        xml.key("NextKeyMarker", key, asked.url);
        if let Some(version) = version {
            xml.text("NextVersionIdMarker", version_id::text(VersionId::Of(*version)).as_str());
        }
    }
    xml.number("MaxKeys", u64::try_from(asked.max).unwrap_or(u64::MAX));
    if !asked.delimiter.is_empty() {
        xml.key("Delimiter", asked.delimiter.as_bytes(), asked.url);
    }
    if asked.url {
        xml.text("EncodingType", "url");
    }
    xml.boolean("IsTruncated", page.next.is_some());
    page.versions.iter().for_each(|version| put_version(&mut xml, version, owner, asked.url));
    for prefix in &page.prefixes {
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, asked.url);
        xml.close("CommonPrefixes");
    }
    xml
}

fn put_version(xml: &mut Xml, version: &ObjectVersion, owner: &Owner, url: bool) {
    let tag = if version.is_marker { "DeleteMarker" } else { "Version" };
    xml.open(tag);
    xml.key("Key", &version.key, url);
    xml.text("VersionId", version_id::text(version.info.version()).as_str());
    xml.boolean("IsLatest", version.is_latest);
    if version.is_marker {
        xml.text("LastModified", &iso_8601(version.info.modified_ms));
        owner_xml(xml, "Owner", owner);
    } else {
        put_about_object(xml, &version.info, Some(owner));
    }
    xml.close(tag);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nilas_engine::{ETag, Lock, ObjectInfo, Sequence};

    #[test]
    fn markers() {
        let id = version_id::text(VersionId::Of(Sequence(7)));
        let check = |key: &str, version: Option<&str>, want: Option<Option<VersionId>>| {
            assert_eq!(version_marker(key, version).ok(), want, "{key} {version:?}");
        };
        check("", None, Some(None));
        check("k", None, Some(None));
        check("k", Some("null"), Some(Some(VersionId::Null)));
        check("k", Some(id.as_str()), Some(Some(VersionId::Of(Sequence(7)))));
        check("k", Some(""), None);
        check("", Some(""), None);
        check("", Some("null"), None);
        check("k", Some("nonsense"), None);
        check("k", Some("3HL4kqtJvjVBH40Nrjfkd.rmSpXd3dIb"), None);
    }

    #[test]
    fn pages() {
        let info = |sequence, is_null| ObjectInfo {
            sequence: Sequence(sequence),
            is_null,
            size: 12,
            modified_ms: 784_111_777_500,
            etag: ETag { md5: [0x1f; 16], parts: 0 },
            attributes: Bytes::new(),
            lock: Lock::NONE,
        };
        let version = |sequence, is_null, is_latest, is_marker| ObjectVersion {
            key: Bytes::from_static(b"a b"),
            info: info(sequence, is_null),
            is_latest,
            is_marker,
        };
        let page = VersionPage {
            versions: vec![version(9, false, true, true), version(5, true, false, false)],
            prefixes: vec![Bytes::from_static(b"p/")],
            next: Some((Bytes::from_static(b"p/"), None)),
        };
        let asked = Asked {
            bucket: "bkt",
            prefix: "",
            delimiter: "/",
            key_marker: "",
            version_marker: None,
            max: 3,
            url: true,
        };
        let owner = Owner { id: "ID".into(), display_name: "name".into() };
        let text = String::from_utf8(render(&asked, &owner, &page).finish().to_vec()).expect("UTF-8");
        let id = version_id::text(VersionId::Of(Sequence(9)));
        for part in [
            "<NextKeyMarker>p/</NextKeyMarker><MaxKeys>3</MaxKeys><Delimiter>/</Delimiter>".to_owned(),
            "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>".to_owned(),
            format!(
                "<DeleteMarker><Key>a%20b</Key><VersionId>{}</VersionId><IsLatest>true</IsLatest>\
                 <LastModified>1994-11-06T08:49:37.000Z</LastModified><Owner>",
                id.as_str()
            ),
            "<Version><Key>a%20b</Key><VersionId>null</VersionId><IsLatest>false</IsLatest>".to_owned(),
            "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListVersionsResult>".to_owned(),
        ] {
            assert!(text.contains(&part), "{part} in {text}");
        }
    }
}
