//! Schemas: validation, the index of their fields, comparison, the spelling they are kept in, fresh ids for a new
//! table, and what each format version allows.
//! `commit` calls everything here; `table_metadata` validates with `index`.
//! I1. An index exists only for a schema whose field ids and full names are unique.
//! I2. `index` takes every schema that was ever kept; [`check_new`] is what a new one must pass besides.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::json::{self, Object};
use super::types::Type;
use super::{Invalid, single_value};
use crate::limits::{COLUMN_PATH_BYTES_MAX, SCHEMA_FIELDS_MAX};

/// The highest id that a field may have; those above are of metadata columns.
const FIELD_ID_MAX: i32 = i32::MAX - 200;

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

impl Field<'_> {
    /// True when a reader that loads the one loads the other.
    fn loads_as(&self, other: &Field<'_>) -> bool {
        self.ty == other.ty
            && (self.required || !other.required)
            && self.initial_default == other.initial_default
            && self.write_default == other.write_default
    }
}

/// All fields of one schema by id and by full name.
#[derive(Debug, Default)]
pub(crate) struct Index<'a> {
    pub(crate) fields: BTreeMap<i32, Field<'a>>,
    names: HashMap<String, i32>,
    /// Names of fields below structs in lists and maps without `element` and `value`, where they differ.
    short_names: HashMap<String, i32>,
}

impl Index<'_> {
    pub(crate) fn highest_id(&self) -> i32 {
        self.fields.keys().next_back().copied().unwrap_or(0)
    }

    /// The field of a full or short name.
    pub(crate) fn id_of(&self, name: &str) -> Option<i32> {
        self.names.get(name).or_else(|| self.short_names.get(name)).copied()
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
    index_struct(schema, Path::default(), None, &mut index)?;
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

/// Rewrites types and default values in the spelling of the reference and drops fields that hold null where it
/// wants none. What is no type or no value of its type stays, as does everything unknown.
pub(crate) fn canonicalize(schema: &mut Object) {
    if schema.get("identifier-field-ids").is_some_and(Value::is_null) {
        schema.shift_remove("identifier-field-ids");
    }
    canonicalize_fields(schema);
}

fn canonicalize_fields(parent: &mut Object) {
    let Some(Value::Array(fields)) = parent.get_mut("fields") else { return };
    for field in fields.iter_mut().filter_map(Value::as_object_mut) {
        let ty = field.get_mut("type").and_then(canonicalize_type);
        for key in ["initial-default", "write-default"] {
            let Some(default) = field.get_mut(key) else { continue };
            if default.is_null() {
                field.shift_remove(key);
            } else if let Some(canonical) = ty.as_ref().and_then(|ty| single_value::canonical(ty, default)) {
                *default = canonical;
            }
        }
    }
}

/// Rewrites a type, and returns it when it is a primitive one.
fn canonicalize_type(ty: &mut Value) -> Option<Type> {
    match ty {
        Value::String(text) => {
            let parsed = Type::parse(text)?;
            let canonical = parsed.to_string();
            if *text != canonical {
                *text = canonical;
            }
            Some(parsed)
        }
        Value::Object(nested) => {
            canonicalize_fields(nested);
            for part in ["element", "key", "value"] {
                nested.get_mut(part).and_then(canonicalize_type);
            }
            None
        }
        _ => None,
    }
}

/// Refuses fields that the reference cannot load: parameters out of range, required `unknown` ones, and default
/// values that are none of their type. A field that is the same in `kept`, the table's current schema, passes.
pub(crate) fn check_new(index: &Index<'_>, kept: Option<&Index<'_>>) -> Result<(), Invalid> {
    for (id, field) in &index.fields {
        if kept.and_then(|kept| kept.fields.get(id)).is_some_and(|old| old.loads_as(field)) {
            continue;
        }
        field.ty.check().map_err(Invalid::new)?;
        let name = json::clip(&field.name);
        if field.required && field.ty == Type::Unknown {
            return Err(Invalid::new(format!("Cannot create required field with unknown type: {name}")));
        }
        for default in [field.initial_default, field.write_default].into_iter().flatten() {
            if single_value::canonical(&field.ty, default).is_none() {
                let (ty, default) = (json::clip(&field.ty.to_string()), json::quote(default));
                return Err(Invalid::new(format!(
                    "Invalid default for {name}: cannot parse default as a {ty} value: {default}"
                )));
            }
        }
    }
    Ok(())
}

/// Refuses ids that the specification keeps for metadata columns, other than those in `kept`, the table's current schema.
pub(crate) fn check_new_ids(index: &Index<'_>, kept: Option<&Index<'_>>) -> Result<(), Invalid> {
    let is_new = |id: i32| !kept.is_some_and(|kept| kept.fields.contains_key(&id));
    let reserved = index.fields.range(FIELD_ID_MAX.saturating_add(1)..).find(|(id, _)| is_new(**id));
    match reserved {
        Some((id, field)) => Err(Invalid::new(format!(
            "Invalid field id for {}: {id} is reserved (must be <= {FIELD_ID_MAX})",
            json::clip(&field.name)
        ))),
        None => Ok(()),
    }
}

/// Refuses types and default values that `format_version` does not have.
pub(crate) fn check_format(index: &Index<'_>, format_version: u8) -> Result<(), Invalid> {
    let mut problems = Vec::new();
    for field in index.fields.values() {
        let name = json::clip(&field.name);
        if format_version < 3 && field.ty.needs_v3() {
            let ty = json::clip(&field.ty.to_string());
            problems.push(format!("Invalid type for {name}: {ty} is not supported until v3"));
        }
        if let Some(default) = field.initial_default.filter(|_| format_version < 3) {
            problems.push(format!(
                "Invalid initial default for {name}: non-null default ({}) is not supported until v3",
                json::quote(default)
            ));
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
/// before the field existed are read with it. One that nobody can read may be mended.
pub(crate) fn check_initial_defaults(old: &Index<'_>, new: &Index<'_>) -> Result<(), Invalid> {
    for (id, field) in &new.fields {
        let Some(before) = old.fields.get(id).filter(|before| before.ty == field.ty) else { continue };
        let fixed = match (before.initial_default, field.initial_default) {
            (Some(a), Some(b)) if single_value::same(&field.ty, a, b) => continue,
            (None, None) => continue,
            (Some(a), _) => single_value::canonical(&field.ty, a).is_some(),
            (None, Some(_)) => true,
        };
        if fixed {
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

/// Where a struct is: its full name, and its short one where that is another.
#[derive(Clone, Copy, Default)]
struct Path<'p> {
    full: &'p str,
    short: Option<&'p str>,
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn index_struct<'a>(
    o: &'a Object,
    path: Path<'_>,
    parent: Option<i32>,
    index: &mut Index<'a>,
) -> Result<(), Invalid> {
    for value in json::array_at(o, "fields")? {
        let field = json::object(value, "field")?;
        let id = json::i32_at(field, "id")?;
        let name = json::str_at(field, "name")?;
        json::opt_str_at(field, "doc")?;
        let short = path.short.map(|short| joined(short, name));
        let child = Child {
            id,
            name: joined(path.full, name),
            within: short.clone(),
            short,
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
    /// The name without `element` and `value` above structs, where that is another.
    short: Option<String>,
    /// The short name of a struct in front of its fields' names, where it is not `name`.
    within: Option<String>,
    parent: Option<i32>,
    required: bool,
    initial_default: Option<&'a Value>,
    write_default: Option<&'a Value>,
}

fn index_child<'a>(child: Child<'a>, ty: Option<&'a Value>, index: &mut Index<'a>) -> Result<(), Invalid> {
    let Child { id, name, short, within, parent, required, initial_default, write_default } = child;
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
    if let Some(short) = &short {
        index.short_names.entry(short.clone()).or_insert(id);
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
        Ok(Child {
            id: json::i32_at(o, id_key)?,
            name: joined(&name, part),
            short: short.as_ref().map(|short| joined(short, part)),
            within: Some(short.as_ref().unwrap_or(&name).clone()),
            parent: Some(id),
            required,
            initial_default: None,
            write_default: None,
        })
    };
    match kind {
        Type::List => {
            let element = member("element-id", "element", json::bool_at(o, "element-required")?)?;
            index_child(element, o.get("element"), index)
        }
        Type::Map => {
            let mut key = member("key-id", "key", true)?;
            key.within.clone_from(&key.short);
            index_child(key, o.get("key"), index)?;
            let value = member("value-id", "value", json::bool_at(o, "value-required")?)?;
            index_child(value, o.get("value"), index)
        }
        _ => index_struct(o, Path { full: &name, short: within.as_deref() }, Some(id), index),
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
        (Value::Number(x), Value::Number(y)) if matches!(key, "initial-default" | "write-default") => {
            // of the same type: whole numbers differ by their digits, others may be spelled in two ways
            let whole = |n: &serde_json::Number| n.is_i64();
            x == y || !whole(x) && !whole(y) && single_value::same(&Type::Double, a, b)
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        assign_fresh, canonicalize, check_format, check_initial_defaults, check_new, check_new_ids, index,
        same,
    };
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
    fn format_gates() {
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
    }

    #[test]
    fn new_fields() {
        let list = |element: &str, required: bool| json!({"type": "list", "element-id": 2, "element": element, "element-required": required});
        let check = |ty: Value, required: bool, default: Value, want: Option<&str>| {
            let s = schema(json!([{"id": 1, "name": "c", "required": required, "type": ty,
                "write-default": default}]));
            let index = index(&s).expect("readable");
            let got = check_new(&index, None).err().map(|e| e.message);
            assert_eq!(got.as_deref(), want, "{ty} {default}");
            assert_eq!(check_new(&index, Some(&index)), Ok(()), "what a table has already may stay");
        };
        let none = || Value::Null;
        check(json!("int"), false, json!(1), None);
        check(
            json!("int"),
            false,
            json!("1"),
            Some("Invalid default for c: cannot parse default as a int value: \"1\""),
        );
        check(
            json!("decimal(9,2)"),
            false,
            json!("1.2345"),
            Some("Invalid default for c: cannot parse default as a decimal(9, 2) value: \"1.2345\""),
        );
        check(
            json!("variant"),
            false,
            json!("x"),
            Some("Invalid default for c: cannot parse default as a variant value: \"x\""),
        );
        check(json!("unknown"), false, none(), None);
        check(json!("unknown"), true, none(), Some("Cannot create required field with unknown type: c"));
        check(list("unknown", false), false, none(), None);
        check(
            list("unknown", true),
            false,
            none(),
            Some("Cannot create required field with unknown type: c.element"),
        );
        check(
            list("int", true),
            false,
            json!([]),
            Some("Invalid default for c: cannot parse default as a list value: []"),
        );
        check(
            json!({"type": "struct", "fields": []}),
            false,
            json!({}),
            Some("Invalid default for c: cannot parse default as a struct value: {}"),
        );
        check(json!("fixed[4294967295]"), false, none(), Some("Invalid length of fixed: 4294967295"));
        check(json!("geometry(a,b)"), false, none(), Some("Invalid CRS: a, b"));
    }

    #[test]
    fn reserved_ids() {
        let check = |id: i32, want: bool| {
            let list = json!({"type": "list", "element-id": id, "element": "int", "element-required": true});
            let map = json!({"type": "map", "key-id": 2, "key": "int", "value-id": id, "value": "int", "value-required": true});
            let inner = json!({"type": "struct", "fields": [column(id, "x", json!("int"))]});
            let nested = [list, map, inner].map(|ty| column(1, "c", ty));
            for fields in nested.into_iter().chain([column(id, "c", json!("int"))]) {
                let s = schema(json!([fields]));
                let index = index(&s).expect("readable");
                assert_eq!(check_new_ids(&index, None).is_ok(), want, "{fields}");
                assert_eq!(check_new_ids(&index, Some(&index)), Ok(()), "what a table has already may stay");
            }
        };
        check(3, true);
        check(2_147_483_447, true);
        check(2_147_483_448, false);
        check(2_147_483_645, false);
        check(i32::MAX, false);
    }

    #[test]
    fn canonical_form() {
        let mut s = schema(json!([
            {"id": 1, "name": "a", "required": false, "type": "STRING", "initial-default": null, "x": null},
            {"id": 2, "name": "b", "required": false, "type": "decimal( 9,2 )", "write-default": "125E-2"},
            {"id": 3, "name": "c", "required": false, "type": {"type": "map", "key-id": 4, "key": "Int", "value-id": 5,
                "value": {"type": "list", "element-id": 6, "element": {"type": "struct", "fields": [
                    {"id": 7, "name": "d", "required": false, "type": "Double", "initial-default": 1}]},
                    "element-required": false}, "value-required": false}},
            {"id": 8, "name": "e", "required": false, "type": "uuid", "write-default": "abc"},
            {"id": 9, "name": "f", "required": false, "type": "new type", "write-default": 1},
        ]));
        s.insert("identifier-field-ids".to_owned(), Value::Null);
        canonicalize(&mut s);
        let want = schema(json!([
            {"id": 1, "name": "a", "required": false, "type": "string", "x": null},
            {"id": 2, "name": "b", "required": false, "type": "decimal(9, 2)", "write-default": "1.25"},
            {"id": 3, "name": "c", "required": false, "type": {"type": "map", "key-id": 4, "key": "int", "value-id": 5,
                "value": {"type": "list", "element-id": 6, "element": {"type": "struct", "fields": [
                    {"id": 7, "name": "d", "required": false, "type": "double", "initial-default": 1.0}]},
                    "element-required": false}, "value-required": false}},
            {"id": 8, "name": "e", "required": false, "type": "uuid", "write-default": "abc"},
            {"id": 9, "name": "f", "required": false, "type": "new type", "write-default": 1},
        ]));
        assert_eq!(Value::Object(s).to_string(), Value::Object(want).to_string());
    }

    #[test]
    fn short_names() {
        let s = schema(json!([
            column(
                1,
                "l",
                json!({"type": "list", "element-id": 2, "element-required": true, "element":
                {"type": "struct", "fields": [column(3, "x", json!({"type": "list", "element-id": 4,
                    "element": "int", "element-required": true}))]}})
            ),
            column(
                5,
                "m",
                json!({"type": "map", "key-id": 6, "key": {"type": "struct", "fields": [
                column(7, "k", json!("int"))]}, "value-id": 8, "value": {"type": "struct", "fields": [
                column(9, "v", json!("int"))]}, "value-required": true})
            ),
            column(10, "l.x", json!("int")),
        ]));
        let index = index(&s).expect("valid");
        for (name, want) in [
            ("l.element.x", Some(3)),
            ("l.element.x.element", Some(4)),
            ("l.x.element", Some(4)),
            ("l.x", Some(10)),
            ("m.key.k", Some(7)),
            ("m.k", None),
            ("m.value.v", Some(9)),
            ("m.v", Some(9)),
            ("m.value", Some(8)),
        ] {
            assert_eq!(index.id_of(name), want, "{name}");
        }
    }

    #[test]
    fn initial_defaults_are_fixed() {
        let with = |ty: &str, default: Value| {
            schema(json!([{"id": 1, "name": "c", "required": false, "type": ty, "initial-default": default}]))
        };
        let check = |ty: &str, old: Value, new: Value, want: bool| {
            let (old, new) = (with(ty, old), with(ty, new));
            let (old, new) = (index(&old).expect("valid"), index(&new).expect("valid"));
            assert_eq!(check_initial_defaults(&old, &new).is_ok(), want);
        };
        check("int", json!(1), json!(1), true);
        check("int", json!(1), json!(2), false);
        check("int", json!(1), Value::Null, false);
        check("int", Value::Null, json!(2), false);
        check("int", Value::Null, Value::Null, true);
        check("double", json!(1e10), json!(10000000000.0), true);
        check("uuid", json!("abc"), json!("f79c3e09-677c-4bbd-a479-3f349cb785e7"), true);
        check("uuid", json!("abc"), Value::Null, true);
    }
}
