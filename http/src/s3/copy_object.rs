//! CopyObject, and what UploadPartCopy shares with it: the source's name, its conditions, and its bytes.
//!
//! A copy reads and writes as a GET and a PUT would, piece by piece on this core. What is known of the source and
//! still true of the copy (MD5, checksum) is not computed again.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use nilas_engine::{Bucket, ETag, Found, NewObject, NewVersion, VersionId};

use super::put_object::upload_bytes;
use super::{
    Call, Outcome, attributes_of, checksum, conditions, document, know_tags, lifecycle, metadata, not_found,
    object_lock, on_marker, version_id,
};
use crate::body::{Algorithm, Checksum, HashPlan, Hashers};
use crate::copy_source;
use crate::limits::BLOB_BYTES_MAX;
use crate::memory::Permit;
use crate::render::body::BodyCut;
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::{Kind, StoredChecksum};
use crate::s3::encryption::{Of, Says, is_asked, is_other, keeps_md5, tag_of};
use crate::s3::operations::Operation;
use crate::s3::reader::{Reader, Stream};
use crate::s3::target::check_key;
use crate::s3::version_id::VersionText;
use crate::s3::writer::Writer;
use crate::sse::stored::Encryption;

/// The object that a copy reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: String,
    /// Its key, valid as keys are.
    pub key: Bytes,
    /// The version of it, if one is named.
    pub version: Option<VersionId>,
}

/// Reads `x-amz-copy-source`: `[/]bucket/key[?versionId=id]`, percent-encoded; a `+` is a blank.
pub fn copy_source(headers: &HeaderMap) -> Result<CopySource, S3Error> {
    let Some((source, version)) = copy_source::parse(headers) else {
        return Err(S3Error::InvalidArgument {
            message: "Copy Source must mention the source bucket and key: sourcebucket/sourcekey".into(),
            name: copy_source::HEADER,
            value: metadata::field(headers, copy_source::HEADER).unwrap_or_default(),
        });
    };
    check_key(&source.key)?;
    let version = version.map(|version| version_id::parse(&version, copy_source::HEADER)).transpose()?;
    Ok(CopySource { bucket: source.bucket, key: source.key, version })
}

/// The source that the request names, if its sender may read it.
pub(super) async fn allowed_source(call: &Call<'_>) -> Result<CopySource, S3Error> {
    let source = copy_source(call.headers)?;
    if call.caller.wants_object_tags(&source.bucket) {
        let version = source.version.map(version_id::text);
        let version = version.as_ref().map(VersionText::as_str);
        know_tags(call.engine(), &call.caller, &source.bucket, &source.key, version).await;
    }
    call.check_object(Operation::GetObject, &source.bucket, &source.key, source.version).await?;
    Ok(source)
}

/// Opens the source of a copy, if its conditions hold.
pub(super) async fn open_source(call: &Call<'_>, source: &CopySource) -> Result<Source, S3Error> {
    let bucket = call.bucket_named(&source.bucket)?;
    let mut reader = match call.engine().open_version(&bucket, source.key.clone(), source.version).await? {
        Found::Object(reader) => Reader::new(reader),
        Found::Nothing => return Err(not_found(&source.key, source.version)),
        Found::Marker(marker) if source.version.is_none() => {
            return Err(on_marker(&marker, &source.key, None));
        }
        Found::Marker(_) => {
            return Err(S3Error::invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ));
        }
    };
    let kept = attributes_of(reader.info(), &source.key)?;
    call.check_tags_of(Operation::GetObject, &source.bucket, &source.key, source.version, &kept.tags)?;
    conditions::check_copy_source(call.headers, reader.info(), call.engine().now_ms())?;
    reader.unlock(call.key_of(&bucket, kept.encryption.as_ref(), Of::Source)?);
    Ok(Source { reader, bucket })
}

/// The source of a copy, open.
pub(super) struct Source {
    pub(super) reader: Reader,
    bucket: Arc<Bucket>,
}

impl Source {
    /// Puts in which version is copied, where versions are shown.
    pub(super) fn put_header(&self, headers: &mut HeaderMap) {
        let version = self.reader.info().version();
        if version_id::are_shown(&self.bucket) {
            headers.insert(
                HeaderName::from_static("x-amz-copy-source-version-id"),
                version_id::text(version).header(),
            );
        }
    }
}

/// What is computed of bytes on their way from one object to another.
pub(super) struct Copied {
    pub(super) md5: Option<[u8; 16]>,
    pub(super) checksum: Option<Checksum>,
}

/// Counts a copy of `bytes` bytes: no client is waited for, but both of its sides need buffers.
pub(super) async fn hold_copy(call: &Call<'_>, bytes: u64) -> Result<Permit, S3Error> {
    Ok(call.s3.memory.uploads.take(upload_bytes(bytes)).await?)
}

/// Moves `bytes` bytes from `stream` to `writer`.
pub(super) async fn copy_bytes(
    mut stream: Stream,
    writer: &mut Writer,
    bytes: u64,
    plan: HashPlan,
) -> Result<Copied, S3Error> {
    let mut hashers = Hashers::new(plan);
    let mut left = bytes;
    while 0 < left {
        let cut = |got| S3Error::ReadCut(BodyCut::Length { expected: left, got });
        let piece = stream.next().await.ok_or_else(|| cut(0))??;
        let got = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(got).ok_or_else(|| cut(got))?;
        hashers.update(&piece);
        writer.write(piece).await?;
    }
    assert!(writer.missing() == 0);
    let digests = hashers.finish();
    Ok(Copied { md5: digests.md5, checksum: digests.checksum })
}

pub(super) async fn copy(call: &Call<'_>) -> Outcome {
    let source = allowed_source(call).await?;
    let bucket = call.bucket()?;
    let condition = conditions::of_write(call.headers)?;
    call.check_write_early(&bucket, &condition).await?;
    let lock = object_lock::of_new_object(call, &bucket).await?;
    let (key, encryption) = call.sealing(&bucket).await?.map(|sealing| (sealing.key, sealing.kept)).unzip();
    let opened = open_source(call, &source).await?;
    let mut named = HeaderMap::new();
    opened.put_header(&mut named);
    let reader = opened.reader;
    let (size, source_etag) = (reader.info().size, reader.info().etag);
    if BLOB_BYTES_MAX < size {
        return Err(S3Error::invalid_request(format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {BLOB_BYTES_MAX}"
        )));
    }
    let kept = attributes_of(reader.info(), &source.key)?;
    // An older version is brought back by a copy onto its key.
    let to_itself =
        source.bucket == call.target.bucket && source.key == call.target.key && source.version.is_none();
    let wanted = checksum::algorithm_header(call.headers)?;
    let is_sealed_anew = is_asked(call.headers) || is_other(kept.encryption.as_ref(), encryption.as_ref());
    let changes = wanted.is_some() || is_sealed_anew;
    let mut attributes = copied_attributes(call.headers, kept.clone(), to_itself, changes)?;
    attributes.encryption = encryption.map(|sealed: Encryption| Encryption { plain_bytes: size, ..sealed });
    attributes.tags = match replaces_tags(call.headers)? {
        true => metadata::parse_tags(call.headers)?,
        false => kept.tags.clone(),
    };
    check_copies_tags(call, &source, &attributes)?;

    let mut plan = plan(&source_etag, kept.checksum.as_ref(), wanted);
    plan.hashes.md5 |= !keeps_md5(&kept);
    plan.hashes.md5 &= keeps_md5(&attributes);
    let mut writer = Writer::begin(call.engine(), &bucket, size, key.as_ref()).await?;
    let _held = hold_copy(call, size).await?;
    let copied = copy_bytes(reader.read(0..size)?, &mut writer, size, plan.hashes).await?;

    attributes.checksum = plan.keeps.or(copied.checksum.map(StoredChecksum::of_bytes));
    let etag = tag_of(attributes.encryption.as_ref(), copied.md5.unwrap_or(source_etag.md5));
    let object =
        NewObject { condition, etag, attributes: attributes.encode(), version: NewVersion::AsSet, lock };
    let published = writer.publish_object(call.key(), object).await;
    let info = published.map_err(|why| call.write_failed(why))?;

    let mut xml = Xml::new("CopyObjectResult", 512);
    xml.text("LastModified", &iso_8601(info.modified_ms));
    xml.etag(&info.etag);
    if let Some(checksum) = &attributes.checksum {
        checksum.put_xml(&mut xml, 0);
    }
    let mut response = document(xml);
    response.headers_mut().extend(named);
    call.say_encryption(response.headers_mut(), attributes.encryption.as_ref(), Says::Made);
    version_id::put_header(response.headers_mut(), &bucket, info.version());
    lifecycle::put_expiration(call, response.headers_mut(), &bucket, &info);
    Ok(response)
}

/// The attributes of the copy: the source's, or those of the request. A copy onto itself must change something.
fn copied_attributes(
    headers: &HeaderMap,
    source: Attributes,
    to_itself: bool,
    changes: bool,
) -> Result<Attributes, S3Error> {
    let directive = metadata::field(headers, "x-amz-metadata-directive");
    let replaces = match directive.as_deref() {
        None | Some("COPY") => false,
        Some("REPLACE") => true,
        Some(other) => {
            return Err(S3Error::InvalidArgument {
                message: "Unknown metadata directive.".into(),
                name: "x-amz-metadata-directive",
                value: other.to_owned(),
            });
        }
    };
    // The source has no annotations, so both do the same.
    match metadata::field(headers, "x-amz-object-annotation-directive") {
        None => {}
        Some(directive) if matches!(directive.as_str(), "COPY" | "EXCLUDE") => {}
        Some(value) => {
            return Err(S3Error::InvalidArgument {
                message: "Unknown annotation directive.".into(),
                name: "x-amz-object-annotation-directive",
                value,
            });
        }
    }
    if replaces {
        return metadata::parse(headers);
    }
    if to_itself && !headers.contains_key("x-amz-storage-class") && !changes {
        return Err(S3Error::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    // Of no use here, and still S3 refuses too much of it.
    metadata::parse_user_metadata(headers)?;
    // A copy's storage class is its own, not the source's.
    let hold_off = object_lock::asks_hold_off(headers);
    Ok(Attributes { storage_class: metadata::parse_storage_class(headers)?, hold_off, ..source })
}

/// Whether the copy gets the tags of the request, and not those of its source.
fn replaces_tags(headers: &HeaderMap) -> Result<bool, S3Error> {
    match metadata::field(headers, "x-amz-tagging-directive").as_deref() {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(S3Error::InvalidArgument {
            message: "Unknown tagging directive.".into(),
            name: "x-amz-tagging-directive",
            value: other.to_owned(),
        }),
    }
}

/// Who copies tags must be allowed to read those of the source and to give them to the copy; who gives it other tags, the
/// latter.
fn check_copies_tags(call: &Call<'_>, source: &CopySource, attributes: &Attributes) -> Result<(), S3Error> {
    call.check_gives_tags(attributes)?;
    match !attributes.tags.is_empty() && !replaces_tags(call.headers)? {
        true => {
            let tagging = Operation::GetObjectTagging;
            call.check_known_object(tagging, &source.bucket, &source.key, source.version)
        }
        false => Ok(()),
    }
}

/// What must be computed of a copy, and what is known already.
struct CopyPlan {
    hashes: HashPlan,
    keeps: Option<StoredChecksum>,
}

/// A tag of one piece is the MD5 of the bytes, and a full-object checksum is that of the bytes: both stay true.
fn plan(etag: &ETag, have: Option<&StoredChecksum>, wanted: Option<Algorithm>) -> CopyPlan {
    let algorithm = wanted.or(have.map(|checksum| checksum.algorithm)).unwrap_or(Algorithm::Crc64Nvme);
    let keeps = have.filter(|checksum| {
        checksum.kind == Kind::FullObject && checksum.algorithm == algorithm && checksum.value.is_some()
    });
    let keeps = keeps.map(|checksum| StoredChecksum { parts: Vec::new(), ..checksum.clone() });
    let checksum = if keeps.is_some() { None } else { Some(algorithm) };
    CopyPlan { hashes: HashPlan { md5: 0 < etag.parts, sha256: false, checksum }, keeps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::checksum_of;
    use crate::limits::USER_METADATA_BYTES_MAX;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn sources() {
        let check = |value: &str, want: Result<(&str, &str), &str>| {
            let got = copy_source(&headers(&[("x-amz-copy-source", value)]));
            let got = got.map(|source| (source.bucket, String::from_utf8_lossy(&source.key).into_owned()));
            let want = want.map(|(bucket, key)| (bucket.to_owned(), key.to_owned()));
            assert_eq!(got.map_err(|failure| failure.answer().code), want, "{value}");
        };
        check("/b/k", Ok(("b", "k")));
        check("b/k/l", Ok(("b", "k/l")));
        check("b%2Fk%20l+%2B", Ok(("b", "k l +")));
        check("b/a+b+c", Ok(("b", "a b c")));
        check("b/%2B+%20", Ok(("b", "+  ")));
        check("b/k?versionId=null", Ok(("b", "k")));
        check("b/k%3FversionId=x", Ok(("b", "k?versionId=x")));
        check("b/k?versionId=abc", Err("InvalidArgument"));
        check("b/k?versionId=", Err("InvalidArgument"));
        check("b/k?versionId=3HL4kqtJvjVBH40Nrjfkd.rmSpXd3dIb", Err("NoSuchVersion"));
        check("/b//k", Ok(("b", "/k")));
        check(&format!("b/{}", "k".repeat(1025)), Err("KeyTooLongError"));
        for bad in ["", "b", "/b", "b/", "//k", "b/%zz", "b/%ff"] {
            check(bad, Err("InvalidArgument"));
        }
        check("b/é", Ok(("b", "é")));
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source", HeaderValue::from_bytes(b"b/\xe9").expect("a value"));
        assert_eq!(copy_source(&headers).map_err(|failure| failure.answer().code), Err("InvalidArgument"));
    }

    #[test]
    fn directives() {
        let source = Attributes {
            content_type: Some("a/b".into()),
            storage_class: Some("ONEZONE_IA".into()),
            ..Attributes::default()
        };
        let check = |pairs: &[(&'static str, &str)], to_itself: bool, want: Result<Option<&str>, &str>| {
            let got = copied_attributes(&headers(pairs), source.clone(), to_itself, false);
            let got = got.map(|attributes| attributes.content_type).map_err(|failure| failure.answer().code);
            assert_eq!(got, want.map(|kind| kind.map(str::to_owned)), "{pairs:?}");
        };
        let replace = ("x-amz-metadata-directive", "REPLACE");
        check(&[], false, Ok(Some("a/b")));
        check(&[("content-type", "c/d")], false, Ok(Some("a/b")));
        check(&[("content-type", "c/d"), replace], false, Ok(Some("c/d")));
        check(&[replace], true, Ok(None));
        check(&[], true, Err("InvalidRequest"));
        check(&[("x-amz-storage-class", "STANDARD")], true, Ok(Some("a/b")));
        check(&[("x-amz-metadata-directive", "MERGE")], false, Err("InvalidArgument"));
        for name in ["x-amz-metadata-directive", "x-amz-object-annotation-directive"] {
            check(&[(name, "COPY")], false, Ok(Some("a/b")));
            check(&[(name, "")], false, Err("InvalidArgument"));
            check(&[(name, "copy")], false, Err("InvalidArgument"));
        }
        let tags = |directive: &str| replaces_tags(&headers(&[("x-amz-tagging-directive", directive)]));
        assert_eq!(
            (replaces_tags(&headers(&[])), tags("COPY"), tags("REPLACE")),
            (Ok(false), Ok(false), Ok(true))
        );
        assert!(["", "copy", "MERGE"].iter().all(|directive| tags(directive).is_err()));
        check(&[("x-amz-object-annotation-directive", "EXCLUDE")], false, Ok(Some("a/b")));
        let long = "v".repeat(USER_METADATA_BYTES_MAX);
        let (fits, over) = (("x-amz-meta-a", &long[1..]), ("x-amz-meta-a", long.as_str()));
        check(&[fits], false, Ok(Some("a/b")));
        check(&[over], false, Err("MetadataTooLarge"));
        check(&[fits, replace], false, Ok(None));
        check(&[over, replace], false, Err("MetadataTooLarge"));
        let copied = copied_attributes(&headers(&[]), source, false, false).expect("a copy");
        assert_eq!(copied.storage_class, None);
    }

    #[test]
    fn plans() {
        let one = ETag { md5: [1; 16], parts: 0 };
        let many = ETag { parts: 2, ..one };
        let crc32 = StoredChecksum::of_bytes(checksum_of(Algorithm::Crc32, b"x"));
        let composite = StoredChecksum { kind: Kind::Composite, ..crc32.clone() };
        let check = |etag, have, wanted, md5: bool, computes: Option<Algorithm>| {
            let plan = plan(etag, have, wanted);
            assert_eq!(
                (plan.hashes.md5, plan.hashes.checksum, plan.keeps.is_some()),
                (md5, computes, computes.is_none())
            );
        };
        check(&one, Some(&crc32), None, false, None);
        check(&one, Some(&crc32), Some(Algorithm::Sha1), false, Some(Algorithm::Sha1));
        check(&many, Some(&composite), None, true, Some(Algorithm::Crc32));
        check(&one, None, None, false, Some(Algorithm::Crc64Nvme));
    }
}
