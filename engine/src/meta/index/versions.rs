//! Versions of a key: they stand newest first, and at most one of them is the null version.

use bytes::Bytes;

use super::list::{find, successor};
use super::tree::CellRef;
use super::{BucketIndex, Effects, cell_of, info_of};
use crate::format::cell::Cell;
use crate::object::{ETag, ObjectVersion, VersionId, VersionPage, VersionQuery};
use crate::units::Sequence;

impl BucketIndex {
    /// Whether a key has a null version that a delete would remove.
    pub(crate) fn has_null_version(&self, key: &[u8]) -> bool {
        self.versions_of(key).any(|(_, cell)| cell.is_null)
    }

    /// The current version of a key (`None`), marker or not, or a named one.
    pub(super) fn version<'a>(
        &'a self,
        key: &'a [u8],
        version: Option<VersionId>,
    ) -> Option<(CellRef<'a>, Cell<'a>)> {
        self.versions_of(key).find(|(_, cell)| match version {
            None => true,
            Some(VersionId::Null) => cell.is_null,
            Some(VersionId::Of(sequence)) => cell.sequence == sequence,
        })
    }

    /// What made a version, whether it is a marker, and its tag when it is none.
    pub(crate) fn known_of(
        &self,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Option<(Sequence, bool, Option<ETag>)> {
        let (_, cell) = self.version(key, version)?;
        Some((cell.sequence, cell.is_marker, (!cell.is_marker).then_some(cell.etag)))
    }

    /// What made a version, and the bytes that it has; nothing for a marker.
    pub(crate) fn held_by(&self, key: &[u8], version: VersionId) -> Option<(Sequence, u64)> {
        let (_, cell) = self.version(key, Some(version))?;
        (!cell.is_marker).then_some((cell.sequence, cell.size))
    }

    /// Whether any version has a lock, in force or not.
    pub(crate) fn has_locks(&self) -> bool {
        0 < self.locked_count
    }

    /// Whether a lock protects that version of a key now.
    pub(crate) fn is_protected(&self, key: &[u8], version: VersionId, now_ms: u64, bypass: bool) -> bool {
        self.version(key, Some(version)).is_some_and(|(_, cell)| cell.lock.protects(now_ms, bypass))
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

    /// Visits the versions of a key, newest first, each with whether there are older ones, while `visit` returns true;
    /// whether it always did.
    pub(crate) fn each_version(
        &self,
        key: &Bytes,
        mut visit: impl FnMut(&ObjectVersion, bool) -> bool,
    ) -> bool {
        let mut versions = self.versions_of(key).peekable();
        let mut is_latest = true;
        while let Some((found, cell)) = versions.next() {
            let (info, is_marker) = (info_of(&found, &cell), cell.is_marker);
            let version = ObjectVersion { key: key.clone(), info, is_latest, is_marker };
            if !visit(&version, versions.peek().is_some()) {
                return false;
            }
            is_latest = false;
        }
        true
    }

    /// Removes the first version that `which` chooses, if any; returns whether the key has another object or marker now.
    pub(super) fn remove_version(
        &mut self,
        key: &[u8],
        which: impl Fn(&Cell<'_>) -> bool,
        effects: &mut impl Effects,
    ) -> bool {
        let first = self.objects.seek(key);
        let mut at = first;
        while let Some(found) = self.objects.at(at).filter(|cell| cell.key.compare(key).is_eq()) {
            if which(&cell_of(found.payload)) {
                let below = self.objects.at(self.objects.next(at));
                let uncovers = at == first && below.is_some_and(|below| below.key.compare(key).is_eq());
                self.forget(at, effects);
                self.objects.remove(at);
                return uncovers;
            }
            at = self.objects.next(at);
        }
        false
    }

    /// One page of versions, delete markers and common prefixes, by range scan; a common prefix is passed by one seek.
    ///
    /// Source: Amazon S3 API, ListObjectVersions.
    pub(crate) fn list_versions(&self, query: &VersionQuery) -> VersionPage {
        let mut page = VersionPage::default();
        let (prefix, after, delimiter) = (&query.prefix, &query.after, &query.delimiter);
        let below = self.listed_below(query);
        let start: &[u8] = if after.as_ref() < prefix.as_ref() { prefix } else { after };
        let mut at = self.objects.seek(start);
        // The key whose newest version was passed last.
        let mut newest: Option<Bytes> = None;
        let mut next: Option<(Bytes, Option<Sequence>)> = None;
        while let Some(found) = self.objects.at(at).filter(|found| found.key.starts_with(prefix)) {
            at = self.objects.next(at);
            let cell = cell_of(found.payload);
            let is_latest = !newest.as_ref().is_some_and(|newest| found.key.compare(newest).is_eq());
            if is_latest {
                newest = Some(found.key.to_vec().into());
            }
            let key = newest.clone().unwrap_or_default();
            let cut = if delimiter.is_empty() { None } else { find(&key[prefix.len()..], delimiter) };
            let common = cut.map(|at| key.slice(..prefix.len() + at + delimiter.len()));
            let is_passed = match &common {
                Some(common) => !after.is_empty() && common <= after,
                None => {
                    !after.is_empty() && key == *after && below.is_none_or(|below| below <= cell.sequence)
                }
            };
            if !is_passed {
                if query.max <= page.versions.len() + page.prefixes.len() {
                    page.next = next.or_else(|| (!after.is_empty()).then(|| (after.clone(), below)));
                    return page;
                }
                match &common {
                    Some(common) => {
                        next = Some((common.clone(), None));
                        page.prefixes.push(common.clone());
                    }
                    None => {
                        next = Some((key.clone(), Some(cell.sequence)));
                        let (info, is_marker) = (info_of(&found, &cell), cell.is_marker);
                        page.versions.push(ObjectVersion { key, info, is_latest, is_marker });
                    }
                }
            }
            if let Some(common) = common {
                let Some(next) = successor(&common) else { break };
                at = self.objects.seek(&next);
            }
        }
        page
    }

    /// Of the key `after`: the versions to list are those older than this; `None` for none of them. A null version that
    /// is gone was anywhere among them.
    fn listed_below(&self, query: &VersionQuery) -> Option<Sequence> {
        match query.after_version? {
            VersionId::Of(sequence) => Some(sequence),
            VersionId::Null => {
                let null = self.version(&query.after, Some(VersionId::Null));
                Some(null.map_or(Sequence(u64::MAX), |(_, cell)| cell.sequence))
            }
        }
    }
}
