//! Updates: the changes a commit asks for, read and shape-checked before any table is touched.
//! `rest` parses them; `apply` puts them into effect.
//! I1. A parsed update holds only members whose shape the spec allows, so `apply` judges meaning alone.
//! I2. Its members are spelled as the reference spells them: what is stored can be loaded by every client.

use serde_json::Value;

use super::CommitError;
use crate::limits::{UPDATE_DEPTH_MAX, UPDATES_MAX};
use crate::spec::json::{self, Object};
use crate::spec::{Invalid, partition, refs, schema, snapshot, sort, statistics};

/// One table update, by its `action` in the REST spec.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// `assign-uuid`.
    AssignUuid(String),
    /// `upgrade-format-version`.
    UpgradeFormatVersion(i32),
    /// `add-schema`; the deprecated `last-column-id` is not looked at.
    AddSchema(Object),
    /// `set-current-schema`; −1 is the last added.
    SetCurrentSchema(i32),
    /// `add-spec`.
    AddSpec(Object),
    /// `set-default-spec`; −1 is the last added.
    SetDefaultSpec(i32),
    /// `add-sort-order`.
    AddSortOrder(Object),
    /// `set-default-sort-order`; −1 is the last added.
    SetDefaultSortOrder(i32),
    /// `add-snapshot`.
    AddSnapshot(Object),
    /// `set-snapshot-ref`: name and the reference as stored.
    SetSnapshotRef(String, Object),
    /// `remove-snapshots`.
    RemoveSnapshots(Vec<i64>),
    /// `remove-snapshot-ref`.
    RemoveSnapshotRef(String),
    /// `set-location`.
    SetLocation(String),
    /// `set-properties`; every value is a string.
    SetProperties(Object),
    /// `remove-properties`.
    RemoveProperties(Vec<String>),
    /// `set-statistics`.
    SetStatistics(Object),
    /// `remove-statistics` of a snapshot.
    RemoveStatistics(i64),
    /// `set-partition-statistics`.
    SetPartitionStatistics(Object),
    /// `remove-partition-statistics` of a snapshot.
    RemovePartitionStatistics(i64),
    /// `remove-partition-specs`.
    RemovePartitionSpecs(Vec<i32>),
    /// `remove-schemas`.
    RemoveSchemas(Vec<i32>),
    /// `add-encryption-key`.
    AddEncryptionKey(Object),
    /// `remove-encryption-key`.
    RemoveEncryptionKey(String),
}

/// Reads the `updates` list of a commit. Malformed or of unknown action: [`CommitError::BadRequest`].
pub fn parse_updates(v: &Value) -> Result<Vec<Update>, CommitError> {
    list(v, "updates", UPDATES_MAX)?.iter().map(|u| parse(u).map_err(CommitError::malformed)).collect()
}

/// `v` as a list of at most `max` items.
pub(super) fn list<'a>(v: &'a Value, what: &str, max: usize) -> Result<&'a [Value], CommitError> {
    let list = v.as_array().ok_or_else(|| {
        CommitError::BadRequest(format!("Cannot parse {what} from non-array: {}", json::quote(v)))
    })?;
    if list.len() > max {
        return Err(CommitError::BadRequest(format!("Cannot commit over {max} {what}: got {}", list.len())));
    }
    Ok(list)
}

/// Refuses `v` when it nests deeper than a metadata file could hold, or has parts too long for its readers.
pub(super) fn check_extent(v: &Value, what: &str) -> Result<(), Invalid> {
    if UPDATE_DEPTH_MAX < json::depth(v) {
        return Err(Invalid::new(format!("Cannot parse {what}: nested over {UPDATE_DEPTH_MAX} levels")));
    }
    json::check_lengths(v)
}

fn parse(v: &Value) -> Result<Update, Invalid> {
    check_extent(v, "metadata update")?;
    let o = json::object(v, "metadata update")?;
    Ok(match json::str_at(o, "action")? {
        "assign-uuid" => {
            let uuid = json::str_at(o, "uuid")?;
            let hyphenated = uuid.len() == 36 && uuid::Uuid::try_parse(uuid).is_ok();
            if !hyphenated {
                return Err(Invalid::new(format!("Invalid UUID: {}", json::clip(uuid))));
            }
            Update::AssignUuid(uuid.to_owned())
        }
        "upgrade-format-version" => Update::UpgradeFormatVersion(json::i32_at(o, "format-version")?),
        "add-schema" => {
            let mut added = json::object_at(o, "schema")?.clone();
            schema::canonicalize(&mut added);
            schema::index(&added)?;
            Update::AddSchema(added)
        }
        "set-current-schema" => Update::SetCurrentSchema(json::i32_at(o, "schema-id")?),
        "add-spec" => Update::AddSpec(spec(json::object_at(o, "spec")?)?),
        "set-default-spec" => Update::SetDefaultSpec(json::i32_at(o, "spec-id")?),
        "add-sort-order" => Update::AddSortOrder(order(json::object_at(o, "sort-order")?)?),
        "set-default-sort-order" => Update::SetDefaultSortOrder(json::i32_at(o, "sort-order-id")?),
        "add-snapshot" => {
            let mut added = json::object_at(o, "snapshot")?.clone();
            snapshot::canonicalize(&mut added);
            snapshot::check_new(&added)?;
            Update::AddSnapshot(added)
        }
        "set-snapshot-ref" => {
            let name = json::str_at(o, "ref-name")?.to_owned();
            let mut reference = o.clone();
            reference.retain(|key, value| !matches!(key.as_str(), "action" | "ref-name") && !value.is_null());
            refs::canonicalize(&mut reference);
            refs::check(&name, &reference)?;
            Update::SetSnapshotRef(name, reference)
        }
        "remove-snapshots" => Update::RemoveSnapshots(json::i64s_at(o, "snapshot-ids")?),
        "remove-snapshot-ref" => Update::RemoveSnapshotRef(json::str_at(o, "ref-name")?.to_owned()),
        "set-location" => Update::SetLocation(json::str_at(o, "location")?.to_owned()),
        "set-properties" => {
            let key = if o.contains_key("updates") { "updates" } else { "updated" };
            let properties = json::opt_string_map_at(o, key)?;
            let missing = || Invalid::new("Cannot parse missing map: updates");
            Update::SetProperties(properties.ok_or_else(missing)?.clone())
        }
        "remove-properties" => {
            let key = if o.contains_key("removed") { "removed" } else { "removals" };
            Update::RemoveProperties(json::strs_at(o, key)?)
        }
        "set-statistics" => {
            let mut file = json::object_at(o, "statistics")?.clone();
            statistics::canonicalize_table(&mut file);
            same_snapshot(o, statistics::check_table(&file)?)?;
            statistics::check_new_table(&file)?;
            Update::SetStatistics(file)
        }
        "remove-statistics" => Update::RemoveStatistics(json::i64_at(o, "snapshot-id")?),
        "set-partition-statistics" => {
            let file = json::object_at(o, "partition-statistics")?;
            same_snapshot(o, statistics::check_partition(file)?)?;
            Update::SetPartitionStatistics(file.clone())
        }
        "remove-partition-statistics" => Update::RemovePartitionStatistics(json::i64_at(o, "snapshot-id")?),
        "remove-partition-specs" => Update::RemovePartitionSpecs(json::i32s_at(o, "spec-ids")?),
        "remove-schemas" => Update::RemoveSchemas(json::i32s_at(o, "schema-ids")?),
        "add-encryption-key" => {
            let mut key = json::object_at(o, "encryption-key")?.clone();
            statistics::canonicalize_key(&mut key);
            statistics::check_key(&key)?;
            statistics::check_new_key(&key)?;
            Update::AddEncryptionKey(key)
        }
        "remove-encryption-key" => Update::RemoveEncryptionKey(json::str_at(o, "key-id")?.to_owned()),
        view @ ("add-view-version" | "set-current-view-version") => {
            return Err(Invalid::new(format!("Cannot apply update {view} to a table")));
        }
        other => {
            return Err(Invalid::new(format!("Unrecognized metadata update action: {}", json::clip(other))));
        }
    })
}

/// Shape-checks a spec of a request and drops the `type` some clients copy into it from their schema.
pub(super) fn spec(o: &Object) -> Result<Object, Invalid> {
    let mut spec = o.clone();
    partition::canonicalize(&mut spec);
    partition::check_new(&partition::fields(&spec)?)?;
    if spec.get("type").is_some_and(|t| t == "struct") {
        spec.shift_remove("type");
    }
    Ok(spec)
}

/// Shape-checks a sort order of a request.
pub(super) fn order(o: &Object) -> Result<Object, Invalid> {
    let mut order = o.clone();
    sort::canonicalize(&mut order);
    sort::check_new(&sort::fields(&order)?)?;
    Ok(order)
}

fn same_snapshot(update: &Object, file: i64) -> Result<(), Invalid> {
    match json::opt_i64_at(update, "snapshot-id")? {
        Some(id) if id != file => Err(Invalid::new(format!(
            "Invalid statistics: snapshot-id {id} of the update != {file} of the file"
        ))),
        _ => Ok(()),
    }
}
