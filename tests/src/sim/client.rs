//! Those who work on a store during a run: clients that change it, and a watcher that looks at what is being changed.
//!
//! `run` spawns them. I1. What may change a key, a bucket or a counter is told to the model before the engine is asked,
//! and its outcome when the engine has answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::platform::simulated::{Random, Simulator};
use nilas_engine::{
    Bucket, BucketError, Engine, EngineError, ListQuery, PutCondition, PutRefused, Rename, Renamed, Sequence,
    WriteError,
};

use super::model::{BUCKETS, SharedModel, counter_bucket, counter_names, race_key};
use crate::conformance::{completion, content, feed, put, tag, transact};
use crate::machine::{Finding, Geometry, Kind, finding};
use crate::model::Parts;
use crate::read_back::{Looked, look};

/// Keys that each client owns in each of them.
const KEYS: u64 = 3;
/// Keys that all clients race for with `IfAbsent`.
const RACES: u64 = 4;

/// One client: it does one thing after the other, and only it writes to its keys.
pub(super) struct Client {
    pub(super) engine: Engine,
    pub(super) model: SharedModel,
    pub(super) machine: Simulator,
    pub(super) random: Random,
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) geometry: Geometry,
}

impl Client {
    pub(super) async fn work(mut self, operations: u64) -> Result<(), Finding> {
        for _ in 0..operations {
            let us = self.random.below(120);
            self.machine.sleep_us(us).await;
            self.model.borrow_mut().operations += 1;
            let nth = usize::try_from(self.random.below(BUCKETS.len() as u64)).expect("an index");
            let Some(bucket) = self.bucket(BUCKETS[nth]).await? else { continue };
            match self.random.below(17) {
                0..=4 => self.put(&bucket).await?,
                5 => self.delete(&bucket).await?,
                6 => self.delete_many(&bucket).await?,
                7 => self.get(&bucket).await?,
                8 | 9 => self.multipart(&bucket).await?,
                10 | 11 => self.count().await?,
                12 | 13 => self.race().await?,
                14 => self.give_up(&bucket).await,
                15 => self.rename(&bucket).await?,
                _ => self.short_bucket().await?,
            }
            let drawn = self.random.draw();
            let mut model = self.model.borrow_mut();
            model.trace = model.trace.rotate_left(3) ^ drawn ^ self.machine.now_us();
        }
        Ok(())
    }

    fn own_key(&mut self) -> Bytes {
        let nth = self.random.below(KEYS);
        format!("own/{}/{nth}", self.number).into()
    }

    fn size(&mut self) -> u64 {
        self.geometry.draw_size(&mut self.random)
    }

    /// A seed that no other version has.
    fn seed(&mut self) -> u64 {
        (self.random.draw() >> 1).max(1)
    }

    /// A bucket of the round, made when it is not there.
    async fn bucket(&mut self, name: &str) -> Result<Option<Arc<Bucket>>, Finding> {
        if let Ok(bucket) = self.engine.bucket(name) {
            return Ok(Some(bucket));
        }
        self.model.borrow_mut().buckets.entry(name.into()).or_insert_with(|| vec![false]).push(true);
        match self.engine.create_bucket(name, Default::default()).await {
            Ok(bucket) => {
                self.model.borrow_mut().buckets.insert(name.into(), vec![true]);
                Ok(Some(bucket))
            }
            Err(BucketError::Exists) => {
                self.model.borrow_mut().buckets.insert(name.into(), vec![true]);
                Ok(self.engine.bucket(name).ok())
            }
            Err(BucketError::Engine(_)) => Ok(None),
            Err(e) => finding(Kind::Wrong, format!("create bucket {name}: {e:?}")),
        }
    }

    fn may_be_gone(&self, bucket: &str) -> bool {
        self.model.borrow().buckets.get(bucket).is_some_and(|known| known.contains(&false))
    }

    async fn put(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let (key, seed, size) = (self.own_key(), self.seed(), self.size());
        self.put_as(bucket, &key, seed, size).await
    }

    async fn put_as(
        &mut self,
        bucket: &Arc<Bucket>,
        key: &Bytes,
        seed: u64,
        size: u64,
    ) -> Result<(), Finding> {
        self.model.borrow_mut().ask(&bucket.name, key, Some(vec![(seed, size)]));
        match put(&self.engine, bucket, key, seed, size, PutCondition::None).await {
            Ok(info) if info.size == size => self.model.borrow_mut().settle(&bucket.name, key),
            // Its deletion was not acknowledged, nor will it be undone.
            Err(WriteError::Refused(PutRefused::NoSuchBucket)) if self.may_be_gone(&bucket.name) => {}
            Err(WriteError::Engine(_)) => {}
            other => return finding(Kind::Wrong, format!("put: {other:?}")),
        }
        Ok(())
    }

    async fn delete(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let key = self.own_key();
        self.delete_keys(bucket, vec![key]).await
    }

    async fn delete_many(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let keys = (0..KEYS).map(|nth| format!("own/{}/{nth}", self.number).into()).collect();
        self.delete_keys(bucket, keys).await
    }

    async fn delete_keys(&mut self, bucket: &Arc<Bucket>, keys: Vec<Bytes>) -> Result<(), Finding> {
        let mut certain = Vec::new();
        for key in &keys {
            let mut model = self.model.borrow_mut();
            let known = &model.key(&bucket.name, key).known;
            certain.push((known.len() == 1).then(|| known[0].is_some()));
            model.ask(&bucket.name, key, None);
        }
        if let Ok(found) = self.engine.delete(bucket, keys.clone()).await {
            for ((key, certain), found) in keys.iter().zip(certain).zip(found) {
                if certain.is_some_and(|there| there != found) {
                    return finding(
                        Kind::Lost,
                        format!("delete of {key:?}: was there {found}, expected {certain:?}"),
                    );
                }
                self.model.borrow_mut().settle(&bucket.name, key);
            }
        }
        Ok(())
    }

    /// Renames a key of its own that is known to have an object.
    async fn rename(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let (key, to) = (self.own_key(), self.own_key());
        let known = self.model.borrow_mut().key(&bucket.name, &key).known.clone();
        let [Some(version)] = &known[..] else { return Ok(()) };
        if key == to {
            return Ok(());
        }
        {
            let mut model = self.model.borrow_mut();
            model.ask(&bucket.name, &key, None);
            model.ask(&bucket.name, &to, Some(version.clone()));
        }
        let rename = Rename { key: key.clone(), to: to.clone(), token: None };
        match self.engine.rename(bucket, rename, |_, _| Ok::<(), ()>(())).await {
            Ok(Ok(Renamed::Done(_))) => {
                let mut model = self.model.borrow_mut();
                model.settle(&bucket.name, &key);
                model.settle(&bucket.name, &to);
            }
            Err(WriteError::Refused(PutRefused::NoSuchBucket)) if self.may_be_gone(&bucket.name) => {}
            Err(WriteError::Engine(_)) => {}
            other => return finding(Kind::Lost, format!("rename of {key:?}, which is there: {other:?}")),
        }
        Ok(())
    }

    async fn get(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let key = self.own_key();
        match look(&self.engine, bucket, &key).await {
            Err(Looked::Finding(found)) => Err(found),
            Err(Looked::Engine(_)) => Ok(()),
            Ok(seen) => {
                let mut model = self.model.borrow_mut();
                let known = &model.key(&bucket.name, &key).known;
                if known.contains(&seen) {
                    return Ok(());
                }
                finding(Kind::Lost, format!("read of {key:?}: {seen:?}, expected one of {known:?}"))
            }
        }
    }

    async fn multipart(&mut self, bucket: &Arc<Bucket>) -> Result<(), Finding> {
        let key = self.own_key();
        let Ok(id) = self.engine.create_upload(bucket, key.clone(), Bytes::new()).await else {
            return Ok(());
        };
        let place = (bucket.name.clone(), id);
        self.model.borrow_mut().uploads.insert(place.clone(), BTreeMap::new());
        for _ in 0..1 + self.random.below(4) {
            let number = 1 + u16::try_from(self.random.below(3)).expect("below 3");
            let (seed, size) = (self.seed(), self.size());
            let asked = Some((Sequence(0), size, seed));
            {
                let mut model = self.model.borrow_mut();
                let parts = model.uploads.entry(place.clone()).or_default();
                parts.entry(number).or_insert_with(|| vec![None]).push(asked);
            }
            let Ok(mut writer) = self.engine.writer(bucket, size).await else { continue };
            if feed(&mut writer, &content(seed, size)).await.is_err() {
                continue;
            }
            match writer.publish_part(id, number, tag(seed), Bytes::new()).await {
                Ok(part) => {
                    let certain = vec![Some((part.sequence, size, seed))];
                    self.model.borrow_mut().uploads.entry(place.clone()).or_default().insert(number, certain);
                }
                Err(WriteError::Refused(why)) => {
                    return finding(Kind::Lost, format!("part of an open upload: {why:?}"));
                }
                Err(WriteError::Engine(_)) => {}
            }
        }
        if self.random.one_in(4) {
            return Ok(());
        }
        let parts = self.model.borrow().uploads.get(&place).cloned().unwrap_or_default();
        let mut chosen: Vec<(u16, (Sequence, u64, u64))> = Vec::new();
        for (number, known) in parts {
            if let [Some(part)] = known[..] {
                chosen.push((number, part));
            }
        }
        // From here on nobody can say whether the upload is still open.
        self.model.borrow_mut().uploads.remove(&place);
        if chosen.is_empty() || self.random.one_in(4) {
            return match self.engine.abort_upload(bucket, id).await {
                Ok(false) => finding(Kind::Lost, "an open upload could not be aborted"),
                Ok(true) | Err(_) => Ok(()),
            };
        }
        let version: Parts = chosen.iter().map(|(_, (_, size, seed))| (*seed, *size)).collect();
        let attributes: Vec<u8> = version.iter().flat_map(|(seed, _)| seed.to_le_bytes()).collect();
        let parts = chosen.iter().map(|(number, (sequence, _, _))| (*number, *sequence)).collect();
        self.model.borrow_mut().ask(&bucket.name, &key, Some(version));
        let completion = completion(parts, PutCondition::None, tag(1), attributes.into());
        match self.engine.complete_upload(bucket, id, completion).await {
            Ok(_) => self.model.borrow_mut().settle(&bucket.name, &key),
            Err(WriteError::Refused(why)) => {
                return finding(Kind::Lost, format!("completion of an open upload: {why:?}"));
            }
            Err(WriteError::Engine(_)) => {}
        }
        Ok(())
    }

    /// Two values and an object, always set together.
    async fn count(&mut self) -> Result<(), Finding> {
        let client = self.number;
        let Some(bucket) = self.bucket(counter_bucket(client)).await? else { return Ok(()) };
        let next = self.model.borrow().counters[&client].iter().max().copied().unwrap_or(0) + 1;
        if let Some(known) = self.model.borrow_mut().counters.get_mut(&client) {
            known.push(next);
        }
        let (a, b, key) = counter_names(client);
        let body = content(next, self.size());
        let staged = Some((key, body, next));
        let settled = transact(&self.engine, &bucket, 4_096, staged, move |_, transaction| {
            let value = Bytes::copy_from_slice(&next.to_le_bytes());
            transaction.values.push((a, Some(value.clone())));
            transaction.values.push((b, Some(value)));
        });
        if settled.await.is_ok() {
            self.model.borrow_mut().counters.insert(client, vec![next]);
        }
        Ok(())
    }

    async fn race(&mut self) -> Result<(), Finding> {
        let Some(bucket) = self.bucket(BUCKETS[0]).await? else { return Ok(()) };
        let race = self.random.below(RACES) + self.epoch * RACES;
        let (seed, size) = (self.seed(), self.size());
        self.model.borrow_mut().races.entry(race).or_default().attempts.push(seed);
        let put = put(&self.engine, &bucket, &race_key(race), seed, size, PutCondition::IfAbsent).await;
        let mut model = self.model.borrow_mut();
        let state = model.races.entry(race).or_default();
        match put {
            Ok(_) if state.winner.is_some() => {
                return finding(Kind::Wrong, format!("race {race} has two winners"));
            }
            Ok(_) => (state.is_taken, state.winner) = (true, Some(seed)),
            Err(WriteError::Refused(PutRefused::PreconditionFailed)) => {
                state.is_taken = true;
                state.attempts.retain(|attempt| *attempt != seed);
            }
            Err(WriteError::Refused(why)) => return finding(Kind::Wrong, format!("race {race}: {why:?}")),
            Err(WriteError::Engine(_)) => {}
        }
        Ok(())
    }

    /// Begins an upload and goes away.
    async fn give_up(&mut self, bucket: &Arc<Bucket>) {
        let size = 131_073 + self.random.below(700_000);
        let Ok(mut writer) = self.engine.writer(bucket, size).await else { return };
        let bytes = content(1, self.random.below(size));
        drop(writer.write(bytes).await);
    }

    /// A write to an empty bucket and the deletion of that bucket at once: one of them comes first, and then the other one
    /// is refused.
    async fn contest(
        &mut self,
        bucket: &Arc<Bucket>,
        key: &Bytes,
        seed: u64,
        size: u64,
    ) -> Result<(), Finding> {
        let name = bucket.name.clone();
        {
            let mut model = self.model.borrow_mut();
            model.ask(&name, key, Some(vec![(seed, size)]));
            model.buckets.insert(name.clone(), vec![true, false]);
        }
        let written = put(&self.engine, bucket, key, seed, size, PutCondition::None);
        let both = futures_util::future::join(written, self.engine.delete_bucket(&name)).await;
        let mut model = self.model.borrow_mut();
        let exists = match &both {
            (Ok(_), Ok(())) => {
                let text = format!("{name} took a write and was deleted, and both were acknowledged");
                return finding(Kind::Lost, text);
            }
            (Ok(_), Err(BucketError::NotEmpty | BucketError::Engine(_))) => {
                model.settle(&name, key);
                vec![true]
            }
            (Err(WriteError::Refused(PutRefused::NoSuchBucket) | WriteError::Engine(_)), Ok(())) => {
                model.ask(&name, key, None);
                model.settle(&name, key);
                vec![false]
            }
            // Who is told that a bucket is gone is told so once that is durable.
            (Err(WriteError::Refused(PutRefused::NoSuchBucket)), Err(BucketError::Engine(error))) => {
                let text = format!("{name} was told to be gone, and its deletion failed: {error}");
                return finding(Kind::Wrong, text);
            }
            (Err(WriteError::Engine(_)), Err(BucketError::NotEmpty)) => vec![true],
            (Err(WriteError::Engine(_)), Err(BucketError::Engine(_))) => vec![true, false],
            other => return finding(Kind::Wrong, format!("a write to {name} and its deletion: {other:?}")),
        };
        model.buckets.insert(name, exists);
        Ok(())
    }

    /// Begins a multipart upload and forgets it: it goes with its bucket.
    async fn leave_upload(&mut self, bucket: &Arc<Bucket>) {
        let (seed, size) = (self.seed(), self.size());
        let key = Bytes::from_static(b"own/left");
        let Ok(id) = self.engine.create_upload(bucket, key, Bytes::new()).await else { return };
        let Ok(mut writer) = self.engine.writer(bucket, size).await else { return };
        if feed(&mut writer, &content(seed, size)).await.is_ok() {
            drop(writer.publish_part(id, 1, tag(seed), Bytes::new()).await);
        }
    }

    /// A bucket of the client's own comes, holds something, and goes.
    async fn short_bucket(&mut self) -> Result<(), Finding> {
        let name: Arc<str> = format!("short-{}", self.number).into();
        let Some(bucket) = self.bucket(&name).await? else { return Ok(()) };
        if self.random.one_in(2) {
            self.leave_upload(&bucket).await;
        }
        let key = Bytes::from_static(b"own/short");
        let (seed, size) = (self.seed(), self.size());
        let is_empty = {
            let mut model = self.model.borrow_mut();
            model.key(&name, &key).known == [None] && model.buckets.get(&name).is_some_and(|b| *b == [true])
        };
        if is_empty && self.random.one_in(2) {
            return self.contest(&bucket, &key, seed, size).await;
        }
        self.put_as(&bucket, &key, seed, size).await?;
        if self.random.one_in(3) {
            return Ok(());
        }
        let certain = self.model.borrow_mut().key(&name, &key).known.len() == 1;
        if !certain {
            // The put may have failed: then the bucket is empty and may go.
            self.model.borrow_mut().buckets.entry(name.clone()).or_default().push(false);
        }
        match self.engine.delete_bucket(&name).await {
            Err(BucketError::NotEmpty | BucketError::Engine(_)) => {}
            other if certain => {
                return finding(Kind::Lost, format!("a bucket that holds an object: {other:?}"));
            }
            Ok(()) => {
                self.model.borrow_mut().buckets.insert(name, vec![false]);
                return Ok(());
            }
            Err(_) => return Ok(()),
        }
        self.delete_keys(&bucket, vec![key.clone()]).await?;
        if self.model.borrow_mut().key(&name, &key).known != [None] {
            return Ok(());
        }
        self.model.borrow_mut().buckets.entry(name.clone()).or_default().push(false);
        match self.engine.delete_bucket(&name).await {
            Ok(()) => {
                self.model.borrow_mut().buckets.insert(name, vec![false]);
                Ok(())
            }
            Err(BucketError::Engine(_)) => Ok(()),
            Err(e) => finding(Kind::Wrong, format!("an empty bucket is not deleted: {e:?}")),
        }
    }
}

/// Reads, lists and is refused because of what others are about to change: what it has seen must stay, also when the power
/// goes before the writer was answered.
pub(super) struct Watcher {
    pub(super) engine: Engine,
    pub(super) model: SharedModel,
    pub(super) machine: Simulator,
}

impl Watcher {
    pub(super) async fn look(&self) -> Result<(), Finding> {
        self.machine.sleep_us(1 + self.machine.random() % 40).await;
        let (place, settled) = {
            let model = self.model.borrow();
            let changing: Vec<_> = model.keys.iter().filter(|(_, state)| 1 < state.known.len()).collect();
            let Some(nth) = self.machine.random().checked_rem(changing.len() as u64) else { return Ok(()) };
            let (place, state) = changing[usize::try_from(nth).expect("an index")];
            (place.clone(), state.settled)
        };
        let Ok(bucket) = self.engine.bucket(&place.0) else { return Ok(()) };
        let how = self.machine.random() % 3;
        if how == 0 {
            // A tag that nothing has: the refusal tells whether there is anything.
            let condition = PutCondition::IfMatch(vec![tag(u64::MAX)]);
            let exists = match self.engine.delete_if(&bucket, place.1.clone(), condition).await {
                Err(WriteError::Refused(PutRefused::PreconditionFailed)) => true,
                Err(WriteError::Refused(PutRefused::NoSuchKey)) => false,
                Err(WriteError::Refused(PutRefused::NoSuchBucket) | WriteError::Engine(_)) => return Ok(()),
                other => {
                    return finding(
                        Kind::Wrong,
                        format!("a condition that {place:?} cannot meet: {other:?}"),
                    );
                }
            };
            let mut model = self.model.borrow_mut();
            return model.observe(&place, settled, |version| version.is_some() == exists);
        }
        if how == 1 {
            let query = ListQuery { prefix: place.1.clone(), max: 1, ..ListQuery::default() };
            let Ok(page) = self.engine.list(&bucket, query).await else { return Ok(()) };
            let listed = page.objects.into_iter().find(|(key, _)| *key == place.1);
            return self.model.borrow_mut().observe(&place, settled, |version| match (version, &listed) {
                (None, None) => true,
                (Some(version), Some((_, info))) => {
                    let seeds = version.iter().flat_map(|(seed, _)| seed.to_le_bytes());
                    let size: u64 = version.iter().map(|(_, size)| size).sum();
                    size == info.size && seeds.eq(info.attributes.iter().copied())
                }
                _ => false,
            });
        }
        match look(&self.engine, &bucket, &place.1).await {
            Ok(seen) => self.model.borrow_mut().observe(&place, settled, |version| *version == seen),
            Err(Looked::Finding(found)) => Err(found),
            Err(Looked::Engine(EngineError::Corrupt(damage))) => {
                finding(Kind::Lost, format!("{place:?} on a drive without faults: {damage}"))
            }
            Err(Looked::Engine(_)) => Ok(()),
        }
    }
}
