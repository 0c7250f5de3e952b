//! Request lines, header lines, their number and size, targets and versions.

use nilas_tests::client::{Call, Client};

use super::After::{self, Closed, Open};
use super::{bucket, check, get_head, hidden, server, take};

/// The limits of a head.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 100;
/// What is taken of a head that does not end.
const ENDLESS_BYTES: usize = 256 << 10;

/// A GET with `lines` in its head.
fn get(client: &Client, lines: &[u8]) -> Vec<u8> {
    [&get_head(client)[..], lines, b"\r\n"].concat()
}

#[test]
fn header_lines() {
    let client = server().client();
    let good: [(&str, &[u8]); 6] = [
        ("none", b""),
        ("an empty value", b"x:\r\n"),
        ("bytes beyond ASCII", b"x: \xff\xfe\r\n"),
        ("a tab in a value", b"x: a\tb\r\n"),
        ("LF alone", b"x: y\n"),
        ("all that a name may have", b"!#$%&'*+-.^_`|~09azAZ: y\r\n"),
    ];
    for (what, lines) in good {
        check(&client, what, &get(&client, lines), &[200], Open);
    }
    let bad: [(&str, &[u8]); 16] = [
        ("no colon", b"nothing\r\n"),
        ("no name", b": y\r\n"),
        ("a blank before the colon", b"x : y\r\n"),
        ("a tab before the colon", b"x\t: y\r\n"),
        ("a blank in the name", b"a b: y\r\n"),
        ("a blank before the name", b" x: y\r\n"),
        ("a folded line", b"x: y\r\n z\r\n"),
        ("a folded line, tab", b"x: y\r\n\tz\r\n"),
        ("bytes beyond ASCII in the name", b"\xc3\xa9: y\r\n"),
        ("a bare CR in a value", b"x: a\rb\r\n"),
        ("a bare CR before the end", b"x: y\r\r\n"),
        ("a NUL in a value", b"x: a\0b\r\n"),
        ("a NUL in a name", b"a\0b: y\r\n"),
        ("a control byte in a value", b"x: a\x01b\r\n"),
        ("DEL in a value", b"x: a\x7fb\r\n"),
        ("a parenthesis in the name", b"a(b): y\r\n"),
    ];
    for (what, lines) in bad {
        let bytes = [get(&client, lines), get(&client, b"")].concat();
        check(&client, what, &bytes, &[400], Closed);
    }
}

#[test]
fn sizes_of_a_head() {
    let client = server().client();
    let lines = |count: usize| (0..count).map(|at| format!("x{at}: y\r\n")).collect::<String>();
    // One line is the host's.
    check(&client, "as many lines as may be", &get(&client, lines(HEADERS_MAX - 1).as_bytes()), &[200], Open);
    for (what, lines) in [
        ("one line more", lines(HEADERS_MAX)),
        ("ten thousand lines", lines(10_000)),
        ("one long line", format!("x: {}\r\n", "y".repeat(HEAD_BYTES_MAX))),
        ("a long name", format!("{}: y\r\n", "x".repeat(HEAD_BYTES_MAX))),
        ("a head that does not end", format!("x: {}", "y".repeat(ENDLESS_BYTES))),
        ("lines that do not end", lines(20_000).trim_end().to_owned()),
    ] {
        let bytes = [get(&client, lines.as_bytes()), get(&client, b"")].concat();
        check(&client, what, &bytes, &[431], Closed);
    }
    let longest = get(&client, b"").len() + "x: \r\n".len();
    let fits = format!("x: {}\r\n", "y".repeat(HEAD_BYTES_MAX - longest));
    check(&client, "as long as may be", &get(&client, fits.as_bytes()), &[200], Open);
    let over = format!("x: {}\r\n", "y".repeat(HEAD_BYTES_MAX - longest + 1));
    check(&client, "a byte longer", &get(&client, over.as_bytes()), &[431], Closed);
    for (what, start) in [
        ("a long target", format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX))),
        ("a long query", format!("GET /?{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX))),
    ] {
        let bytes = format!("{start}host: {}\r\n\r\n", client.address);
        check(&client, what, bytes.as_bytes(), &[431], Closed);
    }
    let bytes = format!("GET /{} HTTP/1.1\r\nhost: {}\r\n\r\n", "a".repeat(70_000), client.address);
    check(&client, "a target of 70,000 bytes", bytes.as_bytes(), &[431], Closed);
}

#[test]
fn request_lines() {
    let client = server().client();
    let host = format!("host: {}\r\n\r\n", client.address);
    let ask = |what: &str, line: &[u8], statuses: &[u16], after: After| {
        check(&client, what, &[line, host.as_bytes()].concat(), statuses, after);
    };
    ask("LF alone", b"GET /healthz HTTP/1.1\n", &[200], Open);
    ask("empty lines before it", b"\r\n\r\nGET /healthz HTTP/1.1\r\n", &[200], Open);
    // That something is not served is for known senders to learn.
    ask("another method", b"BREW /healthz HTTP/1.1\r\n", &[403], Open);
    ask("a method in small letters", b"get /healthz HTTP/1.1\r\n", &[403], Open);
    ask("a fragment, which is cut off", b"GET /healthz#part HTTP/1.1\r\n", &[200], Open);
    for (what, line) in [
        ("a blank before it", &b" GET /healthz HTTP/1.1\r\n"[..]),
        ("a tab", b"GET\t/healthz HTTP/1.1\r\n"),
        ("something behind the version", b"GET /healthz HTTP/1.1 x\r\n"),
        ("a blank in the target", b"GET /health z HTTP/1.1\r\n"),
        ("a NUL in the target", b"GET /health\0z HTTP/1.1\r\n"),
        ("a bare CR in the target", b"GET /health\rz HTTP/1.1\r\n"),
        ("a bare CR at the end", b"GET /healthz HTTP/1.1\rx: y\r\n"),
        ("no target", b"GET HTTP/1.1\r\n"),
        ("no slash", b"GET healthz HTTP/1.1\r\n"),
        ("another version", b"GET /healthz HTTP/1.2\r\n"),
        ("a version of no kind", b"GET /healthz HTTP/11\r\n"),
        ("version 2", b"GET /healthz HTTP/2.0\r\n"),
        ("version 0.9", b"GET /healthz HTTP/0.9\r\n"),
        ("no version", b"GET /healthz\r\n"),
        ("small letters", b"GET /healthz http/1.1\r\n"),
        ("another protocol", b"GET /healthz ICY/1.1\r\n"),
        ("a parenthesis in the method", b"G(T /healthz HTTP/1.1\r\n"),
        ("bytes of no text", b"\xff\xfe\xfd\xfc\r\n"),
    ] {
        ask(what, line, &[400], Closed);
    }
}

#[test]
fn other_protocols() {
    let client = server().client();
    // The start of HTTP/2, and of TLS: both are over at once.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    check(&client, "HTTP/2", preface, &[], Closed);
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat();
    check(&client, "TLS", &hello, &[400], Closed);
    check(&client, "HTTP/0.9", b"GET /healthz\r\n", &[400], Closed);
    check(&client, "the PROXY protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", &[400], Closed);
    // A switch of protocols is not made.
    let upgrade =
        get(&client, b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n");
    check(&client, "h2c", &upgrade, &[200], Open);
    let upgrade = get(&client, b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AA==\r\n");
    check(&client, "a web socket", &upgrade, &[200], Open);
}

#[test]
fn targets() {
    let name = "targets";
    let mut client = bucket(name);
    let host = client.address.to_string();
    let ask = |what: &str, line: &str, own: &str, statuses: &[u16], after: After| {
        check(&client, what, format!("{line} HTTP/1.1\r\nhost: {own}\r\n\r\n").as_bytes(), statuses, after)
    };
    ask("a full address", &format!("GET http://{host}/healthz"), &host, &[200], Open);
    ask("one of another host", "GET http://example.com/healthz", &host, &[400], Closed);
    ask("one with a user", &format!("GET http://user@{host}/healthz"), &host, &[400], Closed);
    ask("one of another protocol", &format!("GET ftp://{host}/healthz"), &host, &[400], Closed);
    ask("a tunnel", &format!("CONNECT {host}"), &host, &[400], Closed);
    ask("a star", "OPTIONS *", &host, &[400], Closed);
    // Steps upwards name keys, and nothing above the bucket.
    for path in ["/../healthz", "/targets/../../etc/passwd", "/%2e%2e/healthz", "//healthz", "/healthz/.."] {
        let answers = ask("upwards", &format!("GET {path}"), &host, &[403], Open);
        assert_eq!(answers[0].code(), "AccessDenied", "{path}");
    }
    let encoded = client.encode(&Call::object("PUT", name, "k").body(b"body"));
    let head = String::from_utf8(encoded.head).expect("ASCII");
    // The signature is of the path alone; that the full address is taken, and taken for the same, shows in the bucket.
    let full = head.replacen("PUT /", &format!("PUT http://{host}/"), 1);
    check(&client, "an upload", format!("{full}body").as_bytes(), &[200], Open);
    assert_eq!(take(&mut client, name, "k").as_deref(), Some(&b"body"[..]));
    let other = head.replacen("PUT /", "PUT http://example.com/", 1);
    check(&client, "an upload for another host", format!("{other}body").as_bytes(), &[400], Closed);
    assert_eq!(take(&mut client, name, "k"), None);
}

#[test]
fn http_1_0() {
    let name = "http10";
    let mut client = bucket(name);
    let behind = hidden(&mut client, name);
    let ask = |lines: &str| format!("GET /healthz HTTP/1.0\r\n{lines}\r\n").into_bytes();
    // One request a connection, unless it asks for more.
    check(&client, "plain", &[ask(""), behind.clone()].concat(), &[200], Closed);
    assert_eq!(take(&mut client, name, super::HIDDEN), None);
    let (answers, mut raw) =
        super::answers(&client, "kept", &[ask("connection: keep-alive\r\n"), ask("")].concat(), &[200, 200]);
    assert_eq!(answers[0].header("connection"), Some("keep-alive"), "{}", answers[0].head);
    assert!(raw.is_closed_within(super::CLOSED_WITHIN));
    // Who says both does not want more.
    let both = [ask("connection: close, keep-alive\r\n"), behind].concat();
    check(&client, "both", &both, &[200], Closed);
    assert_eq!(take(&mut client, name, super::HIDDEN), None);
    // Nobody older is sent chunks: a body ends with its connection, or has a length.
    let (answers, _raw) = super::answers(&client, "metrics", b"GET /metrics HTTP/1.0\r\n\r\n", &[200]);
    assert_eq!(answers[0].header("transfer-encoding"), None);
}

#[test]
fn what_stands_behind_a_refused_head_is_not_looked_at() {
    let name = "behind";
    let mut client = bucket(name);
    let behind = hidden(&mut client, name);
    let good = get(&client, b"");
    for (what, first) in [
        ("a closed connection", get(&client, b"connection: close\r\n")),
        ("a bad head", get(&client, b"nothing\r\n")),
        ("too many lines", get(&client, "x: y\r\n".repeat(HEADERS_MAX + 1).as_bytes())),
        ("no host", b"GET /healthz HTTP/1.1\r\n\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
    ] {
        let mut raw = client.raw().expect("connect");
        let _written = raw.write(&[&first[..], &behind, &good].concat());
        let _answer = raw.read("GET");
        assert!(raw.is_closed_within(super::CLOSED_WITHIN), "{what}: the connection goes on");
        assert_eq!(take(&mut client, name, super::HIDDEN), None, "{what}");
    }
}
