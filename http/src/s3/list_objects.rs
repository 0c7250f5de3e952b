//! ListObjectsV2 and ListObjects: one page of keys, written straight into the answer.
//!
//! A V2 continuation token is the engine's own position in base64, opaque to clients. The older listing goes on from
//! a key or common prefix, as their callers expect to see one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use nilas_engine::{ListPage, ListQuery, ObjectInfo};

use super::{Call, Outcome, Owner, document, flag, owner_xml, with_region};
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::{attributes, checksum};

/// Bytes of a page's XML for each entry, beside its key; a guess that saves growing.
const ENTRY_XML_BYTES: usize = 360;

/// What both listings have in common.
struct Page<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: &'a str,
    max: usize,
    url: bool,
    /// Named with each entry, when asked for.
    owner: Option<Owner>,
    page: ListPage,
}

async fn read<'a>(call: &'a Call<'_>, after: Bytes, with_owner: bool) -> Result<Page<'a>, S3Error> {
    let (url, max) = (call.url_encoding()?, call.page_entries("max-keys")?);
    check_optional_attributes(call)?;
    let bucket = call.bucket()?;
    let prefix = call.parameter("prefix").unwrap_or("");
    let delimiter = call.parameter("delimiter").unwrap_or("");
    let page = if max == 0 {
        ListPage::default()
    } else {
        let query = ListQuery {
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            delimiter: Bytes::copy_from_slice(delimiter.as_bytes()),
            after,
            max,
        };
        call.engine().list(&bucket, query).await?
    };
    let owner = with_owner.then(|| call.owner_of(&bucket));
    Ok(Page { bucket: &call.target.bucket, prefix, delimiter, max, url, owner, page })
}

/// What may be asked for besides: the state of a restore, which no object has.
pub(super) fn check_optional_attributes(call: &Call<'_>) -> Result<(), S3Error> {
    const NAME: &str = "x-amz-optional-object-attributes";
    match call.field(NAME) {
        Some(value) if value.split(',').any(|name| name.trim() != "RestoreStatus") => {
            Err(S3Error::InvalidArgument {
                message: "Invalid attribute name specified".into(),
                name: NAME,
                value,
            })
        }
        _ => Ok(()),
    }
}

fn position(call: &Call<'_>, name: &str) -> Bytes {
    Bytes::copy_from_slice(call.parameter(name).unwrap_or("").as_bytes())
}

pub(super) async fn v2(call: &Call<'_>) -> Outcome {
    let token = call.parameter("continuation-token");
    let start_after = call.parameter("start-after");
    let after = match token {
        Some(token) => decode_token(token)?,
        None => position(call, "start-after"),
    };
    let owner = call.parameter("fetch-owner").map_or(Ok(false), |text| flag("fetch-owner", text))?;
    let page = read(call, after, owner).await?;
    Ok(with_region(call, document(render_v2(&page, token, start_after))))
}

/// A token is the position behind its own checksum, so that what we did not make is told from what we did.
fn encode_token(position: &[u8]) -> String {
    let mut token = crc32c::crc32c(position).to_le_bytes().to_vec();
    token.extend_from_slice(position);
    URL_SAFE_NO_PAD.encode(token)
}

fn decode_token(token: &str) -> Result<Bytes, S3Error> {
    let decoded = URL_SAFE_NO_PAD.decode(token).map(Bytes::from).unwrap_or_default();
    match decoded.split_first_chunk::<4>() {
        Some((sum, position)) if crc32c::crc32c(position) == u32::from_le_bytes(*sum) => {
            Ok(decoded.slice(sum.len()..))
        }
        _ => Err(S3Error::InvalidArgument {
            message: "The continuation token provided is incorrect".into(),
            name: "continuation-token",
            value: token.to_owned(),
        }),
    }
}

fn render_v2(page: &Page<'_>, token: Option<&str>, start_after: Option<&str>) -> Xml {
    let mut xml = page.start("ListBucketResult");
    if let Some(start_after) = start_after {
        xml.key("StartAfter", start_after.as_bytes(), page.url);
    }
    if let Some(token) = token {
        xml.text("ContinuationToken", token);
    }
    if let Some(next) = &page.page.next_after {
        xml.text("NextContinuationToken", &encode_token(next));
    }
    let count = page.page.objects.len() + page.page.prefixes.len();
    xml.number("KeyCount", u64::try_from(count).unwrap_or(u64::MAX));
    page.put_common(&mut xml);
    page.put_objects(&mut xml);
    page.put_prefixes(&mut xml);
    xml
}

pub(super) async fn v1(call: &Call<'_>) -> Outcome {
    let page = read(call, position(call, "marker"), true).await?;
    Ok(with_region(call, document(render_v1(&page, call.parameter("marker").unwrap_or("")))))
}

fn render_v1(page: &Page<'_>, marker: &str) -> Xml {
    let mut xml = page.start("ListBucketResult");
    xml.key("Marker", marker.as_bytes(), page.url);
    // Without a delimiter, clients go on from the last key.
    if let (Some(next), false) = (page.next_marker(), page.delimiter.is_empty()) {
        xml.key("NextMarker", &next, page.url);
    }
    page.put_common(&mut xml);
    page.put_objects(&mut xml);
    page.put_prefixes(&mut xml);
    xml
}

impl Page<'_> {
    fn start(&self, root: &'static str) -> Xml {
        let entries = self.page.objects.len() + self.page.prefixes.len();
        let keys: usize = self.page.objects.first().map_or(0, |(key, _)| key.len() * entries);
        let mut xml = Xml::new(root, 1024 + entries * ENTRY_XML_BYTES + keys);
        xml.text("Name", self.bucket);
        xml.key("Prefix", self.prefix.as_bytes(), self.url);
        xml
    }

    fn put_common(&self, xml: &mut Xml) {
        xml.number("MaxKeys", u64::try_from(self.max).unwrap_or(u64::MAX));
        if !self.delimiter.is_empty() {
            xml.key("Delimiter", self.delimiter.as_bytes(), self.url);
        }
        if self.url {
            xml.text("EncodingType", "url");
        }
        xml.boolean("IsTruncated", self.page.next_after.is_some());
    }

    fn put_objects(&self, xml: &mut Xml) {
        for (key, info) in &self.page.objects {
            xml.open("Contents");
            xml.key("Key", key, self.url);
            put_about_object(xml, info, self.owner.as_ref());
            xml.close("Contents");
        }
    }

    fn put_prefixes(&self, xml: &mut Xml) {
        for prefix in &self.page.prefixes {
            xml.open("CommonPrefixes");
            xml.key("Prefix", prefix, self.url);
            xml.close("CommonPrefixes");
        }
    }

    /// The last key or common prefix of a page after which more follows.
    fn next_marker(&self) -> Option<Bytes> {
        self.page.next_after.as_ref()?;
        let key = self.page.objects.last().map(|(key, _)| key);
        self.page.prefixes.last().max(key).cloned()
    }
}

/// What an entry of a listing says of an object besides its name.
pub(super) fn put_about_object(xml: &mut Xml, info: &ObjectInfo, owner: Option<&Owner>) {
    xml.text("LastModified", &iso_8601(info.modified_ms));
    xml.etag(&info.etag);
    let (algorithm, kind) = attributes::checksum_kind(&info.attributes).unwrap_or(checksum::MADE);
    xml.text("ChecksumAlgorithm", algorithm.name());
    xml.text("ChecksumType", kind.name());
    let listed = attributes::listed(&info.attributes);
    xml.number("Size", listed.plain_bytes.unwrap_or(info.size));
    if let Some(owner) = owner {
        owner_xml(xml, "Owner", owner);
    }
    xml.text("StorageClass", listed.storage_class.unwrap_or("STANDARD"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use nilas_engine::{ETag, Lock, Sequence};

    fn page(url: bool, next_after: Option<&'static str>) -> Page<'static> {
        let info = ObjectInfo {
            sequence: Sequence(1),
            is_null: true,
            size: 12,
            modified_ms: 784_111_777_500,
            etag: ETag { md5: [0x1f; 16], parts: 0 },
            attributes: Bytes::new(),
            lock: Lock::NONE,
        };
        Page {
            bucket: "bkt",
            prefix: "p q",
            delimiter: "/",
            max: 2,
            url,
            owner: None,
            page: ListPage {
                objects: vec![(Bytes::from_static(b"p q+a&b"), info)],
                prefixes: vec![Bytes::from_static(b"p q/")],
                next_after: next_after.map(|text| Bytes::from_static(text.as_bytes())),
            },
        }
    }

    fn text(xml: Xml) -> String {
        let text = String::from_utf8(xml.finish().to_vec()).expect("UTF-8");
        text.split_once("2006-03-01/\">").expect("a root").1.to_owned()
    }

    const OBJECT: &str = "<LastModified>1994-11-06T08:49:37.000Z</LastModified>\
        <ETag>&quot;1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f&quot;</ETag>\
        <ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>12</Size><StorageClass>STANDARD</StorageClass>";

    #[test]
    fn second_listing() {
        assert_eq!(
            text(render_v2(&page(false, Some("p q/")), Some("dG9r"), Some("p"))),
            format!(
                "<Name>bkt</Name><Prefix>p q</Prefix><StartAfter>p</StartAfter>\
                 <ContinuationToken>dG9r</ContinuationToken><NextContinuationToken>iLSR7nAgcS8</NextContinuationToken>\
                 <KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>\
                 <Contents><Key>p q+a&amp;b</Key>{OBJECT}</Contents>\
                 <CommonPrefixes><Prefix>p q/</Prefix></CommonPrefixes></ListBucketResult>"
            )
        );
        let plain = text(render_v2(&page(true, None), None, None));
        assert!(plain.contains("<Prefix>p%20q</Prefix>"));
        assert!(plain.contains("<Key>p%20q%2Ba%26b</Key>"));
        assert!(plain.contains("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"));
        assert!(plain.contains("<Delimiter>/</Delimiter>"));
        assert!(!plain.contains("Token"));
    }

    #[test]
    fn tokens() {
        assert_eq!(decode_token("iLSR7nAgcS8"), Ok(Bytes::from_static(b"p q/")));
        for bad in ["", "!", "AAAA", "iLSR7nAgcS9"] {
            assert!(decode_token(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn first_listing() {
        let truncated = text(render_v1(&page(true, Some("x")), "m k"));
        assert!(truncated.contains("<Marker>m%20k</Marker><NextMarker>p%20q/</NextMarker><MaxKeys>2"));
        assert!(!text(render_v1(&page(true, None), "")).contains("NextMarker"));
    }
}
