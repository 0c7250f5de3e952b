//! The settings of a bucket: typed values, at most one of each kind. See FORMAT.md, "Bucket settings".
//!
//! They are part of the directory entry, so every core knows them without asking the owner of the bucket. I1. Kinds
//! ascend, none comes twice. I2. A change of one kind leaves every other value as it is, byte for byte, known or not.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Malformed, Put, Reader};
use crate::bucket_meta::{LockRule, SettingKind, Versioning};
use crate::limits::{SETTING_BYTES_MAX, SETTINGS_BYTES_MAX};

/// All settings of a bucket. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BucketSettings(Arc<[(SettingKind, Bytes)]>);

impl BucketSettings {
    /// Settings with one value.
    pub fn of(kind: SettingKind, value: Bytes) -> BucketSettings {
        BucketSettings(Arc::new([(kind, value)]))
    }

    /// The value of a kind.
    pub fn get(&self, kind: SettingKind) -> Option<&Bytes> {
        let at = self.0.binary_search_by_key(&kind, |(kind, _)| *kind).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Kinds and values, by number.
    pub fn iter(&self) -> impl Iterator<Item = (SettingKind, &Bytes)> {
        self.0.iter().map(|(kind, value)| (*kind, value))
    }

    /// The settings with the value of one kind set, or (`None`) without it.
    pub fn with(&self, kind: SettingKind, value: Option<Bytes>) -> BucketSettings {
        let mut all: Vec<_> = self.0.iter().filter(|(other, _)| *other != kind).cloned().collect();
        if let Some(value) = value {
            let at = all.partition_point(|(other, _)| *other < kind);
            all.insert(at, (kind, value));
        }
        BucketSettings(all.into())
    }

    /// What becomes of versions; `None` when a newer version set it.
    pub fn versioning(&self) -> Option<Versioning> {
        Versioning::parse(self.get(SettingKind::VERSIONING).map(|value| &**value))
    }

    /// Object lock, if it is on; the outer `None` when a newer version set it.
    pub fn lock(&self) -> Option<Option<LockRule>> {
        match self.get(SettingKind::LOCK) {
            None => Some(None),
            Some(value) => LockRule::parse(value).map(Some),
        }
    }

    /// How many bytes the bucket may hold, if that is bounded; the outer `None` when a newer version set it.
    pub fn quota(&self) -> Option<Option<u64>> {
        match self.get(SettingKind::QUOTA) {
            None => Some(None),
            Some(value) => Some(Some(u64::from_le_bytes((**value).try_into().ok()?))),
        }
    }

    /// The first binding kind that this program does not honour, or whose value says something of a newer version: the
    /// bucket takes no changes then.
    pub fn unsupported(&self) -> Option<SettingKind> {
        let is_unknown = |(kind, _): &&(SettingKind, Bytes)| match *kind {
            SettingKind::VERSIONING => self.versioning().is_none(),
            SettingKind::LOCK => self.lock().is_none(),
            SettingKind::QUOTA => self.quota().is_none(),
            kind => kind.is_binding() && !kind.is_honoured(),
        };
        self.0.iter().find(is_unknown).map(|(kind, _)| *kind)
    }

    /// Bytes that they take on a drive; at most `SETTINGS_BYTES_MAX` are written.
    pub fn encoded_bytes(&self) -> usize {
        1 + self.0.iter().map(|(_, value)| 1 + 4 + value.len()).sum::<usize>()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(u8::try_from(self.0.len()).expect("at most one of each of 256 kinds, 0 is none"));
        for (kind, value) in self.0.iter() {
            out.u8(kind.number()).string(value);
        }
    }

    pub(crate) fn decode(r: &mut Reader) -> Result<BucketSettings, Malformed> {
        let (count, from) = (r.u8("settings")?, r.at());
        let mut all: Vec<(SettingKind, Bytes)> = Vec::new();
        for _ in 0..count {
            let kind = SettingKind::of(r.u8("setting kind")?);
            if all.last().map_or(0, |(last, _)| last.number()) >= kind.number() {
                return r.malformed("setting kind");
            }
            all.push((kind, r.string(SETTING_BYTES_MAX, "setting")?));
        }
        if SETTINGS_BYTES_MAX <= r.at() - from {
            return r.malformed("settings");
        }
        Ok(BucketSettings(all.into()))
    }
}

impl BucketSettings {
    /// Reads what version 2 of the format kept with a bucket: one byte string, which only the catalog wrote.
    pub(crate) fn decode_v2(r: &mut Reader) -> Result<BucketSettings, Malformed> {
        let annotation = r.string(SETTING_BYTES_MAX, "annotation")?;
        Ok(match annotation.is_empty() {
            true => BucketSettings::default(),
            false => BucketSettings::of(SettingKind::CATALOG, annotation),
        })
    }
}

impl fmt::Debug for BucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn round_trip(settings: &BucketSettings) -> Result<BucketSettings, Malformed> {
        let mut out = Vec::new();
        settings.encode(&mut out);
        assert_eq!(out.len(), settings.encoded_bytes());
        let mut r = Reader::new(out.into());
        BucketSettings::decode(&mut r).inspect(|_| assert_eq!(r.left(), 0))
    }

    #[test]
    fn a_change_of_one_kind_leaves_the_others() {
        let newer = SettingKind::of(200);
        let mut settings = BucketSettings::of(newer, value("kept"));
        for kind in SettingKind::ALL {
            settings = settings.with(*kind, Some(value("old")));
        }
        settings = settings.with(SettingKind::CORS, Some(value("new"))).with(SettingKind::TAGS, None);
        assert_eq!(settings.get(newer), Some(&value("kept")));
        assert_eq!(settings.get(SettingKind::CORS), Some(&value("new")));
        assert_eq!(settings.get(SettingKind::LOCK), Some(&value("old")));
        assert_eq!(settings.get(SettingKind::TAGS), None);
        assert!(settings.iter().map(|(kind, _)| kind).is_sorted());
        assert_eq!(round_trip(&settings), Ok(settings));
        assert_eq!(round_trip(&BucketSettings::default()), Ok(BucketSettings::default()));
    }

    #[test]
    fn what_must_be_honoured_is_named() {
        let check = |number: u8, want: Option<&str>| {
            let settings = BucketSettings::of(SettingKind::of(number), value("x"));
            assert_eq!(settings.unsupported().map(|kind| kind.to_string()).as_deref(), want, "{number}");
        };
        check(SettingKind::CATALOG.number(), None);
        check(SettingKind::LOCK.number(), Some("lock"));
        check(SettingKind::VERSIONING.number(), Some("versioning"));
        check(99, Some("number 99, of a newer version"));
        check(SettingKind::CORS.number(), None);
        check(199, None);
    }

    #[test]
    fn malformed_settings_are_refused() {
        let check = |bytes: &[u8]| {
            let mut r = Reader::new(Bytes::copy_from_slice(bytes));
            assert!(BucketSettings::decode(&mut r).is_err(), "{bytes:?}");
        };
        check(&[]);
        check(&[1]);
        check(&[1, 0, 0, 0, 0, 0]);
        check(&[2, 5, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
        check(&[2, 5, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        check(&[1, 5, 2, 0, 0, 0, 1]);
        let long = SettingKind::of(5);
        let over = BucketSettings::of(long, vec![0; SETTING_BYTES_MAX + 1].into());
        assert!(round_trip(&over).is_err());
        let many = [1, 2, 3].map(SettingKind::of);
        let many = many.iter().fold(BucketSettings::default(), |all, kind| {
            all.with(*kind, Some(vec![0; SETTING_BYTES_MAX].into()))
        });
        assert!(SETTINGS_BYTES_MAX < many.encoded_bytes());
        assert!(round_trip(&many).is_err());
    }
}
