//! S3 on the wire, against the release binary: bad input gets S3's own error and changes nothing.
//!
//! One server for all tests of this binary; each test has a bucket of its own. What the files share stands here.

mod archives;
mod uploads;
mod forms;
mod connections;
mod credentials;
mod names;
mod objects;
mod lists;
mod multipart;
mod completions;
mod parameters;
mod query;
mod renames;
mod versions;

use std::sync::OnceLock;

use nilas_tests::client::Client;
use nilas_tests::http1::Response;
use nilas_tests::server::Server;

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::fresh)
}

/// A client and a fresh bucket.
fn bucket(name: &str) -> Client {
    let mut client = server().client();
    expect(&client.create_bucket(name).expect("create bucket"), 200, "");
    client
}

#[track_caller]
fn expect(response: &Response, status: u16, code: &str) {
    assert!(
        response.status == status && (code.is_empty() || response.code() == code),
        "expected {status} {code}, got {} {}",
        response.head,
        response.text()
    );
}

#[track_caller]
fn expect_one_of(response: &Response, allowed: &[(u16, &str)], what: &str) {
    let got = (response.status, response.code());
    assert!(
        allowed.iter().any(|(status, code)| (*status, *code) == (got.0, got.1.as_str())),
        "{what}: {got:?}"
    );
}

/// The object is as `body` has it, or absent.
#[track_caller]
fn expect_object(client: &mut Client, bucket: &str, key: &str, body: Option<&[u8]>) {
    let response = client.get(bucket, key).expect("get");
    match body {
        Some(body) => {
            expect(&response, 200, "");
            assert!(
                response.body == body,
                "{key}: {} bytes are not the {} expected",
                response.body.len(),
                body.len()
            );
        }
        None => expect(&response, 404, "NoSuchKey"),
    }
}
