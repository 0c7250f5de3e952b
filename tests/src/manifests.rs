//! Manifest lists and manifests for tests: Avro files with the least that a reader of the table format may ask for.
//!
//! Written by hand here and read by the product, so that a mistake in a shared encoder cannot cancel itself out. Not
//! compressed; one block.

use serde_json::{Value, json};

/// A file of a manifest: its path, its content (0 data, 1 position deletes, 2 equality deletes), its status (0 existing,
/// 1 added, 2 deleted).
#[derive(Clone, Debug)]
pub struct File {
    /// Its path.
    pub path: String,
    /// See [`File`].
    pub content: i64,
    /// See [`File`].
    pub status: i64,
}

impl File {
    /// A data file that the snapshot added.
    pub fn data(path: impl Into<String>) -> File {
        File { path: path.into(), content: 0, status: 1 }
    }
}

/// A manifest of format version 2.
pub fn manifest(files: &[File]) -> Vec<u8> {
    let schema = record(
        "manifest_entry",
        &[
            field("status", json!("int"), 0),
            field("snapshot_id", json!(["null", "long"]), 1),
            field("sequence_number", json!(["null", "long"]), 3),
            field(
                "data_file",
                record(
                    "r2",
                    &[
                        field("content", json!("int"), 134),
                        field("file_path", json!("string"), 100),
                        field("file_format", json!("string"), 101),
                        field("partition", record("r102", &[]), 102),
                        field("record_count", json!("long"), 103),
                        field("file_size_in_bytes", json!("long"), 104),
                    ],
                ),
                2,
            ),
        ],
    );
    let mut rows = Vec::new();
    for file in files {
        long(&mut rows, file.status);
        // Both inherited.
        long(&mut rows, 0);
        long(&mut rows, 0);
        long(&mut rows, file.content);
        text(&mut rows, &file.path);
        text(&mut rows, "PARQUET");
        long(&mut rows, 1);
        long(&mut rows, 1);
    }
    container(&schema, files.len(), &rows)
}

/// A manifest list of format version 2 of the manifests at `paths`.
pub fn list(paths: &[String]) -> Vec<u8> {
    let schema = record(
        "manifest_file",
        &[
            field("manifest_path", json!("string"), 500),
            field("manifest_length", json!("long"), 501),
            field("partition_spec_id", json!("int"), 502),
            field("content", json!("int"), 517),
            field("sequence_number", json!("long"), 515),
            field("min_sequence_number", json!("long"), 516),
            field("added_snapshot_id", json!("long"), 503),
        ],
    );
    let mut rows = Vec::new();
    for path in paths {
        text(&mut rows, path);
        for number in [1, 0, 0, 1, 1, 1] {
            long(&mut rows, number);
        }
    }
    container(&schema, paths.len(), &rows)
}

fn record(name: &str, fields: &[Value]) -> Value {
    json!({"type": "record", "name": name, "fields": fields})
}

fn field(name: &str, kind: Value, id: i64) -> Value {
    json!({"name": name, "type": kind, "field-id": id})
}

fn container(schema: &Value, count: usize, rows: &[u8]) -> Vec<u8> {
    const SYNC: [u8; 16] = *b"0123456789abcdef";
    let mut out = b"Obj\x01".to_vec();
    let head = [("avro.schema", schema.to_string()), ("avro.codec", "null".to_owned())];
    length(&mut out, head.len());
    for (name, value) in &head {
        text(&mut out, name);
        text(&mut out, value);
    }
    length(&mut out, 0);
    out.extend(SYNC);
    if count > 0 {
        length(&mut out, count);
        length(&mut out, rows.len());
        out.extend(rows);
        out.extend(SYNC);
    }
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len());
    out.extend(text.as_bytes());
}

fn length(out: &mut Vec<u8>, length: usize) {
    long(out, i64::try_from(length).expect("small"));
}

/// Zigzag, seven bits at a time.
fn long(out: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    loop {
        let low = u8::try_from(left & 0x7f).expect("seven bits");
        left >>= 7;
        if left == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}
