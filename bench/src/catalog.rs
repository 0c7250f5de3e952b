//! Catalog load: property commits on one table or many, loadTable, and a mix of both.
//!
//! A commit is one set-properties update under assert-table-uuid, as the figures for other catalogs
//! were taken; a 409 counts as refused, not as an error.

use std::time::Instant;

use clap::{Args, ValueEnum};
use nilas_tests::catalog::{Catalog, assert_uuid, set_property};
use nilas_tests::rng::Rng;
use serde_json::{Value, json};

use crate::report::Report;
use crate::target::{Target, TargetArguments};
use crate::window::{self, Tallies, Worker};

const NAMESPACE: &[&str] = &["bench"];
/// Commits among the operations of the mix, in percent.
const MIXED_COMMITS: u64 = 20;
/// Snapshots added by one preparing commit.
const SNAPSHOTS_PER_COMMIT: u64 = 100;

/// A catalog operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// Commits; writer N works on table N modulo the tables.
    Commit,
    /// loadTable of random tables.
    Load,
    /// One commit to four loads.
    Mixed,
}

/// Arguments of `nilas-bench catalog`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CatalogArguments {
    /// The operation.
    #[arg(long, value_enum)]
    op: Op,
    /// Tables.
    #[arg(long, default_value_t = 1)]
    tables: usize,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 1)]
    writers: usize,
    /// Snapshots in each table beforehand.
    #[arg(long, default_value_t = 0)]
    snapshots: u64,
    /// Warehouse; made if it is missing.
    #[arg(long, default_value = "nilas-bench-tables")]
    warehouse: String,
    #[command(flatten)]
    target: TargetArguments,
}

/// Runs the rounds; the number of failed operations.
pub(crate) fn run(arguments: &CatalogArguments) -> Result<u64, String> {
    if arguments.tables == 0 || arguments.writers == 0 {
        return Err("--tables and --writers must be at least 1".to_owned());
    }
    let target = Target::open(&arguments.target)?;
    let mut catalog = target.catalog(&arguments.warehouse);
    catalog.open().map_err(|error| error.to_string())?;
    let made = catalog.create_namespace(NAMESPACE).map_err(|error| error.to_string())?;
    if !matches!(made.status, 200 | 409) {
        return Err(format!("create namespace: {} {}", made.status, made.response.text()));
    }
    let mut uuids = Vec::with_capacity(arguments.tables);
    for at in 0..arguments.tables {
        let name = format!("t{at}");
        let uuid =
            prepare(&mut catalog, &name, arguments).map_err(|error| format!("table {name}: {error}"))?;
        uuids.push(uuid);
    }
    let title = format!(
        "catalog {:?} tables {} writers {} snapshots {} seconds {}",
        arguments.op, arguments.tables, arguments.writers, arguments.snapshots, arguments.target.seconds
    )
    .to_lowercase();
    let parameters = json!({
        "op": format!("{:?}", arguments.op).to_lowercase(), "tables": arguments.tables,
        "writers": arguments.writers, "snapshots": arguments.snapshots,
        "seconds": arguments.target.seconds, "seed": arguments.target.seed,
    });
    let mut report = Report::new(title, parameters, arguments.target.json);
    let mut rng = Rng::new(arguments.target.seed);
    for _ in 0..arguments.target.rounds.max(1) {
        let workers = (0..arguments.writers)
            .map(|writer| worker(catalog.clone(), arguments, writer, &uuids, rng.fork()))
            .collect();
        let window = window::run(&target, arguments.target.seconds, workers);
        report.add(&window.map_err(|error| error.to_string())?, false);
    }
    for at in 0..arguments.tables {
        // What is left behind on a foreign endpoint is worth a word, not a failure.
        if let Err(error) = catalog.drop_table(NAMESPACE, &format!("t{at}")) {
            eprintln!("table t{at} is left behind: {error}");
        }
    }
    Ok(report.finish())
}

/// Makes the table if it is missing and adds its snapshots; its uuid.
fn prepare(catalog: &mut Catalog, name: &str, arguments: &CatalogArguments) -> Result<String, String> {
    let mut answer = catalog.create_table(NAMESPACE, name).map_err(|error| error.to_string())?;
    if answer.status == 409 {
        answer = catalog.load_table(NAMESPACE, name).map_err(|error| error.to_string())?;
    }
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.response.text()));
    }
    let uuid = answer.text_at("/metadata/table-uuid").to_owned();
    let had = answer.json["metadata"]["snapshots"].as_array().map_or(0, Vec::len) as u64;
    let now = answer.json["metadata"]["last-updated-ms"].as_u64().unwrap_or(0);
    let mut next = had + 1;
    while next <= arguments.snapshots {
        let last = arguments.snapshots.min(next + SNAPSHOTS_PER_COMMIT - 1);
        let mut updates: Vec<Value> = (next..=last).map(|at| add_snapshot(arguments, at, now)).collect();
        updates.push(json!({
            "action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": last,
        }));
        let commit = catalog
            .commit(NAMESPACE, name, json!([assert_uuid(&uuid)]), Value::Array(updates))
            .map_err(|error| error.to_string())?;
        if commit.status != 200 {
            return Err(format!("adding snapshots: {} {}", commit.status, commit.response.text()));
        }
        next = last + 1;
    }
    Ok(uuid)
}

fn add_snapshot(arguments: &CatalogArguments, at: u64, timestamp_ms: u64) -> Value {
    let mut snapshot = json!({
        "snapshot-id": at, "sequence-number": at, "timestamp-ms": timestamp_ms, "schema-id": 0,
        "manifest-list": format!("s3://{}/bench/snap-{at:020}.avro", arguments.warehouse),
        "summary": {
            "operation": "append", "added-data-files": "1", "added-records": "1000",
            "total-data-files": at.to_string(), "total-records": (at * 1000).to_string(),
        },
    });
    if 1 < at {
        snapshot["parent-snapshot-id"] = json!(at - 1);
    }
    json!({ "action": "add-snapshot", "snapshot": snapshot })
}

fn worker<'w>(
    mut catalog: Catalog,
    arguments: &'w CatalogArguments,
    writer: usize,
    uuids: &'w [String],
    mut rng: Rng,
) -> Worker<'w> {
    let mut count = 0u64;
    Box::new(move |tallies| {
        let commits = match arguments.op {
            Op::Commit => true,
            Op::Load => false,
            Op::Mixed => rng.chance(MIXED_COMMITS),
        };
        if commits {
            count += 1;
            do_commit(
                &mut catalog,
                tallies,
                writer % uuids.len(),
                &uuids[writer % uuids.len()],
                writer,
                count,
            )
        } else {
            do_load(&mut catalog, tallies, rng.index(uuids.len()))
        }
    })
}

fn do_commit(
    catalog: &mut Catalog,
    tallies: &mut Tallies,
    table: usize,
    uuid: &str,
    writer: usize,
    count: u64,
) -> bool {
    let requirements = json!([assert_uuid(uuid)]);
    let updates = json!([set_property(&format!("writer-{writer}"), &count.to_string())]);
    let name = format!("t{table}");
    let from = Instant::now();
    let answer = catalog.commit_discarding(NAMESPACE, &name, requirements, updates);
    let tally = tallies.entry("commit").or_default();
    match answer {
        Ok(response) if response.status == 200 => tally.succeed(from.elapsed(), 0, 1),
        other => tally.judge(other),
    }
    true
}

fn do_load(catalog: &mut Catalog, tallies: &mut Tallies, table: usize) -> bool {
    let name = format!("t{table}");
    let from = Instant::now();
    let answer = catalog.load_discarding(NAMESPACE, &name);
    let tally = tallies.entry("load").or_default();
    match answer {
        Ok(response) if response.status == 200 => tally.succeed(from.elapsed(), response.body_bytes, 1),
        other => tally.judge(other),
    }
    true
}
