//! GetObjectAttributes: the chosen facts about an object, as XML.

use http::header::{ETAG, LAST_MODIFIED};
use nilas_engine::ObjectInfo;

use super::{Call, Outcome, attributes_of, document, version_id};
use crate::render::error::S3Error;
use crate::render::time::http_date;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::{Kind, StoredChecksum, crc64nvme};
use crate::s3::encryption::Of;
use crate::s3::operations::Operation;

/// What may be asked for.
const NAMES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let version = call.version()?;
    // The row has judged by `s3:GetObjectAttributes`, which gives no right to read.
    call.check_object(Operation::GetObject, &call.target.bucket, &call.target.key, version).await?;
    let wanted = wanted(call)?;
    let window = window(call)?;
    let bucket = call.bucket()?;
    let reader = call.open(&bucket, version).await?;
    let info = reader.info();
    let attributes = attributes_of(info, &call.target.key)?;
    if call.caller.found_tags(&call.target.bucket, &call.target.key, &attributes.tags) {
        for operation in [Operation::GetObjectAttributes, Operation::GetObject] {
            call.check_known_object(operation, &call.target.bucket, &call.target.key, version)?;
        }
    }
    call.key_of(&bucket, attributes.encryption.as_ref(), Of::Target)?;
    let wants = |name: &str| wanted.iter().any(|have| have == name);

    let mut xml = Xml::new("GetObjectAttributesResponse", 1024);
    if wants("ETag") {
        // Without quotes, unlike everywhere else.
        xml.text("ETag", &info.etag.to_string());
    }
    if wants("Checksum") {
        let made = || reader.crc64nvme().map(|value| StoredChecksum::of_bytes(crc64nvme(value)));
        if let Some(checksum) = attributes.checksum.clone().or_else(made) {
            xml.open("Checksum");
            // Without the number of parts, unlike everywhere else.
            checksum.put_xml(&mut xml, 0);
            xml.close("Checksum");
        }
    }
    if wants("ObjectParts") && 0 < info.etag.parts {
        parts(&mut xml, info, &attributes, &reader.part_sizes(), window);
    }
    if wants("StorageClass") {
        xml.text("StorageClass", attributes.storage_class.as_deref().unwrap_or("STANDARD"));
    }
    if wants("ObjectSize") {
        xml.number("ObjectSize", info.size);
    }
    let mut response = document(xml);
    response.headers_mut().insert(LAST_MODIFIED, http_date(info.modified_ms));
    response.headers_mut().remove(ETAG);
    version_id::put_header(response.headers_mut(), &bucket, info.version());
    Ok(response)
}

fn wanted(call: &Call<'_>) -> Result<Vec<String>, S3Error> {
    let bad = |value: &str| S3Error::InvalidArgument {
        message: "Invalid attribute name specified.".into(),
        name: "x-amz-object-attributes",
        value: value.to_owned(),
    };
    let fields =
        call.headers.get_all("x-amz-object-attributes").iter().filter_map(|value| value.to_str().ok());
    let names: Vec<String> = fields
        .flat_map(|field| field.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(S3Error::invalid_request(
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
        ));
    }
    match names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        Some(unknown) => Err(bad(unknown)),
        None => Ok(names),
    }
}

/// Which of an object's parts are asked for: so many, behind so many.
fn window(call: &Call<'_>) -> Result<(usize, usize), S3Error> {
    let max = super::page_entries("x-amz-max-parts", call.field("x-amz-max-parts").as_deref())?;
    let after = match call.field("x-amz-part-number-marker") {
        None => 0,
        Some(text) => super::count("x-amz-part-number-marker", &text)?,
    };
    Ok((max, usize::try_from(after).unwrap_or(usize::MAX)))
}

fn parts(
    xml: &mut Xml,
    info: &ObjectInfo,
    attributes: &Attributes,
    sizes: &[u64],
    (max, after): (usize, usize),
) {
    xml.open("ObjectParts");
    xml.number("PartsCount", u64::from(info.etag.parts));
    // Only a composite checksum is one of parts.
    let composite = attributes.checksum.as_ref().filter(|checksum| checksum.kind == Kind::Composite);
    if let Some(checksum) = composite.filter(|checksum| !checksum.parts.is_empty()) {
        let all = (1_u64..).zip(sizes.iter().zip(&checksum.parts));
        let mut page = all.skip(after);
        let mut last = u64::try_from(after).unwrap_or(u64::MAX);
        xml.number("PartNumberMarker", last);
        xml.number("MaxParts", u64::try_from(max).unwrap_or(u64::MAX));
        for (number, (bytes, value)) in page.by_ref().take(max) {
            xml.open("Part");
            xml.number("PartNumber", number);
            xml.number("Size", *bytes);
            xml.text(value.algorithm().element(), &value.to_base64());
            xml.close("Part");
            last = number;
        }
        xml.number("NextPartNumberMarker", last);
        xml.boolean("IsTruncated", page.next().is_some());
    }
    xml.close("ObjectParts");
}
