//! The policy of a form: until when it holds, and what every field of the form must be.
//!
//! Read and held against the form by `post_object`. Pure.
//! Source: Amazon S3 API, "POST policy". Texts are S3's.
//!
//! I1. Every field of a form is named by a condition, but for the policy and its signature and what starts with `x-ignore-`.
//! I2. Conditions see values as they will be used: behind the replacement of `${filename}`.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nilas_engine::calendar::days_of_date;
use serde_json::Value;

use crate::body::FormFields;
use crate::render::error::S3Error;

/// A policy, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostPolicy {
    /// Milliseconds since 1970.
    expires_ms: u64,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Field {
        /// In lower case; none when it is not written as one.
        field: Option<String>,
        test: Test,
        value: String,
        /// As S3 writes it in its answer.
        spelled: String,
    },
    Length(RangeInclusive<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    StartsWith,
}

/// The fields that no condition has to name.
const FREE: [&str; 5] = ["policy", "x-amz-signature", "awsaccesskeyid", "signature", "file"];

impl PostPolicy {
    /// Reads the field `policy`.
    pub fn parse(base64: &str) -> Result<PostPolicy, S3Error> {
        let bytes = STANDARD.decode(base64.trim()).map_err(|_| invalid("Invalid JSON."))?;
        let document: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("Invalid JSON."))?;
        let document = document.as_object().ok_or_else(|| invalid("Invalid JSON."))?;
        let expiration = document.get("expiration").ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires_ms = expiration.as_str().and_then(parse_time).ok_or_else(|| {
            let text = expiration.as_str().map_or_else(|| expiration.to_string(), str::to_owned);
            invalid(&format!("Invalid 'expiration' value: '{text}'"))
        })?;
        let conditions = document.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| invalid("Policy missing conditions."))?;
        let conditions = conditions.iter().map(Condition::parse).collect::<Result<_, _>>()?;
        Ok(PostPolicy { expires_ms, conditions })
    }

    /// Holds the policy against a form for `bucket`; gives how many bytes its file may have.
    pub fn check(
        &self,
        bucket: &str,
        form: &FormFields,
        now_ms: u64,
    ) -> Result<RangeInclusive<u64>, S3Error> {
        let refuse = |why: String| Err(S3Error::PolicyRefuses { why });
        if self.expires_ms < now_ms {
            return refuse("Policy expired.".to_owned());
        }
        let mut length = 0..=u64::MAX;
        for condition in &self.conditions {
            match condition {
                Condition::Length(wanted) => {
                    length = *wanted.start().max(length.start())..=*wanted.end().min(length.end());
                }
                Condition::Field { field, test, value, spelled } => {
                    let found = field.as_deref().map(|field| match field {
                        "bucket" => bucket,
                        field => form.get(field).unwrap_or_default(),
                    });
                    let is_list = field.as_deref() == Some("content-type");
                    let holds = found.is_some_and(|found| match test {
                        Test::Equals => found == value,
                        Test::StartsWith if is_list => {
                            found.split(',').all(|one| one.trim_start().starts_with(value.as_str()))
                        }
                        Test::StartsWith => found.starts_with(value.as_str()),
                    });
                    if !holds {
                        return refuse(format!("Policy Condition failed: {spelled}"));
                    }
                }
            }
        }
        let names = |wanted: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Field { field, .. } => field.as_deref() == Some(wanted),
                Condition::Length(_) => false,
            })
        };
        let sent = form.fields.iter().map(|(name, _)| name.as_str());
        let extra = sent
            .filter(|name| !FREE.contains(name) && !name.starts_with("x-ignore-"))
            .chain(["bucket"])
            .find(|name| !names(name));
        match extra {
            None => Ok(length),
            Some(name) => refuse(format!("Extra input fields: {name}")),
        }
    }
}

impl Condition {
    fn parse(value: &Value) -> Result<Condition, S3Error> {
        match value {
            Value::Object(members) => {
                let mut members = members.iter();
                let (Some((name, value)), None) = (members.next(), members.next()) else {
                    return Err(invalid(
                        "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
                    ));
                };
                let value = value
                    .as_str()
                    .ok_or_else(|| invalid("Invalid Simple-Condition: value must be a string."))?;
                Ok(Condition::field(Test::Equals, "eq", &format!("${name}"), value))
            }
            Value::Array(parts) => Condition::parse_list(parts),
            _ => Err(invalid("Invalid Condition: a condition must be an object or a list.")),
        }
    }

    fn parse_list(parts: &[Value]) -> Result<Condition, S3Error> {
        let operation = parts.first().and_then(Value::as_str).unwrap_or_default();
        let test = match operation.to_ascii_lowercase().as_str() {
            "eq" => Some(Test::Equals),
            "starts-with" => Some(Test::StartsWith),
            "content-length-range" => None,
            _ => return Err(invalid(&format!("Invalid Condition: unknown operation '{operation}'."))),
        };
        let [_, first, second] = parts else {
            return Err(invalid(&format!("Invalid {operation}: wrong number of arguments.")));
        };
        let bad = |what: &str| invalid(&format!("Invalid {operation}: {what}."));
        let Some(test) = test else {
            let number = |value: &Value| value.as_u64().or_else(|| super::unsigned(value.as_str()?));
            let range = number(first).zip(number(second));
            let (first, second) = range.ok_or_else(|| bad("values must be numbers"))?;
            return Ok(Condition::Length(first..=second));
        };
        match (first.as_str(), second.as_str()) {
            (Some(field), Some(value)) => {
                let operation = if test == Test::Equals { "eq" } else { "starts-with" };
                Ok(Condition::field(test, operation, field, value))
            }
            _ => Err(bad("values must be strings")),
        }
    }

    fn field(test: Test, operation: &str, field: &str, value: &str) -> Condition {
        Condition::Field {
            field: field.strip_prefix('$').map(str::to_lowercase),
            test,
            value: value.to_owned(),
            spelled: format!("[\"{operation}\", {}, {}]", Value::from(field), Value::from(value)),
        }
    }
}

fn invalid(why: &str) -> S3Error {
    S3Error::InvalidPolicyDocument { message: format!("Invalid Policy: {why}") }
}

/// `2007-12-01T12:00:00.000Z`, with or without milliseconds, to milliseconds since 1970.
fn parse_time(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |text: &str, len: usize| super::unsigned::<u64>(text).filter(|_| text.len() == len);
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let days = days_of_date(number(year, 4)?, number(month, 2)?, number(day, 2)?)?;
    let (clock, milliseconds) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, number(fraction, 3)?),
        None => (clock, 0),
    };
    let mut clock = clock.split(':');
    let mut next = |max: u64| number(clock.next()?, 2).filter(|value| *value <= max);
    let (hour, minute, second) = (next(23)?, next(59)?, next(59)?);
    (clock.next().is_none() && date.next().is_none())
        .then(|| (days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000 + milliseconds)
}

/// Reads arbitrary bytes as a policy, in base64 and as they are: nothing may panic.
pub fn fuzz_post_policy(input: &[u8]) {
    let form = FormFields { fields: vec![("key".into(), "k".into())], filename: String::new() };
    let texts = [String::from_utf8_lossy(input).into_owned(), STANDARD.encode(input)];
    for policy in texts.iter().filter_map(|text| PostPolicy::parse(text).ok()) {
        if let Ok(length) = policy.check("b", &form, 0) {
            assert!(!policy.conditions.is_empty() && (length.is_empty() || length.start() <= length.end()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUTURE: &str = "2030-01-01T00:00:00.000Z";
    const NOW_MS: u64 = 1_700_000_000_000;

    fn parse(text: &str) -> Result<PostPolicy, String> {
        PostPolicy::parse(&STANDARD.encode(text)).map_err(|failure| {
            let answer = failure.answer();
            assert_eq!((answer.status.as_u16(), answer.code), (400, "InvalidPolicyDocument"));
            answer.message.into_owned()
        })
    }

    fn check_bad(text: &str, why: &str) {
        assert_eq!(parse(text), Err(format!("Invalid Policy: {why}")), "{text}");
    }

    #[test]
    fn documents() {
        for text in ["", "expiration", "[]", "{", "{\"expiration\":"] {
            check_bad(text, "Invalid JSON.");
        }
        let bad = PostPolicy::parse("{policy}").expect_err("no base64");
        assert_eq!(bad.answer().message, "Invalid Policy: Invalid JSON.");
        check_bad(r#"{"conditions":[]}"#, "Policy missing expiration.");
        check_bad(r#"{"EXPIRATION":"2030-01-01T00:00:00Z","conditions":[]}"#, "Policy missing expiration.");
        for text in
            ["tomorrow", "2999-01-01 00:00:00", "2999-01-01T00:00:00+00:00", "2999-02-30T00:00:00Z", ""]
        {
            let document = format!(r#"{{"expiration":"{text}","conditions":[]}}"#);
            check_bad(&document, &format!("Invalid 'expiration' value: '{text}'"));
        }
        for more in ["", r#","CONDITIONS":[]"#, r#","conditions":{}"#] {
            check_bad(&format!(r#"{{"expiration":"{FUTURE}"{more}}}"#), "Policy missing conditions.");
        }
        let one = "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.";
        for (condition, why) in [
            ("{}", one),
            (r#"{"acl":"private","key":"k"}"#, one),
            (r#"{"acl":1}"#, "Invalid Simple-Condition: value must be a string."),
            (r#"["eq","$key"]"#, "Invalid eq: wrong number of arguments."),
            (r#"["ends-with","$key","x"]"#, "Invalid Condition: unknown operation 'ends-with'."),
            (r#"["content-length-range",0]"#, "Invalid content-length-range: wrong number of arguments."),
            (r#"["content-length-range",-1,0]"#, "Invalid content-length-range: values must be numbers."),
            (r#"["content-length-range",0,"x"]"#, "Invalid content-length-range: values must be numbers."),
        ] {
            check_bad(&format!(r#"{{"expiration":"{FUTURE}","conditions":[{condition}]}}"#), why);
        }
    }

    fn hold(conditions: &str, fields: &[(&str, &str)], want: Result<RangeInclusive<u64>, &str>) {
        let document = format!(r#"{{"expiration":"{FUTURE}","conditions":[{{"bucket":"b"}},{conditions}]}}"#);
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let form = FormFields { fields, filename: String::new() };
        let got = parse(&document).expect("sound").check("b", &form, NOW_MS);
        let got = got.map_err(|failure| {
            let answer = failure.answer();
            assert_eq!((answer.status.as_u16(), answer.code), (403, "AccessDenied"));
            answer.message.into_owned()
        });
        let want = want.map_err(|why| format!("Invalid according to Policy: {why}"));
        assert_eq!(got, want, "{conditions}");
    }

    #[test]
    fn conditions() {
        let any = 0..=u64::MAX;
        let key = [("key", "a/b")];
        hold(r#"["eq","$key","a/b"]"#, &key, Ok(any.clone()));
        hold(r#"{"KeY":"a/b"}"#, &key, Ok(any.clone()));
        hold(r#"["StArTs-WiTh","$KEY","a/"]"#, &key, Ok(any.clone()));
        hold(r#"["starts-with","$key",""],["starts-with","$acl",""]"#, &key, Ok(any.clone()));
        hold(r#"["eq","$key","a/c"]"#, &key, Err(r#"Policy Condition failed: ["eq", "$key", "a/c"]"#));
        hold(r#"{"Key":"A/b"}"#, &key, Err(r#"Policy Condition failed: ["eq", "$Key", "A/b"]"#));
        hold(r#"["eq","key","a/b"]"#, &key, Err(r#"Policy Condition failed: ["eq", "key", "a/b"]"#));
        hold(r#"{"bucket":"c"}"#, &[], Err(r#"Policy Condition failed: ["eq", "$bucket", "c"]"#));
        hold(r#"{"acl":"x"}"#, &[], Err(r#"Policy Condition failed: ["eq", "$acl", "x"]"#));
        let images = r#"["starts-with","$Content-Type","image/"]"#;
        hold(images, &[("content-type", "image/png, image/gif")], Ok(any.clone()));
        let failed = r#"Policy Condition failed: ["starts-with", "$Content-Type", "image/"]"#;
        hold(images, &[("content-type", "image/png,text/html")], Err(failed));
        hold(r#"{"acl":"private"}"#, &[("acl", "private"), ("key", "k")], Err("Extra input fields: key"));
        let free = [("policy", "p"), ("x-amz-signature", "s"), ("x-ignore-a", "1"), ("key", "k")];
        hold(r#"{"key":"k"}"#, &free, Ok(any));
        hold(r#"["content-length-range",5,"10"],["content-length-range",1,7]"#, &[], Ok(5..=7));
    }

    #[test]
    fn the_bucket_and_the_time() {
        let document =
            |conditions: &str| format!(r#"{{"expiration":"{FUTURE}","conditions":[{conditions}]}}"#);
        let form = FormFields::default();
        let refused = |policy: &str, now_ms| {
            let policy = parse(policy).expect("sound");
            policy.check("b", &form, now_ms).expect_err("refused").answer().message.into_owned()
        };
        let prefix = "Invalid according to Policy: ";
        assert_eq!(refused(&document(""), NOW_MS), format!("{prefix}Extra input fields: bucket"));
        assert_eq!(refused(&document(""), 1_893_456_000_001), format!("{prefix}Policy expired."));
        assert_eq!(parse_time(FUTURE), Some(1_893_456_000_000));
        assert_eq!(parse_time("2030-01-01T00:00:00Z"), Some(1_893_456_000_000));
    }

    #[test]
    fn fuzz_corpus() {
        for text in ["", "{", r#"{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq","$key","k"]]}"#] {
            fuzz_post_policy(text.as_bytes());
        }
    }
}
