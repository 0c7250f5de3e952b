//! Lifecycles on the simulated machine, against a model: over random histories of writes, deletes, locks, uploads, rules and
//! restarts, with days that pass by themselves, nothing goes that no rule names or that a lock protects, and nothing that a rule
//! names stays beyond its time and the bound that docs/operations.md has.
//!
//! The model shares nothing with the evaluator: it says when each version is due from the facts alone.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use nilas_catalog::Catalog;
use nilas_engine::platform::simulated::{Faults, Medium, Random, Simulator};
use nilas_engine::{
    Bucket, BucketSettings, ETag, Engine, Lock, NewObject, NewVersion, ObjectVersion, PutCondition, Removal,
    Retention, RetentionMode, Revision, SettingKind, UploadId, VersionId, VersionQuery,
};
use nilas_http::limits::LIFECYCLE_LOOK_MS;
use nilas_http::s3::attributes::Attributes;
use nilas_http::s3::lifecycle::Clock;
use nilas_http::s3::lifecycle::figures::LifecycleFigures;
use nilas_http::s3::lifecycle::rules::{
    ExpirationDocument, FilterDocument, RuleDocument, TransitionSizes, encode,
};
use nilas_http::s3::lifecycle::runner::{RunnerConfig, run};
use nilas_tests::machine::{Geometry, formatted, on_machine, start};

const GEOMETRY: Geometry = Geometry::small(2);
/// A day: long enough for twelve looks of a runner.
const DAY: u64 = 60_000;
/// A look, and what a pass over so little takes.
const BOUND: u64 = LIFECYCLE_LOOK_MS + 1_000;
const KEYS: [&str; 6] = ["a/1", "a/2", "a/3", "b/1", "b/2", "c"];
const STEPS: u64 = 150;

/// A rule in the model's words.
#[derive(Clone, Debug, Default)]
struct Spec {
    prefix: &'static str,
    tagged: bool,
    larger: Option<u64>,
    days: Option<u64>,
    marker: bool,
    noncurrent: Option<(u64, u64)>,
    abort: Option<u64>,
}

impl Spec {
    fn draw(random: &mut Random) -> Spec {
        let prefix = ["", "a/", "b/", "a/1"][random.below(4) as usize];
        let days = 1 + random.below(3);
        let plain = Spec { prefix, ..Spec::default() };
        match random.below(6) {
            0 => Spec { days: Some(days), ..plain },
            1 => Spec { days: Some(days), tagged: true, ..plain },
            2 => Spec { days: Some(days), larger: Some(100), noncurrent: Some((days, 0)), ..plain },
            3 => Spec { marker: true, noncurrent: Some((days, random.below(3))), ..plain },
            4 => Spec { noncurrent: Some((days, random.below(3))), tagged: random.below(2) == 0, ..plain },
            _ => Spec { abort: Some(days), marker: random.below(2) == 0, ..plain },
        }
    }

    fn document(&self) -> RuleDocument {
        let tags = if self.tagged { vec![("go".to_owned(), "yes".to_owned())] } else { Vec::new() };
        let filter = FilterDocument {
            and: true,
            prefix: Some(self.prefix.to_owned()),
            tags,
            larger: self.larger.map(|size| size as i64),
            smaller: None,
        };
        let expiration = match (self.days, self.marker) {
            (Some(days), _) => {
                Some(ExpirationDocument { days: Some(days as i64), ..ExpirationDocument::default() })
            }
            (None, true) => Some(ExpirationDocument { marker: Some(true), ..ExpirationDocument::default() }),
            (None, false) => None,
        };
        let newer = |newer: u64| Some(newer as i64).filter(|newer| 0 < *newer);
        RuleDocument {
            status: Some("Enabled".to_owned()),
            filter: Some(filter),
            expiration,
            noncurrent: self.noncurrent.map(|(days, count)| (Some(days as i64), newer(count))),
            abort: self.abort.map(|days| Some(days as i64)),
            ..RuleDocument::default()
        }
    }
}

/// A version as the model remembers it.
#[derive(Clone, Debug)]
struct Fact {
    version: ObjectVersion,
    tagged: bool,
    /// What made the version above it, if there is one: since then it is noncurrent.
    since: Option<u64>,
    /// When so many noncurrent objects above it had become so, nearest last.
    above: Vec<u64>,
    is_sole: bool,
}

impl Fact {
    fn is_about(&self, spec: &Spec) -> bool {
        let key = String::from_utf8_lossy(&self.version.key).into_owned();
        let filtered = spec.tagged || spec.larger.is_some();
        let fits = match self.version.is_marker {
            true => !filtered,
            false => {
                (!spec.tagged || self.tagged) && spec.larger.is_none_or(|size| size < self.version.info.size)
            }
        };
        key.starts_with(spec.prefix) && fits
    }

    /// When a rule has the version go.
    fn due(&self, spec: &Spec) -> Option<u64> {
        let midnight = |from: u64, days: u64| (from + days * DAY) / DAY * DAY + DAY;
        let made = self.version.info.modified_ms;
        if !self.is_about(spec) {
            return None;
        }
        match (self.since, self.version.is_marker) {
            (None, false) => spec.days.map(|days| midnight(made, days)),
            (None, true) if !self.is_sole => None,
            (None, true) if spec.marker => Some(made),
            (None, true) => spec.days.map(|days| midnight(made, days)),
            (Some(since), _) => {
                let (days, keeps) = spec.noncurrent?;
                let enough = match keeps {
                    0 => since,
                    keeps => *self.above.iter().rev().nth(keeps as usize - 1)?,
                };
                Some(midnight(since, days).max(enough))
            }
        }
    }

    fn first_due(&self, specs: &[Spec]) -> Option<u64> {
        specs.iter().filter_map(|spec| self.due(spec)).min()
    }
}

type Facts = BTreeMap<u64, Fact>;

async fn facts(engine: &Engine, bucket: &Bucket) -> Facts {
    let query = VersionQuery { max: 1_000, ..VersionQuery::default() };
    let page = engine.list_versions(bucket, query).await.expect("listed");
    assert!(page.next.is_none());
    let mut facts = Facts::new();
    let counts = |key: &Bytes| page.versions.iter().filter(|version| version.key == *key).count();
    let (mut since, mut above) = (None, Vec::new());
    for version in &page.versions {
        if version.is_latest {
            (since, above) = (None, Vec::new());
        }
        let attributes = Attributes::decode(&version.info.attributes).expect("own bytes");
        let fact = Fact {
            version: version.clone(),
            tagged: attributes.tags.get("go") == Some("yes"),
            since,
            above: above.clone(),
            is_sole: counts(&version.key) == 1,
        };
        if let (Some(since), false) = (since, version.is_marker) {
            above.push(since);
        }
        since = Some(version.info.modified_ms);
        facts.insert(version.info.sequence.0, fact);
    }
    facts
}

/// What a history did, and what it must find.
struct Model {
    specs: Vec<Spec>,
    before: Vec<Spec>,
    facts: Facts,
    uploads: BTreeMap<UploadId, (Bytes, u64)>,
    /// When something about a key changed that is not in its facts.
    touched: BTreeMap<Bytes, u64>,
    /// Since when the rules are in force, or the server runs.
    settled: u64,
    suspended: bool,
    gone: u64,
}

impl Model {
    /// Holds what is there against what was there. `own` is the key that the history itself changed.
    async fn look(&mut self, engine: &Engine, bucket: &Bucket, own: Option<&Bytes>) {
        let now = engine.now_ms();
        let found = facts(engine, bucket).await;
        let specs: Vec<Spec> = self.specs.iter().chain(&self.before).cloned().collect();
        for (sequence, fact) in self.facts.iter().filter(|(sequence, _)| !found.contains_key(*sequence)) {
            let key = &fact.version.key;
            assert!(!fact.version.info.lock.protects(now, false), "gone under a lock: {sequence} {fact:?}");
            if own == Some(key) {
                continue;
            }
            self.gone += 1;
            self.touched.insert(key.clone(), now);
            // The marker of a bucket that suspended versions takes the place of the null version.
            let top_is_due = self.facts.values().any(|top| {
                top.version.key == *key
                    && top.since.is_none()
                    && top.first_due(&specs).is_some_and(|due| due <= now)
            });
            let replaced = self.suspended && fact.version.info.is_null && top_is_due;
            let due = fact.first_due(&specs);
            assert!(
                replaced || due.is_some_and(|due| due <= now),
                "nobody named it at {now}: {due:?} {fact:?}"
            );
        }
        for (sequence, fact) in found.iter().filter(|(sequence, _)| !self.facts.contains_key(*sequence)) {
            let key = &fact.version.key;
            if own != Some(key) {
                assert!(fact.version.is_marker, "whose is {sequence}? {fact:?}");
                self.touched.insert(key.clone(), now);
                self.gone += 1;
            }
        }
        for fact in found.values() {
            let lock = fact.version.info.lock;
            let marks = fact.since.is_none() && !fact.version.is_marker;
            if lock.legal_hold && (!marks || self.suspended) {
                continue;
            }
            let Some(due) = fact.first_due(&self.specs) else { continue };
            let touched = self.touched.get(&fact.version.key).copied().unwrap_or_default();
            let of_key = found.values().filter(|other| other.version.key == fact.version.key);
            let until = of_key.filter_map(|other| other.version.info.lock.retention);
            let until = until.map(|retention| retention.until_ms).max().unwrap_or_default();
            // A null version below it may be what is locked.
            let held = found.values().any(|other| {
                other.version.key == fact.version.key
                    && self.suspended
                    && other.version.info.lock.protects(now, false)
            });
            let named = due.max(touched).max(self.settled).max(until);
            let last = named.div_ceil(DAY) * DAY + BOUND;
            assert!(held || now <= last, "it stays at {now}, {} after {last}: {fact:?}", now - last.min(now));
        }
        let open = engine.uploads(bucket, Bytes::new(), None, 1_000).await.expect("listed");
        let midnight = |created: u64, days: u64| (created + days * DAY) / DAY * DAY + DAY;
        let due = |key: &Bytes, created: u64, specs: &[Spec]| {
            let names = |spec: &&Spec| key.starts_with(spec.prefix.as_bytes());
            specs.iter().filter(names).filter_map(|spec| Some(midnight(created, spec.abort?))).min()
        };
        for (id, (key, created)) in &self.uploads {
            let is_open = open.iter().any(|upload| upload.id == *id);
            if !is_open {
                assert!(due(key, *created, &specs).is_some_and(|due| due <= now), "upload of {key:?} ended");
                self.gone += 1;
            } else if let Some(due) = due(key, *created, &self.specs) {
                let last = due.max(self.settled).div_ceil(DAY) * DAY + BOUND;
                assert!(now <= last, "upload of {key:?} is open at {now}, after {last}");
            }
        }
        self.uploads = open.into_iter().map(|upload| (upload.id, (upload.key, upload.created_ms))).collect();
        self.facts = found;
        self.before.clear();
    }

    /// One thing that a client, an operator or time does. Returns the key that it changed.
    async fn step(&mut self, engine: &Engine, bucket: &Arc<Bucket>, random: &mut Random) -> Option<Bytes> {
        let key = Bytes::from_static(KEYS[random.below(KEYS.len() as u64) as usize].as_bytes());
        let now = engine.now_ms();
        match random.below(20) {
            0..=5 => {
                let size = [1, 99, 200][random.below(3) as usize];
                let tags = if random.below(2) == 0 { "go=yes" } else { "" };
                let tags = nilas_http::tag_set::from_header(tags).expect("tags");
                let retention = (random.below(5) == 0).then(|| Retention {
                    mode: RetentionMode::Compliance,
                    until_ms: now + 1 + random.below(4 * DAY),
                });
                let lock = Lock { retention, legal_hold: random.below(12) == 0 };
                let mut writer = engine.writer(bucket, size).await.expect("room");
                writer.write(Bytes::from(vec![7; size as usize])).await.expect("written");
                let attributes = Attributes { tags, ..Attributes::default() }.encode();
                let (condition, etag) = (PutCondition::None, ETag::default());
                let object = NewObject { condition, etag, attributes, version: NewVersion::AsSet, lock };
                // A lock may refuse it.
                drop(writer.publish_object(key.clone(), object).await);
                self.touched.insert(key.clone(), now);
                Some(key)
            }
            6 | 7 => {
                let removal =
                    Removal { key: key.clone(), version: None, condition: PutCondition::None, bypass: false };
                drop(engine.remove(bucket, vec![removal]).await);
                self.touched.insert(key.clone(), now);
                Some(key)
            }
            8 => {
                let some = self.facts.values().nth(random.below(1 + self.facts.len() as u64) as usize);
                let version = some.map(|fact| &fact.version)?;
                let (key, of) = (version.key.clone(), Some(VersionId::Of(version.info.sequence)));
                let removal =
                    Removal { key: key.clone(), version: of, condition: PutCondition::None, bypass: false };
                drop(engine.remove(bucket, vec![removal]).await);
                self.touched.insert(key.clone(), now);
                Some(key)
            }
            9 => {
                // Takes a hold off.
                let held = |fact: &&Fact| fact.version.info.lock.legal_hold;
                let version = self.facts.values().find(held).map(|fact| fact.version.clone())?;
                let of = Some(VersionId::Of(version.info.sequence));
                let change = |info: &nilas_engine::ObjectInfo| {
                    let lock = Lock { legal_hold: false, ..info.lock };
                    Ok::<_, ()>(Revision { attributes: info.attributes.clone(), lock, bypass: false })
                };
                drop(engine.revise(bucket, version.key.clone(), of, change).await);
                self.touched.insert(version.key.clone(), now);
                Some(version.key)
            }
            10 => {
                engine.create_upload(bucket, key, Bytes::new()).await.expect("room");
                None
            }
            11 => {
                self.before = std::mem::take(&mut self.specs);
                self.specs = (0..1 + random.below(3)).map(|_| Spec::draw(random)).collect();
                let documents: Vec<RuleDocument> = self.specs.iter().map(Spec::document).collect();
                let mut made = 0;
                let value = encode(&documents, TransitionSizes::default(), || {
                    made += 1;
                    format!("rule-{made}")
                });
                let value = Some(value.expect("rules"));
                engine.set_setting("b", SettingKind::LIFECYCLE, value).await.expect("room");
                self.settled = engine.now_ms();
                None
            }
            12 if random.below(3) == 0 => {
                self.suspended = !self.suspended;
                let value = if self.suspended { "Suspended" } else { "Enabled" };
                let value = Some(Bytes::from_static(value.as_bytes()));
                engine.set_setting("b", SettingKind::VERSIONING, value).await.expect("room");
                self.settled = engine.now_ms();
                None
            }
            _ => {
                engine.sleep(std::time::Duration::from_millis(random.below(DAY * 2 / 3))).await;
                None
            }
        }
    }
}

/// Starts the runners of all cores.
fn start_runners(
    machine: &Simulator,
    engines: &[Engine],
    figures: &Arc<LifecycleFigures>,
    stop: &Rc<Cell<bool>>,
) {
    for (nth, engine) in engines.iter().enumerate() {
        let (engine, figures, stop) = (engine.clone(), figures.clone(), stop.clone());
        machine.spawn(async move {
            let catalog = Catalog::new(engine.clone(), Bytes::new(), "local");
            let clock = Clock { day_ms: DAY };
            let config = RunnerConfig { clock, forgets: nth == 0, report: |text| panic!("{text}") };
            let work = run(engine.clone(), &catalog, config, figures);
            let ended = async {
                while !stop.get() {
                    engine.sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            let (work, ended) = (std::pin::pin!(work), std::pin::pin!(ended));
            futures_util::future::select(work, ended).await;
        });
    }
}

fn history(seed: u64) -> u64 {
    let medium: Medium = formatted(GEOMETRY);
    let ran = on_machine(seed, &medium, Faults::default(), async move |machine, drive| {
        let figures: Arc<LifecycleFigures> = Arc::default();
        let mut random = Random::new(seed ^ 0x11fe);
        let mut model = Model {
            specs: Vec::new(),
            before: Vec::new(),
            facts: Facts::new(),
            uploads: BTreeMap::new(),
            touched: BTreeMap::new(),
            settled: 0,
            suspended: false,
            gone: 0,
        };
        for life in 0..3 {
            let engines = start(&machine, &drive, 2).await.expect("it starts");
            let engine = engines[0].clone();
            if life == 0 {
                let enabled = Bytes::from_static(b"Enabled");
                let settings = BucketSettings::of(SettingKind::VERSIONING, enabled);
                engine.create_bucket("b", settings).await.expect("a new name");
            }
            let stop = Rc::new(Cell::new(false));
            start_runners(&machine, &engines, &figures, &stop);
            model.settled = engine.now_ms();
            for _ in 0..STEPS / 3 {
                let bucket = engine.bucket("b").expect("there");
                let own = model.step(&engine, &bucket, &mut random).await;
                model.look(&engine, &bucket, own.as_ref()).await;
            }
            // Nothing but time for some days.
            for _ in 0..16 {
                engine.sleep(std::time::Duration::from_millis(DAY / 4)).await;
                let bucket = engine.bucket("b").expect("there");
                model.look(&engine, &bucket, None).await;
            }
            stop.set(true);
            engine.sleep(std::time::Duration::from_millis(50)).await;
            for engine in engines {
                engine.stop().await;
            }
        }
        assert_eq!(figures.errors.load(Relaxed), 0);
        assert!(0 < figures.passes.load(Relaxed));
        Ok(model.gone)
    });
    ran.expect("no finding").expect("no power cut")
}

#[test]
fn rules_remove_what_they_name_in_time_and_nothing_else() {
    let seeds = std::env::var("LIFECYCLE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let gone: u64 = (0..seeds).map(history).sum();
    // A runner that does nothing would pass by histories in which nothing is due.
    assert!(seeds * 5 < gone, "{gone} of {seeds} histories");
}
