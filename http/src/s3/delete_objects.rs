//! DeleteObjects: up to 1,000 keys or versions in one request, one durable change for those without a condition.

use bytes::Bytes;
use http_body::Body;
use nilas_catalog::access::{Access as _, Resource};
use nilas_engine::{PutCondition, Removal, Removed, Sequence, VersionId};

use super::delete_object::{DeleteCondition, delete_one};
use super::{Call, Outcome, document, object_lock, request_xml, version_id};
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
    let judge = |key: &[u8], version: Option<VersionId>| {
        call.check_known_object(Operation::DeleteObjects, &call.target.bucket, key, version)
    };
    // Whether there is the bucket is told before the body is read to those who may delete any key of it, and to others
    // when they name a key that they may delete. Who may delete none has the same answer with and without a bucket.
    if let Err(failure) = &found
        && judge(ANY_KEY, None).is_ok()
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
    let wanted: Vec<Result<Wanted, S3Error>> = (request.objects.iter())
        .map(|entry| {
            // A version that is none is judged as one.
            let named = wanted(entry);
            let version = match &named {
                Ok(wanted) => wanted.version,
                Err(_) => entry.version.as_ref().map(|_| VersionId::Of(Sequence(0))),
            };
            judge(entry.key.as_bytes(), version).map(|()| named)
        })
        .map(|judged| judged.and_then(|named| named))
        .collect();
    let mut results: Vec<Result<Removed, S3Error>> = wanted
        .iter()
        .map(|wanted| wanted.as_ref().map(|_| Removed::default()).map_err(Clone::clone))
        .collect();
    if wanted.iter().all(|wanted| matches!(wanted, Err(S3Error::AccessDenied))) {
        return Ok(document(render(request.quiet, request.objects.iter().zip(&results))));
    }
    let bucket = found?;

    let asks_bypass = object_lock::asks_bypass(call)?;
    let (mut together, mut places) = (Vec::new(), Vec::new());
    for (nth, (entry, wanted)) in request.objects.iter().zip(wanted).enumerate() {
        let Ok(Wanted { version, condition }) = wanted else { continue };
        let key = Bytes::copy_from_slice(entry.key.as_bytes());
        let bypass = asks_bypass && object_lock::may_bypass(call, &bucket, &key);
        if condition == DeleteCondition::default() {
            together.push(Removal { key, version, condition: PutCondition::None, bypass });
            places.push(nth);
        } else {
            results[nth] = delete_one(call, &bucket, key, version, &condition, bypass).await;
        }
    }
    if !together.is_empty() {
        let told = match call.engine().remove(&bucket, together).await {
            Ok(told) => told,
            Err(why) => return Err(call.write_failed(why)),
        };
        for (nth, told) in places.into_iter().zip(told) {
            results[nth] = told.map_err(|why| call.write_failed(why.into()));
        }
    }
    Ok(document(render(request.quiet, request.objects.iter().zip(&results))))
}

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    version: Option<VersionId>,
    condition: DeleteCondition,
}

/// What the entry names, and must be; refuses keys and versions that cannot exist.
fn wanted(entry: &DeleteEntry) -> Result<Wanted, S3Error> {
    check_key(entry.key.as_bytes())?;
    let version = entry.version.as_deref().filter(|version| !version.is_empty());
    // In a list, what is no id is a version that does not exist.
    let version = version.map(|text| {
        version_id::parse(text, "VersionId").map_err(|_| S3Error::NoSuchVersion { version: text.to_owned() })
    });
    let modified_s = match &entry.modified {
        None => None,
        Some(text) => Some(parse_http_date(text).ok_or(S3Error::MalformedXml)?),
    };
    let condition = DeleteCondition { etag: entry.etag.clone(), size: entry.size, modified_s };
    Ok(Wanted { version: version.transpose()?, condition })
}

fn render<'a>(
    quiet: bool,
    entries: impl Iterator<Item = (&'a DeleteEntry, &'a Result<Removed, S3Error>)>,
) -> Xml {
    let mut xml = Xml::new("DeleteResult", 4096);
    for (entry, result) in entries {
        let tag = match result {
            Err(_) => "Error",
            Ok(_) if quiet => continue,
            Ok(_) => "Deleted",
        };
        xml.open(tag);
        xml.text("Key", &entry.key);
        let version = entry.version.as_deref().filter(|version| !version.is_empty());
        if let Some(version) = version {
            xml.text("VersionId", version);
        }
        match result {
            Err(failure) => {
                let answer = failure.answer();
                xml.text("Code", answer.code);
                xml.text("Message", &answer.message);
            }
            Ok(removed) => {
                let marker = removed.marker.map(version_id::text);
                let marker = match &marker {
                    Some(made) => Some(made.as_str()),
                    None => version.filter(|_| removed.was_marker),
                };
                if let Some(marker) = marker {
                    xml.boolean("DeleteMarker", true);
                    xml.text("DeleteMarkerVersionId", marker);
                }
            }
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
            assert_eq!(wanted(entry).err().map(|failure| failure.answer().code), want, "{entry:?}");
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
        let entries = [entry("a&b", None), entry("c", Some("null")), entry("d", None), entry("e", None)];
        let marked = Removed { marker: Some(VersionId::Null), ..Removed::default() };
        let failures =
            [Ok(Removed::default()), Ok(Removed::default()), Err(S3Error::AccessDenied), Ok(marked)];
        let text = |quiet| {
            let bytes = render(quiet, entries.iter().zip(&failures)).finish();
            String::from_utf8(bytes.to_vec()).expect("UTF-8")
        };
        assert!(text(false).ends_with(
            "<Deleted><Key>a&amp;b</Key></Deleted><Deleted><Key>c</Key><VersionId>null</VersionId></Deleted>\
             <Error><Key>d</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>\
             <Deleted><Key>e</Key><DeleteMarker>true</DeleteMarker>\
             <DeleteMarkerVersionId>null</DeleteMarkerVersionId></Deleted></DeleteResult>"
        ));
        assert!(!text(true).contains("Deleted>"));
        assert!(text(true).contains("<Error>"));
    }
}
