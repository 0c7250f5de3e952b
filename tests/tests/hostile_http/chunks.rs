//! Chunks of the transfer coding: their size lines, extensions, ends and trailers.

use nilas_tests::client::Payload;

use super::After::{Closed, Open};
use super::{Smuggled, bucket, carrier, check_smuggled, hidden, with_lines};

/// Bytes of all extensions of a body that are too many.
const EXTENSION_BYTES: usize = 16 << 10;
/// Trailers, and their bytes, that are too many: the limits of a head.
const TRAILERS: usize = 101;
const TRAILER_BYTES: usize = 33 << 10;

/// How a body is taken.
enum Read {
    /// And what follows is the next request.
    Plainly,
    /// And the connection ends: nobody sends trailers in good faith, and where they end is read in more than one way.
    WithTrailers,
    /// It is refused.
    Not,
}

#[test]
fn chunks() {
    let name = "chunks";
    let mut client = bucket(name);
    let (head, body) = carrier(&mut client, name, Payload::UnsignedTrailer);
    let head = with_lines(&head, b"transfer-encoding: chunked\r\n");
    let size = format!("{:x}", body.len());
    let capitals = format!("{:X}", body.len());
    // A body in one chunk: its size line with its end, what ends its data, and all that comes after.
    let wire = |line: &str, end: &str, last: &str| {
        [line.as_bytes(), &body, end.as_bytes(), last.as_bytes()].concat()
    };
    let bytes_of = |count: usize| "x".repeat(count);
    let last = "0\r\n\r\n";
    let many: String = (0..TRAILERS - 1).map(|at| format!("t{at}: v\r\n")).collect();
    let mut ask = |what: &str, wire: Vec<u8>, read: Read| {
        let bytes = [&head[..], &wire, &hidden(&mut client, name)].concat();
        let want = match read {
            Read::Plainly => {
                Smuggled { what, statuses: &[200, 200], after: Open, stores: true, follows: true }
            }
            Read::WithTrailers => {
                Smuggled { what, statuses: &[200], after: Closed, stores: true, follows: false }
            }
            Read::Not => Smuggled { what, statuses: &[400], after: Closed, stores: false, follows: false },
        };
        check_smuggled(&mut client, name, &bytes, &want);
    };
    for (what, wire) in [
        ("one chunk", wire(&format!("{size}\r\n"), "\r\n", last)),
        ("capitals", wire(&format!("{capitals}\r\n"), "\r\n", last)),
        ("leading zeros", wire(&format!("00000000000{size}\r\n"), "\r\n", last)),
        ("an extension", wire(&format!("{size};name=value\r\n"), "\r\n", last)),
        ("an extension in quotes", wire(&format!("{size};n=\"a;b\"\r\n"), "\r\n", last)),
        ("a blank before it", wire(&format!("{size} ;n\r\n"), "\r\n", last)),
        (
            "extensions below the limit",
            wire(&format!("{size};{}\r\n", bytes_of(EXTENSION_BYTES - 2)), "\r\n", last),
        ),
        ("more zeros at the end", wire(&format!("{size}\r\n"), "\r\n", "0000\r\n\r\n")),
        ("an extension at the end", wire(&format!("{size}\r\n"), "\r\n", "0;n=v\r\n\r\n")),
    ] {
        ask(what, wire, Read::Plainly);
    }
    for (what, wire) in [
        ("a trailer", wire(&format!("{size}\r\n"), "\r\n", "0\r\nx-trailer: v\r\n\r\n")),
        // What a trailer says of framing is not for anybody.
        ("a trailer with a length", wire(&format!("{size}\r\n"), "\r\n", "0\r\ncontent-length: 5\r\n\r\n")),
        (
            "a trailer with a coding",
            wire(&format!("{size}\r\n"), "\r\n", "0\r\ntransfer-encoding: chunked\r\n\r\n"),
        ),
        // Taken for the start of trailers that end at once: whatever is behind it is lost.
        ("LF for the empty line", wire(&format!("{size}\r\n"), "\r\n", "0\r\n\n")),
        ("many trailers", wire(&format!("{size}\r\n"), "\r\n", &format!("0\r\n{many}\r\n"))),
    ] {
        ask(what, wire, Read::WithTrailers);
    }
    for (what, wire) in [
        ("a plus", wire(&format!("+{size}\r\n"), "\r\n", last)),
        ("a minus", wire(&format!("-{size}\r\n"), "\r\n", last)),
        ("a prefix", wire(&format!("0x{size}\r\n"), "\r\n", last)),
        ("a blank before it", wire(&format!(" {size}\r\n"), "\r\n", last)),
        ("two sizes", wire(&format!("{size} {size}\r\n"), "\r\n", last)),
        ("an underscore", wire(&format!("0_{size}\r\n"), "\r\n", last)),
        ("no size", wire("\r\n", "\r\n", last)),
        ("an extension alone", wire(";n=v\r\n", "\r\n", last)),
        ("no digit", wire("g\r\n", "\r\n", last)),
        ("more than 64 bits", wire(&format!("1000000000000000{size}\r\n"), "\r\n", last)),
        ("LF alone behind the size", wire(&format!("{size}\n"), "\r\n", last)),
        ("CR alone behind the size", wire(&format!("{size}\r"), "\r\n", last)),
        ("CR CR LF behind the size", wire(&format!("{size}\r\r\n"), "\r\n", last)),
        ("LF in an extension", wire(&format!("{size};n\nv\r\n"), "\r\n", last)),
        ("CR in an extension", wire(&format!("{size};n\rv\r\n"), "\r\n", last)),
        ("extensions at the limit", wire(&format!("{size};{}\r\n", bytes_of(EXTENSION_BYTES)), "\r\n", last)),
        ("LF alone behind the data", wire(&format!("{size}\r\n"), "\n", last)),
        ("CR alone behind the data", wire(&format!("{size}\r\n"), "\r", last)),
        ("nothing behind the data", wire(&format!("{size}\r\n"), "", last)),
        ("more data than its size", wire(&format!("{size}\r\n"), "x\r\n", last)),
        ("LF alone at the end", wire(&format!("{size}\r\n"), "\r\n", "0\n\n")),
        ("a minus at the end", wire(&format!("{size}\r\n"), "\r\n", "-0\r\n\r\n")),
        ("a trailer without a colon", wire(&format!("{size}\r\n"), "\r\n", "0\r\nnothing\r\n\r\n")),
        ("a trailer with a blank", wire(&format!("{size}\r\n"), "\r\n", "0\r\na b: c\r\n\r\n")),
        ("a folded trailer", wire(&format!("{size}\r\n"), "\r\n", "0\r\na: b\r\n c\r\n\r\n")),
        ("a NUL in a trailer", wire(&format!("{size}\r\n"), "\r\n", "0\r\na: b\0\r\n\r\n")),
        (
            "too many trailers",
            wire(&format!("{size}\r\n"), "\r\n", &format!("0\r\n{many}t: v\r\nu: v\r\n\r\n")),
        ),
        (
            "too long a trailer",
            wire(&format!("{size}\r\n"), "\r\n", &format!("0\r\nt: {}\r\n\r\n", bytes_of(TRAILER_BYTES))),
        ),
    ] {
        ask(what, wire, Read::Not);
    }
    // A body that breaks off: nothing is stored of it.
    for (what, wire) in [
        ("in a size", size[..1].to_owned().into_bytes()),
        ("in the data", [format!("{size}\r\n").as_bytes(), &body[..3]].concat()),
        ("before the last chunk", wire(&format!("{size}\r\n"), "\r\n", "")),
        ("before the empty line", wire(&format!("{size}\r\n"), "\r\n", "0\r\n")),
    ] {
        let mut raw = client.raw().expect("connect");
        raw.write(&[&head[..], &wire].concat()).expect("write");
        raw.shut_write().expect("shutdown");
        if let Ok(answer) = raw.read("PUT") {
            assert_eq!(answer.status, 400, "it ends {what}: {}", answer.text());
        }
        assert!(raw.is_closed_within(super::CLOSED_WITHIN), "it ends {what}");
        assert_eq!(super::take(&mut client, name, super::CARRIER), None, "it ends {what}");
    }
}
