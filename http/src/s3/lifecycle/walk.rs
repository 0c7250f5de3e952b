//! The way of a lifecycle through a bucket: page by page, what its rules would have go now.
//!
//! The runner removes what is found, the preview counts it. I1. A page is what was durable when it was read; whatever is
//! removed is judged again in the turn in which it is. I2. In a bucket with tables nothing is found that lies in the location
//! of one, and nothing at all when that is not known. I3. What no rule's prefix begins is not read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nilas_catalog::Catalog;
use nilas_catalog::access::LookUpError;
use nilas_engine::{
    Bucket, Engine, EngineError, ObjectVersion, Sequence, SettingKind, UploadId, UploadInfo, VersionId,
    VersionQuery, Versioning,
};

use super::evaluate::{Clock, KeyWalk, prefixes, upload_due};
use super::figures::Counts;
use super::rules::{Rule, Rules};
use crate::limits::{
    KEY_BYTES_MAX, LIFECYCLE_LOOKS_PER_TURN, LIFECYCLE_PREVIEW_KEYS_MAX, LIFECYCLE_PREVIEW_VERSIONS_MAX,
};

/// Why a walk does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// The engine's failure.
    Engine(EngineError),
    /// It is not known where the tables of the bucket have their files.
    Tables,
    /// The rules are those of a newer version.
    Rules,
}

impl std::fmt::Display for WalkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WalkError::Engine(error) => write!(f, "{error}"),
            WalkError::Tables => f.write_str("it is not known where its tables have their files"),
            WalkError::Rules => f.write_str("its rules were written by a newer version"),
        }
    }
}

impl std::error::Error for WalkError {}

impl From<EngineError> for WalkError {
    fn from(error: EngineError) -> WalkError {
        WalkError::Engine(error)
    }
}

impl From<LookUpError> for WalkError {
    fn from(error: LookUpError) -> WalkError {
        match error {
            LookUpError::Engine(error) => WalkError::Engine(error),
            LookUpError::Unreadable => WalkError::Tables,
        }
    }
}

/// How far a walk is. Versions come first, then uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Whether the versions are done.
    pub at_uploads: bool,
    /// Which of the prefixes is at work.
    pub prefix: u32,
    /// Behind this key.
    pub after: Bytes,
    /// Behind this upload of it.
    pub upload: u128,
}

impl Position {
    /// Reads what its `Display` wrote.
    pub fn parse(text: &str) -> Option<Position> {
        let mut parts = text.splitn(4, '.');
        let at_uploads = match parts.next()? {
            "v" => false,
            "u" => true,
            _ => return None,
        };
        let prefix = parts.next()?.parse().ok()?;
        let upload = u128::from_str_radix(parts.next()?, 16).ok()?;
        let key = parts.next()?.as_bytes();
        if key.len() % 2 != 0 || KEY_BYTES_MAX < key.len() / 2 {
            return None;
        }
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let after: Option<Vec<u8>> = key.chunks_exact(2).map(byte).collect();
        Some(Position { at_uploads, prefix, after: after?.into(), upload })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{:x}.", if self.at_uploads { 'u' } else { 'v' }, self.prefix, self.upload)?;
        self.after.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a lifecycle would remove now, of some pages.
#[derive(Debug, Default)]
pub struct Preview {
    /// How much.
    pub counts: Counts,
    /// The first of it: what becomes of it, and its key.
    pub keys: Vec<(&'static str, String)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// One page of a walk.
#[derive(Debug, Default)]
pub struct Page {
    /// Versions and uploads that were looked at.
    pub looked: u64,
    /// Those that lie in the location of a table and would go otherwise.
    pub in_tables: u64,
    /// Keys of which something may go: all that was found, and a key with more versions than were read.
    pub keys: Vec<Bytes>,
    /// Versions that go now, of those that were read.
    pub versions: Vec<ObjectVersion>,
    /// Uploads that end now.
    pub uploads: Vec<UploadInfo>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

/// What a walk goes by.
pub struct Walk<'a> {
    /// The store.
    pub engine: &'a Engine,
    /// Which knows where tables have their files.
    pub catalog: &'a Catalog,
    /// The bucket.
    pub bucket: &'a Arc<Bucket>,
    /// The value of its rules, or of others that are tried.
    pub value: &'a [u8],
    /// How long a day is.
    pub clock: Clock,
    /// Whether all that would go is to be named: also of a key with more versions than a page.
    pub counts: bool,
}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("bucket", &self.bucket.name).finish_non_exhaustive()
    }
}

impl Walk<'_> {
    /// Looks at the next page.
    pub async fn page(&self, at: &Position, now_ms: u64) -> Result<Page, WalkError> {
        let rules: Vec<Rule<'_>> = Rules::new(self.value).ok_or(WalkError::Rules)?.enabled().collect();
        match at.at_uploads {
            false => self.versions(&rules, at, now_ms).await,
            true => self.uploads(&rules, at, now_ms).await,
        }
    }

    /// Counts what would go now, from a position on and for [`LIFECYCLE_PREVIEW_VERSIONS_MAX`] versions.
    pub async fn preview(&self, from: Position, now_ms: u64) -> Result<Preview, WalkError> {
        let keeps_versions = self.bucket.settings.versioning() != Some(Versioning::Unset);
        let mut preview = Preview { next: Some(from), ..Preview::default() };
        while let Some(at) = preview.next.take() {
            if LIFECYCLE_PREVIEW_VERSIONS_MAX <= preview.counts.looked {
                preview.next = Some(at);
                break;
            }
            let page = self.page(&at, now_ms).await?;
            let counts = &mut preview.counts;
            counts.looked += page.looked;
            counts.in_tables += page.in_tables;
            let mut name = |kind, key: &Bytes| {
                if preview.keys.len() < LIFECYCLE_PREVIEW_KEYS_MAX {
                    preview.keys.push((kind, String::from_utf8_lossy(key).into_owned()));
                }
            };
            for version in &page.versions {
                let marks = version.is_latest && !version.is_marker && keeps_versions;
                if !marks && version.info.lock.protects(now_ms, false) {
                    counts.locked += 1;
                    continue;
                }
                let (kind, count) = match (version.is_marker, version.is_latest) {
                    (true, _) => ("marker", &mut counts.markers),
                    (false, true) if marks => ("marked", &mut counts.marked),
                    (false, true) => ("current", &mut counts.current),
                    (false, false) => ("noncurrent", &mut counts.noncurrent),
                };
                *count += 1;
                counts.bytes += if marks { 0 } else { version.info.size };
                name(kind, &version.key);
            }
            for upload in &page.uploads {
                counts.uploads += 1;
                name("upload", &upload.key);
            }
            preview.next = page.next;
            self.engine.sleep(Duration::ZERO).await;
        }
        Ok(preview)
    }

    async fn versions(&self, rules: &[Rule<'_>], at: &Position, now_ms: u64) -> Result<Page, WalkError> {
        let about_versions = |rule: &Rule<'_>| {
            rule.expiration.is_some() || rule.noncurrent.is_some() || rule.removes_markers()
        };
        let prefixes = prefixes(rules.iter().copied().filter(about_versions));
        let Some(prefix) = nth(&prefixes, at.prefix) else {
            let next = Some(Position { at_uploads: true, ..Position::default() });
            return Ok(Page { next, ..Page::default() });
        };
        let query = VersionQuery {
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            after: at.after.clone(),
            max: LIFECYCLE_LOOKS_PER_TURN,
            ..VersionQuery::default()
        };
        let found = self.engine.list_versions(self.bucket, query.clone()).await?;
        let (mut versions, mut more) = (found.versions, found.next);
        let mut page = Page { looked: versions.len() as u64, ..Page::default() };
        let key_of = |version: Option<&ObjectVersion>| version.map(|version| version.key.clone());
        let (first, last) = (key_of(versions.first()), key_of(versions.last()));
        let mut after = last.clone();
        let mut walk = KeyWalk::default();
        if more.is_some() && first != last {
            // Of the last key more may follow: it belongs to the next page.
            versions.retain(|version| Some(&version.key) != last.as_ref());
            after = key_of(versions.last());
        } else if more.is_some() && !self.counts {
            // One key that fills the page. It is judged whole where it is removed.
            page.keys.extend(last);
            versions.clear();
        } else if let Some(key) = last.filter(|_| more.is_some()) {
            let below_of = |more: &Option<(Bytes, Option<Sequence>)>| match more {
                Some((next, below)) if *next == key => Some(*below),
                _ => None,
            };
            while let Some(below) = below_of(&more) {
                self.judge(rules, now_ms, &mut walk, versions, true, &mut page);
                self.engine.sleep(Duration::ZERO).await;
                let (after, after_version) = (key.clone(), below.map(VersionId::Of));
                let query = VersionQuery { after, after_version, ..query.clone() };
                let found = self.engine.list_versions(self.bucket, query).await?;
                (versions, more) = (found.versions, found.next);
                let ends = versions.iter().any(|version| version.key != key);
                versions.retain(|version| version.key == key);
                page.looked += versions.len() as u64;
                if ends {
                    more = more.or(Some((Bytes::new(), None)));
                    break;
                }
            }
        }
        self.judge(rules, now_ms, &mut walk, versions, false, &mut page);
        page.next = Some(match more {
            Some(_) => Position { after: after.unwrap_or_default(), ..at.clone() },
            None => Position { prefix: at.prefix + 1, after: Bytes::new(), ..at.clone() },
        });
        page.in_tables = self.leave_tables(&mut page.versions, |version| &version.key).await?;
        self.leave_tables(&mut page.keys, |key| key).await?;
        page.keys.extend(page.versions.iter().map(|version| version.key.clone()));
        page.keys.dedup();
        Ok(page)
    }

    /// Adds to a page the versions that go; behind the last of them there are others of its key if `has_more`.
    fn judge(
        &self,
        rules: &[Rule<'_>],
        now_ms: u64,
        walk: &mut KeyWalk,
        versions: Vec<ObjectVersion>,
        has_more: bool,
        page: &mut Page,
    ) {
        let mut versions = versions.into_iter().peekable();
        while let Some(version) = versions.next() {
            let has_older = versions.peek().map_or(has_more, |next| next.key == version.key);
            if walk.goes(rules, self.clock, now_ms, &version, has_older) {
                page.versions.push(version);
            }
        }
    }

    async fn uploads(&self, rules: &[Rule<'_>], at: &Position, now_ms: u64) -> Result<Page, WalkError> {
        let aborting = || rules.iter().copied().filter(|rule| rule.abort_days.is_some());
        let prefixes = prefixes(aborting());
        let Some(prefix) = nth(&prefixes, at.prefix) else { return Ok(Page::default()) };
        let prefix = Bytes::copy_from_slice(prefix.as_bytes());
        let after = (!at.after.is_empty()).then(|| (at.after.clone(), UploadId(at.upload)));
        let max = LIFECYCLE_LOOKS_PER_TURN;
        let mut found = self.engine.uploads(self.bucket, prefix, after, max).await?;
        let mut page = Page { looked: found.len() as u64, ..Page::default() };
        page.next = Some(match found.last() {
            Some(last) if found.len() == max => {
                Position { after: last.key.clone(), upload: last.id.0, ..at.clone() }
            }
            _ => Position { prefix: at.prefix + 1, after: Bytes::new(), upload: 0, ..at.clone() },
        });
        found.retain(|upload| {
            let due = upload_due(aborting(), self.clock, &upload.key, upload.created_ms);
            due.is_some_and(|(due_ms, _)| due_ms <= now_ms)
        });
        page.in_tables = self.leave_tables(&mut found, |upload| &upload.key).await?;
        page.uploads = found;
        Ok(page)
    }

    /// Takes out what lies in the locations of tables, and counts it.
    async fn leave_tables<T>(
        &self,
        found: &mut Vec<T>,
        key: impl Fn(&T) -> &Bytes,
    ) -> Result<u64, WalkError> {
        if found.is_empty() || self.bucket.settings.get(SettingKind::CATALOG).is_none() {
            return Ok(0);
        }
        let keys = found.iter().map(|found| String::from_utf8_lossy(key(found)).into_owned()).collect();
        let tables = self.catalog.tables_of_keys(self.bucket, keys).await?;
        let before = found.len();
        let mut tables = tables.into_iter();
        // What was not answered for stays, too.
        found.retain(|_| tables.next() == Some(None));
        Ok((before - found.len()) as u64)
    }
}

fn nth<'p>(prefixes: &[&'p str], at: u32) -> Option<&'p str> {
    prefixes.get(usize::try_from(at).unwrap_or(usize::MAX)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let at =
            Position { at_uploads: true, prefix: 3, after: Bytes::from_static(b"k.\xff"), upload: 1 << 100 };
        for position in [Position::default(), at] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        for bad in ["", "v", "v.1.0", "w.1.0.", "v.x.0.", "v.1.x.", "v.1.0.0", "v.1.0.zz", "v.1.0.é"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
        assert_eq!(Position::parse(&format!("v.1.0.{}", "00".repeat(1_025))), None);
    }
}
