//! Lifecycles at work: each core goes through those of its own buckets that have rules, a page of each in turn, and removes
//! what the rules name.
//!
//! A core's start runs [`run`] behind its requests. A pass over a bucket begins when a day begins, when the rules were changed,
//! and when the one before failed. I1. A version is judged in the turn in which its removal takes its place, by the rules that
//! the bucket has then, and the engine keeps what a lock protects: so a pass may look at anything twice. I2. In each second a
//! core looks at no more than [`LIFECYCLE_LOOKS_PER_SECOND`] versions and removes no more than
//! [`LIFECYCLE_REMOVALS_PER_SECOND`]; between pages others have their turn. I3. How far a pass is, and the day that was worked
//! off, is a system value for each bucket, written now and then: a start goes on there. Losing it costs a pass. I4. What a
//! rule names at a time goes with the first pass that begins from then on, or goes on behind it: so at most two passes and
//! a look later, if the server runs; what becomes due within a day (by other tags, or a version that went) waits for the
//! next day as well.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use nilas_catalog::{Catalog, TablePlaces};
use nilas_engine::{
    Bucket, BucketId, Engine, EngineError, Expired, Judge, LocalBucket, ObjectVersion, SettingKind,
    Transaction, ValueOwner, WriteError,
};
use sha2::{Digest, Sha256};

use super::evaluate::{Clock, KeyWalk};
use super::figures::{Counts, LifecycleFigures, Progress, keep_progress};
use super::rules::{Rule, Rules};
use super::walk::{Page, Position, Walk, WalkError};
use crate::limits::{
    LIFECYCLE_LOOK_MS, LIFECYCLE_LOOKS_PER_SECOND, LIFECYCLE_REMOVALS_PER_RECORD,
    LIFECYCLE_REMOVALS_PER_SECOND, LIFECYCLE_RETRY_MS, LIFECYCLE_SAVE_MS,
};

/// Buckets of the directory that are looked at before others have their turn.
const BUCKETS_PER_TURN: usize = 256;

/// How system values of this file begin; the bucket's id follows.
const KEY: [u8; 2] = [0x30, b'l'];
const VERSION: u8 = 1;

/// What a runner is told.
#[derive(Clone, Copy)]
pub struct RunnerConfig {
    /// How long a day is.
    pub clock: Clock,
    /// Whether it also forgets what is kept of buckets that are gone: on one core of all.
    pub forgets: bool,
    /// Told of what could not be done.
    pub report: fn(fmt::Arguments<'_>),
}

impl fmt::Debug for RunnerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerConfig").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Works off the lifecycles of this core's buckets until the engine stops.
pub async fn run(engine: Engine, catalog: &Catalog, config: RunnerConfig, figures: Arc<LifecycleFigures>) {
    let mut runner =
        Runner { engine, catalog, config, figures, watched: BTreeMap::new(), kept: BTreeMap::new() };
    let tick = Duration::from_millis(LIFECYCLE_LOOK_MS.min(config.clock.day_ms / 8).max(1));
    loop {
        match runner.load().await {
            Ok(()) => break,
            Err(EngineError::Stopping) => return,
            Err(_) => runner.engine.sleep(tick).await,
        }
    }
    let mut looked_ms = None;
    loop {
        let now_ms = runner.engine.now_ms();
        // A clock that went back looks again.
        let waited = looked_ms.map(|looked| now_ms.abs_diff(looked));
        if waited.is_none_or(|waited| tick.as_millis() <= u128::from(waited)) {
            runner.look().await;
            looked_ms = Some(now_ms);
        }
        match runner.round().await {
            Ok(true) => {}
            Ok(false) => runner.engine.sleep(tick).await,
            Err(Stopping) => return,
        }
    }
}

/// The engine takes nothing more.
struct Stopping;

struct Runner<'a> {
    engine: Engine,
    catalog: &'a Catalog,
    config: RunnerConfig,
    figures: Arc<LifecycleFigures>,
    /// This core's buckets that have rules.
    watched: BTreeMap<BucketId, Watched>,
    /// What was kept of buckets that were not met since the start.
    kept: BTreeMap<BucketId, Kept>,
}

struct Watched {
    bucket: Arc<Bucket>,
    value: Bytes,
    /// The day that was worked off.
    covered: Option<u64>,
    pass: Option<Pass>,
    /// When a pass that failed begins again.
    retry_ms: Option<u64>,
    progress: Progress,
}

struct Pass {
    /// The day in which it began.
    day: u64,
    at: Position,
    saved_ms: u64,
}

/// What is kept of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// Of the rules that it is about.
    digest: [u8; 16],
    covered: Option<u64>,
    /// The day in which the open pass began, and how far it is.
    open: Option<(u64, Position)>,
}

impl Kept {
    /// `version u8 = 1` · digest of the rules (16) · `covered u64` (all ones: none) · `open u8`, and if it is 1 `day u64` ·
    /// `uploads u8` · `prefix u32` · `upload u128` · key to the end; little-endian.
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128);
        out.put_u8(VERSION);
        out.put_slice(&self.digest);
        out.put_u64_le(self.covered.unwrap_or(u64::MAX));
        out.put_u8(u8::from(self.open.is_some()));
        if let Some((day, at)) = &self.open {
            out.put_u64_le(*day);
            out.put_u8(u8::from(at.at_uploads));
            out.put_u32_le(at.prefix);
            out.put_u128_le(at.upload);
            out.put_slice(&at.after);
        }
        out.freeze()
    }

    fn decode(value: &Bytes) -> Option<Kept> {
        let mut rest = value.clone();
        if rest.len() < 26 || rest.get_u8() != VERSION {
            return None;
        }
        let mut digest = [0; 16];
        rest.copy_to_slice(&mut digest);
        let covered = Some(rest.get_u64_le()).filter(|day| *day != u64::MAX);
        let open = match rest.get_u8() {
            0 if rest.is_empty() => None,
            1 if 29 <= rest.len() => {
                let (day, at_uploads) = (rest.get_u64_le(), rest.get_u8() != 0);
                let (prefix, upload) = (rest.get_u32_le(), rest.get_u128_le());
                Some((day, Position { at_uploads, prefix, upload, after: rest }))
            }
            _ => return None,
        };
        Some(Kept { digest, covered, open })
    }
}

fn digest_of(value: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(value);
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

fn key_of(id: BucketId) -> Bytes {
    let mut key = BytesMut::from(&KEY[..]);
    key.put_slice(&id.0.to_le_bytes());
    key.freeze()
}

impl Runner<'_> {
    /// Reads what was kept by the last process.
    async fn load(&mut self) -> Result<(), EngineError> {
        let load = |_, bucket: LocalBucket| async move {
            let mut all = Vec::new();
            bucket.values(&KEY, |key, value| {
                if let Some(id) = key.get(KEY.len()..).and_then(|id| id.try_into().ok()) {
                    all.push((u64::from_le_bytes(id), value.clone()));
                }
                true
            });
            all
        };
        let all = self.engine.on_system(ValueOwner::Jobs, load).await?;
        let all: BTreeMap<u64, Bytes> = all.into_iter().collect();
        let mut gone: Vec<u64> = all.keys().copied().collect();
        let directory = self.engine.directory()?;
        for (nth, bucket) in directory.buckets.values().enumerate() {
            if nth % BUCKETS_PER_TURN == BUCKETS_PER_TURN - 1 {
                self.engine.sleep(Duration::ZERO).await;
            }
            let id = bucket.id.0;
            if let Ok(at) = gone.binary_search(&id) {
                gone.remove(at);
            }
            if let Some(kept) = all.get(&id).and_then(Kept::decode).filter(|_| self.engine.owns(bucket)) {
                self.kept.insert(bucket.id, kept);
            }
        }
        for id in gone.into_iter().filter(|_| self.config.forgets) {
            let mut key = KEY.to_vec();
            key.extend(id.to_le_bytes());
            self.write(key.into(), None).await?;
        }
        Ok(())
    }

    /// Sets or clears a system value.
    async fn write(&self, key: Bytes, value: Option<Bytes>) -> Result<(), EngineError> {
        let write = |_, bucket: LocalBucket| async move {
            let bytes = key.len() + value.as_ref().map_or(0, Bytes::len) + 200;
            bucket.room(bytes).await?;
            let values = vec![(key, value)];
            let last = bucket.append(Transaction { values, ..Transaction::default() })?;
            bucket.durable(last).await
        };
        self.engine.on_system(ValueOwner::Jobs, write).await?
    }

    /// Looks which of this core's buckets have which rules.
    async fn look(&mut self) {
        // Without a whole directory nobody can tell which rules are in force.
        let Ok(directory) = self.engine.directory() else { return };
        let mut found: BTreeMap<BucketId, (Arc<Bucket>, Bytes)> = BTreeMap::new();
        for (nth, bucket) in directory.buckets.values().enumerate() {
            if nth % BUCKETS_PER_TURN == BUCKETS_PER_TURN - 1 {
                self.engine.sleep(Duration::ZERO).await;
            }
            if let Some(value) =
                bucket.settings.get(SettingKind::LIFECYCLE).filter(|_| self.engine.owns(bucket))
            {
                found.insert(bucket.id, (bucket.clone(), value.clone()));
            }
        }
        drop(directory);
        let gone: Vec<BucketId> = self.watched.keys().filter(|id| !found.contains_key(id)).copied().collect();
        for id in gone {
            let Some(watched) = self.watched.remove(&id) else { continue };
            self.end_pass(watched.pass.as_ref());
            // What stays of it is forgotten at the next start.
            drop(self.write(key_of(id), None).await);
            drop(keep_progress(&self.engine, &watched.bucket, None).await);
        }
        for (id, (bucket, value)) in found {
            match self.watched.get_mut(&id) {
                Some(watched) if watched.value == value => watched.bucket = bucket,
                Some(watched) => {
                    let pass = watched.pass.take();
                    let progress = std::mem::take(&mut watched.progress);
                    *watched = Watched { progress, ..Watched::new(bucket, value, None) };
                    watched.progress.is_running = false;
                    self.end_pass(pass.as_ref());
                }
                None => {
                    let kept = self.kept.remove(&id);
                    let watched = Watched::new(bucket, value, kept);
                    self.figures.open.fetch_add(u64::from(watched.pass.is_some()), Relaxed);
                    self.watched.insert(id, watched);
                }
            }
        }
    }

    fn end_pass(&self, pass: Option<&Pass>) {
        if pass.is_some() {
            self.figures.open.fetch_sub(1, Relaxed);
        }
    }

    /// Takes one page of each bucket that has something to do; whether there was any.
    async fn round(&mut self) -> Result<bool, Stopping> {
        let ids: Vec<BucketId> = self.watched.keys().copied().collect();
        let mut worked = false;
        for id in ids {
            // Taken out, so that it can be worked on; nothing else touches it.
            let Some(mut watched) = self.watched.remove(&id) else { continue };
            let stepped = self.step(&mut watched).await;
            self.watched.insert(id, watched);
            worked |= stepped?;
        }
        Ok(worked)
    }

    /// Takes one page of a bucket, if a pass is open or due.
    async fn step(&self, watched: &mut Watched) -> Result<bool, Stopping> {
        let (now_ms, clock) = (self.engine.now_ms(), self.config.clock);
        let day = clock.day_of(now_ms);
        if watched.pass.is_none() {
            let waits = watched.retry_ms.is_some_and(|retry_ms| now_ms < retry_ms);
            if waits || watched.covered == Some(day) {
                return Ok(false);
            }
            watched.pass = Some(Pass { day, at: Position::default(), saved_ms: now_ms });
            self.figures.open.fetch_add(1, Relaxed);
            watched.progress = Progress {
                is_running: true,
                began_ms: now_ms,
                ended_ms: watched.progress.ended_ms,
                ..Progress::default()
            };
        }
        let Some(at) = watched.pass.as_ref().map(|pass| pass.at.clone()) else { return Ok(false) };
        match self.page(watched, &at, now_ms).await {
            Ok((counts, next)) => {
                self.figures.add(&counts);
                watched.progress.counts.add(&counts);
                self.advance(watched, next, now_ms).await;
                self.keep(watched).await;
                self.pause(&counts).await;
                Ok(true)
            }
            Err(WalkError::Engine(EngineError::Stopping)) => Err(Stopping),
            Err(why) => {
                let retry_ms = LIFECYCLE_RETRY_MS.min(clock.day_ms / 4);
                watched.retry_ms = Some(now_ms.saturating_add(retry_ms));
                // The next one begins anew: where this one was may be what it failed at.
                self.end_pass(watched.pass.take().as_ref());
                self.figures.errors.fetch_add(1, Relaxed);
                let text = why.to_string();
                if watched.progress.last_error.as_ref() != Some(&text) {
                    (self.config.report)(format_args!(
                        "the lifecycle of bucket {} waits: {text}",
                        watched.bucket.name
                    ));
                }
                (watched.progress.is_running, watched.progress.last_error) = (false, Some(text));
                self.keep(watched).await;
                Ok(true)
            }
        }
    }

    async fn keep(&self, watched: &Watched) {
        // What cannot be shown now is shown after the next page.
        drop(keep_progress(&self.engine, &watched.bucket, Some(watched.progress.clone())).await);
    }

    /// Goes on behind a page, or ends the pass.
    async fn advance(&self, watched: &mut Watched, next: Option<Position>, now_ms: u64) {
        let (digest, covered) = (digest_of(&watched.value), watched.covered);
        let Some(pass) = &mut watched.pass else { return };
        match next {
            Some(next) => {
                pass.at = next;
                if pass.saved_ms.abs_diff(now_ms) < LIFECYCLE_SAVE_MS {
                    return;
                }
                pass.saved_ms = now_ms;
                let kept = Kept { digest, covered, open: Some((pass.day, pass.at.clone())) };
                drop(self.write(key_of(watched.bucket.id), Some(kept.encode())).await);
            }
            None => {
                watched.covered = Some(pass.day);
                (watched.retry_ms, watched.progress.last_error) = (None, None);
                let pass = watched.pass.take();
                self.end_pass(pass.as_ref());
                let ended_ms = self.engine.now_ms();
                (watched.progress.is_running, watched.progress.ended_ms) = (false, ended_ms);
                self.figures.passes.fetch_add(1, Relaxed);
                self.figures.last_end_ms.fetch_max(ended_ms, Relaxed);
                let kept = Kept { digest, covered: watched.covered, open: None };
                drop(self.write(key_of(watched.bucket.id), Some(kept.encode())).await);
            }
        }
    }

    /// Lets others have their turn, for as long as keeps this core within its rates.
    async fn pause(&self, counts: &Counts) {
        let us = |count: u64, per_second: u64| count.saturating_mul(1_000_000) / per_second;
        let us = us(counts.looked, LIFECYCLE_LOOKS_PER_SECOND)
            .max(us(counts.removed(), LIFECYCLE_REMOVALS_PER_SECOND));
        self.engine.sleep(Duration::from_micros(us)).await;
    }

    /// Removes what a page has, and says where to go on.
    async fn page(
        &self,
        watched: &Watched,
        at: &Position,
        now_ms: u64,
    ) -> Result<(Counts, Option<Position>), WalkError> {
        let Watched { bucket, value, .. } = watched;
        let (engine, catalog, clock) = (&self.engine, self.catalog, self.config.clock);
        let walk = Walk { engine, catalog, bucket, value, clock, counts: false };
        let Page { looked, in_tables, keys, uploads, next, .. } = walk.page(at, now_ms).await?;
        let mut counts = Counts { looked, in_tables, ..Counts::default() };
        let keys: Arc<[Bytes]> = keys.into();
        let mut from = 0;
        while from < keys.len() {
            let told = self.expire(bucket, value, keys.clone(), from).await?;
            let some = Counts::from(told);
            counts.add(&some);
            // Pages of removals are paused for one by one.
            let Some(next) = told.next else { break };
            from += next;
            self.pause(&some).await;
        }
        for upload in uploads {
            if !is_current(&self.engine, bucket, value) {
                break;
            }
            counts.uploads += u64::from(self.engine.abort_upload(bucket, upload.id).await?);
        }
        Ok((counts, next))
    }

    /// Removes what goes of some keys, those behind `from`.
    async fn expire(
        &self,
        bucket: &Arc<Bucket>,
        value: &Bytes,
        keys: Arc<[Bytes]>,
        from: usize,
    ) -> Result<Expired, WalkError> {
        let (of, value, clock) = (bucket.clone(), value.clone(), self.config.clock);
        let job = move |engine: Engine, local: LocalBucket| async move {
            let rules = Rules::new(&value).ok_or(WalkError::Rules)?.enabled().collect();
            let tables = match of.settings.get(SettingKind::CATALOG) {
                Some(_) => Some(TablePlaces::open(local.clone(), &of.name)?),
                None => None,
            };
            let walk = KeyWalk::default();
            let mut judge = RulesJudge {
                engine,
                bucket: &of,
                value: &value,
                rules,
                tables,
                clock,
                now_ms: 0,
                walk,
                keeps: false,
            };
            let keys = keys.get(from..).unwrap_or_default();
            match local.expire(keys, LIFECYCLE_REMOVALS_PER_RECORD, &mut judge).await {
                Ok(told) => Ok(told),
                // The bucket is gone, and with it all that was to go. Whatever else refuses is looked at again.
                Err(WriteError::Refused(_)) => Ok(Expired::default()),
                Err(WriteError::Engine(error)) => Err(WalkError::Engine(error)),
            }
        };
        self.engine.on_bucket_core(bucket, ValueOwner::Catalog, job).await?
    }
}

/// Whether a bucket is the same, with the same rules, and has tables if it had any.
fn is_current(engine: &Engine, bucket: &Bucket, value: &Bytes) -> bool {
    let Ok(found) = engine.bucket(&bucket.name) else { return false };
    let has_tables = |bucket: &Bucket| bucket.settings.get(SettingKind::CATALOG).is_some();
    found.id == bucket.id
        && found.settings.get(SettingKind::LIFECYCLE) == Some(value)
        && has_tables(&found) == has_tables(bucket)
}

/// Says by the rules what goes.
struct RulesJudge<'a> {
    engine: Engine,
    bucket: &'a Bucket,
    value: &'a Bytes,
    rules: Vec<Rule<'a>>,
    tables: Option<TablePlaces>,
    clock: Clock,
    now_ms: u64,
    walk: KeyWalk,
    /// The key is a file of a table.
    keeps: bool,
}

impl Judge for RulesJudge<'_> {
    fn begins(&mut self) -> bool {
        self.now_ms = self.engine.now_ms();
        is_current(&self.engine, self.bucket, self.value)
    }

    fn goes(&mut self, version: &ObjectVersion, has_older: bool) -> bool {
        if version.is_latest {
            let holds = |tables: &TablePlaces| tables.hold(&String::from_utf8_lossy(&version.key));
            self.keeps = self.tables.as_ref().is_some_and(holds);
        }
        let goes = self.walk.goes(&self.rules, self.clock, self.now_ms, version, has_older);
        goes && !self.keeps
    }
}

impl Watched {
    fn new(bucket: Arc<Bucket>, value: Bytes, kept: Option<Kept>) -> Watched {
        // What was kept of other rules says nothing of these.
        let kept = kept.filter(|kept| kept.digest == digest_of(&value));
        let (covered, open) = kept.map_or((None, None), |kept| (kept.covered, kept.open));
        let progress =
            Progress { is_running: open.is_some(), resumed: open.is_some(), ..Progress::default() };
        let pass = open.map(|(day, at)| Pass { day, at, saved_ms: 0 });
        Watched { bucket, value, covered, pass, retry_ms: None, progress }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept() {
        let at =
            Position { at_uploads: true, prefix: 3, after: Bytes::from_static(b"k\xff"), upload: 1 << 100 };
        for kept in [
            Kept { digest: [7; 16], covered: None, open: None },
            Kept { digest: [7; 16], covered: Some(20_000), open: Some((20_001, at)) },
            Kept { digest: [0; 16], covered: Some(0), open: Some((1, Position::default())) },
        ] {
            let value = kept.encode();
            assert_eq!(Kept::decode(&value), Some(kept.clone()));
            for len in 0..value.len().min(55) {
                assert_eq!(Kept::decode(&value.slice(..len)), None, "{len}");
            }
        }
        assert_eq!(Kept::decode(&Bytes::from_static(&[2; 26])), None);
    }
}
