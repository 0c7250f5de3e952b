//! Updates: the changes a commit asks for, read and shape-checked before any table is touched.
//! `rest` parses them; `apply` puts them into effect.
//! I1. A parsed update holds only members whose shape the spec allows, so `apply` judges meaning alone.

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
    /// `add-schema`, with the deprecated `last-column-id` when sent.
    AddSchema(Object, Option<i32>),
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

/// Refuses `v` when it nests deeper than a metadata file could hold.
pub(super) fn check_depth(v: &Value, what: &str) -> Result<(), Invalid> {
    if json::depth(v) <= UPDATE_DEPTH_MAX {
        return Ok(());
    }
    Err(Invalid::new(format!("Cannot parse {what}: nested over {UPDATE_DEPTH_MAX} levels")))
}

fn parse(v: &Value) -> Result<Update, Invalid> {
    check_depth(v, "metadata update")?;
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
            let added = json::object_at(o, "schema")?;
            schema::index(added)?;
            Update::AddSchema(added.clone(), json::opt_i32_at(o, "last-column-id")?)
        }
        "set-current-schema" => Update::SetCurrentSchema(json::i32_at(o, "schema-id")?),
        "add-spec" => Update::AddSpec(spec(json::object_at(o, "spec")?)?),
        "set-default-spec" => Update::SetDefaultSpec(json::i32_at(o, "spec-id")?),
        "add-sort-order" => {
            let order = json::object_at(o, "sort-order")?;
            sort::fields(order)?;
            Update::AddSortOrder(order.clone())
        }
        "set-default-sort-order" => Update::SetDefaultSortOrder(json::i32_at(o, "sort-order-id")?),
        "add-snapshot" => {
            let added = json::object_at(o, "snapshot")?;
            snapshot::view(added)?;
            Update::AddSnapshot(added.clone())
        }
        "set-snapshot-ref" => {
            let name = json::str_at(o, "ref-name")?.to_owned();
            let mut reference = o.clone();
            reference.retain(|key, value| !matches!(key.as_str(), "action" | "ref-name") && !value.is_null());
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
            let file = json::object_at(o, "statistics")?;
            same_snapshot(o, statistics::check_table(file)?)?;
            Update::SetStatistics(file.clone())
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
            let key = json::object_at(o, "encryption-key")?;
            statistics::check_key(key)?;
            Update::AddEncryptionKey(key.clone())
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
    partition::fields(o)?;
    let mut spec = o.clone();
    if spec.get("type").is_some_and(|t| t == "struct") {
        spec.shift_remove("type");
    }
    Ok(spec)
}

fn same_snapshot(update: &Object, file: i64) -> Result<(), Invalid> {
    match json::opt_i64_at(update, "snapshot-id")? {
        Some(id) if id != file => Err(Invalid::new(format!(
            "Invalid statistics: snapshot-id {id} of the update != {file} of the file"
        ))),
        _ => Ok(()),
    }
}
