//! Versions of a key: they stand newest first, and at most one of them is the null version.

use std::cmp::Ordering;

use bytes::Bytes;

use super::tree::CellRef;
use super::{BucketIndex, Effects, cell_of, info_of};
use crate::format::cell::Cell;
use crate::object::ObjectVersion;
use crate::units::Sequence;

impl BucketIndex {
    /// Whether a key has a null version that a delete would remove.
    pub(crate) fn has_null_version(&self, key: &[u8]) -> bool {
        self.versions_of(key).any(|(_, cell)| cell.is_null)
    }

    /// Whether a key has that version.
    pub(crate) fn has_version(&self, key: &[u8], version: Sequence) -> bool {
        self.versions_of(key).any(|(_, cell)| cell.sequence == version)
    }

    /// What made the versions of a key, newest first, at most `max`.
    pub(crate) fn sequences_of(&self, key: &[u8], max: usize) -> Vec<Sequence> {
        self.versions_of(key).map(|(_, cell)| cell.sequence).take(max).collect()
    }

    /// Versions of one key, newest first.
    pub(super) fn versions_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (CellRef<'a>, Cell<'a>)> {
        let mut at = self.objects.seek(key);
        std::iter::from_fn(move || {
            let found = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq())?;
            at = self.objects.next(at);
            Some((found, cell_of(found.payload)))
        })
    }

    /// Removes the first version that `which` chooses, if any.
    pub(super) fn remove_version(
        &mut self,
        key: &[u8],
        which: impl Fn(&Cell<'_>) -> bool,
        effects: &mut impl Effects,
    ) {
        let mut at = self.objects.seek(key);
        while let Some(found) = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq()) {
            if which(&cell_of(found.payload)) {
                self.forget(at, effects);
                self.objects.remove(at);
                return;
            }
            at = self.objects.next(at);
        }
    }

    /// Versions and delete markers in key order, newest first, behind (`after`, `after_version`).
    pub(crate) fn list_versions(
        &self,
        prefix: &[u8],
        after: Option<(&[u8], Sequence)>,
        max: usize,
    ) -> Vec<ObjectVersion> {
        let mut versions: Vec<ObjectVersion> = Vec::new();
        let mut newest: Option<Bytes> = None;
        let start = after.map_or(prefix, |(key, _)| key.max(prefix));
        if max == 0 {
            return versions;
        }
        self.objects.scan(start, |found| {
            if !found.key.starts_with(prefix) {
                return false;
            }
            let cell = cell_of(found.payload);
            let key: Bytes = found.key.to_vec().into();
            let is_latest = newest.as_ref() != Some(&key);
            newest = Some(key.clone());
            let is_passed = after.is_some_and(|(passed, version)| match passed.cmp(&key) {
                Ordering::Less => false,
                Ordering::Equal => version <= cell.sequence,
                Ordering::Greater => true,
            });
            if !is_passed {
                versions.push(ObjectVersion {
                    key,
                    info: info_of(&found, &cell),
                    is_latest,
                    is_marker: cell.is_marker,
                    is_null: cell.is_null,
                });
            }
            versions.len() < max
        });
        versions
    }
}
