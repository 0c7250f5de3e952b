//! How the bytes of an encrypted blob lie in the engine: one frame for each of its 64 KiB units. Pure.
//!
//! A frame is 8 random bytes, the same in all frames of a blob; the ciphertext of up to 65,512 bytes, AES-256-GCM; its tag of 16. The nonce
//! is the 8 bytes and 32 bits with the frame's number in the blob and, in the lowest one, whether it is the last: a frame that
//! stands in another place, or a blob that was cut, does not open. This is the STREAM construction; no further data is bound. A
//! blob without bytes has no frame.
//!
//! `s3::writer` fills a [`Sealer`], `download` and `s3::reader` open by an [`Opener`]. I1. A frame is a unit of the engine, so that any
//! range is read in whole frames, each verified by the engine's own checksum before. I2. The pair of key and nonce is used once: a
//! blob draws its 8 bytes anew, and an object's key has at most 10,000 blobs and those that were replaced.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use ring::aead::{Aad, LessSafeKey, Nonce};

use super::seal::{Key, cipher_of};
use crate::limits::{BLOB_BYTES_MAX, OBJECT_BYTES_MAX, PARTS_MAX};

/// Bytes of a whole frame: a unit of the engine.
pub const FRAME_BYTES: u64 = nilas_engine::units::UNIT_BYTES;
const PREFIX_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// What a frame has beside the bytes in it.
const OVERHEAD_BYTES: u64 = 24;
/// Plain bytes of a whole frame.
pub const PLAIN_BYTES: u64 = FRAME_BYTES - OVERHEAD_BYTES;

const _: () = assert!(OVERHEAD_BYTES == (PREFIX_BYTES + TAG_BYTES) as u64);
const _: () = assert!(nilas_engine::limits::BLOB_BYTES_MAX / FRAME_BYTES < 1 << 31);
const _: () = assert!(stored_bytes(BLOB_BYTES_MAX) <= nilas_engine::limits::BLOB_BYTES_MAX);
// Each part may end with a frame that is not full.
const _: () = assert!(
    stored_bytes(OBJECT_BYTES_MAX) + OVERHEAD_BYTES * PARTS_MAX as u64
        <= nilas_engine::limits::OBJECT_BYTES_MAX
);

/// Bytes that a blob takes in the engine.
pub const fn stored_bytes(plain: u64) -> u64 {
    plain.saturating_add(plain.div_ceil(PLAIN_BYTES).saturating_mul(OVERHEAD_BYTES))
}

/// Plain bytes of a blob that takes so many; `None` for a size that no blob has.
pub fn plain_bytes(stored: u64) -> Option<u64> {
    let plain = stored.checked_sub(stored.div_ceil(FRAME_BYTES) * OVERHEAD_BYTES)?;
    (stored_bytes(plain) == stored).then_some(plain)
}

/// A frame is not what its key sealed at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// Which blob of those that the opener was made with.
    pub blob: usize,
    /// The frame's first byte in the blob.
    pub at: u64,
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encrypted bytes at {} of part {} do not open", self.at, self.blob + 1)
    }
}

fn nonce(prefix: &[u8], number: u64, is_last: bool) -> Nonce {
    let place = u32::try_from(number).expect("a blob has fewer frames") << 1 | u32::from(is_last);
    let mut nonce = [0; PREFIX_BYTES + 4];
    nonce[..PREFIX_BYTES].copy_from_slice(prefix);
    nonce[PREFIX_BYTES..].copy_from_slice(&place.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// Makes frames of one blob as its bytes come.
pub struct Sealer {
    cipher: LessSafeKey,
    prefix: [u8; PREFIX_BYTES],
    /// Frames that were made.
    made: u64,
    /// The frame that is being filled: its 8 bytes, and plain ones.
    filling: BytesMut,
    /// Of all plain bytes.
    crc: Digest,
}

impl Sealer {
    /// A blob sealed with `key`.
    pub fn new(key: &Key, random: fn() -> u128) -> Sealer {
        let mut prefix = [0; PREFIX_BYTES];
        prefix.copy_from_slice(&random().to_le_bytes()[..PREFIX_BYTES]);
        let crc = Digest::new(CrcAlgorithm::Crc64Nvme);
        Sealer { cipher: cipher_of(key), prefix, made: 0, filling: BytesMut::new(), crc }
    }

    /// Takes bytes, and takes them off `bytes`, until a frame is full: what is given back is the frame before. To be called until none
    /// are left. `expected` is how many are to come in all, as far as that is known: memory is taken for no more.
    pub fn fill(&mut self, bytes: &mut Bytes, expected: u64) -> Option<Bytes> {
        let max = usize::try_from(FRAME_BYTES).expect("64 KiB") - TAG_BYTES;
        let full = (self.filling.len() == max && !bytes.is_empty()).then(|| self.close(false));
        if self.filling.is_empty() && !bytes.is_empty() {
            let wanted = usize::try_from(expected.min(PLAIN_BYTES)).expect("64 KiB").max(bytes.len());
            self.filling.reserve((PREFIX_BYTES + wanted).min(max) + TAG_BYTES);
            self.filling.extend_from_slice(&self.prefix);
        }
        let taken = bytes.split_to(bytes.len().min(max.saturating_sub(self.filling.len())));
        self.filling.extend_from_slice(&taken);
        self.crc.update(&taken);
        full
    }

    /// The last frame, if there are bytes.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.filling.is_empty()).then(|| self.close(true))
    }

    /// CRC-64/NVME of the plain bytes that came.
    pub fn crc64nvme(&self) -> u64 {
        self.crc.finalize()
    }

    fn close(&mut self, is_last: bool) -> Bytes {
        let mut frame = std::mem::take(&mut self.filling);
        let nonce = nonce(&self.prefix, self.made, is_last);
        let plain = &mut frame[PREFIX_BYTES..];
        let tag = self.cipher.seal_in_place_separate_tag(nonce, Aad::empty(), plain).expect("64 KiB are few");
        frame.extend_from_slice(tag.as_ref());
        self.made += 1;
        frame.freeze()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("made", &self.made).finish_non_exhaustive()
    }
}

/// Opens the frames of a range of an object.
pub struct Opener {
    cipher: LessSafeKey,
    /// Stored bytes of each blob.
    blobs: Vec<u64>,
    /// The next frame's blob, and its place in it.
    blob: usize,
    at: u64,
    /// Plain bytes of the next frame that are not wanted.
    skip: usize,
    /// Plain bytes still wanted.
    left: u64,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("blob", &self.blob).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Opener {
    /// Opens plain bytes `wanted` of an object whose blobs take `blobs` bytes; says which stored bytes it is to be given, from the
    /// first to the last. `None` when the object has no such bytes.
    pub fn new(key: &Key, blobs: Vec<u64>, wanted: Range<u64>) -> Option<(Opener, Range<u64>)> {
        let (mut from, mut to) = (None, None);
        let (mut plain, mut stored) = (0_u64, 0_u64);
        for (nth, bytes) in blobs.iter().enumerate() {
            let held = plain..plain.checked_add(plain_bytes(*bytes)?)?;
            if from.is_none() && held.contains(&wanted.start) {
                let within = wanted.start - held.start;
                let at = within / PLAIN_BYTES * FRAME_BYTES;
                from = Some((stored.checked_add(at)?, nth, at, within % PLAIN_BYTES));
            }
            if wanted.end <= held.end && to.is_none() {
                let frames = (wanted.end - held.start.min(wanted.end)).div_ceil(PLAIN_BYTES);
                to = Some(stored.checked_add((frames * FRAME_BYTES).min(*bytes))?);
            }
            plain = held.end;
            stored = stored.checked_add(*bytes)?;
        }
        let ((start, blob, at, skip), end) = (from?, to?);
        let skip = usize::try_from(skip).ok()?;
        let left = wanted.end.checked_sub(wanted.start)?;
        Some((Opener { cipher: cipher_of(key), blobs, blob, at, skip, left }, start..end))
    }

    /// Opens the next stored bytes, whole frames, and gives what is wanted of them.
    pub fn open(&mut self, stored: &[u8]) -> Result<Bytes, Unopened> {
        let whole = usize::try_from(FRAME_BYTES).expect("64 KiB");
        let mut plain = BytesMut::with_capacity(stored.len());
        let mut rest = stored;
        while !rest.is_empty() {
            while self.blobs.get(self.blob).is_some_and(|bytes| *bytes <= self.at) {
                self.blob += 1;
                self.at = 0;
            }
            let unopened = Unopened { blob: self.blob, at: self.at };
            let left = self.blobs.get(self.blob).ok_or(unopened)? - self.at;
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(whole);
            let (frame, more) = rest.split_at_checked(bytes).ok_or(unopened)?;
            let (prefix, sealed) = frame.split_at_checked(PREFIX_BYTES).ok_or(unopened)?;
            let nonce = nonce(prefix, self.at / FRAME_BYTES, left <= FRAME_BYTES);
            let start = plain.len();
            plain.extend_from_slice(sealed);
            let opened = self.cipher.open_in_place(nonce, Aad::empty(), &mut plain[start..]);
            let opened = opened.map_err(|_| unopened)?.len();
            plain.truncate(start + opened);
            self.at += u64::try_from(bytes).expect("64 KiB");
            rest = more;
        }
        let mut plain = plain.freeze();
        let skipped = self.skip.min(plain.len());
        self.skip -= skipped;
        let kept = (plain.len() - skipped).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        plain = plain.slice(skipped..skipped + kept);
        self.left -= u64::try_from(kept).expect("fewer than were left");
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::seal::random_key;
    use crate::sse::seal::tests::random;

    fn bytes(count: u64) -> Bytes {
        (0..count).map(|at| u8::try_from(at % 251).expect("below 251")).collect()
    }

    fn seal(key: &Key, plain: &Bytes, step: usize) -> Bytes {
        let mut sealer = Sealer::new(key, random);
        let mut stored = BytesMut::new();
        let mut left = plain.len() as u64;
        let mut rest = plain.clone();
        while !rest.is_empty() {
            let mut some = rest.split_to(step.min(rest.len()));
            while !some.is_empty() {
                if let Some(frame) = sealer.fill(&mut some, left) {
                    assert_eq!(frame.len() as u64, FRAME_BYTES);
                    left -= PLAIN_BYTES;
                    stored.extend_from_slice(&frame);
                }
            }
        }
        stored.extend(sealer.finish());
        assert!(sealer.finish().is_none());
        assert_eq!(stored.len() as u64, stored_bytes(plain.len() as u64));
        stored.freeze()
    }

    #[test]
    fn sizes() {
        let check = |plain: u64, stored: u64| {
            assert_eq!((stored_bytes(plain), plain_bytes(stored)), (stored, Some(plain)));
        };
        check(0, 0);
        check(1, 25);
        check(PLAIN_BYTES, FRAME_BYTES);
        check(PLAIN_BYTES + 1, FRAME_BYTES + 25);
        check(2 * PLAIN_BYTES, 2 * FRAME_BYTES);
        check(5 << 30, (5 << 30) + 81_951 * OVERHEAD_BYTES);
        for none in [1, 24, FRAME_BYTES + 1, FRAME_BYTES + 24] {
            assert_eq!(plain_bytes(none), None, "{none}");
        }
    }

    #[test]
    fn every_range_of_every_size_comes_back() {
        let key = random_key(random);
        let edges = [
            0,
            1,
            7,
            PLAIN_BYTES - 1,
            PLAIN_BYTES,
            PLAIN_BYTES + 1,
            3 * PLAIN_BYTES - 1,
            3 * PLAIN_BYTES + 9,
        ];
        for sizes in
            [vec![0], vec![1], vec![PLAIN_BYTES], vec![3 * PLAIN_BYTES + 9], vec![5, 0, 2 * PLAIN_BYTES, 100]]
        {
            let parts: Vec<Bytes> = sizes.iter().map(|size| bytes(*size)).collect();
            let stored: Vec<Bytes> = parts.iter().map(|part| seal(&key, part, 100_000)).collect();
            let (plain, all) = (parts.concat(), stored.concat());
            let blobs: Vec<u64> = stored.iter().map(|blob| blob.len() as u64).collect();
            let size = plain.len() as u64;
            for (start, end) in
                edges.iter().flat_map(|start| edges.iter().map(move |end| (*start, (*end).min(size))))
            {
                let opener = Opener::new(&key, blobs.clone(), start..end);
                if end <= start {
                    continue;
                }
                let (mut opener, range) = opener.expect("within the object");
                let range =
                    usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small");
                let got = opener.open(&all[range]).expect("opens");
                let want = usize::try_from(start).expect("small")..usize::try_from(end).expect("small");
                assert_eq!(got, plain[want], "{start}..{end} of {sizes:?}");
            }
            assert!(Opener::new(&key, blobs, 0..size + 1).is_none());
        }
    }

    #[test]
    fn frame_by_frame_as_the_cache_gives_them() {
        let key = random_key(random);
        let plain = bytes(3 * PLAIN_BYTES);
        let stored = seal(&key, &plain, 1_000);
        let wanted = PLAIN_BYTES - 3..2 * PLAIN_BYTES + 5;
        let (mut opener, range) =
            Opener::new(&key, vec![stored.len() as u64], wanted.clone()).expect("a range");
        assert_eq!(range, 0..3 * FRAME_BYTES);
        let whole = usize::try_from(FRAME_BYTES).expect("small");
        let got: Vec<u8> =
            stored.chunks(whole).flat_map(|frame| opener.open(frame).expect("opens").to_vec()).collect();
        let wanted =
            usize::try_from(wanted.start).expect("small")..usize::try_from(wanted.end).expect("small");
        assert_eq!(got, plain[wanted]);
    }

    #[test]
    fn no_byte_is_altered_unseen_and_no_frame_moved_or_cut() {
        let key = random_key(random);
        let whole = usize::try_from(FRAME_BYTES).expect("small");
        let open = |key: &Key, stored: &[u8]| {
            let size = stored.len() as u64;
            let (mut opener, range) = Opener::new(key, vec![size], 0..plain_bytes(size).expect("a size"))?;
            assert_eq!(range, 0..size);
            opener.open(stored).ok()
        };
        let small = seal(&key, &bytes(40), 40);
        assert_eq!(open(&key, &small), Some(bytes(40)));
        for at in 0..small.len() {
            let mut altered = small.to_vec();
            altered[at] ^= 0x80;
            assert_eq!(open(&key, &altered), None, "{at}");
        }
        assert_eq!(open(&random_key(random), &small), None, "another key");
        let stored = seal(&key, &bytes(3 * PLAIN_BYTES), 70_000);
        assert!(open(&key, &stored).is_some());
        for at in (0..stored.len()).step_by(997) {
            let mut altered = stored.to_vec();
            altered[at] ^= 1;
            assert_eq!(open(&key, &altered), None, "{at}");
        }
        assert_eq!(open(&key, &stored[..2 * whole]), None, "cut");
        assert_eq!(open(&key, &stored[whole..]), None, "without its first frame");
        let swapped = [&stored[whole..2 * whole], &stored[..whole], &stored[2 * whole..]].concat();
        assert_eq!(open(&key, &swapped), None, "swapped");
    }

    #[test]
    fn sums() {
        let mut sealer = Sealer::new(&random_key(random), random);
        let mut some = Bytes::from_static(b"123456789");
        assert!(sealer.fill(&mut some, 9).is_none() && some.is_empty());
        assert_eq!(sealer.crc64nvme(), 0xae8b_1486_0a79_9888);
    }
}
