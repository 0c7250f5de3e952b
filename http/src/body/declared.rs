//! What the headers of a request announce about the checksums of its body.
//!
//! [`Declared::parse`] reads the headers before the body; [`Declared::check`] holds what was computed against them
//! after it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use crate::body::checksum::{Algorithm, Checksum};
use crate::body::error::{BodyError, ChecksumFault, Digest};
use crate::body::hash::{Digests, HashPlan};
use crate::limits::TRAILER_NAMES_MAX;

const PREFIX: &str = "x-amz-checksum-";
/// Headers with the prefix that hold no checksum.
const NOT_VALUES: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"];

/// What the headers of a request with a body announce about its checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// `Content-MD5`.
    pub content_md5: Option<[u8; 16]>,
    /// The one `x-amz-checksum-*` header.
    pub checksum: Option<Checksum>,
    /// The algorithm of the one checksum that will come as a trailer.
    pub trailer: Option<Algorithm>,
}

impl Declared {
    /// Reads what the headers of a request that carries an object, a part or a document announce.
    ///
    /// Not for requests whose checksum headers speak of something other than their body (`CompleteMultipartUpload`).
    pub fn parse(headers: &HeaderMap) -> Result<Self, BodyError> {
        let fail = |fault| Err(BodyError::InvalidRequest(fault));
        let mut declared = Self { content_md5: parse_content_md5(headers)?, ..Self::default() };
        for (name, value) in headers {
            if !name.as_str().starts_with(PREFIX) || NOT_VALUES.contains(&name.as_str()) {
                continue;
            }
            let Some(algorithm) = Algorithm::of_header(name.as_str()) else {
                return fail(ChecksumFault::UnknownHeader);
            };
            let parsed = value.to_str().ok().and_then(|text| Checksum::parse(algorithm, text));
            let Some(checksum) = parsed else {
                return fail(ChecksumFault::Value { name: algorithm.header() });
            };
            if declared.checksum.replace(checksum).is_some() {
                return fail(ChecksumFault::Multiple);
            }
        }
        declared.trailer = parse_trailer_names(headers)?;
        if declared.trailer.is_some() && declared.checksum.is_some() {
            return fail(ChecksumFault::Multiple);
        }
        if let Some(value) = headers.get("x-amz-sdk-checksum-algorithm") {
            let Some(named) = value.to_str().ok().and_then(Algorithm::parse) else {
                return fail(ChecksumFault::SdkAlgorithm);
            };
            match declared.algorithm() {
                // MD5 was the checksum before there were others; old SDKs name an algorithm and send that.
                None if declared.content_md5.is_none() => return fail(ChecksumFault::SdkAlgorithmAlone),
                Some(other) if other != named => return fail(ChecksumFault::SdkAlgorithm),
                None | Some(_) => {}
            }
        }
        Ok(declared)
    }

    /// The algorithm of the checksum that came or will come.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.map(|checksum| checksum.algorithm()).or(self.trailer)
    }

    /// Plans the hashes that [`Declared::check`] needs, with those that the caller wants for itself:
    /// MD5 for an ETag, and an algorithm to use when the request names none.
    pub fn plan(&self, md5: bool, otherwise: Option<Algorithm>) -> HashPlan {
        HashPlan {
            md5: md5 || self.content_md5.is_some(),
            sha256: false,
            checksum: self.algorithm().or(otherwise),
        }
    }

    /// Holds what was computed, and the trailers that came, against what was announced.
    pub fn check(&self, digests: &Digests, trailers: &[(String, String)]) -> Result<(), BodyError> {
        if let (Some(client), Some(computed)) = (self.content_md5, digests.md5)
            && client != computed
        {
            let (client, computed) = (STANDARD.encode(client), STANDARD.encode(computed));
            return Err(BodyError::BadDigest { digest: Digest::ContentMd5, client, computed });
        }
        let client = match self.trailer {
            None => self.checksum,
            Some(algorithm) => {
                let name = algorithm.header();
                let found = trailers.iter().find(|(came, _)| came == name);
                let parsed = found.and_then(|(_, value)| Checksum::parse(algorithm, value));
                Some(parsed.ok_or(BodyError::InvalidRequest(ChecksumFault::TrailerValue { name }))?)
            }
        };
        let Some(client) = client else { return Ok(()) };
        match digests.checksum {
            Some(computed) if computed == client => Ok(()),
            computed => Err(BodyError::BadDigest {
                digest: Digest::Checksum(client.algorithm()),
                client: client.to_base64(),
                computed: computed.map(|computed| computed.to_base64()).unwrap_or_default(),
            }),
        }
    }
}

fn parse_content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, BodyError> {
    let mut values = headers.get_all("content-md5").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let parsed = STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    match (parsed, values.next()) {
        (Some(md5), None) => Ok(Some(md5)),
        _ => Err(BodyError::InvalidDigest { value: String::from_utf8_lossy(value.as_bytes()).into_owned() }),
    }
}

/// Reads `x-amz-trailer`: checksums are the only trailers there are, and one is the only number of them.
fn parse_trailer_names(headers: &HeaderMap) -> Result<Option<Algorithm>, BodyError> {
    let fail = |fault| Err(BodyError::InvalidRequest(fault));
    let mut found = None;
    for value in headers.get_all("x-amz-trailer") {
        let Ok(text) = value.to_str() else { return fail(ChecksumFault::TrailerName) };
        for name in text.split(',').take(TRAILER_NAMES_MAX + 1) {
            let Some(algorithm) = Algorithm::of_header(&name.trim().to_ascii_lowercase()) else {
                return fail(ChecksumFault::TrailerName);
            };
            if found.replace(algorithm).is_some() {
                return fail(ChecksumFault::Multiple);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).expect("value"))
            })
            .collect()
    }

    #[test]
    fn announcements() {
        use ChecksumFault::{Multiple, SdkAlgorithm, SdkAlgorithmAlone, TrailerName, UnknownHeader, Value};
        let ok = |pairs: &[(&'static str, &str)], algorithm: Option<Algorithm>| {
            let got = Declared::parse(&headers(pairs)).map(|declared| declared.algorithm());
            assert_eq!(got, Ok(algorithm), "{pairs:?}");
        };
        let fails = |pairs: &[(&'static str, &str)], fault: ChecksumFault| {
            assert_eq!(Declared::parse(&headers(pairs)), Err(BodyError::InvalidRequest(fault)), "{pairs:?}");
        };
        let crc32 = ("x-amz-checksum-crc32", "DUoRhQ==");
        let sdk = |name| ("x-amz-sdk-checksum-algorithm", name);
        ok(&[], None);
        ok(&[crc32, sdk("CRC32")], Some(Algorithm::Crc32));
        ok(&[crc32, ("x-amz-checksum-type", "FULL_OBJECT"), sdk("crc32")], Some(Algorithm::Crc32));
        ok(&[("x-amz-trailer", "x-amz-checksum-crc64nvme"), sdk("CRC64NVME")], Some(Algorithm::Crc64Nvme));
        ok(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="), sdk("SHA256")], None);
        fails(&[("x-amz-checksum-crc32", "DUoRhQ")], Value { name: "x-amz-checksum-crc32" });
        fails(&[("x-amz-checksum-crc32", "DUoRhQE=")], Value { name: "x-amz-checksum-crc32" });
        fails(&[("x-amz-checksum-sha1", "")], Value { name: "x-amz-checksum-sha1" });
        fails(&[crc32, ("x-amz-checksum-crc32c", "DUoRhQ==")], Multiple);
        fails(&[crc32, crc32], Multiple);
        fails(&[crc32, ("x-amz-trailer", "x-amz-checksum-crc32")], Multiple);
        fails(&[("x-amz-trailer", "x-amz-checksum-crc32, x-amz-checksum-sha1")], Multiple);
        fails(&[("x-amz-trailer", "x-amz-meta-a")], TrailerName);
        fails(&[("x-amz-trailer", "")], TrailerName);
        fails(&[("x-amz-checksum-xor", "AA==")], UnknownHeader);
        fails(&[sdk("CRC32")], SdkAlgorithmAlone);
        fails(&[crc32, sdk("SHA1")], SdkAlgorithm);
        fails(&[crc32, sdk("XOR")], SdkAlgorithm);
        for value in ["", "AAAA", "1B2M2Y8AsgTpgAmY7PhCfg", "not base64"] {
            let error = Declared::parse(&headers(&[("content-md5", value)])).expect_err("malformed");
            assert_eq!((error.code(), error.fields()[0].1.as_str()), ("InvalidDigest", value));
        }
    }

    #[test]
    fn mismatches() {
        let plan = HashPlan { md5: true, sha256: false, checksum: Some(Algorithm::Crc32) };
        let mut hashes = crate::body::hash::Hashers::new(plan);
        hashes.update(&bytes::Bytes::from_static(b"hello world"));
        let digests = hashes.finish();
        let check = |pairs: &[(&'static str, &str)], trailers: &[(&str, &str)], expected: Option<&str>| {
            let declared = Declared::parse(&headers(pairs)).expect("headers");
            let trailers: Vec<_> = trailers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let got = declared.check(&digests, &trailers).err();
            assert_eq!(got.map(|error| error.to_string()).as_deref(), expected, "{pairs:?}");
        };
        check(&[("x-amz-checksum-crc32", "DUoRhQ==")], &[], None);
        check(&[("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==")], &[], None);
        let md5 = "BadDigest: The Content-MD5 you specified did not match what we received.";
        check(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], &[], Some(md5));
        let crc = "BadDigest: The CRC32 you specified did not match the calculated checksum.";
        check(&[("x-amz-checksum-crc32", "AAAAAA==")], &[], Some(crc));
        let name = "x-amz-checksum-crc32";
        check(&[("x-amz-trailer", name)], &[(name, "DUoRhQ==")], None);
        check(&[("x-amz-trailer", name)], &[(name, "AAAAAA==")], Some(crc));
        let value = "InvalidRequest: Value for x-amz-checksum-crc32 trailing header is invalid.";
        check(&[("x-amz-trailer", name)], &[(name, "")], Some(value));
        check(&[("x-amz-trailer", name)], &[], Some(value));
    }
}
