//! Schemas: validation, the index of their fields, comparison, fresh ids for a new table, and what each
//! format version allows.
//! `commit` calls everything here; `table_metadata` validates with `index`.
//! I1. An index exists only for a schema whose field ids and full names are unique.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::Value;

use super::Invalid;
use super::json::{self, Object};
use crate::limits::{COLUMN_PATH_BYTES_MAX, SCHEMA_FIELDS_MAX};

/// A field's type; nested ones without their inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Date,
    Time,
    Timestamp { nanos: bool, zoned: bool },
    String,
    Uuid,
    Binary,
    Fixed(u32),
    Decimal { precision: u32, scale: u32 },
    Variant,
    Unknown,
    Geometry(String),
    Geography(String),
    Struct,
    List,
    Map,
}

/// One field, list element, map key or map value.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) required: bool,
    pub(crate) parent: Option<i32>,
    pub(crate) initial_default: Option<&'a Value>,
    pub(crate) write_default: Option<&'a Value>,
}

/// All fields of one schema by id and by full name.
#[derive(Debug, Default)]
pub(crate) struct Index<'a> {
    pub(crate) fields: BTreeMap<i32, Field<'a>>,
    names: HashMap<String, i32>,
}

impl Index<'_> {
    pub(crate) fn highest_id(&self) -> i32 {
        self.fields.keys().next_back().copied().unwrap_or(0)
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<i32> {
        self.names.get(name).copied()
    }

    /// The nearest enclosing list or map of field `id`, if any.
    pub(crate) fn enclosing_collection(&self, id: i32) -> Option<&Type> {
        let mut at = self.fields.get(&id)?.parent;
        while let Some(parent) = at.and_then(|id| self.fields.get(&id)) {
            if parent.ty != Type::Struct {
                return Some(&parent.ty);
            }
            at = parent.parent;
        }
        None
    }
}

/// Validates `schema` and indexes its fields.
pub(crate) fn index(schema: &Object) -> Result<Index<'_>, Invalid> {
    match json::opt_str_at(schema, "type")? {
        Some("struct") => {}
        other => return Err(Invalid::new(format!("Cannot create schema, not a struct type: {other:?}"))),
    }
    json::opt_i32_at(schema, "schema-id")?;
    let mut index = Index::default();
    index_struct(schema, "", None, &mut index)?;
    check_identifiers(schema, &index)?;
    Ok(index)
}

/// The schema's id; a legacy schema without one is schema 0.
pub(crate) fn id(schema: &Object) -> i32 {
    schema.get("schema-id").and_then(json::as_i32).unwrap_or(0)
}

/// True when the two agree in all but their id.
pub(crate) fn same(a: &Object, b: &Object) -> bool {
    let identifiers = |s: &Object| {
        let mut ids = json::i32s_at(s, "identifier-field-ids").unwrap_or_default();
        ids.sort_unstable();
        ids
    };
    identifiers(a) == identifiers(b) && same_object(a, b, &["schema-id", "identifier-field-ids"])
}

/// Refuses types and default values that `format_version` does not have, and defaults of the wrong kind.
pub(crate) fn check_format(index: &Index<'_>, format_version: u8) -> Result<(), Invalid> {
    let mut problems = Vec::new();
    for field in index.fields.values() {
        if format_version < 3 && field.ty.needs_v3() {
            problems.push(format!("Invalid type for {}: {} is not supported until v3", field.name, field.ty));
        }
        if let Some(default) = field.initial_default.filter(|_| format_version < 3) {
            problems.push(format!(
                "Invalid initial default for {}: non-null default ({}) is not supported until v3",
                field.name,
                json::quote(default)
            ));
        }
        for default in [field.initial_default, field.write_default].into_iter().flatten() {
            if !field.ty.accepts_default(default) {
                let default = json::quote(default);
                problems.push(format!(
                    "Invalid default for {}: cannot parse default as a {} value: {default}",
                    field.name, field.ty
                ));
            }
        }
        if problems.len() >= 20 {
            break;
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Invalid::new(format!("Invalid schema for v{format_version}:\n- {}", problems.join("\n- "))))
}

/// Refuses a changed `initial-default` of a field that `old` already has with the same type: rows written
/// before the field existed are read with it.
pub(crate) fn check_initial_defaults(old: &Index<'_>, new: &Index<'_>) -> Result<(), Invalid> {
    for (id, field) in &new.fields {
        let Some(before) = old.fields.get(id) else { continue };
        if before.ty == field.ty && before.initial_default != field.initial_default {
            return Err(Invalid::new(format!(
                "Cannot change initial default of existing field: {}",
                json::clip(&field.name)
            )));
        }
    }
    Ok(())
}

/// A new table's schema: every field id assigned afresh (all fields of a struct first, then their nested
/// types), schema id 0. Returns it with the map from old to new ids and the last id given.
/// `schema` must have been indexed without error.
pub(crate) fn assign_fresh(schema: &Object) -> (Object, HashMap<i32, i32>, i32) {
    let mut fresh = schema.clone();
    let mut ids = Fresh { last: 0, by_old: HashMap::new() };
    ids.fields(&mut fresh);
    if let Some(Value::Array(identifiers)) = fresh.get_mut("identifier-field-ids") {
        for id in identifiers {
            if let Some(new) = json::as_i32(id).and_then(|old| ids.by_old.get(&old)) {
                *id = Value::from(*new);
            }
        }
    }
    (with_id(fresh, 0), ids.by_old, ids.last)
}

/// `schema` with its id set, kept where it was or placed behind `type` as Java writes it.
pub(crate) fn with_id(mut schema: Object, id: i32) -> Object {
    if schema.contains_key("schema-id") {
        schema.insert("schema-id".to_owned(), Value::from(id));
        return schema;
    }
    let at = usize::from(schema.contains_key("type"));
    schema.shift_insert(at.min(schema.len()), "schema-id".to_owned(), Value::from(id));
    schema
}

impl Type {
    /// Reads a primitive type's name; `None` for a name no version knows.
    pub(crate) fn parse(text: &str) -> Option<Type> {
        let name = text.trim().to_ascii_lowercase();
        let stamp = |nanos, zoned| Type::Timestamp { nanos, zoned };
        Some(match name.as_str() {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "date" => Type::Date,
            "time" => Type::Time,
            "timestamp" => stamp(false, false),
            "timestamptz" => stamp(false, true),
            "timestamp_ns" => stamp(true, false),
            "timestamptz_ns" => stamp(true, true),
            "string" => Type::String,
            "uuid" => Type::Uuid,
            "binary" => Type::Binary,
            "variant" => Type::Variant,
            "unknown" => Type::Unknown,
            "geometry" => Type::Geometry(String::new()),
            "geography" => Type::Geography(String::new()),
            _ => return Type::parse_parameters(text.trim(), &name),
        })
    }

    fn parse_parameters(text: &str, name: &str) -> Option<Type> {
        if let Some(len) = name.strip_prefix("fixed[").and_then(|r| r.strip_suffix(']')) {
            return digits(len).map(Type::Fixed);
        }
        if let Some(inner) = name.strip_prefix("decimal(").and_then(|r| r.strip_suffix(')')) {
            let (precision, scale) = inner.split_once(',')?;
            let (precision, scale) = (digits(precision)?, digits(scale)?);
            return (1..=38).contains(&precision).then_some(Type::Decimal { precision, scale });
        }
        // coordinate systems keep their case
        let inner = |prefix: &str| {
            let rest = text.get(prefix.len()..)?;
            let inner = name.starts_with(prefix).then_some(rest)?.strip_suffix(')')?;
            Some(inner.split(',').map(str::trim).collect::<Vec<_>>().join(", "))
        };
        if let Some(crs) = inner("geometry(") {
            return Some(Type::Geometry(crs));
        }
        inner("geography(").map(Type::Geography)
    }

    pub(crate) fn is_primitive(&self) -> bool {
        !matches!(self, Type::Struct | Type::List | Type::Map | Type::Variant)
    }

    fn needs_v3(&self) -> bool {
        match self {
            Type::Timestamp { nanos, .. } => *nanos,
            Type::Variant | Type::Unknown | Type::Geometry(_) | Type::Geography(_) => true,
            _ => false,
        }
    }

    fn accepts_default(&self, default: &Value) -> bool {
        match self {
            Type::Boolean => default.is_boolean(),
            Type::Int => json::as_i32(default).is_some(),
            Type::Long => default.as_i64().is_some(),
            Type::Float | Type::Double => default.is_number(),
            Type::Date
            | Type::Time
            | Type::Timestamp { .. }
            | Type::String
            | Type::Uuid
            | Type::Binary
            | Type::Fixed(_)
            | Type::Decimal { .. } => default.is_string(),
            Type::Variant | Type::Unknown | Type::Geometry(_) | Type::Geography(_) => false,
            // the defaults of a struct's fields belong to the fields
            Type::Struct => default.as_object().is_some_and(Object::is_empty),
            Type::List => default.is_array(),
            Type::Map => default.is_object(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Type::Boolean => "boolean",
            Type::Int => "int",
            Type::Long => "long",
            Type::Float => "float",
            Type::Double => "double",
            Type::Date => "date",
            Type::Time => "time",
            Type::Timestamp { nanos: false, zoned: false } => "timestamp",
            Type::Timestamp { nanos: false, zoned: true } => "timestamptz",
            Type::Timestamp { nanos: true, zoned: false } => "timestamp_ns",
            Type::Timestamp { nanos: true, zoned: true } => "timestamptz_ns",
            Type::String => "string",
            Type::Uuid => "uuid",
            Type::Binary => "binary",
            Type::Fixed(len) => return write!(f, "fixed[{len}]"),
            Type::Decimal { precision, scale } => return write!(f, "decimal({precision}, {scale})"),
            Type::Variant => "variant",
            Type::Unknown => "unknown",
            Type::Geometry(crs) if crs.is_empty() => "geometry",
            Type::Geography(crs) if crs.is_empty() => "geography",
            Type::Geometry(crs) => return write!(f, "geometry({})", json::clip(crs)),
            Type::Geography(crs) => return write!(f, "geography({})", json::clip(crs)),
            Type::Struct => "struct",
            Type::List => "list",
            Type::Map => "map",
        };
        f.write_str(name)
    }
}

fn digits(text: &str) -> Option<u32> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn index_struct<'a>(
    o: &'a Object,
    path: &str,
    parent: Option<i32>,
    index: &mut Index<'a>,
) -> Result<(), Invalid> {
    for value in json::array_at(o, "fields")? {
        let field = json::object(value, "field")?;
        let id = json::i32_at(field, "id")?;
        let name = json::str_at(field, "name")?;
        json::opt_str_at(field, "doc")?;
        let child = Child {
            id,
            name: if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") },
            parent,
            required: json::bool_at(field, "required")?,
            initial_default: json::opt(field, "initial-default"),
            write_default: json::opt(field, "write-default"),
        };
        index_child(child, field.get("type"), index)?;
    }
    Ok(())
}

struct Child<'a> {
    id: i32,
    name: String,
    parent: Option<i32>,
    required: bool,
    initial_default: Option<&'a Value>,
    write_default: Option<&'a Value>,
}

fn index_child<'a>(child: Child<'a>, ty: Option<&'a Value>, index: &mut Index<'a>) -> Result<(), Invalid> {
    let Child { id, name, parent, required, initial_default, write_default } = child;
    if name.len() > COLUMN_PATH_BYTES_MAX {
        return Err(Invalid::new(format!(
            "Invalid schema: name of field {id} is over {COLUMN_PATH_BYTES_MAX} bytes"
        )));
    }
    if index.fields.len() >= SCHEMA_FIELDS_MAX {
        return Err(Invalid::new(format!("Invalid schema: more than {SCHEMA_FIELDS_MAX} fields")));
    }
    if let Some(other) = index.names.insert(name.clone(), id) {
        let name = json::clip(&name);
        return Err(Invalid::new(format!(
            "Invalid schema: multiple fields for name {name}: {other} and {id}"
        )));
    }
    let (kind, inside) = match ty {
        Some(Value::String(text)) => {
            let parsed = Type::parse(text).ok_or_else(|| {
                Invalid::new(format!("Cannot parse type string to primitive: {}", json::clip(text)))
            })?;
            (parsed, None)
        }
        Some(Value::Object(o)) => match json::str_at(o, "type")? {
            "struct" => (Type::Struct, Some(o)),
            "list" => (Type::List, Some(o)),
            "map" => (Type::Map, Some(o)),
            other => return Err(Invalid::new(format!("Cannot parse type from json: {}", json::clip(other)))),
        },
        _ => return Err(Invalid::new(format!("Cannot parse type of field {id}"))),
    };
    let field =
        Field { name: name.clone(), ty: kind.clone(), required, parent, initial_default, write_default };
    if let Some(other) = index.fields.insert(id, field) {
        let (a, b) = (json::clip(&other.name), json::clip(&name));
        return Err(Invalid::new(format!("Invalid schema: multiple fields for id {id}: {a} and {b}")));
    }
    let Some(o) = inside else { return Ok(()) };
    let member = |id_key: &str, part: &str, required: bool| -> Result<Child<'a>, Invalid> {
        let (initial_default, write_default) = (None, None);
        let name = format!("{name}.{part}");
        Ok(Child {
            id: json::i32_at(o, id_key)?,
            name,
            parent: Some(id),
            required,
            initial_default,
            write_default,
        })
    };
    match kind {
        Type::List => {
            let element = member("element-id", "element", json::bool_at(o, "element-required")?)?;
            index_child(element, o.get("element"), index)
        }
        Type::Map => {
            index_child(member("key-id", "key", true)?, o.get("key"), index)?;
            let value = member("value-id", "value", json::bool_at(o, "value-required")?)?;
            index_child(value, o.get("value"), index)
        }
        _ => index_struct(o, &name, Some(id), index),
    }
}

fn check_identifiers(schema: &Object, index: &Index<'_>) -> Result<(), Invalid> {
    if json::opt(schema, "identifier-field-ids").is_none() {
        return Ok(());
    }
    for id in json::i32s_at(schema, "identifier-field-ids")? {
        let refuse =
            |why: &str| Err(Invalid::new(format!("Cannot add field {id} as an identifier field: {why}")));
        let Some(field) = index.fields.get(&id) else { return refuse("field does not exist") };
        if !field.ty.is_primitive() {
            return refuse("not a primitive type field");
        }
        if !field.required {
            return refuse("not a required field");
        }
        if matches!(field.ty, Type::Float | Type::Double) {
            return refuse("must not be float or double field");
        }
        let mut at = field.parent;
        while let Some(parent) = at.and_then(|id| index.fields.get(&id)) {
            if parent.ty != Type::Struct {
                return refuse("must not be nested in a list or map");
            }
            if !parent.required {
                return refuse("must not be nested in an optional field");
            }
            at = parent.parent;
        }
    }
    Ok(())
}

struct Fresh {
    last: i32,
    by_old: HashMap<i32, i32>,
}

impl Fresh {
    fn take(&mut self, o: &mut Object, key: &str) {
        // an indexed schema has at most SCHEMA_FIELDS_MAX fields
        self.last += 1;
        if let Some(old) = o.insert(key.to_owned(), Value::from(self.last)).as_ref().and_then(json::as_i32) {
            self.by_old.insert(old, self.last);
        }
    }

    fn fields(&mut self, o: &mut Object) {
        let Some(Value::Array(fields)) = o.get_mut("fields") else { return };
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            self.take(field, "id");
        }
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            self.inside(field.get_mut("type"));
        }
    }

    fn inside(&mut self, ty: Option<&mut Value>) {
        let Some(Value::Object(o)) = ty else { return };
        match o.get("type").and_then(Value::as_str) {
            Some("struct") => self.fields(o),
            Some("list") => {
                self.take(o, "element-id");
                self.inside(o.get_mut("element"));
            }
            Some("map") => {
                self.take(o, "key-id");
                self.take(o, "value-id");
                self.inside(o.get_mut("key"));
                self.inside(o.get_mut("value"));
            }
            _ => {}
        }
    }
}

fn same_object(a: &Object, b: &Object, ignored: &[&str]) -> bool {
    let covers = |a: &Object, b: &Object| {
        a.iter()
            .filter(|(k, v)| !v.is_null() && !ignored.contains(&k.as_str()))
            .all(|(k, v)| json::opt(b, k).is_some_and(|w| same_value(k, v, w)))
    };
    let present =
        |o: &Object| o.iter().filter(|(k, v)| !v.is_null() && !ignored.contains(&k.as_str())).count();
    present(a) == present(b) && covers(a, b)
}

fn same_value(key: &str, a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => same_object(a, b, &[]),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(key, a, b))
        }
        (Value::String(a), Value::String(b)) => {
            a == b
                || matches!(key, "type" | "element" | "key" | "value")
                    && Type::parse(a).is_some_and(|ty| Some(ty) == Type::parse(b))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::{Type, assign_fresh, check_format, check_initial_defaults, index, same};
    use crate::spec::json::Object;
    use serde_json::{Value, json};

    fn schema(fields: Value) -> Object {
        let mut o = Object::new();
        o.insert("type".to_owned(), json!("struct"));
        o.insert("fields".to_owned(), fields);
        o
    }

    fn column(id: i32, name: &str, ty: Value) -> Value {
        json!({"id": id, "name": name, "required": true, "type": ty})
    }

    #[test]
    fn type_names() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(Type::parse(text).map(|t| t.to_string()).as_deref(), want, "{text}");
        };
        check("decimal(9,2)", Some("decimal(9, 2)"));
        check("decimal(9, 2)", Some("decimal(9, 2)"));
        check("decimal( 9 ,2 )", Some("decimal(9, 2)"));
        check("decimal(39,2)", None);
        check("decimal(9,-2)", None);
        check("fixed[16]", Some("fixed[16]"));
        check("fixed[99999999999]", None);
        check("TIMESTAMPTZ_NS", Some("timestamptz_ns"));
        check("geography(OGC:CRS84,karney)", Some("geography(OGC:CRS84, karney)"));
        check("geometry", Some("geometry"));
        check("decimal", None);
        check("", None);
        check("ſtring(", None);
    }

    #[test]
    fn bad_schemas() {
        let check = |fields: Value, want: &str| {
            let schema = schema(fields);
            let error = index(&schema).expect_err("must be refused");
            assert!(error.message.contains(want), "{} does not contain {want}", error.message);
        };
        check(
            json!([column(1, "a", json!("int")), column(1, "b", json!("int"))]),
            "multiple fields for id 1",
        );
        check(
            json!([column(1, "a", json!("int")), column(2, "a", json!("int"))]),
            "multiple fields for name a",
        );
        check(json!([column(1, "a", json!("strin"))]), "Cannot parse type string to primitive: strin");
        check(json!([column(1, "a", json!({"type": "lis"}))]), "Cannot parse type from json");
        check(json!([column(1, "a", json!(7))]), "Cannot parse type of field 1");
        check(json!([{"id": 1, "name": "a", "type": "int"}]), "missing boolean: required");
        check(
            json!([{"id": 4294967296_i64, "name": "a", "type": "int"}]),
            "Cannot parse to an int value: id",
        );
        check(json!([7]), "Cannot parse field from non-object");
        check(json!([column(1, &"x".repeat(5000), json!("int"))]), "is over 4096 bytes");
        check(json!({}), "Cannot parse to a list value: fields");
    }

    #[test]
    fn identifiers() {
        let check = |ids: Value, want: Option<&str>| {
            let mut s = schema(json!([
                column(1, "k", json!("long")),
                {"id": 2, "name": "o", "required": false, "type": "long"},
                column(3, "d", json!("double")),
                column(4, "l", json!({"type": "list", "element-id": 5, "element": "int", "element-required": true})),
            ]));
            s.insert("identifier-field-ids".to_owned(), ids.clone());
            let got = index(&s).err().map(|e| e.message);
            assert_eq!(got.is_some(), want.is_some(), "{ids}: {got:?}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()), "{ids}");
        };
        check(json!([1]), None);
        check(json!([2]), Some("not a required field"));
        check(json!([3]), Some("float or double"));
        check(json!([4]), Some("not a primitive"));
        check(json!([5]), Some("nested in a list or map"));
        check(json!([9]), Some("does not exist"));
        check(json!(["1"]), Some("Cannot parse to an int value"));
    }

    #[test]
    fn fresh_ids_take_a_struct_before_its_inside() {
        let mut s = schema(json!([
            column(10, "s", json!({"type": "struct", "fields": [column(11, "x", json!("int"))], "new": 1})),
            column(
                20,
                "m",
                json!({"type": "map", "key-id": 21, "key": "string", "value-id": 22,
                "value": {"type": "list", "element-id": 23, "element": "int", "element-required": false},
                "value-required": true})
            ),
            column(30, "k", json!("long")),
        ]));
        s.insert("identifier-field-ids".to_owned(), json!([30]));
        assert!(index(&s).is_ok());
        let (fresh, ids, last) = assign_fresh(&s);
        let mut pairs: Vec<_> = ids.into_iter().collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [(10, 1), (11, 4), (20, 2), (21, 5), (22, 6), (23, 7), (30, 3)]);
        assert_eq!(last, 7);
        assert_eq!(fresh["identifier-field-ids"], json!([3]));
        assert_eq!(fresh["schema-id"], json!(0));
        assert_eq!(fresh["fields"][0]["type"]["new"], json!(1), "unknown fields stay");
    }

    #[test]
    fn sameness() {
        let base = schema(json!([column(1, "a", json!("decimal(9,2)"))]));
        let check = |other: Object, want: bool| assert_eq!(same(&base, &other), want, "{other:?}");
        let mut other = base.clone();
        other.insert("schema-id".to_owned(), json!(9));
        other.insert("identifier-field-ids".to_owned(), json!([]));
        check(other, true);
        check(schema(json!([column(1, "a", json!("decimal(9, 2)"))])), true);
        check(schema(json!([column(1, "a", json!("decimal(9,3)"))])), false);
        check(schema(json!([column(2, "a", json!("decimal(9,2)"))])), false);
        check(
            schema(json!([{"id": 1, "name": "a", "required": true, "type": "decimal(9,2)", "doc": null}])),
            true,
        );
        check(
            schema(json!([{"id": 1, "name": "a", "required": true, "type": "decimal(9,2)", "doc": "d"}])),
            false,
        );
    }

    #[test]
    fn format_gates_and_defaults() {
        let check = |version: u8, ty: &str, initial: Value, write: Value, want: Option<&str>| {
            let s = schema(json!([{"id": 1, "name": "c", "required": false, "type": ty,
                "initial-default": initial, "write-default": write}]));
            let index = index(&s).expect("valid");
            let got = check_format(&index, version).err().map(|e| e.message);
            assert_eq!(got.is_some(), want.is_some(), "v{version} {ty}: {got:?}");
            assert!(got.as_deref().unwrap_or_default().contains(want.unwrap_or_default()), "{got:?}");
        };
        check(2, "variant", Value::Null, Value::Null, Some("variant is not supported until v3"));
        check(2, "timestamp_ns", Value::Null, Value::Null, Some("timestamp_ns is not supported until v3"));
        check(1, "unknown", Value::Null, Value::Null, Some("unknown is not supported until v3"));
        check(3, "variant", Value::Null, Value::Null, None);
        check(2, "int", json!(1), Value::Null, Some("non-null default (1) is not supported until v3"));
        check(2, "int", Value::Null, json!(1), None);
        check(3, "int", json!(1), json!(2), None);
        check(3, "int", json!("1"), json!(2), Some("cannot parse default as a int value"));
        check(3, "variant", json!("x"), Value::Null, Some("cannot parse default as a variant"));
        check(3, "string", json!("x"), Value::Null, None);
        check(3, "decimal(9, 2)", json!("1.25"), Value::Null, None);
    }

    #[test]
    fn initial_defaults_are_fixed() {
        let with = |default: Value| {
            schema(
                json!([{"id": 1, "name": "c", "required": false, "type": "int", "initial-default": default}]),
            )
        };
        let check = |old: Value, new: Value, want: bool| {
            let (old, new) = (with(old), with(new));
            let (old, new) = (index(&old).expect("valid"), index(&new).expect("valid"));
            assert_eq!(check_initial_defaults(&old, &new).is_ok(), want);
        };
        check(json!(1), json!(1), true);
        check(json!(1), json!(2), false);
        check(Value::Null, json!(2), false);
    }
}
