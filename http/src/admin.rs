//! Health and metrics: what operators and load balancers ask. Needs no credentials and tells no names.
//!
//! The core's state hands it [`Figures`] and the engine; it knows no more of the server. Metrics are Prometheus text
//! (exposition format 0.0.4). Each core counts its own requests; whichever core is asked adds up all of them. Figures of
//! buffers are those of the core that answers and carry its number.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{Response, StatusCode};
use nilas_catalog::{PurgeFigures, PurgeStatus};
use nilas_engine::drive::Arena;
use nilas_engine::stats::ShardStats;
use nilas_engine::{CoreId, DamagedUnit, Engine, ShardScrub};
use serde_json::{Value, json};

use crate::audit::AuditShared;
use crate::identity::store::IdentityCell;
use crate::memory::{Budget, BudgetFacts, CoreMemory};
use crate::operations::AnyOperation;
use crate::pages;
use crate::readiness::Readiness;
use crate::render::body::ResponseBody;
use crate::s3::lifecycle::figures::LifecycleFigures;
use crate::throttle::ThrottleFigures;

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

/// Status codes that are counted each by its own; any other is counted as the first of its class.
const STATUSES: [u16; 24] = [
    200, 201, 204, 206, 300, 304, 400, 401, 403, 404, 405, 409, 411, 412, 413, 416, 419, 422, 429, 500, 501,
    503, 507, 599,
];

/// Requests of one kind: how many, and how long they took to the head of the answer.
#[derive(Debug, Default)]
struct Series {
    by_status: [AtomicU64; STATUSES.len()],
    /// Not cumulative; the last one has no upper bound.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// Requests answered by one core. The core adds, any core reads.
#[derive(Debug)]
pub(crate) struct Counters {
    series: Vec<Series>,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters { series: AnyOperation::all().map(|_| Series::default()).collect() }
    }

    pub(crate) fn count(&self, operation: AnyOperation, status: StatusCode, took_us: u64) {
        let series = &self.series[operation.index()];
        let code = status.as_u16();
        let at = STATUSES.iter().rposition(|known| *known <= code).unwrap_or(0);
        let at = if STATUSES[at] == code { at } else { class_of(code) };
        series.by_status[at].fetch_add(1, Relaxed);
        let bucket = BOUNDS_US.iter().position(|bound| took_us <= *bound).unwrap_or(BOUNDS_US.len());
        series.buckets[bucket].fetch_add(1, Relaxed);
        series.sum_us.fetch_add(took_us, Relaxed);
    }
}

/// What is counted and shown of all cores together. Shared by them.
pub(crate) struct ProcessFigures {
    pub(crate) readiness: Readiness,
    /// One for each core.
    pub(crate) counters: Box<[Counters]>,
    /// One for each core.
    pub(crate) memories: Box<[CoreMemory]>,
    /// Bound of the read cache of one core, in bytes; 0: it has none.
    pub(crate) cache_bytes: u64,
    pub(crate) purges: Arc<PurgeFigures>,
    pub(crate) lifecycles: Arc<LifecycleFigures>,
    pub(crate) throttle: ThrottleFigures,
    pub(crate) audit: Arc<AuditShared>,
    pub(crate) identities: Arc<IdentityCell>,
}

/// What one core counts, and what it can show of itself and of the process.
pub(crate) struct Figures {
    pub(crate) process: Arc<ProcessFigures>,
    pub(crate) core: CoreId,
    pub(crate) arena: Arena,
}

impl Figures {
    /// Counts an answered request of this core.
    pub(crate) fn count(&self, operation: AnyOperation, status: StatusCode, took_us: u64) {
        self.process.counters[usize::from(self.core.0)].count(operation, status, took_us);
    }

    /// Whether every core serves: the next connection may be another core's.
    pub(crate) fn is_ready(&self) -> bool {
        self.process.readiness.is_ready()
    }

    /// What requests of this core may hold.
    pub(crate) fn memory(&self) -> &CoreMemory {
        &self.process.memories[usize::from(self.core.0)]
    }
}

/// Where the first status of a code's class is counted.
fn class_of(code: u16) -> usize {
    STATUSES.iter().position(|known| known / 100 == code / 100).unwrap_or(STATUSES.len() - 1)
}

/// How far the scrub of every shard is and what it found. Names objects, so it is for the root key alone.
pub(crate) fn scrub(shards: &[ShardScrub]) -> Response<ResponseBody> {
    let shards = shards.iter().map(|state| {
        json!({
            "shard": state.shard.0,
            "is_running": state.is_running,
            "passes": state.passes,
            "began_ms": state.began_ms,
            "ended_ms": state.ended_ms,
            "objects_done": state.objects_done,
            "objects": state.objects,
            "bytes_done": state.bytes_done,
            "bytes": state.bytes,
            "damaged_units": state.damaged_units,
            "damaged_beyond": state.damaged_units.saturating_sub(state.damaged.len() as u64),
            "damaged": Value::from_iter(state.damaged.iter().map(damaged_json)),
        })
    });
    let text = json!({ "shards": Value::from_iter(shards) }).to_string();
    pages::answer(StatusCode::OK, text.into(), "application/json")
}

/// How far the deletion of dropped tables is, and how the last ones ended. Names tables, so it is for the root key alone.
pub(crate) fn purges(purges: &[PurgeStatus], beyond: usize) -> Response<ResponseBody> {
    let purges = purges.iter().map(|purge| {
        let state = match (purge.ended_ms, purge.failed + purge.unreadable, &purge.trouble) {
            (None, _, None) => "open",
            (None, _, Some(_)) => "waiting",
            (Some(_), 0, _) => "done",
            (Some(_), _, _) => "incomplete",
        };
        let left = purge.left.iter().map(|(location, why)| json!({ "location": location, "why": why }));
        json!({
            "warehouse": &*purge.warehouse,
            "table": purge.table,
            "uuid": purge.uuid,
            "metadata_location": purge.metadata_location,
            "since_ms": purge.since_ms,
            "ended_ms": purge.ended_ms,
            "state": state,
            "phase": purge.phase,
            "snapshots_done": purge.snapshots_done,
            "snapshots": purge.snapshots,
            "files_deleted": purge.deleted,
            "files_failed": purge.failed,
            "files_unreadable": purge.unreadable,
            "left": Value::from_iter(left),
            "last_error": purge.trouble,
        })
    });
    let text = json!({ "purges": Value::from_iter(purges), "purges_beyond": beyond }).to_string();
    pages::answer(StatusCode::OK, text.into(), "application/json")
}

/// A damaged unit, as the scrub's page and the offline check of drives report it.
pub fn damaged_json(unit: &DamagedUnit) -> Value {
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

/// Everything that is counted; figures of the engine once there is one.
pub(crate) fn metrics(figures: &Figures, engine: Option<&Engine>) -> Response<ResponseBody> {
    let mut out = String::with_capacity(16 * 1024);
    render(figures, engine, &mut out).expect("writing to a String cannot fail");
    pages::answer(StatusCode::OK, out.into(), "text/plain; version=0.0.4; charset=utf-8")
}

fn render(figures: &Figures, engine: Option<&Engine>, out: &mut String) -> std::fmt::Result {
    family(out, "nilas_build_info", "gauge", "Version of the program.")?;
    writeln!(out, "nilas_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
    family(out, "nilas_ready", "gauge", "1 when every shard has recovered.")?;
    writeln!(out, "nilas_ready {}", u8::from(figures.is_ready()))?;
    core_figures(figures, out)?;
    limits(&figures.process.memories, out)?;
    requests(&figures.process.counters, out)?;
    purge_figures(&figures.process.purges, out)?;
    lifecycle_figures(&figures.process.lifecycles, out)?;
    sender_figures(&figures.process, out)?;
    let Some(engine) = engine else { return Ok(()) };
    engine_figures(engine, figures.core, out)?;
    identity_figures(&figures.process.identities, out)?;
    shards(engine.stats(), out)
}

/// Buffers and cache of the core that is asked.
fn core_figures(figures: &Figures, out: &mut String) -> std::fmt::Result {
    let core = figures.core.0;
    let facts = figures.arena.facts();
    family(
        out,
        "nilas_buffer_arena_bytes",
        "gauge",
        "Bytes of the core's buffer memory that were used at some time.",
    )?;
    writeln!(out, "nilas_buffer_arena_bytes{{core=\"{core}\"}} {}", facts.carved_bytes)?;
    family(out, "nilas_buffer_heap_bytes", "gauge", "Bytes of buffers beyond the core's arena.")?;
    writeln!(out, "nilas_buffer_heap_bytes{{core=\"{core}\"}} {}", facts.heap_bytes)?;
    family(out, "nilas_cache_bytes_max", "gauge", "Bound of the core's read cache, in bytes; 0 is off.")?;
    writeln!(out, "nilas_cache_bytes_max{{core=\"{core}\"}} {}", figures.process.cache_bytes)
}

/// The store as a whole, and the cache of the core that is asked.
fn engine_figures(engine: &Engine, core: CoreId, out: &mut String) -> std::fmt::Result {
    let (all, free) = engine.capacity_bytes();
    family(out, "nilas_capacity_bytes", "gauge", "Bytes of all zones of all drives.")?;
    writeln!(out, "nilas_capacity_bytes {all}")?;
    family(out, "nilas_ungranted_bytes", "gauge", "Bytes of zones that no shard uses yet.")?;
    writeln!(out, "nilas_ungranted_bytes {free}")?;
    family(out, "nilas_buckets", "gauge", "Buckets.")?;
    writeln!(out, "nilas_buckets {}", engine.bucket_count())?;
    family(
        out,
        "nilas_mailbox_messages",
        "gauge",
        "Jobs that wait for a core, at most MAILBOX_MESSAGES_MAX.",
    )?;
    for (core, waiting) in engine.mailbox_messages().enumerate() {
        writeln!(out, "nilas_mailbox_messages{{core=\"{core}\"}} {waiting}")?;
    }
    let cache = engine.cache_stats();
    let figures = [
        ("nilas_cache_hits_total", "counter", "Units found in the core's read cache.", cache.hits),
        ("nilas_cache_misses_total", "counter", "Units not found there.", cache.misses),
        ("nilas_cache_bytes", "gauge", "Bytes that it holds.", cache.bytes),
    ];
    for (name, kind, help, value) in figures {
        family(out, name, kind, help)?;
        writeln!(out, "{name}{{core=\"{}\"}} {value}", core.0)?;
    }
    Ok(())
}

fn purge_figures(figures: &PurgeFigures, out: &mut String) -> std::fmt::Result {
    let figures = [
        ("nilas_purges_open", "gauge", "Purges of dropped tables that have not ended.", &figures.open),
        ("nilas_purge_files_deleted_total", "counter", "Files that they deleted.", &figures.files_deleted),
        (
            "nilas_purge_files_failed_total",
            "counter",
            "Files that they could not delete.",
            &figures.files_failed,
        ),
        (
            "nilas_purge_files_unreadable_total",
            "counter",
            "Metadata files, manifest lists and manifests that they could not read.",
            &figures.files_unreadable,
        ),
    ];
    for (name, kind, help, value) in figures {
        family(out, name, kind, help)?;
        writeln!(out, "{name} {}", value.load(Relaxed))?;
    }
    Ok(())
}

/// What lifecycles removed, and how far their passes are.
fn lifecycle_figures(figures: &LifecycleFigures, out: &mut String) -> std::fmt::Result {
    let name = "nilas_lifecycle_removed_total";
    family(out, name, "counter", "What rules of lifecycles removed: versions by kind, and uploads.")?;
    let kinds = [
        ("current", &figures.current),
        ("marked", &figures.marked),
        ("noncurrent", &figures.noncurrent),
        ("marker", &figures.markers),
        ("upload", &figures.uploads),
    ];
    for (kind, count) in kinds {
        writeln!(out, "{name}{{kind=\"{kind}\"}} {}", count.load(Relaxed))?;
    }
    let (total, gauge) = ("counter", "gauge");
    let figures = [
        ("removed_bytes_total", total, "Bytes of the objects among them.", &figures.bytes),
        ("locked_total", total, "Versions that they name and a lock kept, each time.", &figures.locked),
        (
            "in_tables_total",
            total,
            "Versions and uploads that they name and that lie in the location of a table, each time.",
            &figures.in_tables,
        ),
        ("looked_total", total, "Versions and uploads that passes looked at.", &figures.looked),
        ("errors_total", total, "Passes that failed and begin again.", &figures.errors),
        ("passes_total", total, "Passes over a bucket that ended.", &figures.passes),
        ("passes_open", gauge, "Passes at work.", &figures.open),
    ]
    .map(|(name, kind, help, value)| (name, kind, help, value.load(Relaxed)))
    .into_iter()
    .chain([(
        "last_pass_end_seconds",
        gauge,
        "When the last pass ended, in seconds since 1970; 0: none did since the start.",
        figures.last_end_ms.load(Relaxed) / 1000,
    )]);
    for (name, kind, help, value) in figures {
        let name = format!("nilas_lifecycle_{name}");
        family(out, &name, kind, help)?;
        writeln!(out, "{name} {value}")?;
    }
    Ok(())
}

/// Who there is, and whether that is all and can be changed.
fn identity_figures(identities: &IdentityCell, out: &mut String) -> std::fmt::Result {
    let (model, state) = (identities.current(), identities.state());
    let closed = "1 when users, groups, keys and policies cannot be changed until the next start.";
    let incomplete = "1 when some of them may be missing, and nobody but root may do anything.";
    let figures = [
        ("nilas_identity_users", "Users.", model.users_len()),
        ("nilas_identity_keys", "Access keys of users.", model.keys_len()),
        ("nilas_identity_closed", closed, usize::from(state.closed.is_some())),
        ("nilas_identity_incomplete", incomplete, usize::from(!state.is_complete)),
    ];
    for (name, help, value) in figures {
        family(out, name, "gauge", help)?;
        writeln!(out, "{name} {value}")?;
    }
    Ok(())
}

/// What became of senders who failed, and of the audit log.
fn sender_figures(process: &ProcessFigures, out: &mut String) -> std::fmt::Result {
    let (throttle, audit) = (&process.throttle, &process.audit.figures);
    let figures = [
        ("nilas_auth_failures_total", "Signatures and tokens that were wrong.", &throttle.failures),
        (
            "nilas_auth_slowed_total",
            "Of these, answered with \"slow down\" because there had been too many.",
            &throttle.slowed,
        ),
        (
            "nilas_auth_unverified_total",
            "Requests refused without a look at their signature, because the key had failed far too often there.",
            &throttle.refused,
        ),
        ("nilas_audit_lines_total", "Lines of the audit log that were written.", &audit.lines),
        ("nilas_audit_dropped_total", "Lines of the audit log that were dropped.", &audit.dropped),
        ("nilas_audit_errors_total", "Writes of the audit log that failed.", &audit.errors),
    ];
    for (name, help, value) in figures {
        family(out, name, "counter", help)?;
        writeln!(out, "{name} {}", value.load(Relaxed))?;
    }
    Ok(())
}

fn shards(stats: &[Arc<ShardStats>], out: &mut String) -> std::fmt::Result {
    type Read = fn(&ShardStats) -> &AtomicU64;
    let counters: [(&str, &str, &str, Read); 20] = [
        ("nilas_log_blocks_total", "counter", "Durable log writes, each one flush.", |s| &s.log_blocks),
        ("nilas_log_records_total", "counter", "Records in them.", |s| &s.log_records),
        ("nilas_log_bytes_total", "counter", "Bytes of them.", |s| &s.log_bytes),
        ("nilas_log_write_microseconds_total", "counter", "Time spent in them.", |s| &s.log_write_us),
        ("nilas_read_bytes_total", "counter", "Object bytes read from drives.", |s| &s.read_bytes),
        ("nilas_corrupt_units_total", "counter", "Reads refused because a checksum did not fit.", |s| {
            &s.corrupt_units
        }),
        ("nilas_scrub_units_total", "counter", "Units that the scrub verified.", |s| &s.scrub_units),
        ("nilas_scrub_bytes_total", "counter", "Bytes of them.", |s| &s.scrub_bytes),
        ("nilas_scrub_damaged_units_total", "counter", "Damaged units that it found.", |s| {
            &s.scrub_damaged_units
        }),
        ("nilas_scrub_passes_total", "counter", "Passes that it ended.", |s| &s.scrub_passes),
        ("nilas_over_quota_total", "counter", "Changes that the quota of a bucket refused.", |s| {
            &s.over_quota
        }),
        ("nilas_scrub_pass_bytes", "gauge", "Bytes verified since the newest pass began.", |s| {
            &s.scrub_pass_bytes
        }),
        ("nilas_checkpoints_total", "counter", "Checkpoints of the index.", |s| &s.checkpoints),
        ("nilas_moved_bytes_total", "counter", "Bytes of small objects that cleaning moved.", |s| {
            &s.moved_bytes
        }),
        ("nilas_zones_released_total", "counter", "Zones given back.", |s| &s.zones_released),
        (
            "nilas_maintenance_errors_total",
            "counter",
            "Checkpoints and cleanings that failed and are tried again.",
            |s| &s.maintenance_errors,
        ),
        ("nilas_index_bytes", "gauge", "Bytes of the index in memory.", |s| &s.index_bytes),
        ("nilas_objects", "gauge", "Objects.", |s| &s.objects),
        ("nilas_object_bytes", "gauge", "Bytes of objects.", |s| &s.object_bytes),
        ("nilas_free_extent_bytes", "gauge", "Free bytes in granted extent zones.", |s| &s.free_extent_bytes),
    ];
    for (name, kind, help, read) in counters {
        family(out, name, kind, help)?;
        for (shard, stats) in stats.iter().enumerate() {
            writeln!(out, "{name}{{shard=\"{shard}\"}} {}", read(stats).load(Relaxed))?;
        }
    }
    family(
        out,
        "nilas_shard_read_only",
        "gauge",
        "1 when the shard takes no writes after a failure of its log.",
    )?;
    for (shard, stats) in stats.iter().map(Arc::as_ref).enumerate() {
        writeln!(
            out,
            "nilas_shard_read_only{{shard=\"{shard}\"}} {}",
            u8::from(stats.read_only.load(Relaxed))
        )?;
    }
    Ok(())
}

/// What requests hold, by the names in docs/limits.md.
fn limits(cores: &[CoreMemory], out: &mut String) -> std::fmt::Result {
    type Read = fn(&BudgetFacts) -> u64;
    let families: [(&str, &str, &str, Read); 4] = [
        ("nilas_limit_used", "gauge", "Taken of a core's limit.", |facts| facts.used as u64),
        ("nilas_limit_peak", "gauge", "Most that was ever taken of it.", |facts| facts.peak as u64),
        ("nilas_limit_max", "gauge", "The limit on this machine.", |facts| facts.max as u64),
        ("nilas_limit_refused_total", "counter", "Requests refused at it.", |facts| facts.refused),
    ];
    for (name, kind, help, read) in families {
        family(out, name, kind, help)?;
        for (core, memory) in cores.iter().enumerate() {
            for facts in memory.all().map(Budget::facts) {
                let limit = facts.name;
                writeln!(out, "{name}{{core=\"{core}\",limit=\"{limit}\"}} {}", read(&facts))?;
            }
        }
    }
    Ok(())
}

fn requests(cores: &[Counters], out: &mut String) -> std::fmt::Result {
    let sum = |nth: usize, read: &dyn Fn(&Series) -> u64| -> u64 {
        cores.iter().map(|core| read(&core.series[nth])).sum()
    };
    let seen: Vec<(usize, (&str, &str))> = AnyOperation::all()
        .map(|operation| (operation.api().name(), operation.name()))
        .enumerate()
        .filter(|(nth, _)| sum(*nth, &|s| s.by_status.iter().map(|count| count.load(Relaxed)).sum()) > 0)
        .collect();
    family(out, "nilas_requests_total", "counter", "Requests answered.")?;
    for (nth, (api, operation)) in &seen {
        for (at, status) in STATUSES.iter().enumerate() {
            let count = sum(*nth, &|s| s.by_status[at].load(Relaxed));
            if count > 0 {
                let labels = format!("api=\"{api}\",operation=\"{operation}\",code=\"{status}\"");
                writeln!(out, "nilas_requests_total{{{labels}}} {count}")?;
            }
        }
    }
    let name = "nilas_request_duration_seconds";
    family(out, name, "histogram", "Time to the head of the answer.")?;
    for (nth, (api, operation)) in &seen {
        let labels = format!("api=\"{api}\",operation=\"{operation}\"");
        let mut below = 0;
        for (at, bound) in BOUNDS_US.iter().enumerate() {
            below += sum(*nth, &|s| s.buckets[at].load(Relaxed));
            writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", seconds(*bound))?;
        }
        below += sum(*nth, &|s| s.buckets[BOUNDS_US.len()].load(Relaxed));
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {below}")?;
        writeln!(out, "{name}_sum{{{labels}}} {}", seconds(sum(*nth, &|s| s.sum_us.load(Relaxed))))?;
        writeln!(out, "{name}_count{{{labels}}} {below}")?;
    }
    Ok(())
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_added_up() {
        let cores = [Counters::new(), Counters::new()];
        let get = AnyOperation::S3(Some(crate::s3::operations::Operation::GetObject));
        cores[0].count(get, StatusCode::OK, 90);
        cores[1].count(get, StatusCode::OK, 20_000_000);
        cores[1].count(get, StatusCode::IM_A_TEAPOT, 300);
        let mut out = String::new();
        requests(&cores, &mut out).expect("a String takes all");
        for line in [
            "nilas_requests_total{api=\"s3\",operation=\"GetObject\",code=\"200\"} 2",
            "nilas_requests_total{api=\"s3\",operation=\"GetObject\",code=\"400\"} 1",
            "nilas_request_duration_seconds_bucket{api=\"s3\",operation=\"GetObject\",le=\"0.000100\"} 1",
            "nilas_request_duration_seconds_bucket{api=\"s3\",operation=\"GetObject\",le=\"0.000500\"} 2",
            "nilas_request_duration_seconds_count{api=\"s3\",operation=\"GetObject\"} 3",
            "nilas_request_duration_seconds_sum{api=\"s3\",operation=\"GetObject\"} 20.000390",
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
    }
}
