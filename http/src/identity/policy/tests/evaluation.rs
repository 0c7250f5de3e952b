//! How several statements come to one answer.

use super::super::*;
use super::{ACCOUNT, ALICE, Keys, Says, ask, decide, parse, says};
use Says::{Allow, Deny, Nothing};

const GET: &str = "s3:GetObject";
const OBJECT: &str = "arn:aws:s3:::b/k";
const A: &str = r#"{"Sid": "A", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}"#;
const A_BUCKET: &str = r#"{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}"#;
const D: &str = r#"{"Sid": "D", "Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}"#;
const D_OTHER: &str = r#"{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::c/*"}"#;
const D_WHEN: &str = r#"{"Effect": "Deny", "Action": "*", "Resource": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}}}"#;

/// Page "Policy evaluation logic": denied unless allowed, and an explicit deny wins.
#[test]
fn deny_over_allow_over_nothing() {
    let check = |statements: &[&str], want: Says| {
        let one_policy = decide(&statements.join(","), GET, OBJECT, &[("aws:SecureTransport", "true")]);
        assert_eq!(one_policy, want, "{statements:?}");
        let each_its_own =
            PolicySet::new(statements.iter().map(|statement| parse(statement, PolicyKind::Identity)));
        let context = Keys(&[("aws:SecureTransport", "true")]);
        let question = Question { action: GET, resource: OBJECT, principal: &ALICE, context: &context };
        assert_eq!(ask(&each_its_own, &question), want, "{statements:?}");
    };
    check(&[A], Allow);
    check(&[A_BUCKET], Allow);
    check(&[D], Deny);
    check(&[D_OTHER], Nothing);
    check(&[D_WHEN], Nothing);
    check(&[A, D], Deny);
    check(&[D, A], Deny);
    check(&[A, A_BUCKET, D], Deny);
    check(&[D, D_OTHER], Deny);
    check(&[A, D_OTHER], Allow);
    check(&[D_OTHER, A], Allow);
    check(&[A_BUCKET, D_OTHER], Allow);
    check(&[A, D_WHEN], Allow);
    check(&[A_BUCKET, A], Allow);
    assert!(matches!(
        PolicySet::new([]).decide(&Question {
            action: GET,
            resource: OBJECT,
            principal: &ALICE,
            context: &NoContext
        }),
        Verdict::Nothing
    ));
}

/// The verdict names the statement that decided.
#[test]
fn the_deciding_statement_is_named() {
    let named = |text: &str, name: &str| {
        let text = format!(r#"{{"Statement": [{text}]}}"#);
        std::sync::Arc::new(Policy::parse(&text, PolicyKind::Identity, name, ACCOUNT).expect("a policy"))
    };
    let check = |policies: &[(&str, &str)], want: &str| {
        let set = PolicySet::new(policies.iter().map(|(name, text)| named(text, name)));
        let question = Question { action: GET, resource: OBJECT, principal: &ALICE, context: &NoContext };
        let got = match set.decide(&question) {
            Verdict::Allow(id) => format!("allow {id}"),
            Verdict::Deny(id) => format!("deny {id}"),
            Verdict::Nothing => "nothing".to_owned(),
        };
        assert_eq!(got, want);
    };
    check(&[("one", A)], "allow one Statement[0] A");
    check(&[("one", A_BUCKET)], "allow one Statement[0]");
    check(&[("one", A), ("two", D)], "deny two Statement[0] D");
    check(&[("one", &format!("{D_OTHER},{A}"))], "allow one Statement[1] A");
    check(&[("one", D_OTHER)], "nothing");
}

/// Page "IAM JSON policy elements: Action": names without regard to case, `*` and `?` anywhere in the name.
#[test]
fn actions() {
    let check = |element: &str, action: &str, want: Says| {
        let statement = format!(r#"{{"Effect": "Allow", {element}, "Resource": "*"}}"#);
        assert_eq!(decide(&statement, action, OBJECT, &[]), want, "{element} {action}");
    };
    check(r#""Action": "*""#, "s3:GetObject", Allow);
    check(r#""Action": "*""#, "s3tables:GetTable", Allow);
    check(r#""Action": "s3:*""#, "s3:GetObject", Allow);
    check(r#""Action": "s3:*""#, "s3tables:GetTable", Nothing);
    check(r#""Action": "S3:GETOBJECT""#, "s3:GetObject", Allow);
    check(r#""Action": "s3:getobject""#, "S3:GetObject", Allow);
    check(r#""Action": "s3:GetObject""#, "s3:GetObjectAcl", Nothing);
    check(r#""Action": "s3:GetObject*""#, "s3:GetObjectAcl", Allow);
    check(r#""Action": "s3:Get*""#, "s3:PutObject", Nothing);
    check(r#""Action": "s3:*Object""#, "s3:PutObject", Allow);
    check(r#""Action": "s3:*Object""#, "s3:PutObjectAcl", Nothing);
    check(r#""Action": "s3:???Object""#, "s3:GetObject", Allow);
    check(r#""Action": "s3:???Object""#, "s3:DeleteObject", Nothing);
    check(r#""Action": "s3:G*t*Tag*""#, "s3:GetObjectTagging", Allow);
    check(r#""Action": ["s3:PutObject", "s3:GetObject"]"#, "s3:GetObject", Allow);
    check(r#""Action": ["s3:PutObject", "s3:DeleteObject"]"#, "s3:GetObject", Nothing);
    check(r#""Action": "ec2:*""#, "s3:GetObject", Nothing);
    check(r#""Action": "ec2:RunInstances""#, "ec2:RunInstances", Allow);
    check(r#""Action": "ec2:Run*""#, "EC2:RUNINSTANCES", Allow);
    check(r#""Action": "s3:NoSuchThing""#, "s3:GetObject", Nothing);
    check(r#""Action": "s3tables:GetWarehouse""#, "s3tables:GetTableBucket", Allow);
    check(r#""Action": "s3tables:GetTableBucket""#, "s3tables:GetWarehouse", Allow);
    check(r#""Action": "s3tables:ListWarehouses""#, "s3tables:ListTableBuckets", Allow);
    check(r#""Action": "s3tables:*Warehouse*""#, "s3tables:DeleteTableBucket", Allow);
    check(r#""Action": "s3tables:Get*""#, "s3tables:GetTableData", Allow);
    check(r#""Action": "admin:*""#, "admin:Heal", Allow);
    check(r#""Action": "sts:AssumeRole""#, "sts:AssumeRole", Allow);
    check(r#""Action": "sts:AssumeRole""#, "sts:AssumeRoleWithWebIdentity", Nothing);
    // Page "IAM JSON policy elements: NotAction": everything but what is listed.
    check(r#""NotAction": "s3:GetObject""#, "s3:GetObject", Nothing);
    check(r#""NotAction": "s3:GetObject""#, "s3:PutObject", Allow);
    check(r#""NotAction": "s3:*""#, "s3:PutObject", Nothing);
    check(r#""NotAction": "s3:*""#, "s3tables:GetTable", Allow);
    check(r#""NotAction": "iam:*""#, "ec2:RunInstances", Allow);
    check(r#""NotAction": ["s3:Get*", "s3:List*"]"#, "s3:ListBucket", Nothing);
    check(r#""NotAction": ["s3:Get*", "s3:List*"]"#, "s3:PutObject", Allow);
    check(r#""NotAction": "S3:GETOBJECT""#, "s3:GetObject", Nothing);
    check(r#""NotAction": "*""#, "s3:GetObject", Nothing);
    check(r#""NotAction": "s3tables:GetWarehouse""#, "s3tables:GetTableBucket", Nothing);
}

/// Page "IAM JSON policy elements: Resource": case matters, wildcards stay in their part of the ARN.
#[test]
fn resources() {
    let check = |element: &str, resource: &str, want: Says| {
        let statement = format!(r#"{{"Effect": "Allow", "Action": "*", {element}}}"#);
        assert_eq!(decide(&statement, GET, resource, &[]), want, "{element} {resource}");
    };
    check(r#""Resource": "*""#, "arn:aws:s3:::b/k", Allow);
    check(r#""Resource": "arn:aws:s3:::b""#, "arn:aws:s3:::b", Allow);
    check(r#""Resource": "arn:aws:s3:::b""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""Resource": "arn:aws:s3:::b""#, "arn:aws:s3:::bb", Nothing);
    check(r#""Resource": "arn:aws:s3:::b/*""#, "arn:aws:s3:::b", Nothing);
    check(r#""Resource": "arn:aws:s3:::b/*""#, "arn:aws:s3:::b/k/l", Allow);
    check(r#""Resource": "arn:aws:s3:::b/*""#, "arn:aws:s3:::b/", Allow);
    check(r#""Resource": "arn:aws:s3:::b*""#, "arn:aws:s3:::b2/k", Allow);
    check(r#""Resource": "arn:aws:s3:::B/k""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""Resource": "arn:aws:s3:::b/K""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""Resource": "arn:aws:s3:::*""#, "arn:aws:s3:::b/k", Allow);
    check(r#""Resource": "arn:aws:s3:::*/k""#, "arn:aws:s3:::b/a/k", Allow);
    check(r#""Resource": "arn:aws:s3:::b/*/test/*""#, "arn:aws:s3:::b/1/2/test/3/test/4", Allow);
    check(r#""Resource": "arn:aws:s3:::b/*/test/*""#, "arn:aws:s3:::b/1/test", Nothing);
    check(r#""Resource": "arn:aws:s3:::b/?.txt""#, "arn:aws:s3:::b/1.txt", Allow);
    check(r#""Resource": "arn:aws:s3:::b/?.txt""#, "arn:aws:s3:::b/12.txt", Nothing);
    check(r#""Resource": "arn:aws:s3:::b/?""#, "arn:aws:s3:::b/é", Allow);
    check(r#""Resource": "arn:aws:s3:::b/k:*""#, "arn:aws:s3:::b/k:l:m", Allow);
    check(r#""Resource": "arn:aws:s3:*:*:b/k""#, "arn:aws:s3:::b/k", Allow);
    check(r#""Resource": "arn:*:s3:::b/k""#, "arn:aws:s3:::b/k", Allow);
    check(r#""Resource": "arn:aws-us-gov:s3:::b/k""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""Resource": "arn:aws:s3:us-east-1::b/k""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""Resource": ["arn:aws:s3:::a", "arn:aws:s3:::b/k"]"#, "arn:aws:s3:::b/k", Allow);
    check(r#""Resource": ["arn:aws:s3:::a", "arn:aws:s3:::c"]"#, "arn:aws:s3:::b/k", Nothing);
    check(r#""Resource": "arn:aws:s3tables:::bucket/W""#, "arn:aws:s3tables:::bucket/W", Allow);
    check(
        r#""Resource": "arn:aws:s3tables:us-east-1:111122223333:bucket/W""#,
        "arn:aws:s3tables:::bucket/W",
        Allow,
    );
    check(r#""Resource": "arn:aws:s3tables:*:*:bucket/*""#, "arn:aws:s3tables:::bucket/W/table/1", Allow);
    check(
        r#""Resource": "arn:aws:s3tables:::bucket/W/table/*""#,
        "arn:aws:s3tables:::bucket/W/view/1",
        Nothing,
    );
    check(r#""Resource": "arn:aws:s3tables:::bucket/W""#, "arn:aws:s3tables:::bucket/W/table/1", Nothing);
    check(r#""Resource": "arn:aws:s3tables::444455556666:bucket/W""#, "arn:aws:s3tables:::bucket/W", Nothing);
    check(
        r#""Resource": "arn:aws:iam::111122223333:user/a*""#,
        "arn:aws:iam::111122223333:user/alice",
        Allow,
    );
    check(
        r#""Resource": "arn:aws:iam::444455556666:user/a*""#,
        "arn:aws:iam::111122223333:user/alice",
        Nothing,
    );
    check(r#""Resource": "arn:aws:iam::*:user/*""#, "arn:aws:iam::111122223333:user/path/alice", Allow);
    check(r#""Resource": "arn:aws:iam::aws:policy/*""#, "arn:aws:iam::aws:policy/readonly", Allow);
    // Page "IAM JSON policy elements: NotResource": everything but what is listed.
    check(r#""NotResource": "arn:aws:s3:::b/k""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""NotResource": "arn:aws:s3:::b/k""#, "arn:aws:s3:::b/l", Allow);
    check(r#""NotResource": "arn:aws:s3:::b/*""#, "arn:aws:s3:::b", Allow);
    check(r#""NotResource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]"#, "arn:aws:s3:::b/k", Nothing);
    check(r#""NotResource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]"#, "arn:aws:s3:::c", Allow);
    check(r#""NotResource": "*""#, "arn:aws:s3:::b/k", Nothing);
    check(r#""NotResource": "arn:aws:s3:::b/*""#, "arn:aws:iam::111122223333:user/a", Allow);
    check(r#""NotResource": "arn:aws:s3:::b/*""#, "arn:aws:ec2:r:1:instance/i", Allow);
}

/// Actions on a service as a whole are asked for on `*`, which all of the service's resources name as well.
#[test]
fn the_service_as_a_whole() {
    let check = |action: &str, pattern: &str, want: Says| {
        let statement = format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "{pattern}"}}"#);
        assert_eq!(decide(&statement, action, "*", &[]), want, "{action} {pattern}");
    };
    check("s3:ListAllMyBuckets", "*", Allow);
    check("s3:ListAllMyBuckets", "arn:aws:s3:::*", Allow);
    check("s3:ListAllMyBuckets", "arn:aws:s3:*:*:*", Allow);
    check("s3:ListAllMyBuckets", "arn:aws:s3:::b*", Nothing);
    check("s3:ListAllMyBuckets", "arn:aws:s3:::b", Nothing);
    check("s3:ListAllMyBuckets", "arn:aws:s3tables:::*", Nothing);
    check("s3tables:ListTableBuckets", "arn:aws:s3tables:::*", Allow);
    check("s3tables:ListTableBuckets", "arn:aws:s3tables:::bucket/*", Nothing);
    check("admin:Heal", "*", Allow);
    check("admin:Heal", "arn:aws:s3:::*", Nothing);
    check("ec2:DescribeInstances", "*", Allow);
    check("ec2:DescribeInstances", "arn:aws:ec2:*:*:*", Nothing);
}

/// Page "IAM policy elements: Variables and tags".
#[test]
fn variables() {
    let check = |resource: &str, asked: &str, keys: &[(&str, &str)], want: Says| {
        let statement =
            format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::{resource}"}}"#);
        let got = decide(&statement, GET, &format!("arn:aws:s3:::{asked}"), keys);
        assert_eq!(got, want, "{resource} {asked} {keys:?}");
    };
    let alice: &[(&str, &str)] = &[("aws:username", "alice"), ("aws:PrincipalTag/department", "hr")];
    check("home/${aws:username}/*", "home/alice/x", alice, Allow);
    check("home/${aws:username}/*", "home/bob/x", alice, Nothing);
    check("home/${aws:username}/*", "home/alice", alice, Nothing);
    check("home/${AWS:USERNAME}/*", "home/alice/x", alice, Allow);
    check("home/${aws:username}/*", "home//x", &[], Nothing);
    check("home/${aws:username}/*", "home/${aws:username}/x", &[], Nothing);
    check("${aws:PrincipalTag/department}/*", "hr/x", alice, Allow);
    check("${aws:PrincipalTag/department}/*", "it/x", alice, Nothing);
    check("${aws:PrincipalTag/Department}/*", "hr/x", alice, Nothing);
    check("b/${aws:username}-${aws:PrincipalTag/department}", "b/alice-hr", alice, Allow);
    check("b/${aws:username, 'nobody'}/*", "b/nobody/x", &[], Allow);
    check("b/${aws:username, 'nobody'}/*", "b/alice/x", alice, Allow);
    check("b/${aws:username, 'nobody'}/*", "b/nobody/x", alice, Nothing);
    check("b/${aws:username,'nobody'}/*", "b/nobody/x", &[], Allow);
    check("b/${*}", "b/*", &[], Allow);
    check("b/${*}", "b/x", &[], Nothing);
    check("b/${?}", "b/?", &[], Allow);
    check("b/${?}", "b/x", &[], Nothing);
    check("b/${$}{aws:username}", "b/${aws:username}", alice, Allow);
    check("b/${$}{aws:username}", "b/alice", alice, Nothing);
    check("b/$x", "b/$x", &[], Allow);
    // A value is taken as it is: no wildcard comes out of a name or a tag.
    check("home/${aws:username}/*", "home/alice/x", &[("aws:username", "*")], Nothing);
    check("home/${aws:username}/*", "home/*/x", &[("aws:username", "*")], Allow);
    check("home/${aws:username}/*", "home/b/x", &[("aws:username", "?")], Nothing);
    check(
        "home/${aws:username}/*",
        "home/hr/x",
        &[("aws:username", "${aws:PrincipalTag/department}")],
        Nothing,
    );
    // A key of several values is none.
    check("${aws:TagKeys}/*", "a/x", &[("aws:TagKeys", "[a|b]")], Nothing);
    check("${s3:prefix}/*", "a/x", &[("s3:prefix", "a")], Allow);

    // A variable without a value keeps a statement from speaking, whatever its effect.
    let deny = |element: &str, keys: &[(&str, &str)]| {
        let statement = format!(r#"{A}, {{"Effect": "Deny", "Action": "*", {element}}}"#);
        decide(&statement, GET, "arn:aws:s3:::home/bob/x", keys)
    };
    let own = r#""Resource": "arn:aws:s3:::home/${aws:username}/*""#;
    assert_eq!(deny(own, &[("aws:username", "bob")]), Deny);
    assert_eq!(deny(own, &[]), Allow);
    let others = r#""NotResource": "arn:aws:s3:::home/${aws:username}/*""#;
    assert_eq!(deny(others, &[("aws:username", "alice")]), Deny);
    assert_eq!(deny(others, &[("aws:username", "bob")]), Allow);
    assert_eq!(deny(others, &[]), Allow);
    // The other resources of its list are what they are.
    let either = r#""Resource": ["arn:aws:s3:::${aws:username}", "arn:aws:s3:::home/*"]"#;
    assert_eq!(deny(either, &[]), Deny);
}

/// Page "IAM JSON policy elements: Version": variables came with 2012-10-17; before, and without a Version, they are text.
#[test]
fn versions() {
    let check = |version: &str, resource: &str, want: bool| {
        let text = format!(
            r#"{{{version} "Statement": {{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::home/${{aws:username}}"}}}}"#
        );
        let policy = Policy::parse(&text, PolicyKind::Identity, "p", ACCOUNT).expect("a policy");
        let set = PolicySet::new([std::sync::Arc::new(policy)]);
        let context = Keys(&[("aws:username", "alice")]);
        let question = Question { action: GET, resource, principal: &ALICE, context: &context };
        assert_eq!(ask(&set, &question) == Allow, want, "{version} {resource}");
    };
    check(r#""Version": "2012-10-17","#, "arn:aws:s3:::home/alice", true);
    check(r#""Version": "2012-10-17","#, "arn:aws:s3:::home/${aws:username}", false);
    check(r#""Version": "2008-10-17","#, "arn:aws:s3:::home/alice", false);
    check(r#""Version": "2008-10-17","#, "arn:aws:s3:::home/${aws:username}", true);
    check("", "arn:aws:s3:::home/alice", false);
    check("", "arn:aws:s3:::home/${aws:username}", true);
}

/// Where it can matter whose file an object is: rights on a table's data are rights on its files.
#[test]
fn who_is_asked_for_tables_files() {
    let check = |statement: &str, want: bool| {
        let set = PolicySet::new([parse(statement, PolicyKind::Identity)]);
        assert_eq!(set.asks_for_table_files(), want, "{statement}");
    };
    let allow = |actions: &str, resource: &str, more: &str| {
        format!(r#"{{"Effect": "Allow", "Action": {actions}, "Resource": "{resource}"{more}}}"#)
    };
    let names = r#", "Condition": {"StringLike": {"s3tables:namespace": "a"}}"#;
    let network = r#", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}"#;
    check(&allow(r#""*""#, "*", ""), false);
    check(&allow(r#""*""#, "*", network), false);
    check(&allow(r#""*""#, "*", names), true);
    check(&allow(r#"["s3:*", "s3tables:*"]"#, "*", ""), false);
    check(&allow(r#"["s3:*", "s3tables:*"]"#, "arn:aws:s3tables:::bucket/W/table/*", ""), true);
    check(&allow(r#""s3:*""#, "*", ""), false);
    check(&allow(r#""s3:*""#, "*", names), false);
    check(&allow(r#""s3tables:*""#, "*", ""), true);
    check(&allow(r#"["s3:GetObject", "s3tables:GetTableData"]"#, "*", ""), true);
    check(&allow(r#""s3tables:ListTables""#, "*", ""), false);
    check(
        r#"{"Effect": "Deny", "Action": "s3tables:DeleteTable", "Resource": "arn:aws:s3tables:::bucket/W/table/i"}"#,
        true,
    );
    check(r#"{"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::b"}"#, true);
    check(r#"{"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}"#, true);
}

/// What a context must be able to say, and what the caller need not find out.
#[test]
fn what_is_mentioned() {
    let check = |statement: &str, ids: bool, names: bool, tags: bool, keys: &[&str]| {
        let set = PolicySet::new([parse(statement, PolicyKind::Identity)]);
        assert_eq!(set.mentions_table_ids(), ids, "{statement}");
        assert_eq!(set.mentions_table_names(), names, "{statement}");
        assert_eq!(set.mentions_object_tags(), tags, "{statement}");
        let got: Vec<String> = set.keys().iter().map(ToString::to_string).collect();
        assert_eq!(got, keys, "{statement}");
    };
    check(A, false, false, false, &[]);
    let of_tables = |resource: &str| {
        format!(
            r#"{{"Effect": "Allow", "Action": "s3tables:*", "Resource": "arn:aws:s3tables:::{resource}"}}"#
        )
    };
    check(&of_tables("bucket/W/table/*"), false, false, false, &[]);
    check(&of_tables("bucket/W/table/0b5e"), true, false, false, &[]);
    check(&of_tables("bucket/${aws:username}/table/*"), true, false, false, &["aws:username"]);
    let when = |condition: &str| {
        format!(r#"{{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {{{condition}}}}}"#)
    };
    check(
        &when(r#""StringLike": {"s3tables:Namespace": "a*"}"#),
        false,
        true,
        false,
        &["s3tables:namespace"],
    );
    check(
        &when(r#""StringEquals": {"s3:ExistingObjectTag/team": "${aws:PrincipalTag/team}"}"#),
        false,
        false,
        true,
        &["aws:PrincipalTag/team", "s3:ExistingObjectTag/team"],
    );
}

/// A question for all that begins with `arn:aws:s3:::b/cc/`.
#[test]
fn all_that_lies_below() {
    let check = |effect: &str, element: &str, resources: &str, want: Says| {
        let statement = format!(r#"{{"Effect": "{effect}", "Action": "s3:*", "{element}": [{resources}]}}"#);
        let set = PolicySet::new([parse(&statement, PolicyKind::Identity)]);
        let context = Keys(&[("aws:username", "cc"), ("s3tables:tableName", "<unknown>")]);
        let (action, resource) = ("s3:GetObject", "arn:aws:s3:::b/cc/");
        let question = Question { action, resource, principal: &ALICE, context: &context };
        assert_eq!(says(set.decide_below(&question)), want, "{statement}");
        let question = Question { action: "iam:GetUser", ..question };
        assert_eq!(says(set.decide_below(&question)), Nothing, "{statement}");
    };
    let all = r#""arn:aws:s3:::b/*""#;
    let some = r#""arn:aws:s3:::b/cc/x/*""#;
    let place = r#""arn:aws:s3:::b/cc/""#;
    let none = r#""arn:aws:s3:::b/d/*", "arn:aws:s3:::b""#;
    let user = r#""arn:aws:s3:::b/${aws:username}/*""#;
    let absent = r#""arn:aws:s3:::b/${s3:prefix}*""#;
    let unknown = r#""arn:aws:s3:::b/${s3tables:tableName}*""#;
    for (resources, allow, deny) in [
        (r#""*""#, Allow, Deny),
        (all, Allow, Deny),
        (user, Allow, Deny),
        (some, Nothing, Deny),
        (place, Nothing, Deny),
        (none, Nothing, Nothing),
        (absent, Nothing, Nothing),
        (unknown, Nothing, Deny),
    ] {
        check("Allow", "Resource", resources, allow);
        check("Deny", "Resource", resources, deny);
        check("Allow", "Resource", &format!("{none}, {resources}"), allow);
        check("Deny", "Resource", &format!("{none}, {resources}"), deny);
    }
    for (resources, allow, deny) in [
        (r#""*""#, Nothing, Nothing),
        (all, Nothing, Nothing),
        (user, Nothing, Nothing),
        (some, Nothing, Deny),
        (place, Nothing, Deny),
        (none, Allow, Deny),
        (absent, Nothing, Nothing),
        (unknown, Nothing, Deny),
    ] {
        check("Allow", "NotResource", resources, allow);
        check("Deny", "NotResource", resources, deny);
        check("Allow", "NotResource", &format!("{none}, {resources}"), allow);
        check("Deny", "NotResource", &format!("{none}, {resources}"), deny);
    }
}
