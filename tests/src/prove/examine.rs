//! What a store on a damaged medium may answer: what is right, or an error; older states only where it says that it
//! is damaged.
//!
//! I1. A shard that is not damaged holds exactly what it should. I2. One that is read-only takes no write; one that is
//! not takes them. I3. What a damaged shard cannot find, it does not call absent: an older version or an error, never
//! nothing; nor does a damaged directory a bucket. I4. Damage to what one shard has written stops no start.

use std::collections::BTreeSet;

use bytes::Bytes;
use nilas_engine::platform::simulated::{Faults, Medium, Random};
use nilas_engine::{Bucket, Engine, PutCondition, ShardId};

use crate::conformance::put;
use crate::machine::{Finding, Kind, find_bucket, finding, is_damaged, is_read_only, on_machine, start};
use crate::model::{Contents, Model};
use crate::ops::{contents, system_values};
use crate::read_back::{Looked, look};

/// How a damaged store came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is missing.
    Harmless,
    /// Something cannot be read, and it says so.
    Detected,
    /// A shard takes no writes any more.
    ReadOnly,
}

/// Buckets whose names start so are not looked at: they hold the last record of every log, which may be taken for a
/// write that was torn.
pub(super) const LAST_WORDS: &str = "w";

/// Starts on a medium that should hold the last state of `history`.
pub(super) fn examine(medium: &Medium, seed: u64, history: &[Model]) -> Result<Verdict, Finding> {
    let history = history.to_vec();
    // What one core finds the others must know.
    let cores = if Random::new(seed).one_in(2) { 2 } else { 1 };
    let ended = on_machine(seed, &medium.duplicate(), Faults::default(), async move |machine, drive| {
        match start(&machine, &drive, cores).await {
            Ok(engines) => look_at_all(&engines[0], &history).await,
            Err(text) => finding(Kind::Lost, format!("the start is refused: {text}")),
        }
    })?;
    Ok(ended.expect("nobody cuts the power"))
}

async fn look_at_all(engine: &Engine, history: &[Model]) -> Result<Verdict, Finding> {
    let last = history.last().expect("at least one state");
    let shards = (0_u16..).zip(engine.stats()).map(|(nth, _)| ShardId(nth));
    let damaged = shards.filter(|shard| is_read_only(engine, *shard)).count() > 0;
    let mut verdict = if damaged { Verdict::ReadOnly } else { Verdict::Harmless };
    match system_values(engine).await {
        Ok(seen) if seen == last.system => {}
        Ok(seen) => {
            let text = format!("the store itself has {seen:?}, expected {:?}", last.system);
            return finding(Kind::Lost, text);
        }
        Err(_) if is_damaged(engine, ShardId(0)) => {}
        Err(error) => return finding(Kind::Wrong, format!("values of the store itself: {error}")),
    }
    let names: BTreeSet<&String> = history.iter().flat_map(|model| model.buckets.keys()).collect();
    for name in names.into_iter().filter(|name| !name.starts_with(LAST_WORDS)) {
        let should = last.buckets.get(name);
        let bucket = match find_bucket(engine, name) {
            Ok(Some(bucket)) => bucket,
            Ok(None) if should.is_some() => {
                return finding(Kind::Lost, format!("bucket {name} is silently gone"));
            }
            Ok(None) => continue,
            Err(_) if is_damaged(engine, ShardId(0)) => continue,
            Err(error) => {
                return finding(Kind::Wrong, format!("bucket {name} cannot be looked for: {error}"));
            }
        };
        let past: Vec<&Contents> = history.iter().filter_map(|model| model.buckets.get(name)).collect();
        if should.is_none() && !is_damaged(engine, ShardId(0)) {
            return finding(Kind::Wrong, format!("bucket {name} is back"));
        }
        let damaged = is_damaged(engine, bucket.shard);
        let seen = look_at(engine, &bucket, should.unwrap_or(&Contents::default()), &past, damaged).await?;
        if verdict == Verdict::Harmless && !seen {
            verdict = Verdict::Detected;
        }
        let late = Bytes::from_static(b"late");
        let written = put(engine, &bucket, &late, 1, 10, PutCondition::None).await;
        let taken = written.is_ok();
        if taken == is_read_only(engine, bucket.shard) {
            return finding(Kind::Wrong, format!("damaged {damaged}, a write in {name}: {written:?}"));
        }
    }
    Ok(verdict)
}

/// Looks at every key that a bucket ever had; whether all could be read and is right.
async fn look_at(
    engine: &Engine,
    bucket: &Bucket,
    should: &Contents,
    past: &[&Contents],
    damaged: bool,
) -> Result<bool, Finding> {
    let mut whole = true;
    let keys: BTreeSet<&String> = past.iter().flat_map(|contents| contents.objects.keys()).collect();
    for key in keys {
        let want = should.objects.get(key).map(|object| &object.parts);
        match look(engine, bucket, &Bytes::from(key.clone().into_bytes())).await {
            Err(Looked::Finding(found)) => return Err(found),
            Err(Looked::Engine(_)) => whole = false,
            Ok(seen) if seen.as_ref() == want => {}
            Ok(seen) => {
                whole = false;
                // Older, but not absent: what a damaged shard cannot find may be in what it could not read.
                let was = seen.is_some()
                    && past.iter().any(|contents| {
                        contents.objects.get(key).map(|object| &object.parts) == seen.as_ref()
                    });
                if !damaged || !was {
                    let text =
                        format!("{}/{key} is {seen:?}, expected {want:?}, damaged {damaged}", bucket.name);
                    return finding(Kind::Lost, text);
                }
            }
        }
    }
    match contents(engine, bucket).await {
        Err(Looked::Finding(found)) => Err(found),
        Err(Looked::Engine(_)) => Ok(false),
        Ok(seen) => {
            let normal = |contents: &Contents| {
                let mut model = Model::default();
                model.buckets.insert(String::new(), contents.clone());
                model.normal()
            };
            let right = normal(&seen) == normal(should);
            if !right && !damaged {
                return finding(Kind::Lost, format!("{} holds {seen:?}, expected {should:?}", bucket.name));
            }
            Ok(whole && right)
        }
    }
}
