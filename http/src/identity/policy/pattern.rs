//! Texts with wildcards and variables: what stands in a resource or a condition's value.
//!
//! `resource` and `condition` compile [`Template`]s once and ask them whether a text fits; `*` stands for any characters,
//! `?` for one, `${key}` for what the request says. I1. What a variable stands for is taken as it is: wildcards in it are
//! characters. I2. A variable without a value fits nothing. I3. Matching goes back to the last `*` only, so its cost is
//! at most the product of both lengths, and a text without wildcards or variables is compared once.

use std::borrow::Cow;

use super::key::{ConditionKey, Context, Value};
use crate::limits::POLICY_PATTERN_BYTES_MAX;

/// How the characters of a text are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// `*` and `?` are wildcards.
    pub(super) wildcards: bool,
    /// `${…}` is a variable.
    pub(super) variables: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// One character.
    One,
    /// Any characters.
    Any,
    Variable(Variable),
}

/// What `${…}` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    key: ConditionKey,
    /// What it stands for when the request says nothing.
    default: Option<Box<str>>,
    /// Its place among the variables of the template.
    nth: usize,
}

/// A text with wildcards and variables. I4. No two texts stand side by side, nor two `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Box<[Piece]>,
    has_variables: bool,
}

/// How much of what begins with a text fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing.
    Nothing,
    /// Some of it, or it is not known how much.
    Some,
    /// All of it.
    All,
}

/// A piece when variables have their values.
#[derive(Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    One,
    Any,
}

impl Template {
    /// Reads a text. The error says what is wrong with it.
    pub(super) fn parse(text: &str, reading: Reading) -> Result<Template, String> {
        if text.len() > POLICY_PATTERN_BYTES_MAX {
            return Err(format!("{} bytes, more than {POLICY_PATTERN_BYTES_MAX}", text.len()));
        }
        let mut pieces = Pieces::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if reading.variables
                && let Some(inside) = rest.strip_prefix("${")
            {
                rest = pieces.variable(inside)?;
                continue;
            }
            match first {
                '*' if reading.wildcards => pieces.any(),
                '?' if reading.wildcards => pieces.list.push(Piece::One),
                _ => pieces.text(&rest[..first.len_utf8()]),
            }
            rest = &rest[first.len_utf8()..];
        }
        Ok(Template { pieces: pieces.list.into(), has_variables: pieces.variables > 0 })
    }

    /// The text that everything begins with that fits.
    pub(super) fn head(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether everything fits.
    pub(super) fn is_everything(&self) -> bool {
        matches!(&*self.pieces, [Piece::Any])
    }

    /// Returns the text if only itself fits: no wildcards, no variables.
    pub(super) fn fixed(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Shows it as it was written, but for texts of wildcards that stand for themselves.
    pub(super) fn to_text(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::One => "?".to_owned(),
            Piece::Any => "*".to_owned(),
            Piece::Variable(variable) => format!("${{{}}}", variable.key),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The keys of its variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ConditionKey> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(&variable.key),
            _ => None,
        })
    }

    /// Whether `text` fits; `None` when a variable has no value.
    pub(super) fn fits(&self, text: &str, context: &dyn Context) -> Option<bool> {
        if let Some(fixed) = self.fixed() {
            return Some(fixed == text);
        }
        let values = self.values(context)?;
        Some(fits(self.pieces.len(), |nth| self.part(nth, &values), text))
    }

    /// Whether `text` is the same but for case; `None` when a variable has no value. Wildcards fit nothing here.
    pub(super) fn equals_ignoring_case(&self, text: &str, context: &dyn Context) -> Option<bool> {
        let values = self.values(context)?;
        let ours = (0..self.pieces.len()).flat_map(|nth| match self.part(nth, &values) {
            Part::Text(text) => text.chars(),
            Part::One | Part::Any => "".chars(),
        });
        Some(ours.flat_map(char::to_lowercase).eq(text.chars().flat_map(char::to_lowercase)))
    }

    /// Whether `text` may fit, whatever the variables stand for.
    pub(super) fn may_be(&self, text: &str) -> bool {
        fits(self.pieces.len(), |nth| self.widest_part(nth), text)
    }

    /// Whether a text that fits may begin with `prefix`, whatever its variables stand for.
    pub(super) fn may_begin_with(&self, prefix: &str) -> bool {
        begins(self.pieces.len(), |nth| self.widest_part(nth), prefix)
    }

    /// How much of what begins with `prefix` fits, that text included; `None` when a variable has no value. One whose value is
    /// unknown may stand for anything.
    pub(super) fn reach(&self, prefix: &str, context: &dyn Context) -> Option<Reach> {
        if self.has_unknown(context) {
            return Some(if self.may_begin_with(prefix) { Reach::Some } else { Reach::Nothing });
        }
        let values = self.values(context)?;
        let part = |nth: usize| self.part(nth, &values);
        if !begins(self.pieces.len(), part, prefix) {
            return Some(Reach::Nothing);
        }
        // What ends with `*` fits however long it goes on, wherever `?` stand beside that; nothing else does.
        let mut end = (0..self.pieces.len()).rev().map(part).take_while(|part| !part.is_text());
        let is_open = end.any(|part| matches!(part, Part::Any));
        let is_all = is_open && fits(self.pieces.len(), part, prefix);
        Some(if is_all { Reach::All } else { Reach::Some })
    }

    /// Whether every variable has a value.
    pub(super) fn has_values(&self, context: &dyn Context) -> bool {
        self.values(context).is_some()
    }

    /// Whether it is not known what a variable stands for.
    pub(super) fn has_unknown(&self, context: &dyn Context) -> bool {
        self.has_variables && self.keys().any(|key| matches!(context.value(key), Value::Unknown))
    }

    /// What the variables stand for, in their order; `None` when one has no value.
    fn values<'c>(&'c self, context: &'c dyn Context) -> Option<Vec<Cow<'c, str>>> {
        if !self.has_variables {
            return Some(Vec::new());
        }
        let variables = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            _ => None,
        });
        variables
            .map(|variable| match context.value(&variable.key) {
                Value::One(value) => Some(value),
                // Several values are none: a variable stands for one text.
                Value::Absent | Value::Unknown | Value::Many(_) => {
                    variable.default.as_deref().map(Cow::Borrowed)
                }
            })
            .collect()
    }

    fn part<'v>(&'v self, nth: usize, values: &'v [Cow<'v, str>]) -> Part<'v> {
        match &self.pieces[nth] {
            Piece::Text(text) => Part::Text(text),
            Piece::One => Part::One,
            Piece::Any => Part::Any,
            Piece::Variable(variable) => Part::Text(&values[variable.nth]),
        }
    }

    /// The same where variables may stand for anything.
    fn widest_part(&self, nth: usize) -> Part<'_> {
        match &self.pieces[nth] {
            Piece::Text(text) => Part::Text(text),
            Piece::One => Part::One,
            Piece::Any | Piece::Variable(_) => Part::Any,
        }
    }
}

impl Part<'_> {
    /// Whether it is a text, and more than nothing.
    fn is_text(&self) -> bool {
        matches!(self, Part::Text(text) if !text.is_empty())
    }
}

/// The pieces of a template while its text is read.
#[derive(Default)]
struct Pieces {
    list: Vec<Piece>,
    variables: usize,
}

impl Pieces {
    fn any(&mut self) {
        if self.list.last() != Some(&Piece::Any) {
            self.list.push(Piece::Any);
        }
    }

    fn text(&mut self, more: &str) {
        match self.list.last_mut() {
            Some(Piece::Text(text)) => *text = format!("{text}{more}").into(),
            _ => self.list.push(Piece::Text(more.into())),
        }
    }

    /// Reads what follows `${`; returns what follows the closing brace.
    fn variable<'a>(&mut self, inside: &'a str) -> Result<&'a str, String> {
        for special in ["*", "?", "$"] {
            if let Some(after) = inside.strip_prefix(special).and_then(|after| after.strip_prefix('}')) {
                self.text(special);
                return Ok(after);
            }
        }
        let unclosed = || format!("${{{inside} is not closed; ${{$}} stands for a dollar sign");
        let end = inside.find([',', '}']).ok_or_else(unclosed)?;
        let (name, rest) = (inside[..end].trim_end(), &inside[end..]);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b" _.:/=+-@".contains(&byte) || byte >= 0x80;
        if !name.contains(':') || !name.bytes().all(is_name) {
            return Err(format!("{name:?} is not the name of a key"));
        }
        let (default, after) = match rest.strip_prefix(',') {
            None => (None, &rest[1..]),
            Some(rest) => {
                let text = rest.trim_start().strip_prefix('\'');
                let (default, rest) = text.and_then(|text| text.split_once('\'')).ok_or_else(|| {
                    format!("the default value of ${{{name}}} is not written between single quotes")
                })?;
                (Some(default.into()), rest.trim_start().strip_prefix('}').ok_or_else(unclosed)?)
            }
        };
        let variable = Variable { key: ConditionKey::parse(name), default, nth: self.variables };
        self.list.push(Piece::Variable(variable));
        self.variables += 1;
        Ok(after)
    }
}

/// Whether `text` fits a pattern in which `*` and `?` are wildcards, when there is no need to keep it compiled.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let parts: Vec<Part<'_>> = pattern
        .char_indices()
        .map(|(at, first)| match first {
            '*' => Part::Any,
            '?' => Part::One,
            _ => Part::Text(&pattern[at..at + first.len_utf8()]),
        })
        .collect();
    fits(parts.len(), |nth| parts[nth], text)
}

/// Whether a text that is made of `count` parts, one after the other, may begin with `prefix`.
fn begins<'a>(count: usize, part: impl Fn(usize) -> Part<'a>, prefix: &str) -> bool {
    let mut rest = prefix;
    for nth in 0..count {
        match part(nth) {
            // It takes all that is left, and whatever follows fits something.
            Part::Any => return true,
            Part::One => match rest.chars().next() {
                Some(first) => rest = &rest[first.len_utf8()..],
                None => return true,
            },
            Part::Text(text) if rest.len() <= text.len() => return text.starts_with(rest),
            Part::Text(text) => match rest.strip_prefix(text) {
                Some(after) => rest = after,
                None => return false,
            },
        }
    }
    rest.is_empty()
}

/// Whether `text` is made of `count` parts, one after the other.
fn fits<'a>(count: usize, part: impl Fn(usize) -> Part<'a>, text: &str) -> bool {
    let (mut nth, mut at) = (0, 0);
    // The part after the last `*`, and where in the text it was last tried.
    let mut last_any: Option<(usize, usize)> = None;
    loop {
        if nth == count {
            if at == text.len() {
                return true;
            }
        } else {
            let rest = &text[at..];
            match part(nth) {
                Part::Any => {
                    nth += 1;
                    last_any = Some((nth, at));
                    match (nth == count, nth + 1 == count) {
                        (true, _) => return true,
                        (_, true) if let Part::Text(end) = part(nth) => return rest.ends_with(end),
                        _ => continue,
                    }
                }
                Part::One => {
                    if let Some(first) = rest.chars().next() {
                        (nth, at) = (nth + 1, at + first.len_utf8());
                        continue;
                    }
                }
                Part::Text(part) => {
                    if rest.starts_with(part) {
                        (nth, at) = (nth + 1, at + part.len());
                        continue;
                    }
                }
            }
        }
        // Let the last `*` take one character more, and all up to the next place where its text can go on.
        let Some((after, from)) = last_any else { return false };
        let Some(taken) = text[from..].chars().next() else { return false };
        let from = from + taken.len_utf8();
        let skipped = match part(after) {
            Part::Text(part) => text[from..].find(part),
            Part::One | Part::Any => Some(0),
        };
        let Some(skipped) = skipped else { return false };
        (nth, at) = (after, from + skipped);
        last_any = Some((after, at));
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::NoContext;
    use super::*;

    const GLOB: Reading = Reading { wildcards: true, variables: false };
    const FULL: Reading = Reading { wildcards: true, variables: true };

    struct Named;

    impl Context for Named {
        fn value(&self, key: &ConditionKey) -> Value<'_> {
            match key {
                ConditionKey::Username => Value::One("a*b".into()),
                ConditionKey::PrincipalTag(tag) if &**tag == "cost center" => Value::One("42".into()),
                ConditionKey::TagKeys => Value::Many(vec!["one".into()]),
                ConditionKey::UserId => Value::One("".into()),
                ConditionKey::TableName => Value::Unknown,
                _ => Value::Absent,
            }
        }
    }

    /// The definition, word by word.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(('*', rest)), None) => naive(rest, text),
            (Some(('*', rest)), Some((_, after))) => naive(rest, text) || naive(pattern, after),
            (Some(_), None) => false,
            (Some((p, rest)), Some((t, after))) => (*p == '?' || p == t) && naive(rest, after),
        }
    }

    #[test]
    fn wildcards() {
        let check = |pattern: &str, text: &str, want: bool| {
            let got = Template::parse(pattern, GLOB).expect(pattern).fits(text, &NoContext);
            assert_eq!(got, Some(want), "{pattern} {text}");
        };
        check("", "", true);
        check("", "a", false);
        check("a", "a", true);
        check("a", "A", false);
        check("*", "", true);
        check("**", "anything / at : all", true);
        check("?", "", false);
        check("?", "\u{e9}", true);
        check("?", "ab", false);
        check("a*", "a", true);
        check("a*c", "abc", true);
        check("a*c", "abcd", false);
        check("*c", "abcbc", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("a?c*", "abcdef", true);
        check("*?", "", false);
        check("?*?", "ab", true);
        check("?*?", "a", false);
        check("*\u{e9}?*", "x\u{e9}\u{1F600}", true);
        check("${aws:username}", "${aws:username}", true);
    }

    #[test]
    fn every_short_pattern_is_as_the_definition_says() {
        let letters = ['a', 'b', '*', '?', '\u{e9}'];
        let words = |letters: &[char], len: u32| {
            let count = letters.len();
            (0..count.pow(len)).map(move |mut number| {
                let mut word = Vec::new();
                for _ in 0..len {
                    word.push(number % count);
                    number /= count;
                }
                word
            })
        };
        for pattern_len in 0..=5 {
            for pattern in words(&letters, pattern_len) {
                let pattern: Vec<char> = pattern.into_iter().map(|nth| letters[nth]).collect();
                let spelled: String = pattern.iter().collect();
                let template = Template::parse(&spelled, GLOB).expect("a pattern");
                for text in (0..=4).flat_map(|len| words(&['a', '\u{e9}'], len)) {
                    let text: Vec<char> = text.into_iter().map(|nth| ['a', '\u{e9}'][nth]).collect();
                    let read: String = text.iter().collect();
                    let got = template.fits(&read, &NoContext);
                    assert_eq!(got, Some(naive(&pattern, &text)), "{spelled} {read}");
                }
            }
        }
    }

    #[test]
    fn variables() {
        let check = |pattern: &str, text: &str, want: Option<bool>| {
            let got = Template::parse(pattern, FULL).expect(pattern).fits(text, &Named);
            assert_eq!(got, want, "{pattern} {text}");
        };
        check("home/${aws:username}/*", "home/a*b/x", Some(true));
        check("home/${aws:username}/*", "home/axb/x", Some(false));
        check("${AWS:UserName}", "a*b", Some(true));
        check("${aws:PrincipalTag/cost center}", "42", Some(true));
        check("${aws:PrincipalTag/Cost Center}", "42", None);
        check("${aws:userid}x", "x", Some(true));
        check("${aws:TagKeys}", "one", None);
        check("${s3:prefix}", "", None);
        check("${s3:prefix, 'd*'}", "d*", Some(true));
        check("${s3:prefix, 'd*'}", "dx", Some(false));
        check("${s3:prefix,''}", "", Some(true));
        check("${aws:username, 'd'}", "a*b", Some(true));
        check("${*}${?}${$}{x}", "*?${x}", Some(true));
        check("${*}", "x", Some(false));
        check("$aws:username", "$aws:username", Some(true));
        check("{$}", "{$}", Some(true));
    }

    #[test]
    fn malformed() {
        let check = |pattern: &str, want: &str| {
            assert_eq!(Template::parse(pattern, FULL).expect_err(pattern), want, "{pattern}");
        };
        check("a${aws:username", "${aws:username is not closed; ${$} stands for a dollar sign");
        check("${}", "\"\" is not the name of a key");
        check("${name}", "\"name\" is not the name of a key");
        check("${a:${b:c}}", "\"a:${b:c\" is not the name of a key");
        check("${a:b, c}", "the default value of ${a:b} is not written between single quotes");
        check("${a:b, 'c}", "the default value of ${a:b} is not written between single quotes");
        check("${a:b, 'c' d}", "${a:b, 'c' d} is not closed; ${$} stands for a dollar sign");
        let long = "x".repeat(POLICY_PATTERN_BYTES_MAX + 1);
        check(&long, &format!("{} bytes, more than {POLICY_PATTERN_BYTES_MAX}", long.len()));
    }

    #[test]
    fn heads_and_beginnings() {
        let template = |pattern: &str| Template::parse(pattern, FULL).expect(pattern);
        assert_eq!(template("b/k*").head(), "b/k");
        assert_eq!(template("b/${*}k${aws:username}").head(), "b/*k");
        assert_eq!(template("*k").head(), "");
        assert!(template("**").is_everything() && !template("${*}").is_everything());
        let check = |pattern: &str, prefix: &str, want: bool| {
            assert_eq!(template(pattern).may_begin_with(prefix), want, "{pattern} {prefix}");
        };
        check("b/*", "b/", true);
        check("b", "b/", false);
        check("bb/*", "b/", false);
        check("b*", "b/", true);
        check("?/k", "b/", true);
        check("??/k", "b/", true);
        check("?x/k", "b/", false);
        check("${aws:username}/k", "b/", true);
        check("b/k", "b/", true);
    }

    #[test]
    fn reaches() {
        let check = |pattern: &str, prefix: &str, want: Option<Reach>| {
            let got = Template::parse(pattern, FULL).expect(pattern).reach(prefix, &Named);
            assert_eq!(got, want, "{pattern} {prefix}");
        };
        let (nothing, some, all) = (Some(Reach::Nothing), Some(Reach::Some), Some(Reach::All));
        check("b/cc/", "b/cc/", some);
        check("b/cc/key", "b/cc/", some);
        check("b/cc", "b/cc/", nothing);
        check("b/ccc/", "b/cc/", nothing);
        check("b/", "b/cc/", nothing);
        check("b/cc/*", "b/cc/", all);
        check("b/cc*", "b/cc/", all);
        check("b/*", "b/cc/", all);
        check("*", "b/cc/", all);
        check("b/cc/secret/*", "b/cc/", some);
        check("b/c/*", "b/cc/", nothing);
        check("b/cc/*x", "b/cc/", some);
        check("b/*/secret", "b/cc/", some);
        check("*/secret", "b/cc/", some);
        check("b/*c*/", "b/cc/", some);
        check("b/*c*", "b/cc/", all);
        check("b/*d*", "b/cc/", some);
        check("b/cc/*d*", "b/cc/", some);
        check("b/?c/*", "b/cc/", all);
        check("b/?/*", "b/cc/", nothing);
        check("b/???", "b/cc/", some);
        check("b/????", "b/cc/", some);
        check("b/??", "b/cc/", nothing);
        check("b/??*", "b/cc/", all);
        check("b/*?", "b/cc/", all);
        check("b/*?????", "b/cc/", some);
        check("b/cc/?*", "b/cc/", some);
        check("b/\u{e9}*", "b/\u{e9}/", all);
        check("b/?/x", "b/\u{e9}/", some);
        check("b/${aws:username}/*", "b/a*b/", all);
        check("b/${aws:username}/*", "b/axb/", nothing);
        check("b/${aws:username}/x", "b/a*b/", some);
        check("b/cc/${*}", "b/cc/", some);
        check("b/*${aws:userid}", "b/cc/", all);
        check("b/${s3:prefix}*", "b/cc/", None);
        check("b/${s3:prefix, 'c'}*", "b/cc/", all);
        check("b/${aws:TagKeys}*", "b/cc/", None);
        check("b/${s3tables:tableName}/x", "b/cc/", some);
        check("b/${s3tables:tableName, 'd'}*", "b/cc/", some);
        check("a/${s3tables:tableName}*", "b/cc/", nothing);
    }

    /// What it says is so for every short text that goes on from the prefix.
    #[test]
    fn every_short_pattern_reaches_what_it_fits() {
        let words = |letters: &[char], len: u32| -> Vec<String> {
            let word = |mut number: usize| {
                let mut word = String::new();
                for _ in 0..len {
                    word.push(letters[number % letters.len()]);
                    number /= letters.len();
                }
                word
            };
            (0..letters.len().pow(len)).map(word).collect()
        };
        for pattern in (0..=5).flat_map(|len| words(&['a', 'b', '*', '?'], len)) {
            let template = Template::parse(&pattern, GLOB).expect("a pattern");
            for prefix in (1..=3).flat_map(|len| words(&['a', 'b'], len)) {
                let after = (0..=5).flat_map(|len| words(&['a', 'b'], len));
                let fits =
                    |after: String| template.fits(&format!("{prefix}{after}"), &NoContext) == Some(true);
                let (mut any, mut all) = (false, true);
                after.map(fits).for_each(|fits| (any, all) = (any || fits, all && fits));
                let want = match (any, all) {
                    (_, true) => Reach::All,
                    (true, _) => Reach::Some,
                    (false, _) => Reach::Nothing,
                };
                assert_eq!(template.reach(&prefix, &NoContext), Some(want), "{pattern} {prefix}");
            }
        }
    }

    #[test]
    fn ignoring_case() {
        let check = |pattern: &str, text: &str, want: Option<bool>| {
            let reading = Reading { wildcards: false, variables: true };
            let got = Template::parse(pattern, reading).expect(pattern).equals_ignoring_case(text, &Named);
            assert_eq!(got, want, "{pattern} {text}");
        };
        check("aB\u{c9}", "Ab\u{e9}", Some(true));
        check("a*", "ab", Some(false));
        check("x${aws:username}", "XA*B", Some(true));
        check("${s3:prefix}", "", None);
        check("", "", Some(true));
    }
}
