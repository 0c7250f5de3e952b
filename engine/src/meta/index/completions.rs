//! Uploads that were completed not long ago: each is a value of the engine's own, set by the record that completed it.
//! See FORMAT.md, "Values".
//!
//! `shard::multipart` sets and looks them up, `shard::maintenance` has the stale ones forgotten. I1. Their keys are in order of
//! time, so that the oldest stand first. I2. They hold no space and do not keep a bucket from being deleted.

use bytes::Bytes;

use super::BucketIndex;
use super::tree::CellRef;
use super::uploads::upload_key;
use crate::limits::{COMPLETION_LIFE_MS, COMPLETIONS_MAX};
use crate::object::UploadId;

/// The first byte of their keys.
const PREFIX: [u8; 1] = [0x01];
/// The first byte of keys that are not the engine's own.
const OWNERS_FROM: [u8; 1] = [0x10];

/// Bytes of a key: prefix, time, upload.
const KEY_BYTES: usize = 1 + 8 + 16;

/// The key of the value that remembers an upload.
#[expect(clippy::big_endian_bytes, reason = "byte order is order of time")]
pub(crate) fn completion_key(completed_ms: u64, upload: UploadId) -> Bytes {
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.extend_from_slice(&PREFIX);
    key.extend_from_slice(&completed_ms.to_be_bytes());
    key.extend_from_slice(&upload_key(upload.0));
    key.into()
}

/// Whether a value remembers an upload.
pub(super) fn is_completion(key: &[u8]) -> bool {
    key.starts_with(&PREFIX)
}

/// The time in such a key.
#[expect(clippy::big_endian_bytes, reason = "byte order is order of time")]
fn completed_ms(key: &[u8]) -> u64 {
    key.get(1..9).and_then(|time| time.first_chunk::<8>()).map_or(0, |time| u64::from_be_bytes(*time))
}

impl BucketIndex {
    /// What is remembered of an upload at `now_ms`. Looks at all that are remembered: for requests about uploads that are
    /// not open.
    pub(crate) fn completion(&self, upload: UploadId, now_ms: u64) -> Option<Bytes> {
        let id = upload_key(upload.0);
        let mut found = None;
        self.scan_completions(|cell, key| {
            let is_it = key.len() == KEY_BYTES && key.ends_with(&id);
            if is_it && now_ms.saturating_sub(completed_ms(key)) < COMPLETION_LIFE_MS {
                found = Some(Bytes::copy_from_slice(cell.payload));
            }
            found.is_none()
        });
        found
    }

    /// Keys of the oldest ones that are to be forgotten at `now_ms`, when `more` are about to be added; at most `max`.
    pub(crate) fn stale_completions(&self, now_ms: u64, more: usize, max: usize) -> Vec<Bytes> {
        let excess = (self.completion_count + more).saturating_sub(COMPLETIONS_MAX);
        let mut stale = Vec::new();
        self.scan_completions(|_, key| {
            let is_old = COMPLETION_LIFE_MS <= now_ms.saturating_sub(completed_ms(key));
            let is_stale = stale.len() < max && (is_old || stale.len() < excess);
            if is_stale {
                stale.push(Bytes::copy_from_slice(key));
            }
            is_stale
        });
        stale
    }

    /// Whether there is a value of a layer above.
    pub(super) fn has_owned_values(&self) -> bool {
        self.values.at(self.values.seek(&OWNERS_FROM)).is_some()
    }

    fn scan_completions(&self, mut visit: impl FnMut(&CellRef<'_>, &[u8]) -> bool) {
        self.values.scan(&PREFIX, |cell| {
            let key = cell.key.to_vec();
            is_completion(&key) && visit(&cell, &key)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Index, NoEffects};
    use super::*;
    use crate::format::record::{Change, Record};
    use crate::units::{BucketId, Sequence};

    const DAY: u64 = COMPLETION_LIFE_MS;

    struct Scene(Index, u64);

    impl Scene {
        fn apply(&mut self, change: Change) {
            self.1 += 1;
            let record = Record { bucket: BucketId(1), changes: vec![change] };
            self.0.apply(Sequence(self.1), &record, 0, &[], &mut NoEffects);
        }

        fn complete(&mut self, at_ms: u64, upload: u128) {
            let key = completion_key(at_ms, UploadId(upload));
            self.apply(Change::SetValue { key, value: upload.to_le_bytes().to_vec().into() });
        }

        fn bucket(&self) -> &BucketIndex {
            &self.0.buckets[&BucketId(1)]
        }
    }

    #[test]
    fn remembered_for_a_while() {
        let mut scene = Scene(Index::default(), 0);
        scene.complete(1_000, 7);
        scene.complete(500, 8);
        let value = |upload: u128| Some(Bytes::from(upload.to_le_bytes().to_vec()));
        let check = |upload: u128, now_ms: u64, want: Option<Bytes>| {
            assert_eq!(scene.bucket().completion(UploadId(upload), now_ms), want, "{upload} at {now_ms}");
        };
        check(7, 1_000, value(7));
        check(7, DAY + 999, value(7));
        check(7, DAY + 1_000, None);
        check(8, 0, value(8));
        check(9, 1_000, None);
        let stale = |now_ms, more, max| scene.bucket().stale_completions(now_ms, more, max).len();
        assert_eq!((stale(DAY, 0, 9), stale(DAY + 500, 0, 9), stale(DAY + 1_000, 0, 9)), (0, 1, 2));
        assert_eq!(stale(DAY + 1_000, 0, 1), 1);
        assert_eq!(stale(2_000, COMPLETIONS_MAX - 1, 9), 1, "the oldest makes room");
        let oldest = scene.bucket().stale_completions(2_000, COMPLETIONS_MAX - 1, 9);
        assert_eq!(oldest, [completion_key(500, UploadId(8))]);
    }

    #[test]
    fn counted_and_no_obstacle() {
        let mut scene = Scene(Index::default(), 0);
        scene.complete(1, 7);
        scene.complete(1, 7);
        scene.complete(2, 8);
        assert_eq!((scene.bucket().completion_count, scene.bucket().is_empty()), (2, true));
        scene.apply(Change::ClearValue { key: completion_key(2, UploadId(8)) });
        scene.apply(Change::ClearValue { key: completion_key(2, UploadId(8)) });
        assert_eq!(scene.bucket().completion_count, 1);
        scene.apply(Change::SetValue { key: Bytes::from_static(&[0x10]), value: Bytes::new() });
        assert_eq!((scene.bucket().completion_count, scene.bucket().is_empty()), (1, false));
    }
}
