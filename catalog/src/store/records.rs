//! The catalog's records in a bucket: keys and values, encoded and decoded. Called by `state` and the operations.
//!
//! Key = kind, NUL, rest. Names hold no control character, so NUL never stands in one:
//! `n NUL namespace` · `t NUL namespace NUL table` · `i NUL 16 bytes of idempotency key` · `p NUL location key`.
//! Values are JSON objects with their version under `v`; a version we do not know is damage, not an empty value.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::model::{Pointer, Recorded, Remembered};
use crate::store::failure::Failure;
use crate::store::names::{Ident, NamespaceName};

/// Version of every value.
const VERSION: u64 = 1;

/// One record, decoded.
#[derive(Debug)]
pub(crate) enum Record {
    Namespace(NamespaceName, Map<String, Value>),
    Table(Ident, Pointer),
    Idempotency(u128, Remembered),
    /// A purge under this key prefix that has not ended.
    Purge(String),
}

pub(crate) fn namespace_key(name: &NamespaceName) -> Bytes {
    key(b'n', &[name.as_str().as_bytes()])
}

pub(crate) fn table_key(ident: &Ident) -> Bytes {
    key(b't', &[ident.namespace.as_str().as_bytes(), ident.name.as_bytes()])
}

pub(crate) fn idempotency_key(id: u128) -> Bytes {
    key(b'i', &[uuid::Uuid::from_u128(id).as_bytes()])
}

pub(crate) fn purge_key(location_key: &str) -> Bytes {
    key(b'p', &[location_key.as_bytes()])
}

pub(crate) fn namespace_value(properties: &Map<String, Value>) -> Bytes {
    value(json!({"v": VERSION, "properties": properties}))
}

pub(crate) fn table_value(pointer: &Pointer) -> Bytes {
    value(json!({
        "v": VERSION,
        "uuid": pointer.uuid,
        "metadata-location": pointer.metadata_location,
        "location-key": pointer.location_key,
    }))
}

pub(crate) fn purge_value() -> Bytes {
    value(json!({"v": VERSION}))
}

pub(crate) fn idempotency_value(remembered: &Remembered) -> Bytes {
    let mut object = Map::new();
    object.insert("v".to_owned(), VERSION.into());
    object.insert("at".to_owned(), remembered.at_ms.into());
    object.insert("operation".to_owned(), uuid::Uuid::from_u128(remembered.operation).to_string().into());
    let (kind, body) = match &remembered.recorded {
        Recorded::Empty => ("empty", Value::Null),
        Recorded::Json(text) => ("json", Value::from(text.as_str())),
        Recorded::Table { metadata_location } => ("table", Value::from(metadata_location.as_str())),
        Recorded::Failed { status, kind, message } => {
            ("failed", json!({"status": status, "type": kind, "message": message}))
        }
    };
    object.insert(kind.to_owned(), body);
    value(Value::Object(object))
}

/// Decodes one record. A key of a kind that is not ours is [`Failure::Damaged`].
pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Record, Failure> {
    let damaged = |why: &str| Failure::Damaged {
        what: format!("catalog record {}", String::from_utf8_lossy(key).escape_debug()),
        why: why.to_owned(),
    };
    let object: Map<String, Value> = serde_json::from_slice(value).map_err(|e| damaged(&e.to_string()))?;
    if object.get("v").and_then(Value::as_u64) != Some(VERSION) {
        return Err(damaged("unknown version"));
    }
    let rest = key.get(2..).unwrap_or_default();
    let text = || std::str::from_utf8(rest).map_err(|_| damaged("key is not UTF-8"));
    let field = |name: &'static str| {
        object.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| damaged(name))
    };
    match key {
        [b'n', 0, ..] => {
            let name = NamespaceName::parse(text()?).map_err(|_| damaged("namespace"))?;
            let properties = object.get("properties").and_then(Value::as_object).cloned();
            Ok(Record::Namespace(name, properties.ok_or_else(|| damaged("properties"))?))
        }
        [b't', 0, ..] => {
            let (namespace, name) = text()?.split_once('\0').ok_or_else(|| damaged("table"))?;
            let namespace = NamespaceName::parse(namespace).map_err(|_| damaged("namespace"))?;
            let ident = Ident::new(namespace, name).map_err(|_| damaged("table"))?;
            let pointer = Pointer {
                uuid: field("uuid")?,
                metadata_location: field("metadata-location")?,
                location_key: field("location-key")?,
            };
            Ok(Record::Table(ident, pointer))
        }
        [b'i', 0, ..] => {
            let id = uuid::Uuid::from_slice(rest).map_err(|_| damaged("key"))?.as_u128();
            let operation =
                uuid::Uuid::parse_str(&field("operation")?).map_err(|_| damaged("operation"))?.as_u128();
            let at_ms = object.get("at").and_then(Value::as_u64).ok_or_else(|| damaged("at"))?;
            let recorded = recorded(&object).ok_or_else(|| damaged("outcome"))?;
            Ok(Record::Idempotency(id, Remembered { at_ms, operation, recorded }))
        }
        [b'p', 0, ..] => Ok(Record::Purge(text()?.to_owned())),
        _ => Err(damaged("unknown kind")),
    }
}

fn recorded(object: &Map<String, Value>) -> Option<Recorded> {
    if object.contains_key("empty") {
        return Some(Recorded::Empty);
    }
    if let Some(text) = object.get("json") {
        return Some(Recorded::Json(text.as_str()?.to_owned()));
    }
    if let Some(location) = object.get("table") {
        return Some(Recorded::Table { metadata_location: location.as_str()?.to_owned() });
    }
    let failed = object.get("failed")?;
    Some(Recorded::Failed {
        status: failed.get("status")?.as_u64()?.try_into().ok()?,
        kind: failed.get("type")?.as_str()?.to_owned(),
        message: failed.get("message")?.as_str()?.to_owned(),
    })
}

fn key(kind: u8, parts: &[&[u8]]) -> Bytes {
    let mut key = vec![kind];
    for part in parts {
        key.push(0);
        key.extend_from_slice(part);
    }
    Bytes::from(key)
}

fn value(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ident() -> Ident {
        Ident::new(NamespaceName::parse("a\u{1f}b").expect("valid"), "t.1 ü").expect("valid")
    }

    #[test]
    fn tables_and_namespaces_come_back() {
        let pointer = Pointer {
            uuid: "u".to_owned(),
            metadata_location: "s3://lake/x/metadata/00000-u.metadata.json".to_owned(),
            location_key: "x".to_owned(),
        };
        match decode(&table_key(&ident()), &table_value(&pointer)) {
            Ok(Record::Table(got, at)) => assert_eq!((got, at), (ident(), pointer)),
            other => panic!("{other:?}"),
        }
        let mut properties = Map::new();
        properties.insert("owner".to_owned(), "me".into());
        match decode(&namespace_key(&ident().namespace), &namespace_value(&properties)) {
            Ok(Record::Namespace(name, got)) => assert_eq!((name, got), (ident().namespace, properties)),
            other => panic!("{other:?}"),
        }
        match decode(&purge_key("x/y"), &purge_value()) {
            Ok(Record::Purge(key)) => assert_eq!(key, "x/y"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn idempotency_comes_back() {
        let check = |recorded: Recorded| {
            let remembered = Remembered { at_ms: 7, operation: 1 << 100, recorded };
            match decode(&idempotency_key(42), &idempotency_value(&remembered)) {
                Ok(Record::Idempotency(id, got)) => assert_eq!((id, got), (42, remembered)),
                other => panic!("{other:?}"),
            }
        };
        check(Recorded::Empty);
        check(Recorded::Json("{}".to_owned()));
        check(Recorded::Table { metadata_location: "s3://lake/x".to_owned() });
        check(Recorded::Failed { status: 409, kind: "K".to_owned(), message: "m".to_owned() });
    }

    #[test]
    fn damage_is_an_error() {
        let check = |key: &[u8], value: &'static str| {
            assert!(decode(key, &Bytes::from_static(value.as_bytes())).is_err(), "{key:?} {value}");
        };
        check(b"n\0a", "{}");
        check(b"n\0a", r#"{"v":2,"properties":{}}"#);
        check(b"n\0a", r#"{"v":1}"#);
        check(b"n\0", r#"{"v":1,"properties":{}}"#);
        check(b"t\0a", r#"{"v":1}"#);
        check(b"x\0a", r#"{"v":1}"#);
        check(b"", r#"{"v":1}"#);
        check(b"i\0short", r#"{"v":1,"at":1,"operation":"0","empty":null}"#);
        check(b"n\0\xff", r#"{"v":1,"properties":{}}"#);
        check(b"n\0a", "not json");
    }
}
