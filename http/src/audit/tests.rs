//! The audit log as a whole: what is recorded, dropped, written and shown.
#![expect(clippy::disallowed_methods, reason = "files are written here, by no core")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::limits::AUDIT_LINE_BYTES_MAX;
use crate::source::Source;

fn record(audit: &Audit, at_ms: u64, name: &str, changes: bool, outcome: Outcome) {
    let decisions = Decisions::default();
    decisions.keep_allowed(audit.keeps_changes() && changes);
    decisions.note(outcome != Outcome::Refused, "s3:PutObject", &"arn:aws:s3:::b/k", Some(&"readwrite[0]"));
    audit.record(&AuditEvent {
        at_ms,
        request_id: "ID",
        api: "s3",
        operation: "PutObject",
        changes,
        principal: AuditPrincipal { kind: "user", name: Some(name), ..AuditPrincipal::default() },
        source: Source::plain("192.0.2.1:5".parse().expect("an address")),
        decisions: &decisions,
        issued: None,
        asked: None,
        status: 200,
        outcome,
        error: None,
        user_agent: None,
    });
}

/// Members of each line that was written.
fn events(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("nilas-audit-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&path));
    fs::create_dir(&path).expect("made");
    path
}

#[test]
fn what_is_recorded() {
    let check = |is_kept: bool, changes: bool, outcome: Outcome, want: bool| {
        let shared = Arc::new(AuditShared::new(1, is_kept));
        record(&Audit::new(shared.clone(), CoreId(0)), 1, "alice", changes, outcome);
        assert_eq!(shared.newest(9, |_| true).len(), usize::from(want), "{is_kept} {changes} {outcome:?}");
        assert_eq!(shared.cores[0].pop().is_some(), want && is_kept);
        assert_eq!(shared.cores[0].waiting_bytes.load(Relaxed), 0);
    };
    for outcome in Outcome::ALL {
        for changes in [false, true] {
            check(true, changes, outcome, changes || outcome.is_refusal());
            check(false, changes, outcome, outcome.is_refusal());
        }
    }
}

#[test]
fn the_newest_events_of_all_cores() {
    let shared = Arc::new(AuditShared::new(2, true));
    let cores = [0, 1].map(|core| Audit::new(shared.clone(), CoreId(core)));
    for at_ms in 0..2 * AUDIT_RING_EVENTS as u64 + 10 {
        let name = if at_ms % 3 == 0 { "alice" } else { "bob" };
        record(&cores[usize::from(at_ms % 2 == 1)], at_ms, name, true, Outcome::Done);
    }
    let all = shared.newest(10_000, |_| true);
    assert_eq!(all.len(), 2 * AUDIT_RING_EVENTS);
    assert!(all.is_sorted_by(|a, b| a.at_ms > b.at_ms));
    let alice = shared.newest(5, |line| line.user.as_deref() == Some("alice"));
    assert_eq!(alice.len(), 5);
    assert!(alice.iter().all(|line| line.at_ms % 3 == 0 && line.json.contains("alice")));
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let shared = Arc::new(AuditShared::new(1, true));
    let audit = Audit::new(shared.clone(), CoreId(0));
    let beyond = 17;
    for at_ms in 0..(AUDIT_QUEUE_LINES_MAX + beyond) as u64 {
        record(&audit, at_ms, "alice", true, Outcome::Done);
    }
    assert_eq!(shared.figures.dropped.load(Relaxed), beyond as u64);
    let file = AuditFile::of_test(usize::MAX);
    file.write_all_of(&shared);
    let written = file.with_test(|sink| events(&sink.taken));
    assert_eq!(written.len(), AUDIT_QUEUE_LINES_MAX + 1);
    assert_eq!((&written[0]["event"], &written[0]["lines"]), (&"dropped".into(), &beyond.into()));
    assert_eq!(shared.figures.lines.load(Relaxed), AUDIT_QUEUE_LINES_MAX as u64);
    const { assert!(AUDIT_QUEUE_LINES_MAX * 512 <= AUDIT_QUEUE_BYTES_MAX) };
    const { assert!(AUDIT_LINE_BYTES_MAX < AUDIT_QUEUE_BYTES_MAX) };
}

#[test]
fn throttled_requests_do_not_fill_the_log() {
    let shared = Arc::new(AuditShared::new(1, true));
    let audit = Audit::new(shared.clone(), CoreId(0));
    for nth in 0..1_000 {
        record(&audit, 1_000 + nth, "alice", false, Outcome::Throttled);
    }
    record(&audit, 1_999, "bob", false, Outcome::Unproven);
    record(&audit, 2_000, "alice", false, Outcome::Throttled);
    let kept = AUDIT_THROTTLED_LINES_PER_S as usize + 2;
    assert_eq!(shared.newest(10_000, |_| true).len(), kept);
    assert_eq!(shared.figures.dropped.load(Relaxed), 1_002 - kept as u64);
}

#[test]
fn a_full_disk_loses_lines_and_no_others() {
    let shared = Arc::new(AuditShared::new(2, true));
    let audit = Audit::new(shared.clone(), CoreId(1));
    let three =
        |first: u64| (first..first + 3).for_each(|ms| record(&audit, ms, "alice", true, Outcome::Done));
    three(0);
    let line = shared.newest(1, |_| true)[0].json.len() + 1;
    // One line and a half.
    let file = AuditFile::of_test(line + line / 2);
    file.write_all_of(&shared);
    assert_eq!(shared.figures.dropped.load(Relaxed), 2);
    assert_eq!(shared.figures.errors.load(Relaxed), 1);
    // No room at all.
    three(3);
    file.write_all_of(&shared);
    assert_eq!(shared.figures.dropped.load(Relaxed), 5);
    file.with_test(|sink| sink.room = usize::MAX);
    three(6);
    file.write_all_of(&shared);
    let text = file.with_test(|sink| String::from_utf8(sink.taken.clone()).expect("UTF-8"));
    let lines: Vec<_> = text.lines().map(serde_json::from_str::<Value>).collect();
    let at = |nth: usize| lines[nth].as_ref().map(|event| event["time"].as_str().map(|t| t[20..].to_owned()));
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(at(0).expect("whole").as_deref(), Some("000Z"));
    assert!(lines[1].is_err(), "half a line");
    assert_eq!(lines[2].as_ref().expect("whole")["lines"], 5);
    for nth in 3..6 {
        assert_eq!(at(nth).expect("whole"), Some(format!("{:03}Z", nth + 3)));
    }
    assert_eq!(shared.figures.lines.load(Relaxed), 4);
}

#[test]
fn a_file_is_added_to_and_made_anew_when_it_is_renamed() {
    let directory = directory("rename");
    let path = directory.join("audit.log");
    let target = AuditTarget::File(path.clone());
    let shared = Arc::new(AuditShared::new(1, true));
    let audit = Audit::new(shared.clone(), CoreId(0));
    let write = |file: &AuditFile| {
        record(&audit, 1, "alice", true, Outcome::Done);
        file.write_all_of(&shared);
    };
    let lines = |path: &PathBuf| events(&fs::read(path).expect("there")).len();
    let file = AuditFile::open(&target).expect("opened");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    write(&file);
    write(&file);
    drop(file);
    let file = AuditFile::open(&target).expect("opened");
    write(&file);
    assert_eq!(lines(&path), 3);
    let old = directory.join("audit.log.1");
    fs::rename(&path, &old).expect("renamed");
    write(&file);
    assert_eq!((lines(&old), lines(&path)), (3, 1));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    fs::remove_file(&path).expect("removed");
    write(&file);
    assert_eq!(lines(&path), 1);
    // Cut to nothing, as some rotate.
    fs::write(&path, b"").expect("cut");
    write(&file);
    assert_eq!(lines(&path), 1);
    drop(fs::remove_dir_all(directory));
}

#[test]
fn what_cannot_be_opened_is_named() {
    let directory = directory("open");
    let error = AuditFile::open(&AuditTarget::File(directory.clone())).expect_err("a directory");
    assert!(error.to_string().starts_with(&format!("audit log {}: ", directory.display())), "{error}");
    drop(fs::remove_dir_all(directory));
}
