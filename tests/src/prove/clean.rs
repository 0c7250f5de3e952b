//! A drive that is always nearly full, written by several clients at once with objects that stand in the log, so that
//! checkpoints, cleaning and giving zones back never rest; then the power goes, often soon after a write has failed.
//!
//! I1. What was acknowledged, and what was read, is there afterwards. I2. Reads give the bytes of what was written, also
//! while these bytes are moved. I3. Operations that take a thousand times longer, and writes that fail, change nothing of
//! this.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use nilas_engine::platform::simulated::{Faults, Loss, Random, Rates, SimulatedDrive, Simulator};
use nilas_engine::{Bucket, Engine, EngineError, PutCondition, WriteError};

use super::{Tally, each_store};
use crate::conformance::{content, put, read};
use crate::machine::{Finding, Geometry, Kind, failures, finding, formatted, on_machine, start};

const WRITERS: u64 = 3;
/// Keys of one writer.
const KEYS: u64 = 20;
const SESSIONS: u64 = 12;
/// Operations of one writer in a session.
const OPERATIONS: u64 = 60;
/// Drive steps of a session up to which the power goes.
const CUT_MAX: u64 = 900;
/// The same from the first write on that has failed.
const CUT_AFTER_ERROR_MAX: u64 = 80;
/// Operations of unknown end after which a writer gives up.
const ERRORS_MAX: u64 = 4;
/// Reads of one reader in a session.
const READS_MAX: u64 = 1_000;

/// What a key may hold: the seed of its object. One entry when that is certain; they are in the order of asking.
#[derive(Clone, Debug)]
struct Held {
    known: Vec<Option<u64>>,
    /// Rises with every answer that makes something certain.
    answers: u64,
}

type Shared = Rc<RefCell<BTreeMap<Bytes, Held>>>;

pub(super) fn run(tally: &mut Tally, seed: u64, count: u64) -> Result<(), Finding> {
    each_store(tally, seed, count, live)
}

fn live(tally: &mut Tally, seed: u64) -> Result<(), Finding> {
    let mut random = Random::new(seed ^ 0xc1ea);
    let shards = 1 + u16::from(random.one_in(3));
    let geometry = Geometry { zones: 12 + 5 * (u64::from(shards) - 1), ..Geometry::small(shards) };
    let medium = formatted(geometry);
    let keys = (0..WRITERS).flat_map(|writer| (0..KEYS).map(move |nth| name(writer, nth)));
    let known: Shared =
        Rc::new(RefCell::new(keys.map(|key| (key, Held { known: vec![None], answers: 0 })).collect()));
    let counts = Rc::new(Cell::new(Counts::default()));
    for session_nth in 0..SESSIONS {
        let calm = Faults { latency_us_max: 40, ..Faults::default() };
        let rates = Rates {
            slow: [0, 60, 200][below(&mut random, 3)],
            write_error: [0, 300][below(&mut random, 2)],
            ..Rates::default()
        };
        let cut_at = Some(1 + random.below(CUT_MAX));
        let work = Faults { cut_at, rates, ..calm };
        tally.place = format!(
            "session {session_nth}, {cut_at:?}, slow {}, write errors {}, --seed {seed} --count 1",
            rates.slow, rates.write_error
        );
        let (known, counted, drawn) = (known.clone(), counts.clone(), random.draw());
        let ended = on_machine(random.draw(), &medium, calm, async move |machine, drive| {
            session(machine, drive, known, counted, work, drawn).await
        })?;
        tally.note("cuts", u64::from(ended.is_none()));

        tally.done += 1;
        let loss = [Loss::Lose, Loss::Lose, Loss::Keep, Loss::Draw];
        medium.lose_power_as(loss[below(&mut random, 4)], &mut random);
    }
    let counted = counts.get();
    tally.note("operations", counted.operations);
    tally.note("bytes moved", counted.moved);
    tally.note("zones released", counted.released);
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Counts {
    operations: u64,
    moved: u64,
    released: u64,
}

fn below(random: &mut Random, end: u64) -> usize {
    usize::try_from(random.below(end)).expect("an index")
}

fn name(writer: u64, nth: u64) -> Bytes {
    format!("{writer}/{nth:02}").into()
}

/// Most of them in the log, a few to a zone.
fn size_of(seed: u64) -> u64 {
    match seed % 8 {
        0 => seed * 37 % 3_000,
        1 => 40_000 + seed * 53 % 60_000,
        2 | 3 => 26_000 + seed * 91 % 4_000,
        _ => 3_000 + seed * 71 % 20_000,
    }
}

/// The seed of what stands under a key, every byte of it checked; an error of the engine leaves it open.
async fn look(
    engine: &Engine,
    bucket: &Bucket,
    key: &Bytes,
) -> Result<Result<Option<u64>, EngineError>, Finding> {
    let reader = match engine.open(bucket, key.clone()).await {
        Ok(Some(reader)) => reader,
        Ok(None) => return Ok(Ok(None)),
        Err(error) => return Ok(Err(error)),
    };
    let seed = reader.info.attributes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let size = reader.info.size;
    match read(reader, 0..size).await {
        Ok(bytes) if size == size_of(seed) && bytes == content(seed, size) => Ok(Ok(Some(seed))),
        Ok(_) => finding(Kind::Wrong, format!("foreign bytes in object {seed} of {size} bytes")),
        Err(error) => Ok(Err(error)),
    }
}

/// One machine: compares everything, then writes until the power goes.
async fn session(
    machine: Simulator,
    drive: SimulatedDrive,
    known: Shared,
    counts: Rc<Cell<Counts>>,
    work: Faults,
    drawn: u64,
) -> Result<(), Finding> {
    let engine = match start(&machine, &drive, 1).await {
        Ok(mut engines) => engines.pop().expect("one core"),
        Err(text) => return finding(Kind::Lost, format!("the store does not start: {text}")),
    };
    let failed = failures(&engine);
    if !failed.is_empty() {
        return finding(Kind::Lost, format!("read-only after a restart: {failed:?}"));
    }
    let bucket = match engine.bucket("clean") {
        Ok(bucket) => bucket,
        Err(_) => match engine.create_bucket("clean", Default::default()).await {
            Ok(bucket) => bucket,
            Err(error) => return finding(Kind::Wrong, format!("no bucket: {error:?}")),
        },
    };
    let held: Vec<(Bytes, Vec<Option<u64>>)> =
        known.borrow().iter().map(|(key, held)| (key.clone(), held.known.clone())).collect();
    for (key, may) in held {
        match look(&engine, &bucket, &key).await.map_err(|found| found.at("after the start"))? {
            Ok(seen) if may.contains(&seen) => {
                known.borrow_mut().entry(key).and_modify(|held| held.known = vec![seen]);
            }
            other => {
                return finding(Kind::Lost, format!("{key:?} is {other:?}, expected one of {may:?}"));
            }
        }
    }
    drive.set_faults(work);
    let found = Rc::new(RefCell::new(None));
    let running = Rc::new(Cell::new(WRITERS));
    for number in 0..WRITERS {
        let writer = Writer {
            engine: engine.clone(),
            bucket: bucket.clone(),
            known: known.clone(),
            random: Random::new(drawn ^ number),
            number,
        };
        let (found, running, machine) = (found.clone(), running.clone(), machine.clone());
        machine.clone().spawn(async move {
            if let Err(finding) = writer.work(&machine).await {
                found.borrow_mut().get_or_insert(finding);
            }
            running.set(running.get() - 1);
        });
    }
    for _ in 0..2 {
        let (engine, bucket, known) = (engine.clone(), bucket.clone(), known.clone());
        let (found, running, machine, drive) =
            (found.clone(), running.clone(), machine.clone(), drive.clone());
        machine.clone().spawn(async move {
            for _ in 0..READS_MAX {
                if running.get() == 0 {
                    break;
                }
                machine.sleep_us(1 + machine.random() % 60).await;
                if let Err(finding) = observe(&engine, &bucket, &known, &machine, &drive).await {
                    found.borrow_mut().get_or_insert(finding);
                }
            }
        });
    }
    let (mut went_wrong, mut done) = (false, [0; 2]);
    while 0 < running.get() && found.borrow().is_none() {
        machine.sleep_us(20).await;
        let now = maintenance(&engine);
        let counted = counts.get();
        let (moved, released) = (counted.moved + now[0] - done[0], counted.released + now[1] - done[1]);
        counts.set(Counts { moved, released, ..counted });
        done = now;
        if !went_wrong && drive.happened().write_errors > 0 {
            went_wrong = true;
            // Trouble does not come alone.
            let cut_at = Some(1 + machine.random() % CUT_AFTER_ERROR_MAX);
            let rates = Rates { write_error: 0, ..work.rates };
            drive.set_faults(Faults { cut_at, rates, ..work });
        }
    }
    counts.set(Counts { operations: counts.get().operations + WRITERS * OPERATIONS, ..counts.get() });
    found.take().map_or(Ok(()), Err)
}

/// What maintenance did on this machine so far.
fn maintenance(engine: &Engine) -> [u64; 2] {
    let moved = engine.stats().iter().map(|stats| stats.moved_bytes.load(Relaxed)).sum();
    let released = engine.stats().iter().map(|stats| stats.zones_released.load(Relaxed)).sum();
    [moved, released]
}

/// Reads any key; what was seen has to stay.
async fn observe(
    engine: &Engine,
    bucket: &Bucket,
    known: &Shared,
    machine: &Simulator,
    drive: &SimulatedDrive,
) -> Result<(), Finding> {
    let (key, before) = {
        let known = known.borrow();
        let nth = machine.random() % known.len() as u64;
        let (key, held) =
            known.iter().nth(usize::try_from(nth).expect("an index")).expect("below their number");
        (key.clone(), held.clone())
    };
    let seen = match look(engine, bucket, &key).await? {
        Ok(seen) => seen,
        // A drive that was given up may have forgotten what was moved and not flushed: it tells, until the next start.
        Err(EngineError::Corrupt(damage)) if !drive.has_failed() => {
            return finding(Kind::Lost, format!("{key:?} while it works: {damage}"));
        }
        Err(_) => return Ok(()),
    };
    let mut known = known.borrow_mut();
    let Some(held) = known.get_mut(&key).filter(|held| held.answers == before.answers) else { return Ok(()) };
    match held.known.iter().position(|may| *may == seen) {
        Some(0) => {}
        // Others who asked before may still be answered with what was there before.
        Some(nth) => {
            held.known.drain(..nth);
            held.answers += 1;
        }
        None => return finding(Kind::Lost, format!("{key:?} is {seen:?}, expected one of {:?}", held.known)),
    }
    Ok(())
}

/// What came of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    /// It did not happen, for want of room or time.
    Full,
    Unknown,
}

/// A client: it does one thing after the other, and only it writes to its keys.
struct Writer {
    engine: Engine,
    bucket: Arc<Bucket>,
    known: Shared,
    random: Random,
    number: u64,
}

impl Writer {
    async fn work(mut self, machine: &Simulator) -> Result<(), Finding> {
        let mut errors = 0;
        for _ in 0..OPERATIONS {
            let us = self.random.below(30);
            machine.sleep_us(us).await;
            let key = self.key();
            let end = match self.random.below(16) {
                0 | 1 => self.delete(vec![key]).await?,
                // Much at once: more than one zone may be empty then.
                2 => self.delete_some().await?,
                _ => self.put(key).await?,
            };
            match end {
                End::Done => {}
                End::Full => drop(self.delete_some().await?),
                End::Unknown if ERRORS_MAX < errors => break,
                End::Unknown => errors += 1,
            }
        }
        Ok(())
    }

    fn key(&mut self) -> Bytes {
        let nth = self.random.below(KEYS);
        name(self.number, nth)
    }

    async fn delete_some(&mut self) -> Result<End, Finding> {
        let keys = (0..KEYS).filter(|_| self.random.one_in(2)).map(|nth| name(self.number, nth)).collect();
        self.delete(keys).await
    }

    async fn put(&mut self, key: Bytes) -> Result<End, Finding> {
        let seed = (self.random.draw() >> 20).max(1);
        self.ask(&key, Some(seed));
        let answer = put(&self.engine, &self.bucket, &key, seed, size_of(seed), PutCondition::None).await;
        match answer {
            Ok(_) => Ok(self.settle(&[key], true)),
            Err(WriteError::Refused(why)) => finding(Kind::Wrong, format!("refused: {why:?}")),
            Err(WriteError::Engine(error)) => Ok(self.failed(&[key], &error)),
        }
    }

    async fn delete(&mut self, keys: Vec<Bytes>) -> Result<End, Finding> {
        let mut certain = Vec::new();
        for key in &keys {
            {
                let known = self.known.borrow();
                let may = &known[key].known;
                certain.push((may.len() == 1).then(|| may[0].is_some()));
            }
            self.ask(key, None);
        }
        match self.engine.delete(&self.bucket, keys.clone()).await {
            Ok(found) => {
                let mut all = keys.iter().zip(&found).zip(certain);
                let wrong = all.find(|((_, found), certain)| certain.is_some_and(|there| there != **found));
                match wrong {
                    Some(((key, found), certain)) => {
                        let text = format!("delete of {key:?}: was there {found}, expected {certain:?}");
                        finding(Kind::Lost, text)
                    }
                    None => Ok(self.settle(&keys, true)),
                }
            }
            Err(error) => Ok(self.failed(&keys, &error)),
        }
    }

    fn ask(&self, key: &Bytes, seed: Option<u64>) {
        self.known.borrow_mut().entry(key.clone()).and_modify(|held| held.known.push(seed));
    }

    /// The newest change was answered: it is what there is, or it did not happen.
    fn settle(&self, keys: &[Bytes], happened: bool) -> End {
        for key in keys {
            self.known.borrow_mut().entry(key.clone()).and_modify(|held| {
                held.answers += 1;
                let newest = held.known.pop();
                if happened {
                    held.known = newest.into_iter().collect();
                }
            });
        }
        if happened { End::Done } else { End::Full }
    }

    /// Nobody knows, unless the error says that nothing happened.
    fn failed(&self, keys: &[Bytes], error: &EngineError) -> End {
        match error {
            EngineError::Full { .. }
            | EngineError::Busy { .. }
            | EngineError::BucketClosed
            | EngineError::NoFreeZone
            | EngineError::TooLarge { .. } => self.settle(keys, false),
            _ => End::Unknown,
        }
    }
}
