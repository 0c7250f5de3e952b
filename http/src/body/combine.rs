//! The checksum of an object put together from parts, made from the parts' checksums alone.
//!
//! Called when a multipart upload completes. Full-object CRCs are combined by arithmetic on polynomials over GF(2):
//! the CRC of `A ‖ B` is `crc(A) · x^(8·|B|) + crc(B)` modulo the CRC's polynomial.

use crate::body::checksum::{Algorithm, Checksum};
use crate::body::hash::checksum_of;

/// Computes a composite checksum: that of the parts' raw values, without the part count. [`render_composite`] adds it.
///
/// `None` when there are no parts, they differ in algorithm, or S3 has no composite form for it (CRC64NVME).
pub fn composite(parts: &[Checksum]) -> Option<Checksum> {
    let algorithm = parts.first()?.algorithm();
    if algorithm == Algorithm::Crc64Nvme || parts.iter().any(|part| part.algorithm() != algorithm) {
        return None;
    }
    let values: Vec<u8> = parts.iter().flat_map(|part| part.as_bytes()).copied().collect();
    Some(checksum_of(algorithm, &values))
}

/// Renders a composite checksum as S3 shows it: base64, a hyphen and the number of parts.
pub fn render_composite(checksum: &Checksum, parts: usize) -> String {
    format!("{}-{parts}", checksum.to_base64())
}

/// Combines the CRCs of consecutive parts, each with its length in bytes, to the CRC of the whole.
///
/// `None` when there are no parts, they differ in algorithm, or it is no CRC.
pub fn combine_crc(parts: &[(Checksum, u64)]) -> Option<Checksum> {
    let ((first, _), rest) = parts.split_first()?;
    let algorithm = first.algorithm();
    let field = Field::of(algorithm)?;
    let mut whole = to_number(first);
    // Parts are mostly of one length, and the factor depends on nothing else.
    let (mut known_bytes, mut factor) = (0, field.one());
    for (part, bytes) in rest {
        if part.algorithm() != algorithm {
            return None;
        }
        if *bytes != known_bytes {
            (known_bytes, factor) = (*bytes, field.shift(*bytes));
        }
        whole = field.multiply(factor, whole) ^ to_number(part);
    }
    from_number(algorithm, whole)
}

/// Polynomials modulo a CRC's own, bits reflected: the highest bit of the width is the constant term.
#[derive(Clone, Copy)]
struct Field {
    width: u32,
    polynomial: u64,
}

impl Field {
    fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Crc32 => Some(Self { width: 32, polynomial: 0xEDB8_8320 }),
            Algorithm::Crc32c => Some(Self { width: 32, polynomial: 0x82F6_3B78 }),
            Algorithm::Crc64Nvme => Some(Self { width: 64, polynomial: 0x9A6C_9329_AC4B_C9B5 }),
            Algorithm::Sha1
            | Algorithm::Sha256
            | Algorithm::Sha512
            | Algorithm::Md5
            | Algorithm::XxHash64
            | Algorithm::XxHash3
            | Algorithm::XxHash128 => None,
        }
    }

    fn one(self) -> u64 {
        1 << (self.width - 1)
    }

    fn multiply(self, mut a: u64, mut b: u64) -> u64 {
        let mut product = 0;
        let mut term = self.one();
        while a != 0 {
            if a & term != 0 {
                product ^= b;
                a &= !term;
            }
            term >>= 1;
            b = if b & 1 == 1 { b >> 1 ^ self.polynomial } else { b >> 1 };
        }
        product
    }

    /// Computes `x^(8·bytes)`.
    fn shift(self, mut bytes: u64) -> u64 {
        let mut power = self.one() >> 8;
        let mut result = self.one();
        while bytes != 0 {
            if bytes & 1 == 1 {
                result = self.multiply(power, result);
            }
            power = self.multiply(power, power);
            bytes >>= 1;
        }
        result
    }
}

fn to_number(checksum: &Checksum) -> u64 {
    checksum.as_bytes().iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

#[expect(clippy::big_endian_bytes, reason = "S3 writes CRCs most significant byte first")]
fn from_number(algorithm: Algorithm, value: u64) -> Option<Checksum> {
    let bytes = value.to_be_bytes();
    Checksum::new(algorithm, bytes.get(bytes.len().checked_sub(algorithm.value_bytes())?..)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRCS: [Algorithm; 3] = [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme];

    #[test]
    fn combined_is_computed() {
        let payload: Vec<u8> = (0..70_000u32).map(|i| u8::try_from(i * 31 % 256).expect("byte")).collect();
        let cuts: [&[usize]; 6] =
            [&[], &[0], &[1, 2, 3], &[10_000, 20_000, 30_000, 40_000], &[0, 0, 65_536, 70_000], &[69_999]];
        for algorithm in CRCS {
            for cut in cuts {
                let mut edges = vec![0];
                edges.extend_from_slice(cut);
                edges.push(payload.len());
                let parts: Vec<_> = edges
                    .windows(2)
                    .map(|edge| {
                        let part = &payload[edge[0]..edge[1]];
                        (checksum_of(algorithm, part), u64::try_from(part.len()).expect("small"))
                    })
                    .collect();
                assert_eq!(
                    combine_crc(&parts),
                    Some(checksum_of(algorithm, &payload)),
                    "{algorithm:?} {cut:?}"
                );
            }
        }
    }

    #[test]
    fn large_parts() {
        // Against another implementation, for lengths that no test can hold in memory.
        for bytes in [1u64 << 32, (5 << 30) - 1, 5 << 40] {
            let (a, b) = (checksum_of(Algorithm::Crc64Nvme, b"a"), checksum_of(Algorithm::Crc64Nvme, b"b"));
            let theirs = crc_fast::checksum_combine(
                crc_fast::CrcAlgorithm::Crc64Nvme,
                to_number(&a),
                to_number(&b),
                bytes,
            );
            assert_eq!(combine_crc(&[(a, 1), (b, bytes)]).as_ref().map(to_number), Some(theirs));
        }
    }

    #[test]
    fn refusals() {
        let crc = |algorithm| (checksum_of(algorithm, b""), 0);
        assert_eq!(combine_crc(&[]), None);
        assert_eq!(combine_crc(&[crc(Algorithm::Crc32), crc(Algorithm::Crc32c)]), None);
        assert_eq!(combine_crc(&[crc(Algorithm::Sha1)]), None);
        assert_eq!(composite(&[crc(Algorithm::Crc64Nvme).0]), None);
        assert_eq!(composite(&[]), None);
        assert_eq!(composite(&[crc(Algorithm::Sha1).0, crc(Algorithm::Sha256).0]), None);
    }

    #[test]
    fn composites() {
        let parts = [checksum_of(Algorithm::Sha256, b"a"), checksum_of(Algorithm::Sha256, b"b")];
        let joined = [parts[0].as_bytes(), parts[1].as_bytes()].concat();
        let composite = composite(&parts).expect("one algorithm");
        assert_eq!(composite, checksum_of(Algorithm::Sha256, &joined));
        assert!(render_composite(&composite, 2).ends_with("=-2"));
    }
}
