//! XML made to hurt: document types, entities, depth, size and encodings.

use nilas_tests::client::{Call, Client, md5_base64};

use super::bucket;

/// The limits of documents.
const DEPTH_MAX: usize = 8;
const DELETE_KEYS_MAX: usize = 1_000;
const PARTS_MAX: usize = 10_000;
const DELETE_XML_BYTES_MAX: usize = 4 << 20;

/// Asks to delete what `document` names, and reads the code of the answer; empty when it is taken.
fn delete(client: &mut Client, name: &str, document: &[u8]) -> (u16, String) {
    let md5 = md5_base64(document);
    let call = Call::bucket("POST", name).query("delete", "").header("content-md5", md5).body(document);
    let answer = client.send(&call).expect("an answer");
    (answer.status, answer.code())
}

#[test]
fn documents_made_to_hurt() {
    let name = "documents";
    let mut client = bucket(name);
    assert_eq!(client.put(name, "k", b"body").expect("put").status, 200);
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let plain = |inner: &str| format!("<Delete>{inner}</Delete>").into_bytes();
    let laughs: String =
        (1..10).map(|at| format!("<!ENTITY l{at} \"{}\">", format!("&l{};", at - 1).repeat(10))).collect();
    let attributes: String = (0..10_000).map(|at| format!(" a{at}=\"v\"")).collect();
    let utf16 = |text: &str, little: bool| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    let text = format!("<Delete>{}</Delete>", object("k"));
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("a document type", format!("<!DOCTYPE Delete>{text}").into_bytes()),
        (
            "a billion laughs",
            format!("<!DOCTYPE Delete [<!ENTITY l0 \"l\">{laughs}]><Delete>{}</Delete>", object("&l9;"))
                .into_bytes(),
        ),
        (
            "a file of the machine",
            format!(
                "<!DOCTYPE Delete [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><Delete>{}</Delete>",
                object("&f;")
            )
            .into_bytes(),
        ),
        (
            "a document of another machine",
            format!("<!DOCTYPE Delete SYSTEM \"http://127.0.0.1:1/x.dtd\">{text}").into_bytes(),
        ),
        ("an entity of no kind", plain(&object("&nothing;"))),
        ("a character that is none", plain(&object("&#0;"))),
        ("a character beyond all", plain(&object("&#x110000;"))),
        ("an instruction", format!("<?php x?>{text}").into_bytes()),
        ("deep", "<Delete>".repeat(100_000).into_bytes()),
        ("a level too deep", {
            let (open, close) = ("<a>".repeat(DEPTH_MAX), "</a>".repeat(DEPTH_MAX));
            plain(&format!("{open}{close}"))
        }),
        ("open ends", b"<Delete><Object><Key>k</Key></Object>".to_vec()),
        ("ends crossed", b"<Delete><Object><Key>k</Object></Key></Delete>".to_vec()),
        ("two roots", format!("{text}{text}").into_bytes()),
        ("text behind it", format!("{text}x").into_bytes()),
        ("nothing in it", plain("")),
        ("nothing", Vec::new()),
        ("another root", format!("<Erase>{}</Erase>", object("k")).into_bytes()),
        ("a key too many", plain(&object("none").repeat(DELETE_KEYS_MAX + 1))),
        ("too large", plain(&format!("{}{}", object("none"), " ".repeat(DELETE_XML_BYTES_MAX)))),
        ("little-endian UTF-16", utf16(&text, true)),
        ("big-endian UTF-16", utf16(&text, false)),
        ("bytes that are no UTF-8", b"<Delete><Object><Key>\xff</Key></Object></Delete>".to_vec()),
        ("UTF-8 longer than needed", b"<Delete><Object><Key>\xc0\xaf</Key></Object></Delete>".to_vec()),
        ("half a surrogate", b"<Delete><Object><Key>\xed\xa0\x80</Key></Object></Delete>".to_vec()),
        ("JSON", br#"{"Delete": {"Objects": [{"Key": "k"}]}}"#.to_vec()),
    ];
    for (what, document) in bad {
        let got = delete(&mut client, name, &document);
        assert_eq!((got.0, got.1.as_str()), (400, "MalformedXML"), "{what}");
        assert_eq!(client.get(name, "k").expect("get").status, 200, "{what}: it was carried out");
    }
    let good: Vec<(&str, Vec<u8>)> = vec![
        ("a declaration", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}").into_bytes()),
        ("a mark of byte order", format!("\u{feff}{text}").into_bytes()),
        ("a comment", plain(&format!("<!-- <Quiet/> -->{}", object("k")))),
        ("ten thousand attributes", format!("<Delete{attributes}>{}</Delete>", object("k")).into_bytes()),
        ("as many keys as may be", plain(&object("k").repeat(DELETE_KEYS_MAX))),
        ("a namespace", format!("<s3:Delete xmlns:s3=\"x\">{}</s3:Delete>", object("k")).into_bytes()),
        ("characters by number", plain(&object("&#107;"))),
        ("CDATA", plain(&object("<![CDATA[k]]>"))),
    ];
    for (what, document) in good {
        assert_eq!(client.put(name, "k", b"body").expect("put").status, 200);
        assert_eq!(delete(&mut client, name, &document), (200, String::new()), "{what}");
        assert_eq!(client.get(name, "k").expect("get").status, 404, "{what}: it was not carried out");
    }
}

#[test]
fn parts_of_a_completion() {
    let name = "part-lists";
    let mut client = bucket(name);
    let (_, id) = client.create_upload(name, "m").expect("create");
    let put = client.put_part(name, "m", &id, 1, b"body").expect("part");
    assert_eq!(put.status, 200);
    let etag = put.etag();
    let list =
        |count: usize| -> Vec<(u32, String)> { (1..).take(count).map(|at| (at, etag.clone())).collect() };
    let mut complete = |parts: &[(u32, String)]| {
        let answer = client.complete(name, "m", &id, parts).expect("an answer");
        (answer.status, answer.code())
    };
    // As many as may be are read, and found missing; more are no list.
    assert_eq!(complete(&list(PARTS_MAX)), (400, "InvalidPart".to_owned()));
    assert_eq!(complete(&list(PARTS_MAX + 1)), (400, "MalformedXML".to_owned()));
    assert_eq!(complete(&[(2, etag.clone()), (1, etag.clone())]), (400, "InvalidPartOrder".to_owned()));
    assert_eq!(complete(&[(1, "\"none\"".to_owned())]), (400, "InvalidPart".to_owned()));
    assert_eq!(complete(&list(1)), (200, String::new()));
    assert_eq!(client.get(name, "m").expect("get").body, b"body");
}

#[test]
fn documents_of_every_call_are_bounded() {
    let name = "bounded";
    let mut client = bucket(name);
    let large = vec![b' '; DELETE_XML_BYTES_MAX + 1];
    let deep = "<a>".repeat(50_000).into_bytes();
    let laugh = b"<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_vec();
    for query in
        ["versioning", "tagging", "cors", "ownershipControls", "publicAccessBlock", "object-lock", "delete"]
    {
        for (what, document) in [("large", &large), ("deep", &deep), ("an entity", &laugh)] {
            let method = if query == "delete" { "POST" } else { "PUT" };
            let md5 = md5_base64(document);
            let call = Call::bucket(method, name).query(query, "").header("content-md5", md5).body(document);
            let answer = client.send(&call).unwrap_or_else(|error| panic!("{query}, {what}: {error}"));
            assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedXML"), "{query}, {what}");
        }
    }
    let policy = Call::bucket("PUT", name).query("policy", "");
    let deep = "[".repeat(20_000).into_bytes();
    for document in [&deep, &large] {
        let answer = client.send(&policy.clone().body(document)).expect("an answer");
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}
