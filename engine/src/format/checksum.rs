//! The one checksum of everything on a drive: CRC-64/NVME (reflected, polynomial 0xAD93D23594C93659).
//!
//! The same polynomial is S3's `x-amz-checksum-crc64nvme`, so unit checksums can be combined into it.

use crc_fast::{CrcAlgorithm, checksum};

use crate::units::UNIT_BYTES;

/// CRC-64/NVME of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, bytes)
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
}
