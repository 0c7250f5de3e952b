//! Request bodies: from bytes to the fields an operation asks for. Pure.
//!
//! Everything wrong with a body is [`CatalogError::BadRequest`], said with the field's name.

use serde_json::{Map, Value};

use crate::store::failure::CatalogError;
use crate::store::names::{Ident, NamespaceName};

/// Parses a body as a JSON object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, CatalogError> {
    serde_json::from_slice(body).map_err(|e| CatalogError::BadRequest(format!("Invalid JSON object: {e}")))
}

/// A string that must be there.
pub(crate) fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, CatalogError> {
    optional_string(object, name)?.ok_or_else(|| missing(name))
}

/// A string, absent or null.
pub(crate) fn optional_string<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, CatalogError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, "a string")),
    }
}

/// A boolean, `false` when absent or null.
pub(crate) fn flag(object: &Map<String, Value>, name: &str) -> Result<bool, CatalogError> {
    flag_or(object, name, false)
}

/// A boolean, `absent` when absent or null.
pub(crate) fn flag_or(object: &Map<String, Value>, name: &str, absent: bool) -> Result<bool, CatalogError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(absent),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(wrong(name, "a boolean")),
    }
}

/// An object of any content, absent or null.
pub(crate) fn optional_object(
    object: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<Value>, CatalogError> {
    match object.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Object(_)) => Ok(Some(value)),
        Some(_) => Err(wrong(name, "an object")),
    }
}

/// An object from strings to strings, empty when absent or null.
pub(crate) fn properties(
    object: &mut Map<String, Value>,
    name: &str,
) -> Result<Map<String, Value>, CatalogError> {
    match object.shift_remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) if map.values().all(Value::is_string) => Ok(map),
        Some(_) => Err(wrong(name, "an object of strings")),
    }
}

/// A list of strings, empty when absent or null.
pub(crate) fn strings(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, CatalogError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong(name, "a list of strings")))
            .collect(),
        Some(_) => Err(wrong(name, "a list of strings")),
    }
}

/// A namespace as a list of levels, which must be there.
pub(crate) fn namespace(object: &Map<String, Value>, name: &str) -> Result<NamespaceName, CatalogError> {
    if !object.contains_key(name) {
        return Err(missing(name));
    }
    Ok(NamespaceName::from_levels(strings(object, name)?.iter().map(String::as_str))?)
}

/// A table identifier, which must be there.
pub(crate) fn identifier(object: &Map<String, Value>, name: &str) -> Result<Ident, CatalogError> {
    match object.get(name) {
        None | Some(Value::Null) => Err(missing(name)),
        Some(Value::Object(ident)) => Ok(Ident::new(namespace(ident, "namespace")?, string(ident, "name")?)?),
        Some(_) => Err(wrong(name, "an identifier")),
    }
}

/// A list that counts as empty when absent or null; what is in it is for others to check.
pub(crate) fn list(object: &mut Map<String, Value>, name: &str) -> Result<Value, CatalogError> {
    match object.shift_remove(name) {
        None | Some(Value::Null) => Ok(Value::Array(Vec::new())),
        Some(value @ Value::Array(_)) => Ok(value),
        Some(_) => Err(wrong(name, "a list")),
    }
}

fn missing(name: &str) -> CatalogError {
    CatalogError::BadRequest(format!("Missing field: {name}"))
}

fn wrong(name: &str, what: &str) -> CatalogError {
    CatalogError::BadRequest(format!("Invalid field: {name} is not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let body = br#"{"s":"x","n":null,"b":true,"l":["a","b"],"p":{"k":"v"},"bad":{"k":1},
            "i":{"namespace":["a","b"],"name":"t"},"e":[]}"#;
        let mut map = object(body).expect("an object");
        assert_eq!(string(&map, "s").ok(), Some("x"));
        assert!(string(&map, "n").is_err());
        assert!(string(&map, "b").is_err());
        assert_eq!(optional_string(&map, "absent").ok(), Some(None));
        assert_eq!(flag(&map, "b").ok(), Some(true));
        assert_eq!(flag(&map, "n").ok(), Some(false));
        assert!(flag(&map, "s").is_err());
        assert_eq!(strings(&map, "l").ok(), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert!(strings(&map, "p").is_err());
        assert_eq!(namespace(&map, "l").map(|name| name.to_string()).ok().as_deref(), Some("a.b"));
        assert!(namespace(&map, "e").is_err());
        assert!(namespace(&map, "absent").is_err());
        assert_eq!(identifier(&map, "i").map(|ident| ident.to_string()).ok().as_deref(), Some("a.b.t"));
        assert!(identifier(&map, "p").is_err());
        assert!(identifier(&map, "absent").is_err());
        assert_eq!(properties(&mut map, "p").map(|map| map.len()).ok(), Some(1));
        assert!(properties(&mut map, "bad").is_err());
        assert!(list(&mut map, "s").is_err());
        assert_eq!(list(&mut map, "l").ok(), Some(serde_json::json!(["a", "b"])));
        assert!(optional_object(&mut map, "b").is_err());
    }

    #[test]
    fn not_objects() {
        for body in ["", "[]", "1", "{", "nul", "{\"a\":1}x"] {
            assert!(object(body.as_bytes()).is_err(), "{body}");
        }
        let deep = "[".repeat(10_000);
        assert!(object(format!("{{\"a\":{deep}").as_bytes()).is_err());
    }
}
