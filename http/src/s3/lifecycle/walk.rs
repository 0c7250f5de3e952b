//! The way of a lifecycle through a bucket: page by page, what its rules would have go now.
//!
//! The runner removes what is found, the preview counts it. I1. A page is what was durable when it was read; whatever is
//! removed is judged again in the turn in which it is. I2. In a bucket with tables nothing is found that lies in the location
//! of one, and nothing at all when that is not known. I3. What no rule's prefix begins is not read.

use std::sync::Arc;

use bytes::Bytes;
use nilas_catalog::Catalog;
use nilas_catalog::access::LookUpError;
use nilas_engine::{
    Bucket, Engine, EngineError, ObjectVersion, SettingKind, UploadId, UploadInfo, VersionQuery,
};

use super::evaluate::{Clock, KeyWalk, prefixes, upload_due};
use super::rules::{Rule, Rules};
use crate::limits::LIFECYCLE_LOOKS_PER_TURN;

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
        let found = self.engine.list_versions(self.bucket, query).await?;
        let has_more = found.next.is_some();
        let last = found.versions.last().map(|version| version.key.clone()).unwrap_or_default();
        let mut page = Page { looked: found.versions.len() as u64, ..Page::default() };
        page.next = Some(match has_more {
            true => Position { after: last.clone(), ..at.clone() },
            false => Position { prefix: at.prefix + 1, after: Bytes::new(), ..at.clone() },
        });
        let mut walk = KeyWalk::default();
        let mut versions = found.versions.into_iter().peekable();
        while let Some(version) = versions.next() {
            // Of the last key more may follow.
            let has_older = versions.peek().map_or(has_more, |next| next.key == version.key);
            if walk.goes(rules, self.clock, now_ms, &version, has_older) {
                page.versions.push(version);
            }
        }
        page.in_tables = self.leave_tables(&mut page.versions, |version| &version.key).await?;
        page.keys = page.versions.iter().map(|version| version.key.clone()).collect();
        if has_more {
            let mut last = vec![last];
            self.leave_tables(&mut last, |key| key).await?;
            page.keys.append(&mut last);
        }
        page.keys.dedup();
        Ok(page)
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
