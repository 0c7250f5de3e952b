//! The command line against a running server: every command with its text, its JSON, its exit codes, and who may.
//!
//! The server and the commands are the same binary, each in a process of its own. Names of users are those of the test, so
//! that tests share nothing.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::server::{self, Server, ServerOptions};
use nilas_tests::sign::{self, Signer};
use serde_json::{Value, json};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 3;
const DENIED: i32 = 4;
const CONFLICT: i32 = 5;
const UNAVAILABLE: i32 = 6;

const READ_WEB: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Web","Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::web/*"}]}"#;
const NO_SECRETS: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"NoSecrets","Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::web/secret/*"}]}"#;

const ASSUME: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}"#;

/// A server and a folder for files.
struct World {
    server: Server,
    folder: PathBuf,
}

/// What a command came to.
struct Ran {
    command: String,
    code: i32,
    out: String,
    err: String,
}

/// A key as commands print it.
#[derive(Clone)]
struct Key {
    access: String,
    secret: String,
    token: Option<String>,
}

impl World {
    fn new() -> World {
        let server = Server::fresh();
        let folder = server::fresh_directory();
        fs::create_dir_all(&folder).expect("a folder");
        World { server, folder }
    }

    fn root(&self) -> Key {
        let (access, secret) = self.server.root_key();
        Key { access: access.to_owned(), secret: secret.to_owned(), token: None }
    }

    /// Runs a command as root.
    fn run(&self, command: &str) -> Ran {
        self.run_as(&self.root(), command)
    }

    /// Runs a command, its words apart at blanks, with a key.
    fn run_as(&self, key: &Key, command: &str) -> Ran {
        let mut program = self.program(command);
        program.env("NILAS_ACCESS_KEY", &key.access).env("NILAS_SECRET_KEY", &key.secret);
        if let Some(token) = &key.token {
            program.env("NILAS_SESSION_TOKEN", token);
        }
        ran(command, program.output().expect("it starts"))
    }

    /// A command without a key.
    fn program(&self, command: &str) -> Command {
        let binary = server::binary("nilas", "NILAS_BIN").unwrap_or_else(|error| panic!("{error}"));
        let mut program = Command::new(binary);
        program.args(command.split(' ').filter(|word| !word.is_empty()));
        program.current_dir(&self.folder).env_clear().stdin(Stdio::null());
        program.env("NILAS_ENDPOINT", format!("http://{}", self.server.address()));
        program
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// A user with a key.
    fn user(&self, name: &str) -> Key {
        self.run(&format!("user add {name}")).done();
        self.key(&format!("--user {name}"))
    }

    /// Lets a user make sessions.
    fn lets_assume(&self, user: &str) {
        self.file("assume.json", ASSUME);
        self.run("policy create assume assume.json").done();
        self.run(&format!("policy attach assume --user {user}")).done();
    }

    fn key(&self, options: &str) -> Key {
        key_of(&self.run(&format!("key create {options} --json")).one())
    }

    fn client(&self, key: &Key) -> Client {
        let mut client = Client::new(self.server.address(), &key.access, &key.secret);
        client.single_headers = true;
        client
    }

    /// The status of a GET with a key.
    fn status(&self, key: &Key, bucket: &str, object: &str) -> u16 {
        let call = Call::object("GET", bucket, object);
        let call = match &key.token {
            Some(token) => call.header("x-amz-security-token", token.as_str()),
            None => call,
        };
        self.client(key).send(&call).expect("an answer").status
    }

    /// A bucket of root with an object.
    fn bucket(&self, name: &str, key: &str) {
        let mut client = self.server.client();
        assert_eq!(client.create_bucket(name).expect("an answer").status, 200);
        assert_eq!(client.put(name, key, b"hello").expect("an answer").status, 200);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // In the way of nobody if it stays.
        let _gone = fs::remove_dir_all(&self.folder);
    }
}

impl Ran {
    #[track_caller]
    fn code(self, expected: i32) -> Ran {
        assert_eq!(self.code, expected, "{self}");
        self
    }

    #[track_caller]
    fn done(self) -> String {
        let ran = self.code(DONE);
        assert_eq!(ran.err, "", "{ran}");
        ran.out
    }

    /// Each line as JSON.
    #[track_caller]
    fn lines(self) -> Vec<Value> {
        self.done()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect()
    }

    /// One document.
    #[track_caller]
    fn one(self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    /// The error that standard error holds as JSON.
    #[track_caller]
    fn error(self, code: i32) -> Value {
        let ran = self.code(code);
        assert_eq!(ran.out, "", "{ran}");
        let document: Value = serde_json::from_str(&ran.err).unwrap_or_else(|e| panic!("{ran}: {e}"));
        document["error"].clone()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nilas {}: code {}\n{}\n{}", self.command, self.code, self.out, self.err)
    }
}

fn ran(command: &str, output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran {
        command: command.to_owned(),
        code: output.status.code().expect("no signal ended it"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn key_of(document: &Value) -> Key {
    let word = |field: &str| document[field].as_str().map(str::to_owned);
    Key {
        access: word("access_key").expect("an access key"),
        secret: word("secret_key").expect("a secret"),
        token: word("session_token"),
    }
}

#[track_caller]
fn fields(document: &Value, expected: &[&str]) {
    let found: Vec<&str> = document.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(found, expected, "{document}");
}

#[test]
fn users_and_groups() {
    let world = World::new();
    let added = world.run("user add ana --json").one();
    fields(&added, &["user", "id", "arn", "path", "created"]);
    assert!(added["arn"].as_str().expect("text").ends_with(":user/ana"), "{added}");
    assert!(world.run("user add bob").done().contains("nilas key create --user bob"));
    let error = world.run("user add ana --json").error(CONFLICT);
    assert_eq!((&error["exit"], &error["code"]), (&json!("conflict"), &json!("EntityAlreadyExists")));

    let users = world.run("user list --json").lines();
    fields(&users[0], &["user", "id", "arn", "path", "created", "enabled"]);
    let names: Vec<&Value> = users.iter().map(|user| &user["user"]).collect();
    assert_eq!(names, ["ana", "bob"]);
    assert_eq!(users[0]["enabled"], true);
    let table = world.run("user list").done();
    assert!(table.starts_with("USER  STATE    ID") && table.contains("ana   enabled"), "{table}");

    let group = world.run("group add dev --json").one();
    fields(&group, &["group", "id", "arn", "created"]);
    world.run("group add dev").code(CONFLICT);
    assert_eq!(
        world.run("group join dev ana bob --json").one(),
        json!({ "group": "dev", "users": ["ana", "bob"], "member": true })
    );
    world.run("group join dev nobody").code(NOT_FOUND);
    world.run("group join none ana").code(NOT_FOUND);
    world.run("policy attach readonly --group dev").done();
    world.run("group leave dev bob").done();
    let groups = world.run("group list --json").lines();
    fields(&groups[0], &["group", "id", "arn", "created", "members", "policies", "inline_policies"]);
    assert_eq!((&groups[0]["members"], &groups[0]["policies"]), (&json!(["ana"]), &json!(["readonly"])));
    assert!(world.run("group list").done().contains("dev    ana      readonly  -"));

    let key = world.key("--user ana --name laptop");
    world.run("policy attach readwrite --user ana").done();
    let shown = world.run("user show ana --json").one();
    let known = [
        "user",
        "id",
        "arn",
        "path",
        "created",
        "enabled",
        "owner_id",
        "groups",
        "policies",
        "inline_policies",
        "keys",
    ];
    fields(&shown, &known);
    assert_eq!((&shown["groups"], &shown["policies"]), (&json!(["dev"]), &json!(["readwrite"])));
    assert_eq!(shown["keys"][0]["access_key"], json!(key.access));
    assert_eq!(shown["owner_id"].as_str().map(str::len), Some(64));
    assert!(world.run("user show ana").done().contains(&key.access));
    world.run("user show nobody").code(NOT_FOUND);

    // What holds a user or a group is said, and nothing is changed.
    let error = world.run("user rm ana --json").error(CONFLICT);
    let why = error["why"].as_str().expect("text");
    for held in [key.access.as_str(), "readwrite", "dev"] {
        assert!(why.contains(held), "{why}");
    }
    assert_eq!(error["next"], "nilas user rm ana --force");
    assert!(world.run("group rm dev").code(CONFLICT).err.contains("members ana"));
    assert_eq!(world.run("user show ana --json").one(), shown);
    let removed = world.run("user rm ana --force --json").one();
    assert_eq!(
        removed,
        json!({ "user": "ana", "removed": true, "keys": [key.access], "policies": ["readwrite"],
                "inline_policies": [], "groups": ["dev"] })
    );
    world.run_as(&key, "sts whoami").code(DENIED);
    world.run("user rm ana").code(NOT_FOUND);
    world.run("group rm dev --force").done();
    world.run("group rm dev").code(NOT_FOUND);
    world.run("user rm bob").done();
    assert_eq!(world.run("user list --json").lines(), [] as [Value; 0]);
}

#[test]
fn a_disabled_user_can_do_nothing() {
    let world = World::new();
    world.bucket("web", "a");
    let key = world.user("ana");
    world.run("policy attach readonly --user ana").done();
    world.lets_assume("ana");
    assert_eq!(world.status(&key, "web", "a"), 200);
    let session = key_of(&world.run_as(&key, "sts assume --json").one());
    assert_eq!(world.status(&session, "web", "a"), 200);

    assert_eq!(world.run("user disable ana --json").one(), json!({ "user": "ana", "enabled": false }));
    assert_eq!(world.status(&key, "web", "a"), 403);
    assert_ne!(world.status(&session, "web", "a"), 200);
    assert_eq!(world.run("user show ana --json").one()["enabled"], false);
    assert!(world.run("user list").done().contains("ana   disabled"));
    world.run_as(&key, "sts whoami").code(DENIED);

    world.run("user enable ana").done();
    assert_eq!(world.status(&key, "web", "a"), 200);
    assert_ne!(world.status(&session, "web", "a"), 200, "its sessions ended for good");
    world.run("user enable nobody").code(NOT_FOUND);
}

#[test]
fn keys() {
    let world = World::new();
    world.bucket("web", "public/a");
    world.run("user add ana").done();
    world.run("policy attach readonly --user ana").done();
    let plain = world.run("key create --user ana --json").one();
    fields(&plain, &["user", "access_key", "secret_key"]);
    assert_eq!(world.status(&key_of(&plain), "web", "public/a"), 200);

    // Lines for a shell.
    let text = world.run("key create --user ana --name shell").done();
    let path = world.file("ana.env", &text);
    let sourced = Command::new("sh")
        .arg("-c")
        .arg(". ./ana.env; printf '%s %s' \"$NILAS_ACCESS_KEY\" \"$NILAS_SECRET_KEY\"")
        .current_dir(&world.folder)
        .output()
        .expect("a shell");
    let sourced = String::from_utf8(sourced.stdout).expect("text");
    let (access, secret) = sourced.split_once(' ').expect("two");
    let shell = Key { access: access.to_owned(), secret: secret.to_owned(), token: None };
    assert_eq!(world.status(&shell, "web", "public/a"), 200, "{}", path.display());

    // Narrowed by a policy of its own, and ended by its time.
    world.file("none.json", NO_SECRETS);
    let narrow = world.run("key create --user ana --name ci --expires 1h --policy none.json --json").one();
    fields(&narrow, &["user", "access_key", "secret_key", "name", "expires"]);
    assert_eq!(world.status(&key_of(&narrow), "web", "public/a"), 403, "nothing in its policy allows it");
    let short = world.run("key create --user ana --expires 1s --json").one();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(world.status(&key_of(&short), "web", "public/a"), 403);

    let keys = world.run("key list --user ana --json").lines();
    fields(&keys[0], &["access_key", "user", "name", "enabled", "policy", "expires", "created"]);
    let found = |name: &str| keys.iter().find(|key| key["name"] == name).expect("it is listed");
    assert_eq!((&found("ci")["policy"], &found("ci")["expires"]), (&json!(true), &narrow["expires"]));
    assert_eq!((&found("shell")["policy"], &found("shell")["expires"]), (&json!(false), &Value::Null));
    assert_eq!(world.run("key list --json").lines().len(), keys.len());
    for listed in [world.run("key list --json"), world.run("key list"), world.run("user show ana --json")] {
        assert!(!listed.out.contains(&shell.secret), "{listed}");
    }
    world.run("key list --user nobody").code(NOT_FOUND);

    assert_eq!(
        world.run(&format!("key rm {} --json", shell.access)).one(),
        json!({ "access_key": shell.access, "user": "ana", "removed": true })
    );
    assert_eq!(world.status(&shell, "web", "public/a"), 403);
    assert_ne!(world.run(&format!("key rm {}", shell.access)).code, DONE);
    world.run(&format!("key rm {} --user ana", shell.access)).code(NOT_FOUND);
    world.run("key create --user nobody").code(NOT_FOUND);
    world.run("key create --user ana --expires soon").code(USAGE);
    world.run("key create --user ana --policy missing.json").code(USAGE);
    world.file("bad.json", "{\"Version\":\"2012-10-17\"}");
    let error = world.run("key create --user ana --policy bad.json --json").error(FAILED);
    assert_eq!(error["exit"], "failed", "{error}");
}

#[test]
fn policies() {
    let world = World::new();
    world.bucket("web", "a");
    let key = world.user("ana");
    world.file("web.json", READ_WEB);
    let made = world.run("policy create web web.json --json").one();
    assert_eq!(
        made,
        json!({ "policy": "web", "version": "v1", "created": true, "changed": true, "removed_version": null })
    );
    assert_eq!(world.status(&key, "web", "a"), 403);
    let attached = world.run("policy attach web --user ana --json").one();
    fields(&attached, &["policy", "arn", "attached", "user"]);
    assert_eq!(world.status(&key, "web", "a"), 200);

    // The same again changes nothing; another document is a version, in force at once.
    assert_eq!(world.run("policy create web web.json --json").one()["changed"], false);
    world.file("deny.json", NO_SECRETS);
    assert!(world.run("policy create web deny.json").done().contains("version v2"));
    assert_eq!(world.status(&key, "web", "a"), 403);
    for number in 3..=5 {
        let other = READ_WEB.replace("Web", &format!("Web{number}"));
        world.file("other.json", &other);
        assert_eq!(world.run("policy create web other.json --json").one()["version"], format!("v{number}"));
    }
    world.file("other.json", &READ_WEB.replace("Web", "Web6"));
    let sixth = world.run("policy create web other.json --json").one();
    assert_eq!((&sixth["version"], &sixth["removed_version"]), (&json!("v6"), &json!("v1")));
    assert_eq!(world.status(&key, "web", "a"), 200);

    let policies = world.run("policy list --json").lines();
    fields(&policies[0], &["policy", "kind", "arn", "attached", "version", "updated"]);
    let named = |name: &str| policies.iter().find(|policy| policy["policy"] == name);
    let web = named("web").expect("it is listed");
    assert_eq!(
        (&web["kind"], &web["attached"], &web["version"]),
        (&json!("custom"), &json!(1), &json!("v6"))
    );
    for canned in
        ["readonly", "readwrite", "writeonly", "tables-reader", "tables-writer", "admin", "diagnostics"]
    {
        assert_eq!(named(canned).map(|policy| &policy["kind"]), Some(&json!("canned")), "{canned}");
        let shown = world.run(&format!("policy show {canned}")).done();
        assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{shown}");
    }

    let shown = world.run("policy show web --json").one();
    fields(&shown, &["policy", "arn", "version", "users", "groups", "document"]);
    assert_eq!((&shown["users"], &shown["groups"]), (&json!(["ana"]), &json!([])));
    // What is shown can be given again.
    let text = world.run("policy show web").done();
    world.file("again.json", &text);
    assert_eq!(world.run("policy create web again.json --json").one()["changed"], false);
    let by_arn = world.run(&format!("policy show {} --json", shown["arn"].as_str().expect("text"))).one();
    assert_eq!(by_arn, shown);

    assert!(world.run("policy rm web").code(CONFLICT).err.contains("users ana"));
    world.run("policy detach web --user ana").done();
    assert_eq!(world.status(&key, "web", "a"), 403);
    world.run("policy detach web --user ana").code(NOT_FOUND);
    world.run("policy attach web --user ana").done();
    assert_eq!(
        world.run("policy rm web --force --json").one(),
        json!({ "policy": "web", "removed": true, "users": ["ana"], "groups": [] })
    );
    world.run("policy show web").code(NOT_FOUND);
    world.run("policy attach web --user ana").code(NOT_FOUND);
    world.run("policy attach readonly --user nobody").code(NOT_FOUND);
    world.run("policy attach readonly").code(USAGE);
    world.run("policy attach readonly --user a --group b").code(USAGE);
    assert_ne!(world.run("policy rm readonly").code, DONE);
    world.file("bad.json", "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Maybe\"}]}");
    let error = world.run("policy create bad bad.json --json").error(FAILED);
    assert_eq!(error["code"], "MalformedPolicyDocument", "{error}");
}

/// Names that are taken by something else, and policies with a path.
#[test]
fn names_of_policies() {
    let world = World::new();
    world.user("ana");
    world.file("web.json", READ_WEB);
    world.run("policy create pp web.json").done();
    for taken in ["admin", "Admin", "PP"] {
        let error = world.run(&format!("policy create {taken} web.json --json")).error(CONFLICT);
        assert_eq!(error["code"], "EntityAlreadyExists", "{taken}: {error}");
    }
    let root = world.root();
    let mut iam = Client::new(world.server.address(), &root.access, &root.secret);
    iam.signer = Signer::new(&root.access, &root.secret, "iam");
    iam.payload = Payload::Signed;
    let document = sign::encode(NO_SECRETS, false);
    let form = format!(
        "Action=CreatePolicy&Version=2010-05-08&PolicyName=god&Path=%2Fsec%2F&PolicyDocument={document}"
    );
    let call = Call::new("POST", "/").header("content-type", "application/x-www-form-urlencoded");
    let call = call.payload(Payload::Signed).body(form.as_bytes());
    assert_eq!(iam.send(&call).expect("an answer").status, 200);
    let shown = world.run("policy show god --json").one();
    assert!(shown["arn"].as_str().expect("text").ends_with(":policy/sec/god"), "{shown}");
    world.run("policy attach god --user ana").done();
    world.run("policy detach god --user ana").done();
    assert_eq!(world.run("policy create god web.json --json").one()["version"], "v2");
    world.file("god.toml", "[users.ana]\npolicies = [\"god\"]\n[policies]\ngod = \"web.json\"");
    assert_eq!(world.run("provision apply god.toml").done(), "+ policy god to user ana\n");
    world.run("policy rm god --force").done();
    world.run("policy show god").code(NOT_FOUND);
    let hint = world.run("policy show god --json").error(NOT_FOUND);
    assert_eq!(hint["next"], "nilas policy list", "{hint}");
}

#[test]
fn questions_to_the_evaluator() {
    let world = World::new();
    world.bucket("web", "a");
    world.user("ana");
    world.user("bob");
    world.file("web.json", READ_WEB);
    world.file("deny.json", NO_SECRETS);
    world.run("policy create web web.json").done();
    world.run("policy create no-secrets deny.json").done();
    world.run("policy attach web --user ana").done();
    world.run("policy attach no-secrets --user ana").done();
    let ask = |who: &str, action: &str, key: &str| {
        format!("policy simulate --as {who} --action {action} --resource arn:aws:s3:::web/{key}")
    };
    let allowed = world.run(&ask("ana", "s3:GetObject", "a")).done();
    assert!(allowed.contains("allowed") && allowed.contains("Web"), "{allowed}");
    let document = world.run(&(ask("ana", "s3:GetObject", "a") + " --json")).one();
    assert_eq!(document["allowed"], true, "{document}");
    let denied = world.run(&ask("ana", "s3:GetObject", "secret/a")).code(DENIED);
    assert!(denied.out.contains("refused") && denied.out.contains("NoSecrets"), "{denied}");
    let denied = world.run(&(ask("ana", "s3:PutObject", "a") + " --json")).code(DENIED);
    let document: Value = serde_json::from_str(&denied.out).expect("a document all the same");
    assert_eq!(document["allowed"], false);
    world.run(&ask("bob", "s3:GetObject", "a")).code(DENIED);
    world.run(&ask("nobody", "s3:GetObject", "a")).code(NOT_FOUND);
    world.run(&(ask("ana", "s3:GetObject", "a") + " --context nonsense")).code(USAGE);
    world.run(&(ask("ana", "s3:GetObject", "a") + " --context aws:SourceIp=10.0.0.1")).done();

    let who = "policy who-can --action s3:GetObject --resource arn:aws:s3:::web/";
    let names = |ran: Ran| -> Vec<Value> { ran.lines().into_iter().map(|one| one["name"].clone()).collect() };
    let can = names(world.run(&format!("{who}a --json")));
    assert!(can.contains(&json!("ana")) && !can.contains(&json!("bob")), "{can:?}");
    assert!(!names(world.run(&format!("{who}secret/a --json"))).contains(&json!("ana")));
    assert!(world.run(&format!("{who}a")).done().starts_with("KIND"));

    // What nothing is known of is absent: no condition on it holds, negated ones but.
    world.file(
        "tls.json",
        &NO_SECRETS.replace("web/secret/*", "web/*").replace(
            "\"Resource\"",
            "\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"false\"}},\"Resource\"",
        ),
    );
    world.run("policy create tls tls.json").done();
    world.run("policy attach tls --user ana").done();
    world.run(&ask("ana", "s3:GetObject", "a")).done();
    world.run(&(ask("ana", "s3:GetObject", "a") + " --context aws:SecureTransport=false")).code(DENIED);
    world.run("policy detach tls --user ana").done();

    // Whoever cannot sign may do nothing, whatever is open to everybody.
    let open = READ_WEB.replace("\"Effect\"", "\"Principal\":\"*\",\"Effect\"");
    let answer =
        world.server.client().send(&Call::bucket("PUT", "web").query("policy", "").body(open.as_bytes()));
    assert_eq!(answer.expect("an answer").status, 204);
    world.run(&ask("bob", "s3:GetObject", "a")).done();
    world.run("user disable bob").done();
    let denied = world.run(&(ask("bob", "s3:GetObject", "a") + " --json")).code(DENIED);
    assert!(denied.out.contains("the user is disabled"), "{denied}");
    world.file("narrow.json", READ_WEB);
    let short = world.key("--user ana --expires 1s --policy narrow.json");
    world.run(&ask(&short.access, "s3:GetObject", "a")).done();
    std::thread::sleep(Duration::from_millis(1_100));
    let denied = world.run(&(ask(&short.access, "s3:GetObject", "a") + " --json")).code(DENIED);
    assert!(denied.out.contains("the key has expired"), "{denied}");
    let can = names(world.run(&format!("{who}a --json")));
    assert!(can.contains(&json!("ana")) && !can.contains(&json!("bob")), "{can:?}");
    assert!(!can.contains(&json!(short.access)), "{can:?}");

    // Nobody takes another's place by a name.
    let key = world.key("--user ana --policy narrow.json");
    for name in ["anonymous", key.access.as_str()] {
        world.run(&format!("user add {name}")).done();
        world.run(&format!("policy attach admin --user {name}")).done();
        world.run(&ask(name, "s3:PutObject", "a")).code(DENIED);
        let shown = world.run(&format!("user show {name} --json")).one();
        world.run(&ask(shown["arn"].as_str().expect("text"), "s3:PutObject", "a")).done();
    }
}

#[test]
fn sessions() {
    let world = World::new();
    world.bucket("web", "a");
    let key = world.user("ana");
    world.run("policy attach readonly --user ana").done();
    world.run_as(&key, "sts assume").code(DENIED);
    world.lets_assume("ana");
    let made = world.run_as(&key, "sts assume --duration 15m --json").one();
    fields(&made, &["access_key", "secret_key", "session_token", "expires", "arn"]);
    let session = key_of(&made);
    assert_eq!(world.status(&session, "web", "a"), 200);
    assert!(made["arn"].as_str().expect("text").ends_with(":assumed-role/nilas/nilas"), "{made}");

    world.file("deny.json", NO_SECRETS);
    let narrow = world.run_as(&key, "sts assume --policy deny.json --name job --json").one();
    assert!(narrow["arn"].as_str().expect("text").ends_with("/job"), "{narrow}");
    assert_eq!(world.status(&key_of(&narrow), "web", "a"), 403);
    let text = world.run_as(&key, "sts assume").done();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(lines[1..], ["NILAS_ACCESS_KEY", "NILAS_SECRET_KEY", "NILAS_SESSION_TOKEN"], "{text}");

    let me = world.run_as(&session, "sts whoami --json").one();
    assert!(me["arn"].as_str().expect("text").contains(":assumed-role/nilas/nilas"), "{me}");
    let me = world.run_as(&key, "sts whoami --json").one();
    assert!(me["arn"].as_str().expect("text").ends_with(":user/ana"), "{me}");
    let root = world.run("sts whoami").done();
    assert!(root.contains(":root"), "{root}");

    assert_ne!(world.run_as(&key, "sts assume --duration 1m").code, DONE);
    // A session without a policy may do more than one with it.
    world.file("empty.json", " \n");
    let error = world.run_as(&key, "sts assume --policy empty.json --json").error(USAGE);
    assert!(error["why"].as_str().expect("text").contains("empty.json"), "{error}");
    world.run("key create --user ana --policy empty.json").code(USAGE);
    let mut broken = session.clone();
    broken.token = broken.token.map(|token| token + "x");
    world.run_as(&broken, "sts whoami").code(DENIED);
}

#[test]
fn buckets() {
    let world = World::new();
    world.bucket("web", "a");
    let key = world.user("ana");
    let listed = world.run("bucket list --json").lines();
    fields(&listed[0], &["bucket", "created"]);
    assert_eq!(listed[0]["bucket"], "web");
    let owners = world.run("bucket list --owners --json").lines();
    fields(&owners[0], &["bucket", "user", "owner_id"]);
    assert_eq!((&owners[0]["bucket"], &owners[0]["user"]), (&json!("web"), &json!("root")));
    assert_eq!(world.status(&key, "web", "a"), 403);

    assert_eq!(world.run("bucket chown web ana --json").one(), json!({ "bucket": "web", "user": "ana" }));
    assert_eq!(world.status(&key, "web", "a"), 200, "owning it is enough");
    assert!(world.run("bucket list --owners").done().contains("web     ana"));
    world.run("bucket chown web root").done();
    assert_eq!(world.status(&key, "web", "a"), 403);
    world.run("bucket chown none ana").code(NOT_FOUND);
    world.run("bucket chown web nobody").code(NOT_FOUND);
}

const PROVISION: &str = r#"
[policies]
web = "web.json"

[groups.dev]
policies = ["readonly"]

[users.ana]
groups = ["dev"]
policies = ["web"]
[users.ana.keys.laptop]
file = "ana.env"

[buckets.site]
owner = "ana"

[warehouses.lake]
"#;

#[test]
fn provisioning() {
    let world = World::new();
    world.file("web.json", READ_WEB);
    world.file("provision.toml", PROVISION);
    let plan = world.run("provision plan provision.toml").done();
    assert!(plan.contains("+ user ana\n") && plan.contains("+ warehouse lake\n"), "{plan}");
    assert_eq!(world.run("user list --json").lines().len(), 0, "a plan changes nothing");
    let planned = world.run("provision plan provision.toml --json").lines();
    assert_eq!(planned[0], json!({ "step": "create-policy", "policy": "web" }));
    assert_eq!(world.run("provision apply provision.toml --json").lines(), planned);

    let (access, secret) = server::read_root_env(&world.folder.join("ana.env")).expect("two lines");
    let key = Key { access, secret, token: None };
    assert_eq!(world.client(&key).put("site", "a", b"x").expect("an answer").status, 200);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(world.folder.join("ana.env")).expect("there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(world.run("provision plan provision.toml --json").lines().len(), 0);
    assert!(
        world.run("provision apply provision.toml").done().contains("everything is as the file wants it")
    );

    world.file(
        "provision.toml",
        &PROVISION.replace("policies = [\"web\"]", "policies = []").replace("[groups.dev]", "[groups.dev]\n"),
    );
    assert_eq!(
        world.run("provision apply provision.toml --json").lines(),
        [json!({ "step": "detach-from-user", "policy": "web", "user": "ana" })]
    );
    world.file("provision.toml", "[users.ana]\ngroups = [\"none\"]\n[user.bob]\n");
    assert!(world.run("provision apply provision.toml").code(USAGE).err.contains("user"));
    world.file("provision.toml", "[users.ana]\ngroups = [\"none\"]\n");
    assert!(world.run("provision apply provision.toml").code(USAGE).err.contains("there is no group none"));
    world.run("provision plan missing.toml").code(USAGE);

    // What cannot be is said beforehand, and nothing is done.
    let foreign = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":\"*\",\
                   \"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::other/*\"}]}";
    for (table, why) in [
        ("[users.ANA]".to_owned(), "there is a user ana"),
        (format!("[policies]\nadmin = '{READ_WEB}'"), "always there"),
        ("[buckets.A_b]".to_owned(), "no buckets of that name"),
        (format!("[buckets.fresh]\npolicy = '{foreign}'"), "nothing of the bucket fresh"),
        ("[users.new.keys.k]\nfile = \"ana.env\"".to_owned(), "it is there already"),
        ("[users.new.keys.k]\nfile = \"none/k.env\"".to_owned(), "there is no folder"),
    ] {
        world.file("provision.toml", &format!("[users.first]\n{table}\n"));
        for verb in ["plan", "apply"] {
            let ran = world.run(&format!("provision {verb} provision.toml")).code(USAGE);
            assert!(ran.err.contains(why), "{table}: {ran}");
        }
        world.run("user show first").code(NOT_FOUND);
    }

    // What was done before a step failed is said.
    let some = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"iam:*\",\"admin:*\"],\"Resource\":\"*\"}]}";
    world.file("some.json", some);
    world.run("policy create some some.json").done();
    let key = world.user("keeper");
    world.run("policy attach some --user keeper").done();
    world.file("provision.toml", "[users.first]\n[buckets.fresh]\n");
    let ran = world.run_as(&key, "provision apply provision.toml").code(DENIED);
    assert_eq!(ran.out, "+ user first\n", "{ran}");
    assert!(ran.err.contains("+ bucket fresh (step 2 of 2)"), "{ran}");
}

#[test]
fn who_may_do_nothing_is_denied_everything() {
    let world = World::new();
    world.bucket("web", "a");
    let key = world.user("ana");
    world.user("bob");
    world.file("web.json", READ_WEB);
    world.file("provision.toml", "[users.carol]\n");
    let commands = [
        "user add carol",
        "user list",
        "user show bob",
        "user disable bob",
        "user enable bob",
        "user rm bob",
        "group add dev",
        "group list",
        "group rm dev",
        "group join dev ana",
        "group leave dev ana",
        "key create --user bob",
        "key list",
        "key rm NILASAAAAAAAAAAAAAAA --user bob",
        "policy create web web.json",
        "policy list",
        "policy show readonly",
        "policy attach admin --user ana",
        "policy detach admin --user ana",
        "policy rm readonly",
        "policy simulate --as bob --action s3:GetObject --resource arn:aws:s3:::web/a",
        "policy who-can --action s3:GetObject --resource arn:aws:s3:::web/a",
        "bucket list --owners",
        "bucket chown web ana",
        "provision plan provision.toml",
    ];
    for command in commands {
        let error = world.run_as(&key, &format!("{command} --json")).error(DENIED);
        assert_eq!(error["exit"], "denied", "{command}: {error}");
        assert!(error["code"].is_string(), "{command}: {error}");
    }
    assert_eq!(world.run("bucket list --owners --json").lines()[0]["user"], "root");
    assert_eq!(world.run("user list --json").lines().len(), 2);
}

#[test]
fn keys_and_endpoints() {
    let world = World::new();
    let root = world.root();
    let with = |variables: &[(&str, &str)], command: &str| {
        let mut program = world.program(command);
        program.envs(variables.iter().copied());
        ran(command, program.output().expect("it starts"))
    };
    let aws = [("AWS_ACCESS_KEY_ID", root.access.as_str()), ("AWS_SECRET_ACCESS_KEY", root.secret.as_str())];
    with(&aws, "sts whoami").done();
    with(&[], "sts whoami").code(USAGE);
    with(&aws[..1], "sts whoami").code(USAGE);
    with(&[("NILAS_ACCESS_KEY", "none"), ("NILAS_SECRET_KEY", "none-of-them")], "sts whoami").code(DENIED);
    with(&[("NILAS_ACCESS_KEY", &root.access), ("NILAS_SECRET_KEY", "not-its-secret")], "sts whoami")
        .code(DENIED);

    let path = world
        .file("root.env", &format!("NILAS_ACCESS_KEY={}\nNILAS_SECRET_KEY={}\n", root.access, root.secret));
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&path, permissions).expect("its mode");
    };
    mode(0o644);
    assert!(with(&[], "sts whoami --data .").code(USAGE).err.contains("chmod 600"));
    mode(0o600);
    with(&[], "sts whoami --data .").done();
    with(&[("NILAS_DATA", ".")], "sts whoami").done();

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let refused = world.run(&format!("user list --endpoint http://{nobody}")).code(UNAVAILABLE);
    assert!(refused.err.contains("nilas serve"), "{refused}");
    for wrong in ["127.0.0.1:9000", "http://a/b", "http://key:secret@127.0.0.1:9000"] {
        world.run(&format!("user list --endpoint {wrong}")).code(USAGE);
    }
    // Options stand before and behind.
    world.run("user --json list").done();
}

/// The secret is nowhere in the arguments or the environment that others can see, nor in what the server says.
#[test]
fn secrets_stay_where_they_belong() {
    let world = World::new();
    let key = world.user("ana");
    // A server that takes the connection and never answers keeps the command there to be looked at.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("--endpoint http://{}", silent.local_addr().expect("bound"));
    let mut program = world.program(&format!("key create --user ana {endpoint}"));
    program.env("NILAS_ACCESS_KEY", &key.access).env("NILAS_SECRET_KEY", &key.secret);
    let mut child = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let (_held, _) = silent.accept().expect("it connects");
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).expect("it runs");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(arguments.contains("create") && !arguments.contains(&key.secret), "{arguments}");

    for said in [world.server.stdout().join("\n"), world.server.stderr()] {
        assert!(!said.contains(&key.secret), "{said}");
    }
    let wrong = Key { secret: format!("{}x", key.secret), ..key.clone() };
    let refused = world.run_as(&wrong, "user list");
    assert!(!refused.err.contains(&key.secret) && !refused.out.contains(&key.secret), "{refused}");
}

#[test]
fn help_says_what_there_is() {
    let world = World::new();
    let root = world.run("--help").done();
    let groups = [
        ("user", &["add", "list", "show", "enable", "disable", "rm"] as &[&str]),
        ("group", &["add", "list", "rm", "join", "leave"]),
        ("key", &["create", "list", "rm", "rotate-root"]),
        ("policy", &["create", "list", "show", "attach", "detach", "rm", "simulate", "who-can"]),
        ("sts", &["assume", "whoami"]),
        ("bucket", &["list", "chown"]),
        ("provision", &["plan", "apply"]),
    ];
    for (group, verbs) in groups {
        assert!(root.contains(&format!("  {group}")), "{root}");
        let help = world.run(&format!("{group} --help")).done();
        for verb in verbs {
            assert!(help.contains(&format!("  {verb}")), "{help}");
            let help = world.run(&format!("{group} {verb} --help")).done();
            for words in ["--endpoint", "--json", "NILAS_ENDPOINT", "NILAS_SECRET_KEY", "Exit codes:"] {
                assert!(help.contains(words), "{group} {verb}: {help}");
            }
            assert!(!help.contains(&world.root().secret), "{help}");
        }
        world.run(group).code(USAGE);
        world.run(&format!("{group} nonsense")).code(USAGE);
        let error = world.run(&format!("{group} nonsense --json")).error(USAGE);
        assert_eq!(error["exit"], "usage", "{error}");
    }
    for (command, what) in [
        ("policy attach readonly --json", "policy attach"),
        ("key create --user ana --policy none.json --json", "key create --user ana"),
        ("user list --endpoint ftp://x --json", "user list"),
    ] {
        let error = world.run(command).error(USAGE);
        assert!(error["what"].as_str().is_some_and(|said| said.starts_with(what)), "{command}: {error}");
        assert_ne!(error["why"], "", "{command}");
    }
}

/// A server that keeps its own root key gets another secret at its next start, and users keep their keys.
#[test]
fn another_root_secret() {
    let options = ServerOptions { root_key: None, ..ServerOptions::fresh() };
    let server = Server::start(options).unwrap_or_else(|error| panic!("{error}"));
    let folder = server::fresh_directory();
    fs::create_dir_all(&folder).expect("a folder");
    let mut world = World { server, folder };
    world.bucket("web", "a");
    let key = world.user("ana");
    world.run("policy attach readonly --user ana").done();
    let old = world.root();
    let data = world.server.data().display().to_string();
    let rotate = format!("key rotate-root --data {data}");
    let printed = ran(&rotate, world.program(&rotate).output().expect("it starts")).done();
    assert!(printed.contains("root.env.next") && !printed.contains(&old.secret), "{printed}");
    assert!(world.server.sigterm().is_some());
    world.server.restart().unwrap_or_else(|error| panic!("{error}"));
    let new = world.root();
    assert_ne!(new.secret, old.secret);
    assert!(!printed.contains(&new.secret), "{printed}");
    world.run_as(&new, "user list").done();
    world.run_as(&old, "user list").code(DENIED);
    assert_eq!(world.status(&key, "web", "a"), 200);
    world.run("key rotate-root --data nowhere").code(NOT_FOUND);
}

/// A command that is waited for ends when the server does not answer.
#[test]
fn a_server_that_goes_away_is_noticed() {
    let mut world = World::new();
    world.server.kill9();
    let started = Instant::now();
    world.run("user list").code(UNAVAILABLE);
    assert!(started.elapsed() < Duration::from_secs(5));
}
