//! A signed conversation with a running server: where it is, whose key signs, one request and its whole answer.
//!
//! Every client command makes a [`Client`] from its [`Connection`] and asks by [`Client::iam`], [`Client::sts`],
//! [`Client::page`] or [`Client::send`]; what is no success comes back as a [`Failure`] with the exit code that fits.
//! I1. A secret comes from the environment or a file of its owner alone, never from the command line, and is in no failure.
//! I2. No request is sent twice: one that changes something and got no answer may have been carried out.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use nilas_http::auth::sign::{Signer, Unsigned, encoded, sign};
use serde_json::Value;
use ureq::http;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::limits::{ANSWER_BYTES_MAX, CONNECT_WAIT_MAX, FILE_BYTES_MAX, LIST_PAGES_MAX, REQUEST_WAIT_MAX};
use crate::output::{Exit, Failure};
use crate::xml::Element;

const CONNECTION: &str = "Connection";
/// The server takes any; AWS signs IAM and STS with this one.
const REGION: &str = "us-east-1";
const IAM_VERSION: &str = "2010-05-08";
const STS_VERSION: &str = "2011-06-15";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const JSON: &str = "application/json";

/// Where the key comes from, as the help of each client command has it.
pub(crate) const CREDENTIALS: &str = "\
Credentials:
  Of --data DIR, the root.env in it; else NILAS_ACCESS_KEY and NILAS_SECRET_KEY (and NILAS_SESSION_TOKEN of a session) in the
  environment; else AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; else root.env in NILAS_DATA or ./nilas-data.";

/// How the server is reached, and how its answers are printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// The server
    #[arg(long, global = true, value_name = "URL", env = "NILAS_ENDPOINT", hide_env_values = true, default_value = "http://127.0.0.1:9000", help_heading = CONNECTION)]
    endpoint: String,
    /// Sign with the root key that a server keeps in this directory
    #[arg(long, global = true, value_name = "DIR", help_heading = CONNECTION)]
    pub(crate) data: Option<PathBuf>,
    /// Certificates (PEM) that an https endpoint is trusted by, in place of those built in
    #[arg(long, global = true, value_name = "FILE", env = "NILAS_CA", hide_env_values = true, help_heading = CONNECTION)]
    ca: Option<PathBuf>,
    /// JSON in place of text: one document, of lists a line for each entry; failures too, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// A server and who asks it.
pub(crate) struct Client {
    agent: ureq::Agent,
    /// Scheme and authority.
    base: String,
    host: String,
    key: Key,
}

/// A key and where it was found.
struct Key {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    source: String,
}

impl Client {
    /// Finds endpoint and key; asks nothing yet.
    pub(crate) fn new(connection: &Connection) -> Result<Client, Failure> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let key = find_key(&environment, connection.data.as_deref())?;
        let (base, host) = parse_endpoint(&connection.endpoint)?;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // What a proxy would see are secrets that are shown once.
            .proxy(None)
            .user_agent(concat!("nilas/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_WAIT_MAX))
            .timeout_global(Some(REQUEST_WAIT_MAX));
        if let Some(path) = &connection.ca {
            let trusted = RootCerts::Specific(certificates(path)?.into());
            config = config.tls_config(TlsConfig::builder().root_certs(trusted).build());
        }
        Ok(Client { agent: config.build().into(), base, host, key })
    }

    /// Asks IAM for an action and returns its result, which is empty for most changes.
    pub(crate) fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Element, Failure> {
        self.query("iam", IAM_VERSION, action, parameters)
    }

    /// Asks STS for an action and returns its result.
    pub(crate) fn sts(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Element, Failure> {
        self.query("sts", STS_VERSION, action, parameters)
    }

    /// Asks IAM for all pages of a list and returns the members of it.
    pub(crate) fn iam_list(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
        list: &str,
    ) -> Result<Vec<Element>, Failure> {
        let pages = self.iam_pages(action, parameters)?;
        Ok(pages.iter().flat_map(|page| page.members(list).cloned()).collect())
    }

    /// Asks IAM for all pages of an action that answers with several lists.
    pub(crate) fn iam_pages(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Element>, Failure> {
        let mut pages: Vec<Element> = Vec::new();
        let mut marker = None::<String>;
        while pages.len() < LIST_PAGES_MAX {
            let mut asked = parameters.to_vec();
            asked.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let page = self.iam(action, &asked)?;
            let next = page.text_of("Marker").to_owned();
            let is_last = page.text_of("IsTruncated") != "true";
            pages.push(page);
            if is_last {
                return Ok(pages);
            }
            if next.is_empty() || marker.as_ref() == Some(&next) {
                return Err(Failure::answer(format!("{action}: a page that is not the last leads nowhere")));
            }
            marker = Some(next);
        }
        Err(Failure::answer(format!("{action}: the list has more than {LIST_PAGES_MAX} pages")))
    }

    /// Asks for one of the server's own pages and returns its JSON; a body makes it a POST.
    pub(crate) fn page(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let (method, body) = match body {
            Some(body) => ("POST", body.to_string().into_bytes()),
            None => ("GET", Vec::new()),
        };
        let answer = self.send("s3", method, path, query, JSON, &body)?;
        serde_json::from_slice(&answer).map_err(|e| Failure::answer(format!("the answer is no JSON: {e}")))
    }

    fn query(
        &self,
        service: &str,
        version: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Element, Failure> {
        let mut form = vec![("Action", action), ("Version", version)];
        form.extend(parameters);
        let answer = self.send(service, "POST", "/", &[], FORM, pairs(&form).as_bytes())?;
        let no_xml = |why| Failure::answer(format!("the answer to {action} is no XML: {why}"));
        let document = Element::parse(&answer).map_err(no_xml)?;
        if document.name != format!("{action}Response") {
            return Err(Failure::answer(format!("{action} was answered with {}", document.name)));
        }
        Ok(document.child(&format!("{action}Result")).cloned().unwrap_or_default())
    }

    /// Sends one request, signed for a service, and returns the body of the answer; any status but success is a failure.
    pub(crate) fn send(
        &self,
        service: &str,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        content_type: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let query = pairs(query);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let unsigned = Unsigned { method, host: &self.host, path, query: &query, body };
        let signer = Signer {
            access_key: &self.key.access_key,
            secret_key: &self.key.secret_key,
            session_token: self.key.session_token.as_deref(),
        };
        let headers = sign(&unsigned, &signer, REGION, service, now_ms).map_err(|_| {
            Failure::usage(format!(
                "the key from {} has characters that no header can carry",
                self.key.source
            ))
        })?;
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request =
            http::Request::builder().method(method).uri(format!("{}{path}{mark}{query}", self.base));
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let unsendable = |e: http::Error| Failure::usage(format!("the request cannot be sent: {e}"));
        let sent = if body.is_empty() && method != "POST" && method != "PUT" {
            self.agent.run(request.body(()).map_err(unsendable)?)
        } else {
            self.agent.run(request.header("content-type", content_type).body(body).map_err(unsendable)?)
        };
        let mut response = sent.map_err(|e| self.unanswered(e))?;
        let status = response.status().as_u16();
        let wait =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|e| self.unanswered(e))?;
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(self.refused(status, wait.as_deref(), &body))
        }
    }

    /// The failure that an answer is.
    fn refused(&self, status: u16, wait: Option<&str>, body: &[u8]) -> Failure {
        let (code, message) = refusal(body);
        let why = match (message.as_str(), code.as_str()) {
            ("", "") => format!("{} answered with status {status}", self.base),
            ("", code) => code.to_owned(),
            (message, _) => message.to_owned(),
        };
        let mut failure = Failure::new(exit_of(status, &code), why);
        if !code.is_empty() {
            failure = failure.code(&code);
        }
        let key = format!("key {} from {}", self.key.access_key, self.key.source);
        match code.as_str() {
            "InvalidAccessKeyId" | "InvalidClientTokenId" | "UnrecognizedClientException" => failure.next(format!(
                "NILAS_ACCESS_KEY and NILAS_SECRET_KEY of a key of this server, or --data DIR of the server itself: it does not \
                 know the {key}"
            )),
            "SignatureDoesNotMatch" => failure.next(format!("the secret that belongs to the {key}")),
            "RequestTimeTooSkewed" | "RequestExpired" => failure.next("set the clock of this machine or of the server"),
            "ExpiredToken" | "ExpiredTokenException" => failure.next("nilas sts assume, with a lasting key, for a new session"),
            "InvalidToken" => failure.next(format!("the session token that belongs to the {key}")),
            "AccessDenied" | "Forbidden" | "ForbiddenException" => {
                failure.next(format!("nilas sts whoami; it was signed with the {key}, which may not do this"))
            }
            _ => match (failure.exit, wait) {
                (Exit::Unavailable, Some(wait)) => failure.next(format!("the same again in {wait} s")),
                (Exit::Unavailable, None) => failure.next("the same again in a moment"),
                _ => failure,
            },
        }
    }

    /// Says so when a secret that is about to be shown travels in the clear to another machine.
    pub(crate) fn warn_of_plain_text(&self) {
        let is_near = ["127.", "localhost", "[::1]"].iter().any(|near| self.host.starts_with(near));
        if self.base.starts_with("http:") && !is_near {
            eprintln!("nilas: the answer of {} holds a secret and is not encrypted on its way", self.base);
        }
    }

    fn unanswered(&self, error: ureq::Error) -> Failure {
        let why = format!("{}: {error}", self.base);
        match error {
            ureq::Error::BodyExceedsLimit(_) => {
                Failure::answer(format!("{}: the answer has more than {ANSWER_BYTES_MAX} bytes", self.base))
            }
            ureq::Error::Timeout(_) => Failure::new(Exit::Unavailable, why)
                .next("look whether it was carried out before you repeat a change"),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Failure::new(Exit::Unavailable, why)
                .next("--ca FILE with the certificate of who signed the server's"),
            _ => Failure::new(Exit::Unavailable, why)
                .next("nilas serve, or --endpoint URL (NILAS_ENDPOINT) of the server that runs"),
        }
    }
}

/// What an answer that is no success says of itself: code and message, each empty when it says nothing.
fn refusal(body: &[u8]) -> (String, String) {
    if let Ok(Value::Object(document)) = serde_json::from_slice(body) {
        let error = document.get("error").unwrap_or(&Value::Null);
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let code = if word("code").is_empty() { word("type") } else { word("code") };
        return (code, word("message"));
    }
    let Ok(document) = Element::parse(body) else { return (String::new(), String::new()) };
    let error = document.child("Error").unwrap_or(&document);
    (error.text_of("Code").to_owned(), error.text_of("Message").to_owned())
}

/// The exit code of an answer that is no success.
fn exit_of(status: u16, code: &str) -> Exit {
    match (status, code) {
        (_, "Throttling" | "ThrottlingException" | "SlowDown" | "RequestTimeout") => Exit::Unavailable,
        (_, "ExpiredToken" | "ExpiredTokenException" | "InvalidToken") => Exit::Denied,
        (401 | 403 | 419, _) => Exit::Denied,
        (404, _) => Exit::NotFound,
        (409 | 412, _) => Exit::Conflict,
        (429 | 502..=504 | 507, _) => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

/// Finds the key, in the order of [`CREDENTIALS`].
fn find_key(environment: &dyn Fn(&str) -> Option<String>, data: Option<&Path>) -> Result<Key, Failure> {
    if let Some(data) = data {
        return root_key(&data.join("root.env"));
    }
    let names = [
        ("NILAS_ACCESS_KEY", "NILAS_SECRET_KEY", "NILAS_SESSION_TOKEN"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ];
    for (access, secret, token) in names {
        match (environment(access), environment(secret)) {
            (Some(access_key), Some(secret_key)) => {
                let session_token = environment(token);
                return Ok(Key { access_key, secret_key, session_token, source: access.to_owned() });
            }
            (None, None) => {}
            _ => {
                return Err(Failure::usage(format!(
                    "{access} and {secret} belong together: set both, or neither"
                )));
            }
        }
    }
    let data = environment("NILAS_DATA").map_or_else(|| PathBuf::from("nilas-data"), PathBuf::from);
    let path = data.join("root.env");
    if !path.exists() {
        let why =
            format!("there is no key: NILAS_ACCESS_KEY is not set and {} does not exist", path.display());
        return Err(
            Failure::usage(why).next("NILAS_ACCESS_KEY=… NILAS_SECRET_KEY=…, or --data DIR of the server")
        );
    }
    root_key(&path)
}

/// The root key in the file where a server keeps it.
fn root_key(path: &Path) -> Result<Key, Failure> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| Failure::usage(format!("{shown}: {e}"));
    let about = std::fs::metadata(path).map_err(unreadable)?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let why = format!("{shown} has mode {mode:o}, others can read it");
        return Err(Failure::usage(why).next(format!("chmod 600 {shown}")));
    }
    let text = read_text(path)?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        line.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    match (value("NILAS_ACCESS_KEY"), value("NILAS_SECRET_KEY")) {
        (Some(access_key), Some(secret_key)) => {
            Ok(Key { access_key, secret_key, session_token: None, source: shown.to_string() })
        }
        _ => Err(Failure::usage(format!(
            "{shown} must have the lines NILAS_ACCESS_KEY=… and NILAS_SECRET_KEY=…"
        ))),
    }
}

/// Takes an address apart into scheme with authority, and the `Host` header.
fn parse_endpoint(text: &str) -> Result<(String, String), Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("--endpoint {text:?}: {why}; write it like http://127.0.0.1:9000"))
    };
    let uri: http::Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if scheme != "http" && scheme != "https" {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(Failure::usage("--endpoint: keys do not belong into it: others see them")
            .next("NILAS_ACCESS_KEY and NILAS_SECRET_KEY in the environment"));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("it has a path"));
    }
    // As every client has it: the port is left out where it is the scheme's own.
    let host = match (scheme, authority.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => authority.host().to_owned(),
        _ => authority.as_str().to_owned(),
    };
    Ok((format!("{scheme}://{authority}"), host))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let text = read_text(path)?;
    let wrong = |why: String| Failure::usage(format!("--ca {}: {why}", path.display()));
    let mut found = Vec::new();
    for item in parse_pem(text.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(wrong("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// Reads a file that the command line names; `-` is standard input.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let unreadable = |e: std::io::Error| Failure::usage(format!("{}: {e}", path.display()));
    let source: Box<dyn std::io::Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path).map_err(unreadable)?),
    };
    let mut text = String::new();
    let read = source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if FILE_BYTES_MAX < read as u64 {
        return Err(Failure::usage(format!("{} has more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    Ok(text)
}

/// Reads a policy that the command line names. An empty file is none: a session without a policy may do more than one with it.
pub(crate) fn read_policy(path: &Path) -> Result<String, Failure> {
    let text = read_text(path)?;
    match text.trim().is_empty() {
        true => Err(Failure::usage(format!("{} holds no policy: it is empty", path.display()))),
        false => Ok(text),
    }
}

/// A name as a segment of a path.
pub(crate) fn segment(name: &str) -> std::borrow::Cow<'_, str> {
    encoded(name)
}

/// Names and values as a query or a form has them.
fn pairs(pairs: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    pairs.iter().map(one).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
pub(crate) mod tests;
