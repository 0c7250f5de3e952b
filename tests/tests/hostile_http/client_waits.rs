//! Clients that keep us waiting: every wait has its named limit, and what drips buys no time.

use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Payload, Raw};
use nilas_tests::rng::payload;
use nilas_tests::sizes::MIB;

use super::{bucket, carrier, get_head, hidden, take, with_lines};

/// `head_timeout`, and `body_timeout`, which is `write_timeout` too, with what a sweep and a slow machine add.
const HEAD: (u64, u64) = (8, 25);
const BODY: (u64, u64) = (25, 50);
/// Between two bytes of a dripping client.
const DRIP: Duration = Duration::from_millis(400);

/// Sends `drip` again and again until the connection is over; how long that took.
fn drip(mut raw: Raw, drip: &[u8], at_most: Duration) -> Duration {
    let from = Instant::now();
    let mut answered = false;
    while from.elapsed() < at_most {
        answered = answered || raw.answer_within(DRIP, "PUT").is_some();
        // The answer says that it is over; who goes on sending meets a closed connection a little later.
        if answered || raw.write(drip).is_err() {
            break;
        }
    }
    from.elapsed()
}

#[test]
fn nobody_is_waited_for_forever() {
    let name = "slow";
    let mut client = bucket(name);
    let large = payload("large", 1, 32 * MIB);
    assert_eq!(client.put(name, "large", &large).expect("put").status, 200);
    let (head, body) = carrier(&mut client, name, Payload::UnsignedTrailer);
    let chunked = with_lines(&head, b"transfer-encoding: chunked\r\n");
    let (plain, _) = carrier(&mut client, name, Payload::Unsigned);
    let plain = with_lines(&plain, b"content-length: 100000\r\n");
    let started = |parts: &[&[u8]]| {
        let mut raw = client.raw().expect("connect");
        raw.write(&parts.concat()).expect("write");
        raw
    };
    let size = format!("{:x}\r\n", body.len());
    let whole = [size.as_bytes(), &body, b"\r\n0\r\n"].concat();
    let get = get_head(&client);
    type Case<'a> = (&'a str, Raw, &'a [u8], (u64, u64));
    let cases: Vec<Case> = vec![
        ("a request line", started(&[b"G"]), b"E", HEAD),
        ("empty lines before it", started(&[b"\r\n"]), b"\r\n", HEAD),
        ("a header", started(&[&get, b"x: "]), b"y", HEAD),
        ("header lines", started(&[&get]), b"x: y\r\n", HEAD),
        ("a body", started(&[&plain, b"b"]), b"o", BODY),
        ("a size", started(&[&chunked]), b"0", BODY),
        ("an extension", started(&[&chunked, size.trim_end().as_bytes(), b";"]), b"x", BODY),
        ("a chunk", started(&[&chunked, b"100000\r\n"]), b"x", BODY),
        ("chunks of one byte", started(&[&chunked]), b"1\r\n0\r\n", BODY),
        ("trailers", started(&[&chunked, &whole]), b"t: v\r\n", BODY),
    ];
    std::thread::scope(|scope| {
        for (what, raw, drop, (least, most)) in cases {
            scope.spawn(move || {
                let took = drip(raw, drop, Duration::from_secs(most)).as_secs();
                assert!((least..most).contains(&took), "{what}: over after {took} s");
            });
        }
        // An answer that nobody takes.
        let mut client = client.clone();
        scope.spawn(move || {
            let mut raw = client.raw().expect("connect");
            raw.write(&client.encode(&Call::object("GET", name, "large")).bytes()).expect("write");
            let from = Instant::now();
            assert_eq!(raw.read_any_head().expect("a head").status, 200);
            // Cut means: the rest of the bytes never comes, however long one waits.
            std::thread::sleep(Duration::from_secs(BODY.1 - 10));
            let answer = raw.read_rest(large.len() as u64);
            let took = from.elapsed();
            assert!(answer < large.len() as u64, "all of it came after {took:?}");
        });
    });
    assert_eq!(take(&mut client, name, super::CARRIER), None);
    let behind = hidden(&mut client, name);
    super::check(&client, "afterwards", &behind, &[200], super::After::Open);
}
