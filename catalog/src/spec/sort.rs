//! Sort orders: shape, comparison and binding to a schema.
//! `commit` and `table_metadata` call it. I1. Order 0 is the unsorted one, and only that.

use serde_json::Value;

use super::Invalid;
use super::json::{self, Object};
use super::partition::{self, Transform, check_source_type, sources};
use super::schema::Index;

/// One field of an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SortField {
    pub(crate) sources: Vec<i32>,
    pub(crate) transform: Transform,
    descending: bool,
    nulls_last: bool,
}

/// Validates the shape of `order` and returns its fields in order.
pub(crate) fn fields(order: &Object) -> Result<Vec<SortField>, Invalid> {
    json::opt_i32_at(order, "order-id")?;
    let mut fields = Vec::new();
    for value in json::array_at(order, "fields")? {
        let o = json::object(value, "sort field")?;
        fields.push(SortField {
            sources: sources(o)?,
            transform: Transform::parse(json::str_at(o, "transform")?)?,
            descending: one_of(o, "direction", "asc", "desc")?,
            nulls_last: one_of(o, "null-order", "nulls-first", "nulls-last")?,
        });
    }
    Ok(fields)
}

/// The order's id; an order without one is order 0.
pub(crate) fn id(order: &Object) -> i32 {
    order.get("order-id").and_then(json::as_i32).unwrap_or(0)
}

/// The order of rows in no order.
pub(crate) fn unsorted() -> Object {
    let mut order = Object::new();
    order.insert("order-id".to_owned(), 0.into());
    order.insert("fields".to_owned(), Vec::<i32>::new().into());
    order
}

/// Refuses an order over columns the schema does not have or that cannot be sorted.
pub(crate) fn check_binds(fields: &[SortField], schema: &Index<'_>) -> Result<(), Invalid> {
    for field in fields {
        for source in &field.sources {
            let Some(column) = schema.fields.get(source) else {
                let transform = &field.transform;
                return Err(Invalid::new(format!(
                    "Cannot find source column for sort field: {transform}({source})"
                )));
            };
            if column.name.is_empty() {
                return Err(Invalid::new("Invalid column name: (empty)"));
            }
            if !column.ty.is_primitive() {
                return Err(Invalid::new(format!(
                    "Cannot sort by non-primitive source field: {}",
                    column.ty
                )));
            }
        }
        check_source_type(&field.sources, &field.transform, schema)?;
    }
    Ok(())
}

/// Refuses what the reference cannot read in a new order.
pub(crate) fn check_new(fields: &[SortField]) -> Result<(), Invalid> {
    fields.iter().try_for_each(|f| partition::check_new_field(&f.sources, &f.transform))
}

/// Refuses an id that says the opposite of the fields.
pub(crate) fn check_id(order: &Object, fields: &[SortField]) -> Result<(), Invalid> {
    match json::opt_i32_at(order, "order-id")? {
        Some(0) if !fields.is_empty() => Err(Invalid::new("Sort order ID 0 is reserved for unsorted order")),
        Some(id) if id != 0 && fields.is_empty() => Err(Invalid::new("Unsorted order ID must be 0")),
        _ => Ok(()),
    }
}

/// Rewrites an order's transforms, directions and null orders as the reference spells them.
pub(crate) fn canonicalize(order: &mut Object) {
    partition::canonicalize(order);
    let Some(Value::Array(fields)) = order.get_mut("fields") else { return };
    for field in fields.iter_mut().filter_map(Value::as_object_mut) {
        for key in ["direction", "null-order"] {
            if let Some(Value::String(text)) = field.get_mut(key) {
                text.make_ascii_lowercase();
            }
        }
    }
}

fn one_of(o: &Object, key: &str, no: &str, yes: &str) -> Result<bool, Invalid> {
    let text = json::str_at(o, key)?;
    if text.eq_ignore_ascii_case(yes) {
        return Ok(true);
    }
    if text.eq_ignore_ascii_case(no) {
        return Ok(false);
    }
    Err(Invalid::new(format!("Invalid {key}: {}", json::clip(text))))
}

#[cfg(test)]
mod tests {
    use super::{canonicalize, check_binds, fields};
    use crate::spec::schema::index;
    use serde_json::{Value, json};

    #[test]
    fn canonical_form() {
        let mut order = json!({"order-id": 1, "fields": [
            {"transform": "Identity", "source-id": 1, "direction": "DESC", "null-order": "NULLS-LAST", "x": "Y"}]});
        canonicalize(order.as_object_mut().expect("object"));
        let want = json!({"order-id": 1, "fields": [
            {"transform": "identity", "source-id": 1, "direction": "desc", "null-order": "nulls-last", "x": "Y"}]});
        assert_eq!(order.to_string(), want.to_string());
    }

    #[test]
    fn binding() {
        let schema = json!({"type": "struct", "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"},
            {"id": 2, "name": "s", "required": true, "type": {"type": "struct", "fields": []}},
        ]});
        let index = index(schema.as_object().expect("object")).expect("valid");
        let check = |source: i32, transform: &str, direction: &str, nulls: &str, want: Option<&str>| {
            let order: Value = json!({"order-id": 1, "fields": [
                {"source-id": source, "transform": transform, "direction": direction, "null-order": nulls}]});
            let got = fields(order.as_object().expect("object")).and_then(|f| check_binds(&f, &index));
            let got = got.err().map(|e| e.message);
            assert_eq!(got.is_some(), want.is_some(), "{order}: {got:?}");
            assert!(got.as_deref().unwrap_or_default().contains(want.unwrap_or_default()), "{got:?}");
        };
        check(1, "identity", "asc", "nulls-first", None);
        check(1, "identity", "ASC", "nulls-last", None);
        check(1, "future", "asc", "nulls-first", None);
        check(1, "identity", "up", "nulls-first", Some("Invalid direction: up"));
        check(1, "identity", "asc", "first", Some("Invalid null-order: first"));
        check(
            7,
            "identity",
            "asc",
            "nulls-first",
            Some("Cannot find source column for sort field: identity(7)"),
        );
        check(2, "identity", "asc", "nulls-first", Some("Cannot sort by non-primitive source field: struct"));
        check(1, "day", "asc", "nulls-first", Some("Invalid source type long for transform: day"));
    }
}
