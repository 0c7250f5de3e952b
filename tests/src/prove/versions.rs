//! Versions, delete markers, null versions, locks, new attributes and listings by page, against a list of versions per key;
//! restarts between, and versioning that is suspended and enabled again.
//!
//! I1. What is listed, page by page, is what the model has, in its order. I2. Every version can be opened by its name
//! and has its own bytes. I3. What a lock protects is refused and stays, whichever way its removal is asked for; a clock
//! that goes back at a restart makes no exception.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::platform::simulated::{Faults, Loss, Random, SimulatedDrive, Simulator};
use nilas_engine::{
    Bucket, BucketSettings, Engine, EngineError, Found, ListQuery, Lock, NewObject, NewVersion, PutCondition,
    PutRefused, Removal, Rename, Renamed, Retention, RetentionMode, Revision, Sequence, SettingKind,
    VersionId, VersionQuery, Versioning, WriteError,
};

use super::Tally;
use crate::conformance::{content, feed, read, tag};
use crate::machine::{Finding, Geometry, Kind, failures, finding, formatted, on_machine, start};

const SESSIONS: u64 = 5;
const OPERATIONS: u64 = 120;
const KEYS: u64 = 30;
/// A bucket whose versioning changes, and one with object lock.
const BUCKETS: [&str; 2] = ["versions", "locked"];

/// One version; no seed for a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    sequence: Sequence,
    seed: Option<u64>,
    /// What its attributes say: its seed, or what they were exchanged for.
    about: Option<u64>,
    is_null: bool,
    lock: Lock,
}

impl Version {
    fn name(&self) -> VersionId {
        if self.is_null { VersionId::Null } else { VersionId::Of(self.sequence) }
    }
}

/// Versions of all keys, newest first.
type Versions = BTreeMap<Bytes, Vec<Version>>;

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    for seed in seed.. {
        if count <= tally.done {
            break;
        }
        tally.place = format!("--seed {seed} --count 1");
        let mut random = Random::new(seed ^ 0x7e51);
        let medium = formatted(Geometry::small(1 + u16::from(random.one_in(2))));
        let mut versions = [Versions::new(), Versions::new()];
        for session in 0..SESSIONS {
            let (held, drawn) = (std::mem::take(&mut versions), Random::new(random.draw()));
            let faults = Faults { latency_us_max: 20, ..Faults::default() };
            let ended = on_machine(random.draw(), &medium, faults, async move |machine, drive| {
                // A machine's clock begins at the same moment whenever it is started: most restarts set it back.
                machine.sleep_us(3_000_000 * ((session * 7) % 3)).await;
                live(machine, drive, drawn, held, session).await
            })?;
            versions = ended.expect("nobody cuts the power");
            medium.lose_power_as([Loss::Lose, Loss::Draw][usize::from(random.one_in(2))], &mut random);
            tally.done += OPERATIONS;
            tally.note("restarts", 1);
        }
    }
    Ok(())
}

async fn live(
    machine: Simulator,
    drive: SimulatedDrive,
    mut random: Random,
    mut versions: [Versions; 2],
    session: u64,
) -> Result<[Versions; 2], Finding> {
    let engines = match start(&machine, &drive, 1).await {
        Ok(engines) => engines,
        Err(text) => return finding(Kind::Lost, format!("the store does not start: {text}")),
    };
    let engine = &engines[0];
    let failed = failures(engine);
    if !failed.is_empty() {
        return finding(Kind::Lost, format!("read-only after a restart: {failed:?}"));
    }
    let (mut buckets, mut versioning) = (Vec::new(), [Versioning::Unset, Versioning::Enabled]);
    for name in BUCKETS {
        let bucket = match engine.bucket(name) {
            Ok(bucket) => bucket,
            Err(_) if session == 0 => create(engine, name).await?,
            Err(error) => return finding(Kind::Lost, format!("the bucket is gone: {error:?}")),
        };
        buckets.push(bucket);
    }
    versioning[0] = buckets[0].settings.versioning().unwrap_or_default();
    for (bucket, versions) in buckets.iter().zip(&versions) {
        compare(engine, bucket, versions).await?;
    }
    for nth in 0..OPERATIONS {
        if random.one_in(40) {
            versioning[0] = [Versioning::Enabled, Versioning::Suspended][usize::from(random.one_in(2))];
            let value = versioning[0].value().map(|value| Bytes::from_static(value.as_bytes()));
            match engine.set_setting(BUCKETS[0], SettingKind::VERSIONING, value).await {
                Ok(set) => buckets[0] = set,
                Err(error) => return finding(Kind::Wrong, format!("versioning is refused: {error:?}")),
            }
        }
        if random.one_in(10) {
            machine.sleep_us(random.below(600_000)).await;
        }
        let at = usize::from(random.one_in(2));
        let locks = at == 1;
        let one = Step { engine, bucket: &buckets[at], versioning: versioning[at], locks };
        let seed = session * (OPERATIONS + 1) + nth + 1;
        one.step(&mut random, &mut versions[at], seed).await?;
        if nth % 30 == 29 {
            compare(engine, &buckets[at], &versions[at]).await?;
        }
    }
    for (bucket, versions) in buckets.iter().zip(&versions) {
        compare(engine, bucket, versions).await?;
    }
    // What was acknowledged last is there after the power went, with nothing behind it that would have made it so.
    let at = usize::from(random.one_in(2));
    let last = Step { engine, bucket: &buckets[at], versioning: versioning[at], locks: at == 1 };
    last.step(&mut random, &mut versions[at], (session + 1) * (OPERATIONS + 1)).await?;
    Ok(versions)
}

async fn create(engine: &Engine, name: &str) -> Result<Arc<Bucket>, Finding> {
    let settings = match name == BUCKETS[1] {
        false => BucketSettings::default(),
        true => BucketSettings::of(SettingKind::VERSIONING, Bytes::from_static(b"Enabled"))
            .with(SettingKind::LOCK, Some(Bytes::new())),
    };
    match engine.create_bucket(name, settings).await {
        Ok(bucket) => Ok(bucket),
        Err(error) => finding(Kind::Wrong, format!("no bucket: {error:?}")),
    }
}

/// Where one operation is done.
struct Step<'a> {
    engine: &'a Engine,
    bucket: &'a Arc<Bucket>,
    versioning: Versioning,
    locks: bool,
}

fn wrong<T>(text: String) -> Result<T, Finding> {
    finding(Kind::Wrong, text)
}

fn told<T>(told: Result<T, WriteError>) -> Result<Result<T, PutRefused>, Finding> {
    match told {
        Ok(value) => Ok(Ok(value)),
        Err(WriteError::Refused(refused)) => Ok(Err(refused)),
        Err(WriteError::Engine(error)) => wrong(format!("without a fault: {error}")),
    }
}

impl Step<'_> {
    async fn step(&self, random: &mut Random, versions: &mut Versions, seed: u64) -> Result<(), Finding> {
        let number = random.below(KEYS);
        let key = Bytes::from(format!(
            "{}/{:02}",
            ["a", "b", "b/c", "d"][usize::try_from(number % 4).expect("below 4")],
            number
        ));
        if random.one_in(12) {
            let to = Bytes::from(format!("a/{:02}", random.below(KEYS) / 4 * 4));
            return self.rename(key, to, versions).await;
        }
        let held = versions.entry(key.clone()).or_default();
        match random.below(12) {
            0..=4 => self.put(random, key, held, seed).await,
            5 => self.mark(random, key, held).await,
            6 | 7 => self.remove_version(random, key, held).await,
            8 => self.remove(random, key, held).await,
            _ => self.revise(random, key, held, seed).await,
        }
    }

    /// A lock that ends soon, so that both sides of its end are met.
    fn lock(&self, random: &mut Random) -> Lock {
        if !self.locks {
            return Lock::NONE;
        }
        let mode = [RetentionMode::Governance, RetentionMode::Compliance][usize::from(random.one_in(2))];
        let until_ms = self.engine.now_ms() + random.below(4_000);
        let retention = (!random.one_in(3)).then_some(Retention { mode, until_ms });
        Lock { retention, legal_hold: random.one_in(8) }
    }

    fn protects(&self, version: &Version, bypass: bool) -> bool {
        version.lock.protects(self.engine.now_ms(), bypass)
    }

    /// Whether the null version that a key has is protected.
    fn keeps_null(&self, held: &[Version]) -> bool {
        held.iter().any(|version| version.is_null && self.protects(version, false))
    }

    async fn put(
        &self,
        random: &mut Random,
        key: Bytes,
        held: &mut Vec<Version>,
        seed: u64,
    ) -> Result<(), Finding> {
        let failed = |e: EngineError| Finding { kind: Kind::Wrong, text: format!("without a fault: {e}") };
        let version = [NewVersion::AsSet, NewVersion::AsSet, NewVersion::Another, NewVersion::Null]
            [usize::try_from(random.below(4)).expect("below 4")];
        let versioned = match version {
            NewVersion::AsSet => self.versioning == Versioning::Enabled,
            other => other == NewVersion::Another,
        };
        let size =
            [seed * 17 % 400, seed * 17 % 400, 40_000][usize::try_from(random.below(3)).expect("below 3")];
        let mut writer = self.engine.writer(self.bucket, size).await.map_err(failed)?;
        feed(&mut writer, &content(seed, size)).await.map_err(failed)?;
        let lock = self.lock(random);
        let object = NewObject {
            condition: PutCondition::None,
            etag: tag(seed),
            attributes: Bytes::copy_from_slice(&seed.to_le_bytes()),
            version,
            lock,
        };
        let protected = !versioned && self.keeps_null(held);
        match told(writer.publish_object(key, object).await)? {
            Err(PutRefused::Locked) if protected => Ok(()),
            Err(refused) => wrong(format!("a put without a condition: {refused}")),
            // The end of a retention may have come between.
            Ok(_) if protected && !versioned && self.keeps_null(held) => {
                wrong("a put replaced a null version that a lock protects".to_owned())
            }
            Ok(info) => {
                held.retain(|version| versioned || !version.is_null);
                let (about, is_null) = (Some(seed), !versioned);
                held.insert(0, Version { sequence: info.sequence, seed: about, about, is_null, lock });
                Ok(())
            }
        }
    }

    async fn mark(&self, random: &mut Random, key: Bytes, held: &mut Vec<Version>) -> Result<(), Finding> {
        let versioned = random.one_in(2);
        let version = if versioned { NewVersion::Another } else { NewVersion::Null };
        match told(self.engine.mark_deleted(self.bucket, key, version).await)? {
            Err(PutRefused::Locked) if !versioned && held.iter().any(|version| version.is_null) => Ok(()),
            Err(refused) => wrong(format!("a marker: {refused}")),
            Ok(_) if !versioned && self.keeps_null(held) => {
                wrong("a marker replaced a null version that a lock protects".to_owned())
            }
            Ok(sequence) => {
                held.retain(|version| versioned || !version.is_null);
                put_marker(held, sequence, !versioned);
                Ok(())
            }
        }
    }

    async fn remove_version(
        &self,
        random: &mut Random,
        key: Bytes,
        held: &mut Vec<Version>,
    ) -> Result<(), Finding> {
        let nth = usize::try_from(random.below(held.len() as u64 + 1)).expect("a few");
        let name = held.get(nth).map_or(VersionId::Of(Sequence(u64::MAX)), Version::name);
        let bypass = random.one_in(3);
        let before = held.get(nth).is_some_and(|version| self.protects(version, bypass));
        let removal = Removal { key, version: Some(name), condition: PutCondition::None, bypass };
        let answer = told(self.engine.remove(self.bucket, vec![removal]).await)?;
        let after = held.get(nth).is_some_and(|version| self.protects(version, bypass));
        match answer.map(|mut answers| answers.pop()) {
            Ok(Some(Err(PutRefused::Locked))) if before => Ok(()),
            Ok(Some(Ok(removed))) if !after => {
                let was_marker = held.get(nth).is_some_and(|version| version.seed.is_none());
                if (removed.found, removed.was_marker) != (nth < held.len(), was_marker) {
                    return wrong(format!("removing {name:?} answers {removed:?}"));
                }
                if nth < held.len() {
                    held.remove(nth);
                }
                Ok(())
            }
            other => wrong(format!("removing {name:?}, protected {before} and {after}: {other:?}")),
        }
    }

    /// What is renamed is the null version of its new key; a bucket that keeps versions, or did, renames nothing.
    async fn rename(&self, key: Bytes, to: Bytes, versions: &mut Versions) -> Result<(), Finding> {
        let top = versions.get(&key).and_then(|held| held.first()).copied();
        let object = top.filter(|version| version.seed.is_some());
        let rename = Rename { key: key.clone(), to: to.clone(), token: None };
        let answer = told(self.engine.rename(self.bucket, rename, |_, _| Ok::<(), ()>(())).await)?;
        match (answer, object) {
            (Err(PutRefused::KeepsVersions), _) if self.versioning != Versioning::Unset => Ok(()),
            (Err(PutRefused::NoSuchKey), None) if self.versioning == Versioning::Unset => Ok(()),
            (Ok(Ok(Renamed::Done(info))), Some(object)) if self.versioning == Versioning::Unset => {
                if key != to {
                    versions.entry(key).or_default().remove(0);
                    let held = versions.entry(to).or_default();
                    held.retain(|version| !version.is_null);
                    held.insert(0, Version { sequence: info.sequence, is_null: true, ..object });
                }
                Ok(())
            }
            (answer, object) => wrong(format!("renaming {object:?}: {answer:?}")),
        }
    }

    async fn remove(&self, random: &mut Random, key: Bytes, held: &mut Vec<Version>) -> Result<(), Finding> {
        let keeps = self.versioning != Versioning::Enabled && self.keeps_null(held);
        let removal = Removal { key, version: None, condition: PutCondition::None, bypass: random.one_in(2) };
        let answer = told(self.engine.remove(self.bucket, vec![removal]).await)?;
        match answer.map(|mut answers| answers.pop()) {
            Ok(Some(Ok(removed))) if !keeps => match (self.versioning, removed.marker) {
                (Versioning::Unset, None) => {
                    if removed.found != held.iter().any(|version| version.is_null) {
                        return wrong(format!("deleting a key answers {removed:?}"));
                    }
                    held.retain(|version| !version.is_null);
                    Ok(())
                }
                (Versioning::Enabled, Some(VersionId::Of(sequence))) => {
                    put_marker(held, sequence, false);
                    Ok(())
                }
                (Versioning::Suspended, Some(VersionId::Null)) => {
                    held.retain(|version| !version.is_null);
                    // Its sequence is not told: the listing says it.
                    put_marker(held, Sequence(0), true);
                    Ok(())
                }
                _ => wrong(format!("deleting a key answers {removed:?}")),
            },
            other => wrong(format!("deleting a key: {other:?}")),
        }
    }

    async fn revise(
        &self,
        random: &mut Random,
        key: Bytes,
        held: &mut [Version],
        seed: u64,
    ) -> Result<(), Finding> {
        let nth = usize::try_from(random.below(held.len() as u64 + 1)).expect("a few");
        let name = held.get(nth).map_or(VersionId::Of(Sequence(u64::MAX)), Version::name);
        let (lock, bypass, about) = (self.lock(random), random.one_in(3), seed + 1_000_000);
        let attributes = Bytes::copy_from_slice(&about.to_le_bytes());
        let change = move |_: &_| Ok::<_, ()>(Revision { attributes: attributes.clone(), lock, bypass });
        let may = |version: &Version| version.lock.may_become(&lock, self.engine.now_ms(), bypass);
        let before = held.get(nth).is_none_or(may);
        let answer = told(self.engine.revise(self.bucket, key, Some(name), change).await)?;
        let after = held.get(nth).is_none_or(may);
        let found = held.get_mut(nth).filter(|version| version.seed.is_some());
        match (answer, found) {
            (Err(PutRefused::NoSuchVersion), None) => Ok(()),
            (Err(PutRefused::Locked), Some(_)) if !before => Ok(()),
            (Ok(Ok(info)), Some(version)) if after => {
                if (info.sequence, info.lock) != (version.sequence, lock) {
                    return wrong(format!("{version:?} became {info:?}"));
                }
                (version.about, version.lock) = (Some(about), lock);
                Ok(())
            }
            (answer, found) => wrong(format!("revising {found:?} to {lock:?}, bypass {bypass}: {answer:?}")),
        }
    }
}

fn put_marker(held: &mut Vec<Version>, sequence: Sequence, is_null: bool) {
    held.insert(0, Version { sequence, seed: None, about: None, is_null, lock: Lock::NONE });
}

async fn compare(engine: &Engine, bucket: &Bucket, versions: &Versions) -> Result<(), Finding> {
    let failed = |e: EngineError| Finding { kind: Kind::Lost, text: format!("cannot be read: {e}") };
    let mut seen = Versions::new();
    let mut query = VersionQuery { max: 7, ..VersionQuery::default() };
    loop {
        let page = engine.list_versions(bucket, query.clone()).await.map_err(failed)?;
        for found in page.versions {
            let held = seen.entry(found.key.clone()).or_default();
            if found.is_latest != held.is_empty() {
                return finding(Kind::Wrong, format!("{:?} is the latest or not", found.key));
            }
            let about = found.info.attributes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
            let md5 = u128::from_le_bytes(found.info.etag.md5);
            let seed = (!found.is_marker).then(|| u64::try_from(md5).unwrap_or(u64::MAX));
            let (sequence, is_null, lock) = (found.info.sequence, found.info.is_null, found.info.lock);
            held.push(Version { sequence, seed, about, is_null, lock });
        }
        let Some((after, version)) = page.next else { break };
        (query.after, query.after_version) = (after, version.map(VersionId::Of));
    }
    let should: Versions = versions
        .iter()
        .filter(|(_, held)| !held.is_empty())
        .map(|(key, held)| {
            let mut held = held.clone();
            // A null marker whose sequence was not told.
            for (version, seen) in held.iter_mut().zip(seen.get(key).into_iter().flatten()) {
                if version.sequence == Sequence(0) {
                    version.sequence = seen.sequence;
                }
            }
            (key.clone(), held)
        })
        .collect();
    if seen != should {
        let differs = should.iter().find(|(key, held)| seen.get(*key) != Some(held));
        let instead = differs.and_then(|(key, _)| seen.get(key));
        return finding(
            Kind::Wrong,
            format!("versions are not {differs:?} but {instead:?}, of {} keys", seen.len()),
        );
    }
    for (key, version) in should.iter().flat_map(|(key, held)| held.iter().map(move |held| (key, held))) {
        let found = engine.open_version(bucket, key.clone(), Some(version.name())).await.map_err(failed)?;
        if matches!(found, Found::Marker(_)) != version.seed.is_none() {
            return finding(Kind::Wrong, format!("{version:?} of {key:?} is a marker or not"));
        }
        let found = found.object();
        let size = found.as_ref().map(|reader| reader.info.size);
        let bytes = match found {
            Some(reader) => Some(read(reader, 0..size.unwrap_or(0)).await.map_err(failed)?),
            None => None,
        };
        let should = version.seed.zip(size).map(|(seed, size)| content(seed, size));
        if bytes != should || version.seed.is_some() != size.is_some() {
            return finding(Kind::Wrong, format!("bytes of {version:?} of {key:?}"));
        }
    }
    let current = |held: &Vec<Version>| held.first().is_some_and(|version| version.seed.is_some());
    let keys: Vec<&Bytes> = should.iter().filter(|(_, held)| current(held)).map(|(key, _)| key).collect();
    for delimiter in ["", "/"] {
        let rolled = |key: &Bytes| match key.iter().position(|byte| *byte == b'/') {
            Some(at) if delimiter == "/" => key.slice(..=at),
            _ => key.clone(),
        };
        let should: BTreeSet<Bytes> = keys.iter().map(|key| rolled(key)).collect();
        for max in [1, 3, 1_000] {
            let (mut seen, mut after) = (Vec::new(), Bytes::new());
            loop {
                let query = ListQuery { prefix: Bytes::new(), delimiter: delimiter.into(), after, max };
                let page = engine.list(bucket, query).await.map_err(failed)?;
                seen.extend(page.objects.into_iter().map(|(key, _)| key));
                seen.extend(page.prefixes);
                match page.next_after {
                    Some(next) => after = next,
                    None => break,
                }
            }
            seen.sort();
            if !seen.iter().eq(&should) {
                return finding(
                    Kind::Wrong,
                    format!("a listing by {max} has {}, not {}", seen.len(), should.len()),
                );
            }
        }
    }
    Ok(())
}
