//! What the client commands say: an answer as text or JSON, or a failure with what, why, the next command and an exit code.
//!
//! Commands make an [`Output`] or a [`Failure`], `main` prints it and ends with its code. Pure but for the printing.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

/// The exit codes, as the help of each client command has them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0 done   1 failed   2 wrong usage   3 not found   4 denied   5 conflict   6 unavailable";

/// Why a command ends, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Conflict = 5,
    Unavailable = 6,
}

impl Exit {
    fn name(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::NotFound => "not-found",
            Exit::Denied => "denied",
            Exit::Conflict => "conflict",
            Exit::Unavailable => "unavailable",
        }
    }
}

/// What a command found or did.
#[derive(Debug)]
pub(crate) struct Output {
    /// For people.
    text: String,
    /// For programs: one document, or a line for each entry of a list.
    lines: Vec<Value>,
    /// Mostly [`Exit::Done`].
    pub(crate) exit: Exit,
}

impl Output {
    /// One thing. `text` needs no line end.
    pub(crate) fn one(value: Value, text: impl Into<String>) -> Output {
        Output { text: text.into(), lines: vec![value], exit: Exit::Done }
    }

    /// A list, as a table for people.
    pub(crate) fn list(values: Vec<Value>, head: &[&str], rows: Vec<Vec<String>>) -> Output {
        Output { text: table(head, &rows), lines: values, exit: Exit::Done }
    }

    /// A list with a text of its own.
    pub(crate) fn lines(values: Vec<Value>, text: impl Into<String>) -> Output {
        Output { text: text.into(), lines: values, exit: Exit::Done }
    }

    /// The same with another exit code.
    pub(crate) fn ending(self, exit: Exit) -> Output {
        Output { exit, ..self }
    }

    /// What goes to standard output.
    pub(crate) fn render(&self, is_json: bool) -> String {
        if is_json {
            return self.lines.iter().map(|line| format!("{line}\n")).collect();
        }
        match self.text.is_empty() || self.text.ends_with('\n') {
            true => self.text.clone(),
            false => format!("{}\n", self.text),
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// The server's own word for it, such as `NoSuchEntity`.
    pub(crate) code: Option<String>,
    /// What was to be done.
    what: String,
    pub(crate) why: String,
    /// What to type next.
    next: Option<String>,
    /// What was done before.
    done: Option<Box<Output>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, why: impl Into<String>) -> Failure {
        Failure { exit, code: None, what: String::new(), why: why.into(), next: None, done: None }
    }

    pub(crate) fn usage(why: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, why)
    }

    /// An answer that does not say what it should.
    pub(crate) fn answer(why: impl Into<String>) -> Failure {
        let failure = Failure::new(Exit::Failed, why);
        failure.next("nilas --version, and that of the server: they may differ")
    }

    pub(crate) fn code(self, code: &str) -> Failure {
        Failure { code: Some(code.to_owned()), ..self }
    }

    /// Says what was to be done; what stands nearest to the request counts.
    pub(crate) fn of(self, what: &str) -> Failure {
        if self.what.is_empty() { Failure { what: what.to_owned(), ..self } } else { self }
    }

    /// Says what to type next; what stands nearest to the request counts.
    pub(crate) fn next(self, next: impl Into<String>) -> Failure {
        if self.next.is_none() { Failure { next: Some(next.into()), ..self } } else { self }
    }

    /// Says what to type next when nothing of a name is there.
    pub(crate) fn if_not_found(self, next: &str) -> Failure {
        if self.exit == Exit::NotFound { self.next(next) } else { self }
    }

    /// Says what was done before it, which is printed as if that were all.
    pub(crate) fn after(self, done: Output) -> Failure {
        Failure { done: Some(Box::new(done)), ..self }
    }

    /// Whether the server refused it, and therefore did not do it: no answer, or one that it cannot say, is none.
    pub(crate) fn is_refusal(&self) -> bool {
        let is_certain = |code: &String| !code.starts_with("Internal");
        self.code.as_ref().is_some_and(is_certain) && self.exit != Exit::Unavailable
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// What goes to standard error.
    pub(crate) fn render(&self, is_json: bool) -> String {
        if is_json {
            let error = json!({
                "exit": self.exit.name(), "code": self.code, "what": self.what, "why": self.why, "next": self.next,
            });
            return format!("{}\n", json!({ "error": error }));
        }
        let code = self.code.as_ref().map_or(String::new(), |code| format!(" ({})", plain(code)));
        let what = if self.what.is_empty() { String::new() } else { format!("{}: ", self.what) };
        let next = self.next.as_ref().map_or(String::new(), |next| format!("  try: {}\n", plain(next)));
        format!("nilas: {}{}{code}\n{next}", plain(&what), plain(&self.why))
    }
}

/// Prints what came of a client command and returns the exit code.
pub(crate) fn end(came: Result<Output, Failure>, is_json: bool) -> ExitCode {
    let exit = match came {
        Ok(output) => {
            // Whoever closed the pipe has seen enough.
            drop(std::io::stdout().write_all(output.render(is_json).as_bytes()));
            output.exit
        }
        Err(failure) => {
            if let Some(done) = &failure.done {
                drop(std::io::stdout().write_all(done.render(is_json).as_bytes()));
            }
            drop(std::io::stderr().write_all(failure.render(is_json).as_bytes()));
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

/// A table with a head and columns two blanks apart; nothing but the head when there are no rows.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let wide = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(wide).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// Lines of names and values, values in one column.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    pairs.iter().map(|(name, value)| format!("{name:width$}  {}\n", plain(value))).collect()
}

/// The text without characters that move a terminal's cursor or change its colours: they are shown as what they are.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { out.extend(letter.escape_default()) } else { out.push(letter) }
    }
    out
}

/// A dash in place of nothing.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let rows =
            vec![vec!["alice".to_owned(), "-".to_owned()], vec!["b\u{1b}[2J".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["USER", "ID"], &rows), "USER        ID\nalice       -\nb\\u{1b}[2J  x\n");
        assert_eq!(table(&["USER", "ID"], &[]), "USER  ID\n");
        assert_eq!(facts(&[("user", "a".to_owned()), ("id", "b\n".to_owned())]), "user  a\nid    b\\n\n");
    }

    #[test]
    fn outputs() {
        let one = Output::one(json!({"user": "a"}), "made a");
        assert_eq!(
            (one.render(false).as_str(), one.render(true).as_str()),
            ("made a\n", "{\"user\":\"a\"}\n")
        );
        let none = Output::list(vec![], &["USER"], vec![]);
        assert_eq!((none.render(false).as_str(), none.render(true).as_str()), ("USER\n", ""));
    }

    #[test]
    fn failures() {
        let failure = Failure::new(Exit::NotFound, "there is no user bob").code("NoSuchEntity");
        let failure = failure.of("show user bob").of("other").if_not_found("nilas user list").next("other");
        assert_eq!(
            failure.render(false),
            "nilas: show user bob: there is no user bob (NoSuchEntity)\n  try: nilas user list\n"
        );
        assert_eq!(
            failure.render(true),
            "{\"error\":{\"exit\":\"not-found\",\"code\":\"NoSuchEntity\",\"what\":\"show user bob\",\
             \"why\":\"there is no user bob\",\"next\":\"nilas user list\"}}\n"
        );
        assert_eq!(Failure::usage("two\nlines").render(false), "nilas: two\\nlines\n");
    }
}
