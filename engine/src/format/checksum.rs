//! The one checksum of everything on a drive: CRC-64/NVME (reflected, polynomial 0xAD93D23594C93659).
//!
//! The same polynomial is S3's `x-amz-checksum-crc64nvme`, so unit checksums can be combined into it.

use crc_fast::{CrcAlgorithm, checksum};

use crate::units::UNIT_BYTES;

/// CRC-64/NVME of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// CRC-64/NVME of a blob of `size` bytes, from the checksums of its units in order.
pub fn crc64_of_units(units: impl IntoIterator<Item = u64>, size: u64) -> u64 {
    let (mut whole, mut left) = (0, size);
    for unit in units {
        whole = match UNIT_BYTES <= left {
            true => shift_unit(whole) ^ unit,
            false => crc64_joined(whole, unit, left),
        };
        left = left.saturating_sub(UNIT_BYTES);
    }
    whole
}

/// CRC-64/NVME of bytes with the checksum `first` and, behind them, `second_bytes` bytes with the checksum `second`.
///
/// `crc(A ‖ B) = crc(A) · x^(8·|B|) + crc(B)`, modulo the polynomial.
pub fn crc64_joined(first: u64, second: u64, second_bytes: u64) -> u64 {
    multiply(shift(second_bytes), first) ^ second
}

/// The polynomial and the constant term, bits reflected.
const POLYNOMIAL: u64 = 0x9A6C_9329_AC4B_C9B5;
const ONE: u64 = 1 << 63;

const fn multiply(mut a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    let mut term = ONE;
    while a != 0 {
        if a & term != 0 {
            product ^= b;
            a &= !term;
        }
        term >>= 1;
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

/// `x^(8·bytes)`.
const fn shift(mut bytes: u64) -> u64 {
    let mut power = ONE >> 8;
    let mut result = ONE;
    while bytes != 0 {
        if bytes & 1 == 1 {
            result = multiply(power, result);
        }
        power = multiply(power, power);
        bytes >>= 1;
    }
    result
}

/// A checksum times `x^(8·UNIT_BYTES)`, for each value of each of its bytes: eight steps in place of 64 for a unit.
static UNIT_SHIFTS: [[u64; 256]; 8] = unit_shifts();

#[expect(clippy::indexing_slicing, reason = "made when it is compiled, and the loops end with the table")]
const fn unit_shifts() -> [[u64; 256]; 8] {
    let factor = shift(UNIT_BYTES);
    let mut table = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 8 {
        let mut value = 1_usize;
        while value < 256 {
            // Linear: of two bits the sum. One bit alone is multiplied.
            let lowest = value & value.wrapping_neg();
            table[byte][value] = match lowest == value {
                true => multiply(factor, 1 << (8 * byte + value.trailing_zeros() as usize)),
                false => table[byte][lowest] ^ table[byte][value ^ lowest],
            };
            value += 1;
        }
        byte += 1;
    }
    table
}

fn shift_unit(crc: u64) -> u64 {
    let bytes = crc.to_le_bytes();
    UNIT_SHIFTS
        .iter()
        .zip(bytes)
        .fold(0, |sum, (shifts, byte)| sum ^ shifts.get(usize::from(byte)).copied().unwrap_or_default())
}

/// Checksums of the 64 KiB units of `bytes`, the last one over what is left.
pub fn unit_checksums(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let unit = usize::try_from(UNIT_BYTES).expect("64 KiB fits");
    bytes.chunks(unit).map(crc64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_catalogue() {
        assert_eq!(crc64(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn units_make_the_whole() {
        let bytes: Vec<u8> = (0..300_001_u32).map(|i| u8::try_from(i * 31 % 251).expect("a byte")).collect();
        for size in [0, 1, 65_535, 65_536, 65_537, 131_072, 300_001] {
            let bytes = &bytes[..size];
            assert_eq!(crc64_of_units(unit_checksums(bytes), size as u64), crc64(bytes), "{size}");
            let (first, second) = bytes.split_at(size / 3);
            assert_eq!(
                crc64_joined(crc64(first), crc64(second), second.len() as u64),
                crc64(bytes),
                "{size}"
            );
        }
    }
}
