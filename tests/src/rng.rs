//! Seeded randomness and object contents that can be checked without being kept.
//!
//! Every eight bytes of a payload are a function of (key, version, length, position), so a reader
//! tells a torn, shifted or foreign body from the right one, and names the first wrong byte.

/// A splitmix64 stream: small, seedable, good enough for workloads.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts a stream; equal seeds give equal streams.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.draw()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index into a slice of `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An independent stream, for a thread of its own.
    pub fn fork(&mut self) -> Rng {
        Rng(self.draw())
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn payload_seed(key: &str, version: u64, len: usize) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for byte in key.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    mix(hash ^ mix(version.wrapping_add(GOLDEN)) ^ mix((len as u64).rotate_left(32)))
}

fn word(seed: u64, at: usize) -> [u8; 8] {
    mix(seed.wrapping_add((at as u64).wrapping_mul(GOLDEN))).to_le_bytes()
}

/// The contents of version `version` of `key`, `len` bytes.
pub fn payload(key: &str, version: u64, len: usize) -> Vec<u8> {
    let seed = payload_seed(key, version, len);
    let mut bytes = vec![0; len];
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        let width = chunk.len();
        chunk.copy_from_slice(&word(seed, at)[..width]);
    }
    bytes
}

/// Checks `bytes` against what [`payload`] gives for the same key, version and their own length.
/// `Err` is the position of the first eight-byte group that differs.
pub fn verify(bytes: &[u8], key: &str, version: u64) -> Result<(), usize> {
    let seed = payload_seed(key, version, bytes.len());
    for (at, chunk) in bytes.chunks(8).enumerate() {
        if *chunk != word(seed, at)[..chunk.len()] {
            return Err(at * 8);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Rng, payload, verify};

    #[test]
    fn payloads_tell_key_version_length_and_place_apart() {
        let good = payload("a/b", 7, 1001);
        assert_eq!(verify(&good, "a/b", 7), Ok(()));
        assert!(verify(&good, "a/c", 7).is_err());
        assert!(verify(&good, "a/b", 8).is_err());
        assert!(verify(&good[..1000], "a/b", 7).is_err());
        let mut torn = good.clone();
        torn[512..520].copy_from_slice(&good[504..512]);
        assert_eq!(verify(&torn, "a/b", 7), Err(512));
        assert_eq!(verify(&[], "a/b", 9), Ok(()));
    }

    #[test]
    fn streams_repeat_and_stay_in_bounds() {
        let (mut a, mut b) = (Rng::new(3), Rng::new(3));
        for _ in 0..1000 {
            assert_eq!(a.draw(), b.draw());
            assert!(a.below(7) < 7);
            assert!((50..=600).contains(&b.between(50, 600)));
            a = b.clone();
        }
        assert_eq!(Rng::new(1).below(0), 0);
    }
}
