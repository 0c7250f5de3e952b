//! Every operation of every API, asked for by everybody: who may, may; who may not, is refused and learns nothing.
//!
//! The corpus is made from the tables of operations: an operation that is added does not compile here until it is said how
//! it is asked for. Each is asked for in some thirty ways ([`Way`]), some five thousand questions in all. A question is
//! answered rightly when it is refused exactly where it has to be, and with the one code that its API has for the reason
//! ([`Answer`]); what an operation then says of its arguments is of no interest here.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use nilas_catalog::access::{Effect, NamedIn, OperationFacts, ResourceKind};
use nilas_http::pages::Page;
use nilas_http::query::operations as query;
use nilas_http::s3::operations::{Form, Level, Operation};
use nilas_tests::client::{Call, Client};
use nilas_tests::http1::Response;
use nilas_tests::server::{Server, ServerOptions};
use nilas_tests::sign::{self, Signer, Subject};

/// One operation of any API.
#[derive(Clone, Copy, Debug)]
enum Any {
    S3(Operation),
    Iceberg(nilas_catalog::Operation),
    Query(query::Operation),
    Page(Page),
}

impl Any {
    fn all() -> Vec<Any> {
        let s3 = Operation::ALL.iter().copied().map(Any::S3);
        let iceberg = nilas_catalog::Operation::ALL.iter().copied().map(Any::Iceberg);
        let query = query::Operation::ALL.iter().copied().map(Any::Query);
        s3.chain(iceberg).chain(query).chain(Page::ALL.into_iter().map(Any::Page)).collect()
    }

    fn facts(self) -> &'static OperationFacts {
        match self {
            Any::S3(operation) => operation.facts(),
            Any::Iceberg(operation) => operation.facts(),
            Any::Query(operation) => operation.facts(),
            Any::Page(page) => &page.row().facts,
        }
    }

    /// The service that its requests are signed for.
    fn service(self) -> &'static str {
        match self {
            Any::S3(_) | Any::Page(_) => "s3",
            Any::Iceberg(_) => "s3tables",
            Any::Query(_) if self.facts().action.starts_with("sts:") => "sts",
            Any::Query(_) => "iam",
        }
    }

    fn is_public(self) -> bool {
        self.facts().resource == ResourceKind::Public
    }
}

/// What of the fixture is asked for.
#[derive(Clone, Copy, Debug)]
struct Place {
    bucket: &'static str,
    warehouse: &'static str,
}

/// Where nothing is said.
const PLAIN: Place = Place { bucket: "corpus", warehouse: "corpuswh" };
/// Where a policy denies everything to everybody.
const DENIED: Place = Place { bucket: "denied", warehouse: "deniedwh" };
/// Where a policy allows everything to everybody.
const PUBLIC: Place = Place { bucket: "public", warehouse: "publicwh" };

/// A request, before anybody signs it.
#[derive(Clone, Debug, Default)]
struct Ask {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: String,
}

/// How an operation is asked for. Nothing that the fixture needs is destroyed by it.
fn ask_of(any: Any, place: Place) -> Ask {
    match any {
        Any::S3(operation) => s3_ask(operation, place),
        Any::Iceberg(operation) => iceberg_ask(operation, place),
        Any::Query(operation) => {
            let version = if any.service() == "sts" { "2011-06-15" } else { "2010-05-08" };
            Ask {
                method: "POST".to_owned(),
                path: "/".to_owned(),
                headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
                body: format!("Action={}&Version={version}{}", operation.facts().name, fields(operation)),
                ..Ask::default()
            }
        }
        Any::Page(page) => {
            let path = page.row().path;
            Ask {
                method: page.row().methods[0].to_owned(),
                path: if path.ends_with('/') { format!("{path}nobody") } else { path.to_owned() },
                body: match page {
                    Page::CreateKey => r#"{"user":"nobody"}"#.to_owned(),
                    Page::ChangeOwner => r#"{"bucket":"absent","user":"nobody"}"#.to_owned(),
                    Page::ChangeQuota => r#"{"bucket":"absent","quota":null}"#.to_owned(),
                    Page::LifecyclePreview => r#"{"bucket":"absent"}"#.to_owned(),
                    Page::ChangeUser => r#"{"enabled":true}"#.to_owned(),
                    _ => String::new(),
                },
                ..Ask::default()
            }
        }
    }
}

fn s3_ask(operation: Operation, place: Place) -> Ask {
    let row = operation.row();
    let path = match row.level {
        Level::Service => "/".to_owned(),
        Level::Bucket => format!("/{}", place.bucket),
        // Who may not list learns of no object that it is not there: one that is.
        Level::Object if row.facts.effect == Effect::Reads => format!("/{}/a/b", place.bucket),
        Level::Object => format!("/{}/some/object", place.bucket),
    };
    let mut query = Vec::new();
    match (row.subresource, row.form) {
        ("", Form::ListV2) => query.push(("list-type".to_owned(), "2".to_owned())),
        ("", _) => {}
        ("uploadId", _) => {
            query.push(("uploadId".to_owned(), "none".to_owned()));
            if row.method == "PUT" {
                query.push(("partNumber".to_owned(), "1".to_owned()));
            }
        }
        (subresource, _) => query.push((subresource.to_owned(), String::new())),
    }
    let mut headers = Vec::new();
    if row.form == Form::Copy {
        headers.push(("x-amz-copy-source".to_owned(), format!("/{}/a/b", place.bucket)));
    }
    if operation == Operation::RenameObject {
        // To itself: it stays, and the answer says whether one may.
        headers.push(("x-amz-rename-source".to_owned(), format!("/{}/some/object", place.bucket)));
    }
    let mut body = String::new();
    if operation == Operation::PostObject {
        // Who sends it stands in the head, as with all others.
        headers.push(("content-type".to_owned(), "multipart/form-data; boundary=b".to_owned()));
        body = ["key\"\r\n\r\nsome/object", "file\"; filename=f\r\n\r\nx"]
            .map(|field| format!("--b\r\nContent-Disposition: form-data; name=\"{field}\r\n"))
            .concat()
            + "--b--\r\n";
    }
    if operation == Operation::DeleteObjects {
        body = "<Delete><Object><Key>some/object</Key></Object></Delete>".to_owned();
        headers.push(("content-md5".to_owned(), md5_base64(&body)));
    }
    if operation == Operation::PutObjectTagging {
        body = "<Tagging><TagSet/></Tagging>".to_owned();
    }
    Ask { method: row.method.to_owned(), path, query, headers, body }
}

fn md5_base64(body: &str) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body))
}

fn iceberg_ask(operation: nilas_catalog::Operation, place: Place) -> Ask {
    use nilas_catalog::Operation as Op;
    let row = operation.row();
    // What is dropped is not there; what is changed is asked for with nothing to change.
    let table = if operation == Op::DropTable { "absent" } else { "t" };
    let namespace = if operation == Op::DropNamespace { "absent" } else { "n" };
    let path = row
        .path
        .replace("{prefix}", place.warehouse)
        .replace("{warehouse}", place.warehouse)
        .replace("{namespace}", namespace)
        .replace("{table}", table);
    let table_of = |name: &str| format!(r#"{{"namespace":["n"],"name":"{name}"}}"#);
    let body = match operation {
        Op::CreateWarehouse => format!(r#"{{"name":"{}","upgrade-existing":false}}"#, place.warehouse),
        Op::CreateNamespace => r#"{"namespace":["n"]}"#.to_owned(),
        Op::UpdateProperties => "{}".to_owned(),
        Op::CreateTable => r#"{"name":"t","schema":{"type":"struct","fields":[]}}"#.to_owned(),
        Op::UpdateTable => r#"{"requirements":[],"updates":[]}"#.to_owned(),
        Op::RegisterTable => r#"{"name":"r","metadata-location":"s3://none/none.json"}"#.to_owned(),
        Op::ReportMetrics => r#"{"report-type":"scan-report"}"#.to_owned(),
        Op::RenameTable => {
            format!(r#"{{"source":{},"destination":{}}}"#, table_of("absent"), table_of("absent2"))
        }
        Op::CommitTransaction => format!(
            r#"{{"table-changes":[{{"identifier":{},"requirements":[],"updates":[]}}]}}"#,
            table_of("t")
        ),
        _ => String::new(),
    };
    let mut query = Vec::new();
    if operation == Op::GetConfig {
        query.push(("warehouse".to_owned(), place.warehouse.to_owned()));
    }
    let mut headers = Vec::new();
    if !body.is_empty() {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    Ask { method: row.method.to_owned(), path: format!("/_iceberg{path}"), query, headers, body }
}

/// What a form names: nobody who is there, so that nothing is changed but the model's mind.
fn fields(operation: query::Operation) -> String {
    let name = operation.facts().name;
    let mut fields = String::new();
    let mut add =
        |field: &str, value: &str| fields.push_str(&format!("&{field}={}", sign::encode(value, false)));
    // STS takes no other fields than its own.
    let of_sts: &[(&str, &str)] = match name {
        "AssumeRole" | "AssumeRoleWithWebIdentity" | "AssumeRoleWithClientGrants" => {
            &[("RoleArn", "arn:aws:iam::000000000000:role/none"), ("RoleSessionName", "somebody")]
        }
        "GetAccessKeyInfo" => &[("AccessKeyId", "NILASNOBODYNOBODY000")],
        _ => &[],
    };
    of_sts.iter().for_each(|(field, value)| add(field, value));
    match name {
        "AssumeRoleWithWebIdentity" => add("WebIdentityToken", "a.b.c"),
        "AssumeRoleWithClientGrants" => add("Token", "a.b.c"),
        _ => {}
    }
    if operation.facts().action.starts_with("sts:") {
        return fields;
    }
    add("UserName", "nobody");
    add("GroupName", "nobodies");
    add("PolicyName", "none");
    add("AccessKeyId", "NILASNOBODYNOBODY000");
    add("PolicyDocument", r#"{"Version":"2012-10-17","Statement":[]}"#);
    add("PolicyArn", "arn:aws:iam::aws:policy/none");
    add("RoleName", "none");
    add("Status", "Active");
    add("VersionId", "v1");
    add("ActionNames.member.1", "s3:GetObject");
    add("PolicyInputList.member.1", r#"{"Version":"2012-10-17","Statement":[]}"#);
    add("PolicySourceArn", "arn:aws:iam::000000000000:user/nobody");
    add("SerialNumber", "none");
    add("InstanceProfileName", "none");
    add("ServerCertificateName", "none");
    add("OpenIDConnectProviderArn", "none");
    add("SAMLProviderArn", "none");
    add("CertificateId", "none");
    add("SSHPublicKeyId", "none");
    add("Encoding", "SSH");
    add("ServiceSpecificCredentialId", "none");
    fields
}

/// Keys, as somebody holds them.
#[derive(Clone, Debug)]
struct Keys {
    access: String,
    secret: String,
    token: Option<String>,
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    Header,
    Query,
    QueryV2,
    /// The header, with something changed behind it.
    HeaderTampered,
    QueryTampered,
    /// For a service of another API.
    OtherService,
    /// A quarter of an hour and a minute ago.
    Stale,
    Not,
}

/// What the answer has to be: yes, or no and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    May,
    /// The sender is known, or shows nothing where nothing is known of nobody, and may not.
    Forbidden,
    /// Who shows nothing is to show something.
    Nobody,
    /// The signature is not that of the key.
    Signature,
    /// No key of this name is in force.
    Key,
    /// The session's token is not true, or void.
    Token,
    /// The session is over.
    Over,
    /// It is signed for another service.
    Service,
    /// It was signed too long ago.
    Stale,
    /// The operation takes no such signature.
    Version,
}

impl Answer {
    /// The status, and the code by which an API says it.
    fn code(self, any: Any) -> (u16, &'static str) {
        match (any, self) {
            (_, Answer::May) => (200, ""),
            (Any::Iceberg(_), Answer::Token | Answer::Over) => (401, "NotAuthorizedException"),
            (Any::Iceberg(_), _) => (403, "ForbiddenException"),
            (Any::Query(_), Answer::Nobody) => (403, "MissingAuthenticationToken"),
            (Any::Query(_), Answer::Signature | Answer::Service | Answer::Stale) => {
                (403, "SignatureDoesNotMatch")
            }
            (Any::Query(_), Answer::Key | Answer::Token) => (403, "InvalidClientTokenId"),
            (Any::Query(_), Answer::Over) => (403, "ExpiredToken"),
            (_, Answer::Forbidden | Answer::Nobody) => (403, "AccessDenied"),
            (_, Answer::Signature) => (403, "SignatureDoesNotMatch"),
            (_, Answer::Key) => (403, "InvalidAccessKeyId"),
            (_, Answer::Token) => (400, "InvalidToken"),
            (_, Answer::Over) => (400, "ExpiredToken"),
            (_, Answer::Service) => (400, "AuthorizationHeaderMalformed"),
            (_, Answer::Stale) => (403, "RequestTimeTooSkewed"),
            (_, Answer::Version) => (400, "InvalidRequest"),
        }
    }
}

/// Yes if it may be, or else this.
fn if_not(may: bool, no: Answer) -> Answer {
    if may { Answer::May } else { no }
}

/// Somebody, how they sign, on what, and what they have to be answered.
struct Way<'a> {
    name: &'static str,
    keys: Option<&'a Keys>,
    signed: Signed,
    place: Place,
    want: Answer,
}

struct Corpus {
    server: Server,
    root: Keys,
    client: Client,
    /// The store's 12 digits.
    account: String,
    asked: usize,
    wrong: Vec<String>,
}

impl Corpus {
    fn now_s() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
    }

    /// Sends a request as it is signed.
    fn send(&mut self, ask: &Ask, service: &str, keys: Option<&Keys>, signed: Signed) -> Response {
        let mut ask = ask.clone();
        let service = match signed {
            Signed::OtherService if service == "sts" => "iam",
            Signed::OtherService => "sts",
            _ => service,
        };
        let now_s = match signed {
            Signed::Stale => Self::now_s() - 16 * 60,
            _ => Self::now_s(),
        };
        let date = sign::amz_date(now_s);
        if let Some(keys) = keys {
            let mut signer = Signer::new(&keys.access, &keys.secret, service);
            match signed {
                Signed::Not => {}
                Signed::Query | Signed::QueryTampered => self.presign(&mut ask, &mut signer, keys, &date),
                Signed::QueryV2 => self.presign_v2(&mut ask, keys, now_s + 300),
                _ => self.sign(&mut ask, &mut signer, keys, &date),
            }
        }
        match signed {
            Signed::HeaderTampered => {
                let date = ask.headers.iter_mut().find(|(name, _)| name == "x-amz-date").expect("signed");
                date.1 = sign::amz_date(now_s - 7);
            }
            Signed::QueryTampered => {
                let expires = ask.query.iter_mut().find(|(name, _)| name == "X-Amz-Expires").expect("signed");
                expires.1 = "301".to_owned();
            }
            _ => {}
        }
        let mut call = Call::new(&ask.method, &*ask.path).body(ask.body.as_bytes()).unsigned();
        call.query = ask.query.clone();
        call.headers = ask.headers.clone();
        self.client.send(&call).unwrap_or_else(|error| panic!("{} {}: {error}", ask.method, ask.path))
    }

    fn sign(&self, ask: &mut Ask, signer: &mut Signer, keys: &Keys, date: &str) {
        let hash = sign::sha256_hex(ask.body.as_bytes());
        ask.headers.push(("x-amz-content-sha256".to_owned(), hash.clone()));
        ask.headers.push(("x-amz-date".to_owned(), date.to_owned()));
        if let Some(token) = &keys.token {
            ask.headers.push(("x-amz-security-token".to_owned(), token.clone()));
        }
        let host = self.server.address().to_string();
        let mut headers: Vec<(&str, &str)> = vec![("host", &host)];
        headers.extend(ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        headers.sort_unstable();
        let query = sign::query(&ask.query);
        let subject = Subject {
            method: &ask.method,
            path: &ask.path,
            query: &query,
            headers: &headers,
            payload_hash: &hash,
            amz_date: date,
        };
        let authorization = signer.sign(&subject).authorization;
        ask.headers.push(("authorization".to_owned(), authorization));
    }

    fn presign(&self, ask: &mut Ask, signer: &mut Signer, keys: &Keys, date: &str) {
        let host = self.server.address().to_string();
        let mut headers: Vec<(String, String)> = vec![("host".to_owned(), host)];
        headers.extend(ask.headers.iter().filter(|(name, _)| name.starts_with("x-amz-")).cloned());
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let mut add = |name: &str, value: String| ask.query.push((name.to_owned(), value));
        add("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned());
        add("X-Amz-Credential", format!("{}/{}", keys.access, signer.scope(date)));
        add("X-Amz-Date", date.to_owned());
        add("X-Amz-Expires", "300".to_owned());
        add("X-Amz-SignedHeaders", names.join(";"));
        if let Some(token) = &keys.token {
            add("X-Amz-Security-Token", token.clone());
        }
        let query = sign::query(&ask.query);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let subject = Subject {
            method: &ask.method,
            path: &ask.path,
            query: &query,
            headers: &headers,
            payload_hash: sign::UNSIGNED,
            amz_date: date,
        };
        let signature = signer.sign(&subject).signature;
        ask.query.push(("X-Amz-Signature".to_owned(), signature));
    }

    fn presign_v2(&self, ask: &mut Ask, keys: &Keys, expires_s: u64) {
        let expires = expires_s.to_string();
        let text = format!("{}\n\n\n{expires}\n{}", ask.method, ask.path);
        let signature = sign::sign_v2(&keys.secret, &text);
        ask.query.push(("AWSAccessKeyId".to_owned(), keys.access.clone()));
        ask.query.push(("Expires".to_owned(), expires));
        ask.query.push(("Signature".to_owned(), signature));
    }

    /// A request of root that has to succeed.
    fn root(&mut self, service: &str, ask: &Ask) -> Response {
        let root = self.root.clone();
        let response = self.send(ask, service, Some(&root), Signed::Header);
        assert!(response.is_success(), "{ask:?}: {} {}", response.status, response.text());
        response
    }

    fn iam(&mut self, form: &[(&str, &str)]) -> String {
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", sign::encode(value, false))).collect();
        let ask = Ask {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            body: format!("{}&Version=2010-05-08", body.join("&")),
            ..Ask::default()
        };
        self.root("iam", &ask).text()
    }

    fn put(&mut self, method: &str, path: &str, query: &str, body: &str) {
        let query = match query {
            "" => Vec::new(),
            name => vec![(name.to_owned(), String::new())],
        };
        let ask = Ask {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            body: body.to_owned(),
            ..Ask::default()
        };
        self.root("s3", &ask);
    }

    fn catalog(&mut self, path: &str, body: &str) {
        let ask = Ask {
            method: "POST".to_owned(),
            path: format!("/_iceberg/v1{path}"),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_owned(),
            ..Ask::default()
        };
        self.root("s3tables", &ask);
    }

    fn user(&mut self, name: &str) -> Keys {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]);
        self.key(name)
    }

    fn key(&mut self, user: &str) -> Keys {
        keys_of(&self.iam(&[("Action", "CreateAccessKey"), ("UserName", user)]))
    }

    /// Gives a user this and nothing else.
    fn give(&mut self, user: &str, statements: &str) {
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        self.iam(&[
            ("Action", "PutUserPolicy"),
            ("UserName", user),
            ("PolicyName", "p"),
            ("PolicyDocument", &policy),
        ]);
    }

    fn session(&mut self, keys: &Keys, policy: Option<&str>) -> Keys {
        let mut body =
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=corpus&RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fr"
                .to_owned();
        if let Some(policy) = policy {
            body.push_str(&format!("&Policy={}", sign::encode(policy, false)));
        }
        let ask = Ask {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            body: body.replace("000000000000", &self.account),
            ..Ask::default()
        };
        let response = self.send(&ask, "sts", Some(keys), Signed::Header);
        assert!(response.is_success(), "{}", response.text());
        keys_of(&response.text())
    }

    /// A key that has run out, and a session that was made with it and ended with it.
    fn over(&mut self, user: &str) -> (Keys, Keys) {
        const LIFE_S: u64 = 3;
        let key = self.made_key(&format!(r#"{{"user":"{user}","expires_s":{LIFE_S}}}"#));
        let ask = Ask {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            body: "Action=GetSessionToken&Version=2011-06-15".to_owned(),
            ..Ask::default()
        };
        let response = self.send(&ask, "sts", Some(&key), Signed::Header);
        assert!(response.is_success(), "{}", response.text());
        std::thread::sleep(std::time::Duration::from_secs(LIFE_S + 1));
        (key, keys_of(&response.text()))
    }

    fn ask_account(&mut self) -> String {
        let ask = Ask {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            body: "Action=GetCallerIdentity&Version=2011-06-15".to_owned(),
            ..Ask::default()
        };
        element(&self.root("sts", &ask).text(), "Account").to_owned()
    }

    /// A key of a user with a policy of its own.
    fn bound_key(&mut self, user: &str, policy: &str) -> Keys {
        self.made_key(&format!(r#"{{"user":"{user}","policy":{policy}}}"#))
    }

    /// A key as the page makes it.
    fn made_key(&mut self, body: &str) -> Keys {
        let ask = Ask {
            method: "POST".to_owned(),
            path: "/_nilas/keys".to_owned(),
            body: body.to_owned(),
            ..Ask::default()
        };
        let text = self.root("s3", &ask).text();
        let field = |name: &str| {
            let rest = text.split_once(&format!(r#""{name}":""#)).map_or("", |(_, rest)| rest);
            rest.split_once('"').map_or("", |(value, _)| value).to_owned()
        };
        Keys { access: field("access_key"), secret: field("secret_key"), token: None }
    }

    /// Asks one question and holds the answer against what it has to be.
    fn check(&mut self, any: Any, way: &Way<'_>) {
        let mut ask = ask_of(any, way.place);
        ask.body = ask.body.replace("000000000000", &self.account);
        let response = self.send(&ask, any.service(), way.keys, way.signed);
        self.asked += 1;
        let got = refusal(any, &response);
        let right = match (way.want, &got) {
            (Answer::May, None) => response.status < 500 || response.status == 501,
            // An answer without a body has its status to say it by.
            (want, Some((status, code))) => {
                let (want_status, want_code) = want.code(any);
                *status == want_status && (code.is_empty() || *code == want_code)
            }
            (_, None) => false,
        };
        if !right {
            let text: String = response.text().chars().take(300).collect();
            self.wrong.push(format!(
                "{any:?} as {}: {} {text}, want {:?}",
                way.name,
                response.status,
                way.want.code(any)
            ));
        }
    }
}

fn keys_of(xml: &str) -> Keys {
    let token = element(xml, "SessionToken");
    Keys {
        access: element(xml, "AccessKeyId").to_owned(),
        secret: element(xml, "SecretAccessKey").to_owned(),
        token: (!token.is_empty()).then(|| token.to_owned()),
    }
}

fn element<'a>(xml: &'a str, tag: &str) -> &'a str {
    let rest = xml.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
    rest.split_once('<').map_or("", |(text, _)| text)
}

/// What an answer refuses with, when it refuses because of who asks: its status and its code, where it has a body to hold one.
fn refusal(any: Any, response: &Response) -> Option<(u16, String)> {
    const CODES: [&str; 14] = [
        "AccessDenied",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidToken",
        "ExpiredToken",
        "RequestTimeTooSkewed",
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "MissingAuthenticationToken",
        "InvalidClientTokenId",
        "IncompleteSignature",
        "RequestExpired",
        "NotAuthorizedException",
        "ForbiddenException",
    ];
    let text = response.text();
    if text.is_empty() {
        return matches!(response.status, 400 | 401 | 403 | 419).then(|| (response.status, String::new()));
    }
    let json = |name: &str| {
        let rest = text.split_once(&format!(r#""{name}":""#)).map_or("", |(_, rest)| rest);
        rest.split_once('"').map_or("", |(value, _)| value).to_owned()
    };
    let code = match any {
        // One key of DeleteObjects was refused.
        Any::S3(Operation::DeleteObjects) if response.status == 200 => {
            return text.contains("<Code>AccessDenied</Code>").then(|| (403, "AccessDenied".to_owned()));
        }
        Any::Iceberg(_) => json("type"),
        _ if text.contains("<Code>") => element(&text, "Code").to_owned(),
        _ => json("code"),
    };
    let of_v2 = code == "InvalidRequest" && text.contains("AWS4-HMAC-SHA256");
    (CODES.contains(&code.as_str()) || of_v2).then_some((response.status, code))
}

fn allow(actions: &[&str]) -> String {
    let actions: Vec<String> = actions.iter().map(|action| format!("\"{action}\"")).collect();
    format!(r#"{{"Effect":"Allow","Action":[{}],"Resource":"*"}}"#, actions.join(","))
}

fn bucket_policy(effect: &str, place: Place) -> [(&'static str, String); 2] {
    let both = |bucket: &str, more: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}{more}]}}"#
        )
    };
    let tables = format!(
        r#",{{"Effect":"{effect}","Principal":"*","Action":"s3tables:*","Resource":["arn:aws:s3tables:::bucket/{0}","arn:aws:s3tables:::bucket/{0}/*"]}}"#,
        place.warehouse
    );
    [(place.bucket, both(place.bucket, "")), (place.warehouse, both(place.warehouse, &tables))]
}

fn fixture() -> Corpus {
    let mut options = ServerOptions::fresh();
    options.arguments = ["--auth-failures-per-minute", "1000000"].map(Into::into).to_vec();
    let server = Server::start(options).expect("a server");
    let (access, secret) = server.root_key();
    let root = Keys { access: access.to_owned(), secret: secret.to_owned(), token: None };
    let client = server.client();
    let mut corpus = Corpus { server, root, client, account: String::new(), asked: 0, wrong: Vec::new() };
    corpus.account = corpus.ask_account();
    for place in [PLAIN, DENIED, PUBLIC] {
        corpus.put("PUT", &format!("/{}", place.bucket), "", "");
        corpus.put("PUT", &format!("/{}/a/b", place.bucket), "", "x");
        corpus.catalog("/warehouses", &format!(r#"{{"name":"{}"}}"#, place.warehouse));
        corpus.catalog(&format!("/{}/namespaces", place.warehouse), r#"{"namespace":["n"]}"#);
        corpus.catalog(
            &format!("/{}/namespaces/n/tables", place.warehouse),
            r#"{"name":"t","schema":{"type":"struct","fields":[]}}"#,
        );
    }
    for (effect, place) in [("Deny", DENIED), ("Allow", PUBLIC)] {
        for (bucket, policy) in bucket_policy(effect, place) {
            corpus.put("PUT", &format!("/{bucket}"), "policy", &policy);
        }
    }
    corpus
}

/// Whether a policy of a bucket or warehouse speaks of what an operation is judged on.
fn is_in_a_bucket(any: Any) -> bool {
    !matches!(any.facts().resource, ResourceKind::Public | ResourceKind::Service | ResourceKind::Identity)
}

/// Whether an operation is open to everybody who is signed in.
fn is_open(any: Any) -> bool {
    any.is_public() || matches!(any.facts().name, "GetCallerIdentity" | "GetSessionToken" | "Whoami")
}

#[test]
fn who_may_may_and_nobody_else() {
    let mut corpus = fixture();
    let root = corpus.root.clone();
    let (with, without) = (corpus.user("with"), corpus.user("without"));
    let elsewhere = corpus.user("elsewhere");
    corpus.give(
        "elsewhere",
        r#"{"Effect":"Allow","Action":"*","Resource":["arn:aws:s3:::other*","arn:aws:s3tables:::bucket/other*","arn:aws:iam::*:user/other"]}"#,
    );
    let all_but = corpus.user("allbut");
    let (disabled, deleted) = (corpus.key("with"), corpus.key("with"));
    let set = |corpus: &mut Corpus, action: &str, key: &Keys| {
        let form =
            [("Action", action), ("UserName", "with"), ("AccessKeyId", &*key.access), ("Status", "Inactive")];
        corpus.iam(&form[..if action == "UpdateAccessKey" { 4 } else { 3 }]);
    };
    corpus.give("with", &allow(&["*"]));
    let disabled_session = corpus.session(&disabled, None);
    set(&mut corpus, "UpdateAccessKey", &disabled);
    set(&mut corpus, "DeleteAccessKey", &deleted);
    let session = corpus.session(&with, None);
    let narrow_policy =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Nothing","Resource":"*"}]}"#;
    let narrow = corpus.session(&with, Some(narrow_policy));
    let wide_policy =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let wide = corpus.session(&with, Some(wide_policy));
    let chained = corpus.session(&session, Some(narrow_policy));
    let without_session = corpus.session(&root, Some(narrow_policy));
    let wrong = Keys { secret: "not the secret of anybody here".to_owned(), ..with.clone() };
    let unknown = Keys { access: "NILASNOBODYNOBODY000".to_owned(), ..with.clone() };
    let no_token = Keys { token: None, ..session.clone() };
    let other_token = Keys { token: narrow.token.clone(), ..session.clone() };
    let mut torn = session.clone();
    if let Some(token) = &mut torn.token {
        let last = if token.pop() == Some('A') { 'B' } else { 'A' };
        token.push(last);
    }
    let narrow_key = corpus.bound_key("with", narrow_policy);
    let wide_key = corpus.bound_key("with", wide_policy);
    let (ended, over) = corpus.over("with");
    let mut questions: BTreeMap<&str, usize> = BTreeMap::new();
    for any in Any::all() {
        let (open, public, in_bucket) = (is_open(any), any.is_public(), is_in_a_bucket(any));
        // Users may have session tokens whatever their policies say, as in AWS; sessions may not.
        let is_token = any.facts().name == "GetSessionToken";
        let open = open || is_token;
        let of_session = |want: Answer| if is_token { Answer::Forbidden } else { want };
        let facts = any.facts();
        let is_copy = matches!(any, Any::S3(operation) if operation.row().form == Form::Copy);
        let mut actions = vec![facts.action];
        // What reads an object besides.
        if is_copy || matches!(any, Any::S3(Operation::GetObjectAttributes)) {
            actions.push("s3:GetObject");
        }
        if matches!(any, Any::S3(Operation::RenameObject)) {
            actions.extend(["s3:GetObject", "s3:DeleteObject"]);
        }
        // The bucket goes with the warehouse.
        if matches!(any, Any::Iceberg(nilas_catalog::Operation::DeleteWarehouse)) {
            actions.push("s3:DeleteBucket");
        }
        corpus.give("with", &allow(&actions));
        let deny =
            format!(r#"{},{{"Effect":"Deny","Action":"{}","Resource":"*"}}"#, allow(&["*"]), facts.action);
        corpus.give("allbut", &deny);
        let way = |name, keys, signed, place, want| Way { name, keys, signed, place, want };
        // A form's fields are not signed by a URL, and no client presigns one.
        let by_url = !matches!(any, Any::Query(_)) && facts.named == NamedIn::Head;
        let takes_v2 =
            matches!(any, Any::S3(Operation::GetObject | Operation::HeadObject | Operation::PutObject));
        // Root gets to a bucket's policy, whatever it says.
        let keeps = matches!(
            any,
            Any::S3(Operation::GetBucketPolicy | Operation::PutBucketPolicy | Operation::DeleteBucketPolicy)
        );
        let reads = matches!(ask_of(any, PUBLIC).method.as_str(), "GET" | "HEAD");
        // What changes the fixture's policies is asked for elsewhere.
        let spares = !keeps;
        // Who may do what with a bucket is never nobody's to read or to change.
        let says_who_may = ["BucketPolicyStatus", "PublicAccessBlock", "OwnershipControls"]
            .iter()
            .any(|word| facts.name.ends_with(word));
        let anonymous_may = in_bucket
            && !says_who_may
            && (matches!(any, Any::S3(_)) || matches!(any, Any::Iceberg(_)) && reads);
        let unless = |no: Answer| if_not(public, no);
        let opens = if_not(open, Answer::Forbidden);
        let mut ways = vec![
            way("nobody", None, Signed::Not, PLAIN, unless(Answer::Nobody)),
            way("wrong key", Some(&wrong), Signed::Header, PLAIN, unless(Answer::Signature)),
            way("unknown key", Some(&unknown), Signed::Header, PLAIN, unless(Answer::Key)),
            way("disabled key", Some(&disabled), Signed::Header, PLAIN, unless(Answer::Key)),
            way(
                "session of a disabled key",
                Some(&disabled_session),
                Signed::Header,
                PLAIN,
                unless(Answer::Token),
            ),
            way("deleted key", Some(&deleted), Signed::Header, PLAIN, unless(Answer::Key)),
            way("key that ran out", Some(&ended), Signed::Header, PLAIN, unless(Answer::Key)),
            way("session that is over", Some(&over), Signed::Header, PLAIN, unless(Answer::Over)),
            way("session without its token", Some(&no_token), Signed::Header, PLAIN, unless(Answer::Key)),
            way(
                "session with another's token",
                Some(&other_token),
                Signed::Header,
                PLAIN,
                unless(Answer::Token),
            ),
            way("session with a torn token", Some(&torn), Signed::Header, PLAIN, unless(Answer::Token)),
            way("tampered header", Some(&with), Signed::HeaderTampered, PLAIN, unless(Answer::Signature)),
            way("wrong service", Some(&with), Signed::OtherService, PLAIN, unless(Answer::Service)),
            way("stale date", Some(&with), Signed::Stale, PLAIN, unless(Answer::Stale)),
            way("user without the right", Some(&without), Signed::Header, PLAIN, opens),
            way("user with the right", Some(&with), Signed::Header, PLAIN, Answer::May),
            way("user with all but the right", Some(&all_but), Signed::Header, PLAIN, opens),
            way("user with the right elsewhere", Some(&elsewhere), Signed::Header, PLAIN, opens),
            way("session", Some(&session), Signed::Header, PLAIN, of_session(Answer::May)),
            way("wide session", Some(&wide), Signed::Header, PLAIN, of_session(Answer::May)),
            way("narrow session", Some(&narrow), Signed::Header, PLAIN, of_session(opens)),
            way("narrow session of a session", Some(&chained), Signed::Header, PLAIN, of_session(opens)),
            way("narrow session of root", Some(&without_session), Signed::Header, PLAIN, of_session(opens)),
            way("key with a narrow policy", Some(&narrow_key), Signed::Header, PLAIN, opens),
            way("key with a wide policy", Some(&wide_key), Signed::Header, PLAIN, Answer::May),
            way("root", Some(&root), Signed::Header, PLAIN, Answer::May),
        ];
        if in_bucket {
            ways.extend([
                way("user denied by the bucket", Some(&with), Signed::Header, DENIED, Answer::Forbidden),
                way(
                    "session denied by the bucket",
                    Some(&session),
                    Signed::Header,
                    DENIED,
                    Answer::Forbidden,
                ),
                way("nobody in a denied bucket", None, Signed::Not, DENIED, Answer::Nobody),
            ]);
            if spares {
                ways.extend([
                    way("root denied by the bucket", Some(&root), Signed::Header, DENIED, Answer::Forbidden),
                    way(
                        "nobody in a public bucket",
                        None,
                        Signed::Not,
                        PUBLIC,
                        if_not(anonymous_may, Answer::Nobody),
                    ),
                    way("user in a public bucket", Some(&without), Signed::Header, PUBLIC, Answer::May),
                    way(
                        "narrow session in a public bucket",
                        Some(&narrow),
                        Signed::Header,
                        PUBLIC,
                        Answer::Forbidden,
                    ),
                ]);
            }
        }
        if by_url {
            ways.extend([
                way("URL of a user with the right", Some(&with), Signed::Query, PLAIN, Answer::May),
                way("URL of a user without", Some(&without), Signed::Query, PLAIN, opens),
                way("URL of a session", Some(&session), Signed::Query, PLAIN, Answer::May),
                way("URL of a narrow session", Some(&narrow), Signed::Query, PLAIN, opens),
                way("URL of a session that is over", Some(&over), Signed::Query, PLAIN, unless(Answer::Over)),
                way("URL with a wrong key", Some(&wrong), Signed::Query, PLAIN, unless(Answer::Signature)),
                way("tampered URL", Some(&with), Signed::QueryTampered, PLAIN, unless(Answer::Signature)),
            ]);
            if matches!(any, Any::S3(_)) {
                ways.extend([
                    way(
                        "URL of version 2",
                        Some(&with),
                        Signed::QueryV2,
                        PLAIN,
                        if_not(takes_v2, Answer::Version),
                    ),
                    way(
                        "URL of version 2 without the right",
                        Some(&without),
                        Signed::QueryV2,
                        PLAIN,
                        if takes_v2 { Answer::Forbidden } else { Answer::Version },
                    ),
                ]);
            }
        }
        for way in &ways {
            *questions.entry(way.name).or_default() += 1;
            corpus.check(any, way);
        }
    }
    for (name, count) in &questions {
        println!("{count:4} {name}");
    }
    println!("{} questions, {} answered wrongly", corpus.asked, corpus.wrong.len());
    assert!(corpus.wrong.is_empty(), "{}", corpus.wrong.join("\n"));
    assert!(5_000 <= corpus.asked, "{}", corpus.asked);
}
