//! `nilas drive inspect` and `nilas drive check`: opens drives for reading only, has the engine look at them, and puts
//! what it found into text or JSON.
//!
//! `tools/nilas` prints the answer. I1. Drives are opened without the right to write. I2. A drive that a server holds is
//! refused, and a server that starts meanwhile is, unless asked to go ahead by force.
#![expect(clippy::disallowed_methods, reason = "a tool of its own: there are no cores")]

use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use nilas_engine::drive::{Buffer, Drive};
use nilas_engine::format::superblock::Superblock;
use nilas_engine::format::zone::{ZoneKind, ZoneState};
use nilas_engine::inspect::{CheckReport, DriveFacts, Found, Problem, ShardFacts, check, inspect, run};
use nilas_engine::units::BLOCK_BYTES;
use nilas_engine::{DamagedUnit, DriveCause, DriveError, DriveOffset, DriveOp};
use serde_json::{Value, json};

/// What a command is asked to do.
#[derive(Clone, Debug)]
pub struct DriveTool {
    /// The drives, for a check all of a store in their order.
    pub paths: Vec<PathBuf>,
    /// JSON in place of text.
    pub json: bool,
    /// Look even though a server holds the drives: what changes meanwhile may look like damage.
    pub force: bool,
}

/// What a command answers.
#[derive(Clone, Debug)]
pub struct ToolAnswer {
    /// For standard output.
    pub text: String,
    /// 0: nothing is wrong; 1: something is damaged.
    pub code: u8,
}

/// Says what is on each drive. The error is one line: what could not be read.
pub fn inspect_drives(tool: &DriveTool) -> Result<ToolAnswer, String> {
    let mut all = Vec::new();
    for drive in open_all(tool)? {
        all.push(run(inspect(&drive)).map_err(|e| e.to_string())?);
    }
    let is_fine = |facts: &DriveFacts| {
        let copies = facts.superblocks.iter().all(|(_, found)| !matches!(found, Found::Damaged(_)));
        let zones = facts.zones.iter().all(|zone| zone.state != ZoneState::Damaged);
        let anchors = facts.shards.iter().flat_map(|shard| &shard.anchors);
        let anchors = anchors.clone().all(|(_, found)| !matches!(found, Found::Damaged(_)));
        copies && zones && anchors && facts.refused.is_empty()
    };
    let code = u8::from(!all.iter().all(is_fine));
    let text = match tool.json {
        true => format!("{:#}\n", Value::from_iter(all.iter().map(drive_json))),
        false => all.iter().map(drive_text).collect(),
    };
    Ok(ToolAnswer { text, code })
}

/// Verifies everything on the drives of a store; `progress` gets a line now and then. The error is one line: what could
/// not be read, or why the drives are no store.
pub fn check_drives(tool: &DriveTool, progress: &mut dyn FnMut(String)) -> Result<ToolAnswer, String> {
    let drives = open_all(tool)?;
    let report = run(check(&drives, progress)).map_err(|e| e.to_string())?;
    let code = u8::from(!report.problems.is_empty());
    let text = match tool.json {
        true => format!("{:#}\n", report_json(&report)),
        false => report_text(&report),
    };
    Ok(ToolAnswer { text, code })
}

fn open_all(tool: &DriveTool) -> Result<Vec<Rc<dyn Drive>>, String> {
    let mut drives: Vec<Rc<dyn Drive>> = Vec::new();
    for path in &tool.paths {
        drives.push(Rc::new(ReadOnlyDrive::open(path, tool.force)?));
    }
    Ok(drives)
}

/// A drive that is only read, by one process without cores: every read blocks.
struct ReadOnlyDrive {
    file: Arc<File>,
    name: Arc<str>,
    bytes: u64,
}

impl ReadOnlyDrive {
    fn open(path: &Path, force: bool) -> Result<ReadOnlyDrive, String> {
        let failed = |e: &std::io::Error| format!("drive {}: {e}", path.display());
        let kind = std::fs::metadata(path).map_err(|e| failed(&e))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(format!("drive {}: neither a file nor a block device", path.display()));
        }
        let mut file = File::open(path).map_err(|e| failed(&e))?;
        if !force {
            file.try_lock_shared().map_err(|e| match e {
                TryLockError::WouldBlock => format!(
                    "drive {}: in use by another process: stop the server, or look all the same with --force",
                    path.display()
                ),
                TryLockError::Error(e) => failed(&e),
            })?;
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(|e| failed(&e))?;
        Ok(ReadOnlyDrive { file: Arc::new(file), name: path.to_string_lossy().into(), bytes })
    }

    fn refuse(&self, op: DriveOp, at: DriveOffset, bytes: u64) -> DriveError {
        DriveError { drive: self.name.clone(), op, at, bytes, cause: DriveCause::Errno(libc::EROFS) }
    }
}

impl Drive for ReadOnlyDrive {
    fn read(
        &self,
        at: DriveOffset,
        mut buf: Buffer,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let bytes = buf.len() as u64;
        let result = self.file.read_exact_at(buf.as_mut_slice(), at.0).map_err(|e| DriveError {
            drive: self.name.clone(),
            op: DriveOp::Read,
            at,
            bytes,
            cause: e.raw_os_error().map_or(DriveCause::Short { got: 0 }, DriveCause::Errno),
        });
        Box::pin(std::future::ready((buf, result)))
    }

    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        _durable: bool,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let refused = self.refuse(DriveOp::Write, at, buf.len() as u64);
        Box::pin(std::future::ready((buf, Err(refused))))
    }

    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn allocate(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Err(self.refuse(DriveOp::Allocate, at, bytes))))
    }

    fn trim(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Err(self.refuse(DriveOp::Trim, at, bytes))))
    }

    fn size(&self) -> u64 {
        self.bytes - self.bytes % BLOCK_BYTES
    }

    fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

const KINDS: [(ZoneKind, &str); 4] = [
    (ZoneKind::Log, "log"),
    (ZoneKind::Extent, "extent"),
    (ZoneKind::Checkpoint, "checkpoint"),
    (ZoneKind::Pack, "pack"),
];

fn kind_name(kind: ZoneKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("unknown", |(_, name)| name)
}

fn state_name(state: ZoneState) -> &'static str {
    match state {
        ZoneState::Free => "free",
        ZoneState::Released => "released",
        ZoneState::Used(header) => kind_name(header.kind),
        ZoneState::Damaged => "damaged",
    }
}

fn superblock_json(superblock: &Superblock) -> Value {
    json!({
        "store": format!("{:032x}", superblock.store),
        "drive": format!("{:032x}", superblock.drive),
        "sequence": superblock.sequence,
        "drive_bytes": superblock.drive_bytes,
        "zone_bytes": superblock.zone_bytes,
        "zone_count": superblock.zone_count,
        "shard_count": superblock.shard_count,
        "drive_index": superblock.drive_index,
        "drive_count": superblock.drive_count,
        "created_ms": superblock.created_ms,
    })
}

fn found_json<T>(at: DriveOffset, found: &Found<T>, whole: impl Fn(&T) -> Value) -> Value {
    match found {
        Found::Whole(found) => json!({ "at": at.0, "state": "whole", "content": whole(found) }),
        Found::Empty => json!({ "at": at.0, "state": "empty" }),
        Found::Damaged(what) => json!({ "at": at.0, "state": "damaged", "what": what }),
    }
}

fn shard_json(facts: &ShardFacts) -> Value {
    let anchors = facts.anchors.iter().map(|(at, found)| {
        found_json(*at, found, |anchor| {
            json!({
                "number": anchor.number,
                "covered": anchor.covered.0,
                "log_position": anchor.log_position,
                "log_at": anchor.log_at.0,
                "log_number": anchor.log_number,
                "created_ms": anchor.created_ms,
                "table_pages": anchor.table.len(),
            })
        })
    });
    let log = facts.log.as_ref().map(|log| {
        json!({
            "blocks": log.blocks,
            "records": log.records,
            "bytes": log.bytes,
            "next_number": log.next_number,
            "tail": log.tail.0,
            "is_torn": log.is_torn,
        })
    });
    json!({ "shard": facts.shard.0, "anchors": Value::from_iter(anchors), "log": log })
}

fn drive_json(facts: &DriveFacts) -> Value {
    let zones = facts.zones.iter().filter(|zone| zone.state != ZoneState::Free).map(|zone| {
        let header = match zone.state {
            ZoneState::Used(header) => Some(header),
            _ => None,
        };
        json!({
            "zone": zone.zone,
            "at": zone.at.0,
            "state": state_name(zone.state),
            "copies": [state_name(zone.copies[0]), state_name(zone.copies[1])],
            "shard": header.map(|header| header.shard.0),
            "position": header.map(|header| header.position),
        })
    });
    json!({
        "drive": &*facts.name,
        "bytes": facts.bytes,
        "verdict": verdict(facts),
        "refused": if facts.refused.is_empty() { None } else { Some(&facts.refused) },
        "superblocks":
            Value::from_iter(facts.superblocks.iter().map(|(at, found)| found_json(*at, found, superblock_json))),
        "superblock": facts.superblock.as_ref().map(superblock_json),
        "zones": Value::from_iter(zones),
        "shards": Value::from_iter(facts.shards.iter().map(shard_json)),
    })
}

fn verdict(facts: &DriveFacts) -> &'static str {
    let known = nilas_engine::format::superblock::FORMAT_VERSION;
    match (facts.superblock, facts.other_version) {
        (Some(superblock), _) if facts.bytes < superblock.drive_bytes => "truncated",
        (Some(_), Some(version)) if version < known => "older format",
        (Some(_), _) => "store",
        (None, Some(version)) if version < known => "older format",
        (None, Some(_)) => "newer format",
        (None, None) if facts.refused.is_empty() => "blank",
        (None, None) => "foreign",
    }
}

fn drive_text(facts: &DriveFacts) -> String {
    let mut out = String::new();
    write_drive(facts, &mut out).expect("writing to a String cannot fail");
    out
}

fn write_drive(facts: &DriveFacts, out: &mut String) -> std::fmt::Result {
    writeln!(out, "drive {}: {} bytes, {}", facts.name, facts.bytes, verdict(facts))?;
    if !facts.refused.is_empty() {
        writeln!(out, "  refused: {}", facts.refused)?;
    }
    if let Some(superblock) = &facts.superblock {
        writeln!(
            out,
            "  store {:032x}, drive {} of {}, {} shards, {} zones of {} bytes",
            superblock.store,
            superblock.drive_index,
            superblock.drive_count,
            superblock.shard_count,
            superblock.zone_count,
            superblock.zone_bytes
        )?;
    }
    for (at, found) in &facts.superblocks {
        let what = match found {
            Found::Whole(superblock) => format!("whole, sequence {}", superblock.sequence),
            Found::Empty => "empty".to_owned(),
            Found::Damaged(what) => format!("damaged: {what}"),
        };
        writeln!(out, "  superblock copy at {at}: {what}")?;
    }
    if !facts.zones.is_empty() {
        let count = |want: &str| facts.zones.iter().filter(|zone| state_name(zone.state) == want).count();
        let names = ["free", "released", "log", "extent", "checkpoint", "pack", "damaged"];
        let counts: Vec<String> = names.iter().map(|name| format!("{} {name}", count(name))).collect();
        writeln!(out, "  zones: {}", counts.join(", "))?;
    }
    for zone in facts.zones.iter().filter(|zone| zone.copies.contains(&ZoneState::Damaged)) {
        writeln!(
            out,
            "  zone {} at {}: {}; first copy {}, second copy {}",
            zone.zone,
            zone.at,
            state_name(zone.state),
            state_name(zone.copies[0]),
            state_name(zone.copies[1])
        )?;
    }
    for shard in &facts.shards {
        let mut used: Vec<String> = Vec::new();
        for (kind, name) in KINDS {
            let is_its = |state: ZoneState| matches!(state, ZoneState::Used(header) if header.kind == kind && header.shard == shard.shard);
            used.push(format!("{} {name}", facts.zones.iter().filter(|zone| is_its(zone.state)).count()));
        }
        writeln!(out, "  {}: zones {}", shard.shard, used.join(", "))?;
        for (at, found) in &shard.anchors {
            let what = match found {
                Found::Whole(anchor) => format!(
                    "checkpoint {}, up to record {}, {} table pages",
                    anchor.number,
                    anchor.covered.0,
                    anchor.table.len()
                ),
                Found::Empty => "empty".to_owned(),
                Found::Damaged(what) => format!("damaged: {what}"),
            };
            writeln!(out, "    anchor at {at}: {what}")?;
        }
        match &shard.log {
            Some(log) => writeln!(
                out,
                "    log behind it: {} blocks, {} records, {} bytes; goes on at {}{}",
                log.blocks,
                log.records,
                log.bytes,
                log.tail,
                if log.is_torn { ", where a torn or damaged block stands" } else { "" }
            )?,
            None => writeln!(out, "    log: its zone is not there")?,
        }
    }
    Ok(())
}

fn problem_json(problem: &Problem) -> Value {
    json!({
        "drive": &*problem.drive,
        "shard": problem.shard.map(|shard| shard.0),
        "what": problem.what,
        "at": problem.at.0,
        "got": problem.got,
        "expected": problem.expected,
        "object": problem.object.as_deref().map(damaged_json),
    })
}

/// A damaged unit, for reports.
pub(crate) fn damaged_json(unit: &DamagedUnit) -> Value {
    json!({
        "bucket": unit.bucket_name.as_deref(),
        "bucket_id": unit.bucket.0,
        "key": String::from_utf8_lossy(&unit.key),
        "version": unit.version.0,
        "upload": unit.part.map(|(upload, _)| upload.to_string()),
        "part": unit.part.map(|(_, number)| number),
        "offset": unit.offset,
        "bytes": unit.bytes,
        "drive": &*unit.drive,
        "at": unit.at.0,
        "got": unit.got,
        "expected": unit.expected,
        "unreadable": unit.unreadable.as_ref().map(ToString::to_string),
    })
}

fn report_json(report: &CheckReport) -> Value {
    json!({
        "problems": Value::from_iter(report.problems.iter().map(problem_json)),
        "notes": report.notes,
        "pages": report.pages,
        "log_blocks": report.log_blocks,
        "objects": report.objects,
        "units": report.units,
        "unit_bytes": report.unit_bytes,
    })
}

fn report_text(report: &CheckReport) -> String {
    let mut out = String::new();
    for problem in &report.problems {
        match &problem.object {
            Some(unit) => out += &format!("damaged: object data unit: {unit}\n"),
            None => {
                let shard = problem.shard.map_or(String::new(), |shard| format!("{shard}, "));
                out += &format!(
                    "damaged: {shard}{} at {} of drive {}: got {:#x}, expected {:#x}\n",
                    problem.what, problem.at, problem.drive, problem.got, problem.expected
                );
            }
        }
    }
    for note in &report.notes {
        out += &format!("note: {note}\n");
    }
    out += &format!(
        "{} problems; verified {} pages, {} log blocks, {} objects, {} units with {} bytes\n",
        report.problems.len(),
        report.pages,
        report.log_blocks,
        report.objects,
        report.units,
        report.unit_bytes
    );
    out
}
