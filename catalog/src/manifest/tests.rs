//! Files of other writers (`fuzz/corpus/manifest`), files of a small writer of the test's own in every codec and with
//! every type, and files that are wrong in one place.

#![expect(
    clippy::cast_possible_truncation,
    clippy::type_complexity,
    clippy::big_endian_bytes,
    reason = "small numbers and tables of the test's own"
)]

use std::io::Write;

use serde_json::{Value, json};

use super::entry::{FileContent, Status};
use super::list::ManifestContent;
use super::{AvroError, fuzz_rows, read_list, read_manifest};
use crate::limits::{AVRO_BLOCK_BYTES_MAX, AVRO_DEPTH_MAX};

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../fuzz/corpus/manifest/", $name)).as_slice()
    };
}

/// What a test looks at of an entry: status, content, path, records, size, sequence number, first row id.
type Entry = (Status, FileContent, String, i64, i64, Option<i64>, Option<i64>);

fn entries(bytes: &[u8]) -> Result<Vec<Entry>, AvroError> {
    let mut found = Vec::new();
    read_manifest(bytes, &mut |e| {
        let path = e.file_path.to_owned();
        found.push((
            e.status,
            e.content,
            path,
            e.record_count,
            e.file_size,
            e.sequence_number,
            e.first_row_id,
        ));
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn manifests_of_java() {
    use FileContent::{Data, EqualityDeletes, PositionDeletes};
    use Status::{Added, Deleted, Existing};
    let check = |file: &[u8], want: &[(Status, FileContent, &str, i64, i64, Option<i64>, Option<i64>)]| {
        let got = entries(file).expect("a file of the reference");
        let want: Vec<Entry> =
            want.iter().map(|w| (w.0, w.1, format!("s3://lake/n/{}", w.2), w.3, w.4, w.5, w.6)).collect();
        assert_eq!(got, want);
    };
    let two = "v1/data/day=31/2.parquet";
    check(file!("java-v1-data-0"), &[(Added, Data, "v1/data/day=31/3.parquet", 3000, 1003, None, None)]);
    check(
        file!("java-v1-data-1"),
        &[
            (Existing, Data, "v1/data/day=31/1.parquet", 1000, 1001, None, None),
            (Deleted, Data, two, 2000, 1002, None, None),
        ],
    );
    check(file!("java-v2-data-0"), &[(Added, Data, "v2/data/day=31/3.parquet", 3000, 1003, None, None)]);
    check(
        file!("java-v2-data-1"),
        &[
            (Existing, Data, "v2/data/day=31/1.parquet", 1000, 1001, Some(1), None),
            (Deleted, Data, "v2/data/day=31/2.parquet", 2000, 1002, Some(1), None),
        ],
    );
    check(
        file!("java-v2-deletes-2"),
        &[
            (Added, PositionDeletes, "v2/data/positions.parquet", 2, 77, None, None),
            (Added, EqualityDeletes, "v2/data/equal.parquet", 2, 77, None, None),
        ],
    );
    check(
        file!("java-v3-data-1"),
        &[
            (Existing, Data, "v3/data/day=31/1.parquet", 1000, 1001, Some(1), Some(0)),
            (Deleted, Data, "v3/data/day=31/2.parquet", 2000, 1002, Some(1), Some(1000)),
        ],
    );
    check(
        file!("java-v3-deletes-2"),
        &[(Added, PositionDeletes, "v3/data/vectors.puffin", 2, 93, None, None)],
    );
}

#[test]
fn a_deletion_vector_says_where_it_is() {
    let read = read_manifest(file!("java-v3-deletes-2"), &mut |entry| {
        assert_eq!(entry.file_format.to_ascii_lowercase(), "puffin");
        assert_eq!(entry.referenced_data_file, Some("s3://lake/n/v3/data/day=31/1.parquet"));
        assert_eq!((entry.content_offset, entry.content_size), (Some(4), Some(44)));
        assert!(entry.snapshot_id.is_some() && entry.file_sequence_number.is_none() && !entry.encrypted);
        Ok(())
    });
    assert_eq!(read, Ok(()));
}

#[test]
fn lists_of_java() {
    let check = |file: &[u8], want: &[(ManifestContent, i64, i64, [i64; 6], Option<i64>)]| {
        let got = read_list(file).expect("a file of the reference");
        let counts = |m: &super::ManifestFile| {
            let counts = [m.added_files_count, m.existing_files_count, m.deleted_files_count];
            let rows = [m.added_rows_count, m.existing_rows_count, m.deleted_rows_count];
            [counts, rows]
                .concat()
                .into_iter()
                .map(|count| count.expect("Java writes it"))
                .collect::<Vec<_>>()
        };
        let got: Vec<_> = got
            .iter()
            .map(|m| {
                assert!(m.path.starts_with("s3://lake/n/v") && m.path.ends_with(".avro"), "{}", m.path);
                assert!(0 < m.length && m.partition_spec_id == 0 && m.added_snapshot_id.is_some());
                (m.content, m.sequence_number, m.min_sequence_number, counts(m), m.first_row_id)
            })
            .collect();
        let want: Vec<_> = want.iter().map(|w| (w.0, w.1, w.2, w.3.to_vec(), w.4)).collect();
        assert_eq!(got, want);
    };
    let (data, deletes) = (ManifestContent::Data, ManifestContent::Deletes);
    let (new, old, gone) = ([1, 0, 0, 3000, 0, 0], [0, 1, 1, 0, 1000, 2000], [2, 0, 0, 4, 0, 0]);
    check(file!("java-v1-list"), &[(data, 0, 0, new, None), (data, 0, 0, old, None)]);
    check(
        file!("java-v2-list"),
        &[(data, 2, 2, new, None), (data, 4, 1, old, None), (deletes, 3, 3, gone, None)],
    );
    let vector = [1, 0, 0, 2, 0, 0];
    check(
        file!("java-v3-list"),
        &[(data, 2, 2, new, Some(3000)), (data, 4, 1, old, Some(6000)), (deletes, 3, 3, vector, None)],
    );
}

#[test]
fn files_of_pyiceberg_in_each_codec() {
    let manifests = [
        (1, file!("pyiceberg-v1-null"), file!("pyiceberg-v1-null-list")),
        (1, file!("pyiceberg-v1-deflate"), file!("pyiceberg-v1-deflate-list")),
        (1, file!("pyiceberg-v1-zstandard"), file!("pyiceberg-v1-zstandard-list")),
        (2, file!("pyiceberg-v2-null"), file!("pyiceberg-v2-null-list")),
        (2, file!("pyiceberg-v2-deflate"), file!("pyiceberg-v2-deflate-list")),
        (2, file!("pyiceberg-v2-zstandard"), file!("pyiceberg-v2-zstandard-list")),
    ];
    for (version, manifest, list) in manifests {
        let got = entries(manifest).expect("a file of PyIceberg");
        let statuses = [Status::Existing, Status::Added, Status::Deleted];
        for (number, (entry, status)) in (1..).zip(got.iter().zip(statuses)) {
            let sequence = (version == 2 && status != Status::Added).then_some(number);
            let path = format!("s3://lake/n/p/data/{number}-ä.parquet");
            let want = (status, FileContent::Data, path, 1000 * number, 5000 + number, sequence, None);
            assert_eq!(*entry, want);
        }
        assert_eq!(got.len(), statuses.len());
        let list = read_list(list).expect("a file of PyIceberg");
        assert_eq!(list.len(), 2);
        for listed in list {
            assert_eq!(listed.length, i64::try_from(manifest.len()).expect("a length"));
            assert_eq!((listed.partition_spec_id, listed.content), (3, ManifestContent::Data));
            assert_eq!(listed.sequence_number, if version == 1 { 0 } else { 7 });
            assert_eq!((listed.added_files_count, listed.deleted_rows_count), (Some(1), Some(3000)));
        }
    }
}

#[test]
fn files_of_duckdb() {
    let check = |file: &[u8], want: FileContent, suffix: &str, count: usize| {
        let got = entries(file).expect("a file of DuckDB");
        assert_eq!(got.len(), count);
        for (status, content, path, records, size, ..) in got {
            assert_eq!((status, content), (Status::Added, want));
            assert!(path.starts_with("s3://lake") && path.ends_with(suffix), "{path}");
            assert!(0 < records && 0 < size);
        }
    };
    check(file!("duckdb-v2-data"), FileContent::Data, ".parquet", 1);
    check(file!("duckdb-v2-deletes"), FileContent::PositionDeletes, "-deletes.parquet", 2);
    let list = read_list(file!("duckdb-v2-list")).expect("a file of DuckDB");
    let of = |content| list.iter().filter(|manifest| manifest.content == content).count();
    assert_eq!((of(ManifestContent::Data), of(ManifestContent::Deletes)), (2, 1));
}

// ---- A writer, for what real files do not show ----

const SYNC: &[u8; 16] = b"sixteen byte tag";
const CODECS: [&str; 4] = ["null", "deflate", "zstandard", "snappy"];

fn long(value: i64, out: &mut Vec<u8>) {
    let mut left = value.wrapping_shl(1).cast_unsigned() ^ (value >> 63).cast_unsigned();
    while 0x80 <= left {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len() as i64, out);
    out.extend_from_slice(value);
}

fn pack(codec: &str, plain: &[u8]) -> Vec<u8> {
    match codec {
        "deflate" => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        }
        "zstandard" => ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest),
        "snappy" => {
            let mut packed = snap::raw::Encoder::new().compress_vec(plain).expect("memory");
            packed.extend(crc32fast::hash(plain).to_be_bytes());
            packed
        }
        _ => plain.to_vec(),
    }
}

/// A file of blocks, each with its number of records.
fn file(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    long(2, &mut out);
    bytes(b"avro.codec", &mut out);
    bytes(codec.as_bytes(), &mut out);
    bytes(b"avro.schema", &mut out);
    bytes(schema.as_bytes(), &mut out);
    long(0, &mut out);
    out.extend_from_slice(SYNC);
    for (records, plain) in blocks {
        let packed = pack(codec, plain);
        long(*records, &mut out);
        bytes(&packed, &mut out);
        out.extend_from_slice(SYNC);
    }
    out
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// A number of any size.
    fn number(&mut self) -> i64 {
        let shift = self.below(64);
        self.next().cast_signed() >> shift
    }
}

/// A random type that nobody asks for, with its names made unique by `number`.
fn noise(random: &mut Random, number: &mut u32, depth: u32) -> Value {
    *number += 1;
    let name = format!("n{number}");
    let simple = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    match random.below(if depth == 0 { 11 } else { 15 }) {
        at @ 0..8 => Value::from(simple[at as usize]),
        8 => json!({"type": "fixed", "name": name, "size": random.below(9)}),
        9 => json!({"type": "enum", "name": name, "symbols": ["A", "B", "C"]}),
        10 => json!({"type": "int", "logicalType": "date"}),
        11 => json!({"type": "array", "items": noise(random, number, depth - 1)}),
        12 => json!({"type": "map", "values": noise(random, number, depth - 1)}),
        13 => json!(["null", noise(random, number, depth - 1), "boolean"]),
        _ => {
            let count = random.below(4);
            let field = |at: u64| format!("f{at}");
            let fields: Vec<Value> = (0..count)
                .map(|at| json!({"name": field(at), "type": noise(random, number, depth - 1)}))
                .collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
    }
}

/// Writes a random value of `of`. Arrays and maps come in blocks with and without their length in bytes.
fn value(of: &Value, random: &mut Random, out: &mut Vec<u8>) {
    let name = of["type"].as_str().or(of.as_str()).unwrap_or("union");
    match name {
        "null" => {}
        "boolean" => out.push(random.below(2) as u8),
        "int" => long(random.number() >> 32, out),
        "long" => long(random.number(), out),
        "float" => out.extend(&random.next().to_le_bytes()[..4]),
        "double" => out.extend(random.next().to_le_bytes()),
        "bytes" | "string" => bytes(&vec![b'x'; random.below(70) as usize], out),
        "fixed" => out.extend(vec![7; of["size"].as_u64().expect("a size") as usize]),
        "enum" => long(random.below(3) as i64, out),
        "array" | "map" => {
            for _ in 0..random.below(3) {
                let count = 1 + random.below(4);
                let mut items = Vec::new();
                for _ in 0..count {
                    if name == "map" {
                        bytes(b"key", &mut items);
                    }
                    value(if name == "map" { &of["values"] } else { &of["items"] }, random, &mut items);
                }
                if random.below(2) == 0 {
                    long(count as i64, out);
                } else {
                    long(-(count as i64), out);
                    long(items.len() as i64, out);
                }
                out.extend(items);
            }
            out.push(0);
        }
        "record" => {
            of["fields"].as_array().expect("fields").iter().for_each(|f| value(&f["type"], random, out))
        }
        _ => {
            let branches = of.as_array().expect("a union");
            let at = random.below(branches.len() as u64);
            long(at as i64, out);
            value(&branches[at as usize], random, out);
        }
    }
}

/// A wanted field of a random schema: its id, its type, and whether null may stand in its place.
fn wanted(random: &mut Random) -> Vec<(i32, Value, bool)> {
    let all = [
        (500, "string", false),
        (501, "long", false),
        (502, "int", false),
        (517, "int", true),
        (515, "long", true),
        (503, "long", true),
        (504, "int", true),
        (512, "long", true),
        (520, "long", true),
        (519, "bytes", true),
    ];
    let mut fields = Vec::new();
    for (id, of, optional) in all {
        if optional && random.below(4) == 0 {
            continue;
        }
        // A narrower number is read as well.
        let of = if of == "long" && random.below(3) == 0 { "int" } else { of };
        let of = match (optional, random.below(3)) {
            (true, 0) => json!(["null", of]),
            (true, 1) => json!([of, "null"]),
            _ => Value::from(of),
        };
        fields.insert(random.below(fields.len() as u64 + 1) as usize, (id, of, optional));
    }
    fields
}

/// Random schemas with the wanted fields anywhere among others of any type, random values, every codec: what was written
/// is what is read.
#[test]
fn what_is_written_is_read() {
    for seed in 1..400 {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut number = 0;
        let mut fields: Vec<(Option<i32>, Value)> =
            wanted(&mut random).into_iter().map(|(id, of, _)| (Some(id), of)).collect();
        for _ in 0..random.below(8) {
            let at = random.below(fields.len() as u64 + 1) as usize;
            fields.insert(at, (None, noise(&mut random, &mut number, 3)));
        }
        let listed: Vec<Value> = fields
            .iter()
            .enumerate()
            .map(|(at, (id, of))| match id {
                Some(id) => json!({"name": format!("f{at}"), "type": of, "field-id": id}),
                None => json!({"name": format!("f{at}"), "type": of, "field-id": 9000 + at}),
            })
            .collect();
        let schema = json!({"type": "record", "name": "manifest_file", "fields": listed});
        let mut want = Vec::new();
        let mut blocks = Vec::new();
        for _ in 0..random.below(4) {
            let records = random.below(5);
            let mut plain = Vec::new();
            for _ in 0..records {
                want.push(record(&fields, &mut random, &mut plain));
            }
            blocks.push((records as i64, plain));
        }
        for codec in CODECS {
            let got = fuzz_rows(&file(&schema.to_string(), codec, &blocks), true);
            assert_eq!(got.as_ref(), Ok(&want), "seed {seed}, {codec}, {schema}");
        }
    }
}

/// Writes one record, and answers what is to be read of it.
fn record(fields: &[(Option<i32>, Value)], random: &mut Random, out: &mut Vec<u8>) -> Vec<(i32, String)> {
    let mut want = Vec::new();
    for (id, of) in fields {
        let Some(id) = id else {
            value(of, random, out);
            continue;
        };
        let mut of = of;
        if let Some(branches) = of.as_array() {
            let at = random.below(2);
            long(at as i64, out);
            of = &branches[at as usize];
        }
        match of.as_str().expect("a simple type") {
            "null" => {}
            "string" => {
                let text = format!("s3://b/{}", random.number());
                bytes(text.as_bytes(), out);
                want.push((*id, text));
            }
            "bytes" => {
                let key = random.next().to_le_bytes();
                bytes(&key, out);
                want.push((*id, format!("{key:?}")));
            }
            of => {
                // Contents are 0 or 1.
                let number = match (id, of) {
                    (517, _) => random.below(2).cast_signed(),
                    (_, "int") => random.number() >> 32,
                    _ => random.number(),
                };
                long(number, out);
                want.push((*id, number.to_string()));
            }
        }
    }
    want.sort();
    want
}

const LIST: &str = r#"{"type":"record","name":"m","fields":[{"name":"a","type":"string","field-id":500},
    {"name":"b","type":"long","field-id":501},{"name":"c","type":"int","field-id":502}]}"#;
/// One record of [`LIST`].
const ROW: &[u8] = &[2, b'p', 4, 0];

fn list_error(bytes: &[u8]) -> String {
    read_list(bytes)
        .map(|list| format!("{list:?}"))
        .map_err(|error| error.to_string())
        .expect_err("is refused")
}

#[test]
fn damage_is_named() {
    let good = file(LIST, "null", &[(1, ROW.to_vec())]);
    assert_eq!(read_list(&good).map(|list| list.len()), Ok(1));
    let check = |bytes: &[u8], want: &str| {
        let got = list_error(bytes);
        assert!(got.contains(want), "{got}");
    };
    check(b"", "at byte 0: expected an Avro object container file, got 0 bytes");
    check(b"PAR1", "an Avro object container file");
    check(&good[..good.len() - 1], "a value of fixed length, got 15 bytes");
    check(&good[..good.len() - 18], "as many bytes as the length says, got 2 bytes");
    let mut other = good.clone();
    *other.last_mut().expect("bytes") ^= 1;
    check(&other, "the file's sync marker behind the block");
    check(&file(LIST, "bzip2", &[]), "one of the codecs null, deflate, zstandard, snappy, got \"bzip2\"");
    check(&file("{", "null", &[]), "a schema in JSON");
    check(&file(LIST, "null", &[(2, ROW.to_vec())]), "field 500: expected");
    check(
        &file(LIST, "null", &[(1, [ROW, &[1]].concat())]),
        "the end of the block behind its last record, got 1 bytes",
    );
    check(&file(LIST, "null", &[(1, vec![2, 0xff, 4, 0])]), "field 500: expected UTF-8");
    check(&file(LIST, "null", &[(-1, ROW.to_vec())]), "expected a count, got -1");
    check(&file(LIST, "deflate", &[(1, vec![2, b'p', 4])]), "of the unpacked block, field 502");
    for codec in &CODECS[1..] {
        let mut packed = file(LIST, codec, &[(1, ROW.to_vec())]);
        let at = packed.len() - SYNC.len() - 2;
        packed.truncate(at);
        packed.extend([0xff, 0xff]);
        packed.extend_from_slice(SYNC);
        assert!(read_list(&packed).is_err(), "{codec}");
    }
}

#[test]
fn a_field_is_known_by_its_id_and_has_its_type() {
    let check = |from: &str, to: &str, want: &str| {
        assert!(LIST.contains(from), "{from}");
        let got = list_error(&file(&LIST.replace(from, to), "null", &[]));
        assert!(got.contains(want), "{got}");
    };
    check(r#","field-id":501"#, "", "field 501: expected the field in the schema, got nothing");
    check("501", "502", "field 501: expected the field in the schema");
    check(r#""field-id":502"#, r#""field-id":501"#, "field 501: expected the field once, got 2");
    check(r#""long""#, r#""string""#, r#"field 501: expected an int or long, got "string""#);
    check(r#""long""#, r#"["null","int","long"]"#, "field 501: expected a union of one type and null, got 2");
    check(r#""string""#, r#""m""#, r#"expected a type that is complete, got "m""#);
    check(r#""field-id":500"#, r#""field-id":"500""#, "a field id of 32 bits");
}

/// What decodes to much more than it takes, or claims to.
#[test]
fn bombs_are_refused() {
    let with = |of: &Value| {
        json!({"type": "record", "name": "m", "fields": [
            {"name": "a", "type": "string", "field-id": 500}, {"name": "b", "type": "long", "field-id": 501},
            {"name": "c", "type": "int", "field-id": 502}, {"name": "d", "type": of}]})
        .to_string()
    };
    // A great number of nothing is nothing.
    let mut row = ROW.to_vec();
    long(i64::MAX, &mut row);
    row.push(0);
    let nothing = with(&json!({"type": "array", "items": "null"}));
    assert_eq!(read_list(&file(&nothing, "null", &[(1, row.clone())])).map(|list| list.len()), Ok(1));
    // A great number of something is not there.
    for of in [json!({"type": "array", "items": "int"}), json!({"type": "map", "values": "null"})] {
        assert!(read_list(&file(&with(&of), "null", &[(1, row.clone())])).is_err(), "{of}");
    }
    // Types that double: of nothing, and of something.
    for (of, rest) in [("null", Ok(1)), ("int", Err(()))] {
        let mut nested = json!({"type": "record", "name": "r0", "fields": [{"name": "a", "type": of}]});
        for level in 1..35 {
            let (name, inner) = (format!("r{level}"), format!("r{}", level - 1));
            nested = json!({"type": "record", "name": name,
                "fields": [{"name": "a", "type": nested}, {"name": "b", "type": inner}]});
        }
        let got = read_list(&file(&with(&nested), "null", &[(1, ROW.to_vec())]));
        assert_eq!(got.map(|list| list.len()).map_err(|_| ()), rest);
    }
    let deep = (0..=AVRO_DEPTH_MAX).fold(json!("int"), |of, _| json!({"type": "array", "items": of}));
    assert!(list_error(&file(&with(&deep), "null", &[])).contains("AVRO_DEPTH_MAX"));
    let large = vec![0; AVRO_BLOCK_BYTES_MAX + 1];
    for codec in &CODECS[1..] {
        let got = list_error(&file(LIST, codec, &[(1, large.clone())]));
        assert!(got.contains("AVRO_BLOCK_BYTES_MAX") || got.contains("end of the block"), "{codec}: {got}");
    }
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let schema = LIST
        .replace(r#"{"name":"c""#, r#"{"name":"content","type":["null","int"],"field-id":517},{"name":"c""#);
    let check = |content: &[u8], want: Option<ManifestContent>| {
        let row = [&ROW[..3], content, &[0]].concat();
        let got = read_list(&file(&schema, "null", &[(1, row)]));
        assert_eq!(got.ok().map(|list| list[0].content), want, "{content:?}");
    };
    check(&[0], Some(ManifestContent::Data));
    check(&[2, 0], Some(ManifestContent::Data));
    check(&[2, 2], Some(ManifestContent::Deletes));
    check(&[2, 4], None);
    check(&[2, 1], None);
    check(&[4, 0], None);
}
