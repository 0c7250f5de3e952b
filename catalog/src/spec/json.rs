//! Typed reads from ordered JSON maps, with the error texts the Java parser gives.
//! Every other file of `spec` and `commit` reads fields only through here.
//! I1. `null` in an optional field means the field is absent.  I2. Integers are read from their digits.

use serde_json::{Map, Value};

use super::Invalid;
use crate::limits::{JSON_NAME_BYTES_MAX, JSON_NUMBER_BYTES_MAX, JSON_TEXT_BYTES_MAX, QUOTED_BYTES_MAX};

/// An ordered JSON object.
pub(crate) type Object = Map<String, Value>;

/// The value under `key`, unless absent or null.
pub(crate) fn opt<'a>(o: &'a Object, key: &str) -> Option<&'a Value> {
    o.get(key).filter(|v| !v.is_null())
}

pub(crate) fn i64_at(o: &Object, key: &str) -> Result<i64, Invalid> {
    opt_i64_at(o, key)?.ok_or_else(|| missing("long", key))
}

pub(crate) fn opt_i64_at(o: &Object, key: &str) -> Result<Option<i64>, Invalid> {
    typed(o, key, "a long", Value::as_i64)
}

pub(crate) fn i32_at(o: &Object, key: &str) -> Result<i32, Invalid> {
    opt_i32_at(o, key)?.ok_or_else(|| missing("int", key))
}

pub(crate) fn opt_i32_at(o: &Object, key: &str) -> Result<Option<i32>, Invalid> {
    typed(o, key, "an int", as_i32)
}

pub(crate) fn str_at<'a>(o: &'a Object, key: &str) -> Result<&'a str, Invalid> {
    opt_str_at(o, key)?.ok_or_else(|| missing("string", key))
}

pub(crate) fn opt_str_at<'a>(o: &'a Object, key: &str) -> Result<Option<&'a str>, Invalid> {
    typed(o, key, "a string", Value::as_str)
}

pub(crate) fn bool_at(o: &Object, key: &str) -> Result<bool, Invalid> {
    typed(o, key, "a boolean", Value::as_bool)?.ok_or_else(|| missing("boolean", key))
}

pub(crate) fn array_at<'a>(o: &'a Object, key: &str) -> Result<&'a [Value], Invalid> {
    opt_array_at(o, key)?.ok_or_else(|| missing("list", key))
}

pub(crate) fn opt_array_at<'a>(o: &'a Object, key: &str) -> Result<Option<&'a [Value]>, Invalid> {
    typed(o, key, "a list", |v| v.as_array().map(Vec::as_slice))
}

pub(crate) fn object_at<'a>(o: &'a Object, key: &str) -> Result<&'a Object, Invalid> {
    opt_object_at(o, key)?.ok_or_else(|| missing("object", key))
}

pub(crate) fn opt_object_at<'a>(o: &'a Object, key: &str) -> Result<Option<&'a Object>, Invalid> {
    typed(o, key, "an object", Value::as_object)
}

/// A map whose values are all strings; absent is `None`.
pub(crate) fn opt_string_map_at<'a>(o: &'a Object, key: &str) -> Result<Option<&'a Object>, Invalid> {
    let Some(map) = opt_object_at(o, key)? else { return Ok(None) };
    match map.iter().find(|(_, v)| !v.is_string()) {
        Some((k, v)) => {
            Err(Invalid::new(format!("Cannot parse to a string value: {key}.{}: {}", clip(k), quote(v))))
        }
        None => Ok(Some(map)),
    }
}

pub(crate) fn i32s_at(o: &Object, key: &str) -> Result<Vec<i32>, Invalid> {
    array_at(o, key)?.iter().map(|v| as_i32(v).ok_or_else(|| not(key, "an int", v))).collect()
}

pub(crate) fn i64s_at(o: &Object, key: &str) -> Result<Vec<i64>, Invalid> {
    array_at(o, key)?.iter().map(|v| v.as_i64().ok_or_else(|| not(key, "a long", v))).collect()
}

pub(crate) fn strs_at(o: &Object, key: &str) -> Result<Vec<String>, Invalid> {
    let list = array_at(o, key)?.iter();
    list.map(|v| v.as_str().map(str::to_owned).ok_or_else(|| not(key, "a string", v))).collect()
}

/// `value` as an object, or an error that names it `what`.
pub(crate) fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Object, Invalid> {
    value
        .as_object()
        .ok_or_else(|| Invalid::new(format!("Cannot parse {what} from non-object: {}", quote(value))))
}

/// Drops those of `keys` that hold null: absent to us, but not to every reader.
pub(crate) fn drop_nulls(o: &mut Object, keys: &[&str]) {
    if !o.values().any(Value::is_null) {
        return;
    }
    for key in keys {
        if o.get(*key).is_some_and(Value::is_null) {
            o.shift_remove(*key);
        }
    }
}

pub(crate) fn as_i32(v: &Value) -> Option<i32> {
    v.as_i64().and_then(|n| i32::try_from(n).ok())
}

/// Refuses a name longer than the reference's JSON reader takes.
pub(crate) fn check_name(name: &str) -> Result<(), Invalid> {
    check_length("name", name.len(), JSON_NAME_BYTES_MAX)
}

fn check_length(what: &str, len: usize, max: usize) -> Result<(), Invalid> {
    if len <= max {
        return Ok(());
    }
    Err(Invalid::new(format!("Cannot parse metadata: {what} of {len} bytes is over {max}")))
}

/// Refuses names, texts and numbers longer than the reference's JSON reader takes.
pub(crate) fn check_lengths(value: &Value) -> Result<(), Invalid> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check_lengths),
        Value::Object(map) => check_lengths_in(map),
        Value::String(text) => check_length("text", text.len(), JSON_TEXT_BYTES_MAX),
        Value::Number(number) if number.as_i64().is_none() => {
            check_length("number", number.to_string().len(), JSON_NUMBER_BYTES_MAX)
        }
        _ => Ok(()),
    }
}

/// The same for all members of an object.
pub(crate) fn check_lengths_in(map: &Object) -> Result<(), Invalid> {
    map.iter().try_for_each(|(name, value)| {
        check_name(name)?;
        check_lengths(value)
    })
}

/// Levels of nesting of `value`; a scalar is one.
pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

/// `value` as text for an error message, bounded.
pub(crate) fn quote(value: &Value) -> String {
    clip(&value.to_string())
}

/// `text` for an error message, bounded.
pub(crate) fn clip(text: &str) -> String {
    if text.len() <= QUOTED_BYTES_MAX {
        return text.to_owned();
    }
    let cut = (0..=QUOTED_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", &text[..cut])
}

fn typed<'a, T>(
    o: &'a Object,
    key: &str,
    kind: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, Invalid> {
    match opt(o, key) {
        None => Ok(None),
        Some(v) => read(v).map(Some).ok_or_else(|| not(key, kind, v)),
    }
}

fn missing(kind: &str, key: &str) -> Invalid {
    Invalid::new(format!("Cannot parse missing {kind}: {key}"))
}

fn not(key: &str, kind: &str, v: &Value) -> Invalid {
    Invalid::new(format!("Cannot parse to {kind} value: {key}: {}", quote(v)))
}

#[cfg(test)]
mod tests {
    use super::{Object, check_lengths, depth, i32_at, i64_at, opt_i64_at, quote};
    use serde_json::Value;

    fn parsed(text: &str) -> Object {
        serde_json::from_str(text).expect("test JSON")
    }

    #[test]
    fn integers_keep_all_digits() {
        let check = |text: &str, want: Result<i64, &str>| {
            let got = i64_at(&parsed(text), "n").map_err(|e| e.message);
            assert_eq!(got, want.map_err(str::to_owned), "{text}");
        };
        check(r#"{"n":9223372036854775807}"#, Ok(i64::MAX));
        check(r#"{"n":-9223372036854775808}"#, Ok(i64::MIN));
        check(r#"{"n":9223372036854775808}"#, Err("Cannot parse to a long value: n: 9223372036854775808"));
        check(r#"{"n":1.0}"#, Err("Cannot parse to a long value: n: 1.0"));
        check(r#"{"n":"1"}"#, Err("Cannot parse to a long value: n: \"1\""));
        check(r#"{"n":null}"#, Err("Cannot parse missing long: n"));
        check("{}", Err("Cannot parse missing long: n"));
        assert_eq!(opt_i64_at(&parsed("{}"), "n"), Ok(None));
        assert!(i32_at(&parsed(r#"{"n":2147483648}"#), "n").is_err());
    }

    #[test]
    fn lengths() {
        let check = |value: Value, want: Option<&str>| {
            let got = check_lengths(&serde_json::json!([{"a": value}])).err().map(|e| e.message);
            assert_eq!(got.as_deref(), want);
        };
        let number = |digits: usize| serde_json::from_str(&"1".repeat(digits)).expect("a number");
        check(number(1_000), None);
        check(number(1_001), Some("Cannot parse metadata: number of 1001 bytes is over 1000"));
        check(serde_json::json!({"x".repeat(50_000): 1}), None);
        let long = serde_json::json!({"x".repeat(50_001): 1});
        check(long, Some("Cannot parse metadata: name of 50001 bytes is over 50000"));
        check(Value::from("x".repeat(20_000_000)), None);
        let long = Value::from("x".repeat(20_000_001));
        check(long, Some("Cannot parse metadata: text of 20000001 bytes is over 20000000"));
    }

    #[test]
    fn quotes_are_bounded_and_depth_counts() {
        assert!(quote(&Value::from("ä".repeat(500))).len() < 200);
        assert_eq!(depth(&serde_json::json!({"a": [{"b": 1}]})), 4);
    }
}
