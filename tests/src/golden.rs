//! A small store as this format's programs write it: the drive's bytes and what is in it, both committed as text, so
//! that a change of format cannot pass unnoticed.
//!
//! `bin/nilas-golden` makes the files in `tests/golden`; `tests/golden.rs` opens and compares them. I1. The same
//! program makes the same bytes. I2. Nothing of an image that any program ever released is changed: another format has
//! another version and another file.

use std::fmt::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use nilas_engine::drive::Drive;
use nilas_engine::format::checksum::crc64;
use nilas_engine::format::superblock::FORMAT_VERSION;
use nilas_engine::platform::Platform;
use nilas_engine::platform::simulated::{Faults, Loss, Medium, Random, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format, recognise};
use nilas_engine::{
    Bucket, BucketSettings, CoreId, ETag, Engine, ListQuery, Lock, NewObject, NewVersion, PutCondition,
    PutWriter, Rename, RenameToken, Renamed, Retention, RetentionMode, Revision, Sequence, SettingKind,
    Transaction, Tuning, UploadId, ValueOwner, VersionId, VersionQuery,
};

use crate::conformance::{completion, transact};
use crate::machine::Geometry;

/// The store's layout: few zones and the smallest that have room for a unit of data, so that a log goes through many of
/// them within a few objects.
pub const GEOMETRY: Geometry = Geometry { zones: 20, ..Geometry::small(2) };
/// Identity of the store.
pub const STORE: u128 = 0x601d_e200_0000_0002;
const SEED: u64 = 2;
/// Overwritten objects after which the store must have cleaned up behind itself.
const ROUNDS_MAX: u64 = 400;
/// The upload that is left open, by its key.
const OPEN_KEY: &[u8] = b"open upload";

const BLOCK: usize = 4096;
/// Bytes of one line of an image.
const LINE_BYTES: usize = 48;
/// As many equal bytes are written as their number.
const RUN_BYTES_MIN: usize = 12;

/// A committed file of this format's version; `what` is `image` or `list`.
pub fn path(what: &str) -> PathBuf {
    path_of(FORMAT_VERSION, what)
}

/// A committed file of any version.
pub fn path_of(version: u32, what: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}.{what}"))
}

/// Makes the store: every kind of change, zone and page, and a log that goes on behind a checkpoint.
pub fn make() -> Medium {
    let medium = GEOMETRY.medium();
    on(&medium, async |machine, drive| {
        let config = FormatConfig {
            shards: GEOMETRY.shards,
            now_ms: 1_700_000_000_000,
            store: STORE,
            zone_bytes: Some(GEOMETRY.zone_bytes),
        };
        format(std::slice::from_ref(&drive), config).await.expect("blank and large enough");
        let engine = open(&machine, &drive).await;
        let newer = (SettingKind::of(200), Some(Bytes::from_static(b"of a newer version")));
        let note = BucketSettings::of(SettingKind::CATALOG, Bytes::from_static(b"note of red"))
            .with(SettingKind::TAGS, Some(Bytes::from_static(b"a=b")))
            .with(newer.0, newer.1);
        let red = engine.create_bucket("red", note).await.expect("new");
        let green = engine.create_bucket("green", Default::default()).await.expect("new");
        objects(&engine, &red).await;
        uploads(&engine, &red).await;
        values(&engine, &green).await;
        churn(&engine, &red).await;
        machine.sleep_us(100_000).await;
        // Less than what makes a checkpoint: the tail of both logs.
        put(&engine, &red, "tail", b'T', 300, false).await;
        put(&engine, &red, "tail in extents", b'U', 33_000, false).await;
        assert_eq!(engine.delete(&red, vec![Bytes::from_static(b"small/1")]).await, Ok(vec![true]));
        put(&engine, &green, "tail", b'T', 0, true).await;
        locks(&engine).await;
        renamed(&engine).await;
        machine.sleep_us(100_000).await;
    });
    medium.lose_power_as(Loss::Keep, &mut Random::new(SEED));
    medium
}

/// What is in a store, as text: everything that can be asked for, and at last what its open upload makes.
pub fn describe(medium: &Medium) -> String {
    on(&medium.duplicate(), async |machine, drive| {
        let engine = open(&machine, &drive).await;
        let mut text = String::new();
        let directory = engine.directory().expect("a whole directory");
        for bucket in directory.buckets.values() {
            describe_bucket(&engine, bucket, &mut text).await;
        }
        text
    })
}

/// Runs `work` on a machine with a drive on `medium`.
pub fn on<T: 'static>(medium: &Medium, work: impl AsyncFnOnce(Simulator, Rc<dyn Drive>) -> T + 'static) -> T {
    let simulator = Simulator::new(SEED);
    let drive: Rc<dyn Drive> = Rc::new(SimulatedDrive::new(&simulator, medium, Faults::default()));
    let machine = simulator.clone();
    simulator.run(async move { work(machine, drive).await }).expect("no cut and no deadlock")
}

/// Starts the engine on one core.
pub async fn open(machine: &Simulator, drive: &Rc<dyn Drive>) -> Engine {
    let drives = vec![drive.clone()];
    let superblocks = recognise(&drives).await.expect("a store").expect("not blank");
    let tuning = Tuning { cache_bytes: 0, checkpoint_log_bytes: 80 << 10 };
    let store = Store::tuned(superblocks, 1, tuning);
    let platform: Rc<dyn Platform> = Rc::new(machine.clone());
    let engine = store.start_core(CoreId(0), platform, drives).await.expect("whole");
    while !store.is_ready() {
        machine.sleep_us(10).await;
    }
    engine
}

fn tag(letter: u8) -> ETag {
    ETag { md5: [letter; 16], parts: 0 }
}

async fn writer(engine: &Engine, bucket: &Arc<Bucket>, letter: u8, size: usize) -> PutWriter {
    let mut writer = engine.writer(bucket, size as u64).await.expect("room");
    if size > 0 {
        writer.write(vec![letter; size].into()).await.expect("the drive works");
    }
    writer
}

async fn put(engine: &Engine, bucket: &Arc<Bucket>, key: &str, letter: u8, size: usize, versioned: bool) {
    let writer = writer(engine, bucket, letter, size).await;
    let (key, tag, attributes) = (Bytes::from(key.to_owned()), tag(letter), Bytes::from_static(b"type"));
    let published = match versioned {
        true => writer.publish_version(key, PutCondition::None, tag, attributes).await,
        false => writer.publish(key, PutCondition::None, tag, attributes).await,
    };
    published.expect("room, no condition");
}

async fn put_part(
    engine: &Engine,
    bucket: &Arc<Bucket>,
    upload: UploadId,
    (number, letter, size): (u16, u8, usize),
) -> (u16, Sequence) {
    let writer = writer(engine, bucket, letter, size).await;
    let part = writer.publish_part(upload, number, tag(letter), Bytes::from_static(b"part")).await;
    (number, part.expect("room, the upload is open").sequence)
}

async fn objects(engine: &Engine, bucket: &Arc<Bucket>) {
    for (nth, letter) in (b'a'..=b'f').enumerate() {
        put(engine, bucket, &format!("small/{nth}"), letter, 500 * (nth + 1), false).await;
    }
    put(engine, bucket, "empty", b'E', 0, false).await;
    put(engine, bucket, "extents", b'X', 40_000, false).await;
    put(engine, bucket, "units", b'Y', 150_000, false).await;
    for (letter, size, versioned) in [(b'1', 900, false), (b'2', 34_000, true), (b'3', 1_100, true)] {
        put(engine, bucket, "versions", letter, size, versioned).await;
    }
    for (key, version) in [("versions", NewVersion::Another), ("marked", NewVersion::Null)] {
        let marked = engine.mark_deleted(bucket, Bytes::from_static(key.as_bytes()), version).await;
        marked.expect("room, the bucket is there");
    }
    put(engine, bucket, "removed version", b'4', 10, true).await;
    put(engine, bucket, "removed version", b'5', 10, true).await;
    let key = Bytes::from_static(b"removed version");
    let query = VersionQuery { prefix: key.clone(), max: 10, ..VersionQuery::default() };
    let listed = engine.list_versions(bucket, query).await.expect("listed").versions;
    let first = listed.last().expect("two of them").info.sequence;
    assert_eq!(engine.delete_version(bucket, key, first).await, Ok(true));
}

/// Versions with locks and attributes that were exchanged, in a bucket that has both by its settings.
async fn locks(engine: &Engine) {
    let settings = BucketSettings::of(SettingKind::VERSIONING, Bytes::from_static(b"Enabled"))
        .with(SettingKind::LOCK, Some(Bytes::from_static(b"GOVERNANCE 30 days")));
    let bucket = engine.create_bucket("locked", settings).await.expect("new");
    put(engine, &bucket, "by default", b'D', 700, false).await;
    let retention = Some(Retention { mode: RetentionMode::Compliance, until_ms: 1_900_000_000_000 });
    let lock = Lock { retention, legal_hold: true };
    let key = Bytes::from_static(b"revised");
    put(engine, &bucket, "revised", b'R', 40_000, false).await;
    put(engine, &bucket, "revised", b'S', 70, false).await;
    let attributes = Bytes::from_static(b"exchanged");
    let change = move |_: &_| Ok::<_, ()>(Revision { attributes: attributes.clone(), lock, bypass: true });
    let revised = engine.revise(&bucket, key, None, change).await;
    assert!(revised.is_ok_and(|revised| revised.is_ok()));
    let mut writer = engine.writer(&bucket, 5).await.expect("room");
    writer.write(Bytes::from_static(b"bytes")).await.expect("written");
    let object = NewObject {
        condition: PutCondition::None,
        etag: ETag { md5: [b'N'; 16], parts: 0 },
        attributes: Bytes::new(),
        version: NewVersion::Null,
        lock: Lock { legal_hold: true, ..lock },
    };
    writer.publish_object(Bytes::from_static(b"null"), object).await.expect("room");
}

/// An object that has another key than the one it was put under, remembered by a token.
async fn renamed(engine: &Engine) {
    let bucket = engine.create_bucket("renamed", BucketSettings::default()).await.expect("new");
    let mut writer = engine.writer(&bucket, 5).await.expect("room");
    writer.write(Bytes::from_static(b"bytes")).await.expect("written");
    let key = Bytes::from_static(b"before");
    let etag = ETag { md5: [b'B'; 16], parts: 0 };
    writer.publish(key.clone(), PutCondition::None, etag, Bytes::from_static(b"kept")).await.expect("room");
    let token = RenameToken { id: UploadId(7), receipt: Bytes::from_static(b"R") };
    let rename = Rename { key, to: Bytes::from_static(b"after"), token: Some(token) };
    let renamed = engine.rename(&bucket, rename, |_, _| Ok::<(), ()>(())).await;
    assert!(matches!(renamed, Ok(Ok(Renamed::Done(_)))));
}

async fn uploads(engine: &Engine, bucket: &Arc<Bucket>) {
    let open = async |key: &'static [u8]| {
        let attributes = Bytes::from_static(b"upload");
        let opened = engine.create_upload(bucket, Bytes::from_static(key), attributes).await;
        opened.expect("room, the bucket is there")
    };
    let upload = open(b"parts").await;
    let mut parts = Vec::new();
    for part in [(1, b'P', 70_000), (2, b'Q', 60), (9, b'R', 5)] {
        parts.push(put_part(engine, bucket, upload, part).await);
    }
    parts.pop();
    let (tag, attributes) = (ETag { md5: [7; 16], parts: 2 }, Bytes::from_static(b"whole"));
    let completion = completion(parts, PutCondition::None, tag, attributes);
    let made = engine.complete_upload(bucket, upload, completion).await;
    made.expect("room, its parts are there");
    let upload = open(b"given up").await;
    put_part(engine, bucket, upload, (1, b'S', 35_000)).await;
    assert_eq!(engine.abort_upload(bucket, upload).await, Ok(true));
    let upload = open(OPEN_KEY).await;
    for part in [(1, b'V', 36_000), (3, b'W', 700)] {
        put_part(engine, bucket, upload, part).await;
    }
}

async fn values(engine: &Engine, bucket: &Arc<Bucket>) {
    for round in 0_u64..3 {
        let staged =
            (round == 1).then(|| (Bytes::from_static(b"staged"), Bytes::from(vec![b'G'; 200]), round));
        let made = transact(engine, bucket, 8_000, staged, move |_, transaction| {
            let value = |text: String| Some(Bytes::from(text));
            transaction.values.push((Bytes::from(format!("table/{round}")), value("x".repeat(30))));
            transaction.values.push((Bytes::from_static(b"pointer"), value(format!("round {round}"))));
            let kept = (round == 1).then(|| Bytes::from_static(b"once"));
            transaction.values.push((Bytes::from_static(b"cleared"), kept));
        });
        made.await.expect("room");
    }
    for owner in ValueOwner::ALL.into_iter().filter(|owner| *owner != ValueOwner::Catalog) {
        let kept = engine.on_bucket(bucket, owner, move |bucket| async move {
            bucket.room(1_000).await?;
            let key = Bytes::from(vec![*owner.first_bytes().start(), b'/']);
            let values = vec![(key, Some(Bytes::from_static(b"of an owner")))];
            bucket.durable(bucket.append(Transaction { values, ..Transaction::default() })?).await
        });
        kept.await.expect("the shard is there").expect("room");
    }
}

/// Overwrites objects until a checkpoint was taken, small objects were moved into a compaction zone, and zones came back.
async fn churn(engine: &Engine, bucket: &Arc<Bucket>) {
    let stats = engine.stats()[usize::from(bucket.shard.0)].clone();
    for round in 0..ROUNDS_MAX {
        let counts = [&stats.checkpoints, &stats.moved_bytes, &stats.zones_released];
        if counts.iter().all(|count| 0 < count.load(Relaxed)) {
            return;
        }
        let (nth, letter) = (round % 26, b'A' + u8::try_from(round % 26).expect("below 26"));
        let key = if round % 8 == 0 { format!("stays/{nth}") } else { format!("churn/{}", round % 3) };
        put(engine, bucket, &key, letter, if round % 8 == 0 { 1_500 } else { 30_000 }, false).await;
    }
    panic!("nothing was cleaned after {ROUNDS_MAX} objects");
}

async fn describe_bucket(engine: &Engine, bucket: &Arc<Bucket>, text: &mut String) {
    let Bucket { name, id, shard, created_ms, settings } = &**bucket;
    writeln!(text, "bucket {name} {id} {shard} created {created_ms} settings {settings:?}").expect("memory");
    let query = VersionQuery { max: 1_000, ..VersionQuery::default() };
    for version in engine.list_versions(bucket, query).await.expect("listed").versions {
        let info = &version.info;
        let marks = [(version.is_latest, "latest"), (info.is_null, "null"), (version.is_marker, "marker")];
        let marks: Vec<&str> = marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect();
        let (key, sequence, modified, attributes) =
            (&version.key, info.sequence.0, info.modified_ms, &info.attributes);
        let body = match version.is_marker {
            true => "nothing".to_owned(),
            false => body_of(engine, bucket, &version.key, Some(info.version())).await,
        };
        writeln!(
            text,
            "  {key:?} #{sequence} {} modified {modified} tag {} attributes {attributes:?}: {body}",
            marks.join(" "),
            info.etag
        )
        .expect("memory");
        if !info.lock.is_none() {
            writeln!(text, "    {:?}", info.lock).expect("memory");
        }
    }
    let listed = engine.list(bucket, ListQuery { max: 1_000, ..ListQuery::default() }).await.expect("listed");
    writeln!(text, "  {} keys", listed.objects.len()).expect("memory");
    for owner in ValueOwner::ALL {
        let values = engine.on_bucket(bucket, owner, move |bucket| {
            let mut values = Vec::new();
            bucket.values(b"", |key, value| {
                values.push((Bytes::copy_from_slice(key), value.clone()));
                true
            });
            std::future::ready(values)
        });
        for (key, value) in values.await.expect("the shard is there") {
            writeln!(text, "  value {key:?} = {value:?}").expect("memory");
        }
    }
    for upload in engine.uploads(bucket, Bytes::new(), None, 1_000).await.expect("listed") {
        let parts = engine.parts(bucket, upload.id, 0, 1_000).await.expect("listed").expect("open");
        writeln!(
            text,
            "  upload {} of {:?} created {} attributes {:?}",
            upload.id, upload.key, upload.created_ms, upload.attributes
        )
        .expect("memory");
        for part in &parts {
            let (number, size, attributes) = (part.number, part.size, &part.attributes);
            writeln!(
                text,
                "    part {number} #{} {size} bytes modified {} tag {} attributes {attributes:?}",
                part.sequence.0, part.modified_ms, part.etag
            )
            .expect("memory");
        }
        let named = parts.iter().map(|part| (part.number, part.sequence)).collect();
        let tag = ETag { md5: [9; 16], parts: 2 };
        let completion = completion(named, PutCondition::None, tag, Bytes::new());
        let made = engine.complete_upload(bucket, upload.id, completion).await;
        made.expect("room, its parts are there");
        writeln!(text, "    makes {}", body_of(engine, bucket, &upload.key, None).await).expect("memory");
    }
}

/// The bytes of an object: runs of equal bytes, and the checksum of all.
async fn body_of(engine: &Engine, bucket: &Bucket, key: &Bytes, version: Option<VersionId>) -> String {
    let found = engine.open_version(bucket, key.clone(), version).await.expect("readable");
    let reader = found.object().expect("there");
    let size = reader.info.size;
    let mut stream = reader.read(0..size);
    let mut body = Vec::new();
    while let Some(piece) = stream.next().await {
        body.extend_from_slice(&piece.expect("whole"));
    }
    assert_eq!(body.len() as u64, size);
    let runs = body.chunk_by(|a, b| a == b).map(|run| format!("{}*{}", char::from(run[0]), run.len()));
    format!("{} crc {:016x}", runs.collect::<Vec<_>>().join(" "), crc64(&body))
}

/// A drive as text: a line for each run of bytes that are not zero, `OFFSET HEX` or `OFFSET BYTE*COUNT`, all but the
/// count in hexadecimal.
pub fn to_text(medium: &Medium) -> String {
    let mut text = format!("drive {}\n", GEOMETRY.drive_bytes());
    let mut line = |at: usize, bytes: &str| writeln!(text, "{at:06x} {bytes}").expect("memory");
    for block in medium.durable_blocks() {
        let bytes = medium.block(block);
        let base = usize::try_from(block).expect("a small drive") * BLOCK;
        let (mut at, mut literal_from) = (0, 0);
        let mut literal = |from: usize, to: usize| {
            for (nth, bytes) in bytes[from..to].chunks(LINE_BYTES).enumerate() {
                line(base + from + nth * LINE_BYTES, &hex::encode(bytes));
            }
        };
        let mut runs = Vec::new();
        for run in bytes.chunk_by(|a, b| a == b) {
            if RUN_BYTES_MIN <= run.len() {
                literal(literal_from, at);
                literal_from = at + run.len();
                runs.push((at, run));
            }
            at += run.len();
        }
        literal(literal_from, at);
        for (at, run) in runs.into_iter().filter(|(_, run)| run[0] != 0) {
            line(base + at, &format!("{:02x}*{}", run[0], run.len()));
        }
    }
    text
}

/// The drive that [`to_text`] wrote, or the line that is none of its.
pub fn from_text(text: &str) -> Result<Medium, String> {
    let mut lines = text.lines();
    let head = lines.next().and_then(|line| line.strip_prefix("drive ")?.parse::<u64>().ok());
    let drive_bytes = head.ok_or("no drive in the first line")?;
    let mut drive = vec![0_u8; usize::try_from(drive_bytes).map_err(|e| e.to_string())?];
    for line in lines {
        let read = || -> Option<(usize, Vec<u8>)> {
            let (at, bytes) = line.split_once(' ')?;
            let at = usize::from_str_radix(at, 16).ok()?;
            let bytes = match bytes.split_once('*') {
                Some((byte, count)) => vec![u8::from_str_radix(byte, 16).ok()?; count.parse().ok()?],
                None => hex::decode(bytes).ok()?,
            };
            Some((at, bytes))
        };
        let (at, bytes) = read().ok_or_else(|| line.to_owned())?;
        drive.get_mut(at..at + bytes.len()).ok_or_else(|| line.to_owned())?.copy_from_slice(&bytes);
    }
    let medium = Medium::new(drive_bytes);
    for (nth, block) in (0_u64..).zip(drive.chunks(BLOCK)) {
        medium.set_block(nth, &block.try_into().map_err(|_| "no whole blocks")?);
    }
    Ok(medium)
}
