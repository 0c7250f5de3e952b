//! What is no policy, with the place that is named: IAM User Guide, pages "Grammar of the IAM JSON policy language", "IAM
//! JSON policy elements" and "IAM and AWS STS quotas".

use super::super::*;
use super::ACCOUNT;
use crate::limits::{
    BUCKET_POLICY_BYTES_MAX, IDENTITY_POLICY_BYTES_MAX, IDENTITY_POLICY_CHARACTERS_MAX,
    POLICY_STATEMENTS_MAX, POLICY_VALUES_MAX, SESSION_POLICY_CHARS_MAX,
};

#[track_caller]
fn check_as(kind: PolicyKind, text: &str, at: &str) {
    match Policy::parse(text, kind, "p", ACCOUNT) {
        Ok(_) => panic!("taken: {text}"),
        Err(error) => assert_eq!(error.at, at, "{error}: {text}"),
    }
}

#[track_caller]
fn check(text: &str, at: &str) {
    check_as(PolicyKind::Identity, text, at);
}

#[track_caller]
fn taken_as(kind: PolicyKind, text: &str) {
    if let Err(error) = Policy::parse(text, kind, "p", ACCOUNT) {
        panic!("{error}: {text}");
    }
}

const GOOD: &str = r#""Effect": "Allow", "Action": "s3:GetObject", "Resource": "*""#;

#[test]
fn documents() {
    check("", "1:0");
    check("x", "1:1");
    check("{", "1:1");
    check("{\n  \"Statement\": [\n  }", "3:3");
    check("[]", "");
    check("\"*\"", "");
    check("null", "");
    check("1", "");
    check("{}", "Statement");
    check(r#"{"Version": "2012-10-17"}"#, "Statement");
    check(r#"{"Statement": []}"#, "Statement");
    check(r#"{"Statement": "x"}"#, "Statement");
    check(r#"{"Statement": null}"#, "Statement");
    check(r#"{"Statement": [[]]}"#, "Statement[0]");
    check(r#"{"Statement": ["x"]}"#, "Statement[0]");
    check(&format!(r#"{{"Statement": [{{{GOOD}}}, 1]}}"#), "Statement[1]");
    check(&format!(r#"{{"Version": "2012-10-18", "Statement": {{{GOOD}}}}}"#), "Version");
    check(&format!(r#"{{"Version": 2012, "Statement": {{{GOOD}}}}}"#), "Version");
    check(&format!(r#"{{"Version": "", "Statement": {{{GOOD}}}}}"#), "Version");
    check(&format!(r#"{{"Version": ["2012-10-17"], "Statement": {{{GOOD}}}}}"#), "Version");
    check(&format!(r#"{{"Id": 1, "Statement": {{{GOOD}}}}}"#), "Id");
    check(&format!(r#"{{"version": "2012-10-17", "Statement": {{{GOOD}}}}}"#), "version");
    check(&format!(r#"{{"Statements": {{{GOOD}}}}}"#), "Statements");
    check(&format!(r#"{{"Statement": {{{GOOD}}}, "Statement": {{{GOOD}}}}}"#), "Statement");
    check(&format!(r#"{{"Statement": {{{GOOD}}}}} x"#), &format!("1:{}", GOOD.len() + 19));
    check(&"[".repeat(200), "1:9");
    taken_as(PolicyKind::Identity, &format!(r#"{{"Statement": {{{GOOD}}}}}"#));
    taken_as(PolicyKind::Identity, &format!(r#"{{"Statement": [{{{GOOD}}}]}}"#));
    taken_as(
        PolicyKind::Identity,
        &format!(r#" {{ "Statement" : [{{{GOOD}}}], "Version":"2008-10-17", "Id":"a b" }} "#),
    );
}

#[test]
fn statements() {
    let check = |statement: &str, at: &str| {
        check(
            &format!(r#"{{"Version": "2012-10-17", "Statement": {{{statement}}}}}"#),
            &format!("Statement.{at}"),
        );
        let second = format!(r#"{{"Version": "2012-10-17", "Statement": [{{{GOOD}}}, {{{statement}}}]}}"#);
        check(&second, &format!("Statement[1].{at}"));
    };
    check(r#""Action": "s3:*", "Resource": "*""#, "Effect");
    check(r#""Effect": "allow", "Action": "s3:*", "Resource": "*""#, "Effect");
    check(r#""Effect": "ALLOW", "Action": "s3:*", "Resource": "*""#, "Effect");
    check(r#""Effect": true, "Action": "s3:*", "Resource": "*""#, "Effect");
    check(r#""Effect": ["Allow"], "Action": "s3:*", "Resource": "*""#, "Effect");
    check(r#""effect": "Allow", "Action": "s3:*", "Resource": "*""#, "effect");
    check(r#""Effect": "Allow", "Effect": "Allow", "Action": "s3:*", "Resource": "*""#, "Effect");
    check(r#""Effect": "Allow", "Effect": "Deny", "Action": "s3:*", "Resource": "*""#, "Effect");
    check(&format!(r#"{GOOD}, "Extra": 1"#), "Extra");
    check(&format!(r#"{GOOD}, "Sid": 1"#), "Sid");
    check(&format!(r#"{GOOD}, "Sid": "a b""#), "Sid");
    check(&format!(r#"{GOOD}, "Sid": "a-b""#), "Sid");
    check(&format!(r#"{GOOD}, "Sid": "é""#), "Sid");
    check(&format!(r#"{GOOD}, "Principal": "*""#), "Principal");
    check(&format!(r#"{GOOD}, "NotPrincipal": "*""#), "NotPrincipal");
    check(r#""Effect": "Allow", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": [], "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": {}, "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": null, "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": 1, "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": ["s3:*", 1], "Resource": "*""#, "Action[1]");
    check(r#""Effect": "Allow", "Action": ["s3:*", ["s3:*"]], "Resource": "*""#, "Action[1]");
    check(r#""Effect": "Allow", "Action": "", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": "GetObject", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": "s3:", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": ":GetObject", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": "*:GetObject", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": "s?:GetObject", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": "s3:Get Object", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": "s3:Get:Object", "Resource": "*""#, "Action");
    check(r#""Effect": "Allow", "Action": ["s3:GetObject", "s3"], "Resource": "*""#, "Action[1]");
    check(r#""Effect": "Allow", "Action": "s3:*", "NotAction": "s3:*", "Resource": "*""#, "NotAction");
    check(r#""Effect": "Allow", "NotAction": [], "Resource": "*""#, "NotAction");
    check(r#""Effect": "Allow", "NotAction": ["x"], "Resource": "*""#, "NotAction[0]");
    check(r#""Effect": "Allow", "Action": "s3:*""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": []"#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": 1"#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": """#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "bucket""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "**""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:*""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:*:::b""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws::::b""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn::s3:::b""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "ARN:aws:s3:::b""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": ["*", "b"]"#, "Resource[1]");
    check(
        r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:iam::${aws:PrincipalAccount}:x""#,
        "Resource",
    );
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${aws:username""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${username}""#, "Resource");
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${}""#, "Resource");
    check(
        r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${aws:username, guest}""#,
        "Resource",
    );
    check(r#""Effect": "Allow", "Action": "s3:*", "Resource": "*", "NotResource": "*""#, "NotResource");
    check(r#""Effect": "Allow", "Action": "s3:*", "NotResource": ["*", "x"]"#, "NotResource[1]");
    let long =
        format!(r#""Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/{}""#, "k".repeat(2_048));
    check(&long, "Resource");
}

#[test]
fn conditions() {
    let check = |condition: &str, at: &str| {
        let text =
            format!(r#"{{"Version": "2012-10-17", "Statement": [{{{GOOD}, "Condition": {condition}}}]}}"#);
        let at = if at.is_empty() { String::new() } else { format!(".{at}") };
        check(&text, &format!("Statement[0].Condition{at}"));
    };
    check("[]", "");
    check("null", "");
    check("\"x\"", "");
    check(r#"{"StringEqual": {"s3:prefix": "a"}}"#, "StringEqual");
    check(r#"{"stringlikes": {"s3:prefix": "a"}}"#, "stringlikes");
    check(r#"{"NullIfExists": {"s3:prefix": "true"}}"#, "NullIfExists");
    check(r#"{"ForAllValues:Null": {"s3:prefix": "true"}}"#, "ForAllValues:Null");
    check(r#"{"ForEachValue:StringLike": {"s3:prefix": "a"}}"#, "ForEachValue:StringLike");
    check(r#"{"StringLike": "a"}"#, "StringLike");
    check(r#"{"StringLike": []}"#, "StringLike");
    check(r#"{"StringLike": {}}"#, "StringLike");
    check(r#"{"StringLike": {"prefix": "a"}}"#, "StringLike.prefix");
    check(r#"{"StringLike": {"s3:prefix": []}}"#, "StringLike.s3:prefix");
    check(r#"{"StringLike": {"s3:prefix": null}}"#, "StringLike.s3:prefix");
    check(r#"{"StringLike": {"s3:prefix": {}}}"#, "StringLike.s3:prefix");
    check(r#"{"StringLike": {"s3:prefix": ["a", []]}}"#, "StringLike.s3:prefix[1]");
    check(r#"{"StringLike": {"s3:prefix": "a", "s3:prefix": "b"}}"#, "StringLike.s3:prefix");
    check(r#"{"StringLike": {"s3:prefix": "a", "S3:Prefix": "b"}}"#, "StringLike.S3:Prefix");
    check(r#"{"StringLike": {"s3:prefix": "a"}, "StringLike": {"s3:delimiter": "b"}}"#, "StringLike");
    check(r#"{"StringLike": {"s3:prefix": "${aws:username"}}"#, "StringLike.s3:prefix");
    check(r#"{"StringLike": {"s3:prefix": ["a", "${x}"]}}"#, "StringLike.s3:prefix[1]");
    check(r#"{"NumericEquals": {"s3:max-keys": "ten"}}"#, "NumericEquals.s3:max-keys");
    check(r#"{"NumericEquals": {"s3:max-keys": ""}}"#, "NumericEquals.s3:max-keys");
    check(r#"{"NumericEquals": {"s3:max-keys": "1*"}}"#, "NumericEquals.s3:max-keys");
    check(r#"{"NumericEquals": {"s3:max-keys": true}}"#, "NumericEquals.s3:max-keys");
    check(r#"{"NumericLessThan": {"s3:max-keys": ["1", "2x"]}}"#, "NumericLessThan.s3:max-keys[1]");
    check(r#"{"NumericLessThan": {"s3:max-keys": "${s3:max-keys}"}}"#, "NumericLessThan.s3:max-keys");
    check(r#"{"DateLessThan": {"aws:CurrentTime": "tomorrow"}}"#, "DateLessThan.aws:CurrentTime");
    check(r#"{"DateLessThan": {"aws:CurrentTime": "2026-13-01"}}"#, "DateLessThan.aws:CurrentTime");
    check(r#"{"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00"}}"#, "DateLessThan.aws:CurrentTime");
    check(r#"{"DateLessThan": {"aws:CurrentTime": "2026-*"}}"#, "DateLessThan.aws:CurrentTime");
    check(r#"{"DateLessThan": {"aws:CurrentTime": ["2026-01-01", "x"]}}"#, "DateLessThan.aws:CurrentTime[1]");
    check(r#"{"Bool": {"aws:SecureTransport": "yes"}}"#, "Bool.aws:SecureTransport");
    check(r#"{"Bool": {"aws:SecureTransport": 1}}"#, "Bool.aws:SecureTransport");
    check(r#"{"Null": {"s3:prefix": "maybe"}}"#, "Null.s3:prefix");
    check(r#"{"BinaryEquals": {"x:key": "not base64"}}"#, "BinaryEquals.x:key");
    check(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}"#, "IpAddress.aws:SourceIp");
    check(r#"{"IpAddress": {"aws:SourceIp": "10.0.0"}}"#, "IpAddress.aws:SourceIp");
    check(r#"{"IpAddress": {"aws:SourceIp": "10.0.0.*"}}"#, "IpAddress.aws:SourceIp");
    check(r#"{"NotIpAddress": {"aws:SourceIp": ["::/0", "::/129"]}}"#, "NotIpAddress.aws:SourceIp[1]");
    check(r#"{"IpAddress": {"aws:SourceIp": "${aws:SourceIp}"}}"#, "IpAddress.aws:SourceIp");
    check(r#"{"ArnLike": {"aws:PrincipalArn": "alice"}}"#, "ArnLike.aws:PrincipalArn");
    check(r#"{"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam"}}"#, "ArnEquals.aws:PrincipalArn");
}

#[test]
fn principals() {
    let check = |principal: &str, at: &str| {
        let text = format!(r#"{{"Statement": [{{{GOOD}, {principal}}}]}}"#);
        check_as(PolicyKind::Bucket, &text, &format!("Statement[0].{at}"));
    };
    check_as(PolicyKind::Bucket, &format!(r#"{{"Statement": [{{{GOOD}}}]}}"#), "Statement[0].Principal");
    check(r#""Principal": "alice""#, "Principal");
    check(r#""Principal": """#, "Principal");
    check(r#""Principal": ["*"]"#, "Principal");
    check(r#""Principal": {}"#, "Principal");
    check(r#""Principal": null"#, "Principal");
    check(r#""Principal": {"AWS": []}"#, "Principal.AWS");
    check(r#""Principal": {"AWS": 111122223333}"#, "Principal.AWS");
    check(r#""Principal": {"AWS": "alice"}"#, "Principal.AWS");
    check(r#""Principal": {"AWS": ["*", "alice"]}"#, "Principal.AWS[1]");
    check(r#""Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}"#, "Principal.AWS");
    check(r#""Principal": {"AWS": "arn:aws:iam::111122223333:group/g"}"#, "Principal.AWS");
    check(r#""Principal": {"AWS": "arn:aws:s3:::b"}"#, "Principal.AWS");
    check(r#""Principal": {"AWS": "11112222333"}"#, "Principal.AWS");
    check(r#""Principal": {"CanonicalUser": "x"}"#, "Principal.CanonicalUser");
    check(r#""Principal": {"aws": "*"}"#, "Principal.aws");
    check(r#""Principal": {"User": "*"}"#, "Principal.User");
    check(r#""Principal": {"AWS": "*", "AWS": "*"}"#, "Principal.AWS");
    check(r#""Principal": "*", "NotPrincipal": "*""#, "NotPrincipal");
    check(r#""NotPrincipal": {"AWS": "111122223333"}"#, "NotPrincipal");
    check_as(
        PolicyKind::Session,
        &format!(r#"{{"Statement": [{{{GOOD}, "Principal": "*"}}]}}"#),
        "Statement[0].Principal",
    );
    let taken = |principal: &str| {
        taken_as(PolicyKind::Bucket, &format!(r#"{{"Statement": [{{{GOOD}, {principal}}}]}}"#))
    };
    taken(r#""Principal": "*""#);
    taken(r#""Principal": {"AWS": "*"}"#);
    taken(r#""Principal": {"AWS": ["111122223333", "arn:aws:iam::444455556666:root"]}"#);
    taken(r#""Principal": {"Service": "cloudtrail.amazonaws.com", "Federated": ["accounts.google.com"]}"#);
    taken(r#""Principal": "*", "Sid": "any text: is a name in S3""#);
}

#[test]
fn sids_are_unique() {
    let text = |sids: &[&str]| {
        let statements: Vec<String> =
            sids.iter().map(|sid| format!(r#"{{{GOOD}, "Sid": "{sid}"}}"#)).collect();
        format!(r#"{{"Statement": [{}]}}"#, statements.join(","))
    };
    taken_as(PolicyKind::Identity, &text(&["a", "b", "A", "1"]));
    taken_as(PolicyKind::Identity, &text(&["", ""]));
    check(&text(&["a", "b", "a"]), "Statement[2].Sid");
}

#[test]
fn sizes() {
    let padded = |blanks: usize, sid: usize| {
        format!(r#"{{"Statement": {{{GOOD}, "Sid": "{}"{}}}}}"#, "s".repeat(sid), " ".repeat(blanks))
    };
    let check_edge =
        |kind: PolicyKind, text: &dyn Fn(usize) -> String, max: usize, len: &dyn Fn(&str) -> usize| {
            let least = len(&text(0));
            taken_as(kind, &text(max - least));
            check_as(kind, &text(max - least + 1), "");
        };
    let characters = |text: &str| text.chars().filter(|one| !one.is_whitespace()).count();
    check_edge(PolicyKind::Identity, &|more| padded(0, more), IDENTITY_POLICY_CHARACTERS_MAX, &characters);
    check_edge(PolicyKind::Identity, &|more| padded(more, 0), IDENTITY_POLICY_BYTES_MAX, &str::len);
    check_edge(PolicyKind::Session, &|more| padded(more, 0), SESSION_POLICY_CHARS_MAX, &str::len);
    let bucket = |more| padded(more, 0).replace(r#""Sid""#, r#""Principal": "*", "Sid""#);
    check_edge(PolicyKind::Bucket, &bucket, BUCKET_POLICY_BYTES_MAX, &str::len);

    let small = r#"{"Effect":"Deny","NotAction":"a:b","Resource":"*"}"#;
    let many = |count: usize| format!(r#"{{"Statement":[{}]}}"#, vec![small; count].join(","));
    assert!(
        many(POLICY_STATEMENTS_MAX + 1).len() > IDENTITY_POLICY_CHARACTERS_MAX,
        "seen as a policy of a bucket"
    );
    let of_bucket = |count: usize| many(count).replace("\"Effect\"", "\"Principal\":\"*\",\"Effect\"");
    taken_as(PolicyKind::Bucket, &of_bucket(POLICY_STATEMENTS_MAX));
    check_as(PolicyKind::Bucket, &of_bucket(POLICY_STATEMENTS_MAX + 1), "Statement");

    let values = |count: usize| {
        let list = vec![r#""a""#; count - 2].join(",");
        format!(r#"{{"Statement":{{{GOOD},"Condition":{{"StringEquals":{{"s3:prefix":[{list}]}}}}}}}}"#)
    };
    taken_as(PolicyKind::Identity, &values(POLICY_VALUES_MAX));
    check(&values(POLICY_VALUES_MAX + 1), "Statement.Condition.StringEquals.s3:prefix");
    let policy = Policy::parse(&padded(100, 1), PolicyKind::Identity, "p", ACCOUNT).expect("a policy");
    assert_eq!(policy.characters(), characters(&padded(0, 1)));
    assert_eq!(policy.text(), padded(100, 1));
}
