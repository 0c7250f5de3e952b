//! Operations against a model in memory: what they tell, what they refuse, and what they are judged on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::*;
use crate::identity::model::NewUser;

const ACCOUNT: &str = "123456789012";

/// Writes down what it is asked.
struct Judge {
    allows: bool,
    asked: RefCell<Vec<String>>,
}

impl Access for Judge {
    fn allows_with(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> bool {
        let facts: String = facts.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        self.asked.borrow_mut().push(format!("{action} {resource}{facts}"));
        self.allows
    }
}

struct Scene {
    model: Model,
    random: Cell<u128>,
    /// The user who asks; nobody for the root key.
    asker: Option<&'static str>,
    root_key: Option<&'static str>,
}

impl Scene {
    fn new() -> Scene {
        Scene { model: Model::empty(ACCOUNT), random: Cell::new(1), asker: None, root_key: Some("AK") }
    }

    /// A store with a bit of everything.
    fn full() -> Scene {
        let mut scene = Scene::new();
        scene.told("CreateUser&UserName=alice&Path=/team/&Tags.member.1.Key=a&Tags.member.1.Value=b");
        scene.told("CreateUser&UserName=bob");
        scene.told("CreateGroup&GroupName=g");
        scene.told("AddUserToGroup&GroupName=g&UserName=alice");
        scene.told(&format!("CreatePolicy&PolicyName=p&PolicyDocument={}", allow("s3:Get*")));
        scene.told(&format!("AttachUserPolicy&UserName=alice&PolicyArn={}", arn("policy/p")));
        scene.told(&format!("PutGroupPolicy&GroupName=g&PolicyName=i&PolicyDocument={}", allow("s3:Put*")));
        scene
    }

    fn ask(&mut self, form: &str, access: &Judge) -> Result<String, QueryError> {
        let form = Form::parse(format!("Version=2010-05-08&Action={form}").as_bytes())?;
        let operation = find(&form)?;
        let model = self.model.clone();
        let user = self.asker.and_then(|name| model.user(name)).map(|user| &**user);
        let asker = Asker { access, arn: "arn:me", user, root_key: self.root_key, region: "us-east-1" };
        let told = match plan(operation, &form, &model, asker)? {
            Plan::Tell(told) => told,
            Plan::Change(next) => {
                let random = || {
                    self.random.set(self.random.get().wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(11));
                    self.random.get() ^ (self.random.get() << 64)
                };
                let change = next(&model, &Moment { now_ms: 1_700_000_000_000, random: &random })?;
                self.model = change.model;
                change.answer
            }
        };
        assert_eq!(
            told.is_empty(),
            operation.row().result.is_empty(),
            "{operation:?} tells what its row says"
        );
        Ok(String::from_utf8(told.to_vec()).expect("UTF-8"))
    }

    fn told(&mut self, form: &str) -> String {
        let judge = Judge { allows: true, asked: RefCell::default() };
        self.ask(form, &judge).unwrap_or_else(|error| panic!("{form}: {error:?}"))
    }

    fn code(&mut self, form: &str) -> (&'static str, u16) {
        let judge = Judge { allows: true, asked: RefCell::default() };
        let error = self.ask(form, &judge).map(|told| panic!("{form}: {told}")).unwrap_or_else(|error| error);
        let (code, status) = error.code();
        (code, status.as_u16())
    }

    /// What a form is judged on, when it is allowed.
    fn judged(&mut self, form: &str) -> String {
        let judge = Judge { allows: true, asked: RefCell::default() };
        drop(self.ask(form, &judge));
        judge.asked.take().join("; ")
    }
}

fn arn(rest: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:{rest}")
}

fn allow(action: &str) -> String {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
    );
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The text of an element.
fn text<'a>(xml: &'a str, tag: &str) -> &'a str {
    let open = format!("<{tag}>");
    let rest = xml.split_once(&open).map_or("", |(_, rest)| rest);
    rest.split_once(&format!("</{tag}>")).map_or("", |(text, _)| text)
}

fn texts<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let open = format!("<{tag}>");
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once("</")).map(|(text, _)| text).collect()
}

#[test]
fn users() {
    let mut scene = Scene::new();
    let made = scene.told("CreateUser&UserName=alice&Path=/a/&Tags.member.1.Key=k&Tags.member.1.Value=v+w");
    let id = text(&made, "UserId").to_owned();
    assert!(id.starts_with("AIDA") && id.len() == 21, "{id}");
    let user = format!(
        "<User><Path>/a/</Path><UserName>alice</UserName><UserId>{id}</UserId><Arn>{}</Arn><CreateDate>2023-11-14T22:13:20Z</CreateDate><Tags><member><Key>k</Key><Value>v w</Value></member></Tags></User>",
        arn("user/a/alice")
    );
    assert_eq!(made, user);
    assert_eq!(scene.told("GetUser&UserName=alice"), user);
    scene.asker = Some("alice");
    assert_eq!(scene.told("GetUser"), user);
    scene.asker = None;
    assert_eq!(text(&scene.told("GetUser"), "Arn"), arn("root"));
    scene.root_key = None;
    for operation in ["GetUser", "ListAccessKeys", "CreateAccessKey", "ListMFADevices"] {
        assert_eq!(scene.code(operation), ("ValidationError", 400), "a web identity is no user");
    }
    scene.root_key = Some("AK");
    scene.told("UpdateUser&UserName=alice&NewUserName=eve&NewPath=/");
    assert_eq!(text(&scene.told("GetUser&UserName=eve"), "UserId"), id);
    scene.told("TagUser&UserName=eve&Tags.member.1.Key=k2&Tags.member.1.Value=x");
    scene.told("UntagUser&UserName=eve&TagKeys.member.1=k");
    assert_eq!(texts(&scene.told("ListUserTags&UserName=eve"), "Key"), ["k2"]);
    assert_eq!(scene.code("CreateUser&UserName=EVE"), ("EntityAlreadyExists", 409));
    assert_eq!(scene.code("GetUser&UserName=alice"), ("NoSuchEntity", 404));
    assert_eq!(scene.code("CreateUser"), ("ValidationError", 400));
    assert_eq!(scene.code("CreateUser&UserName=a%20b"), ("ValidationError", 400));
    assert_eq!(scene.code("CreateUser&UserName=x&PermissionsBoundary=arn"), ("InvalidInput", 400));
    assert_eq!(
        scene.code("CreateUser&UserName=x&Tags.member.1.Key=a&Tags.member.2.Key=a"),
        ("InvalidInput", 400)
    );
    scene.told("DeleteUser&UserName=eve");
    assert_eq!(scene.told("ListUsers"), "<Users></Users><IsTruncated>false</IsTruncated>");
}

#[test]
fn lists_have_pages() {
    let mut scene = Scene::new();
    for nth in 0..7 {
        scene.told(&format!("CreateUser&UserName=u{nth}&Path={}", if nth < 5 { "/a/" } else { "/" }));
    }
    let (mut names, mut marker) = (Vec::new(), String::new());
    loop {
        let page = scene.told(&format!("ListUsers&MaxItems=2&PathPrefix=/a/{marker}"));
        names.extend(texts(&page, "UserName").into_iter().map(str::to_owned));
        match text(&page, "IsTruncated") {
            "true" => marker = format!("&Marker={}", text(&page, "Marker")),
            _ => break,
        }
    }
    assert_eq!(names, ["u0", "u1", "u2", "u3", "u4"]);
    assert_eq!(scene.code("ListUsers&Marker=*"), ("ValidationError", 400));
}

#[test]
fn groups() {
    let mut scene = Scene::full();
    let group = scene.told("GetGroup&GroupName=g");
    assert_eq!((text(&group, "Arn"), texts(&group, "UserName")), (arn("group/g").as_str(), vec!["alice"]));
    assert_eq!(texts(&scene.told("ListGroupsForUser&UserName=alice"), "GroupName"), ["g"]);
    assert_eq!(scene.code("DeleteGroup&GroupName=g"), ("DeleteConflict", 409));
    scene.told("UpdateGroup&GroupName=g&NewGroupName=h&NewPath=/x/");
    assert_eq!(texts(&scene.told("ListGroups"), "GroupName"), ["h"]);
    assert_eq!(scene.code("AddUserToGroup&GroupName=h&UserName=nobody"), ("NoSuchEntity", 404));
    scene.told("RemoveUserFromGroup&GroupName=h&UserName=alice");
    assert_eq!(scene.code("RemoveUserFromGroup&GroupName=h&UserName=alice"), ("NoSuchEntity", 404));
    scene.told("DeleteGroupPolicy&GroupName=h&PolicyName=i");
    scene.told("DeleteGroup&GroupName=h");
    assert_eq!(scene.code("GetGroup&GroupName=h"), ("NoSuchEntity", 404));
}

#[test]
fn access_keys() {
    let mut scene = Scene::full();
    let made = scene.told("CreateAccessKey&UserName=alice");
    let (id, secret) = (text(&made, "AccessKeyId").to_owned(), text(&made, "SecretAccessKey").to_owned());
    assert_eq!((id.len(), secret.len(), text(&made, "Status")), (20, 40, "Active"));
    let list = scene.told("ListAccessKeys&UserName=alice");
    assert_eq!((texts(&list, "AccessKeyId"), list.contains(&secret)), (vec![id.as_str()], false));
    scene.told(&format!("UpdateAccessKey&UserName=alice&AccessKeyId={id}&Status=Inactive"));
    assert_eq!(text(&scene.told("ListAccessKeys&UserName=alice"), "Status"), "Inactive");
    let used = scene.told(&format!("GetAccessKeyLastUsed&AccessKeyId={id}"));
    assert_eq!((text(&used, "UserName"), text(&used, "ServiceName")), ("alice", "N/A"));
    scene
        .model
        .key(&id)
        .expect("a key")
        .last_use
        .note(1_700_000_000_000, crate::identity::model::UsedFor::S3);
    let used = scene.told(&format!("GetAccessKeyLastUsed&AccessKeyId={id}"));
    assert_eq!((text(&used, "LastUsedDate"), text(&used, "ServiceName")), ("2023-11-14T22:13:00Z", "s3"));
    assert_eq!(
        scene.code(&format!("UpdateAccessKey&UserName=alice&AccessKeyId={id}&Status=On")).0,
        "ValidationError"
    );
    assert_eq!(scene.code(&format!("DeleteAccessKey&UserName=bob&AccessKeyId={id}")), ("NoSuchEntity", 404));
    scene.asker = Some("alice");
    scene.told(&format!("DeleteAccessKey&AccessKeyId={id}"));
    assert_eq!(texts(&scene.told("ListAccessKeys"), "AccessKeyId"), Vec::<&str>::new());
    scene.asker = None;
    assert_eq!(texts(&scene.told("ListAccessKeys"), "AccessKeyId"), ["AK"]);
    assert_eq!(scene.code("CreateAccessKey"), ("InvalidInput", 400));
    assert_eq!(scene.code("GetAccessKeyLastUsed&AccessKeyId=NILASX"), ("NoSuchEntity", 404));
}

#[test]
fn grants() {
    let mut scene = Scene::full();
    let policy = scene.told("GetGroupPolicy&GroupName=g&PolicyName=i");
    assert_eq!((text(&policy, "GroupName"), text(&policy, "PolicyName")), ("g", "i"));
    assert!(text(&policy, "PolicyDocument").starts_with("%7B%22Version%22%3A%222012-10-17%22"), "{policy}");
    scene.told(&format!("PutUserPolicy&UserName=bob&PolicyName=x&PolicyDocument={}", allow("s3:*")));
    assert_eq!(
        scene.told("ListUserPolicies&UserName=bob"),
        "<PolicyNames><member>x</member></PolicyNames><IsTruncated>false</IsTruncated>"
    );
    assert_eq!(
        scene.code("PutUserPolicy&UserName=bob&PolicyName=x&PolicyDocument=%7B"),
        ("MalformedPolicyDocument", 400)
    );
    // Whatever it says: it is over a quota.
    for long in ["x".repeat(10_241), format!("{{{}}}", "+".repeat(32 << 10))] {
        for form in ["PutUserPolicy&UserName=bob", "PutGroupPolicy&GroupName=g", "CreatePolicy&Path=/"] {
            let code = scene.code(&format!("{form}&PolicyName=x&PolicyDocument={long}"));
            assert_eq!(code, ("LimitExceeded", 409), "{form}");
        }
    }
    assert_eq!(scene.code("GetUserPolicy&UserName=bob&PolicyName=y"), ("NoSuchEntity", 404));
    scene.told("DeleteUserPolicy&UserName=bob&PolicyName=x");
    assert_eq!(scene.code("DeleteUserPolicy&UserName=bob&PolicyName=x"), ("NoSuchEntity", 404));
    let canned = "arn:aws:iam::aws:policy/readwrite";
    scene.told(&format!("AttachUserPolicy&UserName=alice&PolicyArn={canned}"));
    let attached = scene.told("ListAttachedUserPolicies&UserName=alice");
    assert_eq!(texts(&attached, "PolicyArn"), [arn("policy/p").as_str(), canned]);
    scene.told(&format!("DetachUserPolicy&UserName=alice&PolicyArn={canned}"));
    assert_eq!(
        scene.code(&format!("DetachUserPolicy&UserName=alice&PolicyArn={canned}")),
        ("NoSuchEntity", 404)
    );
    assert_eq!(
        scene.code(&format!("AttachGroupPolicy&GroupName=g&PolicyArn={}", arn("policy/q"))).0,
        "NoSuchEntity"
    );
}

#[test]
fn policies() {
    let mut scene = Scene::full();
    let p = arn("policy/p");
    let policy = scene.told(&format!("GetPolicy&PolicyArn={p}"));
    assert_eq!(
        (text(&policy, "PolicyName"), text(&policy, "DefaultVersionId"), text(&policy, "AttachmentCount")),
        ("p", "v1", "1")
    );
    assert_eq!(
        scene.code(&format!("CreatePolicy&PolicyName=P&PolicyDocument={}", allow("s3:*"))),
        ("EntityAlreadyExists", 409)
    );
    let version = scene.told(&format!(
        "CreatePolicyVersion&PolicyArn={p}&SetAsDefault=true&PolicyDocument={}",
        allow("s3:*")
    ));
    assert_eq!((text(&version, "VersionId"), text(&version, "IsDefaultVersion")), ("v2", "true"));
    let versions = scene.told(&format!("ListPolicyVersions&PolicyArn={p}"));
    assert_eq!(texts(&versions, "VersionId"), ["v2", "v1"]);
    assert_eq!(texts(&versions, "IsDefaultVersion"), ["true", "false"]);
    let version = scene.told(&format!("GetPolicyVersion&PolicyArn={p}&VersionId=v1"));
    assert!(text(&version, "Document").contains("s3%3AGet%2A"), "{version}");
    scene.told(&format!("SetDefaultPolicyVersion&PolicyArn={p}&VersionId=v1"));
    assert_eq!(
        scene.code(&format!("DeletePolicyVersion&PolicyArn={p}&VersionId=v1")),
        ("DeleteConflict", 409)
    );
    scene.told(&format!("DeletePolicyVersion&PolicyArn={p}&VersionId=v2"));
    assert_eq!(scene.code(&format!("GetPolicyVersion&PolicyArn={p}&VersionId=v2")), ("NoSuchEntity", 404));
    assert_eq!(scene.code(&format!("GetPolicyVersion&PolicyArn={p}&VersionId=2")), ("ValidationError", 400));
    let entities = scene.told(&format!("ListEntitiesForPolicy&PolicyArn={p}"));
    assert_eq!((texts(&entities, "UserName"), texts(&entities, "GroupName").len()), (vec!["alice"], 0));
    scene.told(&format!("TagPolicy&PolicyArn={p}&Tags.member.1.Key=k&Tags.member.1.Value=v"));
    assert_eq!(texts(&scene.told(&format!("ListPolicyTags&PolicyArn={p}")), "Key"), ["k"]);
    scene.told(&format!("UntagPolicy&PolicyArn={p}&TagKeys.member.1=k"));
    assert_eq!(scene.code(&format!("DeletePolicy&PolicyArn={p}")), ("DeleteConflict", 409));
    assert_eq!(texts(&scene.told("ListPolicies&Scope=Local"), "PolicyName"), ["p"]);
    let canned = scene.told("ListPolicies&Scope=AWS");
    let names: BTreeSet<&str> = texts(&canned, "PolicyName").into_iter().collect();
    assert_eq!(names, scene.model.canned().iter().map(|canned| canned.name).collect());
    assert_eq!(texts(&scene.told("ListPolicies&OnlyAttached=true"), "PolicyName"), ["p"]);
    assert_eq!(scene.code("DeletePolicy&PolicyArn=arn:aws:iam::aws:policy/admin"), ("AccessDenied", 403));
    let admin = scene.told("GetPolicyVersion&PolicyArn=arn:aws:iam::aws:policy/admin&VersionId=v1");
    assert!(text(&admin, "Document").contains("%22Effect%22"), "{admin}");
    scene.told(&format!("DetachUserPolicy&UserName=alice&PolicyArn={p}"));
    scene.told(&format!("DeletePolicy&PolicyArn={p}"));
    assert_eq!(scene.code(&format!("GetPolicy&PolicyArn={p}")), ("NoSuchEntity", 404));
}

#[test]
fn the_account() {
    let mut scene = Scene::full();
    let summary = scene.told("GetAccountSummary");
    assert!(summary.contains("<entry><key>Users</key><value>2</value></entry>"), "{summary}");
    let details = scene.told("GetAccountAuthorizationDetails&MaxItems=1000");
    assert_eq!(texts(&details, "GroupList"), ["<member>g", ""]);
    assert_eq!(details.matches("<PolicyVersionList>").count(), 1 + scene.model.canned().len());
    let users = scene.told("GetAccountAuthorizationDetails&Filter.member.1=User");
    assert_eq!(texts(&users, "UserName"), ["alice", "bob"]);
    assert_eq!(text(&users, "GroupDetailList"), "");
}

#[test]
fn simulations() {
    let mut scene = Scene::full();
    let ask = "&ActionNames.member.1=s3:GetObject&ActionNames.member.2=s3:PutObject&ActionNames.member.3=iam:CreateUser&ResourceArns.member.1=arn:aws:s3:::b/k";
    let alice = arn("user/team/alice");
    let told = scene.told(&format!("SimulatePrincipalPolicy&PolicySourceArn={alice}{ask}"));
    assert_eq!(texts(&told, "EvalDecision"), ["allowed", "allowed", "implicitDeny"]);
    let by = texts(&told, "SourcePolicyId");
    assert!(by[0].contains(&arn("policy/p")) && by[1].contains("group/g/i"), "{by:?}");
    let told = scene.told(&format!("SimulateCustomPolicy&PolicyInputList.member.1={}{ask}", allow("iam:*")));
    assert_eq!(texts(&told, "EvalDecision"), ["implicitDeny", "implicitDeny", "allowed"]);
    assert_eq!(
        scene.code(&format!("SimulatePrincipalPolicy&PolicySourceArn={}{ask}", arn("user/alice"))).0,
        "NoSuchEntity"
    );
    assert_eq!(
        scene.code("SimulateCustomPolicy&PolicyInputList.member.1=x&ActionNames.member.1=a:b").0,
        "MalformedPolicyDocument"
    );
    assert_eq!(scene.code("SimulateCustomPolicy").0, "ValidationError");
}

/// What is not given is said to be missing, and no condition on it holds.
#[test]
fn condition_keys_that_policies_ask_for() {
    let mut scene = Scene::full();
    let policy: String = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username}/*"},
        {"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    scene.told(&format!("PutUserPolicy&UserName=bob&PolicyName=x&PolicyDocument={policy}"));
    let bob = arn("user/bob");
    let ask = "&ActionNames.member.1=s3:GetObject&ResourceArns.member.1=arn:aws:s3:::bob/k";
    let tls = "&ContextEntries.member.1.ContextKeyName=aws:securetransport&ContextEntries.member.1.ContextKeyType=boolean\
               &ContextEntries.member.1.ContextKeyValues.member.1=false";
    let missing = |told: &str| texts(text(told, "MissingContextValues"), "member").join(" ");
    let told = scene.told(&format!("SimulatePrincipalPolicy&PolicySourceArn={bob}{ask}"));
    assert_eq!((text(&told, "EvalDecision"), missing(&told).as_str()), ("allowed", "aws:SecureTransport"));
    let told = scene.told(&format!("SimulatePrincipalPolicy&PolicySourceArn={bob}{ask}{tls}"));
    assert_eq!((text(&told, "EvalDecision"), missing(&told).as_str()), ("explicitDeny", ""));
    let told = scene.told(&format!("SimulateCustomPolicy&PolicyInputList.member.1={policy}{ask}"));
    assert_eq!(missing(&told), "aws:SecureTransport aws:username");

    let keys = "<ContextKeyNames><member>aws:SecureTransport</member><member>aws:username</member></ContextKeyNames>";
    let asked = format!("GetContextKeysForPrincipalPolicy&PolicySourceArn={bob}");
    assert_eq!(scene.told(&asked), keys);
    assert_eq!(scene.judged(&asked), format!("iam:GetContextKeysForPrincipalPolicy {bob}"));
    assert_eq!(scene.told(&format!("GetContextKeysForCustomPolicy&PolicyInputList.member.1={policy}")), keys);
    assert_eq!(scene.code("GetContextKeysForCustomPolicy"), ("ValidationError", 400));
    assert_eq!(
        scene.code(&format!("GetContextKeysForPrincipalPolicy&PolicySourceArn={}", arn("user/no"))).0,
        "NoSuchEntity"
    );
}

#[test]
fn what_is_not_served() {
    let mut scene = Scene::full();
    assert_eq!(scene.code("CreateRole&RoleName=r"), ("InvalidAction", 400));
    let form = Form::parse(b"Action=GetUser&Version=2011-06-15").expect("a form");
    assert!(matches!(find(&form), Err(QueryError::InvalidAction { .. })));
    assert_eq!(find(&Form::default()), Err(QueryError::MissingAction));
    assert_eq!(scene.told("ListRoles"), "<Roles></Roles><IsTruncated>false</IsTruncated>");
    assert_eq!(scene.code("GetRole&RoleName=r"), ("NoSuchEntity", 404));
    assert_eq!(scene.code("GetLoginProfile&UserName=alice"), ("NoSuchEntity", 404));
    assert_eq!(scene.code("ListMFADevices&UserName=nobody"), ("NoSuchEntity", 404));
}

/// Every operation with everything that any of them needs.
fn filled(operation: Operation) -> String {
    let policy = match operation {
        Operation::CreatePolicy => "new",
        _ => "p",
    };
    format!(
        "{}&UserName=bob&GroupName=g&PolicyName={policy}&PolicyArn={}&VersionId=v1&AccessKeyId=NILASX&Status=Active&PolicyDocument={}&RoleName=r&InstanceProfileName=i&ServerCertificateName=c&OpenIDConnectProviderArn=arn:o&SAMLProviderArn=arn:s&SerialNumber=arn:m&PolicySourceArn={}&ActionNames.member.1=s3:GetObject",
        operation.facts().name,
        arn("policy/p"),
        allow("s3:*"),
        arn("user/bob"),
    )
}

#[test]
fn nothing_is_said_to_who_may_not() {
    let mut scene = Scene::full();
    let before = format!("{:?}", scene.model);
    let of_iam = |operation: &&Operation| operation.service() == Service::Iam;
    for operation in Operation::ALL.iter().filter(of_iam) {
        let judge = Judge { allows: false, asked: RefCell::default() };
        let refused = scene.ask(&filled(*operation), &judge);
        assert!(matches!(refused, Err(QueryError::AccessDenied { .. })), "{operation:?}: {refused:?}");
        let asked = judge.asked.take();
        let action = format!("{} ", operation.facts().action);
        assert!(asked.len() == 1 && asked[0].starts_with(&action), "{operation:?}: {asked:?}");
        let whole = asked[0] == format!("{action}*");
        assert_eq!(
            whole,
            operation.facts().resource == nilas_catalog::access::ResourceKind::Service,
            "{operation:?}"
        );
    }
    assert_eq!(format!("{:?}", scene.model), before);
}

#[test]
fn tags_are_read_whole_and_without_regard_to_case() {
    let mut scene = Scene::full();
    for form in [
        "TagUser&UserName=alice&Tags.member.2.Key=k",
        "TagUser&UserName=alice&Tags.1.Key=k",
        "UntagUser&UserName=alice&TagKeys.member.2=a",
        "UntagUser&UserName=alice&TagKeys.1=a",
        "CreateUser&UserName=x&Tags.member.1.key=k",
    ] {
        assert_eq!(scene.code(form), ("ValidationError", 400), "{form}");
    }
    let twice = "TagUser&UserName=alice&Tags.member.1.Key=k&Tags.member.2.Key=K";
    assert_eq!(scene.code(twice), ("InvalidInput", 400));
    scene.told("TagUser&UserName=alice&Tags.member.1.Key=A&Tags.member.1.Value=c");
    let list = scene.told("ListUserTags&UserName=alice");
    assert_eq!((texts(&list, "Key"), texts(&list, "Value")), (vec!["A"], vec!["c"]));
    assert_eq!(scene.model.tags_of(&arn("user/team/alice")).map(|tags| tags.len()), Some(1));
    assert_eq!(scene.model.tags_of(&arn("user/alice")), None);
    scene.told("UntagUser&UserName=alice&TagKeys.member.1=a");
    assert!(texts(&scene.told("ListUserTags&UserName=alice"), "Key").is_empty());
}

#[test]
fn what_policies_see_of_tags() {
    let check = |form: &str, want: &[(&str, Option<&str>)]| {
        let form = Form::parse(format!("Action={form}").as_bytes()).expect("a form");
        let found = tags_of(find(&form).expect("an operation"), &form);
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(found, want);
    };
    let tags = "Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=l&TagKeys.member.1=m";
    for action in ["CreateUser", "TagUser", "CreatePolicy", "TagPolicy", "AssumeRole"] {
        check(&format!("{action}&{tags}"), &[("k", Some("v")), ("l", Some(""))]);
    }
    check(&format!("UntagUser&{tags}"), &[("m", None)]);
    check(&format!("UntagPolicy&{tags}"), &[("m", None)]);
    // What an operation does not read is no tag of its request.
    check(&format!("DeleteUser&{tags}"), &[]);
    check(&format!("AssumeRoleWithWebIdentity&{tags}"), &[]);
}

#[test]
fn what_operations_are_judged_on() {
    let mut scene = Scene::full();
    let mut check = |form: &str, want: &str| {
        let want = want.replace("ACCOUNT", &format!("arn:aws:iam::{ACCOUNT}"));
        assert_eq!(scene.judged(form), want, "{form}");
    };
    check("GetUser&UserName=alice", "iam:GetUser ACCOUNT:user/team/alice");
    check("GetUser&UserName=nobody", "iam:GetUser ACCOUNT:user/nobody");
    check("GetUser", "iam:GetUser ACCOUNT:root");
    check("CreateUser&UserName=x&Path=/y/", "iam:CreateUser ACCOUNT:user/y/x");
    check(
        "CreateUser&UserName=x&Tags.member.1.Key=k",
        "iam:CreateUser ACCOUNT:user/x; iam:TagUser ACCOUNT:user/x",
    );
    check(
        "CreatePolicy&PolicyName=x&Path=/y/&Tags.member.1.Key=k",
        "iam:CreatePolicy ACCOUNT:policy/y/x; iam:TagPolicy ACCOUNT:policy/y/x",
    );
    check("ListUsers&PathPrefix=/y/", "iam:ListUsers ACCOUNT:user/y/");
    check(
        "UpdateUser&UserName=alice&NewUserName=eve",
        "iam:UpdateUser ACCOUNT:user/team/alice; iam:UpdateUser ACCOUNT:user/team/eve",
    );
    check("AddUserToGroup&GroupName=g&UserName=bob", "iam:AddUserToGroup ACCOUNT:group/g");
    check(
        "AttachUserPolicy&UserName=bob&PolicyArn=arn:p",
        "iam:AttachUserPolicy ACCOUNT:user/bob iam:PolicyARN=arn:p",
    );
    check("CreateAccessKey&UserName=bob", "iam:CreateAccessKey ACCOUNT:user/bob");
    check("GetAccessKeyLastUsed&AccessKeyId=NILASX", "iam:GetAccessKeyLastUsed ACCOUNT:user/");
    check("GetPolicy&PolicyArn=arn:p", "iam:GetPolicy arn:p");
    check("GetRole&RoleName=r", "iam:GetRole ACCOUNT:role/r");
    check("ListRoles", "iam:ListRoles *");
}

#[test]
fn documents() {
    let text = |response: Response<ResponseBody>| match response.into_body() {
        ResponseBody::Full(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        other => panic!("{other:?}"),
    };
    let done = render(Operation::DeleteUser, Ok(Bytes::new()), "R1");
    assert_eq!(
        text(done).split_once('\n').map(|(_, xml)| xml.to_owned()).as_deref(),
        Some(
            r#"<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId>R1</RequestId></ResponseMetadata></DeleteUserResponse>"#
        )
    );
    let told = render(Operation::ListRoles, Ok(Bytes::from_static(b"<Roles></Roles>")), "R1");
    assert!(text(told).contains("<ListRolesResult><Roles></Roles></ListRolesResult><ResponseMetadata>"));
    let refused = render(Operation::GetUser, Err(QueryError::MissingAction), "R2");
    assert_eq!(refused.status().as_u16(), 400);
    assert!(text(refused).contains("<Error><Type>Sender</Type><Code>MissingAction</Code><Message>The request must contain the parameter Action.</Message></Error><RequestId>R2</RequestId>"));
}

#[test]
fn a_new_user_of_the_model_is_told() {
    let mut scene = Scene::new();
    let random = || 7;
    let new = NewUser { name: "alice", path: "/", tags: crate::identity::model::Tags::new() };
    let change = scene.model.create_user(&new, &Moment { now_ms: 0, random: &random }).expect("made");
    scene.model = change.model;
    assert_eq!(text(&scene.told("GetUser&UserName=alice"), "CreateDate"), "1970-01-01T00:00:00Z");
}

/// The rows of the page: each operation of IAM, what it is judged on as its handler does, and its effect.
#[test]
fn the_page_lists_what_is_served() {
    let mut scene = Scene::new();
    scene.told("CreateUser&UserName=USER");
    let key = scene.told("CreateAccessKey&UserName=USER");
    let fields = format!(
        "&UserName=USER&GroupName=GROUP&PolicyName=POLICY&PolicyArn={}&AccessKeyId={}&RoleName=ROLE&InstanceProfileName=NAME&ServerCertificateName=NAME&OpenIDConnectProviderArn={}&SAMLProviderArn={}&SerialNumber={}&PolicySourceArn={}",
        arn("policy/POLICY"),
        text(&key, "AccessKeyId"),
        arn("oidc-provider/NAME"),
        arn("saml-provider/NAME"),
        arn("mfa/NAME"),
        arn("user/USER"),
    );
    let served = Operation::ALL.iter().filter(|operation| operation.service() == Service::Iam);
    let mut rows = Vec::new();
    for operation in served {
        let facts = operation.facts();
        let judge = Judge { allows: false, asked: RefCell::default() };
        drop(scene.ask(&format!("{}{fields}", facts.name), &judge));
        let asked = judge.asked.take().join("; ");
        let on = asked.split(' ').nth(1).expect("it is judged").replace(&arn(""), "");
        rows.push(format!("| {} | `{on}` | {} |", facts.name, format!("{:?}", facts.effect).to_lowercase()));
    }
    let page = include_str!("../../../docs/access.md");
    let section = page.split("## IAM API").nth(1).and_then(|rest| rest.split("\n## ").next());
    let table = section.expect("the section").lines().filter(|line| line.starts_with('|')).skip(2);
    assert_eq!(table.collect::<Vec<_>>(), rows);
}
