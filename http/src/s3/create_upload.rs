//! CreateMultipartUpload: what the object will get besides bytes is fixed here.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Call, Outcome, checksum, document, lifecycle, metadata, object_lock};
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::checksum::{Kind, StoredChecksum};
use crate::s3::encryption::Says;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let mut attributes = metadata::parse(call.headers)?;
    call.check_gives_tags(&attributes)?;
    attributes.checksum = wanted_checksum(call.headers)?;
    let bucket = call.bucket()?;
    attributes.lock = object_lock::of_new_object(call, &bucket).await?;
    attributes.encryption = call.sealing(&bucket).await?.map(|sealing| sealing.kept);
    let opened = call.engine().create_upload(&bucket, call.key(), attributes.encode()).await;
    let id = opened.map_err(|why| call.write_failed(why))?;

    let mut xml = Xml::new("InitiateMultipartUploadResult", 512);
    xml.text("Bucket", &call.target.bucket);
    xml.bytes("Key", &call.target.key);
    xml.text("UploadId", &id.to_string());
    let mut response = document(xml);
    lifecycle::put_abort(call, response.headers_mut(), &bucket, call.engine().now_ms());
    call.say_encryption(response.headers_mut(), attributes.encryption.as_ref(), Says::Made);
    if let Some(checksum) = &attributes.checksum {
        let headers = response.headers_mut();
        let put = [
            ("x-amz-checksum-algorithm", checksum.algorithm.name()),
            ("x-amz-checksum-type", checksum.kind.name()),
        ];
        for (name, value) in put {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    Ok(response)
}

/// Algorithm and kind of the checksum that the upload asks for. None: whatever the parts bring.
fn wanted_checksum(headers: &HeaderMap) -> Result<Option<StoredChecksum>, S3Error> {
    let kind = checksum::kind_header(headers)?;
    let Some(algorithm) = checksum::algorithm_header(headers)? else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(S3Error::invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let kind = kind.unwrap_or(Kind::default_of(algorithm));
    if !kind.fits(algorithm) {
        return Err(S3Error::invalid_request(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name().to_ascii_lowercase(),
        )));
    }
    Ok(Some(StoredChecksum { algorithm, kind, value: None, parts: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Algorithm;

    #[test]
    fn wanted() {
        let check = |algorithm: Option<&str>,
                     kind: Option<&str>,
                     want: Result<Option<(Algorithm, Kind)>, &str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::try_from(value).expect("a value"));
                }
            }
            let got =
                wanted_checksum(&headers).map(|stored| stored.map(|stored| (stored.algorithm, stored.kind)));
            assert_eq!(got.map_err(|failure| failure.answer().code), want, "{algorithm:?} {kind:?}");
        };
        check(None, None, Ok(None));
        check(Some("CRC32"), None, Ok(Some((Algorithm::Crc32, Kind::Composite))));
        check(Some("CRC32"), Some("FULL_OBJECT"), Ok(Some((Algorithm::Crc32, Kind::FullObject))));
        check(Some("CRC64NVME"), None, Ok(Some((Algorithm::Crc64Nvme, Kind::FullObject))));
        check(Some("CRC64NVME"), Some("COMPOSITE"), Err("InvalidRequest"));
        check(Some("SHA256"), Some("FULL_OBJECT"), Err("InvalidRequest"));
        check(Some("XOR"), None, Err("InvalidRequest"));
        check(None, Some("COMPOSITE"), Err("InvalidRequest"));
        check(Some("CRC32"), Some("SOME"), Err("InvalidRequest"));
    }
}
