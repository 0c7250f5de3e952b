//! How long a body is, said in ways that two readers may take differently: lengths, codings, and both.

use nilas_tests::client::{Call, Client, Payload};

use super::After::{Closed, Open};
use super::{Smuggled, bucket, carrier, check_smuggled, hidden, take, with_lines};

/// One chunk and the end.
fn chunked(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

#[test]
fn codings_of_transfer() {
    let name = "codings";
    let mut client = bucket(name);
    let (head, body) = carrier(&mut client, name, Payload::UnsignedTrailer);
    let plain: [(&str, &[u8]); 6] = [
        ("the plain one", b"transfer-encoding: chunked\r\n"),
        ("a capital", b"Transfer-Encoding: Chunked\r\n"),
        ("all capitals", b"TRANSFER-ENCODING: CHUNKED\r\n"),
        ("no blank", b"transfer-encoding:chunked\r\n"),
        ("a tab before it", b"transfer-encoding:\tchunked\r\n"),
        ("blanks behind it", b"transfer-encoding: chunked \t \r\n"),
    ];
    for (what, lines) in plain {
        let bytes = [with_lines(&head, lines), chunked(&body), hidden(&mut client, name)].concat();
        // That the request behind a good one is carried out shows that the others' absence means something.
        let want = Smuggled { what, statuses: &[200, 200], after: Open, stores: true, follows: true };
        check_smuggled(&mut client, name, &bytes, &want);
    }
    let refused: [(&str, &[u8]); 22] = [
        ("not the last coding", b"transfer-encoding: chunked, identity\r\n"),
        ("behind identity", b"transfer-encoding: identity, chunked\r\n"),
        ("behind gzip", b"transfer-encoding: gzip, chunked\r\n"),
        ("behind an unknown one", b"transfer-encoding: cow, chunked\r\n"),
        ("twice in a line", b"transfer-encoding: chunked, chunked\r\n"),
        ("twice in two lines", b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("and identity", b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        ("identity, and then", b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"),
        ("and an unknown one", b"transfer-encoding: chunked\r\nTransfer-encoding: cow\r\n"),
        ("a letter before", b"transfer-encoding: xchunked\r\n"),
        ("a letter behind", b"transfer-encoding: chunkedx\r\n"),
        ("in quotes", b"transfer-encoding: \"chunked\"\r\n"),
        ("a parameter", b"transfer-encoding: chunked;q=1\r\n"),
        ("a comma behind", b"transfer-encoding: chunked,\r\n"),
        ("a comma before", b"transfer-encoding: ,chunked\r\n"),
        ("nothing", b"transfer-encoding:\r\n"),
        ("cut in two", b"transfer-encoding: chun ked\r\n"),
        ("a vertical tab", b"transfer-encoding: \x0bchunked\r\n"),
        ("a blank before the colon", b"transfer-encoding : chunked\r\n"),
        ("a tab before the colon", b"transfer-encoding\t: chunked\r\n"),
        ("on a folded line", b"transfer-encoding:\r\n chunked\r\n"),
        ("behind a bare CR", b"x: y\rtransfer-encoding: chunked\r\n"),
    ];
    for (what, lines) in refused {
        let bytes = [with_lines(&head, lines), chunked(&body), hidden(&mut client, name)].concat();
        let want = Smuggled { what, statuses: &[400], after: Closed, stores: false, follows: false };
        check_smuggled(&mut client, name, &bytes, &want);
    }
    // HTTP/1.0 knows no codings.
    let old = head.replace("HTTP/1.1", "HTTP/1.0");
    let lines = b"transfer-encoding: chunked\r\n";
    let bytes = [with_lines(&old, lines), chunked(&body), hidden(&mut client, name)].concat();
    let want = Smuggled { what: "HTTP/1.0", statuses: &[400], after: Closed, stores: false, follows: false };
    check_smuggled(&mut client, name, &bytes, &want);
}

#[test]
fn a_coding_and_a_length() {
    let name = "both-framings";
    let mut client = bucket(name);
    let (head, body) = carrier(&mut client, name, Payload::UnsignedTrailer);
    let body = chunked(&body);
    let behind = hidden(&mut client, name);
    let (short, all) = (body.len() - 5, body.len() + behind.len());
    for (what, length) in [
        ("a length of nothing", "0".to_owned()),
        ("a length that ends in the body", short.to_string()),
        ("the length of the body", body.len().to_string()),
        ("a length that hides a request", all.to_string()),
        ("a length that goes on", (all + 100).to_string()),
    ] {
        let (coding, length) = ("transfer-encoding: chunked\r\n", format!("content-length: {length}\r\n"));
        for (order, lines) in
            [("length first", format!("{length}{coding}")), ("coding first", format!("{coding}{length}"))]
        {
            let what = format!("{what}, {order}");
            let bytes = [&with_lines(&head, lines.as_bytes())[..], &body, &behind].concat();
            // RFC 9112 6.3: the coding counts, and the connection ends; what stood behind it is nobody's.
            let want =
                Smuggled { what: &what, statuses: &[200], after: Closed, stores: true, follows: false };
            check_smuggled(&mut client, name, &bytes, &want);
        }
    }
    // A request hidden in the chunk of another one: a reader of the length finds it.
    let inner = hidden(&mut client, name);
    let (head, _) = carrier(&mut client, name, Payload::Unsigned);
    let body = chunked(&inner);
    let length = body.iter().position(|byte| *byte == b'\n').expect("a size line") + 1;
    let lines = format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n");
    let bytes = [&with_lines(&head, lines.as_bytes())[..], &body].concat();
    let want = Smuggled {
        what: "a request in a chunk",
        // The bytes of a plain upload must be counted beforehand.
        statuses: &[411],
        after: Closed,
        stores: false,
        follows: false,
    };
    check_smuggled(&mut client, name, &bytes, &want);
}

#[test]
fn lengths() {
    let name = "lengths";
    let mut client = bucket(name);
    let (head, body) = carrier(&mut client, name, Payload::Unsigned);
    let mut ask = |what: &str, lines: &[u8], statuses: &[u16], after, stores, follows| {
        let bytes = [&with_lines(&head, lines)[..], &body, &hidden(&mut client, name)].concat();
        check_smuggled(&mut client, name, &bytes, &Smuggled { what, statuses, after, stores, follows });
    };
    for (what, lines) in [
        ("the plain one", &b"content-length: 4\r\n"[..]),
        ("no blank", b"Content-Length:4\r\n"),
        ("blanks", b"content-length: \t 4 \t\r\n"),
        ("leading zeros", b"content-length: 0004\r\n"),
        ("the same twice", b"content-length: 4\r\ncontent-length: 4\r\n"),
        ("a number said in two ways", b"content-length: 4\r\ncontent-length: 04\r\n"),
    ] {
        ask(what, lines, &[200, 200], Open, true, true);
    }
    for (what, lines) in [
        ("two that differ", &b"content-length: 4\r\ncontent-length: 0\r\n"[..]),
        ("nothing first", b"content-length: 0\r\ncontent-length: 4\r\n"),
        ("a list", b"content-length: 4, 4\r\n"),
        ("a list that differs", b"content-length: 4, 0\r\n"),
        ("a plus", b"content-length: +4\r\n"),
        ("a minus", b"content-length: -4\r\n"),
        ("hexadecimal", b"content-length: 0x4\r\n"),
        ("a fraction", b"content-length: 4.0\r\n"),
        ("an exponent", b"content-length: 4e0\r\n"),
        ("two numbers", b"content-length: 4 4\r\n"),
        ("nothing", b"content-length:\r\n"),
        ("in quotes", b"content-length: \"4\"\r\n"),
        ("a wide digit", b"content-length: \xef\xbc\x94\r\n"),
        ("a NUL behind", b"content-length: 4\x00\r\n"),
        ("one more than 64 bits", b"content-length: 18446744073709551616\r\n"),
        ("thirty digits", b"content-length: 400000000000000000000000000000\r\n"),
        ("a blank before the colon", b"content-length : 4\r\n"),
        ("on a folded line", b"content-length:\r\n 4\r\n"),
        ("a bare CR", b"content-length: 4\rx: y\r\n"),
        ("in a folded line of another", b"x: y\r\n content-length: 4\r\n"),
    ] {
        ask(what, lines, &[400], Closed, false, false);
    }
    ask("the largest", b"content-length: 18446744073709551615\r\n", &[431], Closed, false, false);
    // More than an object may have, by S3's own rule.
    ask("five GiB and one", b"content-length: 5368709121\r\n", &[400], Closed, false, false);
    // Not the header's name: no length at all, and the body is read as the start of another request, of a method that was not signed.
    ask("an underscore", b"content_length: 4\r\n", &[411, 403], Closed, false, false);
    ask("no length", b"", &[411, 403], Closed, false, false);
}

#[test]
fn bodies_that_nobody_wants_are_bodies() {
    let name = "unwanted";
    let mut client = bucket(name);
    let smuggled = hidden(&mut client, name);
    let length = smuggled.len();
    let ask = |client: &mut Client, method: &str, path: &str, framing: &str, body: &[u8]| {
        let call = Call::new(method, path);
        let head = String::from_utf8(client.encode(&call).head).expect("ASCII");
        let bytes = [&with_lines(&head, framing.as_bytes())[..], body].concat();
        let (answer, _raw) = client.exchange(&bytes, method).expect("an answer");
        assert!(answer.status < 500, "{method} {path}: {}", answer.head);
        assert_eq!(take(client, name, super::HIDDEN), None, "{method} {path} {framing}");
    };
    for (method, path) in [
        ("GET", "/healthz".to_owned()),
        ("GET", format!("/{name}")),
        ("HEAD", format!("/{name}/none")),
        ("DELETE", format!("/{name}/none")),
        ("OPTIONS", format!("/{name}/none")),
        ("GET", "/_iceberg/v1/config".to_owned()),
        ("PATCH", format!("/{name}/none")),
    ] {
        ask(&mut client, method, &path, &format!("content-length: {length}\r\n"), &smuggled);
        ask(&mut client, method, &path, "transfer-encoding: chunked\r\n", &chunked(&smuggled));
    }
}
