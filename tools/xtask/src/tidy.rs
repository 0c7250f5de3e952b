//! The rules no compiler checks: file headers, the runtime's fence, crate arrows, unsafe files, sizes; in files of their own
//! names in documents (`names`), circles of modules (`circles`), the code map (`map`) and statuses of failures (`statuses`).
//!
//! `check` runs it and so does `cargo test`. The rules are pure: paths and texts in, findings out.

mod rust;
mod tree;
mod names;
mod circles;
mod map;
mod statuses;

use crate::shell::{Failure, program, root};
use std::collections::BTreeSet;
use std::fs;
use tree::Tree;

/// Files that may name the runtime; a trailing `/` means everything below.
const RUNTIME_FILES: [&str; 3] = ["engine/src/rt/", "http/src/listen.rs", "http/src/hyper_io.rs"];
/// Files that may hold unsafe code.
const UNSAFE_FILES: [&str; 9] = [
    "tests/src/client.rs",
    "tests/src/server.rs",
    "engine/src/drive/buffer.rs",
    "engine/src/drive/file.rs",
    "engine/src/drive/ring.rs",
    "engine/src/drive/probe.rs",
    "engine/src/rt/",
    "http/src/hyper_io.rs",
    "http/src/listen.rs",
];
/// What the first half of a pair may not mention.
const ARROWS: [(&str, &[&str]); 4] = [
    ("engine/Cargo.toml", &["nilas-catalog", "nilas-http"]),
    ("catalog/Cargo.toml", &["nilas-http"]),
    ("engine/src/", &["http::", "Iceberg"]),
    ("catalog/src/", &["nilas_http", "hyper::"]),
];
/// Where a path in the documents may start.
const TOP_LEVEL: [&str; 10] =
    ["engine/", "catalog/", "http/", "bench/", "fuzz/", "tests/", "tools/", "docs/", ".ci/", ".cargo/"];
const FILE_BYTES_MAX: u64 = 1024 * 1024;

// The words looked for, put together so that this file does not hold them.
const RUNTIME: &str = concat!("glom", "mio");
const LEFT_OVER: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const IGNORED: &str = concat!("#[", "ignore");
const UNSAFE: &str = concat!("un", "safe");

pub fn run() -> Result<(), Failure> {
    let findings = findings()?;
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err(Failure(format!("{} findings", findings.len()))) }
}

fn findings() -> Result<Vec<String>, Failure> {
    let listed =
        program("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
    let mut findings = Vec::new();
    let mut texts = Vec::new();
    // During a merge a file is listed once for each side.
    let paths: BTreeSet<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    for path in paths {
        let full = root().join(path);
        let Ok(about) = fs::metadata(&full) else { continue }; // deleted, and not yet committed
        if about.len() > FILE_BYTES_MAX {
            findings.push(format!("{path}: {} bytes, at most {FILE_BYTES_MAX}", about.len()));
        }
        if let Ok(text) = fs::read_to_string(&full) {
            texts.push((path.to_owned(), text));
        }
    }
    let tree = Tree::new(&texts);
    let is_there = |named: &str| root().join(named).exists();
    for (path, text) in &texts {
        findings.extend(in_file(path, text));
        findings.extend(statuses::findings(path, text));
        if is_document(path) || path.ends_with(".rs") {
            findings.extend(names::findings(&tree, path, text, is_there));
        }
        if path == "README.md" {
            findings.extend(map::findings(text, texts.iter().map(|(path, _)| path.as_str())));
        }
    }
    findings.extend(circles::findings(&tree));
    Ok(findings)
}

/// What is wrong with one file by itself.
fn in_file(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut found = |line: usize, what: &str| findings.push(format!("{path}:{line}: {what}"));
    let rust = path.ends_with(".rs");
    if rust && !text.starts_with("//!") {
        found(1, "does not open with a `//!` that says what it is");
    }
    let written = [".rs", ".py", ".toml", ".md", ".sh"].iter().any(|ending| path.ends_with(ending));
    for (line, number) in text.lines().zip(1..) {
        if written && LEFT_OVER.iter().any(|word| has_word(line, word)) {
            found(number, "unfinished work: finish it or say it in the docs");
        }
        if rust && line.contains(IGNORED) {
            found(number, "a test that does not run");
        }
        if rust && has_word(line, RUNTIME) && !covers(&RUNTIME_FILES, path) {
            found(number, "names the runtime outside its fence");
        }
        let code = line.split("//").next().unwrap_or_default();
        if rust && has_word(code, UNSAFE) && !covers(&UNSAFE_FILES, path) {
            found(number, &format!("{UNSAFE} code outside the files allowed to hold it"));
        }
        for (from, refused) in ARROWS {
            if covers(&[from], path) {
                for word in refused.iter().filter(|word| line.contains(**word)) {
                    found(number, &format!("mentions {word}: the arrow goes the other way"));
                }
            }
        }
    }
    findings
}

fn is_document(path: &str) -> bool {
    let is_page = path.starts_with("docs/") && path.ends_with(".md");
    is_page || ["README.md", "engine/FORMAT.md"].contains(&path)
}

/// Whether a list of files, or of folders ending in `/`, covers a path.
fn covers(list: &[&str], path: &str) -> bool {
    list.iter().any(|entry| if entry.ends_with('/') { path.starts_with(entry) } else { path == *entry })
}

/// Whether `word` stands in `line` by itself, not inside a longer identifier.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let findings = findings().unwrap_or_else(|failure| vec![failure.0]);
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn rules() {
        let check = |path: &str, text: &str, count: usize| {
            let findings = in_file(path, text);
            assert_eq!(findings.len(), count, "{path}: {findings:?}");
        };
        check("engine/src/a.rs", "//! A.\nfn a() {}\n", 0);
        check("engine/src/a.rs", "fn a() {}\n", 1);
        check("engine/src/rt/clock.rs", &format!("//! A.\nuse {RUNTIME}::timer;\n"), 0);
        check("engine/src/shard/put.rs", &format!("//! A.\nuse {RUNTIME}::timer;\n"), 1);
        check("http/src/listen.rs", &format!("//! A.\nuse {RUNTIME}::timer;\n"), 0);
        check("engine/src/drive/buffer.rs", &format!("//! A.\n{UNSAFE} fn a() {{}}\n"), 0);
        check("http/src/route.rs", &format!("//! A.\n{UNSAFE} fn a() {{}}\n"), 1);
        check("http/src/route.rs", &format!("//! A.\n// not {UNSAFE}\n#![deny({UNSAFE}_code)]\n"), 0);
        check("engine/Cargo.toml", "nilas-http.workspace = true\n", 1);
        check("http/Cargo.toml", "nilas-engine.workspace = true\n", 0);
        check("engine/src/a.rs", "//! Knows http::Request and Iceberg.\n", 2);
        check("http/src/a.rs", "//! Knows http::Request and Iceberg.\n", 0);
        check("docs/a.md", &format!("{}: later\n", LEFT_OVER[0]), 1);
        check("engine/src/a.rs", &format!("//! A.\n    {IGNORED}]\n"), 1);
        check("tests/clients/a.py", "import os\n", 0);
    }
}
