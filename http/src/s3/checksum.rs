//! S3's additional checksums as they are kept with an object, shown in answers, and put together from parts.
//!
//! Pure. Algorithms and hashing are [`crate::body`]'s; here are the kinds of a multipart upload, stored numbers,
//! headers and XML. Source: Amazon S3 User Guide, "Checking object integrity for data uploads in Amazon S3".

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::body::{Algorithm, BodyError, Checksum, ChecksumFault, combine_crc, composite, render_composite};
use crate::render::error::S3Error;
use crate::render::xml::Xml;

/// What a checksum of an object put together from parts covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All its bytes.
    FullObject,
    /// The parts' checksums, one after the other.
    Composite,
}

impl Kind {
    /// The name in headers and XML.
    pub fn name(self) -> &'static str {
        match self {
            Kind::FullObject => "FULL_OBJECT",
            Kind::Composite => "COMPOSITE",
        }
    }

    /// Finds a kind by its name, in any case.
    pub fn from_name(name: &str) -> Option<Kind> {
        [Kind::FullObject, Kind::Composite].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The number under which it is stored; never changed.
    pub fn code(self) -> u8 {
        match self {
            Kind::FullObject => 1,
            Kind::Composite => 2,
        }
    }

    /// Finds a kind by its stored number.
    pub fn from_code(code: u8) -> Option<Kind> {
        [Kind::FullObject, Kind::Composite].into_iter().find(|kind| kind.code() == code)
    }

    /// The kind of an upload that names an algorithm and no kind.
    pub fn default_of(algorithm: Algorithm) -> Kind {
        match algorithm {
            Algorithm::Crc64Nvme => Kind::FullObject,
            _ => Kind::Composite,
        }
    }

    /// Whether an upload may have a checksum of this kind.
    pub fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Crc32 | Algorithm::Crc32c => true,
            Algorithm::Crc64Nvme => self == Kind::FullObject,
            Algorithm::Sha1
            | Algorithm::Sha256
            | Algorithm::Sha512
            | Algorithm::Md5
            | Algorithm::XxHash64
            | Algorithm::XxHash3
            | Algorithm::XxHash128 => self == Kind::Composite,
        }
    }
}

/// What is made of the units of an object with which no checksum was kept.
pub const MADE: (Algorithm, Kind) = (Algorithm::Crc64Nvme, Kind::FullObject);

/// The number under which an algorithm is stored; never 0, never changed.
pub fn code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Crc32 => 1,
        Algorithm::Crc32c => 2,
        Algorithm::Crc64Nvme => 3,
        Algorithm::Sha1 => 4,
        Algorithm::Sha256 => 5,
        Algorithm::Sha512 => 6,
        Algorithm::Md5 => 7,
        Algorithm::XxHash64 => 8,
        Algorithm::XxHash3 => 9,
        Algorithm::XxHash128 => 10,
    }
}

/// Finds an algorithm by its stored number.
pub fn from_code(stored: u8) -> Option<Algorithm> {
    Algorithm::ALL.into_iter().find(|algorithm| code(*algorithm) == stored)
}

/// A checksum as stored with an object, a part or an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChecksum {
    /// How it is computed.
    pub algorithm: Algorithm,
    /// What it covers.
    pub kind: Kind,
    /// The value; none with an open upload, where only algorithm and kind are known.
    pub value: Option<Checksum>,
    /// The parts' own values in order, when they are kept; all of the same algorithm.
    pub parts: Vec<Checksum>,
}

impl StoredChecksum {
    /// The checksum of bytes put in one piece.
    pub fn of_bytes(value: Checksum) -> StoredChecksum {
        let (algorithm, kind) = (value.algorithm(), Kind::FullObject);
        StoredChecksum { algorithm, kind, value: Some(value), parts: Vec::new() }
    }

    /// The checksum of an object of parts, from the parts' checksums and sizes in bytes.
    /// `None` when it cannot be had: no parts, different algorithms, or a kind that the algorithm does not have.
    pub fn of_parts(kind: Kind, parts: &[(Checksum, u64)]) -> Option<StoredChecksum> {
        let values: Vec<Checksum> = parts.iter().map(|(value, _)| *value).collect();
        let value = match kind {
            Kind::FullObject => combine_crc(parts)?,
            Kind::Composite => composite(&values)?,
        };
        Some(StoredChecksum { algorithm: value.algorithm(), kind, value: Some(value), parts: values })
    }

    /// The value as headers and XML show it, for an object of `parts` parts; 0 for where S3 leaves their number out.
    pub fn render(&self, parts: u16) -> Option<String> {
        self.value.as_ref().map(|value| match self.kind {
            Kind::Composite if 0 < parts => render_composite(value, usize::from(parts)),
            Kind::FullObject | Kind::Composite => value.to_base64(),
        })
    }

    /// Writes value and kind into an answer's headers.
    pub fn put_headers(&self, headers: &mut HeaderMap, parts: u16) {
        let Some(value) = self.render(parts).and_then(|text| HeaderValue::try_from(text).ok()) else {
            return;
        };
        headers.insert(HeaderName::from_static(self.algorithm.header()), value);
        headers.insert(
            HeaderName::from_static("x-amz-checksum-type"),
            HeaderValue::from_static(self.kind.name()),
        );
    }

    /// Writes value and kind into an answer's XML.
    pub fn put_xml(&self, xml: &mut Xml, parts: u16) {
        if let Some(value) = self.render(parts) {
            xml.text(self.algorithm.element(), &value);
            xml.text("ChecksumType", self.kind.name());
        }
    }
}

/// The CRC64NVME that the engine knows of all bytes, for objects and parts that came without a checksum.
#[expect(clippy::big_endian_bytes, reason = "S3 writes CRCs most significant byte first")]
pub fn crc64nvme(value: u64) -> Checksum {
    Checksum::new(Algorithm::Crc64Nvme, &value.to_be_bytes()).expect("8 bytes")
}

/// Reads `x-amz-checksum-algorithm`.
pub fn algorithm_header(headers: &HeaderMap) -> Result<Option<Algorithm>, S3Error> {
    match headers.get("x-amz-checksum-algorithm") {
        None => Ok(None),
        Some(value) => {
            let named = value.to_str().ok().and_then(Algorithm::parse);
            Ok(Some(named.ok_or(BodyError::InvalidRequest(ChecksumFault::UnknownAlgorithm))?))
        }
    }
}

/// Reads `x-amz-checksum-type`.
pub fn kind_header(headers: &HeaderMap) -> Result<Option<Kind>, S3Error> {
    let Some(value) = headers.get("x-amz-checksum-type") else { return Ok(None) };
    let kind = value.to_str().ok().and_then(Kind::from_name);
    kind.map(Some).ok_or_else(|| S3Error::invalid_request("Value for x-amz-checksum-type header is invalid."))
}

/// Whether the reader wants checksums: `x-amz-checksum-mode` has one value.
pub fn is_asked(headers: &HeaderMap) -> Result<bool, S3Error> {
    match headers.get("x-amz-checksum-mode") {
        None => Ok(false),
        Some(mode) if mode.as_bytes().eq_ignore_ascii_case(b"enabled") => Ok(true),
        Some(_) => Err(S3Error::invalid_request("Value for x-amz-checksum-mode header is invalid.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::checksum_of;

    #[test]
    fn names_and_codes() {
        for algorithm in Algorithm::ALL {
            assert_eq!(from_code(code(algorithm)), Some(algorithm));
            assert!(Kind::default_of(algorithm).fits(algorithm));
        }
        assert_eq!(from_code(0), None);
        for kind in [Kind::FullObject, Kind::Composite] {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert!(!Kind::Composite.fits(Algorithm::Crc64Nvme));
        assert!(!Kind::FullObject.fits(Algorithm::Sha256));
    }

    #[test]
    fn of_parts() {
        let check = |algorithm: Algorithm, kind: Kind, want: Option<Checksum>| {
            let parts = [(checksum_of(algorithm, b"ab"), 2), (checksum_of(algorithm, b"c"), 1)];
            let got = StoredChecksum::of_parts(kind, &parts);
            assert_eq!(got.and_then(|stored| stored.value), want, "{algorithm:?} {kind:?}");
        };
        let whole = |algorithm| Some(checksum_of(algorithm, b"abc"));
        check(Algorithm::Crc32, Kind::FullObject, whole(Algorithm::Crc32));
        check(Algorithm::Crc64Nvme, Kind::FullObject, whole(Algorithm::Crc64Nvme));
        check(Algorithm::Sha1, Kind::FullObject, None);
        check(Algorithm::Crc64Nvme, Kind::Composite, None);
        let values = [checksum_of(Algorithm::Sha1, b"ab"), checksum_of(Algorithm::Sha1, b"c")];
        check(Algorithm::Sha1, Kind::Composite, composite(&values));
    }

    #[test]
    fn shown() {
        let value = checksum_of(Algorithm::Crc32, b"123456789");
        let mut stored = StoredChecksum::of_bytes(value);
        assert_eq!(stored.render(0).as_deref(), Some("y/Q5Jg=="));
        stored.kind = Kind::Composite;
        assert_eq!(stored.render(3).as_deref(), Some("y/Q5Jg==-3"));
        let mut headers = HeaderMap::new();
        stored.put_headers(&mut headers, 3);
        assert_eq!(headers["x-amz-checksum-crc32"], "y/Q5Jg==-3");
        assert_eq!(headers["x-amz-checksum-type"], "COMPOSITE");
        assert_eq!(stored.render(0).as_deref(), Some("y/Q5Jg=="));
        stored.value = None;
        assert_eq!(stored.render(3), None);
        let value = crc64nvme(nilas_engine::format::checksum::crc64(b"123456789"));
        assert_eq!(value, checksum_of(Algorithm::Crc64Nvme, b"123456789"));
    }
}
