//! The code map of README.md names every module at the top of a crate of the product.
//!
//! `tidy` calls [`findings`]; that what the map names is there is the business of `names`.

use super::names::spans;
use std::collections::BTreeSet;

/// Where the crates are whose modules the map lists.
const SOURCES: [&str; 3] = ["engine/src/", "catalog/src/", "http/src/"];
const TITLE: &str = "## Code map";

/// What of `paths`, the files of the repository, the map in `readme` leaves out.
pub fn findings<'a>(readme: &str, paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some((_, map)) = readme.split_once(TITLE) else {
        return vec![format!("README.md: has no part called {TITLE}")];
    };
    let map = map.split("\n## ").next().unwrap_or_default();
    let named: BTreeSet<&str> = spans(map, false).into_iter().map(|span| span.text).collect();
    let tops: BTreeSet<String> = paths.filter_map(top).collect();
    tops.iter()
        // A file beside a folder of its own name is one module with it.
        .filter(|top| !top.strip_suffix(".rs").is_some_and(|stem| tops.contains(&format!("{stem}/"))))
        .filter(|top| !named.contains(top.as_str()))
        .map(|top| format!("README.md: the code map leaves out `{top}`"))
        .collect()
}

/// The folder or file at the top of its crate that a file is in.
fn top(path: &str) -> Option<String> {
    let source = SOURCES.iter().find(|source| path.starts_with(**source))?;
    match path[source.len()..].split_once('/') {
        Some((folder, _)) => Some(format!("{source}{folder}/")),
        None => Some(path.to_owned()).filter(|path| path.ends_with(".rs") && !path.ends_with("/lib.rs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_map_leaves_out() {
        let check = |map: &str, want: &[&str]| {
            let readme = format!("`engine/src/d.rs`\n## Code map\n{map}\n## More\n`engine/src/d.rs`\n");
            let paths = [
                "engine/src/lib.rs",
                "engine/src/a/b.rs",
                "engine/src/c.rs",
                "engine/src/d.rs",
                "engine/src/e/f.rs",
            ];
            let paths = paths.into_iter().chain(["engine/src/e.rs", "bench/src/g.rs", "http/src/H.md"]);
            let found = findings(&readme, paths);
            let found: Vec<&str> = found.iter().filter_map(|finding| finding.split('`').nth(1)).collect();
            assert_eq!(found, want, "{map}");
        };
        check("", &["engine/src/a/", "engine/src/c.rs", "engine/src/d.rs", "engine/src/e/"]);
        check("`engine/src/a/`, `engine/src/c.rs` `engine/src/e/`", &["engine/src/d.rs"]);
        check("`engine/src/a/b.rs` `engine/src/c.rs` `engine/src/d.rs` `engine/src/e/`", &["engine/src/a/"]);
        assert_eq!(findings("", std::iter::empty()).len(), 1);
    }
}
