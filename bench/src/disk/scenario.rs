//! What the engine costs over a store's life, without fio: bytes written per byte stored, memory per object, time to
//! open, reads that the cache answers. Each on a fresh store, through the public handle of the engine alone.
//!
//! I1. Bytes, flushes and durable writes are those that the drive counted, from before the first operation until the
//! engine was stopped, so that what is written later on account of them is in the figure.
//! I2. A store that is full is a figure (`full`), not an error: how much fits is what some of these are about.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use nilas_engine::drive::{
    Arena, ArenaConfig, Drive, DriveCounters, DriveLock, Ring, RingConfig, UringDrive, create_file,
    lock_drive,
};
use nilas_engine::error::EngineError;
use nilas_engine::limits::LIST_KEYS_MAX;
use nilas_engine::platform::CorePlatform;
use nilas_engine::rt::{self, RtConfig};
use nilas_engine::stats::ShardStats;
use nilas_engine::store::{FormatConfig, Store, format, recognise};
use nilas_engine::{Bucket, CoreId, ETag, Engine, ListQuery, PutCondition, Tuning, WriteError};
use nilas_tests::device;
use nilas_tests::rng::{self, Rng};

use super::ours::{LARGE_BYTES, PIECE_BYTES, SMALL_BYTES, cpu_secs, repeat, usize_of};
use crate::report::Figures;

/// What `--scenario` takes.
pub(super) const NAMES: [&str; 5] = ["cached-read", "fresh", "aged", "open", "index"];

/// Shards of every store, and buckets: enough for the cores of a small machine to share.
const SHARDS: u16 = 4;
/// Bytes of each core's read cache.
const CACHE_BYTES: u64 = 256 << 20;
const BUCKETS: u64 = 8;
/// Objects of `cached-read`: 4 MiB, which any cache holds.
const CACHED: u64 = 1_000;
/// Part of the store that `fresh` fills.
const FRESH_PERCENT: u64 = 40;
/// Puts and reads in flight.
const IN_FLIGHT: usize = 128;
/// Bytes of the keys made by [`key`].
const KEY_BYTES: u64 = 13;
/// Objects that are looked for after each opening.
const PROBES: u64 = 1_000;

/// How large the scenarios are.
#[derive(Args, Clone, Debug)]
pub(super) struct Scale {
    /// Objects of `open` and `index`.
    #[arg(long, default_value_t = 100_000)]
    objects: u64,
    /// Their bytes.
    #[arg(long, default_value = "16B", value_parser = crate::s3::parse_size)]
    object_size: u64,
    /// Cores that open the store.
    #[arg(long, default_value_t = 1)]
    cores: u16,
    /// How full `aged` makes the store, percent of its capacity in bytes of objects.
    #[arg(long, default_value_t = 80)]
    fill_percent: u64,
    /// How often `aged` then overwrites every object, on average.
    #[arg(long, default_value_t = 5)]
    overwrites: u64,
    /// What `aged` writes: objects of 4 KiB, overwritten uniformly at random or by a Zipf law of exponent 0.99, or
    /// objects of 4 KiB to 1 MiB, overwritten uniformly.
    #[arg(long, value_enum, default_value_t = Load::Uniform)]
    load: Load,
}

/// Which objects are overwritten, and their sizes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Uniform,
    Zipf,
    Mixed,
}

/// Bytes of the objects of [`Load::Mixed`], as many of each.
const MIXED_BYTES: [u64; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const ZIPF_EXPONENT: f64 = 0.99;

/// Runs one scenario on a store of `store_bytes` in `directory`.
pub(super) fn run(
    name: &str,
    scale: &Scale,
    store_bytes: u64,
    seconds: f64,
    directory: &Path,
) -> Result<Figures, String> {
    let path = directory.join("scenario");
    create_file(&path, store_bytes).map_err(|error| error.to_string())?;
    let lock = lock_drive(&path).map_err(|error| error.to_string())?;
    let scale = scale.clone();
    let mut out = Figures::new();
    match name {
        "cached-read" => cached_read(&lock, seconds, &mut out)?,
        "fresh" => {
            fresh(&lock, "small", SMALL_BYTES, &mut out)?;
            let path = directory.join("large");
            create_file(&path, store_bytes).map_err(|error| error.to_string())?;
            let lock = lock_drive(&path).map_err(|error| error.to_string())?;
            fresh(&lock, "large", LARGE_BYTES, &mut out)?;
        }
        "aged" => aged(&lock, &scale, &mut out)?,
        "open" => open(&lock, &scale, &mut out)?,
        _ => index(&lock, &scale, &mut out)?,
    }
    Ok(out)
}

fn cached_read(lock: &DriveLock, seconds: f64, out: &mut Figures) -> Result<(), String> {
    let figures = session(lock, 1, true, move |at| async move {
        let body = Bytes::from(rng::payload("cached", 0, usize_of(SMALL_BYTES)));
        let puts = at.put_all(CACHED, &body).await?;
        if puts.refused != 0 {
            return Err("a fresh store is full".to_owned());
        }
        repeat(IN_FLIGHT, f64::MAX, 2 * CACHED, |number| at.read(number % CACHED, SMALL_BYTES)).await?;
        let (drive, cpu) = (at.lock.counters(), cpu_secs());
        let (ops, secs) =
            repeat(1, seconds, u64::MAX, |number| at.read(number % CACHED, SMALL_BYTES)).await?;
        let ops = ops.max(1) as f64;
        let read = at.lock.counters().reads - drive.reads;
        Ok(vec![
            ("ops".to_owned(), ops),
            ("per_s".to_owned(), ops / secs),
            ("cpu_us_per_op".to_owned(), (cpu_secs() - cpu) * 1e6 / ops),
            ("drive_reads_per_op".to_owned(), read as f64 / ops),
        ])
    })?;
    out.extend(figures);
    Ok(())
}

fn fresh(lock: &DriveLock, name: &str, bytes: u64, out: &mut Figures) -> Result<(), String> {
    let before = lock.counters();
    let puts = session(lock, 1, true, move |at| async move {
        let body = Bytes::from(rng::payload("fresh", 0, usize_of(bytes)));
        let count = at.engine.capacity_bytes().0 * FRESH_PERCENT / 100 / bytes;
        at.put_all(count, &body).await
    })?;
    written(name, &puts, before, lock.counters(), out);
    Ok(())
}

fn aged(lock: &DriveLock, scale: &Scale, out: &mut Figures) -> Result<(), String> {
    let before = lock.counters();
    let scale = scale.clone();
    let (filled, between, aged, kinds) = session(lock, 1, true, move |at| {
        let scale = scale.clone();
        async move {
            let load = scale.load;
            let size = move |place: u64| match load {
                Load::Uniform | Load::Zipf => SMALL_BYTES,
                Load::Mixed => MIXED_BYTES[usize_of(place % MIXED_BYTES.len() as u64)],
            };
            let cycle: u64 = (0..MIXED_BYTES.len() as u64).map(size).sum();
            let body = Bytes::from(rng::payload("aged", 0, usize_of((0..5).map(size).max().unwrap_or(0))));
            let body = |place| body.slice(..usize_of(size(place)));
            let wanted = at.engine.capacity_bytes().0 * scale.fill_percent / 100;
            let count = wanted / cycle * MIXED_BYTES.len() as u64;
            let filled = at.put_by(count, body, |number| number).await?;
            let (between, kinds) = (at.lock.counters(), at.written_kinds());
            let places = filled.done.max(1);
            let rng = RefCell::new(Rng::new(1));
            let weights = if load == Load::Zipf { zipf(places) } else { Vec::new() };
            let random = |_| {
                let drawn = rng.borrow_mut().draw();
                match weights.last() {
                    None => drawn % places,
                    Some(all) => {
                        let at = drawn as f64 / u64::MAX as f64 * all;
                        // Neighbours in the law are far from each other among the keys.
                        weights.partition_point(|sum| *sum < at) as u64 * 7_919 % places
                    }
                }
            };
            let aged = at.put_by(scale.overwrites * count, body, random).await?;
            let now = at.written_kinds();
            Ok((filled, between, aged, [0, 1, 2].map(|nth| now[nth] - kinds[nth])))
        }
    })?;
    written("fill", &filled, before, between, out);
    written("aged", &aged, between, lock.counters(), out);
    let stored = aged.bytes.max(1) as f64;
    for (name, bytes) in ["log", "moved", "pages"].iter().zip(kinds) {
        out.push((format!("aged_{name}_per_stored_byte"), bytes as f64 / stored));
    }
    Ok(())
}

/// Running sums of the weights of a Zipf law over `count` ranks.
fn zipf(count: u64) -> Vec<f64> {
    let mut sum = 0.0;
    let add = |rank: u64| {
        sum += (rank as f64).powf(-ZIPF_EXPONENT);
        sum
    };
    (1..=count).map(add).collect()
}

fn open(lock: &DriveLock, scale: &Scale, out: &mut Figures) -> Result<(), String> {
    let (count, bytes) = (scale.objects, scale.object_size);
    let puts = session(lock, scale.cores, true, move |at| async move {
        let body = Bytes::from(rng::payload("open", 0, usize_of(bytes)));
        at.put_all(count, &body).await
    })?;
    let found = puts.done;
    for (name, stops) in [("clean", false), ("abort", true)] {
        // What the next one opens: the first of these ends without a stop, with objects put since it was opened.
        let before = lock.counters();
        let (secs, after) = session(lock, scale.cores, stops, move |at| async move {
            let after = at.lock.counters();
            repeat(IN_FLIGHT, f64::MAX, PROBES.min(found), |number| at.head(number * 7_919 % found.max(1)))
                .await?;
            let body = Bytes::from(rng::payload("open", 1, usize_of(bytes)));
            at.put_all(PROBES.min(found), &body).await?;
            Ok((at.open_secs, after))
        })?;
        out.push((format!("{name}_open_s"), secs));
        out.push((format!("{name}_read_MiB"), crate::report::mib(after.read_bytes - before.read_bytes)));
    }
    out.push(("objects".to_owned(), found as f64));
    out.push(("full".to_owned(), puts.refused as f64));
    Ok(())
}

/// Only meaningful as the first round of a process: memory that was used once is not given back.
fn index(lock: &DriveLock, scale: &Scale, out: &mut Figures) -> Result<(), String> {
    let (count, bytes) = (scale.objects, scale.object_size);
    let figures = session(lock, scale.cores, true, move |at| async move {
        let body = Bytes::from(rng::payload("index", 0, usize_of(bytes)));
        // Whatever is allocated once for all.
        at.put_all(PROBES.min(count), &body).await?;
        let before = resident();
        let puts = at.put_all(count, &body).await?;
        let found = puts.done.max(1);
        let per_object = resident().saturating_sub(before) as f64 / found as f64;
        let from = Instant::now();
        let mut listed = 0;
        for bucket in &at.buckets {
            let mut query = ListQuery { max: LIST_KEYS_MAX, ..ListQuery::default() };
            loop {
                let page = at.engine.list(bucket, query.clone()).await.map_err(|error| error.to_string())?;
                listed += page.objects.len() as u64;
                let Some(next) = page.next_after else { break };
                query.after = next;
            }
        }
        let scan_secs = from.elapsed().as_secs_f64();
        if listed != puts.done {
            return Err(format!("{listed} objects are listed, {} were put", puts.done));
        }
        let mut rng = Rng::new(2);
        let looked: Vec<(usize, Bytes)> = (0..100_000.min(10 * found))
            .map(|_| rng.below(found))
            .map(|place| (usize_of(place % BUCKETS), key(place)))
            .collect();
        let from = Instant::now();
        for (bucket, key) in &looked {
            let found = at.engine.head(&at.buckets[*bucket], key.clone()).await;
            found.map_err(|error| error.to_string())?.ok_or("an object is gone")?;
        }
        let lookup_ns = from.elapsed().as_nanos() as f64 / looked.len().max(1) as f64;
        Ok(vec![
            ("objects".to_owned(), puts.done as f64),
            ("full".to_owned(), puts.refused as f64),
            ("resident_bytes_per_object".to_owned(), per_object),
            ("overhead_bytes_per_object".to_owned(), per_object - KEY_BYTES as f64),
            ("scan_keys_per_s".to_owned(), listed as f64 / scan_secs.max(1e-9)),
            ("lookup_ns".to_owned(), lookup_ns),
        ])
    })?;
    out.extend(figures);
    Ok(())
}

fn written(name: &str, puts: &Puts, before: DriveCounters, after: DriveCounters, out: &mut Figures) {
    let mut push = |figure: &str, value: f64| out.push((format!("{name}_{figure}"), value));
    let (ops, bytes) = (puts.done.max(1) as f64, puts.bytes.max(1) as f64);
    push("ops", puts.done as f64);
    push("full", puts.refused as f64);
    push("per_s", ops / puts.secs.max(1e-9));
    push("last_fifth_per_first_fifth", puts.slowing);
    push("cpu_us_per_op", puts.cpu_secs * 1e6 / ops);
    push("written_per_stored_byte", (after.written_bytes - before.written_bytes) as f64 / bytes);
    push("flushes_per_op", (after.flushes - before.flushes) as f64 / ops);
    push("durable_writes_per_op", (after.durable_writes - before.durable_writes) as f64 / ops);
    push("read_bytes_per_stored_byte", (after.read_bytes - before.read_bytes) as f64 / bytes);
}

/// What a row of puts did.
#[derive(Clone, Copy, Debug)]
struct Puts {
    done: u64,
    /// Bytes of them.
    bytes: u64,
    /// 1 when it ended because the store was full, else 0.
    refused: u64,
    secs: f64,
    cpu_secs: f64,
    /// Rate of the last fifth of it by that of the first.
    slowing: f64,
}

/// One open store, on its first core.
struct At {
    engine: Engine,
    lock: DriveLock,
    buckets: Vec<Arc<Bucket>>,
    /// From before the drive was looked at until the last shard was ready.
    open_secs: f64,
}

impl At {
    /// Bytes that all shards wrote: log blocks, objects moved, pages of checkpoints.
    fn written_kinds(&self) -> [u64; 3] {
        let sum = |of: fn(&ShardStats) -> &AtomicU64| {
            self.engine.stats().iter().map(|stats| of(stats).load(SeqCst)).sum()
        };
        [sum(|stats| &stats.log_bytes), sum(|stats| &stats.moved_bytes), sum(|stats| &stats.page_bytes)]
    }

    async fn put_all(&self, count: u64, body: &Bytes) -> Result<Puts, String> {
        self.put_by(count, |_| body.clone(), |number| number).await
    }

    /// Puts `count` objects, or until there is no space.
    async fn put_by(
        &self,
        count: u64,
        body: impl Fn(u64) -> Bytes,
        place: impl Fn(u64) -> u64,
    ) -> Result<Puts, String> {
        let in_flight = if PIECE_BYTES <= body(0).len() as u64 { 4 } else { IN_FLIGHT };
        let (full, done, bytes) = (Cell::new(false), Cell::new(0_u64), Cell::new(0_u64));
        let (from, cpu) = (Instant::now(), cpu_secs());
        let mut fifths = Vec::new();
        for fifth in 0..5 {
            let (first, end) = (count * fifth / 5, count * (fifth + 1) / 5);
            let put = |number| {
                let place = place(first + number);
                let (full, done, bytes, body) = (&full, &done, &bytes, body(place));
                async move {
                    if !full.get() {
                        match self.put(place, &body).await? {
                            true => {
                                done.set(done.get() + 1);
                                bytes.set(bytes.get() + body.len() as u64);
                            }
                            false => full.set(true),
                        }
                    }
                    Ok(())
                }
            };
            let (ops, secs) = repeat(in_flight, f64::MAX, end - first, put).await?;
            fifths.push(ops as f64 / secs.max(1e-9));
        }
        Ok(Puts {
            done: done.get(),
            bytes: bytes.get(),
            refused: u64::from(full.get()),
            secs: from.elapsed().as_secs_f64(),
            cpu_secs: cpu_secs() - cpu,
            slowing: fifths.last().zip(fifths.first()).map_or(1.0, |(last, first)| last / first.max(1e-9)),
        })
    }

    /// False when there is no space for it.
    async fn put(&self, place: u64, body: &Bytes) -> Result<bool, String> {
        let attempt = async {
            let mut writer = self.engine.writer(self.bucket(place), body.len() as u64).await?;
            let mut at = 0;
            while at < body.len() {
                let end = body.len().min(at + usize_of(PIECE_BYTES));
                writer.write(body.slice(at..end)).await?;
                at = end;
            }
            writer.publish(key(place), PutCondition::None, ETag::default(), Bytes::new()).await
        };
        match attempt.await {
            Ok(_) => Ok(true),
            Err(WriteError::Engine(EngineError::Full { .. })) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn read(&self, place: u64, bytes: u64) -> Result<(), String> {
        let opened =
            self.engine.open(self.bucket(place), key(place)).await.map_err(|error| error.to_string())?;
        let mut stream = opened.ok_or("an object is gone")?.read(0..bytes);
        let mut got = 0;
        while let Some(piece) = stream.next().await {
            got += piece.map_err(|error| error.to_string())?.len() as u64;
        }
        if got == bytes { Ok(()) } else { Err(format!("{got} bytes in place of {bytes}")) }
    }

    async fn head(&self, place: u64) -> Result<(), String> {
        let found =
            self.engine.head(self.bucket(place), key(place)).await.map_err(|error| error.to_string())?;
        found.map(drop).ok_or_else(|| format!("object {place} is gone"))
    }

    fn bucket(&self, place: u64) -> &Arc<Bucket> {
        &self.buckets[usize_of(place % BUCKETS)]
    }
}

fn key(place: u64) -> Bytes {
    format!("o{place:012}").into()
}

fn resident() -> u64 {
    device::usage(std::process::id(), Path::new("/")).rss_bytes
}

/// Opens the store on the locked drive, making it first when the drive is blank, runs `work` on its first core, and
/// stops the engine or leaves it as it is.
fn session<T, F, Fut>(lock: &DriveLock, cores: u16, stops: bool, work: F) -> Result<T, String>
where
    T: Send + 'static,
    F: Fn(Rc<At>) -> Fut + Send + Clone + 'static,
    Fut: Future<Output = Result<T, String>> + 'static,
{
    let from = Instant::now();
    let formatting = lock.clone();
    let prepared = rt::start(1, RtConfig::server(), move |_| {
        let lock = formatting.clone();
        async move {
            let (_arena, drives) = open_drive(&lock)?;
            match recognise(&drives).await.map_err(|error| error.to_string())? {
                Some(superblocks) => Ok(superblocks),
                None => {
                    let (now_ms, store) = (rt::now_ms(), rt::random_u128());
                    let config = FormatConfig { shards: SHARDS, now_ms, store, zone_bytes: None };
                    format(&drives, config).await.map_err(|error| error.to_string())
                }
            }
        }
    });
    let superblocks: Result<_, String> = only(prepared.map_err(|error| error.to_string())?)?;
    // As a server does by itself: part of the memory for a cache.
    let store = Store::tuned(superblocks?, cores, Tuning { cache_bytes: CACHE_BYTES, ..Tuning::default() });
    let done = Arc::new(AtomicBool::new(false));
    let lock = lock.clone();
    let running = rt::start(usize::from(cores), RtConfig::server(), move |context| {
        let (lock, store, done, work) = (lock.clone(), store.clone(), done.clone(), work.clone());
        async move {
            let ran = on_core(context.core, &lock, &store, from, stops, &done, work).await;
            // An error on one core must not leave the others waiting.
            done.store(true, SeqCst);
            ran
        }
    });
    let mut result = Err("no core ran it".to_owned());
    for ended in running.map_err(|error| error.to_string())?.join() {
        if let Some(value) = ended.map_err(|error| error.to_string())?? {
            result = Ok(value);
        }
    }
    result
}

async fn on_core<T, F, Fut>(
    core: CoreId,
    lock: &DriveLock,
    store: &Store,
    from: Instant,
    stops: bool,
    done: &AtomicBool,
    work: F,
) -> Result<Option<T>, String>
where
    F: Fn(Rc<At>) -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let (arena, drives) = open_drive(lock)?;
    let platform = Rc::new(CorePlatform::new(arena));
    let engine = store.start_core(core, platform, drives).await.map_err(|error| error.to_string())?;
    while !store.is_ready() && !done.load(SeqCst) {
        rt::sleep(Duration::from_millis(1)).await;
    }
    let open_secs = from.elapsed().as_secs_f64();
    let mut value = None;
    if core.0 == 0 {
        let mut buckets = Vec::new();
        for number in 0..BUCKETS {
            let name = format!("scenario{number}");
            let found = match engine.bucket(&name) {
                Ok(found) => found,
                Err(_) => engine
                    .create_bucket(&name, Default::default())
                    .await
                    .map_err(|error| format!("{error:?}"))?,
            };
            buckets.push(found);
        }
        let at = Rc::new(At { engine: engine.clone(), lock: lock.clone(), buckets, open_secs });
        value = Some(work(at).await?);
        done.store(true, SeqCst);
    }
    while !done.load(SeqCst) {
        rt::sleep(Duration::from_millis(1)).await;
    }
    if stops {
        engine.stop().await;
    }
    Ok(value)
}

type Drives = Vec<Rc<dyn Drive>>;

fn open_drive(lock: &DriveLock) -> Result<(Arena, Drives), String> {
    let arena = Arena::new(ArenaConfig::default()).map_err(|error| format!("arena: {error}"))?;
    let ring = Ring::new(&arena, RingConfig::default()).map_err(|error| format!("io_uring: {error}"))?;
    let drive = UringDrive::open(lock, &ring).map_err(|error| error.to_string())?;
    Ok((arena, vec![drive]))
}

fn only<T: Send + 'static>(cores: rt::Cores<T>) -> Result<T, String> {
    cores.join().pop().expect("one core was started").map_err(|error| error.to_string())
}
