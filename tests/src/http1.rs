//! HTTP/1.1 responses as a client reads them, over any `BufRead`.
//!
//! [`read_head`] skips interim 1xx answers unless asked for them; [`read_body`] follows
//! Content-Length, chunked coding or connection close. Nothing here writes.

use std::io::{self, BufRead, ErrorKind, Read};

/// Longest response head accepted, in bytes.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;

/// One response: status line, header lines as received, and the body if it was kept.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and headers, verbatim.
    pub head: String,
    /// The body; empty if it was discarded.
    pub body: Vec<u8>,
    /// Body bytes received, kept or not.
    pub body_bytes: u64,
}

impl Response {
    /// The value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// A header that has more than one line. Some clients join such lines, or take the wrong one.
    pub fn repeated_header(&self) -> Option<String> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut names: Vec<String> = lines.map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
    }

    /// Fails when a header has more than one line.
    pub fn with_single_headers(self) -> io::Result<Response> {
        match self.repeated_header() {
            None => Ok(self),
            Some(name) => Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("{name} has several lines: {}", self.head),
            )),
        }
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The S3 error code of an XML error body, or an empty string.
    pub fn code(&self) -> String {
        crate::xml::first(&self.text(), "Code").unwrap_or_default()
    }

    /// The ETag header with its quotes, or an empty string.
    pub fn etag(&self) -> String {
        self.header("etag").unwrap_or_default().to_owned()
    }

    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// True if the server says that it closes the connection after this.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            || self.head.starts_with("HTTP/1.0")
    }
}

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Exactly this many bytes.
    Bytes(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes.
    Close,
}

/// Reads one response head, final or interim.
pub fn read_any_head(reader: &mut impl BufRead) -> io::Result<Response> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        let before = bytes.len();
        let room = (HEAD_BYTES_MAX - before) as u64;
        reader.by_ref().take(room).read_until(b'\n', &mut bytes)?;
        if bytes.len() == before {
            return Err(if before == 0 {
                io::Error::new(ErrorKind::UnexpectedEof, "closed before an answer")
            } else {
                malformed("closed or over the limit inside a response head")
            });
        }
        let line = &bytes[before..];
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let status = parse_status(&head).ok_or_else(|| malformed("not a status line"))?;
    Ok(Response { status, head, ..Response::default() })
}

/// Reads the final response head, past any 1xx.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Response> {
    loop {
        let response = read_any_head(reader)?;
        if 200 <= response.status {
            return Ok(response);
        }
    }
}

/// How the body after `response` to a request with `method` ends (RFC 9112 6.3).
pub fn body_length(method: &str, response: &Response) -> io::Result<BodyLength> {
    if method == "HEAD" || response.status == 204 || response.status == 304 || response.status < 200 {
        return Ok(BodyLength::Bytes(0));
    }
    if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(BodyLength::Chunked);
    }
    match response.header("content-length") {
        Some(text) => {
            text.parse().map(BodyLength::Bytes).map_err(|_| malformed("content-length is not a number"))
        }
        None => Ok(BodyLength::Close),
    }
}

/// Reads the whole body into `response.body`.
pub fn read_body(reader: &mut impl BufRead, method: &str, response: &mut Response) -> io::Result<()> {
    match body_length(method, response)? {
        BodyLength::Bytes(len) => {
            response.body.reserve(usize::try_from(len.min(1 << 30)).unwrap_or(0));
            let got = reader.by_ref().take(len).read_to_end(&mut response.body)? as u64;
            if got < len {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    format!("body ended at {got} of {len} bytes"),
                ));
            }
        }
        BodyLength::Chunked => read_chunked(reader, &mut response.body)?,
        BodyLength::Close => {
            reader.read_to_end(&mut response.body)?;
        }
    }
    response.body_bytes = response.body.len() as u64;
    Ok(())
}

fn read_chunked(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let len = u64::from_str_radix(digits, 16).map_err(|_| malformed("chunk size is not hex"))?;
        if len == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(());
        }
        let got = reader.by_ref().take(len).read_to_end(body)? as u64;
        if got < len {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "body ended inside a chunk"));
        }
        if !read_line(reader)?.is_empty() {
            return Err(malformed("chunk is not followed by an end of line"));
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.by_ref().take(16 * 1024).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed inside a line"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn parse_status(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::{read_any_head, read_body, read_head};

    fn check(method: &str, mut wire: &[u8], expected: Result<(u16, &str), ()>) {
        let got = read_head(&mut wire).and_then(|mut response| {
            read_body(&mut wire, method, &mut response)?;
            Ok((response.status, response.text()))
        });
        let got = got.as_ref().map(|(status, body)| (*status, body.as_str())).map_err(|_| ());
        assert_eq!(got, expected);
    }

    #[test]
    fn responses() {
        check("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcNEXT", Ok((200, "abc")));
        check("HEAD", b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n", Ok((404, "")));
        check("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
        check(
            "PUT",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Ok((200, "")),
        );
        check(
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n",
            Ok((200, "abcde")),
        );
        check("GET", b"HTTP/1.1 200 OK\r\n\r\nto the end", Ok((200, "to the end")));
        check("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Err(()));
        check("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Err(()));
        check("GET", b"HTTP/1.1 200 OK\r\nContent-Le", Err(()));
        check("GET", b"", Err(()));
        check("GET", b"SSH-2.0\r\n\r\n", Err(()));
    }

    #[test]
    fn repeated_headers() {
        let check = |mut wire: &[u8], want: Option<&str>| {
            let response = read_head(&mut wire).expect("a head");
            assert_eq!(response.repeated_header().as_deref(), want);
            assert_eq!(response.with_single_headers().is_ok(), want.is_none());
        };
        check(b"HTTP/1.1 200 OK\r\nA: 1\r\nAB: 1\r\n\r\n", None);
        check(b"HTTP/1.1 200 OK\r\nDate: x\r\nA: 1\r\na: 2\r\n\r\n", Some("a"));
    }

    #[test]
    fn headers_and_interim_answers() {
        let mut wire: &[u8] =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nETag:  \"x\" \r\nConnection: Close\r\n\r\n";
        assert_eq!(read_any_head(&mut wire).expect("interim").status, 100);
        let response = read_any_head(&mut wire).expect("final");
        assert_eq!((response.status, response.etag().as_str()), (200, "\"x\""));
        assert!(response.closes());
    }
}
