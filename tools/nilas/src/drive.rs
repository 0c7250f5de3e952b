//! `nilas drive inspect` and `nilas drive check`: has the engine look at drives that are only read, and puts what it
//! found into text or JSON.
//!
//! `main` hands it the parsed command line and ends with the exit code that [`run`] returns.

use std::fmt::Write;
use std::path::PathBuf;
use std::rc::Rc;

use clap::{Args, Subcommand};
use nilas_engine::DriveOffset;
use nilas_engine::drive::offline::ReadOnlyDrive;
use nilas_engine::drive::{Drive, OpenError, OpenFault};
use nilas_engine::format::superblock::{FORMAT_VERSION, Superblock};
use nilas_engine::format::zone::{ZoneKind, ZoneState};
use nilas_engine::inspect::{self, CheckReport, DriveFacts, Found, Problem, ShardFacts};
use nilas_http::admin::damaged_json;
use serde_json::{Value, json};

/// What is done with drives.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Says what is on each drive: superblocks, zones, checkpoints, logs.
    Inspect(Arguments),
    /// Reads and verifies everything: headers, checkpoints, logs and every unit of every object and part. Exit code 0:
    /// clean, 1: something is damaged, 2: it could not be read.
    Check(Arguments),
}

/// Which drives, and how.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Files or block devices; to check, all drives of the store in their order
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// JSON in place of text
    #[arg(long)]
    json: bool,
    /// Look although a server holds the drives: what changes meanwhile may look like damage
    #[arg(long)]
    force: bool,
}

/// Prints what is on the drives; the exit code is 0: nothing is wrong, 1: something is damaged. The error is one line: what
/// could not be read, or why the drives are no store.
pub(crate) fn run(command: Command) -> Result<u8, String> {
    let (text, code) = match command {
        Command::Inspect(arguments) => inspect_drives(&arguments)?,
        Command::Check(arguments) => {
            let mut reported = std::time::Instant::now();
            check_drives(&arguments, &mut |line| {
                if PROGRESS_EVERY <= reported.elapsed() {
                    reported = std::time::Instant::now();
                    eprintln!("nilas: {line}");
                }
            })?
        }
    };
    // Whoever closed the pipe has seen enough.
    drop(std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()));
    Ok(code)
}

/// How often a check says how far it is.
const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// Says what is on each drive: text and exit code.
fn inspect_drives(arguments: &Arguments) -> Result<(String, u8), String> {
    let mut all = Vec::new();
    for drive in open_all(arguments)? {
        all.push(inspect::run(inspect::inspect(&drive)).map_err(|e| e.to_string())?);
    }
    let is_fine = |facts: &DriveFacts| {
        let copies = facts.superblocks.iter().all(|(_, found)| !matches!(found, Found::Damaged(_)));
        let zones = facts.zones.iter().all(|zone| zone.state != ZoneState::Damaged);
        let anchors = facts.shards.iter().flat_map(|shard| &shard.anchors);
        let anchors = anchors.clone().all(|(_, found)| !matches!(found, Found::Damaged(_)));
        copies && zones && anchors && facts.refused.is_empty()
    };
    let code = u8::from(!all.iter().all(is_fine));
    let text = match arguments.json {
        true => format!("{:#}\n", Value::from_iter(all.iter().map(drive_json))),
        false => all.iter().map(drive_text).collect(),
    };
    Ok((text, code))
}

/// Verifies everything on the drives of a store; `progress` gets a line now and then.
fn check_drives(arguments: &Arguments, progress: &mut dyn FnMut(String)) -> Result<(String, u8), String> {
    let drives = open_all(arguments)?;
    let report = inspect::run(inspect::check(&drives, progress)).map_err(|e| e.to_string())?;
    let code = u8::from(!report.problems.is_empty());
    let text = match arguments.json {
        true => format!("{:#}\n", report_json(&report)),
        false => report_text(&report),
    };
    Ok((text, code))
}

fn open_all(arguments: &Arguments) -> Result<Vec<Rc<dyn Drive>>, String> {
    let mut drives: Vec<Rc<dyn Drive>> = Vec::new();
    for path in &arguments.paths {
        drives.push(Rc::new(ReadOnlyDrive::open(path, arguments.force).map_err(|e| refused(&e))?));
    }
    Ok(drives)
}

fn refused(error: &OpenError) -> String {
    match error.fault {
        OpenFault::InUse => format!(
            "drive {}: in use by another process: stop the server, or look all the same with --force",
            error.drive
        ),
        _ => error.to_string(),
    }
}

const KINDS: [(ZoneKind, &str); 4] = [
    (ZoneKind::Log, "log"),
    (ZoneKind::Extent, "extent"),
    (ZoneKind::Checkpoint, "checkpoint"),
    (ZoneKind::Compaction, "compaction"),
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
    match (facts.superblock, facts.other_version) {
        (Some(superblock), _) if facts.bytes < superblock.drive_bytes => "truncated",
        (Some(_), Some(version)) if version < FORMAT_VERSION => "older format",
        (Some(_), _) => "store",
        (None, Some(version)) if version < FORMAT_VERSION => "older format",
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
        let names = ["free", "released", "log", "extent", "checkpoint", "compaction", "damaged"];
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
