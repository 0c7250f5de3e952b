//! What of a Rust text the rules need: its tokens, what it defines, what it uses and which paths it names.
//!
//! `tree` reads every file once through [`Source::new`]. No compiler: I1. Comments, strings and characters are no tokens.
//! I2. What stands under `#[cfg(test)]` is no use and names no path, and a module declared so is listed as a test. I3. A
//! text that does not compile gives some answer and never a panic.

use super::UNSAFE;
use std::collections::BTreeSet;

/// Words that are followed by the name of what they define.
const DEFINING: [&str; 10] =
    ["fn", "struct", "enum", "union", "trait", "const", "static", "type", "mod", "macro_rules"];
/// Words that an item ending in `;` begins with, whatever braces stand in it.
const TO_SEMICOLON: [&str; 5] = ["use", "const", "static", "type", "let"];
/// Words that an item ending in `;` or a block begins with.
const TO_BLOCK: [&str; 10] =
    ["fn", "struct", "enum", "union", "trait", "impl", "mod", "async", UNSAFE, "macro_rules"];

/// One word or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    /// From 1.
    pub line: usize,
}

/// One name that a `use` brings in, its tree unfolded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use<'a> {
    /// As written: it may begin with `crate`, `super` or `self`.
    pub path: Vec<&'a str>,
    /// How it is called here; `*` for everything in it.
    pub name: &'a str,
    pub is_public: bool,
    /// The inline modules of the file that it stands in.
    pub inside: Vec<&'a str>,
}

/// A path of two or more segments in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub path: Vec<&'a str>,
    pub inside: Vec<&'a str>,
}

/// What one file holds.
#[derive(Debug, Default)]
pub struct Source<'a> {
    /// Names of functions, types, constants, modules and macros, tests included.
    pub defined: BTreeSet<&'a str>,
    /// Of those the types.
    pub types: BTreeSet<&'a str>,
    /// Words between `impl` and its block: the types whose methods are here, among others.
    pub implemented: BTreeSet<&'a str>,
    /// Names with one colon behind: fields, and arguments with them.
    pub fields: BTreeSet<&'a str>,
    /// Every word.
    pub words: BTreeSet<&'a str>,
    pub uses: Vec<Use<'a>>,
    pub named: Vec<Named<'a>>,
    /// Inline modules, by their path in the file.
    pub modules: Vec<Vec<&'a str>>,
    /// Modules in files of their own that are there for tests only.
    pub test_modules: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Source<'a> {
        let all = tokens(text);
        let mut source = Source::default();
        source.collect_definitions(&all);
        let product = source.without_tests(&all);
        source.collect_paths(&product);
        source
    }

    fn collect_definitions(&mut self, tokens: &[Token<'a>]) {
        for (at, token) in tokens.iter().enumerate() {
            let next = |by: usize| tokens.get(at + by).map_or("", |token| token.text);
            if is_name(token.text) {
                self.words.insert(token.text);
                if next(1) == ":" {
                    self.fields.insert(token.text);
                }
            }
            if DEFINING.contains(&token.text) {
                let by = if next(1) == "!" || next(1) == "mut" { 2 } else { 1 };
                let name = next(by);
                if is_name(name) {
                    self.defined.insert(name);
                    if ["struct", "enum", "union", "trait", "type"].contains(&token.text) {
                        self.types.insert(name);
                    }
                }
            }
            if token.text == "impl" {
                let head = tokens[at..].iter().take_while(|token| token.text != "{" && token.text != ";");
                self.implemented.extend(head.map(|token| token.text).filter(|word| is_name(word)));
            }
        }
    }

    /// The tokens of the product, without what is compiled for tests only.
    fn without_tests(&mut self, tokens: &[Token<'a>]) -> Vec<Token<'a>> {
        let mut kept = Vec::with_capacity(tokens.len());
        let mut at = 0;
        while at < tokens.len() {
            let Some(end) = attribute_end(tokens, at) else {
                kept.push(tokens[at]);
                at += 1;
                continue;
            };
            let inner: Vec<&str> = tokens[at + 2..end - 1].iter().map(|token| token.text).collect();
            at = end;
            if !matches!(inner[..], ["cfg", "(", "test", ")"] | ["cfg", "(", "all", "(", "test", ..]) {
                continue;
            }
            while let Some(end) = attribute_end(tokens, at) {
                at = end;
            }
            let end = item_end(tokens, at);
            let item: Vec<&str> = tokens[at..end].iter().map(|token| token.text).collect();
            if let [.., "mod", name, ";"] = item[..] {
                self.test_modules.push(name);
            }
            at = end;
        }
        kept
    }

    fn collect_paths(&mut self, tokens: &[Token<'a>]) {
        // Inline modules around the place, with the depth of their blocks.
        let mut inside: Vec<(&str, usize)> = Vec::new();
        let (mut depth, mut at) = (0_usize, 0);
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
        while at < tokens.len() {
            let names = |inside: &[(&'a str, usize)]| inside.iter().map(|(name, _)| *name).collect();
            match text(at) {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    inside.retain(|(_, block)| *block <= depth);
                }
                "mod" if is_name(text(at + 1)) && text(at + 2) == "{" => {
                    inside.push((tokens[at + 1].text, depth + 1));
                    self.modules.push(names(&inside));
                    at += 1;
                }
                "use" if at == 0 || ["}", ";", "{", "pub", ")", "]"].contains(&text(at - 1)) => {
                    let is_public = at > 0 && ["pub", ")"].contains(&text(at - 1));
                    let end = tokens[at..].iter().position(|token| token.text == ";");
                    let end = end.map_or(tokens.len(), |end| at + end);
                    let words: Vec<&str> = tokens[at + 1..end].iter().map(|token| token.text).collect();
                    for (path, name) in use_tree(&words) {
                        self.uses.push(Use { path, name, is_public, inside: names(&inside) });
                    }
                    at = end;
                }
                // `pub(in crate::a)` says who may look, not what is looked at.
                "in" if 2 <= at && text(at - 1) == "(" && text(at - 2) == "pub" => {
                    while at < tokens.len() && text(at) != ")" {
                        at += 1;
                    }
                }
                word if is_name(word) && text(at + 1) == "::" => {
                    let mut path = vec![tokens[at].text];
                    let starts = at == 0 || ![".", "::"].contains(&text(at - 1));
                    while text(at + 1) == "::" && is_name(text(at + 2)) {
                        at += 2;
                        path.push(tokens[at].text);
                    }
                    if starts && 1 < path.len() {
                        self.named.push(Named { path, inside: names(&inside) });
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// Whether a token is an identifier or a keyword.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The end of the attribute that begins `at`, if one does.
fn attribute_end(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    if tokens.get(at)?.text != "#" || tokens.get(at + 1)?.text != "[" {
        return None;
    }
    let mut depth = 0;
    for (nth, token) in tokens.iter().enumerate().skip(at + 1) {
        match token.text {
            "[" => depth += 1,
            "]" if depth == 1 => return Some(nth + 1),
            "]" => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The end of the item, field, variant, arm or statement that begins `at`.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    // What is visible, and to whom, comes first.
    let mut first = at;
    if tokens.get(first).is_some_and(|token| token.text == "pub") {
        first += 1;
        if tokens.get(first).is_some_and(|token| token.text == "(") {
            first += tokens[first..].iter().position(|token| token.text == ")").map_or(0, |end| end + 1);
        }
    }
    let word = tokens.get(first).map_or("", |token| token.text);
    let is_function = word == "const" && tokens.get(first + 1).is_some_and(|token| token.text == "fn");
    let to_semicolon = TO_SEMICOLON.contains(&word) && !is_function;
    let is_item = to_semicolon || is_function || TO_BLOCK.contains(&word);
    let mut depth = 0_usize;
    for (nth, token) in tokens.iter().enumerate().skip(first) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return nth,
            "}" if depth == 1 && !to_semicolon => return nth + 1,
            ")" | "]" | "}" => depth -= 1,
            ";" if depth == 0 => return nth + 1,
            "," if depth == 0 && !is_item => return nth + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Unfolds what stands between `use` and `;` into paths and the names they get.
fn use_tree<'a>(words: &[&'a str]) -> Vec<(Vec<&'a str>, &'a str)> {
    let mut found = Vec::new();
    let start = usize::from(words.first() == Some(&"::"));
    if start == 0 {
        unfold(words, &mut start.clone(), &[], &mut found);
    }
    found
}

fn unfold<'a>(
    words: &[&'a str],
    at: &mut usize,
    prefix: &[&'a str],
    found: &mut Vec<(Vec<&'a str>, &'a str)>,
) {
    let mut path = prefix.to_vec();
    while let Some(word) = words.get(*at) {
        *at += 1;
        match *word {
            "{" => {
                while !matches!(words.get(*at), None | Some(&"}")) {
                    unfold(words, at, &path, found);
                    *at += usize::from(words.get(*at) == Some(&","));
                }
                *at += 1;
                return;
            }
            "*" => return found.push((path, "*")),
            // `a::{self}` is `a` itself.
            "self" if !path.is_empty() => {}
            "::" => continue,
            word if is_name(word) => path.push(word),
            // Nothing that a `use` may hold: go on behind it.
            _ => continue,
        }
        if words.get(*at) == Some(&"::") {
            continue;
        }
        let mut name = path.last().copied().unwrap_or_default();
        if words.get(*at) == Some(&"as") {
            name = words.get(*at + 1).copied().unwrap_or_default();
            *at += 2;
        }
        return found.push((path, name));
    }
}

/// Words and signs; `::` is one sign, a literal of text is `""`, a lifetime is nothing.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'/' if byte(at + 1) == b'/' => at += until(bytes, at, |rest| rest[0] == b'\n'),
            b'/' if byte(at + 1) == b'*' => at = comment_end(bytes, at),
            b'"' => {
                at = string_end(bytes, at);
                found.push(Token { text: "\"\"", line });
            }
            b'\'' => at = quote_end(text, at),
            first if is_word(first) => {
                at += until(bytes, at, |rest| !is_word(rest[0]));
                let word = &text[start..at];
                let is_prefix = ["r", "b", "c", "br", "cr"].contains(&word);
                if is_prefix && byte(at) == b'"' || is_prefix && word != "b" && raw_hashes(bytes, at) > 0 {
                    at = if word.contains('r') { raw_end(bytes, at) } else { string_end(bytes, at) };
                    found.push(Token { text: "\"\"", line });
                } else if word == "b" && byte(at) == b'\'' {
                    at = quote_end(text, at);
                } else if word == "r" && byte(at) == b'#' {
                    at += 1; // a raw identifier: the word behind is the next token
                } else {
                    found.push(Token { text: word, line });
                }
            }
            b':' if byte(at + 1) == b':' => {
                at += 2;
                found.push(Token { text: "::", line });
            }
            first => {
                at += 1;
                if !first.is_ascii_whitespace() {
                    found.push(Token { text: &text[start..at], line });
                }
            }
        }
        line += bytes[start..at.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count();
    }
    found
}

/// Part of an identifier or number; every byte of a letter that is not ASCII counts.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || 0x80 <= byte
}

/// Bytes from `at` until `is_end`, or to the end of the text.
fn until(bytes: &[u8], at: usize, is_end: impl Fn(&[u8]) -> bool) -> usize {
    (at..bytes.len()).position(|at| is_end(&bytes[at..])).unwrap_or(bytes.len() - at)
}

fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Behind the string whose opening quote stands `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Number of `#` before the quote of a raw string; 0 when no quote follows them.
fn raw_hashes(bytes: &[u8], at: usize) -> usize {
    let hashes = until(bytes, at, |rest| rest[0] != b'#');
    if bytes.get(at + hashes) == Some(&b'"') { hashes } else { 0 }
}

fn raw_end(bytes: &[u8], at: usize) -> usize {
    let hashes = raw_hashes(bytes, at);
    let body = at + hashes + 1;
    let is_end =
        |rest: &[u8]| rest[0] == b'"' && rest[1..].iter().take_while(|byte| **byte == b'#').count() >= hashes;
    (body + until(bytes, body.min(bytes.len()), is_end) + 1 + hashes).min(bytes.len())
}

/// Behind the character or lifetime whose quote stands `at`.
fn quote_end(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let mut rest = text[at + 1..].chars();
    match (rest.next(), rest.next()) {
        (Some('\\'), Some(_)) => {
            let from = (at + 3).min(bytes.len());
            (from + until(bytes, from, |rest| rest[0] == b'\'') + 1).min(bytes.len())
        }
        (Some(one), Some('\'')) => at + 1 + one.len_utf8() + 1,
        _ => at + 1 + until(bytes, at + 1, |rest| !is_word(rest[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_signs() {
        let check = |text: &str, want: &str| {
            let found: Vec<&str> = tokens(text).iter().map(|token| token.text).collect();
            assert_eq!(found.join(" "), want, "{text}");
        };
        check("a::b(c) // d\ne", "a :: b ( c ) e");
        check("/* a /* b */ c */ d", "d");
        check(r#"x("a \" b", 'c', '\'', b'd', b"e")"#, r#"x ( "" , , , , "" )"#);
        check(r##"r"a\" b r#"c " d"# e"##, r#""" b "" e"#);
        check("fn a<'b>(c: &'b str, r#type: u8)", "fn a < > ( c : & str , type : u8 )");
        check("\"open", "\"\"");
        check("'\\", "\\");
        check("'é' é", "é");
        check("/* open", "");
        check("r#\"open", "\"\"");
    }

    #[test]
    fn lines() {
        let lines: Vec<usize> =
            tokens("a\n\"b\n\" c // d\n/* \n */ e").iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 3, 5]);
    }

    #[test]
    fn uses() {
        let check = |text: &str, want: &[&str]| {
            let source = Source::new(text);
            let found: Vec<String> =
                source.uses.iter().map(|used| format!("{} {}", used.path.join("::"), used.name)).collect();
            assert_eq!(found, want, "{text}");
        };
        check("use a::b;", &["a::b b"]);
        check("use a::{b, c::{d, e as f}, g::*};", &["a::b b", "a::c::d d", "a::c::e f", "a::g *"]);
        check("use super::{\n    self, a::{self, b},\n};", &["super super", "super::a a", "super::a::b b"]);
        check("pub(crate) use self::a as _;", &["self::a _"]);
        check("use ::std::fmt;", &[]);
        check("fn f() { use a::B; }", &["a::B B"]);
        check("use a::{b,", &["a::b b"]);
        check("#[cfg(test)]\nuse a::{b, c};\nuse d::e;", &["d::e e"]);
        check("#[cfg(test)]\nmod tests {\n use a::b;\n fn f() {}\n}\nuse d::e;", &["d::e e"]);
        check("#[cfg(any(test, feature = \"f\"))]\nuse a::b;", &["a::b b"]);
        check("struct S { #[cfg(test)] a: A<b::C>, d: e::F }\nuse g::h;", &["g::h h"]);
        let source = Source::new("pub use a::b;\nmod m {\n mod n { use super::c; }\n use d::e; }\nuse f::g;");
        assert_eq!(
            source.uses.iter().map(|used| used.is_public).collect::<Vec<_>>(),
            [true, false, false, false]
        );
        let inside: Vec<String> = source.uses.iter().map(|used| used.inside.join("::")).collect();
        assert_eq!(inside, ["", "m::n", "m", ""]);
    }

    #[test]
    fn paths_in_code() {
        let check = |text: &str, want: &[&str]| {
            let source = Source::new(text);
            let found: Vec<String> = source.named.iter().map(|named| named.path.join("::")).collect();
            assert_eq!(found, want, "{text}");
        };
        check(
            "fn f() -> crate::a::B { super::c::d(x.e::<F>(), G::<h::I>::j()) }",
            &["crate::a::B", "super::c::d", "h::I"],
        );
        check("pub(in crate::a) fn f() {}", &[]);
        check("fn f() { \"crate::a\"; /* crate::b */ }", &[]);
        check("#[cfg(test)]\nfn f() { crate::a::b() }\n", &[]);
        check("#[cfg(test)]\nmod tests;\nfn f() { a::b() }", &["a::b"]);
    }

    #[test]
    fn definitions() {
        let source = Source::new(
            "static mut A: u8 = 0; macro_rules! b { () => {} } impl<T> C for D<T> { const fn e() {} }\n\
             enum F { G } type H = F; #[cfg(test)] mod tests;",
        );
        let defined: Vec<&str> = source.defined.iter().copied().collect();
        assert_eq!(defined, ["A", "F", "H", "b", "e", "fn", "tests"]);
        assert_eq!(source.types.iter().copied().collect::<Vec<_>>(), ["F", "H"]);
        assert!(source.implemented.contains("D") && !source.implemented.contains("F"));
        assert_eq!(source.test_modules, ["tests"]);
    }
}
