//! Holds a whole store against the model of its clients: buckets, objects byte by byte, counters, races, uploads, listings.
//!
//! `run` calls it after every start, and after work without faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::{Engine, EngineError, ListQuery, ValueOwner};

use super::model::{BUCKETS, LATE_WORD, SharedModel, counter_bucket, counter_names, race_key};
use crate::machine::{Finding, Kind, find_bucket, finding};
use crate::read_back::{Looked, look};

/// Compares everything with the model; what is seen is from now on certain.
///
/// With `lenient`, errors of drives are passed over: what cannot be read is not wrong.
pub(super) async fn compare(engine: &Engine, model: &SharedModel, lenient: bool) -> Result<(), Finding> {
    let mut present: BTreeMap<Arc<str>, BTreeSet<Bytes>> = BTreeMap::new();
    let mut complete = true;
    let buckets: Vec<_> =
        model.borrow().buckets.iter().map(|(name, known)| (name.clone(), known.clone())).collect();
    for (name, known) in buckets {
        let exists = match find_bucket(engine, &name) {
            Ok(found) => found.is_some(),
            Err(_) if lenient => {
                complete = false;
                continue;
            }
            Err(e) => return finding(Kind::Lost, format!("bucket {name} cannot be looked for: {e}")),
        };
        if !known.contains(&exists) {
            return finding(Kind::Lost, format!("bucket {name} exists: {exists}, expected {known:?}"));
        }
        model.borrow_mut().buckets.insert(name, vec![exists]);
    }
    let keys: Vec<_> =
        model.borrow().keys.iter().map(|(place, state)| (place.clone(), state.known.clone())).collect();
    for ((name, key), known) in keys {
        let seen = match find_bucket(engine, &name) {
            Ok(Some(bucket)) => look(engine, &bucket, &key).await,
            Ok(None) => Ok(None),
            Err(e) => Err(e.into()),
        };
        let seen = match seen {
            Ok(seen) => seen,
            Err(Looked::Finding(found)) => return Err(found),
            Err(Looked::Engine(_)) if lenient => {
                complete = false;
                continue;
            }
            Err(Looked::Engine(e)) => {
                return finding(Kind::Lost, format!("{name}/{key:?} cannot be read: {e}"));
            }
        };
        if !known.contains(&seen) {
            let kind = if seen.is_none() || known.len() == 1 { Kind::Lost } else { Kind::Wrong };
            return finding(kind, format!("{name}/{key:?} is {seen:?}, expected one of {known:?}"));
        }
        if seen.is_some() {
            present.entry(name.clone()).or_default().insert(key.clone());
        }
        model.borrow_mut().key(&name, &key).known = vec![seen];
    }
    complete &= compare_counters(engine, model, &mut present, lenient).await?;
    complete &= compare_races(engine, model, &mut present, lenient).await?;
    complete &= compare_uploads(engine, model, lenient).await?;
    if complete {
        compare_listings(engine, &present, lenient).await?;
    }
    Ok(())
}

async fn compare_counters(
    engine: &Engine,
    model: &SharedModel,
    present: &mut BTreeMap<Arc<str>, BTreeSet<Bytes>>,
    lenient: bool,
) -> Result<bool, Finding> {
    let counters: Vec<_> =
        model.borrow().counters.iter().map(|(client, known)| (*client, known.clone())).collect();
    let mut complete = true;
    for (client, known) in counters {
        let name = counter_bucket(client);
        let Ok(bucket) = engine.bucket(name) else { continue };
        let (a, b, key) = counter_names(client);
        let values = engine.on_bucket(&bucket, ValueOwner::Catalog, move |bucket| async move {
            bucket.durable(bucket.last_sequence()).await?;
            Ok::<_, EngineError>([bucket.value(&a), bucket.value(&b)])
        });
        let (values, object) = match (values.await, look(engine, &bucket, &key).await) {
            (_, Err(Looked::Finding(found))) => return Err(found),
            (Ok(Ok(values)), Ok(object)) => (values, object),
            _ if lenient => {
                complete = false;
                continue;
            }
            (values, object) => {
                return finding(
                    Kind::Lost,
                    format!("counter {client} cannot be read: {values:?} {object:?}"),
                );
            }
        };
        let number = |value: &Option<Bytes>| {
            value.as_ref().map_or(0, |v| u64::from_le_bytes(v[..8].try_into().expect("8 bytes were set")))
        };
        let (first, second) = (number(&values[0]), number(&values[1]));
        let third = object.as_ref().map_or(0, |version| version[0].0);
        if first != second || second != third {
            return finding(
                Kind::Torn,
                format!("counter {client}: values {first} and {second}, object {third}"),
            );
        }
        if !known.contains(&first) {
            return finding(Kind::Lost, format!("counter {client} is {first}, expected one of {known:?}"));
        }
        if object.is_some() {
            present.entry(name.into()).or_default().insert(key);
        }
        model.borrow_mut().counters.insert(client, vec![first]);
    }
    Ok(complete)
}

async fn compare_races(
    engine: &Engine,
    model: &SharedModel,
    present: &mut BTreeMap<Arc<str>, BTreeSet<Bytes>>,
    lenient: bool,
) -> Result<bool, Finding> {
    let races: Vec<_> = model.borrow().races.iter().map(|(race, state)| (*race, state.clone())).collect();
    let mut complete = true;
    for (race, state) in races {
        let Ok(bucket) = engine.bucket(BUCKETS[0]) else { continue };
        let key = race_key(race);
        let seen = match look(engine, &bucket, &key).await {
            Ok(seen) => seen.map(|version| version[0].0),
            Err(Looked::Finding(found)) => return Err(found),
            Err(Looked::Engine(_)) if lenient => {
                complete = false;
                continue;
            }
            Err(Looked::Engine(e)) => return finding(Kind::Lost, format!("race {race} cannot be read: {e}")),
        };
        let right = match seen {
            None => !state.is_taken,
            Some(seed) => state.attempts.contains(&seed) && state.winner.is_none_or(|winner| winner == seed),
        };
        if !right {
            let text =
                format!("race {race}: {seen:?} won, expected {:?}, taken {}", state.winner, state.is_taken);
            return finding(Kind::Lost, text);
        }
        if seen.is_some() {
            present.entry(BUCKETS[0].into()).or_default().insert(key);
        }
        let mut model = model.borrow_mut();
        let state = model.races.entry(race).or_default();
        (state.is_taken, state.winner) = (seen.is_some(), seen);
        if seen.is_none() {
            state.attempts.clear();
        }
    }
    Ok(complete)
}

/// Open uploads are there with the parts that were acknowledged; what nobody waits for any more is aborted.
async fn compare_uploads(engine: &Engine, model: &SharedModel, lenient: bool) -> Result<bool, Finding> {
    let uploads = std::mem::take(&mut model.borrow_mut().uploads);
    let mut aborted = true;
    for ((name, id), parts) in uploads {
        let Ok(bucket) = engine.bucket(&name) else {
            return finding(Kind::Lost, format!("the bucket of upload {id} is gone"));
        };
        match engine.parts(&bucket, id, 0, 100).await {
            Err(_) if lenient => continue,
            Ok(Some(listed)) => {
                for (number, known) in parts {
                    let part = listed.iter().find(|part| part.number == number);
                    let right = match part {
                        None => known.contains(&None),
                        Some(part) => known.iter().any(|known| match known {
                            Some((sequence, size, _)) => {
                                part.size == *size && (*sequence == part.sequence || sequence.0 == 0)
                            }
                            None => false,
                        }),
                    };
                    if !right {
                        return finding(
                            Kind::Lost,
                            format!("part {number} of {id}: {part:?}, expected {known:?}"),
                        );
                    }
                }
            }
            other => return finding(Kind::Lost, format!("upload {id} is gone: {other:?}")),
        }
        // A cut here may leave it open or not: it is forgotten either way.
        aborted &= engine.abort_upload(&bucket, id).await.is_ok();
    }
    Ok(aborted || !lenient)
}

async fn compare_listings(
    engine: &Engine,
    present: &BTreeMap<Arc<str>, BTreeSet<Bytes>>,
    lenient: bool,
) -> Result<(), Finding> {
    let directory = match engine.directory() {
        Ok(directory) => directory,
        Err(_) if lenient => return Ok(()),
        Err(e) => return finding(Kind::Lost, format!("the buckets cannot be listed: {e}")),
    };
    for bucket in directory.buckets.values() {
        let mut listed = BTreeSet::new();
        let mut query = ListQuery { max: 3, ..ListQuery::default() };
        loop {
            let page = match engine.list(bucket, query.clone()).await {
                Ok(page) => page,
                Err(_) if lenient => return Ok(()),
                Err(e) => return finding(Kind::Lost, format!("{} cannot be listed: {e}", bucket.name)),
            };
            listed.extend(page.objects.into_iter().map(|(key, _)| key).filter(|key| key != LATE_WORD));
            let Some(next) = page.next_after else { break };
            query.after = next;
        }
        let none = BTreeSet::new();
        let want = present.get(&bucket.name).unwrap_or(&none);
        if listed != *want && !bucket.name.starts_with("last-") {
            return finding(Kind::Wrong, format!("{} lists {listed:?}, its keys are {want:?}", bucket.name));
        }
    }
    Ok(())
}
