//! What the product may depend on: no tokio runtime under it, and only licences that allow its own.
//! `check` runs it. The judgements are pure functions over cargo's output.

use crate::shell::{Failure, cargo};
use serde_json::Value;

/// Features of tokio that bring a runtime, its reactor, or calls that need one.
const TOKIO_FEATURES_REFUSED: [&str; 6] = ["rt", "rt-multi-thread", "net", "fs", "process", "signal"];

/// SPDX identifiers a dependency may be under.
const LICENCES_ALLOWED: [&str; 16] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "CC0-1.0",
    "Unlicense",
    "BSL-1.0",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
];

pub fn run() -> Result<(), Failure> {
    let mut findings = tokio_runtime(&tokio_features()?);
    let metadata = cargo(["metadata", "--format-version", "1", "--locked"]).output()?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| Failure(format!("cargo metadata is no JSON: {error}")))?;
    findings.extend(licences(&metadata));
    for finding in &findings {
        println!("deps: {finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err(Failure(format!("{} findings", findings.len()))) }
}

/// Who pulls tokio, feature by feature; empty when nobody does.
fn tokio_features() -> Result<String, Failure> {
    match cargo(["tree", "--locked", "-e", "normal,features", "-i", "tokio", "-p", "nilas"]).output() {
        Err(Failure(said)) if said.contains("did not match any packages") => Ok(String::new()),
        answer => answer,
    }
}

fn tokio_runtime(tree: &str) -> Vec<String> {
    let refused = |line: &&str| {
        let feature = line.split_once("tokio feature \"").and_then(|(_, rest)| rest.split('"').next());
        feature.is_some_and(|feature| TOKIO_FEATURES_REFUSED.contains(&feature))
    };
    let mut lines: Vec<&str> = tree.lines().map(str::trim).filter(refused).collect();
    lines.sort_unstable();
    lines.dedup();
    lines.iter().map(|line| format!("the product pulls in a tokio runtime: {line}")).collect()
}

fn licences(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let mut findings = Vec::new();
    if packages.is_empty() {
        findings.push("cargo metadata names no packages".to_owned());
    }
    for package in packages {
        let (name, version) =
            (package["name"].as_str().unwrap_or("?"), package["version"].as_str().unwrap_or("?"));
        match package["license"].as_str() {
            None => findings.push(format!("{name} {version} names no licence")),
            Some(expression) if !licence_allowed(expression) => {
                findings.push(format!("{name} {version} is under {expression}"));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Whether an SPDX expression can be met with allowed licences alone. `/` is the old spelling of OR.
fn licence_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = any_of(&words, &mut at);
    allowed && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let allowed = any_of(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return allowed && closed;
    }
    // `X+` means X or any later version of it.
    let mut name = word.trim_end_matches('+').to_owned();
    if let (Some(&"WITH"), Some(exception)) = (words.get(*at), words.get(*at + 1)) {
        name = format!("{name} WITH {exception}");
        *at += 2;
    }
    LICENCES_ALLOWED.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        let check = |expression: &str, allowed: bool| {
            assert_eq!(licence_allowed(expression), allowed, "{expression}")
        };
        check("MIT", true);
        check("MIT OR Apache-2.0", true);
        check("MIT/Apache-2.0", true);
        check("GPL-3.0-only", false);
        check("GPL-3.0-only OR MIT", true);
        check("GPL-3.0-only AND MIT", false);
        check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
        check("(MIT OR GPL-2.0) AND (LGPL-3.0 OR GPL-2.0)", false);
        check("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true);
        check("Apache-2.0 WITH Other-exception", false);
        check("MPL-2.0+", true);
        check("GPL-2.0+", false);
        check("", false);
        check("(MIT", false);
        check("MIT MIT", false);
    }

    #[test]
    fn tokio_features_that_bring_a_runtime() {
        let tree = "tokio v1.50.0\n├── tokio feature \"default\"\n│   └── hyper v1.12.0\n└── tokio feature \"sync\"\n";
        assert!(tokio_runtime(tree).is_empty());
        assert!(tokio_runtime("").is_empty());
        assert_eq!(
            tokio_runtime(&format!("{tree}├── tokio feature \"rt\"\n├── tokio feature \"net\" (*)\n")).len(),
            2
        );
    }
}
