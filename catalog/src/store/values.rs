//! The values that the catalog keeps in a bucket: keys and contents, encoded and decoded. Called by `state` and the
//! operations.
//!
//! Key = kind, NUL, rest. Names hold no control character, so NUL never stands in one:
//! `n NUL namespace` · `t NUL namespace NUL table` · `i NUL 16 bytes of idempotency key` · `p NUL location key`.
//! All kinds lie in the range of `ValueOwner::Catalog`. Values are JSON objects with their version under `v`. A kind or a
//! version that is not known here is refused by name: a newer program wrote it, and nothing may be changed beside it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::model::{Pointer, Recorded, Remembered};
use crate::store::failure::CatalogError;
use crate::store::names::{Ident, NamespaceName};

/// Version of every value.
const VERSION: u64 = 1;

/// The first bytes of keys.
const KINDS: [u8; 4] = [b'i', b'n', b'p', b't'];

/// One value, decoded.
#[derive(Debug)]
pub(crate) enum StoredValue {
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

/// Decodes one value. A kind or a version that is not known here is [`CatalogError::NewerValue`].
pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<StoredValue, CatalogError> {
    let shown = || String::from_utf8_lossy(key).escape_debug().to_string();
    let damaged =
        |why: &str| CatalogError::Damaged { what: format!("catalog value {}", shown()), why: why.to_owned() };
    let newer = |version| CatalogError::NewerValue { key: shown(), version };
    if key.first().is_some_and(|kind| !KINDS.contains(kind)) {
        return Err(newer(None));
    }
    let object: Map<String, Value> = serde_json::from_slice(value).map_err(|e| damaged(&e.to_string()))?;
    match object.get("v").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(version) if VERSION < version => return Err(newer(Some(version))),
        Some(_) | None => return Err(damaged("version")),
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
            Ok(StoredValue::Namespace(name, properties.ok_or_else(|| damaged("properties"))?))
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
            Ok(StoredValue::Table(ident, pointer))
        }
        [b'i', 0, ..] => {
            let id = uuid::Uuid::from_slice(rest).map_err(|_| damaged("key"))?.as_u128();
            let operation =
                uuid::Uuid::parse_str(&field("operation")?).map_err(|_| damaged("operation"))?.as_u128();
            let at_ms = object.get("at").and_then(Value::as_u64).ok_or_else(|| damaged("at"))?;
            let recorded = recorded(&object).ok_or_else(|| damaged("outcome"))?;
            Ok(StoredValue::Idempotency(id, Remembered { at_ms, operation, recorded }))
        }
        [b'p', 0, ..] => Ok(StoredValue::Purge(text()?.to_owned())),
        _ => Err(damaged("key")),
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
    use nilas_engine::ValueOwner;

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
            Ok(StoredValue::Table(got, at)) => assert_eq!((got, at), (ident(), pointer)),
            other => panic!("{other:?}"),
        }
        let mut properties = Map::new();
        properties.insert("owner".to_owned(), "me".into());
        match decode(&namespace_key(&ident().namespace), &namespace_value(&properties)) {
            Ok(StoredValue::Namespace(name, got)) => assert_eq!((name, got), (ident().namespace, properties)),
            other => panic!("{other:?}"),
        }
        match decode(&purge_key("x/y"), &purge_value()) {
            Ok(StoredValue::Purge(key)) => assert_eq!(key, "x/y"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn idempotency_comes_back() {
        let check = |recorded: Recorded| {
            let remembered = Remembered { at_ms: 7, operation: 1 << 100, recorded };
            match decode(&idempotency_key(42), &idempotency_value(&remembered)) {
                Ok(StoredValue::Idempotency(id, got)) => assert_eq!((id, got), (42, remembered)),
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
            let got = decode(key, &Bytes::from_static(value.as_bytes()));
            assert!(matches!(got, Err(CatalogError::Damaged { .. })), "{key:?} {value}: {got:?}");
        };
        check(b"n\0a", "{}");
        check(b"n\0a", r#"{"v":0,"properties":{}}"#);
        check(b"n\0a", r#"{"v":"2","properties":{}}"#);
        check(b"n\0a", r#"{"v":1}"#);
        check(b"n\0", r#"{"v":1,"properties":{}}"#);
        check(b"t\0a", r#"{"v":1}"#);
        check(b"n", r#"{"v":1}"#);
        check(b"nx", r#"{"v":1}"#);
        check(b"", r#"{"v":1}"#);
        check(b"i\0short", r#"{"v":1,"at":1,"operation":"0","empty":null}"#);
        check(b"n\0\xff", r#"{"v":1,"properties":{}}"#);
        check(b"n\0a", "not json");
    }

    #[test]
    fn what_is_newer_is_no_damage() {
        let check = |key: &[u8], value: &'static str, want: (&str, Option<u64>)| match decode(
            key,
            &Bytes::from_static(value.as_bytes()),
        ) {
            Err(CatalogError::NewerValue { key, version }) => assert_eq!((key.as_str(), version), want),
            other => panic!("{key:?}: {other:?}"),
        };
        check(b"n\0a", r#"{"v":2,"properties":{}}"#, ("n\\0a", Some(2)));
        check(b"t\0a\0b", r#"{"v":3}"#, ("t\\0a\\0b", Some(3)));
        check(b"v\0a", r#"{"v":1}"#, ("v\\0a", None));
        check(b"v\0a", "not json", ("v\\0a", None));
    }

    #[test]
    fn kinds_are_keys_of_the_catalog() {
        let keys =
            [idempotency_key(1), namespace_key(&ident().namespace), purge_key("x"), table_key(&ident())];
        for (key, kind) in keys.iter().zip(KINDS) {
            assert_eq!(key.first(), Some(&kind));
            assert!(ValueOwner::Catalog.owns(key), "{key:?}");
        }
    }
}
