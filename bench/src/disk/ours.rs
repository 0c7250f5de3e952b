//! Our side: a ring, a drive and an engine on one core of this process, and what one operation of a case is on them.
//!
//! Two files in one directory: a prewritten one, which fio uses too, and a fresh store.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nilas_engine::drive::{
    Arena, ArenaConfig, Drive, Durability, Ring, RingConfig, UringDrive, create_file, lock_drive,
};
use nilas_engine::platform::CorePlatform;
use nilas_engine::rt;
use nilas_engine::store::{FormatConfig, Store, format};
use nilas_engine::{Bucket, CoreId, DriveOffset, ETag, Engine, PutCondition};
use nilas_tests::device;
use nilas_tests::rng::{self, Rng};

/// Bytes of a small object.
pub(super) const SMALL_BYTES: u64 = 4 << 10;
/// Bytes of a large object.
pub(super) const LARGE_BYTES: u64 = 10 << 20;
/// Bytes of a sequential request, and of the pieces in which a large object comes.
pub(super) const PIECE_BYTES: u64 = 1 << 20;
/// Requests in flight while files and objects are prepared.
const PREPARE_IN_FLIGHT: usize = 128;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A read of 4 KiB at a random place of the prewritten file.
    ReadRandom,
    /// The next 1 MiB of the prewritten file, read.
    ReadNext,
    /// The next 1 MiB of the prewritten file, written and not flushed.
    WriteNext,
    /// The next request of this many bytes of the prewritten file, durable: what a log does, without one.
    WriteDurable(u64),
    /// A new 4 KiB object, durable.
    PutSmall,
    /// A random one of the prepared 4 KiB objects.
    GetSmall,
    /// A 10 MiB object in place of an older one, durable.
    PutLarge,
    /// A random one of the 10 MiB objects.
    GetLarge,
}

/// What a case did on our side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) ops: u64,
    pub(super) secs: f64,
    pub(super) cpu_secs: f64,
    /// Log blocks written.
    pub(super) blocks: u64,
    /// Records in them.
    pub(super) records: u64,
    /// Bytes of them.
    pub(super) block_bytes: u64,
    /// Time from the start of their writes to their being durable, microseconds.
    pub(super) block_write_us: u64,
}

/// The core's files and engine.
pub(super) struct Ours {
    file: Rc<UringDrive>,
    arena: Arena,
    engine: Engine,
    bucket: Arc<Bucket>,
    rng: Cell<u64>,
    small: Bytes,
    large: Bytes,
    /// Objects put by [`Work::PutSmall`] so far: no key is used twice.
    put: Cell<u64>,
    small_count: u64,
    large_count: u64,
}

impl Ours {
    /// Makes both files below `directory`: `file_bytes` of random bytes, and a store of `store_bytes`.
    pub(super) async fn prepare(directory: &Path, file_bytes: u64, store_bytes: u64) -> Result<Ours, String> {
        let arena = Arena::new(ArenaConfig::default()).map_err(|error| format!("arena: {error}"))?;
        let ring = Ring::new(&arena, RingConfig::default()).map_err(|error| format!("io_uring: {error}"))?;
        let open = |name: &str, bytes: u64| {
            let path = directory.join(name);
            create_file(&path, bytes)?;
            UringDrive::open(&lock_drive(&path)?, &ring)
        };
        let file = open("file", file_bytes).map_err(|error| error.to_string())?;
        let store = open("store", store_bytes).map_err(|error| error.to_string())?;
        preallocate(&store, &arena, &vec![0; usize_of(PIECE_BYTES)]).await?;
        let drives: Vec<Rc<dyn Drive>> = vec![store];
        let config =
            FormatConfig { shards: 1, now_ms: rt::now_ms(), store: rt::random_u128(), zone_bytes: None };
        let superblocks = format(&drives, config).await.map_err(|error| error.to_string())?;
        let platform = Rc::new(CorePlatform::new(arena.clone()));
        let engine = Store::new(superblocks, 1)
            .start_core(CoreId(0), platform, drives)
            .await
            .map_err(|error| error.to_string())?;
        while !engine.is_ready() {
            rt::sleep(Duration::from_millis(1)).await;
        }
        let bucket =
            engine.create_bucket("disk", Default::default()).await.map_err(|error| format!("{error:?}"))?;
        let ours = Ours {
            file,
            arena,
            engine,
            bucket,
            rng: Cell::new(1),
            small: rng::payload("small", 0, usize_of(SMALL_BYTES)).into(),
            large: rng::payload("large", 0, usize_of(LARGE_BYTES)).into(),
            put: Cell::new(0),
            small_count: (file_bytes / (16 << 10)).clamp(1_000, 100_000),
            large_count: (file_bytes / (4 * LARGE_BYTES)).clamp(4, 64),
        };
        ours.fill().await?;
        Ok(ours)
    }

    /// Bytes that the small objects take on the drive, about.
    pub(super) fn small_region_bytes(&self) -> u64 {
        self.small_count * (SMALL_BYTES + 128)
    }

    /// Bytes that the large objects take on the drive.
    pub(super) fn large_region_bytes(&self) -> u64 {
        self.large_count * LARGE_BYTES
    }

    /// Repeats an operation for `seconds`, `in_flight` of them at a time.
    pub(super) async fn run(&self, work: Work, in_flight: usize, seconds: f64) -> Result<Done, String> {
        let log = &self.engine.stats()[0];
        let counters = || {
            [&log.log_blocks, &log.log_records, &log.log_bytes, &log.log_write_us]
                .map(|counter| counter.load(Relaxed))
        };
        let (before, cpu_before) = (counters(), cpu_secs());
        let (ops, secs) = repeat(in_flight, seconds, u64::MAX, |number| self.once(work, number)).await?;
        let (after, cpu_after) = (counters(), cpu_secs());
        Ok(Done {
            ops,
            secs,
            cpu_secs: cpu_after - cpu_before,
            blocks: after[0] - before[0],
            records: after[1] - before[1],
            block_bytes: after[2] - before[2],
            block_write_us: after[3] - before[3],
        })
    }

    /// Writes what is pending, for a clean end.
    pub(super) async fn stop(&self) {
        self.engine.stop().await;
    }

    async fn fill(&self) -> Result<(), String> {
        preallocate(&self.file, &self.arena, &self.large[..usize_of(PIECE_BYTES)]).await?;
        let small = |number| self.put(format!("g{number:08}"), &self.small);
        repeat(PREPARE_IN_FLIGHT, f64::MAX, self.small_count, small).await?;
        let large = |number| self.put(format!("l{number:08}"), &self.large);
        repeat(4, f64::MAX, self.large_count, large).await?;
        Ok(())
    }

    async fn once(&self, work: Work, number: u64) -> Result<(), String> {
        match work {
            Work::ReadRandom => {
                let block = self.below(self.file.size() / SMALL_BYTES);
                self.read_file(DriveOffset(block * SMALL_BYTES), SMALL_BYTES).await
            }
            Work::ReadNext => {
                let piece = number % (self.file.size() / PIECE_BYTES);
                self.read_file(DriveOffset(piece * PIECE_BYTES), PIECE_BYTES).await
            }
            Work::WriteNext => self.write_piece(number).await,
            Work::WriteDurable(bytes) => {
                let place = number % (self.file.size() / bytes);
                self.write_file(DriveOffset(place * bytes), bytes, Durability::OnReturn).await
            }
            Work::PutSmall => {
                let key = self.put.replace(self.put.get() + 1);
                self.put(format!("p{key:012}"), &self.small).await
            }
            Work::GetSmall => self.get(format!("g{:08}", self.below(self.small_count)), SMALL_BYTES).await,
            Work::PutLarge => self.put(format!("l{:08}", number % self.large_count), &self.large).await,
            Work::GetLarge => self.get(format!("l{:08}", self.below(self.large_count)), LARGE_BYTES).await,
        }
    }

    fn below(&self, bound: u64) -> u64 {
        let mut rng = Rng::new(self.rng.get());
        let drawn = rng.below(bound);
        self.rng.set(self.rng.get() + 1);
        drawn
    }

    async fn read_file(&self, at: DriveOffset, bytes: u64) -> Result<(), String> {
        let mut buffer = self.arena.take(usize_of(bytes)).ok_or("out of buffers")?;
        buffer.set_len_for_read(usize_of(bytes));
        self.file.read(at, buffer).await.1.map_err(|error| error.to_string())
    }

    async fn write_piece(&self, number: u64) -> Result<(), String> {
        let piece = number % (self.file.size() / PIECE_BYTES);
        self.write_file(DriveOffset(piece * PIECE_BYTES), PIECE_BYTES, Durability::AfterFlush).await
    }

    async fn write_file(&self, at: DriveOffset, bytes: u64, durability: Durability) -> Result<(), String> {
        let mut buffer = self.arena.take(usize_of(bytes)).ok_or("out of buffers")?;
        // What some earlier use left in the buffer is as good as anything else; a fresh one is zero.
        buffer.set_len_for_read(usize_of(bytes));
        if buffer.as_slice().starts_with(&[0; 64]) {
            buffer.as_mut_slice().copy_from_slice(&self.large[..usize_of(bytes)]);
        }
        self.file.write(at, buffer, durability).await.1.map_err(|error| error.to_string())
    }

    async fn put(&self, key: String, body: &Bytes) -> Result<(), String> {
        let mut writer =
            self.engine.writer(&self.bucket, body.len() as u64).await.map_err(|error| error.to_string())?;
        let mut at = 0;
        while at < body.len() {
            let end = body.len().min(at + usize_of(PIECE_BYTES));
            writer.write(body.slice(at..end)).await.map_err(|error| error.to_string())?;
            at = end;
        }
        let published = writer.publish(key.into(), PutCondition::None, ETag::default(), Bytes::new()).await;
        published.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn get(&self, key: String, bytes: u64) -> Result<(), String> {
        let opened = self.engine.open(&self.bucket, key.into()).await.map_err(|error| error.to_string())?;
        let mut stream = opened.ok_or("a prepared object is gone")?.read(0..bytes);
        let mut got = 0;
        while let Some(piece) = stream.next().await {
            got += piece.map_err(|error| error.to_string())?.len() as u64;
        }
        if got == bytes { Ok(()) } else { Err(format!("{got} bytes in place of {bytes}")) }
    }
}

/// Writes `piece` again and again to all of a drive, so that its file system has nothing more to lay out.
async fn preallocate(drive: &Rc<UringDrive>, arena: &Arena, piece: &[u8]) -> Result<(), String> {
    let write = async |number: u64| {
        let mut buffer = arena.take(usize_of(PIECE_BYTES)).ok_or("out of buffers")?;
        buffer.set_len_for_read(usize_of(PIECE_BYTES));
        buffer.as_mut_slice().copy_from_slice(piece);
        let written = drive.write(DriveOffset(number * PIECE_BYTES), buffer, Durability::AfterFlush).await.1;
        written.map_err(|error| error.to_string())
    };
    repeat(8, f64::MAX, drive.size() / PIECE_BYTES, write).await?;
    drive.flush().await.map_err(|error| error.to_string())
}

/// Repeats `op`, which is given a running number, until `seconds` are over or `count` were done; how many, and how
/// long until the last was complete.
pub(super) async fn repeat<F: Future<Output = Result<(), String>>>(
    in_flight: usize,
    seconds: f64,
    count: u64,
    op: impl Fn(u64) -> F,
) -> Result<(u64, f64), String> {
    let from = Instant::now();
    let next = Cell::new(0);
    let worker = async || {
        while next.get() < count && from.elapsed().as_secs_f64() < seconds {
            let number = next.replace(next.get() + 1);
            op(number).await?;
        }
        Ok::<(), String>(())
    };
    let mut workers: FuturesUnordered<_> = (0..in_flight).map(|_| worker()).collect();
    while let Some(ended) = workers.next().await {
        ended?;
    }
    drop(workers);
    Ok((next.get(), from.elapsed().as_secs_f64()))
}

/// Processor time of the threads of this process, seconds; those of io_uring included, ended ones not.
pub(super) fn cpu_secs() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    match spent.sum::<u64>() {
        // A kernel without scheduler statistics: ticks will do.
        0 => device::usage(std::process::id(), Path::new("/")).cpu_secs,
        ns => ns as f64 / 1e9,
    }
}

pub(super) fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a few MiB")
}
