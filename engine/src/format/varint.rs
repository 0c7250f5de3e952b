//! Unsigned numbers in as few bytes as they need: seven bits a byte, lowest first, the top bit says that more follow.

/// Appends `value`, 1 to 10 bytes.
pub(crate) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

/// Bytes that `write` appends.
pub(crate) fn length(value: u64) -> usize {
    let bits = (64 - value.leading_zeros()).max(1);
    usize::try_from(bits.div_ceil(7)).expect("at most 10")
}

/// The number at the front of `bytes` and how many bytes it takes; `None` when it does not end or is too large.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value: u64 = 0;
    for (nth, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * u32::try_from(nth).ok()?;
        if bits.checked_shl(shift)? >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((value, nth + 1));
        }
    }
    None
}

fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = vec![9];
            write(&mut out, value);
            assert_eq!(out.len() - 1, length(value), "{value}");
            assert_eq!(read(&out[1..]), Some((value, length(value))));
            assert_eq!(read(&out[1..out.len() - 1]), None, "cut off");
        }
        assert_eq!(read(&[0xff; 11]), None);
    }
}
