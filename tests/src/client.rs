//! A small blocking S3 client: one keep-alive connection, header signatures, five payload forms.
//!
//! Cheap enough to generate load and open enough to send nonsense: [`Client::encode`] gives the
//! bytes of a request, which a test may spoil before [`Client::exchange`] sends them.
//! A GET or HEAD on a reused connection that was closed before answering is sent once more;
//! nothing else is ever repeated, so one acknowledged write is one request.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use crate::http1::{self, BodyLength, Response};
use crate::sign::{self, Signer, Subject};
use crate::xml;

/// Longest wait for a byte in either direction.
pub const IO_WAIT_MAX: Duration = Duration::from_secs(60);
/// Data bytes per chunk of a streaming body.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that [`Raw::receive_little`] has the kernel keep: more than a segment of the loopback interface, else its sender waits for
/// timers.
const RECEIVED_LITTLE: libc::c_int = 128 * 1024;
/// A connection idle for longer, or just refused something, is checked before it is used again.
const IDLE_TRUSTED_MAX: Duration = Duration::from_millis(5);

/// How a body is signed and framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// Hex SHA-256 of the body.
    Signed,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    Chunked,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER` with a CRC-32 trailer.
    ChunkedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER` with a CRC-32 trailer.
    UnsignedTrailer,
}

impl Payload {
    /// All five, for tables.
    pub const ALL: [Payload; 5] = [
        Payload::Unsigned,
        Payload::Signed,
        Payload::Chunked,
        Payload::ChunkedTrailer,
        Payload::UnsignedTrailer,
    ];

    fn streaming_name(self) -> Option<&'static str> {
        match self {
            Payload::Unsigned | Payload::Signed => None,
            Payload::Chunked => Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Payload::ChunkedTrailer => Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            Payload::UnsignedTrailer => Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        }
    }

    fn has_trailer(self) -> bool {
        matches!(self, Payload::ChunkedTrailer | Payload::UnsignedTrailer)
    }
}

/// One request to be sent.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Method in upper case.
    pub method: &'a str,
    /// Path, percent-encoded.
    pub path: String,
    /// Query pairs, not encoded.
    pub query: Vec<(String, String)>,
    /// Further headers, lower-case names; all are signed.
    pub headers: Vec<(String, String)>,
    /// The body before framing.
    pub body: &'a [u8],
    /// Signing and framing of the body.
    pub payload: Payload,
    /// Wraps the body in chunked transfer coding in place of Content-Length.
    pub transfer_chunked: bool,
    /// Without credentials if false.
    pub signed: bool,
    /// Counts the response body without keeping it.
    pub discard: bool,
}

impl<'a> Call<'a> {
    /// A call to an encoded path.
    pub fn new(method: &'a str, path: impl Into<String>) -> Self {
        Call {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: &[],
            payload: Payload::Unsigned,
            transfer_chunked: false,
            signed: true,
            discard: false,
        }
    }

    /// A GET of an encoded path.
    pub fn get(path: &str) -> Self {
        Call::new("GET", path)
    }

    /// A call to a bucket, path style.
    pub fn bucket(method: &'a str, bucket: &str) -> Self {
        Call::new(method, format!("/{}", sign::encode(bucket, false)))
    }

    /// A call to an object, path style.
    pub fn object(method: &'a str, bucket: &str, key: &str) -> Self {
        Call::new(method, format!("/{}/{}", sign::encode(bucket, false), sign::encode(key, true)))
    }

    /// Adds a query pair.
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }

    /// Sets signing and framing of the body.
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Uses chunked transfer coding.
    pub fn transfer_chunked(mut self) -> Self {
        self.transfer_chunked = true;
        self
    }

    /// Sends no credentials.
    pub fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }

    /// Drops the response body as it arrives.
    pub fn discard(mut self) -> Self {
        self.discard = true;
        self
    }
}

/// A request as bytes.
pub struct Encoded<'a> {
    /// Request line and headers with the empty line.
    pub head: Vec<u8>,
    /// The framed body.
    pub body: Cow<'a, [u8]>,
}

impl Encoded<'_> {
    /// Head and body in one buffer.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.body[..]].concat()
    }
}

/// One listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// ETag with its quotes.
    pub etag: String,
}

/// One page of ListObjectsV2.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Objects, in order.
    pub entries: Vec<Entry>,
    /// Common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Token of the next page.
    pub next: Option<String>,
    /// The answer itself.
    pub response: Response,
}

/// A client with a connection of its own. Not shared between threads; clone it instead.
pub struct Client {
    /// Server address.
    pub address: SocketAddr,
    /// Credentials.
    pub signer: Signer,
    /// Payload form of the convenience methods.
    pub payload: Payload,
    /// Added to the clock when signing, seconds.
    pub skew_secs: i64,
    /// Fails on an answer that has several lines for one header. For our own server; others may do so.
    pub single_headers: bool,
    host: String,
    connection: Option<Connection>,
}

struct Connection {
    reader: BufReader<TcpStream>,
    used_at: Instant,
    suspect: bool,
}

impl Clone for Client {
    /// The clone opens its own connection.
    fn clone(&self) -> Self {
        Client {
            address: self.address,
            signer: self.signer.clone(),
            payload: self.payload,
            skew_secs: self.skew_secs,
            single_headers: self.single_headers,
            host: self.host.clone(),
            connection: None,
        }
    }
}

impl Client {
    /// A client for service `s3` with unsigned payloads.
    pub fn new(address: SocketAddr, access: &str, secret: &str) -> Self {
        Client {
            address,
            signer: Signer::new(access, secret, "s3"),
            payload: Payload::Unsigned,
            skew_secs: 0,
            single_headers: false,
            host: address.to_string(),
            connection: None,
        }
    }

    /// Sends `call` and reads the answer. Error answers are `Ok`; `Err` means that no whole answer
    /// came, so what the server did is not known.
    pub fn send(&mut self, call: &Call<'_>) -> io::Result<Response> {
        let encoded = self.encode(call);
        let repeatable = matches!(call.method, "GET" | "HEAD");
        let (mut connection, reused) = self.connect()?;
        let mut answer = connection.exchange(&encoded, call);
        if reused && repeatable && answer.as_ref().is_err_and(is_closed) {
            connection = Connection::open(self.address)?;
            answer = connection.exchange(&encoded, call);
        }
        let mut response = answer?;
        if self.single_headers {
            response = response.with_single_headers()?;
        }
        if !response.closes() {
            connection.used_at = Instant::now();
            connection.suspect = 400 <= response.status;
            self.connection = Some(connection);
        }
        Ok(response)
    }

    /// The bytes that [`Client::send`] would send now.
    pub fn encode<'a>(&mut self, call: &Call<'a>) -> Encoded<'a> {
        let amz_date = self.amz_date();
        let query = sign::query(&call.query);
        let payload_hash: Cow<'static, str> = match call.payload.streaming_name() {
            Some(name) => name.into(),
            None if call.payload == Payload::Unsigned => sign::UNSIGNED.into(),
            None if call.body.is_empty() => sign::EMPTY_SHA256.into(),
            None => sign::sha256_hex(call.body).into(),
        };
        let decoded_length = call.body.len().to_string();
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(8 + call.headers.len());
        headers.push(("host", &self.host));
        if call.signed {
            headers.push(("x-amz-content-sha256", &payload_hash));
            headers.push(("x-amz-date", &amz_date));
        }
        if call.payload.streaming_name().is_some() {
            headers.push(("x-amz-decoded-content-length", &decoded_length));
            if !call.headers.iter().any(|(name, _)| name == "content-encoding") {
                headers.push(("content-encoding", "aws-chunked"));
            }
            if call.payload.has_trailer() {
                headers.push(("x-amz-trailer", "x-amz-checksum-crc32"));
            }
        }
        for (name, value) in &call.headers {
            // A header given by the caller takes the place of ours.
            headers.retain(|(ours, _)| ours != name);
            headers.push((name, value));
        }
        headers.sort_unstable();
        let subject = Subject {
            method: call.method,
            path: &call.path,
            query: &query,
            headers: &headers,
            payload_hash: &payload_hash,
            amz_date: &amz_date,
        };
        let signature = call.signed.then(|| self.signer.sign(&subject));
        let seed = signature.as_ref().map(|signature| signature.signature.as_str()).unwrap_or_default();
        let mut body = match call.payload.streaming_name() {
            Some(_) => Cow::Owned(frame(&mut self.signer, call.payload, call.body, &amz_date, seed)),
            None => Cow::Borrowed(call.body),
        };
        let mut head = Vec::with_capacity(512);
        let separator = if query.is_empty() { "" } else { "?" };
        push(&mut head, &[call.method, " ", &call.path, separator, &query, " HTTP/1.1\r\n"]);
        for (name, value) in &headers {
            push(&mut head, &[name, ": ", value, "\r\n"]);
        }
        if let Some(signature) = &signature {
            push(&mut head, &["authorization: ", &signature.authorization, "\r\n"]);
        }
        if call.transfer_chunked {
            body = Cow::Owned(transfer_chunks(&body));
            push(&mut head, &["transfer-encoding: chunked\r\n"]);
        } else if !body.is_empty() || matches!(call.method, "PUT" | "POST") {
            push(&mut head, &["content-length: ", &body.len().to_string(), "\r\n"]);
        }
        push(&mut head, &["\r\n"]);
        Encoded { head, body }
    }

    /// Path and query of a presigned request with an unsigned payload, for `expires_s` seconds from `amz_date` on.
    /// `parameters` are signed with it, encoded as they must be; the signature comes last.
    pub fn presign(
        &mut self,
        method: &str,
        path: &str,
        parameters: &[(&str, &str)],
        amz_date: &str,
        expires_s: u64,
    ) -> String {
        let credential = format!("{}/{}", self.signer.access, self.signer.scope(amz_date));
        let mut pairs: Vec<(String, String)> = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", amz_date),
            ("X-Amz-Expires", &expires_s.to_string()),
            ("X-Amz-SignedHeaders", "host"),
        ]
        .iter()
        .chain(parameters)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
        pairs.sort();
        let query = sign::query(&pairs);
        let headers = [("host", self.host.as_str())];
        let payload_hash = sign::UNSIGNED;
        let subject = Subject { method, path, query: &query, headers: &headers, payload_hash, amz_date };
        let signature = self.signer.sign(&subject).signature;
        format!("{path}?{query}&X-Amz-Signature={signature}")
    }

    /// Sends raw bytes on a new connection and reads one answer; the connection comes back for more.
    pub fn exchange(&self, bytes: &[u8], method: &str) -> io::Result<(Response, Raw)> {
        let mut raw = self.raw()?;
        // A server that refuses early may stop reading: its answer counts, not our write.
        let written = raw.write(bytes);
        let response = raw.read(method);
        match (written, response) {
            (_, Ok(response)) => Ok((response, raw)),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error),
        }
    }

    /// A new connection without any rules.
    pub fn raw(&self) -> io::Result<Raw> {
        Connection::open(self.address).map(|connection| Raw { reader: connection.reader })
    }

    /// The time of signatures made now.
    pub fn amz_date(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        sign::amz_date(now.saturating_add_signed(self.skew_secs))
    }

    /// CreateBucket.
    pub fn create_bucket(&mut self, bucket: &str) -> io::Result<Response> {
        self.send(&Call::bucket("PUT", bucket))
    }

    /// DeleteBucket.
    pub fn delete_bucket(&mut self, bucket: &str) -> io::Result<Response> {
        self.send(&Call::bucket("DELETE", bucket))
    }

    /// PutObject.
    pub fn put(&mut self, bucket: &str, key: &str, body: &[u8]) -> io::Result<Response> {
        let payload = self.payload;
        self.send(&Call::object("PUT", bucket, key).body(body).payload(payload))
    }

    /// GetObject.
    pub fn get(&mut self, bucket: &str, key: &str) -> io::Result<Response> {
        self.send(&Call::object("GET", bucket, key))
    }

    /// HeadObject.
    pub fn head(&mut self, bucket: &str, key: &str) -> io::Result<Response> {
        self.send(&Call::object("HEAD", bucket, key))
    }

    /// DeleteObject.
    pub fn delete(&mut self, bucket: &str, key: &str) -> io::Result<Response> {
        self.send(&Call::object("DELETE", bucket, key))
    }

    /// DeleteObjects of up to 1,000 keys, with Content-MD5.
    pub fn delete_many(&mut self, bucket: &str, keys: &[String]) -> io::Result<Response> {
        let mut body = String::from("<Delete>");
        for key in keys {
            body.push_str(&format!("<Object><Key>{}</Key></Object>", xml::escape(key)));
        }
        body.push_str("</Delete>");
        let md5 = md5_base64(body.as_bytes());
        let call = Call::bucket("POST", bucket).query("delete", "").header("content-md5", md5);
        self.send(&call.body(body.as_bytes()).payload(Payload::Signed))
    }

    /// ListObjectsV2 with the given further parameters.
    pub fn list(&mut self, bucket: &str, parameters: &[(&str, &str)]) -> io::Result<Page> {
        let mut call = Call::bucket("GET", bucket).query("list-type", "2");
        for (name, value) in parameters {
            call = call.query(name, *value);
        }
        Ok(parse_page(self.send(&call)?))
    }

    /// All objects under `prefix`, over as many pages as it takes; an error answer is an `Err`.
    pub fn list_all(&mut self, bucket: &str, prefix: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut token = None::<String>;
        loop {
            let mut parameters = vec![("prefix", prefix)];
            if let Some(token) = &token {
                parameters.push(("continuation-token", token));
            }
            let page = self.list(bucket, &parameters)?;
            if !page.response.is_success() {
                let text = page.response.text();
                return Err(io::Error::other(format!("listing answered {}: {text}", page.response.status)));
            }
            entries.extend(page.entries);
            token = page.next;
            if token.is_none() {
                return Ok(entries);
            }
        }
    }

    /// CreateMultipartUpload.
    pub fn create_upload(&mut self, bucket: &str, key: &str) -> io::Result<(Response, String)> {
        let response = self.send(&Call::object("POST", bucket, key).query("uploads", ""))?;
        let id = xml::first(&response.text(), "UploadId").unwrap_or_default();
        Ok((response, id))
    }

    /// UploadPart.
    pub fn put_part(
        &mut self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        body: &[u8],
    ) -> io::Result<Response> {
        let call = Call::object("PUT", bucket, key)
            .query("partNumber", number.to_string())
            .query("uploadId", upload)
            .payload(self.payload);
        self.send(&call.body(body))
    }

    /// CompleteMultipartUpload. An `<Error>` under status 200 comes back as status 500.
    pub fn complete(
        &mut self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[(u32, String)],
    ) -> io::Result<Response> {
        let mut body = String::from("<CompleteMultipartUpload>");
        for (number, etag) in parts {
            let etag = xml::escape(etag);
            body.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
        }
        body.push_str("</CompleteMultipartUpload>");
        let call = Call::object("POST", bucket, key).query("uploadId", upload);
        let mut response = self.send(&call.body(body.as_bytes()).payload(Payload::Signed))?;
        if response.status == 200 && response.text().contains("<Error>") {
            response.status = 500;
        }
        Ok(response)
    }

    /// AbortMultipartUpload.
    pub fn abort(&mut self, bucket: &str, key: &str, upload: &str) -> io::Result<Response> {
        self.send(&Call::object("DELETE", bucket, key).query("uploadId", upload))
    }

    /// ListParts.
    pub fn list_parts(&mut self, bucket: &str, key: &str, upload: &str) -> io::Result<Response> {
        self.send(&Call::object("GET", bucket, key).query("uploadId", upload))
    }

    fn connect(&mut self) -> io::Result<(Connection, bool)> {
        match self.connection.take() {
            Some(connection) if connection.is_usable() => Ok((connection, true)),
            _ => Connection::open(self.address).map(|connection| (connection, false)),
        }
    }
}

/// A connection on which anything may be sent.
pub struct Raw {
    reader: BufReader<TcpStream>,
}

impl Raw {
    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads one final answer to a request with `method`.
    pub fn read(&mut self, method: &str) -> io::Result<Response> {
        let mut response = http1::read_head(&mut self.reader)?;
        http1::read_body(&mut self.reader, method, &mut response)?;
        response.with_single_headers()
    }

    /// Reads one final answer if the server begins one, or closes, within `wait`; `None` when it is silent.
    pub fn answer_within(&mut self, wait: Duration, method: &str) -> Option<io::Result<Response>> {
        if let Err(error) = self.reader.get_ref().set_read_timeout(Some(wait)) {
            return Some(Err(error));
        }
        let is_silent = self.reader.fill_buf().is_err_and(|error| !is_closed(&error));
        let set = self.reader.get_ref().set_read_timeout(Some(IO_WAIT_MAX));
        if is_silent && set.is_ok() {
            return None;
        }
        Some(set.and_then(|()| self.read(method)))
    }

    /// Reads one head, final or interim.
    pub fn read_any_head(&mut self) -> io::Result<Response> {
        http1::read_any_head(&mut self.reader)
    }

    /// True if the server closes within `wait` without sending anything more.
    pub fn is_closed_within(&mut self, wait: Duration) -> bool {
        let set = self.reader.get_ref().set_read_timeout(Some(wait));
        let closed = match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => is_closed(&error),
        };
        closed && set.is_ok()
    }

    /// Reads exactly `count` bytes.
    pub fn read_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads on until `most` bytes came, the connection is over or nothing comes; how many it were.
    pub fn read_rest(&mut self, most: u64) -> u64 {
        let mut count = 0;
        while count < most {
            match self.reader.fill_buf() {
                Ok([]) | Err(_) => break,
                Ok(bytes) => {
                    let got = bytes.len();
                    count += got as u64;
                    self.reader.consume(got);
                }
            }
        }
        count
    }

    /// Has the kernel keep little of what is not read yet, so that the other end waits for us.
    #[expect(unsafe_code, reason = "the standard library sets no sizes of buffers")]
    pub fn receive_little(&self) {
        let bytes: libc::c_int = RECEIVED_LITTLE;
        let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four bytes");
        let socket = self.reader.get_ref().as_raw_fd();
        let value = (&raw const bytes).cast();
        // SAFETY: `bytes` outlives the call and has the length that is said.
        let set = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, value, length) };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }

    /// Another handle of the same connection, to write while this one reads.
    pub fn second(&self) -> io::Result<Raw> {
        self.reader.get_ref().try_clone().map(|stream| Raw { reader: BufReader::new(stream) })
    }

    /// Ends the sending direction.
    pub fn shut_write(&self) -> io::Result<()> {
        self.reader.get_ref().shutdown(std::net::Shutdown::Write)
    }
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IO_WAIT_MAX))?;
        stream.set_write_timeout(Some(IO_WAIT_MAX))?;
        let reader = BufReader::with_capacity(16 * 1024, stream);
        Ok(Connection { reader, used_at: Instant::now(), suspect: false })
    }

    /// False if the server has closed the idle connection or sent what nobody asked for.
    #[expect(unsafe_code, reason = "the standard library's peek cannot be asked not to wait")]
    fn is_usable(&self) -> bool {
        if !self.suspect && self.used_at.elapsed() < IDLE_TRUSTED_MAX {
            return true;
        }
        let mut byte = 0u8;
        let socket = self.reader.get_ref().as_raw_fd();
        // SAFETY: `byte` outlives the call and has room for the one byte asked for.
        let got =
            unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
        got < 0 && io::Error::last_os_error().kind() == ErrorKind::WouldBlock
    }

    fn exchange(&mut self, encoded: &Encoded<'_>, call: &Call<'_>) -> io::Result<Response> {
        let written = write_both(self.reader.get_ref(), &encoded.head, &encoded.body);
        if let Err(error) = &written
            && !is_closed(error)
        {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        // After a failed write the server may still have said why.
        let mut response = http1::read_head(&mut self.reader).map_err(|error| match written {
            Err(first) => first,
            Ok(()) => error,
        })?;
        match http1::body_length(call.method, &response)? {
            BodyLength::Bytes(len) if call.discard && response.is_success() => {
                self.discard(len)?;
                response.body_bytes = len;
            }
            _ => http1::read_body(&mut self.reader, call.method, &mut response)?,
        }
        Ok(response)
    }

    /// Takes `len` body bytes off the socket without copying what is not buffered yet.
    #[expect(unsafe_code, reason = "MSG_TRUNC has no safe form")]
    fn discard(&mut self, len: u64) -> io::Result<()> {
        let buffered = u64::try_from(self.reader.buffer().len()).unwrap_or(u64::MAX).min(len);
        self.reader.consume(buffered as usize);
        let mut left = len - buffered;
        if left == 0 {
            return Ok(());
        }
        let mut scratch = vec![0u8; usize::try_from(left.min(1 << 20)).unwrap_or(1 << 20)];
        let socket = self.reader.get_ref().as_raw_fd();
        while 0 < left {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
            // SAFETY: `scratch` is at least `want` bytes long, should the kernel write after all.
            let got = unsafe { libc::recv(socket, scratch.as_mut_ptr().cast(), want, libc::MSG_TRUNC) };
            match u64::try_from(got) {
                Ok(0) => {
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("{left} bytes missing")));
                }
                Ok(got) => left -= got.min(left),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Base64 of the MD5 of `bytes`, as Content-MD5 has it.
pub fn md5_base64(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

/// Hex MD5 of `bytes` in quotes: the ETag of an object uploaded in one piece.
pub fn md5_etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(bytes)))
}

/// The ETag of a multipart object.
pub fn multipart_etag(parts: &[&[u8]]) -> String {
    let mut all = Md5::new();
    for part in parts {
        all.update(Md5::digest(part));
    }
    format!("\"{}-{}\"", hex::encode(all.finalize()), parts.len())
}

/// Base64 of the big-endian CRC-32 (IEEE) of `bytes`.
pub fn crc32_base64(bytes: &[u8]) -> String {
    STANDARD.encode(crc_reflected(u64::from(0xEDB8_8320_u32), 32, bytes).to_be_bytes().split_at(4).1)
}

/// Base64 of the big-endian CRC-32C of `bytes`.
pub fn crc32c_base64(bytes: &[u8]) -> String {
    STANDARD.encode(crc_reflected(u64::from(0x82F6_3B78_u32), 32, bytes).to_be_bytes().split_at(4).1)
}

/// Base64 of the big-endian CRC-64/NVME of `bytes`.
pub fn crc64nvme_base64(bytes: &[u8]) -> String {
    STANDARD.encode(crc_reflected(0x9A6C_9329_AC4B_C9B5, 64, bytes).to_be_bytes())
}

/// Base64 of the SHA-256 of `bytes`.
pub fn sha256_base64(bytes: &[u8]) -> String {
    STANDARD.encode(sha2::Sha256::digest(bytes))
}

/// A reflected CRC with all-ones start and end, one table lookup per byte.
fn crc_reflected(polynomial: u64, bits: u32, bytes: &[u8]) -> u64 {
    let mut table = [0u64; 256];
    for (at, entry) in (0u64..).zip(table.iter_mut()) {
        *entry = (0..8).fold(at, |crc, _| if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 });
    }
    let ones = u64::MAX >> (64 - bits);
    let crc =
        bytes.iter().fold(ones, |crc, byte| crc >> 8 ^ table[((crc ^ u64::from(*byte)) & 0xFF) as usize]);
    crc ^ ones
}

/// Frames a streaming body: chunks of [`CHUNK_BYTES`], the empty chunk, and the trailer if any.
pub fn frame(signer: &mut Signer, payload: Payload, body: &[u8], amz_date: &str, seed: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + body.len() / CHUNK_BYTES * 96 + 512);
    let signed = payload != Payload::UnsignedTrailer;
    let mut previous = seed.to_owned();
    for chunk in body.chunks(CHUNK_BYTES).chain([&[][..]]) {
        push(&mut out, &[&format!("{:x}", chunk.len())]);
        if signed {
            previous = signer.sign_chunk(amz_date, &previous, chunk);
            push(&mut out, &[";chunk-signature=", &previous]);
        }
        push(&mut out, &["\r\n"]);
        if !chunk.is_empty() {
            out.extend_from_slice(chunk);
            push(&mut out, &["\r\n"]);
        }
    }
    if payload.has_trailer() {
        let crc = crc32_base64(body);
        push(&mut out, &["x-amz-checksum-crc32:", &crc, "\r\n"]);
        if signed {
            let line = format!("x-amz-checksum-crc32:{crc}\n");
            let signature = signer.sign_trailer(amz_date, &previous, &line);
            push(&mut out, &["x-amz-trailer-signature:", &signature, "\r\n"]);
        }
    }
    push(&mut out, &["\r\n"]);
    out
}

/// Wraps bytes in chunked transfer coding with chunks that align with nothing.
fn transfer_chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(65_524) {
        push(&mut out, &[&format!("{:X}\r\n", chunk.len())]);
        out.extend_from_slice(chunk);
        push(&mut out, &["\r\n"]);
    }
    push(&mut out, &["0\r\n\r\n"]);
    out
}

fn parse_page(response: Response) -> Page {
    let text = response.text();
    let entries = xml::blocks(&text, "Contents")
        .into_iter()
        .map(|block| Entry {
            key: xml::first(block, "Key").unwrap_or_default(),
            size: xml::first(block, "Size").and_then(|size| size.parse().ok()).unwrap_or(u64::MAX),
            etag: xml::first(block, "ETag").unwrap_or_default(),
        })
        .collect();
    let prefixes = xml::blocks(&text, "CommonPrefixes")
        .into_iter()
        .map(|block| xml::first(block, "Prefix").unwrap_or_default())
        .collect();
    let truncated = xml::first(&text, "IsTruncated").is_some_and(|value| value == "true");
    let next = xml::first(&text, "NextContinuationToken").filter(|_| truncated);
    Page { entries, prefixes, next, response }
}

fn write_both(mut stream: &TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    if body.is_empty() {
        return stream.write_all(head);
    }
    let mut slices = [IoSlice::new(head), IoSlice::new(body)];
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match stream.write_vectored(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Call, Client, Payload, crc32_base64, crc32c_base64, crc64nvme_base64, frame, md5_base64, md5_etag,
        multipart_etag, parse_page, transfer_chunks,
    };
    use crate::http1::Response;
    use crate::sign::Signer;

    fn client() -> Client {
        Client::new(([127, 0, 0, 1], 9000).into(), "a", "s")
    }

    #[test]
    fn checksums() {
        // The check value of each algorithm is that of "123456789".
        assert_eq!(crc32_base64(b"123456789"), "y/Q5Jg==");
        assert_eq!(crc32c_base64(b"123456789"), "4waSgw==");
        assert_eq!(crc64nvme_base64(b"123456789"), "rosUhgp5mIg=");
        assert_eq!(md5_base64(b""), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(md5_etag(b""), "\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert!(multipart_etag(&[b"a", b"b"]).ends_with("-2\""));
    }

    #[test]
    fn framing() {
        let mut signer = Signer::new("a", "s", "s3");
        let body = vec![7u8; 65_537];
        let framed = frame(&mut signer, Payload::UnsignedTrailer, &body, "20130524T000000Z", "");
        let text = String::from_utf8_lossy(&framed);
        assert!(text.starts_with("10000\r\n"));
        assert!(text.contains("\r\n1\r\n"));
        assert!(text.ends_with(&format!("\r\n0\r\nx-amz-checksum-crc32:{}\r\n\r\n", crc32_base64(&body))));
        let framed = frame(&mut signer, Payload::Chunked, b"", "20130524T000000Z", "00");
        let text = String::from_utf8_lossy(&framed);
        assert!(text.starts_with("0;chunk-signature=") && text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(transfer_chunks(b"abc"), b"3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(transfer_chunks(b""), b"0\r\n\r\n");
    }

    #[test]
    fn heads() {
        let text = |call: &Call<'_>| String::from_utf8(client().encode(call).bytes()).expect("ASCII");
        let put = text(&Call::object("PUT", "b", "k y").query("x-id", "PutObject").body(b"abc"));
        assert!(put.starts_with("PUT /b/k%20y?x-id=PutObject HTTP/1.1\r\n"), "{put}");
        assert!(put.contains("\r\ncontent-length: 3\r\n") && put.ends_with("\r\n\r\nabc"), "{put}");
        assert!(put.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date, "), "{put}");
        let get = text(&Call::get("/healthz").unsigned());
        assert_eq!(get, "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:9000\r\n\r\n");
        let chunked = text(&Call::object("PUT", "b", "k").body(b"abc").transfer_chunked());
        assert!(!chunked.contains("content-length") && chunked.ends_with("3\r\nabc\r\n0\r\n\r\n"));
        let own = text(&Call::get("/").header("Host", "elsewhere"));
        assert_eq!(own.matches("host: ").count(), 1);
    }

    #[test]
    fn pages() {
        let body = b"<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a&amp;b</Key><ETag>&quot;e&quot;</ETag><Size>5</Size></Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes><NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
        let page = parse_page(Response { status: 200, body: body.to_vec(), ..Response::default() });
        assert_eq!((page.entries[0].key.as_str(), page.entries[0].size), ("a&b", 5));
        assert_eq!(page.entries[0].etag, "\"e\"");
        assert_eq!((page.prefixes, page.next), (vec!["p/".to_owned()], Some("t".to_owned())));
    }
}
