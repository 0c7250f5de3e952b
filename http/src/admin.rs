//! Health and metrics: what operators and load balancers ask. Needs no credentials and tells no names.
//!
//! Metrics are Prometheus text (exposition format 0.0.4). Counters of requests are this core's; the server adds up
//! the cores when it is asked, through counters that every core shares.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use crate::render::body::ResponseBody;
use crate::route::Admin;
use crate::server::CoreState;

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

/// Requests of one kind: how many, and how long they took to the head of the answer.
#[derive(Debug, Default)]
struct Series {
    by_status: BTreeMap<u16, u64>,
    buckets: [u64; BOUNDS_US.len()],
    sum_us: u64,
    count: u64,
}

/// Requests answered by one core.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    series: RefCell<BTreeMap<(&'static str, &'static str), Series>>,
}

impl Counters {
    pub(crate) fn count(&self, api: &'static str, operation: &'static str, status: StatusCode, took_us: u64) {
        let mut all = self.series.borrow_mut();
        let series = all.entry((api, operation)).or_default();
        *series.by_status.entry(status.as_u16()).or_default() += 1;
        for (bucket, bound) in series.buckets.iter_mut().zip(BOUNDS_US) {
            *bucket += u64::from(took_us <= bound);
        }
        series.sum_us += took_us;
        series.count += 1;
    }
}

/// The page's name, for metrics.
pub(crate) fn name(page: Admin) -> &'static str {
    match page {
        Admin::Healthz => "Healthz",
        Admin::Readyz => "Readyz",
        Admin::Metrics => "Metrics",
    }
}

/// A short plain answer.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    text_answer(status, Bytes::from_static(text.as_bytes()), "text/plain; charset=utf-8")
}

fn text_answer(status: StatusCode, body: Bytes, content_type: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Everything that is counted. Request series are of the core that answers and carry its number.
pub(crate) fn metrics(state: &CoreState) -> Response<ResponseBody> {
    let mut out = String::with_capacity(16 * 1024);
    render(state, &mut out).expect("writing to a String cannot fail");
    text_answer(StatusCode::OK, out.into(), "text/plain; version=0.0.4; charset=utf-8")
}

fn render(state: &CoreState, out: &mut String) -> std::fmt::Result {
    family(out, "nilas_build_info", "gauge", "Version of the program.")?;
    writeln!(out, "nilas_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
    family(out, "nilas_ready", "gauge", "1 when every shard has recovered.")?;
    writeln!(out, "nilas_ready {}", u8::from(state.is_ready()))?;
    let core = state.core().0;
    let facts = state.arena.facts();
    family(
        out,
        "nilas_buffer_arena_bytes",
        "gauge",
        "Bytes of the core's buffer memory that were used at some time.",
    )?;
    writeln!(out, "nilas_buffer_arena_bytes{{core=\"{core}\"}} {}", facts.carved_bytes)?;
    family(out, "nilas_buffer_heap_bytes", "gauge", "Bytes of buffers beyond the core's arena.")?;
    writeln!(out, "nilas_buffer_heap_bytes{{core=\"{core}\"}} {}", facts.heap_bytes)?;
    requests(state, out)?;
    let Some(parts) = state.parts() else { return Ok(()) };
    let (all, free) = parts.engine.capacity_bytes();
    family(out, "nilas_capacity_bytes", "gauge", "Bytes of all zones of all drives.")?;
    writeln!(out, "nilas_capacity_bytes {all}")?;
    family(out, "nilas_ungranted_bytes", "gauge", "Bytes of zones that no shard uses yet.")?;
    writeln!(out, "nilas_ungranted_bytes {free}")?;
    family(out, "nilas_buckets", "gauge", "Buckets.")?;
    writeln!(out, "nilas_buckets {}", parts.engine.directory().buckets.len())?;
    let stats = parts.engine.stats();
    type Read = fn(&nilas_engine::stats::ShardStats) -> &AtomicU64;
    let counters: [(&str, &str, &str, Read); 9] = [
        ("nilas_log_blocks_total", "counter", "Durable log writes, each one flush.", |s| &s.log_blocks),
        ("nilas_log_records_total", "counter", "Records in them.", |s| &s.log_records),
        ("nilas_log_bytes_total", "counter", "Bytes of them.", |s| &s.log_bytes),
        ("nilas_log_write_microseconds_total", "counter", "Time spent in them.", |s| &s.log_write_us),
        ("nilas_read_bytes_total", "counter", "Object bytes read from drives.", |s| &s.read_bytes),
        ("nilas_corrupt_units_total", "counter", "Reads refused because a checksum did not fit.", |s| {
            &s.corrupt_units
        }),
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

fn requests(state: &CoreState, out: &mut String) -> std::fmt::Result {
    let core = state.core().0;
    let all = state.counters.series.borrow();
    family(out, "nilas_requests_total", "counter", "Requests answered by this core.")?;
    for ((api, operation), series) in all.iter() {
        for (status, count) in &series.by_status {
            let labels = format!("core=\"{core}\",api=\"{api}\",operation=\"{operation}\",code=\"{status}\"");
            writeln!(out, "nilas_requests_total{{{labels}}} {count}")?;
        }
    }
    let name = "nilas_request_duration_seconds";
    family(out, name, "histogram", "Time to the head of the answer, on this core.")?;
    for ((api, operation), series) in all.iter() {
        let labels = format!("core=\"{core}\",api=\"{api}\",operation=\"{operation}\"");
        for (bucket, bound) in series.buckets.iter().zip(BOUNDS_US) {
            writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {bucket}", seconds(bound))?;
        }
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count)?;
        writeln!(out, "{name}_sum{{{labels}}} {}", seconds(series.sum_us))?;
        writeln!(out, "{name}_count{{{labels}}} {}", series.count)?;
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
