//! Snapshots: a typed view of the fields that commits decide by.
//! `commit` and `table_metadata` call it. I1. A view exists only for a snapshot whose fields have their types.

use serde_json::Value;

use super::Invalid;
use super::json::{self, Object};

/// What versions 1 and 2 write as the current snapshot of a table without one.
pub(crate) const NO_SNAPSHOT: i64 = -1;

/// What commits need to know of one snapshot; times in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: i64,
    pub(crate) parent_id: Option<i64>,
    pub(crate) sequence_number: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) first_row_id: Option<i64>,
    pub(crate) added_rows: Option<i64>,
}

/// Validates a snapshot.
pub(crate) fn view(o: &Object) -> Result<Snapshot, Invalid> {
    let snapshot = Snapshot {
        id: json::i64_at(o, "snapshot-id")?,
        parent_id: json::opt_i64_at(o, "parent-snapshot-id")?,
        sequence_number: json::opt_i64_at(o, "sequence-number")?.unwrap_or(0),
        timestamp_ms: json::i64_at(o, "timestamp-ms")?,
        first_row_id: json::opt_i64_at(o, "first-row-id")?,
        added_rows: json::opt_i64_at(o, "added-rows")?,
    };
    json::opt_i32_at(o, "schema-id")?;
    json::opt_str_at(o, "key-id")?;
    json::opt_string_map_at(o, "summary")?;
    if json::opt_str_at(o, "manifest-list")?.is_none() {
        json::strs_at(o, "manifests")
            .map_err(|_| Invalid::new("Cannot parse missing string: manifest-list"))?;
    }
    for (what, value) in [("first-row-id", snapshot.first_row_id), ("added-rows", snapshot.added_rows)] {
        if value.is_some_and(|n| n < 0) {
            return Err(Invalid::new(format!("Invalid {what} (cannot be negative): {}", value.unwrap_or(0))));
        }
    }
    Ok(snapshot)
}

/// Refuses what the reference or PyIceberg cannot load in a new snapshot.
pub(crate) fn check_new(o: &Object) -> Result<(), Invalid> {
    let snapshot = view(o)?;
    check_rows(&snapshot)?;
    json::str_at(o, "manifest-list")?;
    let operation =
        json::opt_object_at(o, "summary")?.and_then(|s| s.get("operation")).and_then(Value::as_str);
    match operation.filter(|o| !OPERATIONS.contains(o)) {
        Some(other) => Err(Invalid::new(format!("Invalid snapshot operation: {}", json::clip(other)))),
        None => Ok(()),
    }
}

/// Refuses what the reference cannot load in any snapshot.
pub(crate) fn check_loads(snapshot: &Snapshot) -> Result<(), Invalid> {
    if snapshot.id == NO_SNAPSHOT {
        return Err(Invalid::new("Invalid snapshot id: -1 stands for no snapshot"));
    }
    check_rows(snapshot)
}

fn check_rows(snapshot: &Snapshot) -> Result<(), Invalid> {
    if snapshot.first_row_id.is_some() && snapshot.added_rows.is_none() {
        return Err(Invalid::new("Invalid added-rows (required when first-row-id is set): null"));
    }
    Ok(())
}

/// Drops optional fields that hold null: the reference reads some only where they are absent.
pub(crate) fn canonicalize(o: &mut Object) {
    const OPTIONAL: [&str; 8] = [
        "parent-snapshot-id",
        "sequence-number",
        "summary",
        "manifest-list",
        "schema-id",
        "first-row-id",
        "added-rows",
        "key-id",
    ];
    json::drop_nulls(o, &OPTIONAL);
}

/// What a snapshot can do to a table.
const OPERATIONS: [&str; 4] = ["append", "replace", "overwrite", "delete"];

/// The id of an already validated snapshot.
pub(crate) fn id(o: &Object) -> Option<i64> {
    o.get("snapshot-id").and_then(Value::as_i64)
}

#[cfg(test)]
mod tests {
    use super::{canonicalize, check_new, view};
    use serde_json::{Value, json};

    #[test]
    fn new_ones() {
        let check = |key: &str, value: Value, want: Option<&str>| {
            let mut o = json!({"snapshot-id": 5, "timestamp-ms": 1, "manifest-list": "s3://b/l",
                "summary": {"operation": "append"}});
            o[key] = value;
            let got = check_new(o.as_object().expect("object")).err().map(|e| e.message);
            assert_eq!(got.as_deref(), want, "{o}");
        };
        check("summary", json!({"operation": "delete", "x": "y"}), None);
        check("summary", json!({"x": "y"}), None);
        check("summary", json!({}), None);
        check("summary", json!({"operation": "merge"}), Some("Invalid snapshot operation: merge"));
        check("summary", json!({"operation": "APPEND"}), Some("Invalid snapshot operation: APPEND"));
        let rows = "Invalid added-rows (required when first-row-id is set): null";
        check("first-row-id", json!(0), Some(rows));
        check("added-rows", json!(0), None);
        let embedded = json!({"snapshot-id": 5, "timestamp-ms": 1, "manifests": ["s3://b/m"]});
        let embedded = embedded.as_object().expect("object");
        assert!(view(embedded).is_ok() && check_new(embedded).is_err());
    }

    #[test]
    fn canonical_form() {
        let mut o = json!({"sequence-number": null, "snapshot-id": 5, "parent-snapshot-id": null,
            "summary": null, "manifest-list": null, "schema-id": 0, "x": null});
        canonicalize(o.as_object_mut().expect("object"));
        assert_eq!(o.to_string(), r#"{"snapshot-id":5,"schema-id":0,"x":null}"#);
    }

    #[test]
    fn shapes() {
        let check = |key: &str, value: Value, want: Option<&str>| {
            let mut o = json!({"snapshot-id": 5, "timestamp-ms": 1, "manifest-list": "s3://b/l",
                "summary": {"operation": "append"}});
            o[key] = value;
            let got = view(o.as_object().expect("object")).err().map(|e| e.message);
            assert_eq!(got.is_some(), want.is_some(), "{o}: {got:?}");
            assert!(got.as_deref().unwrap_or_default().contains(want.unwrap_or_default()), "{got:?}");
        };
        check("parent-snapshot-id", Value::Null, None);
        check("parent-snapshot-id", json!(4), None);
        check("snapshot-id", json!("5"), Some("Cannot parse to a long value: snapshot-id"));
        check("snapshot-id", json!(1e30), Some("Cannot parse to a long value: snapshot-id"));
        check("timestamp-ms", Value::Null, Some("missing long: timestamp-ms"));
        check("manifest-list", Value::Null, Some("missing string: manifest-list"));
        check("summary", json!({"operation": 1}), Some("Cannot parse to a string value: summary.operation"));
        check("summary", json!("x"), Some("Cannot parse to an object value: summary"));
        check("first-row-id", json!(-1), Some("Invalid first-row-id"));
        check("added-rows", json!(-1), Some("Invalid added-rows"));
        check("schema-id", json!("0"), Some("Cannot parse to an int value: schema-id"));
    }
}
