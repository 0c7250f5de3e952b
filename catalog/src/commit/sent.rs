//! Digests of a commit as it was sent, by which a repetition of it is recognised. Pure.
//!
//! `rest` takes them from the parsed JSON before updates are read from it; `store::recognise` keeps and compares them.
//! A digest covers the canonical form: members in byte order of their names, no white space, numbers by their digits,
//! strings without escapes. So a proxy that writes the JSON anew changes no digest, and anything that a server acts on does.
//! I1. The digest of a snapshot covers the table's name as addressed: what was sent to one table is never known of another.
//! I2. Two different values never have the same canonical bytes: every one is preceded by its kind, every text by its length.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What the parts of one table's commit are known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentChange {
    /// Of all that was sent for the table: its name, requirements and updates.
    pub whole: u128,
    /// Of each `add-snapshot`, in the order sent.
    pub snapshots: Vec<SentSnapshot>,
}

/// What one `add-snapshot` is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentSnapshot {
    /// The snapshot's id.
    pub id: i64,
    /// Of the snapshot object, and of the table's name.
    pub sent: u128,
    /// Of the path of its manifest list; 0 when it names none.
    pub list: u64,
}

impl SentChange {
    /// Takes the digests of a commit to the table that is addressed as `name`. `None` when `requirements` or `updates` is no list.
    pub fn of(name: &str, requirements: &Value, updates: &Value) -> Option<SentChange> {
        let mut snapshots = Vec::new();
        let mut whole = Vec::with_capacity(512);
        text(&mut whole, name);
        write(&mut whole, requirements);
        for update in updates.as_array()? {
            let added = update.get("snapshot").filter(|_| update["action"] == "add-snapshot");
            match added.and_then(|added| SentSnapshot::of(name, added)) {
                // Its own digest stands for it.
                Some(added) => {
                    whole.push(b'+');
                    whole.extend_from_slice(&added.sent.to_le_bytes());
                    snapshots.push(added);
                }
                None => write(&mut whole, update),
            }
        }
        requirements.is_array().then(|| SentChange { whole: digest(&whole), snapshots })
    }
}

impl SentSnapshot {
    fn of(name: &str, added: &Value) -> Option<SentSnapshot> {
        let id = added.get("snapshot-id")?.as_i64()?;
        let list = added.get("manifest-list").and_then(Value::as_str);
        let mut canonical = Vec::with_capacity(1_024);
        text(&mut canonical, name);
        write(&mut canonical, added);
        Some(SentSnapshot {
            id,
            sent: digest(&canonical),
            list: list.map_or(0, |list| short(list.as_bytes())),
        })
    }
}

/// Of a request that changes several tables: the digest of their digests, in the order sent. One change stands for itself.
pub fn whole_request<'a>(changes: impl ExactSizeIterator<Item = &'a SentChange>) -> u128 {
    let several = changes.len() > 1;
    let digests: Vec<u128> = changes.map(|change| change.whole).collect();
    match digests.first() {
        Some(first) if !several => *first,
        _ => digest(&digests.iter().flat_map(|whole| whole.to_le_bytes()).collect::<Vec<u8>>()),
    }
}

/// Returns the first 128 bits of SHA-256.
fn digest(bytes: &[u8]) -> u128 {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash.iter().take(16).rev().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// Returns the first 64 bits of SHA-256.
pub fn short(bytes: &[u8]) -> u64 {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash.iter().take(8).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Appends the canonical form of `value`.
fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(b'0'),
        Value::Bool(false) => out.push(b'f'),
        Value::Bool(true) => out.push(b't'),
        Value::Number(number) => {
            out.push(b'#');
            text(out, number.as_str());
        }
        Value::String(string) => {
            out.push(b'"');
            text(out, string);
        }
        Value::Array(items) => {
            out.push(b'[');
            count(out, items.len());
            items.iter().for_each(|item| write(out, item));
        }
        Value::Object(members) => {
            out.push(b'{');
            count(out, members.len());
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in members {
                text(out, name);
                write(out, value);
            }
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).expect("test JSON")
    }

    fn of(updates: &str) -> SentChange {
        SentChange::of("a.t", &json!([]), &parsed(updates)).expect("lists")
    }

    const APPEND: &str = r#"[{"action":"add-snapshot","snapshot":{"snapshot-id":7,"timestamp-ms":1,
        "manifest-list":"s3://lake/l.avro","summary":{"operation":"append","n":"1"}}}]"#;

    #[test]
    fn what_means_the_same_has_the_same_digest() {
        let other = r#"[ {"snapshot": {"summary":{"n":"\u0031","operation":"append"},
            "manifest-list":"s3:\/\/lake/l.avro","timestamp-ms":1,"snapshot-id":7},"action":"add-snapshot"}]"#;
        assert_eq!(of(APPEND), of(other));
        assert_eq!(of(APPEND).snapshots.first().map(|snapshot| snapshot.id), Some(7));
    }

    #[test]
    fn what_differs_has_another() {
        let base = of(APPEND);
        let check = |from: &str, to: &str, snapshot_differs: bool| {
            let changed = of(&APPEND.replace(from, to));
            assert_ne!(changed.whole, base.whole, "{from} → {to}");
            assert_eq!(changed.snapshots != base.snapshots, snapshot_differs, "{from} → {to}");
        };
        check("\"timestamp-ms\":1", "\"timestamp-ms\":2", true);
        check("\"timestamp-ms\":1", "\"timestamp-ms\":1.0", true);
        check("\"timestamp-ms\":1", "\"timestamp-ms\":\"1\"", true);
        check("l.avro", "m.avro", true);
        check("\"n\":\"1\"", "\"n\":\"1\",\"m\":null", true);
        check("\"snapshot-id\":7", "\"snapshot-id\":8", true);
        check("}}}]", "}}},{\"action\":\"set-location\",\"location\":\"x\"}]", false);
        let elsewhere = SentChange::of("a.u", &json!([]), &parsed(APPEND)).expect("lists");
        assert_ne!(elsewhere.snapshots, base.snapshots);
        assert_ne!(elsewhere.whole, base.whole);
        let required = SentChange::of("a.t", &json!([{"type": "assert-create"}]), &parsed(APPEND));
        let required = required.expect("lists");
        assert_ne!(required.whole, base.whole);
        assert_eq!(required.snapshots, base.snapshots);
    }

    #[test]
    fn lists_and_texts_do_not_run_into_each_other() {
        let texts =
            ["[]", "[[]]", "[[],[]]", "[\"\"]", "[\"a\",\"b\"]", "[\"ab\"]", "[{\"a\":\"b\"}]", "[null]"];
        let digests: HashSet<u128> = texts.iter().map(|text| of(text).whole).collect();
        assert_eq!(digests.len(), texts.len());
    }

    #[test]
    fn a_request_is_the_order_of_its_changes() {
        let (one, two) = (of(APPEND), of("[]"));
        assert_eq!(whole_request([&one].into_iter()), one.whole);
        assert_ne!(whole_request([&one, &two].into_iter()), whole_request([&two, &one].into_iter()));
    }
}
