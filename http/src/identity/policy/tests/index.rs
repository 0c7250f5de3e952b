//! The index says what going through every statement says, for sets and questions made at random from a seed.

use std::fmt::Write as _;
use std::sync::Arc;

use super::super::*;
use super::{ACCOUNT, ALICE, Keys, ask};

/// A generator of numbers that a seed fixes (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a small bound")
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn some(&mut self, list: &[&str]) -> String {
        let mut out = String::new();
        for nth in 0..=self.below(3) {
            let _ = write!(out, "{}\"{}\"", if nth == 0 { "" } else { "," }, self.pick(list));
        }
        out
    }
}

const ACTIONS: &[&str] = &[
    "*",
    "s3:*",
    "s3:Get*",
    "s3:GetObject",
    "s3:getobject",
    "s3:PutObject",
    "s3:*Object",
    "s3:List*",
    "s3tables:*",
    "s3tables:GetTable",
    "s3tables:*Warehouse*",
    "iam:*",
    "ec2:*",
    "s3:NoSuchThing",
    "admin:Heal",
];
const RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::*",
    "arn:aws:s3:::a",
    "arn:aws:s3:::a/*",
    "arn:aws:s3:::a/b/*",
    "arn:aws:s3:::a/b*",
    "arn:aws:s3:::ab",
    "arn:aws:s3:::a*",
    "arn:aws:s3:::*/k",
    "arn:aws:s3:::a/b/k",
    "arn:aws:s3:::?/k",
    "arn:aws:s3:::a/${aws:username}/*",
    "arn:aws:s3:::${aws:userid}/*",
    "arn:aws:s3tables:::bucket/W",
    "arn:aws:s3tables:::bucket/W/*",
    "arn:aws:s3tables:*:*:bucket/W/table/1",
    "arn:aws:s3tables:::*",
    "arn:aws:iam::111122223333:user/*",
    "arn:aws:iam::*:user/a",
    "arn:aws:ec2:*:*:instance/*",
    "arn:aws:s3:us-east-1::a",
];
const ASKED_ACTIONS: &[&str] = &[
    "s3:GetObject",
    "S3:PUTOBJECT",
    "s3:ListBucket",
    "s3:ListAllMyBuckets",
    "s3tables:GetTable",
    "s3tables:ListWarehouses",
    "iam:GetUser",
    "ec2:RunInstances",
    "s3:NoSuchThing",
    "admin:Heal",
    "nothing",
];
const ASKED_RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::a",
    "arn:aws:s3:::ab",
    "arn:aws:s3:::a/k",
    "arn:aws:s3:::a/b/k",
    "arn:aws:s3:::a/b/c/k",
    "arn:aws:s3:::a/alice/k",
    "arn:aws:s3:::b/k",
    "arn:aws:s3:::",
    "arn:aws:s3tables:::bucket/W",
    "arn:aws:s3tables:::bucket/W/table/1",
    "arn:aws:s3tables:::bucket/W/table/2",
    "arn:aws:iam::111122223333:user/a",
    "arn:aws:iam::444455556666:user/a",
    "arn:aws:ec2:r:1:instance/i",
    "arn:aws:s3",
    "x",
];

#[test]
fn the_index_agrees_with_every_statement() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut seen = [0; 3];
    for _ in 0..300 {
        let mut policies = Vec::new();
        for _ in 0..1 + numbers.below(4) {
            let mut statements = Vec::new();
            for _ in 0..1 + numbers.below(5) {
                let effect = if numbers.below(4) == 0 { "Deny" } else { "Allow" };
                let not_action = if numbers.below(8) == 0 { "Not" } else { "" };
                let not_resource = if numbers.below(8) == 0 { "Not" } else { "" };
                let (actions, resources) = (numbers.some(ACTIONS), numbers.some(RESOURCES));
                let condition = match numbers.below(4) {
                    0 => r#", "Condition": {"StringLike": {"s3:prefix": "a*"}}"#,
                    _ => "",
                };
                statements.push(format!(
                    r#"{{"Effect": "{effect}", "{not_action}Action": [{actions}], "{not_resource}Resource": [{resources}]{condition}}}"#
                ));
            }
            let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{}]}}"#, statements.join(","));
            match Policy::parse(&text, PolicyKind::Identity, "p", ACCOUNT) {
                Ok(policy) => policies.push(Arc::new(policy)),
                Err(error) => panic!("{error}: {text}"),
            }
        }
        let set = PolicySet::new(policies);
        for action in ASKED_ACTIONS {
            for resource in ASKED_RESOURCES {
                let prefix = numbers.pick(&["a", "b"]);
                let context = Keys(&[("aws:username", "alice"), ("s3:prefix", prefix)]);
                seen[ask(&set, &Question { action, resource, principal: &ALICE, context: &context })
                    as usize] += 1;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 1_000), "the cases say little: {seen:?}");
}
