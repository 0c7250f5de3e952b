//! Branches and tags: the named references to snapshots.
//! `commit` and `table_metadata` call it. I1. `main` is a branch.

use super::Invalid;
use super::json::{self, Object};

/// The branch that `current-snapshot-id` mirrors.
pub(crate) const MAIN: &str = "main";

/// Validates the reference `name` and returns the id of its snapshot.
pub(crate) fn check(name: &str, o: &Object) -> Result<i64, Invalid> {
    let snapshot_id = json::i64_at(o, "snapshot-id")?;
    let kind = json::str_at(o, "type")?;
    let tag = kind.eq_ignore_ascii_case("tag");
    if !tag && !kind.eq_ignore_ascii_case("branch") {
        return Err(Invalid::new(format!("Invalid snapshot ref type: {}", json::clip(kind))));
    }
    if tag && name == MAIN {
        return Err(Invalid::new("Cannot set main to a tag: it must be a branch"));
    }
    let keep = json::opt_i32_at(o, "min-snapshots-to-keep")?;
    let age = json::opt_i64_at(o, "max-snapshot-age-ms")?;
    let refused = if tag && keep.is_some() {
        Some("Tags do not support setting minSnapshotsToKeep")
    } else if tag && age.is_some() {
        Some("Tags do not support setting maxSnapshotAgeMs")
    } else if keep.is_some_and(|n| n <= 0) {
        Some("Min snapshots to keep must be greater than 0")
    } else if age.is_some_and(|n| n <= 0) {
        Some("Max snapshot age must be greater than 0 ms")
    } else if json::opt_i64_at(o, "max-ref-age-ms")?.is_some_and(|n| n <= 0) {
        Some("Max reference age must be greater than 0")
    } else {
        None
    };
    refused.map_or(Ok(snapshot_id), |why| Err(Invalid::new(why)))
}

/// Rewrites a reference's type as the specification spells it, and drops retention that is null.
pub(crate) fn canonicalize(o: &mut Object) {
    if let Some(serde_json::Value::String(kind)) = o.get_mut("type") {
        kind.make_ascii_lowercase();
    }
    json::drop_nulls(o, &["min-snapshots-to-keep", "max-snapshot-age-ms", "max-ref-age-ms"]);
}

/// True when the reference is a tag.
pub(crate) fn is_tag(o: &Object) -> bool {
    o.get("type").and_then(serde_json::Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("tag"))
}

/// The snapshot an already validated reference names.
pub(crate) fn target(value: &serde_json::Value) -> Option<i64> {
    value.get("snapshot-id").and_then(serde_json::Value::as_i64)
}

#[cfg(test)]
mod tests {
    use super::{canonicalize, check as check_ref};
    use serde_json::{Value, json};

    #[test]
    fn canonical_form() {
        let mut o = json!({"snapshot-id": 1, "type": "BRANCH", "max-ref-age-ms": null, "x": null});
        canonicalize(o.as_object_mut().expect("object"));
        assert_eq!(o.to_string(), r#"{"snapshot-id":1,"type":"branch","x":null}"#);
    }

    #[test]
    fn rules() {
        let check = |name: &str, value: Value, want: Option<&str>| {
            let got = check_ref(name, value.as_object().expect("object")).err().map(|e| e.message);
            assert_eq!(got.as_deref(), want, "{value}");
        };
        check("main", json!({"snapshot-id": 1, "type": "branch"}), None);
        check(
            "b",
            json!({"snapshot-id": 1, "type": "branch", "min-snapshots-to-keep": 1,
            "max-snapshot-age-ms": 1, "max-ref-age-ms": 1}),
            None,
        );
        check("t", json!({"snapshot-id": 1, "type": "tag", "max-ref-age-ms": 1}), None);
        check("t", json!({"type": "tag"}), Some("Cannot parse missing long: snapshot-id"));
        check("t", json!({"snapshot-id": 1}), Some("Cannot parse missing string: type"));
        check("t", json!({"snapshot-id": 1, "type": "twig"}), Some("Invalid snapshot ref type: twig"));
        check(
            "main",
            json!({"snapshot-id": 1, "type": "tag"}),
            Some("Cannot set main to a tag: it must be a branch"),
        );
        check(
            "t",
            json!({"snapshot-id": 1, "type": "tag", "min-snapshots-to-keep": 1}),
            Some("Tags do not support setting minSnapshotsToKeep"),
        );
        check(
            "t",
            json!({"snapshot-id": 1, "type": "tag", "max-snapshot-age-ms": 1}),
            Some("Tags do not support setting maxSnapshotAgeMs"),
        );
        check(
            "b",
            json!({"snapshot-id": 1, "type": "branch", "min-snapshots-to-keep": 0}),
            Some("Min snapshots to keep must be greater than 0"),
        );
        check(
            "b",
            json!({"snapshot-id": 1, "type": "branch", "max-snapshot-age-ms": 0}),
            Some("Max snapshot age must be greater than 0 ms"),
        );
        check(
            "b",
            json!({"snapshot-id": 1, "type": "branch", "max-ref-age-ms": -1}),
            Some("Max reference age must be greater than 0"),
        );
    }
}
