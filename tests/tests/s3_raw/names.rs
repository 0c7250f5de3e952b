//! Names of keys, buckets and sub-resources, and the life of a bucket.

use nilas_tests::client::{Call, Client};
use nilas_tests::sign;
use nilas_tests::xml;

use super::{bucket, expect, expect_object, server};

#[test]
fn key_lengths() {
    let mut client = bucket("keylengths");
    for (len, status, code) in
        [(1, 200, ""), (1024, 200, ""), (1025, 400, "KeyTooLongError"), (5000, 400, "KeyTooLongError")]
    {
        let key = "k".repeat(len);
        expect(&client.put("keylengths", &key, b"x").expect("put"), status, code);
    }
    // The limit is on bytes, not characters.
    let wide = "ž".repeat(512);
    expect(&client.put("keylengths", &wide, b"x").expect("put"), 200, "");
    expect(&client.put("keylengths", &format!("{wide}a"), b"x").expect("put"), 400, "KeyTooLongError");
    expect(&client.create_upload("keylengths", &"k".repeat(1025)).expect("create").0, 400, "KeyTooLongError");
    assert_eq!(client.list_all("keylengths", "").expect("list").len(), 3);
}

#[test]
fn bucket_names() {
    let mut client = server().client();
    let (longest, too_long) = ("n".repeat(63), "n".repeat(64));
    for good in ["abc", "a-b", "a.b.c", "123", "0start", longest.as_str()] {
        let response = client.create_bucket(good).expect("create");
        assert_eq!(response.status, 200, "{good}: {}", response.text());
        expect(&client.delete_bucket(good).expect("delete"), 204, "");
    }
    for bad in [
        "ab",
        "a",
        too_long.as_str(),
        "Upper",
        "under_score",
        "-lead",
        "trail-",
        ".lead",
        "trail.",
        "dots..two",
        "192.168.5.4",
        "sp ace",
        "ž123",
        "a/../b",
    ] {
        let response = client.create_bucket(bad).expect("create");
        assert_eq!((response.status, response.code().as_str()), (400, "InvalidBucketName"), "{bad}");
    }
}

#[test]
fn odd_keys_are_ordinary() {
    let mut client = bucket("oddkeys");
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a/b",
        "a//b",
        "a/./b",
        "a/../b",
        "./x",
        "../x",
        "..",
        ".",
        "/lead",
        "//",
        "trail/",
        " ",
        "sp ace",
        "plus+plus",
        "100%",
        "%2F",
        "%zz",
        "a&b=c?d#e",
        "<x>&amp;\"'",
        "quote'",
        "back\\slash",
        "tab\there",
        "line\nbreak",
        "ret\rurn",
        "žluťoučký",
        "日本語",
        "😀",
        "~tilde",
        "a:b@c,d;e$f!g*h(i)j",
        "_iceberg/v1/x",
        "healthz",
        "\u{7f}",
        "\u{feff}bom",
        "uploads",
        "key=value",
    ]
    .map(str::to_owned)
    .to_vec();
    for key in &keys {
        let response = client.put("oddkeys", key, key.as_bytes()).expect("put");
        assert_eq!(response.status, 200, "{key:?}: {}", response.text());
    }
    for key in &keys {
        let response = client.get("oddkeys", key).expect("get");
        assert_eq!((response.status, response.text()), (200, key.clone()), "{key:?}");
    }
    keys.sort();
    let plain: Vec<String> =
        client.list_all("oddkeys", "").expect("list").into_iter().map(|e| e.key).collect();
    assert_eq!(plain, keys);
    let page = client.list("oddkeys", &[("encoding-type", "url")]).expect("list");
    // `+` never stands for a blank here, and a plus sign is always encoded.
    let decoded: Vec<String> = page.entries.iter().map(|entry| sign::decode(&entry.key)).collect();
    assert_eq!(decoded, keys);
    let response = client.delete_many("oddkeys", &keys).expect("delete");
    assert_eq!((response.status, xml::blocks(&response.text(), "Deleted").len()), (200, keys.len()));
    assert_eq!(client.list_all("oddkeys", "").expect("list"), []);
}

#[test]
fn subresources_never_store_an_object() {
    let mut client = bucket("subresources");
    expect(&client.put("subresources", "k", b"kept").expect("put"), 200, "");
    for name in [
        "acl",
        "tagging",
        "retention",
        "legal-hold",
        "torrent",
        "restore",
        "attributes",
        "select",
        "append",
        "versions",
        "policy",
        "cors",
        "lifecycle",
        "delete",
        "location",
        "encryption",
        "uploads",
        "frobnicate",
    ] {
        // AWS's names for what could be mistaken for the plain request: with and without a value.
        for value in ["", "1"] {
            if name == "frobnicate" && value == "1" {
                continue;
            }
            for (method, key) in [("PUT", "k"), ("PUT", "new"), ("POST", "k"), ("DELETE", "k")] {
                // What is served and needs no body.
                if [("POST", "uploads"), ("DELETE", "tagging")].contains(&(method, name)) {
                    continue;
                }
                let call = Call::object(method, "subresources", key).query(name, value).body(b"<X/>");
                let response = client.send(&call).expect("an answer");
                assert!(400 <= response.status, "{method} {key}?{name}={value}: {}", response.status);
            }
        }
    }
    for name in [
        "acl",
        "cors",
        "lifecycle",
        "policy",
        "versioning",
        "encryption",
        "tagging",
        "website",
        "logging",
        "inventory",
    ] {
        let call = Call::bucket("PUT", "subresources-new").query(name, "").body(b"<X/>");
        let response = client.send(&call).expect("an answer");
        assert!(400 <= response.status, "PUT bucket?{name}: {}", response.status);
    }
    expect(&client.send(&Call::bucket("HEAD", "subresources-new")).expect("head"), 404, "");
    expect_object(&mut client, "subresources", "k", Some(b"kept"));
    expect_object(&mut client, "subresources", "new", None);
    // What SDKs add for themselves is no subresource.
    let call = Call::object("PUT", "subresources", "sdk").query("x-id", "PutObject").body(b"x");
    expect(&client.send(&call).expect("put"), 200, "");
}

#[test]
fn preparation_calls_of_load_generators() {
    let mut client = bucket("prepare");
    let get = |client: &mut Client, name: &str| {
        client.send(&Call::bucket("GET", "prepare").query(name, "")).expect("get")
    };
    expect(&get(&mut client, "versioning"), 200, "");
    expect(&get(&mut client, "location"), 200, "");
    expect(&get(&mut client, "object-lock"), 404, "ObjectLockConfigurationNotFoundError");
    expect(&client.send(&Call::bucket("HEAD", "prepare")).expect("head"), 200, "");
}

#[test]
fn buckets() {
    let mut client = bucket("buckets");
    expect(&client.create_bucket("buckets").expect("again"), 200, "");
    for (method, key) in [("GET", "k"), ("PUT", "k"), ("DELETE", "k")] {
        let call = Call::object(method, "no-such-bucket", key);
        expect(&client.send(&call).expect("an answer"), 404, "NoSuchBucket");
    }
    expect(&client.list("no-such-bucket", &[]).expect("list").response, 404, "NoSuchBucket");
    expect(&client.delete_bucket("no-such-bucket").expect("delete"), 404, "NoSuchBucket");
    expect(&client.put("buckets", "k", b"").expect("put"), 200, "");
    expect(&client.delete_bucket("buckets").expect("delete"), 409, "BucketNotEmpty");
    let listed = client.send(&Call::get("/")).expect("list buckets").text();
    assert!(xml::all(&listed, "Name").contains(&"buckets".to_owned()), "{listed}");
    expect(&client.delete("buckets", "k").expect("delete"), 204, "");
    expect(&client.delete_bucket("buckets").expect("delete"), 204, "");
    expect(&client.send(&Call::bucket("HEAD", "buckets")).expect("head"), 404, "");
    expect(&client.get("buckets", "k").expect("get"), 404, "NoSuchBucket");
}
