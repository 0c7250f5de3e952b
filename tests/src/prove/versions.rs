//! Versions, delete markers, null versions and listings by page, against a list of versions per key; restarts between.
//!
//! I1. What is listed, page by page, is what the model has, in its order. I2. Every version can be opened by its name
//! and has its own bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use nilas_engine::platform::simulated::{Faults, Loss, Random, SimulatedDrive, Simulator};
use nilas_engine::{Bucket, Engine, EngineError, ListQuery, NewVersion, PutCondition, Sequence, WriteError};

use super::Tally;
use crate::conformance::{content, feed, read, tag};
use crate::machine::{Finding, Geometry, Kind, failures, finding, formatted, on_machine, start};

const SESSIONS: u64 = 5;
const OPERATIONS: u64 = 120;
const KEYS: u64 = 30;

/// One version; no seed for a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    sequence: Sequence,
    seed: Option<u64>,
    is_null: bool,
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
        let mut versions = Versions::new();
        for session in 0..SESSIONS {
            let (held, drawn) = (std::mem::take(&mut versions), Random::new(random.draw()));
            let faults = Faults { latency_us_max: 20, ..Faults::default() };
            let ended = on_machine(random.draw(), &medium, faults, async move |machine, drive| {
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
    mut versions: Versions,
    session: u64,
) -> Result<Versions, Finding> {
    let engines = match start(&machine, &drive, 1).await {
        Ok(engines) => engines,
        Err(text) => return finding(Kind::Lost, format!("the store does not start: {text}")),
    };
    let engine = &engines[0];
    let failed = failures(engine);
    if !failed.is_empty() {
        return finding(Kind::Lost, format!("read-only after a restart: {failed:?}"));
    }
    let bucket = match engine.bucket("versions") {
        Ok(bucket) => bucket,
        Err(_) if session == 0 => match engine.create_bucket("versions", Default::default()).await {
            Ok(bucket) => bucket,
            Err(error) => return finding(Kind::Wrong, format!("no bucket: {error:?}")),
        },
        Err(error) => return finding(Kind::Lost, format!("the bucket is gone: {error:?}")),
    };
    compare(engine, &bucket, &versions).await?;
    let failed = |e: EngineError| Finding { kind: Kind::Wrong, text: format!("without a fault: {e}") };
    for nth in 0..OPERATIONS {
        let number = random.below(KEYS);
        let key = Bytes::from(format!(
            "{}/{:02}",
            ["a", "b", "b/c", "d"][usize::try_from(number % 4).expect("below 4")],
            number
        ));
        let held = versions.entry(key.clone()).or_default();
        match random.below(8) {
            0..=4 => {
                let (seed, versioned) = (session * OPERATIONS + nth + 1, !random.one_in(3));
                let size = [seed * 17 % 400, seed * 17 % 400, 40_000]
                    [usize::try_from(random.below(3)).expect("below 3")];
                let mut writer = engine.writer(&bucket, size).await.map_err(failed)?;
                feed(&mut writer, &content(seed, size)).await.map_err(failed)?;
                let (none, about) = (PutCondition::None, Bytes::copy_from_slice(&seed.to_le_bytes()));
                let published = match versioned {
                    true => writer.publish_version(key.clone(), none, tag(seed), about).await,
                    false => writer.publish(key.clone(), none, tag(seed), about).await,
                };
                let info = match published {
                    Ok(info) => info,
                    Err(WriteError::Refused(_)) => {
                        return finding(Kind::Wrong, "a put without a condition is refused");
                    }
                    Err(WriteError::Engine(error)) => return Err(failed(error)),
                };
                held.retain(|version| versioned || !version.is_null);
                held.insert(0, Version { sequence: info.sequence, seed: Some(seed), is_null: !versioned });
            }
            5 => {
                let versioned = random.one_in(2);
                let version = if versioned { NewVersion::Another } else { NewVersion::Null };
                let sequence = match engine.mark_deleted(&bucket, key.clone(), version).await {
                    Ok(sequence) => sequence,
                    Err(WriteError::Refused(_)) => {
                        return finding(Kind::Wrong, "a marker without a condition is refused");
                    }
                    Err(WriteError::Engine(error)) => return Err(failed(error)),
                };
                held.retain(|version| versioned || !version.is_null);
                held.insert(0, Version { sequence, seed: None, is_null: !versioned });
            }
            6 => {
                let nth = usize::try_from(random.below(held.len() as u64 + 1)).expect("a few");
                let sequence = held.get(nth).map_or(Sequence(u64::MAX), |version| version.sequence);
                let was = engine.delete_version(&bucket, key.clone(), sequence).await.map_err(failed)?;
                if was != (nth < held.len()) {
                    return finding(Kind::Wrong, format!("deleting {sequence:?} of {key:?} answers {was}"));
                }
                held.retain(|version| version.sequence != sequence);
            }
            _ => {
                let was = engine.delete(&bucket, vec![key.clone()]).await.map_err(failed)?;
                if was != [held.iter().any(|version| version.is_null)] {
                    return finding(Kind::Wrong, format!("deleting {key:?} answers {was:?}"));
                }
                held.retain(|version| !version.is_null);
            }
        }
        if nth % 30 == 29 {
            compare(engine, &bucket, &versions).await?;
        }
    }
    compare(engine, &bucket, &versions).await?;
    Ok(versions)
}

async fn compare(engine: &Engine, bucket: &Bucket, versions: &Versions) -> Result<(), Finding> {
    let failed = |e: EngineError| Finding { kind: Kind::Lost, text: format!("cannot be read: {e}") };
    let (mut seen, mut after) = (Versions::new(), None);
    loop {
        let page = engine.list_versions(bucket, Bytes::new(), after, 7).await.map_err(failed)?;
        let Some(last) = page.last() else { break };
        after = Some((last.key.clone(), last.info.sequence));
        for found in page {
            let held = seen.entry(found.key.clone()).or_default();
            if found.is_latest != held.is_empty() {
                return finding(Kind::Wrong, format!("{:?} is the latest or not", found.key));
            }
            let seed = found.info.attributes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
            held.push(Version { sequence: found.info.sequence, seed, is_null: found.is_null });
        }
    }
    let should: Versions = versions
        .iter()
        .filter(|(_, held)| !held.is_empty())
        .map(|(key, held)| (key.clone(), held.clone()))
        .collect();
    if seen != should {
        let differs = should.iter().find(|(key, held)| seen.get(*key) != Some(held));
        return finding(Kind::Wrong, format!("versions are not {differs:?}, of {} keys", seen.len()));
    }
    for (key, version) in should.iter().flat_map(|(key, held)| held.iter().map(move |held| (key, held))) {
        let found = engine.open_version(bucket, key.clone(), Some(version.sequence)).await.map_err(failed)?;
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
