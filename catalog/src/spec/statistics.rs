//! Table statistics, partition statistics and encryption keys: the side lists of table metadata.
//! `commit` and `table_metadata` call it. I1. At most one statistics file of each kind per snapshot.

use serde_json::Value;

use super::Invalid;
use super::json::{self, Object};

/// Validates a statistics file and returns its snapshot id.
pub(crate) fn check_table(o: &Object) -> Result<i64, Invalid> {
    json::str_at(o, "statistics-path")?;
    json::i64_at(o, "file-size-in-bytes")?;
    json::i64_at(o, "file-footer-size-in-bytes")?;
    for blob in json::array_at(o, "blob-metadata")? {
        let blob = json::object(blob, "blob metadata")?;
        json::str_at(blob, "type")?;
        json::i64_at(blob, "snapshot-id")?;
        json::i64_at(blob, "sequence-number")?;
        json::i32s_at(blob, "fields")?;
        json::opt_string_map_at(blob, "properties")?;
    }
    json::i64_at(o, "snapshot-id")
}

/// Validates a partition statistics file and returns its snapshot id.
pub(crate) fn check_partition(o: &Object) -> Result<i64, Invalid> {
    json::str_at(o, "statistics-path")?;
    json::i64_at(o, "file-size-in-bytes")?;
    json::i64_at(o, "snapshot-id")
}

/// Drops properties that hold null, which the reference reads only where they are absent.
pub(crate) fn canonicalize_table(o: &mut Object) {
    let Some(Value::Array(blobs)) = o.get_mut("blob-metadata") else { return };
    for blob in blobs.iter_mut().filter_map(Value::as_object_mut) {
        json::drop_nulls(blob, &["properties"]);
    }
}

/// The same for an encryption key.
pub(crate) fn canonicalize_key(o: &mut Object) {
    json::drop_nulls(o, &["properties"]);
}

/// Refuses what the reference or PyIceberg cannot load in new statistics.
pub(crate) fn check_new_table(o: &Object) -> Result<(), Invalid> {
    json::opt_str_at(o, "key-metadata").map(drop)
}

/// Refuses an encryption key whose metadata the reference cannot decode: basic base64, padding may be left out.
pub(crate) fn check_new_key(o: &Object) -> Result<(), Invalid> {
    let metadata = json::str_at(o, "encrypted-key-metadata")?;
    let digits = metadata.trim_end_matches('=');
    let padding = metadata.len() - digits.len();
    let whole = match digits.len() % 4 {
        0 => padding == 0,
        2 => padding == 0 || padding == 2,
        3 => padding <= 1,
        _ => false,
    };
    if whole && digits.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) {
        return Ok(());
    }
    Err(Invalid::new("Cannot parse encrypted-key-metadata: not base64"))
}

/// Validates an encryption key and returns its id.
pub(crate) fn check_key(o: &Object) -> Result<&str, Invalid> {
    let metadata = json::str_at(o, "encrypted-key-metadata")?;
    if !metadata.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_')) {
        return Err(Invalid::new("Cannot parse encrypted-key-metadata: not base64"));
    }
    json::opt_str_at(o, "encrypted-by-id")?;
    json::opt_string_map_at(o, "properties")?;
    json::str_at(o, "key-id")
}

#[cfg(test)]
mod tests {
    use super::{
        canonicalize_key, canonicalize_table, check_key, check_new_key, check_new_table, check_partition,
        check_table,
    };
    use serde_json::{Value, json};

    fn without(mut value: Value, key: &str) -> Value {
        value.as_object_mut().expect("object").shift_remove(key);
        value
    }

    #[test]
    fn new_keys() {
        let check = |metadata: &str, want: bool| {
            let key = json!({"key-id": "k", "encrypted-key-metadata": metadata});
            assert_eq!(check_new_key(key.as_object().expect("object")).is_ok(), want, "{metadata}");
        };
        for good in ["", "aGk=", "aGk", "aG==", "aG", "a+/k"] {
            check(good, true);
        }
        for bad in ["a", "aGk==", "aG=", "====", "a_-k", "aG=k", "a b="] {
            check(bad, false);
        }
    }

    #[test]
    fn canonical_form() {
        let mut o =
            json!({"blob-metadata": [{"type": "t", "properties": null, "x": null}], "properties": null});
        let o = o.as_object_mut().expect("object");
        canonicalize_table(o);
        assert_eq!(json!(o), json!({"blob-metadata": [{"type": "t", "x": null}], "properties": null}));
        canonicalize_key(o);
        assert!(!o.contains_key("properties"));
        assert!(check_new_table(json!({"key-metadata": 5}).as_object().expect("object")).is_err());
        assert!(check_new_table(json!({"key-metadata": null}).as_object().expect("object")).is_ok());
    }

    #[test]
    fn shapes() {
        let table = json!({"snapshot-id": 1, "statistics-path": "p", "file-size-in-bytes": 1,
            "file-footer-size-in-bytes": 1, "blob-metadata": [
            {"type": "t", "snapshot-id": 1, "sequence-number": 1, "fields": [1]}]});
        let object = |v: &Value| v.as_object().cloned().expect("object");
        assert_eq!(check_table(&object(&table)), Ok(1));
        for key in table.as_object().expect("object").keys() {
            assert!(check_table(&object(&without(table.clone(), key))).is_err(), "{key}");
        }
        let partition = json!({"snapshot-id": 1, "statistics-path": "p", "file-size-in-bytes": 1});
        assert_eq!(check_partition(&object(&partition)), Ok(1));
        for key in partition.as_object().expect("object").keys() {
            assert!(check_partition(&object(&without(partition.clone(), key))).is_err(), "{key}");
        }
        let key = json!({"key-id": "k", "encrypted-key-metadata": "aGk="});
        assert_eq!(check_key(&object(&key)), Ok("k"));
        for k in key.as_object().expect("object").keys() {
            assert!(check_key(&object(&without(key.clone(), k))).is_err(), "{k}");
        }
        assert!(check_key(&object(&json!({"key-id": "k", "encrypted-key-metadata": "a b"}))).is_err());
    }
}
