//! RenameObject: what stays, what goes, conditions, tokens, and who is refused.

use nilas_tests::client::{Call, Client, md5_etag};
use nilas_tests::http1::Response;
use nilas_tests::rng::payload;
use nilas_tests::sizes::{KIB, MIB};

use super::{bucket, expect, expect_object};

fn rename(client: &mut Client, at: &str, from: &str, to: &str, headers: &[(&str, &str)]) -> Response {
    let mut call = Call::object("PUT", at, to).query("renameObject", "").header("x-amz-rename-source", from);
    for (name, value) in headers {
        call = call.header(name, *value);
    }
    client.send(&call).expect("rename")
}

#[test]
fn bytes_and_all_that_is_known_stay() {
    let mut client = bucket("renames");
    for len in [0, 10, 100 * KIB, 128 * KIB + 1, 3 * MIB] {
        let (from, to) = (format!("from/{len}"), format!("to/\u{e4} {len}"));
        let body = payload(&from, 1, len);
        let put = Call::object("PUT", "renames", &from).body(&body);
        let put = put.header("x-amz-meta-colour", "red").header("content-type", "text/x-colour");
        expect(&client.send(&put).expect("put"), 200, "");
        let before = client.head("renames", &from).expect("head");
        expect(&rename(&mut client, "renames", &format!("/renames/{from}"), &to, &[]), 200, "");
        expect(&client.head("renames", &from).expect("head"), 404, "");
        expect_object(&mut client, "renames", &to, Some(&body));
        let after = client.head("renames", &to).expect("head");
        for name in ["etag", "last-modified", "x-amz-meta-colour", "content-type", "content-length"] {
            assert_eq!(after.header(name), before.header(name), "{name} of {len}");
        }
    }
    // Onto what is there; to itself; what is not there.
    expect(&client.put("renames", "a", b"a").expect("put"), 200, "");
    expect(&client.put("renames", "b", b"b").expect("put"), 200, "");
    expect(&rename(&mut client, "renames", "a", "b", &[]), 200, "");
    expect(&rename(&mut client, "renames", "b", "b", &[]), 200, "");
    expect_object(&mut client, "renames", "b", Some(b"a"));
    expect(&rename(&mut client, "renames", "/renames/a", "c", &[]), 404, "NoSuchKey");
    expect(&rename(&mut client, "renames", "/elsewhere/b", "c", &[]), 400, "InvalidArgument");
    expect(&rename(&mut client, "renames", "/renames/", "c", &[]), 400, "InvalidArgument");
    let without = Call::object("PUT", "renames", "c").query("renameObject", "");
    expect(&client.send(&without).expect("no source"), 400, "InvalidRequest");
    expect_object(&mut client, "renames", "b", Some(b"a"));
}

#[test]
fn conditions() {
    let mut client = bucket("rename-conditions");
    let at = "rename-conditions";
    let mut try_one = |headers: &[(&str, &str)], status, code| {
        for key in ["from", "over"] {
            expect(&client.put(at, key, key.as_bytes()).expect("put"), 200, "");
        }
        expect(&rename(&mut client, at, "from", "over", headers), status, code);
        let kept: &[u8] = if status == 200 { b"from" } else { b"over" };
        expect_object(&mut client, at, "over", Some(kept));
        assert_eq!(client.head(at, "from").expect("head").status, if status == 200 { 404 } else { 200 });
    };
    let (from, over) = (md5_etag(b"from"), md5_etag(b"over"));
    let (old, new) = ("Thu, 01 Jan 2015 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let failed = (412, "PreconditionFailed");
    for (name, value, (status, code)) in [
        ("x-amz-rename-source-if-match", from.as_str(), (200, "")),
        ("x-amz-rename-source-if-match", over.as_str(), failed),
        ("x-amz-rename-source-if-none-match", from.as_str(), failed),
        ("x-amz-rename-source-if-none-match", over.as_str(), (200, "")),
        ("x-amz-rename-source-if-modified-since", old, (200, "")),
        ("x-amz-rename-source-if-unmodified-since", old, failed),
        ("x-amz-rename-source-if-unmodified-since", new, (200, "")),
        ("if-match", over.as_str(), (200, "")),
        ("if-match", from.as_str(), failed),
        ("if-none-match", "*", failed),
        ("if-none-match", over.as_str(), (501, "NotImplemented")),
        ("if-modified-since", old, (200, "")),
        ("if-unmodified-since", old, failed),
    ] {
        try_one(&[(name, value)], status, code);
    }
}

#[test]
fn tokens() {
    let mut client = bucket("rename-tokens");
    let at = "rename-tokens";
    expect(&client.put(at, "a", b"a").expect("put"), 200, "");
    let token = ("x-amz-client-token", "0b7c-token");
    expect(&rename(&mut client, at, "a", "b", &[token]), 200, "");
    expect(&rename(&mut client, at, "a", "b", &[token]), 200, "");
    expect(&client.put(at, "a", b"another").expect("put"), 200, "");
    // It was done: what came since stays.
    expect(&rename(&mut client, at, "a", "b", &[token]), 200, "");
    expect_object(&mut client, at, "b", Some(b"a"));
    expect(&rename(&mut client, at, "a", "c", &[token]), 400, "IdempotencyParameterMismatch");
    expect(&rename(&mut client, at, "a", "c", &[("x-amz-client-token", "a b")]), 400, "InvalidArgument");
    expect(&rename(&mut client, at, "a", "b", &[("x-amz-client-token", "other")]), 200, "");
    expect_object(&mut client, at, "b", Some(b"another"));
}

#[test]
fn buckets_with_versions_rename_nothing() {
    let mut client = bucket("rename-versions");
    expect(&client.put("rename-versions", "a", b"a").expect("put"), 200, "");
    for status in ["Enabled", "Suspended"] {
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        let set = Call::bucket("PUT", "rename-versions").query("versioning", "").body(body.as_bytes());
        expect(&client.send(&set).expect("versioning"), 200, "");
        expect(&rename(&mut client, "rename-versions", "a", "b", &[]), 409, "InvalidBucketState");
    }
    expect_object(&mut client, "rename-versions", "a", Some(b"a"));
}
