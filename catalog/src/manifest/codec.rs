//! How the blocks of a file are packed, and unpacking one within its bound. `container` calls it.

use std::io::Read;

use flate2::bufread::DeflateDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use snap::raw::{Decoder, decompress_len};

use super::error::{AvroError, Got};
use crate::limits::AVRO_BLOCK_BYTES_MAX;

const TOO_LARGE: &str = "a block of at most AVRO_BLOCK_BYTES_MAX bytes unpacked";

/// The codecs that Iceberg's writers offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Zstandard,
    Snappy,
}

impl Codec {
    /// Finds a codec by its name in the header, which stands at `at`.
    pub(super) fn parse(name: &[u8], at: usize) -> Result<Codec, AvroError> {
        match name {
            b"null" => Ok(Codec::Null),
            b"deflate" => Ok(Codec::Deflate),
            b"zstandard" => Ok(Codec::Zstandard),
            b"snappy" => Ok(Codec::Snappy),
            other => {
                let got = Got::text(&String::from_utf8_lossy(other));
                Err(AvroError::new(at, got, "one of the codecs null, deflate, zstandard, snappy"))
            }
        }
    }

    /// Unpacks a block that stands at `at`: as it is, or into `unpacked`.
    pub(super) fn unpack<'a>(
        self,
        packed: &'a [u8],
        at: usize,
        unpacked: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], AvroError> {
        unpacked.clear();
        match self {
            Codec::Null => return Ok(packed),
            // Some writers leave the checksum of a zlib stream behind the end of the deflate stream.
            Codec::Deflate => read_all(DeflateDecoder::new(packed), "a deflate stream", at, unpacked)?,
            Codec::Zstandard => unpack_zstandard(packed, at, unpacked)?,
            Codec::Snappy => unpack_snappy(packed, at, unpacked)?,
        }
        Ok(unpacked)
    }
}

fn read_all(
    from: impl Read,
    expected: &'static str,
    at: usize,
    unpacked: &mut Vec<u8>,
) -> Result<(), AvroError> {
    let bound = u64::try_from(AVRO_BLOCK_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    match from.take(bound).read_to_end(unpacked) {
        Ok(count) if AVRO_BLOCK_BYTES_MAX < count => Err(AvroError::new(at, Got::count(count), TOO_LARGE)),
        Ok(_) => Ok(()),
        Err(error) => Err(AvroError::new(at, Got::text(&error.to_string()), expected)),
    }
}

fn unpack_zstandard(packed: &[u8], at: usize, unpacked: &mut Vec<u8>) -> Result<(), AvroError> {
    const EXPECTED: &str = "a zstandard frame";
    let mut frames = FrameDecoder::new();
    frames.set_max_window_size(u64::try_from(AVRO_BLOCK_BYTES_MAX).unwrap_or(u64::MAX));
    match StreamingDecoder::new_with_decoder(packed, &mut frames) {
        Ok(decoder) => read_all(decoder, EXPECTED, at, unpacked)?,
        Err(error) => return Err(AvroError::new(at, Got::text(&error.to_string()), EXPECTED)),
    }
    match (frames.get_checksum_from_data(), frames.get_calculated_checksum()) {
        (Some(said), Some(is)) if said != is => {
            Err(AvroError::new(at, Got::Number(i64::from(said)), "the checksum of the frame"))
        }
        _ => Ok(()),
    }
}

/// Avro's snappy: one raw block, then the CRC-32 of what was packed, most significant byte first.
fn unpack_snappy(packed: &[u8], at: usize, unpacked: &mut Vec<u8>) -> Result<(), AvroError> {
    const EXPECTED: &str = "a snappy block and its CRC-32";
    let refuse = |got| Err(AvroError::new(at, got, EXPECTED));
    let Some((packed, crc)) = packed.split_last_chunk::<4>() else {
        return refuse(Got::Bytes(packed.len()));
    };
    let count = match decompress_len(packed) {
        Ok(count) if AVRO_BLOCK_BYTES_MAX < count => {
            return Err(AvroError::new(at, Got::count(count), TOO_LARGE));
        }
        Ok(count) => count,
        Err(error) => return refuse(Got::text(&error.to_string())),
    };
    unpacked.resize(count, 0);
    if let Err(error) = Decoder::new().decompress(packed, unpacked) {
        return refuse(Got::text(&error.to_string()));
    }
    let said = crc.iter().fold(0, |said, byte| said << 8 | u32::from(*byte));
    let is = crc32fast::hash(unpacked);
    if is == said { Ok(()) } else { refuse(Got::Number(i64::from(said))) }
}
