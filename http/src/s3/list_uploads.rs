//! ListMultipartUploads: the open uploads of a bucket by key and id, with common prefixes.
//!
//! The engine knows no delimiter for uploads; [`Grouping`] rolls keys up, and says where to go on reading.

use bytes::Bytes;
use nilas_engine::{UploadId, UploadInfo};

use super::{Call, Outcome, document, owner_xml};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;

/// A place in the order of uploads: everything up to and with it was seen.
type Position = (Bytes, UploadId);

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let (url, max) = (call.url_encoding()?, call.page_entries("max-uploads")?);
    let (prefix, delimiter) =
        (call.parameter("prefix").unwrap_or(""), call.parameter("delimiter").unwrap_or(""));
    let key_marker = call.parameter("key-marker").unwrap_or("");
    let id_marker = call.parameter("upload-id-marker").unwrap_or("");

    let mut after = start(key_marker, id_marker)?;
    let bucket = call.bucket()?;
    let mut grouping = Grouping::new(prefix, delimiter, key_marker, max);
    while !grouping.full() {
        let prefix = Bytes::copy_from_slice(prefix.as_bytes());
        let uploads = call.engine().uploads(&bucket, prefix, after, PAGE_ENTRIES_MAX).await?;
        let last_batch = uploads.len() < PAGE_ENTRIES_MAX;
        after = grouping.take(uploads);
        if last_batch {
            break;
        }
    }

    let mut xml = Xml::new("ListMultipartUploadsResult", 1024 + grouping.uploads.len() * 512);
    xml.text("Bucket", &call.target.bucket);
    xml.key("KeyMarker", key_marker.as_bytes(), url);
    xml.text("UploadIdMarker", id_marker);
    if let (true, Some((key, id))) = (grouping.truncated, &grouping.last) {
        xml.key("NextKeyMarker", key, url);
        xml.text("NextUploadIdMarker", &id.map(|id| id.to_string()).unwrap_or_default());
    }
    xml.key("Prefix", prefix.as_bytes(), url);
    if !delimiter.is_empty() {
        xml.key("Delimiter", delimiter.as_bytes(), url);
    }
    if url {
        xml.text("EncodingType", "url");
    }
    xml.number("MaxUploads", u64::try_from(max).unwrap_or(u64::MAX));
    xml.boolean("IsTruncated", grouping.truncated);
    let owner = call.owner_of(&bucket);
    for upload in &grouping.uploads {
        let attributes = Attributes::decode(&upload.attributes).unwrap_or_default();
        xml.open("Upload");
        xml.key("Key", &upload.key, url);
        xml.text("UploadId", &upload.id.to_string());
        owner_xml(&mut xml, "Initiator", &owner);
        owner_xml(&mut xml, "Owner", &owner);
        xml.text("StorageClass", attributes.storage_class.as_deref().unwrap_or("STANDARD"));
        xml.text("Initiated", &iso_8601(upload.created_ms));
        if let Some(checksum) = &attributes.checksum {
            xml.text("ChecksumAlgorithm", checksum.algorithm.name());
            xml.text("ChecksumType", checksum.kind.name());
        }
        xml.close("Upload");
    }
    for prefix in &grouping.prefixes {
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, url);
        xml.close("CommonPrefixes");
    }
    Ok(document(xml))
}

/// Where a listing starts. Without an upload id, all uploads of the marker's key were seen. Without a key, an upload id
/// counts for nothing, as S3 says.
fn start(key_marker: &str, id_marker: &str) -> Result<Option<Position>, S3Error> {
    if key_marker.is_empty() {
        return Ok(None);
    }
    let id = match id_marker {
        "" => UploadId(u128::MAX),
        text => UploadId::parse(text).ok_or_else(|| S3Error::InvalidArgument {
            message: "Invalid uploadId marker".into(),
            name: "upload-id-marker",
            value: text.to_owned(),
        })?,
    };
    Ok(Some((Bytes::copy_from_slice(key_marker.as_bytes()), id)))
}

/// One page being gathered.
struct Grouping<'a> {
    prefix: &'a [u8],
    delimiter: &'a [u8],
    marker: &'a [u8],
    max: usize,
    uploads: Vec<UploadInfo>,
    prefixes: Vec<Bytes>,
    /// The last entry of the page; a common prefix has no id.
    last: Option<(Bytes, Option<UploadId>)>,
    truncated: bool,
}

impl<'a> Grouping<'a> {
    fn new(prefix: &'a str, delimiter: &'a str, marker: &'a str, max: usize) -> Grouping<'a> {
        let (prefix, delimiter, marker) = (prefix.as_bytes(), delimiter.as_bytes(), marker.as_bytes());
        let (uploads, prefixes) = (Vec::new(), Vec::new());
        Grouping { prefix, delimiter, marker, max, uploads, prefixes, last: None, truncated: false }
    }

    /// Nothing more can be taken. A page of no entries is full from the start.
    fn full(&self) -> bool {
        self.truncated || self.max == 0
    }

    /// Takes uploads in order, and gives the place to read on from.
    fn take(&mut self, uploads: Vec<UploadInfo>) -> Option<Position> {
        let mut after = None;
        for upload in uploads {
            match self.common_prefix(&upload.key) {
                Some(common) => {
                    after = Some((past(&common), UploadId(u128::MAX)));
                    // Rolled up already, on this page or on one before.
                    if self.prefixes.last() == Some(&common) || self.marker.starts_with(&common) {
                        continue;
                    }
                    if self.entries() == self.max {
                        self.truncated = true;
                        return after;
                    }
                    self.last = Some((common.clone(), None));
                    self.prefixes.push(common);
                }
                None => {
                    after = Some((upload.key.clone(), upload.id));
                    if self.entries() == self.max {
                        self.truncated = true;
                        return after;
                    }
                    self.last = Some((upload.key.clone(), Some(upload.id)));
                    self.uploads.push(upload);
                }
            }
        }
        after
    }

    fn entries(&self) -> usize {
        self.uploads.len() + self.prefixes.len()
    }

    fn common_prefix(&self, key: &Bytes) -> Option<Bytes> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = key.get(self.prefix.len()..)?;
        let at = rest.windows(self.delimiter.len()).position(|window| window == self.delimiter)?;
        Some(key.slice(..self.prefix.len() + at + self.delimiter.len()))
    }
}

/// A key behind all keys that start with `prefix`: no UTF-8 key holds the byte 255.
fn past(prefix: &Bytes) -> Bytes {
    Bytes::from([&prefix[..], &[0xff]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[&str], delimiter: &str, marker: &str, max: usize, want: (&[&str], &[&str], bool)) {
        let mut grouping = Grouping::new("", delimiter, marker, max);
        let uploads = keys.iter().zip(1..).map(|(key, id)| UploadInfo {
            id: UploadId(id),
            key: Bytes::copy_from_slice(key.as_bytes()),
            created_ms: 0,
            attributes: Bytes::new(),
        });
        grouping.take(uploads.collect());
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let got: Vec<String> = grouping.uploads.iter().map(|upload| text(&upload.key)).collect();
        let prefixes: Vec<String> = grouping.prefixes.iter().map(text).collect();
        assert_eq!(
            (got, prefixes, grouping.truncated),
            (
                want.0.iter().map(|s| (*s).to_owned()).collect(),
                want.1.iter().map(|s| (*s).to_owned()).collect(),
                want.2
            ),
            "{keys:?}"
        );
    }

    #[test]
    fn groups() {
        check(&["a", "a", "b/c", "b/d", "c"], "", "", 10, (&["a", "a", "b/c", "b/d", "c"], &[], false));
        check(&["a", "b/c", "b/d", "c"], "/", "", 10, (&["a", "c"], &["b/"], false));
        check(&["a", "b/c", "b/d", "c"], "/", "", 2, (&["a"], &["b/"], true));
        check(&["a", "b/c", "b/d"], "/", "", 2, (&["a"], &["b/"], false));
        check(&["b/d", "c"], "/", "b/", 2, (&["c"], &[], false));
        check(&["a", "b"], "", "", 1, (&["a"], &[], true));
    }

    #[test]
    fn starts() {
        assert_eq!(start("", "5"), Ok(None));
        assert_eq!(start("k", ""), Ok(Some((Bytes::from_static(b"k"), UploadId(u128::MAX)))));
        let id = format!("{:032x}", 255);
        assert_eq!(start("k", &id), Ok(Some((Bytes::from_static(b"k"), UploadId(255)))));
        for bad in ["x", "ff", "+0000000000000000000000000000001", " "] {
            assert!(start("k", bad).is_err(), "{bad}");
        }
    }
}
