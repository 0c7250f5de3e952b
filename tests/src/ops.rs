//! The operations of `model` on the engine, the whole contents of a store, and what may be true after an error.
//!
//! `prove` drives them. I1. Every byte of an object is compared with what its seed gives. I2. [`Possible`] knows only
//! what a client knows: an operation that failed may have happened, unless its error says that it did not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::{
    Bucket, BucketError, ETag, Engine, EngineError, ListQuery, ObjectInfo, PutCondition, PutRefused, Rename,
    Sequence, Transaction, TransactionBody, TransactionPut, UploadId, ValueOwner, WriteError,
};

use crate::conformance::{completion, content, feed, put, read, tag, transact};
use crate::machine::{Finding, Kind, find_bucket, finding};
use crate::model::{Answer, Condition, Contents, Key, Model, Object, Op};
use crate::read_back::{Looked, look};

/// Bodies of a transaction over this go to extents first.
const STAGED_BYTES: u64 = 8_192;

/// What a client knows of its uploads.
#[derive(Clone, Debug, Default)]
pub struct Slots(BTreeMap<(Key, u64), (UploadId, BTreeMap<u16, Sequence>)>);

impl Slots {
    /// Forgets an upload whose state is not known any more.
    pub fn forget(&mut self, name: Key, slot: u64) {
        self.0.remove(&(name, slot));
    }
}

fn condition(condition: Condition) -> PutCondition {
    match condition {
        Condition::None => PutCondition::None,
        Condition::IfAbsent => PutCondition::IfAbsent,
        Condition::IfPresent => PutCondition::IfPresent,
        Condition::IfMatch(seed) => PutCondition::IfMatch(vec![tag(seed)]),
    }
}

fn tag_of(etag: ETag) -> u64 {
    u64::try_from(u128::from_le_bytes(etag.md5)).unwrap_or(u64::MAX)
}

fn seeds(seeds: impl IntoIterator<Item = u64>) -> Bytes {
    seeds.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>().into()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn key(key: Key) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

/// Does what is asked. An error that is no fact about the world is a finding.
pub async fn apply(engine: &Engine, slots: &mut Slots, name: Key, op: &Op) -> Result<Answer, Looked> {
    let bucket = match (op, find_bucket(engine, name)) {
        (Op::CreateBucket, _) => {
            return match engine.create_bucket(name, Default::default()).await {
                Ok(_) => {
                    // Uploads of an earlier one of that name are no names in this one.
                    slots.0.retain(|(bucket, _), _| *bucket != name);
                    Ok(Answer::Done)
                }
                Err(BucketError::Exists) => Ok(Answer::Exists),
                Err(BucketError::Engine(e)) => Err(e.into()),
                Err(other) => Err(Looked::Finding(wrong(format!("create bucket: {other:?}")))),
            };
        }
        (Op::DeleteBucket, _) => {
            return match engine.delete_bucket(name).await {
                Ok(()) => Ok(Answer::Done),
                Err(BucketError::NotEmpty) => Ok(Answer::NotEmpty),
                Err(BucketError::NoSuchBucket) => Ok(Answer::NoBucket),
                Err(BucketError::Engine(e)) => Err(e.into()),
                Err(other) => Err(Looked::Finding(wrong(format!("delete bucket: {other:?}")))),
            };
        }
        (Op::System { values }, _) => {
            set_system(engine, values).await?;
            return Ok(Answer::Done);
        }
        (_, Ok(None)) => return Ok(Answer::NoBucket),
        (_, Ok(Some(bucket))) => bucket,
        (_, Err(error)) => return Err(error.into()),
    };
    in_bucket(engine, slots, name, &bucket, op).await
}

fn wrong(text: String) -> Finding {
    Finding { kind: Kind::Wrong, text }
}

fn settled<T>(written: Result<T, WriteError>) -> Result<Answer, Looked> {
    written.map_or_else(refused, |_| Ok(Answer::Done))
}

/// A refusal is an answer; anything else is not.
fn refused(error: WriteError) -> Result<Answer, Looked> {
    match error {
        WriteError::Refused(why) => Ok(Answer::Refused(why)),
        WriteError::Engine(error) => Err(error.into()),
    }
}

async fn in_bucket(
    engine: &Engine,
    slots: &mut Slots,
    name: Key,
    bucket: &Arc<Bucket>,
    op: &Op,
) -> Result<Answer, Looked> {
    let known = |slots: &Slots, slot: &u64| slots.0.get(&(name, *slot)).cloned();
    Ok(match op {
        Op::CreateBucket | Op::DeleteBucket | Op::System { .. } => Answer::Done,
        Op::Put { key: k, seed, size, condition: when } => {
            settled(put(engine, bucket, &key(k), *seed, *size, condition(*when)).await)?
        }
        Op::Get { key: k, from, to } => {
            let Some(reader) = engine.open(bucket, key(k)).await? else { return Ok(Answer::Bytes(None)) };
            let (sizes, size) = (reader.part_sizes(), reader.info.size);
            let seeds = reader.info.attributes.chunks_exact(8);
            let seeds = seeds.map(|seed| u64::from_le_bytes(seed.try_into().expect("8 bytes")));
            let parts: Vec<(u64, u64)> = seeds.zip(sizes).collect();
            let (from, to) = (size * from / 1_000, size * to / 1_000);
            let bytes = read(reader, from..to).await?;
            let whole: Vec<u8> = parts.iter().flat_map(|(seed, size)| content(*seed, *size)).collect();
            let at = |at: u64| usize::try_from(at).expect("test sizes fit");
            if whole.get(at(from)..at(to)) != Some(&bytes) {
                return Err(Looked::Finding(wrong(format!("wrong bytes {from}..{to} of {k}, {parts:?}"))));
            }
            Answer::Bytes(Some((parts, from, to)))
        }
        Op::Head { key: k } => {
            let info = engine.head(bucket, key(k)).await?;
            // What it is made of is told by reading it.
            match (info, look(engine, bucket, &key(k)).await?) {
                (None, None) => Answer::Object(None),
                (Some(info), Some(parts)) => Answer::Object(Some(Object { tag: tag_of(info.etag), parts })),
                other => return Err(Looked::Finding(wrong(format!("head and get differ: {other:?}")))),
            }
        }
        Op::Delete { keys } => {
            Answer::Found(engine.delete(bucket, keys.iter().map(|k| key(k)).collect()).await?)
        }
        Op::Rename { key: k, to, condition: source, target } => {
            let (source, target) = (condition(*source), condition(*target));
            let rename = Rename { key: key(k), to: key(to), token: None };
            let check = move |info: &ObjectInfo, there: Option<&ObjectInfo>| {
                source.check(Some(info.etag))?;
                target.check(there.map(|there| there.etag))
            };
            match engine.rename(bucket, rename, check).await {
                Ok(Ok(_)) => Answer::Done,
                Ok(Err(why)) => Answer::Refused(why),
                Err(error) => refused(error)?,
            }
        }
        Op::DeleteIf { key: k, condition: when } => {
            match engine.delete_if(bucket, key(k), condition(*when)).await {
                Ok(found) => Answer::Found(vec![found]),
                Err(error) => refused(error)?,
            }
        }
        Op::List { prefix, delimiter, after, max } => {
            list(engine, bucket, [prefix, delimiter, after].map(|k| key(k)), *max).await?
        }
        Op::Open { slot, key: k } => match engine.create_upload(bucket, key(k), Bytes::new()).await {
            Ok(id) => {
                slots.0.insert((name, *slot), (id, BTreeMap::new()));
                Answer::Done
            }
            Err(error) => refused(error)?,
        },
        Op::Part { slot, number, seed, size } => {
            let Some((id, _)) = known(slots, slot) else { return Ok(Answer::NoSlot) };
            let mut writer = engine.writer(bucket, *size).await?;
            feed(&mut writer, &content(*seed, *size)).await?;
            match writer.publish_part(id, *number, tag(*seed), seeds([*seed])).await {
                Ok(part) => {
                    if let Some((_, parts)) = slots.0.get_mut(&(name, *slot)) {
                        parts.insert(*number, part.sequence);
                    }
                    Answer::Done
                }
                Err(error) => refused(error)?,
            }
        }
        Op::ListParts { slot } => {
            let Some((id, _)) = known(slots, slot) else { return Ok(Answer::NoSlot) };
            match parts(engine, bucket, id).await? {
                Some(parts) => Answer::PartList(parts),
                None => Answer::Refused(PutRefused::NoSuchUpload),
            }
        }
        Op::Complete { slot, numbers, tag: named, condition: when } => {
            let Some((id, sequences)) = known(slots, slot) else { return Ok(Answer::NoSlot) };
            let listed = parts(engine, bucket, id).await?.unwrap_or_default();
            let chosen = numbers.iter().map(|number| {
                let sequence = sequences.get(number).copied().unwrap_or(Sequence(u64::MAX));
                (*number, sequence)
            });
            let chosen = chosen.collect();
            let seeds = seeds(numbers.iter().filter_map(|number| listed.get(number)).map(|(seed, _)| *seed));
            let completion = completion(chosen, condition(*when), tag(*named), seeds);
            let answer = engine.complete_upload(bucket, id, completion).await;
            if answer.is_ok() {
                slots.forget(name, *slot);
            }
            settled(answer)?
        }
        Op::Abort { slot } => {
            let Some((id, _)) = known(slots, slot) else { return Ok(Answer::NoSlot) };
            let aborted = engine.abort_upload(bucket, id).await?;
            slots.forget(name, *slot);
            if aborted { Answer::Done } else { Answer::Refused(PutRefused::NoSuchUpload) }
        }
        Op::Transact { puts, deletes, values } => {
            transaction(engine, bucket, puts, deletes, values).await?;
            Answer::Done
        }
        Op::Value { key: k } => {
            let name = key(k);
            let value = engine.on_bucket(bucket, ValueOwner::Catalog, move |bucket| async move {
                bucket.durable(bucket.last_sequence()).await?;
                Ok::<_, EngineError>(bucket.value(&name))
            });
            Answer::Value(value.await??.map(|value| number(&value)))
        }
    })
}

/// Values of the store itself belong to whoever keeps them.
const SYSTEM_OWNER: ValueOwner = ValueOwner::Catalog;

async fn set_system(engine: &Engine, values: &[(Key, Option<u64>)]) -> Result<(), EngineError> {
    let values: Vec<_> =
        values.iter().map(|(k, value)| (key(k), value.map(|value| seeds([value])))).collect();
    let set = engine.on_system(SYSTEM_OWNER, move |_, system| async move {
        system.room(2_048).await?;
        let sequence = system.append(Transaction { values, ..Transaction::default() })?;
        system.durable(sequence).await
    });
    set.await?
}

/// Everything that the store itself keeps, with the owner that [`Op::System`] sets them as. Of a damaged directory nothing
/// is told.
pub async fn system_values(engine: &Engine) -> Result<BTreeMap<String, u64>, EngineError> {
    let values = engine.on_system(SYSTEM_OWNER, |_, system| async move {
        system.check_whole()?;
        system.durable(system.last_sequence()).await?;
        let mut values = BTreeMap::new();
        system.values(b"", |k, value| {
            values.insert(text(k), number(value));
            true
        });
        Ok::<_, EngineError>(values)
    });
    values.await?
}

fn number(value: &[u8]) -> u64 {
    value.try_into().map_or(u64::MAX, u64::from_le_bytes)
}

async fn transaction(
    engine: &Engine,
    bucket: &Bucket,
    puts: &[(Key, u64, u64)],
    deletes: &[Key],
    values: &[(Key, Option<u64>)],
) -> Result<(), EngineError> {
    let (inline, large): (Vec<_>, Vec<_>) = puts.iter().partition(|(_, _, size)| *size <= STAGED_BYTES);
    let staged = large.first().map(|(k, seed, size)| (key(k), content(*seed, *size), *seed));
    let deletes: Vec<Bytes> = deletes.iter().map(|k| key(k)).collect();
    let values: Vec<(Bytes, Option<Bytes>)> =
        values.iter().map(|(k, value)| (key(k), value.map(|value| seeds([value])))).collect();
    let bytes = |size: &u64| usize::try_from(*size).expect("test sizes fit");
    let room = 2_048 + inline.iter().map(|(_, _, size)| 1_024 + bytes(size)).sum::<usize>();
    let made = transact(engine, bucket, room, staged, move |_, transaction| {
        for (k, seed, size) in inline {
            let body = TransactionBody::Inline(content(seed, size));
            let put = TransactionPut { key: key(k), body, etag: tag(seed), attributes: seeds([seed]) };
            transaction.puts.push(put);
        }
        transaction.deletes = deletes;
        transaction.values = values;
    });
    made.await.map(|_| ())
}

async fn list(
    engine: &Engine,
    bucket: &Bucket,
    [prefix, delimiter, after]: [Bytes; 3],
    max: usize,
) -> Result<Answer, Looked> {
    let (mut keys, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
    let mut query = ListQuery { prefix, delimiter, after, max };
    loop {
        let page = engine.list(bucket, query.clone()).await?;
        let count = page.objects.len() + page.prefixes.len();
        let fresh = page.objects.into_iter().all(|(k, _)| keys.insert(text(&k)));
        let fresh = fresh && page.prefixes.into_iter().all(|p| prefixes.insert(text(&p)));
        match page.next_after {
            _ if !fresh || max < count => return Err(Looked::Finding(wrong(format!("page of {query:?}")))),
            Some(next) if count == max && query.after < next => query.after = next,
            None => return Ok(Answer::Page(keys, prefixes)),
            Some(next) => return Err(Looked::Finding(wrong(format!("after {query:?} comes {next:?}")))),
        }
    }
}

async fn parts(
    engine: &Engine,
    bucket: &Bucket,
    id: UploadId,
) -> Result<Option<BTreeMap<u16, (u64, u64)>>, EngineError> {
    let listed = engine.parts(bucket, id, 0, 1_000).await?;
    Ok(listed
        .map(|parts| parts.into_iter().map(|part| (part.number, (tag_of(part.etag), part.size))).collect()))
}

/// Everything in one bucket, all bytes of all objects read.
pub async fn contents(engine: &Engine, bucket: &Bucket) -> Result<Contents, Looked> {
    let mut contents = Contents::default();
    let Answer::Page(keys, _) = list(engine, bucket, [const { Bytes::new() }; 3], 7).await? else {
        return Ok(contents);
    };
    for name in keys {
        let k = Bytes::from(name.clone().into_bytes());
        let Some(info) = engine.head(bucket, k.clone()).await? else {
            return Err(Looked::Finding(wrong(format!("{name} is listed and not there"))));
        };
        let Some(parts) = look(engine, bucket, &k).await? else {
            return Err(Looked::Finding(wrong(format!("{name} is listed and cannot be opened"))));
        };
        contents.objects.insert(name, Object { tag: tag_of(info.etag), parts });
    }
    let values = engine.on_bucket(bucket, ValueOwner::Catalog, move |bucket| async move {
        bucket.durable(bucket.last_sequence()).await?;
        let mut values = BTreeMap::new();
        bucket.values(b"", |k, value| {
            values.insert(text(k), number(value));
            true
        });
        Ok::<_, EngineError>(values)
    });
    contents.values = values.await??;
    let uploads = engine.uploads(bucket, Bytes::new(), None, 1_000).await?;
    for (slot, upload) in (0..).zip(uploads) {
        let parts = parts(engine, bucket, upload.id).await?.unwrap_or_default();
        contents.uploads.insert(slot, (text(&upload.key), parts));
    }
    Ok(contents)
}

/// Everything in a store.
pub async fn everything(engine: &Engine) -> Result<Model, Looked> {
    let mut model = Model { system: system_values(engine).await?, ..Model::default() };
    for bucket in engine.directory()?.buckets.values() {
        model.buckets.insert(bucket.name.to_string(), contents(engine, bucket).await?);
    }
    Ok(model)
}

/// All that a store may hold, as far as its client can tell.
#[derive(Clone, Debug)]
pub struct Possible {
    models: Vec<Model>,
}

/// Operations of unknown end that are followed; more say nothing new.
const UNKNOWN_MAX: usize = 64;

impl Possible {
    /// Exactly this.
    pub fn new(model: Model) -> Possible {
        Possible { models: vec![model] }
    }

    /// One of these.
    pub fn either<const N: usize>(models: [Model; N]) -> Possible {
        Possible { models: models.into() }
    }

    /// Whether one more operation of unknown end can be followed.
    pub fn has_room(&self) -> bool {
        self.models.len() < UNKNOWN_MAX
    }

    /// Any of the possible states.
    pub fn any(&self) -> &Model {
        &self.models[0]
    }

    /// Takes in what an operation answered. When the drive was `given_up` before it began, it changed nothing.
    pub fn answered(
        &mut self,
        slots: &mut Slots,
        name: Key,
        op: &Op,
        answer: Result<Answer, Looked>,
        given_up: bool,
    ) -> Result<(), Finding> {
        match answer {
            Err(Looked::Finding(found)) => Err(found.at(format!("{op:?} in {name}"))),
            // The engine was not asked, so the answer says nothing of the store.
            Ok(Answer::NoSlot) => Ok(()),
            Ok(answer) => {
                let mut wanted = Vec::new();
                let mut left = Vec::new();
                for model in std::mem::take(&mut self.models) {
                    let mut after = model.clone();
                    let want = after.apply(name, op);
                    let possible = want == answer && (!given_up || after == model);
                    if possible { left.push(after) } else { wanted.push(want) }
                }
                self.models = left;
                if self.models.is_empty() && wanted.contains(&answer) {
                    let text = format!("{op:?} in {name} was acknowledged on a drive that takes no writes");
                    return finding(Kind::Lost, text);
                }
                if self.models.is_empty() {
                    let text = format!("{op:?} in {name}: {answer:?}, expected one of {wanted:?}");
                    return finding(Kind::Wrong, text);
                }
                Ok(())
            }
            // Nothing was done.
            Err(Looked::Engine(
                EngineError::Busy { .. }
                | EngineError::BucketClosed
                | EngineError::NoFreeZone
                | EngineError::Full { .. }
                | EngineError::TooLarge { .. },
            )) => Ok(()),
            Err(Looked::Engine(_)) => {
                let slot = match op {
                    Op::Open { slot, .. }
                    | Op::Part { slot, .. }
                    | Op::Complete { slot, .. }
                    | Op::Abort { slot } => Some(*slot),
                    _ => None,
                };
                let mut after = self.models.clone();
                after.iter_mut().for_each(|model| drop(model.apply(name, op)));
                self.models.extend(after);
                // Nobody can name it any more.
                if let Some(slot) = slot {
                    slots.forget(name, slot);
                    for contents in self.models.iter_mut().filter_map(|model| model.buckets.get_mut(name)) {
                        if let Some(upload) = contents.uploads.remove(&slot) {
                            contents.orphan(upload);
                        }
                    }
                }
                let mut distinct: Vec<Model> = Vec::new();
                for model in std::mem::take(&mut self.models) {
                    if !distinct.contains(&model) {
                        distinct.push(model);
                    }
                }
                self.models = distinct;
                Ok(())
            }
        }
    }

    /// Compares with all that is in a store; that is from now on the only possible state.
    pub fn settle(&mut self, seen: &Model) -> Result<(), Finding> {
        let seen = seen.normal();
        let Some(nth) = self.models.iter().position(|model| model.normal() == seen) else {
            let lost = self.models.iter().all(|model| {
                let objects = |model: &Model| model.buckets.values().map(|b| b.objects.len()).sum::<usize>();
                objects(&seen) < objects(model)
            });
            let kind = if lost { Kind::Lost } else { Kind::Wrong };
            let wanted = self.models.last();
            return finding(
                kind,
                format!("the store holds {seen:?}, expected {wanted:?} or one of its like"),
            );
        };
        self.models = vec![self.models.swap_remove(nth)];
        Ok(())
    }
}
