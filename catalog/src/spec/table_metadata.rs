//! One table's metadata document: parsed, validated, brought into the one form we render.
//! `commit` builds and edits it through [`MetadataFields`]; `store` and `rest` read and render it.
//! I1. A [`TableMetadata`] has passed every check of `parse`, or was made by `commit` from one that had.
//! I2. `parse(render(m)) == m`, byte for byte.  I3. Known fields come first, in Java's order; the rest follow as sent.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::json::{self, Object};
use super::{Invalid, partition, refs, schema, snapshot, sort, statistics, strip_trailing_slash};
use crate::limits::{CLOCK_SKEW_MAX_MS, METADATA_DEPTH_MAX};

/// The newest format version this catalog reads and writes.
pub(crate) const FORMAT_VERSION_MAX: u8 = 3;

/// The metadata of one Iceberg table, format version 1, 2 or 3.
///
/// Numbers keep all their digits, unknown fields and array order survive. Comparing two ignores the order of
/// object keys, which rendering keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct TableMetadata {
    doc: Object,
}

impl TableMetadata {
    /// Reads and fully validates a metadata file.
    ///
    /// Checks required fields, types and integer ranges, format version 1 to 3, unique ids, that current and
    /// default ids and refs point at something, and that both logs run forward (one minute of skew allowed).
    /// Types, transforms and the like take the spelling of the reference. Tolerates what older versions took.
    pub fn parse(bytes: &[u8]) -> Result<TableMetadata, Invalid> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| Invalid::new(format!("Cannot parse metadata: {e}")))?;
        if json::depth(&value) > METADATA_DEPTH_MAX {
            return Err(Invalid::new(format!(
                "Cannot parse metadata: nested over {METADATA_DEPTH_MAX} levels"
            )));
        }
        let Value::Object(doc) = value else {
            return Err(Invalid::new(format!(
                "Cannot parse metadata from a non-object: {}",
                json::quote(&value)
            )));
        };
        let mut parts = MetadataFields::from_doc(doc)?;
        parts.canonicalize();
        parts.check_members()?;
        parts.check_links()?;
        parts.check_times(parts.last_updated_ms, &parts.metadata_log)?;
        Ok(parts.assemble())
    }

    /// Refuses what the reference cannot load: a file from elsewhere must pass before it becomes a table.
    pub(crate) fn check_loads(&self) -> Result<(), Invalid> {
        json::check_lengths_in(&self.doc)?;
        if !self.uuid().is_empty() && uuid::Uuid::try_parse(self.uuid()).is_err() {
            return Err(Invalid::new(format!("Invalid UUID: {}", json::clip(self.uuid()))));
        }
        self.to_parts()?.check_loads()
    }

    /// The whole document in the form it is rendered in.
    pub fn to_json(&self) -> &Object {
        &self.doc
    }

    /// Renders the metadata file: the same bytes for the same value, with the fields Java always writes.
    pub fn render(&self) -> Vec<u8> {
        to_bytes(&self.doc)
    }

    /// Renders the document without the snapshots that no ref names (`snapshots=refs` of loadTable);
    /// nothing else differs from [`TableMetadata::render`].
    pub fn render_refs_only(&self) -> Vec<u8> {
        to_bytes(&RefsOnly(self))
    }

    /// The table's UUID as written; empty for a legacy format 1 table that has none yet.
    pub fn uuid(&self) -> &str {
        self.text("table-uuid")
    }

    /// The table's base location, without a slash at its end.
    pub fn location(&self) -> &str {
        self.text("location")
    }

    /// The table format version, 1 to 3.
    pub fn format_version(&self) -> u8 {
        u8::try_from(self.integer("format-version")).unwrap_or(FORMAT_VERSION_MAX)
    }

    /// When the table last changed, in milliseconds since 1970.
    pub fn last_updated_ms(&self) -> i64 {
        self.integer("last-updated-ms")
    }

    /// The value of the table property `key`.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties().get(key).and_then(Value::as_str)
    }

    /// All table properties; every value is a string.
    pub fn properties(&self) -> &Object {
        static NONE: std::sync::LazyLock<Object> = std::sync::LazyLock::new(Object::new);
        self.doc.get("properties").and_then(Value::as_object).unwrap_or(&NONE)
    }

    /// The snapshot that branch `main` names, if the table has one.
    pub fn current_snapshot_id(&self) -> Option<i64> {
        self.doc.get("current-snapshot-id").and_then(Value::as_i64).filter(|&id| id != snapshot::NO_SNAPSHOT)
    }

    /// Earlier metadata files, oldest first: when each was last updated (ms since 1970) and where it is.
    pub fn metadata_log(&self) -> Vec<(i64, String)> {
        let entries = self.doc.get("metadata-log").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let entry = |e: &Value| {
            Some((e.get("timestamp-ms")?.as_i64()?, e.get("metadata-file")?.as_str()?.to_owned()))
        };
        entries.iter().filter_map(entry).collect()
    }

    /// The snapshot id of a ref and whether it is a tag.
    pub(crate) fn reference(&self, name: &str) -> Option<(i64, bool)> {
        let reference = self.doc.get("refs")?.get(name)?;
        Some((refs::target(reference)?, reference.as_object().is_some_and(refs::is_tag)))
    }

    /// The ids of all snapshots.
    pub(crate) fn snapshot_ids(&self) -> impl Iterator<Item = i64> {
        self.snapshots().filter_map(snapshot::id)
    }

    /// Whether the ref `name` points at the snapshot that `wanted` names or, as a branch may, at one that came of it.
    pub(crate) fn ref_has_reached(&self, name: &str, wanted: &Object) -> bool {
        let wanted_id = json::opt_i64_at(wanted, "snapshot-id").ok().flatten();
        let (Some((found, tag)), Some(wanted_id)) = (self.reference(name), wanted_id) else { return false };
        if tag != refs::is_tag(wanted) {
            return false;
        }
        found == wanted_id || (!tag && self.is_ancestor(wanted_id, found))
    }

    /// Whether `ancestor` stands in the history of the snapshot `id`, as far as it is kept.
    fn is_ancestor(&self, ancestor: i64, id: i64) -> bool {
        let parent = |o: &Object| json::opt_i64_at(o, "parent-snapshot-id").ok().flatten();
        let parents: HashMap<i64, Option<i64>> =
            self.snapshots().filter_map(|o| Some((snapshot::id(o)?, parent(o)))).collect();
        // Parents come from clients, so they may run in a circle: no more steps than snapshots.
        let steps = std::iter::successors(Some(id), |at| parents.get(at).copied().flatten());
        steps.take(parents.len()).any(|at| at == ancestor)
    }

    fn snapshots(&self) -> impl Iterator<Item = &Object> {
        let all = self.doc.get("snapshots").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        all.iter().filter_map(Value::as_object)
    }

    /// An integer field of the document that every valid one has.
    pub(crate) fn integer(&self, key: &str) -> i64 {
        self.doc.get(key).and_then(Value::as_i64).unwrap_or(0)
    }

    /// The document taken apart for editing.
    pub(crate) fn to_parts(&self) -> Result<MetadataFields, Invalid> {
        MetadataFields::from_doc(self.doc.clone())
    }

    /// Stamps an edited document with its time and its log of earlier files.
    pub(crate) fn stamp(&mut self, last_updated_ms: i64, metadata_log: Vec<Object>) {
        self.doc.insert("last-updated-ms".to_owned(), Value::from(last_updated_ms));
        self.doc.insert("metadata-log".to_owned(), array(metadata_log));
    }

    fn text(&self, key: &str) -> &str {
        self.doc.get(key).and_then(Value::as_str).unwrap_or("")
    }
}

/// Parses `bytes` as a metadata file; what parses must render and parse again to the same value and bytes.
///
/// # Panics
/// When that does not hold: the fuzzer's signal.
pub fn fuzz_metadata(bytes: &[u8]) {
    let Ok(metadata) = TableMetadata::parse(bytes) else { return };
    let rendered = metadata.render();
    let again = TableMetadata::parse(&rendered);
    assert_eq!(again.as_ref(), Ok(&metadata), "a rendered document must parse to the same value");
    assert!(again.is_ok_and(|m| m.render() == rendered), "rendering must be stable");
    assert!(TableMetadata::parse(&metadata.render_refs_only()).is_ok(), "the short form must be valid too");
}

/// A metadata document taken apart: what commits edit. Ids and times are plain numbers, members stay JSON.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetadataFields {
    pub(crate) format_version: u8,
    pub(crate) uuid: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) last_sequence_number: i64,
    pub(crate) last_updated_ms: i64,
    pub(crate) last_column_id: i32,
    pub(crate) current_schema_id: i32,
    pub(crate) schemas: Vec<Object>,
    pub(crate) default_spec_id: i32,
    pub(crate) specs: Vec<Object>,
    pub(crate) last_partition_id: i32,
    pub(crate) default_order_id: i32,
    pub(crate) orders: Vec<Object>,
    pub(crate) properties: Object,
    pub(crate) current_snapshot_id: Option<i64>,
    pub(crate) next_row_id: i64,
    pub(crate) keys: Vec<Object>,
    pub(crate) refs: Object,
    pub(crate) snapshots: Vec<Object>,
    pub(crate) statistics: Vec<Object>,
    pub(crate) partition_statistics: Vec<Object>,
    pub(crate) snapshot_log: Vec<Object>,
    pub(crate) metadata_log: Vec<Object>,
    /// Top-level fields we do not know.
    pub(crate) rest: Object,
}

impl MetadataFields {
    /// Takes a document apart, filling in what older formats left out. Checks the types of what it takes,
    /// not yet the inside of members nor their links.
    pub(crate) fn from_doc(mut doc: Object) -> Result<MetadataFields, Invalid> {
        let version = json::i32_at(&doc, "format-version")?;
        let format_version = u8::try_from(version)
            .ok()
            .filter(|v| (1..=FORMAT_VERSION_MAX).contains(v))
            .ok_or_else(|| Invalid::new(format!("Cannot read unsupported version {version}")))?;
        let v1 = format_version == 1;
        let uuid = json::opt_str_at(&doc, "table-uuid")?.map(str::to_owned);
        if uuid.is_none() && !v1 {
            return Err(Invalid::new(format!("UUID is required in format v{format_version}")));
        }
        let mut parts = MetadataFields {
            format_version,
            uuid,
            location: Some(strip_trailing_slash(json::str_at(&doc, "location")?).to_owned()),
            last_sequence_number: if v1 { 0 } else { json::i64_at(&doc, "last-sequence-number")? },
            last_updated_ms: json::i64_at(&doc, "last-updated-ms")?,
            last_column_id: json::i32_at(&doc, "last-column-id")?,
            properties: json::opt_string_map_at(&doc, "properties")?.cloned().unwrap_or_default(),
            current_snapshot_id: json::opt_i64_at(&doc, "current-snapshot-id")?
                .filter(|&id| id != snapshot::NO_SNAPSHOT),
            next_row_id: if format_version < 3 { 0 } else { json::i64_at(&doc, "next-row-id")? },
            keys: take_list(&mut doc, "encryption-keys")?.unwrap_or_default(),
            snapshots: take_list(&mut doc, "snapshots")?.unwrap_or_default(),
            statistics: take_list(&mut doc, "statistics")?.unwrap_or_default(),
            partition_statistics: take_list(&mut doc, "partition-statistics")?.unwrap_or_default(),
            snapshot_log: take_list(&mut doc, "snapshot-log")?.unwrap_or_default(),
            metadata_log: take_list(&mut doc, "metadata-log")?.unwrap_or_default(),
            ..MetadataFields::default()
        };
        parts.take_schemas(&mut doc)?;
        parts.take_specs(&mut doc)?;
        parts.take_orders(&mut doc)?;
        parts.refs = match json::opt_object_at(&doc, "refs")? {
            Some(refs) => refs.clone(),
            None => parts.current_snapshot_id.map(main_branch).unwrap_or_default(),
        };
        doc.retain(|key, _| !KNOWN.contains(&key.as_str()));
        parts.rest = doc;
        Ok(parts)
    }

    /// Brings every member into the spelling of the reference.
    fn canonicalize(&mut self) {
        self.schemas.iter_mut().for_each(schema::canonicalize);
        self.specs.iter_mut().for_each(partition::canonicalize);
        self.orders.iter_mut().for_each(sort::canonicalize);
        self.snapshots.iter_mut().for_each(snapshot::canonicalize);
        if self.format_version == 1 {
            // no reader of format 1 looks at them, and the reference wants none there
            self.snapshots.iter_mut().for_each(|s| drop(s.shift_remove("sequence-number")));
        }
        self.statistics.iter_mut().for_each(statistics::canonicalize_table);
        self.keys.iter_mut().for_each(statistics::canonicalize_key);
        self.refs.values_mut().filter_map(Value::as_object_mut).for_each(refs::canonicalize);
    }

    /// Refuses members that the reference cannot load, though older versions of this catalog took them.
    fn check_loads(&self) -> Result<(), Invalid> {
        for schema in &self.schemas {
            schema::check_new(&schema::index(schema)?, None)?;
        }
        let current = self.schemas.iter().find(|s| schema::id(s) == self.current_schema_id);
        let current = current.map(schema::index).transpose()?.unwrap_or_default();
        for spec in &self.specs {
            let fields = partition::fields(spec)?;
            partition::check_new(&fields)?;
            partition::check_ids(&fields)?;
            partition::check_loads(&fields, &current)?;
            if partition::id(spec) == self.default_spec_id {
                partition::check_binds(&fields, &current)?;
            }
        }
        for order in &self.orders {
            let fields = sort::fields(order)?;
            sort::check_new(&fields)?;
            sort::check_id(order, &fields)?;
            if sort::id(order) == self.default_order_id {
                sort::check_binds(&fields, &current)?;
            }
        }
        self.snapshots.iter().try_for_each(|s| snapshot::check_loads(&snapshot::view(s)?))?;
        self.statistics.iter().try_for_each(statistics::check_new_table)?;
        let mut ids = HashSet::new();
        for key in &self.keys {
            statistics::check_new_key(key)?;
            if !ids.insert(statistics::check_key(key)?) {
                return Err(Invalid::new("Invalid table metadata: multiple encryption keys with one id"));
            }
        }
        Ok(())
    }

    /// Validates the inside of every member.
    pub(crate) fn check_members(&self) -> Result<(), Invalid> {
        self.schemas.iter().try_for_each(|s| schema::index(s).map(drop))?;
        self.specs.iter().try_for_each(|s| partition::fields(s).map(drop))?;
        self.orders.iter().try_for_each(|o| sort::fields(o).map(drop))?;
        self.snapshots.iter().try_for_each(|s| snapshot::view(s).map(drop))?;
        self.statistics.iter().try_for_each(|s| statistics::check_table(s).map(drop))?;
        self.partition_statistics.iter().try_for_each(|s| statistics::check_partition(s).map(drop))?;
        self.keys.iter().try_for_each(|k| statistics::check_key(k).map(drop))?;
        self.snapshot_log.iter().try_for_each(|e| json::i64_at(e, "snapshot-id").map(drop))?;
        self.metadata_log.iter().try_for_each(|e| json::str_at(e, "metadata-file").map(drop))?;
        let refs = self.refs.iter();
        refs.map(|(name, r)| refs::check(name, json::object(r, "snapshot ref")?))
            .try_for_each(|r| r.map(drop))
    }

    /// Validates that ids are unique and that every id points at something.
    pub(crate) fn check_links(&self) -> Result<(), Invalid> {
        unique("schema", self.schemas.iter().map(schema::id), self.current_schema_id)?;
        unique("partition spec", self.specs.iter().map(partition::id), self.default_spec_id)?;
        unique("sort order", self.orders.iter().map(sort::id), self.default_order_id)?;
        if self.last_sequence_number < 0 || self.next_row_id < 0 {
            return Err(Invalid::new("Invalid last-sequence-number or next-row-id: cannot be negative"));
        }
        let mut ids = HashSet::with_capacity(self.snapshots.len());
        for o in &self.snapshots {
            let id = json::i64_at(o, "snapshot-id")?;
            if !ids.insert(id) {
                return Err(Invalid::new(format!("Snapshot already exists for id: {id}")));
            }
            let sequence = json::opt_i64_at(o, "sequence-number")?.unwrap_or(0);
            if self.format_version > 1 && sequence > self.last_sequence_number {
                return Err(Invalid::new(format!(
                    "Invalid snapshot with sequence number {sequence} greater than last sequence number {}",
                    self.last_sequence_number
                )));
            }
        }
        for (name, reference) in &self.refs {
            if !refs::target(reference).is_some_and(|id| ids.contains(&id)) {
                return Err(Invalid::new(format!(
                    "Snapshot for reference {} does not exist in the existing snapshots list",
                    json::clip(name)
                )));
            }
        }
        match (self.current_snapshot_id, self.refs.get(refs::MAIN).and_then(refs::target)) {
            (None, Some(main)) => {
                Err(Invalid::new(format!("Current snapshot is not set, but main branch exists: {main}")))
            }
            (Some(current), _) if !ids.contains(&current) => {
                Err(Invalid::new(format!("Cannot find current snapshot with id: {current}")))
            }
            (Some(current), Some(main)) if current != main => Err(Invalid::new(format!(
                "Current snapshot ID does not match main branch ({current} != {main})"
            ))),
            _ => Ok(()),
        }
    }

    /// Validates that both logs run forward and end before `last_updated_ms`, within the skew allowed.
    pub(crate) fn check_times(&self, last_updated_ms: i64, metadata_log: &[Object]) -> Result<(), Invalid> {
        for (log, what) in [(self.snapshot_log.as_slice(), "snapshot"), (metadata_log, "metadata")] {
            let mut last: Option<i64> = None;
            for entry in log {
                let at = json::i64_at(entry, "timestamp-ms")?;
                if last.is_some_and(|last| at < last.saturating_sub(CLOCK_SKEW_MAX_MS)) {
                    return Err(Invalid::new(format!("Expected sorted {what} log entries")));
                }
                last = Some(at);
            }
            if let Some(last) = last.filter(|last| last_updated_ms < last.saturating_sub(CLOCK_SKEW_MAX_MS)) {
                return Err(Invalid::new(format!(
                    "Invalid update timestamp {last_updated_ms}: before last {what} log entry at {last}"
                )));
            }
        }
        Ok(())
    }

    /// Puts the document together in Java's order of fields.
    pub(crate) fn assemble(self) -> TableMetadata {
        let mut doc = Object::new();
        let mut put = |key: &str, value: Value| {
            doc.insert(key.to_owned(), value);
        };
        let version = self.format_version;
        put("format-version", version.into());
        if let Some(uuid) = self.uuid {
            put("table-uuid", uuid.into());
        }
        put("location", self.location.unwrap_or_default().into());
        if version >= 2 {
            put("last-sequence-number", self.last_sequence_number.into());
        }
        put("last-updated-ms", self.last_updated_ms.into());
        put("last-column-id", self.last_column_id.into());
        if version == 1
            && let Some(current) = self.schemas.iter().find(|s| schema::id(s) == self.current_schema_id)
        {
            put("schema", Value::Object(current.clone()));
        }
        put("current-schema-id", self.current_schema_id.into());
        put("schemas", array(self.schemas));
        if version == 1
            && let Some(default) = self.specs.iter().find(|s| partition::id(s) == self.default_spec_id)
        {
            put("partition-spec", default.get("fields").cloned().unwrap_or_default());
        }
        put("default-spec-id", self.default_spec_id.into());
        put("partition-specs", array(self.specs));
        put("last-partition-id", self.last_partition_id.into());
        put("default-sort-order-id", self.default_order_id.into());
        put("sort-orders", array(self.orders));
        put("properties", Value::Object(self.properties));
        let unset = if version < 3 { Value::from(snapshot::NO_SNAPSHOT) } else { Value::Null };
        put("current-snapshot-id", self.current_snapshot_id.map_or(unset, Value::from));
        if version >= 3 {
            put("next-row-id", self.next_row_id.into());
        }
        if !self.keys.is_empty() {
            put("encryption-keys", array(self.keys));
        }
        put("refs", Value::Object(self.refs));
        put("snapshots", array(self.snapshots));
        put("statistics", array(self.statistics));
        put("partition-statistics", array(self.partition_statistics));
        put("snapshot-log", array(self.snapshot_log));
        put("metadata-log", array(self.metadata_log));
        doc.extend(self.rest);
        TableMetadata { doc }
    }

    fn take_schemas(&mut self, doc: &mut Object) -> Result<(), Invalid> {
        if let Some(schemas) = take_list(doc, "schemas")? {
            self.current_schema_id = json::i32_at(doc, "current-schema-id")?;
            self.schemas = schemas.into_iter().map(|s| named(s, "schema-id", "type")).collect();
            return Ok(());
        }
        self.only_v1("schemas")?;
        let schema = named(json::object_at(doc, "schema")?.clone(), "schema-id", "type");
        self.current_schema_id = json::i32_at(&schema, "schema-id")?;
        self.schemas = vec![schema];
        Ok(())
    }

    fn take_specs(&mut self, doc: &mut Object) -> Result<(), Invalid> {
        if let Some(specs) = take_list(doc, "partition-specs")? {
            self.default_spec_id = json::i32_at(doc, "default-spec-id")?;
            self.specs = specs.into_iter().map(|s| named(s, "spec-id", "")).collect();
        } else {
            self.only_v1("partition-specs")?;
            let mut spec = Object::new();
            spec.insert("spec-id".to_owned(), 0.into());
            spec.insert("fields".to_owned(), json::array_at(doc, "partition-spec")?.to_vec().into());
            self.specs = vec![spec];
        }
        self.specs.iter_mut().for_each(number_fields);
        self.last_partition_id = match json::opt_i32_at(doc, "last-partition-id")? {
            Some(id) => id,
            None => {
                self.only_v1("last-partition-id")?;
                highest_partition_id(&self.specs)
            }
        };
        Ok(())
    }

    fn take_orders(&mut self, doc: &mut Object) -> Result<(), Invalid> {
        if let Some(orders) = take_list(doc, "sort-orders")? {
            self.default_order_id = json::i32_at(doc, "default-sort-order-id")?;
            self.orders = orders.into_iter().map(|o| named(o, "order-id", "")).collect();
            return Ok(());
        }
        self.only_v1("sort-orders")?;
        self.orders = vec![sort::unsorted()];
        Ok(())
    }

    fn only_v1(&self, key: &str) -> Result<(), Invalid> {
        if self.format_version == 1 {
            return Ok(());
        }
        Err(Invalid::new(format!("{key} must exist in format v{}", self.format_version)))
    }
}

/// The highest partition field id of `specs`, or the one before the first.
pub(crate) fn highest_partition_id(specs: &[Object]) -> i32 {
    let lists = specs.iter().filter_map(|s| s.get("fields").and_then(Value::as_array));
    let ids = lists.flatten().filter_map(|f| f.get("field-id").and_then(json::as_i32));
    ids.max().unwrap_or(partition::FIELD_ID_FIRST - 1)
}

/// Top-level fields that [`MetadataFields`] holds, or that are written from it.
const KNOWN: [&str; 25] = [
    "format-version",
    "table-uuid",
    "location",
    "last-sequence-number",
    "last-updated-ms",
    "last-column-id",
    "schema",
    "current-schema-id",
    "schemas",
    "partition-spec",
    "default-spec-id",
    "partition-specs",
    "last-partition-id",
    "default-sort-order-id",
    "sort-orders",
    "properties",
    "current-snapshot-id",
    "next-row-id",
    "encryption-keys",
    "refs",
    "snapshots",
    "statistics",
    "partition-statistics",
    "snapshot-log",
    "metadata-log",
];

struct RefsOnly<'a>(&'a TableMetadata);

impl Serialize for RefsOnly<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let doc = self.0.to_json();
        let named = doc.get("refs").and_then(Value::as_object).into_iter().flat_map(|r| r.values());
        let mut kept: HashSet<i64> = named.filter_map(refs::target).collect();
        kept.extend(self.0.current_snapshot_id());
        let mut map = serializer.serialize_map(Some(doc.len()))?;
        for (key, value) in doc {
            match value.as_array().filter(|_| key == "snapshots") {
                Some(all) => {
                    let is_kept = |s: &&Value| {
                        s.as_object().and_then(snapshot::id).is_some_and(|id| kept.contains(&id))
                    };
                    map.serialize_entry(key, &all.iter().filter(is_kept).collect::<Vec<_>>())?;
                }
                None => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("string keys and no I/O: JSON values always serialise")
}

fn array(items: Vec<Object>) -> Value {
    Value::Array(items.into_iter().map(Value::Object).collect())
}

fn take_list(doc: &mut Object, key: &str) -> Result<Option<Vec<Object>>, Invalid> {
    let items = match doc.shift_remove(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items,
        Some(other) => {
            return Err(Invalid::new(format!("Cannot parse {key} from non-array: {}", json::quote(&other))));
        }
    };
    let object = |item| match item {
        Value::Object(o) => Ok(o),
        other => {
            Err(Invalid::new(format!("Cannot parse {key} entry from non-object: {}", json::quote(&other))))
        }
    };
    items.into_iter().map(object).collect::<Result<_, _>>().map(Some)
}

/// Gives a legacy member without an id the id 0, so that every member is found by its id.
fn named(mut member: Object, key: &str, behind: &str) -> Object {
    if json::opt(&member, key).is_some() {
        return member;
    }
    member.shift_remove(key);
    let at = usize::from(member.contains_key(behind)).min(member.len());
    member.shift_insert(at, key.to_owned(), 0.into());
    member
}

/// Partition fields of old writers have no ids: they always counted up from the first.
fn number_fields(spec: &mut Object) {
    let Some(Value::Array(fields)) = spec.get_mut("fields") else { return };
    for (id, field) in (partition::FIELD_ID_FIRST..).zip(fields) {
        if let Some(field) = field.as_object_mut().filter(|f| json::opt(f, "field-id").is_none()) {
            field.insert("field-id".to_owned(), id.into());
        }
    }
}

fn main_branch(snapshot_id: i64) -> Object {
    let mut branch = Object::new();
    branch.insert("snapshot-id".to_owned(), snapshot_id.into());
    branch.insert("type".to_owned(), "branch".into());
    Object::from_iter([(refs::MAIN.to_owned(), Value::Object(branch))])
}

fn unique(what: &str, ids: impl Iterator<Item = i32>, current: i32) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Invalid::new(format!("Invalid table metadata: multiple {what}s with id {id}")));
        }
    }
    if seen.is_empty() {
        return Err(Invalid::new(format!("Invalid table metadata: {what}s cannot be null or empty")));
    }
    if !seen.contains(&current) {
        return Err(Invalid::new(format!("Cannot find {what} with id={current}")));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
