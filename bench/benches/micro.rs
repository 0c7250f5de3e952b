//! The pure pieces that every request goes through, timed one by one: `cargo bench -p nilas-bench`. With
//! `-- --test` each runs once, so that none rots.

mod policy;

use std::cell::Cell;
use std::hint::black_box;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use nilas_catalog::commit::{Context, NewTable, apply, check, create, parse_requirements, parse_updates};
use nilas_catalog::spec::TableMetadata;
use nilas_engine::cache::{Cache, CacheKey};
use nilas_engine::drive::Drive;
use nilas_engine::format::checksum::unit_checksums;
use nilas_engine::format::record::{BlobPlace, BlobRecord, Change, Record};
use nilas_engine::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format};
use nilas_engine::{BucketId, CoreId, ETag, Engine, ListQuery, PutCondition, ShardId};
use nilas_http::auth::{KeyFault, KeyStore, RequestView, SigningKeyCache, verify};
use nilas_tests::rng;
use nilas_tests::sign::{Signer, Subject, UNSIGNED};
use serde_json::{Value, json};

/// Keys of the bucket that is listed: one page, and more behind it.
const LISTED_KEYS: usize = 2_000;
/// Entries of the cache that is read.
const CACHED_ENTRIES: u64 = 100_000;
/// Snapshots of the table that is committed to.
const SNAPSHOTS: i64 = 10;
/// 2024-01-01T00:00:00Z, milliseconds since 1970, and as SigV4 writes it.
const NOW: (u64, &str) = (1_704_067_200_000, "20240101T000000Z");
/// Entries of the manifest that is read, and columns that each has counts and bounds of.
const ENTRIES: usize = 10_000;
const COLUMNS: i64 = 20;
/// Bytes of a block after which a writer begins the next.
const AVRO_BLOCK_BYTES: usize = 64_000;
const SECRET: &str = "a secret of forty characters, more or less";

criterion_group!(benches, checksums, records, cached, listing, signatures, policies, commits, manifests);
criterion_main!(benches);

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("crc64_units");
    for (name, len) in [("4KiB", 4 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        let bytes = rng::payload("micro", 0, len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |b| b.iter(|| unit_checksums(black_box(&bytes)).fold(0, |a, b| a ^ b)));
    }
    group.finish();
}

/// A put of 4 KiB, as it stands in the log.
fn records(c: &mut Criterion) {
    let payload: Bytes = rng::payload("micro", 0, 4 << 10).into();
    let units = unit_checksums(&payload).collect();
    let blob = BlobRecord { size: payload.len() as u64, place: BlobPlace::Inline(payload), units };
    let key = Bytes::from_static(b"a/key/of/usual/length/0000000001.parquet");
    let (etag, attributes) = (ETag::default(), Bytes::from_static(&[7; 120]));
    let change = Change::PutObject { key, modified_ms: NOW.0, etag, attributes, versioned: false, blob };
    let record = Record { bucket: BucketId(1), changes: vec![change] };
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    let encoded = Bytes::from(encoded);
    let mut group = c.benchmark_group("record_4KiB");
    let mut out = Vec::with_capacity(record.encoded_bytes_max());
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            black_box(&record).encode(&mut out)
        });
    });
    group.bench_function("decode", |b| b.iter(|| Record::decode(black_box(&encoded)).expect("just encoded")));
    group.finish();
}

/// The read cache with 100,000 entries of 4 KiB: hits on random ones, and first reads of what is not kept.
fn cached(c: &mut Criterion) {
    let key = |blob: u64| CacheKey { shard: ShardId(0), blob, unit: 0 };
    let value = rng::payload("micro", 0, 4 << 10);
    let mut cache = Cache::new(CACHED_ENTRIES * (5 << 10));
    for blob in 0..CACHED_ENTRIES {
        cache.offer(key(blob), &value);
        cache.offer(key(blob), &value);
    }
    assert_eq!(cache.stats().entries, CACHED_ENTRIES);
    let mut group = c.benchmark_group("cache_4KiB");
    let mut random = rng::Rng::new(1);
    group.bench_function("hit", |b| {
        b.iter(|| cache.get(&key(random.below(CACHED_ENTRIES))).expect("all of them are there"));
    });
    let mut blob = CACHED_ENTRIES;
    group.bench_function("first_read", |b| {
        b.iter(|| {
            blob += 1;
            assert!(cache.get(&key(blob)).is_none());
            cache.offer(key(blob), black_box(&value));
        });
    });
    group.finish();
}

/// A page of 1,000 keys through the engine's handle, on a machine in memory.
fn listing(c: &mut Criterion) {
    let mut group = c.benchmark_group("list_1000_keys");
    group.sample_size(20);
    for (name, delimiter) in [("flat", ""), ("delimited", "/")] {
        let query = ListQuery {
            delimiter: Bytes::from_static(delimiter.as_bytes()),
            max: 1_000,
            ..ListQuery::default()
        };
        group.bench_function(name, |b| b.iter_custom(|count| list_pages(query.clone(), count)));
    }
    group.finish();
}

fn list_pages(query: ListQuery, count: u64) -> Duration {
    let simulator = Simulator::new(1);
    let machine = simulator.clone();
    let took = simulator.run(async move {
        let engine = engine_in_memory(machine).await;
        let bucket = engine.create_bucket("micro", Default::default()).await.expect("a new name");
        for number in 0..LISTED_KEYS {
            let writer = engine.writer(&bucket, 0).await.expect("room");
            let key = format!("a/key/{:02}/of/usual/length/{number:08}.parquet", number % 50);
            let put = writer.publish(key.into(), PutCondition::None, ETag::default(), Bytes::new()).await;
            assert!(put.is_ok());
        }
        let from = Instant::now();
        for _ in 0..count {
            black_box(engine.list(&bucket, query.clone()).await.expect("a page"));
        }
        from.elapsed()
    });
    took.expect("nothing cuts the power")
}

async fn engine_in_memory(machine: Simulator) -> Engine {
    let drives: Vec<Rc<dyn Drive>> =
        vec![Rc::new(SimulatedDrive::new(&machine, &Medium::new(1 << 30), Faults::default()))];
    let config = FormatConfig { shards: 1, now_ms: NOW.0, store: 1, zone_bytes: None };
    let superblocks = format(&drives, config).await.expect("a blank drive");
    let started = Store::new(superblocks, 1).start_core(CoreId(0), Rc::new(machine.clone()), drives).await;
    let engine = started.expect("a new store");
    while !engine.is_ready() {
        machine.sleep_us(1_000).await;
    }
    engine
}

struct OneKey;

impl KeyStore for OneKey {
    fn secret(&self, access_key: &str, _token: Option<&str>, _now_ms: u64) -> Result<Arc<str>, KeyFault> {
        if access_key == "AK" { Ok(SECRET.into()) } else { Err(KeyFault::Unknown) }
    }
}

/// A signed put without a signed payload: with the day's key at hand, and with the key to derive.
fn signatures(c: &mut Criterion) {
    let headers = [("host", "127.0.0.1:9000"), ("x-amz-content-sha256", UNSIGNED), ("x-amz-date", NOW.1)];
    let path = "/bucket/a/key/of/usual/length/0000000001.parquet";
    let signature = Signer::new("AK", SECRET, "s3").sign(&Subject {
        method: "PUT",
        path,
        query: "",
        headers: &headers,
        payload_hash: UNSIGNED,
        amz_date: NOW.1,
    });
    let mut sent: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    sent.insert("authorization", HeaderValue::from_str(&signature.authorization).expect("ASCII"));
    sent.insert("content-length", HeaderValue::from_static("4096"));
    sent.insert("user-agent", HeaderValue::from_static("aws-sdk-java/2.25.0 Linux/6.1 Java/17"));
    let view = RequestView { method: "PUT", raw_path: path, raw_query: "", headers: &sent };
    let mut group = c.benchmark_group("sigv4_verify");
    let mut cache = SigningKeyCache::new();
    group.bench_function("key_cached", |b| {
        b.iter(|| verify(black_box(&view), &OneKey, &mut cache, NOW.0).expect("it was just signed"));
    });
    group.bench_function("key_derived", |b| {
        b.iter_batched_ref(
            SigningKeyCache::new,
            |cache| verify(black_box(&view), &OneKey, cache, NOW.0).expect("it was just signed"),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// An append to a table with ten snapshots: the request's JSON in, the new metadata file's bytes out.
fn commits(c: &mut Criterion) {
    let table = (1..=SNAPSHOTS).fold(table(), |base, id| commit(&base, &append(&base, id)));
    let file = table.render();
    let request = append(&table, SNAPSHOTS + 1).to_string();
    let mut group = c.benchmark_group("table_10_snapshots");
    group.bench_function("commit", |b| {
        b.iter(|| {
            let request: Value = serde_json::from_str(black_box(&request)).expect("just rendered");
            commit(&table, &request).render()
        });
    });
    group.bench_function("parse_metadata", |b| {
        b.iter(|| TableMetadata::parse(black_box(&file)).expect("just rendered"));
    });
    group.finish();
}

fn commit(base: &TableMetadata, request: &Value) -> TableMetadata {
    let requirements = parse_requirements(&request["requirements"]).expect("valid");
    let updates = parse_updates(&request["updates"]).expect("valid");
    check(&requirements, Some(base)).expect("they hold");
    thread_local! {
        static NOW_MS: Cell<i64> = const { Cell::new(1_704_067_200_000) };
    }
    let now_ms = NOW_MS.replace(NOW_MS.get() + 1);
    let context = Context {
        now_ms,
        previous_metadata_location: Some("s3://b/t/metadata/00009-9c12d441.metadata.json"),
        new_uuid: "unused",
    };
    apply(Some(base), &updates, &context).expect("valid").expect("a change")
}

fn table() -> TableMetadata {
    let fields: Vec<Value> = (1..=12)
        .map(|id| json!({"id": id, "name": format!("column_{id}"), "required": id == 1, "type": "long"}))
        .collect();
    let properties = json!({"format-version": "2", "write.parquet.compression-codec": "zstd"});
    let made = create(NewTable {
        name: "t",
        uuid: "9c12d441-03fe-4693-9a96-a0705ddf69c1".to_owned(),
        location: "s3://b/t".to_owned(),
        schema: &json!({"type": "struct", "schema-id": 0, "fields": fields}),
        partition_spec: None,
        write_order: None,
        properties: properties.as_object().expect("an object"),
        now_ms: 1_704_067_000_000,
    });
    made.expect("valid")
}

/// One question to a user of 20 policies of 20 statements, each case of `policy`.
fn policies(c: &mut Criterion) {
    let fixture = policy::Fixture::new();
    let mut group = c.benchmark_group("policy_20x20");
    for case in policy::CASES {
        group.bench_function(case, |b| b.iter(|| fixture.ask(black_box(case))));
    }
    group.finish();
}

fn append(base: &TableMetadata, id: i64) -> Value {
    let parent = base.current_snapshot_id();
    let mut snapshot = json!({
        "snapshot-id": id, "sequence-number": id, "timestamp-ms": 1_704_067_200_000_i64,
        "manifest-list": format!("s3://b/t/metadata/snap-{id}-1-9c12d441.avro"), "schema-id": 0,
        "summary": {"operation": "append", "added-data-files": "1", "added-records": "1000",
            "added-files-size": "123456", "total-records": "10000", "total-data-files": "10"}});
    if let Some(parent) = parent {
        snapshot["parent-snapshot-id"] = parent.into();
    }
    json!({
        "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": parent}],
        "updates": [{"action": "add-snapshot", "snapshot": snapshot},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}]})
}

/// A manifest as large as writers let it become, deflated as they do by default.
fn manifests(c: &mut Criterion) {
    let manifest = manifest();
    let mut group = c.benchmark_group("manifest_10000x20");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(manifest.len() as u64));
    group.bench_function("read", |b| {
        b.iter(|| assert_eq!(nilas_catalog::manifest::count_entries(black_box(&manifest)), Ok(ENTRIES)));
    });
    group.finish();
}

/// `manifest_entry` of version 2 with the fields that every writer fills in.
fn manifest() -> Vec<u8> {
    let field = |name: &str, id: i64, of: Value| json!({"name": name, "type": of, "field-id": id});
    let map = |name: &str, id: i64, key: i64, of: &str| {
        let pair = json!({"type": "record", "name": format!("k{key}_v{}", key + 1),
            "fields": [field("key", key, "int".into()), field("value", key + 1, of.into())]});
        field(name, id, json!(["null", {"type": "array", "logicalType": "map", "items": pair}]))
    };
    let data_file = json!({"type": "record", "name": "r2", "fields": [
        field("content", 134, "int".into()), field("file_path", 100, "string".into()),
        field("file_format", 101, "string".into()),
        field("partition", 102, json!({"type": "record", "name": "r102", "fields": [field("day", 1000, json!(["null", "int"]))]})),
        field("record_count", 103, "long".into()), field("file_size_in_bytes", 104, "long".into()),
        map("column_sizes", 108, 117, "long"), map("value_counts", 109, 119, "long"),
        map("null_value_counts", 110, 121, "long"), map("lower_bounds", 125, 126, "bytes"),
        map("upper_bounds", 128, 129, "bytes"),
        field("split_offsets", 132, json!(["null", {"type": "array", "items": "long"}])),
        field("sort_order_id", 140, json!(["null", "int"]))]});
    let schema = json!({"type": "record", "name": "manifest_entry", "fields": [
        field("status", 0, "int".into()), field("snapshot_id", 1, json!(["null", "long"])),
        field("sequence_number", 3, json!(["null", "long"])),
        field("file_sequence_number", 4, json!(["null", "long"])), field("data_file", 2, data_file)]});
    let sync = [7; 16];
    let mut out = b"Obj\x01".to_vec();
    long(2, &mut out);
    for (key, value) in [("avro.codec", "deflate"), ("avro.schema", schema.to_string().as_str())] {
        avro_bytes(key.as_bytes(), &mut out);
        avro_bytes(value.as_bytes(), &mut out);
    }
    out.push(0);
    out.extend(sync);
    let mut random = rng::Rng::new(7);
    let (mut block, mut entries) = (Vec::new(), 0);
    for number in 0..ENTRIES {
        entry(number, &mut random, &mut block);
        entries += 1;
        if AVRO_BLOCK_BYTES <= block.len() || number + 1 == ENTRIES {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&block).expect("memory");
            long(entries, &mut out);
            avro_bytes(&encoder.finish().expect("memory"), &mut out);
            out.extend(sync);
            (block, entries) = (Vec::new(), 0);
        }
    }
    out
}

fn entry(number: usize, random: &mut rng::Rng, out: &mut Vec<u8>) {
    let mut below = |bound: u64| random.below(bound).cast_signed();
    long(1, out);
    for value in [4_177_820_387_414_649_981, 12, 12] {
        long(1, out);
        long(value, out);
    }
    long(0, out);
    let path = format!(
        "s3://lake/sales/orders/data/day=2026-01-{:02}/{number:05}-{:016x}-00001.parquet",
        number % 31,
        below(1 << 60)
    );
    avro_bytes(path.as_bytes(), out);
    avro_bytes(b"PARQUET", out);
    long(1, out);
    long(20_000 + below(31), out);
    long(below(1_000_000), out);
    long(below(512 << 20), out);
    for is_bound in [false, false, false, true, true] {
        long(1, out);
        long(COLUMNS, out);
        for column in 1..=COLUMNS {
            long(column, out);
            if is_bound {
                avro_bytes(&below(1 << 40).to_le_bytes(), out)
            } else {
                long(below(1_000_000), out)
            }
        }
        out.push(0);
    }
    long(1, out);
    long(1, out);
    long(4, out);
    out.push(0);
    long(1, out);
    long(0, out);
}

/// Avro's `long`.
fn long(value: i64, out: &mut Vec<u8>) {
    let mut left = value.wrapping_shl(1).cast_unsigned() ^ (value >> 63).cast_unsigned();
    while 0x80 <= left {
        out.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    out.push(left.to_le_bytes()[0]);
}

/// Avro's `bytes` or `string`.
fn avro_bytes(value: &[u8], out: &mut Vec<u8>) {
    long(i64::try_from(value.len()).expect("a length"), out);
    out.extend_from_slice(value);
}
