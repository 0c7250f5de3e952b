//! The checksums S3 knows: their names and their values.
//!
//! At the bottom of everything that has to do with them: bodies, answers, multipart uploads, stored attributes. Pure;
//! what a wrong one means is for the caller to say.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A checksum algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

/// Bytes of the longest value.
const VALUE_BYTES_MAX: usize = 64;

/// A checksum's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// Big-endian for CRCs and XXHash; zero beyond the algorithm's length.
    value: [u8; VALUE_BYTES_MAX],
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// Names it as `x-amz-checksum-algorithm` and the XML answers do.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// Its name in lower case, as some messages have it.
    pub fn lower_name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Md5 => "md5",
            Self::XxHash64 => "xxhash64",
            Self::XxHash3 => "xxhash3",
            Self::XxHash128 => "xxhash128",
        }
    }

    /// Names its XML element.
    pub fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
            Self::Sha512 => "ChecksumSHA512",
            Self::Md5 => "ChecksumMD5",
            Self::XxHash64 => "ChecksumXXHASH64",
            Self::XxHash3 => "ChecksumXXHASH3",
            Self::XxHash128 => "ChecksumXXHASH128",
        }
    }

    /// Names its header and trailer.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::XxHash64 => "x-amz-checksum-xxhash64",
            Self::XxHash3 => "x-amz-checksum-xxhash3",
            Self::XxHash128 => "x-amz-checksum-xxhash128",
        }
    }

    /// Length of a value, in bytes.
    pub fn value_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => VALUE_BYTES_MAX,
        }
    }

    /// Finds the algorithm of this name, in any case, as `x-amz-checksum-algorithm` has it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
    }

    /// Finds the algorithm whose header or trailer this is.
    pub fn of_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header() == name)
    }
}

impl Checksum {
    /// Wraps raw bytes; `None` when they are not as long as the algorithm's values.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let mut value = [0; VALUE_BYTES_MAX];
        let room = value.get_mut(..algorithm.value_bytes())?;
        (room.len() == bytes.len()).then(|| room.copy_from_slice(bytes))?;
        Some(Self { algorithm, value })
    }

    /// Parses base64; `None` unless it is exact, padding included.
    pub fn parse(algorithm: Algorithm, base64: &str) -> Option<Self> {
        Self::new(algorithm, &STANDARD.decode(base64).ok()?)
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its raw bytes, big-endian for CRCs and XXHash.
    pub fn as_bytes(&self) -> &[u8] {
        self.value.get(..self.algorithm.value_bytes()).unwrap_or_default()
    }

    /// Renders base64, as headers and XML have it.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.as_bytes())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.to_base64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for algorithm in Algorithm::ALL {
            let bytes = vec![0xA5; algorithm.value_bytes()];
            let checksum = Checksum::new(algorithm, &bytes).expect("length");
            assert_eq!(Checksum::parse(algorithm, &checksum.to_base64()), Some(checksum));
            assert_eq!(checksum.as_bytes(), bytes);
            assert_eq!(Checksum::new(algorithm, &bytes[1..]), None);
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::of_header(algorithm.header()), Some(algorithm));
            assert!(algorithm.element().ends_with(algorithm.name()));
            assert_eq!(algorithm.lower_name(), algorithm.name().to_ascii_lowercase());
        }
    }
}
