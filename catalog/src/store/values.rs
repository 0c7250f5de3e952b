//! The values that the catalog keeps in a bucket: keys and contents, encoded and decoded. Called by `state` and the
//! operations.
//!
//! Key = kind, NUL, rest. Names hold no control character, so NUL never stands in one:
//! `n NUL namespace` · `t NUL namespace NUL table` · `i NUL 16 bytes of idempotency key` · `p NUL location key` ·
//! `s NUL table snapshot` a snapshot's digest, `s NUL table` that of a table's creation · `x NUL ms table snapshot` expired snapshots
//! whose digests go a day after `ms` · `d NUL table` digests of a table that is gone, which go a day after the time in the
//! value. There a table is 8 bytes of a digest of its UUID, a snapshot its id and `ms` milliseconds since 1970, 8 bytes each,
//! the lowest first.
//! All kinds lie in the range of `ValueOwner::Catalog`. Values are JSON objects with their version under `v`; those of `s`,
//! `x` and `d`, of which there are many, are bytes: the version in one, then numbers, the lowest byte first. A kind or a
//! version that is not known here is refused by name: a newer program wrote it, and nothing may be changed beside it.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::access::KeptPrincipal;
use crate::model::{
    Pointer, Purge, PurgePhase, PurgePlace, Recorded, Remembered, SnapshotDigest, TableDigest,
};
use crate::store::failure::CatalogError;
use crate::store::names::{Ident, NamespaceName};
use crate::store::purge_state;

/// Version of every value, but where a kind has another.
const VERSION: u64 = 1;
/// Of a table that keeps earlier locations: a program that does not know them would give them away.
const TABLE_WITH_EARLIER: u64 = 2;
/// Of a purge that keeps its root. One of version 1 is all that its key says.
const PURGE_VERSION: u64 = 2;

/// The first bytes of keys.
const KINDS: [u8; 7] = [b'd', b'i', b'n', b'p', b's', b't', b'x'];

/// Version of the values that are bytes.
const BYTES_VERSION: u8 = 1;
/// Of a table that is gone, with the time. One of version 1 has none.
const DROPPED_VERSION: u8 = 2;

/// One value, decoded.
#[derive(Debug)]
pub(crate) enum StoredValue {
    Namespace {
        name: NamespaceName,
        properties: Map<String, Value>,
        /// Made as the parent of another. A program that does not know the field takes it for any other, without properties.
        is_implied: bool,
    },
    Table(Ident, Pointer),
    Idempotency(u128, Remembered),
    /// A purge of the table that had this location key.
    Purge(String, Purge),
    /// A purge that the first version left behind: it kept nothing but the location key.
    RootlessPurge(String),
    /// What a snapshot or the creation of a table is known by; read where it is needed.
    Digest,
    /// Digests that wait to be removed.
    Waiting,
}

/// How the keys of purges begin.
pub(crate) const PURGES: &[u8] = b"p\0";

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

pub(crate) fn snapshot_key(table: TableDigest, id: i64) -> Bytes {
    key(b's', &[&[table.0.to_le_bytes(), id.to_le_bytes()].concat()])
}

/// The key of a table's creation, and the start of the keys of its snapshots.
pub(crate) fn creation_key(table: TableDigest) -> Bytes {
    key(b's', &[&table.0.to_le_bytes()])
}

pub(crate) fn expired_key(at_ms: u64, table: TableDigest, first: i64) -> Bytes {
    key(b'x', &[&[at_ms.to_le_bytes(), table.0.to_le_bytes(), first.to_le_bytes()].concat()])
}

pub(crate) fn dropped_key(table: TableDigest) -> Bytes {
    key(b'd', &[&table.0.to_le_bytes()])
}

/// The milliseconds in a key of expired snapshots; `None` for another key.
pub(crate) fn expired_at(key: &[u8]) -> Option<u64> {
    let (at, rest) = key.strip_prefix(b"x\0")?.split_first_chunk()?;
    (rest.len() == 16).then(|| u64::from_le_bytes(*at))
}

/// The table in a key of expired snapshots; `None` for another key.
pub(crate) fn expired_table(key: &[u8]) -> Option<TableDigest> {
    expired_at(key)?;
    let (table, _) = key.get(10..)?.split_first_chunk()?;
    Some(TableDigest(u64::from_le_bytes(*table)))
}

/// The table in the key of one that is gone; `None` for another key.
pub(crate) fn dropped_table(key: &[u8]) -> Option<TableDigest> {
    let table = key.strip_prefix(b"d\0")?;
    table.try_into().ok().map(|table| TableDigest(u64::from_le_bytes(table)))
}

pub(crate) fn snapshot_value(kept: &SnapshotDigest) -> Bytes {
    let SnapshotDigest { sent, list, request } = kept;
    bytes_value(&[&sent.to_le_bytes(), &list.to_le_bytes(), &request.to_le_bytes()])
}

/// Reads a value of [`snapshot_key`].
pub(crate) fn snapshot_digest(value: &[u8]) -> Result<SnapshotDigest, CatalogError> {
    let digest = || {
        let (sent, rest) = bytes_of(value)?.split_first_chunk()?;
        let (list, rest) = rest.split_first_chunk()?;
        let request = u64::from_le_bytes(rest.try_into().ok()?);
        Some(SnapshotDigest { sent: u128::from_le_bytes(*sent), list: u64::from_le_bytes(*list), request })
    };
    digest().ok_or_else(|| damaged_bytes("snapshot digest"))
}

pub(crate) fn creation_value(request: u128) -> Bytes {
    bytes_value(&[&request.to_le_bytes()])
}

/// Reads a value of [`creation_key`]: the digest of the request that made the table.
pub(crate) fn creation(value: &[u8]) -> Result<u128, CatalogError> {
    let request = bytes_of(value).and_then(|rest| rest.try_into().ok()).map(u128::from_le_bytes);
    request.ok_or_else(|| damaged_bytes("creation digest"))
}

pub(crate) fn expired_value(ids: &[i64]) -> Bytes {
    bytes_value(&[&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>()])
}

/// Reads a value of [`expired_key`]: the ids of the snapshots.
pub(crate) fn expired_ids(value: &[u8]) -> Result<Vec<i64>, CatalogError> {
    let ids = bytes_of(value).map(<[u8]>::as_chunks);
    match ids {
        Some((ids, [])) => Ok(ids.iter().map(|id| i64::from_le_bytes(*id)).collect()),
        Some(_) | None => Err(damaged_bytes("expired snapshots")),
    }
}

pub(crate) fn dropped_value(at_ms: u64) -> Bytes {
    Bytes::from([&[DROPPED_VERSION][..], &at_ms.to_le_bytes()].concat())
}

/// Reads a value of [`dropped_key`]: since when the table is gone, in milliseconds since 1970; 0 in one of version 1.
pub(crate) fn dropped_at(value: &[u8]) -> Result<u64, CatalogError> {
    match value {
        [BYTES_VERSION] => Ok(0),
        [DROPPED_VERSION, at @ ..] => {
            at.try_into().map(u64::from_le_bytes).map_err(|_| damaged_bytes("dropped table"))
        }
        _ => Err(damaged_bytes("dropped table")),
    }
}

fn bytes_value(parts: &[&[u8]]) -> Bytes {
    Bytes::from([&[&[BYTES_VERSION][..]], parts].concat().concat())
}

fn bytes_of(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(&[BYTES_VERSION])
}

fn damaged_bytes(what: &str) -> CatalogError {
    CatalogError::Damaged { what: format!("catalog value: {what}"), why: "length or version".to_owned() }
}

/// Checks one of the values that are bytes.
fn decode_bytes(key: &[u8], value: &[u8]) -> Result<StoredValue, CatalogError> {
    match key {
        [b's', 0, rest @ ..] if rest.len() == 16 => snapshot_digest(value).map(|_| StoredValue::Digest),
        [b's', 0, rest @ ..] if rest.len() == 8 => creation(value).map(|_| StoredValue::Digest),
        [b'x', ..] if expired_at(key).is_some() => expired_ids(value).map(|_| StoredValue::Waiting),
        [b'd', ..] if dropped_table(key).is_some() => dropped_at(value).map(|_| StoredValue::Waiting),
        _ => Err(damaged_bytes("key")),
    }
}

pub(crate) fn namespace_value(properties: &Map<String, Value>) -> Bytes {
    value(json!({"v": VERSION, "properties": properties}))
}

/// Of a namespace that was made as the parent of another.
pub(crate) fn implied_namespace_value() -> Bytes {
    value(json!({"v": VERSION, "properties": {}, "implied": true}))
}

pub(crate) fn table_value(pointer: &Pointer) -> Bytes {
    let mut table = json!({
        "v": VERSION,
        "uuid": pointer.uuid,
        "metadata-location": pointer.metadata_location,
        "location-key": pointer.location_key,
    });
    if !pointer.earlier.is_empty() {
        table["v"] = TABLE_WITH_EARLIER.into();
        table["earlier-location-keys"] = pointer.earlier.as_slice().into();
    }
    value(table)
}

pub(crate) fn purge_value(purge: &Purge) -> Bytes {
    let phase = match purge.at.phase {
        PurgePhase::Data => "data",
        PurgePhase::Manifests => "manifests",
        PurgePhase::Metadata => "metadata",
    };
    let KeptPrincipal { kind, id, access_key } = &purge.asked_by;
    let mut principal = json!({"kind": kind, "access-key": access_key});
    if !id.is_empty() {
        principal["id"] = id.as_str().into();
    }
    value(json!({
        "v": PURGE_VERSION,
        "table": purge.table,
        "uuid": purge.uuid,
        "metadata-location": purge.metadata_location,
        "location-keys": purge.locations,
        "since": purge.since_ms,
        "principal": principal,
        "phase": phase,
        "snapshot": purge.at.snapshot,
        "manifest": purge.at.manifest,
        "entry": purge.at.entry,
        "snapshots": purge.snapshots,
        "deleted": purge.deleted,
        "failed": purge.failed,
        "unreadable": purge.unreadable,
        "left": purge.left,
        "ended": purge.ended_ms,
    }))
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

/// The purge that a value keeps, in a warehouse of this name; `None` when it cannot be read.
pub(crate) fn purge_of(key: &[u8], value: &Bytes, warehouse: &str) -> Option<Purge> {
    match decode(key, value) {
        Ok(StoredValue::Purge(_, purge)) => Some(purge),
        Ok(StoredValue::RootlessPurge(key)) => Some(purge_state::rootless(warehouse, &key)),
        _ => None,
    }
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
    if matches!(key, [b'd' | b's' | b'x', ..]) {
        let known = if key.first() == Some(&b'd') { DROPPED_VERSION } else { BYTES_VERSION };
        return match value.first() {
            Some(version) if known < *version => Err(newer(Some(u64::from(*version)))),
            Some(_) | None => decode_bytes(key, value),
        };
    }
    let object: Map<String, Value> = serde_json::from_slice(value).map_err(|e| damaged(&e.to_string()))?;
    let known = match key.first() {
        Some(b't') => TABLE_WITH_EARLIER,
        Some(b'p') => PURGE_VERSION,
        _ => VERSION,
    };
    let version = match object.get("v").and_then(Value::as_u64) {
        Some(version) if (VERSION..=known).contains(&version) => version,
        Some(version) if known < version => return Err(newer(Some(version))),
        Some(_) | None => return Err(damaged("version")),
    };
    let rest = key.get(2..).unwrap_or_default();
    let text = || std::str::from_utf8(rest).map_err(|_| damaged("key is not UTF-8"));
    let field = |name: &'static str| {
        object.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| damaged(name))
    };
    match key {
        [b'n', 0, ..] => {
            let name = NamespaceName::parse(text()?).map_err(|_| damaged("namespace"))?;
            let properties = object.get("properties").and_then(Value::as_object).cloned();
            let properties = properties.ok_or_else(|| damaged("properties"))?;
            let is_implied = object.get("implied") == Some(&Value::Bool(true));
            Ok(StoredValue::Namespace { name, properties, is_implied })
        }
        [b't', 0, ..] => {
            let (namespace, name) = text()?.split_once('\0').ok_or_else(|| damaged("table"))?;
            let namespace = NamespaceName::parse(namespace).map_err(|_| damaged("namespace"))?;
            let ident = Ident::new(namespace, name).map_err(|_| damaged("table"))?;
            let pointer = Pointer {
                uuid: field("uuid")?,
                metadata_location: field("metadata-location")?,
                location_key: field("location-key")?,
                earlier: match object.get("earlier-location-keys") {
                    Some(keys) => texts(keys).ok_or_else(|| damaged("earlier-location-keys"))?,
                    None => Vec::new(),
                },
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
        [b'p', 0, ..] if version == VERSION => Ok(StoredValue::RootlessPurge(text()?.to_owned())),
        [b'p', 0, ..] => {
            let purge = purge(&object).ok_or_else(|| damaged("purge"))?;
            Ok(StoredValue::Purge(text()?.to_owned(), purge))
        }
        _ => Err(damaged("key")),
    }
}

fn purge(object: &Map<String, Value>) -> Option<Purge> {
    let text = |name: &str| object.get(name)?.as_str().map(str::to_owned);
    let number = |name: &str| object.get(name)?.as_u64();
    let principal = object.get("principal")?;
    let of_principal = |name: &str| principal.get(name)?.as_str().map(str::to_owned);
    // Who is no user has none.
    let id = principal.get("id").map_or(Some(""), Value::as_str)?.to_owned();
    let left = object
        .get("left")?
        .as_array()?
        .iter()
        .map(|left| Some((left.get(0)?.as_str()?.to_owned(), left.get(1)?.as_str()?.to_owned())));
    Some(Purge {
        table: text("table")?,
        uuid: text("uuid")?,
        metadata_location: text("metadata-location")?,
        locations: texts(object.get("location-keys")?)?,
        since_ms: number("since")?,
        asked_by: KeptPrincipal { kind: of_principal("kind")?, id, access_key: of_principal("access-key")? },
        at: PurgePlace {
            phase: match object.get("phase")?.as_str()? {
                "data" => PurgePhase::Data,
                "manifests" => PurgePhase::Manifests,
                "metadata" => PurgePhase::Metadata,
                _ => return None,
            },
            snapshot: number("snapshot")?,
            manifest: number("manifest")?,
            entry: number("entry")?,
        },
        snapshots: number("snapshots")?,
        deleted: number("deleted")?,
        failed: number("failed")?,
        unreadable: number("unreadable")?,
        left: left.collect::<Option<_>>()?,
        ended_ms: object.get("ended")?.as_u64(),
    })
}

fn texts(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
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
            earlier: Vec::new(),
        };
        assert!(table_value(&pointer).starts_with(b"{\"v\":1,"), "as the version before writes it");
        let moved = Pointer { earlier: vec!["y".to_owned(), "z/1".to_owned()], ..pointer.clone() };
        assert!(table_value(&moved).starts_with(b"{\"v\":2,"));
        match decode(&table_key(&ident()), &table_value(&moved)) {
            Ok(StoredValue::Table(got, at)) => assert_eq!((got, at), (ident(), moved)),
            other => panic!("{other:?}"),
        }
        match decode(&table_key(&ident()), &table_value(&pointer)) {
            Ok(StoredValue::Table(got, at)) => assert_eq!((got, at), (ident(), pointer)),
            other => panic!("{other:?}"),
        }
        let mut properties = Map::new();
        properties.insert("owner".to_owned(), "me".into());
        match decode(&namespace_key(&ident().namespace), &namespace_value(&properties)) {
            Ok(StoredValue::Namespace { name, properties: got, is_implied }) => {
                assert_eq!((name, got, is_implied), (ident().namespace, properties, false));
            }
            other => panic!("{other:?}"),
        }
        match decode(&namespace_key(&ident().namespace), &implied_namespace_value()) {
            Ok(StoredValue::Namespace { properties, is_implied, .. }) => {
                assert_eq!((properties.len(), is_implied), (0, true));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn purges_come_back() {
        let check = |purge: Purge| match decode(&purge_key("x/y"), &purge_value(&purge)) {
            Ok(StoredValue::Purge(key, got)) => assert_eq!((key.as_str(), got), ("x/y", purge)),
            other => panic!("{other:?}"),
        };
        let purge = Purge {
            table: "a.b.t".to_owned(),
            uuid: "u".to_owned(),
            metadata_location: "s3://lake/x/y/metadata/00000-u.metadata.json".to_owned(),
            locations: vec!["x/y".to_owned(), "z".to_owned()],
            since_ms: 1,
            asked_by: KeptPrincipal {
                kind: "user".to_owned(),
                id: "AIDA".to_owned(),
                access_key: "AK".to_owned(),
            },
            at: PurgePlace { phase: PurgePhase::Manifests, snapshot: 2, manifest: 3, entry: 4 },
            snapshots: 9,
            deleted: 5,
            failed: 6,
            unreadable: 7,
            left: vec![("s3://else/k".to_owned(), "why".to_owned())],
            ended_ms: None,
        };
        check(Purge { ended_ms: Some(8), left: Vec::new(), ..purge.clone() });
        check(Purge { at: PurgePlace::default(), ..purge.clone() });
        let root = KeptPrincipal { kind: "root".to_owned(), ..KeptPrincipal::default() };
        check(Purge { asked_by: root, ..purge.clone() });
        check(purge);
        match decode(&purge_key("x/y"), &Bytes::from_static(br#"{"v":1}"#)) {
            Ok(StoredValue::RootlessPurge(key)) => assert_eq!(key, "x/y"),
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
    fn digests_come_back() {
        let (table, id) = (TableDigest(1 << 60), -7);
        let kept = SnapshotDigest { sent: 1 << 100, list: 1 << 50, request: 3 };
        let value = snapshot_value(&kept);
        assert_eq!(snapshot_digest(&value).ok(), Some(kept));
        assert!(matches!(decode(&snapshot_key(table, id), &value), Ok(StoredValue::Digest)));
        assert_eq!(creation(&creation_value(9)).ok(), Some(9));
        assert!(matches!(decode(&creation_key(table), &creation_value(9)), Ok(StoredValue::Digest)));
        assert!(snapshot_key(table, id).starts_with(&creation_key(table)));
        let (key, value) = (expired_key(77, table, id), expired_value(&[id, i64::MAX]));
        assert_eq!(expired_ids(&value).ok(), Some(vec![id, i64::MAX]));
        assert_eq!((expired_at(&key), expired_table(&key)), (Some(77), Some(table)));
        assert!(matches!(decode(&key, &value), Ok(StoredValue::Waiting)));
        assert_eq!(dropped_table(&dropped_key(table)), Some(table));
        assert!(matches!(decode(&dropped_key(table), &dropped_value(78)), Ok(StoredValue::Waiting)));
        assert_eq!(dropped_at(&dropped_value(78)).ok(), Some(78));
        assert!(matches!(decode(&dropped_key(table), &Bytes::from_static(&[1])), Ok(StoredValue::Waiting)));
        assert_eq!(dropped_at(&[1]).ok(), Some(0));
        for damaged in [&[][..], &[1, 0], &[2], &[2, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(dropped_at(damaged).is_err(), "{damaged:?}");
        }
        assert_eq!((expired_at(&dropped_key(table)), dropped_table(&key)), (None, None));
        assert_eq!(snapshot_key(table, id).len() + snapshot_value(&kept).len(), 51, "bytes of a snapshot");
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
        check(b"p\0a", r#"{"v":2}"#);
        check(b"s\0", "\u{1}");
        check(b"s\x0012345678", "\u{1}123456789012345");
        check(b"s\x001234567812345678", "\u{1}");
        check(b"s\x0012345678", "");
        check(b"s\x0012345678", "\0");
        check(b"x\x00123456781234567812345678", "\u{1}1234567");
        check(b"x\x001234567812345678", "\u{1}12345678");
        check(b"d\x0012345678", "\u{1}1");
        check(b"d\x001", "\u{1}");
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
        check(b"p\0a", r#"{"v":3}"#, ("p\\0a", Some(3)));
        check(b"v\0a", r#"{"v":1}"#, ("v\\0a", None));
        check(b"v\0a", "not json", ("v\\0a", None));
        check(b"s\0a", "\u{2}x", ("s\\0a", Some(2)));
        check(b"d\0a", "\u{3}x", ("d\\0a", Some(3)));
        check(b"x\0a", "{}", ("x\\0a", Some(u64::from(b'{'))));
    }

    #[test]
    fn kinds_are_keys_of_the_catalog() {
        let keys = [
            dropped_key(TableDigest(1)),
            idempotency_key(1),
            namespace_key(&ident().namespace),
            purge_key("x"),
            creation_key(TableDigest(1)),
            table_key(&ident()),
            expired_key(1, TableDigest(1), 1),
        ];
        for (key, kind) in keys.iter().zip(KINDS) {
            assert_eq!(key.first(), Some(&kind));
            assert!(ValueOwner::Catalog.owns(key), "{key:?}");
        }
    }
}
