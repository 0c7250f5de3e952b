//! CompleteMultipartUpload: the named parts become the object, without touching their bytes.
//!
//! What is asked is decided by [`plan`], which is pure; the engine refuses when a part was replaced meanwhile.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use md5::{Digest as _, Md5};
use nilas_engine::{ETag, PartInfo, Sequence};

use super::{Call, Outcome, conditions, document, request_xml};
use crate::body::{Checksum, Declared};
use crate::limits::{
    COMPLETE_XML_BYTES_MAX, OBJECT_BYTES_MAX, PART_BYTES_MIN, PART_CHECKSUMS_BYTES_MAX, PARTS_MAX,
};
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::{self, Kind, StoredChecksum};
use crate::s3::payload::Payload;
use crate::s3::request_xml::CompletedPart;

pub(super) async fn complete<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let id = call.upload_id()?;
    let condition = conditions::of_write(call.headers)?;
    let expected = expected_object(call.headers)?;
    // The checksum headers speak of the object, not of this body.
    let body = payload.read_xml(&without_checksums(call.headers), COMPLETE_XML_BYTES_MAX).await?;
    let wanted = request_xml::parse_complete(&body)?;
    let mut attributes = call.open_upload(&bucket, id).await?;
    call.check_write_early(&bucket, &condition).await?;
    let have = call.engine().parts(&bucket, id, 0, usize::from(PARTS_MAX)).await?;
    let have = have.ok_or_else(|| call.no_such_upload())?;

    let plan = plan(&wanted, &have, &attributes, &expected, &id.to_string())?;
    attributes.checksum = plan.checksum;
    let done = call
        .engine()
        .complete_upload(&bucket, id, plan.parts, condition, plan.etag, attributes.encode())
        .await;
    let info = done.map_err(|why| call.write_failed(why))?;

    let mut xml = Xml::new("CompleteMultipartUploadResult", 1024);
    xml.key(
        "Location",
        format!("/{}/{}", call.target.bucket, String::from_utf8_lossy(&call.target.key)).as_bytes(),
        true,
    );
    xml.text("Bucket", &call.target.bucket);
    xml.bytes("Key", &call.target.key);
    xml.etag(&info.etag);
    if let Some(checksum) = &attributes.checksum {
        checksum.put_xml(&mut xml, info.etag.parts);
    }
    Ok(document(xml))
}

/// What the request's headers say the object must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Expected {
    checksum: Option<(Checksum, String)>,
    kind: Option<Kind>,
    bytes: Option<u64>,
}

fn expected_object(headers: &HeaderMap) -> Result<Expected, S3Error> {
    let bytes = match headers.get("x-amz-mp-object-size") {
        None => None,
        Some(value) => {
            let bytes = value.to_str().ok().and_then(|text| text.parse().ok());
            let bad = || S3Error::invalid_request("Value for x-amz-mp-object-size header is invalid.");
            Some(bytes.ok_or_else(bad)?)
        }
    };
    let kind = checksum::kind_header(headers)?;
    // A composite value ends in `-N`, which is no part of its base64; SDKs send values with and without it.
    let mut plain = HeaderMap::new();
    let mut sent = String::new();
    for (name, value) in headers {
        if crate::body::Algorithm::of_header(name.as_str()).is_some() {
            sent = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let base64 = sent.split_once('-').map_or(sent.as_str(), |(value, _)| value);
            if let Ok(value) = http::HeaderValue::try_from(base64) {
                plain.append(name, value);
            }
        }
    }
    let checksum = Declared::parse(&plain)?.checksum.map(|checksum| (checksum, sent));
    Ok(Expected { checksum, kind, bytes })
}

fn without_checksums(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| {
        !name.as_str().starts_with("x-amz-checksum-") && *name != "x-amz-sdk-checksum-algorithm"
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What the engine is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    parts: Vec<(u16, Sequence)>,
    etag: ETag,
    checksum: Option<StoredChecksum>,
}

/// Decides: order, existence, tags, checksums and sizes of the parts, then tag and checksum of the object.
fn plan(
    wanted: &[CompletedPart],
    have: &[PartInfo],
    upload: &Attributes,
    expected: &Expected,
    upload_id: &str,
) -> Result<Plan, S3Error> {
    if !wanted.is_sorted_by(|a, b| a.number < b.number) {
        return Err(S3Error::InvalidPartOrder { upload: upload_id.to_owned() });
    }
    let mut parts = Vec::with_capacity(wanted.len());
    for part in wanted {
        let bad = || S3Error::InvalidPart {
            upload: upload_id.to_owned(),
            part: part.number,
            etag: part.etag.clone(),
        };
        let found = have.binary_search_by_key(&part.number, |have| u64::from(have.number));
        let found = found.ok().and_then(|at| have.get(at)).ok_or_else(bad)?;
        let checksum = part_checksum(found);
        let tagged = conditions::parse_tag(&part.etag) == Some(found.etag);
        let summed = part.checksums.iter().all(|(algorithm, text)| {
            checksum.is_some_and(|have| have.algorithm() != *algorithm || have.to_base64() == *text)
        });
        if !tagged || !summed {
            return Err(bad());
        }
        parts.push((found, checksum));
    }
    check_sizes(&parts, expected)?;

    let mut md5 = Md5::new();
    parts.iter().for_each(|(part, _)| md5.update(part.etag.md5));
    let count = u16::try_from(parts.len()).expect("the XML holds at most 10,000 parts");
    let etag = ETag { md5: md5.finalize().into(), parts: count };
    let checksum = object_checksum(upload, &parts, expected, count)?;
    let parts = parts.iter().map(|(part, _)| (part.number, part.sequence)).collect();
    Ok(Plan { parts, etag, checksum })
}

fn part_checksum(part: &PartInfo) -> Option<Checksum> {
    Attributes::decode(&part.attributes).ok()?.checksum?.value
}

fn check_sizes(parts: &[(&PartInfo, Option<Checksum>)], expected: &Expected) -> Result<(), S3Error> {
    let all_but_last = parts.split_last().map_or(&[][..], |(_, rest)| rest);
    if let Some((small, _)) = all_but_last.iter().find(|(part, _)| part.size < PART_BYTES_MIN) {
        return Err(S3Error::EntityTooSmall {
            proposed: small.size,
            part: small.number,
            etag: small.etag.to_string(),
        });
    }
    let proposed = parts.iter().fold(0_u64, |sum, (part, _)| sum.saturating_add(part.size));
    if OBJECT_BYTES_MAX < proposed {
        return Err(S3Error::EntityTooLarge { proposed, max: OBJECT_BYTES_MAX });
    }
    match expected.bytes {
        Some(bytes) if bytes != proposed => Err(S3Error::invalid_request(format!(
            "The provided 'x-amz-mp-object-size' header value {bytes} does not match what was computed: {proposed}"
        ))),
        _ => Ok(()),
    }
}

/// The object's checksum: of the upload's kind, or where it named none, of whatever its parts have in common.
/// A value that the client expects must be it.
fn object_checksum(
    upload: &Attributes,
    parts: &[(&PartInfo, Option<Checksum>)],
    expected: &Expected,
    count: u16,
) -> Result<Option<StoredChecksum>, S3Error> {
    let values: Option<Vec<(Checksum, u64)>> =
        parts.iter().map(|(part, checksum)| checksum.map(|checksum| (checksum, part.size))).collect();
    let values = values.unwrap_or_default();
    let kind = match (&upload.checksum, expected.kind) {
        (Some(named), Some(kind)) if named.kind != kind => {
            return Err(S3Error::invalid_request(format!(
                "The upload was created using the {} checksum mode. The complete request must use the same checksum \
                 mode.",
                named.kind.name(),
            )));
        }
        (Some(named), _) => named.kind,
        (None, _) => Kind::FullObject,
    };
    let mut made = StoredChecksum::of_parts(kind, &values);
    if upload.checksum.is_none() && made.is_none() {
        made = StoredChecksum::of_parts(Kind::Composite, &values);
    }
    if let (Some((client, sent)), Some(made)) = (&expected.checksum, &made)
        && let Some(value) = made.value.filter(|value| value.algorithm() == client.algorithm())
        && value != *client
    {
        return Err(S3Error::BadDigest {
            what: client.algorithm().name(),
            expected: sent.clone(),
            calculated: made.render(count).unwrap_or_default(),
        });
    }
    Ok(made.map(|mut made| {
        if PART_CHECKSUMS_BYTES_MAX < made.parts.len() * made.algorithm.value_bytes() {
            made.parts.clear();
        }
        made
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Algorithm, checksum_of};

    const SMALL: u64 = PART_BYTES_MIN - 1;

    fn part(number: u16, size: u64, algorithm: Option<Algorithm>) -> PartInfo {
        let checksum = algorithm.map(|algorithm| StoredChecksum::of_bytes(checksum_of(algorithm, &[0; 3])));
        PartInfo {
            number,
            sequence: Sequence(u64::from(number) + 100),
            size,
            modified_ms: 0,
            etag: ETag { md5: [u8::try_from(number).expect("small"); 16], parts: 0 },
            attributes: Attributes { checksum, ..Attributes::default() }.encode(),
        }
    }

    fn named(number: u64) -> CompletedPart {
        let etag = ETag { md5: [u8::try_from(number).expect("small"); 16], parts: 0 };
        CompletedPart { number, etag: format!("\"{etag}\""), checksums: vec![] }
    }

    fn check(wanted: &[CompletedPart], have: &[PartInfo], want: Result<u16, &str>) {
        let got = plan(wanted, have, &Attributes::default(), &Expected::default(), "u");
        assert_eq!(
            got.map(|plan| plan.etag.parts).map_err(|failure| failure.answer().code),
            want,
            "{wanted:?}"
        );
    }

    #[test]
    fn plans() {
        let have = [part(1, PART_BYTES_MIN, None), part(2, PART_BYTES_MIN, None), part(5, 3, None)];
        check(&[named(1)], &have, Ok(1));
        check(&[named(1), named(2), named(5)], &have, Ok(3));
        check(&[named(2), named(5)], &have, Ok(2));
        check(&[named(2), named(1)], &have, Err("InvalidPartOrder"));
        check(&[named(1), named(1)], &have, Err("InvalidPartOrder"));
        check(&[named(1), named(3)], &have, Err("InvalidPart"));
        check(&[CompletedPart { number: 70_000, ..named(1) }], &have, Err("InvalidPart"));
        check(&[CompletedPart { etag: "x".into(), ..named(1) }], &have, Err("InvalidPart"));
        let small = [part(1, SMALL, None), part(2, 1, None)];
        check(&[named(1), named(2)], &small, Err("EntityTooSmall"));
        check(&[named(1)], &small, Ok(1));
    }

    #[test]
    fn tags() {
        let have = [part(1, PART_BYTES_MIN, None), part(2, 1, None)];
        let plan = plan(&[named(1), named(2)], &have, &Attributes::default(), &Expected::default(), "u")
            .expect("a plan");
        let mut md5 = Md5::new();
        md5.update([1_u8; 16]);
        md5.update([2_u8; 16]);
        assert_eq!(plan.etag, ETag { md5: md5.finalize().into(), parts: 2 });
        assert_eq!(plan.parts, [(1, Sequence(101)), (2, Sequence(102))]);
        assert_eq!(plan.checksum, None);
    }

    #[test]
    fn checksums() {
        let upload = |algorithm, kind| Attributes {
            checksum: Some(StoredChecksum { algorithm, kind, value: None, parts: vec![] }),
            ..Attributes::default()
        };
        let check =
            |upload: &Attributes, algorithm, expected: &Expected, want: Result<Option<Kind>, &str>| {
                let have = [part(1, PART_BYTES_MIN, Some(algorithm)), part(2, 3, Some(algorithm))];
                let got = plan(&[named(1), named(2)], &have, upload, expected, "u");
                let got = got.map(|plan| plan.checksum.map(|checksum| checksum.kind));
                assert_eq!(got.map_err(|failure| failure.answer().code), want);
            };
        let none = Expected::default();
        check(&Attributes::default(), Algorithm::Crc64Nvme, &none, Ok(Some(Kind::FullObject)));
        check(&Attributes::default(), Algorithm::Sha256, &none, Ok(Some(Kind::Composite)));
        let composite = upload(Algorithm::Crc32, Kind::Composite);
        check(&composite, Algorithm::Crc32, &none, Ok(Some(Kind::Composite)));
        let kind = Expected { kind: Some(Kind::FullObject), ..Expected::default() };
        check(&composite, Algorithm::Crc32, &kind, Err("InvalidRequest"));
        let wrong = (checksum_of(Algorithm::Crc32, b"wrong"), "x".to_owned());
        check(
            &composite,
            Algorithm::Crc32,
            &Expected { checksum: Some(wrong), ..none.clone() },
            Err("BadDigest"),
        );
        check(&composite, Algorithm::Crc32, &Expected { bytes: Some(1), ..none }, Err("InvalidRequest"));
        let text = checksum_of(Algorithm::Crc32, &[0; 3]).to_base64();
        let have = [part(1, 3, Some(Algorithm::Crc32))];
        let one = |text: String| CompletedPart { checksums: vec![(Algorithm::Crc32, text)], ..named(1) };
        assert!(plan(&[one(text)], &have, &composite, &Expected::default(), "u").is_ok());
        assert!(plan(&[one("AAAAAA==".into())], &have, &composite, &Expected::default(), "u").is_err());
    }

    #[test]
    fn expectations() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-checksum-crc32", http::HeaderValue::from_static("y/Q5Jg==-3"));
        headers.insert("x-amz-mp-object-size", http::HeaderValue::from_static("12"));
        let expected = expected_object(&headers).expect("headers");
        assert_eq!(expected.bytes, Some(12));
        assert_eq!(
            expected.checksum.map(|(value, _)| value),
            Some(checksum_of(Algorithm::Crc32, b"123456789"))
        );
        assert!(without_checksums(&headers).get("x-amz-checksum-crc32").is_none());
        headers.insert("x-amz-mp-object-size", http::HeaderValue::from_static("x"));
        assert!(expected_object(&headers).is_err());
    }
}
