//! fio as the yardstick: one job on a prewritten file, its rate and its processor time.
//!
//! The job is pinned to the CPU of our own core, and does without fio's latency clocks, so that neither side has an
//! advantage. What io_uring's and the file system's kernel threads cost is in neither side's figure.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// How writes of a job become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// They do not.
    Never,
    /// Each by itself, as with O_DSYNC.
    Each,
    /// By a flush after this many writes.
    After(u64),
}

/// One fio job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Job {
    /// fio's `rw`.
    pub(super) rw: &'static str,
    /// Bytes of one request.
    pub(super) request_bytes: u64,
    /// Requests in flight.
    pub(super) depth: usize,
    /// When writes are flushed.
    pub(super) sync: Sync,
    /// The part of the file that is used, from its start.
    pub(super) region_bytes: u64,
    /// Operations of ours that one request stands for.
    pub(super) ops_per_request: f64,
    /// Whether buffers and the file are registered with the kernel.
    pub(super) registered: bool,
}

/// What a job did, in operations of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Done {
    pub(super) ops: f64,
    pub(super) secs: f64,
    pub(super) cpu_secs: f64,
}

/// The version fio answers, or what to do about it.
pub(super) fn version() -> Result<String, String> {
    let missing = "fio is missing: run `apt-get update && apt-get install fio` as root, or give --no-fio";
    let output = Command::new("fio").arg("--version").output().map_err(|_| missing.to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a job for `seconds`.
pub(super) fn run(job: &Job, file: &Path, seconds: f64, cpu: Option<usize>) -> Result<Done, String> {
    let output = Command::new("fio")
        .args(arguments(job, seconds, cpu))
        .arg(format!("--filename={}", file.display()))
        .output()
        .map_err(|error| format!("fio: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let done = parse(&text, job);
    done.filter(|_| output.status.success()).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("fio {job:?}: {} {stderr:.400} {text:.400}", output.status)
    })
}

fn arguments(job: &Job, seconds: f64, cpu: Option<usize>) -> Vec<String> {
    // One synchronous request at a time is what pwrite does best.
    let engine = if job.depth == 1 && job.sync == Sync::Each { "psync" } else { "io_uring" };
    let mut arguments: Vec<String> = ["--name=nilas", "--output-format=json", "--direct=1", "--norandommap"]
        .iter()
        .chain(&["--time_based=1", "--gtod_reduce=1", "--allow_file_create=0", "--fallocate=none"])
        .map(|fixed| (*fixed).to_owned())
        .collect();
    let mut add = |name: &str, value: String| arguments.push(format!("--{name}={value}"));
    add("ioengine", engine.to_owned());
    // As our side: without it the kernel looks up the pages of every request, which is most of its work at 1 MiB.
    if job.registered && engine == "io_uring" {
        add("fixedbufs", "1".to_owned());
        add("registerfiles", "1".to_owned());
    }
    add("rw", job.rw.to_owned());
    add("bs", job.request_bytes.to_string());
    add("iodepth", job.depth.to_string());
    add("size", job.region_bytes.to_string());
    add("runtime", format!("{}ms", (seconds * 1000.0).ceil()));
    match job.sync {
        Sync::Never => {}
        Sync::Each => add("sync", "dsync".to_owned()),
        Sync::After(count) => add("fdatasync", count.to_string()),
    }
    if let Some(cpu) = cpu {
        add("cpus_allowed", cpu.to_string());
    }
    arguments
}

fn parse(text: &str, job: &Job) -> Option<Done> {
    // Warnings may come before the object.
    let report: Value = serde_json::from_str(text.get(text.find('{')?..)?).ok()?;
    let ran = report.get("jobs")?.get(0)?;
    if ran.get("error")?.as_i64()? != 0 {
        return None;
    }
    let moved = ran.get(if job.rw.contains("read") { "read" } else { "write" })?;
    let percent = ran.get("usr_cpu")?.as_f64()? + ran.get("sys_cpu")?.as_f64()?;
    Some(Done {
        ops: moved.get("total_ios")?.as_f64()? * job.ops_per_request,
        secs: moved.get("runtime")?.as_f64()? / 1e3,
        cpu_secs: percent / 100.0 * ran.get("job_runtime")?.as_f64()? / 1e3,
    })
    .filter(|done| 0.0 < done.ops && 0.0 < done.secs)
}

#[cfg(test)]
mod tests {
    use super::{Done, Job, Sync, arguments, parse};

    const JOB: Job = Job {
        rw: "write",
        request_bytes: 8192,
        depth: 1,
        sync: Sync::Each,
        region_bytes: 1 << 20,
        ops_per_request: 2.0,
        registered: true,
    };

    #[test]
    fn command_lines() {
        let check = |job: Job, wanted: &[&str], unwanted: &str| {
            let got = arguments(&job, 0.3, Some(1));
            for argument in wanted {
                assert!(got.iter().any(|one| one == argument), "{argument} in {got:?}");
            }
            assert!(!got.iter().any(|one| one.starts_with(unwanted)), "{unwanted} in {got:?}");
        };
        check(JOB, &["--ioengine=psync", "--sync=dsync", "--bs=8192", "--runtime=300ms"], "--fdatasync");
        check(JOB, &["--ioengine=psync"], "--fixedbufs");
        let flushed = Job { depth: 8, sync: Sync::After(10), ..JOB };
        check(
            flushed,
            &["--ioengine=io_uring", "--fdatasync=10", "--cpus_allowed=1", "--fixedbufs=1"],
            "--sync",
        );
        check(Job { sync: Sync::Never, ..JOB }, &["--ioengine=io_uring", "--iodepth=1"], "--sync");
    }

    #[test]
    fn reports() {
        let text = r#"fio: a warning
            {"jobs": [{"error": 0, "job_runtime": 2000, "usr_cpu": 10.0, "sys_cpu": 15.0,
            "read": {"total_ios": 0, "runtime": 0}, "write": {"total_ios": 500, "runtime": 2000}}]}"#;
        assert_eq!(parse(text, &JOB), Some(Done { ops: 1000.0, secs: 2.0, cpu_secs: 0.5 }));
        assert_eq!(parse(text, &Job { rw: "randread", ..JOB }), None);
        assert_eq!(parse(&text.replace("\"error\": 0", "\"error\": 5"), &JOB), None);
        assert_eq!(parse("", &JOB), None);
    }
}
