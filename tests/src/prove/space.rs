//! A small drive that is filled, overwritten and emptied again and again, with readers that are slow, uploads that are
//! given up, a scrub, restarts and power cuts: what is stored stays whole, and space comes back.
//!
//! I1. Whatever is read is what was written with the attributes that came with it. I2. A reader that was opened before a
//! delete gives the bytes of then. I3. After everything was deleted, all zones but a counted few take large objects
//! again, and this stays so from start to start. I4. The scrub, which runs all the time, finds no damage.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use nilas_engine::platform::simulated::{Faults, Loss, Random, SimulatedDrive, Simulator};
use nilas_engine::{
    Bucket, Engine, EngineError, ListQuery, ObjectReader, PutCondition, ScrubConfig, ShardId, WriteError,
};

use super::{Tally, each_store};
use crate::conformance::{completion, content, feed, put, read, tag};
use crate::machine::{Finding, Geometry, Kind, failures, finding, formatted, on_machine, start};

const KEYS: u64 = 48;
const SESSIONS: u64 = 7;
/// Machines on which the emptied drive is filled again: what each start forgets adds up.
const RESTARTS: u64 = 4;
const READERS: usize = 5;
/// Those that race for a key, and the puts before them that fill the log.
const RACERS: u64 = 3;
const CROWD: u64 = 9;
const CROWD_BYTES: u64 = 30_000;
/// What keys begin with that nothing is expected of.
const MEASURE: &str = "measure/";
/// Bytes of the objects that measure how much fits in: two of them to a zone, in extents.
const MEASURE_BYTES: u64 = 60_000;
const MEASURE_PER_ZONE: u64 = 2;
/// Bytes of the part of an upload that goes with its bucket.
const LEFT_BYTES: u64 = 50_000;
/// Zones of the drive.
const ZONES: [u64; 4] = [36, 24, 20, 16];
/// Zones of the shard that has the bucket which hold no large object when everything was deleted: 3 kept for maintenance, 1
/// promised to the next checkpoint, 2 of pages (the newest and the one being filled), 2 of the log, 1 compaction zone being filled.
const BUSY_ZONES: u64 = 9;
/// Of one that had a bucket for a moment: 3 kept for maintenance, 1 of the log, and the next one of it or 1 of pages.
const IDLE_ZONES: u64 = 5;

/// What the client knows.
#[derive(Default)]
struct Known {
    keys: BTreeMap<Bytes, u64>,
    /// Asked and not answered: the key, and what it has if that happened.
    maybe: Option<(Bytes, Option<u64>)>,
    next_seed: u64,
    /// Objects that must fit in when everything was deleted.
    measure: u64,
    /// Highest bucket id seen.
    bucket_id: u64,
    operations: u64,
    /// Units that the scrub verified.
    scrubbed: u64,
}

type Shared = Rc<RefCell<Known>>;

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    each_store(tally, seed, count, live)
}

fn live(tally: &mut Tally, seed: u64) -> Result<(), Finding> {
    let mut random = Random::new(seed ^ 0x51ac);
    let zones = ZONES[usize::try_from(seed % ZONES.len() as u64).expect("below 4")];
    let geometry = Geometry { zones, ..Geometry::small(1 + u16::from(random.one_in(2))) };
    let medium = formatted(geometry);
    let known = Shared::default();
    let idle = IDLE_ZONES * u64::from(geometry.shards - 1);
    known.borrow_mut().measure = MEASURE_PER_ZONE * (zones - BUSY_ZONES - idle);
    for session in 0..=SESSIONS + RESTARTS {
        let calm = Faults { latency_us_max: 40, ..Faults::default() };
        let cut_at =
            (0 < session && session < SESSIONS && random.one_in(2)).then(|| 100 + random.below(1_500));
        let (kept, drawn) = (known.clone(), random.draw());
        let faults = Faults { cut_at, ..calm };
        let ended = on_machine(random.draw(), &medium, faults, async move |machine, drive| {
            let session_of = Session::start(machine, drive, kept, drawn).await?;
            if session <= SESSIONS { session_of.run(session).await } else { session_of.check_measure().await }
        })?;
        tally.note("cuts", u64::from(ended.is_none()));
        let loss = [Loss::Lose, Loss::Keep, Loss::Draw, Loss::Draw];
        medium.lose_power_as(loss[usize::try_from(random.below(4)).expect("below 4")], &mut random);
        tally.done += std::mem::take(&mut known.borrow_mut().operations);
        tally.note("units scrubbed", std::mem::take(&mut known.borrow_mut().scrubbed));
    }
    Ok(())
}

fn size_of(seed: u64) -> u64 {
    match seed % 5 {
        0 => seed * 37 % 3_000,
        1 => 20_000 + seed * 91 % 10_000,
        2 => 40_000 + seed * 53 % 100_000,
        _ => 1 + seed * 7 % 500,
    }
}

fn attributes(seed: u64) -> Bytes {
    Bytes::copy_from_slice(&seed.to_le_bytes())
}

/// What a reader gives must be what its attributes say; `expected` names the seed where it is known.
async fn check(reader: ObjectReader, expected: Option<u64>) -> Result<(), Finding> {
    let seed = reader.info.attributes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if expected.is_some_and(|expected| expected != seed) {
        return finding(Kind::Lost, format!("object {seed} where {expected:?} was acknowledged"));
    }
    let size = reader.info.size;
    match read(reader, 0..size).await {
        Ok(bytes) if bytes == content(seed, size) => Ok(()),
        Ok(_) => finding(Kind::Wrong, format!("foreign bytes in object {seed} of {size} bytes")),
        Err(EngineError::Busy { .. }) => Ok(()),
        Err(error) => finding(Kind::Lost, format!("object {seed} of {size} bytes: {error}")),
    }
}

/// Whether a change happened; without faults only a lack of room may keep it from that.
fn happened<T>(answer: Result<T, WriteError>) -> Result<bool, Finding> {
    match answer {
        Ok(_) => Ok(true),
        Err(WriteError::Refused(why)) => finding(Kind::Wrong, format!("refused: {why:?}")),
        Err(WriteError::Engine(EngineError::Full { .. } | EngineError::Busy { .. })) => Ok(false),
        Err(WriteError::Engine(error)) => finding(Kind::Wrong, format!("without a fault: {error}")),
    }
}

/// One machine.
struct Session {
    machine: Simulator,
    engine: Engine,
    bucket: Arc<Bucket>,
    known: Shared,
    random: Random,
    held: VecDeque<(ObjectReader, u64)>,
}

impl Session {
    async fn start(
        machine: Simulator,
        drive: SimulatedDrive,
        known: Shared,
        drawn: u64,
    ) -> Result<Session, Finding> {
        let mut random = Random::new(drawn);
        let engines = match start(&machine, &drive, 1 + u16::from(random.one_in(3))).await {
            Ok(engines) => engines,
            Err(text) => return finding(Kind::Lost, format!("the store does not start: {text}")),
        };
        let engine = engines.into_iter().next_back().expect("at least one core");
        let failed = failures(&engine);
        if !failed.is_empty() {
            return finding(Kind::Lost, format!("read-only after a restart: {failed:?}"));
        }
        let bucket = match engine.bucket("space") {
            Ok(bucket) => bucket,
            Err(_) => match engine.create_bucket("space", Default::default()).await {
                Ok(bucket) => bucket,
                Err(error) => return finding(Kind::Wrong, format!("no bucket: {error:?}")),
            },
        };
        Ok(Session { machine, engine, bucket, known, random, held: VecDeque::new() })
    }

    async fn run(mut self, session: u64) -> Result<(), Finding> {
        let is_last = session == SESSIONS;
        self.check_all().await?;
        self.delete_measures().await?;
        self.short_bucket().await?;
        if session == 0 {
            self.check_measure().await?;
        }
        let (failed, done) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(false)));
        self.spawn_reader(failed.clone(), done.clone());
        self.spawn_scrub(failed.clone(), done.clone());
        for _ in 0..if is_last { 40 } else { 160 } {
            self.known.borrow_mut().operations += 1;
            self.operation().await?;
            if let Some(found) = failed.borrow_mut().take() {
                return Err(found);
            }
        }
        // Full of objects of a zone's half, with small ones in between: what is left of zones has to be moved.
        if 0 < session && self.random.one_in(2) {
            self.measure().await?;
        }
        done.set(true);
        while let Some((reader, seed)) = self.held.pop_front() {
            check(reader, Some(seed)).await?;
        }
        self.audit().await?;
        self.check_all().await?;
        if is_last {
            let keys: Vec<Bytes> = self.known.borrow().keys.keys().cloned().collect();
            for key in keys {
                self.delete(key).await?;
            }
            drop(self.engine.delete(&self.bucket, vec![Bytes::from_static(b"race")]).await);
            // Those that a power cut has left open.
            for upload in
                self.engine.uploads(&self.bucket, Bytes::new(), None, 1_000).await.unwrap_or_default()
            {
                drop(self.engine.abort_upload(&self.bucket, upload.id).await);
            }
            self.check_measure().await?;
        }
        Ok(())
    }

    async fn check_measure(&self) -> Result<(), Finding> {
        let expected = self.known.borrow().measure;
        let got = self.measure().await?;
        if got < expected {
            let text = format!("{got} objects fit into the empty drive, expected {expected} or more");
            return finding(Kind::Wrong, text);
        }
        Ok(())
    }

    /// Reads anything at any time.
    fn spawn_reader(&self, failed: Rc<RefCell<Option<Finding>>>, done: Rc<Cell<bool>>) {
        let (engine, bucket, known) = (self.engine.clone(), self.bucket.clone(), self.known.clone());
        let machine = self.machine.clone();
        self.machine.spawn(async move {
            while !done.get() {
                machine.sleep_us(1 + machine.random() % 60).await;
                let key = {
                    let known = known.borrow();
                    let nth = machine.random() % (known.keys.len() as u64).max(1);
                    known.keys.keys().nth(usize::try_from(nth).expect("an index")).cloned()
                };
                let Some(key) = key else { continue };
                if let Ok(Some(reader)) = engine.open(&bucket, key).await
                    && let Err(found) = check(reader, None).await
                {
                    failed.borrow_mut().get_or_insert(found);
                }
            }
        });
    }

    /// Scrubs one pass after the other, some of them slowly.
    fn spawn_scrub(&self, failed: Rc<RefCell<Option<Finding>>>, done: Rc<Cell<bool>>) {
        let (engine, known, machine) = (self.engine.clone(), self.known.clone(), self.machine.clone());
        self.machine.spawn(async move {
            while !done.get() {
                let config = ScrubConfig {
                    bytes_per_second: [100 << 20, 1 << 30][usize::from(machine.random().is_multiple_of(2))],
                    first_after: Duration::from_micros(1 + machine.random() % 500),
                    repeat_after: Duration::from_secs(1),
                    report: |_| {},
                };
                if engine.scrub_start(config).await.is_err() {
                    return;
                }
                machine.sleep_us(machine.random() % 8_000).await;
                for state in engine.scrub_status().await.unwrap_or_default() {
                    if let Some(damaged) = state.damaged.first() {
                        let text = format!("the scrub finds damage: {damaged}");
                        failed.borrow_mut().get_or_insert(Finding { kind: Kind::Wrong, text });
                    }
                }
                let units = engine.stats().iter().map(|stats| stats.scrub_units.load(Relaxed)).sum();
                known.borrow_mut().scrubbed = units;
            }
        });
    }

    fn seed(&self) -> u64 {
        let mut known = self.known.borrow_mut();
        known.next_seed += 1;
        known.next_seed
    }

    fn key(&mut self) -> Bytes {
        format!("key/{:02}/a-longer-name-so-that-leaves-are-split", self.random.below(KEYS)).into()
    }

    /// Asks for a change of one key and notes what came of it.
    async fn change(
        &self,
        key: Bytes,
        seed: Option<u64>,
        ask: impl Future<Output = Result<bool, Finding>>,
    ) -> Result<bool, Finding> {
        self.known.borrow_mut().maybe = Some((key.clone(), seed));
        let done = ask.await?;
        let mut known = self.known.borrow_mut();
        known.maybe = None;
        match (done, seed) {
            (true, Some(seed)) => drop(known.keys.insert(key, seed)),
            (true, None) => drop(known.keys.remove(&key)),
            (false, _) => {}
        }
        Ok(done)
    }

    async fn put(&self, key: Bytes, seed: u64) -> Result<bool, Finding> {
        let ask = async {
            let asked = put(&self.engine, &self.bucket, &key, seed, size_of(seed), PutCondition::None);
            happened(asked.await)
        };
        self.change(key.clone(), Some(seed), ask).await
    }

    async fn delete(&self, key: Bytes) -> Result<bool, Finding> {
        let ask = async {
            let deleted = self.engine.delete(&self.bucket, vec![key.clone()]).await;
            happened(deleted.map_err(WriteError::Engine))
        };
        self.change(key.clone(), None, ask).await
    }

    async fn operation(&mut self) -> Result<(), Finding> {
        let key = self.key();
        match self.random.below(16) {
            0..=7 => {
                if !self.put(key, self.seed()).await? {
                    // Full: some of it goes.
                    for _ in 0..6 {
                        let key = self.key();
                        self.delete(key).await?;
                    }
                }
            }
            8 | 9 => drop(self.delete(key).await?),
            10 | 11 => self.hold(key).await?,
            12 | 13 if self.random.one_in(2) => self.race().await?,
            12 | 13 => {
                // Given up half way.
                if let Ok(mut writer) = self.engine.writer(&self.bucket, 90_000).await {
                    let written = writer.write(content(1, 70_000)).await;
                    drop(written);
                }
            }
            _ => self.upload(key).await?,
        }
        Ok(())
    }

    /// Opens an object twice, drops the second reader, and keeps the first for some time.
    async fn hold(&mut self, key: Bytes) -> Result<(), Finding> {
        let Some(seed) = self.known.borrow().keys.get(&key).copied() else { return Ok(()) };
        let first = self.engine.open(&self.bucket, key.clone()).await;
        let second = self.engine.open(&self.bucket, key).await;
        match (first, second) {
            (Ok(Some(first)), Ok(Some(_))) => self.held.push_back((first, seed)),
            (first, _) => {
                let text =
                    format!("object {seed} cannot be opened: {:?}", first.map(|found| found.is_some()));
                return finding(Kind::Lost, text);
            }
        }
        if READERS < self.held.len()
            && let Some((reader, seed)) = self.held.pop_front()
        {
            check(reader, Some(seed)).await?;
        }
        Ok(())
    }

    /// Some that want a key to be theirs alone, sometimes behind so much that they wait for room in the log.
    async fn race(&mut self) -> Result<(), Finding> {
        let key = Bytes::from_static(b"race");
        if self.engine.delete(&self.bucket, vec![key.clone()]).await.is_err() {
            return Ok(());
        }
        let crowd = if self.random.one_in(2) { CROWD } else { 0 };
        let others: Vec<Bytes> = (0..crowd).map(|nth| format!("{MEASURE}crowd/{nth}").into()).collect();
        let rows = others.iter().map(|other| (other, CROWD_BYTES, PutCondition::None));
        let asks = rows.chain((0..RACERS).map(|_| (&key, 500, PutCondition::IfAbsent)));
        let asks = asks
            .map(|(key, size, condition)| put(&self.engine, &self.bucket, key, self.seed(), size, condition));
        let answers = futures_util::future::join_all(asks).await;
        let won = answers[others.len()..].iter().filter(|answer| answer.is_ok()).count();
        if 1 < won {
            return finding(Kind::Wrong, format!("{won} have made a key that was to be absent"));
        }
        drop(self.engine.delete(&self.bucket, others).await);
        Ok(())
    }

    /// Parts, some replaced, some not chosen; completed or aborted.
    async fn upload(&mut self, key: Bytes) -> Result<(), Finding> {
        let (engine, bucket) = (self.engine.clone(), self.bucket.clone());
        let seed = self.seed();
        let Ok(upload) = engine.create_upload(&bucket, key.clone(), attributes(seed)).await else {
            return Ok(());
        };
        let size = [900, 50_000][usize::from(self.random.one_in(2))];
        let mut chosen = None;
        for (number, seed) in [(1, seed), (2, 3), (1, seed), (3, 3)] {
            let Ok(mut writer) = engine.writer(&bucket, size).await else { continue };
            if feed(&mut writer, &content(seed, size)).await.is_err() {
                continue;
            }
            let part = writer.publish_part(upload, number, tag(seed), Bytes::new()).await;
            if let (Ok(part), 1) = (part, number) {
                chosen = Some((number, part.sequence));
            }
        }
        if let Some(part) = chosen.filter(|_| self.random.one_in(2)) {
            let ask = async {
                let completion = completion(vec![part], PutCondition::None, tag(seed), attributes(seed));
                happened(engine.complete_upload(&bucket, upload, completion).await)
            };
            if self.change(key, Some(seed), ask).await? {
                return Ok(());
            }
        }
        match engine.abort_upload(&bucket, upload).await {
            Ok(true) | Err(EngineError::Full { .. } | EngineError::Busy { .. }) => Ok(()),
            other => finding(Kind::Wrong, format!("aborting an upload: {other:?}")),
        }
    }

    /// A bucket that is made and deleted has an id of its own.
    async fn short_bucket(&self) -> Result<(), Finding> {
        let Ok(bucket) = self.engine.create_bucket("short", Default::default()).await else {
            drop(self.engine.delete_bucket("short").await);
            return Ok(());
        };
        let before = std::mem::replace(&mut self.known.borrow_mut().bucket_id, bucket.id.0);
        if bucket.id.0 <= before {
            return finding(Kind::Wrong, format!("bucket id {} after {before}", bucket.id.0));
        }
        // An upload that goes with it.
        let key = Bytes::from_static(b"left");
        if let Ok(upload) = self.engine.create_upload(&bucket, key, Bytes::new()).await
            && let Ok(mut writer) = self.engine.writer(&bucket, LEFT_BYTES).await
            && feed(&mut writer, &content(3, LEFT_BYTES)).await.is_ok()
        {
            drop(writer.publish_part(upload, 1, tag(3), Bytes::new()).await);
        }
        drop(self.engine.delete_bucket("short").await);
        Ok(())
    }

    /// How many objects fit in; they are deleted again.
    async fn measure(&self) -> Result<u64, Finding> {
        let mut keys = Vec::new();
        loop {
            let key = Bytes::from(format!("{MEASURE}{}", keys.len()));
            let asked = put(&self.engine, &self.bucket, &key, 3, MEASURE_BYTES, PutCondition::None);
            if !happened(asked.await)? {
                break;
            }
            keys.push(key);
        }
        for key in &keys {
            match self.engine.delete(&self.bucket, vec![key.clone()]).await {
                Ok(_) => {}
                Err(error) => return finding(Kind::Wrong, format!("a full drive does not delete: {error}")),
            }
        }
        Ok(keys.len() as u64)
    }

    /// What a power cut has left of a measurement or a crowd.
    async fn delete_measures(&self) -> Result<(), Finding> {
        let query =
            ListQuery { prefix: Bytes::from_static(MEASURE.as_bytes()), max: 1_000, ..ListQuery::default() };
        let page = match self.engine.list(&self.bucket, query).await {
            Ok(page) => page,
            Err(error) => return finding(Kind::Wrong, format!("no listing: {error}")),
        };
        for (key, _) in page.objects {
            if let Err(error) = self.engine.delete(&self.bucket, vec![key]).await {
                return finding(Kind::Wrong, format!("a full drive does not delete: {error}"));
            }
        }
        Ok(())
    }

    async fn check_all(&self) -> Result<(), Finding> {
        let keys: Vec<(Bytes, u64)> =
            self.known.borrow().keys.iter().map(|(key, seed)| (key.clone(), *seed)).collect();
        let maybe = self.known.borrow_mut().maybe.take();
        if let Some((key, _)) = &maybe {
            // Either is right; what is there now stays.
            let found = self.engine.head(&self.bucket, key.clone()).await;
            let seed = found.ok().flatten().and_then(|info| info.attributes.first_chunk::<8>().copied());
            let seed = seed.map(u64::from_le_bytes);
            let before = self.known.borrow().keys.get(key).copied();
            let after = maybe.as_ref().and_then(|(_, seed)| *seed);
            if seed != before && seed != after {
                return finding(Kind::Wrong, format!("{seed:?} where {before:?} or {after:?} should be"));
            }
            let mut known = self.known.borrow_mut();
            match seed {
                Some(seed) => drop(known.keys.insert(key.clone(), seed)),
                None => drop(known.keys.remove(key)),
            }
        }
        let unsure = maybe.map(|(key, _)| key);
        for (key, seed) in keys.into_iter().filter(|(key, _)| Some(key) != unsure.as_ref()) {
            match self.engine.open(&self.bucket, key).await {
                Ok(Some(reader)) => check(reader, Some(seed)).await?,
                other => {
                    let text = format!("object {seed}: {:?}", other.map(|found| found.is_some()));
                    return finding(Kind::Lost, text);
                }
            }
        }
        Ok(())
    }

    async fn audit(&self) -> Result<(), Finding> {
        for shard in (0_u16..).zip(self.engine.stats()).map(|(shard, _)| ShardId(shard)) {
            for patience in (0..50).rev() {
                match self.engine.audit_space(shard).await {
                    Ok(facts) if facts.granted_bytes == facts.free_bytes + facts.used_bytes => break,
                    Ok(_) if 0 < patience => self.machine.sleep_us(200).await,
                    other => return finding(Kind::Wrong, format!("space of {shard}: {other:?}")),
                }
            }
        }
        Ok(())
    }
}
