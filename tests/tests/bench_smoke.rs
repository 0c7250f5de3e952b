//! Every load generator for a moment, so that none rots: operations happen and none fails.

use std::process::Command;

use nilas_tests::server::binary;
use serde_json::Value;

#[track_caller]
fn check(arguments: &str, op: &str) {
    let bench = binary("nilas-bench", "NILAS_BENCH_BIN").unwrap_or_else(|missing| panic!("{missing}"));
    let common = ["--seconds", "1", "--json", "--drive-size", "4GiB"];
    let output = Command::new(bench).args(arguments.split(' ')).args(common).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments}: {stdout} {stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let median = &report["median"];
    let figure =
        |name: &str| median[name].as_f64().unwrap_or_else(|| panic!("{arguments}: no {name} in {median}"));
    assert!(0.0 < figure(&format!("{op}_ops")), "{arguments}: {median}");
    assert_eq!(figure("errors"), 0.0, "{arguments}: {median} {stderr}");
    assert!(0.0 < figure(&format!("{op}_p50_ms")) && 0.0 < figure("server_rss_MiB"), "{arguments}: {median}");
}

#[test]
fn s3() {
    check("s3 --op put --size 4KiB --concurrency 8 --verify", "put");
    check("s3 --op put --size 1MiB --concurrency 2 --payload chunked", "put");
    check("s3 --op put --size 100KiB --concurrency 2 --payload signed --rounds 2 --objects 8", "put");
    check("s3 --op get --size 4KiB --concurrency 8 --objects 100 --verify", "get");
    check("s3 --op get --size 10MiB --concurrency 2 --objects 8", "get");
    check("s3 --op stat --size 1KiB --concurrency 8 --objects 100", "stat");
    check("s3 --op list --size 1B --concurrency 2 --objects 500 --max-keys 100", "list");
    check("s3 --op mixed --size 256KiB --concurrency 4 --objects 40 --verify", "get");
    check("s3 --op delete --size 1KiB --concurrency 2 --objects 1000", "delete");
}

#[test]
fn catalog() {
    check("catalog --op commit --tables 1 --writers 1", "commit");
    check("catalog --op commit --tables 2 --writers 4", "commit");
    check("catalog --op load --tables 2 --writers 2 --snapshots 150", "load");
    check("catalog --op mixed --tables 2 --writers 2", "load");
}

/// The read cache against an ideal one: what it is there for holds at a small size too.
#[test]
fn cache() {
    let bench = binary("nilas-bench", "NILAS_BENCH_BIN").unwrap_or_else(|missing| panic!("{missing}"));
    let output = Command::new(bench).args(["cache", "--keys", "20000", "--json"]).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout} {stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let cases = report["cases"].as_array().expect("a list of cases");
    assert_eq!(cases.len(), 10, "{report}");
    let ours: Vec<&Value> = cases.iter().filter(|case| case["policy"] == "ours").collect();
    assert_eq!(ours.len(), 2, "{report}");
    for case in ours {
        let figure =
            |name: &str| case["figures"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {case}"));
        assert!(figure("points_below_ideal") < 3.0, "{case}");
        assert_eq!(figure("copied_per_scanned_byte"), 0.0, "{case}");
        for after in ["hit_ratio_after_scan", "hit_ratio_after_scan_in_small_ranges"] {
            assert!(figure("hit_ratio") - 0.01 < figure(after), "{after} {case}");
        }
    }
    assert!(report["speed"]["get_found_4KiB"].as_f64().is_some_and(|found| 0.9 < found), "{report}");
}

/// The engine against fio.
#[test]
fn disk() {
    let bench = binary("nilas-bench", "NILAS_BENCH_BIN").unwrap_or_else(|missing| panic!("{missing}"));
    let has_fio = Command::new("fio").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(has_fio, "fio is missing: `cargo x test` installs it, or `apt-get install fio`");
    let mut run = Command::new(bench);
    run.args(["disk", "--seconds", "0.3", "--rounds", "1", "--file-size", "128MiB", "--json"]);
    let output = run.output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout} {stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let cases = report["cases"].as_array().expect("a list of cases");
    assert_eq!(cases.len(), 14, "{report}");
    for case in cases {
        let figure = |name: &str| case["median"][name].as_f64();
        assert!(figure("ops").is_some_and(|ops| 0.0 < ops), "{case}");
        assert_eq!(figure("ratio").is_some_and(|ratio| 0.0 < ratio), has_fio, "{case}");
    }
}

#[track_caller]
fn check_scenario(arguments: &str, figures: &[&str]) {
    let bench = binary("nilas-bench", "NILAS_BENCH_BIN").unwrap_or_else(|missing| panic!("{missing}"));
    let mut run = Command::new(bench);
    run.args(["disk", "--rounds", "1", "--json", "--seconds", "0.2", "--file-size", "512MiB", "--scenario"]);
    let output = run.args(arguments.split(' ')).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments}: {stdout} {stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    let median = &report["cases"][0]["median"];
    for figure in figures {
        assert!(
            median[figure].as_f64().is_some_and(|value| 0.0 < value),
            "{arguments}: {figure} in {report}"
        );
    }
}

/// The life of a store, in a size that takes seconds.
#[test]
fn scenarios() {
    check_scenario("cached-read", &["ops", "per_s", "cpu_us_per_op"]);
    let small = ["small_ops", "small_written_per_stored_byte", "large_ops", "large_written_per_stored_byte"];
    check_scenario("fresh", &small);
    let aged = ["fill_ops", "fill_written_per_stored_byte", "aged_ops", "aged_written_per_stored_byte"];
    check_scenario("aged --fill-percent 10 --overwrites 2", &aged);
    let open = ["clean_open_s", "abort_open_s", "objects"];
    check_scenario("open --objects 5000", &open);
    check_scenario("open --objects 2000 --cores 2 --object-size 1KiB", &open);
    check_scenario("index --objects 20000", &["objects", "scan_keys_per_s", "lookup_ns"]);
}
