//! Identities on the real server: kills during changes, changes under load, a new root secret, a provision file, and
//! where secrets must never be.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nilas_http::process::rotate_root_key;
use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::http1::Response;
use nilas_tests::rng::Rng;
use nilas_tests::server::{Server, ServerOptions, fresh_directory, read_root_env, write_file};
use nilas_tests::sign::{self, Signer};

/// Prefixes of keys, of which a policy allows one at a time.
const PLACES: u64 = 8;
const BUCKET: &str = "places";

/// A client of the query API.
struct Iam(Client);

impl Iam {
    fn new(server: &Server, (access, secret): (&str, &str)) -> Iam {
        let mut client = Client::new(server.address(), access, secret);
        client.signer = Signer::new(access, secret, "iam");
        client.payload = Payload::Signed;
        Iam(client)
    }

    fn ask(&mut self, action: &str, parameters: &[(&str, &str)]) -> std::io::Result<Response> {
        let mut form = format!("Action={action}&Version=2010-05-08");
        for (name, value) in parameters {
            form += &format!("&{name}={}", sign::encode(value, false));
        }
        let call = Call::new("POST", "/").header("content-type", "application/x-www-form-urlencoded");
        self.0.send(&call.payload(Payload::Signed).body(form.as_bytes()))
    }

    /// Asks for what cannot fail.
    #[track_caller]
    fn must(&mut self, action: &str, parameters: &[(&str, &str)]) -> String {
        let answer = self.ask(action, parameters).expect("an answer");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{action} {parameters:?}: {body}");
        body
    }

    /// Makes a user in the group, with a key.
    fn user(&mut self, name: &str, group: Option<&str>) -> (String, String) {
        self.must("CreateUser", &[("UserName", name)]);
        if let Some(group) = group {
            self.must("AddUserToGroup", &[("UserName", name), ("GroupName", group)]);
        }
        let made = self.must("CreateAccessKey", &[("UserName", name)]);
        (field(&made, "AccessKeyId"), field(&made, "SecretAccessKey"))
    }

    fn allow_place(&mut self, place: u64) -> std::io::Result<Response> {
        self.ask(
            "PutGroupPolicy",
            &[("GroupName", "movers"), ("PolicyName", "place"), ("PolicyDocument", &document(place))],
        )
    }
}

#[track_caller]
fn field(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}"));
    rest.split_once('<').expect("an end").0.to_owned()
}

/// Two statements that belong together: one place is allowed, all others are denied.
fn document(place: u64) -> String {
    let arn = format!("arn:aws:s3:::{BUCKET}/p{}/*", place % PLACES);
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:*","Resource":"{arn}"}},
            {{"Effect":"Deny","Action":"s3:*","NotResource":["{arn}","arn:aws:s3:::{BUCKET}"]}}]}}"#
    )
}

/// The places that one request is allowed to delete from: each of its keys is judged by itself.
fn allowed(client: &mut Client) -> std::io::Result<BTreeSet<u64>> {
    let keys: Vec<String> = (0..PLACES).map(|place| format!("p{place}/absent")).collect();
    let answer = client.delete_many(BUCKET, &keys)?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{body}");
    let deleted = |place: &u64| body.contains(&format!("<Deleted><Key>p{place}/absent</Key>"));
    let found: BTreeSet<u64> = (0..PLACES).filter(deleted).collect();
    let refused = body.matches("<Code>AccessDenied</Code>").count();
    assert_eq!(found.len() + refused, keys.len(), "{body}");
    Ok(found)
}

/// A server with a group of two users whose keys come back.
fn movers(options: ServerOptions) -> (Server, Vec<(String, String)>) {
    let server = Server::start(options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.client().create_bucket(BUCKET).expect("create").status, 200);
    let mut iam = Iam::new(&server, server.root_key());
    iam.must("CreateGroup", &[("GroupName", "movers")]);
    assert_eq!(iam.allow_place(0).expect("an answer").status, 200);
    let keys = ["ana", "ben"].map(|name| iam.user(name, Some("movers"))).into();
    (server, keys)
}

fn client(server: &Server, (access, secret): &(String, String)) -> Client {
    Client::new(server.address(), access, secret)
}

/// Every answer of a change is seen by every later request on every core, and no request by a mixture.
#[test]
fn a_thousand_changes_under_load_and_no_mixture() {
    const CHANGES: u64 = 1_000;
    let (server, keys) = movers(ServerOptions::fresh());
    let (begun, told, ended) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let load: Vec<_> = (0..4)
        .map(|nth| {
            let mut client = client(&server, &keys[nth % keys.len()]);
            let (begun, told, ended) = (begun.clone(), told.clone(), ended.clone());
            std::thread::spawn(move || {
                let mut asked = 0_u64;
                while !ended.load(Ordering::SeqCst) {
                    let least = told.load(Ordering::SeqCst);
                    let seen = allowed(&mut client).expect("an answer");
                    let most = begun.load(Ordering::SeqCst);
                    assert_eq!(seen.len(), 1, "judged by a mixture: {seen:?}");
                    let place = *seen.first().expect("one");
                    let fits = (least..=most).any(|change| change % PLACES == place);
                    assert!(fits, "saw {place}, changes {least} to {most}");
                    asked += 1;
                    if asked.is_multiple_of(64) {
                        // Another connection, perhaps of another core.
                        client = client.clone();
                    }
                }
                asked
            })
        })
        .collect();
    let mut iam = Iam::new(&server, server.root_key());
    for change in 1..=CHANGES {
        begun.store(change, Ordering::SeqCst);
        let answer = iam.allow_place(change).expect("an answer");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        told.store(change, Ordering::SeqCst);
    }
    ended.store(true, Ordering::SeqCst);
    let asked: u64 = load.into_iter().map(|thread| thread.join().expect("no mixture")).sum();
    println!("{CHANGES} changes, {asked} requests of {PLACES} judgements each");
    assert!(100 < asked, "{asked}");
}

/// After a kill the change that was on its way is there or not, the same on all cores, and all that were answered are.
#[test]
fn kills_during_changes_leave_old_or_new() {
    const KILLS: u64 = 20;
    let (mut server, keys) = movers(ServerOptions::fresh());
    let mut random = Rng::new(20_261_130);
    let (mut change, mut in_flight) = (0, 0);
    for kill in 0..KILLS {
        let told = Arc::new(AtomicU64::new(change));
        let mut iam = Iam::new(&server, server.root_key());
        let changing = {
            let told = told.clone();
            std::thread::spawn(move || {
                loop {
                    let next = told.load(Ordering::SeqCst) + 1;
                    match iam.allow_place(next) {
                        Ok(answer) if answer.status == 200 => told.store(next, Ordering::SeqCst),
                        _ => return,
                    }
                }
            })
        };
        std::thread::sleep(Duration::from_micros(2_000 + random.below(40_000)));
        server.kill9();
        changing.join().expect("it ends");
        server.restart().unwrap_or_else(|error| panic!("kill {kill}: {error}"));
        let told = told.load(Ordering::SeqCst);
        let mut seen = BTreeSet::new();
        for nth in 0..16 {
            seen.insert(allowed(&mut client(&server, &keys[nth % keys.len()])).expect("an answer"));
        }
        assert_eq!(seen.len(), 1, "kill {kill}: cores differ: {seen:?}");
        let seen = seen.pop_first().expect("one");
        assert_eq!(seen.len(), 1, "kill {kill}: half of a change: {seen:?}");
        let place = *seen.first().expect("one");
        let now = [told, told + 1].into_iter().find(|change| change % PLACES == place);
        change = now.unwrap_or_else(|| panic!("kill {kill}: {place} after {told} changes"));
        in_flight += change - told;
        let mut iam = Iam::new(&server, server.root_key());
        let stored = iam.must("GetGroupPolicy", &[("GroupName", "movers"), ("PolicyName", "place")]);
        assert_eq!(sign::decode(&field(&stored, "PolicyDocument")), document(change), "kill {kill}");
    }
    println!("{KILLS} kills, {change} changes, {in_flight} of them there without an answer");
    assert!(KILLS < change, "{change} changes");
}

fn restart_refused(server: &mut Server, reason: &str) {
    match server.restart() {
        Ok(()) => panic!("it started, expected {reason:?}"),
        Err(error) => assert!(error.stderr.contains(reason), "{reason:?} is not said: {error}"),
    }
}

#[test]
fn a_new_root_secret_seals_all_keys_anew() {
    let options = ServerOptions { root_key: None, ..ServerOptions::fresh() };
    let (mut server, keys) = movers(options);
    let (data, file) = (server.data().to_owned(), server.data().join("root.env"));
    let old = fs::read(&file).expect("made at the first start");
    let (access, old_secret) = read_root_env(&file).expect("two lines");
    let works = |server: &Server| {
        for key in &keys {
            assert_eq!(allowed(&mut client(server, key)).expect("an answer").len(), 1);
        }
    };
    works(&server);
    let next = rotate_root_key(&data, None).expect("written while it is served");
    assert_eq!(next, data.join("root.env.next"));
    assert_eq!(fs::metadata(&next).expect("made").permissions().mode() & 0o777, 0o600);
    assert!(rotate_root_key(&data, None).is_err(), "one waits already");
    let root = |server: &Server, secret: &str| {
        let mut client = Client::new(server.address(), &access, secret);
        client.send(&Call::get("/")).expect("an answer").status
    };
    assert_eq!(root(&server, &old_secret), 200, "until the next start the old one is in force");
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let (same, new_secret) = read_root_env(&file).expect("two lines");
    assert!(same == access && new_secret != old_secret && !next.exists());
    assert_eq!((root(&server, &new_secret), root(&server, &old_secret)), (200, 403));
    works(&server);

    // Kills while it is changed again.
    for kill in 0..10 {
        server.kill9();
        if !next.exists() {
            rotate_root_key(&data, None).expect("written");
        }
        server.spawn().unwrap_or_else(|error| panic!("{error}"));
        std::thread::sleep(Duration::from_millis(10 * kill));
    }
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert!(!next.exists());
    works(&server);
    let (_, new_secret) = read_root_env(&file).expect("two lines");

    // A root.env of another time.
    let new = fs::read(&file).expect("there");
    server.kill9();
    write_file(&file, &old);
    restart_refused(&mut server, "the root secret is not the one");
    // Cut between the seal and the new name of the file.
    write_file(&next, &new);
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).expect("ours");
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert!(!next.exists() && fs::read(&file).expect("there") == new);
    works(&server);

    // Without a file: the secret before is given once.
    server.kill9();
    let given = ServerOptions {
        root_key: Some((access.clone(), "another-root-secret".to_owned())),
        ..ServerOptions::fresh().data(&data)
    };
    let refused = Server::start(given.clone()).map(drop).expect_err("not the secret of the store");
    assert!(refused.stderr.contains("the root secret is not the one"), "{refused}");
    let previous = vec![("NILAS_PREVIOUS_SECRET_KEY".to_owned(), new_secret.clone())];
    let turned = Server::start(ServerOptions { environment: previous, ..given.clone() });
    works(&turned.unwrap_or_else(|error| panic!("{error}")));
    works(&Server::start(given).unwrap_or_else(|error| panic!("{error}")));

    // The root key of the directory is lost: the one that a start makes is of no use and is not left behind.
    fs::remove_file(&file).expect("there");
    let lost = ServerOptions { root_key: None, ..ServerOptions::fresh().data(&data) };
    let refused = Server::start(lost).map(drop).expect_err("not the secret of the store");
    assert!(refused.stderr.contains("the root secret is not the one") && !file.exists(), "{refused}");
    let forgets = vec!["--forget-access-keys".into()];
    let options = ServerOptions { root_key: None, arguments: forgets, ..ServerOptions::fresh().data(&data) };
    let server = Server::start(options).unwrap_or_else(|error| panic!("{error}"));
    let left = Iam::new(&server, server.root_key()).must("ListAccessKeys", &[("UserName", "ana")]);
    assert!(!left.contains(&keys[0].0), "{left}");
}

/// The environment wins over a new key that waits, and then nothing on the disk may be taken for what it is not.
#[test]
fn a_new_root_key_waits_while_the_environment_gives_another() {
    let data = fresh_directory();
    let options = ServerOptions { root_key: None, ..ServerOptions::fresh().data(&data) };
    let (mut server, keys) = movers(options.clone());
    let (file, next) = (data.join("root.env"), data.join("root.env.next"));
    let key = |path: &Path| read_root_env(path).expect("two lines");
    let given = |key: &(String, String)| ServerOptions { root_key: Some(key.clone()), ..options.clone() };
    let start = |options| Server::start(options).unwrap_or_else(|error| panic!("{error}"));
    let works = |server: &Server, root: &(String, String)| {
        assert_eq!(allowed(&mut client(server, &keys[0])).expect("an answer").len(), 1);
        assert_eq!(client(server, root).send(&Call::get("/")).expect("an answer").status, 200);
    };
    let old = key(&file);
    rotate_root_key(&data, None).expect("written while it is served");
    let new = key(&next);
    server.kill9();
    server = start(given(&old));
    works(&server, &old);
    assert_eq!((key(&file), key(&next)), (old.clone(), new.clone()), "neither is in the other's place");
    assert!(
        server.stderr().contains("root.env.next waits: another root key is in force"),
        "{}",
        server.stderr()
    );

    // The new key in the environment: the one before is found in its file.
    server.kill9();
    server = start(given(&new));
    works(&server, &new);
    assert!(key(&file) == new && !next.exists());

    // Cut between the seal and the new name of the file, and then the old key in the environment.
    rotate_root_key(&data, None).expect("written while it is served");
    let newest = key(&next);
    server.kill9();
    let bytes = [&next, &file].map(|path| fs::read(path).expect("there"));
    start(options.clone()).kill9();
    for (path, bytes) in [&next, &file].into_iter().zip(&bytes) {
        write_file(path, bytes);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
    }
    for argument in [None, Some("--forget-access-keys")] {
        let arguments = argument.into_iter().map(Into::into).collect();
        let refused = Server::start(ServerOptions { arguments, ..given(&new) }).map(drop);
        let refused = refused.expect_err("sealed under the key in the file");
        assert!(refused.stderr.contains("which is in root.env.next"), "{refused}");
        assert_eq!((key(&file), key(&next)), (new.clone(), newest.clone()));
    }
    server = start(options);
    works(&server, &newest);
    assert!(key(&file) == newest && !next.exists());
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn secrets_are_on_no_drive_in_no_log_and_in_no_metric() {
    let options = ServerOptions { root_key: None, ..ServerOptions::fresh().drive_size("256MiB") };
    let (mut server, keys) = movers(options);
    let (_, root_secret) = read_root_env(&server.data().join("root.env")).expect("two lines");
    let metrics = server.client().send(&Call::get("/metrics")).expect("a page").body;
    // What is refused is told of, too.
    let wrong = Client::new(server.address(), &keys[0].0, "wrong-secret-of-a-user").send(&Call::get("/"));
    assert_eq!(wrong.expect("an answer").status, 403);
    server.sigterm();
    let drive = fs::read(server.data().join("drive0.nilas")).expect("the drive");
    let said = server.stderr();
    for secret in keys.iter().map(|(_, secret)| secret).chain([&root_secret]) {
        assert!(!contains(&drive, secret), "on the drive");
        assert!(!contains(&metrics, secret) && !said.contains(secret.as_str()), "in metrics or logs");
    }
    assert!(contains(&drive, &keys[0].0), "its key id is there, so it was looked in the right place");
}

const PROVISION: &str = r#"
[policies]
uploads = "uploads.json"

[groups.loaders]
policies = ["uploads", "readonly"]

[users.ana]
groups = ["loaders"]
[users.ana.keys.laptop]
file = "ana.env"

[users.ben]
enabled = false

[buckets.incoming]
owner = "ana"

[warehouses.lake]
"#;

#[test]
fn a_provision_file_is_applied_at_every_start() {
    let data = fresh_directory();
    fs::create_dir_all(&data).expect("a fresh directory");
    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
    write_file(&data.join("provision.toml"), PROVISION.as_bytes());
    write_file(&data.join("uploads.json"), document.as_bytes());
    let mut server =
        Server::start(ServerOptions::fresh().data(&data)).unwrap_or_else(|error| panic!("{error}"));
    let said = |server: &Server| server.stderr().matches("provisioned:").count();
    let steps = said(&server);
    assert!(8 < steps, "{}", server.stderr());
    let ana = read_root_env(&data.join("ana.env")).expect("two lines");
    let mode = fs::metadata(data.join("ana.env")).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let works = |server: &Server| {
        assert_eq!(client(server, &ana).put("incoming", "a", b"mine").expect("an answer").status, 200);
        let mut iam = Iam::new(server, server.root_key());
        let groups = iam.must("ListGroupsForUser", &[("UserName", "ana")]);
        assert_eq!(field(&groups, "GroupName"), "loaders");
        assert_eq!(server.client().send(&Call::bucket("HEAD", "lake")).expect("an answer").status, 200);
    };
    works(&server);
    server.kill9();
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said(&server), steps, "nothing was left to do: {}", server.stderr());
    works(&server);

    // Taken from the group, and given no other policy.
    server.kill9();
    write_file(&data.join("provision.toml"), PROVISION.replace(", \"readonly\"", "").as_bytes());
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let mut iam = Iam::new(&server, server.root_key());
    let attached = iam.must("ListAttachedGroupPolicies", &[("GroupName", "loaders")]);
    assert_eq!(attached.matches("<PolicyName>").count(), 1, "{attached}");

    for (broken, reason) in [
        ("[users.ana]\ngroup = []", "group"),
        ("[users.ana]\ngroups = [\"nobody\"]", "there is no group nobody"),
        ("[policies]\nx = \"absent.json\"", "absent.json"),
    ] {
        server.kill9();
        write_file(&data.join("provision.toml"), broken.as_bytes());
        restart_refused(&mut server, reason);
    }
    remove(&data.join("provision.toml"));
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    works(&server);
}

/// A start takes the policies of buckets that a request could put, and no others.
#[test]
fn a_provision_file_is_judged_as_requests_are() {
    let data = fresh_directory();
    let mut server =
        Server::start(ServerOptions::fresh().data(&data)).unwrap_or_else(|error| panic!("{error}"));
    let provision = |server: &mut Server, text: &str| {
        server.kill9();
        write_file(&data.join("provision.toml"), text.as_bytes());
    };
    let policy = |principal: &str, resource: &str| {
        format!(
            "[users.ann]\n[users.ann.keys.k]\nfile = \"ann.env\"\n[buckets.pub]\npolicy = '{{\"Version\":\"2012-10-17\",\
             \"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":{principal},\"Action\":\"s3:GetObject\",\
             \"Resource\":\"arn:aws:s3:::{resource}\"}}]}}'\n"
        )
    };
    for (resource, reason) in [("other/*", "nothing of the bucket pub"), ("pub", "Action does not apply")] {
        provision(&mut server, &policy("\"*\"", resource));
        restart_refused(&mut server, reason);
    }
    let account = {
        remove(&data.join("provision.toml"));
        server.restart().unwrap_or_else(|error| panic!("{error}"));
        let mut sts = Client::new(server.address(), server.root_key().0, server.root_key().1);
        sts.signer = Signer::new(server.root_key().0, server.root_key().1, "sts");
        let form = b"Action=GetCallerIdentity&Version=2011-06-15";
        let call = Call::new("POST", "/").header("content-type", "application/x-www-form-urlencoded");
        field(&sts.send(&call.payload(Payload::Signed).body(form)).expect("an answer").text(), "Account")
    };
    let arn = |user: &str| format!("{{\"AWS\":\"arn:aws:iam::{account}:user/{user}\"}}");
    provision(&mut server, &policy(&arn("nobody"), "pub/*"));
    restart_refused(&mut server, "is nobody here");

    // A user of the same file, who stays the same under another name.
    provision(&mut server, &policy(&arn("ann"), "pub/*"));
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let ann = read_root_env(&data.join("ann.env")).expect("two lines");
    assert_eq!(server.client().put("pub", "a", b"x").expect("an answer").status, 200);
    assert_eq!(client(&server, &ann).get("pub", "a").expect("an answer").status, 200);
    let mut iam = Iam::new(&server, server.root_key());
    iam.must("UpdateUser", &[("UserName", "ann"), ("NewUserName", "eve")]);
    let other = iam.user("ann", None);
    assert_eq!(client(&server, &ann).get("pub", "a").expect("an answer").status, 200);
    assert_eq!(client(&server, &other).get("pub", "a").expect("an answer").status, 403);
    iam.must("DeleteAccessKey", &[("UserName", "ann"), ("AccessKeyId", &other.0)]);
    iam.must("DeleteUser", &[("UserName", "ann")]);
    iam.must("UpdateUser", &[("UserName", "eve"), ("NewUserName", "ann")]);
    provision(&mut server, &policy(&arn("ann"), "pub/*"));
    server.restart().unwrap_or_else(|error| panic!("{error}"));

    // Public, where that is blocked.
    let block = "<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>";
    let put = Call::bucket("PUT", "pub").query("publicAccessBlock", "").body(block.as_bytes());
    assert_eq!(server.client().send(&put).expect("an answer").status, 200);
    provision(&mut server, &policy("\"*\"", "pub/*"));
    restart_refused(&mut server, "BlockPublicPolicy");
    remove(&data.join("provision.toml"));
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    let get = Call::object("GET", "pub", "a").unsigned();
    assert_eq!(server.client().send(&get).expect("an answer").status, 403);
}

/// What a form or a page is asked to change is signed whole.
#[test]
fn no_change_of_identities_is_made_unsigned() {
    let server = Server::fresh();
    let (access, secret) = server.root_key();
    let form = b"Action=CreateUser&Version=2010-05-08&UserName=ana";
    let mut client = Client::new(server.address(), access, secret);
    let page = Call::new("POST", "/_nilas/owners").body(b"{\"bucket\":\"b\",\"user\":\"root\"}");
    for (payload, status) in [(Payload::Unsigned, 400), (Payload::Signed, 404)] {
        assert_eq!(client.send(&page.clone().payload(payload)).expect("an answer").status, status);
    }
    client.signer = Signer::new(access, secret, "iam");
    let call = Call::new("POST", "/").header("content-type", "application/x-www-form-urlencoded").body(form);
    for (payload, status) in [(Payload::Unsigned, 403), (Payload::Signed, 200)] {
        let answer = client.send(&call.clone().payload(payload)).expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

fn remove(file: &Path) {
    fs::remove_file(file).expect("there");
}
