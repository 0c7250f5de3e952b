//! Policies of buckets: who is meant, what they may hold, and which are public. IAM User Guide, pages "AWS JSON policy
//! elements: Principal" and "NotPrincipal"; S3 User Guide, "Blocking public access to your Amazon S3 storage".

use super::super::*;
use super::{ACCOUNT, ALICE, Keys, Says, ask, parse};
use Says::{Allow, Deny, Nothing};

const BOB: PrincipalNames<'static> = PrincipalNames {
    anonymous: false,
    arns: &["arn:aws:iam::111122223333:user/bob"],
    user_id: "AIDABBBBBBBBBBBBBBBBB",
    canonical_id: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    account: ACCOUNT,
};

/// Alice in a role of her own.
const SESSION: PrincipalNames<'static> = PrincipalNames {
    anonymous: false,
    arns: &[
        "arn:aws:sts::111122223333:assumed-role/reader/job-1",
        "arn:aws:iam::111122223333:role/reader",
        "arn:aws:iam::111122223333:user/alice",
    ],
    user_id: ALICE.user_id,
    canonical_id: ALICE.canonical_id,
    account: ACCOUNT,
};

fn decide(principal: &str, effect: &str, sender: &PrincipalNames<'_>) -> Says {
    let statement = format!(
        r#"{{"Effect": "{effect}", {principal}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}}"#
    );
    let set = PolicySet::new([parse(&statement, PolicyKind::Bucket)]);
    let context = Keys(&[]);
    let question = Question {
        action: "s3:GetObject",
        resource: "arn:aws:s3:::b/k",
        principal: sender,
        context: &context,
    };
    ask(&set, &question)
}

#[test]
fn principals() {
    let check = |principal: &str, who: &[bool; 4]| {
        let senders = [&PrincipalNames::ANONYMOUS, &ALICE, &BOB, &SESSION];
        for (sender, means) in senders.into_iter().zip(who) {
            let want = if *means { Allow } else { Nothing };
            let element = format!(r#""Principal": {principal}"#);
            assert_eq!(decide(&element, "Allow", sender), want, "{principal} {sender:?}");
            let want = if *means { Deny } else { Nothing };
            assert_eq!(decide(&element, "Deny", sender), want, "{principal} {sender:?}");
            // NotPrincipal means exactly the others.
            let want = if *means { Nothing } else { Deny };
            assert_eq!(
                decide(&format!(r#""NotPrincipal": {principal}"#), "Deny", sender),
                want,
                "{principal} {sender:?}"
            );
        }
    };
    //                                                                                anonymous alice bob  session
    check(r#""*""#, &[true, true, true, true]);
    check(r#"{"AWS": "*"}"#, &[true, true, true, true]);
    // An account is all its users where something is denied; what is allowed to it is for their own policies to give.
    for account in ["111122223333", "arn:aws:iam::111122223333:root"] {
        let element = format!(r#""Principal": {{"AWS": "{account}"}}"#);
        let root = PrincipalNames { arns: &["arn:aws:iam::111122223333:root"], ..ALICE };
        for (sender, is_user) in
            [(&PrincipalNames::ANONYMOUS, false), (&ALICE, true), (&SESSION, true), (&root, true)]
        {
            let of_root = sender.arns == root.arns;
            assert_eq!(
                decide(&element, "Allow", sender),
                if of_root { Allow } else { Nothing },
                "{sender:?}"
            );
            assert_eq!(decide(&element, "Deny", sender), if is_user { Deny } else { Nothing }, "{sender:?}");
        }
    }
    check(r#"{"AWS": "444455556666"}"#, &[false, false, false, false]);
    check(r#"{"AWS": "AIDAAAAAAAAAAAAAAAAAA"}"#, &[false, true, false, true]);
    check(r#"{"AWS": ["AIDABBBBBBBBBBBBBBBBB", "AIDACCCCCCCCCCCCCCCCC"]}"#, &[false, false, true, false]);
    check(r#"{"AWS": "arn:aws:iam::111122223333:user/alice"}"#, &[false, true, false, true]);
    check(r#"{"AWS": "arn:aws:iam::111122223333:user/Alice"}"#, &[false, false, false, false]);
    check(r#"{"AWS": "arn:aws:iam::444455556666:user/alice"}"#, &[false, false, false, false]);
    check(r#"{"AWS": "arn:aws:iam::111122223333:role/reader"}"#, &[false, false, false, true]);
    check(r#"{"AWS": "arn:aws:sts::111122223333:assumed-role/reader/job-1"}"#, &[false, false, false, true]);
    check(r#"{"AWS": "arn:aws:sts::111122223333:assumed-role/reader/job-2"}"#, &[false, false, false, false]);
    check(
        r#"{"AWS": ["arn:aws:iam::111122223333:user/bob", "arn:aws:iam::111122223333:user/alice"]}"#,
        &[false, true, true, true],
    );
    check(&format!(r#"{{"CanonicalUser": "{}"}}"#, "b".repeat(64)), &[false, false, true, false]);
    check(&format!(r#"{{"CanonicalUser": "{}"}}"#, "A".repeat(64)), &[false, true, false, true]);
    check(
        &format!(r#"{{"CanonicalUser": ["{}", "{}"]}}"#, "a".repeat(64), "b".repeat(64)),
        &[false, true, true, true],
    );
    check(
        &format!(r#"{{"AWS": "arn:aws:iam::111122223333:user/bob", "CanonicalUser": "{}"}}"#, "a".repeat(64)),
        &[false, true, true, true],
    );
    check(r#"{"Service": "cloudtrail.amazonaws.com"}"#, &[false, false, false, false]);
    check(r#"{"Federated": "accounts.google.com"}"#, &[false, false, false, false]);
    check(r#"{"Service": "x.amazonaws.com", "AWS": "*"}"#, &[true, true, true, true]);
}

#[test]
fn who_is_spared_beside_the_account() {
    let root =
        PrincipalNames { arns: &["arn:aws:iam::111122223333:root"], user_id: "", canonical_id: "", ..ALICE };
    for account in ["111122223333", "arn:aws:iam::111122223333:root"] {
        for bob in ["arn:aws:iam::111122223333:user/bob", "AIDABBBBBBBBBBBBBBBBB"] {
            let spared = format!(r#""NotPrincipal": {{"AWS": ["{bob}", "{account}"]}}"#);
            let want = [
                (&PrincipalNames::ANONYMOUS, Deny),
                (&ALICE, Deny),
                (&SESSION, Deny),
                (&BOB, Nothing),
                (&root, Nothing),
            ];
            for (sender, want) in want {
                assert_eq!(decide(&spared, "Deny", sender), want, "{spared} {sender:?}");
            }
        }
    }
}

#[test]
fn what_a_bucket_may_have() {
    let check = |rest: &str, want: &str| {
        let statement = format!(r#"{{"Effect": "Deny", "Principal": "*", {rest}}}"#);
        let got =
            parse(&statement, PolicyKind::Bucket).check_bucket("bkt").map_err(|error| error.to_string());
        match (got, want) {
            (Ok(()), "") => {}
            (Err(error), want) if !want.is_empty() && error.starts_with(want) => {}
            (got, _) => panic!("{rest}: {got:?}"),
        }
    };
    let get = r#""Action": "s3:GetObject""#;
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::bkt/*""#), "");
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::bkt*""#), "");
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::*""#), "");
    check(&format!(r#"{get}, "Resource": "*""#), "");
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::bkt/a/${{aws:username}}/*""#), "");
    check(&format!(r#"{get}, "Resource": ["arn:aws:s3:::bkt", "arn:aws:s3:::bkt/*"]"#), "");
    let invalid = "Statement[0].Resource[0]: Policy has invalid resource";
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::other/*""#), invalid);
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::bkt2/*""#), invalid);
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::bk""#), invalid);
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:us-east-1::bkt/*""#), invalid);
    check(&format!(r#"{get}, "Resource": "arn:aws:s3tables:::bucket/other""#), invalid);
    check(&format!(r#"{get}, "Resource": "arn:aws:iam::111122223333:user/bkt""#), invalid);
    check(
        &format!(r#"{get}, "Resource": ["arn:aws:s3:::bkt/*", "arn:aws:s3:::other/*"]"#),
        "Statement[0].Resource[1]: Policy has invalid resource",
    );
    check(
        &format!(r#"{get}, "NotResource": "arn:aws:s3:::other/*""#),
        "Statement[0].NotResource[0]: Policy has",
    );
    check(&format!(r#"{get}, "NotResource": "arn:aws:s3:::bkt/a/*""#), "");
    let does_not_apply = "Statement[0].Action[0]: Action does not apply";
    check(&format!(r#"{get}, "Resource": "arn:aws:s3:::bkt""#), does_not_apply);
    check(r#""Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bkt/*""#, does_not_apply);
    check(r#""Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bkt""#, "");
    check(
        r#""Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "arn:aws:s3:::bkt/*""#,
        "Statement[0].Action[1]: Action does not apply",
    );
    check(
        r#""Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::bkt/*", "arn:aws:s3:::bkt"]"#,
        "",
    );
    check(r#""Action": "s3:*", "Resource": "arn:aws:s3:::bkt/*""#, "");
    check(r#""Action": "*", "Resource": "arn:aws:s3:::bkt""#, "");
    check(r#""NotAction": "s3:GetObject", "Resource": "arn:aws:s3:::bkt/*""#, "");
    // A bucket that is a warehouse, and its tables.
    let get_table = r#""Action": "s3tables:GetTable""#;
    check(&format!(r#"{get_table}, "Resource": "arn:aws:s3tables:::bucket/bkt/table/*""#), "");
    check(&format!(r#"{get_table}, "Resource": "arn:aws:s3tables:::bucket/bkt""#), "");
    check(&format!(r#"{get_table}, "Resource": "arn:aws:s3:::bkt/*""#), does_not_apply);
    check(&format!(r#"{get}, "Resource": "arn:aws:s3tables:::bucket/bkt""#), does_not_apply);
    let invalid = "Statement[0].Action[0]: Policy has invalid action";
    check(r#""Action": "s3:GetNothing", "Resource": "arn:aws:s3:::bkt/*""#, invalid);
    check(r#""Action": "iam:CreateUser", "Resource": "arn:aws:s3:::bkt/*""#, invalid);
    check(r#""Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::bkt/*""#, invalid);
}

#[test]
fn which_are_public() {
    let check = |rest: &str, want: bool| {
        let statement = format!(
            r#"{{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", {rest}}}"#
        );
        assert_eq!(parse(&statement, PolicyKind::Bucket).is_public(), want, "{rest}");
        let with_private = format!(
            r#"{{"Effect": "Allow", "Principal": {{"AWS": "{ACCOUNT}"}}, "Action": "s3:*", "Resource": "*"}}, {statement}"#
        );
        assert_eq!(parse(&with_private, PolicyKind::Bucket).is_public(), want, "{rest}");
        let denied = statement.replace("\"Allow\"", "\"Deny\"");
        assert!(!parse(&denied, PolicyKind::Bucket).is_public(), "a Deny grants nothing: {rest}");
    };
    check(r#""Principal": "*""#, true);
    check(r#""Principal": {"AWS": "*"}"#, true);
    check(r#""Principal": {"AWS": ["111122223333", "*"]}"#, true);
    check(r#""Principal": {"Federated": "graph.facebook.com"}"#, true);
    check(r#""Principal": {"AWS": "111122223333"}"#, false);
    check(r#""Principal": {"AWS": "arn:aws:iam::444455556666:user/u"}"#, false);
    check(r#""Principal": {"Service": "cloudtrail.amazonaws.com"}"#, false);
    let when = |condition: &str, want: bool| {
        check(&format!(r#""Principal": "*", "Condition": {{{condition}}}"#), want);
    };
    when(r#""StringLike": {"aws:SourceVpc": "vpc-*"}"#, true);
    when(r#""StringEquals": {"aws:SourceVpc": "vpc-91237329"}"#, false);
    when(r#""StringLike": {"aws:SourceVpc": "vpc-91237329"}"#, false);
    when(r#""StringEquals": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}"#, false);
    when(r#""StringLike": {"aws:SourceVpc": ["vpc-1", "vpc-*"]}"#, true);
    when(r#""StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}"#, true);
    when(r#""StringNotEquals": {"aws:SourceVpc": "vpc-1"}"#, true);
    when(r#""ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}"#, true);
    when(r#""ForAnyValue:StringEquals": {"aws:SourceVpc": "vpc-1"}"#, false);
    when(r#""StringEquals": {"aws:SourceVpc": "${aws:username}"}"#, true);
    when(r#""IpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, false);
    when(r#""IpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#, false);
    when(r#""IpAddress": {"aws:SourceIp": "0.0.0.0/1"}"#, true);
    when(r#""IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}"#, true);
    when(r#""IpAddress": {"aws:SourceIp": "2001:db8::/32"}"#, false);
    when(r#""IpAddress": {"aws:SourceIp": "2000::/3"}"#, true);
    when(r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, true);
    when(r#""IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}"#, true);
    when(r#""StringEquals": {"aws:userid": "AIDAEXAMPLE"}"#, false);
    when(r#""StringLike": {"aws:userid": "AROAEXAMPLE:*"}"#, true);
    when(r#""StringEquals": {"aws:userid": ["AIDAEXAMPLE", "anonymous"]}"#, true);
    when(r#""StringEqualsIgnoreCase": {"aws:userid": "Anonymous"}"#, true);
    when(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/u"}"#, false);
    when(r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/*"}"#, true);
    when(r#""StringEquals": {"aws:PrincipalAccount": "111122223333"}"#, false);
    when(r#""StringEquals": {"aws:PrincipalOrgID": "o-1"}"#, false);
    when(r#""StringEquals": {"aws:Referer": "https://example.com/"}"#, true);
    when(r#""StringEquals": {"aws:UserAgent": "x"}"#, true);
    when(r#""StringEquals": {"aws:username": "alice"}"#, true);
    when(r#""Bool": {"aws:SecureTransport": "true"}"#, true);
    when(r#""StringEquals": {"aws:Referer": "x", "aws:SourceAccount": "111122223333"}"#, false);
    let identity = r#"{"Effect": "Allow", "Action": "*", "Resource": "*"}"#;
    assert!(!parse(identity, PolicyKind::Identity).is_public());
}
