//! What documents and doc comments name is there: files, and paths of modules such as `tree::Tree`.
//!
//! `tidy` calls [`findings`]. Only what stands in backticks is looked at, outside of fenced blocks. A path is looked at when
//! its first segment is a module or type of ours, so what other crates call theirs is no finding: I1. No name is a finding
//! that could mean something that is there.

use super::TOP_LEVEL;
use super::rust::{Source, is_name};
use super::tree::{File, Tree};

/// What types have without its being written: derived, or provided by a trait.
const GIVEN: [&str; 12] =
    ["clone", "cmp", "default", "drop", "eq", "fmt", "from", "hash", "into", "next", "poll", "try_from"];

/// One span in backticks.
#[derive(Debug, PartialEq, Eq)]
pub struct Span<'a> {
    pub line: usize,
    pub text: &'a str,
}

/// Names in a document, or in the doc comments of a Rust file, that lead nowhere; `is_there` knows files and folders.
pub fn findings(tree: &Tree<'_>, path: &str, text: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let file = tree.files.iter().position(|file| file.path == path);
    let mut findings = Vec::new();
    for span in spans(text, file.is_some()) {
        let mut found = |name: &str| {
            findings.push(format!("{path}:{}: names `{name}`, which is not there", span.line));
        };
        if is_path(span.text) {
            if !file_is_there(tree, file, span.text) && !is_there(span.text) {
                found(span.text);
            }
            continue;
        }
        for name in module_paths(span.text) {
            if !leads_somewhere(tree, file, &name) {
                found(&name.join("::"));
            }
        }
    }
    findings
}

/// What stands in backticks, outside of fenced blocks; of a Rust file in its doc comments.
pub fn spans(text: &str, is_rust: bool) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    // The lines of one block: a span may go over the end of a line, but not out of its block.
    let mut is_open = false;
    let mut is_fenced = false;
    for (line, number) in text.lines().zip(1..) {
        let trimmed = line.trim_start();
        let said = if is_rust {
            trimmed
                .strip_prefix("//!")
                .or_else(|| trimmed.strip_prefix("///").filter(|rest| !rest.starts_with('/')))
        } else {
            Some(line)
        };
        let Some(said) = said.filter(|said| !said.trim().is_empty()) else {
            (is_open, is_fenced) = (false, is_fenced && !is_rust);
            continue;
        };
        if said.trim_start().starts_with("```") {
            (is_open, is_fenced) = (false, !is_fenced);
            continue;
        }
        if is_fenced {
            continue;
        }
        for (nth, piece) in said.split('`').enumerate() {
            is_open ^= 0 < nth;
            if is_open && !piece.is_empty() {
                spans.push(Span { line: number, text: piece.trim() });
            }
        }
    }
    spans
}

/// Whether a span is the path of a file or folder of ours.
fn is_path(span: &str) -> bool {
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    is_plain && (span.ends_with(".rs") || TOP_LEVEL.iter().any(|top| span.starts_with(top)))
}

/// A path may begin anywhere above the file: at the top of the repository, of the crate, or of a folder in it.
fn file_is_there(tree: &Tree<'_>, from: Option<usize>, named: &str) -> bool {
    let owner = from.and_then(|from| tree.files[from].owner);
    tree.files.iter().any(|file| {
        let is_near = owner.is_none() || file.owner == owner;
        file.path == named || is_near && file.path.strip_suffix(named).is_some_and(|rest| rest.ends_with('/'))
    })
}

/// The paths of two or more segments in a span.
fn module_paths(span: &str) -> Vec<Vec<&str>> {
    let is_end = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
    let words = span.split(is_end).filter(|word| word.contains("::"));
    words
        .map(|word| {
            word.split("::").take_while(|segment| is_name(segment) && !segment.contains(':')).collect()
        })
        .filter(|path: &Vec<&str>| 1 < path.len())
        .collect()
}

fn leads_somewhere<'a>(tree: &Tree<'a>, from: Option<usize>, path: &[&'a str]) -> bool {
    let owner = from.and_then(|from| tree.files[from].owner);
    let (first, rest) = (path[0], &path[1..]);
    if ["crate", "self", "super"].contains(&first) {
        let absolute = from.and_then(|from| tree.absolute(from, &[], path));
        return absolute.zip(owner).is_none_or(|(path, owner)| resolves(tree, owner, &[], &path));
    }
    // What the crate itself calls so comes before what another one does.
    for owner in [owner, None] {
        let is_asked = |nth: &usize| owner.is_none_or(|owner| owner == *nth);
        let crates = (0..tree.crates.len()).filter(is_asked);
        let modules = crates.clone().flat_map(|nth| {
            let named_so = tree.crates[nth].modules.keys().filter(|module| module.last() == Some(&first));
            named_so.map(move |module| (nth, module))
        });
        let candidates: Vec<_> = modules.collect();
        let types: Vec<usize> = crates.filter(|nth| defines_type(tree, *nth, first)).collect();
        if !candidates.is_empty() || !types.is_empty() {
            return candidates.iter().any(|(nth, module)| resolves(tree, *nth, module, rest))
                || types.iter().any(|nth| has_member(tree, *nth, first, rest[0]));
        }
    }
    true
}

/// Whether a path leads somewhere from a module on.
fn resolves<'a>(tree: &Tree<'a>, owner: usize, module: &[&'a str], path: &[&'a str]) -> bool {
    let whole = [module, path].concat();
    let modules = &tree.crates[owner].modules;
    let Some(depth) = (0..=whole.len()).rev().find(|depth| modules.contains_key(&whole[..*depth])) else {
        return false;
    };
    let Some(name) = whole.get(depth) else { return true };
    let source = &tree.files[modules[&whole[..depth]]].source;
    let is_there = source.defined.contains(name) || source.uses.iter().any(|used| used.name == *name) || {
        let through = tree.target(owner, &whole[..=depth]);
        through.is_some_and(|file| tree.files[file].source.defined.contains(name))
    };
    let member = whole.get(depth + 1).filter(|_| defines_type(tree, owner, name));
    is_there && member.is_none_or(|member| has_member(tree, owner, name, member))
}

fn sources<'t, 'a>(tree: &'t Tree<'a>, owner: usize) -> impl Iterator<Item = &'t Source<'a>> {
    tree.files.iter().filter(move |file: &&File<'_>| file.owner == Some(owner)).map(|file| &file.source)
}

fn defines_type(tree: &Tree<'_>, owner: usize, name: &str) -> bool {
    sources(tree, owner).any(|source| source.types.contains(name))
}

/// Whether anything that defines or implements a type has a function, field, variant or constant of this name.
fn has_member(tree: &Tree<'_>, owner: usize, name: &str, member: &str) -> bool {
    let mut own = sources(tree, owner)
        .filter(|source| source.types.contains(name) || source.implemented.contains(name));
    let is_lower = member.starts_with(|c: char| c.is_lowercase());
    GIVEN.contains(&member)
        || own.any(|source| match is_lower {
            true => source.defined.contains(member) || source.fields.contains(member),
            false => source.words.contains(member),
        })
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::texts;
    use super::*;

    #[test]
    fn in_backticks() {
        let check = |text: &str, is_rust: bool, want: &[(usize, &str)]| {
            let found: Vec<(usize, &str)> =
                spans(text, is_rust).iter().map(|span| (span.line, span.text)).collect();
            assert_eq!(found, want, "{text}");
        };
        check(
            "a `b` c\n```\n`d`\n```\n`e f\ng` `h`\n\n` i",
            false,
            &[(1, "b"), (5, "e f"), (6, "g"), (6, "h"), (8, "i")],
        );
        check("//! `a`\n// `b`\nfn f() {} // `c`\n    /// `d`\n//// `e`", true, &[(1, "a"), (4, "d")]);
        check("/// ```\n/// `a`\nfn f() {}\n/// `b`", true, &[(4, "b")]);
    }

    #[test]
    fn names() {
        let texts = texts(&[
            ("e/Cargo.toml", ""),
            ("e/src/lib.rs", "pub mod a; pub use a::Outer;"),
            (
                "e/src/a/mod.rs",
                "mod b; pub use b::*; pub fn f() {} pub struct Outer { field: u8 } enum E { One }",
            ),
            (
                "e/src/a/b.rs",
                "pub struct Inner; impl super::Outer { fn method() {} } mod inline { fn g() {} }",
            ),
            ("o/Cargo.toml", ""),
            ("o/src/lib.rs", "mod c;"),
            ("o/src/c.rs", ""),
        ]);
        let tree = Tree::new(&texts);
        let check = |path: &str, name: &str, is_right: bool| {
            let text = format!("//! `{name}`");
            let found = findings(&tree, path, &text, |path| path == "docs/there.md");
            assert_eq!(found.is_empty(), is_right, "{name}: {found:?}");
        };
        let here = "e/src/a/b.rs";
        for right in [
            "a::b",
            "a::f",
            "a::f(x)",
            "b::Inner",
            "a::Inner",
            "crate::a::b",
            "super::f",
            "inline::g",
            "Outer::method",
            "Outer::field",
            "Outer::default",
            "E::One",
            "a::Outer::method",
            "a::b::inline::g",
            "std::fmt::Debug",
            "Vec::new",
            "other::thing",
            "c",
            "a",
            "a/b.rs",
            "b.rs",
            "e/src/a/b.rs",
            "docs/there.md",
            "x: y::z",
        ] {
            check(here, right, true);
            check("README.md", right, true);
        }
        for wrong in [
            "a::gone",
            "a::Gone",
            "b::gone",
            "crate::gone",
            "super::gone",
            "inline::gone",
            "Outer::gone",
            "E::Two",
            "a::Outer::gone",
            "a::gone::f",
            "c::f",
            "a/gone.rs",
            "gone.rs",
            "docs/gone.md",
            "a::f and a::gone",
        ] {
            check(here, wrong, false);
        }
        check("README.md", "a::gone", false);
        check("README.md", "crate::gone", true);
        check("o/src/c.rs", "a/b.rs", false);
        check("o/src/c.rs", "e/src/a/b.rs", true);
    }
}
