//! Plans as tables, and a world that carries steps out: after any plan the next one is empty.

use super::*;

const ACCOUNT: &str = "123456789012";
const READ: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;
const READ_SPACED: &str = r#"{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" } ] }"#;
const WRITE: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
const PUBLIC: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::web/*"}]}"#;

fn file(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some("read.json") => Ok(READ.to_owned()),
        Some("public.json") => Ok(PUBLIC.to_owned()),
        _ => Err("no such file".to_owned()),
    }
}

fn parse(text: &str) -> Desired {
    Desired::parse(text, &file).unwrap_or_else(|fault| panic!("{fault}"))
}

fn empty() -> Current {
    let canned = ["readonly", "admin"].map(str::to_owned).into();
    Current { account: ACCOUNT.to_owned(), canned, ..Current::default() }
}

/// What the steps come to.
fn carried_out(mut world: Current, steps: &[Step]) -> Current {
    for step in steps.iter().cloned() {
        match step {
            Step::CreatePolicy { policy, document } => {
                assert_eq!(world.policies.insert(policy, document), None);
            }
            Step::ReplacePolicy { policy, document } => {
                assert!(world.policies.insert(policy, document).is_some());
            }
            Step::CreateGroup { group } => assert_eq!(world.groups.insert(group, BTreeSet::new()), None),
            Step::CreateUser { user } => {
                let arn = format!("arn:aws:iam::{ACCOUNT}:user/{user}");
                let id = format!("AIDA{user}");
                let made = CurrentUser { arn, id, enabled: true, ..CurrentUser::default() };
                assert_eq!(world.users.insert(user, made), None);
            }
            Step::AttachToGroup { policy, group } => {
                assert!(world.policies.contains_key(&policy) || world.canned.contains(&policy), "{policy}");
                assert!(world.groups.get_mut(&group).expect("there").insert(policy));
            }
            Step::DetachFromGroup { policy, group } => {
                assert!(world.groups.get_mut(&group).expect("there").remove(&policy));
            }
            Step::AttachToUser { policy, user } => {
                assert!(world.policies.contains_key(&policy) || world.canned.contains(&policy), "{policy}");
                assert!(world.users.get_mut(&user).expect("there").policies.insert(policy));
            }
            Step::DetachFromUser { policy, user } => {
                assert!(world.users.get_mut(&user).expect("there").policies.remove(&policy));
            }
            Step::JoinGroup { group, user } => {
                assert!(world.groups.contains_key(&group), "{group}");
                assert!(world.users.get_mut(&user).expect("there").groups.insert(group));
            }
            Step::LeaveGroup { group, user } => {
                assert!(world.users.get_mut(&user).expect("there").groups.remove(&group));
            }
            Step::EnableUser { user } => world.users.get_mut(&user).expect("there").enabled = true,
            Step::DisableUser { user } => world.users.get_mut(&user).expect("there").enabled = false,
            Step::CreateBucket { bucket } => {
                let made = CurrentBucket { owner: Some(ROOT.to_owned()), ..CurrentBucket::default() };
                assert_eq!(world.buckets.insert(bucket, made), None);
            }
            Step::CreateWarehouse { warehouse } => {
                let made = CurrentBucket { owner: Some(ROOT.to_owned()), ..CurrentBucket::default() };
                world.buckets.entry(warehouse).or_insert(made).is_warehouse = true;
            }
            Step::SetOwner { bucket, user } => {
                assert!(user == ROOT || world.users.contains_key(&user), "{user}");
                world.buckets.get_mut(&bucket).expect("there").owner = Some(user);
            }
            Step::SetBucketPolicy { bucket, document } => {
                world.buckets.get_mut(&bucket).expect("there").policy = document;
            }
            Step::RemoveBucketPolicy { bucket } => {
                world.buckets.get_mut(&bucket).expect("there").policy.clear();
            }
            Step::CreateKey { user, key, .. } => {
                assert!(world.users.get_mut(&user).expect("there").keys.insert(key));
            }
        }
    }
    world
}

/// Plans, carries out, and plans again.
#[track_caller]
fn check(text: &str, world: &Current, expected: &[&str]) -> Current {
    let desired = parse(text);
    let steps = plan(&desired, world).expect("a sound file");
    assert_eq!(steps.iter().map(Step::to_string).collect::<Vec<_>>(), expected);
    let after = carried_out(world.clone(), &steps);
    assert_eq!(plan(&desired, &after), Ok(vec![]), "a second plan");
    after
}

const ALL: &str = r#"
[policies]
read = "read.json"

[groups.analysts]
policies = ["readonly"]

[users.ana]
groups = ["analysts"]
policies = ["read"]
[users.ana.keys.laptop]
file = "ana.env"
expires = "30d"
policy = "read.json"

[users.old]
enabled = false

[buckets.web]
owner = "ana"
policy = "public.json"

[warehouses.analytics]
owner = "root"
"#;

#[test]
fn from_nothing() {
    let world = check(
        ALL,
        &empty(),
        &[
            "+ policy read",
            "+ group analysts",
            "+ policy readonly to group analysts",
            "+ user ana",
            "+ policy read to user ana",
            "+ ana joins group analysts",
            "+ user old",
            "~ user old is disabled",
            "+ bucket web",
            "~ bucket web gets a policy",
            "~ bucket web is ana's",
            "+ warehouse analytics",
            "~ bucket analytics is root's",
            "+ key laptop of user ana in ana.env",
        ],
    );
    let key = &parse(ALL).users["ana"].keys["laptop"];
    assert_eq!((key.expires_s, key.policy.as_deref()), (Some(2_592_000), Some(READ)));
    // What is not named stays, and so does what a table does not give.
    check("", &world, &[]);
    check("[users.ana]\n[groups.analysts]\n[buckets.web]\n[warehouses.analytics]", &world, &[]);
}

#[test]
fn from_what_is_there() {
    let world = carried_out(empty(), &plan(&parse(ALL), &empty()).expect("sound"));
    check("[users.ana]\ngroups = []", &world, &["- ana leaves group analysts"]);
    check("[users.ana]\nenabled = true", &world, &[]);
    check("[users.ana]\nenabled = false", &world, &["~ user ana is disabled"]);
    check("[users.old]\nenabled = true", &world, &["~ user old is enabled"]);
    check(
        "[users.ana]\npolicies = [\"admin\"]",
        &world,
        &["- policy read from user ana", "+ policy admin to user ana"],
    );
    check("[groups.analysts]\npolicies = []", &world, &["- policy readonly from group analysts"]);
    check(&format!("[policies]\nread = '{READ_SPACED}'"), &world, &[]);
    check(&format!("[policies]\nread = '{WRITE}'"), &world, &["~ policy read gets a new version"]);
    check("[buckets.web]\npolicy = \"\"", &world, &["- policy of bucket web"]);
    check("[buckets.web]\nowner = \"root\"", &world, &["~ bucket web is root's"]);
    check("[warehouses.web]", &world, &["+ warehouse web"]);
    check("[buckets.analytics]", &world, &[]);
    check(
        "[users.ana.keys.ci]\nfile = \"ci.env\"\n[users.ana.keys.laptop]\nfile = \"other.env\"",
        &world,
        &["+ key ci of user ana in ci.env"],
    );
}

#[test]
fn rights_are_taken_before_others_are_given() {
    let world = carried_out(empty(), &plan(&parse(ALL), &empty()).expect("sound"));
    let text =
        "[users.ana]\ngroups = []\npolicies = [\"readonly\"]\n[groups.analysts]\npolicies = [\"admin\"]";
    check(
        text,
        &world,
        &[
            "- ana leaves group analysts",
            "- policy read from user ana",
            "- policy readonly from group analysts",
            "+ policy admin to group analysts",
            "+ policy readonly to user ana",
        ],
    );
}

#[test]
fn files_that_are_none() {
    let check = |text: &str, at: &str, why: &str| {
        let fault = Desired::parse(text, &file).expect_err("wrong");
        assert!(fault.at == at && fault.why.contains(why), "{fault}");
    };
    check("[user.ana]", "line 1, column 2", "user");
    check("[users.ana]\ngroup = []", "line 2, column 1", "group");
    check("[users.ana]\ngroups = \"a\"", "line 2, column 10", "");
    check("[users.ana]\n[users.ana]", "line 2, column 8", "");
    check("[users.ana.keys.k]\nexpires = \"1h\"", "line 1, column 1", "file");
    check("[users.ana.keys.k]\nfile = \"f\"\nexpires = \"1\"", "users.ana.keys.k.expires", "1h");
    check("[policies]\np = \"none.json\"", "policies.p", "no such file");
    check("[buckets.b]\npolicy = \"none.json\"", "buckets.b.policy", "no such file");
    check(&" ".repeat(PROVISION_BYTES_MAX + 1), "the file", "at most");
}

#[test]
fn all_faults_are_said_at_once() {
    let text = format!(
        "[policies]\np = '{{}}'\n[groups.g]\npolicies = [\"none\"]\n[users.u]\ngroups = [\"none\"]\npolicies = [\"none\"]\n\
         [users.u.keys.a]\nfile = \"f\"\n[users.u.keys.b]\nfile = \"f\"\n[users.root]\n\
         [buckets.b]\nowner = \"none\"\npolicy = '{READ}'\n[warehouses.b]"
    );
    let faults = plan(&parse(&text), &empty()).expect_err("nothing in it is right");
    let found: Vec<&str> = faults.iter().map(|fault| fault.at.as_str()).collect();
    let expected = [
        "users.root",
        "buckets.b",
        "warehouses.b",
        "policies.p",
        "buckets.b.policy",
        "groups.g.policies",
        "users.u.groups",
        "users.u.policies",
        "buckets.b.owner",
        "warehouses.b",
        "users.u.keys.b.file",
    ];
    assert_eq!(found, expected, "{faults:?}");
}

#[test]
fn what_no_step_could_do_is_a_fault() {
    let mut world = carried_out(empty(), &plan(&parse(ALL), &empty()).expect("sound"));
    world.buckets.get_mut("web").expect("there").blocks_public_policy = true;
    world.key_files.insert("taken.env".into(), "it is there already".to_owned());
    let check = |text: &str, at: &str, why: &str| {
        let faults = plan(&parse(text), &world).expect_err(text);
        let [fault] = faults.as_slice() else { panic!("{text}: {faults:?}") };
        assert!(fault.at == at && fault.why.contains(why), "{text}: {fault}");
    };
    check("[users.Ana]", "users.Ana", "there is a user ana");
    check("[users.\"a b\"]", "users.a b", "letters");
    check("[users.Root]", "users.Root", "root");
    check("[groups.ANALYSTS]", "groups.ANALYSTS", "there is a group analysts");
    check("[groups.n]\n[groups.N]", "groups.n", "there is a group N");
    check(&format!("[policies]\nRead = '{READ}'"), "policies.Read", "there is a policy read");
    check(&format!("[policies]\nAdmin = '{READ}'"), "policies.Admin", "always there");
    check("[buckets.A_b]", "buckets.A_b", "no buckets of that name");
    check("[buckets.metrics]", "buckets.metrics", "no buckets of that name");
    check("[warehouses.tables]", "warehouses.tables", "no buckets of that name");
    check("[users.ana.keys.ci]\nfile = \"taken.env\"", "users.ana.keys.ci.file", "it is there already");
    let twice = "[users.ana.keys.a]\nfile = \"./x/../f\"\n[users.ana.keys.b]\nfile = \"f\"";
    check(twice, "users.ana.keys.b.file", "the same file");
    let many: Vec<String> = (0..=USER_GROUPS_MAX).map(|nth| format!("g{nth}")).collect();
    let groups: String = many.iter().map(|name| format!("[groups.{name}]\n")).collect();
    check(&format!("{groups}[users.u]\ngroups = {many:?}"), "users.u.groups", "more than 10");

    let policy = |principal: &str, action: &str, resource: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"{action}","Resource":"arn:aws:s3:::{resource}"}}]}}"#
        )
    };
    let bucket = |policy: &str| format!("[users.new]\n[buckets.fresh]\npolicy = '{policy}'");
    let at = "buckets.fresh.policy";
    check(&bucket(&policy("\"*\"", "s3:GetObject", "other/*")), at, "nothing of the bucket fresh");
    check(&bucket(&policy("\"*\"", "s3:GetObject", "fresh")), at, "Action");
    let named = |user: &str| format!("{{\"AWS\":\"arn:aws:iam::{ACCOUNT}:user/{user}\"}}");
    check(&bucket(&policy(&named("nobody"), "s3:GetObject", "fresh/*")), at, "is nobody here");
    let other = policy("\"*\"", "s3:PutObject", "web/*");
    check(&format!("[buckets.web]\npolicy = '{other}'"), "buckets.web.policy", "BlockPublicPolicy");
    // What is in force already is no step.
    assert_eq!(plan(&parse("[buckets.web]\npolicy = \"public.json\""), &world), Ok(vec![]));
    // A user of the same file, and one who is there, by ARN and by id.
    for principal in [named("new"), named("ana"), "{\"AWS\":\"AIDAana\"}".to_owned()] {
        let text = bucket(&policy(&principal, "s3:GetObject", "fresh/*"));
        assert_eq!(plan(&parse(&text), &world).expect("sound").len(), 3, "{text}");
    }
    world.buckets.get_mut("web").expect("there").policy = policy(&named("ana"), "s3:GetObject", "web/*");
    let by_id = policy("{\"AWS\":\"AIDAana\"}", "s3:GetObject", "web/*");
    assert_eq!(plan(&parse(&format!("[buckets.web]\npolicy = '{by_id}'")), &world), Ok(vec![]));
}

#[test]
fn lengths_of_time() {
    let check = |text: &str, expected: Option<u64>| assert_eq!(parse_seconds(text).ok(), expected, "{text}");
    check("900s", Some(900));
    check("15m", Some(900));
    check("1h", Some(3600));
    check("30d", Some(2_592_000));
    check("0s", None);
    check("900", None);
    check("h", None);
    check("-1h", None);
    check("99999999999999999999h", None);
    check("999999999999999999d", None);
}

#[test]
fn what_a_plan_prints_has_no_documents() {
    let steps = plan(&parse(ALL), &empty()).expect("sound");
    let printed = serde_json::to_string(&steps).expect("plain values");
    assert!(printed.starts_with("[{\"step\":\"create-policy\",\"policy\":\"read\"},"), "{printed}");
    assert!(!printed.contains("Effect"), "{printed}");
}
