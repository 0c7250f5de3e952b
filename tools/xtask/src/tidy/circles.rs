//! No circles between the modules of the product: what is above may use what is below, and never the other way round.
//!
//! `tidy` calls [`findings`]. At the top of a crate every file and folder is one node; further down the sub-folders of a
//! folder are, and its files are none: they may use each other, and a sub-folder may go on with the type that they begin. A
//! node uses another one when a `use` or a path outside of tests leads from a file of the one into a file of the other.
//! Re-exports of what lies below are no use.

use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Crates that are held to it.
const CRATES: [&str; 3] = ["engine", "catalog", "http"];

/// Circles that stand for the time being: the folder, the nodes, and what ties them. One that is gone must go from here.
const STANDING: [Standing; 0] = [];

type Standing = (&'static str, &'static [&'static str], &'static str);

/// Which files tie two nodes: from, to, and by what names.
type Ties<'a> = BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>;

pub fn findings(tree: &Tree<'_>) -> Vec<String> {
    findings_beside(tree, &CRATES, &STANDING)
}

fn findings_beside(tree: &Tree<'_>, crates: &[&str], standing: &[Standing]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut met = BTreeSet::new();
    for (owner, one) in tree.crates.iter().enumerate().filter(|(_, one)| crates.contains(&one.folder)) {
        let source = format!("{}/src", one.folder);
        let ties = ties(tree, owner);
        for folder in folders(&source, tree.files.iter().map(|file| file.path)) {
            for circle in circles(&folder, folder == source, &ties) {
                let is_it = |(of, nodes, _): &Standing| {
                    *of == folder && circle.nodes.iter().all(|node| nodes.contains(&node.as_str()))
                };
                match standing.iter().position(is_it) {
                    Some(nth) => drop(met.insert(nth)),
                    None => findings.push(circle.tell(&folder)),
                }
            }
        }
    }
    for (nth, (folder, nodes, _)) in standing.iter().enumerate().filter(|(nth, _)| !met.contains(nth)) {
        let nodes = nodes.join(", ");
        findings.push(format!("tidy/circles.rs: entry {nth}: {folder} has no circle of {nodes} any more"));
    }
    findings
}

/// Every use from one file of a crate to another, but for tests and re-exports of what lies below.
fn ties<'a>(tree: &Tree<'a>, owner: usize) -> Ties<'a> {
    let mut ties = Ties::new();
    for (nth, file) in tree.files.iter().enumerate() {
        let Some(module) = file.module.as_ref().filter(|_| file.owner == Some(owner) && !file.is_test) else {
            continue;
        };
        let uses = file.source.uses.iter().map(|used| (&used.path, &used.inside, used.is_public));
        let named = file.source.named.iter().map(|named| (&named.path, &named.inside, false));
        for (path, inside, is_public) in uses.chain(named) {
            let Some(path) = tree.absolute(nth, inside, path) else { continue };
            let lies_below = module.len() < path.len() && path.starts_with(module);
            let Some(to) = tree.target(owner, &path).filter(|to| *to != nth) else { continue };
            if !(is_public && lies_below) {
                let name = path.last().copied().unwrap_or("crate");
                ties.entry((file.path, tree.files[to].path)).or_default().insert(name);
            }
        }
    }
    ties
}

/// The folder and every one below it that holds files.
fn folders<'a>(source: &str, paths: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for path in paths {
        let mut folder = path;
        while let Some((above, _)) = folder.rsplit_once('/') {
            if above == source || above.starts_with(&format!("{source}/")) {
                folders.insert(above.to_owned());
            }
            folder = above;
        }
    }
    folders
}

/// Nodes that use each other, directly or through others.
struct Circle {
    nodes: BTreeSet<String>,
    /// Node, node, and which files by what names.
    ties: Vec<(String, String, String)>,
}

impl Circle {
    fn tell(&self, folder: &str) -> String {
        let nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        let mut told = format!("{folder}: a circle of {}", nodes.join(", "));
        for (from, to, tie) in &self.ties {
            told += &format!("\n  {from} -> {to}: {tie}");
        }
        told
    }
}

fn circles(folder: &str, is_top: bool, ties: &Ties<'_>) -> Vec<Circle> {
    let mut edges = BTreeSet::new();
    let mut named = Vec::new();
    // A file beside a folder of its own name is a part of that module.
    let has_folder = |node: &str| {
        let inside = format!("{folder}/{node}/");
        ties.keys().any(|(from, to)| from.starts_with(&inside) || to.starts_with(&inside))
    };
    let node_of = |path: &str| {
        let path = path.strip_prefix(folder)?.strip_prefix('/')?;
        let node = path.split('/').next().unwrap_or_default();
        let stem = node.strip_suffix(".rs").unwrap_or(node);
        (is_top || node == stem || has_folder(stem)).then(|| stem.to_owned())
    };
    for ((from, to), names) in ties {
        let (Some(from_node), Some(to_node)) = (node_of(from), node_of(to)) else { continue };
        if from_node != to_node {
            let short = |path: &str| path[folder.len() + 1..].to_owned();
            let names: Vec<&str> = names.iter().copied().collect();
            let tie = format!("{} -> {} ({})", short(from), short(to), names.join(", "));
            named.push((from_node.clone(), to_node.clone(), tie));
            edges.insert((from_node, to_node));
        }
    }
    let components = components(&edges).into_iter().filter(|nodes| 1 < nodes.len());
    let circle = |nodes: BTreeSet<String>| {
        let within = |tie: &&(String, String, String)| nodes.contains(&tie.0) && nodes.contains(&tie.1);
        let mut ties: Vec<_> = named.iter().filter(within).cloned().collect();
        ties.sort();
        Circle { nodes, ties }
    };
    components.map(circle).collect()
}

/// The strongly connected components of a graph, each node in one.
fn components(edges: &BTreeSet<(String, String)>) -> Vec<BTreeSet<String>> {
    let nodes: BTreeSet<&String> = edges.iter().flat_map(|(from, to)| [from, to]).collect();
    let reached = |start: &String| {
        let (mut reached, mut open) = (BTreeSet::from([start.clone()]), vec![start.clone()]);
        while let Some(node) = open.pop() {
            let next = edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| to);
            open.extend(next.filter(|to| reached.insert((*to).clone())).cloned());
        }
        reached
    };
    // Graphs of a few dozen nodes: who reaches whom is simpler than a single walk.
    let reaches: BTreeMap<&String, BTreeSet<String>> =
        nodes.iter().map(|node| (*node, reached(node))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for node in nodes {
        if !found.iter().any(|component| component.contains(node)) {
            let both = reaches[node].iter().filter(|other| reaches[other].contains(node));
            found.push(both.cloned().collect());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::texts;
    use super::*;

    #[test]
    fn strongly_connected() {
        let check = |edges: &[(&str, &str)], want: &[&str]| {
            let edges = edges.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
            let found: Vec<String> = components(&edges)
                .into_iter()
                .map(|nodes| nodes.into_iter().collect::<Vec<_>>().join(""))
                .collect();
            assert_eq!(found, want);
        };
        check(&[], &[]);
        check(&[("a", "b")], &["a", "b"]);
        check(&[("a", "b"), ("b", "a")], &["ab"]);
        check(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d")], &["abc", "de"]);
        check(&[("a", "b"), ("b", "c"), ("a", "c")], &["a", "b", "c"]);
    }

    #[test]
    fn circles_of_modules() {
        let check = |files: &[(&str, &str)], standing: &[Standing], want: &[&str]| {
            let mut all = vec![("e/Cargo.toml", "")];
            all.extend(files);
            let texts = texts(&all);
            let found = findings_beside(&Tree::new(&texts), &["e"], standing);
            assert_eq!(found, want);
        };
        let (a, b) =
            (("e/src/a.rs", "use crate::b::B; pub struct A;"), ("e/src/b/mod.rs", "pub struct B(crate::A);"));
        let lib = ("e/src/lib.rs", "pub mod a; pub mod b; pub use a::A;");
        let told = "e/src: a circle of a, b\n  a -> b: a.rs -> b/mod.rs (B)\n  b -> a: b/mod.rs -> a.rs (A)";
        check(&[lib, a, b], &[], &[told]);
        check(&[lib, a, b], &[("e/src", &["a", "b", "c"], "until later")], &[]);
        check(
            &[lib, a],
            &[("e/src", &["a", "b"], "until later")],
            &["tidy/circles.rs: entry 0: e/src has no circle of a, b any more"],
        );
        check(
            &[lib, a, ("e/src/b/mod.rs", "pub struct B; #[cfg(test)] mod tests { use crate::A; }")],
            &[],
            &[],
        );
        // Files of one folder may, and so may a sub-folder and the files beside it; sub-folders may not.
        let files = [
            ("e/src/lib.rs", "mod a;"),
            ("e/src/a/mod.rs", "mod b; mod c; pub use b::B; pub struct A;"),
            ("e/src/a/b.rs", "use super::c::C; pub struct B;"),
            ("e/src/a/c.rs", "use super::B; pub struct C;"),
        ];
        check(&files, &[], &[]);
        let below = ("e/src/a/c/mod.rs", "use super::B; use super::A; pub struct C;");
        check(&[files[0], files[1], files[2], below], &[], &[]);
        let both = ("e/src/a/b/mod.rs", files[2].1);
        let told = "e/src/a: a circle of b, c\n  b -> c: b/mod.rs -> c/mod.rs (C)\n  c -> b: c/mod.rs -> b/mod.rs (B)";
        check(&[files[0], files[1], both, below], &[], &[told]);
        let beside = [files[2], ("e/src/a/b/d.rs", ""), ("e/src/a/b/e.rs", "use super::d;")];
        check(
            &[files[0], files[1], beside[0], beside[1], beside[2], below],
            &[],
            &["e/src/a: a circle of b, c\n  b -> c: b.rs -> c/mod.rs (C)\n  c -> b: c/mod.rs -> b.rs (B)"],
        );
    }
}
