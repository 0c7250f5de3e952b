//! The model against its own records, and the rules of its changes.

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::identity::policy::{NoContext, PrincipalNames, Question};
use crate::limits::{ATTACHED_POLICIES_MAX, POLICY_VERSIONS_MAX, USER_GROUPS_MAX, USER_KEYS_MAX};

const ACCOUNT: &str = "123456789012";

/// A generator whose numbers are the same at each run.
struct Numbers(Cell<u128>);

impl Numbers {
    fn new() -> Numbers {
        Numbers(Cell::new(1))
    }

    fn next(&self) -> u128 {
        let next = self.0.get().wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(3);
        self.0.set(next);
        next ^ (next >> 64)
    }

    fn below(&self, max: usize) -> usize {
        usize::try_from(self.next() % max as u128).expect("small")
    }
}

/// Turns secrets around, and knows for which record.
struct Mirror;

impl Sealer for Mirror {
    fn seal(&self, record_key: &[u8], secret: &Secret) -> String {
        let text: String = secret.expose().chars().rev().collect();
        format!("{}:{text}", hex::encode(record_key))
    }

    fn unseal(&self, record_key: &[u8], sealed: &str) -> Option<Secret> {
        let (key, text) = sealed.split_once(':')?;
        (key == hex::encode(record_key)).then(|| Secret::new(text.chars().rev().collect::<String>()))
    }
}

/// What the drives hold.
#[derive(Default)]
struct Stored(BTreeMap<Bytes, Bytes>);

impl Stored {
    fn write<T>(&mut self, change: &Change<T>) {
        for (key, record) in &change.writes {
            match record {
                Some(record) => drop(self.0.insert(key.clone(), record.encode(key, &Mirror))),
                None => assert!(self.0.remove(key).is_some(), "removes what is there: {key:?}"),
            }
        }
    }

    fn load(&self) -> Result<Model, RecordFault> {
        let values = self.0.iter().map(|(key, value)| (key.clone(), value.clone()));
        Model::load(ACCOUNT, values, &Mirror)
    }
}

/// What a user or group is given.
fn show_grants(grants: &Grants) -> String {
    let inline: Vec<_> = grants.inline.iter().map(|(name, policy)| (name, policy.text())).collect();
    format!("{inline:?} {:?}", grants.attached)
}

/// Everything that a model says, by every way that leads to it.
fn show(model: &Model) -> String {
    let mut text = format!("{:?}\n", model.facts());
    for user in model.users() {
        assert!(model.user(&user.name).is_some_and(|found| found.id == user.id));
        assert_eq!(user.owner_id, owner_id(ACCOUNT, &user.id));
        let groups: Vec<_> = model.groups_of(user).map(|group| group.name.clone()).collect();
        let keys: Vec<_> = model.keys_of(&user.id).map(|key| key.id.clone()).collect();
        let grants = show_grants(&user.grants);
        let user = User { grants: Grants::default(), ..User::clone(user) };
        text += &format!("{user:?} {grants} {groups:?} {keys:?}\n");
    }
    for group in model.groups() {
        let members: Vec<_> = model.members_of(&group.id).iter().map(|user| user.name.clone()).collect();
        let grants = show_grants(&group.grants);
        let group = Group { grants: Grants::default(), ..Group::clone(group) };
        text += &format!("{group:?} {grants} {members:?}\n");
    }
    for key in model.keys() {
        let policy = key.policy.as_ref().map(|policy| policy.text());
        let shown = AccessKey { last_use: Arc::default(), policy: None, ..AccessKey::clone(key) };
        text += &format!("{shown:?} {policy:?} {}\n", key.secret.expose());
    }
    for policy in model.managed() {
        assert!(model.policy(&model.policy_arn(policy)).is_some());
        let version = |(number, version): (&u64, &PolicyVersion)| {
            format!("{number} {} {}", version.created_ms, version.policy.text())
        };
        let versions: Vec<_> = policy.versions.iter().map(version).collect();
        let policy = ManagedPolicy { versions: BTreeMap::new(), ..ManagedPolicy::clone(policy) };
        text += &format!("{policy:?} {versions:?}\n");
    }
    let counts = (model.users.len(), model.groups.len(), model.keys.len(), model.policies.len());
    let names = [&model.user_names, &model.group_names, &model.policy_names];
    let names = names.map(|names| names.iter().map(|(name, id)| format!("{name} {id}")).collect::<Vec<_>>());
    text += &format!("{counts:?} {names:?}\n");
    text
}

/// What each user may do, of a few things, and which statement says so.
fn verdicts(model: &Model) -> Vec<String> {
    let mut verdicts = Vec::new();
    for user in model.users() {
        let set = model.policies_of(user);
        for action in ["s3:GetObject", "s3:PutObject", "iam:CreateUser"] {
            let principal = &PrincipalNames::ANONYMOUS;
            let question = Question { action, resource: "arn:aws:s3:::b/k", principal, context: &NoContext };
            verdicts.push(format!("{} {action} {:?}", user.name, set.decide(&question)));
        }
    }
    verdicts
}

fn allow(action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
    )
}

fn none<T>(change: Result<Change<T>, Fault>) -> Result<Change<()>, Fault> {
    change.map(|change| change.map(drop))
}

/// One random change, or the fault that stands against it.
fn random_change(model: &Model, numbers: &Numbers, moment: &Moment<'_>) -> Result<Change<()>, Fault> {
    let name = ["alice", "bob", "Carol", "DAVE", "erin", "frank"][numbers.below(6)];
    let group = ["readers", "Writers", "admins"][numbers.below(3)];
    let policy = ["p1", "P2", "p3"][numbers.below(3)];
    let path = ["/", "/a/", "/a/b/"][numbers.below(3)];
    let action = ["s3:GetObject", "s3:PutObject", "iam:*"][numbers.below(3)];
    let document = allow(action);
    let of = if numbers.below(2) == 0 { Of::User(name) } else { Of::Group(group) };
    let managed: Vec<_> = model.managed().map(|policy| model.policy_arn(policy)).collect();
    let arn = match numbers.below(4) {
        0 => "arn:aws:iam::aws:policy/readwrite".to_owned(),
        _ => managed.get(numbers.below(managed.len().max(1))).cloned().unwrap_or_default(),
    };
    let keys: Vec<_> = model.keys().collect();
    let key = keys.get(numbers.below(keys.len().max(1)));
    let owner = key.and_then(|key| model.user_by_id(&key.user)).map_or("", |user| &user.name);
    let key = key.map_or("", |key| &key.id);
    let tags = Tags::from([(policy.to_owned(), path.to_owned())]);
    match numbers.below(26) {
        0 | 1 => none(model.create_user(&NewUser { name, path, tags }, moment)),
        2 => none(model.update_user(name, Some(["gail", "Bob", "Alice"][numbers.below(3)]), Some(path))),
        3 => none(model.set_user_enabled(name, numbers.below(2) == 0)),
        4 => none(model.revoke_sessions(name)),
        5 => model.tag_user(name, tags),
        6 => model.untag_user(name, &[policy]),
        7 => model.delete_user(name),
        8 => none(model.create_group(group, path, moment)),
        9 => none(model.update_group(group, Some(["Readers", "others"][numbers.below(2)]), None)),
        10 | 11 => model.add_to_group(group, name),
        12 => model.remove_from_group(group, name),
        13 => model.delete_group(group),
        14 | 15 => model.put_inline_policy(of, policy, &document),
        16 => model.delete_inline_policy(of, policy),
        17 | 18 => model.attach_policy(of, &arn),
        19 => model.detach_policy(of, &arn),
        20 => {
            let new = NewAccessKey {
                name: Some(path),
                expires_ms: (numbers.below(2) == 0).then_some(moment.now_ms + 1_000),
                policy: (numbers.below(2) == 0).then_some(document.as_str()),
                given: None,
            };
            none(model.create_access_key(name, &new, moment))
        }
        21 => model.set_key_enabled(owner, key, numbers.below(2) == 0),
        22 => model.delete_access_key(owner, key),
        23 => {
            let new = NewPolicy { name: policy, path, description: action, document: &document, tags };
            none(model.create_policy(&new, moment))
        }
        24 => match numbers.below(3) {
            0 => none(model.create_policy_version(&arn, &document, numbers.below(2) == 0, moment)),
            1 => model.set_default_policy_version(&arn, 1 + numbers.below(6) as u64, moment),
            _ => model.delete_policy_version(&arn, 1 + numbers.below(6) as u64),
        },
        _ => match numbers.below(5) {
            0 => model.delete_policy(&arn),
            1 => model.tag_policy(&arn, tags),
            2 => model.untag_policy(&arn, &[policy]),
            3 => model.revoke_root_sessions(),
            _ => model.revoke_web_sessions(),
        },
    }
}

#[test]
fn what_is_written_is_the_model() {
    let numbers = Numbers::new();
    let random = || numbers.next();
    let (mut model, mut stored) = (Model::empty(ACCOUNT), Stored::default());
    let (mut made, mut refused) = (0, 0);
    for step in 0..1_500_u64 {
        let before = step.is_multiple_of(97).then(|| (model.clone(), show(&model)));
        match random_change(&model, &numbers, &Moment { now_ms: 1_000 + step, random: &random }) {
            Ok(change) => {
                stored.write(&change);
                model = change.model;
                made += 1;
                let loaded = stored.load().expect("what was written can be read");
                assert_eq!(show(&loaded), show(&model), "step {step}");
                assert_eq!(verdicts(&loaded), verdicts(&model), "step {step}");
            }
            Err(_) => refused += 1,
        }
        if let Some((before, said)) = before {
            assert_eq!(show(&before), said, "a model never changes");
        }
    }
    assert!(500 < made && 300 < refused, "{made} made, {refused} refused");
}

#[test]
fn what_is_joined_is_written_together() {
    let numbers = Numbers::new();
    let random = || numbers.next();
    let moment = Moment { now_ms: 5, random: &random };
    let new = NewUser { name: "alice", path: "/", tags: Tags::new() };
    let change = Model::empty(ACCOUNT).create_user(&new, &moment).expect("made");
    let change = change.then(|model, _| model.put_inline_policy(Of::User("alice"), "p", &allow("s3:*")));
    let change = change.and_then(|change| change.then(|model, ()| model.create_group("g", "/", &moment)));
    let change =
        change.and_then(|change| change.then(|model, _| model.add_to_group("g", "alice"))).expect("made");
    assert_eq!(change.writes.len(), 2, "a key stands once");
    let mut stored = Stored::default();
    stored.write(&change);
    assert_eq!(show(&stored.load().expect("a model")), show(&change.model));
}

/// A model to try changes on.
struct Scene {
    numbers: Numbers,
    model: Model,
}

impl Scene {
    fn new() -> Scene {
        let mut scene = Scene { numbers: Numbers::new(), model: Model::empty(ACCOUNT) };
        for name in ["alice", "bob"] {
            scene.apply(|model, moment| {
                model.create_user(&NewUser { name, path: "/", tags: Tags::new() }, moment)
            });
        }
        scene
    }

    fn attempt<T>(
        &mut self,
        change: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<T>, Fault>,
    ) -> Result<T, Fault> {
        let random = || self.numbers.next();
        let change = change(&self.model, &Moment { now_ms: 10, random: &random })?;
        self.model = change.model;
        Ok(change.answer)
    }

    fn apply<T>(&mut self, change: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<T>, Fault>) -> T {
        self.attempt(change).expect("it is made")
    }

    fn set(&self, name: &str) -> Arc<PolicySet> {
        self.model.policies_of(self.model.user(name).expect("a user"))
    }
}

#[test]
fn policies_are_compiled_again_for_whom_they_change() {
    let mut scene = Scene::new();
    let new =
        NewPolicy { name: "p", path: "/", description: "", document: &allow("s3:*"), tags: Tags::new() };
    let policy = scene.apply(|model, moment| model.create_policy(&new, moment));
    let arn = scene.model.policy_arn(&policy);
    scene.apply(|model, moment| model.create_group("g", "/", moment));
    scene.apply(|model, _| model.add_to_group("g", "alice"));
    scene.apply(|model, _| model.attach_policy(Of::Group("g"), &arn));
    let mut check = |what: &str, alice: bool, bob: bool, change: &dyn Fn(&mut Scene)| {
        let before = (scene.set("alice"), scene.set("bob"));
        change(&mut scene);
        assert_eq!(!Arc::ptr_eq(&before.0, &scene.set("alice")), alice, "alice: {what}");
        assert_eq!(!Arc::ptr_eq(&before.1, &scene.set("bob")), bob, "bob: {what}");
    };
    check("nothing", false, false, &|_| ());
    check("a key", false, false, &|scene| {
        scene.apply(|model, moment| model.create_access_key("alice", &NewAccessKey::default(), moment));
    });
    check("a policy of the group", true, false, &|scene| {
        scene.apply(|model, _| model.put_inline_policy(Of::Group("g"), "i", &allow("iam:*")));
    });
    check("a version that is not in force", true, false, &|scene| {
        scene.apply(|model, moment| model.create_policy_version(&arn, &allow("iam:*"), false, moment));
    });
    check("a version in force", true, false, &|scene| {
        scene.apply(|model, moment| model.set_default_policy_version(&arn, 2, moment));
    });
    check("a policy of bob", false, true, &|scene| {
        scene.apply(|model, _| model.put_inline_policy(Of::User("bob"), "i", &allow("iam:*")));
    });
    check("another user", false, false, &|scene| {
        let new = NewUser { name: "carol", path: "/", tags: Tags::new() };
        scene.apply(|model, moment| model.create_user(&new, moment));
    });
    // A user of an older model is compiled by what it says.
    let old = scene.model.user("bob").cloned().expect("a user");
    scene.apply(|model, _| model.delete_inline_policy(Of::User("bob"), "i"));
    assert!(!Arc::ptr_eq(&scene.model.policies_of(&old), &scene.set("bob")));
}

#[test]
fn names_are_one_without_regard_to_case_and_found_as_they_are() {
    let mut scene = Scene::new();
    let new = |name| NewUser { name, path: "/", tags: Tags::new() };
    let taken = |name: &str| Err(Fault::EntityAlreadyExists { entity: Entity::User, name: name.to_owned() });
    for name in ["alice", "ALICE", "root", "Root"] {
        let made = scene.attempt(|model, moment| model.create_user(&new(name), moment)).map(drop);
        assert_eq!(made, taken(name));
    }
    assert!(scene.model.user("ALICE").is_none());
    let id = scene.model.user("alice").map(|user| (user.id.clone(), user.owner_id.clone()));
    scene.apply(|model, _| model.update_user("alice", Some("Alice"), Some("/team/")));
    let user = scene.model.user("Alice").cloned().expect("a user");
    assert_eq!(Some((user.id.clone(), user.owner_id.clone())), id);
    assert_eq!(scene.model.user_arn(&user), "arn:aws:iam::123456789012:user/team/Alice");
    let made = scene.attempt(|model, _| model.update_user("Alice", Some("BOB"), None)).map(drop);
    assert_eq!(made, taken("BOB"));
    let long = "n".repeat(65);
    for name in ["", "a b", "a/b", "é", "a*", &long] {
        let made = scene.attempt(|model, moment| model.create_user(&new(name), moment)).map(drop);
        assert!(matches!(made, Err(Fault::InvalidInput { name: "UserName", .. })), "{name}");
    }
    for path in ["", "a", "/a", "a/", "//", "/é/", "/a b/"] {
        let new = NewUser { path, ..new("carol") };
        let made = scene.attempt(|model, moment| model.create_user(&new, moment)).map(drop);
        assert!(matches!(made, Err(Fault::InvalidInput { name: "Path", .. })), "{path}");
    }
}

#[test]
fn what_is_held_is_not_deleted() {
    let mut scene = Scene::new();
    let held = |entity, held_by| Err(Fault::DeleteConflict { entity, held_by });
    let new =
        NewPolicy { name: "p", path: "/", description: "", document: &allow("s3:*"), tags: Tags::new() };
    let arn = scene.apply(|model, moment| model.create_policy(&new, moment));
    let arn = scene.model.policy_arn(&arn);
    let key = scene.apply(|model, moment| model.create_access_key("alice", &NewAccessKey::default(), moment));
    scene.apply(|model, moment| model.create_group("g", "/", moment));
    scene.apply(|model, _| model.add_to_group("g", "alice"));
    scene.apply(|model, _| model.attach_policy(Of::User("alice"), &arn));
    scene.apply(|model, _| model.put_inline_policy(Of::User("alice"), "i", &allow("s3:*")));
    scene.apply(|model, moment| model.create_policy_version(&arn, &allow("iam:*"), true, moment));

    assert_eq!(
        scene.attempt(|model, _| model.delete_policy(&arn)),
        held(Entity::Policy, HeldBy::Attachments)
    );
    assert_eq!(
        scene.attempt(|model, _| model.delete_policy_version(&arn, 2)),
        held(Entity::PolicyVersion, HeldBy::Default)
    );
    assert_eq!(scene.attempt(|model, _| model.delete_group("g")), held(Entity::Group, HeldBy::Members));
    assert_eq!(scene.attempt(|model, _| model.delete_user("alice")), held(Entity::User, HeldBy::AccessKeys));
    scene.apply(|model, _| model.delete_access_key("alice", &key.id));
    assert_eq!(
        scene.attempt(|model, _| model.delete_user("alice")),
        held(Entity::User, HeldBy::InlinePolicies)
    );
    scene.apply(|model, _| model.delete_inline_policy(Of::User("alice"), "i"));
    assert_eq!(
        scene.attempt(|model, _| model.delete_user("alice")),
        held(Entity::User, HeldBy::AttachedPolicies)
    );
    scene.apply(|model, _| model.detach_policy(Of::User("alice"), &arn));
    assert_eq!(scene.attempt(|model, _| model.delete_user("alice")), held(Entity::User, HeldBy::Groups));
    scene.apply(|model, _| model.remove_from_group("g", "alice"));
    scene.apply(|model, _| model.delete_user("alice"));
    scene.apply(|model, _| model.delete_group("g"));
    assert_eq!(scene.attempt(|model, _| model.delete_policy(&arn)), held(Entity::Policy, HeldBy::Versions));
    scene.apply(|model, _| model.delete_policy_version(&arn, 1));
    scene.apply(|model, _| model.delete_policy(&arn));
    assert!(scene.model.user("alice").is_none() && scene.model.key(&key.id).is_none());
}

#[test]
fn bounds() {
    let mut scene = Scene::new();
    let over = |limit, max| Err(Fault::LimitExceeded { limit, max });
    for _ in 0..USER_KEYS_MAX {
        scene.apply(|model, moment| model.create_access_key("alice", &NewAccessKey::default(), moment));
    }
    let key =
        scene.attempt(|model, moment| model.create_access_key("alice", &NewAccessKey::default(), moment));
    assert_eq!(key.map(drop), over("USER_KEYS_MAX", USER_KEYS_MAX));
    for nth in 0..=USER_GROUPS_MAX {
        let name = format!("g{nth}");
        scene.apply(|model, moment| model.create_group(&name, "/", moment));
        let entered = scene.attempt(|model, _| model.add_to_group(&name, "alice"));
        assert_eq!(entered.is_ok(), nth < USER_GROUPS_MAX, "{nth}");
    }
    let document = allow("s3:*");
    for nth in 0..=ATTACHED_POLICIES_MAX {
        let name = format!("p{nth}");
        let new =
            NewPolicy { name: &name, path: "/", description: "", document: &document, tags: Tags::new() };
        scene.apply(|model, moment| model.create_policy(&new, moment));
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{name}");
        let attached = scene.attempt(|model, _| model.attach_policy(Of::User("alice"), &arn));
        assert_eq!(attached.is_ok(), nth < ATTACHED_POLICIES_MAX, "{nth}");
    }
    let arn = format!("arn:aws:iam::{ACCOUNT}:policy/p0");
    for nth in 1..=POLICY_VERSIONS_MAX {
        let version =
            scene.attempt(|model, moment| model.create_policy_version(&arn, &document, false, moment));
        assert_eq!(version.is_ok(), nth < POLICY_VERSIONS_MAX, "{nth}");
    }
    let names = (0..).map(|nth| format!("i{nth}"));
    let refused = names.take(100).find_map(|name| {
        scene.attempt(|model, _| model.put_inline_policy(Of::User("bob"), &name, &document)).err()
    });
    assert!(
        matches!(refused, Some(Fault::LimitExceeded { limit: "INLINE_POLICIES_MAX", .. })),
        "{refused:?}"
    );
}

#[test]
fn keys_given_and_keys_of_others() {
    let mut scene = Scene::new();
    let given =
        |id, secret: &str| NewAccessKey { given: Some((id, Secret::new(secret))), ..NewAccessKey::default() };
    let key =
        scene.apply(|model, moment| model.create_access_key("alice", &given("ci-1", "12345678"), moment));
    assert_eq!((key.id.as_str(), key.secret.expose()), ("ci-1", "12345678"));
    let again =
        scene.attempt(|model, moment| model.create_access_key("bob", &given("ci-1", "12345678"), moment));
    assert!(matches!(again, Err(Fault::EntityAlreadyExists { entity: Entity::AccessKey, .. })), "{again:?}");
    for (id, secret) in [
        ("a/b", "12345678"),
        ("ab", "12345678"),
        ("NILTX", "12345678"),
        ("abc", "1234567"),
        ("abc", "1234 5678"),
    ] {
        let made = scene.attempt(|model, moment| model.create_access_key("bob", &given(id, secret), moment));
        assert!(matches!(made, Err(Fault::InvalidInput { .. })), "{id} {secret}");
    }
    let other = scene.attempt(|model, _| model.delete_access_key("bob", "ci-1"));
    assert_eq!(other, Err(Fault::NoSuchEntity { entity: Entity::AccessKey, name: "ci-1".to_owned() }));
    let past = NewAccessKey { expires_ms: Some(10), ..NewAccessKey::default() };
    let made = scene.attempt(|model, moment| model.create_access_key("bob", &past, moment)).map(drop);
    assert!(matches!(made, Err(Fault::InvalidInput { name: "Expires", .. })), "{made:?}");
    let key = AccessKey { expires_ms: Some(20), ..AccessKey::clone(&key) };
    assert!(key.is_valid(19) && !key.is_valid(20));
    assert!(!AccessKey { is_enabled: false, ..key }.is_valid(0));
}

#[test]
fn last_use() {
    let last_use = LastUse::default();
    assert_eq!(last_use.read(), None);
    last_use.note(61_000, UsedFor::Tables);
    assert_eq!(last_use.read(), Some((60_000, UsedFor::Tables)));
    last_use.note(119_000, UsedFor::Sts);
    assert_eq!(last_use.read(), Some((60_000, UsedFor::Tables)));
    last_use.note(120_000, UsedFor::Sts);
    assert_eq!(last_use.read(), Some((120_000, UsedFor::Sts)));
}

#[test]
fn canned_policies_stay_as_they_are() {
    let mut scene = Scene::new();
    let canned: Vec<_> = scene.model.canned().iter().map(|canned| canned.name).collect();
    for name in canned {
        let arn = format!("arn:aws:iam::aws:policy/{name}");
        assert!(scene.model.policy_named(name).is_some());
        let refused = Err(Fault::UnmodifiableEntity { arn: arn.clone() });
        assert_eq!(scene.attempt(|model, _| model.delete_policy(&arn)), refused);
        let new =
            NewPolicy { name, path: "/x/", description: "", document: &allow("s3:*"), tags: Tags::new() };
        let made = scene.attempt(|model, moment| model.create_policy(&new, moment)).map(drop);
        assert!(matches!(made, Err(Fault::EntityAlreadyExists { .. })), "{name}");
        scene.apply(|model, _| model.attach_policy(Of::User("alice"), &arn));
        scene.apply(|model, _| model.attach_policy(Of::User("alice"), &arn));
        scene.apply(|model, _| model.detach_policy(Of::User("alice"), &arn));
        assert!(scene.attempt(|model, _| model.detach_policy(Of::User("alice"), &arn)).is_err());
    }
    assert!(scene.model.policy_named("nobody").is_none() && scene.model.policy("").is_none());
}

#[test]
fn records_that_are_not_understood() {
    let check = |key: &str, value: &str, want: &str| {
        let key = hex::decode(key).map(Bytes::from).expect("hex");
        let user = r#"{"v":1,"name":"u","path":"/","created_ms":1,"enabled":true,"session_epoch":0,"inline":{},"attached":[],"groups":[],"tags":{}}"#;
        let values =
            [(Bytes::from_static(b"\x20AIDAU"), Bytes::from(user)), (key, Bytes::from(value.to_owned()))];
        let fault = Model::load(ACCOUNT, values.into_iter(), &Mirror).map(drop).expect_err(want).to_string();
        assert!(fault.contains(want), "{fault} / {want}");
    };
    check("", "{}", "no known kind");
    check("25", "{}", "identity record 25: its key is of no known kind");
    check("20", "{}", "no known kind");
    check("2041ff", "{}", "no known kind");
    check("2041", "no", "identity record User A: expected");
    check("2041", "{}", "missing field `v`");
    check("2041", r#"{"v":2,"new":1}"#, "version 2, expected 1");
    check(
        "2141",
        r#"{"v":1,"name":"g","path":"/","created_ms":1,"inline":{},"attached":[],"flavour":1}"#,
        "unknown field `flavour`",
    );
    check(
        "2141",
        r#"{"v":1,"name":"g","path":"/","created_ms":1,"inline":{},"attached":["ANPAX"]}"#,
        "names ANPAX",
    );
    check(
        "2141",
        r#"{"v":1,"name":"g","path":"/","created_ms":1,"inline":{},"attached":["canned/new"]}"#,
        "names canned/new",
    );
    check(
        "2141",
        r#"{"v":1,"name":"g","path":"/","created_ms":1,"inline":{"p":"{"},"attached":[]}"#,
        "policy",
    );
    check(
        "2041",
        r#"{"v":1,"name":"U","path":"/","created_ms":1,"enabled":true,"session_epoch":0,"inline":{},"attached":[],"groups":[],"tags":{}}"#,
        "the name U is another one's",
    );
    check(
        "2041",
        r#"{"v":1,"name":"x","path":"/","created_ms":1,"enabled":true,"session_epoch":0,"inline":{},"attached":[],"groups":["AGPAX"],"tags":{}}"#,
        "names AGPAX",
    );
    check(
        "2241",
        r#"{"v":1,"user":"AIDAU","secret":"00:x","name":null,"created_ms":1,"expires_ms":null,"enabled":true,"policy":null}"#,
        "does not open",
    );
    check(
        "2241",
        r#"{"v":1,"user":"AIDAX","secret":"2241:x","name":null,"created_ms":1,"expires_ms":null,"enabled":true,"policy":null}"#,
        "names AIDAX",
    );
    check(
        "2341",
        r#"{"v":1,"name":"p","path":"/","description":"","created_ms":1,"updated_ms":1,"default":1,"next":2,"versions":[],"tags":{}}"#,
        "version 1",
    );
    check("24", r#"{"v":1,"root_session_epoch":1}"#, "missing field `web_session_epoch`");
}

#[test]
fn secrets_do_not_show_themselves() {
    let mut scene = Scene::new();
    let key = scene.apply(|model, moment| model.create_access_key("alice", &NewAccessKey::default(), moment));
    assert_eq!((key.id.len(), key.secret.expose().len()), (20, 40));
    assert!(!format!("{key:?} {:?}", scene.model).contains(key.secret.expose()));
}
