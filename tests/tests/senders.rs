//! Who sends, on the wire: throttling of failed proofs, the audit log, and the pages about who there is.
//!
//! Each test has a server of its own, started with the options that it is about.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::http1::Response;
use nilas_tests::server::{ACCESS_KEY, SECRET_KEY, Server, ServerOptions};
use serde_json::{Value, json};

fn start(arguments: &[&str]) -> Server {
    let arguments = arguments.iter().map(Into::into).collect();
    let options = ServerOptions { arguments, ..ServerOptions::fresh() }.drive_size("512MiB");
    Server::start(options).unwrap_or_else(|error| panic!("{error}"))
}

fn ask(client: &mut Client, call: &Call<'_>) -> Response {
    client.send(call).expect("an answer")
}

/// Sends a page's request and reads its JSON.
#[track_caller]
fn page(client: &mut Client, status: u16, call: &Call<'_>) -> Value {
    let answer = ask(client, call);
    assert_eq!(answer.status, status, "{} {}: {}", call.method, call.path, answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

#[track_caller]
fn post(client: &mut Client, status: u16, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    page(client, status, &Call::new("POST", path).payload(Payload::Signed).body(body.as_bytes()))
}

/// A user made by a form of the IAM API, with a policy of its own.
fn make_user(server: &Server, name: &str, policy: Option<&Value>) {
    let mut root = server.client();
    root.signer.service = "iam".to_owned();
    let mut form = |form: String| {
        let call = Call::new("POST", "/")
            .header("content-type", "application/x-www-form-urlencoded")
            .payload(Payload::Signed)
            .body(form.as_bytes());
        let answer = ask(&mut root, &call);
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
    };
    form(format!("Action=CreateUser&Version=2010-05-08&UserName={name}"));
    if let Some(policy) = policy {
        let document: String = policy.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        form(format!(
            "Action=PutUserPolicy&Version=2010-05-08&UserName={name}&PolicyName=own&PolicyDocument={document}"
        ));
    }
}

/// A client with a new key of a user.
fn key_of(server: &Server, asked: &Value) -> Client {
    let made = post(&mut server.client(), 200, "/_nilas/keys", asked);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    Client::new(server.address(), &text("access_key"), &text("secret_key"))
}

fn policy(statements: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Lines of the audit log once there are `count`, or as many as there are after a while.
fn lines(path: &Path, count: usize) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        if count <= lines.len() || end < Instant::now() {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn failures_are_slowed_and_other_keys_are_not() {
    let server = start(&["--auth-failures-per-minute", "20", "--cores", "1"]);
    make_user(&server, "alice", None);
    let mut alice = key_of(&server, &json!({ "user": "alice" }));
    let mut wrong = Client::new(server.address(), ACCESS_KEY, "not the secret at all");
    let list = Call::get("/");
    for nth in 0..20 {
        let refused = ask(&mut wrong, &list);
        assert_eq!((refused.status, refused.code().as_str()), (403, "SignatureDoesNotMatch"), "{nth}");
    }
    let slowed = ask(&mut wrong, &list);
    assert_eq!((slowed.status, slowed.code().as_str()), (503, "SlowDown"));
    assert!(slowed.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|s| s >= 1)));
    // A right signature is served, whatever failed before it from here.
    assert_eq!(ask(&mut server.client(), &list).status, 200);
    // Others who fail from the same address are slowed as well, in the words of each API.
    let mut nobody = Client::new(server.address(), "NOSUCHKEY", SECRET_KEY);
    assert_eq!(ask(&mut nobody, &list).status, 503);
    let bearer = Call::get("/_iceberg/v1/config").unsigned().header("authorization", "Bearer no.token");
    let slowed = ask(&mut server.client(), &bearer);
    assert_eq!(slowed.status, 429, "{}", slowed.text());
    assert!(slowed.text().contains("SlowDownException"), "{}", slowed.text());
    let form = format!("grant_type=client_credentials&client_id={ACCESS_KEY}&client_secret=wrong");
    let token = Call::new("POST", "/_iceberg/v1/oauth/tokens")
        .unsigned()
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.as_bytes());
    let slowed = ask(&mut server.client(), &token);
    assert_eq!(slowed.status, 429, "{}", slowed.text());
    assert!(slowed.text().contains("slow_down"), "{}", slowed.text());
    // Far beyond, the key is not verified from here: nobody learns which signature is right.
    for _ in 0..60 {
        ask(&mut wrong, &list);
    }
    let right = ask(&mut server.client(), &list);
    assert_eq!((right.status, right.code().as_str()), (503, "SlowDown"));
    assert!(server.metric("nilas_auth_unverified_total", "") > 0);
    assert!(server.metric("nilas_auth_slowed_total", "") > 0);
    // Another key is, from the same address.
    assert_eq!(ask(&mut alice, &Call::get("/_nilas/whoami")).status, 200);
}

#[test]
fn a_server_without_the_limit_slows_nobody() {
    let server = start(&["--auth-failures-per-minute", "0"]);
    let mut wrong = Client::new(server.address(), ACCESS_KEY, "not the secret at all");
    for nth in 0..1_500 {
        assert_eq!(ask(&mut wrong, &Call::get("/")).status, 403, "{nth}");
    }
    assert_eq!(ask(&mut server.client(), &Call::get("/")).status, 200);
    assert_eq!(server.metric("nilas_auth_failures_total", ""), 1_500);
    assert_eq!(server.metric("nilas_auth_slowed_total", ""), 0);
}

#[test]
fn the_audit_log_has_refusals_and_changes() {
    let directory = nilas_tests::server::fresh_directory();
    fs::create_dir_all(&directory).expect("made");
    let path = directory.join("audit.log");
    let server = start(&["--audit-log", path.to_str().expect("UTF-8")]);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let mut root = server.client();
    assert_eq!(root.create_bucket("audited").expect("create").status, 200);
    let put = Call::object("PUT", "audited", "k\u{202e}").body(b"x").header("user-agent", "agent/1");
    assert_eq!(ask(&mut root, &put).status, 200);
    assert_eq!(root.get("audited", "k\u{202e}").expect("get").status, 200);
    let mut wrong = Client::new(server.address(), ACCESS_KEY, "not the secret at all");
    assert_eq!(ask(&mut wrong, &Call::get("/")).status, 403);
    assert_eq!(ask(&mut root, &Call::object("GET", "audited", "k").unsigned()).status, 403);
    let date = root.amz_date();
    let url = root.presign("PUT", "/audited/signed", &[], &date, 60);
    assert_eq!(ask(&mut root, &Call::new("PUT", &url).unsigned().body(b"x")).status, 200);

    let found = lines(&path, 5);
    // Cores write their lines one after the other.
    let mut seen: Vec<_> = found
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (
                text("operation"),
                text("outcome"),
                line["principal"]["kind"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    seen.sort();
    let want = [
        ("CreateBucket", "done", "root"),
        ("GetObject", "refused", "anonymous"),
        ("ListBuckets", "unproven", "unproven"),
        ("PutObject", "done", "root"),
        ("PutObject", "done", "root"),
    ];
    assert_eq!(seen.len(), want.len(), "{seen:?}");
    for (got, want) in seen.iter().zip(want) {
        assert_eq!((got.0.as_str(), got.1.as_str(), got.2.as_str()), want);
    }
    let put = found.iter().find(|line| line["user_agent"] == "agent/1").expect("the put of that agent");
    assert_eq!(put["action"], "s3:PutObject");
    assert_eq!(put["resource"], "arn:aws:s3:::audited/k\u{202e}");
    assert_eq!(put["source"], "127.0.0.1");
    assert_eq!(put["user_agent"], "agent/1");
    let unproven = found.iter().find(|line| line["outcome"] == "unproven").expect("a wrong secret");
    assert_eq!(unproven["principal"]["access_key"], ACCESS_KEY);
    assert_eq!(found[2]["error"], "SignatureDoesNotMatch");
    assert_eq!(found[3]["statement"], "no policy allows it");
    let text = fs::read_to_string(&path).expect("read");
    for never in [SECRET_KEY, "X-Amz-Signature", "X-Amz-Credential", "\u{202e}"] {
        assert!(!text.contains(never), "{never}: {text}");
    }

    let newest =
        page(&mut root, 200, &Call::get("/_nilas/audit").query("limit", "1").query("outcome", "refused"));
    assert_eq!(newest["events"].as_array().map(Vec::len), Some(1), "{newest}");
    assert_eq!(newest["events"][0]["operation"], "GetObject");

    // Renamed away, it is made anew.
    fs::rename(&path, directory.join("audit.log.1")).expect("renamed");
    assert_eq!(root.put("audited", "l", b"x").expect("put").status, 200);
    assert_eq!(lines(&path, 1).len(), 1);
    assert!(server.metric("nilas_audit_lines_total", "") >= 5);
    drop(server);
    drop(fs::remove_dir_all(directory));
}

/// The first line that is so, once it is there.
#[track_caller]
fn line_where(path: &Path, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let found = lines(path, 0).into_iter().find(|line| is(line));
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < end, "{:?}", lines(path, 0));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_log_leads_from_a_session_to_its_maker_and_from_a_late_url_to_its_key() {
    let directory = nilas_tests::server::fresh_directory();
    fs::create_dir_all(&directory).expect("made");
    let path = directory.join("audit.log");
    let server = start(&["--audit-log", path.to_str().expect("UTF-8")]);
    let form = |client: &mut Client, form: &str| {
        client.signer.service = "sts".to_owned();
        let call = Call::new("POST", "/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.as_bytes());
        let answer = ask(client, &call);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let of = |xml: &str, tag: &str| {
        let rest = xml.split_once(&format!("<{tag}>")).expect("the element").1;
        rest.split_once('<').expect("its end").0.to_owned()
    };
    let session = form(&mut server.client(), "Action=AssumeRole&Version=2011-06-15&RoleSessionName=job");
    let line = line_where(&path, |line| line["issued"]["access_key"] == of(&session, "AccessKeyId"));
    assert_eq!(line["operation"], "AssumeRole");
    assert_eq!(line["principal"]["access_key"], ACCESS_KEY);
    assert_eq!((&line["issued"]["kind"], &line["issued"]["session"]), (&json!("session"), &json!("job")));
    let token = form(&mut server.client(), "Action=GetSessionToken&Version=2011-06-15");
    line_where(&path, |line| line["issued"]["access_key"] == of(&token, "AccessKeyId"));
    form(&mut server.client(), "Action=GetCallerIdentity&Version=2011-06-15");
    let credentials =
        format!("grant_type=client_credentials&client_id={ACCESS_KEY}&client_secret={SECRET_KEY}");
    let call = |body: &'static [u8]| {
        Call::new("POST", "/_iceberg/v1/oauth/tokens")
            .unsigned()
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    };
    let bearer = page(&mut server.client(), 200, &call(credentials.leak().as_bytes()));
    line_where(&path, |line| {
        line["issued"]["kind"] == "bearer" && line["issued"]["access_key"] == ACCESS_KEY
    });
    // Who failed is shown how to prove itself.
    let basic = call(b"grant_type=client_credentials").header("authorization", "Basic QUs6bm9wZQ==");
    let refused = ask(&mut server.client(), &basic);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Basic realm=\"nilas\"")));
    let mut root = server.client();
    let url = root.presign("GET", "/audited/late", &[], "20200101T000000Z", 60);
    assert_eq!(ask(&mut root, &Call::new("GET", &url).unsigned()).status, 403);
    let late = line_where(&path, |line| line["operation"] == "GetObject");
    assert_eq!(
        (&late["principal"]["kind"], &late["principal"]["access_key"]),
        (&json!("unproven"), &json!(ACCESS_KEY))
    );
    let text = fs::read_to_string(&path).expect("read");
    assert!(!text.contains("GetCallerIdentity"), "{text}");
    let bearer = bearer["access_token"].as_str().expect("a token").to_owned();
    let secrets = [&session, &token].map(|xml| [of(xml, "SecretAccessKey"), of(xml, "SessionToken")]);
    for never in secrets.iter().flatten().map(String::as_str).chain([SECRET_KEY, &bearer]) {
        assert!(!text.contains(never), "{never}: {text}");
    }
    drop(server);
    drop(fs::remove_dir_all(directory));
}

#[test]
fn an_audit_log_that_cannot_be_written_stops_the_start() {
    let options = ServerOptions {
        arguments: vec!["--audit-log".into(), "/".into()],
        ..ServerOptions::fresh().drive_size("512MiB")
    };
    let Err(error) = Server::start(options) else { panic!("a directory is no log") };
    assert!(error.stderr.contains("audit log /: "), "{error}");
}

#[test]
fn pages_about_who_there_is() {
    let server = start(&[]);
    let mut root = server.client();
    assert_eq!(root.create_bucket("held").expect("create").status, 200);
    let reads = policy(json!([
        { "Sid": "Reads", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::held/*" },
        { "Sid": "Lists", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::held",
          "Condition": { "StringLike": { "s3:prefix": "a/*" } } },
    ]));
    make_user(&server, "alice", Some(&reads));
    make_user(&server, "bob", None);
    let mut alice = key_of(&server, &json!({ "user": "alice", "name": "ci", "expires_s": 3600 }));

    let me = page(&mut alice, 200, &Call::get("/_nilas/whoami"));
    assert_eq!((&me["kind"], &me["user"], &me["key_name"]), (&json!("user"), &json!("alice"), &json!("ci")));
    assert_eq!(me["policies"], json!(["own"]));
    assert!(me["expires"].is_string() && me["arn"].as_str().is_some_and(|arn| arn.ends_with(":user/alice")));
    assert_eq!(page(&mut root, 200, &Call::get("/_nilas/whoami"))["kind"], "root");
    assert_eq!(
        page(&mut root, 403, &Call::get("/_nilas/whoami").unsigned())["error"]["code"],
        "AccessDenied"
    );

    // No other page is hers, nor anybody's who shows nothing.
    let calls = [
        ("GET", "/_nilas/simulate"),
        ("POST", "/_nilas/simulate"),
        ("GET", "/_nilas/who-can"),
        ("GET", "/_nilas/owners"),
        ("POST", "/_nilas/owners"),
        ("GET", "/_nilas/users"),
        ("GET", "/_nilas/audit"),
    ];
    for (method, path) in calls {
        assert_eq!(
            page(&mut alice, 403, &Call::new(method, path))["error"]["code"],
            "AccessDenied",
            "{path}"
        );
        assert_eq!(ask(&mut root, &Call::new(method, path).unsigned()).status, 403, "{path}");
    }
    post(&mut alice, 403, "/_nilas/keys", &json!({ "user": "alice" }));
    post(&mut alice, 403, "/_nilas/users/bob", &json!({ "enabled": false }));

    let simulate = |root: &mut Client, who: &str, action: &str, resource: &str, context: &[(&str, &str)]| {
        let call = Call::get("/_nilas/simulate")
            .query("as", who)
            .query("action", action)
            .query("resource", resource);
        let call =
            context.iter().fold(call, |call, (key, value)| call.query(&format!("context.{key}"), *value));
        page(root, 200, &call)
    };
    let get = simulate(&mut root, "alice", "s3:GetObject", "arn:aws:s3:::held/k", &[]);
    assert_eq!(get["allowed"], true);
    assert!(get["statement"].as_str().is_some_and(|statement| statement.contains("Reads")), "{get}");
    let put = simulate(&mut root, "alice", "s3:PutObject", "arn:aws:s3:::held/k", &[]);
    assert_eq!((&put["allowed"], &put["decision"]), (&json!(false), &json!("no policy allows it")));
    for (prefix, want) in [("a/b", true), ("b", false)] {
        let listed =
            simulate(&mut root, "alice", "s3:ListBucket", "arn:aws:s3:::held", &[("s3:prefix", prefix)]);
        assert_eq!(listed["allowed"], want, "{prefix}");
        let body = json!({
            "as": "alice", "action": "s3:ListBucket", "resource": "arn:aws:s3:::held",
            "context": { "s3:prefix": prefix },
        });
        assert_eq!(post(&mut root, 200, "/_nilas/simulate", &body), listed);
    }
    let nobody =
        Call::get("/_nilas/simulate").query("as", "x").query("action", "s3:GetObject").query("resource", "*");
    assert_eq!(page(&mut root, 404, &nobody)["error"]["code"], "NoSuchEntity");
    let odd = Call::get("/_nilas/simulate")
        .query("as", "alice")
        .query("action", "s3:GetObject")
        .query("resource", "k");
    assert_eq!(page(&mut root, 400, &odd)["error"]["code"], "InvalidInput");

    let who = |root: &mut Client, action: &str| {
        let call =
            Call::get("/_nilas/who-can").query("action", action).query("resource", "arn:aws:s3:::held/k");
        let found = page(root, 200, &call);
        let who = found["who"].as_array().expect("a list").iter().map(|one| {
            format!(
                "{} {}",
                one["kind"].as_str().unwrap_or_default(),
                one["name"].as_str().unwrap_or_default()
            )
        });
        who.collect::<Vec<_>>()
    };
    assert_eq!(who(&mut root, "s3:GetObject"), ["root root", "user alice"]);
    assert_eq!(who(&mut root, "s3:PutObject"), ["root root"]);

    // A bucket changes hands, and with it what its owner may do.
    assert_eq!(page(&mut root, 200, &Call::get("/_nilas/owners"))["buckets"][0]["user"], "root");
    post(&mut root, 200, "/_nilas/owners", &json!({ "bucket": "held", "user": "bob" }));
    let owners = page(&mut root, 200, &Call::get("/_nilas/owners"));
    assert_eq!(
        (&owners["buckets"][0]["bucket"], &owners["buckets"][0]["user"]),
        (&json!("held"), &json!("bob"))
    );
    assert_eq!(who(&mut root, "s3:PutObject"), ["root root", "user bob"]);
    let mut bob = key_of(&server, &json!({ "user": "bob" }));
    assert_eq!(bob.put("held", "k", b"x").expect("put").status, 200);
    assert_eq!(alice.get("held", "k").expect("get").status, 200);
    post(&mut root, 404, "/_nilas/owners", &json!({ "bucket": "none", "user": "bob" }));
    post(&mut root, 404, "/_nilas/owners", &json!({ "bucket": "held", "user": "none" }));

    // A key that may less than its user.
    let narrow = policy(json!([{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" }]));
    let mut reader = key_of(&server, &json!({ "user": "bob", "policy": narrow }));
    assert_eq!(reader.get("held", "k").expect("get").status, 200);
    assert_eq!(reader.put("held", "k", b"y").expect("put").status, 403);
    let users = page(&mut root, 200, &Call::get("/_nilas/users").query("user", "bob"));
    assert_eq!(users["users"][0]["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(users["users"][0]["keys"][1]["policy"], true);

    // Switched off at once, and on again.
    post(&mut root, 200, "/_nilas/users/bob", &json!({ "enabled": false, "revoke_sessions": true }));
    assert_eq!(bob.get("held", "k").expect("get").status, 403);
    assert_eq!(who(&mut root, "s3:PutObject"), ["root root"]);
    post(&mut root, 200, "/_nilas/users/bob", &json!({ "enabled": true }));
    assert_eq!(bob.get("held", "k").expect("get").status, 200);
    for (body, code) in [
        (json!({}), "InvalidInput"),
        (json!({ "enable": true }), "InvalidInput"),
        (json!({ "enabled": 1 }), "InvalidInput"),
    ] {
        assert_eq!(post(&mut root, 400, "/_nilas/users/bob", &body)["error"]["code"], code, "{body}");
    }
    let long = json!({ "user": "bob", "name": "x".repeat(100_000) });
    post(&mut root, 400, "/_nilas/keys", &long);
}
