//! Histories as JSON, for a checker that is not ours: `tests/porcupine` reads them.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::checker::Timed;
use super::key::{Answer, Call, Condition, Request, Shown};

/// A key's history, and whether there should be an order for it.
pub(super) fn history(name: &str, versioned: bool, has_order: bool, rows: &[Timed<Request>]) -> Value {
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({ "name": name, "versioned": versioned, "has_order": has_order, "rows": rows })
}

/// Writes histories into a file of their own.
pub(super) fn write(directory: &Path, name: &str, histories: &[Value]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let name = name.replace('/', "-");
    fs::write(directory.join(format!("{name}.json")), serde_json::to_vec(histories)?)
}

fn row(row: &Timed<Request>) -> Value {
    let request = &row.operation;
    let (call, condition, of) = match request.call {
        Call::Put(condition) => ("put", condition, 0),
        Call::Delete(condition) => ("delete", condition, 0),
        Call::DeleteVersion(of) => ("delete_version", Condition::None, of),
        Call::Get => ("get", Condition::None, 0),
        Call::GetVersion(of) => ("get_version", Condition::None, of),
        Call::ListVersions => ("list_versions", Condition::None, 0),
    };
    let (condition, of) = match condition {
        Condition::None => ("", of),
        Condition::Absent => ("absent", of),
        Condition::Is(of) => ("is", of),
    };
    let mut found = 0;
    let mut listed = Vec::new();
    let answer = match &request.answer {
        None => "",
        Some(Answer::Done) => "done",
        Some(Answer::Refused) => "refused",
        Some(Answer::Missing) => "missing",
        Some(Answer::Found(label)) => {
            found = *label;
            "found"
        }
        Some(Answer::Shown(versions)) => {
            listed = versions.iter().map(shown).collect();
            "shown"
        }
    };
    json!({
        "start": row.start, "end": row.end, "label": request.label, "call": call, "condition": condition,
        "of": of, "answer": answer, "found": found, "shown": listed,
    })
}

fn shown(version: &Shown) -> Value {
    json!({ "label": version.label, "is_marker": version.is_marker })
}
