//! ListParts: what an open upload holds so far.

use nilas_engine::PartInfo;

use super::{Call, Outcome, Owner, count, document, lifecycle, owner_xml};
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::sse::units::plain_bytes;

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let max = call.page_entries("max-parts")?;
    let after = marker(call.parameter("part-number-marker"))?;
    let bucket = call.bucket()?;
    let id = call.upload_id()?;
    let opened = call.upload(&bucket, id).await?;
    let unreadable = |_| S3Error::UnreadableAttributes { key: call.key() };
    let upload = Attributes::decode(&opened.attributes).map_err(unreadable)?;
    call.check_key_of_upload(&bucket, &upload)?;
    // One more than a page, to know whether more follows.
    let parts = call.engine().parts(&bucket, id, after, max + 1).await?;
    let parts = parts.ok_or_else(|| call.no_such_upload())?;
    let owner = call.owner_of(&bucket);
    let page = Page {
        bucket: &call.target.bucket,
        key: &call.target.key,
        upload_id: &id.to_string(),
        after,
        max,
        owner: &owner,
        upload: &upload,
    };
    let mut response = document(render(&page, &parts));
    lifecycle::put_abort(call, response.headers_mut(), &bucket, opened.created_ms);
    Ok(response)
}

fn marker(text: Option<&str>) -> Result<u16, S3Error> {
    let Some(text) = text else { return Ok(0) };
    Ok(u16::try_from(count("part-number-marker", text)?).unwrap_or(u16::MAX))
}

/// Bytes of a part: of an encrypted one, which keeps a sum of them, fewer than it takes.
pub(super) fn plain_part_bytes(part: &PartInfo, attributes: Option<&Attributes>) -> u64 {
    match attributes.is_some_and(|attributes| attributes.plain_crc64nvme.is_some()) {
        true => plain_bytes(part.size).unwrap_or(part.size),
        false => part.size,
    }
}

struct Page<'a> {
    bucket: &'a str,
    key: &'a [u8],
    upload_id: &'a str,
    after: u16,
    max: usize,
    owner: &'a Owner,
    upload: &'a Attributes,
}

fn render(page: &Page<'_>, parts: &[PartInfo]) -> Xml {
    let shown = &parts[..parts.len().min(page.max)];
    let mut xml = Xml::new("ListPartsResult", 1024 + shown.len() * 256);
    xml.text("Bucket", page.bucket);
    xml.bytes("Key", page.key);
    xml.text("UploadId", page.upload_id);
    owner_xml(&mut xml, "Initiator", page.owner);
    owner_xml(&mut xml, "Owner", page.owner);
    xml.text("StorageClass", page.upload.storage_class.as_deref().unwrap_or("STANDARD"));
    if let Some(checksum) = &page.upload.checksum {
        xml.text("ChecksumAlgorithm", checksum.algorithm.name());
        xml.text("ChecksumType", checksum.kind.name());
    }
    xml.number("PartNumberMarker", u64::from(page.after));
    let last = shown.last().map_or(page.after, |part| part.number);
    xml.number("NextPartNumberMarker", u64::from(last));
    xml.number("MaxParts", u64::try_from(page.max).unwrap_or(u64::MAX));
    xml.boolean("IsTruncated", shown.len() < parts.len());
    for part in shown {
        xml.open("Part");
        xml.number("PartNumber", u64::from(part.number));
        xml.text("LastModified", &iso_8601(part.modified_ms));
        xml.etag(&part.etag);
        let attributes = Attributes::decode(&part.attributes).ok();
        xml.number("Size", plain_part_bytes(part, attributes.as_ref()));
        let checksum = attributes.and_then(|attributes| attributes.checksum);
        if let Some(value) = checksum.and_then(|checksum| checksum.value) {
            xml.text(value.algorithm().element(), &value.to_base64());
        }
        xml.close("Part");
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use nilas_engine::{ETag, Sequence};

    #[test]
    fn pages() {
        let part = |number| PartInfo {
            number,
            sequence: Sequence(1),
            size: 7,
            modified_ms: 0,
            etag: ETag::default(),
            attributes: bytes::Bytes::new(),
            units: bytes::Bytes::new(),
        };
        let owner = Owner { id: "I".into(), display_name: "N".into() };
        let upload = Attributes::default();
        let text = |max, parts: &[PartInfo]| {
            let page = Page {
                bucket: "b",
                key: b"k",
                upload_id: "u",
                after: 2,
                max,
                owner: &owner,
                upload: &upload,
            };
            String::from_utf8(render(&page, parts).finish().to_vec()).expect("UTF-8")
        };
        let cut = text(1, &[part(3), part(4)]);
        assert!(cut.contains(
            "<PartNumberMarker>2</PartNumberMarker><NextPartNumberMarker>3</NextPartNumberMarker>\
             <MaxParts>1</MaxParts><IsTruncated>true</IsTruncated><Part><PartNumber>3</PartNumber>"
        ));
        assert!(!cut.contains("<PartNumber>4<"));
        assert!(text(2, &[part(3), part(4)]).contains("<IsTruncated>false</IsTruncated>"));
        assert!(text(2, &[]).contains("<NextPartNumberMarker>2<"));
        assert_eq!(marker(Some("70000")), Ok(u16::MAX));
        assert!(marker(Some("x")).is_err());
    }
}
