//! CompleteMultipartUpload: the named parts become the object, without touching their bytes.
//!
//! What is asked is decided by [`plan`], which is pure; the engine refuses when a part was replaced meanwhile. I1. What the
//! request says of parts or object is held against what is known of them, or refused. I2. Of an upload that is completed
//! already, the request that completed it gets its answer again (`receipt`); any other finds no such upload.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use md5::{Digest as _, Md5};
use nilas_engine::{Bucket, Completion, ETag, ObjectInfo, PartInfo, PutCondition, Sequence, UploadId};

use super::{Call, Outcome, conditions, document, lifecycle, request_xml, unsigned, version_id};
use crate::body::{Algorithm, Checksum, Declared};
use crate::limits::{
    COMPLETE_XML_BYTES_MAX, OBJECT_BYTES_MAX, PART_BYTES_MIN, PART_CHECKSUMS_BYTES_MAX, PARTS_MAX,
};
use crate::render::base_url::base_url;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::checksum::{self, Kind, StoredChecksum, crc64nvme};
use crate::s3::encryption::Says;
use crate::s3::list_parts::plain_part_bytes;
use crate::s3::payload::Payload;
use crate::s3::receipt::{Receipt, RequestDigest};
use crate::s3::request_xml::CompletedPart;
use crate::s3::upload_part::mismatch;
use crate::sse::stored::Encryption;

pub(super) async fn complete<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let condition = conditions::of_write(call.headers)?;
    let expected = Expected::of(call.headers)?;
    let bucket = call.bucket()?;
    // The checksum headers speak of the object, not of this body.
    let body = payload.read_xml(&without_checksums(call.headers), COMPLETE_XML_BYTES_MAX).await?;
    let parts = request_xml::parse_complete(&body)?;
    let wanted = parts.iter().map(named).collect::<Result<Vec<Named>, S3Error>>()?;
    let id = call.upload_id()?;
    let request = RequestDigest::of(&call.target.key, &parts, &expected.to_text());
    let (made, info, encryption) =
        match put_together(call, &bucket, id, condition, &wanted, &expected, request).await {
            // It may be that its answer was lost.
            Err(failure @ S3Error::NoSuchUpload { .. }) => {
                let kept = call.engine().completion(&bucket, id).await?;
                let kept = kept.and_then(|kept| Receipt::decode(&kept));
                // Which version it made is not remembered.
                (kept.filter(|kept| kept.request == request).ok_or(failure)?, None, None)
            }
            made => made?,
        };
    let mut xml = Xml::new("CompleteMultipartUploadResult", 1024);
    let bucket_in_path = Some(&*call.target.bucket).filter(|_| !call.target.by_host);
    xml.address("Location", &base_url(call.headers), bucket_in_path, &call.target.key);
    xml.text("Bucket", &call.target.bucket);
    xml.bytes("Key", &call.target.key);
    xml.etag(&made.etag);
    if let Some(checksum) = &made.checksum {
        checksum.put_xml(&mut xml, made.etag.parts);
    }
    let mut response = document(xml);
    call.say_encryption(response.headers_mut(), encryption.as_ref(), Says::Completed);
    if let Some(info) = info {
        version_id::put_header(response.headers_mut(), &bucket, info.version());
        lifecycle::put_expiration(call, response.headers_mut(), &bucket, &info);
    }
    Ok(response)
}

async fn put_together(
    call: &Call<'_>,
    bucket: &Bucket,
    id: UploadId,
    condition: PutCondition,
    wanted: &[Named],
    expected: &Expected,
    request: RequestDigest,
) -> Result<(Receipt, Option<ObjectInfo>, Option<Encryption>), S3Error> {
    let mut attributes = call.open_upload(bucket, id).await?;
    call.check_key_of_upload(bucket, &attributes)?;
    let lock = std::mem::take(&mut attributes.lock);
    let have = call.engine().parts(bucket, id, 0, usize::from(PARTS_MAX)).await?;
    let have = have.ok_or_else(|| call.no_such_upload())?;
    let Plan { parts, bytes, etag, checksum } = plan(wanted, &have, &attributes, expected, &id.to_string())?;
    attributes.checksum = checksum.clone();
    if let Some(kept) = &mut attributes.encryption {
        kept.plain_bytes = bytes;
    }
    let encryption = attributes.encryption.clone();
    let receipt = Receipt { request, etag, checksum };
    let (attributes, kept) = (attributes.encode(), receipt.encode());
    let completion = Completion { parts, condition, etag, attributes, receipt: kept, lock };
    let done = call.engine().complete_upload(bucket, id, completion).await;
    let info = done.map_err(|why| call.write_failed(why))?;
    Ok((receipt, Some(info), encryption))
}

/// What the request's headers say the object must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Expected {
    checksum: Option<Sent>,
    kind: Option<Kind>,
    bytes: Option<u64>,
}

/// A checksum of the object as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    value: Checksum,
    /// Behind a composite value; SDKs send these with and without it.
    parts: Option<u16>,
    text: String,
}

impl Expected {
    fn of(headers: &HeaderMap) -> Result<Expected, S3Error> {
        let bytes = match headers.get("x-amz-mp-object-size") {
            None => None,
            Some(value) => Some(object_size(&String::from_utf8_lossy(value.as_bytes()))?),
        };
        let kind = checksum::kind_header(headers)?;
        // The number of parts behind a composite value is no part of its base64.
        let mut plain = HeaderMap::new();
        let mut sent = None;
        for (name, value) in headers {
            let base64 = match Algorithm::of_header(name.as_str()) {
                Some(algorithm) => {
                    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    let (base64, parts) = split_parts(algorithm, &text)?;
                    let base64 = http::HeaderValue::try_from(base64);
                    sent = Some((text, parts));
                    base64.unwrap_or_else(|_| value.clone())
                }
                None if name.as_str().starts_with("x-amz-checksum-") => value.clone(),
                None => continue,
            };
            plain.append(name, base64);
        }
        let checksum = Declared::parse(&plain)?.checksum;
        let checksum = checksum.zip(sent).map(|(value, (text, parts))| Sent { value, parts, text });
        Ok(Expected { checksum, kind, bytes })
    }

    /// All of it as text: what is kept of a request is held against it, so it stays as it is.
    fn to_text(&self) -> String {
        let checksum =
            self.checksum.as_ref().map(|sent| format!("{} {}", sent.value.algorithm().name(), sent.text));
        let bytes = self.bytes.map(|bytes| bytes.to_string());
        let said = [checksum.as_deref(), self.kind.map(Kind::name), bytes.as_deref()];
        said.map(|said| said.unwrap_or("-")).join("\n")
    }
}

fn object_size(text: &str) -> Result<u64, S3Error> {
    unsigned(text).ok_or_else(|| {
        match text.strip_prefix('-').is_some_and(|digits| unsigned::<u64>(digits).is_some()) {
            true => S3Error::invalid_request(format!(
                "Value for x-amz-mp-object-size header is less than zero: '{text}'"
            )),
            false => S3Error::invalid_request(format!(
                "Value for x-amz-mp-object-size header is invalid: '{text}'"
            )),
        }
    })
}

/// Takes `-N` off a composite value. N is written in one way: without a sign and without zeros in front.
fn split_parts(algorithm: Algorithm, text: &str) -> Result<(&str, Option<u16>), S3Error> {
    let Some((base64, parts)) = text.split_once('-') else { return Ok((text, None)) };
    let number = unsigned(parts).filter(|_| parts == "0" || !parts.starts_with('0'));
    match number {
        Some(number) if Kind::Composite.fits(algorithm) => Ok((base64, Some(number))),
        _ => Err(S3Error::invalid_request(format!("Value for {} header is invalid.", algorithm.header()))),
    }
}

fn without_checksums(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| {
        !name.as_str().starts_with("x-amz-checksum-") && *name != "x-amz-sdk-checksum-algorithm"
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A part as the request names it, with the one checksum that it may name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    number: u64,
    etag: String,
    checksum: Option<Checksum>,
}

/// Judges what the request says of a part by itself.
fn named(part: &CompletedPart) -> Result<Named, S3Error> {
    let number = u64::try_from(part.number).ok().filter(|number| 0 < *number);
    let number = number.ok_or_else(|| S3Error::InvalidArgument {
        message: "PartNumber must be >= 1".into(),
        name: "PartNumber",
        value: part.number.to_string(),
    })?;
    let checksum = match &part.checksums[..] {
        [] => Some(None),
        [(algorithm, text)] => Checksum::parse(*algorithm, text).map(Some),
        _ => None,
    };
    let checksum = checksum.ok_or_else(|| {
        let of_algorithm =
            |algorithm: Algorithm| part.checksums.iter().filter(move |(named, _)| *named == algorithm);
        let all = Algorithm::ALL.into_iter().flat_map(of_algorithm);
        S3Error::InvalidArgument {
            message: "Invalid Base64 or multiple checksums present in request".into(),
            name: "Checksum",
            value: all.map(|(algorithm, text)| format!("{}:{text};", algorithm.name())).collect(),
        }
    })?;
    Ok(Named { number, etag: part.etag.clone(), checksum })
}

/// What the engine is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    parts: Vec<(u16, Sequence)>,
    /// Bytes of the object.
    bytes: u64,
    etag: ETag,
    checksum: Option<StoredChecksum>,
}

/// A part that is named and there.
struct Chosen<'a> {
    part: &'a PartInfo,
    /// Its bytes.
    bytes: u64,
    /// CRC-64/NVME of them, when it is encrypted.
    plain_crc64nvme: Option<u64>,
    /// The checksum that it came with.
    kept: Option<Checksum>,
}

impl Chosen<'_> {
    /// Its CRC64NVME, which is known of every part.
    fn crc64nvme(&self) -> Option<Checksum> {
        let kept = self.kept.filter(|kept| kept.algorithm() == Algorithm::Crc64Nvme);
        kept.or_else(|| self.plain_crc64nvme.or_else(|| self.part.crc64nvme()).map(crc64nvme))
    }
}

/// Decides: order, existence, tags, checksums and sizes of the parts, then tag and checksum of the object.
fn plan(
    wanted: &[Named],
    have: &[PartInfo],
    upload: &Attributes,
    expected: &Expected,
    upload_id: &str,
) -> Result<Plan, S3Error> {
    if !wanted.is_sorted_by(|a, b| a.number < b.number) {
        return Err(S3Error::InvalidPartOrder { upload: upload_id.to_owned() });
    }
    let asked = upload.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind));
    let mut parts = Vec::with_capacity(wanted.len());
    for part in wanted {
        let bad = || S3Error::InvalidPart {
            upload: upload_id.to_owned(),
            part: part.number,
            etag: part.etag.trim_matches('"').to_owned(),
        };
        let found = have.binary_search_by_key(&part.number, |have| u64::from(have.number));
        let found = found.ok().and_then(|at| have.get(at)).ok_or_else(bad)?;
        if conditions::parse_tag(&part.etag) != Some(found.etag) {
            return Err(bad());
        }
        let attributes = Attributes::decode(&found.attributes).ok();
        let bytes = plain_part_bytes(found, attributes.as_ref());
        let plain_crc64nvme = attributes.as_ref().and_then(|attributes| attributes.plain_crc64nvme);
        let kept = attributes.and_then(|kept| kept.checksum?.value);
        let chosen = Chosen { part: found, bytes, plain_crc64nvme, kept };
        if !is_right(&chosen, part, asked)? {
            return Err(bad());
        }
        parts.push(chosen);
    }
    let bytes = check_sizes(&parts, expected)?;

    let mut md5 = Md5::new();
    parts.iter().for_each(|chosen| md5.update(chosen.part.etag.md5));
    let count = u16::try_from(parts.len()).expect("the XML holds at most 10,000 parts");
    let etag = ETag { md5: md5.finalize().into(), parts: count };
    let checksum = object_checksum(asked, &parts, expected, count)?;
    let parts = parts.iter().map(|chosen| (chosen.part.number, chosen.part.sequence)).collect();
    Ok(Plan { parts, bytes, etag, checksum })
}

/// Holds the checksum that the request names for a part, or its lack, against the part and what the upload was opened
/// with: `false` when it is another one than the part's.
fn is_right(chosen: &Chosen<'_>, named: &Named, asked: Option<(Algorithm, Kind)>) -> Result<bool, S3Error> {
    match (asked, named.checksum) {
        (None, None) => Ok(true),
        // Whatever it came with, and what is known of every part; more cannot be told to be right.
        (None, Some(checksum)) => Ok([chosen.kept, chosen.crc64nvme()].contains(&Some(checksum))),
        (Some((algorithm, Kind::Composite)), None) => Err(S3Error::invalid_request(format!(
            "The upload was created using a {} checksum. The complete request must include the checksum for each part. \
             It was missing for part {} in the request.",
            algorithm.lower_name(),
            named.number,
        ))),
        (Some((algorithm, Kind::FullObject)), None) => {
            Ok(chosen.kept.is_some_and(|kept| kept.algorithm() == algorithm))
        }
        (Some((algorithm, _)), Some(checksum)) if checksum.algorithm() != algorithm => {
            Err(S3Error::BadPartDigest { what: checksum.algorithm().lower_name(), part: named.number })
        }
        (Some(_), Some(checksum)) => Ok(chosen.kept == Some(checksum)),
    }
}

/// Returns the bytes of the object.
fn check_sizes(parts: &[Chosen<'_>], expected: &Expected) -> Result<u64, S3Error> {
    let all_but_last = parts.split_last().map_or(&[][..], |(_, rest)| rest);
    if let Some(small) = all_but_last.iter().find(|chosen| chosen.bytes < PART_BYTES_MIN) {
        return Err(S3Error::EntityTooSmall {
            proposed: small.bytes,
            part: small.part.number,
            etag: small.part.etag.to_string(),
        });
    }
    let proposed = parts.iter().fold(0_u64, |sum, chosen| sum.saturating_add(chosen.bytes));
    if OBJECT_BYTES_MAX < proposed {
        return Err(S3Error::EntityTooLarge { proposed, max: OBJECT_BYTES_MAX });
    }
    match expected.bytes {
        Some(bytes) if bytes != proposed => Err(S3Error::invalid_request(format!(
            "The provided 'x-amz-mp-object-size' header value {bytes} does not match what was computed: {proposed}"
        ))),
        _ => Ok(proposed),
    }
}

/// The object's checksum: as the upload was opened with, else CRC64NVME of all its bytes. What the client expects must
/// be it.
fn object_checksum(
    asked: Option<(Algorithm, Kind)>,
    parts: &[Chosen<'_>],
    expected: &Expected,
    count: u16,
) -> Result<Option<StoredChecksum>, S3Error> {
    let kind = asked.map_or(Kind::FullObject, |(_, kind)| kind);
    if expected.kind.is_some_and(|expected| expected != kind) {
        return Err(S3Error::invalid_request(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            kind.name(),
        )));
    }
    let sums = |sum: fn(&Chosen<'_>) -> Option<Checksum>| -> Vec<(Checksum, u64)> {
        let sums: Option<_> = parts.iter().map(|chosen| Some((sum(chosen)?, chosen.bytes))).collect();
        sums.unwrap_or_default()
    };
    let made = match asked {
        Some(_) => StoredChecksum::of_parts(kind, &sums(|chosen| chosen.kept)),
        None => StoredChecksum::of_parts(kind, &sums(|chosen| chosen.crc64nvme())),
    };
    if let Some(sent) = &expected.checksum {
        let mut known: Vec<StoredChecksum> = made.iter().cloned().collect();
        if asked.is_none() {
            // Of the CRCs that the parts came with, if all with one algorithm, that of all bytes can be told as well.
            known.extend(StoredChecksum::of_parts(kind, &sums(|chosen| chosen.kept)));
        }
        check_sent(sent, &known, count)?;
    }
    Ok(made.map(|mut made| {
        if PART_CHECKSUMS_BYTES_MAX < made.parts.len() * made.algorithm.value_bytes() {
            made.parts.clear();
        }
        made
    }))
}

/// Holds a checksum that the client expects of the object against those that are known of it.
fn check_sent(sent: &Sent, known: &[StoredChecksum], count: u16) -> Result<(), S3Error> {
    let algorithm = sent.value.algorithm();
    let mut alike = known.iter().filter(|known| known.algorithm == algorithm).peekable();
    let calculated = match alike.peek() {
        Some(first) => first.render(count).unwrap_or_default(),
        None => return Err(mismatch(known.first().map(|known| known.algorithm), Some(algorithm))),
    };
    let is_it = |known: &StoredChecksum| {
        let counted = sent.parts.is_none_or(|parts| known.kind == Kind::Composite && parts == count);
        known.value == Some(sent.value) && counted
    };
    match alike.any(is_it) {
        true => Ok(()),
        false => {
            Err(S3Error::BadDigest { what: algorithm.lower_name(), expected: sent.text.clone(), calculated })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{checksum_of, combine_crc, composite};

    const SMALL: u64 = PART_BYTES_MIN - 1;
    /// What the parts of a test are said to hold, and its unit checksums: those of bytes that nobody reads.
    const UNIT: u64 = 0x0123_4567_89ab_cdef;

    fn part(number: u16, size: u64, kept: Option<Algorithm>) -> PartInfo {
        let checksum = kept.map(|algorithm| StoredChecksum::of_bytes(sum(algorithm)));
        let units = usize::try_from(size.div_ceil(64 << 10)).expect("small");
        PartInfo {
            number,
            sequence: Sequence(u64::from(number) + 100),
            size,
            modified_ms: 0,
            etag: ETag { md5: [u8::try_from(number).expect("small"); 16], parts: 0 },
            attributes: Attributes { checksum, ..Attributes::default() }.encode(),
            units: UNIT.to_le_bytes().repeat(units).into(),
        }
    }

    /// The checksum that every part came with.
    fn sum(algorithm: Algorithm) -> Checksum {
        checksum_of(algorithm, b"part")
    }

    fn list(number: i64, checksums: &[(Algorithm, &str)]) -> CompletedPart {
        let etag = ETag { md5: [u8::try_from(number).unwrap_or(0); 16], parts: 0 };
        let checksums = checksums.iter().map(|(algorithm, text)| (*algorithm, (*text).to_owned())).collect();
        CompletedPart { number, etag: format!("\"{etag}\""), checksums }
    }

    fn upload(asked: Option<(Algorithm, Kind)>) -> Attributes {
        let checksum =
            asked.map(|(algorithm, kind)| StoredChecksum { algorithm, kind, value: None, parts: vec![] });
        Attributes { checksum, ..Attributes::default() }
    }

    /// As a request goes: what it says by itself first, then held against the upload.
    fn judge(
        wanted: &[CompletedPart],
        have: &[PartInfo],
        asked: Option<(Algorithm, Kind)>,
        headers: &[(&'static str, &str)],
    ) -> Result<Plan, S3Error> {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::try_from(*value).expect("a value"))
        };
        let expected = Expected::of(&headers.iter().map(pair).collect())?;
        let wanted = wanted.iter().map(named).collect::<Result<Vec<Named>, S3Error>>()?;
        plan(&wanted, have, &upload(asked), &expected, "u")
    }

    fn code<T>(outcome: Result<T, S3Error>) -> Result<T, &'static str> {
        outcome.map_err(|failure| failure.answer().code)
    }

    #[test]
    fn plans() {
        let have = [part(1, PART_BYTES_MIN, None), part(2, PART_BYTES_MIN, None), part(5, 3, None)];
        let check = |wanted: &[CompletedPart], have: &[PartInfo], want: Result<u16, &str>| {
            let got = judge(wanted, have, None, &[]).map(|plan| plan.etag.parts);
            assert_eq!(code(got), want, "{wanted:?}");
        };
        let n = |number| list(number, &[]);
        check(&[n(1)], &have, Ok(1));
        check(&[n(1), n(2), n(5)], &have, Ok(3));
        check(&[n(2), n(5)], &have, Ok(2));
        check(&[n(2), n(1)], &have, Err("InvalidPartOrder"));
        check(&[n(1), n(1)], &have, Err("InvalidPartOrder"));
        check(&[n(1), n(3)], &have, Err("InvalidPart"));
        check(&[CompletedPart { number: 70_000, ..n(1) }], &have, Err("InvalidPart"));
        check(&[CompletedPart { number: 0, ..n(1) }], &have, Err("InvalidArgument"));
        check(&[CompletedPart { number: -1, ..n(1) }], &have, Err("InvalidArgument"));
        check(&[CompletedPart { etag: "x".into(), ..n(1) }], &have, Err("InvalidPart"));
        let small = [part(1, SMALL, None), part(2, 1, None)];
        check(&[n(1), n(2)], &small, Err("EntityTooSmall"));
        check(&[n(1)], &small, Ok(1));
    }

    #[test]
    fn tags() {
        let have = [part(1, PART_BYTES_MIN, None), part(2, 1, None)];
        let plan = judge(&[list(1, &[]), list(2, &[])], &have, None, &[]).expect("a plan");
        let mut md5 = Md5::new();
        md5.update([1_u8; 16]);
        md5.update([2_u8; 16]);
        assert_eq!(plan.etag, ETag { md5: md5.finalize().into(), parts: 2 });
        assert_eq!(plan.parts, [(1, Sequence(101)), (2, Sequence(102))]);
    }

    /// Every way to name a checksum in the list, or none, against every way to open an upload.
    #[test]
    fn lists() {
        const WRONG: &[u8] = b"wrong";
        let kinds = [Kind::FullObject, Kind::Composite];
        let all = Algorithm::ALL.into_iter().flat_map(|algorithm| kinds.map(|kind| (algorithm, kind)));
        let uploads: Vec<Option<(Algorithm, Kind)>> =
            all.filter(|(algorithm, kind)| kind.fits(*algorithm)).map(Some).chain([None]).collect();
        assert_eq!(uploads.len(), 13);
        for asked in uploads {
            // Of an upload that named none, the parts come with one all the same.
            let own = asked.map_or(Algorithm::Sha1, |(algorithm, _)| algorithm);
            let have = [part(1, PART_BYTES_MIN, Some(own)), part(2, 3, Some(own))];
            let right = sum(own).to_base64();
            let check = |second: &[(Algorithm, &str)], want: Result<(), &str>| {
                let wanted = [list(1, &[(own, &right)]), list(2, second)];
                let got = code(judge(&wanted, &have, asked, &[]).map(|_| ()));
                assert_eq!(got, want, "{asked:?} {second:?}");
            };
            check(&[(own, &right)], Ok(()));
            check(
                &[],
                if matches!(asked, Some((_, Kind::Composite))) { Err("InvalidRequest") } else { Ok(()) },
            );
            check(&[(own, &checksum_of(own, WRONG).to_base64())], Err("InvalidPart"));
            check(&[(own, "AAAA")], Err("InvalidArgument"));
            check(&[(own, "no base64!")], Err("InvalidArgument"));
            check(&[(own, "")], Err("InvalidArgument"));
            check(&[(own, &right), (own, &right)], Err("InvalidArgument"));
            for other in Algorithm::ALL.into_iter().filter(|other| *other != own) {
                // Wrong or not: nobody can tell.
                let unknown = if asked.is_some() { Err("BadDigest") } else { Err("InvalidPart") };
                check(&[(other, &sum(other).to_base64())], unknown);
                check(&[(other, &checksum_of(other, WRONG).to_base64())], unknown);
                check(&[(own, &right), (other, &sum(other).to_base64())], Err("InvalidArgument"));
            }
            if asked.is_none() {
                let known = crc64nvme(have[1].crc64nvme().expect("units")).to_base64();
                check(&[(Algorithm::Crc64Nvme, &known)], Ok(()));
            }
        }
    }

    #[test]
    fn parts_that_came_without_what_the_upload_wants() {
        for (kept, kind) in [
            (None, Kind::Composite),
            (None, Kind::FullObject),
            (Some(Algorithm::Crc32c), Kind::Composite),
            (Some(Algorithm::Crc32c), Kind::FullObject),
        ] {
            let have = [part(1, 3, kept)];
            let asked = Some((Algorithm::Crc32, kind));
            let listed = judge(&[list(1, &[(Algorithm::Crc32, "AAAAAA==")])], &have, asked, &[]);
            assert_eq!(code(listed.map(|_| ())), Err("InvalidPart"), "{kept:?} {kind:?}");
            assert!(judge(&[list(1, &[])], &have, asked, &[]).is_err(), "{kept:?} {kind:?}");
        }
    }

    #[test]
    fn messages() {
        let say =
            |outcome: Result<Plan, S3Error>| outcome.expect_err("refused").answer().message.into_owned();
        let have = [part(1, 3, Some(Algorithm::Sha256))];
        let asked = Some((Algorithm::Sha256, Kind::Composite));
        assert_eq!(
            say(judge(&[list(1, &[])], &have, asked, &[])),
            "The upload was created using a sha256 checksum. The complete request must include the checksum for each \
             part. It was missing for part 1 in the request."
        );
        assert_eq!(
            say(judge(&[list(1, &[(Algorithm::Crc32, "AAAAAA==")])], &have, asked, &[])),
            "The crc32 you specified for part 1 did not match what we received."
        );
        let two = list(1, &[(Algorithm::Sha1, "b"), (Algorithm::Crc32, "a")]);
        let refused = judge(&[two], &have, asked, &[]).expect_err("two").answer();
        assert_eq!(refused.message, "Invalid Base64 or multiple checksums present in request");
        assert_eq!(
            refused.fields,
            [("ArgumentName", "Checksum".to_owned()), ("ArgumentValue", "CRC32:a;SHA1:b;".to_owned())]
        );
    }

    /// What the headers say of the object, against every way to open an upload.
    #[test]
    fn headers() {
        let asked_of = |algorithm, kind| Some((algorithm, kind));
        let sizes = [PART_BYTES_MIN, 3];
        let check = |asked: Option<(Algorithm, Kind)>,
                     own: Algorithm,
                     headers: &[(&'static str, &str)],
                     want: Result<(), &str>| {
            let have = [part(1, sizes[0], Some(own)), part(2, sizes[1], Some(own))];
            let value = sum(own).to_base64();
            let wanted = [list(1, &[(own, &value)]), list(2, &[(own, &value)])];
            let got = code(judge(&wanted, &have, asked, headers).map(|_| ()));
            assert_eq!(got, want, "{asked:?} {own:?} {headers:?}");
        };
        for algorithm in Algorithm::ALL {
            let values = [(sum(algorithm), sizes[0]), (sum(algorithm), sizes[1])];
            let other = if algorithm == Algorithm::Crc32 { Algorithm::Crc32c } else { Algorithm::Crc32 };
            if let Some(value) = composite(&values.map(|(value, _)| value)).map(Checksum::to_base64) {
                let asked = asked_of(algorithm, Kind::Composite);
                let one = |value: &str, want| check(asked, algorithm, &[(algorithm.header(), value)], want);
                one(&value, Ok(()));
                one(&format!("{value}-2"), Ok(()));
                for parts in ["0", "1", "3", "20"] {
                    one(&format!("{value}-{parts}"), Err("BadDigest"));
                }
                for parts in ["", "a", "-2", "2-2", "+2", "02", "002", "00", "70000"] {
                    one(&format!("{value}-{parts}"), Err("InvalidRequest"));
                }
                one(&sum(algorithm).to_base64(), Err("BadDigest"));
                check(asked, algorithm, &[("x-amz-checksum-type", "FULL_OBJECT")], Err("InvalidRequest"));
                check(asked, algorithm, &[("x-amz-checksum-type", "COMPOSITE")], Ok(()));
                // Without a word at creation the object's checksum is of all its bytes.
                let refused = if Kind::FullObject.fits(algorithm) { "BadDigest" } else { "InvalidRequest" };
                for composite in [value.clone(), format!("{value}-2"), format!("{value}-3")] {
                    check(None, algorithm, &[(algorithm.header(), &composite)], Err(refused));
                }
                let stranger = sum(other).to_base64();
                check(asked, algorithm, &[(other.header(), &stranger)], Err("InvalidRequest"));
                check(None, algorithm, &[(other.header(), &stranger)], Err("InvalidRequest"));
            }
            if let Some(value) = combine_crc(&values).map(Checksum::to_base64) {
                let asked = asked_of(algorithm, Kind::FullObject);
                check(asked, algorithm, &[(algorithm.header(), &value)], Ok(()));
                check(
                    asked,
                    algorithm,
                    &[(algorithm.header(), &sum(algorithm).to_base64())],
                    Err("BadDigest"),
                );
                let suffixed = if algorithm == Algorithm::Crc64Nvme { "InvalidRequest" } else { "BadDigest" };
                check(asked, algorithm, &[(algorithm.header(), &format!("{value}-2"))], Err(suffixed));
                check(asked, algorithm, &[("x-amz-checksum-type", "COMPOSITE")], Err("InvalidRequest"));
                check(asked, algorithm, &[("x-amz-checksum-type", "full_object")], Ok(()));
                check(None, algorithm, &[(algorithm.header(), &value)], Ok(()));
                check(None, algorithm, &[(algorithm.header(), &format!("{value}-2"))], Err(suffixed));
            }
        }
        let asked = asked_of(Algorithm::Crc32, Kind::FullObject);
        let own = Algorithm::Crc32;
        check(None, own, &[("x-amz-checksum-type", "COMPOSITE")], Err("InvalidRequest"));
        check(None, own, &[("x-amz-checksum-type", "SOME")], Err("InvalidRequest"));
        check(asked, own, &[("x-amz-checksum-crc32", "AAAA")], Err("InvalidRequest"));
        check(asked, own, &[("x-amz-checksum-crc32", "")], Err("InvalidRequest"));
        check(asked, own, &[("x-amz-checksum-sha512", "AAAA")], Err("InvalidRequest"));
        let two = [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")];
        check(asked, own, &two, Err("InvalidRequest"));
        let bytes = (PART_BYTES_MIN + 3).to_string();
        check(asked, own, &[("x-amz-mp-object-size", &bytes)], Ok(()));
        for wrong in ["1", "-1", "x", "", "1.0", &format!("+{bytes}"), &format!(" {bytes}"), "-+1"] {
            check(asked, own, &[("x-amz-mp-object-size", wrong)], Err("InvalidRequest"));
        }
    }

    /// The object's checksum is the one asked for, and CRC64NVME of all bytes when none was, whatever the parts came with.
    #[test]
    fn objects() {
        let have = [
            part(1, PART_BYTES_MIN, Some(Algorithm::Crc32)),
            part(2, 3, Some(Algorithm::Sha1)),
            part(3, 5, None),
        ];
        let wanted = [list(1, &[]), list(2, &[])];
        let made = judge(&wanted, &have, None, &[]).expect("a plan").checksum.expect("one is known");
        let parts: Vec<(Checksum, u64)> =
            have[..2].iter().map(|part| (crc64nvme(part.crc64nvme().expect("units")), part.size)).collect();
        assert_eq!((made.algorithm, made.kind), checksum::MADE);
        assert_eq!(made.value, combine_crc(&parts));
        let composite = Some((Algorithm::Crc32, Kind::Composite));
        let one = [list(1, &[(Algorithm::Crc32, &sum(Algorithm::Crc32).to_base64())])];
        let made = judge(&one, &have, composite, &[]).expect("a plan").checksum.expect("one is known");
        assert_eq!((made.algorithm, made.kind, made.parts.len()), (Algorithm::Crc32, Kind::Composite, 1));
    }

    #[test]
    fn checksums_are_not_of_the_body() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-checksum-crc32", http::HeaderValue::from_static("y/Q5Jg==-3"));
        headers.insert("x-amz-sdk-checksum-algorithm", http::HeaderValue::from_static("CRC32"));
        headers.insert("content-md5", http::HeaderValue::from_static("x"));
        let expected = Expected::of(&headers).expect("headers").checksum.expect("a checksum");
        assert_eq!((expected.value, expected.parts), (checksum_of(Algorithm::Crc32, b"123456789"), Some(3)));
        let left = without_checksums(&headers);
        assert_eq!((left.len(), left.contains_key("content-md5")), (1, true));
    }
}
