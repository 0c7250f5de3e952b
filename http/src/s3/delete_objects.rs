//! DeleteObjects: up to 1,000 keys in one request, one durable change for those without a condition.

use bytes::Bytes;
use http_body::Body;
use nilas_catalog::access::{Access as _, Resource};

use super::delete_object::{DeleteCondition, delete_one};
use super::{Call, Outcome, check_version, document, request_xml};
use crate::body::Declared;
use crate::limits::DELETE_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::time::parse_http_date;
use crate::render::xml::Xml;
use crate::s3::operations::Operation;
use crate::s3::payload::Payload;
use crate::s3::request_xml::DeleteEntry;
use crate::s3::target::check_key;

/// Stands for every key where none is known yet, as in a policy.
const ANY_KEY: &[u8] = b"*";

pub(super) async fn delete<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let found = call.bucket();
    let judge = |key: &[u8]| {
        call.check_known(Operation::DeleteObjects, Resource::Object { bucket: &call.target.bucket, key })
    };
    // Whether there is the bucket is told before the body is read to those who may delete any key of it, and to others
    // when they name a key that they may delete. Who may delete none has the same answer with and without a bucket.
    if let Err(failure) = &found
        && judge(ANY_KEY).is_ok()
    {
        return Err(failure.clone());
    }
    let declared = Declared::parse(call.headers)?;
    if declared.content_md5.is_none() && declared.algorithm().is_none() {
        return Err(S3Error::invalid_request(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    let body = payload.read_xml(call.headers, DELETE_XML_BYTES_MAX).await?;
    let request = request_xml::parse_delete(&body)?;
    let objects = request
        .objects
        .iter()
        .map(|entry| Resource::Object { bucket: &call.target.bucket, key: entry.key.as_bytes() });
    if let Some(look_up) = call.caller.look_up(&objects.collect::<Vec<_>>()) {
        look_up.await?;
    }
    let judged: Vec<Result<(), S3Error>> =
        request.objects.iter().map(|entry| judge(entry.key.as_bytes())).collect();
    if judged.iter().all(Result::is_err) {
        let failures: Vec<Option<S3Error>> = judged.into_iter().map(Result::err).collect();
        return Ok(document(render(request.quiet, request.objects.iter().zip(&failures))));
    }
    let bucket = found?;

    let mut failures: Vec<Option<S3Error>> = Vec::with_capacity(request.objects.len());
    let mut together = Vec::new();
    for (entry, allowed) in request.objects.iter().zip(judged) {
        let condition = match allowed.and_then(|()| condition(entry)) {
            Ok(condition) => condition,
            Err(failure) => {
                failures.push(Some(failure));
                continue;
            }
        };
        let key = Bytes::copy_from_slice(entry.key.as_bytes());
        if condition == DeleteCondition::default() {
            together.push(key);
            failures.push(None);
        } else {
            failures.push(delete_one(call, &bucket, key, &condition).await.err());
        }
    }
    if !together.is_empty() {
        call.engine().delete(&bucket, together).await?;
    }
    Ok(document(render(request.quiet, request.objects.iter().zip(&failures))))
}

/// What the entry's object must be; refuses keys and versions that cannot exist.
fn condition(entry: &DeleteEntry) -> Result<DeleteCondition, S3Error> {
    check_key(entry.key.as_bytes())?;
    if let Some(version) = entry.version.as_deref().filter(|version| !version.is_empty()) {
        // In a list, what is no id is a version that does not exist.
        check_version(version).map_err(|_| S3Error::NoSuchVersion { version: version.to_owned() })?;
    }
    let modified_s = match &entry.modified {
        None => None,
        Some(text) => Some(parse_http_date(text).ok_or(S3Error::MalformedXml)?),
    };
    Ok(DeleteCondition { etag: entry.etag.clone(), size: entry.size, modified_s })
}

fn render<'a>(quiet: bool, entries: impl Iterator<Item = (&'a DeleteEntry, &'a Option<S3Error>)>) -> Xml {
    let mut xml = Xml::new("DeleteResult", 4096);
    for (entry, failure) in entries {
        let tag = match failure {
            Some(_) => "Error",
            None if quiet => continue,
            None => "Deleted",
        };
        xml.open(tag);
        xml.text("Key", &entry.key);
        if let Some(version) = entry.version.as_deref().filter(|version| !version.is_empty()) {
            xml.text("VersionId", version);
        }
        if let Some(failure) = failure {
            let answer = failure.answer();
            xml.text("Code", answer.code);
            xml.text("Message", &answer.message);
        }
        xml.close(tag);
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, version: Option<&str>) -> DeleteEntry {
        DeleteEntry { key: key.into(), version: version.map(str::to_owned), ..DeleteEntry::default() }
    }

    #[test]
    fn entries() {
        let check = |entry: &DeleteEntry, want: Option<&str>| {
            assert_eq!(condition(entry).err().map(|failure| failure.answer().code), want, "{entry:?}");
        };
        check(&entry("a", None), None);
        check(&entry("a", Some("null")), None);
        check(&entry("a", Some("")), None);
        check(&entry("a", Some("1")), Some("NoSuchVersion"));
        check(&entry(&"k".repeat(1025), None), Some("KeyTooLongError"));
        check(&DeleteEntry { modified: Some("x".into()), ..entry("a", None) }, Some("MalformedXML"));
    }

    #[test]
    fn answers() {
        let entries = [entry("a&b", None), entry("c", Some("null")), entry("d", None)];
        let failures = [None, None, Some(S3Error::AccessDenied)];
        let text = |quiet| {
            let bytes = render(quiet, entries.iter().zip(&failures)).finish();
            String::from_utf8(bytes.to_vec()).expect("UTF-8")
        };
        assert!(text(false).ends_with(
            "<Deleted><Key>a&amp;b</Key></Deleted><Deleted><Key>c</Key><VersionId>null</VersionId></Deleted>\
             <Error><Key>d</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error></DeleteResult>"
        ));
        assert!(!text(true).contains("Deleted>"));
        assert!(text(true).contains("<Error>"));
    }
}
