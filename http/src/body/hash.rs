//! All hashes of one payload, made in one pass.
//!
//! Fed each piece once, on the core that received it. I1. A block of [`HASH_BLOCK_BYTES`] goes through every hash
//! before the next is touched, so that only the first pass reads it from memory; MD5 alone may come later, together with
//! that of other bodies ([`Hashers::share`]).

use bytes::Bytes;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use crate::body::checksum::{Algorithm, Checksum};
use crate::body::lanes::{Lane, Md5Lanes};
use crate::limits::HASH_BLOCK_BYTES;

/// Which hashes to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashPlan {
    /// For an ETag or `Content-MD5`.
    pub md5: bool,
    /// For a signed payload that nobody else hashes.
    pub sha256: bool,
    /// The one checksum.
    pub checksum: Option<Algorithm>,
}

/// The hashes of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the plan")]
pub struct Digests {
    pub md5: Option<[u8; 16]>,
    pub sha256: Option<[u8; 32]>,
    pub checksum: Option<Checksum>,
}

/// The hashes of a payload, under way.
#[derive(Debug)]
pub struct Hashers {
    md5: Option<Lane>,
    sha256: Option<Sha256>,
    checksum: Option<Running>,
}

enum Running {
    Crc32(crc32fast::Hasher),
    Crc32c(u32),
    Crc64Nvme(crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Md5(Md5),
    XxHash64(Xxh64),
    /// Its state is larger than all others.
    XxHash3(Box<Xxh3>),
    XxHash128(Box<Xxh3>),
    /// The same hash runs already, as the payload's.
    Payload,
    /// The same hash runs already, as the ETag's.
    ETag,
}

impl Hashers {
    /// Starts the hashes of a plan.
    pub fn new(plan: HashPlan) -> Self {
        Self {
            md5: plan.md5.then(|| Lane::Plain(Md5::new())),
            sha256: plan.sha256.then(Sha256::new),
            checksum: plan.checksum.map(|algorithm| match algorithm {
                Algorithm::Sha256 if plan.sha256 => Running::Payload,
                Algorithm::Md5 if plan.md5 => Running::ETag,
                other => Running::new(other),
            }),
        }
    }

    /// Makes the MD5, if any, together with those of the other bodies of this core; `bytes` is the payload's length.
    /// To be called before the first piece. After each piece the caller takes turns while it [is behind](Self::is_behind).
    pub fn share(&mut self, lanes: &Md5Lanes, bytes: u64) {
        self.md5 = self.md5.take().map(|_| lanes.open(bytes));
    }

    /// Takes the next piece of the payload.
    pub fn update(&mut self, piece: &Bytes) {
        let mut rest = piece.clone();
        while !rest.is_empty() {
            let block = rest.split_to(rest.len().min(HASH_BLOCK_BYTES));
            if let Some(md5) = &mut self.md5 {
                md5.update(&block);
            }
            if let Some(sha256) = &mut self.sha256 {
                sha256.update(&block);
            }
            if let Some(checksum) = &mut self.checksum {
                checksum.update(&block);
            }
        }
    }

    /// Whether more bytes are kept for later than may be.
    pub fn is_behind(&self) -> bool {
        self.md5.as_ref().is_some_and(Lane::is_behind)
    }

    /// Whether any bytes are kept for later. [`Hashers::finish`] hashes them all at once, at most
    /// [`MD5_BACKLOG_BYTES_MAX`](crate::limits::MD5_BACKLOG_BYTES_MAX); turns let others run between.
    pub fn is_pending(&self) -> bool {
        self.md5.as_ref().is_some_and(Lane::is_pending)
    }

    /// Hashes some of what was kept: less than a millisecond.
    pub fn turn(&mut self) {
        if let Some(md5) = &mut self.md5 {
            md5.turn();
        }
    }

    /// Ends them all.
    pub fn finish(self) -> Digests {
        let sha256: Option<[u8; 32]> = self.sha256.map(|hash| hash.finalize().into());
        let md5 = self.md5.map(Lane::finish);
        Digests { md5, sha256, checksum: self.checksum.and_then(|running| running.finish(md5, sha256)) }
    }
}

/// Computes one checksum of bytes at hand.
pub fn checksum_of(algorithm: Algorithm, bytes: &[u8]) -> Checksum {
    let mut running = Running::new(algorithm);
    running.update(bytes);
    running.finish(None, None).expect("only hashes of payloads are made elsewhere")
}

impl Running {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            Algorithm::Crc32c => Self::Crc32c(0),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme)),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::XxHash64 => Self::XxHash64(Xxh64::new(0)),
            Algorithm::XxHash3 => Self::XxHash3(Box::new(Xxh3::new())),
            Algorithm::XxHash128 => Self::XxHash128(Box::new(Xxh3::new())),
        }
    }

    fn update(&mut self, block: &[u8]) {
        match self {
            Self::Crc32(hash) => hash.update(block),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, block),
            Self::Crc64Nvme(hash) => hash.update(block),
            Self::Sha1(hash) => hash.update(block),
            Self::Sha256(hash) => hash.update(block),
            Self::Sha512(hash) => hash.update(block),
            Self::Md5(hash) => hash.update(block),
            Self::XxHash64(hash) => hash.update(block),
            Self::XxHash3(hash) | Self::XxHash128(hash) => hash.update(block),
            Self::Payload | Self::ETag => {}
        }
    }

    #[expect(clippy::big_endian_bytes, reason = "S3 writes CRCs and XXHash most significant byte first")]
    fn finish(self, md5: Option<[u8; 16]>, payload: Option<[u8; 32]>) -> Option<Checksum> {
        match self {
            Self::Crc32(hash) => Checksum::new(Algorithm::Crc32, &hash.finalize().to_be_bytes()),
            Self::Crc32c(crc) => Checksum::new(Algorithm::Crc32c, &crc.to_be_bytes()),
            Self::Crc64Nvme(hash) => Checksum::new(Algorithm::Crc64Nvme, &hash.finalize().to_be_bytes()),
            Self::Sha1(hash) => Checksum::new(Algorithm::Sha1, &hash.finalize()),
            Self::Sha256(hash) => Checksum::new(Algorithm::Sha256, &hash.finalize()),
            Self::Sha512(hash) => Checksum::new(Algorithm::Sha512, &hash.finalize()),
            Self::Md5(hash) => Checksum::new(Algorithm::Md5, &hash.finalize()),
            Self::XxHash64(hash) => Checksum::new(Algorithm::XxHash64, &hash.digest().to_be_bytes()),
            Self::XxHash3(hash) => Checksum::new(Algorithm::XxHash3, &hash.digest().to_be_bytes()),
            Self::XxHash128(hash) => Checksum::new(Algorithm::XxHash128, &hash.digest128().to_be_bytes()),
            Self::Payload => Checksum::new(Algorithm::Sha256, &payload?),
            Self::ETag => Checksum::new(Algorithm::Md5, &md5?),
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        // The catalogue's check values, of the nine digits.
        let check = |algorithm, expected: &str| {
            assert_eq!(
                hex::encode(checksum_of(algorithm, b"123456789").as_bytes()),
                expected,
                "{algorithm:?}"
            );
        };
        check(Algorithm::Crc32, "cbf43926");
        check(Algorithm::Crc32c, "e3069283");
        check(Algorithm::Crc64Nvme, "ae8b14860a799888");
        check(Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        check(Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        check(Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b");
        let sha512 = "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a\
                      d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85";
        check(Algorithm::Sha512, sha512);
        // Those of the reference implementation.
        check(Algorithm::XxHash64, "8cb841db40e6ae83");
        check(Algorithm::XxHash3, "72dcb18b67a17dff");
        check(Algorithm::XxHash128, "33119477ede5dcd5e9716427681d5860");
    }

    #[test]
    fn pieces_make_no_difference() {
        let payload: Bytes =
            (0..200_000u32).map(|i| u8::try_from(i % 1009 * 7 % 251).expect("small")).collect();
        for checksum in Algorithm::ALL {
            let plan = HashPlan { md5: true, sha256: true, checksum: Some(checksum) };
            let mut whole = Hashers::new(plan);
            whole.update(&payload);
            let whole = whole.finish();
            for piece in [1usize, 7, 4096, 65_535, 65_536, 65_537] {
                let mut hashers = Hashers::new(plan);
                payload.chunks(piece).for_each(|piece| hashers.update(&payload.slice_ref(piece)));
                assert_eq!(hashers.finish(), whole, "{checksum:?} {piece}");
            }
            assert_eq!(whole.checksum, Some(checksum_of(checksum, &payload)));
            assert_eq!(whole.sha256.map(|h| h.to_vec()), Some(Sha256::digest(&payload).to_vec()));
            assert_eq!(whole.md5.map(|h| h.to_vec()), Some(Md5::digest(&payload).to_vec()));
        }
    }
}
