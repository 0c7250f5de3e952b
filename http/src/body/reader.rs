//! One body from its request's headers to its digests: the decoder and the hashes, driven together.
//!
//! Used by every route that takes a body. I1. What [`BodyReader::finish`] returns was whole, truly signed and fits every
//! checksum the request announced. I2. Input is taken in blocks of [`HASH_BLOCK_BYTES`], so that decoding, signing
//! and hashing find a block in cache.

use bytes::Bytes;
use http::HeaderMap;

use crate::auth::Verified;
use crate::body::checksum::{Algorithm, Checksum};
use crate::body::declared::Declared;
use crate::body::decode::{Coding, Decoder, PayloadLength};
use crate::body::error::{BodyError, ChecksumFault};
use crate::body::hash::{HashPlan, Hashers};
use crate::body::lanes::Md5Lanes;
use crate::limits::HASH_BLOCK_BYTES;

/// What a route wants of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyOptions {
    /// Payload bytes the route takes: more is `EntityTooLarge`.
    pub bytes_max: u64,
    /// Whether the length must be known beforehand: if not announced, `MissingContentLength`.
    pub length_required: bool,
    /// Whether to make the MD5 of an ETag.
    pub md5: bool,
    /// The checksum to make when the request names none.
    pub checksum_otherwise: Option<Algorithm>,
}

/// A body that was taken whole and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Payload bytes.
    pub bytes: u64,
    /// The payload's MD5, when the route or the request asked for it.
    pub md5: Option<[u8; 16]>,
    /// The checksum to store, verified when the request sent one.
    pub checksum: Option<Checksum>,
}

/// A body on its way in.
#[derive(Debug)]
pub struct BodyReader {
    decoder: Decoder,
    hashers: Hashers,
    declared: Declared,
    length: PayloadLength,
    /// The signed hash is the wanted checksum too: it is not made twice.
    sha256_is_checksum: bool,
}

impl BodyReader {
    /// Reads what the headers announce; refuses what is wrong before a byte of the body is taken.
    pub fn open(headers: &HeaderMap, verified: &Verified, options: BodyOptions) -> Result<Self, BodyError> {
        Self::with_coding(headers, Coding::of(verified), options)
    }

    fn with_coding(headers: &HeaderMap, coding: Coding, options: BodyOptions) -> Result<Self, BodyError> {
        let declared = Declared::parse(headers)?;
        let trailers = matches!(coding, Coding::Chunked { trailers: true, .. });
        if declared.trailer.is_some() && !trailers {
            return Err(BodyError::InvalidRequest(ChecksumFault::TrailerName));
        }
        let length = payload_length(headers, &coding, options)?;
        let plan = declared.plan(options.md5, options.checksum_otherwise);
        let hashed = matches!(coding, Coding::Plain { sha256: Some(_) });
        let sha256_is_checksum = hashed && plan.checksum == Some(Algorithm::Sha256);
        let plan = HashPlan { checksum: plan.checksum.filter(|_| !sha256_is_checksum), ..plan };
        let trailer_names = declared.trailer.iter().map(|algorithm| algorithm.header().to_owned()).collect();
        let decoder = Decoder::new(coding, length, trailer_names);
        Ok(Self { decoder, hashers: Hashers::new(plan), declared, length, sha256_is_checksum })
    }

    /// Has the MD5 made together with those of other bodies of this core. To be called before the first byte; from then
    /// on the caller takes turns while the body [is behind](Self::is_behind).
    pub fn share(&mut self, lanes: &Md5Lanes) {
        let (PayloadLength::Exact(bytes) | PayloadLength::AtMost(bytes)) = self.length;
        self.hashers.share(lanes, bytes);
    }

    /// The same, of a body that will have some `bytes`.
    pub fn share_for(&mut self, lanes: &Md5Lanes, bytes: u64) {
        self.hashers.share(lanes, bytes);
    }

    /// Whether more bytes wait to be hashed than may: take turns before feeding more.
    pub fn is_behind(&self) -> bool {
        self.hashers.is_behind()
    }

    /// Whether any bytes wait to be hashed. [`BodyReader::finish`] hashes what does, without a pause.
    pub fn is_pending(&self) -> bool {
        self.hashers.is_pending()
    }

    /// Hashes some of the bytes that wait: less than a millisecond.
    pub fn turn(&mut self) {
        self.hashers.turn();
    }

    /// How many payload bytes will come, or how many at most.
    pub fn length(&self) -> PayloadLength {
        self.length
    }

    /// Takes the next bytes of the body and appends the payload in them to `out`, as slices of the input.
    pub fn feed(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), BodyError> {
        while !input.is_empty() {
            let block = input.split_to(input.len().min(HASH_BLOCK_BYTES));
            let had = out.len();
            self.decoder.feed(block, out)?;
            for piece in out.iter().skip(had) {
                self.hashers.update(piece);
            }
        }
        Ok(())
    }

    /// Ends the body and holds everything against what was announced.
    pub fn finish(self) -> Result<Received, BodyError> {
        let finished = self.decoder.finish()?;
        let mut digests = self.hashers.finish();
        if let (true, Some(sha256)) = (self.sha256_is_checksum, finished.sha256) {
            digests.checksum = Checksum::new(Algorithm::Sha256, &sha256);
        }
        self.declared.check(&digests, &finished.trailers)?;
        Ok(Received { bytes: finished.bytes, md5: digests.md5, checksum: digests.checksum })
    }
}

fn payload_length(
    headers: &HeaderMap,
    coding: &Coding,
    options: BodyOptions,
) -> Result<PayloadLength, BodyError> {
    let name = match coding {
        Coding::Plain { .. } => "content-length",
        Coding::Chunked { .. } => "x-amz-decoded-content-length",
    };
    let Some(value) = headers.get(name) else {
        if options.length_required || matches!(coding, Coding::Chunked { .. }) {
            return Err(BodyError::MissingContentLength);
        }
        return Ok(PayloadLength::AtMost(options.bytes_max));
    };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let bytes = digits
        .and_then(|text| text.parse::<u64>().ok())
        // As if it were not there; hyper refuses such a Content-Length before.
        .ok_or(BodyError::MissingContentLength)?;
    if bytes > options.bytes_max {
        return Err(BodyError::EntityTooLarge { proposed: bytes, max: options.bytes_max });
    }
    Ok(PayloadLength::Exact(bytes))
}

/// Reads arbitrary bytes as bodies of every coding, cut at places the input chooses.
///
/// Nothing may panic, nothing but the announced length may come out of a body that finishes, and how the input is cut
/// may make no difference.
pub fn fuzz_chunked(input: &[u8]) {
    let Some((&[selector, length, cut], body)) = input.split_first_chunk::<3>() else { return };
    let run = |cut: usize| {
        let coding = match selector % 4 {
            0 => Coding::Plain { sha256: None },
            1 => Coding::Plain { sha256: Some([selector; 32]) },
            2 => Coding::Chunked { signer: None, trailers: false },
            _ => Coding::Chunked { signer: None, trailers: true },
        };
        let limit = u64::from(length) << (selector >> 4);
        let length =
            if selector & 4 == 0 { PayloadLength::Exact(limit) } else { PayloadLength::AtMost(limit) };
        let names = if selector & 8 == 0 { Vec::new() } else { vec!["x-amz-checksum-crc32".to_owned()] };
        let mut decoder = Decoder::new(coding, length, names);
        let mut out = Vec::new();
        let mut fed = Ok(());
        for piece in body.chunks(cut.max(1)) {
            fed = fed.and_then(|()| decoder.feed(Bytes::copy_from_slice(piece), &mut out));
        }
        let payload: Vec<u8> = out.concat();
        assert!(u64::try_from(payload.len()).unwrap_or(u64::MAX) <= limit, "more than was announced");
        (fed, decoder.finish(), payload)
    };
    let (whole, pieces) = (run(usize::MAX), run(usize::from(cut)));
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1, pieces.1);
    // A refused body may have handed on more or less of itself; only a finished one is compared.
    if let Ok(finished) = whole.1 {
        assert_eq!(whole.2, pieces.2);
        assert_eq!(u64::try_from(whole.2.len()), Ok(finished.bytes));
    }
}

#[cfg(test)]
mod tests;
