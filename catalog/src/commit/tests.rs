//! Creates and commits, by table: every requirement, every update with its refusals, whole histories.

use serde_json::{Value, json};

use super::{
    CommitError, Context, NewTable, apply, check, create, fuzz_commit, parse_requirements, parse_updates,
};
use crate::spec::TableMetadata;
use crate::spec::json::Object;
use crate::spec::table_metadata::tests::Xorshift;

const UUID: &str = "9c12d441-03fe-4693-9a96-a0705ddf69c1";

fn schema() -> Value {
    json!({"type": "struct", "schema-id": 7, "identifier-field-ids": [11], "fields": [
        {"id": 11, "name": "id", "required": true, "type": "long", "note": "kept"},
        {"id": 12, "name": "ts", "required": false, "type": "timestamptz"},
        {"id": 13, "name": "s", "required": false, "type": {"type": "struct", "fields": [
            {"id": 14, "name": "x", "required": false, "type": "decimal(9,2)"}]}}]})
}

fn create_with(version: &str, spec: Value, order: Value) -> Result<TableMetadata, CommitError> {
    let properties = json!({"format-version": version, "owner": "me", "uuid": "dropped"});
    create(NewTable {
        name: "t",
        uuid: UUID.to_owned(),
        location: "s3://b/t/".to_owned(),
        schema: &schema(),
        partition_spec: (!spec.is_null()).then_some(&spec),
        write_order: (!order.is_null()).then_some(&order),
        properties: properties.as_object().expect("object"),
        now_ms: 1_000,
    })
}

fn table(version: &str) -> TableMetadata {
    create_with(version, Value::Null, Value::Null).expect("valid")
}

fn commit(base: &TableMetadata, now_ms: i64, updates: Value) -> Result<Option<TableMetadata>, CommitError> {
    let cx = Context { now_ms, previous_metadata_location: Some("s3://b/t/metadata/0.json"), new_uuid: UUID };
    let made = apply(Some(base), &parse_updates(&updates)?, &cx)?;
    if let Some(made) = &made {
        let again = TableMetadata::parse(&made.render()).expect("what a commit makes is valid");
        assert_eq!((again.render(), &again), (made.render(), made));
    }
    Ok(made)
}

fn done(base: &TableMetadata, now_ms: i64, updates: Value) -> TableMetadata {
    commit(base, now_ms, updates).expect("accepted").expect("a change")
}

fn snapshot(id: i64, parent: Option<i64>, sequence: i64) -> Value {
    json!({"snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": sequence,
        "timestamp-ms": 1_000 + id, "manifest-list": format!("s3://b/{id}"), "schema-id": 0,
        "summary": {"operation": "append"}, "first-row-id": (sequence - 1) * 10, "added-rows": 10, "new": "kept"})
}

fn append(id: i64, parent: Option<i64>, sequence: i64) -> Value {
    json!([{"action": "add-snapshot", "snapshot": snapshot(id, parent, sequence)},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}])
}

/// A v3 table with snapshots 1 and 2 on main.
fn history(version: &str) -> TableMetadata {
    let one = done(&table(version), 2_000, append(1, None, 1));
    done(&one, 3_000, append(2, Some(1), 2))
}

fn log(table: &TableMetadata) -> Vec<i64> {
    let entries = table.to_json()["snapshot-log"].as_array().expect("a log");
    entries.iter().filter_map(|e| e["snapshot-id"].as_i64()).collect()
}

fn refused(error: &CommitError, kind: &str, text: &str) {
    let got = match error {
        CommitError::BadRequest(_) => "bad",
        CommitError::Validation(_) => "validation",
        CommitError::IllegalArgument(_) => "illegal",
        CommitError::Failed(_) => "failed",
        CommitError::AlreadyExists(_) => "exists",
    };
    assert_eq!(got, kind, "{error}");
    assert!(error.message().contains(text), "{error} does not contain {text}");
}

#[test]
fn create_assigns_every_id() {
    let spec = json!({"type": "struct", "spec-id": 5, "fields": [
        {"source-id": 12, "field-id": 7, "name": "ts_day", "transform": "day", "more": 1},
        {"source-ids": [14], "name": "z", "transform": "zorder"}]});
    let order = json!({"order-id": 9, "fields": [
        {"source-id": 14, "transform": "Identity", "direction": "ASC", "null-order": "Nulls-First"}]});
    let made = create_with("3", spec, order).expect("valid");
    let doc = made.to_json();
    assert_eq!(
        doc["schemas"][0],
        json!({"type": "struct", "schema-id": 0, "identifier-field-ids": [1], "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long", "note": "kept"},
        {"id": 2, "name": "ts", "required": false, "type": "timestamptz"},
        {"id": 3, "name": "s", "required": false, "type": {"type": "struct", "fields": [
            {"id": 4, "name": "x", "required": false, "type": "decimal(9, 2)"}]}}]})
    );
    assert_eq!(
        doc["partition-specs"],
        json!([{"spec-id": 0, "fields": [
        {"source-id": 2, "field-id": 1000, "name": "ts_day", "transform": "day", "more": 1},
        {"name": "z", "transform": "zorder", "source-id": 4, "field-id": 1001}]}])
    );
    assert_eq!(
        doc["sort-orders"],
        json!([{"order-id": 1, "fields": [
        {"source-id": 4, "transform": "identity", "direction": "asc", "null-order": "nulls-first"}]}])
    );
    for (key, want) in [
        ("format-version", json!(3)),
        ("table-uuid", json!(UUID)),
        ("location", json!("s3://b/t")),
        ("last-column-id", json!(4)),
        ("last-partition-id", json!(1001)),
        ("default-sort-order-id", json!(1)),
        ("current-snapshot-id", Value::Null),
        ("next-row-id", json!(0)),
        ("last-updated-ms", json!(1000)),
        ("properties", json!({"write.parquet.compression-codec": "zstd", "owner": "me"})),
        ("metadata-log", json!([])),
    ] {
        assert_eq!(doc[key], want, "{key}");
    }
    assert_eq!(TableMetadata::parse(&made.render()), Ok(made));
    assert_eq!(table("2").to_json()["last-partition-id"], json!(999));
    assert_eq!(table("1").to_json()["partition-spec"], json!([]));
}

#[test]
fn create_refusals() {
    let none = || Value::Null;
    let field = |source: i64, transform: &str| json!({"fields": [{"source-id": source, "name": "p", "transform": transform}]});
    let order = |source: i64| {
        json!({"order-id": 1, "fields": [
            {"source-id": source, "transform": "identity", "direction": "asc", "null-order": "nulls-first"}]})
    };
    let check = |version: &str, spec: Value, order: Value, kind: &str, text: &str| {
        refused(&create_with(version, spec, order).expect_err("must be refused"), kind, text);
    };
    check("4", none(), none(), "illegal", "Unsupported format version: v4");
    check("two", none(), none(), "illegal", "Invalid format-version: two");
    check("2", field(99, "identity"), none(), "validation", "Cannot find source column for partition field");
    check("2", field(13, "identity"), none(), "validation", "Cannot partition by non-primitive");
    check("2", field(11, "day"), none(), "validation", "Invalid source type long for transform: day");
    check("2", json!({"fields": [{}]}), none(), "bad", "missing int: source-id");
    check("2", json!([]), none(), "bad", "Cannot parse partition spec from non-object");
    check("2", none(), order(99), "validation", "Cannot find source column for sort field");
    check("2", none(), order(13), "validation", "Cannot sort by non-primitive");
    check("2", none(), json!({"order-id": 1}), "bad", "missing list: fields");
    check("2", none(), json!({"order-id": 1, "fields": []}), "illegal", "Unsorted order ID must be 0");
    let mut zero = order(11);
    zero["order-id"] = json!(0);
    check("2", none(), zero, "illegal", "Sort order ID 0 is reserved for unsorted order");
    check("2", field(11, "truncate[99999999999]"), none(), "bad", "Invalid width of transform: 99999999999");
    let two = json!({"fields": [{"source-ids": [11, 12], "name": "p", "transform": "multi"}]});
    check("3", two, none(), "bad", "missing int: source-id");

    let check = |schema: Value, properties: Value, kind: &str, text: &str| {
        let made = create(NewTable {
            name: "t",
            uuid: UUID.to_owned(),
            location: "s3://b/t".to_owned(),
            schema: &schema,
            partition_spec: None,
            write_order: None,
            properties: properties.as_object().expect("object"),
            now_ms: 1,
        });
        refused(&made.expect_err("must be refused"), kind, text);
    };
    let of = |ty: &str| json!({"type": "struct", "fields": [{"id": 1, "name": "v", "required": false, "type": ty}]});
    check(of("variant"), json!({}), "validation", "variant is not supported until v3");
    check(of("strin"), json!({}), "bad", "Cannot parse type string to primitive");
    check(json!("long"), json!({}), "bad", "Cannot parse schema from non-object");
    check((0..120).fold(json!(1), |v, _| json!([v])), json!({}), "bad", "nested over 100 levels");
    check(of("int"), json!({"a": 1}), "bad", "properties.a");
    let nameless =
        json!({"type": "struct", "fields": [{"id": 1, "name": "", "required": false, "type": "int"}]});
    for key in ["partition_spec", "write_order"] {
        let field = json!({"source-id": 1, "name": "p", "transform": "identity", "direction": "asc",
            "null-order": "nulls-first"});
        let fields = json!({"fields": [field]});
        let made = create(NewTable {
            name: "t",
            uuid: UUID.to_owned(),
            location: "s3://b/t".to_owned(),
            schema: &nameless,
            partition_spec: (key == "partition_spec").then_some(&fields),
            write_order: (key == "write_order").then_some(&fields),
            properties: &Object::new(),
            now_ms: 1,
        });
        refused(&made.expect_err("refused"), "validation", "Invalid column name: (empty)");
    }
    check(of("int"), json!({"commit.retry.num-retries": "x"}), "validation", "must have integer value");
    check(of("int"), json!({"commit.retry.num-retries": "-1"}), "validation", "non negative");
    check(
        of("int"),
        json!({"write.metadata.previous-versions-max": "99999999999"}),
        "validation",
        "must have integer value",
    );
    check(of("int"), json!({"x".repeat(50_001): "1"}), "bad", "name of 50001 bytes is over 50000");
    check(of("fixed[4294967295]"), json!({}), "bad", "Invalid length of fixed: 4294967295");
    let with = |required: bool, ty: &str, default: Value| {
        json!({"type": "struct", "fields": [
            {"id": 1, "name": "v", "required": required, "type": ty, "initial-default": default}]})
    };
    let v3 = || json!({"format-version": "3"});
    check(
        with(true, "unknown", Value::Null),
        v3(),
        "bad",
        "Cannot create required field with unknown type: v",
    );
    check(with(false, "uuid", json!("abc")), v3(), "bad", "cannot parse default as a uuid value: \"abc\"");
}

#[test]
fn requirements_hold_or_name_the_conflict() {
    let base = done(
        &history("2"),
        4_000,
        json!([
        {"action": "set-snapshot-ref", "ref-name": "v1", "type": "tag", "snapshot-id": 1}]),
    );
    let test = |requirement: Value, want: Option<&str>| {
        let parsed = parse_requirements(&json!([requirement])).expect("well formed");
        let got = check(&parsed, Some(&base));
        match want {
            None => assert_eq!(got, Ok(()), "{requirement}"),
            Some(text) => assert_eq!(got, Err(CommitError::Failed(format!("Requirement failed: {text}")))),
        }
    };
    let upper = UUID.to_ascii_uppercase();
    let other = "00000000-0000-0000-0000-000000000000";
    test(json!({"type": "assert-create"}), Some("table already exists"));
    test(json!({"type": "assert-table-uuid", "uuid": upper}), None);
    test(
        json!({"type": "assert-table-uuid", "uuid": other}),
        Some(&format!("UUID does not match: expected {UUID} != {other}")),
    );
    let on =
        |name: &str, id: Value| json!({"type": "assert-ref-snapshot-id", "ref": name, "snapshot-id": id});
    test(on("main", json!(2)), None);
    test(on("main", json!(1)), Some("branch main has changed: expected id 1 != 2"));
    test(on("main", Value::Null), Some("branch main was created concurrently"));
    test(on("v1", Value::Null), Some("tag v1 was created concurrently"));
    test(on("gone", Value::Null), None);
    test(json!({"type": "assert-ref-snapshot-id", "ref": "gone"}), None);
    test(on("gone", json!(1)), Some("branch or tag gone is missing, expected 1"));
    for (kind, key, right, text) in [
        ("assert-last-assigned-field-id", "last-assigned-field-id", 4, "last assigned field id"),
        ("assert-current-schema-id", "current-schema-id", 0, "current schema"),
        (
            "assert-last-assigned-partition-id",
            "last-assigned-partition-id",
            999,
            "last assigned partition id",
        ),
        ("assert-default-spec-id", "default-spec-id", 0, "default partition spec"),
        ("assert-default-sort-order-id", "default-sort-order-id", 0, "default sort order"),
    ] {
        test(json!({"type": kind, key: right}), None);
        test(json!({"type": kind, key: 77}), Some(&format!("{text} changed: expected id 77 != {right}")));
        assert!(parse_requirements(&json!([{"type": kind}])).is_err());
        assert!(parse_requirements(&json!([{"type": kind, key: "0"}])).is_err());
    }

    let create_only = parse_requirements(&json!([{"type": "assert-create"}])).expect("well formed");
    assert!(create_only[0].is_assert_create());
    assert_eq!(check(&create_only, None), Ok(()));
    let both = parse_requirements(&json!([{"type": "assert-create"}, on("main", Value::Null)]))
        .expect("well formed");
    refused(&check(&both, None).expect_err("refused"), "illegal", "Invalid create requirements");
    let uuid =
        parse_requirements(&json!([{"type": "assert-table-uuid", "uuid": UUID}])).expect("well formed");
    assert!(check(&uuid, None).is_err());
    for (bad, text) in [
        (json!({}), "Cannot parse requirements from non-array"),
        (json!([1]), "non-object"),
        (json!([{}]), "missing string: type"),
        (json!([{"type": "assert-luck"}]), "Unrecognized update requirement type: assert-luck"),
        (json!([{"type": "assert-view-uuid", "uuid": UUID}]), "against a table"),
        (json!([{"type": "assert-table-uuid"}]), "missing string: uuid"),
        (
            on("main", json!("1")).as_object().map(|o| json!([o])).expect("object"),
            "Cannot parse to a long value",
        ),
    ] {
        refused(&parse_requirements(&bad).expect_err("refused"), "bad", text);
    }
}

#[test]
fn updates_are_refused_with_their_reason() {
    let plain = json!([{"action": "set-properties", "updates": {"a": "1"}}]);
    let bases = [history("1"), history("2"), history("3")];
    let check = |version: usize, updates: Value, kind: &str, text: &str| {
        let base = &bases[version - 1];
        refused(&commit(base, 5_000, updates).expect_err("must be refused"), kind, text);
        assert!(commit(base, 5_000, plain.clone()).is_ok(), "the base is untouched");
    };
    let column = |id: i64, ty: &str| json!({"type": "struct", "fields": [{"id": id, "name": "c", "required": false, "type": ty}]});
    let other = "00000000-0000-0000-0000-000000000000";
    check(2, json!([{"action": "assign-uuid", "uuid": other}]), "illegal", "Cannot reassign uuid");
    check(
        2,
        json!([{"action": "upgrade-format-version", "format-version": 4}]),
        "illegal",
        "unsupported format version: v4",
    );
    check(
        2,
        json!([{"action": "upgrade-format-version", "format-version": 1}]),
        "illegal",
        "Cannot downgrade v2 table to v1",
    );
    check(
        2,
        json!([{"action": "add-schema", "schema": column(5, "variant")}]),
        "validation",
        "variant is not supported until v3",
    );
    check(
        2,
        json!([{"action": "set-current-schema", "schema-id": -1}]),
        "validation",
        "no schema has been added",
    );
    check(2, json!([{"action": "set-current-schema", "schema-id": 9}]), "illegal", "unknown schema: 9");
    let spec = |source: i64, name: &str, transform: &str| json!([{"action": "add-spec", "spec": {"fields": [{"source-id": source, "name": name, "transform": transform}]}}]);
    check(
        2,
        spec(99, "p", "identity"),
        "validation",
        "Cannot find source column for partition field: 1000: p: identity(99)",
    );
    check(2, spec(1, "ts", "identity"), "validation", "sourced from different field");
    check(2, spec(1, "p", "day"), "validation", "Invalid source type long for transform: day");
    let numbered = |ids: [i64; 2]| {
        json!([{"action": "add-spec", "spec": {"fields": [
            {"source-id": 1, "name": "p", "transform": "identity", "field-id": ids[0]},
            {"source-id": 2, "name": "q", "transform": "day", "field-id": ids[1]}]}}])
    };
    check(1, numbered([1000, 1002]), "validation", "sequential IDs that are required in v1");
    check(2, numbered([1000, 1000]), "validation", "more than once");
    check(2, json!([{"action": "set-default-spec", "spec-id": -1}]), "validation", "no spec has been added");
    check(2, json!([{"action": "set-default-spec", "spec-id": 9}]), "illegal", "unknown spec: 9");
    let order = |id: i64, fields: Value| json!([{"action": "add-sort-order", "sort-order": {"order-id": id, "fields": fields}}]);
    let by = |source: i64| json!([{"source-id": source, "transform": "identity", "direction": "asc", "null-order": "nulls-first"}]);
    check(2, order(0, by(1)), "illegal", "ID 0 is reserved");
    check(2, order(1, json!([])), "illegal", "Unsorted order ID must be 0");
    check(2, order(1, by(99)), "validation", "Cannot find source column for sort field");
    check(
        2,
        json!([{"action": "set-default-sort-order", "sort-order-id": -1}]),
        "validation",
        "no sort order has been added",
    );
    check(
        2,
        json!([{"action": "set-default-sort-order", "sort-order-id": 9}]),
        "illegal",
        "unknown order: 9",
    );
    check(2, append(2, Some(1), 3), "validation", "Snapshot already exists for id: 2");
    check(
        2,
        append(3, Some(2), 2),
        "failed",
        "Validation failed, please retry: Cannot add snapshot with sequence number 2 older than last sequence number 2",
    );
    let with = |key: &str, value: Value| {
        let mut updates = append(3, Some(2), 3);
        updates[0]["snapshot"][key] = value;
        updates
    };
    check(
        3,
        with("first-row-id", json!(19)),
        "failed",
        "Validation failed, please retry: Cannot add a snapshot, first-row-id is behind table next-row-id: 19 < 20",
    );
    check(3, with("first-row-id", Value::Null), "validation", "first-row-id is null");
    check(
        3,
        with("added-rows", Value::Null),
        "bad",
        "Invalid added-rows (required when first-row-id is set)",
    );
    check(3, with("added-rows", json!(i64::MAX)), "validation", "next-row-id overflows");
    check(2, with("sequence-number", json!(-3)), "validation", "Invalid sequence number");
    check(2, with("timestamp-ms", json!(-100_000)), "validation", "Expected sorted snapshot log");
    // off main there is no log to unsort: the table's own time counts
    let mut branch = with("timestamp-ms", json!(-58_999));
    branch[1]["ref-name"] = json!("b");
    check(
        2,
        branch.clone(),
        "illegal",
        "Invalid update timestamp -58999: before the latest metadata log entry timestamp 1002",
    );
    branch[0]["snapshot"]["timestamp-ms"] = json!(-58_998);
    assert!(commit(&bases[1], 5_000, branch).is_ok());
    check(
        2,
        json!([{"action": "set-snapshot-ref", "ref-name": "b", "type": "branch", "snapshot-id": 9}]),
        "validation",
        "Cannot set b to unknown snapshot: 9",
    );
    let future = "Invalid snapshot timestamp 65001: more than a minute after the current time 5000";
    check(2, with("timestamp-ms", json!(65_001)), "illegal", future);
    check(2, json!([{"action": "set-location", "location": ""}]), "illegal", "location is empty");
    check(
        2,
        json!([{"action": "set-properties", "updates": {"encryption.key-id": "k"}}]),
        "illegal",
        "encryption.key-id",
    );
    check(
        2,
        json!([{"action": "set-properties", "updates": {"write.metadata.previous-versions-max": "x"}}]),
        "validation",
        "write.metadata.previous-versions-max must have integer value",
    );
    check(
        2,
        json!([{"action": "set-properties", "updates": {"commit.retry.num-retries": "-1"}}]),
        "validation",
        "non negative",
    );
    check(
        2,
        json!([{"action": "remove-partition-specs", "spec-ids": [0]}]),
        "illegal",
        "Cannot remove the default partition spec",
    );
    check(
        2,
        json!([{"action": "remove-schemas", "schema-ids": [0]}]),
        "illegal",
        "Cannot remove the current schema",
    );

    // the defaults must bind to the schema the request ends with
    let spec = json!({"fields": [{"source-id": 2, "name": "ts_day", "transform": "day"}]});
    let updates = |source: i64| {
        json!([{"action": "add-spec", "spec": spec}, {"action": "set-default-spec", "spec-id": -1},
            {"action": "add-schema", "schema": column(source, "timestamp")}, {"action": "set-current-schema", "schema-id": -1}])
    };
    check(2, updates(5), "validation", "Cannot find source column for partition field");
    assert!(commit(&bases[1], 5_000, updates(2)).is_ok());
}

#[test]
fn nothing_changed_leaves_nothing_behind() {
    let base = done(
        &history("2"),
        4_000,
        json!([
        {"action": "set-properties", "updates": {"a": "1"}},
        {"action": "set-snapshot-ref", "ref-name": "b", "type": "branch", "snapshot-id": 1}]),
    );
    let current = base.to_json()["schemas"][0].clone();
    for updates in [
        json!([]),
        json!([{"action": "assign-uuid", "uuid": UUID.to_ascii_uppercase()}]),
        json!([{"action": "upgrade-format-version", "format-version": 2}]),
        json!([{"action": "add-schema", "schema": current}, {"action": "set-current-schema", "schema-id": -1}]),
        json!([{"action": "set-current-schema", "schema-id": 0}]),
        json!([{"action": "add-spec", "spec": {"fields": []}}, {"action": "set-default-spec", "spec-id": -1}]),
        json!([{"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}}]),
        json!([{"action": "set-snapshot-ref", "ref-name": "b", "type": "branch", "snapshot-id": 1, "max-ref-age-ms": null}]),
        json!([{"action": "remove-snapshots", "snapshot-ids": [77]}]),
        json!([{"action": "remove-snapshot-ref", "ref-name": "gone"}]),
        json!([{"action": "set-location", "location": "s3://b/t//"}]),
        json!([{"action": "set-properties", "updates": {}}]),
        json!([{"action": "set-properties", "updates": {"a": "2"}}, {"action": "set-properties", "updates": {"a": "1"}}]),
        json!([{"action": "remove-properties", "removals": ["gone"]}]),
        json!([{"action": "remove-statistics", "snapshot-id": 1}]),
        json!([{"action": "remove-partition-statistics", "snapshot-id": 1}]),
        json!([{"action": "remove-partition-specs", "spec-ids": [77]}]),
        json!([{"action": "remove-schemas", "schema-ids": []}]),
        json!([{"action": "remove-encryption-key", "key-id": "gone"}]),
    ] {
        assert_eq!(commit(&base, 9_000, updates.clone()), Ok(None), "{updates}");
    }
}

#[test]
fn appends_move_main_and_its_logs() {
    for version in ["1", "2", "3"] {
        let table = history(version);
        let doc = table.to_json();
        assert_eq!(table.current_snapshot_id(), Some(2));
        assert_eq!(doc["refs"], json!({"main": {"type": "branch", "snapshot-id": 2}}));
        assert_eq!(
            doc["snapshot-log"],
            json!([
            {"timestamp-ms": 1001, "snapshot-id": 1}, {"timestamp-ms": 1002, "snapshot-id": 2}])
        );
        let at = "s3://b/t/metadata/0.json";
        assert_eq!(table.metadata_log(), [(1_000, at.to_owned()), (1_001, at.to_owned())]);
        assert_eq!(table.last_updated_ms(), 1_002, "the time of the writer");
        let sequence = doc.get("last-sequence-number").and_then(Value::as_i64);
        assert_eq!(sequence, (version != "1").then_some(2));
        assert_eq!(doc["snapshots"][1].get("sequence-number").is_some(), version != "1");
        assert_eq!(doc.get("next-row-id"), (version == "3").then_some(&json!(20)));
        assert_eq!(doc["snapshots"][1]["new"], json!("kept"));
    }
}

#[test]
fn snapshots_only_passing_main_are_not_logged() {
    let mut updates = append(3, Some(2), 3).as_array().cloned().expect("a list");
    updates.extend(append(4, Some(3), 4).as_array().cloned().expect("a list"));
    let made = done(&history("2"), 5_000, Value::Array(updates));
    assert_eq!((log(&made), made.current_snapshot_id()), (vec![1, 2, 4], Some(4)));
}

#[test]
fn rollback_is_logged_at_its_own_time() {
    let to = |id: i64| json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}]);
    let back = done(&history("2"), 5_000, to(1));
    assert_eq!(log(&back), [1, 2, 1]);
    assert_eq!(back.to_json()["snapshot-log"][2]["timestamp-ms"], json!(5_000));
    // a clock that went back never unsorts a log
    let behind = done(&back, 10, to(2));
    assert_eq!(behind.to_json()["snapshot-log"][3]["timestamp-ms"], json!(5_000));
    assert_eq!(behind.last_updated_ms(), 5_000);
    // retention alone is no new history
    let kept = done(
        &back,
        6_000,
        json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch",
        "snapshot-id": 1, "min-snapshots-to-keep": 3, "more": true}]),
    );
    assert_eq!(log(&kept), [1, 2, 1]);
    assert_eq!(kept.to_json()["refs"]["main"]["more"], json!(true));
}

#[test]
fn removed_snapshots_take_what_hangs_on_them() {
    let file = |id: i64| {
        json!({"snapshot-id": id, "statistics-path": "p", "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1,
            "blob-metadata": [], "more": id})
    };
    let base = done(
        &history("2"),
        4_000,
        json!([
        {"action": "set-statistics", "statistics": file(1)}, {"action": "set-statistics", "statistics": file(77)},
        {"action": "set-partition-statistics", "partition-statistics": file(1), "snapshot-id": 1},
        {"action": "set-partition-statistics", "partition-statistics": file(2)},
        {"action": "set-snapshot-ref", "ref-name": "old", "type": "tag", "snapshot-id": 1}]),
    );
    let remove = |ids: Value| json!([{"action": "remove-snapshots", "snapshot-ids": ids}]);
    let made = done(&base, 5_000, remove(json!([1, 77])));
    let doc = made.to_json();
    assert_eq!(doc["statistics"], json!([file(77)]), "a file of a snapshot not here stays");
    assert_eq!(doc["partition-statistics"], json!([file(2)]));
    assert!(doc["refs"].get("old").is_none());
    assert_eq!((log(&made), made.current_snapshot_id()), (vec![2], Some(2)));

    // without its head, main is unset
    let made = done(
        &base,
        5_000,
        json!([
        {"action": "remove-snapshots", "snapshot-ids": [2]}, {"action": "remove-snapshots", "snapshot-ids": [3]}]),
    );
    assert_eq!((log(&made), made.current_snapshot_id()), (vec![], None));
    assert_eq!(made.to_json()["current-snapshot-id"], json!(-1));

    // without the branch, its history stays
    let made = done(&base, 5_000, json!([{"action": "remove-snapshot-ref", "ref-name": "main"}]));
    assert_eq!((log(&made), made.current_snapshot_id()), (vec![1, 2], None));
    let again = done(&made, 6_000, append(9, None, 3));
    assert_eq!((log(&again), again.current_snapshot_id()), (vec![1, 2, 9], Some(9)));

    // replacing a file keeps its place
    let mut newer = file(1);
    newer["more"] = json!("new");
    let made = done(&base, 5_000, json!([{"action": "set-statistics", "statistics": newer}]));
    assert_eq!(made.to_json()["statistics"], json!([newer, file(77)]));
}

#[test]
fn schemas_specs_and_orders_evolve() {
    let column = |id: i64, name: &str| json!({"id": id, "name": name, "required": false, "type": "int"});
    let with = |columns: Vec<Value>| {
        let mut fields = vec![
            json!({"id": 1, "name": "id", "required": true, "type": "long"}),
            json!({"id": 2, "name": "ts", "required": false, "type": "timestamptz"}),
        ];
        fields.extend(columns);
        json!({"type": "struct", "schema-id": 42, "fields": fields})
    };
    let base = history("2");
    let made = done(
        &base,
        5_000,
        json!([
        {"action": "add-schema", "schema": with(vec![column(8, "a")]), "last-column-id": 4},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": {"type": "struct", "spec-id": 9, "fields": [
            {"source-id": 2, "name": "ts_day", "transform": "day"}]}},
        {"action": "add-spec", "spec": {"fields": [
            {"source-id": 2, "name": "d", "transform": "day"},
            {"source-id": 8, "name": "a", "transform": "identity", "field-id": 1007},
            {"source-id": 1, "name": "id_b", "transform": "bucket[4]"}]}},
        {"action": "set-default-spec", "spec-id": -1},
        {"action": "add-sort-order", "sort-order": {"fields": [
            {"source-id": 8, "transform": "identity", "direction": "desc", "null-order": "nulls-last"}]}},
        {"action": "set-default-sort-order", "sort-order-id": -1}]),
    );
    let doc = made.to_json();
    assert_eq!(doc["current-schema-id"], json!(1));
    assert_eq!(doc["last-column-id"], json!(8));
    assert_eq!(
        doc["partition-specs"][1],
        json!({"spec-id": 1, "fields": [
        {"source-id": 2, "name": "ts_day", "transform": "day", "field-id": 1000}]})
    );
    assert_eq!(
        doc["partition-specs"][2]["fields"]
            .as_array()
            .map(|f| f.iter().map(|f| f["field-id"].clone()).collect()),
        Some(vec![json!(1000), json!(1007), json!(1008)])
    );
    for (key, want) in [("default-spec-id", 2), ("last-partition-id", 1008), ("default-sort-order-id", 1)] {
        assert_eq!(doc[key], json!(want), "{key}");
    }

    // a freed id never comes to mean another schema, nor another spec
    let made = done(
        &made,
        6_000,
        json!([
        {"action": "add-schema", "schema": with(vec![column(9, "b")])},
        {"action": "remove-schemas", "schema-ids": [2, 55]},
        {"action": "add-schema", "schema": with(vec![column(9, "c")])},
        {"action": "add-spec", "spec": {"fields": [{"source-id": 1, "name": "x", "transform": "truncate[2]"}]}},
        {"action": "remove-partition-specs", "spec-ids": [3]},
        {"action": "add-spec", "spec": {"fields": [{"source-id": 1, "name": "x", "transform": "truncate[3]"}]}}]),
    );
    let ids = |key: &str, id: &str| {
        made.to_json()[key]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|m| m[id].as_i64())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (ids("schemas", "schema-id"), ids("partition-specs", "spec-id")),
        (vec![0, 1, 3], vec![0, 1, 2, 4])
    );
}

#[test]
fn properties_location_keys_and_upgrades() {
    let key = json!({"key-id": "k1", "encrypted-key-metadata": "aGk=", "encrypted-by-id": "k0", "more": 1});
    let made = done(
        &history("1"),
        5_000,
        json!([
        {"action": "upgrade-format-version", "format-version": 3},
        {"action": "set-location", "location": "s3://b/other/"},
        {"action": "set-properties", "updates": {"b": "2", "format-version": "9"}},
        {"action": "remove-properties", "removals": ["owner", "gone"]},
        {"action": "add-encryption-key", "encryption-key": key},
        {"action": "add-encryption-key", "encryption-key": {"key-id": "k1", "encrypted-key-metadata": "b3Ro"}}]),
    );
    let doc = made.to_json();
    assert!(doc.get("schema").is_none() && doc.get("partition-spec").is_none());
    for (name, want) in [
        ("format-version", json!(3)),
        ("last-sequence-number", json!(0)),
        ("next-row-id", json!(20)),
        ("location", json!("s3://b/other")),
        ("encryption-keys", json!([key])),
        ("properties", json!({"write.parquet.compression-codec": "zstd", "b": "2", "format-version": "9"})),
    ] {
        assert_eq!(doc[name], want, "{name}");
    }
    let gone = done(&made, 6_000, json!([{"action": "remove-encryption-key", "key-id": "k1"}]));
    assert!(gone.to_json().get("encryption-keys").is_none());
}

#[test]
fn last_column_id_is_not_looked_at() {
    let id = json!({"id": 1, "name": "id", "required": true, "type": "long"});
    let ts = json!({"id": 2, "name": "ts", "required": false, "type": "timestamptz"});
    // the newest column dropped, and a replacement with fewer columns: clients send what their new schema has
    for (fields, sent) in [(json!([id, ts]), json!(2)), (json!([id]), json!(1)), (json!([id]), json!("x"))] {
        let schema = json!({"type": "struct", "schema-id": 1, "fields": fields});
        let made = done(
            &history("2"),
            5_000,
            json!([{"action": "add-schema", "schema": schema, "last-column-id": sent},
                {"action": "set-current-schema", "schema-id": -1}]),
        );
        assert_eq!(made.to_json()["last-column-id"], json!(4), "ids of dropped columns are not given again");
        assert_eq!(made.to_json()["schemas"][1]["fields"], fields);
    }
}

#[test]
fn what_is_added_takes_the_spelling_of_the_reference() {
    let base = history("3");
    let mut snapshot = snapshot(3, Some(2), 3);
    snapshot["key-id"] = Value::Null;
    let made = done(
        &base,
        5_000,
        json!([
        {"action": "add-schema", "schema": {"type": "struct", "identifier-field-ids": null, "fields": [
            {"id": 1, "name": "id", "required": true, "type": "LONG"},
            {"id": 2, "name": "ts", "required": false, "type": "Timestamptz",
                "initial-default": null, "write-default": "2020-01-01T10:00Z"},
            {"id": 5, "name": "d", "required": false, "type": "double", "initial-default": 1, "more": null},
            {"id": 6, "name": "g", "required": false, "type": "geography(srid:4326,KARNEY)"}]}},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": {"fields": [{"source-ids": [2], "name": "t", "transform": "HOURS"}]}},
        {"action": "add-sort-order", "sort-order": {"order-id": 1, "fields": [
            {"source-id": 2, "transform": "Void", "direction": "DESC", "null-order": "NULLS-LAST"}]}},
        {"action": "add-snapshot", "snapshot": snapshot},
        {"action": "set-snapshot-ref", "ref-name": "b", "type": "Branch", "snapshot-id": 3},
        {"action": "set-statistics", "statistics": {"snapshot-id": 3, "statistics-path": "p",
            "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": [{"type": "t",
            "snapshot-id": 3, "sequence-number": 3, "fields": [1], "properties": null}]}}]),
    );
    let doc = made.to_json();
    assert_eq!(
        doc["schemas"][1].to_string(),
        json!({"type": "struct", "schema-id": 1, "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"},
            {"id": 2, "name": "ts", "required": false, "type": "timestamptz",
                "write-default": "2020-01-01T10:00:00+00:00"},
            {"id": 5, "name": "d", "required": false, "type": "double", "initial-default": 1.0, "more": null},
            {"id": 6, "name": "g", "required": false, "type": "geography(srid:4326, karney)"}]})
        .to_string()
    );
    assert_eq!(
        doc["partition-specs"][1]["fields"],
        json!([{"name": "t", "transform": "hour", "source-id": 2, "field-id": 1000}])
    );
    assert_eq!(
        doc["sort-orders"][1]["fields"],
        json!([{"source-id": 2, "transform": "void", "direction": "desc", "null-order": "nulls-last"}])
    );
    assert_eq!(doc["refs"]["b"], json!({"type": "branch", "snapshot-id": 3}));
    assert!(doc["statistics"][0]["blob-metadata"][0].get("properties").is_none());
    assert_eq!(made.check_loads(), Ok(()));
    // the same columns in another spelling are the same schema, and a default another client wrote is the same
    let again = done(
        &made,
        6_000,
        json!([{"action": "add-schema", "schema": {"type": "struct", "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"},
            {"id": 2, "name": "ts", "required": false, "type": "timestamptz",
                "write-default": "2020-01-01T10:00:00.000+00:00"},
            {"id": 5, "name": "d", "required": false, "type": "double", "initial-default": 1e0, "more": null},
            {"id": 6, "name": "g", "required": false, "type": "geography(srid:4326, karney)"}]}},
            {"action": "set-properties", "updates": {"a": "1"}}]),
    );
    assert_eq!(again.to_json()["schemas"], doc["schemas"]);
}

/// The base as an older version of this catalog stored it.
fn stored(table: &TableMetadata, change: impl Fn(&mut Value)) -> TableMetadata {
    let mut doc = Value::Object(table.to_json().clone());
    change(&mut doc);
    TableMetadata::parse(doc.to_string().as_bytes()).expect("readable")
}

#[test]
fn what_was_stored_before_stays_writable() {
    let base = stored(&history("3"), |doc| {
        doc["schemas"][0]["fields"][1]["write-default"] = json!("yesterday");
        let field =
            json!({"name": "b", "transform": "truncate[99999999999]", "source-id": 1, "field-id": 1000});
        let day = json!({"name": "d", "transform": "day", "source-id": 1, "field-id": 1001});
        let specs = doc["partition-specs"].as_array_mut().expect("a list");
        specs.push(json!({"spec-id": 1, "fields": [field]}));
        specs.push(json!({"spec-id": 2, "fields": [day]}));
        doc["properties"]["write.metadata.previous-versions-max"] = json!("99999999999");
    });
    assert!(base.check_loads().is_err());
    let made = done(&base, 5_000, append(3, Some(2), 3));
    let mut schema = made.to_json()["schemas"][0].clone();
    let fields = schema["fields"].as_array_mut().expect("a list");
    fields.push(json!({"id": 9, "name": "n", "required": false, "type": "int"}));
    let add = |schema: &Value| json!([{"action": "add-schema", "schema": schema}, {"action": "set-current-schema", "schema-id": -1}]);
    let made = done(&made, 6_000, add(&schema));
    // what is touched must be right
    schema["fields"][1]["write-default"] = json!("today");
    let error = commit(&made, 7_000, add(&schema)).expect_err("refused");
    refused(&error, "validation", "cannot parse default as a timestamptz value: \"today\"");
    schema["fields"][1]["write-default"] = json!("2020-01-01T00:00:00Z");
    let made = done(&made, 7_000, add(&schema));
    let drop = json!([{"action": "remove-partition-specs", "spec-ids": [1, 2]}, {"action": "remove-schemas", "schema-ids": [0, 1]}]);
    assert_eq!(done(&made, 8_000, drop).check_loads(), Ok(()));
}

#[test]
fn a_schema_beside_old_specs() {
    let base = done(
        &history("2"),
        5_000,
        json!([
        {"action": "add-spec", "spec": {"fields": [
            {"source-id": 1, "name": "id_b", "transform": "bucket[4]"},
            {"source-id": 2, "name": "ts_day", "transform": "day"}]}},
        {"action": "set-default-spec", "spec-id": -1}]),
    );
    let base = done(&base, 5_000, json!([{"action": "set-default-spec", "spec-id": 0}]));
    let with = |id: &str, name: &str| {
        let fields = json!([{"id": 1, "name": "id", "required": true, "type": id},
            {"id": 7, "name": name, "required": false, "type": "int"}]);
        json!([{"action": "add-schema", "schema": {"type": "struct", "fields": fields}},
            {"action": "set-current-schema", "schema-id": -1}])
    };
    // a dropped source does not hold a schema up, a source of another type and a name that is taken do
    assert!(commit(&base, 6_000, with("long", "n")).is_ok());
    let error = commit(&base, 6_000, with("double", "n")).expect_err("refused");
    refused(&error, "validation", "Invalid source type double for transform: bucket[4]");
    let error = commit(&base, 6_000, with("long", "ts_day")).expect_err("refused");
    refused(&error, "validation", "partition sourced from different field in schema: ts_day");
    // without the spec nothing is in the way
    let mut updates = with("double", "ts_day");
    let remove = json!({"action": "remove-partition-specs", "spec-ids": [1]});
    updates.as_array_mut().expect("a list").push(remove);
    assert_eq!(done(&base, 6_000, updates).check_loads(), Ok(()));
}

#[test]
fn numbers_of_snapshots_survive_an_upgrade_behind_them() {
    let upgrade = |version: i64| json!({"action": "upgrade-format-version", "format-version": version});
    let mut updates = append(1, None, 1);
    let list = updates.as_array_mut().expect("a list");
    list.push(upgrade(2));
    list.extend(append(2, Some(1), 2).as_array().cloned().expect("a list"));
    let made = done(&table("1"), 2_000, updates);
    let doc = made.to_json();
    assert_eq!(doc["last-sequence-number"], json!(2));
    assert_eq!(doc["snapshots"][0]["sequence-number"], json!(1));
    assert_eq!(doc["snapshots"][1]["sequence-number"], json!(2));

    // without it, format 1 has none
    let made = done(&table("1"), 2_000, append(1, None, 5));
    assert!(made.to_json()["snapshots"][0].get("sequence-number").is_none());
    let made = done(&made, 3_000, json!([upgrade(2)]));
    assert_eq!(made.to_json()["last-sequence-number"], json!(0));

    // row ids that a snapshot names are not given again
    for version in ["1", "2"] {
        let mut updates = append(1, None, 1);
        updates.as_array_mut().expect("a list").push(upgrade(3));
        let made = done(&table(version), 2_000, updates);
        assert_eq!(made.to_json()["next-row-id"], json!(10), "v{version}");
        let made = done(&done(&table(version), 2_000, append(1, None, 1)), 3_000, json!([upgrade(3)]));
        assert_eq!(made.to_json()["next-row-id"], json!(10), "v{version}");
    }
    // nor those behind a gap
    let mut updates = append(3, Some(2), 3);
    updates[0]["snapshot"]["first-row-id"] = json!(100);
    assert_eq!(done(&history("3"), 5_000, updates).to_json()["next-row-id"], json!(110));
}

#[test]
fn clocks_may_differ_by_a_minute() {
    let at = |id: i64, ms: i64| {
        let mut updates = append(id, Some(id - 1), id);
        updates[0]["snapshot"]["timestamp-ms"] = json!(ms);
        updates
    };
    // ahead
    let base = history("2");
    let ahead = done(&base, 5_000, at(3, 65_000));
    assert_eq!(ahead.last_updated_ms(), 65_000);
    let error = commit(&base, 5_000, at(3, 65_001)).expect_err("refused");
    refused(
        &error,
        "illegal",
        "Invalid snapshot timestamp 65001: more than a minute after the current time 5000",
    );
    // another writer whose clock is right, at once
    let next = done(&ahead, 5_000, at(4, 5_000));
    assert_eq!(next.to_json()["snapshot-log"][3]["timestamp-ms"], json!(5_000));

    // behind by more: as long as nobody else writes, commits follow each other by the writer's clock
    let behind = done(&base, 1_000_000, at(3, 800_000));
    let behind = done(&behind, 1_000_001, at(4, 800_001));
    assert_eq!(behind.last_updated_ms(), 800_001);
    let other = done(&behind, 1_000_002, json!([{"action": "set-properties", "updates": {"a": "1"}}]));
    let error = commit(&other, 1_000_003, at(5, 800_003)).expect_err("refused");
    refused(
        &error,
        "illegal",
        "Invalid update timestamp 800003: before the latest metadata log entry timestamp 1000002",
    );

    // a table from an older version that is far ahead: everyone can write, and its log stays sorted
    let far = stored(&base, |doc| {
        doc["snapshots"][1]["timestamp-ms"] = json!(900_000);
        doc["snapshot-log"][1]["timestamp-ms"] = json!(900_000);
        doc["last-updated-ms"] = json!(900_000);
    });
    let made = done(&far, 5_000, at(3, 5_000));
    assert_eq!(made.to_json()["snapshot-log"][2], json!({"timestamp-ms": 900_000, "snapshot-id": 3}));
    assert_eq!(made.to_json()["snapshots"][2]["timestamp-ms"], json!(5_000));
    let made = done(&made, 6_000, json!([{"action": "set-properties", "updates": {"a": "1"}}]));
    assert_eq!(made.last_updated_ms(), 900_000);
    let made = done(&made, 901_000, at(4, 901_000));
    assert_eq!(made.to_json()["snapshot-log"][3]["timestamp-ms"], json!(901_000));
    assert!(commit(&far, 5_000, at(3, -55_001)).is_err(), "behind this server's clock");
}

#[test]
fn the_metadata_log_is_bounded() {
    let mut table = table("2");
    for n in 0..8 {
        table = done(
            &table,
            2_000 + n,
            json!([{"action": "set-properties",
            "updates": {"n": n.to_string(), "write.metadata.previous-versions-max": "3"}}]),
        );
    }
    assert_eq!(table.metadata_log().iter().map(|e| e.0).collect::<Vec<_>>(), [2_004, 2_005, 2_006]);
    let one = done(
        &table,
        3_000,
        json!([{"action": "set-properties",
        "updates": {"write.metadata.previous-versions-max": "-4"}}]),
    );
    assert_eq!(one.metadata_log().len(), 1);
}

fn create_commit(extra: &Value) -> Value {
    let mut updates = json!([
        {"action": "assign-uuid", "uuid": "00000000-0000-0000-0000-000000000001"},
        {"action": "upgrade-format-version", "format-version": 3},
        {"action": "add-schema", "schema": {"type": "struct", "schema-id": 0, "fields": [
            {"id": 5, "name": "id", "required": true, "type": "variant"},
            {"id": 6, "name": "n", "required": false, "type": "int"}]}},
        {"action": "add-spec", "spec": {"type": "struct", "spec-id": 0, "fields": [
            {"source-id": 6, "name": "n", "field-id": 1000, "transform": "identity"}]}},
        {"action": "set-default-spec", "spec-id": 0},
        {"action": "set-current-schema", "schema-id": 0},
        {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
        {"action": "set-default-sort-order", "sort-order-id": 0},
        {"action": "set-location", "location": "s3://b/n/"},
        {"action": "set-properties", "updates": {"a": "1", "format-version": "3"}}]);
    if let (Value::Array(updates), Value::Array(extra)) = (&mut updates, extra) {
        updates.extend(extra.iter().cloned());
    }
    updates
}

#[test]
fn a_create_commit_keeps_its_ids() {
    let cx = Context { now_ms: 7, previous_metadata_location: None, new_uuid: UUID };
    let make = |updates: &Value| apply(None, &parse_updates(updates).expect("well formed"), &cx);
    let made = make(&create_commit(&append(1, None, 1))).expect("accepted").expect("a table");
    let doc = made.to_json();
    for (key, want) in [
        ("format-version", json!(3)),
        ("table-uuid", json!("00000000-0000-0000-0000-000000000001")),
        ("location", json!("s3://b/n")),
        ("last-column-id", json!(6)),
        ("last-partition-id", json!(1000)),
        ("current-snapshot-id", json!(1)),
        ("next-row-id", json!(10)),
        ("properties", json!({"a": "1"})),
        (
            "partition-specs",
            json!([{"spec-id": 0, "fields": [
            {"source-id": 6, "name": "n", "field-id": 1000, "transform": "identity"}]}]),
        ),
        ("metadata-log", json!([])),
    ] {
        assert_eq!(doc[key], want, "{key}");
    }
    assert_eq!(TableMetadata::parse(&made.render()), Ok(made));

    // each part is needed; the UUID and the version have defaults
    let check = |actions: &[&str], want: &str| {
        let mut updates = create_commit(&json!([]));
        if let Value::Array(list) = &mut updates {
            list.retain(|u| !actions.contains(&u["action"].as_str().unwrap_or_default()));
        }
        let got = make(&updates);
        assert_eq!(got.is_err(), !want.is_empty(), "{actions:?}: {got:?}");
        let text = got.map_or_else(|e| e.message().to_owned(), |_| String::new());
        assert!(text.contains(want), "{text} does not contain {want}");
    };
    check(&["assign-uuid"], "");
    check(&["set-current-schema", "set-default-spec", "set-default-sort-order"], "");
    check(&["set-location"], "location is not set");
    check(&["add-spec"], "partition specs cannot be null or empty");
    check(&["add-sort-order"], "sort orders cannot be null or empty");
    check(&["add-schema", "add-spec"], "schemas cannot be null or empty");
    check(&["add-schema"], "no schema has been added");
    check(&["add-schema", "set-current-schema"], "no schema has been added");
    check(&["upgrade-format-version", "set-properties"], "variant is not supported until v3");
    check(&["upgrade-format-version"], "");
    refused(&make(&json!([])).expect_err("refused"), "validation", "location is not set");
    let early = make(&append(1, None, 1)).expect_err("refused");
    refused(&early, "validation", "Attempting to add a snapshot before a schema is added");
}

#[test]
fn random_damage_never_panics() {
    let file = json!({"snapshot-id": 1, "statistics-path": "p", "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1,
        "blob-metadata": []});
    let more = json!([
        {"action": "add-snapshot", "snapshot": snapshot(1, None, 1)},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 1},
        {"action": "set-snapshot-ref", "ref-name": "t", "type": "tag", "snapshot-id": 1},
        {"action": "set-statistics", "statistics": file},
        {"action": "set-partition-statistics", "partition-statistics": file},
        {"action": "add-encryption-key", "encryption-key": {"key-id": "k", "encrypted-key-metadata": "aGk="}},
        {"action": "remove-snapshots", "snapshot-ids": [9]},
        {"action": "remove-snapshot-ref", "ref-name": "t"},
        {"action": "remove-properties", "removals": ["a"]},
        {"action": "remove-schemas", "schema-ids": [4]},
        {"action": "remove-partition-specs", "spec-ids": [4]},
        {"action": "remove-statistics", "snapshot-id": 1},
        {"action": "remove-partition-statistics", "snapshot-id": 1},
        {"action": "remove-encryption-key", "key-id": "k"}]);
    let requirements = json!([{"type": "assert-table-uuid", "uuid": UUID},
        {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null},
        {"type": "assert-current-schema-id", "current-schema-id": 0}]);
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    for round in 0..3_000 {
        let mut updates = create_commit(&more);
        if round % 2 == 0
            && let Value::Array(list) = &mut updates
        {
            list.drain(..6); // the others apply to an existing table too
        }
        let mut request = json!({"requirements": requirements, "updates": updates});
        for _ in 0..random.below(3) {
            random.damage(&mut request);
        }
        fuzz_commit(&serde_json::to_vec(&request).expect("JSON"));
    }
}

#[test]
fn malformed_updates_are_bad_requests() {
    let check = |update: Value, text: &str| {
        refused(&parse_updates(&json!([update])).expect_err("refused"), "bad", text);
    };
    check(json!({"action": "grow"}), "Unrecognized metadata update action: grow");
    check(json!({"action": "add-view-version"}), "Cannot apply update add-view-version to a table");
    check(json!({}), "missing string: action");
    check(json!(3), "non-object");
    check(json!({"action": "assign-uuid"}), "missing string: uuid");
    check(json!({"action": "assign-uuid", "uuid": "x"}), "Invalid UUID: x");
    check(json!({"action": "upgrade-format-version"}), "missing int: format-version");
    check(json!({"action": "add-schema"}), "missing object: schema");
    check(json!({"action": "add-schema", "schema": {"type": "struct"}}), "missing list: fields");
    check(json!({"action": "set-current-schema", "schema-id": 1e30}), "Cannot parse to an int value");
    check(json!({"action": "add-spec", "spec": {"fields": [{"source-id": 1}]}}), "missing string: name");
    check(json!({"action": "set-default-spec"}), "missing int: spec-id");
    check(json!({"action": "add-sort-order", "sort-order": {}}), "missing list: fields");
    check(json!({"action": "set-default-sort-order"}), "missing int: sort-order-id");
    check(json!({"action": "add-snapshot", "snapshot": {}}), "missing long: snapshot-id");
    let merge =
        json!({"snapshot-id": 1, "timestamp-ms": 1, "manifest-list": "l", "summary": {"operation": "merge"}});
    check(json!({"action": "add-snapshot", "snapshot": merge}), "Invalid snapshot operation: merge");
    check(
        json!({"action": "add-spec", "spec": {"fields": [
            {"source-ids": [1, 2], "name": "m", "transform": "multi"}]}}),
        "missing int: source-id",
    );
    check(
        json!({"action": "add-encryption-key", "encryption-key": {"key-id": "k", "encrypted-key-metadata": "a_-k"}}),
        "not base64",
    );
    check(
        json!({"action": "set-properties", "updates": {"x".repeat(50_001): "y"}}),
        "name of 50001 bytes is over 50000",
    );
    check(
        json!({"action": "set-snapshot-ref", "ref-name": "b", "type": "branch"}),
        "missing long: snapshot-id",
    );
    check(
        json!({"action": "set-snapshot-ref", "ref-name": "main", "type": "tag", "snapshot-id": 1}),
        "Cannot set main to a tag",
    );
    check(json!({"action": "remove-snapshots", "snapshot-ids": ["1"]}), "Cannot parse to a long value");
    check(json!({"action": "remove-snapshot-ref"}), "missing string: ref-name");
    check(json!({"action": "set-location"}), "missing string: location");
    check(
        json!({"action": "set-properties", "updates": {"a": 1}}),
        "Cannot parse to a string value: updates.a",
    );
    check(json!({"action": "set-properties"}), "missing map: updates");
    check(json!({"action": "remove-properties"}), "missing list: removals");
    check(json!({"action": "set-statistics", "statistics": {}}), "missing string: statistics-path");
    check(json!({"action": "remove-statistics"}), "missing long: snapshot-id");
    check(json!({"action": "set-partition-statistics"}), "missing object: partition-statistics");
    check(json!({"action": "remove-partition-statistics", "snapshot-id": "1"}), "Cannot parse to a long");
    check(json!({"action": "remove-partition-specs"}), "missing list: spec-ids");
    check(json!({"action": "remove-schemas", "schema-ids": [4294967296_i64]}), "Cannot parse to an int");
    check(
        json!({"action": "add-encryption-key", "encryption-key": {"key-id": "k"}}),
        "encrypted-key-metadata",
    );
    check(json!({"action": "remove-encryption-key"}), "missing string: key-id");
    check(
        json!({"action": "x", "deep": (0..100).fold(json!(1), |v, _| json!([v]))}),
        "nested over 100 levels",
    );
    let partition = json!({"snapshot-id": 1, "statistics-path": "p", "file-size-in-bytes": 1});
    check(
        json!({"action": "set-partition-statistics", "snapshot-id": 2, "partition-statistics": partition}),
        "snapshot-id 2 of the update != 1",
    );
    refused(&parse_updates(&json!({})).expect_err("refused"), "bad", "Cannot parse updates from non-array");
}
