//! Owners of a bucket's values: each has one range of keys, told by the first byte. Used by `shard::local_bucket`. See
//! FORMAT.md, "Values".
//!
//! Every layer above keeps its values through [`LocalBucket`](crate::LocalBucket), which reads, scans and writes within
//! the range of one owner only. I1. No byte begins keys of two owners. I2. Ranges never move: they are on drives.
//! Keys of no owner are not given out: `0x00` to `0x0f` are the engine's own, `0x50` to `0x5f` and `0x80` to `0xff`
//! are free for owners to come.

use std::ops::RangeInclusive;

/// Who keeps values in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueOwner {
    /// Configuration documents of the bucket, as S3 clients set them: keys from `0x10` to `0x1f`.
    S3Configuration,
    /// Users, groups, keys and policies: keys from `0x20` to `0x2f`.
    Identity,
    /// Lifecycle rules and jobs at work: keys from `0x30` to `0x3f`.
    Jobs,
    /// Keys that objects are encrypted under: keys from `0x40` to `0x4f`.
    Encryption,
    /// The table catalog: keys from `0x60` to `0x7f`, which begin with the lower-case letter of their kind.
    Catalog,
}

impl ValueOwner {
    /// All owners, in the order of their keys.
    pub const ALL: [ValueOwner; 5] = [
        ValueOwner::S3Configuration,
        ValueOwner::Identity,
        ValueOwner::Jobs,
        ValueOwner::Encryption,
        ValueOwner::Catalog,
    ];

    /// The first bytes of this owner's keys.
    pub const fn first_bytes(self) -> RangeInclusive<u8> {
        match self {
            ValueOwner::S3Configuration => 0x10..=0x1f,
            ValueOwner::Identity => 0x20..=0x2f,
            ValueOwner::Jobs => 0x30..=0x3f,
            ValueOwner::Encryption => 0x40..=0x4f,
            ValueOwner::Catalog => 0x60..=0x7f,
        }
    }

    /// Whether `key` lies in this owner's range. The empty key is nobody's.
    pub fn owns(self, key: &[u8]) -> bool {
        key.first().is_some_and(|first| self.first_bytes().contains(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_owner_or_none() {
        let check = |key: &[u8], want: Option<ValueOwner>| {
            let owners: Vec<ValueOwner> =
                ValueOwner::ALL.into_iter().filter(|owner| owner.owns(key)).collect();
            assert_eq!(owners, Vec::from_iter(want), "{key:?}");
        };
        check(b"", None);
        for first in 0..=u8::MAX {
            let want = match first {
                0x10..=0x1f => Some(ValueOwner::S3Configuration),
                0x20..=0x2f => Some(ValueOwner::Identity),
                0x30..=0x3f => Some(ValueOwner::Jobs),
                0x40..=0x4f => Some(ValueOwner::Encryption),
                0x60..=0x7f => Some(ValueOwner::Catalog),
                _ => None,
            };
            check(&[first], want);
            check(&[first, 0xff], want);
        }
    }
}
