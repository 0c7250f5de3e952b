//! The body of an HTML form with one file ⇒ its fields, and then the bytes of the file as they come.
//!
//! Fed by `s3::post_object`, any number of bytes at a time. Fields before the file are gathered, the file is handed on as slices of
//! what was fed, and what stands behind it is thrown away, as S3 does. Pure.
//! Source: RFC 7578, RFC 2046 5.1; Amazon S3 API, "Browser-based uploads using POST".
//!
//! I1. What is held of a body is at most [`FORM_FIELDS_BYTES_MAX`] before the file, and as much behind it. I2. How the input is cut
//! makes no difference. I3. After an error every further call gives the same error. I4. Only a body with the end of its file, and
//! its own last boundary, is whole.

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::body::error::BodyError;
use crate::limits::{FORM_BOUNDARY_BYTES_MAX, FORM_FIELDS_BYTES_MAX};

/// The fields of a form, up to its file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormFields {
    /// Names in lower case, and values, in the order sent.
    pub fields: Vec<(String, String)>,
    /// The file's name without folders; empty if it has none.
    pub filename: String,
}

impl FormFields {
    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormFault {
    /// It is no form as RFC 7578 has it.
    Malformed,
    /// Its fields take more than [`FORM_FIELDS_BYTES_MAX`].
    TooLong,
    /// It ends without a file.
    NoFile,
}

/// The state of one form between two pieces of input.
#[derive(Debug)]
pub struct FormDecoder {
    /// CR LF, two hyphens and the boundary: what ends every part. A form begins as if CR LF stood before it.
    delimiter: Vec<u8>,
    finder: Finder<'static>,
    state: State,
    /// What was gathered of the fields, from the virtual CR LF on; or of what stands behind the file.
    held: Vec<u8>,
    /// How much of it was taken apart.
    parsed: usize,
    fields: FormFields,
    /// Bytes of the file that may be the start of its end.
    tail: Vec<u8>,
    failed: Option<BodyError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fields,
    File,
    Behind,
}

impl FormDecoder {
    /// A form of this `Content-Type`; `None` when it is of another.
    pub fn new(content_type: &str) -> Option<Result<FormDecoder, BodyError>> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let malformed = BodyError::Form(FormFault::Malformed);
        let Some(boundary) = parameter(parameters, "boundary").filter(|boundary| is_boundary(boundary))
        else {
            return Some(Err(malformed));
        };
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Some(Ok(FormDecoder {
            finder: Finder::new(&delimiter).into_owned(),
            delimiter,
            state: State::Fields,
            held: b"\r\n".to_vec(),
            parsed: 0,
            fields: FormFields::default(),
            tail: Vec::new(),
            failed: None,
        }))
    }

    /// Whether all fields before the file are there.
    pub fn has_fields(&self) -> bool {
        self.state != State::Fields
    }

    /// The fields before the file.
    pub fn take_fields(&mut self) -> FormFields {
        std::mem::take(&mut self.fields)
    }

    /// Bytes that follow the file at least: its boundary.
    pub fn trailer_bytes_min(&self) -> u64 {
        u64::try_from(self.delimiter.len() + 2).unwrap_or(u64::MAX)
    }

    /// Takes the next bytes of the body and appends those of the file to `out`.
    pub fn feed(&mut self, input: Bytes, out: &mut Vec<Bytes>) -> Result<(), BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.step(input, out).map_err(|fault| {
            let error = BodyError::Form(fault);
            self.failed = Some(error.clone());
            error
        })
    }

    /// Ends the form: says whether all of it came.
    pub fn finish(&self) -> Result<(), BodyError> {
        let fault = match self.state {
            _ if self.failed.is_some() => FormFault::Malformed,
            State::Fields if self.ends_after_fields() => FormFault::NoFile,
            State::Behind if self.is_closed() => return Ok(()),
            State::Fields | State::File | State::Behind => FormFault::Malformed,
        };
        Err(self.failed.clone().unwrap_or(BodyError::Form(fault)))
    }

    fn step(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), FormFault> {
        if self.state == State::Fields {
            let had = self.held.len();
            let room = FORM_FIELDS_BYTES_MAX.saturating_sub(had);
            let taken = input.split_to(input.len().min(room));
            self.held.extend_from_slice(&taken);
            while self.state == State::Fields && self.next_part()? {}
            if self.state == State::Fields {
                return if input.is_empty() { Ok(()) } else { Err(FormFault::TooLong) };
            }
            // What was gathered too much is of the file.
            let of_file = taken.slice(self.parsed.saturating_sub(had).min(taken.len())..);
            self.held = Vec::new();
            self.parsed = 0;
            self.file(of_file, out)?;
        }
        if self.state == State::File {
            return self.file(input, out);
        }
        self.behind(&input)
    }

    /// Takes one part before the file apart; `false` when more of it must come.
    fn next_part(&mut self) -> Result<bool, FormFault> {
        let rest = self.held.get(self.parsed..).unwrap_or_default();
        let Some(at) = self.finder.find(rest) else { return Ok(false) };
        let Some(after) = rest.get(at + self.delimiter.len()..) else { return Ok(false) };
        let Some(head_at) = line_end(after) else {
            return if after.starts_with(b"--") { Err(FormFault::NoFile) } else { wait(after) };
        };
        if after.starts_with(b"--") {
            return Err(FormFault::NoFile);
        }
        let head_at = head_at?;
        let head = after.get(head_at..).unwrap_or_default();
        let Some(head_len) = head_end(head) else { return Ok(false) };
        let part = PartHead::parse(head.get(..head_len).unwrap_or_default()).ok_or(FormFault::Malformed)?;
        let body_at = self.parsed + at + self.delimiter.len() + head_at + head_len;
        if part.name == "file" {
            self.fields.filename = part.filename;
            self.parsed = body_at;
            self.state = State::File;
            return Ok(true);
        }
        let body = self.held.get(body_at..).unwrap_or_default();
        let Some(len) = self.finder.find(body) else { return Ok(false) };
        let value = String::from_utf8(body.get(..len).unwrap_or_default().to_vec());
        self.fields.fields.push((part.name, value.map_err(|_| FormFault::Malformed)?));
        self.parsed = body_at + len;
        Ok(true)
    }

    /// Bytes from the file on.
    fn file(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), FormFault> {
        if input.is_empty() {
            return Ok(());
        }
        if !self.tail.is_empty() {
            // Where the end of the file may begin in what is held, so much of the input decides it.
            let had = self.tail.len();
            let look = input.len().min(self.delimiter.len());
            self.tail.extend_from_slice(input.get(..look).unwrap_or_default());
            let found = self.finder.find(&self.tail).filter(|at| *at < had);
            if let Some(at) = found {
                let used = (at + self.delimiter.len()).saturating_sub(had);
                self.tail.truncate(at);
                hand_on(std::mem::take(&mut self.tail).into(), out);
                self.state = State::Behind;
                return self.behind(input.get(used..).unwrap_or_default());
            }
            if look < self.delimiter.len() {
                let keep = self.suffix(&self.tail);
                let kept = self.tail.split_off(self.tail.len() - keep);
                hand_on(std::mem::replace(&mut self.tail, kept).into(), out);
                return Ok(());
            }
            self.tail.truncate(had);
            hand_on(std::mem::take(&mut self.tail).into(), out);
        }
        if let Some(at) = self.finder.find(&input) {
            let file = input.split_to(at);
            hand_on(file, out);
            self.state = State::Behind;
            return self.behind(input.get(self.delimiter.len()..).unwrap_or_default());
        }
        let keep = self.suffix(&input);
        self.tail.extend_from_slice(input.get(input.len() - keep..).unwrap_or_default());
        input.truncate(input.len() - keep);
        hand_on(input, out);
        Ok(())
    }

    /// The longest end of `bytes` that the delimiter begins with, which is not all of it.
    fn suffix(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.delimiter.len() - 1);
        (1..=most)
            .rev()
            .find(|len| {
                let end = bytes.get(bytes.len() - len..).unwrap_or_default();
                self.delimiter.starts_with(end)
            })
            .unwrap_or(0)
    }

    fn behind(&mut self, input: &[u8]) -> Result<(), FormFault> {
        if FORM_FIELDS_BYTES_MAX < self.held.len() + input.len() {
            return Err(FormFault::TooLong);
        }
        self.held.extend_from_slice(input);
        Ok(())
    }

    /// Whether what stands behind the file's boundary ends the form, itself or with the boundary behind further fields.
    fn is_closed(&self) -> bool {
        let last = [&self.delimiter[..], b"--"].concat();
        self.held.starts_with(b"--") || memchr::memmem::find(&self.held, &last).is_some()
    }

    fn ends_after_fields(&self) -> bool {
        let last = [&self.delimiter[..], b"--"].concat();
        let rest = self.held.get(self.parsed..).unwrap_or_default();
        memchr::memmem::find(rest, &last).is_some()
    }
}

fn hand_on(bytes: Bytes, out: &mut Vec<Bytes>) {
    if !bytes.is_empty() {
        out.push(bytes);
    }
}

/// More of a boundary's line must come, if it is one so far.
fn wait(after: &[u8]) -> Result<bool, FormFault> {
    match after.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'-')) {
        true => Ok(false),
        false => Err(FormFault::Malformed),
    }
}

/// Where the line of a boundary ends, blanks in it included; `None` when that is still to come.
fn line_end(after: &[u8]) -> Option<Result<usize, FormFault>> {
    let end = after.iter().position(|b| *b == b'\n')?;
    let line = after.get(..end).unwrap_or_default();
    let blanks = line.strip_suffix(b"\r").filter(|line| line.iter().all(|b| matches!(b, b' ' | b'\t')));
    Some(blanks.map(|_| end + 1).ok_or(FormFault::Malformed))
}

/// Where the head of a part ends: behind its empty line.
fn head_end(head: &[u8]) -> Option<usize> {
    if head.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(head, b"\r\n\r\n").map(|at| at + 4)
}

/// What the head of a part says.
#[derive(Debug, Default, PartialEq, Eq)]
struct PartHead {
    /// In lower case.
    name: String,
    filename: String,
}

impl PartHead {
    fn parse(head: &[u8]) -> Option<PartHead> {
        let text = std::str::from_utf8(head).ok()?;
        let disposition = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        })?;
        let (kind, parameters) = disposition.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return None;
        }
        let name = parameter(parameters, "name").filter(|name| !name.is_empty())?.to_lowercase();
        let filename = match parameter(parameters, "filename") {
            Some(name) => name,
            // RFC 5987, as some clients write names that are not ASCII.
            None => parameter(parameters, "filename*")
                .and_then(|value| {
                    let (charset, rest) = value.split_once('\'')?;
                    let (_, encoded) = rest.split_once('\'')?;
                    charset.eq_ignore_ascii_case("utf-8").then_some(())?;
                    String::from_utf8(nilas_catalog::uri::percent_decode(encoded, false)?).ok()
                })
                .unwrap_or_default(),
        };
        let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
        Some(PartHead { name, filename: last.to_owned() })
    }
}

/// A parameter of a header, quoted or not. Within quotes `\"` is a quote and every other backslash itself, as browsers
/// write paths.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        let (value, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (mut value, mut end) = (String::new(), None);
                let mut chars = quoted.char_indices().peekable();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = Some(at + 1);
                            break;
                        }
                        '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                            value.push('"');
                            chars.next();
                        }
                        other => value.push(other),
                    }
                }
                (value, quoted.get(end?..)?)
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, next) = after.split_at_checked(end)?;
                (value.trim().to_owned(), next)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next;
    }
}

/// RFC 2046: up to 70 characters, the last of them no blank.
fn is_boundary(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    (1..=FORM_BOUNDARY_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits) && !text.ends_with(' ')
}

/// Reads arbitrary bytes as a form, cut at places that the input chooses: nothing may panic, and how it is cut may make no
/// difference.
pub fn fuzz_form(input: &[u8]) {
    let Some((&[cut], body)) = input.split_first_chunk::<1>() else { return };
    let run = |cut: usize| {
        let mut form =
            FormDecoder::new("multipart/form-data; boundary=b").expect("a form").expect("a boundary");
        let mut out = Vec::new();
        let mut fed = Ok(());
        for piece in body.chunks(cut.max(1)) {
            fed = fed.and_then(|()| form.feed(Bytes::copy_from_slice(piece), &mut out));
        }
        assert!(form.held.len() <= FORM_FIELDS_BYTES_MAX && form.tail.len() <= 2 * form.delimiter.len());
        (fed.and_then(|()| form.finish()), form.take_fields(), out.concat())
    };
    let (whole, pieces) = (run(usize::MAX), run(usize::from(cut)));
    // A refused form may have been taken apart more or less far.
    match (&whole.0, &pieces.0) {
        (Ok(()), Ok(())) => assert_eq!(whole, pieces),
        (first, second) => assert_eq!(first.is_ok(), second.is_ok(), "{first:?} {second:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(Vec<(String, String)>, String, String), FormFault>;

    fn read(body: &[u8], cut: usize) -> Read {
        let mut form =
            FormDecoder::new("multipart/form-data; boundary=\"b-b\"").expect("a form").expect("sound");
        let mut out = Vec::new();
        let fault = |error| match error {
            BodyError::Form(fault) => fault,
            other => panic!("{other:?}"),
        };
        for piece in body.chunks(cut) {
            form.feed(Bytes::copy_from_slice(piece), &mut out).map_err(fault)?;
        }
        form.finish().map_err(fault)?;
        let FormFields { fields, filename } = form.take_fields();
        Ok((fields, filename, String::from_utf8(out.concat()).expect("text")))
    }

    fn check(body: &str, fields: &[(&str, &str)], filename: &str, file: &str) {
        let fields: Vec<_> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        for cut in [1, 2, 3, 7, 64, body.len()] {
            let want = Ok((fields.clone(), filename.to_owned(), file.to_owned()));
            assert_eq!(read(body.as_bytes(), cut), want, "{cut} {body:?}");
        }
    }

    fn check_fault(body: &str, fault: FormFault) {
        for cut in [1, 5, body.len().max(1)] {
            assert_eq!(read(body.as_bytes(), cut), Err(fault), "{cut} {body:?}");
        }
    }

    fn field(name: &str, value: &str) -> String {
        format!("--b-b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    fn file(disposition: &str, bytes: &str) -> String {
        format!(
            "--b-b\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{bytes}\r\n"
        )
    }

    #[test]
    fn forms() {
        let all = |bytes: &str| {
            format!(
                "{}{}{}--b-b--\r\n",
                field("Key", "k"),
                field("a", ""),
                file("name=file; filename=\"x.txt\"", bytes)
            )
        };
        let fields = [("key", "k"), ("a", "")];
        for bytes in
            ["", "abc", "\r\n", "\r\n--b-", "--b-b", "\r\n--b-\r\n--b-\r\n--b", "\r\r\n-\r\n--\r\n--b-a"]
        {
            check(&all(bytes), &fields, "x.txt", bytes);
        }
        let long = "0123456789abcdef\r".repeat(5000);
        check(&all(&long), &fields, "x.txt", &long);
        // Without CR LF at its end, with fields behind the file, with a preamble.
        check(all("abc").trim_end(), &fields, "x.txt", "abc");
        let more = format!("{}{}--b-b--", file("name=\"file\"", "abc"), field("key", "other"));
        check(&more, &[], "", "abc");
        check(&format!("preamble\r\n{more}"), &[], "", "abc");
        check(&format!("{}--b-b--", file("name=\"FILE\"; filename=\"C:\\a\\b.txt\"", "")), &[], "b.txt", "");
        check(&format!("{}--b-b--", file("filename=\"q\\\"q\"; name=file", "")), &[], "q\"q", "");
        check(&format!("{}--b-b--", file("name=file; filename*=utf-8''%C3%BC.txt", "")), &[], "ü.txt", "");
    }

    #[test]
    fn faults() {
        check_fault("key=k&file=x", FormFault::Malformed);
        check_fault("", FormFault::Malformed);
        check_fault(&file("name=file", "cut"), FormFault::Malformed);
        check_fault(&field("key", "k"), FormFault::Malformed);
        check_fault(&format!("{}--b-b--\r\n", field("key", "k")), FormFault::NoFile);
        check_fault("--b-b--\r\n", FormFault::NoFile);
        check_fault("--b-bx\r\n\r\n", FormFault::Malformed);
        check_fault("--b-b\r\nContent-Type: a\r\n\r\nx\r\n--b-b--", FormFault::Malformed);
        check_fault(&format!("{}--b-b--", file("name=\"\"; filename=\"x.txt\"", "x")), FormFault::Malformed);
        let long = field("x-ignore-a", &"a".repeat(FORM_FIELDS_BYTES_MAX));
        check_fault(&format!("{long}{}--b-b--", file("name=file", "x")), FormFault::TooLong);
        let behind = format!("{}{long}--b-b--", file("name=file", "x"));
        check_fault(&behind, FormFault::TooLong);
    }

    #[test]
    fn content_types() {
        let check = |text: &str, want: Option<bool>| {
            assert_eq!(FormDecoder::new(text).map(|form| form.is_ok()), want, "{text}");
        };
        check("multipart/form-data; boundary=x", Some(true));
        check("Multipart/Form-Data; charset=utf-8; Boundary=\"x y\"", Some(true));
        check("multipart/form-data", Some(false));
        check("multipart/form-data; boundary=", Some(false));
        check("multipart/form-data; boundary=\"x ", Some(false));
        check(&format!("multipart/form-data; boundary={}", "x".repeat(71)), Some(false));
        check("multipart/mixed; boundary=x", None);
        check("application/x-www-form-urlencoded", None);
        check("", None);
    }

    #[test]
    fn fuzz_corpus() {
        let body =
            field("key", "k").replace("b-b", "b") + &file("name=file", "x").replace("b-b", "b") + "--b--";
        for cut in 0..=255_u8 {
            fuzz_form(&[&[cut], body.as_bytes()].concat());
        }
    }
}
