//! A user of 20 policies of 20 statements, and what they are asked: shared by `micro`, which times it, and
//! `instructions`, which counts.

use std::hint::black_box;
use std::sync::Arc;

use nilas_http::identity::policy::{
    ConditionKey, Context, Policy, PolicyKind, PolicySet, PrincipalNames, Question, Value, Verdict,
};

/// Policies of a user, and statements of each.
const POLICIES: usize = 20;
const STATEMENTS: usize = 20;

/// The questions by name: allowed by the last policy, by none, denied, allowed where every statement is about everything, and
/// allowed by a session's policy as well.
pub(crate) const CASES: [&str; 5] = ["hit", "miss", "deny", "wide", "session"];

/// The user.
pub(crate) struct Fixture {
    narrow: PolicySet,
    wide: PolicySet,
    session: PolicySet,
}

impl Fixture {
    /// Compiles the policies.
    pub(crate) fn new() -> Fixture {
        let session =
            r#"{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::team-19-19/*"}"#;
        let session = PolicySet::new([policy("session", session)]);
        Fixture { narrow: narrow_policies(), wide: wide_policies(), session }
    }

    /// Asks one of [`CASES`] and returns whether it is allowed; panics when that is wrong.
    pub(crate) fn ask(&self, case: &str) -> bool {
        let (sets, action, resource, want): (&[&PolicySet], _, _, _) = match case {
            "hit" => (&[&self.narrow], "s3:GetObject", HIT, true),
            "miss" => (&[&self.narrow], "s3:GetObject", MISS, false),
            "deny" => (&[&self.narrow], "s3:DeleteObject", DENIED, false),
            "wide" => (&[&self.wide], "s3:GetObject", HIT, true),
            "session" => (&[&self.narrow, &self.session], "s3:GetObject", HIT, true),
            other => panic!("no case {other}"),
        };
        let question = Question { action, resource, principal: &ALICE, context: &Alice };
        let allows = |set: &&PolicySet| matches!(set.decide(black_box(&question)), Verdict::Allow(_));
        let allowed = sets.iter().all(allows);
        assert_eq!(allowed, want, "{case}");
        allowed
    }
}

const HIT: &str = "arn:aws:s3:::team-19-19/home/alice/year=2026/part-00000.parquet";
const MISS: &str = "arn:aws:s3:::elsewhere/home/alice/year=2026/part-00000.parquet";
const DENIED: &str = "arn:aws:s3:::team-19-19/audit/2026/01/31.json";

const ALICE: PrincipalNames<'static> = PrincipalNames {
    anonymous: false,
    arns: &["arn:aws:iam::111122223333:user/alice"],
    user_id: "",
    canonical_id: "",
    account: "111122223333",
};

fn policy(name: &str, statements: &str) -> Arc<Policy> {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    let policy = Policy::parse(&text, PolicyKind::Identity, name, "111122223333");
    Arc::new(policy.unwrap_or_else(|error| panic!("{error}")))
}

/// Each policy is a team's; each statement, a bucket's. In every fifth a Deny with a condition, in one a Deny of deletions.
fn narrow_policies() -> PolicySet {
    PolicySet::new((0..POLICIES).map(|team| {
        let statements: Vec<String> = (0..STATEMENTS)
            .map(|nth| match nth {
                5 => format!(
                    r#"{{"Effect": "Deny", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::team-{team}-*/audit/*"}}"#
                ),
                10 => r#"{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}"#.to_owned(),
                _ if nth % 3 == 1 => format!(
                    r#"{{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::team-{team}-{nth}/home/${{aws:username}}/*"}}"#
                ),
                _ => format!(
                    r#"{{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": ["arn:aws:s3:::team-{team}-{nth}", "arn:aws:s3:::team-{team}-{nth}/shared/*"], "Condition": {{"IpAddress": {{"aws:SourceIp": "10.0.0.0/8"}}}}}}"#
                ),
            })
            .collect();
        policy(&format!("team-{team}"), &statements.join(","))
    }))
}

/// Every statement is about another action on everything; the last allows.
fn wide_policies() -> PolicySet {
    PolicySet::new((0..POLICIES).map(|team| {
        let statements: Vec<String> = (0..STATEMENTS)
            .map(|nth| {
                let action = match (team + 1, nth + 1) {
                    (POLICIES, STATEMENTS) => "s3:GetObject",
                    _ => "s3:PutObject",
                };
                format!(r#"{{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}"#)
            })
            .collect();
        policy(&format!("team-{team}"), &statements.join(","))
    }))
}

/// What a request of hers says of itself.
struct Alice;

impl Context for Alice {
    fn value(&self, key: &ConditionKey) -> Value<'_> {
        match key {
            ConditionKey::Username => Value::One("alice".into()),
            ConditionKey::SecureTransport => Value::One("true".into()),
            ConditionKey::SourceIp => Value::One("10.1.2.3".into()),
            _ => Value::Absent,
        }
    }
}
