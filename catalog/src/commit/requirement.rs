//! Requirements: what a committer saw, checked against the table as it is.
//! `rest` parses them, `store` checks them on the owner's core.
//! I1. `assert-create` stands alone.

use serde_json::Value;

use super::CommitError;
use crate::limits::{REQUIREMENTS_MAX, UPDATE_DEPTH_MAX};
use crate::spec::TableMetadata;
use crate::spec::json::{self, Object};

/// One requirement of a table commit, by its `type` in the REST spec.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the names of the specification")]
pub enum Requirement {
    /// `assert-create`: the table does not exist.
    AssertCreate,
    /// `assert-table-uuid`, compared without case.
    AssertTableUuid(String),
    /// `assert-ref-snapshot-id`; `None`: the ref does not exist.
    AssertRefSnapshotId(String, Option<i64>),
    /// `assert-last-assigned-field-id`.
    AssertLastAssignedFieldId(i32),
    /// `assert-current-schema-id`.
    AssertCurrentSchemaId(i32),
    /// `assert-last-assigned-partition-id`.
    AssertLastAssignedPartitionId(i32),
    /// `assert-default-spec-id`.
    AssertDefaultSpecId(i32),
    /// `assert-default-sort-order-id`.
    AssertDefaultSortOrderId(i32),
}

/// Reads the `requirements` list of a commit. Malformed or of unknown type: [`CommitError::BadRequest`].
pub fn parse_requirements(v: &Value) -> Result<Vec<Requirement>, CommitError> {
    let list = super::update::list(v, "requirements", REQUIREMENTS_MAX)?;
    list.iter().map(parse).collect()
}

/// Checks every requirement against the table, or against its absence.
///
/// Unmet: [`CommitError::Failed`] with the Java text. `assert-create` beside others: [`CommitError::IllegalArgument`].
pub fn check(requirements: &[Requirement], base: Option<&TableMetadata>) -> Result<(), CommitError> {
    let creates = requirements.iter().any(Requirement::is_assert_create);
    if let Some(other) = requirements.iter().find(|r| creates && !r.is_assert_create()) {
        return Err(CommitError::illegal(format!("Invalid create requirements: [{other:?}]")));
    }
    requirements.iter().try_for_each(|r| match r.unmet(base) {
        None => Ok(()),
        Some(why) => Err(CommitError::Failed(format!("Requirement failed: {why}"))),
    })
}

impl Requirement {
    /// True for `assert-create`.
    pub fn is_assert_create(&self) -> bool {
        *self == Requirement::AssertCreate
    }

    fn unmet(&self, base: Option<&TableMetadata>) -> Option<String> {
        let Some(base) = base else {
            // as in Java, an absent table has no last ids to compare
            return match self {
                Requirement::AssertCreate
                | Requirement::AssertLastAssignedFieldId(_)
                | Requirement::AssertLastAssignedPartitionId(_)
                | Requirement::AssertRefSnapshotId(_, None) => None,
                _ => Some("table does not exist".to_owned()),
            };
        };
        let changed = |what: &str, wanted: i32, key: &str| {
            let found = base.integer(key);
            (found != i64::from(wanted)).then(|| format!("{what} changed: expected id {wanted} != {found}"))
        };
        match self {
            Requirement::AssertCreate => Some("table already exists".to_owned()),
            Requirement::AssertTableUuid(uuid) => (!uuid.eq_ignore_ascii_case(base.uuid()))
                .then(|| format!("UUID does not match: expected {} != {}", base.uuid(), json::clip(uuid))),
            Requirement::AssertRefSnapshotId(name, wanted) => unmet_ref(base, name, *wanted),
            Requirement::AssertLastAssignedFieldId(id) => {
                changed("last assigned field id", *id, "last-column-id")
            }
            Requirement::AssertCurrentSchemaId(id) => changed("current schema", *id, "current-schema-id"),
            Requirement::AssertLastAssignedPartitionId(id) => {
                changed("last assigned partition id", *id, "last-partition-id")
            }
            Requirement::AssertDefaultSpecId(id) => changed("default partition spec", *id, "default-spec-id"),
            Requirement::AssertDefaultSortOrderId(id) => {
                changed("default sort order", *id, "default-sort-order-id")
            }
        }
    }
}

fn unmet_ref(base: &TableMetadata, name: &str, wanted: Option<i64>) -> Option<String> {
    let clipped = json::clip(name);
    match (base.reference(name), wanted) {
        (None, None) => None,
        (None, Some(id)) => Some(format!("branch or tag {clipped} is missing, expected {id}")),
        (Some((found, _)), Some(id)) if found == id => None,
        (Some((found, tag)), wanted) => {
            let kind = if tag { "tag" } else { "branch" };
            Some(match wanted {
                None => format!("{kind} {clipped} was created concurrently"),
                Some(id) => format!("{kind} {clipped} has changed: expected id {id} != {found}"),
            })
        }
    }
}

fn parse(v: &Value) -> Result<Requirement, CommitError> {
    if json::depth(v) > UPDATE_DEPTH_MAX {
        return Err(CommitError::BadRequest(format!(
            "Cannot parse requirement: nested over {UPDATE_DEPTH_MAX} levels"
        )));
    }
    let o = json::object(v, "update requirement").map_err(CommitError::malformed)?;
    let kind = json::str_at(o, "type").map_err(CommitError::malformed)?;
    let int = |key: &str| json::i32_at(o, key).map_err(CommitError::malformed);
    Ok(match kind {
        "assert-create" => Requirement::AssertCreate,
        "assert-table-uuid" => Requirement::AssertTableUuid(text(o, "uuid")?),
        "assert-ref-snapshot-id" => {
            // some clients leave out a null snapshot-id, and Java reads that as null
            let id = json::opt_i64_at(o, "snapshot-id").map_err(CommitError::malformed)?;
            Requirement::AssertRefSnapshotId(text(o, "ref")?, id)
        }
        "assert-last-assigned-field-id" => {
            Requirement::AssertLastAssignedFieldId(int("last-assigned-field-id")?)
        }
        "assert-current-schema-id" => Requirement::AssertCurrentSchemaId(int("current-schema-id")?),
        "assert-last-assigned-partition-id" => {
            Requirement::AssertLastAssignedPartitionId(int("last-assigned-partition-id")?)
        }
        "assert-default-spec-id" => Requirement::AssertDefaultSpecId(int("default-spec-id")?),
        "assert-default-sort-order-id" => {
            Requirement::AssertDefaultSortOrderId(int("default-sort-order-id")?)
        }
        "assert-view-uuid" => {
            return Err(CommitError::BadRequest(
                "Cannot validate assert-view-uuid against a table".to_owned(),
            ));
        }
        other => {
            let other = json::clip(other);
            return Err(CommitError::BadRequest(format!("Unrecognized update requirement type: {other}")));
        }
    })
}

fn text(o: &Object, key: &str) -> Result<String, CommitError> {
    json::str_at(o, key).map(str::to_owned).map_err(CommitError::malformed)
}
