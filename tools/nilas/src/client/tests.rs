//! The client against a server that answers from a script, and the pure parts as tables.
//!
//! [`scripted`] is for the tests of all commands: what was sent is held against what was expected, in order.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::output::Output;

/// A request as the scripted server saw it: its first line without the version, and its body.
pub(crate) type Seen = String;

/// Runs `commands` against a server that answers with these statuses and bodies one after the other.
pub(crate) fn scripted(
    answers: &[(u16, &str)],
    commands: impl FnOnce(&Client) -> Result<Output, Failure>,
) -> (Result<Output, Failure>, Vec<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let client = client(&format!("http://{address}"));
    let answers: Vec<(u16, String)> =
        answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
    let server = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for (status, body) in answers {
            let (stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).expect("a request line");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a header");
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut got = vec![0; length];
            reader.read_exact(&mut got).expect("the body");
            let first = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
            let got = String::from_utf8(got).expect("text");
            seen.push(if got.is_empty() { first } else { format!("{first} {got}") });
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\nRetry-After: 7\r\n\r\n",
                body.len()
            );
            reader.get_mut().write_all((head + &body).as_bytes()).expect("the client reads");
        }
        seen
    });
    let came = commands(&client);
    (came, server.join().expect("all answers were fetched"))
}

fn client(endpoint: &str) -> Client {
    let (base, host) = parse_endpoint(endpoint).expect("a loopback address");
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build();
    let key = Key {
        access_key: "AK".to_owned(),
        secret_key: "SK".to_owned(),
        session_token: None,
        source: "a test".to_owned(),
    };
    Client { agent: config.into(), base, host, key }
}

/// An answer of IAM or STS with this result.
pub(crate) fn result(action: &str, inner: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><{action}Result>{inner}</{action}Result>\
         <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// A refusal of IAM or STS.
pub(crate) fn error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>1</RequestId></ErrorResponse>"
    )
}

#[test]
fn endpoints() {
    let check = |text: &str, expected: Option<(&str, &str)>| {
        let got = parse_endpoint(text).ok();
        assert_eq!(got, expected.map(|(base, host)| (base.to_owned(), host.to_owned())), "{text}");
    };
    check("http://127.0.0.1:9000", Some(("http://127.0.0.1:9000", "127.0.0.1:9000")));
    check("http://127.0.0.1:9000/", Some(("http://127.0.0.1:9000", "127.0.0.1:9000")));
    check("https://store.example", Some(("https://store.example", "store.example")));
    check("https://store.example:443", Some(("https://store.example:443", "store.example")));
    check("http://[::1]:9000", Some(("http://[::1]:9000", "[::1]:9000")));
    check("127.0.0.1:9000", None);
    check("ftp://a", None);
    check("http://a/path", None);
    check("http://a/?q", None);
    check("http://key:secret@a", None);
    let failure = parse_endpoint("http://key:secret@a").expect_err("a key in it");
    assert!(!failure.render(false).contains("secret"), "{}", failure.render(false));
}

#[test]
fn keys_are_found_in_order() {
    let folder = std::env::temp_dir().join(format!("nilas-client-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("root.env");
    std::fs::write(&file, "NILAS_ACCESS_KEY=root\nNILAS_SECRET_KEY=r=s\n").expect("written");
    let mode =
        |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("its mode");
    mode(0o600);
    let find = |variables: &[(&str, &str)], data: Option<&Path>| {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        find_key(&environment, data).map(|key| (key.access_key, key.secret_key, key.session_token))
    };
    let nilas = [("NILAS_ACCESS_KEY", "n"), ("NILAS_SECRET_KEY", "ns"), ("NILAS_SESSION_TOKEN", "nt")];
    let aws = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "as")];
    let at = folder.to_str().expect("text");
    let check = |found: Result<_, Failure>, access: &str, secret: &str, token: Option<&str>| {
        let expected = (access.to_owned(), secret.to_owned(), token.map(str::to_owned));
        assert_eq!(found.map_err(|f| f.render(false)), Ok(expected));
    };
    check(find(&[nilas.as_slice(), &aws].concat(), None), "n", "ns", Some("nt"));
    check(find(&[aws.as_slice(), &[("NILAS_SESSION_TOKEN", "nt")]].concat(), None), "a", "as", None);
    check(find(&[("NILAS_DATA", at)], None), "root", "r=s", None);
    check(find(&nilas, Some(&folder)), "root", "r=s", None);
    for half in [&nilas[..1], &nilas[1..2], &aws[1..]] {
        assert_eq!(find(half, None).expect_err("half a key").exit, Exit::Usage);
    }
    let nowhere = folder.join("none");
    assert_eq!(find(&[], Some(&nowhere)).expect_err("no file").exit, Exit::Usage);
    mode(0o640);
    let failure = find(&[], Some(&folder)).expect_err("others can read it").render(false);
    assert!(failure.contains("others can read it") && failure.contains("chmod 600"), "{failure}");
    assert!(!failure.contains("r=s"), "{failure}");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn refusals() {
    let check = |status: u16, body: &str, exit: Exit, code: &str, why: &str| {
        let failure = client("http://127.0.0.1:1").refused(status, None, body.as_bytes());
        assert_eq!(
            (failure.exit, failure.code.as_deref().unwrap_or(""), failure.why.as_str()),
            (exit, code, why)
        );
        assert!(!failure.render(false).contains("SK"), "{}", failure.render(false));
    };
    check(404, &error("NoSuchEntity", "no user"), Exit::NotFound, "NoSuchEntity", "no user");
    check(409, &error("DeleteConflict", "held"), Exit::Conflict, "DeleteConflict", "held");
    check(400, &error("Throttling", "slow"), Exit::Unavailable, "Throttling", "slow");
    check(400, &error("MalformedPolicyDocument", "no"), Exit::Failed, "MalformedPolicyDocument", "no");
    check(
        403,
        "<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
        Exit::Denied,
        "AccessDenied",
        "no",
    );
    check(
        400,
        "<Error><Code>ExpiredToken</Code><Message>old</Message></Error>",
        Exit::Denied,
        "ExpiredToken",
        "old",
    );
    check(
        503,
        "<Error><Code>SlowDown</Code><Message>busy</Message></Error>",
        Exit::Unavailable,
        "SlowDown",
        "busy",
    );
    check(
        404,
        "{\"error\":{\"code\":\"NoSuchBucket\",\"message\":\"none\"}}",
        Exit::NotFound,
        "NoSuchBucket",
        "none",
    );
    check(
        409,
        "{\"error\":{\"message\":\"there\",\"type\":\"AlreadyExistsException\",\"code\":409}}",
        Exit::Conflict,
        "AlreadyExistsException",
        "there",
    );
    check(502, "Bad Gateway", Exit::Unavailable, "", "http://127.0.0.1:1 answered with status 502");
    check(301, "", Exit::Failed, "", "http://127.0.0.1:1 answered with status 301");
}

#[test]
fn nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let failure = client(&format!("http://{address}")).iam("ListUsers", &[]).expect_err("nobody listens");
    assert_eq!(failure.exit, Exit::Unavailable);
    assert!(failure.render(false).contains("nilas serve"), "{}", failure.render(false));
}

#[test]
fn pages_of_a_list() {
    let page = |name: &str, more: &str| {
        result("ListUsers", &format!("<Users><member><UserName>{name}</UserName></member></Users>{more}"))
    };
    let first = page("a", "<IsTruncated>true</IsTruncated><Marker>m&amp;1</Marker>");
    let last = page("b", "<IsTruncated>false</IsTruncated>");
    let names = |client: &Client| {
        let users = client.iam_list("ListUsers", &[("MaxItems", "1")], "Users")?;
        let names: Vec<&str> = users.iter().map(|user| user.text_of("UserName")).collect();
        Ok(Output::one(Value::Null, names.join(" ")))
    };
    let (came, seen) = scripted(&[(200, &first), (200, &last)], names);
    assert_eq!(came.expect("two pages").render(false), "a b\n");
    let form = "POST / Action=ListUsers&Version=2010-05-08&MaxItems=1";
    assert_eq!(seen, [form.to_owned(), format!("{form}&Marker=m%261")]);
    // A server that never ends its list.
    let (came, _) = scripted(&[(200, &first), (200, &first)], names);
    assert_eq!(came.expect_err("the same page again").exit, Exit::Failed);
}

#[test]
fn answers_that_are_none() {
    let ask = |client: &Client| client.iam("GetUser", &[]).map(|_| Output::one(Value::Null, ""));
    for answer in ["", "ready\n", "<html></html>", "<a>", "{}"] {
        let (came, _) = scripted(&[(200, answer)], ask);
        assert_eq!(came.expect_err("no answer of IAM").exit, Exit::Failed, "{answer}");
    }
    let page = |client: &Client| client.page("/_nilas/whoami", &[], None).map(|page| Output::one(page, ""));
    let (came, seen) = scripted(&[(200, "<a/>")], page);
    assert_eq!(came.expect_err("no JSON").exit, Exit::Failed);
    assert_eq!(seen, ["GET /_nilas/whoami"]);
    let (came, _) = scripted(&[(503, "recovering\n")], page);
    assert!(came.expect_err("not yet").render(false).contains("in 7 s"));
}
