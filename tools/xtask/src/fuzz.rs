//! `cargo x fuzz`: builds one target of the `fuzz` crate, or all, with coverage counters, on the stable toolchain, and
//! runs them one after the other.
//! A target of `BY_NAME` is not one of all: it compares with a dependency too heavy for that, behind a feature of its name.
//! New inputs go to the target directory; what is worth keeping is copied into `fuzz/corpus` by hand.

use crate::shell::{Failure, cargo, program, root, target};
use std::fs;
use std::path::Path;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const BY_NAME: [&str; 1] = ["avro"];
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

pub fn run(name: &str, seconds: u64) -> Result<(), Failure> {
    let known = targets()?;
    let is_light = |target: &str| !BY_NAME.contains(&target);
    let chosen: Vec<&String> =
        known.iter().filter(|target| name == "all" && is_light(target) || *target == name).collect();
    if chosen.is_empty() {
        return Err(Failure(format!("no fuzz target {name}; there are all, {}", known.join(", "))));
    }
    let place = target().join("fuzz");
    // With `--target` the counters stay out of build scripts.
    let mut build = cargo(["build", "--release", "--target", TRIPLE]);
    for name in &chosen {
        build = build.args(["--bin", name]);
        if !is_light(name) {
            build = build.args(["--features", name]);
        }
    }
    build
        .directory(root().join("fuzz"))
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env("CARGO_TARGET_DIR", &place)
        .passes()?;
    for name in &chosen {
        fuzz(&place, name, seconds)?;
    }
    println!("fuzz: {} passed, 0 failed", chosen.len());
    Ok(())
}

fn fuzz(place: &Path, name: &str, seconds: u64) -> Result<(), Failure> {
    let (found, artifacts) = (place.join("corpus").join(name), place.join("artifacts").join(name));
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| Failure(format!("{}: {error}", folder.display())))?;
    }
    let corpus = root().join("fuzz/corpus").join(name);
    program(place.join(TRIPLE).join("release").join(name))
        .args([Some(found), corpus.exists().then_some(corpus)].into_iter().flatten())
        .args([
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/", artifacts.display()),
            "-timeout=5".to_owned(),
            "-rss_limit_mb=1024".to_owned(),
            "-print_final_stats=1".to_owned(),
        ])
        .passes()
}

fn targets() -> Result<Vec<String>, Failure> {
    let folder = root().join("fuzz/targets");
    let listed = fs::read_dir(&folder).map_err(|error| Failure(format!("{}: {error}", folder.display())))?;
    let mut names: Vec<String> = listed
        .filter_map(|entry| {
            entry.ok()?.file_name().into_string().ok()?.strip_suffix(".rs").map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}
