//! What conditions hold for: IAM User Guide, pages "IAM JSON policy elements: Condition operators", "Conditions with
//! multiple context keys or values" and "Set operators for multivalued context keys".

use super::{Says, decide};

/// Whether an Allow with this Condition speaks, and a Deny with it too.
#[track_caller]
fn check(condition: &str, keys: &[(&str, &str)], want: bool) {
    let says = |effect: &str| {
        let statement = format!(
            r#"{{"Effect": "{effect}", "Action": "*", "Resource": "*", "Condition": {{{condition}}}}}"#
        );
        decide(&statement, "s3:ListBucket", "arn:aws:s3:::b", keys)
    };
    let (allows, denies) = if want { (Says::Allow, Says::Deny) } else { (Says::Nothing, Says::Nothing) };
    assert_eq!(says("Allow"), allows, "{condition} {keys:?}");
    assert_eq!(says("Deny"), denies, "{condition} {keys:?}");
}

/// "String condition operators".
#[test]
fn strings() {
    let prefix = |value| [("s3:prefix", value)];
    check(r#""StringEquals": {"s3:prefix": "a"}"#, &prefix("a"), true);
    check(r#""StringEquals": {"s3:prefix": "a"}"#, &prefix("A"), false);
    check(r#""StringEquals": {"s3:prefix": "a"}"#, &prefix("ab"), false);
    check(r#""StringEquals": {"s3:prefix": "a"}"#, &prefix(""), false);
    check(r#""StringEquals": {"s3:prefix": ""}"#, &prefix(""), true);
    check(r#""StringEquals": {"s3:prefix": "a*"}"#, &prefix("ab"), false);
    check(r#""StringEquals": {"s3:prefix": "a*"}"#, &prefix("a*"), true);
    check(r#""StringEquals": {"s3:prefix": "a?"}"#, &prefix("a?"), true);
    check(r#""StringEquals": {"s3:prefix": ["a", "b"]}"#, &prefix("b"), true);
    check(r#""StringEquals": {"s3:prefix": ["a", "b"]}"#, &prefix("c"), false);
    check(r#""StringEquals": {"s3:prefix": "a"}"#, &[], false);
    check(r#""StringEquals": {"s3:max-keys": 10}"#, &[("s3:max-keys", "10")], true);
    check(r#""StringEquals": {"aws:SecureTransport": true}"#, &[("aws:SecureTransport", "true")], true);
    check(r#""StringEquals": {"s3:prefix": "é"}"#, &prefix("é"), true);
    check(r#""StringNotEquals": {"s3:prefix": "a"}"#, &prefix("b"), true);
    check(r#""StringNotEquals": {"s3:prefix": "a"}"#, &prefix("a"), false);
    check(r#""StringNotEquals": {"s3:prefix": "a"}"#, &prefix("A"), true);
    check(r#""StringNotEquals": {"s3:prefix": ["a", "b"]}"#, &prefix("b"), false);
    check(r#""StringNotEquals": {"s3:prefix": ["a", "b"]}"#, &prefix("c"), true);
    check(r#""StringNotEquals": {"s3:prefix": "a"}"#, &[], true);
    check(r#""StringEqualsIgnoreCase": {"s3:prefix": "Ab"}"#, &prefix("aB"), true);
    check(r#""StringEqualsIgnoreCase": {"s3:prefix": "É"}"#, &prefix("é"), true);
    check(r#""StringEqualsIgnoreCase": {"s3:prefix": "a*"}"#, &prefix("ab"), false);
    check(r#""StringEqualsIgnoreCase": {"s3:prefix": ["a", "B"]}"#, &prefix("b"), true);
    check(r#""StringEqualsIgnoreCase": {"s3:prefix": "a"}"#, &[], false);
    check(r#""StringNotEqualsIgnoreCase": {"s3:prefix": "a"}"#, &prefix("A"), false);
    check(r#""StringNotEqualsIgnoreCase": {"s3:prefix": "a"}"#, &prefix("b"), true);
    check(r#""StringNotEqualsIgnoreCase": {"s3:prefix": ["a", "b"]}"#, &prefix("B"), false);
    check(r#""StringNotEqualsIgnoreCase": {"s3:prefix": "a"}"#, &[], true);
    check(r#""StringLike": {"s3:prefix": "home/*"}"#, &prefix("home/alice"), true);
    check(r#""StringLike": {"s3:prefix": "home/*"}"#, &prefix("home/"), true);
    check(r#""StringLike": {"s3:prefix": "home/*"}"#, &prefix("home"), false);
    check(r#""StringLike": {"s3:prefix": "home/*"}"#, &prefix("Home/alice"), false);
    check(r#""StringLike": {"s3:prefix": "*/alice"}"#, &prefix("home/x/alice"), true);
    check(r#""StringLike": {"s3:prefix": "h?me"}"#, &prefix("home"), true);
    check(r#""StringLike": {"s3:prefix": "h?me"}"#, &prefix("hme"), false);
    check(r#""StringLike": {"s3:prefix": "*"}"#, &prefix(""), true);
    check(r#""StringLike": {"s3:prefix": "*"}"#, &[], false);
    check(r#""StringLike": {"s3:prefix": ["", "home/", "home/a*"]}"#, &prefix(""), true);
    check(r#""StringLike": {"s3:prefix": ["", "home/", "home/a*"]}"#, &prefix("home/alice"), true);
    check(r#""StringLike": {"s3:prefix": ["", "home/", "home/a*"]}"#, &prefix("home/bob"), false);
    check(r#""StringLike": {"s3:prefix": "a${*}"}"#, &prefix("a*"), true);
    check(r#""StringLike": {"s3:prefix": "a${*}"}"#, &prefix("ab"), false);
    check(r#""StringNotLike": {"s3:prefix": "home/*"}"#, &prefix("home/alice"), false);
    check(r#""StringNotLike": {"s3:prefix": "home/*"}"#, &prefix("other"), true);
    check(r#""StringNotLike": {"s3:prefix": ["a*", "b*"]}"#, &prefix("bc"), false);
    check(r#""StringNotLike": {"s3:prefix": ["a*", "b*"]}"#, &prefix("cb"), true);
    check(r#""StringNotLike": {"s3:prefix": "*"}"#, &[], true);
}

/// "Numeric condition operators".
#[test]
fn numbers() {
    let keys = |value| [("s3:max-keys", value)];
    check(r#""NumericEquals": {"s3:max-keys": "10"}"#, &keys("10"), true);
    check(r#""NumericEquals": {"s3:max-keys": 10}"#, &keys("10.0"), true);
    check(r#""NumericEquals": {"s3:max-keys": "10"}"#, &keys("11"), false);
    check(r#""NumericEquals": {"s3:max-keys": ["10", "11"]}"#, &keys("11"), true);
    check(r#""NumericEquals": {"s3:max-keys": "10"}"#, &keys("ten"), false);
    check(r#""NumericEquals": {"s3:max-keys": "10"}"#, &keys(""), false);
    check(r#""NumericEquals": {"s3:max-keys": "10"}"#, &[], false);
    check(r#""NumericEquals": {"s3:max-keys": "-1"}"#, &keys("-1"), true);
    check(r#""NumericNotEquals": {"s3:max-keys": "10"}"#, &keys("11"), true);
    check(r#""NumericNotEquals": {"s3:max-keys": "10"}"#, &keys("10"), false);
    check(r#""NumericNotEquals": {"s3:max-keys": [10, 11]}"#, &keys("11"), false);
    check(r#""NumericNotEquals": {"s3:max-keys": "10"}"#, &[], true);
    check(r#""NumericNotEquals": {"s3:max-keys": "10"}"#, &keys("ten"), true);
    check(r#""NumericLessThan": {"s3:max-keys": "10"}"#, &keys("9"), true);
    check(r#""NumericLessThan": {"s3:max-keys": "10"}"#, &keys("10"), false);
    check(r#""NumericLessThan": {"s3:max-keys": "10"}"#, &keys("9.999"), true);
    check(r#""NumericLessThan": {"s3:max-keys": "10"}"#, &keys("-11"), true);
    check(r#""NumericLessThan": {"s3:max-keys": "10"}"#, &[], false);
    check(r#""NumericLessThanEquals": {"s3:max-keys": "10"}"#, &keys("10"), true);
    check(r#""NumericLessThanEquals": {"s3:max-keys": "10"}"#, &keys("10.001"), false);
    check(r#""NumericLessThanEquals": {"s3:max-keys": "10"}"#, &keys("x"), false);
    check(r#""NumericGreaterThan": {"s3:max-keys": "10"}"#, &keys("100"), true);
    check(r#""NumericGreaterThan": {"s3:max-keys": "10"}"#, &keys("10"), false);
    check(r#""NumericGreaterThan": {"s3:max-keys": "9007199254740992"}"#, &keys("9007199254740993"), true);
    check(r#""NumericGreaterThanEquals": {"s3:max-keys": "10"}"#, &keys("10"), true);
    check(r#""NumericGreaterThanEquals": {"s3:max-keys": "10"}"#, &keys("9"), false);
    check(r#""NumericGreaterThanEquals": {"s3:max-keys": ["100", "5"]}"#, &keys("9"), true);
    check(r#""NumericGreaterThanEquals": {"s3:max-keys": "10"}"#, &[], false);
}

/// "Date condition operators".
#[test]
fn dates() {
    let now = |value| [("aws:CurrentTime", value)];
    let noon = "2026-01-31T12:00:00Z";
    check(r#""DateEquals": {"aws:CurrentTime": "2026-01-31T12:00:00Z"}"#, &now(noon), true);
    check(r#""DateEquals": {"aws:CurrentTime": "2026-01-31T13:00:00+01:00"}"#, &now(noon), true);
    check(r#""DateEquals": {"aws:CurrentTime": "1769860800"}"#, &now(noon), true);
    check(r#""DateEquals": {"aws:CurrentTime": 1769860800}"#, &now(noon), true);
    check(r#""DateEquals": {"aws:CurrentTime": "2026-01-31"}"#, &now(noon), false);
    check(r#""DateEquals": {"aws:CurrentTime": "2026-01-31"}"#, &now("2026-01-31T00:00:00Z"), true);
    check(r#""DateEquals": {"aws:EpochTime": "1769860800"}"#, &[("aws:EpochTime", "1769860800")], true);
    check(r#""DateNotEquals": {"aws:CurrentTime": "2026-01-31"}"#, &now(noon), true);
    check(r#""DateNotEquals": {"aws:CurrentTime": "2026-01-31T12:00Z"}"#, &now(noon), false);
    check(r#""DateNotEquals": {"aws:CurrentTime": "2026-01-31"}"#, &[], true);
    check(r#""DateLessThan": {"aws:CurrentTime": "2026-02-01"}"#, &now(noon), true);
    check(r#""DateLessThan": {"aws:CurrentTime": "2026-01-31T12:00:00Z"}"#, &now(noon), false);
    check(r#""DateLessThan": {"aws:CurrentTime": "2026"}"#, &now(noon), false);
    check(r#""DateLessThan": {"aws:CurrentTime": "2026-02"}"#, &now(noon), true);
    check(r#""DateLessThan": {"aws:CurrentTime": "2026-02-01"}"#, &now("soon"), false);
    check(r#""DateLessThan": {"aws:TokenIssueTime": "2026-02-01"}"#, &[], false);
    check(r#""DateLessThanEquals": {"aws:CurrentTime": "2026-01-31T12:00:00Z"}"#, &now(noon), true);
    check(r#""DateLessThanEquals": {"aws:CurrentTime": "2026-01-31T11:59:59.999Z"}"#, &now(noon), false);
    check(r#""DateGreaterThan": {"aws:CurrentTime": "2026-01-31T11:59:59Z"}"#, &now(noon), true);
    check(r#""DateGreaterThan": {"aws:CurrentTime": "2026-01-31T12:00:00Z"}"#, &now(noon), false);
    check(r#""DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}"#, &[], false);
    check(r#""DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-31T12:00:00Z"}"#, &now(noon), true);
    check(r#""DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-31T12:00:00.001Z"}"#, &now(noon), false);
    check(
        r#""DateGreaterThanEquals": {"aws:EpochTime": "1769860800"}"#,
        &[("aws:EpochTime", "1769860801")],
        true,
    );
    // "Conditions with multiple context keys or values": a window of time is two operators, which both must hold.
    let window = r#""DateGreaterThan": {"aws:CurrentTime": "2026-01-01"}, "DateLessThan": {"aws:CurrentTime": "2026-02-01"}"#;
    check(window, &now(noon), true);
    check(window, &now("2026-02-02T00:00:00Z"), false);
    check(window, &now("2025-12-31T23:59:59Z"), false);
}

/// "Boolean condition operators" and "Binary condition operators".
#[test]
fn truth_and_bytes() {
    let tls = |value| [("aws:SecureTransport", value)];
    check(r#""Bool": {"aws:SecureTransport": "true"}"#, &tls("true"), true);
    check(r#""Bool": {"aws:SecureTransport": true}"#, &tls("true"), true);
    check(r#""Bool": {"aws:SecureTransport": "True"}"#, &tls("true"), true);
    check(r#""Bool": {"aws:SecureTransport": "true"}"#, &tls("false"), false);
    check(r#""Bool": {"aws:SecureTransport": "false"}"#, &tls("false"), true);
    check(r#""Bool": {"aws:SecureTransport": ["true", "false"]}"#, &tls("false"), true);
    check(r#""Bool": {"aws:SecureTransport": "false"}"#, &tls("yes"), false);
    check(r#""Bool": {"aws:MultiFactorAuthPresent": "true"}"#, &[], false);
    check(r#""Bool": {"aws:MultiFactorAuthPresent": "false"}"#, &[], false);
    check(r#""BinaryEquals": {"x:key": "QmluYXJ5"}"#, &[("x:key", "QmluYXJ5")], true);
    check(r#""BinaryEquals": {"x:key": "QmluYXJ5"}"#, &[("x:key", "QmluYXJ6")], false);
    check(r#""BinaryEquals": {"x:key": ["AA==", "QmluYXJ5"]}"#, &[("x:key", "QmluYXJ5")], true);
    check(r#""BinaryEquals": {"x:key": "QmluYXJ5"}"#, &[("x:key", "no base64!")], false);
    check(r#""BinaryEquals": {"x:key": "QmluYXJ5"}"#, &[], false);
}

/// "IP address condition operators".
#[test]
fn addresses() {
    let from = |value| [("aws:SourceIp", value)];
    check(r#""IpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &from("203.0.113.5"), true);
    check(r#""IpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &from("203.0.114.5"), false);
    check(r#""IpAddress": {"aws:SourceIp": "203.0.113.5"}"#, &from("203.0.113.5"), true);
    check(r#""IpAddress": {"aws:SourceIp": "203.0.113.5"}"#, &from("203.0.113.6"), false);
    check(r#""IpAddress": {"aws:SourceIp": "203.0.113.5/32"}"#, &from("203.0.113.5"), true);
    check(r#""IpAddress": {"aws:SourceIp": "0.0.0.0/0"}"#, &from("8.8.8.8"), true);
    check(r#""IpAddress": {"aws:SourceIp": "0.0.0.0/0"}"#, &from("2001:db8::1"), false);
    check(
        r#""IpAddress": {"aws:SourceIp": "2001:DB8:1234:5678::/64"}"#,
        &from("2001:db8:1234:5678::1"),
        true,
    );
    check(
        r#""IpAddress": {"aws:SourceIp": "2001:DB8:1234:5678::/64"}"#,
        &from("2001:db8:1234:5679::1"),
        false,
    );
    check(r#""IpAddress": {"aws:SourceIp": "::/0"}"#, &from("2001:db8::1"), true);
    check(r#""IpAddress": {"aws:SourceIp": "2001:db8::1"}"#, &from("2001:db8::1"), true);
    check(
        r#""IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:DB8:1234:5678::/64"]}"#,
        &from("203.0.113.9"),
        true,
    );
    check(r#""IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "10.0.0.0/8"]}"#, &from("10.200.0.1"), true);
    check(r#""IpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#, &from("::ffff:10.0.0.1"), true);
    check(r#""IpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#, &from("nowhere"), false);
    check(r#""IpAddress": {"aws:SourceIp": "10.0.0.0/8"}"#, &[], false);
    check(r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &from("203.0.113.5"), false);
    check(r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &from("198.51.100.1"), true);
    check(
        r#""NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24", "198.51.100.0/24"]}"#,
        &from("198.51.100.1"),
        false,
    );
    check(r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &from("2001:db8::1"), true);
    check(r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &from("nowhere"), true);
    check(r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, &[], true);
}

/// "Amazon Resource Name (ARN) condition operators".
#[test]
fn arns() {
    let by = |value| [("aws:PrincipalArn", value)];
    let alice = "arn:aws:iam::111122223333:user/alice";
    check(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/alice"}"#, &by(alice), true);
    check(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/*"}"#, &by(alice), true);
    check(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/Alice"}"#, &by(alice), false);
    check(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::444455556666:user/*"}"#, &by(alice), false);
    check(r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a?ice"}"#, &by(alice), true);
    check(r#""ArnLike": {"aws:PrincipalArn": "arn:*:*:*:*:*"}"#, &by(alice), true);
    check(r#""ArnLike": {"aws:PrincipalArn": "*"}"#, &by(alice), true);
    check(r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}"#, &by(alice), false);
    check(
        r#""ArnLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/*", "arn:aws:iam::*:user/*"]}"#,
        &by(alice),
        true,
    );
    check(r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}"#, &by("alice"), false);
    check(r#""ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}"#, &[], false);
    let far = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt";
    let pattern = "arn:aws:someservice:*:111122223333:finance/*";
    check(&format!(r#""ArnLike": {{"x:arn": "{pattern}"}}"#), &[("x:arn", far)], false);
    check(&format!(r#""StringLike": {{"x:arn": "{pattern}"}}"#), &[("x:arn", far)], true);
    check(
        r#""ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/alice"}"#,
        &by(alice),
        false,
    );
    check(r#""ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/bob"}"#, &by(alice), true);
    check(r#""ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}"#, &by(alice), false);
    check(r#""ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}"#, &by(alice), true);
    check(r#""ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}"#, &[], true);
    let keys = [("aws:PrincipalArn", alice), ("aws:username", "alice")];
    check(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::*:user/${aws:username}"}"#, &keys, true);
    check(r#""ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::*:user/${aws:username}"}"#, &by(alice), false);
}

/// An Allow does not hold for what nobody knows, a Deny does; what is known and does not fit decides all the same.
#[test]
fn values_that_nobody_knows() {
    let says = |effect: &str, condition: &str| {
        let statement = format!(
            r#"{{"Effect": "{effect}", "Action": "*", "Resource": "*", "Condition": {{{condition}}}}}"#
        );
        let keys = [("s3tables:namespace", "<unknown>"), ("s3:prefix", "b")];
        decide(&statement, "s3:ListBucket", "arn:aws:s3:::b", &keys)
    };
    for (operator, value) in [
        ("StringEquals", "hr"),
        ("StringNotEquals", "hr"),
        ("StringLikeIfExists", "hr"),
        ("ForAllValues:StringEquals", "hr"),
        ("ForAnyValue:StringNotLike", "hr"),
        ("Null", "true"),
        ("Null", "false"),
    ] {
        let condition = format!(r#""{operator}": {{"s3tables:namespace": "{value}"}}"#);
        assert_eq!(says("Allow", &condition), Says::Nothing, "{condition}");
        assert_eq!(says("Deny", &condition), Says::Deny, "{condition}");
        let known = format!(r#"{condition}, "NumericEquals": {{"s3:prefix": "1"}}"#);
        assert_eq!(says("Deny", &known), Says::Nothing, "{known}");
    }
    for (operator, key) in [
        ("StringEquals", "s3:prefix"),
        ("StringNotEquals", "s3:prefix"),
        ("ForAnyValue:StringLike", "s3:prefix"),
        ("StringNotEquals", "s3:delimiter"),
    ] {
        for value in ["${s3tables:namespace}", "${s3tables:namespace, 'b'}"] {
            let condition = format!(r#""{operator}": {{"{key}": "{value}"}}"#);
            assert_eq!(says("Deny", &condition), Says::Deny, "{condition}");
        }
        let condition = format!(r#""{operator}": {{"{key}": "${{s3tables:namespace}}"}}"#);
        assert_eq!(says("Allow", &condition), Says::Nothing, "{condition}");
    }
    assert_eq!(says("Deny", r#""StringEquals": {"s3:delimiter": "${s3tables:namespace}"}"#), Says::Nothing);
}

/// "Condition operator to check existence of condition keys" and "...IfExists condition operators".
#[test]
fn existence() {
    check(r#""Null": {"aws:TokenIssueTime": "true"}"#, &[], true);
    check(r#""Null": {"aws:TokenIssueTime": "true"}"#, &[("aws:TokenIssueTime", "2026-01-01")], false);
    check(r#""Null": {"aws:TokenIssueTime": "false"}"#, &[("aws:TokenIssueTime", "2026-01-01")], true);
    check(r#""Null": {"aws:TokenIssueTime": false}"#, &[], false);
    check(r#""Null": {"s3:prefix": "false"}"#, &[("s3:prefix", "")], true);
    check(r#""Null": {"aws:TagKeys": "true"}"#, &[("aws:TagKeys", "[]")], true);
    check(r#""Null": {"aws:TagKeys": "false"}"#, &[("aws:TagKeys", "[a]")], true);
    check(r#""Null": {"s3:prefix": ["true", "false"]}"#, &[], true);
    let prefix = |value| [("s3:prefix", value)];
    let cases: [(&str, &str, &str, &str, &str); 26] = [
        ("StringEquals", "s3:prefix", "a", "a", "b"),
        ("StringNotEquals", "s3:prefix", "a", "b", "a"),
        ("StringEqualsIgnoreCase", "s3:prefix", "a", "A", "b"),
        ("StringNotEqualsIgnoreCase", "s3:prefix", "a", "b", "A"),
        ("StringLike", "s3:prefix", "a*", "ab", "b"),
        ("StringNotLike", "s3:prefix", "a*", "b", "ab"),
        ("NumericEquals", "s3:max-keys", "1", "1", "2"),
        ("NumericNotEquals", "s3:max-keys", "1", "2", "1"),
        ("NumericLessThan", "s3:max-keys", "2", "1", "2"),
        ("NumericLessThanEquals", "s3:max-keys", "2", "2", "3"),
        ("NumericGreaterThan", "s3:max-keys", "2", "3", "2"),
        ("NumericGreaterThanEquals", "s3:max-keys", "2", "2", "1"),
        ("DateEquals", "aws:CurrentTime", "2026-01-01", "2026-01-01", "2026-01-02"),
        ("DateNotEquals", "aws:CurrentTime", "2026-01-01", "2026-01-02", "2026-01-01"),
        ("DateLessThan", "aws:CurrentTime", "2026-01-02", "2026-01-01", "2026-01-02"),
        ("DateLessThanEquals", "aws:CurrentTime", "2026-01-02", "2026-01-02", "2026-01-03"),
        ("DateGreaterThan", "aws:CurrentTime", "2026-01-01", "2026-01-02", "2026-01-01"),
        ("DateGreaterThanEquals", "aws:CurrentTime", "2026-01-02", "2026-01-02", "2026-01-01"),
        ("Bool", "aws:SecureTransport", "true", "true", "false"),
        ("BinaryEquals", "x:key", "AA==", "AA==", "AQ=="),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "10.1.1.1", "11.1.1.1"),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "11.1.1.1", "10.1.1.1"),
        (
            "ArnEquals",
            "aws:PrincipalArn",
            "arn:aws:iam::1:user/*",
            "arn:aws:iam::1:user/a",
            "arn:aws:iam::2:user/a",
        ),
        (
            "ArnNotEquals",
            "aws:PrincipalArn",
            "arn:aws:iam::1:user/*",
            "arn:aws:iam::2:user/a",
            "arn:aws:iam::1:user/a",
        ),
        (
            "ArnLike",
            "aws:PrincipalArn",
            "arn:aws:iam::1:user/*",
            "arn:aws:iam::1:user/a",
            "arn:aws:iam::2:user/a",
        ),
        (
            "ArnNotLike",
            "aws:PrincipalArn",
            "arn:aws:iam::1:user/*",
            "arn:aws:iam::2:user/a",
            "arn:aws:iam::1:user/a",
        ),
    ];
    for (operator, key, value, fits, fits_not) in cases {
        let negated = operator.contains("Not");
        // Plain: an absent key fits nothing, so a negated operator holds.
        let plain = format!(r#""{operator}": {{"{key}": "{value}"}}"#);
        check(&plain, &[(key, fits)], true);
        check(&plain, &[(key, fits_not)], false);
        check(&plain, &[], negated);
        // IfExists: only an absent key makes a difference.
        let if_exists = format!(r#""{operator}IfExists": {{"{key}": "{value}"}}"#);
        check(&if_exists, &[(key, fits)], true);
        check(&if_exists, &[(key, fits_not)], false);
        check(&if_exists, &[], true);
        // ForAllValues: every value; none at all is every one.
        let all = format!(r#""ForAllValues:{operator}": {{"{key}": "{value}"}}"#);
        check(&all, &[(key, &format!("[{fits}|{fits}]"))], true);
        check(&all, &[(key, &format!("[{fits}|{fits_not}]"))], false);
        check(&all, &[(key, "[]")], true);
        check(&all, &[], true);
        // ForAnyValue: one value; none at all is not one.
        let any = format!(r#""ForAnyValue:{operator}": {{"{key}": "{value}"}}"#);
        check(&any, &[(key, &format!("[{fits_not}|{fits}]"))], true);
        check(&any, &[(key, &format!("[{fits_not}|{fits_not}]"))], false);
        check(&any, &[(key, "[]")], false);
        check(&any, &[], false);
        check(&format!(r#""ForAnyValue:{operator}IfExists": {{"{key}": "{value}"}}"#), &[], false);
        check(&format!(r#""ForAllValues:{operator}IfExists": {{"{key}": "{value}"}}"#), &[], true);
        // Names of operators are not compared by case.
        check(&plain.replace(operator, &operator.to_ascii_lowercase()), &[(key, fits)], true);
    }
    check(r#""StringLikeIfExists": {"s3:prefix": "a*"}, "Null": {"s3:prefix": "false"}"#, &[], false);
    check(r#""StringLikeIfExists": {"s3:prefix": "a*"}, "Null": {"s3:prefix": "false"}"#, &prefix("a"), true);
}

/// "Set operators for multivalued context keys", with the values of its examples.
#[test]
fn sets() {
    let tags = |value| [("aws:TagKeys", value)];
    let all = r#""ForAllValues:StringEquals": {"aws:TagKeys": ["environment", "cost-center"]}"#;
    check(all, &tags("[environment]"), true);
    check(all, &tags("[environment|cost-center]"), true);
    check(all, &tags("[cost-center|environment]"), true);
    check(all, &tags("[environment|owner]"), false);
    check(all, &tags("[owner]"), false);
    check(all, &tags("[Environment]"), false);
    check(all, &tags("environment"), true);
    check(all, &[], true);
    let any = r#""ForAnyValue:StringEquals": {"aws:TagKeys": ["environment", "cost-center"]}"#;
    check(any, &tags("[environment|owner]"), true);
    check(any, &tags("[owner|cost-center]"), true);
    check(any, &tags("[owner]"), false);
    check(any, &tags("environment"), true);
    check(any, &[], false);
    let like = r#""ForAllValues:StringLike": {"aws:TagKeys": "key*"}"#;
    check(like, &tags("[key1|key2]"), true);
    check(like, &tags("[key1|other]"), false);
    let not_all = r#""ForAllValues:StringNotLike": {"aws:TagKeys": ["a*", "b*"]}"#;
    check(not_all, &tags("[c|d]"), true);
    check(not_all, &tags("[c|b1]"), false);
    check(not_all, &[], true);
    let not_any = r#""ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a", "b"]}"#;
    check(not_any, &tags("[a|c]"), true);
    check(not_any, &tags("[a|b]"), false);
    check(not_any, &[], false);
    let no_null = r#""ForAllValues:StringEquals": {"aws:TagKeys": "a"}, "Null": {"aws:TagKeys": "false"}"#;
    check(no_null, &[], false);
    check(no_null, &tags("[a]"), true);
    check(r#""forallvalues:stringequals": {"aws:TagKeys": "a"}"#, &tags("[b]"), false);
    // A key of several values needs a set operator: without it nothing holds.
    check(r#""StringEquals": {"aws:TagKeys": "a"}"#, &tags("[b|a]"), false);
    check(r#""StringEquals": {"aws:TagKeys": "a"}"#, &tags("[a]"), false);
    check(r#""StringEqualsIfExists": {"aws:TagKeys": "a"}"#, &tags("[a]"), false);
    check(r#""StringNotEquals": {"aws:TagKeys": "a"}"#, &tags("[b|c]"), false);
    check(r#""StringNotEquals": {"aws:TagKeys": "a"}"#, &tags("[b|a]"), false);
    check(r#""StringEquals": {"aws:TagKeys": "a"}"#, &tags("[]"), false);
    check(r#""StringNotEquals": {"aws:TagKeys": "a"}"#, &tags("[]"), true);
}

/// "Conditions with multiple context keys or values": operators and keys are ANDed, values ORed, negated values NORed.
#[test]
fn several() {
    let two_keys = r#""StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"}"#;
    check(two_keys, &[("s3:prefix", "a"), ("s3:delimiter", "/")], true);
    check(two_keys, &[("s3:prefix", "a"), ("s3:delimiter", "-")], false);
    check(two_keys, &[("s3:prefix", "a")], false);
    let two_operators = r#""StringEquals": {"s3:prefix": "a"}, "NumericLessThan": {"s3:max-keys": 10}"#;
    check(two_operators, &[("s3:prefix", "a"), ("s3:max-keys", "9")], true);
    check(two_operators, &[("s3:prefix", "a"), ("s3:max-keys", "10")], false);
    check(two_operators, &[("s3:prefix", "b"), ("s3:max-keys", "9")], false);
    let one_key_twice = r#""StringLike": {"s3:prefix": "a*"}, "StringNotLike": {"s3:prefix": "*z"}"#;
    check(one_key_twice, &[("s3:prefix", "ab")], true);
    check(one_key_twice, &[("s3:prefix", "az")], false);
    check("", &[], true);
}

/// Page "IAM policy elements: Variables and tags", section "Condition element".
#[test]
fn variables() {
    let alice = |prefix| [("aws:username", "alice"), ("s3:prefix", prefix)];
    let own = r#""StringLike": {"s3:prefix": ["", "home/${aws:username}/*"]}"#;
    check(own, &alice("home/alice/x"), true);
    check(own, &alice("home/bob/x"), false);
    check(own, &alice(""), true);
    check(own, &[("s3:prefix", "home/alice/x")], false);
    check(own, &[("s3:prefix", "")], true);
    check(r#""StringEquals": {"s3:prefix": "${aws:username}"}"#, &alice("alice"), true);
    check(r#""StringEquals": {"s3:prefix": "${aws:username}"}"#, &alice("${aws:username}"), false);
    check(r#""StringEqualsIgnoreCase": {"s3:prefix": "${aws:username}"}"#, &alice("ALICE"), true);
    check(r#""StringEquals": {"s3:prefix": "${aws:username, 'guest'}"}"#, &[("s3:prefix", "guest")], true);
    check(
        r#""StringLike": {"s3:prefix": "${aws:username}"}"#,
        &[("aws:username", "*"), ("s3:prefix", "x")],
        false,
    );
    check(
        r#""StringEquals": {"s3:ExistingObjectTag/team": "${aws:PrincipalTag/team}"}"#,
        &[("s3:ExistingObjectTag/team", "red"), ("aws:PrincipalTag/team", "red")],
        true,
    );
    check(
        r#""StringEquals": {"s3:ExistingObjectTag/team": "${aws:PrincipalTag/team}"}"#,
        &[("s3:ExistingObjectTag/team", "red"), ("aws:PrincipalTag/team", "blue")],
        false,
    );
    // Without a value nothing can be said, not even that it differs.
    check(r#""StringNotEquals": {"s3:prefix": "${aws:username}"}"#, &alice("bob"), true);
    check(r#""StringNotEquals": {"s3:prefix": "${aws:username}"}"#, &alice("alice"), false);
    check(r#""StringNotEquals": {"s3:prefix": "${aws:username}"}"#, &[("s3:prefix", "bob")], false);
    check(r#""StringNotLike": {"s3:prefix": "${aws:username}/*"}"#, &[("s3:prefix", "bob")], false);
    check(r#""StringNotEquals": {"s3:prefix": "${aws:username}"}"#, &[], false);
    check(r#""StringNotEqualsIfExists": {"s3:prefix": "${aws:username}"}"#, &[], true);
    // Operators that take no variables read them as what they are: no number, no date. See the malformed ones.
}

/// Page "AWS global condition context keys" and "Condition keys for Amazon S3": names are not compared by case, but those
/// of tags are.
#[test]
fn keys() {
    let same = [
        ("aws:CurrentTime", "AWS:currenttime"),
        ("aws:EpochTime", "aws:epochtime"),
        ("aws:SecureTransport", "aws:securetransport"),
        ("aws:SourceIp", "aws:sourceIP"),
        ("aws:UserAgent", "aws:userAgent"),
        ("aws:Referer", "aws:referer"),
        ("aws:userid", "aws:UserId"),
        ("aws:username", "aws:UserName"),
        ("aws:PrincipalType", "aws:principaltype"),
        ("s3:prefix", "S3:Prefix"),
        ("s3:delimiter", "s3:Delimiter"),
        ("s3:max-keys", "s3:Max-Keys"),
        ("s3:x-amz-acl", "s3:X-Amz-Acl"),
        ("s3:x-amz-copy-source", "s3:X-Amz-Copy-Source"),
        ("s3:x-amz-metadata-directive", "s3:x-amz-Metadata-Directive"),
        ("s3:x-amz-server-side-encryption", "s3:x-amz-server-side-Encryption"),
        ("s3:object-lock-mode", "s3:Object-Lock-Mode"),
        ("s3:object-lock-legal-hold", "s3:object-lock-Legal-Hold"),
        ("s3:VersionId", "s3:versionid"),
        ("s3:signatureversion", "s3:signatureVersion"),
        ("s3:authType", "s3:authtype"),
        ("s3:signatureAge", "s3:signatureage"),
        ("s3tables:namespace", "S3Tables:Namespace"),
        ("s3tables:tableName", "s3tables:TableName"),
        ("s3tables:registerLocation", "s3tables:RegisterLocation"),
        ("s3:RequestObjectTag/Team", "S3:requestobjecttag/Team"),
        ("s3:ExistingObjectTag/Team", "s3:existingObjectTag/Team"),
        ("aws:PrincipalTag/Team", "AWS:principalTag/Team"),
        ("other:Key", "OTHER:key"),
    ];
    for (in_policy, in_request) in same {
        check(&format!(r#""StringEquals": {{"{in_policy}": "v"}}"#), &[(in_request, "v")], true);
        check(&format!(r#""StringEquals": {{"{in_policy}": "w"}}"#), &[(in_request, "v")], false);
        check(&format!(r#""Null": {{"{in_request}": "true"}}"#), &[], true);
    }
    check(
        r#""StringEquals": {"s3:ExistingObjectTag/Team": "v"}"#,
        &[("s3:ExistingObjectTag/team", "v")],
        false,
    );
    check(r#""StringEquals": {"s3:ExistingObjectTag/a/b": "v"}"#, &[("s3:ExistingObjectTag/a/b", "v")], true);
}
