//! Versions, delete markers and object lock on the wire: which answers name a version, and what is refused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nilas_tests::client::{Call, Client, md5_base64};
use nilas_tests::http1::Response;
use nilas_tests::xml;

use super::{bucket, expect, server};

const LOCKED: &str = "Access Denied because object protected by object lock.";

fn set_versioning(client: &mut Client, bucket: &str, status: &str) {
    let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    let call = Call::bucket("PUT", bucket).query("versioning", "").body(body.as_bytes());
    expect(&client.send(&call).expect("versioning"), 200, "");
}

fn versioned(name: &str) -> Client {
    let mut client = bucket(name);
    set_versioning(&mut client, name, "Enabled");
    client
}

#[track_caller]
fn version_of(response: &Response) -> String {
    response
        .header("x-amz-version-id")
        .unwrap_or_else(|| panic!("no version in {}", response.head))
        .to_owned()
}

fn put(client: &mut Client, bucket: &str, key: &str, body: &[u8]) -> String {
    let response = client.put(bucket, key, body).expect("put");
    expect(&response, 200, "");
    version_of(&response)
}

fn ask(client: &mut Client, method: &str, bucket: &str, key: &str, version: &str) -> Response {
    let call = Call::object(method, bucket, key).query("versionId", version);
    client.send(&call).expect("an answer")
}

/// (tag, version, whether it is the latest) of all entries, page by page.
fn listed(client: &mut Client, bucket: &str, max: &str) -> Vec<(String, String, String)> {
    let (mut all, mut marker) = (Vec::new(), None);
    loop {
        let mut call = Call::bucket("GET", bucket).query("versions", "").query("max-keys", max);
        if let Some((key, version)) = marker {
            call = call.query("key-marker", key).query("version-id-marker", version);
        }
        let response = client.send(&call).expect("list");
        expect(&response, 200, "");
        let text = response.text();
        let mut page = Vec::new();
        for tag in ["Version", "DeleteMarker"] {
            for block in xml::blocks(&text, tag) {
                let get = |name: &str| xml::first(block, name).unwrap_or_default();
                let at = text.find(block).expect("it is in there");
                page.push((at, (format!("{tag} {}", get("Key")), get("VersionId"), get("IsLatest"))));
            }
        }
        page.sort();
        all.extend(page.into_iter().map(|(_, entry)| entry));
        match (xml::first(&text, "NextKeyMarker"), xml::first(&text, "NextVersionIdMarker")) {
            (Some(key), Some(version)) => marker = Some((key, version)),
            _ => return all,
        }
    }
}

#[test]
fn versions_are_kept_named_and_listed() {
    let b = "versions-kept";
    let mut client = bucket(b);
    let response = client.put(b, "k", b"zero").expect("put");
    assert_eq!(response.header("x-amz-version-id"), None, "no versions were ever asked for");
    set_versioning(&mut client, b, "Enabled");
    let got = client.send(&Call::bucket("GET", b).query("versioning", "")).expect("get").text();
    assert_eq!(xml::first(&got, "Status").as_deref(), Some("Enabled"));
    assert_eq!(version_of(&client.get(b, "k").expect("get")), "null");
    let (one, two) = (put(&mut client, b, "k", b"one"), put(&mut client, b, "k", b"two"));
    for (version, body) in [("null", &b"zero"[..]), (&one, b"one"), (&two, b"two")] {
        let response = ask(&mut client, "GET", b, "k", version);
        expect(&response, 200, "");
        assert_eq!((version_of(&response).as_str(), &response.body[..]), (version, body));
        let response = ask(&mut client, "HEAD", b, "k", version);
        assert_eq!((response.status, version_of(&response).as_str()), (200, version));
    }

    let response = client.delete(b, "k").expect("delete");
    expect(&response, 204, "");
    assert_eq!(response.header("x-amz-delete-marker"), Some("true"));
    let marker = version_of(&response);
    for method in ["GET", "HEAD"] {
        let response = client.send(&Call::object(method, b, "k")).expect("an answer");
        expect(&response, 404, if method == "GET" { "NoSuchKey" } else { "" });
        assert_eq!(response.header("x-amz-delete-marker"), Some("true"));
        assert_eq!(version_of(&response), marker);
        let response = ask(&mut client, method, b, "k", &marker);
        expect(&response, 405, if method == "GET" { "MethodNotAllowed" } else { "" });
        assert_eq!(response.header("x-amz-delete-marker"), Some("true"));
        assert_eq!(response.header("allow"), Some("DELETE"));
        assert!(response.header("last-modified").is_some());
    }
    let entry = |kind: &str, version: &str, latest: bool| {
        (format!("{kind} k"), version.to_owned(), latest.to_string())
    };
    let all = [
        entry("DeleteMarker", &marker, true),
        entry("Version", &two, false),
        entry("Version", &one, false),
        entry("Version", "null", false),
    ];
    for max in ["1", "2", "3", "1000"] {
        assert_eq!(listed(&mut client, b, max), all, "by {max}");
    }
    expect(&client.delete_bucket(b).expect("delete"), 409, "BucketNotEmpty");

    let response = ask(&mut client, "DELETE", b, "k", &marker);
    expect(&response, 204, "");
    assert_eq!((version_of(&response), response.header("x-amz-delete-marker")), (marker, Some("true")));
    assert_eq!(client.get(b, "k").expect("get").body, b"two", "without its marker the object is back");
    let response = ask(&mut client, "DELETE", b, "k", &two);
    expect(&response, 204, "");
    assert_eq!((version_of(&response), response.header("x-amz-delete-marker")), (two.clone(), None));
    assert_eq!(client.get(b, "k").expect("get").body, b"one");
    expect(&ask(&mut client, "GET", b, "k", &two), 404, "NoSuchVersion");
    expect(&ask(&mut client, "DELETE", b, "k", &two), 204, "");

    // Suspended: what is written is null, and replaces that alone.
    set_versioning(&mut client, b, "Suspended");
    assert_eq!(put(&mut client, b, "k", b"null"), "null");
    assert_eq!(
        listed(&mut client, b, "1000"),
        [entry("Version", "null", true), entry("Version", &one, false)]
    );
    let response = client.delete(b, "k").expect("delete");
    assert_eq!(
        (version_of(&response).as_str(), response.header("x-amz-delete-marker")),
        ("null", Some("true"))
    );
    assert_eq!(
        listed(&mut client, b, "1000"),
        [entry("DeleteMarker", "null", true), entry("Version", &one, false)]
    );
    let body = format!(
        "<Delete><Object><Key>k</Key><VersionId>null</VersionId></Object>\
         <Object><Key>k</Key><VersionId>{one}</VersionId></Object></Delete>"
    );
    let answer = delete_many(&mut client, b, &body, &[]).text();
    assert!(answer.contains("<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>null<"), "{answer}");
    assert_eq!(listed(&mut client, b, "1000"), []);
    expect(&client.delete_bucket(b).expect("delete"), 204, "");
}

fn delete_many(client: &mut Client, bucket: &str, body: &str, headers: &[(&str, &str)]) -> Response {
    let md5 = md5_base64(body.as_bytes());
    let mut call =
        Call::bucket("POST", bucket).query("delete", "").header("content-md5", md5).body(body.as_bytes());
    for (name, value) in headers {
        call = call.header(name, *value);
    }
    let response = client.send(&call).expect("delete");
    expect(&response, 200, "");
    response
}

#[test]
fn pages_stay_stable_while_versions_come_and_go() {
    let b = "versions-pages";
    let mut client = versioned(b);
    let versions: Vec<String> = (0..9_u8).map(|nth| put(&mut client, b, "k", &[nth])).collect();
    let page = |client: &mut Client, marker: Option<(&str, &str)>| {
        let mut call = Call::bucket("GET", b).query("versions", "").query("max-keys", "3");
        if let Some((key, version)) = marker {
            call = call.query("key-marker", key).query("version-id-marker", version);
        }
        client.send(&call).expect("list").text()
    };
    let first = page(&mut client, None);
    assert_eq!(xml::all(&first, "VersionId"), [&*versions[8], &versions[7], &versions[6]]);
    let next = xml::first(&first, "NextVersionIdMarker").expect("more");
    // New ones on top, and those of the page gone: the next page is what it was.
    put(&mut client, b, "k", b"new");
    for version in &versions[6..] {
        expect(&ask(&mut client, "DELETE", b, "k", version), 204, "");
    }
    let second = page(&mut client, Some(("k", &next)));
    assert_eq!(xml::all(&second, "VersionId"), [&*versions[5], &versions[4], &versions[3]]);
    assert_eq!(xml::all(&second, "IsLatest"), ["false", "false", "false"]);
    for key in ["a/1", "a/2", "z"] {
        put(&mut client, b, key, b"x");
    }
    let call = Call::bucket("GET", b).query("versions", "").query("delimiter", "/").query("max-keys", "1");
    let rolled = client.send(&call).expect("list").text();
    assert_eq!(xml::blocks(&rolled, "CommonPrefixes"), ["<Prefix>a/</Prefix>"]);
    assert_eq!(xml::first(&rolled, "NextKeyMarker").as_deref(), Some("a/"));
}

#[test]
fn copies_read_the_version_they_name() {
    let b = "versions-copies";
    let mut client = versioned(b);
    let (old, new) = (put(&mut client, b, "k", b"old"), put(&mut client, b, "k", b"new"));
    let copy = |client: &mut Client, source: String| {
        let call = Call::object("PUT", b, "k").header("x-amz-copy-source", source);
        client.send(&call).expect("copy")
    };
    let back = copy(&mut client, format!("/{b}/k?versionId={old}"));
    expect(&back, 200, "");
    assert_eq!(back.header("x-amz-copy-source-version-id"), Some(old.as_str()));
    let made = version_of(&back);
    assert!(made != old && made != new);
    assert_eq!(client.get(b, "k").expect("get").body, b"old");
    let marker = version_of(&client.delete(b, "k").expect("delete"));
    expect(&copy(&mut client, format!("/{b}/k")), 404, "NoSuchKey");
    expect(&copy(&mut client, format!("/{b}/k?versionId={marker}")), 400, "InvalidRequest");

    let (_, upload) = client.create_upload(b, "whole").expect("create");
    let call = Call::object("PUT", b, "whole").query("uploadId", upload.as_str()).query("partNumber", "1");
    let call = call.header("x-amz-copy-source", format!("/{b}/k?versionId={new}"));
    let part = client.send(&call).expect("copy a part");
    expect(&part, 200, "");
    assert_eq!(part.header("x-amz-copy-source-version-id"), Some(new.as_str()));
    let tag = xml::first(&part.text(), "ETag").expect("a tag");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        xml::escape(&tag)
    );
    let call = Call::object("POST", b, "whole").query("uploadId", upload.as_str()).body(body.as_bytes());
    let made = client.send(&call).expect("complete");
    expect(&made, 200, "");
    let version = version_of(&made);
    assert_eq!(ask(&mut client, "GET", b, "whole", &version).body, b"new");
    // Asked again, it says what it made and not which version.
    assert_eq!(client.send(&call).expect("again").header("x-amz-version-id"), None);
}

#[test]
fn what_versioning_may_be() {
    let b = "versions-states";
    let mut client = bucket(b);
    let set = |client: &mut Client, inner: &str| {
        let body = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
        client.send(&Call::bucket("PUT", b).query("versioning", "").body(body.as_bytes())).expect("set")
    };
    expect(&set(&mut client, ""), 400, "IllegalVersioningConfigurationException");
    expect(&set(&mut client, "<Status>On</Status>"), 400, "MalformedXML");
    let mfa = "<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>";
    expect(&set(&mut client, mfa), 501, "NotImplemented");
    let text = client.send(&Call::bucket("GET", b).query("versioning", "")).expect("get").text();
    assert!(!text.contains("<Status>"), "{text}");
    expect(&set(&mut client, "<Status>Suspended</Status>"), 200, "");
    assert_eq!(put(&mut client, b, "k", b"x"), "null");
}

/// A moment so many seconds ahead.
fn ahead(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let ms = u64::try_from((now + Duration::from_secs(seconds)).as_millis()).expect("soon");
    let at = nilas_engine::calendar::Civil::of_ms(ms);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", at.year, at.month, at.day, at.hour, at.minute, at.second)
}

fn locking(name: &str) -> Client {
    let mut client = server().client();
    let call = Call::bucket("PUT", name).header("x-amz-bucket-object-lock-enabled", "true");
    expect(&client.send(&call).expect("create"), 200, "");
    client
}

fn put_document(
    client: &mut Client,
    bucket: &str,
    key: &str,
    what: &str,
    version: &str,
    body: &str,
    bypass: bool,
) -> Response {
    let mut call =
        Call::object("PUT", bucket, key).query(what, "").query("versionId", version).body(body.as_bytes());
    if bypass {
        call = call.header("x-amz-bypass-governance-retention", "true");
    }
    client.send(&call).expect("an answer")
}

#[test]
fn what_a_lock_protects_stays() {
    let b = "locked-stays";
    let mut client = locking(b);
    let retention = |mode: &str, seconds| {
        format!(
            "<Retention><Mode>{mode}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            ahead(seconds)
        )
    };
    for (mode, bypassed) in [("GOVERNANCE", 204), ("COMPLIANCE", 403)] {
        let call = Call::object("PUT", b, mode)
            .header("x-amz-object-lock-mode", mode)
            .header("x-amz-object-lock-retain-until-date", ahead(3600))
            .body(b"kept");
        let response = client.send(&call).expect("put");
        expect(&response, 200, "");
        let version = version_of(&response);
        let head = ask(&mut client, "HEAD", b, mode, &version);
        assert_eq!(head.header("x-amz-object-lock-mode"), Some(mode));
        assert!(head.header("x-amz-object-lock-retain-until-date").is_some());
        // Lengthened by anybody, shortened by nobody who does not bypass.
        let mut set =
            |body: &str, bypass| put_document(&mut client, b, mode, "retention", &version, body, bypass);
        expect(&set(&retention(mode, 7200), false), 200, "");
        expect(&set(&retention(mode, 3600), false), 403, "AccessDenied");
        let other = if mode == "GOVERNANCE" { "COMPLIANCE" } else { "GOVERNANCE" };
        expect(&set(&retention(other, 9000), false), 403, "AccessDenied");
        let shorter = if bypassed == 204 { 200 } else { 403 };
        expect(&set(&retention(mode, 3600), true), shorter, "");
        expect(&set("<Retention/>", false), 403, "AccessDenied");
        let past = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2020-01-01T00:00:00Z</RetainUntilDate></Retention>";
        expect(&set(past, true), 400, "InvalidArgument");

        let refused = ask(&mut client, "DELETE", b, mode, &version);
        expect(&refused, 403, "AccessDenied");
        assert_eq!(xml::first(&refused.text(), "Message").as_deref(), Some(LOCKED));
        let body =
            format!("<Delete><Object><Key>{mode}</Key><VersionId>{version}</VersionId></Object></Delete>");
        let answer = delete_many(&mut client, b, &body, &[]).text();
        assert_eq!(xml::first(&answer, "Code").as_deref(), Some("AccessDenied"), "{answer}");
        // A marker removes nothing.
        let marked = client.delete(b, mode).expect("delete");
        expect(&marked, 204, "");
        assert_eq!(marked.header("x-amz-delete-marker"), Some("true"));
        assert_eq!(ask(&mut client, "GET", b, mode, &version).body, b"kept");
        let call = Call::object("DELETE", b, mode)
            .query("versionId", version.as_str())
            .header("x-amz-bypass-governance-retention", "true");
        expect(&client.send(&call).expect("delete"), bypassed, "");
    }

    let version = put(&mut client, b, "held", b"kept");
    let hold = |status: &str| format!("<LegalHold><Status>{status}</Status></LegalHold>");
    expect(&put_document(&mut client, b, "held", "legal-hold", &version, &hold("ON"), false), 200, "");
    let got = client.send(&Call::object("GET", b, "held").query("legal-hold", "")).expect("get").text();
    assert_eq!(xml::first(&got, "Status").as_deref(), Some("ON"));
    let call = Call::object("DELETE", b, "held")
        .query("versionId", version.as_str())
        .header("x-amz-bypass-governance-retention", "true");
    expect(&client.send(&call).expect("delete"), 403, "AccessDenied");
    expect(
        &put_document(&mut client, b, "held", "legal-hold", &version, &hold("x"), false),
        400,
        "MalformedXML",
    );
    expect(&put_document(&mut client, b, "held", "legal-hold", &version, &hold("OFF"), false), 200, "");
    expect(&client.send(&call).expect("delete"), 204, "");
    expect(
        &client.send(&Call::object("GET", b, "held").query("retention", "")).expect("get"),
        404,
        "NoSuchKey",
    );
    let suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    let call = Call::bucket("PUT", b).query("versioning", "").body(suspended.as_bytes());
    expect(&client.send(&call).expect("suspend"), 409, "InvalidBucketState");
    expect(&client.delete_bucket(b).expect("delete"), 409, "BucketNotEmpty");
}

#[test]
fn objects_begin_with_the_default_of_their_bucket() {
    let b = "locked-default";
    let mut client = locking(b);
    let set = |client: &mut Client, bucket: &str, rule: &str| {
        let body = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
        );
        client.send(&Call::bucket("PUT", bucket).query("object-lock", "").body(body.as_bytes())).expect("set")
    };
    let rule = |inner: &str| format!("<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>");
    for bad in ["<Mode>GOVERNANCE</Mode><Days>0</Days>", "<Mode>GOVERNANCE</Mode><Days>40000</Days>"] {
        expect(&set(&mut client, b, &rule(bad)), 400, "InvalidArgument");
    }
    for bad in ["<Mode>GOVERNANCE</Mode>", "<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"] {
        expect(&set(&mut client, b, &rule(bad)), 400, "MalformedXML");
    }
    expect(&set(&mut client, b, &rule("<Mode>GOVERNANCE</Mode><Days>2</Days>")), 200, "");
    let text = client.send(&Call::bucket("GET", b).query("object-lock", "")).expect("get").text();
    assert_eq!(
        (xml::first(&text, "Mode"), xml::first(&text, "Days")),
        (Some("GOVERNANCE".into()), Some("2".into()))
    );
    let (_, upload) = client.create_upload(b, "whole").expect("create");
    let part = client.put_part(b, "whole", &upload, 1, b"part").expect("part");
    let tag = part.header("etag").expect("a tag").to_owned();
    expect(&client.complete(b, "whole", &upload, &[(1, tag)]).expect("complete"), 200, "");
    put(&mut client, b, "k", b"x");
    for key in ["whole", "k"] {
        let head = client.head(b, key).expect("head");
        assert_eq!(head.header("x-amz-object-lock-mode"), Some("GOVERNANCE"), "{key}");
        let until = head.header("x-amz-object-lock-retain-until-date").expect("an end");
        assert!(*until > *ahead(2 * 86_400 - 60) && *until < *ahead(2 * 86_400 + 60), "{until}");
        expect(&ask(&mut client, "DELETE", b, key, &version_of(&head)), 403, "AccessDenied");
    }

    // Without object lock there is nothing to set, and without versions no object lock.
    let plain = "locked-never";
    let mut client = bucket(plain);
    expect(&set(&mut client, plain, ""), 409, "InvalidBucketState");
    expect(&client.put(plain, "k", b"x").expect("put"), 200, "");
    let call = Call::object("PUT", plain, "k").header("x-amz-object-lock-legal-hold", "ON").body(b"y");
    let refused = client.send(&call).expect("put");
    expect(&refused, 400, "InvalidRequest");
    let message = xml::first(&refused.text(), "Message");
    assert_eq!(message.as_deref(), Some("Bucket is missing Object Lock Configuration"));
    for what in ["retention", "legal-hold"] {
        let response = client.send(&Call::object("GET", plain, "k").query(what, "")).expect("get");
        expect(&response, 400, "InvalidRequest");
    }
    set_versioning(&mut client, plain, "Enabled");
    expect(&set(&mut client, plain, ""), 200, "");
}
