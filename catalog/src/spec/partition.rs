//! Partition specs and the transforms they share with sort orders.
//! `commit` binds specs to schemas here; `table_metadata` validates with `fields`.
//! I1. Transforms we do not know are tolerated: newer writers may use them.
//! I2. `fields` takes every spec that was ever kept; [`check_new`] is what a new one must pass besides.

use std::collections::HashSet;
use std::fmt;

use serde_json::Value;

use super::Invalid;
use super::json::{self, Object};
use super::schema::Index;
use super::types::{PARAMETER_MAX, Type};

/// The first id given to a partition field.
pub(crate) const FIELD_ID_FIRST: i32 = 1000;

/// How a partition or sort value comes from its source column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transform {
    Identity,
    Year,
    Month,
    Day,
    Hour,
    Bucket(u32),
    Truncate(u32),
    Void,
    Other(String),
}

/// One field of a spec.
#[derive(Debug)]
pub(crate) struct SpecField<'a> {
    pub(crate) sources: Vec<i32>,
    pub(crate) field_id: Option<i32>,
    pub(crate) name: &'a str,
    pub(crate) transform: Transform,
}

/// Validates the shape of `spec` and returns its fields in order.
pub(crate) fn fields(spec: &Object) -> Result<Vec<SpecField<'_>>, Invalid> {
    json::opt_i32_at(spec, "spec-id")?;
    fields_of(json::array_at(spec, "fields")?)
}

/// As [`fields`], for a bare list of fields.
pub(crate) fn fields_of(list: &[Value]) -> Result<Vec<SpecField<'_>>, Invalid> {
    let mut fields = Vec::with_capacity(list.len());
    for value in list {
        let o = json::object(value, "partition field")?;
        fields.push(SpecField {
            sources: sources(o)?,
            field_id: json::opt_i32_at(o, "field-id")?,
            name: json::str_at(o, "name")?,
            transform: Transform::parse(json::str_at(o, "transform")?)?,
        });
    }
    Ok(fields)
}

/// The spec's id; a spec without one is spec 0.
pub(crate) fn id(spec: &Object) -> i32 {
    spec.get("spec-id").and_then(json::as_i32).unwrap_or(0)
}

/// The source columns of a partition or sort field: `source-id`, or `source-ids` with one or more.
pub(crate) fn sources(field: &Object) -> Result<Vec<i32>, Invalid> {
    if let Some(id) = json::opt_i32_at(field, "source-id")? {
        return Ok(vec![id]);
    }
    if json::opt(field, "source-ids").is_none() {
        return Err(Invalid::new("Cannot parse missing int: source-id"));
    }
    let ids = json::i32s_at(field, "source-ids")?;
    if ids.is_empty() {
        return Err(Invalid::new("Cannot parse empty list: source-ids"));
    }
    Ok(ids)
}

/// True when both partition alike: the same sources, transforms and names in the same order.
pub(crate) fn compatible(a: &[SpecField<'_>], b: &[SpecField<'_>]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.sources == b.sources && a.transform == b.transform && a.name == b.name)
}

/// Refuses a spec that cannot partition rows of the schema.
pub(crate) fn check_binds(fields: &[SpecField<'_>], schema: &Index<'_>) -> Result<(), Invalid> {
    for field in fields.iter().filter(|f| f.transform != Transform::Void) {
        for source in &field.sources {
            let Some(column) = schema.fields.get(source) else {
                return Err(Invalid::new(format!("Cannot find source column for partition field: {field}")));
            };
            if column.name.is_empty() {
                return Err(Invalid::new("Invalid column name: (empty)"));
            }
            if !column.ty.is_primitive() {
                let ty = &column.ty;
                return Err(Invalid::new(format!("Cannot partition by non-primitive source field: {ty}")));
            }
            if let Some(parent) = schema.enclosing_collection(*source) {
                return Err(Invalid::new(format!("Invalid partition field parent: {parent}")));
            }
        }
        check_source_type(&field.sources, &field.transform, schema)?;
    }
    Ok(())
}

/// Refuses names that are empty, doubled, or taken by a column they do not come from.
pub(crate) fn check_names(fields: &[SpecField<'_>], schema: &Index<'_>) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    for field in fields {
        let name = field.name;
        if schema.id_of(name).is_some_and(|column| field.sources != [column]) {
            return Err(Invalid::new(format!(
                "Cannot create identity partition sourced from different field in schema: {}",
                json::clip(name)
            )));
        }
        if name.is_empty() {
            return Err(Invalid::new("Cannot use empty partition name"));
        }
        if !seen.insert(name) {
            return Err(Invalid::new(format!(
                "Cannot use partition name more than once: {}",
                json::clip(name)
            )));
        }
    }
    Ok(())
}

/// Refuses an older spec that the reference cannot load beside the schema: it binds all specs of a table to the
/// current one, those that are not the default without looking whether their columns are still there.
pub(crate) fn check_loads(fields: &[SpecField<'_>], schema: &Index<'_>) -> Result<(), Invalid> {
    check_names(fields, schema)?;
    fields.iter().try_for_each(|field| check_source_type(&field.sources, &field.transform, schema))
}

/// Refuses what the reference cannot read in a new spec: several sources, and transforms out of range.
pub(crate) fn check_new(fields: &[SpecField<'_>]) -> Result<(), Invalid> {
    fields.iter().try_for_each(|f| check_new_field(&f.sources, &f.transform))
}

/// Refuses two fields of one id.
pub(crate) fn check_ids(fields: &[SpecField<'_>]) -> Result<(), Invalid> {
    let mut seen = HashSet::new();
    if fields.iter().filter_map(|f| f.field_id).all(|id| seen.insert(id)) {
        return Ok(());
    }
    Err(Invalid::new("Cannot use partition field id more than once in a spec"))
}

/// The same for one partition or sort field.
pub(crate) fn check_new_field(sources: &[i32], transform: &Transform) -> Result<(), Invalid> {
    if sources.len() != 1 {
        return Err(Invalid::new("Cannot parse missing int: source-id"));
    }
    transform.check()
}

/// Rewrites the transform of each partition or sort field as the reference spells it, and one source in a list as
/// one source. What is unknown stays.
pub(crate) fn canonicalize(spec: &mut Object) {
    let Some(Value::Array(fields)) = spec.get_mut("fields") else { return };
    for field in fields.iter_mut().filter_map(Value::as_object_mut) {
        if let Some(Value::String(text)) = field.get_mut("transform")
            && let Ok(transform) = Transform::parse(text)
            && !matches!(transform, Transform::Other(_))
        {
            let canonical = transform.to_string();
            if *text != canonical {
                *text = canonical;
            }
        }
        if json::opt(field, "source-id").is_none()
            && let Some([source]) = field.get("source-ids").and_then(Value::as_array).map(Vec::as_slice)
        {
            let source = source.clone();
            field.shift_remove("source-ids");
            field.insert("source-id".to_owned(), source);
        }
    }
}

/// Refuses a transform that has no meaning for the type of its one source; several sources are not judged.
pub(crate) fn check_source_type(
    sources: &[i32],
    transform: &Transform,
    schema: &Index<'_>,
) -> Result<(), Invalid> {
    let [source] = sources else { return Ok(()) };
    let Some(column) = schema.fields.get(source) else { return Ok(()) };
    if transform.accepts(&column.ty) {
        return Ok(());
    }
    Err(Invalid::new(format!("Invalid source type {} for transform: {transform}", column.ty)))
}

impl Transform {
    /// Reads a transform's name; unknown ones are kept as they are.
    pub(crate) fn parse(text: &str) -> Result<Transform, Invalid> {
        let name = text.to_ascii_lowercase();
        let width = |prefix: &str| {
            let inner = name.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?;
            inner.bytes().all(|b| b.is_ascii_digit()).then(|| inner.parse::<u32>().ok()).flatten()
        };
        let positive = |what: &str, n: u32| match n {
            0 => Err(Invalid::new(format!("Invalid {what}: 0 (must be > 0)"))),
            n => Ok(n),
        };
        if let Some(n) = width("bucket") {
            return positive("number of buckets", n).map(Transform::Bucket);
        }
        if let Some(n) = width("truncate") {
            return positive("truncate width", n).map(Transform::Truncate);
        }
        Ok(match name.as_str() {
            "identity" => Transform::Identity,
            "year" | "years" => Transform::Year,
            "month" | "months" => Transform::Month,
            "day" | "days" => Transform::Day,
            "hour" | "hours" => Transform::Hour,
            "void" => Transform::Void,
            "" => return Err(Invalid::new("Cannot parse empty transform")),
            _ => Transform::Other(text.to_owned()),
        })
    }

    /// Refuses numbers that the reference cannot read, and what PyIceberg takes for `bucket` or `truncate`.
    fn check(&self) -> Result<(), Invalid> {
        let range = |what: &str, n: &dyn fmt::Display| {
            Err(Invalid::new(format!("Invalid {what}: {n} (must be <= {PARAMETER_MAX})")))
        };
        match self {
            Transform::Bucket(n) if PARAMETER_MAX < *n => range("number of buckets", n),
            Transform::Truncate(n) if PARAMETER_MAX < *n => range("truncate width", n),
            Transform::Other(text) => {
                let name = text.to_ascii_lowercase();
                let width = text.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
                let width = width.filter(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()));
                if let Some(width) = width.filter(|w| w.parse::<i32>().is_err()) {
                    return range("width of transform", &json::clip(width));
                }
                if name.starts_with("bucket") || name.starts_with("truncate") {
                    return Err(Invalid::new(format!("Invalid transform: {}", json::clip(text))));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn accepts(&self, ty: &Type) -> bool {
        let stamp = matches!(ty, Type::Timestamp { .. });
        match self {
            Transform::Identity => !matches!(ty, Type::Variant | Type::Geometry(_) | Type::Geography(_)),
            Transform::Year | Transform::Month | Transform::Day => stamp || *ty == Type::Date,
            Transform::Hour => stamp,
            Transform::Bucket(_) => {
                stamp
                    || matches!(
                        ty,
                        Type::Int | Type::Long | Type::Date | Type::Time | Type::String | Type::Uuid
                    )
                    || matches!(ty, Type::Binary | Type::Fixed(_) | Type::Decimal { .. })
            }
            Transform::Truncate(_) => {
                matches!(ty, Type::Int | Type::Long | Type::String | Type::Binary | Type::Decimal { .. })
            }
            Transform::Void | Transform::Other(_) => true,
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Transform::Identity => f.write_str("identity"),
            Transform::Year => f.write_str("year"),
            Transform::Month => f.write_str("month"),
            Transform::Day => f.write_str("day"),
            Transform::Hour => f.write_str("hour"),
            Transform::Bucket(n) => write!(f, "bucket[{n}]"),
            Transform::Truncate(n) => write!(f, "truncate[{n}]"),
            Transform::Void => f.write_str("void"),
            Transform::Other(text) => f.write_str(&json::clip(text)),
        }
    }
}

impl fmt::Display for SpecField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<String> = self.sources.iter().take(8).map(i32::to_string).collect();
        let id = self.field_id.unwrap_or(FIELD_ID_FIRST);
        write!(f, "{id}: {}: {}({})", json::clip(self.name), self.transform, sources.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Transform, canonicalize, check_binds, check_loads, check_names, check_new, compatible, fields,
    };
    use crate::spec::json::Object;
    use crate::spec::schema::index;
    use serde_json::{Value, json};

    fn object(value: Value) -> Object {
        value.as_object().cloned().expect("test object")
    }

    fn schema() -> Object {
        object(json!({"type": "struct", "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"},
            {"id": 2, "name": "ts", "required": true, "type": "timestamptz"},
            {"id": 3, "name": "d", "required": true, "type": "double"},
            {"id": 4, "name": "l", "required": true, "type":
                {"type": "list", "element-id": 5, "element": "int", "element-required": true}},
        ]}))
    }

    #[test]
    fn binding() {
        let schema = schema();
        let index = index(&schema).expect("valid");
        let check = |field: Value, want: Option<&str>| {
            let spec = object(json!({"fields": [field]}));
            let got = fields(&spec).and_then(|f| {
                check_names(&f, &index)?;
                check_binds(&f, &index)
            });
            let got = got.err().map(|e| e.message);
            assert_eq!(got.is_some(), want.is_some(), "{field}: {got:?}");
            assert!(got.as_deref().unwrap_or_default().contains(want.unwrap_or_default()), "{got:?}");
        };
        let field = |source: i32, name: &str, transform: &str| json!({"source-id": source, "name": name, "transform": transform});
        check(field(1, "id", "identity"), None);
        check(field(2, "ts_day", "day"), None);
        check(field(2, "ts_day", "days"), None);
        check(field(1, "b", "bucket[16]"), None);
        check(field(1, "b", "zorder[3]"), None);
        check(field(9, "b", "void"), None);
        check(json!({"source-ids": [1, 2], "name": "m", "transform": "multi"}), None);
        check(
            field(9, "b", "identity"),
            Some("Cannot find source column for partition field: 1000: b: identity(9)"),
        );
        check(field(1, "b", "hour"), Some("Invalid source type long for transform: hour"));
        check(field(3, "b", "bucket[4]"), Some("Invalid source type double for transform: bucket[4]"));
        check(field(4, "b", "identity"), Some("Cannot partition by non-primitive source field: list"));
        check(field(5, "b", "identity"), Some("Invalid partition field parent: list"));
        check(field(1, "ts", "identity"), Some("sourced from different field in schema: ts"));
        check(field(1, "id", "bucket[2]"), None);
        check(field(1, "ts", "bucket[2]"), Some("sourced from different field in schema: ts"));
        check(field(9, "ts", "void"), Some("sourced from different field in schema: ts"));
        check(field(1, "", "bucket[2]"), Some("Cannot use empty partition name"));
        check(field(1, "b", "bucket[0]"), Some("Invalid number of buckets: 0"));
        check(field(1, "b", ""), Some("Cannot parse empty transform"));
        check(json!({"source-ids": [], "name": "m", "transform": "multi"}), Some("empty list: source-ids"));
        check(json!({"name": "m", "transform": "multi"}), Some("missing int: source-id"));
        check(json!(1), Some("non-object"));
    }

    #[test]
    fn new_specs() {
        let check = |spec: Value, want: Option<&str>| {
            let spec = object(json!({"fields": spec}));
            let got = fields(&spec).and_then(|f| check_new(&f)).err().map(|e| e.message);
            assert_eq!(got.as_deref(), want);
        };
        let field = |transform: &str| json!([{"source-id": 1, "name": "p", "transform": transform}]);
        check(field("bucket[2147483647]"), None);
        check(field("zorder[3]"), None);
        check(field("future"), None);
        check(
            field("bucket[2147483648]"),
            Some("Invalid number of buckets: 2147483648 (must be <= 2147483647)"),
        );
        check(
            field("truncate[2147483648]"),
            Some("Invalid truncate width: 2147483648 (must be <= 2147483647)"),
        );
        check(
            field("truncate[99999999999]"),
            Some("Invalid width of transform: 99999999999 (must be <= 2147483647)"),
        );
        check(
            field("zorder[99999999999]"),
            Some("Invalid width of transform: 99999999999 (must be <= 2147483647)"),
        );
        check(field("bucket[ 4 ]"), Some("Invalid transform: bucket[ 4 ]"));
        check(field("Truncate"), Some("Invalid transform: Truncate"));
        check(
            json!([{"source-ids": [1, 2], "name": "p", "transform": "multi"}]),
            Some("Cannot parse missing int: source-id"),
        );
    }

    #[test]
    fn canonical_form() {
        let mut spec = object(json!({"fields": [
            {"source-id": 1, "name": "p", "transform": "Bucket[016]", "x": 1},
            {"source-ids": [1], "name": "q", "transform": "days"},
            {"source-ids": [1, 2], "name": "r", "transform": "Multi"},
            {"source-id": 1, "name": "s", "transform": "truncate[99999999999]"}]}));
        canonicalize(&mut spec);
        let want = json!({"fields": [
            {"source-id": 1, "name": "p", "transform": "bucket[16]", "x": 1},
            {"name": "q", "transform": "day", "source-id": 1},
            {"source-ids": [1, 2], "name": "r", "transform": "Multi"},
            {"source-id": 1, "name": "s", "transform": "truncate[99999999999]"}]});
        assert_eq!(Value::Object(spec).to_string(), want.to_string());
    }

    #[test]
    fn old_specs_beside_a_new_schema() {
        let schema = schema();
        let index = index(&schema).expect("valid");
        let check = |source: i32, name: &str, transform: &str, want: Option<&str>| {
            let spec =
                object(json!({"fields": [{"source-id": source, "name": name, "transform": transform}]}));
            let got = check_loads(&fields(&spec).expect("valid"), &index).err().map(|e| e.message);
            assert_eq!(got.as_deref(), want);
        };
        check(9, "gone", "bucket[4]", None);
        check(4, "nested", "identity", None);
        check(1, "b", "bucket[4]", None);
        check(3, "b", "bucket[4]", Some("Invalid source type double for transform: bucket[4]"));
        check(3, "b", "truncate[4]", Some("Invalid source type double for transform: truncate[4]"));
        check(1, "b", "day", Some("Invalid source type long for transform: day"));
        check(3, "b", "void", None);
        check(
            9,
            "ts",
            "day",
            Some("Cannot create identity partition sourced from different field in schema: ts"),
        );
    }

    #[test]
    fn transforms_and_compatibility() {
        assert_eq!(Transform::parse("Bucket[16]").ok(), Some(Transform::Bucket(16)));
        assert_eq!(Transform::parse("bucket[x]").ok(), Some(Transform::Other("bucket[x]".to_owned())));
        let spec = |name: &str, id: i32| {
            object(
                json!({"fields": [{"source-id": 1, "name": name, "field-id": id, "transform": "identity"}]}),
            )
        };
        let check = |a: Object, b: Object, want: bool| {
            let (a, b) = (fields(&a).expect("valid"), fields(&b).expect("valid"));
            assert_eq!(compatible(&a, &b), want);
        };
        check(spec("a", 1000), spec("a", 1001), true);
        check(spec("a", 1000), spec("b", 1000), false);
    }
}
