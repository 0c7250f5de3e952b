//! The schema that a file was written with: Avro's JSON as types in a list, which refer to each other by place.
//! `plan` compiles it, and skips with it what nobody asks for.
//!
//! I1. A type refers only to types before it: nothing is recursive, and what is named twice is kept once.
//! I2. No type is nested deeper than `AVRO_DEPTH_MAX`, through names as well.
//! I3. A value takes at least one byte, unless its type always takes none.

use std::collections::HashMap;

use serde_json::Value;

use super::cursor::Cursor;
use super::error::{AvroError, Got};
use crate::limits::AVRO_DEPTH_MAX;

/// Place of a type in its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeAt(usize);

#[derive(Debug)]
pub(super) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    /// Values of a fixed length: numbers in floating point, `fixed`, and records of such.
    Fixed(usize),
    /// Bytes with their length.
    Bytes,
    /// Text with its length.
    Text,
    /// One of this many names.
    Enum(usize),
    Array(TypeAt),
    /// From text to values of this type.
    Map(TypeAt),
    Union(Vec<TypeAt>),
    Record(Vec<Field>),
}

#[derive(Debug)]
pub(super) struct Field {
    /// The Iceberg field id, where there is one.
    pub(super) id: Option<i32>,
    pub(super) of: TypeAt,
}

#[derive(Debug)]
pub(super) struct Schema {
    types: Vec<Node>,
    root: TypeAt,
}

#[derive(Debug)]
struct Node {
    of: Type,
    /// Bytes that each value takes, when that is always the same.
    width: Option<usize>,
    depth: usize,
}

impl Type {
    /// What errors call it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Boolean => "boolean",
            Type::Int => "int",
            Type::Long => "long",
            Type::Fixed(_) => "a value of fixed length",
            Type::Bytes => "bytes",
            Type::Text => "string",
            Type::Enum(_) => "enum",
            Type::Array(_) => "array",
            Type::Map(_) => "map",
            Type::Union(_) => "union",
            Type::Record(_) => "record",
        }
    }
}

impl Schema {
    /// Parses a schema. `at` is where its text stands in the file.
    pub(super) fn parse(json: &[u8], at: usize) -> Result<Schema, AvroError> {
        let refuse = |got: Got, expected| Err(AvroError::new(at, got, expected));
        let document: Value = match serde_json::from_slice(json) {
            Ok(document) => document,
            Err(error) => return refuse(Got::text(&error.to_string()), "a schema in JSON"),
        };
        let mut parser = Parser { types: Vec::new(), named: HashMap::new(), at };
        let root = parser.parse(&document, "", 0)?;
        Ok(Schema { types: parser.types, root })
    }

    pub(super) fn root(&self) -> TypeAt {
        self.root
    }

    pub(super) fn get(&self, at: TypeAt) -> &Type {
        self.types.get(at.0).map_or(&Type::Null, |node| &node.of)
    }

    fn width(&self, at: TypeAt) -> Option<usize> {
        self.types.get(at.0).and_then(|node| node.width)
    }

    /// Steps over one value. It takes time in proportion to the bytes that it steps over.
    pub(super) fn skip(&self, at: TypeAt, cursor: &mut Cursor<'_>) -> Result<(), AvroError> {
        let Some(node) = self.types.get(at.0) else { return Ok(()) };
        if let Some(width) = node.width {
            return cursor.take(width).map(drop_value);
        }
        match &node.of {
            Type::Null | Type::Fixed(_) => Ok(()),
            Type::Boolean => cursor.boolean().map(drop_value),
            Type::Int => cursor.int().map(drop_value),
            Type::Long => cursor.long().map(drop_value),
            Type::Bytes | Type::Text => cursor.bytes().map(drop_value),
            Type::Enum(names) => index(cursor, *names, "a symbol of the enum").map(drop_value),
            Type::Array(item) => self.skip_items(false, *item, cursor),
            Type::Map(value) => self.skip_items(true, *value, cursor),
            Type::Union(branches) => self.skip(*branch(branches, cursor)?, cursor),
            Type::Record(fields) => fields.iter().try_for_each(|field| self.skip(field.of, cursor)),
        }
    }

    /// Steps over the items of an array, or with `keys` over those of a map.
    fn skip_items(&self, keys: bool, item: TypeAt, cursor: &mut Cursor<'_>) -> Result<(), AvroError> {
        while let Some((count, bytes)) = cursor.items()? {
            if let Some(bytes) = bytes {
                cursor.take(bytes)?;
                continue;
            }
            if !keys && let Some(width) = self.width(item) {
                let bytes = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(width);
                cursor.take(bytes)?;
                continue;
            }
            // Each item takes at least a byte (I3), so a count that lies ends with the bytes.
            for _ in 0..count {
                if keys {
                    cursor.bytes()?;
                }
                self.skip(item, cursor)?;
            }
        }
        Ok(())
    }
}

/// Says that a value was only stepped over.
fn drop_value<T: Copy>(_: T) {}

/// Reads a place among `count` things.
fn index(cursor: &mut Cursor<'_>, count: usize, expected: &'static str) -> Result<usize, AvroError> {
    let here = cursor.clone();
    let index = cursor.long()?;
    match usize::try_from(index) {
        Ok(place) if place < count => Ok(place),
        _ => here.refuse(Got::Number(index), expected),
    }
}

/// Reads which branch of a union follows.
pub(super) fn branch<'t, T>(branches: &'t [T], cursor: &mut Cursor<'_>) -> Result<&'t T, AvroError> {
    const EXPECTED: &str = "a branch of the union";
    let place = index(cursor, branches.len(), EXPECTED)?;
    branches.get(place).map_or_else(|| cursor.refuse(Got::count(place), EXPECTED), Ok)
}

struct Parser {
    types: Vec<Node>,
    /// Full names of what is complete.
    named: HashMap<String, TypeAt>,
    at: usize,
}

impl Parser {
    fn refuse<T>(&self, got: Got, expected: &'static str) -> Result<T, AvroError> {
        Err(AvroError::new(self.at, got, expected))
    }

    /// Parses one type. `namespace` is that of what encloses it, `level` how far it is nested in the JSON.
    fn parse(&mut self, json: &Value, namespace: &str, level: usize) -> Result<TypeAt, AvroError> {
        if AVRO_DEPTH_MAX < level {
            return self.refuse(Got::count(level), "types nested at most AVRO_DEPTH_MAX deep");
        }
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches = self.all(branches, namespace, level)?;
                self.add(Type::Union(branches))
            }
            Value::Object(object) => match object.get("type") {
                Some(Value::String(of)) => self.complex(of, json, namespace, level),
                Some(inner) => self.parse(inner, namespace, level + 1),
                None => self.refuse(Got::Nothing, "the type of a schema"),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.refuse(Got::text(&json.to_string()), "a schema")
            }
        }
    }

    fn all(&mut self, of: &[Value], namespace: &str, level: usize) -> Result<Vec<TypeAt>, AvroError> {
        of.iter().map(|one| self.parse(one, namespace, level + 1)).collect()
    }

    /// A type that is an object with a `type` of its own.
    fn complex(
        &mut self,
        of: &str,
        json: &Value,
        namespace: &str,
        level: usize,
    ) -> Result<TypeAt, AvroError> {
        match of {
            "array" => {
                let item = self.parse(&json["items"], namespace, level + 1)?;
                self.add(Type::Array(item))
            }
            "map" => {
                let value = self.parse(&json["values"], namespace, level + 1)?;
                self.add(Type::Map(value))
            }
            "record" | "error" | "enum" | "fixed" => {
                let name = self.full_name(json, namespace)?;
                let inner = name.rsplit_once('.').map_or("", |(namespace, _)| namespace);
                let of = match of {
                    "enum" => self.symbols(json)?,
                    "fixed" => self.fixed(json)?,
                    _ => self.record(json, inner, level)?,
                };
                let at = self.add(of)?;
                self.named.insert(name, at);
                Ok(at)
            }
            simple => self.by_name(simple, namespace),
        }
    }

    fn record(&mut self, json: &Value, namespace: &str, level: usize) -> Result<Type, AvroError> {
        let Some(listed) = json["fields"].as_array() else {
            return self.refuse(Got::Nothing, "the fields of a record");
        };
        let mut fields = Vec::with_capacity(listed.len());
        for field in listed {
            let id = match &field["field-id"] {
                Value::Null => None,
                id => match id.as_i64().and_then(|id| i32::try_from(id).ok()) {
                    Some(id) => Some(id),
                    None => return self.refuse(Got::text(&id.to_string()), "a field id of 32 bits"),
                },
            };
            let of = self.parse(&field["type"], namespace, level + 1)?;
            // What takes no bytes holds no value (I3).
            if self.types.get(of.0).is_some_and(|node| node.width != Some(0)) {
                fields.push(Field { id, of });
            }
        }
        Ok(Type::Record(fields))
    }

    fn symbols(&self, json: &Value) -> Result<Type, AvroError> {
        match json["symbols"].as_array() {
            Some(symbols) => Ok(Type::Enum(symbols.len())),
            None => self.refuse(Got::Nothing, "the symbols of an enum"),
        }
    }

    fn fixed(&self, json: &Value) -> Result<Type, AvroError> {
        match json["size"].as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) => Ok(Type::Fixed(size)),
            None => self.refuse(Got::text(&json["size"].to_string()), "the size of a fixed"),
        }
    }

    fn full_name(&self, json: &Value, namespace: &str) -> Result<String, AvroError> {
        let Some(name) = json["name"].as_str() else {
            return self.refuse(Got::Nothing, "the name of a type");
        };
        Ok(in_namespace(name, json["namespace"].as_str().unwrap_or(namespace)))
    }

    /// A primitive type, or one that was named before.
    fn by_name(&mut self, name: &str, namespace: &str) -> Result<TypeAt, AvroError> {
        let of = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Fixed(size_of::<f32>()),
            "double" => Type::Fixed(size_of::<f64>()),
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            _ => {
                let known = self.named.get(&in_namespace(name, namespace)).or_else(|| self.named.get(name));
                return match known {
                    Some(at) => Ok(*at),
                    None => self.refuse(Got::text(name), "a type that is complete"),
                };
            }
        };
        self.add(of)
    }

    /// Adds a type whose parts are there already.
    fn add(&mut self, of: Type) -> Result<TypeAt, AvroError> {
        let part = |at: &TypeAt| self.types.get(at.0);
        let deepest = |parts: &mut dyn Iterator<Item = &TypeAt>| {
            parts.filter_map(part).map(|node| node.depth).max().unwrap_or(0)
        };
        let (width, below) = match &of {
            Type::Null => (Some(0), 0),
            Type::Fixed(width) => (Some(*width), 0),
            Type::Boolean | Type::Int | Type::Long | Type::Bytes | Type::Text | Type::Enum(_) => (None, 0),
            Type::Array(item) | Type::Map(item) => (None, deepest(&mut std::iter::once(item))),
            Type::Union(branches) => (None, deepest(&mut branches.iter())),
            Type::Record(fields) => {
                let mut widths = fields.iter().map(|field| part(&field.of).and_then(|node| node.width));
                let width = widths.try_fold(0_usize, |sum, width| Some(sum.saturating_add(width?)));
                (width, deepest(&mut fields.iter().map(|field| &field.of)))
            }
        };
        let depth = below + 1;
        if AVRO_DEPTH_MAX < depth {
            return self.refuse(Got::count(depth), "types nested at most AVRO_DEPTH_MAX deep");
        }
        self.types.push(Node { of, width, depth });
        Ok(TypeAt(self.types.len() - 1))
    }
}

fn in_namespace(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
