//! All crates of the repository with their modules, and where a path leads.
//!
//! `names` asks whether what a document names is there, `circles` which file a use means. I1. A module is its file: what is
//! re-exported is followed to the file that defines it. I2. What leads out of the crate leads nowhere.

use super::rust::{Source, Use};
use std::collections::BTreeMap;

/// Longest chain of re-exports that is followed; more is a circle of them.
const REEXPORTS_MAX: u32 = 8;

/// One Rust file.
pub struct File<'a> {
    pub path: &'a str,
    pub source: Source<'a>,
    /// The crate it belongs to, by its place in [`Tree::crates`].
    pub owner: Option<usize>,
    /// Where it stands in the tree of modules; `None` for what is a crate of its own, such as a test or a binary.
    pub module: Option<Vec<&'a str>>,
    /// Compiled for tests only.
    pub is_test: bool,
}

/// One crate of the workspace.
pub struct Crate<'a> {
    /// Where its `Cargo.toml` is, without a slash at the end.
    pub folder: &'a str,
    /// Modules, with the file that each stands in.
    pub modules: BTreeMap<Vec<&'a str>, usize>,
}

/// The repository.
pub struct Tree<'a> {
    pub files: Vec<File<'a>>,
    pub crates: Vec<Crate<'a>>,
}

impl<'a> Tree<'a> {
    /// Reads the Rust files among `texts`, pairs of path and content.
    pub fn new(texts: &'a [(String, String)]) -> Tree<'a> {
        let folders = texts.iter().filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"));
        let mut crates: Vec<Crate<'a>> =
            folders.map(|folder| Crate { folder, modules: BTreeMap::new() }).collect();
        let mut files = Vec::new();
        for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
            let source = Source::new(text);
            let inside = |(_, one): &(usize, &Crate<'_>)| below(path, one.folder).is_some();
            let owner = crates.iter().enumerate().filter(inside).max_by_key(|(_, one)| one.folder.len());
            let owner = owner.map(|(nth, _)| nth);
            let module = owner.and_then(|owner| module_of(below(path, crates[owner].folder)?));
            if let (Some(owner), Some(module)) = (owner, &module) {
                let modules = &mut crates[owner].modules;
                modules.insert(module.clone(), files.len());
                for inline in &source.modules {
                    modules.insert([&module[..], &inline[..]].concat(), files.len());
                }
            }
            files.push(File { path, source, owner, module, is_test: false });
        }
        let mut tree = Tree { files, crates };
        let tests: Vec<usize> = (0..tree.files.len()).filter(|file| tree.is_for_tests(*file)).collect();
        tests.into_iter().for_each(|file| tree.files[file].is_test = true);
        tree
    }

    fn is_for_tests(&self, file: usize) -> bool {
        let file = &self.files[file];
        let (Some(owner), Some(module)) = (file.owner, &file.module) else { return true };
        (0..module.len()).any(|depth| {
            let parent = self.crates[owner].modules.get(&module[..depth]);
            parent.is_some_and(|parent| self.files[*parent].source.test_modules.contains(&module[depth]))
        })
    }

    /// A path that stands in `file`, within the inline modules `inside`, from the root of its crate; `None` when it begins
    /// with nothing that is known there.
    pub fn absolute(&self, file: usize, inside: &[&'a str], path: &[&'a str]) -> Option<Vec<&'a str>> {
        self.absolute_within(file, inside, path, REEXPORTS_MAX)
    }

    fn absolute_within(
        &self,
        file: usize,
        inside: &[&'a str],
        path: &[&'a str],
        left: u32,
    ) -> Option<Vec<&'a str>> {
        let File { source, owner, module, .. } = &self.files[file];
        let modules = &self.crates[(*owner)?].modules;
        let mut base = module.clone()?;
        base.extend(inside);
        let (first, rest) = path.split_first()?;
        match *first {
            "crate" => return Some(rest.to_vec()),
            "self" => {}
            "super" => {
                let mut rest = path;
                while let ["super", behind @ ..] = rest {
                    base.pop()?;
                    rest = behind;
                }
                return Some([&base[..], rest].concat());
            }
            first if modules.contains_key(&[&base[..], &[first]].concat()) => base.push(first),
            first => {
                let is_it =
                    |used: &&Use<'a>| used.name == first && used.inside == inside && used.path != [first];
                let used = source.uses.iter().find(is_it)?;
                base = self.absolute_within(file, inside, &used.path, left.checked_sub(1)?)?;
            }
        }
        Some([&base[..], rest].concat())
    }

    /// The file in which a path from the root of a crate ends: that of the module it names, or of what defines the item.
    pub fn target(&self, owner: usize, path: &[&'a str]) -> Option<usize> {
        self.target_within(owner, path, REEXPORTS_MAX)
    }

    fn target_within(&self, owner: usize, path: &[&'a str], left: u32) -> Option<usize> {
        let modules = &self.crates[owner].modules;
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let file = modules[&path[..depth]];
        let Some(name) = path.get(depth) else { return Some(file) };
        if self.files[file].source.defined.contains(name) {
            return Some(file);
        }
        let left = left.checked_sub(1)?;
        let inside = &path[self.files[file].module.as_ref().map_or(0, Vec::len).min(depth)..depth];
        let follow = |used: &Use<'a>, rest: &[&'a str]| {
            let to = self.absolute_within(file, inside, &used.path, left)?;
            self.target_within(owner, &[&to[..], rest].concat(), left)
        };
        let uses = self.files[file].source.uses.iter().filter(|used| used.inside == inside);
        let (globs, others): (Vec<_>, Vec<_>) = uses.partition(|used| used.name == "*");
        if let Some(used) = others.iter().find(|used| used.name == *name) {
            return follow(used, &path[depth + 1..]);
        }
        let through = globs.iter().filter(|_| !name.is_empty()).find_map(|used| {
            let file = follow(used, &path[depth..])?;
            self.files[file].source.defined.contains(name).then_some(file)
        });
        through.or(Some(file))
    }
}

/// What of `path` stands below a folder.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// The module that a file of a crate is; the path is the one within the crate.
fn module_of(path: &str) -> Option<Vec<&str>> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    if path.starts_with("bin/") {
        return None;
    }
    let mut module: Vec<&str> = path.split('/').collect();
    match module[..] {
        ["lib" | "main"] => module.clear(),
        [_, .., "mod"] => drop(module.pop()),
        _ => {}
    }
    Some(module)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn texts(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn paths() {
        let texts = texts(&[
            ("e/Cargo.toml", ""),
            ("e/src/lib.rs", "pub mod a; mod d; pub use a::{B, c::C as D}; pub use d::*; pub fn f() {}"),
            ("e/src/a/mod.rs", "mod c; pub struct B; use self::c::C; #[cfg(test)] mod tests;"),
            ("e/src/a/c.rs", "pub struct C; mod inner { use super::C; }"),
            ("e/src/a/tests.rs", ""),
            ("e/src/a/tests/more.rs", ""),
            ("e/src/d.rs", "pub fn g() {} use crate::a; use std::fmt;"),
            ("e/src/bin/x.rs", ""),
        ]);
        let tree = Tree::new(&texts);
        let file = |path: &str| tree.files.iter().position(|file| file.path == path).expect("a file");
        let check = |from: &str, inside: &[&'static str], path: &'static str, want: Option<&str>| {
            let path: Vec<&str> = path.split("::").collect();
            let absolute = tree.absolute(file(from), inside, &path);
            let found = absolute.and_then(|path| tree.target(0, &path));
            assert_eq!(found.map(|file| tree.files[file].path), want, "{path:?} in {from}");
        };
        check("e/src/d.rs", &[], "crate::B", Some("e/src/a/mod.rs"));
        check("e/src/d.rs", &[], "crate::D", Some("e/src/a/c.rs"));
        check("e/src/d.rs", &[], "crate::g", Some("e/src/d.rs"));
        check("e/src/d.rs", &[], "crate::f", Some("e/src/lib.rs"));
        check("e/src/d.rs", &[], "crate::a::C::new", Some("e/src/a/c.rs"));
        check("e/src/d.rs", &[], "a::c::C", Some("e/src/a/c.rs"));
        check("e/src/d.rs", &[], "fmt::Debug", None);
        check("e/src/d.rs", &[], "super::a", Some("e/src/a/mod.rs"));
        check("e/src/a/mod.rs", &[], "c::C", Some("e/src/a/c.rs"));
        check("e/src/a/c.rs", &[], "super::super::d::g", Some("e/src/d.rs"));
        check("e/src/a/c.rs", &["inner"], "super::C", Some("e/src/a/c.rs"));
        check("e/src/a/c.rs", &[], "super::super::super::d", None);
        let tests: Vec<&str> = tree.files.iter().filter(|file| file.is_test).map(|file| file.path).collect();
        assert_eq!(tests, ["e/src/a/tests.rs", "e/src/a/tests/more.rs", "e/src/bin/x.rs"]);
    }
}
