//! `nilas provision …`: what a file wants to be there, held against a running server, and made so.
//!
//! `main` hands over a connected [`Client`]. The steps are planned by `nilas_http::identity::provision`, which the server's
//! own start asks too; here what is there is read over the API ([`read`]), and each step becomes a request ([`carry_out`]).
//! A stop in between leaves what was done, and says what that is; the next `apply` goes on from there.
//! I1. A secret is told once, so its file is made before its key: an empty one is of a key whose answer may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nilas_http::identity::provision::{Current, CurrentBucket, CurrentUser, Desired, Step, plan};
use serde_json::{Value, json};

use crate::client::{Client, Connection, read_text, segment};
use crate::output::{Exit, Failure, Output};
use crate::policy::{self, Policy};
use crate::user;
use crate::xml::Element;

/// Makes users, groups, policies, buckets and warehouses as a file wants them.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with a file.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Says what apply would change; changes nothing.
    Plan {
        /// The file (TOML)
        file: PathBuf,
    },
    /// Changes what is not as the file wants it; what the file does not name stays.
    Apply {
        /// The file (TOML)
        file: PathBuf,
    },
}

pub(crate) fn run(client: &Client, command: &Command) -> Result<Output, Failure> {
    let (verb, file, applies) = match command {
        Command::Plan { file } => ("plan", file, false),
        Command::Apply { file } => ("apply", file, true),
    };
    provision(client, file, applies)
        .map_err(|failure| failure.of(&format!("provision {verb} {}", file.display())))
}

fn provision(client: &Client, file: &Path, applies: bool) -> Result<Output, Failure> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let document = |path: &Path| read_text(&folder.join(path)).map_err(|failure| failure.why);
    let desired =
        Desired::parse(&read_text(file)?, &document).map_err(|fault| Failure::usage(fault.to_string()))?;
    let mut current = read(client, &desired)?;
    current.key_files = key_files(&desired, &current, folder);
    let steps = plan(&desired, &current).map_err(|faults| {
        Failure::usage(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    if applies {
        for (done, step) in steps.iter().enumerate() {
            carry_out(client, step, folder).map_err(|failure| {
                failure
                    .of(&format!("{step} (step {} of {})", done + 1, steps.len()))
                    .next("nilas provision apply again, which goes on where this stopped")
                    .after(said(&steps[..done]))
            })?;
        }
    }
    Ok(match steps.is_empty() {
        true => Output::lines(Vec::new(), "everything is as the file wants it"),
        false => said(&steps),
    })
}

/// Steps as lines.
fn said(steps: &[Step]) -> Output {
    let values = steps.iter().map(|step| serde_json::to_value(step).unwrap_or_default()).collect();
    Output::lines(values, steps.iter().map(|step| format!("{step}\n")).collect::<String>())
}

/// What is there, as far as a plan for `desired` asks.
fn read(client: &Client, desired: &Desired) -> Result<Current, Failure> {
    let caller = client.sts("GetCallerIdentity", &[])?;
    let mut current = Current { account: caller.text_of("Account").to_owned(), ..Current::default() };
    let attached = |holder: &Element| -> BTreeSet<String> {
        holder
            .members("AttachedManagedPolicies")
            .map(|policy| policy.text_of("PolicyName").to_owned())
            .collect()
    };
    for page in client.iam_pages("GetAccountAuthorizationDetails", &[])? {
        for policy in page.members("Policies") {
            let name = policy.text_of("PolicyName").to_owned();
            if policy::is_canned(policy.text_of("Arn")) {
                current.canned.insert(name);
                continue;
            }
            let mut versions = policy.members("PolicyVersionList");
            let in_force = versions.find(|version| version.text_of("IsDefaultVersion") == "true");
            let document = in_force.and_then(|version| policy::decoded(version.text_of("Document")));
            let document =
                document.ok_or_else(|| Failure::answer(format!("policy {name} has no document in force")))?;
            current.policies.insert(name, document);
        }
        for group in page.members("GroupDetailList") {
            current.groups.insert(group.text_of("GroupName").to_owned(), attached(group));
        }
        for user in page.members("UserDetailList") {
            let groups = user.members("GroupList").map(|group| group.text.trim().to_owned()).collect();
            let user_now = CurrentUser {
                arn: user.text_of("Arn").to_owned(),
                id: user.text_of("UserId").to_owned(),
                enabled: true,
                groups,
                policies: attached(user),
                ..CurrentUser::default()
            };
            current.users.insert(user.text_of("UserName").to_owned(), user_now);
        }
    }
    let people = user::people(client, None)?
        .ok_or_else(|| Failure::new(Exit::Denied, "the key may not see the users of the store"))?;
    for person in people["users"].as_array().into_iter().flatten() {
        let Some(user) = person["user"].as_str().and_then(|name| current.users.get_mut(name)) else {
            continue;
        };
        user.enabled = person["enabled"] != json!(false);
        user.owner_id = person["owner_id"].as_str().unwrap_or_default().to_owned();
        let keys = person["keys"].as_array().into_iter().flatten();
        user.keys = keys.filter_map(|key| key["name"].as_str().map(str::to_owned)).collect();
    }
    let owners = client.page("/_nilas/owners", &[], None)?;
    for bucket in owners["buckets"].as_array().into_iter().flatten() {
        if let Some(name) = bucket["bucket"].as_str() {
            let owner = bucket["user"].as_str().map(str::to_owned);
            current.buckets.insert(name.to_owned(), CurrentBucket { owner, ..CurrentBucket::default() });
        }
    }
    // Of others no plan asks.
    for (name, bucket) in &mut current.buckets {
        let wish = desired.buckets.get(name).or(desired.warehouses.get(name));
        let policy = wish.and_then(|wish| wish.policy.as_ref());
        if policy.is_some() {
            bucket.policy = bucket_policy(client, name)?;
        }
        if policy.is_some_and(|policy| !policy.is_empty()) {
            bucket.blocks_public_policy = blocks_public_policy(client, name)?;
        }
        if desired.warehouses.contains_key(name) {
            bucket.is_warehouse = is_warehouse(client, name)?;
        }
    }
    Ok(current)
}

fn bucket_policy(client: &Client, bucket: &str) -> Result<String, Failure> {
    match client.send("s3", "GET", &format!("/{}", segment(bucket)), &[("policy", "")], "", &[]) {
        Ok(document) => String::from_utf8(document)
            .map_err(|_| Failure::answer(format!("the policy of {bucket} is not UTF-8"))),
        Err(failure) if failure.is("NoSuchBucketPolicy") => Ok(String::new()),
        Err(failure) => Err(failure),
    }
}

fn blocks_public_policy(client: &Client, bucket: &str) -> Result<bool, Failure> {
    let query = [("publicAccessBlock", "")];
    match client.send("s3", "GET", &format!("/{}", segment(bucket)), &query, "", &[]) {
        Ok(block) => Element::parse(&block)
            .map(|block| block.text_of("BlockPublicPolicy") == "true")
            .map_err(|why| Failure::answer(format!("the public access block of {bucket} is no XML: {why}"))),
        Err(failure) if failure.is("NoSuchPublicAccessBlockConfiguration") => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Files that stand in the way of keys, and why. Whether a key is still to be made is the plan's to know.
fn key_files(desired: &Desired, current: &Current, folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for (name, user) in &desired.users {
        for (key, wish) in &user.keys {
            let is_made = current.users.get(name).is_some_and(|user| user.keys.contains(key));
            let path = folder.join(&wish.file);
            let why = match (std::fs::metadata(&path), is_made) {
                (Ok(about), true) if is_empty_file(&about) => Some(format!(
                    "it is empty and the key {key} of {name} is there: its secret is lost; delete both (nilas key list --user \
                     {name}, nilas key rm) and apply again"
                )),
                (_, true) => None,
                (Ok(about), false) if is_empty_file(&about) => None,
                (Ok(_), false) => Some("it is there already, and is not written over".to_owned()),
                (Err(error), false) if error.kind() == std::io::ErrorKind::NotFound => {
                    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                    let is_folder = parent.is_none_or(Path::is_dir);
                    (!is_folder).then(|| "there is no folder for it".to_owned())
                }
                (Err(error), false) => Some(error.to_string()),
            };
            found.extend(why.map(|why| (wish.file.clone(), why)));
        }
    }
    found
}

/// What a try leaves of which nobody knows whether its key was made: of use to the next.
fn is_empty_file(about: &std::fs::Metadata) -> bool {
    about.is_file() && about.len() == 0 && about.mode() & 0o077 == 0
}

fn is_warehouse(client: &Client, name: &str) -> Result<bool, Failure> {
    let path = format!("{WAREHOUSES}/{}", segment(name));
    match client.send("s3tables", "GET", &path, &[], "", &[]) {
        Ok(_) => Ok(true),
        Err(failure) if failure.exit == Exit::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

const WAREHOUSES: &str = "/_iceberg/v1/warehouses";
const JSON: &str = "application/json";

/// One step as a request or two.
fn carry_out(client: &Client, step: &Step, folder: &Path) -> Result<(), Failure> {
    let iam = |action: &str, parameters: &[(&str, &str)]| client.iam(action, parameters).map(drop);
    let grant = |action: &str, holder: (&str, &str), policy: &str| {
        let policy = Policy::find(client, policy)?;
        iam(action, &[holder, ("PolicyArn", &policy.arn)])
    };
    let enable = |user: &str, is_enabled: bool| user::set_enabled(client, user, is_enabled);
    match step {
        Step::LeaveGroup { group, user } => {
            iam("RemoveUserFromGroup", &[("GroupName", group), ("UserName", user)])
        }
        Step::JoinGroup { group, user } => iam("AddUserToGroup", &[("GroupName", group), ("UserName", user)]),
        Step::DetachFromUser { policy, user } => grant("DetachUserPolicy", ("UserName", user), policy),
        Step::DetachFromGroup { policy, group } => grant("DetachGroupPolicy", ("GroupName", group), policy),
        Step::AttachToUser { policy, user } => grant("AttachUserPolicy", ("UserName", user), policy),
        Step::AttachToGroup { policy, group } => grant("AttachGroupPolicy", ("GroupName", group), policy),
        Step::DisableUser { user } => enable(user, false),
        Step::EnableUser { user } => enable(user, true),
        Step::CreatePolicy { policy, document } | Step::ReplacePolicy { policy, document } => {
            policy::put(client, policy, document).map(drop)
        }
        Step::CreateGroup { group } => iam("CreateGroup", &[("GroupName", group)]),
        Step::CreateUser { user } => iam("CreateUser", &[("UserName", user)]),
        Step::CreateBucket { bucket } => {
            client.send("s3", "PUT", &format!("/{}", segment(bucket)), &[], "", &[]).map(drop)
        }
        Step::CreateWarehouse { warehouse } => {
            let body = json!({ "name": warehouse }).to_string();
            client.send("s3tables", "POST", WAREHOUSES, &[], JSON, body.as_bytes()).map(drop)
        }
        Step::SetOwner { bucket, user } => {
            client.page("/_nilas/owners", &[], Some(&json!({ "bucket": bucket, "user": user }))).map(drop)
        }
        Step::SetBucketPolicy { bucket, document } => {
            let path = format!("/{}", segment(bucket));
            client.send("s3", "PUT", &path, &[("policy", "")], JSON, document.as_bytes()).map(drop)
        }
        Step::RemoveBucketPolicy { bucket } => client
            .send("s3", "DELETE", &format!("/{}", segment(bucket)), &[("policy", "")], "", &[])
            .map(drop),
        Step::CreateKey { user, key, file, expires_s, policy } => {
            create_key(client, user, key, &folder.join(file), *expires_s, policy.as_deref())
        }
    }
}

/// Makes a key and writes it to a file that its owner alone can read; a key that cannot be written is deleted again. The file is
/// there before the key, and stays, empty, unless it is certain that none was made.
fn create_key(
    client: &Client,
    user: &str,
    name: &str,
    path: &Path,
    expires_s: Option<u64>,
    policy: Option<&str>,
) -> Result<(), Failure> {
    let shown = path.display();
    let mut file = open_key_file(path).map_err(|e| {
        let exit = if e.kind() == std::io::ErrorKind::AlreadyExists { Exit::Conflict } else { Exit::Failed };
        Failure::new(exit, format!("{shown}: {e}"))
    })?;
    let mut asked = json!({ "user": user, "name": name });
    let given = [("expires_s", expires_s.map(Value::from)), ("policy", policy.map(Value::from))];
    for (field, value) in given {
        if let Some(value) = value {
            asked[field] = value;
        }
    }
    let next = format!(
        "nilas key list --user {user}: if there is a key {name}, nilas key rm it, since its secret is lost; then apply again"
    );
    let made =
        client.page("/_nilas/keys", &[], Some(&asked)).map_err(|failure| match failure.is_refusal() {
            true => {
                // Empty, and of no key; if it stays, the next try takes it.
                drop(std::fs::remove_file(path));
                failure
            }
            false => failure.next_instead(next.clone()),
        })?;
    let (Some(access_key), Some(secret_key)) = (made["access_key"].as_str(), made["secret_key"].as_str())
    else {
        return Err(Failure::answer("the server did not say which key it made").next_instead(next));
    };
    let text = format!("NILAS_ACCESS_KEY={access_key}\nNILAS_SECRET_KEY={secret_key}\n");
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| {
        let deleted = client.iam("DeleteAccessKey", &[("UserName", user), ("AccessKeyId", access_key)]);
        let after = if deleted.is_ok() { "was deleted again" } else { "is there, and its secret is lost" };
        Failure::new(Exit::Failed, format!("{shown}: {e}; the key {access_key} {after}"))
    })
}

/// Makes the file of a key, or takes the empty one that an earlier try left.
fn open_key_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            if is_empty_file(&file.metadata()?) { Ok(file) } else { Err(e) }
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{result, scripted};

    const READ: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

    fn details() -> String {
        let version = |name: &str, is_default: bool, document: &str| {
            format!(
                "<member><VersionId>{name}</VersionId><IsDefaultVersion>{is_default}</IsDefaultVersion>\
                 <Document>{}</Document></member>",
                segment(document)
            )
        };
        let policy = |name: &str, account: &str, versions: &str| {
            format!(
                "<member><PolicyName>{name}</PolicyName><Arn>arn:aws:iam::{account}:policy/{name}</Arn>\
                 <PolicyVersionList>{versions}</PolicyVersionList></member>"
            )
        };
        let versions = version("v2", true, READ) + &version("v1", false, "{}");
        let policies = policy("read", "123456789012", &versions)
            + &policy("readonly", "aws", &version("v1", true, "{}"));
        result(
            "GetAccountAuthorizationDetails",
            &format!(
                "<UserDetailList><member><UserName>ana</UserName><UserId>AIDAA</UserId>\
                 <Arn>arn:aws:iam::123456789012:user/ana</Arn><GroupList><member>dev</member></GroupList>\
                 <AttachedManagedPolicies><member><PolicyName>read</PolicyName></member></AttachedManagedPolicies></member>\
                 </UserDetailList><GroupDetailList><member><GroupName>dev</GroupName></member></GroupDetailList>\
                 <Policies>{policies}</Policies><IsTruncated>false</IsTruncated>"
            ),
        )
    }

    const PEOPLE: &str = "{\"users\":[{\"user\":\"ana\",\"owner_id\":\"0a\",\"enabled\":false,\"keys\":[{\"access_key\":\"NILAS1\",\"name\":\"ci\"},\
                          {\"access_key\":\"NILAS2\",\"name\":null}]}]}";
    const OWNERS: &str = "{\"buckets\":[{\"bucket\":\"web\",\"user\":\"ana\"},{\"bucket\":\"lake\",\"user\":\"root\"},\
                          {\"bucket\":\"other\",\"user\":null}]}";

    #[test]
    fn reading_what_is_there() {
        let text = "[buckets.web]\npolicy = \"\"\n[warehouses.lake]";
        let desired = Desired::parse(text, &|_: &Path| Err("no".to_owned())).expect("sound");
        let (caller, details) = (result("GetCallerIdentity", "<Account>123456789012</Account>"), details());
        let (none, policy) = ("{\"error\":{\"type\":\"NoSuchWarehouseException\",\"code\":404}}", "{}");
        let answers = [
            (200, caller.as_str()),
            (200, &details),
            (200, PEOPLE),
            (200, OWNERS),
            (404, none),
            (200, policy),
        ];
        let mut found = None;
        let (came, seen) = scripted(&answers, |client| {
            found = Some(read(client, &desired)?);
            Ok(Output::one(Value::Null, ""))
        });
        came.expect("all is answered");
        let set =
            |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let ana = CurrentUser {
            arn: "arn:aws:iam::123456789012:user/ana".to_owned(),
            id: "AIDAA".to_owned(),
            owner_id: "0a".to_owned(),
            enabled: false,
            groups: set(&["dev"]),
            policies: set(&["read"]),
            keys: set(&["ci"]),
        };
        let bucket = |owner: Option<&str>, policy: &str| CurrentBucket {
            owner: owner.map(str::to_owned),
            policy: policy.to_owned(),
            ..CurrentBucket::default()
        };
        let expected = Current {
            account: "123456789012".to_owned(),
            canned: set(&["readonly"]),
            policies: [("read".to_owned(), READ.to_owned())].into(),
            groups: [("dev".to_owned(), BTreeSet::new())].into(),
            users: [("ana".to_owned(), ana)].into(),
            buckets: [
                ("web".to_owned(), bucket(Some("ana"), "{}")),
                ("lake".to_owned(), bucket(Some("root"), "")),
                ("other".to_owned(), bucket(None, "")),
            ]
            .into(),
            key_files: BTreeMap::new(),
        };
        assert_eq!(found, Some(expected));
        assert_eq!(seen[4..], ["GET /_iceberg/v1/warehouses/lake", "GET /web?policy="]);
    }

    #[test]
    fn keys_are_written_once() {
        let folder = std::env::temp_dir().join(format!("nilas-provision-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let step = Step::CreateKey {
            user: "ana".to_owned(),
            key: "ci".to_owned(),
            file: "ci.env".into(),
            expires_s: Some(60),
            policy: None,
        };
        let make = |client: &Client| carry_out(client, &step, &folder).map(|()| Output::one(Value::Null, ""));
        let denied = "{\"error\":{\"code\":\"AccessDenied\",\"message\":\"no\"}}";
        let path = folder.join("ci.env");
        let (came, _) = scripted(&[(403, denied)], make);
        assert_eq!((came.expect_err("denied").exit, path.exists()), (Exit::Denied, false));
        // Whether it was made is not known: the file says so to the next plan, and is taken by the next try.
        for lost in ["", "{\"user\":\"ana\"}"] {
            let status = if lost.is_empty() { 503 } else { 200 };
            let (came, _) = scripted(&[(status, lost)], make);
            let failure = came.expect_err("no secret").render(false);
            assert!(failure.contains("nilas key list --user ana"), "{failure}");
            assert_eq!(std::fs::metadata(&path).expect("it stays").len(), 0);
        }
        let desired =
            Desired::parse("[users.ana.keys.ci]\nfile = \"ci.env\"", &|_: &Path| Err("no".to_owned()));
        let desired = desired.expect("sound");
        let with = |keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            let ana = CurrentUser { keys, ..CurrentUser::default() };
            let current = Current { users: [("ana".to_owned(), ana)].into(), ..Current::default() };
            key_files(&desired, &current, &folder).into_values().collect::<String>()
        };
        assert_eq!(with(&[]), "");
        assert!(with(&["ci"]).contains("its secret is lost"));
        let made = "{\"user\":\"ana\",\"access_key\":\"NILAS1\",\"secret_key\":\"s\"}";
        let (came, seen) = scripted(&[(200, made)], make);
        came.expect("made");
        assert_eq!(seen, ["POST /_nilas/keys {\"user\":\"ana\",\"name\":\"ci\",\"expires_s\":60}"]);
        assert_eq!(with(&["ci"]), "");
        assert!(with(&[]).contains("it is there already"));
        assert!(!key_files(&desired, &Current::default(), &folder.join("none")).is_empty(), "no folder");
        let text = std::fs::read_to_string(&path).expect("written");
        assert_eq!(text, "NILAS_ACCESS_KEY=NILAS1\nNILAS_SECRET_KEY=s\n");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        // What is there is not written over, and no key is made for it.
        let (came, seen) = scripted(&[], make);
        assert_eq!((came.expect_err("it is there").exit, seen.len()), (Exit::Conflict, 0));
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
