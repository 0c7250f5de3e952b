//! Default values of columns: single values in JSON (Appendix D of the table specification).
//! `schema` checks and compares defaults here.
//! I1. A canonical value is read by the Java reference and by PyIceberg, and is canonical again.
//! I2. No decimal or number loses a digit: what changes is how it is spelled.

use serde_json::{Number, Value};

use super::json::as_i32;
use super::types::Type;

/// `value` in the one spelling it is kept in; `None` when it is no value of the type.
///
/// Types whose defaults must be null (nested ones, `variant`, `unknown`, `geometry`, `geography`) have no values.
pub(crate) fn canonical(ty: &Type, value: &Value) -> Option<Value> {
    let text = || value.as_str();
    Some(match ty {
        Type::Boolean => return value.is_boolean().then(|| value.clone()),
        Type::Int => return as_i32(value).map(Value::from),
        Type::Long => return value.as_i64().map(Value::from),
        Type::Float | Type::Double => Value::Number(floating(ty, value)?),
        Type::String => return value.is_string().then(|| value.clone()),
        Type::Decimal { precision, scale } => decimal(text()?, *precision, *scale)?.into(),
        Type::Date => {
            let (_, rest) = date(text()?)?;
            return rest.is_empty().then(|| value.clone());
        }
        Type::Time => {
            let (time, rest) = time(text()?, MICROS_DIGITS)?;
            rest.is_empty().then_some(time.text)?.into()
        }
        Type::Timestamp { nanos, zoned } => timestamp(text()?, *nanos, *zoned)?.into(),
        Type::Uuid => uuid(text()?)?.into(),
        Type::Fixed(len) => {
            let hex = hex(text()?)?;
            (u64::try_from(hex.len()) == Ok(2 * u64::from(*len))).then_some(hex)?.into()
        }
        Type::Binary => hex(text()?)?.into(),
        Type::Variant | Type::Unknown | Type::Geometry(_) | Type::Geography(_) => return None,
        Type::Struct | Type::List | Type::Map => return None,
    })
}

/// True when both are the same value of the type, however spelled; what is no value of it is compared as it is.
pub(crate) fn same(ty: &Type, a: &Value, b: &Value) -> bool {
    match (ty, canonical(ty, a), canonical(ty, b)) {
        (Type::Float | Type::Double, Some(a), Some(b)) => match (float_of(ty, &a), float_of(ty, &b)) {
            (Some(a), Some(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        },
        (_, Some(a), Some(b)) => a == b,
        (_, None, None) => a == b,
        _ => false,
    }
}

/// A number with a point or an exponent: the reference reads no other as `float` or `double`.
fn floating(ty: &Type, value: &Value) -> Option<Number> {
    float_of(ty, value)?;
    let number = value.as_number()?;
    let text = number.to_string();
    if text.contains(['.', 'e', 'E']) {
        return Some(number.clone());
    }
    format!("{text}.0").parse().ok()
}

/// The value as the type holds it, unless it is out of range.
fn float_of(ty: &Type, value: &Value) -> Option<f64> {
    let wide: f64 = value.as_number()?.to_string().parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float is the nearest one, as the reference reads it"
    )]
    let held = if *ty == Type::Float { f64::from(wide as f32) } else { wide };
    held.is_finite().then_some(held)
}

/// Digits of which a decimal's exponent may consist; far more than a scale of 38 digits needs.
const EXPONENT_DIGITS_MAX: usize = 5;

/// A decimal of exactly `scale` digits behind the point, written without an exponent.
fn decimal(text: &str, precision: u32, scale: u32) -> Option<String> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let (significand, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let found = i64::try_from(fraction.len()).ok()? - exponent;
    let significant = digits.trim_start_matches('0');
    if found != i64::from(scale) || usize::try_from(precision).ok()? < significant.len() {
        return None;
    }
    let scale = usize::try_from(scale).ok()?;
    if scale == 0 {
        let digits = if significant.is_empty() { "0" } else { significant };
        return Some(format!("{}{digits}", sign_of(sign, significant)));
    }
    if SCALE_WRITTEN_MAX < scale {
        return None;
    }
    let padded = format!("{significant:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    Some(format!("{}{whole}.{fraction}", sign_of(sign, significant)))
}

/// Digits behind the point of a decimal that are written out; a wider scale leaves no digit that counts.
const SCALE_WRITTEN_MAX: usize = 1_000;

/// Zero has no sign.
fn sign_of(sign: &'static str, significant: &str) -> &'static str {
    if significant.is_empty() { "" } else { sign }
}

fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain =
        (1..=EXPONENT_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let value: i64 = plain.then(|| digits.parse().ok()).flatten()?;
    Some(if text.starts_with('-') { -value } else { value })
}

/// A day of the years 1 to 9999 in front of `text`, as days since 1970, and what follows.
fn date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1 || !(1..=12).contains(&month) || !(1..=days).contains(&day) {
        return None;
    }
    // a year counted from March has its leap day at the end
    let (y, m) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    Some((y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - DAYS_TO_1970, rest))
}

/// Days from the first of March of year 0 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
const MICROS_DIGITS: usize = 6;
const NANOS_DIGITS: usize = 9;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A time of day.
struct Time {
    /// With seconds, and with all digits of the fraction or with none.
    text: String,
    nanos: i128,
}

/// A time in front of `text` with at most `digits` digits of fraction, and what follows.
fn time(text: &str, digits: usize) -> Option<(Time, &str)> {
    let (hour, rest) = number(text, 2)?;
    let (minute, mut rest) = number(rest.strip_prefix(':')?, 2)?;
    let (mut second, mut fraction) = (0, "");
    if let Some(more) = rest.strip_prefix(':') {
        (second, rest) = number(more, 2)?;
        if let Some(more) = rest.strip_prefix('.') {
            let len = more.bytes().take_while(u8::is_ascii_digit).count();
            (1..=digits).contains(&len).then_some(())?;
            (fraction, rest) = more.split_at(len);
        }
    }
    if 23 < hour || 59 < minute || 59 < second {
        return None;
    }
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    if nanos != 0 {
        text.push('.');
        text.push_str(&format!("{fraction:0<digits$}"));
    }
    let seconds = i128::from((hour * 60 + minute) * 60 + second);
    Some((Time { text, nanos: seconds * NANOS_PER_SECOND + nanos }, rest))
}

fn timestamp(text: &str, nanos: bool, zoned: bool) -> Option<String> {
    let (days, rest) = date(text)?;
    let day = text.strip_suffix(rest)?;
    let digits = if nanos { NANOS_DIGITS } else { MICROS_DIGITS };
    let (time, zone) = time(rest.strip_prefix(['T', 't'])?, digits)?;
    let zone = match (zoned, zone) {
        (false, "") => "",
        (true, "+00:00" | "-00:00" | "Z" | "z") => "+00:00",
        _ => return None,
    };
    // nanoseconds since 1970 end in the year 2262
    if nanos {
        i64::try_from(i128::from(days) * 86_400 * NANOS_PER_SECOND + time.nanos).ok()?;
    }
    Some(format!("{day}T{}{zone}", time.text))
}

/// A UUID of 36 characters, in lower case.
fn uuid(text: &str) -> Option<String> {
    let hyphenated = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
    hyphenated.then(|| text.to_ascii_lowercase())
}

/// Bytes in hexadecimal, in upper case.
fn hex(text: &str) -> Option<String> {
    let even = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    even.then(|| text.to_ascii_uppercase())
}

/// A number of exactly `len` digits in front of `text`, and what follows.
fn number(text: &str, len: usize) -> Option<(i64, &str)> {
    let digits = text.get(..len).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    Some((digits.parse().ok()?, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::{canonical, same};
    use crate::spec::types::Type;
    use serde_json::Value;

    fn of(ty: &str) -> Type {
        Type::parse(ty).expect("a type")
    }

    fn parsed(json: &str) -> Value {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn values_of_every_type() {
        let check = |ty: &str, json: &str, want: Option<&str>| {
            let got = canonical(&of(ty), &parsed(json));
            assert_eq!(got.as_ref().map(Value::to_string).as_deref(), want, "{ty} {json}");
            if let Some(value) = got {
                assert_eq!(canonical(&of(ty), &value), Some(value), "{ty} {json}");
            }
        };
        let kept = |ty: &str, json: &str| check(ty, json, Some(json));
        let none = |ty: &str, json: &str| check(ty, json, None);
        kept("boolean", "true");
        none("boolean", "1");
        none("boolean", r#""true""#);
        kept("int", "-2147483648");
        none("int", "2147483648");
        none("int", "1.0");
        none("int", r#""1""#);
        kept("long", "9223372036854775807");
        none("long", "9223372036854775808");
        kept("double", "1.0");
        check("double", "1E10", Some("1e+10"));
        kept("double", "1.7976931348623157e+308");
        check("double", "1", Some("1.0"));
        check("double", "-0", Some("-0.0"));
        check("float", "16777216", Some("16777216.0"));
        none("double", "1e309");
        none("float", "1e39");
        none("double", r#""NaN""#);
        kept("string", r#""""#);
        none("string", "5");

        kept("decimal(9,2)", r#""1.25""#);
        kept("decimal(9,2)", r#""-0.25""#);
        kept("decimal(9,2)", r#""1234567.89""#);
        check("decimal(9,2)", r#""+1.25""#, Some(r#""1.25""#));
        check("decimal(9,2)", r#"".25""#, Some(r#""0.25""#));
        check("decimal(9,2)", r#""001.25""#, Some(r#""1.25""#));
        check("decimal(9,2)", r#""125E-2""#, Some(r#""1.25""#));
        check("decimal(9,2)", r#""-0.00""#, Some(r#""0.00""#));
        check("decimal(9,7)", r#""1E-7""#, Some(r#""0.0000001""#));
        check("decimal(9,0)", r#""7.""#, Some(r#""7""#));
        check("decimal(9,0)", r#""-0""#, Some(r#""0""#));
        kept("decimal(38,0)", r#""99999999999999999999999999999999999999""#);
        none("decimal(9,2)", r#""12345678.90""#);
        none("decimal(9,2)", r#""1.2345""#);
        none("decimal(9,2)", r#""1""#);
        none("decimal(9,2)", r#""1e0""#);
        none("decimal(9,2)", "1.25");
        for bad in ["", "-", ".", "1.2.3", "1,25", "0x10", "1.25E", "1.25E+", "125E-999999", "NaN", "١.٢٥"]
        {
            none("decimal(9,2)", &Value::from(bad).to_string());
        }
        none("decimal(9,2147483647)", r#""0E-2147483647""#);

        kept("date", r#""2020-02-29""#);
        kept("date", r#""0001-01-01""#);
        kept("date", r#""9999-12-31""#);
        for bad in [
            "2020-02-30",
            "2021-02-29",
            "1900-02-29",
            "2020-04-31",
            "2020-13-01",
            "2020-00-01",
            "2020-01-00",
            "0000-01-01",
            "+10000-01-01",
            "20200101",
            "2020-1-1",
            "2020-01-01T",
            "",
        ] {
            none("date", &Value::from(bad).to_string());
        }
        none("date", "18321");

        kept("time", r#""10:00:00""#);
        kept("time", r#""10:00:00.123456""#);
        check("time", r#""10:00""#, Some(r#""10:00:00""#));
        check("time", r#""10:00:00.1""#, Some(r#""10:00:00.100000""#));
        check("time", r#""10:00:00.000""#, Some(r#""10:00:00""#));
        for bad in
            ["24:00:00", "23:60:00", "23:59:60", "10:00:00.", "10:00:00.1234567", "10", "1:00", "10:00:00Z"]
        {
            none("time", &Value::from(bad).to_string());
        }

        kept("timestamp", r#""2020-01-01T10:00:00.123456""#);
        check("timestamp", r#""2020-01-01t10:00""#, Some(r#""2020-01-01T10:00:00""#));
        kept("timestamptz", r#""2020-01-01T10:00:00+00:00""#);
        check("timestamptz", r#""2020-01-01T10:00:00.5Z""#, Some(r#""2020-01-01T10:00:00.500000+00:00""#));
        check("timestamptz", r#""2020-01-01T10:00:00-00:00""#, Some(r#""2020-01-01T10:00:00+00:00""#));
        none("timestamp", r#""2020-01-01T10:00:00+00:00""#);
        none("timestamp", r#""2020-01-01T10:00:00Z""#);
        none("timestamp", r#""2020-01-01 10:00:00""#);
        none("timestamp", r#""2020-01-01""#);
        none("timestamptz", r#""2020-01-01T10:00:00""#);
        none("timestamptz", r#""2020-01-01T10:00:00+01:00""#);
        none("timestamptz", r#""2020-01-01T10:00:00+00:00[UTC]""#);
        kept("timestamp_ns", r#""2020-01-01T10:00:00.123456789""#);
        kept("timestamp_ns", r#""2262-04-11T23:47:16.854775807""#);
        none("timestamp_ns", r#""2262-04-11T23:47:16.854775808""#);
        kept("timestamp_ns", r#""1677-09-21T00:12:43.145224192""#);
        none("timestamp_ns", r#""1677-09-21T00:12:43.145224191""#);
        kept("timestamptz_ns", r#""2020-01-01T10:00:00.123456789+00:00""#);
        none("timestamptz_ns", r#""2020-01-01T10:00:00.123456789""#);

        kept("uuid", r#""f79c3e09-677c-4bbd-a479-3f349cb785e7""#);
        check(
            "uuid",
            r#""F79C3E09-677C-4BBD-A479-3F349CB785E7""#,
            Some(r#""f79c3e09-677c-4bbd-a479-3f349cb785e7""#),
        );
        none("uuid", r#""abc""#);
        none("uuid", r#""f79c3e09677c4bbda4793f349cb785e7""#);
        none("uuid", r#""{f79c3e09-677c-4bbd-a479-3f349cb785e}""#);
        kept("fixed[4]", r#""000102FF""#);
        check("fixed[4]", r#""000102ff""#, Some(r#""000102FF""#));
        none("fixed[4]", r#""ABCD""#);
        none("fixed[4]", r#""0001020G""#);
        kept("binary", r#""""#);
        none("binary", r#""0""#);
        for ty in ["variant", "unknown", "geometry", "geography"] {
            none(ty, r#""x""#);
        }
        for (ty, json) in [(Type::Struct, "{}"), (Type::List, "[]"), (Type::Map, "{}")] {
            assert_eq!(canonical(&ty, &parsed(json)), None);
        }
    }

    #[test]
    fn sameness() {
        let check = |ty: &str, a: &str, b: &str, want: bool| {
            assert_eq!(same(&of(ty), &parsed(a), &parsed(b)), want, "{ty} {a} {b}");
        };
        check("double", "1e10", "1.0E10", true);
        check("double", "1", "1.0", true);
        check("double", "0.0", "-0.0", false);
        check("float", "0.1", "0.10000000149011612", true);
        check("double", "0.1", "0.10000000149011612", false);
        check("decimal(9,2)", r#""1.25""#, r#""125E-2""#, true);
        check("timestamptz", r#""2020-01-01T10:00:00Z""#, r#""2020-01-01T10:00:00+00:00""#, true);
        check("binary", r#""ab""#, r#""AB""#, true);
        check("uuid", r#""abc""#, r#""abc""#, true);
        check("uuid", r#""abc""#, r#""f79c3e09-677c-4bbd-a479-3f349cb785e7""#, false);
    }
}
