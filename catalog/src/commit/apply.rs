//! Applies updates to a table's metadata, or builds a table from a create-commit's updates.
//! `store` calls [`apply`] on the owner's core after `check`; the result becomes the new metadata file.
//! I1. Ids only grow: nothing removed in a request is numbered again in it.
//! I2. Updates that net to no change leave nothing behind: no file, no log entry, no new time.
//! I3. `last-updated-ms` never goes back, and covers every log entry. Snapshots bring their writer's time, everything
//! else this server's: a writer whose clock is behind is held against its own last time.
//! I4. What a request adds can be loaded by the reference; what it does not touch may be as it was.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::create::with_first;
use super::{
    CommitError, FORMAT_VERSION_DEFAULT, NewTable, PREVIOUS_VERSIONS_MAX, RESERVED_PROPERTIES, Update, check,
    check_property, create, format_version_property, parse_requirements, parse_updates, supported_version,
};
use crate::limits::CLOCK_SKEW_MAX_MS;
use crate::spec::json::{self, Object};
use crate::spec::partition::{self, SpecField};
use crate::spec::table_metadata::{FORMAT_VERSION_MAX, MetadataFields};
use crate::spec::{Invalid, TableMetadata, refs, schema, snapshot, sort, statistics, strip_trailing_slash};

/// What the caller decides for a commit.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// Where the base's metadata file is; it enters the new `metadata-log`.
    pub previous_metadata_location: Option<&'a str>,
    /// The UUID a created table takes when no `assign-uuid` names one.
    pub new_uuid: &'a str,
}

/// Applies `updates` in order to `base`, or builds a new table from them when there is none.
///
/// `Ok(None)`: they net to no change. A stale sequence number or first row id is [`CommitError::Failed`]; all
/// other refusals are 400s. An existing table's UUID and `encryption.key-id` cannot change; whether a new
/// location is allowed is the caller's to judge.
pub fn apply(
    base: Option<&TableMetadata>,
    updates: &[Update],
    cx: &Context<'_>,
) -> Result<Option<TableMetadata>, CommitError> {
    let parts = match base {
        Some(base) => base.to_parts()?,
        None => empty(updates, cx)?,
    };
    let mut draft = Draft::new(parts, base.is_none(), cx);
    let mut removals = HashSet::new();
    for (at, update) in updates.iter().enumerate() {
        // neighbours are taken together: expiry sends one update per snapshot
        if let Update::RemoveSnapshots(ids) = update {
            removals.extend(ids.iter().copied());
            if !matches!(updates.get(at + 1), Some(Update::RemoveSnapshots(_))) {
                draft.remove_snapshots(&std::mem::take(&mut removals));
            }
            continue;
        }
        draft.update(update)?;
    }
    draft.finish(base)
}

/// Parses `bytes` as a commit request and applies it to small tables of each format version and to none; what
/// it makes must render and parse again to the same value.
///
/// # Panics
/// When that does not hold: the fuzzer's signal.
pub fn fuzz_commit(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Value>(bytes) else { return };
    let field = |key: &str| request.get(key).cloned().unwrap_or(Value::Array(Vec::new()));
    let requirements = parse_requirements(&field("requirements"));
    let Ok(updates) = parse_updates(&field("updates")) else { return };
    // the clock of the request's writer, so that what is behind the check of times is reached
    let written = updates.iter().find_map(|update| match update {
        Update::AddSnapshot(added) => snapshot::view(added).ok().map(|view| view.timestamp_ms),
        _ => None,
    });
    let now_ms = written.unwrap_or(2_000);
    let schema = serde_json::json!({"type": "struct", "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long"},
        {"id": 2, "name": "ts", "required": false, "type": "timestamptz"}]});
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    for version in ["", "1", "2", "3"] {
        let mut properties = Object::new();
        properties.insert("format-version".to_owned(), version.into());
        let base = create(NewTable {
            name: "t",
            uuid: uuid.to_owned(),
            location: "s3://b/t".to_owned(),
            schema: &schema,
            partition_spec: None,
            write_order: None,
            properties: &properties,
            now_ms: now_ms.saturating_sub(1_000),
        })
        .ok();
        if let Ok(requirements) = &requirements {
            drop(check(requirements, base.as_ref()));
        }
        let cx = Context { now_ms, previous_metadata_location: Some("s3://b/t/0"), new_uuid: uuid };
        if let Ok(Some(made)) = apply(base.as_ref(), &updates, &cx) {
            let again = TableMetadata::parse(&made.render());
            assert_eq!(again.as_ref(), Ok(&made), "a committed document must parse to the same value");
            assert!(again.is_ok_and(|m| m.render() == made.render()), "rendering must be stable");
        }
    }
}

/// The state a create-commit starts from: nothing but its format version and UUID.
fn empty(updates: &[Update], cx: &Context<'_>) -> Result<MetadataFields, CommitError> {
    let asked = updates.iter().find_map(|u| match u {
        Update::UpgradeFormatVersion(version) => Some(*version),
        _ => None,
    });
    let property = updates.iter().find_map(|u| match u {
        Update::SetProperties(p) => p.get("format-version").and_then(Value::as_str),
        _ => None,
    });
    let format_version = match (asked, property) {
        (Some(version), _) => supported_version(i64::from(version)).ok_or_else(|| unsupported(version))?,
        (None, Some(text)) => format_version_property(text)?,
        (None, None) => FORMAT_VERSION_DEFAULT,
    };
    Ok(MetadataFields {
        format_version,
        uuid: Some(cx.new_uuid.to_owned()),
        last_partition_id: partition::FIELD_ID_FIRST - 1,
        ..MetadataFields::default()
    })
}

fn unsupported(version: i32) -> CommitError {
    CommitError::illegal(format!(
        "Cannot upgrade table to unsupported format version: v{version} (supported: v{FORMAT_VERSION_MAX})"
    ))
}

/// A table between the first update of a request and the last.
struct Draft<'c> {
    /// The table as the updates so far have made it.
    parts: MetadataFields,
    /// Whether the request creates the table: then its UUID may be set, and reserved properties are passed over.
    creating: bool,
    /// Time, names and UUIDs that the caller decides.
    cx: &'c Context<'c>,
    /// Ids of the snapshots in `parts`.
    snapshot_ids: HashSet<i64>,
    /// Snapshots added by this request, with their times in ms.
    added: HashMap<i64, i64>,
    /// The time of the added snapshot that was named last, which is when its writer says the table changed.
    written_ms: Option<i64>,
    /// Added snapshots that `main` pointed at, however shortly.
    on_main: HashSet<i64>,
    /// Whether a snapshot was removed: then the snapshot log loses the history before it.
    removed_any: bool,
    /// The schema that was added last, new or the same as one that was there: what id -1 means.
    last_schema: Option<i32>,
    /// The partition spec that was added last, likewise.
    last_spec: Option<i32>,
    /// The sort order that was added last, likewise.
    last_order: Option<i32>,
    /// The highest id of a schema that this request removed: new ones are numbered behind it.
    freed_schema: Option<i32>,
    /// The highest id of a partition spec that this request removed, likewise.
    freed_spec: Option<i32>,
    /// True once the defaults may no longer bind to the current schema.
    rebind: bool,
}

impl<'c> Draft<'c> {
    fn new(parts: MetadataFields, creating: bool, cx: &'c Context<'c>) -> Draft<'c> {
        let snapshot_ids = parts.snapshots.iter().filter_map(snapshot::id).collect();
        Draft {
            parts,
            creating,
            cx,
            snapshot_ids,
            added: HashMap::new(),
            written_ms: None,
            on_main: HashSet::new(),
            removed_any: false,
            last_schema: None,
            last_spec: None,
            last_order: None,
            freed_schema: None,
            freed_spec: None,
            rebind: creating,
        }
    }

    fn update(&mut self, update: &Update) -> Result<(), CommitError> {
        match update {
            Update::AssignUuid(uuid) => self.assign_uuid(uuid)?,
            Update::UpgradeFormatVersion(version) => self.upgrade(*version)?,
            Update::AddSchema(schema) => self.add_schema(schema)?,
            Update::SetCurrentSchema(id) => self.set_current_schema(*id)?,
            Update::AddSpec(spec) => self.add_spec(spec)?,
            Update::SetDefaultSpec(id) => self.set_default_spec(*id)?,
            Update::AddSortOrder(order) => self.add_order(order)?,
            Update::SetDefaultSortOrder(id) => self.set_default_order(*id)?,
            Update::AddSnapshot(snapshot) => self.add_snapshot(snapshot)?,
            Update::SetSnapshotRef(name, reference) => self.set_ref(name, reference)?,
            Update::RemoveSnapshots(ids) => self.remove_snapshots(&ids.iter().copied().collect()),
            Update::RemoveSnapshotRef(name) => self.remove_ref(name),
            Update::SetLocation(location) => self.set_location(location)?,
            Update::SetProperties(properties) => self.set_properties(properties)?,
            Update::RemoveProperties(keys) => self.remove_properties(keys)?,
            Update::SetStatistics(file) => set_file(&mut self.parts.statistics, file),
            Update::RemoveStatistics(id) => self.parts.statistics.retain(|f| snapshot::id(f) != Some(*id)),
            Update::SetPartitionStatistics(file) => set_file(&mut self.parts.partition_statistics, file),
            Update::RemovePartitionStatistics(id) => {
                self.parts.partition_statistics.retain(|f| snapshot::id(f) != Some(*id));
            }
            Update::RemovePartitionSpecs(ids) => self.remove_specs(ids)?,
            Update::RemoveSchemas(ids) => self.remove_schemas(ids)?,
            Update::AddEncryptionKey(key) => {
                let id = statistics::check_key(key)?;
                if !self.parts.keys.iter().any(|k| k.get("key-id").is_some_and(|v| v == id)) {
                    self.parts.keys.push(key.clone());
                }
            }
            Update::RemoveEncryptionKey(id) => {
                self.parts.keys.retain(|k| k.get("key-id").is_none_or(|v| v != id.as_str()));
            }
        }
        Ok(())
    }

    fn assign_uuid(&mut self, uuid: &str) -> Result<(), CommitError> {
        match &self.parts.uuid {
            Some(own) if !self.creating => {
                if own.eq_ignore_ascii_case(uuid) {
                    return Ok(());
                }
                Err(CommitError::illegal(format!(
                    "Cannot reassign uuid: expected {}, got {uuid}",
                    json::clip(own)
                )))
            }
            _ => {
                self.parts.uuid = Some(uuid.to_owned());
                Ok(())
            }
        }
    }

    fn upgrade(&mut self, version: i32) -> Result<(), CommitError> {
        let current = self.parts.format_version;
        if version < i32::from(current) {
            return Err(CommitError::illegal(format!("Cannot downgrade v{current} table to v{version}")));
        }
        let version = supported_version(i64::from(version)).ok_or_else(|| unsupported(version))?;
        if current < 3 && 3 <= version {
            // rows that a snapshot numbered already are not numbered again
            for o in &self.parts.snapshots {
                let view = snapshot::view(o)?;
                if let (Some(first), Some(rows)) = (view.first_row_id, view.added_rows) {
                    self.parts.next_row_id = self.parts.next_row_id.max(end_of_rows(first, rows)?);
                }
            }
        }
        self.parts.format_version = version;
        Ok(())
    }

    fn add_schema(&mut self, sent: &Object) -> Result<(), CommitError> {
        let index = schema::index(sent)?;
        schema::check_format(&index, self.parts.format_version)?;
        let current = find(&self.parts.schemas, self.parts.current_schema_id, schema::id);
        let current = current.map(schema::index).transpose()?;
        schema::check_new(&index, current.as_ref())?;
        schema::check_new_ids(&index, current.as_ref())?;
        if let Some(current) = &current {
            schema::check_initial_defaults(current, &index)?;
        }
        self.parts.last_column_id = self.parts.last_column_id.max(index.highest_id());
        if let Some(same) = self.parts.schemas.iter().find(|s| schema::same(s, sent)) {
            self.last_schema = Some(schema::id(same));
            return Ok(());
        }
        // an id that snapshots still name must not come to mean another schema
        let used = self.parts.snapshots.iter().filter_map(|s| s.get("schema-id").and_then(json::as_i32));
        let known = self.parts.schemas.iter().map(schema::id);
        let id = next_id(known.chain(used).chain(self.freed_schema), 0)?;
        self.parts.schemas.push(schema::with_id(sent.clone(), id));
        self.last_schema = Some(id);
        Ok(())
    }

    fn set_current_schema(&mut self, id: i32) -> Result<(), CommitError> {
        let id = last_added(id, self.last_schema, "Cannot set last added schema: no schema has been added")?;
        if id == self.parts.current_schema_id {
            return Ok(());
        }
        if find(&self.parts.schemas, id, schema::id).is_none() {
            return Err(CommitError::illegal(format!("Cannot set current schema to unknown schema: {id}")));
        }
        self.parts.current_schema_id = id;
        self.rebind = true;
        Ok(())
    }

    /// The schema new specs and orders bind to; before a create-commit names one, the schema it added last.
    fn bound_schema(&self) -> Result<&Object, CommitError> {
        find(&self.parts.schemas, self.parts.current_schema_id, schema::id)
            .or_else(|| self.parts.schemas.last())
            .ok_or_else(|| CommitError::validation("Cannot bind to a schema: no schema has been added"))
    }

    fn add_spec(&mut self, sent: &Object) -> Result<(), CommitError> {
        let fields = partition::fields(sent)?;
        for spec in &self.parts.specs {
            if partition::compatible(&partition::fields(spec)?, &fields) {
                self.last_spec = Some(partition::id(spec));
                return Ok(());
            }
        }
        let index = schema::index(self.bound_schema()?)?;
        partition::check_names(&fields, &index)?;
        partition::check_binds(&fields, &index)?;
        let ids = self.partition_ids(&fields)?;
        let sequential = ids.iter().zip(partition::FIELD_ID_FIRST..).all(|(id, want)| *id == want);
        if self.parts.format_version == 1 && !sequential {
            return Err(CommitError::validation(format!(
                "Spec does not use sequential IDs that are required in v1: {}",
                fields.iter().take(4).map(SpecField::to_string).collect::<Vec<_>>().join(", ")
            )));
        }
        let highest = ids.iter().copied().max().unwrap_or(self.parts.last_partition_id);
        let id = next_id(self.parts.specs.iter().map(partition::id).chain(self.freed_spec), 0)?;
        let mut spec = with_first(sent.clone(), "spec-id", id);
        if let Some(Value::Array(fields)) = spec.get_mut("fields") {
            for (field, id) in fields.iter_mut().filter_map(Value::as_object_mut).zip(ids) {
                field.insert("field-id".to_owned(), id.into());
            }
        }
        self.parts.last_partition_id = self.parts.last_partition_id.max(highest);
        self.parts.specs.push(spec);
        self.last_spec = Some(id);
        Ok(())
    }

    /// The ids of a new spec's fields: as sent, else those of the same source and transform, else new ones.
    fn partition_ids(&self, fields: &[SpecField<'_>]) -> Result<Vec<i32>, CommitError> {
        partition::check_ids(fields)?;
        let mut taken: HashSet<i32> = fields.iter().filter_map(|f| f.field_id).collect();
        let mut last = taken.iter().copied().chain([self.parts.last_partition_id]).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(fields.len());
        let mut earlier = Vec::new();
        if fields.iter().any(|f| f.field_id.is_none()) && self.parts.format_version > 1 {
            for spec in &self.parts.specs {
                earlier.extend(partition::fields(spec)?);
            }
        }
        for (field, sequential) in fields.iter().zip(partition::FIELD_ID_FIRST..) {
            let same = |old: &&SpecField<'_>| {
                old.sources == field.sources
                    && old.transform == field.transform
                    && old.field_id.is_some_and(|id| !taken.contains(&id))
            };
            let id = match field.field_id.or_else(|| earlier.iter().find(same).and_then(|f| f.field_id)) {
                Some(id) => id,
                None if self.parts.format_version == 1 => sequential,
                None => {
                    last = next_id(std::iter::once(last), partition::FIELD_ID_FIRST)?;
                    last
                }
            };
            taken.insert(id);
            ids.push(id);
        }
        Ok(ids)
    }

    fn set_default_spec(&mut self, id: i32) -> Result<(), CommitError> {
        let id = last_added(id, self.last_spec, "Cannot set last added spec: no spec has been added")?;
        if find(&self.parts.specs, id, partition::id).is_none() && !(self.creating && id == 0) {
            return Err(CommitError::illegal(format!(
                "Cannot set default partition spec to unknown spec: {id}"
            )));
        }
        self.parts.default_spec_id = id;
        self.rebind = true;
        Ok(())
    }

    fn add_order(&mut self, sent: &Object) -> Result<(), CommitError> {
        let fields = sort::fields(sent)?;
        sort::check_id(sent, &fields).map_err(|e| CommitError::illegal(e.message))?;
        if fields.is_empty() {
            if find(&self.parts.orders, 0, sort::id).is_none() {
                self.parts.orders.push(sort::unsorted());
            }
            self.last_order = Some(0);
            return Ok(());
        }
        for order in &self.parts.orders {
            if sort::fields(order)? == fields {
                self.last_order = Some(sort::id(order));
                return Ok(());
            }
        }
        sort::check_binds(&fields, &schema::index(self.bound_schema()?)?)?;
        let id = next_id(self.parts.orders.iter().map(sort::id), 1)?;
        self.parts.orders.push(with_first(sent.clone(), "order-id", id));
        self.last_order = Some(id);
        Ok(())
    }

    fn set_default_order(&mut self, id: i32) -> Result<(), CommitError> {
        let none = "Cannot set last added sort order: no sort order has been added";
        let id = last_added(id, self.last_order, none)?;
        if find(&self.parts.orders, id, sort::id).is_none() && !(self.creating && id == 0) {
            return Err(CommitError::illegal(format!(
                "Cannot set default sort order to unknown order: {id}"
            )));
        }
        self.parts.default_order_id = id;
        self.rebind = true;
        Ok(())
    }

    fn add_snapshot(&mut self, sent: &Object) -> Result<(), CommitError> {
        for (what, missing) in [
            ("schema", self.parts.schemas.is_empty()),
            ("partition spec", self.parts.specs.is_empty()),
            ("sort order", self.parts.orders.is_empty()),
        ] {
            if missing {
                return Err(CommitError::validation(format!(
                    "Attempting to add a snapshot before a {what} is added"
                )));
            }
        }
        let view = snapshot::view(sent)?;
        if self.snapshot_ids.contains(&view.id) {
            return Err(CommitError::validation(format!("Snapshot already exists for id: {}", view.id)));
        }
        if view.id == snapshot::NO_SNAPSHOT {
            return Err(CommitError::validation(
                "Cannot add a snapshot with id -1: it stands for no snapshot",
            ));
        }
        let now = self.cx.now_ms;
        if now.saturating_add(CLOCK_SKEW_MAX_MS) < view.timestamp_ms {
            return Err(CommitError::illegal(format!(
                "Invalid snapshot timestamp {}: more than a minute after the current time {now}",
                view.timestamp_ms
            )));
        }
        let mut added = sent.clone();
        let parts = &mut self.parts;
        let (sequence, last) = (view.sequence_number, parts.last_sequence_number);
        if sequence < 0 {
            return Err(CommitError::validation(format!("Invalid sequence number: {sequence}")));
        }
        if 1 < parts.format_version && sequence <= last && view.parent_id.is_some() {
            return Err(CommitError::retry(format_args!(
                "Cannot add snapshot with sequence number {sequence} older than last sequence number {last}"
            )));
        }
        if sequence == 0 {
            added.shift_remove("sequence-number");
        }
        // kept in format 1 too: a later update of this request may upgrade the table
        parts.last_sequence_number = last.max(sequence);
        if parts.format_version >= 3 {
            let none = |what: &str| CommitError::validation(format!("Cannot add a snapshot: {what} is null"));
            let first = view.first_row_id.ok_or_else(|| none("first-row-id"))?;
            let rows = view.added_rows.ok_or_else(|| none("added-rows"))?;
            let next = parts.next_row_id;
            if first < next {
                return Err(CommitError::retry(format_args!(
                    "Cannot add a snapshot, first-row-id is behind table next-row-id: {first} < {next}"
                )));
            }
            parts.next_row_id = end_of_rows(first, rows)?;
        }
        parts.snapshots.push(added);
        self.snapshot_ids.insert(view.id);
        self.added.insert(view.id, view.timestamp_ms);
        self.written_ms = Some(view.timestamp_ms);
        Ok(())
    }

    fn set_ref(&mut self, name: &str, reference: &Object) -> Result<(), CommitError> {
        let id = refs::check(name, reference)?;
        if self.parts.refs.get(name).and_then(Value::as_object) == Some(reference) {
            return Ok(());
        }
        if !self.snapshot_ids.contains(&id) {
            return Err(CommitError::validation(format!(
                "Cannot set {} to unknown snapshot: {id}",
                json::clip(name)
            )));
        }
        self.written_ms = self.added.get(&id).copied().or(self.written_ms);
        if name == refs::MAIN {
            self.set_main(id);
        }
        self.parts.refs.insert(name.to_owned(), Value::Object(reference.clone()));
        Ok(())
    }

    fn set_main(&mut self, id: i64) {
        if self.parts.current_snapshot_id == Some(id) {
            return; // only its retention changed
        }
        self.parts.current_snapshot_id = Some(id);
        let (now, last) = (self.cx.now_ms, last_time(&self.parts.snapshot_log));
        let at = match self.added.get(&id) {
            Some(&at) => {
                self.on_main.insert(id);
                // an entry in the future, as older versions took it, must not lock out writers until then
                if now.saturating_add(CLOCK_SKEW_MAX_MS) < last { at.max(last) } else { at }
            }
            None => now.max(last),
        };
        let mut entry = Object::new();
        entry.insert("timestamp-ms".to_owned(), at.into());
        entry.insert("snapshot-id".to_owned(), id.into());
        self.parts.snapshot_log.push(entry);
    }

    fn remove_ref(&mut self, name: &str) {
        if name == refs::MAIN {
            self.parts.current_snapshot_id = None;
        }
        self.parts.refs.shift_remove(name);
    }

    fn remove_snapshots(&mut self, ids: &HashSet<i64>) {
        // unknown ids leave their statistics alone: the snapshot may not be here yet
        let known: HashSet<i64> = ids.intersection(&self.snapshot_ids).copied().collect();
        if known.is_empty() {
            return;
        }
        let gone = |o: &Object| snapshot::id(o).is_some_and(|id| known.contains(&id));
        self.parts.snapshots.retain(|s| !gone(s));
        self.removed_any = true;
        self.parts.statistics.retain(|f| !gone(f));
        self.parts.partition_statistics.retain(|f| !gone(f));
        self.snapshot_ids.retain(|id| !known.contains(id));
        let alive = &self.snapshot_ids;
        self.parts.refs.retain(|_, r| refs::target(r).is_some_and(|id| alive.contains(&id)));
        if self.parts.current_snapshot_id.is_some_and(|id| !alive.contains(&id)) {
            self.parts.current_snapshot_id = None;
        }
    }

    fn set_location(&mut self, location: &str) -> Result<(), CommitError> {
        let location = strip_trailing_slash(location);
        if location.is_empty() {
            return Err(CommitError::illegal("Cannot set location: location is empty"));
        }
        self.parts.location = Some(location.to_owned());
        Ok(())
    }

    fn set_properties(&mut self, properties: &Object) -> Result<(), CommitError> {
        for (key, value) in properties {
            if self.creating && RESERVED_PROPERTIES.contains(&key.as_str()) {
                continue;
            }
            if key == KEY_ID && !self.creating && self.parts.properties.get(key) != Some(value) {
                return Err(fixed_key_id());
            }
            if let Some(text) = value.as_str().filter(|_| self.parts.properties.get(key) != Some(value)) {
                check_property(key, text)?;
            }
            self.parts.properties.insert(key.clone(), value.clone());
        }
        Ok(())
    }

    fn remove_properties(&mut self, keys: &[String]) -> Result<(), CommitError> {
        let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
        if keys.contains(KEY_ID) && !self.creating && self.parts.properties.contains_key(KEY_ID) {
            return Err(fixed_key_id());
        }
        self.parts.properties.retain(|key, _| !keys.contains(key.as_str()));
        Ok(())
    }

    fn remove_specs(&mut self, ids: &[i32]) -> Result<(), CommitError> {
        if ids.contains(&self.parts.default_spec_id) {
            return Err(CommitError::illegal("Cannot remove the default partition spec"));
        }
        let ids: HashSet<i32> = ids.iter().copied().collect();
        let removed = self.parts.specs.iter().map(partition::id).filter(|id| ids.contains(id));
        self.freed_spec = removed.chain(self.freed_spec).max();
        self.last_spec = self.last_spec.filter(|id| !ids.contains(id));
        self.parts.specs.retain(|s| !ids.contains(&partition::id(s)));
        Ok(())
    }

    fn remove_schemas(&mut self, ids: &[i32]) -> Result<(), CommitError> {
        if ids.contains(&self.parts.current_schema_id) {
            return Err(CommitError::illegal("Cannot remove the current schema"));
        }
        let ids: HashSet<i32> = ids.iter().copied().collect();
        let removed = self.parts.schemas.iter().map(schema::id).filter(|id| ids.contains(id));
        self.freed_schema = removed.chain(self.freed_schema).max();
        self.last_schema = self.last_schema.filter(|id| !ids.contains(id));
        self.parts.schemas.retain(|s| !ids.contains(&schema::id(s)));
        Ok(())
    }

    fn finish(mut self, base: Option<&TableMetadata>) -> Result<Option<TableMetadata>, CommitError> {
        if self.parts.location.is_none() {
            return Err(CommitError::validation("Cannot create table: location is not set"));
        }
        if self.parts.uuid.is_none() {
            self.parts.uuid = Some(self.cx.new_uuid.to_owned());
        }
        if self.parts.format_version == 1 {
            self.parts.last_sequence_number = 0;
            let added = |o: &Object| snapshot::id(o).is_some_and(|id| self.added.contains_key(&id));
            for o in self.parts.snapshots.iter_mut().filter(|o| added(o)) {
                o.shift_remove("sequence-number");
            }
        }
        self.settle_snapshot_log()?;
        self.parts.check_links()?;
        if self.rebind {
            self.check_defaults_bind()?;
            self.check_specs_load(base)?;
        }
        let metadata_log = match (base, self.cx.previous_metadata_location) {
            (Some(base), Some(previous)) => self.grown_metadata_log(base, previous)?,
            _ => self.parts.metadata_log.clone(),
        };
        let last_updated_ms =
            [self.parts.last_updated_ms, last_time(&self.parts.snapshot_log), last_time(&metadata_log)]
                .into_iter()
                .fold(self.written_ms.unwrap_or(self.cx.now_ms), i64::max);
        self.parts.check_times(last_updated_ms, &metadata_log)?;
        self.check_written(base)?;
        let mut made = self.parts.assemble();
        if base == Some(&made) {
            return Ok(None);
        }
        made.stamp(last_updated_ms, metadata_log);
        Ok(Some(made))
    }

    fn check_defaults_bind(&self) -> Result<(), CommitError> {
        let parts = &self.parts;
        let found = find(&parts.schemas, parts.current_schema_id, schema::id);
        let index =
            schema::index(found.ok_or_else(|| CommitError::validation("Cannot find the current schema"))?)?;
        if let Some(spec) = find(&parts.specs, parts.default_spec_id, partition::id) {
            partition::check_binds(&partition::fields(spec)?, &index)?;
        }
        if let Some(order) = find(&parts.orders, parts.default_order_id, sort::id) {
            sort::check_binds(&sort::fields(order)?, &index)?;
        }
        Ok(())
    }

    /// Refuses specs that the reference cannot load beside the current schema, unless the base had them like that.
    fn check_specs_load(&self, base: Option<&TableMetadata>) -> Result<(), CommitError> {
        let loads = |parts: &MetadataFields, spec: &Object| -> Result<(), Invalid> {
            let Some(current) = find(&parts.schemas, parts.current_schema_id, schema::id) else {
                return Ok(());
            };
            partition::check_loads(&partition::fields(spec)?, &schema::index(current)?)
        };
        for spec in &self.parts.specs {
            let Err(broken) = loads(&self.parts, spec) else { continue };
            let before = base.map(TableMetadata::to_parts).transpose()?;
            let was_broken = before.is_some_and(|before| {
                find(&before.specs, partition::id(spec), partition::id)
                    .is_some_and(|old| old == spec && loads(&before, old).is_err())
            });
            if !was_broken {
                return Err(broken.into());
            }
        }
        Ok(())
    }

    /// Refuses a writer whose clock is behind the table by more than the skew. A table that is ahead of this
    /// server's clock is not waited for.
    fn check_written(&self, base: Option<&TableMetadata>) -> Result<(), CommitError> {
        let (Some(written), Some(base)) = (self.written_ms, base) else { return Ok(()) };
        let last = base.last_updated_ms();
        if written < last.min(self.cx.now_ms).saturating_sub(CLOCK_SKEW_MAX_MS) {
            return Err(CommitError::illegal(format!(
                "Invalid update timestamp {written}: before the latest metadata log entry timestamp {last}"
            )));
        }
        Ok(())
    }

    /// Drops log entries that never were the outcome of a commit, and the history before a removed snapshot.
    fn settle_snapshot_log(&mut self) -> Result<(), CommitError> {
        let current = self.parts.current_snapshot_id;
        let passing = |id: &i64| self.on_main.contains(id) && Some(*id) != current;
        if !self.removed_any && !self.on_main.iter().any(passing) {
            return Ok(());
        }
        let mut kept: Vec<Object> = Vec::with_capacity(self.parts.snapshot_log.len());
        for entry in std::mem::take(&mut self.parts.snapshot_log) {
            let alive = snapshot::id(&entry).filter(|id| self.snapshot_ids.contains(id));
            if alive.is_some_and(|id| !passing(&id)) {
                kept.push(entry);
            } else if alive.is_none() && self.removed_any {
                // a gap would make the entry behind it seem current for longer than it was
                kept.clear();
            }
        }
        let last = kept.last().and_then(snapshot::id);
        self.parts.snapshot_log = kept;
        match (current, last) {
            (Some(current), Some(last)) if current != last => Err(CommitError::validation(
                "Cannot set invalid snapshot log: latest entry is not the current snapshot",
            )),
            _ => Ok(()),
        }
    }

    fn grown_metadata_log(&self, base: &TableMetadata, previous: &str) -> Result<Vec<Object>, CommitError> {
        let kept_max = match self.parts.properties.get(PREVIOUS_VERSIONS_MAX).and_then(Value::as_str) {
            None => PREVIOUS_VERSIONS_MAX_DEFAULT,
            Some(text) => {
                let number: i64 = text.trim().parse().map_err(|_| {
                    CommitError::illegal(format!("Invalid {PREVIOUS_VERSIONS_MAX}: {}", json::clip(text)))
                })?;
                usize::try_from(number.max(1)).unwrap_or(usize::MAX)
            }
        };
        let old = &self.parts.metadata_log;
        let mut log = old[(old.len() + 1).saturating_sub(kept_max).min(old.len())..].to_vec();
        let mut entry = Object::new();
        entry.insert("timestamp-ms".to_owned(), base.last_updated_ms().into());
        entry.insert("metadata-file".to_owned(), previous.into());
        log.push(entry);
        Ok(log)
    }
}

const KEY_ID: &str = "encryption.key-id";
const PREVIOUS_VERSIONS_MAX_DEFAULT: usize = 100;

/// The first row id behind those of a snapshot.
fn end_of_rows(first: i64, rows: i64) -> Result<i64, CommitError> {
    first.checked_add(rows).ok_or_else(|| {
        CommitError::validation(format!("Cannot add a snapshot: next-row-id overflows: {first} + {rows}"))
    })
}

fn fixed_key_id() -> CommitError {
    CommitError::illegal(format!("Cannot change {KEY_ID} of an existing table"))
}

fn find(members: &[Object], id: i32, id_of: impl Fn(&Object) -> i32) -> Option<&Object> {
    members.iter().find(|m| id_of(m) == id)
}

fn next_id(known: impl Iterator<Item = i32>, first: i32) -> Result<i32, CommitError> {
    match known.max() {
        None => Ok(first),
        Some(highest) => highest
            .checked_add(1)
            .map(|id| id.max(first))
            .ok_or_else(|| CommitError::validation(format!("Cannot assign an id after {highest}"))),
    }
}

fn last_added(id: i32, last: Option<i32>, none: &str) -> Result<i32, CommitError> {
    if id != -1 {
        return Ok(id);
    }
    last.ok_or_else(|| CommitError::validation(none))
}

fn last_time(log: &[Object]) -> i64 {
    log.last().and_then(|e| e.get("timestamp-ms")).and_then(Value::as_i64).unwrap_or(i64::MIN)
}

fn set_file(files: &mut Vec<Object>, file: &Object) {
    match files.iter_mut().find(|f| snapshot::id(f) == snapshot::id(file)) {
        Some(old) => old.clone_from(file),
        None => files.push(file.clone()),
    }
}
