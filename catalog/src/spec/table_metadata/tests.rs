//! Parsing and rendering of whole documents, by table; random damage must never panic.

use serde_json::{Value, json};

use super::{TableMetadata, fuzz_metadata};

fn document(version: u8) -> Value {
    let mut doc = json!({
        "format-version": version, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "s3://b/t",
        "last-sequence-number": 34, "last-updated-ms": 1602638573590_i64, "last-column-id": 3,
        "current-schema-id": 1,
        "schemas": [
            {"type": "struct", "schema-id": 0, "fields": [{"id": 1, "name": "x", "required": true, "type": "long"}]},
            {"type": "struct", "schema-id": 1, "identifier-field-ids": [1], "future": {"a": [1.50, 1e40]}, "fields": [
                {"id": 1, "name": "x", "required": true, "type": "long", "note": "kept"},
                {"id": 2, "name": "y", "required": false, "type": "decimal(9, 2)"}]}],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": [
            {"name": "x", "transform": "identity", "source-id": 1, "field-id": 1000}]}],
        "last-partition-id": 1000,
        "default-sort-order-id": 3,
        "sort-orders": [{"order-id": 3, "fields": [
            {"transform": "bucket[4]", "source-id": 2, "direction": "desc", "null-order": "nulls-last"}]}],
        "properties": {"b": "2", "a": "1"},
        "current-snapshot-id": 3055729675574597004_i64,
        "refs": {"main": {"snapshot-id": 3055729675574597004_i64, "type": "branch", "max-ref-age-ms": 5}},
        "snapshots": [
            {"snapshot-id": 3051729675574597004_i64, "timestamp-ms": 1515100955770_i64, "sequence-number": 0,
                "summary": {"operation": "append"}, "manifest-list": "s3://b/1"},
            {"snapshot-id": 3055729675574597004_i64, "parent-snapshot-id": 3051729675574597004_i64,
                "timestamp-ms": 1555100955770_i64, "sequence-number": 1, "summary": {"operation": "append"},
                "manifest-list": "s3://b/2", "schema-id": 1, "x": null}],
        "statistics": [], "partition-statistics": [],
        "snapshot-log": [{"snapshot-id": 3051729675574597004_i64, "timestamp-ms": 1515100955770_i64},
            {"snapshot-id": 3055729675574597004_i64, "timestamp-ms": 1555100955770_i64}],
        "metadata-log": [{"timestamp-ms": 1515100, "metadata-file": "s3://b/m/1.json"}],
        "later": [1, {"big": 18446744073709551616_f64}], "also": "kept"});
    if version == 3 {
        doc["next-row-id"] = json!(7);
        doc["encryption-keys"] = json!([{"key-id": "k", "encrypted-key-metadata": "aGk="}]);
    }
    doc
}

fn bytes(doc: &Value) -> Vec<u8> {
    serde_json::to_vec(doc).expect("test JSON")
}

fn keys(doc: &Value) -> Vec<&str> {
    doc.as_object().expect("object").keys().map(String::as_str).collect()
}

#[test]
fn every_version_survives_a_round_trip_with_unknown_fields() {
    for version in 1..=3 {
        let doc = document(version);
        let parsed = TableMetadata::parse(&bytes(&doc)).expect("valid");
        let rendered = parsed.render();
        let out: Value = serde_json::from_slice(&rendered).expect("JSON");
        for key in keys(&doc) {
            if version == 1 && key == "last-sequence-number" {
                assert!(out.get(key).is_none());
                continue;
            }
            if version == 1 && key == "snapshots" {
                let mut want = doc[key].clone();
                for snapshot in want.as_array_mut().expect("a list") {
                    snapshot.as_object_mut().expect("object").shift_remove("sequence-number");
                }
                assert_eq!(out[key], want, "format 1 has no sequence numbers");
                continue;
            }
            assert_eq!(out[key], doc[key], "v{version} {key}");
        }
        let again = TableMetadata::parse(&rendered).expect("valid");
        assert_eq!((again.render(), &again), (rendered, &parsed));
        assert_eq!(keys(&out).last(), Some(&"also"), "unknown fields keep their order at the end");
        assert_eq!(out.get("schema").is_some(), version == 1);
        assert_eq!(out.get("partition-spec").is_some(), version == 1);
        assert_eq!(parsed.uuid(), "9c12d441-03fe-4693-9a96-a0705ddf69c1");
        assert_eq!((parsed.format_version(), parsed.location()), (version, "s3://b/t"));
        assert_eq!(parsed.current_snapshot_id(), Some(3055729675574597004));
        assert_eq!(parsed.property("b"), Some("2"));
        assert_eq!(parsed.metadata_log(), [(1515100, "s3://b/m/1.json".to_owned())]);
        assert_eq!(parsed.last_updated_ms(), 1602638573590);
    }
}

#[test]
fn digits_pass_untouched() {
    let text = String::from_utf8(bytes(&document(2))).expect("UTF-8");
    let text = text.replace("\"also\"", "\"n\":1.2300e+07,\"m\":123456789012345678901234567890,\"also\"");
    let out = TableMetadata::parse(text.as_bytes()).expect("valid").render();
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.contains("\"n\":1.2300e+07,\"m\":123456789012345678901234567890"), "{out}");
}

#[test]
fn what_java_always_writes() {
    let check = |version: u8, absent: &[&str], want: &[(&str, Value)]| {
        let mut doc = document(version);
        for key in absent {
            doc.as_object_mut().expect("object").shift_remove(*key);
        }
        let parsed = TableMetadata::parse(&bytes(&doc)).expect("valid");
        for (key, value) in want {
            assert_eq!(parsed.to_json().get(*key), Some(value), "v{version} {key}");
        }
    };
    let history = [
        "current-snapshot-id",
        "refs",
        "snapshots",
        "snapshot-log",
        "metadata-log",
        "statistics",
        "properties",
    ];
    let empty = [
        ("refs", json!({})),
        ("snapshots", json!([])),
        ("snapshot-log", json!([])),
        ("properties", json!({})),
    ];
    for version in 1..=3 {
        check(version, &history, &empty);
        check(version, &["partition-statistics"], &[("partition-statistics", json!([]))]);
    }
    check(1, &history, &[("current-snapshot-id", json!(-1))]);
    check(2, &history, &[("current-snapshot-id", json!(-1))]);
    check(3, &history, &[("current-snapshot-id", Value::Null)]);
    // a table from before refs has its main branch all the same
    let main = json!({"main": {"snapshot-id": 3055729675574597004_i64, "type": "branch"}});
    check(2, &["refs"], &[("refs", main)]);
}

#[test]
fn what_is_read_takes_the_spelling_of_the_reference() {
    let mut doc = document(2);
    let at = |doc: &mut Value, pointer: &str, value: Value| {
        *doc.pointer_mut(pointer).expect("a place") = value;
    };
    at(&mut doc, "/schemas/0/fields/0/type", json!("LONG"));
    at(&mut doc, "/schemas/1/fields/1/type", json!("decimal( 9,2 )"));
    at(&mut doc, "/partition-specs/0/fields/0/transform", json!("Identity"));
    at(&mut doc, "/sort-orders/0/fields/0/transform", json!("BUCKET[04]"));
    at(&mut doc, "/sort-orders/0/fields/0/direction", json!("DESC"));
    at(&mut doc, "/sort-orders/0/fields/0/null-order", json!("NULLS-LAST"));
    at(&mut doc, "/refs/main/type", json!("BRANCH"));
    doc["snapshots"][0]["parent-snapshot-id"] = Value::Null;
    let parsed = TableMetadata::parse(&bytes(&doc)).expect("valid");
    let plain = TableMetadata::parse(&bytes(&document(2))).expect("valid");
    assert_eq!(parsed.to_json(), plain.to_json());
    fuzz_metadata(&bytes(&doc));
}

/// What older versions took stays readable; as a new table it is refused.
#[test]
fn what_the_reference_cannot_load() {
    let check = |version: u8, pointer: &str, value: Value, want: &str| {
        let mut doc = document(version);
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        match doc.pointer_mut(parent).expect("a parent") {
            Value::Array(items) => items.push(value),
            parent => parent[key] = value,
        }
        let parsed = TableMetadata::parse(&bytes(&doc)).expect("readable");
        assert_eq!(parsed.check_loads().map_err(|e| e.message), Err(want.to_owned()), "{pointer}");
        fuzz_metadata(&bytes(&doc));
    };
    for version in 1..=3 {
        let parsed = TableMetadata::parse(&bytes(&document(version))).expect("valid");
        assert_eq!(parsed.check_loads(), Ok(()));
    }
    check(2, "/table-uuid", json!("abc"), "Invalid UUID: abc");
    check(
        3,
        "/schemas/1/fields/1/write-default",
        json!("1"),
        "Invalid default for y: cannot parse default as a decimal(9, 2) value: \"1\"",
    );
    check(
        2,
        "/partition-specs/0/fields/0/transform",
        json!("truncate[99999999999]"),
        "Invalid width of transform: 99999999999 (must be <= 2147483647)",
    );
    check(
        2,
        "/partition-specs/-",
        json!({"spec-id": 1, "fields": [
            {"name": "d", "transform": "day", "source-id": 1, "field-id": 1001}]}),
        "Invalid source type long for transform: day",
    );
    check(
        2,
        "/partition-specs/-",
        json!({"spec-id": 1, "fields": [
            {"name": "x", "transform": "identity", "source-id": 2, "field-id": 1001}]}),
        "Cannot create identity partition sourced from different field in schema: x",
    );
    check(
        2,
        "/partition-specs/0/fields/0/source-id",
        json!(9),
        "Cannot create identity partition sourced from different field in schema: x",
    );
    check(
        2,
        "/sort-orders/0/fields/0/source-id",
        json!(9),
        "Cannot find source column for sort field: bucket[4](9)",
    );
    check(
        2,
        "/sort-orders/-",
        json!({"order-id": 0, "fields": [
            {"transform": "identity", "source-id": 1, "direction": "asc", "null-order": "nulls-first"}]}),
        "Sort order ID 0 is reserved for unsorted order",
    );
    check(
        2,
        "/snapshots/0/first-row-id",
        json!(0),
        "Invalid added-rows (required when first-row-id is set): null",
    );
    check(
        3,
        "/encryption-keys/-",
        json!({"key-id": "k", "encrypted-key-metadata": "aGk="}),
        "Invalid table metadata: multiple encryption keys with one id",
    );
}

#[test]
fn the_oldest_format() {
    let doc = json!({"format-version": 1, "location": "s3://b/t/", "last-updated-ms": 1, "last-column-id": 1,
        "schema": {"type": "struct", "fields": [{"id": 1, "name": "x", "required": true, "type": "long"}]},
        "partition-spec": [{"name": "x", "transform": "identity", "source-id": 1}],
        "properties": {}, "current-snapshot-id": -1,
        "snapshots": [{"snapshot-id": 1, "timestamp-ms": 1, "manifests": ["s3://b/m"]}]});
    let parsed = TableMetadata::parse(&bytes(&doc)).expect("valid");
    let out = parsed.to_json();
    assert_eq!(parsed.location(), "s3://b/t");
    assert_eq!((parsed.uuid(), parsed.current_snapshot_id()), ("", None));
    assert_eq!(out["schemas"][0]["schema-id"], json!(0));
    assert_eq!(out["partition-specs"][0]["fields"][0]["field-id"], json!(1000));
    assert_eq!(out["last-partition-id"], json!(1000));
    assert_eq!(out["sort-orders"], json!([{"order-id": 0, "fields": []}]));
    fuzz_metadata(&bytes(&doc));
}

#[test]
fn short_form_keeps_only_named_snapshots() {
    let parsed = TableMetadata::parse(&bytes(&document(2))).expect("valid");
    let short: Value = serde_json::from_slice(&parsed.render_refs_only()).expect("JSON");
    assert_eq!(short["snapshots"].as_array().map(Vec::len), Some(1));
    for key in keys(&short).into_iter().filter(|key| *key != "snapshots") {
        assert_eq!(short[key], parsed.to_json()[key], "{key}");
    }
    assert_eq!(keys(&short), parsed.to_json().keys().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn bad_documents() {
    let check = |version: u8, pointer: &str, value: Value, want: &str| {
        let mut doc = document(version);
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = doc.pointer_mut(parent).expect("a parent");
        match parent {
            Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
            Value::Object(map) => {
                map.insert(key.to_owned(), value);
            }
            _ => unreachable!("a scalar has no members"),
        }
        let error = TableMetadata::parse(&bytes(&doc)).expect_err("must be refused").message;
        assert!(error.contains(want), "{pointer}: {error} does not contain {want}");
    };
    check(2, "/format-version", json!(4), "Cannot read unsupported version 4");
    check(2, "/format-version", json!(0), "Cannot read unsupported version 0");
    check(2, "/format-version", json!("2"), "Cannot parse to an int value: format-version");
    check(2, "/table-uuid", Value::Null, "UUID is required in format v2");
    check(2, "/location", Value::Null, "Cannot parse missing string: location");
    check(2, "/last-sequence-number", Value::Null, "Cannot parse missing long: last-sequence-number");
    check(2, "/last-updated-ms", json!(1e300), "Cannot parse to a long value: last-updated-ms");
    check(2, "/last-column-id", json!(2147483648_i64), "Cannot parse to an int value: last-column-id");
    check(2, "/schemas", Value::Null, "schemas must exist in format v2");
    check(2, "/schemas", json!([]), "cannot be null or empty");
    check(2, "/schemas", json!({}), "Cannot parse schemas from non-array");
    check(2, "/schemas/0", json!(1), "Cannot parse schemas entry from non-object");
    check(2, "/schemas/0/schema-id", json!(1), "multiple schemas with id 1");
    check(2, "/current-schema-id", json!(9), "Cannot find schema with id=9");
    check(2, "/partition-specs", Value::Null, "partition-specs must exist");
    check(2, "/default-spec-id", json!(9), "Cannot find partition spec with id=9");
    check(2, "/last-partition-id", Value::Null, "last-partition-id must exist");
    check(2, "/sort-orders", Value::Null, "sort-orders must exist");
    check(2, "/default-sort-order-id", json!(0), "Cannot find sort order with id=0");
    check(2, "/properties/a", json!(1), "Cannot parse to a string value: properties.a");
    check(2, "/current-snapshot-id", json!(5), "Cannot find current snapshot with id: 5");
    check(2, "/current-snapshot-id", json!(-1), "Current snapshot is not set, but main branch exists");
    check(2, "/current-snapshot-id", json!(3051729675574597004_i64), "does not match main branch");
    check(
        2,
        "/refs/b",
        json!({"snapshot-id": 5, "type": "branch"}),
        "Snapshot for reference b does not exist",
    );
    check(2, "/refs/b", json!(5), "Cannot parse snapshot ref from non-object");
    check(2, "/snapshots/0/snapshot-id", json!(3055729675574597004_i64), "Snapshot already exists");
    check(2, "/snapshots/0/sequence-number", json!(35), "greater than last sequence number 34");
    check(2, "/snapshot-log/0/timestamp-ms", json!(1655100955770_i64), "Expected sorted snapshot log");
    check(2, "/last-updated-ms", json!(1), "before last snapshot log entry");
    check(2, "/metadata-log/0/timestamp-ms", json!(9602638573590_i64), "before last metadata log entry");
    check(2, "/metadata-log/0/metadata-file", Value::Null, "missing string: metadata-file");
    check(3, "/next-row-id", Value::Null, "Cannot parse missing long: next-row-id");
    check(3, "/next-row-id", json!(-1), "cannot be negative");
    check(3, "/encryption-keys/0/key-id", Value::Null, "missing string: key-id");
    check(2, "/later", (0..110).fold(json!(1), |v, _| json!([v])), "nested over");
    let disguised = &br#"{"$serde_json::private::Number":"5"}"#[..];
    for bytes in [disguised, b"", b"[]", b"{}", b"null", b"{\"format-version\":2", b"\xff"] {
        assert!(TableMetadata::parse(bytes).is_err());
    }
}

/// A small generator for damage that a seed repeats.
pub(crate) struct Xorshift(pub(crate) u64);

impl Xorshift {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }

    /// Damages one random place of `value`.
    pub(crate) fn damage(&mut self, value: &mut Value) {
        let inside = self.below(8) != 0;
        match value {
            Value::Object(map) if inside && !map.is_empty() => {
                let at = self.below(map.len());
                if self.below(12) == 0 {
                    let key = map.keys().nth(at).cloned().unwrap_or_default();
                    map.shift_remove(&key);
                } else if let Some(inner) = map.values_mut().nth(at) {
                    self.damage(inner);
                }
            }
            Value::Array(items) if inside && !items.is_empty() => {
                let at = self.below(items.len());
                match self.below(12) {
                    0 => drop(items.remove(at)),
                    1 => items.push(items[at].clone()),
                    _ => self.damage(&mut items[at]),
                }
            }
            other => *other = self.scalar(),
        }
    }

    fn scalar(&mut self) -> Value {
        let big: Value = serde_json::from_str("18446744073709551616").expect("a number");
        let pool = [
            Value::Null,
            json!(0),
            json!(-1),
            json!(1),
            json!(2),
            json!(3),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(i32::MAX),
            big,
            json!(1.5),
            json!(true),
            json!(""),
            json!("main"),
            json!("struct"),
            json!("tag"),
            json!("variant"),
            json!("bucket[0]"),
            json!("ä".repeat(300)),
            json!([]),
            json!({}),
            json!({"type": "struct", "fields": []}),
        ];
        pool[self.below(pool.len())].clone()
    }
}

#[test]
fn random_damage_never_panics() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for round in 0..3_000_u32 {
        let version = u8::try_from(round % 3 + 1).expect("small");
        let mut doc = document(version);
        for _ in 0..=random.below(3) {
            random.damage(&mut doc);
        }
        let mut bytes = bytes(&doc);
        if random.below(10) == 0 {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).expect("a byte");
        }
        fuzz_metadata(&bytes);
    }
}
