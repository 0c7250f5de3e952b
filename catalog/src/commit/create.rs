//! A new table's first metadata, from a create request (immediate or staged).
//! `store` calls [`create`]; the create-commit of a staged table goes through `apply` instead.
//! I1. Every id is assigned here: what the client numbered only says which field is meant.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    CommitError, FORMAT_VERSION_DEFAULT, RESERVED_PROPERTIES, check_property, format_version_property, update,
};
use crate::spec::json::{self, Object};
use crate::spec::table_metadata::{MetadataFields, highest_partition_id};
use crate::spec::{Invalid, TableMetadata, partition, schema, sort, strip_trailing_slash};

/// What a create request says, with what its server decided.
#[derive(Debug)]
pub struct NewTable<'a> {
    /// The table's name, for error texts.
    pub name: &'a str,
    /// The UUID it takes.
    pub uuid: String,
    /// Its base location.
    pub location: String,
    /// The request's `schema`.
    pub schema: &'a Value,
    /// The request's `partition-spec`; absent is unpartitioned.
    pub partition_spec: Option<&'a Value>,
    /// The request's `write-order`; absent is unsorted.
    pub write_order: Option<&'a Value>,
    /// The request's `properties`.
    pub properties: &'a Object,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Makes the first metadata of a table.
///
/// Column ids are assigned afresh in Java's order and spec, order and identifier fields follow them; schema 0,
/// spec 0, order 0 or 1. Reserved properties are consumed (`format-version`, default 2), and
/// `write.parquet.compression-codec` defaults to `zstd`. Malformed: [`CommitError::BadRequest`];
/// not possible: [`CommitError::Validation`] or [`CommitError::IllegalArgument`].
pub fn create(new: NewTable<'_>) -> Result<TableMetadata, CommitError> {
    let mut sent = request_object(new.schema, "schema")?.clone();
    schema::canonicalize(&mut sent);
    let sent = sent;
    let sent_index = schema::index(&sent).map_err(CommitError::malformed)?;
    schema::check_new(&sent_index, None)
        .and_then(|()| schema::check_new_ids(&sent_index, None))
        .map_err(CommitError::malformed)?;
    let format_version = match new.properties.get("format-version") {
        Some(Value::String(text)) => format_version_property(text)?,
        Some(other) => format_version_property(&other.to_string())?,
        None => FORMAT_VERSION_DEFAULT,
    };
    let (fresh, new_ids, last_column_id) = schema::assign_fresh(&sent);
    let index = schema::index(&fresh)?;
    schema::check_format(&index, format_version)?;

    let spec = match new.partition_spec {
        None => bare_spec(),
        Some(v) => fresh_spec(request_object(v, "partition spec")?, &new_ids)?,
    };
    let fields = partition::fields(&spec)?;
    partition::check_names(&fields, &index)?;
    partition::check_binds(&fields, &index)?;

    let order = match new.write_order {
        None => sort::unsorted(),
        Some(v) => fresh_order(request_object(v, "sort order")?, &new_ids)?,
    };
    sort::check_binds(&sort::fields(&order)?, &index)?;

    let location = strip_trailing_slash(&new.location);
    if location.is_empty() {
        return Err(CommitError::illegal(format!(
            "Cannot create table {}: location is empty",
            json::clip(new.name)
        )));
    }
    let parts = MetadataFields {
        format_version,
        uuid: Some(new.uuid),
        location: Some(location.to_owned()),
        last_updated_ms: new.now_ms,
        last_column_id,
        last_partition_id: highest_partition_id(std::slice::from_ref(&spec)),
        default_order_id: sort::id(&order),
        properties: persisted(new.properties)?,
        schemas: vec![fresh],
        specs: vec![spec],
        orders: vec![order],
        ..MetadataFields::default()
    };
    parts.check_links()?;
    Ok(parts.assemble())
}

fn request_object<'a>(v: &'a Value, what: &str) -> Result<&'a Object, CommitError> {
    update::check_extent(v, what).and_then(|()| json::object(v, what)).map_err(CommitError::malformed)
}

fn bare_spec() -> Object {
    let mut spec = Object::new();
    spec.insert("spec-id".to_owned(), 0.into());
    spec.insert("fields".to_owned(), Value::Array(Vec::new()));
    spec
}

fn fresh_spec(sent: &Object, new_ids: &HashMap<i32, i32>) -> Result<Object, CommitError> {
    let mut spec = with_first(update::spec(sent).map_err(CommitError::malformed)?, "spec-id", 0);
    let Some(Value::Array(fields)) = spec.get_mut("fields") else { return Ok(spec) };
    for (id, field) in (partition::FIELD_ID_FIRST..).zip(fields.iter_mut().filter_map(Value::as_object_mut)) {
        let what = "partition field";
        remap(field, new_ids, what)?;
        field.insert("field-id".to_owned(), id.into());
    }
    Ok(spec)
}

fn fresh_order(sent: &Object, new_ids: &HashMap<i32, i32>) -> Result<Object, CommitError> {
    let order = update::order(sent).map_err(CommitError::malformed)?;
    let fields = sort::fields(&order)?;
    sort::check_id(&order, &fields).map_err(|e| CommitError::illegal(e.message))?;
    if fields.is_empty() {
        return Ok(sort::unsorted());
    }
    let mut order = with_first(order, "order-id", 1);
    if let Some(Value::Array(fields)) = order.get_mut("fields") {
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            remap(field, new_ids, "sort field")?;
        }
    }
    Ok(order)
}

/// Points a partition or sort field at the new ids of its source columns.
fn remap(field: &mut Object, new_ids: &HashMap<i32, i32>, what: &str) -> Result<(), CommitError> {
    let name = field.get("name").or_else(|| field.get("transform")).map(json::quote).unwrap_or_default();
    let find = |v: &Value| -> Result<Value, Invalid> {
        let new = json::as_i32(v).and_then(|old| new_ids.get(&old));
        let missing =
            || Invalid::new(format!("Cannot find source column for {what}: {name}({})", json::quote(v)));
        new.map(|&id| Value::from(id)).ok_or_else(missing)
    };
    if let Some(id) = field.get_mut("source-id").filter(|v| !v.is_null()) {
        *id = find(id)?;
    }
    if let Some(Value::Array(ids)) = field.get_mut("source-ids") {
        for id in ids {
            *id = find(id)?;
        }
    }
    Ok(())
}

/// `o` with `key` set, in front when it was missing.
pub(super) fn with_first(mut o: Object, key: &str, id: i32) -> Object {
    if o.contains_key(key) {
        o.insert(key.to_owned(), id.into());
    } else {
        o.shift_insert(0, key.to_owned(), id.into());
    }
    o
}

fn persisted(sent: &Object) -> Result<Object, CommitError> {
    for (key, value) in sent {
        update::check_extent(value, "property")
            .and_then(|()| json::check_name(key))
            .map_err(CommitError::malformed)?;
    }
    let mut kept = Object::new();
    kept.insert("write.parquet.compression-codec".to_owned(), "zstd".into());
    for (key, value) in sent.iter().filter(|(k, _)| !RESERVED_PROPERTIES.contains(&k.as_str())) {
        let Some(text) = value.as_str() else {
            let value = json::quote(value);
            return Err(CommitError::BadRequest(format!(
                "Cannot parse to a string value: properties.{}: {value}",
                json::clip(key)
            )));
        };
        check_property(key, text)?;
        kept.insert(key.clone(), value.clone());
    }
    Ok(kept)
}
